"""Corrections by hand, with four eyes: one of the staff proposes an entry, and above a limit another one approves it.

What is approved is what was proposed, row for row: PostgreSQL lets nobody change a proposal, approve their own where a
second is needed, or decide one twice. An entry that was made by mistake is reversed; anything else is moved from one
account to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from core.errors import Conflict, UserError
from ledger.accounts import find
from ledger.errors import AlreadyReversed, Unknown
from ledger.journal import Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import post, reversal_of

GOOD_FOR = timedelta(days=7)
"""How long a proposal can be approved."""
LISTED_MAX = 100
REASON_CHARS_MAX = 500

_COLUMNS = """id, reverses, debit_account, credit_account, currency, amount, reason, alone, state, proposed_by,
    proposed_at, expires_at, decided_by, decided_at, entry_id"""
MADE_BEFORE = f"SELECT {_COLUMNS} FROM adjustment WHERE key = $1"  # noqa: S608  Its parts are constants of ours.
PROPOSE = f"""
INSERT INTO adjustment (key, reverses, debit_account, credit_account, currency, amount, reason, alone, proposed_by,
                        expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10)
RETURNING {_COLUMNS}
"""  # noqa: S608  Its parts are constants of ours.
HOLD = f"SELECT {_COLUMNS} FROM adjustment WHERE id = $1 FOR UPDATE"  # noqa: S608  Its parts are constants of ours.
DECIDE = f"""
UPDATE adjustment SET state = $2, decided_by = $3, decided_at = clock_timestamp(), entry_id = $4 WHERE id = $1
RETURNING {_COLUMNS}
"""  # noqa: S608  Its parts are constants of ours.
WAITING = f"""
SELECT {_COLUMNS} FROM adjustment WHERE state = 'proposed' AND expires_at > now() ORDER BY id LIMIT {LISTED_MAX}
"""  # noqa: S608  Its parts are constants of ours.
OVER = f"""
SELECT {_COLUMNS} FROM adjustment WHERE state <> 'proposed' OR expires_at <= now() ORDER BY id DESC LIMIT {LISTED_MAX}
"""  # noqa: S608  Its parts are constants of ours.
SIZE = """
SELECT min(currency) AS currency, count(DISTINCT currency) AS currencies, sum(amount) AS amount
FROM posting WHERE entry_id = $1 AND amount > 0
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be booked: the reversal of an entry, or an amount from one account (debited) to another (credited)."""

    reason: str
    reverses: int | None = None
    debit: str | None = None
    credit: str | None = None
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A proposal and what came of it; `alone` is whether one of the staff is enough for it."""

    id: int
    reverses: int | None
    debit: str | None
    credit: str | None
    amount: Money
    reason: str
    alone: bool
    state: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    entry_id: int | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """The adjustment in a row of the database."""
        return cls(
            row["id"], row["reverses"], row["debit_account"], row["credit_account"],
            Money(row["amount"], row["currency"]), row["reason"], row["alone"], row["state"], row["proposed_by"],
            row["proposed_at"], row["expires_at"], row["decided_by"], row["decided_at"], row["entry_id"],
        )  # fmt: skip


async def propose(connection: Any, key: str, what: Proposal, actor: str, alone_max: Money) -> Adjustment:
    """Propose it, in the caller's transaction; the same key again is the same proposal.

    Up to `alone_max`, in its currency, it is booked at once. Raises UserError, and what `approve` raises.
    """
    before = await connection.fetchrow(MADE_BEFORE, key)
    if before is not None:
        same = Adjustment.of(before)
        if Proposal(same.reason, same.reverses, same.debit, same.credit, same.amount if what.amount else None) != what:
            raise Conflict("This form was sent before with something else in it. Load the page again.")
        return same
    amount = what.amount
    if what.reverses is not None:
        size = await connection.fetchrow(SIZE, what.reverses)
        if size["amount"] is None:
            raise UserError("There is no such entry.")
        amount = Money(int(size["amount"]), size["currency"])
        alone = size["currencies"] == 1
    else:
        await _accounts(connection, what)
        alone = True
    if amount is None or amount.minor <= 0:
        raise UserError("Write how much is to be moved, such as 500.")
    alone = alone and amount.currency == alone_max.currency and amount <= alone_max
    row = await connection.fetchrow(
        PROPOSE, key, what.reverses, what.debit, what.credit, amount.currency, amount.minor, what.reason, alone, actor,
        GOOD_FOR,
    )  # fmt: skip
    made = Adjustment.of(row)
    return await approve(connection, made.id, actor) if alone else made


async def approve(connection: Any, number: int, actor: str) -> Adjustment:
    """Book what was proposed, in the caller's transaction. Raises Conflict where it is decided or too
    old, UserError where `actor` proposed it and another is needed, or the books refuse it, and Unknown.
    """
    of = await _open(connection, number)
    if of.proposed_by == actor and not of.alone:
        raise UserError("You proposed it, so somebody else has to approve it.")
    key, reference = f"adjustment:{of.id}", f"adjustment:{of.id}"
    if of.reverses is not None:
        entry = await reversal_of(connection, of.reverses, key, reference)
    else:
        taken, given = await _accounts(connection, Proposal(of.reason, None, of.debit, of.credit, of.amount))
        entry = Entry(key, Kind.TRANSFER, (debit(taken, of.amount), credit(given, of.amount)), reference)
    try:
        posted = await post(connection, entry)
    except AlreadyReversed as error:
        raise UserError("That entry was reversed before.") from error
    return Adjustment.of(await connection.fetchrow(DECIDE, of.id, "posted", actor, posted.id))


async def refuse(connection: Any, number: int, actor: str) -> Adjustment:
    """End a proposal without booking it; whoever proposed it may, too. Raises Conflict and Unknown."""
    of = await _open(connection, number)
    return Adjustment.of(await connection.fetchrow(DECIDE, of.id, "refused", actor, None))


async def waiting(connection: Any) -> Sequence[Adjustment]:
    """What can be approved, the oldest first."""
    return [Adjustment.of(row) for row in await connection.fetch(WAITING)]


async def over(connection: Any) -> Sequence[Adjustment]:
    """What was decided or is too old, the newest first."""
    return [Adjustment.of(row) for row in await connection.fetch(OVER)]


async def _open(connection: Any, number: int) -> Adjustment:
    row = await connection.fetchrow(HOLD, number)
    if row is None:
        raise Unknown(f"There is no adjustment {number}.")
    of = Adjustment.of(row)
    if of.state != "proposed":
        raise Conflict("Somebody was faster: it is decided.")
    if await connection.fetchval("SELECT $1 <= now()", of.expires_at):
        raise Conflict("It was proposed too long ago. Propose it again.")
    return of


async def _accounts(connection: Any, what: Proposal) -> Any:
    """The accounts that are debited and credited. Raises UserError."""
    found = [await find(connection, key or "") for key in (what.debit, what.credit)]
    for one, key in zip(found, (what.debit, what.credit), strict=True):
        if one is None:
            raise UserError(f"There is no account “{(key or '')[:60]}”. Take its name from the list of accounts.")
        if what.amount is not None and one.currency != what.amount.currency:
            raise UserError(f"The account {one.key} is not in {what.amount.currency}.")
    if what.debit == what.credit:
        raise UserError("Money moves between two accounts, and these are one.")
    return found
