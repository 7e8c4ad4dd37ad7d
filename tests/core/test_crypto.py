"""Sealing: what was sealed in one place opens there and nowhere else, under a list of keys that may change."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.crypto import EPOCH_BYTES, KEYS_MAX, NONCE_BYTES, Forged, KeyList, KeysMissing, RoomKey, RoomKeys, key_file
from core.db import Database
from core.errors import MathiaError
from core.inbox import Inbox
from core.settings import Settings
from core.wake import Wakes
from tests.factories import say
from tests.waiting import until

ROOM = UUID(int=7)
NONCES = int(os.environ.get("NONCES", "1000000"))
VALUES = st.binary(max_size=300)
WHATS = st.binary(max_size=60)


def key(room: UUID = ROOM, epoch: int = 1, secret: bytes = bytes(range(32))) -> RoomKey:
    return RoomKey(secret, room, epoch)


@given(WHATS, VALUES)
def test_what_was_sealed_opens_again_and_shows_nothing(what: bytes, data: bytes) -> None:
    sealed = key().seal(what, data)
    assert key().open(what, sealed) == data
    assert len(data) < 4 or data not in sealed
    assert key().seal(what, data) != sealed


@given(WHATS, VALUES, st.data())
def test_a_changed_or_cut_value_is_refused(what: bytes, data: bytes, draw: st.DataObject) -> None:
    sealed = key().seal(what, data)
    bit = draw.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    cut = draw.draw(st.integers(0, len(sealed) - 1))
    for forged in (bytes(flipped), sealed[:cut], sealed[cut + 1 :], sealed + b"\0", b""):
        with pytest.raises(Forged):
            key().open(what, forged)


@given(WHATS, WHATS, st.uuids(), st.integers(1, 2**31 - 1), VALUES)
def test_a_value_opens_only_where_it_was_sealed(a: bytes, b: bytes, room: UUID, epoch: int, data: bytes) -> None:
    sealed = key().seal(a, data)
    others = [(key(room), a, room == ROOM), (key(epoch=epoch), a, epoch == 1), (key(), b, a == b)]
    for other, what, same in others:
        if not same:
            with pytest.raises(Forged):
                other.open(what, sealed)
    # The epoch cannot be written over either.
    if epoch != 1:
        with pytest.raises(Forged):
            key(epoch=epoch).open(a, epoch.to_bytes(EPOCH_BYTES) + sealed[EPOCH_BYTES:])


def test_no_nonce_comes_twice() -> None:
    one = key()
    seen = {one.seal(b"", b"")[EPOCH_BYTES : EPOCH_BYTES + NONCE_BYTES] for _ in range(NONCES)}
    assert len(seen) == NONCES


@given(st.uuids(), st.integers(1, 2**31 - 1), st.binary(min_size=32, max_size=32))
def test_a_wrapped_key_opens_for_its_room_and_epoch_alone(room: UUID, epoch: int, secret: bytes) -> None:
    old = KeyList.new("old")
    kek, wrapped = old.wrap(secret, room, epoch)
    assert kek == "old"
    assert secret not in wrapped
    both = KeyList.parse(f"{KeyList.new('new').written()},{old.written()}")
    assert (both.newest, both.ids) == ("new", ("new", "old"))
    assert both.unwrap(kek, wrapped, room, epoch) == secret
    assert both.wrap(secret, room, epoch)[0] == "new"
    for place in ((room, epoch + 1), (uuid4(), epoch)):
        with pytest.raises(Forged):
            both.unwrap(kek, wrapped, *place)
    with pytest.raises(Forged):
        both.unwrap("new", wrapped, room, epoch)
    with pytest.raises(KeysMissing, match="lacks the key 'old'"):
        KeyList.new("new").unwrap(kek, wrapped, room, epoch)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "at least one"),
        ("secretsecretsecret", "key 1 is not written id:key"),
        ("a:secretsecretsecret", "key 1 is not 32 bytes"),
        ("a:" + "A" * 43, "not random"),
        ("a b:" + "A" * 43, "the id of key 1"),
        ("a:é", "not 32 bytes"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_without_being_shown(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        KeyList.parse(text)
    assert "secretsecret" not in str(raised.value)
    good = KeyList.new("a").written()
    with pytest.raises(ValueError, match="twice"):
        KeyList.parse(f"{good},{good}")
    with pytest.raises(ValueError, match="same key"):
        KeyList.parse(f"{good},b{good[1:]}")
    with pytest.raises(ValueError, match="at most"):
        KeyList.parse(",".join(KeyList.new(f"k{n}").written() for n in range(KEYS_MAX + 1)))


def test_settings_refuse_bad_keys_and_show_none() -> None:
    written = KeyList.new("one").written()
    read = Settings(_env_file=None, mathia_keys=written)
    assert read.key_list is not None
    assert read.key_list.written() == written
    assert written[4:] not in repr(read) + repr(read.key_list)
    with pytest.raises(ValidationError, match="not 32 bytes"):
        Settings(_env_file=None, mathia_keys="one:tooshort")
    with pytest.raises(ValidationError, match="MATHIA_KEYS must be set in production"):
        Settings(_env_file=None, mathia_keys="", environment="production", public_url="https://chat.example.com")


def test_the_key_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first = key_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_file(file).written() == first.written()
    assert [one.name for one in tmp_path.iterdir()] == ["keys"]
    file.chmod(0o644)
    with pytest.raises(MathiaError, match="chmod 600"):
        key_file(file)
    file.chmod(0o600)
    file.write_text("nonsense")
    with pytest.raises(MathiaError, match="not a list of keys") as raised:
        key_file(file)
    assert "nonsense" not in str(raised.value)
    with pytest.raises(MathiaError, match="cannot be read"):
        key_file(tmp_path / "nowhere" / "keys")


async def room_of(db: Database, name: str = "asha") -> UUID:
    """A conversation that somebody has written in."""
    [received] = await Inbox(db, Wakes(db)).receive([say(room=name)])
    return received.conversation_id


@asynccontextmanager
async def taken_back(db: Database) -> AsyncIterator[Any]:
    """A connection in a transaction that is rolled back."""
    async with db.pool.acquire() as connection:
        work = connection.transaction()
        await work.start()
        yield connection
        await work.rollback()


async def test_a_room_has_one_key_however_many_make_it(database_url: str) -> None:
    keys = Settings(_env_file=None).key_list
    processes = [await Database.connect(database_url, keys) for _ in range(4)]
    try:
        rooms = [await room_of(processes[0], f"room{n}") for n in range(20)]
        for one in processes:
            one.keys.forget()
        await processes[0].pool.execute("UPDATE conversation SET epoch = 9")

        async def make(one: Database) -> dict[UUID, RoomKey]:
            async with one.pool.acquire() as connection:
                return await one.keys.current(connection, rooms)

        made = await asyncio.gather(*(make(one) for one in processes for _ in range(2)))
        for room in rooms:
            assert {one[room].epoch for one in made} == {9}
            assert made[0][room].open(b"x", made[-1][room].seal(b"x", b"hello")) == b"hello"
    finally:
        for one in processes:
            await one.close()


async def test_a_key_that_was_never_committed_is_not_remembered(db: Database) -> None:
    room = await room_of(db)
    await db.pool.execute("UPDATE conversation SET epoch = 2")
    db.keys.forget()
    async with taken_back(db) as connection:
        lost = (await db.keys.current(connection, [room]))[room]
        again = (await db.keys.current(connection, [room]))[room]
        assert again.open(b"x", lost.seal(b"x", b"hello")) == b"hello"
    async with db.pool.acquire() as connection:
        kept = (await db.keys.current(connection, [room]))[room]
    with pytest.raises(Forged):
        kept.open(b"x", lost.seal(b"x", b"hello"))


async def test_each_epoch_has_a_key_and_earlier_ones_still_open(db: Database) -> None:
    room = await room_of(db)
    async with db.hot() as connection:
        old = (await db.keys.current(connection, [room]))[room]
        assert await db.keys.start_epoch(connection, room) == 2
    async with db.hot() as connection:
        new = (await db.keys.current(connection, [room]))[room]
        assert (old.epoch, new.epoch) == (1, 2)
        first, second = old.seal(b"x", b"one"), new.seal(b"x", b"two")
        for _ in range(2):
            values = [(room, b"x", first), (room, b"x", second), (room, b"y", second), (room, b"x", None)]
            assert await db.keys.opened(connection, values) == [b"one", b"two", None, None]
            db.keys.forget()
        with pytest.raises(LookupError):
            await db.keys.start_epoch(connection, uuid4())


async def test_destroyed_keys_open_nothing_in_any_process(db: Database, database_url: str) -> None:
    other = await Database.connect(database_url, Settings(_env_file=None).key_list)
    try:
        async with Wakes(other).listening():
            room, bystander = await room_of(db), await room_of(db, "baraka")
            async with other.pool.acquire() as connection:
                keys = await other.keys.current(connection, [room, bystander])
                values = [(one, b"x", keys[one].seal(b"x", b"hello")) for one in (room, bystander)]
                assert await other.keys.opened(connection, values) == [b"hello", b"hello"]

            async def opened() -> list[bytes | None]:
                async with other.pool.acquire() as connection:
                    return await other.keys.opened(connection, values)

            async with taken_back(db) as connection:
                assert await db.keys.destroy(connection, room) == 1
                assert await db.keys.opened(connection, values) == [None, b"hello"]
            async with db.pool.acquire() as connection:
                assert await db.keys.opened(connection, values) == [b"hello", b"hello"]
            assert await opened() == [b"hello", b"hello"]
            async with db.hot() as connection:
                assert await db.keys.destroy(connection, room) == 1

            async def gone() -> bool:
                return await opened() == [None, b"hello"]

            await until(gone, what="the other process to forget")
            async with other.pool.acquire() as connection:
                assert (await other.keys.current(connection, [room]))[room].epoch == 2
                assert not await connection.fetchval(
                    "SELECT count(*) FROM room_key WHERE epoch = 1 AND wrapped IS NOT NULL AND conversation_id = $1",
                    room,
                )
    finally:
        await other.close()


async def test_a_key_put_in_another_rooms_place_opens_and_breaks_nothing(db: Database) -> None:
    rooms = [await room_of(db), await room_of(db, "baraka")]
    async with db.pool.acquire() as connection:
        keys = await db.keys.current(connection, rooms)
        values = [(room, b"x", keys[room].seal(b"x", b"hello")) for room in rooms]
        await connection.execute(
            "UPDATE room_key SET wrapped = (SELECT wrapped FROM room_key WHERE conversation_id = $2)"
            " WHERE conversation_id = $1",
            *rooms,
        )
        db.keys.forget()
        assert await db.keys.opened(connection, values) == [None, b"hello"]
        with pytest.raises(Forged):
            await db.keys.current(connection, rooms)


async def test_a_list_that_does_not_fit_the_database_is_said_at_once(db: Database, database_url: str) -> None:
    room = await room_of(db)
    async with db.pool.acquire() as connection:
        await db.keys.current(connection, [room])
        await db.keys.check(connection)
        known = db.keys.key_list
        newer = RoomKeys(KeyList.parse(f"{KeyList.new('newer').written()},{known.written()}"))
        await newer.check(connection)
        with pytest.raises(KeysMissing, match="lacks the key 'test'"):
            await RoomKeys(KeyList.new("newer")).check(connection)
        stranger = await Database.connect(database_url, KeyList.new("newer"))
        with pytest.raises(KeysMissing, match="lacks the key 'test'"):
            await stranger.check_keys()
        with pytest.raises(KeysMissing, match="'test' in MATHIA_KEYS is not the one"):
            await RoomKeys(KeyList.new("test")).check(connection)
        with pytest.raises(KeysMissing, match="MATHIA_KEYS is not set"):
            await RoomKeys(None).check(connection)
