"""What tests say and who says it."""

import itertools
from datetime import UTC, datetime

from core.messages import Address, ChannelName, InboundMessage, Text

ACCOUNT = "whatsapp:+14155238886"

_events = itertools.count(1)


def say(
    text: str = "hello",
    *,
    room: str = "whatsapp:+254712345678",
    event_id: str | None = None,
    name: str | None = "Amina",
    channel: ChannelName = ChannelName.WHATSAPP,
) -> InboundMessage:
    """One message from the person of a one-to-one room; a fresh event id unless one is given."""
    return InboundMessage(
        Address(channel, ACCOUNT, room, room),
        event_id or f"SM{next(_events):032x}",
        (Text(text=text),),
        datetime.now(UTC),
        name,
    )
