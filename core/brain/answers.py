"""Answers to what was asked, and changes of what was said before, by slot and by action. Pure."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from core.brain import amounts, documents, facts, people, periods, places, when
from core.brain.exchanging import beside
from core.brain.heard import AND, CORRECTION, Heard, Slots, only_fillers
from core.brain.reminding import read_content, which_of
from core.brain.skies import FOR, IN, WORD_START, called, day_of, name_end, named_in, read_weather

if TYPE_CHECKING:
    from pydantic import JsonValue

ANSWER_WORDS_MAX = 6
"""A longer answer to "which city?" is no bare name."""


def _answer_city(heard: Heard) -> Slots:
    rest = heard.without()
    slots = read_weather(heard)
    brief = len(rest.split()) <= ANSWER_WORDS_MAX
    if "city" in slots and not brief and named_in(rest, IN) is None and places.known(heard.said) is None:
        del slots["city"]
    if "city" in slots:
        return slots
    span = named_in(rest, WORD_START)
    if span is not None and brief:
        slots["city"] = called(heard, *span)
        return slots
    return slots if only_fillers(rest) else {}


def _answer_date(heard: Heard) -> Slots:
    day = day_of(when.find(heard.plain, heard.now, answer=True), heard.now)
    return {"date": day.isoformat()} if day is not None else {}


def _answer_time(heard: Heard) -> Slots:
    found = when.find(heard.plain, heard.now, answer=True)
    slots: Slots = {}
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
        return slots if found.iso is None else {"time": found.iso, **slots}
    long = periods.duration(heard.plain)
    if (
        long is not None
        and not found.exact
        and all(long.text[0] <= low and high <= long.text[1] for low, high in found.spans)
    ):
        found = when.When()  # the number was the duration's
    counted = periods.offset(heard.plain, heard.now)
    day = counted.day if counted is not None else periods.holiday(heard.plain, heard.now)
    if day is not None:
        return {"time": day.isoformat()}
    if found.iso is not None:
        slots["time"] = found.iso
    elif found.day is not None:
        slots["date"] = found.day.isoformat()
    period = periods.find(heard.plain, heard.now) if not found.exact else None
    if period is not None and (isinstance(period.start, datetime) or not _says_more(found, period)):
        slots["time"], slots["end_time"] = _at(period.start, slots.get("time")), period.end.isoformat()
    elif long is not None and "time" in slots and found.clock and not found.exact and found.wall is not None:
        slots["end_time"] = (found.wall.replace(tzinfo=None) + timedelta(seconds=long.seconds)).isoformat()
    elif long is not None and not slots:
        slots["duration"] = long.seconds
    return slots


def _at(start: date, said_before: "JsonValue") -> str:
    """Where a stretch begins: at the clock that was understood for its first day, if one was."""
    text = start.isoformat()
    return said_before if isinstance(said_before, str) and said_before.startswith(text) else text


def _says_more(found: when.When, period: periods.Period) -> bool:
    """Whether a point in time says more than the stretch that was found beside it: "3 May at 9" than "May"."""
    if found.day is None and not found.clock:
        return False
    return not any(start < period.text[1] and period.text[0] < end for start, end in found.spans) or (
        min(start for start, _ in found.spans) < period.text[0] - 1
        or max(end for _, end in found.spans) > period.text[1] + 1
    )


def _answer_content(heard: Heard) -> Slots:
    slots: Slots = {}
    spans: list[tuple[int, int]] = []
    if "time" not in heard.known and heard.when.iso is not None:
        slots["time"] = heard.when.iso
        spans = list(heard.when.spans)
        if heard.when.recurrence is not None:
            slots["recurrence"] = heard.when.recurrence
    content = read_content(heard, spans, 0)
    if content:
        slots["content"] = content
    return slots


def _answer_recurrence(heard: Heard) -> Slots:
    return {"recurrence": heard.when.recurrence} if heard.when.recurrence is not None else {}


def _answer_priority(heard: Heard) -> Slots:
    match = re.search(r"\b(?:high|low|normal)\b", heard.plain)
    return {"priority": match[0]} if match else {}


def _answer_which(heard: Heard) -> Slots:
    which = which_of(heard.plain, heard) or heard.said.written.strip()
    return {"which": which}


def _answer_amount(heard: Heard) -> Slots:
    if amounts.NEGATIVE.search(heard.plain):
        return {}
    sums = amounts.amounts(heard.plain)
    if not sums:
        return {"amount": "1"} if re.search(r"\b(?:a|an|one) \w+$", heard.plain) and heard.money else {}
    pair = beside(heard.money, sums)
    slots: Slots = {"amount": pair[1].value if pair else sums[0].value}
    if pair and "from_currency" not in heard.known:
        slots["from_currency"] = pair[0].code
    return slots


def _answer_currency(slot: str) -> Callable[[Heard], Slots]:
    def answer(heard: Heard) -> Slots:
        if heard.money:
            return {slot: heard.money[0].code}
        words = heard.said.written.strip(" .!?")
        return {slot: words} if 0 < len(words) <= 20 and len(words.split()) <= 2 else {}

    return answer


def _answer_words(slot: str) -> Callable[[Heard], Slots]:
    def answer(heard: Heard) -> Slots:
        return people.rest(slot, heard.said, 0)

    return answer


ANSWERS: Mapping[str, Callable[[Heard], Slots]] = {
    "city": _answer_city, "date": _answer_date, "time": _answer_time, "content": _answer_content,
    "recurrence": _answer_recurrence, "priority": _answer_priority, "which": _answer_which, "amount": _answer_amount,
    "from_currency": _answer_currency("from_currency"), "to_currency": _answer_currency("to_currency"),
    "currency": _answer_currency("currency"),
    "name": _answer_words("name"), "zone": _answer_words("zone"), "email": lambda heard: people.email(heard.said, 0),
    "phone": lambda heard: people.contact(heard.said, 0) or _answer_words("phone")(heard),
    "words": lambda heard: facts.words(heard.said), "kind": lambda heard: facts.kind(heard.said),
    "question": lambda heard: documents.question(heard.said, 0), "file": _answer_words("file"),
    "language": lambda heard: people.language(heard.said, 0), "code": lambda heard: people.email_code(heard.said, 0),
}  # fmt: skip
"""How the answer to a question is read, by the slot that was asked for."""

Changed = tuple[Slots, list[tuple[int, int]]]


def _change_weather(heard: Heard) -> Changed:
    slots: Slots = {}
    used: list[tuple[int, int]] = list(heard.when.spans)
    day = day_of(heard.when, heard.now)
    if day is not None:
        slots["date"] = day.isoformat()
    text = heard.without()
    lead = CORRECTION.match(text) or AND.match(text)
    led = text[: lead.end()] if lead else ""
    span = named_in(text, IN) or (named_in(text, FOR) if lead else None)
    end = name_end(text, len(led)) if lead and span is None else None
    span = (len(led), end) if end is not None else span
    if span is not None:
        slots["city"] = called(heard, *span)
        used.append(span)
    elif (known := places.known(heard.said)) is not None:
        slots["city"] = known.name
        used.append((known.start, known.end))
    return slots, used


def _change_reminder(heard: Heard) -> Changed:
    base = None
    if isinstance(before := heard.known.get("time"), str):
        try:
            base = datetime.fromisoformat(before)
        except ValueError:
            base = None
    lead = CORRECTION.match(heard.plain)
    found = when.find(heard.plain, heard.now, answer=lead is not None, base=base)
    if found.recurrence is not None:
        found = when.find(heard.plain, heard.now, answer=lead is not None)
    slots: Slots = {}
    if found.iso is not None:
        slots["time"] = found.iso
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
    return slots, list(found.spans)


def _change_exchange(heard: Heard) -> Changed:
    slots: Slots = {}
    sums = amounts.amounts(heard.plain)
    used = [(each.start, each.end) for each in heard.money] + [(each.start, each.end) for each in sums[:1]]
    pair = beside(heard.money, sums)
    if pair is not None:
        slots["amount"], slots["from_currency"] = pair[1].value, pair[0].code
        other = next((each for each in heard.money if each.code != pair[0].code), None)
        if other is not None:
            slots["to_currency"] = other.code
    elif heard.money:
        to = not re.search(r"\bfrom $", heard.plain[: heard.money[0].start])
        slots["to_currency" if to else "from_currency"] = heard.money[0].code
    if sums and pair is None:
        slots["amount"] = sums[0].value
    return slots, used


CHANGES: Mapping[str, Callable[[Heard], Changed]] = {
    "get_weather": _change_weather, "set_reminder": _change_reminder, "convert_currency": _change_exchange,
}  # fmt: skip
LOOKED_UP = frozenset({"get_weather", "convert_currency"})
"""Actions that change nothing, so that a change of a finished one is simply asked again."""
