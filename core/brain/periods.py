"""Stretches of time: from 3 to 5 pm, 9 to 17 April, next week, the first quarter, for 2 hours. English, Swahili. Pure.

`when` reads points in time; here two of them make an interval, calendar words make one of their own, and a number of
units without a beginning is a duration. An interval's end is exclusive: "in May" ends on 1 June.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from core.brain import when
from core.brain.when_patterns import MONTH, MONTHS, UNITS, add_months

TEXT_CHARS_MAX = 400
"""How much of a message is searched for stretches of time."""
UNITS_MAX = 10_000
DURATION_S_MAX = 1e10
YEAR_MIN, YEAR_MAX = 1900, 2200

Moment = date | datetime


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until before `end`: dates for whole days, naive local datetimes for clocks."""

    start: Moment
    end: Moment
    text: tuple[int, int] = (0, 0)


_DAY_FULL = (
    r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|mon|tues?|wed|thur?s?|fri|sat|sun"
    r"|juma(?:tatu|nne|tano|mosi|pili)|alhamisi|ijumaa)"
)
_YEAR = r"(?:19|20|21)\d\d"
_HALF = r"(?: ?[ap] ?\.? ?m\b\.?|[ap]\b)"
_POINT = (
    rf"(?:(?:{_DAY_FULL},? )?(?:the )?\d{{1,2}}(?:st|nd|rd"
    rf"|th)?(?: of)?(?: day of)?[ /-]?{MONTH}\b\.?(?:,? (?:of |in )?{_YEAR})?"
    rf"|(?:{_DAY_FULL},? )?{MONTH}\b\.?[ -]?(?:the )?\d{{1,2}}(?:st|nd|rd|th)?\b(?!:)(?:,? (?:of |in )?{_YEAR})?"
    rf"|{_YEAR}[-/. ](?:{MONTH}|\d{{1,2}})[-/. ]\d{{1,2}}\b"
    rf"|\d{{1,2}}/\d{{1,2}}/(?:{_YEAR}|\d\d)\b|\d{{1,2}}/\d{{1,2}}\b"
    rf"|{_YEAR}[ -]?q[1-4]\b|q[1-4](?:[ -](?:of )?{_YEAR})?\b"
    rf"|(?:this |next |last )?{MONTH}\b\.?,?(?: (?:of |in )?(?:{_YEAR}\b|this year|next year|last year))?"
    rf"|{_YEAR}\b"
    rf"|(?:this |next |last |coming )?{_DAY_FULL}\b(?: next week)?"
    r"|(?:today|tomorrow|yesterday|now|date|leo|kesho|jana|sasa)\b"
    rf"|\d{{1,2}}(?::\d\d(?::\d\d)?|\.\d\d(?= ?[ap]))?{_HALF}|\d{{1,2}}:\d\d\b|(?:12 )?(?:noon|midnight"
    rf"|midday)\b|\d{{1,2}} ?o'? ?clock\b"
    r"|saa \d{1,2}(?: na nusu| na robo)?(?: (?:za |ya )?(?:asubuhi|mchana|jioni|usiku|alasiri))?"
    r"|(?:the )?\d{1,2}(?:st|nd|rd|th)?\b)"
)
_JOIN = r"(?: ?(?:-|~|\bto\b|\btill?\b|\buntil\b|\bthrough\b|\bthru\b|\bhadi\b|\bmpaka\b) ?(?:the )?)"
_RANGE = re.compile(
    r"(?<![\w$.])(?:(?P<lead>from|between|kuanzia|kati ya|starting"
    rf"|beginning) )?(?:on )?(?P<a>{_POINT})(?:(?P<and> and | na )|{_JOIN})(?P<b>{_POINT})(?![\w/:])"
    r"(?P<rest>(?: (?:in the |at )?(?:morning|afternoon|evening|night))?(?:,? (?:of|on|of the"
    rf"|on the)? ?(?:{MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?\b|(?:today|tomorrow)\b))?)"
)


def find(plain: str, now: datetime) -> Period | None:
    """The first stretch of time that the text names; `now` is local and aware."""
    text = plain[:TEXT_CHARS_MAX]
    try:
        return _range(text, now) or _calendar(text, now)
    except (ValueError, OverflowError):
        return None


# ---------------------------------------------------------------- from A to B


def _range(text: str, now: datetime) -> Period | None:
    for match in _RANGE.finditer(text):
        if match["and"] and match["lead"] not in ("between", "kati ya", "from"):
            continue
        found = _ends(match["a"], match["b"], match["rest"] or "", bool(match["lead"]), text, match.span(), now)
        if found is not None:
            return found
    return None


def _ends(a: str, b: str, rest: str, led: bool, text: str, span: tuple[int, int], now: datetime) -> Period | None:
    clock_a, clock_b = _clock(a), _clock(b + rest)
    bare_a, bare_b = _bare(a), _bare(b)
    if (clock_a or bare_a is not None or (_is_now(a) and clock_b)) and (
        clock_b
        or (led and bare_b is not None and not re.search("st|nd|rd|th", a + b))
        or (clock_a and (_is_now(b) or bare_b is not None))
    ):
        if not (clock_a or clock_b) and not (led and (bare_a or 99) <= 24):
            return None
        return _clocks(a, b, rest, text, span, now)
    if bare_a is not None and bare_b is not None:
        month = re.search(rf"\b({MONTH})\b\.?", text[: span[0]][-16:]) if re.search("th|st|nd|rd", a + b) else None
        if month is None:
            return None
        a, b = f"{month[1]} {a}", f"{month[1]} {b}"
        bare_a = bare_b = None
    if bare_b is not None:
        month = re.search(rf"\b({MONTH})\b", a)
        year = re.search(_YEAR, a)
        if month is None:
            return None
        b = f"{month[1]} {bare_b} {year[0] if year else ''}".strip()
    if bare_a is not None:
        month = re.search(rf"\b({MONTH})\b", b)
        year = re.search(_YEAR, b)
        if month is None:
            return None
        a = f"{month[1]} {bare_a} {year[0] if year else ''}".strip()
    if (
        not re.search(_YEAR, a)
        and (year := re.search(rf"\b{_YEAR}\b", b))
        and re.search(rf"\b{MONTH}\b", a)
        and not a.startswith("this")
    ):
        a = f"{a} {year[0]}"
        shifted = _point(a, now), _point(b, now)
        if shifted[0] and shifted[1] and shifted[0] >= shifted[1]:
            a = a.replace(year[0], str(int(year[0]) - 1))
    start, end = _point(a, now), _point(b, now)
    if start is None or end is None:
        return None
    if end < start and not re.search(_YEAR, b):
        end = _year_on(end) if re.search(rf"\b{MONTH}\b|/", b) else end + timedelta(days=7)
    if end < start and not re.search(_YEAR, a):
        start = _year_on(start, -1)
    return Period(start, end, span) if start < end or start == end else None


def _year_on(day: date, years: int = 1) -> date:
    return add_months(day, 12 * years)


def _clock(text: str) -> bool:
    return bool(
        re.search(rf"\d{_HALF}|\d:\d\d|noon|midnight|midday|clock|\bsaa \d|morning|afternoon|evening|night", text)
    )


def _bare(text: str) -> int | None:
    match = re.fullmatch(r"(?:the )?(\d{1,2})(?:st|nd|rd|th)?", text)
    return int(match[1]) if match else None


def _is_now(text: str) -> bool:
    return text in ("now", "sasa", "date")


def _clocks(a: str, b: str, rest: str, text: str, span: tuple[int, int], now: datetime) -> Period | None:
    """Two clocks on one day: the day is named beside them, or it is the next one that fits."""
    day = re.search(rf"\b{MONTH}\.? \d{{1,2}}|today|tomorrow", rest)
    around = text[: span[0]] + " \n " + text[span[1] :]
    named = when.find(day[0] if day else around, now)
    part = re.search("morning|afternoon|evening|night", rest) or re.search(
        r"\b(?:in the |this |tomorrow )(morning|afternoon|evening)|\btonight", around
    )
    end = _time(b, part[0] if part else "", now)
    start = _time(a, part[0] if part else "", now)
    base = named.day or (named.wall.date() if named.wall is not None and not named.clock else None)
    if end is None or start is None:
        return None
    start_open = (
        not re.search(rf"\d{_HALF}|noon|midnight|midday|saa", a)
        and start.hour <= 12
        and not (a.startswith("0") or start.hour == 0)
    )
    end_open = not re.search(rf"\d{_HALF}|noon|midnight|midday|saa", b) and end.hour <= 12 and not part
    if start_open and not end_open:
        late = start.replace(hour=start.hour % 12 + 12)
        start = late if end.hour >= 12 and late < end else start
    if _is_now(b) or _is_now(a):
        base = base or now.date()
    first = base or now.date()
    begins, ends = datetime.combine(first, start), datetime.combine(first, end)
    if end_open and ends <= begins:
        ends += timedelta(hours=12)
    if ends <= begins:
        ends += timedelta(days=1)
    if base is None and begins <= now.replace(tzinfo=None) and not _is_now(b):
        begins, ends = begins + timedelta(days=1), ends + timedelta(days=1)
    return Period(begins, ends, span)


def _time(text: str, part: str, now: datetime) -> time | None:
    if _is_now(text):
        return now.time().replace(second=0, microsecond=0, tzinfo=None)
    match = re.fullmatch(r"(?:the )?(\d{1,2})(?::(\d\d))?(?: ?o'? ?clock)?", text.strip())
    if match and int(match[1]) <= 24:
        hour = int(match[1]) % 24
        if part in ("afternoon", "evening", "night") and 1 <= hour < 12:
            hour += 12
        return time(hour, int(match[2] or 0))
    found = when.find(text, now, answer=True)
    return found.wall.time().replace(tzinfo=None) if found.clock and found.wall is not None else None


def _point(text: str, now: datetime) -> date | None:
    """The day that one end of an interval means: the first of a month, a quarter or a year."""
    text = text.strip(" ,.")
    whole = _whole(text, now)
    if whole is not None:
        return whole
    if _is_now(text):
        return now.date()
    iso = re.fullmatch(rf"({_YEAR})[-/. ]({MONTH})[-/. ](\d{{1,2}})", text)
    if iso:
        return date(int(iso[1]), MONTHS[iso[2]], int(iso[3]))
    found = when.find(text.replace(" in ", " ").replace(" of 2", " 2"), now)
    return found.day


def _whole(text: str, now: datetime) -> date | None:
    if match := re.fullmatch(_YEAR, text):
        return date(int(match[0]), 1, 1)
    if match := re.fullmatch(rf"(?:(?P<y>{_YEAR})[ -]?)?q(?P<q>[1-4])(?:[ -](?:of )?(?P<z>{_YEAR}))?", text):
        return date(int(match["y"] or match["z"] or now.year), 3 * int(match["q"]) - 2, 1)
    match = re.fullmatch(
        rf"(?P<which>this |next |last )?(?P<m>{MONTH})\.?,?(?: (?:of |in )?(?:(?P<y>{_YEAR})|(?P<rel>this|next"
        r"|last) year))?",
        text,
    )
    if match is None:
        return None
    month = MONTHS[match["m"]]
    if match["y"] or match["rel"]:
        year = int(match["y"]) if match["y"] else now.year + {"this": 0, "next": 1, "last": -1}[match["rel"]]
        return date(year, month, 1)
    if match["which"] == "this ":
        return date(now.year, month, 1)
    if match["which"] == "last ":
        return date(now.year - (month >= now.month), month, 1)
    ahead = month < now.month or (match["which"] == "next " and month == now.month)
    return date(now.year + ahead, month, 1)


# ---------------------------------------------------------------- calendar words

_UNIT = (
    r"(?P<unit>minutes?|mins?|hours?|hrs?|days?|weeks?|months?|quarters?|years?|decades?|fortnights?|weekends?"
    r"|business days?|work(?:ing)? ?days?|dakika|masaa|siku|wiki|mwezi|miezi|miaka|mwaka)"
)
_AHEAD = r"(?:next|coming|upcoming|following|zijazo|ijayo|ujao)"
_BEHIND = r"(?:last|past|previous|prior|iliyopita|zilizopita)"
_N_UNITS = re.compile(
    rf"\b(?:(?P<way>{_AHEAD}|{_BEHIND}) (?P<n>\d{{1,4}}|few|couple(?: of)?|several)"
    rf"|(?P<n2>\d{{1,4}}) (?P<way2>{_AHEAD}|{_BEHIND})) {_UNIT}\b"
)
_N_UNITS_SW = re.compile(
    r"\b(?P<unit>dakika|masaa|siku|wiki|miezi|miaka) (?P<n>\d{1,3}) (?P<way>zijazo|ijayo|zilizopita|iliyopita)\b"
)
_FROM_POINT = re.compile(
    rf"\b(?P<n>\d{{1,4}}) {_UNIT} (?:starting |beginning )?(?:from|on|starting) (?P<at>{_POINT}|(?:next"
    rf"|this) {_DAY_FULL}|today|tomorrow)"
)
_WITHIN = re.compile(rf"\b(?:within|in less than) (?:the next |the )?(?P<n>\d{{1,4}}|an?|1) {_UNIT}\b")
_NTH = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "1": 1, "last": -1, "final": -1}
_WEEK_OF = re.compile(
    rf"\b(?P<nth>1st|2nd|3rd|4th|5th|last|final|1) week (?:of|in) (?P<of>(?:the )?(?:{_YEAR}|(?:this|next"
    rf"|last) (?:month|year)|(?:the )?month|(?:the )?year|(?:this |next |last )?{MONTH}\.?,?(?: (?:of "
    rf"|in )?(?:{_YEAR}|(?:this|next|last) year))?))"
)
_WEEK_NUMBER = re.compile(
    rf"\b(?:the )?(?:week (?:number )?(?P<n>\d{{1,2}})|(?P<n2>\d{{1,2}})(?:st|nd|rd|th) week)(?:(?: of| in"
    rf"|,)? ?(?P<y>{_YEAR}|this year|next year|last year|the year))?(?! of)\b"
)
_MONTH_NUMBER = re.compile(
    rf"\b(?:the )?(?P<n>\d{{1,2}})(?:st|nd|rd|th) month of (?P<y>{_YEAR}|this year|next year|last year|the year)"
)
_QUARTER = re.compile(
    rf"\b(?:the )?(?:(?P<y>{_YEAR})[ -]?q(?P<q>[1-4])|q(?P<q2>[1-4])(?:[ -](?:of )?(?P<y2>{_YEAR}|this year"
    rf"|next year|last year))?|(?P<nth>1st|2nd|3rd|4th|last) quarter(?: (?:of |in )?(?P<y3>{_YEAR}|this year"
    r"|next year|last year|the year))?)\b"
)
_HALF_YEAR = re.compile(
    rf"\b(?:h(?P<h>[12])|(?P<nth>1st|2nd|last) half)(?: (?:of )?(?:the )?(?P<y>{_YEAR}|year|this year|next year"
    r"|last year))?\b"
)
_THIS = re.compile(
    r"\b(?P<part>later in|later|earlier in|earlier|rest of|remainder of|early|late|beginning of|start of"
    r"|end of|the end of|middle of|mid)?[ -]?(?:the |in the )?(?P<which>this|next|coming|upcoming|following"
    r"|last|past|previous|current|same|my|the)(?: or next)? (?:calendar |working |work ?)?(?P<unit>weekend"
    r"|week|month|quarter|year|decade|fortnight|century|hour|day)\b(?! (?:day|days|ahead|ago|of|before|after"
    r"|number|\d))"
)
_SWAHILI = re.compile(r"\b(?P<unit>wiki|mwezi|mwaka|wikendi) (?P<which>hii|huu|ijayo|ujao|iliyopita|uliopita|jana)\b")
_WEEK_AT = re.compile(
    rf"\b(?:(?:the )?week (?:of|starting|beginning|commencing)(?: on)?|w/c|wc)(?: on)? (?P<at>{_POINT}"
    rf"|the \d{{1,2}}(?:st|nd|rd|th))"
)
_TO_DATE = re.compile(r"\b(?:the |this )?(?P<unit>week|month|quarter|year)[ -]to[ -]date\b|\b(?P<short>ytd|mtd)\b")
_NEXT_HOUR = re.compile(r"\b(?:the )?(?:next|coming) (?P<unit>hour|minute)\b")
_REST = re.compile(
    r"\b(?:the )?(?:rest|remainder|remaining) of (?:the |this |my )?(?P<unit>week|month|year|day|quarter|decade)\b"
)
_MONTH_YEAR = re.compile(
    rf"\b(?P<which>this |next |last )?(?P<m>{MONTH})\b\.?(?:,|-|/)? ?(?:of |in )?(?:(?P<y>{_YEAR})|(?P<rel>this"
    r"|next|last) year)?\b(?! ?\d)"
)
_YEAR_MONTH = re.compile(
    rf"(?<![\d-])(?P<y>{_YEAR})[-/](?P<m>0?[1-9]|1[0-2])(?![\d/-])|(?<![\d-])(?P<m2>0?[1-9]"
    rf"|1[0-2])[-/](?P<y2>{_YEAR})(?![\d/-])|\b(?P<y3>{_YEAR}),? (?P<mw>{MONTH})\b(?! ?\d)"
)
_ONE_YEAR = re.compile(
    r"(?<![\d:/.,$-])(?:\b(?:in|during|of|for|since|year|the year|mwaka"
    rf"|throughout) )?(?:the )?(?:year )?(?P<y>{_YEAR})(?![\w:/%]|[-.,]\d| ?(?:bob|ksh|dollars|usd|people"
    r"|units))"
)
_DECADE = re.compile(
    r"\b(?:the )?(?:(?P<c>19|20|18)?(?P<d>[0-9])0 ?'?s|(?P<w>twenties|thirties|forties|fifties|sixties"
    r"|seventies|eighties|nineties))\b"
)
_DECADES = {
    "twenties": 2,
    "thirties": 3,
    "forties": 4,
    "fifties": 5,
    "sixties": 6,
    "seventies": 7,
    "eighties": 8,
    "nineties": 9,
}


def _calendar(text: str, now: datetime) -> Period | None:
    today = now.date()
    for pattern, read in (
        (_WEEK_AT, _read_week_at), (_TO_DATE, _read_to_date), (_NEXT_HOUR, _read_next_hour),
        (_FROM_POINT, _read_from), (_N_UNITS, _read_n), (_N_UNITS_SW, _read_n), (_WITHIN, _read_within),
        (_WEEK_OF, _read_week_of), (_WEEK_NUMBER, _read_week_number), (_MONTH_NUMBER, _read_month_number),
        (_QUARTER, _read_quarter), (_HALF_YEAR, _read_half), (_REST, _read_rest), (_THIS, _read_this),
        (_SWAHILI, _read_swahili), (_YEAR_MONTH, _read_year_month), (_MONTH_YEAR, _read_month), (_DECADE, _read_decade),
        (_ONE_YEAR, _read_year),
    ):  # fmt: skip
        for match in pattern.finditer(text):
            found = read(match, now, today)
            if found is not None and YEAR_MIN - 200 <= found[0].year <= YEAR_MAX:
                return Period(found[0], found[1], match.span())
    return None


Ends = tuple[Moment, Moment] | None
_NAMES = {
    "business day": "work", "business days": "work", "workday": "work", "workdays": "work", "work day": "work",
    "work days": "work", "working day": "work", "working days": "work", "quarter": "quarter", "quarters": "quarter",
    "decade": "decade", "decades": "decade",
    "weekend": "weekend", "weekends": "weekend", "fortnights": "fortnight", **UNITS,
}  # fmt: skip


def _number(text: str) -> int:
    return {"few": 3, "several": 3, "couple of": 2, "couple": 2, "a": 1, "an": 1}.get(text) or int(text)


def _read_n(match: re.Match[str], now: datetime, today: date) -> Ends:
    words = match.groupdict()
    number = _number(words["n"] or words["n2"])
    way = words["way"] or words["way2"]
    unit = _NAMES[words["unit"]]
    if number > UNITS_MAX:
        return None
    back = bool(re.fullmatch(_BEHIND, way))
    if unit in ("minute", "hour"):
        here = now.replace(tzinfo=None)
        span = timedelta(minutes=number) if unit == "minute" else timedelta(hours=number)
        return (here - span, here) if back else (here, here + span)
    if unit in ("quarter", "decade"):
        first = _first(today, unit)
        months = 3 if unit == "quarter" else 120
        return (
            (add_months(first, -months * number), first)
            if back
            else (add_months(first, months), add_months(first, months * (number + 1)))
        )
    if unit == "work":
        return _work_days(today, number, back)
    start = today if back else today + timedelta(days=1)
    return (_add(start, unit, -number), start) if back else (start, _add(start, unit, number))


def _work_days(today: date, number: int, back: bool) -> Ends:
    step = timedelta(days=-1 if back else 1)
    day, left, days = today, min(number, 400), []
    while left:
        day += step
        if day.weekday() < 5:
            days.append(day)
            left -= 1
    return min(days), max(days) + timedelta(days=1)


def _add(day: date, unit: str, number: int) -> date:
    if unit in ("month", "year", "quarter", "decade"):
        return add_months(day, number * {"month": 1, "year": 12, "quarter": 3, "decade": 120}[unit])
    return day + timedelta(days=number * {"day": 1, "week": 7, "fortnight": 14, "weekend": 7}[unit])


def _read_from(match: re.Match[str], now: datetime, today: date) -> Ends:
    unit = _NAMES[match["unit"]]
    start = _point(match["at"], now)
    if start is None or unit in ("minute", "hour", "work", "second") or _bare(match["at"]) is not None:
        return None
    return start, _add(start, unit, int(match["n"]))


def _read_week_at(match: re.Match[str], now: datetime, today: date) -> Ends:
    found = when.find(match["at"], now)
    if found.day is None:
        return None
    start = _monday(found.day)
    return start, start + timedelta(days=7)


def _read_to_date(match: re.Match[str], now: datetime, today: date) -> Ends:
    unit = match["unit"] or {"ytd": "year", "mtd": "month"}[match["short"]]
    return _first(today, unit), today


def _read_next_hour(match: re.Match[str], now: datetime, today: date) -> Ends:
    here = now.replace(tzinfo=None)
    return here, here + (timedelta(hours=1) if match["unit"] == "hour" else timedelta(minutes=1))


def _read_within(match: re.Match[str], now: datetime, today: date) -> Ends:
    number, unit = _number(match["n"]), _NAMES[match["unit"]]
    here = now.replace(tzinfo=None)
    if unit in ("minute", "hour"):
        return here, here + (timedelta(minutes=number) if unit == "minute" else timedelta(hours=number))
    if unit == "work":
        return _work_days(today, number, back=False)
    start = today + timedelta(days=1)
    return start, _add(start, unit, number)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _year_of(text: str | None, today: date) -> int:
    if text and (match := re.search(_YEAR, text)):
        return int(match[0])
    return today.year + (1 if text and "next" in text else -1 if text and "last" in text else 0)


def _week_one(year: int) -> date:
    """The Monday of ISO week 1: the week that holds 4 January (ISO 8601)."""
    return _monday(date(year, 1, 4))


def _read_week_of(match: re.Match[str], now: datetime, today: date) -> Ends:
    nth, of = _NTH[match["nth"]], match["of"].removeprefix("the ")
    if re.fullmatch(rf"{_YEAR}|(?:this |next |last )?year", of):
        year = _year_of(of, today)
        if nth > 0:
            start = _week_one(year) + timedelta(weeks=nth - 1)
        else:
            start = _monday(date(year, 12, 31))
            if date(year, 12, 31).weekday() < 3:
                start -= timedelta(days=7)
    else:
        if of.endswith("month"):
            first = add_months(today.replace(day=1), 1 if "next" in of else -1 if "last" in of else 0)
        else:
            whole = _whole(of, now)
            if whole is None:
                return None
            first = whole
        if nth > 0:
            # The first week is the one that holds most of its days, as ISO counts weeks of a year.
            start = _monday(first + timedelta(days=3)) + timedelta(weeks=nth - 1)
        else:
            last = add_months(first, 1) - timedelta(days=1)
            start = _monday(last)
            if last.weekday() < 3:
                start -= timedelta(days=7)
    return start, start + timedelta(days=7)


def _read_week_number(match: re.Match[str], now: datetime, today: date) -> Ends:
    number = int(match["n"] or match["n2"])
    if not 1 <= number <= 53:
        return None
    start = _week_one(_year_of(match["y"], today)) + timedelta(weeks=number - 1)
    return start, start + timedelta(days=7)


def _read_month_number(match: re.Match[str], now: datetime, today: date) -> Ends:
    number = int(match["n"])
    if not 1 <= number <= 12:
        return None
    start = date(_year_of(match["y"], today), number, 1)
    return start, add_months(start, 1)


def _read_quarter(match: re.Match[str], now: datetime, today: date) -> Ends:
    words = match.groupdict()
    if words["nth"] == "last" and not words["y3"]:
        end = _first(today, "quarter")
        return add_months(end, -3), end
    number = int(words["q"] or words["q2"] or 0) or _NTH[words["nth"]] % 5
    start = date(_year_of(words["y"] or words["y2"] or words["y3"], today), 3 * number - 2, 1)
    return start, add_months(start, 3)


def _read_half(match: re.Match[str], now: datetime, today: date) -> Ends:
    words = match.groupdict()
    if words["nth"] and not words["y"]:
        return None
    number = int(words["h"] or 0) or (1 if words["nth"] == "1st" else 2)
    start = date(_year_of(words["y"], today), 1 if number == 1 else 7, 1)
    return start, add_months(start, 6)


def _first(day: date, unit: str) -> date:
    """The first day of the unit that holds this day."""
    if unit in ("week", "fortnight"):
        return _monday(day)
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    if unit == "decade":
        return date(day.year // 10 * 10, 1, 1)
    return date(day.year, 1, 1) if unit == "year" else day


def _read_this(match: re.Match[str], now: datetime, today: date) -> Ends:
    unit, which, part = match["unit"], match["which"], match["part"]
    if unit in ("hour", "day", "century"):
        return None
    shift = (
        1
        if which in ("next", "coming", "upcoming", "following")
        else -1
        if which in ("last", "past", "previous")
        else 0
    )
    if "or next" in match[0]:
        shift = 1
    if unit == "weekend":
        start = _monday(today) + timedelta(days=5 + 7 * shift)
        return start, start + timedelta(days=2)
    size = {
        "week": "week",
        "month": "month",
        "quarter": "quarter",
        "year": "year",
        "decade": "decade",
        "fortnight": "fortnight",
    }[unit]
    start = _add(_first(today, size), size, shift)
    end = _add(start, size, 1)
    if part is None:
        return start, (start + timedelta(days=5) if unit == "week" and "work" in match[0] else end)
    middle = {
        "week": start + timedelta(days=3), "fortnight": start + timedelta(days=7), "month": start + timedelta(days=15),
        "quarter": add_months(start, 2), "year": add_months(start, 6), "decade": add_months(start, 60),
    }[unit]  # fmt: skip
    if part in ("rest of", "remainder of"):
        return today, end
    part = part.removesuffix(" in")
    if part in ("later", "late", "end of", "the end of"):
        return (max(today, middle) if shift == 0 and part == "later" and today >= middle else middle), end
    return start, middle


def _read_rest(match: re.Match[str], now: datetime, today: date) -> Ends:
    unit = match["unit"]
    if unit == "day":
        return now.replace(tzinfo=None), datetime.combine(today + timedelta(days=1), time())
    return today, _add(_first(today, unit), unit, 1)


def _read_swahili(match: re.Match[str], now: datetime, today: date) -> Ends:
    which = match["which"]
    shift = 1 if which in ("ijayo", "ujao") else -1 if which in ("iliyopita", "uliopita", "jana") else 0
    if match["unit"] == "wikendi":
        start = _monday(today) + timedelta(days=5 + 7 * shift)
        return start, start + timedelta(days=2)
    unit = {"wiki": "week", "mwezi": "month", "mwaka": "year"}[match["unit"]]
    start = _add(_first(today, unit), unit, shift)
    return start, _add(start, unit, 1)


def _read_year_month(match: re.Match[str], now: datetime, today: date) -> Ends:
    words = match.groupdict()
    month = MONTHS[words["mw"]] if words["mw"] else int(words["m"] or words["m2"])
    start = date(int(words["y"] or words["y2"] or words["y3"]), month, 1)
    return start, add_months(start, 1)


def _read_month(match: re.Match[str], now: datetime, today: date) -> Ends:
    if (
        match["m"] in ("may", "mar", "sun")
        and not (match["y"] or match["rel"] or match["which"])
        and not re.search(r"\b(?:in|of|during|for|by|until|since|early|late|mid) $", match.string[: match.start()])
    ):
        return None
    before = match.string[: match.start()]
    if re.search(r"\d(?:st|nd|rd|th)?(?: of)?[ /-]?$", before):
        return None
    start = _whole(match[0].strip(" ,").replace("-", " ").replace("/", " "), now)
    if start is None:
        return None
    end = add_months(start, 1)
    if part := re.search(r"\b(early|late|mid|beginning of|start of|end of|middle of)[ -]?(?:in )?$", before):
        middle = start + timedelta(days=15)
        if part[1] in ("late", "end of"):
            return middle, end
        if part[1] in ("mid", "middle of"):
            return start + timedelta(days=9), start + timedelta(days=20)
        return start, middle
    return start, end


def _read_decade(match: re.Match[str], now: datetime, today: date) -> Ends:
    number = int(match["d"]) if match["d"] else _DECADES[match["w"]]
    century = int(match["c"]) * 100 if match["c"] else (1900 if number >= 3 else 2000)
    start = date(century + 10 * number, 1, 1)
    return start, date(start.year + 10, 1, 1)


def _read_year(match: re.Match[str], now: datetime, today: date) -> Ends:
    start = date(int(match["y"]), 1, 1)
    return start, date(start.year + 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Counted:
    """A day counted from another, and where the text says so."""

    day: date
    text: tuple[int, int]


_OFFSET = re.compile(
    rf"\b(?:(?P<n>\d{{1,4}}|an?) (?P<unit>days?|weeks?|months?|years?|fortnights?)"
    r"|(?P<one>the day)) (?P<way>from|after|before|prior to|since|following) (?P<at>(?:next |this |last "
    rf"|the )?(?:{_POINT}|easter|christmas(?: day)?|new year(?:'s day)?))"
)


def offset(plain: str, now: datetime) -> Counted | None:
    """A day counted from another: 3 days after Tuesday, 2 weeks before Christmas; not "for 3 days from Tuesday"."""
    text = plain[:TEXT_CHARS_MAX]
    try:
        for match in _OFFSET.finditer(text):
            if re.search(r"\b(?:for|set|lasting) (?:the )?$", text[: match.start()]):
                continue
            base = holiday(match["at"], now) or _point(match["at"], now)
            if base is None:
                continue
            number = 1 if match["one"] else _number(match["n"])
            unit = "day" if match["one"] else UNITS.get(match["unit"]) or match["unit"].rstrip("s")
            way = -number if match["way"] in ("before", "prior to") else number
            return Counted(_add(base, unit, way), match.span())
    except (ValueError, OverflowError):
        return None
    return None


def easter(year: int) -> date:
    """Easter Sunday, Gregorian calendar (the anonymous algorithm, as in Meeus, Astronomical Algorithms, ch. 8)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


_EASTER = re.compile(
    r"\b(?:(?P<which>next|last|previous|following|this) )?(?:(?P<good>good friday|ijumaa kuu)"
    r"|(?P<monday>easter monday|jumatatu ya pasaka)|easter(?: sunday)?|pasaka)(?: (?:of "
    rf"|in )?(?P<y>{_YEAR}))?\b"
)


def holiday(text: str, now: datetime) -> date | None:
    """Easter, Good Friday or Easter Monday; None for a text that names none of them."""
    match = _EASTER.search(text)
    if match is None:
        return None
    shift = timedelta(days=-2 if match["good"] else 1 if match["monday"] else 0)
    if match["y"]:
        return easter(int(match["y"])) + shift
    year = now.year
    if match["which"] in ("last", "previous"):
        year -= easter(year) + shift >= now.date()
    else:
        year += easter(year) + shift < now.date()
    return easter(year) + shift


# ---------------------------------------------------------------- durations

_D_UNIT = (
    r"(?P<unit>seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|nights?|weeks?|weekends?|months?|years?"
    r"|decades?|sekunde|dakika|masaa|siku|wiki|miezi|mwezi|miaka|mwaka)"
)
_LONG = (
    re.compile(
        rf"\b(?P<n>\d{{1,5}}(?:\.\d{{1,3}})?)[ -]?(?P<more>and (?:a )?(?:half|quarter) "
        rf"|and a )?{_D_UNIT}\b(?P<tail> and (?:a )?(?:half|quarter)"
        rf"|(?:,? (?:and )?(?P<n2>\d{{1,3}}) (?P<unit2>minutes?|mins?|seconds?|hours?|days?|months?|weeks?)))?"
    ),
    re.compile(
        r"\b(?P<some>half an?|half|½|a quarter of an?|quarter of an?|1/2|3 quarters of an?|an?|another|some|few"
        r"|a few|several|a couple of|couple of|whole|full|all|the)[ -](?:whole |full "
        rf"|entire )?{_D_UNIT}\b(?P<tail> and (?:a )?(?:half|quarter))?"
    ),
    re.compile(r"\b(?P<unit>dakika|masaa|siku|wiki|miezi|miaka|sekunde) (?P<n>\d{1,4})\b(?P<tail> na nusu)?"),
    re.compile(r"(?<![\w.])(?P<n>\d{1,4}(?:\.\d{1,2})?) ?(?P<unit>h|d|w|y|m)\b"),
)
_SECONDS = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86400, "night": 86400, "week": 7 * 86400, "month": 30 * 86400,
    "year": 365 * 86400,
    "weekend": 2 * 86400, "decade": 3650 * 86400, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400, "m": 60,
}  # fmt: skip
_FROM_NOW = re.compile(r" ?(?:ago|later|from|before|after|hence|earlier|old|zijazo|zilizopita)\b")


@dataclass(frozen=True, slots=True)
class Duration:
    """How long something takes, and where the text says so."""

    seconds: int
    text: tuple[int, int]


_LED = re.compile(r"\b(?:for|about|over|lasts?|lasted|takes?|in|of|another|kwa|leave)(?: just| only| about| around)? $")
_SHARES = (
    ("3 quarters", 0.75),
    ("quarter", 0.25),
    ("half", 0.5),
    ("½", 0.5),
    ("1/2", 0.5),
    ("couple", 2.0),
    ("few", 3.0),
    ("several", 3.0),
    ("some", 3.0),
)
_D_NAMES = {
    "nights": "night",
    "night": "night",
    "weekends": "weekend",
    "weekend": "weekend",
    "decades": "decade",
    "decade": "decade",
}


def duration(plain: str) -> Duration | None:
    """How long something takes where the text says so and names no beginning; a month counts 30 days, a year 365."""
    text = plain[:TEXT_CHARS_MAX]
    for pattern in _LONG:
        for match in pattern.finditer(text):
            seconds = _seconds(match, text) if not _FROM_NOW.match(text, match.end()) else None
            if seconds is not None and 0 < seconds < DURATION_S_MAX:
                return Duration(round(seconds), match.span())
    return None


def _seconds(match: re.Match[str], text: str) -> float | None:
    words = match.groupdict()
    unit = words["unit"]
    size = _SECONDS[unit if len(unit) == 1 else _D_NAMES.get(unit) or UNITS[unit]]
    some = words.get("some")
    if some is None:
        number = float(words["n"])
    else:
        if some in ("a", "an", "the", "whole", "full") and not _LED.search(text[: match.start()]):
            return None
        number = next((value for word, value in _SHARES if word in some), 1.0)
    extra = f"{words.get('more') or ''} {words.get('tail') or ''}"
    number += 0.5 if re.search("half|nusu", extra) else 0.25 if "quarter" in extra else 0
    seconds = number * size
    if words.get("n2"):
        seconds += int(words["n2"]) * _SECONDS[UNITS[words["unit2"]]]
    return seconds
