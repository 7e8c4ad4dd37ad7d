"""People's workflows as rows: hand one in, ask for a run, pause it, and see how runs went.

What a workflow, its runs and their steps say is sealed under the key of the conversation where it speaks.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import orjson
from pydantic import JsonValue
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import Catalog, Problem
from core.crypto import RoomKey
from core.db import Database, driver
from core.errors import Erased, UserError
from core.models import Conversation, Identity, Member, Person, WorkflowDefinition, WorkflowRun, WorkflowStep
from core.sealed import as_workflow
from core.wake import Wakes
from core.workflows import ActionStep, InvalidWorkflow, WorkflowDraft, dump_spec, parse_trigger, walk

DEFINITIONS_MAX = 50
"""Most workflows a person keeps; deleted ones do not count."""
RUNS_SHOWN = 50
GONE = "(no longer readable)"
"""What a workflow is called whose room's key was destroyed."""

LOCK = "SELECT FROM conversation WHERE id = $1 FOR NO KEY UPDATE"
PLACE_OF_RUN = """
SELECT d.conversation_id FROM workflow_run r JOIN workflow_definition d ON d.id = r.definition_id
WHERE r.workflow_id = $1
"""
END = """
UPDATE workflow_run SET state = $2, outcome = $3, waiting_for = NULL, finished_at = clock_timestamp()
WHERE workflow_id = $1 AND finished_at IS NULL RETURNING true
"""


class NotFound(UserError):
    """There is no such workflow, run, person or conversation."""


async def add(
    db: Database, wakes: Wakes, draft: WorkflowDraft, catalog: Catalog, *, person_id: UUID, conversation_id: UUID,
    default_timezone: str,
) -> UUID:  # fmt: skip
    """Store a definition and return its id; raises InvalidWorkflow, or UserError where a person has too many."""
    check_actions(draft, catalog)
    async with db.transaction() as session:
        # Under the person's row lock, so that two at once are counted one after the other.
        await session.execute(select(Person.id).where(Person.id == person_id).with_for_update(key_share=True))
        connection = await driver(session)
        name_index = await connection.keys.blind(connection, "workflow", draft.name)
        names = await session.scalars(
            select(WorkflowDefinition.name_index).where(
                WorkflowDefinition.person_id == person_id, WorkflowDefinition.state != "deleted"
            )
        )
        taken = names.all()
        if name_index in taken:
            raise InvalidWorkflow(f"There is a workflow called {draft.name} already; delete it or choose another name.")
        if len(taken) >= DEFINITIONS_MAX:
            raise UserError(f"A person keeps at most {DEFINITIONS_MAX} workflows; delete one first.")
        made, key = uuid4(), await key_in(connection, conversation_id)
        definition = WorkflowDefinition(
            id=made, person_id=person_id, conversation_id=conversation_id, name_index=name_index,
            name=key.seal(as_workflow("name", str(made)), draft.name.encode()),
            spec=key.seal(as_workflow("spec", str(made)), orjson.dumps(dump_spec(draft))),
            cron=draft.cron, timezone=draft.timezone or default_timezone,
        )  # fmt: skip
        session.add(definition)
    await _tell(db, wakes)
    return definition.id


def check_actions(draft: WorkflowDraft, catalog: Catalog) -> None:
    """Raise InvalidWorkflow for a step whose action or parameters this deployment does not have."""
    for step, _ in walk((*draft.steps, *draft.on_error)):
        if not isinstance(step, ActionStep):
            continue
        if step.action not in catalog:
            raise InvalidWorkflow(f"step {step.id}: there is no action {step.action}, or it is switched off")
        action = catalog[step.action]
        if action.shows is not None and action.by_mandate is None:
            raise InvalidWorkflow(f"step {step.id}: {step.action} has to be confirmed by a person")
        if unknown := sorted(step.params.keys() - set(action.slots)):
            raise InvalidWorkflow(f"step {step.id}: {step.action} has no parameter {unknown[0][:40]}")
        if missing := [slot for slot in action.required if slot not in step.params]:
            raise InvalidWorkflow(f"step {step.id}: {step.action} needs {missing[0]}")
        fixed = {slot: value for slot, value in step.params.items() if "{" not in str(value)}
        problem = catalog.validate(action, fixed)
        if isinstance(problem, Problem) and problem.slot in fixed:
            raise InvalidWorkflow(f"step {step.id}, {problem.slot}: {problem.question}")


async def request_run(
    db: Database, wakes: Wakes, definition_id: UUID, trigger: object, *, key: str | None = None
) -> str:
    """Ask for a run; returns its workflow id. The same `key` again is the same run. Starts within a second."""
    variables = parse_trigger(trigger)
    workflow_id = f"run-{key or uuid4()}"
    async with db.hot() as connection:
        definition = await connection.fetchrow(
            "SELECT state, conversation_id FROM workflow_definition WHERE id = $1", definition_id
        )
        if definition is None or definition["state"] == "deleted":
            raise NotFound("There is no such workflow.")
        if definition["state"] == "paused":
            raise UserError("This workflow is paused; resume it first.")
        key_now = await key_in(connection, definition["conversation_id"])
        await connection.execute(
            "INSERT INTO workflow_run (workflow_id, definition_id, trigger) VALUES ($1, $2, $3)"
            " ON CONFLICT (workflow_id) DO NOTHING",
            workflow_id,
            definition_id,
            key_now.seal(as_workflow("trigger", workflow_id), orjson.dumps({"kind": "manual", **variables})),
        )
        await wakes.notify(connection, "workflow")
    wakes.wake("workflow")
    return workflow_id


async def set_state(db: Database, wakes: Wakes, definition_id: UUID, state: str) -> None:
    """Pause ('paused'), resume ('active') or delete ('deleted') a workflow; a deleted one stops and stays deleted."""
    async with db.transaction() as session:
        changed = await session.scalar(
            update(WorkflowDefinition)
            .where(WorkflowDefinition.id == definition_id, WorkflowDefinition.state != "deleted")
            .values(state=state)
            .returning(WorkflowDefinition.id)
        )
    if changed is None:
        raise NotFound("There is no such workflow.")
    await _tell(db, wakes)


async def find(db: Database, name_or_id: str) -> WorkflowDefinition:
    """The one workflow with this id or name; raises NotFound, or UserError where several people use the name."""
    async with db.transaction() as session:
        connection = await driver(session)
        wanted = WorkflowDefinition.name_index == await connection.keys.blind(connection, "workflow", name_or_id)
        with suppress(ValueError):
            wanted = WorkflowDefinition.id == UUID(name_or_id)
        query = select(WorkflowDefinition).where(wanted, WorkflowDefinition.state != "deleted").limit(2)
        found = await opened(session, (await session.scalars(query)).all())
    if not found:
        raise NotFound(f"There is no workflow {name_or_id[:80]}; `bot workflow list` shows all.")
    if len(found) > 1:
        raise UserError(f"Several people have a workflow called {name_or_id[:80]}; give its id.")
    return found[0]


async def listed(db: Database) -> Sequence[WorkflowDefinition]:
    """Every workflow that was not deleted, oldest first."""
    async with db.transaction() as session:
        found = await session.scalars(
            select(WorkflowDefinition)
            .where(WorkflowDefinition.state != "deleted")
            .order_by(WorkflowDefinition.created_at, WorkflowDefinition.id)
        )
        return await opened(session, found.all())


async def runs(db: Database, definition_id: UUID | None = None) -> Sequence[WorkflowRun]:
    """The newest runs, of one workflow or of all."""
    query = select(WorkflowRun).order_by(WorkflowRun.created_at.desc(), WorkflowRun.workflow_id).limit(RUNS_SHOWN)
    if definition_id is not None:
        query = query.where(WorkflowRun.definition_id == definition_id)
    async with db.transaction() as session:
        return await _ended(session, (await session.scalars(query)).all())


async def run_with_steps(db: Database, workflow_id: str) -> tuple[WorkflowRun, Sequence[WorkflowStep]]:
    """A run and its steps, in the order they last changed; raises NotFound."""
    async with db.transaction() as session:
        run = await session.get(WorkflowRun, workflow_id)
        if run is None:
            raise NotFound(f"There is no run {workflow_id[:80]}; `bot workflow runs` shows the newest.")
        await _ended(session, [run])
        found = await session.scalars(
            select(WorkflowStep)
            .where(WorkflowStep.workflow_id == workflow_id)
            .order_by(WorkflowStep.at, WorkflowStep.step_id)
        )
        steps, connection = found.all(), await driver(session)
        place = await connection.fetchval(PLACE_OF_RUN, workflow_id)
        values = [(place, as_workflow("result", workflow_id, step.step_id), step.result) for step in steps]
        for step, variables in zip(steps, await read(connection, values), strict=True):
            step.variables = variables
        return run, steps


async def place(db: Database, *, person_id: UUID | None, conversation_id: UUID | None) -> tuple[UUID, UUID]:
    """The person and conversation a workflow is for, from either: a person's latest conversation, a room's only person.

    Raises NotFound, or UserError where a room has several people and none was named.
    """
    query = (
        select(Identity.person_id, Conversation.id)
        .join(Member, Member.identity_id == Identity.id)
        .join(Conversation, Conversation.id == Member.conversation_id)
        .order_by(Conversation.last_at.desc())
    )
    if person_id is not None:
        query = query.where(Identity.person_id == person_id)
    if conversation_id is not None:
        query = query.where(Conversation.id == conversation_id)
    async with db.transaction() as session:
        found = (await session.execute(query.limit(2))).all()
    if not found:
        raise NotFound("There is no such person or conversation, or they have nothing in common.")
    if person_id is None and len({row[0] for row in found}) > 1:
        raise UserError("Several people are in this conversation; say whose workflow it is with --person.")
    return found[0][0], found[0][1]


def outcome_line(outcome: Mapping[str, Any] | None) -> str:
    """How a run ended, in words; empty while it runs or when it went well."""
    error: JsonValue = (outcome or {}).get("error")
    return str(error) if error else ""


async def key_in(connection: Any, conversation_id: UUID) -> RoomKey:
    """The key to seal with what a workflow of this conversation says, which is locked for it."""
    await connection.execute(LOCK, conversation_id)
    key: RoomKey = await connection.keys.of_locked(connection, conversation_id)
    return key


async def read(connection: Any, values: Sequence[tuple[UUID, bytes, bytes | None]]) -> list[dict[str, Any] | None]:
    """What each (conversation, what, sealed) holds, as JSON; None for nothing, and where the key is destroyed."""
    return [None if json is None else orjson.loads(json) for json in await connection.keys.opened(connection, values)]


async def opened(session: AsyncSession, found: Sequence[WorkflowDefinition]) -> Sequence[WorkflowDefinition]:
    """The same workflows, with their titles."""
    connection = await driver(session)
    values = [(one.conversation_id, as_workflow("name", str(one.id)), one.name) for one in found]
    for one, name in zip(found, await connection.keys.opened(connection, values), strict=True):
        one.title = GONE if name is None else name.decode()
    return found


async def end(connection: Any, workflow_id: str, state: str, outcome: Mapping[str, Any]) -> bool:
    """Write how a run ended; False when it had ended before, or its room was erased."""
    place = await connection.fetchval(PLACE_OF_RUN, workflow_id)
    if place is None:
        return False
    try:
        key = await key_in(connection, place)
    except Erased:
        return False
    sealed = key.seal(as_workflow("outcome", workflow_id), orjson.dumps(outcome))
    return bool(await connection.fetchval(END, workflow_id, state, sealed))


async def _ended(session: AsyncSession, runs: Sequence[WorkflowRun]) -> Sequence[WorkflowRun]:
    """The same runs, with how they ended."""
    of = select(WorkflowDefinition.id, WorkflowDefinition.conversation_id)
    rows = await session.execute(of.where(WorkflowDefinition.id.in_({run.definition_id for run in runs})))
    places = {row.id: row.conversation_id for row in rows}
    values = [(places[run.definition_id], as_workflow("outcome", run.workflow_id), run.outcome) for run in runs]
    for run, outcome in zip(runs, await read(await driver(session), values), strict=True):
        run.ending = outcome
    return runs


async def _tell(db: Database, wakes: Wakes) -> None:
    async with db.hot() as connection:
        await wakes.notify(connection, "workflow")
    wakes.wake("workflow")
