"""Commands become the words people would have written, and nothing else does."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from connectors import CONNECTORS
from core.actions import Person
from core.brain.commands import COMMAND, in_words, menu
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.dialog import DialogState, Intent
from core.messages import InboundMessage, Reply
from core.settings import Settings
from tests.skills import needs

ADA = Person(UUID(int=1), "Ada", "en", None)
ACTIONS = ("get_weather", "convert_currency", "set_reminder", "list_reminders", "cancel_reminder", "check_balance")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/weather Nairobi", "weather Nairobi"),
        ("/Weather@mathia_bot  Nairobi ", "weather Nairobi"),
        ("/get_weather Lamu", "get weather Lamu"),
        ("/remind tomorrow at 5 call Asha", "remind me tomorrow at 5 call Asha"),
        ("/remind me at 5 to call", "remind me at 5 to call"),
        ("/set_reminder at 5 to call", "remind me at 5 to call"),
        ("/remind", "set a reminder"),
        ("/reminders", "list my reminders"),
        ("/cancel 2", "cancel reminder 2"),
        ("/convert 100 USD to KES", "convert 100 USD to KES"),
        ("/check_balance", "check balance"),
        ("/start", "help"),
        ("/start bGlua180Mg", "help"),
        ("/help me", "help"),
        ("/nothing at all", None),
        ("/pay 100", None),
        ("/home/ada is full", "/home/ada is full"),
        ("/", "/"),
        ("1/2", "1/2"),
        ("weather /now", "weather /now"),
        ("", ""),
    ],
)
def test_a_leading_command_becomes_words(text: str, words: str | None) -> None:
    assert in_words(text, ACTIONS) == words


def test_an_action_that_is_not_offered_is_no_command() -> None:
    assert in_words("/weather Nairobi", ["set_reminder"]) is None


@needs("weather")
def test_the_menu_names_every_action_once_and_each_entry_is_a_command() -> None:
    catalog = Catalog(CONNECTORS, Settings(_env_file=None))
    names = [name for name, _ in menu(catalog.offered, "en")]
    swahili = dict(menu(catalog.offered, "sw"))
    assert list(swahili) == names
    assert swahili["weather"] == "Kwa mfano: hali ya hewa Kisumu leo"
    assert len(names) == len(set(names)) == len(catalog.offered) + 1
    offered = [action.name for action in catalog.offered]
    for name, summary in menu(catalog.offered, "en"):
        assert COMMAND.fullmatch(f"/{name}")
        assert len(name) <= 32
        assert name == name.lower()
        assert summary
        assert in_words(f"/{name}", offered)


@dataclass(frozen=True)
class Said:
    """What a person said."""

    text: str
    state: DialogState = field(default_factory=DialogState)
    messages: tuple[InboundMessage, ...] = ()
    person: Person = ADA
    now: datetime = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


@needs("weather", "reminders")
async def test_the_rules_understand_commands() -> None:
    catalog = Catalog(CONNECTORS, Settings(_env_file=None))
    brain = RuleBrain(catalog)
    weather = await brain.think(Said("/weather Nairobi"), catalog.offered)
    assert isinstance(weather, Intent)
    assert (weather.action, dict(weather.slots)) == ("get_weather", {"city": "Nairobi"})
    reminder = await brain.think(Said("/remind tomorrow at 5 call Asha"), catalog.offered)
    assert isinstance(reminder, Intent)
    assert (reminder.action, reminder.slots["content"]) == ("set_reminder", "call Asha")
    start, help_ = [await brain.think(Said(text), catalog.offered) for text in ("/start bGlua180Mg", "/help")]
    assert isinstance(start, Reply)
    assert start == help_


@needs("weather")
async def test_an_unknown_command_is_no_answer_to_an_open_question() -> None:
    catalog = Catalog(CONNECTORS, Settings(_env_file=None))
    asked = replace(Said("/frobnicate"), state=DialogState(action="get_weather").ask("city"))
    answer = await RuleBrain(catalog).think(asked, catalog.offered)
    assert isinstance(answer, Reply)
    assert "did not understand" in next(part.text for part in answer.parts if part.kind == "text")
