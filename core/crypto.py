"""Encryption at rest: a key for each room and epoch, wrapped by a list of keys that is kept outside the database.

What people write is sealed with AES-256-GCM under its room's key before it reaches PostgreSQL. A sealed value is the
epoch (4 bytes), a random nonce (12 bytes), the ciphertext and the tag (16 bytes); what it is, whose, and of which room
and epoch is authenticated with it, so that a value put elsewhere does not open. Destroying a room's keys erases all
that was sealed with them.
"""

import base64
import binascii
import hmac
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Erased, MathiaError

log = structlog.get_logger()

KEY_BYTES = 32
NONCE_BYTES = 12
EPOCH_BYTES = 4
TAG_BYTES = 16
BODY = EPOCH_BYTES + NONCE_BYTES
"""Where the ciphertext begins in a sealed value."""
EPOCH_MAX = 2**31 - 1
EPOCH_MESSAGES = 2**20
"""After so many messages of a room its next epoch begins; a key is safe for 2^32."""
KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
KEYS_MAX = 16
"""How many keys a list holds; old ones are of no use once everything is wrapped by newer ones."""
ROOMS_MAX = 8_000
"""How many rooms' keys a process remembers; each takes some three kilobytes."""
KEPT_S = 300.0
"""How long it does so; a key destroyed elsewhere is forgotten at once where that is heard of, and after this if not."""
TRIES_MAX = 3
CHANNEL = "mathia"
FORGET = "forget:"
"""A NOTIFY on CHANNEL that begins so names a conversation whose keys have changed."""

HOW = (
    "`python3 -m bot keys new` makes one; `up` makes its own, in the file `keys` of its data folder."
    " Keep a copy apart from the database's backups: without it nothing people wrote can be read"
)


class KeysMissing(MathiaError):
    """A key that is needed is not in the list."""


class Forged(MathiaError):
    """A sealed value is not what was sealed in this place: it was changed, cut, or moved here from elsewhere."""


class KeyList:
    """The keys that wrap the rooms' keys, newest first: the newest wraps, every one unwraps.

    One that was read from a file notices when that changes, so that a running process takes part in a rotation.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` are ids and 32 bytes each. Raises ValueError, without showing a key."""
        self._path: Path | None = None
        self._read_at = 0
        self._take(keys)

    def _take(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("a list of keys has at least one")
        if len(keys) > KEYS_MAX:
            raise ValueError(f"a list of keys has at most {KEYS_MAX}")
        for number, (name, key) in enumerate(keys.items(), 1):
            if not KEY_ID.fullmatch(name):
                raise ValueError(f"the id of key {number} is not 1 to 32 letters, digits, or . _ -")
            if len(key) != KEY_BYTES:
                raise ValueError(f"key {number} is not {KEY_BYTES} bytes in base64url")
            if len(set(key)) < KEY_BYTES // 4:
                raise ValueError(f"key {number} is not random")
        if len(set(keys.values())) != len(keys):
            raise ValueError("two ids name the same key")
        self._keys = dict(keys)
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self.newest = next(iter(keys))

    @classmethod
    def read(cls, path: Path) -> "KeyList":
        """The list in a file, which is looked at again whenever it changes. Raises OSError and ValueError."""
        changed_at = path.stat().st_mtime_ns
        keys = cls.parse(path.read_text())
        keys._path, keys._read_at = path, changed_at
        return keys

    def _look_again(self) -> None:
        """Take the file as it is now. One that cannot be read changes nothing."""
        if self._path is None:
            return
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._take(KeyList.parse(self._path.read_text())._keys)
                self._read_at = changed_at
                log.info("keys.read_again", ids=list(self._keys))
        except (OSError, ValueError) as error:
            log.error("keys.unreadable", error=type(error).__name__, hint="going on with the keys read before")

    @classmethod
    def parse(cls, text: str) -> "KeyList":
        """`id:key,id:key` with keys in base64url; lines are as good as commas. Raises ValueError, showing no key."""
        keys: dict[str, bytes] = {}
        entries = [entry.strip() for entry in text.replace("\n", ",").split(",") if entry.strip()]
        for number, entry in enumerate(entries, 1):
            name, colon, value = entry.partition(":")
            if not colon:
                raise ValueError(f"key {number} is not written id:key")
            if name in keys:
                raise ValueError(f"the id of key {number} stands there twice")
            try:
                keys[name] = base64.b64decode(value.rstrip("=") + "=", altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"key {number} is not {KEY_BYTES} bytes in base64url") from None
        return cls(keys)

    @classmethod
    def new(cls, name: str | None = None) -> "KeyList":
        """A list of one new key; its id is the day's date unless given."""
        return cls({name or time.strftime("k%Y%m%d", time.gmtime()): os.urandom(KEY_BYTES)})

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, newest first."""
        return tuple(self._keys)

    def __repr__(self) -> str:
        return f"KeyList({', '.join(self._keys)})"

    def written(self) -> str:
        """The list as `parse` reads it: a secret."""
        return ",".join(
            f"{name}:{base64.urlsafe_b64encode(key).decode().rstrip('=')}" for name, key in self._keys.items()
        )

    def with_new(self) -> "KeyList":
        """This list with a new key before the others; no key of the same day had its id. Raises ValueError."""
        name = f"{time.strftime('k%Y%m%d', time.gmtime())}-{os.urandom(3).hex()}"
        return KeyList({name: os.urandom(KEY_BYTES), **self._keys})

    def without(self, *names: str) -> "KeyList":
        """This list without these keys. Raises ValueError when none is left."""
        return KeyList({one: key for one, key in self._keys.items() if one not in names})

    def derived(self, purpose: bytes) -> tuple[bytes, ...]:
        """A key for another purpose from each key of the list, newest first (HMAC-SHA256): one seals, all open."""
        return tuple(hmac.digest(key, b"mathia\0" + purpose, "sha256") for key in self._keys.values())

    def wrap(self, key: bytes, conversation_id: UUID, epoch: int) -> tuple[str, bytes]:
        """A room's key under the newest key of the list: that one's id, and what to store."""
        self._look_again()
        nonce = os.urandom(NONCE_BYTES)
        place = _wrapping(conversation_id, epoch, self.newest)
        return self.newest, nonce + self._ciphers[self.newest].encrypt(nonce, key, place)

    def unwrap(self, kek: str, wrapped: bytes, conversation_id: UUID, epoch: int) -> bytes:
        """The room's key that was wrapped by `kek`. Raises KeysMissing, and Forged where it is not the room's."""
        cipher = self._ciphers.get(kek)
        if cipher is None:
            self._look_again()
            cipher = self._ciphers.get(kek)
        if cipher is None:
            raise KeysMissing(
                f"MATHIA_KEYS lacks the key {kek!r}, with which keys of this database are wrapped. Add it to the list."
            )
        try:
            nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return cipher.decrypt(nonce, sealed, _wrapping(conversation_id, epoch, kek))
        except (InvalidTag, ValueError) as error:
            raise Forged(f"The key of room {conversation_id}, epoch {epoch}, does not open with {kek!r}.") from error


def _wrapping(conversation_id: UUID, epoch: int, kek: str) -> bytes:
    return b"room-key\0" + conversation_id.bytes + epoch.to_bytes(EPOCH_BYTES) + kek.encode()


def key_file(path: Path) -> KeyList:
    """The keys in a file that its owner alone may read; made with a new key where there is none. Raises MathiaError."""
    try:
        if not path.exists():
            write_keys(path, KeyList.new())
        if path.stat().st_mode & 0o077:
            raise MathiaError(f"{path} holds keys, and others may read it. Run: chmod 600 {path}")
        return KeyList.read(path)
    except OSError as error:
        raise MathiaError(f"The keys in {path} cannot be read or made: {error.strerror}.") from error
    except ValueError as error:
        raise MathiaError(f"{path} is not a list of keys: {error}.") from error


def write_keys(path: Path, keys: KeyList) -> None:
    """A file that is there whole or not at all, also after a power cut: without it nothing can be read again."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(keys.written().replace(",", "\n") + "\n")
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class RoomKey:
    """The key of one room in one epoch."""

    __slots__ = ("_cipher", "_key", "_place", "_stamp", "conversation_id", "epoch", "first_seq")

    def __init__(self, key: bytes, conversation_id: UUID, epoch: int, first_seq: int = 1) -> None:
        """`first_seq` is the number of the first message that may be sealed with it."""
        self.conversation_id = conversation_id
        self.epoch = epoch
        self.first_seq = first_seq
        self._key = key
        self._cipher = AESGCM(key)
        self._stamp = epoch.to_bytes(EPOCH_BYTES)
        self._place = conversation_id.bytes + self._stamp

    def is_used_up(self, seq: int) -> bool:
        """Whether the message of this number should have been sealed with the next epoch's."""
        return seq - self.first_seq >= EPOCH_MESSAGES

    def seal(self, what: bytes, data: bytes) -> bytes:
        """`data` sealed as `what`: words that tell this value of the room from every other, such as table and key."""
        nonce = os.urandom(NONCE_BYTES)
        return self._stamp + nonce + self._cipher.encrypt(nonce, data, self._place + what)

    def open(self, what: bytes, sealed: bytes) -> bytes:
        """What was sealed in this room and epoch as `what`. Raises Forged."""
        if sealed[:EPOCH_BYTES] != self._stamp:
            raise Forged("It is of another epoch.")
        try:
            return self._cipher.decrypt(sealed[EPOCH_BYTES:BODY], sealed[BODY:], self._place + what)
        except (InvalidTag, ValueError) as error:
            raise Forged("It is not what was sealed here.") from error

    def digest(self, data: bytes) -> bytes:
        """HMAC-SHA256 of `data`; a key that is used so is used for nothing else."""
        return hmac.digest(self._key, data, "sha256")


def opened_with(key: RoomKey | None, what: bytes, sealed: bytes | None) -> bytes | None:
    """What a value holds; None without one, without its key, and with an alarm where it is not of this place."""
    if key is None or sealed is None or int.from_bytes(sealed[:EPOCH_BYTES]) != key.epoch:
        return None
    try:
        return key.open(what, sealed)
    except Forged:
        log.error("crypto.forged", conversation_id=str(key.conversation_id), epoch=key.epoch)
        return None


CURRENT = """
SELECT c.id, c.epoch, k.kek, k.wrapped, k.first_seq, k.created_at < now() AS settled
FROM unnest($1::uuid[]) AS g(id)
CROSS JOIN LATERAL (SELECT id, epoch FROM conversation c WHERE c.id = g.id AND c.epoch > 0 OFFSET 0) c
LEFT JOIN LATERAL (SELECT * FROM room_key k WHERE k.conversation_id = c.id AND k.epoch = c.epoch OFFSET 0) k ON true
"""
"""`settled` keys were stored by a transaction that has committed: one of our own, still open, has a later clock."""

OF_EPOCHS = """
SELECT g.id, g.epoch, k.kek, k.wrapped, k.first_seq, k.created_at < now() AS settled
FROM unnest($1::uuid[], $2::int[]) AS g(id, epoch)
CROSS JOIN LATERAL (SELECT * FROM room_key k WHERE k.conversation_id = g.id AND k.epoch = g.epoch OFFSET 0) k
"""

MAKE = """
INSERT INTO room_key (conversation_id, epoch, kek, wrapped, first_seq, created_at)
SELECT g.id, g.epoch, g.kek, g.wrapped, c.next_seq, greatest(clock_timestamp(), now())
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[]) AS g(id, epoch, kek, wrapped)
CROSS JOIN LATERAL (SELECT next_seq FROM conversation c WHERE c.id = g.id OFFSET 0) c ORDER BY g.id
ON CONFLICT (conversation_id, epoch) DO NOTHING
RETURNING conversation_id AS id, epoch, kek, wrapped, first_seq, false AS settled
"""

LOCK = "SELECT FROM conversation WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"

NEXT_EPOCH = """
UPDATE conversation SET epoch = epoch + 1 WHERE id = $1 AND epoch = coalesce($2, epoch) AND epoch > 0 RETURNING epoch
"""
"""An erased conversation is in epoch 0, which has no key and never gets one, so nothing can be stored in it."""

DESTROY = """
UPDATE room_key SET wrapped = NULL, kek = NULL, destroyed_at = clock_timestamp()
WHERE conversation_id = $1 AND epoch < $2 AND destroyed_at IS NULL
"""

PURPOSES = UUID("6d617468-6961-4000-8000-707572706f73")
"""What the keys of purposes are wrapped as: a name of its own for each, where a room's has the room's."""

PURPOSE = "SELECT kek, wrapped, created_at < now() AS settled FROM purpose_key WHERE name = $1"

MAKE_PURPOSE = "INSERT INTO purpose_key (name, kek, wrapped) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"

OF_PERSON = "SELECT person_id AS id, epoch, kek, wrapped, 1 AS first_seq FROM person_key WHERE person_id = $1"

MAKE_OF_PERSON = """
INSERT INTO person_key (person_id, epoch, kek, wrapped) VALUES ($1, $2, $3, $4) ON CONFLICT (person_id) DO NOTHING
"""

DESTROY_OF_PERSONS = "DELETE FROM person_key WHERE person_id = ANY($1::uuid[])"

WRAPPED_BY = """
WITH RECURSIVE ids AS (
    SELECT min(kek) AS kek FROM room_key
    UNION ALL
    SELECT (SELECT min(k.kek) FROM room_key k WHERE k.kek > ids.kek) FROM ids WHERE ids.kek IS NOT NULL
)
SELECT one.* FROM ids
CROSS JOIN LATERAL (SELECT conversation_id, epoch, kek, wrapped FROM room_key k WHERE k.kek = ids.kek LIMIT 1) one
WHERE ids.kek IS NOT NULL
"""
"""One room's key for each key that wraps any, by leaps through the index."""


@dataclass(slots=True)
class _Room:
    """What is remembered of one room's keys; None for an epoch whose key is destroyed."""

    until: float
    current: RoomKey | None
    epochs: dict[int, RoomKey | None]


class RoomKeys:
    """The rooms' keys, as one process remembers them."""

    def __init__(self, keys: KeyList | None) -> None:
        """Without a list nothing can be sealed or opened; KeysMissing says so."""
        self._list = keys
        self._rooms: dict[UUID, _Room] = {}
        self._purposes: dict[str, RoomKey] = {}
        self._forgotten = 0

    @property
    def key_list(self) -> KeyList:
        """The list; raises KeysMissing where there is none."""
        if self._list is None:
            raise KeysMissing(f"MATHIA_KEYS is not set, so nothing that people write can be stored or read. {HOW}")
        return self._list

    async def current(self, connection: Any, conversations: Iterable[UUID]) -> dict[UUID, RoomKey]:
        """The key to seal with, for each of these conversations that is there and not erased; made where it has none.

        Within a transaction it may lock conversations, in id order. Whoever writes says which epoch was sealed in, and
        stores nothing that is not in its conversation's epoch any more: then `forget` it and ask again.
        """
        now = time.monotonic()
        found: dict[UUID, RoomKey] = {}
        missing: set[UUID] = set()
        for conversation_id in conversations:
            room = self._rooms.get(conversation_id)
            if room is not None and room.current is not None and room.until > now:
                found[conversation_id] = room.current
            else:
                missing.add(conversation_id)
        if missing:
            found |= await self._current(connection, sorted(missing))
        return found

    async def of_purpose(self, connection: Any, name: str) -> RoomKey:
        """The key of what belongs to no room, such as what Temporal keeps; made where there is none yet."""
        key = self._purposes.get(name)
        if key is not None:
            return key
        place = uuid5(PURPOSES, name)
        row = await connection.fetchrow(PURPOSE, name)
        if row is None:
            await connection.execute(MAKE_PURPOSE, name, *self.key_list.wrap(os.urandom(KEY_BYTES), place, 1))
            row = await connection.fetchrow(PURPOSE, name)
        key = RoomKey(self.key_list.unwrap(row["kek"], row["wrapped"], place, 1), place, 1)
        # What this transaction has made, it may yet take back.
        if row["settled"] or not connection.is_in_transaction():
            self._purposes[name] = key
        return key

    async def blind(self, connection: Any, name: str, words: str) -> bytes:
        """What a column is found by whose words are sealed, under a key of its own purpose: a blind index.

        Equal words have equal ones; nobody without the key can tell or guess what they are of.
        """
        return (await self.of_purpose(connection, f"index:{name}")).digest(words.encode())

    async def of_person(self, connection: Any, person_id: UUID) -> RoomKey | None:
        """The key of what belongs to a person; None where there is none, or none any more. It is not remembered."""
        row = await connection.fetchrow(OF_PERSON, person_id)
        return None if row is None else self._unwrapped(row)

    async def of_held(self, connection: Any, person_id: UUID) -> RoomKey:
        """The key to seal with what belongs to a person whose row the caller has locked; made where there is none."""
        key = await self.of_person(connection, person_id)
        if key is not None:
            return key
        epoch = int.from_bytes(os.urandom(EPOCH_BYTES)) & EPOCH_MAX
        kek, wrapped = self.key_list.wrap(os.urandom(KEY_BYTES), person_id, epoch)
        await connection.execute(MAKE_OF_PERSON, person_id, epoch, kek, wrapped)
        made = await self.of_person(connection, person_id)
        if made is None:
            raise LookupError("There is no such person.")
        return made

    async def destroy_of_persons(self, connection: Any, persons: Sequence[UUID]) -> None:
        """Destroy these persons' keys, in the caller's transaction: what was sealed with them reads as deleted."""
        await connection.execute(DESTROY_OF_PERSONS, persons)

    async def of_locked(self, connection: Any, conversation_id: UUID) -> RoomKey:
        """The key to seal with in a conversation that the caller has locked, and which therefore stays its newest.

        Raises LookupError for one that is not there, and Erased.
        """
        epoch = await connection.fetchval("SELECT epoch FROM conversation WHERE id = $1", conversation_id)
        if epoch is None:
            raise LookupError("There is no such conversation.")
        if epoch == 0:
            raise Erased
        key = await self.of(connection, conversation_id)
        if key.epoch != epoch:
            self.forget(conversation_id)
            key = await self.of(connection, conversation_id)
        return key

    async def of(self, connection: Any, conversation_id: UUID) -> RoomKey:
        """The key to seal with in one conversation. Raises Erased for one that is erased or was never there."""
        key = (await self.current(connection, [conversation_id])).get(conversation_id)
        if key is None:
            raise Erased
        return key

    async def _current(self, connection: Any, conversations: Sequence[UUID]) -> dict[UUID, RoomKey]:
        found: dict[UUID, RoomKey] = {}
        wanted = list(conversations)
        for _ in range(TRIES_MAX):
            forgotten = self._forgotten
            rows = await connection.fetch(CURRENT, wanted)
            lacking = [row for row in rows if row["wrapped"] is None]
            self._take([row for row in rows if row["wrapped"] is not None], found, forgotten, current=True)
            if not lacking:
                return found
            wanted = [row["id"] for row in lacking]
            within = connection.is_in_transaction()
            if within:
                # Everybody locks conversations first; waiting for a key's row before that could go in a circle.
                await connection.execute(LOCK, wanted)
            made = await connection.fetch(MAKE, *self._fresh([(row["id"], row["epoch"]) for row in lacking]))
            # What this transaction may yet take back is not remembered.
            self._take(made, found, forgotten, current=True, settled=not within)
            wanted = [one for one in wanted if one not in found]
            if not wanted:
                return found
        raise KeysMissing(f"The key of room {wanted[0]} could be neither made nor found. Try again.")

    def _fresh(self, places: Sequence[tuple[UUID, int]]) -> tuple[list[Any], ...]:
        wrapped = [self.key_list.wrap(os.urandom(KEY_BYTES), *place) for place in places]
        return [one for one, _ in places], [one for _, one in places], [k for k, _ in wrapped], [w for _, w in wrapped]

    async def opened(self, connection: Any, values: Sequence[tuple[UUID, bytes, bytes | None]]) -> list[bytes | None]:
        """What each (conversation, what, sealed) holds; None for nothing, and where the key is destroyed.

        A value that was not sealed in its place is None too, and an alarm in the log. Raises KeysMissing.
        """
        now = time.monotonic()
        keys: list[RoomKey | None] = []
        missing: dict[int, tuple[UUID, int]] = {}
        for conversation_id, _, sealed in values:
            key = None
            if sealed is not None:
                epoch = int.from_bytes(sealed[:EPOCH_BYTES])
                room = self._rooms.get(conversation_id)
                if room is not None and room.until > now and epoch in room.epochs:
                    key = room.epochs[epoch]
                else:
                    missing[len(keys)] = conversation_id, min(epoch, EPOCH_MAX)
            keys.append(key)
        if missing:
            found = await self._of_epochs(connection, sorted(set(missing.values())))
            for number, place in missing.items():
                keys[number] = found.get(place)
                if place not in found:
                    log.error("crypto.forged", conversation_id=str(place[0]), epoch=place[1])
        return [opened_with(key, what, sealed) for key, (_, what, sealed) in zip(keys, values, strict=True)]

    async def of_epoch(self, connection: Any, conversation_id: UUID, epoch: int) -> RoomKey | None:
        """The key a room had in an epoch; None when there is none any more. Raises KeysMissing."""
        room = self._rooms.get(conversation_id)
        if room is not None and room.until > time.monotonic() and epoch in room.epochs:
            return room.epochs[epoch]
        return (await self._of_epochs(connection, [(conversation_id, epoch)])).get((conversation_id, epoch))

    async def _of_epochs(
        self, connection: Any, places: Sequence[tuple[UUID, int]]
    ) -> dict[tuple[UUID, int], RoomKey | None]:
        forgotten = self._forgotten
        rows = await connection.fetch(OF_EPOCHS, [one for one, _ in places], [epoch for _, epoch in places])
        found: dict[tuple[UUID, int], RoomKey | None] = {}
        for row in rows:
            try:
                key = found[row["id"], row["epoch"]] = self._unwrapped(row)
            except Forged:
                continue  # Somebody put another key there; there is none that opens anything.
            # A key that this very transaction destroys may yet come back.
            if row["settled"] and (key is not None or not connection.is_in_transaction()):
                self._remember(row["id"], row["epoch"], key, forgotten)
        return found

    def _take(
        self,
        rows: Sequence[Any],
        found: dict[UUID, RoomKey],
        forgotten: int,
        *,
        current: bool,
        settled: bool = False,
    ) -> None:
        for row in rows:
            key = self._unwrapped(row)
            if key is None:
                continue
            found[row["id"]] = key
            if settled or row["settled"]:
                self._remember(row["id"], row["epoch"], key, forgotten, current=current)

    def _unwrapped(self, row: Any) -> RoomKey | None:
        if row["wrapped"] is None:
            return None
        key = self.key_list.unwrap(row["kek"], row["wrapped"], row["id"], row["epoch"])
        return RoomKey(key, row["id"], row["epoch"], row["first_seq"])

    def _remember(
        self, conversation_id: UUID, epoch: int, key: RoomKey | None, forgotten: int, *, current: bool = False
    ) -> None:
        if forgotten != self._forgotten:
            return  # Some keys were destroyed while this one was read: it may be among them.
        room = self._rooms.get(conversation_id)
        now = time.monotonic()
        if room is None or room.until <= now:
            self._rooms.pop(conversation_id, None)
            room = self._rooms[conversation_id] = _Room(now + KEPT_S, None, {})
            while len(self._rooms) > ROOMS_MAX:
                del self._rooms[next(iter(self._rooms))]
        room.epochs[epoch] = key
        if current:
            room.current = key

    def forget(self, conversation_id: UUID | None = None) -> None:
        """Read a room's keys anew when they are next needed; those of every room unless one is named."""
        self._forgotten += 1
        if conversation_id is None:
            self._rooms.clear()
        else:
            self._rooms.pop(conversation_id, None)

    async def start_epoch(self, connection: Any, conversation_id: UUID, *, after: int | None = None) -> int:
        """Seal what a room says from now on with another key, in the caller's transaction; the new epoch's number.

        Every process hears of it when that commits. Raises LookupError for a conversation that is not there, or is
        no longer in the epoch `after`.
        """
        epoch: int | None = await connection.fetchval(NEXT_EPOCH, conversation_id, after)
        if epoch is None:
            raise LookupError("There is no such conversation in that epoch.")
        await connection.execute(MAKE, *self._fresh([(conversation_id, epoch)]))
        await connection.execute(f"SELECT pg_notify('{CHANNEL}', $1)", f"{FORGET}{conversation_id}")
        self.forget(conversation_id)
        return epoch

    async def destroy(self, connection: Any, conversation_id: UUID) -> int:
        """Destroy every key a room has had, in the caller's transaction; how many. What it says later has a new one.

        All that was sealed with them reads as deleted from then on, in every process. Raises LookupError.
        """
        epoch = await self.start_epoch(connection, conversation_id)
        done: str = await connection.execute(DESTROY, conversation_id, epoch)
        return int(done.rpartition(" ")[2])

    async def check(self, connection: Any) -> None:
        """Whether there is a list, and opens what this database holds. Raises KeysMissing with what to do."""
        keys = self.key_list
        for row in await connection.fetch(WRAPPED_BY):
            try:
                keys.unwrap(row["kek"], row["wrapped"], row["conversation_id"], row["epoch"])
            except Forged as error:
                raise KeysMissing(
                    f"The key {row['kek']!r} in MATHIA_KEYS is not the one this database was written with."
                    " Put the right one there."
                ) from error


class Passing:
    """Seals what is kept for hours at most, under a key derived from the newest of the list, and asks no database.

    What was sealed under a key that has left the list since is as good as gone.
    """

    def __init__(self, keys: RoomKeys, purpose: bytes) -> None:
        self._keys = keys
        self._purpose = purpose
        self._ciphers: tuple[AESGCM, ...] = ()
        self._of: tuple[str, ...] = ()

    def _all(self) -> tuple[AESGCM, ...]:
        keys = self._keys.key_list
        if self._of != keys.ids:
            self._ciphers = tuple(AESGCM(key) for key in keys.derived(self._purpose))
            self._of = keys.ids
        return self._ciphers

    def seal(self, what: bytes, data: bytes) -> bytes:
        """`data` sealed as `what`: a nonce, the ciphertext, the tag. Raises KeysMissing."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._all()[0].encrypt(nonce, data, what)

    def open(self, what: bytes, sealed: bytes) -> bytes:
        """What was sealed as `what`. Raises Forged, and KeysMissing."""
        for cipher in self._all():
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], what)
            except (InvalidTag, ValueError):
                continue
        raise Forged("It is not what was sealed here.")

    def name(self, what: bytes) -> str:
        """A name for `what` from which nobody without the key can tell or guess it, in 64 hexadecimal digits."""
        return hmac.digest(self._keys.key_list.derived(self._purpose)[0], what, "sha256").hex()
