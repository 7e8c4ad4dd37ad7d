"""Files: one sealed object in the storage and one row each, belonging to a conversation.

A file's contents are sealed piece by piece under its conversation's key (core/crypto.py), so that any part of it can be
read alone, nothing can be cut off or moved, and destroying the key destroys the file. A row is `storing` until the
object is there whole; what was given up half-way is swept. A part of a message names a file by `file:<uuid>`.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from core.conversations import reading
from core.crypto import EPOCH_BYTES, NONCE_BYTES, TAG_BYTES, Forged, RoomKey
from core.db import Database
from core.errors import MathiaError
from core.messages import Media, Part, Voice
from core.sniff import FILE_BYTES_MAX
from core.storage import Missing, Storage

log = structlog.get_logger()

PIECE_BYTES = 1024 * 1024
SEALED_BYTES = PIECE_BYTES + EPOCH_BYTES + NONCE_BYTES + TAG_BYTES
REF = re.compile(r"file:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
LOST = "lost:"
"""How the `ref` of a file that never came begins; the word after it says why."""
UNTIL = re.compile(r"[0-9]{1,12}")
LINK_S = 12 * 3600
"""How long a link is good for, where nothing else is said."""
STORING_S = 3600
"""A file that is not whole after this long was given up."""
SWEEP_MAX = 200
DAY_BYTES_MAX = 500 * 1024 * 1024
"""Of one person in 24 hours."""
PURPOSE = b"file links"

NEW = """
INSERT INTO file (id, conversation_id, identity_id, name, media_type, size, epoch, width, height)
SELECT $1, c.id, $3, $4, $5, 0, $6, $7, $8 FROM conversation c WHERE c.id = $2 AND c.epoch > 0
"""
"""Nothing is kept in a conversation that has been erased."""
KEPT = "UPDATE file SET state = 'kept', size = $2 WHERE id = $1 AND state = 'storing'"
FIND = """
SELECT f.id, f.conversation_id, f.identity_id, f.name, f.media_type, f.size, f.epoch, f.width, f.height, f.created_at
FROM file f WHERE f.id = ANY($1::uuid[]) AND f.state = 'kept'
"""
GONE = """
UPDATE file SET state = 'deleted', name = NULL, deleted_at = clock_timestamp()
WHERE id = ANY($1::uuid[]) AND state <> 'deleted' RETURNING id
"""
GIVEN_UP = """
UPDATE file SET state = 'deleted', name = NULL, deleted_at = clock_timestamp()
WHERE id IN (SELECT id FROM file WHERE state = 'storing' AND created_at < clock_timestamp() - make_interval(secs => $1)
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
UNSWEPT = """
SELECT id FROM file WHERE state = 'deleted' AND NOT swept ORDER BY deleted_at LIMIT $1
"""
SWEPT = "UPDATE file SET swept = true WHERE id = ANY($1::uuid[])"


OF_A_DAY = """
SELECT coalesce(sum(size), 0)::bigint FROM file f
WHERE f.identity_id IN (SELECT b.id FROM identity a JOIN identity b USING (person_id) WHERE a.id = $1)
  AND f.created_at > clock_timestamp() - interval '24 hours' AND f.state <> 'storing'
"""


class FileGone(MathiaError):
    """There is no such file, or it is gone."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file. `size` in bytes; `width` and `height` in pixels, of a picture; `identity_id` is who sent it to us."""

    id: UUID
    conversation_id: UUID
    identity_id: UUID | None
    name: str
    media_type: str
    size: int
    epoch: int
    width: int | None
    height: int | None
    created_at: datetime

    @property
    def ref(self) -> str:
        """How a part of a message names it."""
        return f"file:{self.id}"


def file_id(ref: str) -> UUID | None:
    """The file that a part's `ref` names; None for what lies with a provider."""
    found = REF.fullmatch(ref)
    return UUID(found[1]) if found else None


def lost(why: str) -> str:
    """The `ref` of a file that never came."""
    return f"{LOST}{why}"


def is_lost(ref: str) -> bool:
    """Whether a part's file never came."""
    return ref.startswith(LOST)


def files_of(parts: Sequence[Part]) -> list[UUID]:
    """The files that a message shows."""
    refs = (file_id(part.ref) for part in parts if isinstance(part, Media | Voice))
    return [one for one in refs if one is not None]


class Files:
    """Every file of the deployment; one a process."""

    def __init__(self, db: Database, storage: Storage) -> None:
        self._db = db
        self._storage = storage

    async def put(
        self,
        conversation_id: UUID,
        data: bytes,
        *,
        name: str,
        media_type: str,
        identity_id: UUID | None = None,
        width: int | None = None,
        height: int | None = None,
    ) -> StoredFile:
        """Keep a file that core/sniff.py has let through. Raises StoreUnavailable or FileGone, with nothing kept."""
        if not 0 < len(data) <= FILE_BYTES_MAX:
            raise ValueError(f"a file has 1 to {FILE_BYTES_MAX} bytes")

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(data), PIECE_BYTES):
                yield data[at : at + PIECE_BYTES]
                await asyncio.sleep(0)

        return await self.keep(
            conversation_id, pieces(), name=name, media_type=media_type, identity_id=identity_id,
            width=width, height=height,
        )  # fmt: skip

    async def keep(
        self,
        conversation_id: UUID,
        chunks: AsyncIterator[bytes],
        *,
        name: str,
        media_type: str,
        identity_id: UUID | None = None,
        width: int | None = None,
        height: int | None = None,
        id_: UUID | None = None,
    ) -> StoredFile:
        """Keep what comes in chunks of any size, one piece in memory at a time; how long it may be is for the caller.

        With `id_` whoever finds it left behind knows it. Raises StoreUnavailable, FileGone where it was deleted
        meanwhile, or whatever the chunks raise, with nothing kept.
        """
        made = id_ or uuid4()
        async with reading(self._db) as connection:
            key = (await self._db.keys.current(connection, [conversation_id])).get(conversation_id)
            if key is None:
                raise FileGone("The chat that the file is for has been erased.")
            sealed_name = key.seal(_what(made, b"name"), name.encode())
            values = (conversation_id, identity_id, sealed_name, media_type, key.epoch, width, height)
            if await connection.execute(NEW, made, *values) != "INSERT 0 1":
                raise FileGone("The chat that the file is for has been erased.")
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                yield chunk

        await self._storage.put(_object(made), _sealed(key, made, counted()))
        async with reading(self._db) as connection:
            kept = await connection.execute(KEPT, made, size) == "UPDATE 1"
        if not kept:
            # Whoever deleted its row may have looked for the object before it was there.
            await self._storage.delete(_object(made))
            raise FileGone("It took too long to keep the file. Send it again.")
        found = await self.find([made])
        if not found:
            raise FileGone("The chat that the file is for has been erased.")
        return found[0]

    async def find(self, ids: Sequence[UUID]) -> list[StoredFile]:
        """These files, in this order, without those that are gone. Whose they are is for the caller to compare."""
        async with reading(self._db) as connection:
            rows = {row["id"]: row for row in await connection.fetch(FIND, list(ids))}
            wanted = [rows[one] for one in ids if one in rows]
            values = [(row["conversation_id"], _what(row["id"], b"name"), row["name"]) for row in wanted]
            names = await self._db.keys.opened(connection, values)
        return [_stored(row, name.decode()) for row, name in zip(wanted, names, strict=True) if name is not None]

    async def read(self, file: StoredFile) -> bytes:
        """All of a file. Raises FileGone, StoreUnavailable."""
        return b"".join([piece async for piece in self.pieces(file)])

    async def pieces(self, file: StoredFile, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` up to `end`, a piece at a time. Raises FileGone, StoreUnavailable."""
        end = file.size if end is None else min(end, file.size)
        key = await self._key(file)
        last = (file.size - 1) // PIECE_BYTES
        for number in range(start // PIECE_BYTES, (max(end, 1) - 1) // PIECE_BYTES + 1):
            try:
                at = number * SEALED_BYTES
                sealed = await self._storage.read(_object(file.id), at, at + SEALED_BYTES)
                piece = key.open(_piece(file.id, number, number == last), sealed)
            except Missing as error:
                raise FileGone("The file is gone.") from error
            except Forged as error:
                log.error("files.forged", file_id=str(file.id), piece=number)
                raise FileGone("The file is damaged.") from error
            begin = number * PIECE_BYTES
            yield piece[max(start - begin, 0) : max(end - begin, 0)]

    async def _key(self, file: StoredFile) -> RoomKey:
        async with reading(self._db) as connection:
            key = await self._db.keys.of_epoch(connection, file.conversation_id, file.epoch)
        if key is None:
            raise FileGone("The file is gone.")
        return key

    async def used(self, identity_id: UUID) -> int:
        """How many bytes this identity's person has sent us within 24 hours. Raises StoreUnavailable."""
        async with reading(self._db) as connection:
            used: int = await connection.fetchval(OF_A_DAY, identity_id)
        return used

    def link(self, ref: UUID, now: datetime, good_for: timedelta = timedelta(seconds=LINK_S)) -> str:
        """A path that opens a file for as long as it is `good_for`, for whoever has it."""
        until = int((now + good_for).timestamp())
        return f"/files/{ref}?until={until}&proof={self._proof(ref, until)[0]}"

    def is_link(self, ref: UUID, until: str, proof: str, now: datetime) -> bool:
        """Whether we made this link, and it is still good."""
        if UNTIL.fullmatch(until) is None or int(until) < now.timestamp():
            return False
        given = proof.encode("utf-8", "replace")
        return any([hmac.compare_digest(one.encode(), given) for one in self._proof(ref, int(until))])

    def _proof(self, ref: UUID, until: int) -> list[str]:
        said = f"{ref}:{until}".encode()
        keys = self._db.keys.key_list.derived(PURPOSE)
        return [hmac.new(key, said, hashlib.sha256).hexdigest() for key in keys]

    async def delete(self, ids: Sequence[UUID]) -> int:
        """Forget files: at once for readers, and their objects as soon as the storage answers; how many there were."""
        async with reading(self._db) as connection:
            gone = [row["id"] for row in await connection.fetch(GONE, list(ids))]
        await self._remove(gone)
        return len(gone)

    async def sweep(self) -> int:
        """Remove the objects of files that are gone or were given up; how many. Raises StoreUnavailable."""
        async with reading(self._db) as connection:
            await connection.fetch(GIVEN_UP, STORING_S, SWEEP_MAX)
            gone = [row["id"] for row in await connection.fetch(UNSWEPT, SWEEP_MAX)]
        await self._remove(gone)
        return len(gone)

    async def _remove(self, ids: Sequence[UUID]) -> None:
        if not ids:
            return
        await asyncio.gather(*(self._storage.delete(_object(one)) for one in ids))
        async with reading(self._db) as connection:
            await connection.execute(SWEPT, list(ids))


async def _sealed(key: RoomKey, ref: UUID, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces as they are stored; the last one is known by what does not come after it."""
    waiting, number = bytearray(), 0
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) > PIECE_BYTES:
            yield key.seal(_piece(ref, number, False), bytes(waiting[:PIECE_BYTES]))
            del waiting[:PIECE_BYTES]
            number += 1
    yield key.seal(_piece(ref, number, True), bytes(waiting))


def _piece(ref: UUID, number: int, is_last: bool) -> bytes:
    """What a piece is sealed as: its place, and whether anything comes after it, so that nothing can be cut off."""
    return _what(ref, b"last" if is_last else b"more") + number.to_bytes(4)


def _what(ref: UUID, field: bytes) -> bytes:
    return b"file\0" + ref.bytes + field


def _object(ref: UUID) -> str:
    return f"files/{ref}"


def _stored(row: Any, name: str) -> StoredFile:
    return StoredFile(
        row["id"], row["conversation_id"], row["identity_id"], name, row["media_type"], row["size"], row["epoch"],
        row["width"], row["height"], row["created_at"],
    )  # fmt: skip
