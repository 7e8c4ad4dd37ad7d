"""Workflows on a real Temporal server: every kind of step, approvals, failures, schedules, and dead workers."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from core.db import Database
from core.errors import UserError
from core.providers import Providers
from core.sealed import as_workflow
from core.settings import Settings
from core.wake import Wakes
from core.workflows import InvalidWorkflow, parse_draft
from jobs import definitions
from jobs.temporal import _Feeder, connect, decide, run_temporal, schedule_id
from jobs.workflows import Decision
from tests.jobs.people import Known, catalog, notes, said, someone
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ENDED_LIMIT_S = 15.0

Json = dict[str, Any]


class Bench:
    """One database, one task queue and one worker on them."""

    def __init__(self, db: Database, settings: Settings, known: Known) -> None:
        self.db = db
        self.settings = settings
        self.known = known
        self.wakes = Wakes(db)
        self.catalog = catalog(settings)
        self.task_queue = f"q-{uuid4()}"

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """A worker in this process, while the block lasts."""
        providers = Providers(self.settings)
        task = asyncio.create_task(
            run_temporal(self.settings, self.db, self.wakes, self.catalog, providers, task_queue=self.task_queue)
        )
        try:
            yield
            assert not task.done(), task.result()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await providers.close()

    async def add(self, *steps: Json, on_error: tuple[Json, ...] = (), **more: Any) -> UUID:
        """A definition of these steps."""
        name = {"name": f"w {uuid4()}"[:40]}
        draft = parse_draft(name | {"steps": list(steps), "on_error": list(on_error), **more})
        return await definitions.add(
            self.db,
            self.wakes,
            draft,
            self.catalog,
            person_id=self.known.person_id,
            conversation_id=self.known.conversation_id,
            default_timezone="Africa/Nairobi",
        )

    async def start(self, definition_id: UUID, **trigger: Any) -> str:
        """Ask for a run."""
        return await definitions.request_run(self.db, self.wakes, definition_id, trigger)

    async def ended(self, workflow_id: str) -> tuple[str, Json | None]:
        """Wait until the run has ended: its state and outcome."""

        async def is_over() -> bool:
            row = await self._run(workflow_id)
            return row is not None and row["finished_at"] is not None

        await until(is_over, ENDED_LIMIT_S, "the end of the run")
        run, _ = await definitions.run_with_steps(self.db, workflow_id)
        return run.state, None if run.ending is None else dict(run.ending)

    async def _run(self, workflow_id: str) -> Any:
        return await self.db.pool.fetchrow("SELECT * FROM workflow_run WHERE workflow_id = $1", workflow_id)

    async def run(self, *steps: Json, on_error: tuple[Json, ...] = (), **trigger: Any) -> tuple[str, str, Json | None]:
        """Run these steps to their end: workflow id, state, outcome."""
        workflow_id = await self.start(await self.add(*steps, on_error=on_error), **trigger)
        return (workflow_id, *await self.ended(workflow_id))

    async def steps(self, workflow_id: str) -> dict[str, tuple[str, Json | None]]:
        """The run's steps: state and result by id."""
        _, steps = await definitions.run_with_steps(self.db, workflow_id)
        return {step.step_id: (step.state, None if step.variables is None else dict(step.variables)) for step in steps}

    async def waits(self, workflow_id: str, step_id: str) -> None:
        """Wait until the run waits for this approval."""

        async def is_waiting() -> bool:
            row = await self._run(workflow_id)
            return row is not None and row["waiting_for"] == step_id

        await until(is_waiting, ENDED_LIMIT_S, "the approval step")

    async def said(self) -> list[str]:
        """What the conversation was told."""
        return await said(self.db, self.known.conversation_id)


@pytest.fixture
async def bench(db: Database, temporal_host: str) -> Bench:
    """A bench on the shared Temporal, with a database and a task queue of its own."""
    settings = Settings(_env_file=None, temporal_host=temporal_host, temporal_namespace="mathia")
    return Bench(db, settings, await someone(db))


ASK: Json = {"id": "sure", "kind": "approval", "text": "Go?"}
NOTE: Json = {"id": "note", "kind": "action", "action": "add_note", "params": {"text": "{trigger.text}"}}


async def test_every_kind_of_step_runs_in_order_and_leaves_a_row(bench: Bench) -> None:
    steps: tuple[Json, ...] = (
        {"id": "rain", "kind": "action", "action": "measure_rain", "params": {"city": "{trigger.city}"}, "say": False},
        {
            "id": "wet",
            "kind": "condition",
            "if": {"op": "gt", "left": {"var": "steps.rain.mm"}, "right": {"value": 5}},
            "then": [{"id": "tell", "kind": "say", "text": "Umbrella! {steps.rain.text}"}],
            "else": [{"id": "dry", "kind": "say", "text": "No umbrella."}],
        },
        {"id": "pause", "kind": "wait", "seconds": 1},
        {"id": "past", "kind": "wait", "until": "2020-01-01T00:00:00Z"},
        {"id": "sure", "kind": "approval", "text": "Note it for {trigger.city}?"},
        {**NOTE, "params": {"text": "{steps.rain.mm} mm, approved by {steps.sure.by}"}},
    )
    async with bench.worker():
        workflow_id = await bench.start(await bench.add(*steps), city="Nairobi")
        await bench.waits(workflow_id, "sure")
        client = await connect(bench.settings, bench.db)
        assert await decide(client, workflow_id, Decision("sure", True, "Asha")) == "approved"
        assert await bench.ended(workflow_id) == ("done", {})
    assert await bench.said() == ["Umbrella! 7 mm in Nairobi", "Note it for Nairobi?", "Noted: 7 mm, approved by Asha"]
    states = {step: state for step, (state, _) in (await bench.steps(workflow_id)).items()}
    assert states == {
        "rain": "done",
        "wet": "done",
        "tell": "done",
        "dry": "skipped",
        "pause": "done",
        "past": "done",
        "sure": "done",
        "note": "done",
    }
    assert [note["detail"]["key"] for note in await notes(bench.db)] == [f"run:{workflow_id}:note"]
    kinds = await bench.db.pool.fetch("SELECT DISTINCT kind, state FROM outbox")
    assert [tuple(row) for row in kinds] == [("workflow", "pending")]


async def test_rejected_approval_ends_the_run_and_only_the_waiting_step_can_be_decided_once(bench: Bench) -> None:
    async with bench.worker():
        workflow_id = await bench.start(await bench.add(ASK, {"id": "go", "kind": "say", "text": "Going."}))
        await bench.waits(workflow_id, "sure")
        client = await connect(bench.settings, bench.db)
        with pytest.raises(UserError, match=r"^Step go is not waiting for approval; step sure is\.$"):
            await decide(client, workflow_id, Decision("go", True, "Asha"))
        assert await decide(client, workflow_id, Decision("sure", False, "Asha")) == "rejected"
        state, outcome = await bench.ended(workflow_id)
        with pytest.raises(UserError, match=r"under way|decided|not waiting"):
            await decide(client, workflow_id, Decision("sure", True, "Asha"))
        with pytest.raises(UserError, match="under way"):
            await decide(client, "run-nobody", Decision("sure", True, "Asha"))
    assert (state, outcome) == ("failed", {"step": "sure", "error": "It was not approved."})
    assert "Going." not in await bench.said()


async def test_approval_nobody_answers_fails_or_goes_on_as_its_step_says(bench: Bench) -> None:
    ask = {"kind": "approval", "text": "Go?", "timeout_s": 1}
    async with bench.worker():
        (_, ended, outcome), (_, went_on, _) = await asyncio.gather(
            bench.run({"id": "sure", **ask}),
            bench.run(
                {"id": "sure", "on_error": "continue", **ask},
                {"id": "no", "kind": "condition",
                 "if": {"op": "eq", "left": {"var": "steps.sure.approved"}, "right": {"value": False}},
                 "then": [{"id": "tell", "kind": "say", "text": "Not now: {steps.sure.error}"}]},
            ),
        )  # fmt: skip
    assert (ended, outcome) == ("failed", {"step": "sure", "error": "Nobody approved it in time."})
    assert went_on == "done"
    assert "Not now: Nobody approved it in time." in await bench.said()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        pytest.param({"action": "fail_so", "params": {"how": "user"}}, "That cannot be done.", id="refused"),
        pytest.param({"action": "fail_so", "params": {"how": "bug"}}, "nobody foresaw", id="bug"),
        pytest.param({"action": "measure_rain", "params": {"city": "{trigger.no}"}}, "measure_rain, city", id="params"),
    ],
)
async def test_failed_action_runs_the_on_error_steps_and_fails_the_run(bench: Bench, step: Json, why: str) -> None:
    async with bench.worker():
        _, state, outcome = await bench.run(
            {"id": "bad", "kind": "action", **step}, {"id": "never", "kind": "say", "text": "Never."},
            on_error=({"id": "sorry", "kind": "say", "text": "{error.step} failed: {error.message}"},),
        )  # fmt: skip
    assert state == "failed"
    assert outcome is not None
    assert outcome["step"] == "bad"
    assert await bench.said() == [f"bad failed: {outcome['error']}"]
    assert why in outcome["error"]


async def test_failed_run_without_on_error_steps_says_where_it_stopped(bench: Bench) -> None:
    async with bench.worker():
        await bench.run({"id": "bad", "kind": "action", "action": "fail_so", "params": {"how": "user"}})
    (text,) = await bench.said()
    assert text.endswith("stopped at step bad: That cannot be done.")


async def test_step_that_may_fail_lets_the_run_go_on(bench: Bench) -> None:
    async with bench.worker():
        workflow_id, state, _ = await bench.run(
            {"id": "bad", "kind": "action", "action": "fail_so", "params": {"how": "user"}, "on_error": "continue"},
            {"id": "after", "kind": "say", "text": "Went on after: {steps.bad.error}"},
        )
    assert state == "done"
    assert await bench.said() == ["Went on after: That cannot be done."]
    assert (await bench.steps(workflow_id))["bad"] == ("failed", {"error": "That cannot be done."})


async def test_deleted_workflow_stops_in_the_middle(bench: Bench) -> None:
    async with bench.worker():
        definition_id = await bench.add(ASK, NOTE)
        workflow_id = await bench.start(definition_id, text="x")
        await bench.waits(workflow_id, "sure")
        await definitions.set_state(bench.db, bench.wakes, definition_id, "deleted")
        await decide(await connect(bench.settings, bench.db), workflow_id, Decision("sure", True, "Asha"))
        state, outcome = await bench.ended(workflow_id)
    assert state == "failed"
    assert outcome == {"step": "sure", "error": "This workflow was deleted."}
    assert await notes(bench.db) == []


async def test_same_key_asked_for_many_times_at_once_is_one_run(bench: Bench) -> None:
    definition_id = await bench.add(NOTE)
    async with bench.worker():
        asked = await asyncio.gather(
            *(
                definitions.request_run(bench.db, bench.wakes, definition_id, {"text": "once"}, key="k1")
                for _ in range(4)
            )
        )
        assert len(set(asked)) == 1
        await bench.ended(asked[0])
    assert [note["subject"] for note in await notes(bench.db)] == ["once"]


async def test_runs_asked_for_while_temporal_is_away_start_when_it_is_there(bench: Bench, temporal_host: str) -> None:
    workflow_id = await bench.start(await bench.add(NOTE), text="later")
    away = bench.settings.model_copy(update={"temporal_host": "127.0.0.1:1"})
    providers = Providers(away)
    task = asyncio.create_task(run_temporal(away, bench.db, bench.wakes, bench.catalog, providers))
    done, _ = await asyncio.wait([task], timeout=0.3)
    assert not done
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await providers.close()
    async with bench.worker():
        assert (await bench.ended(workflow_id))[0] == "done"


async def test_cron_fires_by_its_schedule_until_paused(bench: Bench) -> None:
    definition_id = await bench.add({**NOTE, "params": {"text": "by itself"}}, cron="0 9 * * MON-FRI")
    # People's cron has no seconds; the row may, and the Schedule made from it is the same.
    await bench.db.pool.execute("UPDATE workflow_definition SET cron = '* * * * * * *' WHERE id = $1", definition_id)
    client = await connect(bench.settings, bench.db)

    async def fired() -> bool:
        return bool(await bench.db.pool.fetchval("SELECT count(*) >= 2 FROM workflow_run WHERE state = 'done'"))

    async def exists() -> bool:
        try:
            await client.get_schedule_handle(schedule_id(definition_id)).describe()
        except RPCError:
            return False
        return True

    async def gone() -> bool:
        return not await exists()

    async with bench.worker():
        await until(fired, ENDED_LIMIT_S, "two scheduled runs")
        await definitions.set_state(bench.db, bench.wakes, definition_id, "paused")
        await until(gone, ENDED_LIMIT_S, "the end of the schedule")
        await bench.db.pool.execute(
            "UPDATE workflow_definition SET cron = '0 9 * * *', timezone = 'Africa/Nairobi' WHERE id = $1",
            definition_id,
        )
        await definitions.set_state(bench.db, bench.wakes, definition_id, "active")
        await until(exists, ENDED_LIMIT_S, "the schedule, resumed")
        described = await client.get_schedule_handle(schedule_id(definition_id)).describe()
        assert {at.astimezone().strftime("%H:%M %z") for at in described.info.next_action_times} <= {"06:00 +0000"}
        # Temporal forgets; the rows do not.
        await client.get_schedule_handle(schedule_id(definition_id)).delete()
        await _Feeder(client, bench.db, bench.wakes, bench.task_queue).reconcile()
        assert await exists()
        await definitions.set_state(bench.db, bench.wakes, definition_id, "deleted")
        await until(gone, ENDED_LIMIT_S, "the end of the schedule")
    run = await bench.db.pool.fetchrow("SELECT workflow_id, trigger FROM workflow_run LIMIT 1")
    async with bench.db.pool.acquire() as connection:
        what = as_workflow("trigger", run["workflow_id"])
        [trigger] = await definitions.read(connection, [(bench.known.conversation_id, what, run["trigger"])])
    assert trigger is not None
    assert trigger["kind"] == "schedule"


async def test_what_a_workflow_says_is_sealed_and_gone_with_the_key_of_its_room(bench: Bench) -> None:
    word = f"canary{uuid4().hex}"
    async with bench.worker():
        definition_id = await bench.add(NOTE, ASK, name=word)
        workflow_id = await bench.start(definition_id, text=word)
        await bench.waits(workflow_id, "sure")
        for table in ("workflow_definition", "workflow_run", "workflow_step"):
            rows = await bench.db.pool.fetch(f"SELECT * FROM {table}")  # noqa: S608  a name of ours
            assert rows
            assert word.encode() not in b"".join(
                one if isinstance(one, bytes) else str(one).encode() for row in rows for one in row.values()
            ), table
        assert (await definitions.find(bench.db, word)).title == word
        with pytest.raises(InvalidWorkflow, match="already"):
            await bench.add(NOTE, name=word)
        async with bench.db.hot() as connection:
            await bench.db.keys.destroy(connection, bench.known.conversation_id)
        client = await connect(bench.settings, bench.db)
        await decide(client, workflow_id, Decision("sure", True, "Asha"))
        # What is under way knows its steps; what they wrote since is sealed with the new key.
        assert (await bench.ended(workflow_id))[0] == "done"
        assert await bench.steps(workflow_id) == {
            "note": ("done", None), "sure": ("done", {"approved": True, "by": "Asha"})
        }  # fmt: skip
        again = await bench.start(definition_id, text="more")
        assert await bench.ended(again) == ("failed", {"error": "What this workflow does was erased."})
    assert (await definitions.find(bench.db, str(definition_id))).title == definitions.GONE


async def test_run_that_temporal_lost_goes_on_from_its_rows(bench: Bench) -> None:
    async with bench.worker():
        workflow_id = await bench.start(
            await bench.add(NOTE, ASK, {"id": "end", "kind": "say", "text": "Done."}), text="first"
        )
        await bench.waits(workflow_id, "sure")
        client = await connect(bench.settings, bench.db)
        handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
        await _forget(client, handle)
        await bench.db.pool.execute("UPDATE workflow_run SET created_at = created_at - interval '1 hour'")
        await _Feeder(client, bench.db, bench.wakes, bench.task_queue).reconcile()

        async def decided() -> bool:
            try:
                await decide(client, workflow_id, Decision("sure", True, "Asha"))
            except UserError:
                return False
            return True

        await until(decided, ENDED_LIMIT_S, "the approval step again")
        assert (await bench.ended(workflow_id))[0] == "done"
    assert [note["subject"] for note in await notes(bench.db)] == ["first"]
    assert await bench.said() == ["Noted: first", "Go?", "Done."]


async def _forget(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    """Make the server delete a run and everything it knew of it."""
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace="mathia", workflow_execution=WorkflowExecution(workflow_id=handle.id))
    )

    async def gone() -> bool:
        try:
            await handle.describe()
        except RPCError:
            return True
        return False

    await until(gone, ENDED_LIMIT_S, "Temporal to forget the run")


async def test_worker_that_dies_around_an_action_leaves_one_effect(bench: Bench, database_url: str) -> None:
    definition_id = await bench.add(NOTE, {"id": "end", "kind": "say", "text": "Done {trigger.text}."})

    async def crash(point: str) -> tuple[str, str]:
        task_queue = f"q-{uuid4()}"
        process = await _worker_process(bench.settings, database_url, task_queue, crash=f"{point}:1")
        text = point.rpartition(".")[2]
        workflow_id = f"run-{text}"
        async with bench.db.pool.acquire() as connection:
            keys = await bench.db.keys.current(connection, [bench.known.conversation_id])
        what, trigger = as_workflow("trigger", workflow_id), json.dumps({"text": text}).encode()
        sealed = keys[bench.known.conversation_id].seal(what, trigger)
        await bench.db.pool.execute(
            "INSERT INTO workflow_run (workflow_id, definition_id, state, trigger) VALUES ($1, $2, 'running', $3)",
            workflow_id,
            definition_id,
            sealed,
        )
        client = await connect(bench.settings, bench.db)
        await _Feeder(client, bench.db, bench.wakes, task_queue)._start(workflow_id, definition_id)
        assert await process.wait() == 9
        other = await _worker_process(bench.settings, database_url, task_queue)
        try:
            state, _ = await bench.ended(workflow_id)
        finally:
            other.kill()
            await other.wait()
        return text, state

    ended = await asyncio.gather(crash("workflow.step_started"), crash("workflow.step_ran"))
    assert dict(ended) == {"step_started": "done", "step_ran": "done"}
    assert sorted(note["subject"] for note in await notes(bench.db)) == ["step_ran", "step_started"]
    assert sorted(await bench.said()) == [
        "Done step_ran.", "Done step_started.", "Noted: step_ran", "Noted: step_started",
    ]  # fmt: skip


async def _worker_process(
    settings: Settings, database_url: str, task_queue: str, crash: str = ""
) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "TEMPORAL_HOST": settings.temporal_host,
        "MATHIA_CRASH": crash,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.jobs.worker_process", task_queue, cwd=ROOT, env=environment
    )
