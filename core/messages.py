"""The one conversation model: addresses, parts, messages in and out. Past these types nobody knows the channel.

Parts are stored as JSON with a `kind`; unknown kinds are refused at the edge, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

TEXT_CHARS_MAX = 16_384
"""Longest text part we store; longer inbound text is cut by the adapter, which says so in a second part."""
PARTS_MAX = 32
ID_CHARS_MAX = 256
"""Longest provider id (event, person, room) we accept."""


class ChannelName(StrEnum):
    """Where people can be reached; a web-socket room is a room of channel `web`."""

    WEB = "web"
    WHATSAPP = "whatsapp"
    TELEGRAM = "telegram"
    EMAIL = "email"


class PartModel(BaseModel):
    """One piece of a message; frozen, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(PartModel):
    """Plain text; formatting is the channel's business."""

    kind: Literal["text"] = "text"
    text: str = Field(max_length=TEXT_CHARS_MAX)


class Media(PartModel):
    """A file that the provider keeps for us: `ref` is its URL or file id, not yet fetched."""

    kind: Literal["media"] = "media"
    media_type: str = Field(max_length=128, description="MIME type, e.g. image/jpeg; audio/ogg for a voice note")
    ref: str = Field(max_length=2048)
    caption: str | None = Field(default=None, max_length=4096)
    filename: str | None = Field(default=None, max_length=256)
    size: int | None = Field(default=None, ge=0, description="bytes, when the provider says")


class Location(PartModel):
    """A point in WGS 84 degrees, with a name when the sender gave one."""

    kind: Literal["location"] = "location"
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    label: str | None = Field(default=None, max_length=512)


class Choices(PartModel):
    """A question with answers to pick; channels that cannot show buttons number them."""

    kind: Literal["choices"] = "choices"
    options: tuple[str, ...] = Field(min_length=1, max_length=10)


Part = Annotated[Text | Media | Location | Choices, Field(discriminator="kind")]
PARTS: TypeAdapter[tuple[Part, ...]] = TypeAdapter(Annotated[tuple[Part, ...], Field(max_length=PARTS_MAX)])
"""Validates and dumps a tuple of parts, to and from JSON bytes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a person can be reached: our account on a channel, the room there, and the provider's id of the person.

    `person` is always the provider's id, never a name or text; in a one-to-one room it often equals `room`.
    """

    channel: ChannelName
    account: str
    room: str
    person: str


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message from a person. `event_id` is the provider's own id and is stored once, for ever."""

    sender: Address
    event_id: str
    parts: tuple[Part, ...]
    sent_at: datetime
    display_name: str | None = None
    language: str | None = None
    reply_to: str | None = None

    @property
    def text(self) -> str:
        """What was written, captions included; empty when nothing was."""
        return text_of(self.parts)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the core says; no channel is named."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, text: str, options: tuple[str, ...] = ()) -> "Reply":
        """A text, with answers to pick when there are some."""
        return cls((Text(text=text), *((Choices(options=options),) if options else ())))

    @classmethod
    def joined(cls, replies: Sequence["Reply"]) -> "Reply":
        """Several replies as one: their texts in one part, each once; then other parts, choices of the last only."""
        if len(replies) == 1:
            return replies[0]
        texts = dict.fromkeys(part.text for reply in replies for part in reply.parts if isinstance(part, Text))
        others = [part for reply in replies[:-1] for part in reply.parts if not isinstance(part, Text | Choices)]
        last = [part for part in replies[-1].parts if not isinstance(part, Text)]
        return cls((Text(text="\n\n".join(texts)[:TEXT_CHARS_MAX]), *others[: PARTS_MAX - 1 - len(last)], *last))


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A template that the provider keeps under `provider_ref`, its variables by number, and the text they make."""

    name: str
    language: str
    provider_ref: str
    variables: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message to send: `outbox_id` is our reference, `attempt` the fence under which it is sent.

    `conversation_id` and `seq` name the stored message; `recipient` says where it goes. With a `template`, that is
    what is sent, instead of the parts.
    """

    outbox_id: int
    attempt: int
    recipient: Address
    conversation_id: UUID
    seq: int
    parts: tuple[Part, ...]
    created_at: datetime
    template: TemplateUse | None = None


def text_of(parts: tuple[Part, ...]) -> str:
    """All the written words of a message, one part a line."""
    words = (
        part.text if isinstance(part, Text) else part.caption if isinstance(part, Media) else None for part in parts
    )
    return "\n".join(word for word in words if word)
