"""Any order of anything people do with money: what PostgreSQL holds is what a few lines of arithmetic say."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from core.db import Database
from ledger import balances, holds, reconcile
from ledger.accounts import clearing
from ledger.errors import AlreadyReversed, HoldResolved, InsufficientFunds, KeyReused
from ledger.journal import Account, AccountType, Entry, Kind, Posting, credit, debit
from ledger.money import Money
from ledger.posting import Ledger, Posted

EXAMPLES = int(os.environ.get("MATHIA_LEDGER_EXAMPLES", "300"))
REPEATS = "MATHIA_LEDGER_EXAMPLES" not in os.environ
"""Whether every run tries the same; one that is asked for more tries others, and takes its time to shrink them."""
STEPS = 40
NAMES = ("amina", "juma", "asha")
BANK = clearing("model", "KES")

names = st.sampled_from(NAMES)
minors = st.integers(1, 300)
pick = st.integers(0, 10**6)


@dataclass
class Kept:
    """A hold as it should be."""

    key: str
    name: str
    minor: int
    state: str = "open"


class Books(RuleBasedStateMachine):
    """Three wallets, in this example's own names; `db`, `ledger` and `loop` are put on the class by the test."""

    db: Database
    ledger: Ledger
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.tag = uuid4().hex
        self.has = dict.fromkeys(NAMES, 0)
        self.asked: list[tuple[Entry, Posted | type[Exception]]] = []
        self.holds: list[Kept] = []
        self.reversed: set[str] = set()
        self.count = 0

    def run(self, work: Any) -> Any:
        """Its result, or the error it raised."""

        async def quiet() -> Any:
            try:
                return await work
            except Exception as error:
                return error

        return self.loop.run_until_complete(quiet())

    def key(self) -> str:
        self.count += 1
        return f"{self.tag} {self.count}"

    def wallet(self, name: str) -> Account:
        return Account(f"wallet:{self.tag}:{name}:KES", AccountType.LIABILITY, "KES", self.tag)

    def free(self, name: str) -> int:
        """What can be spent."""
        return self.has[name] - sum(one.minor for one in self.holds if (one.name, one.state) == (name, "open"))

    def entry(self, postings: tuple[Posting, ...], **more: Any) -> Entry:
        return Entry(self.key(), Kind.TRANSFER, postings, **more)

    def expect(self, entry: Entry, answer: Any, wanted: type[Exception] | None) -> None:
        """Take an answer down, and what it did if it did anything."""
        if wanted is not None:
            assert type(answer) is wanted, answer
            if wanted is InsufficientFunds:
                self.asked.append((entry, wanted))
            return
        assert isinstance(answer, Posted), answer
        self.asked.append((entry, answer))
        for posting in entry.postings:
            for name in NAMES:
                if posting.account == self.wallet(name):
                    self.has[name] -= posting.amount.minor

    @rule(name=names, minor=minors)
    def deposit(self, name: str, minor: int) -> None:
        """Money from outside always arrives."""
        entry = self.entry((debit(BANK, Money(minor, "KES")), credit(self.wallet(name), Money(minor, "KES"))))
        self.expect(entry, self.run(self.ledger.post(entry)), None)

    @rule(moves=st.lists(st.tuples(names, names, minors), min_size=1, max_size=4))
    def transfers(self, moves: list[tuple[str, str, int]]) -> None:
        """Several at once, which are one batch, decided in the order they came."""
        entries, wanted = [], []
        has = dict(self.has)
        for giver, taker, minor in moves:
            if giver == taker:
                continue
            amount = Money(minor, "KES")
            entries.append(self.entry((debit(self.wallet(giver), amount), credit(self.wallet(taker), amount))))
            enough = self.free(giver) - self.has[giver] + has[giver] >= minor
            wanted.append(None if enough else InsufficientFunds)
            if enough:
                has[giver] -= minor
                has[taker] += minor

        async def together() -> Any:
            return await asyncio.gather(*map(self.ledger.post, entries), return_exceptions=True)

        for entry, answer, want in zip(entries, self.run(together()), wanted, strict=True):
            self.expect(entry, answer, want)
        assert self.has == has

    @precondition(lambda self: self.asked)
    @rule(which=pick, other=st.booleans())
    def again(self, which: int, other: bool) -> None:
        """The same answer for ever, and none for another request."""
        entry, before = self.asked[which % len(self.asked)]
        if other:
            entry = Entry(entry.key, Kind.FEE, entry.postings, entry.reference, settles=entry.settles)
            assert type(self.run(self.ledger.post(entry))) is KeyReused
            return
        answer = self.run(self.ledger.post(entry))
        assert answer == before if isinstance(before, Posted) else type(answer) is before

    @rule(name=names, minor=minors)
    def place(self, name: str, minor: int) -> None:
        """A hold is placed if as much is free."""
        hold = Kept(self.key(), name, minor)
        answer = self.run(self.in_transaction(holds.place, hold.key, self.wallet(name), Money(minor, "KES")))
        if self.free(name) < minor:
            assert type(answer) is InsufficientFunds, answer
        else:
            assert isinstance(answer, holds.Hold), answer
            self.holds.append(hold)

    @precondition(lambda self: self.holds)
    @rule(which=pick)
    def void(self, which: int) -> None:
        """It is let go, once."""
        hold = self.holds[which % len(self.holds)]
        answer = self.run(self.in_transaction(holds.void, hold.key))
        if hold.state == "posted":
            assert type(answer) is HoldResolved, answer
        else:
            hold.state = "voided"
            assert isinstance(answer, holds.Hold), answer

    @precondition(lambda self: self.holds)
    @rule(which=pick, share=st.integers(1, 4))
    def settle(self, which: int, share: int) -> None:
        """It is posted, wholly or in part, once."""
        hold = self.holds[which % len(self.holds)]
        amount = Money(max(1, hold.minor * share // 4), "KES")
        entry = self.entry((debit(self.wallet(hold.name), amount), credit(BANK, amount)), settles=hold.key)
        wanted = None if hold.state == "open" else HoldResolved
        self.expect(entry, self.run(self.ledger.post(entry)), wanted)
        if wanted is None:
            hold.state = "posted"

    @precondition(lambda self: any(isinstance(answer, Posted) for _, answer in self.asked))
    @rule(which=pick)
    def reverse(self, which: int) -> None:
        """It is undone, once, if what it gave is still there."""
        posted = [(entry, answer) for entry, answer in self.asked if isinstance(answer, Posted)]
        entry, before = posted[which % len(posted)]
        if entry.kind is Kind.REVERSAL:
            return
        key = self.key()
        undone = Entry(key, Kind.REVERSAL, tuple(Posting(one.account, -one.amount) for one in entry.postings),
                       reverses=before.id)  # fmt: skip
        short = any(
            self.free(name) < -one.amount.minor
            for one in entry.postings
            for name in NAMES
            if one.account == self.wallet(name)
        )
        wanted = AlreadyReversed if entry.key in self.reversed else InsufficientFunds if short else None
        self.expect(undone, self.run(self.ledger.reverse(before.id, key)), wanted)
        if wanted is None:
            self.reversed.add(entry.key)

    async def in_transaction(self, call: Any, *given: Any) -> Any:
        async with self.db.hot() as connection:
            return await call(connection, *given)

    @invariant()
    def the_books_say_the_same(self) -> None:
        """After every step."""
        told = {one.account.key: one for one in self.run(balances.balances_of(self.db.pool, self.tag))}
        for name in NAMES:
            one = told.get(self.wallet(name).key)
            assert (one.posted.minor, one.available.minor) == (self.has[name], self.free(name)) if one else (
                not self.has[name]
            )  # fmt: skip


@pytest.fixture
def books(database_url: str) -> Iterator[type[Books]]:
    """The machine, on a database and an event loop of its own."""
    loop = asyncio.new_event_loop()
    db = loop.run_until_complete(Database.connect(database_url))
    yield type("BooksHere", (Books,), {"db": db, "ledger": Ledger(db), "loop": loop})
    loop.run_until_complete(db.close())
    loop.close()


def test_the_books_are_what_arithmetic_says(books: type[Books]) -> None:
    run_state_machine_as_test(
        books,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, derandomize=REPEATS,
            phases=(Phase.generate,) if REPEATS else (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

    async def verify() -> reconcile.Report:
        async with books.db.hot() as connection:
            return await reconcile.reconcile(connection)

    report = books.loop.run_until_complete(verify())
    assert report.differences == ()
    assert report.entries > EXAMPLES
