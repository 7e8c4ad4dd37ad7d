"""What an entry is, and what it does to accounts. Pure: the rules of double entry without a database.

A debit is positive, a credit negative, and the postings of an entry sum to zero in each currency. What an account has
is told in its own sense: an asset or an expense grows by debits, a liability, equity or an income by credits.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from ledger.errors import AccountMismatch, BalanceLimit, CurrencyMismatch, IllegalEntry, InsufficientFunds
from ledger.money import MINOR_MAX, Money, known

KEY_CHARS_MAX = 200
POSTINGS_MAX = 100
"""Most legs of one entry."""


class AccountType(StrEnum):
    """The five types of accounts."""

    ASSET = "ASSET"
    LIABILITY = "LIABILITY"
    EQUITY = "EQUITY"
    INCOME = "INCOME"
    EXPENSE = "EXPENSE"

    @property
    def side(self) -> int:
        """1 where debits make an account of this type more, -1 where credits do."""
        return 1 if self in (AccountType.ASSET, AccountType.EXPENSE) else -1


class Kind(StrEnum):
    """What an entry is for."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    TRANSFER = "TRANSFER"
    INVOICE_PAYMENT = "INVOICE_PAYMENT"
    FEE = "FEE"
    REFUND = "REFUND"
    DISPUTE_FREEZE = "DISPUTE_FREEZE"
    DISPUTE_RELEASE = "DISPUTE_RELEASE"
    REVERSAL = "REVERSAL"


@dataclass(frozen=True, slots=True)
class Account:
    """Which account is meant: it is made when it is first used, and what is said here never changes afterwards.

    `key` is unique, such as "wallet:<owner>:KES". `owner` is an opaque key of whose it is, nothing a person wrote or
    is called. `allow_negative` is for our own accounts; what we owe anybody never falls below zero.
    """

    key: str
    type: AccountType
    currency: str
    owner: str | None = None
    allow_negative: bool = False

    def __post_init__(self) -> None:
        check_key(self.key)
        known(self.currency)
        if self.allow_negative and self.type is AccountType.LIABILITY:
            raise IllegalEntry("What is owed to somebody cannot be negative.")


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg: what an entry moves on one account; a debit is positive, a credit negative."""

    account: Account
    amount: Money


def debit(account: Account, amount: Money) -> Posting:
    """The leg that takes from a liability, equity or income, and gives to an asset or expense."""
    return Posting(account, amount)


def credit(account: Account, amount: Money) -> Posting:
    """The leg that gives to a liability, equity or income, and takes from an asset or expense."""
    return Posting(account, -amount)


@dataclass(frozen=True, slots=True)
class Quote:
    """The rate of an exchange as it was quoted: `rate` units of `bought` for one of `sold`."""

    sold: str
    bought: str
    rate: Decimal
    source: str
    at: datetime

    def __post_init__(self) -> None:
        check_key(self.source)
        known(self.sold)
        known(self.bought)
        if self.sold == self.bought or not self.rate.is_finite() or self.rate <= 0 or self.at.tzinfo is None:
            raise IllegalEntry("A quote is a positive rate between two currencies, at an aware time.")


@dataclass(frozen=True)
class Entry:
    """One event in the books, before it is posted. Raises IllegalEntry where it could never be one.

    `key` is the idempotency key: it is chosen before the first try and kept over all of them. `reference` is an opaque
    id elsewhere, `occurred_at` when it happened according to whoever reported it. `settles` is the key of the hold
    that it posts, wholly or in part; what is left of the hold is free again. `quote` is needed for more than one
    currency. Postings on one account are one posting.
    """

    key: str
    kind: Kind
    postings: tuple[Posting, ...]
    reference: str | None = None
    occurred_at: datetime | None = None
    reverses: int | None = None
    settles: str | None = None
    quote: Quote | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        if not 2 <= len(self.postings) <= POSTINGS_MAX:
            raise IllegalEntry(f"An entry has 2 to {POSTINGS_MAX} postings, not {len(self.postings)}.")
        if len({posting.account.key for posting in self.postings}) != len(self.postings):
            raise IllegalEntry("An entry has one posting on each of its accounts.")
        sums: dict[str, int] = {}
        for posting in self.postings:
            amount = posting.amount
            if amount.currency != posting.account.currency:
                raise CurrencyMismatch(f"{posting.account.key} is not in {amount.currency}.")
            if not amount.minor:
                raise IllegalEntry("A posting moves something.")
            sums[amount.currency] = sums.get(amount.currency, 0) + amount.minor
        if any(sums.values()):
            raise IllegalEntry("The postings of an entry sum to zero in each currency.")
        if (len(sums) > 1) != (self.quote is not None) and self.kind is not Kind.REVERSAL:
            raise CurrencyMismatch("An entry in more than one currency has a quote, and no other has.")
        if (self.kind is Kind.REVERSAL) != (self.reverses is not None):
            raise IllegalEntry("A reversal says what it reverses, and nothing else does.")
        if self.reference is not None:
            check_key(self.reference)
        if self.settles is not None:
            check_key(self.settles)
        if self.occurred_at is not None and self.occurred_at.tzinfo is None:
            raise IllegalEntry("Times are aware.")

    @cached_property
    def request_hash(self) -> bytes:
        """SHA-256 of all that is asked for, whatever order its postings are in."""
        quote = self.quote
        parts = [
            self.kind.value, self.reference or "", _text(self.occurred_at), str(self.reverses or ""),
            self.settles or "",
            *((quote.sold, quote.bought, format(quote.rate.normalize(), "f"), quote.source, _text(quote.at))
              if quote else ()),
            *sorted(f"{one.account.key}\x1f{one.amount.currency}\x1f{one.amount.minor}" for one in self.postings),
        ]  # fmt: skip
        return hashlib.sha256("\x1e".join(parts).encode()).digest()


def check_key(key: str) -> None:
    """IllegalEntry where it cannot be a key: empty, too long, or with control characters."""
    if not 1 <= len(key) <= KEY_CHARS_MAX or not key.isprintable():
        raise IllegalEntry(f"A key has 1 to {KEY_CHARS_MAX} printable characters.")


def _text(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else ""


@dataclass(slots=True)
class Standing:
    """An account as it is in the database, under its lock, and as the entries of a batch move it on."""

    id: int
    account: Account
    posted: int
    pending_out: int
    seq: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A posting as it will stand in the database."""

    account_id: int
    account_seq: int
    currency: str
    amount: int
    balance_after: int


def apply(entry: Entry, standings: Mapping[str, Standing]) -> list[Line]:
    """Move the accounts of `entry` (by key) on by it, and return its lines; raises and moves nothing where it cannot.

    Raises InsufficientFunds, BalanceLimit or AccountMismatch.
    """
    lines = []
    for posting in entry.postings:
        standing = standings[posting.account.key]
        if standing.account != posting.account:
            raise AccountMismatch(f"{posting.account.key} is another account.")
        after = standing.posted + posting.account.type.side * posting.amount.minor
        if not -MINOR_MAX <= after <= MINOR_MAX:
            raise BalanceLimit
        if not posting.account.allow_negative and after < standing.pending_out:
            raise InsufficientFunds
        lines.append(Line(standing.id, standing.seq + 1, posting.amount.currency, posting.amount.minor, after))
    for posting, line in zip(entry.postings, lines, strict=True):
        standing = standings[posting.account.key]
        standing.posted, standing.seq = line.balance_after, line.account_seq
    return lines


def reversal(key: str, entry_id: int, postings: tuple[Posting, ...], reference: str | None = None) -> Entry:
    """The entry that undoes the entry `entry_id`, which had these postings."""
    undone = tuple(Posting(posting.account, -posting.amount) for posting in postings)
    return Entry(key, Kind.REVERSAL, undone, reference, reverses=entry_id)
