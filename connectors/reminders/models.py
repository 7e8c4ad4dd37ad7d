"""The reminder table: what to say, to whom, and when by the person's own clock."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base


class Reminder(Base):
    """One reminder. Wall time and zone are the truth; `due_at` is the instant they mean, set anew each time.

    active -> done (fired for the last time) | cancelled.
    """

    __tablename__ = "reminder"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it speaks")
    content: Mapped[str]
    wall_time: Mapped[datetime] = mapped_column(
        DateTime(timezone=False),
        doc="any occurrence by the local clock: the first one, or the next",
    )
    zone: Mapped[str] = mapped_column(doc="IANA zone of wall_time")
    rrule: Mapped[str | None] = mapped_column(doc="RRULE body as recurrence.settle writes it; null for once")
    due_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="active")
    priority: Mapped[str] = mapped_column(server_default="normal")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that set it")
    cancel_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the call that cancelled it")
    last_sent_for: Mapped[datetime | None] = mapped_column(doc="the due_at it was last sent for")
    __table_args__ = (
        CheckConstraint("state IN ('active', 'done', 'cancelled')", name="state"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index("ix_reminder_due", "due_at", postgresql_where=text("state = 'active'")),
        Index("ix_reminder_person", "person_id", "due_at", postgresql_where=text("state = 'active'")),
    )
