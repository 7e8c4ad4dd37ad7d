"""Files of the web: taken from whoever has a chat open, and given back by links that expire.

Nothing here uses a cookie. An upload is proven by the visitor's token; a link is its own proof, so that a browser can
show a picture without one. What is not a picture, sound or film is only ever downloaded.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote, unquote
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from aiohttp import BodyPartReader, hdrs, web

from channels.web.frames import AWAY
from channels.web.origins import Origins
from core import sites
from core.conversations import reading
from core.db import Database
from core.errors import Erased, LimitReached, StoreUnavailable, UserError
from core.files import DAY_BYTES_MAX, PIECE_BYTES, FileGone, Files, StoredFile
from core.inbox import Inbox
from core.intake import keep
from core.language import Saying
from core.limits import UPLOADS, Limits, Whose, refusal
from core.mentions import SHARED, is_shared
from core.messages import Address, ChannelName
from core.rooms import Place, speaker
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX, SHOWN_INLINE, TOO_LARGE, FileRefused, sniff
from core.visitors import find_visitor

log = structlog.get_logger()

UPLOADS_AT_ONCE = 4
"""How many uploads a process holds in memory at a time; the next are asked to wait."""
BODY_S = 300.0
"""How long an upload may take to arrive."""
SILENCE_S = 20.0
"""How long it may say nothing."""
FORM_BYTES = 16 * 1024
"""What a form may have around its file."""
RETRY_S = 5
NAME_HEADER = "X-File-Name"

BUSY = Saying(
    "Many files are arriving just now. Try again in a moment.",
    "Faili nyingi zinaingia kwa sasa. Jaribu tena baada ya muda mfupi.",
)
NO_ROOM = Saying("There is no such room here.", "Hakuna chumba kama hicho hapa.")
OLD_LINK = Saying(
    "This link is not good any more. Open the chat again and take a new one.",
    "Kiungo hiki hakifanyi kazi tena. Fungua gumzo tena uchukue kipya.",
)
GONE = Saying("This file is gone.", "Faili hii haipo tena.")
NOT_KEPT = Saying("The file could not be kept. Send it again.", "Faili haikuweza kuhifadhiwa. Itume tena.")
SLOW = Saying("The file did not arrive in time. Try again.", "Faili haikufika kwa wakati. Jaribu tena.")
ENOUGH = Saying(
    "You have sent {most} MB within a day, which is all I take. Send more tomorrow.",
    "Umetuma MB {most} ndani ya siku, kiwango changu cha juu. Tuma nyingine kesho.",
).filled(most=DAY_BYTES_MAX // 2**20)

WHO = """
SELECT p.id, p.plan, coalesce(p.timezone, p.zone_guess) AS timezone
FROM identity i JOIN person p ON p.id = i.person_id WHERE i.id = $1
"""

_BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]{1,256})", re.IGNORECASE)
_RANGE = re.compile(r"bytes=([0-9]{1,12})?-([0-9]{1,12})?")


class _Refused(UserError):
    """An answer to an upload that is not taken."""

    def __init__(self, status: int, code: str, says: Saying | str, retry_s: int | None = None) -> None:
        super().__init__(says)
        self.status = status
        self.code = code
        self.retry_s = retry_s


class Uploads:
    """The routes of files."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        inbox: Inbox,
        files: Files,
        limits: Limits,
        origins: Origins,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._zone = settings.default_timezone
        self._db = db
        self._inbox = inbox
        self._files = files
        self._limits = limits
        self._origins = origins
        self._now = now
        self._places = asyncio.Semaphore(UPLOADS_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Upload, and download."""
        return [
            web.post("/upload-file/", self._upload),
            web.options("/upload-file/", self._preflight),
            web.get("/files/{id}", self._download),
        ]

    async def _preflight(self, request: web.Request) -> web.Response:
        headers = await self.cors(request) | {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "POST",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: f"Authorization, Content-Type, {NAME_HEADER}",
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        }
        return web.Response(status=204, headers=headers)

    async def _upload(self, request: web.Request) -> web.Response:
        """A file as a form's `file`, or as the whole body with its name, percent-encoded, in X-File-Name."""
        headers = await self.cors(request)
        try:
            file = await self._take(request)
        except _Refused as refused:
            told = refused.to(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
            body: dict[str, object] = {"error": {"code": refused.code, "message": told}}
            if refused.retry_s is not None:
                headers[hdrs.RETRY_AFTER] = str(refused.retry_s)
            response = web.json_response(body, status=refused.status, headers=headers)
            # What is still on its way is not read: the connection ends with the answer.
            response.force_close()
            return response
        return web.json_response(self._told(file), status=201, headers=headers)

    async def _take(self, request: web.Request) -> StoredFile:
        bearer = _BEARER.fullmatch(request.headers.get(hdrs.AUTHORIZATION, ""))
        if request.content_length is not None and request.content_length > FILE_BYTES_MAX + FORM_BYTES:
            raise _Refused(413, "too_large", TOO_LARGE)
        try:
            if hdrs.ORIGIN in request.headers and not await self._allows(request):
                raise _Refused(403, "origin", "This page may not send files here.")
            visitor = await find_visitor(self._db, bearer[1], None) if bearer else None
            if visitor is None:
                raise _Refused(401, "token", "Say hello first, and send the chat's token with the file.")
            if self._places.locked():
                raise _Refused(503, "busy", BUSY, RETRY_S)
            async with self._places:
                name, said, data = await _body(request)
                found = sniff(name, data, said)
                room = request.query.get("room")
                place = await self.place(visitor.site, visitor.id, f"{SHARED}{room}" if room else str(visitor.id))
                if place is None:
                    raise _Refused(404, "room", NO_ROOM)
                conversation_id, identity_id = place
                await self._admit(identity_id, len(data))
                return await keep(self._files, conversation_id, found, data, identity_id)
        except Erased as error:
            raise _Refused(401, "token", "Say hello first, and send the chat's token with the file.") from error
        except FileRefused as error:
            raise _Refused(413 if error.code == "too_large" else 422, error.code, error.says) from error
        except LimitReached as error:
            raise _Refused(429, "limit", error.says) from error
        except FileGone as error:
            raise _Refused(503, "unavailable", NOT_KEPT, RETRY_S) from error
        except StoreUnavailable as error:
            raise _Refused(503, "unavailable", AWAY, RETRY_S) from error

    async def place(self, site: str, visitor: UUID, room: str) -> tuple[UUID, UUID] | None:
        """The (conversation, identity) of a visitor in a room: their own, or a shared one that they are in."""
        if is_shared(room):
            found = await speaker(self._db, Place(site, visitor), room)
            return (found.conversation_id, found.member) if found and not found.muted else None
        return await self._inbox.meet(Address(ChannelName.WEB, site, room, room))

    async def _admit(self, identity_id: UUID, size: int) -> None:
        """Count one upload; raises LimitReached when a day's number or bytes are used up."""
        async with reading(self._db) as connection:
            who = await connection.fetchrow(WHO, identity_id)
        if await self._files.used(identity_id) + size > DAY_BYTES_MAX:
            raise LimitReached(ENOUGH)
        now, zone = self._now(), ZoneInfo(who["timezone"] or self._zone)
        verdict = await self._limits.take([UPLOADS], Whose(str(who["id"]), zone, who["plan"]), now)
        if not verdict.passed:
            raise refusal(verdict, now, zone)

    def _told(self, file: StoredFile) -> dict[str, object]:
        return {
            "id": str(file.id), "name": file.name, "media_type": file.media_type, "size": file.size,
            "width": file.width, "height": file.height, "url": self._files.link(file.id, self._now()),
        }  # fmt: skip

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """A file, or the range of it that was asked for."""
        try:
            ref = UUID(request.match_info["id"])
        except ValueError:
            raise web.HTTPNotFound from None
        language = request.headers.get(hdrs.ACCEPT_LANGUAGE, "")
        proof = request.query.get("proof", "")
        if not self._files.is_link(ref, request.query.get("until", ""), proof, self._now()):
            raise web.HTTPNotFound(text=OLD_LINK.to(language))
        try:
            found = await self._files.find([ref])
            if not found:
                raise FileGone
            return await self._give(request, found[0])
        except FileGone:
            raise web.HTTPNotFound(text=GONE.to(language)) from None
        except StoreUnavailable as away:
            raise web.HTTPServiceUnavailable(text=AWAY.to(language), headers={hdrs.RETRY_AFTER: str(RETRY_S)}) from away

    async def _give(self, request: web.Request, file: StoredFile) -> web.StreamResponse:
        start, end, status = 0, file.size, 200
        if found := _RANGE.fullmatch(request.headers.get(hdrs.RANGE, "")):
            first, last = found[1], found[2]
            if first is not None:
                start, end = int(first), min(int(last) + 1, file.size) if last is not None else file.size
            elif last is not None:
                start = max(file.size - int(last), 0)
            if (first, last) != (None, None):
                if start >= end:
                    raise web.HTTPRequestRangeNotSatisfiable(headers={hdrs.CONTENT_RANGE: f"bytes */{file.size}"})
                status = 206
        shown = "inline" if file.media_type in SHOWN_INLINE else "attachment"
        response = web.StreamResponse(
            status=status,
            headers={
                hdrs.CONTENT_TYPE: file.media_type,
                hdrs.CONTENT_LENGTH: str(end - start),
                hdrs.CONTENT_DISPOSITION: f"{shown}; filename*=UTF-8''{quote(file.name, safe='')}",
                hdrs.ACCEPT_RANGES: "bytes",
                hdrs.CACHE_CONTROL: "private, max-age=3600, immutable",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cross-Origin-Resource-Policy": "cross-origin",
                "Referrer-Policy": "no-referrer",
            },
        )
        if status == 206:
            response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{file.size}"
        pieces = self._files.pieces(file, start, end)
        # The first piece is read before anything is said: a file that is gone is a 404, not a broken answer.
        head = await anext(pieces, b"")
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        await response.write(head)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    async def _allows(self, request: web.Request) -> bool:
        """Whether the page is ours, or may embed any site's chat. Raises StoreUnavailable."""
        origins: list[str] = list(request.headers.getall(hdrs.ORIGIN, ()))
        if self._origins.allows(origins, request.scheme, request.host):
            return True
        return len(origins) == 1 and await sites.is_listed(self._db, origins[0])

    async def cors(self, request: web.Request) -> dict[str, str]:
        """What lets a page read the answer that is ours, or may embed any site's chat."""
        headers: dict[str, str] = {hdrs.VARY: "Origin", hdrs.CACHE_CONTROL: "no-store"}
        with suppress(StoreUnavailable):
            if await self._allows(request):
                headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        return headers


async def _body(request: web.Request) -> tuple[str, str, bytes]:
    """The file's name, its type as the sender says, and its bytes. Raises _Refused."""
    try:
        async with asyncio.timeout(BODY_S):
            if request.content_type != "multipart/form-data":
                name = unquote(request.headers.get(NAME_HEADER, "")[:1024], errors="replace")
                return name, request.headers.get(hdrs.CONTENT_TYPE, ""), await _read(request.content.read)
            async for part in await request.multipart():
                if isinstance(part, BodyPartReader) and part.name == "file":
                    name = part.filename or ""
                    return name[:1024], part.headers.get(hdrs.CONTENT_TYPE, ""), await _read(part.read_chunk)
                raise _Refused(400, "form", "Send the file as the form's first field, named file.")
    except TimeoutError as error:
        raise _Refused(408, "slow", SLOW) from error
    except (ValueError, AssertionError) as error:
        raise _Refused(400, "form", "The form cannot be read.") from error
    raise _Refused(400, "form", "Send the file as the form's first field, named file.")


async def _read(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    data = bytearray()
    while True:
        async with asyncio.timeout(SILENCE_S):
            chunk = await read(PIECE_BYTES // 4)
        if not chunk:
            return bytes(data)
        data += chunk
        if len(data) > FILE_BYTES_MAX:
            raise _Refused(413, "too_large", TOO_LARGE)
