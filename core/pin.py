"""A person's PIN: six digits that let large payments pass and limits rise. Only a slow hash of it is kept.

Each try is counted in PostgreSQL before it is looked at. From TRIES_MAX wrong ones on it is locked for an hour, and
with each further one for twice as long; a right one ends that. Who forgot it waits a day, in which whoever sees the
chat can call it off.
"""

import asyncio
import hmac
import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.db import Database

DIGITS = 6
SHAPE = re.compile(rf"[0-9]{{{DIGITS}}}")
TRIES_MAX = 5
"""Wrong ones until it is locked."""
LOCKED_FOR = timedelta(hours=1)
LOCKED_MOST = timedelta(hours=24)
RESET_AFTER = timedelta(hours=24)
"""How long after somebody says to have forgotten it another one can be chosen."""
SALT_BYTES = 16
HASH_BYTES = 32
COST, BLOCK, LANES = 2**15, 8, 1
"""scrypt's: 32 MiB and some 80 ms for each try."""
AT_ONCE = 2
"""How many a process computes at a time; the next wait."""
LOOKALIKES: Final = frozenset(
    {"159753", "147258", "258456", "147852", "789456", "456789", "102030", "123654", "142536"}
)
"""What fingers find by themselves."""

_WORKERS = ThreadPoolExecutor(AT_ONCE, "pin")

TRY = """
UPDATE person SET pin_tries = least(pin_tries + 1, 100), pin_locked_until = CASE
    WHEN pin_tries + 1 < $3 THEN pin_locked_until
    ELSE $2 + least($4::interval * power(2, least(pin_tries + 1 - $3, 10)), $5::interval) END
WHERE id = $1 AND pin_hash IS NOT NULL AND (pin_locked_until IS NULL OR pin_locked_until <= $2)
RETURNING pin_hash, pin_tries, pin_locked_until
"""
RIGHT = """
UPDATE person SET pin_tries = 0, pin_locked_until = NULL, pin_reset_at = NULL WHERE id = $1 AND pin_hash = $2
RETURNING id
"""
STANDS = "SELECT pin_hash, pin_locked_until, pin_reset_at FROM person WHERE id = $1"
SET = """
UPDATE person SET pin_hash = $2, pin_set_at = $3, pin_tries = 0, pin_locked_until = NULL, pin_reset_at = NULL
WHERE id = $1 AND (pin_hash IS NULL OR pin_hash = $4 OR pin_reset_at <= $3) RETURNING id
"""
FORGET = """
UPDATE person SET pin_reset_at = $2 WHERE id = $1 AND pin_hash IS NOT NULL AND pin_reset_at IS NULL RETURNING id
"""
KEEP = "UPDATE person SET pin_reset_at = NULL WHERE id = $1 AND pin_reset_at > $2 RETURNING id"


class Tried(StrEnum):
    """What came of a try."""

    RIGHT = "right"
    WRONG = "wrong"
    NOW_LOCKED = "now_locked"
    """It was wrong, and locked it."""
    LOCKED = "locked"
    """It was not looked at."""
    NONE = "none"
    """There is no PIN."""


@dataclass(frozen=True, slots=True)
class Stands:
    """How a person's PIN stands. `reset_at` is when another one can be chosen, where they asked for that."""

    is_set: bool
    locked_until: datetime | None
    reset_at: datetime | None


def is_trivial(pin: str, phone: str | None = None) -> bool:
    """Whether six digits are among those that are guessed first, or the end of the person's own number. Pure."""
    steps = {(int(after) - int(before)) % 10 for before, after in itertools.pairwise(pin)}
    return (
        len(set(pin)) <= 2
        or steps in ({1}, {9})  # 123456, 987654
        or pin[:3] in (pin[3:], pin[:2:-1])  # 123123, 123321
        or (pin[0], pin[2], pin[4]) == (pin[1], pin[3], pin[5])  # 112233
        or len({pin[:2], pin[2:4], pin[4:]}) == 1
        or pin in LOOKALIKES
        or (phone or "").endswith(pin)
    )


async def stands(connection: Any, person: UUID, now: datetime) -> Stands:
    """How the PIN of a person stands; one whose reset is due counts as none."""
    row = await connection.fetchrow(STANDS, person)
    due = row["pin_reset_at"] is not None and row["pin_reset_at"] <= now
    locked = row["pin_locked_until"] if row["pin_locked_until"] is not None and row["pin_locked_until"] > now else None
    return Stands(
        row["pin_hash"] is not None and not due, None if due else locked, None if due else row["pin_reset_at"]
    )


async def check(db: Database, person: UUID, pin: str, now: datetime) -> Tried:
    """Try a PIN. What is no six digits is wrong without being counted. A right one calls a reset off."""
    if SHAPE.fullmatch(pin) is None:
        return Tried.WRONG
    async with db.hot() as connection:
        if not (await stands(connection, person, now)).is_set:
            return Tried.NONE
        row = await connection.fetchrow(TRY, person, now, TRIES_MAX, LOCKED_FOR, LOCKED_MOST)
    if row is None:
        return Tried.LOCKED
    if hmac.compare_digest(await _hashed(pin, row["pin_hash"][:SALT_BYTES]), row["pin_hash"]):
        async with db.hot() as connection:
            right = await connection.fetchval(RIGHT, person, row["pin_hash"])
        return Tried.RIGHT if right is not None else Tried.WRONG
    return Tried.NOW_LOCKED if row["pin_tries"] >= TRIES_MAX else Tried.WRONG


async def choose(db: Database, person: UUID, pin: str, now: datetime, *, knows_old: bool) -> bool:
    """Set a PIN of six digits that is not trivial; False where there is one already that the person has not shown to
    know."""
    new = await _hashed(pin, os.urandom(SALT_BYTES))
    async with db.hot() as connection:
        old = (await connection.fetchrow(STANDS, person))["pin_hash"] if knows_old else None
        return await connection.fetchval(SET, person, new, now, old) is not None


async def forget(connection: Any, person: UUID, now: datetime) -> datetime | None:
    """Have it that another PIN can be chosen after RESET_AFTER; when. None where that is asked already."""
    due = now + RESET_AFTER
    return due if await connection.fetchval(FORGET, person, due) is not None else None


async def keep(connection: Any, person: UUID, now: datetime) -> bool:
    """Call a reset off; False where none waits."""
    return await connection.fetchval(KEEP, person, now) is not None


async def _hashed(pin: str, salt: bytes) -> bytes:
    made = Scrypt(salt=salt, length=HASH_BYTES, n=COST, r=BLOCK, p=LANES)
    return salt + await asyncio.get_running_loop().run_in_executor(_WORKERS, made.derive, pin.encode())
