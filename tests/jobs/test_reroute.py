"""What follows a refusal: an e-mail once, or a word to staff; and the worker, with a Valkey that forgets or is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import redis

from core.db import Database
from core.inbox import Inbox
from core.messages import ChannelName, Text
from core.outbox import NewMessage, Outbox, post
from core.settings import Settings
from core.wake import Wakes
from jobs.reroute import FOLLOW_UPS_MAX, follow_up
from jobs.worker import run_worker
from tests.factories import say
from tests.jobs.people import Known, remind, said, someone
from tests.said import addresses, mailbox, messages
from tests.waiting import until

STOP_LIMIT_S = 2.0


async def refused_reminder(db: Database, known: Known, why: str = "The number is not on WhatsApp.") -> int:
    """A reminder that its channel refused."""
    due_at = datetime.now(UTC) + timedelta(days=1)  # No sweep that runs beside the test may take it.
    key = f"reminder:{await remind(db, known, due_at)}:{due_at.isoformat()}"
    async with db.hot() as connection:
        await post(connection, [NewMessage(known.conversation_id, (Text(text="Reminder: stretch"),), "reminder", key)])
        identifier: int = await connection.fetchval(
            "UPDATE outbox SET state = 'refused', done_at = now(), error = $1 WHERE dedup_key = $2 RETURNING id",
            why,
            key,
        )
    return identifier


async def emails(db: Database) -> list[tuple[str, str, str]]:
    """What is in the outbox for e-mail: address, text and dedup key."""
    rows = await messages(
        db,
        "JOIN outbox o ON o.id = m.id JOIN conversation c ON c.id = o.conversation_id"
        " WHERE o.channel = 'email' ORDER BY o.id",
        also=["c.room"],
    )
    to = await addresses(db, [row["room"] for row in rows])
    return [(one, row["parts"][0]["text"], row["dedup_key"]) for one, row in zip(to, rows, strict=True)]


@asynccontextmanager
async def working(db: Database, redis_url: str) -> AsyncIterator[None]:
    """A worker while the block lasts; it must stop within STOP_LIMIT_S."""
    settings = Settings(_env_file=None, redis_url=redis_url)
    task = asyncio.create_task(run_worker(settings, db, Wakes(db), [ChannelName.EMAIL]))
    try:
        yield
        assert not task.done(), task.result()
    finally:
        task.cancel()
        began = time.monotonic()
        with suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < STOP_LIMIT_S


async def followed_up(db: Database, outbox_id: int) -> bool:
    """Whether somebody took care of it."""
    done: bool = await db.pool.fetchval("SELECT followed_up_at IS NOT NULL FROM outbox WHERE id = $1", outbox_id)
    return done


async def test_refused_reminder_goes_by_email_once_although_eight_follow_it_up_at_once(db: Database) -> None:
    known = await someone(db, email="asha@mail.example")
    outbox_id = await refused_reminder(db, known)
    await asyncio.gather(*(follow_up(db, Wakes(db), outbox_id, can_mail=True) for _ in range(8)))
    await follow_up(db, Wakes(db), outbox_id, can_mail=True)
    (mail,) = await emails(db)
    assert mail == ("asha@mail.example", "Reminder: stretch", f"reroute:{outbox_id}")
    row = await db.pool.fetchrow("SELECT state, error FROM outbox WHERE id = $1", outbox_id)
    assert tuple(row) == ("refused", "The number is not on WhatsApp.")


async def test_refusal_that_cannot_go_by_email_tells_staff_why(db: Database) -> None:
    wakes = Wakes(db)
    nobody, somebody = await someone(db), await someone(db, email="b@mail.example")
    first, second = await refused_reminder(db, nobody), await refused_reminder(db, somebody)
    await follow_up(db, wakes, first, can_mail=True)
    await follow_up(db, wakes, second, can_mail=False)
    errors = await db.pool.fetch("SELECT error FROM outbox WHERE followed_up_at IS NOT NULL ORDER BY id")
    assert [row["error"] for row in errors] == [
        "The number is not on WhatsApp. It could not go by e-mail: the person has given no address.",
        "The number is not on WhatsApp. It could not go by e-mail: no mail server is set up (SMTP_HOST).",
    ]
    assert await emails(db) == []


async def test_address_that_nobody_confirmed_is_never_written_to(db: Database) -> None:
    known = await someone(db, email="not-mine@mail.example", verified=False)
    outbox_id = await refused_reminder(db, known)
    await follow_up(db, Wakes(db), outbox_id, can_mail=True)
    assert await emails(db) == []


async def test_email_that_was_itself_refused_goes_nowhere_else(db: Database) -> None:
    known = await someone(db, channel="email")
    await db.pool.execute("UPDATE identity SET verified_at = now()")
    outbox_id = await refused_reminder(db, known)
    await follow_up(db, Wakes(db), outbox_id, can_mail=True)
    assert len(await emails(db)) == 1
    error = await db.pool.fetchval("SELECT error FROM outbox WHERE id = $1", outbox_id)
    assert error.endswith("E-mail was the channel that refused it; there is no other.")


async def test_workflow_word_goes_to_the_maker_of_the_workflow(db: Database) -> None:
    known = await someone(db, email="maker@mail.example")
    run = "workflow-1-2026-11-23T06:00:00Z"
    definition = await db.pool.fetchval(
        "INSERT INTO workflow_definition (id, person_id, conversation_id)"
        " VALUES (gen_random_uuid(), $1, $2) RETURNING id",
        known.person_id,
        known.conversation_id,
    )
    await db.pool.execute("INSERT INTO workflow_run (workflow_id, definition_id) VALUES ($1, $2)", run, definition)
    async with db.hot() as connection:
        key = f"workflow:{run}:tell"
        await post(connection, [NewMessage(known.conversation_id, (Text(text="Hi"),), "workflow", key)])
    outbox_id = await db.pool.fetchval("UPDATE outbox SET state = 'refused', done_at = now() RETURNING id")
    await follow_up(db, Wakes(db), outbox_id, can_mail=True)
    assert [mail[:2] for mail in await emails(db)] == [("maker@mail.example", "Hi")]


async def test_follow_up_that_keeps_dying_is_parked_with_a_word_to_staff(db: Database) -> None:
    known = await someone(db, email="asha@mail.example")
    outbox_id = await refused_reminder(db, known)
    await db.pool.execute("UPDATE outbox SET follow_ups = $1 WHERE id = $2", FOLLOW_UPS_MAX, outbox_id)
    await follow_up(db, Wakes(db), outbox_id, can_mail=True)
    assert await followed_up(db, outbox_id)
    assert "failed 5 times" in await db.pool.fetchval("SELECT error FROM outbox WHERE id = $1", outbox_id)
    assert await emails(db) == []


async def test_worker_follows_up_through_valkey_and_again_after_it_forgot_everything(
    db: Database, valkey_url: str
) -> None:
    known = await someone(db, email="asha@mail.example")
    with redis.Redis.from_url(valkey_url) as valkey:
        async with working(db, valkey_url):
            for _ in range(3):
                outbox_id = await refused_reminder(db, known)
                valkey.flushall()
                await until(partial(followed_up, db, outbox_id), 20, "the follow-up")
    assert len(await emails(db)) == 3


async def test_worker_without_valkey_still_says_reminders_and_stops_at_once(db: Database) -> None:
    known = await someone(db, email="asha@mail.example")
    async with working(db, "redis://127.0.0.1:1/0"):
        outbox_id = await refused_reminder(db, known)
        await remind(db, known, datetime.now(UTC), content="breathe")

        async def is_said() -> bool:
            return "Reminder: breathe" in await said(db, known.conversation_id)

        await until(is_said, 5, "the reminder")
    assert not await followed_up(db, outbox_id)


async def test_worker_without_a_queue_follows_up_itself(db: Database) -> None:
    known = await someone(db, email="asha@mail.example")
    async with working(db, ""):
        outbox_id = await refused_reminder(db, known)
        await until(lambda: followed_up(db, outbox_id), 10, "the follow-up")
    assert len(await emails(db)) == 1


async def test_a_held_reminder_goes_by_email_or_on_whatsapp_when_both_come_at_once(db: Database) -> None:
    """The person writes just as its follow-up finds their address: one of the two, never both, never neither."""
    wakes, inbox, outbox = Wakes(db), Inbox(db, Wakes(db)), Outbox(db, lease_s=30)
    numbers, rooms = [], []
    for number in range(20):
        room = f"whatsapp:+2547{number:08}"
        [received] = await inbox.receive([say("hello", room=room)])
        owner = await db.pool.fetchval(
            "SELECT i.person_id FROM member m JOIN identity i ON i.id = m.identity_id WHERE m.conversation_id = $1",
            received.conversation_id,
        )
        await db.pool.execute(
            "INSERT INTO identity (id, person_id, channel, account, provider_id)"
            " VALUES (gen_random_uuid(), $1, 'email', 'bot@mathia.example', $2)",
            owner,
            await mailbox(db, f"{number}@mail.example"),
        )
        outbox_id = await refused_reminder(db, Known(owner, received.conversation_id), "Held.")
        await db.pool.execute("UPDATE outbox SET state = 'held', held_seq = 1 WHERE id = $1", outbox_id)
        numbers.append(outbox_id)
        rooms.append(room)
    await asyncio.gather(
        *(inbox.receive([say("again", room=room)]) for room in rooms),
        *(follow_up(db, wakes, outbox_id, can_mail=True) for outbox_id in numbers for _ in range(2)),
        *(outbox.release(UUID(int=0)) for _ in range(20)),
    )
    await outbox.release(UUID(int=0))
    rows = await db.pool.fetch(
        "SELECT o.state, EXISTS (SELECT FROM outbox e WHERE e.dedup_key = 'reroute:' || o.id) AS mailed FROM outbox o"
        " WHERE o.kind = 'reminder'"
    )
    assert len(rows) == 20
    assert {(row["state"], row["mailed"]) for row in rows} <= {("pending", False), ("refused", True)}
