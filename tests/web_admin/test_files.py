"""Files in a conversation as staff see them, and files that staff send."""

import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import FormData
from PIL import Image

from core.db import Database
from core.files import Files, lost
from core.messages import Media, Part, Voice
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX
from core.storage import Storage
from tests.said import messages
from tests.web_admin.rows import Caller, say
from tests.web_admin.site import Answer, Browser, Site, running
from tests.web_admin.test_desk import nonce_of

AMINA = Caller("Amina")


def picture(mode: str = "jpeg") -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(drawn, mode)
    return drawn.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, files_dir=str(tmp_path / "files"))


@pytest.fixture
async def site(db: Database, valkey_url: str, settings: Settings) -> AsyncIterator[Site]:
    async with running(db, valkey_url, settings) as found:
        yield found


@pytest.fixture
def files(db: Database, settings: Settings) -> Files:
    return Files(db, Storage(settings))


async def attach(
    browser: Browser,
    conversation: UUID,
    name: str,
    data: bytes,
    words: str = "",
    *,
    act: str = "send",
    nonce: str | None = None,
    csrf: str | None = None,
    first: str = "csrf",
) -> Answer:
    """Send the composer's form, as a browser does, with a file chosen."""
    path = f"/admin/conversations/{conversation}"
    page = await browser.get(path)
    fields = {
        "csrf": csrf if csrf is not None else await browser.csrf(),
        "nonce": nonce or nonce_of(page),
        "text": words,
        "act": act,
    }
    form = FormData(quote_fields=False)
    if first == "file":
        form.add_field("file", io.BytesIO(data), filename=name, content_type="application/octet-stream")
    for field, value in fields.items():
        form.add_field(field, value)
    if first != "file":
        form.add_field("file", io.BytesIO(data), filename=name, content_type="application/octet-stream")
    async with browser.session.post(
        f"{browser.url}{path}/messages", data=form, headers=browser.form_headers, allow_redirects=False
    ) as response:
        return Answer(response.status, response.headers.copy(), await response.text())


async def out(site: Site, conversation: UUID) -> list[dict[str, object]]:
    rows = await messages(site.db, "WHERE m.conversation_id = $1 AND m.direction = 'out' ORDER BY m.seq", conversation)
    return [part for row in rows for part in row["parts"]]


async def kept(site: Site) -> list[tuple[str, str]]:
    rows = await site.db.pool.fetch("SELECT state, media_type FROM file ORDER BY created_at")
    return [(row["state"], row["media_type"]) for row in rows]


async def test_a_file_goes_out_with_its_words(site: Site, owner: Browser, files: Files) -> None:
    conversation, _ = await say(site.db, AMINA, "do you have a picture?")
    answer = await attach(owner, conversation, "../kiosk.png", picture(), "Our kiosk")
    assert answer.status == 303, answer.text
    [part] = await out(site, conversation)
    assert part["kind"] == "media"
    # It is a JPEG whatever its name says, and drawn anew as one.
    assert (part["media_type"], part["filename"], part["caption"]) == ("image/jpeg", "kiosk.png.jpg", "Our kiosk")
    assert (part["width"], part["height"]) == (640, 480)
    [file] = await files.find([UUID(str(part["ref"]).removeprefix("file:"))])
    assert (file.conversation_id, file.identity_id) == (conversation, None)
    data = await files.read(file)
    assert len(data) == part["size"]
    assert data != picture()
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert re.search(rf'<img src="/files/{file.id}\?until=[0-9]+&amp;proof=[0-9a-f]+" alt="Our kiosk"', page)
    assert "Our kiosk" in page
    assert "You have this conversation" in page


async def test_a_file_alone_is_enough_and_a_form_sent_twice_sends_one(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "the price list, please")
    nonce = uuid4().hex
    for _ in range(2):
        answer = await attach(owner, conversation, "bei.csv", b"kitu,bei\nsukari,200\n", nonce=nonce)
        assert answer.status == 303, answer.text
    [part] = await out(site, conversation)
    assert (part["media_type"], part["filename"], part["caption"]) == ("text/csv", "bei.csv", None)
    assert await kept(site) == [("kept", "text/csv"), ("deleted", "text/csv")]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("run.exe", b"MZ" + bytes(600), "Files of this type are not taken"),
        ("page.html", b"<!doctype html><script>1</script>", "Files of this type are not taken"),
        ("broken.png", picture("png")[:200], "The picture is damaged"),
    ],
)
async def test_a_file_that_is_not_taken_says_why_and_nothing_is_done(
    site: Site, owner: Browser, name: str, data: bytes, why: str
) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    answer = await attach(owner, conversation, name, data, "Here")
    assert answer.status == 400
    assert why in answer.text
    assert await out(site, conversation) == []
    assert await kept(site) == []


async def test_a_file_with_nothing_in_it_is_no_file(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    answer = await attach(owner, conversation, "", b"", "Just words")
    assert answer.status == 303, answer.text
    assert [part["kind"] for part in await out(site, conversation)] == ["text"]
    empty = await attach(owner, conversation, "", b"", "")
    assert empty.status == 400
    assert "Write something first, or choose a file" in empty.text


async def test_a_note_takes_no_file(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    answer = await attach(owner, conversation, "a.csv", b"a,b\n", "remember", act="note")
    assert answer.status == 400
    assert "A note holds words only" in answer.text
    assert await kept(site) == []


async def test_what_is_too_large_is_refused_before_it_is_read(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    answer = await attach(owner, conversation, "a.bin", bytes(FILE_BYTES_MAX + 100_000))
    assert answer.status == 413
    assert "a file 50 MB" in answer.text
    assert await kept(site) == []


@pytest.mark.parametrize(("csrf", "first"), [("", "csrf"), ("0" * 64, "csrf"), (None, "file")])
async def test_a_form_without_its_token_first_sends_nothing(
    site: Site, owner: Browser, csrf: str | None, first: str
) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    answer = await attach(owner, conversation, "a.csv", b"a,b\n", "Here", csrf=csrf, first=first)
    assert answer.status == 403
    assert "This form is too old" in answer.text
    assert await out(site, conversation) == []
    assert await kept(site) == []


async def test_no_other_form_takes_a_file(site: Site, owner: Browser) -> None:
    form = FormData(quote_fields=False)
    form.add_field("csrf", await owner.csrf())
    form.add_field("text", "hello", filename="a.txt")
    async with owner.session.post(f"{owner.url}/admin/replies", data=form, headers=owner.form_headers) as response:
        assert response.status == 403


async def test_a_file_for_a_conversation_that_is_not_there_is_not_kept(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "hello")
    form = FormData(quote_fields=False)
    for name, value in {"csrf": await owner.csrf(), "nonce": uuid4().hex, "text": "", "act": "send"}.items():
        form.add_field(name, value)
    form.add_field("file", b"a,b\n", filename="a.csv")
    path = f"{owner.url}/admin/conversations/{uuid4()}/messages"
    async with owner.session.post(path, data=form, headers=owner.form_headers) as response:
        assert response.status == 404
    assert await kept(site) == []


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("refused", "it is of a type that is not taken"),
        ("large", "it is larger than 50 MB"),
        ("gone", "the provider no longer had it"),
        ("away", "the provider did not give it out"),
        ("quota", "they had sent more than 500 MB within a day"),
    ],
)
async def test_a_file_that_never_came_is_explained(site: Site, owner: Browser, why: str, words: str) -> None:
    parts: tuple[Part, ...] = (
        Media(media_type="application/pdf", ref=lost(why), filename="ankara.pdf", caption="Ankara"),
        Voice(media_type="audio/ogg", ref=lost(why)),
    )
    conversation, _ = await say(site.db, AMINA, *parts)
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert page.count(words) == 2
    assert "ankara.pdf" in page
    assert "/files/" not in page


async def test_every_kind_of_file_is_shown_as_what_it_is(site: Site, owner: Browser, files: Files) -> None:
    conversation, _ = await say(site.db, AMINA, "hello")
    shown = {
        "video/mp4": "<video ", "audio/mpeg": "<audio ", "application/pdf": ">invoice &lt;17&gt;<",
    }  # fmt: skip
    parts: list[Part] = []
    for media_type in shown:
        file = await files.put(conversation, b"x" * 2_000, name="invoice <17>", media_type=media_type)
        parts.append(Media(media_type=media_type, ref=file.ref, filename=file.name, size=file.size))
    note = await files.put(conversation, b"OggS", name="voice.ogg", media_type="audio/ogg")
    parts.append(Voice(media_type="audio/ogg", ref=note.ref, size=4, duration_s=3, transcript="Kesho saa tatu."))
    parts.append(Media(media_type="image/png", ref="AgACAgQ-at-the-provider", filename="later.png"))
    await say(site.db, AMINA, *parts)
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert all(mark in page for mark in shown.values())
    assert page.count("<audio ") == 2
    assert "Kesho saa tatu." in page
    assert "it is being fetched" in page
    assert "2 KB" in page
