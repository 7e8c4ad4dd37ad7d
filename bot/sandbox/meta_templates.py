"""Meta's message templates: made, listed and deleted below the business account, reviewed, and told of by webhook.

A new template is PENDING and after REVIEW_S APPROVED. POST /whatsapp/_templates {"review_s": 3600} makes reviews slow;
{"name": …, "language": …, "state": "PAUSED", "reason": "…"} decides one; POST /_heal ends slow reviews.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from bot.sandbox.accounts import WABA_ID
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.truth import Journal, JsonObject

REVIEW_S = 1.0
TEMPLATES_MAX = 250
BODY_CHARS_MAX = 1_024
PARAMETER_CHARS_MAX = 1_024
LIMIT_MAX = 100
STATES = ("PENDING", "APPROVED", "REJECTED", "PAUSED", "DISABLED", "IN_APPEAL", "DELETED")
CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")
FIELDS = frozenset({"id", "name", "language", "status", "category", "rejected_reason", "components"})
NEW_FIELDS = frozenset({"name", "language", "category", "components", "parameter_format", "allow_category_change"})
FIRST = (
    ("appointment_reminder", "Hello {{1}}, you are expected on {{2}}."),
    ("new_message", "Hello {{1}}, there is a message for you."),
)
"""Approved from the start, in English."""

PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,32})/message_templates")
NAME = re.compile(r"[a-z0-9_]{1,512}")
LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
PLACEHOLDER = re.compile(r"\{\{(\d{1,3})\}\}")
BROKEN_LINE = re.compile(r"[\n\t]| {5}")


class BadTemplate(Exception):
    """Meta does not take it: a code, the details, and the subcode where it has one."""

    def __init__(self, code: int, details: str, subcode: int | None = None) -> None:
        super().__init__(details)
        self.code, self.details, self.subcode = code, details, subcode


@dataclass(slots=True)
class Template:
    """One template in one language. `state` is what a test decided; else its age says how the review stands."""

    number: str
    name: str
    language: str
    category: str
    body: str
    components: list[JsonObject]
    at: float
    state: str | None = None
    reason: str = "NONE"
    told: str = "PENDING"

    @property
    def wanted(self) -> int:
        """How many parameters its body takes."""
        return len(set(PLACEHOLDER.findall(self.body)))

    def standing(self, now: float, review_s: float) -> str:
        """How the review of it stands."""
        return self.state or ("APPROVED" if now - self.at >= review_s else "PENDING")


@dataclass(slots=True)
class Templates:
    """The account's templates. `tell` is given the value of each message_template_status_update."""

    journal: Journal
    tell: Callable[[JsonObject], None]
    review_s: float = REVIEW_S
    known: dict[tuple[str, str], Template] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget all but those that are there from the start."""
        self.review_s = REVIEW_S
        self.known.clear()
        for number, (name, body) in enumerate(FIRST, 1):
            parts: list[JsonObject] = [{"type": "BODY", "text": body}]
            told = "APPROVED"
            self.known[name, "en"] = Template(str(number), name, "en", "UTILITY", body, parts, 0.0, told, told=told)

    def read_back(self, row: JsonObject) -> None:
        """Take up one row of the journal after a restart."""
        key = row["name"], row["language"]
        if row["kind"] == "template":
            at = datetime.fromisoformat(row["at"]).timestamp()
            self.known[key] = Template(row["id"], *key, row["category"], row["body"], row["components"], at)
        elif row["kind"] == "template_deleted":
            self.known.pop(key, None)
        elif (template := self.known.get(key)) is not None:
            template.state, template.reason = row["state"], row["reason"]

    def answer(self, call: Call, account: str) -> Answer:
        """Serve the API; the caller has checked who it is. Raises BadTemplate."""
        if account != WABA_ID:
            raise BadTemplate(100, f"Unsupported request. Object with ID '{account}' does not exist.", 33)
        match call.method:
            case "POST":
                return self._create(call)
            case "GET":
                return self._list(call)
            case "DELETE":
                return self._delete(call)
            case _:
                raise BadTemplate(100, f"Unsupported {call.method.lower()} request.")

    def decide(self, asked: JsonObject) -> JsonObject:
        """A control: how long reviews take, or how one ended. Raises ValueError with a sentence."""
        review_s = asked.get("review_s", self.review_s)
        if isinstance(review_s, bool) or not isinstance(review_s, int | float) or review_s < 0:
            raise ValueError("review_s must be a number of seconds.")
        self.review_s = float(review_s)
        if "name" in asked:
            template = self.known.get((str(asked["name"]), str(asked.get("language", "en"))))
            state = asked.get("state")
            if template is None or state not in STATES:
                raise ValueError(f"name and language must be a template's, and state one of {', '.join(STATES)}.")
            template.state, template.reason = state, str(asked.get("reason", "NONE"))
            row: JsonObject = {"kind": "template_decided", "name": template.name, "language": template.language}
            self.journal.append(row | {"state": state, "reason": template.reason})
        self.announce()
        now = time.time()
        return {f"{one.name}/{one.language}": one.standing(now, self.review_s) for one in self.known.values()}

    def announce(self) -> None:
        """Tell of each whose standing is not what was last told."""
        now = time.time()
        for one in self.known.values():
            standing = one.standing(now, self.review_s)
            if standing != one.told:
                one.told = standing
                self.tell(
                    {
                        "event": standing,
                        "message_template_id": int(one.number),
                        "message_template_name": one.name,
                        "message_template_language": one.language,
                        "message_template_category": one.category,
                        "reason": one.reason,
                    }
                )

    def problem(self, template: JsonObject) -> None:
        """Raise BadTemplate unless a message may be sent by this template with these parameters."""
        name, language = template["name"], str(template["language"].get("code"))
        known = self.known.get((name, language))
        standing = known.standing(time.time(), self.review_s) if known else ""
        if known is None or standing in ("PENDING", "REJECTED", "IN_APPEAL", "DELETED"):
            raise BadTemplate(132001, f"template name ({name}) does not exist in {language}")
        if standing == "PAUSED":
            raise BadTemplate(132015, "Template is paused due to low quality so it cannot be sent.")
        if standing == "DISABLED":
            raise BadTemplate(132016, "Template is permanently disabled so it cannot be sent.")
        given = [value for one in _bodies(template) for value in one.get("parameters") or []]
        if len(given) != known.wanted:
            raise BadTemplate(
                132000,
                f"body: number of localizable_params ({len(given)}) does not match the expected number of params"
                f" ({known.wanted})",
            )
        for value in given:
            text = value.get("text") if isinstance(value, dict) and value.get("type") == "text" else None
            if not isinstance(text, str) or not text.strip() or BROKEN_LINE.search(text):
                raise BadTemplate(132012, "A parameter is a text of one line without runs of blanks.")
            if len(text) > PARAMETER_CHARS_MAX:
                raise BadTemplate(132005, "Translated text too long.")

    def filled(self, template: JsonObject) -> str:
        """What a person reads of it."""
        known = self.known.get((template["name"], str(template["language"].get("code"))))
        given = [str(value.get("text", "")) for one in _bodies(template) for value in one.get("parameters") or []]
        values = {str(number): text for number, text in enumerate(given, 1)}
        return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), known.body) if known else ""

    def _create(self, call: Call) -> Answer:
        asked = _json(call)
        name, language, category = asked.get("name"), asked.get("language"), asked.get("category")
        if unknown := asked.keys() - NEW_FIELDS:
            raise BadTemplate(100, f'Unexpected key "{sorted(unknown)[0][:60]}"')
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadTemplate(100, "name is of small letters, digits and underscores.", 2388299)
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language) or category not in CATEGORIES:
            raise BadTemplate(100, "language or category is not one that Meta knows.")
        if asked.get("parameter_format", "POSITIONAL") != "POSITIONAL":
            raise BadTemplate(100, "Only POSITIONAL parameters are simulated.")
        components = asked.get("components")
        if not isinstance(components, list) or not all(isinstance(one, dict) for one in components):
            raise BadTemplate(100, "components is a list of objects.")
        bodies = [one for one in components if str(one.get("type")).upper() == "BODY"]
        body = bodies[0].get("text") if len(bodies) == 1 else None
        if not isinstance(body, str) or not 0 < len(body) <= BODY_CHARS_MAX:
            raise BadTemplate(100, f"There is one BODY, with a text of 1 to {BODY_CHARS_MAX} characters.")
        _check_variables(body, bodies[0].get("example"))
        if (name, language) in self.known:
            raise BadTemplate(100, "There is already content in this language for this template.", 2388024)
        if len(self.known) >= TEMPLATES_MAX:
            raise BadTemplate(100, "The account has reached its limit of templates.", 2388039)
        number = str(10**15 + int.from_bytes(os.urandom(6)))
        made = Template(number, name, language, str(category), body, components, time.time())
        self.known[name, language] = made
        row: JsonObject = {"kind": "template", "id": number, "name": name, "language": language, "category": category}
        row |= {"body": body, "components": components}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        standing = made.standing(time.time(), self.review_s)
        made.told = standing
        return answer_json({"id": number, "status": standing, "category": category})

    def _list(self, call: Call) -> Answer:
        asked = call.query.get("fields", "id,name,language,status,category")
        fields = [one for one in asked.split(",") if one]
        if unknown := set(fields) - FIELDS:
            raise BadTemplate(100, f"Tried accessing nonexisting field ({sorted(unknown)[0][:60]})")
        limit, after = call.query.get("limit", "25"), call.query.get("after", "0")
        if not limit.isdecimal() or not 1 <= int(limit) <= LIMIT_MAX or not after.isdecimal():
            raise BadTemplate(100, "limit or after is not one that Meta takes.")
        wanted = call.query.get("name", "")
        # Like Meta's, the filter takes every name that holds the words.
        found = [one for one in self.known.values() if wanted in one.name]
        start, now = int(after), time.time()
        shown = found[start : start + int(limit)]
        page: JsonObject = {"data": [self._resource(one, fields, now) for one in shown]}
        if shown:
            page["paging"] = {"cursors": {"before": str(start), "after": str(start + len(shown))}}
            if start + len(shown) < len(found):
                page["paging"]["next"] = "https://graph.facebook.com/next"
        return answer_json(page)

    def _resource(self, one: Template, fields: list[str], now: float) -> JsonObject:
        whole: JsonObject = {
            "id": one.number,
            "name": one.name,
            "language": one.language,
            "status": one.standing(now, self.review_s),
            "category": one.category,
            "rejected_reason": one.reason,
            "components": one.components,
        }
        return {name: whole[name] for name in dict.fromkeys([*fields, "id"])}

    def _delete(self, call: Call) -> Answer:
        gone = [one for one in self.known.values() if one.name == call.query.get("name")]
        if not gone:
            raise BadTemplate(100, "There is no template of this name.")
        for one in gone:
            del self.known[one.name, one.language]
            self.journal.append({"kind": "template_deleted", "name": one.name, "language": one.language})
        return answer_json({"success": True})


def _check_variables(body: str, example: object) -> None:
    numbers = sorted({int(number) for number in PLACEHOLDER.findall(body)})
    if numbers != list(range(1, len(numbers) + 1)):
        raise BadTemplate(100, "Variables are numbered from {{1}} without a gap.")
    if PLACEHOLDER.match(body.strip()) or body.strip().endswith("}}"):
        raise BadTemplate(100, "A template cannot begin or end with a variable.", 2388299)
    rows = example.get("body_text") if isinstance(example, dict) else None
    samples = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], list) else []
    if len(samples) != len(numbers) or not all(isinstance(one, str) and one for one in samples):
        raise BadTemplate(100, "Every variable needs an example.", 2388043)


def _bodies(template: JsonObject) -> list[JsonObject]:
    components = template.get("components") or []
    return [one for one in components if isinstance(one, dict) and one.get("type") == "body"]


def _json(call: Call) -> JsonObject:
    try:
        asked = json.loads(call.body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise BadTemplate(100, "The body is not a JSON object.")
    return asked
