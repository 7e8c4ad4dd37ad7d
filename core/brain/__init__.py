"""What understands people: one interface for the rules here and for language models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from core.actions import Action, Person
    from core.dialog import DialogState, Intent, Plan
    from core.messages import InboundMessage, Reply


class Asked(Protocol):
    """What a brain is told of a turn: what was written, by whom, when, and what went before."""

    @property
    def text(self) -> str:
        """What was written in all waiting messages, one a line."""

    @property
    def messages(self) -> "tuple[InboundMessage, ...]":
        """The messages themselves, oldest first."""

    @property
    def person(self) -> "Person":
        """Who wrote the newest."""

    @property
    def state(self) -> "DialogState":
        """What the conversation is in the middle of."""

    @property
    def now(self) -> "datetime":
        """The moment, aware, in UTC."""


class Brain(Protocol):
    """Reads a turn and says what the person wants; it runs nothing itself and can claim nothing to be done."""

    async def think(self, turn: Asked, offered: "Sequence[Action[Any]]") -> "Intent | Reply | Plan":
        """An intent to call one of the `offered` actions, several in a plan, or words to answer with when none is
        wanted.

        A `replies.Dropped` is a reply after which the unfinished action is over.
        """
        ...
