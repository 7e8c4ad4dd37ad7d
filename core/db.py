"""The database: an asyncpg pool for the hot path, SQLAlchemy sessions for everything else, one role for both.

Every connection works as role mathia_app, whoever logged in: it owns nothing and can change no table's shape.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from core.crypto import KeyList, RoomKeys

APP_ROLE = "mathia_app"
CONNECT_TIMEOUT_S = 3.0
COMMAND_TIMEOUT_S = 6.0
POOL_WAIT_S = 2.0
IDLE_S = 10.0
"""How long a connection of the hot path that nobody uses is kept; PostgreSQL holds some 8 MiB of plans for each."""
SERVER_SETTINGS = {
    "role": APP_ROLE,
    "application_name": "mathia",
    "timezone": "UTC",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "15s",
}
HOT_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "random_page_cost": "1",
    "join_collapse_limit": "1",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}
"""The hot path looks its rows up one by one by their indexes, in the order its joins are written, and is planned once:
planning each call took as long as running it. A plan may therefore be from when its tables were empty and every way
cost the same, so the statements leave no choice: a look-up stands behind OFFSET 0, which keeps it a look-up, and a
condition that would invite a partial index to be read from end to end is written so that it does not.
tests/core/test_plans.py holds every statement to it."""
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What a connection says that was cut while idle and has not noticed yet.
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    InterfaceError,
)
"""What a statement raises when PostgreSQL is away, stopping, or too busy to answer in time."""


def is_away(error: BaseException) -> bool:
    """Whether this error means that PostgreSQL is not there, rather than that it refused something."""
    return isinstance(error, AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated)


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg tells no types.
    """A connection that has its process's keys at hand, for whoever writes or reads what is sealed."""

    __slots__ = ("keys",)
    keys: RoomKeys


class Database:
    """One process's connections. Nothing connects before the first use: a process can start before PostgreSQL."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", engine: AsyncEngine, url: str, keys: RoomKeys) -> None:
        self.pool = pool
        self.engine = engine
        self.url = url
        self.keys = keys
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @classmethod
    async def connect(cls, url: str, keys: KeyList | None = None, *, pool_size: int = 5) -> "Database":
        """Make both pools for a postgresql:// URL, each with at most `pool_size` connections.

        Without `keys` what is sealed can be neither written nor read.
        """
        rooms = RoomKeys(keys)

        async def prepare(connection: Connection) -> None:
            connection.keys = rooms
            await _speak_json(connection)

        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=pool_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            max_inactive_connection_lifetime=IDLE_S,
            server_settings=SERVER_SETTINGS | HOT_SETTINGS,
            connection_class=Connection,
            init=prepare,
            reset=_leave_as_it_is,
        )
        engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            hide_parameters=True,  # They are what people wrote, and errors end up in logs.
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": COMMAND_TIMEOUT_S,
                "server_settings": SERVER_SETTINGS,
                "connection_class": Connection,
            },
        )

        @event.listens_for(engine.sync_engine, "connect")
        def have_keys(connection: Any, _record: object) -> None:
            connection.driver_connection.keys = rooms

        return cls(pool, engine, url, rooms)

    async def close(self) -> None:
        """Let go of every connection."""
        await self.engine.dispose()
        self.pool.terminate()

    async def check_keys(self) -> None:
        """Whether our keys open what the database holds, where it answers. Raises KeysMissing.

        A database that is away, or has no tables yet, is looked at by whoever reads it later.
        """
        try:
            async with self.pool.acquire(timeout=POOL_WAIT_S) as connection:
                await self.keys.check(connection)
        except asyncpg.UndefinedTableError:
            return
        except Exception as error:
            if not is_away(error):
                await self.close()
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits on success and rolls back on error. Never hold one across a network call."""
        async with self._sessions.begin() as session:
            yield session

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[Any]:
        """An asyncpg connection in a transaction, for the set-based statements of the hot path."""
        async with self.pool.acquire(timeout=POOL_WAIT_S) as connection, connection.transaction():
            yield connection


async def driver(session: AsyncSession) -> Any:
    """The asyncpg connection under a session, in its transaction, for the set-based statements of the hot path."""
    connection = await session.connection()
    raw: Any = (await connection.get_raw_connection()).driver_connection
    if not raw.is_in_transaction():
        # SQLAlchemy begins one with its own first statement; until then each of ours would be committed by itself.
        await session.execute(text("SELECT"))
    return raw


async def _speak_json(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="text",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=orjson.loads,
    )


async def _leave_as_it_is(connection: Any) -> None:
    """The pool would otherwise spend a round trip on every release to reset what we never change."""
