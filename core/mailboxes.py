"""E-mail addresses, as they are stored: each sealed in one row, whose name is made of it with a key.

That name stands wherever an address would: in identities, rooms, codes and invitations, which are compared by it. To
forget an address is to remove its row.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from core.crypto import RoomKey, opened_with

PURPOSE = "mailbox"
INDEX = "mailbox"
VARIANT = "+"
"""After the name of an address stands, with a number, what older versions kept of the same in other letters."""

KEEP = "INSERT INTO mailbox AS b (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = b.name"
"""Locks the row, so that an erasure that would remove it waits, and then sees what it is for."""

READ = """
SELECT b.name, b.sealed FROM unnest($1::text[]) AS g(name)
CROSS JOIN LATERAL (SELECT * FROM mailbox b WHERE b.name = g.name OFFSET 0) b
"""

OF_PERSONS = """
SELECT provider_id AS name FROM identity WHERE person_id = ANY($1::uuid[]) AND channel = 'email'
UNION SELECT address FROM email_code WHERE person_id = ANY($1::uuid[])
UNION SELECT v.address FROM identity i JOIN room_invitation v ON v.identity_id = i.id
WHERE i.person_id = ANY($1::uuid[]) AND v.address IS NOT NULL
UNION SELECT c.room FROM invoice b JOIN conversation c ON c.id = b.mail_to
WHERE b.person_id = ANY($1::uuid[]) AND c.room IS NOT NULL
UNION SELECT c.room FROM invoice_series b JOIN conversation c ON c.id = b.mail_to
WHERE b.person_id = ANY($1::uuid[]) AND c.room IS NOT NULL
"""
LOCK = "SELECT FROM mailbox WHERE name = ANY($1::text[]) ORDER BY name FOR UPDATE"
FORGET = """
DELETE FROM mailbox b WHERE b.name = ANY($1::text[])
  AND NOT EXISTS (SELECT FROM conversation c WHERE c.channel = 'email' AND c.room = b.name)
  AND NOT EXISTS (SELECT FROM identity i WHERE i.channel = 'email' AND i.provider_id = b.name)
  AND NOT EXISTS (SELECT FROM email_code e WHERE e.address = b.name AND e.person_id <> ALL($2::uuid[]))
  AND NOT EXISTS (SELECT FROM room_invitation v JOIN identity i ON i.id = v.identity_id
                  WHERE v.address = b.name AND i.person_id <> ALL($2::uuid[]))
"""


def seal(key: RoomKey, name: str, address: str) -> bytes:
    """An address, to be stored under its name."""
    return key.seal(_what(name), address.encode())


async def name_of(connection: Any, address: str) -> str:
    """The name an address has here, in whatever case; nobody without the key can guess one from the other."""
    digest: bytes = await connection.keys.blind(connection, INDEX, address.lower())
    return digest.hex()


async def keep(connection: Any, address: str) -> str:
    """Store an address that is written to, as it was first given; its name."""
    name = await name_of(connection, address)
    key = await connection.keys.of_purpose(connection, PURPOSE)
    await connection.execute(KEEP, name, seal(key, name, address))
    return name


async def addresses(connection: Any, names: Iterable[str]) -> dict[str, str]:
    """The addresses that have these names; without those that were forgotten."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    key = await connection.keys.of_purpose(connection, PURPOSE)
    rows = await connection.fetch(READ, wanted)
    found = {row["name"]: opened_with(key, _what(row["name"]), row["sealed"]) for row in rows}
    return {name: address.decode() for name, address in found.items() if address is not None}


async def hold_of(connection: Any, persons: Sequence[UUID]) -> list[str]:
    """The names of the addresses these persons gave or invited, locked."""
    names = [row["name"] for row in await connection.fetch(OF_PERSONS, persons)]
    await connection.execute(LOCK, names)
    return names


async def forget(connection: Any, names: Sequence[str], persons: Sequence[UUID]) -> None:
    """Forget the addresses among these, locked, that nothing is sent to any more and nobody but `persons` gave."""
    await connection.execute(FORGET, names, persons)


def _what(name: str) -> bytes:
    return b"mailbox\0" + name.encode()
