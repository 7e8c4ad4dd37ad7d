"""`bot ledger`: verifies and writes out the books of a running database."""

import os
import subprocess
import sys
from pathlib import Path

from bot.servers.postgres import Postgres
from core.db import Database
from ledger.posting import Ledger
from tests.conftest import ROOT
from tests.ledger.conftest import deposit


def command(url: str, folder: Path, *words: str) -> tuple[int, str]:
    """Run it; its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "ledger", *words], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "DATABASE_URL": url, "HOME": str(folder)}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def test_the_books_are_verified_and_written_out(
    db: Database, database: str, database_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    await Ledger(db).post(deposit("amina", 5_000, "d1"))
    assert command(database_url, tmp_path, "verify") == (
        0,
        "The books are right: accounts 2, entries 1, postings 2.\n",
    )
    code, journal = command(database_url, tmp_path, "export")
    assert (code, '* "DEPOSIT" "d1"' in journal) == (0, True)
    out = tmp_path / "books.csv"
    assert command(database_url, tmp_path, "export", "--format", "csv", "--out", str(out)) == (0, "")
    assert out.read_text().count("d1") == 2
    code, told = command(database_url, tmp_path, "export", "--out", str(tmp_path / "none" / "books"))
    assert (code, "cannot be written: No such file" in told) == (1, True), told
    superuser = await postgres.connect(database)
    await superuser.execute("SET session_replication_role = replica; UPDATE account SET posted = posted + 1")
    await superuser.close()
    code, told = command(database_url, tmp_path, "verify")
    assert (code, told.count("is not the sum of its postings"), "NOT right" in told) == (1, 2, True)
    code, told = command("postgresql://mathia_app@127.0.0.1:1/mathia", tmp_path, "verify")
    assert (code, told) == (1, "The database does not answer. Start it, or Mathia, and ask again.\n")
