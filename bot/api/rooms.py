"""Rooms: make, list, rename, invite, leave, remove, read."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from bot.api.endpoint import Answer, Call, Endpoint, Given, Told
from channels.web.frames import SEQ_MAX
from core import rooms
from core.conversations import standings
from core.messages import ChannelName
from core.people import EMAIL_CHARS_MAX
from core.rooms import INVITATION_LIFE, NAME_CHARS_MAX, TITLE_CHARS_MAX, NoSuchRoom, Summary

Title = Annotated[str, Field(min_length=1, max_length=TITLE_CHARS_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX, description="What the others see you as")]


class NewRoom(Given):
    """A room to make."""

    title: Title
    name: Name


class NewTitle(Given):
    """What a room is called from now on."""

    title: Title


class NewInvitation(Given):
    """Whom to invite; without an address the link is yours to pass on."""

    email: Annotated[str, Field(max_length=EMAIL_CHARS_MAX)] | None = None
    language: Literal["en", "sw"] = "en"


class NewMark(Given):
    """How far you have read."""

    seq: Annotated[int, Field(ge=0, le=SEQ_MAX)]


class Seat(Told):
    """A member of a room."""

    member: UUID
    name: str
    role: Literal["owner", "member"]
    read_seq: int = Field(description="the last message they have seen")


class Listed(Told):
    """One of your rooms. `unread` stops counting at 100."""

    id: UUID
    title: str
    role: Literal["owner", "member"]
    me: UUID = Field(description="your own member")
    members_count: int
    seq: int = Field(description="the number of the last message")
    read_seq: int
    unread: int
    created_at: datetime
    last_at: datetime


class Room(Listed):
    """One of your rooms, and who is in it."""

    members: list[Seat]


class Rooms(Told):
    """Your rooms, the last written in first."""

    rooms: list[Listed]


class Invitation(Told):
    """An invitation; the link works once. It is not told when it was mailed."""

    link: str | None
    mailed: bool
    expires_at: datetime


class Ended(Told):
    """How many open invitations were ended."""

    ended: int


def listed(one: Summary) -> dict[str, object]:
    """A room's fields."""
    return {
        "id": one.id, "title": one.title, "role": one.role, "me": one.member, "members_count": one.members,
        "seq": one.seq, "read_seq": one.read_seq, "unread": one.unread, "created_at": one.created_at,
        "last_at": one.last_at,
    }  # fmt: skip


async def told(call: Call, room_id: UUID) -> Room:
    """A room as its member sees it; raises NoSuchRoom."""
    found = await rooms.rooms_of(call.services.db, call.place, room_id)
    if not found:
        raise NoSuchRoom
    name = rooms.name_of(room_id)
    roster = (await rooms.rosters(call.services.db, call.place.account, [name]))[name]
    seats = [
        {"member": seat.member, "name": seat.name, "role": seat.role, "read_seq": seat.read_seq}
        for seat in roster.seats
    ]
    return Room.model_validate({**listed(found[0]), "members": seats})


async def create(call: Call) -> Answer:
    """Make a room with the caller as its owner."""
    async with call.services.db.transaction() as session:
        made = await rooms.create(session, call.place, call.body.title, call.body.name, now=call.now)
    return 201, await told(call, made)


async def list_all(call: Call) -> Answer:
    """The caller's rooms."""
    found = await rooms.rooms_of(call.services.db, call.place)
    return 200, Rooms(rooms=[Listed.model_validate(listed(one)) for one in found])


async def show(call: Call) -> Answer:
    """One room."""
    return 200, await told(call, call.room_id)


async def rename(call: Call) -> Answer:
    """Another title."""
    async with call.services.db.transaction() as session:
        await rooms.rename(session, call.place, call.room_id, call.body.title)
    call.services.wakes.wake("room")
    return 200, await told(call, call.room_id)


async def invite(call: Call) -> Answer:
    """An invitation, mailed where there is an address and a mailbox of ours."""
    email = call.services.channels.get(ChannelName.EMAIL)
    async with call.services.db.transaction() as session:
        link = await rooms.invite(
            session, call.place, call.room_id, address=call.body.email, mailbox=email.account if email else None,
            base_url=call.services.settings.base_url, language=call.body.language, now=call.now,
        )  # fmt: skip
    mailed = call.body.email is not None and email is not None
    call.services.wakes.wake("outbox")
    return 201, Invitation(link=None if mailed else link, mailed=mailed, expires_at=call.now + INVITATION_LIFE)


async def revoke(call: Call) -> Answer:
    """End every open invitation."""
    async with call.services.db.transaction() as session:
        return 200, Ended(ended=await rooms.revoke(session, call.place, call.room_id, now=call.now))


async def leave(call: Call) -> Answer:
    """Go out."""
    async with call.services.db.transaction() as session:
        await rooms.leave(session, call.place, call.room_id, now=call.now)
    call.services.wakes.wake("room")
    return 204, None


async def remove(call: Call) -> Answer:
    """Send somebody out."""
    async with call.services.db.transaction() as session:
        await rooms.remove(session, call.place, call.room_id, call.member_id, now=call.now)
    call.services.wakes.wake("room")
    return 204, None


async def read(call: Call) -> Answer:
    """Move the caller's read mark."""
    name = rooms.name_of(call.room_id)
    speaker = await rooms.speaker(call.services.db, call.place, name)
    if speaker is None:
        raise NoSuchRoom
    await rooms.mark_read(call.services.db, call.place.account, [(name, str(call.place.visitor), call.body.seq)])
    last = (await standings(call.services.db, ChannelName.WEB, call.place.account, [name]))[name].seq
    await call.services.web.tell_aside(name, "read", speaker.member, min(call.body.seq, last))
    return 204, None


ROOMS = "/api/chatrooms/"
ROOM = "/api/chatrooms/{id}/"

ENDPOINTS = (
    Endpoint("POST", ROOMS, "Make a room", create, Room, NewRoom, status=201),
    Endpoint("GET", ROOMS, "Your rooms, the last written in first", list_all, Rooms),
    Endpoint("GET", ROOM, "One room and its members", show, Room),
    Endpoint("PATCH", ROOM, "Give the room another title", rename, Room, NewTitle),
    Endpoint("POST", f"{ROOM}invite/", "Invite somebody", invite, Invitation, NewInvitation, status=201),
    Endpoint("POST", f"{ROOM}revoke/", "End every open invitation (the owner)", revoke, Ended),
    Endpoint("POST", f"{ROOM}leave/", "Leave the room", leave, status=204),
    Endpoint("DELETE", f"{ROOM}members/{{member}}/", "Remove a member (the owner)", remove, status=204),
    Endpoint("POST", f"{ROOM}read/", "Say how far you have read", read, None, NewMark, status=204),
)
