"""Payouts through a provider that loses answers, by workers that are killed: each is made once at most, and booked so.

MATHIA_PAYOUTS and MATHIA_PAYOUT_KILLS say how many; 500 and 50 take some minutes.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from core.db import Database
from core.settings import Settings
from jobs.reconcile import reconcile
from ledger.accounts import held_at
from ledger.balances import balance
from ledger.instructions import State
from tests.bot.sandbox.conftest import Simulators
from tests.conftest import ROOT
from tests.jobs.till import OVER, Till, till

PAYOUTS = int(os.environ.get("MATHIA_PAYOUTS", "40"))
KILLS = int(os.environ.get("MATHIA_PAYOUT_KILLS", "4"))
WORKERS = 2
AMOUNT, FEE = 38, 10
LIMIT_S = 60.0 + PAYOUTS
LOSES = (
    "reset_before_read", "reset_after_execute", "500_not_executed", "500_executed", "200_truncated_json", "200_html",
    {"fault": "execute_then_hang", "seconds": 0.3}, {"fault": "hang_then_execute", "seconds": 0.3}, "refuse",
)  # fmt: skip
PLAN = [*LOSES, *["ok"] * (len(LOSES) * 7 // 3)]
"""Thirty of a hundred orders end in doubt."""


async def worker(database_url: str, sandbox_url: str, log: Path) -> asyncio.subprocess.Process:
    environment = {"DATABASE_URL": database_url, "SANDBOX_URL": sandbox_url}
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.jobs.payment_worker", cwd=ROOT, env=os.environ | environment, stdout=out,
            stderr=out,
        )  # fmt: skip


async def rage(desk: Till, database_url: str, sandbox_url: str, log: Path, chance: random.Random) -> int:
    """Workers until all is over, while they are killed; how often."""
    start = asyncio.get_running_loop().time
    running = [await worker(database_url, sandbox_url, log) for _ in range(WORKERS)]
    kills, ends_at = 0, start() + LIMIT_S
    try:
        while await left(desk):
            assert start() < ends_at, f"{await left(desk)} payments did not end; see {log}"
            if kills < KILLS and await told(desk) * KILLS >= kills * PAYOUTS:
                at = chance.randrange(WORKERS)
                running[at].send_signal(signal.SIGKILL)
                await running[at].wait()
                kills += 1
                running[at] = await worker(database_url, sandbox_url, log)
            await asyncio.sleep(0.05)
    finally:
        for one in running:
            one.kill()
            await one.wait()
    return kills


async def left(desk: Till) -> int:
    """How many are not over."""
    states = [state.value for state in OVER]
    count: int = await desk.db.pool.fetchval(
        "SELECT count(*) FROM payment_instruction WHERE NOT state = ANY($1::text[])", states
    )
    return count


async def told(desk: Till) -> int:
    """How many the provider was begun to be told of."""
    count: int = await desk.db.pool.fetchval("SELECT count(*) FROM payment_instruction WHERE state <> 'ready'")
    return count


@pytest.mark.parametrize("seed", [7])
async def test_each_payout_is_made_once_at_most_and_both_books_agree(
    db: Database, database_url: str, scratch: Path, seed: int
) -> None:
    folder = scratch / "payouts"
    folder.mkdir()
    simulators = Simulators(folder)
    simulators.start()
    try:
        settings = Settings(_env_file=None, sandbox_url=simulators.url).sandboxed()
        async with till(db, settings) as desk:
            await desk.fund(PAYOUTS * AMOUNT)
            asked = [await desk.send(AMOUNT) for _ in range(PAYOUTS)]
            await desk.plan("send-money/(initiate|approve)", *PLAN, times=None, seed=seed)
            kills = await rage(desk, database_url, simulators.url, folder / "workers.log", random.Random(seed))
            rows = (await desk.wire.get("/_truth")).json()
            sent = Counter(row["narrative"] for row in rows if row["kind"] == "sent")
            states = {one.reference: (await desk.now(one)).state for one in asked}
            assert kills == KILLS
            assert max(sent.values()) == 1
            # What we say became of each is what did.
            succeeded = {reference for reference, state in states.items() if state is State.SUCCEEDED}
            wrong = {one.reference: await desk.path(one) for one in asked if one.reference in succeeded ^ set(sent)}
            assert wrong == {}
            assert set(states.values()) == {State.SUCCEEDED, State.FAILED}
            assert await desk.purse() == ((PAYOUTS - len(sent)) * AMOUNT * 100, 0)
            assert await desk.between() == -len(sent) * AMOUNT * 100
            outcome = await reconcile(db, desk.hands.provider, at_once=True)
            assert outcome is not None
            assert (outcome.matched, outcome.found, outcome.unexplained) == (len(sent), 0, {})
            assert await desk.between() == 0
            async with db.hot() as connection:
                held = await balance(connection, held_at("intasend", "KES"))
            assert held.posted.minor == -len(sent) * (AMOUNT + FEE) * 100
    finally:
        simulators.stop()
