"""Corrections of the books by hand: what was proposed, by whom, and who else approves it."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import Conflict, UserError
from ledger import adjustments
from ledger.adjustments import REASON_CHARS_MAX, Adjustment, Proposal
from ledger.errors import Unknown
from ledger.journal import KEY_CHARS_MAX
from ledger.money import Money
from web_admin import auth
from web_admin.forms import currency_of, is_number, key_of, line_of, new_key, row_id
from web_admin.rendering import Templates

STATES: Mapping[str, Mapping[str, str]] = {
    "proposed": {"words": "Too old", "tone": "plain"}, "posted": {"words": "Booked", "tone": "good"},
    "refused": {"words": "Refused", "tone": "plain"},
}  # fmt: skip


class Adjustments:
    """Renders the page, and does what staff decide."""

    def __init__(self, db: Database, templates: Templates, alone_max: Money) -> None:
        self._db, self._templates, self._alone_max = db, templates, alone_max

    async def page(self, staff: auth.Staff) -> Markup:
        """What waits for somebody, what is over, and the form that proposes more."""
        async with self._db.hot() as connection:
            waiting, over = await adjustments.waiting(connection), await adjustments.over(connection)
        return self._templates.render(
            "adjustments.html", section="payments", staff=staff, waiting=waiting,
            over=[(one, STATES[one.state]) for one in over], alone_max=self._alone_max,
            key=new_key(),
        )  # fmt: skip

    async def propose(self, staff: auth.Staff, fields: Mapping[str, str]) -> None:
        """Propose a correction, which is booked at once where one is enough. Raises UserError."""
        what, key = _read(fields), f"adjustment:{staff.actor}:{key_of(fields)}"
        async with self._db.transaction() as session:
            try:
                made = await adjustments.propose(await driver(session), key, what, staff.actor, self._alone_max)
            except Conflict as error:
                raise UserError(str(error)) from error
            verb = "adjustment.posted" if made.state == "posted" else "adjustment.proposed"
            await audit.record(session, staff.actor, verb, f"adjustment:{made.id}", _detail(made))

    async def decide(self, staff: auth.Staff, number: str, act: str) -> None:
        """Approve or refuse what was proposed. Raises UserError, also where somebody was faster, and LookupError."""
        id_ = row_id(number)
        do = adjustments.approve if act == "approve" else adjustments.refuse
        async with self._db.transaction() as session:
            try:
                made = await do(await driver(session), id_, staff.actor)
            except Unknown as error:
                raise LookupError from error
            except Conflict as error:
                raise UserError(str(error)) from error
            await audit.record(session, staff.actor, f"adjustment.{made.state}", f"adjustment:{made.id}", _detail(made))


def _detail(made: Adjustment) -> Mapping[str, Any]:
    return {"amount": str(made.amount), "reverses": made.reverses, "entry": made.entry_id}


def _read(fields: Mapping[str, str]) -> Proposal:
    """What a form proposes. Raises UserError."""
    reason = line_of(fields, "reason", "Write why", REASON_CHARS_MAX)
    entry = fields.get("entry", "").strip()
    if entry:
        if not is_number(entry):
            raise UserError("An entry is named by its number.")
        return Proposal(reason, reverses=int(entry))
    taken, given = (fields.get(name, "").strip()[: KEY_CHARS_MAX + 1] for name in ("debit", "credit"))
    if not all(key.isprintable() for key in (taken, given)):
        raise UserError("An account is named as the list of accounts names it.")
    currency = currency_of(fields)
    return Proposal(reason, None, taken, given, Money.parse(fields.get("amount", ""), currency))
