"""Payments in the admin: what needs a person and what is unexplained, decided with a note and an audit row."""

import re

import pytest

from core import erasure
from core.settings import Settings
from jobs.wallets import move_unclaimed
from ledger import dispute_store
from ledger.accounts import clearing, wallet
from ledger.instructions import State
from ledger.journal import Entry, Kind, credit, debit
from ledger.matching import Difference, Finding
from ledger.matching_store import begin, report
from ledger.money import Money
from ledger.posting import Ledger
from ledger.transfers import transfer
from tests.conftest import Sandbox
from tests.jobs.people import said, someone
from tests.jobs.till import PAYS, till
from tests.web_admin.site import Browser, Site


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


async def found(site: Site) -> int:
    """A finding of five hundred shillings; its number."""
    run = await begin(site.db, at_once=True)
    assert run is not None
    finding = Finding(Difference.MISSING_HERE, "<b>LINE", None, Money(50_000, "KES"), "nothing", "KES 500.00")
    await report(site.db, run, [finding], lines=1, matched=0)
    number: int = await site.db.pool.fetchval("SELECT id FROM reconciliation_finding")
    return number


async def test_an_empty_page_says_what_will_be_there(owner: Browser) -> None:
    page = await owner.get("/admin/payments")
    assert page.status == 200
    for words in ("No payment needs a person", "Not compared yet", "Nothing is unexplained", "Nobody has paid"):
        assert words in page.text


async def test_staff_say_how_a_payment_ended_and_what_a_difference_was(
    site: Site, owner: Browser, sandbox: Sandbox
) -> None:
    finding = await found(site)
    async with till(site.db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        await desk.fund(100)
        await desk.plan("send-money/status", "ok", "200_wrong_amount")
        made = await desk.reach(await desk.send())
        assert made.state is State.NEEDS_REVIEW
        page = await owner.get("/admin/payments")
        for words in (made.reference, "amount 39, not 38.00", "KES 500.00 unexplained", "&lt;b&gt;LINE", "1 lines"):
            assert words in page.text
        one = await owner.get(f"/admin/payments/{made.reference}")
        assert one.status == 200
        for words in ("Needs review", "Approving", "KES 38.00", made.tracking_id or "?"):
            assert words in one.text
        # Whom it goes to is sealed, and not on these pages.
        assert PAYS not in page.text + one.text
        assert "Jane" not in page.text + one.text

        token = csrf(page.text)
        resolve = f"/admin/payments/{made.reference}/resolve"
        for wrong in ({"outcome": "succeeded", "note": " "}, {"outcome": "paid", "note": "x"}, {"note": "x"}):
            assert (await owner.post(resolve, {"csrf": token, **wrong})).status == 400
        answer = await owner.post(resolve, {"csrf": token, "outcome": "succeeded", "note": "the statement has it"})
        assert answer.status == 303
        assert await desk.purse() == (6_200, 0)
        explain = f"/admin/payments/findings/{finding}/explain"
        assert (await owner.post(explain, {"csrf": token, "note": "paid by hand"})).status == 303
        page = await owner.get("/admin/payments")
        assert "No payment needs a person" in page.text
        assert "Nothing is unexplained" in page.text
        # What has ended is not ended once more.
        assert (await owner.post(resolve, {"csrf": token, "outcome": "failed", "note": "x"})).status == 404
        assert (await owner.post(explain, {"csrf": token, "note": "x"})).status == 404
        assert await desk.purse() == (6_200, 0)
    rows = await site.db.pool.fetch("SELECT actor, verb FROM audit WHERE verb ~ '^(payment|finding)' ORDER BY id")
    assert [tuple(row) for row in rows] == [("staff:owner", "payment.resolved"), ("staff:owner", "finding.explained")]


async def test_staff_stop_payments_for_everybody_and_let_them_go_on(site: Site, owner: Browser) -> None:
    page = await owner.get("/admin/payments")
    token = csrf(page.text)
    for wrong in ({"to": "stop", "note": " "}, {"to": "maybe", "note": "x"}):
        assert (await owner.post("/admin/payments/switch", {"csrf": token} | wrong)).status == 400
    assert (await owner.post("/admin/payments/switch", {"csrf": "x", "to": "stop", "note": "x"})).status == 403
    for _ in range(2):
        sent = {"csrf": token, "to": "stop", "note": "the provider is down"}
        assert (await owner.post("/admin/payments/switch", sent)).status == 303
    page = await owner.get("/admin/payments")
    assert "Payments are stopped" in page.text
    assert "staff:owner" in page.text
    assert (await owner.post("/admin/payments/switch", {"csrf": token, "to": "go", "note": "it is back"})).status == 303
    assert "Payments go on" in (await owner.get("/admin/payments")).text
    rows = await site.db.pool.fetch("SELECT verb FROM audit WHERE verb ~ '^payments' ORDER BY id")
    assert [row["verb"] for row in rows] == ["payments.stopped", "payments.let_go_on"]


async def test_staff_give_a_payment_back_and_freeze_and_release_another_part(
    site: Site, owner: Browser, sandbox: Sandbox
) -> None:
    assert "Nothing is disputed" in (await owner.get("/admin/disputes")).text
    async with till(site.db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        of = await desk.reach(await desk.ask(500))
        page = await owner.get(f"/admin/payments/{of.reference}")
        assert "KES 500.00 of it were neither given back nor disputed" in page.text
        [key] = re.findall(r'name="key" value="([^"]+)"', page.text)
        fields = {"csrf": csrf(page.text), "key": key, "amount": "200", "note": "they <b>changed</b> their mind"}
        refund, dispute = (f"/admin/payments/{of.reference}/{act}" for act in ("refund", "dispute"))
        for wrong in ({"note": ""}, {"key": ""}, {"amount": "501"}, {"amount": "-1"}, {"amount": "x"}):
            for path in (refund, dispute):
                assert (await owner.post(path, fields | wrong)).status == 400
        assert (await owner.post(refund, fields | {"csrf": "x"})).status == 403
        # A form that is sent twice is one refund, and one dispute.
        for _ in range(2):
            assert (await owner.post(refund, fields)).status == 303
        assert await desk.purse() == (50_000, 20_000)
        assert "was sent before" in (await owner.post(refund, fields | {"amount": "100"})).text
        [made] = re.findall(r'href="/admin/payments/([A-Z0-9-]{12})"', (await owner.get(refund[:-7])).text)
        assert f'href="/admin/payments/{of.reference}"' in (await owner.get(f"/admin/payments/{made}")).text
        sent = [await owner.post(dispute, fields | {"amount": "250"}) for _ in range(2)]
        [where] = {answer.headers["Location"] for answer in sent}
        page = await owner.get(where)
        for words in ("Frozen", "KES 250.00", "they &lt;b&gt;changed", "Release to the person"):
            assert words in page.text
        assert (await owner.post(f"{where}/lose", fields)).status == 400
        assert (await owner.post(f"{where}/dance", fields)).status == 404
        assert (await owner.post(f"{where}/release", fields | {"note": " "})).status == 400
        assert (await owner.post(f"{where}/release", fields)).status == 303
        assert (await owner.post(f"{where}/release", fields)).status == 400
        assert "Decided" in (await owner.get("/admin/disputes")).text
        ends = [words for words in await said(site.db, desk.who.conversation_id) if "disput" in words]
        assert ends == [
            f"The payment {of.reference} is disputed, over KES 250.00. KES 250.00 of it are kept back in your wallet"
            " until that is decided.",
            f"The dispute about the payment {of.reference} was decided for you: KES 250.00 of KES 250.00 are free in"
            " your wallet again.",
        ]
    rows = await site.db.pool.fetch("SELECT verb FROM audit WHERE verb ~ '^(payment|dispute)' ORDER BY id")
    assert [row["verb"] for row in rows] == ["payment.refunded", "dispute.opened", "dispute.release"]
    assert (await owner.get("/admin/disputes/NOT-HERE-AT")).status == 404


async def test_what_who_paid_says_is_shown_as_theirs_and_staff_decide(site: Site, owner: Browser) -> None:
    payer, payee = await someone(site.db), await someone(site.db)
    sum_ = Money(50_000, "KES")
    legs = debit(clearing("bank", "KES"), sum_), credit(wallet(str(payer.person_id), "KES"), sum_)
    await Ledger(site.db).post(Entry("fund", Kind.DEPOSIT, legs))
    async with site.db.hot() as connection:
        await transfer(connection, "confirmed:x", str(payer.person_id), str(payee.person_id), sum_)
        [sent] = await dispute_store.sent_by(connection, payer.person_id)
        words = "they <b>never</b> came"
        asked = dispute_store.Complaint("c", payer.person_id, payer.conversation_id, words, entry_id=sent.entry_id)
        made = await dispute_store.complain(connection, asked)
    listed = await owner.get("/admin/disputes")
    assert f"Entry {sent.entry_id}" in listed.text
    assert "the payer" in listed.text
    where = f"/admin/disputes/{made.reference}"
    page = await owner.get(where)
    for shown in (
        "they &lt;b&gt;never&lt;/b&gt; came",
        "What the payer says",
        "nobody has checked them",
        "Freeze what is there",
        f'href="/admin/people/{payer.person_id}">Asha</a>',
        f'href="/admin/books/entries/{sent.entry_id}"',
    ):
        assert shown in page.text
    fields = {"csrf": csrf(page.text), "note": "looked at it"}
    assert (await owner.post(f"{where}/refund", fields)).status == 400
    for act in ("freeze", "refund"):
        assert (await owner.post(f"{where}/{act}", fields)).status == 303
    assert "Refunded" in (await owner.get(where)).text
    assert [words.partition(":")[0] for words in await said(site.db, payer.conversation_id)] == [
        f"Your dispute {made.reference}", f"Your dispute {made.reference} was decided for you",
    ]  # fmt: skip
    assert ["is disputed" in words for words in await said(site.db, payee.conversation_id)] == [True, False]
    assert (
        await site.db.pool.fetchval("SELECT posted FROM account WHERE key = $1", f"wallet:{payer.person_id}:KES")
        == 50_000
    )


async def test_a_large_refund_is_wanted_by_two_of_the_staff(site: Site, owner: Browser, sandbox: Sandbox) -> None:
    async with till(site.db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        of = await desk.reach(await desk.ask(6_000))
        page = await owner.get(f"/admin/payments/{of.reference}")
        [key] = re.findall(r'name="key" value="([^"]+)"', page.text)
        fields = {"csrf": csrf(page.text), "key": key, "amount": "5001", "note": "not delivered"}
        answer = await owner.post(f"/admin/payments/{of.reference}/refund", fields)
        assert (answer.status, "two of the staff decide" in answer.text) == (400, True)
        where = (await owner.post(f"/admin/payments/{of.reference}/dispute", fields)).headers["Location"]
        assert (await owner.post(f"{where}/refund", fields)).status == 303
        page = await owner.get(where)
        assert "Refund proposed</strong> by staff:owner: not delivered. Somebody else has to approve it" in page.text
        assert (await owner.post(f"{where}/refund", fields)).status == 400
        async with site.staff("wanjiru") as second:
            page = await second.get(where)
            assert "Choose the same to approve it" in page.text
            assert (await second.post(f"{where}/refund", {"csrf": csrf(page.text), "note": "yes"})).status == 303
            assert "Refunding" in (await second.get(where)).text
    rows = await site.db.pool.fetch("SELECT actor, verb FROM audit WHERE verb ~ '^dispute' ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("staff:owner", "dispute.opened"), ("staff:owner", "dispute.refund_proposed"),
        ("staff:wanjiru", "dispute.refund"),
    ]  # fmt: skip


async def test_of_a_payment_to_somebody_who_was_erased_nothing_is_given_back_here(
    site: Site, owner: Browser, sandbox: Sandbox
) -> None:
    async with till(site.db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
        of, other = [await desk.reach(await desk.ask(amount)) for amount in (500, 300)]
        page = await owner.get(f"/admin/payments/{of.reference}")
        [key] = re.findall(r'name="key" value="([^"]+)"', page.text)
        fields = {"csrf": csrf(page.text), "key": key, "amount": "300", "note": "x"}
        where = (await owner.post(f"/admin/payments/{other.reference}/dispute", fields)).headers["Location"]
        await erasure.begin(site.db, desk.who.person_id, asked_by="staff:owner", last_word_to=None)
        for path in (f"/admin/payments/{of.reference}/refund", f"{where}/refund"):
            answer = await owner.post(path, fields)
            assert (answer.status, "has been erased" in answer.text) == (400, True)
        assert (await owner.get(where)).status == 200
        assert (await owner.post(f"{where}/release", fields)).status == 303
        while await move_unclaimed(site.db):
            pass
        assert "was sent before" in (await owner.post(f"/admin/payments/{of.reference}/dispute", fields)).text
        made = await owner.post(f"/admin/payments/{of.reference}/dispute", fields | {"key": "another"})
        assert "No wallet goes below zero" in (await owner.get(made.headers["Location"])).text
        assert await site.db.pool.fetchval("SELECT posted FROM account WHERE key = 'unclaimed:KES'") == 80_000


async def test_a_fee_is_added_and_never_changed(site: Site, owner: Browser) -> None:
    page = await owner.get("/admin/fees")
    assert "Nothing costs anything yet" in page.text
    [today] = re.findall(r'min="([0-9-]+)"', page.text)
    fields = {"csrf": csrf(page.text), "kind": "WITHDRAWAL", "currency": "kes", "from": today}
    fields["tiers"] = "100 0\n* 7 0.25"
    for wrong, why in (
        ({"kind": "REFUND"}, "not for REFUND"), ({"kind": "<b>"}, "Say what"), ({"currency": "<b>"}, "no currency"),
        ({"from": "2020-01-01"}, "now or later"), ({"from": "soon"}, "Choose the day"),
        ({"tiers": "100 0"}, "last tier"),
        ({"tiers": "x" * 5_000}, "at most 4000"), ({"at_least": "9", "at_most": "5"}, "not above the most"),
    ):  # fmt: skip
        answer = await owner.post("/admin/fees", fields | wrong)
        assert answer.status == 400
        assert why in answer.text
    assert await site.db.pool.fetchval("SELECT count(*) FROM fee_schedule") == 0
    assert (await owner.post("/admin/fees", fields | {"at_most": "200"})).status == 303
    page = await owner.get("/admin/fees")
    whole = "up to KES 100.00: free; all more: KES 7.00 and 0.25 %; at most KES 200.00"
    for words in (whole, "Charged", "staff:owner"):
        assert words in page.text
    assert (await owner.post("/admin/fees", fields | {"csrf": "x"})).status == 403
    assert await site.db.pool.fetchval("SELECT verb FROM audit WHERE verb ~ '^fees'") == "fees.added"


@pytest.mark.parametrize("name", ["NOT-HERE-AT", "x" * 300, "%00", "a%0Ab"])
async def test_what_is_not_there_is_said_so(owner: Browser, name: str) -> None:
    assert (await owner.get(f"/admin/payments/{name}")).status == 404


async def test_strangers_and_other_sites_decide_nothing(site: Site, owner: Browser) -> None:
    finding = await found(site)
    token = csrf((await owner.get("/admin/payments")).text)
    for path in ("/admin/payments/K7QM-2XVR-9T/resolve", f"/admin/payments/findings/{finding}/explain"):
        fields = {"outcome": "failed", "note": "x"}
        assert (await owner.post(path, {"csrf": "x", **fields})).status == 403
        async with site.stranger() as stranger:
            assert (await stranger.post(path, {"csrf": token, **fields})).status == 401
    for number in ("0", "x", "9" * 30):
        answer = await owner.post(f"/admin/payments/findings/{number}/explain", {"csrf": token, "note": "x"})
        assert answer.status == 404
    assert await site.db.pool.fetchval("SELECT count(*) FROM reconciliation_finding WHERE resolved_at IS NULL") == 1
