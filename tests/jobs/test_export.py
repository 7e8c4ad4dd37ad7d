"""A person's archive: all that is theirs from all their chats, nothing of anybody else's, made and told once."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

import connectors.reminders.models  # noqa: F401  its table is one of those that are accounted for
from core import exports
from core.catalog import Catalog
from core.db import Database
from core.files import PIECE_BYTES, FileGone, Files
from core.messages import Address, InboundMessage, Media, Part, Text
from core.models import Base
from core.settings import Settings
from core.storage import Storage
from core.workflows import parse_draft
from jobs import definitions
from jobs.archive import TABLES
from jobs.export import LEASE, TRIES_MAX, Hands, export
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.said import messages

ASHA, ASHA_TOO, BARAKA = at(WHATSAPP, "whatsapp:+254700000001"), at(TELEGRAM, "7000001"), at(TELEGRAM, "7000002")


@dataclass
class Scene:
    """A whole Mathia that makes archives when it is told to."""

    mathia: Mathia
    files: Files
    hands: Hands

    async def make(self) -> None:
        """One try of every archive that may be made, as the sweep would hand them out."""
        for row in await self.mathia.db.pool.fetch(exports.CLAIMABLE, 100):
            await export(self.hands, row["id"])

    async def send(self, who: Address, *parts: Part) -> None:
        """A message of these parts arrives, and is answered."""
        await self.mathia.inbox.receive([InboundMessage(who, uuid4().hex, parts, datetime.now(UTC))])
        await self.mathia.answer()

    async def conversation(self, who: Address) -> UUID:
        """The room's id."""
        found: UUID = await self.mathia.db.pool.fetchval(
            "SELECT id FROM conversation WHERE (channel, room) = ($1, $2)", who.channel.value, who.room
        )
        return found

    async def flow(self, who: Address, word: str) -> None:
        """A workflow of theirs that says the word, and a run of it that is asked for."""
        db, wakes = self.mathia.db, self.mathia.wakes
        draft = parse_draft({"name": word, "steps": [{"id": "one", "kind": "say", "text": word}]})
        made = await definitions.add(
            db, wakes, draft, Catalog((), Settings(_env_file=None)), person_id=await self.mathia.person(who),
            conversation_id=await self.conversation(who), default_timezone="UTC",
        )  # fmt: skip
        await definitions.request_run(db, wakes, made, {"word": word})

    async def attach(self, who: Address, data: bytes, name: str) -> None:
        """A file arrives."""
        identity = await self.mathia.db.pool.fetchval("SELECT id FROM identity WHERE provider_id = $1", who.person)
        file = await self.files.put(
            await self.conversation(who), data, name=name, media_type="text/plain", identity_id=identity
        )
        await self.send(who, Media(media_type="text/plain", ref=file.ref, filename=name, caption=f"see {name}"))

    async def archives(self, who: Address) -> list[dict[str, bytes]]:
        """What the archives that were sent to a room hold, by name, oldest first."""
        rows = await messages(
            self.mathia.db, "WHERE m.conversation_id = $1 AND m.direction = 'out' ORDER BY m.seq",
            await self.conversation(who),
        )  # fmt: skip
        refs = [part["ref"] for row in rows for part in row["parts"] if part["kind"] == "media"]
        found = await self.files.find([UUID(ref.removeprefix("file:")) for ref in refs])
        return [unzipped(await self.files.read(file)) for file in found]


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@asynccontextmanager
async def scene(db: Database, valkey_url: str, folder: Path) -> AsyncIterator[Scene]:
    async with mathia(db, valkey_url) as whole:
        files = Files(db, Storage(Settings.model_validate({"files_dir": str(folder)})))
        yield Scene(whole, files, Hands(db, whole.wakes, files))


async def test_everything_of_a_person_is_in_it_from_all_their_chats(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        hear = here.mathia.hear
        await hear(ASHA, "my name is Canaryname")
        await hear(ASHA, "save Canarycontact's number 0712345678")
        await hear(ASHA, "remind me tomorrow at 9 to canaryreminder")
        await here.attach(ASHA, b"canaryfile" + bytes(PIECE_BYTES + 5), "canary-name.txt")
        await hear(ASHA_TOO, "canarytelegram")
        await hear(ASHA_TOO, await here.mathia.code(ASHA))
        # A group in which others write too.
        group = Address(TELEGRAM, "ours", "-100", ASHA_TOO.person)
        await here.send(group, Text(text="canarymine"))
        await here.send(Address(TELEGRAM, "ours", "-100", BARAKA.person), Text(text="canaryothers"))
        await hear(BARAKA, "remind me tomorrow at 9 to canaryothers")

        await here.flow(ASHA, "canaryworkflow")

        told = await hear(ASHA_TOO, "export my data")
        assert "archive" in told
        await here.make()
        [archive] = await here.archives(ASHA_TOO)
    every = b"\n".join(archive.values()) + "\n".join(archive).encode()
    for word in ("name", "contact", "reminder", "file", "telegram", "mine", "-name.txt", "workflow"):
        assert f"canary{word}".encode() in every.lower(), word
    assert b"canaryothers" not in every
    assert {
        "person.json", "reminders.json", "workflows.json", "moderation.json", "receipts.json", "reactions.json",
        "README.txt",
    } < set(archive)  # fmt: skip
    person = orjson.loads(archive["person.json"])
    assert [contact["name"] for contact in person["contacts"]] == ["Canarycontact"]
    [flow] = orjson.loads(archive["workflows.json"])
    assert flow["name"] == flow["spec"]["steps"][0]["text"] == flow["runs"][0]["trigger"]["word"] == "canaryworkflow"
    assert {chat["channel"] for chat in person["chats"]} == {"whatsapp", "telegram"}
    [whatsapp] = [name for name in archive if name.endswith("whatsapp.json")]
    said: list[dict[str, Any]] = orjson.loads(archive[whatsapp])
    assert [one["number"] for one in said] == list(range(1, len(said) + 1))
    [kept] = [name for name in archive if name.startswith("files/")]
    assert archive[kept].startswith(b"canaryfile")
    assert len(archive[kept]) == len(b"canaryfile") + PIECE_BYTES + 5


async def test_one_is_made_at_a_time_few_a_day_and_none_in_another(
    db: Database, valkey_url: str, tmp_path: Path
) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "hello")
        await here.attach(ASHA, b"a letter", "letter.txt")
        assert "archive" in await here.mathia.hear(ASHA, "export my data")
        assert "already" in await here.mathia.hear(ASHA, "export my data")
        await here.make()
        for _ in range(exports.EXPORTS_DAY_MAX - 1):
            await here.mathia.hear(ASHA, "export my data")
            await here.make()
        assert "tomorrow" in await here.mathia.hear(ASHA, "export my data")
        archives = await here.archives(ASHA)
    assert len(archives) == exports.EXPORTS_DAY_MAX
    assert [sum(name.startswith("files/") for name in archive) for archive in archives] == [1, 1, 1]


async def test_in_a_group_nobody_gets_it(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        group = Address(TELEGRAM, "ours", "-200", ASHA_TOO.person)
        assert "in private" in await here.mathia.hear(group, "export my data")
        assert await db.pool.fetchval("SELECT count(*) FROM data_export") == 0


async def test_it_is_told_once_by_whoever_ends_it_first(db: Database, valkey_url: str, tmp_path: Path) -> None:
    """A worker that stood still for longer than its lease has lost it: what it made is thrown away."""
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "export my data")
        [row] = await db.pool.fetch(exports.CLAIMABLE, 10)
        slow = await exports.claim(db, row["id"], LEASE)
        assert slow is not None
        assert await exports.claim(db, row["id"], LEASE) is None
        await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        await asyncio.gather(*(export(here.hands, row["id"]) for _ in range(3)))
        assert not await exports.hold(db, slow, LEASE)
        assert not await exports.settle(db, here.mathia.wakes, slow, None, (Text(text="no"),))
        assert len(await here.archives(ASHA)) == 1
        assert await db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'export'") == 1


async def test_who_asks_is_told_when_it_cannot_be_made(db: Database, valkey_url: str, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder would be")
    async with scene(db, valkey_url, blocked) as here:
        await here.mathia.hear(ASHA, "export my data")
        for _ in range(TRIES_MAX + 1):
            await here.make()
            await db.pool.execute("UPDATE data_export SET lease_until = lease_until - $1::interval", LEASE)
        assert "could not put your data together" in (await here.mathia.told(ASHA))[-1]
        assert await db.pool.fetchval("SELECT state FROM data_export") == "failed"
        # What failed is not counted.
        assert "archive" in await here.mathia.hear(ASHA, "export my data")


async def test_an_archive_is_deleted_after_a_day(db: Database, valkey_url: str, tmp_path: Path) -> None:
    async with scene(db, valkey_url, tmp_path) as here:
        await here.mathia.hear(ASHA, "export my data")
        await here.make()
        assert await exports.expired(db) == []
        await db.pool.execute("UPDATE data_export SET done_at = done_at - $1::interval", timedelta(hours=24, seconds=1))
        [(export_id, file_id)] = await exports.expired(db)
        [file] = await here.files.find([file_id])
        await here.files.delete([file_id])
        await exports.forget(db, [export_id])
        assert await exports.expired(db) == []
        with pytest.raises(FileGone):
            await here.files.read(file)


def test_every_table_is_accounted_for() -> None:
    """A new table says here where in the archive it is, or why it is not."""
    assert set(Base.metadata.tables) == set(TABLES)
