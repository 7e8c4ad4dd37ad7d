"""Message templates at Meta's Cloud API: registered and asked after below our business account, sent by their name.

Registering a template there is asking for its approval. Meta keeps a template by its name, with a text for each
language, so the name is our reference to it. What a review said comes by webhook as well.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from channels.base import Approval
from core.errors import ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from core.messages import TemplateUse
from core.settings import Settings
from core.templates import NewTemplate

TOTAL_TIMEOUT_S = 15.0
PAGE = 50
PAGES_MAX = 20
"""How many pages of an account's templates are looked through for one of ours."""
RETRY_AFTER_S = 60.0
REASON_CHARS_MAX = 300
FIELD = "message_template_status_update"
"""The webhook field by which Meta tells of reviews."""

STATES = {
    "PENDING": "pending",
    "IN_APPEAL": "pending",
    "APPROVED": "approved",
    "REINSTATED": "approved",
    "FLAGGED": "approved",
    "REJECTED": "rejected",
    "LIMIT_EXCEEDED": "rejected",
    "PAUSED": "paused",
    "DISABLED": "disabled",
    "ARCHIVED": "disabled",
    "PENDING_DELETION": "disabled",
    "DELETED": "disabled",
    "UNARCHIVED": "received",
}
"""Meta's words for how a template stands, in those of core.templates; one that came back is asked after."""

REASONS = {
    "ABUSIVE_CONTENT": "Meta finds its content abusive.",
    "CATEGORY_NOT_AVAILABLE": "This category is not open to the account.",
    "INCORRECT_CATEGORY": "Meta finds that it belongs to another category.",
    "INVALID_FORMAT": "Something is wrong with its form.",
    "PROMOTIONAL": "Meta finds that it advertises.",
    "SCAM": "Meta takes it for a scam.",
    "TAG_CONTENT_MISMATCH": "Its content does not fit its category or language.",
}
GONE = "Meta has no such template any more."
SLOW_DOWN_CODES = frozenset({4, 17, 80007, 80008, 130429})
CREDENTIALS_CODES = frozenset({0, 102, 190})
PERMISSION_CODES = frozenset({3, 10, *range(200, 300)})
INVALID_CODE, NO_SUCH_OBJECT = 100, 33

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TemplateStatus:
    """What Meta says of a template at `at`: its name there, language, a state of core.templates, and why."""

    provider_ref: str
    language: str
    state: str
    reason: str | None
    at: datetime


def content(use: TemplateUse) -> dict[str, Any]:
    """The part of a send that names a template and fills its variables in, in their order."""
    template: dict[str, Any] = {"name": use.provider_ref, "language": {"code": use.language}}
    if use.variables:
        values = [text for _, text in sorted(use.variables.items(), key=lambda pair: int(pair[0]))]
        template["components"] = [{"type": "body", "parameters": [{"type": "text", "text": text} for text in values]}]
    return {"type": "template", "template": template}


def parse_status(value: Json, at: datetime) -> TemplateStatus | None:
    """One webhook of FIELD; None for events that change nothing of ours. Raises ValueError for what has no shape."""
    name, language = value.get("message_template_name"), value.get("message_template_language")
    event = value.get("event")
    if not isinstance(name, str) or not isinstance(language, str) or not isinstance(event, str):
        raise ValueError("the template's name, language or event is missing")
    if "\0" in name + language:
        raise ValueError("a text holds a NUL character")
    state = STATES.get(event)
    return TemplateStatus(name, language, state, _reason(state, value.get("reason")), at) if state else None


def event_time(entry: Json, now: datetime) -> datetime:
    """When Meta says that it happened, never later than `now`."""
    seconds = entry.get("time")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < now.timestamp():
        return now
    return datetime.fromtimestamp(seconds, UTC)


class CloudTemplates:
    """The templates of our WhatsApp business account at Meta; `account` is the sender they are used by."""

    def __init__(self, settings: Settings, *, timeout_s: float = TOTAL_TIMEOUT_S) -> None:
        self.account = settings.meta_phone_number_id
        base_url = settings.meta_base_url.rstrip("/")
        self._url = f"{base_url}/{settings.meta_graph_version}/{settings.meta_waba_id}/message_templates"
        self._headers = {
            "Authorization": f"Bearer {settings.meta_access_token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 3)
        self._session: aiohttp.ClientSession | None = None

    async def add(self, template: NewTemplate) -> str:
        """Register it, which asks for its approval, or find it where it was before; its name at Meta.

        Raises ProviderError or ProviderRefused.
        """
        if await self._find(template.provider_name, template.language) is None:
            body: dict[str, Any] = {"type": "BODY", "text": template.body}
            if template.variables:
                examples = [text for _, text in sorted(template.variables.items(), key=lambda pair: int(pair[0]))]
                body["example"] = {"body_text": [examples]}
            made = await self._call(
                "POST",
                "",
                {
                    "name": template.provider_name,
                    "language": template.language,
                    "category": template.category,
                    "components": [body],
                },
            )
            if "id" not in made:
                raise ProviderUnavailable("Meta's answer names no template.")
        return template.provider_name

    async def submit(self, provider_ref: str, template: NewTemplate) -> Approval:
        """How it stands: what is registered at Meta is submitted."""
        return await self.approval(provider_ref, template.language)

    async def approval(self, provider_ref: str, language: str) -> Approval:
        """How it stands now. Raises ProviderError or ProviderRefused."""
        found = await self._find(provider_ref, language)
        if found is None:
            return Approval("disabled", GONE)
        state = STATES.get(str(found.get("status")))
        if state is None:
            raise ProviderUnavailable("Meta's answer holds no approval state that we know.")
        return Approval(state, _reason(state, found.get("rejected_reason")))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    async def _find(self, name: str, language: str) -> Json | None:
        """The account's template of this name in this language; Meta's filter also takes longer names."""
        asked = {"name": name, "fields": "name,language,status,rejected_reason", "limit": str(PAGE)}
        for _ in range(PAGES_MAX):
            listed = await self._call("GET", "?" + urlencode(asked))
            data, paging = listed.get("data"), listed.get("paging")
            if not isinstance(data, list):
                raise ProviderUnavailable("Meta's list of templates could not be read.")
            for one in data:
                if isinstance(one, dict) and (one.get("name"), one.get("language")) == (name, language):
                    return one
            cursors = paging.get("cursors") if isinstance(paging, dict) else None
            after = cursors.get("after") if isinstance(cursors, dict) else None
            if not isinstance(paging, dict) or "next" not in paging or not isinstance(after, str):
                return None
            # Only where to go on is taken: the address is ours by configuration.
            asked["after"] = after
        raise ProviderRefused(f"The account at Meta has more than {PAGE * PAGES_MAX} templates; delete some.")

    async def _call(self, method: str, rest: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; a JSON object. Raises RateLimited, ProviderUnavailable or ProviderRefused."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                method, self._url + rest, data=orjson.dumps(body) if body is not None else None,
                headers=self._headers, allow_redirects=False,
            ) as response:  # fmt: skip
                status, raw = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ProviderUnavailable("Meta's template API does not answer.") from error
        try:
            answer: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if 200 <= status < 300 and isinstance(answer, dict):
            return answer
        raise _problem(status, answer)


def _problem(status: int, answer: Any) -> ProviderError | ProviderRefused:
    error = answer.get("error") if isinstance(answer, dict) else None
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    if status == 429 or code in SLOW_DOWN_CODES:
        return RateLimited("Meta asks us to slow down.", RETRY_AFTER_S)
    if status == 401 or code in CREDENTIALS_CODES:
        return ProviderRefused("Meta refuses our credentials: check META_ACCESS_TOKEN.")
    if status == 403 or code in PERMISSION_CODES:
        return ProviderRefused(
            "Meta does not let this token manage templates: it needs whatsapp_business_management for the account."
        )
    if code == INVALID_CODE and error.get("error_subcode") == NO_SUCH_OBJECT:
        return ProviderRefused("Meta does not know the account, or the token may not use it: check META_WABA_ID.")
    if 400 <= status < 500:
        data = error.get("error_data")
        details = data.get("details") if isinstance(data, dict) else None
        said = next((one for one in (error.get("error_user_msg"), details, error.get("message")) if one), None)
        why = said[:REASON_CHARS_MAX] if isinstance(said, str) else f"status {status}"
        return ProviderRefused(f"Meta refused the template: {why}")
    return ProviderUnavailable(f"Meta's template API answered with status {status}.")


def _reason(state: str | None, said: object) -> str | None:
    """Why it may not be used, in a sentence for staff; None for one that may, or where Meta gives no reason."""
    if state in ("approved", "pending", "received") or not isinstance(said, str) or said in ("", "NONE"):
        return None
    return REASONS.get(said, said.replace("\0", "")[:REASON_CHARS_MAX])
