"""The steps of what was understood in a message, in their order, until one waits for the person or fails."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog
from pydantic import JsonValue

from core import standing
from core.brain.replies import Dropped, Told
from core.catalog import Problem
from core.dialog import PLAN_MAX, QUESTIONS_MAX, DialogState, Intent
from core.errors import InvalidSlot, ProviderError, ProviderRefused, UserError
from core.language import Saying, spoken
from core.messages import PARTS_MAX, Choices, Reply, Text, text_of
from core.receipts import call_key
from core.turn import Answer, Turn, TurnDeps
from core.turn_calls import no_answer, run_action, show, told_why, why_not

log = structlog.get_logger()

LATER = Saying(
    "Let us leave that for now. Ask me again whenever you like.", "Tuliache hilo kwa sasa. Niulize tena ukitaka."
)
STOPPED = Saying(
    "I stopped there, and did not do the rest of what you asked for.",
    "Niliishia hapo, na mengine uliyoomba sikuyafanya.",
)

NEXT = Saying(
    "I will show you the next one once this is confirmed.",
    "Nitakuonyesha linalofuata hili likishathibitishwa.",
)

NOTHING_TO_PASS_ON = Saying(
    "So I have nothing to pass on, and left out what was to be done with it.",
    "Kwa hiyo sina cha kupitisha, na sikufanya lililokusudiwa nacho.",
)


async def carry_out(
    turn: Turn, number: int, steps: Sequence[Intent | Reply], deps: TurnDeps, *, begun: Answer | None = None
) -> Answer:
    """Take the steps of a message in their order, until one waits for the person or fails.

    `begun` is the first step where that was taken already. What waits is kept in the state.
    """
    done = [] if begun is None else [begun]
    left = list(steps[: PLAN_MAX - len(done)])
    stopped = False
    while left and not (done and done[-1].waits):
        if done and done[-1].failed:
            # What was open before this message is asked again all the same.
            stopped = stopped or any(isinstance(step, Intent) and step.asks is None for step in left)
            left = [step for step in left if isinstance(step, Intent) and step.asks is not None]
            if not left:
                break
        state = done[-1].state if done else turn.state
        key = call_key(turn.id, number, len(done))
        step = _passed_on(left[0], done[-1] if done else None, deps)
        if step is None:
            done.append(_nothing_to_pass_on(replace(turn, state=state), left.pop(0)))
            continue
        left[0] = step
        done.append(await _take(replace(turn, state=state), key, left.pop(0), deps))
    last = done[-1]
    told = [one.reply for one in done]
    ends = last.is_question or last.shown
    if last.waits:
        # What needs no more than saying is said before the question.
        told[-1:-1] = [step for step in left if isinstance(step, Reply)]
    if stopped:
        told.insert(len(told) - 1 if ends else len(told), Reply.of(STOPPED.to(turn.person.language)))
    later = [step for step in left if isinstance(step, Intent)]
    if last.shown and any(step.asks is None and deps.catalog[step.action].shows is not None for step in later):
        told.insert(len(told) - 1, Reply.of(NEXT.to(turn.person.language)))
    understood = dict(done[0].understood)
    if len(done) > 1:
        understood["then"] = [{k: v for k, v in one.understood.items() if k != "slots"} for one in done[1:]]
    state = last.state.before(later) if last.waits else last.state
    offering = next((one.state for one in reversed(done) if one.state.offered), None)
    if offering is not None and state.action is None:
        # What an earlier step asked beside its answer is still to be said yes to.
        state = replace(state, action=offering.action, offered=offering.offered)
    before = Reply.joined(told[:-1]) if ends and len(told) > 1 else None
    reply = _asking(before, told[-1]) if before is not None and last.is_question else Reply.joined(told)
    return Answer(
        reply, state, understood, is_question=last.is_question, waits=last.waits, shown=last.shown, before=before
    )


def _asking(before: Reply, question: Reply) -> Reply:
    """A question behind an answer: below its table, where it is seen, if there is one."""
    if all(isinstance(part, Text) for part in before.parts):
        return Reply.joined([before, question])
    kept = [part for part in before.parts if not isinstance(part, Choices)]
    return Reply((*kept[: PARTS_MAX - len(question.parts)], *question.parts))


def _passed_on(step: Intent | Reply, before: Answer | None, deps: TurnDeps) -> Intent | Reply | None:
    """The step with what the one before it answered, word for word, where it is about that; None where that is
    nothing."""
    if not isinstance(step, Intent) or step.refers is None:
        return step
    if before is None or before.understood.get("answer") != "ran":
        return None
    most = deps.catalog.chars_max(deps.catalog[step.action], step.refers)
    words = text_of(before.reply.parts).strip()
    if most is not None and len(words) > most:
        words = f"{words[: most - 1].rstrip()}…"
    return replace(step, slots={**step.slots, step.refers: words}, refers=None) if words else None


def _nothing_to_pass_on(turn: Turn, step: Intent | Reply) -> Answer:
    action = step.action if isinstance(step, Intent) else "none"
    told = Reply.of(NOTHING_TO_PASS_ON.to(turn.person.language))
    return Answer(told, turn.state, {"action": action, "answer": "refused"}, failed=True)


async def _take(turn: Turn, key: str, step: Intent | Reply, deps: TurnDeps) -> Answer:
    """Take one step: say something, ask for what is missing, show what would be done, or run the action."""
    if isinstance(step, Reply):
        state = turn.state.finish() if isinstance(step, Dropped) else turn.state
        if isinstance(step, Told) and step.why == "help":
            language = spoken(turn.person.language)
            more = await standing.lines(deps.db, deps.catalog, deps.providers, deps.settings, turn.address, language)
            if more:
                step = replace(step, parts=(step.parts[0], Text(text=more), *step.parts[1:]))
        return Answer(step, state, _why_said(step))
    action, state, params = deps.catalog.taken_up(step, turn.state)
    understood: dict[str, JsonValue] = {
        "action": step.action,
        "slots": {slot: value for slot, value in step.slots.items() if slot not in action.secrets},
        "confidence": step.confidence,
        **({"guessed": True} if step.guessed else {}),
    }
    if isinstance(params, Problem):
        return _ask(state, params.slot, params.question.to(turn.person.language), turn, understood)
    try:
        if action.shows is not None:
            prompt = await show(turn, key, action, params, deps)
            return Answer(prompt, state.finish(), understood | {"answer": "confirm"}, waits=True, shown=True)
        result = await run_action(turn, key, action, params, deps)
    except InvalidSlot as problem:
        return _ask(state, problem.slot, problem.to(turn.person.language), turn, understood)
    except UserError as problem:
        return Answer(told_why(problem, turn), state.finish(), understood | why_not(problem), failed=True)
    except (ProviderError, ProviderRefused) as problem:
        log.warning("turn.provider_failed", turn_id=turn.id, action=action.name, error=type(problem).__name__)
        return Answer(no_answer(action, turn, deps), state.finish(), understood | {"answer": "failed"}, failed=True)
    return Answer(Reply(result.said), state.finish().suggest(result.offers), understood | {"answer": "ran"})


def _why_said(reply: Reply) -> dict[str, JsonValue]:
    """What is kept of an answer that ran nothing: of which kind it is, and which action it speaks of."""
    if not isinstance(reply, Told):
        return {"action": "none", "answer": "chat"}
    kept: dict[str, JsonValue] = {"action": "none", "answer": reply.why}
    if reply.action is not None:
        kept |= {"guess": reply.action, "confidence": reply.confidence}
    return kept


def _ask(state: DialogState, slot: str, question: str, turn: Turn, understood: Mapping[str, JsonValue]) -> Answer:
    if slot not in turn.state.asked and turn.state.action == state.action:
        # Whoever answers one question after the other is not tired of them.
        state = replace(state, questions=0)
    if state.questions >= QUESTIONS_MAX:
        given_up = {**understood, "answer": "refused"}
        return Answer(Reply.of(LATER.to(turn.person.language)), state.finish(), given_up, failed=True)
    asked = {**understood, "answer": "asked"}
    return Answer(Reply.of(question), state.ask(slot), asked, is_question=True, waits=True)
