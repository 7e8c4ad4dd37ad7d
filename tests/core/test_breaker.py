"""The circuit breaker, as a state machine under any order of events."""

from hypothesis import given, settings
from hypothesis import strategies as st

from core.breaker import Breaker, State


def test_circuit_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(failures_max=3, cool_down_s=30)
    for _ in range(2):
        assert breaker.allows(0)
        breaker.failed(0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert not breaker.allows(0)
    assert breaker.wait_s(10) == 20


def test_open_circuit_lets_one_trial_through_after_the_cool_down() -> None:
    breaker = Breaker(failures_max=1, cool_down_s=30)
    breaker.failed(100)
    assert not breaker.allows(129.9)
    assert breaker.allows(130)
    assert breaker.state is State.HALF_OPEN
    assert not breaker.allows(131)


def test_trial_that_fails_keeps_the_circuit_open_and_one_that_succeeds_closes_it() -> None:
    breaker = Breaker(failures_max=1, cool_down_s=30)
    breaker.failed(0)
    assert breaker.allows(30)
    breaker.failed(31)
    assert not breaker.allows(60)
    assert breaker.allows(61)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert breaker.allows(61)


def test_trial_that_never_reports_does_not_shut_the_circuit_for_good() -> None:
    breaker = Breaker(failures_max=1, cool_down_s=30)
    breaker.failed(0)
    assert breaker.allows(30)
    assert not breaker.allows(59)
    assert breaker.allows(60)


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=60),
)
def test_any_history_asks_a_failing_provider_at_most_once_a_cool_down(
    failures_max: int, history: list[tuple[int, bool, bool]]
) -> None:
    """Each event is (seconds later, whether the call reports, whether it worked)."""
    breaker = Breaker(failures_max=failures_max, cool_down_s=30)
    now = 0
    in_a_row = 0
    asked: list[tuple[int, int]] = []
    for later_s, reports, worked in history:
        now += later_s
        open_before = in_a_row >= failures_max
        allowed = breaker.allows(now)
        if not open_before:
            assert allowed
        if not allowed:
            assert 0 < breaker.wait_s(now) <= 30
            continue
        if open_before and asked:
            assert now - asked[-1][0] >= 30
        asked.append((now, in_a_row))
        if not reports:
            continue
        if worked:
            breaker.succeeded()
            in_a_row = 0
        else:
            breaker.failed(now)
            in_a_row += 1
