"""Answering a claimed turn: each of its messages in order, with one reply to all.

A message is answered by code where it is a code, else by a language model where there is one, else by the brain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import structlog
from pydantic import JsonValue

from core import confirm, conversations, crashpoint, moderation, opt_out, voice
from core.actions import Effect, Person
from core.brain import again, picks, plans, sound, topics
from core.brain.hands import Allowance
from core.brain.replies import Dropped, Told
from core.brain.understand import corrects
from core.dialog import DialogState, Intent
from core.errors import UserError
from core.language import Saying, spoken
from core.limits import UPLOADS
from core.messages import ChannelName, Media, Reply
from core.receipts import call_key
from core.turn import Answer, Closing, Turn, TurnDeps, speaking
from core.turn_calls import run_action, told_why, used_up, why_not
from core.turn_llm import ask_models, is_local
from core.turn_steps import NEXT, carry_out
from core.window import WINDOWED

log = structlog.get_logger()

APOLOGY = Saying(
    "Sorry, I could not answer that. Please try it another way.",
    "Samahani, sikuweza kujibu hilo. Tafadhali jaribu kwa njia nyingine.",
)

NEWEST = Saying(
    "Of what you were to confirm, only this last one still counts.",
    "Kati ya uliyotakiwa kuthibitisha, ni hili la mwisho tu linalohesabika sasa.",
)

FORWARDED = Saying(
    "That was written by somebody else. Tell me in your own words what you would like.",
    "Hayo yameandikwa na mtu mwingine. Niambie kwa maneno yako mwenyewe unachotaka.",
)


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
        if languages.get(person.id, person.language) != person.language:
            person = replace(person, language=languages[person.id])
        if not message.is_forwarded and not topics.is_name(message.text, states[person.id]):
            person = speaking(person, message.text)
        languages[person.id] = person.language
        one = turn if person is turn.person else replace(turn, person=person)
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
        if said is not None and (word := await _answer_word(said, one, deps)) is not None:
            stopped = word if said == "stop" else None
            answers.append((person.id, word))
        else:
            problem = turn.unheard.get(message.event_id)
            if problem is not None:
                answers.append((person.id, _sorry(problem, person, states[person.id])))
            if problem is None or message.text:
                behind = _to_confirm([one for _, one in answers]) is not None
                answers.append((person.id, await _answer(one, number, deps, allowance, behind=behind)))
        meant = answers[-1][1].understood
        understood.append({**meant, "spoken": True} if voice.spoken(message) else meant)
        states[person.id] = answers[-1][1].state
    last = dict(answers)
    prompt = _to_confirm([one for _, one in answers])
    for writer, ending in last.items():
        asked = ending.reply.meant if isinstance(ending.reply, Told) else None
        states[writer] = states[writer].showing((prompt or ending).reply.options, asked)
    crashpoint.hit("turn.answered")
    state = states.pop(turn.person.id)
    before = {one.id: one.language for one in (turn.person, *turn.people)}
    languages = {person_id: now for person_id, now in languages.items() if now != before[person_id]}
    if stopped is not None:
        # Whoever opts out gets this one line; what else they wrote in the same breath is done, and not told.
        return Closing(turn, stopped.reply if stopped.reply.parts else None, state, understood, states, languages)
    told: list[Reply] = []
    for writer, answer in answers:
        over = answer.shown or (answer.is_question and answer is not last[writer])
        kept = answer.before if over else answer.reply
        if answer is not prompt and kept is not None:
            told.append(kept)
    if prompt is not None and any(answer.shown and answer is not prompt for _, answer in answers):
        told.append(Reply.of(NEWEST.to(turn.person.language)))
    if turn.notice is not None:
        told.append(Reply.of(turn.notice))
    if prompt is not None:
        told.append(prompt.reply)
    return Closing(turn, Reply.joined(told) if told else None, state, understood, states, languages)


def _to_confirm(answers: Sequence[Answer]) -> Answer | None:
    """What stands last in the reply, with its button: what is shown to be confirmed, if no later message was about it.

    It is shown in private rooms alone, where one person writes.
    """
    for one in reversed(answers):
        if one.shown or "confirmation" in one.understood:
            return one if one.shown else None
    return None


async def _muted(turn: Turn, deps: TurnDeps) -> Turn:
    """A muted person's turn: silence, but for the word that brings staff in, which is answered once."""
    if not any(moderation.APPEAL.fullmatch(message.text) for message in turn.messages):
        return turn
    if not await moderation.appeal(deps.db, turn.person.id, turn.id):
        return turn
    return replace(turn, notice=moderation.APPEALED[spoken(speaking(turn.person, turn.text).language)])


async def _answer_word(said: str, turn: Turn, deps: TurnDeps) -> Answer | None:
    """Opt out or in; None for START from somebody who had not opted out, which is a message like any other."""
    sender, language = turn.messages[-1].sender, spoken(turn.person.language)
    if said == "start":
        if not await opt_out.start(deps.db, sender, turn.id, turn.attempt):
            return None
        return Answer(Reply.of(opt_out.STARTED[language]), turn.state, {"action": "none", "answer": "ran"})
    newly = await opt_out.stop(deps.db, sender, turn.id, turn.attempt)
    reply = Reply.of(opt_out.STOPPED[language]) if newly else Reply(())
    return Answer(reply, turn.state.finish(), {"action": "none", "answer": "ran"})


async def _answer(turn: Turn, number: int, deps: TurnDeps, allowance: Allowance, *, behind: bool = False) -> Answer:
    """Answer one message: by code where it is a code, else by a language model where there is one, else by the brain.

    `allowance` is what the turn still has for language models; `behind` says that an earlier message of the turn led to
    something to be confirmed: one thing is shown at a time, and what else is to be comes when that was.
    """
    # What was uploaded on the web was counted there.
    files = (
        0
        if turn.address.channel is ChannelName.WEB
        else sum(isinstance(part, Media) for message in turn.messages for part in message.parts)
    )
    for file in range(files):
        problem = await used_up([UPLOADS], turn, f"turn:{turn.id}:{number}:file:{file}", deps)
        if problem is not None:
            return Answer(told_why(problem, turn), turn.state, {"action": "none"} | why_not(problem))
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
    if deps.models is not None and not is_local(turn, steps, deps):
        spoken_, asked = await ask_models(turn, number, deps, deps.models, allowance)
        if spoken_ is not None:
            return spoken_
    steps = tuple(plans.going_on(steps, turn.state))
    if any(message.is_forwarded for message in turn.messages) and not all(_only_reads(step, deps) for step in steps):
        told = Reply.of(FORWARDED.to(turn.person.language))
        return Answer(told, turn.state, {"action": "none", "answer": "refused", "tainted": True, **asked})
    now = _before_next(steps, deps) if behind and not corrects(turn.text) else steps
    later = [step for step in steps[len(now) :] if isinstance(step, Intent)]
    if now:
        done = await carry_out(turn, number, now, deps)
    else:
        told = Reply.of(NEXT.to(turn.person.language))
        done = Answer(told, turn.state, {"action": later[0].action, "answer": "next"})
    # What waits for a code goes on waiting, whatever else is said, until something else is shown or asked.
    kept = done.state.then if done.waits or turn.state.action is not None else turn.state.then
    done = replace(done, state=done.state.before([*kept, *later]))
    return replace(done, understood={"parser": "rules", **done.understood, **asked})


def _before_next(steps: Sequence[Intent | Reply], deps: TurnDeps) -> Sequence[Intent | Reply]:
    """The steps before the first that has to be confirmed."""
    for number, step in enumerate(steps):
        if isinstance(step, Intent) and deps.catalog[step.action].shows is not None:
            return steps[:number]
    return steps


def _only_reads(step: Intent | Reply, deps: TurnDeps) -> bool:
    """Whether a step changes nothing, now or by a yes to it: all that comes of words of somebody else."""
    if isinstance(step, Intent):
        return deps.catalog[step.action].effect is Effect.READ
    return not isinstance(step, Dropped) and (not isinstance(step, Told) or step.meant is None)


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
    # What was asked meanwhile is asked again, and what was asked for behind it is done.
    behind = [*plans.left_open(turn.state), *turn.state.then]
    state, understood = turn.state.finish(), {"action": answered.action or "none", "confirmation": str(answered.id)}
    if answered.outcome is not confirm.Outcome.CONFIRMED:
        said_why = Reply.of(confirm.say(answered.outcome, turn.person.language))
        refused = Answer(said_why, turn.state, understood | {"answer": "refused"})
        if answered.outcome not in confirm.ENDED:
            return refused
        return await carry_out(turn, number, behind, deps, begun=replace(refused, state=state, failed=True))
    action = deps.catalog[answered.action]
    params = action.confirmed_params.model_validate_json(answered.params)
    try:
        result = await run_action(turn, key, action, params, deps, confirmed=answered.id)
    except UserError as problem:
        if answered.action in deps.catalog.spending:
            async with deps.db.hot() as connection:
                await confirm.end(connection, answered.id)
        done = Answer(told_why(problem, turn), state, understood | why_not(problem), failed=True)
    else:
        done = Answer(Reply(result.said), again.after(state, answered.action), understood | {"answer": "ran"})
    return await carry_out(turn, number, behind, deps, begun=done)


def _sorry(problem: voice.Problem, person: Person, state: DialogState) -> Answer:
    """The answer to a voice note without words."""
    text = voice.SORRY[problem][spoken(person.language)]
    return Answer(Reply.of(text), state, {"action": "none", "voice": problem, "answer": "not_understood"})
