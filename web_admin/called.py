"""Names and e-mail addresses in the admin panel: opened where they are shown, found by keyed hashes of their words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core import mailboxes
from core.db import driver
from core.messages import ChannelName
from core.names import names_of

NAMES = ("name", "display_name", "sender")
PLACES = ("identity", "room", "provider_id")
"""Columns of rows that are shown."""


async def opened(session: AsyncSession, rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Rows with what NAMES hold opened, and of e-mail with the address in PLACES; empty for one that is forgotten."""
    connection = await driver(session)
    names = await names_of(connection)
    mailed = [row for row in rows if row.get("channel") == ChannelName.EMAIL]
    known = await mailboxes.addresses(
        connection, [row[place] for row in mailed for place in PLACES if row.get(place) is not None]
    )
    shown = []
    for row in rows:
        one = dict(row) | {name: names.open(row[name]) for name in NAMES if name in row}
        if row.get("channel") == ChannelName.EMAIL:
            one |= {place: known.get(row[place], "") for place in PLACES if row.get(place) is not None}
        shown.append(one)
    return shown


@dataclass(frozen=True, slots=True)
class Sought:
    """What is searched for: names by whole words, e-mail addresses whole, numbers and other ids by any part."""

    text: str
    digests: tuple[str, ...]
    mailbox: str | None

    @classmethod
    async def read(cls, session: AsyncSession, search: str) -> Self:
        """What a search means."""
        connection = await driver(session)
        names = await names_of(connection)
        mailbox = await mailboxes.name_of(connection, search) if "@" in search else None
        return cls(search, tuple(names.digests(search)), mailbox)

    def called(self, index: InstrumentedAttribute[str | None]) -> list[ColumnElement[bool]]:
        """Whether the name of this index has every word; nothing where the search has no word."""
        words = [index.contains(f" {digest}") for digest in self.digests]
        return [and_(*words)] if words else []

    def at(
        self, channel: InstrumentedAttribute[str], place: InstrumentedAttribute[str], *parts: str
    ) -> ColumnElement[bool]:
        """Whether a place on a channel has the search, or one of these other ways to write it, in it."""
        like = [place.contains(part, autoescape=True) for part in parts]
        readable = and_(channel != ChannelName.EMAIL.value, or_(place.icontains(self.text, autoescape=True), *like))
        return readable if self.mailbox is None else or_(readable, place.startswith(self.mailbox))
