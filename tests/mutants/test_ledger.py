"""Mutants of the ledger: every run plants three, by the day; MATHIA_MUTANTS=all plants all of them.

A law often has two guards, one in Python and one in PostgreSQL; a mutant that lives with one of them takes out both.
"""

from pathlib import Path

import pytest

from tests.mutants.planting import Edit, Mutant, must_be_caught, planted

AT_ONCE = 3
LAWS = "alembic/versions/0040_ledger.py"


MUTANTS = {
    "holds are not counted": Mutant(
        "ledger/test_holds.py",
        (
            Edit("ledger/journal.py", "after < standing.pending_out", "after < 0"),
            Edit("ledger/holds.py", ' - row["pending_out"] < amount.minor', " < amount.minor"),
            Edit(LAWS, "allow_negative OR posted - pending_out >= 0", "allow_negative OR posted >= 0"),
            Edit(LAWS, "f.balance_after < a.pending_out", "f.balance_after < 0"),
        ),
    ),
    "a float in one multiplication": Mutant(
        "ledger/test_money.py",
        (Edit("ledger/money.py", "(self.decimal * rate)", "Decimal(float(self.decimal) * float(rate))"),),
    ),
    "what is held is read, then written": Mutant(
        "ledger/test_holds.py",
        (
            Edit("ledger/posting.py", "ORDER BY a.id FOR NO KEY UPDATE OF a", "ORDER BY a.id"),
            Edit(
                LAWS,
                "SET pending_out = pending_out + new.amount",
                "SET pending_out = new.amount + (SELECT b.pending_out FROM account b WHERE b.id = new.account_id)",
            ),
        ),
    ),
    "an entry need not balance": Mutant(
        "ledger/test_laws.py", (Edit(LAWS, "HAVING sum(amount) <> 0", "HAVING false"),)
    ),
    "an entry can be added to": Mutant(
        "ledger/test_laws.py",
        (Edit(LAWS, "legs <> (SELECT count(*) FROM posting p WHERE p.entry_id = written.entry_id)", "legs < 1"),),
    ),
    "postings can be changed": Mutant(
        "ledger/test_laws.py", (Edit(LAWS, '"journal_entry", "posting",', '"journal_entry",'),)
    ),
    "a batch is judged by how it ends": Mutant(
        "ledger/test_posting.py", (Edit(LAWS, "OR NOT a.allow_negative AND f.balance_after < a.pending_out", ""),)
    ),
    "another request has the first one's answer": Mutant(
        "ledger/test_posting.py", (Edit("ledger/posting.py", "request_hash != entry.request_hash", "not request_hash"),)
    ),
    "a refusal is forgotten": Mutant(
        "ledger/test_posting.py",
        (Edit("ledger/posting.py", "if remember and batch.refused", "if batch.refused is None"),),
    ),
    "a key is looked for, then written": Mutant(
        "ledger/test_storm.py -k key",
        (Edit(LAWS, 'sa.UniqueConstraint("key", name=op.f("uq_journal_entry_key")),', ""),),
    ),
    "an entry is reversed as often as asked": Mutant(
        "ledger/test_storm.py -k reversals",
        (
            Edit("ledger/posting.py", "entry.reverses in self.reversed", "entry.reverses in ()"),
            Edit(LAWS, '["reverses"],\n        unique=True', '["reverses"],\n        unique=False'),
        ),
    ),
    "a hold is resolved as often as asked": Mutant(
        "ledger/test_holds.py",
        (
            Edit("ledger/posting.py", "if not hold.free", "if hold.free is None"),
            Edit(LAWS, "IF old.state <> 'open' OR new.state = 'open'", "IF new.state = 'open'"),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", planted(MUTANTS, AT_ONCE))
def test_a_mutant_is_caught(name: str, tmp_path: Path) -> None:
    must_be_caught(MUTANTS[name], tmp_path)
