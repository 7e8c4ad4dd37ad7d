"""The tables of invoices; which states follow which is a trigger of PostgreSQL."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, func, text
from sqlalchemy import Identity as GeneratedId
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base
from ledger.money import MINOR_MAX


class InvoiceCounter(Base):
    """The last number given in a year."""

    __tablename__ = "invoice_counter"
    year: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(Integer)
    __table_args__ = (CheckConstraint("last BETWEEN 1 AND 99999", name="last"),)


class InvoiceRow(Base):
    """One invoice; ledger/invoices.py says what its states are."""

    __tablename__ = "invoice"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the request")
    request_hash: Mapped[bytes] = mapped_column(doc="SHA-256 of the request")
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), doc="who asks to be paid")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where its payments are told")
    state: Mapped[str] = mapped_column(server_default="draft")
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(doc="minor units")
    paid: Mapped[int] = mapped_column(server_default="0", doc="minor units")
    issued_on: Mapped[date] = mapped_column(doc="in the issuer's time zone")
    due_on: Mapped[date | None]
    token_hash: Mapped[bytes | None] = mapped_column(unique=True, doc="SHA-256 of what its address to pay ends in")
    sealed: Mapped[bytes | None] = mapped_column(doc="words and token, with the conversation's key")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    series_id: Mapped[int | None] = mapped_column(ForeignKey("invoice_series.id"), doc="what it comes round of")
    mail_to: Mapped[UUID | None] = mapped_column(ForeignKey("conversation.id"), doc="the client's mailbox")
    whatsapp_to: Mapped[UUID | None] = mapped_column(ForeignKey("conversation.id"), doc="the client's number")
    due_at: Mapped[datetime | None] = mapped_column(doc="when it wants to be looked at: sent, or reminded of")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    attempt: Mapped[int] = mapped_column(Integer, server_default="0", doc="of looks; the fence of whoever looks")
    reminded: Mapped[int] = mapped_column(Integer, server_default="0", doc="how often its client was")
    __table_args__ = (
        CheckConstraint("number ~ '^INV-[0-9]{4}-[0-9]{5}$'", name="number"),
        CheckConstraint("octet_length(request_hash) = 32", name="request_hash"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint(f"paid BETWEEN 0 AND {MINOR_MAX}", name="paid"),
        CheckConstraint("state IN ('draft', 'sent', 'part_paid', 'paid', 'overdue', 'void', 'disputed')", name="state"),
        CheckConstraint(
            "CASE state WHEN 'paid' THEN paid >= amount WHEN 'part_paid' THEN paid BETWEEN 1 AND amount - 1"
            " WHEN 'overdue' THEN paid < amount WHEN 'draft' THEN paid = 0"
            " WHEN 'sent' THEN paid = 0 ELSE true END",
            name="state_says_what_is_paid",
        ),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash"),
        CheckConstraint("due_on >= issued_on", name="due_later"),
        Index("ix_invoice_person", "person_id", "id"),
        Index("ix_invoice_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_invoice_mail_to", "mail_to", postgresql_where=text("mail_to IS NOT NULL")),
        Index("ix_invoice_whatsapp_to", "whatsapp_to", postgresql_where=text("whatsapp_to IS NOT NULL")),
    )


class InvoiceSeries(Base):
    """An invoice that comes round again: `wall_time` is its next occurrence under `rrule`, `due_at` that instant."""

    __tablename__ = "invoice_series"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the request")
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), doc="who asks to be paid")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    mail_to: Mapped[UUID | None] = mapped_column(ForeignKey("conversation.id"))
    whatsapp_to: Mapped[UUID | None] = mapped_column(ForeignKey("conversation.id"))
    currency: Mapped[str]
    amount: Mapped[int] = mapped_column(doc="minor units")
    due_days: Mapped[int | None] = mapped_column(Integer, doc="from the day of an invoice to that it is due on")
    rrule: Mapped[str]
    wall_time: Mapped[datetime] = mapped_column(DateTime)
    zone: Mapped[str] = mapped_column(doc="IANA")
    sealed: Mapped[bytes | None] = mapped_column(doc="words, with the conversation's key")
    due_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint("due_days BETWEEN 0 AND 400", name="due_days"),
        CheckConstraint("ended_at IS NULL OR due_at IS NULL", name="ended"),
        Index("ix_invoice_series_person", "person_id", "id"),
        Index("ix_invoice_series_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )


class InvoicePayment(Base):
    """One payment against an invoice."""

    __tablename__ = "invoice_payment"
    key: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"), index=True)
    amount: Mapped[int] = mapped_column(doc="minor units")
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),)


class InvoiceMark(Base):
    """What its issuer says was paid on an invoice outside of us; one that is taken back says so and stays."""

    __tablename__ = "invoice_mark"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"), index=True)
    amount: Mapped[int] = mapped_column(doc="minor units")
    how: Mapped[str]
    paid_on: Mapped[date] = mapped_column(doc="in the issuer's time zone")
    was: Mapped[str] = mapped_column(doc="the invoice's state before")
    marked_by: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
    __table_args__ = (
        CheckConstraint(f"amount BETWEEN 1 AND {MINOR_MAX}", name="amount"),
        CheckConstraint("how IN ('cash', 'cheque', 'bank', 'mpesa', 'other')", name="how"),
        CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone"),
    )


class InvoiceResend(Base):
    """An invoice that is to go to its client once more."""

    __tablename__ = "invoice_resend"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"), index=True)
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    sent_at: Mapped[datetime | None]
