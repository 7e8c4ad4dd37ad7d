"""A load of signed Twilio webhooks over keep-alive connections, on bare streams so that it costs little itself."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from time import time
from urllib.parse import urlencode

from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, WEBHOOK_TWILIO, WHATSAPP_FROM
from bot.sandbox.twilio import sign

ANSWER_BYTES_MAX = 65_536


def inbound(event_id: str, sender: str, text: str) -> list[tuple[str, str]]:
    """The form Twilio posts for a WhatsApp text message; `sender` is a phone number with its plus."""
    return [
        ("SmsMessageSid", event_id),
        ("NumMedia", "0"),
        ("ProfileName", "Amina"),
        ("MessageType", "text"),
        ("SmsSid", event_id),
        ("WaId", sender.removeprefix("+")),
        ("SmsStatus", "received"),
        ("Body", text),
        ("To", WHATSAPP_FROM),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("MessageSid", event_id),
        ("AccountSid", ACCOUNT_SID),
        ("From", f"whatsapp:{sender}"),
        ("ApiVersion", "2010-04-01"),
    ]


def signed_request(base_url: str, form: list[tuple[str, str]]) -> bytes:
    """The whole HTTP request for one signed webhook."""
    url = base_url + WEBHOOK_TWILIO
    body = urlencode(form).encode()
    head = (
        f"POST {WEBHOOK_TWILIO} HTTP/1.1\r\nHost: {base_url.removeprefix('http://')}\r\n"
        f"X-Twilio-Signature: {sign(url, form, AUTH_TOKEN)}\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Sent:
    """One delivered webhook: when it was sent (seconds, wall clock), how long the answer took, and its status."""

    event_id: str
    at: float
    took_s: float
    status: int


class Connection:
    """One keep-alive connection to the web process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to the loopback port."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=ANSWER_BYTES_MAX))

    async def post(self, request: bytes) -> int:
        """Send one request and read its answer; the status. OSError or EOFError when the process is gone."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if length:
            await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()


Prepared = tuple[str, bytes]
"""An event id, and the signed request that brings it."""


def prepare(base_url: str, number: int, *, senders: int, text: str, tag: str) -> list[Prepared]:
    """Write and sign `number` webhooks from `senders` people in turn: the provider's work, so not part of a load."""
    events = ((n, f"SM{tag}{n:026x}") for n in range(number))
    return [
        (event_id, signed_request(base_url, inbound(event_id, f"+2547{n % senders:08d}", text)))
        for n, event_id in events
    ]


async def load(port: int, webhooks: Iterable[Prepared], *, connections: int, seconds: float) -> list[Sent]:
    """Post webhooks one after another on each connection, for `seconds` or until there are no more."""
    left = iter(webhooks)
    stop_at = time() + seconds

    async def drive() -> list[Sent]:
        done: list[Sent] = []
        connection = await Connection.open(port)
        try:
            while (at := time()) < stop_at and (webhook := next(left, None)) is not None:
                event_id, request = webhook
                status = await connection.post(request)
                done.append(Sent(event_id, at, time() - at, status))
        finally:
            connection.close()
        return done

    return [sent for one in await asyncio.gather(*(drive() for _ in range(connections))) for sent in one]
