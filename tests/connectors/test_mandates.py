"""A workflow pays by itself only as it was shown and confirmed, and every look at a payment is taken there, too."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connectors.wallet.amounts import SendMoney
from connectors.wallet.mandates import Standing, grant_mandate, pay_by_mandate
from core import confirm, erasure, people, renumber
from core.actions import ActionContext, ActionResult, Person
from core.db import Database
from core.errors import UserError
from core.renumber import Renumbered
from core.settings import Settings
from core.workflows import parse_draft
from jobs import definitions
from jobs.archive import _mandates
from ledger import mandates, payment_switch
from ledger.spending_limits import Per, set_limit
from tests.conftest import Sandbox
from tests.connectors.test_spending import AMINA, BARAKA, buttons, code_in, payments
from tests.connectors.test_wallet import over
from tests.core.speaking import WHATSAPP, Mathia, mathia
from tests.jobs.till import PAYS, Till, till
from tests.skills import needs

pytestmark = needs("wallet", "contacts")

LAST = datetime.now(UTC).date() + timedelta(days=30)
ASK = f"let Rent pay 0712000002 and Jane 500 each, 1,000 a day, 2,000 in all, until {LAST:%d %B %Y}"
TO_BARAKA, TO_JANE = {"phone_number": "0712000002"}, {"recipient": "Jane"}


@dataclass
class Desk:
    """Amina's workflow Rent, and a run of it."""

    bot: Mathia
    till: Till
    person: UUID
    room: UUID
    definition: UUID
    run: str

    async def begin(self) -> None:
        """A run, of the workflow as it is now."""
        self.run = await definitions.request_run(self.bot.db, self.bot.wakes, self.definition, {})
        await self.bot.db.pool.execute(
            "UPDATE workflow_run r SET state = 'running', version = d.version FROM workflow_definition d"
            " WHERE d.id = r.definition_id AND r.workflow_id = $1",
            self.run,
        )

    async def grant(self, asked: str = ASK) -> str:
        """Ask for it, and type its code."""
        return await self.bot.hear(AMINA, code_in(await self.bot.hear(AMINA, asked)))

    def context(self, key: str, **more: Any) -> ActionContext:
        """What an action knows that Amina's account is used by."""
        deps = self.bot.deps
        return ActionContext(
            Person(self.person, "Amina", "en", None), self.room, self.bot.db, deps.providers, deps.settings,
            datetime.now(UTC), key, **more,
        )  # fmt: skip

    async def pay(self, step: str = "pay", amount: str = "500", to: dict[str, str] = TO_BARAKA) -> ActionResult:
        """Pay, as a step of the run does."""
        context = self.context(f"run:{self.run}:{step}", run=self.run)
        return await pay_by_mandate(context, SendMoney.model_validate({"amount": amount, **to}))

    async def refused(self, *args: Any, **more: Any) -> str:
        """Why it is not paid; nothing is left of it."""
        before = await self.till.purse(), await payments(self.bot)
        with pytest.raises(UserError) as problem:
            await self.pay(*args, **more)
        assert (await self.till.purse(), await payments(self.bot)) == before
        return str(problem.value)


@pytest.fixture
async def desk(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Desk]:
    """Amina has KES 5,000 and knows Jane's number, who has no wallet here; Baraka has one."""
    settings = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as bot, till(db, settings) as made:
        await bot.hear(AMINA, f"save Jane's number +{PAYS}")
        await bot.hear(BARAKA, "hello")
        person = await bot.person(AMINA)
        made.owner = str(person)
        await made.fund(5_000)
        room = await db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", AMINA.room)
        step = {"id": "pay", "kind": "action", "action": "send_money", "params": {"amount": "500", **TO_BARAKA}}
        definition = await definitions.add(
            db, bot.wakes, parse_draft({"name": "Rent", "steps": [step]}), bot.deps.catalog, person_id=person,
            conversation_id=room, default_timezone="Africa/Nairobi",
        )  # fmt: skip
        whole = Desk(bot, made, person, room, definition, "")
        await whole.begin()
        yield whole


async def test_what_is_shown_is_all_of_it_and_is_done_by_its_code_alone(desk: Desk) -> None:
    prompt = await desk.bot.hear(AMINA, ASK)
    [until] = [line for line in prompt.splitlines() if line.startswith("Until: ")]
    assert f"{LAST.day} " in until
    assert str(LAST.year) in until
    assert prompt == (
        "Please check what “Rent” may pay by itself:\n"
        "To: a number that is not among your contacts, +254712000002, to their wallet here;"
        f" Jane +{PAYS}, to M-Pesa\n"
        "Each time: at most KES 500.00 (five hundred shillings)\n"
        "A day: at most KES 1,000.00 (one thousand shillings)\n"
        "In all: at most KES 2,000.00 (two thousand shillings)\n"
        f"{until}\n"
        "Fees count. Changing the workflow ends it.\n\n"
        f"To go on, type this code here within 10 minutes: {code_in(prompt)}\n"
        "To leave everything as it is, say “cancel”."
    )
    assert len(prompt) <= 600
    assert await buttons(desk.bot) == ()
    for said in ("yes", "1", "ndio"):
        await desk.bot.hear(AMINA, said)
    await desk.bot.hear(BARAKA, code_in(prompt))
    assert "no standing mandate. You allow it" in await desk.refused()
    assert (await desk.grant()).startswith("Done. “Rent” may pay by itself until")
    assert await desk.bot.db.pool.fetchval("SELECT count(*) FROM mandate") == 1


async def test_it_is_asked_for_what_was_not_said_in_both_languages(desk: Desk) -> None:
    asked = f"allow Rent to pay 0712000002 up to 500 each time until {LAST:%d %B %Y}"
    assert "a day" in await desk.bot.hear(AMINA, asked)
    assert "less than the KES 500.00" in await desk.bot.hear(AMINA, "400")
    assert "in all" in await desk.bot.hear(AMINA, "1,000")
    assert "In all: at most KES 2,000.00" in await desk.bot.hear(AMINA, "2,000")
    await desk.bot.hear(AMINA, "cancel")
    asked = f"ruhusu Rent ilipe 0712000002 500 kila mara, 500 kwa siku, 2,000 kwa jumla, hadi {LAST}"
    assert "Kila mara: hadi KES 500.00 (shilingi mia tano)" in await desk.bot.hear(AMINA, asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (ASK.replace("Rent", "Nothing"), "no workflow called “Nothing”"),
        (ASK.replace("0712000002", "0712000001"), "your own number"),
        (ASK.replace("2,000", "2,000,000,000"), "more money than I can count"),
        (ASK.replace("0712000002", "O" * 81), "Whom may it pay"),
        (ASK.replace("0712000002", "Otieno"), "no number of “Otieno”"),
        (ASK.replace(f"{LAST:%d %B %Y}", "1 January 2020"), "That day is over"),
        (ASK.replace(f"{LAST.year}", f"{LAST.year + 3}"), "a year at most"),
    ],
)
async def test_what_is_not_certain_is_asked_again(desk: Desk, asked: str, told: str) -> None:
    assert told in await desk.bot.hear(AMINA, asked)
    assert await desk.bot.db.pool.fetchval("SELECT count(*) FROM confirmation") == 0


async def test_more_than_a_code_is_good_for_wants_the_pin_by_what_it_comes_to_in_all(desk: Desk) -> None:
    told = await desk.bot.hear(AMINA, ASK.replace("2,000", "20,001"))
    assert "This is confirmed with your PIN" in told
    assert re.search(r"\b[0-9]{5}\b", told) is None
    # As the account page does it, once the PIN was right.
    now = datetime.now(UTC)
    identity = await desk.bot.db.pool.fetchval("SELECT id FROM identity WHERE person_id = $1", desk.person)
    async with desk.bot.db.transaction() as session:
        waits = await confirm.waits_for_pin(session, identity, now)
    assert waits is not None
    assert waits.shown == told.partition("\n\n")[0]
    context = desk.context(f"page:{waits.id}", sender=AMINA, confirmed=waits.id)
    await grant_mandate.run(context, Standing.model_validate_json(waits.params))
    await desk.pay()
    assert await desk.till.purse() == (450_000, 0)


async def test_a_workflow_pays_and_the_person_is_told_what_is_left(desk: Desk) -> None:
    await desk.grant()
    result = await desk.pay()
    assert result.text.startswith(
        "“Rent” sent KES 500.00 to +254712000002. Of what you allowed it, KES 1,500.00 is left"
    )
    assert (await desk.bot.told(AMINA))[-1] == result.text
    assert (await desk.bot.told(BARAKA))[-1].startswith("You have received KES 500.00 from Amina")
    assert await desk.till.purse() == (450_000, 0)
    # The same step again is the same payment, also where nothing more would be paid.
    await desk.bot.hear(AMINA, "pause my payments")
    again = await desk.pay()
    assert again == result
    assert await payments(desk.bot) == (0, 1)
    assert (await desk.bot.told(AMINA)).count(result.text) == 1
    assert "stopped your payments" in await desk.refused("next")


async def test_a_workflow_pays_to_m_pesa_and_a_payment_that_fails_counts_all_the_same(desk: Desk) -> None:
    await desk.grant()
    result = await desk.pay(to=TO_JANE)
    assert f"is sending KES 500.00 to Jane +{PAYS}, ref {result.data['reference']}" in result.text
    assert await desk.pay(to=TO_JANE) == result
    assert await desk.till.purse() == (500_000, 50_000)
    await over(desk.till)
    assert (await desk.bot.told(AMINA))[-1].startswith(f"Sent KES 500.00 to Jane +{PAYS}. Ref ")
    assert await desk.till.purse() == (450_000, 0)


async def test_of_64_payments_at_once_ten_are_made(desk: Desk) -> None:
    await desk.grant("let Rent pay 0712000002 100 each, 1,000 a day, 1,000 in all, until tomorrow")

    async def paid(step: str) -> ActionResult:
        while True:
            try:
                return await desk.pay(step, "100")
            except PoolTimeout:  # Temporal tries it again, too.
                continue

    done = await asyncio.gather(*(paid(f"s{n}") for n in range(64)), return_exceptions=True)
    assert sum(isinstance(one, ActionResult) for one in done) == 10
    assert {type(one) for one in done} == {ActionResult, mandates.OutsideMandate}
    assert await payments(desk.bot) == (0, 10)
    assert await desk.till.purse() == (400_000, 0)


async def test_what_is_not_within_the_mandate_is_refused_with_why(desk: Desk) -> None:
    assert "no standing mandate" in await desk.refused()
    await desk.grant()
    assert "at most KES 500.00 each time" in await desk.refused(amount="501")
    assert "does not name whom" in await desk.refused(to={"phone_number": "0712000009"})
    await desk.pay("a")
    await desk.pay("b", to=TO_JANE)
    assert "KES 1,000.00 a day, and KES 0.00 of that is left" in await desk.refused("c", "1")


async def test_a_name_that_means_another_number_now_is_not_paid(desk: Desk) -> None:
    await desk.grant()
    async with desk.bot.db.transaction() as session:
        await people.save_contact(session, desk.person, desk.room, "Jane", phone="+254712999999", email=None, note=None)
    assert "does not name whom" in await desk.refused(to=TO_JANE)


async def test_everything_that_stops_a_payment_stops_this_one(desk: Desk) -> None:
    await desk.grant()
    db, deps = desk.bot.db, desk.bot.deps
    for change, told in (
        ({"payments_paused": True}, "Payments are stopped for everybody"),
        ({"payment_max": 1_999}, "is confirmed with your PIN now"),
        ({"payment_day_max": 400}, "At most KES 400.00 may go out"),
    ):
        settings = deps.settings.model_copy(update=change)
        stricter = replace(desk, bot=replace(desk.bot, deps=replace(deps, settings=settings)))
        assert told in await stricter.refused(), change
    async with db.hot() as staff:
        await payment_switch.switch(staff, "staff:owner", datetime.now(UTC), stopped=True)
    assert "stopped for everybody" in await desk.refused()
    async with db.hot() as staff:
        await payment_switch.switch(staff, "staff:owner", datetime.now(UTC), stopped=False)
    async with db.transaction() as session:
        await set_limit(session, desk.person, Per.DAY, (await mandate_of(desk)).terms.each)
    await desk.pay("first")
    assert "At most KES 500.00 may be spent" in await desk.refused("second")


async def mandate_of(desk: Desk) -> mandates.Mandate:
    async with desk.bot.db.hot() as connection:
        found = await mandates.live(connection, desk.definition)
    assert found is not None
    return found


async def test_too_little_money_says_so_and_not_how_much_there_is(desk: Desk) -> None:
    await desk.grant("let Rent pay 0712000002 4,000 each, 9,000 a day, 9,000 in all, until tomorrow")
    await desk.pay("first", "4000")
    for _ in range(2):
        assert await desk.refused("second", "2000") == "There is not enough money in the account."
    told = [text for text in await desk.bot.told(AMINA) if "did not pay" in text]
    assert told == [
        "“Rent” did not pay KES 2,000.00 to 0712000002; your money is where it was. There is not enough in your wallet."
        " Add some, such as “top up KES 2,000.00”; it pays when it runs next."
    ]


@pytest.mark.parametrize("whose", ["whatsapp:+254712000001", "whatsapp:+254712000002"])
async def test_a_number_that_changed_hands_neither_pays_nor_is_paid(desk: Desk, whose: str) -> None:
    await desk.grant()
    await renumber.renumbered(desk.bot.db, Renumbered(WHATSAPP, "ours", (whose,), "wamid.1", "number"))
    assert "changed" in await desk.refused()
    # Whoever has the payer's number now is told nothing.
    assert any("did not pay" in text for text in await desk.bot.told(AMINA)) == (whose != AMINA.room)


async def test_whoever_is_erased_is_not_paid_by_another_way(desk: Desk) -> None:
    await desk.grant()
    await erasure.begin(desk.bot.db, await desk.bot.person(BARAKA), asked_by="test", last_word_to=None)
    assert "Grant it anew" in await desk.refused()


async def test_what_they_may_pay_is_exported_and_erasing_a_person_ends_it_and_leaves_no_row(desk: Desk) -> None:
    await desk.grant()
    await desk.pay()
    [kept] = [one async for one in _mandates(desk.bot.db, desk.person)]
    assert kept["total"] == "KES 2,000.00"
    assert [one["name"] for one in kept["confirmed"]["payees"]] == ["", "Jane"]
    assert [one["amount"] for one in kept["uses"]] == ["KES 500.00"]
    erasure_id = await erasure.begin(desk.bot.db, desk.person, asked_by="test", last_word_to=None)
    assert await desk.bot.db.pool.fetchval("SELECT count(*) FROM mandate WHERE ended_at IS NULL") == 0
    await erasure.remove(desk.bot.db, erasure_id)
    counts = await desk.bot.db.pool.fetchrow(
        "SELECT (SELECT count(*) FROM mandate_use), (SELECT count(*) FROM mandate), (SELECT count(*) FROM confirmation)"
    )
    assert tuple(counts) == (0, 0, 0)


async def test_changing_the_workflow_ends_it(desk: Desk) -> None:
    await desk.grant()
    await desk.bot.db.pool.execute("UPDATE workflow_definition SET spec = 'x'")
    assert "changed since it began" in (await desk.refused()) or "pays nothing" in (await desk.refused())
    await desk.begin()
    assert "no standing mandate" in await desk.refused()


async def test_a_mandate_of_other_terms_than_were_confirmed_pays_nothing(desk: Desk) -> None:
    """Whoever writes rows cannot write what was confirmed: that is sealed, and read again for each payment."""
    await desk.bot.hear(AMINA, ASK)
    pool = desk.bot.db.pool
    waits = await pool.fetchval("SELECT id FROM confirmation WHERE state = 'pending'")
    async with desk.bot.db.hot() as connection:
        assert await confirm.use(connection, waits, "k", "grant_mandate", desk.person, datetime.now(UTC))
        given = await confirm.given(connection, waits)
        assert given is not None
        agreed = await Standing.model_validate_json(given.params).terms(connection)
        forged = replace(agreed, total=agreed.total + agreed.total)
        await mandates.grant(connection, waits, desk.definition, 1, forged)
    assert "is not what was confirmed" in await desk.refused()
    assert "is not what was confirmed" in await desk.bot.hear(AMINA, "my mandates")


async def test_what_changed_between_showing_and_confirming_is_not_granted(desk: Desk) -> None:
    code = code_in(await desk.bot.hear(AMINA, ASK))
    await desk.bot.db.pool.execute("UPDATE workflow_definition SET cron = '0 9 * * MON'")
    assert "has changed since I showed it" in await desk.bot.hear(AMINA, code)
    assert await desk.bot.db.pool.fetchval("SELECT count(*) FROM mandate") == 0


async def test_they_are_listed_replaced_and_cancelled_at_once(desk: Desk) -> None:
    assert await desk.bot.hear(AMINA, "my mandates") == "None of your workflows may pay anything by itself."
    await desk.grant()
    await desk.pay()
    listed = await desk.bot.hear(AMINA, "my mandates")
    assert listed.startswith("“Rent” pays ")
    assert "KES 2,000.00 in all" in listed
    assert "KES 1,500.00 is left." in listed
    assert await desk.bot.hear(BARAKA, "my mandates") == "None of your workflows may pay anything by itself."
    assert "no workflows yet" in await desk.bot.hear(BARAKA, "cancel the mandate of Rent")
    await desk.grant(ASK.replace("2,000", "3,000"))
    assert "KES 3,000.00 is left." in await desk.bot.hear(AMINA, "my mandates")
    assert "pays nothing by itself now" in await desk.bot.hear(AMINA, "cancel the mandate of rent")
    assert "no standing mandate" in await desk.refused("next")
