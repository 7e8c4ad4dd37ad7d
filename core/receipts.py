"""Receipts: one row a call of a WRITE action, written before and after it. The only source of the word "done"."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from core import crashpoint
from core.actions import Action, ActionContext, ActionResult, Params
from core.messages import PARTS
from core.models import Receipt


async def once(action: Action[Any], params: Params, context: ActionContext) -> ActionResult:
    """Run an action under its idempotency key, or return what it returned when it already ran.

    A call that was started and never finished (its process died) is run again with the same key, which the action
    passes on to whatever it changes. An error leaves the receipt `failed` and is raised.
    """
    key = context.idempotency_key
    async with context.db.transaction() as session:
        await session.execute(
            insert(Receipt)
            .values(
                key=key,
                person_id=context.person.id,
                conversation_id=context.conversation_id,
                action=action.name,
                params=params.model_dump(mode="json"),
            )
            .on_conflict_do_nothing()
        )
        receipt = (await session.execute(select(Receipt).where(Receipt.key == key))).scalar_one()
        if receipt.state == "done" and receipt.result is not None:
            return _read(receipt.result)
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
        {"text": result.text, "data": dict(result.data), "parts": PARTS.dump_python(result.parts, mode="json")},
    )
    return result


async def _finish(context: ActionContext, state: str, result: dict[str, Any]) -> None:
    async with context.db.transaction() as session:
        await session.execute(
            update(Receipt)
            .where(Receipt.key == context.idempotency_key, Receipt.state != "done")
            .values(state=state, result=result, finished_at=datetime.now(UTC))
        )


def _read(result: dict[str, Any]) -> ActionResult:
    return ActionResult(result["text"], result["data"], PARTS.validate_python(result["parts"]))
