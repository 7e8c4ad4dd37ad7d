"""The storm: signed webhooks, one to three times each, in random order, while the web process is killed -9.

It measures nothing but truth: afterwards the store and the provider's own log must say that nothing was lost,
nothing was answered twice, and every conversation kept its order.
"""

import argparse
import asyncio
import random
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from bot.bench import Row
from bot.bench.webhooks import Connection, inbound, signed_request
from bot.stand import Stand, stand
from core.crypto import RoomKeys
from core.messages import text_of
from core.sealed import COLUMNS, opened_parts

CONNECTIONS = 32
WINDOW = 20
"""How far a delivery may be out of order."""
SETTLE_S = 180.0
DELIVERY_TRIES_MAX = 1_000
RETRY_S = 0.05
FAST_RECOVERY = {"TURN_LEASE_S": "3", "SEND_LEASE_S": "3", "UNKNOWN_CERTAIN_S": "6"}
"""Dead processes' work is taken over sooner than in production, so that the run is short; the rules are the same."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What went wrong, counted; all zeros is a pass."""

    lost: int
    answered_twice: int
    unanswered: int
    gaps: int
    out_of_order: int
    unsent: int
    provider_missing: int
    provider_twice: int
    provider_out_of_order: int

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not any(asdict(self).values())


LOST = (
    "SELECT count(*) FROM unnest($1::text[]) AS e(id) WHERE NOT EXISTS (SELECT FROM message m WHERE m.event_id = e.id)"
)
ANSWERED_TWICE = """
SELECT count(*) FROM (SELECT turn_id FROM message WHERE direction = 'out' AND turn_id IS NOT NULL GROUP BY turn_id
                      HAVING count(*) > 1) twice
"""
UNANSWERED = """
SELECT count(*) FROM turn t WHERE t.state <> 'done'
   OR NOT EXISTS (SELECT FROM message m WHERE m.turn_id = t.id AND m.direction = 'out')
"""
GAPS = """
SELECT count(*) FROM (SELECT c.id FROM conversation c JOIN message m ON m.conversation_id = c.id GROUP BY c.id
                      HAVING count(*) <> max(m.seq) OR c.next_seq <> max(m.seq) + 1) broken
"""
OUT_OF_ORDER = """
WITH spans AS (
    SELECT conversation_id, turn_id, min(seq) FILTER (WHERE direction = 'in') AS first,
           max(seq) FILTER (WHERE direction = 'in') AS last, max(seq) FILTER (WHERE direction = 'out') AS reply
    FROM message WHERE turn_id IS NOT NULL GROUP BY conversation_id, turn_id
)
SELECT count(*) FROM spans a JOIN spans b ON a.conversation_id = b.conversation_id AND a.turn_id < b.turn_id
WHERE a.last > b.first OR a.reply > b.reply
"""
UNSETTLED = """
SELECT (SELECT count(*) FROM turn WHERE state IN ('waiting', 'open')) + (SELECT count(*) FROM outbox WHERE done_at
IS NULL)
"""
REPLIES = f"""
SELECT c.room, {COLUMNS} FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.direction = 'out' AND c.channel = 'whatsapp' ORDER BY m.conversation_id, m.seq
"""  # noqa: S608  Its columns are a constant of ours.


async def judge(
    connection: "asyncpg.Connection[asyncpg.Record]",
    keys: RoomKeys,
    events: Sequence[str],
    sends: Sequence[Mapping[str, Any]],
) -> Verdict:
    """Hold the store, and what the provider really accepted (oldest first), against what was acknowledged."""
    told: dict[str, list[str]] = {}
    for send in sends:
        told.setdefault(send["to"], []).append(_first_line(send["body"]))
    missing = twice = disorder = 0
    replies = await connection.fetch(REPLIES)
    rooms: dict[str, list[str]] = {}
    for row, parts in zip(replies, await opened_parts(keys, connection, replies), strict=True):
        rooms.setdefault(row["room"], []).append(_first_line(text_of(parts or ())))
    for room, wanted in rooms.items():
        got = told.get(room, [])
        missing += sum((Counter(wanted) - Counter(got)).values())
        twice += sum((Counter(got) - Counter(wanted)).values())
        disorder += list(dict.fromkeys(got)) != list(dict.fromkeys(wanted))
    return Verdict(
        lost=await connection.fetchval(LOST, list(events)),
        answered_twice=await connection.fetchval(ANSWERED_TWICE),
        unanswered=await connection.fetchval(UNANSWERED),
        gaps=await connection.fetchval(GAPS),
        out_of_order=await connection.fetchval(OUT_OF_ORDER),
        unsent=await connection.fetchval("SELECT count(*) FROM outbox WHERE state <> 'sent'"),
        provider_missing=missing,
        provider_twice=twice,
        provider_out_of_order=disorder,
    )


def _first_line(text: str) -> str:
    """What tells one answer from the next; below it a channel shows in its own way what is offered to answer with."""
    return text.partition("\n")[0]


async def settled(connection: "asyncpg.Connection[asyncpg.Record]", limit_s: float = SETTLE_S) -> None:
    """Return once no turn and no outbox row is unfinished; TimeoutError when that takes too long."""
    async with asyncio.timeout(limit_s):
        while await connection.fetchval(UNSETTLED):
            await asyncio.sleep(0.1)


async def sends_of(deployment: Stand) -> list[dict[str, Any]]:
    """The messages that the WhatsApp simulator really accepted, oldest first."""

    def read() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{deployment.sandbox_url}/twilio/_truth", timeout=10) as answer:  # noqa: S310
            rows = orjson.loads(answer.read())
        return [row for row in rows if row["kind"] == "send"]

    return await asyncio.to_thread(read)


@dataclass(slots=True)
class Storm:
    """The load: every event is delivered until it was acknowledged as often as the dice said."""

    deployment: Stand
    events: list[tuple[str, bytes]]
    dice: random.Random
    acknowledged: int = 0
    kills: int = 0
    refused: int = 0

    async def rage(self, kills: int) -> None:
        """Deliver everything from CONNECTIONS connections, killing the web process `kills` times meanwhile."""
        deliveries = [request for _, request in self.events for _ in range(self.dice.randint(1, 3))]
        deliveries = shuffled_nearby(deliveries, self.dice)
        kill_at = [len(deliveries) * (n + 1) // (kills + 1) for n in range(kills)]
        waiting = iter(deliveries)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._deliver(waiting))
            group.create_task(self._kill(kill_at))

    async def _deliver(self, waiting: Iterator[bytes]) -> None:
        connection: Connection | None = None
        for request in waiting:
            for _ in range(DELIVERY_TRIES_MAX):
                try:
                    connection = connection or await Connection.open(self.deployment.port)
                    status = await connection.post(request)
                except (OSError, EOFError, asyncio.IncompleteReadError):
                    # The process is gone, or going: a provider would deliver again, and so do we.
                    if connection is not None:
                        connection.close()
                    connection = None
                    await asyncio.sleep(RETRY_S)
                    continue
                if status == 200:
                    self.acknowledged += 1
                    break
                self.refused += 1
                await asyncio.sleep(RETRY_S)
            else:
                raise RuntimeError("A delivery was never acknowledged.")
        if connection is not None:
            connection.close()

    async def _kill(self, at: Sequence[int]) -> None:
        for count in at:
            while self.acknowledged < count:
                await asyncio.sleep(0.005)
            self.deployment.web.kill()
            self.kills += 1
            await self.deployment.web.start()


def shuffled_nearby(requests: list[bytes], dice: random.Random) -> list[bytes]:
    """The same requests, each at most about WINDOW places from where it was."""
    return [
        request
        for _, request in sorted((place + dice.uniform(0, WINDOW), request) for place, request in enumerate(requests))
    ]


def make_events(deployment: Stand, events: int, senders: int) -> list[tuple[str, bytes]]:
    """Signed webhooks with distinct answers: each asks for another amount of money in another currency."""
    tag = uuid4().hex[:8]
    made = []
    for n in range(events):
        event_id = f"SM{tag}{n:024x}"
        form = inbound(event_id, f"+2547{n % senders:08d}", f"{n + 1} USD in KES")
        made.append((event_id, signed_request(deployment.url, form)))
    return made


async def storm(deployment: Stand, *, events: int, senders: int, kills: int, seed: int) -> tuple[Storm, Verdict]:
    """One storm on a fresh deployment whose web process runs; what happened, and the verdict."""
    raging = Storm(deployment, make_events(deployment, events, senders), random.Random(seed))  # noqa: S311
    await raging.rage(kills)
    connection = await deployment.connect()
    try:
        await settled(connection)
        acknowledged = [event_id for event_id, _ in raging.events]
        verdict = await judge(connection, deployment.keys, acknowledged, await sends_of(deployment))
    finally:
        await connection.close()
    return raging, verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench storm`."""
    parser.add_argument("--events", type=int, default=2_000, help="storm: distinct webhooks")
    parser.add_argument("--kills", type=int, default=20, help="storm: how often the web process is killed -9")
    parser.add_argument("--seed", type=int, default=1, help="storm: seed of everything random")


async def run(args: argparse.Namespace) -> list[Row]:
    """The storm at full size; every row but the first three has to be 0."""
    with tempfile.TemporaryDirectory(prefix="mathia-storm-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        async with stand(folder, durable=True, environment=FAST_RECOVERY) as deployment:
            await deployment.web.start()
            begun = time.monotonic()
            raging, verdict = await storm(
                deployment, events=args.events, senders=args.events // 20 or 1, kills=args.kills, seed=args.seed
            )
            took_s = time.monotonic() - begun
    return [
        Row("storm: webhooks acknowledged", raging.acknowledged, "webhooks"),
        Row("storm: kill -9 of the web process", raging.kills, "kills"),
        Row("storm: until everything had settled", took_s, "s"),
        *(Row(f"storm: {name.replace('_', ' ')}", count, "messages", 0.0) for name, count in asdict(verdict).items()),
    ]
