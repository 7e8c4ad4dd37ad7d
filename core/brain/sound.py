"""What a brain hands back, looked at before anything comes of it: a brain may be a model, and say anything. Pure."""

import math
from collections.abc import Container, Mapping
from typing import Any

from core.dialog import Intent, Plan
from core.messages import PARTS_MAX, PartModel, Reply

VALUES_MAX = 1_000
"""Values in the slots of one intent, those inside of others counted too."""
CHARS_MAX = 65_536
"""Characters in all of them: more than anybody can write in one message."""
DEPTH_MAX = 8
STEPS_MAX = 100
"""A longer plan is none; of a shorter one the first steps are carried out (PLAN_MAX)."""
NUMBER_MAX = 2**63


class Unsound(ValueError):
    """A thought that nothing may come of; the message says what is wrong with it, in none of its own words."""


def steps(thought: object, offered: Container[str]) -> tuple[Intent | Reply, ...]:
    """The steps of what was thought, each an intent to call one of the `offered` actions or something to say.

    Raises Unsound for anything else: nothing, other types, unknown actions, values that are no JSON, too many or too
    deep, a confidence that is no number from 0 to 1, a reply that says nothing.
    """
    found: Any = thought.steps if isinstance(thought, Plan) else (thought,)
    if not isinstance(found, tuple | list) or not 1 <= len(found) <= STEPS_MAX:
        raise Unsound(f"a plan of no or of more than {STEPS_MAX} steps")
    return tuple(_step(one, offered) for one in found)


def _step(step: object, offered: Container[str]) -> Intent | Reply:
    if isinstance(step, Reply):
        parts: Any = step.parts
        if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= PARTS_MAX:
            raise Unsound(f"a reply of no or of more than {PARTS_MAX} parts")
        if not all(isinstance(part, PartModel) for part in parts):
            raise Unsound("a reply of what are no parts of a message")
        return step
    if not isinstance(step, Intent):
        raise Unsound("neither an intent nor a reply")
    action: Any = step.action
    if not isinstance(action, str) or action not in offered:
        raise Unsound("an action that is not offered")
    sure: Any = step.confidence
    if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1:
        raise Unsound("a confidence that is no number from 0 to 1")
    slots: Any = step.slots
    if not isinstance(slots, Mapping):
        raise Unsound("slots that are no mapping")
    _look_through(slots)
    return step


def _look_through(slots: Mapping[Any, object]) -> None:
    """Every value, without recursion: what is nested a thousand deep must not fell whoever looks."""
    values = chars = 0
    left: list[tuple[object, int]] = [(slots, 0)]
    while left:
        value, depth = left.pop()
        values += 1
        match value:
            case str():
                chars += _chars(value)
            case None | bool():
                pass
            case int():
                if abs(value) >= NUMBER_MAX:
                    raise Unsound("a number that is too large")
            case float():
                if not math.isfinite(value):
                    raise Unsound("a number that is none")
            case Mapping():
                if depth > DEPTH_MAX or len(value) > VALUES_MAX:
                    raise Unsound("values that are too many, or too deep in others")
                for name, one in value.items():
                    if not isinstance(name, str):
                        raise Unsound("a value without a name")
                    chars += _chars(name)
                    left.append((one, depth + 1))
            case list() | tuple():
                if depth > DEPTH_MAX or len(value) > VALUES_MAX:
                    raise Unsound("values that are too many, or too deep in others")
                left += [(one, depth + 1) for one in value]
            case _:
                raise Unsound("a value that is no JSON")
        if values + len(left) > VALUES_MAX or chars > CHARS_MAX:
            raise Unsound("values that are too many, or too long")


def _chars(text: str) -> int:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unsound("a text that is no Unicode") from None
    return len(text)
