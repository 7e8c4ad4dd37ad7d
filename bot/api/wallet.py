"""The caller's money: what they have, and what came and went."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from bot.api.endpoint import Answer, Asked, Call, Endpoint, Refuse, Told
from core.db import driver
from core.errors import UserError
from core.linking import find_identity
from core.messages import Address, ChannelName
from core.money import DECIMALS
from core.people import of_identity
from ledger import balances
from ledger.accounts import wallet
from ledger.balances import Balance
from ledger.journal import Kind
from ledger.money import MINOR_MAX

PAGE_MAX = 100


class Held(Told):
    """What there is in one currency: `available` can be spent, `held` is kept back for payments under way."""

    currency: str
    available: Decimal
    held: Decimal


class Balances(Told):
    """What there is in each currency; that of this installation first, also where it is nothing."""

    balances: Sequence[Held]


class Which(Asked):
    """Which page: what came before the transaction `before`, the newest without it; of one kind where one is named."""

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    kind: Kind | None = None
    before: Annotated[int, Field(ge=1, le=MINOR_MAX)] | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 50


class Transaction(Told):
    """One movement; `amount` is positive where money came. `id` is its number in this currency, without gaps."""

    id: int
    at: datetime
    kind: Kind
    amount: Decimal
    balance_after: Decimal
    currency: str


class Transactions(Told):
    """A page, newest first; `next` is the `before` of the next one, or null. A page of one kind may be short."""

    transactions: Sequence[Transaction]
    next: int | None


async def balance(call: Call) -> Answer:
    """What the caller has."""
    _, held = await _wallets(call)
    return 200, Balances(balances=[_held(one) for one in held])


async def transactions(call: Call) -> Answer:
    """What came and went in one currency."""
    asked: Which = call.query
    owner, held = await _wallets(call)
    if asked.currency is not None and asked.currency not in DECIMALS:
        raise Refuse(422, "bad_query", "currency: there is no such currency.")
    account = wallet(owner, asked.currency) if asked.currency else held[0].account
    async with call.services.db.hot() as connection:
        lines = await balances.statement(connection, account, before=asked.before, limit=asked.limit)
    further = lines[-1].seq if len(lines) == asked.limit and lines[-1].seq > 1 else None
    return 200, Transactions(
        transactions=[
            Transaction(
                id=line.seq, at=line.at, kind=line.kind, amount=line.amount.decimal,
                balance_after=line.balance_after.decimal, currency=line.amount.currency,
            )
            for line in lines
            if asked.kind is None or line.kind is asked.kind
        ],
        next=further,
    )  # fmt: skip


async def _wallets(call: Call) -> tuple[str, list[Balance]]:
    """Who the caller is in the books, and what they have; UserError for a visitor who has never written."""
    visitor = str(call.place.visitor)
    sender = Address(ChannelName.WEB, call.place.account, visitor, visitor)
    async with call.services.db.transaction() as session:
        try:
            owner = str(await of_identity(session, await find_identity(session, sender)))
        except UserError as problem:
            raise Refuse(404, "nobody", problem.says) from problem
        held = await balances.wallets_of(await driver(session), owner, call.services.settings.default_currency)
    return owner, held


def _held(one: Balance) -> Held:
    return Held(currency=one.account.currency, available=one.available.decimal, held=one.pending_out.decimal)


ENDPOINTS = (
    Endpoint("GET", "/api/balance/", "What you have", balance, Balances),
    Endpoint("GET", "/api/transactions/", "What came and went, newest first", transactions, Transactions, query=Which),
)
