"""What people told of themselves: preferences, goals, their name, in their own words, sealed, and theirs alone.

What is forgotten can be had back for UNDO_WITHIN, contacts too; then it is deleted, at the next call here or within a
day. A name is kept twice: as a fact, which says where it was told, and in the person's row, which every turn reads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto import RoomKeys
from core.db import Database, driver
from core.language import month
from core.models import Contact, Conversation, Fact, Person
from core.names import names_of
from core.people import current, hold, one_line, opened_contacts

FACTS_MAX = 200
"""What is kept of one person."""
FACT_CHARS_MAX = 300
UNDO_WITHIN = timedelta(hours=1)
DELETED_MAX = 10_000

Kind = Literal["preference", "goal"]
Kept = Literal["preference", "goal", "name"]
KINDS: tuple[Kind, ...] = ("preference", "goal")
"""What is listed, in this order."""

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

OLD = tuple(
    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table}"  # noqa: S608  ours
    " WHERE ended_at < clock_timestamp() - $1::interval LIMIT $2)"
    for table in ("fact", "contact")
)


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did, in words: what is known again, and what is not any more."""

    back: Sequence[str]
    gone: Sequence[str]


def as_fact(fact_id: UUID, kind: str) -> bytes:
    """What its words are sealed as."""
    return b"fact\0%b\0" % kind.encode() + fact_id.bytes


async def known(session: AsyncSession, person_id: UUID, kind: Kept | None = None) -> list[Fact]:
    """What is known of a person, of all KINDS or of one, oldest first, with its words; without what was said in rooms
    that were erased."""
    kinds = KINDS if kind is None else (kind,)
    mine = select(Fact).where(Fact.person_id == current(person_id), Fact.ended_at.is_(None), Fact.kind.in_(kinds))
    found = (await session.scalars(mine.order_by(Fact.created_at, Fact.id).limit(FACTS_MAX))).all()
    return await _opened(session, found)


async def name_told(session: AsyncSession, person_id: UUID) -> Fact | None:
    """The name that a person gave last; None where they gave none, or it was forgotten."""
    mine = select(Fact).where(Fact.person_id == current(person_id), Fact.ended_at.is_(None), Fact.kind == "name")
    found = (await session.scalars(mine.order_by(Fact.created_at.desc(), Fact.id).limit(1))).all()
    return next(iter(await _opened(session, found)), None)


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
    return await _add(session, owner, conversation_id, kind, words, key, now)


async def be_called(
    session: AsyncSession, person_id: UUID, conversation_id: UUID, name: str | None, *, key: str, now: datetime
) -> str | None:
    """Keep what a person wants to be called, or with None forget it; what they were called before.

    The same `key` does it once.
    """
    owner = await hold(session, person_id)
    ended = await ended_by(session, owner, key)
    if ended or await session.scalar(select(Fact.id).where(Fact.person_id == owner, Fact.key == key)):
        return ended[0].words if ended else None
    names = await names_of(await driver(session))
    called = names.open(await session.scalar(select(Person.name).where(Person.id == owner)))
    told = await known(session, owner, "name")
    if not told and called is not None:
        # What their channel tells of them can be had back, too.
        told = [await _add(session, owner, conversation_id, "name", called, f"{key}:profile", now, "profile")]
    for fact in told:
        _end(fact, key, now)
    if name is not None:
        await _add(session, owner, conversation_id, "name", name, key, now)
    await _call(session, owner, name)
    return called


async def _call(session: AsyncSession, owner: UUID, name: str | None) -> None:
    names = await names_of(await driver(session))
    await session.execute(
        update(Person).where(Person.id == owner).values(name=names.seal(name), name_index=names.index(name))
    )


async def _add(
    session: AsyncSession, owner: UUID, conversation_id: UUID, kind: str, words: str, key: str, now: datetime,
    source: str = "stated",
) -> Fact:  # fmt: skip
    fact_id = uuid4()
    connection = await driver(session)
    keys = await connection.keys.current(connection, [conversation_id])
    sealed: bytes = keys[conversation_id].seal(as_fact(fact_id, kind), words.encode())
    fact = Fact(
        id=fact_id, person_id=owner, conversation_id=conversation_id, kind=kind, source=source, sealed=sealed,
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


async def undo(session: AsyncSession, person_id: UUID, *, key: str, now: datetime, looks: bool = False) -> Undone:
    """Take back the last call that kept or ended something within UNDO_WITHIN; nothing where there is none.

    The same `key` takes back once. What an undo touched takes no part in the next one. Who only `looks` is told what
    it would be, and nothing is taken back.
    """
    owner = await hold(session, person_id)
    mine, whom = select(Fact).where(Fact.person_id == owner), select(Contact).where(Contact.person_id == owner)
    touched = (await session.scalars(mine.where(Fact.undo_key == key))).all()
    met = (await session.scalars(whom.where(Contact.undo_key == key))).all()
    if not touched and not met:
        recent = (await session.scalars(mine.where(Fact.undo_key.is_(None)))).all()
        gone = (await session.scalars(whom.where(Contact.ended_at > now - UNDO_WITHIN))).all()
        begun = [(fact.created_at, fact.key) for fact in recent]
        ended = [(fact.ended_at, fact.ended_key) for fact in recent if fact.ended_at and fact.ended_key]
        ended += [(contact.ended_at, contact.ended_key) for contact in gone if contact.ended_at and contact.ended_key]
        last = max((one for one in [*begun, *ended] if one[0] > now - UNDO_WITHIN), default=None)
        if last is None:
            return Undone((), ())
        touched = [fact for fact in recent if last[1] in (fact.key, fact.ended_key)]
        met = [contact for contact in gone if contact.ended_key == last[1]]
        if looks:
            facts, again = await _opened(session, touched), [fact.ended_key == last[1] for fact in touched]
            back = [fact.words for fact, is_back in zip(facts, again, strict=True) if is_back]
            kept = [fact.words for fact, is_back in zip(facts, again, strict=True) if not is_back]
            return Undone([*back, *(contact.name for contact in await opened_contacts(session, met))], kept)
        for contact in met:
            contact.undo_key, contact.ended_at, contact.ended_key = key, None, None
        for fact in touched:
            fact.undo_key = key
            if fact.ended_key == last[1]:
                fact.ended_at = fact.ended_key = None
            else:
                fact.ended_at = now
    facts = await _opened(session, touched)
    if any(fact.kind == "name" for fact in touched):
        await session.flush()
        told = await name_told(session, owner)
        await _call(session, owner, told.words if told else None)
    back = [fact.words for fact in facts if fact.ended_at is None]
    return Undone(
        [*back, *(contact.name for contact in await opened_contacts(session, met))],
        [fact.words for fact in facts if fact.ended_at is not None],
    )


async def forget_all(session: AsyncSession, person_id: UUID, conversation_id: UUID, *, key: str, now: datetime) -> None:
    """End everything that a person told: preferences, goals, their name, and whom they know."""
    owner = await hold(session, person_id)
    await be_called(session, owner, conversation_id, None, key=key, now=now)
    mine = (Fact.person_id == owner) & Fact.ended_at.is_(None)
    theirs = (Contact.person_id == owner) & Contact.ended_at.is_(None)
    ended = {"ended_at": now, "ended_key": key, "undo_key": None}
    await session.execute(update(Fact).where(mine).values(ended))
    await session.execute(update(Contact).where(theirs).values(ended))


async def delete_old(db: Database) -> None:
    """Delete what ended longer ago than UNDO_WITHIN."""
    for statement in OLD:
        while (await db.pool.execute(statement, UNDO_WITHIN, DELETED_MAX)) == f"DELETE {DELETED_MAX}":
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
            lines.append(f"{number}. {fact.words} ({source(fact, where, language=language, zone=zone, now=now)})")
        if len(mine) > SHOWN_MAX:
            lines.append(MORE[language].format(count=len(mine) - SHOWN_MAX))
        blocks.append("\n".join((HEAD[language][kind], *lines)))
    return "\n".join(blocks) or None


def source(fact: Fact, where: Mapping[UUID, str], *, language: str, zone: ZoneInfo, now: datetime) -> str:
    """Where and when something was said: "said on WhatsApp, 24 Nov"."""
    local = fact.created_at.astimezone(zone)
    year = "" if local.year == now.astimezone(zone).year else f" {local.year}"
    channel = where.get(fact.conversation_id, "")
    said = WHERE[language if language in WHERE else "en"].get(channel, channel)
    return f"{said}, {local.day} {month(local.month).to(language)}{year}"


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
    for table in (Fact, Contact):
        await session.execute(delete(table).where(table.person_id == owner, table.ended_at < now - UNDO_WITHIN))


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
