"""What was set is talked about once more: put off, moved, corrected ("no, Tuesday"), or taken back. Pure.

The reminder that is meant is named by its number or its words, is the one that was set last, or is left open.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from core.brain import when
from core.brain.understand import ACT_READ, ANSWERED, SURE, corrects
from core.brain.words import TEXT_PARSED_CHARS_MAX, Said, listed, said
from core.dialog import DialogState, Intent

if TYPE_CHECKING:
    from pydantic import JsonValue

SNOOZE, SET, CANCEL, LIST = "snooze_reminder", "set_reminder", "cancel_reminder", "list_reminders"
LAST = "last"
"""The reminder that was set last, for the action."""
WORDS_CHARS_MAX = 80

Read = Callable[[str, DialogState], Intent]
"""Understands a text in a state."""

_UNITS = (
    (1, r"min(?:ute)?s?|dakika|dk"), (60, r"hours?|hrs?|h|masaa|saa|lisaa"), (24 * 60, r"days?|siku"),
    (7 * 24 * 60, r"weeks?|wiki"),
)  # fmt: skip
"""Minutes, and how they are called."""
_UNIT = "|".join(pattern for _, pattern in _UNITS)
_SPAN = re.compile(
    rf"\b(?:for|by|another|kwa|na|tena)? ?"
    rf"(?:(?P<a>an?|half an|\d{{1,4}}) (?P<en>{_UNIT})|(?P<half>nusu) saa|lisaa(?: \d+)?"
    rf"|(?P<sw>dakika|dk|masaa|siku|wiki|(?<=kwa )saa) (?P<n>\d{{1,4}}))\b"
)
"""How long: "for an hour", "30 min", "dakika 10". "Saa 3" is nine o'clock, and only "kwa saa 3" is three hours."""
_UNTIL = re.compile(r"\b(?:until|till|to|at|hadi|mpaka) (\d{1,2})\W*$")
_NUMBER = re.compile(
    r"\b(?:reminder|alarm|kikumbusho|number|no\.?|namba|nambari)"
    r" (?:ya |cha |namba |nambari |number )?#?(\d{1,3})\b(?!:)"
)
_ABOUT = re.compile(
    r"\b(?:reminder|alarm|kikumbusho) (?:about|for|of|on|called|cha|kuhusu|that says) (?:my |the )?"
    r"(?P<words>[^\n,.;:]{2,80}?)(?= (?:to|until|till|by|for|hadi|mpaka|kwa|iwe|kiwe|on|at)\b| *[\n,.;:]| *$)"
)
_NAMED = re.compile(
    r"\b(?:the|my|that|this) (?P<words>(?!last|next|same|time)[a-z]{3,}(?: [a-z]+){0,2}) (?:reminder|alarm)\b"
)
_OPENS = re.compile(
    r"\b(?:snooze|postpone|ahirisha|niahirishie)\b|\b(?:move|push|shift|delay|reschedule|put off|put back|change|sogeza"
    r"|hamisha|badilisha)\b.{0,40}\b(?:reminder|alarm|kikumbusho)\b|\bremind me again\b|\bnikumbushe tena\b"
)
"""Words that are enough: no guess is needed behind them."""
_ONE = re.compile(
    r"\b((?!at\b|by\b|around\b|about\b|past\b|to\b|till\b|until\b|before\b|after\b|in\b|half\b|twenty\b|thirty\b|ok\b)"
    r"[^\W\d_]+ )one\b(?! (?:o'?clock|pm|am|p\.m|a\.m|thirty|fifteen|hours?|minutes?|days?|weeks?|months?)\b)",
    re.IGNORECASE,
)
"""The "one" of "the blue one", which is no hour."""
_NO_TIME = re.compile(r"(?:at |saa )?\d{1,3}:\d{1,3}\b ?(?:to )?")
_FILLERS = listed("at on the please ok okay it for is then so na ni basi sawa tafadhali hiyo iwe")
_TAKES_BACK = re.compile(
    r"(?:please |ok |no |oh |hapana |tafadhali )*"
    r"(?:(?:cancel|delete|remove) (?:it|that|this|that one)|futa (?:hicho|hiyo|hilo)|kifute|ifute"
    r"|ghairi (?:hicho|hiyo|hilo)|(?P<undo>undo(?: (?:it|that))?|tengua))(?: please| tafadhali)?"
)

_TAKES_ONE = re.compile(
    r"(?:(?:please|ok|no|oh|hapana|tafadhali|sasa|now|naomba)\b[ ,]*)*"
    r"(?:cancel|delete|remove|drop|futa|ghairi|ondoa|nifutie) (?:(?:reminder|kikumbusho|kile|ile|hiyo|the|cha|ya"
    r"|la|no\.?|number"
    r"|namba|nambari)\b ?|# ?)*(?P<which>\d{1,3}(?:st|nd|rd|th)?|second|last|kwanza|pili|mwisho|all|both"
    r"|everything|zote"
    r"|vyote|yote)(?: (?:1|of them|kabisa))?(?:[ ,]*(?:please|tafadhali))?"
)
_MOVES_ONE = re.compile(
    r"(?:(?:please|ok|no|oh|hapana|tafadhali|sasa|now|naomba)\b[ ,]*)*"
    r"(?:move|push|shift|delay|reschedule|change|postpone|sogeza|hamisha|badilisha|ahirisha)"
    r" (?:(?:reminder|kikumbusho|kile|ile|the|cha|ya|no\.?|number|namba|nambari)\b ?|# ?)*"
    r"(?P<which>\d{1,3}(?:st|nd|rd|th)?|second|last|kwanza|pili|mwisho)(?: 1| reminder)?"
    r" (?:(?:to|until|till|hadi|mpaka|iwe)\b ?)+(?P<to>.+)"
)
_WHICH = {"kwanza": "1", "pili": "2", "second": "2"}


def read(text: str, state: DialogState, parse: Read, now: datetime, zone: str, *, month_first: bool = False) -> Intent:
    """What a text asks for, reminders that were set being moved and taken back; `now` is aware, `zone` an IANA name."""
    heard = said(text, month_first=month_first)
    last = next(reversed(list(state.history)), None) if state.action is None else None
    if last in (SET, SNOOZE, LIST) and (back := _TAKES_BACK.fullmatch(heard.plain.strip(" .!"))):
        if last == SNOOZE and back["undo"]:
            return Intent(SNOOZE, {"back": True}, SURE, by="rule")
        if last != LIST:
            return Intent(CANCEL, {"which": LAST}, SURE, by="rule")
        if not back["undo"]:
            return Intent(CANCEL, {}, SURE, by="rule")
    if last in (SET, SNOOZE, LIST) and (one := _TAKES_ONE.fullmatch(heard.plain.strip(" .!"))):
        which = _WHICH.get(one["which"]) or re.sub(r"(?<=\d)\D+$", "", one["which"])
        return Intent(CANCEL, {"which": which}, SURE, by="rule")
    if last in (SET, SNOOZE, LIST) and (one := _MOVES_ONE.fullmatch(heard.plain.strip(" .!"))):
        which = _WHICH.get(one["which"]) or re.sub(r"(?<=\d)\D+$", "", one["which"])
        slots = _slots(said(f"to {one['to']}", month_first=month_first), _before(state), when.local(now, zone))
        if "time" in slots:
            return Intent(SNOOZE, {**slots, "which": which}, SURE, by="rule")
    if state.action in (SET, SNOOZE) and "time" in state.asked:
        text = _ONE.sub(r"\1it", text[:TEXT_PARSED_CHARS_MAX]) + text[TEXT_PARSED_CHARS_MAX:]
        heard = said(text, month_first=month_first)
    if state.action == SNOOZE and state.asked:
        answer = _answer(heard, state, parse(text, DialogState(history=state.history)), when.local(now, zone))
        return parse(text, state) if answer is None else answer
    if state.action is None and (resumed := _resumed(heard, text, state, parse, when.local(now, zone))) is not None:
        return resumed
    intent = _with_day(parse(text, state), heard, when.local(now, zone))
    if intent.action in (SNOOZE, "none") and intent.guessed:
        slots = _slots(heard, _before(state), when.local(now, zone))
        told = "time" in slots or "minutes" in slots
        if _OPENS.search(heard.plain) and (intent.action == SNOOZE or told):
            return Intent(SNOOZE, slots, SURE, by="rule")
        intent = replace(intent, slots=slots) if intent.action == SNOOZE else intent
    content = str(intent.slots.get("content") or "")
    if intent.action == SET and (no_time := _NO_TIME.match(content)):
        # A time that no clock shows: the day alone would be another time than was said.
        slots = {**intent.slots, "content": content[no_time.end() :] or None, "time": None}
        return replace(intent, slots=slots)
    vague = intent.action in ("none", "smalltalk") or (intent.guessed and intent.confidence < ACT_READ)
    if last in (SET, SNOOZE) and vague and corrects(text):
        before = _before(state)
        moved = parse(text, DialogState(SET, before))
        slots = {name: value for name, value in moved.slots.items() if name in ("time", "recurrence")}
        if "recurrence" in slots and "time" in before and not when.find(heard.plain, when.local(now, zone)).clock:
            slots["time"] = str(slots.get("time", before["time"]))[:11] + str(before["time"])[11:]
        if moved.action == SET and slots:
            return Intent(SNOOZE, {"which": LAST, **before, **slots}, ANSWERED, by="answer")
    return intent


def _with_day(intent: Intent, heard: Said, now: datetime) -> Intent:
    """A reminder of which only the day was said, with that: so that its hour is asked for, and the day is not lost on
    whoever said "this evening" when it had begun."""
    if intent.action != SET or intent.slots.get("time") is not None or intent.slots.get("recurrence") is not None:
        return intent
    day = intent.slots.get("date") or ((found := when.find(heard.plain, now)).day and found.day.isoformat())
    return replace(intent, slots={**intent.slots, "time": day}) if day else intent


def _resumed(heard: Said, text: str, state: DialogState, parse: Read, now: datetime) -> Intent | None:
    """The time of a reminder that was left without one when something else came up; None where it is not said."""
    left = state.history.get(SET, {})
    if "content" not in left or left.get("time") is not None or len(text) > WORDS_CHARS_MAX:
        return None
    found = when.find(heard.plain, now)
    if not found.clock or not set(re.findall(r"\w+", when.masked(heard.plain, found.spans, " "))) <= _FILLERS:
        return None
    answer = parse(text, DialogState(SET, left, asked=("time",)))
    return replace(answer, slots={**left, **answer.slots}) if answer.action == SET and "time" in answer.slots else None


def _before(state: DialogState) -> "dict[str, JsonValue]":
    """When what was set or moved last comes, and how often."""
    last = next((state.history[name] for name in reversed(list(state.history)) if name in (SET, SNOOZE)), {})
    return {name: last[name] for name in ("time", "recurrence") if last.get(name) is not None}


def _answer(heard: Said, state: DialogState, alone: Intent, now: datetime) -> Intent | None:
    """What was asked for: to when, or which one; None where something else is said."""
    if not alone.guessed and alone.action not in ("none", SNOOZE):
        return None
    slots = _slots(heard, _before(state), now)
    if "time" in state.asked and ("time" in slots or "minutes" in slots):
        return Intent(SNOOZE, slots, ANSWERED, by="answer")
    if "which" in state.asked:
        return Intent(SNOOZE, {"which": heard.written[:WORDS_CHARS_MAX]}, ANSWERED, by="answer")
    return None


def _slots(heard: Said, before: "dict[str, JsonValue]", now: datetime) -> "dict[str, JsonValue]":
    """Which reminder, and the new time, as far as they are said."""
    slots: dict[str, JsonValue] = {}
    span, until = _SPAN.search(heard.plain), _UNTIL.search(heard.plain)
    found = when.find(heard.plain, now)
    if span and found.day is None and not found.exact:
        slots["minutes"] = _minutes(span)
        found = when.When()
    elif found.wall is None and until:
        found = when.find(f"at {until[1]}", now)
    if found.iso is not None:
        slots["time"] = found.iso
        if found.day is not None and not found.clock and "time" in before:
            slots["time"] = f"{found.day.isoformat()}T{str(before['time'])[11:16]}"
    rest = when.masked(heard.plain, found.spans, "\n")
    if number := _NUMBER.search(rest):
        slots["which"] = number[1]
    elif named := _ABOUT.search(rest) or _NAMED.search(rest):
        slots["which"] = named["words"].strip()
    return slots


def _minutes(span: "re.Match[str]") -> int:
    """How many minutes a stretch of time has."""
    if span["half"]:
        return 30
    many, unit = (span["a"], span["en"]) if span["a"] else (span["n"] or "1", span["sw"] or "saa")
    each = next(minutes for minutes, pattern in _UNITS if re.fullmatch(pattern, unit))
    return each // 2 if many == "half an" else each * (1 if many in ("a", "an") else int(many))
