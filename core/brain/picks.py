"""Picking from what was shown: "2", "the second one", "ya pili", and a yes or no to the only one. Pure."""

import re
from collections.abc import Sequence

from core.brain.words import listed, said

CHARS_MAX = 60
"""A longer message says more than which one."""

_LEAD = (
    r"(?:(?:the|option|number|no|namba|nambari|chaguo|i want|i pick|i choose|i'll take|give me|let's do|go for|do"
    r"|nataka|nachagua|naomba|nipe|hiyo|ile|ya|la|cha|wa)\b ?)*"
)
_NUMBER = re.compile(rf"#?{_LEAD}#?(?P<number>\d{{1,2}})(?:st|nd|rd|th)?(?: 1| option)?")
"""Number words are digits by then; the 1 is the "one" of "the second one"."""
_WORD = re.compile(rf"{_LEAD}(?P<word>second|last|kwanza|pili|mwisho)(?: 1| option)?")
_PLACES = {"kwanza": 1, "second": 2, "pili": 2}
_COURTESY = re.compile(r"[ ,]*(?:please|thanks|tafadhali|asante|buda|bro)$")
_YES = listed("yes yeah yep yup y sure ok okay right correct exactly ndio ndiyo naam sawa poa ee eeh 👍")
_NO = listed("no nope nah n hapana la siyo sio")


def picked(text: str, shown: Sequence[str]) -> str | None:
    """Which of the things that were shown a message picks; None where it picks none of them."""
    if not shown:
        return None
    bare = _bare(text)
    if (number := _NUMBER.fullmatch(bare)) is not None:
        place = int(number["number"])
    elif (word := _WORD.fullmatch(bare)) is not None:
        place = _PLACES.get(word["word"], len(shown))
    else:
        return None
    return shown[place - 1] if 1 <= place <= len(shown) else None


def agrees(text: str) -> bool | None:
    """Whether a message is a yes, or a no; None for one that is neither."""
    words = _bare(text).replace(",", " ").split()
    if words and all(word in _YES for word in words):
        return True
    return False if words and all(word in _NO for word in words) else None


def _bare(text: str) -> str:
    plain = said(text).plain if len(text) <= CHARS_MAX else ""
    return _COURTESY.sub("", plain.strip(" .!?()\n")).strip(" .!?()")
