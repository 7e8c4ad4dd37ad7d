"""Holds: money that is kept back on an account until an entry takes it, somebody lets it go, or its time is over.

An entry posts a hold by naming it (`Entry.settles`). Each is resolved once; PostgreSQL sees to it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.language import Saying
from ledger.balances import spent_since
from ledger.errors import HoldResolved, IllegalEntry, InsufficientFunds, KeyReused, SpendingLimit, Unknown
from ledger.journal import Account, check_key
from ledger.money import Money
from ledger.posting import LOCK, make

OVER = Saying(
    "At most {at_most} may be spent in this time; {left} of it is left.",
    "Kiasi cha juu cha kutumia kwa muda huu ni {at_most}; kimebaki {left}.",
)

EXPIRE_MAX = 100
"""Holds that are expired in one transaction."""

_HOLD = """
SELECT h.key, a.key AS account, a.currency, h.amount, h.state, h.expires_at, h.entry_id
FROM hold h JOIN account a ON a.id = h.account_id
"""
FIND = f"{_HOLD} WHERE h.key = $1"
PLACE = "INSERT INTO hold (key, account_id, amount, expires_at) VALUES ($1, $2, $3, $4)"
LOCK_ACCOUNTS = """
SELECT id FROM account WHERE id IN (SELECT account_id FROM hold WHERE key = ANY($1::text[]))
ORDER BY id FOR NO KEY UPDATE
"""
VOID = "UPDATE hold SET state = 'voided' WHERE key = $1 AND state = 'open' RETURNING key"
OVERDUE = """
SELECT key FROM hold WHERE state = 'open' AND expires_at IS NOT NULL AND expires_at <= now()
ORDER BY expires_at LIMIT $1
"""
EXPIRE = "UPDATE hold SET state = 'expired' WHERE key = ANY($1::text[]) AND coalesce(state, '') = 'open' RETURNING key"


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold: `state` is open, posted, voided or expired; `entry_id` is of the entry that posted it."""

    key: str
    account: str
    amount: Money
    state: str
    expires_at: datetime | None
    entry_id: int | None


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most that may be spent since a time, such as the midnight before in the person's zone."""

    at_most: Money
    since: datetime


async def place(
    connection: Any, key: str, account: Account, amount: Money, *, expires_at: datetime | None = None,
    allowance: Allowance | None = None,
) -> Hold:  # fmt: skip
    """Keep `amount` of an account back, in the caller's transaction; the same key and request again change nothing.

    Without `expires_at` (aware, in the future) it stays until it is posted or voided. Under the lock of the account
    `allowance` is held against what was spent since its time, and all that is held now. Raises InsufficientFunds where
    less is available, SpendingLimit, KeyReused, or IllegalEntry.
    """
    check_key(key)
    if amount.currency != account.currency or amount.minor <= 0 or account.allow_negative:
        raise IllegalEntry("A hold is a positive amount in the currency of an account that cannot be negative.")
    await make(connection, [account])
    [row] = await connection.fetch(LOCK, [account.key])
    if (earlier := await find(connection, key)) is not None:
        if (earlier.account, earlier.amount, earlier.expires_at) != (account.key, amount, expires_at):
            raise KeyReused("The key was used for another hold.")
        return earlier
    if expires_at is not None and not await connection.fetchval("SELECT $1 > clock_timestamp()", expires_at):
        raise IllegalEntry("A hold ends in the future.")
    if row["posted"] - row["pending_out"] < amount.minor:
        raise InsufficientFunds
    if allowance is not None:
        spent = await spent_since(connection, account, allowance.since)
        left = allowance.at_most - spent - Money(row["pending_out"], account.currency)
        if amount > left:
            left = max(left, Money(0, account.currency))
            raise SpendingLimit(OVER.filled(at_most=allowance.at_most.said(), left=left.said()))
    await connection.execute(PLACE, key, row["id"], amount.minor, expires_at)
    return Hold(key, account.key, amount, "open", expires_at, None)


async def void(connection: Any, key: str) -> Hold:
    """Let a hold go, in the caller's transaction; again, it stays voided. Raises HoldResolved, or Unknown."""
    await connection.fetch(LOCK_ACCOUNTS, [key])
    await connection.execute(VOID, key)
    hold = await find(connection, key)
    if hold is None:
        raise Unknown(f"There is no hold {key}.")
    if hold.state != "voided":
        raise HoldResolved(f"The hold is {hold.state}.")
    return hold


async def expire_due(connection: Any, limit: int = EXPIRE_MAX) -> int:
    """Let go the holds whose time is over, at most `limit`, in the caller's transaction; how many there were."""
    keys = [row["key"] for row in await connection.fetch(OVERDUE, limit)]
    if not keys:
        return 0
    await connection.fetch(LOCK_ACCOUNTS, keys)
    return len(await connection.fetch(EXPIRE, keys))


async def find(connection: Any, key: str) -> Hold | None:
    """The hold with this key, if any."""
    row = await connection.fetchrow(FIND, key)
    if row is None:
        return None
    amount = Money(row["amount"], row["currency"])
    return Hold(row["key"], row["account"], amount, row["state"], row["expires_at"], row["entry_id"])
