"""Time zones by the names people use: IANA names, towns, countries with one clock, the country of a phone number.
Pure, from the tz database.

A name that could be several zones, or none that is known, is None: the person is asked, never guessed.
"""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from core import countries
from core.brain import places
from core.brain.words import lower

NAME_CHARS_MAX = 80
SEASONS = tuple(datetime(2026, month, 15, 12, tzinfo=UTC) for month in (1, 4, 7, 10))
"""When the clocks of a country's zones are compared."""

TOWNS = {
    "Africa/Nairobi": "Mombasa Kisumu Nakuru Eldoret Thika Malindi Nanyuki Lamu Naivasha Kisii Meru Machakos",
    "Africa/Kampala": "Entebbe Jinja Gulu Mbarara",
    "Africa/Dar_es_Salaam": "Dodoma Arusha Mwanza Moshi Zanzibar Mbeya",
    "Africa/Lagos": "Abuja Kano Ibadan Port_Harcourt Enugu",
    "Africa/Johannesburg": "Pretoria Durban Cape_Town Soweto",
    "Africa/Kinshasa": "Congo_Kinshasa",
    "Africa/Lubumbashi": "Goma Bukavu",
    "Asia/Dubai": "Abu_Dhabi Sharjah",
    "Asia/Riyadh": "Jeddah Mecca Medina",
    "Asia/Kolkata": "Delhi New_Delhi Mumbai Bangalore Chennai Hyderabad Pune",
    "Asia/Shanghai": "Beijing Guangzhou Shenzhen China",
    "Europe/London": "Manchester Birmingham Liverpool Edinburgh Glasgow UK England Scotland Wales Great_Britain",
    "Europe/Berlin": "Munich Hamburg Frankfurt Cologne Germany",
    "Europe/Zurich": "Geneva",
    "Europe/Rome": "Milan Venice Naples",
    "America/New_York": "Boston Washington Miami Atlanta Philadelphia",
    "America/Chicago": "Houston Dallas Austin",
    "America/Los_Angeles": "San_Francisco San_Diego San_Jose Seattle Las_Vegas",
}
"""Towns and countries that the tz database does not name, or names with several zones although they have one clock."""
SWAHILI = {"uingereza": "gb", "marekani": "us", "ujerumani": "de", "ufaransa": "fr", "misri": "eg", "uhindi": "in"}


def find(written: str) -> str | None:
    """The IANA zone that these words name, in any case; None for none, and for a country of several."""
    name = " ".join(written[:NAME_CHARS_MAX].replace("_", " ").split()).strip(" .,!?'\"")
    low = lower(name)
    known = _names()
    return known.get(low) or known.get(lower(places.name(name))) or known.get(low.partition(",")[0].strip())


def of_phone(number: str | None) -> str | None:
    """The zone of the country that a number such as +254 … is from; None for what is no number, and for a country of
    several clocks.
    """
    region = countries.of_phone(number)
    return _of_country(region) if region else None


def city(zone: str) -> str:
    """The place a zone is named after."""
    return zone.rpartition("/")[2].replace("_", " ")


def short(local: datetime) -> str:
    """What a clock is called: EAT, or UTC+3 where it has no name of letters."""
    name = local.tzname() or ""
    if name.isalpha():
        return name
    minutes = int((local.utcoffset() or local - local).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


def is_known(zone: str | None) -> bool:
    """Whether this is the name of a zone."""
    return zone is not None and zone in available_timezones()


@cache
def _of_country(code: str) -> str | None:
    kept = [zone for zone, country in countries.of_zones().items() if country == code]
    clocks = {tuple(when.astimezone(ZoneInfo(zone)).utcoffset() for when in SEASONS) for zone in kept}
    return kept[0] if len(clocks) == 1 else None


@cache
def _names() -> dict[str, str]:
    """Every name in lower case; of a name that stands for several zones, none."""
    zones = sorted(zone for zone in available_timezones() if zone == "UTC" or "/" in zone)
    kept = countries.of_zones()
    cities: dict[str, set[str]] = {}
    for zone in zones:
        if zone in kept:
            cities.setdefault(lower(zone.rpartition("/")[2].replace("_", " ")), set()).add(zone)
    of_country: dict[str, list[str]] = {}
    for zone, code in kept.items():
        of_country.setdefault(code, []).append(zone)
    names = {low: zones.pop() for low, zones in cities.items() if len(zones) == 1}
    for line in countries.table("iso3166.tab"):
        code, name = line.split("\t")
        if len(of_country.get(code, ())) == 1:
            names.setdefault(lower(name), of_country[code][0])
            names |= {word: of_country[code][0] for word, other in SWAHILI.items() if other == code.lower()}
    names |= {lower(town.replace("_", " ")): zone for zone, towns in TOWNS.items() for town in towns.split()}
    return names | {lower(zone.replace("_", " ")): zone for zone in zones}
