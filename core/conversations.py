"""Reading conversations: what was said in a room, page by page, in order of `seq`.

Only reads; the inbox and the outbox write.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from core.db import POOL_WAIT_S, Database, is_away
from core.errors import StoreUnavailable
from core.messages import ChannelName, Part
from core.sealed import COLUMNS, opened_parts

HISTORY_PAGE = 100
"""How many messages one read returns at most."""
READ_TIMEOUT_S = 4.0
"""A read that takes longer is given up: somebody is waiting for it."""

HISTORY = f"""
SELECT m.seq, m.direction, {COLUMNS}, m.created_at, m.reply_to, m.edited_at, m.deleted_at
FROM message m WHERE m.conversation_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3
"""

LAST_SEQS = """
SELECT room, id, next_seq - 1 AS seq, changes FROM conversation
WHERE channel = $1 AND account = $2 AND room = ANY($3::text[])
"""


CHANGES = f"""
SELECT c.number, m.seq, m.direction, {COLUMNS}, m.created_at, m.reply_to, m.edited_at, m.deleted_at
FROM (SELECT * FROM change WHERE conversation_id = $1 AND number > $2 ORDER BY number LIMIT $3) c
CROSS JOIN LATERAL (SELECT * FROM message m WHERE m.id = c.message_id OFFSET 0) m
ORDER BY c.number
"""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it is stored; `inbound` ones are the person's and carry the provider's `event_id`.

    `author` is the member of staff who wrote it. A deleted one has no parts any more.
    """

    seq: int
    inbound: bool
    parts: tuple[Part, ...]
    event_id: str | None
    created_at: datetime
    reply_to: str | None
    author: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A room that has been written in: its conversation, the number of its last message, and how often any changed."""

    conversation_id: UUID
    seq: int
    changes: int


@asynccontextmanager
async def reading(db: Database) -> AsyncIterator[Any]:
    """A connection for one short statement; StoreUnavailable within READ_TIMEOUT_S when PostgreSQL is away."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S), db.pool.acquire(timeout=POOL_WAIT_S) as connection:
            yield connection
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:  # TimeoutError is an OSError.
        if not is_away(error):
            raise
        raise StoreUnavailable("The database did not answer in time. Try again in a moment.") from error


async def history(db: Database, conversation_id: UUID, *, since: int, limit: int = HISTORY_PAGE) -> list[StoredMessage]:
    """The messages after number `since`, oldest first, at most `limit`. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(HISTORY, conversation_id, since, min(limit, HISTORY_PAGE))
        return await _stored(db, connection, rows)


async def changed(
    db: Database, conversation_id: UUID, *, since: int, limit: int = HISTORY_PAGE
) -> list[tuple[int, StoredMessage]]:
    """The changes after number `since`, oldest first: each with its message as it is now. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(CHANGES, conversation_id, since, min(limit, HISTORY_PAGE))
        messages = await _stored(db, connection, rows)
    return [(row["number"], message) for row, message in zip(rows, messages, strict=True)]


async def _stored(db: Database, connection: Any, rows: Sequence[Any]) -> list[StoredMessage]:
    """Messages from their rows. One that cannot be opened any more is a tombstone, as old as the message."""
    said = await opened_parts(db.keys, connection, rows)
    return [
        StoredMessage(
            row["seq"],
            row["direction"] == "in",
            parts or (),
            row["event_id"],
            row["created_at"],
            row["reply_to"],
            row["author"],
            row["edited_at"],
            row["created_at"] if parts is None and row["deleted_at"] is None else row["deleted_at"],
        )
        for row, parts in zip(rows, said, strict=True)
    ]


async def standings(db: Database, channel: ChannelName, account: str, rooms: Sequence[str]) -> dict[str, Standing]:
    """How far each of these rooms is; a room nobody wrote in yet is missing. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(LAST_SEQS, channel.value, account, list(rooms))
    return {row["room"]: Standing(row["id"], row["seq"], row["changes"]) for row in rows}


async def last_seq(db: Database, channel: ChannelName, account: str, room: str) -> int:
    """The number of a room's last message; 0 before the first. Raises StoreUnavailable."""
    found = (await standings(db, channel, account, [room])).get(room)
    return found.seq if found else 0
