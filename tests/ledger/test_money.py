"""Money: exact, in one currency, read as people write it, and never guessed."""

import ast
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledger
from core.money import DECIMALS
from ledger.errors import CurrencyMismatch
from ledger.money import MINOR_MAX, PARTS_MAX, BadAmount, Money, UnclearAmount

CODES = st.sampled_from(sorted(DECIMALS))
MONEY = st.builds(Money, st.integers(-MINOR_MAX, MINOR_MAX), CODES)
LANGUAGES = ("en", "sw", "fr", "de-CH", "es", "pt-MZ", "zz")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("1,000", "KES 1,000.00"), ("1 000", "KES 1,000.00"), ("1\u00a0000", "KES 1,000.00"),
        ("1\u202f000", "KES 1,000.00"), ("1'000", "KES 1,000.00"), ("5k", "KES 5,000.00"), ("2.5k", "KES 2,500.00"),
        ("KSh 2,500", "KES 2,500.00"), ("5000/=", "KES 5,000.00"), ("5000/-", "KES 5,000.00"),
        ("elfu mbili", "KES 2,000.00"), ("elfu mbili mia tano", "KES 2,500.00"), ("five hundred bob", "KES 500.00"),
        ("shilingi elfu tano", "KES 5,000.00"), ("1,00,000", "KES 100,000.00"), ("1,234,567.89", "KES 1,234,567.89"),
        ("1.234.567,89", "KES 1,234,567.89"), ("1 234,5", "KES 1,234.50"), ("１２３", "KES 123.00"),
        ("١٢٣", "KES 123.00"),
        ("٢٬٥٠٠", "KES 2,500.00"), ("٢٫٥", "KES 2.50"), ("half a million", "KES 500,000.00"),
        ("kes5000", "KES 5,000.00"),
        ("0.5", "KES 0.50"), (12, "KES 12.00"), (Decimal("12.50"), "KES 12.50"), (Decimal("1.000"), "KES 1.00"),
        (Decimal("1e3"), "KES 1,000.00"),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_write_them(written: object, shown: str) -> None:
    assert Money.parse(written, "KES").shown() == shown


@pytest.mark.parametrize(
    ("written", "meanings"),
    [
        ("1.000", ["KES 1.00", "KES 1,000.00"]), ("sh 1.500/=", ["KES 1.50", "KES 1,500.00"]),
        ("1.234", ["KES 1,234.00"]), ("12,50", ["KES 12.50"]), ("1.500k", ["KES 1,500.00", "KES 1,500,000.00"]),
        ("5 milion", ["KES 5,000,000.00"]), ("two thousnd", ["KES 2,000.00"]), ("500 shilings", ["KES 500.00"]),
    ],
)  # fmt: skip
def test_what_can_be_meant_in_several_ways_is_asked(written: str, meanings: list[str]) -> None:
    with pytest.raises(UnclearAmount) as raised:
        Money.parse(written, "KES")
    assert [one.shown() for one in raised.value.meanings] == meanings
    for language in ("en", "sw"):
        assert all(one in raised.value.to(language) for one in meanings)


@pytest.mark.parametrize(
    "written",
    [
        "1e3", "NaN", "nan KES", "Infinity", "-5", "−5", "+5", "(5)", "0", "0.00", "0.001 KES", "0.001", "0,001",
        str(2**63), str(10**15), "", "  ", "KES", "about 500", "500-600", "1k 500", "5%", "1..5", "1,2,3",
        "laki moja na nusu", "five dollars", "500 USD", "$5", "5 USD KES", "9" * 81, "0x10", "5\n6", "½",
        True, False, None, 1.5, b"5", [5], 0, -5, 2**63,
        Decimal("NaN"), Decimal("Infinity"), Decimal("0.001"), Decimal("-1"), Decimal("1e999999"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(written: Any) -> None:
    with pytest.raises(BadAmount) as raised:
        Money.parse(written, "KES")
    assert not isinstance(raised.value, UnclearAmount)
    assert raised.value.to("sw") != raised.value.to("en")


@pytest.mark.parametrize("code", DECIMALS)
def test_every_currency_is_read_by_its_code(code: str) -> None:
    assert Money.parse(f"{code} 5") == Money.parse(f"5 {code}") == Money.of(5, code)


def test_the_currency_is_given_or_said_never_guessed() -> None:
    assert Money.parse("5,000 UGX") == Money(5_000, "UGX")
    assert Money.parse("5000/=", zone="Africa/Kampala") == Money(5_000, "UGX")
    assert Money.parse("5000/=", "TZS") == Money(500_000, "TZS")
    assert Money.parse("$5", "CAD") == Money(500, "CAD")
    for amount in ("5,000", 5_000):
        with pytest.raises(UnclearAmount, match="In which currency"):
            Money.parse(amount)
    with pytest.raises(CurrencyMismatch):
        Money.parse("5", "XXX")


def test_decimals_and_separators_are_those_of_currency_and_language() -> None:
    assert Money.parse("1.000", "KWD") == Money(1_000, "KWD")
    assert Money.parse("1,000", "KWD") == Money(1_000_000, "KWD")
    assert Money.parse("1.000", "KES", language="de") == Money.parse("1,000", "KES")
    assert Money.parse("12,50", "EUR", language="fr") == Money(1250, "EUR")
    with pytest.raises(BadAmount, match="UGX has no decimals"):
        Money.parse("100.5", "UGX")
    with pytest.raises(BadAmount, match="KES has only 2 decimals"):
        Money.parse("1.2345", "KES")
    assert Money(123_450, "KES").shown("de") == "KES 1.234,50"
    assert Money(-123_450, "UGX").shown("sw") == "UGX -123,450"
    assert str(Money(1, "KWD")) == "KWD 0.001"


@given(st.builds(Money, st.integers(1, 10**14), CODES), st.sampled_from(LANGUAGES))
@settings(max_examples=1_000, deadline=None)
def test_what_is_shown_is_read_as_the_same(money: Money, language: str) -> None:
    assert Money.parse(money.shown(language), language=language) == money
    assert Money.of(money.decimal, money.currency) == money


@given(st.text(max_size=30), st.sampled_from(LANGUAGES))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_asked_about_or_refused(text: str, language: str) -> None:
    with suppress(BadAmount):
        assert Money.parse(text, "KES", language=language).minor > 0


@given(MONEY, st.lists(st.integers(0, 10**6), min_size=1, max_size=50).filter(any))
def test_allocating_loses_nothing(money: Money, weights: list[int]) -> None:
    parts = money.allocate(weights)
    assert sum(part.minor for part in parts) == money.minor
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.minor * sum(weights) - money.minor * weight) < sum(weights) * len(weights)
        assert weight or not part.minor


@given(MONEY, st.integers(1, 200))
def test_splitting_is_exact_and_even(money: Money, count: int) -> None:
    parts = [part.minor for part in money.split(count)]
    assert sum(parts) == money.minor
    assert max(parts) - min(parts) <= 1


@given(MONEY, MONEY)
def test_arithmetic_stays_in_one_currency_and_in_range(one: Money, other: Money) -> None:
    if one.currency != other.currency:
        for mixed in (lambda: one + other, lambda: one - other, lambda: one < other):
            with pytest.raises(CurrencyMismatch):
                mixed()
    elif abs(one.minor + other.minor) <= MINOR_MAX:
        assert (one + other) - other == one
        assert (one < other) == (one.minor < other.minor)
    else:
        with pytest.raises(BadAmount):
            one + other
    assert one + -one == Money(0, one.currency)


def test_money_is_whole() -> None:
    assert Money(5, "KES") * 3 == Money(15, "KES")
    wrong: list[Any] = [1.5, True, "5", Decimal(5), None]
    for value in wrong:
        with pytest.raises(TypeError):
            Money(value, "KES")
        with pytest.raises(TypeError):
            Money(5, "KES") * value
    for number in (1.5, True):
        with pytest.raises(TypeError):
            Money.of(number, "KES")  # type: ignore[arg-type]
    with pytest.raises(CurrencyMismatch):
        Money.of(5, "ABC")
    for parts in (0, -1, PARTS_MAX + 1, 1.5):
        with pytest.raises(ValueError, match="parts"):
            Money(5, "KES").split(parts)  # type: ignore[arg-type]
    for weights in ([], [0, 0], [-1, 2]):
        with pytest.raises(ValueError, match="weights"):
            Money(5, "KES").allocate(weights)


def test_converting_rounds_once_half_to_even() -> None:
    assert Money(10_000, "USD").converted(Decimal("129.355"), "KES") == Money(1_293_550, "KES")
    assert Money(1, "USD").converted(Decimal("0.5"), "EUR") == Money(0, "EUR")
    assert Money(3, "USD").converted(Decimal("0.5"), "EUR") == Money(2, "EUR")
    assert Money(10_000, "KES").converted(Decimal("28.5"), "UGX") == Money(2_850, "UGX")
    for rate in (Decimal(0), Decimal("-1"), Decimal("NaN")):
        with pytest.raises(ValueError, match="rate"):
            Money(1, "USD").converted(rate, "KES")


def test_no_binary_fraction_is_in_the_package() -> None:
    for file in Path(ledger.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "float"), file
            assert not isinstance(node, ast.Div), file
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), file
