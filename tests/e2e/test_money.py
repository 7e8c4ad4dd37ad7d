"""Money from end to end in a browser: topped up and sent on the simulated phone, asked for by an invoice, and paid.

It is paid on the pay page, a part by M-Pesa and the rest by card, and seen in the chat, on the PDF and in the admin. A
large payment is let through on the account page.
"""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import httpx
import pypdf
import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from bot import runners
from bot.app import make_app
from bot.stand import free_port
from bot.wiring import services
from core.db import Database
from core.settings import Settings
from jobs.worker import run_worker
from tests.browser import CHROMIUM, started, violations
from tests.conftest import Sandbox
from web_admin.auth import new_sign_in_link

LIMIT_MS = 15_000
SPEED = 5
"""Of M-Pesa: its steps take a tenth of a second, and it waits twelve seconds for a PIN."""

Scheme = Literal["light", "dark"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@dataclass
class Deployment:
    """A web process and a worker, in this one."""

    url: str
    db: Database


@pytest.fixture
async def deployment(database_url: str, valkey_url: str, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Deployment]:
    settings = Settings(
        _env_file=None, database_url=database_url, redis_url=valkey_url, port=free_port(), sandbox_url=sandbox.url,
        files_dir=str(tmp_path),
    )  # fmt: skip
    async with services(settings) as wired, httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as wire:
        for path, told in (("/_app", {"url": settings.base_url}), ("/intasend/_mpesa", {"speed": SPEED})):
            assert (await wire.post(path, json=told)).status_code == 200
        runner = web.AppRunner(make_app(wired), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        # Without a queue the worker's sweeps do the work themselves.
        alone = wired.settings.model_copy(update={"redis_url": ""})
        tasks = [
            asyncio.create_task(runners.run(wired)),
            asyncio.create_task(run_worker(alone, wired.db, wired.wakes, wired.channels)),
        ]
        try:
            yield Deployment(settings.base_url, wired.db)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await runner.cleanup()


@dataclass
class Phone:
    """The simulated phone in a browser."""

    page: Page

    async def say(self, words: str, answer: str) -> str:
        """Type something; the text of the answer that has `answer` in it, a regular expression."""
        await self.page.locator("#text").fill(words)
        await self.page.get_by_role("button", name="Send", exact=True).click()
        return await self.hear(answer)

    async def hear(self, answer: str) -> str:
        """The newest message that this is in."""
        found = self.page.locator("#chat").get_by_text(re.compile(answer)).last
        await expect(found).to_be_visible()
        return await found.inner_text()

    async def confirm(self, prompt: str, answer: str) -> str:
        """Type the code that a prompt shows."""
        code = re.search(r"\b[0-9]{5}\b", prompt[prompt.index("To go on") :])
        assert code is not None
        return await self.say(code[0], answer)

    async def pin(self, asked: str) -> None:
        """Type a PIN where M-Pesa asks for it."""
        box = self.page.locator("#mpesa")
        await expect(box).to_contain_text(asked)
        await box.locator("input").fill("1234")
        await box.get_by_role("button", name="Pay").click()


class Tab(Protocol):
    """Opens a tab of a browser of its own, of a size and a colour scheme."""

    async def __call__(self, width: int, height: int, scheme: Scheme = "light") -> Page: ...


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    """Tabs, whose consoles have to be silent until the end."""
    async with started() as browser:
        said: list[str] = []

        async def opened(width: int, height: int, scheme: Scheme = "light") -> Page:
            context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            context.set_default_timeout(LIMIT_MS)
            context.on("console", lambda message: said.append(message.text))
            return await context.new_page()

        expect.set_options(timeout=LIMIT_MS)
        yield opened
        # A browser writes down that a form was answered with what is wrong in it.
        assert [line for line in said if "status of 422" not in line] == []


async def pdf_words(page: Page, url: str) -> str:
    """What a PDF says."""
    answer = await page.request.get(url)
    assert answer.headers["content-type"] == "application/pdf"
    return pypdf.PdfReader(io.BytesIO(await answer.body())).pages[0].extract_text()


TOO_SMALL = """
[...document.querySelectorAll("a, button, input:not([hidden], [type=hidden]), select")]
  .map((one) => [one.textContent.trim() || one.name, one.getBoundingClientRect()])
  .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
  .map(([name, box]) => `${name} ${box.width} x ${box.height}`)
"""


async def check(page: Page) -> None:
    """Nothing is wider than the window, and axe finds nothing."""
    assert await page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, page.url
    assert await violations(page) == [], page.url


async def test_money_comes_is_sent_is_asked_for_by_an_invoice_and_is_paid(deployment: Deployment, tab: Tab) -> None:
    phone = Phone(await tab(1280, 900))
    await phone.page.goto(f"{deployment.url}/sandbox")

    # Top up by M-Pesa, and send some of it.
    await phone.say("top up 20000 bob", r"I have sent the request for KES 20,000\.00")
    await phone.pin("KES 20,000.00")
    await phone.hear(r"Received KES 20,000\.00")
    prompt = await phone.say("send 500 to 0711 000 222", r"KES 500\.00 \(five hundred shillings\)")
    await phone.confirm(prompt, r"KES 500\.00 to \+254711000222 are on their way")
    await phone.hear(r"Sent KES 500\.00 to \+254711000222")

    # Invoice a client.
    logo = "invoice Achieng KES 5,000 for the logo, +254712000009"
    prompt = await phone.say(logo, r"KES 5,000\.00 \(five thousand shillings\)")
    made = await phone.confirm(prompt, r"INV-\d{4}-00001[\s\S]*/pay/")
    url, number = re.search(r"http\S+/pay/[\w-]{32}", made), re.search(r"INV-\d{4}-00001", made)
    assert url is not None
    assert number is not None

    # A part is noted as paid in cash, which the pay page says, and taken back; and it is sent once more.
    prompt = await phone.say(f"mark {number[0]} as paid 1000 in cash", r"KES 1,000\.00 will be marked as paid in cash")
    await phone.confirm(prompt, r"are marked as paid in cash[\s\S]*KES 4,000\.00 are left to pay")
    cash = await tab(360, 740)
    await cash.goto(url[0])
    await expect(cash.get_by_text("Paid in cash")).to_be_visible()
    await check(cash)
    prompt = await phone.say("undo", r"KES 1,000\.00[\s\S]*will be open again")
    await phone.confirm(prompt, r"Taken back\. KES 5,000\.00 are left to pay")
    await cash.reload()
    await expect(cash.get_by_text("Paid in cash")).to_have_count(0)
    prompt = await phone.say(f"resend {number[0]}", r"will be sent to Achieng again: \+254712000009 \(WhatsApp\)")
    await phone.confirm(prompt, r"is on its way to Achieng again")

    # The client pays a part by M-Pesa, on a phone as wide as a hand, in Swahili and in the dark.
    client = await tab(360, 740, "dark")
    await client.goto(f"{url[0]}?lang=sw")
    await check(client)
    await client.get_by_label("Namba ya M-Pesa").fill("0712 345 678")
    await client.locator("#mpesa-amount").fill("2000")
    await client.get_by_role("button", name="Omba simu hii").click()
    await expect(client.get_by_role("status")).to_contain_text("simu inayoishia 678 ilipe KES 2,000.00")
    await check(client)
    await phone.pin("KES 2,000.00")
    # By itself, without a touch.
    await expect(client.get_by_role("status")).to_contain_text("Asante: KES 2,000.00 zimefika.")
    await check(client)
    await phone.hear(r"Achieng paid KES 2,000\.00 on invoice INV-\d{4}-00001\. KES 3,000\.00 are still to be paid")

    # And the rest by card, at the provider's.
    async with phone.page.context.expect_page() as opened:
        await phone.page.locator(f"#chat a[href='{url[0]}']").click()
    office = await opened.value
    await office.get_by_role("button", name="Pay by card").click()
    await office.get_by_role("link", name="Go to the card page").click()
    await office.get_by_label("Card number").fill("4242 4242 4242 4242")
    await office.get_by_role("button", name="Pay by card").click()
    await office.get_by_role("link", name="Back to the shop").click()
    await expect(office.get_by_role("status")).to_contain_text("Thank you: KES 3,000.00 have come.")
    await expect(office.get_by_text("It is paid in full.")).to_be_visible()
    await expect(office.locator("form")).to_have_count(0)
    await check(office)

    # Paid: in the chat, on the PDF, in the admin, and to the cent.
    await phone.hear(r"Achieng paid KES 3,000\.00 on invoice INV-\d{4}-00001\. It is paid in full")
    await phone.say("what is my balance?", r"You have KES 24,500\.00")
    words = await pdf_words(office, f"{url[0]}/invoice.pdf")
    assert "PAID" in words
    assert "Amount due KES 0.00" in words
    staff = await tab(1280, 900)
    await staff.goto(deployment.url + await new_sign_in_link(deployment.db))
    await staff.get_by_role("button", name="Sign in").click()
    await staff.goto(f"{deployment.url}/admin/invoices")
    row = staff.get_by_role("row").filter(has_text="00001")
    await expect(row).to_contain_text("Paid")
    await expect(row).to_contain_text("KES 5,000.00")
    await check(staff)
    assert "PAID" in await pdf_words(staff, f"{deployment.url}/admin/invoices/{number[0]}.pdf")
    await row.get_by_role("link").first.click()
    await expect(staff.get_by_text("KES 2,000.00").first).to_be_visible()
    await expect(staff.get_by_role("heading", name="Sent again")).to_be_visible()
    await expect(staff.get_by_text("by the issuer")).to_be_visible()
    await check(staff)


@pytest.mark.parametrize(
    ("width", "height", "scheme", "language", "amounts"),
    # The simulated phone keeps what was said before, so no two are the same.
    [
        (1280, 900, "light", "en", ("18,001", "18,002", "25,001")),
        (360, 740, "dark", "sw", ("18,003", "18,004", "25,002")),
    ],
    ids=["wide-light", "narrow-dark-swahili"],
)
async def test_a_large_payment_is_let_through_with_a_pin_on_the_account_page(
    deployment: Deployment, tab: Tab, tmp_path: Path, width: int, height: int, scheme: Scheme, language: str,
    amounts: tuple[str, str, str],
) -> None:  # fmt: skip
    phone = Phone(await tab(1280, 900))
    await phone.page.goto(f"{deployment.url}/sandbox")
    for topped_up in amounts[:2]:
        await phone.say(f"top up {topped_up}", rf"I have sent the request for KES {topped_up}\.00")
        await phone.pin(f"KES {topped_up}.00")
        await phone.hear(rf"Received KES {topped_up}\.00")
    if language == "sw":
        await phone.say("ongea Kiswahili", r"Kiswahili")
    prompt = await phone.say(f"send {amounts[2]} to 0711 000 222", rf"{amounts[2]}\.00[\s\S]*/account/[\w-]{{43}}")
    link = re.search(r"/account/[\w-]{43}", prompt)
    assert link is not None

    page = await tab(width, height, scheme)

    async def looks(name: str) -> None:
        await check(page)
        small = await page.evaluate(TOO_SMALL)
        assert small == [], name
        await page.screenshot(path=tmp_path / f"account-{name}-{width}.png", full_page=True)

    async def choose(pin: str) -> None:
        await page.locator("#new-pin").fill(pin)
        await page.locator("#again-pin").fill(pin)
        await page.locator("form[action='/account/pin'] button").click()

    await page.goto(deployment.url + link[0])
    await looks("link")
    await page.get_by_role("button").click()
    await expect(page.locator(".shown")).to_contain_text(f"KES {amounts[2]}.00")
    await looks("without-pin")
    await choose("123456")
    await expect(page.get_by_role("alert")).to_be_visible()
    await looks("trivial")
    await choose("294716")
    await expect(page.get_by_role("status")).to_be_visible()
    await looks("with-pin")
    await page.locator("form[action='/account/forgot'] button").click()
    await expect(page.locator("form[action='/account/keep']")).to_be_visible()
    await looks("forgotten")
    await page.locator("form[action='/account/keep'] button").click()
    await page.locator("#confirm-pin").fill("294716")
    await page.locator("form[action='/account/confirm'] button").click()
    await expect(page.get_by_role("status")).to_contain_text(f"KES {amounts[2]}.00")
    await looks("paid")
    await page.locator("form[action='/account/leave'] button").click()
    await expect(
        page.get_by_text({"en": "You can go back to the chat.", "sw": "kurudi kwenye gumzo"}[language])
    ).to_be_visible()
    await looks("closed")
