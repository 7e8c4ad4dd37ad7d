"""What a message looks like to the classifier: its words, what they are about, and their parts. Pure.

A feature is a string, kept as a number of 24 bits, so that the weights need no vocabulary. Values that differ from
message to message (times, sums, numbers, addresses) stand as their kind: "send <money> to" is one feature for all sums.
What a word is about (`thesaurus`) is the same for `send`, `tuma` and `sare`: a word that no line has is known by it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from zlib import crc32

from core.brain.spelling import bones
from core.brain.thesaurus import concepts, together
from core.brain.words import Said

WORDS_MAX = 60
"""Words looked at; what a message wants stands at its beginning or its end, so half of them are from each."""
BONES = 3
"""Letters above which a word is known by its consonants, too: people in a hurry leave out vowels first."""
PIECE = 4
"""Letters of a part of a word; with them slips and endings of Swahili verbs are near what was learnt."""
HEAD = 4
"""Letters of a word's beginning, by which "cancel", "cancelled" and "cancellation" are one."""
BITS = 24

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


def ideas(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What each word, or two words that are one, is about; words of which that is not known are left out."""
    joined = False
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        if joined:
            joined = False
            continue
        found = together(word, after)
        joined = bool(found)
        found = found or ((word,) if word[0] == "<" else concepts(word))
        if found:
            yield found


def named(said: Said) -> Iterator[str]:
    """The names of a message's features; some may come more than once."""
    words = tokens(said)
    yield "always"
    yield f"long {min(9, len(words) // 3)}" if len(words) > 3 else f"short {len(words)}"
    last, last_head = "^", "^"
    for word in words:
        is_word = word[0] != "<"
        head = word[:HEAD] if is_word else word
        yield word
        yield f"{last} {word}"
        if head != word:
            yield "^" + head
        if head != word or last_head != last:
            yield f"^{last_head} {head}"
        last, last_head = word, head
        if is_word and len(word) > BONES:
            yield "." + bones(word)
        if is_word and len(word) > PIECE:
            marked = f"<{word}>"
            for at in range(len(marked) - PIECE + 1):
                yield "~" + marked[at : at + PIECE]
    yield f"{last} $"
    before: tuple[str, ...] = ("^",)
    for found in ideas(words):
        for idea in found:
            yield "=" + idea
            for earlier in before:
                yield f"={earlier} {idea}"
        before = found
    for earlier in before:
        yield f"={earlier} $"


def number(name: str) -> int:
    """A feature's number."""
    return crc32(name.encode()) >> (32 - BITS)


def hashed(said: Said) -> set[int]:
    """The features as numbers."""
    return {number(name) for name in named(said)}
