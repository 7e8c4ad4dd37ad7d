"""Browsers that chat: each has a secret token, kept only as its SHA-256, and an id.

The id is both the visitor's room and the provider's id of its person. Somebody whom a site proves to be its user is one
visitor on all their devices; each device has a token of its own.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import exists, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from core import linking
from core.conversations import reading
from core.db import Database, driver, is_away
from core.errors import Conflict, StoreUnavailable
from core.messages import ChannelName
from core.models import Identity, SiteUser, WebVisitor
from core.names import names_of
from core.proof import Proven

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
"""What a token looks like: TOKEN_BYTES in URL-safe base64."""

BUSY_STATES = ("40P01", "55P03", "57014")
"""A deadlock, a lock that was not free in time, a statement that took too long: trying again helps."""

FIND = """
SELECT coalesce(u.visitor_id, v.id) AS id, v.site, v.user_id
FROM web_visitor v LEFT JOIN site_user u ON u.site = v.site AND u.user_id = v.user_id
WHERE v.token_hash = $1 AND ($2::text IS NULL OR v.site = $2) AND v.ended_at IS NULL
"""
CREATE = "INSERT INTO web_visitor (id, token_hash, site) VALUES (gen_random_uuid(), $1, $2) RETURNING id"
END = """
UPDATE web_visitor SET ended_at = clock_timestamp() WHERE token_hash = $1 AND site = $2 AND ended_at IS NULL
"""


GOOD = "SELECT token_hash FROM web_visitor WHERE token_hash = ANY($1::bytea[]) AND ended_at IS NULL"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser that chats on one of our sites; `user_id` is the site's own id of them, once it was proved."""

    id: UUID
    site: str
    user_id: str | None = None


async def find_visitor(db: Database, token: str, site: str | None) -> Visitor | None:
    """Whose token this is on this site, or on any when None; None when nobody's. Raises StoreUnavailable."""
    if TOKEN.fullmatch(token) is None:
        return None
    async with reading(db) as connection:
        found = await connection.fetchrow(FIND, _hash(token), site)
    return None if found is None else Visitor(found["id"], found["site"], found["user_id"])


async def create_visitor(db: Database, site: str) -> tuple[Visitor, str]:
    """A new visitor and its token, which exists nowhere else from now on. Raises StoreUnavailable."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with reading(db) as connection:
        made = await connection.fetchval(CREATE, _hash(token), site)
    return Visitor(made, site), token


async def end_token(db: Database, token: str, site: str) -> None:
    """This token opens nothing from now on; the visitor's other devices stay as they are. Raises StoreUnavailable."""
    async with reading(db) as connection:
        await connection.execute(END, _hash(token), site)
        await connection.execute("SELECT pg_notify('mathia', 'site')")  # Other processes close what it has open.


async def ended(db: Database, tokens: Sequence[str]) -> set[str]:
    """Which of these tokens open nothing any more. Raises StoreUnavailable."""
    hashes = {_hash(token): token for token in tokens}
    async with reading(db) as connection:
        good = {bytes(row["token_hash"]) for row in await connection.fetch(GOOD, list(hashes))}
    return {token for hashed, token in hashes.items() if hashed not in good}


async def sign_in(db: Database, site: str, proven: Proven, token: str | None, now: datetime) -> tuple[Visitor, str]:
    """The visitor of a site's proved user, and the token of this device: the one it has, or a new one in its place.

    What was said here before signing in stays theirs: it is where the user's chat goes on when they had none, and its
    person becomes the user's otherwise. A device that was another user's begins anew. Raises StoreUnavailable.
    """
    try:
        async with db.transaction() as session:
            return await _sign_in(session, site, proven, token, now)
    except Conflict as error:
        raise StoreUnavailable(str(error)) from error
    except Exception as error:
        busy = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in BUSY_STATES
        if not (busy or is_away(error) or isinstance(error, PoolTimeoutError)):
            raise
        raise StoreUnavailable("The database did not answer in time. Try again in a moment.") from error


async def _sign_in(
    session: AsyncSession, site: str, proven: Proven, token: str | None, now: datetime
) -> tuple[Visitor, str]:
    await session.execute(
        insert(SiteUser).values(site=site, user_id=proven.user_id, visitor_id=uuid4()).on_conflict_do_nothing()
    )
    user = (
        await session.scalars(
            select(SiteUser).where(SiteUser.site == site, SiteUser.user_id == proven.user_id).with_for_update()
        )
    ).one()
    device = None
    if token is not None and TOKEN.fullmatch(token):
        device = await session.scalar(
            select(WebVisitor)
            .where(WebVisitor.token_hash == _hash(token), WebVisitor.site == site, WebVisitor.ended_at.is_(None))
            .with_for_update()
        )
    if device is not None and token is not None and device.user_id == proven.user_id:
        await _call(session, user, proven)
        return Visitor(user.visitor_id, site, user.user_id), token
    if device is not None and device.user_id is None:
        await _bring(session, user, device, now)
    if device is not None:
        # Whoever knew the token before somebody signed in with it must not be them afterwards.
        device.ended_at = now
    made = secrets.token_urlsafe(TOKEN_BYTES)
    session.add(WebVisitor(id=uuid4(), token_hash=_hash(made), site=site, user_id=user.user_id))
    await _call(session, user, proven)
    await session.flush()
    return Visitor(user.visitor_id, site, user.user_id), made


async def _bring(session: AsyncSession, user: SiteUser, device: WebVisitor, now: datetime) -> None:
    """Let what an anonymous visitor said be the user's."""
    theirs, mine = await _identity(session, user.site, device.id), await _identity(session, user.site, user.visitor_id)
    claimed = await session.scalar(select(exists().where(SiteUser.site == user.site, SiteUser.visitor_id == device.id)))
    if theirs is None or claimed:
        return
    if mine is None:
        user.visitor_id = device.id
        await session.flush()
    else:
        await linking.join(session, mine, theirs, now, "visitor.signed_in")


async def _identity(session: AsyncSession, site: str, visitor: UUID) -> UUID | None:
    found: UUID | None = await session.scalar(
        select(Identity.id).where(
            Identity.channel == ChannelName.WEB.value, Identity.account == site, Identity.provider_id == str(visitor)
        )
    )
    return found


async def _call(session: AsyncSession, user: SiteUser, proven: Proven) -> None:
    """What the site calls its user is what they are called here, where they have been heard."""
    if proven.name is not None:
        names = await names_of(await driver(session))
        statement = select(Identity.id, Identity.display_name).where(
            Identity.channel == ChannelName.WEB.value,
            Identity.account == user.site,
            Identity.provider_id == str(user.visitor_id),
        )
        known = (await session.execute(statement)).one_or_none()
        if known is not None and names.open(known.display_name) != proven.name:
            called = {"display_name": names.seal(proven.name), "name_index": names.index(proven.name)}
            await session.execute(update(Identity).where(Identity.id == known.id).values(called))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
