"""What people say about themselves and whom they know, in English and Swahili; and codes, which are nothing else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from core.codes import ALPHABET, code_in, grouped, new_code
from core.dialog import DialogState
from tests.core.brain.speaking import EVERY_ACTION, understood

MID_REMINDER = DialogState("set_reminder", {"time": "2026-11-25T09:00"}, ("content",))


@pytest.mark.parametrize(
    ("text", "action", "slots"),
    [
        ("link my account", "link_account", {}),
        ("Please link my WhatsApp", "link_account", {}),
        ("how do I link my telegram?", "link_account", {}),
        ("unganisha akaunti yangu", "link_account", {}),
        ("naomba kuunganisha namba yangu ya WhatsApp", "link_account", {}),
        ("unlink", "unlink_account", {}),
        ("Unlink.", "unlink_account", {}),
        ("disconnect this number", "unlink_account", {}),
        ("tenganisha", "unlink_account", {}),
        ("speak Swahili", "set_language", {"language": "sw"}),
        ("can you reply in English please", "set_language", {"language": "en"}),
        ("change my language to Kiswahili", "set_language", {"language": "sw"}),
        ("change my language", "set_language", {}),
        ("ongea Kiswahili", "set_language", {"language": "sw"}),
        ("nijibu kwa kiingereza", "set_language", {"language": "en"}),
        ("my time zone is Africa/Kampala", "set_timezone", {"zone": "Africa/Kampala"}),
        ("set my timezone to New York", "set_timezone", {"zone": "New York"}),
        ("I live in Dubai", "set_timezone", {"zone": "Dubai"}),
        ("naishi Mombasa", "set_timezone", {"zone": "Mombasa"}),
        ("set my time zone", "set_timezone", {}),
        ("my name is Amina Odhiambo", "set_name", {"name": "Amina Odhiambo"}),
        ("hi, my name is Baraka, nice to meet you", "set_name", {"name": "Baraka"}),
        ("call me Sunny", "set_name", {"name": "Sunny"}),
        ("jina langu ni Wanjiru", "set_name", {"name": "Wanjiru"}),
        ("naitwa Otieno", "set_name", {"name": "Otieno"}),
        ("my e-mail is amina@example.com", "set_email", {"email": "amina@example.com"}),
        ("My email address is A.Odhiambo+bot@Example.co.ke.", "set_email", {"email": "A.Odhiambo+bot@Example.co.ke"}),
        ("change my email", "set_email", {}),
        ("barua pepe yangu ni amina@example.com", "set_email", {"email": "amina@example.com"}),
        ("482913", "confirm_email", {"code": "482913"}),
        ("the code is 482913", "confirm_email", {"code": "482913"}),
        ("msimbo ni 482913", "confirm_email", {"code": "482913"}),
        ("what do you know about me?", "my_profile", {}),
        ("export my data", "export_my_data", {}),
        ("send me everything you know about me", "export_my_data", {}),
        ("I want a copy of my data please", "export_my_data", {}),
        ("download all my personal data", "export_my_data", {}),
        ("nipe data yangu yote", "export_my_data", {}),
        ("naomba taarifa zangu zote", "export_my_data", {}),
        ("who am I", "my_profile", {}),
        ("what is my name?", "my_profile", {}),
        ("unajua nini kuhusu mimi?", "my_profile", {}),
        ("erase my data", "erase_my_data", {}),
        ("Please delete all my data.", "erase_my_data", {}),
        ("delete everything you know about me", "erase_my_data", {}),
        ("forget everything about me", "forget_everything", {}),
        ("sahau kila kitu unachojua kunihusu", "forget_everything", {}),
        ("please forget what we talked about", "forget_conversation", {}),
        ("sahau tulichozungumza", "forget_conversation", {}),
        ("usiniite hivyo", "forget_name", {}),
        ("my wife is pregnant", "none", {}),
        ("my boss is coming on 24/11/2026", "none", {}),
        ("my wife is Jane", "save_contact", {"name": "Jane", "relation": "wife"}),
        (
            "My accountant is Jane W, her number is +254722000111",
            "save_contact",
            {"name": "Jane W", "relation": "accountant", "phone": "+254722000111"},
        ),
        ("forget me", "erase_my_data", {}),
        ("I want you to delete my account", "erase_my_data", {}),
        ("wipe my personal information", "erase_my_data", {}),
        ("futa data yangu", "erase_my_data", {}),
        ("naomba ufute taarifa zangu zote", "erase_my_data", {}),
        ("futa kila kitu unachojua kunihusu", "erase_my_data", {}),
        ("save Amina's number +254 712 345 678", "save_contact", {"name": "Amina", "phone": "+254 712 345 678"}),
        ("please save Amina's number", "save_contact", {"name": "Amina"}),
        ("Baraka's number is 0712345678", "save_contact", {"name": "Baraka", "phone": "0712345678"}),
        ("remember Amina's email amina@example.com", "save_contact", {"name": "Amina", "email": "amina@example.com"}),
        ("add contact Mama Njeri 0722 000 111", "save_contact", {"name": "Mama Njeri", "phone": "0722 000 111"}),
        ("hifadhi namba ya Asha 0712345678", "save_contact", {"name": "Asha", "phone": "0712345678"}),
        ("who are my contacts?", "list_contacts", {}),
        ("list my contacts", "list_contacts", {}),
        ("what is Amina's number?", "list_contacts", {"name": "Amina"}),
        ("nionyeshe anwani zangu", "list_contacts", {}),
        ("namba ya Amina ni ipi?", "list_contacts", {"name": "Amina"}),
        ("forget Amina", "forget_contact", {"name": "Amina"}),
        ("please delete Amina's number", "forget_contact", {"name": "Amina"}),
        ("remove contact Mama Njeri", "forget_contact", {"name": "Mama Njeri"}),
        ("futa namba ya Amina", "forget_contact", {"name": "Amina"}),
    ],
)
def test_each_request_in_english_and_swahili(text: str, action: str, slots: dict[str, JsonValue]) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == (action, slots)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("remind me to save Amina's number tomorrow at 9", "set_reminder"),
        ("remind me to link my account at 5pm", "set_reminder"),
        ("don't forget to call Amina at 5", "set_reminder"),
        ("remind me to call me Swahili teacher at 10", "set_reminder"),
        ("nikumbushe kesho saa tatu kuhifadhi namba ya Asha", "set_reminder"),
        ("delete the reminder about Amina's number", "cancel_reminder"),
        ("what is your name?", "smalltalk"),
        ("what's the weather in Nairobi?", "get_weather"),
        ("is it sunny where I live?", "get_weather"),
        ("convert 482913 KES to USD", "convert_currency"),
        ("call me at 5", "none"),
        ("call me tomorrow", "none"),
        ("forget it", "leave"),
        ("remind me tomorrow at 9 to delete my data", "set_reminder"),
        ("nikumbushe kesho saa tatu kufuta data yangu", "set_reminder"),
        ("delete my reminder", "cancel_reminder"),
    ],
)
def test_what_is_something_else_stays_something_else(text: str, action: str) -> None:
    assert understood(text).action == action


def test_six_digits_answer_the_question_that_is_open_before_they_are_a_code() -> None:
    asked = DialogState("convert_currency", {"from_currency": "USD"}, ("amount",))
    assert understood("250000", asked).slots == {"amount": "250000"}
    rates = DialogState(history={"convert_currency": {"amount": "5", "from_currency": "USD", "to_currency": "KES"}})
    assert understood("250000", rates).action == "convert_currency"
    assert understood("code 250000", rates).action == "confirm_email"


@pytest.mark.parametrize(
    ("asked", "text", "slots"),
    [
        (DialogState("set_language", {}, ("language",)), "Kiswahili", {"language": "sw"}),
        (DialogState("set_timezone", {}, ("zone",)), "Mombasa", {"zone": "Mombasa"}),
        (DialogState("set_name", {}, ("name",)), "Amina", {"name": "Amina"}),
        (DialogState("set_email", {}, ("email",)), "it is a@b.example", {"email": "a@b.example"}),
        (DialogState("save_contact", {"name": "Amina"}, ("phone",)), "0712 345 678", {"phone": "0712 345 678"}),
        (DialogState("confirm_email", {}, ("code",)), "482913", {"code": "482913"}),
    ],
)
def test_answers_to_what_was_asked(asked: DialogState, text: str, slots: dict[str, JsonValue]) -> None:
    intent = understood(text, asked)
    assert (intent.action, {**intent.slots}) == (asked.action, slots)


@pytest.mark.parametrize("form", [
    "{}", " {} ", "{}.", "link {}", "the code is {}", "my code: {}", "/start link_{bare}",
    "/start@mathia_bot link_{bare}",
    "{bare}", "{low}", "{lowbare}", "msimbo ni {}", "“{}”", "{spaced}",
])  # fmt: skip
@pytest.mark.parametrize("state", [DialogState(), MID_REMINDER], ids=["fresh", "in the middle of a reminder"])
def test_code_is_a_code_however_it_is_typed_and_whatever_was_asked(form: str, state: DialogState) -> None:
    spaced, bare = "K7QM 2XVR 9T", "K7QM2XVR9T"
    shown = grouped(bare)
    text = form.format(shown, bare=bare, low=shown.lower(), lowbare=bare.lower(), spaced=spaced)
    intent = understood(text, state)
    assert (intent.action, intent.slots) == ("link_account", {"code": bare})


@given(st.integers())
def test_every_code_that_can_be_made_is_understood_as_it_is_shown(seed: int) -> None:
    code = new_code(random.Random(seed).choice)
    assert len(code) == 10
    assert set(code) <= set(ALPHABET)
    assert code_in(grouped(code)) == code_in(code) == code_in(grouped(code).lower()) == code


@given(st.text(max_size=200))
def test_no_text_breaks_the_search_for_a_code(text: str) -> None:
    found = code_in(text)
    assert found is None or set(found) <= set(ALPHABET)


@pytest.mark.parametrize(
    "text",
    ["make that by", "need 4999 by", "2345-6789-23", "remind me of invoice K7QM-2XVR-9T tomorrow", "K7QM-2XVR", "",
     "K7QM-2XVR-9T4", "call 2547123456", "K7QM-2XVR-9T " * 20],
)  # fmt: skip
def test_what_is_no_code(text: str) -> None:
    assert code_in(text) is None


def test_codes_are_not_looked_for_where_linking_is_off() -> None:
    without = [action for action in EVERY_ACTION if action != "link_account"]
    assert "code" not in understood("K7QM-2XVR-9T", actions=without).slots


@pytest.mark.parametrize("text", ["write my sister's number down 0722 123 456", "my sister's number here 0722 123 456"])
def test_words_of_place_are_nobodys_name(text: str) -> None:
    assert understood(text).slots["name"] == "sister"
