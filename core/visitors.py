"""Browsers that chat: each has a secret token, kept only as its SHA-256, and an id.

The id is both the visitor's room and the provider's id of its person.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from uuid import UUID

from core.conversations import reading
from core.db import Database

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
"""What a token looks like: TOKEN_BYTES in URL-safe base64."""

FIND = "SELECT id FROM web_visitor WHERE token_hash = $1 AND site = $2"
CREATE = "INSERT INTO web_visitor (id, token_hash, site) VALUES (gen_random_uuid(), $1, $2) RETURNING id"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser that chats on one of our sites."""

    id: UUID
    site: str


async def find_visitor(db: Database, token: str, site: str) -> Visitor | None:
    """Whose token this is on this site; None when nobody's. Raises StoreUnavailable."""
    if TOKEN.fullmatch(token) is None:
        return None
    async with reading(db) as connection:
        found = await connection.fetchval(FIND, _hash(token), site)
    return None if found is None else Visitor(found, site)


async def create_visitor(db: Database, site: str) -> tuple[Visitor, str]:
    """A new visitor and its token, which exists nowhere else from now on. Raises StoreUnavailable."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with reading(db) as connection:
        made = await connection.fetchval(CREATE, _hash(token), site)
    return Visitor(made, site), token


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
