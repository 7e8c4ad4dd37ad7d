"""A turn: what was waiting in a conversation, and all that answering it needs and leads to.

It is claimed and closed by core/turn_store.py, and answered with no transaction open: core/turn_answer.py answers its
messages, core/turn_llm.py has language models do so, core/turn_steps.py takes the steps of what was understood, and
core/turn_calls.py shows or runs one action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import JsonValue

from core import voice
from core.actions import Person
from core.cache import ResultCache
from core.catalog import Catalog
from core.db import Database
from core.dialog import DialogState
from core.language import heard
from core.limits import Limits
from core.media import Fetch, no_files
from core.messages import Address, ChannelName, Drafter, InboundMessage, Reply
from core.providers import Providers
from core.settings import Settings

if TYPE_CHECKING:
    from core.brain import Brain
    from core.brain.chain import Models

ATTEMPTS_MAX = 5
"""After this many failed attempts a turn is dead, and the person is told so once."""
TURN_S_MAX = 120.0
"""The runner stops a turn that takes longer, within a third of a lease."""
MESSAGES_MAX = 100
"""How many messages one turn reads; a person who sent more at once is answered on the newest."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One claimed turn. `messages` are all it answers, oldest first; `person` is who wrote the newest.

    In a group, `people` are who wrote each message.
    """

    id: int
    attempt: int
    conversation_id: UUID
    address: Address
    person: Person
    messages: tuple[InboundMessage, ...]
    state: DialogState
    now: datetime
    people: tuple[Person, ...] = ()
    """Who wrote each message, in a room where several people did; empty where `person` wrote all."""
    others: Mapping[UUID, DialogState] = field(default_factory=dict)
    """The dialog states of the other people, by their ids; `state` is that of `person`."""
    deleted: frozenset[int] = frozenset()
    """Which of the messages, counted from 1, were deleted before they were answered."""
    written: int = 1
    """How many of the messages that waited `person` wrote."""
    held: Literal["quota", "muted"] | None = None
    """Why it is not answered; its messages stay unread by the brain."""
    notice: str | None = None
    """What is said besides, or instead of, an answer."""
    unheard: Mapping[str, voice.Problem] = field(default_factory=dict)
    """Why voice notes have no words, by the event ids of their messages."""

    @property
    def text(self) -> str:
        """What was written in all messages, one a line."""
        return "\n".join(message.text for message in self.messages if message.text)


@dataclass(frozen=True, slots=True)
class Closing:
    """How a turn ended: its reply (None says nothing), the dialog state after it, and what was understood."""

    turn: Turn
    reply: Reply | None
    state: DialogState
    understood: Sequence[Mapping[str, JsonValue]] = ()
    others: Mapping[UUID, DialogState] = field(default_factory=dict)
    """The states of the other people who wrote, by their ids."""
    languages: Mapping[UUID, str] = field(default_factory=dict)
    """The language of whoever wrote in another one than before, by their ids."""


@dataclass(frozen=True, slots=True)
class TurnDeps:
    """What answering needs: the brain, the actions, and their hands."""

    brain: "Brain"
    catalog: Catalog
    providers: Providers
    cache: ResultCache
    db: Database
    settings: Settings
    limits: Limits
    fetch: Fetch = no_files
    models: "Models | None" = None
    """Language models that are asked first; what they do not answer, `brain` does."""
    drafts: Mapping[ChannelName, Drafter] = field(default_factory=dict)
    """Where an answer can be seen while it is being made."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one message, or one step of its plan, led to.

    What comes behind a step in a plan waits for one that `waits`, and is not done after one that `failed`.
    """

    reply: Reply
    state: DialogState
    understood: Mapping[str, JsonValue]
    is_question: bool = False
    """Whether it ends with a question, which is of no use once a later message of the same turn was understood."""
    waits: bool = False
    failed: bool = False
    shown: bool = False
    """Whether it ends with something to be confirmed, of which the newest alone is of use."""
    before: Reply | None = None
    """What of the reply comes before that question, or before what is to be confirmed."""


def speaking(person: Person, text: str) -> Person:
    """The person, spoken with in the language of what they wrote, unless that does not tell, or they chose one."""
    language = None if person.language_chosen else heard(text)
    return person if language in (None, person.language) else replace(person, language=language)
