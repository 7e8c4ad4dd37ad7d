"""Receipts: one row a call of a WRITE action, written before and after it. The only source of the word "done".

What was asked and answered is sealed under the key of the conversation it was asked in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import crashpoint
from core.actions import Action, ActionContext, ActionResult, Params
from core.db import Database, driver
from core.errors import Erased
from core.messages import PARTS
from core.models import Receipt

CALLS_MAX = 20
"""How many calls one message can lead to."""


def call_key(turn_id: int, number: int, step: int = 0) -> str:
    """The idempotency key of a call that a turn's message led to: the message counted from 1, the call from 0."""
    return f"turn:{turn_id}:{number}" if step == 0 else f"turn:{turn_id}:{number}:{step}"


async def once(action: Action[Any], params: Params, context: ActionContext) -> ActionResult:
    """Run an action under its idempotency key, or return what it returned when it already ran.

    A call that was started and never finished (its process died) is run again with the same key, which the action
    passes on to whatever it changes. An error leaves the receipt `failed` and is raised.
    """
    key = context.idempotency_key
    async with context.db.transaction() as session:
        sealed = await _sealed(session, context, "params", params.model_dump_json().encode())
        await session.execute(
            insert(Receipt)
            .values(
                key=key,
                person_id=context.person.id,
                conversation_id=context.conversation_id,
                action=action.name,
                params=sealed,
            )
            .on_conflict_do_nothing()
        )
        receipt = await session.scalar(select(Receipt).where(Receipt.key == key))
        if receipt is None:
            raise Erased  # Nothing is kept for a person who has been erased since.
        if receipt.state == "done" and receipt.result is not None:
            known = await opened(session, receipt, "result")
            # Its room was erased since; what was done is done.
            return ActionResult("") if known is None else _read(known)
    crashpoint.hit("turn.action_started")
    try:
        result = await action.run(context, params)
    except Exception as error:
        await _finish(context, "failed", {"error": type(error).__name__})
        raise
    crashpoint.hit("turn.action_ran")
    await _finish(
        context,
        "done",
        {
            "text": result.text,
            "data": dict(result.data),
            "parts": PARTS.dump_python(result.parts, mode="json"),
            "instead": PARTS.dump_python(result.instead, mode="json"),
            "offers": result.offers,
        },
    )
    return result


async def begun(db: Database, keys: Sequence[str]) -> dict[str, Receipt]:
    """The receipts there are under these keys, in the order of their keys."""
    async with db.transaction() as session:
        found = {one.key: one for one in await session.scalars(select(Receipt).where(Receipt.key.in_(keys)))}
    return {key: found[key] for key in keys if key in found}


async def params_of(db: Database, receipt: Receipt) -> bytes | None:
    """With what parameters a call was made, as JSON; None where its room was erased."""
    async with db.transaction() as session:
        params = await opened(session, receipt, "params")
    return None if params is None else orjson.dumps(params)


async def _finish(context: ActionContext, state: str, result: dict[str, Any]) -> None:
    async with context.db.transaction() as session:
        try:
            sealed = await _sealed(session, context, "result", orjson.dumps(result))
        except Erased:
            return  # Its room is gone, and the receipt with it.
        await session.execute(
            update(Receipt)
            .where(Receipt.key == context.idempotency_key, Receipt.state != "done")
            .values(state=state, result=sealed, finished_at=datetime.now(UTC))
        )


async def opened(session: AsyncSession, receipt: Receipt, what: Literal["params", "result"]) -> dict[str, Any] | None:
    """The parameters or the result of a call; None where there is none, or the room's key was destroyed."""
    connection = await driver(session)
    value = receipt.params if what == "params" else receipt.result
    [json] = await connection.keys.opened(connection, [(receipt.conversation_id, as_receipt(receipt.key, what), value)])
    return None if json is None else dict(orjson.loads(json))


async def _sealed(session: AsyncSession, context: ActionContext, what: str, json: bytes) -> bytes:
    connection = await driver(session)
    key = await connection.keys.of(connection, context.conversation_id)
    sealed: bytes = key.seal(as_receipt(context.idempotency_key, what), json)
    return sealed


def as_receipt(key: str, what: str) -> bytes:
    """What the parameters or the result of a call are sealed as."""
    return f"receipt\0{what}\0{key}".encode()


def _read(result: dict[str, Any]) -> ActionResult:
    parts, instead = (PARTS.validate_python(result.get(which, ())) for which in ("parts", "instead"))
    offers = result.get("offers")
    return ActionResult(result["text"], result["data"], parts, instead, (offers[0], offers[1]) if offers else None)
