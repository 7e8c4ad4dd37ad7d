"""Waiting in tests: until a condition holds, never for a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

LOOK_AGAIN_S = 0.01
BUSY = 4.0
"""By how much longer is waited than a test allows for: on a busy machine all takes longer, and what holds is seen at
once all the same."""


async def until(condition: Callable[[], Awaitable[object]], limit_s: float = 10.0, what: str = "the condition") -> None:
    """Return once `condition()` is true; fails the test after BUSY times `limit_s`, naming `what` it waited for."""
    give_up_at = time.monotonic() + limit_s * BUSY
    while not await condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true within {limit_s * BUSY:g} s"
        await asyncio.sleep(LOOK_AGAIN_S)


def until_now(condition: Callable[[], object], limit_s: float = 10.0, what: str = "the condition") -> None:
    """The same for plain functions: outside an event loop, or where it may be blocked."""
    give_up_at = time.monotonic() + limit_s * BUSY
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true within {limit_s * BUSY:g} s"
        time.sleep(LOOK_AGAIN_S)
