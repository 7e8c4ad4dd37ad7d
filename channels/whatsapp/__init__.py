"""WhatsApp, by whichever provider a conversation's number is at: Twilio, Meta's Cloud API, or both side by side."""

import time
from collections.abc import Collection
from datetime import datetime

from channels.base import NotSent, TemplateRegistry, Undeliverable, Unknowable
from channels.whatsapp.cloud import CloudChannel
from channels.whatsapp.cloud_templates import CloudTemplates
from channels.whatsapp.twilio import TwilioChannel
from channels.whatsapp.twilio_content import TwilioContent
from core.egress import Egress, Fetched
from core.errors import ProviderRefused
from core.files import Files
from core.messages import ChannelName, OutboundMessage
from core.settings import Settings

TWILIO_PREFIX = "whatsapp:"
"""How accounts at Twilio begin, whatsapp:+14155238886; those at Meta are digits."""


def template_registries(settings: Settings) -> list[TemplateRegistry]:
    """Where templates of our WhatsApp senders are registered; a sender at Meta needs its business account's id."""
    found: list[TemplateRegistry] = []
    if settings.twilio_account_sid and settings.twilio_whatsapp_from:
        found.append(TwilioContent(settings))
    if settings.meta_phone_number_id and settings.meta_waba_id:
        found.append(CloudTemplates(settings))
    return found


class WhatsAppChannel:
    """Our WhatsApp numbers; each message goes out by the one that its person writes to."""

    name: ChannelName = ChannelName.WHATSAPP

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        """The numbers that are set up, with the files they send; raises ValueError when there is none."""
        self._by_twilio: dict[bool, TwilioChannel | CloudChannel] = {}
        if settings.twilio_account_sid:
            self._by_twilio[True] = TwilioChannel(settings, files)
        if settings.meta_phone_number_id:
            self._by_twilio[False] = CloudChannel(settings, files)
        if not self._by_twilio:
            raise ValueError("no WhatsApp number is set up")
        self._held_until: dict[bool, float] = {}
        self.account = next(channel.account for channel in self._by_twilio.values())
        paces = [channel.per_second for channel in self._by_twilio.values() if channel.per_second is not None]
        # All that is due may belong to one number, so the lowest limit holds for them together.
        self.per_second: float | None = min(paces, default=None)

    def pieces(self, message: OutboundMessage) -> int:
        """How many messages show it at the conversation's own provider; 1 where that is not set up any more."""
        channel = self._by_twilio.get(message.recipient.account.startswith(TWILIO_PREFIX))
        return channel.pieces(message) if channel else 1

    async def send(self, message: OutboundMessage) -> str:
        """Send once by the conversation's own number; raises Undeliverable, NotSent or OutcomeUnknown.

        Where two are set up, a provider that wants no messages at all for a while keeps back its own only.
        """
        at_twilio = message.recipient.account.startswith(TWILIO_PREFIX)
        channel = self._by_twilio.get(at_twilio)
        if channel is None:
            raise Undeliverable("This conversation's WhatsApp number is not set up here any more.")
        wait_s = self._held_until.get(at_twilio, 0.0) - time.monotonic()
        if wait_s > 0:
            raise NotSent("The provider wants no messages just now.", retry_after_s=wait_s)
        try:
            return await channel.send(message)
        except NotSent as trouble:
            if not trouble.whole_channel or trouble.retry_after_s is None or len(self._by_twilio) == 1:
                raise
            self._held_until[at_twilio] = time.monotonic() + trouble.retry_after_s
            raise NotSent(str(trouble), retry_after_s=trouble.retry_after_s) from trouble

    async def find_sent(self, message: OutboundMessage, since: datetime, exclude: Collection[str]) -> str | None:
        """Ask the conversation's own provider; raises Unknowable where it is not set up any more or cannot tell."""
        channel = self._by_twilio.get(message.recipient.account.startswith(TWILIO_PREFIX))
        if channel is None:
            raise Unknowable("its WhatsApp number is not set up here any more.")
        return await channel.find_sent(message, since, exclude)

    async def fetch(self, account: str, ref: str, egress: Egress) -> Fetched:
        """The file that somebody sent to one of our numbers. Raises ProviderRefused for good, else ProviderError."""
        source = self._by_twilio.get(account.startswith(TWILIO_PREFIX))
        if source is None:
            raise ProviderRefused("The WhatsApp number that got this file is not set up here any more.")
        return await source.fetch(account, ref, egress)

    async def close(self) -> None:
        """Let go of all connections."""
        for channel in self._by_twilio.values():
            await channel.close()
