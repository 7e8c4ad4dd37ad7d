"""The chart of accounts: which accounts there are, and what each is for."""

from typing import Any

from ledger.journal import Account, AccountType

FIND = "SELECT key, type, currency, owner, allow_negative FROM account WHERE key = $1"


def wallet(owner: str, currency: str) -> Account:
    """What we owe a person; `owner` is their opaque key. A deposit credits it, a payment debits it."""
    return Account(f"wallet:{owner}:{currency}", AccountType.LIABILITY, currency, owner)


def own(owner: str, account: str, currency: str) -> Account:
    """What came through us into a person's own account with the provider, less what they paid from it; we hold none of
    it, and `account` (ledger/own_accounts.py) has a clearing account of its own."""
    return Account(f"own:{owner}:{account}:{currency}", AccountType.LIABILITY, currency, owner)


def disputed(owner: str, currency: str) -> Account:
    """What a dispute has taken out of a person's wallet until it is decided whose it is."""
    return Account(f"disputed:{owner}:{currency}", AccountType.LIABILITY, currency, owner)


def receivable(owner: str, currency: str) -> Account:
    """What a person owes us: a provider took back what they had been paid, and they had spent it."""
    return Account(f"receivable:{owner}:{currency}", AccountType.ASSET, currency, owner)


def unclaimed(currency: str) -> Account:
    """What we owe people who were erased and had left it here; whose it was, the entries say by their opaque keys."""
    return Account(f"unclaimed:{currency}", AccountType.LIABILITY, currency)


def clearing(provider: str, currency: str) -> Account:
    """What a provider owes us, or we it, until it is paid out; returns to zero as the provider settles."""
    return Account(f"clearing:{provider}:{currency}", AccountType.ASSET, currency, allow_negative=True)


def held_at(provider: str, currency: str) -> Account:
    """What a provider's own list says that it holds for us."""
    return Account(f"held:{provider}:{currency}", AccountType.ASSET, currency, allow_negative=True)


def fee_income(currency: str) -> Account:
    """The fees we charged; a fee that is given back debits it, and may do so before others were charged."""
    return Account(f"fees:{currency}", AccountType.INCOME, currency, allow_negative=True)


def fee_expense(provider: str, currency: str) -> Account:
    """The fees a provider charged us."""
    return Account(f"charges:{provider}:{currency}", AccountType.EXPENSE, currency, allow_negative=True)


def exchange(currency: str) -> Account:
    """Our position in a currency: what exchanges took in of it, less what they gave out."""
    return Account(f"exchange:{currency}", AccountType.EQUITY, currency, allow_negative=True)


def as_account(row: Any) -> Account:
    """The account in a row of the database."""
    return Account(row["key"], AccountType(row["type"]), row["currency"], row["owner"], row["allow_negative"])


async def find(connection: Any, key: str) -> Account | None:
    """The account with this key, if it has ever been used."""
    row = await connection.fetchrow(FIND, key)
    return as_account(row) if row else None
