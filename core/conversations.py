"""Reading conversations: what was said in a room, page by page, in order of `seq`.

Only reads; the inbox and the outbox write.
"""

import asyncio
import re
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
DEPTH_MAX = 200
"""How many answers to answers a thread is followed."""
THREAD_MAX = 1_000
"""How many messages of one thread are read."""
SEQ = re.compile(r"[0-9]{1,18}")
READ_TIMEOUT_S = 4.0
"""A read that takes longer is given up: somebody is waiting for it."""

REACTED = """(SELECT jsonb_agg(jsonb_build_array(r.emoji, r.identity_id, i.provider_id)
                          ORDER BY r.reacted_at, r.identity_id)
        FROM (SELECT * FROM reaction r WHERE r.message_id = m.id OFFSET 0) r
        CROSS JOIN LATERAL (SELECT provider_id FROM identity i WHERE i.id = r.identity_id OFFSET 0) i) AS reacted"""
MESSAGE = f"m.seq, m.direction, {COLUMNS}, m.created_at, m.reply_to, m.edited_at, m.deleted_at, m.turn_id, {REACTED}"

HISTORY = f"""
SELECT {MESSAGE} FROM message m WHERE m.conversation_id = $1 AND m.seq > $2 ORDER BY m.seq LIMIT $3
"""

BEFORE = f"""
SELECT {MESSAGE} FROM message m WHERE m.conversation_id = $1 AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3
"""

REPLIES = f"""
SELECT {MESSAGE} FROM message m
WHERE m.conversation_id = $1 AND m.reply_to = $2::bigint::text AND m.seq > $3 ORDER BY m.seq LIMIT $4
"""

OURS = f"""
SELECT {COLUMNS} FROM outbox o JOIN message m ON m.id = o.id
WHERE o.provider_message_id = $2 AND o.conversation_id = $1 AND m.deleted_at IS NULL ORDER BY m.seq DESC LIMIT 1
"""
OURS_BY_NUMBER = f"""
SELECT {COLUMNS} FROM message m
WHERE m.conversation_id = $1 AND m.seq = $2::text::bigint AND m.direction = 'out' AND m.deleted_at IS NULL
"""

ROOT = """
WITH RECURSIVE up AS (
    SELECT seq, reply_to, 0 AS depth FROM message WHERE conversation_id = $1 AND seq = $2
    UNION ALL
    SELECT m.seq, m.reply_to, up.depth + 1
    FROM up
    CROSS JOIN LATERAL (SELECT seq, reply_to FROM message m
                        WHERE m.conversation_id = $1
                          AND m.seq = CASE WHEN up.reply_to ~ '^[1-9][0-9]{0,15}$' THEN up.reply_to::bigint END
                          AND m.seq < up.seq OFFSET 0) m
    WHERE up.depth < $3
)
SELECT seq FROM up ORDER BY depth DESC LIMIT 1
"""

THREAD = f"""
WITH RECURSIVE down AS (
    SELECT seq, 0 AS depth FROM message WHERE conversation_id = $1 AND seq = $2
    UNION ALL
    SELECT m.seq, down.depth + 1
    FROM down
    CROSS JOIN LATERAL (SELECT seq FROM message m
                        WHERE m.conversation_id = $1 AND m.reply_to = down.seq::text AND m.seq > down.seq OFFSET 0) m
    WHERE down.depth < $3
), chosen AS (
    SELECT DISTINCT seq FROM down ORDER BY seq LIMIT $4
)
SELECT {MESSAGE} FROM chosen
CROSS JOIN LATERAL (SELECT * FROM message m WHERE m.conversation_id = $1 AND m.seq = chosen.seq OFFSET 0) m
ORDER BY m.seq
"""

LAST_SEQS = """
SELECT room, id, next_seq - 1 AS seq, changes FROM conversation
WHERE channel = $1 AND account = $2 AND room = ANY($3::text[])
"""


CHANGES = f"""
SELECT c.number, c.kind, {MESSAGE}
FROM (SELECT * FROM change WHERE conversation_id = $1 AND number > $2 ORDER BY number LIMIT $3) c
CROSS JOIN LATERAL (SELECT * FROM message m WHERE m.id = c.message_id OFFSET 0) m
ORDER BY c.number
"""


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji that somebody put under a message: by their identity, and their id at the provider."""

    emoji: str
    identity_id: UUID
    provider_id: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it is stored; `inbound` ones are the person's and carry the provider's `event_id`.

    `author` is the member of staff who wrote it, `identity_id` the person. A deleted one has no parts any more. One
    that is not `to_bot` was said to the others in the room. Whoever reacted first comes first.
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
    identity_id: UUID | None = None
    to_bot: bool = True
    reactions: tuple[Reaction, ...] = ()


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
    # TimeoutError is an OSError.
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if not is_away(error):
            raise
        raise StoreUnavailable("The database did not answer in time. Try again in a moment.") from error


async def history(db: Database, conversation_id: UUID, *, since: int, limit: int = HISTORY_PAGE) -> list[StoredMessage]:
    """The messages after number `since`, oldest first, at most `limit`. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(HISTORY, conversation_id, since, min(limit, HISTORY_PAGE))
        return await _stored(db, connection, rows)


async def before(db: Database, conversation_id: UUID, *, seq: int, limit: int = HISTORY_PAGE) -> list[StoredMessage]:
    """The last messages before number `seq`, newest first, at most `limit`. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(BEFORE, conversation_id, seq, min(limit, HISTORY_PAGE))
        return await _stored(db, connection, rows)


async def one(db: Database, conversation_id: UUID, seq: int) -> StoredMessage | None:
    """The message with this number. Raises StoreUnavailable."""
    found = await history(db, conversation_id, since=seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None


async def replies(
    db: Database, conversation_id: UUID, seq: int, *, since: int, limit: int = HISTORY_PAGE
) -> list[StoredMessage]:
    """What answers a message directly, after number `since`, oldest first. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(REPLIES, conversation_id, seq, since, min(limit, HISTORY_PAGE))
        return await _stored(db, connection, rows)


async def thread(db: Database, conversation_id: UUID, seq: int) -> list[StoredMessage]:
    """The thread that a message is in: what began it, and all that answers it, oldest first; tombstones too.

    At most THREAD_MAX messages, answers to answers followed DEPTH_MAX deep. Raises StoreUnavailable.
    """
    async with reading(db) as connection:
        root = await connection.fetchval(ROOT, conversation_id, seq, DEPTH_MAX)
        rows = await connection.fetch(THREAD, conversation_id, root, DEPTH_MAX, THREAD_MAX) if root is not None else ()
        return await _stored(db, connection, rows)


async def changed(
    db: Database, conversation_id: UUID, *, since: int, limit: int = HISTORY_PAGE
) -> list[tuple[int, str, StoredMessage]]:
    """The changes after number `since`, oldest first: number, kind, message as it is now. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(CHANGES, conversation_id, since, min(limit, HISTORY_PAGE))
        messages = await _stored(db, connection, rows)
    return [(row["number"], row["kind"], message) for row, message in zip(rows, messages, strict=True)]


async def ours(db: Database, conversation_id: UUID, reply_to: str, channel: ChannelName) -> tuple[Part, ...] | None:
    """What we said in the message that somebody's answer quotes; None where it is not ours, or not there any more."""
    find = OURS_BY_NUMBER if channel is ChannelName.WEB else OURS
    if find is OURS_BY_NUMBER and not SEQ.fullmatch(reply_to):
        return None
    async with db.hot() as connection:
        rows = await connection.fetch(find, conversation_id, reply_to)
        return (await opened_parts(db.keys, connection, rows))[0] if rows else None


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
            row["identity_id"],
            row["turn_id"] is not None,
            tuple(
                Reaction(emoji, UUID(identity), provider_id)
                for put, identity, provider_id in row["reacted"] or ()
                for emoji in put
            ),
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
