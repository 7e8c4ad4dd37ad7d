"""Voice notes become text: each waiting note is handed to an actor, claimed, written down, and settled once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from core import voice
from core.db import Database
from core.errors import ProviderError, ProviderRefused, RateLimited, StoreUnavailable
from core.files import FileGone
from core.media import Fetch, NotFetched
from core.providers import Providers
from core.settings import Settings
from core.transcription import DEADLINE_S, NoWords, playable, transcribe
from core.wake import Wakes
from jobs.sweeps import Waiting

log = structlog.get_logger()

TRIES_MAX = 3
"""How often a service is asked to write one note down."""
LEASE = timedelta(seconds=DEADLINE_S + 15.0)
AGAIN_S = 2.0
"""How long after a failed try the next one is made; twice as long after the second."""
RETRY_AFTER_S_MAX = 30.0
NOT_HERE_S = 1.0
"""How long after a look for a note that the provider still has, the next one is made."""
FETCHED_WITHIN = timedelta(minutes=10)
"""A note whose file has not come by then is given up."""
NOTES = Waiting("voice", voice.CLAIMABLE, again_s=15.0)


@dataclass(frozen=True, slots=True)
class Hands:
    """What writing down needs."""

    db: Database
    wakes: Wakes
    providers: Providers
    settings: Settings
    fetch: Fetch
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


async def write_down(hands: Hands, note_id: int) -> None:
    """Write one note down; of any number of calls, at once or later, one has an effect."""
    claimed = await voice.claim(hands.db, note_id, LEASE)
    if claimed is None:
        return
    try:
        if claimed.voice is None:
            raise NoWords("empty")
        if claimed.attempt > TRIES_MAX:
            raise NoWords("away")
        data = await hands.fetch(claimed.conversation_id, claimed.voice.ref)
        note = await asyncio.to_thread(playable, data)
        zone = ZoneInfo(hands.settings.default_timezone)
        if not await voice.take(hands.db, hands.settings.plans, claimed, note.seconds, hands.now(), zone):
            raise NoWords("many")
        text = await transcribe(hands.providers, hands.settings, data, note.name, claimed.language)
    except NoWords as told:
        await voice.settle(hands.db, hands.wakes, claimed, None, told.problem)
    except FileGone:
        await voice.settle(hands.db, hands.wakes, claimed, None, "unreadable")
    except NotFetched:
        if claimed.age > FETCHED_WITHIN:
            await voice.settle(hands.db, hands.wakes, claimed, None, "away")
        else:
            await voice.again(hands.db, claimed, timedelta(seconds=NOT_HERE_S), counted=False)
    except StoreUnavailable:
        await voice.again(hands.db, claimed, timedelta(seconds=AGAIN_S), counted=False)
    except ProviderRefused as error:
        # A wrong key or model: nothing the person does helps, and nothing a second try does either.
        log.error("voice.refused", note_id=note_id, error=str(error))
        await voice.settle(hands.db, hands.wakes, claimed, None, "away")
    except ProviderError as error:
        log.warning("voice.failed", note_id=note_id, attempt=claimed.attempt, error=type(error).__name__)
        if claimed.attempt >= TRIES_MAX:
            await voice.settle(hands.db, hands.wakes, claimed, None, "away")
        else:
            told_s = min(error.retry_after_s, RETRY_AFTER_S_MAX) if isinstance(error, RateLimited) else 0.0
            wait_s = max(told_s, AGAIN_S * 2 ** (claimed.attempt - 1))
            await voice.again(hands.db, claimed, timedelta(seconds=wait_s))
    else:
        await voice.settle(hands.db, hands.wakes, claimed, text)
