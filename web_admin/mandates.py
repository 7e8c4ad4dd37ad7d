"""Standing mandates: what workflows may pay by themselves, what they did pay, and a button that ends one at once.

Whom they may pay is sealed with what was confirmed, and not shown here; that one is ended is recorded, and told to the
person in the chat where they confirmed it.
"""

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import UserError
from core.language import Saying
from core.names import names_of
from core.notices import tell
from core.sealed import as_workflow
from ledger import mandates
from ledger.mandates import Mandate
from web_admin import auth
from web_admin.forms import line_of, row_id
from web_admin.paging import NEWEST, PAGE, before_of
from web_admin.rendering import Templates

NOTE_CHARS_MAX = 500
OVER = "That mandate is over already."
ENDED = Saying(
    "What “{workflow}” may pay by itself was ended by the people who run this. It pays nothing more until you allow it"
    " anew.",
    "Watu wanaoendesha huduma hii wamesitisha kile “{workflow}” inaweza kulipa yenyewe. Haitalipa tena hadi uiruhusu"
    " upya.",
)
A_WORKFLOW: Final = "A workflow"
OF = """
SELECT m.id, d.id AS definition_id, d.conversation_id, d.name AS workflow, d.state, p.id AS person_id, p.name,
       p.language, c.conversation_id AS confirmed_in
FROM mandate m JOIN workflow_definition d ON d.id = m.definition_id JOIN person p ON p.id = d.person_id
JOIN confirmation c ON c.id = m.confirmation_id
WHERE m.id = ANY($1::bigint[])
"""


class Mandates:
    """Reads and renders the page, and ends what staff decide to end."""

    def __init__(self, db: Database, templates: Templates) -> None:
        self._db, self._templates = db, templates

    async def page(self, staff: auth.Staff, query: Mapping[str, str]) -> Markup:
        """The mandates, the newest first. Raises UserError."""
        before = before_of(query)
        async with self._db.hot() as connection:
            found = await mandates.listed(connection, before or NEWEST, PAGE + 1)
            older = found[PAGE - 1].id if len(found) > PAGE else None
            of = await _of(connection, [one.id for one in found[:PAGE]])
        return self._templates.render(
            "mandates.html", section="payments", staff=staff, before=before, filters={}, older=older,
            rows=[(one, of[one.id], _state(one, of[one.id]["state"])) for one in found[:PAGE]],
        )  # fmt: skip

    async def end(self, staff: auth.Staff, mandate: str, fields: Mapping[str, str]) -> None:
        """End one, and tell whose it is. Raises UserError, also where it is over, and LookupError for none."""
        number, note = row_id(mandate), line_of(fields, "note", "Write why", NOTE_CHARS_MAX)
        async with self._db.transaction() as session:
            connection = await driver(session)
            of = (await _of(connection, [number])).get(number)
            if of is None:
                raise LookupError
            if not await mandates.end_this(connection, number):
                raise UserError(OVER)
            says = ENDED.filled(workflow=of["workflow"])
            await tell(connection, of["confirmed_in"], of["language"], says, "payment", f"mandate:{number}:ended")
            await audit.record(session, staff.actor, "mandate.ended", f"mandate:{number}", {"note": note})


async def _of(connection: Any, numbers: list[int]) -> dict[int, dict[str, Any]]:
    """Of mandates their workflow, by its name, and whose it is."""
    rows = await connection.fetch(OF, numbers)
    names = await names_of(connection)
    values = [(row["conversation_id"], as_workflow("name", str(row["definition_id"])), row["workflow"]) for row in rows]
    opened = await connection.keys.opened(connection, values)
    return {
        row["id"]: {
            **row, "name": names.open(row["name"]), "workflow": A_WORKFLOW if called is None else called.decode()
        }
        for row, called in zip(rows, opened, strict=True)
    }  # fmt: skip


def _state(of: Mandate, workflow: str) -> Mapping[str, str]:
    """How a mandate stands, in words, and how that looks."""
    if of.ended_at is not None:
        return {"words": "Ended", "tone": "plain"}
    if of.is_late:
        return {"words": "Over", "tone": "plain"}
    if not of.left.minor:
        return {"words": "Used up", "tone": "plain"}
    return {"words": "Rests", "tone": "wait"} if workflow == "paused" else {"words": "Pays", "tone": "good"}
