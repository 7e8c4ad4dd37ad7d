"""When a wall time comes round again: pure rules over local clocks, zones and a closed part of RFC 5545.

A reminder keeps what the person said, a wall time and an IANA zone, and is turned into an instant late:

* a wall time that the clocks skip means the first instant after the gap;
* a wall time that the clocks repeat means its first pass;
* a day that a month lacks (the 31st, 29 February) means the last day of that month.

Rules are FREQ=MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY with INTERVAL, COUNT or UNTIL, and BYDAY (weekly;
monthly with a place such as -1FR, or MO,TU,WE,TH,FR with BYSETPOS for a working day by its place), BYMONTHDAY
(monthly), or BYMONTH with BYMONTHDAY (yearly). Such a rule has an occurrence in each of its periods, so the search
for the next one is short. `settle` writes a rule so that any of its occurrences may serve as the anchor.
"""

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from dateutil import rrule as dateutil

from core.errors import Unusable
from core.language import Saying, month, weekday

WORDS = {
    "daily": "FREQ=DAILY",
    "weekdays": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    "weekly": "FREQ=WEEKLY",
    "monthly": "FREQ=MONTHLY",
    "yearly": "FREQ=YEARLY",
}
"""The everyday rules, by name."""

RULE_CHARS_MAX = 200
INTERVAL_MAX = 400
COUNT_MAX = 1000
MINUTES_MIN = 15
"""The shortest distance between two occurrences."""
CANDIDATES_MAX = 200
"""How many occurrences are looked at for the next one; more than any gap or any repeated hour holds."""

_STEPS = {"MINUTELY": timedelta(minutes=1), "HOURLY": timedelta(hours=1), "DAILY": timedelta(days=1)}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_UNITS = {
    "MINUTELY": (Saying("minute", "dakika"), Saying("minutes", "dakika")),
    "HOURLY": (Saying("hour", "saa"), Saying("hours", "saa")),
    "DAILY": (Saying("day", "siku"), Saying("days", "siku")),
    "WEEKLY": (Saying("week", "wiki"), Saying("weeks", "wiki")),
    "MONTHLY": (Saying("month", "mwezi"), Saying("months", "miezi")),
    "YEARLY": (Saying("year", "mwaka"), Saying("years", "miaka")),
}
EVERY = Saying("every {unit}", "kila {unit}")
EVERY_SO = Saying("every {count} {unit}", "kila baada ya {unit} {count}")
WEEKDAYS = Saying("every weekday", "kila siku ya kazi")
ON_THE = Saying("{often} on the {days}", "{often}, {days}")
UNTIL = Saying("{often} until {until}", "{often} hadi {until}")
SHORTEST = Saying("the shortest interval is {minutes} minutes", "muda mfupi zaidi ni dakika {minutes}")
_PLACES = {
    1: ("first", "kwanza"), 2: ("second", "pili"), 3: ("third", "tatu"), 4: ("fourth", "nne"), -1: ("last", "mwisho"),
}  # fmt: skip
WORKING_DAY = Saying("{place} working day", "siku ya kazi ya {place}")
_WORKING_DAYS = tuple((0, day) for day in range(5))
_LAST_YEAR = 9000
"""Where every rule ends, well before dates do."""
_LONGEST_MONTH = 31
_UNTIL = re.compile(r"[0-9]{8}(T[0-9]{6}Z?)?")


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule. `days` are (place in the month or 0, weekday from Monday 0), `working_day` which of the days
    from Monday to Friday a month means, -1 for its last; `until` is a wall time."""

    freq: str
    interval: int = 1
    days: tuple[tuple[int, int], ...] = ()
    month_days: tuple[int, ...] = ()
    month: int | None = None
    count: int | None = None
    until: datetime | None = None
    working_day: int | None = None

    @property
    def within_day(self) -> bool:
        """Whether it comes round more than once a day."""
        return self.freq in ("MINUTELY", "HOURLY")


@lru_cache(maxsize=4096)
def parse(text: str, zone: str) -> Rule:
    """A rule from an everyday word or an RRULE body; `zone` is for an UNTIL in UTC. ValueError says why."""
    body = text.strip()
    body = WORDS.get(body.casefold(), body).upper().removeprefix("RRULE:")
    if len(body) > RULE_CHARS_MAX:
        raise ValueError(f"a rule has at most {RULE_CHARS_MAX} characters")
    fields: dict[str, str] = {}
    for piece in body.split(";"):
        name, equals, value = piece.partition("=")
        if not equals or not value or name in fields:
            raise ValueError(f"{piece[:40]!r} is not NAME=VALUE, each name once")
        fields[name] = value
    rule = Rule(
        freq=fields.pop("FREQ", ""),
        interval=_number(fields.pop("INTERVAL", "1"), 1, INTERVAL_MAX, "INTERVAL"),
        days=tuple(sorted({_day(day) for day in _listed(fields.pop("BYDAY", ""))})),
        month_days=tuple(sorted({_month_day(day) for day in _listed(fields.pop("BYMONTHDAY", ""))})),
        month=_number(fields.pop("BYMONTH"), 1, 12, "BYMONTH") if "BYMONTH" in fields else None,
        count=_number(fields.pop("COUNT"), 1, COUNT_MAX, "COUNT") if "COUNT" in fields else None,
        until=_until(fields.pop("UNTIL"), zone) if "UNTIL" in fields else None,
    )
    if "BYSETPOS" in fields:
        rule = replace(rule, working_day=_set_place(fields.pop("BYSETPOS")))
    if fields.pop("WKST", "MO") != "MO":
        raise ValueError("weeks start on Monday: WKST=MO")
    if fields:
        raise ValueError(f"{next(iter(fields))[:40]} is not supported")
    _check(rule)
    return rule


def settle(text: str, wall: datetime, zone: str, after: datetime | None = None) -> tuple[str, datetime] | None:
    """The rule in full and its first occurrence from `wall` on, due after the instant `after` where one is given.

    In full: what the rule takes from its anchor is written into it and COUNT, which begins at that first occurrence,
    becomes UNTIL; so it gives the same occurrences from whichever of them it is continued. None when it has no
    occurrence left; ValueError as `parse`.
    """
    rule = _whole(parse(text, zone), wall)
    walls = _walls(rule, wall, wall if after is None else after.astimezone(ZoneInfo(zone)).replace(tzinfo=None))
    first = next((w for w in islice(walls, CANDIDATES_MAX) if after is None or resolve(w, zone) > after), None)
    if first is None:
        return None
    if rule.count is not None:
        last = next(islice(walls, rule.count - 2, None), None) if rule.count > 1 else first
        rule = replace(rule, count=None, until=last)
    return _body(rule), first


def next_after(wall_time: datetime, zone: str, rrule: str | None, after: datetime) -> tuple[datetime, datetime] | None:
    """The first occurrence due strictly after `after`: its wall time and its instant in UTC; None at the end.

    The wall time is the rule's own: where clocks skip it, only the instant moves.
    """
    if rrule is None:
        due = resolve(wall_time, zone)
        return (wall_time, due) if due > after else None
    rule = parse(rrule, zone)
    if rule.count is not None:
        settled = settle(rrule, wall_time, zone)
        if settled is None:
            return None
        rule, wall_time = parse(settled[0], zone), settled[1]
    local = after.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    # `resolve` never goes back and makes of `local` at most `after`: what is due later is later by the wall.
    for wall in islice(_walls(_whole(rule, wall_time), wall_time, local), CANDIDATES_MAX):
        due = resolve(wall, zone)
        if due > after:
            return wall, due
    return None


def resolve(wall: datetime, zone: str) -> datetime:
    """The UTC instant a wall time means: the first pass when repeated, the end of the gap when skipped."""
    tz = ZoneInfo(zone)
    instant = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == wall:
        return instant
    # Skipped: the clocks jump between its readings with the offset after the jump and with the one before it.
    low, high = wall.replace(tzinfo=tz, fold=1).astimezone(UTC), instant
    offset = high.astimezone(tz).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if middle.astimezone(tz).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high


def describe(rrule: str, wall: datetime, zone: str) -> Saying:
    """The rule in words, as in "every weekday" or "every 2 weeks on Mon and Thu until 24 Dec 2026"."""
    rule = _whole(parse(rrule, zone), wall)
    once, many = _UNITS[rule.freq]
    often = EVERY.filled(unit=once) if rule.interval == 1 else EVERY_SO.filled(count=rule.interval, unit=many)
    if rule.freq == "WEEKLY":
        days = [day for _, day in rule.days]
        if days == [0, 1, 2, 3, 4] and rule.interval == 1:
            often = WEEKDAYS
        elif len(days) < len(_WEEKDAYS):
            names = _joined([weekday(day) for day in days])
            on = Saying(f"{often.en} on {names.en}", f"{often.sw}, {names.sw}")
            often = replace(on, sw=f"kila {names.sw}") if rule.interval == 1 else on
    elif rule.working_day is not None:
        en, sw = _PLACES[rule.working_day]
        often = ON_THE.filled(often=often, days=WORKING_DAY.filled(place=Saying(en, sw)))
    elif rule.freq == "MONTHLY" and rule.days:
        often = ON_THE.filled(often=often, days=_joined([_place(place, day) for place, day in rule.days]))
    elif rule.freq == "MONTHLY":
        days = sorted(rule.month_days, key=lambda day: (day < 0, day))
        often = ON_THE.filled(often=often, days=_joined([_ordinal(day) for day in days]))
    elif rule.freq == "YEARLY":
        of = month(rule.month or 1)
        often = Saying(f"{often.en} on {rule.month_days[0]} {of.en}", f"{often.sw} tarehe {rule.month_days[0]} {of.sw}")
    if rule.until is None:
        return often
    until = Saying.joined(" ", str(rule.until.day), month(rule.until.month), str(rule.until.year))
    return UNTIL.filled(often=often, until=until)


def _check(rule: Rule) -> None:
    if rule.freq not in _UNITS:
        raise ValueError("FREQ must be one of " + ", ".join(_UNITS))
    if rule.freq == "MINUTELY" and rule.interval < MINUTES_MIN:
        raise Unusable(SHORTEST.filled(minutes=MINUTES_MIN))
    if rule.days and rule.freq not in ("WEEKLY", "MONTHLY"):
        raise ValueError("BYDAY goes with FREQ=WEEKLY or FREQ=MONTHLY")
    if rule.freq == "WEEKLY" and any(place for place, _ in rule.days):
        raise ValueError("a place in the month, as in 1MO, goes with FREQ=MONTHLY")
    if rule.working_day is not None and (rule.freq != "MONTHLY" or rule.days != _WORKING_DAYS):
        raise ValueError("BYSETPOS goes with FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR")
    if rule.freq == "MONTHLY" and rule.working_day is None and not all(place for place, _ in rule.days):
        raise ValueError("BYDAY of FREQ=MONTHLY needs a place, as in 1MO or -1FR")
    if rule.month_days and rule.freq not in ("MONTHLY", "YEARLY"):
        raise ValueError("BYMONTHDAY goes with FREQ=MONTHLY, or with BYMONTH and FREQ=YEARLY")
    if rule.month_days and rule.days:
        raise ValueError("a rule has BYDAY or BYMONTHDAY, not both")
    if (rule.month is not None) != (rule.freq == "YEARLY" and bool(rule.month_days)):
        raise ValueError("BYMONTH and BYMONTHDAY go together, with FREQ=YEARLY")
    if rule.freq == "YEARLY" and rule.month is not None:
        longest = 29 if rule.month == 2 else 30 if rule.month in (4, 6, 9, 11) else _LONGEST_MONTH
        if len(rule.month_days) != 1 or not 1 <= rule.month_days[0] <= longest:
            raise ValueError("a yearly rule names one day that its month has")
    if rule.count is not None and rule.until is not None:
        raise ValueError("a rule has COUNT or UNTIL, not both")


def _whole(rule: Rule, wall: datetime) -> Rule:
    """The rule with what it takes from its anchor written out."""
    if rule.freq == "WEEKLY" and not rule.days:
        return replace(rule, days=((0, wall.weekday()),))
    if rule.freq == "MONTHLY" and not rule.days and not rule.month_days:
        return replace(rule, month_days=(wall.day,))
    if rule.freq == "YEARLY" and not rule.month_days:
        return replace(rule, month=wall.month, month_days=(wall.day,))
    return rule


def _walls(rule: Rule, wall: datetime, start: datetime) -> Iterator[datetime]:
    """The occurrences at or after both `wall` and `start`, in order, until the rule ends."""
    if rule.freq in _STEPS:
        walls = _stepping(_STEPS[rule.freq] * rule.interval, wall, start)
    elif rule.freq == "WEEKLY":
        walls = _weekly(rule, wall, start)
    else:
        walls = heapq.merge(*_monthly(rule, wall, start))
    seen: datetime | None = None
    for candidate in walls:
        if rule.until is not None and candidate > rule.until:
            return
        if candidate >= wall and candidate >= start and candidate != seen:
            seen = candidate
            yield candidate


def _stepping(step: timedelta, wall: datetime, start: datetime) -> Iterator[datetime]:
    wall += max(0, (start - wall) // step) * step
    while wall.year < _LAST_YEAR:
        yield wall
        wall += step


def _weekly(rule: Rule, wall: datetime, start: datetime) -> Iterator[datetime]:
    for monday in _stepping(timedelta(weeks=rule.interval), wall - timedelta(days=wall.weekday()), start):
        for _, day in rule.days:
            yield monday + timedelta(days=day)


def _monthly(rule: Rule, wall: datetime, start: datetime) -> Iterator[dateutil.rrule]:
    """Months and years as dateutil takes them: a part per day, since a day too many means the month's last.

    The anchor is put shortly before `start`, so that old rules cost no more than new ones.
    """
    freq: Literal[0, 1] = dateutil.MONTHLY if rule.freq == "MONTHLY" else dateutil.YEARLY
    months = rule.interval * (12 if rule.freq == "YEARLY" else 1)
    apart = (start.year - wall.year) * 12 + start.month - wall.month
    index = wall.year * 12 + wall.month - 1 + max(0, apart // months) * months
    # The first is a day that every month has; the rule names its own days.
    anchor = wall.replace(year=index // 12, month=index % 12 + 1, day=1)
    end = anchor.replace(year=_LAST_YEAR)
    if rule.days:
        days = [dateutil.weekday(day, place or None) for place, day in rule.days]
        yield dateutil.rrule(freq, anchor, rule.interval, until=end, byweekday=days, bysetpos=rule.working_day)
    for day in rule.month_days:
        short = tuple(range(28, day + 1)) if day > 28 else (day,)
        yield dateutil.rrule(freq, anchor, rule.interval, until=end, bymonth=rule.month, bymonthday=short, bysetpos=-1)


def _body(rule: Rule) -> str:
    pieces = [f"FREQ={rule.freq}"]
    if rule.interval != 1:
        pieces.append(f"INTERVAL={rule.interval}")
    if rule.month is not None:
        pieces.append(f"BYMONTH={rule.month}")
    if rule.days:
        pieces.append("BYDAY=" + ",".join(f"{place or ''}{_WEEKDAYS[day]}" for place, day in rule.days))
    if rule.working_day is not None:
        pieces.append(f"BYSETPOS={rule.working_day}")
    if rule.month_days:
        pieces.append("BYMONTHDAY=" + ",".join(map(str, rule.month_days)))
    if rule.until is not None:
        pieces.append(f"UNTIL={rule.until:%Y%m%dT%H%M%S}")
    return ";".join(pieces)


def _listed(value: str) -> list[str]:
    return value.split(",") if value else []


def _number(value: str, low: int, high: int, name: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and low <= int(value) <= high):
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return int(value)


def _day(value: str) -> tuple[int, int]:
    place, day = value[:-2], value[-2:]
    if day not in _WEEKDAYS or place not in ("", "1", "2", "3", "4", "+1", "+2", "+3", "+4", "-1"):
        raise ValueError("BYDAY lists days such as MO, 1MO (the first Monday) or -1FR (the last Friday)")
    return int(place or "0"), _WEEKDAYS.index(day)


def _set_place(value: str) -> int:
    if value not in ("1", "2", "3", "4", "-1"):
        raise ValueError("BYSETPOS is 1 to 4, or -1 for the last working day of the month")
    return int(value)


def _month_day(value: str) -> int:
    return -1 if value == "-1" else _number(value, 1, _LONGEST_MONTH, "BYMONTHDAY")


def _until(value: str, zone: str) -> datetime:
    wrong = ValueError("UNTIL must be a day such as 20261224, or a time such as 20261224T180000")
    if not _UNTIL.fullmatch(value):
        raise wrong
    try:
        until = datetime.fromisoformat(value)
        if until.tzinfo is not None:
            return until.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        return until if "T" in value else until.replace(hour=23, minute=59, second=59)
    except (ValueError, OverflowError):
        raise wrong from None


def _place(place: int, day: int) -> Saying:
    """A weekday's place in the month: "first Mon"."""
    en, sw = _PLACES[place]
    return Saying(f"{en} {weekday(day).en}", f"{weekday(day).sw} ya {sw}")


def _ordinal(day: int) -> Saying:
    """A day of the month: "3rd"."""
    if day < 0:
        return Saying("last day", "siku ya mwisho")
    suffix = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return Saying(f"{day}{suffix}", f"tarehe {day}")


def _joined(words: Sequence[Saying]) -> Saying:
    if len(words) == 1:
        return words[0]
    return Saying.joined("", Saying.joined(", ", *words[:-1]), Saying(" and ", " na "), words[-1])
