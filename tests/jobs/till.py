"""A deployment's money in miniature: somebody with a wallet, the simulated provider, and the work on instructions."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import httpx

from connectors.intasend.accounts import Accounts
from connectors.intasend.client import IntaSend
from core.breaker import Breaker
from core.db import Database
from core.providers import Providers
from core.settings import Settings
from core.wake import Wakes
from jobs.payments import Hands, pay
from ledger.accounts import clearing, wallet
from ledger.balances import balance
from ledger.instruction_store import CLAIMABLE, Collect, PayOut, collect, find, pay_out
from ledger.instructions import DONE, Instruction, Method, Pace, Payee, State
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger
from tests.bot.sandbox.conftest import NO_TLS
from tests.jobs.people import Known, someone
from tests.waiting import until

PAYS, SAYS_NO, DOUBT, CONTRARY, LATE = (f"2547083741{n}" for n in ("49", "41", "42", "45", "44"))
TENTH = timedelta(milliseconds=100)
QUICK = Pace(
    looks=(TENTH / 2, TENTH, 2 * TENTH, 4 * TENTH), then_each=2 * TENTH, until=30 * TENTH, certain=6 * TENTH,
    failed_certain=3 * TENTH, untold=TENTH / 2,
)  # fmt: skip
"""Everything within three seconds."""
LEASE = timedelta(seconds=20)
OVER = DONE | {State.FAILED, State.NEEDS_REVIEW}
_keys = count(1)


@dataclass
class Till:
    """What a test has at hand."""

    db: Database
    hands: Hands
    wire: httpx.AsyncClient
    who: Known
    owner: str

    async def fund(self, amount: int) -> None:
        """Put so many whole shillings into the wallet, from nowhere near the provider."""
        sum_ = Money(amount * 100, "KES")
        bank = clearing("bank", "KES")
        legs = debit(bank, sum_), credit(wallet(self.owner, "KES"), sum_)
        await Ledger(self.db).post(Entry(f"fund:{next(_keys)}", Kind.DEPOSIT, legs))

    async def send(self, amount: int = 38, to: str = PAYS, *, key: str | None = None, fee: int = 0) -> Instruction:
        """Have so many whole shillings sent."""
        asked = PayOut(
            key or f"test:{next(_keys)}", self.owner, self.who.person_id, self.who.conversation_id,
            Money(amount * 100, "KES"), Payee(to, "Jane"), Money(fee * 100, "KES"),
        )  # fmt: skip
        async with self.db.hot() as connection:
            return await pay_out(connection, asked)

    async def ask(
        self, amount: Decimal | int = 52, of: str = PAYS, *, method: Method = Method.PUSH, currency: str = "KES"
    ) -> Instruction:
        """Have somebody asked to pay."""
        payee = Payee(of) if method is Method.PUSH else None
        asked = Collect(
            f"test:{next(_keys)}", method, self.owner, self.who.person_id, self.who.conversation_id,
            Money.of(amount, currency), payee,
        )  # fmt: skip
        async with self.db.hot() as connection:
            return await collect(connection, asked)

    async def work(self) -> None:
        """Work once on everything that is due, as the sweep would hand it out."""
        for row in await self.db.pool.fetch(CLAIMABLE, 100):
            await pay(self.hands, row["id"])

    async def reach(self, of: Instruction, states: Collection[State] = OVER, limit_s: float = 15.0) -> Instruction:
        """Work until the instruction stands in one of these states."""

        async def there() -> bool:
            await self.work()
            return (await self.now(of)).state in states

        await until(there, limit_s, f"{of.reference} in {', '.join(states)}")
        return await self.now(of)

    async def now(self, of: Instruction) -> Instruction:
        """The instruction as it is now."""
        async with self.db.hot() as connection:
            found = await find(connection, of.reference)
        assert found is not None
        return found

    async def path(self, of: Instruction) -> list[str]:
        """The states it went through, by its timeline."""
        rows = await self.db.pool.fetch(
            "SELECT to_state FROM payment_event WHERE instruction_id = $1 ORDER BY id", of.id
        )
        return [row["to_state"] for row in rows]

    async def truth(self, of: Instruction, *kinds: str) -> list[dict[str, Any]]:
        """What the provider did under its reference."""
        rows = (await self.wire.get("/_truth")).json()
        named = ("api_ref", "batch_reference", "reference")
        return [row for row in rows if row["kind"] in kinds and of.reference in (row.get(name) for name in named)]

    async def plan(self, path: str, *plan: object, **more: object) -> None:
        """Set a fault plan for a path of the provider's."""
        answer = await self.wire.post("/_faults", json={"plan": list(plan), "match": {"path": path}} | more)
        assert answer.status_code == 200, answer.text

    async def purse(self) -> tuple[int, int]:
        """What the wallet has, and what of it is kept back; in cents."""
        async with self.db.hot() as connection:
            now = await balance(connection, wallet(self.owner, "KES"))
        return now.posted.minor, now.pending_out.minor

    async def between(self) -> int:
        """What the clearing account has, in cents."""
        async with self.db.hot() as connection:
            return (await balance(connection, clearing("intasend", "KES"))).posted.minor


@asynccontextmanager
async def till(db: Database, settings: Settings, *, pace: Pace = QUICK) -> AsyncIterator[Till]:
    """A till on a database, with a provider that is fifty times as fast, and a circuit that never opens."""
    providers = Providers(settings, backoff_s=0.01)
    client = providers.client("IntaSend", settings.intasend_base_url)
    client.breaker = Breaker(failures_max=1_000_000)
    who = await someone(db)
    accounts = Accounts(providers, settings)
    hands = Hands(db, Wakes(db), IntaSend(providers, settings), accounts, lease=LEASE, pace=pace)
    async with httpx.AsyncClient(
        base_url=settings.intasend_base_url, trust_env=False, timeout=10, verify=NO_TLS
    ) as wire:
        await wire.post("/_mpesa", json={"speed": 50})
        try:
            yield Till(db, hands, wire, who, str(who.person_id))
        finally:
            await wire.delete("/_faults")
            await providers.close()
