"""Balances and statements: what an account has, had at a time, and how it came to that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.accounts import as_account, wallet
from ledger.journal import Account, Kind
from ledger.money import Money

LINES_MAX = 200
"""Lines of a statement at a time."""

_BALANCE = "SELECT key, type, currency, owner, allow_negative, posted, pending_out FROM account"
BALANCE = f"{_BALANCE} WHERE key = $1"
BALANCES = f"{_BALANCE} WHERE owner = $1 ORDER BY key"
_SEARCH = """
WITH RECURSIVE search (account_id, low, high) AS (
    SELECT id, 0::bigint, seq FROM account WHERE key = $1
    UNION ALL
    SELECT s.account_id, CASE WHEN p.at <= $2 THEN p.account_seq ELSE s.low END,
           CASE WHEN p.at <= $2 THEN s.high ELSE p.account_seq - 1 END
    FROM search s JOIN posting p ON p.account_id = s.account_id AND p.account_seq = (s.low + s.high + 1) / 2
    WHERE s.low < s.high
)
"""
"""Finds the newest posting up to a time by halving: an account's postings are numbered in the order of their times."""
BALANCE_AT = f"""{_SEARCH}
SELECT s.low, p.balance_after FROM search s LEFT JOIN posting p ON p.account_id = s.account_id AND p.account_seq = s.low
WHERE s.low = s.high
"""  # noqa: S608  Its parts are constants of ours.
SPENT = f"""{_SEARCH}
SELECT coalesce(sum(-ledger_side(a.type) * p.amount), 0)::bigint
FROM search s JOIN account a ON a.id = s.account_id
JOIN posting p ON p.account_id = s.account_id AND p.account_seq > s.low
JOIN journal_entry e ON e.id = p.entry_id
WHERE s.low = s.high AND ledger_side(a.type) * p.amount < 0
  AND e.kind NOT IN ('REVERSAL', 'DISPUTE_FREEZE', 'DISPUTE_RELEASE', 'REFUND')
"""  # noqa: S608  Its parts are constants of ours.
STATEMENT = """
SELECT p.account_seq, p.at, e.kind, e.reference, e.occurred_at, p.entry_id, p.balance_after,
       ledger_side(a.type) * p.amount AS amount
FROM account a JOIN posting p ON p.account_id = a.id JOIN journal_entry e ON e.id = p.entry_id
WHERE a.key = $1 AND p.account_seq < coalesce($2::bigint, a.seq + 1)
  AND p.account_seq >= coalesce($2::bigint, a.seq + 1) - $3::bigint
ORDER BY p.account_seq DESC
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has in its own sense: `posted`, of which holds keep `pending_out` back."""

    account: Account
    posted: Money
    pending_out: Money

    @property
    def available(self) -> Money:
        """What can be spent."""
        return self.posted - self.pending_out


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One posting as the account's owner reads it: `amount` is positive where the account got more."""

    seq: int
    at: datetime
    kind: Kind
    amount: Money
    balance_after: Money
    entry_id: int
    reference: str | None
    occurred_at: datetime | None


async def balance(connection: Any, account: Account) -> Balance:
    """What an account has now; nothing where it has never been used."""
    row = await connection.fetchrow(BALANCE, account.key)
    nothing = Money(0, account.currency)
    return _balance(row) if row else Balance(account, nothing, nothing)


async def balances_of(connection: Any, owner: str) -> list[Balance]:
    """What each account of an owner has, by key."""
    return [_balance(row) for row in await connection.fetch(BALANCES, owner)]


async def wallets_of(connection: Any, owner: str, currency: str) -> list[Balance]:
    """What somebody has in each currency, that in `currency` first, which is told also where it is nothing."""
    first = await balance(connection, wallet(owner, currency))
    others = await balances_of(connection, owner)
    return [first, *(one for one in others if one.posted.minor and one.account == wallet(owner, one.posted.currency)
                     and one.posted.currency != currency)]  # fmt: skip


async def apart_of(connection: Any, owner: str) -> list[Balance]:
    """What somebody has that their wallet here has not: what a dispute has frozen, and what came and went through us in
    accounts of their own at the provider."""
    apart = (f"disputed:{owner}:", f"own:{owner}:")
    return [
        one for one in await balances_of(connection, owner) if one.posted.minor and one.account.key.startswith(apart)
    ]


async def balance_at(connection: Any, account: Account, at: datetime) -> tuple[Money, int]:
    """What was posted on an account up to a time, that moment included; holds do not count. And the number of its last
    posting by then, 0 where there was none."""
    row = await connection.fetchrow(BALANCE_AT, account.key, at)
    return Money(row["balance_after"] or 0 if row else 0, account.currency), row["low"] if row else 0


async def spent_since(connection: Any, account: Account, since: datetime) -> Money:
    """What an account gave after a time; corrections, refunds and what a dispute froze do not count, nor do holds."""
    return Money(await connection.fetchval(SPENT, account.key, since), account.currency)


async def statement(
    connection: Any, account: Account, *, before: int | None = None, limit: int = LINES_MAX
) -> list[StatementLine]:
    """An account's postings with its balance after each, newest first; `before` is the `seq` to go on from."""
    rows = await connection.fetch(STATEMENT, account.key, before, min(limit, LINES_MAX))
    return [
        StatementLine(
            row["account_seq"],
            row["at"],
            Kind(row["kind"]),
            Money(row["amount"], account.currency),
            Money(row["balance_after"], account.currency),
            row["entry_id"],
            row["reference"],
            row["occurred_at"],
        )
        for row in rows
    ]


def _balance(row: Any) -> Balance:
    account = as_account(row)
    return Balance(account, Money(row["posted"], account.currency), Money(row["pending_out"], account.currency))
