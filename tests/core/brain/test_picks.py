"""What was shown is picked by its place, and the only thing that was shown by a yes."""

import pytest

from core.brain.picks import agrees, picked
from core.brain.replies import Told
from core.dialog import DialogState, Intent
from core.messages import Reply, text_of
from tests.core.brain.test_rules import BRAIN, CATALOG, turn
from tests.skills import needs

pytestmark = needs("contacts", "reminders", "currency", "weather")

SHOWN = ("what's the weather in Nairobi?", "convert 100 USD to KES", "remind me tomorrow at 9 to call Amina")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("2", 2), ("2.", 2), ("(2)", 2), ("#2", 2), (" 3 ", 3), ("number 2", 2), ("option two", 2), ("the first", 1),
        ("the first one", 1), ("the second", 2), ("second one please", 2), ("the 3rd", 3), ("the last one", 3),
        ("1️⃣", 1), ("namba mbili", 2), ("ya kwanza", 1), ("ya pili tafadhali", 2), ("la tatu", 3), ("ile ya mwisho", 3),
        ("nataka ya pili", 2), ("i'll take the second", 2), ("no 2", 2), ("The Second One!", 2),
    ],
)  # fmt: skip
def test_one_of_them_is_picked(text: str, place: int) -> None:
    assert picked(text, SHOWN) == SHOWN[place - 1]


@pytest.mark.parametrize(
    "text",
    ["", "4", "0", "22", "2 USD", "at 2", "2 o'clock", "no", "second hand car", "convert 2", "saa mbili", "1.5"],
)
def test_what_says_something_else_picks_nothing(text: str) -> None:
    assert picked(text, SHOWN) is None


def test_nothing_is_picked_where_nothing_was_shown() -> None:
    assert picked("2", ()) is None


@pytest.mark.parametrize(
    ("text", "agreed"),
    [
        ("yes", True), ("Yes, please!", True), ("ndio", True), ("ndiyo sawa", True), ("ok", True), ("👍", True),
        ("no", False), ("hapana", False), ("hapana asante", False), ("yes but tomorrow", None), ("", None),
    ],
)  # fmt: skip
def test_a_yes_and_a_no(text: str, agreed: bool | None) -> None:
    assert agrees(text) is agreed


async def test_the_brain_takes_what_is_picked_for_what_was_said() -> None:
    thought = await BRAIN.think(turn("the second", state=DialogState(shown=SHOWN)), CATALOG.offered)
    assert thought == Intent("convert_currency", {"amount": "100", "from_currency": "USD", "to_currency": "KES"}, 0.99)


async def test_a_number_is_an_answer_where_something_is_asked() -> None:
    state = DialogState(action="convert_currency", asked=("amount",), shown=SHOWN)
    thought = await BRAIN.think(turn("2", state=state), CATALOG.offered)
    assert isinstance(thought, Intent)
    assert thought.slots["amount"] == "2"


async def test_a_yes_to_a_guess_does_what_was_guessed() -> None:
    """With the values that the person said, not those of the example they were shown."""
    asked = await BRAIN.think(turn("stick my sister's number 0722 123 456 in"), CATALOG.offered)
    assert isinstance(asked, Told)
    assert asked.meant is not None
    state = DialogState().showing(asked.options, asked.meant)
    assert await BRAIN.think(turn("yes", state=state), CATALOG.offered) == asked.meant
    assert (asked.meant.action, asked.meant.slots["phone"]) == ("save_contact", "0722 123 456")
    refused = await BRAIN.think(turn("no", state=state), CATALOG.offered)
    assert isinstance(refused, Reply)
    assert text_of(refused.parts) == "All right. You could say:"
