"""WhatsApp's templates: register and submit ours, and keep up with what WhatsApp decides about them."""

import asyncio
from collections.abc import Sequence

import structlog

from channels.base import TemplateRegistry
from core.db import Database
from core.errors import ProviderError, ProviderRefused
from core.messages import ChannelName
from core.templates import OPEN_STATES, OURS, STATES, Row, keep, mark, rows
from jobs.sweeps import Outage

log = structlog.get_logger()

REFRESH_S = 180.0
WHATSAPP = ChannelName.WHATSAPP


async def sweep_templates(db: Database, registries: Sequence[TemplateRegistry], *, every_s: float = REFRESH_S) -> None:
    """Ask every `every_s` seconds how templates that WhatsApp has not decided about stand, until cancelled."""
    outage = Outage("templates")
    try:
        while True:
            try:
                for registry in registries:
                    await _refresh_quietly(db, registry)
                outage.over()
            except Exception as error:
                await outage.wait(error)
                continue
            await asyncio.sleep(every_s)
    finally:
        for registry in registries:
            await registry.close()


async def _refresh_quietly(db: Database, registry: TemplateRegistry) -> None:
    """One provider that does not answer keeps nobody from asking the other."""
    try:
        await refresh(db, registry, OPEN_STATES)
    except (ProviderError, ProviderRefused) as trouble:
        log.warning("templates.not_refreshed", account=registry.account, error=type(trouble).__name__)


async def add(db: Database, registry: TemplateRegistry) -> int:
    """Register those of ours that the account does not have yet; how many were new to us.

    Where registering asks for approval, how that stands is written down at once. Raises ProviderError.
    """
    known = {(row.name, row.language): row.provider_ref for row in await rows(db, WHATSAPP, registry.account)}
    new = 0
    for template in OURS:
        provider_ref = await registry.add(template)
        new += known.get((template.name, template.language)) != provider_ref
        await keep(db, WHATSAPP, registry.account, template, provider_ref)
    await refresh(db, registry, STATES)
    return new


NOW = "SELECT clock_timestamp()"


async def submit(db: Database, registry: TemplateRegistry) -> int:
    """Submit what is registered and was never submitted; how many. Raises ProviderError or ProviderRefused."""
    texts = {(template.name, template.language): template for template in OURS}
    submitted = 0
    for row in await rows(db, WHATSAPP, registry.account):
        template = texts.get((row.name, row.language))
        if template is None or row.provider_ref is None or row.state != "unsubmitted":
            continue
        # Somebody may have submitted it at Twilio, or a call of ours whose answer was lost.
        asked_at = await db.pool.fetchval(NOW)
        standing = await registry.approval(row.provider_ref, row.language)
        if standing.state == "unsubmitted":
            standing = await registry.submit(row.provider_ref, template)
            submitted += 1
        await mark(db, WHATSAPP, registry.account, row, standing.state, standing.reason, asked_at)
    return submitted


async def refresh(db: Database, registry: TemplateRegistry, states: tuple[str, ...]) -> list[Row]:
    """Ask how templates in these states stand; those whose state changed, as they were."""
    changed = []
    for row in await rows(db, WHATSAPP, registry.account):
        if row.provider_ref is None or row.state not in states:
            continue
        asked_at = await db.pool.fetchval(NOW)
        standing = await registry.approval(row.provider_ref, row.language)
        await mark(db, WHATSAPP, registry.account, row, standing.state, standing.reason, asked_at)
        if standing.state != row.state:
            log.info("template.changed", name=row.name, language=row.language, state=standing.state)
            changed.append(row)
    return changed
