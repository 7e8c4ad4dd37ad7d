"""Amounts of shillings in words, English and Swahili, as they are confirmed. Pure."""

from core.language import spoken
from core.money import DECIMALS

LARGEST = 999_999_999
"""Whole shillings that are put in words."""
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_MOJA = ("sifuri", "moja", "mbili", "tatu", "nne", "tano", "sita", "saba", "nane", "tisa")
_KUMI = ("", "kumi", "ishirini", "thelathini", "arobaini", "hamsini", "sitini", "sabini", "themanini", "tisini")


def in_words(cents: int, language: str) -> str:
    """So many cents of a shilling: “one thousand five hundred shillings”, “shilingi elfu moja, mia tano”.

    Raises ValueError below zero, and above LARGEST shillings. Groups of Swahili are parted by commas, without which
    fifteen thousand and ten thousand and five are the same words.
    """
    whole, rest = divmod(cents, 100)
    if not 0 <= whole <= LARGEST:
        raise ValueError(f"{whole} shillings are not put in words")
    if spoken(language) == "sw":
        return f"shilingi {_swahili(whole)}" + (f" na senti {_swahili(rest)}" if rest else "")
    said = f"{_english(whole)} {'shilling' if whole == 1 else 'shillings'}"
    return said + (f" and {_english(rest)} {'cent' if rest == 1 else 'cents'}" if rest else "")


def money_in_words(minor: int, currency: str, language: str) -> str:
    """So many minor units of any currency: shillings of Kenya as in_words has them, “two hundred USD and 50/100”.

    Raises ValueError as in_words does.
    """
    if currency == "KES":
        return in_words(minor, language)
    unit = 10 ** DECIMALS[currency]
    whole, rest = divmod(minor, unit)
    if not 0 <= whole <= LARGEST:
        raise ValueError(f"{whole} {currency} are not put in words")
    said = f"{currency} {_swahili(whole)}" if spoken(language) == "sw" else f"{_english(whole)} {currency}"
    joint = "na" if spoken(language) == "sw" else "and"
    return said + (f" {joint} {rest}/{unit}" if rest else "")


def _english(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    for size, name in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if number >= size:
            many, rest = divmod(number, size)
            joint = " and " if 0 < rest < 100 else " "
            return f"{_english(many)} {name}" + (f"{joint}{_english(rest)}" if rest else "")
    raise AssertionError(number)


def _swahili(number: int) -> str:
    if number < 10:
        return _MOJA[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _KUMI[tens] + (f" na {_MOJA[ones]}" if ones else "")
    for size, name in ((1_000_000, "milioni"), (1_000, "elfu"), (100, "mia")):
        if number >= size:
            many, rest = divmod(number, size)
            joint = " na " if size == 100 else ", na " if rest < 100 else ", "
            return f"{name} {_swahili(many)}" + (f"{joint}{_swahili(rest)}" if rest else "")
    raise AssertionError(number)
