"""Counting by hour: over midnights, changes of the clock, and between two readings."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from core.db import Database
from tests.web_admin.rows import Caller, say
from web_admin.queries import Hours


async def store_at(db: Database, *moments: datetime) -> None:
    """One message at each moment."""
    for number, moment in enumerate(moments):
        conversation, _ = await say(db, Caller(f"p{number}-{moment}"), "x")
        async with db.transaction() as session:
            await session.execute(
                text("UPDATE message SET created_at = :at WHERE conversation_id = :c"),
                {"at": moment, "c": conversation},
            )


async def read(db: Database, hours: Hours, now: datetime) -> dict[datetime, int]:
    """Hours that have messages."""
    async with db.transaction() as session:
        return {hour.start: hour.total for hour in await hours.read(session, now) if hour.total}


async def test_hours_are_those_of_the_zone_and_are_counted_once(db: Database) -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    now = datetime(2026, 11, 24, 9, 20, tzinfo=UTC)
    await store_at(
        db, now, now - timedelta(minutes=4), now - timedelta(minutes=6), now - timedelta(hours=24, minutes=10)
    )
    hours = Hours(zone)
    found = await read(db, hours, now)
    assert found == {
        datetime(2026, 11, 24, 9, 15, tzinfo=UTC): 2,
        datetime(2026, 11, 24, 8, 15, tzinfo=UTC): 1,
    }
    # A message of an hour that ended a minute ago may still be committed; of one that ended an hour ago it may not.
    await store_at(db, now - timedelta(minutes=7), now - timedelta(hours=3))
    found = await read(db, hours, now + timedelta(minutes=1))
    assert found == {
        datetime(2026, 11, 24, 9, 15, tzinfo=UTC): 2,
        datetime(2026, 11, 24, 8, 15, tzinfo=UTC): 2,
    }
    assert len(await read(db, Hours(zone), now)) == 3


@pytest.mark.parametrize(("day", "length"), [("2026-10-25", 25), ("2026-03-29", 24), ("2026-11-24", 24)])
async def test_a_long_day_is_counted_whole(db: Database, day: str, length: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    last = datetime.fromisoformat(f"{day}T23:30:00").replace(tzinfo=zone).astimezone(UTC)
    async with db.transaction() as session:
        hours = await Hours(zone).read(session, last)
    assert len(hours) == length
    assert hours[-1].start == last - timedelta(minutes=30)
    assert all(later.start - sooner.start == timedelta(hours=1) for sooner, later in itertools.pairwise(hours))
