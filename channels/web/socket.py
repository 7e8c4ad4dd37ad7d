"""The web socket: browsers say hello, send, and are told every message after the last one they have, in order.

The store is the truth. A send is answered by the stored message coming back; a wake only says that there is
something to read, and every open room is compared with the store each RECHECK_S, so a lost wake is a delay, not a loss.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from channels.web import frames, pages
from channels.web.frames import Ack, BadFrame, Hello, Send, Typing
from channels.web.origins import Origins
from core.conversations import HISTORY_PAGE, changed, history, standings
from core.db import Database
from core.errors import StoreUnavailable
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, OutboundMessage, Text
from core.settings import Settings
from core.visitors import create_visitor, find_visitor
from core.wake import Wakes

log = structlog.get_logger()

SITE = "default"
"""The one site of this deployment; it is the account of web conversations."""
HEARTBEAT_S = 20.0
HELLO_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 10.0
"""A browser that does not take what we send for this long is cut off; it resumes where it was."""
CLOSE_TIMEOUT_S = 1.0
BUFFER_BYTES_MAX = 64 * 1024
"""What is queued for a socket before sending waits for the browser."""
TRANSPORT_BYTES_MAX = 1024 * 1024
"""A frame beyond this is not even read; the socket is closed with 1009."""
SOCKETS_MAX = 10_000
SOCKETS_PER_VISITOR = 8
ROOMS_REMEMBERED = 1_000
"""How many rooms that were left are remembered, so that coming back does not start a limit anew."""
MESSAGES_WINDOW_S = 10.0
"""At most WEB_BURST messages of one visitor in any MESSAGES_WINDOW_S."""
VISITORS_MAX = 200
VISITORS_WINDOW_S = 10.0
"""At most VISITORS_MAX new visitors in any VISITORS_WINDOW_S, so that nobody fills the store by saying hello."""
RECHECK_S = 5.0
RECHECK_ROOMS = 1_000
"""How many rooms one statement compares with the store."""
RETRY_S = 2.0
"""What we ask a browser to wait when the store is away."""
TYPING_FOR = timedelta(seconds=60)
"""A message older than this is not being answered any more, as far as dots are concerned."""
FANOUT = "mathia:web"
"""The Valkey channel that carries room ids between processes."""
FANOUT_TIMEOUT_S = 0.5
FANOUT_PAUSE_S = 5.0
RECONNECT_S = 1.0


class WebChannel:
    """The web's side of every conversation in this process."""

    name: ChannelName = ChannelName.WEB
    per_second: float | None = None
    account: str = SITE

    def __init__(
        self,
        settings: Settings,
        db: Database,
        inbox: Inbox,
        valkey: Redis,
        wakes: Wakes,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises UserError when WIDGET_ORIGINS holds something that is not an origin."""
        self.db = db
        self.inbox = inbox
        self.now = now
        self._wakes = wakes
        self._valkey = valkey
        self._origins = Origins(settings)
        self._pages = pages.Pages(settings, self._origins)
        self._rooms: dict[str, Room] = {}
        self._left: dict[str, Room] = {}
        self._sockets: set[Socket] = set()
        self._burst = settings.web_burst
        self._newcomers = Window(VISITORS_MAX, VISITORS_WINDOW_S)
        self._fanout_at = 0.0
        self._closing = False

    def routes(self) -> list[web.RouteDef]:
        """The socket and the pages."""
        return [web.get("/ws", self._serve), *self._pages.routes()]

    def pieces(self, message: OutboundMessage) -> int:
        """The widget draws a message whole."""
        return 1

    async def send(self, message: OutboundMessage) -> str:
        """Tell every open socket of the room, in every process, that there is something to read; never fails.

        The message is in the store, which the browser reads when it next can: that is all the delivery there is.
        """
        await self.tell(message.recipient.room)
        return _message_id(message)

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """A message in the store is where the browser will find it."""
        return _message_id(message)

    async def run(self) -> None:
        """Hear other processes' wakes and compare with the store, until cancelled; then close every socket."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="web.listen")
                tasks.create_task(self._recheck(), name="web.recheck")
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every socket with 1001; browsers come back by themselves and resume."""
        self._closing = True
        await asyncio.gather(*(socket.close() for socket in list(self._sockets)))

    async def tell(self, room: str) -> None:
        """Wake a room's sockets here at once, and in other processes when Valkey is there."""
        self._wake(room)
        loop = asyncio.get_running_loop()
        if loop.time() < self._fanout_at:
            return
        try:
            async with asyncio.timeout(FANOUT_TIMEOUT_S):
                await self._valkey.publish(FANOUT, room)
        except (RedisError, OSError) as error:
            self._fanout_at = loop.time() + FANOUT_PAUSE_S
            log.warning("web.fanout_away", error=type(error).__name__, pause_s=FANOUT_PAUSE_S)

    def join(self, visitor: UUID, socket: "Socket") -> "Room":
        """Put a socket into its visitor's room; raises BadFrame when there are too many."""
        key = str(visitor)
        room = self._rooms.get(key) or self._left.pop(key, None) or Room(key, self._burst)
        if len(room.sockets) >= SOCKETS_PER_VISITOR:
            raise BadFrame(
                "sockets", "This chat is open in too many places. Close one of them and try again.", retry_s=15.0
            )
        room.sockets.add(socket)
        self._rooms[key] = room
        return room

    def leave(self, room: "Room", socket: "Socket") -> None:
        """Take a socket out of its room; an empty room is remembered for a while."""
        room.sockets.discard(socket)
        if not room.sockets:
            self._rooms.pop(room.key, None)
            self._left[room.key] = room
            if len(self._left) > ROOMS_REMEMBERED:
                del self._left[next(iter(self._left))]

    def admit(self) -> None:
        """Count a new visitor; raises BadFrame when there were too many just now."""
        wait_s = self._newcomers.take()
        if wait_s:
            raise BadFrame("busy", "Many people are arriving just now. Try again in a moment.", retry_s=wait_s)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._origins.allows(request.headers.getall("Origin", ()), request.scheme, request.host):
            raise web.HTTPForbidden(
                text="This page may not open a chat here. Add its origin to WIDGET_ORIGINS, or open the chat at"
                " PUBLIC_URL."
            )
        if self._closing or len(self._sockets) >= SOCKETS_MAX:
            raise web.HTTPServiceUnavailable(text="Too busy just now; try again.", headers={"Retry-After": "2"})
        connection = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S,
            timeout=CLOSE_TIMEOUT_S,
            max_msg_size=TRANSPORT_BYTES_MAX,
            compress=False,
            writer_limit=BUFFER_BYTES_MAX,
            decode_text=False,
        )
        await connection.prepare(request)
        socket = Socket(self, connection, request.transport)
        self._sockets.add(socket)
        try:
            await socket.run()
        finally:
            self._sockets.discard(socket)
            if socket.room:
                self.leave(socket.room, socket)
        return connection

    def _wake(self, key: str) -> None:
        room = self._rooms.get(key)
        for socket in room.sockets if room else ():
            socket.news.set()

    async def _listen(self) -> None:
        task = asyncio.current_task()
        # The client can swallow a cancellation that comes together with an answer; the task remembers it.
        while task and not task.cancelling():
            try:
                async with self._valkey.pubsub() as subscription:
                    await subscription.subscribe(FANOUT)
                    while not task.cancelling():
                        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=RECHECK_S)
                        if message is not None:
                            data = message["data"]
                            self._wake(data.decode() if isinstance(data, bytes) else str(data))
            except (RedisError, OSError) as error:
                log.debug("web.fanout_unheard", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_S)

    async def _recheck(self) -> None:
        while True:
            # A message that changed, here or in another process, wakes us at once; the rest is for lost wakes.
            await self._wakes.wait("message", RECHECK_S)
            keys = list(self._rooms)
            for start in range(0, len(keys), RECHECK_ROOMS):
                try:
                    found = await standings(self.db, self.name, self.account, keys[start : start + RECHECK_ROOMS])
                except StoreUnavailable:
                    log.debug("web.recheck_away")
                    break
                for key, standing in found.items():
                    room = self._rooms.get(key)
                    for socket in room.sockets if room else ():
                        if socket.seq < standing.seq or socket.changes < standing.changes:
                            socket.news.set()
                        socket.changes_due = standing.changes


class Window:
    """A limit on how often something happens: at most `most` times in any `window_s`."""

    def __init__(self, most: int, window_s: float) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=most)

    def take(self) -> float:
        """Count one and return 0.0; or, when the limit is reached, how many seconds to wait."""
        now = asyncio.get_running_loop().time()
        if len(self._times) == self._times.maxlen:
            wait_s = self._times[0] + self._window_s - now
            if wait_s > 0:
                return math.ceil(wait_s * 10) / 10
        self._times.append(now)
        return 0.0


class Room:
    """One visitor's open sockets in this process, and what they share."""

    def __init__(self, key: str, burst: int) -> None:
        self.key = key
        self.sockets: set[Socket] = set()
        self.messages = Window(burst, MESSAGES_WINDOW_S)
        self.conversation_id: UUID | None = None


class Socket:
    """One open socket: a loop that reads frames, and, after hello, one that writes what the store has."""

    def __init__(
        self, channel: WebChannel, connection: web.WebSocketResponse, transport: asyncio.Transport | None
    ) -> None:
        self.room: Room | None = None
        self.seq = 0
        self.changes = 0
        self.changes_due = 0
        """The numbers of the last change it was told of, and of the last one there is, as far as we know."""
        self.news = asyncio.Event()
        self._channel = channel
        self._connection = connection
        self._transport = transport
        self._writer: asyncio.Task[None] | None = None
        self._typing_for = 0

    async def run(self) -> None:
        """Serve until the browser is gone, cut off, or sent away."""
        try:
            while True:
                try:
                    message = await self._connection.receive(None if self.room else HELLO_TIMEOUT_S)
                except TimeoutError:
                    await self._say(frames.error(BadFrame("hello", "Nobody said hello in time.", retry_s=RETRY_S)))
                    await self._connection.close(code=WSCloseCode.POLICY_VIOLATION)
                    return
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return
                await self._take(message.type, message.data)
        finally:
            if self._writer:
                self._writer.cancel()
                with suppress(asyncio.CancelledError):
                    await self._writer

    async def close(self) -> None:
        """Send the browser away, for it to come back."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await self._connection.close(code=WSCloseCode.GOING_AWAY, message=b"restarting")

    async def _take(self, kind: WSMsgType, data: bytes) -> None:
        cid = None
        try:
            if kind is not WSMsgType.TEXT:
                raise BadFrame("bad_frame", "Frames are text; binary ones are not understood.")
            frame = frames.parse(data)
            if isinstance(frame, Send):
                cid = frame.cid
            await self._answer(frame)
        except BadFrame as bad:
            await self._say(frames.error(bad))
        except StoreUnavailable as away:
            await self._say(frames.error(BadFrame("unavailable", str(away), retry_s=RETRY_S, cid=cid)))

    async def _answer(self, frame: Hello | Send | Typing | Ack) -> None:
        match frame:
            case Hello() if self.room is None:
                await self._hello(frame)
            case Hello():
                raise BadFrame("hello", "You have said hello already.")
            case _ if self.room is None:
                cid = frame.cid if isinstance(frame, Send) else None
                raise BadFrame("hello", "Say hello first.", cid=cid)
            case Send():
                await self._receive(self.room, frame)
            case Typing() | Ack():
                # Nobody on our side watches a person type or read yet; both are valid and cost nothing.
                pass

    async def _hello(self, hello: Hello) -> None:
        channel = self._channel
        if hello.site != SITE:
            raise BadFrame("site", "There is no such site here. Check the site in mathiaSettings.")
        if hello.token is None:
            channel.admit()
            visitor, token = await create_visitor(channel.db, hello.site)
            standing = None
        else:
            found = await find_visitor(channel.db, hello.token, hello.site)
            if found is None:
                raise BadFrame("token", "This chat is not known here any more. Say hello without a token.")
            visitor, token = found, hello.token
            key = str(visitor.id)
            standing = (await standings(channel.db, channel.name, channel.account, [key])).get(key)
        self.room = channel.join(visitor.id, self)
        # A browser that has more than the store (an older backup was restored) starts from the beginning.
        seq, changes = (standing.seq, standing.changes) if standing else (0, 0)
        self.seq = hello.since if hello.since <= seq else 0
        # Whoever starts from the beginning reads every message as it is now.
        self.changes = changes if self.seq == 0 else min(hello.changes, changes)
        self.changes_due = changes
        await self._say(frames.welcome(token, self.room.key, seq, changes))
        self.news.set()
        self._writer = asyncio.create_task(self._write(self.room), name="web.write")

    async def _receive(self, room: Room, send: Send) -> None:
        wait_s = room.messages.take()
        if wait_s:
            raise BadFrame("rate", "That was a lot at once. Wait a moment.", retry_s=wait_s, cid=send.cid)
        sender = Address(self._channel.name, self._channel.account, room.key, room.key)
        [received] = await self._channel.inbox.receive(
            [
                InboundMessage(
                    sender=sender,
                    event_id=f"{room.key}:{send.cid}",
                    parts=(Text(text=send.text),),
                    sent_at=self._channel.now(),
                    reply_to=None if send.reply_to is None else str(send.reply_to),
                )
            ]
        )
        room.conversation_id = received.conversation_id
        if not received.new and received.seq <= self.seq:
            await self._again(received.conversation_id, room, received.seq)
        await self._channel.tell(room.key)

    async def _again(self, conversation_id: UUID, room: Room, seq: int) -> None:
        """Repeat one message to a browser that sent it again, although it was already told."""
        for message in await history(self._channel.db, conversation_id, since=seq - 1, limit=1):
            await self._say(frames.msg(message, room.key))

    async def _write(self, room: Room) -> None:
        while True:
            await self.news.wait()
            self.news.clear()
            try:
                await self._catch_up(room)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                self.news.set()

    async def _catch_up(self, room: Room) -> None:
        channel = self._channel
        if room.conversation_id is None:
            found = await standings(channel.db, channel.name, channel.account, [room.key])
            if room.key not in found:
                return
            room.conversation_id = found[room.key].conversation_id
        while True:
            page = await history(channel.db, room.conversation_id, since=self.seq)
            for message in page:
                await self._say(frames.msg(message, room.key))
                self.seq = message.seq
            if len(page) < HISTORY_PAGE:
                break
        while self.changes < self.changes_due:
            news = await changed(channel.db, room.conversation_id, since=self.changes)
            for number, message in news:
                if message.deleted_at is not None or message.edited_at is not None:
                    await self._say(frames.change(number, message))
                self.changes = number
            if not news:
                break
        if page and page[-1].inbound and page[-1].parts and page[-1].created_at > channel.now() - TYPING_FOR:
            # The last word is the person's, so an answer is being made.
            await self._say({"type": "typing"})

    async def _say(self, frame: dict[str, Any]) -> None:
        """Send one frame; a browser that is gone is noticed by the reading loop, one that does not read is cut off."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._connection.send_frame(orjson.dumps(frame), WSMsgType.TEXT)
        except TimeoutError:
            log.info("web.slow_reader", waited_s=SEND_TIMEOUT_S)
            if self._transport:
                self._transport.abort()
        except ConnectionError:
            return


def _message_id(message: OutboundMessage) -> str:
    return f"{message.conversation_id}:{message.seq}"
