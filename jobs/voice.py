"""Voice notes become text: each waiting note is handed to an actor, claimed, written down, and settled once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from jobs.sweeps import Outage

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
LOOK_S = 1.0
NOTES_MAX = 100
HAND_AGAIN_S = 15.0
"""A wait that nobody ended is handed out again after so long."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What writing down needs."""

    db: Database
    wakes: Wakes
    providers: Providers
    settings: Settings
    fetch: Fetch


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
        name = await asyncio.to_thread(playable, data)
        text = await transcribe(hands.providers, hands.settings, data, name, claimed.language)
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


async def sweep_voice(
    db: Database,
    wakes: Wakes,
    hand_out: Callable[[Sequence[int]], Awaitable[None]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Hand every note that waits and is in nobody's hands to the actors, until cancelled.

    `hand_out` puts row ids into the queue; it may fail while Valkey is away.
    """
    handed: dict[tuple[int, datetime], float] = {}
    outage = Outage("voice")
    while True:
        try:
            rows = await db.pool.fetch(voice.CLAIMABLE, NOTES_MAX)
            now = clock()
            handed = {wait: at for wait, at in handed.items() if now - at < HAND_AGAIN_S}
            wanted = [wait for row in rows if (wait := (row["id"], row["lease_until"])) not in handed]
            if wanted:
                await hand_out([note_id for note_id, _ in wanted])
                handed |= dict.fromkeys(wanted, now)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await wakes.wait("voice", LOOK_S)
