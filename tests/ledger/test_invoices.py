"""Invoices: numbers without gaps, states that follow a law, payments that count once, tokens that only pay."""

import asyncio
import random
import re
import subprocess
import sys
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from asyncpg import CheckViolationError, PostgresError

from core.db import Database
from core.errors import LimitReached, UserError
from ledger import invoice_marks, invoices
from ledger.errors import IllegalEntry, KeyReused
from ledger.instruction_store import Collect, collect
from ledger.instructions import Instruction, Method, Payee
from ledger.invoices import Invoice, NotPayable, Words
from ledger.journal import Kind
from ledger.money import Money
from tests.jobs.people import Known, someone
from tests.ledger.conftest import kes

TODAY = date(2026, 11, 26)
WORDS = Words("Asha Designs", "Achieng", "logo", "achieng@example.com", "+254712000009")
PAYS = "254708374149"


async def create(db: Database, who: Known, key: str = "k", today: date = TODAY, **other: Any) -> Invoice:
    """An invoice over ten shillings."""
    words, amount = other.get("words", WORDS), other.get("amount", kes(1_000))
    async with db.hot() as connection:
        return await invoices.create(
            connection, key, who.person_id, who.conversation_id, amount, words, today=today, due_on=other.get("due_on")
        )


async def state(db: Database, invoice: Invoice, to: str) -> None:
    """Bring it to another state, as the application's role could."""
    await db.pool.execute("UPDATE invoice SET state = $2 WHERE id = $1", invoice.id, to)


async def push(db: Database, invoice: Invoice, amount: Money, key: str, method: Method = Method.PUSH) -> Instruction:
    """Have somebody asked to pay on it."""
    asked = Collect(
        key, method, str(invoice.person_id), invoice.person_id, invoice.conversation_id, amount,
        Payee(PAYS) if method is Method.PUSH else None, Kind.INVOICE_PAYMENT, pays=invoice.id,
    )  # fmt: skip
    async with db.hot() as connection:
        return await collect(connection, asked)


@pytest.mark.parametrize("seed", range(3))
async def test_numbers_have_no_gaps_whoever_races_or_rolls_back(db: Database, seed: int) -> None:
    who = await someone(db)
    chance = random.Random(seed)
    years = [chance.choice((2026, 2027)) for _ in range(40)]

    async def one(n: int, *, breaks: bool) -> None:
        async with db.hot() as connection:
            await invoices.create(
                connection, f"k{n}", who.person_id, who.conversation_id, kes(1_000), WORDS, today=date(years[n], 5, 5)
            )
            if breaks:
                raise ZeroDivisionError

    ends = await asyncio.gather(
        *(one(n, breaks=chance.random() < 0.3) for n in range(40) for _ in range(2)), return_exceptions=True
    )
    assert all(end is None or isinstance(end, ZeroDivisionError) for end in ends)
    numbers = sorted(row["number"] for row in await db.pool.fetch("SELECT number FROM invoice"))
    for year in (2026, 2027):
        of_year = [number for number in numbers if number.startswith(f"INV-{year}-")]
        assert of_year == [f"INV-{year}-{n:05}" for n in range(1, len(of_year) + 1)]
    assert len(numbers) > 20


async def test_the_same_key_is_one_invoice(db: Database) -> None:
    who = await someone(db)
    same = await asyncio.gather(*(create(db, who) for _ in range(8)))
    assert {invoice.number for invoice in same} == {"INV-2026-00001"}
    for other in ({"words": Words("Asha Designs", "Otieno")}, {"amount": kes(1_001)}, {"due_on": TODAY}):
        with pytest.raises(KeyReused):
            await create(db, who, **other)


async def test_whoever_has_the_token_finds_it_and_nobody_else(db: Database) -> None:
    made = await create(db, await someone(db))
    assert made.token is not None
    assert invoices.TOKEN.fullmatch(made.token)
    async with db.hot() as connection:
        assert await invoices.by_token(connection, made.token) == made
        for wrong in ("", "x", made.token[:-1], made.token + "A", made.number, str(made.id), "é" * 32, uuid4().hex):
            assert await invoices.by_token(connection, wrong) is None
        row = await connection.fetchrow("SELECT * FROM invoice")
    kept = b"\n".join(str(value).encode() if not isinstance(value, bytes) else value for value in row.values())
    for secret in (made.token, "Achieng", "logo", "Asha", "12000009"):
        assert secret.encode() not in kept


async def test_payments_count_once_and_leave_an_honest_rest(db: Database) -> None:
    made = await create(db, await someone(db))
    async with db.hot() as connection:
        await invoices.mark_sent(connection, made.id)
        for _ in range(2):
            part = await invoices.pay(connection, made.id, "p1", kes(400))
            assert (part.state, part.rest) == ("part_paid", kes(600))
        late = await invoices.mark_overdue(connection, made.id)
        assert late.state == "overdue"
        assert (await invoices.pay(connection, made.id, "p2", kes(100))).state == "overdue"
        over = await invoices.pay(connection, made.id, "p3", kes(700))
        assert (over.state, over.rest) == ("paid", kes(-200))
        assert (await invoices.mark_overdue(connection, made.id)).state == "paid"
        assert [one.amount for one in await invoices.payments(connection, over)] == [kes(400), kes(100), kes(700)]
        with pytest.raises(KeyReused):
            await invoices.pay(connection, made.id, "p2", kes(701))
        with pytest.raises(IllegalEntry):
            await invoices.pay(connection, made.id, "p4", Money(1, "USD"))


async def test_what_comes_for_a_void_invoice_is_counted_all_the_same(db: Database) -> None:
    made = await create(db, await someone(db))
    async with db.hot() as connection:
        assert (await invoices.void(connection, made.id)).state == "void"
        with pytest.raises(UserError, match="void already"):
            await invoices.void(connection, made.id)
        late = await invoices.pay(connection, made.id, "p", kes(1_000))
    assert (late.state, late.paid) == ("void", kes(1_000))


async def test_it_is_not_void_once_something_was_paid_or_is_being_paid(db: Database) -> None:
    who = await someone(db)
    made, asked = await create(db, who), await create(db, who, "other")
    await push(db, asked, kes(500), "push")
    async with db.hot() as connection:
        await invoices.pay(connection, made.id, "p", kes(1))
    for invoice, why in ((made, "have been paid on invoice INV-2026-00001"), (asked, "is paying")):
        async with db.hot() as connection:
            with pytest.raises(UserError, match=why):
                await invoices.void(connection, invoice.id)
    with pytest.raises(CheckViolationError):
        await state(db, made, "void")


async def test_only_its_rest_is_asked_for_in_its_currency_and_once_at_a_time(db: Database) -> None:
    made = await create(db, await someone(db))
    with pytest.raises(NotPayable, match=re.escape("Only KES 10.00 are left")):
        await push(db, made, kes(1_100), "much")
    with pytest.raises(NotPayable, match="paid in KES"):
        await push(db, made, Money(500, "USD"), "dollars", Method.CHECKOUT)
    first = await push(db, made, kes(500), "first")
    assert first.pays == made.id
    assert (await push(db, made, kes(500), "first")).id == first.id
    with pytest.raises(NotPayable, match="on a phone just now"):
        await push(db, made, kes(500), "second")
    assert (await push(db, made, kes(500), "card", Method.CHECKOUT)).pays == made.id
    async with db.hot() as connection:
        await invoices.pay(connection, made.id, "p", kes(1_000))
    with pytest.raises(NotPayable, match="does not take a payment any more"):
        await push(db, made, kes(1), "late", Method.CHECKOUT)


async def test_of_many_who_press_at_once_one_phone_rings(db: Database) -> None:
    made = await create(db, await someone(db))
    # Every connection there may be is there, so that nobody is first for want of another.
    await asyncio.gather(*(db.pool.execute("SELECT pg_sleep(0.05)") for _ in range(12)))
    ends = await asyncio.gather(*(push(db, made, kes(500), f"p{n}") for n in range(12)), return_exceptions=True)
    assert sum(isinstance(end, Instruction) for end in ends) == 1
    assert sum(isinstance(end, NotPayable) for end in ends) == 11


STATES = ("draft", "sent", "part_paid", "paid", "overdue", "void", "disputed")
LEGAL = {
    "draft": {"sent", "void", "overdue"}, "sent": {"void", "overdue", "disputed"}, "overdue": {"void", "disputed"},
    "void": set(), "disputed": {"sent", "overdue", "void"},
}  # fmt: skip
"""Of an invoice of which nothing was paid."""


@pytest.mark.parametrize("before", LEGAL)
async def test_postgresql_refuses_what_does_not_follow(db: Database, before: str) -> None:
    made = await create(db, await someone(db))
    if before == "disputed":
        await state(db, made, "sent")
    if before != "draft":
        await state(db, made, before)
    followed = set()
    for after in (*STATES, "elsewhere"):
        async with db.pool.acquire() as connection:
            trial = connection.transaction()
            await trial.start()
            try:
                await connection.execute("UPDATE invoice SET state = $2 WHERE id = $1", made.id, after)
                followed.add(after)
            except CheckViolationError:
                pass
            await trial.rollback()
    assert followed - {before} == LEGAL[before]


@pytest.mark.parametrize(
    "change",
    ["amount = 5", "currency = 'USD'", "number = 'INV-2026-00009'", "due_on = '2027-01-01'", "key = 'other'",
     "issued_on = '2020-01-01'", "paid = -1", "token_hash = '\\x00'"],
)  # fmt: skip
async def test_what_an_invoice_is_for_never_changes(db: Database, change: str) -> None:
    await create(db, await someone(db))
    with pytest.raises(CheckViolationError):
        await db.pool.execute(f"UPDATE invoice SET {change}")  # noqa: S608  the changes above


async def test_nothing_is_invoiced_for_nothing_or_for_yesterday(db: Database) -> None:
    who = await someone(db)
    for bad in ({"amount": kes(0)}, {"amount": kes(-5)}, {"due_on": date(2026, 11, 25)}):
        with pytest.raises(IllegalEntry):
            await create(db, who, **bad)
    assert await db.pool.fetchval("SELECT count(*) FROM invoice_counter") == 0


async def test_they_are_listed_newest_first_by_pages(db: Database) -> None:
    who, other = await someone(db), await someone(db)
    made = [await create(db, who, f"k{n}") for n in range(3)]
    await create(db, other, "theirs")

    async def page(before: int) -> list[str]:
        async with db.hot() as connection:
            return [one.number for one in await invoices.of_person(connection, who.person_id, before, 2)]

    assert await page(2**62) == ["INV-2026-00003", "INV-2026-00002"]
    assert await page(made[1].id) == ["INV-2026-00001"]


def test_they_follow_whoever_is_merged_in_every_process_that_answers() -> None:
    """In a process of its own: the tables are known here anyhow, because tests ask for them."""
    asked = "import connectors; from core.people import owned; print(*(table.name for table in owned()))"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert {"invoice", "payment_instruction"} <= set(told.stdout.split())


async def mark(db: Database, invoice: Invoice, key: str, amount: Money) -> Invoice:
    """Its issuer says that so much was paid in cash."""
    async with db.hot() as connection:
        return await invoice_marks.mark(connection, invoice.id, key, amount, "cash", TODAY, "person:x")


async def test_what_is_paid_outside_counts_once_and_moves_no_money(db: Database) -> None:
    made = await create(db, await someone(db))
    for _ in range(2):
        part = await mark(db, made, "m1", kes(400))
        assert (part.state, part.rest, [one.amount for one in part.outside]) == ("part_paid", kes(600), [kes(400)])
    with pytest.raises(UserError, match=re.escape("Only KES 6.00 are open")):
        await mark(db, made, "m2", kes(601))
    with pytest.raises(KeyReused):
        await mark(db, made, "m1", kes(300))
    assert (await mark(db, made, "m3", kes(600))).state == "paid"
    with pytest.raises(UserError, match="takes no payment any more"):
        await mark(db, made, "m4", kes(1))
    assert await db.pool.fetchval("SELECT count(*) FROM journal_entry") == 0
    async with db.hot() as connection:
        late = await invoices.pay(connection, made.id, "card", kes(1_000))
    assert (late.state, late.rest) == ("paid", kes(-1_000))


async def test_of_marks_that_race_no_more_than_is_open_counts(db: Database) -> None:
    made = await create(db, await someone(db))
    ends = await asyncio.gather(*(mark(db, made, f"m{n}", kes(400)) for n in range(6)), return_exceptions=True)
    assert sum(isinstance(end, Invoice) for end in ends) == 2
    assert sum(isinstance(end, UserError) for end in ends) == 4
    assert await db.pool.fetchval("SELECT paid FROM invoice") == 800


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_paid_marked_and_taken_back_the_sum_is_right(db: Database, seed: int) -> None:
    chance = random.Random(seed)
    made = await create(db, await someone(db))
    marked: dict[int, int] = {}
    came = 0
    for n in range(30):
        step = chance.choice(("mark", "mark", "pay", "back", "sent", "overdue"))
        sum_ = chance.randint(1, 300)
        async with db.hot() as connection:
            if step == "mark":
                try:
                    now = await invoice_marks.mark(
                        connection, made.id, f"m{n}", kes(sum_), "bank", TODAY, "person:x"
                    )  # fmt: skip
                    marked[max(one.id for one in now.outside)] = sum_
                except UserError:
                    assert sum_ > 1_000 - came - sum(marked.values())
            elif step == "pay" and chance.random() < 0.3:
                await invoices.pay(connection, made.id, f"p{n}", kes(sum_))
                came += sum_
            elif step == "back" and marked:
                newest = max(marked)
                for _ in range(2):
                    await invoice_marks.take_back(connection, made.id, newest, "person:x")
                del marked[newest]
            elif step == "sent":
                await invoices.mark_sent(connection, made.id)
            elif step == "overdue" and chance.random() < 0.2:
                await invoices.mark_overdue(connection, made.id)
        async with db.hot() as connection:
            now = await invoices.find(connection, made.id)
        assert now.paid == kes(came + sum(marked.values()))
        assert sorted(one.id for one in now.outside) == sorted(marked)
        assert (now.state == "paid") == (now.paid >= now.amount)


async def test_postgresql_keeps_marks_as_they_are_and_within_what_is_open(db: Database) -> None:
    made = await create(db, await someone(db))
    await mark(db, made, "m", kes(400))
    for bad in (
        "UPDATE invoice_mark SET amount = 1", "UPDATE invoice_mark SET how = 'bank'", "DELETE FROM invoice_mark",
        "INSERT INTO invoice_mark (key, invoice_id, amount, how, paid_on, was, marked_by)"
        " SELECT 'x', id, 601, 'cash', '2026-11-26', 'sent', 'x' FROM invoice",
        "UPDATE invoice SET state = 'draft'",
    ):  # fmt: skip
        with pytest.raises(PostgresError):
            await db.pool.execute(bad)
    async with db.hot() as connection:
        assert (await invoice_marks.newest(connection, await invoices.find(connection, made.id))).amount == kes(400)
    undo = "UPDATE invoice_mark SET undone_at = clock_timestamp(), undone_by = 'x'"
    await db.pool.execute(undo)
    with pytest.raises(CheckViolationError, match="taken back once"):
        await db.pool.execute(undo)


async def test_an_invoice_goes_out_again_only_so_often_a_day(db: Database) -> None:
    made = await create(db, await someone(db))
    async with db.hot() as connection:
        with pytest.raises(UserError, match="no e-mail address or number"):
            await invoices.resend(connection, made.id, "r", "person:x")
    await db.pool.execute("UPDATE invoice SET mail_to = conversation_id")
    for n in range(invoices.RESENDS_DAY_MAX):
        for _ in range(2):
            async with db.hot() as connection:
                await invoices.resend(connection, made.id, f"r{n}", "person:x")
    async with db.hot() as connection:
        with pytest.raises(LimitReached, match="within a day"):
            await invoices.resend(connection, made.id, "more", "person:x")


async def test_a_year_without_numbers_left_says_so_and_changes_nothing(db: Database) -> None:
    who = await someone(db)
    await db.pool.execute("INSERT INTO invoice_counter (year, last) VALUES (2026, 99998)")
    assert (await create(db, who)).number == "INV-2026-99999"
    with pytest.raises(LimitReached, match="All 99999 invoice numbers of 2026 are used"):
        await create(db, who, "next")
    assert await db.pool.fetchval("SELECT last FROM invoice_counter") == 99_999
    assert await db.pool.fetchval("SELECT count(*) FROM invoice") == 1
    assert (await create(db, who, "new", date(2027, 1, 1))).number == "INV-2027-00001"
