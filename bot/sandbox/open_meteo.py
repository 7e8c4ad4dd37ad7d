"""Open-Meteo: place search and forecasts, without a key."""

import math
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, time, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.climate import Weather, sun_times, weather_at
from bot.sandbox.faults import Faults
from bot.sandbox.places import COUNTRIES, Place, find, nearest
from bot.sandbox.truth import Disk, Journal, JsonObject

COUNT_MAX = 100
DAYS_MAX = 16
PAST_DAYS_MAX = 92
SPAN_DAYS_MAX = 120
NEAR_KM = 60.0

HOURLY: dict[str, tuple[str, Callable[[Weather], float]]] = {
    "temperature_2m": ("°C", lambda w: w.temperature_c),
    "apparent_temperature": ("°C", lambda w: w.feels_like_c),
    "dew_point_2m": ("°C", lambda w: round(w.temperature_c - (100 - w.humidity_percent) / 5, 1)),
    "relative_humidity_2m": ("%", lambda w: w.humidity_percent),
    "precipitation": ("mm", lambda w: w.rain_mm),
    "rain": ("mm", lambda w: w.rain_mm if w.code < 70 or w.code > 79 else 0.0),
    "showers": ("mm", lambda w: 0.0),
    "snowfall": ("cm", lambda w: round(w.rain_mm * 0.7, 2) if 70 < w.code < 80 else 0.0),
    "precipitation_probability": ("%", lambda w: w.rain_chance_percent),
    "weather_code": ("wmo code", lambda w: w.code),
    "cloud_cover": ("%", lambda w: w.cloud_percent),
    "pressure_msl": ("hPa", lambda w: w.pressure_hpa),
    "surface_pressure": ("hPa", lambda w: w.pressure_hpa),
    "wind_speed_10m": ("km/h", lambda w: w.wind_kmh),
    "wind_direction_10m": ("°", lambda w: w.wind_degrees),
    "wind_gusts_10m": ("km/h", lambda w: round(w.wind_kmh * 1.7, 1)),
    "visibility": ("m", lambda w: 24_140.0 if w.rain_mm == 0 else 9_000.0),
}
_Daily = Callable[[list[Weather]], float]
DAILY: dict[str, tuple[str, _Daily]] = {
    "weather_code": ("wmo code", lambda hours: max(w.code for w in hours)),
    "temperature_2m_max": ("°C", lambda hours: max(w.temperature_c for w in hours)),
    "temperature_2m_min": ("°C", lambda hours: min(w.temperature_c for w in hours)),
    "temperature_2m_mean": ("°C", lambda hours: round(fmean(w.temperature_c for w in hours), 1)),
    "apparent_temperature_max": ("°C", lambda hours: max(w.feels_like_c for w in hours)),
    "apparent_temperature_min": ("°C", lambda hours: min(w.feels_like_c for w in hours)),
    "precipitation_sum": ("mm", lambda hours: round(sum(w.rain_mm for w in hours), 1)),
    "rain_sum": ("mm", lambda hours: round(sum(w.rain_mm for w in hours), 1)),
    "precipitation_hours": ("h", lambda hours: float(sum(1 for w in hours if w.rain_mm))),
    "precipitation_probability_max": ("%", lambda hours: max(w.rain_chance_percent for w in hours)),
    "wind_speed_10m_max": ("km/h", lambda hours: max(w.wind_kmh for w in hours)),
    "wind_gusts_10m_max": ("km/h", lambda hours: round(max(w.wind_kmh for w in hours) * 1.7, 1)),
    "wind_direction_10m_dominant": ("°", lambda hours: hours[12].wind_degrees),
    "uv_index_max": ("", lambda hours: round(11.5 - max(w.cloud_percent for w in hours) / 20, 2)),
}
SUN = {"sunrise": "iso8601", "sunset": "iso8601", "daylight_duration": "s"}
NAMES = {
    "latitude", "longitude", "elevation", "current", "hourly", "daily", "timezone", "forecast_days", "past_days",
    "start_date",
    "end_date", "temperature_unit", "wind_speed_unit", "precipitation_unit", "timeformat", "models",
    "cell_selection", "apikey",
    "forecast_hours", "past_hours", "format",
}  # fmt: skip


class Refused(Exception):
    """The API says no; the message is its reason."""


def refuse(reason: str, status: int = 400) -> Answer:
    """The API's error body."""
    return answer_json({"error": True, "reason": reason}, status)


class OpenMeteo:
    """The simulator of Open-Meteo; both hosts (geocoding and forecast) are one here."""

    name = "open-meteo"

    def __init__(self, disk: Disk, now: Callable[[], datetime]) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._now = now

    def too_many(self, retry_after_s: int) -> Answer:
        """Open-Meteo's 429."""
        answer = refuse("Minutely API request limit exceeded. Please try again in one minute.", 429)
        answer.headers = {"Retry-After": str(retry_after_s)}
        return answer

    def broken(self) -> Answer:
        """Open-Meteo's 500."""
        return refuse("Internal Server Error", 500)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.method != "GET" or call.path not in ("/v1/search", "/v1/forecast"):
            return refuse("Not Found", 404)
        try:
            body = self._search(call) if call.path == "/v1/search" else self._forecast(call)
        except Refused as error:
            return refuse(str(error))
        row: JsonObject = {
            "kind": "search" if call.path == "/v1/search" else "forecast",
            "query": dict(call.query.items()),
        }
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer_json(body)

    def _search(self, call: Call) -> JsonObject:
        name = call.query.get("name")
        if name is None:
            raise Refused("Parameter 'name' is required.")
        count = _integer(call, "count", 10)
        if not 1 <= count <= COUNT_MAX:
            raise Refused(f"Parameter count must be between 1 and {COUNT_MAX}.")
        places = find(name, call.query.get("countryCode", "").upper())[:count]
        body: JsonObject = {"generationtime_ms": 0.42}
        # Where nothing is found the key is missing, as in production.
        return {"results": [_as_result(place) for place in places]} | body if places else body

    def _forecast(self, call: Call) -> JsonObject:
        unknown = set(call.query) - NAMES
        if unknown:
            raise Refused(f"Unknown parameter '{sorted(unknown)[0]}'")
        latitude, longitude = _degrees(call, "latitude", 90), _degrees(call, "longitude", 180)
        place, distance = nearest(latitude, longitude)
        elevation = place.elevation_m if distance < NEAR_KM else 0.0
        zone, zone_name = self._zone(call.query.get("timezone"), place, distance)
        now = self._now().astimezone(zone)
        units = _Units(call)
        body: JsonObject = {
            "latitude": round(latitude * 16) / 16,
            "longitude": round(longitude * 16) / 16,
            "generationtime_ms": 0.11,
            "utc_offset_seconds": round((now.utcoffset() or timedelta()).total_seconds()),
            "timezone": zone_name,
            "timezone_abbreviation": _abbreviation(now),
            "elevation": elevation,
        }

        def at(moment: datetime) -> Weather:
            return weather_at(latitude, longitude, elevation, moment)

        if names := _names(call, "current", HOURLY):
            quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
            hour = at(quarter)
            body["current_units"] = {"time": "iso8601", "interval": "seconds"} | {
                n: units.name(HOURLY[n][0]) for n in names
            }
            body["current"] = {"time": _local(quarter), "interval": 900} | {
                n: units.convert(HOURLY[n][1](hour), HOURLY[n][0]) for n in names
            }
        days = self._days(call, now.date())
        if names := _names(call, "hourly", HOURLY):
            hours = [datetime.combine(day, time(hour), zone) for day in days for hour in range(24)]
            weathers = [at(hour) for hour in hours]
            body["hourly_units"] = {"time": "iso8601"} | {n: units.name(HOURLY[n][0]) for n in names}
            body["hourly"] = {"time": [_local(hour) for hour in hours]} | {
                n: [units.convert(HOURLY[n][1](w), HOURLY[n][0]) for w in weathers] for n in names
            }
        if names := _names(call, "daily", {*DAILY, *SUN}):
            body["daily_units"] = {"time": "iso8601"} | {
                n: SUN[n] if n in SUN else units.name(DAILY[n][0]) for n in names
            }
            daily: dict[str, list[object]] = {"time": [day.isoformat() for day in days], **{n: [] for n in names}}
            for day in days:
                weathers = [at(datetime.combine(day, time(hour), zone)) for hour in range(24)]
                rise, fall = sun_times(latitude, longitude, day)
                sun = {"sunrise": _local(rise.astimezone(zone)), "sunset": _local(fall.astimezone(zone))}
                for n in names:
                    if n == "daylight_duration":
                        daily[n].append(round((fall - rise).total_seconds(), 2))
                    elif n in sun:
                        daily[n].append(sun[n])
                    else:
                        daily[n].append(units.convert(DAILY[n][1](weathers), DAILY[n][0]))
            body["daily"] = daily
        return body

    @staticmethod
    def _zone(asked: str | None, place: Place, distance_km: float) -> tuple[ZoneInfo, str]:
        if asked is None:
            return ZoneInfo("UTC"), "GMT"
        if asked == "auto":
            return (ZoneInfo(place.zone), place.zone) if distance_km < 1500 else (ZoneInfo("UTC"), "GMT")
        try:
            return ZoneInfo(asked), asked
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Refused("Invalid timezone") from None

    @staticmethod
    def _days(call: Call, today: date) -> list[date]:
        ahead, past = _integer(call, "forecast_days", 7), _integer(call, "past_days", 0)
        if not 0 <= ahead <= DAYS_MAX:
            raise Refused(f"Forecast days is invalid. Allowed range 0 to {DAYS_MAX}.")
        if not 0 <= past <= PAST_DAYS_MAX:
            raise Refused(f"Past days is invalid. Allowed range 0 to {PAST_DAYS_MAX}.")
        first, last = today - timedelta(days=past), today + timedelta(days=ahead - 1)
        if call.query.get("start_date") or call.query.get("end_date"):
            try:
                first = date.fromisoformat(call.query.get("start_date", ""))
                last = date.fromisoformat(call.query.get("end_date", ""))
            except ValueError:
                raise Refused("Invalid date format. Make sure to use 'YYYY-MM-DD'") from None
            if first > last:
                raise Refused("End-date must be larger or equals than start-date")
            earliest, latest = today - timedelta(days=PAST_DAYS_MAX), today + timedelta(days=DAYS_MAX - 1)
            for name, day in (("start_date", first), ("end_date", last)):
                if not earliest <= day <= latest:
                    raise Refused(f"Parameter '{name}' is out of allowed range from {earliest} to {latest}")
        return [first + timedelta(days=n) for n in range(min(SPAN_DAYS_MAX, (last - first).days + 1))]


class _Units:
    """What the caller wants temperatures, wind and rain in."""

    def __init__(self, call: Call) -> None:
        self._names: dict[str, str] = {}
        choices = {
            "temperature_unit": ("°C", {"celsius": "°C", "fahrenheit": "°F"}),
            "wind_speed_unit": ("km/h", {"kmh": "km/h", "ms": "m/s", "mph": "mp/h", "kn": "kn"}),
            "precipitation_unit": ("mm", {"mm": "mm", "inch": "inch"}),
        }
        for name, (default, known) in choices.items():
            asked = call.query.get(name)
            if asked is not None and asked not in known:
                raise Refused(f"Data corrupted at path ''. Cannot initialize {name} from invalid String value {asked}.")
            self._names[default] = known[asked] if asked else default

    def name(self, unit: str) -> str:
        return self._names.get(unit, unit)

    def convert(self, value: float, unit: str) -> float:
        factor = {"m/s": 1 / 3.6, "mp/h": 1 / 1.609344, "kn": 1 / 1.852, "inch": 1 / 25.4}.get(self.name(unit), 1.0)
        if self.name(unit) == "°F":
            return round(value * 9 / 5 + 32, 1)
        return value if factor == 1.0 else round(value * factor, 2)


def _as_result(place: Place) -> JsonObject:
    return {
        "id": place.id,
        "name": place.name,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "elevation": place.elevation_m,
        "feature_code": "PPLC" if place.capital else "PPL",
        "country_code": place.country_code,
        "admin1_id": place.id + 1,
        "timezone": place.zone,
        "population": place.population,
        "country_id": 100_000 + sum(ord(char) for char in place.country_code),
        "country": COUNTRIES[place.country_code],
        "admin1": place.region,
    }


def _names(call: Call, key: str, known: Collection[str]) -> list[str]:
    names = [name for value in call.query.getall(key, []) for name in value.split(",") if name]
    for name in names:
        if name not in known:
            reason = f"Cannot initialize WeatherVariable from invalid String value {name[:60]} for key {key}"
            raise Refused(f"Data corrupted at path ''. {reason}")
    return list(dict.fromkeys(names))


def _integer(call: Call, name: str, default: int) -> int:
    value = call.query.get(name)
    if value is None:
        return default
    try:
        return int(value[:10])
    except ValueError:
        raise Refused(f"Value of type 'Int' required for key '{name}'.") from None


def _degrees(call: Call, name: str, limit: int) -> float:
    try:
        value = float(call.query.get(name, "")[:30])
    except ValueError:
        raise Refused(f"Value of type 'Float' required for key '{name}'.") from None
    if math.isnan(value) or abs(value) > limit:
        raise Refused(f"{name.capitalize()} must be in range of -{limit} to {limit}°. Given: {value}.")
    return value


def _local(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M")


def _abbreviation(moment: datetime) -> str:
    hours = (moment.utcoffset() or timedelta()).total_seconds() / 3600
    return "GMT" if hours == 0 else f"GMT{hours:+g}"


def utc_now() -> datetime:
    """The clock of the simulators."""
    return datetime.now(UTC)
