"""Wallets of persons who turned out to be somebody else: what is free on them moves to the one who was kept.

The books know no persons, so joining two of them moves nothing; this does, soon after, by an entry like any other. What
a hold keeps back follows when it is let go. What somebody who was erased has left here, or gets afterwards, goes to an
account of money that nobody can claim by themselves; what a dispute has frozen stays until it is decided.
"""

import asyncio
from dataclasses import replace
from typing import Any

import structlog

from core.db import Database
from core.errors import Conflict, UserError
from jobs.sweeps import Outage
from ledger.accounts import as_account, unclaimed
from ledger.journal import Account, Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import post

log = structlog.get_logger()

LOOK_S = 5.0
MOVED_MAX = 100
"""Accounts that are looked at at a time."""
LEFT_BEHIND = """
SELECT a.key, a.type, a.currency, a.owner, a.allow_negative, a.posted - a.pending_out AS free, a.seq,
       p.merged_into::text AS kept
FROM person p
CROSS JOIN LATERAL (SELECT * FROM account WHERE owner = p.id::text AND type = 'LIABILITY' AND posted > pending_out
                    OFFSET 0) a
WHERE p.merged_into IS NOT NULL LIMIT $1
"""
LEFT_BY_ERASED = """
SELECT a.key, a.type, a.currency, a.owner, a.allow_negative, a.posted - a.pending_out AS free, a.seq
FROM person p
CROSS JOIN LATERAL (SELECT * FROM account WHERE owner = p.id::text AND type = 'LIABILITY' AND posted > pending_out
                    AND key LIKE 'wallet:%' OFFSET 0) a
WHERE p.erasure_id IS NOT NULL AND p.merged_into IS NULL LIMIT $1
"""


async def sweep_wallets(db: Database) -> None:
    """Move what was left behind, until cancelled; any number of processes may do so at once."""
    outage = Outage("wallets")
    while True:
        try:
            moved = max(await move_left_behind(db), await move_unclaimed(db))
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        if moved < MOVED_MAX:
            await asyncio.sleep(LOOK_S)


async def move_left_behind(db: Database) -> int:
    """One look at who was joined with another; how many accounts had something left on them."""
    rows = await db.pool.fetch(LEFT_BEHIND, MOVED_MAX)
    for row in rows:
        theirs = as_account(row)
        kept = replace(theirs, key=theirs.key.replace(row["owner"], row["kept"]), owner=row["kept"])
        await _move(db, row, theirs, kept, "joined")
    return len(rows)


async def move_unclaimed(db: Database) -> int:
    """One look at who was erased; how many wallets had something left on them."""
    rows = await db.pool.fetch(LEFT_BY_ERASED, MOVED_MAX)
    for row in rows:
        await _move(db, row, as_account(row), unclaimed(row["currency"]), "unclaimed")
    return len(rows)


async def _move(db: Database, row: Any, theirs: Account, to: Account, why: str) -> None:
    amount = Money(row["free"], row["currency"])
    # Whoever moves it changes `seq`, so that the same money is never moved twice.
    key = f"{why}:{row['seq']}:{amount.minor}:{theirs.key}"
    try:
        async with db.hot() as connection:
            await post(connection, Entry(key, Kind.TRANSFER, (debit(theirs, amount), credit(to, amount))))
        log.info("wallet.moved", account=theirs.key, to=to.key)
    except (Conflict, UserError):
        return  # It changed meanwhile, or another process was faster: the next look sees.
