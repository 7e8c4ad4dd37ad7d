"""The sweep of holds: money is free again once its time is over."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from core.db import Database
from jobs.holds import sweep_holds
from ledger import holds
from ledger.accounts import clearing, wallet
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.waiting import until

AMINA = wallet("amina", "KES")
FIVE = Money(500, "KES")
SOON = timedelta(milliseconds=200)


async def test_a_hold_whose_time_is_over_is_let_go(db: Database) -> None:
    await Ledger(db).post(Entry("d", Kind.DEPOSIT, (debit(clearing("bank", "KES"), FIVE), credit(AMINA, FIVE))))
    async with db.hot() as connection:
        await holds.place(connection, "soon", AMINA, Money(200, "KES"), expires_at=datetime.now(UTC) + SOON)
        await holds.place(connection, "stays", AMINA, Money(200, "KES"))
    sweeping = asyncio.create_task(sweep_holds(db))

    async def expired() -> bool:
        one = await holds.find(db.pool, "soon")
        return one is not None and one.state == "expired"

    await until(expired, what="the hold being let go")
    assert await db.pool.fetchval("SELECT pending_out FROM account WHERE key = $1", AMINA.key) == 200
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping
