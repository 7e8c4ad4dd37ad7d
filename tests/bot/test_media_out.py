"""Files that we send, on a whole application against the simulators: as what they are, and once."""

import asyncio
import hashlib
import io
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from bot.runners import DeliveryRunner
from bot.servers.supervisor import free_port
from bot.wiring import services
from core.files import StoredFile
from core.messages import Address, ChannelName, InboundMessage, Media, Part, Text, Voice
from core.outbox import NewMessage, post
from core.settings import SANDBOX_PHONE_NUMBER_ID, SANDBOX_WHATSAPP_FROM, Settings
from tests.bot.test_cloud_delivery import Bot, running
from tests.conftest import Sandbox
from tests.waiting import until

SENDS = int(os.environ.get("MATHIA_SENDS", "66"))
CHANNELS = ("twilio", "whatsapp", "telegram")
NOT_EXECUTED = ("refuse", "429", "reset_before_read", "500_not_executed", "200_html")
EXECUTED = ("ok", "reset_after_execute", "500_executed", "200_truncated_json")
SLOW = ({"fault": "hang", "seconds": 3}, {"fault": "execute_then_hang", "seconds": 3})
PATHS = {"twilio": "/Messages.json$", "whatsapp": "/messages$", "telegram": "sendPhoto"}
UPLOADS = "/media$"
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"

_people = itertools.count(os.getpid() * 10_000 + 5_000)


def picture(side: int = 64) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(drawn, "png")
    return drawn.getvalue()


def stranger(provider: str) -> Address:
    """Somebody nobody has written to."""
    number = next(_people) % 10**8
    match provider:
        case "twilio":
            room = f"whatsapp:+2547{number:08}"
            return Address(ChannelName.WHATSAPP, SANDBOX_WHATSAPP_FROM, room, room)
        case "whatsapp":
            return Address(ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, f"2547{number:08}", f"2547{number:08}")
        case _:
            return Address(ChannelName.TELEGRAM, "1000001", f"5{number:08}", f"5{number:08}")


@pytest.fixture
def settings(database_url: str, valkey_url: str, sandbox: Sandbox, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=valkey_url,
        sandbox_url=sandbox.url,
        port=free_port(),
        files_dir=str(tmp_path / "files"),
        send_lease_s=2,
        unknown_certain_s=4,
    )


@pytest.fixture
async def bot(settings: Settings, sandbox: Sandbox) -> AsyncIterator[Bot]:
    """An application on a fresh database, which the simulators know."""
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as client:
        await client.post("/_reset")  # Other tests leave messages there, to people of the same numbers.
        await client.post("/_app", json={"url": settings.base_url})
        async with running(settings, client) as bot:
            yield bot
        await client.post("/_reset")


async def met(bot: Bot, provider: str) -> tuple[Address, UUID]:
    """Somebody who has written a moment ago, so that WhatsApp's window is open, and their conversation."""
    who = stranger(provider)
    hello = InboundMessage(who, f"media:{who.room}", (Text(text="hello"),), datetime.now(UTC), to_bot=False)
    [received] = await bot.wired.inbox.receive([hello])
    return who, received.conversation_id


async def owe(bot: Bot, conversation: UUID, *parts: Part) -> str:
    """Put a message into the outbox; its key."""
    key = f"media:{next(_people)}"
    async with bot.wired.db.hot() as connection:
        await post(connection, [NewMessage(conversation, parts, "note", key)])
    bot.wired.wakes.wake("outbox")
    return key


async def settled(bot: Bot, limit_s: float = 20.0) -> None:
    async def done() -> bool:
        return not await bot.wired.db.pool.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL")

    await until(done, limit_s, "the end of all sends")


async def took(bot: Bot, provider: str, kind: str = "send") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await bot.sandbox.get(f"/{provider}/_truth")).json()
    return [row for row in rows if row["kind"] == kind]


async def state(bot: Bot, key: str) -> tuple[str, str | None]:
    row = await bot.wired.db.pool.fetchrow("SELECT state, error FROM outbox WHERE dedup_key = $1", key)
    return row["state"], row["error"]


async def sent(bot: Bot, provider: str, data: bytes, make: Callable[[StoredFile], Part], **named: Any) -> Any:
    """Send one file as the part that `make` makes of it; what the provider took for that person."""
    who, conversation = await met(bot, provider)
    file = await bot.wired.files.put(conversation, data, **named)
    key = await owe(bot, conversation, make(file))
    await settled(bot)
    assert await state(bot, key) == ("sent", None)
    whom = "chat_id" if provider == "telegram" else "to"
    return [row for row in await took(bot, provider) if str(row[whom]) == who.room]


def shown(caption: str) -> Callable[[StoredFile], Part]:
    return lambda file: Media(
        media_type=file.media_type, ref=file.ref, filename=file.name, size=file.size, width=file.width,
        height=file.height, caption=caption,
    )  # fmt: skip


async def test_a_picture_goes_out_as_a_picture_with_its_caption(bot: Bot) -> None:
    data = picture()
    digest = hashlib.sha256(data).hexdigest()
    named = {"name": "kiosk.png", "media_type": "image/png", "width": 64, "height": 64}
    [at_twilio] = await sent(bot, "twilio", data, shown("Our kiosk"), **named)
    assert at_twilio["body"] == "Our kiosk"
    assert at_twilio.get("error_code") is None
    [file] = at_twilio["files"]
    assert (file["name"], file["type"], file["sha256"]) == ("kiosk.png", "image/png", digest)
    [at_meta] = await sent(bot, "whatsapp", data, shown("Our kiosk"), **named)
    assert at_meta["asked"]["type"] == "image"
    assert at_meta["asked"]["image"]["caption"] == "Our kiosk"
    [given] = [row for row in await took(bot, "whatsapp", "upload") if row["id"] == at_meta["asked"]["image"]["id"]]
    assert given["sha256"] == digest
    [in_telegram] = await sent(bot, "telegram", data, shown("Our kiosk <new>"), **named)
    assert in_telegram["message"]["photo"][-1]["width"] == 64
    assert in_telegram["message"]["caption"] == "Our kiosk <new>"
    assert in_telegram["file"]["sha256"] == digest


async def test_a_document_keeps_its_name(bot: Bot) -> None:
    named = {"name": "ankara ya 17.pdf", "media_type": "application/pdf"}
    file, words = await sent(bot, "twilio", PDF, shown("Ankara"), **named)
    assert file["files"][0]["name"] == "ankara ya 17.pdf"
    assert (file["body"], words["body"]) == ("", "Ankara")
    [at_meta] = await sent(bot, "whatsapp", PDF, shown("Ankara"), **named)
    document = at_meta["asked"]["document"]
    assert (document["filename"], document["caption"]) == ("ankara ya 17.pdf", "Ankara")
    [in_telegram] = await sent(bot, "telegram", PDF, shown("Ankara"), **named)
    assert in_telegram["message"]["document"]["file_name"] == "ankara ya 17.pdf"
    assert in_telegram["message"]["caption"] == "Ankara"


@pytest.mark.parametrize("provider", CHANNELS)
async def test_a_voice_note_and_a_film_are_what_they_are(bot: Bot, provider: str) -> None:
    note = b"OggS" + bytes(60)
    heard = await sent(
        bot, provider, note, lambda file: Voice(media_type="audio/ogg", ref=file.ref, size=file.size),
        name="voice.ogg", media_type="audio/ogg",
    )  # fmt: skip
    seen = await sent(bot, provider, b"\0\0\0\x18ftypmp42" + bytes(60), shown("Tour"), name="tour.mp4",
                      media_type="video/mp4")  # fmt: skip
    kinds: list[str] = []
    for row in (*heard, *seen):
        match provider:
            case "twilio":
                kinds.append(row["files"][0]["type"])
            case "whatsapp":
                kinds.append(row["asked"]["type"])
            case _:
                kinds.append(next(name for name in ("voice", "video", "document") if name in row["message"]))
    assert (
        kinds
        == {
            "twilio": ["audio/ogg", "video/mp4"],
            "whatsapp": ["audio", "video"],
            "telegram": ["voice", "video"],
        }[provider]
    )


async def test_what_a_channel_does_not_take_is_a_link_that_opens(bot: Bot) -> None:
    data = b"kitu,bei\nsukari,200\n"
    [row] = await sent(bot, "twilio", data, shown("Bei"), name="bei.csv", media_type="text/csv")
    words, _, address = row["body"].rpartition(": ")
    assert words == "Bei\nbei.csv (20 B)"
    async with httpx.AsyncClient(trust_env=False) as anybody:
        opened = await anybody.get(address)
    assert (opened.status_code, opened.content) == (200, data)
    [csv] = await sent(bot, "whatsapp", data, shown("Bei"), name="bei.csv", media_type="text/csv")
    assert csv["asked"]["document"]["filename"] == "bei.csv"


async def test_a_file_that_is_gone_is_refused_and_staff_read_why(bot: Bot) -> None:
    _, conversation = await met(bot, "telegram")
    file = await bot.wired.files.put(conversation, picture(), name="a.png", media_type="image/png")
    await bot.wired.files.delete([file.id])
    key = await owe(bot, conversation, shown("Here")(file))
    await settled(bot)
    assert await state(bot, key) == ("refused", "The file is gone.")


async def test_a_file_of_another_conversation_is_not_sent(bot: Bot) -> None:
    _, theirs = await met(bot, "telegram")
    _, ours = await met(bot, "whatsapp")
    file = await bot.wired.files.put(theirs, picture(), name="a.png", media_type="image/png")
    key = await owe(bot, ours, shown("Here")(file))
    await settled(bot)
    assert await state(bot, key) == ("refused", "The file is gone.")


@pytest.mark.parametrize("fault", [*NOT_EXECUTED, "500_executed", "reset_after_execute", "200_truncated_json"])
async def test_an_upload_that_fails_is_made_again_and_the_message_sent_once(bot: Bot, fault: str) -> None:
    plan = {"plan": [fault], "times": 1, "match": {"path": UPLOADS, "method": "POST"}}
    assert (await bot.sandbox.post("/whatsapp/_faults", json=plan)).status_code == 200
    rows = await sent(bot, "whatsapp", picture(), shown("Once"), name="a.png", media_type="image/png")
    assert [row["text"] for row in rows] == ["Once"]


async def test_no_file_is_sprayed_or_lost(settings: Settings, sandbox: Sandbox) -> None:
    """Every way a send can end, for a picture of ours: as tests/bot/test_delivery_matrix.py has it for words."""
    plan = [*NOT_EXECUTED, *EXECUTED, *SLOW]
    async with (
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as client,
        services(settings) as wired,
    ):
        bot = Bot(wired, client)
        owed: dict[str, str] = {}
        for provider in CHANNELS:
            count = SENDS // len(CHANNELS)
            given = {"plan": plan, "times": count, "seed": 11, "match": {"path": PATHS[provider], "method": "POST"}}
            assert (await client.post(f"/{provider}/_faults", json=given)).status_code == 200
            for number in range(count):
                _, conversation = await met(bot, provider)
                file = await wired.files.put(conversation, picture(), name="a.png", media_type="image/png")
                caption = f"{provider} {number} {conversation}"
                owed[caption] = provider
                async with wired.db.hot() as connection:
                    part = shown(caption)(file)
                    await post(connection, [NewMessage(conversation, (part,), "note", caption)])
        runner = DeliveryRunner(wired.db, wired.outbox, wired.channels, wired.wakes, wired.settings)
        deliveries = asyncio.create_task(runner.run())
        try:
            await settled(bot, 60 + SENDS)
        finally:
            deliveries.cancel()
            with suppress(asyncio.CancelledError):
                await deliveries
        copies: Counter[str] = Counter()
        for provider in CHANNELS:
            name = "body" if provider == "twilio" else "text"
            copies.update(row[name] for row in await took(bot, provider) if row.get(name) in owed)
        rows = await wired.db.pool.fetch("SELECT dedup_key, state, error, attempt FROM outbox")
        await client.post("/_reset")
    ends = {row["dedup_key"]: row for row in rows}
    assert set(ends) == set(owed)
    for caption, provider in owed.items():
        end, count = ends[caption], copies[caption]
        where = f"{caption}: {end['state']} after {end['attempt']} tries, {count} at {provider}: {end['error']}"
        if end["state"] == "sent":
            assert count == 1, where
        else:
            # Who cannot be asked is never sent a second copy, and what is not known is said.
            assert end["state"] == "unknown", where
            assert provider in ("whatsapp", "telegram"), where
            assert count <= 1, where
            assert end["error"], where
    assert {owed[row["dedup_key"]] for row in rows if row["state"] == "sent"} == set(CHANNELS)
