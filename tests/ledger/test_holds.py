"""Holds: counted in what is available, each resolved once, whoever races."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from core.db import Database
from core.errors import MathiaError
from ledger import balances, holds
from ledger.errors import HoldResolved, IllegalEntry, InsufficientFunds, KeyReused, SpendingLimit, Unknown
from ledger.journal import Entry, Kind, credit, debit
from ledger.posting import Ledger
from tests.ledger.conftest import BANK, deposit, kes, moved, purse, transfer
from tests.waiting import until

SOON = timedelta(milliseconds=150)


async def place(db: Database, key: str, minor: int, name: str = "amina", **options: Any) -> holds.Hold:
    async with db.hot() as connection:
        return await holds.place(connection, key, purse(name), kes(minor), **options)


async def void(db: Database, key: str) -> holds.Hold:
    async with db.hot() as connection:
        return await holds.void(connection, key)


async def expire(db: Database) -> int:
    async with db.hot() as connection:
        return await holds.expire_due(connection)


def payout(hold: str, minor: int, key: str | None = None) -> Entry:
    """Money that leaves Amina's wallet, by a hold."""
    postings = debit(purse("amina"), kes(minor)), credit(BANK, kes(minor))
    return Entry(key or f"payout {hold}", Kind.WITHDRAWAL, postings, settles=hold)


async def test_what_is_held_cannot_be_spent(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    await place(db, "h", 4_000)
    with pytest.raises(InsufficientFunds):
        await ledger.post(transfer("amina", "juma", 1_001))
    await ledger.post(transfer("amina", "juma", 1_000))
    state = await balances.balance(db.pool, purse("amina"))
    assert (state.posted, state.pending_out, state.available) == (kes(4_000), kes(4_000), kes(0))
    with pytest.raises(InsufficientFunds):
        await place(db, "h2", 1)


async def test_an_entry_posts_a_hold_wholly_or_in_part(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    await place(db, "h", 5_000)
    for wrong in (payout("h", 5_001, "more"), moved(BANK, purse("amina"), 5), transfer("asha", "juma", 5)):
        with pytest.raises(IllegalEntry):
            await ledger.post(Entry(wrong.key, wrong.kind, wrong.postings, settles="h"))
    with pytest.raises(Unknown):
        await ledger.post(payout("none", 1))
    posted = await ledger.post(payout("h", 3_000))
    assert await ledger.post(payout("h", 3_000)) == posted
    with pytest.raises(HoldResolved):
        await ledger.post(payout("h", 1, "again"))
    with pytest.raises(HoldResolved):
        await void(db, "h")
    state = await balances.balance(db.pool, purse("amina"))
    assert (state.posted, state.pending_out) == (kes(2_000), kes(0))
    found = await holds.find(db.pool, "h")
    assert found is not None
    assert (found.state, found.entry_id) == ("posted", posted.id)


async def test_a_refused_entry_leaves_its_hold(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    await place(db, "h", 5_000)
    both = payout("h", 5_000)
    short = Entry("short", Kind.FEE, (*both.postings, debit(purse("juma"), kes(1)), credit(purse("asha"), kes(1))),
                  settles="h")  # fmt: skip
    with pytest.raises(InsufficientFunds):
        await ledger.post(short)
    assert (await balances.balance(db.pool, purse("amina"))).pending_out == kes(5_000)
    await ledger.post(both)


async def test_a_hold_is_placed_once_for_its_key(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    assert await place(db, "h", 3_000) == await place(db, "h", 3_000)
    with pytest.raises(KeyReused):
        await place(db, "h", 2_999)
    assert await void(db, "h") == await void(db, "h")
    assert (await balances.balance(db.pool, purse("amina"))).available == kes(5_000)
    with pytest.raises(Unknown):
        await void(db, "none")
    assert await holds.find(db.pool, "none") is None


async def test_a_hold_that_is_none_is_refused(db: Database) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with db.hot() as connection:
        for account, amount, until_ in ((purse("a"), 0, None), (purse("a"), -1, None), (BANK, 1, None),
                                        (purse("a"), 1, past)):  # fmt: skip
            with pytest.raises(IllegalEntry):
                await holds.place(connection, "h", account, kes(amount), expires_at=until_)


async def test_a_hold_ends_with_its_time(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    await place(db, "stays", 1_000)
    await place(db, "later", 1_000, expires_at=datetime.now(UTC) + timedelta(hours=1))
    ends = datetime.now(UTC) + SOON
    await place(db, "ends", 1_000, expires_at=ends)
    assert await expire(db) == 0 or datetime.now(UTC) >= ends
    await until(partial(over, ends), what="the end of the hold")
    with pytest.raises(HoldResolved):
        await ledger.post(payout("ends", 1_000))
    await expire(db)
    ended = await holds.find(db.pool, "ends")
    assert ended is not None
    assert ended.state == "expired"
    assert (await balances.balance(db.pool, purse("amina"))).pending_out == kes(2_000)
    assert await expire(db) == 0


async def over(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


async def test_of_many_holds_as_many_are_placed_as_there_is_money_for(database_url: str) -> None:
    db = await Database.connect(database_url, pool_size=20)
    ledger, people = Ledger(db), [f"p{n}" for n in range(8)]
    await asyncio.gather(*(ledger.post(deposit(name, 5_000)) for name in people))
    answers = await asyncio.gather(
        *(place(db, f"{name} {n}", 1_000, name) for n in range(200 // len(people)) for name in people),
        return_exceptions=True,
    )
    assert all(isinstance(one, holds.Hold | InsufficientFunds) for one in answers), answers
    placed = Counter(one.account for one in answers if isinstance(one, holds.Hold))
    assert placed == {purse(name).key: 5 for name in people}
    for name in people:
        assert (await balances.balance(db.pool, purse(name))).available == kes(0)
    await db.close()


async def test_no_more_is_held_than_may_be_spent_in_the_time(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 100_000))
    await ledger.post(transfer("amina", "juma", 5_000))
    midnight = datetime.now(UTC)
    await until(partial(over, midnight))
    await ledger.post(transfer("amina", "juma", 1_500))
    mistake = await ledger.post(transfer("juma", "amina", 700))
    await ledger.reverse(mistake.id, "undo")  # It takes something from Amina, and is nothing she spent.
    day = holds.Allowance(kes(11_500), midnight)
    answers = await asyncio.gather(
        *(place(db, f"h{n}", 1_000, allowance=day) for n in range(100)), return_exceptions=True
    )
    placed = [one.key for one in answers if isinstance(one, holds.Hold)]
    assert len(placed) == 10
    [refused, *_] = [one for one in answers if isinstance(one, SpendingLimit)]
    assert refused.to("sw") == "Kiasi cha juu cha kutumia kwa muda huu ni KES 115.00; kimebaki KES 0.00."
    await ledger.post(payout(placed[0], 400))
    await void(db, placed[1])
    assert await balances.spent_since(db.pool, purse("amina"), midnight) == kes(1_900)
    with pytest.raises(SpendingLimit, match=r"KES 16\.00 of it is left"):
        await place(db, "more", 1_601, allowance=day)
    await place(db, "rest", 1_600, allowance=day)
    lowered = holds.Allowance(kes(2_000), midnight)
    with pytest.raises(SpendingLimit, match=r"KES 0\.00 of it is left"):
        await place(db, "one cent", 1, allowance=lowered)
    later = datetime.now(UTC)
    await until(partial(over, later))
    await place(db, "another day", 1_000, allowance=holds.Allowance(kes(11_500), later))


async def test_two_hundred_at_once_for_one_balance(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 5_000))
    answers = await asyncio.gather(*(place(db, f"h{n}", 1_000) for n in range(200)), return_exceptions=True)
    placed = [one.key for one in answers if isinstance(one, holds.Hold)]
    assert len(placed) == 5
    assert all(isinstance(one, holds.Hold | InsufficientFunds) for one in answers)
    ends = datetime.now(UTC) + SOON
    await void(db, placed[0])
    await place(db, "ends", 1_000, expires_at=ends)
    placed[0] = "ends"
    ways = [way for key in placed for _ in range(3) for way in (
        ledger.post(payout(key, 1_000)), void(db, key), expire(db))]  # fmt: skip
    raced = await asyncio.gather(*ways, return_exceptions=True)
    assert all(isinstance(one, MathiaError) for one in raced if isinstance(one, BaseException)), raced
    await until(partial(over, ends))
    await expire(db)
    states = Counter(row["state"] for row in await db.pool.fetch("SELECT state FROM hold WHERE key = ANY($1)", placed))
    assert states.total() == 5
    assert "open" not in states
    after = await balances.balance(db.pool, purse("amina"))
    assert (after.posted, after.pending_out) == (kes(5_000 - 1_000 * states["posted"]), kes(0))
