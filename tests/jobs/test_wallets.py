"""Money follows a person who is joined with another."""

import asyncio
from contextlib import suppress
from functools import partial
from uuid import uuid4

from core.db import Database
from jobs.wallets import move_left_behind, sweep_wallets
from ledger import balances, holds, reconcile
from ledger.accounts import clearing, disputed, wallet
from ledger.journal import Account, Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.waiting import until

BANK = clearing("bank", "KES")


def kes(minor: int) -> Money:
    return Money(minor, "KES")


async def has(db: Database, account: Account, minor: int) -> bool:
    return (await balances.balance(db.pool, account)).posted == kes(minor)


async def test_what_is_free_moves_and_what_is_held_follows(db: Database) -> None:
    gone, kept = str(uuid4()), str(uuid4())
    for person in (gone, kept):
        await db.pool.execute("INSERT INTO person (id) VALUES ($1)", person)
    ledger = Ledger(db)
    for name, account, minor in (
        ("wallet", wallet(gone, "KES"), 500), ("frozen", disputed(gone, "KES"), 40), ("kept", wallet(kept, "KES"), 7),
    ):  # fmt: skip
        await ledger.post(Entry(name, Kind.DEPOSIT, (debit(BANK, kes(minor)), credit(account, kes(minor)))))
    async with db.hot() as connection:
        await holds.place(connection, "h", wallet(gone, "KES"), kes(200))
    assert await move_left_behind(db) == 0
    await db.pool.execute("UPDATE person SET merged_into = $2 WHERE id = $1", gone, kept)
    await asyncio.gather(*(move_left_behind(db) for _ in range(8)))
    assert await has(db, wallet(kept, "KES"), 307)
    assert await has(db, wallet(gone, "KES"), 200)
    assert await has(db, disputed(kept, "KES"), 40)
    sweeping = asyncio.create_task(sweep_wallets(db))
    async with db.hot() as connection:
        await holds.void(connection, "h")
    await until(partial(has, db, wallet(kept, "KES"), 507), 15.0, "the rest")
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping
    async with db.hot() as connection:
        assert (await reconcile.reconcile(connection)).differences == ()
