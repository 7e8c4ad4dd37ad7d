"""OpenWeather: geocoding, current weather and the 5-day forecast; any key that begins with "sandbox" is good."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.sandbox.accounts import is_api_key
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.climate import Weather, sun_times, weather_at
from bot.sandbox.faults import Faults
from bot.sandbox.places import COUNTRIES, Place, find, nearest
from bot.sandbox.truth import Disk, Journal, JsonObject

LIMIT_MAX = 5
STEPS = 40
NEAR_KM = 60.0
UNITS = ("standard", "metric", "imperial")

CONDITIONS = {
    0: (800, "Clear", "clear sky", "01"),
    1: (801, "Clouds", "few clouds", "02"),
    2: (802, "Clouds", "scattered clouds", "03"),
    3: (804, "Clouds", "overcast clouds", "04"),
    51: (300, "Drizzle", "light intensity drizzle", "09"),
    61: (500, "Rain", "light rain", "10"),
    63: (501, "Rain", "moderate rain", "10"),
    65: (502, "Rain", "heavy intensity rain", "10"),
    71: (600, "Snow", "light snow", "13"),
    73: (601, "Snow", "snow", "13"),
    95: (211, "Thunderstorm", "thunderstorm", "11"),
}


class OpenWeather:
    """The simulator of OpenWeather."""

    name = "openweather"

    def __init__(self, disk: Disk, now: Callable[[], datetime]) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._now = now

    def too_many(self, retry_after_s: int) -> Answer:
        """OpenWeather's 429."""
        message = (
            "Your account is temporary blocked due to exceeding of requests limitation of your subscription type. "
            "Please choose the proper subscription https://openweathermap.org/price"
        )
        return answer_json({"cod": 429, "message": message}, 429, {"Retry-After": str(retry_after_s)})

    def broken(self) -> Answer:
        """OpenWeather's 500."""
        return answer_json({"cod": "500", "message": "Internal server error"}, 500)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        serve = {
            "/geo/1.0/direct": self._direct,
            "/geo/1.0/reverse": self._reverse,
            "/data/2.5/weather": self._current,
            "/data/2.5/forecast": self._forecast,
        }.get(call.path)
        if serve is None or call.method != "GET":
            return answer_json({"cod": "404", "message": "Internal error"}, 404)
        if not is_api_key(call.query.get("appid", "")):
            message = "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info."
            return answer_json({"cod": 401, "message": message}, 401)
        answer = serve(call)
        if answer.status == 200:
            query = {k: v for k, v in call.query.items() if k != "appid"}
            row: JsonObject = {"kind": call.path.rpartition("/")[2], "query": query}
            self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer

    def _direct(self, call: Call) -> Answer:
        name, _, rest = call.query.get("q", "").partition(",")
        if not name.strip():
            return answer_json({"cod": "400", "message": "Nothing to geocode"}, 400)
        country = rest.rpartition(",")[2].strip().upper()
        limit = call.query.get("limit", "1")
        if not limit.isdecimal() or not 1 <= int(limit[:6]) <= LIMIT_MAX:
            return answer_json({"cod": "400", "message": "Invalid value for limit parameter"}, 400)
        return answer_json([_as_result(place) for place in find(name, country)[: int(limit[:6])]])

    def _reverse(self, call: Call) -> Answer:
        where = _where(call)
        if isinstance(where, Answer):
            return where
        return answer_json([_as_result(where[3])] if where[3] else [])

    def _current(self, call: Call) -> Answer:
        where = self._asked(call)
        if isinstance(where, Answer):
            return where
        latitude, longitude, elevation, place = where
        units = call.query.get("units") or "standard"
        now = self._now()
        weather = weather_at(latitude, longitude, elevation, now)
        rise, fall = sun_times(latitude, longitude, now.date())
        body = _hour(weather, units, now, rise < now < fall)
        body["main"].pop("temp_kf", None)
        body |= {
            "coord": {"lon": round(longitude, 4), "lat": round(latitude, 4)},
            "base": "stations",
            "sys": {
                "type": 2,
                "id": 2_000_000 + (place.id % 1000 if place else 0),
                "country": place.country_code if place else "",
                "sunrise": int(rise.timestamp()),
                "sunset": int(fall.timestamp()),
            },
            "timezone": _shift_s(place, longitude, now),
            "id": place.id if place else 0,
            "name": place.name if place else "",
            "cod": 200,
        }
        if weather.rain_mm:
            body["snow" if 70 < weather.code < 80 else "rain"] = {"1h": weather.rain_mm}
        return answer_json(body)

    def _forecast(self, call: Call) -> Answer:
        where = self._asked(call)
        if isinstance(where, Answer):
            return where
        latitude, longitude, elevation, place = where
        count = call.query.get("cnt", str(STEPS))
        if not count.isdecimal() or not 1 <= int(count[:6]) <= STEPS:
            return answer_json({"cod": "400", "message": "cnt from 1 to 40"}, 400)
        units = call.query.get("units") or "standard"
        now = self._now()
        first = now.replace(hour=now.hour // 3 * 3, minute=0, second=0, microsecond=0) + timedelta(hours=3)
        steps: list[JsonObject] = []
        for n in range(int(count[:6])):
            moment = first + timedelta(hours=3 * n)
            weather = weather_at(latitude, longitude, elevation, moment)
            rise, fall = sun_times(latitude, longitude, moment.date())
            step = _hour(weather, units, moment, rise < moment < fall)
            step |= {
                "pop": round(weather.rain_chance_percent / 100, 2),
                "sys": {"pod": "d" if rise < moment < fall else "n"},
                "dt_txt": moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            }
            if weather.rain_mm:
                step["snow" if 70 < weather.code < 80 else "rain"] = {"3h": round(weather.rain_mm * 2.2, 2)}
            steps.append(step)
        rise, fall = sun_times(latitude, longitude, now.date())
        city = {
            "id": place.id if place else 0,
            "name": place.name if place else "",
            "coord": {"lat": round(latitude, 4), "lon": round(longitude, 4)},
            "country": place.country_code if place else "",
            "population": place.population if place else 0,
            "timezone": _shift_s(place, longitude, now),
            "sunrise": int(rise.timestamp()),
            "sunset": int(fall.timestamp()),
        }
        return answer_json({"cod": "200", "message": 0, "cnt": len(steps), "list": steps, "city": city})

    @staticmethod
    def _asked(call: Call) -> "tuple[float, float, float, Place | None] | Answer":
        if (call.query.get("units") or "standard") not in UNITS:
            return answer_json({"cod": "400", "message": "wrong units"}, 400)
        if "q" in call.query:
            name, _, rest = call.query["q"].partition(",")
            places = find(name, rest.rpartition(",")[2].strip().upper())
            if not places:
                return answer_json({"cod": "404", "message": "city not found"}, 404)
            place = places[0]
            return place.latitude, place.longitude, place.elevation_m, place
        return _where(call)


def _where(call: Call) -> tuple[float, float, float, Place | None] | Answer:
    if not call.query.get("lat") or not call.query.get("lon"):
        return answer_json({"cod": "400", "message": "Nothing to geocode"}, 400)
    values: list[float] = []
    for name, limit, title in (("lat", 90, "latitude"), ("lon", 180, "longitude")):
        try:
            value = float(call.query[name][:30])
        except ValueError:
            value = math.nan
        if math.isnan(value) or abs(value) > limit:
            return answer_json({"cod": "400", "message": f"wrong {title}"}, 400)
        values.append(value)
    place, distance = nearest(*values)
    near = distance < NEAR_KM
    return values[0], values[1], place.elevation_m if near else 0.0, place if near else None


def _as_result(place: Place) -> JsonObject:
    return {
        "name": place.name,
        "local_names": {"en": place.name},
        "lat": place.latitude,
        "lon": place.longitude,
        "country": place.country_code,
        "state": place.region or COUNTRIES[place.country_code],
    }


def _hour(weather: Weather, units: str, moment: datetime, daylight: bool) -> JsonObject:
    def degrees(celsius: float) -> float:
        return round(
            celsius + 273.15 if units == "standard" else celsius * 9 / 5 + 32 if units == "imperial" else celsius, 2
        )

    number, main, description, icon = CONDITIONS[weather.code]
    speed = weather.wind_kmh / (1.609344 if units == "imperial" else 3.6)
    return {
        "dt": int(moment.timestamp()),
        "main": {
            "temp": degrees(weather.temperature_c),
            "feels_like": degrees(weather.feels_like_c),
            "temp_min": degrees(weather.temperature_c - 0.8),
            "temp_max": degrees(weather.temperature_c + 0.9),
            "pressure": round(weather.pressure_hpa),
            "humidity": weather.humidity_percent,
            "sea_level": round(weather.pressure_hpa),
            "grnd_level": round(weather.pressure_hpa),
            "temp_kf": 0,
        },
        "weather": [
            {"id": number, "main": main, "description": description, "icon": icon + ("d" if daylight else "n")}
        ],
        "clouds": {"all": weather.cloud_percent},
        "wind": {"speed": round(speed, 2), "deg": weather.wind_degrees, "gust": round(speed * 1.7, 2)},
        "visibility": 10_000 if not weather.rain_mm else 8_000,
    }


def _shift_s(place: Place | None, longitude: float, now: datetime) -> int:
    if place is None:
        return round(longitude / 15) * 3600
    return round((now.astimezone(ZoneInfo(place.zone)).utcoffset() or timedelta()).total_seconds())
