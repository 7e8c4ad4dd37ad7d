"""Rooms in a storm: sockets are cut, sends repeated, web processes killed: every client ends with what the store has.

ROOMS_STORM sets the size, as sockets x messages x cuts: 10x20x3 where nothing else is said, 50x60x20 for the whole.
"""

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path
from socket import SHUT_RDWR
from uuid import UUID

import orjson
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

from bot.bench.rooms import furnish, listens
from bot.bench.storm import FAST_RECOVERY
from bot.servers import Servers
from bot.stand import Process, free_port
from core.conversations import HISTORY_PAGE, StoredMessage, history
from core.db import Database
from tests.channels.browser import Frame
from tests.conftest import Sandbox
from tests.waiting import until

SOCKETS, MESSAGES, CUTS = map(int, os.environ.get("ROOMS_STORM", "10x20x3").split("x"))
MEMBERS = 10
WEBS = 3
KILLS = max(2, CUTS // 2)
COPIES_MAX = 4
TO_BOT_EVERY = 10
"""Every so many messages call the bot."""
HEAR_S = 5.0
LIMIT_S = 20.0 + SOCKETS * MESSAGES / 10


class Client:
    """A member on a bad line: it keeps what it is told, and sends again what has not come back."""

    def __init__(self, number: int, url: str, session: ClientSession, room: str, token: str) -> None:
        self.room = room
        self.told: list[Frame] = []
        self.wrong: list[int] = []
        """Seqs that were told out of turn, or a second time on one socket."""
        self.cuts = 0
        self.outbox = [f"m{number}-{n}" for n in range(MESSAGES)]
        self.sent = list(self.outbox)
        self._url, self._session, self._token = url, session, token
        self._chance = random.Random(number)
        self._cut_at = set(self._chance.sample(self.outbox, CUTS))

    @property
    def since(self) -> int:
        """The last seq it was told."""
        return int(self.told[-1]["seq"]) if self.told else 0

    async def live(self) -> None:
        """Connect, send, be cut off, and come back, until everything sent has come back."""
        while self.outbox:
            with suppress(ClientError, OSError):
                await self._talk()

    async def catch_up(self, last: int) -> None:
        """Hear what is left, up to seq `last`."""
        while self.since < last:
            with suppress(ClientError, OSError):
                async with self._session.ws_connect(f"{self._url}/ws", headers={"Origin": self._url}) as socket:
                    await self._hello(socket)
                    while self.since < last:
                        await self._hear(socket)

    async def _talk(self) -> None:
        async with self._session.ws_connect(f"{self._url}/ws", headers={"Origin": self._url}) as socket:
            await self._hello(socket)
            while self.outbox:
                cid = self.outbox[0]
                called = "@mathia " if int(cid.partition("-")[2]) % TO_BOT_EVERY == 0 else ""
                frame: Frame = {"type": "send", "cid": cid, "text": f"{called}hello {cid}", "reply_to": None}
                for _ in range(self._chance.randint(1, COPIES_MAX)):
                    await socket.send_str(orjson.dumps(frame).decode())
                if cid in self._cut_at:
                    self._cut_at.remove(cid)
                    self.cuts += 1
                    # Some of it may be heard before the line is cut; half of the cuts are without a close frame.
                    for _ in range(self._chance.randint(0, 3)):
                        await self._hear(socket)
                    if self.cuts % 2 and (line := socket.get_extra_info("socket")):
                        line.shutdown(SHUT_RDWR)
                    return
                while self.outbox and self.outbox[0] == cid:
                    await self._hear(socket)

    async def _hello(self, socket: ClientWebSocketResponse) -> None:
        hello = {"type": "hello", "token": self._token, "room": self.room, "since": self.since, "site": "default"}
        await socket.send_str(orjson.dumps(hello).decode())

    async def _hear(self, socket: ClientWebSocketResponse) -> None:
        message = await socket.receive(HEAR_S)
        if message.type is not WSMsgType.TEXT:
            raise ConnectionError
        frame: Frame = orjson.loads(message.data)
        if frame["type"] == "error":
            assert frame["retry_s"] is not None, frame
            raise ConnectionError
        if frame["type"] != "msg":
            return
        if frame["from"] == "me":
            self.outbox = [cid for cid in self.outbox if cid != frame["cid"]]
        if frame["seq"] == self.since + 1:
            self.told.append(frame)
        elif frame["seq"] > self.since or frame["from"] != "me":
            # Only an own message that was sent again may be told again.
            self.wrong.append(frame["seq"])


async def test_every_client_ends_with_what_the_store_has(
    servers: Servers, sandbox: Sandbox, db: Database, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "DATABASE_URL": database_url, "REDIS_URL": valkey_url, "PORT": str(port), "SANDBOX_URL": sandbox.url,
        "LOG_LEVEL": "error", "WEB_BURST": "1000000", **FAST_RECOVERY,
    }  # fmt: skip
    webs = [Process(["web", "--share-port"], environment, tmp_path / f"web{n}.log") for n in range(WEBS)]
    for web in webs:
        web.spawn()
    rooms = await furnish(db, SOCKETS // MEMBERS, MEMBERS)
    seats = [(room, token) for room, tokens in rooms for token in tokens]
    try:
        await until(lambda: _serving(webs, port), what="three web processes")
        async with ClientSession(connector=TCPConnector(limit=0)) as session, asyncio.timeout(LIMIT_S):
            clients = [Client(number, url, session, *seat) for number, seat in enumerate(seats)]
            storm = asyncio.create_task(_kill(webs, port, db))
            await asyncio.gather(*(client.live() for client in clients))
            await storm
            await until(lambda: _settled(db), LIMIT_S, "every turn and delivery")
            for room, _ in rooms:
                stored = await _stored(db, UUID(room))
                mine = [client for client in clients if client.room == room]
                await asyncio.gather(*(client.catch_up(stored[-1].seq) for client in mine))
                for client in mine:
                    _compare(client, stored)
                said = [one.event_id for one in stored if one.inbound]
                assert len(said) == len(set(said)) == len(mine) * MESSAGES
                assert sum(not one.inbound for one in stored) >= 1
            assert all(client.cuts == CUTS for client in clients)
    finally:
        for web in webs:
            web.kill()


def _compare(client: Client, stored: list[StoredMessage]) -> None:
    """Ids, order and text of what the client was told, against the store; nothing missing, nothing twice."""
    assert client.wrong == []
    assert [frame["seq"] for frame in client.told] == [one.seq for one in stored] == list(range(1, len(stored) + 1))
    told = [[part["text"] for part in frame["parts"] if "text" in part] for frame in client.told]
    assert told == [[part.text for part in one.parts if part.kind == "text"] for one in stored]
    own = [(frame["seq"], frame["cid"]) for frame in client.told if frame["from"] == "me"]
    assert own == [
        (one.seq, one.event_id.rpartition(":")[2])
        for one in stored
        if one.event_id and one.event_id.rpartition(":")[2] in client.sent
    ]
    assert [cid for _, cid in own] == client.sent
    assert [frame["from"] == "bot" for frame in client.told] == [not one.inbound for one in stored]


async def _stored(db: Database, room: UUID) -> list[StoredMessage]:
    stored: list[StoredMessage] = []
    while page := await history(db, room, since=stored[-1].seq if stored else 0):
        stored += page
        if len(page) < HISTORY_PAGE:
            break
    return stored


async def _kill(webs: list[Process], port: int, db: Database) -> None:
    """kill -9 one web process after another while messages come in, each once the one before is back."""
    for kill in range(1, KILLS + 1):
        share = SOCKETS * MESSAGES * kill // (KILLS + 1)
        await until(lambda share=share: _said(db, share), LIMIT_S, f"{share} stored messages")  # type: ignore[misc]
        web = webs[kill % WEBS]
        web.kill()
        web.spawn()
        await until(lambda web=web: _serving([web], port), LIMIT_S, "the process that was killed")  # type: ignore[misc]


async def _serving(webs: list[Process], port: int) -> bool:
    return all(listens(web.pid, port) for web in webs)


async def _said(db: Database, count: int) -> bool:
    return bool(await db.pool.fetchval("SELECT count(*) >= $1 FROM message WHERE direction = 'in'", count))


async def _settled(db: Database) -> bool:
    return bool(
        await db.pool.fetchval(
            "SELECT NOT EXISTS (SELECT FROM turn WHERE state <> 'done')"
            " AND NOT EXISTS (SELECT FROM outbox WHERE done_at IS NULL)"
        )
    )
