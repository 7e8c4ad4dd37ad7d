"""A turn: what was waiting in a conversation is claimed, answered with no transaction open, and closed in one.

`run_turn` is the whole brain on one screen. The set-based SQL below it claims turns under a lease and a fence
(`attempt`), and closes many in one transaction: fence, reply, outbox rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import structlog
from pydantic import JsonValue

from core import (
    account_links,
    confirm,
    conversations,
    crashpoint,
    moderation,
    opt_out,
    people,
    receipts,
    renumber,
    standing,
    voice,
)
from core.actions import Action, ActionContext, ActionResult, Effect, Params, Person, Shown
from core.brain import picks, sound
from core.brain.hands import NO_ANSWER, Allowance, Hands
from core.brain.recall import is_foreign
from core.brain.replies import Dropped, Told
from core.brain.tools import Known
from core.cache import ResultCache
from core.catalog import Catalog, Problem
from core.codes import code_in
from core.db import Database, driver
from core.dialog import PLAN_MAX, QUESTIONS_MAX, DialogState, Intent
from core.dialog_store import DialogStore
from core.errors import InvalidSlot, LimitReached, ProviderError, ProviderRefused, UserError
from core.group_commit import GroupCommit
from core.language import Saying, heard, spoken
from core.limits import CLASSES, MESSAGES, UPLOADS, Limits, Verdict, Whose, day_key, refusal, span_of
from core.media import Fetch, no_files
from core.mentions import is_shared, without_name
from core.messages import Address, ChannelName, Drafter, InboundMessage, Media, Part, Reply, Text, text_of
from core.models import Receipt
from core.names import names_of
from core.outbox import COUNTED, WRITE
from core.providers import Providers
from core.receipts import CALLS_MAX, call_key, once
from core.sealed import BOT, COLUMNS, opened_parts, seal, seal_slots
from core.settings import Settings
from core.wake import Wakes
from core.window import WINDOWED

if TYPE_CHECKING:
    from core.brain import Brain
    from core.brain.chain import Models

log = structlog.get_logger()

ATTEMPTS_MAX = 5
"""After this many failed attempts a turn is dead, and the person is told so once."""
TURN_S_MAX = 120.0
"""The runner stops a turn that takes longer, within a third of a lease."""
MESSAGES_MAX = 100
"""How many messages one turn reads; a person who sent more at once is answered on the newest."""
APOLOGY = Saying(
    "Sorry, I could not answer that. Please try it another way.",
    "Samahani, sikuweza kujibu hilo. Tafadhali jaribu kwa njia nyingine.",
)
LATER = Saying(
    "Let us leave that for now. Ask me again whenever you like.", "Tuliache hilo kwa sasa. Niulize tena ukitaka."
)
STOPPED = Saying(
    "I stopped there, and did not do the rest of what you asked for.",
    "Niliishia hapo, na mengine uliyoomba sikuyafanya.",
)

NOTHING_TO_PASS_ON = Saying(
    "So I have nothing to pass on, and left out what was to be done with it.",
    "Kwa hiyo sina cha kupitisha, na sikufanya lililokusudiwa nacho.",
)

FORWARDED = Saying(
    "That was written by somebody else. Tell me in your own words what you would like.",
    "Hayo yameandikwa na mtu mwingine. Niambie kwa maneno yako mwenyewe unachotaka.",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One claimed turn. `messages` are all it answers, oldest first; `person` is who wrote the newest.

    In a group, `people` are who wrote each message.
    """

    id: int
    attempt: int
    conversation_id: UUID
    address: Address
    person: Person
    messages: tuple[InboundMessage, ...]
    state: DialogState
    now: datetime
    people: tuple[Person, ...] = ()
    """Who wrote each message, in a room where several people did; empty where `person` wrote all."""
    others: Mapping[UUID, DialogState] = field(default_factory=dict)
    """The dialog states of the other people, by their ids; `state` is that of `person`."""
    deleted: frozenset[int] = frozenset()
    """Which of the messages, counted from 1, were deleted before they were answered."""
    written: int = 1
    """How many of the messages that waited `person` wrote."""
    held: Literal["quota", "muted"] | None = None
    """Why it is not answered; its messages stay unread by the brain."""
    notice: str | None = None
    """What is said besides, or instead of, an answer."""
    unheard: Mapping[str, voice.Problem] = field(default_factory=dict)
    """Why voice notes have no words, by the event ids of their messages."""

    @property
    def text(self) -> str:
        """What was written in all messages, one a line."""
        return "\n".join(message.text for message in self.messages if message.text)


@dataclass(frozen=True, slots=True)
class Closing:
    """How a turn ended: its reply (None says nothing), the dialog state after it, and what was understood."""

    turn: Turn
    reply: Reply | None
    state: DialogState
    understood: Sequence[Mapping[str, JsonValue]] = ()
    others: Mapping[UUID, DialogState] = field(default_factory=dict)
    """The states of the other people who wrote, by their ids."""
    languages: Mapping[UUID, str] = field(default_factory=dict)
    """The language of whoever wrote in another one than before, by their ids."""


@dataclass(frozen=True, slots=True)
class TurnDeps:
    """What answering needs: the brain, the actions, and their hands."""

    brain: "Brain"
    catalog: Catalog
    providers: Providers
    cache: ResultCache
    db: Database
    settings: Settings
    limits: Limits
    fetch: Fetch = no_files
    models: "Models | None" = None
    """Language models that are asked first; what they do not answer, `brain` does."""
    drafts: Mapping[ChannelName, Drafter] = field(default_factory=dict)
    """Where an answer can be seen while it is being made."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one message, or one step of its plan, led to.

    A question is of no use once a later message of the same turn was understood. What comes behind a step in a plan
    waits for one that `waits`, and is not done after one that `failed`.
    """

    reply: Reply
    state: DialogState
    understood: Mapping[str, JsonValue]
    is_question: bool = False
    waits: bool = False
    failed: bool = False


async def run_turn(turn: Turn, deps: TurnDeps) -> Closing:
    """Answer all messages of one claimed turn, in order, with one reply; the runner closes it, if the fence still
    holds.

    Each message is answered as its writer's, and finds the dialog state their last one left, so "remind me", "at 5",
    "to call Asha" is one request and two requests in two messages are two. Likewise it is answered in the language it
    is in, or in that of their last one where it does not tell.
    """
    if turn.held is not None:
        if turn.held == "muted":
            turn = await _muted(turn, deps)
        unread: list[Mapping[str, JsonValue]] = [{"action": "none", "held": turn.held}] * len(turn.messages)
        return Closing(turn, Reply.of(turn.notice) if turn.notice else None, turn.state, unread)
    states = {**turn.others, turn.person.id: turn.state}
    allowance = Allowance()
    answers: list[tuple[UUID, Answer]] = []
    understood: list[Mapping[str, JsonValue]] = []
    languages: dict[UUID, str] = {}
    stopped: Answer | None = None
    for number, message in enumerate(turn.messages, 1):
        if number in turn.deleted:
            # Numbers stay: receipts are found by them.
            understood.append({"action": "none"})
            continue
        person = turn.people[number - 1] if turn.people else turn.person
        person = replace(person, language=languages.get(person.id, person.language))
        if not message.is_forwarded:
            person = speaking(person, message.text)
        languages[person.id] = person.language
        one = replace(turn, person=person)
        if len(turn.messages) > 1:
            one = replace(
                one,
                messages=(message,),
                address=message.sender,
                state=states[person.id],
                people=(),
                others={},
            )
        open_now = states[person.id].action is not None
        windowed = message.sender.channel in WINDOWED and not message.is_forwarded
        said = opt_out.word(message.text, in_the_middle=open_now) if windowed else None
        if said is not None and (word := await answer_word(said, one, deps)) is not None:
            stopped = word if said == "stop" else None
            answers.append((person.id, word))
        else:
            problem = turn.unheard.get(message.event_id)
            if problem is not None:
                answers.append((person.id, _sorry(problem, person, states[person.id])))
            if problem is None or message.text:
                answers.append((person.id, await answer(one, number, deps, allowance)))
        meant = answers[-1][1].understood
        understood.append({**meant, "spoken": True} if voice.spoken(message) else meant)
        states[person.id] = answers[-1][1].state
    for writer, last_answer in dict(answers).items():
        reply = last_answer.reply
        states[writer] = states[writer].showing(reply.options, reply.meant if isinstance(reply, Told) else None)
    crashpoint.hit("turn.answered")
    state = states.pop(turn.person.id)
    before = {one.id: one.language for one in (turn.person, *turn.people)}
    languages = {person_id: now for person_id, now in languages.items() if now != before[person_id]}
    if stopped is not None:
        # Whoever opts out gets this one line; what else they wrote in the same breath is done, and not told.
        return Closing(turn, stopped.reply if stopped.reply.parts else None, state, understood, states, languages)
    last = dict(answers)
    told = [one.reply for writer, one in answers if not one.is_question or one is last[writer]]
    if turn.notice is not None:
        told.append(Reply.of(turn.notice))
    return Closing(turn, Reply.joined(told) if told else None, state, understood, states, languages)


async def _muted(turn: Turn, deps: TurnDeps) -> Turn:
    """A muted person's turn: silence, but for the word that brings staff in, which is answered once."""
    if not any(moderation.APPEAL.fullmatch(message.text) for message in turn.messages):
        return turn
    if not await moderation.appeal(deps.db, turn.person.id, turn.id):
        return turn
    return replace(turn, notice=moderation.APPEALED[spoken(speaking(turn.person, turn.text).language)])


def speaking(person: Person, text: str) -> Person:
    """The person, spoken with in the language of what they wrote, unless that does not tell, or they chose one."""
    language = None if person.language_chosen else heard(text)
    return person if language in (None, person.language) else replace(person, language=language)


async def answer_word(said: str, turn: Turn, deps: TurnDeps) -> Answer | None:
    """Opt out or in; None for START from somebody who had not opted out, which is a message like any other."""
    sender, language = turn.messages[-1].sender, spoken(turn.person.language)
    if said == "start":
        if not await opt_out.start(deps.db, sender, turn.id, turn.attempt):
            return None
        return Answer(Reply.of(opt_out.STARTED[language]), turn.state, {"action": "none", "answer": "ran"})
    newly = await opt_out.stop(deps.db, sender, turn.id, turn.attempt)
    reply = Reply.of(opt_out.STOPPED[language]) if newly else Reply(())
    return Answer(reply, turn.state.finish(), {"action": "none", "answer": "ran"})


async def answer(turn: Turn, number: int, deps: TurnDeps, allowance: Allowance | None = None) -> Answer:
    """Answer one message: by code where it is a code, else by a language model where there is one, else by the brain.

    `allowance` is what the turn still has for language models.
    """
    # What was uploaded on the web was counted there.
    files = (
        0
        if turn.address.channel is ChannelName.WEB
        else sum(isinstance(part, Media) for message in turn.messages for part in message.parts)
    )
    for file in range(files):
        verdict = await deps.limits.take(
            [UPLOADS], _whose(turn, deps.settings), turn.now, call=f"turn:{turn.id}:{number}:file:{file}"
        )
        if not verdict.passed:
            problem = _refusal(turn, verdict, deps.settings)
            return Answer(_told(problem, turn), turn.state, {"action": "none"} | _why_not(problem))
    said = await _answers_by_code(turn, deps)
    if said is not None and (done := await _confirm(said, turn, number, deps)) is not None:
        return done
    thought = await deps.brain.think(turn, deps.catalog.offered)
    try:
        steps = sound.steps(thought, deps.catalog)
    except sound.Unsound as problem:
        log.warning("turn.unsound_thought", turn_id=turn.id, why=str(problem))
        told = Reply.of(APOLOGY.to(turn.person.language))
        return Answer(told, turn.state, {"action": "none", "answer": "failed"})
    asked: Mapping[str, JsonValue] = {}
    if deps.models is not None and not _is_local(turn, steps, deps):
        spoken_, asked = await _ask_models(turn, number, deps, deps.models, allowance or Allowance())
        if spoken_ is not None:
            return spoken_
    if isinstance(steps[0], Intent) and steps[0].action == turn.state.action:
        # What was asked for behind it goes on when this is done.
        steps = (*steps, *turn.state.then)
    if any(message.is_forwarded for message in turn.messages) and not all(_only_reads(step, deps) for step in steps):
        told = Reply.of(FORWARDED.to(turn.person.language))
        return Answer(told, turn.state, {"action": "none", "answer": "refused", "tainted": True, **asked})
    done = await carry_out(turn, number, steps, deps)
    return replace(done, understood={"parser": "rules", **done.understood, **asked})


def _only_reads(step: Intent | Reply, deps: TurnDeps) -> bool:
    """Whether a step changes nothing, now or by a yes to it: all that comes of words of somebody else."""
    if isinstance(step, Intent):
        return deps.catalog[step.action].effect is Effect.READ
    return not isinstance(step, Dropped) and (not isinstance(step, Told) or step.meant is None)


def _is_local(turn: Turn, steps: Sequence[Intent | Reply], deps: TurnDeps) -> bool:
    """Whether no language model sees a message: commands, what has no words, and whatever may hold a secret."""
    text = turn.text.strip()
    if text.startswith("/") or code_in(text) is not None:
        return True
    if not text and not any(is_foreign(message.parts) for message in turn.messages):
        return True
    names = {step.action for step in steps if isinstance(step, Intent)} | {turn.state.action}
    return any(deps.catalog[name].secrets for name in names if name is not None and name in deps.catalog)


async def _ask_models(
    turn: Turn, number: int, deps: TurnDeps, models: "Models", allowance: Allowance
) -> tuple[Answer | None, Mapping[str, JsonValue]]:
    """What the models make of a message, and a record of it; None where the brain answers.

    An earlier attempt may have done something already: then that is told, and nobody thinks about it anew.
    """
    first = 0
    if turn.attempt > 1:
        keys = [call_key(turn.id, number, step) for step in range(CALLS_MAX)]
        begun = await receipts.begun(deps.db, keys)
        if any(key in begun for key in keys[:PLAN_MAX]):
            return None, {}
        told = [one for one in begun.values() if one.state != "failed"]
        if told:
            return await _tell(turn, told, deps), {}
        first = max((keys.index(key) + 1 - PLAN_MAX for key in begun), default=0)
    if await renumber.is_frozen(deps.db.pool, turn.address):
        # Whoever writes may be somebody else, and what is known of the person is not told.
        return None, {}

    async def known() -> list[Known]:
        async with deps.db.transaction() as session:
            found = await people.contacts(session, turn.person.id)
        return [Known(one.name, one.phone, one.email) for one in found]

    async def show_one(n: int, action: Action[Any], params: Params) -> str:
        return text_of((await _show(turn, call_key(turn.id, number, PLAN_MAX + n), action, params, deps)).parts[:1])

    hands = Hands(
        deps.catalog, spoken(turn.person.language), turn.address.is_private, tainted=False, written=turn.text,
        known=known,
        run_one=lambda n, action, params: run_action(
            turn, call_key(turn.id, number, PLAN_MAX + n), action, params, deps
        ),
        show_one=show_one,
        allowance=allowance, first=first,
    )  # fmt: skip
    drafter = deps.drafts.get(turn.address.channel) if turn.address.is_private else None
    draft = partial(drafter.show_draft, turn.address.room) if drafter is not None else None
    answered, record = await models.answer(turn, hands, allowance, draft)
    if answered is None:
        return None, record
    understood = {**answered.understood, **record}
    return Answer(answered.reply, answered.state, understood, waits=hands.shown is not None), record


async def _tell(turn: Turn, begun: Sequence[Receipt], deps: TurnDeps) -> Answer:
    """What the calls of an earlier attempt did; one that was not finished is run again, under its own key."""
    said: list[Reply] = []
    understood: dict[str, JsonValue] = {"action": begun[0].action, "answer": "ran", "again": True}
    for receipt in begun:
        params = await receipts.params_of(deps.db, receipt)
        if params is None or receipt.action not in deps.catalog:
            continue
        action = deps.catalog[receipt.action]
        try:
            result = await run_action(turn, receipt.key, action, action.params.model_validate_json(params), deps)
            said.append(Reply(result.said))
        except UserError as problem:
            said.append(_told(problem, turn))
        except (ProviderError, ProviderRefused):
            title = deps.catalog.connector_of(action.name).title
            said.append(Reply.of(NO_ANSWER.filled(title=title).to(turn.person.language)))
    return Answer(Reply.joined(said or [Reply.of(LATER.to(turn.person.language))]), turn.state.finish(), understood)


async def carry_out(
    turn: Turn, number: int, steps: Sequence[Intent | Reply], deps: TurnDeps, *, begun: Answer | None = None
) -> Answer:
    """Take the steps of a message in their order, until one waits for the person or fails.

    `begun` is the first step where that was taken already. What waits is kept in the state.
    """
    done = [] if begun is None else [begun]
    left = list(steps[: PLAN_MAX - len(done)])
    while left and not (done and (done[-1].waits or done[-1].failed)):
        state = done[-1].state if done else turn.state
        key = call_key(turn.id, number, len(done))
        step = _passed_on(left[0], done[-1] if done else None, deps)
        if step is None:
            done.append(_nothing_to_pass_on(replace(turn, state=state), left.pop(0)))
            break
        left[0] = step
        done.append(await _take(replace(turn, state=state), key, left.pop(0), deps))
    last = done[-1]
    told = [one.reply for one in done]
    later = [step for step in left if isinstance(step, Intent)]
    if last.waits:
        # What needs no more than saying is said before the question.
        told[-1:-1] = [step for step in left if isinstance(step, Reply)]
    elif later:
        told.append(Reply.of(STOPPED.to(turn.person.language)))
    understood = dict(done[0].understood)
    if len(done) > 1:
        understood["then"] = [{k: v for k, v in one.understood.items() if k != "slots"} for one in done[1:]]
    state = last.state.before(later) if last.waits else last.state
    offering = next((one.state for one in reversed(done) if one.state.offered), None)
    if offering is not None and state.action is None:
        # What an earlier step asked beside its answer is still to be said yes to.
        state = replace(state, action=offering.action, offered=offering.offered)
    return Answer(
        Reply.joined(told) if len(told) > 1 else told[0],
        state,
        understood,
        is_question=last.is_question and len(done) == 1,
        waits=last.waits,
    )


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
            shown = await _show(turn, key, action, params, deps)
            return Answer(shown, state.finish(), understood | {"answer": "confirm"}, waits=True)
        result = await run_action(turn, key, action, params, deps)
    except InvalidSlot as problem:
        return _ask(state, problem.slot, problem.to(turn.person.language), turn, understood)
    except UserError as problem:
        return Answer(_told(problem, turn), state.finish(), understood | _why_not(problem), failed=True)
    except (ProviderError, ProviderRefused) as problem:
        log.warning("turn.provider_failed", turn_id=turn.id, action=action.name, error=type(problem).__name__)
        title = deps.catalog.connector_of(action.name).title
        text = NO_ANSWER.filled(title=title).to(turn.person.language)
        return Answer(Reply.of(text), state.finish(), understood | {"answer": "failed"}, failed=True)
    return Answer(Reply(result.said), state.finish().suggest(result.offers), understood | {"answer": "ran"})


async def _answers_by_code(turn: Turn, deps: TurnDeps) -> str | None:
    """A code, or a no, that was typed in private; nobody confirms by speaking or passing on, or where others are.

    A yes that quotes something small presses the button that is below it.
    """
    if not turn.address.is_private or any(voice.spoken(message) or message.is_forwarded for message in turn.messages):
        return None
    # Where there are no buttons they are numbered, and the number of one is as good.
    typed = confirm.typed(picks.picked(turn.text, turn.state.shown) or turn.text)
    quoted = turn.messages[0].reply_to if len(turn.messages) == 1 else None
    if typed is not None or quoted is None or not picks.agrees(turn.text):
        return typed
    parts = await conversations.ours(deps.db, turn.conversation_id, quoted, turn.address.channel)
    return confirm.of_button(parts or ())


async def _confirm(said: str, turn: Turn, number: int, deps: TurnDeps) -> Answer | None:
    """Do what was shown, when this is its code; None where nothing waits for one. No brain takes part in it."""
    key = call_key(turn.id, number)
    async with deps.db.transaction() as session:
        answered = await confirm.answer(
            session, turn.address, said, datetime.now(UTC), key, leave=deps.catalog.spending
        )
    if answered is None:
        return None
    state, understood = turn.state.finish(), {"action": answered.action or "none", "confirmation": str(answered.id)}
    if answered.outcome is not confirm.Outcome.CONFIRMED:
        kept = turn.state.before(()) if answered.outcome in confirm.ENDED else turn.state
        said_why = Reply.of(confirm.say(answered.outcome, turn.person.language))
        return Answer(said_why, kept, understood | {"answer": "refused"})
    action = deps.catalog[answered.action]
    params = action.confirmed_params.model_validate_json(answered.params)
    try:
        result = await run_action(turn, key, action, params, deps, confirmed=answered.id)
    except UserError as problem:
        if answered.action in deps.catalog.spending:
            async with deps.db.hot() as connection:
                await confirm.end(connection, answered.id)
        done = Answer(_told(problem, turn), state, understood | _why_not(problem), failed=True)
    else:
        done = Answer(Reply(result.said), state, understood | {"answer": "ran"})
    return await carry_out(turn, number, turn.state.then, deps, begun=done)


async def _show(turn: Turn, key: str, action: Action[Any], params: Params, deps: TurnDeps) -> Reply:
    """What the action would do, and its code or button; raises UserError where others are in the room."""
    if not turn.address.is_private:
        raise UserError(confirm.PRIVATE[spoken(turn.person.language)])
    await renumber.check(deps.db.pool, action, turn.person, turn.address, offered=deps.catalog.names)
    context = _context(turn, key, deps)
    shown = await action.shows(context, params) if action.shows is not None else ""
    if isinstance(shown, str):
        shown = Shown(shown, params)
    async with deps.db.transaction() as session:
        json = shown.params.model_dump_json().encode()
        code = await confirm.ask(
            session, turn.address, turn.conversation_id, action.name, json, context.now,
            by_pin=shown.text if shown.by_pin else None,
        )  # fmt: skip
        link = (
            await account_links.new_link(session, turn.address, turn.conversation_id, context.now)
            if shown.by_pin
            else ""
        )
        # It may have changed hands while that was made up.
        await renumber.check(await driver(session), action, turn.person, turn.address, offered=deps.catalog.names)
    how = (confirm.HOW_BY_PIN if link else confirm.HOW)[spoken(turn.person.language)]
    text = f"{shown.text}\n\n{how.format(code=code, link=f'{deps.settings.base_url}{link}')}"
    return Reply.of(text, (confirm.button(code, turn.person.language),) if shown.by_button else ())


def _context(turn: Turn, key: str, deps: TurnDeps, confirmed: UUID | None = None) -> ActionContext:
    return ActionContext(
        turn.person,
        turn.conversation_id,
        deps.db,
        deps.providers,
        deps.settings,
        datetime.now(UTC),
        key,
        turn.address,
        deps.limits,
        deps.fetch,
        confirmed,
        deps.catalog.names,
    )


def _sorry(problem: voice.Problem, person: Person, state: DialogState) -> Answer:
    """The answer to a voice note without words."""
    text = voice.SORRY[problem][spoken(person.language)]
    return Answer(Reply.of(text), state, {"action": "none", "voice": problem, "answer": "not_understood"})


def _why_said(reply: Reply) -> dict[str, JsonValue]:
    """What is kept of an answer that ran nothing: of which kind it is, and which action it speaks of."""
    if not isinstance(reply, Told):
        return {"action": "none", "answer": "chat"}
    kept: dict[str, JsonValue] = {"action": "none", "answer": reply.why}
    if reply.action is not None:
        kept |= {"guess": reply.action, "confidence": reply.confidence}
    return kept


def _why_not(problem: UserError) -> dict[str, JsonValue]:
    """What is kept of an action that did not run: the limit that was reached, if one was."""
    if not isinstance(problem, LimitReached):
        return {"answer": "refused"}
    return {"answer": "limited"} if problem.limit is None else {"answer": "limited", "limit": problem.limit}


def _told(problem: UserError, turn: Turn) -> Reply:
    return Reply.of(problem.to(turn.person.language))


def _ask(state: DialogState, slot: str, question: str, turn: Turn, understood: Mapping[str, JsonValue]) -> Answer:
    if state.questions >= QUESTIONS_MAX:
        given_up = {**understood, "answer": "refused"}
        return Answer(Reply.of(LATER.to(turn.person.language)), state.finish(), given_up, failed=True)
    asked = {**understood, "answer": "asked"}
    return Answer(Reply.of(question), state.ask(slot), asked, is_question=True, waits=True)


async def run_action(
    turn: Turn, key: str, action: Action[Any], params: Params, deps: TurnDeps, *, confirmed: UUID | None = None
) -> ActionResult:
    """Run one action for a turn's message, under the idempotency key `key`: a cached READ where it may be, anything
    else once, by its receipt.

    Raises LimitReached, with nothing run, when one of the limits it counts under is used up, and Frozen when a number
    changed hands and the action matters (core/renumber.py).
    """
    if action.shows is not None and confirmed is None:
        raise ValueError(f"{action.name} was not confirmed")
    await renumber.check(deps.db.pool, action, turn.person, turn.address, key, offered=deps.catalog.names)
    if action.counts:
        verdict = await deps.limits.take(
            [CLASSES[name] for name in action.counts], _whose(turn, deps.settings), turn.now, call=key
        )
        if not verdict.passed:
            log.info("turn.limited", turn_id=turn.id, action=action.name, limit=verdict.limit.name)
            raise _refusal(turn, verdict, deps.settings)
    context = _context(turn, key, deps, confirmed)
    if action.effect is Effect.READ:
        return await deps.cache.get_or_run(action, params, context)
    return await once(action, params, context)


def _whose(turn: Turn, settings: Settings) -> Whose:
    person = turn.person
    return Whose(str(person.id), ZoneInfo(person.timezone or settings.default_timezone), person.plan)


def _refusal(turn: Turn, verdict: Verdict, settings: Settings) -> LimitReached:
    zone = ZoneInfo(turn.person.timezone or settings.default_timezone)
    return refusal(verdict, turn.now, zone)


CLAIM = """
WITH head AS (
    SELECT t.id FROM turn t
    WHERE t.state IN ('waiting', 'open')
      AND CASE WHEN t.state = 'open' THEN t.lease_until < clock_timestamp()
          ELSE NOT EXISTS (SELECT FROM turn p WHERE p.conversation_id = t.conversation_id AND p.state = 'open') END
    ORDER BY t.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE turn t SET state = 'open', attempt = t.attempt + 1, lease_until = clock_timestamp() + $2
FROM head WHERE t.id = head.id
RETURNING t.id, t.attempt, set_config('synchronous_commit', 'off', true)
"""
"""A claim that a crash of PostgreSQL forgets is made again, so its commit need not wait for the disk; closing does."""

READ = f"""
SELECT t.id, t.attempt, c.channel, c.account, c.room, {COLUMNS}, m.reply_to, m.created_at,
       i.provider_id, i.display_name, p.id AS person_id, p.name, p.language,
       coalesce(p.timezone, p.zone_guess) AS timezone, p.plan, p.muted_until,
       p.language_chosen, p.currency
FROM unnest($1::bigint[]) AS g(id)
JOIN turn t USING (id)
JOIN conversation c ON c.id = t.conversation_id
JOIN LATERAL (SELECT * FROM message m
              WHERE m.conversation_id = t.conversation_id AND m.seq >= t.first_seq AND m.turn_id = t.id
                AND m.event_id IS NOT NULL
              ORDER BY m.seq DESC LIMIT $2) m ON true
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = i.person_id
ORDER BY t.id, m.seq
"""

RENEW = """
UPDATE turn t SET lease_until = clock_timestamp() + $3
FROM unnest($1::bigint[], $2::int[]) AS g(id, attempt)
WHERE t.id = g.id AND t.attempt = g.attempt
  AND t.id IN (SELECT id FROM turn WHERE id = ANY($1::bigint[]) AND state = 'open' FOR UPDATE SKIP LOCKED)
"""

GIVE_BACK = """
UPDATE turn SET lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND state = 'open'
"""

SPEAK = """
UPDATE person p SET language = g.language
FROM unnest($1::uuid[], $2::text[]) AS g(id, language)
WHERE p.id = g.id AND NOT p.language_chosen AND p.erasure_id IS NULL
  AND p.id IN (SELECT id FROM person WHERE id = ANY($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)
"""
"""What people last wrote in, for what is said to them next; of few turns in a hundred. Nobody waits for a person's row:
the next message tells again."""

CLOSE = f"""
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::int[],
                         $7::bytea[], $8::bytea[], $9::text[])
        AS g(id, attempt, conversation_id, state, intent, epoch, sealed, slots, reply_to)
), first AS MATERIALIZED (
    SELECT id, epoch FROM conversation WHERE id IN (SELECT conversation_id FROM given) ORDER BY id FOR NO KEY UPDATE
), closed AS (
    UPDATE turn t SET state = g.state, intent = g.intent::jsonb, slots = g.slots, closed_at = clock_timestamp(),
        lease_until = NULL
    FROM given g JOIN first ON first.id = g.conversation_id
    WHERE t.id = g.id AND t.attempt = g.attempt AND t.state IS NOT DISTINCT FROM 'open'
      AND first.epoch = coalesce(g.epoch, first.epoch)
    RETURNING t.id, t.conversation_id, g.epoch, g.sealed, g.reply_to
), fresh AS (
    SELECT conversation_id, epoch, sealed, 'reply' AS kind, 'turn:' || id AS dedup_key, id AS turn_id,
           NULL::text AS author, reply_to, id AS n
    FROM closed WHERE sealed IS NOT NULL
), {COUNTED}, {WRITE}
SELECT id FROM closed
"""
"""One statement, hence one transaction: the fence, then replies and outbox rows of the turns that passed it. A turn
whose reply was sealed in an epoch that is over stays open.

Conversations are locked before anything else, in id order, as the inbox does it.
"""


class Turns:
    """Claims and closes turns; one a process."""

    def __init__(
        self,
        db: Database,
        wakes: Wakes,
        dialogs: DialogStore,
        limits: Limits,
        *,
        lease_s: float,
        zone: str,
        patience_s: float = 60.0,
    ) -> None:
        """`zone` is the IANA zone of people who have stated none; voice notes are waited for `patience_s` at most."""
        self._patience = timedelta(seconds=patience_s)
        self._db = db
        self._limits = limits
        self._zone = zone
        self._lease = timedelta(seconds=lease_s)
        self._wakes = wakes
        self._dialogs = dialogs
        self._closing: GroupCommit[Closing, bool] = GroupCommit(self._commit, lanes=2)

    async def claim(self, limit: int) -> list[Turn]:
        """Lease up to `limit` turns that are first in their conversations, with their messages and dialog states."""
        claimed = await self._db.pool.fetch(CLAIM, limit, self._lease)
        if not claimed:
            return []
        crashpoint.hit("turn.claimed")
        # A second statement, hence a later snapshot: a message that joined a turn just before it was claimed is seen.
        async with self._db.pool.acquire() as connection:
            rows = await connection.fetch(READ, [row["id"] for row in claimed], MESSAGES_MAX)
            said = await opened_parts(self._db.keys, connection, rows)
            names = await names_of(connection)
        rows = [row | {name: names.open(row[name]) for name in ("name", "display_name")} for row in map(dict, rows)]
        grouped: dict[int, list[Read]] = {}
        for read in zip(rows, said, strict=True):
            grouped.setdefault(read[0]["id"], []).append(read)
        now = datetime.now(UTC)
        turns = [_turn(group, now) for group in grouped.values()]
        counts = [
            # A turn that is tried again was counted when it was first.
            (
                day_key(MESSAGES, turn.person.id, now, ZoneInfo(turn.person.timezone or self._zone)),
                turn.written if turn.attempt == 1 and turn.held is None else 0,
            )
            for turn in turns
        ]
        speakers = [(turn.conversation_id, person.id) for turn in turns for person in (turn.person, *turn.people)]
        loaded, counted = await self._dialogs.load(speakers, self._limits, counts)
        states = dict(zip(speakers, loaded, strict=True))
        found = [
            _with_states(self._within(turn, used, group), states)
            for turn, used, group in zip(turns, counted, grouped.values(), strict=True)
        ]
        if any(map(_waits, found)):
            found = [heard for turn in found if (heard := await self._hear(turn)) is not None]
        return found

    async def _hear(self, turn: Turn) -> Turn | None:
        """The turn with what became of its voice notes; None where it waits for the words of one."""
        if not _waits(turn):
            return turn
        why = await voice.park(self._db, turn.conversation_id, turn.id, turn.attempt, turn.messages, self._patience)
        if why is None:
            # Fewer turns were claimed than there was room for, but not because no more are waiting.
            self._wakes.wake("turn")
            return None
        return replace(turn, unheard=why)

    def _within(self, turn: Turn, used: int, read: "Sequence[Read]") -> Turn:
        """The turn as far as its person's messages of the day allow; `used` is their number, its own included.

        They are told in the turn that goes over, and only there. What others wrote in the room is answered all the
        same.
        """
        allowed = self._limits.allowed(MESSAGES, turn.person.plan)
        if used <= allowed or turn.held is not None:
            return turn
        before = used - turn.written
        zone = ZoneInfo(turn.person.timezone or self._zone)
        verdict = Verdict(MESSAGES, allowed, span_of("day", turn.now, zone).ends_at, passed=False)
        notice = None
        if before <= allowed:
            notice = refusal(verdict, turn.now, zone).to(speaking(turn.person, turn.text).language)
        others = [one for one in read if one[0]["person_id"] != turn.person.id]
        if others:
            return replace(_turn(others, turn.now), notice=notice)
        left = max(0, allowed - before)
        if left:
            return replace(turn, messages=turn.messages[:left], notice=notice)
        log.info("turn.over_quota", turn_id=turn.id)
        return replace(turn, held="quota", notice=notice)

    async def renew(self, turns: Sequence[Turn]) -> None:
        """Extend the leases of turns still being answered."""
        await self._db.pool.execute(RENEW, [turn.id for turn in turns], [turn.attempt for turn in turns], self._lease)

    async def give_back(self, turn: Turn, wait_s: float) -> None:
        """Let a turn that failed be claimed again after `wait_s`."""
        await self._db.pool.execute(GIVE_BACK, turn.id, turn.attempt, wait_s)

    async def close(self, closing: Closing) -> bool:
        """Close a turn with its reply; False when somebody else claimed it meanwhile: this work is thrown away."""
        return await self._closing.submit(closing)

    async def _commit(self, closings: Sequence[Closing]) -> list[bool]:
        async with self._db.pool.acquire() as connection:
            crashpoint.hit("turn.before_commit")
            languages = {id_: language for closing in closings for id_, language in closing.languages.items()}
            if languages:
                # Before COMMIT, and by itself: the turn that is claimed next finds it.
                await connection.execute(SPEAK, list(languages), list(languages.values()))
            closed = await self._close(connection, closings)
            crashpoint.hit("turn.committed")
            left = [one for one in closings if one.reply is not None and one.turn.id not in closed]
            if left:
                # They are somebody else's by now, or their reply was sealed with a key that is no longer the newest.
                for one in left:
                    self._db.keys.forget(one.turn.conversation_id)
                closed |= await self._close(connection, left)
        # Only after COMMIT: a turn that is answered again must find the state it was first answered in.
        await self._dialogs.save(
            {
                (closing.turn.conversation_id, person_id): state
                for closing in closings
                if closing.turn.id in closed
                for person_id, state in ((closing.turn.person.id, closing.state), *closing.others.items())
                if state
                != (closing.turn.state if person_id == closing.turn.person.id else closing.turn.others[person_id])
            }
        )
        self._wakes.wake("outbox")
        self._wakes.wake("turn")
        return [closing.turn.id in closed for closing in closings]

    async def _close(self, connection: Any, closings: Sequence[Closing]) -> set[int]:
        """Seal the replies and close; the ids of the turns that were."""
        keys = await self._db.keys.current(connection, [closing.turn.conversation_id for closing in closings])
        # A conversation without a key has been erased, and its turns with it.
        closings = [closing for closing in closings if closing.turn.conversation_id in keys]
        turns = [closing.turn for closing in closings]
        replies = [closing.reply for closing in closings]
        rows = await connection.fetch(
            CLOSE,
            [turn.id for turn in turns],
            [turn.attempt for turn in turns],
            [turn.conversation_id for turn in turns],
            ["dead" if turn.attempt > ATTEMPTS_MAX else "done" for turn in turns],
            [orjson.dumps({"messages": [_bare(one) for one in closing.understood]}).decode() for closing in closings],
            [reply and keys[turn.conversation_id].epoch for turn, reply in zip(turns, replies, strict=True)],
            [
                reply and seal(keys[turn.conversation_id], f"turn:{turn.id}", BOT, reply.parts)
                for turn, reply in zip(turns, replies, strict=True)
            ],
            [seal_slots(keys[one.turn.conversation_id], one.turn.id, one.understood) for one in closings],
            [_thread(turn) for turn in turns],
        )
        return {row["id"] for row in rows}


def _thread(turn: Turn) -> str | None:
    """What the reply answers where others are in the room: who asks within a thread is answered in it."""
    return turn.messages[-1].reply_to if is_shared(turn.address.room) else None


def _bare(understood: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What was understood, without the values, which are words of people."""
    return {name: value for name, value in understood.items() if name != "slots"}


Read = tuple[Any, tuple[Part, ...] | None]
"""A row of READ, and what it says; None where that was deleted, or is not to be read any more."""


def _waits(turn: Turn) -> bool:
    """Whether an answer would have to wait for the words of a voice note."""
    return turn.held is None and any(map(voice.wordless, turn.messages))


def _with_states(turn: Turn, states: Mapping[tuple[UUID, UUID], DialogState]) -> Turn:
    others = {one.id: states[turn.conversation_id, one.id] for one in turn.people if one.id != turn.person.id}
    return replace(turn, state=states[turn.conversation_id, turn.person.id], others=others)


def _turn(read: Sequence[Read], now: datetime) -> Turn:
    """One turn from its joined rows, one a message, oldest first; what muted people wrote is left out of it."""
    heard = [one for one in read if one[0]["muted_until"] is None or one[0]["muted_until"] <= now]
    read, muted = (heard, False) if heard else (read, True)
    rows = [row for row, _ in read]
    last = rows[-1]
    channel = ChannelName(last["channel"])
    messages = tuple(
        InboundMessage(
            Address(channel, row["account"], row["room"], row["provider_id"]),
            row["event_id"],
            _heard(row["room"], parts or ()),
            row["created_at"],
            row["display_name"],
            None,
            row["reply_to"],
        )
        for row, parts in read
    )
    people = tuple(map(_person, rows))
    return Turn(
        last["id"],
        last["attempt"],
        last["conversation_id"],
        messages[-1].sender,
        people[-1],
        messages,
        DialogState(),
        now,
        people if len(rows) > 1 and len({one.id for one in people}) > 1 else (),
        deleted=frozenset(number for number, (_, parts) in enumerate(read, 1) if parts is None),
        written=sum(row["person_id"] == last["person_id"] for row in rows),
        held="muted" if muted else None,
    )


def _heard(room: str, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What was said to the bot; where others are in the room, without the name that called it."""
    return without_name(parts) if is_shared(room) else parts


def _person(row: Any) -> Person:
    return Person(
        row["person_id"],
        row["name"],
        row["language"],
        row["timezone"],
        row["plan"],
        row["language_chosen"],
        row["currency"],
    )
