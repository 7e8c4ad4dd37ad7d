"""The next occurrence of a wall time, in twelve zones across five years of clock changes."""

import calendar
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule as dateutil
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.language import Saying
from core.recurrence import COUNT_MAX, describe, next_after, parse, resolve, settle

ZONES = (
    "Africa/Nairobi", "Africa/Cairo", "Africa/Casablanca", "Europe/London", "Europe/Berlin", "America/New_York",
    "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "UTC",
)  # fmt: skip
QUARTER = timedelta(minutes=15)
FROM, TO = datetime(2024, 1, 1), datetime(2029, 1, 1)  # noqa: DTZ001  wall times have no zone
DAY = timedelta(days=1)


@dataclass(frozen=True)
class WallClock:
    """A clock on a wall in a zone, read every quarter of an hour from 2024 to 2028: what it showed last, at most.

    Every clock change of these zones falls on a quarter of an hour. This is the rule we hold the code to: a reminder
    goes off at the first moment at which the clock shows its time or a later one.
    """

    instants: list[datetime]
    readings: list[datetime]
    changes: list[datetime]

    @classmethod
    def in_zone(cls, zone: str) -> "WallClock":
        tz = ZoneInfo(zone)
        instants: list[datetime] = []
        readings: list[datetime] = []
        changes: list[datetime] = []
        instant = FROM.replace(tzinfo=UTC) - 2 * DAY
        highest = before = instant.astimezone(tz).replace(tzinfo=None)
        while highest <= TO + DAY:
            # Most days have one offset from end to end; asking the zone for it once makes this several times faster.
            ends = {moment.astimezone(tz).utcoffset() for moment in (instant, instant + DAY)}
            for _ in range(DAY // QUARTER):
                local = instant.astimezone(tz) if len(ends) > 1 else instant + (next(iter(ends)) or timedelta(0))
                reading = local.replace(tzinfo=None)
                if reading - before not in (QUARTER, timedelta(0)):
                    changes.append(reading)
                before, highest = reading, max(highest, reading)
                instants.append(instant)
                readings.append(highest)
                instant += QUARTER
        return cls(instants, readings, changes)

    def fires(self, walls: Iterator[datetime]) -> list[datetime]:
        """The instants at which these wall times go off, each instant once."""
        return sorted({self.instants[bisect_left(self.readings, wall)] for wall in walls})


@pytest.fixture(scope="module", params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def clock(zone: str) -> WallClock:
    return WallClock.in_zone(zone)


def every(step: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += step


def chain(wall: datetime, zone: str, rule: str, end: datetime) -> list[datetime]:
    """Every instant the rule gives, each found from the one before."""
    fired: list[datetime] = []
    found = next_after(wall, zone, rule, resolve(wall, zone) - timedelta(seconds=1))
    while found is not None and found[0] < end:
        assert not fired or found[1] > fired[-1], "an occurrence came twice"
        fired.append(found[1])
        found = next_after(wall, zone, rule, found[1])
    return fired


@pytest.mark.parametrize(("hour", "minute"), [(1, 30), (2, 30), (3, 0)])
def test_daily_fires_once_a_day_at_the_first_moment_the_clock_allows(
    zone: str, clock: WallClock, hour: int, minute: int
) -> None:
    start = FROM.replace(hour=hour, minute=minute)
    fired = chain(start, zone, "daily", TO)
    assert fired == clock.fires(every(DAY, start, TO))
    days = [instant.astimezone(ZoneInfo(zone)).date() for instant in fired]
    assert len(days) == len(set(days)) == (TO - FROM).days


def test_weekly_keeps_its_weekday(zone: str, clock: WallClock) -> None:
    start = datetime(2024, 1, 7, 2, 30)  # noqa: DTZ001  a Sunday, when most clocks change
    assert chain(start, zone, "weekly", TO) == clock.fires(every(7 * DAY, start, TO))


def test_monthly_on_the_31st_is_the_last_day_of_shorter_months(zone: str, clock: WallClock) -> None:
    start = datetime(2024, 1, 31, 2, 30)  # noqa: DTZ001
    walls = (
        datetime(year, month, calendar.monthrange(year, month)[1], 2, 30)  # noqa: DTZ001
        for year in range(2024, 2029)
        for month in range(1, 13)
    )
    fired = chain(start, zone, "monthly", TO)
    assert fired == clock.fires(walls)
    assert len(fired) == 60


def test_every_quarter_of_an_hour_around_each_clock_change(zone: str, clock: WallClock) -> None:
    rule = "FREQ=MINUTELY;INTERVAL=15"
    for change in clock.changes or [datetime(2026, 6, 1)]:  # noqa: DTZ001
        start = datetime.combine(change.date() - DAY, datetime.min.time())
        walls = list(every(QUARTER, start, start + 3 * DAY))
        assert chain(start, zone, rule, start + 3 * DAY) == clock.fires(iter(walls))


def test_zones_change_their_clocks_as_often_as_we_think(zone: str, clock: WallClock) -> None:
    # Guards the tests above: a clock that never changes would prove nothing.
    steady = {"Africa/Nairobi", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "UTC"}
    assert len(clock.changes) == (0 if zone in steady else 10)


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30Z"),
        ("America/New_York", "2026-03-08T02:00", "2026-03-08T07:00Z"),
        ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30Z"),
        ("Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00Z"),
        ("Africa/Nairobi", "2026-11-24T09:00", "2026-11-24T06:00Z"),
    ],
)  # fmt: skip
def test_skipped_time_is_the_end_of_the_gap_and_repeated_time_the_first_pass(
    zone: str, wall: str, instant: str
) -> None:
    assert resolve(datetime.fromisoformat(wall), zone) == datetime.fromisoformat(instant)


def test_missed_occurrences_collapse_into_the_next_one_to_come() -> None:
    asleep_until = datetime(2026, 11, 24, 12, tzinfo=UTC)
    found = next_after(datetime(2020, 1, 1, 9), "Africa/Nairobi", "daily", asleep_until)  # noqa: DTZ001
    assert found == (datetime(2026, 11, 25, 9), datetime(2026, 11, 25, 6, tzinfo=UTC))  # noqa: DTZ001


def test_once_is_over_after_its_time() -> None:
    wall, due = datetime(2026, 11, 24, 9), datetime(2026, 11, 24, 6, tzinfo=UTC)  # noqa: DTZ001
    assert next_after(wall, "Africa/Nairobi", None, due - timedelta(seconds=1)) == (wall, due)
    assert next_after(wall, "Africa/Nairobi", None, due) is None


def test_29_february_is_the_28th_in_other_years_and_comes_back() -> None:
    rule, wall = settle("yearly", datetime(2024, 2, 29, 9), "UTC") or ("", FROM)  # noqa: DTZ001
    days = []
    after = datetime(2024, 1, 1, tzinfo=UTC)
    for _ in range(5):
        found = next_after(wall, "UTC", rule, after)
        assert found is not None
        wall, after = found  # Continued from each occurrence, as the sweep does.
        days.append((wall.year, wall.day))
    assert days == [(2024, 29), (2025, 28), (2026, 28), (2027, 28), (2028, 29)]


def test_the_last_working_day_is_never_on_a_weekend_and_none_follows_it() -> None:
    rule, wall = settle("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", datetime(2026, 11, 24, 9), "UTC") or ("", FROM)  # noqa: DTZ001
    after, days = datetime(2026, 11, 24, tzinfo=UTC), []
    for _ in range(6):
        found = next_after(wall, "UTC", rule, after)
        assert found is not None
        wall, after = found
        days.append((wall.month, wall.day))
    assert days == [(11, 30), (12, 31), (1, 29), (2, 26), (3, 31), (4, 30)]


def test_first_weekday_rule_starts_on_a_day_it_names() -> None:
    saturday = datetime(2026, 11, 28, 9)  # noqa: DTZ001
    assert settle("weekdays", saturday, "UTC") == (
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", datetime(2026, 11, 30, 9)  # noqa: DTZ001
    )  # fmt: skip


def test_count_becomes_the_last_of_that_many_occurrences() -> None:
    wall = datetime(2026, 11, 24, 9)  # noqa: DTZ001
    assert settle("FREQ=DAILY;COUNT=3", wall, "UTC") == ("FREQ=DAILY;UNTIL=20261126T090000", wall)
    assert settle("FREQ=DAILY;COUNT=1", wall, "UTC") == ("FREQ=DAILY;UNTIL=20261124T090000", wall)
    assert len(chain(wall, "UTC", "FREQ=DAILY;COUNT=3", wall + 9 * DAY)) == 3


def test_count_begins_with_the_first_occurrence_to_come() -> None:
    wall, now = datetime(2026, 11, 24, 9), datetime(2026, 11, 25, 12, tzinfo=UTC)  # noqa: DTZ001
    assert settle("FREQ=DAILY;COUNT=2", wall, "UTC", now) == (
        "FREQ=DAILY;UNTIL=20261127T090000", datetime(2026, 11, 26, 9)  # noqa: DTZ001
    )  # fmt: skip


def test_until_in_utc_is_read_on_the_wall() -> None:
    wall = datetime(2026, 11, 24, 9)  # noqa: DTZ001
    # 06:00 UTC is 09:00 in Nairobi, so the occurrence at 09:00 is the last.
    assert len(chain(wall, "Africa/Nairobi", "FREQ=DAILY;UNTIL=20261125T060000Z", wall + 9 * DAY)) == 2


@pytest.mark.parametrize(
    ("rule", "en", "sw"),
    [
        ("daily", "every day", "kila siku"),
        ("weekdays", "every weekday", "kila siku ya kazi"),
        ("weekly", "every week on Tue", "kila Jumanne"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH",
            "every 2 weeks on Mon and Thu",
            "kila baada ya wiki 2, Jumatatu na Alhamisi",
        ),
        ("monthly", "every month on the 24th", "kila mwezi, tarehe 24"),
        (
            "FREQ=MONTHLY;BYMONTHDAY=1,15,-1",
            "every month on the 1st, 15th and last day",
            "kila mwezi, tarehe 1, tarehe 15 na siku ya mwisho",
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "every month on the last working day",
            "kila mwezi, siku ya kazi ya mwisho",
        ),
        ("FREQ=MONTHLY;BYDAY=-1FR", "every month on the last Fri", "kila mwezi, Ijumaa ya mwisho"),
        ("yearly", "every year on 24 Nov", "kila mwaka tarehe 24 Nov"),
        ("FREQ=HOURLY;INTERVAL=3", "every 3 hours", "kila baada ya saa 3"),
        ("FREQ=DAILY;UNTIL=20261224", "every day until 24 Dec 2026", "kila siku hadi 24 Des 2026"),
    ],
)
def test_rules_read_as_people_say_them(rule: str, en: str, sw: str) -> None:
    assert describe(rule, datetime(2026, 11, 24, 9), "UTC") == Saying(en, sw)  # noqa: DTZ001


@pytest.mark.parametrize(
    "rule",
    [
        "", "sometimes", "FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=MINUTELY;INTERVAL=14", "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;INTERVAL=²", "FREQ=DAILY;INTERVAL=" + "9" * 150, "FREQ=DAILY;BYDAY=MO",
        "FREQ=WEEKLY;BYDAY=1MO", "FREQ=MONTHLY;BYDAY=MO", "FREQ=MONTHLY;BYDAY=5MO",
        "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=1", "FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=9", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1",
        "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=-2",
        "FREQ=YEARLY;BYMONTHDAY=1",
        "FREQ=YEARLY;BYMONTH=2", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=1,2",
        "FREQ=DAILY;COUNT=0", f"FREQ=DAILY;COUNT={COUNT_MAX + 1}", "FREQ=DAILY;COUNT=2;UNTIL=20261224",
        "FREQ=DAILY;UNTIL=20260230",
        "FREQ=DAILY;UNTIL=2026-12-24", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;BYSETPOS=1", "FREQ=DAILY;BYHOUR=1,2,3",
        "FREQ=DAILY;WKST=SU", "FREQ", "=", "FREQ=DAILY;" * 40, "FREQ=DAILY\nDTSTART:20260101T000000",
    ],
)  # fmt: skip
def test_rules_outside_the_closed_set_are_refused_with_a_reason(rule: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(rule, "UTC")


FREQUENCIES: dict[str, Literal[0, 1, 2, 3]] = {"DAILY": 3, "WEEKLY": 2, "MONTHLY": 1, "YEARLY": 0}
"""As dateutil numbers them."""
walls = st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(second=0, microsecond=0)
)
rules = st.sampled_from([
    "daily", "weekdays", "weekly", "monthly", "yearly", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "FREQ=MONTHLY;INTERVAL=3", "FREQ=MONTHLY;BYMONTHDAY=1,15,31", "FREQ=MONTHLY;BYDAY=-1FR,2TU",
    "FREQ=HOURLY;INTERVAL=5", "FREQ=MINUTELY;INTERVAL=45", "FREQ=YEARLY;INTERVAL=4", "FREQ=DAILY;COUNT=40",
    "FREQ=WEEKLY;COUNT=7",
])  # fmt: skip
moments = st.datetimes(datetime(2019, 1, 1), datetime(2034, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(deadline=None)
@given(walls, st.sampled_from(ZONES), rules, moments)
def test_next_is_later_on_the_wall_and_keeps_the_time_of_day(
    wall: datetime, zone: str, rule: str, after: datetime
) -> None:
    found = next_after(wall, zone, rule, after)
    assert found == next_after(wall, zone, rule, after)
    assume(found is not None)
    assert found is not None
    found_wall, due = found
    assert due > after
    assert found_wall >= wall
    assert due == resolve(found_wall, zone)
    if not parse(rule, zone).within_day:
        assert found_wall.time() == wall.time()
    shown = due.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    # A clock that shows something else jumped over that time.
    assert shown == found_wall or resolve(found_wall - QUARTER * 8, zone) < due < resolve(shown + QUARTER * 8, zone)


@settings(deadline=None)
@given(walls, st.sampled_from(ZONES), rules, moments)
def test_settled_rule_gives_the_same_from_whichever_occurrence_it_is_continued(
    wall: datetime, zone: str, rule: str, after: datetime
) -> None:
    settled = settle(rule, wall, zone)
    assert settled is not None
    whole, first = settled
    assert settle(whole, first, zone) == settled
    from_first = next_after(first, zone, whole, after)
    assert from_first == next_after(wall, zone, rule, after)
    if from_first is None:
        return
    later = next_after(first, zone, whole, from_first[1])
    assert later == next_after(from_first[0], zone, whole, from_first[1])


@settings(deadline=None)
@given(
    walls.filter(lambda wall: wall.day <= 28), st.sampled_from(sorted(FREQUENCIES)), st.integers(1, 20),
    st.integers(0, 3000),
)  # fmt: skip
def test_plain_rules_agree_with_dateutil(wall: datetime, freq: str, interval: int, days: int) -> None:
    after = wall + timedelta(days=days, minutes=7)
    expected = dateutil.rrule(FREQUENCIES[freq], wall, interval).after(after)
    found = next_after(wall, "UTC", f"FREQ={freq};INTERVAL={interval}", after.replace(tzinfo=UTC))
    assert found is not None
    assert found[0] == expected


@settings(deadline=None)
@given(walls, st.sampled_from(ZONES))
def test_resolving_never_goes_back(wall: datetime, zone: str) -> None:
    steps = [resolve(wall + QUARTER * step, zone) for step in range(200)]
    assert all(earlier <= later for earlier, later in pairwise(steps))
