"""The catalog: every action this deployment offers, and what is derived from an action's declaration.

Slots are validated here and nowhere else; so are the questions people are asked and the tools models are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from core.actions import Action, Connector, Effect, Params
from core.dialog import DialogState, Intent
from core.errors import Unusable
from core.language import Saying
from core.settings import Settings

SHOWN_CHARS_MAX = 40
"""How much of a value that cannot be used is shown back."""

HELP = Saying("Here is what I can do. You could say:", "Haya ndiyo ninayoweza kufanya. Unaweza kusema:")
NOTHING = Saying("There is nothing I can do just now.", "Kwa sasa hakuna ninachoweza kufanya.")
UNKEPT = Saying("That contains a character I cannot keep.", "Kuna herufi humo nisiyoweza kuihifadhi.")
TOO_LONG = Saying("That is too long: {most} characters at most.", "Ni ndefu mno: isizidi herufi {most}.")
WRONG = Saying("{shown} will not do.", "{shown} haifai.")
ONE_OF = Saying("{shown} will not do; it can be {some}.", "{shown} haifai; inaweza kuwa {some}.")
BEYOND = Saying("{shown} will not do: it must be {bound}.", "{shown} haifai: lazima {bound}.")
BOUNDS = {
    "greater_than": ("gt", Saying("more than {limit}", "izidi {limit}")),
    "greater_than_equal": ("ge", Saying("at least {limit}", "iwe angalau {limit}")),
    "less_than": ("lt", Saying("less than {limit}", "iwe chini ya {limit}")),
    "less_than_equal": ("le", Saying("at most {limit}", "isizidi {limit}")),
}
"""What pydantic calls being out of bounds, where its limit is, and how that is said."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A slot that is missing or cannot be used, and what to ask the person."""

    slot: str
    question: Saying


class Catalog:
    """The actions of all connectors that are on. Raises ValueError for a set that could not be served."""

    def __init__(self, connectors: Sequence[Connector], settings: Settings, *, confirms: bool = False) -> None:
        """`confirms` says that whoever runs the actions has the exact values confirmed before money moves;
        else what moves money is not offered."""
        self._connectors: dict[str, Connector] = {}
        self._actions: dict[str, Action[Any]] = {}
        self.off: dict[str, tuple[str, ...]] = {}
        """Names of the connectors that are off, with the settings each one lacks; for staff."""
        self.on: tuple[Connector, ...] = ()
        """The connectors that are on, in the order given, which is the order they are shown in."""
        seen: set[str] = set()
        for connector in connectors:
            missing = tuple(name for name in connector.requires if not _is_set(settings, name))
            if missing:
                self.off[connector.name] = missing
            else:
                self.on += (connector,)
            for action in connector.actions:
                if action.name in seen:
                    raise ValueError(f"two actions are called {action.name}")
                seen.add(action.name)
                if not missing and (confirms or action.effect is not Effect.SPEND):
                    self._actions[action.name] = action
                    self._connectors[action.name] = connector
        self.offered: tuple[Action[Any], ...] = tuple(self._actions[name] for name in sorted(self._actions))
        """Every action that can be run now, by name: a stable order keeps prompts cacheable."""
        self.names = frozenset(self._actions)
        """Their names."""
        self.spending = frozenset(one.name for one in self.offered if one.effect is Effect.SPEND)
        """Names of those that move money."""

    def __getitem__(self, name: str) -> Action[Any]:
        """The offered action `name`; KeyError when there is none."""
        return self._actions[name]

    def __contains__(self, name: object) -> bool:
        """Whether the action `name` is offered."""
        return name in self._actions

    def connector_of(self, name: str) -> Connector:
        """The connector that offers the action `name`; KeyError when none does."""
        return self._connectors[name]

    def validate(self, action: Action[Any], slots: Mapping[str, JsonValue]) -> Params | Problem:
        """The action's parameters, or the first slot (in the order of asking) that needs an answer.

        Slots the action does not have are left out: a model may invent them, and no person could correct them.
        """
        given = {slot: slots[slot] for slot in action.slots if slots.get(slot) not in (None, "")}
        for slot, value in given.items():
            if isinstance(value, str) and "\0" in value:
                return Problem(slot, Saying.joined(" ", UNKEPT, action.question(slot)))
        try:
            params: Params = action.params.model_validate(given)
        except ValidationError as error:
            wrong: dict[str, ErrorDetails] = {}
            for detail in error.errors(include_url=False):
                wrong.setdefault(str(detail["loc"][0]) if detail["loc"] else action.slots[0], detail)
            slot = next(slot for slot in action.slots if slot in wrong)
            return Problem(slot, _question(action, slot, wrong[slot]))
        return params

    def taken_up(self, intent: Intent, state: DialogState) -> tuple[Action[Any], DialogState, Params | Problem]:
        """An intent in its dialog: the action, the state that is then in the middle of it, without what is kept
        nowhere, and its parameters or what has to be asked first."""
        action, merged = self[intent.action], state.merge(intent)
        params: Params | Problem
        if intent.asks is not None:
            params = Problem(intent.asks, action.question(intent.asks))
        else:
            params = self.validate(action, merged.slots)
        return action, merged.without(action.secrets) if action.secrets else merged, params

    def chars_max(self, action: Action[Any], slot: str) -> int | None:
        """How many characters a slot of words holds at most; None where there is no limit."""
        told = action.params.model_fields[slot].metadata
        return next((most for one in told if (most := getattr(one, "max_length", None)) is not None), None)

    def help_text(self, language: str, offered: Sequence[Action[Any]] | None = None) -> str:
        """What can be done now, a line for each connector with something to say to it; in a language."""
        examples: dict[str, str] = {}
        for action in self.offered if offered is None else offered:
            if action.examples:
                examples.setdefault(self.connector_of(action.name).title.to(language), action.example(language))
        if not examples:
            return NOTHING.to(language)
        lines = (f"{title}: “{example}”" for title, example in sorted(examples.items()))
        return "\n".join((HELP.to(language), *lines))


def llm_tool(action: Action[Any]) -> dict[str, Any]:
    """The action as a tool of a language model: name, description, JSON Schema of its parameters."""
    return {"name": action.name, "description": action.summary, "input_schema": _schema(action)}


def action_doc(action: Action[Any]) -> str:
    """The action as a section of documentation, in Markdown."""
    schema = _schema(action)
    lines = [f"### `{action.name}`", "", action.summary, "", _conduct(action), ""]
    if schema["properties"]:
        lines += ["| parameter | needed | what it is |", "|---|---|---|"]
        for name, described in schema["properties"].items():
            needed = "yes" if name in action.required else "no"
            lines.append(f"| `{name}` | {needed} | {_described(described)} |")
        lines.append("")
    if action.examples:
        lines += [*(f"- “{example}”" for example in action.examples), ""]
    return "\n".join(lines)


def _is_set(settings: Settings, name: str) -> bool:
    value = getattr(settings, name)
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _conduct(action: Action[Any]) -> str:
    match action.effect:
        case Effect.READ if action.cache_for is not None:
            return f"Reads only; answers are kept for {action.cache_for.total_seconds() / 60:.0f} minutes."
        case Effect.READ:
            return "Reads only."
        case Effect.WRITE if action.shows is not None:
            return "Changes the person's own things; they confirm it first, by a code, in private."
        case Effect.WRITE:
            return "Changes the person's own things."
        case Effect.SPEND if action.by_mandate is not None:
            return (
                "Moves money; a person confirms the exact values first. A workflow does it within a standing mandate."
            )
        case Effect.SPEND:
            return "Moves money; a person confirms the exact values first."


def _described(described: Mapping[str, Any]) -> str:
    """One parameter's cell: its description, what it may be, and what it is when it is left out."""
    kinds = [described, *described.get("anyOf", ())]
    values = next((kind["enum"] for kind in kinds if "enum" in kind), None)
    text = str(described["description"])
    if values:
        text += f"; one of {', '.join(map(str, values))}"
    if described.get("default") is not None:
        text += f"; {described['default']} where left out"
    return text.replace("|", "\\|")


def _schema(action: Action[Any]) -> dict[str, Any]:
    """The JSON Schema of the parameters, without what is of no use to a reader of it."""
    schema: dict[str, Any] = _without(action.params.model_json_schema(), ("title", "ask", "ask_sw"))
    schema.pop("description", None)
    schema.setdefault("properties", {})
    return schema


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    """A schema without the annotations `keys`; a parameter of such a name stays."""
    if isinstance(value, list):
        return [_without(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if key == "properties":
            kept[key] = {name: _without(described, keys) for name, described in item.items()}
        elif key not in keys:
            kept[key] = _without(item, keys)
    return kept


def _question(action: Action[Any], slot: str, detail: ErrorDetails) -> Saying:
    """What to ask: the plain question for a value that is not there, else first why the value will not do."""
    question = action.question(slot)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing" | "string_too_short":
            return question
        case "string_too_long":
            why = TOO_LONG.filled(most=context["max_length"])
        case "literal_error" | "enum":
            some = context["expected"]
            why = ONE_OF.filled(shown=_shown(detail), some=Saying(some, some.replace(" or ", " au ")))
        case kind if kind in BOUNDS:
            where, bound = BOUNDS[kind]
            why = BEYOND.filled(shown=_shown(detail), bound=bound.filled(limit=context[where]))
        case "value_error" if isinstance(context["error"], Unusable):
            why = context["error"].says
        case _:
            why = WRONG.filled(shown=_shown(detail))
    return Saying.joined(" ", why, question)


def _shown(detail: ErrorDetails) -> str:
    """The value a person gave, short and on one line."""
    value = " ".join(str(detail["input"]).split())
    return f"“{value[:SHOWN_CHARS_MAX]}{'…' if len(value) > SHOWN_CHARS_MAX else ''}”"
