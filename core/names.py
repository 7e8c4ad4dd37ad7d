"""What people are called, as it is stored: sealed under a purpose's key, and found word by word through keyed hashes.

A name is read in every turn, and goes from one row to the next where people meet or become one; so no person's own key
seals it, and to erase it is to remove it (docs/adr/0010-a-key-for-each-person.md).
"""

import re
import unicodedata
from typing import Any

from core.crypto import RoomKey, opened_with

PURPOSE = "names"
INDEX = "index:names"
AS_NAME = b"name"
WORDS_MAX = 12
"""How many words of a name it is found by."""
WORD = re.compile(r"[^\W_]+")
DIGEST_BYTES = 8
"""Of a word's hash: two words of a million people share one by chance once in many years of searching."""


_BETWEEN = re.compile(r"\s*,\s+(?:and |na )?|\s+(?:and|na|&|plus)\s+", re.IGNORECASE)
_FIRM = re.compile(r"(?:,| and| na| &) (?:sons?|daughters?|brothers?|co|company|partners?|associates|wanawe)\b", re.I)


def several(name: str) -> list[str]:
    """Everybody who is named, one by one: "Asha and Brian" are two, and "Kamau and Sons" is one."""
    return [name] if _FIRM.search(name) else [one for one in _BETWEEN.split(name) if one]


class Names:
    """Seals, opens and finds names; made by `names_of`."""

    __slots__ = ("_index", "_key")

    def __init__(self, key: RoomKey, index: RoomKey) -> None:
        self._key, self._index = key, index

    def seal(self, name: str | None) -> bytes | None:
        """A name, to be stored."""
        return None if name is None else self._key.seal(AS_NAME, name.encode())

    def open(self, sealed: bytes | None) -> str | None:
        """The name that is stored; None where there is none."""
        name = opened_with(self._key, AS_NAME, sealed)
        return None if name is None else name.decode()

    def index(self, name: str | None) -> str | None:
        """What a name is found by: the hash of each of its words, a space before each."""
        return None if name is None else "".join(f" {digest}" for digest in self.digests(name))

    def digests(self, words: str) -> list[str]:
        """The hash of each different word, in hexadecimal. `" " + digest` is in the index of who is called so."""
        different = dict.fromkeys(WORD.findall(unicodedata.normalize("NFKC", words).casefold()))
        return [self._index.digest(word.encode())[:DIGEST_BYTES].hex() for word in list(different)[:WORDS_MAX]]


async def names_of(connection: Any) -> Names:
    """How this process seals and reads names; asks the database for the keys once."""
    keys = connection.keys
    return Names(await keys.of_purpose(connection, PURPOSE), await keys.of_purpose(connection, INDEX))
