"""The Temporal worker and what feeds it: requested runs are started, cron definitions become Schedules.

Rows are the truth. A run whose row says `requested` is started under the row's id until Temporal has it, a run that
Temporal lost is started again, and a Schedule exists exactly while its definition is active. Chat never waits for it.
"""

import argparse
import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from connectors import CONNECTORS
from core.catalog import Catalog
from core.db import Database, is_away
from core.errors import UserError
from core.log import configure
from core.providers import Providers
from core.settings import Settings
from core.wake import Wakes, spread
from jobs import definitions
from jobs.activities import Activities
from jobs.payloads import PURPOSE, sealing
from jobs.workflows import TASK_QUEUE, Decision, StartWorkflow, UserWorkflow

log = structlog.get_logger()

LOOK_S = 1.0
"""How long a requested run or a changed definition waits when its wake-up was lost."""
RECONCILE_S = 60.0
"""How often rows and Temporal are compared in full; what Temporal lost is noticed by then."""
STARTS_MAX = 100
RECONCILED_MAX = 1_000
RETRY_S_MIN, RETRY_S_MAX = 0.5, 10.0
RPC_TIMEOUT = timedelta(seconds=5)
STOP_WITHIN = timedelta(seconds=1)
ANOTHER_WORKER_AFTER = timedelta(seconds=3)
"""When a workflow that a dead worker held is given to another."""
CATCH_UP = timedelta(minutes=10)
"""A scheduled start missed for longer is not made up for."""
CACHED_WORKFLOWS_MAX = 200
BUILD_ID = "mathia-1"
PASSED_THROUGH = ("pydantic", "pydantic_core", "annotated_types", "core.workflows", "core.errors")
"""Pure modules the sandbox need not load again for every workflow."""
SCHEDULE_PREFIX = "workflow-"

ERASED = """
SELECT d.id, ARRAY(SELECT r.workflow_id FROM workflow_run r WHERE r.definition_id = d.id) AS runs
FROM person p JOIN erasure e ON e.id = p.erasure_id AND e.erased_at IS NOT NULL
JOIN workflow_definition d ON d.person_id = p.id LIMIT $1
"""
"""Workflows of persons all of whose other rows are gone: theirs were needed until then."""
REMOVE_WORKFLOW = (
    "DELETE FROM workflow_step WHERE workflow_id IN (SELECT workflow_id FROM workflow_run WHERE definition_id = $1)",
    "DELETE FROM workflow_run WHERE definition_id = $1",
    "DELETE FROM workflow_definition WHERE id = $1",
)


async def run_temporal(
    settings: Settings, db: Database, wakes: Wakes, catalog: Catalog, providers: Providers, *,
    task_queue: str = TASK_QUEUE,
) -> None:  # fmt: skip
    """Serve workflows until cancelled, through any absence of Temporal or PostgreSQL."""
    if not settings.temporal_host:
        log.warning("temporal.off", hint="set TEMPORAL_HOST to run workflows")
        await asyncio.Event().wait()
    # Temporal's own lines repeat a traceback for every failed try; what people need is in the rows.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    activities = Activities(settings, db, wakes, catalog, providers)
    wait_s, quiet = RETRY_S_MIN, False
    while True:
        try:
            client = await connect(settings, db)
            wait_s, quiet = RETRY_S_MIN, False
            async with make_worker(client, activities, task_queue):
                log.info("temporal.connected")
                await _Feeder(client, db, wakes, task_queue).run()
        except Exception as error:
            # A Temporal or a PostgreSQL that is away is waited for; anything else is a bug.
            if not isinstance(error, RPCError | RuntimeError) and not is_away(error):
                raise
            if not quiet:
                log.warning("temporal.away", error=type(error).__name__, hint="trying again; chat goes on without it")
            quiet = True
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
        wait_s = min(wait_s * 2, RETRY_S_MAX)


async def connect(settings: Settings, db: Database) -> Client:
    """A connected client that seals what it hands over; raises RuntimeError or RPCError when Temporal is away."""
    async with db.pool.acquire() as connection:
        key = await db.keys.of_purpose(connection, PURPOSE)
    return await Client.connect(
        settings.temporal_host, namespace=settings.temporal_namespace, data_converter=sealing(key)
    )


def make_worker(client: Client, activities: Activities, task_queue: str) -> Worker:
    """The worker: sandboxed workflows, and our activities on this loop."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return Worker(
        client, task_queue=task_queue, workflows=[UserWorkflow], activities=activities.all,
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions), build_id=BUILD_ID,
        max_cached_workflows=CACHED_WORKFLOWS_MAX, graceful_shutdown_timeout=STOP_WITHIN,
        sticky_queue_schedule_to_start_timeout=ANOTHER_WORKER_AFTER,
    )  # fmt: skip


async def decide(client: Client, workflow_id: str, decision: Decision) -> str:
    """Approve or reject a waiting step; raises UserError with the reason when it cannot be."""
    try:
        said: str = await client.get_workflow_handle(workflow_id).execute_update(
            UserWorkflow.decide, decision, rpc_timeout=RPC_TIMEOUT
        )
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        raise UserError(cause.message if isinstance(cause, ApplicationError) else str(cause)) from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise UserError(f"No run {workflow_id[:80]} is under way.") from None
        raise UserError("Temporal did not answer; try again in a moment.") from None
    return said


class _Feeder:
    """Carries rows to Temporal: starts, schedules, and what Temporal lost."""

    def __init__(self, client: Client, db: Database, wakes: Wakes, task_queue: str) -> None:
        self._client = client
        self._db = db
        self._wakes = wakes
        self._task_queue = task_queue
        self._quiet = False

    async def run(self) -> None:
        """Feed until cancelled; an RPCError or an absent store is waited out."""
        loop = asyncio.get_running_loop()
        reconcile_at = loop.time()
        while True:
            try:
                await self.start_requested()
                await self.set_schedules()
                await self.forget_erased()
                if loop.time() >= reconcile_at:
                    await self.reconcile()
                    reconcile_at = loop.time() + RECONCILE_S
                self._quiet = False
            except Exception as error:
                if not isinstance(error, RPCError) and not is_away(error):
                    log.error("temporal.feed_broke", exc_info=error)
                elif not self._quiet:
                    log.warning("temporal.feed_waits", error=type(error).__name__, hint="runs start later")
                self._quiet = True
            await self._wakes.wait("workflow", spread(LOOK_S))

    async def start_requested(self) -> None:
        """Start what rows ask for, oldest first; starting twice is starting once."""
        rows = await self._db.pool.fetch(
            "SELECT workflow_id, definition_id FROM workflow_run WHERE state = 'requested'"
            " ORDER BY created_at LIMIT $1",
            STARTS_MAX,
        )
        for row in rows:
            await self._start(row["workflow_id"], row["definition_id"])
            await self._db.pool.execute(
                "UPDATE workflow_run SET state = 'running' WHERE workflow_id = $1 AND state = 'requested'",
                row["workflow_id"],
            )
        if len(rows) == STARTS_MAX:
            self._wakes.wake("workflow")

    async def set_schedules(self) -> None:
        """Make the Schedules of active cron definitions, and drop those of paused and deleted ones."""
        rows = await self._db.pool.fetch(
            "SELECT id, cron, timezone, state FROM workflow_definition WHERE cron IS NOT NULL"
            " AND scheduled IS DISTINCT FROM (state = 'active') LIMIT $1",
            STARTS_MAX,
        )
        for row in rows:
            if row["state"] == "active":
                kept = await self._schedule(row)
            else:
                await self._unschedule(schedule_id(row["id"]))
                kept = False
            await self._db.pool.execute("UPDATE workflow_definition SET scheduled = $2 WHERE id = $1", row["id"], kept)

    async def forget_erased(self) -> None:
        """End what erased persons' workflows still do, let Temporal forget their histories, and remove their rows."""
        rows = await self._db.pool.fetch(ERASED, STARTS_MAX)
        for row in rows:
            await self._unschedule(schedule_id(row["id"]))
            # A scheduled run makes its own row as the first thing it does, so its ids are asked of Temporal as well.
            scheduled = f'WorkflowId STARTS_WITH "{schedule_id(row["id"])}"'
            ids = set(row["runs"]) | {one.id async for one in self._client.list_workflows(scheduled)}
            for workflow_id in sorted(ids):
                await self._forget(workflow_id)
            async with self._db.hot() as connection:
                await connection.execute("SELECT FROM workflow_definition WHERE id = $1 FOR UPDATE", row["id"])
                await connection.execute("SELECT FROM workflow_run WHERE definition_id = $1 FOR UPDATE", row["id"])
                for statement in REMOVE_WORKFLOW:
                    await connection.execute(statement, row["id"])

    async def _forget(self, workflow_id: str) -> None:
        """Have a run's history deleted; Temporal ends one that is under way for that."""
        try:
            await self._client.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(
                    namespace=self._client.namespace,
                    workflow_execution=WorkflowExecution(workflow_id=workflow_id),
                ),
                timeout=RPC_TIMEOUT,
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def reconcile(self) -> None:
        """Bring back what Temporal lost: Schedules that should exist, and runs that should be under way."""
        known = {entry.id async for entry in await self._client.list_schedules()}
        rows = await self._db.pool.fetch(
            "SELECT id, cron, timezone FROM workflow_definition WHERE cron IS NOT NULL AND state = 'active'"
            " AND scheduled LIMIT $1",
            RECONCILED_MAX,
        )
        for row in rows:
            if schedule_id(row["id"]) not in known:
                await self._schedule(row)
        runs = await self._db.pool.fetch(
            "SELECT workflow_id, definition_id FROM workflow_run WHERE state = 'running'"
            " AND created_at < clock_timestamp() - interval '1 minute' ORDER BY random() LIMIT $1",
            RECONCILED_MAX,
        )
        for run in runs:
            await self._recover(run)

    async def _recover(self, run: Mapping[str, Any]) -> None:
        workflow_id = run["workflow_id"]
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            log.warning("workflow.lost", workflow_id=workflow_id, hint="started again from its rows")
            await self._start(workflow_id, run["definition_id"])
            return
        if described.status is not WorkflowExecutionStatus.RUNNING:
            status = described.status.name.lower() if described.status else "gone"
            await self._fail(workflow_id, f"Temporal ended it: {status}.")

    async def _fail(self, workflow_id: str, why: str) -> None:
        async with self._db.hot() as connection:
            await definitions.end(connection, workflow_id, "failed", {"error": why})

    async def _start(self, workflow_id: str, definition_id: UUID) -> None:
        try:
            await self._client.start_workflow(
                UserWorkflow.run, StartWorkflow(str(definition_id)), id=workflow_id, task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE, rpc_timeout=RPC_TIMEOUT,
            )  # fmt: skip
        except WorkflowAlreadyStartedError:
            log.info("workflow.started_before", workflow_id=workflow_id)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            # One run that Temporal will never take must not keep the others waiting.
            await self._fail(workflow_id, "Temporal refused to start it.")

    async def _schedule(self, row: Mapping[str, Any]) -> bool:
        """Make a definition's Schedule; False, with the definition paused, when Temporal refuses its cron."""
        identifier = schedule_id(row["id"])
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(
                UserWorkflow.run, StartWorkflow(str(row["id"]), scheduled=True),
                id=identifier, task_queue=self._task_queue,
            ),
            spec=ScheduleSpec(cron_expressions=[row["cron"]], time_zone_name=row["timezone"]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        )  # fmt: skip
        try:
            await self._client.create_schedule(identifier, schedule, rpc_timeout=RPC_TIMEOUT)
        except ScheduleAlreadyRunningError:
            pass
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            log.error("workflow.cron_refused", definition_id=str(row["id"]), hint="paused; hand in another cron")
            await self._db.pool.execute(
                "UPDATE workflow_definition SET state = 'paused' WHERE id = $1 AND state = 'active'", row["id"]
            )
            return False
        return True

    async def _unschedule(self, identifier: str) -> None:
        try:
            await self._client.get_schedule_handle(identifier).delete(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


def schedule_id(definition_id: UUID) -> str:
    """The Temporal Schedule of a definition; its runs are called so too, with their time behind."""
    return f"{SCHEDULE_PREFIX}{definition_id}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options: everything comes from the settings."""


async def main(_args: argparse.Namespace) -> int:
    """`python3 -m bot temporal`: a process of its own, as many as wanted."""
    settings = Settings().sandboxed()
    configure(settings)
    db = await Database.connect(settings.database_url, settings.key_list)
    await db.check_keys()
    wakes = Wakes(db)
    providers = Providers(settings)
    try:
        async with wakes.listening():
            await run_temporal(settings, db, wakes, Catalog(CONNECTORS, settings, confirms=True), providers)
    finally:
        await providers.close()
        await db.close()
    return 0
