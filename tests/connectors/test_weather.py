"""Weather from both providers, over real sockets, with and without trouble."""

import json
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from channels.degrade import CLOUD, TELEGRAM, TWILIO, TextPiece, pieces
from connectors.weather import (
    OUTLOOK_DAYS,
    Day,
    Forecast,
    GetWeather,
    Now,
    Sky,
    describe,
    get_weather,
    outlook,
    pick,
    sky_of_openweather,
    sky_of_wmo,
)
from core.actions import ActionContext
from core.errors import InvalidSlot, ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from core.language import Saying
from core.messages import Table
from core.settings import Settings
from tests.conftest import Sandbox
from tests.connectors.conftest import MakeContext

NAIROBI = ZoneInfo("Africa/Nairobi")
TODAY_LINE = re.compile(
    r"Nairobi, (Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{1,2} \w{3}: [a-z ]+, -?\d+ to -?\d+ °C(, rain \d+ %)?\. "
    r"Now -?\d+ °C, [a-z ]+, wind \d+ km/h\. · sandbox"
)
FORECAST = Forecast(
    "Nairobi", "KE", Now(Sky.RAIN, 21.4, 80, 9.6),
    (Day(date(2026, 11, 24), Sky.PARTLY_CLOUDY, 15.6, 25.2, 20), Day(date(2026, 11, 25), Sky.CLEAR, -0.4, 24.0, None)),
)  # fmt: skip


@pytest.fixture(params=["Open-Meteo", "OpenWeather"])
def context(
    request: pytest.FixtureRequest, make_context: MakeContext, settings: Settings, sandbox: Sandbox
) -> ActionContext:
    """A context for either provider: without a key, and with one."""
    if request.param == "OpenWeather":
        key = SecretStr("sandbox-weather-key")
        base_url = f"{sandbox.url}/openweather"
        settings = settings.model_copy(update={"openweather_api_key": key, "openweather_base_url": base_url})
    return make_context(settings=settings)


def plan(context: ActionContext, sandbox: Sandbox, *faults: Any, times: int | None = None, path: str = "") -> None:
    """Trouble at the provider of this context."""
    name = "openweather" if context.settings.openweather_api_key.get_secret_value() else "open-meteo"
    body = {"plan": list(faults), "times": len(faults) if times is None else times}
    if path:
        body["match"] = {"path": path}
    assert sandbox.post(f"/{name}/_faults", json.dumps(body)) < 300


async def test_today_says_the_day_the_conditions_now_and_that_it_is_a_sandbox(context: ActionContext) -> None:
    result = await get_weather.run(context, GetWeather(city="Nairobi"))
    assert TODAY_LINE.fullmatch(result.text), result.text
    assert result.data["country"] == "KE"
    assert result.data["date"] == datetime.now(NAIROBI).date().isoformat()
    [table] = result.parts
    assert isinstance(table, Table)
    coming = [datetime.now(NAIROBI).date() + timedelta(days=n) for n in range(1, 1 + OUTLOOK_DAYS)]
    assert [row[0] for row in table.rows] == [f"{day:%a} {day.day}" for day in coming]
    assert all(re.fullmatch(r"-?\d+–-?\d+", row[2]) for row in table.rows)


async def test_coming_day_has_no_conditions_now(context: ActionContext) -> None:
    tomorrow = datetime.now(NAIROBI).date() + timedelta(days=1)
    result = await get_weather.run(context, GetWeather(city="nairobi", date=tomorrow))
    assert f"{tomorrow.day} {tomorrow:%b}" in result.text
    assert "Now" not in result.text
    assert result.parts == ()
    assert result.data["date"] == tomorrow.isoformat()


async def test_unknown_city_is_asked_for_again(context: ActionContext) -> None:
    with pytest.raises(InvalidSlot, match=r"I do not know a place called Xyzzyville\. Which city\?") as problem:
        await get_weather.run(context, GetWeather(city="Xyzzyville"))
    assert problem.value.slot == "city"


async def test_region_chooses_among_places_of_one_name(context: ActionContext) -> None:
    texan = await get_weather.run(context, GetWeather(city="Paris, Texas"))
    french = await get_weather.run(context, GetWeather(city="Paris, FR"))
    assert (texan.data["country"], french.data["country"]) == ("US", "FR")
    with pytest.raises(InvalidSlot):
        await get_weather.run(context, GetWeather(city="Paris, Atlantis"))


@pytest.mark.parametrize(("days", "words"), [(-2, "is past"), (40, "I can only see as far as"), (3650, "as far as")])
async def test_day_that_no_forecast_has_is_asked_for_again(context: ActionContext, days: int, words: str) -> None:
    day = datetime.now(NAIROBI).date() + timedelta(days=days)
    with pytest.raises(InvalidSlot, match=words) as problem:
        await get_weather.run(context, GetWeather(city="Nairobi", date=day))
    assert problem.value.slot == "date"


TOO_MANY = {"fault": "429", "retry_after": 0}


@pytest.mark.parametrize("fault", ["500_not_executed", "reset_before_read", "refuse", TOO_MANY])
async def test_passing_trouble_is_tried_over(context: ActionContext, sandbox: Sandbox, fault: Any) -> None:
    plan(context, sandbox, fault, fault)
    result = await get_weather.run(context, GetWeather(city="Nairobi"))
    assert TODAY_LINE.fullmatch(result.text)


async def test_lasting_trouble_is_an_error_worth_a_later_try(context: ActionContext, sandbox: Sandbox) -> None:
    plan(context, sandbox, "500_not_executed", times=3)
    with pytest.raises(ProviderUnavailable):
        await get_weather.run(context, GetWeather(city="Nairobi"))
    assert TODAY_LINE.fullmatch((await get_weather.run(context, GetWeather(city="Nairobi"))).text)


@pytest.mark.parametrize("fault", ["200_html", "200_truncated_json"])
async def test_nonsense_is_not_taken_for_weather(context: ActionContext, sandbox: Sandbox, fault: str) -> None:
    plan(context, sandbox, fault, times=3)
    with pytest.raises(ProviderUnavailable):
        await get_weather.run(context, GetWeather(city="Nairobi"))


async def test_being_told_to_wait_too_long_is_not_waited_for(context: ActionContext, sandbox: Sandbox) -> None:
    plan(context, sandbox, {"fault": "429", "retry_after": 60})
    with pytest.raises(RateLimited) as problem:
        await get_weather.run(context, GetWeather(city="Nairobi"))
    assert problem.value.retry_after_s == 60


async def test_wrong_key_is_refused_and_not_tried_again(
    make_context: MakeContext, settings: Settings, sandbox: Sandbox
) -> None:
    wrong = {"openweather_api_key": SecretStr("wrong"), "openweather_base_url": f"{sandbox.url}/openweather"}
    context = make_context(settings=settings.model_copy(update=wrong))
    with pytest.raises(ProviderRefused) as problem:
        await get_weather.run(context, GetWeather(city="Nairobi"))
    assert not isinstance(problem.value, ProviderError)
    assert "wrong" not in str(problem.value)


def test_sentence_as_it_should_read() -> None:
    assert describe(FORECAST, FORECAST.days[0]) == Saying(
        "Nairobi, Tue 24 Nov: partly cloudy, 16 to 25 °C, rain 20 %. Now 21 °C, rain, wind 10 km/h.",
        "Nairobi, Jumanne 24 Nov: mawingu kiasi, 16 hadi 25 °C, uwezekano wa mvua 20 %. Sasa 21 °C, mvua,"
        " upepo 10 km/h.",
    )
    assert describe(FORECAST, FORECAST.days[1]) == Saying(
        "Nairobi, Wed 25 Nov: clear, 0 to 24 °C.", "Nairobi, Jumatano 25 Nov: anga safi, 0 hadi 24 °C."
    )


@pytest.mark.parametrize("language", ["en", "sw"])
@pytest.mark.parametrize("sky", [sky for sky in Sky if sky is not Sky.FREEZING_RAIN])
def test_days_ahead_stand_in_columns_on_a_phone(sky: Sky, language: str) -> None:
    days = tuple(Day(date(2026, 11, 24 + n), sky, 14, 26, 100) for n in range(3))
    for can in (TWILIO, CLOUD, TELEGRAM):
        [piece] = pieces(outlook(replace(FORECAST, days=days), language), can)
        assert isinstance(piece, TextPiece)
        assert len(piece.text.splitlines()) == 3


def test_no_day_is_the_first_day() -> None:
    assert pick(FORECAST, None) is FORECAST.days[0]


@pytest.mark.parametrize(
    ("code", "sky"),
    [(0, "clear"), (1, "mainly clear"), (2, "partly cloudy"), (3, "overcast"), (48, "fog"), (55, "drizzle"),
     (57, "freezing rain"), (63, "rain"), (75, "snow"), (81, "showers"), (86, "snow"), (99, "thunderstorm"),
     (12345, "overcast")],
)  # fmt: skip
def test_wmo_codes_become_words(code: int, sky: str) -> None:
    assert sky_of_wmo(code) == sky


@pytest.mark.parametrize(
    ("code", "sky"),
    [(211, "thunderstorm"), (300, "drizzle"), (501, "rain"), (511, "freezing rain"), (521, "showers"), (601, "snow"),
     (741, "fog"), (800, "clear"), (801, "mainly clear"), (802, "partly cloudy"), (804, "overcast"), (99, "overcast")],
)  # fmt: skip
def test_openweather_conditions_become_words(code: int, sky: str) -> None:
    assert sky_of_openweather(code) == sky
