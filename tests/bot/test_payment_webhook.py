"""IntaSend's webhook over real HTTP: a hint that is kept once, believed in nothing, and answered at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from bot.webhooks import EVENT_BYTES_MAX
from core.db import Database
from core.settings import Settings
from ledger.instruction_store import refund
from ledger.instructions import Instruction, State
from ledger.money import Money
from tests.bot.test_webhooks import Site, serving
from tests.conftest import Sandbox
from tests.jobs.till import Till, till

PATH = "/webhooks/intasend"
CHALLENGE = "words-of-our-own-choice"


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        await made.fund(1_000)
        yield made


@pytest.fixture
async def site(db: Database) -> AsyncIterator[Site]:
    async with serving(db, intasend_challenge=SecretStr(CHALLENGE)) as served:
        yield served


def event(of: Instruction, state: Any = "COMPLETE", **changes: Any) -> bytes:
    """What IntaSend says of a payment to us."""
    said = {
        "invoice_id": of.invoice_id, "state": state, "provider": "M-PESA", "charges": "1.56", "net_amount": "50.44",
        "currency": "KES", "value": "52.00", "account": "254708374149", "api_ref": of.reference,
        "mpesa_reference": "SIA7XXXXXX", "host": "https://sandbox.intasend.com", "failed_reason": None,
        "created_at": "2026-09-10T12:29:08.177832+03:00", "updated_at": "2026-09-10T12:29:41.000000+03:00",
        "challenge": CHALLENGE,
    }  # fmt: skip
    return json.dumps({name: value for name, value in (said | changes).items() if value is not ...}).encode()


async def pending(desk: Till) -> Instruction:
    """A payment that waits for somebody to pay, and is not looked at for a while by itself."""
    made = await desk.ask(of="254712345678")
    now = await desk.reach(made, {State.PENDING})
    await desk.db.pool.execute("UPDATE payment_instruction SET due_at = clock_timestamp() + interval '1 hour'")
    return now


async def hints(desk: Till) -> int:
    count: int = await desk.db.pool.fetchval("SELECT count(*) FROM payment_hint")
    return count


async def is_due(desk: Till) -> bool:
    due: bool = await desk.db.pool.fetchval("SELECT due_at <= clock_timestamp() FROM payment_instruction")
    return due


async def test_a_hint_is_kept_once_and_has_the_provider_asked_who_credits_nothing(desk: Till, site: Site) -> None:
    made = await pending(desk)
    answers = await asyncio.gather(*(site.post(PATH, event(made)) for _ in range(16)))
    assert {status for status, _ in answers} == {200}
    assert await hints(desk) == 1
    assert await is_due(desk)
    await desk.work()
    # The event was forged by somebody who knows the challenge: nobody has paid.
    assert (await desk.now(made)).state is State.PENDING
    assert await desk.purse() == (100_000, 0)
    assert (await site.post(PATH, event(made, "FAILED")))[0] == 200
    assert await hints(desk) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{", b"\xff", b'{"invoice_id": "0XND4EY", "state": "COMPLETE"}',
        b'{"challenge": null, "invoice_id": "0XND4EY"}', b'{"challenge": "wrong", "invoice_id": "0XND4EY"}',
        b'{"challenge": ["words-of-our-own-choice"]}', b'{"challenge": "", "tracking_id": "x"}',
        b'{"tracking_id": 5}',
        b'{"tracking_id": "\\u0000"}',
        json.dumps({"challenge": CHALLENGE[:-1], "invoice_id": "x"}).encode(), b'{"challenge": "\\u00e9"}',
    ],
)  # fmt: skip
async def test_whoever_does_not_know_the_challenge_leaves_nothing(site: Site, body: bytes) -> None:
    status, answer = await site.post(PATH, body)
    assert (status, answer) == (403, b"Forbidden.")
    assert await site.db.pool.fetchval("SELECT count(*) FROM payment_hint") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"invoice_id": "UNKNOWN", "api_ref": "of somebody else"}, {"invoice_id": None, "api_ref": None},
        {"challenge": ..., "tracking_id": "f89a8b57-2d2b-4c4e-9f0a-1c2d3e4f5a6b"},
        {"invoice_id": 7}, {"invoice_id": "x" * 200}, {"invoice_id": "a\u0000b"},
        {"api_ref": {"a": 1}, "invoice_id": "?"},
        {"invoice_id": ..., "chargeback_id": "C1", "status": "COMPLETED"}, {"invoice_id": "U", "api_ref": "a\u0000b"},
    ],
)  # fmt: skip
async def test_what_is_not_about_a_payment_of_ours_is_answered_and_not_kept(
    desk: Till, site: Site, changes: dict[str, Any]
) -> None:
    made = await pending(desk)
    assert (await site.post(PATH, event(made, **changes)))[0] == 200
    assert await hints(desk) == 0
    assert not await is_due(desk)


async def test_an_event_of_a_refund_has_the_provider_asked(desk: Till, site: Site) -> None:
    paid = await desk.reach(await desk.ask())
    async with desk.db.hot() as connection:
        made = await refund(connection, "r", paid.reference, Money(5_200, "KES"), "staff:owner", "twice")
    known = await desk.reach(made, {State.SUBMITTED, State.SUCCEEDED})
    told: dict[str, Any] = {
        "chargeback_id": known.tracking_id,
        "status": "COMPLETED",
        "updated_at": "later",
        "invoice": {},
    }
    for challenge, status, kept in (("wrong", 403, 0), (CHALLENGE, 200, 1), (CHALLENGE, 200, 1)):
        answer = await site.post(PATH, json.dumps(told | {"challenge": challenge}).encode())
        assert answer[0] == status
        count = await desk.db.pool.fetchval("SELECT count(*) FROM payment_hint WHERE instruction_id = $1", made.id)
        assert count == kept
    assert (await site.post(PATH, json.dumps(told).encode()))[0] == 403


async def test_strange_values_in_an_event_of_ours_do_no_harm(desk: Till, site: Site) -> None:
    made = await pending(desk)
    strange = event(made, **{"state": {"a": "\u0000"}, "updated_at": "x\u0000" * 500, "transactions": "none"})
    assert (await site.post(PATH, strange))[0] == 200
    assert await hints(desk) == 1


async def test_an_event_of_a_payout_needs_no_challenge_but_our_own_id(desk: Till, site: Site) -> None:
    made = await desk.send()
    now = await desk.reach(made, {State.SUBMITTED, State.SUCCEEDED})
    body = {"tracking_id": now.tracking_id, "status_code": "BC100", "transactions": [{"status_code": "TS100"}]}
    assert (await site.post(PATH, json.dumps(body).encode()))[0] == 200
    assert await desk.db.pool.fetchval("SELECT state FROM payment_hint") == "BC100/TS100"
    assert (await desk.reach(made)).state is State.SUCCEEDED


async def test_a_flood_of_states_is_kept_up_to_a_limit(desk: Till, site: Site) -> None:
    made = await pending(desk)
    for number in range(60):
        assert (await site.post(PATH, event(made, updated_at=f"2026-{number}")))[0] == 200
    assert await hints(desk) == 50


async def test_too_much_and_no_challenge_at_all(db: Database, site: Site) -> None:
    assert (await site.post(PATH, b"x" * (EVENT_BYTES_MAX + 1)))[0] == 413
    async with serving(db) as off:
        assert (await off.post(PATH, b"{}"))[0] == 404
