"""Voice notes of the web: an upload that was spoken is one, is written down, and its words reach every open browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.sandbox.voices import voice_note
from core import voice
from core.db import Database
from core.files import FileGone, Files
from core.media import from_files
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from core.visitors import create_visitor
from core.wake import Wakes
from jobs.voice import Hands, write_down
from tests.channels.browser import Running, Site
from tests.conftest import Sandbox


@pytest.fixture
def settings(sandbox: Sandbox, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        files_dir=str(tmp_path),
        transcription_api_key=SecretStr("sk-test"),
        transcription_base_url=f"{sandbox.url}/transcription",
    )


@pytest.fixture
async def site(settings: Settings, db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(settings, db, valkey_url) as running:
        yield running


async def upload(site: Site, token: str, data: bytes, name: str, kind: str) -> str:
    headers = {"authorization": f"Bearer {token}", "x-file-name": name, "content-type": kind}
    async with site.session.post(f"{site.url}/upload-file/", data=data, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        identifier: str = (await answer.json())["id"]
        return identifier


async def listen(db: Database, settings: Settings) -> None:
    """Write every note down."""
    providers = Providers(settings)
    try:
        hands = Hands(db, Wakes(db), providers, settings, from_files(Files(db, Storage(settings))))
        for row in await db.pool.fetch(voice.CLAIMABLE, 10):
            await write_down(hands, row["id"])
    finally:
        await providers.close()


async def test_note_is_shown_at_once_and_its_words_when_they_are_there(
    site: Site, db: Database, settings: Settings
) -> None:
    token = (await create_visitor(db, "default"))[1]
    note = await upload(site, token, voice_note("habari yako"), "voice.ogg", "audio/ogg")
    async with site.browser() as browser:
        await browser.hello(token)
        frame = await browser.send("", files=[note], voice=True)
        [part] = frame["parts"]
        assert (part["kind"], part["transcript"]) == ("voice", None)
        await listen(db, settings)
        change: dict[str, Any] = await browser.hear("edit")
        assert (change["seq"], change["edited"], change["change"]) == (frame["seq"], False, 1)
        assert change["parts"][0]["transcript"] == "habari yako"
        assert change["parts"][0]["url"].startswith("/files/")


async def test_sound_that_was_chosen_as_a_file_is_no_voice_note(site: Site, db: Database, settings: Settings) -> None:
    token = (await create_visitor(db, "default"))[1]
    song = await upload(site, token, voice_note("la la la"), "song.ogg", "audio/ogg")
    text = await upload(site, token, b"hello", "a.txt", "text/plain")
    async with site.browser() as browser:
        await browser.hello(token)
        assert (await browser.send("", files=[song]))["parts"][0]["kind"] == "media"
        assert (await browser.send("", files=[text], voice=True))["parts"][0]["kind"] == "media"
    assert await db.pool.fetchval("SELECT count(*) FROM transcription") == 0


async def test_file_of_another_room_is_never_listened_to(site: Site, db: Database, settings: Settings) -> None:
    token, other = [(await create_visitor(db, "default"))[1] for _ in range(2)]
    note = await upload(site, token, voice_note("my secret"), "voice.ogg", "audio/ogg")
    theirs = await db.pool.fetchval("SELECT conversation_id FROM file")
    async with site.browser() as browser:
        await browser.hello(other)
        await browser.send("hello")
    mine = await db.pool.fetchval("SELECT id FROM conversation WHERE id <> $1", theirs)
    fetch = from_files(Files(db, Storage(settings)))
    assert await fetch(theirs, f"file:{note}") == voice_note("my secret")
    with pytest.raises(FileGone):
        await fetch(mine, f"file:{note}")
