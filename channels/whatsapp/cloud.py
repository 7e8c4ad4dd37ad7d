"""WhatsApp by Meta's Cloud API: signatures, webhook batches in, messages out over the Graph API, delivery statuses."""

import asyncio
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from channels.base import NotSent, OutcomeUnknown, OutsideWindow, Undeliverable, Unknowable
from channels.degrade import CLOUD, FilePiece, Link, Piece, TextPiece, inbound_text, no_link, pieces
from channels.outgoing import Outgoing
from channels.whatsapp import cloud_templates
from channels.whatsapp.cloud_templates import TemplateStatus
from core import crashpoint
from core.changes import Change, Kind
from core.egress import Egress, Fetched, Gone
from core.errors import ProviderRefused, ProviderUnavailable
from core.files import Files, file_id
from core.messages import (
    CELL_CHARS_MAX,
    FACTS_MAX,
    LABEL_CHARS_MAX,
    REACHED_CHARS_MAX,
    REACHED_MAX,
    ROWS_MAX,
    Address,
    Card,
    ChannelName,
    Contact,
    Fact,
    InboundMessage,
    Location,
    Media,
    OutboundMessage,
    Part,
    Table,
    Voice,
    forwarded,
)
from core.outbox import ProviderStatus
from core.renumber import How, Renumbered, Seen
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX

OPEN_LIST = "Choose / Chagua"
"""On the button that opens a list; we do not know here which language the person reads."""
NAME_CHARS_MAX = 128
CAPTION_CHARS_MAX = 4_096
FILENAME_CHARS_MAX = 256
PLACE_CHARS_MAX = 512
CARDS_MAX = 10
"""Shared contacts of one message."""
EMOJI_CHARS_MAX = 64
PER_SECOND = 80.0
"""What Meta takes a second from one business number, unless it has raised the limit."""
TOTAL_TIMEOUT_S = 15.0
"""For one request; a third of it, 5 s, is for the connection, waiting for a free one included."""
CONNECTIONS_MAX = 64
RETRY_AFTER_S = 2.0
"""When Meta asks us to slow down; it does not say for how long."""
RETRY_AFTER_S_MAX = 3_600.0
PAIR_BASE_S = 4.0
"""Too many messages to one person: Meta wants 4^n seconds before try n + 1."""
CREDENTIALS_RETRY_S = 60.0

ACCOUNT_OBJECT = "whatsapp_business_account"
REFERENCE = "outbox:"
"""Before our outbox id in biz_opaque_callback_data, which every status brings back; a piece of several says which."""

MEDIA_HOSTS = (".fbsbx.com", ".fbcdn.net", ".whatsapp.net", ".facebook.com")
"""Where Meta keeps files."""
ANSWER_BYTES_MAX = 64 * 1024
MEDIA_TYPES = ("image", "video", "audio", "voice", "document", "sticker")
CHANGES: dict[str, Kind] = {"reaction": "reaction", "edit": "edit", "revoke": "delete"}
"""What is sent about a message, in the words of core.changes."""
UNANSWERED_TYPES = ("system", "request_welcome", *CHANGES)
"""What is sent about a message or an account, and is nothing said to us."""
RENUMBERED: dict[str, How] = {
    "user_changed_number": "number", "customer_changed_number": "number", "user_changed_user_id": "user_id"
}  # fmt: skip
"""Kinds of Meta's news that somebody has another number or id, the older name of one included."""
STATUSES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
"""Meta's delivery statuses that tell us something, in the words of core.outbox."""

SLOW_DOWN_CODES = frozenset({4, 80007, 130429})
PAIR_CODE = 131056
WINDOW_CODES = frozenset({131047, 132000, 132001, 132005, 132007, 132012, 132015, 132016})
"""Codes that mean: not in this way now. Free text outside the window, or a template that WhatsApp does not take."""
AWAY_CODES = frozenset({131016, 131057})
CREDENTIALS_CODES = frozenset({0, 102, 104, 190})
PERMISSION_CODES = frozenset({3, 10, 368, 131005, 131031, 133010, *range(200, 300)})
INVALID_CODE, NO_SUCH_OBJECT = 100, 33
"""Code and subcode of a phone number id that does not exist, or that the token may not use."""

REASONS = {
    130472: "WhatsApp chose not to deliver the message.",
    130497: "WhatsApp does not allow this account to write to the recipient's country.",
    131008: "WhatsApp misses something in the message.",
    131009: "WhatsApp does not take something in the message.",
    131021: "The recipient is the sender itself.",
    131026: "The recipient is not on WhatsApp, or cannot get messages from businesses.",
    131030: "The recipient is not among the numbers that this test account may write to.",
    131042: "WhatsApp's bill for this account is not paid, or no way to pay is set.",
    131045: "The sender's number is not registered as it should be.",
    131047: "More than 24 hours have passed since the person last wrote, so WhatsApp accepts templates only.",
    131048: "WhatsApp limits this number because too many of its messages were blocked or reported.",
    131049: "WhatsApp chose not to deliver the message.",
    131050: "The recipient has opted out of our messages.",
    131051: "WhatsApp does not know this kind of message.",
    131052: "WhatsApp could not fetch the file the person sent.",
    131053: "WhatsApp could not take the file we sent.",
    132000: "The template was given the wrong number of variables.",
    132001: "WhatsApp does not know the template in this language, or has not approved it.",
    132005: "The template is too long with its variables filled in.",
    132007: "WhatsApp finds that the template breaks its policy.",
    132012: "The template was given a variable of the wrong form.",
    132015: "WhatsApp paused the template.",
    132016: "WhatsApp disabled the template.",
}
"""What staff read for Meta's error codes."""

_ID = re.compile(r"[\x21-\x7e]{1,256}")
_NO_SUCH = re.compile(rb'"code": ?100\b')
"""In an answer about a file: there is none with this id."""
_MEDIA_ID = re.compile(r"[0-9]{1,40}")
_PHONE = re.compile(r"[0-9]{5,20}")
_USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_SECONDS = re.compile(r"[0-9]{1,10}")
_DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")
_REFERENCE = re.compile(REFERENCE + r"([0-9]{1,18})(?::([0-9]{1,3}):([0-9]{1,3}))?")
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")

Json = Mapping[str, Any]


# Who is believed.


def is_signature(signature: str) -> bool:
    """Whether it has the form of an X-Hub-Signature-256."""
    return _SIGNATURE.fullmatch(signature) is not None


def verify(body: bytes, signature: str, app_secret: str) -> bool:
    """Whether `signature` is the X-Hub-Signature-256 of these very bytes; how long it takes tells nothing."""
    ours = "sha256=" + hmac.digest(app_secret.encode(), body, "sha256").hex()
    return bool(app_secret) and hmac.compare_digest(ours.encode(), signature.encode("utf-8", "surrogateescape"))


def challenge(query: Mapping[str, str], verify_token: str) -> str | None:
    """What to answer when Meta checks our webhook's address; None for whoever does not know the token."""
    given = query.get("hub.verify_token", "").encode("utf-8", "surrogateescape")
    known = bool(verify_token) and hmac.compare_digest(given, verify_token.encode())
    asked = query.get("hub.challenge", "")
    return asked if known and query.get("hub.mode") == "subscribe" and _ID.fullmatch(asked) else None


# What webhooks become.


@dataclass(frozen=True, slots=True)
class Batch:
    """What one webhook brought. `unreadable` items had no known shape and were left out, so that the rest is kept."""

    messages: tuple[InboundMessage, ...]
    statuses: tuple[ProviderStatus, ...]
    unreadable: int = 0
    templates: tuple[TemplateStatus, ...] = ()
    changes: tuple[Change, ...] = ()
    seen: tuple[Seen, ...] = ()
    renumbered: tuple[Renumbered, ...] = ()


def parse(body: bytes, account: str, now: datetime, waba_id: str = "") -> Batch:
    """One signed webhook to messages, changes to them and statuses of our number `account`, and to what became of
    templates of our business account `waba_id`; `now` stands in for a missing time.

    What concerns other numbers, other fields and other products is left out. Raises ValueError when the whole is not
    a webhook of Meta's.
    """
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("entry"), list):
        raise ValueError("a webhook is a JSON object with entries")
    messages: list[InboundMessage] = []
    statuses: list[ProviderStatus] = []
    templates: list[TemplateStatus] = []
    changes: list[Change] = []
    seen: list[Seen] = []
    renumbered: list[Renumbered] = []
    unreadable = 0
    if whole.get("object") != ACCOUNT_OBJECT:
        return Batch((), ())
    for entry in whole["entry"]:
        for told in _objects(entry, "changes"):
            value = _object(told, "value")
            if told.get("field") == cloud_templates.FIELD and waba_id and _id_of(entry) == waba_id:
                try:
                    standing = cloud_templates.parse_status(value, cloud_templates.event_time(entry, now))
                except ValueError:
                    unreadable += 1
                else:
                    templates += [standing] if standing else []
            if told.get("field") != "messages" or _object(value, "metadata").get("phone_number_id") != account:
                continue
            for item in _items(value, "messages"):
                try:
                    match _message(item, value, account, now):
                        case InboundMessage() as message:
                            messages.append(message)
                            seen += _seen(item, message)
                        case Change() as change:
                            changes.append(change)
                        case Renumbered() as news:
                            renumbered.append(news)
                except (ValueError, TypeError):
                    unreadable += 1
            for item in _items(value, "statuses"):
                try:
                    status = _status(item, now)
                except ValueError:
                    unreadable += 1
                else:
                    statuses += [status] if status else []
    return Batch(
        tuple(messages),
        tuple(statuses),
        unreadable,
        tuple(templates),
        tuple(changes),
        tuple(seen),
        tuple(renumbered),
    )


def _message(item: object, value: Json, account: str, now: datetime) -> InboundMessage | Change | Renumbered | None:
    """One item of `messages`; None for what is not said to us in private. Raises ValueError for what has no shape."""
    if not isinstance(item, dict):
        raise ValueError("a message is an object")
    kind = item.get("type")
    if item.get("group_id") or _object(item, "unsupported").get("type") in UNANSWERED_TYPES:
        return None
    if kind == "system":
        return _renumbered(item, _object(item, "system"), account)
    if kind in UNANSWERED_TYPES and kind not in CHANGES:
        return None
    phone, user_id = _words(item.get("from")), _words(item.get("from_user_id"))
    # The number first: it is what Meta documents for sending to. Who hides it is known by Meta's own id.
    person = phone if _PHONE.fullmatch(phone) else user_id
    if not _PHONE.fullmatch(person) and not _USER_ID.fullmatch(person):
        raise ValueError("the sender is neither a number nor an id")
    sender = Address(ChannelName.WHATSAPP, account, person, person)
    event_id, answered = _words(item.get("id")), _words(_object(item, "context").get("id"))
    if not _ID.fullmatch(event_id):
        raise ValueError("the message has no id")
    sent_at = _moment(item, now)
    if isinstance(kind, str) and kind in CHANGES:
        return _change(kind, _object(item, kind), sender, event_id, sent_at)
    return InboundMessage(
        sender=sender,
        event_id=event_id,
        parts=_parts(kind, item),
        sent_at=sent_at,
        display_name=_name(value, phone, user_id),
        reply_to=answered if _ID.fullmatch(answered) else None,
    )


def _change(kind: str, content: Json, author: Address, event_id: str, sent_at: datetime) -> Change:
    """A reaction, of which there is one a person, or none any more; the words an edit leaves; a deletion."""
    target = _words(content.get("message_id" if kind == "reaction" else "original_message_id"))
    if not _ID.fullmatch(target):
        raise ValueError("the message that changed has no id")
    parts: tuple[Part, ...] = ()
    if kind == "edit":
        left = _object(content, "message")
        parts = _parts(left.get("type"), left)
        if not parts:
            raise ValueError("an edit leaves nothing that can be shown")
    emoji = _line(content.get("emoji"), EMOJI_CHARS_MAX)
    return Change(author, event_id, CHANGES[kind], target, sent_at, parts, (emoji,) if emoji else ())


def _seen(item: Json, message: InboundMessage) -> list[Seen]:
    """Meta's lasting id behind a number, where it shows both."""
    user_id = _words(item.get("from_user_id"))
    known = _USER_ID.fullmatch(user_id) is not None and _PHONE.fullmatch(message.sender.person) is not None
    return [Seen(message.sender, user_id, message.event_id)] if known else []


def _renumbered(item: Json, system: Json, account: str) -> Renumbered | None:
    """Meta's word that somebody's number or id changed; None for its other news. Raises ValueError without an id."""
    kind = _words(system.get("type"))
    if kind not in RENUMBERED:
        return None
    event_id = _words(item.get("id"))
    if not _ID.fullmatch(event_id):
        raise ValueError("the message has no id")
    numbers = [_words(one) for one in (item.get("from"), system.get("wa_id"), system.get("new_wa_id"))]
    now_id = _words(system.get("user_id"))
    before = [_words(one) for one in (item.get("from_user_id"), system.get("previous_user_id"))]
    old = {one for one in before if _USER_ID.fullmatch(one) and one != now_id}
    ids = {one for one in numbers if _PHONE.fullmatch(one)} | old | ({now_id} if _USER_ID.fullmatch(now_id) else set())
    if not ids:
        raise ValueError("it names nobody whose number changed")
    return Renumbered(
        ChannelName.WHATSAPP,
        account,
        tuple(sorted(ids)),
        event_id,
        RENUMBERED[kind],
        tuple(sorted(old)),
        now_id if _USER_ID.fullmatch(now_id) else None,
    )


def _name(value: Json, phone: str, user_id: str) -> str | None:
    """What the person calls themselves, from the contacts beside the message."""
    for contact in _objects(value, "contacts"):
        if (phone and contact.get("wa_id") == phone) or (user_id and contact.get("user_id") == user_id):
            return _line(_object(contact, "profile").get("name"), NAME_CHARS_MAX) or None
    return None


def _parts(kind: object, item: Json) -> tuple[Part, ...]:
    """What was said, and whether somebody else said it; nothing at all for what we cannot show, to which the answer is
    that we cannot read it."""
    context = _object(item, "context")
    is_forwarded = context.get("forwarded") or context.get("frequently_forwarded")
    return forwarded(_said(kind, item)) if is_forwarded else _said(kind, item)


def _said(kind: object, item: Json) -> tuple[Part, ...]:
    match kind:
        case "text":
            return inbound_text(_words(_object(item, "text").get("body")))
        case "button":
            return inbound_text(_words(_object(item, "button").get("text")))
        case "interactive":
            answer = _object(item, "interactive")
            picked = _object(answer, "button_reply") or _object(answer, "list_reply")
            if form := _object(answer, "nfm_reply"):
                return _form(form)
            return inbound_text(_words(picked.get("title")))
        case "order":
            return _order(_object(item, "order"))
        case "location":
            return (_location(_object(item, "location")),)
        case "contacts":
            shared = (_contact(card) for card in _objects(item, "contacts")[:CARDS_MAX])
            return tuple(one for one in shared if one.name or one.phones or one.emails)
        case str() if kind in MEDIA_TYPES:
            return (_media(kind, _object(item, kind)),)
        case _:
            return ()


def _media(kind: str, file: Json) -> Media | Voice:
    """A file, or the note that a person spoke."""
    ref = _words(file.get("id"))
    if not _ID.fullmatch(ref):
        raise ValueError("the file has no id")
    # "audio/ogg; codecs=opus" is audio/ogg to everybody who handles it.
    media_type = _words(file.get("mime_type")).partition(";")[0].strip().lower()
    media_type = media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"
    if kind == "voice" or (kind == "audio" and file.get("voice") is True):
        return Voice(media_type=media_type, ref=ref)
    return Media(
        media_type=media_type,
        ref=ref,
        caption=_words(file.get("caption"))[:CAPTION_CHARS_MAX] or None,
        filename=_line(file.get("filename"), FILENAME_CHARS_MAX) or None,
    )


def _location(place: Json) -> Location:
    latitude, longitude = str(place.get("latitude", "")), str(place.get("longitude", ""))
    if not _DEGREES.fullmatch(latitude) or not _DEGREES.fullmatch(longitude):
        raise ValueError("latitude and longitude are not degrees")
    label = ", ".join(words for name in ("name", "address") if (words := _line(place.get(name), PLACE_CHARS_MAX)))
    return Location(latitude=float(latitude), longitude=float(longitude), label=label[:PLACE_CHARS_MAX] or None)


def _contact(card: Json) -> Contact:
    """A shared contact. Somebody else may have chosen its name, so that none of it counts as words of the sender's."""
    phones = [_line(one.get("phone"), REACHED_CHARS_MAX) for one in _objects(card, "phones")]
    emails = [_line(one.get("email"), REACHED_CHARS_MAX) for one in _objects(card, "emails")]
    return Contact(
        name=_line(_object(card, "name").get("formatted_name"), NAME_CHARS_MAX),
        phones=tuple(filter(None, phones))[:REACHED_MAX],
        emails=tuple(filter(None, emails))[:REACHED_MAX],
    )


def _order(order: Json) -> tuple[Part, ...]:
    """What was chosen from a catalogue, with the words beside it; nothing at all where it holds neither."""
    rows = []
    for item in _objects(order, "product_items")[:ROWS_MAX]:
        price = f"{_scalar(item.get('item_price'))} {_scalar(item.get('currency'))}".strip()
        rows.append((_scalar(item.get("product_retailer_id")), _scalar(item.get("quantity")), price))
    table = [Table(title="Order", columns=("Item", "Quantity", "Price each"), rows=tuple(rows))] if rows else []
    return (*inbound_text(_words(order.get("text"))), *table)


def _form(form: Json) -> tuple[Part, ...]:
    """The fields of a form that was filled in, those with one value; nothing where they cannot be read."""
    try:
        fields = orjson.loads(_words(form.get("response_json")))
    except orjson.JSONDecodeError:
        return ()
    given = fields.items() if isinstance(fields, dict) else ()
    facts = [
        Fact(label=label, value=value)
        for name, one in given
        if name != "flow_token" and (label := _line(name, LABEL_CHARS_MAX)) and (value := _scalar(one))
    ]
    if not facts:
        return ()
    return (Card(title=_line(form.get("name"), LABEL_CHARS_MAX) or "Form", facts=tuple(facts[:FACTS_MAX])),)


def _scalar(value: object) -> str:
    """A text or a number as a short text; empty for anything else."""
    known = isinstance(value, str | int | float) and not isinstance(value, bool)
    return _line(str(value), CELL_CHARS_MAX) if known else ""


def _status(item: object, now: datetime) -> ProviderStatus | None:
    """One item of `statuses`; None for those that tell us nothing. Raises ValueError for what has no shape."""
    if not isinstance(item, dict):
        raise ValueError("a status is an object")
    sent_id, status = _words(item.get("id")), STATUSES.get(_words(item.get("status")))
    if not _ID.fullmatch(sent_id):
        raise ValueError("the status has no id")
    if status is None:
        return None
    reference = _REFERENCE.fullmatch(_words(item.get("biz_opaque_callback_data")))
    code = next((error.get("code") for error in _objects(item, "errors")), 0)
    code = code if isinstance(code, int) else 0
    error = _reason(code) if status == "failed" else None
    shut = status == "failed" and code in WINDOW_CODES
    at = _moment(item, now)
    if reference is None:
        return ProviderStatus(None, sent_id, status, error, outside_window=shut, at=at)
    row, piece, count = (int(number or 0) for number in reference.groups())
    return ProviderStatus(row, sent_id, status, error, piece, piece + 1 >= count, shut, at)


def _reason(code: int) -> str:
    sentence = REASONS.get(code, "WhatsApp could not deliver the message.")
    return f"{sentence} (Meta {code})" if code else sentence


def _moment(item: Json, now: datetime) -> datetime:
    """When it happened by Meta's clock, or `now`."""
    seconds = str(item.get("timestamp", ""))
    return datetime.fromtimestamp(int(seconds), UTC) if _SECONDS.fullmatch(seconds) else now


def _id_of(entry: object) -> object:
    return entry.get("id") if isinstance(entry, dict) else None


def _object(whole: object, name: str) -> Json:
    found = whole.get(name) if isinstance(whole, dict) else None
    return found if isinstance(found, dict) else {}


def _items(whole: object, name: str) -> list[Any]:
    found = whole.get(name) if isinstance(whole, dict) else None
    return found if isinstance(found, list) else []


def _objects(whole: object, name: str) -> list[Json]:
    return [one for one in _items(whole, name) if isinstance(one, dict)]


def _words(value: object) -> str:
    """A string, empty where there is none. Raises ValueError for a NUL, which nobody can keep."""
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        raise ValueError("a text holds a NUL character")
    return value


def _line(value: object, chars_max: int) -> str:
    return " ".join(_words(value).split())[:chars_max]


# What messages become.


def payload(message: OutboundMessage, link: Link = no_link, media_id: str | None = None) -> dict[str, Any]:
    """The request for that piece of a message; `media_id` is what Meta calls its file, where that is one of ours.

    Raises Undeliverable when there is nothing in it, or nobody it could go to.
    """
    room = message.recipient.room
    if _PHONE.fullmatch(room):
        whom = {"to": room}
    elif _USER_ID.fullmatch(room):
        whom = {"recipient": room}
    else:
        raise Undeliverable("The recipient is not a number that WhatsApp can reach.")
    shown = () if message.template else pieces(message.parts, CLOUD, link)
    if not shown and not message.template:
        raise Undeliverable("The message is empty.")
    which = f":{message.piece}:{len(shown)}" if len(shown) > 1 else ""
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **whom,
        **(cloud_templates.content(message.template) if message.template else _content(shown[message.piece], media_id)),
        "biz_opaque_callback_data": f"{REFERENCE}{message.outbox_id}{which}",
    }


def _content(piece: Piece, media_id: str | None = None) -> dict[str, Any]:
    """One message as Meta takes it: a file with its caption, a text with choices to tap, or a text."""
    match piece:
        case FilePiece():
            kind = _kind(piece.media_type)
            content = {"id": media_id} if media_id else {"link": piece.ref}
            if piece.caption:
                content["caption"] = piece.caption
            if kind == "document" and piece.filename:
                content["filename"] = piece.filename
            return {"type": kind, kind: content}
        case TextPiece(options=()):
            return {"type": "text", "text": {"body": piece.text, "preview_url": False}}
        case TextPiece():
            return {"type": "interactive", "interactive": _interactive(piece)}
    raise Undeliverable("The message holds what WhatsApp cannot show.")


def _kind(media_type: str) -> str:
    """What WhatsApp shows such a file as; it takes every type as a document."""
    match media_type:
        case "image/jpeg" | "image/png":
            return "image"
        case "video/mp4" | "video/3gpp":
            return "video"
        case "audio/aac" | "audio/mp4" | "audio/mpeg" | "audio/amr" | "audio/ogg":
            return "audio"
        case _:
            return "document"


def _interactive(piece: TextPiece) -> dict[str, Any]:
    """A text with choices to tap, as buttons or as a list."""
    titled = [{"id": str(number), "title": option} for number, option in enumerate(piece.options, 1)]
    action: dict[str, Any]
    if piece.listed:
        kind, action = "list", {"button": OPEN_LIST, "sections": [{"rows": titled}]}
    else:
        kind, action = "button", {"buttons": [{"type": "reply", "reply": reply} for reply in titled]}
    return {"type": kind, "body": {"text": piece.text}, "action": action}


class CloudChannel:
    """Our WhatsApp number at Meta; `account` is Meta's id of it, 106540352242922."""

    name: ChannelName = ChannelName.WHATSAPP
    per_second: float | None = PER_SECOND

    def __init__(self, settings: Settings, files: Files | None = None, *, timeout_s: float = TOTAL_TIMEOUT_S) -> None:
        """`files` are those it sends; `timeout_s` is how long Meta has to answer, connecting included."""
        self.account = settings.meta_phone_number_id
        base_url = settings.meta_base_url.rstrip("/")
        self._url = f"{base_url}/{settings.meta_graph_version}/{self.account}/messages"
        self._headers = {
            "Authorization": f"Bearer {settings.meta_access_token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        self._upload_url = f"{base_url}/{settings.meta_graph_version}/{self.account}/media"
        self._outgoing = Outgoing(files, settings.reached_from(base_url))
        self._media_url = f"{base_url}/{settings.meta_graph_version}/{{}}?phone_number_id={self.account}"
        self._media_hosts = {urlsplit(base_url).netloc}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 3)
        self._session: aiohttp.ClientSession | None = None

    def pieces(self, message: OutboundMessage) -> int:
        """How many WhatsApp messages show it; a template is one."""
        return 1 if message.template else len(pieces(message.parts, CLOUD, self._outgoing.link))

    async def send(self, message: OutboundMessage) -> str:
        """Send its piece once; Meta's id of that message. Raises Undeliverable, NotSent or OutcomeUnknown."""
        if message.recipient.account != self.account:
            raise Undeliverable("This conversation belongs to another WhatsApp number, which is not set up here.")
        body = orjson.dumps(payload(message, self._outgoing.link, await self._uploaded(message)))
        try:
            async with self._connected().post(
                self._url, data=body, headers=self._headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                answer = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSent("Meta could not be reached.") from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown("Meta did not answer after it was given the message.") from error
        taken = read_answer(status, answer, retry_after, message.attempt)
        if isinstance(taken, Exception):
            raise taken
        return taken

    async def _uploaded(self, message: OutboundMessage) -> str | None:
        """Give Meta the file of that piece, where it is one of ours; Meta's id of it, which nobody sees before it is
        sent. So whatever happens here, the message was not sent. Raises Undeliverable or NotSent.
        """
        shown = () if message.template else pieces(message.parts, CLOUD, self._outgoing.link)
        piece = shown[message.piece] if message.piece < len(shown) else None
        if not isinstance(piece, FilePiece) or file_id(piece.ref) is None:
            return None
        file, data = await self._outgoing.read(message, piece.ref)
        form = aiohttp.FormData()
        form.add_field("messaging_product", "whatsapp")
        form.add_field("type", piece.media_type)
        form.add_field("file", data, filename=piece.filename or file.name, content_type=piece.media_type)
        bearer = {"Authorization": self._headers["Authorization"]}
        try:
            async with self._connected().post(
                self._upload_url, data=form, headers=bearer, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                answer = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NotSent("Meta did not take the file in time.") from error
        taken = read_answer(status, answer, retry_after, message.attempt, uploaded=True)
        if isinstance(taken, OutcomeUnknown):
            raise NotSent("Meta did not take the file.") from taken
        if isinstance(taken, Exception):
            raise taken
        crashpoint.hit("upload.taken")
        return taken

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def fetch(self, account: str, ref: str, egress: Egress) -> Fetched:
        """The file with this id: Meta says where it lies for five minutes, and gives it to whoever has our token."""
        if not _MEDIA_ID.fullmatch(ref):
            raise ProviderRefused("That is no file of Meta's.")
        bearer = {"Authorization": self._headers["Authorization"]}
        try:
            told = await egress.get(self._media_url.format(ref), bytes_max=ANSWER_BYTES_MAX, headers=bearer)
        except Gone as error:
            trouble = read_answer(error.status, error.said, None, 1)
            if isinstance(trouble, NotSent) and not _NO_SUCH.search(error.said):
                # Nothing is wrong with the file: too many asked, or the account is to be put in order.
                raise trouble from error
            raise
        try:
            url = str(orjson.loads(told.body)["url"])
            parts = urlsplit(url)
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailable("Meta's answer names no file.") from error
        own = parts.netloc in self._media_hosts or (parts.scheme == "https" and parts.netloc.endswith(MEDIA_HOSTS))
        if not own:
            raise ProviderRefused("Meta's answer leads somewhere else.")
        return await egress.get(url, bytes_max=FILE_BYTES_MAX, headers=bearer)

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Raises Unknowable: Meta has no list of what was sent. Statuses with our reference come by themselves."""
        raise Unknowable("Meta cannot be asked; a delivery status settles it, if one comes.")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            # aiohttp closes its sockets in the next round of the loop.
            await asyncio.sleep(0)


def read_answer(
    status: int, body: bytes, retry_after: str | None, attempt: int, *, uploaded: bool = False
) -> str | NotSent | OutcomeUnknown | Undeliverable:
    """What an HTTP answer of Meta's means for the message, or the file `uploaded` for it, at its n-th `attempt`: its
    id, or why there is none."""
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if 200 <= status < 300:
        made = [_object({"it": answer}, "it")] if uploaded else _objects(answer, "messages")
        taken = next((one.get("id") for one in made), None)
        if isinstance(taken, str) and _ID.fullmatch(taken):
            return taken
        return OutcomeUnknown("Meta's answer names no message.")
    error = _object(answer, "error")
    code, subcode = error.get("code"), error.get("error_subcode")
    code = code if isinstance(code, int) else None
    if code == PAIR_CODE:
        wait_s = min(PAIR_BASE_S ** min(attempt, 10), RETRY_AFTER_S_MAX)
        return NotSent("WhatsApp takes no more messages to this person just now.", retry_after_s=wait_s)
    if status == 429 or code in SLOW_DOWN_CODES:
        whole = code in SLOW_DOWN_CODES
        return NotSent("Meta asks us to slow down.", retry_after_s=_wait_s(retry_after), whole_channel=whole)
    if status == 503 or code in AWAY_CODES:
        return NotSent("WhatsApp is not available just now.", retry_after_s=_wait_s(retry_after))
    # Nothing is wrong with the message in these: it can go out as soon as the owner has put the account in order.
    trouble = None
    if status == 401 or code in CREDENTIALS_CODES:
        trouble = "Meta refuses our credentials: check META_ACCESS_TOKEN."
    elif code == INVALID_CODE and subcode == NO_SUCH_OBJECT:
        trouble = "Meta does not know our number, or the token may not use it: check META_PHONE_NUMBER_ID."
    elif code in PERMISSION_CODES or status == 403:
        trouble = "Meta does not let this account send: look at it in Meta's Business Manager."
    if trouble:
        named = f"{trouble} (Meta {code})" if code else trouble
        return NotSent(named, retry_after_s=CREDENTIALS_RETRY_S, whole_channel=True)
    if 400 <= status < 500 and status not in (408, 409):
        return OutsideWindow(_reason(code or 0)) if code in WINDOW_CODES else Undeliverable(_reason(code or 0))
    return OutcomeUnknown(f"Meta answered with status {status}.")


def _wait_s(retry_after: str | None) -> float:
    """Seconds of a Retry-After header, which Meta seldom sends, or our own guess."""
    given = (retry_after or "").strip()
    return min(float(given), RETRY_AFTER_S_MAX) if re.fullmatch("[0-9]{1,9}", given) else RETRY_AFTER_S
