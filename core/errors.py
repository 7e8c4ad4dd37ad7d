"""Every error of ours, named by who must act.

MathiaError
├─ UserError             the person can fix it; the message is shown as it is
│  ├─ InvalidSlot        a value that cannot be used (unknown place, time in the past …)
│  └─ LimitReached       a named limit is used up
├─ ProviderError         a third party failed; worth a retry
│  ├─ ProviderTimeout    no answer in time
│  ├─ ProviderUnavailable  refused, broken or answering nonsense; also while the circuit is open
│  └─ RateLimited        asked to wait; carries retry_after_s
├─ ProviderRefused       a third party said no; retrying will not help
├─ Conflict              somebody was faster; read again
├─ Erased                whoever or whatever it was for has been erased; the work is thrown away
└─ StoreUnavailable      our own database did not answer in time; nothing was accepted
"""


class MathiaError(Exception):
    """Root of our errors; the message is a sentence a person can read."""


class UserError(MathiaError):
    """The person can fix it; the message is shown as it is."""


class InvalidSlot(UserError):
    """A slot's value cannot be used; `slot` names it and the message says what would do."""

    def __init__(self, slot: str, message: str) -> None:
        super().__init__(message)
        self.slot = slot


class LimitReached(UserError):
    """A named limit is used up."""


class ProviderError(MathiaError):
    """A third party failed; worth a retry."""


class ProviderTimeout(ProviderError):
    """A third party did not answer in time."""


class ProviderUnavailable(ProviderError):
    """A third party refused the connection, broke, or answered nonsense."""


class RateLimited(ProviderError):
    """A third party asked us to wait `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProviderRefused(MathiaError):
    """A third party said no; retrying the same request will not help."""


class Conflict(MathiaError):
    """Somebody was faster; read again."""


class Erased(MathiaError):
    """Whoever or whatever it was for has been erased; the work is thrown away."""

    def __init__(self) -> None:
        super().__init__("This has been erased.")


class StoreUnavailable(MathiaError):
    """The database did not answer in time; nothing was accepted."""
