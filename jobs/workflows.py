"""UserWorkflow: interprets one stored definition. Decisions and waits only; every effect is an activity.

What Temporal is told is a definition's id. The first activity reads the definition, so that a run keeps the steps
it began with; every step leaves a row, so that a run which Temporal forgot can be started again and goes on.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as StepTimeout

with workflow.unsafe.imports_passed_through():
    from core.workflows import (
        WAIT_MAX,
        ActionStep,
        ApprovalStep,
        ConditionStep,
        SayStep,
        Step,
        WaitStep,
        evaluate,
        parse_spec,
        render,
        render_params,
        walk,
    )

TASK_QUEUE = "user-workflows"
ACTION_TIMEOUT = timedelta(seconds=30)
"""One try of an action."""
HEARTBEAT = timedelta(seconds=4)
"""A worker silent for so long is dead, and its action is tried again."""
ACTION_GIVE_UP = timedelta(hours=1)
STORE_TIMEOUT = timedelta(seconds=10)
ACTION_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
STORE_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30))
"""Rows are written until PostgreSQL takes them: there is nothing else a workflow could do without it."""


@dataclass(frozen=True)
class StartWorkflow:
    """Which definition to run; a scheduled start makes its own run row."""

    definition_id: str
    scheduled: bool = False


@dataclass(frozen=True)
class Begun:
    """What to run: the definition's name, spec and trigger. No spec: nothing, and `why` says so."""

    name: str = ""
    spec: dict[str, Any] | None = None
    trigger: dict[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class ActionCall:
    """One action to run, its parameters rendered; `say` tells the conversation its result."""

    workflow_id: str
    step_id: str
    action: str
    params: dict[str, Any]
    say: bool


@dataclass(frozen=True)
class StepChange:
    """A step's new state and result; `say` is posted with it, `skipped` are steps that will not run."""

    workflow_id: str
    step_id: str
    state: str
    result: dict[str, Any] = field(default_factory=dict)
    say: str | None = None
    waiting_for: str | None = None
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StepRow:
    """A step as stored: an earlier run's final state wins over the change. `since_s` is its time, epoch seconds."""

    state: str
    result: dict[str, Any]
    since_s: float

    @property
    def is_final(self) -> bool:
        """Whether the step has ended."""
        return self.state in ("done", "failed")


@dataclass(frozen=True)
class Speech:
    """A text to say in the workflow's conversation, once for this step."""

    workflow_id: str
    step_id: str
    text: str


@dataclass(frozen=True)
class Ending:
    """How a run ended: 'done' or 'failed', its outcome, and what to tell the conversation."""

    workflow_id: str
    state: str
    outcome: dict[str, Any]
    say: str | None = None


@dataclass(frozen=True)
class Decision:
    """A yes or no to an approval step, and who gave it."""

    step_id: str
    approved: bool
    by: str


class StepFailed(Exception):
    """A step that ends the run; the message is a sentence for people."""

    def __init__(self, step_id: str, message: str) -> None:
        super().__init__(message)
        self.step_id = step_id


@workflow.defn(name="UserWorkflow")
class UserWorkflow:
    """Interpret one person's workflow: `match` over step kinds, one activity per effect."""

    def __init__(self) -> None:
        self._steps: dict[str, Any] = {}
        self._scope: dict[str, Any] = {"trigger": {}, "steps": self._steps}
        self._waiting: str | None = None
        self._decisions: dict[str, Decision] = {}

    @workflow.run
    async def run(self, start: StartWorkflow) -> dict[str, Any]:
        """Run the definition to its end; a failed run fails in Temporal too, after its row says so."""
        begun: Begun = await _store("begin", start, Begun)
        if begun.spec is None:
            return {"skipped": begun.why}
        spec = parse_spec(begun.spec)
        self._scope["trigger"] = begun.trigger
        try:
            await self._run_all(spec.steps)
        except StepFailed as failed:
            outcome = {"step": failed.step_id, "error": str(failed)}
            await self._rescue(spec.on_error, outcome)
            say = None if spec.on_error else f"“{begun.name}” stopped at step {failed.step_id}: {failed}"
            await _store("finish", Ending(_id(), "failed", outcome, say), type(None))
            raise ApplicationError(str(failed), type="StepFailed", non_retryable=True) from None
        await _store("finish", Ending(_id(), "done", {}), type(None))
        return {"done": len(self._steps)}

    @workflow.update
    def decide(self, decision: Decision) -> str:
        """Approve or reject the step that waits; refused for any other step."""
        self._decisions[decision.step_id] = decision
        return "approved" if decision.approved else "rejected"

    @decide.validator
    def _decidable(self, decision: Decision) -> None:
        if decision.step_id in self._decisions:
            raise ValueError(f"Step {decision.step_id} has been decided already.")
        if self._waiting != decision.step_id:
            waiting = f"step {self._waiting} is" if self._waiting else "no step is"
            raise ValueError(f"Step {decision.step_id} is not waiting for approval; {waiting}.")

    @workflow.query
    def waiting_for(self) -> str | None:
        """The approval step that is waiting, if one is."""
        return self._waiting

    async def _run_all(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case ActionStep():
                    await self._act(step)
                case SayStep():
                    text = render(step.text, self._scope)
                    self._steps[step.id] = {"text": text}
                    await _store("say", Speech(_id(), step.id, text), type(None), step.id)
                case WaitStep():
                    await self._wait(step)
                case ApprovalStep():
                    await self._ask(step)
                case ConditionStep():
                    await self._choose(step)

    async def _rescue(self, steps: tuple[Step, ...], outcome: dict[str, Any]) -> None:
        self._scope["error"] = {"step": outcome["step"], "message": outcome["error"]}
        try:
            await self._run_all(steps)
        except StepFailed as failed:
            outcome["on_error"] = f"{failed.step_id}: {failed}"

    async def _act(self, step: ActionStep) -> None:
        call = ActionCall(_id(), step.id, step.action, render_params(step.params, self._scope), step.say)
        try:
            self._steps[step.id] = await workflow.execute_activity(
                "run_action",
                call,
                result_type=dict[str, Any],
                activity_id=step.id,
                start_to_close_timeout=ACTION_TIMEOUT,
                schedule_to_close_timeout=ACTION_GIVE_UP,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=ACTION_RETRY,
            )
        except ActivityError as error:
            await self._fail(step, {"error": _sentence(error)})

    async def _wait(self, step: WaitStep) -> None:
        row = await _record(StepChange(_id(), step.id, "waiting"))
        if not row.is_final:
            since = datetime.fromtimestamp(row.since_s, UTC)
            until = step.until or since + timedelta(seconds=step.seconds or 0)
            if until - since > WAIT_MAX:
                await self._fail(step, {"error": f"A wait is at most {WAIT_MAX.days} days."})
                return
            await workflow.sleep(max(timedelta(0), until - workflow.now()))
            row = await _record(StepChange(_id(), step.id, "done", {"until": until.isoformat()}))
        self._steps[step.id] = row.result

    async def _ask(self, step: ApprovalStep) -> None:
        self._waiting = step.id
        try:
            change = StepChange(_id(), step.id, "waiting", say=render(step.text, self._scope), waiting_for=step.id)
            row = await _record(change)
            result = row.result if row.is_final else await self._decision(step, row.since_s)
        finally:
            self._waiting = None
        if result.get("approved"):
            self._steps[step.id] = (await _record(StepChange(_id(), step.id, "done", result))).result
        else:
            await self._fail(step, result)

    async def _decision(self, step: ApprovalStep, since_s: float) -> dict[str, Any]:
        until = datetime.fromtimestamp(since_s, UTC) + timedelta(seconds=step.timeout_s)
        left = max(timedelta(0), until - workflow.now())
        try:
            await workflow.wait_condition(lambda: step.id in self._decisions, timeout=left)
        except TimeoutError:
            return {"approved": False, "by": None, "error": "Nobody approved it in time."}
        decision = self._decisions[step.id]
        if decision.approved:
            return {"approved": True, "by": decision.by}
        return {"approved": False, "by": decision.by, "error": "It was not approved."}

    async def _choose(self, step: ConditionStep) -> None:
        matched = evaluate(step.condition, self._scope)
        taken, left = (step.then, step.otherwise) if matched else (step.otherwise, step.then)
        skipped = [inner.id for inner, _ in walk(left)]
        row = await _record(StepChange(_id(), step.id, "done", {"matched": matched}, skipped=skipped))
        self._steps[step.id] = row.result
        await self._run_all(taken)

    async def _fail(self, step: ActionStep | WaitStep | ApprovalStep, result: dict[str, Any]) -> None:
        """Record a failed step, and end the run unless the step says to go on."""
        row = await _record(StepChange(_id(), step.id, "failed", result))
        self._steps[step.id] = row.result
        if isinstance(step, WaitStep) or step.on_error == "fail":
            raise StepFailed(step.id, str(row.result.get("error", "It failed.")))


def _id() -> str:
    return workflow.info().workflow_id


async def _record(change: StepChange) -> StepRow:
    row: StepRow = await _store("record", change, StepRow)
    return row


async def _store(name: str, argument: object, result_type: type, activity_id: str | None = None) -> Any:
    try:
        return await workflow.execute_activity(
            name,
            argument,
            result_type=result_type,
            activity_id=activity_id,
            start_to_close_timeout=STORE_TIMEOUT,
            retry_policy=STORE_RETRY,
        )
    except ActivityError as error:
        # Only a refusal ends these: the definition was deleted, or the row is gone.
        step_id = getattr(argument, "step_id", name)
        raise StepFailed(step_id, _sentence(error)) from None


def _sentence(error: ActivityError) -> str:
    match error.cause:
        case ApplicationError(message=message):
            return str(message)
        case StepTimeout():
            return "It did not finish in time."
    return "It failed."
