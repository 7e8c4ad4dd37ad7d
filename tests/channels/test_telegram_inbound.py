"""What Telegram tells besides messages: buttons, edits, reactions, moves, blocks; genuine, forged and malformed."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from telegram import InlineKeyboardMarkup

from bot.runners import DeliveryRunner, TurnRunner
from bot.wiring import connect_valkey
from channels.telegram import Event, Pressed, TelegramChannel, parse, read_update
from core.changes import Change, Moved, Reach
from core.db import Database
from core.dialog_store import DialogStore
from core.inbox import Inbox
from core.limits import Limits
from core.messages import Address, ChannelName, Forwarded, InboundMessage, Reply, Text
from core.outbox import NewMessage, Outbox, post
from core.settings import SANDBOX_BOT_TOKEN
from core.turn import TurnDeps
from core.turn_store import Turns
from core.wake import Wakes
from tests.bot.test_webhooks import SECRET, SECRET_HEADER, TELEGRAM, serving
from tests.channels.test_telegram import ACCOUNT, ADA, USERNAME, api, recorded, settings
from tests.conftest import Sandbox
from tests.said import texts
from tests.waiting import until

GROUP = -5001
_people = itertools.count(7_100_001)


def told(update: dict[str, Any]) -> Event | None:
    return parse(read_update(update), ACCOUNT, USERNAME)


def callback(**changes: Any) -> dict[str, Any]:
    """The recorded press, with some of the query's fields changed."""
    raw = recorded("callback")
    raw["callback_query"].update(changes)
    return raw


def pressed(update: dict[str, Any]) -> InboundMessage | None:
    event = told(update)
    assert isinstance(event, Pressed)
    assert event.query_id == update["callback_query"]["id"]
    return event.message


def test_a_pressed_button_is_what_its_presser_could_have_typed() -> None:
    message = pressed(recorded("callback"))
    assert message
    assert message.sender == Address(ChannelName.TELEGRAM, ACCOUNT, ADA, ADA)
    assert (message.parts, message.event_id, message.reply_to) == ((Text(text="a:17"),), "10003", "1369")


@pytest.mark.parametrize(
    ("data", "said"),
    [("#1", "Approve"), ("#2", "Reject"), ("#3", None), ("#0", None), ("#999", None), ("#01", "#01"), ("#1 ", "#1 "),
     ("# 1", "# 1"), ("#-1", "#-1"), ("yes", "yes"), ("", None), (" ", None)],
)  # fmt: skip
def test_data_that_is_a_number_is_the_option_of_that_number(data: str, said: str | None) -> None:
    message = pressed(callback(data=data))
    assert (message.text if message else None) == said


def test_in_a_group_the_press_is_the_pressers_and_nobody_elses() -> None:
    raw = callback(data="#1")
    raw["callback_query"]["message"]["chat"] = {"id": GROUP, "type": "group", "title": "Family"}
    raw["callback_query"]["from"]["id"] = 2222222
    message = pressed(raw)
    assert message
    assert message.sender == Address(ChannelName.TELEGRAM, ACCOUNT, str(GROUP), "2222222")


def test_a_press_on_a_message_that_is_too_old_to_be_shown_is_only_answered() -> None:
    old = {"chat": {"id": int(ADA), "type": "private"}, "message_id": 1369, "date": 0}
    assert pressed(callback(message=old, data="#1")) is None
    message = pressed(callback(message=old, data="yes"))
    assert message
    assert message.text == "yes"
    raw = callback()
    del raw["callback_query"]["message"]
    assert pressed(raw) is None


@pytest.mark.parametrize(
    "origin",
    [
        {"type": "hidden_user", "date": 1, "sender_user_name": "Mallory"},
        {"type": "user", "date": 1, "sender_user": {"id": 666, "is_bot": False, "first_name": "Mallory"}},
        {"type": "chat", "date": 1, "sender_chat": {"id": -1, "type": "supergroup", "title": "T"}},
        {"type": "channel", "date": 1, "message_id": 1, "chat": {"id": -2, "type": "channel", "title": "News"}},
        {"type": "of_tomorrow", "date": 1},
    ],
    ids=lambda origin: origin["type"],
)
def test_what_somebody_else_wrote_is_marked_so(origin: dict[str, Any]) -> None:
    raw = recorded("reply")
    raw["message"]["forward_origin"] = origin
    message = told(raw)
    assert isinstance(message, InboundMessage)
    assert message.parts[0] == Forwarded()
    before = told(recorded("reply"))
    assert isinstance(before, InboundMessage)
    assert message.parts[1:] == before.parts


def test_an_edit_names_its_message_and_says_what_is_left() -> None:
    assert told(recorded("edited")) == Change(
        author=Address(ChannelName.TELEGRAM, ACCOUNT, ADA, ADA),
        event_id="20013",
        kind="edit",
        target=":1413",
        sent_at=datetime.fromtimestamp(1795002000, UTC),
        parts=(Text(text="make it 6 pm"),),
    )


def test_who_blocks_the_bot_is_out_of_reach_and_who_comes_back_is_not() -> None:
    raw = recorded("blocked")
    at = datetime.fromtimestamp(1795000040, UTC)
    assert told(raw) == Reach(ChannelName.TELEGRAM, ACCOUNT, ADA, False, at)
    raw["my_chat_member"]["new_chat_member"]["status"] = "member"
    assert told(raw) == Reach(ChannelName.TELEGRAM, ACCOUNT, ADA, True, at)
    raw["my_chat_member"]["new_chat_member"]["user"]["id"] = 5
    assert told(raw) is None


def moved(**fields: Any) -> dict[str, Any]:
    chat = {"id": GROUP, "type": "group", "title": "Family"}
    return {"update_id": 5, "message": {"message_id": 1, "date": 1795000000, "chat": chat, **fields}}


def test_both_chats_of_a_migration_say_the_same() -> None:
    same = Moved(ChannelName.TELEGRAM, ACCOUNT, str(GROUP), "-1009")
    assert told(moved(migrate_to_chat_id=-1009)) == same
    assert told(moved(migrate_from_chat_id=GROUP, chat={"id": -1009, "type": "supergroup", "title": "Family"})) == same


# Forged and malformed updates: refused or ignored, never stored, never an error of ours.

REACTION = {
    "update_id": 7,
    "message_reaction": {
        "chat": {"id": int(ADA), "type": "private"}, "message_id": 9, "date": 1795000000,
        "user": {"id": int(ADA), "is_bot": False, "first_name": "Ada"},
        "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}],
    },
}  # fmt: skip
WRONG: list[tuple[str, tuple[str, ...], Any]] = [
    ("callback", ("callback_query",), 5), ("callback", ("callback_query",), []), ("callback", ("callback_query",), "x"),
    ("callback", ("callback_query", "id"), None), ("callback", ("callback_query", "id"), 5),
    ("callback", ("callback_query", "id"), "x" * 5_000), ("callback", ("callback_query", "id"), "a\0b"),
    ("callback", ("callback_query", "from"), None), ("callback", ("callback_query", "from"), 5),
    ("callback", ("callback_query", "from", "id"), "1111111"), ("callback", ("callback_query", "from", "id"), 2**70),
    ("callback", ("callback_query", "from", "is_bot"), True), ("callback", ("callback_query", "data"), 5),
    ("callback", ("callback_query", "data"), "a\0b"), ("callback", ("callback_query", "data"), {"a": 1}),
    ("callback", ("callback_query", "data"), None), ("callback", ("callback_query", "message"), 5),
    ("callback", ("callback_query", "message"), []), ("callback", ("callback_query", "message", "chat"), None),
    ("callback", ("callback_query", "message", "chat", "id"), "x"),
    ("callback", ("callback_query", "message", "chat", "type"), "channel"),
    ("callback", ("callback_query", "message", "message_id"), "x"),
    ("edited", ("edited_message",), 5), ("edited", ("edited_message",), [1]), ("edited", ("edited_message", "chat"), 5),
    ("edited", ("edited_message", "chat", "id"), None), ("edited", ("edited_message", "from"), None),
    ("edited", ("edited_message", "from", "id"), "x"), ("edited", ("edited_message", "edit_date"), None),
    ("edited", ("edited_message", "edit_date"), "now"), ("edited", ("edited_message", "edit_date"), 1e30),
    ("edited", ("edited_message", "message_id"), None), ("edited", ("edited_message", "message_id"), 2**65),
    ("edited", ("edited_message", "text"), 5), ("edited", ("edited_message", "text"), "a\0b"),
    ("edited", ("edited_message", "text"), "\ud800"),
    ("blocked", ("my_chat_member",), 5), ("blocked", ("my_chat_member", "chat"), None),
    ("blocked", ("my_chat_member", "chat", "id"), "x"), ("blocked", ("my_chat_member", "date"), None),
    ("blocked", ("my_chat_member", "new_chat_member"), None), ("blocked", ("my_chat_member", "new_chat_member"), 5),
    ("blocked", ("my_chat_member", "new_chat_member", "user"), 5),
    ("blocked", ("my_chat_member", "new_chat_member", "user", "id"), 1),
    ("reaction", ("message_reaction",), 5), ("reaction", ("message_reaction", "chat"), 5),
    ("reaction", ("message_reaction", "message_id"), "x"), ("reaction", ("message_reaction", "user"), None),
    ("reaction", ("message_reaction", "user"), "x"), ("reaction", ("message_reaction", "date"), None),
    ("reaction", ("message_reaction", "new_reaction"), 5), ("reaction", ("message_reaction", "new_reaction"), [5]),
    ("reaction", ("message_reaction", "new_reaction"), [{"type": "emoji", "emoji": 5}]),
    ("reaction", ("message_reaction", "new_reaction"), [{"type": "emoji", "emoji": "\0"}]),
    ("moved", ("message", "migrate_to_chat_id"), "x"), ("moved", ("message", "migrate_to_chat_id"), 5),
    ("moved", ("message", "migrate_to_chat_id"), GROUP), ("moved", ("message", "migrate_to_chat_id"), 2**70),
    ("moved", ("message", "migrate_to_chat_id"), 0), ("moved", ("message", "chat", "type"), "private"),
]  # fmt: skip


def spoilt(name: str, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    known = {"reaction": REACTION, "moved": moved(migrate_to_chat_id=-1009)}
    raw: dict[str, Any] = json.loads(json.dumps(known[name])) if name in known else recorded(name)
    place: Any = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return raw


async def test_malformed_updates_are_refused_or_ignored_and_leave_no_row(db: Database) -> None:
    assert len(WRONG) >= 40
    async with serving(db) as site:
        for name, path, value in WRONG:
            body = json.dumps(spoilt(name, path, value)).encode()
            status, _ = await site.post(TELEGRAM, body, {SECRET_HEADER: SECRET})
            assert status in (200, 400), (name, path, value)
        for table in ("message", "change", "reaction", "conversation", "identity"):
            assert await db.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608


async def test_whoever_does_not_know_the_secret_changes_nothing(db: Database) -> None:
    async with serving(db) as site:
        assert await site.telegram(edited("before", kind="message"))
        for name in ("callback", "edited", "blocked"):
            body = json.dumps(recorded(name)).encode()
            assert (await site.post(TELEGRAM, body, {SECRET_HEADER: "wrong"}))[0] == 403
        assert await site.rows() == 1
        assert await db.pool.fetchval("SELECT count(*) FROM change") == 0


def edited(text: str, *, kind: str = "edited_message", update_id: int = 20000, at: int = 1795002000) -> dict[str, Any]:
    """The recorded edit's message under another kind, id, words or moment."""
    message = recorded("edited")["edited_message"] | {"text": text, "edit_date": at}
    return {"update_id": update_id, kind: message}


async def words(db: Database) -> list[str]:
    return await texts(db, "WHERE direction = 'in' ORDER BY id")


async def test_by_webhook_presses_and_edits_are_taken_once_in_whatever_order(db: Database) -> None:
    async with serving(db) as site:
        third = edited("third", update_id=3, at=1795002003)
        updates = [
            edited("first", kind="message", update_id=1),
            callback(data="#1"),
            third,
            edited("second", update_id=2, at=1795002002),
            callback(data="#1"),
            third,
            edited("fourth", update_id=4, at=1795002003),
        ]
        for update in updates:
            assert (await site.telegram(update))[0] == 200
        assert await words(db) == ["fourth", "Approve"]
        states = await db.pool.fetch("SELECT event_id, state FROM change ORDER BY id")
        assert [tuple(row) for row in states] == [("3", "applied"), ("2", "overtaken"), ("4", "applied")]


# By polling, against the simulator.


@asynccontextmanager
async def polling(sandbox: Sandbox, inbox: Inbox) -> AsyncIterator[TelegramChannel]:
    polled = settings(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN))
    channel = TelegramChannel(
        polled,
        inbox,
        timeout_s=5.0,
        commands={"": [("help", "What I can do")], "sw": [("help", "Ninachoweza kufanya")]},
    )
    task = asyncio.create_task(channel.run())
    try:
        yield channel
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


def says(db: Database, seq: int, wanted: str) -> Callable[[], Awaitable[bool]]:
    """Whether the message of a number says something."""

    async def check() -> bool:
        return await texts(db, "WHERE seq = $1", seq) == [wanted]

    return check


def holds(db: Database, query: str, wanted: object) -> Callable[[], Awaitable[bool]]:
    """Whether a query gives a value."""

    async def check() -> bool:
        return bool(await db.pool.fetchval(query) == wanted)

    return check


async def truth(sandbox: Sandbox, kind: str) -> list[dict[str, Any]]:
    return [row for row in await api(sandbox, "/telegram/_truth") if row["kind"] == kind]


async def test_what_a_phone_does_arrives_by_polling(sandbox: Sandbox, db: Database) -> None:
    await api(sandbox, "/_reset", {})
    inbox = Inbox(db, Wakes(db))
    person = next(_people)
    answers = len(await truth(sandbox, "answer"))
    menus = len(await truth(sandbox, "commands"))
    async with polling(sandbox, inbox) as channel:
        sent = await api(sandbox, "/sandbox/api/send", {"as": "telegram", "from": person, "text": "at 4"})
        await until(holds(db, "SELECT count(*) FROM message", 1), what="the message")
        who = {"as": "telegram", "from": person, "id": sent["id"]}
        await api(sandbox, "/sandbox/api/edit", who | {"text": "at 5"})
        await until(says(db, 1, "at 5"), what="the edit")
        await api(sandbox, "/sandbox/api/react", who | {"emoji": ["👍"]})
        await until(holds(db, "SELECT emoji ->> 0 FROM reaction", "👍"), what="the reaction")
        await api(sandbox, "/sandbox/api/react", who | {"emoji": []})
        await until(holds(db, "SELECT count(*) FROM reaction", 0), what="no reaction")
        keys = {"inline_keyboard": [[{"text": "Weather", "callback_data": "#1"}]]}
        number = (await channel._bot.send_message(person, "What?", reply_markup=_markup(keys))).message_id
        await api(sandbox, "/sandbox/api/tap", {"as": "telegram", "id": f"{person}:{number}", "data": "#1"})
        await until(says(db, 2, "Weather"), what="the press")

        async def answered() -> bool:
            return (
                len(await truth(sandbox, "answer")) == answers + 1
                and len(await truth(sandbox, "commands")) == menus + 2
            )

        await until(answered, what="the spinner stopped and the menus set")
        told = {row["language_code"]: row["commands"] for row in (await truth(sandbox, "commands"))[menus:]}
        assert told["sw"] == [{"command": "help", "description": "Ninachoweza kufanya"}]
        for state, wanted in (("blocked", 1), ("member", 0)):
            await api(sandbox, "/telegram/_chats", {"id": person, "state": state})
            count = "SELECT count(*) FROM conversation WHERE unreachable_at IS NOT NULL"
            await until(holds(db, count, wanted), what=state)


def _markup(keys: dict[str, Any]) -> Any:
    return InlineKeyboardMarkup.de_json(keys, None)


async def test_a_group_keeps_its_conversation_when_it_becomes_a_supergroup(sandbox: Sandbox, db: Database) -> None:
    await api(sandbox, "/_reset", {})
    async with polling(sandbox, Inbox(db, Wakes(db))):
        person = {"id": 42, "is_bot": False, "first_name": "Asha"}
        entity = [{"type": "bot_command", "offset": 0, "length": 8}]

        async def say(room: int, kind: str, number: int, text: str) -> None:
            chat = {"id": room, "type": kind, "title": "Family"}
            content = {"message_id": number, "date": 1795000000, "from": person, "chat": chat, "text": text,
                       "entities": entity}  # fmt: skip
            await api(sandbox, "/telegram/_updates", {"kind": "message", "content": content})

        await say(GROUP, "group", 1, "/weather Lamu")
        fields = moved(migrate_to_chat_id=-1009)["message"]
        await api(sandbox, "/telegram/_updates", {"kind": "message", "content": fields})
        await say(-1009, "supergroup", 1, "/weather Kisumu")
        await until(holds(db, "SELECT count(*) FROM message", 2), what="both messages")
    assert await db.pool.fetchval("SELECT count(*) FROM conversation") == 1
    assert await db.pool.fetchval("SELECT room FROM conversation") == "-1009"


# What the runners make of it.


async def reminder(db: Database, kind: str, key: str) -> None:
    conversation = await db.pool.fetchval("SELECT id FROM conversation")
    async with db.hot() as connection:
        await post(connection, [NewMessage(conversation, (Text(text="Call Asha"),), kind, key)])


async def test_a_reminder_for_somebody_who_blocked_us_goes_elsewhere_at_once(sandbox: Sandbox, db: Database) -> None:
    person = str(next(_people))
    wakes = Wakes(db)
    inbox = Inbox(db, wakes)
    polled = settings(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN))
    channel = TelegramChannel(polled, inbox)
    home = Address(ChannelName.TELEGRAM, channel.account, person, person)
    await inbox.receive([InboundMessage(home, "1:1", (Text(text="hi"),), datetime.now(UTC))])
    news = Reach(ChannelName.TELEGRAM, channel.account, person, False, datetime.now(UTC))
    await inbox.tell(news)
    outbox = Outbox(db, lease_s=polled.send_lease_s)
    runner = DeliveryRunner(db, outbox, {ChannelName.TELEGRAM: channel}, wakes, polled)
    task = asyncio.create_task(runner.run())
    try:
        await reminder(db, "reminder", "one")
        wakes.wake("outbox")
        await until(holds(db, "SELECT state FROM outbox WHERE dedup_key = 'one'", "refused"), what="refused")
        assert not [row for row in await truth(sandbox, "send") if row["chat_id"] == int(person)]
        await inbox.tell(Reach(news.channel, news.account, news.room, True, datetime.now(UTC)))
        await reminder(db, "reminder", "two")
        wakes.wake("outbox")
        await until(holds(db, "SELECT state FROM outbox WHERE dedup_key = 'two'", "sent"), what="sent")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


class Slow:
    """A brain that thinks until it may stop."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def think(self, _turn: object, _offered: object) -> Reply:
        await self.done.wait()
        return Reply.of("Done")


async def test_typing_is_seen_while_an_answer_takes_longer_and_not_more_than_it_lasts(
    sandbox: Sandbox, db: Database, valkey_url: str
) -> None:
    person = str(next(_people))
    wakes, brain, valkey = Wakes(db), Slow(), connect_valkey(valkey_url)
    inbox = Inbox(db, wakes)
    polled = settings(f"{sandbox.url}/telegram", telegram_bot_token=SecretStr(SANDBOX_BOT_TOKEN))
    channel = TelegramChannel(polled, inbox)
    anything: Any = None
    catalog: Any = type("Catalog", (), {"offered": ()})
    limits = Limits(valkey)
    deps = TurnDeps(brain, catalog, anything, anything, db, polled, limits)
    turns = Turns(db, wakes, DialogStore(valkey, db.keys), limits, lease_s=30.0, zone="Africa/Nairobi")
    runner = TurnRunner(turns, deps, wakes, channels={ChannelName.TELEGRAM: channel})
    task = asyncio.create_task(runner.run())

    async def typed() -> int:
        return len([row for row in await truth(sandbox, "typing") if row["chat_id"] == int(person)])

    async def twice() -> bool:
        return await typed() == 2

    try:
        home = Address(ChannelName.TELEGRAM, channel.account, person, person)
        began = asyncio.get_running_loop().time()
        await inbox.receive([InboundMessage(home, "1:1", (Text(text="hi"),), datetime.now(UTC))])
        await until(twice, what="typing, shown twice")
        assert asyncio.get_running_loop().time() - began >= 6.0
        brain.done.set()
        await until(holds(db, "SELECT state FROM turn", "done"), what="the answer")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()
        await valkey.aclose()
