"""A workflow pays within what was confirmed and no cent more, whoever writes it, and however many do at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from core.db import Database
from core.errors import UserError
from ledger import mandates
from ledger.mandates import Mandate, NoMandate, OutsideMandate, Terms
from tests.jobs.people import Known, someone
from tests.ledger.conftest import kes
from tests.waiting import until

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
JANE, JUMA, STRANGER = b"jane", b"juma", b"stranger"
CONFIRMED = """
INSERT INTO confirmation (id, person_id, identity_id, conversation_id, action, params, code_hash, state, created_at,
                          expires_at, ended_at, used_key)
SELECT $1::uuid, $2, (SELECT id FROM identity WHERE person_id = $2 LIMIT 1), $3, $4, '', '', $5, now(), now(),
       CASE WHEN $5 <> 'pending' THEN now() END, CASE WHEN $5 = 'used' THEN $1::uuid::text END
"""
GRANT = """
INSERT INTO mandate (confirmation_id, definition_id, version, payees, currency, max_each, max_per_day, max_total, zone,
                     until)
VALUES ($1, $2, $3, ARRAY['jane'::bytea], 'KES', $4, $5, $6, $7, clock_timestamp() + $8::interval)
"""
USE = "INSERT INTO mandate_use (key, mandate_id, workflow_id, payee, amount) VALUES ($1, $2, $3, $4, $5)"


def noon() -> str:
    """A zone where it is about noon, so that no midnight passes while a test runs."""
    hours = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


@dataclass
class Flow:
    """Somebody's workflow with a run under way, and what it may pay."""

    db: Database
    who: Known
    definition: UUID
    run: str

    async def confirmed(self, action: str = "grant_mandate", state: str = "used", of: Known | None = None) -> UUID:
        """A confirmation of theirs."""
        id_, of = uuid4(), of or self.who
        await self.db.pool.execute(CONFIRMED, id_, of.person_id, of.conversation_id, action, state)
        return id_

    async def version(self) -> int:
        found: int = await self.db.pool.fetchval(
            "SELECT version FROM workflow_definition WHERE id = $1", self.definition
        )
        return found

    async def grant(
        self, each: int = 100, day: int = 300, total: int = 1_000, *, ends: timedelta = timedelta(days=30)
    ) -> Mandate:
        """A mandate for Jane and Juma, in cents."""
        confirmation = await self.confirmed()
        terms = Terms((JANE, JUMA), kes(each), kes(day), kes(total), noon(), datetime.now(UTC) + ends)
        async with self.db.hot() as connection:
            return await mandates.grant(connection, confirmation, self.definition, await self.version(), terms)

    async def use(self, key: str, amount: int, payee: bytes = JANE) -> Mandate:
        """Pay under it, as a step does, but for the money."""
        async with self.db.hot() as connection:
            held = await mandates.hold_for(connection, self.run)
            return await mandates.use(connection, held, key, self.run, payee, kes(amount))

    async def edit(self) -> None:
        """Change what the workflow does, and begin a run of what it does now."""
        await self.db.pool.execute(
            "UPDATE workflow_definition SET spec = $2 WHERE id = $1", self.definition, uuid4().bytes
        )

    async def begin(self) -> None:
        """Begin another run, of the workflow as it is now."""
        self.run = f"run-{uuid4()}"
        await begun(self.db, self.run, self.definition, await self.version())

    async def spent(self) -> int:
        return int(await self.db.pool.fetchval("SELECT coalesce(sum(amount), 0) FROM mandate_use"))


async def begun(db: Database, run: str, definition: UUID, version: int) -> None:
    await db.pool.execute(
        "INSERT INTO workflow_run (workflow_id, definition_id, state, version) VALUES ($1, $2, 'running', $3)",
        run, definition, version,
    )  # fmt: skip


async def a_flow(db: Database, who: Known) -> Flow:
    made = Flow(db, who, uuid4(), "")
    await db.pool.execute(
        "INSERT INTO workflow_definition (id, person_id, conversation_id) VALUES ($1, $2, $3)",
        made.definition, who.person_id, who.conversation_id,
    )  # fmt: skip
    await made.begin()
    return made


@pytest.fixture
async def flow(db: Database) -> Flow:
    return await a_flow(db, await someone(db))


@pytest.fixture(params=["application", "owner"])
async def writer(request: pytest.FixtureRequest, database_url: str, owner_url: str) -> "AsyncIterator[Raw]":
    """Raw SQL by either role."""
    connection = await asyncpg.connect(database_url if request.param == "application" else owner_url)
    try:
        yield connection
    finally:
        await connection.close()


async def refusal(writing: Awaitable[object]) -> str | None:
    """The SQLSTATE something was refused with; None where it was not."""
    try:
        await writing
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return None


TERMS = {"each": 1, "day": 2, "total": 3, "zone": "UTC", "ends": timedelta(days=1)}


async def test_what_postgresql_refuses_to_grant(writer: Raw, flow: Flow) -> None:
    other = await someone(flow.db)
    good = await flow.confirmed()

    async def granting(confirmation: UUID, version: int = 1, **other: Any) -> str | None:
        terms = TERMS | other
        return await refusal(writer.execute(GRANT, confirmation, flow.definition, version, *terms.values()))

    assert await granting(await flow.confirmed(state="pending")) == "23514"
    assert await granting(await flow.confirmed(state="cancelled")) == "23514"
    assert await granting(await flow.confirmed("send_money")) == "23514"
    assert await granting(await flow.confirmed(of=other)) == "23514"
    assert await granting(uuid4()) == "23514"
    assert await granting(good, version=2) == "23514"
    for terms in (
        {"each": 0}, {"each": 3}, {"day": 4}, {"total": 9 * 10**15 + 1}, {"ends": timedelta(0)},
        {"ends": timedelta(days=-1)},
    ):  # fmt: skip
        assert await granting(good, **terms) == "23514", terms
    assert await granting(good, zone="Mars/Base") == "22023"
    assert await flow.db.pool.fetchval("SELECT count(*) FROM mandate") == 0
    assert await granting(good) is None
    assert await granting(good) == "23505"
    assert await granting(await flow.confirmed()) == "23505", "one at a time"
    await flow.db.pool.execute("UPDATE mandate SET ended_at = now()")
    assert await granting(good) == "23505", "a confirmation is good for one"
    await flow.db.pool.execute("UPDATE workflow_definition SET state = 'paused'")
    assert await granting(await flow.confirmed()) == "23514"


async def test_no_term_of_a_mandate_is_ever_changed(writer: Raw, flow: Flow) -> None:
    made, other = await flow.grant(), await flow.confirmed()
    await flow.use("first", 50)
    columns = await writer.fetch(
        "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'mandate'"
    )
    to = {
        "confirmation_id": f"'{other}'", "definition_id": f"'{uuid4()}'", "payees": "ARRAY['stranger'::bytea]",
        "currency": "'USD'", "zone": "'UTC'", "until": "until + interval '1 day'",
        "created_at": "created_at - interval '1 day'", "ended_at": "NULL",
    }  # fmt: skip
    for name in sorted({row["name"] for row in columns} - {"id"}):
        value = to.get(name, f"{name} + 1")
        assert await refusal(writer.execute(f"UPDATE mandate SET {name} = {value}")) == "42501", name  # noqa: S608  ours
    for statement in (
        "UPDATE mandate SET spent = 0", "UPDATE mandate SET spent = 0, ended_at = now()", "DELETE FROM mandate",
        "DELETE FROM mandate_use", "UPDATE mandate_use SET amount = 1", "UPDATE mandate_use SET at = now()",
        "TRUNCATE mandate_use", "TRUNCATE mandate CASCADE",
    ):  # fmt: skip
        assert await refusal(writer.execute(statement)) == "42501", statement
    await writer.execute("UPDATE mandate SET ended_at = now() - interval '1 year'")
    async with flow.db.hot() as connection:
        ended = await mandates.by_id(connection, made.id)
    assert ended.ended_at is not None
    assert ended.ended_at > made.created_at
    assert await refusal(writer.execute("UPDATE mandate SET ended_at = NULL")) == "42501"
    assert await flow.spent() == 50


async def test_what_postgresql_refuses_to_have_paid(writer: Raw, flow: Flow) -> None:
    made = await flow.grant(each=100, day=250, total=1_000)
    elsewhere = await a_flow(flow.db, flow.who)

    async def using(amount: int, payee: bytes = JANE, run: str = flow.run, key: str = "") -> str | None:
        return await refusal(writer.execute(USE, key or str(uuid4()), made.id, run, payee, amount))

    assert await using(101) == "23514"
    assert await using(0) == "23514"
    assert await using(50, STRANGER) == "23514"
    assert await using(50, run=elsewhere.run) == "23514"
    assert await using(50, run="run-nobody") == "23514"
    assert await using(100, key="first") is None
    assert await using(1, key="first") == "23505"
    assert await using(100, JUMA) is None
    assert await using(51) == "23514"
    several = f"{USE}, ('b', $2, $3, $4, $5)"
    assert await refusal(writer.execute(several, "a", made.id, flow.run, JANE, 30)) == "23514", "of one statement"
    assert await using(50) is None
    assert await flow.spent() == 250
    await flow.db.pool.execute(
        "UPDATE workflow_run SET finished_at = now(), state = 'done' WHERE workflow_id = $1", flow.run
    )
    await flow.begin()
    assert await using(1, run=flow.run) == "23514"


async def test_a_new_day_has_a_days_worth_again_and_the_total_stays(flow: Flow, owner: Raw) -> None:
    await flow.grant(each=100, day=100, total=250)
    for n, left in enumerate((150, 50)):
        assert (await flow.use(f"{n}", 100)).left == kes(left)
        with pytest.raises(OutsideMandate, match=r"100\.00|1\.00 a day"):
            await flow.use("more", 1)
        await owner.execute("ALTER TABLE mandate_use DISABLE TRIGGER USER")
        await owner.execute("UPDATE mandate_use SET at = at - interval '1 day'")
        await owner.execute("ALTER TABLE mandate_use ENABLE TRIGGER USER")
    with pytest.raises(OutsideMandate, match="in all"):
        await flow.use("too much", 51)
    assert (await flow.use("last", 50)).left == kes(0)


async def test_an_older_snapshot_does_not_hide_what_was_paid_since(flow: Flow, writer: Raw) -> None:
    made = await flow.grant(each=100, day=100, total=100)
    old = writer.transaction(isolation="repeatable_read")
    await old.start()
    assert await writer.fetchval("SELECT spent FROM mandate") == 0
    await flow.use("first", 100)
    assert await refusal(writer.execute(USE, "second", made.id, flow.run, JANE, 1)) == "40001"
    await old.rollback()
    assert await flow.spent() == 100


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("spec = 'other'", "changed since"), ("cron = '0 9 * * *'", "changed since"),
        ("timezone = 'UTC'", "changed since"), ("state = 'deleted'", "no standing mandate"),
        ("state = 'paused'", "paused"),
    ],
)  # fmt: skip
async def test_a_workflow_that_is_changed_pays_nothing(flow: Flow, change: str, why: str) -> None:
    made = await flow.grant()
    await flow.db.pool.execute(f"UPDATE workflow_definition SET {change}")  # noqa: S608  ours
    with pytest.raises(UserError, match=why):
        await flow.use("first", 1)
    async with flow.db.hot() as connection:
        assert await refusal(connection.execute(USE, "raw", made.id, flow.run, JANE, 1)) == "23514"
    # Paused alone, it goes on where it was; what was changed wants another confirmation.
    await flow.db.pool.execute("UPDATE workflow_definition SET state = 'active'")
    with suppress(NoMandate):
        await flow.use("second", 1)
    assert await flow.spent() == ("paused" in change)


async def test_a_workflow_that_becomes_another_persons_pays_nothing(flow: Flow) -> None:
    """As it does when two persons turn out to be one, or one to be two."""
    other = await someone(flow.db)
    await flow.grant()
    await flow.db.pool.execute("UPDATE workflow_definition SET person_id = $1", other.person_id)
    with pytest.raises(NoMandate):
        await flow.use("first", 1)
    await flow.db.pool.execute("UPDATE workflow_definition SET person_id = $1", flow.who.person_id)
    await flow.begin()
    with pytest.raises(NoMandate):
        await flow.use("second", 1)


async def test_a_run_of_the_workflow_as_it_was_does_not_pay_under_what_was_granted_since(flow: Flow) -> None:
    await flow.grant()
    await flow.edit()
    made = await flow.grant()
    with pytest.raises(NoMandate, match="changed since this run began"):
        await flow.use("first", 1)
    async with flow.db.hot() as connection:
        assert await refusal(connection.execute(USE, "raw", made.id, flow.run, JANE, 1)) == "23514"
    await flow.begin()
    await flow.use("second", 1)
    assert await flow.spent() == 1


async def test_nothing_is_paid_after_its_time(flow: Flow, writer: Raw) -> None:
    made = await flow.grant(ends=timedelta(milliseconds=300))

    async def is_late() -> bool:
        async with flow.db.hot() as connection:
            return (await mandates.by_id(connection, made.id)).is_late

    await until(is_late, 5, "the end of the mandate")
    with pytest.raises(NoMandate, match="is over"):
        await flow.use("late", 1)
    assert await refusal(writer.execute(USE, "raw", made.id, flow.run, JANE, 1)) == "23514"
    async with flow.db.hot() as connection:
        assert await mandates.live(connection, flow.definition) is None


async def test_whoever_changes_the_workflow_waits_for_who_is_paying(flow: Flow) -> None:
    await flow.grant()
    async with flow.db.hot() as paying:
        held = await mandates.hold_for(paying, flow.run)
        await mandates.use(paying, held, "first", flow.run, JANE, kes(1))
        async with flow.db.hot() as editing:
            await editing.execute("SET LOCAL lock_timeout = '50ms'")
            assert await refusal(editing.execute("UPDATE workflow_definition SET spec = 'other'")) == "55P03"
    assert await flow.spent() == 1


async def test_granting_and_changing_at_once_do_not_wait_in_a_circle(flow: Flow) -> None:
    """Both take the workflow first, and then what it may pay."""
    await flow.grant()

    async def waits() -> bool:
        return bool(await flow.db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with flow.db.hot() as editing:
        await editing.execute("SELECT FROM workflow_definition FOR UPDATE")
        granting = asyncio.create_task(flow.grant())
        await until(waits, 5, "the grant waiting for the change")
        assert await refusal(editing.execute("SELECT FROM mandate FOR UPDATE NOWAIT")) is None
    assert (await granting).is_live


async def test_of_64_at_once_ten_pay(flow: Flow) -> None:
    await flow.grant(each=100, day=1_000, total=1_000)
    done = await asyncio.gather(*(flow.use(f"{n}", 100) for n in range(64)), return_exceptions=True)
    refused = [one for one in done if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {OutsideMandate}
    assert len(refused) == 54
    assert await flow.spent() == 1_000
    assert sorted(one.left.minor for one in done if isinstance(one, Mandate)) == list(range(0, 1_000, 100))


async def test_of_64_at_once_by_raw_sql_ten_pay(flow: Flow) -> None:
    made = await flow.grant(each=100, day=1_000, total=9_000)

    async def raw(n: int) -> str | None:
        async with flow.db.pool.acquire() as connection:
            return await refusal(connection.execute(USE, f"{n}", made.id, flow.run, JANE, 100))

    assert sorted(map(str, await asyncio.gather(*map(raw, range(64))))) == ["23514"] * 54 + ["None"] * 10
    assert await flow.spent() == 1_000


async def test_whoever_comes_second_sees_what_the_first_paid(flow: Flow, writer: Raw) -> None:
    made = await flow.grant(each=100, day=100, total=9_000)

    async def waits() -> bool:
        return bool(await flow.db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with flow.db.hot() as first:
        await first.execute(USE, "first", made.id, flow.run, JANE, 100)
        second = asyncio.create_task(refusal(writer.execute(USE, "second", made.id, flow.run, JANE, 100)))
        await until(waits, 5, "the second waiting for the first")
    assert await second == "23514"
    assert await flow.spent() == 100


@dataclass
class Model:
    """What has to be so: what was paid while one mandate was live, of one version of the workflow."""

    each: int = 0
    day: int = 0
    total: int = 0
    live: bool = False
    runs: bool = True
    paused: bool = False
    spent: int = 0
    paid: dict[str, int] = field(default_factory=dict)

    def allows(self, key: str, amount: int, payee: bytes) -> bool:
        within = 0 < amount <= self.each and self.spent + amount <= min(self.day, self.total)
        return self.live and self.runs and not self.paused and key not in self.paid and payee != STRANGER and within


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_comes_in_whatever_order_the_books_are_a_small_models(flow: Flow, seed: int) -> None:
    made, model = random.Random(seed), Model()
    for step in range(120):
        match made.choices(("use", "grant", "cancel", "edit", "begin", "pause", "race"), (12, 2, 1, 1, 2, 1, 2))[0]:
            case "use":
                key, amount = f"{made.randrange(60)}", made.choice((1, 20, 50, 99, 100, 101, 400))
                payee = made.choice((JANE, JUMA, JANE, STRANGER))
                allowed = model.allows(key, amount, payee)
                paid = True
                try:
                    await flow.use(key, amount, payee)
                except (UserError, asyncpg.UniqueViolationError):
                    paid = False
                assert paid == allowed, (step, key, amount, payee)
                if paid:
                    model.spent += amount
                    model.paid[key] = amount
            case "grant" if not model.paused:
                each = made.choice((50, 100, 200))
                day = each * made.choice((1, 3, 10))
                model.each, model.day, model.total, model.live = each, day, day + made.choice((0, 500)), True
                model.spent = 0
                await flow.grant(model.each, model.day, model.total)
            case "cancel":
                async with flow.db.hot() as connection:
                    assert await mandates.end(connection, flow.definition) == model.live
                model.live = False
            case "edit":
                await flow.edit()
                model.live = model.runs = False
            case "begin":
                await flow.begin()
                model.runs = True
            case "pause":
                model.paused = not model.paused
                await flow.db.pool.execute(
                    "UPDATE workflow_definition SET state = $1", "paused" if model.paused else "active"
                )
            case "race":
                keys = [f"race-{step}-{n}" for n in range(8)]
                done = await asyncio.gather(*(flow.use(key, 30) for key in keys), return_exceptions=True)
                for key in [key for key, one in zip(keys, done, strict=True) if isinstance(one, Mandate)]:
                    assert model.allows(key, 30, JANE)
                    model.spent += 30
                    model.paid[key] = 30
                assert not model.allows("another", 30, JANE) or (
                    model.spent and not any(isinstance(one, BaseException) for one in done)
                ), step
        rows = await flow.db.pool.fetch("SELECT key, amount FROM mandate_use")
        assert {row["key"]: row["amount"] for row in rows} == model.paid, step
        assert await flow.db.pool.fetchval("SELECT count(*) FROM mandate WHERE ended_at IS NULL") == model.live
    assert len(model.paid) > 5
