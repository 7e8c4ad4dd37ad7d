"""Twilio's Content API: message templates, and WhatsApp's approval of them.

A submitted template is `received`, soon `pending`, and after REVIEW_S `approved`. POST /twilio/_templates
{"review_s": 3600} makes reviews slow; {"sid": "HX…", "state": "rejected", "reason": "…"} decides one; POST /_heal ends
slow reviews.
"""

import json
import os
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.sandbox.accounts import ACCOUNT_SID
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.truth import Journal, JsonObject

REVIEW_S = 1.0
PENDING_AFTER = 0.3
"""The part of a review after which `received` turns to `pending`."""
CONTENTS_MAX = 1_000
BODY_CHARS_MAX = 1_024
PAGE_SIZE_MAX = 100
STATES = ("received", "pending", "approved", "rejected", "paused", "disabled")
CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")
TYPES = frozenset({"twilio/text", "twilio/quick-reply"})

PATH = re.compile(r"/v1/Content(?:/(HX[0-9a-fA-F]{32})(/ApprovalRequests(/whatsapp)?)?)?")
NAME = re.compile(r"[a-z0-9_]{1,512}")
LANGUAGE = re.compile(r"[a-z]{2}(_[A-Z]{2})?")
PLACEHOLDER = re.compile(r"\{\{(\d{1,3})\}\}")


@dataclass(slots=True)
class Content:
    """One template. `state` is what a test decided; else the age of its submission says how it stands."""

    sid: str
    name: str
    language: str
    variables: dict[str, str]
    types: JsonObject
    at: float
    submitted_at: float | None = None
    approval_name: str = ""
    category: str = ""
    state: str | None = None
    reason: str = ""

    @property
    def body(self) -> str:
        """Its text."""
        return str(next(iter(self.types.values()))["body"])

    def standing(self, now: float, review_s: float) -> str:
        """How WhatsApp's review of it stands."""
        if self.state is not None:
            return self.state
        if self.submitted_at is None:
            return "unsubmitted"
        age = now - self.submitted_at
        return "approved" if age >= review_s else "pending" if age >= review_s * PENDING_AFTER else "received"


@dataclass(slots=True)
class Contents:
    """The account's templates; two are there from the start, approved."""

    journal: Journal
    base_url: str
    review_s: float = REVIEW_S
    by_sid: dict[str, Content] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget all but those that are there from the start."""
        self.by_sid.clear()
        for number, body in enumerate(
            ("Hi {{1}}, reminder: {{2}}", "Hi {{1}}, you have a new message from Mathia. Reply to read it."), 1
        ):
            sid, name = "HX" + "0" * 31 + str(number), f"sandbox_{number}"
            variables = {found: "example" for found in PLACEHOLDER.findall(body)}
            types = {"twilio/text": {"body": body}}
            self.by_sid[sid] = Content(sid, name, "en", variables, types, 0.0, 0.0, name, "UTILITY", "approved")

    def read_back(self, row: JsonObject) -> None:
        """Take up one row of the journal after a restart."""
        at, sid = datetime.fromisoformat(row["at"]).timestamp(), row["sid"]
        if row["kind"] == "content":
            self.by_sid[sid] = Content(sid, row["name"], row["language"], row["variables"], row["types"], at)
        elif (content := self.by_sid.get(sid)) is None:
            return
        elif row["kind"] == "content_deleted":
            del self.by_sid[sid]
        elif row["kind"] == "content_submitted":
            content.submitted_at, content.approval_name, content.category = at, row["name"], row["category"]
        elif row["kind"] == "content_decided":
            content.state, content.reason = row["state"], row["reason"]

    def answer(self, call: Call) -> Answer:
        """Serve the API; the caller has checked who it is."""
        found = PATH.fullmatch(call.path)
        if found is None:
            return _refuse(404, 20404, f"The requested resource {call.path} was not found")
        sid, requests, whatsapp = found.groups()
        if sid is None:
            return self._create(call) if call.method == "POST" else self._list(call)
        content = self.by_sid.get(sid)
        if content is None:
            return _refuse(404, 20404, f"The requested resource {call.path} was not found")
        match call.method, requests is not None, whatsapp is not None:
            case "GET", False, _:
                return answer_json(self._resource(content))
            case "DELETE", False, _:
                del self.by_sid[sid]
                self.journal.append({"kind": "content_deleted", "sid": sid})
                return Answer(204, b"")
            case "GET", True, False:
                return answer_json(
                    {
                        "sid": sid,
                        "account_sid": ACCOUNT_SID,
                        "whatsapp": self._approval(content),
                        "url": f"{self.base_url}/v1/Content/{sid}/ApprovalRequests",
                    }
                )
            case "POST", True, True:
                return self._submit(call, content)
            case _:
                return _refuse(405, 20405, "Method not allowed")

    def decide(self, asked: JsonObject) -> JsonObject:
        """A control: how long reviews take, or how one ended. Raises ValueError with a sentence."""
        review_s = asked.get("review_s", self.review_s)
        if isinstance(review_s, bool) or not isinstance(review_s, int | float) or review_s < 0:
            raise ValueError("review_s must be a number of seconds.")
        self.review_s = float(review_s)
        if (sid := asked.get("sid")) is not None:
            content, state = self.by_sid.get(sid) if isinstance(sid, str) else None, asked.get("state")
            if content is None or state not in STATES:
                raise ValueError(f"sid must be a template's, and state one of {', '.join(STATES)}.")
            content.state, content.reason = state, str(asked.get("reason", ""))
            self.journal.append({"kind": "content_decided", "sid": sid, "state": state, "reason": content.reason})
        now = time.time()
        return {one.sid: one.standing(now, self.review_s) for one in self.by_sid.values()}

    def failure(self, content: Content, given: dict[str, str], *, in_window: bool) -> int | None:
        """The code with which WhatsApp refuses this template with these variables, if it does."""
        wanted = set(PLACEHOLDER.findall(content.body))
        if given and set(given) != wanted:
            return 63028
        if in_window:
            return None
        state = content.standing(time.time(), self.review_s)
        return {"approved": None, "paused": 63041, "disabled": 63042, "rejected": 63040}.get(state, 63016)

    def filled(self, content: Content, given: dict[str, str]) -> str:
        """Its text with variables; those not given show the examples."""
        values = {**content.variables, **given}
        return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), content.body)

    def _create(self, call: Call) -> Answer:
        asked = _json(call)
        if asked is None:
            return _refuse(400, 20001, "The request body is not a JSON object")
        name, language = asked.get("friendly_name"), asked.get("language")
        variables, types = asked.get("variables") or {}, asked.get("types")
        if not isinstance(name, str) or not name or not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            return _refuse(400, 20001, "friendly_name or language is missing or invalid")
        if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
            return _refuse(400, 20001, "variables must be strings by number")
        if not isinstance(types, dict) or not types or not types.keys() <= TYPES:
            return _refuse(400, 20001, "types must hold a known content type")
        for content in types.values():
            body = content.get("body") if isinstance(content, dict) else None
            if not isinstance(body, str) or not 0 < len(body) <= BODY_CHARS_MAX:
                return _refuse(400, 20001, "body is missing or longer than 1024 characters")
        if len(self.by_sid) >= CONTENTS_MAX:
            return _refuse(400, 20001, "The account has too many contents")
        made = Content("HX" + os.urandom(16).hex(), name, language, variables, types, time.time())
        self.by_sid[made.sid] = made
        row: JsonObject = {"kind": "content", "sid": made.sid, "name": name, "language": language}
        row |= {"variables": variables, "types": types}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return answer_json(self._resource(made), 201)

    def _list(self, call: Call) -> Answer:
        if call.method != "GET":
            return _refuse(405, 20405, "Method not allowed")
        try:
            size, page = int(call.query.get("PageSize") or 50), int(call.query.get("Page") or 0)
        except ValueError:
            size = page = -1
        if not 1 <= size <= PAGE_SIZE_MAX or page < 0:
            return _refuse(400, 20001, "PageSize or Page is invalid")
        contents = list(self.by_sid.values())
        shown = contents[page * size : (page + 1) * size]

        def at(number: int) -> str:
            return f"{self.base_url}/v1/Content?PageSize={size}&Page={number}"

        meta = {
            "page": page,
            "page_size": size,
            "first_page_url": at(0),
            "previous_page_url": at(page - 1) if page else None,
            "next_page_url": at(page + 1) if (page + 1) * size < len(contents) else None,
            "url": at(page),
            "key": "contents",
        }
        return answer_json({"contents": [self._resource(one) for one in shown], "meta": meta})

    def _submit(self, call: Call, content: Content) -> Answer:
        asked = _json(call) or {}
        name, category = asked.get("name"), asked.get("category")
        if not isinstance(name, str) or not NAME.fullmatch(name) or category not in CATEGORIES:
            return _refuse(400, 20001, "name must be of a-z, 0-9 and _, and category a known one")
        body = content.body.strip()
        if not PLACEHOLDER.sub("", body).strip() or PLACEHOLDER.match(body) or body.endswith("}}"):
            return _refuse(400, 20001, "A template cannot begin or end with a variable")
        if set(PLACEHOLDER.findall(body)) != set(content.variables):
            return _refuse(400, 20001, "Every variable needs a sample")
        if content.submitted_at is not None:
            return _refuse(400, 20001, "The content was submitted before")
        content.submitted_at, content.approval_name, content.category = time.time(), name, category
        self.journal.append({"kind": "content_submitted", "sid": content.sid, "name": name, "category": category})
        return answer_json(self._approval(content), 201)

    def _approval(self, content: Content) -> JsonObject:
        return {
            "type": "whatsapp",
            "name": content.approval_name,
            "category": content.category,
            "content_type": next(iter(content.types)),
            "status": content.standing(time.time(), self.review_s),
            "rejection_reason": content.reason,
            "allow_category_change": True,
        }

    def _resource(self, content: Content) -> JsonObject:
        url = f"{self.base_url}/v1/Content/{content.sid}"
        made = datetime.fromtimestamp(content.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "sid": content.sid,
            "account_sid": ACCOUNT_SID,
            "friendly_name": content.name,
            "language": content.language,
            "variables": content.variables,
            "types": content.types,
            "url": url,
            "date_created": made,
            "date_updated": made,
            "links": {
                "approval_create": f"{url}/ApprovalRequests/whatsapp",
                "approval_fetch": f"{url}/ApprovalRequests",
            },
        }


def _refuse(status: int, code: int, message: str) -> Answer:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return answer_json({"code": code, "message": message, "more_info": more, "status": status}, status)


def _json(call: Call) -> JsonObject | None:
    if not call.headers.get("Content-Type", "").startswith("application/json"):
        return None
    try:
        asked = json.loads(call.body)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None
