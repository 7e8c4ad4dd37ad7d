"""Every fault, seen from a client, and what was executed under it."""

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest

from bot.sandbox.accounts import ACCOUNT_SID, AUTH_TOKEN, WHATSAPP_FROM
from bot.sandbox.faults import HTTP_FAULTS, Faults
from tests.bot.sandbox.conftest import App, Lab
from tests.waiting import until

MESSAGES = f"/twilio/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
FORM = {"To": "whatsapp:+254700000001", "From": WHATSAPP_FROM, "Body": "hello"}


async def send(lab: Lab, timeout_s: float = 10, **more: str) -> httpx.Response:
    basic = httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN)
    return await lab.http.post(MESSAGES, data={**FORM, **more}, auth=basic, timeout=timeout_s)


@pytest.mark.parametrize(
    ("kind", "error", "executed"),
    [
        ("refuse", httpx.ReadError, 0),
        ("reset_before_read", httpx.RemoteProtocolError, 0),
        ("reset_after_execute", httpx.ReadError, 1),
    ],
)
async def test_broken_connections_break_as_planned(lab: Lab, kind: str, error: type[Exception], executed: int) -> None:
    await lab.plan("twilio", kind)
    with pytest.raises(error):
        await send(lab)
    assert len(await lab.truth("twilio")) == executed
    assert (await send(lab)).status_code == 201


@pytest.mark.parametrize(("kind", "executed"), [("500_not_executed", 0), ("500_executed", 1)])
async def test_a_500_is_the_providers_own(lab: Lab, kind: str, executed: int) -> None:
    await lab.plan("twilio", kind)
    answer = await send(lab)
    assert (answer.status_code, answer.json()["code"]) == (500, 20500)
    rows = await lab.truth("twilio")
    assert [row.get("fault") for row in rows] == [kind] * executed


@pytest.mark.parametrize(
    ("provider", "path", "find"),
    [
        ("twilio", MESSAGES, lambda body: body["code"] == 20429),
        ("telegram", "/telegram/bot1:a/getMe", lambda body: body["parameters"]["retry_after"] == 7),
        ("open-meteo", "/open-meteo/v1/search?name=Nairobi", lambda body: body["error"] is True),
        ("openweather", "/openweather/geo/1.0/direct?q=Nairobi", lambda body: body["cod"] == 429),
        ("frankfurter", "/frankfurter/v2/rates", lambda body: "message" in body),
        ("exchangerate", "/exchangerate/v6/k/latest/USD", lambda body: body["error-type"] == "quota-reached"),
    ],
)
async def test_429_has_each_providers_shape(lab: Lab, provider: str, path: str, find: object) -> None:
    assert callable(find)
    await lab.plan(provider, {"fault": "429", "retry_after": 7})
    answer = await lab.http.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert find(answer.json())


@pytest.mark.parametrize(("kind", "executed_meanwhile"), [("hang", 0), ("execute_then_hang", 1)])
async def test_what_hangs_is_executed_before_or_after_and_healing_lets_it_go(
    lab: Lab, kind: str, executed_meanwhile: int
) -> None:
    await lab.plan("twilio", {"fault": kind, "seconds": 60})
    with pytest.raises(httpx.ReadTimeout):
        await send(lab, timeout_s=0.5)
    assert len(await lab.truth("twilio")) == executed_meanwhile
    await lab.http.post("/_heal")

    async def executed() -> bool:
        return len(await lab.truth("twilio")) == 1

    await until(executed, 5, "the hanging request")


async def test_answers_can_be_html_or_half_or_slow(lab: Lab) -> None:
    await lab.plan("twilio", "200_html", "200_truncated_json", {"fault": "slow_body", "seconds": 0.4})
    page = await send(lab)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    assert await lab.truth("twilio") == []
    half = await send(lab)
    assert half.status_code == 201
    with pytest.raises(json.JSONDecodeError):
        half.json()
    begun = time.monotonic()
    slow = await send(lab)
    assert slow.json()["status"] == "queued"
    assert time.monotonic() - begun > 0.3
    assert len(await lab.truth("twilio")) == 2


async def test_webhooks_come_twice_or_first_or_never(lab: Lab, app: App) -> None:
    url = f"{app.url}/status"
    await lab.plan("twilio", {"fault": "duplicate_webhooks", "n": 2}, "webhook_never", "webhook_before_response")
    twice = (await send(lab, StatusCallback=url)).json()["sid"]
    got = await app.wait_for(8)
    statuses = [dict(parse_qsl(one.body.decode()))["MessageStatus"] for one in got]
    assert statuses == ["queued", "queued", "sent", "sent", "delivered", "delivered", "read", "read"]
    never = (await send(lab, StatusCallback=url)).json()["sid"]
    before = (await send(lab, StatusCallback=url)).json()["sid"]
    # All four came before the answer did.
    assert len(app.got) == 12
    assert {dict(parse_qsl(one.body.decode()))["MessageSid"] for one in app.got[8:]} == {before}
    assert never not in {before, twice}


async def test_what_people_send_can_be_doubled_or_lost(lab: Lab, app: App) -> None:
    plan = [{"fault": "duplicate_webhooks", "n": 3}, "webhook_never"]
    await lab.plan("twilio", *plan, match={"path": "^/_inbound$"})
    for text in ("thrice", "lost", "once"):
        await lab.http.post("/sandbox/api/send", json={"as": "whatsapp", "text": text})
    got = await app.wait_for(4)
    assert [dict(parse_qsl(one.body.decode()))["Body"] for one in got] == ["thrice"] * 3 + ["once"]


async def test_a_plan_only_touches_what_it_matches_and_ends(lab: Lab) -> None:
    await lab.plan("twilio", "500_not_executed", match={"body": "254700000001"}, times=2)
    basic = httpx.BasicAuth(ACCOUNT_SID, AUTH_TOKEN)
    statuses = [
        (await lab.http.post(MESSAGES, data={**FORM, "To": f"whatsapp:+25470000000{n}"}, auth=basic)).status_code
        for n in (2, 1, 1, 1)
    ]
    assert statuses == [201, 500, 500, 201]
    await lab.plan("twilio", "500_not_executed", match={"path": "Nowhere"}, times=None)
    assert (await send(lab)).status_code == 201
    await lab.plan("twilio", "500_not_executed", times=None)
    assert [(await send(lab)).status_code for _ in range(3)] == [500] * 3
    await lab.http.request("DELETE", "/twilio/_faults")
    assert (await send(lab)).status_code == 201


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[str]:
        async def draw() -> list[str]:
            faults = Faults()
            faults.set({"plan": ["ok", "429", "500_executed"], "times": None, "seed": seed})
            taken = [faults.take("GET", "/", b"") for _ in range(40)]
            return [fault.kind if fault else "ok" for fault in taken]

        return asyncio.run(draw())

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert set(drawn(7)) == {"ok", "429", "500_executed"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, "plan must be"),
        ({"plan": ["explode"]}, "reset_after_execute"),
        ({"plan": ["hang"], "surprise": 1}, "surprise"),
        ({"plan": [{"fault": "hang", "seconds": 1e9}]}, "seconds"),
        ({"plan": [{"fault": "429", "retry_after": "soon"}]}, "retry_after"),
        ({"plan": ["ok"], "times": -1}, "times"),
        ({"plan": ["ok"], "match": {"path": "("}}, "regular expression"),
        ({"plan": ["ok"], "match": [1]}, "match"),
    ],
)
async def test_a_wrong_plan_is_refused_with_a_sentence(lab: Lab, plan: dict[str, object], words: str) -> None:
    answer = await lab.http.post("/twilio/_faults", json=plan)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"\xff", b"[" * 100_000, b'{"plan":' + b"9" * 5000 + b"}"])
async def test_nonsense_as_a_plan_is_refused(lab: Lab, body: bytes) -> None:
    assert (await lab.http.post("/twilio/_faults", content=body)).status_code == 400


async def test_other_machines_and_foreign_pages_are_turned_away(lab: Lab) -> None:
    assert (await lab.http.get("/healthz", headers={"Host": "sandbox.example:80"})).status_code == 403
    assert (await lab.http.post("/_reset", headers={"Origin": "https://evil.example"})).status_code == 403
    assert (await lab.http.get("/nowhere")).status_code == 404
    assert (await lab.http.get("/twilio/_truth?since=x")).status_code == 400
    assert (await lab.http.post("/_app", json={"url": "http://192.0.2.1:80"})).status_code == 400


def test_every_http_fault_is_seen_by_some_test_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in HTTP_FAULTS if f'"{kind}"' not in source] == []
