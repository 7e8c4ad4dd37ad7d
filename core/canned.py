"""Canned replies: what staff put into the composer by a shortcut, sealed under a key of their own.

What they say goes to people, who are often named in it.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import RoomKey, opened_with
from core.db import driver
from core.models import CannedReply

PURPOSE = "canned"


def seal(key: RoomKey, shortcut: str, text: str) -> bytes:
    """A reply's text, to be stored."""
    return key.seal(_what(shortcut), text.encode())


async def sealed(session: AsyncSession, shortcut: str, text: str) -> bytes:
    """A reply's text, to be stored."""
    connection = await driver(session)
    return seal(await connection.keys.of_purpose(connection, PURPOSE), shortcut, text)


async def replies(session: AsyncSession) -> Sequence[CannedReply]:
    """Every canned reply, by shortcut."""
    found = (await session.scalars(select(CannedReply).order_by(CannedReply.shortcut))).all()
    connection = await driver(session)
    key = await connection.keys.of_purpose(connection, PURPOSE) if found else None
    for reply in found:
        reply.text = (opened_with(key, _what(reply.shortcut), reply.sealed) or b"").decode()
    return found


def _what(shortcut: str) -> bytes:
    return b"canned\0" + shortcut.encode()
