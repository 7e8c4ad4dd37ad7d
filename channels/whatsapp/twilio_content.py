"""Twilio's Content API: registers our message templates, asks for WhatsApp's approval, and how that stands."""

import asyncio
import re
from typing import Any

import aiohttp
import orjson

from channels.base import Approval
from core.errors import ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from core.settings import Settings
from core.templates import STATES, NewTemplate

TOTAL_TIMEOUT_S = 15.0
PAGE = 50
PAGES_MAX = 20
"""How many pages of an account's contents are looked through for one of ours."""
RETRY_AFTER_S = 2.0
REASON_CHARS_MAX = 300

_SID = re.compile(r"HX[0-9a-fA-F]{32}")


class TwilioContent:
    """The templates of one Twilio account; `account` is the WhatsApp sender they are used by."""

    def __init__(self, settings: Settings, *, timeout_s: float = TOTAL_TIMEOUT_S) -> None:
        self.account = settings.twilio_whatsapp_from
        self._base_url = settings.twilio_content_base_url.rstrip("/")
        self._auth = aiohttp.encode_basic_auth(
            settings.twilio_account_sid, settings.twilio_auth_token.get_secret_value()
        )
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 3)
        self._session: aiohttp.ClientSession | None = None

    async def add(self, template: NewTemplate) -> str:
        """Register it, or find it where it was before: its content SID. Raises ProviderError or ProviderRefused."""
        found = await self._find(template)
        if found is not None:
            return found
        made = await self._call(
            "POST",
            "/v1/Content",
            {
                "friendly_name": template.provider_name,
                "language": template.language,
                "variables": dict(template.variables),
                "types": {"twilio/text": {"body": template.body}},
            },
        )
        return _sid(made)

    async def submit(self, provider_ref: str, template: NewTemplate) -> Approval:
        """Ask for WhatsApp's approval."""
        asked = {"name": template.provider_name, "category": template.category}
        return _approval(await self._call("POST", f"/v1/Content/{provider_ref}/ApprovalRequests/whatsapp", asked))

    async def approval(self, provider_ref: str, _language: str) -> Approval:
        """How it stands now; a content SID is of one language."""
        found = await self._call("GET", f"/v1/Content/{provider_ref}/ApprovalRequests")
        whatsapp = found.get("whatsapp")
        return _approval(whatsapp) if isinstance(whatsapp, dict) else Approval("unsubmitted")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    async def _find(self, template: NewTemplate) -> str | None:
        """Creating is not idempotent, so what an earlier call may have made is looked for first."""
        path = f"/v1/Content?PageSize={PAGE}"
        for _ in range(PAGES_MAX):
            listed = await self._call("GET", path)
            contents, meta = listed.get("contents"), listed.get("meta")
            if not isinstance(contents, list) or not isinstance(meta, dict):
                raise ProviderUnavailable("Twilio's list of templates could not be read.")
            for content in contents:
                if isinstance(content, dict) and (content.get("friendly_name"), content.get("language")) == (
                    template.provider_name,
                    template.language,
                ):
                    return _sid(content)
            following = meta.get("next_page_url")
            if not isinstance(following, str):
                return None
            # Only its question is taken: the host is ours by configuration.
            path = "/v1/Content?" + following.partition("?")[2]
        raise ProviderRefused(f"The Twilio account has more than {PAGE * PAGES_MAX} contents; delete some.")

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; a JSON object. Raises RateLimited, ProviderUnavailable or ProviderRefused."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                method, self._base_url + path, data=orjson.dumps(body) if body is not None else None,
                headers={"Content-Type": "application/json", "Authorization": self._auth}, allow_redirects=False,
            ) as response:  # fmt: skip
                status, raw = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ProviderUnavailable("Twilio's Content API does not answer.") from error
        try:
            answer: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if 200 <= status < 300 and isinstance(answer, dict):
            return answer
        raise _problem(status, answer)


def _problem(status: int, answer: Any) -> ProviderError | ProviderRefused:
    if status == 429:
        return RateLimited("Twilio asks us to slow down.", RETRY_AFTER_S)
    if status == 401:
        return ProviderRefused("Twilio refuses our credentials: check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.")
    if 400 <= status < 500:
        said = answer.get("message") if isinstance(answer, dict) else None
        why = said[:REASON_CHARS_MAX] if isinstance(said, str) else f"status {status}"
        return ProviderRefused(f"Twilio refused the template: {why}")
    return ProviderUnavailable(f"Twilio's Content API answered with status {status}.")


def _sid(content: dict[str, Any]) -> str:
    sid = content.get("sid")
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise ProviderUnavailable("Twilio's answer names no template.")
    return sid


def _approval(said: dict[str, Any]) -> Approval:
    state, reason = said.get("status"), said.get("rejection_reason")
    if state not in STATES:
        raise ProviderUnavailable("Twilio's answer holds no approval state that we know.")
    return Approval(state, reason[:REASON_CHARS_MAX] if isinstance(reason, str) and reason else None)
