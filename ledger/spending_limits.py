"""What a person may spend, by one payment and within a day: their own limits, below those that staff set for all.

A person lowers theirs at once. Raising one needs more than a message, and staff's stand above it.
"""

from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.models import Person
from core.settings import Settings
from ledger.money import Money

CURRENCY = "KES"


class Per(StrEnum):
    """What a limit is held against."""

    PAYMENT = "payment"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """The most by one payment and within a day, as they hold now; `staff` is the most that either can be raised to."""

    payment: Money
    day: Money
    staff: Money

    def of(self, per: Per) -> Money:
        """One of the two."""
        return self.payment if per is Per.PAYMENT else self.day


async def limits_of(session: AsyncSession, person: UUID, settings: Settings) -> SpendingLimits:
    """What holds for a person who is not merged into another; under their lock (`people.hold`) it stays so."""
    row = (await session.execute(select(Person.payment_limit, Person.day_limit).where(Person.id == person))).one()
    staff = Money.of(settings.payment_day_max, CURRENCY)
    day = staff if row.day_limit is None else min(staff, Money(row.day_limit, CURRENCY))
    payment = day if row.payment_limit is None else min(day, Money(row.payment_limit, CURRENCY))
    return SpendingLimits(payment, day, staff)


async def set_limit(session: AsyncSession, person: UUID, per: Per, at_most: Money) -> None:
    """Set one of a person's own limits, in the caller's transaction, which holds the person."""
    column = Person.payment_limit if per is Per.PAYMENT else Person.day_limit
    await session.execute(update(Person).where(Person.id == person).values({column: at_most.minor}))


def midnight(now: datetime, settings: Settings) -> datetime:
    """When the day of the limits began. A day is ours, not the person's: whoever travels has no second one."""
    zone = ZoneInfo(settings.default_timezone)
    return datetime.combine(now.astimezone(zone).date(), time(), zone)
