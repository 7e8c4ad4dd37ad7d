"""Amounts and currencies as people write them: $100, 2.5k bob, 1,5 USD, sh 1,500/=, dola mia moja, "euros". Pure.

Amounts are decimal digits in a string, never binary fractions; three digits behind a comma are thousands, one or two a
fraction; currencies are ISO 4217 codes. A dollar that nobody
qualified is the US dollar, a shilling the one of the person's time zone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from core.brain.words import listed
from core.money import DECIMALS

DIGITS_MAX = 15
"""Longest whole part of an amount; a longer run of digits is no amount."""

NEGATIVE = re.compile(r"\bminus (?:[a-z]{1,4} ?)?\d|(?<![\w+)\d])-(?:[a-z]{3} ?)?\d")
"""A sum below nothing, which is none that anybody pays."""
CODES = frozenset(DECIMALS)
WORD_CODES = listed("ALL AMD ANG ARS BAM BOB COP CUP GEL LAK MAD MOP PEN RON RUB SOS TOP TRY")
"""Codes that are words too: they count only in capitals."""

NAMES = {
    "$": "USD", "us$": "USD", "u.s$": "USD", "u.s.$": "USD", "mex$": "MXN", "aud$": "AUD", "au$": "AUD", "a$": "AUD",
    "cad$": "CAD", "ca$": "CAD", "c$": "CAD", "hk$": "HKD", "nz$": "NZD", "sg$": "SGD", "nt$": "TWD", "r$": "BRL",
    "₡": "CRC", "₾": "GEL", "₭": "LAK", "₫": "VND", "₱": "PHP", "₴": "UAH", "₸": "KZT", "₵": "GHS", "元": "CNY",
    "kuai": "CNY", "musd": "USD", "meur": "EUR", "mgbp": "GBP", "maud": "AUD", "mcad": "CAD", "mkes": "KES",
    "dollar": "USD", "dollars": "USD", "usd": "USD", "us dollar": "USD",
    "us dollars": "USD", "american dollar": "USD", "american dollars": "USD", "buck": "USD", "bucks": "USD",
    "dola": "USD", "dola ya marekani": "USD", "dola za marekani": "USD", "u s dollar": "USD", "u s dollars": "USD",
    "greenback": "USD", "dollars american": "USD", "€": "EUR", "euro": "EUR", "euros": "EUR", "yuro": "EUR",
    "euro's": "EUR", "£": "GBP", "pound": "GBP", "pounds": "GBP", "british pound": "GBP", "british pounds": "GBP",
    "quid": "GBP", "pound sterling": "GBP", "pounds sterling": "GBP", "sterling": "GBP", "pauni": "GBP",
    "paundi": "GBP", "¥": "JPY", "yen": "JPY", "yens": "JPY", "japanese yen": "JPY", "yuan": "CNY",
    "chinese yuan": "CNY", "renminbi": "CNY", "rmb": "CNY", "₹": "INR", "rupee": "INR", "rupees": "INR", "rs": "INR",
    "indian rupee": "INR", "indian rupees": "INR", "pakistani rupee": "PKR", "pakistani rupees": "PKR", "₦": "NGN",
    "naira": "NGN", "rand": "ZAR", "rands": "ZAR", "south african rand": "ZAR", "randi": "ZAR", "birr": "ETB",
    "ethiopian birr": "ETB", "cedi": "GHS", "cedis": "GHS", "rwandan franc": "RWF", "rwandan francs": "RWF",
    "franc": "CHF", "francs": "CHF", "swiss franc": "CHF", "swiss francs": "CHF", "cfa": "XOF", "faranga": "RWF",
    "dirham": "AED", "dirhams": "AED", "riyal": "SAR", "riyals": "SAR", "saudi riyal": "SAR", "kwacha": "ZMW",
    "zambian kwacha": "ZMW", "malawian kwacha": "MWK", "ksh": "KES", "kshs": "KES", "kes": "KES", "bob": "KES",
    "kenya shilling": "KES", "kenya shillings": "KES", "kenyan shilling": "KES", "kenyan shillings": "KES",
    "shilingi ya kenya": "KES", "shilingi za kenya": "KES", "ugx": "UGX", "ush": "UGX", "ugandan shilling": "UGX",
    "ugandan shillings": "UGX", "uganda shillings": "UGX", "shilingi za uganda": "UGX", "shilingi ya uganda": "UGX",
    "tsh": "TZS", "tshs": "TZS", "tanzanian shilling": "TZS", "tanzanian shillings": "TZS",
    "tanzania shillings": "TZS", "shilingi za tanzania": "TZS", "shilingi ya tanzania": "TZS",
    "somali shilling": "SOS", "somali shillings": "SOS", "canadian dollar": "CAD", "canadian dollars": "CAD",
    "australian dollar": "AUD", "australian dollars": "AUD", "new zealand dollar": "NZD",
    "new zealand dollars": "NZD", "singapore dollar": "SGD", "singapore dollars": "SGD", "hong kong dollar": "HKD",
    "hong kong dollars": "HKD", "peso": "MXN", "pesos": "MXN", "mexican peso": "MXN", "mexican pesos": "MXN",
    "philippine peso": "PHP", "philippine pesos": "PHP", "₽": "RUB", "ruble": "RUB", "rubles": "RUB", "rouble": "RUB",
    "roubles": "RUB", "lira": "TRY", "turkish lira": "TRY", "₺": "TRY", "won": "KRW", "korean won": "KRW", "₩": "KRW",
    "baht": "THB", "ringgit": "MYR", "rupiah": "IDR", "shekel": "ILS", "shekels": "ILS", "₪": "ILS", "zloty": "PLN",
    "forint": "HUF", "real": "BRL", "reais": "BRL", "brazilian real": "BRL", "krona": "SEK", "swedish krona": "SEK",
    "danish krone": "DKK", "norwegian krone": "NOK", "egyptian pound": "EGP", "egyptian pounds": "EGP",
    "sudanese pound": "SDG", "south sudanese pound": "SSP", "kuwaiti dinar": "KWD", "jordanian dinar": "JOD",
    "moroccan dirham": "MAD", "uae dirham": "AED", "burundian franc": "BIF", "congolese franc": "CDF",
}  # fmt: skip
MILLIONS = listed("musd meur mgbp maud mcad mkes")
"""Codes with an m before them: millions of them."""
SHILLINGS = listed("shilling shillings shilingi sh shs /= /-")
"""Every country's own shilling: which one depends on where the person is."""
SHILLING_OF = {"Africa/Kampala": "UGX", "Africa/Dar_es_Salaam": "TZS", "Africa/Mogadishu": "SOS"}
NOT_ALONE = listed("$ rs real won sterling sh shs /= /- buck bucks cfa bob franc")
"""Names that mean money only beside a number, or beside another currency."""
NAME_WORDS_MAX = 3

_TOKENS = re.compile(
    r"(?:u\.?s\.? ?|mex ?|aud ?|cad ?|hk ?|nz ?|sg ?|nt ?|c ?|\ba|\br|\b[a-z]{3})\$|m(?:usd|eur|gbp|aud|cad|kes)\b"
    r"|[^\W\d_]+(?:'s)?|/[=-]|[$€£¥₹₦₽₺₩₪₡₾₭₫₱₴₸₵元]"
)
_DOTTED = re.compile(r"\b([a-z])\. ?([a-z])\. ?([a-z])\b\.?")
_AMOUNT = re.compile(
    rf"(?<![\d.,_])(?:(?<![a-z])|(?<=kes)|(?<=ksh)|(?<=usd)|(?<=\bsh)|(?<=ugx)|(?<=tzs)|(?<=eur))-?(?:"
    rf"(?P<dotted>\d{{1,3}}(?:\.\d{{3}}){{1,5}}(?=,\d{{1,2}}(?![\d,])))"
    rf"|(?P<grouped>\d{{1,3}}(?: ?,(?: ?)\d{{3}}){{1,5}}|\d{{1,2}}(?:,\d{{2}}){{1,4}},\d{{3}})"
    rf"|(?P<plain>\d{{1,{DIGITS_MAX}}}))(?P<part>\.\d{{1,6}}|,\d{{1,2}}(?![\d,]|\.\d))?"
    r"(?:[ ]?(?P<scale>k|thousand|m|mn|mil|million|bn|billion|trillion|hundred|lakhs?|lacs?|crores?|elfu|milioni|laki"
    r"|(?:usd|eur|gbp|kes|aud|cad|chf|jpy|inr) ?million|m(?=(?:usd|eur|gbp|aud|cad|kes)\b))(?:\b|(?=(?:usd|eur"
    r"|gbp|aud|cad|kes)\b)))?(?![\d])"
)
_SIZED = re.compile(r"\b(?P<scale>elfu|laki|milioni|mia) (?P<plain>\d{1,4})(?P<part>\.\d{1,2})?(?P<grouped>)\b")
_SHARE = re.compile(
    r"\b(?P<share>half|quarter|3 quarters?(?: of)?) (?:a |of a )?(?P<of>thousand|million|billion|laki|milioni)\b"
)
_SHARES = {"half": Decimal("0.5"), "quarter": Decimal("0.25"), "3": Decimal("0.75")}
_SCALES = {
    "k": 1000, "thousand": 1000, "m": 10**6, "mn": 10**6, "mil": 10**6, "million": 10**6, "bn": 10**9, "billion": 10**9,
    "hundred": 100, "trillion": 10**12, "lakh": 10**5, "lakhs": 10**5, "lac": 10**5, "lacs": 10**5, "crore": 10**7,
    "crores": 10**7, "elfu": 1000, "laki": 10**5, "milioni": 10**6, "mia": 100,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in a text, as decimal digits."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency named in a text; one that is not `sure` counts only in the company of a number or of another one."""

    start: int
    end: int
    code: str
    sure: bool = True


def amounts(plain: str) -> list[Amount]:
    """Every number of a text that could be an amount, in order; a negative one is not."""
    found = [_amount(match) for pattern in (_SIZED, _AMOUNT) for match in pattern.finditer(plain) if match[0][0] != "-"]
    found += [
        Amount(
            match.start(),
            match.end(),
            format((_SHARES[match["share"].split()[0]] * _SCALES[match["of"]]).normalize(), "f"),
        )
        for match in _SHARE.finditer(plain)
    ]
    found.sort(key=lambda amount: (amount.start, -amount.end))
    return [amount for index, amount in enumerate(found) if index == 0 or amount.start >= found[index - 1].end]


def _amount(match: re.Match[str]) -> Amount:
    words = match.groupdict()
    whole = (words["grouped"] or words["plain"] or words["dotted"].replace(".", "")).replace(",", "").replace(" ", "")
    value = Decimal(whole + (words["part"] or "").replace(",", "."))
    scale = words["scale"] or ""
    value *= 10**6 if scale.endswith(" million") else _SCALES.get(scale, 1)
    text = format(value, "f")
    return Amount(match.start(), match.end(), text.rstrip("0").rstrip(".") if "." in text else text)


def currencies(plain: str, written: str, zone: str) -> list[Currency]:
    """Every currency named in a text, in order. `written` has the person's own capitals, `zone` says whose shilling."""
    found = [
        Currency(match.start(), match.end(), code)
        for match in _DOTTED.finditer(plain)
        if (code := "".join(match.groups()).upper()) in CODES
    ]
    capitals = frozenset(re.findall(r"\b[A-Z]{3}\b", written))
    found += [each for each in _named(plain, capitals, zone) if not any(a.start <= each.start < a.end for a in found)]
    return sorted(found, key=lambda currency: currency.start)


def _named(plain: str, capitals: frozenset[str], zone: str) -> Iterator[Currency]:
    tokens = [(match[0], match.start(), match.end()) for match in _TOKENS.finditer(plain)]
    index = 0
    while index < len(tokens):
        for count in range(min(NAME_WORDS_MAX, len(tokens) - index), 0, -1):
            stretch = tokens[index : index + count]
            name = " ".join(word.replace(" ", "") if word.endswith("$") else word for word, _, _ in stretch)
            code = _code(name, capitals, zone)
            if code and stretch[-1][2] - stretch[0][1] <= len(name) + 2 * count:
                yield Currency(stretch[0][1], stretch[-1][2], code, name not in NOT_ALONE)
                index += count - 1
                break
        index += 1


def _code(name: str, capitals: frozenset[str], zone: str) -> str | None:
    if name in SHILLINGS:
        return SHILLING_OF.get(zone, "KES")
    if name in ("franc", "francs") and zone == "Africa/Kigali":
        return "RWF"
    upper = name.upper()
    if upper in capitals and upper in WORD_CODES:
        return upper
    if name in NAMES:
        return NAMES[name]
    if name.endswith("$") and " " not in name:
        return upper[:-1] if upper[:-1] in CODES - WORD_CODES else NAMES["$"]
    return upper if upper in CODES and upper not in WORD_CODES else None
