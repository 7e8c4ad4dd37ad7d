"""Numbers that changed hands: who writes from one may be somebody else, so nothing that matters is done there.

Nothing is paid there, nothing that has to be confirmed is done, and what its former holder keeps here is neither told
nor changed. A provider says so by itself, of the old number and the new, or shows another lasting id behind a number it
showed before. Ordinary talk goes on. It ends when the person types in that chat a code that is shown where they are
signed in (core/linking.py), or when a member of staff is sure who writes.
"""

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import structlog
from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.actions import Action, Effect, Person
from core.db import Database
from core.errors import UserError
from core.language import Saying
from core.messages import Address, ChannelName
from core.models import Identity, Renumbering

log = structlog.get_logger()

KNOWN_MAX = 50_000
"""How many numbers a process remembers the lasting ids of, so that they are not looked up with each message."""

OPEN: Final = frozenset({"link_account", "set_language", "talk_to_human"})
"""What whoever has the number now may do of what is not for everybody: it tells nothing, and leads back."""

REFUSAL: Final = Saying(
    "WhatsApp says that this number has changed hands, so I do not do that here yet.",
    "WhatsApp inasema namba hii imebadilisha mwenyewe, kwa hiyo bado sifanyi hilo hapa.",
)
WAYS_OUT: Final = {
    "link_account": Saying(
        "Write “link my account” where you are signed in, on the web page or in another chat, and type its code here.",
        "Andika “unganisha akaunti yangu” ulikoingia, kwenye ukurasa wa wavuti au gumzo lingine, kisha andika nambari"
        " yake hapa.",
    ),
    "talk_to_human": Saying("You can always ask for a human.", "Unaweza kuomba mtu wakati wowote."),
}
"""What leads back, by the action that it takes."""

How = Literal["number", "user_id"]

SEEN = """
SELECT i.id, i.provider_id, i.provider_user_id,
       ARRAY(SELECT r.was_user_id FROM renumbering r
             WHERE (r.channel, r.account, r.provider_id) = (i.channel, i.account, i.provider_id)
               AND r.was_user_id IS NOT NULL) AS former
FROM identity i WHERE i.channel = $1 AND i.account = $2 AND i.provider_id = ANY($3::text[])
ORDER BY i.id FOR NO KEY UPDATE
"""
HOLD = """
SELECT FROM person WHERE id IN (SELECT person_id FROM identity
                                WHERE channel = $1 AND account = $2 AND provider_id = ANY($3::text[]))
ORDER BY id FOR NO KEY UPDATE
"""
"""A confirmation is given before the number changed, or after: core/confirm.py locks the same rows."""
MARK = """
INSERT INTO renumbering (channel, account, provider_id, event_id, how, was_user_id)
SELECT $1, $2, p, $4, $5, $6 FROM unnest($3::text[]) p ORDER BY p
ON CONFLICT DO NOTHING RETURNING provider_id
"""
END_CONFIRMATIONS = """
UPDATE confirmation SET state = 'superseded', ended_at = clock_timestamp() WHERE state = 'pending' AND identity_id IN
    (SELECT id FROM identity WHERE channel = $1 AND account = $2 AND provider_id = ANY($3::text[]))
"""
END_CODES = """
UPDATE link_code SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND identity_id IN
    (SELECT id FROM identity WHERE channel = $1 AND account = $2 AND provider_id = ANY($3::text[]))
"""
AUDIT = """
INSERT INTO audit (actor, verb, subject, detail)
SELECT 'provider:' || $1, 'identity.renumbered', 'identity:' || id, jsonb_build_object('how', $4::text)
FROM identity WHERE channel = $1 AND account = $2 AND provider_id = ANY($3::text[])
"""
BEHIND = """
SELECT provider_id FROM identity WHERE channel = $1 AND account = $2 AND provider_user_id = ANY($3::text[])
"""
FOLLOW = """
UPDATE identity SET provider_user_id = $4 WHERE channel = $1 AND account = $2 AND provider_user_id = ANY($3::text[])
"""
FROZEN_SENDER = """
SELECT bool_or(i.created_at <= r.at) FROM renumbering r JOIN identity i USING (channel, account, provider_id)
WHERE (r.channel, r.account, r.provider_id) = ($1, $2, $3) AND r.ended_at IS NULL
  AND NOT EXISTS (SELECT FROM receipt WHERE key = $4 AND state = 'done')
"""
"""Whether somebody wrote from there before; NULL where nothing changed, or where what is asked for was done before."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message came from this sender, behind whom the provider shows a lasting id."""

    sender: Address
    user_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Renumbered:
    """The provider says that somebody's number or id changed: `ids` are the old ones and the new.

    `old_user_ids` are lasting ids that `user_id` has taken the place of; both may be unknown.
    """

    channel: ChannelName
    account: str
    ids: tuple[str, ...]
    event_id: str
    how: How
    old_user_ids: tuple[str, ...] = ()
    user_id: str | None = None


class Queries(Protocol):
    """A connection, or a pool of them."""

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first value of the first row."""


class Frozen(UserError):
    """This chat's number changed hands, and that is not settled yet; says what of the `offered` actions leads back."""

    def __init__(self, offered: Container[str] | None) -> None:
        ways = (saying for action, saying in WAYS_OUT.items() if action in (offered or ()))
        super().__init__(Saying.joined(" ", REFUSAL, *ways))


class Watch:
    """Notices when another lasting id stands behind a number; one a process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, str, str], str] = {}

    async def notice(self, seen: Sequence[Seen]) -> None:
        """Call it before the messages are stored, so that what they ask for is decided in its light."""
        unknown = [one for one in seen if self._known.get(_key(one.sender)) != one.user_id]
        if not unknown:
            return
        if len(self._known) + len(unknown) > KNOWN_MAX:
            self._known.clear()
        first = unknown[0].sender
        async with self._db.hot() as connection:
            people = [one.sender.person for one in unknown]
            await connection.fetch(HOLD, first.channel.value, first.account, people)
            rows = await connection.fetch(SEEN, first.channel.value, first.account, people)
            behind = {row["provider_id"]: row["provider_user_id"] for row in rows}
            former = {row["provider_id"]: row["former"] for row in rows}
            for one in unknown:
                person = one.sender.person
                # An id that another took the place of comes with what the provider delivers late, or again.
                if person not in behind or behind[person] == one.user_id or one.user_id in former[person]:
                    continue
                if (was := behind[person]) is not None:
                    former[person].append(was)
                    await _mark(
                        connection, one.sender.channel.value, one.sender.account, [person], one.event_id, "user_id", was
                    )
                behind[person] = one.user_id
            for row in rows:
                if row["provider_user_id"] != behind[row["provider_id"]]:
                    await connection.execute(
                        "UPDATE identity SET provider_user_id = $2 WHERE id = $1", row["id"], behind[row["provider_id"]]
                    )
        # A sender that is stored only now is looked up again with the next message.
        self._known |= {
            _key(one.sender): user_id for one in unknown if (user_id := behind.get(one.sender.person)) is not None
        }


async def renumbered(db: Database, news: Renumbered) -> None:
    """Keep what the provider says, once; every chat it concerns pays nothing from then on."""
    channel, account = news.channel.value, news.account
    async with db.hot() as connection:
        behind = await connection.fetch(BEHIND, channel, account, list(news.old_user_ids))
        ids = sorted({*news.ids, *(row["provider_id"] for row in behind)})
        await connection.fetch(HOLD, channel, account, ids)
        was = next(iter(news.old_user_ids), None)
        marked = await _mark(connection, channel, account, ids, news.event_id, news.how, was)
        if marked and news.user_id is not None:
            await connection.execute(FOLLOW, channel, account, list(news.old_user_ids), news.user_id)


async def check(
    connection: Queries,
    action: Action[Any],
    person: Person,
    sender: Address,
    key: str | None = None,
    *,
    offered: Container[str] | None,
) -> None:
    """Raises Frozen for an action that matters where the sender's number changed hands.

    Money, and what is confirmed, matter everywhere; what is kept of a person does where somebody wrote before. What was
    done under its idempotency `key` passes, to be told again.
    """
    matters = action.effect is Effect.SPEND or action.shows is not None
    if not matters and (action.cache_for is not None or action.name in OPEN):
        return
    wrote_before = await connection.fetchval(FROZEN_SENDER, sender.channel.value, sender.account, sender.person, key)
    if wrote_before is None or not (matters or wrote_before):
        return
    log.info("renumber.refused", action=action.name, person_id=str(person.id))
    raise Frozen(offered)


async def is_frozen(connection: Queries, sender: Address) -> bool:
    """Whether the sender's number changed hands, and that is not settled."""
    asked = sender.channel.value, sender.account, sender.person, None
    return await connection.fetchval(FROZEN_SENDER, *asked) is not None


async def frozen_since(session: AsyncSession, identities: Collection[UUID]) -> dict[UUID, datetime]:
    """Those of these identities whose number changed hands, and since when that is not settled."""
    same = and_(
        Renumbering.channel == Identity.channel,
        Renumbering.account == Identity.account,
        Renumbering.provider_id == Identity.provider_id,
    )
    rows = await session.execute(
        select(Identity.id, func.min(Renumbering.at))
        .join(Renumbering, same)
        .where(Identity.id.in_(identities), Renumbering.ended_at.is_(None))
        .group_by(Identity.id)
    )
    return {identity: since for identity, since in rows}


async def room_frozen_since(session: AsyncSession, channel: str, account: str, room: str) -> datetime | None:
    """Since when nothing is paid in a one-to-one room; None where it is."""
    return await session.scalar(
        select(func.min(Renumbering.at)).where(
            Renumbering.channel == channel,
            Renumbering.account == account,
            Renumbering.provider_id == room,
            Renumbering.ended_at.is_(None),
        )
    )


async def lift(session: AsyncSession, channel: str, account: str, provider_id: str, actor: str) -> bool:
    """Settle it: who writes is known again; audited. False when there was nothing to settle."""
    ended = await session.scalars(
        update(Renumbering)
        .where(
            Renumbering.channel == channel,
            Renumbering.account == account,
            Renumbering.provider_id == provider_id,
            Renumbering.ended_at.is_(None),
        )
        .values(ended_at=func.clock_timestamp(), ended_by=actor)
        .returning(Renumbering.event_id)
    )
    if not ended.all():
        return False
    identity = await session.scalar(
        select(Identity.id).where(
            Identity.channel == channel, Identity.account == account, Identity.provider_id == provider_id
        )
    )
    await audit.record(session, actor, "renumbering.settled", f"identity:{identity}")
    return True


async def _mark(
    connection: Any, channel: str, account: str, ids: Sequence[str], event_id: str, how: How, was: str | None = None
) -> bool:
    """Freeze these ids; False when this event did so before. Codes shown in their chats are no good any more."""
    rows = await connection.fetch(MARK, channel, account, list(ids), event_id, how, was)
    fresh = [row["provider_id"] for row in rows]
    if not fresh:
        return False
    await connection.execute(END_CODES, channel, account, fresh)
    await connection.execute(END_CONFIRMATIONS, channel, account, fresh)
    await connection.execute(AUDIT, channel, account, fresh, how)
    log.warning("renumber.noticed", channel=channel, how=how, count=len(fresh))
    return True


def _key(sender: Address) -> tuple[str, str, str]:
    return sender.channel.value, sender.account, sender.person
