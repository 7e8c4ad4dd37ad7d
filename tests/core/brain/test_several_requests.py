"""Where a message falls into several requests, and where it is one although there is an "and" in it."""

import pytest

from core.dialog import DialogState, Intent, Plan
from core.messages import Reply, text_of
from tests.core.brain.test_rules import BRAIN, CATALOG, turn
from tests.skills import needs

pytestmark = needs("weather", "currency", "reminders", "contacts")


async def steps(text: str, state: DialogState | None = None) -> list[str]:
    """What is done for a message: each action with its first values, or the first words of a reply."""
    thought = await BRAIN.think(turn(text, state=state), CATALOG.offered)
    found = thought.steps if isinstance(thought, Plan) else (thought,)
    return [shortly(step) for step in found]


def shortly(step: Intent | Reply) -> str:
    if isinstance(step, Reply):
        return text_of(step.parts).partition(".")[0]
    return " ".join((step.action, *map(str, step.slots.values())))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "what's the weather in Nairobi and convert 100 USD to KES",
            ["get_weather Nairobi", "convert_currency 100 USD KES"],
        ),
        (
            "remind me at 5pm to call mum. And what's the weather in Kisumu tomorrow?",
            ["set_reminder 2026-11-24T17:00 call mum", "get_weather Kisumu 2026-11-25"],
        ),
        (
            "hali ya hewa Kisumu kesho halafu nikumbushe kupiga simu saa tatu asubuhi kesho",
            ["get_weather Kisumu 2026-11-25", "set_reminder 2026-11-25T09:00 kupiga simu"],
        ),
        (
            "save Asha's number 0722 123 456 and remind me to call her at 5pm",
            ["save_contact Asha 0722 123 456", "set_reminder 2026-11-24T17:00 call her"],
        ),
        (
            "weather in Kisumu\nconvert 50 euros to shillings\nremind me at 6pm to pay rent",
            ["get_weather Kisumu", "convert_currency 50 EUR KES", "set_reminder 2026-11-24T18:00 pay rent"],
        ),
        (
            "badilisha 100 usd kwa kes na unikumbushe kulipa kodi kesho saa mbili asubuhi",
            ["convert_currency 100 USD KES", "set_reminder 2026-11-25T08:00 kulipa kodi"],
        ),
        ("cancel my reminders and tell me the weather in Nakuru", ["cancel_reminder", "get_weather Nakuru"]),
        ("weather in Nairobi and Mombasa", ["get_weather Nairobi", "get_weather Mombasa"]),
        (
            "weather in Nairobi, Mombasa and Kisumu tomorrow",
            ["get_weather Nairobi 2026-11-25", "get_weather Mombasa 2026-11-25", "get_weather Kisumu 2026-11-25"],
        ),
        ("100 usd in kes and in eur", ["convert_currency 100 USD KES", "convert_currency 100 USD EUR"]),
        (
            "find flights to Kisumu on Friday and a hotel there",
            [
                "I understood that you want to find a flight",
                "I understood that you want to find a place to stay",
            ],
        ),
    ],
)  # fmt: skip
async def test_several_requests_are_a_plan(text: str, wanted: list[str]) -> None:
    assert await steps(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "remind me to buy milk and call John tomorrow at 9",
        "remind me to call mum and then check the weather at 6pm",
        "remind me every Monday and Wednesday at 9 to run",
        "will it rain in Kisumu tomorrow and is it cold",
        "what is the weather in London and how hot is it",
        "weather for Dar es Salaam, Tanzania",
        "weather in Trinidad and Tobago",
        "hi. what's the weather in Nairobi?",
        "nikumbushe kununua maziwa na mkate kesho saa tatu asubuhi",
        "When I get paid, send a whatsapp to my accountant and remind me to celebrate",
        "and and and, then; . and",
        "weather " * 100 + "and weather in Nairobi",
    ],
)
async def test_one_request_stays_one(text: str) -> None:
    assert len(await steps(text)) == 1


async def test_an_answer_can_be_followed_by_a_request() -> None:
    state = DialogState("get_weather", {}, ("city",))
    assert await steps("Kisumu. And convert 100 USD to KES", state) == [
        "get_weather Kisumu",
        "convert_currency 100 USD KES",
    ]
    asked = DialogState("set_reminder", {"content": "call mum"}, ("time",))
    assert await steps("tomorrow, at 5pm", asked) == ["set_reminder 2026-11-25T17:00"]
