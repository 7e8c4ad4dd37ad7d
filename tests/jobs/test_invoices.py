"""Invoices on their way: each sent once, round again by calendar month, and told of where they do not arrive."""

import asyncio
from calendar import monthrange
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core import recurrence
from core.db import Database
from core.files import Files
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes
from jobs.invoices import REMIND_AFTER_DAYS, REMIND_AT, Hands, attend, next_reminder, renew
from jobs.reroute import follow_up
from ledger import invoices
from ledger.invoices import Invoice, Places, Words
from ledger.money import Money
from tests.jobs.people import Known, said, someone

ZONE = "Africa/Nairobi"
WORDS = Words("Asha", "Achieng", "rent", "achieng@example.com", "+254712000009")
RENT = Money(500_000, "KES")


@pytest.fixture
async def hands(db: Database, tmp_path: Path) -> Hands:
    """The worker's hands; files are kept in a folder."""
    files = Files(db, Storage(Settings.model_validate({"files_dir": str(tmp_path)})))
    return Hands(db, Wakes(db), files, "https://pay.example", ZONE)


def late(hands: Hands, at: datetime) -> Hands:
    """The same at another time."""
    return replace(hands, clock=lambda: at)


async def client(db: Database, channel: str) -> UUID:
    """The room of somebody who never wrote."""
    made = uuid4()
    await db.pool.execute(
        "INSERT INTO conversation (id, channel, account, room) VALUES ($1, $2, 'ours', $3)", made, channel, made.hex
    )
    return made


async def make(db: Database, who: Known, to: Places = invoices.NOWHERE, due_on: date | None = None) -> Invoice:
    """An invoice of today."""
    async with db.hot() as connection:
        return await invoices.create(
            connection, uuid4().hex, who.person_id, who.conversation_id, RENT, WORDS, today=datetime.now(UTC).date(),
            due_on=due_on, to=to,
        )  # fmt: skip


async def now(db: Database, invoice: Invoice) -> Invoice:
    """As it is now."""
    async with db.hot() as connection:
        return await invoices.find(connection, invoice.id)


async def test_of_many_workers_one_sends_it(db: Database, hands: Hands) -> None:
    who = await someone(db)
    to = Places(await client(db, "email"), await client(db, "whatsapp"))
    made = await make(db, who, to)
    await asyncio.gather(*(attend(hands, made.id) for _ in range(6)))
    await attend(hands, made.id)
    assert (await now(db, made)).state == "sent"
    assert await db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'invoice'") == 2
    assert await db.pool.fetchval("SELECT count(*) FROM file WHERE state = 'kept'") == 2
    assert await db.pool.fetchval("SELECT due_at FROM invoice") is None


async def test_it_goes_without_its_pdf_where_files_cannot_be_kept(db: Database, hands: Hands, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    broken = Files(db, Storage(Settings.model_validate({"files_dir": str(tmp_path / "a file" / "folder")})))
    made = await make(db, await someone(db), Places(await client(db, "email")))
    await attend(replace(hands, files=broken), made.id)
    assert (await now(db, made)).state == "sent"
    assert await db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'invoice'") == 1


async def test_what_was_taken_back_meanwhile_is_not_sent(db: Database, hands: Hands) -> None:
    made = await make(db, await someone(db), Places(await client(db, "email")))
    async with db.hot() as connection:
        await invoices.void(connection, made.id)
    await attend(hands, made.id)
    assert await db.pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_nobody_is_reminded_of_what_they_have_paid(db: Database, hands: Hands) -> None:
    due_on = datetime.now(UTC).date() + timedelta(days=1)
    made = await make(db, await someone(db), Places(await client(db, "email")), due_on)
    await attend(hands, made.id)
    async with db.hot() as connection:
        await invoices.pay(connection, made.id, "p", RENT)
    assert await db.pool.fetchval("SELECT due_at FROM invoice") is None


@pytest.mark.parametrize(("state", "words"), [("refused", "could not be delivered to Achieng by WhatsApp"),
                                              ("held", "lets me show invoice INV-")])  # fmt: skip
async def test_whoever_sent_it_is_told_when_it_does_not_arrive(
    db: Database, hands: Hands, state: str, words: str
) -> None:
    who = await someone(db)
    made = await make(db, who, Places(None, await client(db, "whatsapp")))
    await attend(hands, made.id)
    outbox_id = await db.pool.fetchval(
        "UPDATE outbox SET state = $1, done_at = now(), held_seq = 0 WHERE kind = 'invoice' RETURNING id", state
    )
    for _ in range(2):
        await follow_up(db, hands.wakes, outbox_id, can_mail=True)
    [told] = await said(db, who.conversation_id)
    assert words in told
    assert f"status of {made.number}" in told


async def series(db: Database, who: Known, first: date, rule: str, to: Places = invoices.NOWHERE) -> invoices.Series:
    """A series whose first invoice is made on this day."""
    settled = recurrence.settle(rule, datetime.combine(first, time(8)), ZONE)
    assert settled is not None
    rrule, wall = settled
    async with db.hot() as connection:
        return await invoices.repeat(
            connection, uuid4().hex, who.person_id, who.conversation_id, RENT, WORDS, rrule=rrule, wall_time=wall,
            zone=ZONE, due_at=recurrence.resolve(wall, ZONE), due_days=14, to=to,
        )  # fmt: skip


async def issued(db: Database) -> list[date]:
    """The days of the invoices there are."""
    return [row["issued_on"] for row in await db.pool.fetch("SELECT issued_on FROM invoice ORDER BY id")]


async def test_on_the_31st_it_comes_on_the_last_day_of_shorter_months(db: Database, hands: Hands) -> None:
    made = await series(db, await someone(db), date(2027, 1, 31), "monthly")
    day = datetime(2027, 1, 25, 5, tzinfo=UTC)
    while day < datetime(2028, 3, 5, tzinfo=UTC):
        await renew(late(hands, day), made.id)
        day += timedelta(days=1)
    months = [(2027, month) for month in range(1, 13)] + [(2028, 1), (2028, 2)]
    assert await issued(db) == [date(year, month, monthrange(year, month)[1]) for year, month in months]
    assert await db.pool.fetchval("SELECT count(*) FROM invoice WHERE due_on = issued_on + 14") == 14


async def test_what_was_missed_is_caught_up_with_once(db: Database, hands: Hands) -> None:
    made = await series(db, await someone(db), date(2027, 1, 10), "monthly")
    for month, day in ((4, 20), (5, 9), (5, 10)):
        at = datetime(2027, month, day, 9, tzinfo=UTC)
        await asyncio.gather(*(renew(late(hands, at), made.id) for _ in range(4)))
    assert await issued(db) == [date(2027, 4, 20), date(2027, 5, 10)]
    assert [one[0][-5:] for one in await db.pool.fetch("SELECT number FROM invoice ORDER BY id")] == ["00001", "00002"]


async def test_a_series_ends_with_its_rule(db: Database, hands: Hands) -> None:
    made = await series(db, await someone(db), date(2027, 1, 10), "FREQ=MONTHLY;COUNT=2")
    for month in range(1, 6):
        at = datetime(2027, month, 10, 9, tzinfo=UTC)
        await renew(late(hands, at), made.id)
    assert len(await issued(db)) == 2
    assert await db.pool.fetchval("SELECT ended_at IS NOT NULL FROM invoice_series")


@given(
    due_on=some.dates(date(2024, 1, 1), date(2030, 1, 1)),
    zone=some.sampled_from((ZONE, "America/New_York", "Pacific/Apia")),
)
def test_reminders_come_on_their_days_in_order_and_end(due_on: date, zone: str) -> None:
    at = datetime.combine(due_on, time(), UTC) - timedelta(days=3)
    days = []
    while (upcoming := next_reminder(due_on, zone, at)) is not None:
        assert upcoming > at
        local = upcoming.astimezone(ZoneInfo(zone))
        assert local.time() >= REMIND_AT
        days.append((local.date() - due_on).days)
        at = upcoming
    assert tuple(days) == REMIND_AFTER_DAYS
