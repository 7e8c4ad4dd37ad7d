"""Telegram's Bot API: one bot, long polling or a webhook, messages, buttons, files.

Besides the API: POST /telegram/_chats {"id": 7000001, "state": "member" | "blocked" | "deactivated" | "unknown"}
decides a chat's fate until POST /_heal. POST /telegram/_updates {"kind": "edited_message", "content": {…}} has an
update delivered as it stands, for what no phone does: groups, in which the bot may write once it was written to
there, and their migrations. The ids 403403403 (blocked),
403403404 (deactivated) and 404404404 (unknown) always have it. Any other positive id counts as a person who has started
the bot, because a load generator writes past this simulator.
"""

import asyncio
import io
import json
import re
import time
import zlib
from collections.abc import Callable
from hmac import compare_digest
from secrets import token_hex
from typing import TypeAlias
from urllib.parse import parse_qsl

from bot.sandbox.accounts import BOT_TOKEN, BOT_USERNAME
from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import Faults, Webhooks
from bot.sandbox.forms import Upload, multipart
from bot.sandbox.hooks import Hooks, Unreachable
from bot.sandbox.kept import KeptFiles
from bot.sandbox.markup import CannotParse, commands, parse, units
from bot.sandbox.pictures import HEIGHT, PICTURE_TYPE, WIDTH, picture
from bot.sandbox.screen import Screen
from bot.sandbox.truth import Disk, Journal, JsonObject
from bot.sandbox.voices import VOICE_S, VOICE_TYPE, voice_note

TEXT_UNITS_MAX = 4096
CAPTION_UNITS_MAX = 1024
CALLBACK_DATA_BYTES_MAX = 64
MARKUP_CHARS_MAX = 10_000
FIELDS_MAX = 64
POLL_S_MAX = 50
UPDATES_MAX = 100
PENDING_MAX = 10_000
PENDING_AGE_S = 24 * 3600
GROUPS_MAX = 1_000
"""Groups that the bot was written to in and may write in, the last of them."""
SENT_MAX = 5_000
"""Messages of the bot that can still be edited or answered to."""
QUERY_AGE_S = 15 * 60
WEBHOOK_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
WEBHOOK_WAIT_S_MAX = 3600.0
UNPOLLED_S = 2.0
"""An update this old that nobody has fetched means that the application is away."""

TOKEN = re.compile(r"[0-9]{1,16}:[A-Za-z0-9_-]{1,256}")
PATH = re.compile(r"/bot([^/]*)/([^/]*)")
FILE_PATH = re.compile(r"/file/bot([^/]*)/(.+)")
FILE_ID = re.compile(r"[A-Za-z0-9_-]{16,512}")
SECRET = re.compile(r"[A-Za-z0-9_-]+")
COMMAND = re.compile(r"[a-z0-9_]{1,32}")
ACTIONS = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
})  # fmt: skip
FATES = {403403403: "blocked", 403403404: "deactivated", 404404404: "unknown"}
STATES = ("member", "blocked", "deactivated", "unknown")
SILENT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
FETCHED_BYTES_MAX = 20 * 1024 * 1024
UPLOAD_BYTES_MAX = 50 * 1024 * 1024
PHOTO_BYTES_MAX = 10 * 1024 * 1024
PHOTO_SIDES_MAX, PHOTO_RATIO_MAX = 10_000, 20
"""Width and height together, and one to the other."""
FILE = {"file_id": "AgACAgQAAxkDAAMathia", "file_unique_id": "AQADMathia"}

Params: TypeAlias = JsonObject
BOT: JsonObject = {"id": int(BOT_TOKEN.split(":")[0]), "is_bot": True, "first_name": "Mathia", "username": BOT_USERNAME}


class Refused(Exception):
    """The API says no; `code` is both HTTP status and error_code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code


def refuse(code: int, description: str) -> Answer:
    """The API's error body."""
    return answer_json({"ok": False, "error_code": code, "description": description}, code)


class Telegram:
    """The simulator of the Bot API for one bot."""

    name = "telegram"

    def __init__(self, disk: Disk, screen: Screen, hooks: Hooks) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._state = Journal(disk, "telegram-updates")
        self._screen, self._hooks = screen, hooks
        self._kept = KeptFiles(lambda: "BQACAgQAAxkD" + token_hex(16))
        self._pending: dict[int, JsonObject] = {}
        self._born: dict[int, float] = {}
        self._sent: dict[tuple[int, int], JsonObject] = {}
        self._webhook: JsonObject = {}
        self._allowed: list[str] = []
        self._commands: dict[str, list[JsonObject]] = {}
        self._fates: dict[int, str] = {}
        self._groups: dict[int, JsonObject] = {}
        self._queries: dict[str, float] = {}
        self._poll: asyncio.Future[None] | None = None
        self._chats: dict[int, asyncio.Task[None]] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._kick = asyncio.Event()
        self._last_error: tuple[int, str] | None = None
        # Ids grow with the clock, so that an application that outlives this data folder never sees one twice.
        self._update_id = int(time.time())
        self._message_id = int(time.time()) - 1_700_000_000
        self._read_back()
        self._methods: dict[str, Callable[[Params], object]] = {
            "getme": lambda _: (
                BOT | {"can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}
            ),
            "sendmessage": self._send_message,
            "sendphoto": lambda params: self._send_file(params, "photo"),
            "senddocument": lambda params: self._send_file(params, "document"),
            "sendvoice": lambda params: self._send_file(params, "voice"),
            "sendaudio": lambda params: self._send_file(params, "audio"),
            "sendvideo": lambda params: self._send_file(params, "video"),
            "sendlocation": self._send_location,
            "sendcontact": self._send_contact,
            "sendchataction": self._send_chat_action,
            "editmessagetext": self._edit_message_text,
            "editmessagereplymarkup": self._edit_reply_markup,
            "deletemessage": self._delete_message,
            "answercallbackquery": self._answer_callback_query,
            "setwebhook": self._set_webhook,
            "deletewebhook": self._delete_webhook,
            "getwebhookinfo": lambda _: self._webhook_info(),
            "getfile": self._get_file,
            "getchat": self._get_chat,
            "setmycommands": self._set_my_commands,
            "getmycommands": lambda params: self._commands.get(params.get("language_code") or "", []),
        }

    def _read_back(self) -> None:
        for row in self._state.rows():
            if "update" in row:
                self._pending[row["update"]["update_id"]] = row["update"]
                self._born[row["update"]["update_id"]] = row["born"]
                self._update_id = max(self._update_id, row["update"]["update_id"])
            elif "confirmed" in row:
                for number in (
                    [n for n in self._pending if n <= row["confirmed"]] if not row.get("one") else [row["confirmed"]]
                ):
                    self._pending.pop(number, None)
                    self._born.pop(number, None)
            elif "webhook" in row:
                self._webhook = row["webhook"]
            elif "reset" in row:
                self._pending.clear()
                self._born.clear()
                self._webhook = {}
        for row in self.journal.rows():
            if row.get("kind") in ("send", "edit"):
                self._remember(row["message"])
                self._message_id = max(self._message_id, row["message"]["message_id"])
        for shown in self._screen.messages("telegram"):
            self._message_id = max(self._message_id, int(shown["id"].rpartition(":")[2]))

    def file(self, number: str) -> tuple[str, bytes] | None:
        """A file that was sent here, for the phone: its type and bytes."""
        return self._kept.get(number)

    def start(self) -> None:
        """Go on delivering what was pending before the last stop."""
        for update in self._pending.values():
            self._offer(update)

    async def stop(self) -> None:
        """Stop deliveries and end the open poll."""
        self._wake_poll()
        if self._watch is not None:
            self._watch.cancel()
        tasks = list(self._chats.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def too_many(self, retry_after_s: int) -> Answer:
        """The Bot API's 429, in the body and in the header."""
        description = f"Too Many Requests: retry after {retry_after_s}"
        body = {
            "ok": False,
            "error_code": 429,
            "description": description,
            "parameters": {"retry_after": retry_after_s},
        }
        return answer_json(body, 429, {"Retry-After": str(retry_after_s)})

    def broken(self) -> Answer:
        """The Bot API's 500."""
        return refuse(500, "Internal Server Error")

    def heal(self) -> None:
        """Every chat is a member again."""
        self._fates.clear()

    def reset(self) -> None:
        """Forget pending updates, messages, commands and the webhook."""
        self.heal()
        for task in self._chats.values():
            task.cancel()
        self._chats.clear()
        self._pending.clear()
        self._born.clear()
        self._sent.clear()
        self._queries.clear()
        self._commands, self._allowed, self._webhook, self._last_error = {}, [], {}, None
        self._state.append({"reset": True})
        self._screen.waiting("telegram", "")

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.path == "/_chats":
            return self._set_fate(call)
        if call.path == "/_updates":
            return self._push_as_it_stands(call)
        if call.path == "/_media":
            return answer_json(self._kept.keep(controls(call)))
        if found := FILE_PATH.fullmatch(call.path):
            kept = self._kept.get(found[2].removeprefix("documents/"))
            if kept is None and found[2] == "photos/file_1.png":
                kept = PICTURE_TYPE, picture()
            if kept is None or not compare_digest(found[1].encode(), BOT_TOKEN.encode()):
                return refuse(404, "Not Found")
            return Answer(200, kept[1], kept[0])
        found = PATH.fullmatch(call.path)
        if found is None or not TOKEN.fullmatch(found[1]) or call.method not in ("GET", "POST"):
            return refuse(404, "Not Found")
        if not compare_digest(found[1].encode(), BOT_TOKEN.encode()):
            return refuse(401, "Unauthorized")
        try:
            params = _params(call)
            result = await self._run(found[2].lower(), params, call.fault)
        except CannotParse as error:
            return refuse(400, f"Bad Request: can't parse entities: {error}")
        except Refused as error:
            return refuse(error.code, str(error))
        return answer_json({"ok": True, "result": result})

    async def _run(self, method: str, params: Params, fault: str | None) -> object:
        self._fault = fault
        if method == "getupdates":
            return await self._get_updates(params)
        run = self._methods.get(method)
        if run is None:
            raise Refused(404, "Not Found")
        return run(params)

    def _did(self, kind: str, row: JsonObject) -> None:
        self.journal.append({"kind": kind, **row, **({"fault": self._fault} if self._fault else {})})

    # Chats.

    def _set_fate(self, call: Call) -> Answer:
        if call.method != "POST":
            return refuse(405, "Method Not Allowed")
        try:
            asked = controls(call)
            chat, state = asked.get("id"), asked.get("state")
            if isinstance(chat, bool) or not isinstance(chat, int) or state not in STATES:
                raise ValueError(f"id must be a chat's number and state one of {', '.join(STATES)}.")
        except ValueError as error:
            return answer_json({"error": str(error)}, 400)
        before = self._fates.get(chat, "member")
        self._fates[chat] = state
        if {before, state} == {"member", "blocked"} and self._screen.knows("telegram", str(chat)):
            status = {"member": "member", "blocked": "kicked"}
            old: JsonObject = {"user": BOT, "status": status[before]}
            new: JsonObject = {"user": BOT, "status": status[state]}
            for member in (old, new):
                if member["status"] == "kicked":
                    member["until_date"] = 0
            person = self._person(chat)
            change = {"chat": self._chat(chat), "from": person, "date": int(time.time())}
            self._push("my_chat_member", {**change, "old_chat_member": old, "new_chat_member": new})
        return answer_json({"id": chat, "state": state})

    def _push_as_it_stands(self, call: Call) -> Answer:
        if call.method != "POST":
            return refuse(405, "Method Not Allowed")
        try:
            asked = controls(call)
            kind, content = asked.get("kind"), asked.get("content")
            if not isinstance(kind, str) or not isinstance(content, dict):
                raise ValueError("kind must be an update's field, and content the object there.")
            try:
                chat = _chat_of({kind: content})
            except (KeyError, TypeError, AttributeError):
                raise ValueError("content must name a chat.") from None
            if chat < 0 and isinstance(group := content.get("chat"), dict):
                self._meet(chat, group)
            if kind == "callback_query":
                self._queries[str(content.get("id"))] = time.time()
            return answer_json({"update_id": self._push(kind, content)})
        except ValueError as error:
            return answer_json({"error": str(error)}, 400)

    def _meet(self, chat: int, group: JsonObject) -> None:
        """The bot is in this group, and may write there."""
        if group.get("type") in ("group", "supergroup"):
            self._groups[chat] = {"id": chat, "type": group["type"], "title": str(group.get("title") or "A group")}
        while len(self._groups) > GROUPS_MAX:
            del self._groups[next(iter(self._groups))]

    def _chat_id(self, params: Params) -> int:
        value = params.get("chat_id")
        if value is None or value == "":
            raise Refused(400, "Bad Request: chat_id is empty")
        try:
            chat = int(str(value))
        except ValueError:
            raise Refused(400, "Bad Request: chat not found") from None
        match FATES.get(chat) or self._fates.get(chat, "member"):
            case "blocked":
                raise Refused(403, "Forbidden: bot was blocked by the user")
            case "deactivated":
                raise Refused(403, "Forbidden: user is deactivated")
            case "unknown":
                raise Refused(400, "Bad Request: chat not found")
        if not 0 < chat < 2**52 and chat not in self._groups:
            raise Refused(400, "Bad Request: chat not found")
        return chat

    def _chat(self, chat: int) -> JsonObject:
        if chat in self._groups:
            return self._groups[chat]
        name = self._screen.people.get(("telegram", str(chat)), "Someone")
        return {"id": chat, "type": "private", "first_name": name, "username": _username(name, chat)}

    def _person(self, chat: int) -> JsonObject:
        name = self._screen.people.get(("telegram", str(chat)), "Someone")
        return {
            "id": chat,
            "is_bot": False,
            "first_name": name,
            "username": _username(name, chat),
            "language_code": "en",
        }

    def _next_message_id(self) -> int:
        self._message_id += 1
        return self._message_id

    # Messages of the bot.

    def _remember(self, message: JsonObject) -> None:
        self._sent[message["chat"]["id"], message["message_id"]] = message
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]

    def _text(self, params: Params) -> tuple[str, list[JsonObject]]:
        raw = params.get("text")
        if raw is None or not isinstance(raw, str) or not raw.strip():
            raise Refused(400, "Bad Request: message text is empty")
        text, entities = parse(raw, str(params.get("parse_mode") or ""))
        if params.get("entities") is not None:
            given = _json(params, "entities")
            if not isinstance(given, list):
                raise Refused(400, "Bad Request: can't parse entities: expected an Array of MessageEntity")
            entities = given
        if not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if units(text) > TEXT_UNITS_MAX:
            raise Refused(400, "Bad Request: message is too long")
        return text.strip(), entities

    def _markup(self, params: Params) -> JsonObject | None:
        if params.get("reply_markup") in (None, ""):
            return None
        markup = _json(params, "reply_markup")
        if not isinstance(markup, dict):
            raise Refused(400, "Bad Request: object expected as reply markup")
        if len(json.dumps(markup)) > MARKUP_CHARS_MAX:
            raise Refused(400, "Bad Request: reply markup is too long")
        for row in markup.get("inline_keyboard") or ():
            if not isinstance(row, list):
                raise Refused(400, "Bad Request: inline keyboard must be an Array of Arrays")
            for button in row:
                if not isinstance(button, dict) or not button.get("text"):
                    raise Refused(400, "Bad Request: inline keyboard button text can't be empty")
                data = button.get("callback_data")
                if data is not None and not 1 <= len(str(data).encode()) <= CALLBACK_DATA_BYTES_MAX:
                    raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
                if data is None and not button.get("url") and not button.get("web_app"):
                    raise Refused(400, "Bad Request: text buttons are unallowed in the inline keyboard")
        return markup

    def _reply_to(self, params: Params, chat: int) -> JsonObject | None:
        reply = _json(params, "reply_parameters") if params.get("reply_parameters") else None
        if reply is None and params.get("reply_to_message_id"):
            reply = {"message_id": _integer(params, "reply_to_message_id", 0)}
        if not isinstance(reply, dict):
            return None
        number = reply.get("message_id")
        found = self._sent.get((chat, number)) if isinstance(number, int) else None
        if found is None and isinstance(number, int):
            theirs = self._screen.message("telegram", f"{chat}:{number}")
            found = self._from_person(theirs) if theirs else None
        if found is None and not reply.get("allow_sending_without_reply"):
            raise Refused(400, "Bad Request: message to be replied not found")
        return {k: v for k, v in found.items() if k != "reply_to_message"} if found else None

    def _send_message(self, params: Params) -> JsonObject:
        chat = self._chat_id(params)
        text, entities = self._text(params)
        return self._send(params, chat, {"text": text, **({"entities": entities} if entities else {})}, {"text": text})

    def _send_file(self, params: Params, kind: str) -> JsonObject:
        """A file by address or by the id of one that is known here, of which nothing is fetched, or in the form."""
        chat = self._chat_id(params)
        ref = params.get(kind)
        caption, entities = parse(str(params.get("caption") or ""), str(params.get("parse_mode") or ""))
        if units(caption) > CAPTION_UNITS_MAX:
            raise Refused(400, "Bad Request: message caption is too long")
        shown: JsonObject = {"text": caption}
        file: JsonObject
        width, height = WIDTH, HEIGHT
        if isinstance(ref, Upload):
            width, height = _taken(ref, kind)
            number = self._kept.put(ref.media_type, ref.data)
            file = {"file_id": number, "file_unique_id": number[-12:], "file_size": len(ref.data)}
            shown |= {"media": f"/sandbox/files/{number}", "media_type": ref.media_type, "name": ref.name}
        else:
            unique = zlib.crc32(_known(ref, kind).encode())
            file = {"file_id": f"BQACAgQAAxkDsandbox{unique}", "file_unique_id": f"AQAD{unique}"}
            shown["media"] = ref
        named = {"file_name": ref.name, "mime_type": ref.media_type} if isinstance(ref, Upload) else {}
        contents: dict[str, JsonObject] = {
            "photo": {"photo": [file | {"width": width, "height": height}]},
            "document": {"document": file | named},
            "voice": {"voice": file | {"duration": 1, "mime_type": "audio/ogg"}},
            "audio": {"audio": file | {"duration": 1} | named},
            "video": {"video": file | {"duration": 1, "width": width, "height": height} | named},
        }
        content = contents[kind]
        if caption:
            content |= {"caption": caption, **({"caption_entities": entities} if entities else {})}
        return self._send(params, chat, content, shown, ref.told() if isinstance(ref, Upload) else None)

    def _send_location(self, params: Params) -> JsonObject:
        chat = self._chat_id(params)
        try:
            place = {name: float(str(params.get(name))) for name in ("latitude", "longitude")}
        except ValueError:
            raise Refused(400, "Bad Request: wrong type of the field location") from None
        if not (abs(place["latitude"]) <= 90 and abs(place["longitude"]) <= 180):
            raise Refused(400, "Bad Request: wrong latitude or longitude")
        return self._send(params, chat, {"location": place}, {"text": "", "location": place})

    def _send_contact(self, params: Params) -> JsonObject:
        chat = self._chat_id(params)
        phone, name = str(params.get("phone_number") or ""), str(params.get("first_name") or "")
        if not phone:
            raise Refused(400, "Bad Request: phone number is empty")
        if not name:
            raise Refused(400, "Bad Request: first name is empty")
        content = {"contact": {"phone_number": phone, "first_name": name}}
        return self._send(params, chat, content, {"text": f"{name}\n{phone}"})

    def _send(
        self, params: Params, chat: int, content: JsonObject, shown: JsonObject, file: JsonObject | None = None
    ) -> JsonObject:
        """Take a message: `content` is its part of a Message, `shown` what the phone shows of it."""
        markup = self._markup(params)
        reply_to = self._reply_to(params, chat)
        message: JsonObject = {
            "message_id": self._next_message_id(),
            "from": BOT,
            "chat": self._chat(chat),
            "date": int(time.time()),
            **content,
        }
        if reply_to:
            message["reply_to_message"] = reply_to
        if markup and "inline_keyboard" in markup:
            message["reply_markup"] = {"inline_keyboard": markup["inline_keyboard"]}
        number = message["message_id"]
        row: JsonObject = {"chat_id": chat, "message_id": number, "text": shown["text"], "message": message}
        self._did("send", row | ({"file": file} if file else {}))
        self._remember(message)
        if self._screen.knows("telegram", str(chat)):
            entities = content.get("entities") or content.get("caption_entities")
            screened: JsonObject = {"id": f"{chat}:{number}", "from": "bot", "status": "received", **shown}
            if entities:
                screened["entities"] = entities
            if buttons := _buttons(markup):
                screened["buttons"] = buttons
            if reply_to:
                screened["reply_to"] = f"{chat}:{reply_to['message_id']}"
            self._screen.add("telegram", str(chat), screened)
        return message

    def _send_chat_action(self, params: Params) -> bool:
        chat = self._chat_id(params)
        action = params.get("action")
        if action not in ACTIONS:
            raise Refused(400, "Bad Request: wrong parameter action in request")
        self._did("typing", {"chat_id": chat, "action": action})
        self._screen.typing("telegram", str(chat))
        return True

    def _ours(self, params: Params, doing: str) -> JsonObject:
        chat, number = self._chat_id(params), _integer(params, "message_id", 0)
        message = self._sent.get((chat, number))
        if message is None:
            raise Refused(400, f"Bad Request: message to {doing} not found")
        return message

    def _edit_message_text(self, params: Params) -> JsonObject:
        message = self._ours(params, "edit")
        text, entities = self._text(params)
        return self._edit(message, {"text": text, "entities": entities, "reply_markup": self._markup(params)})

    def _edit_reply_markup(self, params: Params) -> JsonObject:
        message = self._ours(params, "edit")
        kept = {name: message[name] for name in ("text", "entities") if name in message}
        return self._edit(message, kept | {"reply_markup": self._markup(params)})

    def _edit(self, message: JsonObject, change: JsonObject) -> JsonObject:
        edited = {k: v for k, v in message.items() if k not in change} | {k: v for k, v in change.items() if v}
        if edited == message:
            raise Refused(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        edited["edit_date"] = int(time.time())
        chat, number = edited["chat"]["id"], edited["message_id"]
        self._did("edit", {"chat_id": chat, "message_id": number, "text": edited.get("text", ""), "message": edited})
        self._remember(edited)
        shown: JsonObject = {"buttons": _buttons(edited.get("reply_markup")), "edited": True}
        if "text" in edited:
            shown |= {"text": edited["text"], "entities": edited.get("entities", [])}
        self._screen.edit("telegram", f"{chat}:{number}", shown)
        return edited

    def _delete_message(self, params: Params) -> bool:
        message = self._ours(params, "delete")
        chat, number = message["chat"]["id"], message["message_id"]
        del self._sent[chat, number]
        self._did("delete", {"chat_id": chat, "message_id": number})
        self._screen.edit("telegram", f"{chat}:{number}", {"text": "", "buttons": [], "deleted": True})
        return True

    def _answer_callback_query(self, params: Params) -> bool:
        query = str(params.get("callback_query_id") or "")
        asked_at = self._queries.pop(query, None)
        if asked_at is None or time.time() - asked_at > QUERY_AGE_S:
            raise Refused(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        text = str(params.get("text") or "")
        if len(text) > 200:
            raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        self._did("answer", {"callback_query_id": query, "text": text})
        return True

    def _get_file(self, params: Params) -> JsonObject:
        number = str(params.get("file_id"))
        if kept := self._kept.get(number):
            if len(kept[1]) > FETCHED_BYTES_MAX:
                raise Refused(400, "Bad Request: file is too big")
            unique = number[-12:]
            size = len(kept[1])
            return {"file_id": number, "file_unique_id": unique, "file_size": size, "file_path": f"documents/{number}"}
        if number != FILE["file_id"]:
            raise Refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        return {**FILE, "file_size": len(picture()), "file_path": "photos/file_1.png"}

    def _get_chat(self, params: Params) -> JsonObject:
        gifts = dict.fromkeys(
            ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"), True
        )
        more = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}
        return self._chat(self._chat_id(params)) | more

    def _set_my_commands(self, params: Params) -> bool:
        given = _json(params, "commands")
        if not isinstance(given, list) or len(given) > 100:
            raise Refused(400, "Bad Request: can't parse BotCommand: expected an Array of at most 100")
        for entry in given:
            if not isinstance(entry, dict) or not COMMAND.fullmatch(str(entry.get("command") or "").removeprefix("/")):
                raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
            if not 1 <= len(str(entry.get("description") or "")) <= 256:
                raise Refused(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        language = params.get("language_code") or ""
        self._commands[language] = given
        self._did("commands", {"commands": given, "language_code": language})
        return True

    # Updates: polled, or pushed to a webhook.

    def _push(self, kind: str, content: JsonObject) -> int:
        """A new update; returns its id, or 0 when the bot does not want this kind."""
        if kind not in self._allowed if self._allowed else kind in SILENT_BY_DEFAULT:
            return 0
        if len(self._pending) >= PENDING_MAX:
            raise ValueError(f"{PENDING_MAX} updates wait for the bot already.")
        self._update_id += 1
        update: JsonObject = {"update_id": self._update_id, kind: content}
        born = time.time()
        self._state.append({"update": update, "born": born})
        self._pending[self._update_id], self._born[self._update_id] = update, born
        self._offer(update)
        return self._update_id

    def _offer(self, update: JsonObject) -> None:
        if self._webhook.get("url"):
            chat = _chat_of(update)
            if chat not in self._chats:
                self._chats[chat] = asyncio.get_running_loop().create_task(self._deliver(chat))
        else:
            self._wake_poll()
        self._look_again()

    def _wake_poll(self) -> None:
        if self._poll is not None:
            _end_poll(self._poll)

    def _look_again(self) -> None:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(UNPOLLED_S, self._is_it_waiting)

    def _is_it_waiting(self) -> None:
        """Tell the phones when updates lie about."""
        self._watch = None
        now = time.time()
        for number in [n for n, born in self._born.items() if now - born > PENDING_AGE_S]:
            self._confirm(number, one=True)
        late = any(now - born > UNPOLLED_S * 0.9 for born in self._born.values())
        self._screen.waiting("telegram", "the app is not reachable" if late else "")
        if self._pending:
            self._look_again()

    def _confirm(self, number: int, *, one: bool = False) -> None:
        """The bot has this update (and, where it polls, all before it)."""
        done = [n for n in self._pending if n == number or (not one and n < number)]
        if not done:
            return
        self._state.append({"confirmed": number, **({"one": True} if one else {})})
        for update_id in done:
            update = self._pending.pop(update_id)
            self._born.pop(update_id, None)
            if message := update.get("message"):
                self._screen.status("telegram", f"{message['chat']['id']}:{message.get('message_id')}", "delivered")
        if not self._pending:
            self._screen.waiting("telegram", "")

    async def _get_updates(self, params: Params) -> list[JsonObject]:
        offset, limit = _integer(params, "offset", 0), _integer(params, "limit", UPDATES_MAX)
        timeout_s = min(max(0, _integer(params, "timeout", 0)), POLL_S_MAX)
        limit = min(max(1, limit), UPDATES_MAX)
        if self._webhook.get("url"):
            raise Refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        self._take_allowed(params)
        if self._poll is not None and not self._poll.done():
            terminated = (
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
            )
            self._poll.set_exception(Refused(409, terminated))
        if offset > 0:
            self._confirm(offset - 1)
        elif offset < 0 and self._pending:
            self._confirm(sorted(self._pending)[max(0, len(self._pending) + offset)] - 1)
        poll = self._poll = asyncio.get_running_loop().create_future()
        if not self._pending and timeout_s:
            handle = asyncio.get_running_loop().call_later(timeout_s, _end_poll, poll)
            try:
                await poll
            finally:
                handle.cancel()
        if self._poll is poll:
            self._poll = None
        return [self._pending[number] for number in sorted(self._pending) if number >= offset][:limit]

    def _take_allowed(self, params: Params) -> None:
        if params.get("allowed_updates") not in (None, ""):
            allowed = _json(params, "allowed_updates")
            if not isinstance(allowed, list):
                raise Refused(400, "Bad Request: can't parse allowed updates JSON object")
            self._allowed = [str(kind) for kind in allowed]

    def _set_webhook(self, params: Params) -> bool:
        url = str(params.get("url") or "")
        if not url:
            return self._delete_webhook(params)
        secret = str(params.get("secret_token") or "")
        if len(secret) > 256:
            raise Refused(400, "Bad Request: secret token is too long")
        if secret and not SECRET.fullmatch(secret):
            raise Refused(400, "Bad Request: secret token contains unallowed characters")
        if self._hooks.target(url) is None:
            if not url.startswith("https://"):
                raise Refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            raise Refused(400, "Bad Request: bad webhook: the sandbox only reaches the application's own address")
        connections = _integer(params, "max_connections", 40)
        if not 1 <= connections <= 100:
            raise Refused(400, "Bad Request: max_connections must be between 1 and 100")
        self._take_allowed(params)
        if _flag(params, "drop_pending_updates") and self._pending:
            self._confirm(max(self._pending))
        self._webhook = {"url": url, "secret_token": secret, "max_connections": connections}
        self._state.append({"webhook": self._webhook})
        self._did("webhook", {"url": url})
        if self._poll is not None and not self._poll.done():
            self._poll.set_exception(Refused(409, "Conflict: terminated by setWebhook request"))
        for update in list(self._pending.values()):
            self._offer(update)
        return True

    def _delete_webhook(self, params: Params) -> bool:
        if _flag(params, "drop_pending_updates") and self._pending:
            self._confirm(max(self._pending))
        if self._webhook:
            self._webhook, self._last_error = {}, None
            self._state.append({"webhook": {}})
            self._did("webhook", {"url": ""})
            for task in self._chats.values():
                task.cancel()
            self._chats.clear()
        return True

    def _webhook_info(self) -> JsonObject:
        info: JsonObject = {
            "url": self._webhook.get("url", ""),
            "has_custom_certificate": False,
            "pending_update_count": len(self._pending),
        }
        if self._webhook:
            info |= {"max_connections": self._webhook["max_connections"], "ip_address": "127.0.0.1"}
        if self._last_error:
            info |= {"last_error_date": self._last_error[0], "last_error_message": self._last_error[1]}
        if self._allowed:
            info["allowed_updates"] = self._allowed
        return info

    def nudge(self) -> None:
        """The application may be back: try at once what waits."""
        self._kick.set()

    async def _deliver(self, chat: int) -> None:
        """Push one chat's updates to the webhook in order, each until a 2xx."""
        tries = 0
        try:
            while update := next((u for u in self._pending.values() if _chat_of(u) == chat), None):
                wait_s = await self._deliver_one(update, tries)
                tries = 0 if wait_s is None else tries + 1
                if wait_s is not None:
                    self._kick.clear()
                    try:
                        await asyncio.wait_for(self._kick.wait(), wait_s)
                    except TimeoutError:
                        continue
        finally:
            if self._chats.get(chat) is asyncio.current_task():
                del self._chats[chat]

    async def _deliver_one(self, update: JsonObject, tries: int) -> float | None:
        """None when it is done with, else seconds to wait before the next try."""
        fault = self.faults.take("POST", "/_inbound", b"") if tries == 0 else None
        copies = (fault.webhooks if fault else Webhooks()).copies
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}
        if self._webhook.get("secret_token"):
            headers["X-Telegram-Bot-Api-Secret-Token"] = self._webhook["secret_token"]
        body = json.dumps(update, ensure_ascii=False).encode("utf-8", "surrogatepass")
        wait_s = WEBHOOK_BACKOFF_S[min(tries, len(WEBHOOK_BACKOFF_S) - 1)]
        url = self._webhook["url"]
        try:
            replies = await asyncio.gather(*(self._hooks.post(url, body, headers) for _ in range(copies)))
        except Unreachable:
            self._last_error = (int(time.time()), "Connection refused")
            return wait_s
        if not replies or 200 <= replies[0].status < 300:
            self._confirm(update["update_id"], one=True)
            if replies:
                await self._obey(replies[0].body)
            return None
        self._last_error = (int(time.time()), f"Wrong response from the webhook: {replies[0].status}")
        asked = replies[0].headers.get("Retry-After", "")
        return min(float(asked), WEBHOOK_WAIT_S_MAX) if asked.isdecimal() else wait_s

    async def _obey(self, body: bytes) -> None:
        """A webhook's answer may carry one call, whose result nobody sees."""
        try:
            params = json.loads(body)
        except (ValueError, RecursionError):
            return
        if not isinstance(params, dict):
            return
        method = str(params.pop("method", "")).lower()
        if not method or method.startswith("get") or method in ("setwebhook", "deletewebhook", "close", "logout"):
            return
        try:
            await self._run(method, params, None)
        except (Refused, CannotParse):
            return

    # The phone.

    def write(self, person: str, message: JsonObject) -> JsonObject:
        """A person writes: text, location {latitude, longitude}, picture true, or voice with what it says."""
        chat, number = int(person), self._next_message_id()
        shown: JsonObject = {
            "id": f"{chat}:{number}",
            "from": "me",
            "text": message.get("text") or "",
            "status": "sent",
            "name": self._screen.people["telegram", person],
        }
        if spoken := message.get("voice"):
            shown["file_id"] = self._kept.put(VOICE_TYPE, voice_note(spoken))
        elif message.get("picture"):
            shown["media"] = "/sandbox/picture.png"
        shown |= {name: message[name] for name in ("location", "voice", "reply_to", "cid") if message.get(name)}
        fault = self.faults.take("POST", "/_inbound", b"") if not self._webhook.get("url") else None
        if fault is not None and fault.webhooks.copies == 0:
            self._screen.add(
                "telegram", person, shown | {"status": "failed", "note": "Lost on the way to the app (fault plan)."}
            )
            return shown
        self._screen.add("telegram", person, shown)
        update = self._from_person(self._screen.message("telegram", shown["id"]) or shown)
        if message.get("reply_to"):
            replied = self._sent.get((chat, int(str(message["reply_to"]).rpartition(":")[2])))
            if replied:
                update["reply_to_message"] = {k: v for k, v in replied.items() if k != "reply_to_message"}
        self._push("message", update)
        return shown

    def _from_person(self, shown: JsonObject) -> JsonObject:
        chat, _, number = shown["id"].partition(":")
        at = int(time.time())
        message: JsonObject = {
            "message_id": int(number),
            "date": at,
            "from": self._person(int(chat)),
            "chat": self._chat(int(chat)),
        }
        if number := shown.get("file_id"):
            _, data = self._kept.get(number) or (VOICE_TYPE, b"")
            file = {"file_id": number, "file_unique_id": number[-12:], "file_size": len(data)}
            message["voice"] = file | {"duration": VOICE_S, "mime_type": VOICE_TYPE}
        elif shown.get("media"):
            size = {**FILE, "file_size": len(picture()), "width": WIDTH, "height": HEIGHT}
            message["photo"] = [size]
            if shown["text"]:
                message["caption"] = shown["text"]
        elif place := shown.get("location"):
            message["location"] = {"latitude": place["latitude"], "longitude": place["longitude"]}
        else:
            message["text"] = shown["text"]
            if found := commands(shown["text"]):
                message["entities"] = found
        return message

    def edit(self, person: str, message_id: str, text: str) -> None:
        """A person changes what they wrote; ValueError when it is no text of theirs."""
        shown = self._screen.message("telegram", message_id)
        if shown is None or shown["person"] != person or shown["from"] != "me" or not shown["text"]:
            raise ValueError("That is no text of this person's.")
        self._screen.edit("telegram", message_id, {"text": text, "edited": True})
        message = self._from_person(shown | {"text": text})
        self._push("edited_message", message | {"edit_date": message["date"]})

    def react(self, person: str, message_id: str, emoji: list[str]) -> None:
        """A person puts something under a message, or takes it back with an empty list."""
        shown = self._screen.message("telegram", message_id)
        if shown is None or shown["person"] != person:
            raise ValueError("There is no such message in this chat.")
        before, after = ([{"type": "emoji", "emoji": one} for one in some] for some in (shown.get("emoji", []), emoji))
        self._screen.edit("telegram", message_id, {"emoji": emoji})
        content = {
            "chat": self._chat(int(person)),
            "message_id": int(message_id.rpartition(":")[2]),
            "user": self._person(int(person)),
            "date": int(time.time()),
            "old_reaction": before,
            "new_reaction": after,
        }
        self._push("message_reaction", content)

    def tap(self, message_id: str, data: str) -> None:
        """A person taps an inline button; ValueError when there is none like it."""
        chat, _, number = message_id.partition(":")
        message = self._sent.get((int(chat), int(number))) if chat.isdecimal() and number.isdecimal() else None
        rows = ((message or {}).get("reply_markup") or {}).get("inline_keyboard") or []
        if message is None or not any(button.get("callback_data") == data for row in rows for button in row):
            raise ValueError("That message has no such button any more.")
        query = str(time.time_ns())
        self._queries[query] = time.time()
        while len(self._queries) > SENT_MAX:
            del self._queries[next(iter(self._queries))]
        content = {
            "id": query,
            "from": self._person(int(chat)),
            "message": message,
            "chat_instance": "-1" + chat,
            "data": data,
        }
        self._push("callback_query", content)


def _known(ref: object, kind: str) -> str:
    """The address or id of a file; raises Refused for what is neither."""
    if not isinstance(ref, str) or not ref:
        raise Refused(400, f"Bad Request: there is no {kind} in the request")
    if "://" in ref and not ref.startswith(("https://", "http://")):
        raise Refused(400, "Bad Request: invalid file HTTP URL specified: Unsupported URL protocol")
    if "://" not in ref and not FILE_ID.fullmatch(ref):
        raise Refused(400, "Bad Request: wrong remote file identifier specified: Wrong string length")
    return ref


def _taken(file: Upload, kind: str) -> tuple[int, int]:
    """The width and height of a photo; raises Refused for a file that Telegram does not take as this kind."""
    size = len(file.data)
    if not size:
        raise Refused(400, "Bad Request: file must be non-empty")
    if size > UPLOAD_BYTES_MAX:
        raise Refused(413, "Request Entity Too Large")
    if kind != "photo":
        return WIDTH, HEIGHT
    if size > PHOTO_BYTES_MAX:
        raise Refused(
            400,
            f"Bad Request: file of size {size} bytes is too big for a photo; "
            f"the maximum size is {PHOTO_BYTES_MAX} bytes",
        )
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file.data)) as image:
            width, height = image.size
    except OSError:
        raise Refused(400, "Bad Request: IMAGE_PROCESS_FAILED") from None
    if width + height > PHOTO_SIDES_MAX or max(width, height) > PHOTO_RATIO_MAX * min(width, height):
        raise Refused(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")
    return width, height


def _chat_of(update: JsonObject) -> int:
    content = next(value for name, value in update.items() if name != "update_id")
    chat = content.get("chat") or content.get("message", {}).get("chat") or content["from"]
    return int(chat["id"])


def _username(name: str, chat: int) -> str:
    return re.sub(r"[^a-z0-9_]", "", name.lower()) + str(chat)[-4:]


def _buttons(markup: JsonObject | None) -> list[list[JsonObject]]:
    """Rows of buttons for the phone: inline ones carry data or url; a keyboard's are sent as text."""
    if not markup:
        return []
    if "inline_keyboard" in markup:
        return [
            [{"text": b["text"], "data": b.get("callback_data"), "url": b.get("url")} for b in row]
            for row in markup["inline_keyboard"]
        ]
    rows = markup.get("keyboard") or []
    return [[{"text": b if isinstance(b, str) else b.get("text", "")} for b in row] for row in rows]


def _params(call: Call) -> Params:
    params: Params = dict(call.query.items())
    kind = call.headers.get("Content-Type", "")
    try:
        if not call.body:
            return params
        if kind.startswith("application/json"):
            value = json.loads(call.body)
            if not isinstance(value, dict):
                raise ValueError("not an object")
            return params | value
        if kind.startswith("multipart/form-data"):
            return params | multipart(kind, call.body)
        if kind.startswith("application/x-www-form-urlencoded"):
            return params | dict(
                parse_qsl(call.body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
            )
    except (ValueError, RecursionError):
        raise Refused(400, "Bad Request: can't parse the request body") from None
    return params


def _json(params: Params, name: str) -> object:
    """A field that is an object or a list: JSON already, or JSON inside a string."""
    value = params.get(name)
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError):
        raise Refused(400, f"Bad Request: can't parse {name.replace('_', ' ')} JSON object") from None
    return parsed


def _integer(params: Params, name: str, default: int) -> int:
    value = params.get(name)
    if value in (None, ""):
        return default
    try:
        return int(str(value)[:20])
    except ValueError:
        raise Refused(400, f"Bad Request: invalid {name} specified") from None


def _end_poll(poll: "asyncio.Future[None]") -> None:
    if not poll.done():
        poll.set_result(None)


def _flag(params: Params, name: str) -> bool:
    return str(params.get(name, "")).lower() in ("true", "1", "yes")
