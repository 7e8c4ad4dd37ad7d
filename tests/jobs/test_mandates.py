"""A workflow that pays by itself, on a real Temporal server: each week once, whoever dies in between."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from connectors.wallet.mandates import Named, Standing, grant_mandate
from core import confirm
from core.actions import ActionContext, Person
from core.db import Database
from core.messages import Address, ChannelName
from core.providers import Providers
from core.settings import Settings
from core.workflows import InvalidWorkflow
from jobs.temporal import connect, schedule_id
from ledger.accounts import clearing, wallet
from ledger.balances import balance
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.conftest import Sandbox
from tests.jobs.people import someone
from tests.jobs.test_workflows import ENDED_LIMIT_S, ROOT, Bench, Json
from tests.skills import needs
from tests.waiting import until

pytestmark = needs("wallet")

NUMBER = "254712000002"
PAY: Json = {"id": "pay", "kind": "action", "action": "send_money",
             "params": {"amount": "100", "phone_number": f"+{NUMBER}"}}  # fmt: skip


@pytest.fixture
async def bench(db: Database, temporal_host: str, sandbox: Sandbox) -> Bench:
    """Asha has KES 1,000; Baraka has a wallet, and is known by his number."""
    settings = Settings(
        _env_file=None, temporal_host=temporal_host, temporal_namespace="mathia", sandbox_url=sandbox.url
    ).sandboxed()
    made = Bench(db, settings, await someone(db))
    other = await someone(db)
    await db.pool.execute("UPDATE identity SET provider_id = $1 WHERE person_id = $2", f"+{NUMBER}", other.person_id)
    sum_ = Money(100_000, "KES")
    legs = debit(clearing("bank", "KES"), sum_), credit(wallet(str(made.known.person_id), "KES"), sum_)
    await Ledger(db).post(Entry("fund", Kind.DEPOSIT, legs))
    return made


async def baraka(bench: Bench) -> UUID:
    found: UUID = await bench.db.pool.fetchval("SELECT person_id FROM identity WHERE provider_id = $1", f"+{NUMBER}")
    return found


async def grant(bench: Bench, definition: UUID, *, each: int = 10_000, ends: timedelta = timedelta(days=30)) -> None:
    """Confirm a mandate for it, as a chat does."""
    db, who, now = bench.db, bench.known, datetime.now(UTC)
    room = await db.pool.fetchval("SELECT room FROM conversation WHERE id = $1", who.conversation_id)
    sender = Address(ChannelName.WHATSAPP, "ours", room, room)
    version = await db.pool.fetchval("SELECT version FROM workflow_definition WHERE id = $1", definition)
    standing = Standing(
        definition_id=definition, version=version, workflow="Rent",
        payees=[Named(name="Baraka", number=NUMBER, wallet_of=await baraka(bench))], each=each, day=5 * each,
        total=5 * each, zone="Africa/Nairobi", until=now + ends,
    )  # fmt: skip
    async with db.transaction() as session:
        await confirm.ask(
            session, sender, who.conversation_id, "grant_mandate", standing.model_dump_json().encode(), now
        )
    waits = await db.pool.fetchval("SELECT id FROM confirmation WHERE state = 'pending'")
    providers = Providers(bench.settings)
    context = ActionContext(
        Person(who.person_id, "Asha", "en", None), who.conversation_id, db, providers, bench.settings, now,
        f"turn:{uuid4()}", sender, confirmed=waits,
    )  # fmt: skip
    await grant_mandate.run(context, standing)
    await providers.close()


async def has(bench: Bench, who: UUID) -> int:
    """What somebody has, in cents."""
    async with bench.db.hot() as connection:
        return (await balance(connection, wallet(str(who), "KES"))).posted.minor


async def test_it_pays_each_week_once_and_tells_of_it(bench: Bench) -> None:
    definition = await bench.add({**PAY, "say": False}, cron="0 9 * * MON")
    await grant(bench, definition)
    client = await connect(bench.settings, bench.db)
    weekly = client.get_schedule_handle(schedule_id(definition))

    async def scheduled() -> bool:
        return bool(await bench.db.pool.fetchval("SELECT scheduled FROM workflow_definition"))

    async def over() -> bool:
        rows = await bench.db.pool.fetch("SELECT state, created_at FROM workflow_run")
        # Temporal names scheduled runs by their second.
        return len(rows) == weeks and all(
            row["state"] == "done" and row["created_at"] < datetime.now(UTC) - timedelta(seconds=1) for row in rows
        )

    async with bench.worker():
        await until(scheduled, ENDED_LIMIT_S, "the schedule")
        for weeks in (1, 2):  # noqa: B007  read by `over`
            await weekly.trigger()
            await until(over, ENDED_LIMIT_S, "the run")
    assert await has(bench, bench.known.person_id) == 80_000
    assert await has(bench, await baraka(bench)) == 20_000
    told = await bench.said()
    assert [text.partition(" is left")[0] for text in told] == [
        f"“Rent” sent KES 100.00 to Baraka +{NUMBER}. Of what you allowed it, KES {left}.00" for left in (400, 300)
    ]


async def test_without_a_mandate_and_after_its_end_it_says_how_to_allow_it(bench: Bench) -> None:
    async with bench.worker():
        definition = await bench.add(PAY, name="Rent")
        _, outcome = await bench.ended(await bench.start(definition))
        assert outcome is not None
        assert outcome["error"].startswith(
            "This workflow has no standing mandate. You allow it in your private chat: “let Rent pay"
        )
        await grant(bench, definition)
        assert (await bench.ended(await bench.start(definition)))[0] == "done"
        await bench.db.pool.execute("UPDATE workflow_definition SET timezone = 'UTC'")
        state, outcome = await bench.ended(await bench.start(definition))
        await grant(bench, definition, ends=timedelta(milliseconds=300))

        async def late() -> bool:
            live = "SELECT until < clock_timestamp() FROM mandate WHERE ended_at IS NULL"
            return bool(await bench.db.pool.fetchval(live))

        await until(late, 5, "the end of the mandate")
        assert outcome is not None
        _, after = await bench.ended(await bench.start(definition))
        assert after is not None
    assert state == "failed"
    assert outcome["error"].startswith("This workflow has no standing mandate.")
    assert after["error"].startswith("Its standing mandate is over.")
    assert await has(bench, bench.known.person_id) == 90_000
    told = [text for text in await bench.said() if "did not pay" in text or "stopped at" in text]
    assert [text.partition(" You allow")[0] for text in told] == [
        f"“Rent” did not pay KES 100.00 to +{NUMBER}; your money is where it was. {why}"
        for why in (*2 * ("This workflow has no standing mandate.",), "Its standing mandate is over.")
    ]


async def test_no_other_action_that_is_confirmed_is_a_step(bench: Bench) -> None:
    for name in ("withdraw", "refund_invoice", "grant_mandate", "resume_payments"):
        with pytest.raises(InvalidWorkflow, match="has to be confirmed by a person"):
            await bench.add({"id": "x", "kind": "action", "action": name, "params": {}})


async def test_who_dies_between_paying_and_saying_so_pays_once(bench: Bench, database_url: str) -> None:
    definition = await bench.add(PAY)
    await grant(bench, definition)
    run = await bench.start(definition)
    dying = await _process(bench, database_url, crash="turn.action_ran:1")
    assert await asyncio.wait_for(dying.wait(), 30) == 9
    assert await has(bench, bench.known.person_id) == 90_000
    async with bench.worker():
        assert (await bench.ended(run))[0] == "done"
    assert await has(bench, bench.known.person_id) == 90_000
    assert await has(bench, await baraka(bench)) == 10_000
    assert await bench.db.pool.fetchval("SELECT count(*) FROM mandate_use") == 1
    assert len([text for text in await bench.said() if "sent KES 100.00" in text]) == 1
    assert (await bench.steps(run))["pay"][0] == "done"


async def _process(bench: Bench, database_url: str, crash: str) -> asyncio.subprocess.Process:
    environment: dict[str, Any] = {
        **os.environ, "DATABASE_URL": database_url, "TEMPORAL_HOST": bench.settings.temporal_host,
        "SANDBOX_URL": bench.settings.sandbox_url, "MATHIA_CRASH": crash,
    }  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.jobs.worker_process", bench.task_queue, cwd=ROOT, env=environment
    )
