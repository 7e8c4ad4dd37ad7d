"""The words of reminders, sealed under the key of the room where they speak."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.db import driver
from core.models import Reminder

GONE = "(no longer readable)"
"""What a reminder says whose room's key was destroyed."""


def as_reminder(reminder_id: UUID) -> bytes:
    """What its words are sealed as."""
    return b"reminder\0" + reminder_id.bytes


async def seal_content(session: AsyncSession, reminder_id: UUID, conversation_id: UUID, content: str) -> bytes:
    """Its words, as they are stored."""
    connection = await driver(session)
    key = await connection.keys.of(connection, conversation_id)
    sealed: bytes = key.seal(as_reminder(reminder_id), content.encode())
    return sealed


async def open_contents(session: AsyncSession, reminders: Sequence[Reminder]) -> Sequence[Reminder]:
    """The same reminders, with their words."""
    connection = await driver(session)
    values = [(one.conversation_id, as_reminder(one.id), one.sealed) for one in reminders]
    for one, content in zip(reminders, await connection.keys.opened(connection, values), strict=True):
        one.content = GONE if content is None else content.decode()
    return reminders
