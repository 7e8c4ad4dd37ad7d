"""Wallets of persons who turned out to be somebody else: what is free on them moves to the one who was kept.

The books know no persons, so joining two of them moves nothing; this does, soon after, by an entry like any other. What
a hold keeps back follows when it is let go.
"""

import asyncio
from dataclasses import replace

import structlog

from core.db import Database
from core.errors import Conflict, UserError
from jobs.sweeps import Outage
from ledger.accounts import as_account
from ledger.journal import Entry, Kind, credit, debit
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


async def sweep_wallets(db: Database) -> None:
    """Move what was left behind, until cancelled; any number of processes may do so at once."""
    outage = Outage("wallets")
    while True:
        try:
            moved = await move_left_behind(db)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        if moved < MOVED_MAX:
            await asyncio.sleep(LOOK_S)


async def move_left_behind(db: Database) -> int:
    """One look; how many accounts had something left on them."""
    rows = await db.pool.fetch(LEFT_BEHIND, MOVED_MAX)
    for row in rows:
        theirs, amount = as_account(row), Money(row["free"], row["currency"])
        kept = replace(theirs, key=theirs.key.replace(row["owner"], row["kept"]), owner=row["kept"])
        # Whoever moves it changes `seq`, so that the same money is never moved twice.
        key = f"joined:{row['seq']}:{amount.minor}:{theirs.key}"
        try:
            async with db.hot() as connection:
                await post(connection, Entry(key, Kind.TRANSFER, (debit(theirs, amount), credit(kept, amount))))
            log.info("wallet.moved", account=theirs.key, kept=kept.key)
        except (Conflict, UserError):
            continue  # It changed meanwhile, or another process was faster: the next look sees.
    return len(rows)
