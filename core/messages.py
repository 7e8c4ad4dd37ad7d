"""The one conversation model: addresses, parts, messages in and out. Past these types nobody knows the channel.

Parts are stored as JSON with a `kind`; unknown kinds are refused at the edge, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

TEXT_CHARS_MAX = 16_384
"""Longest text part we store; longer inbound text is cut by the adapter, which says so in a second part."""
PARTS_MAX = 32
ID_CHARS_MAX = 256
"""Longest provider id (event, person, room) we accept."""
LABEL_CHARS_MAX = 256
"""Longest title, column, name of a fact or link."""
FACTS_MAX = 20
VALUE_CHARS_MAX = 1_024
"""Longest value of a fact."""
COLUMNS_MAX = 8
ROWS_MAX = 50
CELL_CHARS_MAX = 256
REACHED_MAX = 10
"""Most phone numbers, and most e-mail addresses, of one contact."""
REACHED_CHARS_MAX = 320
"""Longest phone number or e-mail address of a contact; an address may have 64 + 1 + 255 characters."""


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
    """A file: `ref` is `file:<uuid>` for one of ours (core/files.py), else the provider's URL or id of it."""

    kind: Literal["media"] = "media"
    media_type: str = Field(max_length=128, description="MIME type, e.g. image/jpeg; audio/ogg for a voice note")
    ref: str = Field(max_length=2048, description="file:<id> of ours, lost:<why> of none, else the provider's")
    caption: str | None = Field(default=None, max_length=4096)
    filename: str | None = Field(default=None, max_length=256)
    size: int | None = Field(default=None, ge=0, description="bytes, when the provider says")
    width: int | None = Field(default=None, ge=1, description="pixels, of a picture of ours")
    height: int | None = Field(default=None, ge=1)

    @property
    def may_have_text(self) -> bool:
        """Whether there may be words in it to read; there are none in sound and film."""
        return not self.media_type.startswith(("audio/", "video/"))


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


class Voice(PartModel):
    """An audio note that the provider keeps for us, as a Media; `transcript` is None until somebody has written it."""

    kind: Literal["voice"] = "voice"
    media_type: str = Field(max_length=128, description="MIME type, usually audio/ogg")
    ref: str = Field(max_length=2048)
    duration_s: float | None = Field(default=None, ge=0, description="when the provider says")
    size: int | None = Field(default=None, ge=0, description="bytes, when the provider says")
    transcript: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)


Reached = Annotated[str, Field(min_length=1, max_length=REACHED_CHARS_MAX)]


class Contact(PartModel):
    """Somebody's name, and the numbers and addresses they are reached at, all as the sender wrote them."""

    kind: Literal["contact"] = "contact"
    name: str = Field(max_length=LABEL_CHARS_MAX)
    phones: tuple[Reached, ...] = Field(default=(), max_length=REACHED_MAX)
    emails: tuple[Reached, ...] = Field(default=(), max_length=REACHED_MAX)


class Forwarded(PartModel):
    """Stands first in a message that its sender passed on: somebody else wrote what follows, the captions too."""

    kind: Literal["forwarded"] = "forwarded"


class Fact(PartModel):
    """One line of a card."""

    label: str = Field(min_length=1, max_length=LABEL_CHARS_MAX)
    value: str = Field(max_length=VALUE_CHARS_MAX)


class Link(PartModel):
    """A web address, and what to call it where it can be hidden behind words."""

    url: str = Field(max_length=2048, pattern=r"^https?://[^\s<>\"]+$")
    label: str | None = Field(default=None, max_length=LABEL_CHARS_MAX)


class Card(PartModel):
    """One thing at a glance: a flight, an invoice, a job."""

    kind: Literal["card"] = "card"
    title: str = Field(min_length=1, max_length=LABEL_CHARS_MAX)
    text: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    facts: tuple[Fact, ...] = Field(default=(), max_length=FACTS_MAX)
    link: Link | None = None


Cell = Annotated[str, Field(max_length=CELL_CHARS_MAX)]
Column = Annotated[str, Field(max_length=LABEL_CHARS_MAX)]


class Table(PartModel):
    """Rows that are read by their columns; every row has a cell for each."""

    kind: Literal["table"] = "table"
    title: str | None = Field(default=None, max_length=LABEL_CHARS_MAX)
    columns: tuple[Column, ...] = Field(min_length=1, max_length=COLUMNS_MAX)
    rows: tuple[tuple[Cell, ...], ...] = Field(max_length=ROWS_MAX)

    @model_validator(mode="after")
    def _rows_are_whole(self) -> "Table":
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("every row of a table has one cell for each column")
        return self


Part = Annotated[
    Text | Media | Location | Choices | Voice | Contact | Forwarded | Card | Table,
    Field(discriminator="kind"),
]
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

    @property
    def is_private(self) -> bool:
        """Whether nobody else is in the room: every channel names a one-to-one room after the person."""
        return self.room == self.person

    @property
    def phone(self) -> str | None:
        """The person's number as +254…, where the channel knows people by theirs; Twilio writes a prefix before it, and
        Meta no plus."""
        digits = self.person.removeprefix("whatsapp:").removeprefix("+")
        is_number = self.channel is ChannelName.WHATSAPP and digits.isascii() and digits.isdigit()
        return f"+{digits}" if is_number else None


@dataclass(frozen=True)
class InboundMessage:
    """One message from a person. `event_id` is the provider's own id and is stored once, for ever.

    One that is not `to_bot` is said to the others in the room: it is stored and shown, and nobody answers it.
    """

    sender: Address
    event_id: str
    parts: tuple[Part, ...]
    sent_at: datetime
    display_name: str | None = None
    language: str | None = None
    reply_to: str | None = None
    to_bot: bool = True
    zone: str | None = None
    """The IANA zone of the sender's device, where it tells."""

    # A turn reads both a dozen times: worked out once, which wants a __dict__ and so no slots.
    @cached_property
    def text(self) -> str:
        """What was written or spoken, captions included; empty when nothing was.

        What was put together by tapping, an order or a form, is shown and is no request in words.
        """
        return text_of(tuple(part for part in self.parts if not isinstance(part, Card | Table)))

    @cached_property
    def is_forwarded(self) -> bool:
        """Whether somebody else wrote it, and the sender only passed it on."""
        return any(isinstance(part, Forwarded) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the core says; no channel is named."""

    parts: tuple[Part, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """What there is to pick, if anything."""
        return next((part.options for part in self.parts if isinstance(part, Choices)), ())

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
        # A table or card said twice is said once, as a text is.
        others = list(dict.fromkeys(part for part in others if part not in replies[-1].parts))
        last = [part for part in replies[-1].parts if not isinstance(part, Text)]
        first = [Text(text="\n\n".join(texts)[:TEXT_CHARS_MAX])] if texts else []
        return cls((*first, *others[: PARTS_MAX - 1 - len(last)], *last))


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

    `conversation_id` and `seq` name the stored message; `recipient` says where it goes. A channel that cannot show it
    in one message of its own sends several, one at a time: `piece` is the one whose turn it is, counted from 0. With a
    `template`, that is what is sent, instead of the parts.
    """

    outbox_id: int
    attempt: int
    recipient: Address
    conversation_id: UUID
    seq: int
    parts: tuple[Part, ...]
    created_at: datetime
    piece: int = 0
    template: TemplateUse | None = None


class Drafter(Protocol):
    """A channel where an answer can be seen while it is being made."""

    def show_draft(self, room: str, text: str) -> None:
        """Show what there is of it, in place of what was shown before; returns at once, never fails."""
        ...


def forwarded(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a message that was passed on; nothing stays nothing."""
    return (Forwarded(), *parts[: PARTS_MAX - 1]) if parts else ()


def text_of(parts: tuple[Part, ...]) -> str:
    """All the words of a message that its sender said, one part a line: written, spoken, or shown in cards and tables.

    A contact's name is left out: somebody else chose it, and words of others are no request.
    """
    return "\n".join(words for part in parts if (words := _words(part)))


def _words(part: Part) -> str | None:
    match part:
        case Text():
            return part.text
        case Media():
            return part.caption
        case Voice():
            return part.transcript
        case Card():
            facts = (f"{fact.label}: {fact.value}" for fact in part.facts)
            return "\n".join(line for line in (part.title, part.text, *facts) if line)
        case Table():
            rows = (", ".join(cell for cell in row if cell) for row in (part.columns, *part.rows))
            return "\n".join(line for line in (part.title, *rows) if line)
        case Location() | Choices() | Contact() | Forwarded():
            return None
