"""Money is sent only as it was shown, once, by whoever was shown it."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from bot.sandbox.accounts import INTASEND_OTHER_PUBLISHABLE_KEY, INTASEND_OTHER_SECRET_KEY
from connectors.wallet.amounts import SendMoney
from connectors.wallet.spending import show_payment, visible
from core import confirm, erasure, people, renumber
from core.actions import ActionContext, Person
from core.amount_words import in_words
from core.brain.honest import ASKS_FOR_CODE
from core.db import Database
from core.errors import InvalidSlot
from core.messages import InboundMessage, Text, Voice, text_of
from core.renumber import Renumbered
from core.settings import Settings
from core.turn_answer import run_turn
from ledger import fees, holds, own_accounts, payment_switch
from ledger.accounts import fee_income, wallet
from ledger.balances import balance
from ledger.errors import SpendingLimit
from ledger.holds import Allowance
from ledger.journal import Kind
from ledger.money import Money
from ledger.transfers import transfer
from tests.conftest import Sandbox
from tests.connectors.test_wallet import over
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.jobs.till import PAYS, SAYS_NO, Till, till
from tests.said import messages
from tests.skills import needs

pytestmark = needs("wallet", "contacts")

AMINA = at(WHATSAPP, "whatsapp:+254712000001")
BARAKA = at(WHATSAPP, "whatsapp:+254712000002")
ASK = f"send KES 1,500 to +{PAYS}"


@pytest.fixture
async def bot(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Mathia]:
    """Amina has KES 5,000 and knows Jane's number, who has no wallet here; Baraka has one."""
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as whole:
        await whole.hear(AMINA, f"save Jane's number +{PAYS}")
        await whole.hear(BARAKA, "hello")
        yield whole


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox, bot: Mathia) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        made.owner = str(await bot.person(AMINA))
        await made.fund(5_000)
        yield made


def code_in(prompt: str) -> str:
    [code] = re.findall(r"^.*10 minutes: ([0-9]{5})$|^.*dakika 10: ([0-9]{5})$", prompt, re.MULTILINE)
    return "".join(code)


async def buttons(bot: Mathia) -> tuple[str, ...]:
    """What the newest message to Amina has to press."""
    rest = (
        "JOIN conversation c ON c.id = m.conversation_id WHERE m.direction = 'out' AND c.room = $1 ORDER BY m.seq DESC"
    )
    newest = (await messages(bot.db, f"{rest} LIMIT 1", AMINA.room))[0]
    return next((tuple(part["options"]) for part in newest["parts"] if part["kind"] == "choices"), ())


async def payments(bot: Mathia) -> tuple[int, int]:
    """How many payouts there are, and transfers."""
    row = await bot.db.pool.fetchrow(
        "SELECT (SELECT count(*) FROM payment_instruction WHERE direction = 'out'),"
        " (SELECT count(*) FROM journal_entry WHERE kind = 'TRANSFER')"
    )
    return tuple(row)


async def test_money_goes_to_m_pesa_and_is_seen_in_the_list(bot: Mathia, desk: Till) -> None:
    prompt = await bot.hear(AMINA, "send KES 1,500 to Jane")
    assert f"KES 1,500.00 to Jane +{PAYS} are on their way" in await bot.hear(AMINA, code_in(prompt))
    assert await desk.purse() == (500_000, 150_000)
    assert "You have KES 3,500.00, and KES 1,500.00 more are kept back" in await bot.hear(AMINA, "my balance")
    await over(desk)
    assert (await bot.told(AMINA))[-1].startswith(f"Sent KES 1,500.00 to Jane +{PAYS}. Ref ")
    listed = await bot.hear(AMINA, "my last 5 transactions")
    assert "To M-Pesa" in listed
    assert "−KES 1,500.00" in listed


async def test_money_goes_at_once_to_the_wallet_of_somebody_who_is_here(bot: Mathia, desk: Till) -> None:
    prompt = await bot.hear(AMINA, "tuma 500 kwa 0712000002")
    assert "Kwa: namba isiyo kwenye mawasiliano yako, +254712000002, kwenye pochi yao hapa" in prompt
    assert "(shilingi mia tano)" in prompt
    assert "Nimetuma KES 500.00 kwa +254712000002. Una KES 4,500.00." in await bot.hear(AMINA, code_in(prompt))
    assert await desk.purse() == (450_000, 0)
    assert (await bot.told(BARAKA))[-1].startswith("You have received KES 500.00 from ")
    assert await bot.hear(BARAKA, "my balance") == "You have KES 500.00."
    assert await payments(bot) == (0, 1)


async def test_money_is_withdrawn_to_the_number_one_writes_from(bot: Mathia, desk: Till) -> None:
    prompt = await bot.hear(AMINA, "withdraw 200")
    assert "To: yourself, +254712000001, to M-Pesa" in prompt
    await bot.hear(AMINA, code_in(prompt))
    assert await desk.purse() == (500_000, 20_000)


async def charge(bot: Mathia, kind: Kind, tiers: str) -> None:
    """Have a kind of movement cost something from now on."""
    async with bot.db.hot() as connection:
        await fees.add(connection, fees.read(kind, "KES", tiers), datetime.now(UTC), "staff:owner")


async def test_the_fee_that_is_charged_is_the_one_that_was_shown(bot: Mathia, desk: Till) -> None:
    await charge(bot, Kind.WITHDRAWAL, "1000 5\n* 10 0.5")
    prompt = await bot.hear(AMINA, "send KES 1,500 to Jane")
    for line in ("Fee: KES 17.50", "Total: KES 1,517.50", "Left afterwards: KES 3,482.50"):
        assert line in prompt
    await charge(bot, Kind.WITHDRAWAL, "* 400")
    await bot.hear(AMINA, code_in(prompt))
    assert await desk.purse() == (500_000, 151_750)
    await over(desk)
    assert await desk.purse() == (348_250, 0)
    async with bot.db.hot() as connection:
        assert (await balance(connection, fee_income("KES"))).posted == Money(1_750, "KES")
    assert "not enough to pay KES 3,800.00" in await bot.hear(AMINA, "send KES 3,400 to Jane")


async def test_a_payout_that_fails_gives_its_fee_back(bot: Mathia, desk: Till) -> None:
    await charge(bot, Kind.WITHDRAWAL, "* 25")
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, f"send KES 100 to +{SAYS_NO}")))
    assert await desk.purse() == (500_000, 12_500)
    await over(desk)
    assert await desk.purse() == (500_000, 0)
    async with bot.db.hot() as connection:
        assert (await balance(connection, fee_income("KES"))).posted == Money(0, "KES")


async def test_a_transfer_and_a_top_up_have_fees_of_their_own(bot: Mathia, desk: Till) -> None:
    await charge(bot, Kind.TRANSFER, "* 3")
    await charge(bot, Kind.DEPOSIT, "* 0 1")
    prompt = await bot.hear(AMINA, "send 500 to 0712000002")
    assert "Fee: KES 3.00" in prompt
    assert "You have KES 4,497.00" in await bot.hear(AMINA, code_in(prompt))
    assert await bot.hear(BARAKA, "my balance") == "You have KES 500.00."
    assert "The fee of KES 2.00 is taken off it." in await bot.hear(AMINA, f"top up 200 bob from +{PAYS}")
    await over(desk)
    assert (await bot.told(AMINA))[-1].endswith(" The fee of KES 2.00 is taken off it.")
    assert await desk.purse() == (469_500, 0)


async def test_d1_d2_prompt_is_what_code_makes_of_the_payment_and_nothing_else(bot: Mathia, desk: Till) -> None:
    prompt = await bot.hear(AMINA, "send KES 1,500 to Jane")
    assert prompt == (
        "Please check this payment:\n"
        f"To: Jane +{PAYS}, to M-Pesa\n"
        "Amount: KES 1,500.00 (one thousand five hundred shillings)\n"
        "Fee: KES 0.00\n"
        "Total: KES 1,500.00\n"
        "Left afterwards: KES 3,500.00\n\n"
        f"To go on, type this code here within 10 minutes: {code_in(prompt)}\n"
        "To leave everything as it is, say “cancel”."
    )
    assert len(prompt) <= 600


async def test_d1_nothing_hides_in_a_name_and_nothing_is_cut_off(bot: Mathia, desk: Till) -> None:
    assert visible("Jane\u202e\n000\u200b Doe") == "Jane[U+202E][U+000A]000[U+200B] Doe"
    ctx = ActionContext(
        Person(await bot.person(AMINA), "Amina", "en", None), uuid4(), bot.db, bot.deps.providers, bot.deps.settings,
        datetime.now(UTC), "test:1", AMINA,
    )  # fmt: skip
    with pytest.raises(InvalidSlot, match="too long to be shown whole"):
        await show_payment(ctx, SendMoney(amount="500", recipient="Jane" + "\u202e" * 70, phone_number=f"+{PAYS}"))


async def test_d3_what_is_done_is_read_from_the_confirmation(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send KES 1,500 to Jane"))
    async with bot.db.transaction() as session:
        person = await bot.person(AMINA)
        conversation = await bot.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", AMINA.room)
        await people.save_contact(session, person, conversation, "Jane", phone="+254712999999", email=None, note=None)
    assert f"+{PAYS}" in await bot.hear(AMINA, code)
    await over(desk)
    assert (await bot.told(AMINA))[-1].startswith(f"Sent KES 1,500.00 to Jane +{PAYS}.")


async def test_nobody_who_is_named_is_left_out_without_a_word(bot: Mathia, desk: Till) -> None:
    await bot.hear(AMINA, "send 500 to Jane and Brian")
    [asked] = (await bot.told(AMINA))[-1:]
    assert asked == (
        "I pay one person at a time, and you named Jane and Brian. Who of them gets 500? If each of them does, say:"
        " send 500 each to Jane and Brian."
    )
    assert "To: Jane" in await bot.hear(AMINA, "Jane")
    await bot.hear(AMINA, "cancel")
    await bot.hear(AMINA, "send 100 each to Jane and 0712000002")
    told = (await bot.told(AMINA))[-1]
    assert "To: Jane" in told
    assert "I will show you the next one once this is confirmed." in told
    assert await payments(bot) == (0, 0)


async def test_d4_of_64_confirmations_at_once_one_pays(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    await bot.receive((AMINA, code))
    [turn] = await bot.turns.claim(8)
    closings = []
    for start in range(1_000, 1_064, 4):
        four = (replace(turn, id=turn.id + start + n) for n in range(4))
        closings += await asyncio.gather(*(run_turn(one, bot.deps) for one in four))
    said = [text_of(closing.reply.parts) for closing in closings if closing.reply is not None]
    assert sum(text.startswith("Sent KES 500.00") for text in said) == 1
    assert await payments(bot) == (0, 1)
    assert await desk.purse() == (450_000, 0)


async def test_d4_who_dies_between_confirming_and_paying_pays_once(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, ASK))
    await bot.receive((AMINA, code))
    [turn] = await bot.turns.claim(8)
    async with bot.db.transaction() as session:
        await confirm.answer(session, AMINA, code, datetime.now(UTC), f"turn:{turn.id}:1")
    assert await payments(bot) == (0, 0)
    first, second = [await run_turn(again, bot.deps) for again in (turn, replace(turn, attempt=turn.attempt + 1))]
    assert first.reply is not None
    assert second.reply is not None
    assert text_of(first.reply.parts) == text_of(second.reply.parts)
    assert "are on their way" in text_of(first.reply.parts)
    assert await payments(bot) == (1, 0)


async def test_d4_the_money_moves_and_the_confirmation_ends_in_one_transaction(bot: Mathia, desk: Till) -> None:
    async def stands() -> tuple[str, int]:
        row = await bot.db.pool.fetchrow(
            "SELECT state, (SELECT count(*) FROM audit WHERE verb = 'confirmation.used')"
            " FROM confirmation ORDER BY created_at DESC LIMIT 1"
        )
        return tuple(row)

    code = code_in(await bot.hear(AMINA, ASK))
    await bot.receive((AMINA, code))
    [turn] = await bot.turns.claim(8)
    async with bot.db.transaction() as session:
        # The code was right, and the process died before anything was paid: nothing of it is used up.
        answered = await confirm.answer(
            session, AMINA, code, datetime.now(UTC), "turn:1:1", leave=bot.deps.catalog.spending
        )
    assert answered is not None
    assert answered.outcome is confirm.Outcome.CONFIRMED
    assert await stands() == ("pending", 0)
    person, now = await bot.person(AMINA), datetime.now(UTC)
    async with bot.db.pool.acquire() as connection:
        rolled_back = connection.transaction()
        await rolled_back.start()
        assert await confirm.use(connection, answered.id, "k", "send_money", person, now)
        await rolled_back.rollback()
    assert await stands() == ("pending", 0)
    async with bot.db.hot() as connection:
        late = now + confirm.LIFE
        for id_, action, who, at in (
            (answered.id, "send_money", person, late), (answered.id, "withdraw", person, now),
            (answered.id, "send_money", uuid4(), now), (uuid4(), "send_money", person, now),
        ):  # fmt: skip
            assert not await confirm.use(connection, id_, "k", action, who, at)
    await run_turn(turn, bot.deps)
    assert await stands() == ("used", 1)
    assert await payments(bot) == (1, 0)
    async with bot.db.hot() as connection:
        assert not await confirm.use(connection, answered.id, "another", "send_money", person, now)
        assert await confirm.use(connection, answered.id, f"turn:{turn.id}:1", "send_money", person, late)


async def test_d4_what_is_refused_is_asked_for_again(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send KES 4,000 to Jane"))
    async with bot.db.hot() as connection:
        await holds.place(connection, "h", wallet(desk.owner, "KES"), Money(200_000, "KES"))
    assert "not enough" in await bot.hear(AMINA, code)
    async with bot.db.hot() as connection:
        await holds.void(connection, "h")
    assert "no longer good" in await bot.hear(AMINA, code)
    assert await payments(bot) == (0, 0)


async def test_d5_nobody_else_confirms_and_nobody_does_in_a_group(bot: Mathia, desk: Till) -> None:
    group = at(TELEGRAM, "70001", "-100500")
    assert "private" in await bot.hear(group, ASK)
    code = code_in(await bot.hear(AMINA, ASK))
    for who in (BARAKA, at(WEB, "visitor-1"), group):
        await bot.hear(who, code)
    assert await payments(bot) == (0, 0)


async def test_d6_ten_minutes_later_it_is_over(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, ASK))
    async with bot.db.transaction() as session:
        late = await confirm.answer(session, AMINA, code, datetime.now(UTC) + timedelta(minutes=10), "turn:1:1")
    assert late is not None
    assert late.outcome is confirm.Outcome.OVER


async def test_d7_d8_another_amount_is_another_confirmation(bot: Mathia, desk: Till) -> None:
    old = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    new = code_in(await bot.hear(AMINA, "send 600 to 0712000002"))
    if old != new:
        assert await bot.hear(AMINA, old) == "That code is no longer good. Ask for it again for a new one."
    assert await payments(bot) == (0, 0)
    assert "Sent KES 600.00" in await bot.hear(AMINA, new)
    assert await payments(bot) == (0, 1)


@pytest.mark.parametrize("word", ["yes", "ndio", "ok", "👍"])
async def test_d9_a_yes_pays_nothing(bot: Mathia, desk: Till, word: str) -> None:
    await bot.hear(AMINA, ASK)
    await bot.hear(AMINA, word)
    assert await payments(bot) == (0, 0)


async def test_d9_a_button_is_enough_for_something_small_and_only_the_one_below_it(bot: Mathia, desk: Till) -> None:
    first = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    assert await buttons(bot) == (f"Yes · {first}",)
    second = code_in(await bot.hear(AMINA, "send 400 to 0712000002"))
    if first != second:
        assert await bot.hear(AMINA, f"Yes · {first}") == "That code is no longer good. Ask for it again for a new one."
    assert "Sent KES 400.00" in await bot.hear(AMINA, f"Yes · {second}")
    await bot.hear(AMINA, "send 300 to 0712000002")
    assert "Sent KES 300.00" in await bot.hear(AMINA, "1")  # Where buttons are numbered.
    await bot.hear(AMINA, "send 501 to 0712000002")
    assert await buttons(bot) == ()
    await bot.hear(AMINA, "1")
    assert await payments(bot) == (0, 2)


async def test_d9_a_yes_is_enough_where_it_quotes_something_small(bot: Mathia, desk: Till) -> None:
    async def quoting(text: str) -> None:
        """Amina's yes to a message of ours, under the id that WhatsApp gave it."""
        sent = await bot.db.pool.fetchval(
            "UPDATE outbox SET provider_message_id = 'wamid.' || id, state = 'sent', done_at = now()"
            " WHERE id = (SELECT max(id) FROM outbox) RETURNING provider_message_id"
        )
        told = InboundMessage(AMINA, uuid4().hex, (Text(text=text),), datetime.now(UTC), None, reply_to=sent)
        await bot.inbox.receive([told])
        await bot.answer()

    await bot.hear(AMINA, "send 500 to 0712000002")
    await bot.hear(AMINA, "yes")
    assert await payments(bot) == (0, 0)
    await bot.hear(AMINA, "send 500 to 0712000002")
    await quoting("no, wait")
    assert await payments(bot) == (0, 0)
    await bot.hear(AMINA, "send 500 to 0712000002")
    await quoting("ndio")
    assert await payments(bot) == (0, 1)
    await bot.hear(AMINA, "send 501 to 0712000002")
    await quoting("yes")
    assert await payments(bot) == (0, 1)


async def test_d9_large_payments_are_not_made_in_a_chat(bot: Mathia, desk: Till) -> None:
    await desk.fund(50_000)
    told = await bot.hear(AMINA, "send KES 20,001 to Jane")
    assert "This is confirmed with your PIN, on your account page" in told
    assert re.search(r"\b[0-9]{5}\b", told) is None
    assert await payments(bot) == (0, 0)


async def test_d10_not_by_voice_nor_with_the_request_itself(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, ASK))
    note = Voice(media_type="audio/ogg", ref="file:none", duration_s=2.0, transcript=code)
    await bot.inbox.receive([InboundMessage(AMINA, uuid4().hex, (note,), datetime.now(UTC), None)])
    await bot.answer()
    await bot.receive((AMINA, ASK), (AMINA, "yes"), (AMINA, "00000"))
    await bot.answer()
    assert await payments(bot) == (0, 0)


async def test_d11_five_wrong_codes_lock_it_and_are_recorded(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, ASK))
    for _ in range(5):
        await bot.hear(AMINA, f"{(int(code) + 1) % 100_000:05}")
    await bot.hear(AMINA, code)
    assert await payments(bot) == (0, 0)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM audit WHERE verb = 'confirmation.locked'") == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"payments_paused": True}, "Payments are stopped for everybody"),
        ({"payment_max": 100}, "More than KES 100.00 at a time is confirmed with your PIN"),
        ({"payment_day_max": 400}, "At most KES 400.00 may go out"),
    ],
)
async def test_d12_limits_and_the_stop_are_looked_at_again(
    bot: Mathia, desk: Till, change: dict[str, object], told: str
) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    settings = bot.deps.settings.model_copy(update=change)
    stricter = replace(bot, deps=replace(bot.deps, settings=settings))
    assert (await stricter.hear(AMINA, code)).startswith(told)
    assert await payments(bot) == (0, 0)
    assert await desk.purse() == (500_000, 0)


async def test_d12_the_switch_of_staff_holds_for_what_was_confirmed_and_waits_for_who_is_paying(
    bot: Mathia, desk: Till
) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    now = datetime.now(UTC)
    async with bot.db.hot() as paying:
        assert not await payment_switch.is_stopped(paying)
        async with bot.db.hot() as staff:
            await staff.execute("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await payment_switch.switch(staff, "staff:owner", now, stopped=True)
    async with bot.db.hot() as staff:
        assert await payment_switch.switch(staff, "staff:owner", now, stopped=True)
        assert not await payment_switch.switch(staff, "staff:other", now, stopped=True)
    assert (await bot.hear(AMINA, code)).startswith("Payments are stopped for everybody")
    assert (await bot.hear(AMINA, "withdraw 200")).startswith("Payments are stopped for everybody")
    assert await payments(bot) == (0, 0)
    async with bot.db.hot() as staff:
        assert await payment_switch.switch(staff, "staff:owner", now, stopped=False)
    assert "Sent KES 500.00" in await bot.hear(AMINA, code_in(await bot.hear(AMINA, "send 500 to 0712000002")))


async def test_a_phone_that_is_not_the_persons_own_rings_a_few_times_only(bot: Mathia, desk: Till) -> None:
    asked = [await bot.hear(AMINA, f"top up {100 + n} bob from +{PAYS}") for n in range(5)]
    assert asked[0].startswith(f"I have sent the request for KES 100.00 to +{PAYS}. Whoever has that phone")
    assert asked[4].startswith("This phone has been asked 4 times within an hour.")
    assert (await bot.hear(BARAKA, f"top up 100 bob from +{PAYS}")).startswith("This phone has been asked 4 times")
    assert "to your phone, +254712000001" in await bot.hear(AMINA, "top up 100 bob")
    pushed = await bot.db.pool.fetchval(
        "SELECT count(*) FROM payment_instruction WHERE direction = 'in' AND key LIKE 'chat:%'"
    )
    assert pushed == 5


async def test_d12_somebody_stops_their_payments_at_once_and_lets_them_go_on_by_a_code(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    assert (await bot.hear(AMINA, "pause my payments")).startswith("Done. Nothing is paid from your account")
    assert (await bot.hear(AMINA, code)).startswith("You have stopped your payments.")
    assert (await bot.hear(AMINA, "withdraw 200")).startswith("You have stopped your payments.")
    assert await payments(bot) == (0, 0)
    code = code_in(await bot.hear(AMINA, "endeleza malipo yangu"))
    assert await bot.hear(AMINA, code) == "Sawa. Malipo kutoka akaunti yako yanawezekana."
    assert "Sent KES 500.00" in await bot.hear(AMINA, code_in(await bot.hear(AMINA, "send 500 to 0712000002")))


async def test_d12_a_limit_that_was_lowered_meanwhile_holds(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000002"))
    assert (await bot.hear(AMINA, "set my payment limit to 400")).startswith("Done. At most KES 400.00 goes out by one")
    assert (await bot.hear(AMINA, code)).startswith("At most KES 400.00 may go out by one payment")
    assert "KES 400.00" in await bot.hear(AMINA, "withdraw 401")
    code = code_in(await bot.hear(AMINA, "send 400 to 0712000002"))
    assert (await bot.hear(AMINA, "weka kikomo changu cha siku 399")).startswith("Sawa. Malipo ya siku moja hayazidi")
    assert "KES 399.00" in await bot.hear(AMINA, code)
    assert await payments(bot) == (0, 0)
    assert await desk.purse() == (500_000, 0)


async def test_a_days_payments_are_held_against_the_persons_own_limit(bot: Mathia, desk: Till) -> None:
    assert "KES 700.00" in await bot.hear(AMINA, "set my daily limit to 700")
    assert "Sent KES 500.00" in await bot.hear(AMINA, code_in(await bot.hear(AMINA, "send 500 to 0712000002")))
    told = await bot.hear(AMINA, code_in(await bot.hear(AMINA, "send 201 to 0712000002")))
    assert told == "At most KES 700.00 may be spent in this time; KES 200.00 of it is left."
    assert await payments(bot) == (0, 1)


async def test_limits_are_lowered_by_a_message_and_not_raised_by_one(bot: Mathia, desk: Till) -> None:
    shown = await bot.hear(AMINA, "what are my payment limits?")
    assert shown.count("at most KES 50,000.00") == 2
    assert "nobody here" in (await bot.hear(AMINA, "set my daily limit to 50,001")).lower()
    await bot.hear(AMINA, "set my daily limit to 5,000")
    assert (await bot.hear(AMINA, "set my daily limit to 5001")).startswith("That is more than your limit now")
    assert (await bot.hear(AMINA, "set my payment limit to 6k")).startswith("That is more than your limit now")
    assert "KES 5,000.00" in await bot.hear(AMINA, "vikomo vyangu vya malipo")
    assert "my payment limits" in await bot.hear(AMINA, "what are my limits?")
    assert await bot.hear(AMINA, "set my spending limit to 100") == "For each payment, or for a whole day?"
    assert "KES 100.00 goes out within a day" in await bot.hear(AMINA, "for a day")
    group = at(TELEGRAM, "70001", "-100500")
    assert "private" in await bot.hear(group, "set my daily limit to 50")


async def test_of_two_persons_who_become_one_the_lower_limits_stay(bot: Mathia, desk: Till) -> None:
    await bot.hear(AMINA, "set my daily limit to 900")
    await bot.hear(BARAKA, "set my daily limit to 1000")
    await bot.hear(BARAKA, "set my payment limit to 300")
    async with bot.db.transaction() as session:
        await people.merge(session, kept := await bot.person(AMINA), await bot.person(BARAKA))
    row = await bot.db.pool.fetchrow("SELECT day_limit, payment_limit FROM person WHERE id = $1", kept)
    assert tuple(row) == (90_000, 30_000)


async def test_d12_balance_is_looked_at_again(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send 4000 to 0712000002"))
    async with bot.db.hot() as connection:
        await transfer(connection, "elsewhere", desk.owner, str(uuid4()), Money(200_000, "KES"))
    assert await bot.hear(AMINA, code) == "You have KES 3,000.00, which is not enough to pay KES 4,000.00."
    assert await payments(bot) == (0, 1)


async def test_d12_whose_number_it_is_is_looked_at_again(bot: Mathia, desk: Till) -> None:
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000003"))
    await bot.hear(at(WHATSAPP, "whatsapp:+254712000003"), "hello")
    assert (await bot.hear(AMINA, code)).startswith("Something about whom you pay has changed")
    code = code_in(await bot.hear(AMINA, "send 500 to 0712000003"))
    await renumber.renumbered(bot.db, Renumbered(WHATSAPP, "ours", ("whatsapp:+254712000003",), "wamid.1", "number"))
    assert "has changed hands" in await bot.hear(AMINA, code)
    assert "has changed hands" in await bot.hear(AMINA, "send 500 to 0712000003")
    assert await payments(bot) == (0, 0)


@pytest.mark.parametrize(
    "forged",
    [
        "To go on, type this code here within 10 minutes: 48213", "Kuendelea, andika nambari hii hapa: 48213",
        "Reply with the code 48213 to confirm the payment.", "Please check this payment. Type yes to confirm.",
    ],
)  # fmt: skip
def test_d14_a_model_cannot_write_a_prompt(forged: str) -> None:
    assert ASKS_FOR_CODE.search(forged)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("send 500 to Zuhura", "I know no number of “Zuhura”."),
        ("send 500 to 0712000001", "That is your own number"),
        ("send 6000 to Jane", "You have KES 5,000.00, which is not enough to pay KES 6,000.00."),
        ("send 50 dollars to Jane", "M-Pesa moves Kenyan shillings only."),
        ("send money to Jane", "How much?"),
    ],
)
async def test_what_is_not_certain_is_asked_and_what_cannot_be_is_said(
    bot: Mathia, desk: Till, text: str, answer: str
) -> None:
    assert (await bot.hear(AMINA, text)).startswith(answer)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM confirmation") == 0


async def test_of_100_payments_at_once_a_limit_of_ten_lets_ten_pass(db: Database, desk: Till) -> None:
    allowance = Allowance(Money(1_000, "KES"), datetime.now(UTC) - timedelta(hours=1))
    other = str(uuid4())

    async def pay(number: int) -> bool:
        try:
            async with db.hot() as connection:
                await transfer(connection, f"p:{number}", desk.owner, other, Money(100, "KES"), allowance=allowance)
        except SpendingLimit:
            return False
        return True

    assert sum(await asyncio.gather(*map(pay, range(100)))) == 10
    async with db.hot() as connection:
        assert (await balance(connection, wallet(other, "KES"))).posted.minor == 1_000


@pytest.mark.parametrize(
    ("cents", "english", "swahili"),
    [
        (150_000, "one thousand five hundred shillings", "shilingi elfu moja, mia tano"),
        (1_500_000, "fifteen thousand shillings", "shilingi elfu kumi na tano"),
        (1_000_500, "ten thousand and five shillings", "shilingi elfu kumi, na tano"),
        (125, "one shilling and twenty-five cents", "shilingi moja na senti ishirini na tano"),
    ],
)
def test_amounts_in_words(cents: int, english: str, swahili: str) -> None:
    assert (in_words(cents, "en"), in_words(cents, "sw")) == (english, swahili)


def test_no_two_amounts_have_the_same_words() -> None:
    for language in ("en", "sw"):
        assert len({in_words(number * 100, language) for number in range(120_000)}) == 120_000
    with pytest.raises(ValueError, match="not put in words"):
        in_words(-1, "en")


async def test_whoever_has_money_is_told_to_take_it_out_before_they_are_erased(bot: Mathia, desk: Till) -> None:
    assert await bot.hear(AMINA, "erase my data") == (
        "You still have KES 5,000.00 here. Withdraw it first, for example by “withdraw 500”; then ask for this again."
    )
    await bot.hear(AMINA, code_in(await bot.hear(AMINA, "withdraw 5000")))
    assert "A payment of yours is still under way" in await bot.hear(AMINA, "erase my data")
    await over(desk)
    prompt = await bot.hear(AMINA, "erase my data")
    assert "This erases what I know about you" in prompt
    # What comes between the question and the code holds them back, too; less than can be paid out does not.
    await desk.fund(1)
    assert "You still have KES 1.00 here" in await bot.hear(AMINA, code_in(prompt))
    assert await bot.db.pool.fetchval("SELECT count(*) FROM erasure") == 0
    await charge(bot, Kind.WITHDRAWAL, "* 200")
    code = code_in(await bot.hear(AMINA, "erase my data"))
    await bot.receive((AMINA, code))
    for turn in await bot.turns.claim(8):
        await bot.turns.close(await run_turn(turn, bot.deps))
    assert await bot.db.pool.fetchval("SELECT count(*) FROM erasure") == 1


async def test_nothing_is_sent_to_somebody_who_was_erased_meanwhile(bot: Mathia, desk: Till) -> None:
    prompt = await bot.hear(AMINA, "send 500 to 0712000002")
    await erasure.begin(bot.db, await bot.person(BARAKA), asked_by="staff:owner", last_word_to=None)
    assert "has changed since I showed it" in await bot.hear(AMINA, code_in(prompt))
    assert await desk.purse() == (500_000, 0)
    assert "to M-Pesa" in await bot.hear(AMINA, "send 500 to 0712000002")


async def test_whoever_has_an_account_of_their_own_pays_from_what_came_into_it(bot: Mathia, desk: Till) -> None:
    await charge(bot, Kind.WITHDRAWAL, "* 7")
    keys = own_accounts.read(INTASEND_OTHER_PUBLISHABLE_KEY, INTASEND_OTHER_SECRET_KEY, is_live=False)
    async with bot.db.hot() as connection:
        await own_accounts.give(connection, await bot.person(AMINA), keys)
    await bot.hear(AMINA, f"top up 600 bob from +{PAYS}")
    await over(desk)
    assert await bot.hear(AMINA, "my balance") == (
        "You have KES 5,000.00.\nIn your own IntaSend account, by what came and went through me: KES 600.00."
    )
    # More than came into it is paid from the wallet here, and then there is a fee.
    for amount, where, fee in (("601", "to M-Pesa\n", "7.00"), ("500", "from your own IntaSend account\n", "0.00")):
        prompt = await bot.hear(AMINA, f"send KES {amount} to Jane")
        assert where in prompt
        assert f"Fee: KES {fee}" in prompt
    assert "Left afterwards: KES 100.00" in prompt
    assert "are on their way" in await bot.hear(AMINA, code_in(prompt))
    await over(desk)
    assert await desk.purse() == (500_000, 0)
    assert "through me: KES 100.00" in await bot.hear(AMINA, "my balance")
    # Keys that are others by the time it is confirmed are not what was shown.
    prompt = await bot.hear(AMINA, "send KES 50 to 0712000002")
    assert "to M-Pesa, from your own IntaSend account" in prompt
    async with bot.db.hot() as connection:
        assert await own_accounts.forget(connection, await bot.person(AMINA))
    assert "has changed since I showed it" in await bot.hear(AMINA, code_in(prompt))
