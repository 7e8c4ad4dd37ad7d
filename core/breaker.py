"""A circuit breaker, pure: after several failures in a row, stop asking for a while, then let one call try.

closed --FAILURES_MAX failures in a row--> open --COOL_DOWN_S--> half-open (one trial) --success--> closed
                                            ^--------------------failure---------'
Instants are seconds of any clock that only goes forward; they are passed in.
"""

from dataclasses import dataclass
from enum import StrEnum

FAILURES_MAX = 5
"""Failures in a row that open the circuit."""
COOL_DOWN_S = 30.0
"""How long an open circuit refuses; also how long a trial may take before another is allowed."""


class State(StrEnum):
    """What the breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """One provider's circuit. Ask `allows` before each call and tell it how the call ended."""

    failures_max: int = FAILURES_MAX
    cool_down_s: float = COOL_DOWN_S
    failures: int = 0
    retry_at: float = 0.0
    """While open or half-open: the instant from which a trial is allowed."""
    state: State = State.CLOSED

    def allows(self, now: float) -> bool:
        """Whether a call may be made at `now`; a yes while not closed is the one trial, and takes it."""
        if self.state is State.CLOSED:
            return True
        if now < self.retry_at:
            return False
        self.state = State.HALF_OPEN
        # A trial that never reports must not keep the circuit shut for good.
        self.retry_at = now + self.cool_down_s
        return True

    def succeeded(self) -> None:
        """The provider answered: back to normal."""
        self.failures = 0
        self.state = State.CLOSED

    def failed(self, now: float) -> None:
        """The provider did not answer, or answered nonsense."""
        self.failures += 1
        if self.failures >= self.failures_max:
            self.state = State.OPEN
            self.retry_at = now + self.cool_down_s

    def wait_s(self, now: float) -> float:
        """Seconds until the next call may be made; 0 when it may be made now."""
        return 0.0 if self.state is State.CLOSED else max(0.0, self.retry_at - now)
