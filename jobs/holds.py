"""Lets holds go whose time is over. Until it does they keep their money back, and nobody can post them any more."""

import asyncio

import structlog

from core.db import Database
from core.wake import spread
from jobs.sweeps import Outage
from ledger import holds

log = structlog.get_logger()

LOOK_S = 1.0


async def sweep_holds(db: Database) -> None:
    """Expire what is due, until cancelled; any number of processes may do so at once."""
    outage = Outage("holds")
    while True:
        try:
            async with db.hot() as connection:
                expired = await holds.expire_due(connection)
            if expired:
                log.info("holds.expired", count=expired)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        if expired < holds.EXPIRE_MAX:
            await asyncio.sleep(spread(LOOK_S))
