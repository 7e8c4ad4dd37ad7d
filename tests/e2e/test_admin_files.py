"""A member of staff sees a person's files in the admin and sends one back, in Chromium, without a line of script."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, expect

from tests.browser import violations
from tests.e2e.test_admin import TOO_SMALL
from tests.e2e.test_upload import CHOOSE, open_chat, picture
from tests.e2e.test_voice_note import Service, chromium, page, service
from web_admin.auth import new_sign_in_link

__all__ = ["chromium", "page", "service"]
pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT_MS = 15_000


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 740)])
async def test_staff_see_files_and_send_one(
    chromium: Browser, service: Service, width: int, height: int, tmp_path: Path
) -> None:
    theirs = await chromium.new_context()
    person = await theirs.new_page()
    await open_chat(person, service)
    await person.set_input_files(
        CHOOSE,
        [
            FilePayload(name="nyumba.jpg", mimeType="image/jpeg", buffer=picture()),
            FilePayload(name="orodha.csv", mimeType="text/csv", buffer=b"kitu,bei\nsukari,200\n" * 200),
        ],
    )
    await person.get_by_label("Write a message").fill("Hizi hapa")
    await person.get_by_role("button", name="Send", exact=True).click()
    await expect(person.locator("mathia-chat .group.me .row[data-seq] .bubble")).to_contain_text("orodha.csv")

    ours = await chromium.new_context(java_script_enabled=False, viewport={"width": width, "height": height})
    staff = await ours.new_page()
    blocked: list[str] = []
    staff.on("console", lambda line: blocked.append(line.text))
    await staff.goto(service.url + await new_sign_in_link(service.db))
    await staff.get_by_role("button", name="Sign in").click()
    await staff.goto(f"{service.url}/admin/conversations")
    await staff.locator("a.open").first.click()
    thread = staff.locator("#thread")
    shown = thread.locator("a.picture img")
    await expect(shown).to_have_js_property("naturalWidth", 1200, timeout=LIMIT_MS)
    box = await shown.bounding_box()
    assert box
    assert box["width"] <= 240
    assert box["height"] <= 240
    async with staff.expect_download() as download:
        await thread.get_by_role("link", name="orodha.csv").click()
    assert (await download.value).suggested_filename == "orodha.csv"

    await staff.get_by_label("Attach a file").set_input_files(
        [FilePayload(name="mchoro.jpg", mimeType="image/jpeg", buffer=picture())]
    )
    await staff.get_by_label("Message or note").fill("Mchoro wa nyumba")
    await staff.screenshot(path=tmp_path / f"composer-{width}.png")
    await staff.get_by_role("button", name="Send", exact=True).click()
    await expect(thread.locator(".group.out a.picture img")).to_have_js_property("naturalWidth", 1200)
    await expect(thread.locator(".group.out").last).to_contain_text("Mchoro wa nyumba")
    assert blocked == []
    # Without script there is nothing to scroll with but the page itself.
    assert await staff.evaluate("document.documentElement.scrollWidth <= innerWidth")
    theirs_now = person.locator("mathia-chat .group.bot .bubble, mathia-chat .group.staff .bubble").last
    await expect(theirs_now).to_contain_text("Mchoro wa nyumba", timeout=LIMIT_MS)
    assert (
        await person.locator("mathia-chat img[alt*='mchoro'], mathia-chat .bubble img").last.evaluate(
            "(img) => img.decode().then(() => img.naturalWidth)"
        )
        == 1200
    )
    await theirs.close()

    checking = await chromium.new_context(
        viewport={"width": width, "height": height}, storage_state=await ours.storage_state()
    )
    live = await checking.new_page()
    await live.goto(staff.url)
    await expect(live.locator("#thread a.picture img").first).to_be_visible()
    assert await violations(live) == []
    in_thread = TOO_SMALL.replace("document.querySelectorAll", "document.querySelector('.detail').querySelectorAll")
    small = await live.evaluate(in_thread)
    assert width > 600 or [one for one in small if not one.startswith("Person")] == []
    await live.screenshot(path=tmp_path / f"thread-{width}.png", full_page=True)
    await checking.close()
    await ours.close()
