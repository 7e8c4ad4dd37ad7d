"""The ways a person writes to Mathia and hears from it: WhatsApp by Twilio and by Meta, Telegram, the web's socket.

Messages go through the providers' simulators, which post signed webhooks, and answers are what the simulators took, so
everything between the two is Mathia. What is heard is the same text on every channel: without marks of bold, options
to pick as numbered lines, without empty lines.
"""

import asyncio
import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from bot.sandbox.accounts import BOT_USERNAME, WHATSAPP_FROM
from channels.degrade import plain
from core.messages import PARTS, ChannelName
from tests.connectors.papers import LEASE, pdf

ANSWER_S = 30.0
BOT = "mathia"
"""What scripts call it by where others are."""
PUBLIC_URL = "https://mathia.example"
"""Where the deployment believes to be: Telegram posts to https addresses only."""
FILES = {"lease.pdf": ("application/pdf", pdf(LEASE))}
"""What people send, by the name in scripts."""
_numbers = count(1)
_BOLD = re.compile(r"\*([^*\n]+)\*")


@dataclass(frozen=True, slots=True)
class Said:
    """One message in a chat: its id there, its words, and what could be picked below it."""

    id: str
    text: str
    options: tuple[str, ...] = ()


def heard(id_: str, text: str, options: Sequence[str] = ()) -> Said:
    """A message of Mathia's, as it is compared."""
    shown = _BOLD.sub(r"\1", text.replace("```", ""))
    lines = [*shown.split("\n"), *(f"{number}. {option}" for number, option in enumerate(options, 1))]
    return Said(id_, "\n".join(" ".join(line.split()) for line in lines if line.strip()), tuple(options))


@dataclass(slots=True)
class Log:
    """What one simulator took from Mathia, by the chat it went to; read on from where it was read last."""

    session: ClientSession
    url: str
    last: int = 0
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def to(self, chat: str) -> list[dict[str, Any]]:
        """All that was sent there, oldest first."""
        async with self._reading:
            async with self.session.get(f"{self.url}/_truth?since={self.last}") as answer:
                rows = await answer.json()
            for row in rows:
                self.last = max(self.last, row["n"])
                if row["kind"] == "send":
                    self.sent.setdefault(str(row.get("chat_id") or row["to"]), []).append(row)
        return self.sent.get(chat, [])


@dataclass(frozen=True, slots=True)
class World:
    """Where a deployment and its simulators are."""

    session: ClientSession
    url: str
    sandbox: str
    logs: dict[str, Log]
    breath: asyncio.Lock
    """Held while Meta's simulator holds its webhooks back; they are everybody's."""

    async def post(self, path: str, what: object, token: str = "") -> dict[str, Any]:
        """POST JSON to a path of the simulators, or to an address; the JSON that comes back."""
        address = path if path.startswith("http") else self.sandbox + path
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self.session.post(address, data=orjson.dumps(what), headers=headers) as answer:
            told = await answer.read()
            assert answer.status < 300, (path, what, told)
        found: dict[str, Any] = orjson.loads(told)
        return found


class Chat(ABC):
    """One person's chat with Mathia. `heard` is how many of its answers were read, `own` what the person said."""

    channel: ChannelName
    room: str

    def __init__(self, world: World) -> None:
        self.world = world
        self.own: list[Said] = []
        self.told: list[Said] = []
        self.unheard = 0
        """How many of its messages Mathia is not given: what people say to one another in a group of Telegram."""

    @abstractmethod
    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        """Say something, in one breath; as a reply to a message, or with a file."""

    @abstractmethod
    async def look(self, seq: int) -> None:
        """Read on in `told`, at least up to the message with this number in the conversation."""

    async def tap(self, said: Said, option: str) -> None:
        """Pick one of a message's options; where nothing can be tapped its words are written."""
        await self.say([option])

    async def edit(self, said: Said, text: str) -> None:
        """Change what was said."""
        raise NotImplementedError(f"Nobody edits on {type(self).__name__}.")

    async def close(self) -> None:
        """Put the phone away."""
        return


class Twilio(Chat):
    """WhatsApp by Twilio."""

    channel = ChannelName.WHATSAPP

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._phone = f"+2547{next(_numbers):08}"
        self.room = f"whatsapp:{self._phone}"

    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        assert file is None, "Twilio's simulator takes no documents from people."
        for text in texts:
            asked = {"as": "whatsapp", "from": self._phone, "text": text, "reply_to": reply_to}
            shown = await self.world.post("/sandbox/api/send", asked)
            self.own.append(Said(shown["id"], text))

    async def look(self, seq: int) -> None:
        rows = await self.world.logs["twilio"].to(self.room)
        self.told += [heard(row["sid"], row["body"]) for row in rows[len(self.told) :]]


class Cloud(Chat):
    """WhatsApp by Meta."""

    channel = ChannelName.WHATSAPP

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.room = f"2548{next(_numbers):08}"

    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        if len(texts) == 1:
            await self._write(await self._message(texts[0], reply_to, file), texts[0])
            return
        # What is said in one breath comes as one webhook.
        async with self.world.breath:
            await self.world.post("/whatsapp/_webhooks", {"held": True})
            for text in texts:
                await self._write(await self._message(text, reply_to, None), text)
            await self.world.post("/whatsapp/_webhooks", {"held": False})

    async def _message(self, text: str, reply_to: str | None, file: str | None) -> dict[str, Any]:
        message: dict[str, Any] = {"type": "text", "text": {"body": text}}
        if file is not None:
            id_ = await _kept(self.world, "whatsapp", file)
            document = {"id": id_, "mime_type": FILES[file][0], "filename": file}
            message = {"type": "document", "document": document | ({"caption": text} if text else {})}
        return message | ({"context": {"from": WHATSAPP_FROM, "id": reply_to}} if reply_to else {})

    async def _write(self, message: dict[str, Any], text: str) -> None:
        told = await self.world.post("/whatsapp/_write", {"from": self.room, "message": message})
        self.own.append(Said(told["id"], text))

    async def tap(self, said: Said, option: str) -> None:
        at = said.options.index(option)
        kind = "button" if len(said.options) <= 3 else "list"
        picked = {"id": str(at + 1), "title": option}
        message = {"type": "interactive", "interactive": {"type": f"{kind}_reply", f"{kind}_reply": picked}}
        await self._write(message | {"context": {"from": WHATSAPP_FROM, "id": said.id}}, option)

    async def edit(self, said: Said, text: str) -> None:
        left = {"type": "text", "text": {"body": text}}
        await self._write({"type": "edit", "edit": {"original_message_id": said.id, "message": left}}, text)
        self.own.pop()

    async def look(self, seq: int) -> None:
        for row in (await self.world.logs["whatsapp"].to(self.room))[len(self.told) :]:
            action = row["asked"].get("interactive", {}).get("action", {})
            rows = [*action.get("buttons", ()), *(one for each in action.get("sections", ()) for one in each["rows"])]
            options = [one.get("reply", one)["title"] for one in rows]
            self.told.append(heard(row["id"], row["text"], options))


class Telegram(Chat):
    """Telegram, in private."""

    channel = ChannelName.TELEGRAM

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.room = f"{7_100_000 + next(_numbers)}"
        self._sent: dict[str, dict[str, Any]] = {}

    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        if file is not None:
            await self._send_file(file, texts[0])
            return
        for text in texts:
            replied = f"{self.room}:{reply_to}" if reply_to else None
            asked = {"as": "telegram", "from": self.room, "text": text, "reply_to": replied}
            shown = await self.world.post("/sandbox/api/send", asked)
            self.own.append(Said(shown["id"], text))

    async def _send_file(self, file: str, text: str) -> None:
        id_, number = await _kept(self.world, "telegram", file), 900_000 + next(_numbers)
        media_type, data = FILES[file]
        who = {"id": int(self.room), "is_bot": False, "first_name": "Guest", "language_code": "en"}
        document = {
            "file_id": id_, "file_unique_id": id_[-12:], "file_name": file, "mime_type": media_type,
            "file_size": len(data),
        }  # fmt: skip
        content = {
            "message_id": number, "date": 1_790_000_000, "from": who, "document": document,
            "chat": {"id": int(self.room), "type": "private", "first_name": "Guest"},
        } | ({"caption": text} if text else {})  # fmt: skip
        await self.world.post("/telegram/_updates", {"kind": "message", "content": content})
        self.own.append(Said(f"{self.room}:{number}", text))

    async def tap(self, said: Said, option: str) -> None:
        rows = self._sent[said.id]["reply_markup"]["inline_keyboard"]
        data = next(button["callback_data"] for row in rows for button in row if button["text"] == option)
        await self.world.post("/sandbox/api/tap", {"as": "telegram", "id": f"{self.room}:{said.id}", "data": data})
        self.own.append(Said("", option))

    async def edit(self, said: Said, text: str) -> None:
        await self.world.post("/sandbox/api/edit", {"as": "telegram", "from": self.room, "id": said.id, "text": text})

    async def look(self, seq: int) -> None:
        rows = await self.world.logs["telegram"].to(self.room)
        self._sent = {str(row["message_id"]): row["message"] for row in rows}
        for row in rows[len(self.told) :]:
            keyboard = row["message"].get("reply_markup", {}).get("inline_keyboard", ())
            options = [button["text"] for line in keyboard for button in line]
            self.told.append(heard(str(row["message_id"]), row["text"], options))


class TelegramGroup(Telegram):
    """Telegram, in a group with others: the bot is given what calls it, commands it or answers it, and nothing else."""

    def __init__(self, world: World, group: int) -> None:
        super().__init__(world)
        self._person, self.room = int(self.room), str(group)

    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        for text in texts:
            written, number = text.replace(f"@{BOT}", f"@{BOT_USERNAME}"), 900_000 + next(_numbers)
            self.own.append(Said(f"{self.room}:{number}", text))
            answered = self._sent.get(reply_to) if reply_to else None
            at = written.find(f"@{BOT_USERNAME}")
            if at < 0 and not (answered and answered["from"]["is_bot"]):
                self.unheard += 1
                continue
            who = {"id": self._person, "is_bot": False, "first_name": "Guest", "language_code": "en"}
            content: dict[str, Any] = {
                "message_id": number, "date": 1_790_000_000, "from": who, "text": written,
                "chat": {"id": int(self.room), "type": "supergroup", "title": "Plans"},
            }  # fmt: skip
            if at >= 0:
                content["entities"] = [{"type": "mention", "offset": at, "length": len(BOT_USERNAME) + 1}]
            if answered:
                content["reply_to_message"] = answered
            await self.world.post("/telegram/_updates", {"kind": "message", "content": content})


class Web(Chat):
    """The web's socket: a visitor alone, or, with the name they have in one, in a room."""

    channel = ChannelName.WEB

    def __init__(self, world: World, socket: ClientWebSocketResponse, welcome: dict[str, Any]) -> None:
        super().__init__(world)
        self.room = str(welcome["conversation"])
        self.token = str(welcome.get("token"))
        self._socket = socket
        self._seqs: dict[str, int] = {}
        self._seen = 0
        self._news = asyncio.Condition()
        self._errors: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, world: World, token: str | None = None, room: str | None = None) -> "Web":
        """A new visitor, or the one with this token, in their own room or another."""
        address = world.url.replace("http", "ws", 1) + "/ws"
        socket = await world.session.ws_connect(address, origin=PUBLIC_URL, max_msg_size=0)
        hello = {"type": "hello", "token": token, "since": 0, "site": "default"}
        await socket.send_str(orjson.dumps(hello | ({"room": room} if room else {})).decode())
        welcome = orjson.loads(await socket.receive_str())
        assert welcome["type"] == "welcome", welcome
        return cls(world, socket, welcome | ({"token": token} if token else {}))

    async def _read(self) -> None:
        while (message := await self._socket.receive()).type is WSMsgType.TEXT:
            frame = orjson.loads(message.data)
            async with self._news:
                if frame["type"] == "msg":
                    self._seen = max(self._seen, frame["seq"])
                    if frame["from"] == "me":
                        self._seqs[frame["cid"]] = frame["seq"]
                    elif frame["from"] in ("bot", "staff"):
                        text = "\n".join(map(_shown, frame["parts"]))
                        self.told.append(heard(str(frame["seq"]), text, frame.get("choices") or ()))
                elif frame["type"] == "error":
                    self._errors.append(frame["message"])
                self._news.notify_all()

    async def say(self, texts: Sequence[str], reply_to: str | None = None, file: str | None = None) -> None:
        files = [await self._uploaded(file)] if file is not None else []
        for text in texts:
            cid = f"c{next(_numbers)}"
            replied = int(reply_to) if reply_to else None
            frame = {"type": "send", "cid": cid, "text": text, "reply_to": replied, "files": files}
            await self._send(frame)
            async with asyncio.timeout(ANSWER_S), self._news:
                await self._news.wait_for(lambda cid=cid: cid in self._seqs or self._errors)  # type: ignore[misc]
            assert not self._errors, self._errors
            self.own.append(Said(str(self._seqs[cid]), text))

    async def _uploaded(self, file: str) -> str:
        media_type, data = FILES[file]
        headers = {
            "X-File-Name": quote(file), "Content-Type": media_type, "Authorization": f"Bearer {self.token}",
            "Origin": PUBLIC_URL,
        }  # fmt: skip
        async with self.world.session.post(f"{self.world.url}/upload-file/", data=data, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def edit(self, said: Said, text: str) -> None:
        await self._send({"type": "edit", "cid": f"c{next(_numbers)}", "seq": int(said.id), "text": text})

    async def _send(self, frame: object) -> None:
        await self._socket.send_str(orjson.dumps(frame).decode())

    async def look(self, seq: int) -> None:
        async with asyncio.timeout(ANSWER_S), self._news:
            await self._news.wait_for(lambda: self._seen >= seq)

    async def close(self) -> None:
        self._reading.cancel()
        await self._socket.close()


def _shown(part: dict[str, Any]) -> str:
    """One part of a frame in words; a file is its name, since its address is another each time."""
    if "filename" in part:
        return f"[{part['filename']}]"
    return plain(PARTS.validate_python([part]))


async def _kept(world: World, provider: str, file: str) -> str:
    """The id of a file at a provider."""
    media_type, data = FILES[file]
    told = await world.post(f"/{provider}/_media", {"type": media_type, "data": base64.b64encode(data).decode()})
    return str(told["id"])


async def open_chat(world: World, channel: str) -> Chat:
    """Somebody new on a channel of a script."""
    match channel:
        case "twilio":
            return Twilio(world)
        case "cloud":
            return Cloud(world)
        case "telegram":
            return Telegram(world)
        case _:
            return await Web.open(world)


async def open_room(world: World, names: Sequence[str], channel: str) -> dict[str, Chat]:
    """A group of Telegram where all these people are, or a room of the web, made by the first of them."""
    if channel == "telegram":
        group = -1_000_000 - next(_numbers)
        return {name: TelegramGroup(world, group) for name in names}
    alone = [await Web.open(world) for _ in names]
    api = f"{world.url}/api/chatrooms/"
    first = alone[0].token
    room = await world.post(api, {"title": "Plans", "name": names[0].title()}, first)
    for one, name in list(zip(alone, names, strict=True))[1:]:
        link = await world.post(f"{api}{room['id']}/invite/", {}, first)
        accepted = {"token": str(link["link"]).rpartition("/")[2], "name": name.title()}
        await world.post(f"{world.url}/api/invitations/accept", accepted, one.token)
    inside = [await Web.open(world, one.token, room["id"]) for one in alone]
    for one in alone:
        await one.close()
    return dict(zip(names, inside, strict=True))
