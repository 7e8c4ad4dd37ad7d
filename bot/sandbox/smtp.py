"""A mail server that delivers nowhere: it takes mail over SMTP and writes down what it took."""

import asyncio
import email
import email.policy
import re
import socket
import struct
from email.message import EmailMessage

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import SMTP_FAULTS, Fault, Faults
from bot.sandbox.truth import Disk, Journal, JsonObject

MAIL_BYTES_MAX = 10 * 1024 * 1024
LINE_BYTES_MAX = 64 * 1024
RECIPIENTS_MAX = 100
COMMANDS_MAX = 1_000
"""Commands in one session."""
SESSIONS_MAX = 64
IDLE_S = 60.0
TEXT_CHARS_KEPT = 20_000
DROP_AFTER_BYTES = 32
GREETING = (
    "250-sandbox.localhost",
    f"250-SIZE {MAIL_BYTES_MAX}",
    "250-8BITMIME",
    "250-SMTPUTF8",
    "250 ENHANCEDSTATUSCODES",
)

PATH = re.compile(rb"(?:FROM|TO):\s*<([^<>\s]*)>(.*)", re.IGNORECASE)
SIZE = re.compile(rb"SIZE=(\d{1,12})", re.IGNORECASE)
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class Smtp:
    """The mail sink."""

    name = "smtp"

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults(SMTP_FAULTS)
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._session, host, port, limit=LINE_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def too_many(self, retry_after_s: int) -> Answer:
        """Mail has no 429; never asked for."""
        return answer_json({"error": "There is no HTTP here."}, 404)

    def broken(self) -> Answer:
        """Mail has no 500; never asked for."""
        return answer_json({"error": "There is no HTTP here."}, 404)

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """There is no HTTP API besides the truth log and the fault plan."""
        return answer_json({"error": "Speak SMTP to this provider; GET /smtp/_truth shows what it took."}, 404)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine always runs in a task
        if len(self._sessions) >= SESSIONS_MAX:
            writer.write(b"421 4.7.0 Too many connections, try later\r\n")
            writer.close()
            return
        self._sessions.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        except (asyncio.LimitOverrunError, ValueError):
            writer.write(b"500 5.5.2 Line too long\r\n")
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")
            await writer.drain()

        await say("220 sandbox.localhost ESMTP Mathia sandbox")
        greeted, sender, recipients = False, None, list[str]()
        fault: Fault | None = None
        for _ in range(COMMANDS_MAX):
            line = (await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)).rstrip(b"\r\n")
            verb, _, rest = line.partition(b" ")
            match verb.upper():
                case b"EHLO":
                    greeted, sender, recipients = True, None, []
                    await say("\r\n".join(GREETING))
                case b"HELO":
                    greeted, sender, recipients = True, None, []
                    await say("250 sandbox.localhost")
                case b"MAIL":
                    found = PATH.fullmatch(rest)
                    size = SIZE.search(found[2]) if found else None
                    if not greeted or sender is not None:
                        await say("503 5.5.1 Bad sequence of commands")
                    elif (
                        found is None
                        or not rest.upper().startswith(b"FROM")
                        or (found[1] and not _is_address(found[1]))
                    ):
                        await say("501 5.1.7 Bad sender address syntax")
                    elif size is not None and int(size[1]) > MAIL_BYTES_MAX:
                        await say("552 5.3.4 Message size exceeds fixed limit")
                    else:
                        fault = self.faults.take("MAIL", "/mail", rest)
                        if fault is not None and fault.kind == "421":
                            await say("421 4.3.2 Service not available, closing transmission channel")
                            return
                        if fault is not None and fault.kind == "hang":
                            await self.faults.wait(fault.seconds)
                        sender, recipients = found[1].decode("utf-8", "replace"), []
                        await say("250 2.1.0 Ok")
                case b"RCPT":
                    found = PATH.fullmatch(rest)
                    if sender is None:
                        await say("503 5.5.1 Bad sequence of commands")
                    elif found is None or not rest.upper().startswith(b"TO") or not _is_address(found[1]):
                        await say("501 5.1.3 Bad recipient address syntax")
                    elif len(recipients) >= RECIPIENTS_MAX:
                        await say("452 4.5.3 Too many recipients")
                    elif fault is not None and fault.kind == "550":
                        await say("550 5.1.1 User unknown")
                    else:
                        recipients.append(found[1].decode("utf-8", "replace"))
                        await say("250 2.1.5 Ok")
                case b"DATA":
                    if sender is None or not recipients:
                        await say(
                            "503 5.5.1 Bad sequence of commands" if sender is None else "554 5.5.1 No valid recipients"
                        )
                        continue
                    await say("354 End data with <CR><LF>.<CR><LF>")
                    if fault is not None and fault.kind == "drop":
                        await asyncio.wait_for(reader.read(DROP_AFTER_BYTES), IDLE_S)
                        _reset(writer)
                        return
                    content = await _content(reader)
                    if content is None:
                        await say("552 5.3.4 Message too big for system")
                    elif fault is not None and fault.kind == "451":
                        await say("451 4.3.0 Local error in processing")
                    else:
                        number = self._took(sender, recipients, content, fault)
                        if fault is not None and fault.kind == "drop_after_data":
                            _reset(writer)
                            return
                        await say(f"250 2.0.0 Ok: queued as {number}")
                    sender, recipients, fault = None, [], None
                case b"RSET":
                    sender, recipients, fault = None, [], None
                    await say("250 2.0.0 Ok")
                case b"NOOP":
                    await say("250 2.0.0 Ok")
                case b"VRFY":
                    await say("252 2.5.0 Cannot verify, try a delivery")
                case b"QUIT":
                    await say("221 2.0.0 Bye")
                    return
                case _:
                    await say("502 5.5.2 Command not recognised")
        await say("421 4.7.0 Too many commands")

    def _took(self, sender: str, recipients: list[str], content: bytes, fault: Fault | None) -> int:
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)  # noqa: S101  what the default policy makes
        part = parsed.get_body(("plain", "html"))
        text = part.get_content() if part is not None else ""
        row: JsonObject = {
            "kind": "mail",
            "from": sender,
            "to": recipients,
            "message_id": str(parsed.get("Message-ID") or ""),
            "subject": str(parsed.get("Subject") or ""),
            "headers": {name: str(value) for name, value in parsed.items()},
            "text": str(text)[:TEXT_CHARS_KEPT],
            "size": len(content),
        }
        return self.journal.append(row | ({"fault": fault.kind} if fault else {}))


async def _content(reader: asyncio.StreamReader) -> bytes | None:
    """The mail up to the lone dot, unstuffed; None when it was too big (it is read to its end all the same)."""
    lines: list[bytes] = []
    size = 0
    while True:
        line = await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)
        if line in (b".\r\n", b".\n"):
            return b"".join(lines) if size <= MAIL_BYTES_MAX else None
        size += len(line)
        if size <= MAIL_BYTES_MAX:
            lines.append(line[1:] if line.startswith(b".") else line)


def _is_address(value: bytes) -> bool:
    try:
        return ADDRESS.fullmatch(value.decode()) is not None and len(value) <= 254
    except UnicodeDecodeError:
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
