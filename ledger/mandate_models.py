"""The tables of standing mandates: what a workflow may pay, and what it did. Their laws are triggers of PostgreSQL."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, func, text
from sqlalchemy import Identity as GeneratedId
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base
from ledger.journal import KEY_CHARS_MAX
from ledger.money import MINOR_MAX

PAYEES_MAX = 10
"""Payees of one mandate: all of them are named in what is confirmed."""


class MandateRow(Base):
    """What one workflow, as it is now, may pay without being confirmed again: it rests on one confirmation.

    No term of it ever changes. It ends once, and by itself when its workflow is changed or deleted. Whose it is
    is told by the workflow, and by the confirmation.
    """

    __tablename__ = "mandate"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    confirmation_id: Mapped[UUID] = mapped_column(ForeignKey("confirmation.id"), unique=True)
    definition_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_definition.id"))
    version: Mapped[int] = mapped_column(Integer, doc="of the workflow: runs of another one do not pay")
    payees: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), doc="keyed hashes of who may be paid")
    currency: Mapped[str]
    max_each: Mapped[int] = mapped_column(doc="minor units, fees included, as all three")
    max_per_day: Mapped[int]
    max_total: Mapped[int]
    zone: Mapped[str] = mapped_column(doc="IANA zone whose midnight begins a day")
    until: Mapped[datetime] = mapped_column(doc="nothing is paid from then on")
    spent: Mapped[int] = mapped_column(server_default="0", doc="what its uses come to; only they move it")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None] = mapped_column(doc="when it was cancelled, replaced, or its workflow changed")
    __table_args__ = (
        CheckConstraint(
            f"cardinality(payees) BETWEEN 1 AND {PAYEES_MAX} AND array_position(payees, NULL) IS NULL", name="payees"
        ),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("0 < max_each AND max_each <= max_per_day AND max_per_day <= max_total", name="limits"),
        CheckConstraint(f"max_total <= {MINOR_MAX}", name="max_total"),
        CheckConstraint("spent BETWEEN 0 AND max_total", name="spent"),
        CheckConstraint("until > created_at", name="until"),
        Index("ix_mandate_definition_id", "definition_id", "id"),
        Index("uq_mandate_live", "definition_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )


class MandateUse(Base):
    """One payment under a mandate. It is never changed; `at` is the database's clock."""

    __tablename__ = "mandate_use"
    key: Mapped[str] = mapped_column(primary_key=True, doc="idempotency key of the step that paid")
    mandate_id: Mapped[int] = mapped_column(ForeignKey("mandate.id"))
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow_run.workflow_id"), doc="the run that paid")
    payee: Mapped[bytes] = mapped_column(doc="one of the mandate's")
    amount: Mapped[int] = mapped_column(doc="minor units, with the fee")
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        Index("ix_mandate_use_mandate_id", "mandate_id", "at"),
        Index("ix_mandate_use_workflow_id", "workflow_id"),
    )
