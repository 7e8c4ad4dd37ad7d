"""The JSON API: rooms and their messages over real HTTP, and what is refused to whom."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import jsonschema
import pytest
from aiohttp import ClientSession, FormData, web

from bot.api import ENDPOINTS
from bot.api.endpoint import Endpoint
from bot.api.openapi import describe
from bot.app import make_app
from bot.wiring import Services, services
from core import sites
from core.messages import Address, ChannelName, InboundMessage, Text
from core.proof import Proven
from core.settings import Settings
from core.sites import Draft
from core.visitors import create_visitor, end_token, find_visitor, sign_in
from ledger.accounts import clearing, wallet
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger

Json = dict[str, Any]
MISSING = str(uuid4())
SHOP = "https://shop.example"


@dataclass
class Api:
    """The API of a web process, as whoever has `token`."""

    url: str
    session: ClientSession
    wired: Services
    token: str | None = None

    async def guest(self) -> "Api":
        """The API as a new visitor."""
        _, token = await create_visitor(self.wired.db, "default")
        return Api(self.url, self.session, self.wired, token)

    async def raw(self, method: str, path: str, **more: Any) -> tuple[int, bytes, dict[str, str]]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(method, f"{self.url}{path}", headers=headers, **more) as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status and the JSON of a request."""
        status, raw, _ = await self.raw(method, f"/api/{path}", **({} if body is None else {"json": body}))
        return status, json.loads(raw) if raw else None

    async def make(self, title: str = "Plans", name: str = "Amina") -> str:
        status, room = await self.call("POST", "chatrooms/", {"title": title, "name": name})
        assert status == 201
        return str(room["id"])

    async def bring(self, room: str, other: "Api", name: str) -> str:
        """Invite somebody, who accepts; their member."""
        _, invitation = await self.call("POST", f"chatrooms/{room}/invite/", {})
        token = invitation["link"].rpartition("/")[2]
        status, joined = await other.call("POST", "invitations/accept", {"token": token, "name": name})
        assert (status, joined["id"]) == (200, room)
        return str(joined["me"])

    async def post(self, room: str, text: str, cid: str | None = None, reply_to: int | None = None) -> Json:
        body: Json = {"id": cid or uuid4().hex, "text": text, "reply_to": reply_to}
        status, message = await self.call("POST", f"chatrooms/{room}/messages/", body)
        assert status in (200, 201), message
        return dict(message, status=status)


@pytest.fixture
async def api(database_url: str, valkey_url: str) -> AsyncIterator[Api]:
    settings = Settings.model_validate({"database_url": database_url, "redis_url": valkey_url})
    async with services(settings) as wired:
        runner = web.AppRunner(make_app(wired), shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            async with ClientSession() as session:
                yield Api(f"http://{host}:{port}", session, wired)
        finally:
            await runner.cleanup()


async def test_a_room_from_its_making_to_its_end(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    room = await amina.make()
    member = await amina.bring(room, brian, "Brian")
    await brian.post(room, "hello")
    await brian.post(room, "are you there?")
    _, listed = await amina.call("GET", "chatrooms/")
    assert [(one["id"], one["unread"], one["members_count"]) for one in listed["rooms"]] == [(room, 2, 2)]
    assert (await amina.call("POST", f"chatrooms/{room}/read/", {"seq": 2}))[0] == 204
    _, shown = await amina.call("GET", f"chatrooms/{room}/")
    assert (shown["unread"], [(one["name"], one["role"], one["read_seq"]) for one in shown["members"]]) == (
        0, [("Amina", "owner", 2), ("Brian", "member", 0)],
    )  # fmt: skip
    assert (await brian.call("PATCH", f"chatrooms/{room}/", {"title": "Lunch"}))[1]["title"] == "Lunch"
    assert (await brian.call("DELETE", f"chatrooms/{room}/members/{shown['me']}/"))[0] == 403
    assert (await amina.call("DELETE", f"chatrooms/{room}/members/{member}/"))[0] == 204
    assert (await amina.call("DELETE", f"chatrooms/{room}/members/{member}/"))[0] == 404
    assert (await amina.call("POST", f"chatrooms/{room}/leave/"))[0] == 204
    assert (await amina.call("GET", "chatrooms/"))[1] == {"rooms": []}


async def test_a_refusal_is_told_in_the_language_of_the_browser(api: Api) -> None:
    amina = await api.guest()
    headers = {"Authorization": f"Bearer {amina.token}", "Accept-Language": "sw-KE,sw;q=0.9,en;q=0.8"}
    body = {"title": " ", "name": "Amina"}
    async with api.session.post(f"{api.url}/api/chatrooms/", headers=headers, json=body) as answer:
        assert (answer.status, (await answer.json())["error"]["message"]) == (422, "Hakuna jina la chumba.")
    assert (await amina.call("POST", "chatrooms/", body))[1]["error"]["message"] == "The title is empty."


async def test_the_same_client_id_is_the_same_message(api: Api) -> None:
    amina = await api.guest()
    room, other = await amina.make(), await amina.make()
    posted = await asyncio.gather(*(amina.post(room, f"try {n}", "one") for n in range(8)))
    assert sorted(message["status"] for message in posted) == [200] * 7 + [201]
    assert len({(message["seq"], json.dumps(message["parts"])) for message in posted}) == 1
    assert (await amina.post(other, "another room", "one"))["status"] == 201
    assert (await amina.call("GET", f"chatrooms/{room}/messages/"))[1]["next"] is None


async def test_pages_meet_without_a_gap_or_a_copy_in_both_directions(api: Api) -> None:
    amina = await api.guest()
    room = await amina.make()
    for number in range(1, 8):
        await amina.post(room, f"m{number}")
    forward: list[int] = []
    after: int | None = 0
    while after is not None:
        _, page = await amina.call("GET", f"chatrooms/{room}/messages/?after={after}&limit=3")
        forward += [one["seq"] for one in page["messages"]]
        after = page["next"]
    backward: list[int] = []
    query = "limit=3"
    while query:
        _, page = await amina.call("GET", f"chatrooms/{room}/messages/?{query}")
        backward = [one["seq"] for one in page["messages"]] + backward
        query = f"limit=3&before={page['next']}" if page["next"] else ""
    assert forward == backward == list(range(1, 8))
    for wrong in ("after=-1", "before=0", "limit=101", "after=1&before=2", "limit=x", "nope=1", "limit=1&limit=2"):
        assert (await amina.call("GET", f"chatrooms/{room}/messages/?{wrong}"))[0] in (400, 422), wrong


async def test_a_thread_is_its_root_and_all_that_answers_it_with_its_tombstones(api: Api) -> None:
    amina = await api.guest()
    room = await amina.make()
    await amina.post(room, "beside it")
    root = (await amina.post(room, "root"))["seq"]
    path = f"chatrooms/{room}/messages"
    _, first = await amina.call("POST", f"{path}/{root}/replies/", {"id": "a", "text": "first"})
    await amina.post(room, "beside it again", reply_to=1)
    second = (await amina.post(room, "second", reply_to=first["seq"]))["seq"]
    third = (await amina.post(room, "third", reply_to=root))["seq"]
    assert (await amina.call("DELETE", f"{path}/{first['seq']}/"))[0] == 204
    assert (await amina.call("DELETE", f"{path}/{first['seq']}/"))[0] == 204
    for inside in (root, first["seq"], second, third):
        status, thread = await amina.call("GET", f"{path}/{inside}/thread/")
        assert (status, thread["root"], thread["complete"]) == (200, root, True)
        assert [one["seq"] for one in thread["messages"]] == [root, first["seq"], second, third]
        assert [one["deleted"] for one in thread["messages"]] == [False, True, False, False]
    _, replies = await amina.call("GET", f"{path}/{root}/replies/")
    assert [one["seq"] for one in replies["messages"]] == [first["seq"], third]
    for wrong in ("99", "0", "x", "-1", "1.5", "9" * 30, "٣"):
        assert (await amina.call("GET", f"{path}/{wrong}/thread/"))[0] == 404, wrong
        assert (await amina.call("POST", f"{path}/{wrong}/replies/", {"id": "z", "text": "hm"}))[0] == 404, wrong
    assert (await amina.call("PATCH", f"{path}/{root}/", {"text": "Root"}))[1]["edited"] is True
    assert (await amina.call("PATCH", f"{path}/{first['seq']}/", {"text": "back"}))[0] == 409


async def test_a_reaction_is_put_once_and_taken_back(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    room = await amina.make()
    await amina.bring(room, brian, "Brian")
    await amina.post(room, "lunch?")
    under = f"chatrooms/{room}/messages/1/reactions"
    for who, count in ((amina, 1), (amina, 1), (brian, 2)):
        status, message = await who.call("PUT", f"{under}/❤️/")
        told = {"emoji": "❤️", "count": count, "mine": True, "names": ["Amina", "Brian"][:count]}
        assert (status, message["reactions"]) == (200, [told])
    for _ in range(2):
        status, message = await amina.call("DELETE", f"{under}/❤️/")
        assert (status, message["reactions"]) == (200, [told | {"count": 1, "mine": False, "names": ["Brian"]}])
    for emoji, code in (("🦄", "emoji"), ("x" * 65, "emoji"), ("%00", "emoji")):
        status, answer = await amina.call("PUT", f"{under}/{emoji}/")
        assert (status, answer["error"]["code"]) == (422, code)
    assert (await amina.call("PUT", f"chatrooms/{room}/messages/2/reactions/❤️/"))[0] == 404
    _, page = await amina.call("GET", f"chatrooms/{room}/messages/")
    assert page["messages"] == [message]


async def test_nobody_changes_what_somebody_else_said(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    room = await amina.make()
    await amina.bring(room, brian, "Brian")
    await amina.post(room, "mine")
    path = f"chatrooms/{room}/messages/1/"
    assert (await brian.call("PATCH", path, {"text": "yours"}))[0] == 403
    assert (await brian.call("DELETE", path))[0] == 403
    [message] = (await brian.call("GET", f"chatrooms/{room}/messages/"))[1]["messages"]
    assert (message["parts"], message["author"], message["from"]) == (
        [{"kind": "text", "text": "mine"}], "Amina", "member",
    )  # fmt: skip


async def test_search_finds_every_word_in_the_own_room_newest_first_and_goes_on(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    room, other = await amina.make(), await brian.make()
    for text in ("Lunch at Java", "lunch with Asha at JAVA house", "dinner", "java lunch"):
        await amina.post(room, text)
    await brian.post(other, "java lunch elsewhere")
    status, found = await amina.call("GET", f"chatrooms/{room}/search/?q=java+LUNCH")
    assert status == 200
    assert ([one["seq"] for one in found["messages"]], found["complete"], found["next"]) == ([4, 2, 1], True, None)
    _, part = await amina.call("GET", f"chatrooms/{room}/search/?q=java&limit=1")
    assert ([one["seq"] for one in part["messages"]], part["complete"]) == ([4], False)
    _, rest = await amina.call("GET", f"chatrooms/{room}/search/?q=java&before={part['next']}")
    assert [one["seq"] for one in rest["messages"]] == [2, 1]
    for wrong in ("", "q=", "q=+", f"q={'x' * 201}"):
        assert (await amina.call("GET", f"chatrooms/{room}/search/?{wrong}"))[0] == 422, wrong


async def test_an_export_is_the_whole_room_and_formats_nothing_that_was_written(api: Api) -> None:
    amina = await api.guest()
    room = await amina.make("# Trip [x](y)", "*Amina*")
    for number in range(125):
        await amina.wired.web.receive(
            f"room:{room}", await visitor_of(amina), f"e{number}", (Text(text=f"line {number}\n<b>*bold*</b>"),), None
        )
    await amina.call("DELETE", f"chatrooms/{room}/messages/3/")
    status, raw, headers = await amina.raw("GET", f"/api/chatrooms/{room}/export/?format=json")
    whole = json.loads(raw)
    assert (status, whole["room"]["title"]) == (200, "# Trip [x](y)")
    assert [one["seq"] for one in whole["messages"]] == list(range(1, 126))
    assert [one["seq"] for one in whole["messages"] if one["deleted"]] == [3]
    assert headers["Content-Disposition"] == f'attachment; filename="room-{room}.json"'
    _, raw, headers = await amina.raw("GET", f"/api/chatrooms/{room}/export/")
    written = raw.decode()
    assert headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert written.startswith("# \\# Trip \\[x\\]\\(y\\)\n")
    assert written.count("\\<b\\>\\*bold\\*\\</b\\>") == 124
    assert re.findall(r"UTC, (\d+)", written) == [str(seq) for seq in range(1, 126)]


async def test_a_file_is_posted_by_whoever_uploaded_it_to_the_room(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    room = await amina.make()
    await amina.bring(room, brian, "Brian")
    other = await amina.make()
    uploaded = []
    for where in (room, other):
        headers = {"Authorization": f"Bearer {amina.token}", "X-File-Name": "notes.txt", "Content-Type": "text/plain"}
        url = f"{api.url}/upload-file/?room={where}"
        async with api.session.post(url, data=b"milk and bread", headers=headers) as answer:
            assert answer.status == 201
            uploaded.append((await answer.json())["id"])
    path = f"chatrooms/{room}/messages/"
    status, message = await amina.call("POST", path, {"id": "f", "files": [uploaded[0]]})
    assert status == 201
    [part] = message["parts"]
    assert (part["kind"], part["filename"]) == ("media", "notes.txt")
    async with api.session.get(f"{api.url}{part['url']}" if part["url"].startswith("/") else part["url"]) as answer:
        assert await answer.read() == b"milk and bread"
    for who, files in ((brian, [uploaded[0]]), (amina, [uploaded[1]]), (amina, [MISSING]), (amina, ["x"]), (amina, [])):
        assert (await who.call("POST", path, {"id": uuid4().hex, "files": files}))[0] == 422


async def visitor_of(who: Api) -> UUID:
    found = await find_visitor(who.wired.db, who.token or "", "default")
    assert found
    return found.id


BODIES: dict[str, Json] = {
    "invite/": {}, "read/": {"seq": 1}, "messages/": {"id": "x", "text": "hi"}, "replies/": {"id": "x", "text": "hi"},
}  # fmt: skip
IN_A_ROOM = [one for one in ENDPOINTS if "{id}" in one.path]


async def test_anothers_room_answers_as_one_that_is_not_there(api: Api) -> None:
    """Every route of a room: for nobody, for somebody else, and for whoever was removed."""
    amina, stranger, removed = await api.guest(), await api.guest(), await api.guest()
    room = await amina.make()
    member = await amina.bring(room, removed, "Brian")
    await removed.post(room, "I was here")
    await amina.call("DELETE", f"chatrooms/{room}/members/{member}/")

    async def answers(who: Api, endpoint: Endpoint, id_: str) -> tuple[int, bytes]:
        path = endpoint.path.replace("{id}", id_).replace("{msg_id}", "1").replace("{member}", member)
        path = path.replace("{emoji}", "👍")
        body: Json | None = None
        if endpoint.method == "PATCH":
            body = {"text": "x"} if "messages" in path else {"title": "x"}
        elif endpoint.method == "POST":
            body = next((one for end, one in BODIES.items() if path.endswith(end)), {})
        query = "?q=x" if "search" in path else ""
        status, raw, _ = await who.raw(endpoint.method, path + query, **({} if body is None else {"json": body}))
        return status, raw

    before = await amina.wired.db.pool.fetch("SELECT * FROM message ORDER BY id")
    assert len(IN_A_ROOM) >= 16
    for endpoint in IN_A_ROOM:
        for who, status in ((stranger, 404), (removed, 404), (api, 401)):
            there = await answers(who, endpoint, room)
            assert there[0] == status, endpoint.name
            assert there == await answers(who, endpoint, MISSING), endpoint.name
            assert there == await answers(who, endpoint, "nonsense"), endpoint.name
    assert await amina.wired.db.pool.fetch("SELECT * FROM message ORDER BY id") == before
    assert (await amina.call("GET", f"chatrooms/{room}/"))[1]["members_count"] == 1


async def test_a_replayed_or_revoked_invitation_lets_nobody_in(api: Api) -> None:
    amina, brian, chao = await api.guest(), await api.guest(), await api.guest()
    room = await amina.make()
    links = [(await amina.call("POST", f"chatrooms/{room}/invite/", {}))[1]["link"] for _ in range(2)]
    used, revoked = (link.rpartition("/")[2] for link in links)
    assert (await brian.call("POST", "invitations/accept", {"token": used, "name": "Brian"}))[0] == 200
    assert (await amina.call("POST", f"chatrooms/{room}/revoke/"))[1] == {"ended": 1}
    for token in (used, revoked, "x" * 43, "", "é"):
        status, answer = await chao.call("POST", "invitations/accept", {"token": token, "name": "Chao"})
        assert (status, answer["error"]["code"]) == (404, "invitation")
    assert (await api.call("POST", "invitations/accept", {"token": used, "name": "Nobody"}))[0] == 401


async def test_a_token_that_has_ended_opens_nothing(api: Api) -> None:
    amina = await api.guest()
    room = await amina.make()
    assert amina.token
    await end_token(api.wired.db, amina.token, "default")
    for _ in range(2):
        status, answer = await amina.call("GET", f"chatrooms/{room}/")
        assert (status, answer["error"]["code"]) == (401, "token")
        assert (await amina.call("POST", f"chatrooms/{room}/messages/", {"id": "x", "text": "hi"}))[0] == 401
    assert await api.wired.db.pool.fetchval("SELECT count(*) FROM message") == 0


BAD_BODIES = (
    b"", b"[]", b"null", b"{", b'"x"', b'{"title":"x"}', b'{"title":1,"name":"x"}', b'{"title":"","name":"x"}',
    b'{"title":"x","name":"x","more":1}', b'{"title":"\xff","name":"x"}', b'{"title":"\\ud800","name":"x"}',
    b'{"title":"\\u200b","name":"x"}', b'{"title":"' + b"x" * 300_000 + b'","name":"x"}', b"[" * 100_000,
)  # fmt: skip


async def test_a_body_that_is_not_what_is_asked_changes_nothing(api: Api) -> None:
    amina = await api.guest()
    kind = {"Content-Type": "application/json", "Authorization": f"Bearer {amina.token}"}
    for body in BAD_BODIES:
        async with api.session.post(f"{api.url}/api/chatrooms/", data=body, headers=kind) as answer:
            assert 400 <= answer.status < 500, body[:40]
            assert set((await answer.json())["error"]) == {"code", "message", "retry_s"}
    plain = kind | {"Content-Type": "text/plain"}
    async with api.session.post(f"{api.url}/api/chatrooms/", data=b'{"title":"x","name":"x"}', headers=plain) as answer:
        assert answer.status == 415
    assert await api.wired.db.pool.fetchval("SELECT count(*) FROM conversation") == 0


async def test_a_site_has_rooms_of_its_own_for_those_it_has_proved(api: Api) -> None:
    db = api.wired.db
    async with db.transaction() as session:
        lines = {"name": "Shop", "title": "Duka", "colour": "#ffd54a", "position": "left", "origins": SHOP}
        shop, blog = [await sites.create_site(session, Draft.parse(lines)) for _ in range(2)]

    async def signed_in(site: str, user_id: str) -> Api:
        _, token = await sign_in(db, site, Proven(user_id, None), None, datetime.now(UTC))
        return Api(api.url, api.session, api.wired, token)

    # One and the same user of two sites is two people, and neither is one of our own pages' visitors.
    amina, brian, elsewhere = await signed_in(shop, "42"), await signed_in(shop, "43"), await signed_in(blog, "42")
    _, anonymous = await create_visitor(db, shop)
    status, answer = await Api(api.url, api.session, api.wired, anonymous).call("GET", "chatrooms/")
    assert (status, answer["error"]["code"]) == (403, "signed_in")
    room = await amina.make()
    _, invitation = await amina.call("POST", f"chatrooms/{room}/invite/", {})
    address = urlsplit(invitation["link"])
    assert address.query == f"site={shop}"
    acceptance = {"token": address.path.rpartition("/")[2], "name": "Brian"}
    for other in (elsewhere, await api.guest()):
        assert (await other.call("POST", "invitations/accept", acceptance))[0] == 404
    assert (await brian.call("POST", "invitations/accept", acceptance))[0] == 200
    data = FormData()
    data.add_field("file", b"plan", filename="plan.txt", content_type="text/plain")
    status, raw, _ = await brian.raw("POST", f"/upload-file/?room={room}", data=data)
    assert status == 201
    body = {"id": "one", "text": "hello", "files": [json.loads(raw)["id"]]}
    status, message = await brian.call("POST", f"chatrooms/{room}/messages/", body)
    assert (status, [part["kind"] for part in message["parts"]]) == (201, ["text", "media"])
    at = f"chatrooms/{room}/messages/1/"
    assert (await amina.call("PUT", f"{at}reactions/👍/"))[1]["reactions"][0]["names"] == ["Amina"]
    assert (await brian.call("PATCH", at, {"text": "hi"}))[0] == 200
    for other in (elsewhere, await api.guest()):
        assert (await other.call("GET", "chatrooms/"))[1] == {"rooms": []}
        for path in (f"chatrooms/{room}/", at, f"{at}thread/"):
            there = await other.raw("GET", f"/api/{path}")
            missing = await other.raw("GET", f"/api/{path.replace(room, MISSING)}")
            assert there[:2] == missing[:2]
            assert there[0] in (404, 405)
    # A page that the site lists may call with its people's token; nobody else's page may read the answer.
    for origin, allowed in ((SHOP, SHOP), ("https://other.example", None)):
        asks = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        async with api.session.options(f"{api.url}/api/{at}", headers=asks) as told:
            assert told.headers.get("Access-Control-Allow-Origin") == allowed
        bearer = {"Authorization": f"Bearer {amina.token}", "Origin": origin}
        async with api.session.get(f"{api.url}/api/{at}thread/", headers=bearer) as got:
            assert (got.status, got.headers.get("Access-Control-Allow-Origin")) == (200, allowed)
    async with db.transaction() as session:
        await sites.delete_site(session, shop)
    assert (await amina.call("GET", "chatrooms/"))[0] == 401


async def test_a_cookie_is_no_token(api: Api) -> None:
    amina = await api.guest()
    for headers in ({"Cookie": f"token={amina.token}"}, {"Authorization": f"Basic {amina.token}"}):
        async with api.session.get(f"{api.url}/api/chatrooms/", headers=headers) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_sixty_a_minute_a_token_and_ten_an_address_without_one(api: Api) -> None:
    amina, brian = await api.guest(), await api.guest()
    got = [await amina.raw("GET", "/api/chatrooms/") for _ in range(125)]
    # A minute may end meanwhile; two cannot.
    assert 60 <= sum(status == 200 for status, _, _ in got) <= 120
    _, raw, headers = next(one for one in got if one[0] == 429)
    assert 1 <= int(headers["Retry-After"]) <= 61
    assert json.loads(raw)["error"]["code"] == "rate"
    # Another endpoint, and another person, are counted by themselves.
    assert (await brian.call("GET", "chatrooms/"))[0] == 200
    assert (await amina.call("GET", f"chatrooms/{MISSING}/"))[0] == 404
    nobody = [(await api.raw("GET", "/api/chatrooms/"))[0] for _ in range(25)]
    assert 10 <= nobody.count(401) <= 20
    assert nobody.count(401) + nobody.count(429) == 25


async def test_without_valkey_each_process_counts_by_itself(database_url: str) -> None:
    settings = Settings.model_validate({"database_url": database_url, "redis_url": "redis://127.0.0.1:1"})
    async with services(settings) as wired:
        runner = web.AppRunner(make_app(wired), shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with ClientSession() as session:
            nobody = Api(f"http://{host}:{port}", session, wired)
            statuses = [(await nobody.raw("GET", "/api/chatrooms/"))[0] for _ in range(25)]
        await runner.cleanup()
    assert 10 <= statuses.count(401) <= 20


async def test_the_description_is_of_what_is_there(api: Api) -> None:
    status, raw, _ = await api.raw("GET", "/api/openapi.json")
    document = json.loads(raw)
    assert (status, document) == (200, json.loads(json.dumps(describe(ENDPOINTS))))
    assert {(path, method.upper()) for path, methods in document["paths"].items() for method in methods} == {
        (one.path, one.method) for one in ENDPOINTS
    }
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    amina = await api.guest()
    room = await amina.make()
    await amina.post(room, "hello")
    for path, name in (("", "Room"), ("messages/", "Messages"), ("search/?q=hello", "Found")):
        _, answer = await amina.call("GET", f"chatrooms/{room}/{path}")
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(answer, schema, cls=jsonschema.Draft202012Validator)
    status, raw, headers = await api.raw("GET", "/api/docs")
    assert (status, headers["Content-Security-Policy"].partition(";")[0]) == (200, "default-src 'none'")
    assert b"<script" not in raw
    assert raw.count(b"<tr>") == len(ENDPOINTS) + 1


async def test_money_is_told_to_whose_it_is_a_page_at_a_time(api: Api) -> None:
    amina, other = await api.guest(), await api.guest()
    assert (await amina.call("GET", "balance/"))[0] == 404
    for who in (amina, other):
        visitor = await find_visitor(api.wired.db, str(who.token), None)
        assert visitor is not None
        address = Address(ChannelName.WEB, "default", str(visitor.id), str(visitor.id))
        await api.wired.inbox.receive(
            [InboundMessage(address, uuid4().hex, (Text(text="hello"),), datetime.now(UTC), None)]
        )
    me = await find_visitor(api.wired.db, str(amina.token), None)
    assert me is not None
    owner = await api.wired.db.pool.fetchval("SELECT person_id FROM identity WHERE provider_id = $1", str(me.id))
    purse, bank = wallet(str(owner), "KES"), clearing("bank", "KES")
    ledger = Ledger(api.wired.db)
    for number in range(3):
        some = Money(10_000, "KES")
        await ledger.post(Entry(f"in:{number}", Kind.DEPOSIT, (debit(bank, some), credit(purse, some))))
    out = Money(5_050, "KES")
    await ledger.post(Entry("out", Kind.WITHDRAWAL, (debit(purse, out), credit(bank, out))))
    assert await amina.call("GET", "balance/") == (
        200, {"balances": [{"currency": "KES", "available": "249.50", "held": "0.00"}]}
    )  # fmt: skip
    status, first = await amina.call("GET", "transactions/?limit=3")
    assert (status, [one["amount"] for one in first["transactions"]]) == (200, ["-50.50", "100.00", "100.00"])
    _, rest = await amina.call("GET", f"transactions/?before={first['next']}")
    assert ([one["balance_after"] for one in rest["transactions"]], rest["next"]) == (["100.00"], None)
    _, gone = await amina.call("GET", "transactions/?kind=WITHDRAWAL")
    assert [one["id"] for one in gone["transactions"]] == [4]
    assert (await other.call("GET", "transactions/"))[1] == {"transactions": [], "next": None}
    for wrong in ("limit=0", "limit=101", "kind=THEFT", "currency=kes", "currency=XXX", "before=0", "owner=1"):
        assert (await amina.call("GET", f"transactions/?{wrong}"))[0] == 422, wrong
    assert (await api.call("GET", "balance/"))[0] == 401
