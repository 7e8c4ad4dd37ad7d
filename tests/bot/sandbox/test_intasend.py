"""IntaSend's webhooks, what the phone is asked, and what outlives the simulators; the API is tested with its client."""

import json
import signal
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot.sandbox.accounts import INTASEND_CHALLENGE, INTASEND_PUBLISHABLE_KEY, INTASEND_SECRET_KEY
from tests.bot.sandbox.conftest import NO_TLS, App, Lab, Simulators
from tests.waiting import until

API = "/intasend/api/v1"
AUTH = {"Authorization": f"Bearer {INTASEND_SECRET_KEY}"}
PAYS, LATE, CONTRARY = "254708374149", "254708374144", "254708374145"
_refs = count(1)


async def push(lab: Lab, phone: str = PAYS) -> dict[str, Any]:
    body = {"public_key": INTASEND_PUBLISHABLE_KEY, "amount": 52, "phone_number": phone, "api_ref": f"R{next(_refs)}"}
    answer = await lab.http.post(f"{API}/payment/mpesa-stk-push/", json=body, headers=AUTH)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def told(app: App, count: int) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in await app.wait_for(count)]


@pytest.fixture(autouse=True)
async def fast(lab: Lab) -> None:
    await lab.http.post("/intasend/_mpesa", json={"speed": 50})


async def test_each_state_is_told_with_the_challenge(lab: Lab, app: App) -> None:
    made = await push(lab)
    assert made["invoice"]["value"] == 52  # A number here, and a text everywhere else.
    hooks = await told(app, 3)
    assert [one["state"] for one in hooks] == ["PENDING", "PROCESSING", "COMPLETE"]
    assert {one["challenge"] for one in hooks} == {INTASEND_CHALLENGE}
    assert {one["invoice_id"] for one in hooks} == {made["invoice"]["invoice_id"]}
    assert (hooks[2]["value"], hooks[2]["charges"], hooks[2]["net_amount"]) == ("52.00", "1.56", "50.44")
    assert app.got[0].url.endswith("/webhooks/intasend")


async def test_a_webhook_of_a_payout_has_no_challenge(lab: Lab, app: App) -> None:
    rows = [{"name": "Jane", "account": PAYS, "amount": "38", "narrative": "x"}]
    body = {"provider": "MPESA-B2C", "currency": "KES", "transactions": rows, "requires_approval": "NO"}
    made = (await lab.http.post(f"{API}/send-money/initiate/", json=body, headers=AUTH)).json()
    hooks = await told(app, 3)
    assert [one["status_code"] for one in hooks] == ["BP103", "BP108", "BC100"]
    assert {one["tracking_id"] for one in hooks} == {made["tracking_id"]}
    assert not any("challenge" in one for one in hooks)


@pytest.mark.parametrize(
    ("fault", "states"),
    [
        ({"fault": "duplicate_webhooks", "n": 2}, ["PENDING"] * 2 + ["PROCESSING"] * 2 + ["COMPLETE"] * 2),
        ("reordering", ["COMPLETE", "PROCESSING", "PENDING"]),
    ],
)
async def test_webhooks_come_twice_and_in_another_order(lab: Lab, app: App, fault: object, states: list[str]) -> None:
    await lab.plan("intasend", fault)
    await push(lab)
    assert [one["state"] for one in await told(app, len(states))] == states


async def test_webhooks_come_before_the_answer(lab: Lab, app: App) -> None:
    await lab.plan("intasend", "webhook_before_response")
    await push(lab)
    assert [json.loads(one.body)["state"] for one in app.got] == ["PENDING", "PROCESSING", "COMPLETE"]


async def test_a_webhook_that_fails_is_sent_again(lab: Lab, app: App) -> None:
    app.answers = [web.Response(status=503), web.Response(status=200)]
    await push(lab)
    states = [one["state"] for one in await told(app, 4)]
    assert states.count("PENDING") == 2


async def test_payments_come_late_and_webhooks_contradict_themselves(lab: Lab, app: App) -> None:
    await push(lab, LATE)
    assert [one["state"] for one in await told(app, 4)][-2:] == ["FAILED", "COMPLETE"]
    app.got.clear()
    made = await push(lab, CONTRARY)
    assert [one["state"] for one in await told(app, 4)][-2:] == ["COMPLETE", "FAILED"]
    body = {"invoice_id": made["invoice"]["invoice_id"], "public_key": INTASEND_PUBLISHABLE_KEY}
    status = (await lab.http.post(f"{API}/payment/status/", json=body)).json()
    assert status["invoice"]["state"] == "COMPLETE"


@pytest.mark.parametrize(
    ("pin", "state", "code"), [("1234", "COMPLETE", None), (None, "FAILED", "1032"), ("0000", "FAILED", "2001")]
)
async def test_a_person_answers_the_prompt_on_their_phone(
    lab: Lab, app: App, pin: str | None, state: str, code: str | None
) -> None:
    await push(lab, "254712345678")
    [prompt] = (await lab.http.get("/sandbox/api/mpesa")).json()["prompts"]
    assert (prompt["phone"], prompt["text"]) == (
        "254712345678",
        "Do you want to pay KES 52.00 to Mathia? Enter M-PESA PIN.",
    )
    wrong = await lab.http.post("/sandbox/api/mpesa", json={"id": prompt["id"], "pin": "12"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "An M-Pesa PIN has 4 digits.")
    answer = await lab.http.post("/sandbox/api/mpesa", json={"id": prompt["id"], "pin": pin})
    assert answer.status_code == 200
    last = (await told(app, 3))[-1]
    assert (last["state"], last["failed_code"]) == (state, code)
    again = await lab.http.post("/sandbox/api/mpesa", json={"id": prompt["id"], "pin": "1234"})
    assert again.status_code == 400


async def test_nobody_answers_for_a_minute(lab: Lab, app: App) -> None:
    await push(lab, "254712345678")
    assert (await told(app, 2))[-1]["failed_code"] == "1037"


async def test_money_and_prompts_outlive_the_process(tmp_path: Path) -> None:
    simulators = Simulators(tmp_path)
    simulators.start()
    async with httpx.AsyncClient(base_url=simulators.url, trust_env=False, timeout=10, verify=NO_TLS) as client:
        lab = Lab(simulators, client, {})
        await client.post("/intasend/_mpesa", json={"speed": 50})
        paid = (await push(lab))["invoice"]["invoice_id"]

        async def is_paid() -> bool:
            return any(row["kind"] == "paid" for row in await lab.truth("intasend"))

        await until(is_paid)
        await client.post("/_heal")
        await push(lab, "254712345678")
        wallet = (await client.get(f"{API}/wallets/0XDLWNK/", headers=AUTH)).json()["current_balance"]
    simulators.stop(signal.SIGKILL)
    simulators.start()
    async with httpx.AsyncClient(base_url=simulators.url, trust_env=False, timeout=10, verify=NO_TLS) as client:
        body = {"invoice_id": paid, "public_key": INTASEND_PUBLISHABLE_KEY}
        status = (await client.post(f"{API}/payment/status/", json=body)).json()
        assert status["invoice"]["state"] == "COMPLETE"
        assert (await client.get(f"{API}/wallets/0XDLWNK/", headers=AUTH)).json()["current_balance"] == wallet
        [prompt] = (await client.get("/sandbox/api/mpesa")).json()["prompts"]
        assert prompt["phone"] == "254712345678"
    assert simulators.stop() == 0
