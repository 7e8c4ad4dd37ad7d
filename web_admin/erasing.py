"""Erasing a person from the admin, when they have asked for it elsewhere: what happens is shown, and its code is typed.

Who asked is recorded with it, and the same job does the rest as when a person asks in a chat (core/erasure.py).
"""

import hmac
from collections.abc import Sequence
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
from web_admin import auth, called, words
from web_admin.rendering import Templates

CODE_CHARS = 6

CHATS = text("""
SELECT i.channel, i.provider_id, i.display_name, c.account, c.room, c.last_at
FROM identity i LEFT JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
WHERE i.person_id = :person ORDER BY c.last_at DESC NULLS LAST, i.created_at, i.id LIMIT 50
""")


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
            await audit.record(session, staff.actor, "person.erasure_shown", f"person:{person_id}")
        title = words.known_as(
            name or next((chat["display_name"] for chat in shown if chat["display_name"]), None),
            [(chat["channel"], chat["provider_id"]) for chat in shown],
        )
        return self._templates.render(
            "erasing.html",
            section="people",
            staff=staff,
            stream=None,
            person=person,
            begun=begun,
            title="Somebody who was erased" if begun else title,
            lines=[] if begun else (await promised(self._db, person_id, "staff")).splitlines(),
            code=_code(person_id),
            told=_last_word_to(chats) is not None,
        )

    async def erase(self, staff: auth.Staff, person_id: UUID, typed: str) -> None:
        """Erase them; raises UserError for another code than this person's, LookupError where there is nobody."""
        if not hmac.compare_digest(typed.strip().lower().encode(), _code(person_id).encode()):
            raise UserError("The code typed is not the one shown on the page. Nothing was erased; look at it again.")
        async with self._db.transaction() as session:
            person = await _person(session, person_id)
            chats = (await session.execute(CHATS, {"person": person_id})).all()
        try:
            await erasure.begin(
                self._db, person_id, asked_by=staff.actor, last_word_to=_last_word_to(chats), language=person.language
            )
        except Conflict as busy:
            raise UserError(str(busy)) from busy


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
