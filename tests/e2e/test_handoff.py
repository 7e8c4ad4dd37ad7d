"""A member of staff takes a widget's conversation over in the admin, answers, and hands it back: two real browsers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, expect

from bot.servers import Servers
from bot.stand import Process, free_port
from core.db import Database
from tests.browser import CHROMIUM, violations
from tests.conftest import Sandbox
from tests.e2e.test_admin import TOO_SMALL, chromium
from web_admin.auth import new_sign_in_link

__all__ = ["chromium"]

LIMIT_MS = 15_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@dataclass
class Deployment:
    """A whole web process with its runners, and its database."""

    url: str
    db: Database


@pytest.fixture
async def deployment(
    db: Database, servers: Servers, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """Started for one test."""
    assert servers.valkey
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "DATABASE_URL": db.url,
        "REDIS_URL": servers.valkey.url,
        "PORT": str(port),
        "SANDBOX_URL": sandbox.url,
        "LOG_LEVEL": "warning",
    }
    log = tmp_path_factory.mktemp("handoff") / "web.log"
    process = Process(["web"], environment, log, f"{url}/healthz")
    await process.start()
    try:
        yield Deployment(url, db)
    finally:
        assert await process.stop() == 0, log.read_text()


async def check(page: Page, width: int) -> None:
    """Nothing is wider than the window, axe finds nothing, and a thumb hits everything on a phone."""
    wider = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wider <= 0, f"{page.url} is {wider} px too wide"
    assert await violations(page) == [], page.url
    if width == 360:
        assert await page.evaluate(TOO_SMALL) == []


async def write(person: Page, text: str) -> None:
    box = person.get_by_role("textbox")
    await box.fill(text)
    await box.press("Enter")


@pytest.mark.parametrize("width", [1280, 360])
async def test_take_over_reply_and_hand_back(chromium: Browser, deployment: Deployment, width: int) -> None:
    size = {"width": width, "height": 800}
    person = await (await chromium.new_context(viewport=size)).new_page()  # type: ignore[arg-type]
    staff = await (await chromium.new_context(viewport=size)).new_page()  # type: ignore[arg-type]
    for page in (person, staff):
        page.set_default_timeout(LIMIT_MS)
    expect.set_options(timeout=LIMIT_MS)
    said: list[str] = []
    staff.on("console", lambda message: said.append(message.text))
    staff.on("pageerror", lambda error: said.append(str(error)))

    await person.goto(f"{deployment.url}/chat")
    await write(person, "I want to talk to a human")
    await expect(person.get_by_text("I have asked a person to join you here.")).to_be_visible()
    await write(person, "do you deliver to Machakos?")

    await staff.goto(deployment.url + await new_sign_in_link(deployment.db, "Amina"))
    await staff.get_by_role("button", name="Sign in").click()
    await expect(staff.get_by_text("1 person waits for a human.")).to_be_visible()
    await staff.get_by_role("link", name="See who").click()
    await staff.locator("table.rows a.open").click()
    await expect(staff.get_by_text("do you deliver to Machakos?")).to_be_visible()
    await check(staff, width)
    await staff.get_by_role("button", name="Take over").click()
    await expect(staff.get_by_text("You have this conversation")).to_be_visible()

    await staff.get_by_label("Message or note").fill("Asks for a discount each time.")
    await staff.get_by_role("button", name="Keep as note").click()
    await expect(staff.get_by_text("Note, not sent")).to_be_visible()
    await staff.get_by_label("Message or note").fill("We do, on Fridays.")
    await staff.get_by_role("button", name="Send").click()
    await expect(person.get_by_text("We do, on Fridays.")).to_be_visible()
    await expect(person.get_by_text("Amina")).to_be_visible()
    await expect(person.get_by_text("discount")).to_have_count(0)
    await write(person, "what's the weather in Nairobi?")
    await expect(staff.get_by_text("what's the weather in Nairobi?")).to_be_visible()
    await check(staff, width)
    await check(person, 0)

    await staff.get_by_role("button", name="Hand back").click()
    await expect(person.get_by_text("You are talking to Mathia again.")).to_have_count(1)
    await expect(person.get_by_text("Nairobi, Kenya").or_(person.get_by_text("· sandbox")).first).to_be_visible()
    await expect(staff.get_by_text("Mathia answers")).to_be_visible()
    assert said == []
    answers = await deployment.db.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'reply' AND channel = 'web'")
    assert answers == 2, "what staff dealt with is not answered again"

    await staff.goto(f"{deployment.url}/admin/replies")
    await staff.get_by_label("Shortcut").fill("delivery")
    await staff.get_by_label("Text").fill("We deliver on Fridays. " * 8)
    await staff.get_by_role("button", name="Save").click()
    await expect(staff.get_by_role("heading", name="delivery")).to_be_visible()
    await check(staff, width)
    await staff.goto(f"{deployment.url}/admin/conversations?q=nobody&show=waiting")
    await check(staff, width)
    await staff.goto(f"{deployment.url}/admin/conversations")
    await staff.locator("table.rows a.open").click()
    await staff.get_by_label("Insert a canned reply").select_option(label="delivery")
    await expect(staff.get_by_label("Message or note")).to_have_value(
        "We deliver on Fridays. " * 7 + "We deliver on Fridays."
    )
    await check(staff, width)
