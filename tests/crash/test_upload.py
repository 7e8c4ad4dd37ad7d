"""The service dies, or sleeps past its lease, between giving Meta a file and sending it: never twice, never unseen."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from bot.stand import KEYS, Stand, stand
from core.db import Database
from core.files import Files
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Media, Text
from core.outbox import NewMessage, post
from core.settings import SANDBOX_PHONE_NUMBER_ID, Settings
from core.storage import Storage
from core.wake import Wakes
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENVIRONMENT = {"SEND_LEASE_S": "1.5", "UNKNOWN_CERTAIN_S": "2"}
PDF = b"%PDF-1.7\n%%EOF\n"
LIMIT_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(scratch: Path) -> AsyncIterator[Stand]:
    folder = scratch / "upload"
    folder.mkdir()
    folder.chmod(0o711)
    environment = ENVIRONMENT | {"FILES_DIR": str(folder / "files")}
    async with stand(folder, durable=False, environment=environment) as made:
        yield made


async def owed(deployment: Stand, room: str) -> Database:
    """Owe somebody who has just written a file, and a word after it; the database, still open."""
    db = await Database.connect(deployment.env["DATABASE_URL"], KEYS)
    who = Address(ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, room, room)
    hello = InboundMessage(who, f"upload:{room}", (Text(text="hello"),), datetime.now(UTC), to_bot=False)
    [received] = await Inbox(db, Wakes(db)).receive([hello])
    files = Files(db, Storage(Settings.model_validate({"files_dir": deployment.env["FILES_DIR"]})))
    conversation = received.conversation_id
    file = await files.put(conversation, PDF, name="ankara.pdf", media_type="application/pdf")
    paper = Media(media_type=file.media_type, ref=file.ref, filename=file.name, size=file.size, caption=f"file {room}")
    async with db.hot() as connection:
        said = [
            NewMessage(conversation, (paper,), "note", f"file:{room}"),
            NewMessage(conversation, (Text(text=f"after {room}"),), "note", f"after:{room}"),
        ]
        await post(connection, said)
    return db


@pytest.mark.parametrize("how", ["", ":stall"])
async def test_a_file_that_was_uploaded_is_never_sent_twice(deployment: Stand, how: str) -> None:
    room = "254711000001" if how else "254711000002"
    db = await owed(deployment, room)
    web = deployment.web
    other = deployment.process("turns")
    try:
        web.spawn(MATHIA_CRASH=f"upload.taken:1{how}")
        if how:
            other.spawn()
        else:

            async def ended() -> bool:
                return web.ended is not None

            await until(ended, LIMIT_S, "the crash")
            await web.start()

        async def settled() -> bool:
            return not await db.pool.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL")

        await until(settled, LIMIT_S, "the end of both messages")
        rows = {row["dedup_key"]: row for row in await db.pool.fetch("SELECT dedup_key, state, error FROM outbox")}
        async with httpx.AsyncClient(base_url=deployment.sandbox_url, trust_env=False) as client:
            took = (await client.get("/whatsapp/_truth")).json()
    finally:
        web.kill()
        other.kill()
        await db.close()
    copies = Counter(row["text"] for row in took if row["kind"] == "send" and row["to"] == room)
    assert [row["kind"] for row in took].count("upload") >= 1
    file = rows[f"file:{room}"]
    # Meta cannot be asked what it took, so staff are told that nobody knows.
    assert file["state"] in ("unknown", "sent")
    assert file["state"] == "sent" or file["error"]
    assert copies[f"file {room}"] <= 1
    assert rows[f"after:{room}"]["state"] == "sent"
    assert copies[f"after {room}"] == 1
