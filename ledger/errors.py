"""What the ledger refuses, named for who must act.

UserError
├─ BadAmount            no amount of money can be read from it (ledger/money.py)
│  └─ UnclearAmount     it can be read in more ways than one: ask
├─ InsufficientFunds    the account has too little, holds counted
├─ BalanceLimit         the account would hold more than an account can
└─ SpendingLimit        more would be spent than may be in a time
Conflict
├─ KeyReused            the key was used for another request
├─ AlreadyReversed      somebody reversed the entry before
└─ HoldResolved         the hold was posted, voided or expired before; or its time is over
IllegalEntry            a mistake of the caller: no answer of a person can mend it
├─ CurrencyMismatch     amounts of two currencies where one was meant, or a currency its account does not have
├─ AccountMismatch      the account is there, and is of another kind
└─ Unknown              there is no such entry, hold or account
"""

from core.errors import Conflict, LimitReached, MathiaError, UserError
from core.language import Saying

TOO_LITTLE = Saying("There is not enough money in the account.", "Hakuna pesa za kutosha kwenye akaunti.")
TOO_MUCH = Saying("The account cannot hold that much money.", "Akaunti haiwezi kubeba pesa nyingi kiasi hicho.")


class InsufficientFunds(UserError):
    """An account has too little for it, holds counted."""

    def __init__(self) -> None:
        super().__init__(TOO_LITTLE)


class BalanceLimit(UserError):
    """An account would hold more than an account can."""

    def __init__(self) -> None:
        super().__init__(TOO_MUCH)


class SpendingLimit(LimitReached):
    """More would be spent than may be in a time; what it says names the limit and what is left of it."""


class KeyReused(Conflict):
    """The idempotency key was used for another request, which stands; nothing was done for this one."""


class AlreadyReversed(Conflict):
    """The entry was reversed before, by another key."""


class HoldResolved(Conflict):
    """The hold was posted, voided or expired before, or its time is over."""


class IllegalEntry(MathiaError):
    """The request breaks a law of the books: a mistake in the code that asked."""


class CurrencyMismatch(IllegalEntry):
    """Amounts of two currencies where one was meant, or a currency that the account does not have."""


class AccountMismatch(IllegalEntry):
    """The key is of an account of another type, owner or rule."""


class Unknown(IllegalEntry):
    """There is no entry, hold or account under this key."""
