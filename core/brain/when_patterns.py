"""The ways to write a time, a pattern and a reader each, English and Swahili; `when` puts together what they say. Pure.

A reader gets the named groups that matched and the local now, and answers what was meant, or None when it was no
time after all. A group that stands for the same thing in another branch of its pattern ends in _b.
"""

import calendar
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

YEAR_MIN, YEAR_MAX = 1900, 2200
MATCHES_MAX = 16
"""How many matches of one pattern are looked at."""
MONTHS_AHEAD_MAX = 60
"""How far "friday the 13th" is looked for."""


@dataclass(frozen=True, slots=True)
class Day:
    """A named day: the first date it can mean, how it rolls on, and how much it says (a date says more than a weekday).

    `rolls` is "" for never, else week, month or year; `number` is the day of the month for "the 31st", which not every
    month has.
    """

    first: date
    rolls: str = ""
    weight: int = 1
    number: int = 0


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `sure` when the half of the day is known, `next_day` for the small hours of a named night."""

    hour: int
    minute: int = 0
    second: int = 0
    sure: bool = False
    next_day: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often: an RFC 5545 frequency, its interval, weekdays from Monday 0, and a part of the day.

    `place` is which of its weekdays a month means: 1 to 4, or -1 for the last one.
    """

    freq: str
    interval: int = 1
    days: tuple[int, ...] = ()
    part: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the day, as in when.PARTS; `today` for tonight and this evening."""

    name: str
    today: bool = False


Value = Day | Clock | Repeat | Part | datetime
Words = Mapping[str, str]
Reader = Callable[[Words, datetime], Value | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """One stretch of a text that says something about time; a weak one counts only where nothing better was said."""

    start: int
    end: int
    value: Value
    weak: bool = False


def _table(*lines: str) -> dict[str, int]:
    """Every word of every line, with the number of its line."""
    return {word: number for number, line in enumerate(lines) for word in line.split()}


MONTHS = _table(
    "", "january jan januari", "february feb februari", "march mar machi", "april apr aprili", "may mei",
    "june jun juni", "july jul julai", "august aug agosti", "september sept sep septemba", "october oct oktoba",
    "november nov novemba", "december dec desemba disemba",
)  # fmt: skip
WEEKDAYS = _table(
    "monday mon jumatatu", "tuesday tues tue jumanne", "wednesday wed jumatano", "thursday thurs thur thu alhamisi",
    "friday fri ijumaa", "saturday sat jumamosi", "sunday sun jumapili",
)  # fmt: skip
PART_WORDS = {
    "morning": "morning", "asubuhi": "morning", "alfajiri": "dawn", "dawn": "dawn", "mchana": "afternoon",
    "afternoon": "afternoon", "alasiri": "afternoon", "evening": "evening", "jioni": "evening", "night": "night",
    "usiku": "night", "lunchtime": "lunch", "lunch time": "lunch",
}  # fmt: skip
_UNIT_NAMES = ("second", "minute", "hour", "day", "week", "month", "year", "fortnight")
UNITS = {
    word: _UNIT_NAMES[number]
    for word, number in _table(
        "second seconds sec secs sekunde", "minute minutes min mins dakika", "hour hours hr hrs saa masaa",
        "day days siku", "week weeks wk wks wiki", "month months mwezi miezi", "year years yr yrs mwaka miaka",
        "fortnight",
    ).items()
}  # fmt: skip
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
FREQUENCIES = {
    "minute": "MINUTELY", "hour": "HOURLY", "day": "DAILY", "week": "WEEKLY", "month": "MONTHLY", "year": "YEARLY",
}  # fmt: skip
REPEAT_WORDS = {
    "daily": Repeat("DAILY"), "everyday": Repeat("DAILY"), "nightly": Repeat("DAILY", part="night"),
    "hourly": Repeat("HOURLY"), "weekly": Repeat("WEEKLY"), "fortnightly": Repeat("WEEKLY", 2),
    "biweekly": Repeat("WEEKLY", 2), "monthly": Repeat("MONTHLY"), "quarterly": Repeat("MONTHLY", 3),
    "yearly": Repeat("YEARLY"), "annually": Repeat("YEARLY"),
}  # fmt: skip
WORKING_DAYS = (0, 1, 2, 3, 4)
PLACES = {
    "1st": 1, "2nd": 2, "second": 2, "3rd": 3, "4th": 4, "last": -1, "kwanza": 1, "pili": 2, "3": 3, "4": 4,
    "mwisho": -1,
}  # fmt: skip
"""Which of a month's weekdays; number words are digits by then."""
HOLIDAYS = {
    "christmas eve": (12, 24), "christmas": (12, 25), "krismasi": (12, 25), "boxing day": (12, 26),
    "new year's eve": (12, 31), "new year's day": (1, 1), "new years day": (1, 1), "new year": (1, 1),
    "mwaka mpya": (1, 1), "valentine's day": (2, 14), "valentines day": (2, 14), "labour day": (5, 1),
    "madaraka day": (6, 1), "mashujaa day": (10, 20), "jamhuri day": (12, 12),
}  # fmt: skip


# ---------------------------------------------------------------- readers


def read_span(words: Words, now: datetime) -> datetime | Day:
    """In 10 minutes; 2 hours and a half from now; baada ya siku 3. Below a day it is exact, counted in UTC."""
    unit, some, more = UNITS[words["unit"]], words.get("some", ""), words.get("more", "") + words.get("tail", "")
    number = float(words["n"]) if "n" in words else 1.0
    if re.match("half|a half|nusu", some):
        number = 0.5
    elif "quarter" in some or "robo" in some:
        number = 0.25
    elif "couple" in some or "few" in some:
        number = 2.0 if "couple" in some else 3.0
    if "quarters" in words:
        number /= 4
    number += 0.5 if re.search("half|nusu", more) else 0.25 if re.search("quarter|robo", more) else 0
    if unit in SECONDS:
        seconds = number * SECONDS[unit]
        if "n2" in words:
            seconds += int(words["n2"]) * SECONDS.get(UNITS[words["unit2"]], 0)
        return from_now(now, timedelta(seconds=round(seconds)))
    day = now.date() + timedelta(days=1 if words.get("base") in ("tomorrow", "kesho") else 0)
    if unit in ("month", "year"):
        return Day(add_months(day, round(number * (12 if unit == "year" else 1))), weight=4)
    days = number * {"day": 1, "week": 7, "fortnight": 14}[unit]
    return Day(day + timedelta(days=round(days)), weight=4)


def read_compact(words: Words, now: datetime) -> datetime | None:
    """In 1h30, in 10m, in 45s."""
    hours, minutes, seconds = (int(words.get(name, 0)) for name in ("h", "m", "s"))
    span = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return from_now(now, span) if span else None


def read_now(_: Words, now: datetime) -> datetime:
    """Now."""
    return now


def read_repeat(words: Words, _: datetime) -> Repeat | None:
    """Every 2 weeks; kila siku; every other day."""
    unit = UNITS[words["unit"]]
    interval = int(words.get("n", 1)) * (2 if "other" in words or unit == "fortnight" else 1)
    return (
        Repeat("WEEKLY" if unit == "fortnight" else FREQUENCIES[unit], interval)
        if interval and unit != "second"
        else None
    )


def read_half_hours(_: Words, __: datetime) -> Repeat:
    """Every half hour."""
    return Repeat("MINUTELY", 30)


def read_repeat_days(words: Words, _: datetime) -> Repeat:
    """Every monday and thursday; kila jumatatu na ijumaa; mondays."""
    days = {WEEKDAYS[name] for name in re.findall(rf"\b({WEEKDAY})", words["days"])}
    return Repeat("WEEKLY", 2 if "other" in words else 1, tuple(sorted(days)))


def read_repeat_place(words: Words, _: datetime) -> Repeat:
    """Every first monday of the month; jumatatu ya kwanza ya kila mwezi."""
    return Repeat("MONTHLY", days=(WEEKDAYS[words["day"]],), place=PLACES[words["nth"]])


def read_repeat_working(words: Words, _: datetime) -> Repeat:
    """Every last working day of the month; siku ya mwisho ya kazi ya kila mwezi."""
    return Repeat("MONTHLY", days=WORKING_DAYS, place=PLACES[words["nth"]])


def read_working(words: Words, now: datetime) -> Day:
    """The last working day of the month, or of the next one."""
    first, place = now.date().replace(day=1), PLACES[words["nth"]]
    first = add_months(first, 1 if re.search("next|ujao", words["all"]) else 0)
    found = working_day_at(first, place)
    return Day(found if found >= now.date() else working_day_at(add_months(first, 1), place), weight=3)


def read_place(words: Words, now: datetime) -> Day | None:
    """The last friday of the month, of next month, of december: the next to come where no month is named."""
    weekday, place = WEEKDAYS[words["day"]], PLACES[words["nth"]]
    if words["which"] in MONTHS:
        named = dated(now, MONTHS[words["which"]], 1, None)
        first = named.first if named is not None else now.date()
        this = now.date().replace(day=1)
        first = this if this.month == first.month else first
    else:
        first = add_months(now.date().replace(day=1), 1 if re.search("next|ujao", words["which"]) else 0)
    found = day_at(first, weekday, place)
    if found < now.date():
        found = day_at(add_months(first, 12 if words["which"] in MONTHS else 1), weekday, place)
    return Day(found, weight=3)


def read_repeat_part(words: Words, _: datetime) -> Repeat:
    """Every morning; kila usiku."""
    return Repeat("DAILY", part=PART_WORDS[words["part"]])


def read_repeat_word(words: Words, _: datetime) -> Repeat:
    """Daily, weekly, hourly."""
    return REPEAT_WORDS[words["word"]]


def read_weekdays(words: Words, _: datetime) -> Repeat:
    """Weekdays, every weekend, siku za kazi."""
    weekend = "end" in words["all"] or "wikendi" in words["all"]
    return Repeat("WEEKLY", days=(5, 6) if weekend else (0, 1, 2, 3, 4))


def read_iso(words: Words, _: datetime) -> Day | None:
    """2026-12-03."""
    return _date(int(words["y"]), int(words["mo"]), int(words["d"]))


def read_slashed(words: Words, now: datetime) -> Day | None:
    """3/12, 03.12.2026: the day first, unless only the other order is a date."""
    day, month = int(words["d"]), int(words["mo"])
    if month > 12 >= day:
        day, month = month, day
    return dated(now, month, day, words.get("y"))


def read_month_day(words: Words, now: datetime) -> Day | None:
    """3 December; Dec 3rd, 2026; tarehe 3 mwezi wa 12."""
    month = MONTHS[words["month"]] if "month" in words else int(words["mo"])
    return dated(now, month, int(words["d"]), words.get("y"))


def read_day_of_month(words: Words, now: datetime) -> Day | None:
    """The 15th of next month; tarehe 15 mwezi ujao."""
    later = words["which"] in ("next month", "mwezi ujao")
    first = add_months(now.date().replace(day=1), 1 if later else 0)
    return _date(first.year, first.month, int(words["d"]))


def read_nth(words: Words, now: datetime) -> Day | None:
    """The 15th: this month's, or the next one to come."""
    number = int(words["d"])
    for day in _every_month(now.date(), number):
        return Day(day, "month", weight=2, number=number)
    return None


def read_weekday_nth(words: Words, now: datetime) -> Day | None:
    """Friday the 23rd: the next day that is both."""
    weekday = WEEKDAYS[words["day"]]
    for day in _every_month(now.date(), int(words["d"])):
        if day.weekday() == weekday:
            return Day(day, weight=3)
    return None


def read_relative(words: Words, now: datetime) -> Day:
    """Today, kesho, the day after tomorrow."""
    word = words["word"]
    days = {"today": 0, "leo": 0, "tomorrow": 1, "kesho": 1, "yesterday": -1, "jana": -1, "juzi": -2}.get(word, 2)
    return Day(now.date() + timedelta(days=days), weight=3)


def read_weekday(words: Words, now: datetime) -> Day:
    """Friday; next friday; ijumaa ijayo; friday next week; last friday."""
    weekday, today = WEEKDAYS[words["day"]], now.date()
    which = f"{words.get('which', '')} {words.get('after', '')}"
    monday = today - timedelta(days=today.weekday())
    if re.search("last|past|previous|iliyopita", which):
        return Day(today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1), weight=2)
    if re.search("next|following|ijayo|ujao", which):
        return Day(monday + timedelta(days=7 + weekday), weight=2)
    if re.search("this week|wiki hii", which):
        return Day(monday + timedelta(days=weekday), weight=2)
    return Day(today + timedelta(days=(weekday - today.weekday()) % 7), "week", weight=2)


def read_loose(words: Words, now: datetime) -> Day:
    """Next week, this weekend, mwisho wa mwezi."""
    word, today = words["word"], now.date()
    monday = today - timedelta(days=today.weekday())
    if re.search("weekend|wikendi", word):
        return Day(monday + timedelta(days=12)) if "next" in word else Day(max(today, monday + timedelta(days=5)))
    if re.search("end|last|mwisho", word):
        if "week" in word or "wiki" in word:
            return Day(max(today, monday + timedelta(days=4)))
        return Day(today.replace(day=calendar.monthrange(today.year, today.month)[1]), number=31)
    if "week" in word or "wiki" in word:
        return Day(monday + timedelta(days=7))
    if "month" in word or "mwezi" in word:
        return Day(add_months(today.replace(day=1), 1))
    return Day(date(today.year + 1, 1, 1))


def read_holiday(words: Words, now: datetime) -> Day | None:
    """Christmas, Jamhuri day."""
    month, day = HOLIDAYS[words["word"]]
    return dated(now, month, day, words.get("y"))


def read_clock(words: Words, _: datetime) -> Clock | None:
    """5pm, 17:30, 5.30 p.m., 1140 a.m., at 5, 9 o'clock."""
    hour, minute, second = int(words["h"]), int(words.get("m", 0)), int(words.get("s", 0))
    if "half" in words:
        return _halved(hour, minute, second, words["half"])
    if hour > 24 or minute > 59:
        return None
    return Clock(hour % 24, minute, second, sure=hour > 12 or hour == 0 or words["h"].startswith("0"))


def read_past(words: Words, _: datetime) -> Clock | None:
    """Half past 5, quarter to 6, 10 past 9, 20 minutes to 8 pm."""
    hour, some = int(words["h"]), words["some"].removeprefix("a ")
    minutes = {"half": 30, "quarter": 15}.get(some) or int("0" + "".join(char for char in some if char.isdigit()))
    if not 1 <= hour <= 12 or minutes > 59:
        return None
    if words["way"] not in ("past", "after"):
        hour, minutes = (hour - 1 if minutes else hour), (60 - minutes) % 60
    hour = hour or 12
    return _halved(hour, minutes, 0, words["half"]) if "half" in words else Clock(hour, minutes)


def read_noon(words: Words, _: datetime) -> Clock:
    """Noon, midday; midnight is the one at the end of the day."""
    return Clock(0, sure=True, next_day=True) if words["word"] == "midnight" else Clock(12, sure=True)


def read_saa(words: Words, _: datetime) -> Clock | None:
    """Saa tatu na nusu asubuhi: hours counted from dawn and dusk; past 12, or with am or pm, a plain clock."""
    hour, minute = int(words["h"]), int(words.get("m", 0))
    if "half" in words:
        return _halved(hour, minute, 0, words["half"])
    if hour == 0 or hour > 12:
        return Clock(hour, minute, sure=True) if hour <= 23 else None
    minute += 30 if "nusu" in words else 15 if "robo" in words else int(words.get("plus", 0))
    if "less" in words:
        minute -= int(words.get("minus", 15))
    total = hour * 60 + 360 + minute
    clock = Clock(total // 60 % 12 or 12, total % 60)
    return parted(clock, PART_WORDS[words["part"]]) if "part" in words else clock


def read_hour_of_part(words: Words, _: datetime) -> Clock | None:
    """9 in the evening; 8 asubuhi is not said."""
    clock = read_clock(words, _)
    return parted(clock, PART_WORDS[words["part"]]) if isinstance(clock, Clock) and clock.hour <= 12 else clock


def read_part(words: Words, _: datetime) -> Part:
    """In the morning; jioni; this evening is today's."""
    return Part(PART_WORDS[words["part"]], today=bool(re.search(r"\bthis\b|\bhii\b", words["all"])))


def read_tonight(_: Words, __: datetime) -> Part:
    """Tonight; leo usiku."""
    return Part("night", today=True)


# ---------------------------------------------------------------- arithmetic of clocks and calendars


def parted(clock: Clock, part: str) -> Clock:
    """A clock whose half was open, settled by the part of the day: 9 in the evening, 1 at night."""
    if clock.sure:
        return clock
    hour = clock.hour % 12
    if part in ("morning", "dawn"):
        return replace(clock, hour=hour, sure=True)
    if part == "night":
        return (
            replace(clock, hour=hour + 12, sure=True)
            if hour >= 6
            else replace(clock, hour=hour, sure=True, next_day=True)
        )
    if part in ("afternoon", "lunch"):
        late_morning = hour in (10, 11)
        return replace(clock, hour=hour if late_morning else hour + 12, sure=True)
    return replace(clock, hour=hour + 12, sure=True) if hour else replace(clock, hour=0, sure=True, next_day=True)


def from_now(now: datetime, span: timedelta) -> datetime:
    """The instant that long after now, by the same clocks; counted in UTC, so that a change of them does not matter."""
    return (now.astimezone(UTC) + span).astimezone(now.tzinfo)


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month when it has no such day."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def day_at(first: date, weekday: int, place: int) -> date:
    """The 1st to 4th such weekday of the month that begins on `first`, or its last one for a place of -1."""
    if place < 0:
        end = add_months(first, 1) - timedelta(days=1)
        return end - timedelta(days=(end.weekday() - weekday) % 7)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (place - 1))


def working_day_at(first: date, place: int) -> date:
    """The 1st to 4th day from Monday to Friday of the month that begins on `first`, or its last one for -1."""
    days = (first + timedelta(days=ahead) for ahead in range((add_months(first, 1) - first).days))
    working = [day for day in days if day.weekday() in WORKING_DAYS]
    return working[place if place < 0 else place - 1]


def dated(now: datetime, month: int, day: int, year: str | None) -> Day | None:
    """A day of a month, of the year said, or else of the next one that has it and is not over."""
    if year:
        return _date(int(year) + (2000 if len(year) <= 2 else 0), month, day)
    for ahead in range(9):  # 29 February is at most eight years away
        found = _date(now.year + ahead, month, day)
        if found is not None and found.first >= now.date():
            return replace(found, rolls="year")
    return None


def _date(year: int, month: int, day: int) -> Day | None:
    if not (YEAR_MIN <= year <= YEAR_MAX and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    return Day(date(year, month, day), weight=3)


def _every_month(today: date, number: int) -> Iterable[date]:
    """The days of this number from today on, in months that have it."""
    first = today.replace(day=1)
    for _ in range(MONTHS_AHEAD_MAX):
        if 1 <= number <= calendar.monthrange(first.year, first.month)[1] and first.replace(day=number) >= today:
            yield first.replace(day=number)
        first = add_months(first, 1)


def _halved(hour: int, minute: int, second: int, half: str) -> Clock | None:
    """A clock with am or pm; 17:30 pm is only said twice."""
    if 13 <= hour <= 23:
        return Clock(hour, minute, second, sure=True)
    return Clock(hour % 12 + (12 if half[0] == "p" else 0), minute, second, sure=True) if 1 <= hour <= 12 else None


# ---------------------------------------------------------------- the table


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"


DIGIT = "0-9"
"""What a pattern needs that has a figure in it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way to write a time."""

    regex: re.Pattern[str]
    read: Reader
    weak: bool = False
    needs: str = ""
    """Letters without which it cannot match, or DIGIT; a cheap first look."""

    def may_match(self, text: str, has_digit: bool) -> bool:
        """Whether a text has what it needs; `has_digit` tells whether it has any digit."""
        return has_digit if self.needs is DIGIT else self.needs in text

    def pieces(self, text: str, now: datetime) -> Iterable[Piece]:
        """What it finds in `text`, in order."""
        for count, match in enumerate(self.regex.finditer(text)):
            if count == MATCHES_MAX:
                return
            words = {name.removesuffix("_b"): value for name, value in match.groupdict().items() if value}
            value = self.read({**words, "all": match[0]}, now)
            if value is not None:
                yield Piece(match.start(), match.end(), value, self.weak)


def _pattern(regex: str, read: Reader, *, weak: bool = False, needs: str = "") -> Pattern:
    return Pattern(re.compile(regex), read, weak, needs)


MONTH, WEEKDAY, PART = _any(MONTHS), _any(WEEKDAYS), _any(PART_WORDS)
_NTH, _NTH_SW = r"(?:1st|2nd|second|3rd|4th|last)", r"(?:kwanza|pili|[34]|mwisho)"
_WORKING = r"(?:working|work|business|week) ?day"
_KAZI = rf"siku (?:ya )?(?:kazi ya (?P<nth>{_NTH_SW})|(?P<nth_b>{_NTH_SW}) ya kazi)"
_FULL_DAY = (
    r"(?:monday|tuesday|tues|tue|wednesday|wed|thursday|thurs|thur|thu|friday|fri|saturday|sunday|juma(?:tatu|nne"
    r"|tano|mosi|pili)|alhamisi|ijumaa)"
)
_UNIT = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|wks?|fortnight|months?|years?|yrs?)"
_UNIT_SW = r"(?:sekunde|dakika|masaa|saa|siku|wiki|mwezi|miezi|mwaka|miaka)"
_TH = r"(?:st|nd|rd|th)"
_ON = r"(?:\b(?:on|at|by|for|from|starting|before|until|till|the|kuanzia|kabla ya|mnamo|siku ya|hadi) ){0,2}"
_AT = (
    r"(?:(?:\b(?:at|by|from|around|about|before|for|to|until|till|starting|kwa|mnamo|kama) |@ ?)(?:(?:about|around) "
    r")?)?"
)
_HALF = r"(?P<half>[ap](?: ?\. ?| )?m\b\.?|[ap]\b)"
_AFTER = r"\b(?:in|after|within|baada ya|ndani ya) (?:about |exactly |another |like |around |the next |just |kama )?"
_YEAR = r"(?:(?:,? (?:in )?|[-/])(?P<y>(?:19|20|21)\d\d)(?!\d))?"

TABLE: tuple[Pattern, ...] = (
    # Weekdays by their place in a month: every first monday of the month, jumatatu ya kwanza ya kila mwezi.
    _pattern(
        rf"\b(?:on )?(?:every|each) (?P<nth>{_NTH}) (?P<day>{WEEKDAY}) (?:of|in) (?:the|a|every|each) month\b"
        rf"|\b(?:on )?(?:the )?(?P<nth_b>{_NTH}) (?P<day_b>{WEEKDAY}) (?:of|in) (?:every|each) month\b",
        read_repeat_place, needs="month",
    ),
    _pattern(
        rf"\b(?:(?:every|each) month|monthly),? (?:on )?(?:the )?(?P<nth>{_NTH}) (?P<day>{WEEKDAY})\b",
        read_repeat_place, needs="month",
    ),
    _pattern(rf"\b(?:on )?every (?P<nth>1st|3rd|4th|last) (?P<day>{WEEKDAY})\b", read_repeat_place, needs="every"),
    _pattern(
        rf"\bkila (?:siku ya )?(?P<day>{WEEKDAY}) ya (?P<nth>{_NTH_SW}) ya (?:kila )?mwezi\b"
        rf"|\b(?:siku ya )?(?P<day_b>{WEEKDAY}) ya (?P<nth_b>{_NTH_SW}) (?:ya )?kila mwezi\b",
        read_repeat_place, needs="mwezi",
    ),
    _pattern(
        rf"\bkila mwezi,? (?:siku ya )?(?P<day>{WEEKDAY}) ya (?P<nth>{_NTH_SW})\b", read_repeat_place, needs="mwezi"
    ),
    _pattern(
        rf"\b(?:on |by )?(?:the )?(?P<nth>{_NTH}) (?P<day>{WEEKDAY}) (?:of|in) "
        rf"(?P<which>(?:the |this |next )month|{MONTH})\b",
        read_place,
    ),
    _pattern(
        rf"\b(?:siku ya )?(?P<day>{WEEKDAY}) ya (?P<nth>{_NTH_SW}) ya (?P<which>mwezi(?: huu| ujao)?|{MONTH})\b",
        read_place,
    ),
    # Working days by their place in a month: on the last working day of every month.
    _pattern(
        rf"\b(?:on )?(?:every|each) (?P<nth>{_NTH}) {_WORKING} (?:of|in) (?:the|a|every|each) month\b"
        rf"|\b(?:on |by )?(?:the )?(?P<nth_b>{_NTH}) {_WORKING} (?:of|in) (?:every|each) month\b",
        read_repeat_working, needs="month",
    ),
    _pattern(
        rf"\b(?:(?:every|each) month|monthly),? (?:on )?(?:the )?(?P<nth>{_NTH}) {_WORKING}\b", read_repeat_working,
        needs="month",
    ),
    _pattern(rf"\b(?:kila )?{_KAZI},? (?:ya )?kila mwezi\b", read_repeat_working, needs="mwezi"),
    _pattern(rf"\bkila {_KAZI} ya mwezi\b", read_repeat_working, needs="mwezi"),
    _pattern(rf"\bkila mwezi,? {_KAZI}\b", read_repeat_working, needs="mwezi"),
    _pattern(
        rf"\b(?:on |by )?(?:the )?(?P<nth>{_NTH}) {_WORKING} (?:of|in) (?:the |this |next )month\b", read_working,
        needs="month",
    ),
    _pattern(rf"\b{_KAZI} ya mwezi(?: huu| ujao)?\b", read_working, needs="mwezi"),
    # Repetitions: every morning, weekdays, every monday and thursday, every 2 weeks, kila siku, daily.
    _pattern(rf"\b(?:every|each|kila) (?P<part>{PART})\b", read_repeat_part),
    _pattern(r"\b(?:on )?(?:every |each |all )?(?:(?:week|work|working )days|weekends)\b", read_weekdays, needs="k"),
    _pattern(r"\b(?:every|each) (?:week ?day|work(?:ing)? ?day|weekend)\b", read_weekdays, needs="e"),
    _pattern(r"\b(?:kila )?siku (?:ya|za) kazi\b|\bkila wikendi\b", read_weekdays, needs="k"),
    _pattern(
        rf"\b(?:on )?(?:every|each|kila) (?:siku ya )?(?P<other>other |second |2nd )?(?P<days>{WEEKDAY}s?\b"
        rf"(?:(?:, ?(?:and |na )?| (?:and|na|&) )(?:on |every |kila )?{WEEKDAY}s?\b){{0,6}})",
        read_repeat_days,
    ),
    _pattern(
        r"\b(?:on )?(?P<days>(?:mon|tues|wednes|thurs|fri|satur|sun)days"
        r"(?:(?:, ?| and | & )(?:on )?(?:mon|tues|wednes|thurs|fri|satur|sun)days\b){0,6})\b",
        read_repeat_days, needs="days",
    ),
    _pattern(r"\bevery (?:half an? hour|half hour|30 min(?:ute)?s?)\b|\bkila nusu saa\b", read_half_hours),
    _pattern(
        rf"\b(?:every|each|once (?:a|an|every)|kila(?: baada ya)?) (?:(?P<other>other|second|2nd) |(?P<n>\d{{1,3}}) "
        rf")?(?P<unit>{_UNIT})\b",
        read_repeat,
    ),
    _pattern(rf"\bkila (?:baada ya )?(?P<unit>{_UNIT_SW})(?: (?P<n>\d{{1,3}})\b)?", read_repeat, needs="kila"),
    _pattern(
        rf"\b(?P<word>{_any(REPEAT_WORDS)})\b"
        r"(?=$|[ ]?[.,:;!?\n-]|[ ](?:at|to|from|by|on|until|till|please|about|starting|that|reminder|in the|\d|@"
        r"|remind))",
        read_repeat_word, needs="y",
    ),
    # Spans from now: in 10 minutes, in an hour and a half, 2 days from now, baada ya dakika 5, in 1h30.
    _pattern(
        rf"{_AFTER}(?:(?P<n>\d{{1,5}}(?:\.\d{{1,2}})?)(?P<quarters> quarters of an?)?"
        r"|(?P<some>half an?|a half|half|a quarter of an?|quarter of an?|a couple of|a few|few|an?))"
        rf"[ -]?(?P<more>and (?:a )?(?:half|quarter) (?:an )?)?(?P<unit>{_UNIT})\b(?P<tail> and an? (?:half|quarter))?"
        rf"(?:,? (?:and )?(?P<n2>\d{{1,3}}) ?(?P<unit2>{_UNIT})\b)?(?:'? time\b)?(?: from (?:now|today|"
        rf"(?P<base>tomorrow))\b)?",
        read_span,
    ),
    _pattern(
        rf"\b(?:(?P<n>\d{{1,5}}(?:\.\d{{1,2}})?)|(?P<some>half an?|a couple of|a few|an?))[ -]?(?P<more>and a half )?"
        rf"(?P<unit>{_UNIT})(?P<tail> and an? (?:half|quarter))? "
        r"(?:from (?:now|today|(?P<base>tomorrow))|later|hence|after (?:today|(?P<base_b>tomorrow)))\b",
        read_span,
    ),
    _pattern(rf"{_AFTER}(?P<some>nusu|robo)(?: ya)? (?P<unit>saa)\b", read_span, needs="saa"),
    _pattern(
        rf"{_AFTER}(?P<unit>{_UNIT_SW}) (?P<n>\d{{1,5}})\b(?P<more> na (?:nusu|robo))?"
        r"(?: na (?P<unit2>dakika|sekunde) (?P<n2>\d{1,3})\b)?",
        read_span, needs=DIGIT,
    ),
    _pattern(
        rf"\b(?P<unit>{_UNIT_SW}) (?P<n>\d{{1,5}})\b(?P<more> na nusu)? (?:zijazo|ijayo|kutoka sasa|kuanzia sasa"
        rf"|from now)\b",
        read_span, needs=DIGIT,
    ),
    _pattern(
        r"\b(?:in|after) (?:(?P<h>\d{1,2}) ?h(?: ?(?P<m>\d{1,2}) ?m?)?|(?P<m_b>\d{1,3}) ?m(?: ?(?P<s>\d{1,2}) ?s)?|"
        r"(?P<s_b>\d{1,4}) ?s)\b",
        read_compact, needs=DIGIT,
    ),
    # Dates in figures: 2026-12-03, 3/12/2026, 3/12.
    _pattern(
        r"(?<![\d.])(?:\bon )?(?P<y>(?:19|20|21)\d\d)(?P<sep>[-/. ])(?P<mo>0?[1-9]|1[0-2])(?P=sep)(?P<d>0?[1-9]"
        r"|[12]\d|3[01])(?!\d)(?:t(?=\d))?",
        read_iso, needs=DIGIT,
    ),
    _pattern(
        r"(?<![\d./-])(?:\bon )?(?P<d>\d{1,2})(?P<sep>[/.-])(?P<mo>\d{1,2})(?P=sep)(?P<y>\d{4}|\d{2})(?![\d/-])",
        read_slashed, needs=DIGIT,
    ),
    _pattern(r"(?<![\d./:-])(?:\bon )?(?P<d>\d{1,2})/(?P<mo>\d{1,2})(?![\d/])", read_slashed, needs="/"),
    _pattern(
        rf"\b(?P<y>(?:19|20|21)\d\d)[-/ ](?P<month>{MONTH})[-/ ](?P<d>\d{{1,2}})(?!\d)",
        read_month_day, needs=DIGIT,
    ),
    _pattern(rf"\b(?P<y>(?:19|20|21)\d\d)[-/ ](?P<d>\d{{1,2}})[-/ ](?P<month>{MONTH})\b", read_month_day, needs=DIGIT),
    _pattern(
        rf"(?<![\d$])(?P<d>\d{{1,2}})[-/](?P<month>{MONTH})[-/](?P<y>(?:19|20|21)\d\d)(?!\d)",
        read_month_day, needs=DIGIT,
    ),
    _pattern(
        rf"\b(?P<month>{MONTH})[-/](?P<d>\d{{1,2}})[-/](?P<y>(?:19|20|21)\d\d)(?!\d)",
        read_month_day, needs=DIGIT,
    ),
    # Dates with a month: 3 December, Dec 3rd 2026, tarehe 3 mwezi wa 12, the 3rd of next month.
    _pattern(
        rf"{_ON}(?<![\d.:])(?P<d>\d{{1,2}})[ ]?{_TH}?(?: day)?(?: of)?(?: |-|/|\.)?(?P<month>{MONTH})\b\.?{_YEAR}",
        read_month_day, needs=DIGIT,
    ),
    _pattern(
        rf"{_ON}\b(?P<month>{MONTH})(?:\. ?|, ?|-|/| )(?:the )?(?P<d>\d{{1,2}})(?!\d|:\d|\.\d| "
        rf"?[ap]\.?m\b){_TH}?\b{_YEAR}",
        read_month_day, needs=DIGIT,
    ),
    _pattern(r"\b(?:mnamo )?(?:tarehe )?(?P<d>\d{1,2}) mwezi wa (?P<mo>1[0-2]|[1-9])\b", read_month_day, needs="mwezi"),
    _pattern(
        rf"\btarehe (?P<d>\d{{1,2}})(?: mwezi)?(?: wa)? (?P<month>{MONTH})\b{_YEAR}",
        read_month_day, needs="tarehe",
    ),
    _pattern(
        rf"{_ON}\b(?:tarehe )?(?P<d>\d{{1,2}}){_TH}?(?: day)? (?:of )?(?P<which>(?:next|this|the) month|mwezi ujao"
        rf"|mwezi huu)\b",
        read_day_of_month, needs=DIGIT,
    ),
    _pattern(
        rf"{_ON}\b(?P<day>{WEEKDAY}),? (?:the |tarehe )?(?P<d>\d{{1,2}})(?:{_TH})\b",
        read_weekday_nth, needs=DIGIT,
    ),
    _pattern(rf"{_ON}\b(?P<day>{_FULL_DAY}),? (?P<d>1[3-9]|2\d|3[01])\b(?![:.]\d| ?[ap]\.?m\b| ?(?:hrs|hours|minutes"
r"|mins|people|bob|shillings|ksh))", read_weekday_nth, needs=DIGIT),
    _pattern(rf"{_ON}\b(?P<word>{_any(HOLIDAYS)})\b(?: (?P<y>20\d\d)\b)?", read_holiday),
    _pattern(
        rf"(?:\b(?:on|for|by|from|until) )?\bthe (?P<d>\d{{1,2}}){_TH}\b(?: day)?(?! (?:time|floor|one|of|street"
        rf"|avenue|edition))"
        rf"|\b(?:mnamo )?tarehe (?P<d_b>\d{{1,2}})\b",
        read_nth, needs=DIGIT,
    ),
    _pattern(rf"\b(?:on|by|every) (?P<d>\d{{1,2}}){_TH}\b(?! (?:floor|street|avenue|of))", read_nth, needs=DIGIT),
    # Days by name.
    _pattern(
        r"\b(?P<which>wiki ijayo),? (?:siku ya )?(?P<day>juma(?:tatu|nne|tano|mosi|pili)|alhamisi|ijumaa)\b",
        read_weekday,
    ),
    _pattern(rf"{_ON}(?P<word>\bday after tomorrow|\bkesho kutwa|\bmtondo)\b", read_relative),
    _pattern(r"\b(?:tonight|usiku wa leo|leo usiku|usiku huu|this night)\b", read_tonight, needs="i"),
    _pattern(
        rf"{_ON}\b(?P<word>today|tomorrow|yesterday|leo|kesho|jana|juzi)\b(?:'s(?= weather| forecast| temp))?(?!'s)",
        read_relative,
    ),
    _pattern(
        rf"{_ON}(?:\b(?P<which>this past|this coming|this upcoming|next week|next|following|this week|this|coming"
        rf"|upcoming|last|past|previous)"
        rf"[ ,-]{{1,3}})?\b(?P<day>{_FULL_DAY})\b(?:'s(?= weather| forecast| temp))?(?!'s)"
        r"(?P<after> (?:of )?(?:the )?(?:next week|following week|this week|(?:ya )?wiki ijayo|(?:ya )?wiki hii"
        r"|ijayo|iliyopita|hii)\b)?",
        read_weekday,
    ),
    _pattern(
        r"\b(?:on|by|for|(?P<which>next|this|last)|coming|until|from) (?P<day>mon|sat|sun)\b|\b(?P<day_b>mon|sat"
        r"|sun)\b(?=,? (?:at |@ ?)?\d)",
        read_weekday,
    ),
    _pattern(
        r"\b(?:(?:on|by|at|for|over|during) )?(?:the )?(?P<word>(?:next |this |the )?weekend|wikendi(?: hii)?|next "
        r"(?:week|month|year)|"
        r"wiki ijayo|mwezi ujao|mwaka ujao|end of (?:the |this |every |each )?(?:month|week)|last day of (?:the "
        r"|every |each )?month|month end|mwisho wa (?:mwezi|wiki))\b",
        read_loose,
    ),
    # Clocks: saa tatu asubuhi, 5.30pm, half past 5, noon, 17:30, 17h30, 0800 hrs, 9 o'clock.
    _pattern(
        r"(?:\b(?:at|by|from|mnamo|kwa|on|kabla ya|ifikapo) )?\bsaa (?P<h>\d{1,2})(?!\d)(?:[:.](?P<m>[0-5]\d)"
        r"(?!\d))?(?: ?(?P<half>[ap]\.?m\b))?"
        r"(?:(?P<nusu> (?:na |u)?nusu\b)|(?P<robo> (?:na )?robo\b)|(?P<less> kasoro ?(?:robo|(?:dakika )?"
        r"(?P<minus>\d{1,2}))\b)"
        r"|(?: na (?:dakika )?(?P<plus>[0-5]?\d)\b))?(?: kamili)?"
        r"(?: (?:za |ya |cha |in the |at )?(?P<part>asubuhi|mchana|alasiri|jioni|usiku|alfajiri|morning|afternoon"
        r"|evening|night)\b)?",
        read_saa, needs="saa",
    ),
    _pattern(
        rf"{_AT}\b(?P<some>half|a quarter|quarter|\d{{1,2}}(?: minutes?| mins?)?) (?P<way>past|after|to|till?) "
        rf"(?P<h>\d{{1,2}})\b(?![:/.]\d)"
        rf"(?: ?o ?'? ?clock)?(?: ?{_HALF})?",
        read_past, needs=DIGIT,
    ),
    _pattern(
        rf"{_AT}(?<![\d:.,$/-])\b(?P<h>\d{{1,2}})(?:[:. ](?P<m>[0-5]\d))? (?:in the (?P<part>morning|afternoon"
        rf"|evening)|at (?P<part_b>night))\b",
        read_hour_of_part, needs=DIGIT,
    ),
    _pattern(
        rf"{_AT}(?<![\d:.$,])(?P<h>\d{{1,2}})[:.]?(?P<m>[0-5]\d)(?:[:.](?P<s>[0-5]\d))? ?{_HALF}",
        read_clock, needs=DIGIT,
    ),
    _pattern(rf"{_AT}(?<![\d:.$,])(?P<h>\d{{1,2}})(?: (?P<m>[0-5]\d))?\.? ?{_HALF}", read_clock, needs=DIGIT),
    _pattern(
        r"(?:\b(?:at|by|before|until|from|around) )?\b(?:12 )?(?P<word>noon|midday|midnight|mid-day)\b",
        read_noon,
    ),
    _pattern(
        rf"{_AT}(?<![\d:.])(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:\.\d{{1,6}})?)?(?![\d:])(?: ?"
        rf"(?:hrs|hours|h)\b)?",
        read_clock, needs=":",
    ),
    _pattern(rf"{_AT}(?<![\d:.])\b(?P<h>[01]?\d|2[0-3])h(?P<m>[0-5]\d)\b", read_clock, needs=DIGIT),
    _pattern(r"(?:\b(?:at|by) )?\b(?P<h>[01]\d|2[0-3])(?P<m>[0-5]\d) ?(?:hrs|hours)\b", read_clock, needs=DIGIT),
    _pattern(rf"{_AT}\b(?P<h>\d{{1,2}})(?: (?P<m>[0-5]\d))? ?o ?'? ?clock\b", read_clock, needs="clock"),
    # Parts of the day: in the morning, jioni.
    _pattern(
        rf"(?:\b(?:in|during) the |\bthis |\bat |\b(?:wakati wa|ya|za) )?\b(?P<part>{PART})\b(?: hii\b)?"
        rf"(?! (?:news|shift|club|out|bus|train|flight))",
        read_part,
    ),
    # A number after "at", where nothing better was said: at 5, @ 9.30.
    _pattern(
        r"(?:\b(?:at|by|around)\b|@) ?(?:around |about |like )?(?P<h>\d{1,2})(?:[ .](?P<m>[0-5]\d))?(?:ish)?\b"
        r"(?![:%/,.]\d|[%/]| ?(?:percent|%)"
        r"| (?:dollars?|bob|shillings?|ksh|kes|usd|minutes?|hours?|days?|[a-z]{1,20} (?:street|road|avenue|ave|rd)\b))",
        read_clock, needs=DIGIT, weak=True,
    ),
)  # fmt: skip
"""Every way, most telling first: what an earlier pattern has taken, a later one no longer sees."""

ANSWERS: tuple[Pattern, ...] = (
    _pattern(
        r"(?<![\d:.,/$-])\b(?P<h>\d{1,2})(?:[ .](?P<m>[0-5]\d))?(?:ish)?\b(?![:/%-]|[.,]\d)",
        read_clock, needs=DIGIT, weak=True,
    ),
    _pattern(rf"{_ON}\b(?P<d>\d{{1,2}}){_TH}\b", read_nth, needs=DIGIT),
    _pattern(r"\b(?:right now|now|sasa hivi|sasa|immediately)\b", read_now, weak=True),
    _pattern(r"\b(?P<day>mon|sat|sun)\b(?! (?:will|is|was|set|rise|shine|in))", read_weekday),
)
"""What counts only in the answer to "when?"."""
