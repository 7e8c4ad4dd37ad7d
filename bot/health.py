"""Whether the servers we need answer: for /readyz, the admin's overview, and `up`."""

import asyncio
from collections.abc import Mapping

from redis.exceptions import RedisError

from bot.wiring import Services
from core.db import is_away
from core.health import Health

CHECK_S = 2.0


async def health(wired: Services) -> Mapping[str, Health]:
    """Each server by name; takes at most CHECK_S."""
    postgres, valkey, temporal = await asyncio.gather(_postgres(wired), _valkey(wired), _temporal(wired))
    return {"postgres": postgres, "valkey": valkey, "temporal": temporal}


async def _postgres(wired: Services) -> Health:
    try:
        async with asyncio.timeout(CHECK_S):
            version = await wired.db.pool.fetchval("SHOW server_version")
    except Exception as error:
        if not is_away(error):
            raise
        return Health(False, "not reachable; nothing is accepted until it is back")
    return Health(True, f"PostgreSQL {version.split()[0]}")


async def _valkey(wired: Services) -> Health:
    try:
        async with asyncio.timeout(CHECK_S):
            await wired.valkey.ping()
    except (RedisError, OSError, TimeoutError):
        return Health(False, "not reachable; chat goes on, dialogs are asked again")
    return Health(True, "answers")


async def _temporal(wired: Services) -> Health:
    host, _, port = wired.settings.temporal_host.rpartition(":")
    if not host:
        return Health(False, "not set up; workflows wait")
    try:
        async with asyncio.timeout(CHECK_S):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
    except (OSError, TimeoutError, ValueError):
        return Health(False, "not reachable; workflows wait")
    return Health(True, "answers")
