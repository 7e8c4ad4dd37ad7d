"""Durable turns a second through HTTP: from the signed webhook to the closed turn, delivery to the simulator beside it.

The limit is what asyncpg does on the same PostgreSQL in the same run: one transaction a message (store once, read
state,
write the reply, commit) at the same number of connections, with no HTTP, no signature, no dialog and no delivery.
Delivery goes on at the provider's pace; the simulator's status callbacks are off, because they would measure it.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from uuid import uuid4

import asyncpg

from bot.bench import Row, percentile
from bot.bench.webhooks import Sent, load, prepare
from bot.servers.postgres import DATABASE, Postgres
from bot.stand import stand

CONNECTIONS = 32
SENDERS = 1_000
PREPARED_PER_S = 10_000
"""How many webhooks are written beforehand for each second of load; more than can be answered."""
WARM_S = 2.0
TEXT = "hello"
SETTLE_S = 20.0

FLOOR_TABLES = """
CREATE TABLE room (id bigint PRIMARY KEY, state jsonb NOT NULL);
CREATE TABLE line (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, room_id bigint NOT NULL, mine boolean NOT NULL,
    event_id text UNIQUE, body text NOT NULL, at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO room SELECT n, '{"asked": "time"}' FROM generate_series(1, 1000) n;
"""


def silence_callbacks(sandbox_url: str) -> None:
    """Let the simulator deliver without its four status callbacks a message, which cost it more than the send."""
    request = urllib.request.Request(  # noqa: S310  our own loopback address
        f"{sandbox_url}/twilio/_faults",
        data=b'{"plan": ["webhook_never"], "times": null}',
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310


async def floor(postgres: Postgres, seconds: float) -> float:
    """One transaction a message at CONNECTIONS connections, by asyncpg alone; turns a second."""
    name = f"floor_{uuid4().hex[:8]}"
    admin = await postgres.connect()
    await admin.execute(f"CREATE DATABASE {name}")
    made = await postgres.connect(name)
    await made.execute(FLOOR_TABLES)
    await made.close()
    connections = [await postgres.connect(name) for _ in range(CONNECTIONS)]
    done = 0
    begin = time.perf_counter() + WARM_S / 2
    end = begin + seconds

    async def drive(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
        nonlocal done
        turn = 0
        while (now := time.perf_counter()) < end:
            turn += 1
            room = 1 + (number * 31 + turn) % 1000
            async with connection.transaction():
                await connection.fetchval(
                    "INSERT INTO line (room_id, mine, event_id, body) VALUES ($1, false, $2, $3)"
                    " ON CONFLICT (event_id) DO NOTHING RETURNING id",
                    room,
                    f"{name}-{number}-{turn}",
                    TEXT,
                )
                await connection.fetchval("SELECT state FROM room WHERE id = $1", room)
                await connection.fetchval(
                    "INSERT INTO line (room_id, mine, body) VALUES ($1, true, $2) RETURNING id", room, TEXT
                )
            if now >= begin:
                done += 1

    await asyncio.gather(*(drive(connection, number) for number, connection in enumerate(connections)))
    for connection in connections:
        await connection.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
    return done / seconds


class Measured:
    """One round of ours."""

    def __init__(self, sent: list[Sent], closed: dict[str, float], seconds: float, delivered: int) -> None:
        self.turn_ms = [(closed[one.event_id] - one.at) * 1000 for one in sent if one.event_id in closed]
        self.ack_ms = [one.took_s * 1000 for one in sent]
        self.per_s = len(sent) / seconds
        self.delivered_per_s = delivered / seconds
        self.refused = sum(one.status != 200 for one in sent)


async def ours(postgres: Postgres, base_url: str, port: int, seconds: float) -> Measured:
    """Webhooks for WARM_S + `seconds`; what was sent and whose turn closed within the measured time counts."""
    tag = uuid4().hex[:6]
    connection = await postgres.connect(DATABASE)
    number = int((WARM_S + seconds) * PREPARED_PER_S)
    webhooks = prepare(base_url, number, senders=SENDERS, text=TEXT, tag=tag)
    begin = time.time() + WARM_S
    sent = await load(port, webhooks, connections=CONNECTIONS, seconds=WARM_S + seconds)
    end = begin + seconds
    closed = await _closed(connection, tag, [one.event_id for one in sent])
    delivered = await connection.fetchval(
        "SELECT count(*) FROM outbox WHERE state = 'sent' AND done_at BETWEEN to_timestamp($1) AND to_timestamp($2)",
        begin,
        end,
    )
    await connection.close()
    counted = [one for one in sent if one.at >= begin and closed.get(one.event_id, end) < end]
    return Measured(counted, closed, seconds, delivered)


async def _closed(connection: "asyncpg.Connection[asyncpg.Record]", tag: str, events: list[str]) -> dict[str, float]:
    """When each event's turn closed, once all have (at most SETTLE_S later)."""
    give_up_at = time.monotonic() + SETTLE_S
    while True:
        rows = await connection.fetch(
            "SELECT m.event_id, extract(epoch FROM t.closed_at)::float8 AS closed"
            " FROM message m JOIN turn t ON t.id = m.turn_id WHERE m.event_id LIKE $1 AND t.state = 'done'",
            f"SM{tag}%",
        )
        if len(rows) == len(events):
            return {row["event_id"]: row["closed"] for row in rows}
        if time.monotonic() > give_up_at:
            raise RuntimeError(
                f"only {len(rows)} of {len(events)} messages were answered {SETTLE_S:.0f} s after the load ended"
            )
        await asyncio.sleep(0.1)


async def run(args: argparse.Namespace) -> list[Row]:
    """Limit and measurement alternate; medians of the rounds, percentiles over all of them."""
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        async with stand(folder, durable=True) as deployment:
            await deployment.web.start()
            await asyncio.to_thread(silence_callbacks, deployment.sandbox_url)
            limits: list[float] = []
            rounds: list[Measured] = []
            for _ in range(args.rounds):
                limits.append(await floor(deployment.postgres, args.seconds))
                rounds.append(await ours(deployment.postgres, deployment.url, deployment.port, args.seconds))
    limit = statistics.median(limits)
    value = statistics.median(one.per_s for one in rounds)
    turn_ms = [ms for one in rounds for ms in one.turn_ms]
    ack_ms = [ms for one in rounds for ms in one.ack_ms]
    return [
        Row(
            f"durable turns through HTTP, {CONNECTIONS} connections",
            value,
            "turns/s",
            limit,
            value / limit,
            percentile(turn_ms, 0.5),
            percentile(turn_ms, 0.99),
        ),
        Row("webhook answered", value, "webhooks/s", None, None, percentile(ack_ms, 0.5), percentile(ack_ms, 0.99)),
        Row("delivered meanwhile", statistics.median(one.delivered_per_s for one in rounds), "messages/s"),
        Row("webhooks not answered 200", float(sum(one.refused for one in rounds)), "webhooks", 0.0, None),
    ]
