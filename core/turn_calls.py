"""One action for a message of a turn: shown to be confirmed, or run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from pydantic import JsonValue

from core import account_links, confirm, renumber
from core.actions import Action, ActionContext, ActionResult, Effect, Params, Shown
from core.brain.hands import NO_ANSWER
from core.db import driver
from core.errors import LimitReached, UserError
from core.language import spoken
from core.limits import CLASSES, Limit, Whose, refusal
from core.messages import Reply
from core.receipts import once
from core.turn import Turn, TurnDeps

log = structlog.get_logger()


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
        problem = await used_up([CLASSES[name] for name in action.counts], turn, key, deps)
        if problem is not None:
            log.info("turn.limited", turn_id=turn.id, action=action.name, limit=problem.limit)
            raise problem
    context = _context(turn, key, deps, confirmed)
    if action.effect is Effect.READ:
        return await deps.cache.get_or_run(action, params, context)
    return await once(action, params, context)


async def show(turn: Turn, key: str, action: Action[Any], params: Params, deps: TurnDeps) -> Reply:
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


async def used_up(limits: Sequence[Limit], turn: Turn, call: str, deps: TurnDeps) -> LimitReached | None:
    """Count something of a turn under limits, once a `call`; what to say where one of them is used up."""
    person = turn.person
    zone = ZoneInfo(person.timezone or deps.settings.default_timezone)
    verdict = await deps.limits.take(limits, Whose(str(person.id), zone, person.plan), turn.now, call=call)
    return None if verdict.passed else refusal(verdict, turn.now, zone)


def told_why(problem: UserError, turn: Turn) -> Reply:
    """What the person is told of an action that did not run."""
    return Reply.of(problem.to(turn.person.language))


def no_answer(action: Action[Any], turn: Turn, deps: TurnDeps) -> Reply:
    """What the person is told of an action whose third party failed."""
    title = deps.catalog.connector_of(action.name).title
    return Reply.of(NO_ANSWER.filled(title=title).to(turn.person.language))


def why_not(problem: UserError) -> dict[str, JsonValue]:
    """What is kept of an action that did not run: the limit that was reached, if one was."""
    if not isinstance(problem, LimitReached):
        return {"answer": "refused"}
    return {"answer": "limited"} if problem.limit is None else {"answer": "limited", "limit": problem.limit}
