"""Live pages: one event stream a page, looked after every tick, written to only when something changed.

A stream carries whole re-rendered parts of its page, which htmx morphs into place. What a browser has is named by the
version in the event's id; a browser that comes back with it gets nothing it already shows.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog
from aiohttp import ClientConnectionResetError, web
from markupsafe import Markup

from web_admin import words
from web_admin.auth import Staff
from web_admin.queries import is_busy
from web_admin.rendering import Templates

log = structlog.get_logger()

STREAMS_MAX = 64
STREAMS_PER_SESSION_MAX = 12
BEAT_S = 15.0
"""How long a stream may be silent; the beat finds out when a browser has vanished without a word."""
WRITE_LIMIT_S = 10.0
REST_SHARE = 10
"""A stream rests this many times as long as its last look took, so that a slow search cannot keep PostgreSQL busy."""
RETRY_MS = 1000
LONG_RETRY_MS = 30_000
UNKNOWN = "-"
"""The version of a page that no page has."""
VERSION = re.compile(r"[0-9a-f.-]{0,130}")
LINE_END = re.compile(r"\r\n|\r|\n")


class SignedOut(Exception):
    """The session that a stream began with is over."""


class TooManyStreams(Exception):
    """As many pages are open as we keep live at once."""


@dataclass(frozen=True, slots=True)
class Update:
    """What changed: the page's new version, and the new insides of elements by their ids."""

    version: str
    swaps: Sequence[tuple[str, Markup]]


class Source(Protocol):
    """A page that can be kept live."""

    async def look(self, staff: Staff, seen: str) -> Update | None:
        """What is new since version `seen`, None where nothing is; raises SignedOut."""
        ...


@dataclass(slots=True)
class Seat:
    """One open stream: `ended` is set when it must stop, `signed_out` says that it is for good."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    signed_out: bool = False


class Streams:
    """The open streams of this process, by session; bounded."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._seats: dict[bytes, list[Seat]] = {}

    @contextlib.contextmanager
    def seat(self, session: bytes) -> Iterator[Seat]:
        """Take a place for one stream; raises TooManyStreams."""
        own = self._seats.setdefault(session, [])
        if len(own) >= STREAMS_PER_SESSION_MAX or len(self) >= STREAMS_MAX:
            if not own:
                del self._seats[session]
            raise TooManyStreams
        seat = Seat()
        own.append(seat)
        try:
            yield seat
        finally:
            own.remove(seat)
            if not own:
                self._seats.pop(session, None)

    def __len__(self) -> int:
        return sum(len(seats) for seats in self._seats.values())

    def sign_out(self, session: bytes) -> None:
        """End the streams of a session at once; other processes find out at their next tick."""
        for seat in self._seats.get(session, ()):
            seat.signed_out = True
            seat.ended.set()

    def close(self) -> None:
        """End every stream: the process is stopping, and the browsers come back to the next one."""
        for seats in self._seats.values():
            for seat in seats:
                seat.ended.set()


@dataclass(frozen=True, slots=True)
class Live:
    """What streams need."""

    streams: Streams
    templates: Templates
    zone: ZoneInfo
    now: Callable[[], datetime]
    tick_s: float

    async def serve(self, request: web.Request, staff: Staff, source: Source) -> web.StreamResponse:
        """Keep one page live until the browser leaves, the session ends, or we stop."""
        seen = request.headers.get("Last-Event-ID") or request.query.get("seen", "")
        if not VERSION.fullmatch(seen):
            seen = ""
        with self.streams.seat(staff.token_hash) as seat:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
            await response.prepare(request)
            with contextlib.suppress(ClientConnectionResetError, ConnectionResetError, TimeoutError):
                try:
                    await self._follow(request, response, seat, staff, source, seen)
                except OSError:
                    raise
                except Exception as error:
                    # The answer has begun, so all that is left is to say it in the stream, and to end that.
                    reference = secrets.token_hex(4)
                    log.exception(
                        "admin.live_failed",
                        path=request.path,
                        reference=reference,
                        error=type(error).__name__,
                    )
                    await self._say(
                        response,
                        f"This page is not live: something broke. Reference {reference}.",
                        LONG_RETRY_MS,
                    )
        return response

    async def _follow(
        self,
        request: web.Request,
        response: web.StreamResponse,
        seat: Seat,
        staff: Staff,
        source: Source,
        seen: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        away = False
        # A browser that has gone leaves no transport; its place is free at the next tick, not at the next beat.
        while not seat.ended.is_set() and request.transport is not None:
            began = loop.time()
            try:
                update, away = await source.look(staff, seen), False
            except SignedOut:
                seat.signed_out = True
                break
            except Exception as error:
                if not is_busy(error):
                    raise
                update, began = None, loop.time()
                if not away:
                    away, seen = True, UNKNOWN
                    log.warning("admin.live_database_away")
                    at = words.clock(self.now(), self.zone)
                    await self._say(
                        response,
                        f"The database does not answer. This is from {at}; it goes on by itself.",
                        RETRY_MS,
                    )
            rest_s = max(self.tick_s, (loop.time() - began) * REST_SHARE)
            if update is not None:
                seen = update.version
                html = self.templates.render("update.html", notice=None, swaps=update.swaps)
                await self._send(response, event(html, version=seen))
                beat_at = loop.time() + BEAT_S
            elif loop.time() >= beat_at:
                await self._send(response, ": still here\n\n")
                beat_at = loop.time() + BEAT_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(seat.ended.wait(), rest_s)
        if seat.signed_out:
            await self._send(response, "event: signed-out\ndata: -\n\n")

    async def _say(self, response: web.StreamResponse, notice: str, retry_ms: int) -> None:
        """Show a sentence over the page. What the browser has is called unknown, so that the next update is whole."""
        html = self.templates.render("update.html", notice=notice, swaps=())
        await self._send(response, event(html, version=UNKNOWN, retry_ms=retry_ms))

    @staticmethod
    async def _send(response: web.StreamResponse, frame: str) -> None:
        async with asyncio.timeout(WRITE_LIMIT_S):
            await response.write(frame.encode("utf-8", "replace"))


def event(html: str, *, version: str, retry_ms: int = RETRY_MS) -> str:
    """One event of HTML. What the wire format takes for a line end starts a new data line, so text ends no event."""
    lines = "".join(f"data: {line}\n" for line in LINE_END.split(html))
    return f"id: {version}\nretry: {retry_ms}\n{lines}\n"
