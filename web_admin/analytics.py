"""What people ask for and what becomes of it: counted by day, channel, action and answer, from the turns. No words.

A day that is over does not change, so each is counted once while a process lives; a page counts anew only today.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from markupsafe import Markup
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import Database
from core.errors import UserError
from core.messages import ChannelName
from web_admin import auth, charts, words
from web_admin.rendering import Templates
from web_admin.turns import FALLBACKS

PERIODS = (7, 30, 90)
"""Days that can be looked at, today's included."""
CHUNK_DAYS = 10
"""Days counted in one statement, so that none takes long."""
OVER_AFTER = timedelta(hours=1)
"""How long after its midnight a day may still change: what waited is answered then."""
ACTIONS_SHOWN = 40
LABELS = 4
"""Days named under a chart; more would touch one another on a phone."""
NARROW = 16
"""Latencies are counted in steps of one sixteenth of a factor e, and so known to some three per cent."""

TURNS = text("""
SELECT (t.created_at AT TIME ZONE :zone)::date AS day, c.channel, count(*) AS turns,
       count(*) FILTER (WHERE t.state = 'dead') AS dead,
       count(*) FILTER (WHERE t.state NOT IN ('done', 'dead')) AS waiting,
       count(*) FILTER (WHERE t.state = 'done' AND (t.intent @> '{"messages": [{"held": "quota"}]}'
                                                    OR t.intent @> '{"messages": [{"held": "muted"}]}')) AS held
FROM turn t JOIN conversation c ON c.id = t.conversation_id
WHERE t.created_at >= :since AND t.created_at < :until
GROUP BY 1, 2
""")
LATENCIES = text("""
SELECT (t.created_at AT TIME ZONE :zone)::date AS day, c.channel,
       floor(:narrow * ln(greatest(1, extract(epoch FROM t.closed_at - t.created_at) * 1000)))::int AS bucket,
       count(*) AS turns
FROM turn t JOIN conversation c ON c.id = t.conversation_id
WHERE t.created_at >= :since AND t.created_at < :until AND t.state = 'done'
GROUP BY 1, 2, 3
""")
STEPS = text("""
SELECT (t.created_at AT TIME ZONE :zone)::date AS day, c.channel,
       coalesce(nullif(s.step ->> 'action', 'none'), s.step ->> 'guess', 'none') AS action,
       coalesce(s.step ->> 'answer', s.said ->> 'answer', '') AS answer,
       coalesce(s.said ->> 'parser', 'rules') AS parser,
       count(*) AS requests, coalesce(sum(s.tokens_in), 0)::bigint AS tokens_in,
       coalesce(sum(s.tokens_out), 0)::bigint AS tokens_out
FROM turn t
JOIN conversation c ON c.id = t.conversation_id
CROSS JOIN LATERAL (
    SELECT m.said, m.said AS step, CASE WHEN jsonb_typeof(m.said -> 'tokens_in') = 'number'
                                        THEN (m.said ->> 'tokens_in')::numeric END AS tokens_in,
           CASE WHEN jsonb_typeof(m.said -> 'tokens_out') = 'number' THEN (m.said ->> 'tokens_out')::numeric END
           AS tokens_out
    FROM jsonb_array_elements(t.intent -> 'messages') AS m(said)
    WHERE NOT m.said ? 'held'
    UNION ALL
    SELECT m.said, n.step, NULL, NULL
    FROM jsonb_array_elements(t.intent -> 'messages') AS m(said)
    CROSS JOIN LATERAL jsonb_array_elements(m.said -> 'then') AS n(step)
    WHERE jsonb_typeof(m.said -> 'then') = 'array'
) s
WHERE t.created_at >= :since AND t.created_at < :until AND jsonb_typeof(t.intent -> 'messages') = 'array'
GROUP BY 1, 2, 3, 4, 5
""")


@dataclass(frozen=True, slots=True)
class AnalyticsQuery:
    """What is looked at; the whole of it is in the address."""

    days: int = PERIODS[0]
    channel: ChannelName | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; raises UserError with a sentence for values that mean nothing."""
        days, channel = query.get("days", str(PERIODS[0])), query.get("channel", "")
        if days not in map(str, PERIODS):
            raise UserError("The last 7, 30 or 90 days can be looked at: days=7, days=30 or days=90.")
        if channel and channel not in set(ChannelName):
            raise UserError(f"There is no channel of that name. Choose one of {', '.join(ChannelName)}.")
        return cls(int(days), ChannelName(channel) if channel else None)

    @property
    def filters(self) -> dict[str, str]:
        """The query without the period."""
        return {"channel": self.channel.value} if self.channel else {}


@dataclass(slots=True)
class Counted:
    """What was counted of one channel on one day, or of several of them together."""

    turns: int = 0
    dead: int = 0
    waiting: int = 0
    held: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    """Answered turns by how long they took, in buckets (see NARROW)."""
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by action and answer."""
    parsers: Counter[str] = field(default_factory=Counter)
    """Requests by what read them."""
    tokens_in: Counter[str] = field(default_factory=Counter)
    tokens_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counted") -> None:
        """Count both together."""
        self.turns += other.turns
        self.dead += other.dead
        self.waiting += other.waiting
        self.held += other.held
        for mine, theirs in (
            (self.parsers, other.parsers), (self.tokens_in, other.tokens_in), (self.tokens_out, other.tokens_out),
        ):  # fmt: skip
            mine.update(theirs)
        self.latencies.update(other.latencies)
        self.requests.update(other.requests)

    @property
    def unanswered(self) -> int:
        """Turns that got no answer: dead, waiting, or held back."""
        return self.dead + self.waiting + self.held

    @property
    def asked(self) -> int:
        """Requests of all kinds."""
        return self.requests.total()

    @property
    def fallbacks(self) -> int:
        """Requests of those for whom nothing was done."""
        return sum(count for (_, answer), count in self.requests.items() if answer in FALLBACKS)

    def answers(self, answer: str) -> int:
        """Requests that were answered so."""
        return sum(count for (_, was), count in self.requests.items() if was == answer)

    def latency(self, share: float) -> timedelta | None:
        """How long the given share of answered turns took at most; None without any."""
        left = share * self.latencies.total()
        for bucket, count in sorted(self.latencies.items()):
            left -= count
            if left <= 0:
                return timedelta(milliseconds=math.exp((bucket + 0.5) / NARROW))
        return None


Days = dict[date, dict[str, Counted]]
"""What was counted, by day and channel."""


class Analytics:
    """Counts and renders."""

    def __init__(self, db: Database, zone: ZoneInfo, templates: Templates, now: Callable[[], datetime]) -> None:
        """In the deployment's zone, with the clock given."""
        self._db, self._zone, self._templates, self._now = db, zone, templates, now
        self._over: Days = {}
        self._lock = asyncio.Lock()

    async def page(self, staff: auth.Staff, query: AnalyticsQuery) -> Markup:
        """The whole page."""
        now = self._now()
        today = now.astimezone(self._zone).date()
        days = [today - timedelta(days=back) for back in reversed(range(query.days))]
        counted = await self._count(days, now)
        by_day: dict[date, Counted] = {}
        by_channel: dict[str, Counted] = {}
        whole = Counted()
        for day in days:
            by_day[day] = Counted()
            for channel, one in counted.get(day, {}).items():
                if query.channel is not None and channel != query.channel:
                    continue
                by_day[day].add(one)
                by_channel.setdefault(channel, Counted()).add(one)
                whole.add(one)
        return self._templates.render(
            "analytics.html",
            section="analytics",
            staff=staff,
            query=query,
            periods=PERIODS,
            channels=tuple(ChannelName),
            whole=whole,
            days=[(words.day(_noon(day, self._zone), self._zone, now), one) for day, one in by_day.items()],
            by_channel=sorted(by_channel.items(), key=lambda pair: -pair[1].turns),
            turns_chart=self._chart("Turns per day", by_day, lambda one: one.turns),
            fallback_chart=self._chart("Requests per day for which nothing was done", by_day, _fallbacks),
            actions=_actions(whole)[:ACTIONS_SHOWN],
            answers=[(state, whole.answers(answer)) for answer, state in words.ANSWERS.items()],
        )

    def _chart(self, title: str, by_day: Mapping[date, Counted], value: Callable[[Counted], int]) -> Markup:
        bars = [charts.Bar(f"{day.day} {day:%b}", value(one)) for day, one in by_day.items()]
        return charts.bars(title, bars, every=math.ceil(len(bars) / LABELS), newest="today")

    async def _count(self, days: Sequence[date], now: datetime) -> Days:
        """What was counted on each of these days, which follow one another."""
        async with self._lock:
            missing = [day for day in days if day not in self._over]
            found: Days = {}
            while missing:
                chunk, missing = missing[:CHUNK_DAYS], missing[CHUNK_DAYS:]
                async with self._db.transaction() as session:
                    fresh = await count(session, chunk[0], chunk[-1], self._zone)
                for day in chunk:
                    found[day] = fresh.get(day, {})
                    if now - _midnight(day + timedelta(days=1), self._zone) > OVER_AFTER:
                        self._over[day] = found[day]
            kept_since = days[-1] - timedelta(days=PERIODS[-1])
            self._over = {day: one for day, one in self._over.items() if day >= kept_since}
            return {day: found[day] if day in found else self._over[day] for day in days}


async def count(session: AsyncSession, first: date, last: date, zone: ZoneInfo) -> Days:
    """What there is from the first of these days to the last, in the zone."""
    given = {
        "zone": zone.key, "since": _midnight(first, zone), "until": _midnight(last + timedelta(days=1), zone),
    }  # fmt: skip
    found: Days = {}

    def of(day: date, channel: str) -> Counted:
        return found.setdefault(day, {}).setdefault(channel, Counted())

    for row in await session.execute(TURNS, given):
        one = of(row.day, row.channel)
        one.turns, one.dead, one.waiting, one.held = row.turns, row.dead, row.waiting, row.held
    for row in await session.execute(LATENCIES, given | {"narrow": NARROW}):
        of(row.day, row.channel).latencies[row.bucket] += row.turns
    for row in await session.execute(STEPS, given):
        one = of(row.day, row.channel)
        one.requests[row.action, row.answer] += row.requests
        one.parsers[row.parser] += row.requests
        one.tokens_in[row.parser] += row.tokens_in
        one.tokens_out[row.parser] += row.tokens_out
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """One action, how often it was asked for, and what became of that."""

    action: str
    asked: int
    ran: int
    open: int
    """Asked for more, or shown to be confirmed."""
    unsure: int
    not_here: int
    failed: int
    """The service did not answer, a limit was reached, or it could not be done so."""


def _actions(whole: Counted) -> list[Wanted]:
    """What was asked for, the most frequent first; what nothing was made of is left out."""
    found: dict[str, Counter[str]] = {}
    for (action, answer), number in whole.requests.items():
        if action != "none":
            found.setdefault(action, Counter())[answer] += number
    wanted = [
        Wanted(
            action, answers.total(), answers["ran"], answers["asked"] + answers["confirm"], answers["did_you_mean"],
            answers["not_here"], answers["failed"] + answers["limited"] + answers["refused"],
        )
        for action, answers in found.items()
    ]  # fmt: skip
    return sorted(wanted, key=lambda one: (-one.asked, one.action))


def _fallbacks(one: Counted) -> int:
    return one.fallbacks


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _noon(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(12), zone)
