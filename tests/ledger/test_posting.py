"""Posting: whole entries, once, in batches and in transactions of callers."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest

from core.db import Database
from core.errors import Erased, StoreUnavailable
from ledger import balances
from ledger.accounts import wallet
from ledger.errors import (
    AccountMismatch,
    AlreadyReversed,
    BalanceLimit,
    IllegalEntry,
    InsufficientFunds,
    KeyReused,
    Unknown,
)
from ledger.exchange import exchange
from ledger.journal import Account, AccountType, Entry, Kind, Quote, credit, debit
from ledger.money import MINOR_MAX, Money
from ledger.posting import Ledger, Posted, post, post_all, reversal_of
from tests.ledger.conftest import BANK, deposit, kes, moved, purse, transfer
from tests.waiting import until

NOW = datetime(2026, 11, 26, tzinfo=UTC)
USD = Money(1, "USD")
QUOTE = Quote("KES", "USD", Decimal("0.0077"), "bank", NOW)


async def test_an_entry_moves_its_accounts(ledger: Ledger, db: Database) -> None:
    posted = await ledger.post(deposit("amina", 5_000, "d1"))
    assert posted.key == "d1"
    async with db.hot() as connection:
        assert (await balances.balance(connection, purse("amina"))).posted == kes(5_000)
        assert (await balances.balance(connection, BANK)).posted == kes(5_000)


async def test_the_same_request_has_the_same_answer_for_ever(ledger: Ledger, db: Database) -> None:
    first = await ledger.post(deposit("amina", 5_000, "d1"))
    again = await asyncio.gather(*(ledger.post(deposit("amina", 5_000, "d1")) for _ in range(20)))
    assert set(again) == {first}
    assert await Ledger(db).post(deposit("amina", 5_000, "d1")) == first
    with pytest.raises(KeyReused):
        await ledger.post(deposit("amina", 5_001, "d1"))
    assert (await balances.balance(db.pool, purse("amina"))).posted == kes(5_000)


async def test_a_refusal_for_money_is_the_answer_for_ever(ledger: Ledger, db: Database) -> None:
    with pytest.raises(InsufficientFunds):
        await ledger.post(transfer("amina", "juma", 1, "t1"))
    await ledger.post(deposit("amina", 5_000))
    for books in (ledger, Ledger(db)):
        with pytest.raises(InsufficientFunds):
            await books.post(transfer("amina", "juma", 1, "t1"))
        with pytest.raises(KeyReused):
            await books.post(transfer("amina", "juma", 2, "t1"))
    await ledger.post(transfer("amina", "juma", 1, "t2"))


async def test_a_bad_entry_in_a_batch_is_refused_alone(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 1_000))
    wrong = Account(purse("amina").key, AccountType.LIABILITY, "KES", "somebody else")
    answers = await asyncio.gather(
        *(ledger.post(transfer("amina", "juma", 100)) for _ in range(12)),
        ledger.post(moved(wrong, purse("juma"), 1)),
        ledger.post(Entry("r", Kind.REVERSAL, deposit("amina", 7).postings, reverses=4711)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Posted) for answer in answers) == 10
    assert sum(isinstance(answer, InsufficientFunds) for answer in answers) == 2
    assert isinstance(answers[-2], AccountMismatch)
    assert (await balances.balance(db.pool, purse("juma"))).posted == kes(1_000)


async def test_a_batch_is_decided_in_the_order_it_came(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("asha", 100))
    early, gift, late = await asyncio.gather(
        *(
            ledger.post(transfer(*move))
            for move in (("amina", "juma", 60), ("asha", "amina", 100), ("amina", "juma", 40))
        ),
        return_exceptions=True,
    )
    assert isinstance(early, InsufficientFunds)
    assert isinstance(gift, Posted)
    assert isinstance(late, Posted)
    assert min(line.balance_after for line in await balances.statement(db.pool, purse("amina"))) == kes(60)


async def test_an_entry_goes_with_the_transaction_of_its_caller(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("amina", 1_000))
    with pytest.raises(Erased):  # Something of the caller's fails afterwards.
        await in_a_transaction(db, transfer("amina", "juma", 400, "t1"), Erased())
    async with db.hot() as connection:
        one, two, three = await post_all(
            connection,
            [
                transfer("amina", "juma", 600, "t1"),
                transfer("amina", "juma", 500, "t2"),
                transfer("amina", "asha", 400, "t3"),
            ],
        )
    assert isinstance(one, Posted)
    assert isinstance(two, InsufficientFunds)
    assert isinstance(three, Posted)
    assert one.id < three.id
    assert (await balances.balance(db.pool, purse("amina"))).posted == kes(0)
    with pytest.raises(InsufficientFunds):
        await in_a_transaction(db, transfer("amina", "juma", 1, "t4"))
    assert not await db.pool.fetchval("SELECT count(*) FROM refused_entry WHERE key IN ('t2', 't4')")


async def test_a_key_taken_meanwhile_for_other_accounts_is_reused(ledger: Ledger, db: Database) -> None:
    await ledger.post(deposit("asha", 150))
    change = exchange("change", purse("asha"), wallet("asha", "USD"), kes(150), QUOTE, QUOTE.at)
    for entry in (transfer("asha", "juma", 1, "same"), change):  # What is posted at once, and what is looked at first.
        async with db.hot() as connection:
            await post(connection, deposit("amina", 5, entry.key))
            racing = asyncio.create_task(ledger.post(entry))
            await until(partial(waits_for_a_lock, db), what="the other transaction waiting for the key")
        with pytest.raises(KeyReused):
            await racing
    async with db.hot() as connection:
        await post(connection, deposit("amina", 5, "other"))
        racing = asyncio.create_task(in_a_transaction(db, transfer("asha", "juma", 1, "other")))
        await until(partial(waits_for_a_lock, db), what="the other transaction waiting for the key")
    with pytest.raises(KeyReused):
        await racing


async def in_a_transaction(db: Database, entry: Entry, failure: Exception | None = None) -> Posted:
    async with db.hot() as connection:
        posted = await post(connection, entry)
        if failure is not None:
            raise failure
        return posted


async def waits_for_a_lock(db: Database) -> bool:
    return bool(await db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_no_account_holds_more_than_an_account_can(ledger: Ledger) -> None:
    await ledger.post(deposit("amina", MINOR_MAX))
    with pytest.raises(BalanceLimit):
        await ledger.post(deposit("amina", 1))


async def test_a_mistake_is_reversed_once(ledger: Ledger, db: Database) -> None:
    posted = await ledger.post(deposit("amina", 5_000))
    undone = await ledger.reverse(posted.id, "undo")
    assert await ledger.reverse(posted.id, "undo") == undone
    with pytest.raises(AlreadyReversed):
        await ledger.reverse(posted.id, "undo again")
    with pytest.raises(Unknown):
        await ledger.reverse(4711, "undo nothing")
    assert (await balances.balance(db.pool, purse("amina"))).posted == kes(0)
    async with db.hot() as connection:
        entry = await reversal_of(connection, undone.id, "redo")
    with pytest.raises(Exception, match="is not the reverse of what it reverses"):
        await ledger.post(entry)


async def test_what_others_stand_in_the_way_of_is_put_off(db: Database) -> None:
    """After so many tries, here none; and a process may forget which accounts there are."""
    ledger = Ledger(db, tries_max=0, known_max=1)
    for name in ("amina", "juma", "asha"):
        await ledger.post(deposit(name, 5, f"from {name}"))
    with pytest.raises(StoreUnavailable):
        await ledger.post(transfer("amina", "juma", 6))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Account("w", AccountType.LIABILITY, "KES", allow_negative=True), id="negative debt"),
        pytest.param(lambda: Quote("KES", "KES", Decimal(1), "s", NOW), id="quote of one currency"),
        pytest.param(lambda: Quote("KES", "USD", Decimal(-1), "s", NOW), id="negative quote"),
        pytest.param(lambda: Quote("KES", "USD", Decimal(1), "s", NOW.replace(tzinfo=None)), id="quote of no zone"),
        pytest.param(lambda: Entry("k", Kind.FEE, (debit(BANK, USD), credit(purse("a"), kes(1)))), id="currency"),
        pytest.param(lambda: Entry("k", Kind.REVERSAL, deposit("a", 1).postings), id="reverses nothing"),
        pytest.param(lambda: Entry("k", Kind.FEE, deposit("a", 1).postings, reverses=1), id="no reversal"),
        pytest.param(lambda: Entry("k", Kind.FEE, deposit("a", 1).postings, quote=QUOTE), id="needs no quote"),
        pytest.param(lambda: Entry("k", Kind.FEE, deposit("a", 1).postings, "r\n"), id="reference"),
        pytest.param(
            lambda: Entry("k", Kind.FEE, deposit("a", 1).postings, occurred_at=NOW.replace(tzinfo=None)), id="no zone"
        ),
        pytest.param(lambda: Entry("k", Kind.FEE, (debit(BANK, kes(1)),)), id="one leg"),
        pytest.param(lambda: Entry("k", Kind.FEE, ()), id="no leg"),
        pytest.param(lambda: Entry("k", Kind.FEE, (debit(BANK, kes(2)), credit(purse("a"), kes(1)))), id="unbalanced"),
        pytest.param(lambda: moved(BANK, BANK, 1), id="twice the same account"),
        pytest.param(lambda: moved(BANK, purse("a"), 0), id="nothing"),
        pytest.param(lambda: moved(BANK, purse("a"), 1, "k\n"), id="key"),
        pytest.param(lambda: moved(BANK, purse("a"), 1, "k" * 201), id="long key"),
    ],
)
def test_what_can_never_be_an_entry_is_none(make: Callable[[], object]) -> None:
    with pytest.raises(IllegalEntry):
        make()
