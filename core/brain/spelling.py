"""Slips and chat spelling put right: a word that nobody uses becomes the one common word that it can only be. Pure.

What words there are is in words.txt, which `python3 -m bot train` makes of the lines in utterances/: how many of them
have the word, and the word. Only what patterns look at is put right; values are taken from what people wrote.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.money import DECIMALS

WORDS = Path(__file__).with_name("words.txt")
COMMON_LINES_MIN = 10
"""A word of so many lines is what a slip may have meant."""
KNOWN_LINES_MIN = 2
"""A word of so many lines is no slip."""
HABITUAL_LINES_MIN = 100
"""A word of so many lines is written without any vowel."""
FEW = 2
"""How many letters are left out of a word of which some vowels are written."""
SLIP_LEAD = 15
"""By what factor a word must be more common than a slip that some lines have."""
LEAD = 4
"""By what factor one candidate must be more common than the next."""
BONES_MIN, SLIP_LETTERS_MIN = 3, 6
"""Consonants a word must have to be known without its vowels; letters, to be known with one letter wrong."""
SOUNDED_LETTERS_MIN = 5
"""Letters a word must have to be known by its sound; shorter ones are codes and names."""
LETTERS_MAX = 24
NO_SLIPS = frozenset(
    {
        "analia", "bbc", "bing", "bother", "hostel", "hosteli", "jamaa", "jikoni", "kasi", "king", "kuunga", "kumlipa",
        "lang", "maktaba", "massage", "mto", "mtambo", "naiweza", "natoka", "nimtafutie", "nimtumie", "nipange",
        "hnd", "jpg", "png",
        "rubles", "sanaa", "tunatoka", "unatoka", "waiter", "wanatoka", "kgl", *(code.lower() for code in DECIMALS),
    }
)  # fmt: skip
"""Words that stand one slip away from a common one and are no slips; codes of airports and currencies are none."""
_VOWELS = str.maketrans("", "", "aeiou")
_TWICE = re.compile(r"(.)\1+")
_WORD = re.compile(r"[a-z]+")
_ENDS = frozenset("aeiou")
_C = re.compile(r"c(?!h)")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The words there are, and where a slip leads: by its consonants, and by itself with one letter left out."""

    known: frozenset[str]
    bones: Mapping[str, tuple[str, ...]]
    """Common words by their consonants, the most common first."""
    gaps: Mapping[str, str]
    """Common words by themselves without one of their letters; an empty string where that is not one word."""
    counts: Mapping[str, int]

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "Spelling":
        """From how many lines have each word."""
        common = [word for word, count in counts.items() if count >= COMMON_LINES_MIN]
        common.sort(key=lambda word: (-counts[word], word))
        by_bones: dict[str, tuple[str, ...]] = {}
        gaps: dict[str, str] = {}
        for word in common:
            by_bones[bones(word)] = (*by_bones.get(bones(word), ()), word)
            if SLIP_LETTERS_MIN <= len(word) <= LETTERS_MAX:
                for gap in _gaps(word):
                    other = gaps.setdefault(gap, word)
                    if other and other != word and counts[other] < LEAD * counts[word]:
                        gaps[gap] = ""
        known = frozenset(word for word, count in counts.items() if count >= KNOWN_LINES_MIN)
        return cls(known, by_bones, gaps, counts)

    def right(self, word: str) -> str:
        """The word itself, or what it can only have meant; lower case, letters only."""
        used = self.counts.get(word, 0)
        if len(word) > LETTERS_MAX or not word.isascii():
            return word
        plain = word[:-1].replace("x", "s") + word[-1:]
        if plain != word and self.counts.get(plain, 0) > max(used, COMMON_LINES_MIN - 1):
            return plain
        if used >= COMMON_LINES_MIN or word in NO_SLIPS:
            meant = None if used >= HABITUAL_LINES_MIN or word in NO_SLIPS else self._shortened(word)
            return meant if meant is not None and self.counts[meant] >= SLIP_LEAD * used else word
        if word.endswith("s") and word[:-1] in self.known:
            return word
        for one in (plain, *_sounded(plain)):
            if one != plain and self.counts.get(one, 0) >= max(COMMON_LINES_MIN, SLIP_LEAD * used):
                return one
            meant = self._fuller(one) or (self._near(one) if one == plain else None)
            # A slip is among the lines, too, where people make it often.
            if meant is not None and self.counts[meant] >= SLIP_LEAD * used:
                return meant
        return plain if self.counts.get(plain, 0) > used else word

    def _shortened(self, word: str) -> str | None:
        """The common word that some write without its vowels so often that the lines have it: "kwny"."""
        return self._fuller(word) if bones(word) == _TWICE.sub(r"\1", word) else None

    def _fuller(self, word: str) -> str | None:
        """The common word of which vowels were left out, or letters doubled: "nkumbshe", "pleaaase"."""
        bare = bones(word)
        if len(bare) < BONES_MIN and not (len(bare) == BONES_MIN - 1 and len(word) >= BONES_MIN and word[-1] in _ENDS):
            return None
        single = _TWICE.sub(r"\1", word)
        # "hbr" leaves out every vowel; who writes some of them leaves out few.
        most, least = (len(word), HABITUAL_LINES_MIN) if single == bare else (FEW, COMMON_LINES_MIN)
        if len(bare) < BONES_MIN:
            most, least = 1, HABITUAL_LINES_MIN
        found = [
            one
            for one in self.bones.get(bare, ())
            if one[0] == word[0]
            and len(one) - len(single) <= most
            and self.counts[one] >= least
            and _within(single, one)
        ]
        return self._plainly(found)

    def _near(self, word: str) -> str | None:
        """The common word with one letter more, fewer, other, or two that changed places."""
        if len(word) < SLIP_LETTERS_MIN:
            return None
        found = {self.gaps.get(word, ""), *(self.gaps.get(gap, "") for gap in _gaps(word))}
        found |= {gap for gap in _gaps(word) if self.counts.get(gap, 0) >= COMMON_LINES_MIN}
        near = [one for one in found if one and _one_slip(word, one)]
        return self._plainly(sorted(near, key=lambda one: -self.counts[one]))

    def _plainly(self, found: list[str]) -> str | None:
        if not found or (len(found) > 1 and self.counts[found[0]] < LEAD * self.counts[found[1]]):
            return None
        return found[0]


def count(lines: Iterable[str]) -> dict[str, int]:
    """How many lines have each word, of those that are no slips."""
    counts = Counter(word for line in lines for word in set(_WORD.findall(line.lower())))
    return {word: number for word, number in counts.items() if number >= KNOWN_LINES_MIN and len(word) <= LETTERS_MAX}


def write(counts: Mapping[str, int]) -> str:
    """The file's text."""
    return "".join(f"{counts[word]} {word}\n" for word in sorted(counts))


@lru_cache(maxsize=1)
def spelling() -> Spelling:
    """The words we ship, read once."""
    rows = (row.split() for row in WORDS.read_text("ascii").splitlines())
    return Spelling.of({word: int(number) for number, word in rows})


def bones(word: str) -> str:
    """A word's consonants, none twice in a row."""
    return _TWICE.sub(r"\1", word.translate(_VOWELS))


def _sounded(word: str) -> Iterator[str]:
    """What a c may stand for, which Swahili has none of but in ch: "jumamoc", "nafac", "cjui"."""
    if len(word) >= SOUNDED_LETTERS_MIN and _C.search(word):
        yield _C.sub("si", word)
        yield _C.sub("s", word)


def _within(short: str, long: str) -> bool:
    """Whether the letters of one stand in the other in their order."""
    letters = iter(long)
    return all(letter in letters for letter in short)


def _gaps(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


def _one_slip(word: str, other: str) -> bool:
    """Whether a slip of the finger makes one of the other: a letter missing or too many within the word, one vowel for
    another, or two neighbours that changed places.

    What differs at either end, or in a consonant, is another word: planet and plane, looked and booked.
    """
    start = 0
    while start < min(len(word), len(other)) and word[start] == other[start]:
        start += 1
    rest, its = word[start:], other[start:]
    if start == 0 or len(rest) <= 1 or len(its) <= 1:
        return False
    if rest[1:] == its or rest == its[1:]:
        return True
    if rest[1:] == its[1:]:
        return rest[0] in "aeiou" and its[0] in "aeiou"
    return rest[:2] == its[1::-1] and rest[2:] == its[2:]
