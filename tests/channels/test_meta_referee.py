"""Meta's own description of the Cloud API judges both sides: our client's requests, and our simulator's answers.

recordings/meta/messages_schema.json is what Meta publishes (facebook/openapi, MIT) for the paths we use, without prose.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from aiohttp import ClientSession

from channels.whatsapp.cloud import CloudChannel
from core.db import Database
from core.egress import Egress
from core.errors import MathiaError, ProviderRefused
from core.files import Files
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Media, OutboundMessage, Part, Text
from core.settings import Settings
from core.storage import Storage
from core.wake import Wakes
from tests.channels.referee import Referee, refereed
from tests.channels.test_golden import REPLIES
from tests.conftest import Sandbox

DESCRIPTION = orjson.loads((Path(__file__).parent / "recordings" / "meta" / "messages_schema.json").read_bytes())
MESSAGES, MEDIA = "/{Version}/{PhoneNumberID}/messages", "/{Version}/{PhoneNumberID}/media"
FILE = "/{Version}/{MediaID}"
UNDESCRIBED = {"application/json": {"biz_opaque_callback_data"}, "multipart/form-data": {"type"}}
"""Our reference, and the type of a file, which Meta's prose has and its schemas lack."""
PERSON = "254711000777"


@pytest.fixture
async def referee(sandbox: Sandbox) -> AsyncIterator[Referee]:
    behind, schemas = f"{sandbox.url}/whatsapp", DESCRIPTION["components"]["schemas"]
    async with refereed(behind, DESCRIPTION["paths"], schemas, UNDESCRIBED) as made:
        yield made


@pytest.fixture
def settings(referee: Referee, sandbox: Sandbox) -> Settings:
    given = Settings(_env_file=None, sandbox_url=sandbox.url).sandboxed()
    return given.model_copy(update={"meta_base_url": referee.url})


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[CloudChannel]:
    made = CloudChannel(settings)
    yield made
    await made.close()


def message(parts: tuple[Part, ...], account: str, **more: Any) -> OutboundMessage:
    to = Address(ChannelName.WHATSAPP, account, PERSON, PERSON)
    return OutboundMessage(1, 1, to, uuid4(), 1, parts, datetime.now(UTC), **more)


@pytest.mark.parametrize("reply", REPLIES)
async def test_every_reply_is_sent_as_meta_describes_and_taken(
    channel: CloudChannel, referee: Referee, sandbox: Sandbox, reply: str
) -> None:
    whole = message(REPLIES[reply], channel.account)
    sent = [await channel.send(message(REPLIES[reply], channel.account, piece=n)) for n in range(channel.pieces(whole))]
    assert referee.faults == []
    assert referee.seen == {("post", MESSAGES)}
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client:
        taken = {row.get("id") for row in (await client.get("/whatsapp/_truth")).json() if row["kind"] == "send"}
    assert taken >= set(sent)
    assert len(set(sent)) == len(sent)


async def test_a_file_is_given_to_meta_and_sent_as_it_describes(
    db: Database, settings: Settings, referee: Referee, tmp_path: Path
) -> None:
    files = Files(db, Storage(Settings.model_validate({"files_dir": str(tmp_path)})))
    who = Address(ChannelName.WHATSAPP, settings.meta_phone_number_id, PERSON, PERSON)
    hello = InboundMessage(who, uuid4().hex, (Text(text="hello"),), datetime.now(UTC))
    [received] = await Inbox(db, Wakes(db)).receive([hello])
    kept = await files.put(received.conversation_id, b"%PDF-1.7 words", name="a.pdf", media_type="application/pdf")
    part = Media(media_type=kept.media_type, ref=f"file:{kept.id}", filename=kept.name, caption="Invoice 17")
    channel = CloudChannel(settings, files)
    await channel.send(OutboundMessage(1, 1, who, received.conversation_id, 1, (part,), datetime.now(UTC)))
    await channel.close()
    assert referee.faults == []
    assert referee.seen == {("post", MEDIA), ("post", MESSAGES)}


async def test_a_file_is_asked_for_as_meta_describes(channel: CloudChannel, referee: Referee, sandbox: Sandbox) -> None:
    given = {"type": "audio/ogg", "data": base64.b64encode(b"OggS" + bytes(99)).decode()}
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client:
        kept = (await client.post("/whatsapp/_media", json=given)).json()["id"]
    egress = Egress(Settings(_env_file=None, sandbox_url=referee.url))
    with pytest.raises(ProviderRefused, match="leads somewhere else"):  # The file lies beside the referee, not behind.
        await channel.fetch(channel.account, str(kept), egress)
    await egress.close()
    assert referee.faults == []
    assert referee.seen == {("get", FILE)}


@pytest.mark.parametrize(
    "twisted",
    [
        {"messages": {"id": "wamid.1"}},
        {"messages": [{"id": 7}]},
        {"messaging_product": 1},
        {"contacts": [{"wa_id": 1}]},
    ],
)
async def test_the_referee_sees_a_simulator_that_is_wrong(
    channel: CloudChannel, referee: Referee, twisted: dict[str, Any]
) -> None:
    referee.twist = lambda answer: answer | twisted
    with suppress(MathiaError):  # Our client may see it too.
        await channel.send(message((Text(text="words"),), channel.account))
    assert any(next(iter(twisted)) in one for one in referee.faults), referee.faults


@pytest.mark.parametrize(
    "changes",
    [{"to": None}, {"type": "words"}, {"text": {"body": 7}}, {"text": None}, {"colour": "red"}, {"type": "image"}],
)
async def test_the_referee_sees_a_client_that_is_wrong(
    referee: Referee, settings: Settings, changes: dict[str, Any]
) -> None:
    asked = {"messaging_product": "whatsapp", "to": PERSON, "type": "text", "text": {"body": "words"}} | changes
    url = f"{referee.url}/{settings.meta_graph_version}/{settings.meta_phone_number_id}/messages"
    body = {name: value for name, value in asked.items() if value is not None}
    async with ClientSession() as session, session.post(url, json=body) as answer:
        await answer.read()
    assert any(one.startswith("request: ") for one in referee.faults), referee.faults
