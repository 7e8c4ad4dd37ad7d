"""Rotating the keys that wrap: every key in the database is wrapped anew by the newest of the list, batch by batch.

Nothing that was sealed is touched, so readers and writers go on meanwhile. What was wrapped anew stays so: a rotation
that was stopped is begun again and does what is left.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

from core import credentials
from core.crypto import PURPOSES, KeyList
from core.db import Database

BATCH = 500
"""Rooms' or persons' keys wrapped anew in one transaction."""

COUNT_ROOMS = "SELECT count(*) FROM room_key WHERE kek = $1"
COUNT_PURPOSES = "SELECT count(*) FROM purpose_key WHERE kek = $1"
COUNT_PERSONS = "SELECT count(*) FROM person_key WHERE kek = $1"
COUNT_CREDENTIALS = "SELECT count(*) FROM credential WHERE kek = $1"
COUNTS = (COUNT_ROOMS, COUNT_PURPOSES, COUNT_PERSONS, COUNT_CREDENTIALS)

USED = """
WITH RECURSIVE ids AS (
    SELECT min(kek) AS kek FROM room_key
    UNION ALL
    SELECT (SELECT min(k.kek) FROM room_key k WHERE k.kek > ids.kek) FROM ids WHERE ids.kek IS NOT NULL
), persons AS (
    SELECT min(kek) AS kek FROM person_key
    UNION ALL
    SELECT (SELECT min(k.kek) FROM person_key k WHERE k.kek > persons.kek) FROM persons WHERE persons.kek IS NOT NULL
)
SELECT kek FROM ids WHERE kek IS NOT NULL UNION SELECT kek FROM persons WHERE kek IS NOT NULL
UNION SELECT kek FROM purpose_key UNION SELECT kek FROM credential
"""

ROOMS = "SELECT conversation_id, epoch, wrapped FROM room_key WHERE kek = $1 LIMIT $2"

REWRAP_ROOMS = """
UPDATE room_key k SET kek = $1, wrapped = g.after
FROM unnest($2::uuid[], $3::int[], $4::bytea[], $5::bytea[]) AS g(id, epoch, before, after)
WHERE k.conversation_id = g.id AND k.epoch = g.epoch AND k.wrapped = g.before
"""
"""A key that was destroyed, or wrapped by somebody else, since it was read is left as it is."""

PERSONS = "SELECT person_id, epoch, wrapped FROM person_key WHERE kek = $1 LIMIT $2"

REWRAP_PERSONS = """
UPDATE person_key k SET kek = $1, wrapped = g.after
FROM unnest($2::uuid[], $3::int[], $4::bytea[], $5::bytea[]) AS g(id, epoch, before, after)
WHERE k.person_id = g.id AND k.epoch = g.epoch AND k.wrapped = g.before
"""

PURPOSES_OF = "SELECT name, wrapped FROM purpose_key WHERE kek = $1"

REWRAP_PURPOSE = "UPDATE purpose_key SET kek = $1, wrapped = $4 WHERE name = $2 AND wrapped = $3"

CREDENTIALS = "SELECT id, sealed FROM credential WHERE kek = $1 LIMIT $2"

RESEAL_CREDENTIAL = "UPDATE credential SET kek = $1, sealed = $4 WHERE id = $2 AND sealed = $3"


async def wrapped_under(db: Database, ids: tuple[str, ...]) -> Mapping[str, int]:
    """How many keys of the database each key wraps: those of the list, in its order, and any it lacks."""
    async with db.pool.acquire() as connection:
        used = [row["kek"] for row in await connection.fetch(USED)]
        return {kek: await _count(connection, kek) for kek in (*ids, *sorted(set(used) - set(ids)))}


async def rewrap(db: Database, keys: KeyList) -> int:
    """Wrap by the newest key whatever another one wraps; how many there were. Raises KeysMissing and Forged."""
    done = 0
    while True:
        async with db.pool.acquire() as connection:
            old = [row["kek"] for row in await connection.fetch(USED) if row["kek"] != keys.newest]
            if not old:
                return done
            for kek in old:
                for read, rewrap_them in ((ROOMS, REWRAP_ROOMS), (PERSONS, REWRAP_PERSONS)):
                    while batch := await _rewrap(connection, keys, kek, read, rewrap_them):
                        done += batch
                done += await _rewrap_purposes(connection, keys, kek)
                while batch := await _reseal_credentials(connection, keys, kek):
                    done += batch


async def _count(connection: Any, kek: str) -> int:
    return sum([await connection.fetchval(count, kek) for count in COUNTS])


async def _rewrap(connection: Any, keys: KeyList, kek: str, read: str, rewrap_them: str) -> int:
    """One batch of rooms' or persons' keys; how many."""
    rows = await connection.fetch(read, kek, BATCH)
    places: list[tuple[UUID, int]] = [(row[0], row["epoch"]) for row in rows]
    after = [
        keys.wrap(keys.unwrap(kek, row["wrapped"], *place), *place) for row, place in zip(rows, places, strict=True)
    ]
    await connection.execute(
        rewrap_them,
        keys.newest,
        [one for one, _ in places],
        [epoch for _, epoch in places],
        [row["wrapped"] for row in rows],
        [wrapped for _, wrapped in after],
    )
    return len(rows)


async def _rewrap_purposes(connection: Any, keys: KeyList, kek: str) -> int:
    rows = await connection.fetch(PURPOSES_OF, kek)
    for row in rows:
        place = uuid5(PURPOSES, row["name"]), 1
        newest, wrapped = keys.wrap(keys.unwrap(kek, row["wrapped"], *place), *place)
        await connection.execute(REWRAP_PURPOSE, newest, row["name"], row["wrapped"], wrapped)
    return len(rows)


async def _reseal_credentials(connection: Any, keys: KeyList, kek: str) -> int:
    """One batch of credentials, sealed anew; how many."""
    rows, cipher = await connection.fetch(CREDENTIALS, kek, BATCH), credentials.cipher(keys)
    for row in rows:
        await connection.execute(RESEAL_CREDENTIAL, keys.newest, row["id"], row["sealed"], cipher.rotate(row["sealed"]))
    return len(rows)


class StillNeeded(Exception):
    """A key that is to leave the list wraps keys of the database."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


async def settled(db: Database, kek: str) -> None:
    """Wait for whoever is storing a key just now, then raise StillNeeded where `kek` wraps any."""
    async with db.hot() as connection:
        await connection.execute("LOCK TABLE room_key, purpose_key, person_key, credential IN SHARE MODE")
        count = await _count(connection, kek)
    if count:
        raise StillNeeded(count)
