"""Times as people write them, on calendars with and without changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.brain import when
from core.brain.when_patterns import ANSWERS, TABLE, Pattern
from core.brain.words import said
from tests.core.brain.speaking import NAIROBI, NOW


def at(text: str, now: datetime = NOW, zone: str = NAIROBI) -> when.When:
    return when.find(said(text).plain, when.local(now, zone))


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        # It is Tuesday 24 November 2026, 10:15:30.
        ("in 1 minute", "2026-11-24T10:16:30"),
        ("in 45 seconds", "2026-11-24T10:16:15"),
        ("in 45s", "2026-11-24T10:16:15"),
        ("in half an hour", "2026-11-24T10:45:30"),
        ("in an hour and a half", "2026-11-24T11:45:30"),
        ("in 1.5 hours", "2026-11-24T11:45:30"),
        ("in 1h30", "2026-11-24T11:45:30"),
        ("in 2 hours and 20 minutes", "2026-11-24T12:35:30"),
        ("20 minutes from now", "2026-11-24T10:35:30"),
        ("after three quarters of an hour", "2026-11-24T11:00:30"),
        ("in 3 days", "2026-11-27T10:15"),
        ("in a fortnight at 8am", "2026-12-08T08:00"),
        ("in two months", "2027-01-24T10:15"),
        ("baada ya dakika kumi", "2026-11-24T10:25:30"),
        ("baada ya nusu saa", "2026-11-24T10:45:30"),
        ("baada ya saa moja na nusu", "2026-11-24T11:45:30"),
        ("dakika tano zijazo", "2026-11-24T10:20:30"),
        ("baada ya siku mbili saa nne asubuhi", "2026-11-26T10:00"),
        ("at 5", "2026-11-24T17:00"),
        ("at 10", "2026-11-24T22:00"),
        ("at 11", "2026-11-24T11:00"),
        ("at 9:30", "2026-11-24T21:30"),
        ("at 09:30", "2026-11-25T09:30"),
        ("17:30", "2026-11-24T17:30"),
        ("5.30 p.m.", "2026-11-24T17:30"),
        ("5pm", "2026-11-24T17:00"),
        ("7 am", "2026-11-25T07:00"),
        ("1140 am", "2026-11-24T11:40"),
        ("0800 hrs", "2026-11-25T08:00"),
        ("17h45", "2026-11-24T17:45"),
        ("half past five", "2026-11-24T17:30"),
        ("quarter to six in the evening", "2026-11-24T17:45"),
        ("ten past eight tonight", "2026-11-24T20:10"),
        ("9 o'clock", "2026-11-24T21:00"),
        ("9 in the morning", "2026-11-25T09:00"),
        ("noon", "2026-11-24T12:00"),
        ("midnight", "2026-11-25T00:00"),
        ("tonight", "2026-11-24T20:00"),
        ("this evening", "2026-11-24T18:00"),
        ("tomorrow", "2026-11-25T09:00"),
        ("tomorrow at 9", "2026-11-25T09:00"),
        ("tomorrow at 3", "2026-11-25T15:00"),
        ("tomorrow night at 1", "2026-11-26T01:00"),
        ("tmrw 6pm", "2026-11-25T18:00"),
        ("day after tomorrow at noon", "2026-11-26T12:00"),
        ("friday", "2026-11-27T09:00"),
        ("tuesday at 9am", "2026-12-01T09:00"),
        ("tuesday at 11am", "2026-11-24T11:00"),
        ("next friday 17:30", "2026-12-04T17:30"),
        ("friday next week at 8", "2026-12-04T08:00"),
        ("on sat at 5pm", "2026-11-28T17:00"),
        ("friday, 4 December at 3", "2026-12-04T15:00"),
        ("friday the 4th", "2026-12-04T09:00"),
        ("on 3 December at noon", "2026-12-03T12:00"),
        ("December 3rd, 2027, 8:15 am", "2027-12-03T08:15"),
        ("3 nov at 4pm", "2027-11-03T16:00"),
        ("the twenty first of december", "2026-12-21T09:00"),
        ("29 feb", "2028-02-29T09:00"),
        ("the 15th", "2026-12-15T09:00"),
        ("the 31st at 7pm", "2026-12-31T19:00"),
        ("on the 5th of next month", "2026-12-05T09:00"),
        ("3/12 at 4pm", "2026-12-03T16:00"),
        ("3/12/2027", "2027-12-03T09:00"),
        ("12/25/2026", "2026-12-25T09:00"),
        ("2026-12-03T08:30", "2026-12-03T08:30"),
        ("03.12.2026 14:55", "2026-12-03T14:55"),
        ("end of the month", "2026-11-30T09:00"),
        ("next week", "2026-11-30T09:00"),
        ("christmas at 8am", "2026-12-25T08:00"),
        ("saa moja asubuhi", "2026-11-25T07:00"),
        ("saa sita mchana", "2026-11-24T12:00"),
        ("saa tisa alasiri", "2026-11-24T15:00"),
        ("saa kumi na mbili jioni", "2026-11-24T18:00"),
        ("saa mbili usiku", "2026-11-24T20:00"),
        ("saa saba usiku", "2026-11-25T01:00"),
        ("kesho saa saba usiku", "2026-11-26T01:00"),
        ("kesho saa tatu asubuhi", "2026-11-25T09:00"),
        ("kesho asubuhi saa tatu na nusu", "2026-11-25T09:30"),
        ("kesho saa 3:45 asubuhi", "2026-11-25T09:45"),
        ("kesho saa kumi kasoro robo jioni", "2026-11-25T15:45"),
        ("kesho saa tatu na dakika kumi asubuhi", "2026-11-25T09:10"),
        ("kesho kutwa saa nne", "2026-11-26T10:00"),
        ("saa kumi", "2026-11-24T16:00"),
        ("kesho saa 9am", "2026-11-25T09:00"),
        ("kesho saa 15:00", "2026-11-25T15:00"),
        ("kesho at 9am", "2026-11-25T09:00"),
        ("tomorrow saa tatu usiku", "2026-11-25T21:00"),
        ("ijumaa saa nane mchana", "2026-11-27T14:00"),
        ("jumatatu ijayo saa mbili asubuhi", "2026-11-30T08:00"),
        ("wiki ijayo jumatano", "2026-12-02T09:00"),
        ("tarehe 5 mwezi wa kumi na mbili saa tatu asubuhi", "2026-12-05T09:00"),
        ("tarehe 5 desemba", "2026-12-05T09:00"),
        ("leo jioni", "2026-11-24T18:00"),
    ],
)
def test_a_time_is_understood(text: str, wall: str) -> None:
    assert at(text).iso == wall


@pytest.mark.parametrize(
    ("text", "rule", "wall"),
    [
        ("every day at 7am", "daily", "2026-11-25T07:00"),
        ("daily at 7pm", "daily", "2026-11-24T19:00"),
        ("every morning", "daily", "2026-11-25T09:00"),
        ("every weekday at 8", "weekdays", "2026-11-25T08:00"),
        ("on weekdays at noon", "weekdays", "2026-11-24T12:00"),
        ("every weekend at 10am", "FREQ=WEEKLY;BYDAY=SA,SU", "2026-11-28T10:00"),
        ("on weekends at 9", "FREQ=WEEKLY;BYDAY=SA,SU", "2026-11-28T09:00"),
        ("everyday at 7 am", "daily", "2026-11-25T07:00"),
        ("every monday", "FREQ=WEEKLY;BYDAY=MO", "2026-11-30T09:00"),
        ("mondays and thursdays at 6pm", "FREQ=WEEKLY;BYDAY=MO,TH", "2026-11-26T18:00"),
        ("every tue, thu and sat at 5pm", "FREQ=WEEKLY;BYDAY=TU,TH,SA", "2026-11-24T17:00"),
        ("every other friday at 4pm", "FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", "2026-11-27T16:00"),
        ("every 2 hours", "FREQ=HOURLY;INTERVAL=2", "2026-11-24T12:15:30"),
        ("every half hour", "FREQ=MINUTELY;INTERVAL=30", "2026-11-24T10:45:30"),
        ("every other day at 6am", "FREQ=DAILY;INTERVAL=2", "2026-11-25T06:00"),
        ("every month on the 5th at 9am", "monthly", "2026-12-05T09:00"),
        ("every month on the 31st at 8am", "FREQ=MONTHLY;BYMONTHDAY=31", "2026-12-31T08:00"),
        ("every year on 3 december", "yearly", "2026-12-03T09:00"),
        ("kila siku saa mbili usiku", "daily", "2026-11-24T20:00"),
        ("kila asubuhi", "daily", "2026-11-25T09:00"),
        ("kila jumatatu na ijumaa saa tatu asubuhi", "FREQ=WEEKLY;BYDAY=MO,FR", "2026-11-27T09:00"),
        ("kila baada ya dakika 15", "FREQ=MINUTELY;INTERVAL=15", "2026-11-24T10:30:30"),
        ("kila wiki kuanzia jumatatu saa nne asubuhi", "weekly", "2026-11-30T10:00"),
        ("every month", "monthly", None),
    ],
)
def test_a_repetition_is_understood(text: str, rule: str, wall: str | None) -> None:
    found = at(text)
    assert (found.recurrence, found.iso) == (rule, wall)


@pytest.mark.parametrize(
    "text", ["", "31 april", "30 february", "at 25", "at 99:99", "room 5", "in 99999999999 days", "may", "version 3.12"]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert at(text).iso is None


def test_today_without_a_clock_has_to_be_asked_for() -> None:
    found = at("today")
    assert (found.iso, found.day) == (None, NOW.date())


def test_an_evening_that_is_over_has_to_be_asked_for() -> None:
    assert at("tonight", NOW.replace(hour=22)).iso is None


@pytest.mark.parametrize(
    ("now", "zone", "text", "wall"),
    [
        pytest.param(
            "2026-03-29T00:50:00+00:00", "Europe/Berlin", "in 20 minutes", "2026-03-29T03:10", id="over the gap"
        ),
        pytest.param(
            "2026-03-28T22:00:00+00:00",
            "Europe/Berlin",
            "tomorrow at 9am",
            "2026-03-29T09:00",
            id="wall time after the gap",
        ),
        pytest.param(
            "2026-10-24T07:00:00+00:00", "Europe/Berlin", "in 24 hours", "2026-10-25T08:00", id="24 hours over the fold"
        ),
        pytest.param(
            "2026-10-24T07:00:00+00:00", "Europe/Berlin", "in 1 day", "2026-10-25T09:00", id="a day over the fold"
        ),
        pytest.param(
            "2026-10-25T00:10:00+00:00", "Europe/Berlin", "in 10 minutes", "2026-10-25T02:20", id="first pass"
        ),
        pytest.param(
            "2026-10-25T00:10:00+00:00", "Europe/Berlin", "in 1 hour", "2026-10-25T02:10+01:00", id="second pass"
        ),
        pytest.param(
            "2026-11-01T05:30:00+00:00", "America/New_York", "in 1 hour", "2026-11-01T01:30-05:00", id="new york"
        ),
        pytest.param(
            "2026-11-24T21:30:00+00:00",
            "Africa/Nairobi",
            "tomorrow at 7am",
            "2026-11-26T07:00",
            id="already tomorrow there",
        ),
        pytest.param("2026-11-24T21:30:00+00:00", "Pacific/Kiritimati", "at 5pm", "2026-11-25T17:00", id="far east"),
        pytest.param(
            "2026-11-24T10:00:00+00:00", "Asia/Kathmandu", "in 15 minutes", "2026-11-24T16:00", id="45 minutes off"
        ),
        pytest.param(
            "2026-11-24T10:00:00+00:00", "No/Where", "in 15 minutes", "2026-11-24T10:15", id="unknown zone is UTC"
        ),
        pytest.param(
            "2026-11-24T10:00:00+00:00", "../../etc/passwd", "in 15 minutes", "2026-11-24T10:15", id="no zone at all"
        ),
    ],
)
def test_the_clocks_of_the_zone_are_kept(now: str, zone: str, text: str, wall: str) -> None:
    assert at(text, datetime.fromisoformat(now), zone).iso == wall


@given(
    seconds=st.integers(min_value=1, max_value=99_999),
    start=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1)),  # noqa: DTZ001
    zone=st.sampled_from(["Africa/Nairobi", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran"]),
)
def test_a_span_is_exact_to_the_second_in_every_zone(seconds: int, start: datetime, zone: str) -> None:
    now = start.replace(tzinfo=UTC, microsecond=0)
    iso = at(f"in {seconds} seconds", now, zone).iso
    assert iso is not None
    wall = datetime.fromisoformat(iso)
    instant = wall if wall.tzinfo else wall.replace(tzinfo=ZoneInfo(zone))
    assert instant.astimezone(UTC) == now + timedelta(seconds=seconds)


@pytest.mark.parametrize("pattern", [one for one in (*TABLE, *ANSWERS) if one.needs])
@settings(max_examples=5)
@given(data=st.data())
def test_what_a_pattern_needs_is_in_all_that_it_matches(pattern: Pattern, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern.regex, alphabet=st.characters(codec="ascii")))
    assert pattern.may_match(text, has_digit=any(char in "0123456789" for char in text))
