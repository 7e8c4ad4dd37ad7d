"""The web socket: browsers say hello, send, and are told every message after the last one they have, in order.

A socket is in one room: its visitor's own, or a shared one that the visitor is in. The store is the truth. A send is
answered by the stored message coming back; a wake only says that there is something to read, and every open room is
compared with the store each RECHECK_S, so a lost wake is a delay, not a loss.
"""

import asyncio
import base64
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson
import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from channels.web import frames, pages
from channels.web.frames import (
    AWAY,
    Ack,
    BadFrame,
    Delete,
    Edit,
    Hello,
    Identify,
    Logout,
    Older,
    React,
    Said,
    Send,
    Typing,
)
from channels.web.origins import Origins
from channels.web.presence import SAY_EVERY_S, Presence
from channels.web.uploads import Uploads
from core import proof, rooms, sites
from core.changes import REACTIONS, Change, Kind
from core.conversations import HISTORY_PAGE, Standing, StoredMessage, before, changed, history, one, standings
from core.crypto import Forged, KeysMissing, Passing
from core.db import Database
from core.errors import StoreUnavailable
from core.files import Files
from core.inbox import Inbox, Received
from core.language import Saying, spoken
from core.limits import Limits
from core.mentions import SHARED, calls_bot, is_shared
from core.messages import Address, ChannelName, InboundMessage, Media, OutboundMessage, Part, Text, Voice
from core.rooms import Place, Roster
from core.settings import Settings
from core.sniff import SOUND
from core.visitors import create_visitor, end_token, ended, find_visitor, sign_in
from core.wake import Wakes

log = structlog.get_logger()

SITE = sites.DEFAULT
"""The site of our own pages, which is always there. A site is the account of its conversations."""
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
ROSTERS_S = 15.0
"""Who is in a shared room is read anew this often; a change of it is told at once by NOTIFY."""
SITES_S = 30.0
"""Which pages may open a site's chat is read anew this often; a change of it is told at once by NOTIFY."""
RECHECK_ROOMS = 1_000
"""How many rooms one statement compares with the store."""
RETRY_S = 2.0
"""What we ask a browser to wait when the store is away."""
TYPING_FOR = timedelta(seconds=60)
"""A message older than this is not being answered any more, as far as dots are concerned."""
OLDER_PAGE = 50
"""How many messages from before are told at once."""
OLDER_MAX = 20
"""How often one socket may ask for them in any MESSAGES_WINDOW_S."""
FANOUT = "mathia:web"
"""The Valkey channel that carries room ids between processes."""
ASIDE = "mathia:rooms"
"""The Valkey channel that carries what is worth nothing later: who is writing, reading, or coming and going."""
TYPING_EVERY_S = 2.0
"""How often the others are told that somebody writes."""
READ_EVERY_S = 1.0
"""How often read marks are written, all that moved at once."""
MURMURS_MAX = 64
"""What a socket has not been told of typing, reading, coming and going; the oldest is dropped."""
REMOVED = 4404
"""The code a socket is closed with when its visitor is in the room no more."""
UNLISTED = 4403
"""The code a socket is closed with when its page may not open the site's chat any more, or the site is gone."""
SIGNED_OUT = 4401
"""The code a socket is closed with when its browser has signed out."""
FANOUT_TIMEOUT_S = 0.5
FANOUT_PAUSE_S = 5.0
RECONNECT_S = 1.0


ERASED = Saying(
    "Everything that was written here is erased. Say hello without a token to begin anew.",
    "Yote yaliyoandikwa hapa yamefutwa. Anza gumzo jipya.",
)
UNKNOWN = Saying(
    "This chat is not known here any more. Say hello without a token.", "Gumzo hili halijulikani tena. Anza jipya."
)
NO_ROOM = Saying("There is no such room.", "Hakuna chumba kama hicho.")
MUTED = Saying(
    "You are muted for a while, so the others do not see what you write.",
    "Umenyamazishwa kwa muda, kwa hiyo wengine hawaoni unachoandika.",
)
NO_FILE = Saying("One of these files is not here. Choose it again.", "Mojawapo ya faili hizi haipo hapa. Ichague tena.")
TOO_MANY_PLACES = Saying(
    "This chat is open in too many places. Close one of them and try again.",
    "Gumzo hili limefunguliwa mahali pengi mno. Funga moja kisha ujaribu tena.",
)
NOT_ANSWERED = Saying(
    "The message that this answers is not in the room.", "Ujumbe unaojibiwa haumo kwenye chumba hiki."
)
NO_MESSAGE = Saying("There is no such message here.", "Hakuna ujumbe kama huo hapa.")
NOT_YOURS = Saying("Only whoever wrote a message can change it.", "Aliyeandika ujumbe tu ndiye anayeweza kuubadilisha.")
TOO_LATE = Saying("That message cannot be changed any more.", "Ujumbe huo hauwezi kubadilishwa tena.")
DELETED = Saying("That message was deleted.", "Ujumbe huo umefutwa.")
ONE_OF = Saying("Put one of these there: {emoji}", "Weka mojawapo ya hizi: {emoji}")
BUSY = Saying(
    "Many people are arriving just now. Try again in a moment.",
    "Watu wengi wanaingia kwa sasa. Jaribu tena baada ya muda mfupi.",
)
A_LOT = Saying("That was a lot at once. Wait a moment.", "Umetuma mengi kwa mara moja. Subiri kidogo.")


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
        files: Files,
        limits: Limits,
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
        self._pages = pages.Pages(settings, self._origins, db)
        self.files = files
        self._uploads = Uploads(settings, db, inbox, files, limits, self._origins, now=now)
        self._rooms: dict[str, Room] = {}
        self._left: dict[str, Room] = {}
        self._sockets: set[Socket] = set()
        self._presence = Presence(valkey)
        self._reads: dict[tuple[str, str, str], int] = {}
        self._drafts = Passing(db.keys, b"draft")
        self._telling: set[asyncio.Task[None]] = set()
        self._burst = settings.web_burst
        self._newcomers = Window(VISITORS_MAX, VISITORS_WINDOW_S)
        self._fanout_at = 0.0
        self._closing = False

    def routes(self) -> list[web.RouteDef]:
        """The socket, files, and the pages."""
        return [web.get("/ws", self._serve), *self._uploads.routes(), *self._pages.routes()]

    def link(self, ref: UUID) -> str:
        """Where a browser finds a file of ours."""
        return self.files.link(ref, self.now())

    async def cors(self, request: web.Request) -> dict[str, str]:
        """The headers that let a page read the answer which is ours, or may embed any site's chat."""
        return await self._uploads.cors(request)

    async def attached(
        self, room: str, visitor: UUID, ids: Sequence[str], *, voice: bool, site: str = SITE
    ) -> tuple[Part, ...]:
        """The files a visitor sends, which are their own uploads to this very room. Raises BadFrame.

        With `voice` the sounds among them are voice notes.
        """
        place = await self._uploads.place(site, visitor, room)
        found = await self.files.find([UUID(one) for one in ids]) if place else []
        if place is None or len(found) < len(ids) or any((f.conversation_id, f.identity_id) != place for f in found):
            raise BadFrame("files", NO_FILE)
        return tuple(
            Voice(media_type=file.media_type, ref=file.ref, size=file.size)
            if voice and file.media_type in SOUND
            else Media(
                media_type=file.media_type, ref=file.ref, filename=file.name, size=file.size,
                width=file.width, height=file.height,
            )
            for file in found
        )  # fmt: skip

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
                tasks.create_task(self._recheck_rosters(), name="web.rosters")
                tasks.create_task(self._recheck_sites(), name="web.sites")
                tasks.create_task(self._keep_reads(), name="web.reads")
                tasks.create_task(self._keep_presence(), name="web.presence")
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every socket with 1001; browsers come back by themselves and resume."""
        self._closing = True
        with suppress(StoreUnavailable):
            await self._write_reads()
        await asyncio.gather(*(socket.close() for socket in list(self._sockets)))

    async def tell(self, room: str) -> None:
        """Wake a room's sockets here at once, and in other processes when Valkey is there."""
        self._wake(room)
        await self._publish(FANOUT, room)

    def show_draft(self, room: str, text: str) -> None:
        """Show a private room what there is of an answer, here and in other processes; it is stored nowhere."""
        self._hear_draft(room, text)
        sealed = base64.b64encode(self._drafts.seal(room.encode(), text.encode())).decode()
        said = {"process": self._presence.process, "room": room, "kind": "draft", "sealed": sealed}
        task = asyncio.create_task(self._publish(ASIDE, orjson.dumps(said).decode()), name="web.draft")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _hear_draft(self, key: str, text: str) -> None:
        room = self._rooms.get(key)
        for socket in room.sockets if room is not None and not is_shared(key) else ():
            socket.murmur(frames.draft(text))

    async def tell_aside(self, room: str, kind: str, member: UUID, seq: int = 0) -> None:
        """Let the others in a shared room know what somebody does just now; it is stored nowhere.

        `kind` is "typing", "read" (up to `seq`), or "here" when they came or went.
        """
        said = {"process": self._presence.process, "room": room, "kind": kind, "member": str(member), "seq": seq}
        await self._hear_aside(room, kind, member, seq)
        await self._publish(ASIDE, orjson.dumps(said).decode())

    async def _publish(self, channel: str, words: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._fanout_at:
            return
        try:
            async with asyncio.timeout(FANOUT_TIMEOUT_S):
                await self._valkey.publish(channel, words)
        except (RedisError, OSError) as error:
            self._fanout_at = loop.time() + FANOUT_PAUSE_S
            log.warning("web.fanout_away", error=type(error).__name__, pause_s=FANOUT_PAUSE_S)

    def join(self, key: str, visitor: UUID, socket: "Socket", site: str = SITE) -> "Room":
        """Put a visitor's socket into a room; raises BadFrame when they have too many there."""
        room = self._rooms.get(key) or self._left.pop(key, None) or Room(key, self._burst, site)
        if sum(other.visitor == visitor for other in room.sockets) >= SOCKETS_PER_VISITOR:
            raise BadFrame("sockets", TOO_MANY_PLACES, retry_s=15.0)
        socket.visitor = visitor
        room.sockets.add(socket)
        room.version += 1
        self._rooms[key] = room
        return room

    def leave(self, room: "Room", socket: "Socket") -> None:
        """Take a socket out of its room; an empty room is remembered for a while."""
        room.sockets.discard(socket)
        if not room.sockets:
            self._rooms.pop(room.key, None)
            room.roster, room.here, room.page = None, set(), None
            self._left[room.key] = room
            if len(self._left) > ROOMS_REMEMBERED:
                del self._left[next(iter(self._left))]

    async def come(self, room: "Room", member: UUID) -> None:
        """Let a shared room know that somebody has opened it."""
        await self._look_who_is_here([room])
        await self.tell_aside(room.key, "here", member)

    async def go(self, room: "Room", visitor: UUID, member: UUID) -> None:
        """Let a shared room know that somebody has closed a socket, if it was their last here."""
        if any(other.visitor == visitor for other in room.sockets):
            return
        await self._presence.gone(room.key, member)
        await self.tell_aside(room.key, "here", member)

    def mark_read(self, room: str, visitor: UUID, seq: int, site: str = SITE) -> None:
        """Remember how far somebody has read; it is written within READ_EVERY_S."""
        key = site, room, str(visitor)
        self._reads[key] = max(seq, self._reads.get(key, 0))

    def sign_out(self, token: str) -> None:
        """Close whatever else is open here by a token that has ended: other tabs of the same browser."""
        for socket in [socket for socket in self._sockets if socket.token == token]:
            self.send_away(socket, SIGNED_OUT, b"signed out")

    def send_away(self, socket: "Socket", code: int = REMOVED, why: bytes = b"room") -> None:
        """Close the socket of somebody who may be here no more; nothing is told to it from now on."""
        if not socket.sent_away:
            socket.sent_away = True
            socket.closing = asyncio.create_task(socket.close(code, why), name="web.send_away")

    async def receive(
        self,
        room: str,
        visitor: UUID,
        cid: str,
        parts: tuple[Part, ...],
        reply_to: int | None,
        site: str = SITE,
        language: str | None = None,
        zone: str | None = None,
    ) -> Received:
        """Store a visitor's message; whoever calls then tells the room. Raises BadFrame or StoreUnavailable.

        In a shared room it is for the bot when it calls it by its name or answers what it said. `language` is what a
        new visitor is spoken with until they have written something that tells, `zone` what their browser's clock says.
        """
        to_bot = True
        if is_shared(room):
            speaker = await rooms.speaker(self.db, Place(site, visitor), room, reply_to=reply_to)
            if speaker is None:
                raise BadFrame("room", NO_ROOM, cid=cid)
            if speaker.muted:
                raise BadFrame("muted", MUTED, cid=cid)
            if not speaker.answers_message:
                raise BadFrame("reply_to", NOT_ANSWERED, cid=cid)
            to_bot = speaker.answers_bot or calls_bot(parts)
        [received] = await self.inbox.receive(
            [
                InboundMessage(
                    sender=Address(self.name, site, room, str(visitor)),
                    event_id=f"{frames.prefix(room, str(visitor))}{cid}",
                    parts=parts,
                    sent_at=self.now(),
                    language=language,
                    zone=zone,
                    reply_to=None if reply_to is None else str(reply_to),
                    to_bot=to_bot,
                )
            ]
        )
        if not received.is_kept:
            raise BadFrame("token", UNKNOWN, cid=cid)
        return received

    async def change(
        self, room: str, visitor: UUID, cid: str, seq: int, kind: Kind, parts: tuple[Part, ...] = (), site: str = SITE
    ) -> None:
        """Edit or delete a visitor's own message; the room is told. Raises BadFrame or StoreUnavailable."""
        start = frames.prefix(room, str(visitor))
        message = await self._message(room, visitor, cid, seq, site, speaks=kind == "edit")
        if message.event_id is None or not message.event_id.startswith(start):
            raise BadFrame("not_yours", NOT_YOURS, cid=cid)
        author = Address(self.name, site, room, str(visitor))
        done = await self.inbox.change(Change(author, f"{start}{cid}", kind, message.event_id, self.now(), parts))
        if done.new and done.state != "applied":
            # Deleted already, or so long ago that it is not looked for.
            raise BadFrame("too_late", TOO_LATE, cid=cid)
        await self.tell(room)

    async def react(
        self, room: str, visitor: UUID, cid: str, seq: int, emoji: str, *, on: bool, site: str = SITE
    ) -> None:
        """Put an emoji under a message, or take it back; the room is told. Raises BadFrame or StoreUnavailable."""
        message = await self._message(room, visitor, cid, seq, site, speaks=on)
        if message.deleted_at is not None:
            raise BadFrame("too_late", DELETED, cid=cid)
        author = Address(self.name, site, room, str(visitor))
        event_id = f"{frames.prefix(room, str(visitor))}{cid}"
        step: Literal["add", "take"] = "add" if on else "take"
        done = await self.inbox.change(
            Change(author, event_id, "reaction", "", self.now(), emoji=(emoji,), step=step, seq=seq)
        )
        if done.state == "refused":
            raise BadFrame("emoji", ONE_OF.filled(emoji=" ".join(REACTIONS)), cid=cid)
        await self.tell(room)

    async def _message(self, room: str, visitor: UUID, cid: str, seq: int, site: str, *, speaks: bool) -> StoredMessage:
        """A message that the visitor sees; whoever is muted does nothing that `speaks`. Raises BadFrame."""
        if is_shared(room):
            speaker = await rooms.speaker(self.db, Place(site, visitor), room)
            if speaker is None:
                raise BadFrame("room", NO_ROOM, cid=cid)
            if speaker.muted and speaks:
                raise BadFrame("muted", MUTED, cid=cid)
            conversation_id: UUID | None = speaker.conversation_id
        else:
            found = await standings(self.db, self.name, site, [room])
            conversation_id = found[room].conversation_id if room in found else None
        message = await one(self.db, conversation_id, seq) if conversation_id else None
        if message is None:
            raise BadFrame("message", NO_MESSAGE, cid=cid)
        return message

    def admit(self) -> None:
        """Count a new visitor; raises BadFrame when there were too many just now."""
        wait_s = self._newcomers.take()
        if wait_s:
            raise BadFrame("busy", BUSY, retry_s=wait_s)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        origins: list[str] = list(request.headers.getall("Origin", ()))
        ours = self._origins.allows(origins, request.scheme, request.host)
        try:
            listed = ours or (len(origins) == 1 and await sites.is_listed(self.db, origins[0]))
        except StoreUnavailable as away:
            raise web.HTTPServiceUnavailable(text=str(away), headers={"Retry-After": "2"}) from away
        if not listed:
            raise web.HTTPForbidden(
                text="This page may not open a chat here. Add its origin to its site on the admin page Widget or to"
                " WIDGET_ORIGINS, or open the chat at PUBLIC_URL."
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
        language = request.headers.get("Accept-Language", "")
        socket = Socket(self, connection, request.transport, None if ours else origins[0], language)
        self._sockets.add(socket)
        try:
            await socket.run()
            if socket.closing:
                # Whoever returns from here would close it with another code.
                await socket.closing
        finally:
            self._sockets.discard(socket)
            if socket.room:
                self.leave(socket.room, socket)
                if socket.member is not None and socket.visitor is not None:
                    await self.go(socket.room, socket.visitor, socket.member)
        return connection

    def _wake(self, key: str) -> None:
        room = self._rooms.get(key)
        if room:
            room.version += 1
        for socket in room.sockets if room else ():
            socket.news.set()

    async def _hear_aside(self, key: str, kind: str, member: UUID, seq: int) -> None:
        """Tell the room's sockets here, but not the one who did it."""
        room = self._rooms.get(key)
        if room is None or room.roster is None:
            return
        if kind == "here":
            await self._look_who_is_here([room])
            return
        frame = frames.typing(member, room.roster) if kind == "typing" else frames.read(member, seq)
        for socket in room.sockets:
            if socket.member not in (None, member) and not socket.sent_away:
                socket.murmur(frame)

    async def _look_who_is_here(self, looked: "Collection[Room]") -> None:
        """Say who is here by us, learn who is here at all, and tell the rooms where that is news."""
        here = await self._presence.here({room.key: room.members for room in looked})
        for room in looked:
            if room.here != here[room.key]:
                room.here = here[room.key]
                for socket in room.sockets:
                    if socket.member is not None and not socket.sent_away:
                        socket.murmur(frames.presence(room.here))

    async def _keep_presence(self) -> None:
        while True:
            await asyncio.sleep(SAY_EVERY_S)
            await self._look_who_is_here([room for room in self._rooms.values() if room.shared])

    async def _keep_reads(self) -> None:
        while True:
            await asyncio.sleep(READ_EVERY_S)
            try:
                await self._write_reads()
            except StoreUnavailable:
                log.debug("web.reads_away")

    async def _write_reads(self) -> None:
        reads, self._reads = self._reads, {}
        try:
            for site in {site for site, _, _ in reads}:
                marks = [(room, who, seq) for (place, room, who), seq in reads.items() if place == site]
                await rooms.mark_read(self.db, site, marks)
        except StoreUnavailable:
            self._reads = {key: max(seq, self._reads.get(key, 0)) for key, seq in reads.items()} | {
                key: seq for key, seq in self._reads.items() if key not in reads
            }
            raise
        for (_, key, visitor), seq in reads.items():
            room = self._rooms.get(key)
            seat = room.roster.seat(visitor) if room and room.roster else None
            if seat is not None:
                await self.tell_aside(key, "read", seat.member, seq)

    async def _listen(self) -> None:
        task = asyncio.current_task()
        # The client can swallow a cancellation that comes together with an answer; the task remembers it.
        while task and not task.cancelling():
            try:
                async with self._valkey.pubsub() as subscription:
                    await subscription.subscribe(FANOUT, ASIDE)
                    while not task.cancelling():
                        message = await subscription.get_message(ignore_subscribe_messages=True, timeout=RECHECK_S)
                        if message is not None:
                            await self._heard(message)
            except (RedisError, OSError) as error:
                log.debug("web.fanout_unheard", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_S)

    async def _heard(self, message: dict[str, Any]) -> None:
        channel, data = map(_text, (message["channel"], message["data"]))
        if channel == FANOUT:
            self._wake(data)
            return
        try:
            said = orjson.loads(data)
            ours = said["process"] == self._presence.process
            if said["kind"] == "draft":
                sealed = base64.b64decode(said["sealed"])
                if not ours:
                    self._hear_draft(said["room"], self._drafts.open(said["room"].encode(), sealed).decode())
                return
            room, kind, member, seq = said["room"], said["kind"], UUID(said["member"]), int(said["seq"])
        except (ValueError, LookupError, TypeError, AttributeError, Forged):
            # Another version of ours said it; nothing depends on it.
            log.warning("web.aside_unreadable")
            return
        if not ours:
            await self._hear_aside(room, kind, member, seq)

    async def _recheck(self) -> None:
        while True:
            # A message that changed, here or in another process, wakes us at once; the rest is for lost wakes.
            await self._wakes.wait("message", RECHECK_S)
            for site in {room.site for room in self._rooms.values()}:
                keys = [room.key for room in self._rooms.values() if room.site == site]
                for start in range(0, len(keys), RECHECK_ROOMS):
                    try:
                        found = await standings(self.db, self.name, site, keys[start : start + RECHECK_ROOMS])
                    except StoreUnavailable:
                        log.debug("web.recheck_away")
                        break
                    for key in keys[start : start + RECHECK_ROOMS]:
                        if key in found:
                            self._compare(key, found[key])
                        else:
                            self._look_whether_erased(key)

    def _compare(self, key: str, standing: Standing) -> None:
        room = self._rooms.get(key)
        if room:
            room.version += 1
        for socket in room.sockets if room else ():
            if socket.seq < standing.seq or socket.changes < standing.changes:
                socket.news.set()
            socket.changes_due = standing.changes

    def _look_whether_erased(self, key: str) -> None:
        """Send everybody away from a room that was written in and is not there any more: its visitor was erased."""
        room = self._rooms.get(key)
        if room is None or room.conversation_id is None or room.shared:
            return
        for socket in room.sockets:
            if not socket.sent_away:
                socket.sent_away = True
                socket.closing = asyncio.create_task(socket.part(), name="web.erased")

    async def _recheck_rosters(self) -> None:
        """See who is in the shared rooms that are open here; whoever was removed is sent away at once."""
        while True:
            await self._wakes.wait("room", ROSTERS_S)
            shared = [room for room in self._rooms.values() if room.shared]
            for site in {room.site for room in shared}:
                await self._read_rosters(site, [room.key for room in shared if room.site == site])

    async def _recheck_sites(self) -> None:
        """See which sites are open here; who comes from a page that may not open its site any more is sent away."""
        while True:
            await self._wakes.wait("site", SITES_S)
            for key in {room.site for room in self._rooms.values()}:
                try:
                    site = await sites.find_site(self.db, key)
                except StoreUnavailable:
                    log.debug("web.recheck_away")
                    break
                for socket in [socket for socket in self._sockets if socket.room and socket.room.site == key]:
                    if not socket.may_open(site):
                        self.send_away(socket, UNLISTED, b"site")
            await self._recheck_tokens()

    async def _recheck_tokens(self) -> None:
        """See whose token has ended meanwhile, by another process."""
        tokens = list({socket.token for socket in self._sockets if socket.token})
        for start in range(0, len(tokens), RECHECK_ROOMS):
            try:
                gone = await ended(self.db, tokens[start : start + RECHECK_ROOMS])
            except StoreUnavailable:
                log.debug("web.recheck_away")
                return
            for token in gone:
                self.sign_out(token)

    async def _read_rosters(self, site: str, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), RECHECK_ROOMS):
            try:
                found = await rooms.rosters(self.db, site, keys[start : start + RECHECK_ROOMS])
            except StoreUnavailable:
                log.debug("web.recheck_away")
                return
            for key, roster in found.items():
                room = self._rooms.get(key)
                if room is not None:
                    self.seat(room, roster)

    def seat(self, room: "Room", roster: Roster) -> None:
        """Take in who is in a shared room: those who are not leave, the others are told what is new."""
        is_news = room.roster is not None and _seen(room.roster) != _seen(roster)
        room.roster = roster
        for socket in room.sockets:
            if socket.member is None or socket.sent_away:
                continue
            if roster.seat(str(socket.visitor)) is None:
                self.send_away(socket)
            elif is_news:
                socket.murmur(frames.room(room.key, roster, str(socket.visitor)))


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
    """A room's open sockets in this process, and what they share."""

    def __init__(self, key: str, burst: int, site: str) -> None:
        self.key = key
        self.site = site
        self.shared = is_shared(key)
        self.sockets: set[Socket] = set()
        self.conversation_id: UUID | None = None
        self.version = 0
        """How often it may have changed; a page that was read before it did is read again."""
        self.roster: Roster | None = None
        """Of a shared room, once somebody is in it."""
        self.here: set[UUID] = set()
        self._burst = burst
        self._bursts: dict[UUID, Window] = {}
        self._reading = asyncio.Lock()
        self.page: tuple[int, int, list[StoredMessage]] | None = None
        """What was read last, for sockets that are as far: words, which nobody keeps once all sockets are gone."""

    @property
    def members(self) -> set[UUID]:
        """Who has it open by this process."""
        return {socket.member for socket in self.sockets if socket.member is not None and not socket.sent_away}

    def take(self, visitor: UUID) -> float:
        """Count a message of a visitor, as Window does."""
        return self._bursts.setdefault(visitor, Window(self._burst, MESSAGES_WINDOW_S)).take()

    async def read(self, channel: WebChannel, conversation_id: UUID, since: int) -> list[StoredMessage]:
        """The page after number `since`, read once for all sockets that are as far; also who may read it."""
        async with self._reading:
            version = self.version
            if self.page is None or self.page[:2] != (since, version):
                page = await history(channel.db, conversation_id, since=since)
                if self.shared:
                    # Later than the messages: whoever was removed before them is not told them.
                    present = await rooms.visitors(channel.db, self.site, self.key)
                    if self.roster is None or present != {seat.visitor for seat in self.roster.seats}:
                        found = await rooms.rosters(channel.db, self.site, [self.key])
                        channel.seat(self, found.get(self.key, NOBODY))
                self.page = since, version, page
            return self.page[2]


NOBODY = Roster("", (), ())


def _seen(roster: Roster) -> tuple[object, ...]:
    """What everybody in a room sees of it at once; read marks are told by themselves."""
    return roster.title, tuple((seat.member, seat.name, seat.role) for seat in roster.seats)


class Socket:
    """One open socket: a loop that reads frames, and, after hello, one that writes what the store has."""

    def __init__(
        self,
        channel: WebChannel,
        connection: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        origin: str | None,
        language: str,
    ) -> None:
        """`origin` is the page's, where a site has to list it; None for our own and those in the settings. `language`
        is the browser's own."""
        self.room: Room | None = None
        self.visitor: UUID | None = None
        self.member: UUID | None = None
        """Who the visitor is in a shared room."""
        self.sent_away = False
        self.closing: asyncio.Task[None] | None = None
        self.seq = 0
        self.changes = 0
        self.changes_due = 0
        """The numbers of the last change it was told of, and of the last one there is, as far as we know."""
        self.news = asyncio.Event()
        self._channel = channel
        self._connection = connection
        self._transport = transport
        self._writer: asyncio.Task[None] | None = None
        self._murmurs: deque[dict[str, Any]] = deque(maxlen=MURMURS_MAX)
        self._typed = Window(1, TYPING_EVERY_S)
        self._origin = origin
        self._language = language
        self._zone: str | None = None
        self.token = ""
        self._olders = Window(OLDER_MAX, MESSAGES_WINDOW_S)

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

    async def close(self, code: int = WSCloseCode.GOING_AWAY, why: bytes = b"restarting") -> None:
        """Send the browser away; by default for it to come back."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await self._connection.close(code=code, message=why)

    async def part(self) -> None:
        """Tell the browser that its visitor is erased, so that it begins as somebody new; then send it away."""
        await self._say(frames.error(BadFrame("erased", ERASED), self._language))
        await self.close(SIGNED_OUT, b"erased")

    def may_open(self, site: sites.Look | None) -> bool:
        """Whether this page may open the chat of a site, which is there."""
        return site is not None and (self._origin is None or self._origin in site.origins)

    def murmur(self, frame: dict[str, Any]) -> None:
        """Tell the browser, in its turn, what nothing depends on."""
        self._murmurs.append(frame)
        self.news.set()

    async def _take(self, kind: WSMsgType, data: bytes) -> None:
        cid = None
        try:
            if kind is not WSMsgType.TEXT:
                raise BadFrame("bad_frame", "Frames are text; binary ones are not understood.")
            frame = frames.parse(data)
            if isinstance(frame, Send | Edit | Delete | React):
                cid = frame.cid
            await self._answer(frame)
        except BadFrame as bad:
            await self._say(frames.error(bad, self._language))
        except StoreUnavailable:
            await self._say(frames.error(BadFrame("unavailable", AWAY, retry_s=RETRY_S, cid=cid), self._language))

    async def _answer(self, frame: Said) -> None:
        match frame:
            case Hello() if self.room is None:
                await self._hello(frame)
            case Hello():
                raise BadFrame("hello", "You have said hello already.")
            case _ if self.room is None or self.visitor is None:
                cid = frame.cid if isinstance(frame, Send | Edit | Delete | React) else None
                raise BadFrame("hello", "Say hello first.", cid=cid)
            case Send():
                await self._receive(self.room, self.visitor, frame)
            case Edit():
                await self._change(self.room, self.visitor, frame, "edit", (Text(text=frame.text),))
            case Delete():
                await self._change(self.room, self.visitor, frame, "delete")
            case React():
                wait_s = self.room.take(self.visitor)
                if wait_s:
                    raise BadFrame("rate", A_LOT, retry_s=wait_s, cid=frame.cid)
                await self._channel.react(
                    self.room.key, self.visitor, frame.cid, frame.seq, frame.emoji, on=frame.on, site=self.room.site
                )
            case Typing():
                # Nobody on our side watches a person type in their own room.
                if self.member is not None and self._typed.take() == 0.0:
                    await self._channel.tell_aside(self.room.key, "typing", self.member)
            case Ack():
                # Nobody has read what they have not been told.
                self._channel.mark_read(self.room.key, self.visitor, min(frame.seq, self.seq), self.room.site)
            case Older():
                await self._older(self.room, frame.before)
            case Logout():
                await end_token(self._channel.db, self.token, self.room.site)
                self.sent_away = True
                self._channel.sign_out(self.token)
                await self._connection.close(code=SIGNED_OUT, message=b"signed out")

    async def _hello(self, hello: Hello) -> None:
        channel = self._channel
        self._language = hello.language or self._language
        self._zone = hello.zone
        site = await sites.find_site(channel.db, hello.site)
        if site is None:
            raise BadFrame("site", "There is no such site here. Check the site in mathiaSettings.")
        if not self.may_open(site):
            raise BadFrame("origin", "This page may not open this site's chat. Its owner can add its origin.")
        if hello.room is not None and hello.token is None:
            raise BadFrame("room", NO_ROOM)
        if hello.identity is not None:
            proven = await self._prove(site.key, hello.identity)
            if hello.token is None:
                channel.admit()
            visitor, token = await sign_in(channel.db, site.key, proven, hello.token, channel.now())
            standing = None
        elif hello.token is None:
            channel.admit()
            visitor, token = await create_visitor(channel.db, hello.site)
            standing = None
        else:
            found = await find_visitor(channel.db, hello.token, hello.site)
            if found is None:
                raise BadFrame("token", UNKNOWN)
            visitor, token = found, hello.token
        key = str(visitor.id)
        speaker = None
        if hello.room is not None:
            key = f"{SHARED}{hello.room}"
            speaker = await rooms.speaker(channel.db, Place(site.key, visitor.id), key)
            if speaker is None:
                raise BadFrame("room", NO_ROOM)
        if hello.token is not None or hello.identity is not None:
            standing = (await standings(channel.db, channel.name, site.key, [key])).get(key)
        room = channel.join(key, visitor.id, self, site.key)
        self.token = token
        self.room = room
        if speaker is not None:
            # Looked up again now that we would be sent away: whoever was removed meanwhile is not in.
            roster = (await rooms.rosters(channel.db, site.key, [key])).get(key, NOBODY)
            self.member = speaker.member
            channel.seat(room, roster)
            if self.sent_away:
                return
        # A browser that has more than the store (an older backup was restored) starts from the beginning.
        seq, changes = (standing.seq, standing.changes) if standing else (0, 0)
        self.seq = hello.since if hello.since <= seq else 0
        from_nothing = self.seq == 0
        if from_nothing and hello.last is not None:
            self.seq = max(0, seq - hello.last)
        # Whoever starts from the beginning reads every message as it is now.
        self.changes = changes if from_nothing else min(hello.changes, changes)
        self.changes_due = changes
        await self._say(frames.welcome(token, room.key, seq, changes, room.roster, str(visitor.id), self.seq))
        self.news.set()
        self._writer = asyncio.create_task(self._write(room), name="web.write")
        if self.member is not None:
            await channel.come(room, self.member)

    async def _prove(self, site: str, said: Identify) -> proof.Proven:
        """Who the page's visitor is; raises BadFrame where that is not proved, and nothing has changed then."""
        channel = self._channel
        claim = proof.Claim(said.user_id, said.hash, said.jwt, said.name, said.email)
        try:
            return proof.prove(claim, await sites.identity_secrets(channel.db, site, channel.now()), channel.now())
        except proof.NotProven as wrong:
            log.info("web.identity_refused", site=site)
            raise BadFrame("identity", str(wrong)) from wrong
        except (KeysMissing, Forged) as missing:
            log.warning("web.identity_secret_unreadable", site=site)
            raise BadFrame("identity", "This site's identity secret cannot be read just now.") from missing

    async def _older(self, room: Room, seq: int) -> None:
        """What was said before a message, for whoever scrolls up."""
        wait_s = self._olders.take()
        if wait_s:
            raise BadFrame("rate", A_LOT, retry_s=wait_s)
        if room.conversation_id is None or self.sent_away:
            await self._say(frames.older((), more=False))
            return
        if self.member is not None:
            place = Place(room.site, self.visitor) if self.visitor else None
            if place is None or await rooms.speaker(self._channel.db, place, room.key) is None:
                raise BadFrame("room", NO_ROOM)
        page = await before(self._channel.db, room.conversation_id, seq=seq, limit=OLDER_PAGE)
        link = self._channel.link
        told = [frames.msg(message, room.key, str(self.visitor), room.roster, link) for message in reversed(page)]
        await self._say(frames.older(told, more=len(page) == OLDER_PAGE))

    async def _receive(self, room: Room, visitor: UUID, send: Send) -> None:
        wait_s = room.take(visitor)
        if wait_s:
            raise BadFrame("rate", A_LOT, retry_s=wait_s, cid=send.cid)
        parts: tuple[Part, ...] = (Text(text=send.text),) if send.text.strip() else ()
        if send.files:
            try:
                files = list(dict.fromkeys(send.files))
                parts += await self._channel.attached(room.key, visitor, files, voice=send.voice, site=room.site)
            except BadFrame as bad:
                raise bad.about(send.cid) from bad
        received = await self._channel.receive(
            room.key, visitor, send.cid, parts, send.reply_to, room.site, spoken(self._language), self._zone
        )
        room.conversation_id = received.conversation_id
        if not received.new and received.seq <= self.seq:
            await self._again(received.conversation_id, room, received.seq)
        await self._channel.tell(room.key)

    async def _change(
        self, room: Room, visitor: UUID, frame: Edit | Delete, kind: Kind, parts: tuple[Part, ...] = ()
    ) -> None:
        wait_s = room.take(visitor)
        if wait_s:
            raise BadFrame("rate", A_LOT, retry_s=wait_s, cid=frame.cid)
        await self._channel.change(room.key, visitor, frame.cid, frame.seq, kind, parts, room.site)

    async def _again(self, conversation_id: UUID, room: Room, seq: int) -> None:
        """Repeat one message to a browser that sent it again, although it was already told."""
        channel = self._channel
        for message in await history(channel.db, conversation_id, since=seq - 1, limit=1):
            await self._say(frames.msg(message, room.key, str(self.visitor), room.roster, channel.link))

    async def _write(self, room: Room) -> None:
        while True:
            await self.news.wait()
            self.news.clear()
            while self._murmurs and not self.sent_away:
                await self._say(self._murmurs.popleft())
            try:
                await self._catch_up(room)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                self.news.set()

    async def _catch_up(self, room: Room) -> None:
        channel = self._channel
        if room.conversation_id is None:
            found = await standings(channel.db, channel.name, room.site, [room.key])
            if room.key not in found:
                return
            room.conversation_id = found[room.key].conversation_id
        while True:
            page = await room.read(channel, room.conversation_id, self.seq)
            if self.sent_away:
                return
            for message in page:
                await self._say(frames.msg(message, room.key, str(self.visitor), room.roster, channel.link))
                self.seq = message.seq
            if len(page) < HISTORY_PAGE:
                break
        while self.changes < self.changes_due:
            news = await changed(channel.db, room.conversation_id, since=self.changes)
            for number, kind, message in news:
                if kind == "reaction":
                    await self._say(frames.reactions(number, message, str(self.visitor), room.roster))
                elif frames.is_shown(message):
                    await self._say(frames.change(number, message, channel.link))
                self.changes = number
            if not news:
                break
        last = page[-1] if page else None
        if last and last.inbound and last.to_bot and last.parts and last.created_at > channel.now() - TYPING_FOR:
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


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _message_id(message: OutboundMessage) -> str:
    return f"{message.conversation_id}:{message.seq}"
