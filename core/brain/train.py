"""`train`: the classifier's weights from the lines in utterances/, the same bytes every time.

Multinomial logistic regression by stochastic gradient descent with AdaGrad steps and weight decay; the temperature that
makes its confidences honest is found on lines held out of training (Guo et al., "On Calibration of Modern Neural
Networks", 2017).
"""

import argparse
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.brain import classify, features, spelling
from core.brain.words import said
from core.language import heard

UTTERANCES = Path(__file__).with_name("utterances")
HASTY = "# hasty"
"""The heading of lines that are full of slips."""
EPOCHS = 5
AVERAGED_FROM = 2
"""From which epoch on the weights are averaged: their mean depends less on the order of lines than the last ones do."""
RATE = 0.6
DECAY = 0.07
"""By what share weights become smaller with each epoch."""
SLIPS = 0.4
"""Share of words with a slip in the hasty copy of a line."""
SLIP_LETTERS_MIN = 4
FEATURE_LINES_MIN = 5
"""A feature of fewer lines is not learnt: it says more about the line than about the action."""
DROPOUT = 0.25
"""Share of features left out at each step, so that no single word decides."""
ERROR_MIN = 0.002
"""A class less likely than this is not corrected at a step."""
FORCE_MIN = 1e-4
"""A line read as well as this (the sum of squared errors) teaches nothing at a step."""
FOLDS = 5
STRETCH = 40
"""Lines that are held out together."""
LOOKED_AT = 40
"""One line of so many tells whether features changed since training."""
WEIGHTS_BYTES_MAX = 2_000_000

Example = tuple[Set[int], int]
"""A line's features, and the number of its class."""
Numbers = NDArray[Any]


class Weights(NamedTuple):
    """The features that are learnt, in order, and for each a row: a weight for every class."""

    features: list[int]
    rows: Numbers


def main(args: argparse.Namespace) -> int:
    """Train, write the weights, and say how well lines held out are told apart."""
    began = time.monotonic()
    lines = load(UTTERANCES)
    spelling.WORDS.write_text(words_of(UTTERANCES), "ascii")
    spelling.spelling.cache_clear()
    classes = sorted({action for _, action in lines})
    data = train(lines, classes)
    classify.WEIGHTS.write_bytes(data)
    print(f"{len(lines):,} lines, {len(classes)} actions, {len(data):,} bytes in {time.monotonic() - began:.0f} s")  # noqa: T201
    return 0


def load(folder: Path, *, hasty: bool = True) -> list[tuple[str, str]]:
    """(line, action) of every file, in the order of names; without those under "# hasty" where these are not wanted."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*.txt")):
        heading = ""
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("#"):
                heading = line
            elif line.strip() and (hasty or heading != HASTY):
                found.append((line.strip(), path.stem))
    return found


def words_of(folder: Path) -> str:
    """The words file: what people write in the lines, but for those in haste, whose slips are no words."""
    return spelling.write(spelling.count(line for line, _ in load(folder, hasty=False)))


def digest(lines: Sequence[tuple[str, str]]) -> int:
    """What the weights remember of what they were trained from, so that stale ones are seen.

    It is of all lines, and of how some of them look to the classifier.
    """
    looks = (f"{sorted(features.hashed(said(line)))}" for line, _ in lines[::LOOKED_AT])
    return zlib.crc32("\n".join([*(f"{action}\t{line}" for line, action in lines), *looks]).encode())


def train(lines: Sequence[tuple[str, str]], classes: Sequence[str]) -> bytes:
    """The weights file. The same lines give the same bytes, with the same zlib."""
    index = {name: number for number, name in enumerate(classes)}
    examples = [(features.hashed(said(line)), index[action]) for line, action in lines]
    hasty = [(features.hashed(said(in_haste(line))), index[action]) for line, action in lines if heard(line) == "sw"]
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as beside:
        # Two trainings by other orders of the same lines, averaged, depend less on either.
        other = beside.submit(fit, [*examples, *hasty], len(classes), seed=2)
        one = fit([*examples, *hasty], len(classes), seed=1)
        scale = temperature(examples, len(classes))
        both = Weights(one.features, (one.rows + other.result().rows) / 2)
    return pack(both, classes, scale, digest(lines))


def in_haste(line: str) -> str:
    """A line as somebody in a hurry writes it: vowels left out, letters changed places or missing, x for s, 2 for tu.

    The same line gives the same slips.
    """
    chance = random.Random(zlib.crc32(line.encode()))  # noqa: S311  slips that must be the same again
    return " ".join(_slip(word, chance) if chance.random() < SLIPS else word for word in line.lower().split(" "))


def _slip(word: str, chance: random.Random) -> str:
    if len(word) < SLIP_LETTERS_MIN or not word.isalpha():
        return word
    inner = [at for at in range(1, len(word)) if word[at] in "aeiou"]
    match chance.randrange(6):
        case 0 | 1 if inner:
            gone = chance.choice(inner)
            return word[:gone] + word[gone + 1 :]
        case 2:
            return word[0] + "".join(char for char in word[1:-1] if char not in "aeiou") + word[-1]
        case 3:
            at = chance.randrange(1, len(word) - 1)
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 4:
            return word.replace("s", "x") if "s" in word else word.replace("tu", "2")
        case _:
            gone = chance.randrange(1, len(word))
            return word[:gone] + word[gone + 1 :]


def fit(examples: Sequence[Example], classes: int, seed: int) -> Weights:
    """A row of weights for each feature that is learnt: one for each class."""
    chance = np.random.RandomState(seed)  # The order of training, and what is left out: the same again.
    counts = Counter(chain.from_iterable(found for found, _ in examples))
    learnt = sorted(feature for feature, count in counts.items() if count >= FEATURE_LINES_MIN)
    rows_of = {feature: row for row, feature in enumerate(learnt)}
    lines = [
        (np.array([rows_of[each] for each in sorted(found) if each in rows_of], np.intp), wanted)
        for found, wanted in examples
    ]
    weights = np.zeros((len(learnt), classes))
    means = np.zeros_like(weights)
    squares = np.full(len(learnt), 1e-6)
    for epoch in range(EPOCHS):
        rate = RATE / (1 + epoch / 3)
        for number in chance.permutation(len(lines)):
            every, wanted = lines[number]
            found = every[chance.random_sample(len(every)) > DROPOUT]
            if not len(found):
                continue
            rows = weights[found]
            wrong = likelihoods(rows.sum(0))
            sure = wrong[wanted]
            wrong[wrong < ERROR_MIN] = 0
            wrong[wanted] = sure - 1
            force = float((wrong * wrong).sum())
            if force < FORCE_MIN:
                continue
            gone = squares[found] + force
            squares[found] = gone
            rows -= (rate / np.sqrt(gone))[:, None] * wrong
            weights[found] = rows
        weights *= 1 - DECAY
        if epoch >= AVERAGED_FROM:
            means += weights / (EPOCHS - AVERAGED_FROM)
    return Weights(learnt, means)


def likelihoods(sums: Numbers) -> Numbers:
    """How likely each class is, by the sum of its weights."""
    powers: Numbers = np.exp(sums - sums.max())
    powers /= powers.sum()
    return powers


def temperature(examples: Sequence[Example], classes: int) -> float:
    """By what the sums are multiplied so that a confidence of 0.9 is right nine times in ten, on lines held out.

    Whole stretches of lines are held out: what one person wrote in one go is alike, and another writes otherwise.
    """
    is_held = [number // STRETCH % FOLDS == 0 for number in range(len(examples))]
    held = [example for example, out in zip(examples, is_held, strict=True) if out]
    fitted = fit([example for example, out in zip(examples, is_held, strict=True) if not out], classes, seed=1)
    rows_of = {feature: row for row, feature in enumerate(fitted.features)}
    sums = np.array([fitted.rows[[rows_of[each] for each in found if each in rows_of]].sum(0) for found, _ in held])
    sums -= sums.max(1, keepdims=True)
    wanted = np.array([wanted for _, wanted in held])
    right = sums[np.arange(len(held)), wanted] == 0
    best = min((k / 20 for k in range(4, 41)), key=lambda scale: loss(sums * scale, wanted))
    print(f"held out: {100 * right.mean():.1f} % of {len(held)} right, temperature {best}")  # noqa: T201
    return best


def loss(sums: Numbers, wanted: Numbers) -> float:
    """The mean negative logarithm of what was given to the right class; each row's largest sum is 0."""
    given = sums[np.arange(len(wanted)), wanted]
    return float((np.log(np.exp(sums).sum(1)) - given).mean())


def pack(weights: Weights, classes: Sequence[str], scale: float, lines: int) -> bytes:
    """The file's bytes; weights are rounded to as many steps as a file has."""
    unit = float(np.abs(weights.rows).max()) / classify.STEPS
    rounded = np.rint(weights.rows / unit).astype(np.int8)
    kept = rounded.any(1)
    rows = rounded[kept]
    gaps = np.diff(np.array(weights.features)[kept], prepend=0).astype("<u4")
    counts = (rows != 0).sum(1).astype(np.uint8)
    columns = rows.nonzero()[1].astype(np.uint8)
    head = classify.HEAD.pack(
        classify.MAGIC, classify.VERSION, len(classes), len(rows), len(columns), unit * scale, lines
    )
    names = b"".join(struct.pack("<B", len(name.encode())) + name.encode() for name in classes)
    body = b"".join(part.tobytes() for part in (gaps, counts, columns, rows[rows != 0]))
    data = head + names + zlib.compress(body, 9)
    if len(data) > WEIGHTS_BYTES_MAX:
        raise ValueError(f"The weights are {len(data):,} bytes; at most {WEIGHTS_BYTES_MAX:,} are kept.")
    return data


if __name__ == "__main__":
    raise SystemExit(main(argparse.Namespace()))
