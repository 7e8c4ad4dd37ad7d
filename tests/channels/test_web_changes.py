"""Edited and deleted messages, as a browser learns of them: at once while it is there, and when it comes back."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from core.changes import Change, Kind
from core.db import Database
from core.messages import Address, ChannelName, Text
from core.settings import Settings
from tests.channels.browser import Running, Site

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(Settings.model_validate({}), db, valkey_url) as running:
        yield running


async def change(site: Site, room: str, kind: Kind, cid: str, text: str = "") -> None:
    author = Address(ChannelName.WEB, "default", room, room)
    number = await site.db.pool.fetchval("SELECT count(*) FROM change")
    parts = (Text(text=text),) if text else ()
    at = NOW + timedelta(seconds=number)
    await site.channel.inbox.change(Change(author, f"c{number}", kind, f"{room}:{cid}", at, parts))


async def test_a_browser_that_is_there_is_told_at_once(site: Site) -> None:
    async with site.browser() as browser:
        room = (await browser.hello())["conversation"]
        await browser.send("at 4", cid="one")
        await browser.send("never mind", cid="two")
        await change(site, room, "edit", "one", "at 5")
        parts = [{"kind": "text", "text": "at 5"}]
        assert await browser.hear("edit") == {"type": "edit", "seq": 1, "parts": parts, "change": 1}
        await change(site, room, "delete", "two")
        assert await browser.hear("delete") == {"type": "delete", "seq": 2, "change": 2}


async def test_a_browser_that_was_away_learns_how_it_ended(site: Site) -> None:
    async with site.browser() as browser:
        welcome = await browser.hello()
        room, token = welcome["conversation"], welcome["token"]
        await browser.send("at 4", cid="one")
        await browser.send("never mind", cid="two")
    await change(site, room, "edit", "one", "at 5")
    await change(site, room, "edit", "one", "at 6")
    await change(site, room, "delete", "two")
    async with site.browser() as browser:
        await browser.hello(token, since=2)
        edits = [await browser.hear("edit"), await browser.hear("edit")]
        assert [edit["parts"][0]["text"] for edit in edits] == ["at 6", "at 6"]
        assert (await browser.hear("delete"))["seq"] == 2
    async with site.browser() as browser:
        await browser.say({"type": "hello", "token": token, "since": 2, "changes": 2, "site": "default"})
        assert (await browser.hear("welcome"))["changes"] == 3
        assert (await browser.hear())["type"] == "delete"
    async with site.browser() as browser:
        assert (await browser.hello(token))["changes"] == 3
        first, second = await browser.hear("msg"), await browser.hear("msg")
        assert (first["parts"][0]["text"], first["edited"]) == ("at 6", True)
        assert (second["parts"], second["deleted"]) == ([], True)


async def test_what_the_bot_says_is_reacted_to_before_it_is_delivered_and_no_answer_comes(site: Site) -> None:
    async with site.browser() as browser:
        room = (await browser.hello())["conversation"]
        await browser.send("hello")
        await site.post(room, "Habari")
        await browser.say({"type": "react", "cid": "r", "seq": 2, "emoji": "🙏"})
        told = await browser.hear("reactions")
        assert (told["seq"], told["reactions"]) == (2, [{"emoji": "🙏", "count": 1, "mine": True, "names": []}])
        await browser.say({"type": "react", "cid": "r2", "seq": 2, "emoji": "🙏", "on": False})
        assert (await browser.hear("reactions"))["reactions"] == []
    assert await site.db.pool.fetchval("SELECT count(*) FROM turn") == 1
