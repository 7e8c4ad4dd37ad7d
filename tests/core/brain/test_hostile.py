"""Whatever is sent, there is an intent, soon: no exception, no pattern that runs away."""

import json
import time
from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.brain.parse_lines import ACTIONS
from core.brain.understand import LEAVE, RULES
from core.dialog import DialogState
from tests.core.brain.speaking import EVERY_ACTION, understood

LIMIT_S = 0.05
"""Processor time one message may take."""
TRIES = 5

STATES = (
    DialogState(),
    DialogState(action="set_reminder", asked=("time",)),
    DialogState(action="set_reminder", slots={"time": "2026-11-25T09:00"}, asked=("content",)),
    DialogState(action="set_reminder", slots={"time": "no time"}, asked=("content",)),
    DialogState(action="get_weather", asked=("city",), offered={"city": "Lamu"}),
    DialogState(action="convert_currency", asked=("amount",)),
    DialogState(action="convert_currency", asked=("to_currency",)),
    DialogState(action="cancel_reminder", asked=("which",)),
    DialogState(action="unheard_of", asked=("nothing",)),
    DialogState(history={"get_weather": {"city": "Lamu"}}),
)

WORDS = (
    "remind me to", "every", "monday,", "and", "at 5", "in 5 minutes", "on", "the", "5", "5:", "5/", "12/12/",
    "january", "saa", "saa 3 na nusu", "kila", "baada ya", "weather in", "will it rain", "cancel reminder",
    "convert", "100", "$", "usd to", "how much", "please", "can you", "no,", "hi", "thanks", "u. s. d.", "1,000,",
    "9", "nikumbushe", "elfu", "kumi na", "one hundred", "the 5th", "next week", "tomorrow", "half past",
    "quarter to", "p. m.", "don't let me forget", "hali ya hewa", "what can i", "-", ".", "\n",
)  # fmt: skip

MONSTERS = {
    "empty": "",
    "only emoji": "😀🎉" * 20_000,
    "100 KB of text": "remind me to call you tomorrow at nine " * 2_700,
    "one word of 1 MB": "x" * 1_000_000,
    "one number of 100 KB": "9" * 100_000,
    "combining marks": "\u0301" * 4_096,
    "marks on letters": ("e" + "\u0301\u0316" * 2_000) * 2,
    "right-to-left overrides": "\u202e\u202dremind me\u202c tomorrow" * 200,
    "zero-width in digits": "remind me at 1\u200b7:3\u200b0 to stretch",
    "json": json.dumps({"action": "set_reminder", "slots": {"content": ["x"] * 500}}),
    "deep json": "[" * 100_000,
    "nul": "remind me\x00to \x00stretch",
    "lone surrogates": "remind me \ud800 at 5 to \udfff",
    "spaces": " " * 100_000,
    "lines": "\n" * 100_000,
    "ligature that grows": "ﷺ" * 5_000,
    "capital that grows": "İ" * 5_000,
    "huge numbers in spans": "in 99999 years and 999 weeks every 999 months on 31 february 9999",
}


@pytest.mark.parametrize("text", MONSTERS.values(), ids=MONSTERS.keys())
def test_a_monster_is_answered_in_time(text: str) -> None:
    assert_in_time(text)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_said_a_thousand_times_is_answered_in_time(word: str) -> None:
    for text in (f"{word} " * 1_000, f"remind me to {word * 1_000}", f"weather in {word} " * 1_000):
        assert_in_time(text, STATES[:3])


@settings(deadline=None, max_examples=150)
@given(
    text=st.one_of(
        st.text(max_size=300), st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=40).map(" ".join)
    ),
    state=st.sampled_from(STATES),
    now=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2190, 1, 1)),  # noqa: DTZ001
    zone=st.sampled_from(["Africa/Nairobi", "America/St_Johns", "Pacific/Apia", "", "no zone", "../x", "\x00"]),
)
def test_anything_is_an_intent(text: str, state: DialogState, now: datetime, zone: str) -> None:
    intent = understood(text, state, now=now, zone=zone)
    assert intent.action in {*ACTIONS, "help", "smalltalk", "none", LEAVE}
    assert 0 <= intent.confidence <= 1
    json.dumps(dict(intent.slots))


def test_every_action_of_the_table_is_known_to_these_tests() -> None:
    assert set(EVERY_ACTION) == {rule.action for rule in RULES}


def assert_in_time(text: str, states: Sequence[DialogState] = STATES) -> None:
    """The processor time of one try counts: a busy machine may spoil some, not all of them."""
    for state in states:
        assert any(_cost_s(text, state) <= LIMIT_S for _ in range(TRIES))


def _cost_s(text: str, state: DialogState) -> float:
    start = time.process_time()
    understood(text, state)
    return time.process_time() - start
