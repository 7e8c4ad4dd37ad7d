"""Wake-ups: an event in this process, a NOTIFY to the others. Only ever an optimisation; whoever waits also sweeps.

The same NOTIFY says whose keys have changed, so that they are not kept longer than they exist.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, get_args
from uuid import UUID

import asyncpg
import structlog

from core.crypto import CHANNEL, FORGET
from core.db import CONNECT_TIMEOUT_S, SERVER_SETTINGS, Database, is_away

log = structlog.get_logger()

Name = Literal[
    "turn",
    "outbox",
    "reminder",
    "workflow",
    "message",
    "room",
    "voice",
    "file",
    "export",
    "erasure",
    "site",
    "payment",
    "invoice",
    "invoice_series",
]
NAMES: tuple[Name, ...] = get_args(Name)
RECONNECT_S = 1.0
CHECK_S = 10.0


class Wakes:
    """Events by name. One loop per process waits for each: it clears the event first and then looks at the rows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._events: dict[str, asyncio.Event] = {name: asyncio.Event() for name in NAMES}

    def event(self, name: Name) -> asyncio.Event:
        """The event to wait for."""
        return self._events[name]

    def wake(self, name: Name) -> None:
        """Wake this process's waiter at once."""
        self._events[name].set()

    async def wait(self, name: Name, timeout_s: float) -> None:
        """Return when woken, or after `timeout_s`; the event is cleared."""
        event = self._events[name]
        if not event.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await event.wait()
        event.clear()

    async def notify(self, connection: Any, name: Name) -> None:
        """Wake every listening process when this asyncpg connection's transaction commits."""
        await connection.execute(f"SELECT pg_notify('{CHANNEL}', $1)", name)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for other processes' NOTIFYs, reconnecting for ever; after each reconnect everybody looks."""
        task = asyncio.create_task(self._listen(), name="wakes")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(
                    self._db.url, timeout=CONNECT_TIMEOUT_S, server_settings=SERVER_SETTINGS
                )
                try:
                    await connection.add_listener(CHANNEL, self._heard)
                    self._db.keys.forget()  # Some may have been destroyed while nobody listened.
                    for event in self._events.values():
                        event.set()
                    while not connection.is_closed():
                        await asyncio.sleep(CHECK_S)
                        await connection.fetchval("SELECT 1", timeout=CONNECT_TIMEOUT_S)
                finally:
                    connection.terminate()
            except (asyncpg.PostgresError, *_AWAY) as error:
                if not is_away(error):
                    log.warning("wakes.refused", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        said = str(payload)
        if event := self._events.get(said):
            event.set()
        elif said.startswith(FORGET):
            self._db.keys.forget(UUID(said.removeprefix(FORGET)))


def spread(pause_s: float) -> float:
    """`pause_s` or up to a fifth less: loops of one pace would all look in the same moment, each with a connection."""
    return pause_s * random.uniform(0.8, 1.0)  # noqa: S311  jitter, not a secret


_AWAY = (OSError, TimeoutError, asyncpg.InterfaceError)
