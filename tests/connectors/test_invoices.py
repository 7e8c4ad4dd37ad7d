"""An invoice by chat: shown by code, sent as it was shown, looked after until it is paid."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import erasure, mailboxes
from core.db import Database
from core.files import Files
from core.messages import Address, ChannelName
from core.settings import Settings
from core.storage import Storage
from jobs.invoices import Hands, attend, renew
from ledger import fees, invoices
from ledger.accounts import clearing, wallet
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.conftest import Sandbox
from tests.connectors.test_spending import code_in
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.said import messages
from tests.skills import needs

pytestmark = needs("invoices", "contacts", "wallet", "account")

ASHA = at(WHATSAPP, "whatsapp:+254712000001")
BARAKA = at(WHATSAPP, "whatsapp:+254712000002")
CHAT = at(TELEGRAM, "7000001")
LOGO = "invoice Achieng KES 5,000 for the logo"
PLACED = f"{LOGO}, achieng@example.com, +254712000009"


@dataclass
class Office:
    """A whole Mathia, and the worker that looks after invoices, with its own clock."""

    bot: Mathia
    hands: Hands
    later: timedelta = timedelta(0)

    async def order(self, text: str, who: Any = ASHA) -> str:
        """Ask for something that is confirmed, and confirm it; what is said then."""
        return await self.bot.hear(who, code_in(await self.bot.hear(who, text)))

    async def work(self) -> None:
        """Look after every invoice and series that is due by now."""
        db = self.bot.db
        for row in await db.pool.fetch("SELECT id FROM invoice_series WHERE due_at <= $1 ORDER BY id", self.now()):
            await renew(self.hands, row["id"])
        # The database's clock stays; what is due later is due now.
        await db.pool.execute("UPDATE invoice SET due_at = clock_timestamp() WHERE due_at <= $1", self.now())
        for row in await db.pool.fetch(invoices.CLAIMABLE, 100):
            await attend(self.hands, row["id"])

    def now(self) -> datetime:
        """The worker's clock."""
        return datetime.now(UTC) + self.later

    async def sent(self, channel: ChannelName) -> list[dict[str, Any]]:
        """What went to clients on a channel, with kind and room."""
        rows = await messages(
            self.bot.db,
            "JOIN conversation c ON c.id = m.conversation_id JOIN outbox o ON o.id = m.id"
            " WHERE c.channel = $1 AND o.kind = 'invoice' ORDER BY m.id",
            channel.value,
        )
        return [dict(row) for row in rows]

    async def last_mail(self) -> str:
        """The newest words that went to a client by e-mail."""
        text: str = (await self.sent(ChannelName.EMAIL))[-1]["parts"][0]["text"]
        return text

    async def invoice(self, number: str = "INV-2026-00001") -> invoices.Invoice:
        """As it is now."""
        async with self.bot.db.hot() as connection:
            found = await invoices.by_number(connection, number.replace("2026", str(datetime.now(UTC).year)))
        assert found is not None
        return found


@pytest.fixture
async def office(db: Database, valkey_url: str, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Office]:
    """Asha sends invoices under her name."""
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as bot:
        files = Files(db, Storage(Settings.model_validate({"files_dir": str(tmp_path)})))
        made = Office(bot, Hands(db, bot.wakes, files, "https://pay.example", "Africa/Nairobi"))
        made.hands = Hands(db, bot.wakes, files, "https://pay.example", "Africa/Nairobi", clock=made.now)
        await bot.hear(ASHA, "my name is Asha")
        yield made


async def test_what_the_fee_is_today_is_shown_with_an_invoice(office: Office) -> None:
    assert "Fee" not in await office.bot.hear(ASHA, PLACED)
    async with office.bot.db.hot() as connection:
        schedule = fees.read(Kind.INVOICE_PAYMENT, "KES", "* 0 1.5")
        await fees.add(connection, schedule, datetime.now(UTC), "staff:owner")
    assert "Fee, taken off what is paid, as it is today: KES 75.00" in await office.bot.hear(ASHA, PLACED)


async def test_it_is_shown_by_code_and_sent_as_it_was_shown(office: Office) -> None:
    prompt = await office.bot.hear(ASHA, PLACED)
    assert prompt == (
        "Please check this invoice:\nFrom: Asha\nTo: Achieng\n"
        "Sent to: achieng@example.com (e-mail), +254712000009 (WhatsApp)\n"
        "Amount: KES 5,000.00 (five thousand shillings)\nFor: logo\n\n"
        f"To go on, type this code here within 10 minutes: {code_in(prompt)}\n"
        "To leave everything as it is, say “cancel”."
    )
    assert await office.bot.db.pool.fetchval("SELECT count(*) FROM invoice") == 0
    told = await office.bot.hear(ASHA, code_in(prompt))
    assert re.match(r"Invoice INV-\d{4}-00001 over KES 5,000.00 is on its way to Achieng\.", told)
    made = await office.invoice()
    assert f"/pay/{made.token}" in told
    assert made.state == "draft"
    for _ in range(2):
        await office.work()
    assert (await office.invoice()).state == "sent"
    [mail], [chat] = await office.sent(ChannelName.EMAIL), await office.sent(WHATSAPP)
    text, pdf = mail["parts"]
    assert text["text"].startswith(f"Asha sends you invoice {made.number}\nKES 5,000.00 for logo\n\nPay it here")
    assert f"https://pay.example/pay/{made.token}" in text["text"]
    assert chat["parts"][0]["text"] == text["text"]
    assert len(chat["parts"]) == 1  # They have not written, so WhatsApp takes a template alone.
    assert (pdf["media_type"], pdf["filename"]) == ("application/pdf", f"{made.number}.pdf")
    room = await office.bot.db.pool.fetchval("SELECT room FROM conversation WHERE id = $1", made.to.whatsapp)
    assert room.endswith("+254712000009")


async def test_a_contact_is_enough_and_nobody_is_too(office: Office) -> None:
    await office.bot.hear(ASHA, "save Otieno's number 0712000008")
    assert "Sent to: +254712000008 (WhatsApp)\n" in await office.bot.hear(ASHA, "invoice Otieno 300 usd")
    assert "Amount: USD 300.00 (three hundred USD)" in (await office.bot.told(ASHA))[-1]
    prompt = await office.bot.hear(ASHA, "invoice Wafula KES 100")
    assert "Sent to: nobody; you get its address to pass on" in prompt
    told = await office.bot.hear(ASHA, code_in(prompt))
    assert "Send Wafula its address: http" in told
    await office.work()
    assert (await office.invoice()).state == "draft"
    assert await office.sent(ChannelName.EMAIL) == []


BAD = (
    (f"{LOGO} due yesterday", "Name a day that is not over"),
    ("invoice Achieng KES 0 for the logo", "amount"),
    ("invoice Achieng 10.005 KES for the logo", "KES"),
    ("invoice Achieng 5000 for www.evil.example", "no web addresses"),
    ("invoice Achieng KES 5,000 for the logo, +254712000001", "your own address"),
    ("invoice Achieng KES 5,000 for the logo, 12", "Please check"),
    ("invoice Achieng 5000 every day", "by week, month or year"),
    ("void invoice INV-2026-00009", "no such invoice"),
    ("status of INV-2020-00001", "no such invoice"),
    ("stop my recurring invoice", "None of your invoices"),
    ("show my invoices", "You have no open invoices."),
)


async def test_bad_input_is_asked_about_and_makes_nothing(office: Office) -> None:
    for said, answer in BAD:
        assert answer.casefold() in (await office.bot.hear(ASHA, said)).casefold(), said
        await office.bot.hear(ASHA, "cancel")
    assert await office.bot.db.pool.fetchval("SELECT count(*) FROM invoice") == 0


async def test_somebody_without_a_name_is_asked_for_one(office: Office) -> None:
    assert "Under which name" in await office.bot.hear(BARAKA, LOGO)


async def test_nothing_hides_on_it(office: Office) -> None:
    prompt = await office.bot.hear(ASHA, "invoice Achieng KES 500 for the lo\u202ego\u200b")
    assert "For: logo\n" in prompt


async def test_it_is_told_when_it_is_paid_and_others_see_nothing_of_it(office: Office) -> None:
    await office.order(PLACED)
    await office.work()
    made = await office.invoice()
    async with office.bot.db.hot() as connection:
        await invoices.pay(connection, made.id, "p1", Money(200_000, "KES"))
    for asked in (f"status of {made.number}", "has Achieng paid the invoice?"):
        stands = await office.bot.hear(ASHA, asked)
        assert f"Invoice {made.number} for Achieng: part paid.\nKES 2,000.00 of KES 5,000.00 paid" in stands
        assert f"/pay/{made.token}" in stands
    assert "Achieng" in await office.bot.hear(ASHA, "show my invoices")
    assert "no such invoice" in await office.bot.hear(BARAKA, f"status of {made.number}")
    assert "no such invoice" in await office.bot.hear(BARAKA, f"void invoice {made.number}")
    assert "have been paid on invoice" in await office.bot.hear(ASHA, f"void invoice {made.number}")


async def test_it_is_found_from_every_chat_of_the_person(office: Office) -> None:
    await office.order(PLACED)
    await office.bot.hear(CHAT, await office.bot.code(ASHA))
    assert "Achieng" in await office.bot.hear(CHAT, "show my invoices")


async def test_one_that_is_taken_back_cannot_be_paid_and_its_client_is_told(office: Office) -> None:
    await office.order(PLACED)
    await office.work()
    number = (await office.invoice()).number
    prompt = await office.bot.hear(ASHA, "cancel the invoice for Achieng")
    assert f"Invoice {number} over KES 5,000.00 for Achieng will be void" in prompt
    assert (await office.invoice()).state == "sent"
    assert await office.bot.hear(ASHA, code_in(prompt)) == f"Invoice {number} is void."
    assert (await office.invoice()).state == "void"
    assert (await office.last_mail()).startswith(f"Asha has taken back invoice {number}")
    office.later = timedelta(days=60)
    await office.work()
    assert len(await office.sent(ChannelName.EMAIL)) == 2


async def test_one_paid_in_cash_is_marked_so_shown_so_and_taken_back(office: Office) -> None:
    await office.order(PLACED)
    await office.work()
    made = await office.invoice()
    prompt = await office.bot.hear(ASHA, f"mark {made.number} as paid in cash")
    assert f"Invoice {made.number} for Achieng: KES 5,000.00 will be marked as paid in cash on" in prompt
    assert "not money in your wallet" in prompt
    assert (await office.invoice()).state == "sent"
    assert "are marked as paid in cash. Nothing is left to pay." in await office.bot.hear(ASHA, code_in(prompt))
    assert (await office.invoice()).state == "paid"
    assert "Paid in cash on" in await office.bot.hear(ASHA, f"status of {made.number}")
    for said in (f"mark {made.number} as paid", f"resend {made.number}"):
        assert "takes no payment any more" in await office.bot.hear(ASHA, said)
    assert "no such invoice" in await office.bot.hear(BARAKA, f"mark {made.number} as paid")
    assert f"Taken back. KES 5,000.00 are left to pay on invoice {made.number}." == await office.order(
        f"{made.number} was not paid"
    )
    assert ((await office.invoice()).state, (await office.invoice()).outside) == ("sent", ())
    assert "Nothing was marked" in await office.bot.hear(ASHA, f"{made.number} was not paid")
    part = await office.order(f"mark {made.number} as paid 2000 by cheque")
    assert "KES 2,000.00 of invoice" in part
    assert "KES 3,000.00 are left to pay" in part
    assert "Only KES 3,000.00 are open" in await office.bot.hear(ASHA, f"mark {made.number} as paid 4000 by cheque")


async def test_undo_right_behind_a_mark_takes_it_back(office: Office) -> None:
    await office.order(PLACED)
    await office.work()
    number = (await office.invoice()).number
    for undo, told in (("undo", "will be open again"), ("tengua", "zitadaiwa tena")):
        await office.order("Achieng paid the invoice in cash")
        assert (await office.invoice()).state == "paid"
        shown = await office.bot.hear(ASHA, undo)
        assert told in shown
        await office.bot.hear(ASHA, code_in(shown))
        assert ((await office.invoice()).state, (await office.invoice()).outside) == ("sent", ())
    assert f"Nothing was marked as paid on invoice {number}" in await office.bot.hear(ASHA, "undo")


async def test_what_is_said_right_behind_an_invoice_is_said_of_it(office: Office) -> None:
    await office.bot.hear(ASHA, code_in(await office.bot.hear(ASHA, PLACED)))
    for _ in range(2):
        await office.work()
    number = (await office.invoice()).number
    assert number in await office.bot.hear(ASHA, "paid?")
    again = await office.bot.hear(ASHA, "send it again")
    assert number in again
    await office.bot.hear(ASHA, code_in(again))
    marked = await office.bot.hear(ASHA, "mark it as paid by cheque")
    assert number in marked
    assert "paid by cheque" in await office.bot.hear(ASHA, code_in(marked))


async def test_whether_somebody_has_paid_is_told_by_their_invoice_else_by_what_came(office: Office) -> None:
    assert await office.bot.hear(ASHA, "has Achieng paid?") == (
        "You have no invoice for Achieng, and nothing has come to your wallet."
    )
    sum_ = Money(50_000, "KES")
    whose = wallet(str(await office.bot.person(ASHA)), "KES")
    legs = debit(clearing("bank", "KES"), sum_), credit(whose, sum_)
    await Ledger(office.bot.db).post(Entry("fund", Kind.DEPOSIT, legs))
    told = await office.bot.hear(ASHA, "Achieng amelipa?")
    assert re.fullmatch(r"You have no invoice for Achieng\. What came to your wallet last: KES 500\.00 on .*\.", told)
    await office.order(PLACED)
    await office.work()
    number = (await office.invoice()).number
    assert f"Invoice {number} for Achieng: sent" in await office.bot.hear(ASHA, "has Achieng paid me yet?")
    assert number in await office.bot.hear(ASHA, "je Achieng ameshalipa?")


async def test_it_is_sent_again_to_where_it_went(office: Office) -> None:
    await office.order(PLACED)
    await office.work()
    made = await office.invoice()
    prompt = await office.bot.hear(ASHA, f"resend {made.number}")
    assert "will be sent to Achieng again: achieng@example.com (e-mail), +254712000009 (WhatsApp)." in prompt
    assert len(await office.sent(ChannelName.EMAIL)) == 1
    assert "is on its way to Achieng again" in await office.bot.hear(ASHA, code_in(prompt))
    for _ in range(2):
        await office.work()
    first, again = await office.sent(ChannelName.EMAIL)
    assert first["parts"][0] == again["parts"][0]
    assert again["parts"][1]["filename"] == f"{made.number}.pdf"
    assert len(await office.sent(WHATSAPP)) == 2


async def test_what_is_overdue_is_reminded_of_three_times_gently(office: Office) -> None:
    due = (datetime.now(UTC) + timedelta(days=2)).date()
    await office.order(f"{PLACED}, due on {due:%-d %B %Y}")
    told = []
    for days in range(20):
        office.later = timedelta(days=days)
        await office.work()
        told.append(len(await office.sent(ChannelName.EMAIL)))
    reminded = [day for day in range(1, 20) if told[day] > told[day - 1]]
    assert told[-1] == 4
    assert len(reminded) == 3
    assert (await office.invoice()).state == "overdue"
    assert (await office.last_mail()).startswith("A friendly reminder of invoice INV-")
    overdue = "is overdue: Achieng still has to pay KES 5,000.00"
    issuer = [text for text in await office.bot.told(ASHA) if overdue in text]
    assert [re.findall(r"\((\d) of 3\)", text) for text in issuer] == [["1"], ["2"], ["3"]]


async def test_it_comes_round_by_month_until_it_is_stopped(office: Office) -> None:
    prompt = await office.bot.hear(ASHA, "invoice Achieng KES 5,000 every month for rent, achieng@example.com")
    assert "Repeats: every month on the " in prompt
    assert "first on " in prompt
    assert "is asked for KES 5,000.00 every month" in await office.bot.hear(ASHA, code_in(prompt))
    for days in (0, 1, 32, 32, 70, 230):
        office.later = timedelta(days=days)
        await office.work()
    count = await office.bot.db.pool.fetchval("SELECT count(*) FROM invoice")
    assert count == 4  # Today, two months on their day, and one for all that were missed.
    assert "is on its way to Achieng" in (await office.bot.told(ASHA))[-1]
    listed = await office.bot.hear(ASHA, "my invoices")
    assert "Coming round by themselves:\nAchieng, KES 5,000.00, every month" in listed
    assert "gets no more invoices" in await office.bot.hear(ASHA, "stop the monthly invoice to Achieng")
    office.later = timedelta(days=400)
    await office.work()
    assert await office.bot.db.pool.fetchval("SELECT count(*) FROM invoice") == count


async def test_a_client_gets_no_more_than_a_few_messages_a_day(office: Office) -> None:
    for n in range(5):
        await office.order(f"invoice Achieng KES {n + 1}00, achieng@example.com")
        await office.work()
    assert "which is as many as I send one client" in await office.order("invoice Achieng KES 900, achieng@example.com")
    assert await office.bot.db.pool.fetchval("SELECT count(*) FROM invoice") == 5
    numbers = await office.bot.db.pool.fetch("SELECT number FROM invoice ORDER BY id")
    assert [row["number"][-5:] for row in numbers] == [f"0000{n}" for n in range(1, 6)]


async def test_a_client_who_was_erased_is_not_said_to_have_been_reminded(office: Office) -> None:
    client = Address(WHATSAPP, office.bot.deps.settings.twilio_whatsapp_from, BARAKA.person, BARAKA.person)
    await office.bot.hear(client, "hello")
    due = (datetime.now(UTC) + timedelta(days=2)).date()
    await office.order(f"invoice Baraka KES 900 for lunch, +254712000002, due on {due:%-d %B %Y}")
    await office.work()
    assert (await office.invoice()).to.whatsapp is not None
    await erasure.begin(office.bot.db, await office.bot.person(client), asked_by="staff:owner", last_word_to=None)
    office.later = timedelta(days=4)
    await office.work()
    assert "I know no way to remind them, so that is for you to do: https://" in (await office.bot.told(ASHA))[-1]


async def test_what_is_paid_over_is_told_as_such(office: Office) -> None:
    await office.order(PLACED)
    made = await office.invoice()
    async with office.bot.db.hot() as connection:
        await invoices.pay(connection, made.id, "p1", Money(500_000, "KES"))
        await invoices.pay(connection, made.id, "p2", Money(100_000, "KES"))
    stands = await office.bot.hear(ASHA, f"status of {made.number}")
    assert "paid.\nKES 6,000.00 paid of KES 5,000.00, which is KES 1,000.00 too much." in stands


async def test_nobody_invoices_their_own_mailbox(office: Office) -> None:
    async with office.bot.db.hot() as connection:
        await connection.execute(
            "INSERT INTO identity (id, person_id, channel, account, provider_id) VALUES (gen_random_uuid(), $1,"
            " 'email', 'bot@mathia.example', $2)",
            await office.bot.person(ASHA), await mailboxes.keep(connection, "asha@example.com"),
        )  # fmt: skip
    assert "your own address" in await office.bot.hear(ASHA, f"{LOGO}, Asha@example.com")


async def test_in_swahili_too(office: Office) -> None:
    prompt = await office.bot.hear(ASHA, "andika ankara ya 3000 kwa Wanjiru, 0712345678")
    assert "Kwa: Wanjiru\nInatumwa kwa: +254712345678 (WhatsApp)\nKiasi: KES 3,000.00 (shilingi elfu tatu)" in prompt
    assert "iko njiani kwa Wanjiru" in await office.bot.hear(ASHA, code_in(prompt))
    await office.work()
    [chat] = await office.sent(WHATSAPP)
    assert chat["parts"][0]["text"].startswith("Asha amekutumia ankara INV-")


async def test_who_is_erased_leaves_neither_words_nor_an_address_to_pay(office: Office) -> None:
    db = office.bot.db
    await office.order(PLACED)
    await office.order("invoice Otieno KES 700 every month for rent, otieno@example.com, +254712000002")
    client = Address(WHATSAPP, office.bot.deps.settings.twilio_whatsapp_from, BARAKA.person, BARAKA.person)
    await office.bot.hear(client, "hello")
    await office.work()
    made, second = await office.invoice(), await office.invoice("INV-2026-00002")
    assert made.token is not None
    theirs = await db.pool.fetchval("SELECT room FROM conversation WHERE id = $1", made.to.whatsapp)
    person = await office.bot.person(ASHA)
    erasure_id = await erasure.begin(db, person, asked_by="staff:owner", last_word_to=None)
    await erasure.remove(db, erasure_id)
    async with db.hot() as connection:
        assert await invoices.by_token(connection, made.token) is None
        kept = await invoices.find(connection, made.id)
        assert (kept.number, kept.amount, kept.words, kept.token) == (made.number, made.amount, None, None)
        assert await connection.fetchval("SELECT count(*) FROM conversation WHERE room = $1", theirs) == 0
        assert await connection.fetchval("SELECT count(*) FROM mailbox") == 0
        assert await connection.fetchval("SELECT count(*) FROM invoice_series WHERE ended_at IS NULL") == 0
        # The other client writes here, and keeps their chat, without what was said in her name.
        room = await connection.fetchval("SELECT room FROM conversation WHERE id = $1", second.to.whatsapp)
        assert room == client.room
        assert not await connection.fetchval(
            "SELECT count(sealed) FROM message m JOIN outbox o ON o.id = m.id WHERE o.kind = 'invoice'"
        )
    office.later = timedelta(days=90)
    await office.work()
    assert await db.pool.fetchval("SELECT count(*) FROM invoice") == 2
