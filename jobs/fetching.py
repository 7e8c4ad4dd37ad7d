"""Files that providers keep for us: each waiting one is handed to an actor, claimed, fetched, and settled once."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from channels.base import MediaSource
from core import fetching
from core.db import Database
from core.egress import TOTAL_S, Egress, TooLarge
from core.errors import ProviderError, ProviderRefused, RateLimited, StoreUnavailable
from core.fetching import Claimed, Lost
from core.files import DAY_BYTES_MAX, FileGone, Files, StoredFile
from core.inbox import Inbox
from core.intake import keep
from core.messages import ChannelName, Media, Voice
from core.settings import Settings
from core.sniff import FileRefused, sniff
from core.wake import Wakes
from jobs.sweeps import Outage, Waiting

log = structlog.get_logger()

TRIES_MAX = 5
AGAIN_S = 2.0
"""How long after a failed try the next one is made; twice as long after each more."""
RETRY_AFTER_S_MAX = 60.0
LEASE = timedelta(seconds=2 * TOTAL_S + 30.0)
AT_ONCE = 2
"""How many files a worker holds in memory at a time."""
FETCHES = Waiting("file", fetching.CLAIMABLE, again_s=30.0)
TIDY_S = 300.0
"""How often what was given up, or deleted while the storage was away, is removed from it."""


class Sources:
    """Where files lie, by channel. A channel's client is made when its first file comes."""

    def __init__(self, settings: Settings, db: Database, wakes: Wakes) -> None:
        self._settings = settings
        self._inbox = Inbox(db, wakes)
        self._made: dict[ChannelName, MediaSource] = {}

    def of(self, channel: ChannelName) -> MediaSource | None:
        """Where the files of a channel lie; None where it is not set up, or has none."""
        if channel not in self._made:
            made = self._make(channel)
            if made is None:
                return None
            self._made[channel] = made
        return self._made[channel]

    def _make(self, channel: ChannelName) -> MediaSource | None:
        settings = self._settings
        if channel is ChannelName.WHATSAPP and (settings.twilio_account_sid or settings.meta_phone_number_id):
            from channels.whatsapp import WhatsAppChannel

            return WhatsAppChannel(settings)
        if channel is ChannelName.TELEGRAM and settings.telegram_bot_token.get_secret_value():
            from channels.telegram import TelegramChannel

            return TelegramChannel(settings, self._inbox)
        return None

    async def close(self) -> None:
        """Let go of their connections."""
        for source in self._made.values():
            await source.close()


@dataclass(frozen=True, slots=True)
class Hands:
    """What fetching needs."""

    db: Database
    wakes: Wakes
    files: Files
    sources: Sources
    egress: Egress
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


async def fetch_file(hands: Hands, fetch_id: int) -> None:
    """Fetch one file; of any number of calls, at once or later, one has an effect."""
    async with hands.places:
        claimed = await fetching.claim(hands.db, fetch_id, LEASE)
        if claimed is None:
            return
        found = await _fetched(hands, claimed)
        if found is None:
            return
        if not await fetching.settle(hands.db, hands.wakes, claimed, found) and isinstance(found, StoredFile):
            await hands.files.delete([found.id])


async def _fetched(hands: Hands, claimed: Claimed) -> StoredFile | Lost | None:
    """The file, kept; why it is not; or None where it is tried again."""
    source = hands.sources.of(claimed.sender.channel) if claimed.sender else None
    if claimed.part is None or claimed.sender is None or source is None:
        return "gone"
    if claimed.tries > TRIES_MAX:
        return "away"
    try:
        fetched = await source.fetch(claimed.sender.account, claimed.part.ref, hands.egress)
        if claimed.identity_id and await hands.files.used(claimed.identity_id) + len(fetched.body) > DAY_BYTES_MAX:
            return "quota"
        return await _kept(hands.files, claimed, claimed.part, fetched.body)
    except FileRefused as error:
        return "large" if error.code in ("too_large", "pixels") else "refused"
    except TooLarge:
        return "large"
    except ProviderRefused as error:
        log.info("fetch.refused", fetch_id=claimed.id, reason=type(error).__name__)
        return "gone"
    except (ProviderError, StoreUnavailable, FileGone) as error:
        log.warning("fetch.failed", fetch_id=claimed.id, tries=claimed.tries, error=type(error).__name__)
        if claimed.tries >= TRIES_MAX:
            return "away"
        told_s = min(error.retry_after_s, RETRY_AFTER_S_MAX) if isinstance(error, RateLimited) else 0.0
        wait_s = max(told_s, AGAIN_S * 2 ** (claimed.tries - 1))
        await fetching.again(hands.db, claimed, timedelta(seconds=wait_s))
        return None


async def _kept(files: Files, claimed: Claimed, part: Media | Voice, data: bytes) -> StoredFile:
    """Look at what came, draw pictures anew, and keep it. Raises FileRefused, FileGone, StoreUnavailable."""
    said = (part.filename or "") if isinstance(part, Media) else "voice"
    seen = await asyncio.to_thread(sniff, said, data, part.media_type)
    return await keep(files, claimed.conversation_id, seen, data, claimed.identity_id)


async def tidy_files(files: Files) -> None:
    """Remove from the storage what no message shows any more, until cancelled."""
    outage = Outage("files")
    while True:
        try:
            swept = await files.sweep()
            if swept:
                log.info("files.swept", count=swept)
            outage.over()
        except StoreUnavailable:
            log.warning("files.storage_away")
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(TIDY_S)
