"""Made-up weather that stays the same for one place and hour, and fits the latitude, the height and the season."""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Weather:
    """One hour in one place; `code` is the WMO weather code."""

    temperature_c: float
    feels_like_c: float
    humidity_percent: int
    rain_mm: float
    rain_chance_percent: int
    cloud_percent: int
    wind_kmh: float
    wind_degrees: int
    pressure_hpa: float
    code: int


def _dice(*what: object) -> float:
    """A number from 0 to 1 that depends on nothing but its arguments."""
    digest = hashlib.blake2b("|".join(map(str, what)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / float(1 << 48)


@lru_cache(maxsize=2_000)
def _day(latitude: float, longitude: float, elevation_m: float, day: date) -> tuple[float, float, float, float]:
    """Mean temperature, half the daily swing, wetness (0-1) and wind of a day."""
    season = math.cos(2 * math.pi * (day.timetuple().tm_yday - 197) / 365.25) * (1 if latitude >= 0 else -1)
    tropic = max(0.0, 1 - abs(latitude) / 60)
    mean = 28 - 0.0055 * elevation_m - 0.0055 * abs(latitude) ** 2.05 + season * min(14.0, 0.26 * abs(latitude))
    mean += (_dice("mean", latitude, longitude, day) - 0.5) * (3 + 5 * (1 - tropic))
    swing = 3.0 + 3.0 * _dice("swing", latitude, longitude, day) + min(2.0, elevation_m / 1000)
    # East Africa's long rains fall from March to May, its short ones in October to December; elsewhere it rains evenly.
    month = day.month
    wet = 0.4
    if abs(latitude) < 12:
        wet = {3: 0.55, 4: 0.75, 5: 0.6, 10: 0.5, 11: 0.7, 12: 0.5}.get(month, 0.22)
    wetness = min(1.0, max(0.0, wet + (_dice("wet", latitude, longitude, day) - 0.5) * 0.9))
    wind = 4 + 18 * _dice("wind", latitude, longitude, day) ** 2
    return mean, swing, wetness, wind


def weather_at(latitude: float, longitude: float, elevation_m: float, moment: datetime) -> Weather:
    """The weather in the hour of this aware moment."""
    latitude, longitude = round(latitude, 2), round(longitude, 2)
    local = moment.astimezone(timezone(timedelta(hours=round(longitude / 15))))
    mean, swing, wetness, wind = _day(latitude, longitude, elevation_m, local.date())
    hour = local.hour
    temperature = mean + swing * math.cos(2 * math.pi * (hour - 14.5) / 24)
    luck = _dice("hour", latitude, longitude, local.date(), hour)
    # Showers prefer the afternoon.
    chance = min(100, round(100 * wetness * (0.5 + 0.5 * math.exp(-(((hour - 16) / 5) ** 2)))))
    rain = (
        round(4.5 * wetness * (luck - 1 + chance / 100) / max(0.01, chance / 100), 1)
        if luck > 1 - chance / 100 * 0.6
        else 0.0
    )
    cloud = min(100, max(0, round(100 * (0.15 + 0.75 * wetness + (luck - 0.5) * 0.3))))
    humidity = min(100, max(15, round(45 + 45 * wetness - (temperature - mean) * 2)))
    code = _code(rain, cloud, temperature, wetness, luck)
    breeze = wind * (0.7 + 0.6 * _dice("gust", latitude, longitude, local.date(), hour))
    feels = temperature - breeze * 0.04 + (humidity - 55) * 0.03
    pressure = 1013 + 8 * (_dice("pressure", latitude, longitude, local.date()) - 0.5)
    return Weather(
        round(temperature, 1), round(feels, 1), humidity, rain, chance, cloud, round(breeze, 1),
        round(360 * _dice("from", latitude, longitude, local.date())) % 360, round(pressure, 1), code,
    )  # fmt: skip


def _code(rain_mm: float, cloud: int, temperature: float, wetness: float, luck: float) -> int:
    if rain_mm > 0:
        if temperature < 0.5:
            return 71 if rain_mm < 1 else 73
        if wetness > 0.85 and luck > 0.93:
            return 95
        return 51 if rain_mm < 0.4 else 61 if rain_mm < 1.5 else 63 if rain_mm < 3.5 else 65
    return 0 if cloud < 20 else 1 if cloud < 40 else 2 if cloud < 70 else 3


def sun_times(latitude: float, longitude: float, day: date) -> tuple[datetime, datetime]:
    """Sunrise and sunset in UTC, good to some minutes; near the poles the shortest or longest day the formula gives."""
    angle = 2 * math.pi * (day.timetuple().tm_yday - 81) / 365.25
    tilt = math.radians(23.44) * math.sin(angle)
    equation_min = 9.87 * math.sin(2 * angle) - 7.53 * math.cos(angle) - 1.5 * math.sin(angle)
    cosine = (math.sin(math.radians(-0.833)) - math.sin(math.radians(latitude)) * math.sin(tilt)) / (
        math.cos(math.radians(latitude)) * math.cos(tilt)
    )
    half = timedelta(hours=math.degrees(math.acos(min(0.99, max(-0.99, cosine)))) / 15)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(
        minutes=equation_min, hours=longitude / 15
    )
    return noon - half, noon + half
