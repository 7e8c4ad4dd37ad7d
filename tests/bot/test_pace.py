"""A pace never lets more begin than the provider takes, and never less than it could."""

from hypothesis import given
from hypothesis import strategies as st

from bot.pace import Pace


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_no_limit_is_no_limit() -> None:
    pace = Pace(None)
    assert (pace.room(32), pace.wait_s()) == (32, 0.0)


def test_a_second_of_burst_then_the_rate() -> None:
    clock = Clock()
    pace = Pace(10.0, clock)
    assert pace.room(32) == 10
    pace.take(10)
    assert pace.room(32) == 0
    clock.now += pace.wait_s() + 1e-9
    assert pace.room(32) == 1


def test_at_the_limit_sends_begin_in_groups() -> None:
    clock = Clock()
    pace = Pace(80.0, clock)
    pace.take(pace.room(80))
    clock.now += 0.05
    assert pace.room(32) == 0
    clock.now += pace.wait_s() + 1e-9
    assert pace.room(32) == 8
    assert pace.room(3) == 3


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), min_size=1, max_size=60))
def test_never_more_than_the_rate_and_one_burst(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    pace = Pace(20.0, clock)
    begun = 0
    for passed, wanted in steps:
        clock.now += passed
        room = pace.room(wanted)
        assert 0 <= room <= wanted
        pace.take(room)
        begun += room
        assert begun <= 20.0 * (clock.now - 100.0) + 20.0 + 1e-6
