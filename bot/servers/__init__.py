"""Embedded PostgreSQL, Valkey and Temporal: child processes whose data outlives every kill."""

import asyncio
from dataclasses import dataclass

from bot.servers.folder import DataFolder
from bot.servers.postgres import APP, OWNER, Postgres, start_postgres
from bot.servers.supervisor import Supervisor
from bot.servers.temporal import Temporal, start_temporal
from bot.servers.valkey import Valkey, start_valkey

ALL = frozenset({"postgres", "valkey", "temporal"})


@dataclass(frozen=True)
class Servers:
    """What was started; None for a server that somebody else runs."""

    postgres: Postgres | None
    valkey: Valkey | None
    temporal: Temporal | None

    def environment(self) -> dict[str, str]:
        """The settings that lead to these servers."""
        found: dict[str, str] = {}
        if self.postgres:
            found |= {
                "DATABASE_URL": self.postgres.url(APP),
                "DATABASE_OWNER_URL": self.postgres.url(OWNER),
            }
        if self.valkey:
            found["REDIS_URL"] = self.valkey.url
        if self.temporal:
            found["TEMPORAL_HOST"] = self.temporal.host
        return found


async def start_servers(
    folder: DataFolder, supervisor: Supervisor, *, which: frozenset[str] = ALL, durable: bool = True
) -> Servers:
    """Start `which` servers at once and return when all serve. `durable=False` is for tests: nothing is kept."""

    postgres = valkey = temporal = None
    async with asyncio.TaskGroup() as group:
        if "postgres" in which:
            postgres = group.create_task(start_postgres(folder, supervisor, durable=durable))
        if "valkey" in which:
            valkey = group.create_task(start_valkey(folder, supervisor, durable=durable))
        if "temporal" in which:
            temporal = group.create_task(start_temporal(folder, supervisor, durable=durable))
    return Servers(
        postgres=postgres.result() if postgres else None,
        valkey=valkey.result() if valkey else None,
        temporal=temporal.result() if temporal else None,
    )
