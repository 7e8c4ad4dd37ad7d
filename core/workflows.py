"""What a workflow is: its steps, conditions and texts, all plain data. Pure: no clock, no store, no expressions.

    {"steps": [
      {"id": "w", "kind": "action", "action": "get_weather", "params": {"city": "{trigger.city}"}, "say": false},
      {"id": "c", "kind": "condition",
       "if": {"op": "gt", "left": {"var": "steps.w.rain_mm"}, "right": {"value": 1}},
       "then": [{"id": "tell", "kind": "say", "text": "Take an umbrella: {steps.w.text}"}]}]}

Rules of a condition, so that it always has an answer:
- a variable that is not there is null;
- numbers compare with numbers, texts with texts, booleans with booleans, null with null; values of unlike kinds,
  lists and objects are equal to nothing and in no order (`eq`, `lt`, `le`, `gt`, `ge` are false), and `ne` is
  exactly not `eq`;
- `contains`: a list holds the value, or a text holds the text; `in` is `contains` the other way round.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from core.errors import UserError

STEPS_MAX = 20
"""Most steps in one workflow, those in branches and in `on_error` counted."""
BRANCH_DEPTH_MAX = 4
"""How deep condition steps may stand in one another."""
WAIT_MAX = timedelta(days=30)
APPROVAL_DEFAULT = timedelta(days=1)
CONDITION_DEPTH_MAX = 8
CONDITION_NODES_MAX = 64
LIST_MAX = 64
"""Most items in a list value."""
TEXT_CHARS_MAX = 4_096
"""Longest text in a definition or a trigger, and longest text a template becomes."""
VALUE_CHARS_MAX = 1_000
"""How much of one variable a template shows."""
JSON_DEPTH_MAX = 24
JSON_NODES_MAX = 4_096
INT_MAX = 2**63 - 1

VARIABLE_CHARS_MAX = 256
SEGMENT = r"[A-Za-z][A-Za-z0-9_]{0,63}"
VARIABLE = rf"(?:trigger|steps|error)(?:\.{SEGMENT}){{1,7}}"
_NAME = re.compile(rf"\{{({VARIABLE})\}}")
_LOOKS_LIKE_A_NAME = re.compile(r"\{\s*[\w.\[\]()!:'\"]+\s*\}")

Scope: TypeAlias = Mapping[str, JsonValue]
"""What variables name: `trigger`, `steps` (by id) and, in `on_error` steps, `error`."""


class InvalidWorkflow(UserError):
    """A definition, trigger or cron line that cannot be used; the message says where and why."""


class Model(BaseModel):
    """Frozen, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False, hide_input_in_errors=True)


def _variable(name: str) -> str:
    if len(name) > VARIABLE_CHARS_MAX or not re.fullmatch(VARIABLE, name):
        raise ValueError("a variable is trigger.FIELD, steps.STEP_ID.FIELD or error.message")
    return name


def _step_id(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", text):
        raise ValueError("a step's id is up to 32 of a-z, 0-9 and _, and starts with a letter")
    return text


StepId = Annotated[str, AfterValidator(_step_id)]
Template = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_CHARS_MAX)]
Scalar: TypeAlias = (
    StrictBool
    | Annotated[StrictInt, Field(ge=-INT_MAX, le=INT_MAX)]
    | Annotated[StrictFloat, Field(allow_inf_nan=False)]
    | Annotated[StrictStr, Field(max_length=TEXT_CHARS_MAX)]
    | None
)


class Var(Model):
    """A variable: trigger.FIELD, steps.STEP_ID.FIELD, or error.message in `on_error` steps."""

    var: Annotated[str, AfterValidator(_variable)]


class Value(Model):
    """A value written down."""

    value: Scalar | Annotated[tuple[Scalar, ...], Field(max_length=LIST_MAX)]


def _operand(raw: Any) -> str:
    return "var" if isinstance(raw, Var) or (isinstance(raw, dict) and "var" in raw) else "value"


Operand = Annotated[Annotated[Var, Tag("var")] | Annotated[Value, Tag("value")], Discriminator(_operand)]


class Compare(Model):
    """Two operands, compared."""

    op: Literal["eq", "ne", "lt", "le", "gt", "ge", "in", "contains"]
    left: Operand
    right: Operand


class Combine(Model):
    """All of the conditions, or at least one of them."""

    op: Literal["and", "or"]
    args: Annotated[tuple["Condition", ...], Field(min_length=1, max_length=CONDITION_NODES_MAX)]


class Negate(Model):
    """The opposite of its one condition."""

    op: Literal["not"]
    args: tuple["Condition"]


Condition = Annotated[Compare | Combine | Negate, Field(discriminator="op")]


class ActionStep(Model):
    """Run one action of the catalog; texts in `params` are templates. Its result is said unless `say` is false."""

    id: StepId
    kind: Literal["action"]
    action: Annotated[str, StringConstraints(pattern=r"^[a-z]+(_[a-z]+)*$", max_length=64)]
    params: dict[str, JsonValue] = Field(default_factory=dict)
    say: bool = True
    on_error: Literal["fail", "continue"] = "fail"


class SayStep(Model):
    """Say a text in the workflow's conversation."""

    id: StepId
    kind: Literal["say"]
    text: Template


class WaitStep(Model):
    """Wait for a time, or until an instant; at most WAIT_MAX. An instant that is past is no wait."""

    id: StepId
    kind: Literal["wait"]
    seconds: Annotated[int, Field(ge=1, le=int(WAIT_MAX.total_seconds()))] | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "WaitStep":
        if (self.seconds is None) == (self.until is None):
            raise ValueError("a wait has either seconds or until")
        return self


class ConditionStep(Model):
    """Go one way or the other."""

    id: StepId
    kind: Literal["condition"]
    condition: Condition = Field(alias="if")
    then: tuple["Step", ...] = ()
    otherwise: tuple["Step", ...] = Field(default=(), alias="else")

    @field_validator("condition")
    @classmethod
    def _small(cls, condition: Condition) -> Condition:
        for nodes, (_, depth) in enumerate(_condition_nodes(condition), 1):
            if depth > CONDITION_DEPTH_MAX:
                raise ValueError(f"the condition is nested deeper than {CONDITION_DEPTH_MAX}")
            if nodes > CONDITION_NODES_MAX:
                raise ValueError(f"the condition has more than {CONDITION_NODES_MAX} nodes")
        return condition

    @model_validator(mode="after")
    def _goes_somewhere(self) -> "ConditionStep":
        if not self.then and not self.otherwise:
            raise ValueError("a condition needs steps in then or in else")
        return self


class ApprovalStep(Model):
    """Ask in the conversation and wait for a yes; a no, or no answer in time, is an error of this step."""

    id: StepId
    kind: Literal["approval"]
    text: Template
    timeout_s: int = Field(default=int(APPROVAL_DEFAULT.total_seconds()), ge=1, le=int(WAIT_MAX.total_seconds()))
    on_error: Literal["fail", "continue"] = "fail"


Step = Annotated[ActionStep | SayStep | WaitStep | ConditionStep | ApprovalStep, Field(discriminator="kind")]


class WorkflowSpec(Model):
    """The steps of a workflow, and those that run once when one of them fails."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_MAX)]
    on_error: Annotated[tuple[Step, ...], Field(max_length=STEPS_MAX)] = ()

    @model_validator(mode="after")
    def _whole(self) -> "WorkflowSpec":
        seen: set[str] = set()
        for step, depth in walk((*self.steps, *self.on_error)):
            if step.id in seen:
                raise ValueError(f"two steps are called {step.id}: ids are unique in a workflow")
            seen.add(step.id)
            if len(seen) > STEPS_MAX:
                raise ValueError(f"more than {STEPS_MAX} steps, those in branches counted")
            if depth > BRANCH_DEPTH_MAX:
                raise ValueError(f"conditions stand in one another deeper than {BRANCH_DEPTH_MAX}")
        rescue = {step.id for step, _ in walk(self.on_error)}
        for step, _ in walk((*self.steps, *self.on_error)):
            for name in _names(step):
                root, _, rest = name.partition(".")
                if root == "error" and step.id not in rescue:
                    raise ValueError(f"step {step.id}: {name} exists only in on_error steps")
                if root == "steps" and rest.partition(".")[0] not in seen:
                    raise ValueError(f"step {step.id}: {name} names no step of this workflow")
                if root == "steps" and "." not in rest:
                    raise ValueError(f"step {step.id}: {name} lacks a field, as in {name}.text")
        return self


class WorkflowDraft(WorkflowSpec):
    """A definition as a person hands it in: the spec, its name, and when it starts by itself."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f]{1,80}$")]
    cron: str | None = None
    timezone: str | None = None

    @model_validator(mode="after")
    def _known_times(self) -> "WorkflowDraft":
        if self.cron is not None:
            check_cron(self.cron)
        if self.timezone is not None and self.timezone not in available_timezones():
            raise ValueError("timezone: not an IANA time zone, such as Africa/Nairobi")
        return self

    @property
    def spec(self) -> WorkflowSpec:
        """The part that runs."""
        return WorkflowSpec(steps=self.steps, on_error=self.on_error)


def parse_spec(raw: object) -> WorkflowSpec:
    """A stored or handed-in spec; raises InvalidWorkflow."""
    return _parse(WorkflowSpec, raw)


def parse_draft(raw: object) -> WorkflowDraft:
    """A definition with its name and cron; raises InvalidWorkflow."""
    return _parse(WorkflowDraft, raw)


def parse_trigger(raw: object) -> dict[str, JsonValue]:
    """What starts a run, as variables `trigger.…`: a JSON object of bounded size; raises InvalidWorkflow."""
    _check_size(raw, "the trigger")
    if not isinstance(raw, dict):
        raise InvalidWorkflow('The trigger is a JSON object, such as {"amount": 500}.')
    return raw


def dump_spec(spec: WorkflowSpec) -> dict[str, Any]:
    """The spec as JSON values; `parse_spec` reads it back equal."""
    return WorkflowSpec.model_dump(spec, mode="json", by_alias=True, include={"steps", "on_error"})


def walk(steps: Sequence[Step], depth: int = 1) -> Iterator[tuple[Step, int]]:
    """Every step, in reading order, with how deep it stands (1 = top)."""
    for step in steps:
        yield step, depth
        if isinstance(step, ConditionStep):
            yield from walk((*step.then, *step.otherwise), depth + 1)


def evaluate(condition: Condition, scope: Scope) -> bool:
    """Whether the condition holds; never raises (the module's docstring has the rules)."""
    match condition:
        case Compare(op=op, left=left, right=right):
            return _compare(op, _resolve(left, scope), _resolve(right, scope))
        case Combine(op="and", args=args):
            return all(evaluate(arg, scope) for arg in args)
        case Combine(args=args):
            return any(evaluate(arg, scope) for arg in args)
        case Negate(args=(arg,)):
            return not evaluate(arg, scope)


def look_up(name: str, scope: Scope) -> JsonValue:
    """The variable's value, or None where any part of the path is missing. Reads keys only, never attributes."""
    value: Any = scope
    for segment in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(segment)
    return value  # type: ignore[no-any-return]


def render(template: str, scope: Scope) -> str:
    """The text with each {name} replaced by its value, once: values are never read as templates."""
    text = _NAME.sub(lambda found: _shown(look_up(found[1], scope))[:VALUE_CHARS_MAX], template)
    return text[:TEXT_CHARS_MAX]


def render_params(params: Mapping[str, JsonValue], scope: Scope) -> dict[str, JsonValue]:
    """Parameters with every text in them rendered; keys stay as they are."""
    return {name: _render_value(value, scope) for name, value in params.items()}


def check_cron(line: str) -> None:
    """Raise InvalidWorkflow unless `line` is five cron fields: minute hour day month weekday.

    A field holds numbers, names (JAN, MON), ranges, lists and steps; Sunday is 0 or 7. No @words, no seconds.
    """
    fields = line.split(" ")
    if len(fields) != len(_CRON_FIELDS) or len(line) > 120:
        raise InvalidWorkflow("A cron line has five fields, one space apart: minute hour day month weekday.")
    for text, (title, low, high, names) in zip(fields, _CRON_FIELDS, strict=True):
        for item in text.split(","):
            _check_cron_item(item, title, low, high, names)


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_CRON_ITEM = re.compile(
    r"(?:(?P<all>\*)|(?P<low>[0-9]{1,2}|[A-Z]{3})(?:-(?P<high>[0-9]{1,2}|[A-Z]{3}))?)(?:/(?P<step>[0-9]{1,2}))?"
)


def _check_cron_item(item: str, title: str, low: int, high: int, names: Mapping[str, int]) -> None:
    found = _CRON_ITEM.fullmatch(item.upper())
    if found is None:
        raise InvalidWorkflow(f"Cron: {item[:20]!r} is no {title}.")
    ends = [found["low"], found["high"]]
    numbers = [names.get(end, -1) if end.isalpha() else int(end) for end in ends if end]
    if any(not low <= number <= high for number in numbers):
        raise InvalidWorkflow(f"Cron: {item[:20]!r} is no {title}: it goes from {low} to {high}.")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise InvalidWorkflow(f"Cron: the {title} range {item[:20]!r} runs backwards.")
    if found["step"] is not None and (int(found["step"]) == 0 or (not found["all"] and not found["high"])):
        raise InvalidWorkflow(f"Cron: the step in {item[:20]!r} needs a range or *, and is at least 1.")


M = TypeVar("M", bound=Model)


def _parse(kind: type[M], raw: object) -> M:
    _check_size(raw, "the workflow")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")[:300]
        raise InvalidWorkflow(f"{where}: {what}" if where else what) from None


def _check_size(raw: object, what: str) -> None:
    """Refuse what is no JSON, or too big or deep; walks without recursion, so that nothing handed in can hurt it."""
    nodes = 0
    left: list[tuple[object, int]] = [(raw, 1)]
    while left:
        value, depth = left.pop()
        nodes += 1
        if nodes > JSON_NODES_MAX or depth > JSON_DEPTH_MAX:
            limits = f"at most {JSON_NODES_MAX} values, {JSON_DEPTH_MAX} deep"
            raise InvalidWorkflow(f"{what.capitalize()} is too big: {limits}.")
        match value:
            case None | bool():
                pass
            case str():
                _check_text(value, what)
            case int():
                if not -INT_MAX <= value <= INT_MAX:
                    raise InvalidWorkflow(f"A number in {what} is too large: at most {INT_MAX}.")
            case float():
                if not math.isfinite(value):
                    raise InvalidWorkflow(f"A number in {what} is not finite.")
            case list() | tuple():
                if len(value) > JSON_NODES_MAX:
                    raise InvalidWorkflow(f"A list in {what} has more than {JSON_NODES_MAX} items.")
                left.extend((item, depth + 1) for item in value)
            case dict():
                if len(value) > JSON_NODES_MAX:
                    raise InvalidWorkflow(f"An object in {what} has more than {JSON_NODES_MAX} fields.")
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise InvalidWorkflow(f"A field's name in {what} is not a text.")
                    _check_text(key, what)
                    left.append((item, depth + 1))
            case _:
                raise InvalidWorkflow(f"A value in {what} is not JSON.")


def _check_text(text: str, what: str) -> None:
    if len(text) > TEXT_CHARS_MAX:
        raise InvalidWorkflow(f"A text in {what} is longer than {TEXT_CHARS_MAX} characters.")
    if "\0" in text or not _is_unicode(text):
        raise InvalidWorkflow(f"A text in {what} holds characters that cannot be stored.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _condition_nodes(condition: Condition) -> Iterator[tuple[Condition | Operand, int]]:
    left: list[tuple[Condition | Operand, int]] = [(condition, 1)]
    while left:
        node, depth = left.pop()
        yield node, depth
        if isinstance(node, Compare):
            left += [(node.left, depth), (node.right, depth)]
        elif isinstance(node, Combine | Negate):
            left += [(arg, depth + 1) for arg in node.args]


def _names(step: Step) -> Iterator[str]:
    """Every variable the step names; raises ValueError for {braces} that look like one and are none."""
    match step:
        case ConditionStep():
            yield from (node.var for node, _ in _condition_nodes(step.condition) if isinstance(node, Var))
        case SayStep(text=text) | ApprovalStep(text=text):
            yield from _template_names(step.id, text)
        case ActionStep(params=params):
            for text in _texts(params):
                yield from _template_names(step.id, text)


def _template_names(step_id: str, text: str) -> Iterator[str]:
    for found in _LOOKS_LIKE_A_NAME.finditer(text):
        name = _NAME.fullmatch(found[0])
        if name is None:
            raise ValueError(
                f"step {step_id}: {found[0][:40]} is no variable; write {{trigger.FIELD}} or {{steps.ID.text}}"
            )
        yield name[1]


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _resolve(operand: Var | Value, scope: Scope) -> Any:
    return look_up(operand.var, scope) if isinstance(operand, Var) else operand.value


def _kind(value: Any) -> str | None:
    """The kind a value is compared within; None for what compares with nothing."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
    return None


def _equal(left: Any, right: Any) -> bool:
    kind = _kind(left)
    return kind is not None and kind == _kind(right) and bool(left == right)


def _holds(whole: Any, part: Any) -> bool:
    if isinstance(whole, list | tuple):
        return any(_equal(item, part) for item in whole)
    return isinstance(whole, str) and isinstance(part, str) and part in whole


def _compare(op: str, left: Any, right: Any) -> bool:
    match op:
        case "eq":
            return _equal(left, right)
        case "ne":
            return not _equal(left, right)
        case "contains":
            return _holds(left, right)
        case "in":
            return _holds(right, left)
    if _kind(left) not in ("number", "text") or _kind(left) != _kind(right):
        return False
    match op:
        case "lt":
            return bool(left < right)
        case "le":
            return bool(left <= right)
        case "gt":
            return bool(left > right)
    return bool(left >= right)


def _shown(value: JsonValue) -> str:
    match value:
        case None | dict():
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_shown(item) for item in value[:LIST_MAX] if not isinstance(item, list))
        case int() if abs(value) > INT_MAX:
            return ""
    return str(value)


def _render_value(value: JsonValue, scope: Scope) -> JsonValue:
    if isinstance(value, str):
        return render(value, scope)
    if isinstance(value, dict):
        return {name: _render_value(item, scope) for name, item in value.items()}
    if isinstance(value, list):
        return [_render_value(item, scope) for item in value]
    return value
