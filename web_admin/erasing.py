"""Erasing a person from the admin, when they have asked for it elsewhere: what happens is shown, and its code is typed.

Who asked is recorded with it, and the same job does the rest as when a person asks in a chat (core/erasure.py).
"""

import hmac
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, erasure
from core.db import Database, driver
from core.erasure_words import shown as promised
from core.errors import Conflict, UserError
from core.messages import Address, ChannelName
from core.models import Erasure, Person
from core.names import names_of
from ledger import leaving
from web_admin import auth, called, words
from web_admin.rendering import Templates

CODE_CHARS = 6
REASON_CHARS_MAX = 500

CHATS = text("""
SELECT i.channel, i.provider_id, i.display_name, c.account, c.room, c.last_at
FROM identity i LEFT JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
WHERE i.person_id = :person ORDER BY c.last_at DESC NULLS LAST, i.created_at, i.id LIMIT 50
""")


LEFT_MONEY = """
INSERT INTO audit (actor, verb, subject, detail) VALUES ($1, 'person.left_money', $2, $3)
"""


class Erasing:
    """The page, and what is done by it."""

    def __init__(self, db: Database, templates: Templates) -> None:
        self._db, self._templates = db, templates

    async def page(self, staff: auth.Staff, person_id: UUID) -> Markup:
        """What would be erased, or how far it is; raises LookupError where there is nobody."""
        async with self._db.transaction() as session:
            person = await _person(session, person_id)
            begun = await session.scalar(select(Erasure).where(Erasure.person_id == person_id))
            chats = (await session.execute(CHATS, {"person": person_id})).all()
            shown = await called.opened(session, [chat._mapping for chat in chats])
            name = (await names_of(await driver(session))).open(person.name)
            connection = await driver(session)
            money = await leaving.left(connection, await erasure.persons(connection, person_id))
            await audit.record(session, staff.actor, "person.erasure_shown", f"person:{person_id}")
        title = words.known_as(
            name or next((chat["display_name"] for chat in shown if chat["display_name"]), None),
            [(chat["channel"], chat["provider_id"]) for chat in shown],
        )
        return self._templates.render(
            "erasing.html",
            section="people",
            staff=staff,
            person=person,
            begun=begun,
            title="Somebody who was erased" if begun else title,
            lines=[] if begun else (await promised(self._db, person_id, "staff")).splitlines(),
            code=_code(person_id),
            money=[str(one) for one in money],
            told=_last_word_to(chats) is not None,
        )

    async def erase(self, staff: auth.Staff, person_id: UUID, typed: str, reason: str = "") -> None:
        """Erase them; raises UserError for another code than this person's, LookupError where there is nobody.

        Whoever has money here, or a payment under way, is erased for a `reason` alone, which is recorded.
        """
        reason = " ".join(reason.split())
        if len(reason) > REASON_CHARS_MAX or not reason.isprintable():
            raise UserError(f"Give the reason in at most {REASON_CHARS_MAX} characters.")
        if not hmac.compare_digest(typed.strip().lower().encode(), _code(person_id).encode()):
            raise UserError("The code typed is not the one shown on the page. Nothing was erased; look at it again.")
        async with self._db.transaction() as session:
            person = await _person(session, person_id)
            chats = (await session.execute(CHATS, {"person": person_id})).all()
        try:
            await erasure.begin(
                self._db, person_id, asked_by=staff.actor, last_word_to=_last_word_to(chats), language=person.language,
                before=partial(_part, staff, reason),
            )  # fmt: skip
        except leaving.HasMoney as money:
            raise UserError(
                "They still have money here, or a payment under way, so nothing was erased. Have them withdraw it and"
                " wait until all is over, or give a reason to erase them all the same."
            ) from money
        except Conflict as busy:
            raise UserError(str(busy)) from busy


async def _part(staff: auth.Staff, reason: str, connection: Any, people: Sequence[UUID]) -> None:
    """Let somebody go who has nothing here, or for a reason, which is written down with what they leave behind."""
    if not reason:
        await leaving.check(connection, people)
        return
    money = [str(one) for one in await leaving.left(connection, people)]
    await connection.execute(LEFT_MONEY, staff.actor, f"person:{people[0]}", {"reason": reason, "left": money})


async def _person(session: AsyncSession, person_id: UUID) -> Person:
    person = await session.get(Person, person_id)
    if person is None or person.merged_into is not None:
        raise LookupError
    return person


def _last_word_to(chats: Sequence[Any]) -> Address | None:
    """Where they last wrote, of the channels where a last word is sent."""
    for chat in chats:
        if chat.room is not None and chat.channel not in erasure.SILENT:
            return Address(ChannelName(chat.channel), chat.account, chat.room, chat.room)
    return None


def _code(person_id: UUID) -> str:
    """What is typed to erase this person and nobody else: it proves that their page was read, and is no secret."""
    return person_id.hex[-CODE_CHARS:]
