"""The books in the admin: accounts, statements, the journal and holds; corrections by hand need a second person."""

import asyncio
import csv
import io
import re

import asyncpg
import pytest

from ledger import holds
from ledger.accounts import clearing, fee_income, wallet
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger, Posted, make
from tests.web_admin.site import Browser, Site

WALLET, TILL, FEES = wallet("somebody", "KES"), clearing("intasend", "KES"), fee_income("KES")


def kes(shillings: int) -> Money:
    return Money(100 * shillings, "KES")


async def top_up(site: Site, shillings: int, key: str = "in") -> Posted:
    legs = (debit(TILL, kes(shillings)), credit(WALLET, kes(shillings)))
    return await Ledger(site.db).post(Entry(key, Kind.DEPOSIT, legs, reference="=cmd|x"))


async def has(site: Site) -> int:
    found: int = await site.db.pool.fetchval("SELECT posted FROM account WHERE key = $1", WALLET.key)
    return found // 100


async def form(browser: Browser, path: str = "/admin/books/adjustments") -> dict[str, str]:
    """The hidden fields of a page's form."""
    page = (await browser.get(path)).text
    return {name: re.findall(rf'name="{name}" value="([^"]+)"', page)[-1] for name in ("csrf", "key")}


async def test_empty_books_say_so(owner: Browser) -> None:
    for path, words in (
        ("", "No money has moved"), ("/journal", "Nothing has been booked"), ("/holds", "Nothing is kept back"),
        ("/adjustments", "Nothing waits"),
    ):  # fmt: skip
        page = await owner.get(f"/admin/books{path}")
        assert page.status == 200
        assert words in page.text


async def test_an_entry_is_found_from_its_account_its_statement_and_the_journal(site: Site, owner: Browser) -> None:
    posted = [await top_up(site, 100 * n, f"in {n}") for n in range(1, 53)]
    async with site.db.hot() as connection:
        await holds.place(connection, "kept", WALLET, kes(7))
    number = await site.db.pool.fetchval("SELECT id FROM account WHERE key = $1", WALLET.key)
    accounts = await owner.get("/admin/books?type=LIABILITY&currency=kes&owner=somebody")
    for words in (WALLET.key, "KES 137,800.00", "KES 7.00", "KES 137,793.00", "Liabilities, KES"):
        assert words in accounts.text
    assert TILL.key not in accounts.text
    statement = await owner.get(f"/admin/books/accounts/{number}")
    assert "KES 137,800.00" in statement.text
    assert statement.text.count("/admin/books/entries/") == 50
    assert (await owner.get(f"/admin/books/accounts/{number}?before=3")).text.count("/admin/books/entries/") == 2
    assert "Nothing was posted" in (await owner.get(f"/admin/books/accounts/{number}?to=2020-01-01")).text
    written = await owner.get(f"/admin/books/accounts/{number}/statement.csv?from=2020-01-01")
    rows = list(csv.DictReader(io.StringIO(written.text)))
    assert (rows[0]["amount"], rows[-1]["balance"], len(rows)) == ("100.00", "137800.00", 52)
    assert rows[0]["reference"] == "'=cmd|x"
    journal = await owner.get("/admin/books/journal?kind=DEPOSIT")
    assert journal.text.count(">Deposit<") == 51  # fifty entries, and the choice
    entry = await owner.get(f"/admin/books/entries/{posted[0].id}")
    for words in (WALLET.key, TILL.key, "KES 100.00", "in 1", "Reverse it"):
        assert words in entry.text
    assert "KES 7.00" in (await owner.get("/admin/books/holds")).text
    assert "Nothing is voided" in (await owner.get("/admin/books/holds?state=voided")).text
    exported = [(await owner.get(f"/admin/books/journal.{kind}")).text for kind in ("beancount", "csv")]
    assert all("in 52" in text for text in exported)
    verbs = await site.db.pool.fetch("SELECT verb FROM audit WHERE verb ~ '^books'")
    assert len(verbs) == 3


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("?type=GOLD", 400), ("?currency=EURO", 400), ("?owner=%00", 400), ("?before=x", 400), ("?before=-1", 400),
        ("?owner=" + "x" * 201, 400), ("/accounts/1", 404), ("/accounts/x", 404), ("/accounts/1/statement.csv", 404),
        ("/accounts/1?from=2026-02-30", 400), ("/accounts/1?from=2026-02-03&to=2026-02-01", 400),
        ("/accounts/1?to=9999-12-31", 400), ("/entries/9", 404), ("/entries/" + "9" * 30, 404),
        ("/journal?kind=GIFT", 400), ("/holds?state=x", 400), ("/journal.xls", 404),
    ],
)  # fmt: skip
async def test_what_means_nothing_is_refused(owner: Browser, path: str, status: int) -> None:
    assert (await owner.get(f"/admin/books{path}")).status == status


async def test_small_corrections_are_booked_at_once_and_large_ones_by_a_second_person(
    site: Site, owner: Browser
) -> None:
    posted = await top_up(site, 20_000)
    async with site.db.hot() as connection:
        await make(connection, [FEES])
    small = await form(owner) | {
        "debit": WALLET.key, "credit": FEES.key, "amount": "1,500", "currency": "kes", "reason": "a <b>fee</b> missed"
    }  # fmt: skip
    for _ in range(2):  # a form that is sent twice is one correction
        assert (await owner.post("/admin/books/adjustments", small)).status == 303
    assert await has(site) == 18_500
    for wrong in (
        {"reason": ""}, {"amount": "-1"}, {"amount": "0"}, {"amount": "5k5"}, {"currency": "XXX"}, {"debit": "nowhere"},
        {"debit": FEES.key}, {"key": ""}, {"amount": "19000"}, {"currency": "USD"}, {"entry": "99"}, {"entry": "x"},
    ):  # fmt: skip
        answer = await owner.post("/admin/books/adjustments", small | {"key": "another"} | wrong)
        assert answer.status == (303 if wrong == {"amount": "19000"} else 400), wrong
    undo = await form(owner, f"/admin/books/entries/{posted.id}") | {"entry": str(posted.id), "reason": "twice"}
    assert (await owner.post("/admin/books/adjustments", undo)).status == 303
    # Above the limit the one who proposed it cannot approve it, nor can SQL in their name.
    number = await site.db.pool.fetchval("SELECT max(id) FROM adjustment")
    approve = f"/admin/books/adjustments/{number}/approve"
    assert (await owner.post(approve, undo)).status == 400
    for sql in (
        "UPDATE adjustment SET state = 'posted', decided_by = proposed_by, decided_at = now(), entry_id = $2"
        " WHERE id = $1",
        "UPDATE adjustment SET alone = $2 > 0 WHERE id = $1",
    ):
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.InsufficientPrivilegeError)):
            await site.db.pool.execute(sql, number, posted.id)
    async with site.staff("asha") as asha, site.staff("juma") as juma:
        page = await asha.get("/admin/books/adjustments")
        assert "entry" in page.text
        fields = [await form(one) for one in (asha, juma)]
        # Too little is left in the wallet to take all of it back: nothing happens, and it can be approved later.
        assert (await asha.post(approve, fields[0])).status == 400
        await top_up(site, 1_500, "more")
        sent = [one.post(approve, its) for one, its in zip((asha, juma), fields, strict=True) for _ in range(4)]
        statuses = sorted(answer.status for answer in await asyncio.gather(*sent))
        assert statuses == [303] + [400] * 7
    assert await has(site) == 0
    # The other proposal, of more than there is, is refused by whoever made it.
    assert (await owner.post(f"/admin/books/adjustments/{number - 1}/refuse", undo)).status == 303
    assert (await owner.post("/admin/books/adjustments/99/approve", undo)).status == 404
    shown = (await owner.get("/admin/books/adjustments")).text
    assert "a &lt;b&gt;fee" in shown
    assert shown.count("Booked") == 2
    verbs = [row["verb"] for row in await site.db.pool.fetch("SELECT verb FROM audit WHERE verb ~ '^adj' ORDER BY id")]
    assert verbs == [
        "adjustment.posted", "adjustment.posted", "adjustment.proposed", "adjustment.proposed", "adjustment.posted",
        "adjustment.refused",
    ]  # fmt: skip
