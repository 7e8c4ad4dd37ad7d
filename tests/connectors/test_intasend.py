"""The IntaSend client against its simulator: what each call says, and what is known after each way to fail."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from connectors.intasend.client import Batch, Collection, IntaSend, _read, _Status, said
from core import settings as settings_file
from core.errors import MathiaError, OutcomeUnknown, ProviderError, ProviderUnavailable, RateLimited
from core.providers import Providers, Refused
from core.settings import Settings
from tests.bot.sandbox.conftest import NO_TLS
from tests.conftest import Sandbox
from tests.waiting import until

PAYS, SAYS_NO, POOR, SILENT = "254708374149", "254708374141", "254708374142", "254708374143"
OVER = ("BC100", "BF102", "BF105")
_refs = count(1)


@pytest.fixture
async def wire(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """The simulator itself, at fifty times its speed."""
    async with httpx.AsyncClient(
        base_url=f"{sandbox.url}/intasend", trust_env=False, timeout=10, verify=NO_TLS
    ) as made:
        await made.post("/_mpesa", json={"speed": 50})
        yield made
        await made.delete("/_faults")


@pytest.fixture
def intasend(providers: Providers, settings: Settings, wire: httpx.AsyncClient) -> IntaSend:
    return IntaSend(providers, settings)


@pytest.fixture
def reference() -> str:
    return f"T-CLIENT-{next(_refs)}"


async def truth(wire: httpx.AsyncClient, reference: str, *kinds: str) -> list[dict[str, Any]]:
    """What the simulator did under a reference."""
    rows = (await wire.get("/_truth")).json()
    named = ("api_ref", "batch_reference", "reference")
    return [row for row in rows if row["kind"] in kinds and reference in (row.get(name) for name in named)]


async def settled(intasend: IntaSend, invoice_id: str | None) -> Collection:
    async def over() -> bool:
        return (await intasend.collection(invoice_id or "")).state in ("COMPLETE", "FAILED")

    await until(over)
    return await intasend.collection(invoice_id or "")


async def sent(intasend: IntaSend, tracking_id: str) -> Batch:
    async def over() -> bool:
        return (await intasend.batch(tracking_id)).status_code in OVER

    await until(over)
    return await intasend.batch(tracking_id)


@pytest.mark.parametrize(
    ("phone", "state", "code"),
    [(PAYS, "COMPLETE", None), (SAYS_NO, "FAILED", "1032"), (POOR, "FAILED", "1")],
)
async def test_a_push_asks_somebody_to_pay(
    intasend: IntaSend, reference: str, phone: str, state: str, code: str | None
) -> None:
    asked = await intasend.push(Decimal("52.5"), phone, reference)
    assert (asked.state, asked.value, asked.currency, asked.api_ref) == ("PENDING", Decimal("52.5"), "KES", reference)
    told = await settled(intasend, asked.invoice_id)
    assert (told.state, told.failed_code, told.value, told.account) == (state, code, Decimal("52.50"), phone)
    assert told.net_amount == (told.value - told.charges if state == "COMPLETE" else 0)


async def test_a_second_push_prompts_a_second_time(intasend: IntaSend, wire: httpx.AsyncClient, reference: str) -> None:
    await intasend.push(Decimal(10), PAYS, reference)
    await intasend.push(Decimal(10), PAYS, reference)
    assert len(await truth(wire, reference, "invoice")) == 2


async def test_money_is_sent_after_approval_and_not_before(
    intasend: IntaSend, wire: httpx.AsyncClient, reference: str
) -> None:
    batch = await intasend.initiate(Decimal(38), PAYS, reference, name="Jane")
    assert (batch.status_code, batch.transactions[0].status_code, batch.charge_estimate) == (
        "BP103",
        "TP101",
        Decimal(10),
    )
    assert await truth(wire, reference, "sent") == []
    await intasend.approve(await intasend.batch(batch.tracking_id))
    over = await sent(intasend, batch.tracking_id)
    row = over.transactions[0]
    assert (over.status_code, row.status_code, row.amount, row.account) == ("BC100", "TS100", Decimal(38), PAYS)
    assert (over.batch_reference, row.narrative, over.actual_charges) == (reference, reference, Decimal(10))
    assert [one["amount"] for one in await truth(wire, reference, "sent")] == ["38"]


async def test_who_approves_twice_pays_twice(intasend: IntaSend, wire: httpx.AsyncClient, reference: str) -> None:
    batch = await intasend.initiate(Decimal(11), PAYS, reference)
    await asyncio.gather(intasend.approve(batch), intasend.approve(batch))

    async def both() -> bool:
        return len(await truth(wire, reference, "sent")) == 2

    await until(both)


async def test_a_payout_of_more_than_the_wallet_holds_fails_the_float_check(
    intasend: IntaSend, wire: httpx.AsyncClient, reference: str
) -> None:
    batch = await intasend.initiate(Decimal(9_999_999), PAYS, reference)
    await intasend.approve(batch)
    over = await sent(intasend, batch.tracking_id)
    assert (over.status_code, over.transactions[0].status_code) == ("BF105", "TF103")
    assert await truth(wire, reference, "sent") == []


async def test_approving_something_else_is_refused(intasend: IntaSend, reference: str) -> None:
    batch = await intasend.initiate(Decimal(11), PAYS, reference)
    changed = batch.model_copy(update={"told": {**batch.told, "nonce": "000000"}})
    with pytest.raises(Refused, match="nonce"):
        await intasend.approve(changed)


MONEY = {
    "refuse": (OutcomeUnknown, 0), "reset_before_read": (OutcomeUnknown, 0), "reset_after_execute": (OutcomeUnknown, 1),
    "429": (RateLimited, 0), "500_not_executed": (OutcomeUnknown, 0), "500_executed": (OutcomeUnknown, 1),
    "200_html": (OutcomeUnknown, 0), "200_truncated_json": (OutcomeUnknown, 1), "slow_body": (None, 1),
    "webhook_never": (None, 1), "webhook_before_response": (None, 1),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "error", "done"), [(kind, *known) for kind, known in MONEY.items()])
async def test_what_is_known_after_each_way_to_fail(
    intasend: IntaSend, wire: httpx.AsyncClient, reference: str, kind: str, error: type[MathiaError] | None, done: int
) -> None:
    fault = {"fault": kind, "seconds": 0.2} if kind == "slow_body" else kind
    answer = await wire.post("/_faults", json={"plan": [fault], "match": {"path": "mpesa-stk-push"}})
    assert answer.status_code == 200
    if error is None:
        assert (await intasend.push(Decimal(20), PAYS, reference)).api_ref == reference
    else:
        with pytest.raises(error):
            await intasend.push(Decimal(20), PAYS, reference)
    assert len(await truth(wire, reference, "invoice")) == done


@pytest.mark.parametrize("path", ["initiate", "approve"])
async def test_a_lost_answer_about_a_payout_is_unknown_and_its_status_tells(
    intasend: IntaSend, wire: httpx.AsyncClient, reference: str, path: str
) -> None:
    await wire.post("/_faults", json={"plan": ["500_executed"], "match": {"path": path}})
    if path == "initiate":
        with pytest.raises(OutcomeUnknown):
            await intasend.initiate(Decimal(30), PAYS, reference)
        return
    batch = await intasend.initiate(Decimal(30), PAYS, reference)
    with pytest.raises(OutcomeUnknown):
        await intasend.approve(batch)
    assert (await sent(intasend, batch.tracking_id)).transactions[0].status_code == "TS100"


async def test_nobody_listening_is_not_sent(settings: Settings, reference: str) -> None:
    providers = Providers(settings)
    nowhere = settings.model_copy(update={"intasend_base_url": "http://127.0.0.1:9/intasend"})
    with pytest.raises(ProviderUnavailable):
        await IntaSend(providers, nowhere).push(Decimal(10), PAYS, reference)
    await providers.close()


async def test_a_query_may_lie_about_what_was_paid(intasend: IntaSend, wire: httpx.AsyncClient, reference: str) -> None:
    plan = [{"fault": "status_query_lies_for", "seconds": 1.5}]
    await wire.post("/_faults", json={"plan": plan, "match": {"path": "mpesa-stk-push"}})
    asked = await intasend.push(Decimal(20), PAYS, reference)

    async def paid() -> bool:
        return bool(await truth(wire, reference, "paid"))

    await until(paid)
    assert (await intasend.collection(asked.invoice_id or "")).state == "FAILED"

    async def true() -> bool:
        return (await intasend.collection(asked.invoice_id or "")).state == "COMPLETE"

    await until(true)


async def test_another_amount_in_an_answer_is_seen(intasend: IntaSend, wire: httpx.AsyncClient, reference: str) -> None:
    await wire.post("/_faults", json={"plan": ["200_wrong_amount"], "match": {"path": "mpesa-stk-push"}})
    assert (await intasend.push(Decimal(20), PAYS, reference)).value == 21


async def test_who_has_no_key_is_told_so(providers: Providers, settings: Settings, wire: httpx.AsyncClient) -> None:
    wrong = settings.model_copy(update={"intasend_secret_key": SecretStr("ISSecretKey_test_wrong")})
    with pytest.raises(Refused, match=r"refused") as refused:
        await IntaSend(providers, wrong).initiate(Decimal(10), PAYS, "x")
    assert (refused.value.status, refused.value.body) == (401, {"detail": "Invalid token."})
    anonymous = await wire.get("/api/v1/wallets/")
    assert (anonymous.status_code, anonymous.json()["detail"]) == (401, "Authentication credentials were not provided.")


@pytest.mark.parametrize(
    ("amount", "phone", "words"),
    [(Decimal(10), "+254712345678", "Enter a valid phone number"), (Decimal(0), PAYS, "amount")],
)
async def test_what_the_api_refuses_is_refused(
    intasend: IntaSend, reference: str, amount: Decimal, phone: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await intasend.push(amount, phone, reference)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "x", "errors": [{"code": "x", "detail": "Too small", "attr": "amount"}]}, "amount: Too small"),
        ({"detail": "Not found."}, "Not found."),
        ({"phone_number": ["Enter a valid phone number."]}, "phone_number: Enter a valid phone number."),
        ({"account": ["+254 712 345-678 has no 150000."]}, "account: +… has no 150000."),
        (None, "no reason given"),
    ],
)  # fmt: skip
def test_all_three_shapes_of_errors_are_read(body: Any, words: str) -> None:
    assert said(body) == words


async def test_checkout_is_paid_on_its_page_by_card(
    intasend: IntaSend, wire: httpx.AsyncClient, reference: str
) -> None:
    made = await intasend.checkout(Decimal("10.50"), "USD", reference, redirect_url="https://shop.example/done")
    assert (await intasend.checkout_collection(made.id)).invoice_id is None
    page = await wire.get(made.url)
    assert "USD 10.50" in page.text
    assert "M-Pesa</h2>" not in page.text  # It takes shillings alone.
    declined = await wire.post(made.url, data={"method": "CARD-PAYMENT", "card": "4000 0000 0000 0002"})
    assert "Card declined" in (await wire.get(declined.headers["Location"])).text
    paid = await wire.post(made.url, data={"method": "CARD-PAYMENT", "card": "4242 4242 4242 4242"})
    page = await wire.get(paid.headers["Location"])
    assert "Paid USD 10.50" in page.text
    told = await intasend.checkout_collection(made.id)
    assert (told.state, told.api_ref, told.value) == ("COMPLETE", reference, Decimal("10.50"))
    assert f"https://shop.example/done?signature={made.signature}&amp;checkout_id={made.id}" in page.text


async def test_links_wallets_lists_and_refunds(intasend: IntaSend, wire: httpx.AsyncClient, reference: str) -> None:
    link = await intasend.payment_link(reference, Decimal(0), "KES")
    paid = await wire.post(link.url, data={"method": "CARD-PAYMENT", "card": "4242424242424242", "amount": "150"})
    assert "Paid KES 150.00" in (await wire.get(paid.headers["Location"])).text
    listed, _ = await intasend.collections(state="COMPLETE")
    of_link = next(one for one in listed if one.api_ref == reference)
    lines, _ = await intasend.lines("0XDLWNK")
    sale = next(line for line in lines if line.invoice and line.invoice.invoice_id == of_link.invoice_id)
    assert (sale.trans_type, sale.value) == ("SALE", of_link.net_amount)
    before = {wallet.wallet_id: wallet.current_balance for wallet in await intasend.wallets()}
    made = (await wire.post("/api/v1/wallets/", headers=_auth(), json=_working(reference))).json()
    await intasend.move("0XDLWNK", made["wallet_id"], Decimal(70), "float")
    assert (await intasend.wallet(made["wallet_id"])).current_balance == 70
    assert before["0XDLWNK"] - (await intasend.wallet("0XDLWNK")).current_balance == 70
    back = await intasend.chargeback(of_link.invoice_id or "", Decimal(50), "Wrong service")
    with pytest.raises(Refused, match="No more than was paid"):
        await intasend.chargeback(of_link.invoice_id or "", Decimal(101), "Wrong service")

    async def given_back() -> bool:
        page, _ = await intasend.chargebacks()
        return any(one.chargeback_id == back.chargeback_id and one.status == "COMPLETED" for one in page)

    await until(given_back)


async def test_addresses_without_a_slash_lead_on_only_where_nothing_is_lost(wire: httpx.AsyncClient) -> None:
    moved = await wire.get("/api/v1/wallets", headers=_auth())
    assert (moved.status_code, moved.headers["Location"][-len("/intasend/api/v1/wallets/") :]) == (
        301,
        "/intasend/api/v1/wallets/",
    )
    assert (await wire.post("/api/v1/checkout", json={})).status_code == 404


def test_recorded_answers_are_read() -> None:
    recorded = {
        "state": "COMPLETED", "charges": 0, "net_amount": "52.00", "currency": "KES", "value": 52,
        "invoice_id": "0XND4EY", "api_ref": "INV-42", "updated_at": "2026-09-10T12:29:08.189260+03:00",
        "something_new": {},
    }  # fmt: skip
    told = _read(_Status, {"invoice": recorded}, ProviderError).invoice
    assert (told.state, told.value, told.net_amount) == ("COMPLETE", Decimal(52), Decimal("52.00"))
    for broken in ({"value": "NaN"}, {"value": None}, {"value": "many"}):
        with pytest.raises(ProviderError):
            _read(_Status, {"invoice": recorded | broken}, ProviderError)


def test_without_keys_in_production_it_is_off() -> None:
    bare = Settings(_env_file=None)
    assert not bare.sandboxed().moves_money
    assert Settings(_env_file=None, sandbox_url="http://127.0.0.1:1").sandboxed().moves_money
    with pytest.raises(ValueError, match="INTASEND_PUBLISHABLE_KEY"):
        Settings(_env_file=None, intasend_secret_key="ISSecretKey_live_1")


def test_the_sandbox_account_is_that_of_the_settings() -> None:
    from bot.sandbox import accounts

    assert (accounts.INTASEND_PUBLISHABLE_KEY, accounts.INTASEND_SECRET_KEY, accounts.INTASEND_CHALLENGE) == (
        settings_file.SANDBOX_PUBLISHABLE_KEY,
        settings_file.SANDBOX_SECRET_KEY,
        settings_file.SANDBOX_CHALLENGE,
    )


def _auth() -> dict[str, str]:
    return {"Authorization": f"Bearer {settings_file.SANDBOX_SECRET_KEY}"}


def _working(label: str) -> dict[str, object]:
    return {"wallet_type": "WORKING", "currency": "KES", "label": label, "can_disburse": True}
