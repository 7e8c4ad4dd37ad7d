"""Meta's WhatsApp Cloud API: the messages endpoint, error envelopes, signed webhook batches, the 24-hour window.

Besides the API, each a POST of JSON:

/whatsapp/_write      a person writes: {"from": "254712345678", "name": "Ada", "message": {"type": "text", …}} in
                      Meta's own form, or {"from": …, "text": "Hi"}; "user_id" beside or instead of "from"
/whatsapp/_webhooks   {"held": true} collects what there is to tell, {"held": false} sends it as one batch;
                      {"disorder": true} tells statuses backwards: read, delivered, sent
/whatsapp/_window     {"strict": true}, {"to": "254…", "open": false}, {"offset_s": 90000}: as with Twilio
/whatsapp/_templates  how message templates are reviewed: see bot.sandbox.meta_templates
/whatsapp/_verify     {"token": …} asks the application to prove that its webhook is its own

Numbers with a fate: 1500<code>, such as 1500131049, is accepted and then fails with that code; 15005550056 has had too
many messages (131056).
"""

import asyncio
import hashlib
import hmac
import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from bot.sandbox.accounts import ACCESS_TOKEN, APP_SECRET, PHONE_NUMBER_ID, VERIFY_TOKEN, WABA_ID, WEBHOOK_META
from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import Faults, Webhooks
from bot.sandbox.forms import Upload, multipart
from bot.sandbox.hooks import Hooks, Unreachable
from bot.sandbox.kept import KeptFiles
from bot.sandbox.meta_templates import PATH as TEMPLATES_PATH
from bot.sandbox.meta_templates import REVIEW_S, BadTemplate, Templates
from bot.sandbox.truth import Disk, Journal, JsonObject

DISPLAY_NUMBER = "15550783881"
TEXT_CHARS_MAX = 4096
CAPTION_CHARS_MAX = 1024
INTERACTIVE_CHARS_MAX = 1024
LIST_BODY_CHARS_MAX = 4096
BUTTONS_MAX, BUTTON_CHARS_MAX = 3, 20
SECTIONS_MAX, ROWS_MAX, ROW_CHARS_MAX, DESCRIPTION_CHARS_MAX = 10, 10, 24, 72
REPLY_ID_CHARS_MAX = 256
HEADER_CHARS_MAX = 60
REFERENCE_CHARS_MAX = 512
WINDOW_S = 24 * 3600
BATCH_MAX = 1_000
BATCH_S = 0.02
"""What there is to tell within so long goes out as one webhook."""
PENDING_MAX = 20_000
"""Events that wait to be told; what comes on top is dropped."""
REPLAY_S = 60.0
"""Messages this young when the process died get their statuses again; Meta repeats itself too."""
TRIES_MAX = 1_000
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 3.0)
"""Waits between tries; the last one repeats. Meta's seven days, made short."""

LIFE = (("sent", 0.02), ("delivered", 0.08), ("read", 0.5))
"""What becomes of a message, and when, in seconds."""
DEATH = (("failed", 0.08),)

PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,32})/messages")
UPLOAD_PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,32})/media")
MEDIA_PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,32})")
CDN_PATH = re.compile(r"/_cdn/(\d{1,32})")
PHONE = re.compile(r"\+?[1-9]\d{6,14}")
USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
FATED = re.compile(r"1500(13\d{4})")
PAIR_LIMITED = "15005550056"
MEDIA_TYPES = ("image", "audio", "video", "document", "sticker")
CAPTIONED = ("image", "video", "document")
_OFFICE = "application/vnd.openxmlformats-officedocument"
FILE_TYPES: dict[str, dict[str, int]] = {
    "image": dict.fromkeys(("image/jpeg", "image/png"), 5 << 20),
    "audio": dict.fromkeys(("audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg"), 16 << 20),
    "video": dict.fromkeys(("video/mp4", "video/3gpp"), 16 << 20),
    "document": dict.fromkeys(
        ("text/plain", "application/pdf", "application/msword", f"{_OFFICE}.wordprocessingml.document",
         f"{_OFFICE}.spreadsheetml.sheet", f"{_OFFICE}.presentationml.presentation"), 100 << 20,
    ),
    "sticker": {"image/webp": 500 << 10},
}  # fmt: skip
"""What may be uploaded as what, and up to how many bytes."""
SIGNATURES = {
    "image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG", "audio/ogg": b"OggS", "application/pdf": b"%PDF",
    f"{_OFFICE}.wordprocessingml.document": b"PK", f"{_OFFICE}.spreadsheetml.sheet": b"PK",
    f"{_OFFICE}.presentationml.presentation": b"PK",
}  # fmt: skip
"""How files of some types begin; Meta looks."""
SENT_FIELDS = frozenset({
    "messaging_product", "recipient_type", "to", "recipient", "type", "context", "biz_opaque_callback_data", "text",
    *MEDIA_TYPES, "location", "contacts", "reaction", "interactive", "template", "status", "message_id",
    "typing_indicator",
})  # fmt: skip

ERRORS = {
    1: (500, "An unknown error occurred"),
    100: (400, "Invalid parameter"),
    190: (401, "Invalid OAuth access token - Cannot parse access token"),
    130429: (429, "Rate limit hit"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131053: (400, "Media upload error"),
    131056: (400, "(Business Account, Consumer Account) pair rate limit hit"),
    132000: (400, "Number of parameters does not match the expected number of params"),
    132001: (400, "Template name does not exist in the translation"),
    132005: (400, "Translated text too long"),
    132012: (400, "Parameter format does not match format in the created template"),
    132015: (400, "Template is paused"),
    132016: (400, "Template is disabled"),
}
FAILURES = {
    131026: ("Message undeliverable", "Message Undeliverable."),
    131047: (
        "Re-engagement message",
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    ),
    131049: ("This message was not delivered to maintain healthy ecosystem engagement.", "Not delivered."),
}

TEMPLATE_FIELD = "message_template_status_update"

Event = tuple[str, JsonObject, JsonObject | None]
"""What there is to tell: "messages", "statuses" or TEMPLATE_FIELD, the item, and a contact beside each message."""


class Refused(Exception):
    """The call is not one that Meta takes."""

    def __init__(self, code: int, details: str, subcode: int | None = None) -> None:
        super().__init__(details)
        self.code, self.details, self.subcode = code, details, subcode


def refuse(code: int, details: str = "", subcode: int | None = None) -> Answer:
    """Meta's error envelope for this code."""
    status, message = ERRORS[code]
    error: JsonObject = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code}
    if details:
        error["error_data"] = {"messaging_product": "whatsapp", "details": details}
    if subcode is not None:
        error["error_subcode"] = subcode
    return answer_json({"error": {**error, "fbtrace_id": b64encode(os.urandom(12)).decode()}}, status)


def sign(body: bytes, secret: str) -> str:
    """X-Hub-Signature-256 of a webhook with this body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def encode(value: JsonObject) -> bytes:
    """JSON as Meta writes it: ASCII only, and slashes escaped as well."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


class Meta:
    """The simulator of one WhatsApp business account with one phone number."""

    name = "whatsapp"

    def __init__(self, disk: Disk, hooks: Hooks, base_url: str) -> None:
        self._base_url = base_url
        self._kept = KeptFiles(lambda: str(10**15 + int.from_bytes(os.urandom(6))))
        self.journal = Journal(disk, self.name)
        self.faults = Faults()
        self._hooks = hooks
        self._pending: list[Event] = []
        self._changed = asyncio.Event()
        self._templates = Templates(self.journal, lambda value: self._add((TEMPLATE_FIELD, value, None), self._resets))
        self._templates.reset()
        self._kick = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_inbound: dict[str, float] = {}
        self._resets = 0
        self.heal()
        self._young: list[JsonObject] = []
        self._read_back()

    def _read_back(self) -> None:
        untold: dict[str, JsonObject] = {}
        for row in self.journal.rows():
            at = datetime.fromisoformat(row["at"]).timestamp()
            match row.get("kind"):
                case "inbound":
                    self._met(row["contact"], at)
                    untold[row["id"]] = row
                case "told":
                    for told in row["ids"]:
                        untold.pop(told, None)
                case "template" | "template_deleted" | "template_decided":
                    self._templates.read_back(row)
                case "send" if at > time.time() - REPLAY_S:
                    self._young.append(row)
        self._pending = [("messages", row["message"], row["contact"]) for row in untold.values()]

    def start(self) -> None:
        """Start telling the application, first of all what it was not told before the last stop."""
        self._spawn(self._tell())
        for row in self._young:
            self._follow_up(row, Webhooks())
        self._young.clear()
        asyncio.get_running_loop().call_later(self._templates.review_s, self._templates.announce)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Stop all work; what people wrote is told after the next start."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def nudge(self) -> None:
        """The application may be back: try at once what waits."""
        self._kick.set()

    def too_many(self, retry_after_s: int) -> Answer:
        """Meta's throughput limit; it does not say for how long."""
        return refuse(130429, f"Message failed to send because there were too many messages ({retry_after_s}).")

    def broken(self) -> Answer:
        """Meta's 500."""
        return refuse(1)

    def heal(self) -> None:
        """Open all windows, tell everything, in order."""
        self._strict, self._offset_s = False, 0.0
        self._closed: set[str] = set()
        self._held = self._disorder = False
        self._templates.review_s = REVIEW_S
        self._changed.set()

    def reset(self) -> None:
        """Forget people, templates and what was still to tell."""
        self.heal()
        self._templates.reset()
        self._resets += 1
        self._pending.clear()
        self._last_inbound.clear()
        for task in list(self._tasks):
            task.cancel()
        self._spawn(self._tell())

    async def answer(self, call: Call) -> Answer:
        """Serve the API and its controls."""
        control: dict[str, Callable[[JsonObject], JsonObject]] = {
            "/_write": self._write, "/_webhooks": self._arrange, "/_window": self._window, "/_media": self._kept.keep,
            "/_templates": self._templates.decide,
        }  # fmt: skip
        if call.path in control or call.path == "/_verify":
            if call.method != "POST":
                return answer_json({"error": "This takes a POST."}, 405)
            asked = controls(call)
            if call.path == "/_verify":
                return answer_json(await self._verify(asked))
            return answer_json(control[call.path](asked))
        try:
            self._authorize(call)
            if call.method == "GET" and (found := MEDIA_PATH.fullmatch(call.path)):
                return self._media(found[1], call)
            if call.method == "GET" and (found := CDN_PATH.fullmatch(call.path)):
                kept = self._kept.get(found[1])
                return Answer(200, kept[1], kept[0]) if kept else Answer(404, b"")
            if found := TEMPLATES_PATH.fullmatch(call.path):
                return self._template_call(call, found[1])
            if call.method == "POST" and (found := UPLOAD_PATH.fullmatch(call.path)) and found[1] == PHONE_NUMBER_ID:
                return self._upload(call)
            found = PATH.fullmatch(call.path)
            if found is None or found[1] != PHONE_NUMBER_ID or call.method != "POST":
                raise Refused(
                    100,
                    f"Unsupported {call.method.lower()} request. Object with ID '{found[1] if found else call.path}' "
                    "does not exist, cannot be loaded due to missing permissions, or does not support this operation.",
                    33,
                )
            return await self._messages(call)
        except Refused as refusal:
            return refuse(refusal.code, refusal.details, refusal.subcode)
        except BadTemplate as refusal:
            return refuse(refusal.code, refusal.details, refusal.subcode)

    def _template_call(self, call: Call, account: str) -> Answer:
        """Message templates of the business account; a new one is reviewed, and the application told how that ends."""
        answer = self._templates.answer(call, account)
        if call.method == "POST":
            asyncio.get_running_loop().call_later(self._templates.review_s, self._templates.announce)
        return answer

    def _media(self, number: str, call: Call) -> Answer:
        """Where a file lies, for five minutes."""
        kept = self._kept.get(number)
        if kept is None or call.query.get("phone_number_id", PHONE_NUMBER_ID) != PHONE_NUMBER_ID:
            raise Refused(100, f"Unsupported get request. Object with ID '{number}' does not exist.", 33)
        return answer_json(
            {
                "messaging_product": "whatsapp", "url": f"{self._base_url}/_cdn/{number}", "mime_type": kept[0],
                "sha256": hashlib.sha256(kept[1]).hexdigest(), "file_size": str(len(kept[1])), "id": number,
            }
        )  # fmt: skip

    def _upload(self, call: Call) -> Answer:
        """Take a file that is to be sent; its id, good for 30 days."""
        kind = call.headers.get("Content-Type", "")
        try:
            form = multipart(kind, call.body) if kind.startswith("multipart/form-data") else {}
        except ValueError as error:
            raise Refused(100, f"The form cannot be read: {error}.") from None
        if form.get("messaging_product") != "whatsapp":
            raise Refused(100, "The parameter messaging_product is required.")
        file = form.get("file")
        if not isinstance(file, Upload):
            raise Refused(100, "The parameter file is required.")
        limits = {media_type: most for types in FILE_TYPES.values() for media_type, most in types.items()}
        most = limits.get(file.media_type)
        if most is None:
            raise Refused(100, f"Param file must be a file with one of the following types: {', '.join(limits)}.")
        if not 0 < len(file.data) <= most:
            raise Refused(131053, f"A file of {file.media_type} has 1 to {most} bytes.")
        if not file.data.startswith(SIGNATURES.get(file.media_type, b"")):
            raise Refused(131053, f"The file is not {file.media_type}.")
        number = self._kept.put(file.media_type, file.data)
        self.journal.append({"kind": "upload", "id": number, **file.told()})
        return answer_json({"id": number})

    def _check_file(self, asked: JsonObject) -> None:
        """A file that is sent by its id is known, and of a type that is shown so."""
        kind = asked["type"]
        number = asked[kind].get("id") if kind in MEDIA_TYPES else None
        if number is None:
            return
        kept = self._kept.get(str(number))
        if kept is None:
            raise Refused(100, f"Param {kind}['id'] is not a valid whatsapp business account media attachment ID")
        if kept[0] not in FILE_TYPES[kind]:
            raise Refused(131009, f"A file of {kept[0]} is not sent as {kind}.")

    @staticmethod
    def _authorize(call: Call) -> None:
        given = call.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {ACCESS_TOKEN}".encode()):
            raise Refused(190, "")

    # Sending.

    async def _messages(self, call: Call) -> Answer:
        if not call.headers.get("Content-Type", "").startswith("application/json"):
            raise Refused(100, "The body must be JSON.")
        try:
            asked = controls(call)
        except ValueError as error:
            raise Refused(100, str(error)) from None
        if asked.get("messaging_product") != "whatsapp":
            raise Refused(100, "The parameter messaging_product is required.")
        if unknown := asked.keys() - SENT_FIELDS:
            raise Refused(100, f'Unexpected key "{sorted(unknown)[0][:60]}"')
        if asked.get("status") == "read":
            if not isinstance(asked.get("message_id"), str):
                raise Refused(100, "The parameter message_id is required.")
            self.journal.append({"kind": "read", "id": asked["message_id"]})
            return answer_json({"success": True})
        to = recipient(asked)
        check(asked)
        text = shown(asked)
        if asked["type"] == "template":
            self._templates.problem(asked["template"])
            text = self._templates.filled(asked["template"])
        self._check_file(asked)
        if to == PAIR_LIMITED:
            raise Refused(131056, "Message failed to send because there were too many messages to this phone number.")
        fate = None
        if fated := FATED.fullmatch(to):
            fate = int(fated[1])
        elif asked["type"] != "template" and not self._in_window(to):
            fate = 131047
        number = "wamid." + b64encode(os.urandom(30)).decode()
        row: JsonObject = {"kind": "send", "id": number, "to": to, "text": text, "asked": asked}
        if fate:
            row["error_code"] = fate
        if call.fault:
            row["fault"] = call.fault
        self.journal.append(row)
        if call.webhooks.before_response:
            await self._deliver([("statuses", status, None) for status in self._statuses(row)], tries=1)
        elif call.webhooks.copies:
            self._follow_up(row, call.webhooks)
        contact = {"input": asked.get("to") or asked["recipient"], **_whom(to, "wa_id", "user_id")}
        taken: JsonObject = {"id": number}
        if asked["type"] == "template":
            taken["message_status"] = "accepted"
        return answer_json({"messaging_product": "whatsapp", "contacts": [contact], "messages": [taken]})

    def _statuses(self, row: JsonObject) -> list[JsonObject]:
        """All that Meta will say of a message, in the order of its life."""
        made = []
        for name, _ in DEATH if row.get("error_code") else LIFE:
            status: JsonObject = {"id": row["id"], "status": name, "timestamp": str(int(time.time()))}
            status |= _whom(row["to"], "recipient_id", "recipient_user_id")
            if name == "failed":
                code = row["error_code"]
                title, details = FAILURES.get(code, ("Message undeliverable", "Message Undeliverable."))
                href = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
                data = {"details": details}
                status["errors"] = [{"code": code, "title": title, "message": title, "error_data": data, "href": href}]
            else:
                status["pricing"] = {
                    "billable": False,
                    "pricing_model": "PMP",
                    "category": "service",
                    "type": "regular",
                }
            if reference := row["asked"].get("biz_opaque_callback_data"):
                status["biz_opaque_callback_data"] = reference
            made.append(status)
        return made

    def _follow_up(self, row: JsonObject, webhooks: Webhooks) -> None:
        statuses = self._statuses(row)
        if self._disorder:
            statuses.reverse()
        loop = asyncio.get_running_loop()
        for status, (_, after_s) in zip(statuses, DEATH if row.get("error_code") else LIFE, strict=True):
            for _ in range(webhooks.copies):
                loop.call_later(after_s, self._add, ("statuses", status, None), self._resets)

    def _in_window(self, to: str) -> bool:
        if to in self._closed:
            return False
        last = self._last_inbound.get(to)
        return not self._strict if last is None else time.time() + self._offset_s - last < WINDOW_S

    # Controls.

    def _window(self, asked: JsonObject) -> JsonObject:
        to, offset = asked.get("to"), asked.get("offset_s", self._offset_s)
        if isinstance(offset, bool) or not isinstance(offset, int | float):
            raise ValueError("offset_s must be a number of seconds.")
        if to is not None and not (isinstance(to, str) and (PHONE.fullmatch(to) or USER_ID.fullmatch(to))):
            raise ValueError("to must be a number such as 254712345678.")
        self._strict, self._offset_s = bool(asked.get("strict", self._strict)), float(offset)
        if to:
            (self._closed.discard if asked.get("open", True) else self._closed.add)(to.lstrip("+"))
        return {"strict": self._strict, "closed": sorted(self._closed), "offset_s": self._offset_s}

    def _arrange(self, asked: JsonObject) -> JsonObject:
        self._held = bool(asked.get("held", self._held))
        self._disorder = bool(asked.get("disorder", self._disorder))
        self._changed.set()
        return {"held": self._held, "disorder": self._disorder, "pending": len(self._pending)}

    async def _verify(self, asked: JsonObject) -> JsonObject:
        challenge = str(int.from_bytes(os.urandom(4)))
        token = str(asked.get("token", VERIFY_TOKEN))
        query = urlencode({"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": token})
        try:
            reply = await self._hooks.get(f"{self._hooks.signed_url(WEBHOOK_META)}?{query}")
        except Unreachable:
            return {"status": 0, "verified": False}
        return {"status": reply.status, "verified": reply.status == 200 and reply.body == challenge.encode()}

    def _write(self, asked: JsonObject) -> JsonObject:
        phone, user_id = asked.get("from"), asked.get("user_id")
        if not (isinstance(phone, str) and PHONE.fullmatch(phone)) and not (
            isinstance(user_id, str) and USER_ID.fullmatch(user_id)
        ):
            raise ValueError(
                "from must be a number such as 254712345678, or user_id an id such as KE.1410018717833190."
            )
        said = asked.get("message", {"type": "text", "text": {"body": asked.get("text", "")}})
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            raise ValueError(
                'message must be an object in Meta\'s form, such as {"type": "text", "text": {"body": "Hi"}}.'
            )
        number = "wamid." + b64encode(os.urandom(30)).decode()
        who: JsonObject = {}
        contact: JsonObject = {"profile": {"name": str(asked.get("name", "Guest"))}}
        if phone:
            who["from"] = contact["wa_id"] = phone.lstrip("+")
        if user_id:
            who["from_user_id"] = contact["user_id"] = user_id
        message = {**who, "id": number, "timestamp": str(int(time.time())), **said}
        self.journal.append({"kind": "inbound", "id": message["id"], "message": message, "contact": contact})
        self._met(contact, time.time())
        fault = self.faults.take("POST", "/_inbound", b"")
        for _ in range((fault.webhooks if fault else Webhooks()).copies):
            self._add(("messages", message, contact), self._resets)
        return {"id": message["id"]}

    def _met(self, contact: JsonObject, at: float) -> None:
        for who in (contact.get("wa_id"), contact.get("user_id")):
            if who:
                self._last_inbound[who] = at
                self._closed.discard(who)

    # Telling the application.

    def _add(self, event: Event, resets: int) -> None:
        if resets == self._resets and len(self._pending) < PENDING_MAX:
            self._pending.append(event)
            self._changed.set()

    async def _tell(self) -> None:
        """Send what there is to tell, in batches, each until the application takes it."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(BATCH_S)
            self._changed.clear()
            while self._pending and not self._held:
                batch, self._pending = self._pending[:BATCH_MAX], self._pending[BATCH_MAX:]
                self._spawn(self._deliver(batch))

    async def _deliver(self, batch: list[Event], tries: int = TRIES_MAX) -> None:
        body = encode(webhook(batch))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature-256": sign(body, APP_SECRET),
        }
        url = self._hooks.signed_url(WEBHOOK_META)
        for attempt in range(tries):
            try:
                status = (await self._hooks.post(url, body, headers)).status
            except Unreachable:
                status = 0
            if status == 200:
                ids = [item["id"] for field, item, _ in batch if field == "messages"]
                if ids:
                    self.journal.append({"kind": "told", "ids": ids})
                return
            self._kick.clear()
            try:
                await asyncio.wait_for(self._kick.wait(), BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            except TimeoutError:
                continue


def webhook(batch: list[Event]) -> JsonObject:
    """One webhook of several changes: what people wrote, a contact beside it, and what became of messages."""
    metadata = {"display_phone_number": DISPLAY_NUMBER, "phone_number_id": PHONE_NUMBER_ID}
    changes = []
    for field in ("messages", "statuses"):
        told = [event for event in batch if event[0] == field]
        if told:
            value: JsonObject = {"messaging_product": "whatsapp", "metadata": metadata}
            if field == "messages":
                value["contacts"] = [contact for _, _, contact in told]
            changes.append({"value": {**value, field: [item for _, item, _ in told]}, "field": "messages"})
    changes += [{"value": item, "field": field} for field, item, _ in batch if field == TEMPLATE_FIELD]
    entry = {"id": WABA_ID, "time": int(time.time()), "changes": changes}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def _whom(to: str, phone_name: str, id_name: str) -> JsonObject:
    return {id_name: to} if USER_ID.fullmatch(to) else {phone_name: to}


# What Meta takes.


def recipient(asked: JsonObject) -> str:
    """Whom a send goes to: digits, or a user id; the number counts when both are given."""
    to, user_id = asked.get("to"), asked.get("recipient")
    if to is None and user_id is None:
        raise Refused(100, "The parameter to is required.")
    if asked.get("recipient_type", "individual") != "individual":
        raise Refused(131009, "recipient_type must be individual.")
    if to is not None:
        if not isinstance(to, str) or not PHONE.fullmatch(to):
            raise Refused(131009, "Parameter value is not valid: to is not a phone number.")
        return to.lstrip("+")
    if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
        raise Refused(131009, "Parameter value is not valid: recipient is not a user id.")
    return user_id


def check(asked: JsonObject) -> None:
    """Raise Refused unless the message is one that Meta takes."""
    kind = asked.get("type", "text")
    asked["type"] = kind
    if kind not in CHECKS:
        raise Refused(100, "Param type must be one of {" + ", ".join(CHECKS).upper() + "}.")
    reference = asked.get("biz_opaque_callback_data", "")
    if not isinstance(reference, str) or len(reference) > REFERENCE_CHARS_MAX:
        raise Refused(131009, f"biz_opaque_callback_data has at most {REFERENCE_CHARS_MAX} characters.")
    if "context" in asked:
        _text(_part(asked, "context"), "message_id", 512)
    if kind == "contacts":
        if not isinstance(asked.get("contacts"), list) or not asked["contacts"]:
            raise Refused(131008, "Required parameter is missing: contacts.")
        return
    CHECKS[kind](_part(asked, kind))


def shown(asked: JsonObject) -> str:
    """The words of a message, as a person would see them."""
    content = asked.get(asked["type"])
    if not isinstance(content, dict):
        return ""
    if asked["type"] == "interactive":
        return str(content["body"]["text"])
    return str(content.get("body") or content.get("caption") or "")


def _part(whole: JsonObject, name: str) -> JsonObject:
    found = whole.get(name)
    if not isinstance(found, dict):
        raise Refused(131008, f"Required parameter is missing: {name}.")
    return found


def _only(part: JsonObject, *names: str) -> None:
    if unknown := part.keys() - set(names):
        raise Refused(100, f'Unexpected key "{sorted(unknown)[0][:60]}"')


def _text(part: JsonObject, name: str, chars_max: int, chars_min: int = 1) -> None:
    value = part.get(name)
    if value is None:
        raise Refused(131008, f"Required parameter is missing: {name}.")
    if not isinstance(value, str) or not chars_min <= len(value.strip()) or len(value) > chars_max:
        raise Refused(131009, f"Param {name} must be a text of {chars_min} to {chars_max} characters.")


def _check_text(text: JsonObject) -> None:
    _only(text, "body", "preview_url")
    _text(text, "body", TEXT_CHARS_MAX)


def _check_media(kind: str) -> Callable[[JsonObject], None]:
    def check_media(media: JsonObject) -> None:
        _only(media, "id", "link", *(["caption"] if kind in CAPTIONED else []), *(["filename"] * (kind == "document")))
        if ("id" in media) == ("link" in media):
            raise Refused(100, f"{kind} takes either an id or a link.")
        if "id" in media:
            _text(media, "id", 64)
        elif not re.fullmatch(r"https?://[^\s]{1,2000}", str(media["link"])):
            raise Refused(131009, f"{kind}['link'] should be a valid URI.")
        if "caption" in media:
            _text(media, "caption", CAPTION_CHARS_MAX)
        if "filename" in media:
            _text(media, "filename", 240)

    return check_media


def _check_location(place: JsonObject) -> None:
    _only(place, "latitude", "longitude", "name", "address")
    for name, most in (("latitude", 90), ("longitude", 180)):
        try:
            if not abs(float(place.get(name, ""))) <= most:
                raise ValueError
        except (TypeError, ValueError):
            raise Refused(131009, f"{name} is not in degrees.") from None


def _check_reaction(reaction: JsonObject) -> None:
    _only(reaction, "message_id", "emoji")
    _text(reaction, "message_id", 512)
    _text(reaction, "emoji", 16, 0)


def _check_interactive(interactive: JsonObject) -> None:
    _only(interactive, "type", "header", "body", "footer", "action")
    kind, action = interactive.get("type"), _part(interactive, "action")
    _text(_part(interactive, "body"), "text", LIST_BODY_CHARS_MAX if kind == "list" else INTERACTIVE_CHARS_MAX)
    if "footer" in interactive:
        _text(_part(interactive, "footer"), "text", HEADER_CHARS_MAX)
    match kind:
        case "button":
            buttons = action.get("buttons")
            if not isinstance(buttons, list) or not 1 <= len(buttons) <= BUTTONS_MAX:
                raise Refused(131009, f"Invalid buttons count. Min allowed buttons: 1, Max allowed: {BUTTONS_MAX}")
            replies = [_part(button, "reply") if isinstance(button, dict) else {} for button in buttons]
            _check_titles(replies, BUTTON_CHARS_MAX)
            if any(button.get("type") != "reply" for button in buttons):
                raise Refused(131009, "The type of a button is reply.")
        case "list":
            _text(action, "button", BUTTON_CHARS_MAX)
            sections = action.get("sections")
            if not isinstance(sections, list) or not 1 <= len(sections) <= SECTIONS_MAX:
                raise Refused(131009, f"A list has 1 to {SECTIONS_MAX} sections.")
            if len(sections) > 1 and not all(isinstance(one, dict) and one.get("title") for one in sections):
                raise Refused(131009, "Each of several sections has a title.")
            rows = [row for one in sections if isinstance(one, dict) for row in one.get("rows") or []]
            if not 1 <= len(rows) <= ROWS_MAX:
                raise Refused(131009, f"Total row count exceed max allowed count: {ROWS_MAX}")
            _check_titles(rows, ROW_CHARS_MAX)
            for row in rows:
                if "description" in row:
                    _text(row, "description", DESCRIPTION_CHARS_MAX)
        case "cta_url":
            parameters = _part(action, "parameters")
            _text(parameters, "display_text", BUTTON_CHARS_MAX)
            _text(parameters, "url", 2000)
        case _:
            raise Refused(131009, "The type of an interactive message is button, list or cta_url here.")


def _check_titles(replies: list[JsonObject], chars_max: int) -> None:
    for reply in replies:
        if not isinstance(reply, dict):
            raise Refused(131009, "A choice is an object.")
        _text(reply, "id", REPLY_ID_CHARS_MAX)
        _text(reply, "title", chars_max)
    for name in ("id", "title"):
        if len({reply[name] for reply in replies}) < len(replies):
            raise Refused(131009, f"Duplicated {name}: each choice has its own.")


def _check_template(template: JsonObject) -> None:
    """Its form; whether there is such a one, the account's templates know."""
    _only(template, "name", "language", "components")
    _text(template, "name", 512)
    _text(_part(template, "language"), "code", 16)
    components = template.get("components", [])
    if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
        raise Refused(131009, "components is a list of objects.")


CHECKS: dict[str, Callable[[JsonObject], None]] = {
    "text": _check_text,
    **{kind: _check_media(kind) for kind in MEDIA_TYPES},
    "location": _check_location,
    "contacts": _check_text,
    "reaction": _check_reaction,
    "interactive": _check_interactive,
    "template": _check_template,
}
