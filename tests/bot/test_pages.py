"""The pages that a link in a chat opens, when the store is away or nobody is known: in the browser's language."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot import account, pay
from core.catalog import Catalog
from core.db import Database
from core.limits import Limits
from core.providers import Providers
from core.settings import Settings

TOKEN = "A" * 43
PAGES = (
    ("GET", f"/account/{TOKEN}"), ("GET", "/account"), ("POST", "/account/open"), ("POST", "/account/leave"),
    ("POST", "/account/pin"), ("GET", "/pay/x"), ("GET", "/pay/x/invoice.pdf"), ("POST", "/pay/x/mpesa"),
)  # fmt: skip


@dataclass(frozen=True)
class Served:
    """What the pages are given."""

    settings: Settings
    db: Database
    limits: Limits
    catalog: Catalog
    providers: Providers


@pytest.fixture
async def browser(valkey_url: str, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of a Swahili speaker, at a deployment whose PostgreSQL is away."""
    settings = Settings(_env_file=None)
    db = await Database.connect(f"postgresql://mathia_app@/mathia?host={tmp_path}")
    valkey, providers = Redis.from_url(valkey_url), Providers(settings)
    served = Served(settings, db, Limits(valkey), Catalog([], settings), providers)
    app = web.Application()
    app.add_routes([*account.routes(served), *pay.routes(served)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    cookies = {"mathia_account": TOKEN}
    async with aiohttp.ClientSession(url, cookies=cookies, headers={"Accept-Language": "sw", "Origin": url}) as session:
        yield session
    await runner.cleanup()
    await providers.close()
    await valkey.aclose()
    await db.close()


async def test_while_the_store_is_away_every_page_says_so_and_when_to_come_again(
    browser: aiohttp.ClientSession,
) -> None:
    for method, path in PAGES:
        async with browser.request(method, path, data={"token": TOKEN} if method == "POST" else None) as answer:
            page = await answer.text()
            assert answer.status == 503, path
        assert answer.headers["Retry-After"] == "5"
        assert answer.headers["Cache-Control"] == "no-store"
        assert '<html lang="sw">' in page, path
        assert ("Si kwa sasa" if path.startswith("/pay") else "Si sasa") in page, path
        assert ("?lang=en" in page) == path.startswith("/pay"), path
    async with browser.get("/pay/x/state") as answer:
        assert answer.status == 503


async def test_a_form_of_another_site_is_refused_before_anything_is_read(browser: aiohttp.ClientSession) -> None:
    for method, path in PAGES:
        if method == "POST":
            async with browser.post(path, data={"token": TOKEN}, headers={"Origin": "https://evil.example"}) as answer:
                assert answer.status == 403, path
