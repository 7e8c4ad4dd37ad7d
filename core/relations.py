"""What people are to one another, "my accountant", "mhasibu wangu": a word for each in both languages. Pure."""

import re

from core.language import Saying

_BOTH = {
    "accountant": "mhasibu", "lawyer": "wakili", "doctor": "daktari", "dentist": "daktari wa meno", "boss": "bosi",
    "manager": "meneja", "wife": "mke", "husband": "mume", "mother": "mama", "father": "baba",
    "landlord": "mwenye nyumba", "plumber": "fundi bomba", "electrician": "fundi umeme", "mechanic": "fundi gari",
    "tailor": "fundi nguo", "teacher": "mwalimu", "driver": "dereva", "agent": "wakala", "assistant": "msaidizi",
    "pastor": "mchungaji", "secretary": "katibu", "partner": "mwenzi", "grandmother": "bibi", "grandfather": "babu",
    "brother": "kaka", "sister": "dada", "son": "mwana", "daughter": "binti", "friend": "rafiki", "client": "mteja",
    "supplier": "msambazaji", "neighbour": "jirani", "uncle": "mjomba", "aunt": "shangazi", "cousin": "binamu",
    "nurse": "muuguzi", "cook": "mpishi", "guard": "mlinzi", "gardener": "mtunza bustani",
}  # fmt: skip
_ALSO = {
    "mom": "mother", "mum": "mother", "mummy": "mother", "mamangu": "mother", "dad": "father", "daddy": "father",
    "babangu": "father", "mkewangu": "wife", "mumewangu": "husband", "neighbor": "neighbour", "hubby": "husband",
    "spouse": "partner", "bookkeeper": "accountant", "attorney": "lawyer", "advocate": "lawyer", "ndugu": "brother",
    "customer": "client", "fundi": "mechanic", "nesi": "nurse", "grandma": "grandmother", "grandpa": "grandfather",
    "nyanya": "grandmother", "watchman": "guard", "askari": "guard", "mwenye nyumba wangu": "landlord",
}  # fmt: skip
_WORDS = {**{word: word for word in _BOTH}, **{sw: en for en, sw in _BOTH.items()}, **_ALSO}
SEVERAL = frozenset(
    {"brother", "sister", "son", "daughter", "friend", "client", "supplier", "neighbour", "uncle", "aunt", "cousin"}
)
"""Of these people have more than one; of the others the newest is meant."""
WORDS = "|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True))
"""Every word there is for one, for a regular expression."""
_MINE = re.compile(r"^(?:my|our)\s+|\s+(?:wangu|wetu|yangu|zangu)$")


def of(words: str) -> str | None:
    """What somebody is called who is named by what they are to the speaker: "my accountant", "mhasibu wangu"."""
    bare = " ".join(words.casefold().split())
    return _WORDS.get(bare) or _WORDS.get(_MINE.sub("", bare))


def bare(words: str) -> str:
    """The same words without "my"."""
    return _MINE.sub("", " ".join(words.split()).casefold())


def named(relation: str) -> Saying:
    """The word for it in both languages."""
    return Saying(relation, _BOTH.get(relation, relation))
