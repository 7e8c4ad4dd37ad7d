"""Signing in: one-time links, sessions in a cookie, and the checks that every changing request passes.

Secrets are 32 random bytes. PostgreSQL keeps their SHA-256 alone, so neither a dump nor a log lets anybody in; guessing
one is hopeless, and a wrong one costs a hash and one look-up by primary key.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.db import Database
from core.models import StaffSession

TOKEN_BYTES = 32
LINK_TTL = timedelta(minutes=15)
SESSION_TTL = timedelta(hours=12)
SECURE_COOKIE = "__Host-mathia"
PLAIN_COOKIE = "mathia_admin"
"""Over plain http, on the owner's own machine, browsers accept no __Host- cookie."""
PREFIX = "/admin"

TOKEN_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody signed in: their name, and the secrets' shadows that their requests are checked with."""

    name: str
    token_hash: bytes
    csrf: str
    expires_at: datetime

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return f"staff:{self.name}"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: the cookie's value, and whose it is."""

    token: str
    staff: str


async def new_sign_in_link(db: Database, staff: str = "owner") -> str:
    """The path of a page that signs `staff` in, once, within LINK_TTL."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with db.transaction() as session:
        await _store(session, token, "link", staff, LINK_TTL)
    return f"{PREFIX}/sign-in?token={token}"


async def link_is_good(session: AsyncSession, token: str) -> bool:
    """Whether this link's token could still sign somebody in; uses nothing up."""
    if not TOKEN_SHAPE.fullmatch(token):
        return False
    found = await session.scalar(
        select(StaffSession.staff).where(
            StaffSession.token_hash == _hash(token),
            StaffSession.kind == "link",
            StaffSession.used_at.is_(None),
            StaffSession.expires_at > func.now(),
        )
    )
    return found is not None


async def sign_in(session: AsyncSession, token: str, old_session: str | None) -> SignedIn | None:
    """Use a link up and start a session under a new secret, ending the browser's old one; None for a bad link.

    Two uses at once are decided by the row's lock: the loser finds it used.
    """
    if not TOKEN_SHAPE.fullmatch(token):
        return None
    staff = await session.scalar(
        update(StaffSession)
        .where(
            StaffSession.token_hash == _hash(token),
            StaffSession.kind == "link",
            StaffSession.used_at.is_(None),
            StaffSession.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(StaffSession.staff)
    )
    if staff is None:
        return None
    if old_session is not None and TOKEN_SHAPE.fullmatch(old_session):
        await _end(session, _hash(old_session))
    await session.execute(delete(StaffSession).where(StaffSession.expires_at < func.now() - SESSION_TTL))
    fresh = secrets.token_urlsafe(TOKEN_BYTES)
    await _store(session, fresh, "session", staff, SESSION_TTL)
    await audit.record(session, f"staff:{staff}", "admin.signed_in", f"staff:{staff}")
    return SignedIn(fresh, staff)


async def sign_out(session: AsyncSession, staff: Staff) -> None:
    """End this session everywhere, at once."""
    await _end(session, staff.token_hash)
    await audit.record(session, staff.actor, "admin.signed_out", staff.actor)


async def who(session: AsyncSession, token: str | None) -> Staff | None:
    """The member of staff whose session this secret is, or None."""
    if token is None or not TOKEN_SHAPE.fullmatch(token):
        return None
    row = (
        await session.execute(
            select(StaffSession.staff, StaffSession.expires_at).where(
                StaffSession.token_hash == _hash(token),
                StaffSession.kind == "session",
                StaffSession.expires_at > func.now(),
            )
        )
    ).one_or_none()
    return Staff(row.staff, _hash(token), _csrf(token), row.expires_at) if row else None


async def still_in(session: AsyncSession, staff: Staff) -> bool:
    """Whether a session that was good when a stream began is good now."""
    found = await session.scalar(
        select(StaffSession.staff).where(
            StaffSession.token_hash == staff.token_hash,
            StaffSession.kind == "session",
            StaffSession.expires_at > func.now(),
        )
    )
    return found is not None


def cookie_of(request: web.Request, *, secure: bool) -> str | None:
    """The session secret the browser sent, if any."""
    return request.cookies.get(SECURE_COOKIE if secure else PLAIN_COOKIE)


def address_of(request: web.Request) -> str:
    """Whose address a request comes from, for counting: IPv6 by its /64, which is what one household has.

    A proxy of ours is on this machine or its private network, and puts the caller last into X-Forwarded-For;
    from anywhere else that header is the caller's own invention.
    """
    given = request.remote or ""
    try:
        address = ipaddress.ip_address(given)
        forwarded = request.headers.get("X-Forwarded-For", "")
        if forwarded and address.is_private:
            address = ipaddress.ip_address(forwarded.rpartition(",")[2].strip())
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def set_cookie(response: web.StreamResponse, token: str, *, secure: bool) -> None:
    """Hand the browser its session secret.

    SameSite is Lax, so that a link to a conversation opens from a colleague's message. What changes something is a
    POST: from elsewhere it comes without the cookie, and `is_ours` and the form's token guard it besides.
    """
    response.set_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        token,
        max_age=int(SESSION_TTL.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=secure,
        path=_cookie_path(secure),
    )


def clear_cookie(response: web.StreamResponse, *, secure: bool) -> None:
    """Take the session secret back."""
    response.del_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        httponly=True,
        samesite="Lax",
        secure=secure,
        path=_cookie_path(secure),
    )


def is_ours(request: web.Request, base_url: str) -> bool:
    """Whether a changing request was sent by one of our own pages, by what the browser says of its origin.

    Browsers tell the site of a request over https and on this machine; elsewhere the Origin header must name us.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin", "")
    if site is not None and site != "same-origin":
        return False
    if not origin:
        return site == "same-origin"
    return origin == _origin(base_url) or urlsplit(origin).netloc == request.host


def csrf_is_right(staff: Staff, given: object) -> bool:
    """Whether a form carries the token that pages of this session carry."""
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), staff.csrf.encode())


async def _store(
    session: AsyncSession, token: str, kind: Literal["link", "session"], staff: str, ttl: timedelta
) -> None:
    await session.execute(
        insert(StaffSession).values(token_hash=_hash(token), kind=kind, staff=staff, expires_at=func.now() + ttl)
    )


async def _end(session: AsyncSession, token_hash: bytes) -> None:
    await session.execute(
        delete(StaffSession).where(StaffSession.token_hash == token_hash, StaffSession.kind == "session")
    )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _csrf(token: str) -> str:
    """The form token of a session: derived from its secret, so that it needs no row and dies with it."""
    return base64.urlsafe_b64encode(hmac.digest(token.encode(), b"admin form", "sha256")).decode()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _cookie_path(secure: bool) -> str:
    return "/" if secure else PREFIX
