"""Who did or saw what: one row, written in the very transaction that does or reads it."""

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.models import Audit


async def record(
    session: AsyncSession, actor: str, verb: str, subject: str, detail: Mapping[str, JsonValue] | None = None
) -> None:
    """Write one row in the caller's transaction, so that what is not recorded did not happen.

    `actor` is who ("staff:owner"), `subject` what ("conversation:<id>"). Ids alone, in `detail` too: never message
    text, names or secrets.
    """
    await session.execute(insert(Audit).values(actor=actor, verb=verb, subject=subject, detail=dict(detail or {})))
