"""Recomputes the books every few hours: what PostgreSQL was meant to refuse may have come in all the same."""

import asyncio

import structlog

from core.db import Database
from jobs.sweeps import Outage
from ledger.reconcile import Report, reconcile

log = structlog.get_logger()

FIRST_S = 600.0
"""How long after its start a process looks first: one that is started again and again reads no books."""
EVERY_S = 6 * 3600.0


async def watch_books(db: Database, *, first_s: float = FIRST_S, every_s: float = EVERY_S) -> None:
    """Recompute everything and say in the log what came of it, until cancelled."""
    outage = Outage("books")
    await asyncio.sleep(first_s)
    while True:
        try:
            await look(db)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(every_s)


async def look(db: Database) -> Report:
    """One look; differences are an error in the log, for a person to take up."""
    async with db.hot() as connection:
        report = await reconcile(connection)
    if report.differences:
        hint = "stop what moves money, and run `python3 -m bot ledger verify`"
        told = [f"{one.where}: {one.what}" for one in report.differences]
        log.error("books.differ", differences=len(told), first=told[0], hint=hint)
    else:
        log.info("books.right", entries=report.entries, postings=report.postings)
    return report
