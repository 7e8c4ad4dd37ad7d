"""Money as people talk about it: topped up from the simulated M-Pesa, seen, and listed."""

from collections.abc import AsyncIterator

import pytest

from core.db import Database
from core.settings import Settings
from tests.conftest import Sandbox
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.jobs.till import PAYS, SAYS_NO, Till, till
from tests.skills import needs
from tests.waiting import until

pytestmark = needs("wallet")

AMINA = at(WHATSAPP, f"whatsapp:+{PAYS}")
VISITOR = at(WEB, "visitor-1")


@pytest.fixture
async def bot(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as whole:
        yield whole


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        yield made


async def over(desk: Till) -> None:
    """Work until no payment is under way."""

    async def none() -> bool:
        await desk.work()
        return not await desk.db.pool.fetchval(
            "SELECT count(*) FROM payment_instruction"
            " WHERE state NOT IN ('succeeded', 'complete', 'late', 'failed', 'needs_review')"
        )

    await until(none, 15.0, "every payment to be over")


async def test_money_is_topped_up_from_the_number_one_writes_from_and_seen(bot: Mathia, desk: Till) -> None:
    assert await bot.hear(AMINA, "what is my balance?") == "You have KES 0.00."
    assert await bot.hear(AMINA, "show my transactions") == "Nothing has come or gone yet."
    assert await bot.hear(AMINA, "top up 500 bob") == (
        f"I have sent the request for KES 500.00 to your phone, +{PAYS}. Type your M-Pesa PIN there; I write to you"
        " here as soon as the money has come. · sandbox"
    )
    assert await bot.hear(AMINA, "what is my balance?") == "You have KES 0.00."
    await over(desk)
    assert (await bot.told(AMINA))[-1].startswith("Received KES 500.00. Ref ")
    assert await bot.hear(AMINA, "salio langu ni ngapi?") == "Una KES 500.00."
    listed = await bot.hear(AMINA, "my last 5 transactions")
    assert "Top-up" in listed
    assert "+KES 500.00" in listed
    seen = await bot.hear(AMINA, "did my payment go through?")
    assert seen.startswith("You have KES 500.00.")
    assert "Top-up" in seen


async def test_a_request_that_is_declined_on_the_phone_is_told_and_adds_nothing(bot: Mathia, desk: Till) -> None:
    assert "How much?" in await bot.hear(VISITOR, "top up my wallet")
    assert await bot.hear(VISITOR, "300") == "Which M-Pesa number should I ask?"
    assert "is not an M-Pesa number" in await bot.hear(VISITOR, "+254 20 212 3456")
    assert f"KES 300.00 to +{SAYS_NO}" in await bot.hear(VISITOR, f"+{SAYS_NO}")
    await over(desk)
    assert "were not paid" in (await bot.told(VISITOR))[-1]
    assert await bot.hear(VISITOR, "check my balance") == "You have KES 0.00."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("top up 50 dollars", "M-Pesa moves Kenyan shillings only. How much in KES?"),
        ("top up 20.50 KES", "M-Pesa moves whole Kenyan shillings only, such as KES 500."),
        ("top up 0 bob", "The amount must be more than zero."),
    ],
)
async def test_an_amount_that_cannot_be_moved_is_asked_about(bot: Mathia, text: str, answer: str) -> None:
    assert await bot.hear(AMINA, text) == answer
    assert await bot.db.pool.fetchval("SELECT count(*) FROM payment_instruction") == 0


async def test_money_is_not_talked_about_in_a_group(bot: Mathia) -> None:
    group = at(TELEGRAM, "70001", "-100500")
    for text in ("what is my balance?", "top up 500 bob", "show my transactions"):
        assert "private" in await bot.hear(group, text)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM payment_instruction") == 0
