"""Event streams: what changes arrives once, nothing else does, and a session's end is the stream's end."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy import text

from bot.servers.postgres import Postgres
from core.messages import ChannelName
from tests.waiting import until
from tests.web_admin.rows import Caller, answer, delivered, say
from tests.web_admin.site import Browser, Event, Site, Stream
from web_admin.live import STREAMS_PER_SESSION_MAX

AMINA = Caller("Amina")


async def verbs(site: Site) -> list[str]:
    """The audit log without signing in and out, oldest first."""
    async with site.db.transaction() as session:
        return list(await session.scalars(text("SELECT verb FROM audit WHERE verb NOT LIKE 'admin.%' ORDER BY id")))


def targets(html: str) -> list[str]:
    """Which elements an event renews."""
    return re.findall(r'<hx-partial hx-target="#(\w+)"', html)


async def renewed(stream: Stream, target: str) -> Event:
    """The next event that renews an element."""
    while True:
        event = await stream.next()
        assert event, "the stream ended"
        if target in targets(event.data):
            return event


async def test_a_new_message_arrives_in_the_thread_with_its_audit_row(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "first")
    path = await owner.stream_of(f"/admin/conversations/{conversation}")
    async with owner.follow(path) as stream:
        await say(site.db, AMINA, "second")
        html = (await renewed(stream, "thread")).data
        assert html.index("first") < html.index("second")
        seq = await answer(site.db, conversation, "third")
        assert "third" in (await renewed(stream, "thread")).data
        await delivered(site.db, conversation, seq, "sent", "read")
        assert "Read" in (await renewed(stream, "thread")).data
        assert await verbs(site) == ["conversation.opened", *["conversation.followed"] * 3]


async def test_nothing_comes_while_nothing_changes(site: Site, owner: Browser) -> None:
    """The first thing that comes is the change: had anything come before it, it would have been read first."""
    conversation, _ = await say(site.db, AMINA, "first")
    shown = {
        "/admin/": 'id="messages-today">{0}<',
        "/admin/conversations": '<td class="num col-count">{0}</td>',
        f"/admin/conversations/{conversation}": '<td class="num col-count">{0}</td>',
    }
    for page, words in shown.items():
        path = await owner.stream_of(page)
        async with owner.follow(path) as stream, owner.follow(path.partition("?")[0]) as other:
            assert await other.next(), "a browser that has nothing gets everything"
            _, seq = await say(site.db, AMINA, "change")
            event = await stream.next()
            assert event
            assert words.format(seq) in event.data or "thread" in targets(event.data)


async def test_a_browser_that_comes_back_gets_only_what_it_lacks(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "first")
    path = await owner.stream_of(f"/admin/conversations/{conversation}")
    async with owner.follow(path) as stream:
        await say(site.db, AMINA, "second")
        seen = (await renewed(stream, "thread")).id
    rows = len(await verbs(site))
    async with owner.follow(path, **{"Last-Event-ID": seen}) as stream:
        await say(site.db, Caller("Somebody else"), "elsewhere")
        again = await stream.next()
    assert again
    assert targets(again.data) == ["notice", "rows"]
    assert len(await verbs(site)) == rows


async def test_signing_out_ends_the_streams_of_that_session_alone(site: Site, owner: Browser) -> None:
    async with site.staff("amina") as other:
        async with (
            owner.follow("/admin/conversations/live") as mine,
            other.follow("/admin/conversations/live") as theirs,
        ):
            assert await mine.next()
            assert await theirs.next()
            await owner.post("/admin/sign-out", {"csrf": await owner.csrf()})
            event = await mine.next()
            assert event
            assert event.name == "signed-out"
            assert await mine.next() is None
            await say(site.db, AMINA, "still here")
            assert await theirs.next()
        refused = await owner.get("/admin/conversations/live", **{"HX-Request": "true"})
        assert refused.status == 401
        assert "<html" not in refused.text


async def test_a_session_that_ends_elsewhere_ends_the_stream(site: Site, owner: Browser) -> None:
    async with owner.follow("/admin/live") as stream:
        assert await stream.next()
        async with site.db.transaction() as session:
            await session.execute(text("DELETE FROM staff_session"))
        event = await stream.next()
        assert event
        assert event.name == "signed-out"
        assert await stream.next() is None


async def test_text_cannot_end_or_make_an_event(site: Site, owner: Browser) -> None:
    hostile = "one\r\rdata: two\r\nevent: signed-out\n\nid: x\r\revent: signed-out\rdata: three\r\r"
    conversation, _ = await say(site.db, Caller(hostile, ChannelName.WEB, hostile), hostile)
    async with owner.follow(f"/admin/conversations/{conversation}/live") as stream:
        event = await stream.next()
        assert event
        assert (event.name, event.id.count(".")) == ("message", 1)
        assert targets(event.data) == ["notice", "rows", "thread", "handoff"]
        assert event.data.rstrip().endswith("</hx-partial>")
        assert "data: two\nevent: signed-out\n\nid: x" in event.data
        await say(site.db, AMINA, "next")
        event = await stream.next()
        assert event
        assert event.name == "message"


async def test_too_many_open_pages_are_told_so(site: Site, owner: Browser) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(STREAMS_PER_SESSION_MAX):
            await stack.enter_async_context(owner.follow("/admin/live"))
        refused = await owner.get("/admin/live", **{"HX-Request": "true"})
        assert refused.status == 503
        assert "Too many pages are open" in refused.text
        async with site.staff("amina") as other, other.follow("/admin/live") as stream:
            assert await stream.next()

    async def free() -> bool:
        async with owner.session.get(f"{site.url}/admin/live") as response:
            return response.status == 200

    await until(free, what="a place for another stream, now that the others have closed")


async def test_stopping_ends_every_stream_at_once(site: Site, owner: Browser) -> None:
    async with owner.follow("/admin/live") as stream:
        assert await stream.next()
        await site.app.shutdown()
        assert await stream.next() is None


@asynccontextmanager
async def away(postgres: Postgres, database: str) -> AsyncIterator[None]:
    """PostgreSQL out of reach for new connections, and every connection to this database cut."""
    socket, hidden = postgres.run / ".s.PGSQL.5432", Path(f"{postgres.run}/hidden")
    connection = await postgres.connect()
    try:
        socket.rename(hidden)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
        yield
    finally:
        hidden.rename(socket)
        await connection.close()


async def test_a_page_outlives_the_database_being_away(
    site: Site, owner: Browser, postgres: Postgres, database: str
) -> None:
    conversation, _ = await say(site.db, AMINA, "first")
    path = await owner.stream_of(f"/admin/conversations/{conversation}")
    async with owner.follow(path) as stream:
        async with away(postgres, database):
            event = await stream.next()
            assert event
            assert "The database does not answer" in event.data
            page = await owner.get("/admin/")
            assert page.status == 503
        event = await stream.next()
        assert event
        assert targets(event.data) == ["notice", "rows", "thread", "handoff"]
        assert "The database does not answer" not in event.data


async def test_who_opens_the_overview_at_once_sees_the_same(site: Site) -> None:
    async with AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(site.staff(f"s{number}")) for number in range(8)]
        pages = await asyncio.gather(*(browser.get("/admin/") for browser in browsers))
    assert {page.status for page in pages} == {200}
    versions = {re.findall(r"/admin/live\?seen=(\w+)", page.text)[0] for page in pages}
    assert len(versions) == 1
