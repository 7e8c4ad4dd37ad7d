"""A pace: how many sends a second a provider takes from us, as a token bucket with one second's worth of burst.

At the limit sends begin in groups, one each GROUP_S, because claiming them one by one would cost a commit each.
"""

import time
from collections.abc import Callable

GROUP_S = 0.1


class Pace:
    """Pure but for its clock (monotonic seconds). None for `per_second` is no limit."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = per_second or 0.0
        self._group = max(1, int((per_second or 0.0) * GROUP_S))
        self._at = clock()

    def room(self, wanted: int) -> int:
        """How many of `wanted` sends may begin now."""
        if self._per_second is None:
            return wanted
        now = self._clock()
        self._tokens = min(self._per_second, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        room = min(wanted, int(self._tokens))
        return room if room >= min(wanted, self._group) else 0

    def take(self, sends: int) -> None:
        """Count sends that have begun."""
        self._tokens -= sends

    def wait_s(self) -> float:
        """Seconds until the next group may begin."""
        if self._per_second is None:
            return 0.0
        return max(0.0, (self._group - self._tokens) / self._per_second)
