"""Disputes: somebody says that a payment was not right, and its money is frozen until that is decided. Pure.

    open -> frozen -> released | refunding -> refunded | lost

Freezing takes what is there out of the person's wallet, at most what is disputed: what has been spent cannot be frozen,
and no wallet goes below zero. While it is frozen it is the person's and nobody can spend it. It is released to them,
refunded to the payer, which the provider does and which may fail, or lost: the provider took the money back by itself,
and what of it had been spent is then owed to us by the person (docs/adr/0016).

One that whoever paid opened freezes nothing until staff say so. Where they paid from a wallet here into another one,
what is frozen goes back into theirs, at once (docs/adr/0022).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """Where a dispute stands."""

    OPEN = "open"
    """Nothing is frozen: it had been spent, or nobody of the staff has looked at what the payer says."""
    FROZEN = "frozen"
    REFUNDING = "refunding"
    RELEASED = "released"
    REFUNDED = "refunded"
    LOST = "lost"


class Act(StrEnum):
    """What may be done about a dispute."""

    FREEZE = "freeze"
    RELEASE = "release"
    REFUND = "refund"
    LOSE = "lose"


CLOSED: Final = frozenset({Stage.RELEASED, Stage.REFUNDED, Stage.LOST})
MOVES: Final[Mapping[Stage, frozenset[Stage]]] = {
    Stage.OPEN: frozenset({Stage.FROZEN, Stage.RELEASED, Stage.LOST}),
    Stage.FROZEN: frozenset({Stage.REFUNDING, Stage.RELEASED, Stage.LOST}),
    Stage.REFUNDING: frozenset({Stage.REFUNDED, Stage.FROZEN}),
    Stage.RELEASED: frozenset(),
    Stage.REFUNDED: frozenset(),
    Stage.LOST: frozenset(),
}
