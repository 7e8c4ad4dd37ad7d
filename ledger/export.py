"""The books as text: a journal that Beancount reads, and CSV in which a spreadsheet finds no formula."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

from ledger.money import Money
from ledger.reconcile import READING, whole_entries

ROOTS: Final = {
    "ASSET": "Assets", "LIABILITY": "Liabilities", "EQUITY": "Equity", "INCOME": "Income", "EXPENSE": "Expenses",
}  # fmt: skip
FIELDS: Final = (
    "entry", "key", "at", "occurred_at", "kind", "reference", "reverses", "settles", "rate", "rate_pair", "rate_source",
    "account", "account_type", "currency", "amount", "balance_after",
)  # fmt: skip
ACCOUNTS = """
SELECT id, key, type, currency, posted, created_at, moved_at FROM account ORDER BY id
"""
_UNFIT = re.compile(r"[^A-Za-z0-9]+")
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula."""


async def beancount(connection: Any) -> AsyncIterator[str]:
    """The whole books as of one moment as a Beancount journal, a piece at a time; dates are days of UTC.

    `connection` is in a transaction in which nothing was read yet. Every account's balance is asserted at the end.
    """
    await connection.execute(READING)
    accounts = await connection.fetch(ACCOUNTS)
    yield 'option "title" "Mathia"\n\n'
    for row in accounts:
        yield f"{row['created_at']:%Y-%m-%d} open {name(row)} {row['currency']}\n  key: {_quoted(row['key'])}\n"
    async for rows in whole_entries(connection):
        yield _transaction(rows)
    for row in accounts:
        day = row["moved_at"] + timedelta(days=1)
        side = 1 if row["type"] in ("ASSET", "EXPENSE") else -1
        yield f"{day:%Y-%m-%d} balance {name(row)} {_amount(side * row['posted'], row['currency'])}\n"


def _transaction(rows: list[Any]) -> str:
    head = rows[0]
    lines = [
        f"\n{head['at']:%Y-%m-%d} * {_quoted(head['kind'])} {_quoted(head['entry_key'])}",
        f"  entry: {head['id']}",
    ]
    lines += [
        f"  {column}: {_quoted(str(head[column]))}"
        for column in ("reference", "occurred_at", "reverses", "settles", "rate", "rate_pair", "rate_source")
        if head[column] is not None
    ]
    lines += [
        f"  {name({'id': row['account_id'], 'key': row['key'], 'type': row['type']})}"
        f" {_amount(row['amount'], row['currency'])}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def name(row: Any) -> str:
    """Beancount's name of an account: letters, digits and dashes, the id at its end so that no two are the same."""
    return f"{ROOTS[row['type']]}:K{_UNFIT.sub('-', row['key'])}-{row['id']}"


def _amount(minor: int, currency: str) -> str:
    return f"{Money(minor, currency).decimal:f} {currency}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def as_csv(connection: Any) -> AsyncIterator[str]:
    """Every posting as of one moment as CSV, a piece at a time; amounts are decimal, debits positive."""
    await connection.execute(READING)
    yield _line(FIELDS)
    async for rows in whole_entries(connection):
        yield "".join(_line(_values(row)) for row in rows)


def _values(row: Any) -> tuple[Any, ...]:
    return (
        row["id"], row["entry_key"], row["at"].isoformat(), row["occurred_at"] and row["occurred_at"].isoformat(),
        row["kind"], row["reference"], row["reverses"], row["settles"], row["rate"], row["rate_pair"],
        row["rate_source"], row["key"], row["type"], row["currency"],
        Money(row["amount"], row["currency"]).decimal, Money(row["balance_after"], row["currency"]).decimal,
    )  # fmt: skip


def _line(values: tuple[Any, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([harmless(value) if isinstance(value, str) else value for value in values])
    return out.getvalue()


def harmless(text: str) -> str:
    """Text that no spreadsheet runs."""
    return f"'{text}" if text.startswith(_FORMULA) else text
