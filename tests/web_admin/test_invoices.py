"""Invoices in the admin: a list without words, one with what was paid on it, and a PDF that is read on the record."""

from dataclasses import replace
from datetime import date

import pytest

from ledger import invoices
from ledger.invoices import Invoice
from ledger.money import Money
from tests.jobs.people import someone
from tests.ledger.test_invoices import WORDS, push
from tests.web_admin.site import Browser, Site

TODAY = date(2026, 11, 26)


@pytest.fixture
async def made(site: Site) -> list[Invoice]:
    """Three invoices: of one a part is paid, one is erased."""
    who = await someone(site.db)
    found = []
    async with site.db.hot() as connection:
        for number, words in enumerate((WORDS, replace(WORDS, payer="Zuri", language="sw"), WORDS)):
            found.append(
                await invoices.create(
                    connection, f"k{number}", who.person_id, who.conversation_id, Money(500_000, "KES"), words,
                    today=TODAY, due_on=date(2026, 12, 10),
                )
            )  # fmt: skip
        await invoices.pay(connection, found[0].id, "elsewhere", Money(200_000, "KES"))
    await push(site.db, found[0], Money(100_000, "KES"), "try")
    await site.db.pool.execute("UPDATE invoice SET sealed = NULL, token_hash = NULL WHERE id = $1", found[2].id)
    return found


async def test_none_are_told_as_such(owner: Browser) -> None:
    answer = await owner.get("/admin/invoices")
    assert answer.status == 200
    assert "Nobody has made an invoice yet." in answer.text


async def test_a_list_shows_sums_and_states_and_no_words(owner: Browser, made: list[Invoice]) -> None:
    text = (await owner.get("/admin/invoices")).text
    for said in ("INV-2026-00001", "INV-2026-00002", "KES 2,000.00", "Part paid", "2026-12-10"):
        assert said in text
    assert WORDS.payer not in text
    assert "Zuri" not in text
    text = (await owner.get("/admin/invoices?state=part_paid")).text
    assert "INV-2026-00001" in text
    assert "INV-2026-00002" not in text
    assert "No invoice is like that." in (await owner.get("/admin/invoices?state=paid")).text
    for bad in ("state=nothing", "before=x", f"before={'9' * 30}"):
        assert (await owner.get(f"/admin/invoices?{bad}")).status == 400


async def test_one_shows_what_was_paid_and_tried(owner: Browser, made: list[Invoice]) -> None:
    text = (await owner.get("/admin/invoices/INV-2026-00001")).text
    for said in ("Part paid", "KES 5,000.00", "KES 2,000.00", "push, KES 1,000.00", "Ready"):
        assert said in text
    assert "has been erased" in (await owner.get("/admin/invoices/INV-2026-00003")).text


async def test_its_pdf_is_read_on_the_record(site: Site, owner: Browser, made: list[Invoice]) -> None:
    async with owner.session.get(f"{owner.url}/admin/invoices/INV-2026-00002.pdf") as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
        assert (await answer.read()).startswith(b"%PDF-")
    read = "SELECT actor, subject FROM audit WHERE verb = 'invoice.read'"
    assert [tuple(row) for row in await site.db.pool.fetch(read)] == [("staff:owner", "invoice:INV-2026-00002")]


@pytest.mark.parametrize("path", ["INV-2026-00003.pdf", "INV-2026-00099.pdf", "INV-2026-00099", "x", "x.pdf", "%00"])
async def test_what_is_not_there_is_told(owner: Browser, made: list[Invoice], path: str) -> None:
    answer = await owner.get(f"/admin/invoices/{path}")
    assert answer.status == 404
    assert "/admin/invoices" in answer.text


async def test_nobody_else_sees_them(site: Site, made: list[Invoice]) -> None:
    async with site.stranger() as stranger:
        for path in ("", "/INV-2026-00001", "/INV-2026-00001.pdf"):
            assert (await stranger.get(f"/admin/invoices{path}")).status in (302, 303, 401, 403)


async def test_staff_note_what_was_paid_outside_take_it_back_and_send_again(
    site: Site, owner: Browser, made: list[Invoice]
) -> None:
    csrf, page = await owner.csrf(), "/admin/invoices/INV-2026-00002"
    form = {"csrf": csrf, "key": "k", "amount": "2,000", "how": "cheque"}
    for _ in range(2):
        assert (await owner.post(f"{page}/paid", form)).status == 303
    text = (await owner.get(page)).text
    for said in ("Paid by cheque on", "KES 2,000.00", "noted by owner", "Part paid"):
        assert said in text
    for bad in ({"amount": "3,001"}, {"amount": "x"}, {"amount": "0"}, {"how": "barter"}, {"key": ""}):
        assert (await owner.post(f"{page}/paid", {**form, "key": "other", **bad})).status == 400, bad
    assert (await owner.post(f"{page}/paid", {**form, "amount": "1"})).status == 400
    assert (await owner.post(f"{page}/paid", {**form, "csrf": "x"})).status == 403
    mark = await site.db.pool.fetchval("SELECT id FROM invoice_mark")
    assert (await owner.post(f"/admin/invoices/INV-2026-00001/paid/{mark}/undo", {"csrf": csrf})).status == 404
    for _ in range(2):
        assert (await owner.post(f"{page}/paid/{mark}/undo", {"csrf": csrf})).status == 303
    assert "Paid by cheque" not in (await owner.get(page)).text
    assert (await owner.post(f"{page}/resend", {"csrf": csrf, "key": "r"})).status == 400
    await site.db.pool.execute("UPDATE invoice SET mail_to = conversation_id, state = 'sent' WHERE id = $1", made[1].id)
    assert (await owner.post(f"{page}/resend", {"csrf": csrf, "key": "r"})).status == 303
    assert "On its way" in (await owner.get(page)).text
