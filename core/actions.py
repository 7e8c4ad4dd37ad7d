"""An action is declared once, by a function: its parameters, its effect, its sentence. Everything else is derived.

    @action(effect=Effect.READ, cache_for=timedelta(minutes=10), examples=("weather in Nairobi tomorrow",))
    async def get_weather(ctx: ActionContext, params: GetWeather) -> ActionResult:
        '''Current weather and a short forecast for one place.'''

The docstring's first line is the summary people and models read. Who the person is comes from the context, never
from the parameters.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_type_hints
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr

from core import countries
from core.language import Saying, heard, spoken
from core.limits import CLASSES, Limits
from core.media import Fetch, no_files
from core.messages import TEXT_CHARS_MAX, Address, Part, Text, text_of

if TYPE_CHECKING:
    from core.db import Database
    from core.providers import Providers
    from core.settings import Settings

NAME = re.compile(r"[a-z]+(_[a-z]+)*")


class Effect(StrEnum):
    """What an action does to the world, which decides what must happen before it runs."""

    READ = "read"
    """Looks something up; runs at once."""
    WRITE = "write"
    """Changes the person's own things; runs when its slots are full."""
    SPEND = "spend"
    """Moves money; a person confirms the exact values first, every time."""


class Params(BaseModel):
    """Base of all action parameters: frozen, and closed to unknown fields.

    Every field has a description; one that people are asked for has a question, too:
    `json_schema_extra=ask("Which city?", "Mji gani?")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def ask(en: str, sw: str) -> dict[str, JsonValue]:
    """What a person is asked for a slot, in both languages: the `json_schema_extra` of its field."""
    return {"ask": en, "ask_sw": sw}


P = TypeVar("P", bound=Params)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is being served, as the store knows them."""

    id: UUID
    name: str | None
    language: str
    timezone: str | None
    """IANA zone the person stated, or that their number or browser makes likely; None where nothing does."""
    plan: str = "free"
    language_chosen: bool = False
    """Whether they said which language to speak; else it is the one they last wrote in."""
    currency: str | None = None
    """ISO 4217 code of the currency they said is theirs."""


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action may know: who is asking, where, when; and its hands: store, provider clients, settings."""

    person: Person
    conversation_id: UUID
    db: "Database"
    providers: "Providers"
    settings: "Settings"
    now: datetime
    idempotency_key: str
    """The same over every retry of this call: `turn:<id>:<step>` in a chat, `run:<id>:<step>` in a workflow."""
    sender: Address | None = None
    """Where the message came from; None in a workflow."""
    limits: Limits | None = None
    """What has been counted; None where nothing is, as in a workflow."""
    fetch: Fetch = no_files
    """Opens files that people sent."""
    confirmed: UUID | None = None
    """The confirmation by which the person has let it happen, where the action asks for one."""
    offered: frozenset[str] | None = None
    """The names of the actions there are here; None where nobody could ask for one, as in a workflow."""
    run: str | None = None
    """The id of the workflow's run whose step it is; None in a chat."""

    @property
    def zone(self) -> ZoneInfo:
        """The person's time zone, or the deployment's while nothing tells theirs."""
        return ZoneInfo(self.person.timezone or self.settings.default_timezone)

    @property
    def currency(self) -> str:
        """The currency meant where none is said: the person's own, that of their number's country, the deployment's."""
        return self.person.currency or self.likely_currency or self.settings.default_currency

    @property
    def likely_currency(self) -> str | None:
        """The currency of the country that the person's number is from; None where nothing tells."""
        return countries.CURRENCIES.get(countries.of_phone(self.sender.phone) or "") if self.sender else None

    def offers(self, action: str) -> bool:
        """Whether the person can be told of an action of another connector, which may have been removed."""
        return self.offered is not None and action in self.offered

    def say(self, saying: Saying, **values: Saying | str | int) -> str:
        """A saying in the person's language, with values for its {names}."""
        return (saying.filled(**values) if values else saying).to(self.person.language)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action found or did: the sentence for the person, data for workflows, parts to show, and its receipt."""

    text: str
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    """What is shown below the text."""
    instead: tuple[Part, ...] = ()
    """What a chat shows in place of the text, such as a card of the same facts."""
    offers: tuple[str, Mapping[str, JsonValue]] | None = None
    """What a yes to it does, where it asks for one: an action, and its slots."""

    @classmethod
    def of(cls, *parts: Part, data: Mapping[str, JsonValue]) -> "ActionResult":
        """Parts that say everything themselves; the text is their words."""
        return cls(text_of(parts), data, instead=parts)

    @property
    def said(self) -> tuple[Part, ...]:
        """All that a chat shows."""
        return (*(self.instead or (Text(text=self.text[:TEXT_CHARS_MAX]),)), *self.parts)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person is shown before they confirm it, and what is then done: that, and nothing looked up anew."""

    text: str
    params: Params
    by_pin: bool = False
    """Whether it is confirmed on the account page, by the person's PIN, and not by a code in the chat."""
    by_button: bool = False
    """Whether so little is at stake that a button below it, which has its code, is enough."""


@dataclass(frozen=True, slots=True)
class Action(Generic[P]):
    """One thing Mathia can do."""

    name: str
    summary: str
    effect: Effect
    params: type[P]
    run: Callable[[ActionContext, P], Awaitable[ActionResult]]
    cache_for: timedelta | None
    examples: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    """Parameters (SecretStr) that are kept nowhere: not in receipts, dialog states, nor in what was understood."""
    counts: tuple[str, ...] = ("calls",)
    """Names of the limits (core/limits.py) that a call in a chat is counted under."""
    shows: Callable[[ActionContext, Any], Awaitable[str | Shown]] | None = None
    """Says what it would do, for a person to confirm first (core/confirm.py); None for what is done at once."""
    own: bool = False
    """Reads what is the person's own here and asks nobody else; a model that has read words of strangers may still
    call it."""
    done: type[Params] | None = None
    """What `shows` freezes and `run` does, where that is more than what was asked for; None where it is the same."""
    by_mandate: Callable[[ActionContext, Any], Awaitable[ActionResult]] | None = None
    """Does it for a step of a workflow, within what the person has allowed that; None: no workflow does it."""

    @property
    def confirmed_params(self) -> type[Params]:
        """What is done once it is confirmed."""
        return self.done or self.params

    @property
    def slots(self) -> tuple[str, ...]:
        """Parameter names, in the order they are asked for."""
        return tuple(self.params.model_fields)

    @property
    def required(self) -> tuple[str, ...]:
        """Parameters without which the action cannot run, in the order they are asked for."""
        return tuple(name for name, info in self.params.model_fields.items() if info.is_required())

    def example(self, language: str) -> str:
        """Something to say for it in a language; where there is nothing in that, in another."""
        return next((one for one in self.examples if (heard(one) or "en") == spoken(language)), self.examples[0])

    def question(self, slot: str) -> Saying:
        """What to ask a person for this slot."""
        both = _asked(self.params, slot)
        name = slot.replace("_", " ")
        return Saying(*both) if both else Saying(f"What {name}?", f"{name.capitalize()}: iwe nini?")


def action(
    *,
    effect: Effect,
    cache_for: timedelta | None = None,
    examples: tuple[str, ...] = (),
    counts: tuple[str, ...] = ("calls",),
    shows: Callable[[ActionContext, Any], Awaitable[str | Shown]] | None = None,
    own: bool = False,
    asks: type[Params] | None = None,
) -> Callable[[Callable[[ActionContext, P], Awaitable[ActionResult]]], Action[P]]:
    """Declare an action from a function `(ctx, params) -> ActionResult`; its name is the function's.

    `asks` are the parameters that are asked for where the function takes what `shows` makes of them (`Shown.params`).

    Raises TypeError for a declaration that could not be offered: no summary, a bad name, an undescribed parameter,
    a question in one language only, a cache on something other than a READ, a limit that does not exist, a READ that
    is confirmed, something other than a READ that is `own`.
    """

    def declare(function: Callable[[ActionContext, P], Awaitable[ActionResult]]) -> Action[P]:
        name = getattr(function, "__name__", "")
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        taken: Any = get_type_hints(function).get("params")
        params: Any = asks or taken
        if not NAME.fullmatch(name):
            raise TypeError(f"action {name!r}: names are lower-case words joined by _")
        if not summary:
            raise TypeError(f"action {name!r}: the docstring's first line is its summary")
        if not all(isinstance(one, type) and issubclass(one, Params) for one in (params, taken)):
            raise TypeError(f"action {name!r}: params must be annotated with a Params class")
        undescribed = [slot for slot, info in params.model_fields.items() if not info.description]
        if undescribed:
            raise TypeError(f"action {name!r}: no description for {', '.join(undescribed)}")
        halves = [slot for slot in params.model_fields if (both := _asked(params, slot)) and not all(both)]
        if halves:
            raise TypeError(f"action {name!r}: ask and ask_sw go together, for {', '.join(halves)}")
        if cache_for is not None and effect is not Effect.READ:
            raise TypeError(f"action {name!r}: only READ actions may be cached")
        if not set(counts) <= set(CLASSES):
            raise TypeError(f"action {name!r}: counts are among {', '.join(CLASSES)}")
        secrets = tuple(slot for slot, info in params.model_fields.items() if SecretStr in _types(info.annotation))
        if shows is not None and (effect is Effect.READ or secrets):
            raise TypeError(f"action {name!r}: what is confirmed changes something, and keeps no secrets")
        if own and (effect is not Effect.READ or cache_for is not None):
            raise TypeError(f"action {name!r}: only READ actions that are not cached may be own")
        if asks is not None and shows is None:
            raise TypeError(f"action {name!r}: what is asked for is what is done, where nothing is shown before")
        chosen = cast("type[P]", params)
        done = taken if asks is not None else None
        return Action(name, summary, effect, chosen, function, cache_for, examples, secrets, counts, shows, own, done)

    return declare


def _asked(params: type[Params], slot: str) -> tuple[str, str] | None:
    """The question for a slot in both languages, either empty where it is not there; None where both are."""
    extra = params.model_fields[slot].json_schema_extra
    both = (str(extra.get("ask", "")), str(extra.get("ask_sw", ""))) if isinstance(extra, dict) else ("", "")
    return both if any(both) else None


def _types(annotation: Any) -> tuple[Any, ...]:
    """A type, and those it is a union of."""
    return (annotation, *get_args(annotation))


@dataclass(frozen=True, slots=True)
class Connector:
    """One third party or skill: its actions, and the settings without which it is off."""

    name: str
    title: Saying
    actions: tuple[Action[Any], ...]
    requires: tuple[str, ...] = ()
    """Settings that must not be empty; any one missing turns the connector off, and help says so."""
    asks: "Callable[[Settings], str] | None" = None
    """The address of the third party that its answers come from; None for what is done here."""
    private: bool = False
    """Whether it is about what is told to one person alone: help does not name it where others read along."""
