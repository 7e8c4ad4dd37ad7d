"""Rooms: from one member's send to every other member's socket, over three web processes behind one port.

A message is stored, its commit waited for, and told by Valkey to the other processes, each of which reads it from the
store once for all of its sockets. The limit is a fixed one: what still feels like the same moment.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

from bot.bench import Row, percentile
from bot.servers.postgres import OWNER
from bot.stand import READY_S, Process, Stand, stand
from core import rooms
from core.crypto import KeyList
from core.db import Database
from core.rooms import Place
from core.visitors import create_visitor

WEBS = 3
ROOMS = 10
MEMBERS = 20
EVERY_S = 0.05
"""Somebody says something this often: 20 messages and 380 deliveries a second."""
WARM_S = 1.0
HEAR_S = 10.0
POLL_S = 0.02
P99_MAX_MS = 50.0
SITE = "default"


@dataclass
class Fanout:
    """Who said what when, and how long it took to each of the others."""

    said: dict[str, float] = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)
    missing: int = 0


async def serve(deployment: Stand) -> list[Process]:
    """The web processes, all on the deployment's port, once each of them listens."""
    webs = [deployment.process("web", "--share-port") for _ in range(WEBS)]
    for one in webs:
        one.spawn()
    async with asyncio.timeout(READY_S):
        while not all(listens(one.pid, deployment.port) for one in webs):
            await asyncio.sleep(POLL_S)
    return webs


def listens(pid: int, port: int) -> bool:
    """Whether the process listens on the port."""
    connections = psutil.Process(pid).net_connections("tcp")
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


async def furnish(db: Database, count: int, members: int) -> list[tuple[str, list[str]]]:
    """Make rooms: the id of each, and its members' tokens."""
    made = []
    now = datetime.now(UTC)
    for _ in range(count):
        guests = [await create_visitor(db, SITE) for _ in range(members)]
        places = [Place(SITE, visitor.id) for visitor, _ in guests]
        async with db.transaction() as session:
            room = await rooms.create(session, places[0], "Bench", "One", now=now)
        for place in places[1:]:
            async with db.transaction() as session:
                link = await rooms.invite(
                    session, places[0], room, address=None, mailbox=None, base_url="", language="en", now=now
                )
            async with db.transaction() as session:
                await rooms.accept(session, place, link.rpartition("/")[2], "Another", now=now)
        made.append((str(room), [token for _, token in guests]))
    return made


async def enter(session: ClientSession, url: str, room: str, token: str) -> ClientWebSocketResponse:
    """A socket in a room."""
    socket = await session.ws_connect(f"{url}/ws", headers={"Origin": url})
    hello = {"type": "hello", "token": token, "room": room, "since": 0, "site": SITE}
    await socket.send_str(orjson.dumps(hello).decode())
    welcome = orjson.loads((await socket.receive(HEAR_S)).data)
    if welcome["type"] != "welcome":
        raise RuntimeError(f"not welcome: {welcome}")
    return socket


async def listen(socket: ClientWebSocketResponse, into: Fanout) -> None:
    """Note when each message of somebody else comes."""
    async for message in socket:
        at = time.perf_counter()
        if message.type is not WSMsgType.TEXT:
            return
        frame = orjson.loads(message.data)
        if frame["type"] == "error":
            raise RuntimeError(f"refused: {frame}")
        if frame["type"] == "msg" and frame["from"] == "member":
            begun = into.said.get(frame["parts"][0]["text"])
            if begun is not None:
                into.took_ms.append((at - begun) * 1000)


async def talk(sockets: Sequence[Sequence[ClientWebSocketResponse]], seconds: float, into: Fanout) -> None:
    """Say something in one room after another, by one member after another."""
    begin = time.perf_counter()
    number = 0
    while (due := begin + number * EVERY_S) < begin + WARM_S + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        room = sockets[number % len(sockets)]
        words = f"m{number}"
        frame: dict[str, object] = {"type": "send", "cid": words, "text": words, "reply_to": None, "files": []}
        at = time.perf_counter()
        if at >= begin + WARM_S:
            into.said[words] = at
        await room[(number // len(sockets)) % len(room)].send_str(orjson.dumps(frame).decode())
        number += 1
    expected = len(into.said) * (MEMBERS - 1)
    give_up_at = time.perf_counter() + HEAR_S
    while len(into.took_ms) < expected and time.perf_counter() < give_up_at:
        await asyncio.sleep(POLL_S)
    into.missing = expected - len(into.took_ms)


async def run(args: argparse.Namespace) -> list[Row]:
    """All rounds in one deployment; percentiles over all of them."""
    fanout = Fanout()
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        async with AsyncExitStack() as stack:
            keys = KeyList.new()
            environment = {"WEB_BURST": "1000000", "MATHIA_KEYS": keys.written()}
            deployment = await stack.enter_async_context(stand(folder, durable=True, environment=environment))
            db = await Database.connect(deployment.postgres.url(OWNER, deployment.database), keys)
            stack.push_async_callback(db.close)
            furnished = await furnish(db, ROOMS, MEMBERS)
            webs = await serve(deployment)
            for one in webs:
                stack.callback(one.kill)
            session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
            sockets = [
                [await enter(session, deployment.url, room, token) for token in tokens] for room, tokens in furnished
            ]
            async with asyncio.TaskGroup() as group:
                listeners = [group.create_task(listen(one, fanout)) for room in sockets for one in room]
                await talk(sockets, args.seconds * args.rounds, fanout)
                for listener in listeners:
                    listener.cancel()
    if fanout.missing:
        raise RuntimeError(f"{fanout.missing} deliveries did not come")
    p50, p99 = percentile(fanout.took_ms, 0.5), percentile(fanout.took_ms, 0.99)
    name = f"fan-out p99, {ROOMS * MEMBERS} sockets, {WEBS} web processes"
    return [
        Row(name, p99, "ms", P99_MAX_MS, p99 / P99_MAX_MS, p50, p99),
        Row("deliveries to other members", float(len(fanout.took_ms)), "deliveries"),
    ]
