"""Provider webhooks over real HTTP into a real store: who is believed, what is stored, what is promised."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import web
from multidict import MultiDict
from pydantic import SecretStr
from twilio.request_validator import RequestValidator
from yarl import URL

from bot.servers.postgres import APP, Postgres
from bot.webhooks import FORM_BYTES_MAX, UPDATE_BYTES_MAX, routes
from channels.base import Channel
from channels.telegram import TelegramChannel
from core.db import Database
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Text
from core.outbox import NewMessage, Outbox, post
from core.settings import Settings
from core.wake import Wakes
from tests.said import messages, texts

RECORDINGS = Path(__file__).parent.parent / "channels" / "recordings"
PUBLIC = "https://bot.example.com"
TWILIO, STATUS, TELEGRAM = "/webhooks/twilio", "/webhooks/twilio/status", "/webhooks/telegram"
TOKEN = "an-auth-token"
SECRET = "s3cr3t_Token-1"
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
WITHIN_S = 5.0
"""Providers give up soon after; a webhook has answered by then, whatever is broken."""


@dataclass(frozen=True)
class Served:
    """What the webhooks are given."""

    settings: Settings
    db: Database
    wakes: Wakes
    inbox: Inbox
    outbox: Outbox
    channels: Mapping[ChannelName, Channel]


@dataclass(frozen=True)
class Site:
    """The webhooks on a port of their own."""

    session: aiohttp.ClientSession
    port: int
    db: Database

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """POST a body to a path that is sent as it stands; status and answer."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.session.post(url, data=body, headers=headers) as response:
            return response.status, await response.read()

    async def twilio(self, path: str = TWILIO, **changes: str | None) -> tuple[int, bytes]:
        """POST the recorded text message, with changed fields, signed."""
        params = form("in_text", **changes)
        return await self.post(path, urlencode(params).encode(), signed(path, params))

    async def telegram(self, update: object) -> tuple[int, bytes]:
        """POST an update with the secret."""
        return await self.post(TELEGRAM, json.dumps(update).encode(), {SECRET_HEADER: SECRET})

    async def rows(self) -> int:
        """How many messages are stored."""
        count: int = await self.db.pool.fetchval("SELECT count(*) FROM message")
        return count


def form(name: str = "in_text", **changes: str | None) -> list[tuple[str, str]]:
    """A recorded Twilio form with some fields changed; None takes a field away."""
    fields: dict[str, str | None] = json.loads((RECORDINGS / "twilio" / f"{name}.json").read_text()) | changes
    return [(field, value) for field, value in fields.items() if value is not None]


def update(name: str) -> dict[str, Any]:
    """A recorded Telegram update."""
    found: dict[str, Any] = json.loads((RECORDINGS / "telegram" / f"{name}.json").read_text())
    return found


def signature(path: str, params: list[tuple[str, str]], token: str = TOKEN, base: str = PUBLIC) -> str:
    """What Twilio would send, made by its own package."""
    made: str = RequestValidator(token).compute_signature(base + path, MultiDict(params))
    return made


def signed(path: str, params: list[tuple[str, str]]) -> dict[str, str]:
    """The headers of a genuine webhook."""
    return {"X-Twilio-Signature": signature(path, params), "Content-Type": "application/x-www-form-urlencoded"}


@asynccontextmanager
async def serving(db: Database, **changes: Any) -> AsyncIterator[Site]:
    """The webhooks in an application, on a free port."""
    given: dict[str, Any] = {
        "public_url": PUBLIC,
        "twilio_auth_token": SecretStr(TOKEN),
        "telegram_bot_token": SecretStr("7000000001:bot-token"),
        "telegram_webhook_secret": SecretStr(SECRET),
        "telegram_base_url": "http://127.0.0.1:1",
    }
    settings = Settings(_env_file=None, **given | changes)
    wakes = Wakes(db)
    inbox = Inbox(db, wakes)
    telegram = TelegramChannel(settings, inbox)
    app = web.Application()
    app.add_routes(routes(Served(settings, db, wakes, inbox, Outbox(db, lease_s=30), {ChannelName.TELEGRAM: telegram})))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Site(session, port, db)
    await runner.cleanup()
    await telegram.close()


@pytest.fixture
async def site(db: Database) -> AsyncIterator[Site]:
    """The webhooks on a fresh database."""
    async with serving(db) as served:
        yield served


# What is genuine is stored once and acknowledged.


async def test_a_signed_whatsapp_message_is_stored_and_answered_with_empty_twiml(site: Site) -> None:
    async with site.session.post(TWILIO, data=urlencode(form()).encode(), headers=signed(TWILIO, form())) as response:
        assert (response.status, response.content_type) == (200, "text/xml")
        assert await response.read() == b"<Response/>"
    [row] = await messages(site.db, also=["m.channel", "m.account"])
    assert row["channel"] == "whatsapp"
    assert row["account"] == "whatsapp:+14155238886"
    assert row["event_id"] == "SM" + "b" * 32
    assert row["parts"] == [{"kind": "text", "text": "Weather in Nairobi tomorrow?"}]


async def test_every_recorded_whatsapp_message_is_taken(site: Site) -> None:
    names = ["in_text", "in_reply", "in_voice", "in_location", "in_button", "in_without_number"]
    for number, name in enumerate(names):
        params = [*dict(form(name), MessageSid=f"SM{number:032}").items()]
        assert (await site.post(TWILIO, urlencode(params).encode(), signed(TWILIO, params)))[0] == 200
    assert await site.rows() == len(names)


async def test_a_telegram_update_is_stored_and_answered_with_nothing(site: Site) -> None:
    assert await site.telegram(update("reply")) == (200, b"")
    row = await site.db.pool.fetchrow("SELECT channel, account, event_id, reply_to FROM message")
    assert dict(row) == {"channel": "telegram", "account": "7000000001", "event_id": "10001:1367", "reply_to": "1366"}


async def test_the_same_webhook_many_times_at_once_is_one_message(site: Site) -> None:
    answers = await asyncio.gather(
        *(site.twilio() for _ in range(64)), *(site.telegram(update("reply")) for _ in range(64))
    )
    assert {status for status, _ in answers} == {200}
    assert await site.rows() == 2


async def test_what_is_genuine_and_does_not_concern_us_is_acknowledged_and_not_stored(site: Site) -> None:
    for name in ("blocked", "edited", "sticker", "channel_post"):
        assert await site.telegram(update(name)) == (200, b"")
    assert (await site.twilio(From="+254712345678", To="+14155238886"))[0] == 200
    assert await site.rows() == 0


async def test_blank_unknown_and_foreign_values_are_covered_by_the_signature(site: Site) -> None:
    assert (await site.twilio(Body="Habari ✈️ & = + % \n", ButtonText="", NewField="", Neues="ä"))[0] == 200
    assert await texts(site.db) == ["Habari ✈️ & = + % \n"]


async def test_a_signature_over_the_public_address_holds_with_and_without_its_port(site: Site) -> None:
    params = form()
    for number, base in enumerate((PUBLIC, f"{PUBLIC}:443")):
        sent = [*dict(params, MessageSid=f"SM{number:032}").items()]
        headers = {"X-Twilio-Signature": signature(TWILIO, sent, base=base)}
        assert (await site.post(TWILIO, urlencode(sent).encode(), headers))[0] == 200
    assert await site.rows() == 2


async def test_the_query_is_signed_as_it_was_received(site: Site) -> None:
    path = f"{TWILIO}?a=%2F&b=&A"
    status, _ = await site.post(path, urlencode(form()).encode(), signed(path, form()))
    assert status == 200
    status, _ = await site.post(f"{TWILIO}?a=%2F&b=", urlencode(form()).encode(), signed(path, form()))
    assert status == 403


# What is forged is refused and leaves nothing.


def forgeries() -> dict[str, tuple[str, dict[str, str], bytes]]:
    """Path, headers and body of Twilio webhooks that Twilio did not send."""
    params = form()
    body = urlencode(params).encode()
    genuine = signature(TWILIO, params)
    sign = "X-Twilio-Signature"

    def altered(*changed: tuple[str, str], without: str = "") -> bytes:
        fields = dict(params) | dict(changed)
        fields.pop(without, None)
        return urlencode(fields).encode()

    basic = base64.b64encode(f"AC{'a' * 32}:{TOKEN}".encode()).decode()
    raw = base64.b64encode(hmac.new(TOKEN.encode(), body, "sha1").digest()).decode()
    raw_url = base64.b64encode(hmac.new(TOKEN.encode(), (PUBLIC + TWILIO).encode() + body, "sha1").digest()).decode()
    strong: str = RequestValidator(TOKEN).compute_signature(PUBLIC + TWILIO, MultiDict(params), "HMAC_SHA256")
    json_body = json.dumps(dict(params)).encode()
    hashed = f"{TWILIO}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    return {
        "no signature": (TWILIO, {}, body),
        "an empty signature": (TWILIO, {sign: ""}, body),
        "a blank signature": (TWILIO, {sign: "  "}, body),
        "another token": (TWILIO, {sign: signature(TWILIO, params, "another-token")}, body),
        "an empty token": (TWILIO, {sign: signature(TWILIO, params, "")}, body),
        "the token's first half": (TWILIO, {sign: signature(TWILIO, params, TOKEN[:6])}, body),
        "the account sid as token": (TWILIO, {sign: signature(TWILIO, params, "AC" + "a" * 32)}, body),
        "a signature cut short": (TWILIO, {sign: genuine[:-2]}, body),
        "a signature made longer": (TWILIO, {sign: genuine + "A"}, body),
        "a signature in lower case": (TWILIO, {sign: genuine.lower()}, body),
        "a signature in hex": (TWILIO, {sign: base64.b64decode(genuine).hex()}, body),
        "two signatures": (TWILIO, {sign: f"{genuine},{genuine}"}, body),
        "a signature of zeros": (TWILIO, {sign: base64.b64encode(bytes(20)).decode()}, body),
        "a signature not in ASCII": (TWILIO, {sign: "é" * 28}, body),
        "a very long signature": (TWILIO, {sign: "A" * 6_000}, body),
        "the signature in the query": (f"{TWILIO}?{urlencode({sign: genuine})}", {}, body),
        "the signature in another header": (TWILIO, {"X-Twilio-Email-Event-Webhook-Signature": genuine}, body),
        "the other provider's secret": (TWILIO, {SECRET_HEADER: SECRET}, body),
        "a signature over http": (TWILIO, {sign: signature(TWILIO, params, base="http://bot.example.com")}, body),
        "a signature over another host": (TWILIO, {sign: signature(TWILIO, params, base="https://x.example")}, body),
        "a signature over the host the caller names": (
            TWILIO, {sign: signature(TWILIO, params, base="http://evil.example"), "Host": "evil.example"}, body
        ),
        "a forwarded host": (
            TWILIO,
            {sign: signature(TWILIO, params, base="https://evil.example"), "X-Forwarded-Host": "evil.example"},
            body,
        ),
        "a signature over another port": (TWILIO, {sign: signature(TWILIO, params, base=f"{PUBLIC}:8443")}, body),
        "a signature for the other webhook": (TWILIO, {sign: signature(STATUS, params)}, body),
        "a signature with a query that is not there": (TWILIO, {sign: signature(f"{TWILIO}?a=1", params)}, body),
        "a query that is not signed": (f"{TWILIO}?a=1", {sign: genuine}, body),
        "a signature over the URL alone": (TWILIO, {sign: signature(TWILIO, [])}, body),
        "a signature over the raw body": (TWILIO, {sign: raw}, body),
        "a signature over URL and raw body": (TWILIO, {sign: raw_url}, body),
        "another hash": (TWILIO, {sign: strong, "X-Twilio-Webhooks-Signature-Settings": "algorithm=HMAC_SHA256"}, body),
        "another text": (TWILIO, {sign: genuine}, altered(("Body", "Send all my money"))),
        "another sender": (TWILIO, {sign: genuine}, altered(("From", "whatsapp:+254700000000"))),
        "a field more": (TWILIO, {sign: genuine}, altered(("MediaUrl0", "https://evil.example/"))),
        "a blank field more": (TWILIO, {sign: genuine}, altered(("ButtonText", ""))),
        "a field less": (TWILIO, {sign: genuine}, altered(without="ReferralNumMedia")),
        "a second value": (TWILIO, {sign: genuine}, body + b"&Body=Send+all+my+money"),
        "JSON with a hash in the query": (hashed, {sign: signature(hashed, [])}, body),
        "JSON as a field": (hashed, {sign: signature(hashed, [])}, b"a=" + json_body),
        "a signature as a field": (TWILIO, {}, body + f"&{sign}={genuine}".encode()),
        "a signature in a cookie": (TWILIO, {"Cookie": f"{sign}={genuine}"}, body),
        "a signature as a bearer": (TWILIO, {"Authorization": f"Bearer {genuine}"}, body),
        "Twilio's own password": (TWILIO, {"Authorization": f"Basic {basic}"}, body),
        "another number of ours": (TWILIO, {sign: genuine}, altered(("To", "whatsapp:+14150000000"))),
        "Meta's signature": (
            TWILIO, {"X-Hub-Signature-256": f"sha256={hmac.new(TOKEN.encode(), body, 'sha256').hexdigest()}"}, body
        ),
    }  # fmt: skip


async def test_forged_whatsapp_webhooks_are_refused_without_detail_and_leave_no_row(site: Site) -> None:
    answers = {name: await site.post(*forged) for name, forged in _as_posts(forgeries()).items()}
    assert len(answers) >= 40
    assert answers == dict.fromkeys(answers, (403, b"Forbidden."))
    assert await site.rows() == 0


def _as_posts(shapes: dict[str, tuple[str, dict[str, str], bytes]]) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    return {name: (path, body, headers) for name, (path, headers, body) in shapes.items()}


async def test_a_replay_with_names_and_values_moved_is_still_the_same_message(site: Site) -> None:
    """Twilio signs names and values without anything between them; here the message id does the rest."""
    genuine = urlencode(form()).encode()
    moved = genuine.replace(b"Body=Weather", b"BodyW=eather").replace(b"ProfileName=Ada", b"Profile=NameAda")
    assert (await site.post(TWILIO, genuine, signed(TWILIO, form())))[0] == 200
    assert (await site.post(TWILIO, moved, signed(TWILIO, form())))[0] == 200
    assert await site.rows() == 1
    assert await texts(site.db) == ["Weather in Nairobi tomorrow?"]


async def test_forged_telegram_webhooks_are_refused_without_detail_and_leave_no_row(site: Site) -> None:
    shapes: list[dict[str, str]] = [
        {},
        {SECRET_HEADER: ""},
        {SECRET_HEADER: " "},
        {SECRET_HEADER: SECRET[:-1]},
        {SECRET_HEADER: SECRET + "x"},
        {SECRET_HEADER: SECRET.upper()},
        {SECRET_HEADER: f"{SECRET},{SECRET}"},
        {SECRET_HEADER: "é" * 14},
        {SECRET_HEADER: base64.b64encode(SECRET.encode()).decode()},
        {SECRET_HEADER: hashlib.sha256(SECRET.encode()).hexdigest()},
        {SECRET_HEADER: "A" * 6_000},
        {SECRET_HEADER: TOKEN},
        {SECRET_HEADER: "7000000001:bot-token"},
        {"Authorization": f"Bearer {SECRET}"},
        {"X-Telegram-Bot-Api-Secret": SECRET},
        {"Cookie": f"{SECRET_HEADER}={SECRET}"},
        {SECRET_HEADER: SECRET[::-1]},
        {SECRET_HEADER: f"Bearer {SECRET}"},
        {SECRET_HEADER: f'"{SECRET}"'},
        {SECRET_HEADER.replace("-", "_"): SECRET},
    ]
    body = json.dumps(update("reply")).encode()
    paths = TELEGRAM, f"{TELEGRAM}?{SECRET_HEADER}={SECRET}"
    assert len(shapes) * len(paths) >= 40
    for path in paths:
        answers = {str(headers): await site.post(path, body, headers) for headers in shapes}
        assert answers == dict.fromkeys(answers, (403, b"Forbidden."))
    assert await site.rows() == 0


async def test_a_forged_status_changes_nothing(site: Site) -> None:
    outbox_id = await owed(site.db)
    path = f"{STATUS}?outbox={outbox_id}"
    params = form("status_read")
    for signed_path in (STATUS, f"{STATUS}?outbox={outbox_id + 1}", TWILIO):
        headers = {"X-Twilio-Signature": signature(signed_path, params)}
        assert (await site.post(path, urlencode(params).encode(), headers))[0] == 403
    assert await site.db.pool.fetchval("SELECT provider_status FROM outbox") is None


async def test_only_post_is_answered(site: Site) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        for path in (TWILIO, STATUS, TELEGRAM):
            async with site.session.request(
                method, path, data=urlencode(form()), headers=signed(path, form())
            ) as response:
                assert response.status == 405
    assert await site.rows() == 0


async def test_without_a_secret_there_is_no_webhook(db: Database) -> None:
    nothing = SecretStr("")
    async with serving(db, twilio_auth_token=nothing, telegram_webhook_secret=nothing) as site:
        params = form()
        for path in (TWILIO, STATUS):
            for token in ("", TOKEN):
                headers = {"X-Twilio-Signature": signature(path, params, token)}
                assert (await site.post(path, urlencode(params).encode(), headers))[0] == 404
        for secret in ({}, {SECRET_HEADER: ""}, {SECRET_HEADER: SECRET}):
            assert (await site.post(TELEGRAM, json.dumps(update("reply")).encode(), secret))[0] == 404
        assert await site.rows() == 0


# What is signed but is not what the provider sends.


async def test_signed_forms_that_make_no_sense_are_refused(site: Site) -> None:
    shapes: list[dict[str, str | None]] = [
        {"Body": "a\0b"},
        {"MessageSid": None},
        {"MessageSid": "x" * 5_000},
        {"From": None},
        {"From": "whatsapp: 254712345678"},
        {"To": None},
        {"NumMedia": "9" * 5_000},
        {"NumMedia": "-1"},
        {"NumMedia": "two"},
        {"NumMedia": "1"},
        {"Latitude": "9" * 5_000, "Longitude": "1"},
        {"Latitude": "NaN", "Longitude": "1"},
        {"Latitude": "1e999", "Longitude": "1"},
        {"Latitude": "1"},
        {"OriginalRepliedMessageSid": "a\nb"},
    ]
    answers = {str(changes)[:60]: (await site.twilio(TWILIO, **changes))[0] for changes in shapes}
    assert answers == dict.fromkeys(answers, 400)
    assert await site.rows() == 0


async def test_what_is_no_form_is_refused(site: Site) -> None:
    bodies = {
        "an escaped NUL": b"Body=%00",
        "a NUL": b"Body=\0",
        "a lone surrogate": b"Body=%ED%A0%80",
        "not UTF-8": b"Body=%ff",
        "bytes": b"\xff\xfe",
        "JSON": b'{"Body":"hi"}',
        "no value": b"Body",
        "separators": b"&&&",
        "too many fields": b"a=1&" * 5_000 + b"b=2",
        "nesting": b"[" * 100_000,
        "a long number": b"9" * 5_000,
    }
    headers = {"X-Twilio-Signature": "A" * 27 + "="}
    for path in (TWILIO, STATUS):
        answers = {name: (await site.post(path, body, headers))[0] for name, body in bodies.items()}
        assert answers == dict.fromkeys(answers, 400)
        assert (await site.post(path, b"", headers))[0] == 403
        assert (await site.post(path, b"", {"X-Twilio-Signature": signature(path, [])}))[0] == 400
    assert await site.rows() == 0


async def test_what_is_no_update_is_refused(site: Site) -> None:
    bodies = [
        b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff", b"\0", b"NaN", b"[" * 100_000, b'{"a":' * 100_000,
        b"9" * 5_000, b'{"update_id":' + b"9" * 5_000 + b"}", b'{"update_id":1e400}', b'{"update_id":"1"}',
        b'{"update_id":-1.5}', b'{"update_id":true}', b'{"update_id":12345678901234567890123}', b"{'update_id':1}",
        b'{"update_id":1,"message":5}', b'{"update_id":1,"message":[]}', b'{"update_id":1,"message":{"chat":7}}',
    ]  # fmt: skip
    answers = {body[:40]: (await site.post(TELEGRAM, body, {SECRET_HEADER: SECRET}))[0] for body in bodies}
    assert answers == dict.fromkeys(answers, 400)
    assert await site.rows() == 0


async def test_updates_with_values_telegram_does_not_send_are_refused(site: Site) -> None:
    text, date, number, name = '"make it 5 pm"', '"date": 1795000010', '"id": 1111111', '"first_name": "Ada"'
    changes = [
        (text, '"a\\u0000b"'), (text, '"\\ud800"'), (text, '"\\udc00\\ud800"'), (text, "5"), (text, '{"a":1}'),
        (text, "9" * 5_000), (date, '"date": "now"'), (date, '"date": ' + "9" * 5_000), (date, '"date": 1e300'),
        (number, '"id": "1111111"'), (number, '"id": 99999999999999999999'), (number, '"id": null'),
        (name, '"first_name": "\\u0000"'), (name, '"first_name": []'),
    ]  # fmt: skip
    raw = json.dumps(update("reply"))
    assert all(old in raw for old, _ in changes)
    bodies = {new[:40]: raw.replace(old, new).encode() for old, new in changes}
    answers = {new: (await site.post(TELEGRAM, body, {SECRET_HEADER: SECRET}))[0] for new, body in bodies.items()}
    assert answers == dict.fromkeys(answers, 400)
    assert await site.rows() == 0


async def test_a_group_message_waits_until_the_bots_own_name_is_known(site: Site) -> None:
    async with site.session.post(TELEGRAM, json=update("group_mention"), headers={SECRET_HEADER: SECRET}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert await site.rows() == 0


# Bodies that cost too much.


async def raw_answer(site: Site, head: str, body: AsyncIterator[bytes]) -> tuple[bytes, int]:
    """Send a head and a body piece by piece until the server hangs up: what it said, and how much it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head.encode())
    said = asyncio.create_task(reader.read())
    taken = 0
    with suppress(ConnectionError):
        async for piece in body:
            if said.done():
                break
            writer.write(piece)
            await writer.drain()
            taken += len(piece)
    answer = b""
    with suppress(ConnectionError):
        answer = await asyncio.wait_for(said, WITHIN_S)
    writer.close()
    return answer, taken


async def pieces(size: int, *, chunked: bool) -> AsyncIterator[bytes]:
    """`size` bytes of nothing, 16 kB at a time."""
    piece = bytes(16 * 1024)
    for _ in range(size // len(piece)):
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece


KERNEL_BYTES_MAX = 8 * 1024 * 1024
"""What the sockets on both sides may hold of a body that nobody reads."""


async def test_bodies_of_100_mb_are_not_read(site: Site) -> None:
    size = 100 * 1024 * 1024
    signature_line, secret_line = "X-Twilio-Signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=", f"{SECRET_HEADER}: {SECRET}"
    shapes = [
        (TWILIO, signature_line, b"413"), (TWILIO, "X-Nothing: 1", b"403"), (STATUS, signature_line, b"413"),
        (TELEGRAM, secret_line, b"413"), (TELEGRAM, f"{SECRET_HEADER}: wrong", b"403"),
    ]  # fmt: skip
    for path, header, refused in shapes:
        for chunked, wanted in ((True, refused), (False, b"413")):
            length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n{length}\r\n\r\n"
            started = time.monotonic()
            answer, taken = await raw_answer(site, head, pieces(size, chunked=chunked))
            # Hanging up in the middle of a body may take the answer away from a sender that is still writing.
            assert answer == b"" or answer.startswith(b"HTTP/1.1 " + wanted)
            assert taken < KERNEL_BYTES_MAX
            assert time.monotonic() - started < WITHIN_S
    assert await site.rows() == 0


async def test_a_body_just_over_the_limit_is_told_so_and_one_just_under_is_read(site: Site) -> None:
    for path, limit, header in (
        (TWILIO, FORM_BYTES_MAX, f"X-Twilio-Signature: {'A' * 27}="),
        (TELEGRAM, UPDATE_BYTES_MAX, f"{SECRET_HEADER}: {SECRET}"),
    ):
        for size, sent, wanted in ((limit, limit, b"400"), (limit + 1, 0, b"413")):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
            answer, _ = await raw_answer(site, head, pieces(sent, chunked=False))
            assert answer.split()[1] == wanted


async def test_a_compressed_body_is_refused_unread(site: Site) -> None:
    bomb = gzip.compress(bytes(10 * 1024 * 1024))
    for path, headers in ((TWILIO, {"X-Twilio-Signature": "x"}), (TELEGRAM, {SECRET_HEADER: SECRET})):
        status, _ = await site.post(path, bomb, headers | {"Content-Encoding": "gzip"})
        assert status in (400, 413, 415)
    assert await site.rows() == 0


async def test_a_body_that_breaks_off_is_no_message(site: Site) -> None:
    for tail in (b"zz\r\nnot a chunk", b"5\r\nab", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"POST {TELEGRAM} HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {SECRET}\r\n".encode())
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n" + tail)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), WITHIN_S)
        writer.close()
        assert not answer or answer.split()[1] == b"400"
    assert await site.rows() == 0
    assert await site.telegram(update("reply")) == (200, b"")


# Delivery statuses.


async def owed(db: Database) -> int:
    """An outbox row of unknown outcome; its id."""
    sender = Address(ChannelName.WHATSAPP, "whatsapp:+14155238886", "whatsapp:+254712345678", "whatsapp:+254712345678")
    [received] = await Inbox(db, Wakes(db)).receive(
        [InboundMessage(sender, "SM1", (Text(text="hi"),), datetime.now(UTC))]
    )
    async with db.hot() as connection:
        await post(connection, [NewMessage(received.conversation_id, (Text(text="hello"),), "reply", "key")])
    outbox_id: int = await db.pool.fetchval("UPDATE outbox SET state = 'unknown', attempt = 1 RETURNING id")
    return outbox_id


async def callback(site: Site, path: str, name: str, **changes: str | None) -> int:
    """POST a recorded status callback, signed."""
    params = form(name, **changes)
    status, _ = await site.post(path, urlencode(params).encode(), signed(path, params))
    return status


async def test_a_status_callback_settles_an_unknown_outcome_by_our_own_reference(site: Site) -> None:
    path = f"{STATUS}?outbox={await owed(site.db)}"
    seen = []
    for name in ("status_sent", "status_read", "status_delivered", "status_sent"):
        assert await callback(site, path, name) == 200
        row = await site.db.pool.fetchrow("SELECT state, provider_status, provider_message_id FROM outbox")
        seen.append((row["state"], row["provider_status"]))
    assert seen == [("sent", "sent"), ("sent", "read"), ("sent", "read"), ("sent", "read")]
    assert row["provider_message_id"] == "SM" + "b" * 32


async def test_a_failure_that_is_told_later_refuses_the_message_and_says_why(site: Site) -> None:
    path = f"{STATUS}?outbox={await owed(site.db)}"
    assert await callback(site, path, "status_sent") == 200
    assert await callback(site, STATUS, "status_window_closed", ErrorCode="63003") == 200
    assert await callback(site, path, "status_delivered") == 200
    row = await site.db.pool.fetchrow("SELECT state, provider_status, error FROM outbox")
    assert (row["state"], row["provider_status"]) == ("refused", "undelivered")
    assert "not on WhatsApp" in row["error"]


async def test_a_window_that_was_shut_after_all_is_decided_upon_again_once(site: Site) -> None:
    """However often and late Twilio says so, and whatever it says of that try afterwards."""
    outbox_id = await owed(site.db)
    path = f"{STATUS}?outbox={outbox_id}"
    assert await callback(site, path, "status_sent") == 200
    answers = await asyncio.gather(*(callback(site, path, "status_window_closed") for _ in range(8)))
    assert set(answers) == {200}
    [row] = await site.db.pool.fetch("SELECT state, done_at, error, past_ids, held_seq, attempt FROM outbox")
    assert (row["state"], row["done_at"], row["past_ids"]) == ("pending", None, ["SM" + "b" * 32])
    assert "24 hours" in row["error"]
    before = await site.db.pool.fetchrow("SELECT * FROM outbox")
    for late in ("status_window_closed", "status_delivered", "status_sent"):
        assert await callback(site, path, late) == 200
        assert await callback(site, STATUS, late) == 200
    assert await site.db.pool.fetchrow("SELECT * FROM outbox") == before


async def test_an_opt_out_that_twilio_knows_of_is_kept(site: Site) -> None:
    outbox_id = await owed(site.db)
    assert (await site.twilio())[0] == 200
    sender = dict(form("in_text"))
    changes = {"ErrorCode": "21610", "To": sender["From"], "From": sender["To"]}
    assert await callback(site, f"{STATUS}?outbox={outbox_id}", "status_window_closed", **changes) == 200
    [row] = await site.db.pool.fetch("SELECT how, turn_id, ended_at FROM opt_out")
    assert tuple(row) == ("provider", None, None)
    assert await site.db.pool.fetchval("SELECT count(*) FROM audit WHERE verb = 'opt_out.began'") == 1


async def test_statuses_of_strangers_and_of_no_interest_are_acknowledged(site: Site) -> None:
    outbox_id = await owed(site.db)
    assert await callback(site, f"{STATUS}?outbox={outbox_id + 1}", "status_read") == 200
    assert await callback(site, STATUS, "status_read") == 200
    assert await callback(site, f"{STATUS}?outbox={outbox_id}", "status_read", MessageStatus="accepted") == 200
    assert await site.db.pool.fetchval("SELECT state FROM outbox") == "unknown"


async def test_status_callbacks_that_make_no_sense_are_refused(site: Site) -> None:
    outbox_id = await owed(site.db)
    for reference in ("x", "-1", "1.5", "9" * 5_000, "", quote("٣"), quote("1;DROP TABLE outbox"), "%00"):
        assert await callback(site, f"{STATUS}?outbox={reference}", "status_read") == 400
    wrong: list[dict[str, str | None]] = [{"MessageStatus": None}, {"MessageSid": None}, {"ErrorCode": "9" * 5_000}]
    for changes in wrong:
        assert await callback(site, f"{STATUS}?outbox={outbox_id}", "status_read", **changes) == 400
    assert await site.db.pool.fetchval("SELECT provider_status FROM outbox") is None


# While the store is away.


class Road:
    """The only way to PostgreSQL: a socket in a folder of its own, which can be closed or blocked, and opened again."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self._socket = folder / ".s.PGSQL.5432"
        self._postgres = postgres.run / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._travellers: set[asyncio.StreamWriter] = set()
        self._clear = asyncio.Event()
        self._clear.set()

    async def open(self) -> None:
        """Let everybody through."""
        self._clear.set()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._lead, str(self._socket))

    async def close(self) -> None:
        """As if PostgreSQL had died: connections break, and there are no new ones."""
        self._clear.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._socket.unlink(missing_ok=True)
        for traveller in list(self._travellers):
            traveller.transport.abort()

    def block(self) -> None:
        """As if PostgreSQL had frozen: connections stay, and nothing comes back."""
        self._clear.clear()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(self._postgres))
        self._travellers |= {writer, back}

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    await self._clear.wait()
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(carry(reader, back), carry(there, writer))
        self._travellers -= {writer, back}


@pytest.fixture
async def road(scratch: Path, postgres: Postgres, tmp_path: Path) -> AsyncIterator[Road]:
    """An open road to PostgreSQL."""
    folder = scratch / f"road-{tmp_path.name[-8:]}-{time.monotonic_ns() % 10**6}"
    folder.mkdir()
    made = Road(folder, postgres)
    await made.open()
    yield made
    await made.close()


async def provider_tries(site: Site, number: int) -> tuple[int, float, str | None]:
    """One Telegram or Twilio webhook, by turns: status, seconds it took, and Retry-After."""
    started = time.monotonic()
    if number % 2:
        params = form(MessageSid=f"SM{number:032}")
        sent = site.session.post(TWILIO, data=urlencode(params).encode(), headers=signed(TWILIO, params))
    else:
        body = json.dumps(update("reply") | {"update_id": number}).encode()
        sent = site.session.post(TELEGRAM, data=body, headers={SECRET_HEADER: SECRET})
    async with sent as response:
        return response.status, time.monotonic() - started, response.headers.get("Retry-After")


@pytest.mark.parametrize("how", ["closed", "blocked"])
async def test_while_postgres_is_away_nothing_is_acknowledged_and_afterwards_nothing_is_lost(
    road: Road, database: str, how: str
) -> None:
    db = await Database.connect(
        f"postgresql://{APP}@/{database}?host={road._socket.parent}", Settings(_env_file=None).key_list
    )
    async with serving(db) as site:
        assert (await provider_tries(site, 0))[0] == 200
        if how == "closed":
            await road.close()
        else:
            road.block()
        answers = await asyncio.gather(*(provider_tries(site, number) for number in range(1, 51)))
        assert {(status, retry) for status, _, retry in answers} == {(503, "5")}
        assert max(took for _, took, _ in answers) < WITHIN_S
        params = form("status_read")
        started = time.monotonic()
        status, _ = await site.post(STATUS, urlencode(params).encode(), signed(STATUS, params))
        assert (status, time.monotonic() - started < WITHIN_S) == (503, True)
        await road.open()
        waiting = set(range(51))
        give_up_at = time.monotonic() + 30.0
        while waiting:
            assert time.monotonic() < give_up_at, f"{len(waiting)} webhooks are still refused"
            tries = await asyncio.gather(*(provider_tries(site, number) for number in sorted(waiting)))
            waiting = {number for number, (code, *_) in zip(sorted(waiting), tries, strict=True) if code != 200}
        assert await site.rows() == 51
    await db.close()
