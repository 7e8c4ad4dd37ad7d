"""Judging messages afterwards, in batches: ten, or what there is after five minutes. Any number of workers may do it.

Ids of messages are given out before their transactions commit, so a message may appear below one that was there before.
Batches therefore end at a horizon: the highest id seen once every transaction has ended that was under way when it was.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from core import account_links, facts, moderation, moderation_words
from core.db import Database
from core.errors import ProviderError, ProviderRefused
from core.providers import Providers
from core.settings import Settings
from core.wake import Wakes
from jobs.sweeps import Outage

log = structlog.get_logger()

BATCH = 10
BATCH_AFTER = timedelta(minutes=5)
LOOK_S = 5.0
MESSAGES_MAX = 1_000
"""How many messages one look puts into batches."""
BATCHES_MAX = 4
"""How many batches a worker has in hand."""
LEASE = timedelta(seconds=60)
TRIES_MAX = 3
"""How often the model is asked about a batch; then the words alone judge it, so that nothing passes unjudged."""
KEPT = timedelta(days=90)
CLEAN_S = 86_400.0
DELETED_MAX = 10_000

HORIZON = """
SELECT (SELECT coalesce(max(id), 0) FROM message) AS top, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax
"""
"""A message's transaction has its number before the message has its id (its conversation is locked first), so whatever
is not yet visible below `top` belongs to a transaction below `xmax`."""

CUT = """
WITH cursor AS (
    SELECT coalesce(max(last_id), 0) AS last_id FROM moderation_batch
), fresh AS (
    SELECT m.id, m.created_at, row_number() OVER (ORDER BY m.id) - 1 AS n
    FROM (SELECT id, created_at FROM message
          WHERE id > (SELECT last_id FROM cursor) AND id <= $1 AND direction = 'in' ORDER BY id LIMIT $2) m
), groups AS (
    SELECT max(id) AS last_id, count(*) AS messages, min(created_at) AS oldest FROM fresh GROUP BY n / $3
)
INSERT INTO moderation_batch (after_id, last_id)
SELECT coalesce(lag(g.last_id) OVER (ORDER BY g.last_id), (SELECT last_id FROM cursor)), g.last_id FROM groups g
WHERE g.messages = $3 OR g.oldest <= clock_timestamp() - $4::interval
ORDER BY g.last_id
RETURNING id
"""

CLAIM = """
UPDATE moderation_batch SET attempt = attempt + 1, lease_until = clock_timestamp() + $2
WHERE id IN (SELECT id FROM moderation_batch
             WHERE state = 'waiting' AND coalesce(lease_until, '-infinity') < clock_timestamp()
             ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, attempt, after_id, last_id
"""

DONE = """
UPDATE moderation_batch SET state = 'done', judge = $3, done_at = clock_timestamp(), lease_until = NULL
WHERE id = $1 AND attempt = $2 AND state = 'waiting' RETURNING id
"""

OLD_FLAGS = """
DELETE FROM moderation_flag WHERE (message_id, label) IN (
    SELECT message_id, label FROM moderation_flag WHERE created_at < clock_timestamp() - $1::interval LIMIT $2)
"""

OLD_BATCHES = """
DELETE FROM moderation_batch WHERE id IN (
    SELECT id FROM moderation_batch
    WHERE state = 'done' AND done_at < clock_timestamp() - $1::interval
      AND last_id < (SELECT max(last_id) FROM moderation_batch)
    LIMIT $2)
"""


@dataclass(slots=True)
class Cutter:
    """Puts messages into batches, as far as it is sure that none is missing."""

    db: Database
    _top: int = 0
    _xmax: int | None = None
    _sure: int = 0

    async def cut(self) -> int:
        """Make batches of what is before the horizon; returns how many. What is behind it is looked at next time."""
        async with self.db.hot() as connection:
            ended = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            if self._xmax is not None and ended >= self._xmax:
                self._sure = self._top
                self._xmax = None
            if self._xmax is None:
                self._top, self._xmax = await connection.fetchrow(HORIZON)
        async with self.db.hot() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('moderation.cut'))")
            # Newer batches of other workers are seen by the statement after the lock, whose snapshot is younger.
            return len(await connection.fetch(CUT, self._sure, MESSAGES_MAX, BATCH, BATCH_AFTER))


async def judge_waiting(db: Database, wakes: Wakes, providers: Providers, settings: Settings) -> int:
    """Claim up to BATCHES_MAX batches and judge them; returns how many were claimed."""
    batches = await db.pool.fetch(CLAIM, BATCHES_MAX, LEASE)
    await asyncio.gather(*(_judge(db, wakes, providers, settings, batch) for batch in batches))
    return len(batches)


async def _judge(db: Database, wakes: Wakes, providers: Providers, settings: Settings, batch: Any) -> None:
    """Judge one batch; when the model does not answer it is left to the end of its lease, TRIES_MAX times."""
    messages = await moderation.read(db, batch["after_id"], batch["last_id"])
    # The model knows English alone, so the words are looked for in any case.
    flags = moderation.by_words(messages)
    judge = moderation_words.JUDGE
    if settings.hf_api_token.get_secret_value() and batch["attempt"] <= TRIES_MAX:
        try:
            flags += await moderation.by_model(messages, providers, settings)
            judge = moderation.TOXIC_BERT
        except ProviderError as error:
            log.warning("moderation.model_away", batch_id=batch["id"], error=type(error).__name__)
            return
        except ProviderRefused as error:
            log.error("moderation.model_refused", batch_id=batch["id"], error=str(error))
    async with db.hot() as connection:
        if await connection.fetchval(DONE, batch["id"], batch["attempt"], judge) is None:
            return
        muted = await moderation.record(connection, flags)
        if muted:
            await wakes.notify(connection, "outbox")
    if muted:
        wakes.wake("outbox")
    log.info("moderation.judged", batch_id=batch["id"], judge=judge, flags=len(flags), muted=len(muted))


async def clean(db: Database) -> None:
    """Forget flags and batches that are older than KEPT, but for the newest batch, which says how far we are."""
    for statement in (OLD_FLAGS, OLD_BATCHES):
        while (await db.pool.execute(statement, KEPT, DELETED_MAX)) == f"DELETE {DELETED_MAX}":
            pass


async def sweep_messages(db: Database, wakes: Wakes, providers: Providers, settings: Settings) -> None:
    """Put messages into batches and judge them, until cancelled; once a day, forget what is old."""
    outage = Outage("moderation")
    cutter = Cutter(db)
    clock = asyncio.get_running_loop().time
    cleaned_at = clock() - CLEAN_S
    while True:
        try:
            await cutter.cut()
            while await judge_waiting(db, wakes, providers, settings):
                pass
            if clock() - cleaned_at >= CLEAN_S:
                await clean(db)
                await facts.delete_old(db)
                await account_links.delete_old(db)
                cleaned_at = clock()
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(LOOK_S)
