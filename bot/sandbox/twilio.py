"""Twilio's Messages API for WhatsApp: sending, looking up, status callbacks, inbound webhooks, the 24-hour window.

Besides the API: POST /twilio/_window {"strict": true} makes people who never wrote through the phone count as outside
the window (left alone they count as inside, because a load generator writes past this simulator);
{"to": "+254…", "open": false} closes one person's window; {"offset_s": 90000} moves the window's clock. POST /_heal
ends all three.

Numbers with a fate: +15005550001 is invalid (21211), …03 not enabled (21408), …04 opted out (21610), and
+150000<code>, such as +15000063003, is accepted and then fails with that code. Templates are in
bot/sandbox/twilio_content.py.
"""

import asyncio
import base64
import hashlib
import heapq
import hmac
import json
import os
import re
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import quote, unquote, urlencode, urlsplit

from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, WEBHOOK_TWILIO, WHATSAPP_FROM
from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import Faults, Webhooks
from bot.sandbox.forms import Upload
from bot.sandbox.hooks import Hooks, Unreachable
from bot.sandbox.kept import KeptFiles
from bot.sandbox.pictures import PICTURE_TYPE, picture
from bot.sandbox.screen import Screen
from bot.sandbox.truth import ROWS_MAX, Disk, Journal, JsonObject
from bot.sandbox.twilio_content import REVIEW_S, Contents
from bot.sandbox.voices import VOICE_TYPE, voice_note

BODY_CHARS_MAX = 1600
FIELDS_MAX = 64
PAGE_SIZE = 50
PAGE_SIZE_MAX = 1000
WINDOW = timedelta(hours=24)
MEDIA_BYTES_MAX = 16 * 1024 * 1024
PICTURE_BYTES_MAX = 5 * 1024 * 1024
MEDIA_TYPES = frozenset({
    "image/jpeg", "image/png", "image/webp", "audio/ogg", "audio/amr", "audio/3gpp", "audio/aac", "audio/mpeg",
    "application/pdf", "application/msword", "video/mp4", "text/vcard",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
})  # fmt: skip
"""What WhatsApp is passed on."""
CALLBACKS_MAX = 20_000
"""Messages whose callbacks are under way; what comes on top gets none, which Twilio does not promise either."""
CALLBACK_WORKERS = 8
CALLBACK_REPLAY_S = 60.0
"""Messages this young when the process died get their callbacks again; Twilio repeats itself too."""
INBOUND_TRIES_MAX = 1_000
INBOUND_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 3.0)
"""Waits between tries; the last one repeats."""

LIFE = (("queued", 0.0), ("sent", 0.02), ("delivered", 0.08), ("read", 0.5))
"""What becomes of a message, and when, in seconds."""
DEATH = (("queued", 0.0), ("undelivered", 0.08))

SEND_FIELDS = frozenset({
    "To", "From", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "ContentVariables", "PersistentAction",
    "StatusCallback", "ValidityPeriod", "SendAt", "ScheduleType", "SmartEncoded", "ProvideFeedback", "Attempt",
    "ContentRetention", "AddressRetention", "RiskCheck", "ShortenUrls", "ApplicationSid", "MaxPrice", "ForceDelivery",
    "SendAsMms", "FallbackFrom", "TrafficType",
})  # fmt: skip
ADDRESS = re.compile(r"whatsapp:(?:\+[1-9]\d{6,14}|[A-Z]{2}\.[A-Za-z0-9]{1,128})")
FATED = re.compile(r"whatsapp:\+150000(63\d{3})")
REFUSED = {
    "whatsapp:+15005550001": 21211,
    "whatsapp:+15005550003": 21408,
    "whatsapp:+15005550004": 21610,
}
CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}")
GEO = re.compile(r"geo:-?\d{1,2}(\.\d+)?,-?\d{1,3}(\.\d+)?(\|.{1,256})?")
MESSAGE_PATH = re.compile(
    r"/2010-04-01/Accounts/([^/]+)/Messages(?:/([A-Z]{2}[0-9a-f]{32})(/Media(?:/(ME[0-9a-f]{32}))?)?)?\.json"
)
MEDIA_PATH = re.compile(r"/2010-04-01/Accounts/([^/]+)/Messages/([A-Z]{2}[0-9a-f]{32})/Media/(ME[0-9a-f]{32})")
DISPOSITION = re.compile(r"filename\*=UTF-8''([^;]+)")
CDN_PATH = re.compile(r"/_cdn/(ME[0-9a-f]{32})")

ERRORS = {
    20001: (400, "Unknown or invalid parameter: {0}"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource {0} was not found"),
    20405: (405, "Method not allowed"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    21211: (400, "The 'To' number {0} is not a valid phone number."),
    21212: (400, "The 'From' number {0} is not a valid phone number, shortcode, or alphanumeric sender ID."),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {0}."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21609: (400, "The StatusCallback URL {0} is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit."),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21655: (400, "The ContentSid {0} is invalid."),
    21656: (400, "The ContentVariables Parameter is invalid."),
    21701: (400, "The Messaging Service does not exist."),
    63007: (400, "Twilio could not find a Channel with the specified From address"),
}
FAILURES = {
    63016: "Failed to send freeform message because you are outside the allowed window.",
    11751: "Media exceeds messaging provider size limit",
    12300: "Invalid Content-Type",
    63003: "Channel could not find To address",
    63018: "Rate limit exceeded for Channel",
    63019: "Media failed to download",
    63024: "Invalid message recipient",
    63032: "We cannot send this message to this user because of a limitation of WhatsApp",
    63038: "Account exceeded the daily messages limit",
    63027: "Template does not exist for a language and locale",
    63028: "Number of parameters provided does not match the expected number of parameters",
    63040: "Template Rejected",
    63041: "Template Paused",
    63042: "Template Disabled",
    63049: "Meta chose not to deliver this WhatsApp marketing message",
}


def sign(url: str, params: Sequence[tuple[str, str]], token: str) -> str:
    """X-Twilio-Signature of a webhook to `url` (any #fragment is dropped) with these form parameters."""
    values: dict[str, set[str]] = {}
    for name, value in params:
        values.setdefault(name, set()).add(value)
    text = url.split("#", 1)[0] + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    return base64.b64encode(
        hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    ).decode()


def refuse(code: int, detail: str = "") -> Answer:
    """Twilio's error body for this code."""
    status, message = ERRORS[code]
    more = f"https://www.twilio.com/docs/errors/{code}"
    return answer_json({"code": code, "message": message.format(detail), "more_info": more, "status": status}, status)


@dataclass(slots=True)
class Message:
    """One message of the account, in either direction."""

    sid: str
    to: str
    sender: str
    body: str
    at: float
    error: int | None = None
    callback: str | None = None
    media: tuple[str, ...] = ()
    inbound: bool = False

    def status(self, now: float) -> str:
        """What has become of it by now."""
        if self.inbound:
            return "received"
        age, status = now - self.at, "queued"
        for name, after in DEATH if self.error else LIFE:
            if age >= after:
                status = name
        return status


def as_resource(message: Message, now: float) -> JsonObject:
    """The message as the API shows it: every key is there, nulls included."""
    status = message.status(now)
    sent = message.inbound or status in ("sent", "delivered", "read")
    failed = message.error if status == "undelivered" else None
    uri = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{message.sid}"
    created = formatdate(message.at)[:-5] + "+0000"
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": created,
        "date_sent": created if sent else None,
        "date_updated": created,
        "direction": "inbound" if message.inbound else "outbound-api",
        "error_code": failed,
        "error_message": FAILURES.get(failed) if failed else None,
        "from": message.sender,
        "messaging_service_sid": None,
        "num_media": str(len(message.media)),
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "sid": message.sid,
        "status": status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.to,
        "uri": f"{uri}.json",
    }


_RESOURCE = json.dumps(as_resource(Message("%(sid)s", "%(to)s", WHATSAPP_FROM, "%(body)s", 0.0, media=("m",)), 0.0))
_RESOURCE = _RESOURCE.replace('"%(body)s"', "%(body)s").replace('"num_media": "1"', '"num_media": "%(media)d"')
_RESOURCE = _RESOURCE.replace(formatdate(0.0)[:-5] + "+0000", "%(created)s")
_quoted = json.JSONEncoder().encode


def _created(message: Message) -> bytes:
    """The answer to a send: `as_resource` in JSON, made from a form because thousands a second are made."""
    values = {
        "sid": message.sid,
        "to": message.to,
        "body": _quoted(message.body),
        "media": len(message.media),
        "created": _rfc_2822(int(message.at)),
    }
    return (_RESOURCE % values).encode()


@lru_cache(maxsize=4)
def _rfc_2822(second: int) -> str:
    return formatdate(second)[:-5] + "+0000"


class Twilio:
    """The simulator of one Twilio account with one WhatsApp sender."""

    name = "twilio"

    def __init__(self, disk: Disk, screen: Screen, hooks: Hooks, base_url: str) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._screen, self._hooks, self._base_url = screen, hooks, base_url
        self._basic = "Basic " + base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
        self._kept = KeptFiles(lambda: "ME" + os.urandom(16).hex())
        self._messages: dict[str, Message] = {}
        self._by_to: dict[str, deque[str]] = {}
        self._due: list[tuple[float, int, Message, int, int]] = []
        self._due_count = 0
        self._due_changed = asyncio.Event()
        self._posts: asyncio.Queue[tuple[Message, int, int]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._kick = asyncio.Event()
        self._last_inbound: dict[str, float] = {}
        self._contents = Contents(self.journal, base_url)
        self._contents.reset()
        self.heal()
        self._read_back()

    def _read_back(self) -> None:
        for row in self.journal.rows():
            if str(row.get("kind", "")).startswith("content"):
                self._contents.read_back(row)
            elif row.get("kind") == "send":
                at = datetime.fromisoformat(row["at"]).timestamp()
                media = tuple(row.get("media") or ())
                self._keep(
                    Message(
                        row["sid"],
                        row["to"],
                        row["from"],
                        row["body"],
                        at,
                        row.get("error_code"),
                        row.get("callback"),
                        media,
                    )
                )
        for shown in self._screen.messages("whatsapp"):
            if shown["from"] == "me":
                at = datetime.fromisoformat(shown["at"]).timestamp()
                self._keep(self._inbound(shown, at))
                self._last_inbound["whatsapp:" + shown["person"]] = at

    def start(self) -> None:
        """Start callbacks, and go on delivering what people wrote before the last stop."""
        self._spawn(self._clock())
        for _ in range(CALLBACK_WORKERS):
            self._spawn(self._caller())
        oldest = time.time() - CALLBACK_REPLAY_S
        for message in list(self._messages.values()):
            if message.callback and message.at > oldest:
                self._follow_up(message, 1)
        for shown in self._screen.messages("whatsapp"):
            if shown["from"] == "me" and shown["status"] == "sent":
                self._deliver_soon(shown["person"])

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Stop all work; what is undone is done after the next start."""
        tasks = [*self._tasks, *self._deliveries.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The account's messages.

    def _keep(self, message: Message) -> None:
        self._messages[message.sid] = message
        self._by_to.setdefault(message.to, deque()).append(message.sid)
        if len(self._messages) > ROWS_MAX:
            oldest = self._messages.pop(next(iter(self._messages)))
            sids = self._by_to[oldest.to]
            sids.popleft()
            if not sids:
                del self._by_to[oldest.to]

    def too_many(self, retry_after_s: int) -> Answer:
        """Twilio's 429."""
        answer = refuse(20429)
        answer.headers = {"Retry-After": str(retry_after_s), "Twilio-Concurrent-Requests": "100"}
        return answer

    def broken(self) -> Answer:
        """Twilio's 500."""
        return refuse(20500)

    def heal(self) -> None:
        """Open all windows again, and let WhatsApp review templates quickly."""
        self._contents.review_s = REVIEW_S
        self._strict = False
        self._closed: set[str] = set()
        self._offset_s = 0.0

    def reset(self) -> None:
        """Forget all messages, people and templates."""
        self.heal()
        self._contents.reset()
        self._messages.clear()
        self._by_to.clear()
        self._last_inbound.clear()
        self._due.clear()
        for task in self._deliveries.values():
            task.cancel()
        self._deliveries.clear()

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        path = call.path
        if path == "/_window":
            return self._window(call)
        if path == "/_templates":
            return self._templates(call)
        if path == "/_media":
            return answer_json(self._kept.keep(controls(call)))
        if found := CDN_PATH.fullmatch(path):
            # A CDN's signed address takes no second kind of authorization.
            if "Authorization" in call.headers:
                return refuse(20001, "Authorization")
            media_type, data = self._kept.get(found[1]) or (PICTURE_TYPE, picture())
            return Answer(200, data, media_type)
        found = MESSAGE_PATH.fullmatch(path)
        media = None if found else MEDIA_PATH.fullmatch(path)
        is_content = path.startswith("/v1/Content")
        if found is None and media is None and not is_content:
            return refuse(20404, path)
        if not hmac.compare_digest(call.headers.get("Authorization", "").encode(), self._basic.encode()):
            answer = refuse(20003)
            answer.headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'}
            return answer
        if is_content:
            return self._contents.answer(call)
        if media is not None:
            return self._media(call, *media.groups())
        assert found is not None  # noqa: S101  one of the two matched
        account, sid, medias, _ = found.groups()
        if account != ACCOUNT_SID:
            return refuse(20404, path)
        if sid is None:
            return await self._send(call) if call.method == "POST" else self._list(call)
        message = self._messages.get(sid)
        if message is None:
            return refuse(20404, path)
        if medias:
            return self._media_list(message)
        if call.method == "GET":
            return answer_json(as_resource(message, time.time()))
        if call.method == "DELETE":
            del self._messages[sid]
            self._by_to[message.to].remove(sid)
            self.journal.append({"kind": "delete", "sid": sid, "fault": call.fault})
            return Answer(204, b"")
        return refuse(20405)

    async def _send(self, call: Call) -> Answer:
        params: list[tuple[str, str]] = []
        if call.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            try:
                text = call.body.decode("utf-8")
                params = _fields(text)
            except ValueError:
                return refuse(20001, "the form cannot be read")
        # Anything that is not a form has no fields, as far as this API can see: "To" is missing.
        fields = dict(params)
        media = tuple(value for name, value in params if name == "MediaUrl" and value)
        problem = self._problem(fields, media)
        if problem is not None:
            return problem
        to, content = fields["To"], fields.get("ContentSid")
        body = fields.get("Body", "")
        if content:
            variables = json.loads(fields.get("ContentVariables") or "{}")
            template = self._contents.by_sid[content]
            body, media = self._contents.filled(template, variables), ()
        error = None
        if fated := FATED.fullmatch(to):
            error = int(fated[1])
        elif content:
            error = self._contents.failure(template, variables, in_window=self._in_window(to))
        elif not self._in_window(to):
            error = 63016
        files: list[JsonObject] = []
        if media and error is None and self._hooks.target(media[0]) is not None:
            error, files = await self._fetched(media[0])
        callback = fields.get("StatusCallback") or None
        sid = ("MM" if media else "SM") + os.urandom(16).hex()
        message = Message(sid, to, WHATSAPP_FROM, body, time.time(), error, callback, media)
        row: JsonObject = {"kind": "send", "sid": sid, "to": to, "from": WHATSAPP_FROM, "body": body}
        for name, value in (
            ("media", list(media)),
            ("files", files),
            ("content_sid", content),
            ("callback", callback),
            ("error_code", error),
        ):
            if value:
                row[name] = value
        if action := fields.get("PersistentAction"):
            row["persistent_action"] = action
        if call.fault:
            row["fault"] = call.fault
        self.journal.append(row)
        self._keep(message)
        self._show(message, files)
        if call.webhooks.copies and callback:
            if call.webhooks.before_response:
                for step in range(len(DEATH if error else LIFE)):
                    await self._call_back(message, step)
            else:
                self._follow_up(message, call.webhooks.copies)
        return Answer(201, _created(message))

    async def _fetched(self, url: str) -> tuple[int | None, list[JsonObject]]:
        """Fetch a file from the application as WhatsApp would be given it: why that fails, or what it is."""
        try:
            reply = await self._hooks.fetch(url, MEDIA_BYTES_MAX + 1)
        except Unreachable:
            return 63019, []
        media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if reply.status != 200:
            return 63019, []
        if media_type not in MEDIA_TYPES:
            return 12300, []
        if len(reply.body) > (PICTURE_BYTES_MAX if media_type.startswith("image/") else MEDIA_BYTES_MAX):
            return 11751, []
        said = DISPOSITION.search(reply.headers.get("Content-Disposition", ""))
        file = Upload(unquote(said[1]) if said else "", media_type, reply.body)
        return None, [file.told() | {"id": self._kept.put(media_type, reply.body)}]

    def _problem(self, fields: dict[str, str], media: tuple[str, ...]) -> Answer | None:
        """The first thing that is wrong with a send, if any."""
        to, sender = fields.get("To"), fields.get("From")
        if not to:
            return refuse(21604)
        unknown = fields.keys() - SEND_FIELDS
        if unknown:
            return refuse(20001, ", ".join(sorted(unknown))[:200])
        if not ADDRESS.fullmatch(to):
            return refuse(21211, to[:100])
        if not sender:
            return refuse(21701 if fields.get("MessagingServiceSid") else 21603)
        if sender != WHATSAPP_FROM:
            return refuse(63007) if ADDRESS.fullmatch(sender) else refuse(21212, sender[:100])
        if to in REFUSED:
            return refuse(REFUSED[to], to)
        if content := fields.get("ContentSid"):
            if not CONTENT_SID.fullmatch(content) or content not in self._contents.by_sid:
                return refuse(21655, content[:100])
            if not _are_variables(fields.get("ContentVariables") or "{}"):
                return refuse(21656)
        elif not fields.get("Body") and not media:
            return refuse(21602)
        if len(fields.get("Body", "")) > BODY_CHARS_MAX:
            return refuse(21617)
        if len(media) > 1:
            return refuse(21623)
        if any(not _is_web_address(url) for url in media):
            return refuse(21620)
        callback = fields.get("StatusCallback")
        if callback and not _is_callback(callback):
            return refuse(21609, callback[:200])
        if (
            not fields.get("ValidityPeriod", "1").isdecimal()
            or not 1 <= int(fields.get("ValidityPeriod", "1")[:9]) <= 36_000
        ):
            return refuse(20001, "ValidityPeriod")
        action = fields.get("PersistentAction")
        if action and not GEO.fullmatch(action):
            return refuse(20001, "PersistentAction")
        return None

    def _list(self, call: Call) -> Answer:
        if call.method != "GET":
            return refuse(20405)
        query = call.query
        try:
            size = int(query.get("PageSize") or PAGE_SIZE)
            page = int(query.get("Page") or 0)
            since = _moment(query.get("DateSent>"), end=False)
            until = _moment(query.get("DateSent<"), end=True)
            if day := query.get("DateSent"):
                since, until = _moment(day, end=False), _moment(day, end=True)
        except ValueError:
            return refuse(20001, "PageSize, Page or DateSent")
        if not 1 <= size <= PAGE_SIZE_MAX or page < 0:
            return refuse(20001, "PageSize")
        to, sender, after = query.get("To"), query.get("From"), (query.get("PageToken") or "")[2:]
        now = time.time()
        shown: list[JsonObject] = []
        last, more, skipping = "", False, bool(after)
        for sid in reversed(self._by_to.get(to, ()) if to else self._messages):
            if skipping:
                skipping = sid != after
                continue
            message = self._messages[sid]
            if (sender and message.sender != sender) or not since <= message.at <= until:
                continue
            if len(shown) == size:
                more = True
                break
            shown.append(as_resource(message, now))
            last = sid
        base = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        asked = [(name, query[name]) for name in ("To", "From", "DateSent", "DateSent<", "DateSent>") if name in query]

        def at(number: int, token: str = "") -> str:
            extra: list[tuple[str, str]] = [("PageSize", str(size)), ("Page", str(number))]
            return f"{base}?{urlencode([*asked, *extra, *([('PageToken', 'PA' + token)] if token else [])])}"

        start = page * size
        return answer_json(
            {
                "first_page_uri": at(0),
                "next_page_uri": at(page + 1, last) if more else None,
                "previous_page_uri": at(page - 1) if page else None,
                "page": page,
                "page_size": size,
                "start": start,
                "end": start + max(0, len(shown) - 1),
                "uri": at(page, after),
                "messages": shown,
            }
        )

    def _media(self, call: Call, account: str, sid: str, media: str) -> Answer:
        message = self._messages.get(sid)
        known = self._kept.get(media) is not None or (message is not None and media in message.media)
        if account != ACCOUNT_SID or not known or call.method != "GET":
            return refuse(20404, call.path)
        # Another host, as in production: whoever follows must leave the account's password behind.
        host = urlsplit(self._base_url)
        return Answer(307, b"", headers={"Location": f"http://localhost:{host.port}{host.path}/_cdn/{media}"})

    def _media_list(self, message: Message) -> Answer:
        created = formatdate(message.at)[:-5] + "+0000"
        base = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{message.sid}/Media"
        items = [
            {
                "sid": media,
                "account_sid": ACCOUNT_SID,
                "parent_sid": message.sid,
                "content_type": PICTURE_TYPE,
                "date_created": created,
                "date_updated": created,
                "uri": f"{base}/{media}.json",
            }
            for media in message.media
            if media.startswith("ME")
        ]
        first = f"{base}.json?PageSize={PAGE_SIZE}&Page=0"
        return answer_json(
            {
                "first_page_uri": first,
                "next_page_uri": None,
                "previous_page_uri": None,
                "page": 0,
                "page_size": PAGE_SIZE,
                "start": 0,
                "end": max(0, len(items) - 1),
                "uri": first,
                "media_list": items,
            }
        )

    # The 24-hour window.

    def _in_window(self, to: str) -> bool:
        if to in self._closed:
            return False
        last = self._last_inbound.get(to)
        if last is None:
            return not self._strict
        return time.time() + self._offset_s - last < WINDOW.total_seconds()

    def _window(self, call: Call) -> Answer:
        if call.method != "POST":
            return refuse(20405)
        try:
            asked = controls(call)
            to, offset = asked.get("to"), asked.get("offset_s", self._offset_s)
            if isinstance(offset, bool) or not isinstance(offset, int | float):
                raise ValueError("offset_s must be a number of seconds.")
            if to is not None and not (
                isinstance(to, str) and ADDRESS.fullmatch("whatsapp:" + to.removeprefix("whatsapp:"))
            ):
                raise ValueError("to must be a number such as +254712345678.")
        except ValueError as error:
            return answer_json({"error": str(error)}, 400)
        self._strict = bool(asked.get("strict", self._strict))
        self._offset_s = float(offset)
        if to:
            address = "whatsapp:" + to.removeprefix("whatsapp:")
            (self._closed.discard if asked.get("open", True) else self._closed.add)(address)
        return answer_json({"strict": self._strict, "closed": sorted(self._closed), "offset_s": self._offset_s})

    def _templates(self, call: Call) -> Answer:
        if call.method != "POST":
            return refuse(20405)
        try:
            return answer_json(self._contents.decide(controls(call)))
        except ValueError as error:
            return answer_json({"error": str(error)}, 400)

    # Status callbacks.

    def _follow_up(self, message: Message, copies: int) -> None:
        if len(self._due) + self._posts.qsize() >= CALLBACKS_MAX:
            return
        self._step_later(message, 0, copies)

    def _step_later(self, message: Message, step: int, copies: int) -> None:
        life = DEATH if message.error else LIFE
        if step < len(life):
            self._due_count += 1
            heapq.heappush(self._due, (message.at + life[step][1], self._due_count, message, step, copies))
            if self._due[0][2] is message:
                self._due_changed.set()

    async def _clock(self) -> None:
        """Hand over each callback when its time has come."""
        while True:
            self._due_changed.clear()
            now = time.time()
            while self._due and self._due[0][0] <= now:
                _, _, message, step, copies = heapq.heappop(self._due)
                self._posts.put_nowait((message, step, copies))
            try:
                await asyncio.wait_for(self._due_changed.wait(), self._due[0][0] - now if self._due else None)
            except TimeoutError:
                continue

    async def _caller(self) -> None:
        while True:
            message, step, copies = await self._posts.get()
            for _ in range(copies):
                await self._call_back(message, step)
            self._step_later(message, step + 1, copies)

    async def _call_back(self, message: Message, step: int) -> None:
        status = (DEATH if message.error else LIFE)[step][0]
        url = message.callback or ""
        params = _status_params(message, status)
        headers = self._headers(sign(url, params, AUTH_TOKEN))
        body = urlencode(params).encode()
        for _ in range(2):  # One retry, and only when nobody took the connection or it broke.
            try:
                await self._hooks.post(url, body, headers)
            except Unreachable:
                continue
            return

    @staticmethod
    def _headers(signature: str, token: str = "") -> dict[str, str]:
        return {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature,
            "X-Home-Region": "us1",
            "I-Twilio-Idempotency-Token": token or str(uuid.uuid4()),
        }

    # The phone.

    def file(self, number: str) -> tuple[str, bytes] | None:
        """A file that was sent here, for the phone: its type and bytes."""
        return self._kept.get(number)

    def _show(self, message: Message, files: Sequence[JsonObject] = ()) -> None:
        person = message.to.removeprefix("whatsapp:")
        if not self._screen.knows("whatsapp", person):
            return
        shown: JsonObject = {"id": message.sid, "from": "bot", "text": message.body, "status": "received"}
        if message.error:
            shown |= {
                "status": "failed",
                "note": f"Not delivered: {FAILURES.get(message.error, 'refused')} ({message.error})",
            }
        if message.media:
            shown["media"] = message.media[0]
        for file in files:
            shown |= {
                "media": f"/sandbox/files/{file['id']}",
                "media_type": file["type"],
                "name": file["name"],
            }
        self._screen.add("whatsapp", person, shown)

    def write(self, person: str, message: JsonObject) -> JsonObject:
        """A person writes: text, location {latitude, longitude, label}, picture true, or voice with what it says.

        Delivered until accepted.
        """
        spoken = message.get("voice")
        media = bool(message.get("picture") or spoken)
        shown: JsonObject = {
            "id": ("MM" if media else "SM") + os.urandom(16).hex(),
            "from": "me",
            "text": message.get("text") or "",
            "status": "sent",
            "name": self._screen.people["whatsapp", person],
            "token": str(uuid.uuid4()),
        }
        if spoken:
            shown["media_sid"] = self._kept.put(VOICE_TYPE, voice_note(spoken))
        elif media:
            shown["media_sid"] = "ME" + os.urandom(16).hex()
            shown["media"] = "/sandbox/picture.png"
        shown |= {name: message[name] for name in ("location", "voice", "reply_to", "cid") if message.get(name)}
        self._screen.add("whatsapp", person, shown)
        now = time.time()
        self._keep(self._inbound({**shown, "person": person}, now))
        self._last_inbound["whatsapp:" + person] = now
        self._closed.discard("whatsapp:" + person)
        self._kick.set()
        self._deliver_soon(person)
        return shown

    def _inbound(self, shown: JsonObject, at: float) -> Message:
        media = (shown["media_sid"],) if shown.get("media_sid") else ()
        return Message(
            shown["id"], WHATSAPP_FROM, "whatsapp:" + shown["person"], shown["text"], at, media=media, inbound=True
        )

    def _deliver_soon(self, person: str) -> None:
        if person not in self._deliveries:
            task = asyncio.get_running_loop().create_task(self._deliver(person))
            self._deliveries[person] = task

    def nudge(self) -> None:
        """The application may be back: try at once what waits."""
        self._kick.set()

    async def _deliver(self, person: str) -> None:
        """Deliver what one person wrote, in order, each until the application takes it."""
        try:
            while True:
                waiting = [
                    m for m in self._screen.messages("whatsapp", person) if m["from"] == "me" and m["status"] == "sent"
                ]
                if not waiting:
                    return
                await self._deliver_one(waiting[0])
        finally:
            if self._deliveries.get(person) is asyncio.current_task():
                del self._deliveries[person]

    async def _deliver_one(self, shown: JsonObject) -> None:
        fault = self.faults.take("POST", "/_inbound", b"")
        copies = (fault.webhooks if fault else Webhooks()).copies
        sid = shown["id"]
        if copies == 0:
            self._screen.status("whatsapp", sid, "failed", "Lost on the way to the app (fault plan).")
            return
        url = self._hooks.signed_url(WEBHOOK_TWILIO)
        params = inbound_params(shown, self._base_url)
        body = urlencode(params).encode()
        for attempt in range(INBOUND_TRIES_MAX):
            headers = self._headers(sign(url, params, AUTH_TOKEN), shown["token"])
            try:
                replies = await asyncio.gather(*(self._hooks.post(url, body, headers) for _ in range(copies)))
                status = replies[0].status
            except Unreachable:
                status = 0
            if 200 <= status < 300:
                self._screen.waiting("whatsapp", "")
                self._screen.status("whatsapp", sid, "delivered")
                return
            if 400 <= status < 500 and status not in (404, 408, 425, 429):
                self._screen.status("whatsapp", sid, "failed", f"The app refused this message (HTTP {status}).")
                return
            reason = f"the app answers {status}" if status else "the app is not reachable"
            self._screen.waiting("whatsapp", reason)
            self._kick.clear()
            try:
                await asyncio.wait_for(self._kick.wait(), INBOUND_BACKOFF_S[min(attempt, len(INBOUND_BACKOFF_S) - 1)])
            except TimeoutError:
                continue
        self._screen.status("whatsapp", sid, "failed", f"Given up after {INBOUND_TRIES_MAX} tries.")


def inbound_params(shown: JsonObject, base_url: str) -> list[tuple[str, str]]:
    """The webhook's form for a message that a person wrote."""
    sid, person, text = shown["id"], shown["person"], shown["text"]
    media = "audio" if shown.get("voice") else "image" if shown.get("media_sid") else None
    kind = media or ("location" if shown.get("location") else "text")
    context: JsonObject = {"ProfileName": shown["name"]}
    params = [
        ("SmsMessageSid", sid),
        ("SmsSid", sid),
        ("MessageSid", sid),
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
        ("From", f"whatsapp:{person}"),
        ("To", WHATSAPP_FROM),
        ("ProfileName", shown["name"]),
        ("SmsStatus", "received"),
        ("NumMedia", "1" if media else "0"),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("MessageType", kind),
        ("Body", text),
    ]
    if person.startswith("+"):
        params.append(("WaId", person[1:]))
        context["WaId"] = person[1:]
    else:
        params.append(("ExternalUserId", f"whatsapp:{person}"))
    if media:
        url = f"{base_url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}/Media/{quote(shown['media_sid'])}"
        media_type = VOICE_TYPE if media == "audio" else PICTURE_TYPE
        params += [("MediaContentType0", media_type), ("MediaUrl0", url)]
    if place := shown.get("location"):
        params += [("Latitude", str(place["latitude"])), ("Longitude", str(place["longitude"]))]
        if place.get("label"):
            params += [("Label", place["label"]), ("Address", place["label"])]
    if shown.get("reply_to"):
        params += [("OriginalRepliedMessageSid", shown["reply_to"]), ("OriginalRepliedMessageSender", WHATSAPP_FROM)]
    params.append(("ChannelMetadata", json.dumps({"type": "whatsapp", "data": {"context": context}})))
    return params


def _status_params(message: Message, status: str) -> list[tuple[str, str]]:
    number = message.to.removeprefix("whatsapp:")
    params = [
        ("ChannelInstallSid", "XE" + "f" * 32),
        ("ChannelPrefix", "whatsapp"),
        ("ChannelToAddress", number[:-4] + "XXXX"),
        ("MessageSid", message.sid),
        ("SmsSid", message.sid),
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
        ("From", message.sender),
        ("To", message.to),
        ("StructuredMessage", "false"),
        ("MessageStatus", status),
        ("SmsStatus", status),
    ]
    if status in ("delivered", "read", "undelivered"):
        params.append(("EventType", status.upper()))
    if status == "delivered":
        params.append(("RawDlrDoneDate", datetime.now(UTC).strftime("%y%m%d%H%M")))
    if status == "undelivered":
        params += [
            ("ErrorCode", str(message.error)),
            ("ChannelStatusMessage", FAILURES.get(message.error or 0, "Failed")),
        ]
    return params


def _fields(text: str) -> list[tuple[str, str]]:
    """The fields of a form, blank ones kept; ValueError when there are too many."""
    pairs = text.split("&") if text else []
    if len(pairs) > FIELDS_MAX:
        raise ValueError("too many fields")
    return [(_unquoted(name), _unquoted(value)) for name, _, value in (pair.partition("=") for pair in pairs)]


def _unquoted(text: str) -> str:
    plain = text.replace("+", " ")
    return unquote(plain) if "%" in plain else plain


def _are_variables(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= 2048
    except ValueError:
        return False


def _is_callback(url: str) -> bool:
    return _is_web_address(url) and "_" not in (urlsplit(url).hostname or "")


def _moment(value: str | None, *, end: bool) -> float:
    """Seconds since 1970 of a date or time in a filter; a date means its first or last moment."""
    if not value:
        return float("inf") if end else float("-inf")
    if len(value) == 10:
        day = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
        return (day + timedelta(days=1, microseconds=-1) if end else day).timestamp()
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
