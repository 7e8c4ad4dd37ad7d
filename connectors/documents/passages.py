"""Which sentences of a document matter, and which passages answer a question: by counting words. Pure.

What comes out are quotations and nothing else: a document's words are never read as anything but words.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.documents.reading import Document, Section
from core.brain.words import listed

SENTENCE_CHARS_MAX = 320
PASSAGE_CHARS_MAX = 480
SENTENCES_MAX = 5_000
PASSAGES_MAX = 20_000
QUOTES_MAX = 5
"""How many sentences a summary has."""
ANSWERS_MAX = 3
"""How many passages answer a question."""
WORDS_MIN = 5
"""A sentence of fewer words sums nothing up."""
K1, B = 1.5, 0.75
"""BM25's usual constants: how soon a word's repetition stops to matter, and how much a passage's length does."""
ENOUGH = 0.5
"""Which part of the best passage's score another has to have to be shown beside it."""
ALIKE = 0.6
"""Sentences that share this part of their words say the same."""

STOP = listed(
    "a about after all also an and any are as at be because been but by can could did do does for from had has have he"
    " her him his how i if in into is it its just like may me might more most my no not of on one or our out over say"
    " says shall she should so some such tell than that the their them then there these they this those to under up us"
    " was we were what when where which who whom whose why will with would you your document file page"
    " au ama basi bila cha chake hadi hapa hapo hata hati haya hii hiki hilo hivyo hiyo hizi huo huu huyo ile inasema"
    " je juu kama katika kila kisha kuhusu kuna kutoka kwa kwamba kwenye la lake li lini mimi na nani ndani ni nini pia"
    " sana si sisi tu ukurasa vile vya wa wake wala wao wapi ya yake yao yote za zake zao"
)

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
END = re.compile(r"(?<=[.!?;…])[\"”’)\]]*\s+|\n+")
QUOTING = str.maketrans({"“": "'", "”": "'", "„": "'", '"': "'", "«": "'", "»": "'"})
"""Within a quotation its own marks become single ones, so that it cannot end itself."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of the document, on one line, and where they stand."""

    text: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class _Piece:
    section: Section
    text: str
    words: tuple[str, ...]


def words_of(text: str) -> tuple[str, ...]:
    """The words that carry meaning, without case, accents and the commonest endings."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))
    return tuple(_stem(word) for word in WORD.findall(bare) if word not in STOP)


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word.removesuffix("e") if len(word) > 4 else word


def summarise(document: Document) -> tuple[Quote, ...]:
    """The sentences whose words the whole document uses most, in its order; those that say the same are said once."""
    pieces = [piece for piece in _pieces(document, SENTENCE_CHARS_MAX, 1)[:SENTENCES_MAX] if piece.words]
    counts = Counter(word for piece in pieces for word in set(piece.words))
    full = [piece for piece in pieces if len(piece.words) >= WORDS_MIN] or pieces
    scores = {
        number: sum(math.log1p(counts[word] - 1) for word in set(piece.words)) / math.sqrt(len(set(piece.words)))
        + (0.5 if number == 0 else 0.0)
        for number, piece in enumerate(full)
    }
    chosen: list[int] = []
    for number in sorted(scores, key=lambda number: (-scores[number], number)):
        if len(chosen) == QUOTES_MAX:
            break
        if not any(_alike(full[number], full[other]) for other in chosen):
            chosen.append(number)
    return tuple(_quote(full[number]) for number in sorted(chosen))


def ask(document: Document, question: str) -> tuple[Quote, ...]:
    """The passages that share most with a question (BM25), best first; none where none shares a word with it."""
    pieces = _pieces(document, PASSAGE_CHARS_MAX, 3)[:PASSAGES_MAX]
    wanted = set(words_of(question))
    if not pieces or not wanted:
        return ()
    found = Counter(word for piece in pieces for word in set(piece.words) & wanted)
    usual = sum(len(piece.words) for piece in pieces) / len(pieces) or 1.0
    scored = []
    for number, piece in enumerate(pieces):
        counts = Counter(word for word in piece.words if word in wanted)
        score = sum(
            math.log(1 + (len(pieces) - found[word] + 0.5) / (found[word] + 0.5))
            * count * (K1 + 1) / (count + K1 * (1 - B + B * len(piece.words) / usual))
            for word, count in counts.items()
        )  # fmt: skip
        if score > 0:
            scored.append((-score, number))
    scored.sort()
    chosen: list[_Piece] = []
    for score, number in scored:
        if len(chosen) == ANSWERS_MAX or score > scored[0][0] * ENOUGH:
            break
        if not any(_alike(pieces[number], other) for other in chosen):
            chosen.append(pieces[number])
    return tuple(map(_quote, chosen))


def _pieces(document: Document, chars_max: int, sentences: int) -> list[_Piece]:
    """The document in pieces of so many sentences, each within one section and no longer than `chars_max`."""
    pieces = []
    for section in document.sections:
        lot: list[str] = []
        for sentence in _sentences(section, chars_max):
            if lot and (len(lot) == sentences or sum(map(len, lot)) + len(sentence) > chars_max):
                pieces.append(_piece(section, lot))
                lot = []
            lot.append(sentence)
        if lot:
            pieces.append(_piece(section, lot))
    return pieces


def _piece(section: Section, lot: Sequence[str]) -> _Piece:
    text = " ".join(lot)
    return _Piece(section, text, words_of(text))


def _sentences(section: Section, chars_max: int) -> list[str]:
    # Lines of a page end where the paper does; a line of a sheet is a row.
    text = section.text if section.kind == "sheet" else re.sub(r"(?<=[\w,;’'-])\n(?=\S)", " ", section.text)
    found = []
    for sentence in END.split(text):
        rest = " ".join(sentence.split())
        while len(rest) > chars_max:
            stop = rest.rfind(" ", chars_max // 2, chars_max)
            stop = stop if stop > 0 else chars_max
            found.append(rest[:stop])
            rest = rest[stop:].strip()
        if rest:
            found.append(rest)
    return found


def _alike(one: _Piece, other: _Piece) -> bool:
    first, second = set(one.words), set(other.words)
    return len(first & second) >= ALIKE * min(len(first), len(second))


def _quote(piece: _Piece) -> Quote:
    return Quote(piece.text.translate(QUOTING), piece.section.kind, piece.section.name.translate(QUOTING))
