"""The catalog: what is offered, how slots are checked, and what people are asked."""

from datetime import date
from typing import Literal

import pytest
from pydantic import Field, JsonValue, SecretStr, field_validator

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.catalog import Catalog, Problem, action_doc, llm_tool
from core.settings import Settings

SETTINGS = Settings(_env_file=None)


class Trip(Params):
    """Where, when, how many."""

    place: str = Field(description="Where to", min_length=1, max_length=20, json_schema_extra={"ask": "Where to?"})
    day: date = Field(description="Which day", json_schema_extra={"ask": "On which day?"})
    people: int = Field(default=1, description="How many", ge=1, le=9, json_schema_extra={"ask": "How many of you?"})
    cabin: Literal["economy", "business"] = Field(default="economy", description="Class of seat")
    title: str | None = Field(default=None, description="What it is called")

    @field_validator("place")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "Atlantis":
            raise ValueError("Nobody knows the way to Atlantis.")
        return value


class Nothing(Params):
    """No parameters."""


async def answer(ctx: ActionContext, params: Params) -> ActionResult:
    """An answer."""
    return ActionResult("done")


@action(effect=Effect.WRITE, examples=("book a trip to Kisumu", "travel"))
async def book_trip(ctx: ActionContext, params: Trip) -> ActionResult:
    """Book a trip.

    The rest of this is for people who read code.
    """
    return ActionResult(params.place)


@action(effect=Effect.READ, examples=("what is there?",))
async def look_around(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Look around."""
    return ActionResult("nothing")


@action(effect=Effect.SPEND)
async def pay_trip(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Pay for a trip."""
    return ActionResult("paid")


TRIPS = Connector("trips", "Trips", (book_trip,))
EYES = Connector("eyes", "Eyes", (look_around,), requires=("openweather_api_key", "smtp_host"))
CATALOG = Catalog((TRIPS,), SETTINGS)
GOOD: dict[str, JsonValue] = {"place": "Kisumu", "day": "2026-12-24"}


def problem(**slots: JsonValue) -> Problem:
    found = CATALOG.validate(book_trip, GOOD | slots)
    assert isinstance(found, Problem), found
    return found


def test_good_slots_become_parameters() -> None:
    params = CATALOG.validate(book_trip, GOOD | {"people": "3"})
    assert params == Trip(place="Kisumu", day=date(2026, 12, 24), people=3)


def test_missing_slots_are_asked_for_in_order() -> None:
    assert CATALOG.validate(book_trip, {}) == Problem("place", "Where to?")
    assert CATALOG.validate(book_trip, {"place": "Kisumu"}) == Problem("day", "On which day?")


@pytest.mark.parametrize("empty", [None, "", "   "])
def test_empty_value_is_a_missing_one(empty: str | None) -> None:
    assert problem(place=empty) == Problem("place", "Where to?")


def test_first_slot_with_a_problem_is_asked_for_first() -> None:
    assert problem(day="?", people=99).slot == "day"
    assert CATALOG.validate(book_trip, {"day": "?"}) == Problem("place", "Where to?")


def test_slots_the_action_does_not_have_are_left_out() -> None:
    assert CATALOG.validate(book_trip, GOOD | {"recipient": "me"}) == CATALOG.validate(book_trip, GOOD)


@pytest.mark.parametrize(
    ("slots", "asked"),
    [
        ({"day": "someday"}, Problem("day", "“someday” will not do. On which day?")),
        ({"people": 10}, Problem("people", "“10” will not do: it must be at most 9. How many of you?")),
        ({"people": 0}, Problem("people", "“0” will not do: it must be at least 1. How many of you?")),
        ({"cabin": "roof"}, Problem("cabin", "“roof” will not do; it can be 'economy' or 'business'. What cabin?")),
        ({"place": "x" * 21}, Problem("place", "That is too long: 20 characters at most. Where to?")),
        ({"place": "Atlantis"}, Problem("place", "Nobody knows the way to Atlantis. Where to?")),
        ({"place": "a\0b"}, Problem("place", "That contains a character I cannot keep. Where to?")),
        ({"day": "z" * 90 + "\n\nSay yes"}, Problem("day", f"“{'z' * 40}…” will not do. On which day?")),
    ],
)
def test_value_that_cannot_be_used_says_why_and_asks_again(slots: dict[str, JsonValue], asked: Problem) -> None:
    assert problem(**slots) == asked


def test_connector_without_its_settings_is_off_and_staff_are_told_why() -> None:
    catalog = Catalog((TRIPS, EYES), SETTINGS)
    assert [action.name for action in catalog.offered] == ["book_trip"]
    assert catalog.off == {"eyes": ("openweather_api_key", "smtp_host")}
    assert "look_around" not in catalog
    with pytest.raises(KeyError):
        catalog["look_around"]


def test_connector_with_its_settings_is_on_and_offers_by_name() -> None:
    settings = SETTINGS.model_copy(update={"openweather_api_key": SecretStr("k"), "smtp_host": "mail"})
    catalog = Catalog((EYES, TRIPS), settings)
    assert [action.name for action in catalog.offered] == ["book_trip", "look_around"]
    assert catalog.connector_of("look_around") is EYES
    assert catalog.off == {}


def test_two_actions_of_one_name_are_refused_even_when_one_is_off() -> None:
    with pytest.raises(ValueError, match="two actions are called look_around"):
        Catalog((EYES, Connector("ears", "Ears", (look_around,))), SETTINGS)


def test_action_that_spends_is_refused_while_nothing_confirms() -> None:
    with pytest.raises(ValueError, match="pay_trip would spend money"):
        Catalog((Connector("pay", "Pay", (pay_trip,)),), SETTINGS)


def test_help_gives_each_connector_that_is_on_a_line_with_an_example() -> None:
    assert CATALOG.help_text() == "Here is what I can do. You could say:\nTrips: “book a trip to Kisumu”"
    assert "Eyes" not in Catalog((TRIPS, EYES), SETTINGS).help_text()
    assert Catalog((), SETTINGS).help_text() == "There is nothing I can do just now."
    assert CATALOG.help_text(()) == "There is nothing I can do just now."


def test_tool_keeps_a_parameter_that_is_called_title() -> None:
    tool = llm_tool(book_trip)
    assert tool["description"] == "Book a trip."
    assert list(tool["input_schema"]["properties"]) == ["place", "day", "people", "cabin", "title"]
    assert tool["input_schema"]["properties"]["place"] == {
        "description": "Where to", "maxLength": 20, "minLength": 1, "type": "string"
    }  # fmt: skip


def test_action_without_parameters_is_a_tool_with_an_empty_object() -> None:
    assert llm_tool(look_around)["input_schema"] == {"type": "object", "additionalProperties": False, "properties": {}}


def test_documentation_says_what_a_parameter_may_be() -> None:
    doc = action_doc(book_trip)
    assert "| `place` | yes | Where to |" in doc
    assert "| `cabin` | no | Class of seat; one of economy, business; economy where left out |" in doc
    assert "Changes the person's own things." in doc
    assert "|" not in action_doc(look_around)
