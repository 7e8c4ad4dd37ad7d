"""The rule brain as a turn meets it: intents for actions, honest words for the rest."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from connectors import CONNECTORS
from core.actions import Person
from core.brain import replies
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.dialog import DialogState, Intent
from core.messages import Address, ChannelName, Choices, InboundMessage, Location, Media, Part, Reply, Text, text_of
from core.settings import Settings
from core.turn import Turn, speaking
from tests.core.brain.speaking import NAIROBI, sure, understood
from tests.skills import needs

pytestmark = needs("weather", "currency", "reminders", "documents")

CATALOG = Catalog(CONNECTORS, Settings.model_validate({}))
BRAIN = RuleBrain(CATALOG, NAIROBI)
INSTANT = datetime(2026, 11, 24, 7, 15, 30, tzinfo=UTC)


def turn(
    *texts: str,
    state: DialogState | None = None,
    language: str = "en",
    timezone: str | None = None,
    parts: tuple[Part, ...] = (),
) -> Turn:
    """A turn of these messages, all by one person at INSTANT."""
    address = Address(ChannelName.WEB, "default", "room", "person")
    every = [*((Text(text=text),) for text in texts), *((part,) for part in parts)]
    messages = tuple(InboundMessage(address, str(number), each, INSTANT) for number, each in enumerate(every))
    person = speaking(Person(uuid4(), None, language, timezone), "\n".join(texts))
    return Turn(1, 1, uuid4(), address, person, messages, state or DialogState(), INSTANT)


async def reply(*texts: str, state: DialogState | None = None, language: str = "en") -> Reply:
    thought = await BRAIN.think(turn(*texts, state=state, language=language), CATALOG.offered)
    assert isinstance(thought, Reply)
    return thought


def options(answer: Reply) -> tuple[str, ...]:
    return next((part.options for part in answer.parts if isinstance(part, Choices)), ())


async def test_a_request_is_an_intent() -> None:
    thought = await BRAIN.think(turn("remind me to call Asha tomorrow at 9"), CATALOG.offered)
    assert thought == Intent("set_reminder", {"time": "2026-11-25T09:00", "content": "call Asha"}, 0.99)


async def test_lines_that_wait_together_are_one_request() -> None:
    thought = await BRAIN.think(turn("hi", "remind me", "tomorrow at 9", "to call Asha"), CATALOG.offered)
    assert thought == Intent("set_reminder", {"time": "2026-11-25T09:00", "content": "call Asha"}, 0.99)


async def test_times_are_those_of_the_persons_own_zone() -> None:
    thought = await BRAIN.think(turn("remind me in 1 minute to stretch", timezone="America/New_York"), CATALOG.offered)
    assert isinstance(thought, Intent)
    assert thought.slots["time"] == "2026-11-24T02:16:30"


async def test_nothing_is_asked_for_that_is_not_offered() -> None:
    thought = await BRAIN.think(turn("what's the weather in Nairobi?"), ())
    assert isinstance(thought, Reply)
    assert text_of(thought.parts) == "I understood that you want to know the weather. I cannot do that here yet."
    thought = await BRAIN.think(turn("kettle purple seventeen"), ())
    assert isinstance(thought, Reply)
    assert text_of(thought.parts) == "Sorry, I did not understand that. There is nothing I can do just now."


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("hi", "Hello. I am Mathia, a bot."),
        ("Habari", "Habari. Mimi ni Mathia, roboti."),
        ("thanks a lot", "You are welcome."),
        ("asante sana", "Karibu."),
        ("bye", "Goodbye."),
        ("are you a bot?", "I am Mathia, a bot, not a person."),
        ("am I talking to a human", "I am Mathia, a bot, not a person."),
        ("wewe ni binadamu?", "Mimi ni Mathia, roboti, si binadamu."),
        ("yes", "I have not asked you anything just now."),
        ("what can you do", "Here is what I can do."),
        ("msaada", "Haya ndiyo ninayoweza kufanya."),
        ("the cat sat on the mat", "Sorry, I did not understand that."),
        ("paka amelala juu ya mti", "Samahani, sijaelewa."),
    ],
)
async def test_talk_is_answered_in_the_language_it_is_in(text: str, begins: str) -> None:
    assert text_of((await reply(text)).parts).startswith(begins)


async def test_a_word_of_no_language_is_answered_in_the_persons_own() -> None:
    assert text_of((await reply("zzz", language="sw")).parts).startswith("Samahani")
    assert text_of((await reply("zzz", language="en-GB")).parts).startswith("Sorry")


@pytest.mark.parametrize("text", ["hi", "habari", "help", "msaada", "xyzzy", "sijui"])
async def test_what_is_offered_to_try_is_understood(text: str) -> None:
    tried = options(await reply(text))
    assert len(tried) == replies.EXAMPLES_MAX
    assert all(map(sure, map(understood, tried)))


@pytest.mark.parametrize(
    ("name", "example"), [(action.name, example) for action in CATALOG.offered for example in action.examples]
)
async def test_every_example_of_an_action_asks_for_it_and_fills_it(name: str, example: str) -> None:
    intent = await BRAIN.think(turn(example), CATALOG.offered)
    assert isinstance(intent, Intent)
    assert (intent.action, sure(intent)) == (name, True)
    CATALOG[name].params.model_validate(dict(intent.slots))


async def test_an_open_question_is_asked_again() -> None:
    state = DialogState(action="get_weather", asked=("city",))
    assert text_of((await reply("it is a very long story that I could tell you", state=state)).parts) == (
        "Sorry, I did not understand that. Which city? Or say “cancel” to leave it."
    )
    assert text_of((await reply("thanks", state=state)).parts) == "You are welcome. Which city?"
    assert text_of((await reply("hello", state=state)).parts) == "Hello. Which city?"


@pytest.mark.parametrize(
    ("text", "says"), [("never mind", "All right, I have left that."), ("acha", "Sawa, nimeacha hilo.")]
)
async def test_an_action_that_is_left_is_dropped(text: str, says: str) -> None:
    answer = await reply(text, state=DialogState(action="get_weather", asked=("city",)))
    assert isinstance(answer, replies.Dropped)
    assert text_of(answer.parts) == says


async def test_the_words_of_a_reminder_that_is_set_are_said_to_stay_as_they_are() -> None:
    state = DialogState(history={"set_reminder": {"content": "x", "time": "2026-11-25T09:00"}})
    assert "stay as they are" in text_of((await reply("no, to call Asha", state=state)).parts)


async def test_a_place_without_words_is_not_pretended_to_be_read() -> None:
    thought = await BRAIN.think(turn(parts=(Location(latitude=-1.29, longitude=36.82),)), CATALOG.offered)
    assert isinstance(thought, Reply)
    assert "Please write it to me." in text_of(thought.parts)


@pytest.mark.parametrize(
    ("language", "name", "says", "offers"),
    [
        ("en", "lease.pdf", "I have “lease.pdf”.", "summarise this"),
        ("sw", None, "Nimepata faili yako.", "fupisha hii"),
    ],
)
async def test_a_document_without_words_is_met_with_what_can_be_done_with_it(
    language: str, name: str | None, says: str, offers: str
) -> None:
    part = Media(media_type="application/pdf", ref=f"file:{uuid4()}", filename=name)
    asked = turn(parts=(part,), language=language)
    thought = await BRAIN.think(asked, CATALOG.offered)
    assert isinstance(thought, Reply)
    assert says in text_of(thought.parts)
    choices = [part for part in thought.parts if isinstance(part, Choices)]
    assert offers in choices[0].options
    for option in choices[0].options:
        intent = understood(option)
        assert intent.action in ("summarise_document", "ask_document"), option


async def test_nobody_is_told_to_type_a_code_they_do_not_have() -> None:
    answer = await reply("help")
    assert "123456" not in text_of(answer.parts)
    assert "K7QM" not in text_of(answer.parts)


@pytest.mark.parametrize(
    ("text", "begins"), [("cancel", "I have not asked you anything"), ("ghairi", "Sijakuuliza kitu")]
)
async def test_whoever_leaves_what_was_not_begun_is_told(text: str, begins: str) -> None:
    assert text_of((await reply(text)).parts).startswith(begins)
