"""Telegram: polling, webhooks, messages, errors and formatting; python-telegram-bot as referee."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from telegram import Bot, BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, RetryAfter
from telegram.request import HTTPXRequest

from bot.sandbox.accounts import BOT_TOKEN
from bot.sandbox.markup import CannotParse, parse
from tests.bot.sandbox.conftest import NO_TLS, App, Lab
from tests.waiting import until

BRIAN = 7000001
API = f"/telegram/bot{BOT_TOKEN}"


@pytest.fixture
async def bot(lab: Lab) -> AsyncIterator[Bot]:
    """The library's bot, speaking to the simulator."""
    async with made_bot(lab) as started:
        yield started


def made_bot(lab: Lab, token: str = BOT_TOKEN) -> Bot:
    base = f"{lab.url}/telegram"
    return Bot(
        token,
        base_url=f"{base}/bot",
        base_file_url=f"{base}/file/bot",
        request=request(),
        get_updates_request=request(),
    )


def request() -> HTTPXRequest:
    return HTTPXRequest(connection_pool_size=8, read_timeout=10, httpx_kwargs={"trust_env": False, "verify": NO_TLS})


async def write(lab: Lab, text: str = "", **more: object) -> dict[str, Any]:
    """Write as Brian."""
    answer = await lab.http.post("/sandbox/api/send", json={"as": "telegram", "text": text, **more})
    assert answer.status_code == 200, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


async def test_the_library_sends_edits_and_answers(lab: Lab, bot: Bot) -> None:
    assert bot.username == "mathia_sandbox_bot"
    keys = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y:1")]])
    sent = await bot.send_message(BRIAN, "Pay <b>KES 50</b>?", parse_mode=ParseMode.HTML, reply_markup=keys)
    assert (sent.text, sent.entities[0].type, sent.chat.id) == ("Pay KES 50?", MessageEntity.BOLD, BRIAN)
    answered = await bot.send_message(BRIAN, "again", reply_parameters=ReplyParameters(sent.message_id))
    assert answered.reply_to_message
    assert answered.reply_to_message.message_id == sent.message_id
    assert await bot.send_chat_action(BRIAN, ChatAction.TYPING)
    await lab.http.post("/sandbox/api/tap", json={"as": "telegram", "id": f"{BRIAN}:{sent.message_id}", "data": "y:1"})
    update = (await bot.get_updates(timeout=5))[0]
    assert update.callback_query
    assert (update.callback_query.data, update.callback_query.from_user.id) == ("y:1", BRIAN)
    assert await update.callback_query.answer("Thanks")
    edited = await bot.edit_message_text("Paid", BRIAN, sent.message_id)
    assert not isinstance(edited, bool)
    assert edited.text == "Paid"
    with pytest.raises(BadRequest, match="Query is too old"):
        await bot.answer_callback_query(update.callback_query.id)
    assert await bot.set_my_commands([BotCommand("start", "Begin")])
    rows = await lab.truth("telegram")
    assert [row["kind"] for row in rows] == ["send", "send", "typing", "answer", "edit", "commands"]
    assert [row.get("text") for row in rows[:2]] == ["Pay KES 50?", "again"]


async def test_the_bot_writes_in_a_group_once_it_was_written_to_there(lab: Lab, bot: Bot) -> None:
    with pytest.raises(BadRequest, match="Chat not found"):
        await bot.send_message(-1_000_001, "hello?")
    who = {"id": BRIAN, "is_bot": False, "first_name": "Brian"}
    content = {
        "message_id": 7, "date": 1_790_000_000, "from": who, "text": "hi",
        "chat": {"id": -1_000_001, "type": "supergroup", "title": "Plans"},
    }  # fmt: skip
    told = await lab.http.post("/telegram/_updates", json={"kind": "message", "content": content})
    assert told.status_code == 200
    sent = await bot.send_message(-1_000_001, "hello")
    assert (sent.chat.type, sent.chat.title) == ("supergroup", "Plans")


async def test_the_library_polls_text_commands_places_and_pictures(lab: Lab, bot: Bot) -> None:
    polling = asyncio.create_task(bot.get_updates(timeout=10))
    await write(lab, "/start hello 🦒")
    first = (await polling)[0]
    assert first.message
    assert first.message.text == "/start hello 🦒"
    assert first.message.from_user
    assert (first.message.from_user.id, first.message.entities[0].type) == (BRIAN, MessageEntity.BOT_COMMAND)
    await write(lab, location={"latitude": -1.2, "longitude": 36.8})
    await write(lab, picture=True)
    rest = await bot.get_updates(offset=first.update_id + 1)
    assert [one.update_id for one in rest] == [first.update_id + 1, first.update_id + 2]
    assert rest[0].message
    assert rest[0].message.location
    assert rest[0].message.location.latitude == -1.2
    assert rest[1].message
    file = await bot.get_file(rest[1].message.photo[-1].file_id)
    assert (await file.download_as_bytearray())[:4] == b"\x89PNG"
    assert await bot.get_updates(offset=rest[1].update_id + 1) == ()
    history = (await lab.http.get("/sandbox/api/history")).json()["messages"]
    assert [message["status"] for message in history] == ["delivered"] * 3


async def test_updates_stay_until_they_are_confirmed(lab: Lab, bot: Bot) -> None:
    for text in ("a", "b", "c"):
        await write(lab, text)
    first = await bot.get_updates(limit=2)
    assert [one.message.text for one in first if one.message] == ["a", "b"]
    again = await bot.get_updates()
    assert [one.update_id for one in again][:2] == [one.update_id for one in first]
    last = await bot.get_updates(offset=-1)
    assert [one.message.text for one in last if one.message] == ["c"]
    assert len(await bot.get_updates()) == 1


async def test_the_newer_of_two_polls_wins(lab: Lab) -> None:
    # A plan without trouble counts what it meets, which tells when the first poll has arrived.
    await lab.plan("telegram", "ok", match={"path": "(?i)getupdates"}, times=None)
    async with made_bot(lab) as older, made_bot(lab) as newer:
        first = asyncio.create_task(older.get_updates(timeout=20))

        async def arrived() -> bool:
            return bool((await lab.http.get("/telegram/_faults")).json()["met"])

        await until(arrived, 5, "the first poll")
        second = asyncio.create_task(newer.get_updates(timeout=20))
        with pytest.raises(Conflict, match="terminated by other getUpdates request"):
            await first
        await write(lab, "who gets it?")
        assert [one.message.text for one in await second if one.message] == ["who gets it?"]


async def test_a_webhook_gets_updates_in_order_with_its_secret_until_2xx(lab: Lab, app: App, bot: Bot) -> None:
    await bot.set_webhook(f"{app.url}/webhooks/telegram", secret_token="s3cr3t_Token-1")
    with pytest.raises(Conflict, match="webhook is active"):
        await bot.get_updates()
    app.answers = [web.Response(status=500), web.Response(status=503, headers={"Retry-After": "0"})]
    for text in ("one", "two", "three"):
        await write(lab, text)
    got = await app.wait_for(5)
    assert {one.headers["X-Telegram-Bot-Api-Secret-Token"] for one in got} == {"s3cr3t_Token-1"}
    texts = [json.loads(one.body)["message"]["text"] for one in got]
    assert texts == ["one", "one", "one", "two", "three"]
    info = await bot.get_webhook_info()
    assert info.last_error_message == "Wrong response from the webhook: 503"
    await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""


async def test_a_webhooks_answer_may_carry_one_call(lab: Lab, app: App, bot: Bot) -> None:
    await bot.set_webhook(f"{app.url}/hook")
    app.answers = [web.json_response({"method": "sendMessage", "chat_id": BRIAN, "text": "by answer"})]
    await write(lab, "hello")

    async def sent() -> bool:
        return [row["text"] for row in await lab.truth("telegram") if row["kind"] == "send"] == ["by answer"]

    await until(sent, 5, "the call in the answer")


async def test_webhooks_must_be_https_or_ours_and_secrets_clean(lab: Lab, bot: Bot) -> None:
    with pytest.raises(BadRequest, match="an https url must be provided"):
        await bot.set_webhook("http://bot.example/hook")
    with pytest.raises(BadRequest, match="unallowed characters"):
        await bot.set_webhook(f"{lab.simulators.app_url}/x", secret_token="no spaces")


@pytest.mark.parametrize(
    ("chat", "text", "error", "words"),
    [
        (BRIAN, " ", BadRequest, "Message text is empty"),
        (BRIAN, "x" * 4097, BadRequest, "Message is too long"),
        (BRIAN, "🦒" * 2049, BadRequest, "Message is too long"),
        (404404404, "hi", BadRequest, "Chat not found"),
        (403403403, "hi", Forbidden, "blocked by the user"),
        (403403404, "hi", Forbidden, "user is deactivated"),
        ("@nobody", "hi", BadRequest, "Chat not found"),
    ],
)
async def test_wrong_messages_are_refused_in_the_servers_words(
    lab: Lab, bot: Bot, chat: int | str, text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await bot.send_message(chat, text)
    assert await lab.truth("telegram") == []


@pytest.mark.filterwarnings("ignore:Deprecated since version v22.2")
async def test_other_refusals(lab: Lab, bot: Bot) -> None:
    sent = await bot.send_message(BRIAN, "x" * 4096)
    with pytest.raises(BadRequest, match="Message is not modified"):
        await bot.edit_message_text("x" * 4096, BRIAN, sent.message_id)
    with pytest.raises(BadRequest, match="Message to edit not found"):
        await bot.edit_message_text("y", BRIAN, 1)
    with pytest.raises(BadRequest, match="Message to be replied not found"):
        await bot.send_message(BRIAN, "y", reply_parameters=ReplyParameters(1))
    long = InlineKeyboardMarkup([[InlineKeyboardButton("k", callback_data="é" * 33)]])
    with pytest.raises(BadRequest, match="Button_data_invalid"):
        await bot.send_message(BRIAN, "y", reply_markup=long)
    with pytest.raises(BadRequest, match="Can't parse entities"):
        await bot.send_message(BRIAN, "<b>y", parse_mode=ParseMode.HTML)
    await lab.plan("telegram", {"fault": "429", "retry_after": 3}, match={"path": "(?i)sendmessage"})
    with pytest.raises(RetryAfter):
        await bot.send_message(BRIAN, "y")
    stranger = made_bot(lab, "1000001:another")
    with pytest.raises(InvalidToken):
        await stranger.initialize()
    await stranger.shutdown()
    assert (await lab.http.get("/telegram/botnonsense/getMe")).status_code == 404
    assert (await lab.http.get(f"{API}/noSuchMethod")).status_code == 404


async def test_blocking_the_bot_is_told_and_forbids_sending(lab: Lab, bot: Bot) -> None:
    await lab.http.post("/telegram/_chats", json={"id": BRIAN, "state": "blocked"})
    update = (await bot.get_updates(timeout=5))[0]
    assert update.my_chat_member
    assert update.my_chat_member.new_chat_member.status == "kicked"
    with pytest.raises(Forbidden):
        await bot.send_message(BRIAN, "hello?")


@pytest.mark.parametrize("way", ["query", "form", "json", "multipart"])
async def test_parameters_may_come_in_every_way_the_api_takes(lab: Lab, way: str) -> None:
    fields = {
        "chat_id": str(BRIAN),
        "text": f"by {way}",
        "reply_markup": '{"inline_keyboard":[[{"text":"a","url":"https://a.example"}]]}',
    }
    ways: dict[str, dict[str, Any]] = {
        "query": {"params": fields},
        "form": {"data": fields},
        "json": {"json": fields | {"chat_id": BRIAN, "reply_markup": json.loads(fields["reply_markup"])}},
        "multipart": {"files": {name: (None, value) for name, value in fields.items()}},
    }
    more = ways[way]
    answer: httpx.Response = await lab.http.request("GET" if way == "query" else "POST", f"{API}/SENDMESSAGE", **more)
    assert answer.json()["ok"], answer.text
    assert answer.json()["result"]["reply_markup"]["inline_keyboard"][0][0]["text"] == "a"
    assert [row["text"] for row in await lab.truth("telegram")] == [f"by {way}"]


@pytest.mark.parametrize(
    ("mode", "text", "shown", "entities"),
    [
        ("HTML", "🦒<b>a<i>b</i></b>&lt;", "🦒ab<", [("bold", 2, 2), ("italic", 3, 1)]),
        ("HTML", '<a href="https://a.example?x=1&amp;y">go</a>', "go", [("text_link", 0, 2)]),
        ("MarkdownV2", r"*a* \_b\_ `c\.d`", "a _b_ c.d", [("bold", 0, 1), ("code", 6, 3)]),
        ("MarkdownV2", "[go](https://a.example)", "go", [("text_link", 0, 2)]),
        ("", "see /help now", "see /help now", [("bot_command", 4, 5)]),
    ],
)
def test_formatting_becomes_entities(mode: str, text: str, shown: str, entities: list[tuple[str, int, int]]) -> None:
    plain, found = parse(text, mode)
    assert plain == shown
    assert [(e["type"], e["offset"], e["length"]) for e in found] == entities


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        ("HTML", "é<div>x</div>", 'Unsupported start tag "div" at byte offset 2'),
        ("HTML", "<b><i>x</b></i>", "Unmatched end tag at byte offset 7"),
        ("HTML", "x</b>", "Unexpected end tag at byte offset 1"),
        ("HTML", "1 < 2", "Unsupported start tag"),
        ("MarkdownV2", "done.", "Character '.' is reserved"),
        ("MarkdownV2", "*a", "Can't find end of Bold entity at byte offset 0"),
        ("Fancy", "a", "unsupported parse_mode"),
    ],
)
def test_broken_formatting_is_refused(mode: str, text: str, words: str) -> None:
    with pytest.raises(CannotParse, match=words.replace("(", r"\(")):
        parse(text, mode)


async def test_files_places_and_contacts_are_taken_as_telegram_takes_them(lab: Lab, bot: Bot) -> None:
    keys = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y")]])
    photo = await bot.send_photo(
        BRIAN, "https://x.example/a.png", caption="<b>Look</b>", parse_mode=ParseMode.HTML, reply_markup=keys
    )
    assert (photo.caption, photo.caption_entities[0].type) == ("Look", MessageEntity.BOLD)
    assert (await bot.send_document(BRIAN, photo.photo[0].file_id)).document
    assert (await bot.send_voice(BRIAN, photo.photo[0].file_id)).voice
    place = (await bot.send_location(BRIAN, -1.25, 36.5)).location
    assert place
    assert (place.latitude, place.longitude) == (-1.25, 36.5)
    contact = (await bot.send_contact(BRIAN, "+254712345678", "Amina")).contact
    assert contact
    assert contact.first_name == "Amina"
    tapped = await lab.http.post(
        "/sandbox/api/tap", json={"as": "telegram", "id": f"{BRIAN}:{photo.message_id}", "data": "y"}
    )
    assert tapped.status_code == 200
    [update] = await bot.get_updates(timeout=5)
    assert update.callback_query
    assert update.callback_query.data == "y"


@pytest.mark.parametrize(
    ("ref", "caption", "said"),
    [
        ("https://x.example/a.png", "x" * 1025, "caption is too long"),
        ("AgAC", "", "Wrong remote file identifier"),
        ("ftp://x.example/a", "", "protocol"),
    ],
)
async def test_files_that_telegram_refuses_are_refused(bot: Bot, ref: str, caption: str, said: str) -> None:
    with pytest.raises(BadRequest, match=f"(?i){said}"):
        await bot.send_photo(BRIAN, ref, caption=caption)
