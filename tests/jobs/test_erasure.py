"""Erasing while things are under way: each is held at its place, the person is erased, and it is let go."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import redis
from temporalio.service import RPCError, RPCStatusCode

from bot.sandbox.voices import voice_note
from core import erasure, fetching, voice
from core.actions import Action
from core.brain import Asked, Brain
from core.changes import Change
from core.db import Database
from core.dialog import Intent, Plan
from core.errors import Erased
from core.files import FileGone, Files
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Media, Reply, Text, Voice
from core.outbox import Outbox, Outcome
from core.settings import Settings
from core.storage import Storage
from core.turn_answer import run_turn
from core.wake import Wakes
from jobs.erasure import Hands, erase
from jobs.sweeps import put_due
from jobs.temporal import connect, schedule_id
from tests.core.erased import left, rows
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.jobs.people import Known
from tests.jobs.test_workflows import ASK, Bench
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PHONE = at(WHATSAPP, "whatsapp:+254712345678")
GRAM = at(TELEGRAM, "70001")
HERE, THERE = at(TELEGRAM, "70001", "-100500"), at(TELEGRAM, "70002", "-100500")
LEASE = timedelta(minutes=1)
WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def bot(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url) as whole:
        yield whole


class Held:
    """A brain that understands nothing before it is let go."""

    def __init__(self, brain: Brain) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._brain = brain

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
        """What the brain behind it thinks, later."""
        self.reached.set()
        await self.go_on.wait()
        return await self._brain.think(turn, offered)


class HeldStorage(Storage):
    """A storage that writes nothing before it is let go."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep it, later."""
        self.reached.set()
        await self.go_on.wait()
        await super().put(key, chunks)


async def begin(bot: Mathia, who: Address, to: Address | None = None) -> int:
    return await erasure.begin(bot.db, await bot.person(who), asked_by="staff:owner", last_word_to=to)


async def work(bot: Mathia, erasure_id: int, times: int = 2) -> None:
    """Let a worker take it up, as often as it takes."""
    for _ in range(times):
        await bot.db.pool.execute("UPDATE erasure SET lease_until = clock_timestamp() WHERE id = $1", erasure_id)
        await erase(Hands(bot.db, bot.wakes, bot.valkey), erasure_id)


def message(who: Address, text: str) -> InboundMessage:
    return InboundMessage(who, uuid4().hex, (Text(text=text),), datetime.now(UTC), None)


@pytest.mark.parametrize("where", [PHONE, HERE])
@pytest.mark.parametrize(
    "said",
    ["my name is Canaryname", "save Canaryfriend's number 0799000111", "remind me tomorrow at 9 to canarychore",
     "my e-mail is canarymail@mail.example", "link my account", "what about canaryword?"],
)  # fmt: skip
async def test_turn_that_is_being_answered(bot: Mathia, where: Address, said: str) -> None:
    await bot.hear(where, "hello")
    held = Held(bot.deps.brain)
    await bot.receive((where, said))
    [turn] = await bot.turns.claim(8)
    answering = asyncio.create_task(run_turn(turn, replace(bot.deps, brain=held)))
    await held.reached.wait()
    erasure_id = await begin(bot, where)
    held.go_on.set()
    try:
        closed = await bot.turns.close(await answering)
    except Erased:
        closed = False
    assert not closed
    await bot.answer()
    await work(bot, erasure_id)
    words = ["canaryname", "canaryfriend", "0799000111", "799000111", "canarychore", "canarymail", "canaryword"]
    assert await left(bot.db, words) == []
    assert await bot.db.pool.fetchval("SELECT count(*) FROM turn WHERE state IN ('waiting', 'open')") == 0


async def test_turn_that_ran_its_action_before(bot: Mathia) -> None:
    await bot.receive((PHONE, "remind me tomorrow at 9 to canarychore"))
    [turn] = await bot.turns.claim(8)
    closing = await run_turn(turn, bot.deps)
    erasure_id = await begin(bot, PHONE)
    assert not await bot.turns.close(closing)
    await work(bot, erasure_id)
    assert await left(bot.db, ["canarychore"]) == []
    assert [key for key in await bot.valkey.keys("dialog:*")] == []


async def test_turn_of_several_people_goes_on_without_them(bot: Mathia) -> None:
    await bot.hear(HERE, "hello")
    await bot.hear(THERE, "hello")
    held = Held(bot.deps.brain)
    await bot.receive(
        (HERE, "remind me tomorrow at 9 to canarychore"), (THERE, "remind me tomorrow at 9 to feed goats")
    )
    [turn] = await bot.turns.claim(8)
    answering = asyncio.create_task(run_turn(turn, replace(bot.deps, brain=held)))
    await held.reached.wait()
    erasure_id = await begin(bot, HERE)
    held.go_on.set()
    with pytest.raises(Erased):
        await answering
    await bot.answer()
    assert (await bot.told(THERE))[-1].startswith("Done. Reminder set")
    await work(bot, erasure_id)
    assert await left(bot.db, ["canarychore"]) == []
    assert "feed goats" in await bot.hear(THERE, "my reminders")


@pytest.mark.parametrize("where", [PHONE, HERE])
@pytest.mark.parametrize("first", ["webhook", "erasure"])
async def test_webhook_that_is_being_stored(bot: Mathia, owner_url: str, where: Address, first: str) -> None:
    await bot.hear(where, "hello")
    person = await bot.person(where)
    holder = await asyncpg.connect(owner_url)
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT FROM conversation FOR UPDATE")
        tasks: list[asyncio.Task[Any]] = []
        for number, what in enumerate(sorted(["webhook", "erasure"], key=lambda one: one != first), 1):
            made = (
                bot.inbox.receive([message(where, "canaryword")])
                if what == "webhook"
                else erasure.begin(bot.db, person, asked_by="staff:owner", last_word_to=None)
            )
            tasks.append(asyncio.create_task(made))

            async def waits(number: int = number) -> bool:
                return bool(await holder.fetchval(WAITING) >= number)

            await until(waits, 2, "both waiting for the room")
        await transaction.commit()
        await asyncio.gather(*tasks)
    finally:
        await holder.close()
    await work(bot, await bot.db.pool.fetchval("SELECT max(id) FROM erasure"))
    assert await left(bot.db, ["canaryword"]) == []
    assert await bot.person(where) is None


async def test_process_that_still_knows_their_place_and_has_not_heard(bot: Mathia) -> None:
    elsewhere = Inbox(bot.db, Wakes(bot.db))
    for where in (PHONE, HERE, THERE):
        await elsewhere.receive([message(where, "hello")])
    before = [message(where, "canaryword") for where in (PHONE, HERE)]
    for where in (PHONE, HERE):
        await begin(bot, where)
    # Another member's message makes it learn the room's new key, and still not who has left it.
    await elsewhere.receive([message(THERE, "anybody?")])
    assert [one.is_kept for one in await elsewhere.receive(before)] == [False, False]
    after = [message(where, "hello again") for where in (PHONE, HERE)]
    assert [one.new for one in await elsewhere.receive(after)] == [True, True]
    for where in (PHONE, HERE):
        row = await bot.db.pool.fetchrow("SELECT * FROM person WHERE id = $1", await bot.person(where))
        assert row["erasure_id"] is None
    assert await left(bot.db, ["canaryword"]) == []


async def test_voice_note_that_is_being_written_down(bot: Mathia) -> None:
    inbox = Inbox(bot.db, bot.wakes, transcribes=True)
    for who in (GRAM, HERE):
        note = Voice(media_type="audio/ogg", ref=f"file:{uuid4()}", size=len(voice_note("hi")))
        await inbox.receive([InboundMessage(who, uuid4().hex, (note,), datetime.now(UTC))])
    ids = [row["id"] for row in await rows(bot.db, "transcription")]
    claimed = [one for id_ in ids if (one := await voice.claim(bot.db, id_, LEASE))]
    assert len(claimed) == 2
    erasure_id = await begin(bot, GRAM)
    for one in claimed:
        await voice.settle(bot.db, bot.wakes, one, "canaryword")
    await work(bot, erasure_id)
    for one in claimed:
        await voice.settle(bot.db, bot.wakes, one, "canaryword")
    assert await left(bot.db, ["canaryword"]) == []
    assert await rows(bot.db, "transcription") == []


@pytest.mark.parametrize("where", [GRAM, HERE])
@pytest.mark.parametrize("stage", ["claimed", "writing", "kept"])
async def test_file_that_is_being_fetched(bot: Mathia, tmp_path: Path, where: Address, stage: str) -> None:
    storage = HeldStorage(Settings(_env_file=None, files_dir=str(tmp_path)))
    files = Files(bot.db, storage)
    part = Media(media_type="text/plain", ref="tg-file-1", filename="canaryfile.txt")
    await bot.inbox.receive([InboundMessage(where, uuid4().hex, (part,), datetime.now(UTC))])
    [row] = await rows(bot.db, "file_fetch")
    claimed = await fetching.claim(bot.db, row["id"], LEASE)
    assert claimed is not None

    async def keep() -> Any:
        return await files.put(
            claimed.conversation_id, b"canaryword", name="canaryfile.txt", media_type="text/plain",
            identity_id=claimed.identity_id,
        )  # fmt: skip

    if stage == "kept":
        storage.go_on.set()
        kept = await keep()
        erasure_id = await begin(bot, where)
        assert not await fetching.settle(bot.db, bot.wakes, claimed, kept) or where is HERE
    elif stage == "writing":
        keeping = asyncio.create_task(keep())
        await storage.reached.wait()
        erasure_id = await begin(bot, where)
        await work(bot, erasure_id, 1)
        await files.sweep()  # Which looks for the object before it is there.
        storage.go_on.set()
        with pytest.raises(FileGone):
            await keeping
    else:
        erasure_id = await begin(bot, where)
        storage.go_on.set()
        if where is GRAM:
            with pytest.raises(FileGone):
                await keep()
        else:
            kept = await keep()
            await fetching.settle(bot.db, bot.wakes, claimed, kept)
    await work(bot, erasure_id)
    await files.sweep()
    assert await left(bot.db, ["canaryfile", "canaryword", "tg-file-1"]) == []
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []
    assert {one["state"] for one in await rows(bot.db, "file")} <= {"deleted"}


async def test_delivery_that_is_on_its_way(bot: Mathia) -> None:
    await bot.hear(GRAM, "remind me tomorrow at 9 to canarychore")
    outbox = Outbox(bot.db, lease_s=30)
    [delivery] = await outbox.claim(ChannelName.TELEGRAM, 8)
    erasure_id = await begin(bot, GRAM)
    sent = Outcome(delivery.message.outbox_id, delivery.message.attempt, "sent", provider_message_id="70001:1")
    assert not await outbox.settle(sent)
    await outbox.abandon()
    assert await outbox.claim(ChannelName.TELEGRAM, 8) == []
    assert await outbox.claim_in_doubt(ChannelName.TELEGRAM, 8) == []
    await work(bot, erasure_id)
    assert await left(bot.db, ["canarychore", "70001:1"]) == []


@pytest.mark.parametrize("where", [PHONE, HERE])
async def test_reminder_that_is_due(bot: Mathia, where: Address) -> None:
    await bot.hear(where, "remind me every day at 9 to canarychore")
    later = datetime.now(UTC) + timedelta(days=1)
    erasure_id = await begin(bot, where)
    assert await put_due(bot.db, bot.wakes, later) == 0
    await work(bot, erasure_id)
    assert await left(bot.db, ["canarychore"]) == []


async def test_reminder_that_was_put_out_before(bot: Mathia) -> None:
    await bot.hear(HERE, "remind me every day at 9 to canarychore")
    assert await put_due(bot.db, bot.wakes, datetime.now(UTC) + timedelta(days=1)) == 1
    erasure_id = await begin(bot, HERE)
    await work(bot, erasure_id)
    assert await left(bot.db, ["canarychore"]) == []
    assert {row["state"] for row in await rows(bot.db, "outbox")} <= {"refused"}


async def test_edit_that_is_on_its_way(bot: Mathia) -> None:
    for where in (GRAM, HERE):
        await bot.inbox.receive([InboundMessage(where, f"E{where.room}", (Text(text="hi"),), datetime.now(UTC))])
    erasure_id = await begin(bot, GRAM)
    for where in (GRAM, HERE):
        parts = (Text(text="canaryword"),)
        edit = Change(where, uuid4().hex, "edit", f"E{where.room}", datetime.now(UTC), parts)
        assert (await bot.inbox.change(edit)).state in ("unknown", "refused")
    await work(bot, erasure_id)
    assert await left(bot.db, ["canaryword"]) == []


async def test_rows_for_somebody_erased_are_not_written(bot: Mathia) -> None:
    await bot.hear(HERE, "hello")
    person = await bot.person(HERE)
    room = await bot.db.pool.fetchval("SELECT id FROM conversation")
    await begin(bot, HERE)
    for statement, values in (
        ("UPDATE person SET name = 'Canaryname', timezone = 'Africa/Nairobi', muted_until = now() WHERE id = $1", ()),
        ("INSERT INTO contact (id, person_id, conversation_id, sealed, name_index) VALUES ($2, $1, $3, $4, $4)",
         (uuid4(), room, b"canaryname")),
        ("INSERT INTO moderation_flag (message_id, label, score, judge, person_id) VALUES (1, 'x', 1, 'x', $1)", ()),
        ("INSERT INTO mute (person_id, conversation_id, until) VALUES ($1, $2, now())", (room,)),
    ):  # fmt: skip
        await bot.db.pool.execute(statement, person, *values)
    assert await left(bot.db, ["canaryname", "Africa/Nairobi"]) == []
    assert await rows(bot.db, "moderation_flag") == await rows(bot.db, "mute") == await rows(bot.db, "contact") == []


@pytest.mark.parametrize("nth", [1, 4, 9])
async def test_worker_that_dies_half_way_and_a_queue_that_forgets(
    bot: Mathia, database_url: str, valkey_url: str, nth: int
) -> None:
    await bot.hear(GRAM, "my name is Canaryname")
    for number in range(3):
        await bot.hear(GRAM, f"remind me tomorrow at {number + 8} to canarychore")
    await bot.hear(HERE, "what about canaryword?")
    await begin(bot, GRAM, GRAM)
    with redis.Redis.from_url(valkey_url) as valkey:
        dying = await _worker(database_url, valkey_url, f"erasure.removed:{nth}")
        assert await asyncio.wait_for(dying.wait(), 30) == 9
        assert (await rows(bot.db, "erasure"))[0]["state"] == "waiting"
        valkey.flushall()
    # Its lease ends, and another worker finds the row.
    await bot.db.pool.execute("UPDATE erasure SET lease_until = clock_timestamp()")
    worker = await _worker(database_url, valkey_url)
    try:

        async def is_told() -> bool:
            return bool((await rows(bot.db, "erasure"))[0]["state"] == "told")

        await until(is_told, 30, "the last word")
        assert await bot.told(GRAM) == [erasure.SAID["en"]]
        assert [row["kind"] for row in await rows(bot.db, "outbox") if row["done_at"] is None] == ["erased"]
        await bot.db.pool.execute("UPDATE outbox SET state = 'sent', done_at = now() WHERE done_at IS NULL")

        async def is_over() -> bool:
            return bool((await rows(bot.db, "erasure"))[0]["state"] == "watched")

        await until(is_over, 30, "the end")
    finally:
        worker.send_signal(signal.SIGTERM)
        await worker.wait()
    assert await left(bot.db, ["canaryname", "canarychore", "canaryword", "70001"]) == []


async def _worker(database_url: str, valkey_url: str, crash: str = "") -> asyncio.subprocess.Process:
    environment = {
        **os.environ, "DATABASE_URL": database_url, "REDIS_URL": valkey_url, "MATHIA_CRASH": crash, "MATHIA_ENV": "",
    }  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "worker", cwd=ROOT, env=environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def test_two_workers_at_once_are_one(bot: Mathia) -> None:
    await bot.hear(GRAM, "remind me tomorrow at 9 to canarychore")
    erasure_id = await begin(bot, GRAM, GRAM)
    await asyncio.gather(*(erase(Hands(bot.db, bot.wakes, bot.valkey), erasure_id) for _ in range(4)))
    assert await bot.told(GRAM) == [erasure.SAID["en"]]


async def test_workflows_end_and_temporal_forgets_them(db: Database, temporal_host: str, valkey_url: str) -> None:
    settings = Settings(_env_file=None, temporal_host=temporal_host, temporal_namespace="mathia")
    async with mathia(db, valkey_url) as bot:
        await bot.hear(GRAM, "hello")
        place = await db.pool.fetchval("SELECT id FROM conversation")
        bench = Bench(db, settings, Known(await bot.person(GRAM), place))
        client = await connect(settings, db)
        async with bench.worker():
            over = await bench.run({"id": "tell", "kind": "say", "text": "canaryword"})
            definition = await bench.add(ASK, {"id": "tell", "kind": "say", "text": "canaryword {trigger.text}"})
            waiting = await bench.start(definition, text="canarytrigger")
            await bench.waits(waiting, "sure")
            scheduled = await bench.add({"id": "tell", "kind": "say", "text": "canaryword"}, cron="0 9 * * *")

            async def is_scheduled() -> bool:
                return bool(
                    await db.pool.fetchval("SELECT scheduled FROM workflow_definition WHERE id = $1", scheduled)
                )

            await until(is_scheduled, 15, "the schedule")
            erasure_id = await begin(bot, GRAM)
            await work(bot, erasure_id)

            async def is_gone() -> bool:
                return await rows(db, "workflow_definition") == []

            await until(is_gone, 20, "the workflows gone")
        assert await rows(db, "workflow_run") == await rows(db, "workflow_step") == []
        assert await left(db, ["canaryword", "canarytrigger"]) == []
        for workflow_id in (over[0], waiting):
            handle = client.get_workflow_handle(workflow_id)

            async def is_forgotten(handle: Any = handle) -> bool:
                try:
                    await handle.describe()
                except RPCError as error:
                    return error.status is RPCStatusCode.NOT_FOUND
                return False

            # Temporal deletes histories in its own time.
            await until(is_forgotten, 90, "Temporal forgetting a run")
        assert schedule_id(scheduled) not in {one.id async for one in await client.list_schedules()}
