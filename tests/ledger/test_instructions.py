"""What a provider's answer means for a payment, and when it is asked again. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest

from ledger.instructions import (
    DONE,
    MOVES,
    Answer,
    Direction,
    Instruction,
    Method,
    Outcome,
    Pace,
    Payee,
    State,
    decide,
    mismatch,
)
from ledger.journal import Kind
from ledger.money import Money

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PACE = Pace()
OUT = Instruction(
    id=1, reference="K7QM-2XVR-9T", direction=Direction.OUT, method=Method.PAYOUT, state=State.SUBMITTED, attempt=1,
    owner="o", amount=Money(3_800, "KES"), fee=Money(0, "KES"), kind=Kind.WITHDRAWAL, person_id=UUID(int=1),
    conversation_id=UUID(int=2), language="en", payee=Payee("254708374149"), tracking_id="t", invoice_id=None,
    session=None, tries=0, created_at=NOW, asked_at=NOW, failing_since=None, now=NOW,
)  # fmt: skip
IN = replace(OUT, direction=Direction.IN, method=Method.PUSH, state=State.PENDING, kind=Kind.DEPOSIT)
SAID = Answer(Outcome.DONE, Decimal("38.00"), "KES", "254708374149", OUT.reference, "BC100/TS100")


def test_looks_are_at_15_30_60_120_300_seconds_then_hourly_for_three_days() -> None:
    at, looks = timedelta(0), []
    while (wait := PACE.next_look(NOW, NOW + at)) is not None:
        at += wait
        looks.append(at)
    assert [look.total_seconds() for look in looks[:7]] == [15, 30, 60, 120, 300, 3_900, 7_500]
    assert timedelta(days=3) <= looks[-1] < timedelta(days=3, hours=1)
    assert PACE.next_look(NOW, NOW + timedelta(seconds=47)) == timedelta(seconds=13)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"amount": Decimal(38)}, None), ({"amount": Decimal("38.01")}, "amount 38.01, not 38.00"),
        ({"amount": Decimal(3_800)}, "amount 3800, not 38.00"), ({"currency": "UGX"}, "currency UGX, not KES"),
        ({"currency": None}, None), ({"account": "+254708374149"}, None),
        ({"account": "254708374141"}, "another account"),
        ({"reference": "K7QM-2XVR-9t"}, "another reference"), ({"reference": ""}, "another reference"),
    ],
)  # fmt: skip
def test_an_answer_is_about_a_payment_when_everything_said_agrees(
    changes: dict[str, object], wrong: str | None
) -> None:
    told = replace(SAID, **changes)  # type: ignore[arg-type]
    assert mismatch(OUT, told) == wrong
    # A contradiction is looked at by a person, whatever it says became of the payment.
    for outcome in Outcome:
        decision = decide(OUT, replace(told, outcome=outcome), PACE)
        assert (decision.state is State.NEEDS_REVIEW) == (wrong is not None)


@pytest.mark.parametrize("state", sorted(DONE))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_nothing_leads_away_from_a_success(state: State, outcome: Outcome) -> None:
    assert MOVES[state] == frozenset()
    for told in (SAID, replace(SAID, amount=Decimal(1)), replace(SAID, reference="")):
        decision = decide(replace(IN, state=state), replace(told, outcome=outcome), PACE)
        assert decision.state is None
        assert decision.contrary == (outcome is Outcome.FAILED)


def test_a_payout_is_called_failed_twice_two_minutes_apart_before_its_money_is_free() -> None:
    failed = replace(SAID, outcome=Outcome.FAILED)
    assert decide(OUT, failed, PACE).state is None
    assert decide(OUT, failed, PACE).failing
    for seconds, state in ((119, None), (120, State.FAILED)):
        later = replace(OUT, failing_since=NOW, now=NOW + timedelta(seconds=seconds))
        assert decide(later, failed, PACE).state is state


def test_what_is_not_approved_an_hour_after_a_lost_answer_never_will_be() -> None:
    waits = replace(SAID, outcome=Outcome.NOT_APPROVED)
    for minutes, state in ((59, None), (60, State.FAILED)):
        lost = replace(OUT, state=State.UNKNOWN, now=NOW + timedelta(minutes=minutes))
        assert decide(lost, waits, PACE).state is state
    assert decide(replace(OUT, now=NOW + timedelta(days=1)), waits, PACE).state is None


def test_a_success_after_a_failure_is_late_coming_in_and_a_question_going_out() -> None:
    assert decide(replace(IN, state=State.FAILED), SAID, PACE).state is State.LATE
    assert decide(replace(OUT, state=State.FAILED), SAID, PACE).state is State.NEEDS_REVIEW


ASKED_IN = (State.PENDING, State.PROCESSING, State.UNKNOWN, State.FAILED, State.COMPLETE, State.LATE)
ASKED_OUT = (State.SUBMITTED, State.UNKNOWN, State.FAILED, State.SUCCEEDED)


@pytest.mark.parametrize(
    ("of", "states"), [(IN, ASKED_IN), (replace(IN, method=Method.CHECKOUT), ASKED_IN), (OUT, ASKED_OUT)]
)
def test_every_decision_is_a_move_that_there_is(of: Instruction, states: tuple[State, ...]) -> None:
    for state, outcome in product(states, Outcome):
        for told in (SAID, replace(SAID, amount=Decimal(1))):
            known = replace(of, state=state, failing_since=NOW - timedelta(days=1))
            decision = decide(known, replace(told, outcome=outcome), PACE)
            assert decision.state is None or decision.state in MOVES[state], (state, outcome)
