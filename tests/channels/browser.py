"""A browser's side of the web socket, and a small site for it to talk to, for tests."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from uuid import UUID

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from channels.web import WebChannel
from core.db import Database
from core.files import Files
from core.inbox import Inbox
from core.limits import Limits
from core.messages import Address, ChannelName, OutboundMessage, Reply
from core.outbox import NewMessage, post
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes

ANSWER_S = 10.0
_numbers = itertools.count(1)

Frame = dict[str, Any]


class Browser:
    """One open socket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, frame: object) -> None:
        """Send any JSON value as a text frame."""
        await self.socket.send_str(orjson.dumps(frame).decode())

    async def hear(self, kind: str | None = None) -> Frame:
        """The next frame, or the next of a kind; fails the test when none comes."""
        async with asyncio.timeout(ANSWER_S):
            while True:
                message = await self.socket.receive()
                assert message.type is WSMsgType.TEXT, f"the socket ended: {message}"
                frame: Frame = orjson.loads(message.data)
                if kind is None or frame["type"] == kind:
                    return frame

    async def hear_seqs(self, last: int) -> list[int]:
        """The seqs of the messages that come, until `last` has come."""
        seqs: list[int] = []
        while not seqs or seqs[-1] != last:
            seqs.append((await self.hear("msg"))["seq"])
        return seqs

    async def hello(self, token: str | None = None, since: int = 0, room: str | None = None) -> Frame:
        """Say hello; the welcome."""
        frame: Frame = {"type": "hello", "token": token, "since": since, "site": "default"}
        await self.say(frame if room is None else frame | {"room": room})
        return await self.hear()

    async def send(self, text: str, cid: str | None = None, **more: object) -> Frame:
        """Send a message and wait until it comes back from the store."""
        cid = cid or f"c{next(_numbers)}"
        await self.say({"type": "send", "cid": cid, "text": text, "reply_to": None, "files": [], **more})
        while True:
            frame = await self.hear()
            if frame.get("cid") == cid:
                return frame

    async def refused(self, frame: object) -> str:
        """Send a frame that is no good; the code of the error it is answered with."""
        await self.say(frame)
        return str((await self.hear("error"))["code"])


@dataclass
class Site:
    """A web process with nothing but the web channel."""

    channel: WebChannel
    url: str
    db: Database
    session: ClientSession

    @asynccontextmanager
    async def browser(self, origin: str | None = None) -> AsyncIterator[Browser]:
        """An open socket from a page of `origin`, our own when not given."""
        async with self.session.ws_connect(f"{self.url}/ws", headers={"Origin": origin or self.url}) as socket:
            yield Browser(socket)

    async def conversation(self, room: str) -> UUID:
        """The conversation of a room that has been written in."""
        found: UUID = await self.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", room)
        return found

    async def post(self, room: str, *texts: str, options: tuple[str, ...] = ()) -> None:
        """Store messages of the bot, telling nobody."""
        conversation = await self.conversation(room)
        async with self.db.hot() as connection:
            await post(
                connection,
                [
                    NewMessage(conversation, Reply.of(text, options).parts, "reply", f"test:{next(_numbers)}")
                    for text in texts
                ],
            )

    async def deliver(self, room: str) -> str:
        """What the delivery runner does: hand the last message to the channel."""
        row = await self.db.pool.fetchrow(
            "SELECT o.id, o.attempt, m.conversation_id, m.seq, m.created_at FROM outbox o JOIN message m ON m.id = o.id"
            " JOIN conversation c ON c.id = m.conversation_id WHERE c.room = $1 ORDER BY m.seq DESC LIMIT 1",
            room,
        )
        return await self.channel.send(
            OutboundMessage(
                row["id"],
                row["attempt"],
                Address(ChannelName.WEB, "default", room, room),
                row["conversation_id"],
                row["seq"],
                (),
                row["created_at"],
            )
        )


class Running:
    """The web channel on a free port; use with `async with`."""

    def __init__(self, settings: Settings, db: Database, valkey_url: str, *, listening: bool = True) -> None:
        self._settings = settings
        self._db = db
        self._valkey_url = valkey_url
        self._listening = listening

    async def __aenter__(self) -> Site:
        self._valkey = Redis.from_url(
            self._valkey_url, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 1)
        )
        wakes = Wakes(self._db)
        self._heard = AsyncExitStack()
        if self._listening:
            await self._heard.enter_async_context(wakes.listening())
        files = Files(self._db, Storage(self._settings))
        inbox = Inbox(self._db, wakes, transcribes=self._settings.transcribes)
        limits = Limits(self._valkey, self._settings.plans)
        channel = WebChannel(self._settings, self._db, inbox, self._valkey, wakes, files, limits)
        app = web.Application()
        app.add_routes(channel.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._session = ClientSession()
        self._task = asyncio.create_task(channel.run()) if self._listening else None
        self._channel = channel
        return Site(channel, f"http://{host}:{port}", self._db, self._session)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._heard.aclose()
        await self._channel.close()
        await self._session.close()
        await self._runner.cleanup()
        await self._valkey.aclose()
