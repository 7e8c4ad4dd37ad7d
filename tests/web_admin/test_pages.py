"""The overview, the list and the thread: what they show, to whom, and what they never show."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import text

from core.changes import Change
from core.db import Database
from core.health import Health
from core.inbox import Inbox
from core.messages import Card, ChannelName, Choices, Contact, Fact, Location, Media, Table, Text, Voice
from core.outbox import Outbox, ProviderStatus
from core.sealed import as_message, by_identity
from core.wake import Wakes
from tests.said import mailbox
from tests.web_admin.rows import Caller, answer, delivered, move, say
from tests.web_admin.site import Answer, Browser, Site, running
from web_admin.queries import thread_state

STATIC = Path("web_admin/static")
VENDORED = {
    "vendor/htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "vendor/hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}
"""htmx.org 4.0.1 as released, 0BSD: dist/htmx.min.js and dist/ext/hx-sse.min.js."""
PRIVATE = (
    "/admin/", "/admin/live", "/admin/conversations", "/admin/conversations/live",
    f"/admin/conversations/{uuid4()}", f"/admin/conversations/{uuid4()}/live", "/admin/nothing-here", "/admin/..%2f",
)  # fmt: skip
HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=alert(2)>{{7*7}}<hx-partial hx-target="#main">'


def figure(page: Answer, name: str) -> str:
    """A number of the overview, by its id."""
    found = re.search(rf'id="{name}">([^<]*)<', page.text)
    assert found, name
    return found[1]


async def audited(db: Database) -> list[tuple[str, str, str, dict[str, object]]]:
    """The audit log without signing in and out, oldest first."""
    async with db.transaction() as session:
        rows = await session.execute(
            text("SELECT actor, verb, subject, detail FROM audit WHERE verb NOT LIKE 'admin.%' ORDER BY id")
        )
        return [tuple(row) for row in rows.all()]


# Who may in, and what every answer carries


async def test_a_stranger_is_told_how_to_get_a_link(site: Site) -> None:
    async with site.stranger() as browser:
        for path in PRIVATE:
            page = await browser.get(path)
            assert page.status == 401, path
            assert "python3 -m bot admin-link" in page.text
            assert (await browser.get(path, **{"HX-Request": "true"})).status == 401
        assert (await browser.post("/admin/sign-out", {})).status == 401


async def test_every_answer_carries_the_headers(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "hello")
    known = [
        "/admin",
        "/admin/",
        "/admin/conversations",
        f"/admin/conversations/{conversation}",
        "/admin/sign-in?token=x",
    ]
    wrong = [
        "/admin/conversations?channel=pigeon",
        f"/admin/conversations/{uuid4()}",
        "/admin/nothing",
        "/admin/static/no",
    ]
    answers = [await owner.get(path) for path in known + wrong]
    assert [found.status for found in answers] == [303, 200, 200, 200, 403, 400, 404, 404, 404]
    answers += [
        await owner.post("/admin/sign-out", {}),
        await owner.post("/admin/conversations", {"csrf": await owner.csrf()}),
    ]
    async with owner.follow(await owner.stream_of("/admin/")) as stream:
        answers.append(Answer(200, stream.response.headers.copy(), ""))
    async with site.stranger() as stranger:
        answers.append(await stranger.get("/admin/"))
    for found in answers:
        policy = found.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert found.headers["Referrer-Policy"] == "same-origin"
        assert found.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", found.text)


async def test_static_files_may_be_kept_and_are_what_was_released(site: Site) -> None:
    for name, digest in VENDORED.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest
    async with site.stranger() as browser:
        door = (await browser.get("/admin/")).text
        (address,) = re.findall(r'"(/admin/static/tokens\.css\?v=\w+)"', door)
        kept = await browser.get(address)
        assert kept.status == 200
        assert "immutable" in kept.headers["Cache-Control"]
        assert kept.headers["Content-Encoding"] == "gzip"
        plain = await browser.get("/admin/static/tokens.css")
        assert plain.headers["Cache-Control"] == "no-cache"
        same = await browser.get("/admin/static/tokens.css", **{"If-None-Match": plain.headers["ETag"]})
        assert same.status == 304
        for path in ("../app.py", "..%2fapp.py", "vendor", "", "%00", "vendor/../../auth.py"):
            assert (await browser.get(f"/admin/static/{path}")).status in (401, 404), path


async def test_when_the_database_is_away_a_page_says_so(tmp_path: Path) -> None:
    db = await Database.connect(f"postgresql://mathia_app@/mathia?host={tmp_path}")
    async with running(db, f"unix://{tmp_path}/none.sock") as site, site.stranger() as browser:
        page = await browser.get("/admin/conversations?q=x", Cookie=f"mathia_admin={'a' * 43}")
        assert page.status == 503
        assert "The database does not answer" in page.text
        assert 'href="/admin/conversations?q=x"' in page.text
    await db.close()


async def test_a_question_that_takes_too_long_is_given_up_and_said(site: Site, owner: Browser, owner_url: str) -> None:
    await say(site.db, Caller("Amina"), "x")
    connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE conversation IN ACCESS EXCLUSIVE MODE")
            page = await owner.get("/admin/conversations")
    finally:
        await connection.close()
    assert page.status == 503
    assert "too busy" in page.text
    assert (await owner.get("/admin/conversations")).status == 200


# The overview


async def test_an_empty_overview_says_what_it_is_and_the_first_step(owner: Browser) -> None:
    page = await owner.get("/admin/")
    assert page.status == 200
    assert "Nothing needs you." in page.text
    assert "No messages in the last 24 hours" in page.text
    assert 'href="/chat"' in page.text
    assert figure(page, "messages-today") == "0"


async def test_the_overview_counts_what_there_is(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "one")
    refused = await answer(site.db, conversation, "answer")
    await delivered(site.db, conversation, refused, "refused", error="No.")
    lost = await answer(site.db, conversation, "another")
    await delivered(site.db, conversation, lost, "unknown")
    await answer(site.db, conversation, "a third")
    await say(site.db, Caller("Baraka", ChannelName.TELEGRAM), "two")
    old, _ = await say(site.db, Caller("Zawadi"), "long ago")
    await move(site.db, old, [timedelta(days=3)])
    async with site.db.transaction() as session:
        await session.execute(text("UPDATE turn SET state = 'dead' WHERE conversation_id = :c"), {"c": old})
        ids = {
            "c": conversation,
            "p": await session.scalar(text("SELECT id FROM person LIMIT 1")),
            "d": uuid4(),
        }
        await session.execute(
            text(
                "INSERT INTO reminder (id, person_id, conversation_id, sealed, wall_time, zone, due_at, state,"
                " priority, key) SELECT gen_random_uuid(), :p, :c, 'x', now()::timestamp, 'UTC', now() + due, state,"
                " 'normal', 'k' || n FROM (VALUES (interval '50 min', 'active', 1), (interval '70 min', 'active', 2),"
                " (interval '5 min', 'done', 3), (interval '-1 min', 'active', 4)) AS v(due, state, n)"
            ),
            ids,
        )
        await session.execute(
            text("INSERT INTO workflow_definition (id, person_id, conversation_id) VALUES (:d, :p, :c)"),
            ids,
        )
        await session.execute(
            text(
                "INSERT INTO workflow_run (workflow_id, definition_id, state, waiting_for, finished_at) VALUES"
                " ('a', :d, 'running', NULL, NULL), ('b', :d, 'running', 'boss', NULL),"
                " ('c', :d, 'failed', NULL, now()), ('e', :d, 'failed', NULL, now() - interval '3 days')"
            ),
            ids,
        )
    site.health["valkey"] = Health(False, "refused <b>us</b>")
    page = await owner.get("/admin/")
    assert figure(page, "messages-today") == "5"
    assert "2 in · 3 out" in page.text
    assert figure(page, "turns-open") == "1"
    assert figure(page, "reminders-due") == "2"
    assert figure(page, "runs-open") == "2"
    for sentence in (
        "Valkey is not well: refused &lt;b&gt;us&lt;/b&gt;.", "1 message was refused in 24 hours.",
        "Of 1 message sent in 24 hours nobody knows", "1 question could not be answered", "1 workflow run failed",
        "1 workflow run waits for somebody", "1 for you to check",
    ):  # fmt: skip
        assert sentence in page.text, sentence
    assert "at most 5 in an hour" in page.text


# The list


async def test_the_list_shows_states_and_not_a_word_of_what_was_said(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "SECRET-IN")
    seq = await answer(
        site.db,
        conversation,
        "SECRET-OUT",
        meaning={"action": "get_weather", "slots": {"city": "SECRET-SLOT"}},
    )
    await delivered(site.db, conversation, seq, "refused", error="Twilio said no.")
    await say(site.db, Caller(None, ChannelName.WHATSAPP, "whatsapp:+254712345678"), "SECRET-IN")
    stream = await owner.stream_of("/admin/conversations")
    pages = [await owner.get(path) for path in ("/admin/", "/admin/conversations", "/admin/conversations?q=SECRET")]
    async with owner.follow(stream.partition("?")[0]) as live:
        event = await live.next()
    assert event
    for shown in [*(page.text for page in pages[:2]), event.data]:
        assert "SECRET" not in shown
    assert "Nobody matches" in pages[2].text
    for shown in (pages[1].text, event.data):
        assert "Amina" in shown
        assert "Refused" in shown
        assert "+254 … 5678" in shown
        assert "712345" not in shown
        assert "Waiting for an answer" in shown
    assert await audited(site.db) == []


async def test_a_whatsapp_conversation_says_whether_and_how_we_may_write(site: Site, owner: Browser) -> None:
    """The window, an opt-out, what is held and why, and what went by template."""
    conversation, _ = await say(site.db, Caller("Amina"), "hello")
    assert "window open until" in (await owner.get(f"/admin/conversations/{conversation}")).text
    held = await answer(site.db, conversation, "Reminder: stretch", kind="reminder")
    await delivered(site.db, conversation, held, "held", error="Held until the person writes.")
    sent = await answer(site.db, conversation, "Reminder: breathe", kind="reminder")
    await delivered(site.db, conversation, sent, "sent")
    await move(site.db, conversation, [timedelta(hours=24, seconds=1), timedelta(0), timedelta(0)])
    async with site.db.transaction() as session:
        await session.execute(
            text(
                "UPDATE outbox SET template = '{\"name\": \"reminder\"}' WHERE state = 'sent' AND conversation_id = :c"
            ),
            {"c": conversation},
        )
        await session.execute(
            text(
                "INSERT INTO opt_out (identity_id, how) SELECT identity_id, 'word' FROM member WHERE"
                " conversation_id = :c"
            ),
            {"c": conversation},
        )
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert "window closed" in page
    assert "opted out" in page
    assert page.count("Held until the person writes") >= 2
    assert "Reminder · automatic · by template “reminder”" in page
    other, _ = await say(site.db, Caller("Baraka", ChannelName.TELEGRAM), "hello")
    assert "window open" not in (await owner.get(f"/admin/conversations/{other}")).text
    overview = (await owner.get("/admin/")).text
    assert re.search(r"Held until the person writes.{0,200}?>\s*1\s*<", overview, re.DOTALL)


async def test_paging_shows_every_conversation_once_both_ways(site: Site, owner: Browser) -> None:
    for number in range(120):
        await say(site.db, Caller(f"Person {number}"), "hello")
    async with site.db.transaction() as session:
        await session.execute(text("UPDATE conversation SET last_at = date_trunc('minute', last_at)"))

    async def read(path: str) -> tuple[list[str], Answer]:
        page = await owner.get(path)
        return re.findall(r'<tr id="c-(\w+)"', page.text), page

    def neighbour(page: Answer, rel: str) -> str | None:
        found = re.search(rf'rel="{rel}" href="([^"]+)"', page.text)
        return found[1].replace("&amp;", "&") if found else None

    pages = []
    path: str | None = "/admin/conversations?q=person&channel=whatsapp"
    while path:
        rows, page = await read(path)
        pages.append(rows)
        path = neighbour(page, "next")
        assert len(pages) < 5
    assert [len(rows) for rows in pages] == [50, 50, 20]
    assert len({row for rows in pages for row in rows}) == 120
    back = neighbour(page, "prev")
    for expected in (pages[1], pages[0]):
        assert back
        assert "q=person" in back
        rows, page = await read(back)
        assert rows == expected
        back = neighbour(page, "prev")
    assert back is None


async def test_search_finds_names_and_numbers_and_takes_signs_as_they_are(site: Site, owner: Browser) -> None:
    await say(site.db, Caller("Amina 100%", ChannelName.WHATSAPP, "whatsapp:+254712345678"), "x")
    await say(site.db, Caller("Baraka_O'Neill", ChannelName.TELEGRAM, "998877"), "x")
    broken, _ = await say(site.db, Caller("Trouble", ChannelName.TELEGRAM, "111"), "x")
    async with site.db.transaction() as session:
        await session.execute(text("UPDATE turn SET state = 'dead' WHERE conversation_id = :c"), {"c": broken})

    async def found(query: str) -> list[str]:
        page = await owner.get(f"/admin/conversations?{query}")
        assert page.status == 200
        return sorted(re.findall(r"<bdi>(Amina|Baraka|Trouble)", page.text))

    assert await found("q=AMINA") == ["Amina"]
    assert await found("q=345678") == ["Amina"]
    assert await found("q=99887") == ["Baraka"]
    assert await found("q=%25") == []
    assert await found("q=neill+baraka") == ["Baraka"]
    assert await found("q=_o%27neill") == ["Baraka"]
    assert await found("q=barak") == await found("q=amina+baraka") == []
    assert await found("q=%5C") == []
    assert await found("channel=telegram") == ["Baraka", "Trouble"]
    assert await found("channel=email") == []
    assert await found("show=trouble") == ["Trouble"]
    assert await found("q=++amina++&channel=whatsapp&show=") == ["Amina"]


async def test_an_address_that_means_nothing_is_answered_with_what_to_do(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "x")
    for query in (
        "channel=pigeon", "show=all",
        "q=" + "a" * 101, "q=%00", "q=%ED%A0%80a%01", "before=1", "before=9.%7B", "after=x",
        "before=999999999999999999.00000000000000000000000000000000",
        "before=1.00000000000000000000000000000000&after=1.00000000000000000000000000000000",
    ):  # fmt: skip
        page = await owner.get(f"/admin/conversations?{query}")
        assert page.status == 400, query
        assert "Go to the conversations" in page.text
    for upto in ("x", "-1", "1" * 5000, "٣"):
        assert (await owner.get(f"/admin/conversations/{conversation}?upto={upto}")).status == 400, upto
    assert (await owner.get("/admin/conversations?unknown=1&q=")).status == 200


# The thread


async def test_opening_a_thread_shows_it_and_leaves_a_row(site: Site, owner: Browser) -> None:
    caller = Caller("Amina", ChannelName.WHATSAPP, "whatsapp:+254712345678")
    conversation, _ = await say(site.db, caller, "Hali ya hewa Nairobi?")
    sent = await answer(
        site.db, conversation, "Rain.", Choices(options=("Tomorrow", "Week")),
        meaning={"action": "get_weather", "slots": {"city": "Nairobi", "date": None}, "confidence": 0.93},
    )  # fmt: skip
    await delivered(site.db, conversation, sent, "sent", "read")
    late = await answer(site.db, conversation, "Stretch.", kind="reminder")
    await delivered(site.db, conversation, late, "refused", "failed", "Outside the 24-hour window.")
    await say(
        site.db, caller,
        Media(media_type="image/jpeg", ref="https://provider.example/secret", caption="roof", size=182_044),
        Location(latitude=-1.28638, longitude=36.81722, label="Kilimani"),
    )  # fmt: skip
    page = await owner.get(f"/admin/conversations/{conversation}")
    assert page.status == 200
    for shown in (
        "Hali ya hewa Nairobi?", "Rain.", "Tomorrow", "Understood as get weather · city: Nairobi · 93 % sure", "Read",
        "Reminder", "Refused", "Outside the 24-hour window.", "roof", "· 182 KB", "Kilimani",
        "+254712345678",
        "Your view of this conversation is recorded.", "Waiting for an answer", "times of Nairobi", "4 messages",
    ):  # fmt: skip
        assert shown in page.text, shown
    assert "provider.example" not in page.text
    texts = [page.text.index(words) for words in ("Hali ya hewa", "Rain.", "Stretch.", "roof")]
    assert texts == sorted(texts)
    assert await audited(site.db) == [
        (
            "staff:owner",
            "conversation.opened",
            f"conversation:{conversation}",
            {"first_seq": 1, "last_seq": 4},
        )
    ]


async def test_how_a_message_came_to_the_person_is_shown_and_followed(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "hello")
    seq = await answer(site.db, conversation, "Good morning.")
    await delivered(site.db, conversation, seq)
    before = await _thread_state(site.db, conversation)
    outbox_id = await site.db.pool.fetchval("SELECT id FROM outbox WHERE conversation_id = $1", conversation)
    outbox = Outbox(site.db, lease_s=30)
    at = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    for status, after in (("read", 61), ("delivered", 2)):
        told = ProviderStatus(outbox_id, "SM1", status, at=at + timedelta(seconds=after))
        assert await outbox.record(told)
    assert await _thread_state(site.db, conversation) != before
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    way = page[page.index("Queued here") :]
    assert way.index("Delivered") < way.index("12:00:02") < way.index("Read") < way.index("12:01:01")
    assert "Part 1" not in way
    assert await outbox.record(ProviderStatus(outbox_id, "SM1", "failed", "<b>Not</b> on WhatsApp.", at=at))
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert "&lt;b&gt;Not&lt;/b&gt; on WhatsApp." in page[page.index("Queued here") :]


async def test_reactions_stand_under_the_message_and_are_followed(site: Site, owner: Browser) -> None:
    caller = Caller("<Amina>")
    conversation, _ = await say(site.db, caller, "hello")
    await answer(site.db, conversation, "Good morning.")
    await delivered(site.db, conversation, 2)
    await site.db.pool.execute("UPDATE outbox SET provider_message_id = 'wamid.1'")
    inbox = Inbox(site.db, Wakes(site.db))
    before = await _thread_state(site.db, conversation)
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    assert "Reactions" not in page
    at = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    for number, emoji in enumerate((("👍",), ("🙏", "👍")), 1):
        said = Change(caller.address, f"r{number}", "reaction", ":wamid.1", at + timedelta(seconds=number), emoji=emoji)
        assert (await inbox.change(said)).seq == 2
        after = await _thread_state(site.db, conversation)
        assert after != before
        before = after
    page = (await owner.get(f"/admin/conversations/{conversation}")).text
    under = page[page.index('id="m-2"') :]
    assert '<li title="&lt;Amina&gt;">🙏</li><li title="&lt;Amina&gt;">👍</li></ul>' in under


async def _thread_state(db: Database, conversation: UUID) -> str:
    async with db.transaction() as session:
        return await thread_state(session, conversation)


async def test_linked_identities_are_shown_with_their_conversations_and_that_is_recorded(
    site: Site, owner: Browser
) -> None:
    phone, _ = await say(site.db, Caller("Amina", id="whatsapp:+254712345678"), "on the phone")
    gram, _ = await say(site.db, Caller("Amina", ChannelName.TELEGRAM, id="70001"), "OTHERWISE")
    stranger, _ = await say(site.db, Caller("Baraka", ChannelName.TELEGRAM, id="70002"), "x")
    assert "The same person" not in (await owner.get(f"/admin/conversations/{phone}")).text
    person = await site.db.pool.fetchval("SELECT person_id FROM identity WHERE channel = 'whatsapp'")
    await site.db.pool.execute("UPDATE identity SET person_id = $1 WHERE provider_id = '70001'", person)
    await site.db.pool.execute(
        "INSERT INTO identity (id, person_id, channel, account, provider_id)"
        " VALUES (gen_random_uuid(), $1, 'email', 'b', $2)",
        person,
        await mailbox(site.db, "<i>@x.example"),
    )
    page = (await owner.get(f"/admin/conversations/{phone}")).text
    side = page[page.index('id="linked"') :].partition("</p>")[0]
    assert f'href="/admin/conversations/{gram}"' in side
    assert "70001" in side
    assert "&lt;i&gt;@x.example</bdi> (not confirmed)" in side
    assert "OTHERWISE" not in page
    assert str(stranger) not in side
    assert (await audited(site.db))[-1] == (
        "staff:owner", "identities.shown", f"person:{person}", {"conversation": str(phone)},
    )  # fmt: skip


async def test_what_cannot_be_recorded_is_not_shown(site: Site, owner: Browser, owner_url: str) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "SECRET")
    stream = await owner.stream_of(f"/admin/conversations/{conversation}")
    rows = len(await audited(site.db))
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute("REVOKE INSERT ON audit FROM mathia_app")
        page = await owner.get(f"/admin/conversations/{conversation}")
        assert page.status == 500
        assert "SECRET" not in page.text
        assert "Reference" in page.text
        await say(site.db, Caller("Amina"), "SECRET")
        async with owner.session.get(f"{site.url}{stream}") as response:
            assert "SECRET" not in await response.text()
    finally:
        await connection.close()
    assert len(await audited(site.db)) == rows


async def test_a_conversation_that_is_not_there_is_a_page_that_says_so(site: Site, owner: Browser) -> None:
    for name in (str(uuid4()), "1", "x" * 300, "%00", "null", "٣", f"{UUID(int=0)}"):
        page = await owner.get(f"/admin/conversations/{name}")
        assert page.status == 404, name
        assert "There is no such conversation" in page.text
        assert (await owner.get(f"/admin/conversations/{name}/live")).status == 404
    assert await audited(site.db) == []


async def test_hostile_names_and_texts_are_text(site: Site, owner: Browser) -> None:
    caller = Caller(HOSTILE, ChannelName.WEB, HOSTILE)
    conversation, _ = await say(
        site.db,
        caller,
        HOSTILE,
        Media(media_type=HOSTILE[:100], ref="javascript:alert(1)", filename=HOSTILE, caption=HOSTILE),
    )
    sent = await answer(
        site.db,
        conversation,
        Choices(options=(HOSTILE,)),
        Card(title=HOSTILE, text=HOSTILE, facts=(Fact(label=HOSTILE, value=HOSTILE),)),
        Table(title=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),)),
        Contact(name=HOSTILE, phones=(HOSTILE,)),
        Voice(media_type="audio/ogg", ref="javascript:alert(1)", duration_s=3.2, transcript=HOSTILE),
        meaning={"action": HOSTILE, "slots": {HOSTILE: HOSTILE}},
    )
    await delivered(site.db, conversation, sent, "refused", HOSTILE, HOSTILE)
    path = f"/admin/conversations/{conversation}"
    pages = [
        (await owner.get(found)).text
        for found in (path, "/admin/conversations?q=%3Cscript%3E%22%3E", "/admin/conversations")
    ]
    pages.append((await owner.get("/admin/conversations?q=zz%22%3E%3Cscript%3Ealert(1)")).text)
    async with owner.follow(f"{path}/live") as stream:
        event = await stream.next()
        assert event
        pages.append(event.data)
    for page in pages:
        assert "<script>" not in page
        assert "<img src=x" not in page
        assert 'hx-target="#main"' not in page
        assert "javascript:" not in page
    for page in (pages[0], pages[2], pages[4]):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{7*7}}" in page


async def test_a_long_thread_is_read_a_page_at_a_time(site: Site, owner: Browser) -> None:
    caller = Caller("Amina")
    for number in range(1, 131):
        conversation, _ = await say(site.db, caller, f"line {number}.")
    path: str | None = f"/admin/conversations/{conversation}?q=amina"
    seen: list[list[int]] = []
    while path:
        page = (await owner.get(path)).text
        seen.append([int(number) for number in re.findall(r"line (\d+)\.", page)])
        found = re.search(r'href="([^"]+)">Earlier messages', page)
        path = found[1].replace("&amp;", "&") if found else None
        assert len(seen) < 5
    assert seen == [list(range(71, 131)), list(range(11, 71)), list(range(1, 11))]
    assert "Newest messages" in page
    assert [row[3] for row in await audited(site.db)] == [
        {"first_seq": 71, "last_seq": 130}, {"first_seq": 11, "last_seq": 70}, {"first_seq": 1, "last_seq": 10},
    ]  # fmt: skip


async def test_what_was_edited_says_so_and_what_was_deleted_is_not_repeated(site: Site, owner: Browser) -> None:
    amina = Caller("Amina")
    conversation, _ = await say(site.db, amina, "weather in Lamu")
    await answer(site.db, conversation, "Sunny", meaning={"action": "get_weather", "slots": {"city": "Lamu"}})
    await say(site.db, amina, "the old words")
    events = [row["event_id"] for row in await site.db.pool.fetch("SELECT event_id FROM message WHERE turn_id > 0")]
    inbox, now = Inbox(site.db, Wakes(site.db)), datetime.now(UTC)
    await inbox.change(Change(amina.address, "c1", "delete", events[0], now))
    await inbox.change(Change(amina.address, "c2", "edit", events[1], now, (Text(text="the new words"),)))
    page = await owner.get(f"/admin/conversations/{conversation}")
    assert "This message was deleted." in page.text
    assert "Lamu" not in page.text
    assert "the new words" in page.text
    assert "Edited" in page.text
    assert "the old words" not in page.text


async def test_a_message_of_a_kind_we_do_not_know_is_said_and_not_guessed(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, Caller("Amina"), "x")
    async with site.db.hot() as connection:
        row = await connection.fetchrow("SELECT event_id, identity_id FROM message")
        key = await site.db.keys.of_locked(connection, conversation)
        what = as_message(row["event_id"], by_identity(row["identity_id"]))
        await connection.execute("UPDATE message SET sealed = $1", key.seal(what, b'[{"kind": "hologram"}]'))
    page = await owner.get(f"/admin/conversations/{conversation}")
    assert page.status == 200
    assert "cannot show this message" in page.text
