"""Looking for what is left of somebody: every value of every table, and whatever our keys still open."""

import re
from typing import Any

from sqlalchemy import select

from core import mailboxes, people
from core.db import Database
from core.models import Contact
from core.names import names_of
from tests.said import messages

RANDOM = re.compile(r"x[0-9a-f]{16,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
"""Bytes as PostgreSQL shows them, and UUIDs."""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"


async def left(db: Database, words: list[str]) -> list[tuple[str, str]]:
    """Where any of these words are still found, as (table, word), in whatever case."""
    found = []
    for row in await db.pool.fetch(TABLES):
        table = row["tablename"]
        values = await db.pool.fetch(f'SELECT t::text AS value FROM "{table}" t')  # noqa: S608  ours
        everything = "\n".join(one["value"] for one in values).lower()
        found += [(table, word) for word in words if _is_in(word, everything)]
    said = str([row["parts"] for row in await messages(db)]).lower()
    found += [("what messages say", word) for word in words if word.lower() in said]
    known = (await _contacts(db)).lower()
    found += [("what contacts hold", word) for word in words if word.lower() in known]
    called = (await _called(db)).lower()
    found += [("what people and mailboxes are called", word) for word in words if word.lower() in called]
    return found


async def _called(db: Database) -> str:
    """Every name and every e-mail address that can be opened."""
    async with db.pool.acquire() as connection:
        names = await names_of(connection)
        rows = await connection.fetch(
            "SELECT name FROM person WHERE name IS NOT NULL"
            " UNION ALL SELECT display_name FROM identity WHERE display_name IS NOT NULL"
        )
        places = [row["name"] for row in await connection.fetch("SELECT name FROM mailbox")]
        known = await mailboxes.addresses(connection, places)
    return "\n".join([*(names.open(row["name"]) or "" for row in rows), *known.values()])


async def _contacts(db: Database) -> str:
    """All that anybody's contacts hold, as far as it can be opened."""
    async with db.transaction() as session:
        owners = (await session.scalars(select(Contact.person_id).distinct())).all()
        whole = [one for owner in owners for one in await people.contacts(session, owner)]
    return "\n".join(f"{one.name} {one.phone} {one.email} {one.note}" for one in whole)


def _is_in(word: str, everything: str) -> bool:
    """As text, or as the bytes that PostgreSQL shows in hexadecimal digits."""
    # A number of a few digits is in what is random sooner or later.
    plain = RANDOM.sub("", everything) if word.isdigit() else everything
    return word.lower() in plain or word.encode().hex() in everything


async def rows(db: Database, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    return [dict(row) for row in await db.pool.fetch(f'SELECT * FROM "{table}"')]  # noqa: S608  ours
