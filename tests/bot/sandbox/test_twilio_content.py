"""Twilio's Content API: twilio's own client as referee, approval, refusals, and what an unapproved template does."""

import asyncio
from typing import Any

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN
from tests.bot.sandbox.conftest import App, Lab
from tests.bot.sandbox.test_twilio import AMINA, auth, send

CONTENT = "/twilio/v1/Content"
NEW = {
    "friendly_name": "reminder_en_1",
    "language": "en",
    "variables": {"1": "tea"},
    "types": {"twilio/text": {"body": "Hello, remember {{1}} today."}},
}


class Nearby(TwilioHttpClient):  # type: ignore[misc]  # the library has no types
    """Twilio's own client, speaking to the simulator."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=False)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        """The same request at the simulator's address."""
        return super().request(method, url.replace("https://content.twilio.com", f"{self._url}/twilio"), *args, **more)


async def make(lab: Lab, **changes: object) -> httpx.Response:
    return await lab.http.post(CONTENT, json={**NEW, **changes}, auth=auth())


async def test_twilios_client_reads_lists_and_deletes(lab: Lab) -> None:
    client = Client(ACCOUNT_SID, AUTH_TOKEN, http_client=Nearby(lab.url))
    made = (await make(lab)).json()

    def converse() -> None:
        found = client.content.v1.contents(made["sid"]).fetch()
        assert (found.friendly_name, found.language, found.variables) == ("reminder_en_1", "en", {"1": "tea"})
        listed = client.content.v1.contents.list(page_size=1)
        assert [one.sid for one in listed][-1] == made["sid"]
        assert len(listed) == 3
        standing = client.content.v1.contents(made["sid"]).approval_fetch().fetch()
        assert standing.whatsapp["status"] == "unsubmitted"
        assert client.content.v1.contents(made["sid"]).delete()
        with pytest.raises(TwilioRestException) as refused:
            client.content.v1.contents(made["sid"]).fetch()
        assert refused.value.status == 404

    await asyncio.to_thread(converse)
    assert [row["kind"] for row in await lab.truth("twilio")] == ["content", "content_deleted"]


@pytest.mark.parametrize(
    "changes",
    [
        {"friendly_name": ""}, {"language": "English"}, {"types": {}}, {"types": {"sms": {"body": "x"}}},
        {"variables": {"1": 2}}, {"types": {"twilio/text": {"body": "x" * 1_025}}}, {"types": {"twilio/text": {}}},
    ],
)  # fmt: skip
async def test_a_template_that_twilio_would_not_take_is_refused(lab: Lab, changes: dict[str, object]) -> None:
    answer = await make(lab, **changes)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert await lab.truth("twilio") == []


async def test_a_stranger_gets_nothing(lab: Lab) -> None:
    assert (await lab.http.post(CONTENT, json=NEW)).status_code == 401
    assert (await lab.http.post(CONTENT, data={"friendly_name": "x"}, auth=auth())).status_code == 400


@pytest.mark.parametrize("body", ["{{1}} is due now.", "Remember {{1}}", "Remember {{1}} and {{2}} today."])
async def test_what_whatsapp_would_not_review_cannot_be_submitted(lab: Lab, body: str) -> None:
    made = (await make(lab, types={"twilio/text": {"body": body}})).json()
    asked = {"name": "reminder", "category": "UTILITY"}
    path = f"{CONTENT}/{made['sid']}/ApprovalRequests/whatsapp"
    assert (await lab.http.post(path, json=asked, auth=auth())).status_code == 400


async def test_only_an_approved_template_goes_outside_the_window(lab: Lab, app: App) -> None:
    made = (await make(lab)).json()
    await lab.http.post("/twilio/_window", json={"to": AMINA, "open": False})
    path = f"{CONTENT}/{made['sid']}/ApprovalRequests"
    asked = {"name": "reminder_en_1", "category": "UTILITY"}

    async def code(variables: str = '{"1":"tea"}') -> int | None:
        answer = await send(lab, ContentSid=made["sid"], ContentVariables=variables, Body="")
        assert answer.status_code == 201
        row = (await lab.truth("twilio"))[-1]
        assert row["content_sid"] == made["sid"]
        found: int | None = row.get("error_code")
        return found

    assert await code() == 63016
    await lab.http.post("/twilio/_templates", json={"review_s": 3600})
    assert (await lab.http.post(f"{path}/whatsapp", json=asked, auth=auth())).json()["status"] == "received"
    assert (await lab.http.post(f"{path}/whatsapp", json=asked, auth=auth())).status_code == 400
    assert await code() == 63016
    await lab.http.post("/twilio/_templates", json={"review_s": 0})
    assert (await lab.http.get(path, auth=auth())).json()["whatsapp"]["status"] == "approved"
    assert await code() is None
    assert (await lab.truth("twilio"))[-1]["body"] == "Hello, remember tea today."
    assert await code('{"1":"a","2":"b"}') == 63028
    for state, number in (("paused", 63041), ("disabled", 63042), ("rejected", 63040)):
        await lab.http.post("/twilio/_templates", json={"sid": made["sid"], "state": state})
        assert await code() == number
    await lab.http.post("/twilio/_window", json={"to": AMINA, "open": True})
    assert await code() is None


async def test_controls_that_mean_nothing_are_refused(lab: Lab) -> None:
    for asked in ({"review_s": "x"}, {"review_s": -1}, {"sid": "HX"}, {"sid": 3, "state": "approved"}):
        assert (await lab.http.post("/twilio/_templates", json=asked)).status_code == 400
