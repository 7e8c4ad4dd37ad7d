"""Reminders: what, when, how often and how urgent a message says, and which one is meant. Pure."""

import re
from dataclasses import replace
from datetime import datetime

from core.brain import periods, when
from core.brain.heard import Heard, Slots, Span
from core.brain.words import TEXT_PARSED_CHARS_MAX, listed, lower

CONTENT_CHARS_MAX = 20_000
"""What is kept of a reminder's text here; whether that is too long is for the action to say."""
COURTESY_CHARS_MAX = 60
"""Where a request ends in courtesies, they stand in so many characters."""

_POLITE_END = re.compile(
    r"(?i)[ ,.!?-]{0,4}\b(?:please|pls|plz|thanks|thx|thank you|tafadhali|asante(?: sana)?|ok|okay)[ .!?]*$",
)
_LEAD = re.compile(
    r"(?:[ ,.:;!?\n-]+|(?:please|kindly|hey|hi|hello|can you|could you|would you|will you|i need you to|i want you "
    r"to|i need|i want|i'd like|that|to|about"
    r"|of|for|me|on|kuhusu|kwamba|kuwa|ili|ya|cha|tafadhali|naomba|saying|called|titled|and|also|is|i have to|i "
    r"need to|i should|nahitaji|set|one)\b)"
)
_NODS = listed(
    "ok okay yes yeah yep sure alright all right great good nice perfect fine cool thanks thank you that's that it's "
    "is sounds looks very so much works for me then now also and please kindly hey hi hello i i'd would like want "
    "need to can could will you mathia sawa poa asante sana vizuri ndio basi naomba tafadhali nataka habari"
)
"""What somebody says to the answer before, or in front of a request, which is nothing to be reminded of."""
_BARE_HOUR = re.compile(r"(?<!\S)(\d{1,2})\W*\Z")
"""The hour of an alarm "for 6": of a reminder it could be how many."""
_WEAK_ENDS = re.compile(r"(?:[ ,;:\n-]+|[ ](?:and|na))+$")
_PRIORITY = re.compile(
    r"[ ,;-]*\b(?:(?:with |as |it's |its )?(?P<level>high|top|low|normal|medium) priority|priority:? (?:is )?"
    r"(?P<level_b>high|low|normal)"
    r"|(?P<high>(?:it's|its|this is|that's) (?:very |really )?(?:urgent|important)|ni (?:ya )?(?:muhimu|haraka"
    r"|dharura)(?: sana)?)"
    r"|(?P<low>(?:it's )?not (?:so |that |very )?(?:urgent|important)|si (?:ya )?(?:muhimu|haraka)(?: sana)?))\b"
    r"|(?P<high_b>^(?:urgent|important)\b[:,! ]+|[,;!-] ?(?:urgent|important)[!. ]*$)"
)


def read_reminder(heard: Heard, gate: Span) -> Slots:
    """Its text, its time, how often, how urgent."""
    slots: Slots = {}
    opened = heard.plain[slice(*gate)]
    found = when.find(heard.plain, heard.now, early=True) if re.search("wake|alarm", opened) else heard.when
    bare = _BARE_HOUR.search(heard.plain, gate[1]) if found.wall is None and "alarm" in opened else None
    if bare is not None:
        found = replace(when.find(f"at {bare[1]}", heard.now), spans=(bare.span(),))
    if found.iso is not None:
        slots["time"] = found.iso
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
    priority = _PRIORITY.search(heard.plain)
    taken = [gate, *found.spans]
    counted = periods.offset(heard.plain, heard.now)
    if counted is not None and found.recurrence is None:
        clock = found.wall.time().replace(tzinfo=None) if found.clock and found.wall is not None else when.DAY_STARTS
        slots["time"] = datetime.combine(counted.day, clock).isoformat(timespec="minutes")
        taken.append(counted.text)
    stretch = (
        periods.find(heard.plain, heard.now) if found.clock and not found.exact and found.recurrence is None else None
    )
    if stretch is not None and isinstance(stretch.start, datetime):
        # From 3 to 5: it is reminded of when that begins.
        slots["time"] = stretch.start.isoformat(timespec="minutes")
        taken.append(stretch.text)
    if priority is not None:
        level = priority["level"] or priority["level_b"] or ("low" if priority["low"] else "high")
        slots["priority"] = {"top": "high", "medium": "normal"}.get(level, level)
        taken.append(priority.span())
    content = read_content(heard, taken, gate[1])
    if not content and not _NODS.issuperset(re.findall(r"[\w']+", heard.plain[: gate[0]])):
        content = read_content(heard, taken, 0, gate[0])
    if not content and "wake" in opened:
        content = "wake up"
    elif not content and "alarm" in opened and found.wall is not None:
        content = "alarm"
    if content:
        slots["content"] = content
    return slots


def read_content(heard: Heard, taken: list[tuple[int, int]], start: int, end: int | None = None) -> str:
    """The person's own words between start and end, without what is taken, without courtesies."""
    stop = len(heard.plain) if end is None else end
    kept: list[str] = []
    at = start
    for low, high in [*sorted(span for span in taken if span[1] > start and span[0] < stop), (stop, stop)]:
        kept.append(heard.said.words(at, min(low, stop)) if low > at else "")
        at = max(at, high)
    text = " ".join(piece.strip() for piece in kept if piece.strip())
    if end is None and heard.said.rest and (not taken or max(high for _, high in taken) < stop):
        text += heard.said.rest
    return tidy(text)


def tidy(text: str) -> str:
    """What is left of a request, without the words around it: "to call Asha please" is "call Asha"."""
    text, start = text[:CONTENT_CHARS_MAX].rstrip(' ,;:\n-"'), 0
    low = lower(text[:TEXT_PARSED_CHARS_MAX])
    while match := _LEAD.match(low, start):
        start = match.end()
    head, tail = text[start:-COURTESY_CHARS_MAX], text[start:][-COURTESY_CHARS_MAX:]
    for ends in (_POLITE_END, _WEAK_ENDS):
        tail = ends.sub("", tail)
    return (head + tail).strip(' ,.;:\n-"')


_CANCEL_WORDS = re.compile(
    r"\b(?:please|kindly|can you|could you|cancel|delete|remove|stop|drop|clear|erase|dismiss|disable|turn off|turn"
    r"|off|get rid of|call off|futa|nifutie|ghairi|ondoa|niondolee|toa|nitolee|sitaki|sihitaji|tena|kile|ile|naomba"
    r"|sitisha|acha|wacha|the|my|a|an|that|this|of|for|to|about|on|me|number|no|nambari|namba|called|named"
    r"|reminders?|reminding|alarms?|remind|don't|kikumbusho|vikumbusho"
    r"|cha|ya|la|za|vya|changu|vyangu|kunikumbusha|kengele|one|ones|please|tafadhali|kuhusu|hicho|hiyo|i|want|need"
    r"|would|like|you|it|with|set|any ?more)\b|[#.,!?\"]"
)

_OF = re.compile(
    r"\b(?:kikumbusho|vikumbusho|ukumbusho|kengele|reminders?|alarms?) (?:cha|vya|ya|za|about|for|of|to|called"
    r"|kuhusu)\b"
    r"(?= (?!me\b|mine\b|today\b|leo\b)\S)"
)
"""What stands before the words of the reminder that is meant."""


def read_which(heard: Heard, _: Span) -> Slots:
    """Which reminder: a number, "all", "last", or words of it."""
    which = which_of(heard.plain, heard)
    return {"which": which} if which else {}


def which_of(plain: str, heard: Heard) -> str:
    """The words that tell one reminder from the others."""
    if re.search(r"\b(?:all|every|everything|zote|vyote|yote)\b", plain):
        return "all"
    named = _OF.search(plain)
    start = named.end() if named is not None else 0
    rest = "\n" * start + _CANCEL_WORDS.sub(lambda match: "\n" * len(match[0]), plain[start:])
    words = list(re.finditer(r"[^\s]+", rest))
    if not words:
        return ""
    text = heard.said.words(words[0].start(), words[-1].end()).strip()
    low = plain[words[0].start() : words[-1].end()]
    number = re.fullmatch(r"(\d{1,4})(?:(?:st|nd|rd|th)(?: 1)?)?", low)
    return number[1] if number else "last" if re.fullmatch("(?:last|latest|newest|mwisho)(?: 1)?", low) else text
