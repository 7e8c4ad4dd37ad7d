"""A line that somebody wrote, made fit to teach from: other people's names, numbers and addresses in place of theirs.

A first draft for the member of staff who reads it before it is used: what a machine cannot tell for a name, they do.
Pure.
"""

import re
from collections.abc import Collection, Iterator
from itertools import cycle

from core.brain import places
from core.brain.when_patterns import MONTHS
from core.brain.words import clean, listed, lower

LINE_CHARS_MAX = 300
"""A longer line teaches nothing that its beginning does not."""
NAME = "Amina"
MAIL = "amina@example.com"
LINK = "https://example.com"
DIGITS = "712345678"
"""What the digits of a number become, one after the other; zeros in front and a country's code stay."""
LONG_DIGITS_MIN = 5
"""A number of so many digits may be somebody's; a shorter one is a time, a sum or a count."""

_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LINK = re.compile(r"\b(?:https?://|www\.)\S+")
_REFERENCE = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[A-Za-z0-9]{8,}\b")
_NUMBER = re.compile(r"\+?\d(?:[ ().-]{0,2}\d)*")
_DATE = re.compile(r"\d{4}([.-])\d{1,2}\1\d{1,2}|\d{1,2}([.-])\d{1,2}\2\d{2,4}")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_STARTS = re.compile(r"(?:^|[.!?:\n])\W*$")
_NO_NAMES = frozenset(MONTHS) | listed(
    "i i'm i've i'll i'd monday tuesday wednesday thursday friday saturday sunday jumatatu jumanne jumatano alhamisi"
    " ijumaa jumamosi jumapili english swahili kiswahili sheng whatsapp telegram google gmail mathia m-pesa mpesa"
    " christmas easter krismasi pasaka uber bolt airtel safaricom"
)


def anonymous(text: str, names: Collection[str] = ()) -> str:
    """The text as one line without what tells who wrote it or of whom; `names` are names that are known to be some.

    At most LINE_CHARS_MAX characters.
    """
    line = " ".join(clean(text[: 4 * LINE_CHARS_MAX]).split())[: 2 * LINE_CHARS_MAX]
    line = _LINK.sub(LINK, _MAIL.sub(MAIL, line))
    line = _REFERENCE.sub(_reference, line)
    line = _NUMBER.sub(_number, line)
    known = {word for name in names for word in _words(name)}
    return _named(line, known)[:LINE_CHARS_MAX].strip()


def _words(name: str) -> Iterator[str]:
    return (lower(word) for word in _WORD.findall(name) if len(word) > 1)


def _number(match: re.Match[str]) -> str:
    digits = sum(char.isdigit() for char in match[0])
    if digits < LONG_DIGITS_MIN or _DATE.fullmatch(match[0]):
        return match[0]
    start = re.match(r"\+\d{1,3}(?=[ -])|\+254|\+?0*", match[0])
    kept = start[0] if start else ""
    fresh = cycle(DIGITS)
    return kept + "".join(next(fresh) if char.isdigit() else char for char in match[0][len(kept) :])


def _reference(match: re.Match[str]) -> str:
    """A receipt's number or the like: letters and digits stay what they are, and are others."""
    letters, digits = cycle("ABCDEFGH"), cycle(DIGITS)
    return "".join(next(digits) if char.isdigit() else next(letters) for char in match[0])


def _named(line: str, known: Collection[str]) -> str:
    """The line with one NAME for each stretch of words that are a name."""
    kept: list[str] = []
    at = 0
    behind_name = False
    for match in _WORD.finditer(line):
        between = line[at : match.start()]
        if _is_name(line, match, known):
            if not (behind_name and between.strip() == ""):
                kept += [between, NAME]
            kept.append("'s" if match[0].endswith(("'s", "’s")) else "")
            behind_name = True
        else:
            kept += [between, match[0]]
            behind_name = False
        at = match.end()
    return "".join((*kept, line[at:]))


def _is_name(line: str, match: re.Match[str], known: Collection[str]) -> bool:
    if line[match.end() : match.end() + 1] == "@":
        return False  # Of MAIL.
    word = lower(match[0]).removesuffix("'s").removesuffix("’s")
    if word in known:
        return True
    if not match[0][0].isupper() or match[0].isupper() or _STARTS.search(line[: match.start()]):
        return False
    if word in _NO_NAMES or word in places.NAMES:
        return False
    # "New" of New York, "Dar" of Dar es Salaam.
    return not any(place.start <= match.start() < place.end for place in _places(line, match.start(), match.end()))


def _places(line: str, start: int, end: int) -> Iterator[places.Place]:
    """Known places of several words around a word."""
    low = lower(line)
    around = [(found.start(), found.end()) for found in _WORD.finditer(low)]
    here = next(number for number, (first, _) in enumerate(around) if first == start)
    for first in range(max(0, here - 2), here + 1):
        for last in range(here, min(len(around), here + 3)):
            name = low[around[first][0] : around[last][1]]
            if name in places.NAMES:
                yield places.Place(around[first][0], around[last][1], places.NAMES[name])
