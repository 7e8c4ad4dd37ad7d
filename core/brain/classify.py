"""Which action a message asks for, by a linear model over its features. Pure; no dependency, no pickle.

The weights are trained by `python3 -m bot train` from the lines in `utterances/`, which are ours, and read once.
Layout of weights.bin, little endian: "MTHB", u8 version, u16 classes, u32 features, u32 weights, f32 scale, u32 CRC-32
of what it was trained from, then each class's name (u8 length, UTF-8); then, deflated: each feature's number less the
one before (u32), in order; of how many classes each feature has a weight (u8); these classes (u8), one feature's behind
the other's; their weights (i8).
"""

import math
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from core.brain import features
from core.brain.words import Said

WEIGHTS = Path(__file__).with_name("weights.bin")
MAGIC = b"MTHB"
VERSION = 4
HEAD = struct.Struct("<4sBHIIfI")
STEPS = 40
"""A weight is one of so many steps below or above none."""


class BadWeights(ValueError):
    """The file is no set of weights of this version."""


class Guess(NamedTuple):
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
    starts: "array[int]"
    """Where each feature's weights start; behind them, where the last one's end."""
    columns: bytes
    """The class of each weight."""
    weights: "array[int]"
    lines: int
    """CRC-32 of what it was trained from."""

    def rows(self, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Where the weights of each of these features start and end; nothing for one that was not learnt."""
        known, starts = self.features, self.starts
        for number in numbers:
            at = bisect_left(known, number)
            if at < len(known) and known[at] == number:
                yield starts[at], starts[at + 1]

    def guess(self, said: Said) -> list[Guess]:
        """All actions, the likeliest first."""
        sums = [0] * len(self.classes)
        columns, weights = self.columns, self.weights
        for start, end in self.rows(features.hashed(said)):
            for column, weight in zip(columns[start:end], weights[start:end], strict=False):
                sums[column] += weight
        top = max(sums)
        powers = [math.exp((each - top) * self.scale) for each in sums]
        whole = sum(powers)
        ranked = sorted(zip(self.classes, (power / whole for power in powers), strict=True), key=_likely, reverse=True)
        return [*map(Guess._make, ranked)]


_likely = itemgetter(1)
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
        magic, version, classes, count, size, scale, lines = HEAD.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise BadWeights("weights.bin is not of this version: run `python3 -m bot train`.")
        at = HEAD.size
        names: list[str] = []
        for _ in range(classes):
            length = data[at]
            names.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        body = zlib.decompress(data[at:])
        gaps, counts = struct.unpack_from(f"<{count}I", body), body[4 * count : 5 * count]
        columns, weights = body[5 * count : 5 * count + size], body[5 * count + size :]
        if not len(columns) == len(weights) == sum(counts) == size or max(columns, default=0) >= classes:
            raise BadWeights("weights.bin is cut short: run `python3 -m bot train`.")
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise BadWeights("weights.bin is cut short: run `python3 -m bot train`.") from error
    known, starts = array("I", accumulate(gaps)), array("I", accumulate(counts, initial=0))
    return Model(tuple(names), scale, known, starts, columns, array("b", weights), lines)
