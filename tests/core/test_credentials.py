"""Credentials: sealed by a list of keys, bound to whose they are and what for, rotated with the list."""

import os
from uuid import UUID

import pytest

from core import credentials, people
from core.crypto import Forged, KeyList
from core.db import Database
from core.rotation import StillNeeded, rewrap, settled, wrapped_under
from tests.jobs.people import someone

KEYS = {"publishable_key": "ISPubKey_live_canary", "secret_key": "ISSecretKey_live_canary"}


async def test_a_credential_is_the_persons_or_the_deployments_and_replaced_whole(db: Database) -> None:
    who, other = await someone(db), await someone(db)
    async with db.hot() as connection:
        await credentials.put(connection, who.person_id, "intasend", {"secret_key": "before"})
        await credentials.put(connection, who.person_id, "intasend", KEYS)
        await credentials.put(connection, credentials.OWNER, "intasend", {"secret_key": "ours"})
        await credentials.put(connection, credentials.OWNER, "intasend", {"secret_key": "ours too"})
        assert await credentials.find(connection, who.person_id, "intasend") == KEYS
        assert await credentials.find(connection, credentials.OWNER, "intasend") == {"secret_key": "ours too"}
        assert await credentials.find(connection, who.person_id, "calendly") is None
        assert await credentials.find(connection, other.person_id, "intasend") is None
        assert await connection.fetchval("SELECT count(*) FROM credential") == 2
        whole = str(await connection.fetch("SELECT credential::text FROM credential"))
        assert "canary" not in whole
        assert b"canary".hex() not in whole
        assert await credentials.forget(connection, who.person_id, "intasend")
        assert not await credentials.forget(connection, who.person_id, "intasend")
        with pytest.raises(ValueError, match="at most"):
            await credentials.put(connection, who.person_id, "x", {"v": "x" * 5_000})


@pytest.mark.parametrize("change", ["owner", "kind", "deployment", "bytes"])
async def test_what_was_put_into_another_row_opens_for_nobody(db: Database, change: str) -> None:
    victim, thief = await someone(db), await someone(db)
    async with db.hot() as connection:
        await credentials.put(connection, victim.person_id, "intasend", KEYS)
        await credentials.put(connection, thief.person_id, "intasend", {"secret_key": "mine"})
        await credentials.put(connection, thief.person_id, "notion", {"token": "mine"})
        await credentials.put(connection, None, "intasend", {"secret_key": "ours"})
        place: tuple[UUID | None, str] = {
            "owner": (thief.person_id, "intasend"), "kind": (thief.person_id, "notion"),
            "deployment": (None, "intasend"),
            "bytes": (victim.person_id, "intasend"),
        }[change]  # fmt: skip
        stolen = await connection.fetchval("SELECT sealed FROM credential WHERE person_id = $1", victim.person_id)
        stolen = stolen[:-1] + bytes([stolen[-1] ^ 1]) if change == "bytes" else stolen
        await connection.execute(
            "UPDATE credential SET sealed = $1 WHERE person_id IS NOT DISTINCT FROM $2::uuid AND kind = $3",
            stolen, *place,
        )  # fmt: skip
        with pytest.raises(Forged):
            await credentials.find(connection, *place)


async def test_a_rotation_seals_it_anew_and_the_old_key_can_go(database_url: str, db: Database) -> None:
    who = await someone(db)
    old = KeyList({"old": os.urandom(32)})
    both = KeyList({"new": os.urandom(32), **old._keys})
    first = await Database.connect(database_url, old)
    async with first.hot() as connection:
        await credentials.put(connection, who.person_id, "intasend", KEYS)
    await first.close()
    assert (await wrapped_under(db, ("new", "old")))["old"] == 1
    with pytest.raises(StillNeeded):
        await settled(db, "old")
    everything = KeyList({**both._keys, **db.keys.key_list._keys})
    assert await rewrap(db, everything) >= 1
    await settled(db, "old")
    after = await Database.connect(database_url, both.without("old"))
    async with after.hot() as connection:
        assert await credentials.find(connection, who.person_id, "intasend") == KEYS
    await after.close()


async def test_persons_that_become_one_connect_again_what_the_other_had(db: Database) -> None:
    kept, gone = await someone(db), await someone(db, channel="telegram")
    async with db.hot() as connection:
        for who in (kept, gone):
            await credentials.put(connection, who.person_id, "intasend", {"secret_key": str(who.person_id)})
    async with db.transaction() as session:
        await people.hold(session, kept.person_id)
        await people.hold(session, gone.person_id)
        await people.merge(session, kept.person_id, gone.person_id)
    async with db.hot() as connection:
        found = await credentials.find(connection, kept.person_id, "intasend")
        assert found == {"secret_key": str(kept.person_id)}
        # Written by somebody who still knows the other: it is the kept one's, and opens.
        await credentials.put(connection, gone.person_id, "notion", {"token": "t"})
        assert await credentials.find(connection, kept.person_id, "notion") == {"token": "t"}
