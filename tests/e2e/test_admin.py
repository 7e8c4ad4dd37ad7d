"""The admin in a real browser: live, reachable by keyboard, narrow enough, and axe finds nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from core.db import Database
from core.settings import Settings
from ledger import adjustments, dispute_store, holds
from ledger.accounts import wallet
from ledger.adjustments import Proposal
from ledger.dispute_store import Opening
from ledger.money import Money
from tests.browser import CHROMIUM, started, violations
from tests.conftest import Sandbox
from tests.jobs.till import till
from tests.web_admin.rows import Caller, answer, delivered, move, say, workflow
from tests.web_admin.site import Site, running
from web_admin.auth import new_sign_in_link
from web_admin.sections import SECTIONS

WIDE, NARROW = (1280, 800), (360, 740)
LIMIT_MS = 10_000
LONG_NAME = "José-María Fernández de la Vega y Oluwaseun Adébáyọ̀ Ọláńrewájú " * 2

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
Scheme = Literal["light", "dark"]


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with started() as browser:
        yield browser


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    """The admin, with something to show."""
    async with running(db, valkey_url) as found:
        yield found


@dataclass
class Tab:
    """A page in a browser of a size and a colour scheme; what its console said is kept."""

    page: Page
    url: str
    said: list[str]

    async def open(self, path: str) -> None:
        """Load a page and wait until it is live."""
        await self.page.goto(f"{self.url}{path}")
        await expect(self.page.locator("#live")).to_have_attribute("data-state", "live", timeout=LIMIT_MS)

    async def check(self) -> None:
        """Nothing is wider than the window, axe finds nothing, and the console is silent."""
        wider = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"{self.page.url} is {wider} px too wide"
        assert await violations(self.page) == [], self.page.url
        assert self.said == []


@asynccontextmanager
async def signed_in(
    browser: Browser, site: Site, size: tuple[int, int] = WIDE, scheme: Scheme = "light"
) -> AsyncIterator[Tab]:
    """A tab in which the owner has followed a link and pressed the button."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = await context.new_page()
    page.set_default_timeout(LIMIT_MS)
    tab = Tab(page, site.url, [])
    page.on("console", lambda message: tab.said.append(message.text))
    page.on("pageerror", lambda error: tab.said.append(str(error)))
    await page.goto(site.url + await new_sign_in_link(site.db))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    yield tab
    await context.close()


async def test_pages_follow_what_happens(chromium: Browser, site: Site) -> None:
    amina = Caller("Amina")
    conversation, _ = await say(site.db, amina, "Habari!")
    async with signed_in(chromium, site) as tab:
        page = tab.page
        await tab.open("/admin/")
        await expect(page.locator("#messages-today")).to_have_text("1")
        await page.get_by_text("The same as a table").click()
        await answer(site.db, conversation, "Nzuri.")
        await expect(page.locator("#messages-today")).to_have_text("2")
        await expect(page.locator("details#hours")).to_have_attribute("open", "")

        await tab.open("/admin/conversations")
        other, _ = await say(site.db, Caller("Baraka"), "hello")
        await expect(page.locator("table.rows a.open").first).to_have_text("Baraka")
        await move(site.db, other, [timedelta(minutes=1)])

        await page.get_by_role("link", name="Amina").click()
        await expect(page.get_by_text("Your view of this conversation is recorded.")).to_be_visible()
        await expect(page.locator("#live")).to_have_attribute("data-state", "live")
        _, seq = await say(site.db, amina, "Uko?")
        await expect(page.locator(f"#m-{seq}")).to_have_text("Uko? Waiting for an answer")
        seq = await answer(site.db, conversation, "Niko.")
        await delivered(site.db, conversation, seq, "refused", error="Outside the 24-hour window.")
        await expect(page.locator(f"#m-{seq}")).to_contain_text("Outside the 24-hour window.")
        await expect(page.locator("table.rows a.open").first).to_have_text("Amina")
        assert tab.said == []


async def test_the_newest_message_stays_in_view_unless_one_reads_further_up(chromium: Browser, site: Site) -> None:
    amina = Caller("Amina")
    for number in range(40):
        conversation, _ = await say(site.db, amina, f"line {number}")
    async with signed_in(chromium, site) as tab:
        await tab.open(f"/admin/conversations/{conversation}")
        await expect(tab.page.get_by_text("line 39")).to_be_in_viewport()
        await say(site.db, amina, "the newest")
        await expect(tab.page.get_by_text("the newest")).to_be_in_viewport()


async def test_signing_out_in_one_tab_closes_the_others(chromium: Browser, site: Site) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "SECRET")
    async with signed_in(chromium, site) as tab:
        await tab.open(f"/admin/conversations/{conversation}")
        other = await tab.page.context.new_page()
        await other.goto(f"{site.url}/admin/")
        await other.get_by_role("button", name="Sign out").click()
        await expect(other.get_by_role("heading")).to_have_text("You are signed out")
        await expect(tab.page.get_by_role("heading")).to_have_text("You are not signed in")
        await expect(tab.page.get_by_text("SECRET")).to_have_count(0)


async def test_the_keyboard_is_enough(chromium: Browser, site: Site) -> None:
    for name in ("Zawadi", "Baraka", "Amina"):
        await say(site.db, Caller(name), "hello")
    async with signed_in(chromium, site) as tab:
        page = tab.page
        await page.keyboard.press("/")
        await expect(page.get_by_role("heading", name="Conversations", level=1)).to_be_visible()
        await page.keyboard.press("j")
        await expect(page.get_by_role("link", name="Amina")).to_be_focused()
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await page.keyboard.press("k")
        await expect(page.get_by_role("link", name="Baraka")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Baraka", level=1)).to_be_visible()
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        await tab.check()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
        await page.keyboard.press("/")
        await page.keyboard.type("zawa/?j")
        await page.keyboard.press("Backspace")
        await page.keyboard.press("Backspace")
        await page.keyboard.press("Backspace")
        await page.keyboard.press("Enter")
        await expect(page.locator("table.rows a.open")).to_have_text(["Zawadi"])


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
async def test_both_pages_fit_and_axe_finds_nothing(
    chromium: Browser, site: Site, size: tuple[int, int], scheme: Scheme
) -> None:
    async with signed_in(chromium, site, size, scheme) as tab:
        await tab.check()
        await tab.page.goto(site.url + await new_sign_in_link(site.db))
        await tab.check()
        await tab.open("/admin/conversations")
        await tab.check()
        conversation, _ = await say(site.db, Caller(LONG_NAME), "w" * 400, "https://example.org/" + "x" * 300)
        seq = await answer(
            site.db, conversation, "Sawa. " * 60, meaning={"action": "smalltalk", "slots": {"q": "y" * 200}}
        )
        await delivered(site.db, conversation, seq, "refused", error="z" * 300)
        other, _ = await say(site.db, Caller("Baraka"), "hello")
        await move(site.db, other, [timedelta(days=500)])
        for path in (
            "/admin/",
            "/admin/conversations",
            f"/admin/conversations/{conversation}",
            "/admin/conversations?q=nobody",
        ):
            await tab.open(path)
            await tab.check()
        small = await tab.page.evaluate(TOO_SMALL) if size == NARROW else []
        assert small == []
        await tab.page.get_by_role("button", name="Sign out").click()
        await expect(tab.page.get_by_role("heading")).to_have_text("You are signed out")
        await tab.check()


TOO_SMALL = """
[...document.querySelectorAll("a, button, input, select, summary")]
  .map((one) => [one.textContent.trim() || one.name, one.getBoundingClientRect()])
  .filter(([, box]) => box.width > 2 && box.height > 2 && (box.height < 43.5 || box.width < 43.5))
  .map(([name, box]) => `${name} ${box.width} x ${box.height}`)
"""


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
async def test_the_moderation_queue_fits_and_a_mute_is_lifted(
    chromium: Browser, site: Site, size: tuple[int, int], scheme: Scheme
) -> None:
    async with signed_in(chromium, site, size, scheme) as tab:
        await tab.page.goto(f"{site.url}/admin/moderation")
        await tab.check()
        conversation, _ = await say(site.db, Caller(LONG_NAME), "mjinga wewe")
        pool = site.db.pool
        await pool.execute(
            "INSERT INTO moderation_flag (message_id, label, score, judge, person_id)"
            " SELECT m.id, l, 1, 'word list', p.id FROM message m, person p, unnest(ARRAY['insult', 'threat']) l"
        )
        await pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
        await pool.execute(
            "INSERT INTO mute (person_id, conversation_id, until, appealed_at)"
            " SELECT id, $1, muted_until, now() FROM person",
            conversation,
        )
        await tab.page.goto(f"{site.url}/admin/moderation")
        await tab.check()
        await tab.page.get_by_role("button", name="Un-mute").click()
        await expect(tab.page.get_by_text("Nobody is muted")).to_be_visible()
        await tab.page.get_by_role("button", name="Dismiss").click()
        await expect(tab.page.get_by_text("No message is flagged")).to_be_visible()
    assert await pool.fetchval("SELECT muted_until FROM person") is None


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
async def test_people_are_found_and_looked_after_by_keyboard(
    chromium: Browser, site: Site, size: tuple[int, int], scheme: Scheme
) -> None:
    async with signed_in(chromium, site, size, scheme) as tab:
        page = tab.page
        await page.goto(f"{site.url}/admin/people")
        await tab.check()
        conversation, _ = await say(site.db, Caller(LONG_NAME), "hello")
        await say(site.db, Caller("Baraka"), "hello")
        pool = site.db.pool
        await pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
        await pool.execute(
            "INSERT INTO mute (person_id, conversation_id, until, appealed_at)"
            " SELECT id, $1, muted_until, now() FROM person",
            conversation,
        )
        await pool.execute(
            "INSERT INTO reminder"
            " (id, key, person_id, conversation_id, sealed, wall_time, zone, due_at, deferred_until)"
            " SELECT gen_random_uuid(), gen_random_uuid()::text, person_id, $1, '', now(), 'UTC', now(),"
            " now() + interval '9 hours'"
            " FROM identity, generate_series(1, 25) n",
            conversation,
        )
        await page.goto(f"{site.url}/admin/people")
        await tab.check()
        await page.keyboard.press("/")
        await page.keyboard.type("José")
        await page.keyboard.press("Enter")
        await expect(page.locator("table.rows a.open")).to_have_count(1)
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Your view of this person is recorded.")).to_be_visible()
        await tab.check()
        if size == NARROW:
            assert await page.evaluate(TOO_SMALL) == []
        await page.get_by_label("Plan").select_option("pro")
        await page.get_by_role("button", name="Set the plan").click()
        await expect(page.get_by_text("Quotas are multiplied by 5.")).to_be_visible()
        await page.get_by_role("button", name="Un-mute").click()
        await expect(page.get_by_role("button", name="Un-mute")).to_have_count(0)
        await tab.check()
        assert await pool.fetchval("SELECT count(*) FROM person WHERE plan = 'pro' AND muted_until IS NULL") == 1
        await erase_by_keyboard(tab, size)
    assert await pool.fetchval("SELECT count(*) FROM person WHERE erasure_id IS NOT NULL") == 1


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
async def test_what_was_misunderstood_is_marked_and_becomes_a_line(
    chromium: Browser, site: Site, size: tuple[int, int], scheme: Scheme
) -> None:
    async with signed_in(chromium, site, size, scheme) as tab:
        page = tab.page
        for path in ("turns", "corrections", "analytics"):
            await page.goto(f"{site.url}/admin/{path}")
            await tab.check()
        conversation, _ = await say(site.db, Caller(LONG_NAME), "send Otieno 500, " + "w" * 300)
        meant = {"action": "none", "guess": "remove_from_itinerary", "answer": "did_you_mean", "confidence": 0.7}
        await answer(site.db, conversation, "Sorry?", meaning=meant | {"then": [meant]})
        await say(site.db, Caller("Baraka"), "hello")
        await page.goto(f"{site.url}/admin/turns")
        await tab.check()
        await page.get_by_role("combobox", name="Show").select_option("fallback")
        await page.get_by_role("button", name="Filter").click()
        await page.locator("table.rows a.open").click()
        await tab.check()
        await page.get_by_role("link", name="Show what was written").click()
        await expect(page.get_by_text("send Otieno 500")).to_be_visible()
        await tab.check()
        small = await page.evaluate(TOO_SMALL) if size == NARROW else []
        await page.get_by_role("combobox", name="What message").select_option("send_money")
        await page.get_by_role("button", name="Mark message").click()
        await expect(page.get_by_text("Misunderstood, says owner; meant was send money")).to_be_visible()
        await tab.check()
        await page.goto(f"{site.url}/admin/analytics?days=90")
        await page.get_by_text("The same as a table").click()
        await tab.check()
        await page.goto(f"{site.url}/admin/corrections")
        await tab.check()
        small += await page.evaluate(TOO_SMALL) if size == NARROW else []
        line = page.get_by_label("The line to teach")
        assert (await line.input_value()).startswith("send Amina 500, www")
        await line.fill("send Amina 500")
        await page.get_by_role("button", name="Accept the line").click()
        await expect(page.get_by_role("link", name="send_money.txt, 1 line")).to_be_visible()
        await tab.check()
        small += await page.evaluate(TOO_SMALL) if size == NARROW else []
        assert small == []


async def erase_by_keyboard(tab: Tab, size: tuple[int, int]) -> None:
    """From a person's page: what goes is read, a wrong code erases nobody, the right one erases; every page fits."""
    page = tab.page
    await page.get_by_role("link", name="Erase this person").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="What happens")).to_be_visible()
    await tab.check()
    small = await page.evaluate(TOO_SMALL) if size == NARROW else []
    assert small == []
    address, code = page.url, await page.locator("strong.code").inner_text()
    await page.get_by_role("textbox").focus()
    await page.keyboard.type("000000" if code != "000000" else "111111")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing was erased")).to_be_visible()
    # Chromium itself says in the console that the answer was no 200.
    tab.said.clear()
    await tab.check()
    await page.goto(address)
    await page.get_by_role("textbox").focus()
    await page.keyboard.type(code)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Somebody who was erased")).to_be_visible()
    await tab.check()
    small = await page.evaluate(TOO_SMALL) if size == NARROW else []
    assert small == []
    await page.goto(f"{page.url.partition('/people/')[0]}/people")
    await expect(page.locator("table.rows a.open")).to_have_text(["Baraka"])
    await tab.check()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
async def test_every_section_fits_and_axe_finds_nothing_where_money_moved_and_where_none_did(
    chromium: Browser, site: Site, sandbox: Sandbox, tmp_path: Path, size: tuple[int, int], scheme: Scheme
) -> None:
    async with signed_in(chromium, site, size, scheme) as tab:

        async def looks(*paths: str) -> None:
            for path in paths:
                await tab.page.goto(f"{site.url}{path}")
                await tab.check()
                name = path.strip("/").replace("/", "-")
                await tab.page.screenshot(path=tmp_path / f"{name}-{size[0]}.png", full_page=True)

        # The others are looked at above, and the widget's page, which shows one of the product's, in test_widget.py.
        seen = ("overview", "conversations", "people", "turns", "moderation", "widget")
        books = ("/admin/books/journal", "/admin/books/holds")
        await looks(*(one.path for one in SECTIONS if one.icon not in seen), *books)

        async with till(site.db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
            of = await desk.reach(await desk.ask(500))
            await desk.plan("send-money/status", "ok", "200_wrong_amount")
            await desk.reach(await desk.send())
        kes, why = Money(20_000, "KES"), "w" * 200 + " why " * 60
        async with site.db.hot() as connection:
            dispute = await dispute_store.open_(connection, Opening("d", of.reference, kes, "staff:owner", why))
            await adjustments.propose(connection, "a", Proposal(why, reverses=1), "staff:somebody", Money(0, "KES"))
            await holds.place(connection, "held", wallet(desk.owner, "KES"), Money(1_000, "KES"))
        for name in ("Rent", LONG_NAME):
            flow = await workflow(site.db, desk.who, name)
            await flow.grant(100_000_00, 300_000_00, 999_000_000_00)
            await flow.use(f"paid:{flow.definition}", 99_999_99)
        await looks(
            "/admin/payments", f"/admin/payments/{of.reference}", "/admin/disputes", "/admin/mandates",
            f"/admin/disputes/{dispute.reference}", "/admin/books", "/admin/books/accounts/1", *books,
            "/admin/books/entries/1", "/admin/books/adjustments", "/admin/books/holds?state=expired",
        )  # fmt: skip
