"""What the rules, the classifier and the extractors make of a text, for people who teach them. Pure.

It decides nothing: what is understood is for `understand.parse` to say. This shows what that had to go by.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.brain import amounts, classify, errands, features, frames, people, periods, places, track, when
from core.brain.gates import RULES
from core.brain.heard import Heard
from core.brain.words import Said

if TYPE_CHECKING:
    from pydantic import JsonValue

GUESSES_SHOWN = 5
WEIGHTS_SHOWN = 10
TIMES_MAX = 6
"""Points in time looked for in one text."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Opened:
    """Words that open an action's rule or gate: which, where they stand in `Said.written`, and what stops it."""

    action: str
    words: str
    at: Span
    stopped_by: str | None = None
    """Why the rule does not answer all the same; None where nothing but its place in the table can."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that an extractor reads in the text, and the words that it read; `at` as in Opened."""

    kind: str
    words: str
    at: Span
    value: "JsonValue"


@dataclass(frozen=True, slots=True)
class Weight:
    """A feature of the text, and how far it moves the classifier from its second guess to its first (log odds)."""

    feature: str
    weight: float


def rules(heard: Heard, actions: Collection[str]) -> list[Opened]:
    """Every rule of `actions` whose words are there, in the order in which rules are tried."""
    found: list[Opened] = []
    for rule in RULES:
        gate = rule.opens.search(heard.plain) if rule.action in actions else None
        if gate is None:
            continue
        stop = rule.unless.search(heard.plain) if rule.unless is not None else None
        stopped_by = None
        if stop is not None:
            stopped_by = f"“{_words(heard.said, stop.span())}” means something else"
        elif not rule.allows(heard):
            stopped_by = "the rest of the text does not go with it"
        elif heard.state.action is None and track.refutes(heard.said, rule.action):
            stopped_by = f"the classifier is sure of {track.likely(heard.said)}"
        found.append(_opened(rule.action, heard.said, gate.span(), stopped_by))
    return found


def gates(said: Said) -> list[Opened]:
    """Every gate that is open: a guess at an action whose gate is shut must be surer."""
    opened = ((action, gate.search(said.plain)) for action, gate in track.GATES.items())
    return [_opened(action, said, gate.span()) for action, gate in opened if gate is not None]


def guesses(said: Said) -> list[classify.Guess]:
    """The likeliest actions, the likeliest first."""
    return classify.guesses(said)[:GUESSES_SHOWN]


def weights(said: Said) -> list[Weight]:
    """The features that weigh most between the first guess and the second, the heaviest first."""
    model = classify.model()
    first, second = (model.classes.index(guess.action) for guess in classify.guesses(said)[:2])
    found: dict[str, Weight] = {}
    for name in features.named(said):
        for start, end in model.rows([features.number(name)]):
            row = dict(zip(model.columns[start:end], model.weights[start:end], strict=True))
            found[name] = Weight(name, (row.get(first, 0) - row.get(second, 0)) * model.scale)
    return sorted(found.values(), key=lambda weight: -abs(weight.weight))[:WEIGHTS_SHOWN]


def spans(heard: Heard) -> list[Found]:
    """What the extractors read, whether an action wants it or not, in the order of the text."""
    found = [*_times(heard), *_money(heard), *_contacts(heard.said)]
    found += [
        Found("place", _words(heard.said, (each.start, each.end)), heard.said.span(each.start, each.end), each.name)
        for each in places.all_known(heard.said)
    ]
    for kind, pattern in (("people", frames.PEOPLE), ("rooms", frames.ROOMS), ("nights", frames.NIGHTS)):
        counted = frames.counted(pattern, heard.plain)
        if counted is not None:
            found.append(_found(f"count of {kind}", heard.said, counted[1], counted[0]))
    return sorted(found, key=lambda each: each.at)


def _times(heard: Heard) -> Iterator[Found]:
    text, now = heard.plain, heard.now
    for _ in range(TIMES_MAX):
        one = when.find(text, now)
        if not one.spans:
            break
        span = min(start for start, _ in one.spans), max(end for _, end in one.spans)
        value = one.iso or (one.day.isoformat() if one.day is not None else None)
        said = ", ".join(filter(None, (value, one.recurrence)))
        yield _found("when", heard.said, span, said or None)
        text = when.masked(text, one.spans, "\n")
    stretch = periods.find(heard.plain, now)
    if stretch is not None:
        value = f"from {stretch.start.isoformat()} until {stretch.end.isoformat()}"
        yield _found("period", heard.said, stretch.text, value)
    long = periods.duration(heard.plain)
    if long is not None:
        yield _found("duration in seconds", heard.said, long.text, long.seconds)


def _money(heard: Heard) -> Iterator[Found]:
    for amount in amounts.amounts(heard.plain):
        yield _found("number", heard.said, (amount.start, amount.end), amount.value)
    for currency in amounts.currencies(heard.plain, heard.said.written, heard.zone):
        yield _found("currency", heard.said, (currency.start, currency.end), currency.code)


def _contacts(said: Said) -> Iterator[Found]:
    read: tuple[tuple[str, Callable[[Said], object]], ...] = (
        ("phone number", lambda said: errands.phone(said).get("phone_number")),
        ("e-mail address", lambda said: people.email(said, 0).get("email")),
    )
    for kind, reader in read:
        value = reader(said)
        start = said.written.find(value) if isinstance(value, str) else -1
        if isinstance(value, str) and start >= 0:
            yield Found(kind, value, (start, start + len(value)), value)


def _opened(action: str, said: Said, span: Span, stopped_by: str | None = None) -> Opened:
    return Opened(action, _words(said, span), said.span(*span), stopped_by)


def _found(kind: str, said: Said, span: Span, value: "JsonValue") -> Found:
    return Found(kind, _words(said, span), said.span(*span), value)


def _words(said: Said, span: Span) -> str:
    return said.words(*span)
