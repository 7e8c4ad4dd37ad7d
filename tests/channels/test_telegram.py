"""Telegram: what updates become, what each way of failing becomes, and polling that loses nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import aiohttp
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from channels.degrade import TELEGRAM
from channels.telegram import ALLOWED_UPDATES, TelegramChannel, parse, read_update
from core.db import Database
from core.inbox import Inbox
from core.messages import (
    Address,
    ChannelName,
    Choices,
    Contact,
    InboundMessage,
    Location,
    Media,
    OutboundMessage,
    Part,
    Text,
    Voice,
)
from core.settings import SANDBOX_BOT_TOKEN, Settings
from core.wake import Wakes
from tests.channels.test_golden import REPLIES
from tests.channels.wire import Behaviour, answer, closed_port, wire
from tests.conftest import Sandbox
from tests.said import messages
from tests.waiting import until

RECORDINGS = Path(__file__).parent / "recordings" / "telegram"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ACCOUNT = "7000000001"
USERNAME = "mathia_bot"
TOKEN = f"{ACCOUNT}:a-token-nobody-knows"
ADA = "1111111"


def recorded(name: str) -> dict[str, Any]:
    """A recorded update or answer."""
    found: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


ACCEPTED = recorded("send_accepted")

# What updates become.


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("start", (Text(text="/start bGlua180Mg"),)),
        ("reply", (Text(text="make it 5 pm"),)),
        ("voice", (Voice(media_type="audio/ogg", ref="AwACAgQAAxkBAAIB", duration_s=3, size=12345),)),
        ("photo", (Media(media_type="image/jpeg", ref="AgAClarge", size=98000, caption="The receipt"),)),
        ("document", (Media(media_type="application/pdf", ref="BQACdoc", filename="invoice-17.pdf", size=48211),)),
        ("location", (Location(latitude=-1.286389, longitude=36.817223),)),
        ("venue", (Location(latitude=-1.286389, longitude=36.817223, label="KICC, Harambee Ave, Nairobi"),)),
        ("group_mention", (Text(text="😀 thanks! @Mathia_bot weather in Lamu?"),)),
        ("group_address", (Text(text="weather in Lamu?"),)),
        ("group_command", (Text(text="/weather Lamu"),)),
        ("group_reply", (Text(text="and on Friday?"),)),
        ("group_named", (Text(text="Mathia, help"),)),
    ],
)
def test_a_recorded_update_becomes_a_message(name: str, parts: tuple[Part, ...]) -> None:
    raw = recorded(name)
    message = parse(read_update(raw), ACCOUNT, USERNAME)
    assert isinstance(message, InboundMessage)
    assert message.parts == parts
    room = str(raw["message"]["chat"]["id"])
    assert message.sender == Address(ChannelName.TELEGRAM, ACCOUNT, room, ADA)
    assert message.event_id == f"{raw['update_id']}:{raw['message']['message_id']}"
    assert message.sent_at == datetime.fromtimestamp(raw["message"]["date"], UTC)
    assert message.sent_at.tzinfo is UTC
    assert message.language == raw["message"]["from"]["language_code"]
    answered = raw["message"].get("reply_to_message")
    assert message.reply_to == (str(answered["message_id"]) if answered else None)


@pytest.mark.parametrize(
    "name",
    ["channel_post", "sticker", "group_talk", "group_command_for_another",
     "group_other_bot"],
)  # fmt: skip
def test_what_is_not_said_to_the_bot_is_nothing(name: str) -> None:
    assert parse(read_update(recorded(name)), ACCOUNT, USERNAME) is None


def test_names_are_joined_and_a_person_without_a_last_name_has_one_too() -> None:
    with_last, without = (parse(read_update(recorded(name)), ACCOUNT) for name in ("photo", "start"))
    assert isinstance(with_last, InboundMessage)
    assert isinstance(without, InboundMessage)
    assert (with_last.display_name, without.display_name) == ("Ada Wanjiku", "Ada")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("update_id",), "1"), (("update_id",), None), (("update_id",), True), (("update_id",), 2.5),
        (("update_id",), 2**70), (("message",), 5), (("message",), [1]), (("message",), "x"),
        (("message", "text"), 5), (("message", "text"), "a\0b"), (("message", "text"), ["x"]),
        (("message", "date"), "now"), (("message", "date"), None), (("message", "date"), 1e30),
        (("message", "date"), -(2**62)), (("message", "chat"), None), (("message", "chat"), 5),
        (("message", "chat", "id"), "1"),
        (("message", "chat", "id"), 2**64), (("message", "chat", "id"), None), (("message", "from"), 5),
        (("message", "from", "id"), "1"), (("message", "from", "id"), None), (("message", "from", "first_name"), 5),
        (("message", "from", "language_code"), {"a": 1}), (("message", "entities"), 5), (("message", "entities"), [5]),
        (("message", "photo"), 5), (("message", "photo"), [{"file_id": 5}]), (("message", "voice"), "x"),
        (("message", "location"), {"latitude": 91, "longitude": 0}), (("message", "location"), {"latitude": "x"}),
        (("message", "venue"), {"title": "KICC"}), (("message", "reply_to_message"), 5), (("message", "caption"), 5),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["reply", "photo"])
def test_an_update_with_a_wrong_value_is_refused_or_nothing(name: str, path: tuple[str, ...], value: object) -> None:
    raw = recorded(name)
    place: Any = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    reads_it_as_before = {("message", "entities"), ("message", "caption"), ("message", "photo"), ("message", "voice"),
                          ("message", "location"), ("message", "venue"), ("message", "text")}  # fmt: skip
    try:
        message = parse(read_update(raw), ACCOUNT, USERNAME)
    except ValueError:
        return
    assert message is None or path in reads_it_as_before


@pytest.mark.parametrize("raw", [None, 5, [], "x", {}, {"update_id": None}, {"message": {}}], ids=str)
def test_what_is_no_update_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"update"):
        read_update(raw)


def test_an_update_nested_too_deeply_is_refused() -> None:
    raw: dict[str, Any] = recorded("reply")
    for _ in range(1_000):
        raw = {**raw, "message": {**raw["message"], "reply_to_message": raw["message"]}}
    with pytest.raises(ValueError, match="shape"):
        read_update(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["text", "date", "chat", "from", "entities", "photo", "document", "voice", "location", "venue", "caption",
          "reply_to_message", "message_id", "sticker", "caption_entities", "video", "audio"]  # fmt: skip


@examples(deadline=None)
@given(
    st.sampled_from(["photo", "reply", "group_address", "venue"]), st.dictionaries(st.sampled_from(FIELDS), json_values)
)
def test_whatever_an_update_holds_it_is_a_message_or_nothing_or_refused(
    name: str, changes: Mapping[str, object]
) -> None:
    raw = recorded(name)
    raw["message"].update(changes)
    try:
        message = parse(read_update(raw), ACCOUNT, USERNAME)
    except ValueError:
        return
    assert message is None or not isinstance(message, InboundMessage) or message.parts


# Sending, over real sockets.


def settings(url: str, **changes: Any) -> Settings:
    """Settings that speak to `url`."""
    given: dict[str, Any] = {"telegram_bot_token": SecretStr(TOKEN), "telegram_base_url": url, **changes}
    return Settings(_env_file=None, **given)


@pytest.fixture
def inbox(db: Database) -> Inbox:
    """The inbox on a fresh database."""
    return Inbox(db, Wakes(db))


@asynccontextmanager
async def channel_at(url: str, timeout_s: float = 5.0, **changes: Any) -> AsyncIterator[TelegramChannel]:
    """A channel that only sends: its database is not there, and not asked for anything."""
    nowhere = await Database.connect("postgresql://nobody@127.0.0.1:1/none")
    channel = TelegramChannel(settings(url, **changes), Inbox(nowhere, Wakes(nowhere)), timeout_s=timeout_s)
    try:
        yield channel
    finally:
        await channel.close()
        await nowhere.close()


def outbound(*parts: Part, room: str = ADA) -> OutboundMessage:
    """A message to send."""
    recipient = Address(ChannelName.TELEGRAM, ACCOUNT, room, room)
    return OutboundMessage(17, 1, recipient, UUID(int=1), 2, parts or (Text(text="Habari"),), NOW)


async def send(url: str, message: OutboundMessage | None = None, timeout_s: float = 5.0) -> str:
    """Send once through a channel of its own."""
    async with channel_at(url, timeout_s) as channel:
        return await channel.send(message or outbound())


async def test_what_people_wrote_is_escaped_and_a_long_text_is_sent_piece_by_piece() -> None:
    long = outbound(Text(text="😀" * TELEGRAM.text_max))
    async with wire(answer(200, ACCEPTED)) as telegram:
        assert await send(f"{telegram.url}/telegram/", outbound(Text(text="<b>50% & *more*"))) == "1500"
        async with channel_at(telegram.url) as channel:
            assert channel.pieces(long) == 2
            for piece in range(2):
                await channel.send(replace(long, piece=piece))
    [(head, body), *sent] = telegram.requests
    assert head.startswith(f"POST /telegram/bot{TOKEN}/sendMessage HTTP/1.1\r\n")
    assert parse_qs(body.decode()) == {"chat_id": [ADA], "text": ["&lt;b&gt;50% &amp; *more*"], "parse_mode": ["HTML"]}
    assert [parse_qs(part.decode())["text"][0] for _, part in sent] == ["😀" * 2_048] * 2


async def test_choices_are_buttons_that_send_back_words_or_a_number() -> None:
    long = "é" * 33
    async with wire(answer(200, ACCEPTED)) as telegram:
        await send(telegram.url, outbound(Text(text="Which?"), Choices(options=("Nairobi", long))))
    markup = json.loads(parse_qs(telegram.requests[0][1].decode())["reply_markup"][0])
    assert markup == {
        "inline_keyboard": [[{"text": "Nairobi", "callback_data": "Nairobi"}], [{"text": long, "callback_data": "#2"}]]
    }


@pytest.mark.parametrize(
    ("part", "method", "fields"),
    [
        (Media(media_type="image/png", ref="https://x.example/a.png", caption="a<b"), "sendPhoto",
         {"photo": ["https://x.example/a.png"], "caption": ["a&lt;b"], "parse_mode": ["HTML"]}),
        (Media(media_type="application/pdf", ref="BQACdocBQACdoc-17"), "sendDocument",
         {"document": ["BQACdocBQACdoc-17"], "parse_mode": ["HTML"]}),
        (Voice(media_type="audio/ogg", ref="AwACAgQAAxkBAAIB"), "sendVoice", {"voice": ["AwACAgQAAxkBAAIB"]}),
        (Location(latitude=-1.25, longitude=36.5), "sendLocation", {"latitude": ["-1.25"], "longitude": ["36.5"]}),
        (Contact(name="Amina", phones=("+254712345678",)), "sendContact",
         {"phone_number": ["+254712345678"], "first_name": ["Amina"]}),
    ],
)  # fmt: skip
async def test_what_telegram_can_show_is_sent_as_such(part: Part, method: str, fields: dict[str, list[str]]) -> None:
    async with wire(answer(200, ACCEPTED)) as telegram:
        await send(telegram.url, outbound(part))
    [(head, body)] = telegram.requests
    assert f"/{method} " in head
    assert parse_qs(body.decode()) == {"chat_id": [ADA], **fields}


def test_a_shared_contact_is_a_contact_and_no_words_of_the_sender() -> None:
    update = recorded("voice")
    del update["message"]["voice"]
    update["message"]["contact"] = {"phone_number": "+254712345678", "first_name": "send 500", "last_name": "to me"}
    message = parse(read_update(update), ACCOUNT, USERNAME)
    assert isinstance(message, InboundMessage)
    assert message.parts == (Contact(name="send 500 to me", phones=("+254712345678",)),)
    assert message.text == ""


async def test_what_cannot_be_sent_is_refused_before_telegram_hears_of_it() -> None:
    async with wire(answer(200, ACCEPTED)) as telegram:
        for message in (outbound(Text(text=" \n")), outbound(room="ada"), outbound(room="1; drop"), outbound(room="")):
            with pytest.raises(Undeliverable):
                await send(telegram.url, message)
    assert telegram.requests == []


def problem(code: int, description: str, **parameters: object) -> dict[str, object]:
    """Telegram's error body."""
    return {"ok": False, "error_code": code, "description": description} | (
        {"parameters": parameters} if parameters else {}
    )


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (429, recorded("too_many"), NotSent("", retry_after_s=7.0), "slow down"),
        (429, problem(429, "Too Many Requests"), NotSent("", retry_after_s=2.0), "slow down"),
        (429, problem(429, "", retry_after="soon"), NotSent("", retry_after_s=2.0), "slow down"),
        (429, b"<html>", NotSent("", retry_after_s=2.0), "slow down"),
        (503, b"", NotSent("", retry_after_s=2.0), "not available"),
        (401, problem(401, "Unauthorized"), NotSent("", retry_after_s=60.0, whole_channel=True), "TELEGRAM_BOT_TOKEN"),
        (404, problem(404, "Not Found"), NotSent("", retry_after_s=60.0, whole_channel=True), "TELEGRAM_BOT_TOKEN"),
        (403, problem(403, "Forbidden: bot was blocked by the user"), Undeliverable(""), "blocked the bot"),
        (403, problem(403, "Forbidden: user is deactivated"), Undeliverable(""), "closed"),
        (403, problem(403, "Forbidden: something new"), Undeliverable(""), "refused"),
        (400, problem(400, "Bad Request: chat not found"), Undeliverable(""), "does not know this chat"),
        (400, problem(400, "Bad Request: upgraded", migrate_to_chat_id=-5), Undeliverable(""), "supergroup"),
        (500, problem(500, "Internal Server Error"), OutcomeUnknown(""), "did not answer"),
        (502, b"<html>bad gateway</html>", OutcomeUnknown(""), "did not answer"),
        (504, b"", OutcomeUnknown(""), "did not answer"),
        (200, b"<html>log in</html>", OutcomeUnknown(""), "could not be read"),
        (200, b'{"ok":true,"resu', OutcomeUnknown(""), "could not be read"),
        (200, {"ok": True}, OutcomeUnknown(""), "could not be read"),
        (200, {"ok": True, "result": []}, OutcomeUnknown(""), "could not be read"),
        (200, {"ok": True, "result": {"message_id": "x", "date": 1, "chat": {"id": 1, "type": "private"}}},
         OutcomeUnknown(""), "names no message"),
        (302, b"", OutcomeUnknown(""), "did not answer"),
    ],
)  # fmt: skip
async def test_every_answer_means_one_of_three_things(status: int, body: object, error: Exception, said: str) -> None:
    async with wire(answer(status, body)) as telegram:
        with pytest.raises(type(error)) as raised:
            await send(telegram.url)
    assert vars(raised.value) == vars(error)
    assert said in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert len(telegram.requests) == 1, "a message must never be sent again by the client itself"


async def test_one_chat_that_must_wait_holds_up_no_other_and_two_hold_up_all() -> None:
    async with wire(answer(429, recorded("too_many"))) as telegram, channel_at(telegram.url) as channel:
        waits = []
        for room in (ADA, ADA, "2222222", ADA):
            with pytest.raises(NotSent) as raised:
                await channel.send(outbound(room=room))
            waits.append(raised.value.whole_channel)
    assert waits == [False, False, True, True]


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    for url in (f"http://127.0.0.1:{closed_port()}", "http://nowhere.invalid", f"https://127.0.0.1:{closed_port()}"):
        with pytest.raises(NotSent) as raised:
            await send(url)
        assert not raised.value.whole_channel


@pytest.mark.parametrize(
    "behaviour", ["reset", "close", "hang", b"HTTP/1.1 200 X\r\nContent-Length: 900\r\n\r\n{", b"nonsense"]
)
async def test_a_server_that_had_the_message_and_fell_silent_may_have_sent_it(behaviour: Behaviour) -> None:
    async with wire(behaviour) as telegram:
        with pytest.raises(OutcomeUnknown):
            await send(telegram.url, timeout_s=0.5)
    assert len(telegram.requests) == 1


async def test_telegram_cannot_be_asked_what_it_sent() -> None:
    async with channel_at("http://127.0.0.1:1") as channel:
        with pytest.raises(Unknowable):
            await channel.find_sent(outbound(), NOW, set())


async def test_the_bots_name_is_asked_for_only_when_a_group_makes_it_matter() -> None:
    me = {"ok": True, "result": {"id": int(ACCOUNT), "is_bot": True, "first_name": "Mathia", "username": USERNAME}}
    async with wire(answer(200, me)) as telegram, channel_at(telegram.url) as channel:
        assert await channel.read(recorded("start"))
        assert telegram.requests == []
        assert await channel.read(recorded("group_address"))
        assert await channel.read(recorded("group_mention"))
        assert await channel.read(recorded("group_talk")) is None
    assert [head.split()[1].rpartition("/")[2] for head, _ in telegram.requests] == ["getMe"]


async def test_a_webhook_is_registered_with_its_secret_where_telegram_can_reach_it(db: Database) -> None:
    ok = answer(200, {"ok": True, "result": True})
    changes: dict[str, Any] = {
        "public_url": "https://bot.example.com",
        "telegram_webhook_secret": SecretStr("s3cr3t_Token-1"),
    }
    async with wire(answer(502, b""), ok) as telegram, channel_at(telegram.url, **changes) as channel:
        await channel.run()
    assert len(telegram.requests) == 2
    head, body = telegram.requests[-1]
    assert "/setWebhook " in head
    asked = parse_qs(body.decode())
    assert asked["url"] == ["https://bot.example.com/webhooks/telegram"]
    assert asked["secret_token"] == ["s3cr3t_Token-1"]
    assert json.loads(asked["allowed_updates"][0]) == list(ALLOWED_UPDATES)


# Against the simulator.


async def api(sandbox: Sandbox, path: str, body: object | None = None) -> Any:
    """A call to the simulator's own controls."""
    method = "GET" if body is None else "POST"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{sandbox.url}{path}", json=body) as response,
    ):
        assert response.status < 300, await response.text()
        return await response.json()


@pytest.mark.parametrize(
    ("fault", "error", "copies"),
    [
        ("ok", None, 1),
        ({"fault": "429", "retry_after": 3}, NotSent, 0),
        ("refuse", OutcomeUnknown, 0),
        ("reset_before_read", OutcomeUnknown, 0),
        ("reset_after_execute", OutcomeUnknown, 1),
        ("500_not_executed", OutcomeUnknown, 0),
        ("500_executed", OutcomeUnknown, 1),
        ("200_html", OutcomeUnknown, 0),
        ("200_truncated_json", OutcomeUnknown, 1),
        ({"fault": "execute_then_hang", "seconds": 30}, OutcomeUnknown, 1),
    ],
    ids=str,
)
async def test_every_fault_of_the_simulator_means_what_it_should(
    sandbox: Sandbox, fault: str | dict[str, object], error: type[Exception] | None, copies: int
) -> None:
    text = f"Fault {json.dumps(fault)}"
    await api(sandbox, "/telegram/_faults", {"plan": [fault], "match": {"path": "sendMessage"}})
    token, timeout_s = SecretStr(SANDBOX_BOT_TOKEN), 1.0 if "hang" in text else 10.0
    async with channel_at(f"{sandbox.url}/telegram", timeout_s, telegram_bot_token=token) as channel:
        if error is None:
            await channel.send(outbound(Text(text=text)))
        else:
            with pytest.raises(error):
                await channel.send(outbound(Text(text=text)))
    done = await api(sandbox, "/telegram/_truth")
    assert sum(text in json.dumps(row, ensure_ascii=False).replace('\\"', '"') for row in done) == copies


async def test_people_who_cannot_be_written_to_are_refused(sandbox: Sandbox) -> None:
    async with channel_at(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN)) as channel:
        for room, said in (("403403403", "blocked"), ("403403404", "closed"), ("404404404", "does not know")):
            with pytest.raises(Undeliverable, match=said):
                await channel.send(outbound(room=room))


@asynccontextmanager
async def polling(sandbox: Sandbox, db: Database, inbox: Inbox) -> AsyncIterator[None]:
    """A channel that polls the simulator until the block ends."""
    polled = settings(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN))
    channel = TelegramChannel(polled, inbox, timeout_s=5.0)
    task = asyncio.create_task(channel.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


async def texts(db: Database) -> list[str]:
    """Everything stored, in order."""
    rows = await messages(db, "WHERE direction = 'in' ORDER BY id")
    return [part["text"] for row in rows for part in row["parts"]]


async def test_polling_stores_what_people_write_once_and_in_order(sandbox: Sandbox, db: Database, inbox: Inbox) -> None:
    await api(sandbox, "/_reset", {})
    await api(sandbox, "/sandbox/api/send", {"as": "telegram", "from": 7000001, "text": "one"})
    async with polling(sandbox, db, inbox):
        await api(sandbox, "/sandbox/api/send", {"as": "telegram", "from": 7000001, "text": "two"})
        await until(lambda: _is(texts(db), ["one", "two"]), what="both stored")
    async with polling(sandbox, db, inbox):
        await api(sandbox, "/sandbox/api/send", {"as": "telegram", "from": 7000001, "text": "three"})
        await until(lambda: _is(texts(db), ["one", "two", "three"]), what="the third stored")


async def test_polling_goes_on_after_every_fault(sandbox: Sandbox, db: Database, inbox: Inbox) -> None:
    await api(sandbox, "/_reset", {})
    plan = ["reset_before_read", "200_html", "500_not_executed", "200_truncated_json"]
    await api(sandbox, "/telegram/_faults", {"plan": plan, "match": {"path": "getUpdates"}})
    await api(sandbox, "/sandbox/api/send", {"as": "telegram", "from": 7000001, "text": "through it all"})
    async with polling(sandbox, db, inbox):
        await until(lambda: _is(texts(db), ["through it all"]), limit_s=30.0, what="stored")


async def _is(found: Awaitable[list[str]], wanted: list[str]) -> bool:
    return await found == wanted


async def test_one_update_nobody_can_read_does_not_hide_the_others(db: Database, inbox: Inbox) -> None:
    odd = {"update_id": 10, "message": {"message_id": "x", "date": [], "chat": 5}}
    batch = answer(200, {"ok": True, "result": [odd, recorded("start") | {"update_id": 11}]})
    async with wire(answer(200, {"ok": True, "result": True}), batch, "hang") as telegram:
        channel = TelegramChannel(settings(telegram.url), inbox)
        task = asyncio.create_task(channel.poll())
        await until(lambda: _asked(telegram.requests, 3), what="the third request")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()
    assert await texts(db) == ["/start bGlua180Mg"]
    assert "offset=12" in telegram.requests[2][0]


async def _asked(requests: list[tuple[str, bytes]], count: int) -> bool:
    return len(requests) >= count


async def test_nothing_is_acknowledged_while_the_store_is_away() -> None:
    away = await Database.connect(f"postgresql://mathia_app@127.0.0.1:{closed_port()}/mathia")
    batch = answer(200, {"ok": True, "result": [recorded("start")]})
    async with wire(answer(200, {"ok": True, "result": True}), batch) as telegram:
        channel = TelegramChannel(settings(telegram.url), Inbox(away, Wakes(away)))
        task = asyncio.create_task(channel.poll())
        await until(lambda: _asked(telegram.requests, 3), what="asking again")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()
    await away.close()
    assert all("offset=0&" in head for head, _ in telegram.requests[1:])


async def test_a_second_program_with_the_same_bot_is_named_in_the_log(db: Database, inbox: Inbox, capsys: Any) -> None:
    conflict = answer(409, problem(409, "Conflict: terminated by other getUpdates request"))
    async with wire(answer(200, {"ok": True, "result": True}), conflict) as telegram:
        channel = TelegramChannel(settings(telegram.url), inbox)
        task = asyncio.create_task(channel.poll())
        said = ""

        async def named() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "Another program receives this bot's messages" in said

        await until(named, what="a sentence about it")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()
    assert TOKEN not in said


@pytest.mark.parametrize("reply", REPLIES)
async def test_the_simulator_takes_every_piece_of_a_rich_reply(sandbox: Sandbox, reply: str) -> None:
    message = outbound(*REPLIES[reply], room="7000001")
    async with channel_at(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN)) as channel:
        sent = [await channel.send(replace(message, piece=piece)) for piece in range(channel.pieces(message))]
    history = await api(sandbox, "/sandbox/api/history?as=telegram")
    shown = [one for one in history["messages"] if one["id"] in {f"7000001:{number}" for number in sent}]
    assert len(shown) == len(sent)
    if reply == "table":
        assert [entity["type"] for entity in shown[0]["entities"]] == ["pre"]
    if reply == "choices":
        assert [button["data"] for row in shown[0]["buttons"] for button in row] == ["Nairobi", "Mombasa", "Kisumu"]
