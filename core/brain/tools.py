"""What a model may call, and what its calls must be like before anything runs. Pure; whoever the model is.

Nothing here is a request to the model: each rule is code, and is met by each call by itself.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import JsonValue

from core.actions import Action, Effect, Params
from core.brain import classify
from core.brain.amounts import amounts
from core.brain.honest import URL
from core.brain.understand import parse
from core.brain.words import said as read
from core.catalog import Catalog, Problem, llm_tool
from core.dialog import DialogState

ARGUMENTS_BYTES_MAX = 8 * 1024
CONFIDENCE = "confidence"
"""What every tool takes besides the action's own parameters: how sure the model is, from 0 to 1."""
SURE = 0.6
"""A call of the small model that is less sure is left to the larger one."""
PASS_ON = "pass_on"  # noqa: S105  a name
"""A tool of the small model alone: leaves the message to the larger one."""

_SURE_SCHEMA = {
    "type": "number", "minimum": 0, "maximum": 1,
    "description": "How sure you are that the person wants exactly this, from 0 to 1",
}  # fmt: skip
_PASS_ON_TOOL: dict[str, Any] = {
    "name": PASS_ON,
    "description": "Leave this message to a more capable model, when it is too hard for you. Nothing else is done.",
    "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
}

PHONES = frozenset({"phone", "phone_number"})
MAILBOXES = frozenset({"email", "payer_email"})
RECIPIENTS = frozenset({"recipient", "to", "payer_name", "guest_email"})
AMOUNTS = frozenset({"amount", "min_budget"})
ADDRESSES = frozenset({"url", "link", "account"})
DIGITS_MIN = 7
"""A phone number of fewer digits is none."""
DIGITS_ALIKE = 9
"""A number is the one that was typed when so many of its last digits are: 0712 345 678 is +254712345678."""
WORD_LETTERS = 4
"""Words are alike when their beginnings of so many letters are: people and models inflect."""
SHARE = 0.5
"""How many of the words that a model passes on must be the person's own."""
WORDS_TIED = 2
"""Fewer words may be the person's by chance: a "good morning" and an order to forget "mornings"."""
FOREIGN_CHARS_MAX = 6_000
"""How much of somebody else's words a model is shown."""
ASKED_AMONG = 5
ASKED_LIKELY = 0.02
"""An action without words of the person in it is one they asked for when it is among so many likeliest ones."""
ASKED_CHARS_MAX = 1_000
ASKED_LINES_MAX = 4
"""How much of what they wrote is looked at for that, from its end."""
SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Known:
    """A contact of the person: somebody whom they may name."""

    name: str
    phone: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A call that is what it must be: parameters, the slots as they were given, and how sure the model is."""

    params: Params
    slots: Mapping[str, JsonValue]
    confidence: float


@dataclass(frozen=True, slots=True)
class Invalid:
    """A call that is no call of this action: why, for the model; what to ask the person, where a slot is missing."""

    why: str
    problem: Problem | None = None


def for_models(offered: Iterable[Action[Any]]) -> tuple[Action[Any], ...]:
    """The actions a model may know of: none that takes a secret."""
    return tuple(action for action in offered if not action.secrets)


def schemas(offered: Iterable[Action[Any]], *, may_pass_on: bool) -> list[dict[str, Any]]:
    """The actions as tools, in the order given; the same for everybody, so that they may be cached."""
    found = []
    for action in for_models(offered):
        tool = llm_tool(action)
        schema = tool["input_schema"]
        properties = {**schema["properties"], CONFIDENCE: _SURE_SCHEMA}
        tool["input_schema"] = {**schema, "properties": properties, "additionalProperties": False}
        found.append(tool)
    return [*found, _PASS_ON_TOOL] if may_pass_on else found


def forbidden(action: Action[Any], *, is_private: bool, tainted: bool) -> str | None:
    """Why an action may not be called here and now; None when it may.

    `tainted` says that words of a stranger are before the model: then only what is the person's own may be read.
    """
    if action.secrets:
        return "There is no such tool."
    if tainted and not (action.effect is Effect.READ and action.own):
        return "Not in this answer: words of others have been read. The person must ask for it in a message of its own."
    if not is_private and action.shows is not None:
        return "Only in private, not where others read along. Tell the person so."
    return None


def check(catalog: Catalog, action: Action[Any], arguments: str) -> Checked | Invalid:
    """The parameters of a call, strictly: exactly its own slots, each of its type."""
    if len(arguments.encode("utf-8", "replace")) > ARGUMENTS_BYTES_MAX:
        return Invalid(f"The arguments are larger than {ARGUMENTS_BYTES_MAX} bytes.")
    try:
        given = json.loads(arguments, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Invalid(f"The arguments are not one JSON object: {type(error).__name__}.")
    if not isinstance(given, dict):
        return Invalid("The arguments are not a JSON object.")
    sure = given.pop(CONFIDENCE, 1.0)
    if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1:
        return Invalid(f"{CONFIDENCE} is a number from 0 to 1.")
    unknown = sorted(set(given) - set(action.slots))
    if unknown:
        return Invalid(f"{action.name} has no {unknown[0][:64]!r}.")
    if any("\ud800" <= sign <= "\udfff" for value in given.values() for sign in str(value)):
        return Invalid("There are signs in it that are none.")
    slots = {slot: value for slot, value in given.items() if value is not None}
    params = catalog.validate(action, slots)
    if isinstance(params, Problem):
        return Invalid(f"{params.slot}: {params.question.en}", params)
    return Checked(params, slots, float(sure))


def same(name: str, arguments: str) -> str:
    """What two calls have in common that are the same, however sure the model is of them."""
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        return f"{name} {arguments}"
    if isinstance(given, dict):
        given.pop(CONFIDENCE, None)
    return f"{name} {json.dumps(given, sort_keys=True)}"


def not_theirs(action: Action[Any], slots: Mapping[str, JsonValue], written: str, known: Sequence[Known]) -> str | None:
    """Which argument is not the person's own, for an action that changes something; None when all are.

    A recipient is one of their contacts or what they typed; an amount, an address and words are what they typed.
    `written` is what they wrote: this message, and what of the same dialog came before it.
    """
    if action.effect is Effect.READ:
        return None
    tied = False
    for slot, value in slots.items():
        if slot not in action.slots or _is_choice(action, slot):
            continue
        text = str(value)
        if slot in PHONES or slot in MAILBOXES or slot in RECIPIENTS:
            if not _reaches(text, written, known):
                return f"{slot}: the person has not typed it, and it is none of their contacts."
        elif slot in AMOUNTS:
            if not _named_amount(text, written):
                return f"{slot}: the person has not named this amount."
        elif slot in ADDRESSES or URL.search(text):
            if text.casefold() not in written.casefold():
                return f"{slot}: the person has not typed it."
        elif not isinstance(value, str) or _is_derived(action, slot):
            continue
        else:
            words = {word[:WORD_LETTERS] for word in _words(text)}
            shared = words & {word[:WORD_LETTERS] for word in _words(written)}
            if len(shared) < SHARE * len(words):
                return f"{slot}: use the person's own words."
            if len(shared) < WORDS_TIED:
                continue
        tied = True
    return None if tied or asked_for(action.name, written) else "The person has not asked for that in this message."


def asked_for(name: str, written: str) -> bool:
    """Whether a text may well ask for an action, by the local classifier or, a line of it, by the local rules."""
    near = written[-ASKED_CHARS_MAX:]
    best = classify.guesses(read(near))[:ASKED_AMONG]
    if any(guess.action == name and guess.probability >= ASKED_LIKELY for guess in best):
        return True
    # At what time it is read makes a difference to the slots alone.
    return any(
        parse(line, now=SOME_DAY, zone="UTC", state=DialogState(), actions=()).action == name
        for line in near.splitlines()[-ASKED_LINES_MAX:]
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name twice")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _is_choice(action: Action[Any], slot: str) -> bool:
    """Whether a slot is one of a few words of ours."""
    described = _property(action, slot)
    return any("enum" in kind or "const" in kind for kind in (described, *described.get("anyOf", ())))


def _is_derived(action: Action[Any], slot: str) -> bool:
    """Whether a slot is worked out of what people say and is not their words: a time, a date, a rule, a code."""
    described = _property(action, slot)
    kinds = (described, *described.get("anyOf", ()))
    return slot in ("recurrence", "currency") or any("pattern" in kind or "format" in kind for kind in kinds)


_schemas: dict[type[Params], Mapping[str, Any]] = {}


def _property(action: Action[Any], slot: str) -> Mapping[str, Any]:
    if action.params not in _schemas:
        _schemas[action.params] = action.params.model_json_schema().get("properties", {})
    found: Mapping[str, Any] = _schemas[action.params].get(slot, {})
    return found


def _reaches(text: str, written: str, known: Sequence[Known]) -> bool:
    """Whether this is a number or an address the person typed, or a contact of theirs."""
    if "@" in text:
        return _plain(text) in _plain(written) or any(text.casefold() == (one.email or "").casefold() for one in known)
    digits = "".join(char for char in text if char.isdigit())
    if len(digits) >= DIGITS_MIN:
        typed = re.sub(r"[\s().\-–/]", "", unicodedata.normalize("NFKC", written))
        alike = digits[-DIGITS_ALIKE:]
        runs = re.findall(r"\+?\d{7,17}", typed)
        phones = [*runs, *(one.phone or "" for one in known)]
        return any(run.lstrip("+").endswith(alike) for run in phones)
    name = _plain(text)
    return bool(name) and any(name == _plain(one.name) or _plain(one.name).startswith(f"{name} ") for one in known)


def _named_amount(text: str, written: str) -> bool:
    try:
        wanted = Decimal(text)
    except InvalidOperation:
        return False
    return any(Decimal(amount.value) == wanted for amount in amounts(read(written).plain))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W\d_]+", _plain(text)) if len(word) > 2]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def untrusted(source: str, text: str) -> str:
    """Words of somebody else, between marks that they cannot close."""
    bare = re.sub(r"[<>]", " ", text)[:FOREIGN_CHARS_MAX]
    return f'<untrusted from="{source}">\n{bare}\n</untrusted>'


def names(actions: Collection[Action[Any]]) -> str:
    """Their names, for a model that called what there is not."""
    return ", ".join(sorted(action.name for action in actions))
