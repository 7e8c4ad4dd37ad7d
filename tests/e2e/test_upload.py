"""Files sent from the page, in Chromium: chosen, dropped or pasted, seen before they go, shown when they are there."""

from io import BytesIO

import pytest
from PIL import Image
from playwright.async_api import Browser, FilePayload, Page, Route, expect

from tests.browser import violations
from tests.e2e.test_voice_note import Service, chromium, page, service

__all__ = ["chromium", "page", "service"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

CHOOSE = "mathia-chat input[type=file]"
GIVE = """([how, name, type, text]) => {
  const data = new DataTransfer()
  data.items.add(new File([text], name, { type }))
  const chat = document.querySelector('mathia-chat').shadowRoot
  const event = how === 'drop'
    ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })
  chat.querySelector(how === 'drop' ? '.panel' : 'textarea').dispatchEvent(event)
}"""


def picture() -> bytes:
    drawn = BytesIO()
    Image.new("RGB", (1200, 900), "teal").save(drawn, "jpeg")
    return drawn.getvalue()


async def open_chat(page: Page, service: Service) -> None:
    await page.goto(f"{service.url}/chat")
    await expect(page.get_by_role("status").first).to_have_text("Online")


async def test_files_are_seen_before_they_go_and_shown_when_they_are_there(page: Page, service: Service) -> None:
    await open_chat(page, service)
    send = page.get_by_role("button", name="Send", exact=True)
    await expect(send).to_be_disabled()
    await page.set_input_files(
        CHOOSE,
        [
            FilePayload(name="nyumba.jpg", mimeType="image/jpeg", buffer=picture()),
            FilePayload(name="orodha ya bei.csv", mimeType="text/csv", buffer=b"kitu,bei\nsukari,200\n" * 200),
        ],
    )
    await expect(page.locator("mathia-chat .tray li")).to_have_count(2)
    assert await page.locator("mathia-chat .tray img").evaluate("(img) => img.decode().then(() => img.naturalWidth)")
    await expect(send).to_be_enabled()
    assert await violations(page) == []
    await page.get_by_label("Write a message").fill("Hizi hapa")
    await send.click()
    await expect(page.locator("mathia-chat .tray li")).to_have_count(0)
    bubble = page.locator("mathia-chat .group.me .row[data-seq] .bubble")
    await expect(bubble).to_contain_text("Hizi hapa")
    await expect(bubble).to_contain_text("orodha ya bei.csv")
    await expect(bubble).to_contain_text("4 kB")
    shown = bubble.locator("img")
    assert await shown.evaluate("(img) => img.decode().then(() => [img.naturalWidth, img.width / img.height])") == [
        1200,
        pytest.approx(4 / 3, abs=0.02),
    ]
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The place is kept for the picture while it is not there.
    held: list[Route] = []
    await page.route("**/files/**", lambda route: held.append(route))
    await page.reload()
    await expect(bubble).to_contain_text("Hizi hapa")
    assert await shown.evaluate("(img) => img.getBoundingClientRect().height") > 100
    for route in held:
        await route.continue_()
    await page.unroute("**/files/**")


async def test_what_is_not_taken_says_why_and_holds_nothing_up(chromium: Browser, service: Service) -> None:
    # A page of its own: the browser itself writes every refusal into its console.
    context = await chromium.new_context(viewport={"width": 360, "height": 760}, reduced_motion="reduce")
    page = await context.new_page()
    await open_chat(page, service)
    await page.get_by_label("Write a message").fill("hii")
    send = page.get_by_role("button", name="Send", exact=True)
    disguised = FilePayload(name="a.png", mimeType="image/png", buffer=b"<!doctype html><script>alert(1)</script>")
    await page.set_input_files(CHOOSE, [disguised])
    await expect(page.locator("mathia-chat .tray .bad small")).to_contain_text("not taken")
    await expect(send).to_be_disabled()
    await page.get_by_role("button", name="Remove a.png").click()
    await expect(send).to_be_enabled()
    await send.click()
    await expect(page.locator("mathia-chat .group.me .row[data-seq] .bubble")).to_have_text("hii")
    await context.close()


@pytest.mark.parametrize("how", ["drop", "paste"])
async def test_files_are_dropped_and_pasted(page: Page, service: Service, how: str) -> None:
    await open_chat(page, service)
    await page.evaluate(GIVE, [how, "barua.txt", "text/plain", "Habari"])
    send = page.get_by_role("button", name="Send", exact=True)
    await expect(send).to_be_enabled()
    await send.click()
    await expect(page.locator("mathia-chat .group.me .row[data-seq] .bubble")).to_contain_text("barua.txt")


async def test_a_file_taken_back_on_its_way_is_not_sent(page: Page, service: Service) -> None:
    before = await service.db.pool.fetchval("SELECT count(*) FROM file")
    held: list[Route] = []
    await page.route("**/upload-file/", lambda route: held.append(route))
    await open_chat(page, service)
    await page.set_input_files(CHOOSE, [FilePayload(name="b.txt", mimeType="text/plain", buffer=b"siri")])
    await expect(page.get_by_role("progressbar", name="b.txt")).to_be_visible()
    await page.get_by_role("button", name="Remove b.txt").click()
    await expect(page.locator("mathia-chat .tray")).to_be_hidden()
    await page.get_by_label("Write a message").fill("basi")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator("mathia-chat .group.me .row[data-seq] .bubble")).to_have_text("basi")
    assert await service.db.pool.fetchval("SELECT count(*) FROM file") == before
