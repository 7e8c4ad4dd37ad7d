"""Reminders due at once: from the due instant to the committed outbox row, by the real worker process, durability on.

The limit is one statement per batch that claims and inserts, on two bare tables of the same PostgreSQL in the same
run: no conversations to number, no messages, no recurrence. For times, ratio is limit / value: 1 being the limit.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from bot.bench import Row, percentile
from bot.stand import stand
from core.crypto import RoomKeys
from core.reminders import as_reminder

DUE = 10_000
ROOMS = 1_000
ROUNDS = 5
BARE_BATCH = 2_500
ALONE = 20
"""Reminders that come due one by one."""
ALONE_APART_S = 0.25
LEAD_S = 1.5
"""How long before they are due the reminders are stored."""
LOOK_S = 0.02
"""How often we look; looking costs the server something too."""
SETTLE_S = 30.0

PEOPLE = """
WITH people AS (INSERT INTO person (id) SELECT gen_random_uuid() FROM generate_series(1, $1) RETURNING id),
rooms AS (
    INSERT INTO conversation (id, channel, account, room)
    SELECT gen_random_uuid(), 'web', 'bench', gen_random_uuid()::text FROM generate_series(1, $1) n RETURNING id
)
SELECT person.id AS person_id, room.id AS conversation_id
FROM (SELECT id, row_number() OVER () AS n FROM people) person
JOIN (SELECT id, row_number() OVER () AS n FROM rooms) room USING (n)
"""

SET = """
INSERT INTO reminder (id, person_id, conversation_id, sealed, wall_time, zone, rrule, due_at, key)
SELECT g.id, p.person_id, p.conversation_id, g.sealed, at AT TIME ZONE 'Africa/Nairobi', 'Africa/Nairobi',
       CASE WHEN n % 4 = 0 THEN 'FREQ=DAILY' END, at, gen_random_uuid()::text
FROM unnest($3::uuid[], $6::bytea[]) WITH ORDINALITY AS g(id, sealed, n)
JOIN unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS p(person_id, conversation_id, i)
  ON p.i = g.n % cardinality($1) + 1
CROSS JOIN LATERAL (SELECT to_timestamp($4::float8 + $5::float8 * (n - 1)) AS at) due
"""

BARE_TABLES = """
CREATE TABLE due (id bigint PRIMARY KEY, due_at timestamptz NOT NULL, content text NOT NULL, state text NOT NULL);
CREATE INDEX ON due (due_at) WHERE state = 'active';
CREATE TABLE said (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, body text NOT NULL);
"""

BARE = """
WITH head AS (
    SELECT id FROM due WHERE state = 'active' AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE due d SET state = 'done' FROM head WHERE d.id = head.id RETURNING d.id, d.content
)
INSERT INTO said (key, body) SELECT 'reminder:' || id, 'Reminder: ' || content FROM claimed RETURNING id
"""


async def floor(connection: Any) -> list[float]:
    """The bare claim and insert of DUE rows; for each row the milliseconds from the start to its commit."""
    await connection.execute("TRUNCATE due, said")
    await connection.execute("INSERT INTO due SELECT n, now(), 'stretch', 'active' FROM generate_series(1, $1) n", DUE)
    await connection.execute("ANALYZE due")
    times: list[float] = []
    begin = time.perf_counter()
    while rows := await connection.fetch(BARE, BARE_BATCH):
        times += [(time.perf_counter() - begin) * 1000] * len(rows)
    return times


async def ours(connection: Any, keys: RoomKeys, rooms: list[Any], count: int, apart_s: float) -> list[float]:
    """Let `count` reminders come due, `apart_s` apart; for each the milliseconds until its row was seen committed."""
    newest = await connection.fetchval("SELECT coalesce(max(id), 0) FROM outbox")
    ids = [uuid4() for _ in range(count)]
    places = [room["conversation_id"] for room in rooms]
    current = await keys.current(connection, places)
    sealed = [
        current[places[number % len(places)]].seal(as_reminder(one), b"stretch") for number, one in enumerate(ids, 1)
    ]
    due_at = time.time() + LEAD_S
    await connection.execute(SET, [room["person_id"] for room in rooms], places, ids, due_at, apart_s, sealed)
    times: list[float] = []
    give_up_at = due_at + count * apart_s + SETTLE_S
    while len(times) < count:
        seen = await connection.fetchval("SELECT count(*) FROM outbox WHERE id > $1", newest)
        now = time.time()
        times += [(now - due_at - apart_s * number) * 1000 for number in range(len(times), seen)]
        if now > give_up_at:
            raise RuntimeError(f"only {len(times)} of {count} reminders were said {SETTLE_S:.0f} s after they were due")
        await asyncio.sleep(LOOK_S)
    return times


async def run(_args: argparse.Namespace) -> list[Row]:
    """ROUNDS of limit and measurement in turn; medians of the rounds' 99th percentiles."""
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        async with stand(folder, durable=True) as deployment:
            worker = deployment.process("worker")
            worker.spawn()
            admin = await deployment.postgres.connect()
            await admin.execute("CREATE DATABASE bare")
            bare = await deployment.postgres.connect("bare")
            await bare.execute(BARE_TABLES)
            connection = await deployment.postgres.connect("mathia")
            try:
                rooms = await connection.fetch(PEOPLE, 1)
                await ours(connection, deployment.keys, rooms, 1, 0)  # The worker has started once this one is said.
                limits: list[list[float]] = []
                rounds: list[list[float]] = []
                for _ in range(ROUNDS):
                    limits.append(await floor(bare))
                    # Nobody has more reminders than go without waiting: DUE / ROOMS.
                    rooms = await connection.fetch(PEOPLE, ROOMS)
                    rounds.append(await ours(connection, deployment.keys, rooms, DUE, 0))
                rooms = await connection.fetch(PEOPLE, ALONE)
                alone = await ours(connection, deployment.keys, rooms, ALONE, ALONE_APART_S)
                distinct = await connection.fetchval("SELECT count(DISTINCT dedup_key) FROM outbox")
            finally:
                for opened in (bare, connection, admin):
                    await opened.close()
                await worker.stop()
    if distinct != 1 + ROUNDS * DUE + ALONE:
        raise RuntimeError(f"{distinct} reminders were said of {1 + ROUNDS * DUE + ALONE}")
    limit = statistics.median(percentile(times, 0.99) for times in limits)
    value = statistics.median(percentile(times, 0.99) for times in rounds)
    every = [time_ms for times in rounds for time_ms in times]
    slowest = max(percentile(times, 0.99) for times in rounds)
    return [
        Row(f"{DUE:,} reminders due at once, p99", value, "ms", limit, limit / value,
            percentile(every, 0.5), percentile(every, 0.99)),
        Row("the same, slowest round", slowest, "ms", 1000.0, 1000.0 / slowest),
        Row("one reminder due alone, p99", percentile(alone, 0.99), "ms", None, None,
            percentile(alone, 0.5), percentile(alone, 0.99)),
    ]  # fmt: skip
