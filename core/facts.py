"""What people told of themselves: preferences and goals, in their own words, sealed, and theirs alone.

What is forgotten can be had back for UNDO_WITHIN; then it is deleted, at the next call here or within a day.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import RoomKeys
from core.db import Database, driver
from core.language import month
from core.models import Conversation, Fact
from core.people import current, hold, one_line

FACTS_MAX = 200
"""What is kept of one person."""
FACT_CHARS_MAX = 300
UNDO_WITHIN = timedelta(hours=1)
DELETED_MAX = 10_000

Kind = Literal["preference", "goal"]
KINDS: tuple[Kind, ...] = ("preference", "goal")

SHOWN_MAX = 30
"""How many of a kind are listed."""
HEAD = {
    "en": {"preference": "What you prefer:", "goal": "Your goals:"},
    "sw": {"preference": "Unachopendelea:", "goal": "Malengo yako:"},
}
MORE = {"en": "… and {count} more.", "sw": "… na mengine {count}."}
WHERE = {
    "en": {"web": "said on the web", "whatsapp": "said on WhatsApp", "telegram": "said on Telegram"},
    "sw": {"web": "ulisema wavuti", "whatsapp": "ulisema WhatsApp", "telegram": "ulisema Telegram"},
}

OLD = """
DELETE FROM fact WHERE id IN (SELECT id FROM fact WHERE ended_at < clock_timestamp() - $1::interval LIMIT $2)
"""


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did: what is known again, and what is not any more."""

    back: Sequence[Fact]
    gone: Sequence[Fact]


def as_fact(fact_id: UUID, kind: str) -> bytes:
    """What its words are sealed as."""
    return b"fact\0%b\0" % kind.encode() + fact_id.bytes


async def known(session: AsyncSession, person_id: UUID, kind: Kind | None = None) -> list[Fact]:
    """What is known of a person, oldest first, with its words; without what was said in rooms that were erased."""
    mine = select(Fact).where(Fact.person_id == current(person_id), Fact.ended_at.is_(None))
    if kind is not None:
        mine = mine.where(Fact.kind == kind)
    found = (await session.scalars(mine.order_by(Fact.created_at, Fact.id).limit(FACTS_MAX))).all()
    return await _opened(session, found)


async def places(session: AsyncSession, facts: Sequence[Fact]) -> dict[UUID, str]:
    """On which channel each was said, by their conversations."""
    ids = {fact.conversation_id for fact in facts}
    rows = await session.execute(select(Conversation.id, Conversation.channel).where(Conversation.id.in_(ids)))
    return {row.id: row.channel for row in rows}


async def remember(
    session: AsyncSession, person_id: UUID, conversation_id: UUID, kind: Kind, words: str, *, key: str, now: datetime,
    instead_of: Fact | None = None,
) -> Fact | None:  # fmt: skip
    """Keep words of a person; what is known already is not kept twice. None when FACTS_MAX are known.

    The same `key` keeps once. `instead_of` ends with the same call.
    """
    owner = await hold(session, person_id)
    earlier = await session.scalar(select(Fact).where(Fact.person_id == owner, Fact.key == key))
    if earlier is not None:
        return (await _opened(session, [earlier]) or [earlier])[0]
    words = one_line(words)
    mine = await known(session, owner)
    same = next((fact for fact in mine if fact.kind == kind and plain(fact.words) == plain(words)), None)
    if same is not None:
        return same
    if instead_of is None and len(mine) >= FACTS_MAX:
        return None
    if instead_of is not None:
        _end(instead_of, key, now)
    fact_id = uuid4()
    connection = await driver(session)
    keys = await connection.keys.current(connection, [conversation_id])
    sealed: bytes = keys[conversation_id].seal(as_fact(fact_id, kind), words.encode())
    fact = Fact(
        id=fact_id, person_id=owner, conversation_id=conversation_id, kind=kind, source="stated", sealed=sealed,
        key=key, created_at=now,
    )  # fmt: skip
    fact.words = words
    session.add(fact)
    await _delete_old(session, owner, now)
    return fact


async def ended_by(session: AsyncSession, person_id: UUID, key: str) -> list[Fact]:
    """What a call ended, when it is made again."""
    mine = select(Fact).where(Fact.person_id == current(person_id), Fact.ended_key == key)
    return await _opened(session, (await session.scalars(mine)).all())


async def forget(session: AsyncSession, fact: Fact, *, key: str, now: datetime) -> None:
    """End what is known; the caller holds the person."""
    _end(fact, key, now)
    await _delete_old(session, fact.person_id, now)


async def undo(session: AsyncSession, person_id: UUID, *, key: str, now: datetime) -> Undone:
    """Take back the last call that kept or ended something within UNDO_WITHIN; nothing where there is none.

    The same `key` takes back once. What an undo touched takes no part in the next one.
    """
    owner = await hold(session, person_id)
    mine = select(Fact).where(Fact.person_id == owner)
    touched = (await session.scalars(mine.where(Fact.undo_key == key))).all()
    if not touched:
        recent = (await session.scalars(mine.where(Fact.undo_key.is_(None)))).all()
        begun = [(fact.created_at, fact.key) for fact in recent]
        ended = [(fact.ended_at, fact.ended_key) for fact in recent if fact.ended_at and fact.ended_key]
        last = max((one for one in [*begun, *ended] if one[0] > now - UNDO_WITHIN), default=None)
        if last is None:
            return Undone((), ())
        touched = [fact for fact in recent if last[1] in (fact.key, fact.ended_key)]
        for fact in touched:
            fact.undo_key = key
            if fact.ended_key == last[1]:
                fact.ended_at = fact.ended_key = None
            else:
                fact.ended_at = now
    opened = await _opened(session, touched)
    return Undone(
        [fact for fact in opened if fact.ended_at is None], [fact for fact in opened if fact.ended_at is not None]
    )


async def delete_old(db: Database) -> None:
    """Delete what ended longer ago than UNDO_WITHIN."""
    while (await db.pool.execute(OLD, UNDO_WITHIN, DELETED_MAX)) == f"DELETE {DELETED_MAX}":
        pass


def described(
    found: Sequence[Fact], where: Mapping[UUID, str], *, language: str, zone: ZoneInfo, now: datetime
) -> str | None:
    """What is known, by kind, each with its number, where and when it was said; None for nothing."""
    language = language if language in HEAD else "en"
    blocks = []
    for kind in KINDS:
        mine = [fact for fact in found if fact.kind == kind]
        if not mine:
            continue
        lines = []
        for number, fact in enumerate(mine[:SHOWN_MAX], 1):
            local = fact.created_at.astimezone(zone)
            year = "" if local.year == now.astimezone(zone).year else f" {local.year}"
            channel = where.get(fact.conversation_id, "")
            said = WHERE[language].get(channel, channel)
            lines.append(f"{number}. {fact.words} ({said}, {local.day} {month(local.month).to(language)}{year})")
        if len(mine) > SHOWN_MAX:
            lines.append(MORE[language].format(count=len(mine) - SHOWN_MAX))
        blocks.append("\n".join((HEAD[language][kind], *lines)))
    return "\n".join(blocks) or None


def plain(words: str) -> str:
    """Words without case and signs, to compare them."""
    return " ".join(re.findall(r"\w+", words.casefold()))


def matching(facts: Sequence[Fact], words: str) -> list[Fact]:
    """Those that have all these words in them."""
    wanted = set(plain(words).split())
    return [fact for fact in facts if wanted and wanted <= set(plain(fact.words).split())]


def _end(fact: Fact, key: str, now: datetime) -> None:
    fact.ended_at, fact.ended_key, fact.undo_key = now, key, None


async def _delete_old(session: AsyncSession, owner: UUID, now: datetime) -> None:
    await session.execute(delete(Fact).where(Fact.person_id == owner, Fact.ended_at < now - UNDO_WITHIN))


async def _opened(session: AsyncSession, facts: Sequence[Fact]) -> list[Fact]:
    """Those that can still be read, with their words."""
    connection = await driver(session)
    keys: RoomKeys = connection.keys
    values = [(fact.conversation_id, as_fact(fact.id, fact.kind), fact.sealed) for fact in facts]
    readable = []
    for fact, words in zip(facts, await keys.opened(connection, values), strict=True):
        if words is not None:
            fact.words = words.decode()
            readable.append(fact)
    return readable
