"""The hands of a language model: each call it wants is judged by code, and run, or not.

One for each message. A model is offered what it may call, and is not trusted to keep to that: a call is run only where
this person may have it, here and now, with arguments of theirs (core/brain/tools.py). What changes something is run
once, by its receipt, and its receipt alone says so; what has to be confirmed is shown by code, and that ends it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import JsonValue

from core.actions import Action, ActionResult, Effect, Params
from core.brain import tools
from core.brain.llm import Call, Result
from core.catalog import Catalog, Problem
from core.errors import InvalidSlot, ProviderError, ProviderRefused, UserError
from core.language import Saying
from core.messages import Part, text_of

log = structlog.get_logger()

CALLS_MAX = 15
"""Calls of one turn, those included that are refused."""
STEPS_MAX = 10
"""Answers of models in one turn."""
TURN_S = 100.0
"""How long models take part in one turn; the runner stops it after 120."""
READ_S = 30.0
"""How long one action may take."""
NO_ANSWER = Saying(
    "{title} is not answering just now. Please try again in a minute.",
    "{title}: huduma hii haijibu kwa sasa. Tafadhali jaribu tena baada ya dakika moja.",
)
RECEIVED = "Done. The person is shown the receipt; do not repeat it."

Run = Callable[[int, Action[Any], Params], Awaitable[ActionResult]]
Show = Callable[[int, Action[Any], Params], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that may be run: by its number, the same over every retry."""

    call: Call
    number: int
    action: Action[Any]
    checked: tools.Checked

    @property
    def changes(self) -> bool:
        """Whether it does more than look something up."""
        return self.action.effect is not Effect.READ


@dataclass(frozen=True, slots=True)
class Judged:
    """A call, and what may become of it: `ready` is None where nothing may, and `why` says so, to the model."""

    call: Call
    ready: Ready | None
    why: str = ""
    is_invalid: bool = False

    @property
    def changes(self) -> bool:
        """Whether it would do more than look something up."""
        return self.ready is not None and self.ready.changes

    @property
    def is_unsure(self) -> bool:
        """Whether the model itself is not sure of it."""
        return self.ready is not None and self.ready.checked.confidence < tools.SURE

    def asked_first(self) -> "Judged":
        """The same call where nobody is sure of it: what changes something is asked for first, and not run."""
        if not self.is_unsure or not self.changes:
            return self
        return Judged(self.call, None, "You are not sure of it, so it was not run: ask the person first.")


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was run."""

    action: Action[Any]
    slots: Mapping[str, JsonValue]
    confidence: float
    result: ActionResult


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person is asked to confirm, in the words of code."""

    action: Action[Any]
    text: str
    confidence: float


@dataclass(slots=True)
class Allowance:
    """What is left of a turn for models, over all of its messages."""

    calls: int = CALLS_MAX
    steps: int = STEPS_MAX
    ends_at: float = field(default_factory=lambda: time.monotonic() + TURN_S)
    """By the monotonic clock."""

    @property
    def is_over(self) -> bool:
        """Whether no model is asked any more."""
        return self.steps <= 0 or time.monotonic() > self.ends_at


@dataclass(slots=True)
class Hands:
    """What a model may do for one message.

    `written` is what the person wrote in this dialog, `tainted` says that words of somebody else are before the model.
    `run` and `show` are given a number for each call, the same over every retry.
    """

    catalog: Catalog
    language: str
    is_private: bool
    tainted: bool
    written: str
    known: Callable[[], Awaitable[Sequence[tools.Known]]]
    run_one: Run
    show_one: Show
    allowance: Allowance = field(default_factory=Allowance)
    done: list[Done] = field(default_factory=list)
    shown: Shown | None = None
    """What the person is asked to confirm; nothing else happens once there is something."""
    problems: list[str] = field(default_factory=list)
    """Why what they wanted was not done, as sentences for them."""
    missing: tuple[str, Mapping[str, JsonValue], Problem] | None = None
    """The last call that lacked something: the action, what it had, and what to ask."""
    passed_on: bool = False
    """Whether a larger model was asked for."""
    stopped: bool = False
    """Whether it calls the same again, or more than it may."""
    called: list[str] = field(default_factory=list)
    first: int = 0
    """The number of the next call; above those of an earlier attempt."""
    _before: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        """Whether something was changed, or shown to be confirmed."""
        return self.shown is not None or any(one.action.effect is not Effect.READ for one in self.done)

    @property
    def understood(self) -> dict[str, JsonValue]:
        """What was understood, as a turn records it: the first call with its slots, and those behind it."""
        found: list[dict[str, JsonValue]] = [
            {"action": one.action.name, "confidence": one.confidence, "slots": dict(one.slots)} for one in self.done
        ]
        if self.shown is not None:
            found.append({"action": self.shown.action.name, "confidence": self.shown.confidence})
        first: dict[str, JsonValue] = found[0] if found else {"action": "none"}
        if len(found) > 1:
            first["then"] = [{name: value for name, value in one.items() if name != "slots"} for one in found[1:]]
        if self.tainted:
            first["tainted"] = True
        return first

    @property
    def given(self) -> list[str]:
        """Texts whose addresses may be said again: the person's own, and what actions answered."""
        return [self.written, *(text_of(one.result.said) for one in self.done), *self._links()]

    @property
    def parts(self) -> list[tuple[Part, ...]]:
        """What the actions say, in the order they were called."""
        return [one.result.said for one in self.done]

    def _links(self) -> list[str]:
        links = [getattr(part, "link", None) for one in self.done for part in one.result.said]
        return [link.url for link in links if link is not None]

    async def judge(self, calls: Sequence[Call]) -> list[Judged]:
        """What may become of each call of one answer; runs nothing."""
        among: set[str] = set()
        return [await self._judge(call, among) for call in calls]

    async def run(self, judged: Sequence[Judged]) -> list[Result]:
        """Run what may be run of one answer: what only reads at once, what changes something one after the other."""
        ready = [one.ready for one in judged if one.ready is not None]
        self._before |= {tools.same(one.call.name, one.call.arguments) for one in judged}
        reads = [one for one in ready if not one.changes]
        found = dict(zip((one.number for one in reads), await asyncio.gather(*map(self._read, reads)), strict=True))
        for one in ready:
            if one.changes:
                found[one.number] = await self._change(one)
        return [
            Result(one.call, one.why, is_error=True) if one.ready is None else found[one.ready.number] for one in judged
        ]

    async def _judge(self, call: Call, among: set[str]) -> Judged:
        number, self.first = self.first, self.first + 1
        self.allowance.calls -= 1
        self.called.append(call.name[:64])

        def no(why: str, *, is_invalid: bool = False) -> Judged:
            return Judged(call, None, why, is_invalid)

        if self.allowance.calls < 0 or number >= CALLS_MAX:
            self.stopped = True
            return no(f"No more than {CALLS_MAX} calls. Answer with what you have.")
        if call.name == tools.PASS_ON:
            self.passed_on = True
            return no("It is passed on.")
        key = tools.same(call.name, call.arguments)
        if key in self._before or key in among:
            self.stopped = key in self._before
            return no("You have called exactly this already. Answer with what you have.")
        among.add(key)
        offered = tools.for_models(self.catalog.offered)
        action = next((one for one in offered if one.name == call.name), None)
        if action is None:
            return no(f"There is no tool of this name. There are: {tools.names(offered)}.", is_invalid=True)
        if (why := tools.forbidden(action, is_private=self.is_private, tainted=self.tainted)) is not None:
            log.info("hands.forbidden", action=action.name, tainted=self.tainted)
            return no(why)
        checked = tools.check(self.catalog, action, call.arguments)
        if isinstance(checked, tools.Invalid):
            if checked.problem is not None:
                self.missing = action.name, {}, checked.problem
            return no(checked.why, is_invalid=True)
        if action.effect is not Effect.READ:
            known = await self.known()
            if (why := tools.not_theirs(action, checked.slots, self.written, known)) is not None:
                log.info("hands.not_theirs", action=action.name)
                return no(why)
        return Judged(call, Ready(call, number, action, checked))

    async def _read(self, one: Ready) -> Result:
        """Run what only reads. Whatever it says holds words of others: from now on only the person's own is read."""
        self.tainted = True
        try:
            async with asyncio.timeout(READ_S):
                result = await self.run_one(one.number, one.action, one.checked.params)
        except UserError as problem:
            self.problems.append(problem.to(self.language))
            return Result(one.call, tools.untrusted(one.action.name, problem.to("en")), is_error=True)
        except (ProviderError, ProviderRefused, TimeoutError) as problem:
            return self._no_answer(one, problem)
        self.done.append(Done(one.action, one.checked.slots, one.checked.confidence, result))
        return Result(one.call, tools.untrusted(one.action.name, text_of(result.said)))

    async def _change(self, one: Ready) -> Result:
        """Run what changes something, once, or show it first; its receipt says what was done."""
        if self.shown is not None:
            return Result(one.call, "Something waits to be confirmed first.", is_error=True)
        try:
            # A time-out here is for the turn: it is taken up again, and the receipt tells how far this came.
            async with asyncio.timeout(READ_S):
                if one.action.shows is not None or one.action.effect is Effect.SPEND:
                    text = await self.show_one(one.number, one.action, one.checked.params)
                    self.shown = Shown(one.action, text, one.checked.confidence)
                    return Result(one.call, "The person is shown it, to confirm it.")
                result = await self.run_one(one.number, one.action, one.checked.params)
        except InvalidSlot as problem:
            self.missing = one.action.name, one.checked.slots, _as_problem(problem)
            self.problems.append(problem.to(self.language))
            return Result(one.call, problem.to("en"), is_error=True)
        except UserError as problem:
            self.problems.append(problem.to(self.language))
            return Result(one.call, problem.to("en"), is_error=True)
        except (ProviderError, ProviderRefused) as problem:
            return self._no_answer(one, problem)
        self.done.append(Done(one.action, one.checked.slots, one.checked.confidence, result))
        return Result(one.call, RECEIVED)

    def _no_answer(self, one: Ready, problem: Exception) -> Result:
        log.warning("hands.provider_failed", action=one.action.name, error=type(problem).__name__)
        title = self.catalog.connector_of(one.action.name).title
        self.problems.append(NO_ANSWER.filled(title=title).to(self.language))
        return Result(one.call, f"{title.en} is not answering just now.", is_error=True)


def _as_problem(problem: InvalidSlot) -> Problem:
    says = problem.says if isinstance(problem.says, Saying) else Saying(problem.says, problem.says)
    return Problem(problem.slot, says)
