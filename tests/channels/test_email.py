"""E-mail: what is written, what each way of failing becomes, and that no text can add a header or a recipient."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from pydantic import SecretStr

from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from channels.email import ATTACHED_BYTES_MAX, SUBJECT, EmailChannel
from core.db import Database
from core.files import Files
from core.messages import Address, ChannelName, Choices, Media, OutboundMessage, Part, Text
from core.settings import Settings
from core.storage import Storage
from tests.channels.wire import closed_port
from tests.conftest import Sandbox

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADA = "ada@example.com"


def settings(port: int, **changes: Any) -> Settings:
    """Settings for a mail server on this machine, without TLS."""
    given: dict[str, Any] = {
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "smtp_tls": False,
        "mail_from": "Mathia <mathia@bot.example.com>",
    }
    return Settings(_env_file=None, **given | changes)


def outbound(*parts: Part, room: str = ADA) -> OutboundMessage:
    """A message to send."""
    recipient = Address(ChannelName.EMAIL, "mathia@bot.example.com", room, room)
    return OutboundMessage(17, 3, recipient, UUID(int=1), 2, parts or (Text(text="Stretch!"),), NOW)


class MailServer:
    """SMTP on a real socket with one thing changed: `answers` maps a command to a reply, or to None for hanging up."""

    def __init__(self, **answers: str | None) -> None:
        self._answers = answers
        self.commands: list[str] = []
        self.mails: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        usual = {"greeting": "220 here", "EHLO": "250-here\r\n250 AUTH PLAIN", "DATA": "354 go on", "AUTH": "235 hello"}
        try:
            command = "greeting"
            while True:
                reply = self._answers.get(command, usual.get(command, "250 ok"))
                if reply == "hang":
                    await reader.read()
                    return
                if reply is None:
                    return
                writer.write(f"{reply}\r\n".encode())
                await writer.drain()
                if reply.startswith("354"):
                    mail = await reader.readuntil(b"\r\n.\r\n")
                    self.mails.append(mail)
                    command = "end"
                    continue
                line = (await reader.readuntil(b"\r\n")).decode()
                self.commands.append(line.rstrip())
                command = line.split()[0].upper()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def mail_server(**answers: str | None) -> AsyncIterator[tuple[MailServer, int]]:
    """A MailServer and its port."""
    served = MailServer(**answers)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    try:
        yield served, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def read(raw: bytes) -> EmailMessage:
    """A mail as a mail program reads it: without SMTP's doubled dots, lines ending as they do here."""
    lines = raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"\n")
    parsed = email.message_from_bytes(lines, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def written(*parts: Part, room: str = ADA) -> tuple[EmailMessage, list[str]]:
    """A message as the server received it, and the commands around it."""
    async with mail_server() as (server, port):
        assert await EmailChannel(settings(port)).send(outbound(*parts, room=room)) == "<outbox-17.3@bot.example.com>"
    [raw] = server.mails
    assert raw.isascii()
    return read(raw), server.commands


async def test_a_message_is_written_as_plain_text_with_our_reference() -> None:
    mail, commands = await written(Text(text="Kumbuka: nyoosha mwili 🧘\nSasa."), Choices(options=("Done", "Later")))
    assert mail["Message-ID"] == "<outbox-17.3@bot.example.com>"
    assert (mail["From"], mail["To"]) == ("Mathia <mathia@bot.example.com>", ADA)
    assert mail["Subject"] == "Kumbuka: nyoosha mwili 🧘"
    assert mail["Date"].datetime == NOW
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content() == "Kumbuka: nyoosha mwili 🧘\nSasa.\n\n1. Done\n2. Later\n"
    assert commands == ["EHLO bot.example.com", "MAIL FROM:<mathia@bot.example.com>", f"RCPT TO:<{ADA}>", "DATA"]


async def test_a_line_of_one_dot_and_a_long_line_arrive_as_they_were() -> None:
    text = "one\n.\n..two\n" + "x" * 5_000 + "\nRSET\nQUIT"
    mail, commands = await written(Text(text=text))
    assert mail.get_content().rstrip("\n") == text
    assert commands[-1] == "DATA"


@pytest.mark.parametrize(
    "text",
    [
        "Hi\r\nBcc: eve@example.com\r\n\r\nbody", "Hi\rBcc: eve@example.com", "\n\nBcc: eve@example.com",
        "Hi\x0bBcc: eve@example.com", "Hi\u2028Bcc: eve@example.com", "Hi\x85Bcc: eve@example.com",
        "=?utf-8?q?=0ABcc:_eve=40example.com?=", "=?utf-8?q?=0D=0A=0D=0Abody?= =?utf-8?b?DQpCY2M6IGU=?=",
        "x" * 10_000, "\t \u00a0\nlater", "Hi\0there",
    ],
    ids=["CR LF", "CR", "first lines empty", "VT", "line separator", "NEL", "encoded word", "encoded words", "long",
         "blank", "NUL"],
)  # fmt: skip
async def test_no_text_can_add_a_header(text: str) -> None:
    mail, commands = await written(Text(text=text))
    assert set(mail.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding",
    }  # fmt: skip
    assert mail["To"] == ADA
    assert "\n" not in mail["Subject"]
    assert mail["Subject"]
    assert len([command for command in commands if command.startswith("RCPT")]) == 1


async def test_a_message_without_words_on_its_first_line_has_a_subject_all_the_same() -> None:
    mail, _ = await written(Text(text="\u200b"), Choices(options=("Yes",)))
    assert mail["Subject"]
    mail, _ = await written(Choices(options=("Yes",)))
    assert mail["Subject"] == "1. Yes" != SUBJECT


@pytest.mark.parametrize(
    "room",
    [
        "", "ada", "ada@", "@example.com", "ada@example.com\r\nRCPT TO:<eve@example.com>", "ada@example.com>",
        "<ada@example.com>", "=?utf-8?q?=0ABcc?=@example.com", "ada@example.com\x1f", "ada@=?utf-8?q?=0ABcc?=",
        "ada@example.com,eve@example.com", "a b@example.com", '"a\r\nb"@example.com', "ada@exa mple.com",
        "ada@example.com\0", "äda@example.com", "ada@" + "x" * 300, "ada@a..b",
        "x" * 65 + "@example.com", "ada@example.com\n",
    ],
    ids=repr,
)  # fmt: skip
async def test_what_is_no_address_is_refused_before_the_server_hears_of_it(room: str) -> None:
    async with mail_server() as (server, port):
        with pytest.raises(Undeliverable, match="not valid"):
            await EmailChannel(settings(port)).send(outbound(room=room))
    assert server.commands == []


async def test_a_domain_in_any_script_is_sent_in_ascii() -> None:
    mail, commands = await written(Text(text="Hi"), room="ada@münchen.example")
    assert "RCPT TO:<ada@xn--mnchen-3ya.example>" in commands
    assert mail["To"].addresses[0].addr_spec == "ada@xn--mnchen-3ya.example"


@pytest.mark.parametrize("mail_from", ["", "Mathia", "Mathia <mathia>", "a@b\r\nBcc: c@d.example"])
def test_a_sender_that_is_no_address_is_said_at_start(mail_from: str) -> None:
    with pytest.raises(ValueError, match="MAIL_FROM"):
        EmailChannel(settings(25, mail_from=mail_from))


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ({"MAIL": "451 later"}, NotSent, "451"),
        ({"RCPT": "450 greylisted"}, NotSent, "450"),
        ({"RCPT": "550 no such person"}, Undeliverable, "550"),
        ({"RCPT": "452 too many"}, NotSent, "452"),
        ({"MAIL": "553 not you"}, Undeliverable, "553"),
        ({"DATA": "451 not now"}, NotSent, "451"),
        ({"DATA": "554 spam"}, Undeliverable, "554"),
        ({"end": "451 disk full"}, NotSent, "451"),
        ({"end": "554 spam"}, Undeliverable, "554"),
        ({"end": "552 too big"}, Undeliverable, "552"),
        ({"greeting": "421 busy"}, NotSent, "421"),
        ({"greeting": None}, NotSent, "reached"),
        ({"EHLO": None}, NotSent, "reached"),
        ({"MAIL": None}, NotSent, "reached"),
        ({"RCPT": None}, NotSent, "reached"),
        ({"RCPT": "hang"}, NotSent, "reached"),
        ({"end": None}, OutcomeUnknown, "did not answer"),
        ({"end": "hang"}, OutcomeUnknown, "did not answer"),
        ({"end": "nonsense"}, OutcomeUnknown, "did not answer"),
    ],
    ids=str,
)
async def test_every_answer_means_one_of_three_things(
    answers: dict[str, str | None], error: type[Exception], said: str
) -> None:
    async with mail_server(**answers) as (server, port):
        with pytest.raises(error, match=said):
            await EmailChannel(settings(port), timeout_s=0.5 if "hang" in answers.values() else 5.0).send(outbound())
    assert len(server.mails) <= 1


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    for changes in ({}, {"smtp_host": "nowhere.invalid"}, {"smtp_tls": True}):
        with pytest.raises(NotSent):
            await EmailChannel(settings(closed_port(), **changes), timeout_s=2.0).send(outbound())


async def test_a_server_without_encryption_gets_no_password_when_encryption_is_asked_for() -> None:
    async with mail_server() as (server, port):
        channel = EmailChannel(settings(port, smtp_tls=True, smtp_user="u", smtp_password=SecretStr("p")))
        with pytest.raises(NotSent):
            await channel.send(outbound())
    assert [command.split()[0] for command in server.commands] == ["EHLO"]


async def test_refused_credentials_hold_the_message_and_name_the_settings() -> None:
    async with mail_server(AUTH="535 no") as (server, port):
        with pytest.raises(NotSent, match="SMTP_PASSWORD") as raised:
            await EmailChannel(settings(port, smtp_user="u", smtp_password=SecretStr("p"))).send(outbound())
    assert raised.value.whole_channel
    assert server.mails == []


async def test_an_empty_message_is_refused() -> None:
    with pytest.raises(Undeliverable, match="empty"):
        await EmailChannel(settings(closed_port())).send(outbound(Text(text=" ")))


async def test_mail_servers_cannot_be_asked() -> None:
    with pytest.raises(Unknowable):
        await EmailChannel(settings(25)).find_sent(outbound(), NOW, set())


async def test_files_of_ours_are_attached_and_one_that_is_too_large_is_linked_to(db: Database, tmp_path: Path) -> None:
    files = Files(db, Storage(Settings.model_validate({"files_dir": str(tmp_path)})))
    conversation = await db.pool.fetchval(
        "INSERT INTO conversation (id, channel, account, room) VALUES ($1, 'email', 'a', 'b') RETURNING id", UUID(int=1)
    )
    sheet = await files.put(conversation, b"kitu,bei\n", name="bei à la carte.csv", media_type="text/csv")
    film = await files.put(conversation, bytes(ATTACHED_BYTES_MAX), name="tour.mp4", media_type="video/mp4")
    parts = [
        Media(media_type=file.media_type, ref=file.ref, filename=file.name, size=file.size, caption=caption)
        for file, caption in ((sheet, "Bei"), (film, "Nyumba"))
    ]
    async with mail_server() as (server, port):
        channel = EmailChannel(settings(port, public_url="https://bot.example.com"), files)
        await channel.send(outbound(*parts))
        await files.delete([sheet.id])
        with pytest.raises(Undeliverable, match="gone"):
            await channel.send(outbound(*parts))
    [raw] = server.mails
    mail = read(raw)
    body = mail.get_body()
    assert body is not None
    lines = body.get_content().splitlines()
    assert lines[:4] == ["Bei", "bei à la carte.csv", "", "Nyumba"]
    assert lines[4].startswith(f"tour.mp4 (7.0 MB): https://bot.example.com/files/{film.id}?until=")
    [attached] = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("bei à la carte.csv", "text/csv")
    assert attached.get_content() == "kitu,bei\n"


@pytest.mark.parametrize(
    ("fault", "error", "copies"),
    [("ok", None, 1), ("421", NotSent, 0), ("451", NotSent, 0), ("550", Undeliverable, 0), ("drop", OutcomeUnknown, 0),
     ("drop_after_data", OutcomeUnknown, 1)],
)  # fmt: skip
async def test_every_fault_of_the_simulated_mail_server_means_what_it_should(
    sandbox: Sandbox, fault: str, error: type[Exception] | None, copies: int
) -> None:
    async with aiohttp.ClientSession(sandbox.url) as session:
        async with session.get("/healthz") as response:
            port = (await response.json())["smtp_port"]
        async with session.post("/smtp/_faults", json={"plan": [fault]}) as response:
            assert response.status < 300
        channel = EmailChannel(settings(port), timeout_s=2.0)
        if error is None:
            await channel.send(outbound(Text(text=f"Fault {fault}.")))
        else:
            with pytest.raises(error):
                await channel.send(outbound(Text(text=f"Fault {fault}.")))
        async with session.get("/smtp/_truth") as response:
            assert (await response.text()).count(f"Fault {fault}.") >= copies
            assert copies or f"Fault {fault}." not in await response.text()
