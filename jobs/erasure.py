"""Erasing somebody: their rows and files go, they are told, their address is forgotten; then what may yet be delivered.

The row of an erasure says how far it is. Each step may run twice, and a worker that dies leaves it to the next one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core import crashpoint, erasure
from core.db import Database
from core.dialog_store import DialogStore
from core.limits import Limits
from core.wake import Wakes
from jobs.sweeps import Waiting

log = structlog.get_logger()

ERASE_S_MAX = 300.0
LEASE = timedelta(seconds=ERASE_S_MAX + 10.0)
LOOK_AGAIN = timedelta(seconds=2)
"""How often it is seen whether the last word has been delivered."""

CLAIMABLE = """
SELECT id, lease_until FROM erasure
WHERE state <> 'done' AND lease_until <= clock_timestamp() ORDER BY lease_until LIMIT $1
"""
CLAIM = """
UPDATE erasure SET attempt = attempt + 1, lease_until = clock_timestamp() + $2::interval
WHERE id = $1 AND state <> 'done' AND lease_until <= clock_timestamp() RETURNING state, attempt
"""
MOVE = """
UPDATE erasure SET state = $3, lease_until = clock_timestamp() + $4::interval,
       erased_at = coalesce(erased_at, clock_timestamp())
WHERE id = $1 AND attempt = $2 RETURNING id
"""
FORGET = "UPDATE erasure SET channel = NULL, account = NULL, room = NULL, language = NULL WHERE id = $1"

ERASURES = Waiting("erasure", CLAIMABLE, again_s=30.0)


@dataclass(frozen=True, slots=True)
class Hands:
    """What erasing needs; no `valkey` where nothing is kept in one."""

    db: Database
    wakes: Wakes
    valkey: Redis | None


async def erase(hands: Hands, erasure_id: int) -> None:
    """Go on with one erasure as far as it can be now; of any number of calls, at once or later, one has an effect."""
    db = hands.db
    claimed = await db.pool.fetchrow(CLAIM, erasure_id, LEASE)
    if claimed is None:
        return
    match claimed["state"]:
        case "waiting":
            await erasure.remove(db, erasure_id)
            await _forget_states(hands, erasure_id)
            async with db.hot() as connection:
                if await _move(connection, erasure_id, claimed["attempt"], "told", LOOK_AGAIN):
                    await erasure.say_last_word(connection, erasure_id)
                    await hands.wakes.notify(connection, "outbox")
            crashpoint.hit("erasure.told")
            hands.wakes.wake("outbox")
        case "told":
            async with db.hot() as connection:
                over = await erasure.forget_address(connection, erasure_id)
                if not over:
                    await _move(connection, erasure_id, claimed["attempt"], "told", LOOK_AGAIN)
                    return
            # What was still being answered or fetched when it began has ended by now, one way or another.
            await erasure.remove(db, erasure_id)
            await _forget_states(hands, erasure_id)
            async with db.hot() as connection:
                await connection.execute(FORGET, erasure_id)
                await _move(connection, erasure_id, claimed["attempt"], "watched", erasure.REDELIVERED_FOR)
            log.info("erasure.over", erasure_id=erasure_id)
        case "watched":
            await erasure.remove(db, erasure_id, at_last=True)
            async with db.hot() as connection:
                await _move(connection, erasure_id, claimed["attempt"], "done", timedelta(0))


async def _move(connection: Any, erasure_id: int, attempt: int, state: str, wait: timedelta) -> bool:
    return await connection.fetchval(MOVE, erasure_id, attempt, state, wait) is not None


async def _forget_states(hands: Hands, erasure_id: int) -> None:
    """Remove what Valkey keeps of them; it keeps nothing for longer than two days, so it is not waited for."""
    if hands.valkey is None:
        return
    async with hands.db.hot() as connection:
        speakers = await erasure.places(connection, erasure_id)
        people = [
            str(row["id"]) for row in await connection.fetch("SELECT id FROM person WHERE erasure_id = $1", erasure_id)
        ]
    try:
        await DialogStore(hands.valkey, hands.db.keys).forget(speakers)
        await Limits(hands.valkey).forget(people, datetime.now(UTC))
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("erasure.valkey_away", erasure_id=erasure_id, error=type(error).__name__)
