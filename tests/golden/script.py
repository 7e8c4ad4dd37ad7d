"""A conversation as a text file: who says what, in order, and what Mathia answers to it, word for word.

    # A line about what happens here.
    on: twilio cloud telegram web

    person: remind me on {day+3} at 9 am to call Amina
    mathia: I will remind you on {date+3}, 09:00: call Amina

A line that is indented goes on with the one above; white space and empty lines inside an answer do not count. What can
be picked stands in numbered lines, as it does where there are no buttons. Whoever says something without an answer
below it is not answered.

    person: …                  says it; `and` says it in the same breath as the line above
    person taps: …             picks what was offered, by its words
    person quotes "…": …       answers the message with these words
    person edits "…": …        changes what they said
    person sends "lease.pdf": … sends a file of `tests/golden/files`, made by `played.py`, with words or without
    staff takes over:          and `staff: …`, `staff hands back:`
    amina: …                   in a room (`room: amina brian`), where everybody has a name

Places: {day+3}, {siku+3} a day of the week, so many days from today; {date+3}, {tarehe-1} the date as it is shown;
{time}, {number}, {code} and {…} stand for what differs from run to run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from core import language

CHANNELS = ("twilio", "cloud", "telegram", "web")
BOT = "mathia"
HOWS = ("and", "taps", "quotes", "edits", "sends", "takes over", "hands back")
_HEAD = re.compile(rf'([a-z]+)(?: ({"|".join(HOWS)}))?(?: "([^"]*)")?:(?: (.*))?')
_PLACE = re.compile(r"\{(day|siku|date|tarehe)([+-]\d+)\}|\{(time|number|code|…)\}")
_ANY = {"time": r"\d\d:\d\d", "number": r"-?\d[\d,.]*", "code": r"[A-Z0-9][A-Z0-9-]{4,}|\d{4,8}", "…": r".+?"}
_FORECAST = re.compile(r"^([^:\n]+): .*°C.* · sandbox$", re.MULTILINE)
_ROW = re.compile(r"^\w{3} \d\d? \S.*\d–-?\d.*$", re.MULTILINE)
"""A day in the table below a forecast."""
_RATE = re.compile(r"\b([A-Z]{3}) [\d,.]+ \((rate|kiwango) [\d.]+ (of|cha) [^)]+\)")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
AHEAD = range(-1, 10)
"""Days from today that are looked for when a date is made a place again."""


class BadScript(ValueError):
    """A script that cannot be read; the message says where, and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of somebody: how it is said, about which earlier words, and what is answered to it."""

    who: str
    text: str
    how: str = ""
    of: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation; `head` is what stands above it in the file."""

    name: str
    head: tuple[str, ...]
    on: tuple[str, ...]
    steps: tuple[Step, ...]
    room: tuple[str, ...] = field(default=())


def read(path: Path) -> Script:
    """A script from its file; BadScript for one that is none."""
    head: list[str] = []
    on: tuple[str, ...] = ()
    room: tuple[str, ...] = ()
    steps: list[Step] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        if line.startswith("#"):
            head.append(line)
        elif line.startswith("on: "):
            on = tuple(line.split()[1:])
        elif line.startswith("room: "):
            room = tuple(line.split()[1:])
        elif line.startswith(" "):
            if not steps:
                raise BadScript(f"{path.name}:{number} goes on with nothing.")
            steps[-1] = _longer(steps[-1], line.strip())
        elif (found := _HEAD.fullmatch(line)) is None:
            raise BadScript(f"{path.name}:{number} is no line of a script: {line}")
        elif found[1] == BOT:
            if not steps:
                raise BadScript(f"{path.name}:{number}: nobody has said anything yet.")
            steps[-1] = replace(steps[-1], answers=(*steps[-1].answers, found[4] or ""))
        else:
            steps.append(Step(found[1], found[4] or "", found[2] or "", found[3] or ""))
    if not on or not set(on) <= set(CHANNELS):
        raise BadScript(f"{path.name} has no line such as: on: {' '.join(CHANNELS)}")
    return Script(path.stem, tuple(head), on, tuple(steps), room)


def _longer(step: Step, line: str) -> Step:
    if step.answers:
        return replace(step, answers=(*step.answers[:-1], f"{step.answers[-1]}\n{line}"))
    return replace(step, text=f"{step.text}\n{line}")


def written(script: Script) -> str:
    """The file of a script."""
    lines = [*script.head, f"on: {' '.join(script.on)}"]
    if script.room:
        lines.append(f"room: {' '.join(script.room)}")
    for step in script.steps:
        how = (f" {step.how}" if step.how else "") + (f' "{step.of}"' if step.of else "")
        lines += [] if step.how == "and" else [""]
        lines += _said(f"{step.who}{how}:", step.text)
        for one in step.answers:
            lines += _said(f"{BOT}:", one)
    return "\n".join(lines) + "\n"


def _said(head: str, text: str) -> list[str]:
    first, *rest = text.split("\n")
    return [f"{head} {first}".rstrip(), *(f"    {line}" for line in rest)]


def spoken(text: str, today: date) -> str:
    """What a person really says: their places filled."""
    return _PLACE.sub(lambda found: _filled(found, today), text)


def _filled(found: "re.Match[str]", today: date) -> str:
    kind, ahead = found[1], found[2]
    if kind is None:
        return found[0]
    day = today + timedelta(days=int(ahead))
    match kind:
        case "day":
            return _DAYS[day.weekday()]
        case "siku":
            return language.weekday(day.weekday()).sw
        case "date":
            return language.day(day, today.year).en
        case _:
            return language.day(day, today.year).sw


def same(expected: str, told: str, today: date) -> bool:
    """Whether an answer is what the script has, places being filled by whatever fits."""
    pattern, at = "", 0
    for found in _PLACE.finditer(expected):
        pattern += re.escape(expected[at : found.start()])
        kind = found[3]
        pattern += f"(?:{_ANY[kind]})" if kind else re.escape(_filled(found, today)) + r"(?: \d{4})?"
        at = found.end()
    return re.fullmatch(pattern + re.escape(expected[at:]), told) is not None


def shown(expected: Sequence[str], told: Sequence[str], today: date) -> list[str]:
    """What was told, as a script has it: the expected words where they fit, and otherwise the new ones, with dates as
    places, and times and codes where the expected answer in that place had some."""
    found: list[str] = []
    for number, one in enumerate(told):
        before = expected[number] if number < len(expected) else ""
        found.append(before if before and same(before, one, today) else _as_places(one, before, today))
    return found


def _as_places(told: str, before: str, today: date) -> str:
    for ahead in AHEAD:
        day = language.day(today + timedelta(days=ahead), today.year)
        told = told.replace(day.en, f"{{date{ahead:+}}}").replace(day.sw, f"{{tarehe{ahead:+}}}")
    # What the sky does, and what money is worth, is not what a script is about: where and when, what and to what are.
    told = _FORECAST.sub(r"\1: {…} · sandbox", told)
    told = _ROW.sub("{…}", told)
    told = _RATE.sub(r"\1 {number} (\2 {number} \3 {…})", told)
    for kind in ("time", "code"):
        if f"{{{kind}}}" in before:
            told = re.sub(rf"(?<![\w{{+])(?:{_ANY[kind]})(?![\w}}])", f"{{{kind}}}", told)
    return told
