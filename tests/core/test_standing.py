"""Help as it is at the moment: what was asked, what waits, who is away, what could be linked."""

import time

from connectors import CONNECTORS
from connectors.weather import asked_at
from core import standing
from core.catalog import Catalog
from core.db import Database
from core.messages import Address
from tests.core.speaking import WEB, WHATSAPP, Mathia, at, mathia
from tests.skills import needs

pytestmark = needs("weather", "reminders", "account", "memory")

ASHA = at(WHATSAPP, "whatsapp:+254712345678")
GROUP = Address(WEB, "ours", "a-room", "somebody")


async def test_help_tells_what_was_asked_and_how_to_leave_it(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as whole:
        await whole.hear(ASHA, "remind me to call Juma")
        told = await whole.hear(ASHA, "help")
        assert "Just now I have asked you: When should I remind you? Or say “cancel” to leave it." in told
        assert "Done. Reminder set" in await whole.hear(ASHA, "tomorrow at 9 am"), "the question stays open"
        assert "Just now" not in await whole.hear(ASHA, "help")


async def test_help_tells_of_a_code_that_is_waited_for_and_of_chats_to_link(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as whole:
        assert standing.ALONE.en in await whole.hear(ASHA, "help")
        assert standing.WAITS.en not in await whole.hear(ASHA, "help")
        await whole.hear(ASHA, "erase my data")
        assert standing.WAITS.sw in await whole.hear(ASHA, "msaada")
        assert await said(whole, GROUP) == "", "nothing of theirs is told in company"


async def test_help_tells_who_does_not_answer(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as whole:
        base_url = asked_at(whole.deps.settings)
        provider = whole.deps.providers.client("Open-Meteo", base_url)
        for _ in range(provider.breaker.failures_max):
            provider.breaker.failed(time.monotonic())
        away = "Weather: no answer from there just now, try again in a minute."
        assert away in await whole.hear(ASHA, "help")
        assert await said(whole, GROUP) == away
        provider.breaker.succeeded()
        assert away not in await whole.hear(ASHA, "help")


async def test_nobody_is_told_to_link_where_nothing_links(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as whole:
        await whole.hear(ASHA, "help")
        catalog = Catalog([one for one in CONNECTORS if one.name != "account"], whole.deps.settings, confirms=True)
        assert await standing.lines(db, catalog, whole.deps.providers, whole.deps.settings, ASHA, "en") == ""


async def said(whole: Mathia, where: Address) -> str:
    deps = whole.deps
    return await standing.lines(deps.db, deps.catalog, deps.providers, deps.settings, where, "en")
