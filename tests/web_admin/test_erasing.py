"""Erasing somebody from the admin: what happens is shown, its code is typed, and who did it is recorded."""

import asyncio
import re
from uuid import UUID

import pytest

from core.erasure import remove
from jobs.wallets import move_unclaimed
from ledger.accounts import clearing, unclaimed, wallet
from ledger.balances import balance
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.core.erased import left, rows
from tests.web_admin.rows import Caller, say
from tests.web_admin.site import Browser, Site

AMINA = Caller("Amina <b>", id="whatsapp:+254712345678")
JUMA = Caller("Juma", id="whatsapp:+254799999999")


async def person_of(site: Site, caller: Caller) -> UUID:
    """Who somebody is."""
    found: UUID = await site.db.pool.fetchval(
        "SELECT person_id FROM identity WHERE provider_id = $1", caller.address.person
    )
    return found


async def code_on(owner: Browser, person: UUID) -> str:
    """The code that the page asks for."""
    page = await owner.get(f"/admin/people/{person}/erase")
    assert page.status == 200
    [code] = re.findall(r'<strong class="code">([0-9a-f]{6})</strong>', page.text)
    return str(code)


async def test_page_says_what_goes_and_what_stays(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "the secret words")
    person = await person_of(site, AMINA)
    assert f'href="/admin/people/{person}/erase"' in (await owner.get(f"/admin/people/{person}")).text
    page = await owner.get(f"/admin/people/{person}/erase")
    assert "Erase <bdi>Amina &lt;b&gt;</bdi>" in page.text
    assert "1 chat, 1 message" in page.text
    assert "What remains: that somebody was erased, and by whom" in page.text
    assert "secret" not in page.text
    assert [row["verb"] for row in await rows(site.db, "audit")][-1] == "person.erasure_shown"


async def test_typed_code_erases_and_says_who_did_it(site: Site, owner: Browser) -> None:
    conversation, _ = await say(site.db, AMINA, "the secret words")
    await say(site.db, JUMA, "hello")
    person = await person_of(site, AMINA)
    fields = {"csrf": await owner.csrf(), "code": (await code_on(owner, person)).upper()}
    done = await owner.post(f"/admin/people/{person}/erase", fields)
    assert (done.status, done.headers["Location"]) == (303, f"/admin/people/{person}/erase")
    page = await owner.get(f"/admin/people/{person}/erase")
    assert "Somebody who was erased" in page.text
    assert "owner" in page.text
    assert (await owner.get(f"/admin/people/{person}")).status == 404
    assert (await owner.get(f"/admin/conversations/{conversation}")).status == 404
    for path in ("/admin/people", "/admin/conversations"):
        shown = (await owner.get(path)).text
        assert "Juma" in shown
        assert "Amina" not in shown
        assert "erased:" not in shown
    [erasure] = await rows(site.db, "erasure")
    assert (erasure["asked_by"], erasure["room"]) == ("staff:owner", AMINA.address.room)
    audit = [row for row in await rows(site.db, "audit") if row["verb"] == "person.erased"]
    assert [(row["actor"], row["subject"]) for row in audit] == [("staff:owner", f"person:{person}")]
    await remove(site.db, erasure["id"])
    assert [where for where in await left(site.db, ["Amina", "secret", "254712345678"]) if where[0] != "erasure"] == []


async def test_somebody_with_money_is_erased_for_a_reason_alone_and_the_money_stays(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "hello")
    person = await person_of(site, AMINA)
    whose, bank, sum_ = wallet(str(person), "KES"), clearing("bank", "KES"), Money(50_050, "KES")
    await Ledger(site.db).post(Entry("fund", Kind.DEPOSIT, (debit(bank, sum_), credit(whose, sum_))))
    page = await owner.get(f"/admin/people/{person}/erase")
    assert "They still have KES 500.50 here." in page.text
    fields = {"csrf": await owner.csrf(), "code": await code_on(owner, person)}
    for reason in ({}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": "\x07"}):
        assert (await owner.post(f"/admin/people/{person}/erase", fields | reason)).status == 400
    assert await rows(site.db, "erasure") == []
    done = await owner.post(f"/admin/people/{person}/erase", fields | {"reason": "a court has ordered it"})
    assert done.status == 303
    [left_] = [row for row in await rows(site.db, "audit") if row["verb"] == "person.left_money"]
    assert left_["detail"] == {"reason": "a court has ordered it", "left": ["KES 500.50"]}
    assert await move_unclaimed(site.db) == 1
    assert await move_unclaimed(site.db) == 0
    # What comes in late for them goes there too.
    await Ledger(site.db).post(Entry("late", Kind.DEPOSIT, (debit(bank, sum_), credit(whose, sum_))))
    await asyncio.gather(*(move_unclaimed(site.db) for _ in range(4)))
    assert (await balance(site.db.pool, unclaimed("KES"))).posted == Money(100_100, "KES")
    assert (await balance(site.db.pool, whose)).posted == Money(0, "KES")


@pytest.mark.parametrize("code", ["", "000000", "erase"])
async def test_another_code_erases_nobody(site: Site, owner: Browser, code: str) -> None:
    await say(site.db, AMINA, "the secret words")
    person = await person_of(site, AMINA)
    assert await code_on(owner, person) != code
    answer = await owner.post(f"/admin/people/{person}/erase", {"csrf": await owner.csrf(), "code": code})
    assert answer.status == 400
    assert "Nothing was erased" in answer.text
    assert await rows(site.db, "erasure") == []


async def test_no_form_of_another_page_erases_anybody(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "the secret words")
    person = await person_of(site, AMINA)
    code = await code_on(owner, person)
    assert (await owner.post(f"/admin/people/{person}/erase", {"code": code})).status == 403
    foreign = {"Sec-Fetch-Site": "cross-site"}
    fields = {"csrf": await owner.csrf(), "code": code}
    assert (await owner.post(f"/admin/people/{person}/erase", fields, foreign)).status == 403
    assert await rows(site.db, "erasure") == []


async def test_sent_twice_is_one_erasure(site: Site, owner: Browser) -> None:
    await say(site.db, AMINA, "the secret words")
    person = await person_of(site, AMINA)
    fields = {"csrf": await owner.csrf(), "code": await code_on(owner, person)}
    assert [(await owner.post(f"/admin/people/{person}/erase", fields)).status for _ in range(2)] == [303, 303]
    assert len(await rows(site.db, "erasure")) == 1


@pytest.mark.parametrize("who", ["nobody", "00000000-0000-0000-0000-000000000001"])
async def test_nobody_is_not_there(owner: Browser, who: str) -> None:
    assert (await owner.get(f"/admin/people/{who}/erase")).status == 404
    fields = {"csrf": await owner.csrf(), "code": who[-6:]}
    assert (await owner.post(f"/admin/people/{who}/erase", fields)).status == 404
