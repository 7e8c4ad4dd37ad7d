"""Invoices over the JSON API: shown in the caller's chat and sent by nothing but their word there."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession, web

from bot.app import make_app
from bot.wiring import services
from core.messages import Address, ChannelName, InboundMessage, Text
from core.settings import Settings
from core.turn_answer import run_turn
from core.visitors import find_visitor
from tests.bot.test_api import Api
from tests.said import texts
from tests.skills import needs

pytestmark = needs("invoices", "account")
PATH = "connectors/create_invoice/"
DUE = (datetime.now(UTC).date() + timedelta(days=30)).isoformat()
RENT = {"amount": "5000", "currency": "KES", "payer_name": "Achieng", "payer_email": "achieng@example.com"}


@pytest.fixture
async def api(database_url: str, valkey_url: str) -> AsyncIterator[Api]:
    settings = Settings.model_validate(
        {"database_url": database_url, "redis_url": valkey_url, "smtp_host": "127.0.0.1",
         "mail_from": "Mathia <bot@mathia.example>", "intasend_publishable_key": "ISPubKey_test_x",
         "intasend_secret_key": "ISSecretKey_test_x", "_env_file": None}
    )  # fmt: skip
    async with services(settings) as wired:
        runner = web.AppRunner(make_app(wired), shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            async with ClientSession() as session:
                yield Api(f"http://{host}:{port}", session, wired)
        finally:
            await runner.cleanup()


async def says(api: Api, text: str) -> list[str]:
    """Write in the chat of whoever calls, and have it answered; all that was said there."""
    visitor = await find_visitor(api.wired.db, str(api.token), None)
    assert visitor is not None
    address = Address(ChannelName.WEB, "default", str(visitor.id), str(visitor.id))
    await api.wired.inbox.receive([InboundMessage(address, uuid4().hex, (Text(text=text),), datetime.now(UTC), None)])
    while claimed := await api.wired.turns.claim(8):
        for turn in claimed:
            assert await api.wired.turns.close(await run_turn(turn, api.wired.turn_deps))
    return await texts(
        api.wired.db,
        "JOIN conversation c ON c.id = m.conversation_id WHERE m.direction = 'out' AND c.room = $1 ORDER BY m.seq",
        str(visitor.id),
    )


async def test_it_is_sent_by_the_code_typed_in_the_chat(api: Api) -> None:
    asha = await api.guest()
    assert (await asha.call("POST", PATH, RENT))[0] == 404
    await says(asha, "my name is Asha")
    status, told = await asha.call("POST", PATH, {**RENT, "due_date": DUE})
    assert (status, told["state"]) == (202, "to_confirm")
    assert "To: Achieng\nSent to: achieng@example.com (e-mail)\nAmount: KES 5,000.00" in told["shown"]
    prompt = (await says(asha, "hello"))[-2]
    [code] = re.findall(r"10 minutes: (\d{5})$", prompt, re.MULTILINE)
    assert prompt.startswith(told["shown"])
    assert code not in told["shown"]
    assert await api.wired.db.pool.fetchval("SELECT count(*) FROM invoice") == 0
    assert "is on its way to Achieng" in (await says(asha, code))[-1]
    assert await api.wired.db.pool.fetchval("SELECT count(*) FROM invoice") == 1


BAD: list[dict[str, Any]] = [
    {"amount": 5000}, {"amount": "-5"}, {"amount": "1e3"}, {"amount": "0"}, {"amount": "5.001"}, {"amount": ""},
    {"currency": "XXX"}, {"currency": "kes"}, {"payer_name": "  "}, {"payer_name": None},
    {"payer_email": "no address"},
    {"phone_number": "12"}, {"due_date": "2020-01-01"}, {"due_date": "soon"},
    {"due_date": "2099-01-01"}, {"recurrence": "FREQ=MINUTELY"},
    {"recurrence": "often"}, {"person_id": "1"}, {"description": "see www.evil.example"}, {"description": "x" * 501},
    {"payer_name": "\u0000"}
]  # fmt: skip


async def test_bad_input_is_refused_and_changes_nothing(api: Api) -> None:
    asha = await api.guest()
    await says(asha, "my name is Asha")
    for change in BAD:
        status, told = await asha.call("POST", PATH, {**RENT, **change})
        assert (status, told["error"]["code"]) == (422, "bad_body"), (change, told)
    assert await api.wired.db.pool.fetchval("SELECT count(*) FROM confirmation") == 0


async def test_nobody_and_whoever_has_no_name_is_refused(api: Api) -> None:
    assert (await api.call("POST", PATH, RENT))[0] == 401
    guest = await api.guest()
    await says(guest, "hello")
    status, told = await guest.call("POST", PATH, RENT)
    assert status == 422, told
    assert "Under which name" in told["error"]["message"]
