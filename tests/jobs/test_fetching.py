"""Files that people send: fetched once, looked at, kept, and shown in their message; or said not to be here."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

from core import conversations, fetching
from core.changes import Change
from core.db import Database
from core.egress import Egress
from core.files import Files, files_of, is_lost
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Media, Part, Text, Voice
from core.settings import SANDBOX_PHONE_NUMBER_ID, Settings
from core.storage import Storage
from core.wake import Wakes
from jobs.fetching import LEASE, TRIES_MAX, Hands, Sources, fetch_file
from tests.conftest import Sandbox
from tests.core.test_pictures import huge_png
from tests.core.test_sniff import archive, office

OGG = b"OggS\x00\x02" + bytes(26) + b"\x01vorbis" + bytes(range(256))
NOBODY = "404404404"


def png() -> bytes:
    drawn = BytesIO()
    Image.new("RGB", (40, 30), "red").save(drawn, "png")
    return drawn.getvalue()


@dataclass
class Scene:
    """Asha, who writes to our number at Meta, and a worker that fetches."""

    db: Database
    hands: Hands
    inbox: Inbox
    sandbox: Sandbox
    sender: Address

    def keep(self, data: bytes, media_type: str = "image/png") -> str:
        """Have Meta keep a file; its id there."""
        given = {"type": media_type, "data": base64.b64encode(data).decode()}
        return str(httpx.post(f"{self.sandbox.url}/whatsapp/_media", json=given, trust_env=False).json()["id"])

    def plan(self, *faults: str) -> None:
        given = {"plan": list(faults)}
        httpx.post(f"{self.sandbox.url}/whatsapp/_faults", json=given, trust_env=False).raise_for_status()

    async def send(self, *parts: Part, event_id: str | None = None) -> tuple[UUID, int]:
        message = InboundMessage(self.sender, event_id or uuid4().hex, parts, datetime.now(UTC))
        [received] = await self.inbox.receive([message])
        return received.conversation_id, received.seq

    async def shown(self, place: tuple[UUID, int]) -> tuple[Part, ...]:
        message = await conversations.one(self.db, *place)
        assert message is not None
        return message.parts

    async def rows(self) -> list[Any]:
        rows: list[Any] = await self.db.pool.fetch("SELECT * FROM file_fetch ORDER BY id")
        return rows

    async def fetch(self) -> None:
        """One try of every file that may be tried, as the sweep would hand them out."""
        for row in await self.db.pool.fetch(fetching.CLAIMABLE, 100):
            await fetch_file(self.hands, row["id"])

    async def later(self) -> None:
        """Let time pass."""
        await self.db.pool.execute("UPDATE file_fetch SET lease_until = lease_until - $1::interval", LEASE)

    async def kept(self) -> int:
        """How many files there are."""
        count: int = await self.db.pool.fetchval("SELECT count(*) FROM file WHERE state = 'kept'")
        return count


@pytest.fixture
async def scene(db: Database, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Scene]:
    settings = Settings.model_validate({"sandbox_url": sandbox.url, "files_dir": str(tmp_path)}).sandboxed()
    wakes = Wakes(db)
    sources, egress = Sources(settings, db, wakes), Egress(settings)
    hands = Hands(db, wakes, Files(db, Storage(settings)), sources, egress)
    person = "25471" + str(uuid4().int)[:7]
    sender = Address(ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, person, person)
    yield Scene(db, hands, Inbox(db, wakes), sandbox, sender)
    await sources.close()
    await egress.close()


async def test_a_picture_is_fetched_drawn_anew_and_shown(scene: Scene) -> None:
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png()), caption="nyumba"))
    await scene.fetch()
    [part] = await scene.shown(place)
    assert isinstance(part, Media)
    assert (part.media_type, part.width, part.height, part.caption) == ("image/png", 40, 30, "nyumba")
    [file] = await scene.hands.files.find(files_of((part,)))
    assert (file.conversation_id, file.size) == (place[0], part.size)
    assert Image.open(BytesIO(await scene.hands.files.read(file))).size == (40, 30)
    # Screens are told by a change with a number.
    [(number, _, changed)] = await conversations.changed(scene.db, place[0], since=0)
    assert (number, changed.parts) == (1, (part,))


async def test_a_voice_note_keeps_its_kind(scene: Scene) -> None:
    place = await scene.send(Voice(media_type="audio/ogg", ref=scene.keep(OGG, "audio/ogg"), duration_s=2.0))
    await scene.fetch()
    [part] = await scene.shown(place)
    assert isinstance(part, Voice)
    assert (part.media_type, part.duration_s, len(files_of((part,)))) == ("audio/ogg", 2.0, 1)


async def test_what_is_fetched_by_many_at_once_is_kept_once(scene: Scene) -> None:
    await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    [row] = await scene.rows()
    await asyncio.gather(*(fetch_file(scene.hands, row["id"]) for _ in range(6)))
    assert await scene.kept() == 1


async def test_a_message_that_comes_twice_is_fetched_once(scene: Scene) -> None:
    part = Media(media_type="image/png", ref=scene.keep(png()))
    for _ in range(2):
        await scene.send(part, event_id="wamid.twice")
    assert len(await scene.rows()) == 1
    await scene.fetch()
    await scene.send(part, event_id="wamid.twice")
    await scene.later()
    await scene.fetch()
    assert [row["state"] for row in await scene.rows()] == ["done"]


@pytest.mark.parametrize(
    ("data", "said", "why"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml", "refused"),
        (b"<!doctype html><script>alert(1)</script>", "image/png", "refused"),
        (b"MZ" + bytes(600), "application/pdf", "refused"),
        (b"", "audio/ogg", "refused"),
        (png()[:-30], "image/png", "refused"),
        (huge_png(13_000), "image/png", "large"),
        (b"%PDF-1.7\n" + archive(a=b"hidden"), "application/pdf", "refused"),
        (office("xl", xl__b_dot_xml=bytes(2 * 1024 * 1024)), "application/pdf", "refused"),
        (b"\x89PNG\r\n\x1a\n" + bytes(600), "audio/ogg", "refused"),
    ],
    ids=[
        "svg",
        "html that says it is a picture",
        "program",
        "nothing",
        "ruin",
        "13,000 by 13,000",
        "PDF that is a zip too",
        "zip bomb that says it is a PDF",
        "picture that says it is sound",
    ],
)
async def test_what_is_not_taken_is_said_so(scene: Scene, data: bytes, said: str, why: str) -> None:
    place = await scene.send(Text(text="hii"), Media(media_type=said, ref=scene.keep(data, said)))
    await scene.fetch()
    text, part = await scene.shown(place)
    assert text == Text(text="hii")
    assert isinstance(part, Media)
    assert (part.ref, await scene.kept()) == (f"lost:{why}", 0)


async def test_what_the_provider_has_not_is_lost_at_once(scene: Scene) -> None:
    place = await scene.send(Media(media_type="image/png", ref=NOBODY))
    await scene.fetch()
    [part] = await scene.shown(place)
    assert isinstance(part, Media)
    assert part.ref == "lost:gone"
    assert [(row["state"], row["lost"], row["tries"]) for row in await scene.rows()] == [("lost", "gone", 1)]


async def test_trouble_is_waited_out(scene: Scene) -> None:
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    scene.plan("500_not_executed")
    await scene.fetch()
    [before] = await scene.shown(place)
    assert isinstance(before, Media)
    assert before.ref.isdecimal()
    await scene.fetch()  # Not due yet.
    assert (await scene.rows())[0]["tries"] == 1
    await scene.later()
    await scene.fetch()
    assert await scene.kept() == 1


async def test_trouble_without_end_is_given_up_and_said(scene: Scene) -> None:
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    for _ in range(TRIES_MAX):
        scene.plan("500_not_executed")
        await scene.fetch()
        await scene.later()
    [part] = await scene.shown(place)
    assert isinstance(part, Media)
    assert is_lost(part.ref)
    assert part.ref == "lost:away"


async def test_a_worker_that_died_is_followed_by_another(scene: Scene) -> None:
    await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    [row] = await scene.rows()
    dead = await fetching.claim(scene.db, row["id"], LEASE)
    assert dead is not None
    await scene.fetch()
    assert await scene.kept() == 0
    await scene.later()
    await scene.fetch()
    assert await scene.kept() == 1
    # The dead one comes back: nothing changes.
    assert not await fetching.settle(scene.db, scene.hands.wakes, dead, "gone")
    assert [row["state"] for row in await scene.rows()] == ["done"]


async def test_a_message_deleted_meanwhile_keeps_no_file(scene: Scene) -> None:
    event_id = uuid4().hex
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())), event_id=event_id)
    await scene.inbox.change(Change(scene.sender, uuid4().hex, "delete", event_id, datetime.now(UTC)))
    await scene.fetch()
    assert (await scene.shown(place), await scene.kept()) == ((), 0)


async def test_a_deleted_message_takes_its_file_away(scene: Scene) -> None:
    event_id = uuid4().hex
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())), event_id=event_id)
    await scene.fetch()
    refs = files_of(await scene.shown(place))
    await scene.inbox.change(Change(scene.sender, uuid4().hex, "delete", event_id, datetime.now(UTC)))
    assert await scene.hands.files.find(refs) == []
    assert await scene.hands.files.sweep() == 1


async def test_an_edited_message_shows_its_new_file(scene: Scene) -> None:
    event_id = uuid4().hex
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())), event_id=event_id)
    await scene.fetch()
    old = files_of(await scene.shown(place))
    new = Media(media_type="audio/ogg", ref=scene.keep(OGG, "audio/ogg"), caption="wimbo")
    at = datetime.now(UTC) + timedelta(seconds=1)
    await scene.inbox.change(Change(scene.sender, uuid4().hex, "edit", event_id, at, (new,)))
    await scene.later()
    await scene.fetch()
    [part] = await scene.shown(place)
    assert isinstance(part, Media)
    assert (part.media_type, part.caption, len(files_of((part,)))) == ("audio/ogg", "wimbo", 1)
    assert await scene.hands.files.find(old) == []


async def test_a_file_over_the_day_is_not_taken(scene: Scene) -> None:
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    await scene.fetch()
    await scene.db.pool.execute("UPDATE file SET size = 500 * 1024 * 1024 WHERE conversation_id = $1", place[0])
    place = await scene.send(Media(media_type="image/png", ref=scene.keep(png())))
    await scene.fetch()
    [part] = await scene.shown(place)
    assert isinstance(part, Media)
    assert part.ref == "lost:quota"
