"""Comparisons with a provider's list, in the database: what is settled, and findings that somebody explains."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from core.db import Database
from core.errors import Conflict
from ledger.accounts import clearing, fee_expense, held_at
from ledger.instruction_store import provider_of
from ledger.instructions import DONE, State
from ledger.journal import Entry, Kind, Posting, credit, debit
from ledger.matching import Booked, Difference, Finding, Match
from ledger.money import Money
from ledger.posting import post_all

EVERY: Final = timedelta(hours=2)
STUCK_AFTER: Final = timedelta(minutes=15)
"""A comparison that has not ended by then died with its process."""
BATCH = 100
"""Lines settled in one transaction."""
BOOKED_MAX = 50_000
FINDINGS_MAX = 2_000

BEGIN = """
INSERT INTO reconciliation_run (started_at) SELECT clock_timestamp() WHERE $3 OR NOT EXISTS (
    SELECT FROM reconciliation_run
    WHERE finished_at > clock_timestamp() - $1::interval
       OR finished_at IS NULL AND started_at > clock_timestamp() - $2::interval
) RETURNING id
"""
BOOKED = """
SELECT i.id, i.reference, i.direction = 'out' AS is_out, i.state, i.amount, i.currency, i.charge,
       coalesce(i.done_at, i.created_at) AS at, i.invoice_id, i.receipt, i.method = 'refund' AS is_refund,
       i.tracking_id, i.settled_at IS NOT NULL AS is_settled
FROM payment_instruction i
WHERE i.account IS NOT DISTINCT FROM $5 AND i.id IN (
    SELECT id FROM payment_instruction WHERE settled_at IS NULL AND state IN ('succeeded', 'complete', 'late')
    UNION SELECT id FROM payment_instruction WHERE created_at > $1
    UNION SELECT id FROM payment_instruction WHERE invoice_id = ANY($3::text[])
    UNION SELECT id FROM payment_instruction WHERE tracking_id = ANY($4::text[])
)
ORDER BY i.id DESC LIMIT $2
"""
OWN = """
SELECT DISTINCT account, person_id FROM payment_instruction
WHERE account IS NOT NULL
  AND (created_at > $1 OR settled_at IS NULL AND state IN ('succeeded', 'complete', 'late'))
ORDER BY account LIMIT $2
"""
OWN_MAX = 1_000
"""Accounts of persons that are compared at a time."""
SETTLED = "SELECT line_id, instruction_id FROM settled_line WHERE at > $1"
SETTLE = """
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS g(instruction_id, line_id, at)
), kept AS (
    INSERT INTO settled_line (instruction_id, line_id, at) SELECT * FROM given ORDER BY instruction_id
    ON CONFLICT DO NOTHING RETURNING instruction_id, line_id
), marked AS (
    UPDATE payment_instruction i SET settled_at = clock_timestamp() FROM kept WHERE i.id = kept.instruction_id
)
SELECT line_id FROM kept
"""
FIND = """
INSERT INTO reconciliation_finding (kind, subject, instruction_id, currency, unexplained, ours, theirs)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[])
ON CONFLICT (kind, subject) DO UPDATE
SET last_seen_at = clock_timestamp(), unexplained = excluded.unexplained, ours = excluded.ours, theirs = excluded.theirs
"""
EXPLAINED = """
UPDATE reconciliation_finding f
SET resolved_at = clock_timestamp(), resolved_by = 'worker', note = 'A later comparison found it in order.'
FROM settled_line s
WHERE f.resolved_at IS NULL AND f.last_seen_at < $1
  AND (f.kind = 'missing_here' AND s.line_id = f.subject
       OR f.kind IN ('missing_there', 'late') AND s.instruction_id = f.instruction_id AND f.unexplained IS NOT NULL)
"""
LATE = """
UPDATE payment_instruction SET hinted_at = clock_timestamp(), due_at = clock_timestamp()
WHERE id = ANY($1::bigint[]) AND state = 'failed'
"""
UNEXPLAINED = """
SELECT currency, sum(unexplained)::bigint AS unexplained FROM reconciliation_finding
WHERE resolved_at IS NULL AND unexplained IS NOT NULL GROUP BY currency ORDER BY currency
"""
FINISH = """
UPDATE reconciliation_run SET finished_at = clock_timestamp(), lines = $2, matched = $3, found = $4,
       unexplained = $5::text::jsonb
WHERE id = $1
"""
OPEN = """
SELECT id, kind, subject, instruction_id, currency, unexplained, ours, theirs, first_seen_at
FROM reconciliation_finding WHERE resolved_at IS NULL ORDER BY id LIMIT $1
"""
RESOLVE = """
UPDATE reconciliation_finding SET resolved_at = clock_timestamp(), resolved_by = $2, note = $3
WHERE id = $1 AND resolved_at IS NULL RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A comparison that has begun; `now` is the database's time at its beginning."""

    id: int
    now: datetime


async def begin(db: Database, *, at_once: bool = False) -> Run | None:
    """Begin a comparison, unless one was made within EVERY or is being made; `at_once` regardless of both."""
    async with db.hot() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(724002)")
        run_id = await connection.fetchval(BEGIN, EVERY, STUCK_AFTER, at_once)
        if run_id is None:
            return None
        return Run(run_id, await connection.fetchval("SELECT clock_timestamp()"))


async def booked(
    connection: Any,
    since: datetime,
    *,
    invoices: Sequence[str] = (),
    refunds: Sequence[str] = (),
    account: str | None = None,
) -> list[Booked]:
    """Our payments since then, and all that are over and in no list of the provider's yet, whenever they were.

    Those that go through a person's own `account`, else ours. With those that the provider's ids of `invoices` that
    were paid, and of `refunds`, are of, however old.
    """
    rows = await connection.fetch(BOOKED, since, BOOKED_MAX, list(invoices), list(refunds), account)
    return [
        Booked(
            row["id"], row["reference"], row["is_out"], row["state"] in DONE,
            row["state"] in DONE or row["state"] == State.FAILED, Money(row["amount"], row["currency"]),
            None if row["charge"] is None else Money(row["charge"], row["currency"]), row["at"],
            tuple(filter(None, (row["invoice_id"], row["receipt"] if row["is_out"] else None,
                                row["tracking_id"] if row["is_refund"] else None))),
            row["is_refund"], account, row["is_settled"],
        )
        for row in rows
    ]  # fmt: skip


async def own_accounts(connection: Any, since: datetime) -> Sequence[Any]:
    """Persons' own accounts (`account`, `person_id`) with payments since then, or that are in no list yet."""
    rows: Sequence[Any] = await connection.fetch(OWN, since, OWN_MAX)
    return rows


async def settled(connection: Any, since: datetime) -> dict[str, int]:
    """Lines of the provider's since then that are settled, and the payment that each is."""
    return {row["line_id"]: row["instruction_id"] for row in await connection.fetch(SETTLED, since)}


async def settle(db: Database, matches: Sequence[Match]) -> int:
    """Book what both lists agree on from what is on its way to what the provider holds for us; how many were new."""
    new = 0
    for start in range(0, len(matches), BATCH):
        batch = {match.line.id: match for match in matches[start : start + BATCH]}
        async with db.hot() as connection:
            rows = await connection.fetch(
                SETTLE, [match.booked.id for match in batch.values()], list(batch),
                [match.line.at for match in batch.values()],
            )  # fmt: skip
            entries = [_entry(batch[row["line_id"]]) for row in rows]
            if entries:
                for answer in await post_all(connection, entries):
                    if isinstance(answer, Exception):
                        raise answer
            new += len(rows)
    return new


def _entry(match: Match) -> Entry:
    amount, fee, currency = match.booked.amount, match.fee, match.booked.amount.currency
    provider = provider_of(match.booked.account)
    between, held = clearing(provider, currency), held_at(provider, currency)
    net = amount + fee if match.booked.is_out else amount - fee
    book, other = (debit, credit) if match.booked.is_out else (credit, debit)
    legs: list[Posting] = [book(between, amount)]
    if net.minor:
        legs.append(other(held, net))
    if fee.minor:
        legs.append(debit(fee_expense(provider, currency), fee))
    return Entry(f"settle:{match.line.id}", Kind.TRANSFER, tuple(legs), match.booked.reference)


async def report(db: Database, run: Run, findings: Sequence[Finding], *, lines: int, matched: int) -> dict[str, int]:
    """End a comparison with what it found; minor units of all open findings, by currency.

    What was paid although it had failed here is looked at again by the worker, which credits it.
    """
    late = [one.booked_id for one in findings if one.kind is Difference.LATE and one.unexplained is not None]
    async with db.hot() as connection:
        await connection.execute(
            FIND, [one.kind.value for one in findings], [one.subject for one in findings],
            [one.booked_id for one in findings],
            [one.unexplained.currency if one.unexplained else None for one in findings],
            [one.unexplained.minor if one.unexplained else None for one in findings], [one.ours for one in findings],
            [one.theirs for one in findings],
        )  # fmt: skip
        await connection.execute(EXPLAINED, run.now)
        await connection.execute(LATE, late)
        unexplained = {row["currency"]: row["unexplained"] for row in await connection.fetch(UNEXPLAINED)}
        await connection.execute(FINISH, run.id, lines, matched, len(findings), orjson.dumps(unexplained).decode())
        if late:
            await connection.execute("SELECT pg_notify('mathia', 'payment')")
    return unexplained


async def open_findings(connection: Any, limit: int = FINDINGS_MAX) -> Sequence[Any]:
    """What nobody has explained yet, oldest first."""
    rows: Sequence[Any] = await connection.fetch(OPEN, limit)
    return rows


async def unexplained(connection: Any) -> dict[str, Money]:
    """How much money nobody has explained yet, by currency."""
    rows = await connection.fetch(UNEXPLAINED)
    return {row["currency"]: Money(row["unexplained"], row["currency"]) for row in rows}


async def explain(connection: Any, finding_id: int, by: str, note: str) -> None:
    """End a finding with what somebody found out. Raises Conflict where there is none, or it has ended."""
    if await connection.fetchval(RESOLVE, finding_id, by, note) is None:
        raise Conflict(f"There is no open finding {finding_id}.")
