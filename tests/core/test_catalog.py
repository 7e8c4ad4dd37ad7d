"""The catalog: what is offered, how slots are checked, and what people are asked."""

from datetime import date
from typing import Literal

import pytest
from pydantic import Field, JsonValue, SecretStr, field_validator

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.catalog import Catalog, Problem, action_doc, llm_tool
from core.errors import Unusable
from core.language import Saying
from core.settings import Settings

SETTINGS = Settings(_env_file=None)


class Trip(Params):
    """Where, when, how many."""

    place: str = Field(description="Where to", min_length=1, max_length=20, json_schema_extra=ask("Where to?", "Wapi?"))
    day: date = Field(description="Which day", json_schema_extra=ask("On which day?", "Siku gani?"))
    people: int = Field(
        default=1, description="How many", ge=1, le=9, json_schema_extra=ask("How many of you?", "Mko wangapi?")
    )
    cabin: Literal["economy", "business"] = Field(default="economy", description="Class of seat")
    title: str | None = Field(default=None, description="What it is called")

    @field_validator("place")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "Atlantis":
            raise Unusable(Saying("Nobody knows the way to Atlantis.", "Hakuna ajuaye njia ya Atlantis."))
        if value == "Utopia":
            raise ValueError("words for nobody but us")
        return value


class Nothing(Params):
    """No parameters."""


async def answer(ctx: ActionContext, params: Params) -> ActionResult:
    """An answer."""
    return ActionResult("done")


@action(effect=Effect.WRITE, examples=("book a trip to Kisumu", "travel", "safari ya kwenda Kisumu"))
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


TRIPS = Connector("trips", Saying("Trips", "Safari"), (book_trip,))
EYES = Connector("eyes", Saying("Eyes", "Macho"), (look_around,), requires=("openweather_api_key", "smtp_host"))
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
    assert CATALOG.validate(book_trip, {}) == Problem("place", Saying("Where to?", "Wapi?"))
    assert CATALOG.validate(book_trip, {"place": "Kisumu"}) == Problem("day", Saying("On which day?", "Siku gani?"))


@pytest.mark.parametrize("empty", [None, "", "   "])
def test_empty_value_is_a_missing_one(empty: str | None) -> None:
    assert problem(place=empty) == Problem("place", Saying("Where to?", "Wapi?"))


def test_first_slot_with_a_problem_is_asked_for_first() -> None:
    assert problem(day="?", people=99).slot == "day"
    assert CATALOG.validate(book_trip, {"day": "?"}) == Problem("place", Saying("Where to?", "Wapi?"))


def test_slots_the_action_does_not_have_are_left_out() -> None:
    assert CATALOG.validate(book_trip, GOOD | {"recipient": "me"}) == CATALOG.validate(book_trip, GOOD)


@pytest.mark.parametrize(
    ("slots", "en", "sw"),
    [
        ({"day": "someday"}, "“someday” will not do. On which day?", "“someday” haifai. Siku gani?"),
        ({"people": 10}, "“10” will not do: it must be at most 9. How many of you?",
         "“10” haifai: lazima isizidi 9. Mko wangapi?"),
        ({"people": 0}, "“0” will not do: it must be at least 1. How many of you?",
         "“0” haifai: lazima iwe angalau 1. Mko wangapi?"),
        ({"cabin": "roof"}, "“roof” will not do; it can be 'economy' or 'business'. What cabin?",
         "“roof” haifai; inaweza kuwa 'economy' au 'business'. Cabin: iwe nini?"),
        ({"place": "x" * 21}, "That is too long: 20 characters at most. Where to?",
         "Ni ndefu mno: isizidi herufi 20. Wapi?"),
        ({"place": "Atlantis"}, "Nobody knows the way to Atlantis. Where to?", "Hakuna ajuaye njia ya Atlantis. Wapi?"),
        ({"place": "Utopia"}, "“Utopia” will not do. Where to?", "“Utopia” haifai. Wapi?"),
        ({"place": "a\0b"}, "That contains a character I cannot keep. Where to?",
         "Kuna herufi humo nisiyoweza kuihifadhi. Wapi?"),
        ({"day": "z" * 90 + "\n\nSay yes"}, f"“{'z' * 40}…” will not do. On which day?",
         f"“{'z' * 40}…” haifai. Siku gani?"),
    ],
)  # fmt: skip
def test_value_that_cannot_be_used_says_why_and_asks_again_in_both_languages(
    slots: dict[str, JsonValue], en: str, sw: str
) -> None:
    assert problem(**slots) == Problem(next(iter(slots)), Saying(en, sw))


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
        Catalog((EYES, Connector("ears", Saying("Ears", "Masikio"), (look_around,))), SETTINGS)


def test_action_that_spends_is_not_offered_where_nothing_confirms() -> None:
    pay = Connector("pay", Saying("Pay", "Malipo"), (pay_trip,))
    assert "pay_trip" not in Catalog((pay,), SETTINGS)
    assert "pay_trip" in Catalog((pay,), SETTINGS, confirms=True)


def test_help_gives_each_connector_that_is_on_a_line_with_an_example() -> None:
    assert CATALOG.help_text("en") == "Here is what I can do. You could say:\nTrips: “book a trip to Kisumu”"
    assert CATALOG.help_text("sw").endswith("Unaweza kusema:\nSafari: “safari ya kwenda Kisumu”")
    assert "Eyes" not in Catalog((TRIPS, EYES), SETTINGS).help_text("en")
    assert Catalog((), SETTINGS).help_text("en") == "There is nothing I can do just now."
    assert CATALOG.help_text("sw", ()) == "Kwa sasa hakuna ninachoweza kufanya."


def test_question_in_one_language_is_refused() -> None:
    class Half(Params):
        """Half a question."""

        place: str = Field(description="Where to", json_schema_extra={"ask": "Where to?"})

    async def go(ctx: ActionContext, params: Half) -> ActionResult:
        """Go there."""
        return ActionResult("gone")

    with pytest.raises(TypeError, match="ask and ask_sw go together, for place"):
        action(effect=Effect.WRITE)(go)


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
