"""Which action a message asks for, by a linear model over its features. Pure; no dependency, no pickle.

The weights are trained by `python3 -m bot train` from the lines in `utterances/`, which are ours, and read once.
Layout of weights.bin, little endian: "MTHB", u8 version, u16 classes, u32 features, f32 scale, u32 CRC-32 of what it
was trained from, then each class's name (u8 length, UTF-8); then, deflated: each feature's number less the one before
(u32), in order, and each feature's row: for every class a weight, from 0 to twice STEPS, where STEPS is none.
"""

import math
import struct
import zlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from core.brain import features
from core.brain.words import Said

WEIGHTS = Path(__file__).with_name("weights.bin")
MAGIC = b"MTHB"
VERSION = 3
HEAD = struct.Struct("<4sBHIfI")
STEPS = 40
"""A weight is one of so many steps below or above none."""
FEATURES_MAX = 0xFFFF // (2 * STEPS)
"""Of one message: the sums of more would not fit into 16 bits."""


class BadWeights(ValueError):
    """The file is no set of weights of this version."""


@dataclass(frozen=True, slots=True)
class Guess:
    """An action's name and how likely it is, from 0 to 1."""

    action: str
    probability: float


@dataclass(frozen=True)
class Model:
    """Classes, and for each feature one row: a weight for every class."""

    classes: tuple[str, ...]
    scale: float
    features: "array[int]"
    """Each feature's number, in order."""
    rows: bytes
    """As many bytes for each feature as there are classes, in one stretch: a dict of them takes some 4 MB more."""
    lines: int
    """CRC-32 of what it was trained from."""

    def row(self, feature: int) -> bytes:
        """The feature's weights; nothing where it was not learnt."""
        at = bisect_left(self.features, feature)
        if at == len(self.features) or self.features[at] != feature:
            return b""
        width = len(self.classes)
        return self.rows[at * width : (at + 1) * width]

    def guess(self, said: Said) -> list[Guess]:
        """All actions, the likeliest first."""
        found = [row for feature in features.hashed(said) if (row := self.row(feature))][:FEATURES_MAX]
        if not found:
            return [Guess(name, 1 / len(self.classes)) for name in self.classes]
        none = STEPS * len(found)
        sums = [(total - none) * self.scale for total in columns(found)]
        top = max(sums)
        powers = [math.exp(each - top) for each in sums]
        whole = sum(powers)
        ranked = sorted(zip(powers, self.classes, strict=True), reverse=True)
        return [Guess(name, power / whole) for power, name in ranked]


def columns(rows: list[bytes]) -> list[int]:
    """The sum of each column of rows of bytes; at most 65,535.

    A row is read as two long numbers, of every other byte, so that a sum has 16 bits: Python adds such numbers much
    faster than it adds up each column.
    """
    width = len(rows[0])
    half = (width + 1) // 2
    mask = int.from_bytes(b"\xff\x00" * half, "little")
    even = odd = 0
    for row in rows:
        whole = int.from_bytes(row, "little")
        even += whole & mask
        odd += whole >> 8 & mask
    sums = [0] * (2 * half)
    for first, total in enumerate((even, odd)):
        sums[first::2] = struct.unpack(f"<{half}H", total.to_bytes(2 * half, "little"))
    return sums[:width]


GUESSES_KEPT = 16
"""One message is weighed several times over."""


@lru_cache(maxsize=GUESSES_KEPT)
def guesses(said: Said) -> list[Guess]:
    """All actions by the weights we ship, the likeliest first."""
    return model().guess(said)


@lru_cache(maxsize=1)
def model() -> Model:
    """The weights we ship, read once."""
    return read(WEIGHTS.read_bytes())


def read(data: bytes) -> Model:
    """A model from its bytes.

    Raises:
        BadWeights: it is not of this version, or cut short.
    """
    try:
        magic, version, classes, count, scale, lines = HEAD.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise BadWeights("weights.bin is not of this version: run `python3 -m bot train`.")
        at = HEAD.size
        names: list[str] = []
        for _ in range(classes):
            length = data[at]
            names.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        body = zlib.decompress(data[at:])
        if len(body) != count * (4 + classes):
            raise BadWeights("weights.bin is cut short: run `python3 -m bot train`.")
        known = array("I", accumulate(struct.unpack_from(f"<{count}I", body)))
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise BadWeights("weights.bin is cut short: run `python3 -m bot train`.") from error
    return Model(tuple(names), scale, known, body[4 * count :], lines)
