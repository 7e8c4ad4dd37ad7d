"""Invitations: whoever has the link comes in, as themselves."""

from typing import Annotated

from pydantic import Field

from bot.api.endpoint import Answer, Call, Endpoint, Given
from bot.api.rooms import Name, Room, told
from core import rooms


class Acceptance(Given):
    """The token of the link, and what the others will see you as."""

    token: Annotated[str, Field(max_length=256)]
    name: Name


async def accept(call: Call) -> Answer:
    """Come into the room that the invitation is for."""
    async with call.services.db.transaction() as session:
        room = await rooms.accept(session, call.place, call.body.token, call.body.name, now=call.now)
    call.services.wakes.wake("room")
    return 200, await told(call, room)


ENDPOINTS = (
    Endpoint("POST", "/api/invitations/accept", "Accept an invitation; it works once", accept, Room, Acceptance),
)
