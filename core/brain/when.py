"""Times as people write them, English and Swahili: days, clocks, spans and repetitions, on a local calendar. Pure.

The Kiswahili clock starts at dawn: saa moja asubuhi is 07:00, saa tatu usiku is 21:00. Days and clocks roll forward:
a time that has passed means its next coming. Dates in figures, 3/12, have the day first (words.said sees to that). What
is decided where words leave it open:

* "at 5" alone is the next five o'clock; with another day, 7 to 12 are the morning and noon, 1 to 6 the afternoon;
* a day without a clock is DAY_STARTS; a part of the day without a clock is its hour in PARTS;
* "next friday" is the one of the next calendar week, "friday" the first to come;
* today without a clock is a day and no time: nobody can be reminded at it, so it is asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from core.brain.when_patterns import (
    ANSWERS,
    TABLE,
    WORKING_DAYS,
    Clock,
    Day,
    Part,
    Piece,
    Repeat,
    Value,
    add_months,
    day_at,
    from_now,
    parted,
    working_day_at,
)
from core.brain.words import said

DAY_STARTS = time(9, 0)
"""The clock of a day that was named without one."""
PARTS = {
    "dawn": time(6, 0), "morning": time(9, 0), "lunch": time(13, 0), "afternoon": time(14, 0), "evening": time(18, 0),
    "night": time(20, 0),
}  # fmt: skip
NEAR_CHARS = 6
"""How far apart two names of one day may stand: "friday, 4 December"."""
ROLLS_MAX = 400
"""How many days, weeks, months or years a time rolls forward at most."""
_EVERYDAY = {
    Repeat("DAILY"): "daily", Repeat("WEEKLY"): "weekly", Repeat("MONTHLY"): "monthly", Repeat("YEARLY"): "yearly",
    Repeat("WEEKLY", days=(0, 1, 2, 3, 4)): "weekdays",
}  # fmt: skip
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_TAKEN = "\x00"
_NO = (
    r"(?:no+|nope|sorry|wait|actually|oops|rather|i mean(?:t)?|make (?:it|that)|hapana|samahani|namaanisha|nilimaanisha"
    r"|yaani|(?<=[,.-] )la)"
)
_RATHER = re.compile(
    rf"[ ,.;!-]*(?:(?:oh|ah|or|au) )?{_NO}\b(?:[ ,.;!-]*\b(?:{_NO}|that's|it's|ni|to|on|at|for)\b)*[ ,.;!-]*"
)
"""What stands between a time and the one that is meant in its place: "Saturday, no, Monday"."""
_DIGIT = re.compile(r"\d")
_NO_IN = re.compile(rf"\b{_NO}\b")
_RATHER_AT = re.compile(
    rf"{_RATHER.pattern}(?P<saa>saa )?(?P<h>\d{{1,2}})(?:[:.](?P<m>[0-5]\d))?(?=\W*$|[ ,.]+(?:to|please|about"
    rf"|for|kuhusu"
    r"|tafadhali|ku\w+)\b)"
)
"""The same before a bare number: "at 9, sorry, 10"."""
_BESIDE = re.compile(r"[ ,]*(?:(?:at|on|saa|siku ya)\b ?)?")
"""What stands between two parts of one time."""


@dataclass(frozen=True, slots=True)
class When:
    """What a text says about time.

    `wall` is local, with its zone; `day` is None when no day was named, `clock` says whether a time of day was;
    `exact` that the time was counted from now. `recurrence` is an RFC 5545 rule or the everyday name of one (daily,
    weekdays, weekly, monthly, yearly). `spans` are the stretches of the text that said it.
    """

    wall: datetime | None = None
    day: date | None = None
    clock: bool = False
    exact: bool = False
    recurrence: str | None = None
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def iso(self) -> str | None:
        """The local time as ISO 8601; with its offset only in the second pass of an hour that the clocks repeat."""
        if self.wall is None:
            return None
        unit = "seconds" if self.wall.second else "minutes"
        return (self.wall if self.wall.fold else self.wall.replace(tzinfo=None)).isoformat(timespec=unit)


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of this name; UTC for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return ZoneInfo("UTC")


def local(now: datetime, zone: str) -> datetime:
    """`now` by the clocks of the zone; a naive `now` is taken to be local already."""
    tz = zone_of(zone)
    return now.replace(tzinfo=tz) if now.tzinfo is None else now.astimezone(tz)


def find(plain: str, now: datetime, *, answer: bool = False, early: bool = False, base: datetime | None = None) -> When:
    """What `plain` (see words.Said) says about time, seen from the aware local `now`.

    `answer` takes a lone number for a clock, as in the answer to "when?". `early` takes a clock whose half of the
    day is open for the morning, as in "wake me at 6". `base` is a time being corrected: it lends its day
    to a clock, its clock to a day, and its half of the day to a clock that leaves it open.
    """
    try:
        pieces, meant_first = _corrected(plain, _pieces(plain, now, answer=answer))
        if early:
            pieces = [replace(piece, value=_morning(piece.value)) for piece in pieces]
        found = _resolve(pieces, now, base) if pieces else When()
        return replace(found, spans=(*found.spans, *meant_first)) if meant_first else found
    except (OverflowError, ValueError):  # a day that no calendar has
        return When()


def timed(text: str, now: datetime, *, month_first: bool = False) -> tuple[bool, bool, str]:
    """Whether a text begins with a time, whether it names a clock, and the words that name its day, if any do."""
    ready = said(text, month_first=month_first)
    pieces = _pieces(ready.plain, now, answer=False)
    days = [ready.words(piece.start, piece.end) for piece in pieces if isinstance(piece.value, Day)]
    clock = any(isinstance(piece.value, Clock | Part | datetime) for piece in pieces)
    return bool(pieces) and pieces[0].start == 0, clock, " ".join(days)


def masked(text: str, spans: Sequence[tuple[int, int]], mark: str) -> str:
    """The text with every character of these spans turned into `mark`, so that positions stay."""
    if not spans:
        return text
    letters = list(text)
    for start, end in spans:
        letters[start:end] = mark * (end - start)
    return "".join(letters)


def _pieces(plain: str, now: datetime, *, answer: bool) -> list[Piece]:
    """All that says something about time, in order, no two overlapping; weak ones only where no clock was said, and
    the first of them but where it is taken back."""
    found: list[Piece] = []
    text = plain
    has_digit = _DIGIT.search(plain) is not None
    for pattern in (*TABLE, *ANSWERS) if answer else TABLE:
        if pattern.weak and any(isinstance(piece.value, Clock | datetime) for piece in found):
            continue
        if not pattern.may_match(text, has_digit):
            continue
        new = list(pattern.pieces(text, now))
        text = masked(text, [(piece.start, piece.end) for piece in new], _TAKEN)
        found += new[:1] if pattern.weak and len(new) > 1 and not _NO_IN.search(plain) else new
    return sorted(found, key=lambda piece: piece.start)


def _corrected(plain: str, pieces: list[Piece]) -> tuple[list[Piece], list[tuple[int, int]]]:
    """The pieces without those that are taken back in the same breath, and where the taking back stands:
    "Saturday at 9, no, Monday at 10" is Monday at 10, and "Saturday at 9, no, Monday" is Monday at 9."""
    gone: list[tuple[int, int]] = []
    for index in range(len(pieces) - 1, -1, -1):
        left, after = pieces[index], pieces[index + 1 :]
        between = plain[left.end : after[0].start] if after else ""
        if not after or _RATHER.fullmatch(between) is None:
            number = _RATHER_AT.match(plain, left.end) if isinstance(left.value, Clock) else None
            if number is None or (after and after[0].start < number.end()):
                continue
            hour, minute = int(number["h"]), int(number["m"] or 0)
            if number["saa"]:
                hour = (hour + 6) % 12 or 12
            if not 1 <= hour <= 24:
                continue
            meant = Piece(number.end(), number.end(), Clock(hour % 24, minute, sure=hour > 12))
            gone.append((left.start, number.end()))
            pieces = [*pieces[:index], meant, *after]
            continue
        instead = {type(piece.value) for piece in _side_by_side(plain, after)}
        before = _side_by_side(plain, list(reversed(pieces[: index + 1])))
        taken_back = [piece for piece in before if type(piece.value) in instead]
        if taken_back:
            gone.append((min(piece.start for piece in before), after[0].start))
            pieces = [piece for piece in pieces if piece not in taken_back]
    weak = [piece for piece in pieces if piece.weak]
    return ([piece for piece in pieces if piece not in weak[1:]] if weak[1:] else pieces), gone


def _side_by_side(plain: str, pieces: Sequence[Piece]) -> list[Piece]:
    """The first of the pieces, and those that go on saying the same time, in the order given."""
    found = list(pieces[:1])
    for piece in pieces[1:]:
        low, high = sorted((found[-1], piece), key=lambda one: one.start)
        if not _BESIDE.fullmatch(plain[low.end : high.start]):
            break
        found.append(piece)
    return found


def _resolve(pieces: Sequence[Piece], now: datetime, base: datetime | None) -> When:
    spans: list[tuple[int, int]] = []

    def first(kind: type[object]) -> Piece | None:
        piece = next((piece for piece in pieces if isinstance(piece.value, kind)), None)
        if piece is not None:
            spans.append((piece.start, piece.end))
        return piece

    repeat_piece = first(Repeat)
    repeat = repeat_piece.value if repeat_piece is not None and isinstance(repeat_piece.value, Repeat) else None
    span_piece = next((piece for piece in pieces if isinstance(piece.value, datetime)), None)
    if span_piece is not None and isinstance(span_piece.value, datetime):
        spans.append((span_piece.start, span_piece.end))
        wall = span_piece.value.replace(microsecond=0)
        return When(wall, wall.date(), True, True, _rule(repeat, None, wall) if repeat else None, tuple(spans))
    day = _day(pieces, spans, now.date())
    clock_piece, part_piece = first(Clock), first(Part)
    clock = clock_piece.value if clock_piece is not None and isinstance(clock_piece.value, Clock) else None
    part = part_piece.value if part_piece is not None and isinstance(part_piece.value, Part) else None
    name = part.name if part else repeat.part if repeat else ""
    if part is not None and part.today and day is None:
        day = Day(now.date())
    if clock is not None and name:
        clock = parted(clock, name)
    if repeat is not None:
        wall_of_rule = _first_of(repeat, day, clock, name, now)
        said = clock is not None or bool(name)
        return When(
            wall_of_rule, day.first if day else None, said, False, _rule(repeat, day, wall_of_rule), tuple(spans)
        )
    return _once(day, clock, name, now, base, tuple(spans))


def _day(pieces: Sequence[Piece], spans: list[tuple[int, int]], today: date) -> Day | None:
    """The day that was named; of two names side by side ("friday, 4 December") the one that says more.

    One that is past is what is told about where another is to come: "yesterday it rained, and tomorrow?".
    """
    days = [(piece, piece.value) for piece in pieces if isinstance(piece.value, Day)]
    if not days:
        return None
    if days[0][1].first < today:
        days = days[next((n for n, (_, value) in enumerate(days) if value.first >= today), 0) :]
    piece, best = days[0]
    spans.append((piece.start, piece.end))
    end = piece.end
    for other, value in days[1:]:
        if other.start - end > NEAR_CHARS:
            break
        spans.append((other.start, other.end))
        best, end = (value if value.weight > best.weight else best), other.end
    return best


def _once(
    day: Day | None,
    clock: Clock | None,
    part: str,
    now: datetime,
    base: datetime | None,
    spans: tuple[tuple[int, int], ...],
) -> When:
    """One time, from what was named of it."""
    if clock is None and part:
        default = PARTS[part]
        clock = Clock(default.hour, default.minute, sure=True)
        if base is None and (day is None or day.first == now.date()) and _at(now.date(), clock, now) <= now:
            # This evening is over, or nearly: which hour of it is meant has to be asked.
            return When(None, day.first if day else None, False, False, None, spans)
    if clock is None:
        if day is None:
            return When()
        if base is not None:
            wall = _at(day.first, Clock(base.hour, base.minute, base.second), now)
            return When(wall, day.first, False, False, None, spans)
        if day.weight == 4:  # in 3 days: at this time of day
            return When(_at(day.first, Clock(now.hour, now.minute), now), day.first, False, False, None, spans)
        start = Clock(DAY_STARTS.hour, DAY_STARTS.minute, sure=True)
        wall_or_none = None if day.first == now.date() and day.weight != 2 else _roll(day, start, now)
        return When(wall_or_none, day.first, False, False, None, spans)
    if day is None and base is not None:
        wall = min(
            (_at(base.date(), each, now) for each in _halves(clock)), key=lambda at: abs(_naive(at) - _naive(base))
        )
        return When(wall, None, True, False, None, spans)
    if day is None:
        candidates = [_at(now.date() + timedelta(days=ahead), each, now) for ahead in (0, 1) for each in _halves(clock)]
        return When(min(at for at in candidates if at > now), None, True, False, None, spans)
    if day.first == now.date() and not clock.sure:
        later = [at for each in _halves(clock) if (at := _at(day.first, each, now)) > now]
        if later:
            return When(min(later), day.first, True, False, None, spans)
    return When(_roll(day, _settled(clock), now), day.first, True, False, None, spans)


def _first_of(repeat: Repeat, day: Day | None, clock: Clock | None, part: str, now: datetime) -> datetime | None:
    """When a repetition first comes round; None when its time of day has to be asked for."""
    if repeat.freq in ("MINUTELY", "HOURLY") and clock is None and day is None:
        unit = timedelta(minutes=1) if repeat.freq == "MINUTELY" else timedelta(hours=1)
        return from_now(now, unit * repeat.interval).replace(microsecond=0)
    if clock is None and part:
        clock = Clock(PARTS[part].hour, PARTS[part].minute, sure=True)
    open_ended = not repeat.days and repeat.freq not in ("DAILY",)
    if clock is None and day is None and open_ended:
        return None  # "every month" names neither a day nor a time
    at = _settled(clock or Clock(DAY_STARTS.hour, DAY_STARTS.minute, sure=True))
    start = day.first if day is not None else now.date()
    if repeat.place:
        months = (add_months(start.replace(day=1), ahead) for ahead in range(3))
        working = repeat.days == WORKING_DAYS
        days = (
            working_day_at(first, repeat.place) if working else day_at(first, repeat.days[0], repeat.place)
            for first in months
        )
        walls = (_at(day, at, now) for day in days)
        return next(wall for wall in walls if wall > now and wall.date() >= start)
    if repeat.days:
        for ahead in range(15):
            wall = _at(start + timedelta(days=ahead), at, now)
            if wall > now and (start + timedelta(days=ahead)).weekday() in repeat.days:
                return wall
    if day is not None:
        return _roll(day, at, now)
    wall = _at(start, at, now)
    return wall if wall > now else _at(start + timedelta(days=1), at, now)


def _rule(repeat: Repeat, day: Day | None, wall: datetime | None) -> str:
    """The repetition as RFC 5545 has it, or its everyday name."""
    simple = replace(repeat, part="")
    pieces = [f"FREQ={repeat.freq}"]
    if repeat.interval > 1:
        pieces.append(f"INTERVAL={repeat.interval}")
    if repeat.days:
        working = repeat.days == WORKING_DAYS
        place = str(repeat.place) if repeat.place and not working else ""
        pieces.append("BYDAY=" + ",".join(place + _DAYS[number] for number in repeat.days))
        if working and repeat.place:
            pieces.append(f"BYSETPOS={repeat.place}")
    elif repeat.freq == "MONTHLY" and day is not None and day.number > 28:
        pieces.append(f"BYMONTHDAY={day.number}")
    return (
        _EVERYDAY.get(simple, ";".join(pieces))
        if len(pieces) < 3 and "MONTHDAY" not in pieces[-1]
        else ";".join(pieces)
    )


def _roll(day: Day, clock: Clock, now: datetime) -> datetime:
    """The day at this clock, moved on as its name allows while it lies behind us."""
    wall = _at(day.first, clock, now)
    if not day.rolls or wall > now:
        return wall
    first = day.first.replace(day=1)
    for count in range(1, ROLLS_MAX):
        if day.rolls == "week":
            date_of = day.first + timedelta(days=7 * count)
        elif day.rolls == "year":
            date_of = add_months(day.first, 12 * count)
        else:
            date_of = add_months(first, count)
            date_of = add_months(date_of.replace(day=1), 0)
            last = (add_months(date_of, 1) - timedelta(days=1)).day
            if day.number > last:
                continue
            date_of = date_of.replace(day=day.number)
        wall = _at(date_of, clock, now)
        if wall > now:
            return wall
    return wall


def _halves(clock: Clock) -> tuple[Clock, ...]:
    """Both readings of a clock whose half of the day is open."""
    if clock.sure:
        return (clock,)
    return tuple(replace(clock, hour=hour, sure=True) for hour in (clock.hour % 12, clock.hour % 12 + 12))


def _settled(clock: Clock) -> Clock:
    """The likelier reading: 7 to 11 in the morning, 12 noon, 1 to 6 in the afternoon."""
    if clock.sure or 7 <= clock.hour <= 12:
        return replace(clock, sure=True)
    return replace(clock, hour=clock.hour + 12, sure=True)


def _morning(value: Value) -> Value:
    """A clock read as one before noon, where it may be."""
    return replace(value, hour=value.hour % 12, sure=True) if isinstance(value, Clock) and not value.sure else value


def _at(day: date, clock: Clock, now: datetime) -> datetime:
    """The clock on that day, in the zone of `now`."""
    if clock.next_day:
        day += timedelta(days=1)
    return datetime(day.year, day.month, day.day, clock.hour, clock.minute, clock.second, tzinfo=now.tzinfo)


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)
