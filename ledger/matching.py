"""Comparing what we say has moved with the provider's own list, line by line. Pure.

Money that both agree on is settled; everything else is a finding with the amount that nobody has explained yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from ledger.errors import CurrencyMismatch
from ledger.money import BadAmount, Money

LATE_AFTER = timedelta(days=1)
"""How much later than we booked it the provider may list something."""
GRACE = timedelta(hours=2)
"""How long the provider may take to list something at all."""


class Difference(StrEnum):
    """In what two lists differ."""

    MISSING_HERE = "missing_here"
    """The provider moved something that we know nothing of."""
    MISSING_THERE = "missing_there"
    """We booked something that the provider does not list."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    FEE = "fee"
    """It charged something else than it said."""
    LATE = "late"
    """It lists something long after we booked it, or something that had failed here."""
    REVERSED = "reversed"
    """It took something back."""
    DUPLICATE = "duplicate"
    """It moved something of ours a second time."""


@dataclass(frozen=True, slots=True)
class Line:
    """One movement in the provider's list. `amount` is what the payer or payee saw, `fee` what the provider kept."""

    id: str
    is_out: bool
    reference: str
    amount: Decimal
    currency: str
    fee: Decimal
    at: datetime
    reversal: bool = False


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment of ours. `charge` is the fee the provider told us of at its end, where it did."""

    id: int
    reference: str
    is_out: bool
    succeeded: bool
    is_over: bool
    amount: Money
    charge: Money | None
    at: datetime
    line_ids: tuple[str, ...] = ()
    """The provider's own ids of it."""
    is_refund: bool = False
    """It gives a payment to us back: the provider lists it as taken back, and we wanted it."""
    account: str | None = None
    """The person's own account with the provider whose list it stands in; None: ours."""
    is_settled: bool = False
    """A line of an earlier comparison was this payment."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not agree. `subject` is the line's id, or our reference where there is no line."""

    kind: Difference
    subject: str
    booked_id: int | None
    unexplained: Money | None
    """How much of it nobody has explained; None where the money itself agrees, or cannot be counted."""
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Match:
    """A line that is a payment of ours; what it settles, and the fee that went with it."""

    line: Line
    booked: Booked
    fee: Money


@dataclass(slots=True)
class Compared:
    """What a comparison found."""

    matches: list[Match] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def compare(
    booked: Sequence[Booked], lines: Sequence[Line], now: datetime, *, settled: Mapping[str, int] | None = None
) -> Compared:
    """Match lines with payments by the provider's id, else by our reference.

    `settled` are lines of earlier comparisons, with the payment that each settled; those payments are not missing, and
    a second line of one is a duplicate.
    """
    found = Compared()
    by_id = {line_id: one for one in booked for line_id in one.line_ids}
    by_reference = {(one.is_out, one.reference): one for one in booked}
    taken = {*(settled or {}).values(), *(one.id for one in booked if one.is_settled)}
    # A list that grows while it is read page by page shows a line on two pages: it is one line all the same.
    for line in sorted({line.id: line for line in lines}.values(), key=lambda one: (one.at, one.id)):
        if settled and line.id in settled:
            continue
        one = by_id.get(line.id) or by_reference.get((line.is_out, line.reference))
        if one is None:
            found.findings.append(_finding(Difference.MISSING_HERE, line, None, _money(line.amount, line.currency)))
        elif line.reversal and not one.is_refund:
            found.findings.append(_finding(Difference.REVERSED, line, one, _money(line.amount, line.currency)))
        elif not one.is_over:
            continue  # It is still being asked after, or a person looks at it.
        elif one.id in taken:
            found.findings.append(_finding(Difference.DUPLICATE, line, one, _money(line.amount, line.currency)))
        else:
            taken.add(one.id)
            _agree(found, line, one)
    for one in booked:
        if one.succeeded and one.id not in taken and now - one.at >= GRACE:
            found.findings.append(
                Finding(Difference.MISSING_THERE, one.reference, one.id, one.amount, str(one.amount), "nothing")
            )
    return found


def _agree(found: Compared, line: Line, one: Booked) -> None:
    """A payment's first line: whether all of it agrees."""
    amount, fee = _money(line.amount, line.currency), _money(line.fee, line.currency)
    if line.currency != one.amount.currency or amount is None or fee is None:
        found.findings.append(_finding(Difference.CURRENCY, line, one, one.amount))
        return
    if amount != one.amount:
        apart = amount - one.amount
        found.findings.append(_finding(Difference.AMOUNT, line, one, apart if apart.minor > 0 else -apart))
        return
    if not one.succeeded:
        found.findings.append(_finding(Difference.LATE, line, one, amount))
        return
    found.matches.append(Match(line, one, fee))
    if one.charge is not None and fee != one.charge:
        apart = fee - one.charge
        found.findings.append(
            Finding(
                Difference.FEE, line.id, one.id, apart if apart.minor > 0 else -apart, str(one.charge), str(fee)
            )
        )  # fmt: skip
    if line.at - one.at > LATE_AFTER:
        found.findings.append(_finding(Difference.LATE, line, one, None))


def _finding(kind: Difference, line: Line, one: Booked | None, unexplained: Money | None) -> Finding:
    theirs = f"{line.currency} {line.amount} at {_minute(line.at)}"
    ours = "nothing" if one is None else f"{one.amount} at {_minute(one.at)}"
    if one is not None and not one.succeeded:
        ours += ", failed"
    return Finding(kind, line.id, one.id if one else None, unexplained, ours, theirs)


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _money(amount: Decimal, currency: str) -> Money | None:
    """An amount of the provider's; None for one that no money can be."""
    try:
        return Money.of(amount, currency)
    except (BadAmount, CurrencyMismatch):
        return None
