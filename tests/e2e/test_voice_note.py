"""A voice note recorded in the page: with Chromium's microphone that beeps, sent, played, written down, answered."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from pydantic import SecretStr

from bot.sandbox.transcription import DEFAULT_WORDS
from bot.servers import Servers
from bot.servers.postgres import APP, DATABASE, OWNER
from bot.stand import Process, free_port
from core import voice
from core.db import Database
from core.files import Files
from core.media import from_files
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes
from jobs.voice import Hands, write_down
from tests.browser import CHROMIUM, started, violations
from tests.conftest import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
LIMIT_MS = 20_000


@dataclass
class Service:
    """A web process, its store, and the settings a worker beside it would have."""

    url: str
    db: Database
    settings: Settings

    async def listen(self) -> int:
        """Write every note down, as a worker does; how many there were."""
        providers = Providers(self.settings)
        hands = Hands(
            self.db, Wakes(self.db), providers, self.settings, from_files(Files(self.db, Storage(self.settings)))
        )
        try:
            notes = await self.db.pool.fetch(voice.CLAIMABLE, 10)
            for note in notes:
                await write_down(hands, note["id"])
            return len(notes)
        finally:
            await providers.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    servers: Servers, sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    assert servers.postgres
    assert servers.valkey
    admin = await servers.postgres.connect()
    await admin.execute(f"CREATE DATABASE voices TEMPLATE {DATABASE} OWNER {OWNER}")
    folder: Path = tmp_path_factory.mktemp("voices")
    settings = Settings(
        _env_file=None, files_dir=str(folder / "files"), sandbox_url=sandbox_process.url,
        transcription_api_key=SecretStr("sk-test"), transcription_base_url=f"{sandbox_process.url}/transcription",
    )  # fmt: skip
    db = await Database.connect(servers.postgres.url(APP, "voices"), settings.key_list)
    port = free_port()
    environment = {
        "DATABASE_URL": db.url, "REDIS_URL": servers.valkey.url, "PORT": str(port), "FILES_DIR": settings.files_dir,
        "SANDBOX_URL": sandbox_process.url, "LOG_LEVEL": "warning",
    }  # fmt: skip
    log = folder / "web.log"
    url = f"http://127.0.0.1:{port}"
    process = Process(["web"], environment, log, f"{url}/healthz")
    await process.start()
    try:
        yield Service(url, db, settings)
    finally:
        assert await process.stop() == 0, log.read_text()
        await db.close()
        await admin.execute("DROP DATABASE voices WITH (FORCE)")
        await admin.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("No Chromium is installed; browser tests need one (apt install chromium).")
    async with started(*FAKE) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module", params=[1280, 360])
async def page(request: pytest.FixtureRequest, chromium: Browser) -> AsyncIterator[Page]:
    """A visitor's page; a complaint of the browser, such as a breach of the CSP, fails the test."""
    context = await chromium.new_context(
        viewport={"width": request.param, "height": 760}, reduced_motion="reduce", permissions=["microphone"]
    )
    page = await context.new_page()
    page.set_default_timeout(LIMIT_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    yield page
    await context.close()
    assert [text for text in complaints if "WebSocket connection" not in text] == []


async def test_note_is_recorded_sent_played_written_down_and_answered(page: Page, service: Service) -> None:
    await page.goto(f"{service.url}/chat")
    await expect(page.get_by_role("status").first).to_have_text("Online")
    mic, send = page.get_by_role("button", name="Record a voice note"), page.get_by_role("button", name="Send")
    await mic.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("mathia-chat .rec span")).to_have_text("0:01")
    await expect(send).to_be_focused()
    assert await violations(page) == []
    await page.keyboard.press("Enter")
    player = page.locator("mathia-chat .group.me audio")
    await expect(player).to_be_visible()
    await expect(page.get_by_label("Write a message")).to_be_focused()
    assert await service.listen() == 1
    await expect(page.locator("mathia-chat .group.me .bubble")).to_contain_text(DEFAULT_WORDS)
    await expect(page.locator("mathia-chat .group.bot .bubble")).to_contain_text("Nairobi")
    await expect(page.locator("mathia-chat .was")).to_have_count(0)  # Nobody edited it.
    await player.evaluate("(audio) => audio.play()")
    assert await player.evaluate("(audio) => audio.error") is None
    await page.reload()
    await expect(page.locator("mathia-chat .group.me .bubble")).to_contain_text(DEFAULT_WORDS)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_note_that_is_thrown_away_is_sent_nowhere(page: Page, service: Service) -> None:
    before = await service.db.pool.fetchval("SELECT count(*) FROM file")
    await page.goto(f"{service.url}/chat")
    await expect(page.get_by_role("status").first).to_have_text("Online")
    for by_key in (True, False):
        await page.get_by_role("button", name="Record a voice note").click()
        await expect(page.locator("mathia-chat .rec span")).to_have_text("0:01")
        if by_key:
            await page.keyboard.press("Escape")
        else:
            await page.get_by_role("button", name="Discard the voice note").click()
        await expect(page.get_by_label("Write a message")).to_be_focused()
    assert await page.evaluate("document.querySelector('mathia-chat').take") is None
    assert await service.db.pool.fetchval("SELECT count(*) FROM file") == before


async def test_blocked_microphone_is_said_so(chromium: Browser, service: Service) -> None:
    context = await chromium.new_context()
    page = await context.new_page()
    # The fake device cannot refuse, so the browser's own answer where nobody may listen is given here.
    await page.add_init_script("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no'))")
    await page.goto(f"{service.url}/chat")
    await page.get_by_role("button", name="Record a voice note").click()
    await expect(page.get_by_text("The microphone is blocked.")).to_be_visible()
    await page.keyboard.press("Escape")
    await context.close()


async def test_page_may_use_the_microphone_and_nothing_else(page: Page, service: Service) -> None:
    answer = await page.goto(f"{service.url}/chat")
    assert answer is not None
    assert answer.headers["permissions-policy"] == "camera=(), geolocation=(), microphone=(self)"
