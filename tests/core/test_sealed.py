"""Messages are sealed at rest: nothing shows them but their place and key, and without the key nobody sees an error."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from bot.servers.folder import DataFolder
from bot.servers.postgres import Postgres, binaries
from bot.wiring import connect_valkey
from core import moderation
from core.changes import Change
from core.conversations import StoredMessage, changed, history
from core.crypto import EPOCH_MESSAGES
from core.db import Database
from core.dialog_store import DialogStore
from core.files import Files
from core.handoff_store import Handoffs
from core.inbox import Inbox
from core.limits import Limits
from core.messages import ChannelName, Reply, Text, text_of
from core.outbox import ERASED, NewMessage, Outbox, post
from core.settings import Settings
from core.storage import Storage
from core.turn import Closing
from core.turn_store import Turns
from core.wake import Wakes
from jobs.reroute import follow_up
from tests.factories import say
from web_admin import queries
from web_admin.auth import Staff
from web_admin.desk import Desk
from web_admin.forms import Form
from web_admin.rendering import Templates

WHATSAPP = ChannelName.WHATSAPP
PERSON = "whatsapp:+254712345678"


@dataclass
class Process:
    """What one process has of the hot path."""

    db: Database
    inbox: Inbox
    turns: Turns
    outbox: Outbox

    async def hear(self, text: str, room: str = PERSON, event_id: str | None = None) -> UUID:
        """A person writes; their conversation."""
        [received] = await self.inbox.receive([say(text, room=room, event_id=event_id)])
        return received.conversation_id

    async def reply(self, text: str) -> None:
        """Answer everything that waits."""
        for turn in await self.turns.claim(10):
            assert await self.turns.close(Closing(turn, Reply.of(text), turn.state))

    async def post(self, conversation: UUID, text: str, kind: str = "reply") -> int:
        """Say something by itself; how many messages that were."""
        async with self.db.hot() as connection:
            return await post(connection, [NewMessage(conversation, (Text(text=text),), kind, f"k:{uuid4()}")])

    async def said(self, conversation: UUID) -> list[str]:
        """Everything in a conversation; a tombstone is None."""
        return [shown(message) for message in await history(self.db, conversation, since=0)]


def desk(db: Database) -> Desk:
    """Where staff write."""
    settings = Settings(_env_file=None)
    files = Files(db, Storage(settings))
    return Desk(db, settings, Templates({}, ZoneInfo("UTC"), lambda: datetime.now(UTC), files), files)


def shown(message: StoredMessage) -> str:
    return text_of(message.parts) if message.deleted_at is None else "(deleted)"


@asynccontextmanager
async def process(database_url: str, valkey_url: str) -> AsyncIterator[Process]:
    db = await Database.connect(database_url, Settings(_env_file=None).key_list)
    valkey = connect_valkey(valkey_url)
    wakes = Wakes(db)
    turns = Turns(db, wakes, DialogStore(valkey, db.keys), Limits(valkey), lease_s=30, zone="Africa/Nairobi")
    try:
        yield Process(db, Inbox(db, wakes), turns, Outbox(db, lease_s=30))
    finally:
        await valkey.aclose()
        await db.close()


@pytest.fixture
async def one(database_url: str, valkey_url: str) -> AsyncIterator[Process]:
    async with process(database_url, valkey_url) as made:
        yield made


@pytest.fixture
async def other(database_url: str, valkey_url: str) -> AsyncIterator[Process]:
    """Another process that hears of nothing: it listens to no NOTIFY."""
    async with process(database_url, valkey_url) as made:
        yield made


async def test_a_row_whose_words_or_sender_were_exchanged_shows_nothing(one: Process) -> None:
    for room in ("whatsapp:+1", "whatsapp:+2"):
        await one.hear(f"hello from {room}", room)
        await one.reply(f"answer to {room}")
        conversation = await one.hear(f"more from {room}", room)
        await Handoffs(one.db, Wakes(one.db), Settings(_env_file=None)).say(
            conversation, "amina", (Text(text=f"staff to {room}"),), uuid4().hex
        )
    rows = await one.db.pool.fetch("SELECT * FROM message ORDER BY id")
    rooms = sorted({row["conversation_id"] for row in rows})

    async def everything() -> dict[int, str]:
        return {
            row["id"]: said
            for room in rooms
            for row, said in zip(
                [row for row in rows if row["conversation_id"] == room], await one.said(room), strict=True
            )
        }

    whole = await everything()
    assert len(set(whole.values())) == len(rows) == 8
    for row, source in itertools.permutations(rows, 2):
        await one.db.pool.execute("UPDATE message SET sealed = $2 WHERE id = $1", row["id"], source["sealed"])
        assert await everything() == whole | {row["id"]: "(deleted)"}
        await one.db.pool.execute("UPDATE message SET sealed = $2 WHERE id = $1", row["id"], row["sealed"])
    inbound = next(row for row in rows if row["direction"] == "in")
    outbound = next(row for row in rows if row["direction"] == "out" and row["author"] is None)
    for row, column, value in (
        (inbound, "event_id", "SMother"),
        (inbound, "identity_id", rows[-2]["identity_id"]),
        (outbound, "author", "amina"),
        (outbound, "dedup_key", "turn:0"),
        (inbound, "sealed", inbound["sealed"][:-1]),
        (inbound, "sealed", inbound["sealed"][:3]),
        (inbound, "sealed", b""),
        (inbound, "sealed", b"\xff" * 60),
    ):
        assert value != row[column]
        exchange = f"UPDATE message SET {column} = $2 WHERE id = $1"  # noqa: S608  A column of the list above.
        await one.db.pool.execute(exchange, row["id"], value)
        assert await everything() == whole | {row["id"]: "(deleted)"}, column
        await one.db.pool.execute(exchange, row["id"], row[column])
    assert await everything() == whole


async def test_what_has_no_key_is_a_tombstone_everywhere_and_never_an_error(one: Process) -> None:
    conversation = await one.hear("say it", event_id="SM1")
    await one.reply("it is said")
    await one.hear("and this was never read", event_id="SM2")
    await one.inbox.change(
        Change(say().sender, "SM3", "edit", "SM1", datetime.now(UTC) + timedelta(seconds=1), (Text(text="said"),))
    )
    staff = Staff("amina", b"", "", datetime.now(UTC))
    await desk(one.db).write(staff, conversation, Form({"act": "note", "text": "a note", "nonce": uuid4().hex}))
    bystander = await one.hear("somebody else", "whatsapp:+2")
    refused = await one.db.pool.fetchval(
        "UPDATE outbox SET state = 'refused', kind = 'reminder', done_at = now() RETURNING id"
    )
    await one.post(conversation, "still to be sent")
    async with one.db.transaction() as session:
        open_page = await queries.thread_state(session, conversation)
    async with one.db.hot() as connection:
        assert await one.db.keys.destroy(connection, conversation) == 1

    assert await one.said(conversation) == ["(deleted)"] * 5
    assert await one.said(bystander) == ["somebody else"]
    [(*_, edited)] = await changed(one.db, conversation, since=0)
    assert shown(edited) == "(deleted)"
    async with one.db.transaction() as session:
        thread = await queries.thread(session, conversation, None)
        assert [message.parts for message in thread] == [()] * 5
        assert all(message.deleted_at for message in thread)
        [aside] = await queries.asides(session, conversation, None, None)
        assert aside.text == queries.ERASED
        assert await queries.thread_state(session, conversation) != open_page
    assert await Handoffs(one.db, Wakes(one.db), Settings(_env_file=None)).language(conversation) == "en"
    assert {row.text for row in await moderation.read(one.db, 0, 2**62)} == {"", "somebody else"}
    await follow_up(one.db, Wakes(one.db), refused, can_mail=True)
    assert ERASED in await one.db.pool.fetchval("SELECT error FROM outbox WHERE id = $1", refused)
    assert await one.outbox.claim(WHATSAPP, 10) == []
    unsent = await one.db.pool.fetchrow("SELECT state, error, done_at FROM outbox ORDER BY id DESC")
    assert tuple(unsent)[:2] == ("refused", ERASED)
    assert unsent["done_at"] is not None
    turns = {turn.conversation_id: turn for turn in await one.turns.claim(10)}
    assert turns[conversation].text == ""
    assert turns[conversation].deleted == {1}
    assert turns[bystander].text == "somebody else"


async def test_an_unknown_outcome_whose_words_are_gone_is_left_to_staff(one: Process) -> None:
    conversation = await one.hear("hello")
    await one.post(conversation, "on its way")
    await one.db.pool.execute("UPDATE outbox SET state = 'unknown', not_before = now()")
    async with one.db.hot() as connection:
        await one.db.keys.destroy(connection, conversation)
    assert await one.outbox.claim_in_doubt(WHATSAPP, 10) == []
    row = await one.db.pool.fetchrow("SELECT state, error, done_at IS NOT NULL AS done FROM outbox")
    assert tuple(row) == ("unknown", ERASED, True)


async def test_a_process_that_missed_a_destroyed_key_loses_nothing_it_accepts(one: Process, other: Process) -> None:
    conversation = await other.hear("before")
    [waiting] = await other.turns.claim(1)
    bystander = await other.hear("neighbour", "whatsapp:+2")
    async with one.db.hot() as connection:
        await one.db.keys.destroy(connection, conversation)

    assert await other.turns.close(Closing(waiting, Reply.of("the reply"), waiting.state))
    async with one.db.hot() as connection:
        await one.db.keys.start_epoch(connection, conversation)
    received = await other.inbox.receive(
        [say("after", event_id="SM7"), say("neighbour again", room="whatsapp:+2"), say("after", event_id="SM7")]
    )
    assert [row.new for row in received] == [True, True, False]
    async with one.db.hot() as connection:
        await one.db.keys.start_epoch(connection, conversation)
    async with other.db.hot() as connection:
        new = [NewMessage(room, (Text(text="posted"),), "x", f"k:{room}") for room in (bystander, conversation)]
        assert await post(connection, new) == 2
        assert await post(connection, new) == 0
    async with one.db.hot() as connection:
        await one.db.keys.start_epoch(connection, conversation)
    later = datetime.now(UTC) + timedelta(seconds=1)
    edit = Change(say().sender, "SM8", "edit", "SM7", later, (Text(text="after all"),))
    assert (await other.inbox.change(edit)).state == "applied"
    for reader in (one, other):
        assert await reader.said(bystander) == ["neighbour", "neighbour again", "posted"]
        assert (await reader.said(conversation))[1:] == ["the reply", "after all", "posted"]
    assert await one.said(conversation) == ["(deleted)", "the reply", "after all", "posted"]
    assert await one.db.pool.fetchval("SELECT count(*) FROM outbox") == 3


async def test_messages_are_kept_while_keys_change_at_once(one: Process, other: Process) -> None:
    conversation = await one.hear("first")

    async def change() -> None:
        for _ in range(10):
            async with one.db.hot() as connection:
                await one.db.keys.start_epoch(connection, conversation)

    async def talk(process: Process, name: str) -> None:
        for number in range(20):
            if number % 2:
                await process.hear(f"{name}{number}")
            else:
                await process.post(conversation, f"{name}{number}")

    await asyncio.gather(change(), talk(one, "a"), talk(other, "b"))
    for reader in (one, other):
        said = await reader.said(conversation)
        assert sorted(said) == sorted(["first", *(f"{name}{number}" for name in "ab" for number in range(20))])


async def test_a_room_gets_its_next_key_after_so_many_messages(one: Process, other: Process) -> None:
    conversation = await one.hear("one")
    await other.hear("two")
    await one.db.pool.execute("UPDATE room_key SET first_seq = first_seq - $1", EPOCH_MESSAGES - 2)
    for reader in (one, other):
        reader.db.keys.forget()
    await one.hear("three")
    assert await one.db.pool.fetchval("SELECT epoch FROM conversation") == 2
    await asyncio.gather(*(process.hear("more") for process in (one, other) for _ in range(3)))
    assert await one.db.pool.fetchval("SELECT epoch FROM conversation") == 2
    assert await one.said(conversation) == await other.said(conversation) == ["one", "two", "three"] + ["more"] * 6
    rows = await one.db.pool.fetch("SELECT get_byte(sealed, 3) AS epoch FROM message ORDER BY seq")
    assert [row["epoch"] for row in rows] == [1, 1, 1] + [2] * 6


async def test_text_may_speak_of_a_nul_but_not_hold_one(one: Process) -> None:
    conversation = await one.hear("\\u0000 and \\\\u0000")
    assert await one.said(conversation) == ["\\u0000 and \\\\u0000"]
    for text in ("a\0b", "\\\0", "\\\\\0"):
        with pytest.raises(ValueError, match="NUL"):
            await one.hear(text)


async def test_neither_a_dump_nor_the_log_of_postgresql_holds_what_was_said(
    one: Process, database: str, postgres: Postgres, scratch: Path
) -> None:
    canary, plain = f"canary{uuid4().hex}", f"plain{uuid4().hex}"
    conversation = await one.hear(f"I said {canary}", event_id="SM1")
    await one.reply(f"You said {canary}")
    await one.inbox.change(
        Change(say().sender, "SM2", "edit", "SM1", datetime.now(UTC), (Text(text=f"I wrote {canary}"),))
    )
    await Handoffs(one.db, Wakes(one.db), Settings(_env_file=None)).say(
        conversation, "amina", (Text(text=f"We say {canary}"),), uuid4().hex
    )
    staff = Staff("amina", b"", "", datetime.now(UTC))
    written = Form({"act": "note", "text": f"Notes {canary}", "nonce": uuid4().hex})
    await desk(one.db).write(staff, conversation, written)
    assert all(canary in said for said in await one.said(conversation))

    connection = await postgres.connect(database)
    try:
        data = Path(await connection.fetchval("SELECT current_setting('data_directory')"))
        base = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = $1", database)
        # A commit that waits for the disk takes all before it there; twice, as a page may end in the midst of one.
        await connection.execute("SET synchronous_commit = on")
        for _ in range(2):
            await connection.execute("UPDATE identity SET provider_id = $1", plain)
        logged = contents(data / "pg_wal")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    dumped = await asyncio.to_thread(_dump, postgres, database, scratch)
    for held in (logged, contents(data / "base" / str(base)), dumped):
        assert canary.encode() not in held
        assert plain.encode() in held


def contents(folder: Path) -> bytes:
    """Everything in a folder's files."""
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


def _dump(postgres: Postgres, database: str, scratch: Path) -> bytes:
    program = binaries(DataFolder(scratch / "s")) / "pg_dump"
    words: list[Any] = [program, "-h", postgres.run, "-U", "postgres", database]
    return subprocess.run(words, check=True, capture_output=True).stdout
