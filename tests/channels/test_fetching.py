"""Files that people send are fetched from their providers, and from nowhere else."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from channels.telegram import TelegramChannel
from channels.whatsapp import WhatsAppChannel
from core.db import Database
from core.egress import Egress
from core.errors import ProviderError, ProviderRefused
from core.inbox import Inbox
from core.settings import SANDBOX_ACCOUNT_SID, SANDBOX_PHONE_NUMBER_ID, SANDBOX_WHATSAPP_FROM, Settings
from core.wake import Wakes
from tests.conftest import Sandbox

MESSAGE = "MM" + "c" * 32
DATA = b"OggS" + bytes(range(256)) * 40


@pytest.fixture
def settings(sandbox: Sandbox) -> Settings:
    return Settings.model_validate({"sandbox_url": sandbox.url}).sandboxed()


@pytest.fixture
async def egress(settings: Settings) -> AsyncIterator[Egress]:
    made = Egress(settings)
    yield made
    await made.close()


@pytest.fixture
async def whatsapp(settings: Settings) -> AsyncIterator[WhatsAppChannel]:
    channel = WhatsAppChannel(settings)
    yield channel
    await channel.close()


@pytest.fixture
async def telegram(settings: Settings, db: Database) -> AsyncIterator[TelegramChannel]:
    channel = TelegramChannel(settings, Inbox(db, Wakes(db)))
    yield channel
    await channel.close()


def keep(sandbox: Sandbox, provider: str, data: bytes = DATA, media_type: str = "audio/ogg") -> str:
    """Have a provider keep a file; its id there."""
    given = {"type": media_type, "data": base64.b64encode(data).decode()}
    return str(httpx.post(f"{sandbox.url}/{provider}/_media", json=given, trust_env=False).json()["id"])


def plan(sandbox: Sandbox, provider: str, kind: str) -> None:
    httpx.post(f"{sandbox.url}/{provider}/_faults", json={"plan": [kind]}, trust_env=False).raise_for_status()


def media_url(settings: Settings, number: str, account: str = SANDBOX_ACCOUNT_SID) -> str:
    return f"{settings.twilio_base_url}/2010-04-01/Accounts/{account}/Messages/{MESSAGE}/Media/{number}"


async def test_a_file_at_twilio(
    sandbox: Sandbox, settings: Settings, whatsapp: WhatsAppChannel, egress: Egress
) -> None:
    # The simulator's CDN refuses whoever comes with Twilio's password.
    url = media_url(settings, keep(sandbox, "twilio"))
    found = await whatsapp.fetch(SANDBOX_WHATSAPP_FROM, url, egress)
    assert (found.body, found.content_type) == (DATA, "audio/ogg")
    for elsewhere in (
        media_url(settings, "ME" + "0" * 32),
        media_url(settings, "ME" + "0" * 32, "AC" + "9" * 32),
        url.replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/latest/meta-data/",
        "http://127.1/",
        "http://2130706433/",
        f"http://{url.removeprefix('http://')}@127.1/",
        "123456",
        "",
    ):
        with pytest.raises(ProviderRefused):
            await whatsapp.fetch(SANDBOX_WHATSAPP_FROM, elsewhere, egress)


async def test_a_file_at_meta(sandbox: Sandbox, whatsapp: WhatsAppChannel, egress: Egress) -> None:
    found = await whatsapp.fetch(SANDBOX_PHONE_NUMBER_ID, keep(sandbox, "whatsapp"), egress)
    assert (found.body, found.content_type) == (DATA, "audio/ogg")
    for elsewhere in ("404", "../messages", "1?x=y", "http://169.254.169.254/", "", "x"):
        with pytest.raises(ProviderRefused):
            await whatsapp.fetch(SANDBOX_PHONE_NUMBER_ID, elsewhere, egress)


@asynccontextmanager
async def answering(body: dict[str, object]) -> AsyncIterator[str]:
    """A provider that says this to everything."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(body)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "link",
    ["http://127.1/", "http://2130706433/", "http://[::1]/", "http://169.254.169.254/", "https://lookaside.fbsbx.com@127.1/",
     "https://fbsbx.com.example.com/", "file:///etc/passwd", "", "https://lookaside.fbsbx.com:22/"],
)  # fmt: skip
async def test_a_link_that_is_not_metas_is_not_followed(settings: Settings, link: str) -> None:
    async with answering({"url": link}) as meta:
        own = settings.model_copy(update={"meta_base_url": meta, "egress_allow": meta.removeprefix("http://")})
        egress, channel = Egress(own), WhatsAppChannel(own)
        try:
            with pytest.raises(ProviderRefused):
                await channel.fetch(SANDBOX_PHONE_NUMBER_ID, "123456", egress)
        finally:
            await channel.close()
            await egress.close()


async def test_a_file_at_telegram(sandbox: Sandbox, telegram: TelegramChannel, egress: Egress) -> None:
    found = await telegram.fetch(telegram.account, keep(sandbox, "telegram"), egress)
    assert (found.body, found.content_type) == (DATA, "audio/ogg")
    with pytest.raises(ProviderRefused, match="does not have"):
        await telegram.fetch(telegram.account, "AgACnothing", egress)
    large = keep(sandbox, "telegram", bytes(4 * 1024 * 1024) * 1)
    assert len((await telegram.fetch(telegram.account, large, egress)).body) == 4 * 1024 * 1024


@pytest.mark.parametrize("kind", ["500_not_executed", "429", "reset_before_read", "reset_after_execute"])
async def test_a_provider_in_trouble_is_asked_again_later(
    sandbox: Sandbox,
    settings: Settings,
    whatsapp: WhatsAppChannel,
    telegram: TelegramChannel,
    egress: Egress,
    kind: str,
) -> None:
    refs = {
        "twilio": (SANDBOX_WHATSAPP_FROM, media_url(settings, keep(sandbox, "twilio"))),
        "whatsapp": (SANDBOX_PHONE_NUMBER_ID, keep(sandbox, "whatsapp")),
        "telegram": (telegram.account, keep(sandbox, "telegram")),
    }
    for provider, (account, ref) in refs.items():
        source = telegram if provider == "telegram" else whatsapp
        plan(sandbox, provider, kind)
        with pytest.raises(ProviderError):
            await source.fetch(account, ref, egress)
        assert (await source.fetch(account, ref, egress)).body == DATA
