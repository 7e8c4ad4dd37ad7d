"""Countries: which one a clock or a phone number is of, and how dates are written there. Pure."""

from functools import cache
from importlib import resources

import phonenumbers

CURRENCIES = {
    "KE": "KES", "UG": "UGX", "TZ": "TZS", "RW": "RWF", "BI": "BIF", "ET": "ETB", "SO": "SOS", "SS": "SSP", "SD": "SDG",
    "CD": "CDF", "NG": "NGN", "GH": "GHS", "ZA": "ZAR", "ZM": "ZMW", "MW": "MWK", "MZ": "MZN", "BW": "BWP", "NA": "NAD",
    "EG": "EGP", "MA": "MAD", "TN": "TND", "DZ": "DZD", "SN": "XOF", "CI": "XOF", "ML": "XOF", "BF": "XOF", "BJ": "XOF",
    "TG": "XOF", "NE": "XOF", "CM": "XAF", "GA": "XAF", "US": "USD", "CA": "CAD", "GB": "GBP", "IN": "INR", "PK": "PKR",
    "BD": "BDT", "AE": "AED", "SA": "SAR", "QA": "QAR", "KW": "KWD", "OM": "OMR", "CN": "CNY", "JP": "JPY", "KR": "KRW",
    "AU": "AUD", "NZ": "NZD", "BR": "BRL", "MX": "MXN", "CH": "CHF", "SE": "SEK", "NO": "NOK", "DK": "DKK", "PL": "PLN",
    "CZ": "CZK", "TR": "TRY", "IL": "ILS",
    **dict.fromkeys(
        ("AT", "BE", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT",
         "SI", "SK"),
        "EUR",
    ),
}  # fmt: skip
"""What is paid with there; a country that is not listed tells nothing."""
MONTH_FIRST = frozenset({"US", "CA", "PR", "GU", "VI", "AS", "MP"})
"""Countries where dates in figures begin with the month."""


def of_zone(zone: str) -> str | None:
    """The ISO 3166 code of the country a zone is kept for, such as KE."""
    return of_zones().get(zone)


def of_phone(number: str | None) -> str | None:
    """The ISO 3166 code of the country that a number such as +254 … is from; None for what is no such number."""
    if number is None or not number.startswith("+"):
        return None
    try:
        region: str | None = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
    return region


def month_first(zone: str | None, number: str | None = None) -> bool:
    """Whether whoever lives by this clock, or has this number, writes the month before the day: 3/4 is 4 March."""
    by_zone = zone is not None and (of_zone(zone) in MONTH_FIRST or zone.startswith("US/"))
    return by_zone or ((number or "").startswith("+1") and of_phone(number) in MONTH_FIRST)


@cache
def of_zones() -> dict[str, str]:
    """The country of every zone that is kept for one."""
    rows = (line.split("\t") for line in table("zone.tab"))
    return {row[2]: row[0] for row in rows}


def table(name: str) -> list[str]:
    """The lines of a table of the tz database."""
    text = (resources.files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
