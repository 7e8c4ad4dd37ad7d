"""The outbox: once, in order, and never resent blindly."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from core.db import Database
from core.inbox import Inbox
from core.messages import ChannelName, Text
from core.outbox import NewMessage, Outbox, Outcome, ProviderStatus, post
from core.wake import Wakes
from tests.factories import say

WHATSAPP = ChannelName.WHATSAPP


async def conversation(db: Database, room: str = "r1") -> UUID:
    [received] = await Inbox(db, Wakes(db)).receive([say(room=room)])
    return received.conversation_id


async def put(db: Database, conversation_id: UUID, *texts: str, kind: str = "reply") -> int:
    async with db.hot() as connection:
        return await post(
            connection,
            [NewMessage(conversation_id, (Text(text=text),), kind, f"test:{conversation_id}:{text}") for text in texts],
        )


async def states(db: Database) -> list[str]:
    return [row["state"] for row in await db.pool.fetch("SELECT state FROM outbox ORDER BY id")]


def sent(outbox_id: int, attempt: int = 1, provider_id: str = "SM1") -> Outcome:
    return Outcome(outbox_id, attempt, "sent", provider_message_id=provider_id)


async def test_a_key_seen_before_is_the_same_message(db: Database) -> None:
    room = await conversation(db)
    assert await put(db, room, "one", "two") == 2
    assert await put(db, room, "one", "two", "three") == 1
    seqs = [row["seq"] for row in await db.pool.fetch("SELECT seq FROM message WHERE direction = 'out' ORDER BY id")]
    assert seqs == [2, 3, 4]


async def test_only_the_first_of_a_conversation_is_on_its_way(db: Database) -> None:
    one, two = await conversation(db, "r1"), await conversation(db, "r2")
    await put(db, one, "a", "b")
    await put(db, two, "c")
    outbox = Outbox(db, lease_s=30)
    claimed = await outbox.claim(WHATSAPP, 10)
    assert [delivery.message.parts[0] for delivery in claimed] == [Text(text="a"), Text(text="c")]
    assert await outbox.claim(WHATSAPP, 10) == []
    assert await outbox.settle(sent(claimed[0].message.outbox_id))
    [after] = await outbox.claim(WHATSAPP, 10)
    assert after.message.parts == (Text(text="b"),)


async def test_two_runners_never_claim_the_same_row(db: Database) -> None:
    for n in range(40):
        await put(db, await conversation(db, f"r{n}"), "x")
    claims = await asyncio.gather(*(Outbox(db, lease_s=30).claim(WHATSAPP, 10) for _ in range(8)))
    ids = [delivery.message.outbox_id for claimed in claims for delivery in claimed]
    assert len(ids) == len(set(ids)) == 40


async def test_an_outcome_of_an_older_attempt_is_worth_nothing(db: Database) -> None:
    await put(db, await conversation(db), "a")
    outbox = Outbox(db, lease_s=30)
    [first] = await outbox.claim(WHATSAPP, 1)
    number = first.message.outbox_id
    assert await outbox.settle(Outcome(number, 1, "pending", error="refused connection", final=False))
    [second] = await outbox.claim(WHATSAPP, 1)
    assert second.message.attempt == 2
    assert not await outbox.settle(sent(number, attempt=1))
    assert await outbox.settle(sent(number, attempt=2))
    assert await states(db) == ["sent"]


async def test_a_dead_process_leaves_an_unknown_outcome_that_holds_its_conversation_back(db: Database) -> None:
    await put(db, await conversation(db), "a", "b")
    outbox = Outbox(db, lease_s=30)
    [first] = await outbox.claim(WHATSAPP, 5)
    await db.pool.execute("UPDATE outbox SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'sending'")
    await outbox.abandon()
    assert await states(db) == ["unknown", "pending"]
    assert await outbox.claim(WHATSAPP, 5) == []
    [doubt] = await outbox.claim_in_doubt(WHATSAPP, 5)
    assert doubt.message.outbox_id == first.message.outbox_id
    assert await outbox.settle(sent(first.message.outbox_id, provider_id="SM-found"))
    assert len(await outbox.claim(WHATSAPP, 5)) == 1


async def test_what_nobody_can_tell_stays_unknown_and_lets_the_next_go(db: Database) -> None:
    await put(db, await conversation(db), "a", "b")
    outbox = Outbox(db, lease_s=30)
    [first] = await outbox.claim(WHATSAPP, 5)
    number = first.message.outbox_id
    assert await outbox.settle(Outcome(number, 1, "unknown", error="no answer", final=False))
    assert await outbox.settle(Outcome(number, 1, "unknown", error="cannot be asked"))
    assert await outbox.claim_in_doubt(WHATSAPP, 5) == []
    [second] = await outbox.claim(WHATSAPP, 5)
    assert second.message.parts == (Text(text="b"),)
    assert await states(db) == ["unknown", "sending"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["queued", "sent", "delivered", "read"], "read"),
        (["read", "delivered", "sent"], "read"),
        (["delivered", "queued"], "delivered"),
        (["sent", "failed", "delivered"], "failed"),
        (["no-such-status", "sent"], "sent"),
    ],
    ids=["in order", "backwards", "late", "failed is final", "unknown word first"],
)
async def test_provider_statuses_only_move_forward(db: Database, said: Sequence[str], kept: str) -> None:
    await put(db, await conversation(db), "a")
    outbox = Outbox(db, lease_s=30)
    [delivery] = await outbox.claim(WHATSAPP, 1)
    number = delivery.message.outbox_id
    await outbox.settle(sent(number))
    for status in said:
        assert await Outbox(db, lease_s=30).record(ProviderStatus(number, "SM1", status))
    assert await db.pool.fetchval("SELECT provider_status FROM outbox") == kept


async def test_each_status_is_noted_once_with_its_time_in_whatever_order_they_are_told(db: Database) -> None:
    await put(db, await conversation(db), "a")
    outbox = Outbox(db, lease_s=30)
    [delivery] = await outbox.claim(WHATSAPP, 1)
    number = delivery.message.outbox_id
    await outbox.settle(sent(number))
    at = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    told = [
        ProviderStatus(number, "SM1", status, at=at + timedelta(seconds=after))
        for status, after in (("read", 9), ("sent", 1), ("delivered", 4), ("sent", 2), ("read", 30))
    ]
    # At once, so that several share a statement, and once more each.
    assert all(await asyncio.gather(*(outbox.record(one) for one in told)))
    assert all([await outbox.record(one) for one in told])
    assert await outbox.record(ProviderStatus(None, "SM1", "failed", "No.", at=at + timedelta(minutes=1)))
    assert not await outbox.record(ProviderStatus(number, "SM-x", "delivered", at=at))
    rows = await db.pool.fetch("SELECT piece, status, at, error FROM delivery_status WHERE outbox_id = $1", number)
    noted = {row["status"]: (row["piece"], row["at"], row["error"]) for row in rows}
    assert len(rows) == len(noted) == 4
    assert noted["delivered"] == (0, at + timedelta(seconds=4), None)
    assert noted["failed"] == (0, at + timedelta(minutes=1), "No.")
    assert await db.pool.fetchval("SELECT provider_status FROM outbox") == "failed"


async def test_a_status_settles_an_unknown_outcome_by_our_own_reference(db: Database) -> None:
    await put(db, await conversation(db), "a")
    outbox = Outbox(db, lease_s=30)
    [delivery] = await outbox.claim(WHATSAPP, 1)
    number = delivery.message.outbox_id
    await outbox.settle(Outcome(number, 1, "unknown", error="no answer", final=False))
    assert await Outbox(db, lease_s=30).record(ProviderStatus(number, "SM9", "delivered"))
    row = await db.pool.fetchrow("SELECT state, provider_message_id, done_at FROM outbox")
    assert (row["state"], row["provider_message_id"]) == ("sent", "SM9")
    assert row["done_at"] is not None


async def test_a_status_of_somebody_elses_message_changes_nothing(db: Database) -> None:
    await put(db, await conversation(db), "a")
    [delivery] = await Outbox(db, lease_s=30).claim(WHATSAPP, 1)
    await Outbox(db, lease_s=30).settle(sent(delivery.message.outbox_id))
    assert not await Outbox(db, lease_s=30).record(ProviderStatus(None, "SM-x", "read"))
    assert not await Outbox(db, lease_s=30).record(ProviderStatus(delivery.message.outbox_id, "SM-x", "read"))
    assert await db.pool.fetchval("SELECT provider_status FROM outbox") is None


async def test_old_replies_are_stale_and_reminders_keep_longer(db: Database) -> None:
    await put(db, await conversation(db, "r1"), "a", kind="reply")
    await put(db, await conversation(db, "r2"), "b", kind="reminder")
    await db.pool.execute(
        "UPDATE message SET created_at = $1 WHERE direction = 'out'", datetime.now(UTC) - timedelta(hours=7)
    )
    claimed = await Outbox(db, lease_s=30).claim(WHATSAPP, 5)
    assert {delivery.kind: delivery.is_stale for delivery in claimed} == {"reply": True, "reminder": False}


async def test_ten_thousand_messages_are_posted_in_one_transaction(db: Database) -> None:
    rooms = [await conversation(db, f"r{n}") for n in range(20)]
    async with db.hot() as connection:
        new = await post(
            connection,
            [NewMessage(rooms[n % 20], (Text(text=f"m{n}"),), "reminder", f"bulk:{n}") for n in range(10_000)],
        )
    assert new == 10_000
    gaps = await db.pool.fetchval(
        "SELECT count(*) FROM (SELECT max(seq) - count(*) AS d FROM message GROUP BY conversation_id) s WHERE d <> 0"
    )
    assert gaps == 0
