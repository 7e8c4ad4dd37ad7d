"""Invoices: what somebody asks another to pay, numbered without gaps in each year, and what was paid against them.

Which states follow which, and what each says about the sum paid, PostgreSQL sees to (alembic 0048). What is written on
an invoice comes here sealed; nothing here reads it.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from ledger.errors import IllegalEntry, KeyReused, Unknown
from ledger.journal import check_key
from ledger.money import Money

PAYABLE = frozenset({"sent", "part_paid", "overdue", "paid"})
"""States in which a payment counts; of one that is paid, it is paid over."""

_INVOICE = "SELECT id, number, request_hash, state, currency, amount, paid, due_on, sealed FROM invoice"
BY_KEY = f"{_INVOICE} WHERE key = $1"
BY_NUMBER = f"{_INVOICE} WHERE number = $1"
LOCK = f"{_INVOICE} WHERE number = $1 FOR NO KEY UPDATE"
NEXT = """
INSERT INTO invoice_counter AS c (year, last) VALUES ($1, 1)
ON CONFLICT (year) DO UPDATE SET last = c.last + 1 RETURNING last
"""
"""Its row stays locked until the transaction ends: who rolls back gives the number back, and the next one has it."""
HOLD_KEY = "SELECT pg_advisory_xact_lock(hashtextextended('invoice:' || $1, 0))"
MAKE = """
INSERT INTO invoice (number, key, request_hash, person_id, currency, amount, due_on, sealed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
PAYMENT = "SELECT invoice_id, amount FROM invoice_payment WHERE key = $1"
PAY = "INSERT INTO invoice_payment (key, invoice_id, amount) VALUES ($1, $2, $3)"
PAID = "UPDATE invoice SET paid = $2, state = $3 WHERE id = $1"
MOVE = "UPDATE invoice SET state = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice: `number` such as INV-2026-00007; `rest` is what is still to be paid, negative where it is over."""

    number: str
    state: str
    amount: Money
    paid: Money
    due_on: date | None
    sealed: bytes | None

    @property
    def rest(self) -> Money:
        """What is still to be paid; negative by what was paid too much."""
        return self.amount - self.paid


async def create(
    connection: Any, key: str, request_hash: bytes, issuer: UUID, amount: Money, sealed: bytes, *, today: date,
    due_on: date | None = None,
) -> Invoice:  # fmt: skip
    """Make a draft under the next number of the year of `today`, the issuer's date, in the caller's transaction.

    The same key again gives the same invoice. Raises KeyReused where the request was another, or IllegalEntry.
    """
    check_key(key)
    if amount.minor <= 0:
        raise IllegalEntry("An invoice is for a positive amount.")
    await connection.execute(HOLD_KEY, key)
    row = await connection.fetchrow(BY_KEY, key)
    if row is None:
        last = await connection.fetchval(NEXT, today.year)
        number = f"INV-{today.year:04}-{last:05}"
        await connection.execute(
            MAKE, number, key, request_hash, issuer, amount.currency, amount.minor, due_on, sealed
        )
        row = await connection.fetchrow(BY_KEY, key)
    if row["request_hash"] != request_hash:
        raise KeyReused("The key was used for another invoice.")
    return _read(row)


async def pay(connection: Any, number: str, key: str, amount: Money) -> Invoice:
    """Count a payment against an invoice, once for each key, in the caller's transaction.

    Raises Unknown, KeyReused, or IllegalEntry for another currency or an invoice that takes no payment.
    """
    check_key(key)
    row = await connection.fetchrow(LOCK, number)
    if row is None:
        raise Unknown(f"There is no invoice {number}.")
    if amount.currency != row["currency"] or amount.minor <= 0:
        raise IllegalEntry("A payment is a positive amount in the currency of its invoice.")
    if (earlier := await connection.fetchrow(PAYMENT, key)) is not None:
        if (earlier["invoice_id"], earlier["amount"]) != (row["id"], amount.minor):
            raise KeyReused("The key was used for another payment.")
        return _read(row)
    if row["state"] not in PAYABLE:
        raise IllegalEntry(f"An invoice that is {row['state']} takes no payment.")
    paid = Money(row["paid"], row["currency"]) + amount
    state = "paid" if paid.minor >= row["amount"] else "overdue" if row["state"] == "overdue" else "part_paid"
    await connection.execute(PAY, key, row["id"], amount.minor)
    await connection.execute(PAID, row["id"], paid.minor, state)
    return _read(await connection.fetchrow(BY_NUMBER, number))


async def move(connection: Any, number: str, state: str) -> Invoice:
    """Bring an invoice to another state, which PostgreSQL refuses where the law does; raises Unknown."""
    row = await connection.fetchrow(LOCK, number)
    if row is None:
        raise Unknown(f"There is no invoice {number}.")
    await connection.execute(MOVE, row["id"], state)
    return _read(await connection.fetchrow(BY_NUMBER, number))


def _read(row: Any) -> Invoice:
    currency = row["currency"]
    return Invoice(
        row["number"], row["state"], Money(row["amount"], currency), Money(row["paid"], currency), row["due_on"],
        row["sealed"],
    )  # fmt: skip
