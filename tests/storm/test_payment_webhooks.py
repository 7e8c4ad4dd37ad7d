"""Payments to us while their webhooks come twice, late, shuffled, forged, contrary or never: each ends as it was paid.

MATHIA_COLLECTIONS says how many; 500 take half a minute.
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.db import Database
from core.settings import SANDBOX_CHALLENGE, Settings
from ledger.instructions import Instruction, State
from tests.bot.sandbox.conftest import Simulators
from tests.bot.test_webhooks import Site, serving
from tests.jobs.till import CONTRARY, LATE, PAYS, QUICK, SAYS_NO, Till, till

COLLECTIONS = int(os.environ.get("MATHIA_COLLECTIONS", "100"))
LIMIT_S = 30.0 + COLLECTIONS / 2
AMOUNT = 52
HOOKS = (
    {"fault": "duplicate_webhooks", "n": 2}, {"fault": "duplicate_webhooks", "n": 5}, "reordering", "reordering",
    "webhook_never", "webhook_before_response", {"fault": "duplicate_webhooks", "n": 3}, "ok", "reordering", "ok",
)  # fmt: skip
"""One of ten gets none at all."""
PACE = replace(QUICK, until=timedelta(minutes=10))
PAID = (State.COMPLETE, State.LATE)
PAYERS = (PAYS, PAYS, PAYS, SAYS_NO, LATE, CONTRARY)


@pytest.fixture
async def served(db: Database, tmp_path: Path) -> AsyncIterator[tuple[Till, Site]]:
    """A till, its webhooks, and a provider of its own that sends them there."""
    simulators = Simulators(tmp_path)
    simulators.start()
    try:
        settings = Settings(_env_file=None, sandbox_url=simulators.url).sandboxed()
        async with (
            serving(db, intasend_challenge=settings.intasend_challenge) as site,
            till(db, settings, pace=PACE) as desk,
        ):
            aim = await desk.wire.post(f"{simulators.url}/_app", json={"url": f"http://127.0.0.1:{site.port}"})
            assert aim.status_code == 200
            yield desk, site
    finally:
        simulators.stop()


def forged(of: Instruction, chance: random.Random) -> dict[str, Any]:
    """A webhook by somebody who knows the challenge, about a payment that is not so."""
    value = chance.choice(["52.00", "5200.00", "0.01", "-52.00"])
    return {
        "invoice_id": of.invoice_id or "FORGED1", "state": chance.choice(["COMPLETE", "FAILED", "COMPLETED"]),
        "value": value, "net_amount": value, "currency": "KES", "account": PAYS, "api_ref": of.reference,
        "updated_at": f"forged {chance.random()}", "challenge": SANDBOX_CHALLENGE,
    }  # fmt: skip


async def test_what_webhooks_say_changes_nothing_but_when_we_ask(served: tuple[Till, Site]) -> None:
    desk, site = served
    chance = random.Random(5)
    await desk.plan("mpesa-stk-push", *HOOKS, times=None, seed=5)
    asked = [(await desk.ask(AMOUNT, PAYERS[number % len(PAYERS)]), PAYERS[number % len(PAYERS)])
             for number in range(COLLECTIONS)]  # fmt: skip
    # Who pays late may have paid before anybody asked.
    will_pay = {one.reference for one, payer in asked if payer != SAYS_NO}
    ends_at = asyncio.get_running_loop().time() + LIMIT_S
    states: dict[str, State] = {}
    forgeries = 0
    while {one for one, state in states.items() if state in PAID} != will_pay or State.PENDING in states.values():
        assert asyncio.get_running_loop().time() < ends_at, states
        await asyncio.gather(*(desk.work() for _ in range(3)))
        for one, _ in chance.sample(asked, 2):
            status, _ = await site.post("/webhooks/intasend", json.dumps(forged(await desk.now(one), chance)).encode())
            assert status == 200
            forgeries += 1
        rows = await desk.db.pool.fetch("SELECT reference, state FROM payment_instruction")
        states = {row["reference"]: State(row["state"]) for row in rows}
        # Nobody is ever credited who has not paid.
        paid = {row["api_ref"] for row in (await desk.wire.get("/_truth")).json() if row["kind"] == "paid"}
        assert {one for one, state in states.items() if state in PAID} <= paid
        assert not any(state is State.NEEDS_REVIEW for state in states.values())
    assert forgeries
    assert set(states.values()) <= {State.COMPLETE, State.LATE, State.FAILED}
    assert await desk.purse() == (len(will_pay) * AMOUNT * 100, 0)
    assert await desk.between() == len(will_pay) * AMOUNT * 100
