"""Currencies: which sum of which one is to be converted into which. Pure."""

import re

from core.brain import amounts
from core.brain.heard import Heard, Slots, Span, only_fillers

_ONE = re.compile(
    r"\b(?:rates?|worth|value|how much|how many|what|what's|price|vs|versus|against|compare|strong|bei|ngapi|kiasi"
    r"|trading|thamani|doing)\b"
)
_TO_FIRST = re.compile(
    r"\bhow many\b|\bhow much\b(?=[^.?!]{1,60}\b(?:can|could|would|will|do|for|per)\b)|\bper\b|\bhow \w{1,12} "
    r"\w{0,12} ?(?:is|are|for)\b(?!)"
)


def read_exchange(heard: Heard, _: Span) -> Slots:
    """How much, from what, to what; an amount that nobody named is one, where a rate is asked for."""
    slots: Slots = {}
    money = heard.money
    text = heard.without(mark=" ") if heard.when.spans else heard.plain
    sums = amounts.amounts(text)
    pair = beside(money, sums)
    if pair is not None:
        currency, amount = pair
        slots["amount"], slots["from_currency"] = amount.value, currency.code
        other = next((each for each in money if each.code != currency.code), None)
        if other is not None:
            slots["to_currency"] = other.code
        return slots
    if sums:
        slots["amount"] = sums[0].value
    elif _ONE.search(text) or (money and re.search(r"\b(?:a|an|one|the|each) $", text[: money[0].start])):
        slots["amount"] = "1"
    codes = [each.code for each in money]
    if len(codes) >= 2:
        first, second = codes[0], next((code for code in codes if code != codes[0]), None)
        turned = _TO_FIRST.search(text) or (
            re.search(r"\bto\b", text[: money[0].start]) and re.search(r"\bfrom\b", text[money[0].end :])
        )
        slots["from_currency"] = second if turned and second else first
        if second:
            slots["to_currency"] = first if turned else second
    elif codes:
        to = re.search(r"\b(?:to|into|in|kwa|kuwa)(?: the| a)? $", text[: money[0].start])
        slots["to_currency" if to else "from_currency"] = codes[0]
    return slots


def beside(money: list[amounts.Currency], sums: list[amounts.Amount]) -> tuple[amounts.Currency, amounts.Amount] | None:
    """The currency that stands beside a number, and the number."""
    for amount in sums:
        for currency in money:
            if 0 <= currency.start - amount.end <= 1 or 0 <= amount.start - currency.end <= 2:
                return currency, amount
    return None


def is_exchange(heard: Heard) -> bool:
    """Money is named, and not only in passing."""
    if _EXCHANGE_SURE.search(heard.plain):
        return True
    if len({each.code for each in heard.money}) >= 2:
        return True
    if not heard.money:
        return _is_bare(heard)
    if not _EXCHANGE_WORDS.search(heard.plain):
        return False
    only = heard.money[0]
    if _CONVERT.search(heard.plain) or beside(heard.money, amounts.amounts(heard.plain)) is not None:
        return True
    # "How much is it in dollars" asks for a price, "how much is the dollar" for a rate.
    return only.sure and not re.search(r"\b(?:in|into|to|kwa|kuwa) (?:the )?$", heard.plain[: only.start])


def _is_bare(heard: Heard) -> bool:
    """Whether a message says nothing but that a sum is to be converted: "convert 500"."""
    sums = amounts.amounts(heard.plain)
    rest = _CONVERT.sub(" ", heard.plain, count=1)
    return (
        len(sums) == 1
        and rest != heard.plain
        and only_fillers(rest.replace(heard.plain[sums[0].start : sums[0].end], " ", 1))
    )


_EXCHANGE_WORDS = re.compile(
    r"\b(?:convert\w{0,3}|conversion|exchange|forex|change|(?:ku)?badilisha|(?:ku)?badili|nibadilishie|how much"
    r"|what is|what's|rates?"
    r"|worth|value|price|bei|ngapi|kiasi gani|thamani)\b"
)
_CONVERT = re.compile(r"\b(?:convert\w{0,3}|conversion|exchange|(?:ku)?badilisha|nibadilishie)\b")
_EXCHANGE_SURE = re.compile(
    r"\b(?:exchange rates?|currency (?:converter|conversion|exchange)|convert currenc(?:y|ies)|conversion rates?"
    r"|forex)\b"
)
