"""What people say of what they prefer and aim at, in English, Swahili and both at once."""

import pytest
from pydantic import JsonValue

from core.dialog import DialogState
from tests.core.brain.speaking import acted_on, understood

ASKED = DialogState("remember_fact", {"kind": "goal"}, ("words",))


@pytest.mark.parametrize(
    ("text", "action", "slots"),
    [
        ("I prefer mornings", "remember_fact", {"kind": "preference", "words": "mornings"}),
        ("I'd prefer calls after 10 please", "remember_fact", {"kind": "preference", "words": "calls after 10"}),
        ("remember that I hate calls before 9", "remember_fact",
         {"kind": "preference", "words": "I hate calls before 9"}),
        ("my goal is to invoice 100k a month", "remember_fact", {"kind": "goal", "words": "invoice 100k a month"}),
        ("My goal this year is to buy a car.", "remember_fact", {"kind": "goal", "words": "buy a car"}),
        ("add a goal: run 5 km", "remember_fact", {"kind": "goal", "words": "run 5 km"}),
        ("set my goal", "remember_fact", {"kind": "goal"}),
        ("lengo langu ni kuweka akiba 10,000 kwa mwezi", "remember_fact",
         {"kind": "goal", "words": "kuweka akiba 10,000 kwa mwezi"}),
        ("goal yangu ni ku-invoice 100k kwa mwezi", "remember_fact",
         {"kind": "goal", "words": "ku-invoice 100k kwa mwezi"}),
        ("napendelea asubuhi", "remember_fact", {"kind": "preference", "words": "asubuhi"}),
        ("napendelea meetings za asubuhi", "remember_fact", {"kind": "preference", "words": "meetings za asubuhi"}),
        ("kumbuka kwamba sipendi simu za usiku", "remember_fact",
         {"kind": "preference", "words": "sipendi simu za usiku"}),
        ("what are my goals?", "list_facts", {"kind": "goal"}),
        ("what is my goal", "list_facts", {"kind": "goal"}),
        ("list my preferences", "list_facts", {"kind": "preference"}),
        ("what are my goals and preferences?", "list_facts", {}),
        ("malengo yangu ni yapi?", "list_facts", {"kind": "goal"}),
        ("nionyeshe mapendeleo yangu", "list_facts", {"kind": "preference"}),
        ("change my goal to invoice 200k a month", "change_fact", {"kind": "goal", "words": "invoice 200k a month"}),
        ("change goal 2 to sleep more", "change_fact", {"kind": "goal", "which": "2", "words": "sleep more"}),
        ("update my preference from mornings to evenings", "change_fact",
         {"kind": "preference", "which": "mornings", "words": "evenings"}),
        ("badilisha lengo langu liwe kuweka akiba 20,000", "change_fact",
         {"kind": "goal", "words": "kuweka akiba 20,000"}),
        ("forget that I prefer mornings", "forget_fact", {"kind": "preference", "which": "mornings"}),
        ("forget my goal", "forget_fact", {"kind": "goal"}),
        ("delete goal 2", "forget_fact", {"kind": "goal", "which": "2"}),
        ("I no longer prefer mornings", "forget_fact", {"which": "mornings"}),
        ("sahau kwamba napendelea asubuhi", "forget_fact", {"kind": "preference", "which": "asubuhi"}),
        ("futa lengo langu", "forget_fact", {"kind": "goal"}),
        ("undo", "undo", {}),
        ("Take that back.", "undo", {}),
        ("tengua", "undo", {}),
    ],
)  # fmt: skip
def test_what_is_said_of_oneself_is_understood(text: str, action: str, slots: dict[str, JsonValue]) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == (action, slots)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("remind me tomorrow at 9 that my goal is to rest", "set_reminder"),
        ("I prefer Swahili", "set_language"),
        ("I'd prefer to speak English", "set_language"),
        ("forget Amina", "forget_contact"),
        ("don't forget to call mum at 5", "set_reminder"),
        ("remember Amina's number 0712345678", "save_contact"),
        ("what do you know about me?", "my_profile"),
        ("forget it", "leave"),
        ("I like pizza", "none"),
        ("what a goal by Salah", "none"),
        ("is my goal to win?", "none"),
        ("do you prefer tea?", "none"),
    ],
)
def test_what_only_sounds_like_it_is_not_kept(text: str, action: str) -> None:
    assert acted_on(text) == action


def test_the_answer_to_what_shall_be_remembered_is_the_whole_message() -> None:
    intent = understood("read 12 books a year", ASKED)
    assert (intent.action, intent.slots) == ("remember_fact", {"words": "read 12 books a year"})
