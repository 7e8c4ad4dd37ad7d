"""A person's archive, made: each wait is handed to an actor, claimed, packed, kept sealed as a file, and told once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from channels.degrade import size_words
from core import crashpoint, exports
from core.db import Database
from core.errors import StoreUnavailable
from core.exports import Claimed
from core.files import FileGone, Files, StoredFile
from core.language import Plural, Saying
from core.messages import ChannelName, Media, Part, Text
from core.wake import Wakes
from jobs.archive import FILES_BYTES_MAX, archive
from jobs.sweeps import Outage, Waiting

log = structlog.get_logger()

EXPORT_S_MAX: Final = 1_800.0
LEASE = timedelta(seconds=60)
HOLD_S = 15.0
"""How often the lease is made longer while the archive is made."""
TRIES_MAX = 5
TIDY_S = 300.0
AT_ONCE = 1
"""How many archives a worker makes at a time; its other threads are for what somebody waits for."""
MEDIA_TYPE = "application/zip"
EXPORTS = Waiting("export", exports.CLAIMABLE, again_s=15.0)

TOLD = {
    "en": "Here is everything of yours that I keep. The archive stays for 24 hours; README.txt in it explains it.",
    "sw": "Hii ni data yako yote ninayohifadhi. Nitaihifadhi faili kwa saa 24; README.txt iliyomo inaeleza kila kitu.",
}
LEFT_OUT = Plural(
    Saying(
        " Not in it: {count} of your files, because it holds at most {limit} GB or it is gone; README.txt names it.",
        " Faili yako {count} haimo: inabeba faili za GB {limit} tu, au haipo tena. README.txt inaitaja.",
    ),
    Saying(
        " Not in it: {count} of your files, because it holds at most {limit} GB or they are gone; README.txt names"
        " them.",
        " Faili zako {count} hazimo: inabeba faili za GB {limit} tu, au hazipo tena. README.txt inazitaja.",
    ),
)
FAILED = {
    "en": "I could not put your data together: the place where files are kept does not answer. Please ask again later.",
    "sw": "Sikuweza kukusanya data yako: hifadhi ya faili haijibu. Tafadhali omba tena baadaye.",
}


class Lost(Exception):
    """Somebody else holds it now."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What making archives needs. `base_url` is where people reach us; empty where they do not."""

    db: Database
    wakes: Wakes
    files: Files
    base_url: str = ""
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


async def export(hands: Hands, export_id: int) -> None:
    """Make one archive; of any number of calls, at once or later, one has an effect.

    Where others are being made it is left to the sweep, which hands it out again.
    """
    if hands.places.locked():
        return
    async with hands.places:
        claimed = await exports.claim(hands.db, export_id, LEASE)
        if claimed is not None:
            await _export(hands, claimed)


async def _export(hands: Hands, claimed: Claimed) -> None:
    # Whoever had it before may have died between keeping its archive and telling of it.
    with suppress(StoreUnavailable):
        await hands.files.delete(exports.files_until(claimed.id, claimed.attempt - 1))
    language = claimed.language if claimed.language in TOLD else "en"
    if claimed.attempt > TRIES_MAX:
        await exports.settle(hands.db, hands.wakes, claimed, None, (Text(text=FAILED[language]),))
        return
    left_out: list[str] = []
    try:
        file = await _made(hands, claimed, language, left_out)
    except Lost:
        return
    except (StoreUnavailable, FileGone) as error:
        # Its lease ends by itself, and the sweep hands it out again.
        log.warning("export.failed", export_id=claimed.id, attempt=claimed.attempt, error=type(error).__name__)
        return
    crashpoint.hit("export.kept")
    told = _told(hands, claimed, file, language, len(left_out))
    if not await exports.settle(hands.db, hands.wakes, claimed, file.id, told):
        await hands.files.delete([file.id])


async def _made(hands: Hands, claimed: Claimed, language: str, left_out: list[str]) -> StoredFile:
    """The archive, kept; `left_out` gets the names of files that are not in it. Raises Lost."""
    now = datetime.now(UTC)
    earlier = await exports.files_of(hands.db, claimed.person_id)
    chunks = archive(
        hands.db, hands.files, claimed.person_id, claimed.identities, language, now, earlier, left_out=left_out
    )
    return await hands.files.keep(
        claimed.conversation_id, _held(hands, claimed, chunks), name=f"mathia-{now:%Y-%m-%d}.zip",
        media_type=MEDIA_TYPE, id_=exports.file_of(claimed.id, claimed.attempt),
    )  # fmt: skip


async def _held(hands: Hands, claimed: Claimed, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, while the wait stays ours. Raises Lost."""
    held_at = time.monotonic()
    async for chunk in chunks:
        if time.monotonic() - held_at > HOLD_S:
            if not await exports.hold(hands.db, claimed, LEASE):
                raise Lost
            held_at = time.monotonic()
        yield chunk
        crashpoint.hit("export.packing")


def _told(hands: Hands, claimed: Claimed, file: StoredFile, language: str, left_out: int) -> tuple[Part, ...]:
    """What is said of an archive, and the way to it: a link rather than the file itself, which would stay elsewhere."""
    text = TOLD[language]
    if left_out:
        text += LEFT_OUT.of(left_out, limit=FILES_BYTES_MAX // 2**30).to(language)
    if hands.base_url and claimed.channel != ChannelName.WEB:
        link = hands.base_url + hands.files.link(file.id, datetime.now(UTC), exports.KEPT_FOR)
        return (Text(text=f"{text}\n\n{file.name} ({size_words(file.size)}): {link}"),)
    return (
        Text(text=text),
        Media(media_type=file.media_type, ref=file.ref, filename=file.name, size=file.size),
    )


async def tidy_exports(db: Database, files: Files) -> None:
    """Delete archives that were given out for long enough, until cancelled."""
    outage = Outage("exports")
    while True:
        try:
            if old := await exports.expired(db):
                await files.delete([file_id for _, made in old for file_id in made])
                await exports.forget(db, [export_id for export_id, _ in old])
                log.info("exports.expired", count=len(old))
            outage.over()
        except StoreUnavailable:
            log.warning("files.storage_away")
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(TIDY_S)
