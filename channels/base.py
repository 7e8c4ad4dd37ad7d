"""What every channel offers, and the three ways a send can fail.

A send either returns the provider's id, or raises one of:

Undeliverable     the provider said no for good; resending will not help (OutsideWindow, OptedOut: and what to do now)
NotSent           it certainly was not sent; try later (the provider may have said when)
OutcomeUnknown    it may have been sent: never resent blindly, only after asking the provider
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from core.egress import Egress, Fetched
from core.errors import ProviderError, ProviderRefused
from core.messages import ChannelName, OutboundMessage
from core.templates import NewTemplate


class Undeliverable(ProviderRefused):
    """The provider refused this message for good; the reason is a sentence for staff."""


class OutsideWindow(Undeliverable):
    """WhatsApp takes templates only from us to this person now, or not this template: what goes instead is decided."""


class OptedOut(Undeliverable):
    """The provider says that the person wants no messages from us."""


class NotSent(ProviderError):
    """Certainly not sent. `retry_after_s` is the provider's wish; `whole_channel` means it holds for every message."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None, whole_channel: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.whole_channel = whole_channel


class OutcomeUnknown(ProviderError):
    """The request left us and no usable answer came back."""


class Unknowable(ProviderError):
    """The provider offers no way to ask whether a message was sent."""


@runtime_checkable
class MediaSource(Protocol):
    """A channel whose provider keeps the files that people send, until we fetch them."""

    async def fetch(self, account: str, ref: str, egress: Egress) -> Fetched:
        """The file that a part of a message to `account` names. Raises ProviderRefused for good, else ProviderError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """How a template stands with WhatsApp: one of the states of core.templates, and the provider's reason."""

    state: str
    reason: str | None = None


class TemplateRegistry(Protocol):
    """A provider's list of our message templates, and the way to WhatsApp's approval."""

    account: str

    async def add(self, template: NewTemplate) -> str:
        """Register it, or find it where it was registered before; what the provider knows it by.

        At some providers this asks for WhatsApp's approval. Raises ProviderError or ProviderRefused.
        """
        ...

    async def submit(self, provider_ref: str, template: NewTemplate) -> Approval:
        """Ask for WhatsApp's approval."""
        ...

    async def approval(self, provider_ref: str, language: str) -> Approval:
        """How it stands now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Channel(Protocol):
    """One account of ours on one channel."""

    name: ChannelName
    account: str
    per_second: float | None
    """How many messages a second the provider takes from one account, as it says; None for no such limit."""

    def pieces(self, message: OutboundMessage) -> int:
        """How many messages of the provider's show `message`; the same whenever it is asked."""
        ...

    async def send(self, message: OutboundMessage) -> str:
        """Send its piece once, return the provider's message id; raise Undeliverable, NotSent or OutcomeUnknown."""
        ...

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Ask whether that piece was sent at or after `since`: its provider id, or None when it certainly was not.

        `exclude` holds provider ids of other messages and pieces. Raises Unknowable when nobody can tell.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; nothing is sent afterwards."""
        ...


@runtime_checkable
class Typist(Protocol):
    """A channel where people can see that an answer is being made."""

    async def show_typing(self, room: str) -> None:
        """Show it for some five seconds; returns at once, never fails."""
        ...
