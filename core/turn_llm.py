"""What language models make of a message of a turn, and what an earlier attempt of theirs did already."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from core import people, receipts, renumber
from core.actions import Action, Params
from core.brain.hands import Allowance, Hands
from core.brain.recall import is_foreign
from core.brain.tools import Known
from core.codes import code_in
from core.dialog import PLAN_MAX, Intent
from core.errors import ProviderError, ProviderRefused, UserError
from core.language import spoken
from core.messages import Reply, text_of
from core.models import Receipt
from core.receipts import CALLS_MAX, call_key
from core.turn import Answer, Turn, TurnDeps
from core.turn_calls import no_answer, run_action, show, told_why
from core.turn_steps import LATER

if TYPE_CHECKING:
    from core.brain.chain import Models


def is_local(turn: Turn, steps: Sequence[Intent | Reply], deps: TurnDeps) -> bool:
    """Whether no language model sees a message: commands, what has no words, and whatever may hold a secret."""
    text = turn.text.strip()
    if text.startswith("/") or code_in(text) is not None:
        return True
    if not text and not any(is_foreign(message.parts) for message in turn.messages):
        return True
    names = {step.action for step in steps if isinstance(step, Intent)} | {turn.state.action}
    return any(deps.catalog[name].secrets for name in names if name is not None and name in deps.catalog)


async def ask_models(
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
        return text_of((await show(turn, call_key(turn.id, number, PLAN_MAX + n), action, params, deps)).parts[:1])

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
    understood, shown = {**answered.understood, **record}, hands.shown is not None
    return Answer(answered.reply, answered.state, understood, waits=shown, shown=shown), record


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
            said.append(told_why(problem, turn))
        except (ProviderError, ProviderRefused):
            said.append(no_answer(action, turn, deps))
    return Answer(Reply.joined(said or [Reply.of(LATER.to(turn.person.language))]), turn.state.finish(), understood)
