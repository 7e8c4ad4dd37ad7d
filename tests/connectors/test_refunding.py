"""What was paid on an invoice goes back as it was shown, once, and only to whoever paid it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core.db import Database
from core.settings import Settings
from ledger import invoices
from ledger.instruction_store import Collect, collect
from ledger.instructions import Method, Payee
from ledger.invoices import Invoice, Words
from ledger.journal import Kind
from ledger.money import Money
from tests.conftest import Sandbox
from tests.connectors.test_spending import code_in
from tests.connectors.test_wallet import over
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.jobs.till import PAYS, Till, till
from tests.skills import needs

pytestmark = needs("wallet")

AMINA = at(WHATSAPP, "whatsapp:+254712000001")
BARAKA = at(WHATSAPP, "whatsapp:+254712000002")


@pytest.fixture
async def bot(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as whole:
        await whole.hear(AMINA, "hello")
        yield whole


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox, bot: Mathia) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        made.owner = str(await bot.person(AMINA))
        yield made


async def bill(bot: Mathia, desk: Till, key: str = "bill", paid: tuple[int, ...] = (500,)) -> Invoice:
    """An invoice of Amina's over a thousand shillings, and what was paid on it."""
    person = await bot.person(AMINA)
    room = await bot.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", AMINA.room)
    async with bot.db.hot() as connection:
        made = await invoices.create(
            connection, key, person, room, Money(100_000, "KES"), Words("Amina", "Achieng"),
            today=datetime.now(UTC).date(),
        )  # fmt: skip
    for number, amount in enumerate(paid):
        asked = Collect(
            f"{key}:{number}", Method.PUSH, str(person), person, room, Money(amount * 100, "KES"), Payee(PAYS),
            Kind.INVOICE_PAYMENT, pays=made.id,
        )  # fmt: skip
        async with bot.db.hot() as connection:
            await collect(connection, asked)
        await over(desk)
    return made


async def returns(desk: Till) -> list[Any]:
    """How many refunds there are, and in which states."""
    rows = await desk.db.pool.fetch("SELECT state FROM payment_instruction WHERE method = 'refund' ORDER BY id")
    return [row["state"] for row in rows]


async def test_all_that_was_paid_on_an_invoice_goes_back_as_it_was_shown(bot: Mathia, desk: Till) -> None:
    made = await bill(bot, desk, paid=(500, 200))
    assert await desk.purse() == (70_000, 0)
    prompt = await bot.hear(AMINA, f"refund invoice {made.number}")
    for line in ("Please check this refund:", f"Invoice: {made.number}", "KES 700.00 (seven hundred shillings)"):
        assert line in prompt
    assert await returns(desk) == []
    code = code_in(prompt)
    assert f"KES 700.00 of invoice {made.number} are on their way back" in await bot.hear(AMINA, code)
    assert await desk.purse() == (70_000, 70_000)
    assert "no longer good" in await bot.hear(AMINA, code)
    await over(desk)
    assert await returns(desk) == ["succeeded", "succeeded"]
    assert await desk.purse() == (0, 0)
    assert "were given back to whoever had paid them" in (await bot.told(AMINA))[-1]
    assert "can be given back: nobody paid" in await bot.hear(AMINA, f"refund invoice {made.number}")
    assert "KES 700.00 of that were given back." in await bot.hear(AMINA, f"status of {made.number}")


async def test_an_invoice_is_named_by_who_paid_and_asked_for_where_that_is_not_certain(bot: Mathia, desk: Till) -> None:
    await bill(bot, desk)
    assert "KES 500.00 (five hundred shillings)" in await bot.hear(AMINA, "refund the invoice for Achieng")
    await bot.hear(AMINA, "cancel")
    other = await bill(bot, desk, "another", (300,))
    assert "Ankara gani?" in await bot.hear(AMINA, "rudisha pesa za ankara ya Achieng")
    assert f"Ankara: {other.number}" in await bot.hear(AMINA, other.number)
    assert await returns(desk) == []


async def test_nobody_gives_back_what_was_paid_to_somebody_else_nor_in_a_group(bot: Mathia, desk: Till) -> None:
    made = await bill(bot, desk)
    assert "I know no such invoice of yours" in await bot.hear(BARAKA, f"refund invoice {made.number}")
    assert "private" in await bot.hear(at(TELEGRAM, "70001", "-100500"), f"refund invoice {made.number}")
    assert await returns(desk) == []


@pytest.mark.parametrize("way", ["spent", "paused"])
async def test_what_is_spent_meanwhile_or_stopped_is_not_given_back(bot: Mathia, desk: Till, way: str) -> None:
    made = await bill(bot, desk)
    code = code_in(await bot.hear(AMINA, f"refund invoice {made.number}"))
    if way == "spent":
        await desk.reach(await desk.send(100))
    else:
        await bot.db.pool.execute("UPDATE person SET payments_paused_at = now()")
    told = await bot.hear(AMINA, code)
    assert ("You have KES 400.00, which is not enough to give KES 500.00 back." in told) == (way == "spent")
    assert ("You have stopped your payments" in told) == (way == "paused")
    assert await returns(desk) == []
