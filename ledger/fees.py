"""Fees: what we charge for a movement of money, by a schedule for each kind and currency that is valid from a time.

A schedule has tiers, which follow one another without a gap: each begins where the one before ends, and the last has no
end. A tier's fee is a flat sum and a share of the amount in basis points, the share rounded half to even to the minor
unit; then it is brought between the schedule's least and most, but a tier that charges nothing stays free. No fee is
more than the amount itself. Where no schedule is valid there is no fee. A schedule is never changed: a newer one takes
its place, and what somebody was shown before stays what they pay.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import orjson

from core.errors import UserError
from ledger.errors import CurrencyMismatch
from ledger.journal import Kind
from ledger.money import MINOR_MAX, BadAmount, Money, known

CHARGED: Final = (Kind.WITHDRAWAL, Kind.TRANSFER, Kind.DEPOSIT, Kind.INVOICE_PAYMENT)
"""Kinds that may cost something; the payer of the first two pays it besides, from the others it is taken off."""
WHOLE = 10_000
"""Basis points of the whole amount."""
TIERS_MAX = 50
LISTED_MAX = 200
OPEN_END = "*"
"""How the end of the last tier is written."""

IN_FORCE = """
SELECT kind, currency, terms::text AS terms FROM fee_schedule
WHERE kind = $1 AND currency = $2 AND valid_from <= clock_timestamp() ORDER BY valid_from DESC, id DESC LIMIT 1
"""
LISTED = """
SELECT id, kind, currency, terms::text AS terms, valid_from, made_by, valid_from <= clock_timestamp() AND NOT EXISTS (
    SELECT FROM fee_schedule n WHERE n.kind = f.kind AND n.currency = f.currency
    AND n.valid_from <= clock_timestamp() AND (n.valid_from, n.id) > (f.valid_from, f.id)
) AS in_force, valid_from > clock_timestamp() AS planned
FROM fee_schedule f ORDER BY kind, currency, valid_from DESC, id DESC LIMIT $1
"""
ADD = """
INSERT INTO fee_schedule (kind, currency, terms, valid_from, made_by) VALUES ($1, $2, $3::text::jsonb, $4, $5)
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Tier:
    """What amounts up to `up_to` cost (None: all that are more than the tier before): minor units, basis points."""

    up_to: int | None
    flat: int = 0
    basis_points: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a kind of movement costs in one currency. Raises UserError where the terms are none."""

    kind: Kind
    currency: str
    tiers: tuple[Tier, ...]
    at_least: int = 0
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in CHARGED:
            raise UserError(f"There are fees for {', '.join(CHARGED)}, not for {self.kind}.")
        known(self.currency)
        if not 1 <= len(self.tiers) <= TIERS_MAX:
            raise UserError(f"A schedule has 1 to {TIERS_MAX} tiers.")
        ends = [tier.up_to for tier in self.tiers]
        if ends[-1] is not None or None in ends[:-1]:
            raise UserError(f"The last tier, and no other, ends with {OPEN_END}: every amount has a fee.")
        upwards = [0, *(end for end in ends if end is not None)]
        if any(low >= high for low, high in pairwise(upwards)):
            raise UserError("Each tier ends above the one before it.")
        for tier in self.tiers:
            if not 0 <= tier.flat <= MINOR_MAX or not 0 <= tier.basis_points <= WHOLE or (tier.up_to or 0) > MINOR_MAX:
                raise UserError("A fee is not negative, and at most the whole amount.")
        if not 0 <= self.at_least <= (MINOR_MAX if self.at_most is None else self.at_most) <= MINOR_MAX:
            raise UserError("The least fee is not negative, and not above the most.")

    def fee(self, amount: Money) -> Money:
        """What it costs to move a positive amount. Raises CurrencyMismatch, and BadAmount where it is not positive."""
        if amount.currency != self.currency:
            raise CurrencyMismatch(f"The fees are in {self.currency}, not in {amount.currency}.")
        if amount.minor <= 0:
            raise BadAmount("A fee is of a positive amount.")
        tier = next(one for one in self.tiers if one.up_to is None or amount.minor <= one.up_to)
        if not tier.flat and not tier.basis_points:
            return Money(0, self.currency)
        fee = max(tier.flat + _half_even(amount.minor * tier.basis_points, WHOLE), self.at_least)
        if self.at_most is not None:
            fee = min(fee, self.at_most)
        return Money(min(fee, amount.minor), self.currency)


def _half_even(number: int, by: int) -> int:
    """A fraction of whole numbers, neither negative, rounded half to even."""
    whole, rest = divmod(number, by)
    return whole + (2 * rest > by or (2 * rest == by and whole % 2 == 1))


async def fee_for(connection: Any, kind: Kind, amount: Money) -> Money:
    """What moving a positive amount costs by the schedule that is valid now; nothing where there is none."""
    row = await connection.fetchrow(IN_FORCE, kind.value, amount.currency)
    return _schedule(row).fee(amount) if row else Money(0, amount.currency)


@dataclass(frozen=True, slots=True)
class Listed:
    """A schedule as it is kept: from when, by whom, and whether it is what is charged now, or will be."""

    id: int
    schedule: Schedule
    valid_from: datetime
    made_by: str
    in_force: bool
    planned: bool


async def listed(connection: Any) -> list[Listed]:
    """All schedules, by kind and currency, the latest first; at most LISTED_MAX."""
    return [
        Listed(row["id"], _schedule(row), row["valid_from"], row["made_by"], row["in_force"], row["planned"])
        for row in await connection.fetch(LISTED, LISTED_MAX)
    ]


async def add(connection: Any, schedule: Schedule, valid_from: datetime, by: str) -> int:
    """Have a schedule charged from a time on, which is not past, in the caller's transaction; its number.

    Raises UserError for a time that is past: what was charged then stays as it was.
    """
    terms = {
        "tiers": [[tier.up_to, tier.flat, tier.basis_points] for tier in schedule.tiers],
        "at_least": schedule.at_least, "at_most": schedule.at_most,
    }  # fmt: skip
    if await connection.fetchval("SELECT $1::timestamptz < clock_timestamp() - interval '1 minute'", valid_from):
        raise UserError("A schedule begins now or later: what was charged before stays as it was.")
    text = orjson.dumps(terms).decode()
    number: int = await connection.fetchval(ADD, schedule.kind.value, schedule.currency, text, valid_from, by)
    return number


def read(kind: Kind, currency: str, tiers: str, at_least: str = "", at_most: str = "") -> Schedule:
    """A schedule as staff write it: a line for each tier with its end, its flat fee and, if any, its per cent.

    Sums are in whole units with a point before decimals, such as `500 7.50 0.25`; the last tier ends with `*`. Raises
    UserError, which says what cannot be read.
    """
    known(currency)
    lines = [line.split() for line in tiers.splitlines() if line.strip()]
    if len(lines) > TIERS_MAX:
        raise UserError(f"A schedule has 1 to {TIERS_MAX} tiers.")
    made = []
    for words in lines:
        if not 2 <= len(words) <= 3:
            shown = " ".join(words)[:40]
            raise UserError(f"“{shown}” is no tier: write its end, its fee and its per cent, such as 500 7 0.25.")
        end = None if words[0] == OPEN_END else _sum(words[0], currency)
        made.append(Tier(end, _sum(words[1], currency), _points(words[2]) if len(words) == 3 else 0))
    return Schedule(
        kind, currency, tuple(made), _sum(at_least, currency) if at_least.strip() else 0,
        _sum(at_most, currency) if at_most.strip() else None,
    )  # fmt: skip


def _sum(written: str, currency: str) -> int:
    return Money.of(_decimal(written), currency).minor


def _points(written: str) -> int:
    points = _decimal(written.removesuffix("%")) * 100
    if points != points.to_integral_value():
        raise UserError(f"{written} has too many decimals: a hundredth of a per cent is the finest.")
    return int(points)


def _decimal(written: str) -> Decimal:
    text = written.strip()
    if not (len(text) <= 20 and text.isascii() and text.replace(".", "", 1).isdigit()):
        raise UserError(f"“{text[:20]}” is no number such as 1500 or 7.50.")
    return Decimal(text)


def _schedule(row: Any) -> Schedule:
    terms = orjson.loads(row["terms"])
    tiers = tuple(Tier(*tier) for tier in terms["tiers"])
    return Schedule(Kind(row["kind"]), row["currency"], tiers, terms["at_least"], terms["at_most"])
