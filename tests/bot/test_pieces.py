"""One message in several pieces, over a channel that fails in every way: each piece once, in order, or said to be in
doubt."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bot.runners import DeliveryRunner
from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from core.db import Database
from core.inbox import Inbox
from core.messages import ChannelName, OutboundMessage, Text
from core.outbox import NewMessage, Outbox, Outcome, ProviderStatus, post
from core.settings import Settings
from core.wake import Wakes
from tests.factories import say
from tests.waiting import until

WHATSAPP = ChannelName.WHATSAPP
SETTLED_S = 60.0

Way = Literal["ok", "not_sent", "lost", "taken", "bug", "die_before", "die_after", "refuse"]
"""How one try ends: `lost` and `taken` both give no answer; the process dies before or after the provider has it."""
WAYS: tuple[Way, ...] = ("ok", "not_sent", "lost", "taken", "bug", "die_before", "die_after")


class Unsure:
    """A provider with a log of what it took. A text of words is sent a word a piece."""

    name = WHATSAPP
    account = "us"
    per_second: float | None = None

    def __init__(self, plan: list[Way], *, answers: bool = True) -> None:
        """`plan` is taken one a try, and then all is well; `answers` is whether it can be asked."""
        self.plan = plan
        self.took: list[tuple[str, str, UUID]] = []
        self.died = asyncio.Event()
        self._answers = answers

    def pieces(self, message: OutboundMessage) -> int:
        return len(self._words(message))

    async def send(self, message: OutboundMessage) -> str:
        way = self.plan.pop(0) if self.plan else "ok"
        if way == "refuse":
            raise Undeliverable("No.")
        if way == "not_sent":
            raise NotSent("Busy.", retry_after_s=0.0)
        if way == "bug":
            raise RuntimeError("before the request left")
        provider_id = f"SM{len(self.took)}"
        if way in ("ok", "taken", "die_after"):
            self.took.append((self._words(message)[message.piece], provider_id, message.conversation_id))
        if way in ("lost", "taken"):
            raise OutcomeUnknown("No answer.")
        if way in ("die_before", "die_after"):
            self.died.set()
            await asyncio.Event().wait()
        return provider_id

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        if not self._answers:
            raise Unknowable("it cannot be asked.")
        word = self._words(message)[message.piece]
        for took, provider_id, conversation_id in self.took:
            if took == word and conversation_id == message.conversation_id and provider_id not in exclude:
                return provider_id
        return None

    async def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _words(message: OutboundMessage) -> list[str]:
        [part] = message.parts
        assert isinstance(part, Text)
        return part.text.split()


async def conversation(db: Database, room: str) -> UUID:
    [received] = await Inbox(db, Wakes(db)).receive([say(room=room)])
    return received.conversation_id


async def put(db: Database, room: UUID, *texts: str) -> None:
    async with db.hot() as connection:
        await post(
            connection,
            [NewMessage(room, (Text(text=text),), "reply", f"{room}:{text}:{n}") for n, text in enumerate(texts)],
        )


async def deliver(db: Database, channel: Unsure) -> None:
    """Run the delivery runner, and another after each death, until nothing is owed."""
    settings = Settings(_env_file=None, send_lease_s=0.5, unknown_certain_s=1.0)

    async def settled() -> bool:
        # Questions and retries are asked for at once: how long they wait is tested elsewhere.
        await db.pool.execute("UPDATE outbox SET not_before = clock_timestamp() WHERE done_at IS NULL")
        return channel.died.is_set() or not await db.pool.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL")

    while True:
        channel.died.clear()
        wakes = Wakes(db)
        runner = asyncio.create_task(
            DeliveryRunner(db, Outbox(db, lease_s=0.5), {WHATSAPP: channel}, wakes, settings).run()
        )
        try:
            await until(settled, SETTLED_S, "every piece settled")
        finally:
            runner.cancel()
            with suppress(asyncio.CancelledError):
                await runner
        if not channel.died.is_set():
            return


@examples(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.sampled_from(WAYS), max_size=5), st.sampled_from(["a b c", "same same same"]))
async def test_every_piece_is_sent_once_and_in_order_whatever_happens(db: Database, plan: list[Way], text: str) -> None:
    room = await conversation(db, str(uuid4()))
    await put(db, room, text, "after it")
    channel = Unsure(list(plan))
    await deliver(db, channel)
    assert [word for word, _, _ in channel.took] == [*text.split(), "after", "it"]
    rows = await db.pool.fetch(
        "SELECT state, piece, earlier_ids, provider_message_id FROM outbox WHERE conversation_id = $1 ORDER BY id", room
    )
    assert [(row["state"], row["piece"]) for row in rows] == [("sent", 2), ("sent", 1)]
    ids = [one for row in rows for one in (*row["earlier_ids"], row["provider_message_id"])]
    assert ids == [provider_id for _, provider_id, _ in channel.took]


@pytest.mark.parametrize("way", ["lost", "taken"])
async def test_a_piece_nobody_can_tell_about_is_not_repeated_and_the_rest_is_sent(db: Database, way: Way) -> None:
    await put(db, await conversation(db, "r"), "a b c", "d")
    channel = Unsure(["ok", way], answers=False)
    await deliver(db, channel)
    assert [word for word, _, _ in channel.took] == (["a", "b", "c", "d"] if way == "taken" else ["a", "c", "d"])
    rows = await db.pool.fetch("SELECT state, error FROM outbox ORDER BY id")
    assert [row["state"] for row in rows] == ["unknown", "sent"]
    assert rows[0]["error"] == "It may have been sent; it cannot be asked."


async def test_a_refused_piece_ends_the_message(db: Database) -> None:
    await put(db, await conversation(db, "r"), "a b c", "d")
    channel = Unsure(["ok", "refuse"])
    await deliver(db, channel)
    assert [word for word, _, _ in channel.took] == ["a", "d"]
    assert await db.pool.fetchval("SELECT array_agg(state ORDER BY id) FROM outbox") == ["refused", "sent"]


async def begun(db: Database) -> tuple[Outbox, int]:
    """A message of three pieces, the first of which is sent as SM0 and the second claimed."""
    await put(db, await conversation(db, "r"), "a b c")
    outbox = Outbox(db, lease_s=30)
    [first] = await outbox.claim(WHATSAPP, 1)
    number = first.message.outbox_id
    assert await outbox.settle(Outcome(number, 1, "sent", provider_message_id="SM0").going_on())
    [second] = await outbox.claim(WHATSAPP, 1)
    assert (second.message.piece, second.message.attempt) == (1, 2)
    return outbox, number


async def row(db: Database) -> tuple[str, int, bool, str | None]:
    """State, piece, whether it is done, and the provider's status."""
    found = await db.pool.fetchrow("SELECT state, piece, done_at, provider_status FROM outbox")
    return found["state"], found["piece"], found["done_at"] is not None, found["provider_status"]


@pytest.mark.parametrize("state", ["sending", "unknown", "pending"])
async def test_a_status_of_an_earlier_piece_changes_nothing(db: Database, state: str) -> None:
    outbox, number = await begun(db)
    await db.pool.execute("UPDATE outbox SET state = $1", state)
    assert await outbox.record(ProviderStatus(number, "SM0", "delivered", piece=0, last=False))
    assert await row(db) == (state, 1, False, None)
    noted = await db.pool.fetch("SELECT piece, status FROM delivery_status")
    assert [tuple(one) for one in noted] == [(0, "delivered")], "but it is shown"


async def test_a_failure_of_an_earlier_piece_refuses_the_message(db: Database) -> None:
    outbox, number = await begun(db)
    failed = ProviderStatus(number, "SM0", "undelivered", "No.", piece=0, last=False)
    fine = ProviderStatus(number, "SM1", "delivered", piece=1, last=False)
    assert all(await asyncio.gather(outbox.record(fine), outbox.record(failed)))
    assert await row(db) == ("refused", 1, True, "undelivered")
    assert not await outbox.settle(Outcome(number, 2, "sent", provider_message_id="SM1").going_on())
    assert await outbox.claim(WHATSAPP, 1) == []


async def test_a_status_of_an_unknown_piece_settles_that_piece_alone(db: Database) -> None:
    outbox, number = await begun(db)
    assert await outbox.settle(Outcome(number, 2, "unknown", error="no answer", final=False))
    assert await outbox.record(ProviderStatus(number, "SM1", "delivered", piece=1, last=False))
    assert await row(db) == ("pending", 2, False, None)
    [third] = await outbox.claim(WHATSAPP, 1)
    assert await outbox.provider_ids(third.message) == {"SM0", "SM1"}
    assert await outbox.settle(Outcome(number, 3, "unknown", error="no answer", final=False))
    assert await outbox.record(ProviderStatus(number, "SM2", "delivered", piece=2))
    assert await row(db) == ("sent", 2, True, "delivered")


async def test_a_status_that_is_faster_than_our_own_settling_is_not_in_its_way(db: Database) -> None:
    outbox, number = await begun(db)
    assert await outbox.record(ProviderStatus(number, "SM1", "sent", piece=1, last=False))
    assert await row(db) == ("pending", 2, False, None), "the provider has the piece, whatever becomes of its answer"
    assert not await outbox.settle(Outcome(number, 2, "sent", provider_message_id="SM1").going_on())
    assert await db.pool.fetchval("SELECT earlier_ids FROM outbox") == ["SM0", "SM1"]
    assert not await outbox.record(ProviderStatus(number, "SM-x", "failed", piece=1, last=False))
