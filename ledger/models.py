"""The tables of the ledger. Their laws are triggers and constraints of PostgreSQL: the migration has them, not this."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Numeric, UniqueConstraint, func, text
from sqlalchemy import Identity as GeneratedId
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base
from ledger.journal import KEY_CHARS_MAX, AccountType, Kind
from ledger.money import MINOR_MAX


def _listed(values: type[AccountType] | type[Kind]) -> str:
    return ", ".join(f"'{value}'" for value in values)


class Account(Base):
    """One account in one currency. Balances are in the account's own sense: what an account of its type usually has
    is positive. Only postings and holds change them."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True, doc="what it is known by, such as wallet:<owner>:KES")
    type: Mapped[str] = mapped_column()
    currency: Mapped[str] = mapped_column()
    owner: Mapped[str | None] = mapped_column(doc="whose it is, an opaque key; nothing else is known of them here")
    allow_negative: Mapped[bool] = mapped_column(server_default=text("false"))
    posted: Mapped[int] = mapped_column(server_default="0", doc="minor units")
    pending_out: Mapped[int] = mapped_column(server_default="0", doc="minor units that open holds keep back")
    seq: Mapped[int] = mapped_column(server_default="0", doc="how many postings it has")
    moved_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), doc="of its newest posting")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        CheckConstraint(f"type IN ({_listed(AccountType)})", name="type"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        CheckConstraint("allow_negative OR posted - pending_out >= 0", name="overdraft"),
        CheckConstraint("NOT (allow_negative AND type = 'LIABILITY')", name="owed_is_never_negative"),
        CheckConstraint(f"posted BETWEEN -{MINOR_MAX} AND {MINOR_MAX}", name="posted"),
        CheckConstraint("pending_out >= 0", name="pending_out"),
        UniqueConstraint("id", "currency"),
        Index("ix_account_owner", "owner", postgresql_where=text("owner IS NOT NULL")),
    )


class JournalEntry(Base):
    """One event in the books, written once with all its postings, never changed."""

    __tablename__ = "journal_entry"
    id: Mapped[int] = mapped_column(GeneratedId(always=False), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the request")
    request_hash: Mapped[bytes] = mapped_column(doc="SHA-256 of the request: ledger/journal.py")
    kind: Mapped[str] = mapped_column()
    at: Mapped[datetime] = mapped_column(doc="when it was written; never earlier than what its accounts had before")
    occurred_at: Mapped[datetime | None] = mapped_column(doc="when it happened, as whoever reported it said")
    reference: Mapped[str | None] = mapped_column(doc="an opaque id elsewhere: of a payment, an invoice, a provider")
    reverses: Mapped[int | None] = mapped_column(ForeignKey("journal_entry.id"))
    settles: Mapped[str | None] = mapped_column(doc="key of the hold it posts")
    rate: Mapped[Decimal | None] = mapped_column(Numeric, doc="units of the second currency for one of the first")
    rate_pair: Mapped[str | None] = mapped_column(doc="USD/KES")
    rate_source: Mapped[str | None] = mapped_column()
    rated_at: Mapped[datetime | None] = mapped_column()
    __table_args__ = (
        CheckConstraint(f"kind IN ({_listed(Kind)})", name="kind"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        CheckConstraint("octet_length(request_hash) = 32", name="request_hash"),
        CheckConstraint(f"length(reference) <= {KEY_CHARS_MAX}", name="reference"),
        CheckConstraint("(kind = 'REVERSAL') = (reverses IS NOT NULL)", name="reversal"),
        CheckConstraint("num_nulls(rate, rate_pair, rate_source, rated_at) IN (0, 4) AND rate > 0", name="rate"),
        Index("uq_journal_entry_reverses", "reverses", unique=True, postgresql_where=text("reverses IS NOT NULL")),
    )


class Posting(Base):
    """One leg of an entry: what it moved on one account, and what was there afterwards."""

    __tablename__ = "posting"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    account_seq: Mapped[int] = mapped_column(primary_key=True, doc="1, 2, 3 … on its account, without a gap")
    entry_id: Mapped[int] = mapped_column(ForeignKey("journal_entry.id"))
    currency: Mapped[str] = mapped_column()
    amount: Mapped[int] = mapped_column(doc="minor units; debits are positive, credits negative")
    balance_after: Mapped[int] = mapped_column(doc="minor units, in the account's own sense")
    at: Mapped[datetime] = mapped_column(doc="its entry's")
    __table_args__ = (
        CheckConstraint(f"amount <> 0 AND amount BETWEEN -{MINOR_MAX} AND {MINOR_MAX}", name="amount"),
        UniqueConstraint("entry_id", "account_id"),
        ForeignKeyConstraint(["account_id", "currency"], ["account.id", "account.currency"]),
    )


class RefusedEntry(Base):
    """A request that was refused for what its accounts held then; its key has that answer for ever."""

    __tablename__ = "refused_entry"
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column()
    reason: Mapped[str] = mapped_column()
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        CheckConstraint("reason IN ('insufficient_funds', 'balance_limit')", name="reason"),
        CheckConstraint("octet_length(request_hash) = 32", name="request_hash"),
    )


class Hold(Base):
    """Money of an account that is kept back until it is posted, voided or expired, whichever comes first."""

    __tablename__ = "hold"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount: Mapped[int] = mapped_column(doc="minor units of the account's currency")
    state: Mapped[str] = mapped_column(server_default="open")
    expires_at: Mapped[datetime | None] = mapped_column(doc="without one it stays until it is posted or voided")
    entry_id: Mapped[int | None] = mapped_column(
        ForeignKey("journal_entry.id", deferrable=True, initially="DEFERRED"), unique=True, doc="what posted it"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    resolved_at: Mapped[datetime | None] = mapped_column()
    __table_args__ = (
        CheckConstraint("state IN ('open', 'posted', 'voided', 'expired')", name="state"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        CheckConstraint("(state = 'posted') = (entry_id IS NOT NULL)", name="posted_is_an_entry"),
        CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="resolved_once"),
        Index("ix_hold_account_id", "account_id", postgresql_where=text("state = 'open'")),
        Index("ix_hold_expires_at", "expires_at", postgresql_where=text("state = 'open' AND expires_at IS NOT NULL")),
    )


class PaymentSwitch(Base):
    """The one row that says whether payments are stopped for everybody: ledger/payment_switch.py."""

    __tablename__ = "payment_switch"
    is_there: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    stopped_at: Mapped[datetime | None]
    stopped_by: Mapped[str | None] = mapped_column(doc="who of the staff")
    __table_args__ = (
        CheckConstraint("is_there", name="one"),
        CheckConstraint("(stopped_at IS NULL) = (stopped_by IS NULL)", name="stopped_by_one"),
    )


class FeeSchedule(Base):
    """What a kind of movement costs from a time on (ledger/fees.py); never changed, a newer one takes its place."""

    __tablename__ = "fee_schedule"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(doc="of the journal entry it is charged for")
    currency: Mapped[str] = mapped_column()
    terms: Mapped[dict[str, Any]] = mapped_column(
        doc="tiers of [end, flat, basis points], at_least, at_most; minor units"
    )
    valid_from: Mapped[datetime] = mapped_column()
    made_by: Mapped[str] = mapped_column(doc="'staff:<name>'")
    made_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        CheckConstraint(f"kind IN ({_listed(Kind)})", name="kind"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        Index("ix_fee_schedule_in_force", "kind", "currency", "valid_from"),
    )


class Adjustment(Base):
    """A correction by hand, proposed and decided by staff (ledger/adjustments.py); what was proposed never changes."""

    __tablename__ = "adjustment"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the form that was sent")
    reverses: Mapped[int | None] = mapped_column(ForeignKey("journal_entry.id"))
    debit_account: Mapped[str | None]
    credit_account: Mapped[str | None]
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(doc="minor units")
    reason: Mapped[str]
    alone: Mapped[bool] = mapped_column(doc="whether one of the staff is enough")
    state: Mapped[str] = mapped_column(server_default="proposed")
    proposed_by: Mapped[str] = mapped_column(doc="'staff:<name>'")
    proposed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    expires_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    entry_id: Mapped[int | None] = mapped_column(ForeignKey("journal_entry.id"), unique=True)
    __table_args__ = (
        CheckConstraint("state IN ('proposed', 'posted', 'refused')", name="state"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint(f"length(key) BETWEEN 1 AND {KEY_CHARS_MAX}", name="key"),
        CheckConstraint("length(reason) BETWEEN 1 AND 500", name="reason"),
        CheckConstraint(
            "num_nonnulls(debit_account, credit_account) = CASE WHEN reverses IS NULL THEN 2 ELSE 0 END",
            name="one_thing",
        ),
        CheckConstraint(
            "num_nonnulls(decided_by, decided_at) = CASE WHEN state = 'proposed' THEN 0 ELSE 2 END", name="decided"
        ),
        CheckConstraint("(state = 'posted') = (entry_id IS NOT NULL)", name="posted_is_an_entry"),
        CheckConstraint("state <> 'posted' OR alone OR decided_by <> proposed_by", name="four_eyes"),
        Index("ix_adjustment_waiting", "id", postgresql_where=text("state = 'proposed'")),
    )
