"""How many tokens of language models a person may use in a month, reserved in PostgreSQL before a model is asked.

What is reserved is more than a call can use, and is put right when it ends; of a process that dies in between, the
whole of it stays used. So however many calls there are at once, they never pass the cap together.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from core.db import Database

RESERVE = """
INSERT INTO token_use AS t (person_id, month, tokens)
SELECT coalesce(p.merged_into, p.id), $2, $3::bigint FROM person p
WHERE p.id = $1 AND p.erasure_id IS NULL AND $3::bigint <= $4::bigint
ON CONFLICT (person_id, month) DO UPDATE SET tokens = t.tokens + excluded.tokens
WHERE t.tokens + excluded.tokens <= $4::bigint
RETURNING person_id
"""
SETTLE = """
UPDATE token_use SET tokens = greatest(0, tokens + $3::bigint) WHERE person_id = $1 AND month = $2
"""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Tokens of a person's month that a call may use."""

    person_id: UUID
    month: date
    tokens: int


async def reserve(db: Database, person_id: UUID, tokens: int, most: int) -> Reserved | None:
    """Take `tokens` of the `most` a person has this month, by the calendar of UTC; None when there are not so many."""
    month = datetime.now(UTC).date().replace(day=1)
    owner = await db.pool.fetchval(RESERVE, person_id, month, tokens, most)
    return None if owner is None else Reserved(owner, month, tokens)


async def settle(db: Database, reserved: Reserved, used: int) -> None:
    """Put right what was reserved, once it is known what was used."""
    if used != reserved.tokens:
        await db.pool.execute(SETTLE, reserved.person_id, reserved.month, used - reserved.tokens)
