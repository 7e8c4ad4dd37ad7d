"""Payment instructions: one movement of money at a provider, from being told to how it ended. Pure.

    out  ready -> initiating -> initiated -> approving -> submitted -> succeeded | failed
    back ready -> initiating -> submitted -> succeeded | failed
    in   ready -> initiating -> pending <-> processing -> complete | failed; failed -> late, when it was paid after all

and from wherever an answer was lost: unknown, which only asking ends. What was proposed and not yet confirmed is no
instruction: that is the confirmation's row (core/confirm.py), and the instruction is made `ready` as it is used.
`needs_review` moves nothing; a person decides (ledger/instruction_store.resolve).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from ledger.journal import Kind
from ledger.money import Money


class Direction(StrEnum):
    """Whether money comes to us or leaves."""

    IN = "in"
    OUT = "out"


class Method(StrEnum):
    """How: M-Pesa asks somebody's phone, somebody pays on a page, we pay a number, or give a payment back."""

    PUSH = "push"
    CHECKOUT = "checkout"
    PAYOUT = "payout"
    REFUND = "refund"


class State(StrEnum):
    """Where an instruction stands."""

    READY = "ready"
    INITIATING = "initiating"
    INITIATED = "initiated"
    APPROVING = "approving"
    SUBMITTED = "submitted"
    PENDING = "pending"
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    COMPLETE = "complete"
    FAILED = "failed"
    LATE = "late"
    NEEDS_REVIEW = "needs_review"


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.READY: frozenset({State.INITIATING, State.FAILED}),
    State.INITIATING: frozenset(
        {State.READY, State.INITIATED, State.PENDING, State.SUBMITTED, State.UNKNOWN, State.FAILED,
         State.NEEDS_REVIEW}
    ),
    State.INITIATED: frozenset({State.APPROVING, State.FAILED, State.NEEDS_REVIEW}),
    State.APPROVING: frozenset({State.INITIATED, State.SUBMITTED, State.UNKNOWN, State.NEEDS_REVIEW}),
    State.SUBMITTED: frozenset({State.SUCCEEDED, State.FAILED, State.NEEDS_REVIEW}),
    State.PENDING: frozenset({State.PROCESSING, State.COMPLETE, State.FAILED, State.NEEDS_REVIEW}),
    State.PROCESSING: frozenset({State.PENDING, State.COMPLETE, State.FAILED, State.NEEDS_REVIEW}),
    State.UNKNOWN: frozenset(
        {State.SUBMITTED, State.PENDING, State.PROCESSING, State.SUCCEEDED, State.COMPLETE, State.FAILED,
         State.NEEDS_REVIEW}
    ),
    State.FAILED: frozenset({State.LATE, State.NEEDS_REVIEW}),
    State.NEEDS_REVIEW: frozenset({State.SUCCEEDED, State.COMPLETE, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    State.COMPLETE: frozenset(),
    State.LATE: frozenset(),
}  # fmt: skip
"""Which states follow which; PostgreSQL refuses every other move, and none leads away from a success."""
DONE = frozenset({State.SUCCEEDED, State.COMPLETE, State.LATE})
OVER = DONE | {State.FAILED, State.NEEDS_REVIEW}


@dataclass(frozen=True, slots=True)
class Payee:
    """Whom an instruction asks or pays: digits of a phone with its country (2547…), and a name where one is known."""

    account: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, in the hands of whoever claimed it under `attempt`.

    `reference` is what the provider knows it by, for ever. `amount` is what the payer or payee sees, `fee` what we
    charge our own person besides. `payee` is None where nobody is named, or what was known of them has been erased.
    """

    id: int
    reference: str
    direction: Direction
    method: Method
    state: State
    attempt: int
    owner: str
    amount: Money
    fee: Money
    kind: Kind
    person_id: UUID
    conversation_id: UUID
    language: str
    payee: Payee | None
    tracking_id: str | None
    invoice_id: str | None
    session: str | None
    tries: int
    created_at: datetime
    asked_at: datetime | None
    failing_since: datetime | None
    now: datetime
    page_url: str | None = None
    """Where somebody pays it, of a checkout that the provider has a page for."""
    pays: int | None = None
    """The invoice of ours (ledger/invoices.py) that its success is a payment of."""
    refunds: str | None = None
    """What the provider calls the payment that it gives back."""
    account: str | None = None
    """The person's own account with the provider that it goes through; None: ours."""
    dispute_id: int | None = None
    """The dispute from whose frozen money it is paid."""

    @property
    def is_out(self) -> bool:
        """Whether money leaves."""
        return self.direction is Direction.OUT

    @property
    def success(self) -> State:
        """The state in which it is done."""
        if self.is_out:
            return State.SUCCEEDED
        return State.LATE if self.state is State.FAILED else State.COMPLETE

    @property
    def hold_key(self) -> str:
        """The hold that keeps its money back."""
        return payout_key(self.reference)

    @property
    def entry_key(self) -> str:
        """The journal entry that its success is."""
        return payout_key(self.reference) if self.is_out else f"deposit:{self.reference}"


def payout_key(reference: str) -> str:
    """What a payout's hold and its entry are known by in the books."""
    return f"payout:{reference}"


class Outcome(StrEnum):
    """What a provider says of one payment."""

    UNDER_WAY = "under_way"
    PROCESSING = "processing"
    NOT_APPROVED = "not_approved"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider says of one payment, asked by ourselves. None is what it did not say, and is not compared."""

    outcome: Outcome
    amount: Decimal
    currency: str | None
    account: str | None
    reference: str | None
    code: str = ""
    receipt: str = ""
    charge: Decimal | None = None
    """What the provider kept of it, once it is over."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When an instruction is looked at again after the provider was told, and when silence is an answer."""

    looks: tuple[timedelta, ...] = tuple(timedelta(seconds=after) for after in (15, 30, 60, 120, 300))
    then_each: timedelta = timedelta(hours=1)
    until: timedelta = timedelta(days=3)
    certain: timedelta = timedelta(hours=1)
    """How long after an approval whose answer was lost "not approved" is believed: nothing is on its way any more."""
    failed_certain: timedelta = timedelta(minutes=2)
    """How long a payout has to be called failed before its money is given back: such answers have been wrong."""
    untold: timedelta = timedelta(seconds=2)
    """How long after the provider could not be told the next try is made; twice as long after each more."""

    def next_look(self, asked_at: datetime, now: datetime) -> timedelta | None:
        """How long to wait before the next look; None when enough has been looked."""
        since = now - asked_at
        if since >= self.until:
            return None
        return next((look - since for look in self.looks if look > since), self.then_each)


@dataclass(frozen=True, slots=True)
class Decision:
    """What an answer means: the state to move to (None: stay), why, and whether it contradicts what is settled."""

    state: State | None
    reason: str = ""
    contrary: bool = False
    failing: bool = False
    """The provider says that it failed, and is not yet believed."""


def mismatch(of: Instruction, told: Answer) -> str | None:
    """In what an answer is not about this instruction; None where all that was said agrees."""
    if told.currency is not None and told.currency != of.amount.currency:
        return f"currency {told.currency}, not {of.amount.currency}"
    if told.amount != of.amount.decimal:
        return f"amount {told.amount}, not {of.amount.decimal}"
    if told.reference is not None and told.reference != of.reference:
        return "another reference"
    if told.account is not None and of.payee is not None and told.account.lstrip("+") != of.payee.account:
        return "another account"
    return None


def decide(of: Instruction, told: Answer, pace: Pace) -> Decision:
    """What the provider's answer means for an instruction that was told to it."""
    if of.state in DONE:
        # Nothing that is asked later takes a success back; that it was said is worth a person's look.
        return Decision(None, f"the provider now says {told.outcome}", contrary=told.outcome is Outcome.FAILED)
    if (wrong := mismatch(of, told)) is not None:
        return Decision(State.NEEDS_REVIEW, wrong)
    match told.outcome:
        case Outcome.DONE if of.is_out and of.state is State.FAILED:
            return Decision(State.NEEDS_REVIEW, "it was paid after it had been given up")
        case Outcome.DONE:
            return Decision(of.success, told.code)
        case Outcome.FAILED if of.state is State.FAILED:
            return Decision(None)
        case Outcome.FAILED if of.is_out:
            since = of.failing_since
            if since is not None and of.now - since >= pace.failed_certain:
                return Decision(State.FAILED, told.code)
            return Decision(None, told.code, failing=True)
        case Outcome.FAILED if of.method is Method.CHECKOUT:
            return Decision(None, told.code)  # A page can be tried again.
        case Outcome.FAILED:
            return Decision(State.FAILED, told.code)
        case Outcome.NOT_APPROVED if of.state is State.UNKNOWN and of.asked_at is not None:
            if of.now - of.asked_at >= pace.certain:
                return Decision(State.FAILED, "it was never approved")
        case Outcome.PROCESSING if not of.is_out and of.state in (State.PENDING, State.UNKNOWN):
            return Decision(State.PROCESSING)
        case Outcome.UNDER_WAY if not of.is_out and of.state is State.UNKNOWN:
            return Decision(State.PENDING)
        case Outcome.UNDER_WAY if of.is_out and of.state is State.UNKNOWN:
            return Decision(State.SUBMITTED)
    return Decision(None)
