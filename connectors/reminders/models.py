"""The reminder table: what to say, to whom, and when by the person's own clock."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db import driver
from core.models import Base

LOOKED_AT = text("coalesce(deferred_until, due_at)")
RANK = text("array_position('{high,normal,low}'::text[], priority)")
"""Which of several goes first when not all of them may."""


class Reminder(Base):
    """One reminder. Wall time and zone are the truth; `due_at` is the instant they mean, set anew each time.

    active -> done (fired for the last time) | cancelled. One that is over the limit of its person is active, and looked
    at again at `deferred_until`.
    """

    __tablename__ = "reminder"
    content = ""
    """The words, once `open_contents` was there; no column."""
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it speaks")
    sealed: Mapped[bytes] = mapped_column(doc="its words, under the key of the room where it speaks")
    wall_time: Mapped[datetime] = mapped_column(
        DateTime(timezone=False),
        doc="any occurrence by the local clock: the first one, or the next",
    )
    zone: Mapped[str] = mapped_column(doc="IANA zone of wall_time")
    rrule: Mapped[str | None] = mapped_column(doc="RRULE body as recurrence.settle writes it; null for once")
    due_at: Mapped[datetime]
    deferred_until: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(server_default="active")
    priority: Mapped[str] = mapped_column(server_default="normal")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that set it")
    cancel_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the call that cancelled it")
    last_sent_for: Mapped[datetime | None] = mapped_column(doc="the due_at it was last sent for")
    __table_args__ = (
        CheckConstraint("state IN ('active', 'done', 'cancelled')", name="state"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index(
            "ix_reminder_due",
            LOOKED_AT,
            RANK,
            "conversation_id",
            postgresql_where=text("state = 'active'"),
        ),
        Index("ix_reminder_person", "person_id", "due_at", postgresql_where=text("state = 'active'")),
    )


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
