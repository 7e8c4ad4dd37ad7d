"""`bot payments`: what needs a person is listed, explained and ended, with an audit row."""

import os
import subprocess
import sys
from pathlib import Path

from core.db import Database
from core.settings import Settings
from ledger.instructions import State
from tests.conftest import ROOT, Sandbox
from tests.jobs.till import till


def command(database_url: str, folder: Path, *words: str) -> tuple[int, str]:
    """Run it; its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "payments", *words], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "DATABASE_URL": database_url, "HOME": str(folder)}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def test_a_payment_that_does_not_fit_is_looked_at_and_booked_by_a_person(
    db: Database, database_url: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        await desk.fund(100)
        await desk.plan("send-money/status", "ok", "200_wrong_amount")
        made = await desk.reach(await desk.send())
        assert made.state is State.NEEDS_REVIEW
        code, told = command(database_url, tmp_path, "review")
        assert (code, made.reference in told, "amount 39, not 38.00" in told) == (0, True, True)
        code, told = command(database_url, tmp_path, "show", made.reference)
        assert [line.split("  ")[1] for line in told.splitlines()[2:]] == await desk.path(made)
        resolve = ("resolve", made.reference, "succeeded", "--note", "the statement has it")
        assert command(database_url, tmp_path, *resolve) == (
            0,
            f"{made.reference} is succeeded: KES 38.00 is booked so.\n",
        )
        assert await desk.purse() == (6_200, 0)
    audited = await db.pool.fetchval("SELECT count(*) FROM audit WHERE verb = 'payment.resolved'")
    assert audited == 1
