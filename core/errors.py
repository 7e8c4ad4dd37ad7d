"""Every error of ours, named by who must act.

MathiaError
├─ UserError             the person can fix it; what it says is shown as it is
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

from core.language import Saying


class MathiaError(Exception):
    """Root of our errors; the message is a sentence a person can read."""


class UserError(MathiaError):
    """The person can fix it; what it says is shown as it is, in their language where it is a Saying."""

    def __init__(self, says: Saying | str) -> None:
        super().__init__(says.en if isinstance(says, Saying) else says)
        self.says = says

    def to(self, language: str) -> str:
        """What is shown to somebody of this language."""
        return self.says.to(language) if isinstance(self.says, Saying) else self.says


class InvalidSlot(UserError):
    """A slot's value cannot be used; `slot` names it, and what is said asks for what would do."""

    def __init__(self, slot: str, says: Saying | str) -> None:
        super().__init__(says)
        self.slot = slot


class Unusable(ValueError):
    """Why a value cannot be used, from inside a validator of Params, where it has to be a ValueError."""

    def __init__(self, says: Saying) -> None:
        super().__init__(says.en)
        self.says = says


class LimitReached(UserError):
    """A named limit is used up; `limit` is its name, where it has one."""

    def __init__(self, says: Saying | str, limit: str | None = None) -> None:
        super().__init__(says)
        self.limit = limit


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


class OutcomeUnknown(MathiaError):
    """Whether a third party did what it was told to is not known. It has to be asked, and must not be told again."""


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
