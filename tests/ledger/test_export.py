"""The books as text: what the public tools read is what PostgreSQL holds."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest

from core.db import Database
from ledger import export
from ledger.posting import Ledger
from tests.ledger.test_reconcile import fill


async def written(db: Database, write: Callable[[Any], AsyncIterator[str]]) -> str:
    async with db.hot() as connection:
        return "".join([piece async for piece in write(connection)])


async def test_beancount_finds_the_same_balances(ledger: Ledger, db: Database) -> None:
    loader, realization = (
        pytest.importorskip(name, reason="beancount is not among the development packages yet")
        for name in ("beancount.loader", "beancount.core.realization")
    )
    await fill(ledger, db)
    entries, errors, _ = loader.load_string(await written(db, export.beancount))
    assert errors == []  # Among them would be an asserted balance that is not what Beancount adds up to.
    tree = realization.realize(entries)
    for row in await db.pool.fetch("SELECT id, type, key, currency, ledger_side(type) * posted AS minor FROM account"):
        has = realization.get(tree, export.name(row)).balance.get_currency_units(row["currency"]).number
        assert has == Decimal(row["minor"]).scaleb(-2)
    transactions = [one for one in entries if type(one).__name__ == "Transaction"]
    assert [one.narration for one in transactions] == ["one", "two", "mistake", "undo", "change", "payout"]
    assert transactions[-1].meta["reference"] == 'a "quoted" \\ one'


async def test_csv_has_every_posting_and_no_formula(ledger: Ledger, db: Database) -> None:
    await fill(ledger, db)
    rows = list(csv.DictReader(io.StringIO(await written(db, export.as_csv))))
    assert len(rows) == await db.pool.fetchval("SELECT count(*) FROM posting")
    assert sum(Decimal(row["amount"]) for row in rows) == 0
    assert {row["reference"] for row in rows if row["key"] == "undo"} == {"'=CMD()"}
    assert {row["rate"] for row in rows if row["key"] == "change"} == {"0.00773"}
    [paid] = [row for row in rows if row["key"] == "payout" and row["account"] == "wallet:juma:KES"]
    assert (paid["amount"], paid["balance_after"], paid["currency"]) == ("4.00", "46.00", "KES")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "＋1", "－1", "＠1"])
def test_text_that_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert export.harmless(text) == f"'{text}"
    assert export.harmless(f"x{text}") == f"x{text}"
