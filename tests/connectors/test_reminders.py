"""Reminders on real PostgreSQL: set, listed and cancelled by their own person, once however often it is tried."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import func, insert, select, update

from connectors.reminders import (
    ACTIVE_MAX,
    CONTENT_CHARS_MAX,
    DENSE_MAX,
    SHOWN_MAX,
    CancelReminder,
    ListReminders,
    SetReminder,
    SnoozeReminder,
    cancel_reminder,
    list_reminders,
    set_reminder,
    snooze_reminder,
)
from core.actions import ActionContext, Person
from core.db import Database
from core.errors import InvalidSlot, LimitReached, UserError
from core.models import Conversation, Reminder
from core.models import Person as PersonRow
from core.providers import Providers
from core.reminders import open_contents, seal_content
from core.settings import Settings

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""Monday, 15:00 in Nairobi."""


class People:
    """Makes people in the database, each with a conversation; gives their contexts."""

    def __init__(self, db: Database, providers: Providers, settings: Settings) -> None:
        self._db = db
        self._providers = providers
        self._settings = settings
        self._calls = 0

    async def new(self, zone: str | None = None) -> ActionContext:
        """A new person's context."""
        async with self._db.transaction() as session:
            person = PersonRow(timezone=zone)
            conversation = Conversation(channel="web", account="site", room=f"room-{self._calls}")
            session.add_all([person, conversation])
        return self.again(
            ActionContext(
                Person(person.id, "Amina", "en", zone),
                conversation.id,
                self._db,
                self._providers,
                self._settings,
                NOW,
                "",
            )
        )

    def again(self, ctx: ActionContext, *, now: datetime = NOW) -> ActionContext:
        """The same person's next call, with a key of its own."""
        self._calls += 1
        return replace(ctx, idempotency_key=f"turn:{self._calls}:1", now=now)


@pytest.fixture
async def people(db: Database) -> AsyncIterator[People]:
    settings = Settings(_env_file=None)
    providers = Providers(settings)
    try:
        yield People(db, providers, settings)
    finally:
        await providers.close()


def asked(content: str, time: str, recurrence: str | None = None) -> SetReminder:
    return SetReminder.model_validate({"content": content, "time": time, "recurrence": recurrence})


async def rows(db: Database) -> int:
    async with db.transaction() as session:
        return await session.scalar(select(func.count()).select_from(Reminder)) or 0


async def listed(people: People, ctx: ActionContext) -> str:
    return (await list_reminders.run(people.again(ctx), ListReminders())).text


async def test_reminder_is_confirmed_in_the_persons_own_time(people: People, db: Database) -> None:
    ctx = await people.new()
    result = await set_reminder.run(ctx, asked("call Amina", "2026-11-24T09:00"))
    assert result.text == "Done. Reminder set for Tue 24 Nov, 09:00 (Nairobi)."
    async with db.transaction() as session:
        [reminder] = await open_contents(session, [(await session.scalars(select(Reminder))).one()])
        assert b"Amina" not in reminder.sealed
    assert (str(reminder.id), reminder.content, reminder.zone) == (result.data["id"], "call Amina", "Africa/Nairobi")
    assert reminder.due_at == datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert (reminder.person_id, reminder.conversation_id) == (ctx.person.id, ctx.conversation_id)
    assert (reminder.state, reminder.priority, reminder.rrule) == ("active", "normal", None)


async def test_stated_zone_counts_and_is_named(people: People) -> None:
    ctx = await people.new("America/New_York")
    result = await set_reminder.run(ctx, asked("call", "2027-01-05T18:30:15"))
    assert result.text == "Done. Reminder set for Tue 5 Jan 2027, 18:30 (New York)."
    assert result.data["due_at"] == "2027-01-05T23:30:15+00:00"


@pytest.mark.parametrize(
    ("recurrence", "text"),
    [
        ("daily", "Done. Reminder set every day; the next is Tue 24 Nov, 09:00 (Nairobi)."),
        ("Weekdays", "Done. Reminder set every weekday; the next is Tue 24 Nov, 09:00 (Nairobi)."),
        ("weekly", "Done. Reminder set every week on Tue; the next is Tue 24 Nov, 09:00 (Nairobi)."),
        ("monthly", "Done. Reminder set every month on the 24th; the next is Tue 24 Nov, 09:00 (Nairobi)."),
        ("yearly", "Done. Reminder set every year on 24 Nov; the next is Tue 24 Nov, 09:00 (Nairobi)."),
        (
            "FREQ=WEEKLY;BYDAY=MO,TH;COUNT=2",
            "Done. Reminder set every week on Mon and Thu until 30 Nov 2026; the next is Thu 26 Nov, 09:00 (Nairobi).",
        ),
        ("once", "Done. Reminder set for Tue 24 Nov, 09:00 (Nairobi)."),
    ],
)
async def test_repeating_reminder_says_how_often_and_when_next(people: People, recurrence: str, text: str) -> None:
    result = await set_reminder.run(await people.new(), asked("stretch", "2026-11-24T09:00", recurrence))
    assert result.text == text


async def test_repeating_reminder_whose_time_has_gone_today_begins_tomorrow(people: People) -> None:
    result = await set_reminder.run(await people.new(), asked("stretch", "2026-11-23T08:00", "daily"))
    assert result.text == "Done. Reminder set every day; the next is Tue 24 Nov, 08:00 (Nairobi)."


async def test_time_the_clocks_skip_is_the_first_moment_after(people: People) -> None:
    result = await set_reminder.run(await people.new("Europe/Berlin"), asked("wake", "2027-03-28T02:30"))
    assert result.text == "Done. Reminder set for Sun 28 Mar 2027, 03:00 (Berlin)."


@pytest.mark.parametrize(
    ("time", "recurrence", "slot", "words"),
    [
        ("2026-11-23T14:59", None, "time", r"in the past: Mon 23 Nov, 14:59 \(Nairobi\)"),
        ("2026-11-23T15:00", None, "time", "in the past"),
        ("0001-01-01T00:00", None, "time", "in the past"),
        ("0001-01-01T00:00", "daily", "time", "more than a year ago"),
        ("2036-12-01T09:00", None, "time", "more than 10 years"),
        ("9999-12-31T23:59", "yearly", "time", "more than 10 years"),
        ("2026-11-24T09:00", "whenever", "recurrence", "How often should it repeat"),
        ("2026-11-24T09:00", "FREQ=MINUTELY", "recurrence", "shortest interval is 15 minutes"),
        ("2026-11-24T09:00", "FREQ=DAILY;UNTIL=20260101", "recurrence", "never come round"),
    ],
)
async def test_times_that_cannot_be_kept_are_asked_for_again(
    people: People, db: Database, time: str, recurrence: str | None, slot: str, words: str
) -> None:
    with pytest.raises(InvalidSlot, match=words) as problem:
        await set_reminder.run(await people.new(), asked("stretch", time, recurrence))
    assert problem.value.slot == slot
    assert await rows(db) == 0


@pytest.mark.parametrize(
    "time",
    ["", "tomorrow", "2026-11-24", "09:00", "2026-11-24T09:00Z", "2026-11-24T09:00+03:00", "2026-13-01T09:00",
     "2026-02-30T09:00", "2026-11-24T24:01", "2026-11-24 09:00", "2026-W48-2T09:00", 1795500000, None,
     "2026-11-24T09:00:00.5"],
)  # fmt: skip
def test_only_local_times_without_an_offset_are_read(time: object) -> None:
    with pytest.raises(ValidationError):
        SetReminder.model_validate({"content": "x", "time": time})


def test_content_has_a_limit() -> None:
    assert len(asked("x" * CONTENT_CHARS_MAX, "2026-11-24T09:00").content) == CONTENT_CHARS_MAX
    for content in ("", "   ", "x" * (CONTENT_CHARS_MAX + 1)):
        with pytest.raises(ValidationError):
            asked(content, "2026-11-24T09:00")


async def test_repeated_call_finds_its_reminder_and_says_the_same(people: People, db: Database) -> None:
    ctx = await people.new()
    first = await set_reminder.run(ctx, asked("stretch", "2026-11-23T15:01"))
    # The call is tried again after its time has passed; what was set stays set.
    late = replace(ctx, now=NOW + timedelta(hours=1))
    assert await set_reminder.run(late, asked("stretch", "2026-11-23T15:01")) == first
    assert await rows(db) == 1


async def test_calls_with_one_key_at_once_set_one_reminder(people: People, db: Database) -> None:
    ctx = await people.new()
    results = await asyncio.gather(
        *(set_reminder.run(ctx, asked("stretch", "2026-11-24T09:00", "daily")) for _ in range(6))
    )
    assert len({result.text for result in results}) == 1
    assert len({str(result.data["id"]) for result in results}) == 1
    assert await rows(db) == 1


async def fill(db: Database, ctx: ActionContext, count: int, rrule: str | None = None) -> None:
    """So many reminders of this person, the first due soonest."""
    ids = [uuid4() for _ in range(count)]
    async with db.transaction() as session:
        contents = [
            await seal_content(session, one, ctx.conversation_id, f"thing {number}")
            for number, one in enumerate(ids, 1)
        ]
        await session.execute(
            insert(Reminder),
            [
                {
                    "id": ids[number - 1], "sealed": contents[number - 1],
                    "person_id": ctx.person.id, "conversation_id": ctx.conversation_id,
                    "wall_time": datetime(2026, 12, 1, 9) + timedelta(minutes=number), "zone": "Africa/Nairobi",  # noqa: DTZ001
                    "rrule": rrule, "due_at": NOW + timedelta(days=8, minutes=number),
                    "key": f"fill:{ctx.person.id}:{number}",
                }
                for number in range(1, count + 1)
            ],
        )  # fmt: skip


async def test_limit_of_active_reminders_holds_for_calls_at_once(people: People, db: Database) -> None:
    ctx = await people.new()
    await fill(db, ctx, ACTIVE_MAX - 1)
    calls = (set_reminder.run(people.again(ctx), asked("one more", "2026-11-24T09:00")) for _ in range(4))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ActionResult"] + ["LimitReached"] * 3
    assert await rows(db) == ACTIVE_MAX
    assert "as many as I keep" in str(next(result for result in results if isinstance(result, LimitReached)))


async def test_limit_is_each_persons_own(people: People, db: Database) -> None:
    full, other = await people.new(), await people.new()
    await fill(db, full, ACTIVE_MAX)
    assert (await set_reminder.run(other, asked("first", "2026-11-24T09:00"))).text.startswith("Done.")


async def test_few_reminders_may_come_several_times_a_day(people: People, db: Database) -> None:
    ctx = await people.new()
    await fill(db, ctx, DENSE_MAX, "FREQ=HOURLY")
    with pytest.raises(LimitReached, match="several times a day"):
        await set_reminder.run(people.again(ctx), asked("drink", "2026-11-24T09:00", "FREQ=HOURLY;INTERVAL=2"))
    assert (await set_reminder.run(people.again(ctx), asked("drink", "2026-11-24T09:00", "daily"))).text.startswith(
        "Done."
    )


async def test_list_is_numbered_soonest_first_and_only_the_persons_own(people: People) -> None:
    ctx, other = await people.new(), await people.new()
    assert await listed(people, ctx) == "You have no reminders."
    await set_reminder.run(people.again(ctx), asked("pay\nrent", "2026-12-01T09:00", "monthly"))
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    await set_reminder.run(people.again(other), asked("secret", "2026-11-24T08:00"))
    assert await listed(people, ctx) == (
        "Your 2 reminders (Nairobi time)\n"
        "1. Tue 24 Nov, 09:00: call Amina\n"
        "2. Tue 1 Dec, 09:00: pay rent, every month on the 1st"
    )


async def test_list_names_the_zone_a_reminder_was_set_in_when_it_is_another(people: People) -> None:
    ctx = await people.new("Europe/London")
    await set_reminder.run(ctx, asked("tea", "2026-11-24T16:00"))
    moved = replace(ctx, person=replace(ctx.person, timezone="Asia/Tokyo"))
    assert await listed(people, moved) == "Your reminder (Tokyo time)\n1. Tue 24 Nov, 16:00 (London): tea"


async def test_long_list_shows_the_first_and_says_how_many_more(people: People, db: Database) -> None:
    ctx = await people.new()
    await fill(db, ctx, SHOWN_MAX + 3)
    lines = (await listed(people, ctx)).splitlines()
    assert lines[0] == f"Your {SHOWN_MAX + 3} reminders (Nairobi time)"
    assert lines[1].endswith("thing 1")
    assert lines[-1] == "… and 3 more."
    assert len(lines) == SHOWN_MAX + 2


@pytest.mark.parametrize(
    "which", ["2", "#2", "number 2", "No. 2", "2.", 2, "dentist", "the Dentist".replace("the ", "")]
)
async def test_reminder_is_cancelled_by_its_number_or_its_words(people: People, which: object) -> None:
    ctx = await people.new()
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    await set_reminder.run(people.again(ctx), asked("see the dentist", "2026-11-25T09:00"))
    result = await cancel_reminder.run(people.again(ctx), CancelReminder.model_validate({"which": which}))
    assert result.text == "Done. Cancelled “see the dentist”."
    assert "dentist" not in await listed(people, ctx)
    assert "call Amina" in await listed(people, ctx)


async def test_cancelling_again_under_the_same_key_cancels_nothing_more(people: People) -> None:
    ctx = await people.new()
    for content in ("one", "two", "three"):
        await set_reminder.run(people.again(ctx), asked(content, "2026-11-24T09:00"))
    call = people.again(ctx)
    first = await cancel_reminder.run(call, CancelReminder(which="1"))
    assert await cancel_reminder.run(call, CancelReminder(which="1")) == first
    assert (await listed(people, ctx)).startswith("Your 2 reminders")


async def test_words_that_fit_several_are_asked_about_with_their_numbers(people: People) -> None:
    ctx = await people.new()
    for content, day in (("call Amina", 24), ("pay rent", 25), ("call Juma", 26)):
        await set_reminder.run(people.again(ctx), asked(content, f"2026-11-{day}T09:00"))
    with pytest.raises(InvalidSlot) as problem:
        await cancel_reminder.run(people.again(ctx), CancelReminder(which="call"))
    assert problem.value.slot == "which"
    assert str(problem.value) == (
        "Which one? Tell me its number.\n1. Tue 24 Nov, 09:00: call Amina\n3. Thu 26 Nov, 09:00: call Juma"
    )


async def three(people: People, ctx: ActionContext) -> None:
    """Three reminders; the second in the list was set last."""
    for content, day in (("call Amina", 24), ("call Juma", 26), ("pay rent", 25)):
        await set_reminder.run(people.again(ctx), asked(content, f"2026-11-{day}T09:00"))


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        ("last", "pay rent"), ("the last one", "pay rent"), ("ya mwisho", "pay rent"), ("second", "pay rent"),
        ("ya pili", "pay rent"), ("kwanza", "call Amina"), ("ya 3", "call Juma"),
    ],
)  # fmt: skip
async def test_a_reminder_is_named_by_its_place_or_as_the_last_one_set(people: People, which: str, gone: str) -> None:
    ctx = await people.new()
    await three(people, replace(ctx, now=NOW))
    later = people.again(ctx, now=NOW + timedelta(seconds=1))
    await cancel_reminder.run(later, CancelReminder(which="pay rent"))
    await set_reminder.run(later, asked("pay rent", "2026-11-25T09:00"))
    said = await cancel_reminder.run(people.again(ctx), CancelReminder(which=which))
    assert said.text == f"Done. Cancelled “{gone}”."


@pytest.mark.parametrize("which", ["all", "both", "All of them", "yote", "vyote viwili"])
async def test_all_are_cancelled_at_once_however_often_it_is_tried(people: People, which: str) -> None:
    ctx = await people.new()
    await three(people, ctx)
    call = people.again(ctx)
    first = await cancel_reminder.run(call, CancelReminder(which=which))
    assert first.text == "Done. Cancelled all 3: “call Amina”, “pay rent”, “call Juma”."
    assert await cancel_reminder.run(call, CancelReminder(which=which)) == first
    assert await listed(people, ctx) == "You have no reminders."


async def test_the_only_reminder_need_not_be_named(people: People) -> None:
    ctx = await people.new()
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    assert (await cancel_reminder.run(people.again(ctx), CancelReminder())).text == "Done. Cancelled “call Amina”."
    await three(people, ctx)
    with pytest.raises(InvalidSlot, match="Which one"):
        await cancel_reminder.run(people.again(ctx), CancelReminder())


async def test_a_reminder_is_moved_once_however_often_it_is_tried(people: People, db: Database) -> None:
    ctx = await people.new()
    await three(people, ctx)
    call = people.again(ctx)
    to = SnoozeReminder.model_validate({"which": "rent", "time": "2026-11-30T10:00"})
    first = await snooze_reminder.run(call, to)
    assert first.text == "Done. “pay rent” comes Mon 30 Nov, 10:00 (Nairobi) now."
    assert await snooze_reminder.run(call, to) == first
    assert await listed(people, ctx) == (
        "Your 3 reminders (Nairobi time)\n1. Tue 24 Nov, 09:00: call Amina\n2. Thu 26 Nov, 09:00: call Juma\n"
        "3. Mon 30 Nov, 10:00: pay rent"
    )
    assert await rows(db) == 4


async def test_a_time_that_cannot_be_kept_moves_nothing(people: People) -> None:
    ctx = await people.new()
    await three(people, ctx)
    before = await listed(people, ctx)
    with pytest.raises(InvalidSlot, match="in the past"):
        await snooze_reminder.run(
            people.again(ctx), SnoozeReminder.model_validate({"which": "rent", "time": "2026-11-01T10:00"})
        )
    assert await listed(people, ctx) == before


async def test_what_has_just_gone_off_is_put_off_without_being_named(people: People, db: Database) -> None:
    """It comes once more; one that comes round goes on besides."""
    ctx = await people.new()
    await three(people, ctx)
    daily = asked("take medicine", "2026-11-24T08:00", "daily")
    await set_reminder.run(people.again(ctx), daily)
    for words, minutes in (("call Amina", 50), ("take medicine", 1)):
        async with db.transaction() as session:
            every = await open_contents(session, (await session.scalars(select(Reminder))).all())
            one = next(one for one in every if one.content == words)
            one.last_sent_for = NOW - timedelta(minutes=minutes)
            one.state = "active" if one.rrule else "done"
    to = SnoozeReminder.model_validate({"time": "2026-11-23T15:10"})
    said = await snooze_reminder.run(people.again(ctx), to)
    assert said.text == "Done. I will say “take medicine” again Mon 23 Nov, 15:10 (Nairobi)."
    assert "take medicine, every day" in await listed(people, ctx)
    named = SnoozeReminder.model_validate({"which": "Amina", "time": "2026-11-23T15:10"})
    said = await snooze_reminder.run(people.again(ctx), named)
    assert said.text == "Done. I will say “call Amina” again Mon 23 Nov, 15:10 (Nairobi)."


async def test_so_much_later_is_counted_from_its_own_time_or_from_now_where_it_went_off(
    people: People, db: Database
) -> None:
    ctx = await people.new()
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    said = await snooze_reminder.run(people.again(ctx), SnoozeReminder(minutes=90))
    assert said.text == "Done. “call Amina” comes Tue 24 Nov, 10:30 (Nairobi) now."
    async with db.transaction() as session:
        await session.execute(
            update(Reminder).where(Reminder.state == "active").values(state="done", last_sent_for=NOW)
        )
    said = await snooze_reminder.run(people.again(ctx), SnoozeReminder(minutes=10))
    assert said.text == "Done. I will say “call Amina” again Mon 23 Nov, 15:10 (Nairobi)."
    back = people.again(ctx)
    said = await snooze_reminder.run(back, SnoozeReminder(back=True))
    assert said.text == "Done. Cancelled “call Amina”."
    assert await snooze_reminder.run(back, SnoozeReminder(back=True)) == said
    assert await listed(people, ctx) == "You have no reminders."


async def test_a_move_is_taken_back_once_however_often_it_is_tried(people: People) -> None:
    ctx = await people.new()
    await three(people, ctx)
    before = await listed(people, ctx)
    with pytest.raises(UserError, match="No reminder of yours was moved"):
        await snooze_reminder.run(people.again(ctx), SnoozeReminder(back=True))
    to = SnoozeReminder.model_validate({"which": "rent", "time": "2026-11-30T10:00"})
    await snooze_reminder.run(people.again(ctx, now=NOW + timedelta(seconds=1)), to)
    back = people.again(ctx)
    said = await snooze_reminder.run(back, SnoozeReminder(back=True))
    assert said.text == "Done. “pay rent” comes Wed 25 Nov, 09:00 (Nairobi) now."
    assert await snooze_reminder.run(back, SnoozeReminder(back=True)) == said
    assert await listed(people, ctx) == before
    with pytest.raises(InvalidSlot, match="To when"):
        await snooze_reminder.run(people.again(ctx), SnoozeReminder(which="rent"))


async def test_nobody_moves_what_is_another_persons(people: People) -> None:
    ctx, other = await people.new(), await people.new()
    await three(people, other)
    with pytest.raises(UserError, match="no reminders"):
        await snooze_reminder.run(people.again(ctx), SnoozeReminder.model_validate({"time": "2026-11-30T10:00"}))


async def test_nothing_to_cancel_is_said_and_nothing_is_called_done(people: People) -> None:
    ctx, other = await people.new(), await people.new()
    await set_reminder.run(people.again(other), asked("dentist", "2026-11-24T09:00"))
    with pytest.raises(UserError, match=r"You have no reminders\."):
        await cancel_reminder.run(people.again(ctx), CancelReminder(which="1"))
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    for which in ("dentist", "2", "0", "9999", "!?"):
        with pytest.raises(UserError, match="no reminder called"):
            await cancel_reminder.run(people.again(ctx), CancelReminder(which=which))
    assert "dentist" in await listed(people, other)


async def test_two_cancelling_the_last_reminder_at_once_cancel_it_once(people: People) -> None:
    ctx = await people.new()
    await set_reminder.run(people.again(ctx), asked("call Amina", "2026-11-24T09:00"))
    calls = (cancel_reminder.run(people.again(ctx), CancelReminder(which="1")) for _ in range(4))
    results = await asyncio.gather(*calls, return_exceptions=True)
    done = [result for result in results if not isinstance(result, BaseException)]
    assert [result.text for result in done] == ["Done. Cancelled “call Amina”."]
    assert all(isinstance(result, UserError) for result in results if isinstance(result, BaseException))


async def test_a_reminder_that_is_over_the_limit_is_listed_with_when_it_comes(people: People) -> None:
    ctx = await people.new("Africa/Nairobi")
    await set_reminder.run(ctx, SetReminder.model_validate({"content": "stretch", "time": "2026-11-23T15:05"}))
    async with ctx.db.transaction() as session:
        await session.execute(update(Reminder).values(deferred_until=NOW + timedelta(hours=9)))
    listed = (await list_reminders.run(people.again(ctx), ListReminders())).text
    assert "Mon 23 Nov, 15:05: stretch, waits until Tue 24 Nov, 00:00" in listed
