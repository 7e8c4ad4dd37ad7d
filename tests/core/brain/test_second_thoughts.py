"""What was shown to be confirmed is changed by a word, and shown anew; what was done is not."""

import pytest

from core.brain import again
from core.brain.understand import parse
from core.dialog import DialogState, Intent
from tests.core.brain.speaking import NAIROBI, NOW

ACTIONS = frozenset({"send_money", "create_invoice", "get_weather", "set_reminder", "convert_currency"})
PAID = {"amount": "500", "recipient": "Asha", "phone_number": "0722000111"}
BILLED = {"amount": "500", "payer_name": "Achieng", "payer_email": "a@b.co", "description": "logos"}
SHOWN_PAYMENT = DialogState("send_money", PAID).finish()
SHOWN_INVOICE = DialogState("create_invoice", BILLED).finish()


def read(text: str, state: DialogState) -> Intent:
    return parse(text, now=NOW, zone=NAIROBI, state=state, actions=ACTIONS)


@pytest.mark.parametrize(
    ("state", "text", "changed"),
    [
        (SHOWN_PAYMENT, "no, make it 600", {"amount": "600"}),
        (SHOWN_PAYMENT, "hapana, 650", {"amount": "650"}),
        (SHOWN_PAYMENT, "sorry, to Brian", {"recipient": "Brian", "phone_number": None, "payer_email": None}),
        (SHOWN_INVOICE, "make it 1,200", {"amount": "1200"}),
        (SHOWN_INVOICE, "no, for Brian", {"payer_name": "Brian", "phone_number": None, "payer_email": None}),
    ],
)
def test_what_is_shown_is_changed(state: DialogState, text: str, changed: dict[str, object]) -> None:
    name, before = next(iter(state.history.items()))
    found = read(text, state)
    assert (found.action, found.by) == (name, "change")
    assert found.slots == {**before, **changed}


def test_a_whole_request_behind_a_no_is_read_as_one() -> None:
    found = read("no, invoice Achieng 700 for new business cards", SHOWN_INVOICE)
    assert (found.action, found.slots["amount"]) == ("create_invoice", "700")


@pytest.mark.parametrize("text", ["no, make it 600", "hapana, 650"])
def test_what_was_done_is_not_changed(text: str) -> None:
    assert read(text, again.after(SHOWN_PAYMENT, "send_money")).action == "none"


def test_a_sum_without_a_word_that_corrects_changes_nothing() -> None:
    assert read("600", SHOWN_PAYMENT).action == "none"
