"""Workflow definitions, conditions, templates and cron lines: tables, properties, and what attackers would hand in."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from core.workflows import (
    CONDITION_DEPTH_MAX,
    CONDITION_NODES_MAX,
    STEPS_MAX,
    TEXT_CHARS_MAX,
    VALUE_CHARS_MAX,
    Condition,
    InvalidWorkflow,
    check_cron,
    dump_spec,
    evaluate,
    look_up,
    parse_draft,
    parse_spec,
    parse_trigger,
    render,
    render_params,
    walk,
)

Json = dict[str, Any]
CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
SCOPE: dict[str, JsonValue] = {
    "trigger": {
        "amount": 500,
        "half": 0.5,
        "name": "Asha",
        "yes": True,
        "tags": ["a", 1],
        "none": None,
        "deep": {"x": 1},
    },
    "steps": {"w": {"text": "rain", "mm": 7}},
}


def say(identifier: str = "a", text: str = "Hi") -> Json:
    """A step that says something."""
    return {"id": identifier, "kind": "say", "text": text}


def spec(*steps: Json, **more: Any) -> Json:
    """A spec of these steps."""
    return {"steps": list(steps), **more}


def compare(op: str, left: object, right: object) -> Json:
    """A comparison; texts with a dot are variables, everything else is a value."""

    def operand(value: object) -> Json:
        return {"var": value} if isinstance(value, str) and "." in value else {"value": value}

    return {"op": op, "left": operand(left), "right": operand(right)}


def choose(condition: object, identifier: str = "c", then: Json | None = None) -> Json:
    """A condition step."""
    return {"id": identifier, "kind": "condition", "if": condition, "then": [then or say(f"{identifier}_then")]}


@pytest.mark.parametrize(
    ("op", "left", "right", "holds"),
    [
        ("eq", "trigger.amount", 500, True),
        ("eq", "trigger.amount", 500.0, True),
        ("eq", "trigger.amount", "500", False),
        ("ne", "trigger.amount", "500", True),
        ("eq", "trigger.yes", 1, False),
        ("eq", "trigger.yes", True, True),
        ("eq", "trigger.nobody", None, True),
        ("eq", "trigger.none", None, True),
        ("eq", "trigger.name.length.x", None, True),
        ("eq", "trigger.tags", "trigger.tags", False),
        ("eq", "trigger.deep", "trigger.deep", False),
        ("gt", "trigger.amount", 499.5, True),
        ("gt", "trigger.amount", "400", False),
        ("lt", "trigger.nobody", 5, False),
        ("lt", False, True, False),
        ("ge", "steps.w.mm", 7, True),
        ("le", "steps.w.mm", 6, False),
        ("lt", "Abel", "trigger.name", True),
        ("contains", "trigger.name", "sh", True),
        ("contains", "trigger.tags", "a", True),
        ("contains", "trigger.tags", True, False),
        ("contains", "trigger.amount", 5, False),
        ("in", "trigger.name", ["Asha", "Juma"], True),
        ("in", "trigger.nobody", ["Asha"], False),
        ("in", "trigger.nobody", [None], True),
        ("in", "s", "steps.w.text", False),
    ],
)
def test_comparison_holds_by_the_written_rules(op: str, left: object, right: object, holds: bool) -> None:
    assert evaluate(CONDITION.validate_python(compare(op, left, right)), SCOPE) is holds


def test_and_or_and_not_combine() -> None:
    yes, no = compare("eq", 1, 1), compare("eq", 1, 2)
    table: list[tuple[Json, bool]] = [
        ({"op": "and", "args": [yes, yes]}, True),
        ({"op": "and", "args": [yes, no]}, False),
        ({"op": "or", "args": [no, yes]}, True),
        ({"op": "or", "args": [no, no]}, False),
        ({"op": "not", "args": [no]}, True),
    ]
    for condition, holds in table:
        assert evaluate(CONDITION.validate_python(condition), SCOPE) is holds


numbers = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=5)
values = scalars | st.lists(scalars, max_size=4)
names = st.sampled_from(["trigger.a", "trigger.a.b", "steps.s.text", "trigger.amount"])
operands = st.builds(lambda v: {"value": v}, values) | st.builds(lambda n: {"var": n}, names)
comparisons = st.builds(
    lambda op, left, right: {"op": op, "left": left, "right": right},
    st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in", "contains"]),
    operands,
    operands,
)
conditions = st.recursive(
    comparisons,
    lambda inner: (
        st.builds(
            lambda op, args: {"op": op, "args": args},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(lambda arg: {"op": "not", "args": [arg]}, inner)
    ),
    max_leaves=8,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(conditions, json_values)
def test_any_condition_has_an_answer_on_any_values(condition: Json, trigger: Any) -> None:
    parsed = CONDITION.validate_python(condition)
    scope = {"trigger": {"a": trigger, "amount": trigger}, "steps": {"s": trigger}}
    answer = evaluate(parsed, scope)
    assert answer is evaluate(parsed, scope)
    assert evaluate(CONDITION.validate_python({"op": "not", "args": [condition]}), scope) is not answer


@given(operands, operands)
def test_ne_is_not_eq_and_in_is_contains_turned_round(left: Json, right: Json) -> None:
    def holds(op: str, one: Json, other: Json) -> bool:
        return evaluate(CONDITION.validate_python({"op": op, "left": one, "right": other}), SCOPE)

    assert holds("ne", left, right) is not holds("eq", left, right)
    assert holds("in", left, right) is holds("contains", right, left)
    assert holds("eq", left, right) is holds("eq", right, left)
    assert holds("lt", left, right) is holds("gt", right, left)


@given(json_values)
def test_anything_handed_in_is_a_workflow_or_a_sentence(raw: Any) -> None:
    for candidate in (raw, {"steps": raw}, spec({"id": "a", "kind": "say", "text": raw}), spec(choose(raw))):
        try:
            parsed = parse_spec(candidate)
        except InvalidWorkflow:
            continue
        assert parse_spec(dump_spec(parsed)) == parsed


def test_spec_survives_storing() -> None:
    parsed = parse_spec(
        spec(
            {"id": "w", "kind": "action", "action": "get_weather", "params": {"city": "{trigger.city}"}, "say": False},
            {"id": "p", "kind": "wait", "seconds": 60},
            {"id": "u", "kind": "wait", "until": "2026-12-24T18:00:00+03:00"},
            {**choose(compare("gt", "steps.w.mm", 5)), "else": [say("dry")]},
            {"id": "ok", "kind": "approval", "text": "Sure?", "timeout_s": 60, "on_error": "continue"},
            on_error=[say("sorry", "{error.step}: {error.message}")],
        )
    )
    assert parse_spec(json.loads(json.dumps(dump_spec(parsed)))) == parsed
    assert [step.id for step, _ in walk(parsed.steps)] == ["w", "p", "u", "c", "c_then", "dry", "ok"]


cycle: Json = {"op": "not"}
cycle["args"] = [cycle]
steps_cycle: Json = {"id": "c", "kind": "condition", "if": compare("eq", 1, 1)}
steps_cycle["then"] = [steps_cycle]
deep: object = 1
for _ in range(100_000):
    deep = [deep]


def nested(depth: int) -> Json:
    """A condition this deep."""
    inner = compare("eq", 1, 1)
    for _ in range(depth - 1):
        inner = {"op": "not", "args": [inner]}
    return inner


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(spec(), "at least 1", id="no steps"),
        pytest.param(spec(*(say(f"s{n}") for n in range(STEPS_MAX + 1))), "at most 20", id="many steps"),
        pytest.param(spec(*(choose(nested(1), f"c{n}") for n in range(11))), "more than 20", id="many with branches"),
        pytest.param(spec(say("a"), say("a")), "two steps are called a", id="same id"),
        pytest.param(spec(say("__class__")), "a step's id", id="dunder id"),
        pytest.param(spec(say("a", "{trigger.__class__}")), "is no variable", id="dunder in template"),
        pytest.param(spec(say("a", "{trigger.x.__class__.__mro__}")), "is no variable", id="dunder path"),
        pytest.param(spec(say("a", "{0.__class__}")), "is no variable", id="format position"),
        pytest.param(spec(say("a", "{trigger.x!r}")), "is no variable", id="format conversion"),
        pytest.param(spec(say("a", "{trigger[x]}")), "is no variable", id="format index"),
        pytest.param(spec(say("a", "{steps.nobody.text}")), "names no step", id="unknown step"),
        pytest.param(spec(say("a", "{error.message}")), "only in on_error", id="error outside"),
        pytest.param(spec(choose(compare("eq", "trigger.__globals__", 1))), "a variable is", id="dunder variable"),
        pytest.param(spec(choose(compare("eq", "os.environ", 1))), "a variable is", id="other root"),
        pytest.param(spec(choose({"op": "eval", "left": 1, "right": 1})), "op", id="unknown operator"),
        pytest.param(spec(choose(nested(CONDITION_DEPTH_MAX + 1))), "nested deeper", id="deep condition"),
        pytest.param(
            spec(choose({"op": "and", "args": [nested(1)] * 22})), f"more than {CONDITION_NODES_MAX}", id="nodes"
        ),
        pytest.param(spec(choose(cycle)), "too big", id="condition cycle"),
        pytest.param(spec(steps_cycle), "too big", id="steps cycle"),
        pytest.param(spec(say("a"), on_error=deep), "too big", id="100,000 deep"),
        pytest.param(spec(say("a", "x" * 2**20)), f"longer than {TEXT_CHARS_MAX}", id="a text of 1 MiB"),
        pytest.param(spec(say("a"), on_error=[0] * 10**6), "more than", id="a million items"),
        pytest.param(spec(choose(compare("eq", 10**5000, 1))), "too large", id="5,000 digits"),
        pytest.param(spec(choose(compare("eq", float("nan"), 1))), "not finite", id="nan"),
        pytest.param(spec(say("a", "a\0b")), "cannot be stored", id="NUL"),
        pytest.param(spec(say("a", "\ud800")), "cannot be stored", id="surrogate"),
        pytest.param(spec({"id": "a", "kind": "wait"}), "seconds or until", id="wait for nothing"),
        pytest.param(spec({"id": "a", "kind": "wait", "seconds": 31 * 86400}), "less than or equal", id="long wait"),
        pytest.param(spec({"id": "a", "kind": "wait", "until": "2026-12-24T18:00:00"}), "timezone", id="naive until"),
        pytest.param(spec({"id": "a", "kind": "python", "code": "1"}), "kind", id="unknown kind"),
        pytest.param(spec({**say("a"), "extra": 1}), "Extra inputs", id="unknown field"),
        pytest.param(spec({"id": "a", "kind": "action", "action": "os.system"}), "action", id="action name"),
        pytest.param(spec({"id": "c", "kind": "condition", "if": nested(1)}), "needs steps", id="no branch"),
        pytest.param({1: 2}, "name", id="keys that are no text"),
        pytest.param({"steps": {1, 2}}, "not JSON", id="a set"),
        pytest.param(b"{}", "not JSON", id="bytes"),
    ],
)
def test_bad_definition_is_refused_with_a_sentence(raw: object, says: str) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        parse_spec(raw)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 500


def test_deepest_and_largest_allowed_conditions_are_taken() -> None:
    parse_spec(spec(choose(nested(CONDITION_DEPTH_MAX))))
    parse_spec(spec(choose({"op": "and", "args": [nested(1)] * 21})))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hi {trigger.name}, {steps.w.text}!", "Hi Asha, rain!"),
        ("{trigger.amount} {trigger.half} {trigger.yes}", "500 0.5 yes"),
        ("[{trigger.nobody}] [{trigger.none}] [{trigger.deep}]", "[] [] []"),
        ("{trigger.tags}", "a, 1"),
        ("{ } {} {a b} {{trigger.name}}", "{ } {} {a b} {Asha}"),
        ("{trigger.__class__} {trigger.name.__len__}", "{trigger.__class__} {trigger.name.__len__}"),
    ],
)
def test_template_shows_values_and_leaves_other_braces(template: str, text: str) -> None:
    assert render(template, SCOPE) == text


def test_value_that_looks_like_a_template_is_not_read_as_one() -> None:
    scope: dict[str, JsonValue] = {"trigger": {"a": "{trigger.b}", "b": "secret", "{x}": 1}}
    assert render("{trigger.a}", scope) == "{trigger.b}"
    assert render_params({"text": "{trigger.a}", "list": ["{trigger.b}", 5]}, scope) == {
        "text": "{trigger.b}", "list": ["secret", 5],
    }  # fmt: skip


def test_huge_values_are_shown_in_part() -> None:
    scope: dict[str, JsonValue] = {"trigger": {"long": "x" * 10**6, "many": ["y"] * 10**6, "big": 10**5000}}
    assert render("{trigger.long}", scope) == "x" * VALUE_CHARS_MAX
    assert len(render("{trigger.many}" * 200, scope)) <= TEXT_CHARS_MAX
    assert render("{trigger.big}", scope) == ""


@given(st.text(), json_values)
def test_rendering_never_fails_and_never_grows_past_its_limit(template: str, trigger: Any) -> None:
    assert len(render(template, {"trigger": trigger})) <= TEXT_CHARS_MAX
    assert len(render("{trigger.a}" * 50, {"trigger": {"a": trigger}})) <= TEXT_CHARS_MAX
    look_up("trigger.a.b", {"trigger": trigger})


@pytest.mark.parametrize(
    "line", ["* * * * *", "0 9 * * MON-FRI", "*/15 8-18/2 1,15 jan-mar 0", "59 23 31 12 7", "0 0 1-7 * SUN,SAT"]
)
def test_cron_line_is_taken(line: str) -> None:
    check_cron(line)


@pytest.mark.parametrize(
    "line",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
        "5-1 * * * *", "*/0 * * * *", "5/2 * * * *", "@every 1s", "* * * * FUN", "MON * * * *", "*  * * * *",
        "1,,2 * * * *", "١ * * * *", "CRON_TZ=UTC * * * * *", "* * * * *\n", "1-2-3 * * * *", "9" * 200,
    ],
)  # fmt: skip
def test_bad_cron_line_is_refused(line: str) -> None:
    with pytest.raises(InvalidWorkflow):
        check_cron(line)


def test_draft_has_a_name_and_known_times() -> None:
    draft = parse_draft({**spec(say()), "name": " Morning ", "cron": "0 9 * * *", "timezone": "Africa/Nairobi"})
    assert (draft.name, draft.spec) == ("Morning", parse_spec(spec(say())))
    for wrong in ({"timezone": "Mars/Base"}, {"cron": "often"}, {"name": ""}, {"name": "x" * 81}, {"name": "a\nb"}):
        with pytest.raises(InvalidWorkflow):
            parse_draft({**spec(say()), "name": "x", **wrong})


def test_trigger_is_an_object_of_bounded_size() -> None:
    assert parse_trigger({"city": "Kisumu", "at": None}) == {"city": "Kisumu", "at": None}
    wrong: object
    for wrong in ([], "x", None, {"x": deep}, {"x": "y" * 5000}, {"x": datetime.now(UTC)}):
        with pytest.raises(InvalidWorkflow):
            parse_trigger(wrong)
