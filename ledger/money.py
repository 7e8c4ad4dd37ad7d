"""Money: a whole number of minor units in one currency. Exact, pure; no binary fraction comes near it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import total_ordering
from typing import Final

from core.brain import amounts
from core.brain.spelling import spelling
from core.brain.words import SPELLING, clean, said
from core.errors import UserError
from core.language import Saying
from core.money import DECIMALS
from ledger.errors import CurrencyMismatch

MINOR_MAX: Final = 9_000_000_000_000_000
"""Most minor units in one amount or balance, either side of zero; PostgreSQL refuses more, and JavaScript counts it."""
TEXT_CHARS_MAX = 80
"""Longest text that is read as an amount."""
PARTS_MAX = 10_000
"""Most parts an amount is split into."""
PRECISION = 60
"""Decimal digits kept while converting: more than the longest amount and rate have together."""
ZONE = "Africa/Nairobi"

SEPARATORS: Final[dict[str, tuple[str, str]]] = {
    "en": (",", "."), "sw": (",", "."), "fr": ("\u202f", ","), "de": (".", ","), "es": (".", ","), "it": (".", ","),
    "nl": (".", ","), "pt": (".", ","),
}  # fmt: skip
"""What stands between thousands, and before the decimals, by language; other languages write as English does."""

NO_AMOUNT = Saying(
    "I cannot read “{text}” as an amount; write it such as {example}.",
    "Siwezi kusoma “{text}” kama kiasi; kiandike kama {example}.",
)
EMPTY = Saying("How much? Write it such as {example}.", "Kiasi gani? Kiandike kama {example}.")
WHICH = Saying("Do you mean {meanings}?", "Unamaanisha {meanings}?")
OR = Saying(" or ", " au ")
WHICH_CURRENCY = Saying("In which currency? Write it such as {example}.", "Kwa sarafu gani? Andika kama {example}.")
OTHER_CURRENCY = Saying("That is in {named}, not in {wanted}.", "Hiyo ni kwa {named}, si kwa {wanted}.")
NOT_POSITIVE = Saying("The amount must be more than zero.", "Kiasi lazima kizidi sifuri.")
TOO_FINE = Saying("{code} has only {decimals} decimals.", "{code} ina desimali {decimals} tu.")
WHOLE_ONLY = Saying("{code} has no decimals; write a whole number.", "{code} haina desimali; andika namba nzima.")
TOO_LITTLE = Saying("{amount} is worth nothing in {currency}.", "{amount} haina thamani kwa {currency}.")
TOO_LARGE = Saying("That is more money than I can count.", "Hizo ni pesa nyingi kuliko ninavyoweza kuhesabu.")

_NUMBER = re.compile(r"\d+(?:[.,' ]\d+)*")
_WORD = re.compile(r"[a-z]{3,}")
_THOUSANDS = re.compile(
    r"[1-9]\d{0,2}(?:(?P<between>[.,' ])\d{3})(?:(?P=between)\d{3})*(?:(?!(?P=between))[.,]\d{1,6})?"
)
_LAKHS = re.compile(r"[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d{1,6})?")
_PLAIN = re.compile(r"\d+(?:[.,]\d+)?")
_APART = str.maketrans({"\u066b": ".", "\u066c": ",", "\u2019": "'", "\u00a0": " ", "\u202f": " "})
_SHILLING_CODES = frozenset({"KES", "UGX", "TZS", "SOS"})
_DOLLARS = frozenset({"$", "dollar", "dollars", "dola"})
_DOLLAR_CODES = frozenset({"USD", "CAD", "AUD", "NZD", "SGD", "HKD"})


class BadAmount(UserError):
    """No amount of money can be read from it."""


class UnclearAmount(BadAmount):
    """An amount that can be read in more ways than one (`meanings`), or in no currency; what it says asks which."""

    def __init__(self, says: Saying, meanings: "tuple[Money, ...]" = ()) -> None:
        super().__init__(says)
        self.meanings = meanings


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """`minor` units of `currency`, an ISO 4217 code: Money(1250, "KES") is twelve shillings and fifty cents.

    It may be negative, as the legs of an entry are. Arithmetic and comparing stay within one currency, else
    CurrencyMismatch is raised; what leaves ±MINOR_MAX is a BadAmount, and anything but a whole number a TypeError.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"minor units are whole numbers, not {type(self.minor).__name__}")
        known(self.currency)
        if not -MINOR_MAX <= self.minor <= MINOR_MAX:
            raise BadAmount(TOO_LARGE)

    @classmethod
    def of(cls, amount: Decimal | int, currency: str) -> "Money":
        """An exact number of whole units, such as Decimal("12.50"); BadAmount where the currency is not as fine."""
        if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
            raise TypeError(f"an amount is a Decimal or an int, not {type(amount).__name__}")
        number = Decimal(amount)
        if not number.is_finite() or number.adjusted() > len(str(MINOR_MAX)):
            raise BadAmount(TOO_LARGE)
        with localcontext(prec=PRECISION):
            minor = number.scaleb(DECIMALS[known(currency)])
            if minor != minor.to_integral_value():
                raise BadAmount(
                    WHOLE_ONLY.filled(code=currency)
                    if not DECIMALS[currency]
                    else TOO_FINE.filled(code=currency, decimals=DECIMALS[currency])
                )
            return cls(int(minor), currency)

    @classmethod
    def parse(cls, written: object, currency: str | None = None, *, language: str = "en", zone: str = ZONE) -> "Money":
        """The amount somebody wrote, which has to be all they wrote: "KSh 2,500", "5k", "elfu mbili", "5000/=", 12.

        `currency` is the one it has to be in, else the text names one; `language` says whether point or comma stands
        before decimals, `zone` whose shilling it is. Raises UnclearAmount, which asks, where more than one thing can be
        meant, and BadAmount for what is no positive amount or finer than its currency. Never guesses.
        """
        example = cls(250_000, known(currency or "KES")).said()
        if isinstance(written, int | Decimal) and not isinstance(written, bool):
            return _positive(Decimal(written), currency, example)
        if not isinstance(written, str) or not written.strip():
            raise BadAmount(EMPTY.filled(example=example))
        text = clean(written[: TEXT_CHARS_MAX + 1].translate(_APART))
        no_amount = BadAmount(NO_AMOUNT.filled(text=text, example=example))
        numbers = list(_NUMBER.finditer(text))
        if len(text) > TEXT_CHARS_MAX or len(numbers) > 1:
            raise no_amount
        variants, sure = _variants(numbers[0][0], language) if numbers else ((text,), True)
        words = _WORD.findall(text.lower())
        sure = sure and not any(word in SPELLING or spelling().right(word) != word for word in words)
        meanings: list[tuple[Decimal, str | None]] = []
        for variant in variants:
            meant = text[: numbers[0].start()] + variant + text[numbers[0].end() :] if numbers else text
            found = _read(meant, currency, zone)
            if found is None:
                raise no_amount
            meanings.append(found)
        amount, code = meanings[0]
        if (
            code is not None
            and not sure
            and not (len(variants) > 1 and DECIMALS[code] == len(variants[0].partition(".")[2]))
        ):
            fit = [Money.of(number, code) for number, _ in meanings if _fits(number, code)]
            if not fit:
                raise no_amount
            raise UnclearAmount(WHICH.filled(meanings=Saying.joined("", *_or(fit))), tuple(fit))
        return _positive(amount, code, example)

    @property
    def decimal(self) -> Decimal:
        """The number of whole units, exact, with all decimals of the currency."""
        return Decimal(self.minor).scaleb(-DECIMALS[self.currency])

    def shown(self, language: str = "en") -> str:
        """As somebody of this language reads it: KES 1,234.50, in German KES 1.234,50."""
        between, point = SEPARATORS.get(language.lower().partition("-")[0], SEPARATORS["en"])
        digits = f"{self.decimal:,f}"
        return f"{self.currency} {digits.translate({ord(','): between, ord('.'): point})}"

    def said(self) -> Saying:
        """As `shown` in both languages people are spoken with."""
        return Saying(self.shown("en"), self.shown("sw"))

    def __str__(self) -> str:
        return self.shown()

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __mul__(self, times: int) -> "Money":
        """So many times as much; `times` is a whole number, since a share of money is `split` or `allocate`."""
        if type(times) is not int:
            raise TypeError("money is multiplied by whole numbers alone")
        return Money(self.minor * times, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not go together.")
        return other.minor

    def split(self, parts: int) -> "list[Money]":
        """So many parts as equal as can be, the larger ones first; together exactly this."""
        if type(parts) is not int or not 1 <= parts <= PARTS_MAX:
            raise ValueError(f"money is split into 1 to {PARTS_MAX} parts")
        return self.allocate([1] * parts)

    def allocate(self, weights: Sequence[int]) -> "list[Money]":
        """A part for each weight, in proportion, together exactly this; what is left over goes to the first ones."""
        total = sum(weights)
        if not 1 <= len(weights) <= PARTS_MAX or min(weights) < 0 or total < 1:
            raise ValueError(f"money is split by 1 to {PARTS_MAX} weights of 0 or more that are not all 0")
        size, sign = abs(self.minor), -1 if self.minor < 0 else 1
        parts = [size * weight // total for weight in weights]
        left = size - sum(parts)
        for index in [at for at, weight in enumerate(weights) if weight][:left]:
            parts[index] += 1
        return [Money(sign * part, self.currency) for part in parts]

    def converted(self, rate: Decimal, currency: str) -> "Money":
        """This at `rate` units of `currency` for one of ours, rounded half to even to its minor unit."""
        if not rate.is_finite() or rate <= 0:
            raise ValueError("a rate is a positive Decimal")
        with localcontext(prec=PRECISION):
            minor = (self.decimal * rate).scaleb(DECIMALS[known(currency)]).quantize(Decimal(1), ROUND_HALF_EVEN)
        return Money(int(minor), currency)


def known(currency: str) -> str:
    """The code as it is; CurrencyMismatch where there is no such currency."""
    if currency not in DECIMALS:
        raise CurrencyMismatch(f"There is no currency {currency!r}.")
    return currency


def _variants(number: str, language: str) -> tuple[tuple[str, ...], bool]:
    """What a written number may be, as plain digits with a point, likeliest first, and whether only that is meant."""
    between, point = SEPARATORS.get(language.lower().partition("-")[0], SEPARATORS["en"])
    marks = [char for char in number if not char.isdigit()]
    if not marks:
        return (number,), True
    if _LAKHS.fullmatch(number) and point == ".":
        return (number.replace(",", ""),), True
    decimals = (
        f"{''.join(c for c in number[: number.rindex(marks[-1])] if c.isdigit())}.{number.rpartition(marks[-1])[2]}"
    )
    together = "".join(char for char in number if char.isdigit())
    if _THOUSANDS.fullmatch(number):
        if len(set(marks)) == 2:
            return (decimals,), True
        if len(marks) > 1 or marks[0] in " '" or marks[0] == between:
            return (together,), True
        return (decimals, together), False
    if _PLAIN.fullmatch(number):
        return (decimals,), marks[0] == point
    return (number,), True  # No way to write a number; nothing will be read from it.


def _read(text: str, currency: str | None, zone: str) -> tuple[Decimal, str | None] | None:
    """The one amount that is all of a text, and its currency if any; None where there is anything else."""
    heard = said(text)
    sums = amounts.amounts(heard.plain)
    named = amounts.currencies(heard.plain, heard.written, zone)
    spans = [*((one.start, one.end) for one in sums), *((one.start, one.end) for one in named)]
    rest = "".join(char for at, char in enumerate(heard.plain) if not any(low <= at < high for low, high in spans))
    if len(sums) != 1 or rest.strip(" .") or heard.rest:
        return None
    codes = {_meant(heard.plain[one.start : one.end], one.code, currency) for one in named}
    if len(codes) > 1:
        return None
    code = codes.pop() if codes else currency
    if currency is not None and code != currency:
        raise BadAmount(OTHER_CURRENCY.filled(named=str(code), wanted=currency))
    return Decimal(sums[0].value), code


def _meant(name: str, code: str, currency: str | None) -> str:
    """The code of a named currency; a shilling or dollar that nobody qualified is the wanted one where that is one."""
    if (name in amounts.SHILLINGS and currency in _SHILLING_CODES) or (name in _DOLLARS and currency in _DOLLAR_CODES):
        return currency or code
    return code


def _positive(amount: Decimal, currency: str | None, example: Saying) -> Money:
    if currency is None:
        raise UnclearAmount(WHICH_CURRENCY.filled(example=example))
    if amount.is_finite() and amount <= 0:
        raise BadAmount(NOT_POSITIVE)
    return Money.of(amount, currency)


def _fits(number: Decimal, code: str) -> bool:
    try:
        return Money.of(number, code).minor > 0
    except BadAmount:
        return False


def _or(several: Sequence[Money]) -> Iterator[Saying]:
    for index, money in enumerate(several):
        if index:
            yield OR
        yield money.said()
