"""Whatever comes in whatever order, what is paid is what a small model of the confirmations says, and no cent more.

MATHIA_CONFIRMATIONS is how many random steps are taken.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from connectors.wallet.spending import Payment
from core import confirm
from core.actions import ActionContext, Person
from core.db import Database
from core.errors import LimitReached, UserError
from core.messages import Address
from core.receipts import once
from core.settings import Settings
from ledger.accounts import wallet
from ledger.balances import balance
from ledger.money import Money
from ledger.spending_limits import Per, set_limit
from tests.conftest import Sandbox
from tests.connectors.test_spending import AMINA, BARAKA
from tests.core.speaking import Mathia, mathia
from tests.jobs.till import till
from tests.skills import needs

pytestmark = needs("wallet")

STEPS = int(os.environ.get("MATHIA_CONFIRMATIONS", "150"))
START = 50_000
AMOUNTS = (100, 250, 400, 700)


@dataclass
class Shown:
    """A prompt as the model knows it."""

    code: str
    amount: int
    ends: datetime
    tries: int = 0


@dataclass
class Model:
    """What has to be so: at most one prompt waits, and what was paid was confirmed while it did."""

    limit: int = START
    paid: int = 0
    waits: Shown | None = None
    shown_at: list[datetime] = field(default_factory=list)

    def yes(self, now: datetime) -> None:
        """The code of what waits is typed."""
        if self.waits is not None and now < self.waits.ends:
            if self.waits.amount <= self.limit:
                self.paid += self.waits.amount
            self.waits = None

    def wrong(self, now: datetime) -> None:
        """Another code is typed."""
        if self.waits is not None and now < self.waits.ends:
            self.waits.tries += 1
            if self.waits.tries == confirm.TRIES_MAX:
                self.waits = None

    def prompt(self, shown: Shown, now: datetime) -> None:
        """Something is asked for, which ends what waited."""
        self.waits = shown
        self.shown_at.append(now)

    def may_prompt(self, now: datetime) -> bool:
        """Whether so many prompts an hour are shown."""
        return sum(at > now - confirm.SHOWN_WITHIN for at in self.shown_at) < confirm.SHOWN_MAX


@dataclass
class Chat:
    """Amina and Baraka, whose messages are acted on as a turn does, at times that the test sets."""

    bot: Mathia
    person: UUID
    room: UUID
    other: UUID
    keys: int = 0

    async def prompt(self, amount: int, now: datetime) -> Shown | None:
        """Show a payment to Baraka; None where it is asked for too often."""
        payment = Payment(cents=amount * 100, fee_cents=0, name="", number="254712000002", wallet_of=self.other)
        async with self.bot.db.transaction() as session:
            try:
                code = await confirm.ask(
                    session, AMINA, self.room, "send_money", payment.model_dump_json().encode(), now
                )
            except LimitReached:
                return None
        return Shown(code, amount, now + confirm.LIFE)

    async def say(self, who: Address, text: str, now: datetime, key: str = "") -> None:
        """Type a code or a no; what is confirmed is done. The same key is the same message again."""
        self.keys += 1
        key = key or f"turn:{self.keys}:1"
        async with self.bot.db.transaction() as session:
            answered = await confirm.answer(session, who, text, now, key, leave={"send_money"})
        if answered is None or answered.outcome is not confirm.Outcome.CONFIRMED:
            return
        action, deps = self.bot.deps.catalog["send_money"], self.bot.deps
        context = ActionContext(
            Person(self.person, None, "en", None), self.room, self.bot.db, deps.providers, deps.settings, now, key, who,
            confirmed=answered.id, offered=deps.catalog.names,
        )  # fmt: skip
        try:
            await once(action, action.confirmed_params.model_validate_json(answered.params), context)
        except UserError:
            async with self.bot.db.hot() as connection:
                await confirm.end(connection, answered.id)

    async def limit(self, amount: int) -> None:
        """Have another limit by one payment."""
        async with self.bot.db.transaction() as session:
            await set_limit(session, self.person, Per.PAYMENT, Money.of(amount, "KES"))

    async def left(self) -> int:
        """What is in Amina's wallet, in shillings."""
        async with self.bot.db.hot() as connection:
            return (await balance(connection, wallet(str(self.person), "KES"))).posted.minor // 100

    async def used(self) -> list[str]:
        """The keys of messages that confirmed something."""
        rows = await self.bot.db.pool.fetch("SELECT used_key FROM confirmation WHERE used_key IS NOT NULL ORDER BY 1")
        return [row["used_key"] for row in rows]

    async def tries(self) -> int:
        """Wrong codes for what waits."""
        found: int = await self.bot.db.pool.fetchval("SELECT tries FROM confirmation WHERE state = 'pending'")
        return found

    async def is_waiting(self, now: datetime) -> bool:
        """Whether a prompt waits."""
        found: bool = await self.bot.db.pool.fetchval(
            "SELECT EXISTS (SELECT FROM confirmation WHERE state = 'pending' AND expires_at > $1)", now
        )
        return found


@pytest.fixture
async def chat(db: Database, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Chat]:
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as bot:
        await bot.hear(AMINA, "hello")
        await bot.hear(BARAKA, "hello")
        person = await bot.person(AMINA)
        async with till(db, Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()) as desk:
            desk.owner = str(person)
            await desk.fund(START)
        settings = bot.deps.settings.model_copy(update={"payment_day_max": 10_000_000})
        bot = replace(bot, deps=replace(bot.deps, settings=settings))
        room = await db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", AMINA.room)
        yield Chat(bot, person, room, await bot.person(BARAKA))


async def test_what_is_paid_is_what_the_model_says_after_every_step(chat: Chat) -> None:
    made, model, now, codes = random.Random(11), Model(), datetime.now(UTC), []
    await chat.limit(START)
    for step in range(STEPS):
        now += timedelta(seconds=made.choice([1, 20, 200]))
        said = model.waits.code if model.waits is not None else "00000"
        match what := made.choices(
            ("prompt", "yes", "no", "old", "late", "limit", "other", "replay", "race"), (6, 5, 1, 2, 1, 2, 1, 2, 2)
        )[0]:
            case "prompt":
                shown = await chat.prompt(made.choice(AMOUNTS), now)
                assert (shown is not None) == model.may_prompt(now), (step, what)
                if shown is not None:
                    model.prompt(shown, now)
                    codes.append(shown.code)
            case "yes":
                await chat.say(AMINA, said, now)
                model.yes(now)
            case "no":
                await chat.say(AMINA, "no", now)
                model.waits = None if model.waits is not None and now < model.waits.ends else model.waits
            case "old":
                old = made.choice([code for code in codes if code != said] or ["00001"])
                await chat.say(AMINA, old, now)
                model.wrong(now)
            case "late":
                now += confirm.LIFE
            case "limit":
                model.limit = made.choice((200, 300, 500, START))
                await chat.limit(model.limit)
            case "other":
                await chat.say(BARAKA, said, now)
            case "replay":
                # A message that confirmed something before, once more.
                if used := await chat.used():
                    await chat.say(AMINA, said, now, made.choice(used))
            case "race":
                before = await chat.left()
                waits = model.waits if model.waits is not None and now < model.waits.ends else None
                _, _, _, shown = await asyncio.gather(
                    chat.say(AMINA, said, now), chat.say(AMINA, said, now), chat.say(AMINA, "no", now),
                    chat.prompt(made.choice(AMOUNTS), now),
                )  # fmt: skip
                paid = before - await chat.left()
                assert paid in ({0, waits.amount} if waits is not None and waits.amount <= model.limit else {0}), step
                model.paid += paid
                model.waits = None
                if shown is not None:
                    model.shown_at.append(now)
                    model.waits = shown if await chat.is_waiting(now) else None
                    shown.tries = await chat.tries() if model.waits is not None else 0
                    codes.append(shown.code)
        assert START - await chat.left() == model.paid, (step, what)
        if model.waits is not None and now < model.waits.ends:
            assert await chat.is_waiting(now), (step, what)
        else:
            assert not await chat.is_waiting(now), (step, what)
    assert model.paid > 0
