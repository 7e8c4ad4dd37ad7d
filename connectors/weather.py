"""Weather: current conditions and a forecast, from OpenWeather where there is a key, else from Open-Meteo.

Both providers' answers become one `Forecast` before anything is worded.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date as Date
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.errors import InvalidSlot, ProviderUnavailable
from core.language import Saying, day, weekday_short
from core.messages import Table
from core.providers import Provider
from core.settings import Settings

OPEN_METEO_DAYS = 16
OPENWEATHER_DAYS = 5
OUTLOOK_DAYS = 4
"""How many days after today are shown to whoever named no day."""
PLACES_MAX = 10
"""How many places of a name are looked at when a country or region was named too."""
OPENWEATHER_PLACES = 5
UNKNOWN_CITY = Saying("I do not know a place called {city}. Which city?", "Sijui mahali panapoitwa {city}. Mji gani?")
PAST = Saying(
    "{day} is past, and I only look ahead. For which day?", "{day} imepita, nami naangalia mbele tu. Kwa siku gani?"
)
TOO_FAR = Saying("I can only see as far as {day}. For which day?", "Naweza kuona hadi {day} tu. Kwa siku gani?")
DAY = Saying("{place}, {day}: {sky}, {low} to {high} °C{rain}.", "{place}, {day}: {sky}, {low} hadi {high} °C{rain}.")
RAIN = Saying(", rain {percent} %", ", uwezekano wa mvua {percent} %")
NOW = Saying(" Now {degrees} °C, {sky}, wind {wind} km/h.", " Sasa {degrees} °C, {sky}, upepo {wind} km/h.")
COLUMNS = (Saying("Day", "Siku"), Saying("Sky", "Anga"), Saying("°C", "°C"), Saying("Rain", "Mvua"))


class Sky(StrEnum):
    """What it looks like outside, in words."""

    CLEAR = "clear"
    MAINLY_CLEAR = "mainly clear"
    PARTLY_CLOUDY = "partly cloudy"
    OVERCAST = "overcast"
    FOG = "fog"
    DRIZZLE = "drizzle"
    RAIN = "rain"
    SHOWERS = "showers"
    FREEZING_RAIN = "freezing rain"
    SNOW = "snow"
    THUNDERSTORM = "thunderstorm"


SEVERITY = tuple(Sky)
"""From the kindest to the worst."""
SKIES = {
    Sky.CLEAR: "anga safi",
    Sky.MAINLY_CLEAR: "anga wazi",
    Sky.PARTLY_CLOUDY: "mawingu kiasi",
    Sky.OVERCAST: "mawingu mengi",
    Sky.FOG: "ukungu",
    Sky.DRIZZLE: "manyunyu",
    Sky.RAIN: "mvua",
    Sky.SHOWERS: "mvua za muda",
    Sky.FREEZING_RAIN: "mvua ya barafu",
    Sky.SNOW: "theluji",
    Sky.THUNDERSTORM: "mvua ya radi",
}
"""The same in Swahili; no longer than the table of days fits beside on a phone."""


@dataclass(frozen=True, slots=True)
class Day:
    """One local day: temperatures in °C, the chance of rain in percent when it is known."""

    date: Date
    sky: Sky
    low_c: float
    high_c: float
    rain_percent: int | None


@dataclass(frozen=True, slots=True)
class Now:
    """The conditions at this moment."""

    sky: Sky
    temperature_c: float
    humidity_percent: int
    wind_kmh: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What any provider knows of one place: now, and whole local days from today on."""

    place: str
    country: str
    now: Now
    days: tuple[Day, ...]


class GetWeather(Params):
    """Where, and on which local day."""

    city: str = Field(
        description="Town or city, with its country or region when the name is common, e.g. Nairobi or Paris, Texas",
        min_length=1, max_length=80, json_schema_extra=ask("Which city?", "Mji gani?"),
    )  # fmt: skip
    date: Date | None = Field(
        default=None, description="Local day there as YYYY-MM-DD; today when left out",
        json_schema_extra=ask("For which day?", "Kwa siku gani?"),
    )  # fmt: skip


@action(
    effect=Effect.READ, cache_for=timedelta(minutes=10),
    examples=("what's the weather in Nairobi?", "will it rain in Mombasa tomorrow?", "hali ya hewa Kisumu leo"),
)  # fmt: skip
async def get_weather(ctx: ActionContext, params: GetWeather) -> ActionResult:
    """Current weather and the forecast for one day and place."""
    settings = ctx.settings
    key = settings.openweather_api_key.get_secret_value()
    if key:
        base_url = settings.openweather_base_url
        forecast = await ask_openweather(ctx.providers.client("OpenWeather", base_url), key, params.city)
    else:
        base_url = settings.open_meteo_base_url
        forecast = await ask_open_meteo(
            ctx.providers.client("Open-Meteo", base_url),
            ctx.providers.client("Open-Meteo places", settings.open_meteo_geo_base_url),
            params.city,
        )
    asked = pick(forecast, params.date)
    text = ctx.say(describe(forecast, asked))
    ahead = () if params.date else outlook(forecast, ctx.person.language)
    return ActionResult(text + (" · sandbox" if settings.is_sandbox(base_url) else ""), _data(forecast, asked), ahead)


def pick(forecast: Forecast, date: Date | None) -> Day:
    """The asked day of a forecast, today when none was asked; InvalidSlot when it is past or too far ahead."""
    first, last = forecast.days[0], forecast.days[-1]
    if date is None:
        return first
    if date < first.date:
        raise InvalidSlot("date", PAST.filled(day=day(date)))
    found = next((one for one in forecast.days if one.date == date), None)
    if found is None:
        raise InvalidSlot("date", TOO_FAR.filled(day=day(last.date)))
    return found


def describe(forecast: Forecast, of: Day) -> Saying:
    """The day in a sentence, and the conditions now in a second one when the day is today."""
    rain = "" if of.rain_percent is None else RAIN.filled(percent=of.rain_percent)
    low, high = round(of.low_c), round(of.high_c)
    told = DAY.filled(place=forecast.place, day=day(of.date), sky=_sky(of.sky), low=low, high=high, rain=rain)
    if of is not forecast.days[0]:
        return told
    now = forecast.now
    degrees, wind = round(now.temperature_c), round(now.wind_kmh)
    return Saying.joined("", told, NOW.filled(degrees=degrees, sky=_sky(now.sky), wind=wind))


def outlook(forecast: Forecast, language: str) -> tuple[Table, ...]:
    """The days after today as a table, for whoever named no day; nothing when there are none."""
    days = forecast.days[1 : 1 + OUTLOOK_DAYS]
    rows = tuple(
        (
            f"{weekday_short(one.date.weekday()).to(language)} {one.date.day}",
            _sky(one.sky).to(language).capitalize(),
            f"{round(one.low_c)}–{round(one.high_c)}",
            "" if one.rain_percent is None else f"{one.rain_percent} %",
        )
        for one in days
    )
    return (Table(columns=tuple(column.to(language) for column in COLUMNS), rows=rows),) if rows else ()


def _sky(sky: Sky) -> Saying:
    return Saying(sky.value, SKIES[sky])


def _data(forecast: Forecast, day: Day) -> Mapping[str, JsonValue]:
    data: dict[str, JsonValue] = {"place": forecast.place, "country": forecast.country}
    data |= {**asdict(day), "date": day.date.isoformat(), "sky": day.sky.value}
    if day is forecast.days[0]:
        data["now"] = {**asdict(forecast.now), "sky": forecast.now.sky.value}
    return data


T = TypeVar("T")


def _read(kind: type[T], body: object, provider: Provider) -> T:
    """A provider's answer as the type it should be; ProviderUnavailable when it is something else."""
    try:
        return TypeAdapter(kind).validate_python(body)
    except ValidationError:
        raise ProviderUnavailable(f"{provider.name} answered in a form we do not know.") from None


# Open-Meteo


class MeteoPlace(BaseModel):
    """A place as Open-Meteo's search finds it."""

    name: str
    latitude: float
    longitude: float
    country: str = ""
    country_code: str = ""
    admin1: str = ""

    def lies_in(self, region: str) -> bool:
        """Whether `region` names its country or the region it is in."""
        return region.casefold() in (self.country.casefold(), self.country_code.casefold(), self.admin1.casefold())


class MeteoPlaces(BaseModel):
    """The search's answer; the key is not there when nothing was found."""

    results: tuple[MeteoPlace, ...] = ()


class MeteoNow(BaseModel):
    """Current conditions."""

    temperature_2m: float
    relative_humidity_2m: int
    weather_code: int
    wind_speed_10m: float


class MeteoDays(BaseModel):
    """Columns, one value a day; values far ahead may be missing."""

    time: tuple[Date, ...]
    weather_code: tuple[int | None, ...]
    temperature_2m_min: tuple[float | None, ...]
    temperature_2m_max: tuple[float | None, ...]
    precipitation_probability_max: tuple[int | None, ...]


class MeteoForecast(BaseModel):
    """Current conditions and days, in the place's own time."""

    current: MeteoNow
    daily: MeteoDays


async def ask_open_meteo(weather: Provider, places: Provider, city: str) -> Forecast:
    """The forecast for the best-known place of that name; InvalidSlot when there is none."""
    name, _, region = (part.strip() for part in city.partition(","))
    count = PLACES_MAX if region else 1
    search: dict[str, str | int] = {"name": name, "count": count, "language": "en", "format": "json"}
    found = _read(MeteoPlaces, await places.get_json("/v1/search", search), places).results
    place = next((place for place in found if not region or place.lies_in(region)), None)
    if place is None:
        raise InvalidSlot("city", UNKNOWN_CITY.filled(city=city))
    body = await weather.get_json(
        "/v1/forecast",
        {
            "latitude": str(place.latitude),
            "longitude": str(place.longitude),
            "current": "temperature_2m,relative_humidity_2m,weather_code,wind_speed_10m",
            "daily": "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max",
            "timezone": "auto",
            "forecast_days": OPEN_METEO_DAYS,
        },
    )
    answer = _read(MeteoForecast, body, weather)
    current, daily = answer.current, answer.daily
    rows = zip(
        daily.time, daily.weather_code, daily.temperature_2m_min, daily.temperature_2m_max,
        daily.precipitation_probability_max, strict=False,
    )  # fmt: skip
    days = tuple(
        Day(date, sky_of_wmo(code), low, high, rain)
        for date, code, low, high, rain in rows
        if code is not None and low is not None and high is not None
    )
    if not days:
        raise ProviderUnavailable(f"{weather.name} answered without a forecast.")
    now = Now(
        sky_of_wmo(current.weather_code), current.temperature_2m, current.relative_humidity_2m, current.wind_speed_10m
    )
    shown = f"{place.name}, {place.country}" if region else place.name
    return Forecast(shown, place.country_code, now, days)


def sky_of_wmo(code: int) -> Sky:
    """A WMO weather code (table 4677, as Open-Meteo uses it) in our words."""
    match code:
        case 0:
            return Sky.CLEAR
        case 1:
            return Sky.MAINLY_CLEAR
        case 2:
            return Sky.PARTLY_CLOUDY
        case 45 | 48:
            return Sky.FOG
        case 51 | 53 | 55:
            return Sky.DRIZZLE
        case 56 | 57 | 66 | 67:
            return Sky.FREEZING_RAIN
        case 61 | 63 | 65:
            return Sky.RAIN
        case 80 | 81 | 82:
            return Sky.SHOWERS
        case 71 | 73 | 75 | 77 | 85 | 86:
            return Sky.SNOW
        case 95 | 96 | 99:
            return Sky.THUNDERSTORM
        case _:
            return Sky.OVERCAST


# OpenWeather


class OwPlace(BaseModel):
    """A place as OpenWeather's search finds it."""

    name: str
    lat: float
    lon: float
    country: str = ""
    state: str = ""

    def lies_in(self, region: str) -> bool:
        """Whether `region` is its country's code or the state it is in."""
        return region.casefold() in (self.country.casefold(), self.state.casefold())


class OwSky(BaseModel):
    """A condition by its id."""

    id: int


class OwMain(BaseModel):
    """Temperatures in °C and humidity in percent."""

    temp: float
    temp_min: float
    temp_max: float
    humidity: int


class OwWind(BaseModel):
    """Wind speed in m/s."""

    speed: float


class OwNow(BaseModel):
    """Current conditions at `dt`."""

    dt: int = Field(ge=0, lt=10**11)
    weather: tuple[OwSky, ...] = Field(min_length=1)
    main: OwMain
    wind: OwWind


class OwStep(BaseModel):
    """Three hours of the forecast; `dt` in seconds since 1970, `pop` the chance of rain from 0 to 1."""

    dt: int = Field(ge=0, lt=10**11)
    weather: tuple[OwSky, ...] = Field(min_length=1)
    main: OwMain
    pop: float = Field(default=0, ge=0, le=1)


class OwCity(BaseModel):
    """The place's shift from UTC in seconds."""

    timezone: int = Field(gt=-86_400, lt=86_400)


class OwForecast(BaseModel):
    """Five days in steps of three hours."""

    list: tuple[OwStep, ...] = Field(min_length=1)
    city: OwCity


async def ask_openweather(provider: Provider, key: str, city: str) -> Forecast:
    """The forecast for the best-known place of that name; InvalidSlot when there is none."""
    place = await _openweather_place(provider, key, city)
    if place is None:
        raise InvalidSlot("city", UNKNOWN_CITY.filled(city=city))
    where: dict[str, str | int] = {"lat": str(place.lat), "lon": str(place.lon), "units": "metric", "appid": key}
    current = _read(OwNow, await provider.get_json("/data/2.5/weather", where), provider)
    steps = _read(OwForecast, await provider.get_json("/data/2.5/forecast", where), provider)
    now = Now(
        sky_of_openweather(current.weather[0].id), current.main.temp, current.main.humidity, current.wind.speed * 3.6
    )
    shown = f"{place.name}, {place.country}" if "," in city else place.name
    return Forecast(shown, place.country, now, _days(current, steps))


async def _openweather_place(provider: Provider, key: str, city: str) -> OwPlace | None:
    """The best-known place of that name, in the region that was named with it."""
    name, _, region = (part.strip() for part in city.partition(","))

    async def search(query: str, limit: int) -> tuple[OwPlace, ...]:
        asked: dict[str, str | int] = {"q": query, "limit": limit, "appid": key}
        return _read(tuple[OwPlace, ...], await provider.get_json("/geo/1.0/direct", asked), provider)

    found = await search(f"{name},{region}" if region else name, 1)
    if not found and region:
        # The search itself only knows regions by their codes.
        found = tuple(place for place in await search(name, OPENWEATHER_PLACES) if place.lies_in(region))
    return found[0] if found else None


def _days(current: OwNow, forecast: OwForecast) -> tuple[Day, ...]:
    """Whole local days out of steps of three hours; today begins with the conditions now."""
    zone = timezone(timedelta(seconds=forecast.city.timezone))
    today = datetime.fromtimestamp(current.dt, zone).date()
    by_date: dict[Date, list[OwStep]] = {today: []}
    for step in forecast.list:
        by_date.setdefault(datetime.fromtimestamp(step.dt, zone).date(), []).append(step)
    days: list[Day] = []
    for date, steps in sorted(by_date.items())[:OPENWEATHER_DAYS]:
        mains = [step.main for step in steps] + ([current.main] if date == today else [])
        # Late in the evening nothing of today is left in the forecast, only the conditions now.
        skies = [sky_of_openweather(step.weather[0].id) for step in steps or (current,)]
        rain = round(max(step.pop for step in steps) * 100) if steps else None
        low, high = min(main.temp_min for main in mains), max(main.temp_max for main in mains)
        days.append(Day(date, _usual(skies), low, high, rain))
    return tuple(days)


def _usual(skies: list[Sky]) -> Sky:
    """The sky seen most often; of several, the worst."""
    counts = Counter(skies)
    return max(counts, key=lambda sky: (counts[sky], SEVERITY.index(sky)))


def sky_of_openweather(code: int) -> Sky:
    """An OpenWeather condition id in our words."""
    match code:
        case 800:
            return Sky.CLEAR
        case 801:
            return Sky.MAINLY_CLEAR
        case 802:
            return Sky.PARTLY_CLOUDY
        case 511:
            return Sky.FREEZING_RAIN
        case 520 | 521 | 522 | 531:
            return Sky.SHOWERS
    kinds = {2: Sky.THUNDERSTORM, 3: Sky.DRIZZLE, 5: Sky.RAIN, 6: Sky.SNOW, 7: Sky.FOG}
    return kinds.get(code // 100, Sky.OVERCAST)


def asked_at(settings: Settings) -> str:
    """Whose forecast it is."""
    keyed = settings.openweather_api_key.get_secret_value()
    return settings.openweather_base_url if keyed else settings.open_meteo_base_url


connector = Connector(name="weather", title=Saying("Weather", "Hali ya hewa"), actions=(get_weather,), asks=asked_at)
