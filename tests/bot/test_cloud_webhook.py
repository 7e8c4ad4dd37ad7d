"""Meta's webhook over real HTTP into a real store: who is believed, what is stored, what is promised."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from pydantic import SecretStr

from bot.servers.postgres import APP, Postgres
from bot.webhooks import BATCH_BYTES_MAX
from core.db import Database
from core.settings import Settings
from tests.bot.test_webhooks import PUBLIC, RECORDINGS, TOKEN, Site, owed, serving
from tests.said import messages

PATH = "/webhooks/whatsapp"
SECRET = "an-app-secret"
VERIFY = "words of our own"
HEADER = "X-Hub-Signature-256"
ACCOUNT = "106540352242922"
CLOUD: dict[str, Any] = {
    "meta_phone_number_id": ACCOUNT,
    "meta_access_token": SecretStr("an-access-token"),
    "meta_app_secret": SecretStr(SECRET),
    "meta_verify_token": SecretStr(VERIFY),
}


@pytest.fixture
async def site(db: Database) -> AsyncIterator[Site]:
    """The webhooks on a fresh database."""
    async with serving(db, **CLOUD) as served:
        yield served


def recorded(name: str = "in_text") -> dict[str, Any]:
    """A recorded webhook."""
    found: dict[str, Any] = json.loads((RECORDINGS / "meta" / f"{name}.json").read_text())
    return found


def value(webhook: dict[str, Any]) -> dict[str, Any]:
    """Its only change."""
    found: dict[str, Any] = webhook["entry"][0]["changes"][0]["value"]
    return found


def sign(body: bytes, secret: str = SECRET, algorithm: str = "sha256") -> str:
    """What Meta would send."""
    return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"


async def post(site: Site, webhook: object) -> tuple[int, bytes]:
    """POST a webhook, signed, as Meta writes it: ASCII, slashes escaped."""
    body = json.dumps(webhook).replace("/", "\\/").encode()
    return await site.post(PATH, body, {HEADER: sign(body)})


async def test_a_signed_message_is_stored_and_acknowledged_with_nothing(site: Site) -> None:
    webhook = recorded()
    value(webhook)["messages"][0]["text"]["body"] = "café 😀 / \n"
    assert await post(site, webhook) == (200, b"")
    [row] = await messages(site.db, also=["m.channel", "m.account"])
    assert {name: row[name] for name in ("channel", "account", "event_id", "parts")} == {
        "channel": "whatsapp",
        "account": ACCOUNT,
        "event_id": "wamid.HBgMMjU0NzEyMzQ1Njc4FQIAEhgg",
        "parts": [{"kind": "text", "text": "café 😀 / \n"}],
    }
    assert await site.db.pool.fetchval("SELECT room FROM conversation") == "254712345678"


async def test_every_one_of_metas_examples_is_acknowledged(site: Site) -> None:
    examples = recorded("webhook_examples")
    for number, webhook in enumerate([*examples.values(), recorded("in_without_number")]):
        for message in value(webhook).get("messages", []):
            message["id"] = f"wamid.{number}"
        assert await post(site, webhook) == (200, b"")
    assert await site.rows() == 12


async def frozen(site: Site) -> set[str]:
    rows = await site.db.pool.fetch("SELECT provider_id FROM renumbering WHERE ended_at IS NULL")
    return {row["provider_id"] for row in rows}


async def test_a_number_that_changed_is_kept_once_for_the_old_and_the_new(site: Site) -> None:
    webhook = recorded("webhook_examples")["System Message"]
    answers = await asyncio.gather(*(post(site, webhook) for _ in range(8)))
    assert set(answers) == {(200, b"")}
    assert await frozen(site) == {"16505551234", "12195555358"}
    assert await site.rows() == 0
    assert await post(site, recorded("in_user_id_changed")) == (200, b"")
    assert len(await frozen(site)) == 4


async def test_another_id_behind_a_number_freezes_it_before_its_words_are_stored(site: Site) -> None:
    first, second, third = recorded(), recorded(), recorded()
    for number, (webhook, user_id) in enumerate(((first, "KE.1"), (second, "KE.1"), (third, "KE.2"))):
        value(webhook)["messages"][0] |= {"id": f"wamid.{number}", "from_user_id": user_id}
    for webhook in (first, second):
        assert await post(site, webhook) == (200, b"")
    assert await frozen(site) == set()
    assert await post(site, third) == (200, b"")
    assert await frozen(site) == {"254712345678"}
    assert await site.rows() == 3


async def test_the_same_webhook_many_times_at_once_is_one_message(site: Site) -> None:
    answers = await asyncio.gather(*(post(site, recorded()) for _ in range(64)))
    assert set(answers) == {(200, b"")}
    assert await site.rows() == 1


async def test_a_batch_of_a_thousand_is_stored_in_order_and_once(site: Site) -> None:
    webhook = recorded()
    [first] = value(webhook)["messages"]
    value(webhook)["messages"] = [
        first | {"id": f"wamid.{n}", "from": f"2547000000{n % 10:02}", "text": {"body": str(n)}} for n in range(1_000)
    ]
    value(webhook)["messages"].insert(500, {"from": "254700000000", "type": "text"})
    for _ in range(2):
        assert await post(site, webhook) == (200, b"")
    assert await site.rows() == 1_000
    rows = await messages(site.db, "ORDER BY conversation_id, seq")
    heard: dict[object, list[int]] = {}
    for row in rows:
        heard.setdefault(row["conversation_id"], []).append(int(row["parts"][0]["text"]))
    assert len(heard) == 10
    assert all(numbers == sorted(numbers) for numbers in heard.values())


async def test_a_status_settles_a_message_by_our_reference_in_any_order(site: Site) -> None:
    outbox_id = await owed(site.db)
    webhook = recorded("status_window_closed")
    [failed] = value(webhook)["statuses"]
    said = {name: failed[name] for name in ("id", "timestamp", "recipient_id")}
    said["biz_opaque_callback_data"] = f"outbox:{outbox_id}"
    value(webhook)["statuses"] = [said | {"status": name} for name in ("read", "delivered", "sent", "sent", "warned")]
    assert await post(site, webhook) == (200, b"")
    row = await site.db.pool.fetchrow("SELECT provider_status, provider_message_id FROM outbox")
    assert tuple(row) == ("read", failed["id"])
    value(webhook)["statuses"] = [failed | {"biz_opaque_callback_data": f"outbox:{outbox_id}"}]
    assert await post(site, webhook) == (200, b"")
    row = await site.db.pool.fetchrow("SELECT state, error FROM outbox")
    assert row["state"] == "refused"
    assert "24 hours" in row["error"]


async def test_a_message_that_the_window_shut_out_late_is_decided_upon_again_once(site: Site) -> None:
    outbox_id = await owed(site.db)
    webhook = recorded("status_window_closed")
    [failed] = value(webhook)["statuses"]
    value(webhook)["statuses"] = [failed | {"biz_opaque_callback_data": f"outbox:{outbox_id}"}]
    for _ in range(2):
        assert await post(site, webhook) == (200, b"")
    row = await site.db.pool.fetchrow("SELECT state, error, past_ids FROM outbox")
    assert (row["state"], row["past_ids"]) == ("pending", [failed["id"]])
    assert "24 hours" in row["error"]


async def test_statuses_of_strangers_are_acknowledged(site: Site) -> None:
    assert await post(site, recorded("status_window_closed")) == (200, b"")


def forgeries() -> dict[str, tuple[str, dict[str, str], bytes]]:
    """Path, headers and body of webhooks that Meta did not send."""
    body = json.dumps(recorded()).encode()
    genuine = sign(body)
    escaped = body.replace(b"/", b"\\/").replace(b"Hi", b"\\u0048i")
    plain = json.dumps(recorded(), separators=(",", ":")).encode()
    raw = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()
    return {
        "no signature": (PATH, {}, body),
        "an empty signature": (PATH, {HEADER: ""}, body),
        "a blank signature": (PATH, {HEADER: "  "}, body),
        "the prefix alone": (PATH, {HEADER: "sha256="}, body),
        "no prefix": (PATH, {HEADER: genuine.removeprefix("sha256=")}, body),
        "another secret": (PATH, {HEADER: sign(body, "another-secret")}, body),
        "an empty secret": (PATH, {HEADER: sign(body, "")}, body),
        "the verify token as secret": (PATH, {HEADER: sign(body, VERIFY)}, body),
        "the access token as secret": (PATH, {HEADER: sign(body, "an-access-token")}, body),
        "Twilio's token as secret": (PATH, {HEADER: sign(body, TOKEN)}, body),
        "the secret's first half": (PATH, {HEADER: sign(body, SECRET[:6])}, body),
        "a signature cut short": (PATH, {HEADER: genuine[:-1]}, body),
        "a signature made longer": (PATH, {HEADER: genuine + "0"}, body),
        "a signature in upper case": (PATH, {HEADER: genuine.upper()}, body),
        "digits in upper case": (PATH, {HEADER: "sha256=" + genuine[7:].upper()}, body),
        "a signature in base64": (PATH, {HEADER: f"sha256={raw}"}, body),
        "two signatures": (PATH, {HEADER: f"{genuine},{genuine}"}, body),
        "a signature of zeros": (PATH, {HEADER: "sha256=" + "0" * 64}, body),
        "a signature not in ASCII": (PATH, {HEADER: "sha256=" + "é" * 64}, body),
        "a very long signature": (PATH, {HEADER: "sha256=" + "0" * 6_000}, body),
        "a hash without a key": (PATH, {HEADER: f"sha256={hashlib.sha256(body).hexdigest()}"}, body),
        "secret and body hashed": (
            PATH,
            {HEADER: f"sha256={hashlib.sha256(SECRET.encode() + body).hexdigest()}"},
            body,
        ),
        "the old hash": (PATH, {"X-Hub-Signature": sign(body, algorithm="sha1")}, body),
        "the old hash in the new header": (PATH, {HEADER: sign(body, algorithm="sha1")}, body),
        "a longer hash": (PATH, {HEADER: sign(body, algorithm="sha512")}, body),
        "the signature in the query": (f"{PATH}?{urlencode({HEADER: genuine})}", {}, body),
        "the signature in another header": (PATH, {"X-Hub-Signature": genuine}, body),
        "the verify token": (f"{PATH}?{urlencode({'hub.verify_token': VERIFY})}", {}, body),
        "the access token": (PATH, {"Authorization": "Bearer an-access-token"}, body),
        "a signature over the address too": (PATH, {HEADER: sign((PUBLIC + PATH).encode() + body)}, body),
        "a signature over no body": (PATH, {HEADER: sign(b"")}, body),
        "no body": (PATH, {HEADER: genuine}, b""),
        "another text": (PATH, {HEADER: genuine}, body.replace(b"Hi", b"Pay")),
        "another sender": (PATH, {HEADER: genuine}, body.replace(b"254712345678", b"254700000000")),
        "a space more": (PATH, {HEADER: genuine}, body + b" "),
        "the same meaning in other bytes": (PATH, {HEADER: genuine}, escaped),
        "the same meaning without spaces": (PATH, {HEADER: genuine}, plain),
        "the signature in a cookie": (PATH, {"Cookie": f"{HEADER}={genuine}"}, body),
        "the signature as a bearer": (PATH, {"Authorization": f"Bearer {genuine}"}, body),
        "the signature in quotes": (PATH, {HEADER: f'"{genuine}"'}, body),
        "Twilio's signature": (PATH, {"X-Twilio-Signature": raw}, body),
        "another number of ours": (PATH, {HEADER: genuine}, body.replace(ACCOUNT.encode(), b"106540352242923")),
    }


async def test_forged_webhooks_are_refused_without_detail_and_leave_no_row(site: Site) -> None:
    answers = {name: await site.post(path, body, headers) for name, (path, headers, body) in forgeries().items()}
    assert len(answers) >= 40
    assert answers == dict.fromkeys(answers, (403, b"Forbidden."))
    assert await site.rows() == 0


async def test_a_forged_status_changes_nothing(site: Site) -> None:
    outbox_id = await owed(site.db)
    body = json.dumps(recorded("status_window_closed")).replace("4711", str(outbox_id)).encode()
    for headers in ({}, {HEADER: sign(body, "another")}, {HEADER: sign(body[:-1])}):
        assert (await site.post(PATH, body, headers))[0] == 403
    assert await site.db.pool.fetchval("SELECT provider_status FROM outbox") is None


async def test_the_challenge_is_repeated_to_meta_alone(site: Site) -> None:
    async def ask(token: str, mode: str = "subscribe", challenge: str = "1158201444") -> tuple[int, str, str]:
        query = {"hub.mode": mode, "hub.challenge": challenge, "hub.verify_token": token}
        async with site.session.get(PATH, params=query) as response:
            return response.status, await response.text(), response.content_type

    assert await ask(VERIFY) == (200, "1158201444", "text/plain")
    for asked in (
        (VERIFY[:-1],),
        ("",),
        (VERIFY.upper(),),
        (SECRET,),
        (VERIFY, "unsubscribe"),
        (VERIFY, "subscribe", ""),
    ):
        assert (await ask(*asked))[:2] == (403, "Forbidden.")
    async with site.session.get(PATH) as response:
        assert response.status == 403


async def test_without_a_secret_there_is_no_webhook(db: Database) -> None:
    body = json.dumps(recorded()).encode()
    async with serving(db) as site:
        for secret in ("", SECRET):
            assert (await site.post(PATH, body, {HEADER: sign(body, secret)}))[0] == 404
        async with site.session.get(PATH, params={"hub.mode": "subscribe", "hub.verify_token": ""}) as response:
            assert response.status == 404
        assert await site.rows() == 0
    async with serving(db, **CLOUD | {"meta_verify_token": SecretStr("")}) as site:
        query = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": ""}
        async with site.session.get(PATH, params=query) as response:
            assert response.status == 403


async def test_only_get_and_post_are_answered(site: Site) -> None:
    for method in ("HEAD", "PUT", "DELETE", "PATCH"):
        async with site.session.request(method, PATH) as response:
            assert response.status == 405


async def test_what_is_signed_and_no_webhook_is_refused(site: Site) -> None:
    for body in (
        b"{",
        b"null",
        b"[]",
        b"5",
        b"{}",
        b"\xff",
        b"\0",
        b"NaN",
        b"[" * 100_000,
        b'{"entry":7}',
        b"9" * 5_000,
    ):
        assert (await site.post(PATH, body, {HEADER: sign(body)}))[0] == 400, body[:20]
    assert await site.rows() == 0


async def stream(site: Site, body: bytes) -> int:
    """POST a large signed body; the status."""
    async with site.session.post(PATH, data=io.BytesIO(body), headers={HEADER: sign(body)}) as response:
        return response.status


async def test_a_body_too_large_or_compressed_is_refused(site: Site) -> None:
    large = b'{"entry":[]}' + b" " * BATCH_BYTES_MAX
    assert await stream(site, large) == 413
    packed = gzip.compress(json.dumps(recorded()).encode())
    assert (await site.post(PATH, packed, {HEADER: sign(packed), "Content-Encoding": "gzip"}))[0] == 415
    full = b'{"entry":[]}'.ljust(BATCH_BYTES_MAX)
    assert await stream(site, full) == 200


async def test_a_store_that_is_away_is_not_acknowledged(database: str, postgres: Postgres) -> None:
    db = await Database.connect(postgres.url(APP, database), Settings(_env_file=None).key_list)
    async with serving(db, **CLOUD) as site:
        await db.pool.close()
        for name in ("in_text", "status_window_closed"):
            body = json.dumps(recorded(name)).encode()
            async with site.session.post(PATH, data=body, headers={HEADER: sign(body)}) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert isinstance(site.session, aiohttp.ClientSession)
