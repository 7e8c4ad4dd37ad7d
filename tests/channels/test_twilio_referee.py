"""Twilio's own description of its API judges both sides: our client's requests, and our simulator's answers.

recordings/twilio/description.json is what Twilio publishes
(twilio-oai, MIT) for the paths we use, without its prose.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiohttp import ClientSession

from channels.degrade import TWILIO, pieces
from channels.whatsapp.twilio import TwilioChannel
from channels.whatsapp.twilio_content import TwilioContent
from core.errors import MathiaError
from core.messages import Address, ChannelName, OutboundMessage, Part, TemplateUse, Text
from core.settings import Settings
from core.templates import OURS
from tests.channels.referee import Referee, refereed
from tests.channels.test_golden import REPLIES
from tests.conftest import Sandbox

DESCRIPTION = orjson.loads((Path(__file__).parent / "recordings" / "twilio" / "description.json").read_bytes())
PERSON = "whatsapp:+254711000777"


@pytest.fixture
async def referee(sandbox: Sandbox) -> AsyncIterator[Referee]:
    async with refereed(f"{sandbox.url}/twilio", DESCRIPTION["paths"], DESCRIPTION["schemas"]) as made:
        yield made


@pytest.fixture
def settings(referee: Referee, sandbox: Sandbox) -> Settings:
    given = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    return given.model_copy(update={"twilio_base_url": referee.url, "twilio_content_base_url": referee.url})


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[TwilioChannel]:
    made = TwilioChannel(settings)
    yield made
    await made.close()


def message(parts: tuple[Part, ...], account: str, **more: Any) -> OutboundMessage:
    to = Address(ChannelName.WHATSAPP, account, PERSON, PERSON)
    return OutboundMessage(1, 1, to, uuid4(), 1, parts, datetime.now(UTC), **more)


@pytest.mark.parametrize("reply", REPLIES)
async def test_every_reply_is_sent_as_twilio_describes(channel: TwilioChannel, referee: Referee, reply: str) -> None:
    parts = REPLIES[reply]
    for piece in range(len(pieces(parts, TWILIO))):
        await channel.send(message(parts, channel.account, piece=piece))
    assert referee.faults == []
    assert {template for _, template in referee.seen} == {"/2010-04-01/Accounts/{AccountSid}/Messages.json"}


async def test_asking_after_a_message_is_as_twilio_describes(channel: TwilioChannel, referee: Referee) -> None:
    sent = message((Text(text=f"Did this arrive? {uuid4()}"),), channel.account)
    provider_id = await channel.send(sent)
    since = datetime.now(UTC) - timedelta(minutes=1)
    assert await channel.find_sent(sent, since, ()) == provider_id
    assert referee.faults == []
    assert ("get", "/2010-04-01/Accounts/{AccountSid}/Messages.json") in referee.seen


async def test_templates_are_made_submitted_and_used_as_twilio_describes(
    channel: TwilioChannel, settings: Settings, referee: Referee, sandbox: Sandbox
) -> None:
    assert sandbox.post("/_reset", "{}") < 300, "templates that others submitted are forgotten"
    content = TwilioContent(settings)
    for template in OURS:
        provider_ref = await content.add(template)
        await content.submit(provider_ref, template)
        await content.approval(provider_ref, template.language)
        variables = {str(number): "words" for number in range(1, 1 + template.body.count("{{"))}
        use = TemplateUse(template.name, template.language, provider_ref, variables, "words")
        await channel.send(message((Text(text="words"),), channel.account, template=use))
    await content.close()
    assert referee.faults == []
    assert {path for _, path in referee.seen} > {"/v1/Content", "/v1/Content/{ContentSid}/ApprovalRequests/whatsapp"}


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("num_media", 0, "num_media"),
        ("sid", "SM123", "sid"),
        ("status", "arrived", "status"),
        ("error_code", "63016", "error_code"),
        ("account_sid", "XX" + "0" * 32, "account_sid"),
    ],
)
async def test_the_referee_sees_a_simulator_that_is_wrong(
    channel: TwilioChannel, referee: Referee, field: str, value: object, fault: str
) -> None:
    referee.twist = lambda answer: answer | {field: value}
    with suppress(MathiaError):  # Our client may see it too.
        await channel.send(message((Text(text="words"),), channel.account))
    assert any(fault in one for one in referee.faults), referee.faults


async def test_the_referee_sees_a_client_that_is_wrong(referee: Referee, settings: Settings) -> None:
    url = f"{referee.url}/2010-04-01/Accounts/{settings.twilio_account_sid}/Messages.json"
    async with ClientSession() as session:
        for body in ({"to": PERSON, "Body": "x"}, {"To": PERSON, "Body": "x", "ForceDelivery": "x", "Text": "y"}):
            referee.faults.clear()
            async with session.post(url, data=body) as answer:
                await answer.read()
            assert any("Unevaluated properties" in one for one in referee.faults), referee.faults
        referee.faults.clear()
        async with session.post(url, json={"To": PERSON}) as answer:
            await answer.read()
        assert referee.faults == ["request: a body of application/json"]
