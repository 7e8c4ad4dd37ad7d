"""Balances now and at a time, and statements that say how they came about."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from core.db import Database
from ledger import accounts, balances
from ledger.journal import Entry, Kind, Posting
from ledger.posting import Ledger
from tests.ledger.conftest import BANK, deposit, kes, purse, transfer


async def test_an_account_that_was_never_used_has_nothing(db: Database) -> None:
    assert (await balances.balance(db.pool, purse("nobody"))).available == kes(0)
    assert await balances.balance_at(db.pool, purse("nobody"), datetime.now(UTC)) == (kes(0), 0)
    assert await balances.statement(db.pool, purse("nobody")) == []
    assert await balances.balances_of(db.pool, "nobody") == []


async def test_a_statement_runs_back_from_the_balance(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 10_000))
    await asyncio.gather(*(ledger.post(transfer("amina", "juma", n)) for n in range(1, 21)))
    lines: list[balances.StatementLine] = []
    while page := await balances.statement(db.pool, purse("amina"), before=lines[-1].seq if lines else None, limit=8):
        lines += page
    assert [line.seq for line in lines] == list(range(21, 0, -1))
    assert lines[0].balance_after == (await balances.balance(db.pool, purse("amina"))).posted == kes(10_000 - 210)
    for line, before in pairwise(lines):
        assert line.balance_after == before.balance_after + line.amount
        assert line.at >= before.at
    assert (lines[-1].amount, lines[-1].kind) == (kes(10_000), Kind.DEPOSIT)
    assert [one.account for one in await balances.balances_of(db.pool, "amina")] == [purse("amina")]
    assert await accounts.find(db.pool, purse("amina").key) == purse("amina")
    assert await accounts.find(db.pool, "none") is None


async def test_a_balance_is_told_as_of_any_time(ledger: Ledger, db: Database) -> None:
    for minor in range(1, 12):
        await ledger.post(deposit("amina", minor))
    instant = timedelta(microseconds=1)
    for account in (purse("amina"), BANK):
        lines = await balances.statement(db.pool, account)
        assert await balances.balance_at(db.pool, account, lines[-1].at - instant) == (kes(0), 0)
        for line in lines:
            before = line.balance_after - line.amount
            assert await balances.balance_at(db.pool, account, line.at) == (line.balance_after, line.seq)
            assert await balances.balance_at(db.pool, account, line.at - instant) == (before, line.seq - 1)


async def test_every_account_of_the_chart_can_be_used(ledger: Ledger, db: Database) -> None:
    chart = [
        accounts.wallet("amina", "KES"), accounts.disputed("amina", "KES"), accounts.clearing("p", "KES"),
        accounts.held_at("p", "KES"), accounts.fee_income("KES"), accounts.fee_expense("p", "KES"),
        accounts.exchange("KES"),
    ]  # fmt: skip
    for account in chart:
        side = account.type.side  # So that each has more of what it usually has.
        legs = Posting(account, kes(side * 100)), Posting(accounts.clearing("bank", "KES"), kes(-side * 100))
        await ledger.post(Entry(account.key, Kind.FEE, legs))
        assert (await balances.balance(db.pool, account)).posted == kes(100)
        assert await accounts.find(db.pool, account.key) == account
    assert len({account.key for account in chart}) == len(chart)
