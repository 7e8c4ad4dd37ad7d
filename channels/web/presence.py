"""Who has a shared room open, across processes: in Valkey, for as long as somebody keeps saying so.

Nothing rests on it. A process that is killed is forgotten PRESENT_S later; without Valkey each process knows its own.
"""

import time
from collections.abc import Collection, Mapping
from secrets import token_hex
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

PRESENT_S = 30.0
"""How long a member is taken to be here after their process last said so."""
SAY_EVERY_S = 10.0


class Presence:
    """One process's part of who is where."""

    def __init__(self, valkey: Redis) -> None:
        self.process = token_hex(8)
        """This process's name among the others."""
        self._valkey = valkey

    async def here(self, rooms: Mapping[str, Collection[UUID]]) -> dict[str, set[UUID]]:
        """Say who is in these rooms by this process, and learn who is in them by any."""
        now = time.time()
        found = {room: set(members) for room, members in rooms.items()}
        try:
            async with self._valkey.pipeline(transaction=False) as pipe:
                for room, members in rooms.items():
                    key = _key(room)
                    pipe.zremrangebyscore(key, "-inf", now)
                    if members:
                        pipe.zadd(key, {f"{member}:{self.process}": now + PRESENT_S for member in members})
                    pipe.expire(key, int(2 * PRESENT_S))
                    pipe.zrange(key, 0, -1)
                told = [one for one in await pipe.execute() if isinstance(one, list)]
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("web.presence_away", error=type(error).__name__)
            return found
        for room, entries in zip(rooms, told, strict=True):
            for entry in entries:
                member, _, _process = (entry.decode() if isinstance(entry, bytes) else str(entry)).partition(":")
                found[room].add(UUID(member))
        return found

    async def gone(self, room: str, member: UUID) -> None:
        """A member has closed their last socket of this room in this process."""
        try:
            await self._valkey.zrem(_key(room), f"{member}:{self.process}")
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("web.presence_away", error=type(error).__name__)


def _key(room: str) -> str:
    return f"presence:{room}"
