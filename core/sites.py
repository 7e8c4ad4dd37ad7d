"""The sites that embed the chat: how it looks there, which pages may open it, and the secrets that prove their users.

Everything is read where it is used, so that a change is in force in every process as soon as it is stored.
"""

import re
import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.colours import parse_colour
from core.conversations import reading
from core.db import Database, driver
from core.errors import LimitReached, UserError
from core.models import Site, SiteSecret, SiteUser
from core.origins import parse_origin
from core.people import one_line

DEFAULT = "default"
"""The site of pages that name none; it is always there."""
SITES_MAX = 50
ORIGINS_MAX = 50
"""Of one site."""
NAME_CHARS_MAX = 60
TITLE_CHARS_MAX = 40
GREETING_CHARS_MAX = 160
LANGUAGES = ("en", "sw")
POSITIONS = ("right", "left")
KEY = re.compile(r"[a-z0-9_]{1,40}")
KEY_BYTES = 9
SECRET_BYTES = 32
SECRETS_KEPT = 2
"""The one that is used, and the one before it while it is still good."""
OVERLAP = timedelta(hours=24)
"""How long the secret before is good after a new one was made."""
PURPOSE = "site_secret"
"""Of the key that seals them, which rotating the list of keys wraps anew."""

FIND = "SELECT key, name, title, colour, position, greeting, origins FROM site WHERE key = $1"
LISTED = "SELECT EXISTS (SELECT FROM site WHERE origins ? $1)"
SECRETS = """
SELECT id, sealed FROM site_secret
WHERE site = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY created_at DESC, id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Look:
    """A site as it is stored. `greeting` is by language, ours where it has none."""

    key: str
    name: str
    title: str
    colour: str
    position: str
    greeting: Mapping[str, str]
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What the owner wrote of a site, parsed."""

    name: str
    title: str
    colour: str
    position: str
    greeting: dict[str, str]
    origins: list[str]

    @classmethod
    def parse(cls, form: Mapping[str, str]) -> Self:
        """Read a form; raises UserError with what is wrong and what would do."""
        position = form.get("position", "")
        if position not in POSITIONS:
            raise UserError("The launcher is at the right or at the left.")
        origins = [parse_origin(line) for line in re.split(r"[\s,]+", form.get("origins", "")) if line]
        if len(origins) > ORIGINS_MAX:
            raise UserError(f"A site has at most {ORIGINS_MAX} origins.")
        greeting = {
            language: line
            for language in LANGUAGES
            if (line := _line(form, f"greeting_{language}", "greeting", GREETING_CHARS_MAX))
        }
        name, title = _line(form, "name", "name", NAME_CHARS_MAX), _line(form, "title", "title", TITLE_CHARS_MAX)
        if not name or not title:
            raise UserError("A site needs a name for you, and a title for its visitors.")
        colour = parse_colour(form.get("colour", ""))
        return cls(name, title, colour, position, greeting, list(dict.fromkeys(origins)))


@dataclass(frozen=True, slots=True)
class Secret:
    """An identity secret as the admin shows it: never the secret. `expires_at` is set once there is a newer one."""

    created_at: datetime
    expires_at: datetime | None


async def find_site(db: Database, key: str) -> Look | None:
    """The site of this key. Raises StoreUnavailable."""
    if KEY.fullmatch(key) is None:
        return None
    async with reading(db) as connection:
        row = await connection.fetchrow(FIND, key)
    return None if row is None else _look(row)


async def is_listed(db: Database, origin: str) -> bool:
    """Whether any site lists this origin. Raises StoreUnavailable."""
    async with reading(db) as connection:
        return bool(await connection.fetchval(LISTED, origin))


async def identity_secrets(db: Database, key: str, now: datetime) -> list[str]:
    """The secrets that prove who a site's users are, the newest first. Raises StoreUnavailable and KeysMissing."""
    async with reading(db) as connection:
        rows = await connection.fetch(SECRETS, key, now, SECRETS_KEPT)
        if not rows:
            return []
        sealing = await db.keys.of_purpose(connection, PURPOSE)
    return [sealing.open(_what(row["id"]), row["sealed"]).hex() for row in rows]


async def all_sites(session: AsyncSession) -> list[Look]:
    """Every site, the default one first."""
    rows = await session.scalars(select(Site).order_by(Site.key != DEFAULT, Site.created_at, Site.key))
    return [Look(r.key, r.name, r.title, r.colour, r.position, r.greeting, tuple(r.origins)) for r in rows]


async def secrets_of(session: AsyncSession, key: str, now: datetime) -> Sequence[Secret]:
    """The identity secrets of a site that are good now, the newest first."""
    good = (SiteSecret.expires_at.is_(None)) | (SiteSecret.expires_at > now)
    rows = await session.scalars(
        select(SiteSecret).where(SiteSecret.site == key, good).order_by(SiteSecret.created_at.desc())
    )
    return [Secret(row.created_at, row.expires_at) for row in rows]


async def create_site(session: AsyncSession, draft: Draft) -> str:
    """A new site; its key. Raises LimitReached."""
    # Held so that two at once are counted one after the other.
    await session.execute(select(Site.key).where(Site.key == DEFAULT).with_for_update())
    if (await session.scalar(select(func.count()).select_from(Site)) or 0) >= SITES_MAX:
        raise LimitReached(f"There are {SITES_MAX} sites, which is as many as can be kept.")
    key = f"site_{random.token_hex(KEY_BYTES)}"
    session.add(Site(key=key, **_columns(draft)))
    await session.flush()
    return key


async def change_site(session: AsyncSession, key: str, draft: Draft) -> None:
    """Give a site what the draft says. Raises LookupError where there is none."""
    changed = await session.scalar(
        update(Site).where(Site.key == key).values(updated_at=func.now(), **_columns(draft)).returning(Site.key)
    )
    if changed is None:
        raise LookupError
    await _tell(session)


async def delete_site(session: AsyncSession, key: str) -> None:
    """Forget a site, its secrets, and who was proved there: nobody can connect to it any more. What was said stays.

    Raises UserError for the default one, and LookupError where there is none.
    """
    if key == DEFAULT:
        raise UserError("The default site is that of our own pages, and stays.")
    if await session.scalar(select(Site.key).where(Site.key == key).with_for_update()) is None:
        raise LookupError
    await session.execute(delete(SiteSecret).where(SiteSecret.site == key))
    await session.execute(delete(SiteUser).where(SiteUser.site == key))
    await session.execute(delete(Site).where(Site.key == key))
    await _tell(session)


async def _tell(session: AsyncSession) -> None:
    """Let every web process look again at who may be connected, once this is committed."""
    await session.execute(text("SELECT pg_notify('mathia', 'site')"))


async def rotate_secret(session: AsyncSession, key: str, now: datetime) -> str:
    """A new identity secret, which exists nowhere readable from now on; the one before is good for OVERLAP.

    Raises LookupError where there is no such site, and KeysMissing.
    """
    if await session.scalar(select(Site.key).where(Site.key == key).with_for_update()) is None:
        raise LookupError
    held = (
        await session.scalars(
            select(SiteSecret).where(SiteSecret.site == key).order_by(SiteSecret.created_at.desc(), SiteSecret.id)
        )
    ).all()
    for place, old in enumerate(held):
        if place == 0 and (old.expires_at is None or old.expires_at > now):
            old.expires_at = min(old.expires_at or now + OVERLAP, now + OVERLAP)
        else:
            await session.execute(delete(SiteSecret).where(SiteSecret.id == old.id))
    secret, made = random.token_bytes(SECRET_BYTES), uuid4()
    connection = await driver(session)
    sealing = await connection.keys.of_purpose(connection, PURPOSE)
    session.add(SiteSecret(id=made, site=key, sealed=sealing.seal(_what(made), secret), created_at=now))
    await session.flush()
    return secret.hex()


def _what(id_: UUID) -> bytes:
    return b"site_secret.sealed\0" + id_.bytes


def _columns(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name, "title": draft.title, "colour": draft.colour, "position": draft.position,
        "greeting": draft.greeting, "origins": draft.origins,
    }  # fmt: skip


def _look(row: Any) -> Look:
    return Look(
        row["key"], row["name"], row["title"], row["colour"], row["position"], row["greeting"], tuple(row["origins"])
    )


def _line(form: Mapping[str, str], field: str, what: str, chars_max: int) -> str:
    line = one_line(form.get(field, ""))
    if len(line) > chars_max:
        raise UserError(f"The {what} has at most {chars_max} characters.")
    return line
