"""Money from one wallet to another, at once and within what may be spent."""

from typing import Any

from ledger import holds
from ledger.accounts import fee_income, wallet
from ledger.errors import IllegalEntry
from ledger.holds import Allowance
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import LOCK, Posted, make, post


async def transfer(
    connection: Any, key: str, payer: str, payee: str, amount: Money, fee: Money | None = None, *,
    allowance: Allowance | None = None,
) -> Posted:  # fmt: skip
    """Move `amount` between two owners' wallets, in the caller's transaction; the same key again is the same entry.

    The payer pays `fee` besides. Call it once in a transaction. Raises InsufficientFunds, SpendingLimit, BalanceLimit,
    KeyReused, and IllegalEntry where payer and payee are one.
    """
    if payer == payee:
        raise IllegalEntry("A transfer is between two wallets.")
    given, taken = wallet(payer, amount.currency), wallet(payee, amount.currency)
    fee = fee or Money(0, amount.currency)
    legs = [debit(given, amount + fee), credit(taken, amount)]
    if fee.minor:
        legs.append(credit(fee_income(amount.currency), fee))
    # All at once and in the order of all others: two who pay one another do not wait in a circle.
    touched = [leg.account for leg in legs]
    await make(connection, touched)
    await connection.fetch(LOCK, [one.key for one in touched])
    await holds.place(connection, key, given, amount + fee, allowance=allowance)
    return await post(connection, Entry(key, Kind.TRANSFER, tuple(legs), settles=key))
