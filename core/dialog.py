"""Dialog rules, pure: what was understood, what is known so far, and what to do next."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pydantic import JsonValue

    from core.messages import Reply

QUESTIONS_MAX = 3
"""How often the same thing is asked before the topic is dropped."""
PLAN_MAX = 5
"""How many requests of one message are carried out, one after the other."""
HISTORY_MAX = 8
"""How many finished actions a conversation remembers the slots of."""

Slots = Mapping[str, "JsonValue"]
By: TypeAlias = Literal["", "code", "words", "rule", "answer", "change", "guess"]
"""What an intent rests on: a code, words that can mean nothing else, a rule, an answer to what was asked, a change of
what was said, or the classifier's guess; empty where nobody says."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a parser understood: an action's name, slots (None takes a value back), a confidence from 0 to 1.

    `guessed` when no word of the message says so by itself, and only the whole of it makes it likely.
    """

    action: str
    slots: Slots
    confidence: float
    guessed: bool = False
    by: By = field(default="", compare=False)
    """What said so, for whoever asks why."""
    refers: str | None = None
    """The slot that takes the answer of the step before, in a plan: "find flights and e-mail them to Asha"."""
    asks: str | None = None
    """The slot whose question is asked again, and nothing done, where something else was asked for in the middle."""
    questions: int = field(default=0, compare=False)
    """How often that was asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Several requests of one message, in the order they are carried out."""

    steps: tuple["Intent | Reply", ...]


@dataclass(frozen=True, slots=True)
class DialogState:
    """What a conversation is in the middle of. It lives six hours; when it is gone we ask again and guess nothing.

    `action` and `slots` are the unfinished action; `asked` the slots just asked for; `offered` values just offered;
    `history` the slots of finished or left actions, newest last; `questions` how often that was asked; `then` what
    was asked for in the same message, and is carried out once the unfinished action is; `shown` what there was to pick
    below the last answer, `meant` what the person was asked whether they meant it.
    """

    action: str | None = None
    slots: Slots = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    offered: Slots = field(default_factory=dict)
    history: Mapping[str, Slots] = field(default_factory=dict)
    questions: int = 0
    then: tuple[Intent, ...] = ()
    shown: tuple[str, ...] = ()
    meant: Intent | None = None

    def merge(self, intent: Intent) -> "DialogState":
        """New over old: the same unfinished action keeps its slots, another action sets the old one aside."""
        kept: dict[str, JsonValue] = dict(self.slots) if intent.action == self.action else {}
        kept.update(intent.slots)
        slots = {name: value for name, value in kept.items() if value is not None}
        history = self.history if intent.action == self.action else self._aside()
        questions = self.questions if intent.action == self.action else intent.questions
        return DialogState(intent.action, slots, history=history, questions=questions)

    def ask(self, slot: str) -> "DialogState":
        """The state after asking for `slot`, once more, whose value so far (if any) was of no use."""
        slots = {name: value for name, value in self.slots.items() if name != slot}
        return replace(self, slots=slots, asked=(slot,), questions=self.questions + 1)

    def without(self, slots: Collection[str]) -> "DialogState":
        """The state that has forgotten the values of these slots."""
        return replace(self, slots={name: value for name, value in self.slots.items() if name not in slots})

    def before(self, steps: "Sequence[Intent]") -> "DialogState":
        """The state that goes on with these once what it is in the middle of is done."""
        return replace(self, then=tuple(steps))

    def showing(self, options: tuple[str, ...], meant: Intent | None = None) -> "DialogState":
        """The state after these were shown to pick from, or nothing was, and after they were asked what they meant."""
        return self if (self.shown, self.meant) == (options, meant) else replace(self, shown=options, meant=meant)

    def is_as(self, before: "DialogState") -> bool:
        """Whether nothing of it changed, nor what was done last: mappings are equal in any order."""
        return self == before and list(self.history) == list(before.history)

    def finish(self) -> "DialogState":
        """The state after the action ran, or was dropped: its slots are history, so a new request starts clean."""
        return DialogState(history=self._aside())

    def suggest(self, offers: tuple[str, Slots] | None) -> "DialogState":
        """The state in which a yes means this action with these slots, and all else is a request like any other."""
        return self if offers is None else replace(self, action=offers[0], offered=offers[1])

    def _aside(self) -> Mapping[str, Slots]:
        if self.action is None or (self.offered and not self.slots):
            # What was only offered beside something else is no request that was made.
            return self.history
        rest = [(name, slots) for name, slots in self.history.items() if name != self.action]
        return dict([*rest, (self.action, self.slots)][-HISTORY_MAX:])
