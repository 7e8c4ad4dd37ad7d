"""One message in its place, as rules look at it, and the words in it that carry nothing. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from core.brain import amounts, when
from core.brain.words import Said, listed
from core.dialog import DialogState

if TYPE_CHECKING:
    from pydantic import JsonValue

Slots = dict[str, "JsonValue"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Heard:
    """One message in its place: what was said, when and where, and what went before."""

    said: Said
    now: datetime
    zone: str
    state: DialogState
    known: Mapping[str, "JsonValue"] = field(default_factory=dict)
    """Slots of the action this message corrects or completes."""

    @property
    def plain(self) -> str:
        return self.said.plain

    @cached_property
    def when(self) -> when.When:
        return when.find(self.plain, self.now)

    @cached_property
    def money(self) -> list[amounts.Currency]:
        """Currencies named, each once in a row."""
        found: list[amounts.Currency] = []
        for currency in amounts.currencies(self.plain, self.said.written, self.zone):
            if not found or found[-1].code != currency.code:
                found.append(currency)
        return found

    def without(self, *spans: tuple[int, int], mark: str = "\n") -> str:
        """The plain text with these stretches and those about time blanked out; positions stay the same."""
        return when.masked(self.plain, (*self.when.spans, *spans), mark)


def only_fillers(rest: str) -> bool:
    return all(word in _FILLER_WORDS for word in re.findall(r"[^\W_]+", rest))


_FILLER_WORDS = listed(
    "a about actually afadhali ah all also am an and at badala be better but by can change could do fanya for from "
    "go good how i "
    "if in instead is it iwe je just kama let's like likewise make mean meant my na nah ndio ni no nope not of oh "
    "ok okay on one or "
    "please really right same sawa set so sorry tafadhali that the then there this time to uh um use wait want was "
    "well what with "
    "would ya yes you hapana la ila me date day city amount currency it's that's i'd sasa vipi move s d ll"
)
FILLERS = re.compile(
    r"(?:(?:please|hey|hi|hello|ok|okay|so|and|also|mathia|kindly|can you|could you|would you|will you|can i|could i"
    r"|i need you to"
    r"|i want you to|i want to|i need to|i would like to|i would like you to|i'd like to|i'd like you to|naomba"
    r"|tafadhali|habari|na)"
    r"\b[ ,]*)*"
)
CORRECTION = re.compile(
    r"(?:(?:no+|nope|nah|not? that|oh|ah|eh|sorry|wait|actually|oops|hapana|samahani|la|i mean(?:t)?|make (?:it|that)"
    r"|change (?:it|that)"
    r"|rather|instead|better|let's make it|badala yake|badilisha iwe|iwe|fanya iwe)\b[ ,.!-]*)+"
)
AND = re.compile(r"(?:(?:and|what about|how about|then|also|na|vipi|je|ok|okay|kuhusu)\b[ ,]*)+")
OTHER_TONGUE = (
    r"(?:sheng|french|kifaransa|arabic|kiarabu|german|kijerumani|spanish|kihispania"
    r"|italian|portuguese|kireno|chinese|mandarin|kichina|hindi|kihindi|somali|kisomali|amharic|luganda|kinyarwanda"
    r"|kikuyu|gikuyu|luo|dholuo|luhya|kamba|kalenjin|maasai|(?:other |another )?languages?|lugha nyingine)"
)
TONGUE = rf"(?:english|swahili|kiswahili|kiingereza|{OTHER_TONGUE})"
"""Languages by name, ours and others."""
