"""Payments through a person's own account with the provider: all of it there, nothing of it here, and nobody else's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.sandbox.accounts import (
    INTASEND_OTHER_PUBLISHABLE_KEY,
    INTASEND_OTHER_SECRET_KEY,
    INTASEND_PUBLISHABLE_KEY,
    INTASEND_SECRET_KEY,
)
from core.db import Database
from core.errors import Conflict, UserError
from core.providers import Refused
from core.settings import Settings
from jobs.payments import pay
from jobs.reconcile import reconcile
from ledger import dispute_store, matching_store, own_accounts
from ledger import reconcile as books
from ledger.accounts import clearing, held_at, own
from ledger.balances import balance
from ledger.errors import InsufficientFunds
from ledger.instruction_store import PayOut, find, hint, pay_out, refund
from ledger.instructions import Instruction, Payee, State
from ledger.journal import Account
from ledger.leaving import check
from ledger.money import Money
from ledger.own_accounts import OwnKeys
from tests.bot.sandbox.conftest import Simulators
from tests.conftest import Sandbox
from tests.jobs.people import someone
from tests.jobs.till import PAYS, Till, till

KEYS = own_accounts.read(INTASEND_OTHER_PUBLISHABLE_KEY, INTASEND_OTHER_SECRET_KEY, is_live=False)
PROVIDER = f"intasend:{KEYS.account}"


@asynccontextmanager
async def owning(db: Database, url: str) -> AsyncIterator[Till]:
    """A till of somebody who has an account of their own."""
    async with till(db, Settings(_env_file=None, sandbox_url=url).sandboxed()) as made:
        async with db.hot() as connection:
            await own_accounts.give(connection, made.who.person_id, KEYS)
        yield made


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    async with owning(db, sandbox.url) as made:
        yield made


@pytest.fixture
async def alone(db: Database, tmp_path: Path) -> AsyncIterator[Till]:
    """The same, at a provider whose lists have nothing of other tests."""
    simulators = Simulators(tmp_path)
    simulators.start()
    try:
        async with owning(db, simulators.url) as made:
            yield made
    finally:
        simulators.stop()


async def has(desk: Till, account: Account) -> int:
    async with desk.db.hot() as connection:
        return (await balance(connection, account)).posted.minor


async def send(desk: Till, amount: int, account: str | None = KEYS.account) -> Instruction:
    asked = PayOut(
        f"own:{amount}", desk.owner, desk.who.person_id, desk.who.conversation_id, Money(amount * 100, "KES"),
        Payee(PAYS, "Jane"), account=account,
    )  # fmt: skip
    async with desk.db.hot() as connection:
        return await pay_out(connection, asked)


async def test_what_is_paid_comes_to_their_own_account_and_goes_from_it(alone: Till) -> None:
    mine = own(alone.owner, KEYS.account, "KES")
    of = await alone.reach(await alone.ask(500))
    assert (of.state, of.account) == (State.COMPLETE, KEYS.account)
    # Nothing of it is ours to hold, nor to send on.
    assert await alone.purse() == (0, 0)
    assert await alone.between() == 0
    assert await has(alone, mine) == 50_000
    with pytest.raises(InsufficientFunds):
        await send(alone, 100, account=None)
    with pytest.raises(InsufficientFunds):
        await send(alone, 501)
    done = await alone.reach(await send(alone, 200))
    assert done.state is State.SUCCEEDED
    async with alone.db.hot() as connection:
        back = await refund(connection, "back", of.reference, Money(10_000, "KES"), "staff:owner", "too much")
        with pytest.raises(UserError, match="own account"):
            await dispute_store.open_(
                connection, dispute_store.Opening("d", of.reference, Money(100, "KES"), "staff:owner", "x")
            )
    assert (await alone.reach(back)).state is State.SUCCEEDED
    assert await has(alone, mine) == 20_000
    assert await has(alone, clearing(PROVIDER, "KES")) == 20_000
    # The provider did all three with the other merchant's wallet.
    rows = (await alone.wire.get("/_truth")).json()
    assert {row["wallet_id"] for row in rows if row["kind"] in ("invoice", "sent", "refunded")} == {"0XOTHRK"}

    # Compared with the list of that account, its clearing account is at zero; their other business is none of ours.
    await alone.wire.post("/_lines", json={"wallet_id": "0XOTHRK", "lines": [
        {"transaction_id": "THEIRS", "value": "-9.00", "running_balance": "0", "narrative": "x", "trans_type": "PAYOUT",
         "at": 1e10},
    ]})  # fmt: skip
    outcome = await reconcile(alone.db, alone.hands.provider, alone.hands.accounts, at_once=True)
    assert outcome is not None
    assert (outcome.matched, outcome.found) == (3, 0)
    assert await has(alone, clearing(PROVIDER, "KES")) == 0
    assert await has(alone, held_at(PROVIDER, "KES")) == 20_000 - 1_500 - 1_000
    async with alone.db.hot() as connection:
        await check(connection, [alone.who.person_id])  # What is in their own account holds nobody back.
        assert await matching_store.open_findings(connection) == []
    async with alone.db.hot() as connection:
        assert (await books.reconcile(connection)).differences == ()


async def test_a_webhook_of_ours_changes_nothing_of_a_payment_in_anothers_account(desk: Till) -> None:
    of = await desk.ask(500)
    await desk.work()
    now = await desk.now(of)
    assert now.invoice_id is not None
    async with desk.db.hot() as connection:
        for ref, reference in ((now.invoice_id, None), ("OTHER", of.reference)):
            assert not await hint(connection, ref, reference, "COMPLETE", "now")
    # Nor can our own keys ask for it, nor theirs for what is ours.
    with pytest.raises(Refused):
        await desk.hands.provider.collection(now.invoice_id)
    assert (await desk.reach(of)).state is State.COMPLETE


async def test_a_payment_goes_on_with_the_keys_it_was_made_with(desk: Till) -> None:
    of = await desk.ask(500)
    await desk.work()
    others = OwnKeys("another", "ISPubKey_test_another", "ISSecretKey_test_another", is_live=False)
    async with desk.db.hot() as connection:
        await own_accounts.give(connection, desk.who.person_id, others)
        with pytest.raises(Conflict, match="under way"):
            await own_accounts.forget(connection, desk.who.person_id)
    assert (await desk.reach(of)).state is State.COMPLETE
    async with desk.db.hot() as connection:
        assert await own_accounts.forget(connection, desk.who.person_id)
        assert not await own_accounts.forget(connection, desk.who.person_id)
        assert await connection.fetchval("SELECT count(*) FROM credential") == 0
    ours = await desk.reach(await desk.ask(40))
    assert ours.account is None
    assert await desk.purse() == (4_000, 0)


@pytest.mark.parametrize("told", [False, True])
async def test_without_its_keys_what_was_not_told_ends_and_what_was_waits_for_a_person(desk: Till, told: bool) -> None:
    of = await desk.ask(500)
    if told:
        await desk.work()
    await desk.db.pool.execute("DELETE FROM credential")
    done = await desk.reach(of)
    assert done.state is (State.NEEDS_REVIEW if told else State.FAILED)
    assert await desk.purse() == (0, 0)


async def test_keys_of_the_sandbox_are_not_used_where_money_is_real(desk: Till) -> None:
    of = await desk.ask(500)
    live = Settings(
        _env_file=None, intasend_publishable_key="ISPubKey_live_x", intasend_secret_key="ISSecretKey_live_x"
    )  # fmt: skip
    assert desk.hands.accounts is not None
    accounts = type(desk.hands.accounts)(desk.hands.accounts._providers, live)
    await pay(replace(desk.hands, accounts=accounts), of.id)
    assert (await desk.now(of)).state is State.FAILED


@pytest.mark.parametrize(
    ("publishable", "secret", "is_live", "why"),
    [
        ("ISPubKey_live_abcd", "ISSecretKey_test_abcd", True, "One key is of the sandbox"),
        ("ISPubKey_test_abcd", "ISSecretKey_test_abcd", True, "moves real money"),
        ("ISPubKey_live_abcd", "ISSecretKey_live_abcd", False, "only plays"),
        ("ISSecretKey_live_abcd", "ISPubKey_live_abcd", True, "no keys of IntaSend"),
        ("ISPubKey_live_abcd", "", True, "no keys of IntaSend"),
        ("ISPubKey_live_abcd\n", "ISSecretKey_live_ab cd", True, "no keys of IntaSend"),
        ("x" * 9_000, "canary", True, "no keys of IntaSend"),
    ],
)
def test_keys_that_do_not_go_together_are_refused_and_not_repeated(
    publishable: str, secret: str, is_live: bool, why: str
) -> None:
    with pytest.raises(UserError, match=why) as refused:
        own_accounts.read(publishable, secret, is_live=is_live)
    assert not secret or secret not in str(refused.value)


async def test_nobody_pays_from_or_into_the_account_of_somebody_else(desk: Till) -> None:
    await desk.reach(await desk.ask(500))
    other = await someone(desk.db)
    asked = PayOut(
        "theft", str(other.person_id), other.person_id, other.conversation_id, Money(100, "KES"), Payee(PAYS),
        account=KEYS.account,
    )  # fmt: skip
    async with desk.db.hot() as connection:
        with pytest.raises(InsufficientFunds):
            await pay_out(connection, asked)
        assert await own_accounts.keys_of(connection, other.person_id, KEYS.account) is None
        assert await find(connection, "theft") is None


def test_both_merchants_of_the_simulator_are_somebody_else() -> None:
    ours = own_accounts.read(INTASEND_PUBLISHABLE_KEY, INTASEND_SECRET_KEY, is_live=False)
    assert ours.account != KEYS.account
    assert KEYS.secret not in repr(KEYS)
