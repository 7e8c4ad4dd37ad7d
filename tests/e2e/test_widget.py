"""The widget on somebody else's page, and the chat page, in a real browser against a real web process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Locator, Page, expect

from bot.servers import Servers
from bot.servers.postgres import APP, DATABASE, OWNER
from bot.stand import Process, free_port
from core import sites
from core.changes import Change
from core.db import Database
from core.inbox import Inbox
from core.messages import Address, Card, ChannelName, Contact, Fact, Link, Part, Reply, Table, Text, Voice
from core.outbox import NewMessage, post
from core.proof import hash_of
from core.settings import Settings
from core.wake import Wakes
from tests.browser import CHROMIUM, started, violations
from tests.conftest import Sandbox
from tests.said import messages
from tests.waiting import until
from web_admin.auth import new_sign_in_link

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_MS = 15_000
NO_SERVER = ("WebSocket connection", "Failed to load resource: net::", "has been blocked by CORS policy")
"""What a browser says when the web process is down, or lets the page's origin in nowhere."""
OFFLINE = "No connection. Your messages are kept."
WEATHER = "What's the weather in Nairobi?"
SHOP = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="n">p {{ color: #333 }} button {{ all: unset !important }}</style>
<script nonce="n">{script}</script><script src="{server}/widget.js" async></script></head>
<body><main><h1>A shop</h1><p>Baskets from Machakos.</p></main></body></html>"""


class Look(NamedTuple):
    """How a visitor's browser looks at pages; `width` in CSS pixels, the narrow one by touch."""

    width: int
    scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.width} {self.scheme}"


LOOKS = (Look(1280, "light"), Look(1280, "dark"), Look(360, "light"), Look(360, "dark"))


@dataclass
class Service:
    """A web process that may be killed, its store, and a shop's page at another origin that embeds the widget."""

    process: Process
    url: str
    shop: str
    db: Database
    script: str = ""

    async def texts(self, room: str) -> list[str]:
        """What the store holds of a room, in order."""
        whole = "JOIN conversation c ON c.id = m.conversation_id WHERE c.room = $1 ORDER BY m.seq"
        rows = await messages(self.db, whole, room)
        return ["\n".join(part["text"] for part in row["parts"] if "text" in part) for row in rows]

    async def say(self, room: str, text: str, options: tuple[str, ...] = (), more: tuple[Part, ...] = ()) -> None:
        """Let the bot say something by itself, as a reminder does."""
        conversation = await self.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", room)
        async with self.db.hot() as connection:
            parts = (*Reply.of(text, options).parts, *more)
            await post(connection, [NewMessage(conversation, parts, "reminder", f"test:{room}:{text[:40]}")])
            await Wakes(self.db).notify(connection, "outbox")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    servers: Servers, sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    assert servers.postgres
    assert servers.valkey
    admin = await servers.postgres.connect()
    await admin.execute(f"CREATE DATABASE widget TEMPLATE {DATABASE} OWNER {OWNER}")
    db = await Database.connect(servers.postgres.url(APP, "widget"), Settings(_env_file=None).key_list)
    shop_port, port = free_port(), free_port()
    url, shop = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{shop_port}"
    environment = {
        "DATABASE_URL": db.url,
        "REDIS_URL": servers.valkey.url,
        "PORT": str(port),
        "WIDGET_ORIGINS": shop,
        "SANDBOX_URL": sandbox_process.url,
        "LOG_LEVEL": "warning",
    }
    log = tmp_path_factory.mktemp("widget") / "web.log"
    process = Process(["web"], environment, log, f"{url}/healthz")
    made = Service(process, url, shop, db)

    async def page(request: web.Request) -> web.Response:
        server = request.query.get("server", url)
        socket = server.replace("http", "ws")
        policy = f"default-src 'none'; script-src 'nonce-n' {server}; style-src 'nonce-n'; "
        policy += f"connect-src {socket} {server}"
        html = SHOP.format(server=server, script=made.script)
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", shop_port).start()
    await process.start()
    try:
        yield made
    finally:
        assert await process.stop() == 0, log.read_text()
        await runner.cleanup()
        await db.close()
        await admin.execute("DROP DATABASE widget WITH (FORCE)")
        await admin.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("No Chromium is installed; browser tests need one (apt install chromium).")
    async with started() as browser:
        yield browser


@dataclass
class Visit:
    """One visitor's browser window, and the words the tests use for what is in it."""

    page: Page
    complaints: list[str]

    @property
    def launcher(self) -> Locator:
        return self.page.locator("mathia-chat .launch")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog", name="Mathia")

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Write a message")

    @property
    def bubbles(self) -> Locator:
        return self.page.locator("mathia-chat .bubble")

    async def open(self) -> None:
        await self.launcher.click()
        await self.online()

    async def online(self) -> None:
        await expect(self.page.get_by_role("status")).to_have_text("Online", timeout=LIMIT_MS)

    async def write(self, text: str) -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def told(self, count: int) -> list[str]:
        """All bubbles, once the bot has said so many."""
        await expect(self.page.locator("mathia-chat .group.bot .bubble")).to_have_count(count, timeout=LIMIT_MS)
        return await self.said()

    async def said(self) -> list[str]:
        """The texts of the bubbles, without the tables under them."""
        return [text.partition("\n\nDay\t")[0] for text in await self.bubbles.all_inner_texts()]

    async def room(self) -> str:
        """This visitor's room, as the widget keeps it."""
        found: str = await self.page.evaluate(
            "localStorage.getItem(Object.keys(localStorage).find((key) => key.endsWith(':room')))"
        )
        return found

    async def kept(self) -> int:
        """How many messages wait in the outbox."""
        return int(await self.page.evaluate("Object.keys(localStorage).filter((key) => key.includes(':out:')).length"))


@pytest_asyncio.fixture(loop_scope="module")
async def visit(request: pytest.FixtureRequest, chromium: Browser, service: Service) -> AsyncIterator[Visit]:
    """A new visitor: 1280 px and light, or as the test's parameter says; a complaint of the browser fails the test."""
    look: Look = getattr(request, "param", LOOKS[0])
    phone = look.width < 480
    context = await chromium.new_context(
        viewport={"width": look.width, "height": 760}, color_scheme=look.scheme, reduced_motion="reduce",
        has_touch=phone, is_mobile=phone,
    )  # fmt: skip
    page = await context.new_page()
    page.set_default_timeout(LIMIT_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    service.script = ""
    yield Visit(page, complaints)
    await context.close()
    assert [text for text in complaints if not any(words in text for words in NO_SERVER)] == []


async def test_the_widget_on_another_site_opens_sends_and_receives(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await expect(visit.dialog).to_be_hidden()
    await visit.open()
    await expect(visit.page.get_by_text("Hello. I am Mathia, an assistant.")).to_be_visible()
    await expect(visit.box).to_be_focused()
    await visit.page.get_by_role("button", name=WEATHER).click()
    question, answer = await visit.told(1)
    assert question == WEATHER
    assert "Nairobi" in answer
    assert answer.endswith("· sandbox")
    await expect(visit.page.get_by_text("Hello. I am Mathia")).to_be_hidden()
    await visit.write("100 USD in KES")
    assert "KES" in (await visit.told(2))[-1]
    assert await service.texts(await visit.room()) == await visit.said()
    assert await visit.kept() == 0


async def test_a_message_that_changes_elsewhere_changes_on_the_page(visit: Visit, service: Service) -> None:
    """Another process applies the change; the page learns of it live, and after a reload shows the same."""
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write(WEATHER)
    await visit.told(1)
    room = await visit.room()
    me = Address(ChannelName.WEB, "default", room, room)
    event = await service.db.pool.fetchval(
        "SELECT m.event_id FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE c.room = $1"
        " AND m.direction = 'in'",
        room,
    )
    inbox = Inbox(service.db, Wakes(service.db))
    words = (Text(text="Never <b>mind</b>"),)
    await inbox.change(Change(me, f"edit:{room}", "edit", event, datetime.now(UTC), words))
    mine = visit.page.locator("mathia-chat .group.me .bubble")
    await expect(mine).to_have_text("Never <b>mind</b>\nedited", timeout=LIMIT_MS)
    await visit.page.reload()
    await visit.open()
    await expect(mine).to_have_text("Never <b>mind</b>\nedited", timeout=LIMIT_MS)
    await inbox.change(Change(me, f"delete:{room}", "delete", event, datetime.now(UTC)))
    await expect(mine).to_have_text("This message was deleted.", timeout=LIMIT_MS)
    await visit.page.reload()
    await visit.open()
    await expect(mine).to_have_text("This message was deleted.", timeout=LIMIT_MS)


async def test_a_killed_web_process_loses_and_doubles_nothing(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write(WEATHER)
    await visit.told(1)
    service.process.kill()
    await expect(visit.page.get_by_role("status")).to_have_text(OFFLINE, timeout=LIMIT_MS)
    await visit.write("100 USD in KES")
    await visit.write("and what's the weather in Mombasa?")
    await expect(visit.page.get_by_text("Sending…")).to_have_count(2)
    await visit.page.reload()
    await expect(visit.page.locator("mathia-chat .group[data-cid]")).to_have_count(2)
    await service.process.start()
    await visit.open()
    await expect(visit.page.get_by_text("Sending…")).to_have_count(0, timeout=LIMIT_MS)

    async def answered() -> bool:
        said = await service.texts(await visit.room())
        return any("Mombasa" in text and "sandbox" in text for text in said)

    await until(answered, 15.0, "the answer about Mombasa")
    said = await service.texts(await visit.room())
    await expect(visit.bubbles).to_have_count(len(said), timeout=LIMIT_MS)
    assert await visit.said() == said
    for line in (WEATHER, "100 USD in KES", "and what's the weather in Mombasa?"):
        assert said.count(line) == 1
    assert said.index("100 USD in KES") < said.index("and what's the weather in Mombasa?")
    assert await visit.kept() == 0
    await visit.page.reload()
    await visit.open()
    await expect(visit.bubbles).to_have_count(len(said), timeout=LIMIT_MS)
    assert await visit.said() == said


async def test_a_message_whose_receipt_was_lost_is_stored_once(visit: Visit, service: Service) -> None:
    """The web process dies after the message is stored and before the browser hears of it."""
    await service.process.stop()
    await service.process.start(MATHIA_CRASH="inbox.committed:1")
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write(WEATHER)
    await until(lambda: _ended(service), 15.0, "the crash")
    await expect(visit.page.get_by_text("Sending…")).to_have_count(1)
    await service.process.start()
    question, _answer = await visit.told(1)
    assert question == WEATHER
    assert (await service.texts(await visit.room())).count(WEATHER) == 1


async def _ended(service: Service) -> bool:
    return service.process.ended is not None


RICH: tuple[Part, ...] = (
    Card(
        title="<b>Nairobi to Mombasa</b>",
        text="The earliest flight.",
        facts=(Fact(label="Leaves", value="07:00"), Fact(label="Price", value="<img src=x onerror=alert(1)>")),
        link=Link(url="https://flights.example/kq600", label="Book"),
    ),
    Table(
        title="Jobs",
        columns=("Job", "Client", "Budget", "Posted on"),
        rows=(("Translate a contract", "Amina Otieno & Sons", "KES 25,000 to 40,000", "Tue 24 Nov"),),
    ),
    Voice(media_type="audio/ogg", ref="https://files.example/a.ogg", transcript="Kesho saa tatu."),
    Contact(name="Amina", phones=("+254 712 345678",), emails=("amina@example.com",)),
)


@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=str)
async def test_rich_parts_are_drawn_and_reachable_in_every_look(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("thanks")
    await visit.told(1)
    await service.say(await visit.room(), "Here you are.", more=RICH)
    bubble = visit.bubbles.nth(2)
    await expect(bubble.get_by_role("link", name="Book")).to_have_attribute("href", "https://flights.example/kq600")
    await expect(bubble.get_by_role("link", name="Voice note")).to_have_attribute("href", "https://files.example/a.ogg")
    await expect(bubble.get_by_role("link", name="+254 712 345678")).to_have_attribute("href", "tel:+254712345678")
    await expect(bubble.get_by_role("columnheader")).to_have_text(["Job", "Client", "Budget", "Posted on"])
    await expect(bubble.get_by_text("<b>Nairobi to Mombasa</b>")).to_be_visible()
    await expect(bubble.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    await expect(bubble.locator("img")).to_have_count(0)
    wide = await visit.page.locator("mathia-chat .log").evaluate("(log) => log.scrollWidth - log.clientWidth")
    assert wide == 0
    assert await violations(visit.page) == []


@pytest.mark.parametrize("visit", [LOOKS[2]], indirect=True, ids=str)
async def test_the_widget_is_usable_on_a_narrow_phone(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.launcher.tap()
    await visit.online()
    panel = await visit.dialog.bounding_box()
    assert panel is not None
    assert (panel["x"], panel["y"], panel["width"], panel["height"]) == (0, 0, 360, 760)
    await expect(visit.launcher).to_be_hidden()
    await visit.page.get_by_role("button", name=WEATHER).tap()
    await visit.told(1)
    await visit.box.tap()
    await visit.box.fill("A very long unbroken word: " + "x" * 300)
    await visit.page.get_by_role("button", name="Send").tap()
    await expect(visit.bubbles).to_have_count(4, timeout=LIMIT_MS)
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = await visit.page.locator("mathia-chat .log").evaluate("(log) => log.scrollWidth - log.clientWidth")
    assert wide == 0
    for button in await visit.page.locator("mathia-chat button:visible").all():
        box = await button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, await button.get_attribute("aria-label")
    await visit.bubbles.nth(1).tap()
    await visit.page.get_by_role("button", name="Reply").nth(1).tap()
    await expect(visit.page.get_by_role("button", name="Cancel reply")).to_be_visible()
    await visit.write("thanks")
    await expect(visit.page.locator("mathia-chat q")).to_have_count(1, timeout=LIMIT_MS)
    await visit.page.get_by_role("button", name="Close chat").tap()
    await expect(visit.launcher).to_be_visible()


@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=str)
async def test_axe_finds_nothing_in_the_widget_closed_or_open(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.launcher.wait_for()
    await clean(visit.page)
    await visit.launcher.click()
    await visit.online()
    await clean(visit.page)
    await visit.write(WEATHER)
    await visit.told(1)
    await service.say(await visit.room(), "Which city? See https://example.com/cities.", ("Nairobi", "Mombasa"))
    await visit.told(2)
    await visit.page.get_by_role("button", name="Mombasa").wait_for()
    await visit.page.get_by_role("button", name="Reply").first.focus()
    await clean(visit.page)


@pytest.mark.parametrize("visit", [LOOKS[0], LOOKS[3]], indirect=True, ids=str)
async def test_axe_finds_nothing_on_our_own_pages(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.url)
    await visit.launcher.wait_for()
    await clean(visit.page)
    await visit.page.goto(f"{service.url}/chat")
    await visit.online()
    await clean(visit.page)
    await visit.write(WEATHER)
    await visit.told(1)
    await clean(visit.page)


async def clean(page: Page) -> None:
    assert await violations(page) == []


async def test_everything_can_be_done_with_the_keyboard(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.launcher.wait_for()
    await visit.page.keyboard.press("Tab")
    await expect(visit.launcher).to_be_focused()
    await visit.page.keyboard.press("Enter")
    await expect(visit.box).to_be_focused()
    await visit.page.keyboard.type("one")
    await visit.page.keyboard.press("Shift+Enter")
    await visit.page.keyboard.type("two")
    await visit.page.keyboard.press("Enter")
    await visit.told(1)
    assert (await visit.bubbles.all_inner_texts())[0] == "one\ntwo"
    await visit.page.keyboard.press("Escape")
    await expect(visit.dialog).to_be_hidden()
    await expect(visit.launcher).to_be_focused()
    await visit.page.keyboard.press("Enter")
    await expect(visit.box).to_be_focused()
    way_back = []
    for _ in range(12):
        await visit.page.keyboard.press("Shift+Tab")
        way_back.append(await visit.page.evaluate("document.activeElement.shadowRoot?.activeElement?.ariaLabel"))
    assert {"Reply", "Messages", "Close chat"} <= set(way_back)


async def test_the_input_grows_to_six_lines_and_its_draft_is_kept(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    heights: list[float] = []
    for lines in (1, 2, 6, 7, 12):
        await visit.box.fill("\n".join("line" for _ in range(lines)))
        heights.append((await visit.box.bounding_box() or {"height": 0})["height"])
    one, two, six, seven, twelve = heights
    assert one < two < six == seven == twelve
    await visit.page.reload()
    await visit.open()
    assert (await visit.box.input_value()).count("line") == 12


async def test_what_people_write_is_shown_as_text(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    text = '<img src=x onerror="window.broken=1"> see https://example.com/a?b=1, and javascript:alert(1)'
    await visit.write(text)
    await visit.told(1)
    assert (await visit.bubbles.all_inner_texts())[0] == text
    assert await visit.page.evaluate("window.broken") is None
    links = visit.bubbles.first.get_by_role("link")
    assert [await link.get_attribute("href") for link in await links.all()] == ["https://example.com/a?b=1"]
    assert await links.first.get_attribute("rel") == "noopener noreferrer nofollow"


async def test_a_message_that_cannot_be_taken_says_why_and_can_be_edited(visit: Visit, service: Service) -> None:
    service.script = "window.mathia = function () { (mathia.q = mathia.q || []).push(arguments) }"
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.page.evaluate("mathia('send', 'too long '.repeat(3000))")
    await expect(visit.page.get_by_text("Not sent. A message may have at most 16,384 characters.")).to_be_visible()
    await visit.write("hello")
    await visit.told(1)
    await visit.page.get_by_role("button", name="Edit").click()
    assert (await visit.box.input_value()).startswith("too long too long")
    await expect(visit.page.get_by_text("Not sent.")).to_have_count(0)
    assert await visit.kept() == 0


async def test_unread_messages_are_counted_until_they_are_seen(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("hello")
    await visit.told(1)
    await visit.page.keyboard.press("Escape")
    await service.say(await visit.room(), "Time to stretch")
    await service.say(await visit.room(), "Time to drink")
    await expect(visit.page.get_by_role("button", name="Open chat, 2 unread")).to_be_visible(timeout=LIMIT_MS)
    await visit.page.reload()
    await expect(visit.page.get_by_role("button", name="Open chat, 2 unread")).to_be_visible(timeout=LIMIT_MS)
    await visit.open()
    await visit.told(3)
    await visit.page.reload()
    await visit.launcher.wait_for()
    await expect(visit.bubbles).to_have_count(4, timeout=LIMIT_MS)
    await expect(visit.page.get_by_role("button", name="Open chat", exact=True)).to_be_visible()


async def test_a_page_steers_the_widget_by_settings_and_calls(visit: Visit, service: Service) -> None:
    service.script = """
        window.mathiaSettings = {title: 'Duka', color: '#ffd54a', position: 'left'}
        window.mathia = function () { (mathia.q = mathia.q || []).push(arguments) }
        window.heard = []
        for (const event of ['ready', 'open', 'close', 'message'])
            mathia('on', event, (detail) => heard.push(detail?.seq ?? event))
        mathia('open'); mathia('send', 'habari')
    """
    await visit.page.goto(service.shop)
    dialog = visit.page.get_by_role("dialog", name="Duka")
    await expect(dialog).to_be_visible()
    await visit.told(1)
    await visit.page.evaluate("mathia('close')")
    assert await visit.page.evaluate("heard") == ["ready", "open", 1, 2, "close"]
    box = await visit.launcher.bounding_box()
    assert box is not None
    assert box["x"] == 20
    look = "(node) => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]"
    assert await visit.launcher.evaluate(look) == ["rgb(255, 213, 74)", "rgb(0, 0, 0)"]
    await clean(visit.page)


@pytest.mark.parametrize("visit", [LOOKS[2]], indirect=True, ids=str)
async def test_a_page_in_swahili_has_a_widget_and_answers_in_swahili(visit: Visit, service: Service) -> None:
    service.script = "window.mathiaSettings = {locale: 'sw-KE'}"
    await visit.page.goto(service.shop)
    await visit.launcher.click()
    await expect(visit.page.locator("mathia-chat")).to_have_attribute("lang", "sw")
    await visit.page.get_by_role("button", name="Hali ya hewa Nairobi").click()
    [_, weather] = await visit.told(1)
    assert weather.startswith("Nairobi, ")
    assert " hadi " in weather
    await visit.page.get_by_label("Andika ujumbe").fill("nimebakiza kiasi gani")
    await visit.page.get_by_label("Andika ujumbe").press("Enter")
    card = (await visit.told(2))[-1]
    assert card.startswith("Kilichobaki")
    label, value = (visit.page.locator(f"mathia-chat dl {tag}").first for tag in ("dt", "dd"))
    assert await label.inner_text() == "Ujumbe"
    beside = await label.bounding_box(), await value.bounding_box()
    assert beside[0]
    assert beside[1]
    assert beside[1]["width"] >= beside[0]["width"], "a long name leaves room for what it is the name of"
    await clean(visit.page)


async def test_a_page_that_is_not_listed_gets_no_chat_and_says_so(visit: Visit, service: Service) -> None:
    stranger = service.shop.replace("127.0.0.1", "localhost")
    await visit.page.goto(stranger)
    await visit.launcher.click()
    await expect(visit.page.get_by_role("status")).to_have_text(OFFLINE, timeout=LIMIT_MS)
    assert await service.db.pool.fetchval("SELECT count(*) FROM web_visitor WHERE site <> 'default'") == 0


async def test_two_tabs_of_one_visitor_show_one_conversation(visit: Visit, service: Service) -> None:
    await visit.page.goto(f"{service.url}/chat")
    await visit.online()
    second = Visit(await visit.page.context.new_page(), visit.complaints)
    await second.page.goto(f"{service.url}/chat")
    await second.online()
    await visit.write("from the first")
    await second.told(1)
    await second.write("from the second")
    first_texts, second_texts = await visit.told(2), await second.told(2)
    assert first_texts == second_texts == await service.texts(await visit.room())


async def test_tabs_opened_at_once_become_one_visitor(visit: Visit, service: Service) -> None:
    tabs = [visit, *[Visit(await visit.page.context.new_page(), visit.complaints) for _ in range(3)]]
    await asyncio.gather(*(tab.page.goto(f"{service.url}/chat") for tab in tabs))
    for tab in tabs:
        await tab.online()
    await visit.write("hello")
    for tab in tabs:
        await tab.told(1)


# Sites, and who is signed in there.


async def make_site(service: Service, **fields: str) -> tuple[str, str]:
    """A new site that the shop may open, and its identity secret."""
    known = {"name": "Shop", "title": "Duka", "colour": "#7a1fa2", "position": "left", "origins": service.shop}
    async with service.db.transaction() as session:
        key = await sites.create_site(session, sites.Draft.parse(known | fields))
        return key, await sites.rotate_secret(session, key, datetime.now(UTC))


def steered(key: str) -> str:
    return f"""
        window.mathiaSettings = {{site: '{key}'}}
        window.mathia = function () {{ (mathia.q = mathia.q || []).push(arguments) }}
        window.heard = []
        mathia('on', 'error', ({{code}}) => heard.push(code))
    """


def duka(visit: Visit) -> Locator:
    return visit.page.get_by_role("dialog", name="Duka")


async def test_a_site_looks_as_its_owner_set_it_and_follows_a_change(visit: Visit, service: Service) -> None:
    key, _ = await make_site(service, greeting_en="Karibu! How can we help?")
    service.script = steered(key)
    await visit.page.goto(service.shop)
    await visit.open()
    await expect(duka(visit).get_by_text("Karibu! How can we help?")).to_be_visible()
    paint = "(node) => getComputedStyle(node).backgroundColor"
    assert await visit.launcher.evaluate(paint) == "rgb(122, 31, 162)"
    box = await visit.launcher.bounding_box()
    assert box is not None
    assert box["x"] == 20
    await clean(visit.page)
    async with service.db.transaction() as session:
        changed = {"name": "Shop", "title": "Soko", "colour": "#ffd54a", "position": "right", "origins": service.shop}
        await sites.change_site(session, key, sites.Draft.parse(changed))
    await visit.page.reload()
    await expect(visit.launcher).to_have_css("background-color", "rgb(255, 213, 74)")
    await visit.open()
    await expect(visit.page.get_by_role("dialog", name="Soko")).to_be_visible()
    await visit.write("habari")
    await visit.told(1)
    await clean(visit.page)


async def test_a_person_signs_in_keeps_what_they_said_and_signs_out(visit: Visit, service: Service) -> None:
    key, secret = await make_site(service)
    service.script = steered(key)
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("hello from before")
    await visit.told(1)
    room, proof = await visit.room(), hash_of("42", secret)
    await visit.page.evaluate("(hash) => mathia('identify', {user_id: 42, hash, name: 'Amina'})", proof)
    await until(lambda: _signed_in(visit), 10.0, "the sign-in")
    await expect(visit.bubbles).to_have_count(2)
    assert await visit.room() == room
    await visit.write("and after")
    await visit.told(2)

    browser = visit.page.context.browser
    assert browser is not None
    async with await browser.new_context() as context:
        service.script = steered(key) + f"\nmathia('identify', {{user_id: '42', hash: '{proof}'}})"
        other = Visit(await context.new_page(), [])
        await other.page.goto(service.shop)
        await other.open()
        await other.told(2)
        assert await other.said() == await visit.said()
        assert await other.page.get_by_role("button", name="Close chat").count() > 0
        assert other.complaints == []

    await visit.page.evaluate("mathia('logout')")
    await visit.online()
    await expect(visit.bubbles).to_have_count(0)
    await visit.write("somebody else")
    await visit.told(1)
    assert await visit.room() != room
    assert await service.texts(room) == await other_texts(service, room)


async def other_texts(service: Service, room: str) -> list[str]:
    """What a room holds, none of it from whoever came after signing out."""
    said = await service.texts(room)
    assert "somebody else" not in said
    return said


async def _signed_in(visit: Visit) -> bool:
    return bool(await visit.page.evaluate("Object.keys(localStorage).some((key) => key.endsWith(':signed'))"))


async def test_a_forged_identity_is_told_and_changes_nothing(visit: Visit, service: Service) -> None:
    key, _ = await make_site(service)
    service.script = steered(key)
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("hello")
    await visit.told(1)
    room = await visit.room()
    users = await service.db.pool.fetchval("SELECT count(*) FROM site_user")
    for claim in ("{user_id: '42', hash: 'f'.repeat(64)}", "{}", "{jwt: 'a.b.c'}", "{user_id: 'x'.repeat(10240)}"):
        before = await visit.page.evaluate("heard.length")
        await visit.page.evaluate(f"mathia('identify', {claim})")
        await expect_heard(visit, before + 1)
        await visit.online()
    assert set(await visit.page.evaluate("heard")) == {"identity"}
    await visit.write("still me")
    await visit.told(2)
    assert await visit.room() == room
    assert await service.db.pool.fetchval("SELECT count(*) FROM site_user") == users


async def expect_heard(visit: Visit, count: int) -> None:
    await visit.page.wait_for_function("(count) => heard.length >= count", arg=count)


async def test_listeners_are_taken_off_and_wrong_calls_say_so(visit: Visit, service: Service) -> None:
    service.script = "window.mathia = function () { (mathia.q = mathia.q || []).push(arguments) }"
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.page.evaluate("window.heard = []; window.hear = (unread) => heard.push(unread); 0")
    await visit.page.evaluate("mathia('on', 'unread', hear)")
    await visit.page.evaluate("mathia('close')")
    assert await visit.page.evaluate("heard") == [0]
    await visit.page.evaluate("mathia('off', 'unread', hear); mathia('open')")
    assert await visit.page.evaluate("heard") == [0]
    for call in ("mathia('fly')", "mathia('on', 'fly', hear)"):
        said = await visit.page.evaluate(f"(() => {{ try {{ {call} }} catch (error) {{ return `${{error}}` }} }})()")
        assert said.startswith("TypeError")


async def test_older_messages_come_as_one_scrolls_up(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("the very first")
    await visit.told(1)
    room = await visit.room()
    for number in range(70):
        await service.say(room, f"line {number} " + "and more " * 12)
    await visit.page.reload()
    await visit.open()
    await expect(visit.bubbles).to_have_count(50, timeout=LIMIT_MS)
    log = visit.page.get_by_role("log")
    await log.evaluate("(log) => { log.scrollTop = 0 }")
    await expect(visit.bubbles).to_have_count(72, timeout=LIMIT_MS)
    assert [text.split(" and more")[0] for text in await visit.said()] == [
        text.split(" and more")[0] for text in await service.texts(room)
    ]
    assert await log.evaluate("(log) => log.scrollTop") > 0
    await expect(visit.page.locator("mathia-chat .day")).to_have_count(1)
    await clean(visit.page)


@pytest.mark.parametrize("visit", [LOOKS[2]], indirect=True, ids=str)
async def test_a_message_is_answered_by_swiping_it(visit: Visit, service: Service) -> None:
    await visit.page.goto(service.shop)
    await visit.open()
    await visit.write("thanks")
    await visit.told(1)
    await visit.bubbles.nth(1).evaluate(
        """(bubble) => {
            const touch = (x) => new Touch({identifier: 1, target: bubble, clientX: x, clientY: 300})
            const told = (type, x) =>
                new TouchEvent(type, {touches: [touch(x)], changedTouches: [touch(x)], bubbles: true})
            bubble.dispatchEvent(told('touchstart', 40))
            bubble.dispatchEvent(told('touchend', 140))
        }"""
    )
    await expect(visit.page.get_by_role("button", name="Cancel reply")).to_be_visible()


@pytest.mark.parametrize("visit", [LOOKS[0], LOOKS[3]], indirect=True, ids=str)
async def test_the_owner_sets_a_site_up_with_a_live_preview(visit: Visit, service: Service) -> None:
    page = visit.page
    await page.goto(service.url + await new_sign_in_link(service.db))
    await page.get_by_role("button", name="Sign in").click()
    await page.goto(f"{service.url}/admin/widget?site=new")
    preview = page.locator("mathia-chat .launch")
    await page.get_by_label("Name, for you").fill("Blog")
    await page.get_by_label("Title, for visitors").fill("Jua")
    await page.get_by_label("Colour").fill("#ffd54a")
    await expect(preview).to_have_css("background-color", "rgb(255, 213, 74)")
    await expect(preview).to_have_css("color", "rgb(0, 0, 0)")
    await expect(page.locator("#colour-help")).to_contain_text("Text on it is black")
    await expect(page.get_by_text("Hello. I am Jua, an assistant.")).to_be_visible()
    await page.get_by_label("Greeting, English").fill("Welcome to the blog.")
    await expect(page.locator("mathia-chat .empty")).to_contain_text("Welcome to the blog.")
    await page.get_by_label("Pages that may embed it").fill("HTTPS://Blog.Example:443/")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_label("Pages that may embed it")).to_have_value("https://blog.example")
    key = page.url.rpartition("site=")[2]
    assert f"{{site: '{key}'}}" in await page.get_by_label("Lines to paste").inner_text()
    await page.get_by_role("button", name="Make a new secret").click()
    secret = await page.get_by_label("Identity secret").inner_text()
    await expect(preview).to_have_css("background-color", "rgb(255, 213, 74)")
    assert await sites.identity_secrets(service.db, key, datetime.now(UTC)) == [secret]
    assert await page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    await clean(page)
    await page.goto(f"{service.url}/admin/widget?site={key}")
    await expect(page.get_by_label("Identity secret")).to_have_count(0)
    assert secret not in await page.content()
    assert await service.db.pool.fetchval("SELECT count(*) FROM web_visitor WHERE site = $1", key) == 0
