"""Why a message is understood as it is: rules, guesses, spans, dialog state, and the move that would follow.

The very brain and catalog that answer people are asked (core/brain/rules.py, core/catalog.py); nothing is run, no
server is needed, and nothing is kept.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bot.cli import EXIT_USAGE
from connectors import CONNECTORS
from core import countries, zones
from core.actions import Person
from core.brain import explain, plans, when
from core.brain.commands import in_words
from core.brain.explain import Found, Opened
from core.brain.heard import Heard
from core.brain.parse_lines import BadLine, state_of
from core.brain.replies import Dropped, Told
from core.brain.rules import RuleBrain
from core.brain.words import said
from core.catalog import Catalog, Problem
from core.dialog import DialogState, Intent, Plan
from core.errors import UserError
from core.messages import TEXT_CHARS_MAX, Address, ChannelName, Choices, InboundMessage, Reply, Text, text_of
from core.settings import Settings
from core.turn import speaking

HERE = Address(ChannelName.WEB, "default", "explain", "explain")
NOBODY = UUID(int=0)
LABEL_WIDTH = 12
PASSED_ON = "(what the step before answered)"
VALUE_CHARS = 160
"""How much of a value is shown in the terminal; --json has all of it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained, as a brain is asked (core.brain.Asked): one message, of one person, at one moment."""

    text: str
    person: Person
    state: DialogState
    now: datetime
    messages: tuple[InboundMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """What a turn would do next: `kind` is run, confirm, ask, or what a brain answers by itself (replies.Why)."""

    kind: str
    action: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    slot: str | None = None
    says: str | None = None
    choices: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `explain`."""
    parser.add_argument("text", metavar="TEXT", help="the message, in quotes; - reads it from standard input")
    parser.add_argument("--state", metavar="JSON", help="what the dialog is in the middle of, as in `bot parse`")
    parser.add_argument("--zone", metavar="ZONE", help="the person's time zone: an IANA name, or a town")
    parser.add_argument("--now", metavar="TIME", help="the moment, ISO 8601; local in the zone where it has no offset")
    parser.add_argument("--language", choices=("en", "sw"), help="the person chose it; else the message tells")
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def main(args: argparse.Namespace) -> int:
    """Explain one message: 0; 2, with a sentence, for one that cannot be explained."""
    try:
        asked = question(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    explained = asyncio.run(explanation(asked))
    if args.json:
        print(json.dumps(explained, ensure_ascii=False, indent=2, default=str))
    else:
        print("\n".join(lines(explained)))
    return 0


def question(args: argparse.Namespace) -> Question:
    """What the arguments ask; raises UserError for anything that is no message, state, zone or moment."""
    text = text_from(args.text)
    zone = Settings().default_timezone
    if args.zone is not None:
        found = zones.find(args.zone)
        if found is None:
            raise UserError(f"There is no time zone “{args.zone[:80]}”. Say an IANA name, such as Africa/Nairobi.")
        zone = found
    now = datetime.now(UTC)
    if args.now is not None:
        try:
            now = when.local(datetime.fromisoformat(args.now), zone).astimezone(UTC)
        except (ValueError, OverflowError):
            raise UserError("--now must be an ISO 8601 time, such as 2026-03-11T10:00:00.") from None
    state = DialogState()
    if args.state is not None:
        try:
            state = state_of(json.loads(args.state), when.local(now, zone), zone)
        except BadLine as error:
            raise UserError(f"--state: {error}") from None
        except (ValueError, RecursionError):
            raise UserError("--state must be JSON, as in the lines of `bot parse`.") from None
    person = Person(NOBODY, None, args.language or "en", zone, language_chosen=args.language is not None)
    message = InboundMessage(HERE, "1", (Text(text=text),), now)
    return Question(text, speaking(person, text), state, now, (message,))


def text_from(given: str) -> str:
    """The message that was given, or that stands on standard input; raises UserError for one that nobody could send."""
    if given == "-":
        # Four bytes a character at most, and one byte to see that there is more.
        raw = sys.stdin.buffer.read(4 * TEXT_CHARS_MAX + 1)
        given = raw.decode("utf-8", "surrogateescape").removesuffix("\n")
    if any("\ud800" <= char <= "\udfff" for char in given):
        raise UserError("That is not UTF-8. Check the terminal's encoding, or write the message into a file in UTF-8.")
    if not given.strip():
        raise UserError('There is no message in that. Write one in quotes: python3 -m bot explain "remind me at 5"')
    if len(given) > TEXT_CHARS_MAX:
        raise UserError(f"A message has at most {TEXT_CHARS_MAX:,} characters, and this one has more.")
    return given


async def explanation(asked: Question) -> dict[str, Any]:
    """Everything that is told, as JSON would have it."""
    settings = Settings()
    catalog = Catalog(CONNECTORS, settings, confirms=True)
    names = frozenset(action.name for action in catalog.offered)
    zone = asked.person.timezone or settings.default_timezone
    thought = await RuleBrain(catalog, settings.default_timezone).think(asked, catalog.offered)
    steps = plans.going_on(thought.steps if isinstance(thought, Plan) else (thought,), asked.state)
    taken: list[tuple[Move, DialogState]] = []
    for step in steps:
        state = taken[-1][1] if taken else asked.state
        taken.append(next_move(step, replace(asked, state=state), catalog))
    (move, after), *later = taken
    words = in_words(asked.text, names)
    ready = said(asked.text if words is None else words, month_first=countries.month_first(zone))
    heard = Heard(ready, when.local(asked.now, zone), zone, asked.state)
    guesses = explain.guesses(heard.said)
    return {
        "text": heard.said.written,
        "language": asked.person.language,
        "now": heard.now.isoformat(timespec="seconds"),
        "zone": zone,
        "rules": [asdict(rule) for rule in explain.rules(heard, names)],
        "gates": [asdict(gate) for gate in explain.gates(heard.said)],
        "guesses": [{"action": guess.action, "probability": round(guess.probability, 4)} for guess in guesses],
        "weights": [asdict(weight) for weight in explain.weights(heard.said)],
        "spans": [asdict(span) for span in explain.spans(heard)],
        "understood": understood(steps[0]),
        "state": {"before": asdict(asked.state), "after": asdict(after)},
        "move": asdict(move),
        "then": [
            {"understood": understood(step), "move": asdict(its)}
            for step, (its, _) in zip(steps[1:], later, strict=True)
        ],
    }


def understood(thought: Intent | Reply) -> dict[str, Any]:
    """What the brain made of it."""
    if isinstance(thought, Intent):
        return asdict(thought)
    if isinstance(thought, Told):
        return {
            "action": thought.action, "slots": {}, "confidence": thought.confidence, "guessed": thought.guessed,
            "by": thought.by,
        }  # fmt: skip
    return {"action": None, "slots": {}, "confidence": 0.0, "guessed": False, "by": ""}


def next_move(thought: Intent | Reply, asked: Question, catalog: Catalog) -> tuple[Move, DialogState]:
    """What a turn would do with it, and the dialog state after that, an action taken to succeed."""
    if isinstance(thought, Reply):
        choices = next((part.options for part in thought.parts if isinstance(part, Choices)), ())
        why, action = (thought.why, thought.action) if isinstance(thought, Told) else ("chat", None)
        state = asked.state.finish() if isinstance(thought, Dropped) else asked.state
        return Move(why, action, says=text_of(thought.parts), choices=choices), state
    if thought.refers is not None:
        thought = replace(thought, slots={**thought.slots, thought.refers: PASSED_ON})
    wanted, state, params = catalog.taken_up(thought, asked.state)
    if isinstance(params, Problem):
        question = params.question.to(asked.person.language)
        return Move("ask", wanted.name, slot=params.slot, says=question), state.ask(params.slot)
    given = params.model_dump(mode="json", exclude_unset=True)
    return Move("run" if wanted.shows is None else "confirm", wanted.name, given), state.finish()


# ---------------------------------------------------------------- for a terminal

KINDS = {
    "run": "Run {action}", "confirm": "Show what {action} would do, and wait for the code",
    "ask": "Ask for {slot} of {action}", "did_you_mean": "Ask: did you mean {action}",
    "not_here": "Say that {action} cannot be done here", "not_understood": "Say that it was not understood",
    "help": "Say what can be done", "chat": "Answer by itself",
}  # fmt: skip

BY = {
    "code": "the code in it", "words": "words that can mean nothing else", "rule": "its rule",
    "answer": "what was asked before", "change": "what was said before", "guess": "the classifier's guess",
}  # fmt: skip


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The explanation as lines."""
    yield from block("text", [told["text"], f"{told['language']}, {told['now']}, {told['zone']}"])
    yield from block("rules", map(opened, told["rules"]) if told["rules"] else ["none opens"])
    yield from block("gates", map(opened, told["gates"]) if told["gates"] else ["none opens"])
    yield from block("guesses", [f"{100 * one['probability']:6.2f} %  {one['action']}" for one in told["guesses"]])
    yield from block("weights", [f"{one['weight']:+6.2f}    {one['feature']}" for one in told["weights"]])
    yield from block("spans", map(span, told["spans"]) if told["spans"] else ["none"])
    yield from block("understood", [meaning(told["understood"]), *values(told["understood"]["slots"])])
    for name in ("before", "after"):
        yield from block(f"state {name}", state(told["state"][name]))
    move = told["move"]
    yield from block("move", made(move))
    for step in told["then"]:
        yield from block("then", [meaning(step["understood"]), *values(step["understood"]["slots"])])
        yield from block("move", made(step["move"]))


def made(move: Mapping[str, Any]) -> list[str]:
    return [KINDS[move["kind"]].format(**move), *values(move["params"]), *speech(move)]


def block(label: str, rows: Iterable[str]) -> Iterator[str]:
    """Rows with a label before the first."""
    for number, row in enumerate(rows):
        yield f"{label if number == 0 else '':<{LABEL_WIDTH}} {row}".replace("\n", " ⏎ ").rstrip()


def opened(one: Mapping[str, Any]) -> str:
    rule = Opened(**one)
    stopped = f", but {rule.stopped_by}" if rule.stopped_by else ""
    return f"{rule.action}: “{short(rule.words)}” at {rule.at[0]}-{rule.at[1]}{stopped}"


def span(one: Mapping[str, Any]) -> str:
    found = Found(**one)
    return f"{found.kind}: “{short(found.words)}” at {found.at[0]}-{found.at[1]} is {found.value}"


def meaning(told: Mapping[str, Any]) -> str:
    how = f", by {BY[told['by']]}" if told["by"] else ""
    return f"{told['action'] or 'no request'}{how} ({100 * told['confidence']:.0f} % sure)"


def state(told: Mapping[str, Any]) -> list[str]:
    rows = [f"in the middle of {told['action']}"] if told["action"] else ["nothing open"]
    rows += values(told["slots"])
    if told["asked"]:
        rows.append(f"asked for {', '.join(told['asked'])}")
    if told["offered"]:
        rows += ["offered", *values(told["offered"])]
    if told["history"]:
        rows.append(f"before that {', '.join(told['history'])}")
    return rows


def speech(move: Mapping[str, Any]) -> list[str]:
    rows = [f"“{short(move['says'])}”"] if move["says"] else []
    return rows + [f"[{short(choice)}]" for choice in move["choices"]]


def values(slots: Mapping[str, Any]) -> list[str]:
    return [f"  {name}: {short(str(value))}" for name, value in slots.items()]


def short(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"
