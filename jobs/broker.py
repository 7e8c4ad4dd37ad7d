"""Dramatiq over Valkey: queues that only wake. A message is a row id; actors run on the application's own loop.

Retries are rows and sweeps, so there is no retry middleware; time limits are asyncio's, because every actor is a
coroutine. A worker's death is noticed by its heart-beat, and its messages are given out again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import BrokerConnectionError

log = structlog.get_logger()

NAMESPACE = "mathia"
QUEUE = "follow_ups"
HEARTBEAT_MS = 15_000
MAINTENANCE_ALWAYS = 1_000_000
"""Look for dead workers' messages at every fetch; the library's default looks at one in a thousand."""
IDLE_MS = 200
"""How long an idle worker waits before it looks again; also how late a message is picked up."""
THREADS = 6
STOP_MS = 700
CONNECT_S = 3.0
ACTOR_S_MAX = 20.0
VOICE_S_MAX = 60.0
"""A service may take its time over ten minutes of speech."""
FETCH_S_MAX = 120.0
"""A file has a minute to come, and may wait for others that are being fetched."""
SAY_AGAIN_S = 60.0

Work = Callable[[int], Awaitable[None]]
"""What is done about one row, by its id."""
HandOut = Callable[[Sequence[int]], Awaitable[None]]
"""Hands rows to whoever works on them."""


class _AppLoop(EventLoopThread):
    """Stands for dramatiq's loop thread, and hands coroutines to a loop that runs already."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The base class would make a loop and a thread of its own; neither is wanted.
        self.loop = loop
        self.interrupt_check_ival = 0.1
        self.logger = logging.getLogger("dramatiq.asyncio")


class AppLoop(dramatiq.Middleware):
    """Actors share the application's loop, and with it its Database."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def before_worker_boot(self, _broker: Any, _worker: Any) -> None:
        """Before any thread of the worker runs."""
        set_event_loop_thread(_AppLoop(self._loop))

    def after_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
        """After all have ended."""
        set_event_loop_thread(None)


class Queue:
    """The broker with its actors: hand out row ids, and work on them."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        client = redis.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=CONNECT_S)
        self._broker = RedisBroker(  # type: ignore[no-untyped-call]
            client=client, namespace=NAMESPACE, middleware=[AppLoop(loop)],
            heartbeat_timeout=HEARTBEAT_MS, maintenance_chance=MAINTENANCE_ALWAYS,
        )  # fmt: skip
        self._worker: dramatiq.Worker | None = None
        for name in (QUEUE, f"{QUEUE}.DQ"):
            logging.getLogger(f"dramatiq.worker.ConsumerThread({name})").addFilter(Seldom())

    def actor(self, name: str, work: Work, seconds: float = ACTOR_S_MAX) -> HandOut:
        """Have `work` done on rows that are handed out under this name; returns what hands them out.

        It may run twice on the same row. Handing out raises ConnectionError while Valkey is away.
        """

        @dramatiq.actor(broker=self._broker, actor_name=name, queue_name=QUEUE)
        async def run(row_id: int) -> None:
            await limited(work, row_id, seconds)

        def send(row_ids: Sequence[int]) -> None:
            for row_id in row_ids:
                run.send(row_id)

        async def hand_out(row_ids: Sequence[int]) -> None:
            try:
                await asyncio.to_thread(send, row_ids)
            except (redis.RedisError, BrokerConnectionError) as error:
                raise ConnectionError("Valkey does not take messages.") from error

        return hand_out

    def start(self) -> None:
        """Begin to work on what is handed out, here or elsewhere; survives any absence of Valkey."""
        self._worker = dramatiq.Worker(self._broker, worker_timeout=IDLE_MS, worker_threads=THREADS)
        self._worker.start()

    def stop(self) -> None:
        """End the worker's threads, waiting for running actors at most twice STOP_MS; blocks."""
        if self._worker is not None:
            self._worker.stop(timeout=STOP_MS)
            self._worker = None
        self._broker.client.close()


async def limited(work: Work, row_id: int, limit_s: float = ACTOR_S_MAX) -> None:
    """Work on one row within its time; an error is logged and left to the sweep, which hands the row out again."""
    try:
        async with asyncio.timeout(limit_s):
            await work(row_id)
    except Exception as error:
        log.warning("job.failed", row_id=row_id, error=type(error).__name__, exc_info=error)


class Seldom(logging.Filter):
    """Lets one line a minute through: a consumer repeats itself every three seconds while Valkey is away."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -SAY_AGAIN_S

    def filter(self, _record: logging.LogRecord) -> bool:
        """Whether to say it."""
        now = time.monotonic()
        if now - self._said_at < SAY_AGAIN_S:
            return False
        self._said_at = now
        return True
