"""The worker: sweeps on this loop, and Dramatiq's threads beside it, which hand their work to this loop too."""

import argparse
import asyncio
from collections.abc import Collection, Sequence
from functools import partial

import structlog

from core.db import Database
from core.egress import Egress
from core.files import Files
from core.log import configure
from core.media import from_files
from core.messages import ChannelName
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes
from jobs import fetching
from jobs.broker import FETCH_S_MAX, VOICE_S_MAX, Queue, limited
from jobs.fetching import Sources, fetch_file, sweep_files, tidy_files
from jobs.moderation import sweep_messages
from jobs.reroute import follow_up
from jobs.sweeps import sweep_refused, sweep_reminders
from jobs.templates import sweep_templates
from jobs.voice import Hands, sweep_voice, write_down

log = structlog.get_logger()


async def run_worker(
    settings: Settings, db: Database, wakes: Wakes, channels: Collection[ChannelName]
) -> None:
    """Sweep and follow up until cancelled; `channels` are those this deployment can send on.

    Survives any absence of PostgreSQL and Valkey. Without REDIS_URL the sweep takes care of refusals itself.
    """
    act = partial(follow_up, db, wakes, can_mail=ChannelName.EMAIL in channels)
    if not settings.redis_url:
        log.warning("worker.no_queue", hint="REDIS_URL is empty: follow-ups run one after another")

    async def one_by_one(outbox_ids: Sequence[int]) -> None:
        for outbox_id in outbox_ids:
            await limited(act, outbox_id)

    providers = Providers(settings)
    files, egress, sources = Files(db, Storage(settings)), Egress(settings), Sources(settings, db, wakes)
    listen = partial(write_down, Hands(db, wakes, providers, settings, from_files(files)))
    fetch = partial(fetch_file, fetching.Hands(db, wakes, files, sources, egress))

    async def file_by_file(fetch_ids: Sequence[int]) -> None:
        for fetch_id in fetch_ids:
            await limited(fetch, fetch_id, FETCH_S_MAX)

    async def note_by_note(note_ids: Sequence[int]) -> None:
        for note_id in note_ids:
            await limited(listen, note_id, VOICE_S_MAX)

    queue = Queue(settings.redis_url, asyncio.get_running_loop(), act, listen, fetch) if settings.redis_url else None
    try:
        if queue is not None:
            queue.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(sweep_reminders(db, wakes), name="sweep.reminders")
            if settings.twilio_account_sid:
                group.create_task(sweep_templates(db, settings), name="sweep.templates")
            group.create_task(sweep_refused(db, queue.hand_out if queue else one_by_one), name="sweep.refused")
            if settings.transcribes:
                by = queue.hand_out_voice if queue else note_by_note
                group.create_task(sweep_voice(db, wakes, by), name="sweep.voice")
            by_file = queue.hand_out_files if queue else file_by_file
            group.create_task(sweep_files(db, wakes, by_file), name="sweep.files")
            group.create_task(tidy_files(files), name="tidy.files")
            group.create_task(sweep_messages(db, wakes, providers, settings), name="sweep.messages")
    finally:
        await providers.close()
        if queue is not None:
            # Its threads wait for coroutines on this loop, which therefore must go on meanwhile.
            await asyncio.to_thread(queue.stop)
        await sources.close()
        await egress.close()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options: everything comes from the settings."""


async def main(_args: argparse.Namespace) -> int:
    """`python3 -m bot worker`: a process of its own, as many as wanted."""
    settings = Settings().sandboxed()
    configure(settings)
    db = await Database.connect(settings.database_url, settings.key_list)
    await db.check_keys()
    wakes = Wakes(db)
    try:
        async with wakes.listening():
            log.info("worker.ready")
            await run_worker(settings, db, wakes, [ChannelName.EMAIL] if settings.smtp_host else [])
    finally:
        await db.close()
    return 0
