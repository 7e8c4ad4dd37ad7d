"""Weather: the place and the day that a message asks about. Pure."""

import re
from datetime import date, datetime, timedelta

from core.brain import periods, places, when
from core.brain.heard import FILLERS, Heard, Slots, Span
from core.brain.when_patterns import MONTHS
from core.brain.words import listed

_NO_PLACE = frozenset(MONTHS) - {"may", "mar"} | listed(
    "a an about afternoon and any area around are at be bro by can celsius chance city cold cool could current "
    "currently day days degrees "
    "details do does doing evening expect fahrenheit feel for forecast from general gani get getting give going "
    "have here hewa hot how i "
    "i'm if in is it ikoje iko itakuwaje je know kama kesho leo like location look looking looks me moment morning "
    "my na near need next "
    "night nini now of ok on or our out outside outdoors over place please rain raining rainy right sasa should "
    "show snow snowing so sun "
    "sunny supposed tafadhali tell temperature than thanks that the there this time to today tomorrow tonight town "
    "u umbrella us vipi want "
    "warm was we weather week weekend what when where which will wind windy with would yangu you your mvua joto "
    "baridi jua hali itanyesha "
    "kutakuwa kuna asap because but i'd i'll we're mate during bring wear pack travel travelling degree hapa "
    "freezing chilly storm storms "
    "stormy cloudy soon later minute minutes hour hours second seconds noon midday midnight fall winter summer "
    "spring month year years "
    "what's how's it's check see bad good nice really yesterday hello hi hey thank kindly home work "
    "everything too make sure also else anything something helping help all "
    "remember remind note save send mail email text forward keep write share post "
    "sunrise sunset dawn dusk beginning starting then again ago last past previous weekend weekends was were did "
    "no nope sorry wait actually rather hapana samahani jana juzi iliyopita uliopita zilizopita wiki mwezi mwaka siku "
    "condition conditions find particularly balance"
)
"""Words that no place name begins with or goes past, where weather is talked about."""
_NAME_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
WORD_START = re.compile(r"(?<![^\W_])(?=[^\W\d_])")
_NAME_WORDS_MAX = 4
IN = re.compile(
    r"\b(?:in|at|near|around|from|within|mjini|huko|katika|jijini|eneo la|visit|visiting)\b (?:the )?(?:(?:city|town"
    r"|mji) (?:of|wa) )?"
)
FOR = re.compile(r"\b(?:for|of|to|over|on|ya|wa|kwa|pale|about|like)\b (?:the )?(?:(?:city|town) of )?")
_SMALLER = re.compile(r" +(?:at|for|near|around) (?:the )?(?:(?:city|town) of )?")
"""What leads from a region to a place in it."""
_GATE_FOR = re.compile(r"\b(?:weather|forecast|hewa|temperature)(?: like)? (?:for|of|in|at|ya) (?:the )?")
_AFTER_GATE = re.compile(r"\b(?:weather|forecast|hewa|temperature|ikoje)\b[ :,-]{1,3}")
_WEATHER_NEXT = re.compile(r"(?:'s)? (?:conditions|skies|weather|forecast|temperature)\b")
_START = re.compile(rf"\A(?:{FILLERS.pattern})(?:what's the |how's the |the )?")


def named_in(text: str, lead: re.Pattern[str]) -> tuple[int, int] | None:
    """The first stretch that reads like a place name behind one of the leading words."""
    for match in lead.finditer(text):
        end = name_end(text, match.end())
        if end is not None:
            return match.end(), end
    return None


def name_end(text: str, start: int) -> int | None:
    """Where the place name that begins here ends: some words, and after a comma some more; None when none does."""
    end, at = None, start
    for _ in range(2):
        for _ in range(_NAME_WORDS_MAX):
            word = _NAME_WORD.match(text, at)
            if word is None or word[0].removesuffix("'s") in _NO_PLACE:
                break
            end = at = word.end()
            tail = places.TAIL.match(text, end)
            if tail is not None:
                return tail.end()
            if word[0] in ("st", "mt", "ft") and text[at : at + 1] == ".":
                at += 1
            if text[at : at + 1] != " ":
                break
            at += 1
        comma = re.compile(r", ?").match(text, end) if end is not None else None
        if comma is None:
            break
        at = comma.end()
    return end


def read_weather(heard: Heard, _: Span = (0, 0)) -> Slots:
    """Where, and which day when one was named."""
    slots: Slots = {}
    city = _city(heard)
    if city:
        slots["city"] = city
    day = day_of(heard.when, heard.now) or past_day(heard)
    if day is not None:
        slots["date"] = day.isoformat()
    return slots


_PAST = re.compile(r"\b(?:last|past|previous|ago|\w*liyopita|\w*liopita|\w*zopita)\b")
_AGO = re.compile(r"\b(?P<n>\d{1,3}|an?|a few|a couple of) (?P<unit>days?|weeks?|months?|years?) ago\b")
_AGO_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


def past_day(heard: Heard) -> date | None:
    """A day of the time gone by that is asked about, "last week", "two days ago"; None where it is none."""
    if _PAST.search(heard.plain) is None:
        return None
    today = heard.now.date()
    if re.search(r"\blast (?:night|evening)\b", heard.plain):
        return today - timedelta(days=1)
    ago = _AGO.search(heard.plain)
    if ago is not None:
        number = int(ago["n"]) if ago["n"].isdigit() else 2 if " " in ago["n"] else 1
        return today - timedelta(days=number * _AGO_DAYS[ago["unit"].removesuffix("s")])
    period = periods.find(heard.plain, heard.now)
    if period is None:
        return None
    start, end = (one.date() if isinstance(one, datetime) else one for one in (period.start, period.end))
    return start if end <= today else None


_TOLD = re.compile(
    r"\W*(?:(?:oh|well|so|hi|hey|wow|na)\b[ ,]*)*(?:(?:yesterday|last night|jana|juzi)\b(?!.*\b(?:what|how"
    r"|was it|did it|je)\b)"
    r"|(?:it|the weather) (?:was|rained|snowed)\b)[^?]*"
)


def is_told(heard: Heard) -> bool:
    """Whether a message only tells of a sky that is past: "yesterday was hot"."""
    if _TOLD.fullmatch(heard.plain) is None:
        return False
    day = day_of(heard.when, heard.now)
    return day is None or day < heard.now.date()


def day_of(found: when.When, now: datetime) -> date | None:
    """The local day a time falls on; None for none, and for a clock later today."""
    if found.day is not None:
        return found.day
    if found.wall is None or found.wall.date() == now.date():
        return None
    return found.wall.date()


def _city(heard: Heard) -> str | None:
    """The place a weather question is about, as it should be called."""
    text = heard.without()
    span = named_in(text, _GATE_FOR)
    inside = IN.match(text, span[1] + 1) if span else None
    region = name_end(text, inside.end()) if inside else None
    smaller = _SMALLER.match(text, span[1]) if span else None
    town = name_end(text, smaller.end()) if smaller else None
    if span and smaller and town and not _WEATHER_NEXT.match(text, town):  # "the forecast in Laikipia for Nanyuki"
        return f"{called(heard, smaller.end(), town)}, {heard.said.words(*span)}"
    if span and inside and region:  # "the forecast for Naivasha in Kenya"
        return f"{called(heard, *span)}, {heard.said.words(inside.end(), region)}"
    for lead in (IN, FOR, _AFTER_GATE):
        span = named_in(text, lead)
        if span is not None:
            return called(heard, *span)
    span = named_in(text, _START)
    if span is not None and _WEATHER_NEXT.match(text, span[1]):
        return called(heard, *span)
    known = places.known(heard.said)
    return known.name if known is not None else None


def called(heard: Heard, start: int, end: int) -> str:
    """A place's name from its place in the text; a known town with more words behind it is "Town, more"."""
    name = places.name(heard.said.words(start, end).removesuffix("'s"))
    words = name.split(" ")
    if "," in name or len(words) < 2 or name in places.NAMES.values():
        return name
    for count in range(len(words) - 1, 0, -1):
        head = " ".join(words[:count]).lower()
        if head in places.NAMES:
            return f"{places.NAMES[head]}, {' '.join(words[count:])}"
    return name
