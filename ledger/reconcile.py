"""Recomputes the books from their postings and tells every difference: balances, laws, the hash of every request.

It trusts nothing that PostgreSQL was meant to refuse: a superuser, a restore or a fault of the disk may have been here.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from ledger.accounts import as_account
from ledger.errors import IllegalEntry
from ledger.journal import Entry, Kind, Posting, Quote
from ledger.money import BadAmount, Money

DIFFERENCES_MAX = 20
"""Differences of one kind that are told."""
PAGE = 1_000
"""Postings in memory at a time."""
READING = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30min';"
    " SET LOCAL idle_in_transaction_session_timeout = '30min'; SET LOCAL plan_cache_mode = auto;"
    " SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;"
    " SET LOCAL enable_material = on; SET LOCAL enable_bitmapscan = on; SET LOCAL join_collapse_limit = 8"
)
"""One moment of the whole books, read by plans that read tables from end to end."""
READING_S = 1_800

CHECKS: Final[dict[str, str]] = {
    "an entry does not balance":
        "SELECT 'entry ' || entry_id || ' in ' || currency FROM posting GROUP BY entry_id, currency"
        " HAVING sum(amount) <> 0",
    "an entry has fewer than two legs":
        "SELECT 'entry ' || e.id FROM journal_entry e LEFT JOIN posting p ON p.entry_id = e.id GROUP BY e.id"
        " HAVING count(p.entry_id) < 2",
    "a posting is of no entry, or has another time":
        "SELECT 'account ' || p.account_id || ' posting ' || p.account_seq FROM posting p"
        " LEFT JOIN journal_entry e ON e.id = p.entry_id WHERE e.id IS NULL OR e.at <> p.at",
    "a posting is on no account, or in another currency":
        "SELECT 'account ' || p.account_id || ' posting ' || p.account_seq FROM posting p"
        " LEFT JOIN account a ON a.id = p.account_id WHERE a.currency IS DISTINCT FROM p.currency",
    "a posting does not follow the one before":
        "SELECT 'account ' || account_id || ' posting ' || account_seq FROM ("
        " SELECT p.account_id, p.account_seq, p.at, p.balance_after, ledger_side(a.type) * p.amount AS gain,"
        " row_number() OVER o AS number, coalesce(lag(p.balance_after) OVER o, 0) AS before, lag(p.at) OVER o AS since"
        " FROM posting p JOIN account a ON a.id = p.account_id"
        " WINDOW o AS (PARTITION BY p.account_id ORDER BY p.account_seq)) ordered"
        " WHERE account_seq <> number OR balance_after <> before + gain OR at < since",
    "a balance is not the sum of its postings":
        "SELECT 'account ' || a.key || ' has ' || a.posted || ', its postings ' ||"
        " coalesce(ledger_side(a.type) * sum(p.amount), 0)"
        " FROM account a LEFT JOIN posting p ON p.account_id = a.id GROUP BY a.id"
        " HAVING a.posted <> coalesce(ledger_side(a.type) * sum(p.amount), 0) OR a.seq <> count(p.account_id)",
    "what is kept back is not the sum of the open holds":
        "SELECT 'account ' || a.key || ' keeps back ' || a.pending_out || ', its holds ' || coalesce(sum(h.amount), 0)"
        " FROM account a LEFT JOIN hold h ON h.account_id = a.id AND h.state = 'open' GROUP BY a.id"
        " HAVING a.pending_out <> coalesce(sum(h.amount), 0)",
    "an account is overdrawn, or was":
        "SELECT 'account ' || key FROM account WHERE NOT allow_negative AND posted < pending_out UNION ALL"
        " SELECT 'account ' || a.key || ' posting ' || p.account_seq FROM account a JOIN posting p"
        " ON p.account_id = a.id WHERE NOT a.allow_negative AND p.balance_after < 0",
    "a reversal is not the reverse of what it reverses":
        "SELECT 'entry ' || r.id FROM journal_entry r WHERE r.reverses IS NOT NULL AND EXISTS ("
        " SELECT FROM (SELECT account_id, amount FROM posting WHERE entry_id = r.reverses) was"
        " FULL JOIN (SELECT account_id, amount FROM posting WHERE entry_id = r.id) undone USING (account_id)"
        " WHERE was.amount IS DISTINCT FROM -undone.amount)",
    "an entry was reversed more than once":
        "SELECT 'entry ' || reverses FROM journal_entry WHERE reverses IS NOT NULL GROUP BY reverses"
        " HAVING count(*) > 1",
    "a hold and the entry that posted it differ":
        "SELECT 'hold ' || h.key FROM hold h LEFT JOIN account a ON a.id = h.account_id"
        " LEFT JOIN journal_entry e ON e.id = h.entry_id"
        " LEFT JOIN posting p ON p.entry_id = h.entry_id AND p.account_id = h.account_id WHERE h.state = 'posted'"
        " AND (e.settles IS DISTINCT FROM h.key OR coalesce(-ledger_side(a.type) * p.amount, 0)"
        " NOT BETWEEN 1 AND h.amount)",
    "an entry settles a hold that it did not post":
        "SELECT 'entry ' || e.id FROM journal_entry e LEFT JOIN hold h ON h.entry_id = e.id"
        " WHERE e.settles IS NOT NULL AND h.key IS DISTINCT FROM e.settles",
    "a key was posted and refused":
        "SELECT 'key ' || e.key FROM journal_entry e JOIN refused_entry r USING (key)",
    "a law is missing or switched off":
        "SELECT w.law || ' on ' || w.relation FROM (VALUES ('posting', 'ledger_posted'),"
        " ('journal_entry', 'ledger_entries_written'), ('hold', 'ledger_hold_moved'), ('hold', 'ledger_hold_posted'),"
        " ('journal_entry', 'ledger_never_changed'), ('posting', 'ledger_never_changed'),"
        " ('refused_entry', 'ledger_never_changed'), ('hold', 'ledger_never_changed'),"
        " ('account', 'ledger_never_changed'), ('account', 'ledger_moved_by_postings')) AS w (relation, law)"
        " LEFT JOIN pg_trigger t ON t.tgname = w.law AND t.tgrelid = w.relation::regclass"
        " WHERE t.tgenabled IS DISTINCT FROM 'O' UNION ALL"
        " SELECT w.law || ' on ' || w.relation FROM (VALUES ('account', 'ck_account_overdraft'),"
        " ('account', 'ck_account_owed_is_never_negative'), ('account', 'uq_account_key'),"
        " ('journal_entry', 'uq_journal_entry_key'), ('posting', 'pk_posting'),"
        " ('posting', 'fk_posting_account_id_currency'), ('posting', 'fk_posting_entry_id'),"
        " ('hold', 'uq_hold_key'), ('hold', 'uq_hold_entry_id')) AS w (relation, law)"
        " LEFT JOIN pg_constraint c ON c.conname = w.law AND c.conrelid = w.relation::regclass"
        " WHERE c.convalidated IS DISTINCT FROM true UNION ALL"
        " SELECT 'uq_journal_entry_reverses on journal_entry' WHERE NOT EXISTS (SELECT FROM pg_index"
        " WHERE indisunique AND indisvalid AND indexrelid = to_regclass('uq_journal_entry_reverses'))",
    "the application's role may do more than append":
        "SELECT w.may || ' ' || w.relation FROM (VALUES ('account'), ('journal_entry'), ('posting'), ('refused_entry'),"
        " ('hold')) AS r (relation) CROSS JOIN LATERAL (VALUES ('UPDATE', r.relation), ('DELETE', r.relation),"
        " ('TRUNCATE', r.relation), ('TRIGGER', r.relation)) AS w (may, relation)"
        " WHERE has_table_privilege('mathia_app', w.relation, w.may) UNION ALL"
        " SELECT rolname || ' is more than an application' FROM pg_roles"
        " WHERE rolname = 'mathia_app' AND (rolsuper OR rolbypassrls OR rolreplication OR rolcreaterole)",
}  # fmt: skip
"""What would be wrong, and the statement that finds it."""

COUNTS = """
SELECT (SELECT count(*) FROM account) AS accounts, (SELECT count(*) FROM journal_entry) AS entries,
       (SELECT count(*) FROM posting) AS postings
"""
ENTRIES = """
SELECT e.id, e.key AS entry_key, e.request_hash, e.kind, e.at, e.reference, e.occurred_at, e.reverses, e.settles,
       e.rate, e.rate_pair, e.rate_source, e.rated_at, a.id AS account_id, a.key, a.type, a.owner, a.allow_negative,
       p.currency, p.amount, p.balance_after
FROM journal_entry e JOIN posting p ON p.entry_id = e.id JOIN account a ON a.id = p.account_id ORDER BY e.id, a.id
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it has to be, and where."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    """How much was recomputed, and what was wrong; at most DIFFERENCES_MAX of each kind."""

    accounts: int
    entries: int
    postings: int
    differences: tuple[Difference, ...]


async def reconcile(connection: Any) -> Report:
    """Recompute everything as of one moment; `connection` is in a transaction in which nothing was read yet."""
    await connection.execute(READING)
    counts = await connection.fetchrow(COUNTS)
    differences = []
    for what, statement in CHECKS.items():
        cursor = await connection.cursor(statement, timeout=READING_S)
        rows = await cursor.fetch(DIFFERENCES_MAX, timeout=READING_S)
        differences += [Difference(what, row[0]) for row in rows]
    altered: list[Difference] = []
    async for rows in whole_entries(connection):
        if len(altered) < DIFFERENCES_MAX and (told := wrong(rows)):
            altered.append(Difference(told, f"entry {rows[0]['id']}"))
    differences += altered
    return Report(counts["accounts"], counts["entries"], counts["postings"], tuple(differences))


async def whole_entries(connection: Any) -> AsyncIterator[list[Any]]:
    """The rows of ENTRIES, those of each entry together, as of the transaction; memory holds a page."""
    waiting: list[Any] = []
    cursor = await connection.cursor(ENTRIES, timeout=READING_S)
    while page := await cursor.fetch(PAGE, timeout=READING_S):
        *whole, last = [list(rows) for _, rows in groupby([*waiting, *page], key=lambda row: row["id"])]
        for rows in whole:
            yield rows
        waiting = last
    if waiting:
        yield waiting


def wrong(rows: list[Any]) -> str | None:
    """What is wrong with one entry taken by itself."""
    head = rows[0]
    try:
        entry = as_entry(rows)
    except (IllegalEntry, BadAmount, ValueError) as error:
        return f"this could not be posted ({error})"
    return None if entry.request_hash == head["request_hash"] else "this is not what was asked for"


def as_entry(rows: list[Any]) -> Entry:
    """The entry that was posted, from its rows of ENTRIES."""
    head = rows[0]
    quote = None
    if head["rate"] is not None:
        sold, _, bought = head["rate_pair"].partition("/")
        quote = Quote(sold, bought, Decimal(head["rate"]), head["rate_source"], head["rated_at"])
    return Entry(
        head["entry_key"],
        Kind(head["kind"]),
        tuple(Posting(as_account(row), Money(row["amount"], row["currency"])) for row in rows),
        head["reference"],
        head["occurred_at"],
        head["reverses"],
        head["settles"],
        quote,
    )
