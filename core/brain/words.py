"""What somebody wrote, made fit for patterns: cleaned once, cut to a limit, number words turned into digits.

`Said.written` is what the person wrote, tidied but with its own letters; `Said.plain` is the same in lower case, with
chat spelling put right and numbers as digits ("twenty five" and "ishirini na tano" are both 25). Patterns look at
`plain`, values that people will read again are taken from `written`, and a span of one is known in the other.
"""

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from core.brain.spelling import Spelling, spelling

TEXT_PARSED_CHARS_MAX = 1000
"""How much of a message is looked at for times, places and amounts."""
SLIP_MIN = 3
"""Letters of a word that may be a slip."""
MARKS_MAX = 4
"""How many combining marks one letter keeps."""


def listed(text: str) -> frozenset[str]:
    """The words of a text, as a set: word lists are read more easily without quotes."""
    return frozenset(text.split())


_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
_TOKENS = re.compile(r"\d+|[^\W\d_]+|.", re.DOTALL)
_JOINED = re.compile("(?<=[\\x00-\\x7f])[\u200d\ufe00-\ufe0f\u20e3]+|\u200d+(?=[\\x00-\\x7f])")
"""What holds emoji together or dresses them up, beside a letter, a digit or a space: "1️⃣2️⃣" is 12."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065")
"""Letters and marks that nobody sees, and that would stand between two digits of one number."""
_QUOTES = str.maketrans({
    "’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "٫": ".", "٬": ",",
})  # fmt: skip

SPELLING = {
    "tmrw": "tomorrow", "tmr": "tomorrow", "tmrow": "tomorrow", "tomoro": "tomorrow", "tomorow": "tomorrow",
    "tommorow": "tomorrow", "tommorrow": "tomorrow", "tomorrrow": "tomorrow", "tomoz": "tomorrow", "tomo": "tomorrow",
    "tonite": "tonight", "2nite": "tonight", "2moro": "tomorrow", "2morrow": "tomorrow",
    "2mrw": "tomorrow", "2day": "today", "tody": "today", "keshokutwa": "kesho kutwa", "pls": "please", "plz": "please",
    "plse": "please", "u": "you", "ur": "your", "wat": "what", "tp": "top",
    "wats": "what's", "whats": "what's", "hows": "how's",
    "remnd": "remind", "remid": "remind", "reming": "remind", "remaind": "remind", "rimind": "remind",
    "wether": "weather", "weathr": "weather", "waether": "weather", "wheather": "weather",
    "convrt": "convert", "covert": "convert", "exchnge": "exchange", "remainder": "reminder", "remainders": "reminders",
    "reminer": "reminder", "minuts": "minutes", "mintues": "minutes", "minits": "minutes", "dakka": "dakika",
    "tuseday": "tuesday", "teusday": "tuesday", "wednsday": "wednesday", "wensday": "wednesday",
    "wednesdy": "wednesday", "thrusday": "thursday", "thurday": "thursday", "thursdy": "thursday", "firday": "friday",
    "fryday": "friday", "saterday": "saturday", "satuday": "saturday", "suday": "sunday", "monay": "monday",
    "nikumbushie": "nikumbushe", "nikumbuxhe": "nikumbushe", "nkumbushe": "nikumbushe", "alhamis": "alhamisi",
    "milion": "million",
    "jmosi": "jumamosi", "jpili": "jumapili", "hbr": "habari", "hbari": "habari", "kw": "kwa", "yk": "yako",
    "yng": "yangu", "kla": "kila", "vp": "vipi", "cjui": "sijui", "ctaki": "sitaki", "cna": "sina", "nko": "niko",
    "ntk": "nataka", "tk": "taka", "bdo": "bado", "msda": "msaada", "smh": "samahani", "pesaa": "pesa",
    "smhn": "samahani", "asb": "asubuhi", "asbh": "asubuhi", "asub": "asubuhi", "ucku": "usiku", "uck": "usiku",
    "uckn": "usiku", "mchn": "mchana", "jion": "jioni", "dak": "dakika", "trh": "tarehe",
    "jtatu": "jumatatu", "jnne": "jumanne", "jtano": "jumatano", "alhmc": "alhamisi", "ijmaa": "ijumaa",
    "jumamoc": "jumamosi", "cku": "siku", "bac": "basi", "kwny": "kwenye", "kny": "kwenye", "bda": "baada",
    "akaunt": "akaunti", "akunti": "akaunti",
    "wasap": "whatsapp", "watsap": "whatsapp", "whatsap": "whatsapp", "wsap": "whatsapp", "watsapp": "whatsapp",
    "whtsap": "whatsapp", "wasapp": "whatsapp", "emal": "email", "imeil": "email",
    "wng": "wangu", "zng": "zangu", "zngu": "zangu", "lng": "langu", "chng": "changu", "hyo": "hiyo", "hlo": "hilo",
    "hpo": "hapo", "hiz": "hizi", "npo": "nipo", "nna": "nina", "ngp": "ngapi", "ngap": "ngapi", "gn": "gani",
    "wp": "wapi", "nn": "nini", "ln": "lini", "mpk": "mpaka", "kbs": "kabisa", "sn": "sana", "asnt": "asante",
    "mpnz": "mpenzi", "vby": "vibaya", "kdg": "kidogo", "psa": "pesa", "tfdhali": "tafadhali", "nmba": "namba",
    "nmbr": "namba", "msj": "ujumbe", "mesej": "ujumbe", "ankra": "ankara", "shngp": "shilingi ngapi",
    "shngap": "shilingi ngapi", "sangap": "saa ngapi", "sangapi": "saa ngapi", "thx": "thanks", "tnx": "thanks",
    "abt": "about", "frm": "from", "mtng": "meeting", "acct": "account", "msg": "message", "msgs": "messages",
    "kcho": "kesho", "kxho": "kesho", "tafdhali": "tafadhali", "tafadhari": "tafadhali",
}  # fmt: skip
"""Chat spelling and slips that patterns need not know."""

_UNITS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "moja": 1, "mbili": 2, "tatu": 3, "nne": 4, "tano": 5, "sita": 6, "saba": 7, "nane": 8, "tisa": 9,
}  # fmt: skip
_TEENS = {
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "kumi": 10, "ishirini": 20, "thelathini": 30, "arobaini": 40, "arubaini": 40, "hamsini": 50,
    "sitini": 60, "sabini": 70, "themanini": 80, "tisini": 90,
}  # fmt: skip
_TIMES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_TIMES_SHENG = {"soo": 100, "thao": 1000, "ngiri": 1000}
"""They count only with a number behind them: what is soo good costs no hundred shillings."""
_TIMES_SWAHILI = {
    "mia": 100, "elfu": 1000, "laki": 100_000, "milioni": 1_000_000, "bilioni": 1_000_000_000, **_TIMES_SHENG,
}  # fmt: skip
_ORDINALS = {
    "first": 1, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30,
}  # fmt: skip
_NUMBER_MAX = 10**15
_NUMBERS = {*_UNITS, *_TEENS, *_TENS}


@dataclass(frozen=True, slots=True)
class Said:
    """One message, ready to be looked at. `rest` is what lay beyond the limit, untouched."""

    written: str
    plain: str
    rest: str
    _plain_starts: tuple[int, ...]
    _written_spans: tuple[tuple[int, int], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch of `plain` stands in `written`; whole words only."""
        if start >= end or not self._written_spans:
            at = self._written_spans[-1][1] if self._written_spans else 0
            return at, at
        first = max(0, bisect_right(self._plain_starts, start) - 1)
        last = max(first, bisect_right(self._plain_starts, end - 1) - 1)
        return self._written_spans[first][0], self._written_spans[last][1]

    def words(self, start: int, end: int) -> str:
        """A stretch of `plain` as the person wrote it."""
        low, high = self.span(start, end)
        return self.written[low:high]


SAID_MAX = 16
"""How many texts are kept ready: one message is looked at several times over."""


@lru_cache(maxsize=SAID_MAX)
def said(text: str, *, month_first: bool = False) -> Said:
    """Any text, whatever is in it, made ready for patterns; takes time linear in the limit, not in the text.

    `month_first`: whoever wrote it puts the month before the day in 3/4, which `plain` then has the day first.
    """
    cleaned = clean(text[:TEXT_PARSED_CHARS_MAX])
    # Some letters become many: the limit holds for what patterns look at, too.
    written, rest = cleaned[:TEXT_PARSED_CHARS_MAX], cleaned[TEXT_PARSED_CHARS_MAX:] + text[TEXT_PARSED_CHARS_MAX:]
    plain: list[str] = []
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    at = 0
    tokens = _folded(written)
    for word, start, end in _day_first(tokens) if month_first else tokens:
        plain.append(word)
        starts.append(at)
        spans.append((start, end))
        at += len(word)
    return Said(written, "".join(plain), rest, tuple(starts), tuple(spans))


def clean(text: str) -> str:
    """One normal form: composed letters, ASCII digits, plain quotes, single spaces, and nothing invisible."""
    if text.isascii():
        visible = text if text.isprintable() else "".join(_ascii(char) for char in text)
    else:
        visible = _JOINED.sub("", _visible(unicodedata.normalize("NFKC", _bare(text))).translate(_QUOTES))
    return _LINES.sub("\n", _SPACES.sub(" ", visible)).strip()


def _ascii(char: str) -> str:
    return char if char.isprintable() else "\n" if char in "\n\r" else " "


def _bare(text: str) -> str:
    """Text with at most MARKS_MAX combining marks in a row, so that putting it in order costs little."""
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if marks <= MARKS_MAX:
            kept.append(char)
    return "".join(kept)


def _visible(text: str) -> str:
    out: list[str] = []
    for char in text:
        if char.isascii():
            out.append(_ascii(char))
            continue
        category = unicodedata.category(char)
        if category == "Nd":
            out.append(str(unicodedata.digit(char)))
        elif category[0] == "Z":
            out.append(" ")
        elif char not in _BLANK and (category[0] != "C" or char == "\u200d"):  # the joiner holds emoji together
            out.append(char)
    return "".join(out)


def lower(text: str) -> str:
    """Lower case that keeps every letter in its place, which `str.lower` does not for a few."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def _folded(written: str) -> list[tuple[str, int, int]]:
    """(plain word, start, end) for every token of the text, numbers folded."""
    low = lower(written)
    tokens = [(match[0], match.start(), match.end()) for match in _TOKENS.finditer(low)]
    out: list[tuple[str, int, int]] = []
    index, count = 0, len(tokens)
    words = spelling()
    while index < count:
        word, start, end = tokens[index]
        glued = index > 0 and (tokens[index - 1][0].isalnum() or tokens[index - 1][0] == "'")
        if word == "2" and not glued and index + 1 < count and _is_ours(tokens[index + 1][0], words):
            # 2naomba, 2taonana
            out.append(("tu" + tokens[index + 1][0], start, tokens[index + 1][2]))
            index += 2
            continue
        if (
            not glued and index + 1 < count and tokens[index + 1][0] == "2" and word + "tu" in words.known
            and not (index + 2 < count and tokens[index + 2][0].isalnum())
        ):  # fmt: skip
            # ki2, wa2
            out.append((word + "tu", start, tokens[index + 1][2]))
            index += 2
            continue
        if word.isdigit() and index + 1 < count and word + tokens[index + 1][0] in SPELLING and not glued:
            out.append((SPELLING[word + tokens[index + 1][0]], start, tokens[index + 1][2]))
            index += 2
            continue
        if not glued and word.isalpha():
            number = _number(tokens, index)
            if number is not None:
                text, used = number
                out.append((text, start, tokens[index + used - 1][2]))
                index += used
                continue
            if word == "saa" and index + 1 < count and tokens[index + 1][0].isdigit():
                word = "saa "  # saa3
            elif word in SPELLING and not (index + 1 < count and tokens[index + 1][0] == "."):  # u. s. d.
                word = SPELLING[word]
            elif len(word) >= SLIP_MIN and not (index + 1 < count and tokens[index + 1][0] in "'@.-_"):
                word = words.right(word)
        out.append((word, start, end))
        index += 1
    return out


def _day_first(tokens: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The tokens with day and month of every date in figures changed about, where either order is a date."""
    out = list(tokens)
    for at in range(len(tokens) - 2):
        (month, _, _), (sign, _, _), (day, _, _) = tokens[at : at + 3]
        if sign not in ("/", "-", ".") or not (_is_month(month) and _is_month(day)):
            continue
        before = tokens[at - 1][0] if at else " "
        after = "".join(word for word, _, _ in tokens[at + 3 : at + 5])
        year = after[:1] == sign and after[1:].isdigit() and len(after) in (3, 5)
        if (
            before in "/-.:"
            or before.isalnum()
            or not (year or (sign == "/" and not after[:1].isalnum() and after[:1] != "/"))
        ):
            continue
        out[at], out[at + 2] = (day, *tokens[at][1:]), (month, *tokens[at + 2][1:])
    return out


def _is_month(word: str) -> bool:
    return word.isdigit() and len(word) <= 2 and 1 <= int(word) <= 12


def _is_ours(word: str, words: Spelling) -> bool:
    """Whether a word behind a 2 makes one verb of ours with it; 2k is an amount, whatever a tuk-tuk is."""
    if len(word) > 1 and f"tu{word}" in words.known:
        return True
    return word in words.known and word.startswith(("na", "me", "ta", "li"))


def _number(tokens: list[tuple[str, int, int]], index: int) -> tuple[str, int] | None:
    """The number that begins at this token, in digits ("3rd" for ordinals), and how many tokens it takes."""
    word = tokens[index][0]
    if word in _ORDINALS:
        return _ordinal(_ORDINALS[word]), 1
    if word == "second" and _is_ordinal_second(tokens, index):
        return "2nd", 1
    if word in _TENS:
        after, used = _next(tokens, index, joins=("-", "na") if word not in _TENS_ENGLISH else ("-",))
        if after in _ORDINALS and _ORDINALS[after] < 10:
            return _ordinal(_TENS[word] + _ORDINALS[after]), used
        if after == "second" and word in _TENS_ENGLISH:
            return _ordinal(_TENS[word] + 2), used
    if word in _TIMES_SHENG and (after := _next(tokens, index, joins=())[0]) not in _NUMBERS and not after.isdigit():
        return None
    if word in _TIMES_SWAHILI:
        return _swahili(tokens, index)
    if word not in _NUMBERS:
        return None
    total, used = _small(tokens, index)
    return _scaled(tokens, index, total, used)


_TENS_ENGLISH = {word for word in _TENS if word.endswith("y")}


def _scaled(tokens: list[tuple[str, int, int]], index: int, total: int, used: int) -> tuple[str, int]:
    """Number words with hundred, thousand … behind them: two thousand five hundred and ten."""
    whole, part = 0, total
    while True:
        word, more = _next(tokens, index + used - 1, joins=("-",))
        if word in _TIMES:
            part *= _TIMES[word]
            used += more - 1
            if _TIMES[word] > 100:
                whole, part = whole + part, 0
        elif (whole or part >= 100) and _next(tokens, index + used - 1, joins=("and",))[0] in _NUMBERS:
            skip = _next(tokens, index + used - 1, joins=("and",))[1]
            small, length = _small(tokens, index + used - 1 + skip - 1)
            part += small
            used += skip - 1 + length - 1
            if length == 0:
                break
        else:
            break
        if whole + part > _NUMBER_MAX:
            break
    return str(whole + part), used


def _small(tokens: list[tuple[str, int, int]], index: int) -> tuple[int, int]:
    """A number under a hundred at this token, and how many tokens it takes."""
    word = tokens[index][0]
    if word in _UNITS:
        return _UNITS[word], 1
    if word in _TEENS:
        return _TEENS[word], 1
    english = word in _TENS_ENGLISH
    after, used = _next(tokens, index, joins=("-",) if english else ("na",))
    joined = english or used > 3  # Swahili says na: kumi na moja
    if after in _UNITS and joined:
        return _TENS[word] + _UNITS[after], used
    return _TENS[word], 1


def _swahili(tokens: list[tuple[str, int, int]], index: int) -> tuple[str, int]:
    """Numbers that name their size first: elfu mbili na mia tano; mia tano; elfu 5."""
    total, at, used, last = 0, index, 0, _NUMBER_MAX
    while at < len(tokens) and tokens[at][0] in _TIMES_SWAHILI and _TIMES_SWAHILI[tokens[at][0]] < last:
        last = _TIMES_SWAHILI[tokens[at][0]]
        times, length = 1, 1
        word, more = _next(tokens, at, joins=())
        if word in _NUMBERS:
            times, small = _small(tokens, at + more - 1)
            length = more - 1 + small
        elif word.isdigit() and len(word) <= 4:
            times, length = int(word), more
        total += last * times
        used = at + length - index
        word, more = _next(tokens, at + length - 1, joins=("na",))
        at += length - 1 + more - 1
        if word in _NUMBERS and more > 3:
            small_value, small = _small(tokens, at)
            return str(total + small_value), at + small - index
        if word not in _TIMES_SWAHILI:
            break
    return str(total), max(used, 1)


def _next(tokens: list[tuple[str, int, int]], index: int, joins: tuple[str, ...]) -> tuple[str, int]:
    """The word after this token, past one space or a joining word; and the tokens from here to it, both counted."""
    at = index + 1
    if at < len(tokens) and tokens[at][0] == "-" and "-" in joins:
        at += 1
    elif at < len(tokens) and tokens[at][0] == " ":
        at += 1
        if at + 1 < len(tokens) and tokens[at][0] in joins and tokens[at + 1][0] == " ":
            at += 2
    else:
        return "", 1
    return (tokens[at][0], at - index + 1) if at < len(tokens) else ("", 1)


def _is_ordinal_second(tokens: list[tuple[str, int, int]], index: int) -> bool:
    before = tokens[index - 2][0] if index >= 2 else ""
    after = tokens[index + 2][0] if index + 2 < len(tokens) else ""
    return before == "the" or after == "of"


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
