"""Every action there is: described, documented, safe to show to a model, and asking in whole sentences."""

import argparse
import json
import re
from typing import Any

import pytest

from bot import docs
from connectors import CONNECTORS
from core.actions import NAME, Action, Effect
from core.catalog import Catalog, Problem, action_doc, llm_tool
from core.language import heard
from core.settings import Settings

ACTIONS = [action for connector in CONNECTORS for action in connector.actions]
EVERY = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


def test_their_names_are_unique() -> None:
    names = [action.name for action in ACTIONS]
    assert len(names) == len(set(names))


@EVERY
def test_it_is_named_and_summarised(action: Action[Any]) -> None:
    assert NAME.fullmatch(action.name)
    assert re.fullmatch(r"[A-Z].{10,120}\.", action.summary)


@EVERY
def test_it_has_examples_that_people_would_say(action: Action[Any]) -> None:
    assert len(action.examples) >= 3
    assert all(3 <= len(example) <= 80 and example.strip() == example for example in action.examples)
    assert len(set(action.examples)) == len(action.examples)
    assert {"en", "sw"} <= set(map(heard, action.examples))


@EVERY
def test_it_asks_for_each_slot_with_a_question_of_its_own(action: Action[Any]) -> None:
    for slot in action.required:
        assert action.params.model_fields[slot].json_schema_extra, slot
        question = action.question(slot)
        assert "?" in question.en
        assert "?" in question.sw


@EVERY
def test_nothing_personal_is_cached(action: Action[Any]) -> None:
    if action.cache_for is not None:
        assert action.effect is Effect.READ
        assert "reminder" not in action.name


@EVERY
def test_its_tool_is_a_closed_described_schema_in_plain_json(action: Action[Any]) -> None:
    tool = json.loads(json.dumps(llm_tool(action)))
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"])
    schema = tool["input_schema"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert sorted(schema.get("required", [])) == sorted(action.required)
    assert set(schema["properties"]) == set(action.slots)
    assert all(described["description"] for described in schema["properties"].values())
    assert '"ask"' not in json.dumps(tool)
    assert '"ask_sw"' not in json.dumps(tool)


@EVERY
def test_it_is_documented(action: Action[Any]) -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    assert action_doc(action) in page + "\n"


@EVERY
@pytest.mark.parametrize(
    "value", ["\0", "x" * 100_000, "\ud800", 5, -1, 10**400, True, [], {}, "'; DROP TABLE reminder; --", 1e308]
)
def test_no_value_of_any_slot_breaks_validation(action: Action[Any], value: Any) -> None:
    catalog = Catalog(CONNECTORS, Settings(_env_file=None))
    for slot in action.slots:
        outcome = catalog.validate(action, {slot: value})
        if isinstance(outcome, Problem):
            assert outcome.slot in action.slots
            for question in (outcome.question.en, outcome.question.sw):
                assert "?" in question
                assert len(question) < 400


def test_documentation_is_fresh() -> None:
    assert docs.main(argparse.Namespace(check=True)) == 0


def test_documentation_does_not_depend_on_the_order_of_connectors() -> None:
    assert docs.page(CONNECTORS) == docs.page(tuple(reversed(CONNECTORS)))


def test_stale_documentation_is_noticed() -> None:
    assert docs.page(CONNECTORS[:1]) != docs.page(CONNECTORS)
