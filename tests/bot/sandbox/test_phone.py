"""The phone: its page in a real browser, wide and narrow, and its API directly and through an application."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx
import pytest
from aiohttp import web
from playwright.async_api import Page

from bot.sandbox import phone
from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, BOT_TOKEN, WHATSAPP_FROM
from bot.sandbox.voices import words_in
from tests.bot.sandbox.conftest import NO_TLS, App, Lab, Simulators, listening
from tests.browser import CHROMIUM, started, violations
from tests.waiting import until

MESSAGES = f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
BRIAN = 7000001
LIMIT_MS = 10_000


@pytest.fixture
async def mounted(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """An application that passes /sandbox on to the simulators."""
    served = web.Application()
    phone.mount(served, lab.url)
    runner = web.AppRunner(served, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10, verify=NO_TLS) as client:
        yield client
    await runner.cleanup()


@pytest.fixture
async def page(request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A page in Chromium, as wide as asked (else 360 px, dark); whatever it complains about fails the test."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt install chromium")
    width, name = getattr(request, "param", (360, "dark"))
    complaints: list[str] = []
    async with started() as browser:
        scheme: Literal["light", "dark"] = "light" if name == "light" else "dark"
        made = await browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
        made.set_default_timeout(LIMIT_MS)
        made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        made.on("pageerror", lambda error: complaints.append(str(error)))
        yield made
    assert [text for text in complaints if "ERR_" not in text and "status of 502" not in text] == []


async def reply(lab: Lab, text: str) -> None:
    """Mathia answers Amina."""
    form = {"To": "whatsapp:+254712345678", "From": WHATSAPP_FROM, "Body": text}
    sent = await lab.http.post(MESSAGES, data=form, auth=httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN))
    assert sent.status_code == 201


@pytest.mark.parametrize("page", [(1280, "light"), (360, "dark")], ids=["1280 light", "360 dark"], indirect=True)
async def test_the_page_chats_as_both_people_and_is_clean(lab: Lab, app: App, page: Page) -> None:
    await page.goto(f"{lab.url}/sandbox")
    await page.get_by_text("You are Amina on WhatsApp").wait_for()
    await page.get_by_label("Message", exact=True).fill("weather in Nairobi?")
    await page.keyboard.press("Enter")
    await app.wait_for(1)
    await page.locator(".me .meta use[href='#i-ticks']").wait_for()
    await reply(lab, "22 °C and clear <b>today</b>")
    await page.get_by_text("22 °C and clear <b>today</b>", exact=True).wait_for()
    await page.get_by_role("button", name="Send my location").click()
    await page.get_by_role("button", name="Send a picture").click()
    await app.wait_for(3)
    await page.get_by_role("button", name="Brian Telegram").click()
    await page.get_by_text("You are Brian on Telegram").wait_for()
    keys = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]]}
    body = {"chat_id": BRIAN, "text": "Shall I?", "reply_markup": keys}
    await lab.http.post(f"/telegram/bot{BOT_TOKEN}/sendChatAction", json={"chat_id": BRIAN, "action": "typing"})
    await page.get_by_text("Mathia is typing").wait_for(state="attached")
    await lab.http.post(f"/telegram/bot{BOT_TOKEN}/sendMessage", json=body)
    await page.get_by_role("button", name="Yes", exact=True).click()
    updates = await lab.http.get(f"/telegram/bot{BOT_TOKEN}/getUpdates?timeout=5")
    assert updates.json()["result"][0]["callback_query"]["data"] == "y"
    assert await violations(page) == []
    sideways, small = await page.evaluate(
        """() => [document.documentElement.scrollWidth > innerWidth,
            [...document.querySelectorAll('button, select, input, textarea, summary, #logs a')]
              .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44).length]"""
    )
    assert (sideways, small) == (False, 0)


async def test_what_is_written_can_be_sent_as_a_voice_note_on_either_phone(lab: Lab, app: App, page: Page) -> None:
    await page.goto(f"{lab.url}/sandbox")
    await page.get_by_text("You are Amina on WhatsApp").wait_for()
    await page.get_by_label("Message", exact=True).fill("remind me to stretch")
    await page.get_by_role("button", name="as a voice note").click()
    await page.get_by_text("Voice note: remind me to stretch").wait_for()
    await app.wait_for(1)
    await page.get_by_role("button", name="Brian Telegram").click()
    await page.get_by_label("Message", exact=True).fill("habari yako")
    await page.get_by_role("button", name="as a voice note").click()
    await page.get_by_text("Voice note: habari yako").wait_for()
    [update] = (await lab.http.get(f"/telegram/bot{BOT_TOKEN}/getUpdates?timeout=5")).json()["result"]
    voice = update["message"]["voice"]
    assert (voice["mime_type"], voice["duration"]) == ("audio/ogg", 3)
    asked = {"file_id": voice["file_id"]}
    path = (await lab.http.get(f"/telegram/bot{BOT_TOKEN}/getFile", params=asked)).json()["result"]["file_path"]
    file = await lab.http.get(f"/telegram/file/bot{BOT_TOKEN}/{path}")
    assert words_in(file.content) == "habari yako"
    assert voice["file_size"] == len(file.content)


@pytest.mark.parametrize("voice", ["", " ", 5, True, "x" * 5_000, ["hi"]])
async def test_voice_note_that_says_nothing_is_refused(lab: Lab, voice: object) -> None:
    answer = await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "voice": voice})
    assert answer.status_code == 400
    assert "voice" in answer.json()["error"]


async def test_the_page_keeps_what_is_typed_while_the_app_is_away(lab: Lab, page: Page) -> None:
    away = App()
    async with listening(away):
        port = int(away.url.rpartition(":")[2])
    await lab.http.post("/_app", json={"url": f"http://127.0.0.1:{port}"})
    await page.goto(f"{lab.url}/sandbox")
    await page.get_by_label("Message", exact=True).fill("are you there?")
    await page.keyboard.press("Enter")
    await page.get_by_text("the app is not reachable. Will deliver when it is back.").wait_for()
    async with listening(away, port):
        got = await away.wait_for(1)
        assert b"are+you+there" in got[0].body
        await page.locator(".me .meta use[href='#i-ticks']").wait_for()
        await page.locator("#notice").wait_for(state="hidden")


async def test_the_page_survives_a_restart_of_the_simulators(
    tmp_path_factory: pytest.TempPathFactory, page: Page
) -> None:
    """Typed while nobody is there at all: kept in the page, sent once when the way is open again."""
    own = Simulators(tmp_path_factory.mktemp("phone"))
    await asyncio.to_thread(own.start)
    served = web.Application()
    phone.mount(served, own.url)
    runner = web.AppRunner(served, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = int(runner.addresses[0][1])
    try:
        await page.goto(f"http://127.0.0.1:{port}/sandbox")
        await page.get_by_text("You are Amina on WhatsApp").wait_for()
        await runner.cleanup()
        await page.get_by_text("Mathia is not reachable").wait_for()
        await page.get_by_label("Message", exact=True).fill("typed in the dark")
        await page.keyboard.press("Enter")
        await page.get_by_text("waiting", exact=True).wait_for(state="attached")
        own.stop(9)
        await asyncio.to_thread(own.start)
        served = web.Application()
        phone.mount(served, own.url)
        runner = web.AppRunner(served, shutdown_timeout=5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await page.locator(".me .meta use[href='#i-tick']").wait_for()
        async with httpx.AsyncClient(base_url=own.url, trust_env=False, verify=NO_TLS) as client:
            messages = (await client.get("/sandbox/api/history")).json()["messages"]
        assert [message["text"] for message in messages] == ["typed in the dark"]
    finally:
        await runner.cleanup()
        await asyncio.to_thread(own.stop)


async def events(client: httpx.AsyncClient, count: int, headers: dict[str, str]) -> list[tuple[int, dict[str, Any]]]:
    """So many numbered events of the live stream."""
    found: list[tuple[int, dict[str, Any]]] = []
    async with client.stream("GET", "/sandbox/api/events", headers=headers) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        number = 0
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: ") and number:
                found.append((number, json.loads(line[6:])))
                number = 0
                if len(found) == count:
                    break
    return found


async def test_the_application_passes_the_phone_on_and_nothing_else(lab: Lab, mounted: httpx.AsyncClient) -> None:
    page = await mounted.get("/sandbox")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert (await mounted.get("/sandbox/phone.js")).headers["Content-Type"].startswith("text/javascript")
    sent = await mounted.post("/sandbox/api/send", json={"as": "telegram", "text": "hello"})
    assert sent.json()["text"] == "hello"
    await lab.http.get("/frankfurter/v2/rate/USD/KES")
    rows = (await mounted.get("/sandbox/truth/frankfurter", params={"since": lab.since["frankfurter"]})).json()
    assert [row["path"] for row in rows] == ["/v2/rate/USD/KES"]
    for path in (
        "/twilio/_truth",
        "/_reset",
        "/sandbox/%2e%2e/twilio/_truth",
        "/sandbox/..%2f_reset",
        "/sandbox/truth/no",
    ):
        assert (await mounted.get(path)).status_code == 404, path
    here = str(mounted.base_url).rstrip("/")
    same = await mounted.post("/sandbox/api/send", json={"as": "telegram", "text": "x"}, headers={"Origin": here})
    assert same.status_code == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        other = await mounted.post(
            "/sandbox/api/send", json={"as": "telegram", "text": "x"}, headers={"Origin": origin}
        )
        assert other.status_code == 403, origin
    assert (await mounted.post("/sandbox/api/send", content=b"x" * 70_000)).status_code == 413


async def test_events_stream_live_and_resume(lab: Lab, mounted: httpx.AsyncClient) -> None:
    start = (await mounted.get("/sandbox/api/history")).json()["last"]
    following = asyncio.create_task(events(mounted, 2, {"Last-Event-ID": str(start)}))
    await mounted.post("/sandbox/api/send", json={"as": "telegram", "text": "one"})
    await mounted.post("/sandbox/api/send", json={"as": "telegram", "text": "two"})
    first = await following
    assert [row["text"] for _, row in first] == ["one", "two"]
    assert [number for number, _ in first] == [start + 1, start + 2]
    resumed = await events(mounted, 1, {"Last-Event-ID": str(start + 1)})
    assert resumed == first[1:]


async def test_the_same_client_id_is_the_same_message(lab: Lab) -> None:
    body = {"as": "whatsapp", "text": "once", "cid": "abc"}
    first, second = [(await lab.http.post("/sandbox/api/send", json=body)).json()["id"] for _ in range(2)]
    assert first == second
    assert len((await lab.http.get("/sandbox/api/history")).json()["messages"]) == 1


async def test_other_people_can_have_a_phone(lab: Lab, app: App) -> None:
    body = {"as": "whatsapp", "from": "+254700111222", "name": "Zawadi", "text": "hi"}
    assert (await lab.http.post("/sandbox/api/send", json=body)).status_code == 200
    assert b"From=whatsapp%3A%2B254700111222" in (await app.wait_for(1))[0].body

    async def delivered() -> bool:
        shown = (await lab.http.get("/sandbox/api/history?as=whatsapp&person=%2B254700111222")).json()["messages"]
        return [message["status"] for message in shown] == ["delivered"]

    await until(delivered, 5, "the tick")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"as": "sms", "text": "x"}, "whatsapp"),
        ({"as": "whatsapp"}, "Write a text"),
        ({"as": "whatsapp", "text": "x" * 4097}, "4096"),
        ({"as": "whatsapp", "text": 5}, "text"),
        ({"as": "whatsapp", "location": {"latitude": 91, "longitude": 0}}, "location"),
        ({"as": "whatsapp", "location": {"latitude": True, "longitude": 0}}, "location"),
        ({"as": "whatsapp", "text": "x", "from": "Amina"}, "from"),
        ({"as": "telegram", "text": "x", "from": "-5"}, "from"),
        ({"as": "telegram", "text": "x", "cid": "c" * 200}, "cid"),
        ([], "JSON object"),
    ],
)
async def test_wrong_messages_are_refused_with_a_sentence(lab: Lab, body: object, words: str) -> None:
    answer = await lab.http.post("/sandbox/api/send", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("text", ['"\\ud800"', "9" * 5000, "[" * 100_000, '"\\u0000'])
async def test_nonsense_never_breaks_the_phone(lab: Lab, text: str) -> None:
    body = f'{{"as":"whatsapp","text":{text}}}'
    answer = await lab.http.post(
        "/sandbox/api/send", content=body[:60_000], headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert (await lab.http.post("/sandbox/api/send", content=b"as=whatsapp")).status_code == 415
