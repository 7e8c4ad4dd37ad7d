"""The switch by which staff stop payments for everybody, besides the setting that a process reads as it starts.

Whoever pays holds the row until they have paid: once it is switched, nothing that began before goes on.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

LOOK = "SELECT stopped_at, stopped_by FROM payment_switch"
HOLD = "SELECT stopped_at FROM payment_switch FOR SHARE"
STOP = """
INSERT INTO payment_switch (stopped_at, stopped_by) VALUES ($1, $2)
ON CONFLICT (is_there) DO UPDATE SET stopped_at = $1, stopped_by = $2 WHERE payment_switch.stopped_at IS NULL
RETURNING is_there
"""
GO = "UPDATE payment_switch SET stopped_at = NULL, stopped_by = NULL WHERE stopped_at IS NOT NULL RETURNING is_there"


@dataclass(frozen=True, slots=True)
class Stop:
    """Since when payments are stopped, and who of the staff did it."""

    at: datetime
    by: str


async def stop_of(connection: Any) -> Stop | None:
    """The stop there is."""
    row = await connection.fetchrow(LOOK)
    return None if row is None or row["stopped_at"] is None else Stop(row["stopped_at"], row["stopped_by"])


async def is_stopped(connection: Any) -> bool:
    """Whether payments are stopped; they are not until the caller's transaction is over, where they were not."""
    return await connection.fetchval(HOLD) is not None


async def switch(connection: Any, actor: str, now: datetime, *, stopped: bool) -> bool:
    """Stop payments, or let them go on, in the caller's transaction; False where that was so already."""
    done = await connection.fetchval(STOP, now, actor) if stopped else await connection.fetchval(GO)
    return done is not None
