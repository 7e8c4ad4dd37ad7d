"""The worker: sweeps on this loop, and Dramatiq's threads beside it, which hand their work to this loop too."""

import argparse
import asyncio
from collections.abc import Collection, Sequence
from functools import partial

import structlog
from redis.asyncio import Redis

from channels.whatsapp import template_registries
from connectors.intasend.accounts import Accounts
from connectors.intasend.client import IntaSend
from core.db import Database
from core.egress import Egress
from core.files import Files
from core.invoice_pdf import logo_at
from core.log import configure
from core.media import from_files
from core.messages import ChannelName
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes
from jobs import erasure, export, fetching, invoices, payments
from jobs.books import watch_books
from jobs.broker import ACTOR_S_MAX, FETCH_S_MAX, VOICE_S_MAX, HandOut, Queue, Work, limited
from jobs.erasure import ERASE_S_MAX, ERASURES, erase
from jobs.fetching import FETCHES, Sources, fetch_file, tidy_files
from jobs.holds import sweep_holds
from jobs.moderation import sweep_messages
from jobs.reconcile import sweep_reconcile
from jobs.reroute import follow_up
from jobs.summaries import sweep_summaries
from jobs.sweeps import sweep_refused, sweep_reminders, sweep_waiting
from jobs.templates import sweep_templates
from jobs.voice import NOTES, Hands, write_down
from jobs.wallets import sweep_wallets

log = structlog.get_logger()


async def run_worker(settings: Settings, db: Database, wakes: Wakes, channels: Collection[ChannelName]) -> None:
    """Sweep and follow up until cancelled; `channels` are those this deployment can send on.

    Survives any absence of PostgreSQL and Valkey. Without REDIS_URL the sweep works on the rows itself.
    """
    queue = Queue(settings.redis_url, asyncio.get_running_loop()) if settings.redis_url else None
    if queue is None:
        log.warning("worker.no_queue", hint="REDIS_URL is empty: jobs run one after another")
    actor = queue.actor if queue else one_by_one
    providers = Providers(settings)
    files, egress, sources = Files(db, Storage(settings)), Egress(settings), Sources(settings, db, wakes)
    reroute = actor("reroute_refused", partial(follow_up, db, wakes, can_mail=ChannelName.EMAIL in channels))
    listen = partial(write_down, Hands(db, wakes, providers, settings, from_files(files)))
    transcribe = actor("write_voice_down", listen, VOICE_S_MAX)
    fetch = actor(
        "fetch_sent_file",
        partial(fetch_file, fetching.Hands(db, wakes, files, sources, egress)),
        FETCH_S_MAX,
    )
    pack = actor(
        "export_data",
        partial(export.export, export.Hands(db, wakes, files, settings.public_url.rstrip("/"))),
        export.EXPORT_S_MAX,
    )
    valkey = Redis.from_url(settings.redis_url) if settings.redis_url else None
    forget = actor("erase_person", partial(erase, erasure.Hands(db, wakes, valkey)), ERASE_S_MAX)
    provider, accounts = IntaSend(providers, settings), Accounts(providers, settings)
    move = actor(
        "move_payment",
        partial(
            payments.pay,
            payments.Hands(
                db, wakes, provider, accounts, settings.is_sandbox(settings.intasend_base_url),
                base_url=settings.base_url,
            ),
        ),
        payments.PAY_S_MAX,
    )  # fmt: skip
    bills = invoices.Hands(
        db, wakes, files, settings.base_url, settings.default_timezone, settings.is_sandbox(settings.intasend_base_url),
        logo_at(settings.invoice_logo),
    )  # fmt: skip
    attend = actor("attend_invoice", partial(invoices.attend, bills), invoices.INVOICE_S_MAX)
    renew = actor("renew_invoice", partial(invoices.renew, bills))
    try:
        if queue is not None:
            queue.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(sweep_reminders(db, wakes, settings.plans), name="sweep.reminders")
            if registries := template_registries(settings):
                group.create_task(sweep_templates(db, registries), name="sweep.templates")
            group.create_task(sweep_refused(db, reroute), name="sweep.refused")
            if settings.transcribes:
                group.create_task(sweep_waiting(db, wakes, NOTES, transcribe), name="sweep.voice")
            if settings.moves_money:
                group.create_task(sweep_waiting(db, wakes, payments.PAYMENTS, move), name="sweep.payments")
                group.create_task(sweep_reconcile(db, provider, accounts), name="sweep.reconciliation")
            group.create_task(sweep_waiting(db, wakes, invoices.INVOICES, attend), name="sweep.invoices")
            group.create_task(sweep_waiting(db, wakes, invoices.SERIES, renew), name="sweep.invoice_series")
            group.create_task(sweep_waiting(db, wakes, FETCHES, fetch), name="sweep.files")
            group.create_task(sweep_waiting(db, wakes, ERASURES, forget), name="sweep.erasures")
            group.create_task(tidy_files(files), name="tidy.files")
            group.create_task(sweep_waiting(db, wakes, export.EXPORTS, pack), name="sweep.exports")
            group.create_task(export.tidy_exports(db, files), name="tidy.exports")
            group.create_task(sweep_holds(db), name="sweep.holds")
            group.create_task(sweep_wallets(db), name="sweep.wallets")
            group.create_task(watch_books(db), name="watch.books")
            group.create_task(sweep_summaries(db), name="sweep.summaries")
            group.create_task(sweep_messages(db, wakes, providers, settings), name="sweep.messages")
    finally:
        await providers.close()
        if queue is not None:
            # Its threads wait for coroutines on this loop, which therefore must go on meanwhile.
            await asyncio.to_thread(queue.stop)
        await sources.close()
        await egress.close()
        if valkey is not None:
            await valkey.aclose()


def one_by_one(_name: str, work: Work, seconds: float = ACTOR_S_MAX) -> HandOut:
    """Stands for Queue.actor where there is no queue: the sweep waits for each row in turn."""

    async def hand_out(row_ids: Sequence[int]) -> None:
        for row_id in row_ids:
            await limited(work, row_id, seconds)

    return hand_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options: everything comes from the settings."""


async def main(_args: argparse.Namespace) -> int:
    """`python3 -m bot worker`: a process of its own, as many as wanted."""
    settings = Settings().sandboxed()
    configure(settings)
    await Storage(settings).check()
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
