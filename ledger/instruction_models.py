"""The tables of payment instructions: what is to be moved, how it came to where it stands, and what providers hint.

Besides, how they compare with the providers' own lists (ledger/matching.py). Which states follow which is a trigger
of PostgreSQL; so is that the timeline is only ever added to.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text
from sqlalchemy import Identity as GeneratedId
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base
from ledger.disputes import CLOSED, Stage
from ledger.instructions import Direction, Method, State
from ledger.invoice_models import InvoiceRow
from ledger.journal import KEY_CHARS_MAX
from ledger.matching import Difference
from ledger.models import JournalEntry
from ledger.money import MINOR_MAX


def _listed(values: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{value}'" for value in values)


class PaymentInstruction(Base):
    """One movement of money at a provider: ledger/instructions.py says which states there are.

    It is claimed under a lease by the database's clock and `attempt`, the fence; `due_at` is when it wants to be looked
    at, null when nothing is left to do.
    """

    __tablename__ = "payment_instruction"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    reference: Mapped[str] = mapped_column(unique=True, doc="what the provider knows it by")
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the request")
    request_hash: Mapped[bytes] = mapped_column(doc="SHA-256 of the request")
    direction: Mapped[str]
    method: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="ready")
    owner: Mapped[str] = mapped_column(doc="whose wallet it fills or empties: an opaque key")
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where its end is told")
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(doc="minor units")
    fee: Mapped[int] = mapped_column(server_default="0", doc="minor units that we charge besides")
    kind: Mapped[str] = mapped_column(doc="of the journal entry that its success is")
    payee: Mapped[bytes | None] = mapped_column(doc="account and name, sealed with the conversation's key")
    tracking_id: Mapped[str | None] = mapped_column(unique=True, doc="the provider's, of a payout")
    invoice_id: Mapped[str | None] = mapped_column(unique=True, doc="the provider's, of a collection")
    session: Mapped[str | None] = mapped_column(doc="the provider's, of a page to pay on")
    page_url: Mapped[str | None] = mapped_column(doc="where it is paid, of one that is paid on a page")
    receipt: Mapped[str | None] = mapped_column(doc="the provider's number of the movement itself")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    tries: Mapped[int] = mapped_column(Integer, server_default="0", doc="how often the provider could not be told")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    due_at: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp())
    hinted_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None] = mapped_column(doc="when the provider was told; later looks count from it")
    failing_since: Mapped[datetime | None] = mapped_column(doc="since when the provider says that a payout failed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    done_at: Mapped[datetime | None]
    charge: Mapped[int | None] = mapped_column(doc="minor units that the provider said at its end to keep of it")
    settled_at: Mapped[datetime | None] = mapped_column(doc="when it was found in the provider's own list")
    pays: Mapped[int | None] = mapped_column(ForeignKey(InvoiceRow.id), doc="our invoice that its success is paid on")
    account: Mapped[str | None] = mapped_column(
        doc="the person's own account with the provider that it goes through, by ledger/own_accounts; null: ours"
    )
    refunds: Mapped[int | None] = mapped_column(
        ForeignKey("payment_instruction.id"), doc="the payment to us that it gives back, or some of it"
    )
    dispute_id: Mapped[int | None] = mapped_column(
        ForeignKey("dispute.id", use_alter=True), doc="what is refunded for; then it is paid from what that has frozen"
    )
    __table_args__ = (
        CheckConstraint(f"direction IN ({_listed(Direction)})", name="direction"),
        CheckConstraint(f"method IN ({_listed(Method)})", name="method"),
        CheckConstraint("(direction = 'out') = (method IN ('payout', 'refund'))", name="payouts_go_out"),
        CheckConstraint("length(account) BETWEEN 1 AND 40", name="account"),
        CheckConstraint("(method = 'refund') = (refunds IS NOT NULL)", name="refunds_something"),
        CheckConstraint(f"state IN ({_listed(State)})", name="state"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        CheckConstraint("octet_length(request_hash) = 32", name="request_hash"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint("fee BETWEEN 0 AND amount", name="fee"),
        CheckConstraint(
            "pays IS NULL OR direction = 'in' AND kind = 'INVOICE_PAYMENT'", name="invoices_are_paid_in"
        ),
        Index("ix_payment_instruction_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_payment_instruction_person", "person_id", "id"),
        Index("ix_payment_instruction_created_at", "created_at"),
        Index("ix_payment_instruction_pays", "pays", postgresql_where=text("pays IS NOT NULL")),
        Index("ix_payment_instruction_refunds", "refunds", postgresql_where=text("refunds IS NOT NULL")),
        Index("ix_payment_instruction_review", "id", postgresql_where=text("state = 'needs_review'")),
        Index(
            "ix_payment_instruction_unsettled", "id",
            postgresql_where=text("settled_at IS NULL AND state IN ('succeeded', 'complete', 'late')"),
        ),
    )  # fmt: skip


class PaymentEvent(Base):
    """One move of an instruction, or one answer that moved nothing; ids, codes and amounts alone."""

    __tablename__ = "payment_event"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    instruction_id: Mapped[int] = mapped_column(ForeignKey("payment_instruction.id"))
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    from_state: Mapped[str | None]
    to_state: Mapped[str]
    actor: Mapped[str] = mapped_column(doc="'worker', 'person:<id>', 'staff:<name>'")
    reason: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[dict[str, Any] | None]
    __table_args__ = (Index("ix_payment_event_instruction", "instruction_id", "id"),)


class PaymentHint(Base):
    """What a provider's webhook said, kept once for ever. It is no evidence: it only has the provider asked."""

    __tablename__ = "payment_hint"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    instruction_id: Mapped[int] = mapped_column(ForeignKey("payment_instruction.id"))
    ref: Mapped[str] = mapped_column(doc="the provider's id of the payment")
    state: Mapped[str]
    said_at: Mapped[str] = mapped_column(doc="when the provider says that it changed, as it says it")
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("ref", "state", "said_at"),
        Index("ix_payment_hint_instruction", "instruction_id"),
    )


class SettledLine(Base):
    """A line of a provider's list that is a payment of ours; each settles one, and each payment is settled by one."""

    __tablename__ = "settled_line"
    line_id: Mapped[str] = mapped_column(primary_key=True, doc="the provider's")
    instruction_id: Mapped[int] = mapped_column(ForeignKey("payment_instruction.id"), unique=True)
    at: Mapped[datetime] = mapped_column(doc="when the provider says that it was")
    __table_args__ = (Index("ix_settled_line_at", "at"),)


class ReconciliationRun(Base):
    """One comparison with a provider's list; not finished while `finished_at` is null."""

    __tablename__ = "reconciliation_run"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]
    lines: Mapped[int] = mapped_column(server_default="0", doc="how many were read")
    matched: Mapped[int] = mapped_column(server_default="0", doc="how many of them this run settled")
    found: Mapped[int] = mapped_column(server_default="0", doc="how many findings it saw")
    unexplained: Mapped[dict[str, Any] | None] = mapped_column(doc="minor units by currency, of all open findings")


class ReconciliationFinding(Base):
    """Something on which we and a provider do not agree, until somebody has explained it."""

    __tablename__ = "reconciliation_finding"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(doc="the line's id, or our reference where there is no line")
    instruction_id: Mapped[int | None] = mapped_column(ForeignKey("payment_instruction.id"))
    currency: Mapped[str | None]
    unexplained: Mapped[int | None] = mapped_column(doc="minor units")
    ours: Mapped[str]
    theirs: Mapped[str]
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    note: Mapped[str | None]
    __table_args__ = (
        CheckConstraint(f"kind IN ({_listed(Difference)})", name="kind"),
        CheckConstraint("num_nulls(resolved_at, resolved_by, note) IN (0, 3)", name="resolved_with_a_note"),
        UniqueConstraint("kind", "subject"),
        Index("ix_reconciliation_finding_open", "id", postgresql_where=text("resolved_at IS NULL")),
    )


class Dispute(Base):
    """Somebody says that a payment to us was not right: ledger/disputes.py says which states there are."""

    __tablename__ = "dispute"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    reference: Mapped[str] = mapped_column(unique=True)
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the request")
    instruction_id: Mapped[int | None] = mapped_column(ForeignKey("payment_instruction.id"), doc="the payment to us")
    entry_id: Mapped[int | None] = mapped_column(
        ForeignKey(JournalEntry.id), doc="what was paid from a wallet here into another one, and is disputed"
    )
    state: Mapped[str] = mapped_column(server_default="open")
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(doc="minor units that are disputed")
    frozen: Mapped[int] = mapped_column(server_default="0", doc="minor units of it that are kept back")
    owed: Mapped[int] = mapped_column(server_default="0", doc="minor units that were lost and had been spent")
    line_id: Mapped[str | None] = mapped_column(unique=True, doc="the provider's chargeback, where it opened it")
    opened_by: Mapped[str] = mapped_column(doc="'provider', 'staff:<name>', 'person:<id>'")
    said_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"), doc="who paid, and says that it is not right")
    told_in: Mapped[UUID | None] = mapped_column(ForeignKey("conversation.id"), doc="where they are told of it")
    words: Mapped[bytes | None] = mapped_column(doc="what they say, sealed with the key of `told_in`")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    closed_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("num_nonnulls(instruction_id, entry_id) = 1", name="one_payment"),
        CheckConstraint("num_nulls(said_by, told_in) IN (0, 2)", name="told_somewhere"),
        CheckConstraint("entry_id IS NULL OR said_by IS NOT NULL AND line_id IS NULL", name="entries_by_their_payers"),
        CheckConstraint(f"state IN ({_listed(Stage)})", name="state"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint("frozen BETWEEN 0 AND amount", name="frozen"),
        CheckConstraint("owed BETWEEN 0 AND amount", name="owed"),
        CheckConstraint(
            f"(closed_at IS NULL) = (state IN ({_listed(one for one in Stage if one not in CLOSED)}))", name="closed"
        ),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        Index("ix_dispute_instruction_id", "instruction_id"),
        Index("ix_dispute_said_by", "said_by", "created_at", postgresql_where=text("said_by IS NOT NULL")),
        Index(
            "uq_dispute_entry_id",
            "entry_id",
            unique=True,
            postgresql_where=text("entry_id IS NOT NULL AND closed_at IS NULL"),
        ),
        Index("ix_dispute_waiting", "id", postgresql_where=text("closed_at IS NULL")),
    )


class DisputeEvent(Base):
    """One step of a dispute: only ever added to."""

    __tablename__ = "dispute_event"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    dispute_id: Mapped[int] = mapped_column(ForeignKey("dispute.id"))
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    from_state: Mapped[str | None]
    to_state: Mapped[str]
    amount: Mapped[int] = mapped_column(server_default="0", doc="minor units that this step moved")
    actor: Mapped[str] = mapped_column(doc="'provider', 'worker', 'staff:<name>', 'person:<id>'")
    reason: Mapped[str] = mapped_column(server_default="")
    __table_args__ = (Index("ix_dispute_event_dispute", "dispute_id", "id"),)
