"""Mutants of the ledger: every run plants three, by the day; MATHIA_MUTANTS=all plants all of them.

A law often has two guards, one in Python and one in PostgreSQL; a mutant that lives with one of them takes out both.
"""

import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

AT_ONCE = 3
RUN_S_MAX = 240.0
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".mathia", "__pycache__", ".*_cache", ".hypothesis", "images")
LAWS = "alembic/versions/0040_ledger.py"


class Edit(NamedTuple):
    """A bug: what stands in a file, once, and what stands there instead."""

    file: str
    was: str
    becomes: str


class Mutant(NamedTuple):
    """A bug, and the tests that have to fail of it."""

    tests: str
    edits: tuple[Edit, ...]


MUTANTS = {
    "holds are not counted": Mutant(
        "test_holds.py",
        (
            Edit("ledger/journal.py", "after < standing.pending_out", "after < 0"),
            Edit("ledger/holds.py", ' - row["pending_out"] < amount.minor', " < amount.minor"),
            Edit(LAWS, "allow_negative OR posted - pending_out >= 0", "allow_negative OR posted >= 0"),
            Edit(LAWS, "f.balance_after < a.pending_out", "f.balance_after < 0"),
        ),
    ),
    "a float in one multiplication": Mutant(
        "test_money.py",
        (Edit("ledger/money.py", "(self.decimal * rate)", "Decimal(float(self.decimal) * float(rate))"),),
    ),
    "what is held is read, then written": Mutant(
        "test_holds.py",
        (
            Edit("ledger/posting.py", "ORDER BY a.id FOR NO KEY UPDATE OF a", "ORDER BY a.id"),
            Edit(
                LAWS,
                "SET pending_out = pending_out + new.amount",
                "SET pending_out = new.amount + (SELECT b.pending_out FROM account b WHERE b.id = new.account_id)",
            ),
        ),
    ),
    "an entry need not balance": Mutant("test_laws.py", (Edit(LAWS, "HAVING sum(amount) <> 0", "HAVING false"),)),
    "an entry can be added to": Mutant(
        "test_laws.py",
        (Edit(LAWS, "legs <> (SELECT count(*) FROM posting p WHERE p.entry_id = written.entry_id)", "legs < 1"),),
    ),
    "postings can be changed": Mutant("test_laws.py", (Edit(LAWS, '"journal_entry", "posting",', '"journal_entry",'),)),
    "a batch is judged by how it ends": Mutant(
        "test_posting.py", (Edit(LAWS, "OR NOT a.allow_negative AND f.balance_after < a.pending_out", ""),)
    ),
    "another request has the first one's answer": Mutant(
        "test_posting.py", (Edit("ledger/posting.py", "request_hash != entry.request_hash", "not request_hash"),)
    ),
    "a refusal is forgotten": Mutant(
        "test_posting.py", (Edit("ledger/posting.py", "if remember and batch.refused", "if batch.refused is None"),)
    ),
    "a key is looked for, then written": Mutant(
        "test_storm.py -k key",
        (Edit(LAWS, 'sa.UniqueConstraint("key", name=op.f("uq_journal_entry_key")),', ""),),
    ),
    "an entry is reversed as often as asked": Mutant(
        "test_storm.py -k reversals",
        (
            Edit("ledger/posting.py", "entry.reverses in self.reversed", "entry.reverses in ()"),
            Edit(LAWS, '["reverses"],\n        unique=True', '["reverses"],\n        unique=False'),
        ),
    ),
    "a hold is resolved as often as asked": Mutant(
        "test_holds.py",
        (
            Edit("ledger/posting.py", "if not hold.free", "if hold.free is None"),
            Edit(LAWS, "IF old.state <> 'open' OR new.state = 'open'", "IF new.state = 'open'"),
        ),
    ),
}  # fmt: skip


def planted() -> list[str]:
    """Those of this run."""
    if os.environ.get("MATHIA_MUTANTS") == "all":
        return list(MUTANTS)
    return random.Random(datetime.now(UTC).date().toordinal()).sample(sorted(MUTANTS), AT_ONCE)


@pytest.mark.parametrize("name", planted())
def test_a_mutant_is_caught(name: str, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    checkout = tmp_path / "mutant"
    shutil.copytree(ROOT, checkout, ignore=LEFT_BEHIND)
    for file, was, becomes in mutant.edits:
        text = (checkout / file).read_text()
        assert text.count(was) == 1, f"{was!r} stands {text.count(was)} times in {file}"
        (checkout / file).write_text(text.replace(was, becomes))
    environment = {**os.environ, "MATHIA_LEDGER_KEYS": "40"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", *mutant.tests.split()[1:],
         f"tests/ledger/{mutant.tests.split()[0]}"],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert " failed" in done.stdout
