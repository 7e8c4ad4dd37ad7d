"""Sites on the socket: their origins, their look, and their proved users, on a real PostgreSQL and Valkey."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import WSServerHandshakeError

from core import sites
from core.crypto import KeyList
from core.db import Database
from core.errors import UserError
from core.proof import hash_of
from core.rotation import rewrap
from core.settings import Settings
from core.sites import OVERLAP, Draft
from tests.channels.browser import Browser, Frame, Running, Site
from tests.said import called

SHOP, BLOG = "https://shop.example", "https://blog.example"


def draft(**fields: str) -> Draft:
    known = {"name": "Shop", "title": "Duka", "colour": "#ffd54a", "position": "left", "origins": SHOP}
    return Draft.parse(known | fields)


@pytest.fixture
async def site(db: Database, valkey_url: str) -> AsyncIterator[Site]:
    async with Running(Settings(), db, valkey_url) as running:
        yield running


async def make(db: Database, **fields: str) -> tuple[str, str]:
    """A new site with an identity secret: its key, and the secret."""
    async with db.transaction() as session:
        key = await sites.create_site(session, draft(**fields))
    return key, await rotate(db, key)


async def rotate(db: Database, key: str, now: datetime | None = None) -> str:
    async with db.transaction() as session:
        return await sites.rotate_secret(session, key, now or datetime.now(UTC))


async def hello(browser: Browser, key: str, token: str | None = None, **more: object) -> Frame:
    await browser.say({"type": "hello", "token": token, "since": 0, "site": key, **more})
    return await browser.hear()


def proof(user_id: str, secret: str, **more: str) -> dict[str, str]:
    return {"user_id": user_id, "hash": hash_of(user_id, secret), **more}


async def person(db: Database, room: str) -> UUID:
    found: UUID = await db.pool.fetchval("SELECT person_id FROM identity WHERE provider_id = $1", room)
    return found


async def test_a_site_opens_for_its_own_origins_alone_and_at_once(site: Site) -> None:
    key, _ = await make(site.db)
    other, _ = await make(site.db, origins=BLOG)
    async with site.browser(SHOP) as browser:
        assert (await hello(browser, other))["code"] == "origin"
        assert (await hello(browser, "default"))["code"] == "origin"
        assert (await hello(browser, "nowhere"))["code"] == "site"
        assert (await hello(browser, key))["type"] == "welcome"
    async with site.db.transaction() as session:
        await sites.change_site(session, key, draft(origins=""))
    with pytest.raises(WSServerHandshakeError) as refused:
        await site.session.ws_connect(f"{site.url}/ws", headers={"Origin": SHOP})
    assert refused.value.status == 403
    async with site.browser() as browser:
        assert (await hello(browser, key))["type"] == "welcome"


async def test_a_token_of_another_site_is_not_known(site: Site) -> None:
    key, _ = await make(site.db)
    async with site.browser() as browser:
        token = (await hello(browser, key))["token"]
    async with site.browser() as browser:
        assert (await hello(browser, "default", token))["code"] == "token"
    async with site.browser() as browser:
        assert (await hello(browser, key, token))["token"] == token


async def test_a_sites_conversation_is_its_own_and_is_answered(site: Site) -> None:
    key, _ = await make(site.db)
    async with site.browser(SHOP) as browser:
        room = (await hello(browser, key))["conversation"]
        await browser.send("habari")
        await site.post(room, "Nzuri.")
        await site.deliver(room)
        assert (await browser.hear("msg"))["parts"][0]["text"] == "Nzuri."
    assert await site.db.pool.fetchval("SELECT account FROM conversation WHERE room = $1", room) == key


async def test_the_look_is_told_to_listed_pages_and_changes_at_once(site: Site) -> None:
    key, _ = await make(site.db, greeting_sw="Karibu dukani.")
    address = f"{site.url}/widget/{key}.json"
    async with site.session.get(address, headers={"Origin": SHOP}) as response:
        look = await response.json()
        assert response.headers["Access-Control-Allow-Origin"] == SHOP
    assert look["title"] == "Duka"
    assert look["position"] == "left"
    assert look["greeting"] == {"sw": "Karibu dukani."}
    assert look["colours"]["accent"] == "#ffd54a"
    assert look["colours"]["on"] == "#000000"
    async with site.db.transaction() as session:
        await sites.change_site(session, key, draft(title="Soko", origins=BLOG))
    async with site.session.get(address, headers={"Origin": SHOP}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    async with site.session.get(address) as response:
        assert (await response.json())["title"] == "Soko"
    for path, status in ((f"{address}?colour=red", 400), (f"{site.url}/widget/nowhere.json", 404),
                         (f"{site.url}/widget/%00.json", 404)):  # fmt: skip
        async with site.session.get(path) as response:
            assert response.status == status


async def test_a_proved_user_finds_their_conversation_on_another_device(site: Site) -> None:
    key, secret = await make(site.db)
    async with site.browser(SHOP) as phone, site.browser(SHOP) as laptop:
        first = await hello(phone, key, identity=proof("42", secret, name="Amina"))
        await phone.send("habari")
        second = await hello(laptop, key, identity=proof("42", secret))
        assert second["conversation"] == first["conversation"]
        assert second["token"] != first["token"]
        assert (await laptop.hear("msg"))["parts"][0]["text"] == "habari"
    async with site.browser(SHOP) as phone, site.browser(SHOP) as stranger:
        again = await hello(phone, key, first["token"], identity=proof("42", secret, name="Amina"))
        assert again["token"] == first["token"]
        assert (await hello(stranger, key, identity=proof("43", secret)))["conversation"] != first["conversation"]
    name = "SELECT display_name FROM identity WHERE provider_id = $1"
    assert await called(site.db, name, first["conversation"]) == "Amina"


async def test_what_was_said_before_signing_in_stays(site: Site) -> None:
    """Where the user has no chat yet it becomes theirs; where they have one, its person becomes theirs."""
    key, secret = await make(site.db)
    async with site.browser(SHOP) as browser:
        before = await hello(browser, key)
        await browser.send("before", cid="one")
    async with site.browser(SHOP) as browser:
        after = await hello(browser, key, before["token"], identity=proof("42", secret))
        assert after["conversation"] == before["conversation"]
        assert (await browser.hear("msg"))["cid"] == "one"
        assert (await browser.send("before", cid="one"))["seq"] == 1
    async with site.browser(SHOP) as browser:
        assert (await hello(browser, key, before["token"]))["code"] == "token"
    async with site.browser(SHOP) as browser:
        other = await hello(browser, key)
        await browser.send("on the laptop")
    async with site.browser(SHOP) as browser:
        joined = await hello(browser, key, other["token"], identity=proof("42", secret))
    assert joined["conversation"] == before["conversation"]
    assert await person(site.db, other["conversation"]) == await person(site.db, before["conversation"])


async def test_a_device_of_one_user_is_not_brought_to_another(site: Site) -> None:
    key, secret = await make(site.db)
    async with site.browser(SHOP) as browser:
        amina = await hello(browser, key, identity=proof("amina", secret))
        await browser.send("mine")
    async with site.browser(SHOP) as browser:
        baraka = await hello(browser, key, amina["token"], identity=proof("baraka", secret))
        await browser.send("and mine")
    assert baraka["conversation"] != amina["conversation"]
    assert await person(site.db, amina["conversation"]) != await person(site.db, baraka["conversation"])
    async with site.browser(SHOP) as browser:
        assert (await hello(browser, key, amina["token"]))["code"] == "token"


async def test_what_is_not_proved_changes_nothing(site: Site) -> None:
    key, secret = await make(site.db)
    _, others = await make(site.db, origins=BLOG)
    async with site.browser(SHOP) as browser:
        token = (await hello(browser, key))["token"]
        await browser.send("habari")
    tables = (
        "SELECT (SELECT count(*) FROM web_visitor), (SELECT count(*) FROM site_user), (SELECT count(*) FROM person)"
    )
    rows = await site.db.pool.fetchrow(tables)
    async with site.browser(SHOP) as browser:
        for claim in (
            {}, proof("42", others), {"user_id": "42"}, {"user_id": 42, "hash": hash_of("42", secret)},
            {"user_id": "x" * 10_240, "hash": hash_of("x" * 10_240, secret)}, {"jwt": "a.b.c"}, {"jwt": "x" * 10_240},
            {"user_id": ""}, "42", proof("42", secret) | {"jwt": "a.b.c"},
        ):  # fmt: skip
            refused = await hello(browser, key, token, identity=claim)
            assert refused["code"] == "identity", claim
        assert await site.db.pool.fetchrow(tables) == rows
        assert (await hello(browser, key, token))["token"] == token


def forgeries(key: str, secret: str, others: str, now: datetime) -> dict[str, object]:
    """What a page may say of its visitor that its server did not prove."""

    def token(of: str = secret, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **said: Any) -> str:
        claims = {"sub": "42", "exp": int(now.timestamp()) + 600} | said
        return jwt.encode({name: one for name, one in claims.items() if one is not None}, of, algorithm, headers)

    def bare(**said: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    head, body, signed = token().split(".")
    good, at = hash_of("42", secret), now.timestamp()
    raw = base64.b64encode(hmac.digest(secret.encode(), b"42", "sha256")).decode()
    return {
        "nothing": {}, "a text": "42", "a list": ["42", good], "a number": 42,
        "no hash": {"user_id": "42"}, "no user": {"hash": good}, "an empty hash": {"user_id": "42", "hash": ""},
        "a hash that is none": {"user_id": "42", "hash": None}, "a list of hashes": {"user_id": "42", "hash": [good]},
        "zeros": {"user_id": "42", "hash": "0" * 64}, "a hash cut short": {"user_id": "42", "hash": good[:-1]},
        "a hash made longer": {"user_id": "42", "hash": good + "0"}, "a hash in base64": {"user_id": "42", "hash": raw},
        "a hash with its name": {"user_id": "42", "hash": f"sha256={good}"},
        "a hash without a key": {"user_id": "42", "hash": hashlib.sha256(b"42").hexdigest()},
        "secret and user hashed": {"user_id": "42", "hash": hashlib.sha256(f"{secret}42".encode()).hexdigest()},
        "a longer hash": {"user_id": "42", "hash": hmac.digest(secret.encode(), b"42", "sha512").hex()},
        "an older hash": {"user_id": "42", "hash": hmac.digest(secret.encode(), b"42", "sha1").hex()},
        "the secret's bytes as key": {"user_id": "42", "hash": hmac.digest(secret.encode()[:8], b"42", "sha256").hex()},
        "the site's key as secret": proof("42", key), "an empty secret": proof("42", ""),
        "another site's secret": proof("42", others), "another user's hash": {"user_id": "43", "hash": good},
        "a user and a space": {"user_id": "42 ", "hash": good}, "a number as user": {"user_id": 42, "hash": good},
        "an empty user": proof("", secret), "a blank user": proof(" ", secret), "a NUL": proof("4\0002", secret),
        "a new line": proof("4\n2", secret), "a very long user": proof("4" * 10_240, secret),
        "a very long address": proof("42", secret, email="x" * 10_240),
        "hash and token": proof("42", secret) | {"jwt": token()}, "no token": {"jwt": ""}, "dots": {"jwt": "." * 3_000},
        "no algorithm": {"jwt": f"{bare(alg='none')}.{body}."}, "no signature": {"jwt": f"{head}.{body}."},
        "another algorithm": {"jwt": token(algorithm="HS512")}, "another secret": {"jwt": token(others)},
        "a key of its own": {"jwt": token(others, headers={"jwk": {"kty": "oct", "k": others}})},
        "a key from a file": {"jwt": token("0" * 32, headers={"kid": "/dev/null"})},
        "another user in it": {"jwt": f"{head}.{bare(sub='43', exp=at + 600)}.{signed}"},
        "an algorithm in it": {"jwt": f"{bare(alg='RS256', typ='JWT')}.{body}.{signed}"},
        "expired": {"jwt": token(exp=int(at) - 1)}, "for ever": {"jwt": token(exp=None)},
        "for a week": {"jwt": token(exp=int(at) + 7 * 86_400)}, "not yet": {"jwt": token(nbf=int(at) + 300)},
        "nobody's": {"jwt": token(sub=None)},
    }  # fmt: skip


async def test_forged_proofs_are_refused_and_leave_no_row(site: Site) -> None:
    key, secret = await make(site.db)
    _, others = await make(site.db, origins=BLOG)
    shapes = forgeries(key, secret, others, datetime.now(UTC))
    assert len(shapes) >= 40
    async with site.browser(SHOP) as browser:
        answers = {name: (await hello(browser, key, identity=claim)).get("code") for name, claim in shapes.items()}
        assert answers == dict.fromkeys(answers, "identity")
        for table in ("web_visitor", "site_user", "person", "identity", "conversation", "message"):
            assert await site.db.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608  ours
        assert (await hello(browser, key, identity=proof("42", secret)))["type"] == "welcome"


async def test_signing_out_ends_the_token_of_this_device_alone(site: Site) -> None:
    key, secret = await make(site.db)
    async with site.browser(SHOP) as phone, site.browser(SHOP) as laptop:
        first = await hello(phone, key, identity=proof("42", secret))
        second = await hello(laptop, key, identity=proof("42", secret))
        await phone.say({"type": "logout"})
        ended = await phone.socket.receive()
        assert ended.data == 4401
    async with site.browser(SHOP) as phone, site.browser(SHOP) as laptop:
        assert (await hello(phone, key, first["token"]))["code"] == "token"
        assert (await hello(laptop, key, second["token"]))["type"] == "welcome"


async def test_signing_out_closes_the_other_tabs_of_the_browser_too(site: Site, db: Database, valkey_url: str) -> None:
    key, secret = await make(site.db)
    async with (
        Running(Settings.model_validate({}), db, valkey_url) as elsewhere,
        site.browser(SHOP) as tab, site.browser(SHOP) as other,
        elsewhere.browser(SHOP) as far, site.browser(SHOP) as laptop,
    ):  # fmt: skip
        token = (await hello(tab, key, identity=proof("42", secret)))["token"]
        for browser in (other, far):
            assert (await hello(browser, key, token))["type"] == "welcome"
        await hello(laptop, key, identity=proof("42", secret))
        await tab.say({"type": "logout"})
        assert (await tab.socket.receive(5)).data == 4401
        assert (await other.socket.receive(5)).data == 4401
        assert (await far.socket.receive(5)).data == 4401
        await laptop.send("still here")


async def test_a_secret_is_good_for_a_day_after_the_next_was_made(site: Site) -> None:
    key, first = await make(site.db)
    second = await rotate(site.db, key)
    now = datetime.now(UTC)
    assert await sites.identity_secrets(site.db, key, now) == [second, first]
    assert await sites.identity_secrets(site.db, key, now + OVERLAP + timedelta(seconds=1)) == [second]
    third = await rotate(site.db, key)
    assert await sites.identity_secrets(site.db, key, datetime.now(UTC)) == [third, second]
    stored = "\n".join(str(row) for row in await site.db.pool.fetch("SELECT site_secret::text FROM site_secret"))
    assert all(secret not in stored for secret in (first, second, third))


async def test_secrets_outlive_the_key_they_were_sealed_under(site: Site, database_url: str) -> None:
    key, secret = await make(site.db)
    old = site.db.keys.key_list
    both = KeyList.parse(f"{KeyList.new('newer').written()},{old.written()}")
    await rewrap(site.db, both)
    later = await Database.connect(database_url, both.without(*old.ids))
    try:
        assert await sites.identity_secrets(later, key, datetime.now(UTC)) == [secret]
    finally:
        await later.close()


async def test_secrets_made_at_once_leave_two(site: Site) -> None:
    key, _ = await make(site.db)
    made = await asyncio.gather(*(rotate(site.db, key) for _ in range(4)))
    good = await sites.identity_secrets(site.db, key, datetime.now(UTC))
    assert len(good) == 2
    assert set(good) <= set(made)


async def test_one_user_signing_in_everywhere_at_once_is_one_visitor(site: Site) -> None:
    """Four devices, each with something said before: one conversation goes on, and one person has them all."""
    key, secret = await make(site.db)
    before = []
    for number in range(4):
        async with site.browser(SHOP) as browser:
            before.append(await hello(browser, key))
            await browser.send(f"device {number}")

    async def enter(token: str) -> str:
        async with site.browser(SHOP) as browser:
            return str((await hello(browser, key, token, identity=proof("42", secret)))["conversation"])

    rooms = await asyncio.gather(*(enter(one["token"]) for one in before))
    assert len(set(rooms)) == 1
    assert len({await person(site.db, one["conversation"]) for one in before}) == 1


async def test_older_messages_are_asked_for(site: Site) -> None:
    async with site.browser() as browser:
        welcome = await browser.hello()
        await browser.send("first")
        await site.post(welcome["conversation"], *(f"line {number}" for number in range(120)))
    async with site.browser() as browser:
        later = await hello(browser, "default", welcome["token"], last=20)
        assert (later["seq"], later["after"]) == (121, 101)
        assert await browser.hear_seqs(121) == list(range(102, 122))
        seqs: list[int] = []
        more, start = True, 102
        while more:
            await browser.say({"type": "older", "before": start})
            page = await browser.hear("older")
            seqs = [message["seq"] for message in page["messages"]] + seqs
            more, start = page["more"], seqs[0]
        assert seqs == list(range(1, 102))
        for wrong in ({"type": "older"}, {"type": "older", "before": 0}, {"type": "older", "before": "5"}):
            assert await browser.refused(wrong) == "bad_frame"


async def test_who_is_connected_from_a_page_that_is_listed_no_more_is_sent_away(site: Site) -> None:
    key, _ = await make(site.db, origins=f"{SHOP} {BLOG}")
    async with site.browser(SHOP) as gone, site.browser(BLOG) as stays, site.browser() as ours:
        for browser in (gone, stays, ours):
            assert (await hello(browser, key))["type"] == "welcome"
        async with site.db.transaction() as session:
            await sites.change_site(session, key, draft(origins=BLOG))
        closed = await gone.socket.receive(5)
        assert closed.data == 4403
        await stays.send("still here")
        await ours.send("we too")


async def test_a_deleted_site_lets_nobody_in_and_its_conversations_stay(site: Site) -> None:
    key, secret = await make(site.db)
    other, _ = await make(site.db, origins=BLOG)
    async with site.browser(SHOP) as shop, site.browser() as ours, site.browser(BLOG) as elsewhere:
        token = (await hello(shop, key, identity=proof("42", secret)))["token"]
        room = (await hello(ours, key))["conversation"]
        await ours.send("habari")
        await hello(elsewhere, other)
        async with site.db.transaction() as session:
            await sites.delete_site(session, key)
        assert (await shop.socket.receive(5)).data == 4403
        while (closed := await ours.socket.receive(5)).type.name == "TEXT":
            pass
        assert closed.data == 4403
        await elsewhere.send("not I")
    async with site.browser() as browser:
        assert (await hello(browser, key, token))["code"] == "site"
    assert await site.db.pool.fetchval("SELECT next_seq FROM conversation WHERE room = $1", room) == 2
    async with site.db.transaction() as session:
        with pytest.raises(UserError):
            await sites.delete_site(session, sites.DEFAULT)
        with pytest.raises(LookupError):
            await sites.delete_site(session, key)
