"""`keys`: listed, rotated while messages are written and read, removed when nothing needs them."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core import people
from core.conversations import history
from core.crypto import KeyList, key_file, write_keys
from core.db import Database
from core.inbox import Inbox
from core.messages import text_of
from core.wake import Wakes
from tests.factories import say
from tests.said import called
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ROOMS = int(os.environ.get("KEYS_ROOMS", "600"))
"""Rooms with a message each; 10,000 at the big size."""
NAMES = 2
"""Keys that are made where the first person with a name is met: what seals it, and what it is found by."""
AT_ONCE = 500
"""How many of them are stored in one go: whoever stores waits a few seconds at most."""
PER_S = 50
"""Messages written, and read, a second meanwhile."""

Keys = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A list of one key, in a file."""
    path = tmp_path / "keys"
    write_keys(path, KeyList.new("first"))
    return path


@pytest.fixture
def keys(file: Path, database_url: str) -> Keys:
    """Run `bot keys …` with that file: its exit code, and what it said."""

    async def run(*words: str, **environment: str) -> tuple[int, str]:
        given = {"DATABASE_URL": database_url, "MATHIA_KEYS": "", "MATHIA_KEYS_FILE": str(file)} | environment
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "keys", *words,
            cwd=ROOT, env=os.environ | given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    return run


@asynccontextmanager
async def running(database_url: str, file: Path) -> AsyncIterator[Database]:
    """A process of Mathia that read its keys before they were rotated."""
    db = await Database.connect(database_url, key_file(file))
    try:
        yield db
    finally:
        await db.close()


async def counts(keys: Keys) -> dict[str, int]:
    """How many keys each one wraps."""
    code, said = await keys("list")
    assert code == 0, said
    return {line.split()[0]: int(line.split()[1].replace(",", "")) for line in said.splitlines()}


async def test_rotating_under_load_loses_no_read_nor_does_removing(keys: Keys, file: Path, database_url: str) -> None:
    async with running(database_url, file) as db, running(database_url, file) as reader:
        inbox = Inbox(db, Wakes(db))
        for first in range(0, ROOMS, AT_ONCE):
            await inbox.receive([say(f"said {n}", room=f"r{n}") for n in range(first, min(first + AT_ONCE, ROOMS))])
        rooms = {row["room"]: row["id"] for row in await db.pool.fetch("SELECT room, id FROM conversation")}
        async with db.transaction() as session:
            row = await db.pool.fetchrow(
                "SELECT i.person_id, c.id FROM identity i JOIN conversation c ON c.room = i.provider_id"
            )
            owner = row["person_id"]
            await people.save_contact(session, owner, row["id"], "Amina", phone="+254712345678", email=None, note=None)
        purposes = 1 + NAMES
        assert await counts(keys) == {"first": ROOMS + 1 + purposes}
        written, read = ROOMS, 0
        stop = asyncio.Event()

        async def tick() -> bool:
            try:
                await asyncio.wait_for(stop.wait(), 1 / PER_S)
            except TimeoutError:
                return False
            return True

        async def write() -> None:
            nonlocal written
            while not await tick():
                await inbox.receive([say(f"said {written}", room=f"r{written}")])
                written += 1

        async def look() -> None:
            nonlocal read
            chance = random.Random(7)
            while not await tick():
                room = chance.choice(list(rooms))
                reader.keys.forget()  # So that each look unwraps.
                [message] = await history(reader, rooms[room], since=0)
                assert text_of(message.parts) == f"said {room[1:]}"
                async with reader.transaction() as session:
                    [contact] = await people.contacts(session, owner)
                assert contact.phone == "+254712345678"
                read += 1

        async with asyncio.TaskGroup() as load:
            load.create_task(write())
            load.create_task(look())
            try:
                code, said = await keys("rotate")
                assert (code, "first may be removed" in said) == (0, True), said
                new = key_file(file).newest
                assert new != "first"
                assert (await counts(keys))["first"] == 0
                code, said = await keys("remove", "first")
                assert code == 0, said
                before = written, read

                async def goes_on() -> bool:
                    return written > before[0] + 5 and read > before[1] + 5

                await until(goes_on, what="the load to go on")
            finally:
                stop.set()
        assert key_file(file).ids == (new,)
        assert await counts(keys) == {new: written + 1 + purposes}
    async with running(database_url, file) as later:
        for room in random.Random(8).sample(list(rooms), 20):
            [message] = await history(later, rooms[room], since=0)
            assert text_of(message.parts) == f"said {room[1:]}"
        name = "SELECT p.name FROM person p JOIN identity i ON i.person_id = p.id WHERE i.provider_id = $1"
        assert await called(later, name, "r1") == "Amina"


async def test_a_key_that_is_needed_stays(keys: Keys, file: Path, database_url: str) -> None:
    async with running(database_url, file) as db:
        await Inbox(db, Wakes(db)).receive([say("hello")])
    write_keys(file, key_file(file).with_new())
    whole = file.read_text()
    code, said = await keys("remove", "first")
    assert code == 1
    assert f"first wraps {1 + NAMES} keys" in said
    assert "keys rotate" in said
    for other in ("nobody", "../keys", key_file(file).newest):
        code, said = await keys("remove", other)
        assert code == 1, said
    assert file.read_text() == whole


async def test_a_rotation_that_was_stopped_goes_on_with_the_key_it_made(
    keys: Keys, file: Path, database_url: str
) -> None:
    async with running(database_url, file) as db:
        await Inbox(db, Wakes(db)).receive([say("hello", room="r1")])
        write_keys(file, key_file(file).with_new())
        await Inbox(db, Wakes(db)).receive([say("hello", room="r2")])
    new = key_file(file).newest
    assert await counts(keys) == {new: 1, "first": 1 + NAMES}
    code, said = await keys("rotate")
    assert (code, f"{1 + NAMES} keys are wrapped by" in said) == (0, True), said
    assert key_file(file).ids == (new, "first")
    assert await counts(keys) == {new: 2 + NAMES, "first": 0}


async def test_keys_in_the_environment_are_rotated_in_steps(keys: Keys, database_url: str) -> None:
    old = KeyList.new("old")
    db = await Database.connect(database_url, old)
    await Inbox(db, Wakes(db)).receive([say("hello")])
    await db.close()
    code, said = await keys("rotate", MATHIA_KEYS=old.written(), MATHIA_KEYS_FILE="")
    assert code == 0, said
    [line] = [line.strip() for line in said.splitlines() if line.strip().startswith("MATHIA_KEYS=")]
    both = KeyList.parse(line.partition("=")[2])
    assert both.ids[0] == "old"
    new = both.ids[1]
    first = f"{both.without('old').written()},{old.written()}"
    code, said = await keys("rotate", MATHIA_KEYS=first, MATHIA_KEYS_FILE="")
    assert (code, "take old:… out of MATHIA_KEYS" in said) == (0, True), said
    assert old.written()[4:] not in said
    code, said = await keys("list", MATHIA_KEYS=both.without("old").written(), MATHIA_KEYS_FILE="")
    assert said.split()[:2] == [new, str(1 + NAMES)]
    code, said = await keys("list", MATHIA_KEYS=old.written(), MATHIA_KEYS_FILE="")
    assert "MISSING" in said
    code, said = await keys("list", MATHIA_KEYS=old.written())
    assert (code, "not both" in said) == (1, True), said
