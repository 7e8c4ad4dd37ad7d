"""Comparing our payments with a provider's list: every planted fault is found, and nothing else."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ledger.matching import GRACE, Booked, Difference, Line, compare
from ledger.money import Money

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CLEAN = 5_000
OF_EACH = 8


def pairs(count: int, chance: random.Random) -> list[tuple[Booked, Line]]:
    """Payments that a provider lists as we booked them, in and out, over three days."""
    made = []
    for number in range(count):
        is_out, minor = chance.random() < 0.5, chance.randrange(100, 10_000_000)
        at = NOW - GRACE - timedelta(seconds=chance.randrange(3 * 86_400))
        fee = Money(chance.choice([0, 1_000, minor * 3 // 100]), "KES")
        charge = fee if chance.random() < 0.9 else None
        line_id = f"L{number}"
        booked = Booked(
            number, f"R{number}", is_out, True, True, Money(minor, "KES"), charge, at,
            (line_id,) if chance.random() < 0.5 else (),
        )  # fmt: skip
        line = Line(
            line_id, is_out, booked.reference, booked.amount.decimal, "KES", fee.decimal,
            at + timedelta(seconds=chance.randrange(600)),
        )  # fmt: skip
        made.append((booked, line))
    return made


def plant(kind: Difference, booked: Booked, line: Line, chance: random.Random) -> tuple[list[Booked], list[Line]]:
    """The same payment and line with a fault."""
    match kind:
        case Difference.MISSING_HERE:
            return [], [replace(line, reference=chance.choice(["", line.reference, "of somebody"]))]
        case Difference.MISSING_THERE:
            return [booked], []
        case Difference.AMOUNT:
            return [booked], [replace(line, amount=line.amount + chance.choice([Decimal("0.01"), Decimal(-1)]))]
        case Difference.CURRENCY:
            return [booked], [replace(line, currency=chance.choice(["USD", "UGX", "XXX"]))]
        case Difference.FEE:
            return [replace(booked, charge=Money(7, "KES"))], [replace(line, fee=Decimal("0.08"))]
        case Difference.LATE if chance.random() < 0.5:
            return [replace(booked, succeeded=False)], [line]
        case Difference.LATE:
            return [booked], [replace(line, at=booked.at + timedelta(days=2))]
        case Difference.REVERSED:
            return [booked], [line, replace(line, id=line.id + "-back", reversal=True, at=line.at + timedelta(hours=1))]
        case Difference.DUPLICATE:
            return [booked], [line, replace(line, id=line.id + "-again", at=line.at + timedelta(seconds=1))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sixty_four_faults_of_eight_kinds_among_five_thousand_clean_lines_are_all_found_and_nothing_else(
    seed: int,
) -> None:
    chance = random.Random(seed)
    kinds = [kind for kind in Difference for _ in range(OF_EACH)]
    booked: list[Booked] = []
    lines: list[Line] = []
    expected: Counter[tuple[Difference, int | None]] = Counter()
    for number, (one, line) in enumerate(pairs(CLEAN + len(kinds), chance)):
        if number < len(kinds):
            ours, theirs = plant(kinds[number], one, line, chance)
            expected[kinds[number], one.id if ours else None] += 1
        else:
            ours, theirs = [one], [line]
        booked += ours
        lines += theirs
    lines += chance.sample(lines, 100)  # As pages show them that shift while they are read.
    chance.shuffle(booked)
    chance.shuffle(lines)
    found = compare(booked, lines, NOW)
    assert Counter((one.kind, one.booked_id) for one in found.findings) == expected
    kept = {Difference.FEE, Difference.REVERSED, Difference.DUPLICATE}
    late_but_there = sum(one.kind is Difference.LATE and one.unexplained is None for one in found.findings)
    assert len(found.matches) == CLEAN + OF_EACH * len(kept) + late_but_there
    # Compared once more, with what was settled: the same faults, and nothing to settle.
    settled = {match.line.id: match.booked.id for match in found.matches}
    again = compare(booked, lines, NOW, settled=settled)
    assert again.matches == []
    still = {Difference.MISSING_HERE, Difference.MISSING_THERE, Difference.AMOUNT, Difference.CURRENCY}
    assert {one.kind for one in again.findings} == still | {Difference.REVERSED, Difference.DUPLICATE, Difference.LATE}


def test_what_is_recent_or_still_under_way_is_no_finding() -> None:
    [(booked, line)] = pairs(1, random.Random(1))
    fresh = replace(booked, at=NOW - GRACE + timedelta(seconds=1))
    assert compare([fresh], [], NOW).findings == []
    assert compare([replace(booked, succeeded=False, is_over=False)], [line], NOW).findings == []
    assert compare([replace(booked, succeeded=False)], [], NOW).findings == []
