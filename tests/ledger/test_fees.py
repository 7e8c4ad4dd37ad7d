"""Fees: what a schedule makes of an amount, for every amount and schedule there can be, and which is charged when."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.db import Database
from core.errors import UserError
from ledger import fees
from ledger.accounts import fee_income
from ledger.balances import balance
from ledger.errors import CurrencyMismatch, InsufficientFunds
from ledger.fees import Schedule, Tier
from ledger.journal import Kind
from ledger.money import MINOR_MAX, BadAmount, Money
from ledger.posting import Ledger
from ledger.transfers import transfer
from tests.ledger.conftest import deposit, kes, purse

AMOUNTS = st.integers(1, MINOR_MAX)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any schedule that may be charged."""
    ends: list[int | None] = [*sorted(draw(st.sets(st.integers(1, 10**9), max_size=6))), None]
    tiers = tuple(Tier(end, draw(st.integers(0, 10**6)), draw(st.integers(0, 10_000))) for end in ends)
    least = draw(st.integers(0, 10**6))
    most = draw(st.none() | st.integers(least, 10**7))
    return Schedule(Kind.WITHDRAWAL, "KES", tiers, least, most)


@given(schedules(), AMOUNTS)
def test_a_fee_is_never_negative_never_more_than_the_amount_and_within_its_bounds(of: Schedule, minor: int) -> None:
    fee = of.fee(kes(minor)).minor
    assert 0 <= fee <= minor
    if of.at_most is not None:
        assert fee <= of.at_most
    assert fee == 0 or fee >= min(of.at_least, minor)


@given(schedules(), AMOUNTS)
def test_exactly_one_tier_has_every_amount_and_its_share_is_rounded_half_to_even(of: Schedule, minor: int) -> None:
    begins = [0, *(tier.up_to for tier in of.tiers if tier.up_to is not None)]
    having = [
        tier for low, tier in zip(begins, of.tiers, strict=True)
        if low < minor and (tier.up_to is None or minor <= tier.up_to)
    ]  # fmt: skip
    assert len(having) == 1
    share = Decimal(minor * having[0].basis_points) / 10_000
    exact = having[0].flat + int(share.quantize(Decimal(1), ROUND_HALF_EVEN))
    within = max(exact, of.at_least) if of.at_most is None else min(max(exact, of.at_least), of.at_most)
    free = not having[0].flat and not having[0].basis_points
    assert of.fee(kes(minor)).minor == (0 if free else min(within, minor))


@given(AMOUNTS, st.integers(0, 10_000))
def test_a_share_grows_with_the_amount(minor: int, points: int) -> None:
    of = Schedule(Kind.TRANSFER, "KES", (Tier(None, 0, points),))
    assert of.fee(kes(minor)) <= of.fee(kes(min(minor + 1, MINOR_MAX)))


@pytest.mark.parametrize(
    ("tiers", "least", "most", "why"),
    [
        ("", "", "", "1 to 50 tiers"),
        ("500 7", "", "", "ends with *"),
        ("* 7\n500 7", "", "", "ends with *"),
        ("500 7\n500 8\n* 9", "", "", "ends above the one before"),
        ("500 7\n100 8\n* 9", "", "", "ends above the one before"),
        ("0 7\n* 9", "", "", "ends above the one before"),
        ("* -7", "", "", "is no number"),
        ("* 7 101", "", "", "at most the whole amount"),
        ("* 7 0.255", "", "", "too many decimals"),
        ("* 7.555", "", "", "decimals"),
        ("* 1e9", "", "", "is no number"),
        ("* ٧", "", "", "is no number"),
        ("7", "", "", "is no tier"),
        ("* 7 1 1", "", "", "is no tier"),
        ("* 7", "10", "5", "not above the most"),
        ("* 99999999999999999", "", "", "more money than I can count"),
        ("\n".join(f"{n} 1" for n in range(1, 99)), "", "", "1 to 50 tiers"),
    ],
)
def test_what_is_no_schedule_is_told_why(tiers: str, least: str, most: str, why: str) -> None:
    with pytest.raises(UserError, match=why.replace("*", r"\*")):
        fees.read(Kind.WITHDRAWAL, "KES", tiers, least, most)


def test_a_schedule_is_of_what_costs_something_and_its_own_currency() -> None:
    with pytest.raises(UserError, match="not for REFUND"):
        fees.read(Kind.REFUND, "KES", "* 7")
    of = fees.read(Kind.WITHDRAWAL, "KES", "100 0\n500 7\n* 13 0.5%", "5", "200")
    assert [of.fee(kes(minor)).minor for minor in (10_000, 10_001, 50_001, 50_100, 10_000_000)] == [
        0, 700, 1_550, 1_550, 20_000
    ]  # fmt: skip
    with pytest.raises(CurrencyMismatch):
        of.fee(Money(1, "USD"))
    with pytest.raises(BadAmount):
        of.fee(kes(0))


async def test_the_latest_schedule_whose_time_has_come_is_charged(db: Database) -> None:
    now = datetime.now(UTC)
    async with db.hot() as connection:
        assert await fees.fee_for(connection, Kind.TRANSFER, kes(50_000)) == kes(0)
        for tiers, begins in (("* 5", now), ("* 7", now + timedelta(days=1)), ("* 6", now)):
            await fees.add(connection, fees.read(Kind.TRANSFER, "KES", tiers), begins, "staff:owner")
        await fees.add(connection, fees.read(Kind.WITHDRAWAL, "KES", "* 9"), now, "staff:owner")
    async with db.hot() as connection:
        assert await fees.fee_for(connection, Kind.TRANSFER, kes(50_000)) == kes(600)
        assert await fees.fee_for(connection, Kind.TRANSFER, Money(50_000, "USD")) == Money(0, "USD")
        shown = [(one.schedule.kind, one.in_force, one.planned) for one in await fees.listed(connection)]
        with pytest.raises(UserError, match="now or later"):
            await fees.add(connection, fees.read(Kind.TRANSFER, "KES", "* 1"), now - timedelta(hours=1), "staff:owner")
    assert shown == [
        (Kind.TRANSFER, False, True), (Kind.TRANSFER, True, False), (Kind.TRANSFER, False, False),
        (Kind.WITHDRAWAL, True, False),
    ]  # fmt: skip


async def test_a_transfer_has_its_fee_in_the_same_entry(db: Database, ledger: Ledger) -> None:
    await ledger.post(deposit("a", 10_000))
    async with db.hot() as connection:
        await transfer(connection, "t", "a", "b", kes(9_000), kes(1_000))
    async with db.hot() as connection:
        left = [(await balance(connection, one)).posted.minor for one in (purse("a"), purse("b"), fee_income("KES"))]
        assert left == [0, 9_000, 1_000]
        assert await connection.fetchval("SELECT count(*) FROM journal_entry WHERE kind = 'TRANSFER'") == 1
    await ledger.post(deposit("a", 9_999))
    with pytest.raises(InsufficientFunds):
        async with db.hot() as connection:
            await transfer(connection, "t2", "a", "b", kes(9_000), kes(1_000))
