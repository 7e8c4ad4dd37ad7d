"""People's workflows as rows: hand one in, ask for a run, pause it, and see how runs went."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from pydantic import JsonValue
from sqlalchemy import select, update

from core.catalog import Catalog, Problem
from core.db import Database
from core.errors import UserError
from core.models import Conversation, Identity, Member, Person, WorkflowDefinition, WorkflowRun, WorkflowStep
from core.wake import Wakes
from core.workflows import ActionStep, InvalidWorkflow, WorkflowDraft, dump_spec, parse_trigger, walk

DEFINITIONS_MAX = 50
"""Most workflows a person keeps; deleted ones do not count."""
RUNS_SHOWN = 50


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
        names = await session.scalars(
            select(WorkflowDefinition.name).where(
                WorkflowDefinition.person_id == person_id, WorkflowDefinition.state != "deleted"
            )
        )
        taken = names.all()
        if draft.name in taken:
            raise InvalidWorkflow(f"There is a workflow called {draft.name} already; delete it or choose another name.")
        if len(taken) >= DEFINITIONS_MAX:
            raise UserError(f"A person keeps at most {DEFINITIONS_MAX} workflows; delete one first.")
        definition = WorkflowDefinition(
            id=uuid4(), person_id=person_id, conversation_id=conversation_id, name=draft.name,
            spec=dump_spec(draft), cron=draft.cron, timezone=draft.timezone or default_timezone,
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
        state = await connection.fetchval("SELECT state FROM workflow_definition WHERE id = $1", definition_id)
        if state is None or state == "deleted":
            raise NotFound("There is no such workflow.")
        if state == "paused":
            raise UserError("This workflow is paused; resume it first.")
        await connection.execute(
            "INSERT INTO workflow_run (workflow_id, definition_id, trigger) VALUES ($1, $2, $3)"
            " ON CONFLICT (workflow_id) DO NOTHING",
            workflow_id,
            definition_id,
            {"kind": "manual", **variables},
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
    wanted = WorkflowDefinition.name == name_or_id
    with suppress(ValueError):
        wanted = WorkflowDefinition.id == UUID(name_or_id)
    query = select(WorkflowDefinition).where(wanted, WorkflowDefinition.state != "deleted").limit(2)
    async with db.transaction() as session:
        found = (await session.scalars(query)).all()
    if not found:
        raise NotFound(f"There is no workflow {name_or_id[:80]}; `bot workflow list` shows all.")
    if len(found) > 1:
        raise UserError(f"Several people have a workflow called {name_or_id[:80]}; give its id.")
    return found[0]


async def listed(db: Database) -> Sequence[WorkflowDefinition]:
    """Every workflow that was not deleted, oldest first."""
    async with db.transaction() as session:
        return (
            await session.scalars(
                select(WorkflowDefinition)
                .where(WorkflowDefinition.state != "deleted")
                .order_by(WorkflowDefinition.created_at, WorkflowDefinition.id)
            )
        ).all()


async def runs(db: Database, definition_id: UUID | None = None) -> Sequence[WorkflowRun]:
    """The newest runs, of one workflow or of all."""
    query = select(WorkflowRun).order_by(WorkflowRun.created_at.desc(), WorkflowRun.workflow_id).limit(RUNS_SHOWN)
    if definition_id is not None:
        query = query.where(WorkflowRun.definition_id == definition_id)
    async with db.transaction() as session:
        return (await session.scalars(query)).all()


async def run_with_steps(db: Database, workflow_id: str) -> tuple[WorkflowRun, Sequence[WorkflowStep]]:
    """A run and its steps, in the order they last changed; raises NotFound."""
    async with db.transaction() as session:
        run = await session.get(WorkflowRun, workflow_id)
        if run is None:
            raise NotFound(f"There is no run {workflow_id[:80]}; `bot workflow runs` shows the newest.")
        steps = await session.scalars(
            select(WorkflowStep)
            .where(WorkflowStep.workflow_id == workflow_id)
            .order_by(WorkflowStep.at, WorkflowStep.step_id)
        )
        return run, steps.all()


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


def outcome_line(outcome: dict[str, Any] | None) -> str:
    """How a run ended, in words; empty while it runs or when it went well."""
    error: JsonValue = (outcome or {}).get("error")
    return str(error) if error else ""


async def _tell(db: Database, wakes: Wakes) -> None:
    async with db.hot() as connection:
        await wakes.notify(connection, "workflow")
    wakes.wake("workflow")
