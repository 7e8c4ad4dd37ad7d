"""The reminder sweep on real PostgreSQL: each due reminder once, whoever sweeps, whatever dies."""

import asyncio
import os
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from bot.servers.postgres import Postgres
from core.db import Database, is_away
from core.reminders import as_reminder
from core.wake import Wakes
from jobs.sweeps import BATCH_MAX, put_due, reminder_text, sweep_refused, sweep_reminders
from tests.jobs.people import Known, remind, said, someone
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


async def posted(db: Database) -> int:
    """How many reminders are in the outbox."""
    count: int = await db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'reminder'")
    return count


async def test_due_reminder_is_said_once_and_one_not_due_is_not(db: Database) -> None:
    known, wakes = await someone(db), Wakes(db)
    identifier = await remind(db, known, NOW - timedelta(seconds=1))
    await remind(db, known, NOW + timedelta(seconds=1), content="not yet")
    assert await put_due(db, wakes, NOW) == 1
    assert await put_due(db, wakes, NOW) == 0
    assert await said(db, known.conversation_id) == ["Reminder: stretch"]
    row = await db.pool.fetchrow("SELECT state, last_sent_for FROM reminder WHERE id = $1", identifier)
    assert tuple(row) == ("done", NOW - timedelta(seconds=1))
    assert wakes.event("outbox").is_set()


@pytest.mark.parametrize(
    ("late", "text"),
    [
        (timedelta(seconds=60), "Reminder: stretch"),
        (timedelta(seconds=61), "Reminder (due 09:00, late): stretch"),
        (timedelta(hours=14), "Reminder (due 09:00, late): stretch"),
        (timedelta(hours=15), "Reminder (due 23 Nov 09:00, late): stretch"),
    ],
)
def test_late_reminder_says_when_it_was_due_by_the_persons_clock(late: timedelta, text: str) -> None:
    assert reminder_text("stretch", NOW, "Africa/Nairobi", NOW + late) == text


async def test_a_reminder_speaks_the_persons_language(db: Database) -> None:
    known = await someone(db)
    await db.pool.execute("UPDATE person SET language = 'sw' WHERE id = $1", known.person_id)
    await remind(db, known, NOW, content="kulipa kodi")
    await remind(db, known, NOW - timedelta(hours=1), content="kunyoosha")
    assert await put_due(db, Wakes(db), NOW) == 2
    assert await said(db, known.conversation_id) == [
        "Kikumbusho (cha 08:00, kimechelewa): kunyoosha", "Kikumbusho: kulipa kodi"
    ]  # fmt: skip


async def test_repeating_reminder_moves_on_past_what_was_missed(db: Database) -> None:
    known, wakes = await someone(db), Wakes(db)
    identifier = await remind(db, known, NOW, rrule="FREQ=DAILY")
    ending = await remind(db, known, NOW, content="last", rrule="FREQ=DAILY;UNTIL=20261123T090000")
    broken = await remind(db, known, NOW, content="odd", rrule="FREQ=NEVER")
    assert await put_due(db, wakes, NOW + timedelta(days=2, hours=1)) == 3
    assert len(await said(db, known.conversation_id)) == 3
    row = await db.pool.fetchrow("SELECT state, wall_time, due_at FROM reminder WHERE id = $1", identifier)
    assert tuple(row) == ("active", datetime(2026, 11, 26, 9, 0), NOW + timedelta(days=3))  # noqa: DTZ001
    states = await db.pool.fetch("SELECT state FROM reminder WHERE id = ANY($1::uuid[])", [ending, broken])
    assert [state["state"] for state in states] == ["done", "done"]
    assert await put_due(db, wakes, NOW + timedelta(days=3)) == 1


async def test_many_due_at_once_are_each_said_once_by_racing_sweeps(db: Database) -> None:
    people = [await someone(db) for _ in range(201)]
    count = BATCH_MAX * 2 + 10
    await _remind_many(db, people, count, NOW - timedelta(seconds=1))
    wakes = Wakes(db)

    async def sweep() -> int:
        total = 0
        while claimed := await put_due(db, wakes, NOW):
            total += claimed
        return total

    assert sum(await asyncio.gather(*(sweep() for _ in range(4)))) == count
    keys = await db.pool.fetch("SELECT dedup_key FROM outbox")
    assert len({row["dedup_key"] for row in keys}) == len(keys) == count
    seqs = Counter(row["n"] for row in await db.pool.fetch(
        "SELECT max(seq) - count(*) AS n FROM message GROUP BY conversation_id"
    ))  # fmt: skip
    assert seqs == {0: 201}


async def test_running_sweep_says_a_reminder_within_half_a_second_of_its_time(db: Database) -> None:
    known, wakes = await someone(db), Wakes(db)
    sweeps = [asyncio.create_task(sweep_reminders(db, wakes)) for _ in range(2)]
    try:
        due_at = datetime.now(UTC) + timedelta(seconds=0.3)
        await remind(db, known, due_at)
        await until(lambda: posted(db), 5, "the reminder in the outbox")
        at = await db.pool.fetchval("SELECT created_at FROM message")
        assert timedelta(0) <= at - due_at < timedelta(seconds=0.5)
        assert await posted(db) == 1
    finally:
        await _end(sweeps)


async def test_sweep_goes_on_after_postgresql_was_away(db: Database, database: str, postgres: Postgres) -> None:
    known = await someone(db)
    sweep = asyncio.create_task(sweep_reminders(db, Wakes(db)))
    owner = await postgres.connect()

    async def set_reminder(content: str) -> bool:
        try:
            await remind(db, known, datetime.now(UTC), content=content)
        except Exception as error:
            if not is_away(error):
                raise
            return False
        return True

    async def has_posted(count: int) -> bool:
        return await posted(db) == count

    try:
        for number in range(3):
            await owner.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
            await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
            await owner.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
            await until(partial(set_reminder, str(number)), 5, "a reminder set")
            await until(partial(has_posted, number + 1), 10, "the reminder in the outbox")
        assert not sweep.done()
    finally:
        await owner.close()
        await _end([sweep])
    assert await said(db, known.conversation_id) == [f"Reminder: {number}" for number in range(3)]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", ["reminders.claimed", "reminders.before_commit", "reminders.committed"])
async def test_sweep_that_dies_says_each_reminder_once(db: Database, database_url: str, point: str, nth: int) -> None:
    known = await someone(db)
    for number in range(nth):
        await remind(db, known, NOW + timedelta(minutes=number), content=str(number), rrule="FREQ=DAILY")
    assert await _sweep_process(database_url, nth, f"{point}:{nth}") == 9
    await until(partial(_let_go, db), 10, "PostgreSQL letting go of what the dead process held")
    for minute in range(nth):
        await put_due(db, Wakes(db), NOW + timedelta(minutes=minute))
    assert await said(db, known.conversation_id) == [f"Reminder: {number}" for number in range(nth)]
    assert await db.pool.fetchval("SELECT count(*) FROM reminder WHERE due_at >= $1", NOW + timedelta(days=1)) == nth


async def _let_go(db: Database) -> bool:
    """Whether nobody but us holds anything of a reminder."""
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'reminder'::regclass AND pid <> pg_backend_pid()"
    return bool(await db.pool.fetchval(held) == 0)


async def test_refusals_are_handed_out_again_until_followed_up(db: Database) -> None:
    known = await someone(db)
    await remind(db, known, NOW)
    await put_due(db, Wakes(db), NOW)
    outbox_id = await db.pool.fetchval("UPDATE outbox SET state = 'refused', done_at = now() RETURNING id")
    handed: list[tuple[float, int]] = []
    seconds = 0.0
    fails = True

    async def hand_out(outbox_ids: object) -> None:
        nonlocal fails, seconds
        assert isinstance(outbox_ids, list)
        if fails:
            fails = False
            raise ConnectionError
        handed.extend((seconds, identifier) for identifier in outbox_ids)
        seconds += 15.0

    sweep = asyncio.create_task(sweep_refused(db, hand_out, clock=lambda: seconds))

    async def handed_twice() -> bool:
        return len(handed) == 2

    try:
        await until(handed_twice, 10, "the second time")
        await db.pool.execute("UPDATE outbox SET followed_up_at = now()")
    finally:
        await _end([sweep])
    assert handed == [(0.0, outbox_id), (15.0, outbox_id)]


async def _remind_many(db: Database, people: list[Known], count: int, due_at: datetime) -> None:
    whose = [people[number % len(people)] for number in range(count)]
    ids = [uuid4() for _ in whose]
    async with db.pool.acquire() as connection:
        keys = await db.keys.current(connection, [known.conversation_id for known in people])
        await connection.execute(
            """
            INSERT INTO reminder (id, person_id, conversation_id, sealed, wall_time, zone, due_at, key)
            SELECT id, person_id, conversation_id, sealed, now()::timestamp, 'UTC', $5, id::text
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[]) AS g(id, person_id, conversation_id, sealed)
            """,
            ids,
            [known.person_id for known in whose],
            [known.conversation_id for known in whose],
            [
                keys[known.conversation_id].seal(as_reminder(one), b"stretch")
                for known, one in zip(whose, ids, strict=True)
            ],
            due_at,
        )


async def _sweep_process(database_url: str, passes: int, crash: str) -> int:
    """Run `passes` of the sweep at NOW, a minute apart, in a process of their own; its exit code."""
    program = (
        "import asyncio, sys; from datetime import datetime, timedelta; from core.db import Database;"
        "from core.settings import Settings; from core.wake import Wakes; from jobs.sweeps import put_due\n"
        "async def main():\n"
        "    db = await Database.connect(sys.argv[1], Settings(_env_file=None).key_list)\n"
        "    now = datetime.fromisoformat(sys.argv[2])\n"
        "    for minute in range(int(sys.argv[3])): await put_due(db, Wakes(db), now + timedelta(minutes=minute))\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, database_url, NOW.isoformat(), str(passes), cwd=ROOT,
        env={**os.environ, "MATHIA_CRASH": crash},
    )  # fmt: skip
    return await process.wait()


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
