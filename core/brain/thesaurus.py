"""What a word is about in either language: one that no line taught counts like those that mean the same. Pure.

thesaurus.txt has a concept a line: its name, and its words in English, Kiswahili, and Sheng or slang, between tabs. A
word with a hyphen behind it is the stem of a verb, to which Kiswahili and Sheng put who, when and to whom in front, and
a vowel behind: tum- is in nitumie, umtumie, hajatumwa. A_B is one word of two.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

WORDS = Path(__file__).with_name("thesaurus.txt")
FIELDS = 4
STEM_LETTERS_MIN = 2
PREFIX_LETTERS_MAX = 9
LETTERS_MAX = 24
MEANINGS_KEPT = 4096
"""Words whose meanings are kept ready."""
_PREFIX = re.compile(
    r"(?:ni|si|u|a|tu|m|mw|wa|i|zi|ki|vi|li|ya|ku|pa|ha(?:tu|m|wa|i|zi|u|ki|vi|li|ya|ku)?|nta|nka|nna)?"
    r"(?:na|li|ta|me|mesha|sha|nge|ngali|ka|ki|hu|ja|si|ku|si|to|na?taka)?(?:ye|o|yo|zo|cho|vyo|po|lo)?"
    r"(?:ni|ku|m|mw|tu|wa|i|zi|ki|vi|li|ya|u|ji|pa)?"
)
"""Who does it, when, which one, and to whom."""
_ENDS = ("eni", "a", "e", "i", "ni", "o", "")
_EXTENSIONS = ("", "iw", "ew", "lew", "liw", "ish", "esh", "ik", "ek", "ian", "ean", "an", "li", "le", "i", "e", "w")
"""Done, made to do, can be done, each other, for somebody."""


@dataclass(frozen=True, slots=True)
class Thesaurus:
    """Concepts by word, and by the stem of a verb."""

    words: Mapping[str, tuple[str, ...]]
    stems: Mapping[str, tuple[str, ...]]

    def of(self, word: str) -> tuple[str, ...]:
        """The concepts of a word in lower case; none where it is not known."""
        found = self.words.get(word)
        if found is not None:
            return found
        if len(word) > LETTERS_MAX:
            return ()
        for start in range(min(PREFIX_LETTERS_MAX, len(word) - STEM_LETTERS_MIN) + 1):
            if start and not _PREFIX.fullmatch(word, 0, start):
                continue
            found = self._stem(word[start:])
            if found:
                return found
        return ()

    def _stem(self, rest: str) -> tuple[str, ...]:
        for end in _ENDS:
            if end and not rest.endswith(end):
                continue
            body = rest[: len(rest) - len(end)]
            for extension in _EXTENSIONS:
                if body.endswith(extension):
                    found = self.stems.get(body[: len(body) - len(extension)])
                    if found:
                        return found
        return ()


def read(text: str) -> Thesaurus:
    """The file's concepts.

    Raises:
        ValueError: a line has not four fields.
    """
    words: dict[str, tuple[str, ...]] = {}
    stems: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        name, *tongues = line.split("\t")
        if len(tongues) != FIELDS - 1:
            raise ValueError(f"A concept has {FIELDS} fields, between tabs: {line[:60]}")
        for word in " ".join(tongues).split():
            kind, key = (stems, word[:-1]) if word.endswith("-") else (words, word.replace("_", " "))
            if name not in kind.get(key, ()):  # A word may be of two languages.
                kind[key] = (*kind.get(key, ()), name)
    return Thesaurus(words, stems)


@lru_cache(maxsize=1)
def thesaurus() -> Thesaurus:
    """The thesaurus we ship, read once."""
    return read(WORDS.read_text("ascii"))


@lru_cache(maxsize=MEANINGS_KEPT)
def concepts(word: str) -> tuple[str, ...]:
    """What a word is about; none where that is not known."""
    return thesaurus().of(word)


def together(word: str, after: str) -> tuple[str, ...]:
    """What two words that are one are about, such as "pick up"; none where they are two."""
    return thesaurus().words.get(f"{word} {after}", ())
