"""A payout whose worker dies, or is stopped past its lease, at each place where that could cost something."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from core.db import Database
from core.settings import Settings
from ledger.instructions import State
from tests.conftest import ROOT, Sandbox
from tests.jobs.till import OVER, Till, till
from tests.waiting import until

LIMIT_S = 30.0


async def worker(database_url: str, sandbox: Sandbox, log: Path, crash: str = "") -> asyncio.subprocess.Process:
    environment = {"DATABASE_URL": database_url, "SANDBOX_URL": sandbox.url, "MATHIA_CRASH": crash}
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.jobs.payment_worker", cwd=ROOT, env=os.environ | environment, stdout=out,
            stderr=out,
        )  # fmt: skip


async def over(desk: Till, reference: str) -> None:
    async def is_over() -> bool:
        states = [state.value for state in OVER]
        found: bool = await desk.db.pool.fetchval(
            "SELECT state = ANY($2::text[]) FROM payment_instruction WHERE reference = $1", reference, states
        )
        return found

    await until(is_over, LIMIT_S, f"{reference} is over")


@pytest.mark.parametrize(
    ("crash", "state", "sent"),
    [
        ("payment.initiating:1", State.FAILED, 0),
        ("payment.approving:1", State.FAILED, 0),
        ("payment.approved:1", State.SUCCEEDED, 1),
        ("payment.approving:1:stall", State.FAILED, 0),
    ],
)
async def test_a_payout_is_made_once_at_most_wherever_its_worker_ends(
    db: Database, database_url: str, sandbox: Sandbox, tmp_path: Path, crash: str, state: State, sent: int
) -> None:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        await desk.fund(100)
        made = await desk.send()
        first = await worker(database_url, sandbox, tmp_path / "log", crash)
        if crash.endswith("stall"):

            async def claimed() -> bool:
                return (await desk.now(made)).state is not State.READY

            await until(claimed, LIMIT_S, "the first worker began")
        else:
            async with asyncio.timeout(LIMIT_S):
                assert await first.wait() == 9
        second = await worker(database_url, sandbox, tmp_path / "log")
        try:
            await over(desk, made.reference)
            assert (await desk.now(made)).state is state, await desk.path(made)
            assert len(await desk.truth(made, "sent")) == sent
            assert await desk.purse() == (10_000 - 3_800 * sent, 0)
        finally:
            for one in (first, second):
                if one.returncode is None:
                    one.kill()
                    await one.wait()
