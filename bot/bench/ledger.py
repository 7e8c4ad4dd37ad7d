"""Transfers a second in the ledger, on accounts spread evenly and on one that takes part in every transfer.

Beside it, on the same server in the same run: the bare double entry, one asyncpg transaction a transfer (two updates,
which lock in id order, and two inserts; no key, no hash, no entry, no law), and pgbench's TPC-B.
"""

import argparse
import asyncio
import random
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bot.bench import Row, percentile
from bot.migrate import migrate
from bot.servers.folder import DataFolder
from bot.servers.postgres import APP, OWNER, Postgres, binaries, start_postgres
from bot.servers.supervisor import Supervisor, bare_environment
from core.db import Database
from ledger import reconcile
from ledger.accounts import clearing, wallet
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger

ACCOUNTS = 1_000
WRITERS = (1, 8, 32)
WARM_S = 0.5
POOL = 4
EACH = 10**9
SCALE = 10
PGBENCH_S_MAX = 120.0
BARE_TABLES = f"""
CREATE TABLE bare_account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50);
CREATE TABLE bare_posting (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id int NOT NULL, amount bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO bare_account SELECT n, {EACH} FROM generate_series(0, {ACCOUNTS - 1}) n;
"""  # noqa: S608  Its numbers are constants of ours.

Transfer = Callable[[int, int, int], Awaitable[None]]
"""Moves one cent, as a writer (its number), from one account (its number) to another."""


async def measure(transfer: Transfer, writers: int, seconds: float, *, hot: bool) -> tuple[float, list[float]]:
    """Transfers a second by so many writers, and the milliseconds of each."""
    begin = time.perf_counter() + WARM_S
    end = begin + seconds
    times: list[float] = []

    async def write(writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311  not for secrets
        while (started := time.perf_counter()) < end:
            giver, taker = chance.sample(range(1, ACCOUNTS), 2)
            await transfer(writer, giver, 0 if hot else taker)
            if started >= begin:
                times.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(write(writer) for writer in range(writers)))
    return len(times) / seconds, times


def ours(ledger: Ledger, tag: str) -> Transfer:
    """A transfer in the ledger, in the group commits that everybody shares."""
    wallets = [wallet(f"bench-{number}", "KES") for number in range(ACCOUNTS)]
    cent = Money(1, "KES")
    count = 0

    async def transfer(_writer: int, giver: int, taker: int) -> None:
        nonlocal count
        count += 1
        legs = debit(wallets[giver], cent), credit(wallets[taker], cent)
        await ledger.post(Entry(f"{tag}-{count}", Kind.TRANSFER, legs))

    return transfer


def bare(connections: list[Any]) -> Transfer:
    """The least that double entry can be in a transaction of its own."""

    async def transfer(writer: int, giver: int, taker: int) -> None:
        connection = connections[writer]
        legs = sorted([(giver, -1), (taker, 1)])
        async with connection.transaction():
            for account, amount in legs:
                await connection.execute(
                    "UPDATE bare_account SET balance = balance + $2 WHERE id = $1", account, amount
                )
            for account, amount in legs:
                await connection.execute(
                    "INSERT INTO bare_posting (account_id, amount) VALUES ($1, $2)", account, amount
                )

    return transfer


async def pgbench(home: Path, postgres: Postgres, *words: str) -> float:
    """Run pgbench on the database tpcb; transactions a second, 0 where it only fills the tables."""
    process = await asyncio.create_subprocess_exec(
        home / "pgbench", "-h", postgres.run, "-U", "postgres", *words, "tpcb",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=bare_environment(),
    )  # fmt: skip
    said = (await asyncio.wait_for(process.communicate(), PGBENCH_S_MAX))[0].decode()
    found = re.search(r"tps = ([\d.]+)", said)
    if process.returncode or (found is None and "-i" not in words):
        raise RuntimeError(said)
    return float(found[1]) if found else 0.0


async def fill(ledger: Ledger) -> None:
    """Give every account something to spend."""
    bank, amount = clearing("bench", "KES"), Money(EACH, "KES")
    await asyncio.gather(
        *(
            ledger.post(
                Entry(
                    f"fill-{number}",
                    Kind.DEPOSIT,
                    (debit(bank, amount), credit(wallet(f"bench-{number}", "KES"), amount)),
                )
            )
            for number in range(ACCOUNTS)
        )
    )


async def run(args: argparse.Namespace) -> list[Row]:
    """Limit and measurement alternate; medians of the rounds. Afterwards the books are recomputed."""
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        path = Path(scratch)
        path.chmod(0o711)
        folder = DataFolder(path / "d")
        supervisor = Supervisor(folder, print)
        try:
            postgres = await start_postgres(folder, supervisor, durable=True)
            await migrate(postgres.url(OWNER))
            return await compare(args, postgres, binaries(folder))
        finally:
            await supervisor.stop()


async def compare(args: argparse.Namespace, postgres: Postgres, home: Path) -> list[Row]:
    """Every number of writers, evenly and hot, each beside its limit."""
    admin = await postgres.connect()
    await admin.execute("CREATE DATABASE bare")
    await admin.execute("CREATE DATABASE tpcb")
    await pgbench(home, postgres, "-i", "-q", "-s", str(SCALE))
    connections = [await postgres.connect("bare") for _ in range(max(WRITERS))]
    await connections[0].execute(BARE_TABLES)
    db = await Database.connect(postgres.url(APP), pool_size=POOL)
    ledger = Ledger(db)
    rows: list[Row] = []
    try:
        await fill(ledger)
        for hot in (False, True):
            for writers in WRITERS:
                limits, rates, times = [], [], []
                for turn in range(args.rounds):
                    limits.append((await measure(bare(connections), writers, args.seconds, hot=hot))[0])
                    rate, took = await measure(ours(ledger, f"{hot}-{writers}-{turn}"), writers, args.seconds, hot=hot)
                    rates.append(rate)
                    times += took
                name = f"transfers, writers: {writers}, {'one hot account' if hot else 'uniform'}"
                value, limit = statistics.median(rates), statistics.median(limits)
                p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
                rows.append(Row(name, value, "transfers/s", limit, value / limit, p50, p99))
        for writers in WRITERS:
            words = "-n", "-M", "prepared", "-j", "2", "-c", str(writers), "-T", str(max(1, round(args.seconds)))
            rows.append(
                Row(f"pgbench TPC-B, {writers} clients", await pgbench(home, postgres, *words), "transactions/s")
            )
        async with db.hot() as connection:
            if wrong := (await reconcile.reconcile(connection)).differences:
                raise RuntimeError(f"the books are not right: {wrong[0].where}: {wrong[0].what}")
    finally:
        await db.close()
        for connection in (*connections, admin):
            await connection.close()
    return rows
