"""E-mail over SMTP: plain text and files, for what another channel refused and for what staff write."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr

import aiosmtplib

from channels.base import NotSent, OutcomeUnknown, Undeliverable, Unknowable
from channels.degrade import EMAIL, TextPiece, fit, pieces
from channels.outgoing import Outgoing
from core.files import Files, StoredFile, file_id
from core.messages import TEXT_CHARS_MAX, ChannelName, Media, OutboundMessage, Part, Text, Voice
from core.settings import Settings

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0
CREDENTIALS_RETRY_S = 60.0
IMPLICIT_TLS_PORT = 465
SUBJECT_UNITS_MAX = 78
ATTACHED_BYTES_MAX = 7 * 1024 * 1024
"""Of all files of one mail together: written for the way that is under 10 MB, the lowest limit in common use."""
SUBJECT = "A message from Mathia / Ujumbe kutoka Mathia"
"""When a message has no words to make a subject of; which language the person reads is not known here."""

_MAILBOX = re.compile(r"(?!.*=\?)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What we take for an address, its domain in ASCII. `=?` begins an encoded word, which the library would decode."""
DOMAIN_CHARS_MAX = 253
_POLICY = SMTP_POLICY.clone(cte_type="7bit")
"""Lines end in CR LF and bodies are 7 bit, so that every mail server passes them on unchanged."""


class EmailChannel:
    """Our mailbox at an SMTP server; `account` is its address. A room is a person's address."""

    name: ChannelName = ChannelName.EMAIL
    per_second: float | None = None

    def __init__(self, settings: Settings, files: Files | None = None, *, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """`files` are those it sends; `timeout_s` is for each step of SMTP.

        Raises ValueError when MAIL_FROM holds no address.
        """
        self._sender_name, self.account = parseaddr(settings.mail_from)
        if not _MAILBOX.fullmatch(self.account) or not settings.mail_from.isprintable():
            raise ValueError("MAIL_FROM must be an e-mail address, such as Mathia <mathia@example.com>.")
        self._settings = settings
        self._outgoing = Outgoing(files, settings.public_url.rstrip("/"))
        self._timeout_s = timeout_s

    def pieces(self, message: OutboundMessage) -> int:
        """A mail holds all of it."""
        return 1

    async def send(self, message: OutboundMessage) -> str:
        """Send once; our own Message-ID. Raises Undeliverable, NotSent or OutcomeUnknown."""
        recipient = _mailbox(message.recipient.room)
        attached = [await self._outgoing.read(message, ref) for ref in _attachable(message.parts)]
        mail = self._write(message, recipient, attached)
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            timeout=min(CONNECT_TIMEOUT_S, self._timeout_s),
            # Otherwise this machine's name is looked up, which blocks.
            local_hostname=self.account.rpartition("@")[2],
            use_tls=settings.smtp_tls and settings.smtp_port == IMPLICIT_TLS_PORT,
            start_tls=settings.smtp_tls and settings.smtp_port != IMPLICIT_TLS_PORT,
        )
        given = False
        try:
            await client.connect()
            client.timeout = self._timeout_s
            if settings.smtp_user:
                await client.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            await client.mail(self.account)
            await client.rcpt(recipient)
            given = True
            await client.data(mail.as_bytes())
        except aiosmtplib.SMTPAuthenticationError as error:
            # Nothing is wrong with the message: it can go out as soon as the owner has corrected the settings.
            reason = "The mail server refuses our credentials: check SMTP_USER and SMTP_PASSWORD."
            raise NotSent(reason, retry_after_s=CREDENTIALS_RETRY_S, whole_channel=True) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else 0
            if 400 <= code < 500:
                raise NotSent(f"The mail server put us off (SMTP {code}).") from error
            if 500 <= code < 600:
                raise Undeliverable(f"The mail server refused the message (SMTP {code}).") from error
            if given:
                raise OutcomeUnknown("The mail server did not answer after it was given the message.") from error
            raise NotSent("The mail server could not be reached, or broke off before it had the message.") from error
        finally:
            client.close()
        return str(mail["Message-ID"])

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Raises Unknowable: SMTP forgets what it passed on."""
        raise Unknowable("mail servers cannot be asked what they took.")

    async def close(self) -> None:
        """Nothing is kept open between messages."""

    def _write(
        self, message: OutboundMessage, recipient: str, attached: Sequence[tuple[StoredFile, bytes]]
    ) -> EmailMessage:
        names = {file.ref: file.name for file, _ in attached}
        shown = pieces([_beside(part, names) for part in message.parts], EMAIL, self._outgoing.link)
        if not shown or not isinstance(shown[0], TextPiece):
            raise Undeliverable("The message is empty.")
        body = shown[0].text
        mail = EmailMessage(policy=_POLICY)
        try:
            mail["From"] = MailAddress(self._sender_name, addr_spec=self.account)
            mail["To"] = MailAddress(addr_spec=recipient)
            mail["Subject"] = _subject(body)
            mail["Date"] = format_datetime(message.created_at)
            domain = self.account.rpartition("@")[2]
            mail["Message-ID"] = f"<outbox-{message.outbox_id}.{message.attempt}@{domain}>"
            mail["Auto-Submitted"] = "auto-generated"
            mail.set_content(body)
            for file, data in attached:
                kind, _, subtype = file.media_type.partition("/")
                mail.add_attachment(data, maintype=kind, subtype=subtype, filename=file.name)
        except (ValueError, MessageError, UnicodeError) as error:
            raise Undeliverable("The message cannot be written as an e-mail.") from error
        return mail


def _attachable(parts: Sequence[Part]) -> list[str]:
    """Which files go with a mail: the first ones that are together no larger than it may be."""
    chosen, room = [], ATTACHED_BYTES_MAX
    for part in parts:
        if isinstance(part, Media | Voice) and file_id(part.ref) and (part.size or 0) <= room:
            chosen.append(part.ref)
            room -= part.size or 0
    return chosen


def _beside(part: Part, names: Mapping[str, str]) -> Part:
    """A part as the mail's text has it: of a file that is attached, its words and name."""
    if isinstance(part, Media | Voice) and part.ref in names:
        words = part.caption if isinstance(part, Media) else part.transcript
        return Text(text="\n".join(line for line in (words, names[part.ref]) if line)[:TEXT_CHARS_MAX])
    return part


def _subject(body: str) -> str:
    """The first line, as one line of printable characters.

    The library decodes encoded words in a header it is given and writes what is in them as it is, line breaks included,
    so that a text could add headers of its own: there must be none.
    """
    line = "".join(sign if sign.isprintable() else " " for sign in body.partition("\n")[0])
    return fit(" ".join(line.replace("=?", "= ?").split()), SUBJECT_UNITS_MAX) or SUBJECT


def _mailbox(room: str) -> str:
    """The address as SMTP takes it, its domain in ASCII; Undeliverable when it is none."""
    local, _, domain = room.rpartition("@")
    try:
        address = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError as error:
        raise Undeliverable("The recipient's e-mail address is not valid.") from error
    if not _MAILBOX.fullmatch(address) or len(address) - len(local) > DOMAIN_CHARS_MAX + 1:
        raise Undeliverable("The recipient's e-mail address is not valid.")
    return address
