"""Who paid may dispute it; by their word nothing is frozen, and of others' payments nothing is told."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from connectors.wallet.disputing import WHY
from core import erasure
from core.db import Database
from core.settings import Settings
from ledger import dispute_store
from ledger.accounts import disputed, wallet
from ledger.balances import balance
from ledger.dispute_store import Dispute, Opening
from ledger.disputes import Act, Stage
from ledger.money import Money
from tests.conftest import Sandbox
from tests.connectors.test_refunding import bill
from tests.connectors.test_spending import code_in
from tests.connectors.test_wallet import over
from tests.core.brain.speaking import understood
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.jobs.till import PAYS, Till, till
from tests.skills import needs

pytestmark = needs("wallet", "contacts", "invoices")

AMINA = at(WHATSAPP, "whatsapp:+254712000001")
BARAKA = at(WHATSAPP, "whatsapp:+254712000002")
CLIENT = at(WHATSAPP, f"whatsapp:+{PAYS}")
ALONE = Money(1_000_000, "KES")


def kes(shillings: int) -> Money:
    return Money(shillings * 100, "KES")


@pytest.fixture
async def bot(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Mathia]:
    """Amina has KES 5,000 and knows Baraka, who has a wallet here, and Jane, who has none."""
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as whole:
        for said in ("save Baraka's number 0712000002", f"save Jane's number +{PAYS}"):
            await whole.hear(AMINA, said)
        await whole.hear(BARAKA, "hello")
        yield whole


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox, bot: Mathia) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        made.owner = str(await bot.person(AMINA))
        await made.fund(5_000)
        yield made


async def pay(bot: Mathia, amount: int, whom: str = "Baraka") -> None:
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, f"send KES {amount} to {whom}")))


async def newest(db: Database) -> Dispute:
    async with db.hot() as connection:
        return await dispute_store.find(
            connection, await connection.fetchval("SELECT reference FROM dispute ORDER BY id DESC LIMIT 1")
        )


async def decide(db: Database, act: Act) -> list[tuple[str, str]]:
    """One of the staff decides about the newest dispute; whom that is told, and how."""
    before = await newest(db)
    async with db.hot() as connection:
        now, done = await dispute_store.decide(connection, act, before.reference, "staff:owner", "seen", ALONE)
    assert done
    return [(one.to, one.says.en) for one in dispute_store.notices(before.frozen, now)]


async def has(db: Database, bot: Mathia) -> tuple[int, int, int]:
    """What Amina has, what Baraka has, and what is frozen of his; in shillings."""
    amina, baraka = str(await bot.person(AMINA)), str(await bot.person(BARAKA))
    accounts = wallet(amina, "KES"), wallet(baraka, "KES"), disputed(baraka, "KES")
    async with db.hot() as connection:
        found = [(await balance(connection, one)).posted.minor // 100 for one in accounts]
    return found[0], found[1], found[2]


async def test_what_was_paid_into_a_wallet_is_disputed_frozen_by_staff_and_given_back(bot: Mathia, desk: Till) -> None:
    await pay(bot, 500)
    assert await bot.hear(AMINA, "dispute the 500 to Baraka") == WHY.en
    prompt = await bot.hear(AMINA, "he never delivered <b>the 12 mats</b>")
    for line in (
        "Payment: to Baraka +254712000002, ",
        "Amount: KES 500.00",
        "You say: “he never delivered <b>the 12 mats</b>”",
    ):
        assert line in prompt
    assert await bot.db.pool.fetchval("SELECT count(*) FROM dispute") == 0
    told = await bot.hear(AMINA, code_in(prompt))
    made = await newest(bot.db)
    assert f"Your dispute {made.reference} over KES 500.00 is open" in told
    assert (made.state, made.frozen, made.opened_by) == (Stage.OPEN, kes(0), f"person:{await bot.person(AMINA)}")
    assert await has(bot.db, bot) == (4_500, 500, 0)
    # Baraka was told nothing, and hears of it once it is frozen.
    assert "disput" not in " ".join(await bot.told(BARAKA))
    frozen = await decide(bot.db, Act.FREEZE)
    assert [to for to, _ in frozen] == ["payee", "payer"]
    assert re.match(r"The payment of \w+ \d+ \w+ \d+ is disputed, over KES 500\.00\. KES 500", frozen[0][1])
    assert "KES 500.00 of KES 500.00 are kept back where they went" in frozen[1][1]
    assert await has(bot.db, bot) == (4_500, 0, 500)
    back = await decide(bot.db, Act.REFUND)
    assert [to for to, _ in back] == ["payee", "payer"]
    assert "are back where you paid from" in back[1][1]
    assert await has(bot.db, bot) == (5_000, 0, 0)
    assert f"before, as {made.reference}, and that was decided" in await bot.hear(AMINA, "dispute the 500 to Baraka")
    async with bot.db.hot() as connection:
        assert await dispute_store.words_of(connection, await newest(bot.db)) == "he never delivered <b>the 12 mats</b>"
        steps = [row["to_state"] for row in await dispute_store.events(connection, made)]
    assert steps == ["open", "frozen", "refunding", "refunded"]
    sealed = await bot.db.pool.fetchval("SELECT words FROM dispute")
    assert b"mats" not in sealed
    await erasure.begin(bot.db, await bot.person(AMINA), asked_by="staff:owner", last_word_to=None)
    async with bot.db.hot() as connection:
        assert await dispute_store.words_of(connection, await newest(bot.db)) is None


async def test_what_staff_leave_where_it_is_is_told_to_who_paid_alone(bot: Mathia, desk: Till) -> None:
    await pay(bot, 500)
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, "napinga malipo ya 500 kwa Baraka, hajaleta mzigo")))
    [(to, says)] = await decide(bot.db, Act.RELEASE)
    assert (to, "the money stays with whoever it was paid to" in says) == ("payer", True)
    assert await has(bot.db, bot) == (4_500, 500, 0)


async def test_who_paid_an_invoice_disputes_it_and_a_chargeback_takes_it_over(bot: Mathia, desk: Till) -> None:
    made = await bill(bot, desk)
    none = await bot.hear(BARAKA, "dispute the payment of INV-2026-99999")
    assert "I find no such payment of yours" in none
    # Somebody else's is told of as one that there is not, and one's own invoice is no payment of one's own.
    await bot.hear(BARAKA, "stop")
    assert await bot.hear(BARAKA, f"dispute the payment of {made.number}") == none
    assert "You sent invoice" in await bot.hear(AMINA, f"dispute the payment of {made.number}, it is wrong")
    prompt = await bot.hear(CLIENT, f"I never got what I paid for, dispute the payment of {made.number}")
    assert f"Payment: invoice {made.number} from Amina\nAmount: KES 500.00" in prompt
    assert "is open" in await bot.hear(CLIENT, code_in(prompt))
    opened = await newest(bot.db)
    assert (opened.state, opened.frozen.minor) == (Stage.OPEN, 0)
    assert await bot.db.pool.fetchval("SELECT state FROM invoice") == "part_paid"
    assert "disputed already, as" in await bot.hear(CLIENT, f"dispute {made.number}, it is wrong")
    asked = Opening("chargeback:C1", opened.payment or "", kes(500), "provider", "chargeback C1: new", line_id="C1")
    for _ in range(2):
        async with bot.db.hot() as connection:
            taken = await dispute_store.open_(connection, asked)
    assert (taken.state, taken.frozen, taken.line_id) == (Stage.FROZEN, kes(500), "C1")
    async with bot.db.hot() as connection:
        before = await dispute_store.find(connection, opened.reference)
        assert await dispute_store.words_of(connection, taken) == await dispute_store.words_of(connection, before)
    assert before.state is Stage.RELEASED
    told = [(one.to, one.says.en) for one in dispute_store.notices(None, taken)]
    assert told[1] == (
        "payer",
        f"The payment provider is looking at the payment of your dispute too. It goes on as {taken.reference}.",
    )
    assert "goes back" not in told[0][1]
    assert [to for to, _ in await decide(bot.db, Act.LOSE)] == ["payee", "payer"]


async def test_a_refund_of_a_disputed_invoice_is_told_to_who_paid_as_it_ends(bot: Mathia, desk: Till) -> None:
    made = await bill(bot, desk)
    await bot.hear(CLIENT, code_in(await bot.hear(CLIENT, f"dispute {made.number}, it was paid twice")))
    await decide(bot.db, Act.FREEZE)
    assert await bot.db.pool.fetchval("SELECT state FROM invoice") == "disputed"
    [(to, says)] = await decide(bot.db, Act.REFUND)
    assert (to, "on their way back to the number that paid" in says) == ("payer", True)
    await over(desk)
    assert "are back where you paid from" in (await bot.told(CLIENT))[-1]


async def test_what_cannot_be_disputed_is_said_and_changes_nothing(bot: Mathia, desk: Till) -> None:
    await pay(bot, 700, "Jane")
    assert "The KES 700.00 went to M-Pesa, out of here" in await bot.hear(
        AMINA, "dispute the 700 to Jane, wrong amount"
    )
    for said in ("dispute the payment to Baraka, it is wrong", "dispute the 4,321 to Jane, it is wrong"):
        assert "I find no such payment of yours" in await bot.hear(AMINA, said)
        await bot.hear(AMINA, "stop")
    assert "private" in await bot.hear(at(TELEGRAM, "70001", "-100500"), "dispute the 500 to Baraka")
    for amount in (101, 102, 103, 104):
        await pay(bot, amount)
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, "dispute the 101 to 0712000002, it is wrong")))
    prompts = [await bot.hear(AMINA, f"dispute the {amount} to Baraka, it is wrong") for amount in (102, 103)]
    assert "no longer good" in await bot.hear(AMINA, code_in(prompts[0]))  # Another one was shown since.
    assert "is open" in await bot.hear(AMINA, code_in(prompts[1]))
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, "dispute the 102 to Baraka, it is wrong")))
    assert "3 disputes within a day" in await bot.hear(AMINA, "dispute the 104 to Baraka, it is wrong")
    assert await bot.db.pool.fetchval("SELECT count(*) FROM dispute") == 3
    long = await bot.hear(AMINA, "dispute the 103 to Baraka, it is wrong " + "and so on " * 30)
    assert "disputed already" in long
    for bad in (
        "INSERT INTO dispute (reference, key, currency, amount, opened_by) VALUES ('X', 'x', 'KES', 1, 'x')",
        "INSERT INTO dispute (reference, key, entry_id, currency, amount, opened_by)"
        " SELECT 'X', 'x', entry_id, 'KES', 1, 'x' FROM dispute LIMIT 1",
        "INSERT INTO dispute (reference, key, entry_id, currency, amount, opened_by, said_by, told_in)"
        " SELECT 'X', 'x', entry_id, 'KES', 1, 'x', said_by, told_in FROM dispute LIMIT 1",
        "UPDATE dispute SET said_by = NULL",
    ):
        with pytest.raises(asyncpg.PostgresError):
            await bot.db.pool.execute(bad)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("nataka kulalamika kuhusu malipo ya INV-2026-00003", {"payment": "INV-2026-00003"}),
        ("dispute payment of INV-2026-00003", {"payment": "INV-2026-00003"}),
        ("I want to complain about the KES 500 I paid to Baraka", {"payment": "Baraka", "amount": "500"}),
        ("nataka kudispute payment ya 500 kwa Baraka", {"payment": "Baraka", "amount": "500"}),
        ("dispute a payment", {}),
        *(
            (said, {"payment": "Achieng", "amount": "2500", "reason": said})
            for said in (
                "I never got what I paid for, dispute the 2,500 to Achieng",
                "sikupata nilicholipia, napinga malipo ya 2,500 kwa Achieng",
                "nina malalamiko kuhusu malipo ya 2500 kwa Achieng, hajaleta mzigo",
                "nimeconiwa 2500 na Achieng",
            )
        ),
    ],
)
def test_what_people_dispute_is_read(text: str, slots: dict[str, str]) -> None:
    intent = understood(text)
    assert (intent.action, intent.guessed, dict(intent.slots)) == ("open_dispute", False, slots)


@pytest.mark.parametrize(
    "text", ["what is a dispute?", "remind me to dispute the payment", "I want to complain about the weather"]
)
def test_what_only_sounds_like_it_opens_none(text: str) -> None:
    assert understood(text).action != "open_dispute"
