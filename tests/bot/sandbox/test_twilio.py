"""Twilio: sends, errors, look-ups, callbacks, inbound webhooks, the 24-hour window; twilio's own client as referee."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from bot.sandbox import accounts
from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, WHATSAPP_FROM
from bot.sandbox.twilio import sign
from core import settings
from tests.bot.sandbox.conftest import App, Lab
from tests.waiting import until

AMINA = "whatsapp:+254712345678"
MESSAGES = f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
FORM = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
TWICE = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]


def test_the_sandbox_accounts_are_those_of_the_settings() -> None:
    assert (ACCOUNT_SID, AUTH_TOKEN) == (settings.SANDBOX_ACCOUNT_SID, settings.SANDBOX_AUTH_TOKEN)
    assert (WHATSAPP_FROM, accounts.BOT_TOKEN) == (settings.SANDBOX_WHATSAPP_FROM, settings.SANDBOX_BOT_TOKEN)


@pytest.mark.parametrize(
    ("url", "params", "signature"),
    [
        ("https://mycompany.com/myapp.php?foo=1&bar=2", FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com/myapp.php?foo=1&bar=2#rc=3", FORM, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com/myapp.php?foo=1&bar=2", TWICE, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        ("https://mycompany.com:443/myapp.php?foo=1&bar=2", FORM, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("http://mycompany.com:80/myapp.php?foo=1&bar=2", FORM, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (
            "https://mycompany.com/myapp.php?foo=1&bar=2"
            "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620",
            [],
            "a9nBmqA0ju/hNViExpshrM61xv4=",
        ),
    ],
    ids=["form", "fragment", "repeated fields", "port 443", "port 80", "body hash"],
)
def test_official_signatures_are_reproduced(url: str, params: list[tuple[str, str]], signature: str) -> None:
    assert sign(url, params, "12345") == signature


class Nearby(TwilioHttpClient):  # type: ignore[misc]  # the library has no types
    """Twilio's own client, speaking to the simulator."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=False)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        """The same request at the simulator's address."""
        return super().request(method, url.replace("https://api.twilio.com", f"{self._url}/twilio"), *args, **more)


def auth() -> httpx.BasicAuth:
    return httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN)


async def send(lab: Lab, **fields: str) -> httpx.Response:
    """Send a message with these fields changed."""
    given = {"To": AMINA, "From": WHATSAPP_FROM, "Body": "Habari ✈️", **fields}
    return await lab.http.post(MESSAGES, data={k: v for k, v in given.items() if v}, auth=auth())


async def test_twilios_client_sends_reads_and_pages(lab: Lab) -> None:
    client = Client(ACCOUNT_SID, AUTH_TOKEN, http_client=Nearby(lab.url))

    def converse() -> None:
        sent = [client.messages.create(to=AMINA, from_=WHATSAPP_FROM, body=f"line {n}") for n in range(5)]
        assert (sent[0].status, sent[0].num_media, sent[0].date_sent) == ("queued", "0", None)
        assert client.messages(sent[0].sid).fetch().body == "line 0"
        since = datetime.now(UTC) - timedelta(minutes=1)
        found = client.messages.list(to=AMINA, date_sent_after=since, page_size=2)
        assert [message.body for message in found] == [f"line {n}" for n in (4, 3, 2, 1, 0)]
        assert client.messages.list(to="whatsapp:+254700000000") == []
        assert client.messages.list(to=AMINA, date_sent_after=datetime.now(UTC) + timedelta(minutes=1)) == []
        client.messages(sent[0].sid).delete()
        with pytest.raises(TwilioRestException) as refused:
            client.messages(sent[0].sid).fetch()
        assert (refused.value.status, refused.value.code) == (404, 20404)

    await asyncio.to_thread(converse)
    rows = await lab.truth("twilio")
    assert [row["body"] for row in rows if row["kind"] == "send"] == [f"line {n}" for n in range(5)]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"To": ""}, 400, 21604),
        ({"To": "+254712345678"}, 400, 21211),
        ({"To": "whatsapp: 254712345678"}, 400, 21211),
        ({"To": "whatsapp:+15005550003"}, 400, 21408),
        ({"To": "whatsapp:+15005550004"}, 400, 21610),
        ({"From": ""}, 400, 21603),
        ({"From": "hello"}, 400, 21212),
        ({"From": "whatsapp:+14155230000"}, 400, 63007),
        ({"Body": ""}, 400, 21602),
        ({"Body": "é" * 1601}, 400, 21617),
        ({"Body": "é" * 1600}, 201, None),
        ({"MediaUrl": "ftp://x"}, 400, 21620),
        ({"StatusCallback": "http://my_host/x"}, 400, 21609),
        ({"ContentSid": "HX" + "9" * 32}, 400, 21655),
        ({"ContentSid": "HX" + "0" * 31 + "1", "ContentVariables": '{"1": 2}'}, 400, 21656),
        ({"ContentSid": "HX" + "0" * 31 + "1", "ContentVariables": '{"1": "Ada", "2": "tea"}', "Body": ""}, 201, None),
        ({"Surprise": "1"}, 400, 20001),
    ],
)
async def test_wrong_sends_are_refused_with_twilios_codes(
    lab: Lab, fields: dict[str, str], status: int, code: int | None
) -> None:
    answer = await send(lab, **fields)
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert len(await lab.truth("twilio")) == (1 if status == 201 else 0)


async def test_a_json_body_a_wrong_password_and_two_pictures_are_refused(lab: Lab) -> None:
    as_json = await lab.http.post(MESSAGES, json={"To": AMINA, "From": WHATSAPP_FROM, "Body": "x"}, auth=auth())
    assert (as_json.status_code, as_json.json()["code"]) == (400, 21604)
    stranger = await lab.http.post(MESSAGES, data={"To": AMINA}, auth=httpx.BasicAuth(ACCOUNT_SID, "wrong"))
    assert (stranger.status_code, stranger.json()["code"]) == (401, 20003)
    media = {"To": AMINA, "From": WHATSAPP_FROM, "MediaUrl": ["https://a.example/1", "https://a.example/2"]}
    twice = await lab.http.post(MESSAGES, data=media, auth=auth())
    assert (twice.status_code, twice.json()["code"]) == (400, 21623)
    assert await lab.truth("twilio") == []


async def test_signed_callbacks_tell_the_message_s_life_in_order(lab: Lab, app: App) -> None:
    url = f"{app.url}/webhooks/twilio/status?x=1"
    sid = (await send(lab, StatusCallback=url)).json()["sid"]
    got = await app.wait_for(4)
    forms = [dict(parse_qsl(one.body.decode(), keep_blank_values=True)) for one in got]
    assert [form["MessageStatus"] for form in forms] == ["queued", "sent", "delivered", "read"]
    assert {form["MessageSid"] for form in forms} == {sid}
    validator = RequestValidator(AUTH_TOKEN)
    for one, form in zip(got, forms, strict=True):
        assert validator.validate(url, form, one.headers["X-Twilio-Signature"])
    shown = await lab.http.get(MESSAGES.replace(".json", f"/{sid}.json"), auth=auth())
    assert shown.json()["status"] == "read"


async def test_a_closed_window_accepts_and_then_fails_with_63016(lab: Lab, app: App) -> None:
    await lab.http.post("/twilio/_window", json={"to": "+254712345678", "open": False})
    answer = await send(lab, StatusCallback=f"{app.url}/status")
    assert (answer.status_code, answer.json()["status"]) == (201, "queued")
    last = dict(parse_qsl((await app.wait_for(2))[-1].body.decode()))
    assert (last["MessageStatus"], last["ErrorCode"], last["EventType"]) == ("undelivered", "63016", "UNDELIVERED")
    template = await send(lab, ContentSid="HX" + "0" * 31 + "1", ContentVariables='{"1":"A","2":"b"}', Body="")
    await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "text": "I am back"})
    inside = await send(lab)
    rows = {row["sid"]: row.get("error_code") for row in await lab.truth("twilio")}
    assert rows[template.json()["sid"]] is None
    assert rows[inside.json()["sid"]] is None


async def test_the_window_closes_24_hours_after_the_last_message(lab: Lab) -> None:
    await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "text": "hello"})
    for offset_s, error in ((23 * 3600, None), (24 * 3600, 63016)):
        await lab.http.post("/twilio/_window", json={"offset_s": offset_s})
        await send(lab)
        assert (await lab.truth("twilio"))[-1].get("error_code") == error
    await lab.http.post("/twilio/_window", json={"offset_s": 0, "strict": True})
    await send(lab, To="whatsapp:+254700000009")
    assert (await lab.truth("twilio"))[-1].get("error_code") == 63016


async def test_inbound_messages_are_signed_and_look_like_twilios(lab: Lab, app: App) -> None:
    place = {"latitude": -1.286389, "longitude": 36.817223, "label": "KICC"}
    for message in ({"text": "Habari ✈️ +1"}, {"location": place}, {"picture": True}):
        answer = await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", **message})
        assert answer.status_code == 200, answer.text
    got = await app.wait_for(3)
    forms = [dict(parse_qsl(one.body.decode(), keep_blank_values=True)) for one in got]
    validator = RequestValidator(AUTH_TOKEN)
    for one, form in zip(got, forms, strict=True):
        assert one.url == f"{app.url}/webhooks/twilio"
        assert validator.validate(one.url, form, one.headers["X-Twilio-Signature"])
        assert form["From"] == AMINA
        assert form["WaId"] == "254712345678"
        assert json.loads(form["ChannelMetadata"])["data"]["context"]["ProfileName"] == "Amina"
    assert [form["MessageType"] for form in forms] == ["text", "location", "image"]
    assert forms[0]["Body"] == "Habari ✈️ +1"
    assert (forms[1]["Latitude"], forms[1]["Label"]) == ("-1.286389", "KICC")
    assert forms[2]["NumMedia"] == "1"
    assert (await lab.http.get(forms[2]["MediaUrl0"])).status_code == 401
    moved = await lab.http.get(forms[2]["MediaUrl0"], auth=auth())
    assert moved.status_code == 307
    assert (await lab.http.get(moved.headers["Location"], auth=auth())).status_code == 400
    picture = await lab.http.get(moved.headers["Location"])
    assert (picture.headers["Content-Type"], picture.content[:4]) == ("image/png", b"\x89PNG")


async def test_inbound_messages_wait_for_the_app_and_arrive_in_order_with_the_same_ids(lab: Lab, app: App) -> None:
    app.status = 503
    for text in ("one", "two", "three"):
        await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "text": text})
    refused = await app.wait_for(3)
    sids = {dict(parse_qsl(one.body.decode()))["MessageSid"] for one in refused}
    tokens = {one.headers["I-Twilio-Idempotency-Token"] for one in refused}
    assert len(sids) == len(tokens) == 1
    app.status = 200

    async def all_delivered() -> bool:
        history = (await lab.http.get("/sandbox/api/history")).json()["messages"]
        return [m["status"] for m in history] == ["delivered"] * 3

    await until(all_delivered, 15, "three deliveries")
    texts = [dict(parse_qsl(one.body.decode()))["Body"] for one in app.got]
    assert list(dict.fromkeys(texts)) == ["one", "two", "three"]


async def test_a_message_that_the_app_refuses_is_shown_as_failed(lab: Lab, app: App) -> None:
    app.status = 403
    await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "text": "hello"})

    async def failed() -> bool:
        message = (await lab.http.get("/sandbox/api/history")).json()["messages"][0]
        return message["status"] == "failed" and "403" in message["note"]

    await until(failed, 10, "the refusal")
    assert len(app.got) == 1
