"""Files of the web: taken from a visitor, shown in the chat, given back by links, and by nothing else."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import ClientResponse, FormData
from PIL import Image

from channels.web.uploads import UPLOADS_AT_ONCE
from core import rooms
from core.db import Database
from core.limits import UPLOADS
from core.rooms import Place
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX
from core.visitors import create_visitor
from tests.channels.browser import Running, Site
from tests.core.test_pictures import huge_png
from tests.core.test_sniff import office

SHOP = "https://shop.example"


@pytest.fixture
async def site(db: Database, valkey_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings.model_validate({"widget_origins": SHOP, "files_dir": str(tmp_path)})
    async with Running(settings, db, valkey_url) as running:
        yield running


@pytest.fixture
async def token(db: Database) -> str:
    return (await create_visitor(db, "default"))[1]


async def upload(
    site: Site, token: str | None, data: object, name: str = "barua.txt", query: str = "", **headers: str
) -> ClientResponse:
    said = {"X-File-Name": name, **{key.replace("_", "-"): value for key, value in headers.items()}}
    if token is not None:
        said["Authorization"] = f"Bearer {token}"
    async with site.session.post(f"{site.url}/upload-file/{query}", data=data, headers=said) as answer:
        await answer.read()
        return answer


async def code(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["error"]["code"]


async def files(site: Site) -> int:
    count: int = await site.db.pool.fetchval("SELECT count(*) FROM file")
    return count


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "green").save(out, "PNG")
    return out.getvalue()


async def test_a_file_is_sent_shown_and_taken_by_its_link(site: Site, token: str) -> None:
    answer = await upload(site, token, b"Jambo, dunia", "barua%20yangu.txt")
    assert answer.status == 201
    told = await answer.json()
    assert (told["name"], told["media_type"], told["size"]) == ("barua yangu.txt", "text/plain", 12)
    async with site.browser() as browser:
        await browser.hello(token)
        frame = await browser.send("", files=[told["id"]])
        again = await browser.send("", cid=frame["cid"], files=[told["id"]])
    [part] = frame["parts"]
    assert {key: part[key] for key in ("kind", "filename", "media_type", "size")} == {
        "kind": "media", "filename": "barua yangu.txt", "media_type": "text/plain", "size": 12,
    }  # fmt: skip
    assert (again["seq"], "ref" in part) == (frame["seq"], False)
    async with site.session.get(site.url + part["url"]) as got:
        assert await got.read() == b"Jambo, dunia"
        assert got.headers["Content-Disposition"] == "attachment; filename*=UTF-8''barua%20yangu.txt"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in got.headers["Content-Security-Policy"]
        assert "Set-Cookie" not in got.headers


async def test_a_picture_in_a_form_is_drawn_anew_and_shown(site: Site, token: str) -> None:
    form = FormData()
    form.add_field("file", png() + b"kanari", filename="picha.png", content_type="image/gif")
    answer = await upload(site, token, form)
    told = await answer.json()
    assert (answer.status, told["name"], told["width"], told["height"]) == (201, "picha.png", 30, 20)
    async with site.session.get(site.url + told["url"], headers={"Cookie": "a=b"}) as got:
        data = await got.read()
        assert got.headers["Content-Type"] == "image/png"
        assert got.headers["Content-Disposition"].startswith("inline")
    assert b"kanari" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (30, 20)


async def test_parts_of_a_file_are_given_to_players(site: Site, token: str) -> None:
    told = await (await upload(site, token, b"0123456789")).json()
    asked = {"bytes=2-4": b"234", "bytes=7-": b"789", "bytes=-2": b"89", "bytes=0-99": b"0123456789"}
    for header, expected in asked.items():
        async with site.session.get(site.url + told["url"], headers={"Range": header}) as got:
            assert (got.status, await got.read()) == (206, expected)
    async with site.session.get(site.url + told["url"], headers={"Range": "bytes=10-"}) as got:
        assert (got.status, got.headers["Content-Range"]) == (416, "bytes */10")
    for header in ("bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b"):
        async with site.session.get(site.url + told["url"], headers={"Range": header}) as got:
            assert (got.status, await got.read()) == (200, b"0123456789")
    async with site.session.head(site.url + told["url"]) as got:
        assert (got.status, got.headers["Content-Length"]) == (200, "10")


async def test_links_cannot_be_made_up(site: Site, token: str) -> None:
    told = await (await upload(site, token, b"words")).json()
    path, _, query = told["url"].partition("?")
    for bad in (path, path + "?until=1&proof=2", path.replace("/files/", "/files/x"), f"/files/{uuid4()}?{query}"):
        async with site.session.get(site.url + bad) as got:
            assert got.status == 404
    async with site.session.get(f"{site.url}{path}?{query[:-1]}") as got:
        assert got.status == 404


async def test_nobody_else_can_send_or_use_it(site: Site, token: str) -> None:
    told = await (await upload(site, token, b"words")).json()
    _, stranger = await create_visitor(site.db, "default")
    async with site.browser() as browser:
        await browser.hello(stranger)
        for files in ([told["id"]], [str(uuid4())], ["../x"], [1], [told["id"]] * 11):
            frame = {"type": "send", "cid": "c", "text": "", "files": files}
            assert await browser.refused(frame) in ("files", "bad_frame")
    assert await site.db.pool.fetchval("SELECT count(*) FROM message") == 0
    for wrong in (None, "", "x" * 43, "x" * 300):
        assert await code(await upload(site, wrong, b"words")) == (401, "token")


async def test_a_file_for_a_room_is_for_its_members(site: Site, token: str) -> None:
    visitor, owner = await create_visitor(site.db, "default")
    async with site.db.transaction() as session:
        made = await rooms.create(session, Place("default", visitor.id), "Ofisi", "Amina", now=datetime.now(UTC))
    room = f"?room={made}"
    assert await code(await upload(site, token, b"words", query=room)) == (404, "room")
    assert await code(await upload(site, token, b"words", query="?room=nonsense")) == (404, "room")
    told = await (await upload(site, owner, b"words", query=room)).json()
    async with site.browser() as browser:
        await browser.hello(owner)
        assert await browser.refused({"type": "send", "cid": "c", "text": "", "files": [told["id"]]}) == "files"
    async with site.browser() as browser:
        await browser.hello(owner, room=str(made))
        assert (await browser.send("", files=[told["id"]]))["parts"][0]["filename"] == "barua.txt"


async def test_pages_of_other_sites_may_send_where_they_may_chat(site: Site, token: str) -> None:
    answer = await upload(site, token, b"words", Origin=SHOP)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (201, SHOP)
    answer = await upload(site, token, b"words", Origin="https://evil.example")
    assert await code(answer) == (403, "origin")
    assert "Access-Control-Allow-Origin" not in answer.headers
    async with site.session.options(f"{site.url}/upload-file/", headers={"Origin": SHOP}) as got:
        assert "Authorization" in got.headers["Access-Control-Allow-Headers"]
        assert got.headers["Access-Control-Allow-Origin"] == SHOP


async def test_what_is_no_good_is_refused_and_leaves_nothing(site: Site, token: str) -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    for data, expected in (
        (b"", (422, "empty")),
        (svg, (422, "type")),
        (png()[:40], (422, "picture")),
        (b"%PDF-1.4" + b"PK\x05\x06" + bytes(18), (422, "hidden")),
        (huge_png(13_000), (422, "pixels")),
        (office("xl", xl__b_dot_xml=bytes(2 * 1024 * 1024)), (422, "bomb")),
    ):
        assert await code(await upload(site, token, data, "photo.png", Content_Type="image/png")) == expected
    for form in (FormData({"other": "x"}), FormData({"file": "no file name but text"})):
        form.add_field("x", b"y", filename="z")
        answer = await upload(site, token, form)
        assert answer.status in (201, 400)
    answer = await upload(site, token, b"--x\r\nnot a form", Content_Type="multipart/form-data; boundary=y")
    assert await code(answer) == (400, "form")
    answer = await upload(site, token, b"x", Content_Type="multipart/form-data")
    assert await code(answer) == (400, "form")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("..%2F..%2Fetc%2Fpasswd", "passwd.txt"), ("a%00b%0D%0AX-Evil:%201.txt", "abX-Evil_ 1.txt"),
        ("%E2%80%AEtxt.exe", "txt.exe.txt"), ("%FF%FE", "\ufffd\ufffd.txt"), ("C:%5Cboot.ini", "boot.ini.txt"),
    ],
)  # fmt: skip
async def test_a_name_that_leads_elsewhere_is_only_a_name(site: Site, token: str, said: str, kept: str) -> None:
    answer = await upload(site, token, b"words", X_File_Name=said)
    made = await answer.json()
    assert (answer.status, made["name"]) == (201, kept)
    async with site.session.get(site.url + made["url"]) as got:
        assert (got.status, await got.read()) == (200, b"words")
        assert "X-Evil" not in got.headers


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1_000_000


async def test_an_endless_file_is_cut_off(site: Site, token: str) -> None:
    try:
        answer = await upload(site, token, endless())
    except OSError:
        pass  # The connection ended before everything was sent, which was the point.
    else:
        assert await code(answer) == (413, "too_large")
    answer = await upload(site, token, io.BytesIO(bytes(FILE_BYTES_MAX + 20_000)))
    assert answer.status == 413
    assert await files(site) == 0


async def test_one_sends_so_many_a_day(site: Site, token: str) -> None:
    for _ in range(UPLOADS.count):
        assert (await upload(site, token, b"words")).status == 201
    assert await code(await upload(site, token, b"words")) == (429, "limit")
    assert await files(site) == UPLOADS.count


async def test_one_sends_so_much_a_day(site: Site, token: str) -> None:
    assert (await upload(site, token, b"words")).status == 201
    await site.db.pool.execute("UPDATE file SET size = 500 * 1024 * 1024 - 3")
    assert await code(await upload(site, token, b"words")) == (429, "limit")
    await site.db.pool.execute("UPDATE file SET created_at = created_at - interval '25 hours'")
    assert (await upload(site, token, b"words")).status == 201


async def test_many_at_once_wait_for_one_another(site: Site, token: str) -> None:
    answers = await asyncio.gather(*(upload(site, token, b"words") for _ in range(3 * UPLOADS_AT_ONCE)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {201, 503}
    assert statuses.count(201) >= UPLOADS_AT_ONCE
    assert await files(site) == statuses.count(201)
