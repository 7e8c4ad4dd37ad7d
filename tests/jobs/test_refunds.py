"""Payments to us that are given back, and disputes: told once, at most what came in, and decided once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from bot.sandbox.accounts import INTASEND_SECRET_KEY
from core import people
from core.db import Database
from core.errors import Conflict, UserError
from core.settings import Settings
from jobs.reconcile import reconcile
from jobs.wallets import move_left_behind
from ledger import dispute_store, invoices, matching_store
from ledger import reconcile as books
from ledger.accounts import disputed, held_at, receivable, wallet
from ledger.balances import balance
from ledger.dispute_store import Opening
from ledger.disputes import CLOSED, MOVES, Act, Stage
from ledger.errors import InsufficientFunds, KeyReused, Unknown
from ledger.instruction_store import Collect, collect, hint, refund, resolve
from ledger.instructions import Instruction, Method, Payee, State
from ledger.journal import Account, Kind
from ledger.money import Money
from tests.bot.sandbox.conftest import Simulators
from tests.conftest import Sandbox
from tests.jobs.people import said, someone
from tests.jobs.till import PAYS, Till, till
from tests.waiting import until

RACERS = 64
BY = "staff:owner"


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        yield made


@pytest.fixture
async def alone(db: Database, tmp_path: Path) -> AsyncIterator[Till]:
    """A till with a provider of its own, whose list has nothing of other tests."""
    simulators = Simulators(tmp_path)
    simulators.start()
    try:
        async with till(db, Settings(_env_file=None, sandbox_url=simulators.url).sandboxed()) as made:
            yield made
    finally:
        simulators.stop()


def kes(amount: int) -> Money:
    return Money(amount * 100, "KES")


async def paid(desk: Till, amount: int = 500) -> Instruction:
    """A payment to us that has come."""
    of = await desk.reach(await desk.ask(amount))
    assert of.state is State.COMPLETE
    return of


async def back(desk: Till, of: Instruction, amount: int, key: str = "refund") -> Instruction:
    async with desk.db.hot() as connection:
        return await refund(connection, key, of.reference, kes(amount), BY, "they changed their mind")


async def dispute(desk: Till, of: Instruction, amount: int, key: str = "dispute") -> dispute_store.Dispute:
    async with desk.db.hot() as connection:
        return await dispute_store.open_(connection, Opening(key, of.reference, kes(amount), BY, "not delivered"))


async def has(desk: Till, account: Account) -> tuple[int, int]:
    """What an account has and what of it is kept back, in cents."""
    async with desk.db.hot() as connection:
        now = await balance(connection, account)
    return now.posted.minor, now.pending_out.minor


async def is_sound(desk: Till) -> bool:
    async with desk.db.hot() as connection:
        return (await books.reconcile(connection)).differences == ()


async def returns(desk: Till, of: Instruction) -> list[str]:
    """The amounts that the provider gave back of a payment."""
    rows = (await desk.wire.get("/_truth")).json()
    return [row["amount"] for row in rows if row["kind"] == "refunded" and row["invoice_id"] == of.invoice_id]


async def test_some_of_a_payment_is_given_back_and_never_more_than_came(desk: Till) -> None:
    of = await paid(desk)
    made = await back(desk, of, 200)
    assert (await back(desk, of, 200)).id == made.id
    assert await desk.purse() == (50_000, 20_000)
    with pytest.raises(KeyReused):
        await back(desk, of, 100)
    for amount in (301, 0, -1):
        with pytest.raises(UserError, match=r"At most KES 300\.00"):
            await back(desk, of, amount, "more")
    done = await desk.reach(made)
    assert done.state is State.SUCCEEDED
    assert await desk.path(made) == ["ready", "initiating", "submitted", "succeeded"]
    assert await desk.purse() == (30_000, 0)
    assert await returns(desk, of) == ["200"]
    assert await desk.between() == 30_000
    assert (await said(desk.db, desk.who.conversation_id))[-1] == (
        f"KES 200.00 were given back to whoever had paid them. Ref {made.reference}."
    )
    assert (await desk.reach(await back(desk, of, 300, "rest"))).state is State.SUCCEEDED
    with pytest.raises(UserError, match=r"At most KES 0\.00"):
        await back(desk, of, 1, "more")
    assert await is_sound(desk)


async def test_only_what_has_come_and_is_there_is_given_back(desk: Till) -> None:
    with pytest.raises(UserError, match="has come can be given back"):
        await back(desk, await desk.ask(100), 100)
    of = await paid(desk)
    await desk.reach(await desk.send(400))
    with pytest.raises(InsufficientFunds):
        await back(desk, of, 201)
    with pytest.raises(UserError, match="has come"):
        await back(desk, await desk.send(10), 10)
    async with desk.db.hot() as connection:
        with pytest.raises(Unknown):
            await refund(connection, "k", "NOT-HERE-AT", kes(1), BY, "")


async def test_of_many_refunds_at_once_no_more_than_came_in_is_given_back(desk: Till) -> None:
    of = await paid(desk, 100)
    await desk.fund(1_000)
    made = await asyncio.gather(
        *(back(desk, of, 30, f"refund:{n}") for n in range(8)), return_exceptions=True
    )  # fmt: skip
    assert sum(isinstance(one, Instruction) for one in made) == 3
    assert {type(one) for one in made} == {Instruction, UserError}


@pytest.mark.parametrize(
    ("path", "fault", "state"),
    [
        ("chargebacks", "reset_after_execute", State.SUCCEEDED),
        ("chargebacks", "500_executed", State.SUCCEEDED),
        ("chargebacks", "200_truncated_json", State.SUCCEEDED),
        ("chargebacks", "500_not_executed", State.FAILED),
        ("chargebacks", {"fault": "429", "retry_after": 0}, State.SUCCEEDED),
    ],
)
async def test_whatever_answer_is_lost_a_refund_is_made_once_at_most(
    desk: Till, path: str, fault: object, state: State
) -> None:
    of = await paid(desk)
    await desk.plan(path, fault)
    made = await desk.reach(await back(desk, of, 200))
    assert made.state is state
    sent = ["200"] if state is State.SUCCEEDED else []
    assert await returns(desk, of) == sent
    assert await desk.purse() == ((30_000, 0) if sent else (50_000, 0))


async def test_a_worker_that_died_while_it_told_asks_and_does_not_tell_again(desk: Till) -> None:
    of = await paid(desk)
    made = await back(desk, of, 200)
    await desk.hands.provider.chargeback(of.invoice_id or "", kes(200).decimal, "Other", made.reference)
    await desk.db.pool.execute(
        "UPDATE payment_instruction SET state = 'initiating', asked_at = clock_timestamp() WHERE id = $1", made.id
    )
    assert (await desk.reach(made)).state is State.SUCCEEDED
    assert await returns(desk, of) == ["200"]


async def test_a_webhook_of_a_refund_only_has_the_provider_asked(desk: Till) -> None:
    of = await paid(desk)
    made = await desk.reach(await back(desk, of, 200))
    async with desk.db.hot() as connection:
        assert await hint(connection, made.tracking_id or "", None, "CANCELLED", "later")
        assert not await hint(connection, "OTHER", None, "COMPLETED", "later")
    await desk.work()
    assert (await desk.now(made)).state is State.SUCCEEDED


async def test_a_dispute_freezes_what_is_there_and_says_what_had_been_spent(desk: Till) -> None:
    of = await paid(desk)
    await desk.reach(await desk.send(300))
    made = await dispute(desk, of, 500)
    assert (made.state, made.frozen, made.amount) == (Stage.FROZEN, kes(200), kes(500))
    assert await dispute(desk, of, 500) == made
    assert await desk.purse() == (0, 0)
    with pytest.raises(InsufficientFunds):
        await desk.send(1)
    with pytest.raises(UserError, match=r"At most KES 0\.00"):
        await dispute(desk, of, 1, "another")
    with pytest.raises(UserError, match=r"At most KES 0\.00"):
        await back(desk, of, 1)
    # What comes later is frozen when somebody says so, up to what is disputed.
    await desk.fund(1_000)
    async with desk.db.hot() as connection:
        made = await dispute_store.freeze(connection, made.reference, BY, "more came")
    assert made.frozen == kes(500)
    assert await desk.purse() == (70_000, 0)
    async with desk.db.hot() as connection:
        made = await dispute_store.release(connection, made.reference, BY, "it was delivered")
        steps = [(row["to_state"], row["amount"]) for row in await dispute_store.events(connection, made)]
    assert steps == [("open", 50_000), ("frozen", 20_000), ("frozen", 30_000), ("released", 50_000)]
    assert await desk.purse() == (120_000, 0)
    assert await has(desk, disputed(desk.owner, "KES")) == (0, 0)
    # It is decided; another may be opened.
    assert (await dispute(desk, of, 500, "another")).state is Stage.FROZEN
    assert await is_sound(desk)


async def test_a_dispute_about_what_was_spent_is_open_and_freezes_nothing(desk: Till) -> None:
    of = await paid(desk)
    await desk.reach(await desk.send(500))
    made = await dispute(desk, of, 500)
    assert (made.state, made.frozen.minor) == (Stage.OPEN, 0)
    async with desk.db.hot() as connection:
        with pytest.raises(Conflict, match="is open"):
            await dispute_store.give_back(connection, made.reference, BY, "x")
        with pytest.raises(Conflict, match="taken nothing back"):
            await dispute_store.lose(connection, made.reference, BY, "x")
        made = await dispute_store.release(connection, made.reference, BY, "settled among them")
    assert made.state is Stage.RELEASED
    assert made.closed_at is not None


async def test_a_dispute_is_refunded_from_what_is_frozen(desk: Till) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 400)
    async with desk.db.hot() as connection:
        made = await dispute_store.give_back(connection, made.reference, BY, "not delivered")
    assert made.state is Stage.REFUNDING
    assert await has(desk, disputed(desk.owner, "KES")) == (40_000, 40_000)
    await desk.fund(1)

    async def is_over() -> bool:
        await desk.work()
        async with desk.db.hot() as connection:
            return (await dispute_store.find(connection, made.reference)).state is Stage.REFUNDED

    await until(is_over, 15.0, "the refund")
    assert await has(desk, disputed(desk.owner, "KES")) == (0, 0)
    assert await desk.purse() == (10_100, 0)
    assert await returns(desk, of) == ["400"]
    with pytest.raises(UserError, match=r"At most KES 100\.00"):
        await back(desk, of, 101)
    assert await is_sound(desk)


async def test_a_refund_that_fails_leaves_the_money_frozen(desk: Till) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 400)
    for outcome in ("refuse", "500_not_executed"):
        await desk.plan("chargebacks", outcome)
        async with desk.db.hot() as connection:
            await dispute_store.give_back(connection, made.reference, BY, "not delivered")
        row = await desk.db.pool.fetchrow("SELECT reference FROM payment_instruction ORDER BY id DESC LIMIT 1")
        async with desk.db.hot() as connection:
            now = await dispute_store.find(connection, made.reference)
        assert now.state is Stage.REFUNDING

        async def is_frozen() -> bool:
            await desk.work()
            async with desk.db.hot() as connection:
                return (await dispute_store.find(connection, made.reference)).state is Stage.FROZEN

        await until(is_frozen, 15.0, f"{row['reference']} to fail")
        assert await has(desk, disputed(desk.owner, "KES")) == (40_000, 0)
    assert await returns(desk, of) == []


async def test_of_many_decisions_at_once_one_is_made(desk: Till) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 500)

    async def decide(number: int) -> dispute_store.Dispute:
        async with desk.db.hot() as connection:
            way = (dispute_store.release, dispute_store.give_back)[number % 2]
            return await way(connection, made.reference, f"staff:{number}", "race")

    answers = await asyncio.gather(*(decide(number) for number in range(RACERS)), return_exceptions=True)
    won = [one for one in answers if isinstance(one, dispute_store.Dispute)]
    assert len(won) == 1
    assert sum(isinstance(one, Conflict) for one in answers) == RACERS - 1
    steps = await desk.db.pool.fetchval("SELECT count(*) FROM dispute_event WHERE to_state <> 'open'")
    assert steps == 2
    free, kept = (await desk.purse())[0], (await has(desk, disputed(desk.owner, "KES")))[0]
    assert {free, kept} == {0, 50_000}
    assert await is_sound(desk)


async def test_postgresql_refuses_a_step_that_does_not_follow(desk: Till) -> None:
    made = await dispute(desk, await paid(desk), 500)
    for stage in Stage:
        if stage in MOVES[made.state] or stage is made.state:
            continue
        with pytest.raises(asyncpg.CheckViolationError):
            await desk.db.pool.execute(
                "UPDATE dispute SET state = $2, closed_at = CASE WHEN $3 THEN clock_timestamp() END WHERE id = $1",
                made.id, stage.value, stage in CLOSED,
            )  # fmt: skip
    for statement in ("UPDATE dispute SET amount = 1", "DELETE FROM dispute", "UPDATE dispute_event SET reason = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.db.pool.execute(statement)


async def charge_back(desk: Till, of: Instruction, amount: int) -> None:
    """Somebody gives a payment back at the provider, and not through us."""
    headers = {"Authorization": f"Bearer {INTASEND_SECRET_KEY}"}
    body = {"invoice": of.invoice_id, "amount": amount, "reason": "Other", "reason_details": "by hand"}
    answer = await desk.wire.post("/api/v1/chargebacks/", json=body, headers=headers)
    assert answer.status_code == 201, answer.text

    async def is_back() -> bool:
        return bool(await returns(desk, of))

    await until(is_back, 5.0, "the chargeback")


async def test_a_chargeback_of_the_provider_opens_a_dispute_once_and_what_was_spent_is_owed(
    alone: Till, owner_url: str
) -> None:
    of = await paid(alone)
    assert (await alone.reach(await alone.send(350))).state is State.SUCCEEDED
    await reconcile(alone.db, alone.hands.provider, at_once=True)
    # Long ago: the payment is not among those that are compared any more.
    owner = await asyncpg.connect(owner_url)
    await owner.execute(
        "UPDATE payment_instruction SET created_at = created_at - interval '20 days',"
        " done_at = done_at - interval '20 days'"
    )
    await owner.close()
    await charge_back(alone, of, 500)
    for _ in range(2):
        await reconcile(alone.db, alone.hands.provider, at_once=True)
    async with alone.db.hot() as connection:
        [made] = await dispute_store.waiting(connection)
        findings = [row["kind"] for row in await matching_store.open_findings(connection)]
        with pytest.raises(Conflict, match="taken this money back already"):
            await dispute_store.give_back(connection, made.reference, BY, "x")
    assert (made.opened_by, made.frozen, made.amount) == ("provider", kes(150), kes(500))
    assert findings == ["reversed"]
    [words] = [words for words in await said(alone.db, alone.who.conversation_id) if "disputed" in words]
    assert "KES 150.00 of it are kept back" in words
    held = (await has(alone, held_at("intasend", "KES")))[0]
    async with alone.db.hot() as connection:
        made = await dispute_store.lose(connection, made.reference, BY, "the bank decided so")
        assert await matching_store.open_findings(connection) == []
    assert (made.state, made.owed) == (Stage.LOST, kes(350))
    assert (await has(alone, held_at("intasend", "KES")))[0] == held - 50_000
    assert await has(alone, receivable(alone.owner, "KES")) == (35_000, 0)
    assert await has(alone, disputed(alone.owner, "KES")) == (0, 0)
    assert await has(alone, wallet(alone.owner, "KES")) == (0, 0)
    assert await alone.between() == 0
    with pytest.raises(UserError, match=r"At most KES 0\.00"):
        await back(alone, of, 1)
    assert await is_sound(alone)


async def test_a_refund_of_ours_is_settled_and_no_finding(alone: Till) -> None:
    of = await paid(alone)
    await alone.reach(await back(alone, of, 200))
    outcome = await reconcile(alone.db, alone.hands.provider, at_once=True)
    assert outcome is not None
    assert (outcome.matched, outcome.unexplained) == (2, {})
    assert await alone.between() == 0
    async with alone.db.hot() as connection:
        assert await dispute_store.waiting(connection) == []
        assert await matching_store.open_findings(connection) == []


async def test_staff_say_how_a_refund_ended_that_nobody_can_tell_of(desk: Till) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 500)
    async with desk.db.hot() as connection:
        await dispute_store.give_back(connection, made.reference, BY, "not delivered")
    await desk.db.pool.execute("UPDATE payment_instruction SET state = 'initiating' WHERE method = 'refund'")
    await desk.db.pool.execute(
        "UPDATE payment_instruction SET state = 'needs_review', due_at = NULL WHERE method = 'refund'"
    )
    reference = await desk.db.pool.fetchval("SELECT reference FROM payment_instruction WHERE method = 'refund'")
    async with desk.db.hot() as connection:
        await resolve(connection, reference, True, BY, "their statement has it")
        assert (await dispute_store.find(connection, made.reference)).state is Stage.REFUNDED
    assert await has(desk, disputed(desk.owner, "KES")) == (0, 0)


async def test_an_invoice_is_disputed_with_its_payment_until_all_of_it_is_released(desk: Till) -> None:
    async with desk.db.hot() as connection:
        words = invoices.Words("Amina", "Jane")
        bill = await invoices.create(
            connection, "bill", desk.who.person_id, desk.who.conversation_id, kes(500), words,
            today=datetime.now(UTC).date(),
        )  # fmt: skip
        asked = Collect(
            "pay", Method.PUSH, desk.owner, desk.who.person_id, desk.who.conversation_id, kes(500), Payee(PAYS),
            Kind.INVOICE_PAYMENT, pays=bill.id,
        )  # fmt: skip
        of = await collect(connection, asked)
    await desk.reach(of)
    made = [await dispute(desk, of, 200, f"part:{n}") for n in range(2)]
    for one, state in zip(made, ("disputed", "paid"), strict=True):
        async with desk.db.hot() as connection:
            assert (await invoices.find(connection, bill.id)).state == "disputed"
            await dispute_store.release(connection, one.reference, BY, "delivered")
            assert (await invoices.find(connection, bill.id)).state == state


def test_every_step_that_a_person_should_know_of_is_told() -> None:
    made = dispute_store.Dispute(
        1, "D", Stage.FROZEN, kes(500), kes(200), kes(0), "P", "o", uuid4(), uuid4(), "en", None, BY,
        datetime.now(UTC), None,
    )  # fmt: skip
    told = dispute_store.told
    for before, of, words in (
        (None, made, "KES 200.00 of it are kept back"),
        (None, replace(made, state=Stage.OPEN, frozen=kes(0)), "None of it was left"),
        (kes(100), made, "KES 200.00 of KES 500.00 are now kept back"),
        (kes(200), replace(made, state=Stage.RELEASED), "decided for you"),
        (kes(0), replace(made, state=Stage.RELEASED, frozen=kes(0)), "is settled"),
        (kes(200), replace(made, state=Stage.LOST, owed=kes(300)), "KES 300.00 of them were no longer"),
        (kes(500), replace(made, state=Stage.LOST, frozen=kes(500)), "went back to whoever"),
    ):  # fmt: skip
        says = told(before, of)
        assert says is not None
        assert words in says.en
        assert says.sw != says.en
    for of in (made, replace(made, state=Stage.REFUNDING), replace(made, state=Stage.REFUNDED)):
        assert told(kes(200), of) is None


@pytest.mark.parametrize("swept", [False, True])
async def test_a_dispute_follows_a_person_who_turned_out_to_be_another(desk: Till, swept: bool) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 400)
    kept = await someone(desk.db)
    async with desk.db.transaction() as session:
        await people.merge(session, kept.person_id, desk.who.person_id)
    if swept:
        await move_left_behind(desk.db)
    async with desk.db.hot() as connection:
        await dispute_store.freeze(connection, made.reference, BY, "more")
        now = await dispute_store.release(connection, made.reference, BY, "delivered")
    assert now.state is Stage.RELEASED
    await move_left_behind(desk.db)
    assert await has(desk, wallet(str(kept.person_id), "KES")) == (50_000, 0)
    made_back = await back(desk, of, 500)
    assert made_back.owner == str(kept.person_id)
    assert (await desk.reach(made_back)).state is State.SUCCEEDED
    assert await is_sound(desk)


async def test_above_a_limit_two_of_the_staff_decide_the_same(desk: Till) -> None:
    of = await paid(desk)
    made = await dispute(desk, of, 400)

    async def decide(act: Act, by: str) -> bool:
        async with desk.db.hot() as connection:
            _, done = await dispute_store.decide(connection, act, made.reference, by, "because", kes(399))
        return done

    assert not await decide(Act.REFUND, "staff:a")
    with pytest.raises(UserError, match="somebody else"):
        await decide(Act.REFUND, "staff:a")
    # Another decision is another proposal, of which the first is no approval; so is one with a freeze in between.
    assert not await decide(Act.RELEASE, "staff:b")
    assert not await decide(Act.REFUND, "staff:b")
    assert not await decide(Act.RELEASE, "staff:b")
    async with desk.db.hot() as connection:
        assert (await dispute_store.find(connection, made.reference)).state is Stage.FROZEN
    for act, why in ((Act.FREEZE, "not its next step"), (Act.LOSE, "not its next step")):
        with pytest.raises(Conflict, match=why):
            await decide(act, "staff:a")
    answers = await asyncio.gather(
        *(decide(Act.RELEASE, f"staff:{n}") for n in range(8)), return_exceptions=True
    )  # fmt: skip
    assert sum(answer is True for answer in answers) == 1
    assert await desk.purse() == (50_000, 0)
    small = await dispute(desk, of, 100, "small")
    async with desk.db.hot() as connection:
        _, done = await dispute_store.decide(connection, Act.RELEASE, small.reference, BY, "so little", kes(100))
    assert done
