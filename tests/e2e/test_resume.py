"""Sockets are cut, sends repeated, the web process killed: every browser ends with what the store has."""

import asyncio
import random
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import SHUT_RDWR

import orjson
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from bot.servers import Servers
from bot.stand import Process, free_port
from core.db import Database
from tests.channels.browser import Frame
from tests.conftest import Sandbox
from tests.said import messages
from tests.waiting import until

VISITORS = 8
MESSAGES = 6
KILLS = 3
HEAR_S = 5.0
LIMIT_S = 90.0


class Client:
    """A browser on a bad line: it keeps what it was told by seq, and sends again what has not come back."""

    def __init__(self, number: int, url: str, session: ClientSession) -> None:
        self.told: dict[int, Frame] = {}
        self.outbox = [f"m{number}-{n}" for n in range(MESSAGES)]
        self.room = ""
        self.surplus: list[int] = []
        self._url = url
        self._session = session
        self._token: str | None = None
        self._chance = random.Random(number)

    @property
    def since(self) -> int:
        """The last seq it was told."""
        return max(self.told, default=0)

    async def live(self, serving: asyncio.Event) -> None:
        """Connect, send, be cut off, and come back, until everything sent has come back."""
        while self.outbox:
            await serving.wait()
            with suppress(ClientError, ConnectionError, TimeoutError):
                async with self._session.ws_connect(f"{self._url}/ws", headers={"Origin": self._url}) as socket:
                    await self._talk(socket)

    async def _talk(self, socket: ClientWebSocketResponse) -> None:
        await self._say(socket, {"type": "hello", "token": self._token, "since": self.since})
        while self.outbox:
            cid = self.outbox[0]
            for _ in range(self._chance.choice((1, 1, 2, 3))):
                await self._say(socket, {"type": "send", "cid": cid, "text": f"hello {cid}", "files": []})
            if self._chance.random() < 0.3:
                # Half of the cuts are without a close frame.
                if self._chance.random() < 0.5 and (line := socket.get_extra_info("socket")):
                    # The server may have been killed first: then there is nothing left to cut.
                    with suppress(OSError):
                        line.shutdown(SHUT_RDWR)
                return
            while self.outbox and self.outbox[0] == cid:
                await self.hear(socket)

    async def hear(self, socket: ClientWebSocketResponse) -> None:
        """Take one frame in, as the widget does."""
        message = await socket.receive(HEAR_S)
        if message.type is not WSMsgType.TEXT:
            raise ConnectionError
        frame: Frame = orjson.loads(message.data)
        if frame["type"] == "welcome":
            self._token, self.room = frame["token"], frame["conversation"]
        elif frame["type"] == "error":
            assert frame["retry_s"] is not None, frame
            raise ConnectionError
        elif frame["type"] == "msg":
            self.outbox = [cid for cid in self.outbox if cid != frame["cid"]]
            if frame["seq"] > self.since:
                if frame["seq"] != self.since + 1:
                    self.surplus.append(frame["seq"])
                self.told[frame["seq"]] = frame

    async def catch_up(self, last: int) -> None:
        """Hear what is left, up to seq `last`."""
        async with self._session.ws_connect(f"{self._url}/ws", headers={"Origin": self._url}) as socket:
            await self._say(socket, {"type": "hello", "token": self._token, "since": self.since})
            while self.since < last:
                await self.hear(socket)

    @staticmethod
    async def _say(socket: ClientWebSocketResponse, frame: Frame) -> None:
        await socket.send_str(orjson.dumps(frame).decode())


async def test_every_browser_ends_with_what_the_store_has(
    servers: Servers, sandbox: Sandbox, db: Database, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "DATABASE_URL": database_url, "REDIS_URL": valkey_url, "PORT": str(port), "SANDBOX_URL": sandbox.url,
        "LOG_LEVEL": "error",
    }  # fmt: skip
    web = Process(["web"], environment, tmp_path / "web.log", f"{url}/healthz")
    await web.start()
    try:
        async with ClientSession() as session, asyncio.timeout(LIMIT_S):
            clients = [Client(number, url, session) for number in range(VISITORS)]
            serving = asyncio.Event()
            serving.set()
            lives = [asyncio.create_task(client.live(serving)) for client in clients]
            for kill in range(1, KILLS + 1):
                share = VISITORS * MESSAGES * kill // (KILLS + 1)
                await until(partial(_stored, db, share), LIMIT_S, f"{share} stored messages")
                serving.clear()
                web.kill()
                await web.start()
                serving.set()
            await asyncio.gather(*lives)
            for client in clients:
                room = "JOIN conversation c ON c.id = m.conversation_id WHERE c.room = $1 ORDER BY m.seq"
                rows = await messages(db, room, client.room)
                await client.catch_up(rows[-1]["seq"])
                assert client.surplus == []
                assert list(client.told) == [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
                mine = [row["event_id"].removeprefix(f"{client.room}:") for row in rows if row["event_id"]]
                assert [frame["cid"] for frame in client.told.values() if frame["from"] == "me"] == mine
                assert sorted(mine) == sorted(set(mine))
                assert len(mine) == MESSAGES
                texts = [[part["text"] for part in frame["parts"]] for frame in client.told.values()]
                assert texts == [[part["text"] for part in row["parts"] if "text" in part] for row in rows]
    finally:
        web.kill()


async def _stored(db: Database, count: int) -> bool:
    return bool(await db.pool.fetchval("SELECT count(*) >= $1 FROM message WHERE direction = 'in'", count))
