"""A person's archive of all that is theirs: asked for in a chat, made by a job, given out for a day.

Here is the row alone: jobs/export.py makes the archive, jobs/archive.py says what is in it. A wait is one row; whoever
claims it holds it under a lease and `attempt`, the fence, and what is told of it is written with its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from core import audit, people
from core.db import Database
from core.errors import LimitReached
from core.messages import Part
from core.models import DataExport
from core.outbox import NewMessage, post
from core.wake import Wakes

EXPORTS_DAY_MAX = 3
"""Archives of one person in 24 hours."""
KEPT_FOR: Final = timedelta(hours=24)
EXPIRED_MAX = 100
FILES: Final = UUID("6d617468-6961-4000-8000-6578706f7274")
"""What the ids of archives are made from, so that one whose maker died before it was told of is found and deleted."""

CLAIMABLE = """
SELECT id, lease_until FROM data_export
WHERE state = 'waiting' AND lease_until <= clock_timestamp() ORDER BY lease_until LIMIT $1
"""
CLAIM = """
UPDATE data_export e SET attempt = attempt + 1, lease_until = clock_timestamp() + $2::interval
FROM person p
WHERE e.id = $1 AND e.state = 'waiting' AND e.lease_until <= clock_timestamp() AND p.id = e.person_id
RETURNING e.attempt, e.person_id, e.conversation_id,
    (SELECT c.channel FROM conversation c WHERE c.id = e.conversation_id), p.language,
    ARRAY(SELECT i.id FROM identity i WHERE i.person_id = e.person_id ORDER BY i.id)
"""
HOLD = """
UPDATE data_export SET lease_until = clock_timestamp() + $3::interval
WHERE id = $1 AND attempt = $2 AND state = 'waiting' RETURNING id
"""
STILL = "SELECT FROM person WHERE id = $1 FOR SHARE"
"""Who is linked or unlinked waits for this lock: whose an archive is stays so until it is told of."""
SAME = "SELECT ARRAY(SELECT id FROM identity WHERE person_id = $1 ORDER BY id) = $2::uuid[]"
AGAIN = """
UPDATE data_export SET lease_until = clock_timestamp() WHERE id = $1 AND attempt = $2 AND state = 'waiting'
"""
SETTLE = """
UPDATE data_export SET state = CASE WHEN $3::uuid IS NULL THEN 'failed' ELSE 'done' END, file_id = $3,
    done_at = clock_timestamp()
WHERE id = $1 AND attempt = $2 AND state = 'waiting' RETURNING id
"""
OLD = """
SELECT id, attempt FROM data_export
WHERE state = 'done' AND done_at < now() - $1::interval ORDER BY done_at LIMIT $2
"""
ALL = "SELECT id, attempt FROM data_export WHERE person_id = $1"
EXPIRE = "UPDATE data_export SET state = 'expired' WHERE id = ANY($1::bigint[])"


class TooMany(LimitReached):
    """They had EXPORTS_DAY_MAX archives within a day."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One wait in the hands of whoever claimed it, under `attempt`; `identities` are the person's, by id."""

    id: int
    attempt: int
    person_id: UUID
    conversation_id: UUID
    channel: str
    language: str
    identities: Sequence[UUID]


def file_of(export_id: int, attempt: int) -> UUID:
    """The id of the archive that this attempt makes."""
    return uuid5(FILES, f"{export_id}:{attempt}")


def files_until(export_id: int, attempt: int) -> list[UUID]:
    """The ids of what the first attempts may have made, this one among them."""
    return [file_of(export_id, number) for number in range(1, attempt + 1)]


async def request(db: Database, person_id: UUID, conversation_id: UUID, key: str) -> bool:
    """Have an archive made, and sent to this conversation; False where one is being made already.

    `key` is the idempotency key of the call. Raises TooMany.
    """
    async with db.transaction() as session:
        person = await people.hold(session, person_id)
        if await session.scalar(select(DataExport.id).where(DataExport.key == key)) is not None:
            return True
        recent = select(func.count(), func.count().filter(DataExport.state == "waiting")).where(
            DataExport.person_id == person,
            DataExport.created_at > func.clock_timestamp() - timedelta(hours=24),
            DataExport.state != "failed",
        )
        made, waiting = (await session.execute(recent)).one()
        if waiting:
            return False
        if made >= EXPORTS_DAY_MAX:
            raise TooMany(f"{made} archives in 24 hours")
        new = insert(DataExport).values(person_id=person, conversation_id=conversation_id, key=key)
        export_id = await session.scalar(new.returning(DataExport.id))
        await audit.record(session, f"person:{person}", "data.export_asked", f"export:{export_id}")
        await session.execute(text("SELECT pg_notify('mathia', 'export')"))
    return True


async def claim(db: Database, export_id: int, lease: timedelta) -> Claimed | None:
    """Lease one that waits; None when it is in other hands, or settled."""
    row = await db.pool.fetchrow(CLAIM, export_id, lease)
    return None if row is None else Claimed(export_id, *row)


async def hold(db: Database, claimed: Claimed, lease: timedelta) -> bool:
    """Hold it for longer; False when it is lost to somebody else."""
    return await db.pool.fetchval(HOLD, claimed.id, claimed.attempt, lease) is not None


async def settle(db: Database, wakes: Wakes, claimed: Claimed, file_id: UUID | None, told: tuple[Part, ...]) -> bool:
    """End it with its file, or without one, and tell the person; one transaction, once.

    False when it was lost, or the person has other identities than when it was claimed: it then waits anew.
    """
    async with db.hot() as connection:
        await connection.execute(STILL, claimed.person_id)
        if file_id is not None and not await connection.fetchval(SAME, claimed.person_id, claimed.identities):
            await connection.execute(AGAIN, claimed.id, claimed.attempt)
            return False
        if await connection.fetchval(SETTLE, claimed.id, claimed.attempt, file_id) is None:
            return False
        await post(connection, [NewMessage(claimed.conversation_id, told, "export", f"export:{claimed.id}")])
        await wakes.notify(connection, "outbox")
    wakes.wake("outbox")
    return True


async def files_of(db: Database, person_id: UUID) -> Sequence[UUID]:
    """The files of a person's archives, which no archive holds again."""
    return [file for row in await db.pool.fetch(ALL, person_id) for file in files_until(row["id"], row["attempt"])]


async def expired(db: Database) -> Sequence[tuple[int, Sequence[UUID]]]:
    """The rows and files of archives that were given out for long enough."""
    rows = await db.pool.fetch(OLD, KEPT_FOR, EXPIRED_MAX)
    return [(row["id"], files_until(row["id"], row["attempt"])) for row in rows]


async def forget(db: Database, export_ids: Sequence[int]) -> None:
    """Their files are deleted."""
    await db.pool.execute(EXPIRE, list(export_ids))
