"""From a line to an intent: each action in English, Swahili and both at once; dialogs; what is not for us."""

import pytest
from pydantic import JsonValue

from core.brain.understand import LEAVE
from core.dialog import DialogState
from tests.core.brain.speaking import EVERY_ACTION, acted_on, sure, understood

Slots = dict[str, JsonValue]


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("what's the weather in Nairobi?", {"city": "Nairobi"}),
        ("Weather Kisumu", {"city": "Kisumu"}),
        ("nairobi weather", {"city": "Nairobi"}),
        ("hey, hows the weather in mombasa today pls", {"city": "Mombasa", "date": "2026-11-24"}),
        ("will it rain in Mombassa tomorrow", {"city": "Mombasa", "date": "2026-11-25"}),
        ("wether in nairoby", {"city": "Nairobi"}),
        ("forecast for Eldorett on friday", {"city": "Eldoret", "date": "2026-11-27"}),
        ("is it hot in Dar es Salam right now?", {"city": "Dar es Salaam"}),
        ("do I need an umbrella in London this weekend", {"city": "London", "date": "2026-11-28"}),
        ("tomorrow's weather in Thika", {"city": "Thika", "date": "2026-11-25"}),
        ("how cold will it get in Nyahururu tonight", {"city": "Nyahururu", "date": "2026-11-24"}),
        ("weather in Paris, Texas", {"city": "Paris, Texas"}),
        ("the forecast for Naivasha in Kenya at sunrise", {"city": "Naivasha, Kenya"}),
        ("what kind of weather do you see for Voi?", {"city": "Voi"}),
        ("what is the weather like in nairobi kenya", {"city": "Nairobi, kenya"}),
        ("weather in Ol Kalou on 3 December", {"city": "Ol Kalou", "date": "2026-12-03"}),
        ("temperature in Marsabit at noon", {"city": "Marsabit"}),
        ("hali ya hewa Kisumu", {"city": "Kisumu"}),
        ("hali ya hewa ya Nakuru kesho", {"city": "Nakuru", "date": "2026-11-25"}),
        ("hali ya hewa ikoje huko Lamu leo?", {"city": "Lamu", "date": "2026-11-24"}),
        ("kutakuwa na mvua Kericho kesho?", {"city": "Kericho", "date": "2026-11-25"}),
        ("je, kuna baridi Nyeri leo?", {"city": "Nyeri", "date": "2026-11-24"}),
        ("weather ya Kisumu kesho", {"city": "Kisumu", "date": "2026-11-25"}),
        ("what's the weather like?", {}),
        ("will it rain tomorrow?", {"date": "2026-11-25"}),
    ],
)
def test_weather(text: str, slots: Slots) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("get_weather", slots)
    assert sure(intent)


@pytest.mark.parametrize(
    ("text", "amount", "source", "target"),
    [
        ("convert 100 USD to KES", "100", "USD", "KES"),
        ("convert $1,250.50 into shillings", "1250.5", "USD", "KES"),
        ("how much is 250 euros in shillings?", "250", "EUR", "KES"),
        ("2.5k bob to dollars", "2500", "KES", "USD"),
        ("100usd in kes", "100", "USD", "KES"),
        ("KES500 to USD", "500", "KES", "USD"),
        ("how many shillings is 20 dollars", "20", "USD", "KES"),
        ("how many yen do I get for fifty pounds?", "50", "GBP", "JPY"),
        ("two hundred canadian dollars to rand", "200", "CAD", "ZAR"),
        ("what is the exchange rate from euro to naira", "1", "EUR", "NGN"),
        ("exchange rate usd kes", "1", "USD", "KES"),
        ("u. s. d. to yen, what's the rate", "1", "USD", "JPY"),
        ("usd vs ugx", "1", "USD", "UGX"),
        ("how much is the dollar?", "1", "USD", None),
        ("5 million naira in dollars", "5000000", "NGN", "USD"),
        ("1 GBP = ? KES, convert", "1", "GBP", "KES"),
        ("badilisha dola 100 kwa shilingi", "100", "USD", "KES"),
        ("dola mia moja ni shilingi ngapi", "100", "USD", "KES"),
        ("nibadilishie euro hamsini kuwa shilingi", "50", "EUR", "KES"),
        ("bei ya dola leo ni ngapi", "1", "USD", None),
        ("convert elfu tano shilingi to dollars", "5000", "KES", "USD"),
        ("badilisha 200 euros kwa KES", "200", "EUR", "KES"),
    ],
)
def test_currency(text: str, amount: str, source: str, target: str | None) -> None:
    intent = understood(text)
    wanted = {"amount": amount, "from_currency": source, "to_currency": target}
    assert intent.action == "convert_currency"
    assert intent.slots == {name: value for name, value in wanted.items() if value}
    assert sure(intent)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("convert to dollars", {"to_currency": "USD"}),
        ("can you convert euros for me", {"from_currency": "EUR"}),
        ("currency converter please", {}),
    ],
)
def test_currency_with_less_said(text: str, slots: Slots) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots, sure(intent)) == ("convert_currency", slots, True)


def test_an_amount_that_nobody_named_is_asked_for() -> None:
    intent = understood("convert dollars to shillings")
    assert (intent.slots, sure(intent)) == ({"from_currency": "USD", "to_currency": "KES"}, True)


@pytest.mark.parametrize(
    ("zone", "code"), [("Africa/Nairobi", "KES"), ("Africa/Kampala", "UGX"), ("Africa/Dar_es_Salaam", "TZS")]
)
def test_a_shilling_is_the_one_of_the_place(zone: str, code: str) -> None:
    assert understood("convert 10 dollars to shillings", zone=zone).slots["to_currency"] == code


@pytest.mark.parametrize(
    ("text", "content", "time"),
    [
        ("remind me in 1 minute to stretch", "stretch", "2026-11-24T10:16:30"),
        ("remind me to call Asha tomorrow at 9", "call Asha", "2026-11-25T09:00"),
        ("Remind me tomorrow at 9 to call Asha", "call Asha", "2026-11-25T09:00"),
        ("tomorrow at 9 remind me to call Asha", "call Asha", "2026-11-25T09:00"),
        ("call Asha tomorrow at 9, remind me", "call Asha", "2026-11-25T09:00"),
        ("remind me to call Asha tomorrow at 9 about the rent", "call Asha about the rent", "2026-11-25T09:00"),
        (
            "can you please remind me in half an hour to take the bread out, thanks",
            "take the bread out",
            "2026-11-24T10:45:30",
        ),
        ("remind me next friday 17:30 about the board meeting", "the board meeting", "2026-12-04T17:30"),
        ("remind me on 3 December at noon to pay Kamau", "pay Kamau", "2026-12-03T12:00"),
        ("remind me to turn the lights on at 6pm", "turn the lights on", "2026-11-24T18:00"),
        ("remind me to buy 2 weeks of food on friday", "buy 2 weeks of food", "2026-11-27T09:00"),
        ("remind me at 5 about tomorrow's meeting", "tomorrow's meeting", "2026-11-24T17:00"),
        ("remnd me tmrw 6pm to water the plants pls", "water the plants", "2026-11-25T18:00"),
        ("set a reminder for 8pm: take pills", "take pills", "2026-11-24T20:00"),
        ("Reminder: submit KRA returns on 30 June at 10am", "submit KRA returns", "2027-06-30T10:00"),
        ("don't let me forget to pay rent on the 5th", "pay rent", "2026-12-05T09:00"),
        ("wake me up at 6 tomorrow", "wake up", "2026-11-25T06:00"),
        ("set an alarm for 6am", "alarm", "2026-11-25T06:00"),
        ("nikumbushe kesho saa tatu asubuhi nipige Asha", "nipige Asha", "2026-11-25T09:00"),
        ("Nikumbushe kumpigia mama simu leo saa mbili usiku", "kumpigia mama simu", "2026-11-24T20:00"),
        ("naomba unikumbushe baada ya dakika kumi kuzima jiko", "kuzima jiko", "2026-11-24T10:25:30"),
        ("tafadhali nikumbushe ijumaa saa nane mchana kulipa kodi", "kulipa kodi", "2026-11-27T14:00"),
        ("remind me kesho saa nne asubuhi nilipe stima", "nilipe stima", "2026-11-25T10:00"),
        ("nikumbushe at 5pm to pick up the kids", "pick up the kids", "2026-11-24T17:00"),
        ("remind me tomorrow at 9 to kununua maziwa", "kununua maziwa", "2026-11-25T09:00"),
    ],
)
def test_reminder(text: str, content: str, time: str) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("set_reminder", {"content": content, "time": time})
    assert sure(intent)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        (
            "every weekday at 8 remind me to stand up",
            {"content": "stand up", "time": "2026-11-25T08:00", "recurrence": "weekdays"},
        ),
        (
            "remind me every day at 9pm to lock up",
            {"content": "lock up", "time": "2026-11-24T21:00", "recurrence": "daily"},
        ),
        (
            "remind me to take out the bins every monday and thursday at 6am",
            {"content": "take out the bins", "time": "2026-11-26T06:00", "recurrence": "FREQ=WEEKLY;BYDAY=MO,TH"},
        ),
        (
            "nikumbushe kila siku saa moja jioni kunywa dawa",
            {"content": "kunywa dawa", "time": "2026-11-24T19:00", "recurrence": "daily"},
        ),
        ("remind me every month to pay rent", {"content": "pay rent", "recurrence": "monthly"}),
        (
            "remind me at 5pm to file the report, it's urgent",
            {"content": "file the report", "time": "2026-11-24T17:00", "priority": "high"},
        ),
        (
            "high priority: remind me at 5pm to call the bank",
            {"content": "call the bank", "time": "2026-11-24T17:00", "priority": "high"},
        ),
        (
            "nikumbushe kesho saa tatu asubuhi kulipa mkopo, ni muhimu",
            {"content": "kulipa mkopo", "time": "2026-11-25T09:00", "priority": "high"},
        ),
        ("remind me", {}),
        ("remind me to call Asha", {"content": "call Asha"}),
        ("remind me tomorrow at 9", {"time": "2026-11-25T09:00"}),
        ("remind me today to call Asha", {"content": "call Asha"}),
        ("niwekee kikumbusho", {}),
        ("Okay, that's good. I'd like to set an alarm for 5 pm", {"time": "2026-11-24T17:00", "content": "alarm"}),
        ("Great. I want to set a reminder for 5pm", {"time": "2026-11-24T17:00"}),
        ("Call Asha. Set a reminder for 5pm", {"time": "2026-11-24T17:00", "content": "Call Asha"}),
        ("okay set an alarm for 6", {"time": "2026-11-24T18:00", "content": "alarm"}),
        ("set an alarm for 99", {}),
    ],
)
def test_reminder_with_more_or_less_said(text: str, slots: Slots) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("set_reminder", slots)
    assert sure(intent)


@pytest.mark.parametrize(
    "text",
    [
        "what are my reminders?", "list my reminders", "show me all reminders", "my reminders",
        "do I have any reminders?", "which reminders are set", "how many reminders do i have",
        "nionyeshe vikumbusho vyangu",
        "vikumbusho vyangu", "nina vikumbusho gani?", "orodhesha vikumbusho", "show vikumbusho zangu",
    ],
)  # fmt: skip
def test_list_of_reminders(text: str) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots, sure(intent)) == ("list_reminders", {}, True)


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("cancel reminder 2", "2"),
        ("delete the second reminder", "2"),
        ("cancel the reminder about Asha", "Asha"),
        ("Please remove my reminder to call Asha", "call Asha"),
        ("stop reminding me to stretch", "stretch"),
        ("delete all my reminders", "all"),
        ("cancel my last reminder", "last"),
        ("futa kikumbusho cha Asha", "Asha"),
        ("ghairi kikumbusho namba 3", "3"),
        ("futa vikumbusho vyote", "all"),
        ("cancel kikumbusho cha kodi", "kodi"),
        ("cancel a reminder", None),
    ],
)
def test_cancel_a_reminder(text: str, which: str | None) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots.get("which")) == ("cancel_reminder", which)
    assert sure(intent)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("hi", "smalltalk"), ("Habari yako", "smalltalk"), ("thank you so much", "smalltalk"), ("asante sana",
        "smalltalk"), ("are you a bot?", "smalltalk"), ("wewe ni nani", "smalltalk"), ("kwaheri", "smalltalk"),
        ("good morning!", "smalltalk"), ("help", "help"), ("/start", "help"), ("what can you do?", "help"),
        ("msaada", "help"), ("unaweza kufanya nini?", "help"), ("what can I ask you", "help"),
        ("send 500 to Asha", "send_money"), ("pay 100 usd to Kamau", "send_money"),
        ("book me a flight to Kisumu", "search_flights"), ("who won the match", "search_info"),
        ("set the oven to 200 degrees", "none"), ("change my password", "none"),
        ("play some music", "none"), ("the temperature in my fridge is fine", "none"), ("convert 5 miles to km",
        "none"), ("exchange these shoes", "none"), ("how much does it cost in dollars", "none"),
        ("I have 5 dollars in my pocket", "none"), ("never mind", LEAVE), ("😀", "none"), ("", "none"), ("?!",
        "none"), ("42", "none"), ],
)  # fmt: skip
def test_talk_and_what_is_not_for_us(text: str, action: str) -> None:
    assert acted_on(text) == action


def test_an_action_that_is_not_offered_is_understood_and_its_answer_is_not() -> None:
    others = set(EVERY_ACTION) - {"get_weather"}
    assert understood("what's the weather in Nairobi?", actions=others).action == "get_weather"
    assert understood("what's the weather in Nairobi?", actions=()).action == "get_weather"
    asked = DialogState("get_weather", {}, ("city",))
    assert understood("Zanzibar", asked, actions=others).action == "none"


def test_what_nothing_fits_is_none_and_says_how_surely() -> None:
    intent = understood("the cat sat on the mat")
    assert (intent.action, intent.guessed) == ("none", True)
    assert 0 < intent.confidence < 1


def asked(action: str, slot: str, **slots: JsonValue) -> DialogState:
    return DialogState(action=action, slots=slots, asked=(slot,))


@pytest.mark.parametrize(
    ("state", "text", "slots"),
    [
        (asked("get_weather", "city"), "Mombasa", {"city": "Mombasa"}),
        (asked("get_weather", "city"), "in kisumo please", {"city": "Kisumu"}),
        (asked("get_weather", "city"), "Mombasa tomorrow", {"city": "Mombasa", "date": "2026-11-25"}),
        (asked("get_weather", "city"), "Gibsland", {"city": "Gibsland"}),
        (asked("get_weather", "city"), "huko Lamu", {"city": "Lamu"}),
        (asked("get_weather", "date", city="Lamu"), "friday", {"date": "2026-11-27"}),
        (asked("set_reminder", "time", content="x"), "tomorrow 9am", {"time": "2026-11-25T09:00"}),
        (asked("set_reminder", "time", content="x"), "5", {"time": "2026-11-24T17:00"}),
        (asked("set_reminder", "time", content="x"), "9.30", {"time": "2026-11-24T21:30"}),
        (asked("set_reminder", "time", content="x"), "kesho saa tatu asubuhi", {"time": "2026-11-25T09:00"}),
        (asked("set_reminder", "time", content="x"), "in ten minutes", {"time": "2026-11-24T10:25:30"}),
        (
            asked("set_reminder", "time", content="x"),
            "every day at 8pm",
            {"time": "2026-11-24T20:00", "recurrence": "daily"},
        ),
        (asked("set_reminder", "content", time="2026-11-25T09:00"), "to stretch", {"content": "stretch"}),
        (
            asked("set_reminder", "content", time="2026-11-25T09:00"),
            "Call Asha at noon",
            {"content": "Call Asha at noon"},
        ),
        (asked("set_reminder", "content"), "call Asha at noon", {"content": "call Asha", "time": "2026-11-24T12:00"}),
        (
            asked("set_reminder", "content", time="2026-11-25T09:00"),
            "check the weather in Lamu",
            {"content": "check the weather in Lamu"},
        ),
        (asked("cancel_reminder", "which"), "the second one", {"which": "2"}),
        (asked("cancel_reminder", "which"), "3", {"which": "3"}),
        (asked("cancel_reminder", "which"), "call Asha", {"which": "call Asha"}),
        (asked("convert_currency", "amount", from_currency="USD"), "200", {"amount": "200"}),
        (asked("convert_currency", "amount", from_currency="USD"), "mia tano", {"amount": "500"}),
        (asked("convert_currency", "from_currency", amount="5"), "euros", {"from_currency": "EUR"}),
        (asked("convert_currency", "to_currency", amount="5"), "to shillings please", {"to_currency": "KES"}),
        (asked("convert_currency", "from_currency", amount="5"), "bitcoin", {"from_currency": "bitcoin"}),
    ],
)
def test_the_answer_to_a_question_fills_its_slot(state: DialogState, text: str, slots: Slots) -> None:
    intent = understood(text, state)
    assert (intent.action, intent.slots) == (state.action, slots)


@pytest.mark.parametrize(
    ("state", "text", "slots"),
    [
        (asked("set_reminder", "content", time="2026-11-25T09:00"), "no, make it 10", {"time": "2026-11-25T10:00"}),
        (asked("set_reminder", "content", time="2026-11-25T21:00"), "no, make it 10", {"time": "2026-11-25T22:00"}),
        (asked("set_reminder", "content", time="2026-11-25T17:30"), "sorry, on friday", {"time": "2026-11-27T17:30"}),
        (asked("get_weather", "date", city="Nairobi"), "actually Mombasa", {"city": "Mombasa"}),
        (asked("convert_currency", "from_currency", amount="5"), "no, make it 50", {"amount": "50"}),
    ],
)
def test_a_correction_changes_what_was_said(state: DialogState, text: str, slots: Slots) -> None:
    intent = understood(text, state)
    assert (intent.action, intent.slots) == (state.action, slots)


@pytest.mark.parametrize(
    ("last", "text", "slots"),
    [
        (("get_weather", {"city": "Nairobi"}), "and in Mombasa?", {"city": "Mombasa"}),
        (("get_weather", {"city": "Nairobi"}), "what about tomorrow?", {"city": "Nairobi", "date": "2026-11-25"}),
        (("get_weather", {"city": "Nairobi"}), "na kesho?", {"city": "Nairobi", "date": "2026-11-25"}),
        (
            ("convert_currency", {"amount": "100", "from_currency": "USD", "to_currency": "KES"}),
            "and in euros?",
            {"amount": "100", "from_currency": "USD", "to_currency": "EUR"},
        ),
        (
            ("convert_currency", {"amount": "100", "from_currency": "USD", "to_currency": "KES"}),
            "what about 250",
            {"amount": "250", "from_currency": "USD", "to_currency": "KES"},
        ),
    ],
)
def test_what_was_looked_up_is_looked_up_again_with_a_change(last: tuple[str, Slots], text: str, slots: Slots) -> None:
    intent = understood(text, DialogState(history={last[0]: last[1]}))
    assert (intent.action, intent.slots) == (last[0], slots)


def test_a_reminder_that_is_set_is_not_set_once_more_by_a_correction() -> None:
    state = DialogState(history={"set_reminder": {"content": "x", "time": "2026-11-25T09:00"}})
    assert understood("no, make it 10", state).action == "none"


@pytest.mark.parametrize("text", ["cancel", "never mind", "forget it please", "acha", "sahau"])
def test_an_unfinished_action_can_be_left(text: str) -> None:
    assert understood(text, asked("get_weather", "city")).action == LEAVE


def test_another_request_goes_before_the_answer() -> None:
    intent = understood("what's the weather in Lamu?", asked("set_reminder", "content"))
    assert (intent.action, intent.slots) == ("get_weather", {"city": "Lamu"})


def test_yes_takes_what_was_offered_and_means_nothing_otherwise() -> None:
    state = DialogState(action="get_weather", offered={"city": "Lamu"})
    assert understood("yes please", state).slots == {"city": "Lamu"}
    assert understood("ndio", state).slots == {"city": "Lamu"}
    assert understood("yes").action == "smalltalk"


def test_a_long_text_is_kept_whole_as_content() -> None:
    story = "x" * 3000
    intent = understood(f"remind me in 5 minutes to read {story}")
    assert intent.slots["content"] == f"read {story}"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("nataka kufuta data yangu", "erase_my_data"), ("I want my data deleted", "erase_my_data"),
        ("nataka data yangu yote", "export_my_data"), ("don't remind me about church this sunday", "cancel_reminder"),
        ("when it rains, text the gardener", "create_workflow"),
    ],
)  # fmt: skip
def test_words_that_are_near_each_other_are_told_apart(text: str, action: str) -> None:
    assert understood(text).action == action


def test_a_reminder_of_a_stretch_is_at_its_beginning() -> None:
    intent = understood("remind me to call mum from 3 to 5pm tomorrow")
    assert intent.slots == {"content": "call mum", "time": "2026-11-25T15:00"}


def test_a_request_of_its_own_is_no_answer() -> None:
    intent = understood("nipangie safari ya Diani", asked("get_weather", "city"))
    assert intent.action == "create_itinerary"


def test_a_reminder_counted_from_another_day() -> None:
    intent = understood("remind me 2 weeks before christmas to buy gifts")
    assert intent.slots == {"content": "buy gifts", "time": "2026-12-11T09:00"}
