"""Talk to a running Mathia from the terminal, over the socket that browsers use.

The conversation goes on where it was left: for each address its token and the last message seen are kept in
~/.config/mathia/chat.json, readable by its owner alone. A lost connection is made again, and lines that were not
stored yet are sent again under the same id.
"""

import argparse
import asyncio
import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
from pydantic import ValidationError

from channels.degrade import plain
from core.errors import MathiaError
from core.messages import PARTS

URL = "ws://127.0.0.1:8080/ws"
CONNECT_TIMEOUT_S = 5.0
HEARTBEAT_S = 20.0
RECONNECT_PAUSE_S = 1.0
RECONNECTS_MAX = 60
"""How often in a row a lost connection is tried again."""
ANSWER_S_MAX = 30.0
"""How long the answer to the last line is waited for where the input has ended."""
LINE_CHARS_MAX = 16_384


class ChatFailed(MathiaError):
    """The chat cannot be held; the message says why and what to do."""


class Memory:
    """The token and the last seq seen, by address, in a file of mode 0600."""

    def __init__(self, file: Path, url: str) -> None:
        self._file = file
        self._url = url
        self._all: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            read = json.loads(file.read_text(encoding="utf-8"))
            self._all = read if isinstance(read, dict) else {}
        own = self._all.get(url)
        token, seq = (own.get("token"), own.get("seq")) if isinstance(own, dict) else (None, 0)
        self.token: str | None = token if isinstance(token, str) else None
        self.seq: int = seq if self.token and isinstance(seq, int) and seq >= 0 else 0

    def keep(self) -> None:
        """Write them down, or raise ChatFailed."""
        self._all[self._url] = {"token": self.token, "seq": self.seq}
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
                json.dump(self._all, stream)
            new.replace(self._file)
        except OSError as error:
            raise ChatFailed(f"{self._file} cannot be written: {error.strerror}.") from error


@dataclass
class Chat:
    """What this terminal knows of its conversation."""

    url: str
    memory: Memory
    unsent: dict[str, str] = field(default_factory=dict)
    """Lines by client id, until the server has stored them."""
    own: set[str] = field(default_factory=set)
    """Client ids of the lines written here, which need not be shown again."""
    choices: tuple[str, ...] = ()
    asked_seq: int = 0
    answered_seq: int = 0
    connected: bool = False
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settled(self) -> bool:
        """Whether every line is stored and something was said after the last one."""
        return not self.unsent and self.answered_seq >= self.asked_seq


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--url", default=URL, help=f"the socket of the Mathia to talk to (default {URL})")


async def main(args: argparse.Namespace) -> int:
    """Chat until the input ends or Ctrl-C: 0. ChatFailed when nothing answers at the address."""
    parts = urlsplit(args.url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ChatFailed(f"{args.url!r} is not the address of a socket. Write one such as {URL}.")
    chat = Chat(args.url, Memory(memory_file(), args.url))
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    threading.Thread(target=_read, args=(asyncio.get_running_loop(), lines), daemon=True, name="chat.stdin").start()
    failures = 0
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                if await _converse(session, chat, lines):
                    return 0
                failures = 0
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failures += 1
                if not chat.connected or failures > RECONNECTS_MAX:
                    raise ChatFailed(_nobody(args.url, error)) from error
            if failures <= 1:
                _say("(The connection was lost; trying again.)")
            await asyncio.sleep(RECONNECT_PAUSE_S)


def memory_file() -> Path:
    """Where tokens are kept: under XDG_CONFIG_HOME, else ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mathia" / "chat.json"


async def _converse(session: aiohttp.ClientSession, chat: Chat, lines: asyncio.Queue[str | None]) -> bool:
    """One connection's worth of conversation; True when it is over, False when the connection was lost."""
    parts = urlsplit(chat.url)
    origin = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        socket = await session.ws_connect(chat.url, origin=origin, heartbeat=HEARTBEAT_S)
    async with socket:
        await _hello(socket, chat)
        first, chat.connected = not chat.connected, True
        if first and sys.stdin.isatty():
            _say("Connected. Write a line and press Enter; Ctrl-D ends the chat.")
        for cid, text in list(chat.unsent.items()):
            await socket.send_json({"type": "send", "cid": cid, "text": text, "reply_to": None, "files": []})
        hearing = asyncio.create_task(_hear(socket, chat), name="chat.hear")
        talking = asyncio.create_task(_talk(socket, chat, lines), name="chat.talk")
        try:
            await asyncio.wait((hearing, talking), return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                return await talking
            await hearing
            return False
        finally:
            for task in (hearing, talking):
                task.cancel()
            await asyncio.gather(hearing, talking, return_exceptions=True)


async def _hello(socket: aiohttp.ClientWebSocketResponse, chat: Chat) -> None:
    """Open the conversation; one that is not known there any more is begun anew."""
    memory = chat.memory
    for _ in range(2):
        hello = {"type": "hello", "token": memory.token, "since": memory.seq, "site": "default"}
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await socket.send_json(hello)
            frame = await _frame(socket)
        match frame:
            case {"type": "welcome", "token": str(token)}:
                memory.token = token
                memory.keep()
                return
            case {"type": "error", "code": "token"}:
                memory.token, memory.seq = None, 0
            case {"type": "error", "message": str(message)}:
                raise ChatFailed(f"{urlsplit(chat.url).netloc} refused the chat: {_printable(message)}")
            case _:
                raise ChatFailed(f"What answers at {chat.url} does not speak Mathia's protocol.")
    raise ChatFailed(f"{chat.url} knows neither this chat nor a new one.")


async def _frame(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next frame, empty when it is no JSON object; ClientError when the connection is gone."""
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise aiohttp.ClientConnectionError("the socket was closed")
    with suppress(ValueError):
        frame = json.loads(message.data)
        return frame if isinstance(frame, dict) else {}
    return {}


async def _hear(socket: aiohttp.ClientWebSocketResponse, chat: Chat) -> None:
    """Show what is said, until the connection is gone."""
    while True:
        match await _frame(socket):
            case {"type": "msg", "seq": int(seq), "from": str(who)} as frame:
                if seq <= chat.memory.seq:
                    continue
                chat.memory.seq = seq
                _show(frame, chat, seq, mine=who == "me")
                chat.memory.keep()
                await socket.send_json({"type": "ack", "seq": seq})
            case {"type": "error", "message": str(message)} as frame:
                # What was refused for good is not sent again.
                if frame.get("retry_s") is None:
                    chat.unsent.pop(str(frame.get("cid")), None)
                _say(f"(Not taken: {_printable(message)})")
        chat.news.set()


def _show(frame: dict[str, Any], chat: Chat, seq: int, *, mine: bool) -> None:
    """Print one message; a line written here is not printed again, only known to be stored."""
    cid = frame.get("cid")
    parts = frame.get("parts")
    text = "\n".join(_printable(line) for line in _words(parts).splitlines())
    if mine:
        chat.asked_seq = seq + 1
        chat.unsent.pop(str(cid), None)
        if cid not in chat.own:
            _say(f"you: {text}")
        return
    chat.answered_seq = seq
    options = frame.get("choices")
    chat.choices = tuple(option for option in options if isinstance(option, str)) if isinstance(options, list) else ()
    numbered = [f"  {number}. {_printable(option)}" for number, option in enumerate(chat.choices, start=1)]
    _say("\n".join([text or "(something a terminal cannot show)", *numbered]))


def _words(parts: object) -> str:
    """What a terminal can show of a message's parts; nothing for those that are newer than this program."""
    try:
        return plain(PARTS.validate_python(parts))
    except ValidationError:
        return ""


async def _talk(socket: aiohttp.ClientWebSocketResponse, chat: Chat, lines: asyncio.Queue[str | None]) -> bool:
    """Send what is written; when the input has ended, wait for the last answer. True: the chat is over."""
    while not chat.ended:
        line = await lines.get()
        if line is None:
            chat.ended = True
            break
        text = line.strip()
        if not text:
            continue
        if text.isdecimal() and 1 <= int(text[:3]) <= len(chat.choices):
            text = chat.choices[int(text[:3]) - 1]
        cid = uuid4().hex
        chat.own.add(cid)
        chat.unsent[cid] = text[:LINE_CHARS_MAX]
        await socket.send_json({"type": "send", "cid": cid, "text": chat.unsent[cid], "reply_to": None, "files": []})
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S_MAX):
            while not chat.settled:
                chat.news.clear()
                await chat.news.wait()
    if not chat.settled:
        raise ChatFailed(f"No answer came within {ANSWER_S_MAX:.0f} seconds.")
    return True


def _read(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
    """Standard input, line by line, into the queue; None at its end. Runs in a thread of its own."""
    with suppress(RuntimeError):  # The loop is closed: the chat is over.
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)


def _printable(text: str) -> str:
    """Text that cannot move the cursor or change the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)


def _say(text: str) -> None:
    print(text, flush=True)


def _nobody(url: str, error: Exception) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"What answers at {url} is not Mathia's socket (HTTP {error.status})."
    return f"Nothing answers at {url}; start it with python3 -m bot up."
