"""While words are asked for: what is those words, and what is a request of its own."""

import pytest

from core.brain import plans
from core.brain.understand import parse
from core.brain.words import listed
from core.dialog import QUESTIONS_MAX, DialogState, Intent
from core.messages import Reply
from tests.core.brain.speaking import NAIROBI, NOW

ACTIONS = listed(
    "cancel_mandate send_money create_invoice save_contact set_reminder cancel_reminder get_weather check_balance "
    "list_reminders convert_currency check_invoice_status my_profile talk_to_human"
)
WHICH_WORKFLOW = DialogState("cancel_mandate", {}, asked=("workflow",), questions=1)
TO_WHOM = DialogState("send_money", {"amount": "500"}, asked=("recipient",), questions=1)
WHO_PAYS = DialogState("create_invoice", {"amount": "5000"}, asked=("payer_name",), questions=1)
WHAT_FOR = DialogState(
    "create_invoice", {"amount": "5000", "payer_name": "Achieng"}, asked=("description",), questions=1
)
WHOSE = DialogState("save_contact", {}, asked=("name",), questions=1)
OF_WHAT = DialogState("set_reminder", {"time": "2026-11-24T09:00:00"}, asked=("content",), questions=1)


def read(text: str, state: DialogState) -> Intent:
    return parse(text, now=NOW, zone=NAIROBI, state=state, actions=ACTIONS)


@pytest.mark.parametrize("state", [WHICH_WORKFLOW, TO_WHOM, WHO_PAYS, WHAT_FOR, WHOSE], ids=lambda one: one.asked[0])
@pytest.mark.parametrize(
    ("text", "action", "slots"),
    [
        ("what's the weather in Nairobi", "get_weather", {"city": "Nairobi"}),
        ("please convert 100 usd to kes", "convert_currency", {"amount": "100"}),
        ("remind me tomorrow at 9 to call Amina", "set_reminder", {"content": "call Amina"}),
        ("what's my balance?", "check_balance", {}),
        ("salio langu ni ngapi", "check_balance", {}),
        ("niko na pesa ngapi", "check_balance", {}),
        ("hali ya hewa Nairobi leo ikoje?", "get_weather", {"city": "Nairobi"}),
        ("show my reminders", "list_reminders", {}),
        ("invoice Brian 3000 for cards", "create_invoice", {"amount": "3000", "payer_name": "Brian"}),
        ("talk to a human", "talk_to_human", {}),
    ],
)
def test_a_request_is_no_name(state: DialogState, text: str, action: str, slots: dict[str, str]) -> None:
    found = read(text, state)
    assert found.action == action
    assert slots.items() <= found.slots.items()


@pytest.mark.parametrize("state", [WHICH_WORKFLOW, TO_WHOM, WHO_PAYS, WHAT_FOR], ids=lambda one: one.asked[0])
@pytest.mark.parametrize("text", ["thanks", "hi", "asante", "who are you?", "how are you"])
def test_small_talk_is_no_name(state: DialogState, text: str) -> None:
    assert read(text, state).action == "smalltalk"


@pytest.mark.parametrize(
    ("state", "text", "value"),
    [
        (WHICH_WORKFLOW, "the weather one", "the weather one"),
        (WHICH_WORKFLOW, "Weather", "Weather"),
        (WHICH_WORKFLOW, "pay Achieng every Friday", "pay Achieng every Friday"),
        (TO_WHOM, "Achieng", "Achieng"),
        (TO_WHOM, "Will Smith", "Will Smith"),
        (TO_WHOM, "kwa Juma", "Juma"),
        (TO_WHOM, "send it to Achieng", "Achieng"),
        (TO_WHOM, "my landlord", "landlord"),
        (WHO_PAYS, "Weather Kenya Ltd", "Weather Kenya Ltd"),
        (WHO_PAYS, "Reminders Inc", "Reminders Inc"),
        (WHAT_FOR, "for the weather report", "the weather report"),
        (WHAT_FOR, "hotel booking in Mombasa", "hotel booking in Mombasa"),
        (WHAT_FOR, "book covers", "book covers"),
        (WHAT_FOR, "change of oil", "change of oil"),
        (WHAT_FOR, "kazi ya mwezi wa tisa", "kazi ya mwezi wa tisa"),
        (WHOSE, "Safari Tours", "Safari Tours"),
        (OF_WHAT, "check my balance", "check my balance"),
        (OF_WHAT, "send 500 to Asha", "send 500 to Asha"),
    ],
)
def test_an_answer_is_one(state: DialogState, text: str, value: str) -> None:
    found = read(text, state)
    assert (found.action, found.slots[state.asked[0]]) == (state.action, value)


@pytest.mark.parametrize("text", ["what's my balance?", "niko na pesa ngapi", "salio langu ni ngapi?"])
def test_a_question_is_nothing_to_be_reminded_of(text: str) -> None:
    assert read(text, OF_WHAT).action == "check_balance"


@pytest.mark.parametrize("text", ["my balance", "Balance"])
def test_what_is_nothing_but_the_word_for_an_action_is_nobodys_name(text: str) -> None:
    assert read(text, TO_WHOM).action == "check_balance"


def test_nothing_is_made_of_an_answer_but_what_it_is_for() -> None:
    assert read("pay for the flight, 300", WHAT_FOR).slots == {"description": "pay for the flight, 300"}


WEATHER = Intent("get_weather", {"city": "Nairobi"}, 0.95)
DOLLARS = Intent("convert_currency", {"amount": "1"}, 0.95)


def test_the_question_that_was_open_is_asked_again_behind_something_else() -> None:
    weather, again = plans.going_on([WEATHER], TO_WHOM)
    assert weather is WEATHER
    assert isinstance(again, Intent)
    assert (again.action, again.slots, again.asks) == ("send_money", {"amount": "500"}, "recipient")


def test_what_was_asked_for_behind_the_open_question_stays_behind_it() -> None:
    state = TO_WHOM.before([DOLLARS])
    assert plans.going_on([WEATHER], state)[2:] == [DOLLARS]
    assert plans.going_on([Intent("send_money", {"recipient": "Asha"}, 0.9)], state)[1:] == [DOLLARS]


@pytest.mark.parametrize(
    "state",
    [
        DialogState(),
        DialogState("send_money", {"amount": "500"}, asked=("recipient",), questions=QUESTIONS_MAX),
        DialogState("set_timezone", offered={"zone": "Africa/Nairobi"}),
    ],
    ids=["nothing open", "asked often", "only offered"],
)
def test_nothing_is_asked_again(state: DialogState) -> None:
    assert plans.going_on([WEATHER], state) == [WEATHER]


def test_nothing_is_asked_behind_a_call_for_a_human_or_an_answer_without_an_action() -> None:
    human, said = Intent("talk_to_human", {}, 0.95), Reply.of("You are welcome.")
    assert plans.going_on([human], TO_WHOM) == [human]
    assert plans.going_on([said], TO_WHOM) == [said]


def test_who_asks_for_the_left_action_anew_is_not_asked_for_the_old_one() -> None:
    first = plans.going_on([WEATHER], TO_WHOM)[1]
    assert isinstance(first, Intent)
    state = DialogState("get_weather", {}, asked=("city",), questions=1).before([first])
    anew = Intent("send_money", {"amount": "200", "recipient": "Brian"}, 0.95)
    assert [step.asks for step in plans.going_on([anew], state) if isinstance(step, Intent)] == [None, "city"]
