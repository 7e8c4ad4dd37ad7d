"""The pay page over real HTTP: what each state says, who is asked for how much, and that it pesters nobody."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import aiohttp
import asyncpg
import pypdf
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bot import pay
from bot.app import _add_headers
from core import limits
from core.db import Database
from core.limits import Limits
from core.settings import Settings
from ledger import invoice_marks, invoices
from ledger.instruction_store import newest_on
from ledger.instructions import Instruction, State
from ledger.invoices import Invoice, Words
from ledger.money import Money
from tests.conftest import Sandbox
from tests.jobs.till import LATE, PAYS, SAYS_NO, Till, till

TODAY = date(2026, 11, 26)
WORDS = Words("Wanjiru <Design>", "Achieng & Sons", "Logo \u202eand letterhead", "a@example.com", "+254712000009")
SHILLINGS = 4_500


@dataclass(frozen=True)
class Served:
    """What the page is given."""

    settings: Settings
    db: Database
    limits: Limits


@dataclass
class Shop:
    """Somebody with an invoice, and a browser at its address."""

    till: Till
    session: aiohttp.ClientSession
    url: str
    invoice: Invoice
    owner_url: str

    @property
    def path(self) -> str:
        """Where the invoice is."""
        return f"/pay/{self.invoice.token}"

    async def get(self, path: str = "", **headers: str) -> tuple[int, str]:
        """A page below the invoice."""
        async with self.session.get(self.path + path, headers=headers) as answer:
            return answer.status, (await answer.read()).decode("utf-8", "replace")

    async def post(
        self, to: str = "mpesa", headers: dict[str, str] | None = None, key: str | None = None, **fields: str
    ) -> tuple[int, str]:
        """Send one of the forms as the page has it, with these fields filled in."""
        given = {"key": key or await self.key(), "amount": "4,500.00"} | fields
        origin = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} if headers is None else headers
        async with self.session.post(f"{self.path}/{to}", data=given, headers=origin, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    async def key(self) -> str:
        """What a form of the page is known by."""
        _, page = await self.get()
        found = re.search(r'name="key" value="([\w-]{22})"', page)
        return found[1] if found else "x" * 22

    async def asked(self) -> list[Instruction]:
        """What was asked for, the oldest first."""
        async with self.till.db.hot() as connection:
            return [of for of, _ in await newest_on(connection, self.invoice.id, 50)][::-1]

    async def now(self) -> Invoice:
        """The invoice as it is."""
        async with self.till.db.hot() as connection:
            return await invoices.find(connection, self.invoice.id)

    async def more(self, cents: int, currency: str = "KES", **words: Any) -> "Shop":
        """Another invoice of the same person."""
        made = await invoice_of(self.till, Money(cents, currency), f"more-{cents}{currency}", **words)
        return Shop(self.till, self.session, self.url, made, self.owner_url)

    async def becomes(self, state: str) -> None:
        """Bring the invoice to a state, as the application's role could."""
        await self.till.db.pool.execute("UPDATE invoice SET state = $2 WHERE id = $1", self.invoice.id, state)


async def invoice_of(desk: Till, amount: Money, key: str, **words: Any) -> Invoice:
    async with desk.db.hot() as connection:
        return await invoices.create(
            connection, key, desk.who.person_id, desk.who.conversation_id, amount, replace(WORDS, **words),
            today=TODAY, due_on=date(2026, 12, 10),
        )  # fmt: skip


@asynccontextmanager
async def serving(desk: Till, valkey_url: str, owner_url: str, settings: Settings) -> AsyncIterator[Shop]:
    valkey = Redis.from_url(valkey_url)
    app = web.Application()
    app.add_routes(pay.routes(Served(settings, desk.db, Limits(valkey))))
    app.on_response_prepare.append(_add_headers)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Shop(desk, session, url, await invoice_of(desk, Money(SHILLINGS * 100, "KES"), "first"), owner_url)
    await runner.cleanup()
    await valkey.aclose()


@pytest.fixture
async def desk(db: Database, sandbox: Sandbox) -> AsyncIterator[Till]:
    async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as made:
        made.hands = replace(made.hands, base_url="https://pay.example")
        yield made


@pytest.fixture
async def shop(desk: Till, valkey_url: str, owner_url: str, sandbox: Sandbox) -> AsyncIterator[Shop]:
    settings = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    async with serving(desk, valkey_url, owner_url, settings) as made:
        yield made


# What is seen.


async def test_it_shows_who_asks_whom_for_what_in_both_languages_and_nothing_else_is_fetched(shop: Shop) -> None:
    status, page = await shop.get()
    assert status == 200
    for said in (
        'lang="en"', "Wanjiru &lt;Design&gt;", "Achieng &amp; Sons", shop.invoice.number, "KES 4,500.00",
        "Thu 10 Dec 2026", "Pay by M-Pesa", "Pay by card", "· sandbox",
    ):  # fmt: skip
        assert said in page
    assert "a@example.com" not in page
    assert "712000009" not in page
    for language in ("sw", "sw-KE, en;q=0.8", "fr, sw;q=0.5, en;q=0.4"):
        _, page = await shop.get(**{"Accept-Language": language})
        assert 'lang="sw"' in page
        assert "Kiasi kinachodaiwa" in page
        assert "Amount due" not in page
    assert 'lang="en"' in (await shop.get("?lang=en", **{"Accept-Language": "sw"}))[1]
    fetched = re.findall(r'(?:src|href|action)="([^"]+)"', page)
    assert fetched
    assert all(one.startswith(("/", "?")) for one in fetched)
    async with shop.session.get(shop.path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "noindex" in answer.headers["X-Robots-Tag"]


async def test_an_address_that_never_was_is_answered_like_one_that_is_no_more(shop: Shop) -> None:
    other = shop.path[:-1] + ("A" if shop.path[-1] != "A" else "B")
    answers = set()
    for path in (other, "/pay/x", "/pay/" + "A" * 32, "/pay/%00%ff", f"/pay/{'A' * 500}"):
        for below in ("", "/invoice.pdf"):
            async with shop.session.get(path + below) as answer:
                answers.add((answer.status, await answer.text(), answer.headers["Content-Security-Policy"]))
        headers = {"Origin": shop.url}
        async with shop.session.post(path + "/mpesa", data={"amount": "5"}, headers=headers) as answer:
            answers.add((answer.status, await answer.text(), answer.headers["Content-Security-Policy"]))
    await shop.till.db.pool.execute("UPDATE invoice SET sealed = NULL, token_hash = NULL")
    async with shop.session.get(shop.path) as answer:
        answers.add((answer.status, await answer.text(), answer.headers["Content-Security-Policy"]))
    [(status, page, _)] = answers
    assert status == 404
    assert "There is no such invoice" in page
    async with shop.session.get(f"{shop.path}/state") as answer:
        assert (answer.status, await answer.json()) == (404, {"mark": None})


@pytest.mark.parametrize(
    ("state", "paid", "said", "forms"),
    [
        ("sent", 0, "To be paid", True),
        ("part_paid", 100_000, "KES 3,500.00", True),
        ("overdue", 0, "It was to be paid by Thu 10 Dec 2026.", True),
        ("paid", 450_000, "Nothing is due any more", False),
        ("paid", 500_000, "KES 500.00 more than it asked for", False),
        ("void", 0, "has cancelled it. Do not pay it.", False),
        ("disputed", 0, "takes no payment until that is settled", False),
    ],
)
async def test_each_state_has_its_own_words(shop: Shop, state: str, paid: int, said: str, forms: bool) -> None:
    if paid:
        async with shop.till.db.hot() as connection:
            await invoices.pay(connection, shop.invoice.id, "elsewhere", Money(paid, "KES"))
    else:
        await shop.becomes("sent")
        await shop.becomes(state)
    status, page = await shop.get()
    assert status == 200
    assert said in page
    assert ("<form" in page) is forms
    assert ("Amount due" in page) is (state != "void")
    assert (await shop.now()).state == state
    if not forms:
        status, page = await shop.post(phone="0712345678")
        assert status == 422
        assert "does not take a payment any more" in page
        assert await shop.asked() == []


async def test_what_was_paid_in_cash_is_said_on_it_and_on_its_pdf(shop: Shop) -> None:
    async with shop.till.db.hot() as connection:
        await invoice_marks.mark(connection, shop.invoice.id, "m", Money(50_000, "KES"), "cash", TODAY, "person:x")
    _, page = await shop.get()
    assert "Paid in cash on" in page
    assert "KES 500.00" in page
    async with shop.session.get(f"/pay/{shop.invoice.token}/invoice.pdf") as answer:
        assert (answer.status, (await answer.read())[:5]) == (200, b"%PDF-")


async def test_the_pdf_is_there_in_both_languages(shop: Shop) -> None:
    for language in ("en", "sw"):
        async with shop.session.get(f"{shop.path}/invoice.pdf?lang={language}") as answer:
            assert (answer.status, answer.content_type) == (200, "application/pdf")
            assert answer.headers["Content-Disposition"] == f'inline; filename="{shop.invoice.number}.pdf"'
            said = pypdf.PdfReader(io.BytesIO(await answer.read())).pages[0].extract_text()
        assert WORDS.issuer in said
        assert ("Achieng & Sons" in said, "a@example.com" in said, "712000009" in said) == (True, False, False)


# Paying by M-Pesa.


async def test_a_payer_has_their_phone_asked_and_the_page_says_when_it_is_paid(shop: Shop) -> None:
    status, where = await shop.post(phone="0708 374 149")
    assert (status, where) == (303, shop.path + "#panel")
    _, page = await shop.get()
    assert "M-Pesa will ask the phone ending in 149 to pay KES 4,500.00" in page
    assert "<form" not in page
    assert '<meta http-equiv="refresh"' in page
    mark = (re.search(r'data-mark="(\w+)"', page) or "")[1]
    async with shop.session.get(f"{shop.path}/state") as answer:
        assert await answer.json() == {"mark": mark}
    [of] = await shop.asked()
    await shop.till.reach(of, {State.COMPLETE})
    async with shop.session.get(f"{shop.path}/state") as answer:
        assert (await answer.json())["mark"] != mark
    _, page = await shop.get()
    assert "Thank you: KES 4,500.00 have come." in page
    assert "Nothing is due any more" in page
    assert "refresh" not in page
    assert await shop.till.purse() == (450_000, 0)
    assert len(await shop.till.truth(of, "paid")) == 1


async def test_a_part_can_be_paid_and_then_the_rest(shop: Shop) -> None:
    assert (await shop.post(phone=PAYS, amount="1000"))[0] == 303
    await shop.till.reach((await shop.asked())[0], {State.COMPLETE})
    _, page = await shop.get()
    assert "KES 3,500.00" in page
    assert "Part paid" in page
    status, page = await shop.post(phone=PAYS, amount="3,501")
    assert status == 422
    assert "Only KES 3,500.00 are left to pay" in page
    assert 'value="3,501"' in page
    assert (await shop.post(phone=PAYS, amount="3500"))[0] == 303
    await shop.till.reach((await shop.asked())[1], {State.COMPLETE})
    assert (await shop.now()).state == "paid"


async def test_whoever_waits_is_told_once_their_phone_is_asked(shop: Shop) -> None:
    await shop.post(phone="0712345678")
    [of] = await shop.asked()
    await shop.till.reach(of, {State.PENDING})
    _, page = await shop.get()
    assert "M-Pesa asks the phone ending in 678 to pay KES 4,500.00. Type the PIN there" in page


async def test_a_refused_request_is_told_and_can_be_tried_again(shop: Shop) -> None:
    await shop.post(phone=SAYS_NO)
    await shop.till.reach((await shop.asked())[0], {State.FAILED})
    _, page = await shop.get()
    assert "KES 4,500.00 were not paid: the request was declined on the phone." in page
    assert "<form" in page
    assert (await shop.post(phone=PAYS))[0] == 303


async def test_a_payment_that_comes_after_it_was_given_up_is_counted(shop: Shop) -> None:
    await shop.post(phone=LATE)
    [of] = await shop.asked()
    await shop.till.reach(of, {State.LATE})
    _, page = await shop.get()
    assert "Thank you: KES 4,500.00 have come." in page
    assert (await shop.now()).state == "paid"


async def test_the_same_form_sent_twice_asks_once(shop: Shop) -> None:
    key = await shop.key()
    for _ in range(3):
        assert (await shop.post(phone=PAYS, key=key))[0] == 303
    assert len(await shop.asked()) == 1
    status, page = await shop.post(phone=PAYS, key=key, amount="10")
    assert status == 409
    assert "used for another payment already" in page
    status, page = await shop.post(phone=PAYS)
    assert status == 422
    assert "is on a phone just now" in page
    assert len(await shop.asked()) == 1


@pytest.mark.parametrize("to", ["mpesa", "card"])
async def test_of_many_browsers_at_once_one_asks(shop: Shop, to: str) -> None:
    posts = [shop.post(to, None, f"{number:022}", phone=f"07123456{number:02}") for number in range(8)]
    statuses = sorted([status for status, _ in await asyncio.gather(*posts)])
    assert statuses == ([303] + [422] * 7 if to == "mpesa" else [303] * 8)
    assert len(await shop.asked()) == 1


@pytest.mark.parametrize(
    ("fields", "said", "field"),
    [
        ({"phone": "0612345678"}, "is not an M-Pesa number", "phone"),
        ({"phone": ""}, "is not an M-Pesa number", "phone"),
        ({"phone": "+1 415 523 8886"}, "is not an M-Pesa number", "phone"),
        ({"phone": '"><script>alert(1)</script>'}, "is not an M-Pesa number", "phone"),
        ({"amount": "lots"}, "cannot read", "mpesa-amount"),
        ({"amount": ""}, "How much?", "mpesa-amount"),
        ({"amount": "0"}, "cannot read|more than zero", "mpesa-amount"),
        ({"amount": "-5"}, "cannot read|more than zero", "mpesa-amount"),
        ({"amount": "USD 5"}, "USD", "mpesa-amount"),
        ({"amount": "1e9"}, "cannot read", "mpesa-amount"),
        ({"amount": "10.50"}, "whole Kenyan shillings", ""),
        ({"amount": "99999999999999"}, "at most KES 250,000.00|more money|Only", ""),
        ({"key": "short"}, "Load the page again", ""),
        ({"key": "x" * 21 + "\u0000"}, "Load the page again", ""),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_for_is_said_beside_the_field_and_asks_nobody(
    shop: Shop, fields: dict[str, str], said: str, field: str
) -> None:
    status, page = await shop.post("mpesa", None, **({"phone": "0712345678"} | fields))
    assert status == 422
    assert re.search(said, page)
    assert "<script>alert" not in page
    if field:
        assert f'id="{field}-problem"' in page
        assert re.search(rf'id="{field}"[^>]* aria-describedby="[^"]*{field}-problem" aria-invalid="true"', page)
    assert await shop.asked() == []


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
async def test_a_form_of_another_page_asks_nobody(shop: Shop, headers: dict[str, str]) -> None:
    status, page = await shop.post(headers=headers, phone="0712345678")
    assert status == 403
    assert "did not come from this page" in page
    assert await shop.asked() == []


async def test_a_body_that_is_no_form_or_too_large_asks_nobody(shop: Shop) -> None:
    headers = {"Origin": shop.url, "Content-Type": "application/json"}
    async with shop.session.post(f"{shop.path}/mpesa", data=b"{}", headers=headers) as answer:
        assert answer.status == 422
    async with shop.session.post(f"{shop.path}/mpesa", data={"amount": "x" * 70_000}, headers=headers | {
        "Content-Type": "application/x-www-form-urlencoded"}) as answer:  # fmt: skip
        assert answer.status == 413
    assert await shop.asked() == []


# Nobody's phone can be made to ring.


async def over(shop: Shop, ago: str = "20 minutes") -> None:
    """Let all that was asked be long ago."""
    owner = await asyncpg.connect(shop.owner_url)
    await owner.execute("UPDATE payment_instruction SET created_at = created_at - $1::text::interval", ago)
    await owner.close()


async def test_a_strangers_phone_is_asked_a_few_times_whatever_invoice_is_used(shop: Shop) -> None:
    shops = [shop] + [await shop.more(100_000 + 100 * number) for number in range(6)]
    answers = [await one.post(phone="0712 345 678", amount="50") for one in shops]
    assert [status for status, _ in answers] == [303] * limits.PAY_PHONE.count + [429] * 3
    assert "This phone has been asked 4 times within an hour." in answers[-1][1]
    assert (await shops[-1].post(phone="+254 712-345678", amount="50"))[0] == 429
    assert (await shops[-1].post(phone="0712345679", amount="50"))[0] == 303
    assert sum([len(await one.asked()) for one in shops]) == limits.PAY_PHONE.count + 1


async def test_an_invoice_can_be_tried_so_often(shop: Shop) -> None:
    statuses = []
    for number in range(limits.PAY_INVOICE.count + 2):
        statuses.append((await shop.post(phone=f"07123456{number:02}"))[0])
        await over(shop)
    assert statuses == [303] * limits.PAY_INVOICE.count + [429] * 2


async def test_a_network_can_look_so_often_and_those_who_wait_are_counted_by_invoice(shop: Shop) -> None:
    for number in range(limits.PAY_PAPERS.count):
        assert (await shop.get("/invoice.pdf?lang=xx"))[0] == 200, number
    async with shop.session.get(f"{shop.path}/invoice.pdf", headers={"Accept-Language": "sw"}) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert "PDF zaidi ya 20 zimepakuliwa" in await answer.text()
    for number in range(limits.PAY_VIEWS.count):
        assert (await shop.get("/state"))[0] == 200, number
    assert (await shop.get("/state"))[0] == 429
    other = await shop.more(100_000)
    assert (await other.get("/state"))[0] == 200
    assert (await shop.get())[0] == 200


async def test_nothing_is_asked_while_nobody_can_count(desk: Till, owner_url: str, sandbox: Sandbox) -> None:
    settings = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    async with serving(desk, "redis://127.0.0.1:1", owner_url, settings) as shop:
        assert (await shop.get())[0] == 200
        status, page = await shop.post(phone="0712345678")
        assert status == 429
        assert "I cannot do that just now" in page
        assert await shop.asked() == []


# Paying by card, and where neither will do.


async def test_a_card_is_typed_at_the_providers_and_the_page_says_when_it_is_paid(shop: Shop) -> None:
    assert await shop.post("card", amount="4500") == (303, shop.path + "#panel")
    _, page = await shop.get()
    assert "The card page is being made" in page
    [of] = await shop.asked()
    of = await shop.till.reach(of, {State.PENDING})
    _, page = await shop.get()
    found = re.search(r'class="button" href="(http[^"]+)" rel="noreferrer"', page)
    assert found
    assert found[1] == of.page_url
    assert "<form" in page
    # The same again is the same page.
    assert (await shop.post("card", amount="4500"))[0] == 303
    assert len(await shop.asked()) == 1
    [made] = [row for row in await shop.till.truth(of, "checkout")]
    assert made["method"] == "CARD-PAYMENT"
    assert made["redirect_url"].endswith(shop.path)
    # What a browser says to bring back is no payment.
    back = f"?signature=x&checkout_id={of.session}&tracking_id=ABC1234"
    _, page = await shop.get(back)
    assert "Your payment is being checked" in page
    assert (await shop.now()).paid.minor == 0
    assert (await shop.till.wire.post(found[1].partition("/intasend")[2], data={
        "method": "CARD-PAYMENT", "card": "4242424242424242"})).status_code == 303  # fmt: skip
    await shop.till.reach(of, {State.COMPLETE})
    _, page = await shop.get(back)
    assert "Thank you: KES 4,500.00 have come." in page
    assert (await shop.now()).state == "paid"


async def test_a_browser_that_comes_back_has_the_provider_asked_at_most_every_few_seconds(shop: Shop) -> None:
    await shop.post("card")
    of = await shop.till.reach((await shop.asked())[0], {State.PENDING})
    pool = shop.till.db.pool
    await pool.execute("UPDATE payment_instruction SET due_at = clock_timestamp() + interval '1 hour'")
    due = "SELECT due_at <= clock_timestamp() FROM payment_instruction"
    await shop.get(f"?checkout_id={'0' * 36}")
    assert not await pool.fetchval(due)
    await shop.get(f"?checkout_id={of.session}")
    assert await pool.fetchval(due)
    await pool.execute("UPDATE payment_instruction SET due_at = clock_timestamp() + interval '1 hour'")
    await shop.get(f"?checkout_id={of.session}")
    assert not await pool.fetchval(due)


async def test_what_was_paid_twice_is_told_as_such(shop: Shop) -> None:
    await shop.post("card", amount="4500")
    card = await shop.till.reach((await shop.asked())[0], {State.PENDING})
    assert (await shop.post(phone=PAYS))[0] == 303
    await shop.till.reach((await shop.asked())[1], {State.COMPLETE})
    assert card.page_url
    await shop.till.wire.post(card.page_url.partition("/intasend")[2], data={
        "method": "CARD-PAYMENT", "card": "4242424242424242"})  # fmt: skip
    await shop.till.reach(card, {State.COMPLETE})
    _, page = await shop.get()
    assert "KES 4,500.00 more than it asked for" in page
    assert await shop.till.purse() == (900_000, 0)


async def test_only_what_can_be_done_is_offered(shop: Shop) -> None:
    dollars = await shop.more(5_000, "USD")
    _, page = await dollars.get()
    assert "Pay by M-Pesa" not in page
    assert "Pay by card" in page
    assert (await dollars.post(phone=PAYS, amount="USD 50"))[0] == 422
    assert (await dollars.post("card", amount="0.50"))[0] == 422
    assert (await dollars.post("card", amount="20"))[0] == 303
    uganda = await shop.more(5_000, "UGX")
    _, page = await uganda.get()
    assert "<form" not in page
    assert "It cannot be paid online. Ask Wanjiru &lt;Design&gt; how to pay." in page
    assert (await uganda.post("card", amount="20"))[0] == 422
    large = await shop.more(30_000_050)
    _, page = await large.get()
    assert "in whole shillings, at most KES 250,000.00" in page
    status, page = await large.post(phone=PAYS, amount="250,001")
    assert status == 422
    assert "M-Pesa moves at most KES 250,000.00 at a time" in page


async def test_without_a_provider_it_shows_the_invoice_and_offers_nothing(
    desk: Till, valkey_url: str, owner_url: str
) -> None:
    async with serving(desk, valkey_url, owner_url, Settings(_env_file=None)) as shop:
        status, page = await shop.get()
        assert status == 200
        assert "It cannot be paid online." in page
        assert "sandbox" not in page
        assert (await shop.post(phone="0712345678"))[0] == 404
        assert await shop.asked() == []


async def test_a_request_without_an_answer_says_so_and_that_paying_again_may_pay_twice(shop: Shop) -> None:
    await shop.post(phone="0712345678")
    await over(shop, "5 minutes")
    _, page = await shop.get()
    assert "We do not know yet whether KES 4,500.00 were paid" in page
    assert "<form" in page
    await over(shop, "20 minutes")
    assert "do not know yet" not in (await shop.get())[1]


async def test_no_number_is_kept_where_limits_are_counted(shop: Shop, valkey_url: str) -> None:
    await shop.post(phone="0712345678")
    async with Redis.from_url(valkey_url) as valkey:
        keys = " ".join(map(str, await valkey.keys()))
    assert "pay_phone" in keys
    assert "712345678" not in keys
