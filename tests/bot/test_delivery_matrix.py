"""Every way a send can end, on every channel, many at once: nothing sprayed, nothing lost, doubt said where it is.

`MATHIA_SENDS` sets how many messages there are in all.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import pytest

from bot.runners import DeliveryRunner
from bot.wiring import Services, services
from core.messages import Address, ChannelName, InboundMessage, Text
from core.outbox import NewMessage, post
from core.settings import SANDBOX_PHONE_NUMBER_ID, SANDBOX_WHATSAPP_FROM, Settings
from tests.conftest import Sandbox
from tests.waiting import until
from web_admin.queries import counts

SENDS = int(os.environ.get("MATHIA_SENDS", "66"))
CERTAIN_S = 4
"""Longer than anything hangs: what a provider then does not know, it will not come to know."""
NOT_EXECUTED = ("refuse", "429", "reset_before_read", "500_not_executed", "200_html")
EXECUTED = ("ok", "reset_after_execute", "500_executed", "200_truncated_json")
SLOW = ({"fault": "hang", "seconds": 3}, {"fault": "execute_then_hang", "seconds": 3})
"""Both are longer than a send may take with the lease below."""
PLAN = [*NOT_EXECUTED, *EXECUTED, *SLOW]
CHANNELS = ("twilio", "whatsapp", "telegram")
PATHS = {"twilio": "/Messages.json$", "whatsapp": "/messages$", "telegram": "sendMessage"}
TEXT = {"twilio": "body", "whatsapp": "text", "telegram": "text"}

_people = itertools.count(os.getpid() * 10_000)


@pytest.fixture
async def wired(database_url: str, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Services]:
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=valkey_url,
        sandbox_url=sandbox.url,
        send_lease_s=2,
        unknown_certain_s=CERTAIN_S,
    )
    async with services(settings) as made:
        yield made


def stranger(provider: str) -> Address:
    """Somebody nobody has written to."""
    number = next(_people) % 10**8
    match provider:
        case "twilio":
            room = f"whatsapp:+2547{number:08}"
            return Address(ChannelName.WHATSAPP, SANDBOX_WHATSAPP_FROM, room, room)
        case "whatsapp":
            return Address(ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, f"2547{number:08}", f"2547{number:08}")
        case _:
            return Address(ChannelName.TELEGRAM, "1000001", f"5{number:08}", f"5{number:08}")


async def owe(wired: Services, provider: str, number: int) -> str:
    """Owe somebody new one message; its text, which is nobody else's."""
    sender = stranger(provider)
    # Said to others, hence answered by nobody; WhatsApp's window is open from here on.
    hello = InboundMessage(sender, f"matrix:{sender.room}", (Text(text="hello"),), datetime.now(UTC), to_bot=False)
    [received] = await wired.inbox.receive([hello])
    text = f"{provider} {number} {received.conversation_id}"
    async with wired.db.hot() as connection:
        await post(connection, [NewMessage(received.conversation_id, (Text(text=text),), "note", text)])
    return text


async def test_no_send_is_sprayed_or_lost(wired: Services, sandbox: Sandbox) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as client:
        owed: dict[str, str] = {}
        for provider in CHANNELS:
            count = SENDS // len(CHANNELS)
            plan = {"plan": PLAN, "times": count, "seed": 7, "match": {"path": PATHS[provider], "method": "POST"}}
            assert (await client.post(f"/{provider}/_faults", json=plan)).status_code == 200
            owed |= {await owe(wired, provider, number): provider for number in range(count)}
        runner = DeliveryRunner(wired.db, wired.outbox, wired.channels, wired.wakes, wired.settings)
        running = asyncio.create_task(runner.run())

        async def settled() -> bool:
            return not await wired.db.pool.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL")

        try:
            await until(settled, 60 + SENDS, "the end of all sends")
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        copies: Counter[str] = Counter()
        for provider in CHANNELS:
            rows = (await client.get(f"/{provider}/_truth")).json()
            said = [row.get(TEXT[provider]) for row in rows if row["kind"] == "send"]
            copies.update(text for text in said if text in owed)
    rows = await wired.db.pool.fetch("SELECT dedup_key, state, error, attempt FROM outbox")
    ends = {row["dedup_key"]: row for row in rows}
    assert set(ends) == set(owed)
    for text, provider in owed.items():
        end, took = ends[text], copies[text]
        where = f"{text}: {end['state']} after {end['attempt']} tries, {took} at {provider}: {end['error']}"
        # A provider that can be asked is asked, so there is never a second copy; one that cannot be is never sent a
        # second time, and what is not known is said.
        match end["state"]:
            case "sent":
                assert took == 1, where
            case "unknown":
                assert provider in ("whatsapp", "telegram"), where
                assert took <= 1, where
                assert end["error"], where
            case _:
                pytest.fail(where)
    doubtful = [row for row in rows if row["state"] == "unknown"]
    async with wired.db.transaction() as session:
        assert (await counts(session)).lost == len(doubtful), "what is in doubt is before the owner's eyes"
    assert {owed[row["dedup_key"]] for row in rows if row["state"] == "sent"} == set(CHANNELS)
