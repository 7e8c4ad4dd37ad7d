"""Chat over web sockets: from a person's send to the bot's reply, stored and delivered, at 1 and 50 connections.

The limit is an aiohttp socket that commits one row a frame and echoes it (bot/bench/echo.py), driven by the same client
in the same run: what a chat that stored one message and understood nothing would do. Ours commits twice, the message
before it is acknowledged and the reply before it is told, and understands in between.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse

from bot.bench import Row, percentile
from bot.servers.postgres import OWNER
from bot.stand import Stand, answers, free_port, stand

CONNECTIONS = (1, 50)
WARM_S = 1.0
ANSWER_S = 10.0
READY_S = 20.0
POLL_S = 0.02
TEXT = "hello"
VISIT_TRIPS = 500
"""How many messages one person sends before the next comes: fewer than a person may send in a day."""
BURST = "1000000"
"""One visitor of the benchmark writes more than people may; nothing else is set otherwise than in production."""

RoundTrip = Callable[[ClientWebSocketResponse], Awaitable[None]]
"""Sends one message on a socket and returns when its answer is there."""


@dataclass
class Trips:
    """Measured round trips: how long each took, and how many there were a second."""

    took_ms: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)


async def drive(url: str, connections: int, seconds: float, hello: RoundTrip, trip: RoundTrip, into: Trips) -> None:
    """Round trips one after another on each of `connections` sockets; those after WARM_S count."""
    begin = time.perf_counter() + WARM_S
    end = begin + seconds
    before = len(into.took_ms)

    async def talk(session: ClientSession) -> None:
        while time.perf_counter() < end:
            async with session.ws_connect(f"{url}/ws", headers={"Origin": url}) as socket:
                await hello(socket)
                for _ in range(VISIT_TRIPS):
                    at = time.perf_counter()
                    if at >= end:
                        return
                    await trip(socket)
                    if at >= begin:
                        into.took_ms.append((time.perf_counter() - at) * 1000)

    async with ClientSession() as session:
        await asyncio.gather(*(talk(session) for _ in range(connections)))
    into.per_s.append((len(into.took_ms) - before) / seconds)


async def say_hello(socket: ClientWebSocketResponse) -> None:
    """Become a new visitor."""
    await socket.send_str('{"type":"hello","token":null,"since":0,"site":"default"}')
    welcome = orjson.loads((await socket.receive(ANSWER_S)).data)
    if welcome["type"] != "welcome":
        raise RuntimeError(f"not welcome: {welcome}")


def chatting() -> RoundTrip:
    """Send a text, and wait for what the bot says after it."""
    numbers = count(1)

    async def trip(socket: ClientWebSocketResponse) -> None:
        cid = f"b{next(numbers)}"
        frame: dict[str, object] = {"type": "send", "cid": cid, "text": TEXT, "reply_to": None, "files": []}
        await socket.send_str(orjson.dumps(frame).decode())
        stored = None
        while True:
            told = orjson.loads((await socket.receive(ANSWER_S)).data)
            if told["type"] == "error":
                raise RuntimeError(f"refused: {told}")
            if told["type"] == "msg" and told["cid"] == cid:
                stored = told["seq"]
            elif told["type"] == "msg" and told["from"] == "bot" and stored is not None and told["seq"] > stored:
                return

    return trip


async def nothing(_socket: ClientWebSocketResponse) -> None:
    """The echo wants no greeting."""


async def echoed(socket: ClientWebSocketResponse) -> None:
    """Send a text, and wait for it to come back."""
    await socket.send_str(TEXT)
    await socket.receive(ANSWER_S)


@asynccontextmanager
async def echo(deployment: Stand) -> AsyncIterator[str]:
    """The limit's server beside the deployment, on the same PostgreSQL; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "bot.bench.echo", str(port), deployment.postgres.url(OWNER, deployment.database)]
    process = await asyncio.create_subprocess_exec(*words, cwd=Path(__file__).resolve().parents[2])
    try:
        async with asyncio.timeout(READY_S):
            while not await answers(f"{url}/healthz"):
                await asyncio.sleep(POLL_S)
        yield url
    finally:
        process.kill()
        await process.wait()


async def run(args: argparse.Namespace) -> list[Row]:
    """Limit and measurement alternate; medians of the rounds, percentiles over all of them."""
    ours = {connections: Trips() for connections in CONNECTIONS}
    limits = {connections: Trips() for connections in CONNECTIONS}
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        async with AsyncExitStack() as stack:
            deployment = await stack.enter_async_context(stand(folder, durable=True, environment={"WEB_BURST": BURST}))
            limit_url = await stack.enter_async_context(echo(deployment))
            await deployment.web.start()
            trip = chatting()
            for _ in range(args.rounds):
                for connections in CONNECTIONS:
                    await drive(limit_url, connections, args.seconds, nothing, echoed, limits[connections])
                    await drive(deployment.url, connections, args.seconds, say_hello, trip, ours[connections])
    rows: list[Row] = []
    for connections in CONNECTIONS:
        value, limit = (statistics.median(trips[connections].per_s) for trips in (ours, limits))
        took = ours[connections].took_ms
        name = f"chat over web sockets, {connections} connection{'s' if connections > 1 else ''}"
        rows.append(Row(name, value, "replies/s", limit, value / limit, percentile(took, 0.5), percentile(took, 0.99)))
        took = limits[connections].took_ms
        rows.append(
            Row(f"its limit: echo and one commit, {connections}", limit, "echoes/s", None, None,
                percentile(took, 0.5), percentile(took, 0.99))
        )  # fmt: skip
    return rows
