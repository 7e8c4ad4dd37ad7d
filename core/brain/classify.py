"""Which action a message asks for, by a linear model over its features. Pure; no dependency, no pickle.

The weights are trained by `python3 -m bot train` from the lines in `utterances/`, which are ours, and read once.
Layout of weights.bin, little endian: "MTHB", u8 version, u16 classes, u32 features, f32 scale, u32 CRC-32 of the
lines it was trained from, then each class's name (u8 length, UTF-8), then each feature: u32 CRC-32 of its name, u8
count, and count times (u8 class, i8 weight).
"""

import math
import struct
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.brain import features
from core.brain.words import Said

WEIGHTS = Path(__file__).with_name("weights.bin")
MAGIC = b"MTHB"
VERSION = 2
HEAD = struct.Struct("<4sBHIfI")


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
    """CRC-32 of each feature's name, in order."""
    rows: bytes
    """As many bytes for each feature as there are classes, in one stretch: a dict of them takes some 4 MB more."""
    lines: int
    """CRC-32 of the lines it was trained from."""

    def guess(self, said: Said) -> list[Guess]:
        """All actions, the likeliest first."""
        rows, known, width = self.rows, self.features, len(self.classes)
        found: list[bytes] = []
        for feature in features.hashed(said):
            at = bisect_left(known, feature)
            if at < len(known) and known[at] == feature:
                found.append(rows[at * width : (at + 1) * width])
        if not found:
            return [Guess(name, 1 / len(self.classes)) for name in self.classes]
        # Weights are kept as bytes, 128 for 0: adding up columns of bytes is the fastest that Python does.
        zero = 128 * len(found)
        sums = [(total - zero) * self.scale for total in map(sum, zip(*found, strict=True))]
        top = max(sums)
        powers = [math.exp(each - top) for each in sums]
        whole = sum(powers)
        ranked = sorted(zip(powers, self.classes, strict=True), reverse=True)
        return [Guess(name, power / whole) for power, name in ranked]


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
        known = array("I")
        rows = bytearray()
        blank = bytes([128]) * classes
        for _ in range(count):
            feature, size = struct.unpack_from("<IB", data, at)
            at += 5
            row = bytearray(blank)
            for index in range(at, at + 2 * size, 2):
                row[data[index]] = (data[index + 1] + 128) & 255
            known.append(feature)
            rows += row
            at += 2 * size
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BadWeights("weights.bin is cut short: run `python3 -m bot train`.") from error
    return Model(tuple(names), scale, known, bytes(rows), lines)
