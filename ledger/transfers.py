"""Money from one wallet to another, at once and within what may be spent."""

from typing import Any

from ledger import holds
from ledger.accounts import wallet
from ledger.errors import IllegalEntry
from ledger.holds import Allowance
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import LOCK, Posted, make, post


async def transfer(
    connection: Any, key: str, payer: str, payee: str, amount: Money, *, allowance: Allowance | None = None
) -> Posted:
    """Move `amount` between two owners' wallets, in the caller's transaction; the same key again is the same entry.

    Call it once in a transaction. Raises InsufficientFunds, SpendingLimit, BalanceLimit, KeyReused, and IllegalEntry
    where payer and payee are one.
    """
    if payer == payee:
        raise IllegalEntry("A transfer is between two wallets.")
    given, taken = wallet(payer, amount.currency), wallet(payee, amount.currency)
    # Both at once and in the order of all others: two who pay one another do not wait in a circle.
    await make(connection, (given, taken))
    await connection.fetch(LOCK, [given.key, taken.key])
    await holds.place(connection, key, given, amount, allowance=allowance)
    legs = debit(given, amount), credit(taken, amount)
    return await post(connection, Entry(key, Kind.TRANSFER, legs, settles=key))
