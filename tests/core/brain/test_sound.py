"""A brain that hands back rubbish: an answer, never an exception, and nothing is done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from connectors import CONNECTORS
from core.actions import Action
from core.brain import Asked, sound
from core.catalog import Catalog
from core.db import Database
from core.dialog import PLAN_MAX, Intent, Plan
from core.messages import Reply, Text
from core.settings import Settings
from core.turn_answer import APOLOGY
from tests.core.speaking import WEB, at, mathia
from tests.skills import needs

CATALOG = Catalog(CONNECTORS, Settings.model_validate({}))
GOOD = Intent("save_contact", {"name": "Asha", "phone": "0722123456"}, 0.95)


def nested(depth: int) -> Any:
    """A value inside of a value inside of a value."""
    value: Any = "x"
    for _ in range(depth):
        value = {"a": [value]}
    return value


def saves(**slots: Any) -> Intent:
    """An intent that would write something, were its slots in order."""
    return replace(GOOD, slots={**GOOD.slots, **slots})


RUBBISH: dict[str, Any] = {
    "nothing": None, "a number": 42, "words": "save_contact", "a dict": {"action": "save_contact", "slots": {}},
    "a list": [GOOD], "a type": Intent, "a tool call as text": '{"action": "save_contact"}',
    "an action that is unknown": replace(GOOD, action="drop_tables"),
    "an action that is not text": replace(GOOD, action=None),  # type: ignore[arg-type]
    "an action that cannot be looked up": replace(GOOD, action=["save_contact"]),  # type: ignore[arg-type]
    "a confidence that is no number": replace(GOOD, confidence=math.nan),
    "a confidence without end": replace(GOOD, confidence=math.inf),
    "a confidence above one": replace(GOOD, confidence=1.5),
    "a confidence in words": replace(GOOD, confidence="sure"),  # type: ignore[arg-type]
    "no slots": replace(GOOD, slots=None),  # type: ignore[arg-type]
    "a list of slots": replace(GOOD, slots=[("name", "Asha")]),  # type: ignore[arg-type]
    "a slot without a name": replace(GOOD, slots={1: "Asha"}),  # type: ignore[dict-item]
    "nested a thousand deep": saves(note=nested(1_000)), "a value that is a thing": saves(note=object()),
    "bytes": saves(note=b"x"), "no number": saves(note=math.nan), "a number of 5,000 digits": saves(note=10**5_000),
    "half a character": saves(note="\ud800"), "a thousand slots": saves(**{f"s{n}": n for n in range(1_000)}),
    "a megabyte": saves(note="x" * 1_000_000),
    "a reply of nothing": Reply(()), "a reply of None": Reply(None),  # type: ignore[arg-type]
    "a reply of words": Reply(("hello",)),  # type: ignore[arg-type]
    "a reply without end": Reply((Text(text="hi"),) * 1_000),
    "a plan of nothing": Plan(()), "a plan of None": Plan(None),  # type: ignore[arg-type]
    "a plan in a plan": Plan((Plan((GOOD,)),)),  # type: ignore[arg-type]
    "a plan with a hole": Plan((GOOD, None)),  # type: ignore[arg-type]
    "a plan of a thousand steps": Plan((GOOD,) * 1_000),
    "a plan that begins well": Plan((GOOD, replace(GOOD, action="drop_tables"))),
}  # fmt: skip


@dataclass
class Fixed:
    """A brain that always thinks the same."""

    thought: Any

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Any:
        return self.thought


@pytest.mark.parametrize("thought", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_told_from_a_thought(thought: Any) -> None:
    with pytest.raises(sound.Unsound) as caught:
        sound.steps(thought, CATALOG)
    assert "Asha" not in str(caught.value)


@needs("contacts")
def test_what_is_sound_stays_as_it_is() -> None:
    reply = Reply.of("hello")
    for good in (GOOD, saves(note="x" * 8_192), saves(note=None), replace(GOOD, slots={"note": nested(3)}), reply):
        assert sound.steps(good, CATALOG) == (good,)
    assert sound.steps(Plan((GOOD, reply)), CATALOG) == (GOOD, reply)
    assert len(sound.steps(Plan((reply,) * (PLAN_MAX + 1)), CATALOG)) == PLAN_MAX + 1


async def test_rubbish_gets_an_answer_and_nothing_is_done(db: Database, valkey_url: str) -> None:
    """In the middle of a conversation: what was open stays open, and is answered as if nothing had been."""
    async with mathia(db, valkey_url) as bot:
        who, brain = at(WEB, "amina"), bot.deps.brain
        assert await bot.hear(who, "remind me to call Asha") == "When should I remind you?"
        for name, thought in RUBBISH.items():
            bot.deps = replace(bot.deps, brain=Fixed(thought))
            assert await bot.hear(who, "tomorrow at 9") == APOLOGY.en, name
        assert not await db.pool.fetchval("SELECT count(*) FROM receipt")
        bot.deps = replace(bot.deps, brain=brain)
        assert (await bot.hear(who, "tomorrow at 9")).startswith("Done. Reminder set")


@pytest.mark.parametrize(
    ("thought", "answer"),
    [
        (saves(name="x" * 8_192), "That is too long"),
        (saves(name={"deep": ["in"]}), "name"),
        (replace(GOOD, slots={"name": 7, "phone": []}), "“7” will not do"),
        (Intent("get_weather", {"city": ["Nairobi"]}, 1.0), "Which city?"),
        (Intent("set_reminder", {"content": "call", "time": True, "recurrence": {"x": 1}}, 1.0), "When"),
        (Intent("erase_my_data", {}, 1.0), "type this code"),
    ],
)  # fmt: skip
async def test_values_of_the_wrong_kind_are_asked_for(
    db: Database, valkey_url: str, thought: Intent, answer: str
) -> None:
    async with mathia(db, valkey_url) as bot:
        bot.deps = replace(bot.deps, brain=Fixed(thought))
        told = await bot.hear(at(WEB, "amina"), "do it")
        assert answer in told
        assert not await db.pool.fetchval("SELECT count(*) FROM receipt")
