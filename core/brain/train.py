"""`train`: the classifier's weights from the lines in utterances/, the same bytes every time.

Multinomial logistic regression by stochastic gradient descent with AdaGrad steps and weight decay; the temperature that
makes its confidences honest is found on lines held out of training (Guo et al., "On Calibration of Modern Neural
Networks", 2017).
"""

import argparse
import math
import random
import struct
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from core.brain import classify, features, spelling
from core.brain.words import said
from core.language import heard

UTTERANCES = Path(__file__).with_name("utterances")
HASTY = "# hasty"
"""The heading of lines that are full of slips."""
EPOCHS = 8
AVERAGED_FROM = 4
"""From which epoch on the weights are averaged: their mean depends less on the order of lines than the last ones do."""
RATE = 0.35
DECAY = 2e-6
SLIPS = 0.4
"""Share of words with a slip in the hasty copy of a line."""
SLIP_LETTERS_MIN = 4
FEATURE_LINES_MIN = 3
"""A feature of fewer lines is not learnt: it says more about the line than about the action."""
DROPOUT = 0.25
"""Share of features left out at each step, so that no single word decides."""
FOLDS = 5
KEPT_MIN = 2
"""The smallest weight that is kept, in 127ths of the largest: there are many smaller ones, which tell little."""
WEIGHTS_BYTES_MAX = 2_000_000

Example = tuple[tuple[int, ...], int]


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
    """What the weights remember of the lines they were trained from, so that stale ones are seen."""
    return crc32("\n".join(f"{action}\t{line}" for line, action in lines).encode())


def train(lines: Sequence[tuple[str, str]], classes: Sequence[str]) -> bytes:
    """The weights file. The same lines give the same bytes."""
    index = {name: number for number, name in enumerate(classes)}
    examples = [(tuple(sorted(features.hashed(said(line)))), index[action]) for line, action in lines]
    hasty = [
        (tuple(sorted(features.hashed(said(in_haste(line))))), index[action])
        for line, action in lines
        if heard(line) == "sw"
    ]
    scale = temperature(examples, len(classes))
    return pack(fit([*examples, *hasty], len(classes)), classes, scale, digest(lines))


def in_haste(line: str) -> str:
    """A line as somebody in a hurry writes it: vowels left out, letters changed places or missing, x for s, 2 for tu.

    The same line gives the same slips.
    """
    chance = random.Random(crc32(line.encode()))  # noqa: S311  slips that must be the same again
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


def fit(examples: Sequence[Example], classes: int, seed: int = 1) -> dict[int, list[float]]:
    """Weights by feature: one for each class."""
    chance = random.Random(seed)  # noqa: S311  the order of training, which must be the same again
    counts = Counter(feature for found, _ in examples for feature in found)
    kept = [
        (tuple(feature for feature in found if counts[feature] >= FEATURE_LINES_MIN), wanted)
        for found, wanted in examples
    ]
    weights = {feature: [0.0] * classes for feature, count in sorted(counts.items()) if count >= FEATURE_LINES_MIN}
    means: dict[int, list[float]] = {}
    squares = {feature: 1e-6 for feature in weights}
    order = list(range(len(kept)))
    for epoch in range(EPOCHS):
        chance.shuffle(order)
        rate = RATE / (1 + epoch / 3)
        for number in order:
            every, wanted = kept[number]
            found = [feature for feature in every if chance.random() > DROPOUT]
            if not found:
                continue
            rows = [weights[feature] for feature in found]
            sums = list(map(sum, zip(*rows, strict=True)))
            top = max(sums)
            powers = [math.exp(each - top) for each in sums]
            whole = sum(powers)
            wrong = [
                (each, power / whole - (each == wanted))
                for each, power in enumerate(powers)
                if power > 0.002 * whole or each == wanted
            ]
            force = sum(error * error for _, error in wrong)
            if force < 1e-4:
                continue
            for feature, row in zip(found, rows, strict=True):
                squares[feature] += force
                step = rate / math.sqrt(squares[feature])
                for each, error in wrong:
                    row[each] -= step * error
        shrink = 1 - DECAY * len(order)
        for feature, row in weights.items():
            for each, value in enumerate(row):
                if value:
                    row[each] = value * shrink
            if epoch >= AVERAGED_FROM:
                sums_of = means.setdefault(feature, [0.0] * classes)
                for each, value in enumerate(row):
                    sums_of[each] += value / (EPOCHS - AVERAGED_FROM)
    return means


def scores(weights: dict[int, list[float]], found: Sequence[int], classes: int) -> list[float]:
    """The sum of weights for each class."""
    rows = [weights[feature] for feature in found if feature in weights]
    return list(map(sum, zip(*rows, strict=True))) if rows else [0.0] * classes


def temperature(examples: Sequence[Example], classes: int) -> float:
    """By what the sums are multiplied so that a confidence of 0.9 is right nine times in ten, on lines held out."""
    held: list[tuple[list[float], int]] = []
    chance = random.Random(2)  # noqa: S311
    order = list(range(len(examples)))
    chance.shuffle(order)
    cut = len(order) // FOLDS
    weights = fit([examples[number] for number in order[cut:]], classes)
    held = [(scores(weights, examples[number][0], classes), examples[number][1]) for number in order[:cut]]
    right = sum(max(range(classes), key=sums.__getitem__) == wanted for sums, wanted in held)
    best = min((k / 20 for k in range(4, 41)), key=lambda scale: loss(held, scale))
    print(f"held out: {100 * right / max(1, len(held)):.1f} % of {len(held)} right, temperature {best}")  # noqa: T201
    return best


def loss(held: Sequence[tuple[list[float], int]], scale: float) -> float:
    """The mean negative logarithm of what was given to the right class."""
    total = 0.0
    for sums, wanted in held:
        top = max(sums)
        whole = sum(math.exp((each - top) * scale) for each in sums)
        total += math.log(whole) - (sums[wanted] - top) * scale
    return total / max(1, len(held))


def pack(weights: dict[int, list[float]], classes: Sequence[str], scale: float, lines: int) -> bytes:
    """The file's bytes; weights are rounded to 127ths of the largest, small ones are left out."""
    most = max(abs(value) for row in weights.values() for value in row)
    unit = most / 127
    body: list[bytes] = []
    for feature in sorted(weights):
        rounded = [(each, round(value / unit)) for each, value in enumerate(weights[feature])]
        kept = [(each, value) for each, value in rounded if abs(value) >= KEPT_MIN]
        if kept:
            body.append(struct.pack("<IB", feature, len(kept)))
            body.append(b"".join(struct.pack("<Bb", each, value) for each, value in kept))
    head = classify.HEAD.pack(classify.MAGIC, classify.VERSION, len(classes), len(body) // 2, unit * scale, lines)
    names = b"".join(struct.pack("<B", len(name.encode())) + name.encode() for name in classes)
    data = head + names + b"".join(body)
    if len(data) > WEIGHTS_BYTES_MAX:
        raise ValueError(f"The weights are {len(data):,} bytes; at most {WEIGHTS_BYTES_MAX:,} are kept.")
    return data


if __name__ == "__main__":
    raise SystemExit(main(argparse.Namespace()))
