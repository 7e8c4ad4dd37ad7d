"""What a message looks like to the classifier: words, word pairs, parts of words, and what the extractors find. Pure.

A feature is a string, kept as the CRC-32 of its bytes, so that the weights need no vocabulary. Values that differ from
message to message (times, sums, numbers, addresses) stand as their kind: "send <money> to" is one feature for all sums.
"""

import re
from collections.abc import Iterator
from zlib import crc32

from core.brain import errands, travel
from core.brain.spelling import bones
from core.brain.words import Said

WORDS_MAX = 60
"""Words looked at; what a message wants stands at its beginning or its end, so half of them are from each."""
BONES = 3
"""Letters above which a word is known by its consonants, too: people in a hurry leave out vowels first."""
PIECE = 4
"""Letters of a part of a word; with them slips and endings of Swahili verbs are near what was learnt."""

GATES = {**travel.ASK, **errands.ASK}
FORMS = {
    "wants": r"\b(?:need|want|wanna|book|find|get|looking for|look for|search|searching|reserve|order|like|buy|purchase"
    r"|grab|help me|planning"
    r"|nataka|nahitaji|nitafutie|tafuta|nipatie|naomba|nisaidie|nipe|natafuta|weka|nipangie|panga)\b",
    "may": r"\b(?:can|could|would|will) (?:you|u|i|we)\b|\b(?:unaweza|naweza)\b",
    "how": r"\bhow (?:long|far|do i|can i|to|does|do you|come)\b|\bjinsi ya\b",
    "how much": r"\bhow (?:much|many)\b|\b(?:ngapi|kiasi gani)\b",
    "where": r"\b(?:where|nearest|closest|wapi|directions?)\b",
    "when": r"\b(?:when|what time|lini|saa ngapi)\b",
    "who what": r"^\W*(?:who|what|which|whose|why|nani|nini|kwa nini)\b",
    "there is": r"\b(?:is there|are there|any|available|kuna)\b",
    "my": r"\b(?:my|mine|yangu|wangu|zangu|langu|changu|i have|nina|niko na)\b",
    "wrong": r"\b(?:why|not working|isn't|didn't|doesn't|won't|can't|cannot|lost|broken|stolen|problem|wrong|declined"
    r"|failed|haijafika|imepotea)\b",
    "device": r"\b(?:lights?|lamp|music|song|songs|playlist|podcast|radio|volume|tv|alarm|timer|vacuum|thermostat"
    r"|speaker|oven|phone|car|tires?|tyres?)\b",
    "list": r"\b(?:show|list|see|view|check|tell me|give me|orodhesha|onyesha|angalia)\b",
    "when if": r"^\W*(?:please )?(?:if|when|whenever|every|once|each|as soon as|at \d|kila|ikiwa|wakati)\b",
}
"""How a message asks; together with a gate it tells a request from a question about the same thing."""
_FORMS = {name: re.compile(pattern) for name, pattern in FORMS.items()}
_TOKENS = re.compile(
    r"(?P<mail>[\w.+-]+@[\w-]+\.\w[\w.-]*)|(?P<link>https?://\S+|www\.\S+)|(?P<phone>\+?\d[\d ()-]{7,}\d)"
    r"|(?P<money>(?:[$€£¥₹]|\b(?:ksh|kes|kshs|usd|sh|eur|gbp) ?)\d[\d,.]*k?\b|\b\d[\d,.]*k?(?: ?(?:bob|ksh|kes"
    r"|shillings?|shilingi|dollars?|bucks|euros?|pounds?|usd|eur|gbp|/=)))"
    r"|(?P<clock>\b\d{1,2}(?::\d\d| ?(?:am|pm)\b|:\d\d ?(?:am|pm)\b)|\bsaa \d{1,2}\b)"
    r"|(?P<number>\d[\d,.]*\w{0,2})|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)|(?P<mark>\?)"
)
_DAYS = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|jumatatu|jumanne|jumatano|alhamisi|ijumaa|jumamosi|jumapili"
)
_MONTHS = re.compile(
    r"january|february|march|april|june|july|august|september|october|november|december|januari|februari|machi"
    r"|aprili|juni|julai|agosti|septemba|oktoba|novemba|desemba"
)


def tokens(said: Said) -> list[str]:
    """The words of a message, values replaced by their kind."""
    found: list[str] = []
    for match in _TOKENS.finditer(said.plain):
        kind = match.lastgroup
        text = match[0]
        if kind == "word":
            if _DAYS.fullmatch(text):
                text = "<day>"
            elif _MONTHS.fullmatch(text):
                text = "<month>"
        elif kind != "mark":
            text = f"<{kind}>"
        found.append(text)
    if len(found) > WORDS_MAX:
        half = WORDS_MAX // 2
        found = found[:half] + found[-half:]
    return found


def named(said: Said) -> Iterator[str]:
    """The names of a message's features; some may come more than once."""
    words = tokens(said)
    yield "always"
    yield f"long {min(9, len(words) // 3)}" if len(words) > 3 else f"short {len(words)}"
    forms = [name for name, pattern in _FORMS.items() if pattern.search(said.plain)]
    for form in forms:
        yield f"form {form}"
    for action, gate in GATES.items():
        if gate.search(said.plain):
            yield f"gate {action}"
            for form in forms:
                yield f"gate {action} {form}"
    last, before = "^", "^"
    for word in words:
        yield word
        yield f"{last} {word}"
        if before != "^" or last == "^":
            yield f"{before} _ {word}"
        before, last = last, word
        if len(word) > BONES and word[0] != "<":
            yield "." + bones(word)
        if len(word) > PIECE and word[0] != "<":
            marked = f"<{word}>"
            for at in range(len(marked) - PIECE + 1):
                yield "~" + marked[at : at + PIECE]
    yield f"{last} $"


def hashed(said: Said) -> set[int]:
    """The features as numbers."""
    return {crc32(name.encode()) for name in named(said)}
