"""The one place where objects are made: Settings in, Services out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from channels.base import Channel
from channels.email import EmailChannel
from channels.telegram import TelegramChannel
from channels.web import WebChannel
from channels.whatsapp import WhatsAppChannel
from connectors import CONNECTORS
from core.brain import Brain
from core.brain.chain import Models
from core.brain.commands import menu
from core.brain.rules import RuleBrain
from core.cache import ResultCache
from core.catalog import Catalog
from core.db import Database
from core.dialog_store import DialogStore
from core.files import Files
from core.inbox import Inbox
from core.limits import Limits
from core.media import from_files
from core.messages import ChannelName
from core.outbox import Outbox
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from core.turn import TurnDeps
from core.turn_store import Turns
from core.wake import Wakes

VALKEY_TIMEOUT_S = 0.5
"""Valkey only helps; nobody waits longer for it than this."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a process needs, made once."""

    settings: Settings
    db: Database
    wakes: Wakes
    valkey: Redis
    catalog: Catalog
    providers: Providers
    brain: Brain
    inbox: Inbox
    turns: Turns
    outbox: Outbox
    turn_deps: TurnDeps
    limits: Limits
    files: Files
    channels: dict[ChannelName, Channel]
    web: WebChannel
    telegram: TelegramChannel | None


def connect_valkey(url: str) -> Redis:
    """A Valkey client that answers, or fails, within VALKEY_TIMEOUT_S."""
    return Redis.from_url(
        url, socket_timeout=VALKEY_TIMEOUT_S, socket_connect_timeout=VALKEY_TIMEOUT_S, retry=Retry(NoBackoff(), 1)
    )


@asynccontextmanager
async def services(settings: Settings, *, runners_elsewhere: bool = False) -> AsyncIterator[Services]:
    """Make everything for this process, listen for wake-ups, and let go of it all at the end.

    `runners_elsewhere` sends a NOTIFY with each stored message, for web processes without runners of their own.
    """
    settings = settings.sandboxed()
    storage = Storage(settings)
    await storage.check()
    db = await Database.connect(settings.database_url, settings.key_list)
    await db.check_keys()
    wakes = Wakes(db)
    valkey = connect_valkey(settings.redis_url)
    limits = Limits(valkey, settings.plans)
    providers = Providers(settings)
    catalog = Catalog(CONNECTORS, settings, confirms=True)
    inbox = Inbox(db, wakes, tell_others=runners_elsewhere, transcribes=settings.transcribes)
    brain = RuleBrain(catalog, settings.default_timezone)
    files = Files(db, storage)
    web = WebChannel(settings, db, inbox, valkey, wakes, files, limits)
    telegram = None
    if settings.telegram_bot_token.get_secret_value():
        telegram = TelegramChannel(
            settings, inbox, files=files, commands={code: menu(catalog.offered, code or "en") for code in ("", "sw")}
        )
    channels: dict[ChannelName, Channel] = {ChannelName.WEB: web}
    if settings.twilio_account_sid or settings.meta_phone_number_id:
        channels[ChannelName.WHATSAPP] = WhatsAppChannel(settings, files)
    if telegram is not None:
        channels[ChannelName.TELEGRAM] = telegram
    if settings.smtp_host:
        channels[ChannelName.EMAIL] = EmailChannel(settings, files)
    models = Models.of(settings, catalog, db)
    deps = TurnDeps(
        brain, catalog, providers, ResultCache(valkey, db.keys), db, settings, limits, from_files(files), models,
        {ChannelName.WEB: web},
    )  # fmt: skip
    turns = Turns(
        db,
        wakes,
        DialogStore(valkey, db.keys),
        limits,
        lease_s=settings.turn_lease_s,
        zone=settings.default_timezone,
        patience_s=settings.transcription_wait_s,
    )
    try:
        async with wakes.listening():
            yield Services(
                settings,
                db,
                wakes,
                valkey,
                catalog,
                providers,
                brain,
                inbox,
                turns,
                Outbox(db, lease_s=settings.send_lease_s),
                deps,
                limits,
                files,
                channels,
                web,
                telegram,
            )
    finally:
        for channel in channels.values():
            await channel.close()
        await providers.close()
        if models is not None:
            await models.close()
        await valkey.aclose()
        await db.close()
