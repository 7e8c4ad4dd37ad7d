"""What was just looked at or told is talked about once more, and something else is something else."""

import pytest

from core.brain import again
from core.dialog import DialogState, Intent
from tests.core.brain.test_moves import thought
from tests.skills import needs

pytestmark = needs("documents", "memory", "reminders", "weather", "currency")

READ = DialogState(history={"ask_document": {"question": "what does it say about rent?", "file": "lease"}})
TOLD = DialogState(history={"remember_fact": {"kind": "goal", "words": "save"}})
LEFT = DialogState(history={"set_reminder": {"content": "pay fees"}, "get_weather": {"city": "Mombasa"}})


@pytest.mark.parametrize(
    "text",
    ["when is it due?", "and about the deposit?", "what about the notice?", "who pays for repairs?", "na amana je?",
     "kodi ni ngapi?", "nilipe lini?"],
)  # fmt: skip
async def test_the_next_question_is_about_the_same_document(text: str) -> None:
    assert await thought(text, READ) == ("ask_document", {"question": text, "file": "lease"})
    assert await thought(text) != ("ask_document", {"question": text, "file": "lease"})


@pytest.mark.parametrize(
    "text", ["and a flight to Kisumu?", "what's my balance?", "thanks", "hi", "the cows are by the river", "ok"]
)
async def test_what_is_something_else_stays_so(text: str) -> None:
    assert await thought(text, READ) == await thought(text)


async def test_an_unknown_currency_is_not_taken_for_our_own() -> None:
    wanted = {"amount": "5", "from_currency": "GBP", "to_currency": "XQX"}
    assert await thought("convert 5 GBP to XQX") == ("convert_currency", wanted)
    assert await thought("CONVERT 5 GBP TO THE") == ("convert_currency", {"amount": "5", "from_currency": "GBP"})


@pytest.mark.parametrize("text", ["forget that", "delete this please", "sahau hilo", "Forget that!"])
async def test_what_was_just_told_is_forgotten(text: str) -> None:
    assert await thought(text, TOLD) == ("undo", {})
    assert await thought(text, READ) != ("undo", {})


@pytest.mark.parametrize(
    ("text", "time"), [("Friday at 8 am", "2026-11-27T08:00"), ("ijumaa saa mbili asubuhi", "2026-11-27T08:00")]
)
async def test_a_reminder_that_was_left_without_a_time_gets_it(text: str, time: str) -> None:
    assert await thought(text, LEFT) == ("set_reminder", {"content": "pay fees", "time": time})


async def test_a_day_alone_is_about_what_was_asked_last() -> None:
    assert await thought("and tomorrow?", LEFT) == ("get_weather", {"city": "Mombasa", "date": "2026-11-25"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("has Achieng paid?", "Achieng"), ("has achieng paid me yet", "achieng"), ("did Otieno pay?", "Otieno"),
        ("Has Jane Wanjiru already paid the invoice?", "Jane Wanjiru"), ("je Achieng ameshalipa?", "Achieng"),
        ("Achieng amelipa ama bado", "Achieng"), ("Achieng amelipa?", "Achieng"), ("Achieng amelipa", None),
        ("has anybody paid me?", None), ("has she paid?", None), ("did my payment go through?", None),
        ("have they paid", None), ("did we pay the bill", None), ("malipo yamefika?", None),
        ("has Achieng paid INV-2026-00003?", None), ("nani amelipa?", None),
    ],
)  # fmt: skip
def test_whether_somebody_has_paid_is_asked_of_their_invoices(text: str, name: str | None) -> None:
    guess = Intent("check_payments", {}, 0.97, guessed=True)
    asked = ("check_invoice_status", {"invoice": name}) if name else ("check_payments", {})
    meant = again.whose(text, guess)
    assert (meant.action, dict(meant.slots)) == asked


@pytest.mark.parametrize(
    ("text", "action", "more"),
    [
        ("mark it as paid by cheque", "mark_invoice_paid", {"how": "cheque"}),
        ("mark it paid", "mark_invoice_paid", {}),
        ("paid?", "check_invoice_status", {}),
        ("has it been paid yet?", "check_invoice_status", {}),
        ("has she paid?", "check_invoice_status", {}),
        ("imelipwa?", "check_invoice_status", {}),
        ("send it again", "resend_invoice", {}),
        ("itume tena", "resend_invoice", {}),
    ],
)
def test_what_is_said_behind_an_invoice_is_said_of_it(text: str, action: str, more: dict[str, str]) -> None:
    made = again.after(DialogState(history={"create_invoice": {"payer_name": "Achieng"}}), "create_invoice")
    guess = Intent(action if more else "none", more, 0.5, guessed=True)
    meant = again.read(text, made, guess)
    assert (meant.action, dict(meant.slots), meant.guessed) == (action, {**more, "invoice": "last"}, False)
    assert again.read(text, DialogState(), guess) == guess


def test_an_undo_behind_something_else_is_asked_about_first() -> None:
    bare = Intent("undo", {}, 0.95)
    assert again.read("undo that", TOLD, bare).slots == {}
    weather = DialogState(history={**TOLD.history, "get_weather": {"city": "Nairobi"}})
    assert again.read("undo that", weather, bare).slots == {"since": "get_weather"}
