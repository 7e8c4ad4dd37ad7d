"""Shared rooms on the socket: everybody hears everybody at once, the bot what calls it, and nobody else anything."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from aiohttp import WSMsgType

from core import rooms
from core.db import Database
from core.rooms import Place
from core.settings import Settings
from core.visitors import create_visitor
from tests.channels.browser import Browser, Frame, Running, Site
from tests.waiting import until


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(Settings.model_validate({}), db, valkey_url) as running:
        yield running


@pytest.fixture
async def other(db: Database, valkey_url: str, site: Site) -> AsyncIterator[Site]:
    """Another web process, as far as anybody can tell."""
    async with Running(Settings.model_validate({}), db, valkey_url) as running:
        yield running


@dataclass(frozen=True)
class Guest:
    """Somebody with a token."""

    place: Place
    token: str


async def guest(db: Database) -> Guest:
    visitor, token = await create_visitor(db, "default")
    return Guest(Place("default", visitor.id), token)


async def make_room(db: Database, owner: Guest, *others: Guest) -> str:
    """A room with these people in it; its id."""
    async with db.transaction() as session:
        room = await rooms.create(session, owner.place, "Plans", "Amina", now=datetime.now(UTC))
    for number, one in enumerate(others):
        async with db.transaction() as session:
            link = await rooms.invite(
                session, owner.place, room, address=None, mailbox=None, base_url="", language="en",
                now=datetime.now(UTC),
            )  # fmt: skip
        async with db.transaction() as session:
            token = link.rpartition("/")[2]
            await rooms.accept(session, one.place, token, ("Brian", "Chao")[number], now=datetime.now(UTC))
    return str(room)


async def members(db: Database, room: str) -> dict[str, UUID]:
    """The members by name."""
    found = await rooms.rosters(db, "default", [f"room:{room}"])
    return {seat.name: seat.member for seat in found[f"room:{room}"].seats}


async def enter(stack: AsyncExitStack, site: Site, who: Guest, room: str, since: int = 0) -> Browser:
    browser = await stack.enter_async_context(site.browser())
    assert (await browser.hello(who.token, since, room))["type"] == "welcome"
    return browser


def words(frame: Frame) -> str:
    return str(frame["parts"][0]["text"])


async def test_everybody_hears_everybody_in_every_process(site: Site, other: Site, db: Database) -> None:
    amina, brian = await guest(db), await guest(db)
    room = await make_room(db, amina, brian)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(site.browser())
        welcome = await one.hello(amina.token, 0, room)
        two = await enter(stack, other, brian, room)
        assert welcome["conversation"] == f"room:{room}"
        assert welcome["room"]["title"] == "Plans"
        seats = await members(db, room)
        assert [(seat["member"], seat["name"], seat["role"]) for seat in welcome["room"]["members"]] == [
            (str(seats["Amina"]), "Amina", "owner"),
            (str(seats["Brian"]), "Brian", "member"),
        ]
        assert welcome["room"]["me"] == str(seats["Amina"])
        sent = await one.send("lunch?", cid="same")
        assert (sent["from"], sent["author"], sent["cid"]) == ("me", "Amina", "same")
        heard = await two.hear("msg")
        assert (heard["from"], heard["author"], heard["member"]) == ("member", "Amina", str(seats["Amina"]))
        assert (words(heard), heard["cid"], heard["seq"]) == ("lunch?", None, 1)
        # The same client id of somebody else, and of the same person in their own room, are other messages.
        assert (await two.send("yes", cid="same"))["seq"] == 2
        async with site.browser() as alone:
            await alone.hello(amina.token)
            assert (await alone.send("mine", cid="same"))["seq"] == 1
        assert words(await one.hear("msg")) == "yes"
        again = await one.send("other words", cid="same")
        assert (again["seq"], words(again)) == (1, "lunch?")
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 3


async def test_the_bot_is_given_what_calls_it_or_answers_it_and_nothing_else(site: Site, db: Database) -> None:
    amina = await guest(db)
    room = await make_room(db, amina)
    async with AsyncExitStack() as stack:
        browser = await enter(stack, site, amina, room)
        await browser.send("morning all")
        await browser.send("write to me@mathia.example")
        assert await db.pool.fetchval("SELECT count(*) FROM turn") == 0
        await browser.send("what is the weather, @mathia?")
        await site.post(f"room:{room}", "Where?")
        await site.deliver(f"room:{room}")
        assert (await browser.hear("msg"))["from"] == "bot"
        await browser.send("Nairobi", reply_to=4)
        await browser.send("no, Kisumu", reply_to=1)
        rows = await db.pool.fetch("SELECT seq, turn_id FROM message WHERE direction = 'in' ORDER BY seq")
        assert [row["seq"] for row in rows if row["turn_id"] is not None] == [3, 5]
        assert await browser.refused({"type": "send", "cid": "z", "text": "hm", "reply_to": 99}) == "reply_to"


async def test_who_is_not_in_a_room_finds_none(site: Site, db: Database) -> None:
    amina, stranger = await guest(db), await guest(db)
    room = await make_room(db, amina)
    errors = []
    for token, name in ((stranger.token, room), (stranger.token, str(uuid4())), (None, room), (stranger.token, "x")):
        async with site.browser() as browser:
            errors.append(await browser.hello(token, 0, name))
    assert errors == [{"type": "error", "code": "room", "message": errors[0]["message"], "retry_s": None}] * 4
    assert await db.pool.fetchval("SELECT count(*) FROM web_visitor") == 2


async def test_who_is_removed_is_sent_away_everywhere_at_once_and_hears_no_more(
    site: Site, other: Site, db: Database
) -> None:
    amina, brian = await guest(db), await guest(db)
    room = await make_room(db, amina, brian)
    async with AsyncExitStack() as stack:
        owner = await enter(stack, site, amina, room)
        sockets = [await enter(stack, where, brian, room) for where in (site, other, other)]
        seats = await members(db, room)
        async with db.transaction() as session:
            await rooms.remove(session, amina.place, UUID(room), seats["Brian"], now=datetime.now(UTC))
        await owner.say({"type": "send", "cid": "alone", "text": "now we are alone"})
        for socket in sockets:
            while (message := await socket.socket.receive(10.0)).type is WSMsgType.TEXT:
                assert "now we are alone" not in message.data
            assert (message.type, message.data) == (WSMsgType.CLOSE, 4404)
        frame = await owner.hear("room")
        assert [one["name"] for one in frame["room"]["members"]] == ["Amina"]
        async with site.browser() as browser:
            assert (await browser.hello(brian.token, 0, room))["code"] == "room"


async def test_who_is_removed_while_valkey_is_away_is_sent_away_too(db: Database) -> None:
    nowhere = "redis://127.0.0.1:1"
    async with Running(Settings.model_validate({}), db, nowhere) as site:
        amina, brian = await guest(db), await guest(db)
        room = await make_room(db, amina, brian)
        async with AsyncExitStack() as stack:
            browser = await enter(stack, site, brian, room)
            seats = await members(db, room)
            async with db.transaction() as session:
                await rooms.remove(session, amina.place, UUID(room), seats["Brian"], now=datetime.now(UTC))
            while (message := await browser.socket.receive(10.0)).type is WSMsgType.TEXT:
                pass
            assert (message.type, message.data) == (WSMsgType.CLOSE, 4404)


async def test_own_messages_are_edited_and_deleted_and_others_are_not(site: Site, db: Database) -> None:
    amina, brian = await guest(db), await guest(db)
    room = await make_room(db, amina, brian)
    async with AsyncExitStack() as stack:
        one = await enter(stack, site, amina, room)
        two = await enter(stack, site, brian, room)
        await one.send("at 4")
        await one.send("never mind")
        edit = {"type": "edit", "cid": "e1", "seq": 1, "text": "at 5"}
        assert await two.refused(edit) == "not_yours"
        assert await two.refused({"type": "delete", "cid": "d0", "seq": 9}) == "message"
        await one.say(edit)
        parts = [{"kind": "text", "text": "at 5"}]
        assert await two.hear("edit") == {"type": "edit", "seq": 1, "parts": parts, "change": 1}
        await one.say(edit)
        await one.say({"type": "delete", "cid": "d1", "seq": 2})
        assert await two.hear("delete") == {"type": "delete", "seq": 2, "change": 2}
        assert await one.refused({"type": "edit", "cid": "e2", "seq": 2, "text": "back"}) == "too_late"
        assert await one.refused({"type": "edit", "cid": "e3", "seq": 1, "text": " "}) == "empty"


async def test_since_in_the_future_starts_from_the_beginning(site: Site, db: Database) -> None:
    amina = await guest(db)
    room = await make_room(db, amina)
    async with AsyncExitStack() as stack:
        browser = await enter(stack, site, amina, room)
        for text in ("one", "two"):
            await browser.send(text)
        late = await enter(stack, site, amina, room, since=2**53 - 1)
        assert await late.hear_seqs(2) == [1, 2]


async def test_who_writes_who_reads_and_who_is_here_is_told_to_the_others(
    site: Site, other: Site, db: Database
) -> None:
    amina, brian = await guest(db), await guest(db)
    room = await make_room(db, amina, brian)
    seats = {name: str(member) for name, member in (await members(db, room)).items()}
    async with AsyncExitStack() as stack:
        one = await enter(stack, site, amina, room)
        assert (await one.hear("presence"))["here"] == [seats["Amina"]]
        async with other.browser() as two:
            await two.hello(brian.token, 0, room)
            assert (await one.hear("presence"))["here"] == sorted(seats.values())
            assert (await two.hear("presence"))["here"] == sorted(seats.values())
            for _ in range(3):
                await two.say({"type": "typing"})
            assert await one.hear("typing") == {"type": "typing", "member": seats["Brian"], "name": "Brian"}
            await one.send("hello")
            await two.hear("msg")
            await two.say({"type": "ack", "seq": 99})
            told = await one.hear()
            assert told == {"type": "read", "member": seats["Brian"], "seq": 1}
        assert (await one.hear("presence"))["here"] == [seats["Amina"]]

    async def marked() -> bool:
        [mine] = await rooms.rooms_of(db, brian.place)
        return (mine.read_seq, mine.unread) == (1, 0)

    await until(marked, what="the read mark")


async def test_a_muted_person_is_not_heard_by_the_others(site: Site, db: Database) -> None:
    amina = await guest(db)
    room = await make_room(db, amina)
    await db.pool.execute("UPDATE person SET muted_until = now() + interval '1 day'")
    async with AsyncExitStack() as stack:
        browser = await enter(stack, site, amina, room)
        assert await browser.refused({"type": "send", "cid": "m", "text": "abuse"}) == "muted"
        assert await browser.refused({"type": "react", "cid": "r", "seq": 1, "emoji": "👍"}) == "muted"


async def test_a_reaction_is_told_to_everybody_in_every_process_and_there_when_they_come_back(
    site: Site, other: Site, db: Database
) -> None:
    amina, brian, stranger = await guest(db), await guest(db), await guest(db)
    room = await make_room(db, amina, brian)

    def react(cid: str, emoji: str = "👍", **more: object) -> dict[str, object]:
        return {"type": "react", "cid": cid, "seq": 1, "emoji": emoji, **more}

    def seen(count: int, mine: bool, *names: str) -> list[dict[str, object]]:
        return [{"emoji": "👍", "count": count, "mine": mine, "names": list(names)}]

    async with AsyncExitStack() as stack:
        one, two = await enter(stack, site, amina, room), await enter(stack, other, brian, room)
        assert "reactions" not in await one.send("lunch?")
        await two.say(react("up"))
        await two.say(react("up"))
        told = {"type": "reactions", "seq": 1, "change": 1}
        assert await one.hear("reactions") == told | {"reactions": seen(1, False, "Brian")}
        assert await two.hear("reactions") == told | {"reactions": seen(1, True, "Brian")}
        await one.say(react("up"))
        assert (await two.hear("reactions"))["reactions"] == seen(2, True, "Brian", "Amina")
        await two.say(react("down", on=False))
        # What the copy of the first would have told comes first, if there was anything to tell.
        assert (await two.hear("reactions"))["reactions"] == seen(1, False, "Amina")
        assert await one.refused(react("no", "🦄")) == "emoji"
        assert await one.refused(react("nul", "\0")) == "emoji"
        assert await one.refused(react("none", "")) == "bad_frame"
        assert await one.refused(react("nine") | {"seq": 9}) == "message"
        assert await one.refused(react("far") | {"seq": 2**60}) == "bad_frame"
        alone = await stack.enter_async_context(site.browser())
        await alone.hello(stranger.token)
        assert await alone.refused(react("up")) == "message"
    async with AsyncExitStack() as stack:
        again = await stack.enter_async_context(other.browser())
        welcome = await again.hello(amina.token, 0, room)
        assert (welcome["changes"], (await again.hear("msg"))["reactions"]) == (3, seen(1, True, "Amina"))
        since = await stack.enter_async_context(other.browser())
        await since.say({"type": "hello", "token": brian.token, "since": 1, "changes": 1, "room": room})
        await since.hear("welcome")
        numbers = [(await since.hear("reactions"))["change"] for _ in range(2)]
        assert numbers == [2, 3]
        await again.say({"type": "delete", "cid": "gone", "seq": 1})
        assert (await since.hear("delete"))["seq"] == 1
        assert await since.refused(react("late")) == "too_late"
    assert await db.pool.fetchval("SELECT count(*) FROM reaction") == 0
    assert await db.pool.fetchval("SELECT count(*) FROM turn") == 0
