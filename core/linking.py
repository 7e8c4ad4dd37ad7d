"""Linking: a code shown in one chat and typed in another makes both one person's.

The person that was shown the code is kept. Codes are used once, within ten minutes; wrong ones are counted in
PostgreSQL for each identity that types them. Persons are locked in the order of their ids before anything is read that
decides, so that any number of links at once end as if they had come one after the other.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, people, renumber
from core.codes import new_code
from core.errors import Conflict, Erased, LimitReached, UserError
from core.language import Saying
from core.messages import Address, ChannelName
from core.models import Identity, LinkCode, LinkTry, Person

CODE_LIFE = timedelta(minutes=10)
CODES_MAX = 20
"""Codes shown to one person an hour."""
TRIES_MAX = 5
"""Wrong codes an identity may type within TRIES_WITHIN; further ones are not looked at, right or wrong."""
TRIES_WITHIN = timedelta(hours=1)
IDENTITIES_MAX = 20
"""Identities of one person."""
LOCKS_MAX = 5
"""How often the persons to lock are looked up anew because somebody changed them meanwhile."""
KEPT_FOR = timedelta(days=1)
"""How long ended codes and wrong tries are kept."""

ENOUGH_CODES = Saying(
    "I have shown you {count} codes within an hour. Ask again in a while.",
    "Nimekuonyesha nambari {count} ndani ya saa moja. Omba tena baada ya muda.",
)
ENOUGH_CHATS = Saying(
    "One account joins at most {count} chats. Unlink one first.",
    "Akaunti moja huunganisha magumzo {count} tu. Tenganisha moja kwanza.",
)
UNKNOWN = Saying("I do not know this chat yet. Write to me first.", "Bado silijui gumzo hili. Niandikie kwanza.")


class Outcome(StrEnum):
    """What became of a typed code."""

    LINKED = "linked"
    WRONG = "wrong"
    """Unknown, used, superseded or too old: nobody is told which."""
    LOCKED = "locked"
    OWN = "own"
    """Typed in the chat that shows it; it goes on to be good elsewhere."""
    ALREADY = "already"
    """Both chats are the same person's already."""
    SETTLED = "settled"
    """Both are, and it was typed where a number had changed hands: who writes there is known again."""
    FROZEN = "frozen"
    """A number changed hands, and the code is no proof of who writes from it."""


@dataclass(frozen=True, slots=True)
class Used:
    """What became of a typed code; `shown` is the chat it was shown in, its channel and conversation, once linked."""

    outcome: Outcome
    channel: ChannelName | None = None
    conversation_id: UUID | None = None
    language: str = "en"
    """What the one person speaks."""
    until: datetime | None = None
    """When the oldest of too many wrong tries is forgotten."""


async def show_code(
    session: AsyncSession, sender: Address, conversation_id: UUID, now: datetime, offered: Container[str] | None = None
) -> str:
    """A new code for this chat's person, which ends any earlier one; raises LimitReached.

    Raises Frozen where the chat's number changed hands: a code shown there would make whoever has it now that person.
    """
    identity = await find_identity(session, sender)
    if await renumber.frozen_since(session, [identity]):
        raise renumber.Frozen(offered)
    held = await _lock(session, [identity])
    mine = select(Identity.id).where(Identity.person_id == held[identity]).scalar_subquery()
    await session.execute(delete(LinkCode).where(LinkCode.identity_id.in_(mine), LinkCode.created_at < now - KEPT_FOR))
    recent = select(func.count()).where(LinkCode.identity_id.in_(mine), LinkCode.created_at > now - TRIES_WITHIN)
    if (await session.scalar(recent) or 0) >= CODES_MAX:
        raise LimitReached(ENOUGH_CODES.filled(count=CODES_MAX))
    await _end(session, [held[identity]], now)
    code = new_code(secrets.choice)
    session.add(
        LinkCode(
            id=uuid4(), identity_id=identity, conversation_id=conversation_id, code_hash=_hash(code), created_at=now,
            expires_at=now + CODE_LIFE,
        )
    )  # fmt: skip
    await session.flush()
    return code


async def use_code(session: AsyncSession, sender: Address, code: str, now: datetime, key: str) -> Used:
    """Join the person who types a code to the one it was shown to. With the same `key` again, the same outcome."""
    identity = await find_identity(session, sender)
    digest = _hash(code)
    shown = await session.scalar(select(LinkCode).where(LinkCode.code_hash == digest))
    held = await _lock(session, [identity, *([shown.identity_id] if shown else [])])
    if shown is not None:
        await session.refresh(shown)
        if shown.used_key == key:
            return await _linked(session, shown)
    locked = await _locked_until(session, identity, now, key)
    if locked is not None:
        return Used(Outcome.LOCKED, until=locked)
    if (
        shown is None
        or shown.ended_at is not None
        or shown.expires_at <= now
        or not hmac.compare_digest(shown.code_hash, digest)
    ):
        await session.execute(delete(LinkTry).where(LinkTry.identity_id == identity, LinkTry.at < now - KEPT_FOR))
        await session.execute(insert(LinkTry).values(key=key, identity_id=identity, at=now).on_conflict_do_nothing())
        return Used(Outcome.WRONG)
    if shown.identity_id == identity:
        return Used(Outcome.OWN)
    kept, gone = held[shown.identity_id], held[identity]
    frozen = await renumber.frozen_since(session, [identity, shown.identity_id])
    if frozen and not await _proves(session, shown.identity_id, identity, frozen, one_person=kept == gone):
        return Used(Outcome.FROZEN)
    if kept != gone:
        counted = select(func.count()).where(or_(Identity.person_id == kept, Identity.person_id == gone))
        if (await session.scalar(counted) or 0) > IDENTITIES_MAX:
            raise LimitReached(ENOUGH_CHATS.filled(count=IDENTITIES_MAX))
    shown.ended_at, shown.used_key = now, key
    await session.flush()
    await _end(session, [kept, gone], now)
    if frozen:
        await renumber.lift(session, sender.channel, sender.account, sender.person, f"person:{kept}")
    if kept == gone:
        return Used(Outcome.SETTLED if frozen else Outcome.ALREADY)
    await people.merge(session, kept, gone)
    await audit.record(
        session, f"person:{kept}", "account.linked", f"identity:{identity}",
        {"person": str(kept), "was": str(gone), "shown_to": str(shown.identity_id)},
    )  # fmt: skip
    return await _linked(session, shown)


async def spoil(session: AsyncSession, code: str, now: datetime) -> None:
    """End a code that others have seen: it was written in a group."""
    await session.execute(
        update(LinkCode).where(LinkCode.code_hash == _hash(code), LinkCode.ended_at.is_(None)).values(ended_at=now)
    )


async def join(session: AsyncSession, keeper: UUID, other: UUID, now: datetime, why: str) -> bool:
    """Make the persons of two identities one, as a used code does, for whoever has proved to be both; `why` is audited.

    False when they are one already, or would have too many identities.
    """
    held = await _lock(session, [keeper, other])
    kept, gone = held[keeper], held[other]
    if kept == gone:
        return False
    counted = select(func.count()).where(or_(Identity.person_id == kept, Identity.person_id == gone))
    if (await session.scalar(counted) or 0) > IDENTITIES_MAX:
        return False
    await _end(session, [kept, gone], now)
    await people.merge(session, kept, gone)
    await audit.record(session, f"person:{kept}", why, f"identity:{other}", {"person": str(kept), "was": str(gone)})
    return True


async def unlink(session: AsyncSession, sender: Address, conversation_id: UUID, now: datetime) -> bool:
    """Give this chat a person of its own, with what was set in it; False when it is alone already."""
    found = await find_identity(session, sender)
    held = await _lock(session, [found])
    person = held[found]
    chats = select(func.count()).where(Identity.person_id == person, Identity.channel != ChannelName.EMAIL)
    if (await session.scalar(chats) or 0) < 2:
        return False
    await _end(session, [person], now)
    identity = (await session.execute(select(Identity).where(Identity.id == found))).scalar_one()
    alone = await people.part(session, identity, conversation_id)
    await audit.record(
        session, f"person:{person}", "account.unlinked", f"identity:{found}",
        {"person": str(alone), "was": str(person)},
    )  # fmt: skip
    return True


async def find_identity(session: AsyncSession, sender: Address) -> UUID:
    """The identity that a message came from; raises UserError where there is none."""
    found: UUID | None = await session.scalar(
        select(Identity.id).where(
            Identity.channel == sender.channel.value,
            Identity.account == sender.account,
            Identity.provider_id == sender.person,
        )
    )
    if found is None:
        raise UserError(UNKNOWN)
    return found


async def _proves(
    session: AsyncSession, shown_to: UUID, typed_by: UUID, frozen: Mapping[UUID, datetime], *, one_person: bool
) -> bool:
    """Whether a code says who writes from a number that changed hands.

    It does when it was shown to the very person in a chat that is theirs for certain, or when nobody had written from
    the number before: else what its former holder left here would become somebody else's.
    """
    if shown_to in frozen:
        return False
    if one_person:
        return True
    created: datetime | None = await session.scalar(select(Identity.created_at).where(Identity.id == typed_by))
    return created is not None and created > frozen[typed_by]


async def _lock(session: AsyncSession, identities: Collection[UUID]) -> dict[UUID, UUID]:
    """The person of each identity, locked in id order with those merged into them.

    Raises Conflict when they keep changing, and Erased where one was.
    """
    for _ in range(LOCKS_MAX):
        # Locks taken for nothing are let go of, so that the next ones are in order again.
        attempt = await session.begin_nested()
        before = await _people_of(session, identities)
        persons = set(before.values())
        rows = select(Person.id).where(or_(Person.id.in_(persons), Person.merged_into.in_(persons))).order_by(Person.id)
        locked = (await session.scalars(rows.with_for_update())).all()
        if await _people_of(session, identities) == before and (await session.scalars(rows)).all() == locked:
            await attempt.commit()
            if await session.scalar(select(exists().where(Person.id.in_(persons), Person.erasure_id.is_not(None)))):
                raise Erased
            return before
        await attempt.rollback()
    raise Conflict("These accounts are being linked by somebody else. Try again.")


async def _people_of(session: AsyncSession, identities: Collection[UUID]) -> dict[UUID, UUID]:
    rows = await session.execute(select(Identity.id, Identity.person_id).where(Identity.id.in_(identities)))
    return {row.id: row.person_id for row in rows}


async def _end(session: AsyncSession, persons: Collection[UUID], now: datetime) -> None:
    """No code that was shown to these persons is good any more."""
    mine = select(Identity.id).where(Identity.person_id.in_(persons)).scalar_subquery()
    await session.execute(
        update(LinkCode).where(LinkCode.identity_id.in_(mine), LinkCode.ended_at.is_(None)).values(ended_at=now)
    )


async def _locked_until(session: AsyncSession, identity: UUID, now: datetime, key: str) -> datetime | None:
    """Until when an identity that typed too many wrong codes is not listened to; None when it may try."""
    wrong = select(LinkTry.at).where(
        LinkTry.identity_id == identity, LinkTry.at > now - TRIES_WITHIN, LinkTry.at <= now, LinkTry.key != key
    )
    found = (await session.scalars(wrong.order_by(LinkTry.at.desc()).limit(TRIES_MAX))).all()
    return found[-1] + TRIES_WITHIN if len(found) == TRIES_MAX else None


async def _linked(session: AsyncSession, shown: LinkCode) -> Used:
    row = (
        await session.execute(
            select(Identity.channel, Person.language)
            .join(Person, Person.id == Identity.person_id)
            .where(Identity.id == shown.identity_id)
        )
    ).one()
    return Used(Outcome.LINKED, ChannelName(row.channel), shown.conversation_id, row.language)


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
