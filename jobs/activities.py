"""The activities of UserWorkflow: what touches rows, actions and conversations. Each may run twice and counts once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from core import crashpoint
from core.actions import Action, ActionContext, ActionResult, Effect, Params, Person
from core.catalog import Catalog, Problem
from core.db import Database, is_away
from core.errors import ProviderError, ProviderRefused, StoreUnavailable, UserError
from core.language import Saying
from core.messages import TEXT_CHARS_MAX, Part, Text
from core.names import names_of
from core.outbox import NewMessage, post
from core.providers import Providers
from core.receipts import once
from core.sealed import as_workflow
from core.settings import Settings
from core.wake import Wakes
from core.workflows import InvalidWorkflow, parse_spec, parse_trigger
from jobs import definitions
from jobs.workflows import HEARTBEAT, ActionCall, Begun, Ending, Speech, StartWorkflow, StepChange, StepRow
from ledger.mandates import refused_key

log = structlog.get_logger()

ATTEMPTS_MAX = 5
"""Tries of an action whose provider fails; while our own store is away the tries are not counted."""
ACTION_S_MAX = 25.0
"""One try of an action; ends before Temporal stops waiting for it."""
RESULT_BYTES_MAX = 65_536
"""Largest result kept as variables; of a larger one only the text is."""

STOPPED = Saying("“{workflow}” stopped at step {step}: {why}", "“{workflow}” imesimama kwenye hatua {step}: {why}")
STEP_CONTEXT = """
SELECT d.state, d.conversation_id, d.id AS definition_id, d.name AS called, p.id, p.name, p.language,
       coalesce(p.timezone, p.zone_guess) AS timezone
FROM workflow_run r
JOIN workflow_definition d ON d.id = r.definition_id
JOIN person p ON p.id = d.person_id
WHERE r.workflow_id = $1
FOR SHARE OF d
"""
"""A definition that is read here stays as it is until what follows from it is written."""

DEFINITION = "SELECT id, conversation_id, name, spec, state, version FROM workflow_definition WHERE id = $1"

IS_TOLD = "SELECT EXISTS (SELECT FROM outbox WHERE dedup_key = $1)"

START_STEP = """
INSERT INTO workflow_step AS s (workflow_id, step_id, state) VALUES ($1, $2, 'started')
ON CONFLICT (workflow_id, step_id) DO UPDATE SET state = s.state
RETURNING state, result
"""

CHANGE_STEP = """
INSERT INTO workflow_step AS s (workflow_id, step_id, state, result) VALUES ($1, $2, $3, $4)
ON CONFLICT (workflow_id, step_id) DO UPDATE
SET state = excluded.state, result = excluded.result,
    at = CASE WHEN excluded.state = 'waiting' THEN s.at ELSE clock_timestamp() END
WHERE s.state NOT IN ('done', 'failed')
RETURNING state, result, at
"""


class Activities:
    """The activities, with what they need; one a worker."""

    def __init__(self, settings: Settings, db: Database, wakes: Wakes, catalog: Catalog, providers: Providers) -> None:
        self._settings = settings
        self._db = db
        self._wakes = wakes
        self._catalog = catalog
        self._providers = providers

    @property
    def all(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.begin, self.run_action, self.record, self.say, self.finish]

    @activity.defn(name="begin")
    async def begin(self, start: StartWorkflow) -> Begun:
        """Read the definition and mark the run as running; a scheduled run makes its row here, first thing."""
        workflow_id = str(activity.info().workflow_id)
        async with self._db.hot() as connection:
            definition = await connection.fetchrow(DEFINITION, UUID(start.definition_id))
            if definition is None:
                return Begun(why="its definition is gone")
            place, identifier = definition["conversation_id"], str(definition["id"])
            if definition["state"] == "deleted":
                why = "This workflow was deleted."
                await definitions.end(connection, workflow_id, "failed", {"error": why})
                return Begun(why=why)
            key = await definitions.key_in(connection, place)
            if start.scheduled:
                if definition["state"] != "active":
                    return Begun(why=f"its definition is {definition['state']}")
                at = {"kind": "schedule", "at": _second(datetime.now(UTC))}
                await connection.execute(
                    "INSERT INTO workflow_run (workflow_id, definition_id, state, trigger)"
                    " VALUES ($1, $2, 'running', $3) ON CONFLICT (workflow_id) DO NOTHING",
                    workflow_id,
                    definition["id"],
                    key.seal(as_workflow("trigger", workflow_id), orjson.dumps(at)),
                )
            run = await connection.fetchrow(
                "UPDATE workflow_run SET state = 'running', version = $2 WHERE workflow_id = $1 AND finished_at IS NULL"
                " RETURNING trigger",
                workflow_id,
                definition["version"],
            )
            if run is None:
                return Begun(why="it has ended already")
            spec, trigger = await definitions.read(
                connection,
                [
                    (place, as_workflow("spec", identifier), definition["spec"]),
                    (place, as_workflow("trigger", workflow_id), run["trigger"]),
                ],
            )
            [name] = await connection.keys.opened(
                connection, [(place, as_workflow("name", identifier), definition["name"])]
            )
            try:
                if spec is None or name is None:
                    raise InvalidWorkflow("What this workflow does was erased.")
                parse_spec(spec)
            except InvalidWorkflow as problem:
                await definitions.end(connection, workflow_id, "failed", {"error": str(problem)})
                return Begun(why=str(problem))
        return Begun(name.decode(), spec, trigger or {})

    @activity.defn(name="run_action")
    async def run_action(self, call: ActionCall) -> dict[str, Any]:
        """Run one action once under its key; a step that was done before returns what it returned then."""
        beats = asyncio.create_task(_beat(), name="workflow.heartbeat")
        try:
            return await self._run_action(call)
        except ApplicationError:
            raise
        except ProviderError as error:
            raise ApplicationError(
                str(error), type=type(error).__name__, non_retryable=activity.info().attempt >= ATTEMPTS_MAX
            ) from None
        except (UserError, ProviderRefused) as error:
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from None
        except Exception as error:
            if is_away(error) or isinstance(error, StoreUnavailable):
                raise ApplicationError("The store did not answer.", type="StoreUnavailable") from None
            log.exception("workflow.action_broke", workflow_id=call.workflow_id, step_id=call.step_id)
            raise ApplicationError(
                "It failed in a way nobody foresaw; staff see why in the log.", type="Bug", non_retryable=True
            ) from None
        finally:
            beats.cancel()

    @activity.defn(name="record")
    async def record(self, change: StepChange) -> StepRow:
        """Write a step's state, and say its text; a final state written before stands, and nothing is said again."""
        return await self._change(change)

    @activity.defn(name="say")
    async def say(self, speech: Speech) -> None:
        """Say a text in the workflow's conversation, once."""
        await self._change(
            StepChange(speech.workflow_id, speech.step_id, "done", {"text": speech.text}, say=speech.text)
        )

    @activity.defn(name="finish")
    async def finish(self, ending: Ending) -> None:
        """Write how the run ended, and tell the conversation when there is something to tell."""
        async with self._db.hot() as connection:
            if await definitions.end(connection, ending.workflow_id, ending.state, ending.outcome) and ending.say:
                place = await connection.fetchrow(STEP_CONTEXT, ending.workflow_id)
                refused = refused_key(_key(ending.workflow_id, str(ending.outcome.get("step", ""))))
                # What was not paid was told in private, where that had been allowed, and is nobody else's matter.
                if place["state"] != "deleted" and not await connection.fetchval(IS_TOLD, refused):
                    says = await self._stopped(connection, place, ending)
                    await self._post(connection, place["conversation_id"], f"{ending.workflow_id}:end", says)
        log.info("workflow.ended", workflow_id=ending.workflow_id, state=ending.state)

    async def _stopped(self, connection: Any, place: Any, ending: Ending) -> str:
        what = as_workflow("name", str(place["definition_id"]))
        [name] = await connection.keys.opened(connection, [(place["conversation_id"], what, place["called"])])
        step, why = (str(ending.outcome.get(key, "")) for key in ("step", "error"))
        return STOPPED.filled(workflow=(name or b"").decode(), step=step, why=why).to(place["language"])

    async def _run_action(self, call: ActionCall) -> dict[str, Any]:
        async with self._db.hot() as connection:
            place = await self._place(connection, call.workflow_id)
            step = await connection.fetchrow(START_STEP, call.workflow_id, call.step_id)
            name = (await names_of(connection)).open(place["name"])
            what = as_workflow("result", call.workflow_id, call.step_id)
            [known] = await definitions.read(connection, [(place["conversation_id"], what, step["result"])])
        if step["state"] == "done":
            return known or {}
        if step["state"] == "failed":
            raise ApplicationError(str((known or {}).get("error", "It failed.")), non_retryable=True)
        crashpoint.hit("workflow.step_started")
        action = self._action(call.action)
        params = self._params(action, call.params)
        context = ActionContext(
            Person(place["id"], name, place["language"], place["timezone"]),
            place["conversation_id"],
            self._db,
            self._providers,
            self._settings,
            datetime.now(UTC),
            _key(call.workflow_id, call.step_id),
            run=call.workflow_id,
        )
        try:
            async with asyncio.timeout(ACTION_S_MAX):
                result = await self._perform(action, params, context)
        except UserError as error:
            told = error.to(place["language"])
            raise ApplicationError(told, type=type(error).__name__, non_retryable=True) from None
        except TimeoutError:
            raise ApplicationError("It took too long.", non_retryable=activity.info().attempt >= ATTEMPTS_MAX) from None
        crashpoint.hit("workflow.step_ran")
        stored = _variables(result)
        async with self._db.hot() as connection:
            await self._place(connection, call.workflow_id)
            key = await definitions.key_in(connection, place["conversation_id"])
            sealed = key.seal(what, orjson.dumps(stored))
            row = await connection.fetchrow(CHANGE_STEP, call.workflow_id, call.step_id, "done", sealed)
            # What was paid is told where that was allowed, whatever the step says.
            if row is not None and call.say and result.text and action.by_mandate is None:
                said = result.said
                await self._post(connection, place["conversation_id"], f"{call.workflow_id}:{call.step_id}", said)
        self._wakes.wake("outbox")
        return stored

    async def _perform(self, action: Action[Any], params: Params, context: ActionContext) -> ActionResult:
        if action.effect is Effect.READ:
            return await action.run(context, params)
        return await once(replace(action, run=action.by_mandate or action.run), params, context)

    def _action(self, name: str) -> Action[Any]:
        if name not in self._catalog:
            raise ApplicationError(f"There is no action {name}, or it is switched off.", non_retryable=True)
        action = self._catalog[name]
        if action.by_mandate is None and (action.shows is not None or action.effect is Effect.SPEND):
            raise ApplicationError(f"{name} has to be confirmed by a person.", non_retryable=True)
        return action

    def _params(self, action: Action[Any], given: dict[str, Any]) -> Params:
        unknown = sorted(given.keys() - set(action.slots))
        if unknown:
            raise ApplicationError(f"{action.name} has no parameter {unknown[0][:40]}.", non_retryable=True)
        params = self._catalog.validate(action, given)
        if isinstance(params, Problem):
            raise ApplicationError(f"{action.name}, {params.slot}: {params.question}", non_retryable=True)
        return params

    async def _change(self, change: StepChange) -> StepRow:
        async with self._db.hot() as connection:
            place = await self._place(connection, change.workflow_id)
            key = await definitions.key_in(connection, place["conversation_id"])
            what = as_workflow("result", change.workflow_id, change.step_id)
            sealed = key.seal(what, orjson.dumps(change.result))
            row = await connection.fetchrow(CHANGE_STEP, change.workflow_id, change.step_id, change.state, sealed)
            if row is None:
                row = await connection.fetchrow(
                    "SELECT state, result, at FROM workflow_step WHERE workflow_id = $1 AND step_id = $2",
                    change.workflow_id,
                    change.step_id,
                )
            elif change.say:
                dedup_key = f"{change.workflow_id}:{change.step_id}"
                await self._post(connection, place["conversation_id"], dedup_key, change.say)
            await connection.execute(
                "INSERT INTO workflow_step (workflow_id, step_id, state) SELECT $1, step_id, 'skipped'"
                " FROM unnest($2::text[]) AS g(step_id) ON CONFLICT DO NOTHING",
                change.workflow_id,
                change.skipped,
            )
            await connection.execute(
                "UPDATE workflow_run SET waiting_for = $2 WHERE workflow_id = $1 AND waiting_for IS DISTINCT FROM $2",
                change.workflow_id,
                change.waiting_for,
            )
            [result] = await definitions.read(connection, [(place["conversation_id"], what, row["result"])])
        self._wakes.wake("outbox")
        return StepRow(row["state"], result or {}, row["at"].timestamp())

    async def _place(self, connection: Any, workflow_id: str) -> Any:
        """The run's person and conversation; refuses when the workflow was deleted meanwhile."""
        place = await connection.fetchrow(STEP_CONTEXT, workflow_id)
        if place is None or place["state"] == "deleted":
            raise ApplicationError("This workflow was deleted.", type="Deleted", non_retryable=True)
        return place

    async def _post(self, connection: Any, conversation_id: UUID, key: str, said: str | tuple[Part, ...]) -> None:
        parts = (Text(text=said[:TEXT_CHARS_MAX]),) if isinstance(said, str) else said
        await post(connection, [NewMessage(conversation_id, parts, "workflow", f"workflow:{key}")])
        await self._wakes.notify(connection, "outbox")


async def _beat() -> None:
    """Tell Temporal that this worker lives, so that a dead one is noticed within seconds."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT.total_seconds() / 4)


def _variables(result: ActionResult) -> dict[str, Any]:
    """A result as variables of later steps: its data, and its text as `text`."""
    variables = {**result.data, "text": result.text}
    try:
        if len(orjson.dumps(variables)) <= RESULT_BYTES_MAX:
            return parse_trigger(variables)
    except (orjson.JSONEncodeError, InvalidWorkflow):
        pass
    return {"text": result.text[:TEXT_CHARS_MAX], "data_left_out": True}


def _key(workflow_id: str, step_id: str) -> str:
    """The idempotency key of a step's action."""
    return f"run:{workflow_id}:{step_id}"


def _second(now: datetime) -> str:
    return now.isoformat(timespec="seconds")
