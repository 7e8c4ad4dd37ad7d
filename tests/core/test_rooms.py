"""Shared rooms: who is in them, who comes in, and who is out."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core import rooms
from core.db import Database
from core.errors import InvalidSlot, LimitReached
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Text
from core.rooms import NoSuchInvitation, NoSuchMember, NoSuchRoom, NotOwner, Place
from core.wake import Wakes
from tests.said import addresses, messages

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


def visitor() -> Place:
    return Place("default", uuid4())


async def create(db: Database, owner: Place, title: str = "Plans") -> UUID:
    async with db.transaction() as session:
        return await rooms.create(session, owner, title, "Amina", now=NOW)


async def invite(db: Database, who: Place, room: UUID, address: str | None = None, now: datetime = NOW) -> str:
    async with db.transaction() as session:
        link = await rooms.invite(
            session, who, room, address=address, mailbox="bot@example.com", base_url="https://chat.example",
            language="en", now=now,
        )  # fmt: skip
    return link.rpartition("/")[2]


async def accept(db: Database, who: Place, token: str, name: str = "Brian", now: datetime = LATER) -> UUID:
    while True:
        try:
            async with db.transaction() as session:
                return await rooms.accept(session, who, token, name, now=now)
        except PoolTimeout:  # On a busy machine some of so many find none in time, and try again.
            continue


async def members(db: Database, room: UUID) -> list[str]:
    name = rooms.name_of(room)
    return [seat.visitor for seat in (await rooms.rosters(db, "default", [name]))[name].seats]


async def test_an_invitation_brings_one_person_in_once(db: Database) -> None:
    owner, guest, late = visitor(), visitor(), visitor()
    room = await create(db, owner)
    token = await invite(db, owner, room)
    assert await accept(db, guest, token) == room
    assert await members(db, room) == [str(owner.visitor), str(guest.visitor)]
    assert await accept(db, guest, token) == room
    with pytest.raises(NoSuchInvitation):
        await accept(db, late, token)
    assert await members(db, room) == [str(owner.visitor), str(guest.visitor)]


async def test_of_64_who_accept_one_invitation_at_once_one_comes_in(db: Database) -> None:
    owner = visitor()
    room = await create(db, owner)
    token = await invite(db, owner, room)
    tried = await asyncio.gather(*(accept(db, visitor(), token) for _ in range(64)), return_exceptions=True)
    assert [one for one in tried if not isinstance(one, BaseException)] == [room]
    assert sum(isinstance(one, NoSuchInvitation) for one in tried) == 63
    assert len(await members(db, room)) == 2


async def test_one_who_accepts_64_times_at_once_is_one_member(db: Database) -> None:
    owner, guest = visitor(), visitor()
    room = await create(db, owner)
    token = await invite(db, owner, room)
    assert set(await asyncio.gather(*(accept(db, guest, token) for _ in range(64)))) == {room}
    assert await members(db, room) == [str(owner.visitor), str(guest.visitor)]


async def test_a_token_is_kept_as_its_hash_and_opens_nothing_when_late_or_revoked(db: Database) -> None:
    owner, guest = visitor(), visitor()
    room = await create(db, owner)
    token = await invite(db, owner, room)
    row = await db.pool.fetchrow("SELECT * FROM room_invitation")
    assert token not in str(dict(row))
    with pytest.raises(NoSuchInvitation):
        await accept(db, guest, token, now=NOW + rooms.INVITATION_LIFE)
    async with db.transaction() as session:
        assert await rooms.revoke(session, owner, room, now=NOW) == 1
    for wrong in (token, token[:-1], token[:-1] + "é", "x" * 43, ""):
        with pytest.raises(NoSuchInvitation):
            await accept(db, guest, wrong)
    assert await members(db, room) == [str(owner.visitor)]


async def test_who_is_removed_takes_their_invitations_along_and_may_be_invited_anew(db: Database) -> None:
    owner, guest, third = visitor(), visitor(), visitor()
    room = await create(db, owner)
    used = await invite(db, owner, room)
    await accept(db, guest, used)
    theirs = await invite(db, guest, room)
    seat = (await rooms.rosters(db, "default", [rooms.name_of(room)]))[rooms.name_of(room)].seats[1]
    async with db.transaction() as session:
        await rooms.remove(session, owner, room, seat.member, now=NOW)
    assert await members(db, room) == [str(owner.visitor)]
    for token in (used, theirs):
        with pytest.raises(NoSuchInvitation):
            await accept(db, guest, token)
        with pytest.raises(NoSuchInvitation):
            await accept(db, third, token)
    with pytest.raises(NoSuchRoom):
        await invite(db, guest, room)
    async with db.transaction() as session:
        with pytest.raises(NoSuchMember):
            await rooms.remove(session, owner, room, seat.member, now=NOW)
    assert await accept(db, guest, await invite(db, owner, room)) == room
    assert await members(db, room) == [str(owner.visitor), str(guest.visitor)]


async def test_only_the_owner_removes_and_the_longest_standing_inherits(db: Database) -> None:
    owner, second, third = visitor(), visitor(), visitor()
    room = await create(db, owner)
    await accept(db, second, await invite(db, owner, room), now=LATER)
    await accept(db, third, await invite(db, owner, room), now=NOW + timedelta(seconds=2))
    roster = (await rooms.rosters(db, "default", [rooms.name_of(room)]))[rooms.name_of(room)]
    async with db.transaction() as session:
        with pytest.raises(NotOwner):
            await rooms.remove(session, second, room, roster.seats[2].member, now=NOW)
        with pytest.raises(NotOwner):
            await rooms.revoke(session, second, room, now=NOW)
    async with db.transaction() as session:
        await rooms.leave(session, owner, room, now=NOW)
    roster = (await rooms.rosters(db, "default", [rooms.name_of(room)]))[rooms.name_of(room)]
    assert [(seat.visitor, seat.role) for seat in roster.seats] == [
        (str(second.visitor), "owner"),
        (str(third.visitor), "member"),
    ]
    assert [name for _, name in roster.former] == ["Amina"]


Deed = Callable[[Database, Place, UUID], Awaitable[object]]


async def _rename(db: Database, who: Place, room: UUID) -> None:
    async with db.transaction() as session:
        await rooms.rename(session, who, room, "Mine")


async def _leave(db: Database, who: Place, room: UUID) -> None:
    async with db.transaction() as session:
        await rooms.leave(session, who, room, now=NOW)


async def _remove(db: Database, who: Place, room: UUID) -> None:
    async with db.transaction() as session:
        await rooms.remove(session, who, room, uuid4(), now=NOW)


@pytest.mark.parametrize("deed", [_rename, _leave, _remove, invite], ids=["rename", "leave", "remove", "invite"])
async def test_anothers_room_is_as_one_that_is_not_there(db: Database, deed: Deed) -> None:
    owner, stranger = visitor(), visitor()
    room = await create(db, owner)
    await create(db, stranger)
    for who, where in ((stranger, room), (owner, uuid4()), (Place("other", owner.visitor), room), (visitor(), room)):
        with pytest.raises(NoSuchRoom):
            await deed(db, who, where)
    assert await rooms.speaker(db, stranger, rooms.name_of(room)) is None
    assert await rooms.rooms_of(db, stranger, room) == []


async def test_titles_and_names_are_one_line_that_can_be_seen(db: Database) -> None:
    owner = visitor()
    room = await create(db, owner, "  Trip\nto\t Lamu\u202e ")
    assert [one.title for one in await rooms.rooms_of(db, owner)] == ["Trip to Lamu"]
    for title in ("", " \u200b\n", "x" * (rooms.TITLE_CHARS_MAX + 1)):
        async with db.transaction() as session:
            with pytest.raises(InvalidSlot):
                await rooms.rename(session, owner, room, title)


async def test_a_mail_names_the_inviter_and_nothing_to_press_but_the_link(db: Database) -> None:
    owner = visitor()
    async with db.transaction() as session:
        room = await rooms.create(session, owner, "https://evil.example", "Win at evil.example/now", now=NOW)
    token = await invite(db, owner, room, "Brian@Example.com")
    mails = "JOIN outbox o ON o.id = m.id JOIN conversation c ON c.id = m.conversation_id"
    [row] = await messages(db, mails, also=["c.channel", "c.account", "c.room"])
    assert (row["channel"], row["account"]) == ("email", "bot@example.com")
    assert await addresses(db, [row["room"]]) == ["brian@example.com"]
    words = row["parts"][0]["text"]
    assert f"https://chat.example/rooms/join/{token}" in words
    assert "evil.example" not in words


async def test_nobody_is_mailed_by_the_hundred(db: Database) -> None:
    owner = visitor()
    room = await create(db, owner)
    for _ in range(rooms.TO_ADDRESS_MAX):
        await invite(db, owner, room, "brian@example.com")
    with pytest.raises(LimitReached):
        await invite(db, owner, room, "Brian@example.com")
    for _ in range(rooms.INVITATIONS_MAX - rooms.TO_ADDRESS_MAX):
        await invite(db, owner, room)
    with pytest.raises(LimitReached):
        await invite(db, owner, room)
    assert await invite(db, owner, room, now=NOW + rooms.INVITATIONS_WITHIN)


async def test_read_marks_only_grow_and_never_beyond_the_last_message(db: Database) -> None:
    owner, guest = visitor(), visitor()
    room = await create(db, owner)
    await accept(db, guest, await invite(db, owner, room))
    inbox = Inbox(db, Wakes(db))
    name = rooms.name_of(room)
    for number in range(5):
        sender = Address(ChannelName.WEB, "default", name, str(owner.visitor))
        await inbox.receive([InboundMessage(sender, f"e{number}", (Text(text="hi"),), NOW, to_bot=False)])
    marks = []
    for seq in (2, 1, 99):
        await rooms.mark_read(db, "default", [(name, str(guest.visitor), seq)])
        [mine] = await rooms.rooms_of(db, guest)
        marks.append((mine.read_seq, mine.unread))
    assert marks == [(2, 3), (2, 3), (5, 0)]
    [own] = await rooms.rooms_of(db, owner)
    assert (own.seq, own.unread, own.members) == (5, 0, 2)
    assert await db.pool.fetchval("SELECT count(*) FROM turn") == 0
