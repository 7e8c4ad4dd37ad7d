"""Made-up exchange rates: one table in units of a US dollar, a small drift per day, so that all crosses agree."""

import hashlib
from datetime import date, timedelta
from decimal import Decimal

EARLIEST = date(1999, 1, 4)
DIGITS = 6

CURRENCIES: dict[str, tuple[str, str, str, str]] = {
    "USD": ("1", "United States Dollar", "840", "$"), "EUR": ("0.8645", "Euro", "978", "€"),
    "GBP": ("0.7592", "British Pound", "826", "£"), "KES": ("129.24", "Kenyan Shilling", "404", "KSh"),
    "UGX": ("3642.5", "Ugandan Shilling", "800", "USh"), "TZS": ("2468.0", "Tanzanian Shilling", "834", "Sh"),
    "RWF": ("1452.3", "Rwandan Franc", "646", "FRw"), "BIF": ("2962.0", "Burundian Franc", "108", "Fr"),
    "ETB": ("152.8", "Ethiopian Birr", "230", "Br"), "SOS": ("571.0", "Somali Shilling", "706", "Sh"),
    "NGN": ("1448.7", "Nigerian Naira", "566", "₦"), "GHS": ("10.94", "Ghanaian Cedi", "936", "₵"),
    "ZAR": ("17.29", "South African Rand", "710", "R"), "ZMW": ("22.87", "Zambian Kwacha", "967", "ZK"),
    "MWK": ("1733.5", "Malawian Kwacha", "454", "MK"), "MZN": ("63.9", "Mozambican Metical", "943", "MTn"),
    "EGP": ("47.25", "Egyptian Pound", "818", "E£"), "MAD": ("9.24", "Moroccan Dirham", "504", "د.م."),
    "XOF": ("567.07", "West African Cfa Franc", "952", "Fr"),
    "XAF": ("567.07", "Central African Cfa Franc", "950", "Fr"),
    "MUR": ("45.7", "Mauritian Rupee", "480", "₨"), "AED": ("3.6725", "United Arab Emirates Dirham", "784", "د.إ"),
    "SAR": ("3.75", "Saudi Riyal", "682", "ر.س"), "QAR": ("3.64", "Qatari Riyal", "634", "ر.ق"),
    "INR": ("88.71", "Indian Rupee", "356", "₹"), "PKR": ("281.3", "Pakistani Rupee", "586", "₨"),
    "CNY": ("7.115", "Chinese Renminbi Yuan", "156", "¥"), "JPY": ("154.6", "Japanese Yen", "392", "¥"),
    "KRW": ("1462.0", "South Korean Won", "410", "₩"), "HKD": ("7.781", "Hong Kong Dollar", "344", "$"),
    "SGD": ("1.3045", "Singapore Dollar", "702", "$"), "THB": ("32.41", "Thai Baht", "764", "฿"),
    "IDR": ("16720", "Indonesian Rupiah", "360", "Rp"), "MYR": ("4.142", "Malaysian Ringgit", "458", "RM"),
    "PHP": ("58.8", "Philippine Peso", "608", "₱"), "VND": ("26360", "Vietnamese Đồng", "704", "₫"),
    "AUD": ("1.5385", "Australian Dollar", "036", "$"), "NZD": ("1.769", "New Zealand Dollar", "554", "$"),
    "CAD": ("1.4052", "Canadian Dollar", "124", "$"), "CHF": ("0.8051", "Swiss Franc", "756", "CHF"),
    "SEK": ("9.512", "Swedish Krona", "752", "kr"), "NOK": ("10.08", "Norwegian Krone", "578", "kr"),
    "DKK": ("6.456", "Danish Krone", "208", "kr."), "ISK": ("126.9", "Icelandic Króna", "352", "kr"),
    "PLN": ("3.665", "Polish Złoty", "985", "zł"), "CZK": ("20.92", "Czech Koruna", "203", "Kč"),
    "HUF": ("332.4", "Hungarian Forint", "348", "Ft"), "TRY": ("42.25", "Turkish Lira", "949", "₺"),
    "UAH": ("42.1", "Ukrainian Hryvnia", "980", "₴"), "ILS": ("3.231", "Israeli New Shekel", "376", "₪"),
    "BRL": ("5.297", "Brazilian Real", "986", "R$"), "MXN": ("18.34", "Mexican Peso", "484", "$"),
    "ARS": ("1404.0", "Argentine Peso", "032", "$"), "CLP": ("939.0", "Chilean Peso", "152", "$"),
    "COP": ("3758.0", "Colombian Peso", "170", "$"), "PEN": ("3.368", "Peruvian Sol", "604", "S/"),
}  # fmt: skip
FIXED = frozenset({"USD", "AED", "SAR", "QAR"})
"""Pegged to the dollar: these do not drift."""


def business_day(day: date) -> date:
    """The last day on or before this one on which banks publish rates."""
    return day - timedelta(days=max(0, day.weekday() - 4))


def _per_dollar(code: str, day: date) -> Decimal:
    base = Decimal(CURRENCIES[code][0])
    if code in FIXED:
        return base
    digest = hashlib.blake2b(f"{code}|{day.isoformat()}".encode(), digest_size=4).digest()
    drift = Decimal(int.from_bytes(digest, "big")) / Decimal(1 << 32) - Decimal("0.5")
    return base * (1 + drift * Decimal("0.008"))


def rate(base: str, quote: str, day: date) -> Decimal:
    """Units of `quote` for one of `base` on that day, six significant digits."""
    if base == quote:
        return Decimal(1)
    exact = _per_dollar(quote, day) / _per_dollar(base, day)
    return exact.quantize(Decimal(1).scaleb(exact.adjusted() - DIGITS + 1))
