"""Amounts and currencies in a text."""

import pytest

from core.brain.amounts import amounts, currencies
from core.brain.words import said


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("100", ["100"]),
        ("1,250.50", ["1250.5"]),
        ("2.5k", ["2500"]),
        ("3 million and 4", ["3000000", "4"]),
        ("$20", ["20"]),
        ("KES500/=", ["500"]),
        ("laki 2", ["200000"]),
        ("elfu tano", ["5000"]),
        ("0.1", ["0.1"]),
        ("-5", []),
        ("9" * 5000, []),
        ("v1.2.3", []),
        ("a4", []),
    ],
)
def test_amounts_are_decimal_digits(text: str, values: list[str]) -> None:
    assert [amount.value for amount in amounts(said(text).plain)] == values


@pytest.mark.parametrize(
    ("text", "zone", "codes"),
    [
        ("dollars, euros and £", "Africa/Nairobi", ["USD", "EUR", "GBP"]),
        ("canadian dollars", "Africa/Nairobi", ["CAD"]),
        ("nzd$15, pay sgd$3, for$5, all$6 and us$7", "Africa/Nairobi", ["NZD", "SGD", "USD", "USD", "USD"]),
        ("u. s. d. to yen", "Africa/Nairobi", ["USD", "JPY"]),
        ("shilingi za uganda", "Africa/Nairobi", ["UGX"]),
        ("shilingi", "Africa/Dar_es_Salaam", ["TZS"]),
        ("francs", "Africa/Kigali", ["RWF"]),
        ("try all the top cups", "Africa/Nairobi", []),
        ("TRY 500", "Africa/Nairobi", ["TRY"]),
        ("50 bob", "Africa/Nairobi", ["KES"]),
    ],
)
def test_currencies_are_codes(text: str, zone: str, codes: list[str]) -> None:
    heard = said(text)
    assert [currency.code for currency in currencies(heard.plain, heard.written, zone)] == codes
