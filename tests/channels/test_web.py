"""The web socket and its pages, on a real PostgreSQL and Valkey."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from bot.servers.postgres import Postgres
from channels.web import pages, socket
from channels.web.origins import Origins, own_address
from core.conversations import HISTORY_PAGE
from core.db import Database
from core.errors import UserError
from core.origins import parse_origin
from core.settings import Settings
from tests.channels.browser import Browser, Running, Site
from tests.waiting import until

BURST: int = Settings.model_fields["web_burst"].default

SHOP = "https://shop.example"


def settings(**more: object) -> Settings:
    return Settings.model_validate({"widget_origins": f"{SHOP}, http://localhost:3000", **more})


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(settings(), db, valkey_url) as running:
        yield running


# The way of a message.


async def test_hello_without_a_token_starts_a_new_visitor(site: Site) -> None:
    async with site.browser() as browser:
        welcome = await browser.hello()
    assert welcome["type"] == "welcome"
    assert welcome["seq"] == 0
    assert re.fullmatch(r"[\w-]{43}", welcome["token"])
    assert str(await site.db.pool.fetchval("SELECT id FROM web_visitor")) == welcome["conversation"]


async def test_a_token_is_stored_only_as_its_hash(site: Site) -> None:
    async with site.browser() as browser:
        token = (await browser.hello())["token"]
    assert token not in str(await site.db.pool.fetchrow("SELECT web_visitor::text FROM web_visitor"))


async def test_a_message_comes_back_from_the_store(site: Site) -> None:
    async with site.browser() as browser:
        room = (await browser.hello())["conversation"]
        frame = await browser.send("Habari, 100 USD ni ngapi?", cid="first")
    at = frame.pop("at")
    assert frame == {
        "type": "msg",
        "seq": 1,
        "cid": "first",
        "from": "me",
        "reply_to": None,
        "parts": [{"kind": "text", "text": "Habari, 100 USD ni ngapi?"}],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    row = await site.db.pool.fetchrow(
        "SELECT m.channel, m.account, m.event_id, i.provider_id, c.room FROM message m"
        " JOIN identity i ON i.id = m.identity_id JOIN conversation c ON c.id = m.conversation_id"
    )
    assert tuple(row) == ("web", "default", f"{room}:first", room, room)


async def test_the_same_cid_again_is_the_same_message(site: Site) -> None:
    async with site.browser() as browser:
        token = (await browser.hello())["token"]
        first = await browser.send("once", cid="c1")
        assert await browser.send("once", cid="c1") == first
    async with site.browser() as browser:
        await browser.hello(token, since=1)
        assert await browser.send("once", cid="c1") == first
    assert await site.db.pool.fetchval("SELECT count(*) FROM message") == 1


async def test_the_same_cid_with_other_words_changes_nothing(site: Site) -> None:
    async with site.browser() as browser:
        await browser.hello()
        first = await browser.send("pay 100", cid="c1")
        assert await browser.send("pay 900", cid="c1") == first
        assert (await browser.send("next", cid="c2"))["seq"] == 2


async def test_two_visitors_may_choose_the_same_cid(site: Site) -> None:
    async with site.browser() as one, site.browser() as other:
        await one.hello()
        await other.hello()
        assert (await one.send("a", cid="same"))["seq"] == 1
        assert (await other.send("b", cid="same"))["parts"][0]["text"] == "b"
    assert await site.db.pool.fetchval("SELECT count(*) FROM conversation") == 2


async def test_an_answer_reaches_the_browser_with_its_choices(site: Site) -> None:
    async with site.browser() as browser:
        room = (await browser.hello())["conversation"]
        await browser.send("weather")
        await site.post(room, "Which city?", options=("Nairobi", "Mombasa"))
        assert await site.deliver(room) == f"{await site.conversation(room)}:2"
        frame = await browser.hear("msg")
    assert frame["from"] == "bot"
    assert frame["cid"] is None
    assert frame["parts"] == [{"kind": "text", "text": "Which city?"}]
    assert frame["choices"] == ["Nairobi", "Mombasa"]


async def test_a_reply_names_the_message_it_answers(site: Site) -> None:
    async with site.browser() as browser:
        await browser.hello()
        await browser.send("one")
        assert (await browser.send("two", reply_to=1))["reply_to"] == 1


async def test_dots_are_shown_while_the_last_word_is_the_persons(site: Site) -> None:
    async with site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("weather")
        assert (await browser.hear())["type"] == "typing"
        await site.post(welcome["conversation"], "Sunny.")
        await site.deliver(welcome["conversation"])
        assert (await browser.hear())["from"] == "bot"
    async with site.browser() as browser:
        await browser.hello(welcome["token"])
        assert await browser.hear_seqs(2) == [1, 2]
        await browser.say({"type": "typing"})
        await browser.say({"type": "ack", "seq": 2})
        assert await browser.refused({"type": "dance"}) == "unknown_type"


async def test_hello_resumes_after_the_last_seq_it_names(site: Site) -> None:
    async with site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("hello")
    last = 2 * HISTORY_PAGE + 37
    await site.post(welcome["conversation"], *(f"line {n}" for n in range(last - 1)))
    async with site.browser() as browser:
        assert (await browser.hello(welcome["token"], since=5))["seq"] == last
        assert await browser.hear_seqs(last) == list(range(6, last + 1))
    async with site.browser() as browser:
        await browser.hello(welcome["token"], since=10_000)
        assert (await browser.hear("msg"))["seq"] == 1


async def test_every_tab_of_a_visitor_sees_every_message(site: Site) -> None:
    async with site.browser() as one, site.browser() as other:
        token = (await one.hello())["token"]
        await other.hello(token)
        await one.send("from the first tab")
        assert (await other.hear("msg"))["parts"][0]["text"] == "from the first tab"
        await other.send("from the second")
        assert (await one.hear("msg"))["seq"] == 2


async def test_another_process_is_told_through_valkey(site: Site, db: Database, valkey_url: str) -> None:
    async with Running(settings(), db, valkey_url) as elsewhere, site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("hello")
        await site.post(welcome["conversation"], "hi")
        started = asyncio.get_running_loop().time()
        await elsewhere.deliver(welcome["conversation"])
        assert (await browser.hear("msg"))["seq"] == 2
        assert asyncio.get_running_loop().time() - started < socket.RECHECK_S / 2


async def test_answer_is_seen_while_it_is_made_here_and_from_other_processes(
    site: Site, db: Database, valkey_url: str
) -> None:
    async with Running(settings(), db, valkey_url) as elsewhere, site.browser() as browser, site.browser() as other:
        room = (await browser.hello())["conversation"]
        await other.hello()
        site.channel.show_draft(room, "It is warm.")
        assert await browser.hear("draft") == {"type": "draft", "text": "It is warm."}
        elsewhere.channel.show_draft(room, "It is warm. Take a hat.")
        assert (await browser.hear("draft"))["text"] == "It is warm. Take a hat."
        await other.send("hello")
        assert (await other.hear())["type"] == "typing"  # Nothing of it came to somebody else's room.
        assert await db.pool.fetchval("SELECT count(*) FROM message") == 1


async def test_with_valkey_away_the_chat_goes_on_and_lost_wakes_are_made_up_for(db: Database, tmp_path: Path) -> None:
    async with Running(settings(), db, f"unix://{tmp_path}/nobody.sock") as site, site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("hello")
        await site.post(welcome["conversation"], "told here")
        await site.deliver(welcome["conversation"])
        assert (await browser.hear("msg"))["seq"] == 2
        await site.post(welcome["conversation"], "told to nobody")
        assert (await browser.hear("msg"))["seq"] == 3


async def test_a_message_of_unknown_outcome_is_found_in_the_store(site: Site) -> None:
    async with site.browser() as browser:
        room = (await browser.hello())["conversation"]
        await browser.send("hello")
        await site.post(room, "hi")
        assert await site.deliver(room) == f"{await site.conversation(room)}:2"


# What is refused.


NOT_THE_PROTOCOL = [
    (b"", "bad_frame"),
    (b"hello", "bad_frame"),
    (b"[]", "bad_frame"),
    (b"null", "bad_frame"),
    (b'"hello"', "bad_frame"),
    (b"1" * 5000, "bad_frame"),
    (b"[" * 100_000, "bad_frame"),
    (b'{"type":"hello"' + b'"x":' * 10, "bad_frame"),
    (b'{"type":"send","cid":"c","text":"\\ud800"}', "bad_frame"),
    (b'{"type":"send","cid":"c","text":"a\\u0000b"}', "bad_text"),
    (b'{"type":"send","cid":"c","text":" \\n "}', "empty"),
    (b'{"type":"send","cid":"c","text":12}', "bad_frame"),
    (b'{"type":"send","cid":"c"}', "bad_frame"),
    (b'{"type":"send","cid":"","text":"x"}', "bad_frame"),
    (b'{"type":"send","cid":"a b","text":"x"}', "bad_frame"),
    (b'{"type":"send","cid":"c\\n","text":"x"}', "bad_frame"),
    (b'{"type":"send","cid":"' + b"c" * 65 + b'","text":"x"}', "bad_frame"),
    (b'{"type":"send","cid":null,"text":"x"}', "bad_frame"),
    (b'{"type":"send","cid":"c","text":"x","reply_to":"1"}', "bad_frame"),
    (b'{"type":"send","cid":"c","text":"x","reply_to":-1}', "bad_frame"),
    (b'{"type":"send","cid":"c","text":"x","files":["a"]}', "bad_frame"),
    (b'{"type":"send","cid":"c","text":"' + b"x" * 16_385 + b'"}', "too_long"),
    (b'{"type":"send","cid":"c","text":"' + b"x" * 300_000 + b'"}', "too_long"),
    (b'{"type":"ack","seq":-1}', "bad_frame"),
    (b'{"type":"ack","seq":9007199254740993}', "bad_frame"),
    (b'{"type":"ack","seq":true}', "bad_frame"),
    (b'{"type":"hello"}', "hello"),
    (b'{"type":"__class__"}', "unknown_type"),
    (b'{"type":["send"]}', "unknown_type"),
    (b'{"type":"welcome"}', "unknown_type"),
    (b"{}", "unknown_type"),
]


async def test_a_frame_that_is_not_the_protocol_is_answered_with_an_error(site: Site) -> None:
    async with site.browser() as browser:
        await browser.hello()
        for frame, code in NOT_THE_PROTOCOL:
            await browser.socket.send_frame(frame, WSMsgType.TEXT)
            answer = await browser.hear()
            assert (answer["type"], answer["code"]) == ("error", code), frame[:80]
            assert answer["message"].endswith("."), frame[:80]
        assert (await browser.send("still here"))["seq"] == 1


async def test_an_error_is_told_in_the_language_of_the_page_or_else_of_the_browser(site: Site) -> None:
    empty = {"type": "send", "cid": "c", "text": " "}
    for header, page, begins in (("en-GB", None, "The message"), ("sw-KE,sw;q=0.9", None, "Ujumbe"),
                                 ("sw", "en", "The message"), ("en", "sw-TZ", "Ujumbe")):  # fmt: skip
        headers = {"Origin": site.url, "Accept-Language": header}
        async with site.session.ws_connect(f"{site.url}/ws", headers=headers) as socket:
            browser = Browser(socket)
            await browser.say({"type": "hello", "token": None, "since": 0, "language": page})
            await browser.hear("welcome")
            await browser.say(empty)
            assert (await browser.hear("error"))["message"].startswith(begins), (header, page)
            await browser.send("hi")
    spoken = await site.db.pool.fetch("SELECT language FROM person ORDER BY created_at, id")
    assert [row["language"] for row in spoken] == ["en", "sw", "en", "sw"], "and a new visitor is spoken with in it"


async def test_text_that_is_not_utf8_and_binary_frames_are_answered_with_an_error(site: Site) -> None:
    async with site.browser() as browser:
        await browser.hello()
        await browser.socket.send_frame(b'{"type":"send","cid":"c","text":"\xed\xa0\x80"}', WSMsgType.TEXT)
        assert (await browser.hear())["code"] == "bad_frame"
        await browser.socket.send_bytes(b'{"type":"ack","seq":1}')
        assert (await browser.hear())["code"] == "bad_frame"
        await browser.send("still here")


async def test_a_frame_too_long_to_read_closes_only_its_own_socket(site: Site) -> None:
    async with site.browser() as browser, site.browser() as neighbour:
        await browser.hello()
        await neighbour.hello()
        await browser.socket.send_str("x" * (socket.TRANSPORT_BYTES_MAX + 1))
        closed = await asyncio.wait_for(browser.socket.receive(), 10)
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1009)
        await neighbour.send("still here")


async def test_the_longest_text_is_stored_whole(site: Site) -> None:
    text = "\U0001f600" * 16_384
    async with site.browser() as browser:
        await browser.hello()
        await browser.socket.send_frame(
            b'{"type":"send","cid":"long","text":"' + b"\\ud83d\\ude00" * 16_384 + b'"}', WSMsgType.TEXT
        )
        assert (await browser.hear("msg"))["parts"][0]["text"] == text


async def test_unknown_fields_are_ignored(site: Site) -> None:
    async with site.browser() as browser:
        await browser.say({"type": "hello", "token": None, "since": 0, "site": "default", "from": "the future"})
        assert (await browser.hear())["type"] == "welcome"
        assert (await browser.send("hi", colour="green"))["seq"] == 1


async def test_nothing_is_taken_before_hello(site: Site) -> None:
    async with site.browser() as browser:
        assert await browser.refused({"type": "send", "cid": "early", "text": "hi"}) == "hello"
        assert await browser.refused({"type": "typing"}) == "hello"
        await browser.hello()
        await browser.send("hi", cid="early")
    assert await site.db.pool.fetchval("SELECT count(*) FROM message") == 1


async def test_an_unknown_token_is_told_to_start_anew(site: Site) -> None:
    async with site.browser() as browser:
        for token in ["", "x", "A" * 43, "ä" * 43, "../../etc/passwd", "A" * 256]:
            assert (await browser.hello(token))["code"] == "token"
        assert (await browser.hello(None))["type"] == "welcome"


async def test_another_site_is_refused(site: Site) -> None:
    async with site.browser() as browser:
        assert await browser.refused({"type": "hello", "token": None, "since": 0, "site": "other"}) == "site"


async def test_more_messages_than_the_limit_are_told_when_to_come_again(site: Site) -> None:
    async with site.browser() as browser, site.browser() as second_tab:
        token = (await browser.hello())["token"]
        await second_tab.hello(token)
        for number in range(BURST):
            await browser.send(f"line {number}")
        refused = await browser.send("one too many", cid="late")
        assert refused["code"] == "rate"
        assert 0 < refused["retry_s"] <= socket.MESSAGES_WINDOW_S
        assert (await second_tab.send("from elsewhere", cid="too"))["code"] == "rate"
    async with site.browser() as browser:
        await browser.hello(token, since=BURST)
        assert (await browser.send("after coming back", cid="again"))["code"] == "rate"
    assert await site.db.pool.fetchval("SELECT count(*) FROM message") == BURST


async def test_a_visitor_has_at_most_so_many_sockets(site: Site) -> None:
    async with site.browser() as first:
        token = (await first.hello())["token"]
        browsers = [await site.session.ws_connect(f"{site.url}/ws", headers={"Origin": site.url}) for _ in range(7)]
        for one in browsers:
            assert (await Browser(one).hello(token))["type"] == "welcome"
        async with site.browser() as one_more:
            assert (await one_more.hello(token))["code"] == "sockets"
            await browsers[0].close()
            await until(lambda: _welcomed(one_more, token), what="a place")
        for one in browsers:
            await one.close()


async def _welcomed(browser: Browser, token: str) -> bool:
    return bool((await browser.hello(token))["type"] == "welcome")


async def test_a_browser_that_does_not_read_is_cut_off_and_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "SEND_TIMEOUT_S", 0.5)
    async with site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("tell me everything")
    count = 900
    await site.post(welcome["conversation"], *("x" * 16_000 for _ in range(count)))
    origin = site.url.removeprefix("http://")
    host, port = origin.split(":")
    _reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {origin}\r\nOrigin: {site.url}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    hello = orjson.dumps({"type": "hello", "token": welcome["token"]})
    writer.write(bytes([0x81, 0x80 | len(hello), 0, 0, 0, 0]) + hello)
    await until(lambda: _no_sockets(site), what="the slow reader being cut off")
    writer.close()
    async with site.browser() as browser:
        await browser.hello(welcome["token"])
        assert await browser.hear_seqs(count + 1) == list(range(1, count + 2))


async def _no_sockets(site: Site) -> bool:
    return not site.channel._rooms


async def test_with_postgres_away_a_send_is_refused_and_the_same_cid_succeeds_later(
    postgres: Postgres, database: str, database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    road = tmp_path / "road"
    road.symlink_to(postgres.run)
    db = await Database.connect(database_url.replace(str(postgres.run), str(road)), Settings(_env_file=None).key_list)
    admin = await postgres.connect()
    try:
        async with Running(settings(), db, valkey_url) as site, site.browser() as browser:
            welcome = await browser.hello()
            await browser.send("before", cid="c1")
            road.unlink()
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
            refused = await browser.send("during", cid="c2")
            assert (refused["code"], refused["retry_s"]) == ("unavailable", socket.RETRY_S)
            async with site.browser() as newcomer:
                assert (await newcomer.hello())["code"] == "unavailable"
                assert (await newcomer.hello(welcome["token"]))["code"] == "unavailable"
            road.symlink_to(postgres.run)
            assert (await browser.send("during", cid="c2"))["seq"] == 2
    finally:
        await admin.close()
        await db.close()


# Origins.


STRANGERS = [
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://shop.example:444",
    "http://shop.example",
    "https://shop.example/",
    "https://SHOP.example",
    "https://shop.example.",
    "https://sub.shop.example",
    "null",
    "",
    "https://shop\u0435.example",
    "https://xn--shp-hoa.example",
    "https://shop.example@evil.example",
    "file://",
    "http://localhost:3001",
    "http://localhost:30000",
    "http://127.0.0.1:3000",
    "https://shop.example https://evil.example",
    "https://shop.example,https://evil.example",
    "*",
    "chrome-extension://abcdef",
    "http://localhost",
]


async def test_a_page_of_another_origin_cannot_open_a_socket(site: Site) -> None:
    for origin in STRANGERS:
        with pytest.raises(WSServerHandshakeError) as refused:
            await site.session.ws_connect(f"{site.url}/ws", headers={"Origin": origin.encode().decode("latin-1")})
        assert refused.value.status == 403, origin


async def test_a_socket_without_an_origin_or_with_two_is_refused(site: Site) -> None:
    for headers in (
        [],
        [("Origin", SHOP), ("Origin", SHOP)],
        [("Origin", site.url), ("Origin", "https://evil.example")],
    ):
        with pytest.raises(WSServerHandshakeError) as refused:
            await site.session.ws_connect(f"{site.url}/ws", headers=headers)
        assert refused.value.status == 403


async def test_our_own_pages_and_listed_origins_open_a_socket(site: Site) -> None:
    port = site.url.rpartition(":")[2]
    for url, origin in [
        (site.url, site.url),
        (site.url, SHOP),
        (site.url, "http://localhost:3000"),
        (f"http://localhost:{port}", f"http://localhost:{port}"),
    ]:
        socket: ClientWebSocketResponse
        async with site.session.ws_connect(f"{url}/ws", headers={"Origin": origin}) as socket:
            assert (await Browser(socket).hello())["type"] == "welcome"


async def test_a_name_somebody_points_at_us_is_not_our_own(site: Site) -> None:
    port = site.url.rpartition(":")[2]
    with pytest.raises(WSServerHandshakeError) as refused:
        await site.session.ws_connect(
            f"{site.url}/ws", headers={"Origin": f"http://rebound.example:{port}", "Host": f"rebound.example:{port}"}
        )
    assert refused.value.status == 403


def test_origins_are_written_as_browsers_write_them() -> None:
    assert parse_origin("https://Shop.Example:443/") == SHOP
    assert parse_origin("http://[::1]:8080") == "http://[::1]:8080"
    assert parse_origin("https://bücher.example") == "https://xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text", ["shop.example", "*", "https://*.example", "https://shop.example/chat", "ftp://shop.example", "https://", "https://a:b@c",
             "https://shop.example:99999", "javascript:alert(1)", "https://" + "a" * 64 + ".example"],
)  # fmt: skip
def test_a_setting_that_is_not_an_origin_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="is not an origin"):
        Origins(settings(widget_origins=text))


def test_pages_name_the_public_address_where_there_is_one() -> None:
    assert own_address(settings(public_url="https://m.example"), "http", "127.0.0.1:1") == "https://m.example"
    assert own_address(settings(), "http", "10.0.0.5:8080") == "http://10.0.0.5:8080"
    assert own_address(settings(), "http", '"><script>') == "http://127.0.0.1:8080"


# Pages.


def test_the_widget_is_small() -> None:
    zipped = gzip.compress((pages.FILES / "widget.js").read_bytes(), 9, mtime=0)
    assert len(zipped) <= 25_000


def test_the_widget_builds_nodes_and_never_markup() -> None:
    source = (pages.FILES / "widget.js").read_text()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in source


@pytest.mark.parametrize("path", ["/", "/chat"])
async def test_pages_have_a_strict_policy_and_nothing_inline(site: Site, path: str) -> None:
    async with site.session.get(site.url + path) as response:
        html = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert response.status == 200
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert site.url.replace("http", "ws") in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html)


async def test_the_landing_page_shows_the_line_to_paste(site: Site) -> None:
    async with site.session.get(site.url + "/") as response:
        html = await response.text()
    assert f"&lt;script src=&quot;{site.url}/widget.js&quot; async&gt;&lt;/script&gt;" in html
    assert "/sandbox" not in html


async def test_the_widget_is_served_zipped_cached_and_to_other_origins(site: Site) -> None:
    async with site.session.get(f"{site.url}/widget.js", headers={"Origin": SHOP}) as response:
        body = await response.read()
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
        etag = response.headers["ETag"]
    assert body == (pages.FILES / "widget.js").read_bytes()
    async with site.session.get(f"{site.url}/widget.js", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    stranger = {"Origin": "https://evil.example", "Accept-Encoding": "identity"}
    async with site.session.get(f"{site.url}/widget.js", headers=stranger) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Content-Encoding" not in response.headers


async def test_plain_http_at_the_socket_is_refused(site: Site) -> None:
    async with site.session.get(f"{site.url}/ws") as response:
        assert response.status == 403
    async with site.session.get(f"{site.url}/ws", headers={"Origin": site.url}) as response:
        assert response.status == 400
