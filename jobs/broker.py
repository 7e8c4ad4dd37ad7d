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

FollowUp = Callable[[int], Awaitable[None]]


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

    def __init__(
        self, url: str, loop: asyncio.AbstractEventLoop, follow_up: FollowUp, write_down: FollowUp, fetch: FollowUp
    ) -> None:
        """`follow_up` takes care of one refused outbox row, `write_down` of one voice note, `fetch` of one file that
        a provider keeps; all may run twice.
        """
        client = redis.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=CONNECT_S)
        self._broker = RedisBroker(  # type: ignore[no-untyped-call]
            client=client, namespace=NAMESPACE, middleware=[AppLoop(loop)],
            heartbeat_timeout=HEARTBEAT_MS, maintenance_chance=MAINTENANCE_ALWAYS,
        )  # fmt: skip
        self._worker: dramatiq.Worker | None = None

        @dramatiq.actor(broker=self._broker, queue_name=QUEUE)
        async def reroute_refused(outbox_id: int) -> None:
            await limited(follow_up, outbox_id)

        @dramatiq.actor(broker=self._broker, queue_name=QUEUE)
        async def write_voice_down(note_id: int) -> None:
            await limited(write_down, note_id, VOICE_S_MAX)

        @dramatiq.actor(broker=self._broker, queue_name=QUEUE)
        async def fetch_sent_file(fetch_id: int) -> None:
            await limited(fetch, fetch_id, FETCH_S_MAX)

        self._fetch = fetch_sent_file
        self._reroute = reroute_refused
        self._write_down = write_voice_down
        for name in (QUEUE, f"{QUEUE}.DQ"):
            logging.getLogger(f"dramatiq.worker.ConsumerThread({name})").addFilter(Seldom())

    async def hand_out(self, outbox_ids: Sequence[int]) -> None:
        """Wake an actor for each refused row; raises ConnectionError while Valkey is away."""
        await self._send(self._reroute, outbox_ids)

    async def hand_out_voice(self, note_ids: Sequence[int]) -> None:
        """The same for each voice note."""
        await self._send(self._write_down, note_ids)

    async def hand_out_files(self, fetch_ids: Sequence[int]) -> None:
        """The same for each file to fetch."""
        await self._send(self._fetch, fetch_ids)

    @staticmethod
    async def _send(actor: Any, row_ids: Sequence[int]) -> None:
        def send() -> None:
            for row_id in row_ids:
                actor.send(row_id)

        try:
            await asyncio.to_thread(send)
        except (redis.RedisError, BrokerConnectionError) as error:
            raise ConnectionError("Valkey does not take messages.") from error

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


async def limited(follow_up: FollowUp, row_id: int, limit_s: float = ACTOR_S_MAX) -> None:
    """Run one follow-up within its time; an error is logged and left to the sweep, which hands the row out again."""
    try:
        async with asyncio.timeout(limit_s):
            await follow_up(row_id)
    except Exception as error:
        log.warning("follow_up.failed", row_id=row_id, error=type(error).__name__, exc_info=error)


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
