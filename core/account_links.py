"""Links to a person's account page: each opens it once, in one browser, for the chat that it was given in.

A link is a secret that is kept as its hash alone. Looking at it uses nothing up; opening it ends it, and gives the
browser another secret that is good for as long as the link was.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core import people
from core.db import Database, driver
from core.errors import LimitReached
from core.language import Saying
from core.linking import find_identity
from core.messages import Address, ChannelName

PATH: Final = "/account"
LIFE = timedelta(minutes=15)
TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
LINKS_MAX = 20
"""Links of one person within LINKS_WITHIN."""
LINKS_WITHIN = timedelta(hours=1)
DELETED_MAX = 10_000
"""Rows deleted by one statement."""
OFTEN = Saying(
    "You have asked for that often within an hour. Ask again in a while.",
    "Umeomba hilo mara nyingi ndani ya saa moja. Omba tena baada ya muda.",
)

MADE = "SELECT count(*) FROM account_link WHERE person_id = $1 AND created_at > $2"
OLD = """
DELETE FROM account_link WHERE id IN (
    SELECT id FROM account_link WHERE expires_at < clock_timestamp() - $1::interval LIMIT $2)
"""
"""What ended within LINKS_WITHIN is still counted."""
NEW = """
INSERT INTO account_link (person_id, identity_id, conversation_id, token_hash, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
IS_GOOD = "SELECT EXISTS (SELECT FROM account_link WHERE token_hash = $1 AND opened_at IS NULL AND expires_at > $2)"
OPEN = """
UPDATE account_link SET opened_at = $2, session_hash = $3, expires_at = $4
WHERE token_hash = $1 AND opened_at IS NULL AND expires_at > $2 RETURNING id
"""
VISIT = """
SELECT p.id AS person_id, p.language, p.name, p.timezone, p.plan, p.language_chosen, l.conversation_id, l.identity_id,
       c.channel, c.account, c.room, i.provider_id
FROM account_link l JOIN person p ON p.id = l.person_id JOIN conversation c ON c.id = l.conversation_id
JOIN identity i ON i.id = l.identity_id
WHERE l.session_hash = $1 AND l.expires_at > $2 AND p.merged_into IS NULL AND p.erasure_id IS NULL
  AND i.person_id = p.id
"""
END = "DELETE FROM account_link WHERE session_hash = $1"


@dataclass(frozen=True, slots=True)
class Visit:
    """Whose page a browser has open, and the chat that the link was given in."""

    person_id: UUID
    name: bytes | None
    language: str
    timezone: str | None
    plan: str
    language_chosen: bool
    identity_id: UUID
    conversation_id: UUID
    address: Address


async def new_link(session: AsyncSession, sender: Address, conversation_id: UUID, now: datetime) -> str:
    """The path of a page that opens once, for whoever writes from `sender`. Raises LimitReached."""
    identity = await find_identity(session, sender)
    person = await people.hold(session, await people.of_identity(session, identity))
    connection = await driver(session)
    if await connection.fetchval(MADE, person, now - LINKS_WITHIN) >= LINKS_MAX:
        raise LimitReached(OFTEN)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await connection.execute(NEW, person, identity, conversation_id, _hash(token), now, now + LIFE)
    return f"{PATH}/{token}"


async def is_good(connection: Any, token: str, now: datetime) -> bool:
    """Whether a link could still be opened; uses nothing up."""
    return TOKEN.fullmatch(token) is not None and bool(await connection.fetchval(IS_GOOD, _hash(token), now))


async def opened(connection: Any, token: str, now: datetime) -> str | None:
    """Open a link: what the browser is known by from now on. None for one that is over; of two at once, for one."""
    if TOKEN.fullmatch(token) is None:
        return None
    fresh = secrets.token_urlsafe(TOKEN_BYTES)
    return fresh if await connection.fetchval(OPEN, _hash(token), now, _hash(fresh), now + LIFE) is not None else None


async def visit(connection: Any, session: str, now: datetime) -> Visit | None:
    """Whose page it is; None where the browser's time is over, or they have become another person since."""
    row = await connection.fetchrow(VISIT, _hash(session), now) if TOKEN.fullmatch(session) is not None else None
    if row is None:
        return None
    address = Address(ChannelName(row["channel"]), row["account"], row["room"], row["provider_id"])
    return Visit(
        row["person_id"], row["name"], row["language"], row["timezone"], row["plan"], row["language_chosen"],
        row["identity_id"], row["conversation_id"], address,
    )  # fmt: skip


async def end(connection: Any, session: str) -> None:
    """Close the page."""
    await connection.execute(END, _hash(session))


async def delete_old(db: Database) -> None:
    """Delete the links that ended longer ago than LINKS_WITHIN, of everybody."""
    while (await db.pool.execute(OLD, LINKS_WITHIN, DELETED_MAX)) == f"DELETE {DELETED_MAX}":
        pass


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
