"""Payment instructions against the simulated provider: told once, asked after, believed only when it is all right."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from core.db import Database
from core.errors import Conflict, UserError
from core.settings import Settings
from jobs.payments import AT_ONCE, pay
from ledger import invoices
from ledger.errors import InsufficientFunds, KeyReused, SpendingLimit
from ledger.holds import Allowance
from ledger.instruction_store import Collect, PayOut, claim, collect, hint, move, pay_out, resolve
from ledger.instructions import MOVES, Method, Payee, State
from ledger.journal import Kind
from ledger.money import Money
from tests.conftest import Sandbox
from tests.jobs.people import said
from tests.jobs.till import CONTRARY, DOUBT, LATE, LEASE, PAYS, SAYS_NO, Till, till
from tests.waiting import until


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    """A till with a thousand shillings in its wallet."""
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        await made.fund(1_000)
        yield made


# Money out.


async def test_a_payout_is_prepared_approved_and_booked(desk: Till) -> None:
    made = await desk.send(38, fee=2)
    assert await desk.purse() == (100_000, 4_000)
    done = await desk.reach(made)
    assert done.state is State.SUCCEEDED
    assert await desk.path(made) == ["ready", "initiating", "initiated", "approving", "submitted", "succeeded"]
    assert await desk.purse() == (96_000, 0)
    assert await desk.between() == -3_800
    assert [row["amount"] for row in await desk.truth(made, "sent")] == ["38"]
    assert await said(desk.db, desk.who.conversation_id) == [
        f"Sent KES 38.00 to Jane +{PAYS}. Ref {made.reference}."
    ]  # fmt: skip


async def test_a_payout_that_fails_gives_the_money_back(desk: Till) -> None:
    made = await desk.send(to=SAYS_NO)
    assert (await desk.reach(made)).state is State.FAILED
    assert await desk.purse() == (100_000, 0)
    assert await desk.truth(made, "sent") == []
    [words] = await said(desk.db, desk.who.conversation_id)
    assert "were not sent. The money is free in your wallet again" in words


@pytest.mark.parametrize(
    ("path", "fault", "state", "sent"),
    [
        ("initiate", "refuse", State.FAILED, 0),
        ("initiate", "500_executed", State.FAILED, 0),
        ("initiate", "200_truncated_json", State.FAILED, 0),
        ("initiate", {"fault": "429", "retry_after": 0}, State.SUCCEEDED, 1),
        ("initiate", "200_wrong_amount", State.SUCCEEDED, 1),
        ("approve", "reset_after_execute", State.SUCCEEDED, 1),
        ("approve", "500_executed", State.SUCCEEDED, 1),
        ("approve", "500_not_executed", State.FAILED, 0),
        ("approve", "200_html", State.FAILED, 0),
        ("approve", "200_truncated_json", State.SUCCEEDED, 1),
        ("approve", {"fault": "429", "retry_after": 0}, State.SUCCEEDED, 1),
        ("approve", {"fault": "status_query_lies_for", "seconds": 0.2}, State.SUCCEEDED, 1),
        ("status", "500_not_executed", State.SUCCEEDED, 1),
        ("status", "200_wrong_amount", State.NEEDS_REVIEW, 0),
    ],
)
async def test_whatever_an_answer_is_lost_in_a_payout_is_made_once_at_most(
    desk: Till, path: str, fault: object, state: State, sent: int
) -> None:
    await desk.plan(f"send-money/{path}", fault)
    made = await desk.send()
    assert (await desk.reach(made)).state is state
    assert len(await desk.truth(made, "sent")) == sent
    kept = 3_800 if state is State.NEEDS_REVIEW else 0
    assert await desk.purse() == (100_000 - 3_800 * sent, kept)


async def test_a_wrong_amount_in_the_first_question_after_an_approval_moves_nothing(desk: Till) -> None:
    await desk.plan("send-money/status", "ok", "200_wrong_amount")
    made = await desk.send()
    assert (await desk.reach(made)).state is State.NEEDS_REVIEW
    assert await desk.purse() == (100_000, 3_800)
    async with desk.db.hot() as connection:
        await resolve(connection, made.reference, True, "staff:owner", "M-Pesa's statement has it")
    assert await desk.purse() == (96_200, 0)
    assert (await desk.path(made))[-2:] == ["needs_review", "succeeded"]


async def test_doubt_at_the_provider_is_waited_for(desk: Till) -> None:
    assert (await desk.reach(await desk.send(to=DOUBT))).state is State.SUCCEEDED
    assert await desk.purse() == (96_200, 0)


async def test_a_success_is_not_taken_back_by_a_later_answer(desk: Till) -> None:
    made = await desk.send(to=LATE)
    assert (await desk.reach(made)).state is State.SUCCEEDED

    async def says_failed() -> bool:
        batch = await desk.hands.provider.batch((await desk.now(made)).tracking_id or "")
        return batch.transactions[0].status_code == "TF106"

    await until(says_failed)
    tracking_id = (await desk.now(made)).tracking_id or ""
    async with desk.db.hot() as connection:
        assert await hint(connection, tracking_id, None, "BC100/TF106", "later")
    await desk.work()
    assert (await desk.now(made)).state is State.SUCCEEDED
    assert await desk.purse() == (96_200, 0)
    last = await desk.db.pool.fetchrow("SELECT reason FROM payment_event ORDER BY id DESC LIMIT 1")
    assert last["reason"] == "the provider now says failed"


async def test_a_payout_needs_the_money_and_an_m_pesa_number(desk: Till) -> None:
    with pytest.raises(InsufficientFunds):
        await desk.send(1_001)
    with pytest.raises(UserError, match="not an M-Pesa number"):
        await desk.send(to="+1 555 0100")
    assert await desk.db.pool.fetchval("SELECT count(*) FROM payment_instruction") == 0


async def test_a_refusal_leaves_nothing_even_where_it_is_caught_and_committed(desk: Till) -> None:
    allowed = Allowance(Money(5_000, "KES"), datetime.now(UTC) - timedelta(hours=1))
    asked = PayOut(
        "k", desk.owner, desk.who.person_id, desk.who.conversation_id, Money(3_800, "KES"), Payee(PAYS),
        allowance=allowed,
    )  # fmt: skip
    async with desk.db.hot() as connection:
        await pay_out(connection, asked)
        for refused, error in (
            (replace(asked, key="k2"), SpendingLimit),
            (replace(asked, key="k3", amount=Money(200_000, "KES"), allowance=None), InsufficientFunds),
        ):
            with pytest.raises(error):
                await pay_out(connection, refused)
    assert await desk.db.pool.fetchval("SELECT count(*) FROM payment_instruction") == 1
    assert await desk.purse() == (100_000, 3_800)


async def test_one_key_is_one_payout(desk: Till) -> None:
    first, second = await asyncio.gather(desk.send(key="same"), desk.send(key="same"))
    assert first.reference == second.reference
    with pytest.raises(KeyReused):
        await desk.send(39, key="same")
    assert await desk.purse() == (100_000, 3_800)


@pytest.mark.parametrize("state", [State.INITIATING, State.INITIATED, State.APPROVING])
async def test_whoever_takes_over_never_tells_the_provider_a_second_time(desk: Till, state: State) -> None:
    """The process before died in this state; what it had told the provider may or may not have arrived."""
    made = await desk.send()
    dead = await claim(desk.db, made.id, timedelta(0))
    assert dead is not None
    batch = await desk.hands.provider.initiate(Decimal(38), PAYS, made.reference)
    await desk.db.pool.execute(
        "UPDATE payment_instruction SET state = 'initiating', asked_at = clock_timestamp() WHERE id = $1", made.id
    )
    for further in (State.INITIATED, State.APPROVING)[: {"initiating": 0, "initiated": 1, "approving": 2}[state]]:
        await desk.db.pool.execute(
            "UPDATE payment_instruction SET state = $2, tracking_id = $3 WHERE id = $1",
            made.id, further.value, batch.tracking_id,
        )  # fmt: skip
    if state is State.APPROVING:
        await desk.hands.provider.approve(batch)
    done = await desk.reach(made)
    sent = await desk.truth(made, "sent")
    assert done.state is (State.FAILED if state is State.INITIATING else State.SUCCEEDED)
    assert len(sent) == (0 if state is State.INITIATING else 1)


async def test_what_somebody_else_approved_is_not_approved_again(desk: Till) -> None:
    made = await desk.send()
    await claim(desk.db, made.id, timedelta(0))
    batch = await desk.hands.provider.initiate(Decimal(38), PAYS, made.reference)
    for state in ("initiating", "initiated"):
        await desk.db.pool.execute(
            "UPDATE payment_instruction SET state = $2, tracking_id = $3 WHERE id = $1",
            made.id, state, batch.tracking_id,
        )  # fmt: skip
    await desk.hands.provider.approve(batch)
    assert (await desk.reach(made)).state is State.NEEDS_REVIEW

    async def sent() -> bool:
        """The provider takes a moment to send what was approved there."""
        return bool(await desk.truth(made, "sent"))

    await until(sent)
    rows = (await desk.wire.get("/_truth")).json()
    assert [row["kind"] for row in rows if row.get("tracking_id") == batch.tracking_id].count("approve") == 1
    assert len(await desk.truth(made, "sent")) == 1
    assert await desk.purse() == (100_000, 3_800)


async def test_a_claim_that_was_lost_changes_nothing(desk: Till) -> None:
    made = await desk.send()
    slow = await claim(desk.db, made.id, timedelta(0))
    assert slow is not None
    quick = await claim(desk.db, made.id, LEASE)
    assert quick is not None
    async with desk.db.hot() as connection:
        assert not await move(connection, slow, State.INITIATING, "", LEASE)
        assert await move(connection, quick, State.INITIATING, "", LEASE)
    assert await desk.path(made) == ["ready", "initiating"]


async def test_a_provider_that_hangs_takes_no_more_than_some_of_the_hands(desk: Till) -> None:
    made = [await desk.send(10) for _ in range(AT_ONCE + 3)]
    await desk.plan("initiate", {"fault": "hang", "seconds": 30}, times=AT_ONCE)
    hanging = asyncio.gather(*(pay(desk.hands, one.id) for one in made))

    async def claimed() -> bool:
        count = await desk.db.pool.fetchval("SELECT count(*) FROM payment_instruction WHERE state = 'initiating'")
        return bool(count == AT_ONCE)

    await until(claimed)
    assert await desk.db.pool.fetchval("SELECT count(*) FROM payment_instruction WHERE attempt > 0") == AT_ONCE
    await desk.wire.delete("/_faults")
    await hanging
    for one in made:
        assert (await desk.reach(one)).state is State.SUCCEEDED


async def test_who_was_stopped_after_claiming_sends_nothing_late(desk: Till) -> None:
    made = await desk.send()
    times = iter([0.0, LEASE.total_seconds() + 1.0])
    stopped = type(desk.hands)(
        desk.db, desk.hands.wakes, desk.hands.provider, lease=LEASE, pace=desk.hands.pace, clock=lambda: next(times)
    )
    await pay(stopped, made.id)
    assert (await desk.now(made)).state is State.INITIATING
    assert await desk.truth(made, "batch") == []


# Money in.


async def test_money_that_comes_in_is_credited_after_our_own_question(desk: Till) -> None:
    made = await desk.ask(52)
    assert (await desk.reach(made)).state is State.COMPLETE
    assert await desk.purse() == (105_200, 0)
    assert await desk.between() == 5_200
    assert await said(desk.db, desk.who.conversation_id) == [f"Received KES 52.00. Ref {made.reference}."]


@pytest.mark.parametrize(
    ("fault", "state", "prompts"),
    [
        ("reset_after_execute", State.COMPLETE, 1),
        ("500_executed", State.COMPLETE, 1),
        ("200_truncated_json", State.COMPLETE, 1),
        ("200_wrong_amount", State.COMPLETE, 1),
        ({"fault": "status_query_lies_for", "seconds": 0.5}, State.LATE, 1),
        ({"fault": "429", "retry_after": 0}, State.COMPLETE, 1),
        ("500_not_executed", State.FAILED, 0),
        ("200_html", State.FAILED, 0),
    ],
)
async def test_whatever_answer_is_lost_nobody_is_prompted_twice(
    desk: Till, fault: object, state: State, prompts: int
) -> None:
    await desk.plan("mpesa-stk-push", fault)
    made = await desk.ask()
    done = await desk.reach(made)
    if state is State.LATE:
        assert done.state is State.FAILED
        done = await desk.reach(made, {State.LATE})
    assert done.state is state
    assert len(await desk.truth(made, "invoice")) == prompts
    assert await desk.purse() == (100_000 + (0 if state is State.FAILED else 5_200), 0)


async def test_what_is_paid_after_it_failed_is_credited_and_told(desk: Till) -> None:
    made = await desk.ask(of=LATE)
    await desk.reach(made, {State.LATE})
    words = await said(desk.db, desk.who.conversation_id)
    assert words[0].startswith("The KES 52.00 were not paid: nobody answered the request on the phone.")
    assert words[1] == f"The KES 52.00 you paid have come after all, and are in your wallet. Ref {made.reference}."
    assert await desk.purse() == (105_200, 0)


@pytest.mark.parametrize("fault", ["200_wrong_amount"])
async def test_another_amount_credits_nothing(desk: Till, fault: str) -> None:
    await desk.plan("payment/status", fault)
    made = await desk.ask()
    assert (await desk.reach(made)).state is State.NEEDS_REVIEW
    assert await desk.purse() == (100_000, 0)
    reason = await desk.db.pool.fetchval("SELECT reason FROM payment_event ORDER BY id DESC LIMIT 1")
    assert reason == "amount 53.00, not 52.00"


async def test_a_contrary_webhook_after_the_success_changes_nothing(desk: Till) -> None:
    made = await desk.ask(of=CONTRARY)
    assert (await desk.reach(made)).state is State.COMPLETE
    invoice_id = (await desk.now(made)).invoice_id or ""
    async with desk.db.hot() as connection:
        assert await hint(connection, invoice_id, made.reference, "FAILED", "x")
    await desk.work()
    assert (await desk.now(made)).state is State.COMPLETE
    assert await desk.purse() == (105_200, 0)


async def test_a_page_to_pay_on_is_told_and_may_be_tried_again(desk: Till) -> None:
    made = await desk.ask(Decimal("10.50"), method=Method.CHECKOUT, currency="USD")
    await desk.reach(made, {State.PENDING})
    [words] = await said(desk.db, desk.who.conversation_id)
    url = words.split("here: ")[1].split("\n")[0]
    await desk.wire.post(url, data={"method": "CARD-PAYMENT", "card": "4000000000000002"})
    await desk.work()
    await desk.wire.post(url, data={"method": "CARD-PAYMENT", "card": "4242424242424242"})
    assert (await desk.reach(made)).state is State.COMPLETE
    paid = await desk.db.pool.fetchval("SELECT posted FROM account WHERE key = $1", f"wallet:{desk.owner}:USD")
    assert paid == 1_050


async def test_a_page_nobody_pays_on_ends(desk: Till) -> None:
    made = await desk.ask(Decimal(5), method=Method.CHECKOUT, currency="USD")
    assert (await desk.reach(made)).state is State.FAILED


# The database's own word.


async def test_postgres_refuses_moves_that_are_none_and_edits(desk: Till) -> None:
    made = await desk.send()
    execute = desk.db.pool.execute
    with pytest.raises(asyncpg.CheckViolationError, match="does not go from ready to succeeded"):
        await execute("UPDATE payment_instruction SET state = 'succeeded'")
    for column in ("amount = 1", "reference = 'x'", "owner = 'x'", "currency = 'USD'", "key = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(f"UPDATE payment_instruction SET {column}")  # noqa: S608  ours
    for statement in ("UPDATE payment_event SET reason = ''", "DELETE FROM payment_event", "DELETE FROM payment_hint"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(statement)
    await desk.reach(made)
    with pytest.raises(asyncpg.CheckViolationError, match="does not go from succeeded"):
        await execute("UPDATE payment_instruction SET state = 'failed'")


async def test_postgres_knows_the_same_moves(owner_url: str) -> None:
    connection = await asyncpg.connect(owner_url)
    source = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'payment_moved'")
    await connection.close()
    told = set(source.split("string_to_array('")[1].split("'")[0].split())
    assert told == {f"{before}>{after}" for before, later in MOVES.items() for after in later}


async def test_who_is_paid_is_sealed_and_bound_to_its_instruction(desk: Till) -> None:
    first, second = await desk.send(), await desk.send(to=DOUBT)
    whole = str(await desk.db.pool.fetch("SELECT payment_instruction::text FROM payment_instruction"))
    assert PAYS not in whole
    assert PAYS.encode().hex() not in whole
    await desk.db.pool.execute(
        "UPDATE payment_instruction i SET payee = o.payee FROM payment_instruction o WHERE i.id = $1 AND o.id = $2",
        first.id, second.id,
    )  # fmt: skip
    assert (await desk.reach(first)).state is State.FAILED
    assert await desk.truth(first, "batch") == []


async def test_a_stranger_resolves_nothing(desk: Till) -> None:
    made = await desk.send()
    async with desk.db.hot() as connection:
        with pytest.raises(Conflict, match="does not need a review"):
            await resolve(connection, made.reference, True, "staff:owner", "")
        with pytest.raises(Conflict, match="There is no payment"):
            await resolve(connection, str(uuid4()), True, "staff:owner", "")


# Invoices.


async def test_what_is_paid_on_an_invoice_reaches_the_wallet_and_its_sender_is_told(desk: Till) -> None:
    async with desk.db.hot() as connection:
        made = await invoices.create(
            connection, "invoice", desk.who.person_id, desk.who.conversation_id, Money(10_000, "KES"),
            invoices.Words("Asha", "Achieng"), today=date(2026, 11, 26),
        )  # fmt: skip

    async def paid(amount: int, of: str = PAYS, fee: int = 0) -> State:
        asked = Collect(
            uuid4().hex, Method.PUSH, desk.owner, desk.who.person_id, desk.who.conversation_id,
            Money(amount * 100, "KES"), Payee(of), Kind.INVOICE_PAYMENT, Money(fee * 100, "KES"), made.id,
        )  # fmt: skip
        async with desk.db.hot() as connection:
            instruction = await collect(connection, asked)
        return (await desk.reach(instruction)).state

    assert await paid(40, SAYS_NO) is State.FAILED
    assert await said(desk.db, desk.who.conversation_id) == []
    assert await paid(40) is State.COMPLETE
    assert await paid(60, fee=1) is State.COMPLETE
    part, whole = await said(desk.db, desk.who.conversation_id)
    assert part.startswith("Achieng paid KES 40.00 on invoice INV-2026-00001. KES 60.00 are still to be paid.")
    assert "still to be paid. The money is in your wallet. Ref " in part
    assert "It is paid in full. KES 59.00 are in your wallet, which is that without the fee of KES 1.00." in whole
    async with desk.db.hot() as connection:
        now = await invoices.find(connection, made.id)
        assert [one.amount.minor for one in await invoices.payments(connection, now)] == [4_000, 6_000]
    assert (now.state, now.rest.minor) == ("paid", 0)
    assert await desk.purse() == (109_900, 0)
    kinds = await desk.db.pool.fetch("SELECT kind, count(*) FROM journal_entry WHERE key LIKE 'deposit:%' GROUP BY 1")
    assert [tuple(row) for row in kinds] == [("INVOICE_PAYMENT", 2)]
