"""Shared rooms of the web: who is in them, who may come in, and how far everybody has read.

A room is a conversation named "room:<its id>"; its members are visitors, by their identities. Whoever is not in a room
finds that there is none. Who has left stays known by name, for what they said is still there.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import mailboxes, people
from core.conversations import reading
from core.crypto import RoomKey
from core.db import Database, driver
from core.errors import InvalidSlot, LimitReached, UserError
from core.language import Saying
from core.mentions import SHARED
from core.messages import ChannelName, Text
from core.models import Conversation, Identity, Member, RoomInvitation
from core.outbox import NewMessage, post
from core.sites import DEFAULT

MEMBERS_MAX = 100
"""Of one room."""
ROOMS_MAX = 100
"""That one person is in."""
TITLE_CHARS_MAX = 120
NAME_CHARS_MAX = 80
INVITATION_LIFE = timedelta(days=7)
INVITATIONS_MAX = 50
"""Sent by one person, and to one address a tenth of it, within INVITATIONS_WITHIN: nobody is mailed by the hundred."""
TO_ADDRESS_MAX = 5
INVITATIONS_WITHIN = timedelta(days=1)
TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
"""What an invitation's token looks like: TOKEN_BYTES in URL-safe base64."""
UNREAD_MAX = 100
"""Unread messages are counted up to this."""
MAIL_NAME = re.compile(r"[^\w '\-]+")
"""What is left out of a name in a mail to a stranger: it could be an address to press."""

MAIL = {
    "en": "{name} invites you to a conversation on Mathia. Open this link within 7 days to join; it works once:\n\n"
    "{link}\n\nIf you do not know {name}, you need not do anything.",
    "sw": "{name} anakualika kwenye mazungumzo ya Mathia. Fungua kiungo hiki ndani ya siku 7 ujiunge; kinafanya kazi "
    "mara moja:\n\n{link}\n\nKama humjui {name}, huna haja ya kufanya lolote.",
}

SLOTS = {"title": Saying("title", "jina la chumba"), "name": Saying("name", "jina")}
EMPTY = Saying("The {slot} is empty.", "Hakuna {slot}.")
TOO_LONG = Saying(
    "The {slot} may have at most {most} characters.", "Kuna herufi nyingi mno kwenye {slot}: zisizidi {most}."
)
ENOUGH_INVITATIONS = Saying(
    "You have sent {count} invitations today, which is the most for one day.",
    "Umetuma mialiko {count} leo, kiwango cha juu cha siku.",
)
INVITED_OFTEN = Saying(
    "That address was invited often enough for one day.", "Anwani hiyo imealikwa mara za kutosha kwa leo."
)
FULL = Saying(
    "The room has {count} members, which is as many as it can have.",
    "Chumba kina watu {count}, kiwango cha juu kinachowezekana.",
)
ENOUGH_ROOMS = Saying(
    "You are in {count} rooms, which is the most. Leave one first.",
    "Uko kwenye vyumba {count}, kiwango cha juu. Ondoka kwenye kimoja kwanza.",
)

SPEAKER = """
SELECT c.id, m.identity_id, m.role, p.muted_until > clock_timestamp() AS muted,
       EXISTS (SELECT FROM message b WHERE b.conversation_id = c.id AND b.seq = $5 AND b.direction = 'out'
               OFFSET 0) AS answers_bot,
       $5::bigint IS NULL OR EXISTS (SELECT FROM message b WHERE b.conversation_id = c.id AND b.seq = $5
                                     OFFSET 0) AS answers_message
FROM conversation c
JOIN identity i ON i.channel = c.channel AND i.account = c.account AND i.provider_id = $4
JOIN member m ON m.conversation_id = c.id AND m.identity_id = i.id AND m.left_at IS NULL
JOIN person p ON p.id = i.person_id
WHERE c.channel = $1 AND c.account = $2 AND c.room = $3
"""

ROSTERS = """
SELECT c.room, c.id, c.title, i.provider_id, m.identity_id, m.name, m.role, m.read_seq, m.left_at
FROM unnest($3::text[]) AS g(room)
JOIN conversation c ON c.channel = $1 AND c.account = $2 AND c.room = g.room
JOIN member m ON m.conversation_id = c.id
JOIN identity i ON i.id = m.identity_id
ORDER BY c.room, m.joined_at, m.identity_id
"""

PRESENT = """
SELECT i.provider_id
FROM conversation c
JOIN member m ON m.conversation_id = c.id AND (m.left_at IS NULL) IS TRUE
JOIN identity i ON i.id = m.identity_id
WHERE c.channel = $1 AND c.account = $2 AND c.room = $3
"""

MEET = """
WITH made AS (
    INSERT INTO identity (id, person_id, channel, account, provider_id)
    VALUES (gen_random_uuid(), gen_random_uuid(), :channel, :account, :provider_id)
    ON CONFLICT (channel, account, provider_id) DO NOTHING
    RETURNING person_id
)
INSERT INTO person (id) SELECT person_id FROM made
"""

READ = """
UPDATE member m SET read_seq = greatest(m.read_seq, least(g.seq, c.next_seq - 1))
FROM unnest($3::text[], $4::text[], $5::bigint[]) AS g(room, visitor, seq)
JOIN conversation c ON c.channel = $1 AND c.account = $2 AND c.room = g.room
JOIN identity i ON i.channel = $1 AND i.account = $2 AND i.provider_id = g.visitor
WHERE m.conversation_id = c.id AND m.identity_id = i.id AND m.left_at IS NULL
  AND m.read_seq < least(g.seq, c.next_seq - 1)
"""

LIST = """
SELECT c.id, c.title, m.role, m.identity_id, m.read_seq, c.next_seq - 1 AS seq, c.last_at, c.created_at,
       (SELECT count(*) FROM member o WHERE o.conversation_id = c.id AND (o.left_at IS NULL) IS TRUE) AS members,
       (SELECT count(*) FROM (SELECT FROM message u
                              WHERE u.conversation_id = c.id AND u.seq > m.read_seq
                                AND u.identity_id IS DISTINCT FROM m.identity_id LIMIT $4) x) AS unread
FROM identity i
CROSS JOIN LATERAL (SELECT * FROM member m WHERE m.identity_id = i.id AND m.left_at IS NULL OFFSET 0) m
CROSS JOIN LATERAL (SELECT * FROM conversation c WHERE c.id = m.conversation_id AND c.title IS NOT NULL OFFSET 0) c
WHERE i.channel = $1 AND i.account = $2 AND i.provider_id = $3 AND ($5::uuid IS NULL OR c.id = $5)
ORDER BY c.last_at DESC, c.id LIMIT $6
"""


TITLE = b"conversation.title"
"""What a sealed title is."""


class NoSuchRoom(UserError):
    """There is no such room, as far as this visitor is concerned."""

    def __init__(self) -> None:
        super().__init__(Saying("There is no such room.", "Hakuna chumba kama hicho."))


class NoSuchMember(UserError):
    """There is no such member in the room."""

    def __init__(self) -> None:
        super().__init__(Saying("There is no such member in this room.", "Hakuna mtu kama huyo kwenye chumba hiki."))


class NoSuchInvitation(UserError):
    """The token opens nothing: mistyped, used, revoked or late."""

    def __init__(self) -> None:
        super().__init__(
            Saying(
                "This invitation is no longer good. Ask whoever sent it for a new one.",
                "Mwaliko huu haufanyi kazi tena. Mwombe aliyeutuma akutumie mwingine.",
            )
        )


class NotOwner(UserError):
    """Only the room's owner may do that."""

    def __init__(self) -> None:
        super().__init__(
            Saying("Only the owner of the room can do that.", "Ni mwenye chumba tu anayeweza kufanya hivyo.")
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A visitor on one of our accounts of the web."""

    account: str
    visitor: UUID


@dataclass(frozen=True, slots=True)
class Speaker:
    """A visitor in a room: who they are there, and whether the message they answer is there and is the bot's."""

    conversation_id: UUID
    member: UUID
    role: str
    muted: bool
    answers_message: bool
    answers_bot: bool


@dataclass(frozen=True, slots=True)
class Seat:
    """A member as everybody in the room sees them; `visitor` and `read_seq` are for us alone."""

    member: UUID
    visitor: str
    name: str
    role: str
    read_seq: int


@dataclass(frozen=True, slots=True)
class Roster:
    """A room's title, who is in it, in the order they came, and the names of those who were."""

    title: str
    seats: tuple[Seat, ...]
    former: tuple[tuple[UUID, str], ...]

    def seat(self, visitor: str) -> Seat | None:
        """The seat of a visitor; None when they are not in the room."""
        return next((seat for seat in self.seats if seat.visitor == visitor), None)

    def name(self, member: UUID | None) -> str:
        """What somebody who is or was in the room is called."""
        known = {seat.member: seat.name for seat in self.seats} | dict(self.former)
        return known.get(member, NAMELESS) if member else NAMELESS


@dataclass(frozen=True, slots=True)
class Summary:
    """One of a visitor's rooms, in their list. `unread` stops counting at UNREAD_MAX."""

    id: UUID
    title: str
    role: str
    member: UUID
    members: int
    seq: int
    read_seq: int
    unread: int
    created_at: datetime
    last_at: datetime


NAMELESS = "Guest"
UNTITLED = "Room"
"""What is shown where the words are gone with the room's keys."""


def name_of(id_: UUID) -> str:
    """The name of a room, by which its conversation is found."""
    return f"{SHARED}{id_}"


def tidy(words: str, slot: str, chars_max: int) -> str:
    """A title or name as it is shown, on one line; raises InvalidSlot where nothing can be seen, or too much."""
    line = people.one_line(words)
    if not line:
        raise InvalidSlot(slot, EMPTY.filled(slot=SLOTS[slot]))
    if len(line) > chars_max:
        raise InvalidSlot(slot, TOO_LONG.filled(slot=SLOTS[slot], most=chars_max))
    return line


async def create(session: AsyncSession, place: Place, title: str, name: str, *, now: datetime) -> UUID:
    """A new room with its owner in it; its id. Raises InvalidSlot or LimitReached."""
    title, name = tidy(title, "title", TITLE_CHARS_MAX), tidy(name, "name", NAME_CHARS_MAX)
    identity = await _identity(session, place)
    await _within_rooms(session, identity)
    made = uuid4()
    room = Conversation(id=made, channel=ChannelName.WEB, account=place.account, room=name_of(made))
    session.add(room)
    await session.flush()
    room.title = await _sealed(session, made, TITLE, title)
    sealed = await _sealed(session, made, _name(identity), name)
    session.add(Member(conversation_id=made, identity_id=identity, role="owner", name=sealed, joined_at=now))
    await session.flush()
    return made


async def speaker(db: Database, place: Place, room: str, *, reply_to: int | None = None) -> Speaker | None:
    """A visitor in a room; None when they are not in it, or there is none. Raises StoreUnavailable."""
    async with reading(db) as connection:
        row = await connection.fetchrow(
            SPEAKER, ChannelName.WEB.value, place.account, room, str(place.visitor), reply_to
        )
    if row is None:
        return None
    return Speaker(
        row["id"], row["identity_id"], row["role"], bool(row["muted"]), row["answers_message"], row["answers_bot"]
    )


async def rosters(db: Database, account: str, rooms: Sequence[str]) -> dict[str, Roster]:
    """Who is in each of these rooms. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(ROSTERS, ChannelName.WEB.value, account, list(rooms))
        names = await db.keys.opened(connection, [(row["id"], _name(row["identity_id"]), row["name"]) for row in rows])
        titles = await db.keys.opened(connection, [(row["id"], TITLE, row["title"]) for row in rows])
    found: dict[str, Roster] = {}
    for row, name, title in zip(rows, names, titles, strict=True):
        called = name.decode() if name is not None else NAMELESS
        so_far = found.get(row["room"]) or Roster(title.decode() if title is not None else UNTITLED, (), ())
        if row["left_at"] is None:
            seat = Seat(row["identity_id"], row["provider_id"], called, row["role"], row["read_seq"])
            found[row["room"]] = replace(so_far, seats=(*so_far.seats, seat))
        else:
            found[row["room"]] = replace(so_far, former=(*so_far.former, (row["identity_id"], called)))
    return found


async def memberships(session: AsyncSession, identity_ids: Collection[UUID]) -> list[tuple[Member, str, str]]:
    """Every shared room these identities are or were in: membership, the room's title, what they are called there."""
    rows = (
        await session.execute(
            select(Member, Conversation.title)
            .join(Conversation, Conversation.id == Member.conversation_id)
            .where(Member.identity_id.in_(identity_ids), Conversation.title.is_not(None))
            .order_by(Member.joined_at, Member.conversation_id)
        )
    ).all()
    connection = await driver(session)
    titles = await connection.keys.opened(connection, [(one.conversation_id, TITLE, title) for one, title in rows])
    names = await connection.keys.opened(
        connection, [(one.conversation_id, _name(one.identity_id), one.name) for one, _ in rows]
    )
    return [
        (one, UNTITLED if title is None else title.decode(), NAMELESS if name is None else name.decode())
        for (one, _), title, name in zip(rows, titles, names, strict=True)
    ]


async def visitors(db: Database, account: str, room: str) -> set[str]:
    """Who is in a room, and nothing else about it. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(PRESENT, ChannelName.WEB.value, account, room)
    return {row["provider_id"] for row in rows}


async def rooms_of(db: Database, place: Place, only: UUID | None = None) -> list[Summary]:
    """The rooms a visitor is in, or one of them; the last written in first. Raises StoreUnavailable."""
    async with reading(db) as connection:
        rows = await connection.fetch(
            LIST, ChannelName.WEB.value, place.account, str(place.visitor), UNREAD_MAX, only, ROOMS_MAX
        )
        titles = await db.keys.opened(connection, [(row["id"], TITLE, row["title"]) for row in rows])
    return [
        Summary(
            row["id"], title.decode() if title is not None else UNTITLED, row["role"], row["identity_id"],
            row["members"], row["seq"], row["read_seq"], row["unread"], row["created_at"], row["last_at"],
        )
        for row, title in zip(rows, titles, strict=True)
    ]  # fmt: skip


async def mark_read(db: Database, account: str, reads: Sequence[tuple[str, str, int]]) -> None:
    """Move read marks forward: (room, visitor, seq), never beyond the last message. Raises StoreUnavailable."""
    if not reads:
        return
    async with reading(db) as connection:
        await connection.execute(
            READ,
            ChannelName.WEB.value,
            account,
            [room for room, _, _ in reads],
            [visitor for _, visitor, _ in reads],
            [seq for _, _, seq in reads],
        )


async def rename(session: AsyncSession, place: Place, room_id: UUID, title: str) -> None:
    """Give a room another title; any member may. Raises NoSuchRoom or InvalidSlot."""
    await _member(session, place, room_id)
    sealed = await _sealed(session, room_id, TITLE, tidy(title, "title", TITLE_CHARS_MAX))
    await session.execute(update(Conversation).where(Conversation.id == room_id).values(title=sealed))
    await _tell(session)


async def invite(
    session: AsyncSession, place: Place, room_id: UUID, *, address: str | None, mailbox: str | None, base_url: str,
    language: str, now: datetime,
) -> str:  # fmt: skip
    """Invite whoever gets the link that is returned, and mail it to `address` where we have a `mailbox`.

    The link works once, until INVITATION_LIFE is over. Raises NoSuchRoom, InvalidSlot or LimitReached.
    """
    seen = await _member(session, place, room_id, lock=False)
    address = people.email_address(address).lower() if address is not None else None
    person = await people.hold(session, await _person(session, seen.identity_id))
    # Whoever is being removed invites nobody any more. The room itself stays unlocked: a mail locks a room too.
    member = await session.scalar(
        select(Member)
        .where(Member.conversation_id == room_id, Member.identity_id == seen.identity_id, Member.left_at.is_(None))
        .with_for_update(read=True)
    )
    if member is None:
        raise NoSuchRoom
    since = now - INVITATIONS_WITHIN
    mine = select(Identity.id).where(Identity.person_id == person)
    sent = select(func.count()).select_from(RoomInvitation).where(RoomInvitation.created_at > since)
    if (await session.scalar(sent.where(RoomInvitation.identity_id.in_(mine))) or 0) >= INVITATIONS_MAX:
        raise LimitReached(ENOUGH_INVITATIONS.filled(count=INVITATIONS_MAX))
    connection = await driver(session)
    to = await mailboxes.name_of(connection, address) if address is not None else None
    if to and (await session.scalar(sent.where(RoomInvitation.address == to)) or 0) >= TO_ADDRESS_MAX:
        raise LimitReached(INVITED_OFTEN)
    if address is not None:
        await mailboxes.keep(connection, address)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    made = uuid4()
    session.add(
        RoomInvitation(
            id=made, conversation_id=room_id, identity_id=member.identity_id, address=to, token_hash=_hash(token),
            created_at=now, expires_at=now + INVITATION_LIFE,
        )
    )  # fmt: skip
    await session.flush()
    link = f"{base_url}/rooms/join/{token}" + ("" if place.account == DEFAULT else f"?site={place.account}")
    if to and mailbox:
        [called] = await connection.keys.opened(connection, [(room_id, _name(member.identity_id), member.name)])
        name = MAIL_NAME.sub(" ", called.decode() if called else "").strip() or NAMELESS
        words = MAIL.get(language, MAIL["en"]).format(name=name, link=link)
        mail = await _conversation(session, ChannelName.EMAIL, mailbox, to)
        await post(connection, [NewMessage(mail, (Text(text=words),), "invitation", f"invitation:{made}")])
    return link


async def accept(session: AsyncSession, place: Place, token: str, name: str, *, now: datetime) -> UUID:
    """Come into the room that an invitation is for, once; the room's id. Raises NoSuchInvitation or LimitReached.

    Whoever is in the room already is let through, and the invitation stays good for somebody else.
    """
    name = tidy(name, "name", NAME_CHARS_MAX)
    if TOKEN.fullmatch(token) is None:
        raise NoSuchInvitation
    found = select(RoomInvitation).where(RoomInvitation.token_hash == _hash(token))
    # Looked at before anything is written or locked, so that guessing costs nothing.
    if await session.scalar(found) is None:
        raise NoSuchInvitation
    identity = await _identity(session, place)
    await people.hold(session, await _person(session, identity))
    invitation = (await session.scalars(found.with_for_update().execution_options(populate_existing=True))).one()
    room = await session.scalar(
        select(Conversation).where(Conversation.id == invitation.conversation_id).with_for_update(key_share=True)
    )
    if room is None or room.account != place.account:
        raise NoSuchInvitation
    member = await session.get(Member, (room.id, identity))
    if member is not None and member.left_at is None:
        return room.id
    if invitation.ended_at is not None or invitation.expires_at <= now:
        raise NoSuchInvitation
    await _within_rooms(session, identity)
    here = select(func.count()).select_from(Member).where(Member.conversation_id == room.id, Member.left_at.is_(None))
    if (await session.scalar(here) or 0) >= MEMBERS_MAX:
        raise LimitReached(FULL.filled(count=MEMBERS_MAX))
    sealed = await _sealed(session, room.id, _name(identity), name)
    if member is None:
        # Whoever comes in has read nothing, and may read what was said before.
        session.add(Member(conversation_id=room.id, identity_id=identity, name=sealed, joined_at=now))
    else:
        member.left_at, member.name, member.role, member.joined_at = None, sealed, "member", now
    invitation.ended_at, invitation.used_by = now, identity
    await session.flush()
    await _tell(session)
    return room.id


async def revoke(session: AsyncSession, place: Place, room_id: UUID, *, now: datetime) -> int:
    """End all open invitations to a room; how many there were. Raises NoSuchRoom or NotOwner."""
    if (await _member(session, place, room_id)).role != "owner":
        raise NotOwner
    ended = await session.scalars(
        update(RoomInvitation)
        .where(RoomInvitation.conversation_id == room_id, RoomInvitation.ended_at.is_(None))
        .values(ended_at=now)
        .returning(RoomInvitation.id)
    )
    return len(ended.all())


async def leave(session: AsyncSession, place: Place, room_id: UUID, *, now: datetime) -> None:
    """Go out of a room; the owner's place goes to who has been there longest. Raises NoSuchRoom."""
    member = await _member(session, place, room_id)
    await _out(session, member, now)


async def remove(session: AsyncSession, place: Place, room_id: UUID, member_id: UUID, *, now: datetime) -> None:
    """Send somebody out of a room, which its owner may; invitations of theirs end. Raises NoSuchRoom, NotOwner,
    NoSuchMember.
    """
    if (await _member(session, place, room_id)).role != "owner":
        raise NotOwner
    member = await session.get(Member, (room_id, member_id))
    if member is None or member.left_at is not None:
        raise NoSuchMember
    await _out(session, member, now)


async def _out(session: AsyncSession, member: Member, now: datetime) -> None:
    member.left_at = now
    was_owner, member.role = member.role == "owner", "member"
    await session.execute(
        update(RoomInvitation)
        .where(
            RoomInvitation.conversation_id == member.conversation_id,
            RoomInvitation.identity_id == member.identity_id,
            RoomInvitation.ended_at.is_(None),
        )
        .values(ended_at=now)
    )
    await session.flush()
    if was_owner:
        heir = await session.scalar(
            select(Member)
            .where(Member.conversation_id == member.conversation_id, Member.left_at.is_(None))
            .order_by(Member.joined_at, Member.identity_id)
            .limit(1)
        )
        if heir is not None:
            heir.role = "owner"
            await session.flush()
    # What is said from now on is sealed with a key that was not there while they were.
    connection = await driver(session)
    await connection.keys.start_epoch(connection, member.conversation_id)
    await _tell(session)


async def _member(session: AsyncSession, place: Place, room_id: UUID, *, lock: bool = True) -> Member:
    """The visitor's membership, with the room's row locked; raises NoSuchRoom."""
    room = select(Conversation.id).where(
        Conversation.id == room_id,
        Conversation.channel == ChannelName.WEB,
        Conversation.account == place.account,
        Conversation.room == name_of(room_id),
    )
    if await session.scalar(room.with_for_update(key_share=True) if lock else room) is None:
        raise NoSuchRoom
    found = await session.scalar(
        select(Member)
        .join(Identity, Identity.id == Member.identity_id)
        .where(
            Member.conversation_id == room_id,
            Member.left_at.is_(None),
            Identity.channel == ChannelName.WEB,
            Identity.account == place.account,
            Identity.provider_id == str(place.visitor),
        )
    )
    if found is None:
        raise NoSuchRoom
    return found


async def _identity(session: AsyncSession, place: Place) -> UUID:
    """The visitor's identity, made with a person of its own where they have not said anything yet."""
    key = {"channel": ChannelName.WEB.value, "account": place.account, "provider_id": str(place.visitor)}
    found = select(Identity.id).filter_by(**key)
    known = await session.scalar(found)
    if known is not None:
        return known
    await session.execute(text(MEET), key)
    # Where somebody else made it meanwhile, we waited for their commit.
    return (await session.execute(found)).scalar_one()


async def _person(session: AsyncSession, identity: UUID) -> UUID:
    return (await session.execute(select(Identity.person_id).where(Identity.id == identity))).scalar_one()


async def _within_rooms(session: AsyncSession, identity: UUID) -> None:
    """Raises LimitReached when the identity's person, who is locked by this, is in as many rooms as they may be."""
    person = await people.hold(session, await _person(session, identity))
    count = await session.scalar(
        select(func.count())
        .select_from(Member)
        .join(Identity, Identity.id == Member.identity_id)
        .join(Conversation, Conversation.id == Member.conversation_id)
        .where(Identity.person_id == person, Member.left_at.is_(None), Conversation.title.is_not(None))
    )
    if (count or 0) >= ROOMS_MAX:
        raise LimitReached(ENOUGH_ROOMS.filled(count=ROOMS_MAX))


async def _conversation(session: AsyncSession, channel: ChannelName, account: str, room: str) -> UUID:
    await session.execute(
        insert(Conversation).values(id=uuid4(), channel=channel, account=account, room=room).on_conflict_do_nothing()
    )
    return (
        await session.execute(
            select(Conversation.id).where(
                Conversation.channel == channel, Conversation.account == account, Conversation.room == room
            )
        )
    ).scalar_one()


async def _sealed(session: AsyncSession, room: UUID, what: bytes, words: str) -> bytes:
    connection = await driver(session)
    key: RoomKey = await connection.keys.of(connection, room)
    return key.seal(what, words.encode())


def _name(member: UUID) -> bytes:
    """What a member's sealed name is: theirs, and nobody else's."""
    return b"member.name:" + member.bytes


async def _tell(session: AsyncSession) -> None:
    """Let every web process look again at who is in its rooms, once this is committed."""
    await session.execute(text("SELECT pg_notify('mathia', 'room')"))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
