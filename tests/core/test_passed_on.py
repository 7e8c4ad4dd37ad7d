"""What one request answered is passed on to the next: shown as it would be sent, and sent as it was shown."""

import re

import pytest
from pydantic import Field

from connectors import CONNECTORS
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.brain.rules import RuleBrain
from core.catalog import Catalog
from core.db import Database
from core.dialog import Intent, Plan
from core.language import Saying
from core.settings import Settings
from core.turn_steps import NOTHING_TO_PASS_ON
from tests.core.brain.test_rules import turn
from tests.core.speaking import WHATSAPP, at, mathia
from tests.skills import needs

pytestmark = needs("weather", "reminders", "account", "memory")

ASHA = at(WHATSAPP, "whatsapp:+254712345678")
SENT: list[tuple[str, str]] = []


class Mail(Params):
    """To whom, and what."""

    to: str = Field(description="Whom to")
    text: str = Field(description="The words", max_length=200)


async def shown(ctx: ActionContext, params: Mail) -> str:
    return f"To {params.to}:\n{params.text}"


@action(effect=Effect.WRITE, examples=("e-mail asha@example.com saying hello",), shows=shown)
async def send_email(ctx: ActionContext, params: Mail) -> ActionResult:
    """Mail somebody, in this test alone."""
    SENT.append((params.to, params.text))
    return ActionResult("Done. Mailed.")


MAIL = Connector("mail", Saying("E-mail", "Barua pepe"), (send_email,))
WITH_MAIL = (*CONNECTORS, MAIL)


async def test_what_was_answered_is_shown_and_sent_word_for_word(db: Database, valkey_url: str) -> None:
    SENT.clear()
    async with mathia(db, valkey_url, connectors=WITH_MAIL) as whole:
        await whole.hear(ASHA, "remind me tomorrow at 9 am to call Juma")
        told = await whole.hear(ASHA, "list my reminders and email them to juma@example.com")
        words, _, how = told.partition("To juma@example.com:\n")[2].partition("\n\n")
        assert "call Juma" in words
        assert SENT == [], "nothing goes before it is confirmed"
        code = re.findall(r"within 10 minutes: (\S+)", how)
        assert await whole.hear(ASHA, code[0]) == "Done. Mailed."
        assert [("juma@example.com", words)] == SENT


async def test_what_is_too_long_for_it_is_cut_before_it_is_shown(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url, connectors=WITH_MAIL) as whole:
        for hour in range(1, 9):
            await whole.hear(ASHA, f"remind me tomorrow at {hour} pm to call the {hour}. Juma of this town")
        told = await whole.hear(ASHA, "list my reminders and email them to juma@example.com")
        words = told.partition("To juma@example.com:\n")[2].partition("\n\n")[0]
        assert len(words) <= 200
        assert words.endswith("…")


async def test_where_nothing_was_answered_nothing_is_passed_on(db: Database, valkey_url: str) -> None:
    SENT.clear()
    async with mathia(db, valkey_url, connectors=WITH_MAIL) as whole:
        told = await whole.hear(ASHA, "find flights to Kisumu on Friday and e-mail them to juma@example.com")
        assert "find a flight. I cannot do that here yet." in told
        assert told.endswith(NOTHING_TO_PASS_ON.en)
        assert "Juma" not in await whole.hear(ASHA, "my reminders")
    assert SENT == []


async def test_a_reminder_of_it_holds_what_it_was(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url, connectors=WITH_MAIL) as whole:
        await whole.hear(ASHA, "my goal is to save 20,000 a month")
        await whole.hear(ASHA, "what are my goals and remind me of them tomorrow at 7 pm")
        assert "save 20,000 a month" in (await whole.hear(ASHA, "my reminders"))


@pytest.mark.parametrize(
    ("text", "refers"),
    [
        ("weather in Nairobi tomorrow and e-mail it to juma@example.com", "text"),
        ("weather in Nairobi tomorrow and then send that by email to juma@example.com", "text"),
        ("hali ya hewa Kisumu kesho na unikumbushe hiyo saa moja jioni", "content"),
        ("weather in Nairobi tomorrow and remind me of it at 7pm", "content"),
        ("weather in Nairobi tomorrow and send an e-mail to juma@example.com saying I am late", None),
        ("weather in Nairobi tomorrow and remind me at 7pm to close it", None),
    ],
)
async def test_only_a_word_for_it_means_what_was_answered(text: str, refers: str | None) -> None:
    catalog = Catalog(WITH_MAIL, Settings.model_validate({}), confirms=True)
    thought = await RuleBrain(catalog).think(turn(text), catalog.offered)
    assert isinstance(thought, Plan), thought
    [_, step] = thought.steps
    assert isinstance(step, Intent)
    assert step.refers == refers
