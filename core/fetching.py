"""Files that people sent and their provider still keeps: each is fetched once by a job, and its part then names it.

A row is made in the transaction that stores the message. Nothing waits for it: a message is answered whether its file
has come or not, and what never comes is said so in the message itself, by a `ref` of `lost:<why>`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from core.db import POOL_WAIT_S, Database
from core.files import StoredFile, file_id, is_lost, lost
from core.messages import Address, ChannelName, InboundMessage, Media, Part, Voice
from core.sealed import COLUMNS, by_identity, opened_parts, seal
from core.wake import Wakes

log = structlog.get_logger()

Lost = Literal["refused", "large", "gone", "away", "quota"]
"""Why a file is not here: not a type that is taken; too large; the provider has none; it never answered; too many."""

NOTE = """
INSERT INTO file_fetch (conversation_id, seq, part)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[])
ON CONFLICT (conversation_id, seq, part)
DO UPDATE SET state = 'waiting', attempt = file_fetch.attempt + 1, tries = 0, lost = NULL, done_at = NULL,
              lease_until = clock_timestamp()
"""
"""An edited message may hold another file in the same place; whoever fetches the old one is fenced off."""

CLAIMABLE = """
SELECT id, lease_until FROM file_fetch
WHERE state = 'waiting' AND lease_until <= clock_timestamp() ORDER BY lease_until LIMIT $1
"""

CLAIM = """
UPDATE file_fetch SET attempt = attempt + 1, tries = tries + 1, lease_until = clock_timestamp() + $2::interval
WHERE id = $1 AND state = 'waiting' AND lease_until <= clock_timestamp()
RETURNING attempt, tries, conversation_id, seq, part
"""

FIND = f"""
SELECT {COLUMNS}, m.id, m.channel, m.account, c.room, i.provider_id
FROM message m JOIN conversation c ON c.id = m.conversation_id JOIN identity i ON i.id = m.identity_id
WHERE m.conversation_id = $1 AND m.seq = $2
"""  # noqa: S608  the columns are ours

AGAIN = """
UPDATE file_fetch SET lease_until = clock_timestamp() + $3::interval
WHERE id = $1 AND attempt = $2 AND state = 'waiting'
"""

SETTLE = """
UPDATE file_fetch SET state = $3, lost = $4, done_at = clock_timestamp()
WHERE id = $1 AND attempt = $2 AND state = 'waiting'
RETURNING id
"""

SHOW = """
WITH numbered AS (
    UPDATE conversation SET changes = changes + 1 WHERE id = $4 RETURNING changes
)
INSERT INTO change (channel, account, event_id, kind, state, conversation_id, number, message_id, identity_id, sent_at)
SELECT $1, $2, $3, 'file', 'applied', $4, numbered.changes, $5, $6, clock_timestamp() FROM numbered
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One file in the hands of whoever claimed it, under `attempt`; `tries` counts this one.

    `part` is what names it, None where its message was deleted or edited meanwhile.
    """

    id: int
    attempt: int
    tries: int
    conversation_id: UUID
    seq: int
    number: int
    part: Media | Voice | None
    sender: Address | None
    identity_id: UUID | None


def is_elsewhere(part: Part) -> bool:
    """Whether a part's file is still with its provider."""
    return isinstance(part, Media | Voice) and file_id(part.ref) is None and not is_lost(part.ref)


def carries(message: InboundMessage) -> bool:
    """Whether a message has a file that its provider keeps."""
    return any(map(is_elsewhere, message.parts))


async def note(connection: Any, places: Sequence[tuple[UUID, int, tuple[Part, ...]]]) -> bool:
    """Have the files among these parts, by conversation and seq, fetched; whether there were any."""
    rows = [
        (conversation_id, seq, number)
        for conversation_id, seq, parts in places
        for number, part in enumerate(parts)
        if is_elsewhere(part)
    ]
    if rows:
        await connection.execute(NOTE, *(list(column) for column in zip(*rows, strict=True)))
    return bool(rows)


async def claim(db: Database, fetch_id: int, lease: timedelta) -> Claimed | None:
    """Lease a file that waits; None when it is in other hands, or settled."""
    async with db.pool.acquire(timeout=POOL_WAIT_S) as connection:
        row = await connection.fetchrow(CLAIM, fetch_id, lease)
        if row is None:
            return None
        message, parts = await _found(connection, FIND, row["conversation_id"], row["seq"])
    part = parts[row["part"]] if row["part"] < len(parts) else None
    sender = None
    if message is not None:
        channel = ChannelName(message["channel"])
        sender = Address(channel, message["account"], message["room"], message["provider_id"])
    return Claimed(
        fetch_id,
        row["attempt"],
        row["tries"],
        row["conversation_id"],
        row["seq"],
        row["part"],
        part if isinstance(part, Media | Voice) and is_elsewhere(part) else None,
        sender,
        message["identity_id"] if message is not None else None,
    )


async def again(db: Database, claimed: Claimed, wait: timedelta) -> None:
    """Let somebody try again after `wait`."""
    await db.pool.execute(AGAIN, claimed.id, claimed.attempt, wait)


async def settle(db: Database, wakes: Wakes, claimed: Claimed, found: StoredFile | Lost) -> bool:
    """Write into its message where the file is now, or why it is not here; one transaction, once.

    False when it has no place there any more: somebody else was faster, or the message was deleted or edited.
    """
    why = None if isinstance(found, StoredFile) else found
    async with db.hot() as connection:
        await connection.execute("SELECT FROM conversation WHERE id = $1 FOR NO KEY UPDATE", claimed.conversation_id)
        state = "lost" if why else "done"
        if await connection.fetchrow(SETTLE, claimed.id, claimed.attempt, state, why) is None:
            return False
        written = await _write(connection, claimed, found)
        await wakes.notify(connection, "message")
        await wakes.notify(connection, "voice")
    wakes.wake("message")
    wakes.wake("voice")
    log.info("fetch.settled", fetch_id=claimed.id, lost=why, written=written)
    return written


async def _write(connection: Any, claimed: Claimed, found: StoredFile | Lost) -> bool:
    """Put it into the message, where that still names the same file, and number the change."""
    row, said = await _found(connection, f"{FIND} FOR NO KEY UPDATE OF m", claimed.conversation_id, claimed.seq)
    parts = list(said)
    part = parts[claimed.number] if claimed.number < len(parts) else None
    if not isinstance(part, Media | Voice) or claimed.part is None or part.ref != claimed.part.ref:
        return False
    change: dict[str, object] = {"ref": lost(found)} if isinstance(found, str) else _shown(part, found)
    parts[claimed.number] = part.model_copy(update=change)
    key = await connection.keys.of_locked(connection, claimed.conversation_id)
    await connection.execute(
        "UPDATE message SET sealed = $2 WHERE id = $1",
        row["id"],
        seal(key, row["event_id"], by_identity(row["identity_id"]), tuple(parts)),
    )
    event_id = f"file:{claimed.id}:{claimed.attempt}"
    await connection.execute(
        SHOW, row["channel"], row["account"], event_id, claimed.conversation_id, row["id"], row["identity_id"]
    )
    return True


def _shown(part: Media | Voice, file: StoredFile) -> dict[str, object]:
    shown: dict[str, object] = {"ref": file.ref, "media_type": file.media_type, "size": file.size}
    if isinstance(part, Media):
        shown |= {"filename": file.name, "width": file.width, "height": file.height}
    return shown


async def _found(connection: Any, statement: str, conversation_id: UUID, seq: int) -> tuple[Any, tuple[Part, ...]]:
    """A message's row and its parts; none where it was deleted."""
    row = await connection.fetchrow(statement, conversation_id, seq)
    [parts] = await opened_parts(connection.keys, connection, [row]) if row else [None]
    return row, parts or ()
