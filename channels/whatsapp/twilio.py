"""WhatsApp by Twilio: signatures, form webhooks in, messages out over the Messages API, delivery statuses.

Twilio's client is loaded when the first message is sent: it brings another HTTP client, some 6 MiB, along.
"""

import asyncio
import base64
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import orjson
import structlog
from twilio.base import values
from twilio.base.exceptions import TwilioException
from yarl import query_to_pairs

from channels.base import NotSent, OptedOut, OutcomeUnknown, OutsideWindow, Undeliverable, Unknowable
from channels.degrade import TWILIO, FilePiece, Piece, TextPiece, inbound_text, pieces
from channels.outgoing import Outgoing, without_proof
from core.egress import Egress, Fetched
from core.errors import ProviderRefused
from core.files import Files
from core.messages import Address, ChannelName, InboundMessage, Location, Media, OutboundMessage, Part, Voice, forwarded
from core.renumber import Seen
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX

if TYPE_CHECKING:
    from twilio.http.response import Response
    from twilio.rest import Client

log = structlog.get_logger()

API = "https://api.twilio.com"
FIELDS_MAX = 256
MEDIA_MAX = 10
NAME_CHARS_MAX = 128
PER_SECOND = 80.0
"""What Twilio passes on a second from one WhatsApp sender; more would only wait on its side instead of ours."""
TOTAL_TIMEOUT_S = 15.0
"""For one request; a third of it, 5 s, is for the connection, waiting for a free one included."""
CONNECTIONS_MAX = 64
RETRY_AFTER_S = 2.0
"""When Twilio asks us to slow down without saying for how long."""
RETRY_AFTER_S_MAX = 3_600.0
CREDENTIALS_RETRY_S = 60.0
FIND_PAGE = 50
FIND_MAX = 250
"""How many messages to one recipient are looked through for one of unknown outcome."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far Twilio's clock and ours may differ when we look for a message by time."""

Form = Sequence[tuple[str, str]]
"""The decoded fields of a form, in the order received."""

_SID = re.compile(r"[A-Za-z0-9]{2,64}")
_ADDRESS = re.compile(r"whatsapp:\+?[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_NUMBER = re.compile(r"whatsapp:\+[0-9]{5,20}")
_USER_ID = re.compile(r"whatsapp:[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_COUNT = re.compile(r"[0-9]{1,3}")
_DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")
_STATUS = re.compile(r"[a-z_]{1,32}")
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#]*?)(?P<port>:[0-9]+)?(?P<rest>[/?#].*)?", re.DOTALL)

STATUSES = frozenset({"queued", "sending", "sent", "delivered", "read", "failed", "undelivered"})
"""Delivery statuses that tell us something; core.outbox keeps them in order."""

REASONS = {
    21211: "The recipient is not a number that WhatsApp can reach.",
    21212: "The sender is not a WhatsApp number of this Twilio account.",
    21408: "This Twilio account may not send to the recipient's country.",
    21610: "The recipient has opted out of our messages.",
    21655: "Twilio does not know the template.",
    21656: "The template was given variables that do not fit it.",
    21614: "The recipient is not a number that WhatsApp can reach.",
    21617: "The message is longer than WhatsApp allows.",
    11751: "The file is larger than WhatsApp allows.",
    12300: "WhatsApp does not take files of this type.",
    63003: "The recipient is not on WhatsApp.",
    63005: "WhatsApp does not take files of this type.",
    63007: "The sender is not a WhatsApp number of this Twilio account.",
    63016: "More than 24 hours have passed since the person last wrote, so WhatsApp accepts templates only.",
    63027: "WhatsApp does not know the template in this language.",
    63028: "The template was given the wrong number of variables.",
    63040: "WhatsApp rejected the template.",
    63041: "WhatsApp paused the template.",
    63042: "WhatsApp disabled the template.",
    63019: "Twilio could not fetch the file from us: it is gone, or PUBLIC_URL does not lead here.",
    63021: "WhatsApp does not take what is in the message.",
    63018: "WhatsApp's rate limit for this sender was reached.",
    63024: "The recipient is not on WhatsApp.",
    63032: "WhatsApp does not allow this person to be written to.",
    63038: "This Twilio account has used up its messages for today.",
    63049: "WhatsApp chose not to deliver the message.",
}
"""What staff read for Twilio's error codes."""


OUTSIDE_WINDOW = frozenset({21655, 21656, 63016, 63027, 63028, 63040, 63041, 63042})
"""Codes that mean: not in this way now. Free text outside the window, or a template that WhatsApp does not take."""
OPTED_OUT = 21610


def read_form(raw: bytes) -> list[tuple[str, str]]:
    """The fields of an urlencoded body, blank ones kept. Raises ValueError unless it is one, in UTF-8, without NUL.

    yarl's parser takes a third of the standard library's time but forgives what is broken; whatever could be (a field
    without "=", a replacement character) is read again by the strict one, which decides.
    """
    if b"%00" in raw or b"\0" in raw:
        raise ValueError("the form holds a NUL character")
    text = raw.decode("utf-8")
    fields = query_to_pairs(text, max_fields=FIELDS_MAX)
    if all("=" in field for field in text.split("&")) and not any("\ufffd" in name + value for name, value in fields):
        return fields
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FIELDS_MAX)


def verify(url: str, params: Form, signature: str, token: str) -> bool:
    """Whether `signature` is the X-Twilio-Signature of a POST of `params` to `url`, made with the auth token `token`.

    The rule of twilio's RequestValidator: unique names, for each its unique values, sorted, signed behind the URL,
    which counts with and without its port. That class takes 75 us a call and this 10-14, on a path that runs thousands
    of times a second; the tests hold the two against each other. How long it takes does not tell where signatures
    differ.
    """
    try:
        given = signature.encode("ascii")
        signed = "".join([name + value for name, value in sorted(set(params))]).encode()
    except UnicodeEncodeError:
        return False
    key = token.encode()
    ours = (base64.b64encode(hmac.digest(key, form + signed, "sha1")) for form in _url_forms(url))
    return any(hmac.compare_digest(one, given) for one in ours)


@lru_cache(maxsize=64)
def _url_forms(url: str) -> tuple[bytes, ...]:
    """The URL as given, and with its port dropped, or the default port added where there is none."""
    try:
        found = _URL.fullmatch(url)
        if not found:
            return (url.encode(),)
        scheme, host, port, rest = found.group("scheme", "host", "port", "rest")
        other = "" if port else ":443" if scheme == "https" else ":80"
        return url.encode(), f"{scheme}://{host}{other}{rest or ''}".encode()
    except UnicodeEncodeError:
        return ()


def parse(params: Form, now: datetime) -> InboundMessage | None:
    """One signed form to one message, received `now` (Twilio gives no time); None for what is not a WhatsApp message.

    The sender is `From` as it stands: a phone number, or the provider's own id of people who hide theirs. A message
    that holds nothing we can show (a poll, say) has no parts. Raises ValueError with a sentence when fields are
    missing, contradict one another, or hold what Twilio does not send.
    """
    form = _unambiguous(params)
    sender, account = form.get("From", ""), form.get("To", "")
    if not sender.startswith("whatsapp:") and not account.startswith("whatsapp:") and sender and account:
        return None
    if not _ADDRESS.fullmatch(sender) or not _ADDRESS.fullmatch(account):
        raise ValueError("From or To is not a WhatsApp address")
    sid = form.get("MessageSid", "")
    if not _SID.fullmatch(sid):
        raise ValueError("MessageSid is missing or not an id")
    reply_to = form.get("OriginalRepliedMessageSid") or None
    if reply_to is not None and not _SID.fullmatch(reply_to):
        raise ValueError("OriginalRepliedMessageSid is not an id")
    return InboundMessage(
        sender=Address(ChannelName.WHATSAPP, account, sender, sender),
        event_id=sid,
        parts=_parts(form),
        sent_at=now,
        display_name=form.get("ProfileName", "").strip()[:NAME_CHARS_MAX] or None,
        reply_to=reply_to,
    )


def seen(params: Form, message: InboundMessage) -> tuple[Seen, ...]:
    """WhatsApp's lasting id behind the number that a message came from, where Twilio shows both."""
    user_id = dict(params).get("ExternalUserId", "")
    known = _USER_ID.fullmatch(user_id) is not None and _NUMBER.fullmatch(message.sender.person) is not None
    return (Seen(message.sender, user_id.removeprefix("whatsapp:"), message.event_id),) if known else ()


def _unambiguous(params: Form) -> dict[str, str]:
    """The fields by name; two values for one name are refused, because the signature does not cover their order."""
    form = dict(params)
    if len(form) != len(params) and len(form) != len(set(params)):
        raise ValueError("a field has two values")
    return form


def _parts(form: Mapping[str, str]) -> tuple[Part, ...]:
    # A tapped button or list row repeats its title in Body; only where it does not are the other fields of interest.
    words = form.get("Body") or form.get("ButtonText") or form.get("ListTitle") or ""
    parts: list[Part] = [*inbound_text(words)]
    count = form.get("NumMedia") or "0"
    if not _COUNT.fullmatch(count) or int(count) > MEDIA_MAX:
        raise ValueError(f"NumMedia is not a number up to {MEDIA_MAX}")
    for number in range(int(count)):
        ref, media_type = form.get(f"MediaUrl{number}", ""), form.get(f"MediaContentType{number}", "")
        if not ref.startswith(("https://", "http://")):
            raise ValueError(f"MediaUrl{number} is missing or not an address")
        parts.append(_file(media_type or "application/octet-stream", ref))
    latitude, longitude = form.get("Latitude"), form.get("Longitude")
    if latitude or longitude:
        if not _DEGREES.fullmatch(latitude or "") or not _DEGREES.fullmatch(longitude or ""):
            raise ValueError("Latitude and Longitude are not degrees")
        where = float(latitude or ""), float(longitude or "")
        label = ", ".join(name for name in (form.get("Label"), form.get("Address")) if name)
        if words in (form.get("Label"), form.get("Address"), label):
            parts.clear()
        parts.append(Location(latitude=where[0], longitude=where[1], label=label[:512] or None))
    is_forwarded = "true" in (form.get("Forwarded", "").lower(), form.get("FrequentlyForwarded", "").lower())
    return forwarded(tuple(parts)) if is_forwarded else tuple(parts)


def _file(media_type: str, ref: str) -> Media | Voice:
    """A file, or the note that a person spoke: WhatsApp records those as Opus in Ogg, and sends nothing else so."""
    kind = media_type.partition(";")[0].strip().casefold()
    return Voice(media_type=media_type, ref=ref) if kind == "audio/ogg" else Media(media_type=media_type, ref=ref)


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What Twilio says of a message it took: one of STATUSES, and for a failure a sentence for staff.

    `outside_window` and `opted_out` are failures with something to do: see channels.base.
    """

    provider_message_id: str
    status: str
    error: str | None
    outside_window: bool = False
    opted_out: bool = False


def parse_status(params: Form) -> DeliveryStatus | None:
    """One signed status callback; None for statuses that tell us nothing. Raises ValueError when it is not one."""
    form = _unambiguous(params)
    sid, status, code = form.get("MessageSid", ""), form.get("MessageStatus", ""), form.get("ErrorCode", "")
    if not _SID.fullmatch(sid) or not _STATUS.fullmatch(status) or (code and not re.fullmatch("[0-9]{1,6}", code)):
        raise ValueError("MessageSid, MessageStatus or ErrorCode is missing or is not what Twilio sends")
    if status not in STATUSES:
        return None
    failed = status in ("failed", "undelivered")
    if not failed:
        return DeliveryStatus(sid, status, None)
    number = int(code or 0)
    return DeliveryStatus(sid, status, _reason(number), number in OUTSIDE_WINDOW, number == OPTED_OUT)


def _reason(code: int) -> str:
    sentence = REASONS.get(code, "Twilio could not deliver the message.")
    return f"{sentence} (Twilio {code})" if code else sentence


class TwilioChannel:
    """Our WhatsApp sender at Twilio; `account` is its address, whatsapp:+14155238886."""

    name: ChannelName = ChannelName.WHATSAPP
    per_second: float | None = PER_SECOND

    def __init__(self, settings: Settings, files: Files | None = None, *, timeout_s: float = TOTAL_TIMEOUT_S) -> None:
        """`files` are those it sends; `timeout_s` is how long Twilio has to answer, connecting included."""
        self.account = settings.twilio_whatsapp_from
        self._http = _Http(settings.twilio_base_url, timeout_s)
        self._settings = settings
        self._media_url = f"{settings.twilio_base_url.rstrip('/')}/2010-04-01/Accounts/{settings.twilio_account_sid}/"
        secret = f"{settings.twilio_account_sid}:{settings.twilio_auth_token.get_secret_value()}"
        self._basic = "Basic " + base64.b64encode(secret.encode()).decode()
        # Twilio itself refuses a callback address that is not public; a simulator on this machine does not.
        reachable = settings.public_url or settings.twilio_base_url != API
        self._callback = f"{settings.base_url}/webhooks/twilio/status?outbox=" if reachable else None
        reached = settings.reached_from(settings.twilio_base_url)
        self._outgoing = Outgoing(files, reached)
        if files is not None and not reached:
            log.warning("twilio.files_only_named", reason="PUBLIC_URL is not set, so Twilio cannot fetch what we send.")

    @cached_property
    def _client(self) -> "Client":
        # A message costs 45 us inside this client and 350 us inside aiohttp: nothing to gain by going round it.
        from twilio.rest import Client

        account, token = self._settings.twilio_account_sid, self._settings.twilio_auth_token.get_secret_value()
        return Client(account, token, http_client=self._http)

    async def fetch(self, account: str, ref: str, egress: Egress) -> Fetched:
        """The file at a MediaUrl; Twilio gets our password, and wherever it leads does not."""
        if not ref.startswith(self._media_url):
            raise ProviderRefused("The file is not one of our account at Twilio.")
        return await egress.get(ref, bytes_max=FILE_BYTES_MAX, headers={"Authorization": self._basic})

    def pieces(self, message: OutboundMessage) -> int:
        """How many WhatsApp messages show it; a template is one."""
        return 1 if message.template else len(self._pieces(message))

    def _pieces(self, message: OutboundMessage) -> tuple[Piece, ...]:
        return pieces(message.parts, TWILIO, self._outgoing.link)

    async def send(self, message: OutboundMessage) -> str:
        """Send its piece once; that message's SID. Raises Undeliverable, NotSent or OutcomeUnknown."""
        use = message.template
        shown = () if use else self._pieces(message)
        if not shown and not use:
            raise Undeliverable("The message is empty.")
        body, media = ("", []) if use else _fields(shown[message.piece])
        try:
            sent = await self._client.messages.create_async(
                to=message.recipient.room,
                from_=message.recipient.account,
                body=body or values.unset,
                media_url=media or values.unset,
                content_sid=use.provider_ref if use else values.unset,
                content_variables=orjson.dumps(dict(use.variables)).decode() if use else values.unset,
                status_callback=self._callback + _reference(message, len(shown)) if self._callback else values.unset,
            )
        except (TwilioException, ValueError, TypeError, AttributeError) as error:
            raise OutcomeUnknown("Twilio's answer could not be read.") from error
        if not isinstance(sent.sid, str) or not _SID.fullmatch(sent.sid):
            raise OutcomeUnknown("Twilio's answer names no message.")
        return sent.sid

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Look for `message` among those Twilio took from us for its recipient since then: the oldest that is the same.

        Raises Unknowable when there are more than FIND_MAX to look through, OutcomeUnknown when Twilio refuses to say.
        """
        if message.template:
            body, media = _fields(TextPiece(text=message.template.text))
        else:
            shown = self._pieces(message)
            if message.piece >= len(shown):
                return None
            body, media = _fields(shown[message.piece])
        body = without_proof(body).strip()
        earliest = since - CLOCK_SKEW
        same: list[tuple[datetime, str]] = []
        seen = 0
        try:
            listed = await self._client.messages.stream_async(
                to=message.recipient.room,
                from_=message.recipient.account,
                date_sent_after=earliest.astimezone(UTC).strftime("%Y-%m-%d"),
                limit=FIND_MAX,
                page_size=FIND_PAGE,
            )
            async for found in listed:
                seen += 1
                if (
                    found.sid not in exclude
                    and found.date_created >= earliest
                    and without_proof(found.body or "").strip() == body
                    and int(found.num_media or 0) == len(media)
                ):
                    same.append((found.date_created, found.sid))
        except (Undeliverable, TwilioException, ValueError, TypeError, AttributeError) as error:
            raise OutcomeUnknown("Twilio did not say which messages it has.") from error
        if same:
            return min(same)[1]
        if seen >= FIND_MAX:
            raise Unknowable(f"there are more than {FIND_MAX} messages to this person to look through.")
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def _fields(piece: Piece) -> tuple[str, list[str]]:
    """The text and the media addresses of one WhatsApp message."""
    match piece:
        case TextPiece(text=text):
            return text, []
        case FilePiece(ref=ref, caption=caption):
            return caption, [ref]
    raise TypeError("Twilio is given texts and files")


def _reference(message: OutboundMessage, count: int) -> str:
    """What a status callback tells us about its message: the outbox row, and which of several pieces."""
    which = f"&piece={message.piece}&of={count}" if count > 1 else ""
    return f"{message.outbox_id}{which}"


class _Http:
    """What Twilio's client asks by: one session with our time-outs, speaking to `base_url`, a channel's errors.

    Nothing is retried in here: whether a message may be sent again is the outbox's decision alone. The original warns
    with the aiohttp we use, has no connect time-out, and logs recipients.
    """

    is_async = True

    def __init__(self, base_url: str, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 3)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, str | int] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> "Response":
        """One request; a Response with a JSON object in it, or NotSent, OutcomeUnknown, Undeliverable."""
        from twilio.http.response import Response

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        sent_headers = dict(headers or {})
        if auth is not None:
            sent_headers["Authorization"] = "Basic " + base64.b64encode(f"{auth[0]}:{auth[1]}".encode()).decode()
        try:
            async with self._session.request(
                method,
                self._base_url + url.removeprefix(API),
                params=params,
                data=urlencode(data, doseq=True).encode() if data else None,
                headers=sent_headers,
                allow_redirects=False,
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                text = (await response.read()).decode("utf-8", "replace")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSent("Twilio could not be reached.") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown("Twilio did not answer after it was given the message.") from error
        failure = refusal(status, text, retry_after, datetime.now(UTC))
        if failure is not None:
            raise failure
        return Response(status, text, {})

    async def close(self) -> None:
        """Close the session, if there is one."""
        if self._session is not None:
            await self._session.close()
            # aiohttp closes its sockets in the next round of the loop.
            await asyncio.sleep(0)


def refusal(
    status: int, text: str, retry_after: str | None, now: datetime
) -> NotSent | OutcomeUnknown | Undeliverable | None:
    """What an HTTP answer of Twilio's means for the message; None when it was taken."""
    try:
        body: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if 200 <= status < 300:
        return None if isinstance(body, dict) else OutcomeUnknown("Twilio's answer could not be read.")
    code = body.get("code") if isinstance(body, dict) else None
    code = code if isinstance(code, int) else 0
    if status == 429:
        wait_s = _wait_s(retry_after, now)
        return NotSent("Twilio asks us to slow down.", retry_after_s=wait_s, whole_channel=code == 20429)
    if status == 503:
        return NotSent("Twilio is not available just now.", retry_after_s=_wait_s(retry_after, now))
    if status == 401:
        # Nothing is wrong with the message: it can go out as soon as the owner has corrected the settings.
        reason = "Twilio refuses our credentials: check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN."
        return NotSent(reason, retry_after_s=CREDENTIALS_RETRY_S, whole_channel=True)
    if 400 <= status < 500 and status not in (408, 409):
        if code in OUTSIDE_WINDOW:
            return OutsideWindow(_reason(code))
        if code == OPTED_OUT:
            return OptedOut(_reason(code))
        return Undeliverable(_reason(code))
    return OutcomeUnknown(f"Twilio answered with status {status}.")


def _wait_s(retry_after: str | None, now: datetime) -> float:
    """Seconds of a Retry-After header: a number, an HTTP date, or our own guess."""
    wait_s = RETRY_AFTER_S
    if retry_after and re.fullmatch("[0-9]{1,9}", retry_after.strip()):
        wait_s = float(retry_after)
    elif retry_after:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return wait_s
        wait_s = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)
