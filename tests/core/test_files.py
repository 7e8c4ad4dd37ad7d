"""Files in the store: sealed piece by piece, whole or not there, gone when deleted or when their key is."""

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from bot.servers.supervisor import free_port
from bot.wiring import services
from core.db import Database
from core.errors import StoreUnavailable
from core.files import PIECE_BYTES, SEALED_BYTES, FileGone, Files, StoredFile
from core.settings import Settings
from core.storage import Storage, StorageRefused
from tests.waiting import until_now

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


async def room(db: Database) -> UUID:
    made: UUID = await db.pool.fetchval(
        "INSERT INTO conversation (id, channel, account, room)"
        " VALUES ($1::uuid, 'web', 'default', $1::uuid::text) RETURNING id",
        uuid4(),
    )
    return made


def folder(path: Path) -> Settings:
    return Settings.model_validate({"files_dir": str(path)})


@contextmanager
def s3_server(log: Path, **environment: str) -> Iterator[str]:
    """A server that speaks S3, in a process of its own, with one bucket."""
    port = free_port()
    with log.open("w") as written:
        child = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stderr=written, env=os.environ | environment,
        )  # fmt: skip

        def made() -> bool:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("PUT", "/mathia-files")
                return connection.getresponse().status == 200
            except OSError:
                return False

        try:
            until_now(made, 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.kill()
            child.wait()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


def bucket(url: str, **more: object) -> Settings:
    return Settings.model_validate(
        {
            "r2_enabled": True, "r2_endpoint": url, "r2_bucket": "mathia-files", "r2_access_key_id": "id",
            "r2_secret_access_key": SecretStr("secret"),
        }
        | more
    )  # fmt: skip


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return folder(tmp_path) if request.param == "folder" else bucket(request.getfixturevalue("s3"))


async def kept(files: Files, conversation: UUID, data: bytes) -> StoredFile:
    return await files.put(conversation, data, name="barua.txt", media_type="text/plain")


@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7])
async def test_a_file_comes_back_as_it_was_in_whole_and_in_part(db: Database, settings: Settings, size: int) -> None:
    files = Files(db, Storage(settings))
    data = bytes(number * 7 % 251 for number in range(size))
    file = await kept(files, await room(db), data)
    assert (file.name, file.media_type, file.size) == ("barua.txt", "text/plain", size)
    assert await files.read(file) == data
    for start, end in ((0, 1), (size - 1, size), (size // 3, size // 2 + 1), (0, size)):
        assert b"".join([piece async for piece in files.pieces(file, start, end)]) == data[start:end]


async def test_what_lies_in_the_storage_says_nothing_and_cannot_be_changed(db: Database, tmp_path: Path) -> None:
    files = Files(db, Storage(folder(tmp_path)))
    data = b"kanari-siri " * (PIECE_BYTES // 6)
    file = await kept(files, await room(db), data)
    other = await kept(files, file.conversation_id, data)
    [path] = [one for one in tmp_path.rglob("*") if one.name == str(file.id)]
    sealed = path.read_bytes()
    assert b"kanari" not in sealed
    row = await db.pool.fetchrow("SELECT * FROM file WHERE id = $1", file.id)
    assert b"barua" not in repr(dict(row)).encode()
    swapped = sealed[SEALED_BYTES : 2 * SEALED_BYTES] + sealed[:SEALED_BYTES] + sealed[2 * SEALED_BYTES :]
    elsewhere = path.with_name(str(other.id)).read_bytes()
    for changed in (sealed[:SEALED_BYTES], swapped, elsewhere, sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:], b""):
        path.write_bytes(changed)
        with pytest.raises((FileGone, StoreUnavailable)):
            await files.read(file)
    path.write_bytes(sealed)
    assert await files.read(file) == data


async def test_a_deleted_file_is_gone_at_once_and_its_object_too(db: Database, settings: Settings) -> None:
    files = Files(db, Storage(settings))
    file = await kept(files, await room(db), b"words")
    assert await files.delete([file.id, uuid4()]) == 1
    assert await files.delete([file.id]) == 0
    assert await files.find([file.id]) == []
    with pytest.raises(FileGone):
        await files.read(file)


async def test_a_file_goes_with_the_key_of_its_room(db: Database, tmp_path: Path) -> None:
    files = Files(db, Storage(folder(tmp_path)))
    file = await kept(files, await room(db), b"words")
    async with db.pool.acquire() as connection, connection.transaction():
        await db.keys.destroy(connection, file.conversation_id)
    assert await files.find([file.id]) == []
    with pytest.raises(FileGone):
        await files.read(file)


async def test_what_was_given_up_is_swept(db: Database, tmp_path: Path) -> None:
    files = Files(db, Storage(folder(tmp_path)))
    whole, given_up, under_way = [await kept(files, await room(db), b"words") for _ in range(3)]
    await db.pool.execute("UPDATE file SET state = 'storing' WHERE id = ANY($1::uuid[])", [given_up.id, under_way.id])
    await db.pool.execute("UPDATE file SET created_at = created_at - interval '2 hours' WHERE id = $1", given_up.id)
    assert await files.find([given_up.id]) == []
    assert await files.sweep() == 1
    assert await files.sweep() == 0
    left = {one.name for one in tmp_path.rglob("*") if one.is_file()}
    assert left == {str(whole.id), str(under_way.id)}


async def test_a_storage_that_is_away_keeps_nothing_and_says_so(db: Database, s3: str) -> None:
    conversation = await room(db)
    for settings in (bucket(f"http://127.0.0.1:{free_port()}"), bucket(s3, r2_bucket="no-such-bucket")):
        files = Files(db, Storage(settings))
        with pytest.raises(StoreUnavailable, match=r"storage|bucket"):
            await kept(files, conversation, b"words")
    assert await db.pool.fetchval("SELECT count(*) FROM file WHERE state = 'kept'") == 0


async def test_a_bucket_that_is_there_is_taken_and_one_that_is_away_may_come_back(s3: str, tmp_path: Path) -> None:
    await Storage(bucket(s3)).check()
    await Storage(bucket(f"http://127.0.0.1:{free_port()}")).check()
    await Storage(folder(tmp_path / "none")).check()


async def test_a_bucket_that_is_not_there_is_refused_at_the_start(s3: str) -> None:
    with pytest.raises(StorageRefused, match=r"no bucket no-such-bucket. Check R2_BUCKET"):
        await Storage(bucket(s3, r2_bucket="no-such-bucket")).check()


async def test_a_key_that_is_not_known_is_refused_at_the_start(
    database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    # The server asks who it is from its second request on; the first makes the bucket.
    with s3_server(tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="1") as url:
        wrong = bucket(url, database_url=database_url, redis_url=valkey_url)
        with pytest.raises(StorageRefused, match="Check R2_ENDPOINT, R2_REGION, R2_ACCESS_KEY_ID"):
            async with services(wrong):
                pass


def test_links_open_one_file_for_a_while(db: Database, tmp_path: Path) -> None:
    files = Files(db, Storage(folder(tmp_path)))
    ref = uuid4()
    path = urlsplit(files.link(ref, NOW))
    until, proof = (value for _, value in parse_qsl(path.query))
    assert path.path == f"/files/{ref}"
    assert files.is_link(ref, until, proof, NOW + timedelta(hours=11))
    assert not files.is_link(ref, until, proof, NOW + timedelta(hours=13))
    assert not files.is_link(uuid4(), until, proof, NOW)
    assert not files.is_link(ref, str(int(until) + 1), proof, NOW)
    for bad in ("", "x", proof[:-1], proof.upper() if proof.upper() != proof else "x", "é" * 64, proof + "0"):
        assert not files.is_link(ref, until, bad, NOW)
    for bad in ("", "-1", "1e9", "٣", "9" * 40, until + " "):
        assert not files.is_link(ref, bad, proof, NOW)
