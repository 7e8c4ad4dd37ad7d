"""Sockets of a visitor who is erased: told so, sent away, and somebody new afterwards."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from core import erasure, rooms
from core.db import Database
from core.rooms import Place
from core.settings import Settings
from tests.channels.browser import Running, Site
from tests.core.erased import left, rows


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(Settings(_env_file=None), db, valkey_url) as running:
        yield running


async def erase(site: Site, visitor: str) -> None:
    """Erase whoever is this visitor."""
    person = await site.db.pool.fetchval("SELECT person_id FROM identity WHERE provider_id = $1", visitor)
    erased = await erasure.begin(site.db, person, asked_by="staff:owner", last_word_to=None)
    await erasure.remove(site.db, erased)


async def test_open_pages_are_told_and_begin_anew(site: Site) -> None:
    async with site.browser() as page, site.browser() as tab, site.browser() as other:
        welcome = await page.hello()
        await page.send("canaryword")
        await tab.hello(welcome["token"])
        await other.hello()
        await other.send("hello")
        await erase(site, welcome["conversation"])
        for one in (page, tab):
            assert (await one.hear("error"))["code"] == "erased"
            assert (await one.socket.receive()).data == 4401
        assert (await other.send("still here"))["type"] == "msg"
    async with site.browser() as page:
        assert (await page.hello(welcome["token"]))["code"] == "token"
        again = await page.hello()
        assert (again["type"], again["seq"]) == ("welcome", 0)
        assert again["conversation"] != welcome["conversation"]
        await page.send("hello again")
    assert await left(site.db, ["canaryword", welcome["conversation"]]) == []


async def test_message_that_is_sent_meanwhile_is_refused_and_kept_nowhere(db: Database, valkey_url: str) -> None:
    async with Running(Settings(_env_file=None), db, valkey_url, listening=False) as deaf, deaf.browser() as page:
        welcome = await page.hello()
        await page.send("hello")
        await erase(deaf, welcome["conversation"])
        refused = await page.send("canaryword")
        assert (refused["type"], refused["code"]) == ("error", "token")
        await page.say({"type": "edit", "cid": "e1", "seq": 1, "text": "canaryword"})
        assert (await page.hear("error"))["cid"] == "e1"
        assert await left(db, ["canaryword", welcome["conversation"]]) == []


async def test_upload_with_their_token_is_refused(site: Site) -> None:
    async with site.browser() as page:
        welcome = await page.hello()
        await page.send("hello")
        await erase(site, welcome["conversation"])
    headers = {"Authorization": f"Bearer {welcome['token']}", "X-File-Name": "canaryword.txt"}
    async with site.session.post(f"{site.url}/upload-file/", data=b"hello", headers=headers) as answer:
        assert answer.status == 401, orjson.loads(await answer.read())
    assert await rows(site.db, "file") == []


async def test_shared_room_goes_on_without_them(site: Site) -> None:
    async with site.browser() as one, site.browser() as two:
        names = {}
        for page, name in ((one, "Canaryname"), (two, "Baraka")):
            names[name] = await page.hello()
            await page.send("hello")
        mine, yours = (Place("default", UUID(welcome["conversation"])) for welcome in names.values())
    async with site.db.transaction() as session:
        now = datetime.now(UTC)
        room = await rooms.create(session, mine, "Plans", "Canaryname", now=now)
        link = await rooms.invite(
            session, mine, room, address=None, mailbox=None, base_url="http://here", language="en", now=now
        )
    async with site.db.transaction() as session:
        await rooms.accept(session, yours, link.rpartition("/")[2], "Baraka", now=now)
    async with site.browser() as one, site.browser() as two:
        await one.hello(names["Canaryname"]["token"], room=str(room))
        await two.hello(names["Baraka"]["token"], room=str(room))
        sent = await one.send("canaryword")
        assert (await two.hear("msg"))["seq"] == sent["seq"]
        lunch = (await two.send("lunch?"))["seq"]
        await one.say({"type": "react", "cid": "r", "seq": lunch, "emoji": "👍"})
        assert [one["names"] for one in (await two.hear("reactions"))["reactions"]] == [["Canaryname"]]
        await erase(site, str(mine.visitor))
        assert (await two.hear("reactions"))["reactions"] == []
        assert (await two.hear("delete"))["seq"] == sent["seq"]
        assert (await two.send("are you there?"))["type"] == "msg"
    async with site.browser() as two:
        await two.hello(names["Baraka"]["token"], room=str(room))
        told = [await two.hear("msg") for _ in range(3)]
        assert [one["parts"] for one in told[:2]] == [[], [{"kind": "text", "text": "lunch?"}]]
        assert not any("reactions" in one for one in told)
    assert await left(site.db, ["canaryword", "Canaryname", str(mine.visitor)]) == []
