"""Limits: how much of something a person or an address may use in a window, counted atomically in Valkey.

Counting is two short scripts on the client we have, not a library: a whole batch of turns is counted in the round trip
that loads its dialog states, a call that meets several limits is counted by all of them or by none, and a call that is
tried again is decided once. Nothing here is owed to anybody: a Valkey that forgets only starts the windows anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from core.errors import LimitReached
from core.group_commit import GroupCommit
from core.language import Saying

log = structlog.get_logger()

DAY_KEPT_S = 3 * 86_400
"""How long a day's counter is kept: longer than any one date lasts anywhere on earth."""
CALL_KEPT_S = 3_600
"""How long it is remembered whether a call was let through; a turn is tried again within minutes."""
LOCAL_MAX = 10_000
"""How many counters a process keeps by itself while Valkey is away."""

Window = Literal["minute", "hour", "day"]
Scope = Literal["person", "address"]
SECONDS = {"minute": 60, "hour": 3_600}


@dataclass(frozen=True, slots=True)
class Limit:
    """A named limit. `told` is what a person reads, by language, with {count} and {when}; {when} names the reset.

    `closed` limits let nothing through while Valkey is away; the others are then counted by each process alone.
    Those with `by_plan` are multiplied by the factor of the person's plan.
    """

    name: str
    count: int
    window: Window
    scope: Scope
    title: Mapping[str, str]
    told: Mapping[str, str]
    closed: bool = False
    by_plan: bool = True


MESSAGES = Limit(
    "messages", 1_000, "day", "person", {"en": "Messages", "sw": "Ujumbe"},
    {"en": "You have sent {count} messages today, which is all I can answer in a day. I will answer again {when}.",
     "sw": "Umetuma ujumbe {count} leo, kiwango changu cha siku. Nitajibu tena {when}."},
)  # fmt: skip
CALLS = Limit(
    "calls", 100, "hour", "person", {"en": "Requests", "sw": "Maombi"},
    {"en": "You have asked for {count} things this hour, which is the most I do in one. Ask again {when}.",
     "sw": "Umeomba mambo {count} saa hii, kiwango cha juu. Omba tena {when}."},
)  # fmt: skip
PAID = Limit(
    "paid", 50, "day", "person", {"en": "Requests that cost us money", "sw": "Maombi ya kulipia"},
    {"en": "You have used all {count} requests of this kind for today. Ask again {when}.",
     "sw": "Umetumia maombi yote {count} ya aina hii kwa leo. Omba tena {when}."},
)  # fmt: skip
SEARCHES = Limit(
    "searches", 100, "day", "person", {"en": "Searches", "sw": "Utafutaji"},
    {"en": "You have used all {count} searches for today. Search again {when}.",
     "sw": "Umetumia utafutaji wote {count} wa leo. Tafuta tena {when}."},
)  # fmt: skip
UPLOADS = Limit(
    "uploads", 20, "day", "person", {"en": "Files", "sw": "Faili"},
    {"en": "You have sent {count} files today, which is all I take in a day. Send more {when}.",
     "sw": "Umetuma faili {count} leo, kiwango cha siku. Tuma nyingine {when}."},
)  # fmt: skip
VOICE = Limit(
    "voice", 30, "day", "person", {"en": "Voice notes", "sw": "Ujumbe wa sauti"},
    {"en": "You have sent {count} voice notes today, all that I listen to in a day. Write to me instead until {when}.",
     "sw": "Umetuma ujumbe wa sauti {count} leo, kiwango cha siku. Tafadhali niandikie hadi {when}."},
)  # fmt: skip
VOICE_S = Limit(
    "voice_s", 1_800, "day", "person", {"en": "Seconds of voice notes", "sw": "Sekunde za ujumbe wa sauti"},
    {"en": "You have spoken for {count} seconds today, all I listen to in a day. Write to me instead until {when}.",
     "sw": "Umezungumza kwa sekunde {count} leo, kiwango cha siku. Tafadhali niandikie hadi {when}."},
)  # fmt: skip
SIGN_IN = Limit(
    "sign_in", 10, "minute", "address", {"en": "Sign-in tries", "sw": "Majaribio ya kuingia"},
    {"en": "There were more than {count} tries from this address within a minute. Try again {when}.",
     "sw": "Kumekuwa na majaribio zaidi ya {count} kwa dakika moja. Jaribu tena {when}."},
    closed=True, by_plan=False,
)  # fmt: skip
API = Limit(
    "api", 60, "minute", "person", {"en": "API requests", "sw": "Maombi ya API"},
    {"en": "There were more than {count} requests of this kind within a minute. Try again {when}.",
     "sw": "Kumekuwa na maombi zaidi ya {count} ya aina hii kwa dakika moja. Jaribu tena {when}."},
    by_plan=False,
)  # fmt: skip
API_ANONYMOUS = Limit(
    "api_anonymous", 10, "minute", "address", {"en": "API requests without a token", "sw": "Maombi ya API bila tokeni"},
    {"en": "There were more than {count} requests from this address within a minute. Try again {when}.",
     "sw": "Kumekuwa na maombi zaidi ya {count} kutoka anwani hii kwa dakika moja. Jaribu tena {when}."},
    by_plan=False,
)  # fmt: skip
PAY_VIEWS = Limit(
    "pay_views", 300, "minute", "address", {"en": "Pay page views", "sw": "Kutazama ukurasa wa malipo"},
    {"en": "This page was opened more than {count} times within a minute. Try again {when}.",
     "sw": "Ukurasa huu umefunguliwa zaidi ya mara {count} kwa dakika moja. Jaribu tena {when}."},
    by_plan=False,
)  # fmt: skip
PAY_PAPERS = Limit(
    "pay_papers", 20, "minute", "address", {"en": "PDFs of invoices", "sw": "PDF za ankara"},
    {"en": "More than {count} PDFs were fetched within a minute. Try again {when}.",
     "sw": "PDF zaidi ya {count} zimepakuliwa kwa dakika moja. Jaribu tena {when}."},
    by_plan=False,
)  # fmt: skip
PAY_TRIES = Limit(
    "pay_tries", 60, "hour", "address", {"en": "Tries to pay", "sw": "Majaribio ya kulipa"},
    {"en": "There were more than {count} tries to pay from this network within an hour. Try again {when}.",
     "sw": "Kumekuwa na majaribio zaidi ya {count} ya kulipa kutoka mtandao huu kwa saa moja. Jaribu tena {when}."},
    closed=True, by_plan=False,
)  # fmt: skip
"""Many phones of one operator share an address, so this one is wide; the next two are what guards strangers' phones."""
PAY_INVOICE = Limit(
    "pay_invoice", 10, "hour", "address", {"en": "Tries to pay an invoice", "sw": "Majaribio ya kulipa ankara"},
    {"en": "There were more than {count} tries to pay this invoice within an hour. Try again {when}.",
     "sw": "Kumekuwa na majaribio zaidi ya {count} ya kulipa ankara hii kwa saa moja. Jaribu tena {when}."},
    closed=True, by_plan=False,
)  # fmt: skip
PAY_PHONE = Limit(
    "pay_phone", 4, "hour", "address", {"en": "Requests to a phone", "sw": "Maombi kwa simu"},
    {"en": "This phone has been asked {count} times within an hour. Try again {when}.",
     "sw": "Simu hii imeombwa mara {count} kwa saa moja. Jaribu tena {when}."},
    closed=True, by_plan=False,
)  # fmt: skip
PAY_PHONE_DAY = Limit(
    "pay_phone_day", 10, "day", "address", {"en": "Requests to a phone in a day", "sw": "Maombi kwa simu kwa siku"},
    {"en": "This phone has been asked {count} times today. Try again {when}.",
     "sw": "Simu hii imeombwa mara {count} leo. Jaribu tena {when}."},
    closed=True, by_plan=False,
)  # fmt: skip
UNSURE = Saying(
    "I cannot do that just now. Try again in a few minutes.",
    "Siwezi kufanya hivyo kwa sasa. Jaribu tena baada ya dakika chache.",
)
REMINDERS_MAX = 10
"""Reminders sent to a person within REMINDERS_WITHIN, times the factor of their plan; more wait, and none is dropped.

They are owed, so they are counted with the rows that send them, in PostgreSQL (jobs/sweeps.py).
"""
REMINDERS_WITHIN = timedelta(hours=12)
OF_A_PERSON = (MESSAGES, CALLS, PAID, SEARCHES, UPLOADS)
OF_VOICE = (VOICE, VOICE_S)
"""Writing a note down costs money: notes are counted with the rows that have it done, in PostgreSQL (core/voice.py)."""
CLASSES = {"calls": CALLS, "paid": PAID, "searches": SEARCHES}
"""The limits an action may declare that its calls are counted under."""

COUNT = """
local out = {}
for i, key in ipairs(KEYS) do
    out[i] = redis.call('INCRBY', key, ARGV[2 * i - 1])
    redis.call('EXPIRE', key, ARGV[2 * i])
end
return out
"""
"""Add to counters, whatever they are; returns what each is then."""

TAKE = """
local known = ARGV[1] ~= '0' and redis.call('GET', KEYS[1])
if known then return tonumber(known) end
local over = 0
for i = 2, #KEYS do
    if tonumber(redis.call('GET', KEYS[i]) or 0) >= tonumber(ARGV[2 * i - 2]) then over = i - 1 break end
end
if over == 0 then
    for i = 2, #KEYS do
        redis.call('INCR', KEYS[i])
        redis.call('EXPIRE', KEYS[i], ARGV[2 * i - 1])
    end
end
if ARGV[1] ~= '0' then redis.call('SET', KEYS[1], over, 'EX', ARGV[1]) end
return over
"""
"""Take one of each counter, or of none; returns 0, or the number of the first that is used up. KEYS[1] is the call."""


@dataclass(frozen=True, slots=True)
class Span:
    """One window: the name that its counters carry, when it ends (aware UTC), and how long counters are kept."""

    name: str
    ends_at: datetime
    kept_s: int


def span_of(window: Window, now: datetime, zone: ZoneInfo) -> Span:
    """The window that `now` (aware) falls into. A day is the date on the person's own clock, 23 to 25 hours long.

    The zone is no part of the name: whoever changes it finds the same few dates, and no fresh quota for each zone.
    """
    if window == "day":
        today = now.astimezone(zone).date()
        ends_at = datetime.combine(today + timedelta(days=1), time(), zone).astimezone(UTC)
        return Span(today.isoformat(), max(ends_at, now.astimezone(UTC)), DAY_KEPT_S)
    seconds = SECONDS[window]
    number = int(now.timestamp()) // seconds
    return Span(str(number), datetime.fromtimestamp((number + 1) * seconds, UTC), 2 * seconds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may go on; when not, which limit says no, how much it allows, and when it resets.

    `unsure` means that nobody could count, and the limit is one that then lets nothing through.
    """

    limit: Limit
    allowed: int
    resets_at: datetime
    passed: bool = True
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Whose:
    """On whose account something is counted: a person or an address, their zone, and their plan."""

    id: str
    zone: ZoneInfo
    plan: str = "free"


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit is used in the window that ends at `resets_at`."""

    limit: Limit
    used: int
    allowed: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class _Taking:
    """One call of TAKE: its keys, the call's own first, and its arguments."""

    keys: Sequence[str]
    arguments: Sequence[str | int]


class Limits:
    """Counts for one deployment; one a process."""

    def __init__(self, valkey: Redis, factors: Mapping[str, int] | None = None) -> None:
        """`factors` multiply the quotas of a plan; a plan that is not among them is times one."""
        self._valkey = valkey
        self._factors = factors or {}
        self._local: dict[str, int] = {}
        # What is asked at the same time shares a round trip, and a connection.
        self._taking: GroupCommit[_Taking, int | None] = GroupCommit(self._take_all)

    def allowed(self, limit: Limit, plan: str) -> int:
        """How much of a limit a plan has."""
        return allowed_of(limit, plan, self._factors)

    async def take(self, limits: Sequence[Limit], whose: Whose, now: datetime, *, call: str | None = None) -> Verdict:
        """Take one of each of these limits, or of none when any is used up: the verdict names the first such.

        The same `call` is decided once within CALL_KEPT_S, however often it is asked.
        """
        spans = [span_of(limit.window, now, whose.zone) for limit in limits]
        keys = [_key(limit, whose.id, span) for limit, span in zip(limits, spans, strict=True)]
        most = [self.allowed(limit, whose.plan) for limit in limits]
        arguments: list[str | int] = [CALL_KEPT_S if call else 0]
        for count, span in zip(most, spans, strict=True):
            arguments += [count, span.kept_s]
        over = await self._taking.submit(_Taking((f"limit:call:{call}", *keys), arguments))
        unsure = False
        if over is None:
            closed = next((number for number, limit in enumerate(limits, 1) if limit.closed), 0)
            unsure, over = closed > 0, closed or self._take_here(keys, most)
        at = max(over, 1) - 1
        return Verdict(limits[at], most[at], spans[at].ends_at, over == 0, unsure)

    def count_into(self, pipe: "Pipeline", counts: Sequence[tuple[str, int]], kept_s: int = DAY_KEPT_S) -> None:
        """Queue adding to counters in a pipeline that is on its way anyway; one command, whatever their number."""
        arguments = [value for _, count in counts for value in (count, kept_s)]
        pipe.eval(COUNT, len(counts), *(key for key, _ in counts), *arguments)

    def count_here(self, counts: Sequence[tuple[str, int]]) -> list[int]:
        """The same by this process alone, for when Valkey does not count."""
        for key, count in counts:
            self._local[key] = self._local.pop(key, 0) + count
        while len(self._local) > LOCAL_MAX:
            del self._local[next(iter(self._local))]
        return [self._local.get(key, 0) for key, _ in counts]

    async def uses(self, whose: Whose, now: datetime) -> list[Use] | None:
        """How much a person has used of everything; None when Valkey does not say."""
        spans = [span_of(limit.window, now, whose.zone) for limit in OF_A_PERSON]
        keys = [_key(limit, whose.id, span) for limit, span in zip(OF_A_PERSON, spans, strict=True)]
        try:
            counted = await self._valkey.mget(keys)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("limits.away", error=type(error).__name__)
            return None
        return [
            Use(limit, int(count or 0), self.allowed(limit, whose.plan), span.ends_at)
            for limit, span, count in zip(OF_A_PERSON, spans, counted, strict=True)
        ]

    async def forget(self, ids: Collection[str], now: datetime) -> None:
        """Remove what was counted for these people in windows that may still be kept. Raises what Valkey raises."""
        around = [now + timedelta(days=days) for days in (-2, -1, 0, 1)] + [now - timedelta(hours=1)]
        keys = {
            _key(limit, id_, span_of(limit.window, moment, ZoneInfo("UTC")))
            for limit in OF_A_PERSON
            for id_ in ids
            for moment in around
        }
        for key in keys:
            self._local.pop(key, None)
        if keys:
            await self._valkey.delete(*keys)

    async def _take_all(self, batch: Sequence[_Taking]) -> list[int | None]:
        """What TAKE says to each; None where Valkey did not count."""
        try:
            async with self._valkey.pipeline(transaction=False) as pipe:
                for one in batch:
                    pipe.eval(TAKE, len(one.keys), *one.keys, *one.arguments)
                replies = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            replies = [error] * len(batch)
        failed = [reply for reply in replies if isinstance(reply, Exception)]
        if failed:
            log.warning("limits.away", error=type(failed[0]).__name__)
        return [None if isinstance(reply, Exception) else int(reply) for reply in replies]

    def _take_here(self, keys: Sequence[str], most: Sequence[int]) -> int:
        for number, (key, count) in enumerate(zip(keys, most, strict=True), 1):
            if self._local.get(key, 0) >= count:
                return number
        self.count_here([(key, 1) for key in keys])
        return 0


def allowed_of(limit: Limit, plan: str, factors: Mapping[str, int]) -> int:
    """How much of a limit a plan has, where plans are multiplied by `factors`."""
    return limit.count * factors.get(plan, 1) if limit.by_plan else limit.count


def day_key(limit: Limit, id_: object, now: datetime, zone: ZoneInfo) -> str:
    """The counter of a limit that has a day for its window; a short way, for the hot path."""
    return f"limit:{limit.name}:{id_}:{now.astimezone(zone).date().isoformat()}"


def refusal(verdict: Verdict, now: datetime, zone: ZoneInfo) -> LimitReached:
    """The error that tells a person which limit is used up and when it resets."""
    if verdict.unsure:
        return LimitReached(UNSURE, verdict.limit.name)
    when = Saying(*(when_of(verdict.resets_at, language, now, zone) for language in ("en", "sw")))
    return LimitReached(
        Saying(**verdict.limit.told).filled(count=f"{verdict.allowed:,}", when=when), verdict.limit.name
    )


def when_of(moment: datetime, language: str, now: datetime, zone: ZoneInfo) -> str:
    """A moment to come, on the person's clock: "at 15:00", "tomorrow at 00:00"; minutes, where it is that near."""
    local = moment.astimezone(zone)
    left_s = (moment - now).total_seconds()
    if left_s < 60:
        return "baada ya dakika moja" if language == "sw" else "in a minute"
    tomorrow = local.date() != now.astimezone(zone).date()
    if language == "sw":
        return f"{'kesho ' if tomorrow else ''}saa {local:%H:%M}"
    return f"{'tomorrow ' if tomorrow else ''}at {local:%H:%M}"


def _key(limit: Limit, id_: str, span: Span) -> str:
    return f"limit:{limit.name}:{id_}:{span.name}"
