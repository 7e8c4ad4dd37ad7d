"""Twilio's Content API as we use it: found before it is made again, and each way of failing."""

from typing import Any

import pytest
from pydantic import SecretStr

from channels.base import Approval
from channels.whatsapp.twilio_content import TwilioContent
from core.errors import ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from core.settings import SANDBOX_ACCOUNT_SID, SANDBOX_AUTH_TOKEN, SANDBOX_WHATSAPP_FROM, Settings
from core.templates import OURS
from tests.channels.wire import answer, closed_port, wire
from tests.conftest import Sandbox

SID = "HX" + "a" * 32


def registry(url: str, token: str = SANDBOX_AUTH_TOKEN) -> TwilioContent:
    settings = Settings(
        _env_file=None,
        twilio_account_sid=SANDBOX_ACCOUNT_SID,
        twilio_auth_token=SecretStr(token),
        twilio_whatsapp_from=SANDBOX_WHATSAPP_FROM,
        twilio_content_base_url=url,
    )
    return TwilioContent(settings, timeout_s=5)


async def test_a_template_is_made_once_and_found_afterwards(sandbox: Sandbox) -> None:
    assert sandbox.post("/_reset", "{}") < 300
    content = registry(f"{sandbox.url}/twilio")
    made = [await content.add(template) for template in OURS]
    assert [await content.add(template) for template in OURS] == made
    assert await content.approval(made[0], "en") == Approval("unsubmitted")
    assert (await content.submit(made[0], OURS[0])).state in ("received", "pending", "approved")
    with pytest.raises(ProviderRefused, match="submitted before"):
        await content.submit(made[0], OURS[0])
    await content.close()


async def test_wrong_credentials_are_said(sandbox: Sandbox) -> None:
    content = registry(f"{sandbox.url}/twilio", "wrong")
    with pytest.raises(ProviderRefused, match="TWILIO_AUTH_TOKEN"):
        await content.add(OURS[0])
    await content.close()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, {"code": 20429}, RateLimited),
        (500, {}, ProviderUnavailable),
        (200, {"contents": "x"}, ProviderUnavailable),
        (200, ["x"], ProviderUnavailable),
        (400, {"code": 20001, "message": "No."}, ProviderRefused),
    ],
)
async def test_each_way_of_failing_has_its_error(status: int, body: Any, error: type[Exception]) -> None:
    async with wire(answer(status, body)) as twilio:
        content = registry(twilio.url)
        with pytest.raises(error):
            await content.add(OURS[0])
        await content.close()


async def test_a_state_we_do_not_know_is_not_taken_for_one(sandbox: Sandbox) -> None:
    async with wire(answer(200, {"whatsapp": {"status": "blessed"}})) as twilio:
        content = registry(twilio.url)
        with pytest.raises(ProviderUnavailable, match="no approval state"):
            await content.approval(SID, "en")
        await content.close()


async def test_twilio_out_of_reach_is_a_provider_error() -> None:
    content = registry(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ProviderError):
        await content.approval(SID, "en")
    await content.close()
