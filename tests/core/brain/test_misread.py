"""What people type that was once read as something else: a line each, and what it means."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.brain import amounts, errands
from core.brain.words import said
from core.catalog import Problem
from core.dialog import DialogState, Intent, Plan
from core.messages import Address, ChannelName, Reply, text_of
from tests.core.brain.speaking import NAIROBI, NOW, understood
from tests.core.brain.test_rules import BRAIN, CATALOG, turn
from tests.skills import needs

pytestmark = needs("weather", "currency", "reminders", "contacts", "account")

ASKED_WHEN = DialogState("set_reminder", {"content": "call Asha"}, asked=("time",))
LISTED = DialogState(history={"list_reminders": {}})


async def steps(text: str, state: DialogState | None = None) -> list[Intent | Reply]:
    thought = await BRAIN.think(turn(text, state=state), CATALOG.offered)
    return list(thought.steps) if isinstance(thought, Plan) else [thought]


@pytest.mark.parametrize(
    ("text", "time", "rule", "content"),
    [
        # It is Tuesday 24 November 2026, 10:15.
        ("remind me every first Monday of the month to pay rent", "2026-12-07T09:00", "1MO", "pay rent"),
        ("remind me on the first Monday of every month to pay rent", "2026-12-07T09:00", "1MO", "pay rent"),
        ("remind me every month on the second Tuesday at 8am to pay", "2026-12-08T08:00", "2TU", "pay"),
        ("remind me every last Friday to send reports", "2026-11-27T09:00", "-1FR", "send reports"),
        ("remind me every second tuesday of the month to vote", "2026-12-08T09:00", "2TU", "vote"),
        ("nikumbushe kila jumatatu ya kwanza ya mwezi kulipa kodi", "2026-12-07T09:00", "1MO", "kulipa kodi"),
        ("nikumbushe jumatatu ya pili ya kila mwezi saa tatu asubuhi kulipa", "2026-12-14T09:00", "2MO", "kulipa"),
        ("nikumbushe kila mwezi ijumaa ya mwisho kulipa kodi", "2026-11-27T09:00", "-1FR", "kulipa kodi"),
    ],
)
def test_a_weekday_has_its_place_in_every_month(text: str, time: str, rule: str, content: str) -> None:
    wanted = {"time": time, "recurrence": f"FREQ=MONTHLY;BYDAY={rule}", "content": content}
    assert understood(text).slots == wanted


@pytest.mark.parametrize(
    ("text", "time", "place", "content"),
    [
        ("remind me on the last working day of every month to pay salaries", "2026-11-30T09:00", -1, "pay salaries"),
        ("remind me every last working day of the month to pay", "2026-11-30T09:00", -1, "pay"),
        ("remind me every month on the last working day at 8am to pay", "2026-11-30T08:00", -1, "pay"),
        ("remind me on the first business day of every month at 10 to invoice", "2026-12-01T10:00", 1, "invoice"),
        ("nikumbushe siku ya mwisho ya kazi kila mwezi kulipa mishahara", "2026-11-30T09:00", -1, "kulipa mishahara"),
        ("nikumbushe kila mwezi siku ya kazi ya mwisho saa tatu asubuhi kulipa", "2026-11-30T09:00", -1, "kulipa"),
    ],
)
def test_a_working_day_has_its_place_in_every_month(text: str, time: str, place: int, content: str) -> None:
    rule = f"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS={place}"
    assert understood(text).slots == {"time": time, "recurrence": rule, "content": content}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("remind me on the last working day of the month to pay", "2026-11-30T09:00"),
        ("nikumbushe siku ya mwisho ya kazi ya mwezi ujao kulipa", "2026-12-31T09:00"),
        ("remind me on the last Friday of the month to pay", "2026-11-27T09:00"),
        ("remind me on the first Friday of next month at 8am to pay", "2026-12-04T08:00"),
        ("remind me on the first Monday of the month to pay", "2026-12-07T09:00"),
        ("remind me on the third Monday of January to pay", "2027-01-18T09:00"),
        ("nikumbushe ijumaa ya kwanza ya mwezi ujao kulipa", "2026-12-04T09:00"),
        ("remind me every second Monday to pay", "2026-11-30T09:00"),
    ],
)
def test_a_weekday_has_its_place_in_one_month(text: str, time: str) -> None:
    assert understood(text).slots["time"] == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("remind me to call Asha on Saturday, no, Monday at 10", "2026-11-30T10:00"),
        ("remind me on Saturday at 9, no, Monday at 10 to call Asha", "2026-11-30T10:00"),
        ("remind me on Saturday at 9, no, Monday to call Asha", "2026-11-30T09:00"),
        ("remind me tomorrow at 9 no wait 10 to call Asha", "2026-11-25T10:00"),
        ("remind me at 9pm, sorry, 10 to call Asha", "2026-11-24T22:00"),
        ("remind me tomorrow at 9, sorry, at 11 to call Asha", "2026-11-25T11:00"),
        ("nikumbushe jumamosi, hapana, jumatatu saa nne call Asha", "2026-11-30T10:00"),
    ],
)
def test_a_time_taken_back_in_the_same_breath_is_not_meant(text: str, time: str) -> None:
    assert understood(text).slots == {"time": time, "content": "call Asha"}


def test_a_no_that_takes_nothing_back_stays() -> None:
    slots = understood("remind me on Friday to say no on Monday").slots
    assert slots == {"time": "2026-11-27T09:00", "content": "say no on Monday"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("weather in Nairobi, no, Mombasa", {"city": "Mombasa"}),
        ("convert 100, no, 200 USD to KES", {"amount": "200", "from_currency": "USD", "to_currency": "KES"}),
        ("yesterday it rained, what is the weather tomorrow in Nairobi", {"city": "Nairobi", "date": "2026-11-25"}),
        ("yesterday was hot. weather in Nairobi tomorrow?", {"city": "Nairobi", "date": "2026-11-25"}),
        ("weather Nairobi last week", {"city": "Nairobi", "date": "2026-11-16"}),
        ("weather in Nairobi 2 days ago", {"city": "Nairobi", "date": "2026-11-22"}),
        ("did it rain in Nairobi last night?", {"city": "Nairobi", "date": "2026-11-23"}),
        ("hali ya hewa Nairobi wiki iliyopita", {"city": "Nairobi", "date": "2026-11-16"}),
        ("what was the weather in Nairobi yesterday", {"city": "Nairobi", "date": "2026-11-23"}),
        ("weather in Nairobi tomorrow and remember that", {"city": "Nairobi", "date": "2026-11-25"}),
        ("convert 500", {"amount": "500"}),
        ("badilisha 500 tafadhali", {"amount": "500"}),
    ],
)
async def test_what_is_looked_up_is_what_was_meant(text: str, wanted: dict[str, str]) -> None:
    [step] = await steps(text)
    assert isinstance(step, Intent)
    assert step.slots == wanted


@pytest.mark.parametrize("text", ["yesterday was hot", "it was raining yesterday", "convert 500 people to Islam"])
async def test_what_is_only_told_is_no_question(text: str) -> None:
    [step] = await steps(text)
    assert isinstance(step, Reply)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,5 usd", "1.5"),
        ("12,75 eur", "12.75"),
        ("0,5 usd", "0.5"),
        ("1.234,50 eur", "1234.5"),
        ("1,500 usd", "1500"),
        ("1,500.25 usd", "1500.25"),
        ("1,00,000 inr", "100000"),
    ],
)
def test_a_comma_is_a_point_before_one_or_two_digits(text: str, value: str) -> None:
    assert [one.value for one in amounts.amounts(text)] == [value]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("do you speak Swahili?", "Yes. I speak English and Swahili. When should I remind you?"),
        ("unaongea Kiswahili?", "Ndiyo. Ninaongea Kiswahili na Kiingereza. Nikukumbushe lini?"),
        ("can you speak French?", "I speak English and Swahili, and no other language yet. When should I remind you?"),
    ],
)
async def test_who_asks_for_languages_is_told_and_the_question_stays(text: str, says: str) -> None:
    [step] = await steps(text, ASKED_WHEN)
    assert isinstance(step, Reply)
    assert text_of(step.parts) == says


def test_who_asks_to_be_spoken_to_in_a_language_is() -> None:
    assert understood("can you speak Swahili please").action == "set_language"
    assert understood("speak Swahili", ASKED_WHEN).action == "set_language"


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("cancel ya kwanza", "1"),
        ("futa ya pili", "2"),
        ("cancel the first one", "1"),
        ("delete number 3 please", "3"),
        ("cancel the 3rd", "3"),
        ("futa zote", "zote"),
        ("cancel the last one", "last"),
    ],
)
async def test_what_was_listed_is_cancelled_by_its_place(text: str, which: str) -> None:
    assert await steps(text, LISTED) == [Intent("cancel_reminder", {"which": which}, 0.95)]


async def test_nothing_is_cancelled_by_its_place_where_nothing_was_listed() -> None:
    assert all(isinstance(step, Reply) for step in await steps("cancel ya kwanza"))


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("sitaki tena kikumbusho cha dawa", "dawa"),
        ("nifutie reminder ya kodi", "kodi"),
        ("toa kikumbusho cha kodi", "kodi"),
        ("ghairi kile kikumbusho cha kumpigia Asha", "kumpigia Asha"),
        ("futa kikumbusho cha kumpigia Asha simu tafadhali", "kumpigia Asha simu"),
        ("cancel the meeting reminder", "meeting"),
        ("cancel the reminder about rent please", "rent"),
    ],
)
def test_the_words_of_a_reminder_are_all_that_names_it(text: str, which: str) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("cancel_reminder", {"which": which})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("save Njeri 0722 123 456 as my sister", {"name": "Njeri", "relation": "sister"}),
        ("save my sister Njeri 0722 123 456", {"name": "Njeri", "relation": "sister"}),
        ("hifadhi Njeri 0722 123 456 kama dada yangu", {"name": "Njeri", "relation": "dada"}),
        ("save Njeri Wa Kamau: 0722 123 456", {"name": "Njeri Wa Kamau"}),
        ("save 0722 123 456 as Njeri", {"name": "Njeri"}),
        ("hifadhi 0722 123 456 kama dada yangu", {"name": "dada", "relation": "dada"}),
        ("add Njeri 0722 123 456 to my contacts", {"name": "Njeri"}),
    ],
)
def test_a_name_and_a_number_are_a_contact(text: str, wanted: dict[str, str]) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("save_contact", {**wanted, "phone": "0722 123 456"})


@pytest.mark.parametrize("text", ["weka 5000000 kwa akaunti", "add 0722123456 to the reminder"])
def test_not_every_number_that_is_added_is_a_contacts(text: str) -> None:
    assert understood(text).action != "save_contact"


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("badilisha saa iwe ya London", "London"),
        ("badilisha saa yangu iwe ya London", "London"),
        ("weka saa za New York", "New York"),
        ("saa zangu ziwe za Kampala", "Kampala"),
        ("nimehamia Kampala, badilisha saa", "Kampala"),
        ("change my clock to London", "London"),
        ("ninaishi huko Dubai", "Dubai"),
    ],
)
def test_a_clock_is_set_to_the_place_and_not_to_the_sentence(text: str, zone: str) -> None:
    intent = understood(text)
    assert (intent.action, intent.slots) == ("set_timezone", {"zone": zone})


def test_the_hour_of_a_meeting_is_no_clock_of_ones_own() -> None:
    assert understood("badilisha saa ya mkutano iwe saa tano").action != "set_timezone"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "remind me to call Asha at 5pm and to buy milk at 6pm",
            [("2026-11-24T17:00", "call Asha"), ("2026-11-24T18:00", "buy milk")],
        ),
        (
            "remind me tomorrow at 5pm to call Asha and at 6pm to buy milk",
            [("2026-11-25T17:00", "call Asha"), ("2026-11-25T18:00", "buy milk")],
        ),
        (
            "nikumbushe kesho saa tano asubuhi kupiga simu na saa kumi jioni kununua maziwa",
            [("2026-11-25T11:00", "kupiga simu"), ("2026-11-25T16:00", "kununua maziwa")],
        ),
        (
            "remind me at 5 to call Asha, at 6 to buy milk and at 7 to pray",
            [("2026-11-24T17:00", "call Asha"), ("2026-11-24T18:00", "buy milk"), ("2026-11-24T19:00", "pray")],
        ),
        ("remind me to buy milk and call John tomorrow at 9", [("2026-11-25T09:00", "buy milk and call John")]),
        ("remind me at 5pm to meet John and tell him it is at 6pm",
         [("2026-11-24T17:00", "meet John and tell him it is at 6pm")]),
    ],
)  # fmt: skip
async def test_reminders_with_times_of_their_own_are_several(text: str, wanted: list[tuple[str, str]]) -> None:
    found = [step.slots for step in await steps(text) if isinstance(step, Intent)]
    assert found == [{"time": time, "content": content} for time, content in wanted]


def test_nobody_is_called_that() -> None:
    told = errands.send_whatsapp(said("mwambie kuwa nitachelewa"), NOW, NAIROBI)
    assert told == {"message": "nitachelewa"}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("remind me this evening to call Asha", None),
        ("this evening", ASKED_WHEN),
        ("leo jioni", ASKED_WHEN),
        ("today", ASKED_WHEN),
    ],
)
async def test_the_day_of_a_reminder_is_kept_while_its_hour_is_asked_for(text: str, state: DialogState | None) -> None:
    evening = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)  # 19:30 in Nairobi
    thought = await BRAIN.think(replace(turn(text, state=state), now=evening), CATALOG.offered)
    assert isinstance(thought, Intent)
    before = dict(state.slots) if state else {}
    problem = CATALOG.validate(CATALOG["set_reminder"], {**before, **thought.slots})
    assert isinstance(problem, Problem)
    assert problem.question.en == "You named a day but no time. When should I remind you?"


def test_this_evening_is_never_tomorrows() -> None:
    late = datetime(2026, 11, 24, 19, 30)  # noqa: DTZ001  a wall clock in Nairobi
    assert understood("remind me this evening at 7 to eat", now=late).slots["time"] == "2026-11-24T19:00"
    assert understood("nikumbushe jioni hii saa mbili kula", now=late).slots["time"] == "2026-11-24T20:00"


@pytest.mark.parametrize(
    ("zone", "text", "day"),
    [
        (NAIROBI, "3/4", "2027-04-03"),
        ("America/New_York", "3/4", "2027-03-04"),
        ("US/Pacific", "3/4/2027", "2027-03-04"),
        ("America/Chicago", "3-4-2027", "2027-03-04"),
        ("America/Chicago", "15/4", "2027-04-15"),
        ("Europe/London", "4/15", "2027-04-15"),
        ("America/Chicago", "2027-03-04", "2027-03-04"),
        ("America/Jamaica", "3/4", "2027-04-03"),
    ],
)
def test_the_month_comes_first_where_people_write_it_first(zone: str, text: str, day: str) -> None:
    slots = understood(f"remind me on {text} at 9am to vote 3/4", zone=zone).slots
    assert slots == {"time": f"{day}T09:00", "content": "vote 3/4"}


@pytest.mark.parametrize(
    ("person", "day"),
    [
        ("whatsapp:+14155550100", "2027-03-04"),
        ("14155550100", "2027-03-04"),
        ("whatsapp:+254722123456", "2027-04-03"),
        ("whatsapp:+18765551234", "2027-04-03"),
        ("US.1234", "2027-04-03"),
    ],
)
async def test_a_number_tells_which_of_day_and_month_comes_first(person: str, day: str) -> None:
    here = Address(ChannelName.WHATSAPP, "twilio", person, person)
    asked = turn("remind me on 3/4 at 9am to vote")
    asked = replace(asked, messages=(replace(asked.messages[0], sender=here),))
    thought = await BRAIN.think(asked, CATALOG.offered)
    assert isinstance(thought, Intent)
    assert thought.slots["time"] == f"{day}T09:00"


@pytest.mark.parametrize("text", ["wat did i set", "what did I set?", "what have i set so far"])
def test_what_was_set_are_the_reminders(text: str) -> None:
    assert understood(text).action == "list_reminders"


def test_short_names_of_towns_are_known() -> None:
    assert understood("weather in nbi").slots == {"city": "Nairobi"}


@pytest.mark.parametrize(
    ("due", "day"),
    # It is Tuesday 24 November 2026.
    [
        ("due tue", "2026-12-01"),
        ("due on Tuesday", "2026-12-01"),
        ("due fri", "2026-11-27"),
        ("due today", "2026-11-24"),
    ],
)
def test_an_invoice_due_on_the_day_of_the_week_it_is_has_a_week(due: str, day: str) -> None:
    assert understood(f"invoice Achieng 5000 for the logo, {due}").slots["due_date"] == day
