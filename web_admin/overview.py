"""The overview: what needs somebody, today's figures, and how the servers are."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from markupsafe import Markup

from core.db import Database
from core.health import Health
from web_admin import auth, charts, queries, words
from web_admin.live import SignedOut, Update
from web_admin.queries import HOURS, Counts, Hour, Hours
from web_admin.rendering import Templates
from web_admin.words import State, Tone, number, plural

log = structlog.get_logger()

HEALTH_LIMIT_S = 2.0
LATE_AFTER = timedelta(minutes=1)
"""A message unsent for longer than this is worth a sentence."""
SERVERS = {"postgres": "PostgreSQL", "valkey": "Valkey", "temporal": "Temporal"}

AskHealth = Callable[[], Awaitable[Mapping[str, Health]]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that needs a person: one sentence, and where to look."""

    words: str
    tone: Tone
    href: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A state, how many are in it, and what to know about it."""

    state: State
    count: int
    more: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server as it is named to people, and how it is."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The insides of the page, and the version that names them."""

    html: Markup
    version: str


class Overview:
    """Reads and renders the overview, at most once in `fresh_s` seconds however many are looking."""

    def __init__(
        self,
        db: Database,
        zone: ZoneInfo,
        health: AskHealth,
        templates: Templates,
        now: Callable[[], datetime],
        fresh_s: float,
    ) -> None:
        """`health` tells how each server is; it is given HEALTH_LIMIT_S."""
        self._db, self._zone, self._health, self._templates, self._now = db, zone, health, templates, now
        self._fresh_s = fresh_s
        self._hours = Hours(zone)
        self._lock = asyncio.Lock()
        self._last: tuple[float, Rendered] | None = None

    async def render(self) -> Rendered:
        """The page as it is now, or was less than `fresh_s` ago."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._last is None or loop.time() - self._last[0] >= self._fresh_s:
                self._last = loop.time(), await self._read()
            return self._last[1]

    async def look(self, staff: auth.Staff, seen: str) -> Update | None:
        """What is new for a stream of this page."""
        async with self._db.transaction() as session:
            if not await auth.still_in(session, staff):
                raise SignedOut
        rendered = await self.render()
        return None if rendered.version == seen else Update(rendered.version, (("overview", rendered.html),))

    async def _read(self) -> Rendered:
        servers = await self._servers()
        now = self._now()
        async with self._db.transaction() as session:
            counts = await queries.counts(session)
            hours = await self._hours.read(session, now)
        html = self._templates.render("overview_body.html", **self._values(counts, hours, servers, now))
        return Rendered(html, hashlib.sha256(html.encode()).hexdigest()[:16])

    async def _servers(self) -> list[Server]:
        try:
            async with asyncio.timeout(HEALTH_LIMIT_S):
                found = await self._health()
        except TimeoutError:
            found = {name: Health(False, "did not answer in time") for name in SERVERS}
        return [Server(SERVERS.get(name, name.capitalize()), state.ok, state.detail) for name, state in found.items()]

    def _values(
        self, counts: Counts, hours: Sequence[Hour], servers: Sequence[Server], now: datetime
    ) -> dict[str, Any]:
        midnight = queries.midnight_of(now, self._zone)
        today = [hour for hour in hours if hour.start >= midnight]
        shown = hours[-HOURS:]
        total = sum(hour.total for hour in shown)
        labels = [words.clock(hour.start, self._zone) for hour in shown]
        return {
            "counts": counts,
            "today_in": sum(hour.inbound for hour in today),
            "today_out": sum(hour.outbound for hour in today),
            "next_hour": words.clock(now + timedelta(hours=1), self._zone),
            "troubles": troubles(counts, servers, self._zone, now),
            "outbox": outbox_lines(counts),
            "runs": run_lines(counts),
            "servers": servers,
            "hours_total": total,
            "hours": [
                {"label": label, "inbound": hour.inbound, "outbound": hour.outbound}
                for label, hour in zip(labels, shown, strict=True)
            ],
            "chart": charts.bars(
                f"Messages per hour in the last 24 hours: {number(total)} in all, "
                f"at most {number(max(hour.total for hour in shown))} in an hour",
                [charts.Bar(label, hour.total) for label, hour in zip(labels, shown, strict=True)],
            ),
        }


def troubles(counts: Counts, servers: Sequence[Server], zone: ZoneInfo, now: datetime) -> list[Trouble]:
    """What needs a person, the worst first. Pure."""
    where = {"href": "/admin/conversations?show=trouble", "link": "See which"}
    found = [Trouble(f"{server.name} is not well: {server.detail}.", "bad") for server in servers if not server.ok]
    if counts.refused:
        found.append(
            Trouble(
                f"{plural(counts.refused, 'message was', 'messages were')} refused in 24 hours.",
                "bad",
                **where,
            )
        )
    if counts.lost:
        found.append(
            Trouble(
                f"Of {plural(counts.lost, 'message', 'messages')} sent in 24 hours nobody knows whether it arrived.",
                "bad",
                **where,
            )
        )
    if counts.turns_dead:
        found.append(
            Trouble(
                f"{plural(counts.turns_dead, 'question', 'questions')} could not be answered in 24 hours.",
                "bad",
                **where,
            )
        )
    if counts.people_waiting:
        waiting = plural(counts.people_waiting, "person waits", "people wait")
        found.append(Trouble(f"{waiting} for a human.", "wait", "/admin/conversations?show=waiting", "See who"))
    if counts.runs_failed:
        found.append(Trouble(f"{plural(counts.runs_failed, 'workflow run')} failed in 24 hours.", "bad"))
    if counts.oldest_unsent is not None and now - counts.oldest_unsent > LATE_AFTER:
        since = words.when(counts.oldest_unsent, zone, now)
        found.append(Trouble(f"Messages have been waiting to be sent since {since}.", "wait"))
    if counts.runs_waiting:
        found.append(
            Trouble(
                f"{plural(counts.runs_waiting, 'workflow run waits', 'workflow runs wait')} for somebody's approval.",
                "wait",
            )
        )
    return found


def outbox_lines(counts: Counts) -> list[Line]:
    """The outbox by state. Pure."""
    unknown = [
        f"{number(counts.asking)} being asked after" if counts.asking else "",
        f"{number(counts.lost)} for you to check" if counts.lost else "",
    ]
    return [
        Line(State("Waiting to be sent", "wait" if counts.pending else "plain"), counts.pending),
        Line(State("Being sent", "wait" if counts.sending else "plain"), counts.sending),
        Line(
            State("Not known whether sent", "wait" if counts.asking + counts.lost else "plain"),
            counts.asking + counts.lost,
            ", ".join(filter(None, unknown)) or None,
        ),
        Line(State("Held until the person writes", "wait" if counts.held else "plain"), counts.held),
        Line(State("Refused in 24 hours", "bad" if counts.refused else "plain"), counts.refused),
    ]


def run_lines(counts: Counts) -> list[Line]:
    """Workflow runs by state. Pure."""
    return [
        Line(State("Asked for"), counts.runs_requested),
        Line(State("Running"), counts.runs_running),
        Line(State("Waiting for approval", "wait" if counts.runs_waiting else "plain"), counts.runs_waiting),
        Line(State("Done in 24 hours"), counts.runs_done),
        Line(State("Failed in 24 hours", "bad" if counts.runs_failed else "plain"), counts.runs_failed),
    ]
