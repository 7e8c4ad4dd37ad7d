"""Stretches of time and durations, in English and Swahili."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brain import periods, when
from core.brain.words import said

NOW = when.local(datetime(2026, 11, 24, 10, 15), "Africa/Nairobi")  # noqa: DTZ001  a Tuesday


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("from 3 to 5pm tomorrow", "2026-11-25T15:00:00", "2026-11-25T17:00:00"),
        ("between 10:30 and 12:00 on 1 December", "2026-12-01T10:30:00", "2026-12-01T12:00:00"),
        ("9 to 17 December", "2026-12-09", "2026-12-17"),
        ("December 3rd - 5th", "2026-12-03", "2026-12-05"),
        ("from monday to wednesday", "2026-11-30", "2026-12-02"),
        ("between 2019 and 2021", "2019-01-01", "2021-01-01"),
        ("next week", "2026-11-30", "2026-12-07"),
        ("this month", "2026-11-01", "2026-12-01"),
        ("wiki ijayo", "2026-11-30", "2026-12-07"),
        ("the next 3 weeks", "2026-11-25", "2026-12-16"),
        ("siku 5 zijazo", "2026-11-25", "2026-11-30"),
        ("the past 10 days", "2026-11-14", "2026-11-24"),
        ("the next 4 business days", "2026-11-25", "2026-12-01"),
        ("in March 2027", "2027-03-01", "2027-04-01"),
        ("in 2025", "2025-01-01", "2026-01-01"),
        ("q1 2027", "2027-01-01", "2027-04-01"),
        ("the last week of December", "2026-12-28", "2027-01-04"),
        ("week 3 of 2027", "2027-01-18", "2027-01-25"),
        ("the week of 10 December", "2026-12-07", "2026-12-14"),
        ("the nineties", "1990-01-01", "2000-01-01"),
        ("for 3 days from tomorrow", "2026-11-25", "2026-11-28"),
        ("within 20 minutes", "2026-11-24T10:15:00", "2026-11-24T10:35:00"),
        ("the rest of the week", "2026-11-24", "2026-11-30"),
    ],
)
def test_a_stretch_has_a_start_and_an_exclusive_end(text: str, start: str, end: str) -> None:
    found = periods.find(said(text).plain, NOW)
    assert found is not None
    assert (found.start.isoformat(), found.end.isoformat()) == (start, end)


@pytest.mark.parametrize(
    "text", ["call Asha", "pay 3 - 5 bob", "at 5", "from Nairobi to Kisumu", "you may go", "room 2012b"]
)
def test_what_is_no_stretch_is_none(text: str) -> None:
    assert periods.find(said(text).plain, NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("for two hours", 7200), ("half an hour", 1800), ("an hour and a half meeting lasts", None),
        ("2 and a half days", 216_000), ("for 1 hour 30 minutes", 5400), ("dakika 20", 1200),
        ("kwa masaa 3", 10_800), ("for a week", 604_800), ("a few minutes", 180), ("3 days ago", None),
    ],
)  # fmt: skip
def test_how_long_something_takes(text: str, seconds: int | None) -> None:
    found = periods.duration(said(text).plain)
    assert (found.seconds if found else None) == seconds


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("3 days after Friday", date(2026, 11, 30)), ("2 weeks before christmas", date(2026, 12, 11)),
        ("the day after 1 December", date(2026, 12, 2)), ("2 months from tomorrow", date(2027, 1, 25)),
    ],
)  # fmt: skip
def test_a_day_is_counted_from_another(text: str, day: date) -> None:
    counted = periods.offset(said(text).plain, NOW)
    assert counted is not None
    assert counted.day == day


@pytest.mark.parametrize(
    ("year", "day"),
    [(2024, date(2024, 3, 31)), (2025, date(2025, 4, 20)), (2026, date(2026, 4, 5)), (2038, date(2038, 4, 25))],
)
def test_easter(year: int, day: date) -> None:
    assert periods.easter(year) == day


@given(st.text(max_size=120), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_no_text_is_an_error_and_no_stretch_ends_before_it_begins(text: str, now: datetime) -> None:
    local = when.local(now, "Africa/Nairobi")
    for line in (text, f"from {text} to 5pm", f"between {text}", f"3 weeks after {text}"):
        plain = said(line).plain
        found = periods.find(plain, local)
        assert found is None or found.start <= found.end
        long = periods.duration(plain)
        assert long is None or 0 < long.seconds < periods.DURATION_S_MAX
        periods.offset(plain, local)
