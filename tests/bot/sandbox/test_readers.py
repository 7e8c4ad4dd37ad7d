"""Weather, places and rates: shapes, errors, and data that stays the same and agrees with itself."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from bot.sandbox.climate import sun_times, weather_at
from bot.sandbox.places import COUNTRIES, PLACES, find, nearest
from bot.sandbox.rates import CURRENCIES, business_day, rate
from tests.bot.sandbox.conftest import Lab

TODAY = date(2026, 11, 23)
FORECAST = "/open-meteo/v1/forecast?latitude=-1.28&longitude=36.82"


async def test_open_meteo_finds_places_and_leaves_the_key_out_when_there_are_none(lab: Lab) -> None:
    found = (await lab.http.get("/open-meteo/v1/search?name=nairobi&count=5&language=en&format=json")).json()
    first = found["results"][0]
    assert (first["name"], first["country_code"], first["timezone"]) == ("Nairobi", "KE", "Africa/Nairobi")
    namesakes = (await lab.http.get("/open-meteo/v1/search?name=London")).json()["results"]
    assert [place["country"] for place in namesakes] == ["United Kingdom", "Canada"]
    assert "results" not in (await lab.http.get("/open-meteo/v1/search?name=Atlantis")).json()
    assert [row["kind"] for row in await lab.truth("open-meteo")] == ["search"] * 3


async def test_open_meteo_forecasts_in_the_places_time(lab: Lab) -> None:
    current = "temperature_2m,relative_humidity_2m,apparent_temperature,precipitation,weather_code,wind_speed_10m"
    daily = "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max,sunrise,sunset"
    url = f"{FORECAST}&current={current}&daily={daily}&hourly=temperature_2m&timezone=auto&forecast_days=3"
    body = (await lab.http.get(url)).json()
    assert (body["timezone"], body["utc_offset_seconds"], body["timezone_abbreviation"]) == (
        "Africa/Nairobi",
        10800,
        "GMT+3",
    )
    assert set(body["current"]) == {"time", "interval", *current.split(",")}
    assert set(body["daily"]) == {"time", *daily.split(",")}
    assert {len(values) for values in body["daily"].values()} == {3}
    assert {len(values) for values in body["hourly"].values()} == {72}
    assert body["daily_units"]["temperature_2m_max"] == "°C"
    now = datetime.now(ZoneInfo("Africa/Nairobi"))
    assert body["daily"]["time"][0] in {now.date().isoformat(), (now - timedelta(minutes=1)).date().isoformat()}
    for low, high in zip(body["daily"]["temperature_2m_min"], body["daily"]["temperature_2m_max"], strict=True):
        assert 5 < low < high < 35
    fahrenheit = (await lab.http.get(f"{FORECAST}&current=temperature_2m&temperature_unit=fahrenheit")).json()
    assert fahrenheit["current_units"]["temperature_2m"] == "°F"
    assert fahrenheit["timezone"] == "GMT"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?longitude=1", "latitude"),
        ("?latitude=91&longitude=1", "range of -90 to 90"),
        ("?latitude=nan&longitude=1", "range"),
        ("?latitude=1&longitude=1&daily=tempeture_2m", "WeatherVariable from invalid String value tempeture_2m"),
        ("?latitude=1&longitude=1&timezone=Mars/Base", "Invalid timezone"),
        ("?latitude=1&longitude=1&timezone=../etc", "Invalid timezone"),
        ("?latitude=1&longitude=1&forecast_days=17", "Forecast days is invalid"),
        ("?latitude=1&longitude=1&start_date=2020-01-01&end_date=2020-01-02", "out of allowed range"),
        ("?latitude=1&longitude=1&wether=1", "Unknown parameter"),
    ],
)
async def test_open_meteo_gives_its_reason(lab: Lab, query: str, words: str) -> None:
    answer = await lab.http.get("/open-meteo/v1/forecast" + query)
    assert (answer.status_code, answer.json()["error"]) == (400, True)
    assert words in answer.json()["reason"]


async def test_openweather_geocodes_and_tells_now_and_five_days(lab: Lab) -> None:
    key = "appid=sandbox-key&units=metric"
    place = (await lab.http.get(f"/openweather/geo/1.0/direct?q=Nairobi,KE&limit=5&{key}")).json()[0]
    assert (place["name"], place["country"]) == ("Nairobi", "KE")
    assert (await lab.http.get(f"/openweather/geo/1.0/direct?q=Atlantis&{key}")).json() == []
    where = f"lat={place['lat']}&lon={place['lon']}&{key}"
    now = (await lab.http.get(f"/openweather/data/2.5/weather?{where}")).json()
    assert (now["cod"], now["name"], now["timezone"]) == (200, "Nairobi", 10800)
    forecast = (await lab.http.get(f"/openweather/data/2.5/forecast?{where}")).json()
    assert (forecast["cod"], forecast["cnt"], len(forecast["list"])) == ("200", 40, 40)
    steps = [step["dt"] for step in forecast["list"]]
    assert {later - earlier for earlier, later in pairwise(steps)} == {3 * 3600}
    kelvin = (await lab.http.get("/openweather/data/2.5/weather?q=Nairobi&appid=sandbox")).json()
    assert abs(kelvin["main"]["temp"] - now["main"]["temp"] - 273.15) < 3


@pytest.mark.parametrize(
    ("path", "status", "cod"),
    [
        ("weather?q=Nairobi&appid=wrong", 401, 401),
        ("weather?q=Nairobi", 401, 401),
        ("weather?q=Atlantis&appid=sandbox", 404, "404"),
        ("weather?appid=sandbox", 400, "400"),
        ("weather?lat=x&lon=1&appid=sandbox", 400, "400"),
        ("forecast?q=Nairobi&cnt=41&appid=sandbox", 400, "400"),
    ],
)
async def test_openweather_refuses_as_documented(lab: Lab, path: str, status: int, cod: int | str) -> None:
    answer = await lab.http.get(f"/openweather/data/2.5/{path}")
    assert (answer.status_code, answer.json()["cod"]) == (status, cod)


async def test_both_rate_providers_agree(lab: Lab) -> None:
    pair = (await lab.http.get("/frankfurter/v2/rate/USD/KES")).json()
    assert set(pair) == {"date", "base", "quote", "rate"}
    rates = (await lab.http.get("/frankfurter/v2/rates?base=USD&quotes=KES,UGX,EUR")).json()
    assert {r["quote"] for r in rates} == {"KES", "UGX", "EUR"}
    assert pair in rates
    latest = (await lab.http.get("/exchangerate/v6/sandbox-key/latest/USD")).json()
    assert (latest["result"], latest["conversion_rates"]["USD"]) == ("success", 1)
    assert abs(latest["conversion_rates"]["KES"] / pair["rate"] - 1) < 0.02
    exact = (await lab.http.get("/exchangerate/v6/sandbox-key/pair/USD/KES/10")).json()
    assert exact["conversion_rate"] == latest["conversion_rates"]["KES"]
    assert exact["conversion_result"] == float(Decimal(str(exact["conversion_rate"])) * 10)
    history = (await lab.http.get("/frankfurter/v2/rates?base=EUR&quotes=KES&from=2026-11-02&to=2026-11-08")).json()
    assert [r["date"] for r in history] == [f"2026-11-0{n}" for n in range(2, 7)]


@pytest.mark.parametrize(
    ("path", "status", "find"),
    [
        ("/frankfurter/v2/rate/USD/XXX", 422, ("message", "invalid currency: XXX")),
        ("/frankfurter/v2/rates?base=USD&quotes=KES,ZZZ", 422, ("message", "invalid currency: ZZZ")),
        ("/frankfurter/v2/rates?date=soon", 422, ("message", "invalid date")),
        ("/frankfurter/v2/rates?symbols=KES", 422, ("message", "unknown parameter: symbols")),
        ("/frankfurter/v2/nothing", 404, ("message", "not found")),
        ("/exchangerate/v6/wrong/latest/USD", 403, ("error-type", "invalid-key")),
        ("/exchangerate/v6/sandbox-inactive/latest/USD", 403, ("error-type", "inactive-account")),
        ("/exchangerate/v6/sandbox-quota/latest/USD", 403, ("error-type", "quota-reached")),
        ("/exchangerate/v6/sandbox/latest/XXX", 404, ("error-type", "unsupported-code")),
        ("/exchangerate/v6/sandbox/latest/US", 404, ("error-type", "malformed-request")),
        ("/exchangerate/v6/sandbox/pair/USD/KES/ten", 404, ("error-type", "malformed-request")),
    ],
)
async def test_rate_providers_refuse_as_documented(lab: Lab, path: str, status: int, find: tuple[str, str]) -> None:
    answer = await lab.http.get(path)
    assert (answer.status_code, answer.json()[find[0]]) == (status, find[1])


def test_crosses_agree_to_the_last_digits() -> None:
    for code in CURRENCIES:
        there, back = rate("KES", code, TODAY), rate(code, "KES", TODAY)
        assert abs(there * back - 1) < Decimal("0.00001"), code
        via = rate("KES", "USD", TODAY) * rate("USD", code, TODAY)
        assert abs(via / there - 1) < Decimal("0.00002"), code
    assert rate("USD", "KES", TODAY) != rate("USD", "KES", TODAY - timedelta(days=1))
    assert business_day(date(2026, 11, 22)) == date(2026, 11, 20)


def test_every_place_can_be_found_and_has_a_zone() -> None:
    assert len({place.id for place in PLACES}) == len(PLACES) >= 60
    for place in PLACES:
        assert place in find(place.name)
        assert place.country_code in COUNTRIES
        assert nearest(place.latitude, place.longitude)[0] == place
        ZoneInfo(place.zone)
    assert find("N") == []
    assert [place.name for place in find("nai")] == ["Nairobi", "Naivasha"]


def test_weather_fits_the_place_and_stays_the_same() -> None:
    noon = datetime(2026, 7, 15, 9, tzinfo=UTC)
    nairobi, mombasa = (find(name)[0] for name in ("Nairobi", "Mombasa"))
    for place in (nairobi, mombasa):
        here = (place.latitude, place.longitude, place.elevation_m, noon)
        assert weather_at(*here) == weather_at(*here)

    def mean(name: str, month: int) -> float:
        place = find(name)[0]
        days = [datetime(2026, month, day, hour, tzinfo=UTC) for day in range(1, 29) for hour in (0, 6, 12, 18)]
        return sum(weather_at(place.latitude, place.longitude, place.elevation_m, d).temperature_c for d in days) / len(
            days
        )

    assert 15 < mean("Nairobi", 7) < 23 < mean("Mombasa", 7) < 31
    assert mean("London", 1) < 8 < 13 < mean("London", 7) < 26
    assert mean("Sydney", 1) > mean("Sydney", 7) + 5
    rise, fall = sun_times(nairobi.latitude, nairobi.longitude, TODAY)
    assert timedelta(hours=11, minutes=50) < fall - rise < timedelta(hours=12, minutes=20)
    assert (rise + timedelta(hours=3)).hour == 6
