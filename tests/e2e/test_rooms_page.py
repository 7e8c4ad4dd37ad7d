"""Two people in one room, each in a browser of their own: invited, heard, answered by the bot, edited, gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from core import sites
from core.proof import hash_of
from core.sites import Draft
from tests.browser import CHROMIUM, violations
from tests.e2e.test_handoff import Deployment, check, chromium, deployment

__all__ = ["chromium", "deployment"]

LIMIT_MS = 15_000
WIDE, PHONE = 1280, 360

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@dataclass
class Member:
    """One person's window."""

    page: Page
    foreign: list[str]
    complaints: list[str]

    @property
    def bubbles(self) -> Locator:
        """What the store has said; not what is on its way to it."""
        return self.page.locator("mathia-chat [data-seq] .bubble")

    async def write(self, text: str) -> None:
        box = self.page.get_by_label("Write a message")
        await box.fill(text)
        await box.press("Enter")

    async def hears(self, text: str) -> None:
        await expect(self.bubbles.filter(has_text=text).first).to_be_visible(timeout=LIMIT_MS)


@pytest.fixture
async def people(chromium: Browser, deployment: Deployment) -> AsyncIterator[tuple[Member, Member]]:
    """One at a desk, one with a phone; a complaint of a browser, or a request to anybody else, fails the test."""
    members = []
    async with AsyncExitStack() as stack:
        for width in (WIDE, PHONE):
            phone = width == PHONE
            context = await chromium.new_context(
                viewport={"width": width, "height": 760}, reduced_motion="reduce", has_touch=phone, is_mobile=phone
            )
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(LIMIT_MS)
            member = Member(page, [], [])
            _watch(member, deployment.url)
            members.append(member)
        yield members[0], members[1]
    for member in members:
        assert member.foreign == []
        assert member.complaints == []


def _watch(member: Member, url: str) -> None:
    def asked(request: Any) -> None:
        if not request.url.startswith((url, url.replace("http", "ws"), "blob:", "data:")):
            member.foreign.append(request.url)

    def said(message: Any) -> None:
        # A room that is not there answers 404, which the browser says too.
        if message.type in ("error", "warning") and "404" not in message.text:
            member.complaints.append(message.text)

    member.page.on("request", asked)
    member.page.on("pageerror", lambda error: member.complaints.append(str(error)))
    member.page.on("console", said)


async def _make(member: Member, url: str) -> None:
    await member.page.goto(f"{url}/rooms")
    await member.page.get_by_role("button", name="New room").click()
    await member.page.get_by_label("What is the room called?").fill("Ofisi")
    await member.page.get_by_label("What shall the others call you?").fill("Amina")
    await member.page.get_by_role("button", name="Make it").click()
    await expect(member.page.get_by_role("heading", name="Ofisi")).to_be_visible()
    await expect(member.page.get_by_text("Nobody has written here yet.")).to_be_visible()


async def _invite(member: Member) -> str:
    await member.page.get_by_role("button", name="Invite").click()
    await member.page.get_by_role("dialog").get_by_role("button", name="Invite").click()
    link = await member.page.locator("dialog code").inner_text()
    await member.page.get_by_role("button", name="Close").click()
    return link


async def _join(member: Member, link: str) -> None:
    await member.page.goto(link)
    await member.page.get_by_label("What shall the others call you?").fill("Baraka")
    await member.page.get_by_role("button", name="Join").click()
    await expect(member.page.get_by_role("heading", name="Ofisi")).to_be_visible()


async def test_two_people_and_the_bot(people: tuple[Member, Member], deployment: Deployment) -> None:
    amina, baraka = people
    await _make(amina, deployment.url)
    link = await _invite(amina)
    await _join(baraka, link)
    assert "join" not in baraka.page.url
    await expect(amina.page.locator(".who")).to_contain_text("Baraka")
    await expect(amina.page.locator(".who")).to_contain_text("2 here now")

    await amina.write("Jambo Baraka")
    await baraka.hears("Jambo Baraka")
    await expect(baraka.page.locator("mathia-chat .group.member .meta").first).to_have_text("Amina")
    await baraka.write("@mathia 100 USD in KES")
    for member in people:
        await member.hears("KES")
        await expect(member.page.locator("mathia-chat .group.bot .bubble")).to_have_count(1)

    own = amina.page.locator("mathia-chat .row", has_text="Jambo Baraka")
    await own.hover()
    await own.get_by_role("button", name="Edit").click()
    await amina.write("Habari Baraka")
    await baraka.hears("Habari Baraka")
    await expect(baraka.bubbles.filter(has_text="Jambo")).to_have_count(0)
    amina.page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    own = amina.page.locator("mathia-chat .row", has_text="Habari Baraka").first
    await own.hover()
    await own.get_by_role("button", name="Delete").click()
    await baraka.hears("This message was deleted.")

    answer = baraka.page.locator("mathia-chat .row", has_text="KES").last
    await answer.locator(".bubble").tap()
    await answer.get_by_role("button", name="React", exact=True).tap()
    await answer.get_by_role("button", name="React 👍").tap()
    under = amina.page.get_by_role("button", name="👍 1, Baraka")
    await under.click()
    mine = amina.page.get_by_role("button", name="👍 2, Baraka, Amina")
    await expect(mine).to_have_attribute("aria-pressed", "true")
    await expect(mine).to_be_focused()
    await baraka.page.reload()
    await expect(baraka.page.get_by_role("button", name="👍 2, Baraka, Amina")).to_be_visible()
    await mine.press("Enter")
    await expect(baraka.page.get_by_role("button", name="👍 1, Baraka")).to_be_visible()
    await expect(amina.page.locator("mathia-chat .group.bot .bubble")).to_have_count(1)

    for member in people:
        assert await violations(member.page) == []


async def test_a_site_shows_its_rooms_to_whom_it_has_proved(
    people: tuple[Member, Member], deployment: Deployment
) -> None:
    amina, baraka = people
    async with deployment.db.transaction() as session:
        lines = {"name": "Shop", "title": "Duka", "colour": "#ffd54a", "position": "left", "origins": ""}
        shop = await sites.create_site(session, Draft.parse(lines))
    async with deployment.db.transaction() as session:
        secret = await sites.rotate_secret(session, shop, datetime.now(UTC))

    def proved(user_id: str, **more: str) -> str:
        return urlencode({"user_id": user_id, "hash": hash_of(user_id, secret), **more})

    rooms = f"{deployment.url}/rooms?site={shop}"
    await baraka.page.goto(rooms)
    await expect(baraka.page.get_by_role("alert")).to_contain_text("Sign in on the site")
    await check(baraka.page, PHONE)
    await amina.page.goto(f"{rooms}#{proved('42', name='Amina')}")
    await amina.page.get_by_role("button", name="New room").click()
    assert "hash" not in amina.page.url
    await amina.page.get_by_label("What is the room called?").fill("Ofisi")
    await expect(amina.page.get_by_label("What shall the others call you?")).to_have_value("Amina")
    await amina.page.get_by_role("button", name="Make it").click()
    await expect(amina.page.get_by_text("Nobody has written here yet.")).to_be_visible()
    link = await _invite(amina)
    # Opened too early, the invitation is not lost.
    await baraka.page.goto(link)
    await expect(baraka.page.get_by_role("alert")).to_contain_text("Sign in on the site")
    await _join(baraka, f"{link}#{proved('43')}")
    await baraka.write("Habari Amina")
    await amina.hears("Habari Amina")
    here = amina.page.url
    # Another user in the same browser is not in the room, and our own pages' visitor has none of the site's.
    async with amina.page.expect_response("**/api/chatrooms/"):
        await amina.page.goto(f"{rooms}#{proved('44')}")
    await expect(amina.page.get_by_role("link", name="Ofisi")).to_have_count(0)
    for address in (here, here.partition("?")[0]):
        await amina.page.goto(address)
        await expect(amina.page.get_by_text("This room is not there for you any more.")).to_be_visible()


async def test_an_invitation_works_once_and_who_left_is_out(
    people: tuple[Member, Member], deployment: Deployment
) -> None:
    amina, baraka = people
    await _make(amina, deployment.url)
    link = await _invite(amina)
    await _join(baraka, link)
    here = baraka.page.url
    await baraka.page.get_by_role("button", name="Leave").click()
    await baraka.page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    await baraka.page.wait_for_url("**/rooms")
    await baraka.page.goto(here)
    await expect(baraka.page.get_by_text("This room is not there for you any more.")).to_be_visible()
    await baraka.page.goto(link)
    await baraka.page.get_by_label("What shall the others call you?").fill("Baraka")
    await baraka.page.get_by_role("button", name="Join").click()
    await expect(baraka.page.get_by_role("alert")).to_contain_text("no longer good")


async def test_what_was_said_is_found_saved_and_counted(people: tuple[Member, Member], deployment: Deployment) -> None:
    amina, baraka = people
    await _make(amina, deployment.url)
    await _join(baraka, await _invite(amina))
    await amina.page.goto(f"{deployment.url}/rooms")
    await baraka.write("Mkutano ni kesho saa tatu")
    await baraka.hears("Mkutano")
    await amina.page.reload()
    await expect(amina.page.locator(".count")).to_have_text("1")
    await amina.page.get_by_role("link", name="Ofisi").click()
    await amina.hears("Mkutano")
    await amina.page.get_by_role("button", name="Search").click()
    await amina.page.get_by_label("Words to look for").fill("kesho")
    await amina.page.get_by_role("dialog").get_by_role("button", name="Search").click()
    await expect(amina.page.get_by_role("dialog").locator("li")).to_contain_text("Mkutano ni kesho")
    await amina.page.get_by_role("button", name="Close").click()
    async with amina.page.expect_download() as download:
        await amina.page.get_by_role("button", name="Save").click()
    path = await (await download.value).path()
    assert "Mkutano ni kesho saa tatu" in path.read_text()


async def test_a_thread_is_written_in_beside_the_room(people: tuple[Member, Member], deployment: Deployment) -> None:
    amina, baraka = people
    await _make(amina, deployment.url)
    await _join(baraka, await _invite(amina))
    await amina.write("Mkutano ni lini?")
    await amina.write("Nani anakuja?")
    await baraka.hears("Nani anakuja?")
    thread = amina.page.get_by_role("complementary", name="Thread")
    asked = amina.page.locator("main .row", has_text="Mkutano").first
    await asked.hover()
    await asked.get_by_role("button", name="Reply in thread").click()
    box = thread.get_by_role("textbox")
    await expect(box).to_be_focused()
    await expect(thread.locator("[data-seq]")).to_have_count(1)
    for words in ("Kesho saa tatu?", "@mathia 100 USD in KES"):
        await box.fill(words)
        await box.press("Enter")
    # The bot answers where it was asked.
    await expect(thread.locator(".group.bot [data-seq]", has_text="KES")).to_have_count(1)

    count = baraka.page.locator("main mathia-chat").get_by_role("button", name="3 replies · 3 new")
    await expect(count).to_be_visible()
    await count.tap()
    on_phone = baraka.page.get_by_role("complementary", name="Thread")
    await expect(on_phone.locator("[data-seq]")).to_have_count(4)
    await expect(baraka.page.locator("main")).to_be_hidden()
    await on_phone.get_by_role("textbox").fill("Sawa, saa tatu")
    await on_phone.get_by_role("button", name="Send").tap()
    await expect(thread.locator("[data-seq]", has_text="Sawa, saa tatu")).to_have_count(1)
    await check(amina.page, WIDE)
    await check(baraka.page, PHONE)

    await baraka.page.reload()
    await expect(on_phone.locator("[data-seq]")).to_have_count(5)
    await on_phone.get_by_role("button", name="Back").tap()
    count = baraka.page.locator("main mathia-chat").get_by_role("button", name="4 replies", exact=True)
    await expect(count).to_be_focused()
    await count.tap()
    await expect(on_phone.locator("[data-seq]")).to_have_count(5)
    await baraka.page.go_back()
    await expect(on_phone).to_be_hidden()

    await box.press("Escape")
    await expect(thread).to_be_hidden()
    # What was said elsewhere is no news of the thread; what is said in it while it is closed is.
    await baraka.write("Karibu")
    await amina.hears("Karibu")
    await expect(amina.page.get_by_role("button", name="4 replies", exact=True)).to_be_focused()
    await count.tap()
    await on_phone.get_by_role("textbox").fill("Naja")
    await on_phone.get_by_role("button", name="Send").tap()
    await expect(amina.page.get_by_role("button", name="5 replies · 1 new")).to_be_visible()
