"""Many at once, over several processes' connections, while PostgreSQL is killed: value is kept at every instant."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from bot.migrate import migrate
from bot.servers.folder import DataFolder
from bot.servers.postgres import APP, OWNER, Postgres, start_postgres
from bot.servers.supervisor import Supervisor
from core.db import Database, is_away
from core.errors import StoreUnavailable
from ledger import balances
from ledger.errors import AlreadyReversed, InsufficientFunds, KeyReused
from ledger.journal import Entry
from ledger.posting import Ledger, Posted
from tests.ledger.conftest import deposit, kes, purse, transfer
from tests.waiting import until

T = TypeVar("T")

TRANSFERS = int(os.environ.get("MATHIA_LEDGER_TRANSFERS", "2000"))
KILLS = int(os.environ.get("MATHIA_LEDGER_KILLS", "2"))
SNAPSHOTS_MIN = int(os.environ.get("MATHIA_LEDGER_SNAPSHOTS", "100"))
KEYS = int(os.environ.get("MATHIA_LEDGER_KEYS", "100"))
ACCOUNTS, WRITERS, SAMPLERS, SUBMISSIONS, PROCESSES = 20, 32, 2, 20, 4
EACH = 1_000
TRIES_MAX = 200
AGAIN_S = 0.1
BACK_S = 20.0

SUMS = """
SELECT (SELECT coalesce(sum(ledger_side(type) * posted), 0) FROM account) AS balances,
       (SELECT coalesce(sum(amount), 0) FROM posting) AS postings,
       (SELECT count(*) FROM account a WHERE posted <> ledger_side(type) * (
            SELECT coalesce(sum(amount), 0) FROM posting p WHERE p.account_id = a.id)) AS wrong,
       (SELECT count(*) FROM account WHERE posted < 0 AND type = 'LIABILITY') AS overdrawn
"""


@dataclass
class Told:
    """What the storm saw."""

    posted: list[Entry] = field(default_factory=list)
    refused: int = 0
    snapshots: int = 0
    wrong: list[tuple[object, ...]] = field(default_factory=list)
    over: bool = False


async def surely(call: Callable[..., Awaitable[T]], *given: object) -> T:
    """Ask again, with the same key, for as long as PostgreSQL is away."""
    for _ in range(TRIES_MAX):
        try:
            return await call(*given)
        except Exception as error:
            if not (isinstance(error, StoreUnavailable) or is_away(error)):
                raise
            await asyncio.sleep(AGAIN_S)
    raise AssertionError("PostgreSQL did not come back")


@asynccontextmanager
async def killable(folder: Path) -> AsyncIterator[tuple[Postgres, Supervisor]]:
    """A PostgreSQL of one's own that is started again whenever it ends."""
    home = DataFolder(folder)
    supervisor = Supervisor(home, lambda _said: None, restarts_limit=10 * KILLS + 10)
    postgres = await start_postgres(home, supervisor, durable=True)
    watching = asyncio.create_task(supervisor.watch())
    try:
        await migrate(postgres.url(OWNER))
        yield postgres, supervisor
    finally:
        watching.cancel()
        await supervisor.stop()


async def test_value_is_kept_while_postgresql_is_killed(scratch: Path) -> None:
    async with killable(scratch / "ledger") as (postgres, supervisor):
        db = await Database.connect(postgres.url(APP))
        ledger, told = Ledger(db), Told()
        await asyncio.gather(*(ledger.post(deposit(f"p{n}", EACH, f"d{n}")) for n in range(ACCOUNTS)))
        chance, entries = random.Random(5), []
        for number in range(TRANSFERS):
            giver, taker = chance.sample(range(ACCOUNTS), 2)
            entries.append(transfer(f"p{giver}", f"p{taker}", chance.randint(1, EACH), f"t{number}"))
        waiting = iter(entries)

        async def write() -> None:
            for entry in waiting:
                try:
                    first = await surely(ledger.post, entry)
                    assert await surely(ledger.post, entry) == first
                    told.posted.append(entry)
                except InsufficientFunds:
                    told.refused += 1

        async def sample() -> None:
            while not told.over:
                sums = await surely(db.pool.fetchrow, SUMS)
                told.snapshots += 1
                if any(sums.values()):
                    told.wrong.append(tuple(sums.values()))

        async def kill() -> None:
            for number in range(KILLS):
                share = TRANSFERS * (number + 1) // (KILLS + 1)
                await until(partial(reached, told, share), 120.0, "the next kill")
                postmaster = psutil.Process(supervisor.pids["postgres"])
                victims = [child for child in postmaster.children() if APP in " ".join(child.cmdline())]
                os.kill((postmaster if number % 2 or not victims else victims[0]).pid, signal.SIGKILL)
                await until(postgres.answers, BACK_S, "PostgreSQL")

        async def all_written() -> None:
            try:
                await asyncio.gather(*(write() for _ in range(WRITERS)), kill())
            finally:
                told.over = True

        await asyncio.gather(all_written(), *(sample() for _ in range(SAMPLERS)))
        assert told.wrong == []
        assert told.snapshots >= SNAPSHOTS_MIN
        assert len(told.posted) + told.refused == TRANSFERS
        assert told.refused < TRANSFERS // 2
        has = Counter({f"p{n}": EACH for n in range(ACCOUNTS)})
        for entry in told.posted:
            for one in entry.postings:
                has[one.account.owner or ""] -= one.amount.minor
        for name, minor in has.items():
            assert (await balances.balance(db.pool, purse(name))).posted == kes(minor)
        assert await db.pool.fetchval("SELECT count(*) FROM journal_entry") == ACCOUNTS + len(told.posted)
        await db.close()


async def reached(told: Told, share: int) -> bool:
    return len(told.posted) + told.refused >= share


@pytest.fixture
async def ledgers(database_url: str) -> AsyncIterator[list[Ledger]]:
    """As many as there are processes, each with connections and group commits of its own."""
    async with AsyncExitStack() as stack:
        dbs = [await Database.connect(database_url) for _ in range(PROCESSES)]
        for db in dbs:
            stack.push_async_callback(db.close)
        yield [Ledger(db) for db in dbs]


async def test_a_key_is_one_effect_whoever_submits_it(ledgers: list[Ledger], db: Database) -> None:
    chance = random.Random(7)
    submissions = [
        (f"k{number}", 100 + (number * SUBMISSIONS + again) % 10 // 9 * (1 + again)) for number in range(KEYS)
        for again in range(SUBMISSIONS)
    ]  # fmt: skip
    chance.shuffle(submissions)
    answers = await asyncio.gather(
        *(
            surely(ledgers[at % PROCESSES].post, deposit("amina", minor, key))
            for at, (key, minor) in enumerate(submissions)
        ),
        return_exceptions=True,
    )
    first: dict[str, tuple[int, BaseException | Posted]] = {}
    for (key, minor), answer in zip(submissions, answers, strict=True):
        if isinstance(answer, Posted):
            assert first.setdefault(key, (minor, answer)) == (minor, answer)
    assert len(first) == KEYS
    for (key, minor), answer in zip(submissions, answers, strict=True):
        assert isinstance(answer, Posted if minor == first[key][0] else KeyReused), answer
    assert await db.pool.fetchval("SELECT count(*) FROM journal_entry") == KEYS
    posted = (await balances.balance(db.pool, purse("amina"))).posted
    assert posted == kes(sum(minor for minor, _ in first.values()))
    again = Ledger(db)  # As after a restart: nothing is remembered outside PostgreSQL.
    for key, (minor, answer) in first.items():
        assert await again.post(deposit("amina", minor, key)) == answer


async def test_of_many_reversals_one_is_done(ledgers: list[Ledger], db: Database) -> None:
    mistake = await ledgers[0].post(deposit("amina", 500))
    answers = await asyncio.gather(
        *(surely(ledgers[n % PROCESSES].reverse, mistake.id, f"undo {n}") for n in range(64)),
        return_exceptions=True,
    )
    assert Counter(type(answer) for answer in answers) == {Posted: 1, AlreadyReversed: 63}
    assert (await balances.balance(db.pool, purse("amina"))).posted == kes(0)
    assert await db.pool.fetchval("SELECT sum(amount) FROM posting") == 0


async def test_no_race_overdraws(ledgers: list[Ledger], db: Database) -> None:
    await ledgers[0].post(deposit("amina", 1_000))
    answers = await asyncio.gather(
        *(surely(ledgers[n % PROCESSES].post, transfer("amina", f"p{n % 7}", 30)) for n in range(200)),
        return_exceptions=True,
    )
    assert Counter(type(answer) for answer in answers) == {Posted: 33, InsufficientFunds: 167}
    assert (await balances.balance(db.pool, purse("amina"))).posted == kes(10)
