"""Twilio's own description of its API judges both sides: our client's requests, and our simulator's answers.

A proxy stands between them and shares no code with either. recordings/twilio/description.json is what Twilio publishes
(twilio-oai, MIT) for the paths we use, without its prose.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import jsonschema
import orjson
import pytest
from aiohttp import ClientSession, web

from channels.degrade import TWILIO, pieces
from channels.whatsapp.twilio import TwilioChannel
from channels.whatsapp.twilio_content import TwilioContent
from core.errors import MathiaError
from core.messages import Address, ChannelName, OutboundMessage, Part, TemplateUse, Text
from core.settings import Settings
from core.templates import OURS
from tests.channels.test_golden import REPLIES
from tests.conftest import Sandbox

DESCRIPTION = orjson.loads((Path(__file__).parent / "recordings" / "twilio" / "description.json").read_bytes())
PERSON = "whatsapp:+254711000777"
JSON_TYPES = ("application/json", "application/scim+json")
Twist = Callable[[Any], Any]


def schema(of: Any) -> Any:
    """An OpenAPI 3.0 schema as a JSON Schema: `nullable` is a type, a `$ref` is looked up."""
    if isinstance(of, list):
        return [schema(one) for one in of]
    if not isinstance(of, dict):
        return of
    if "$ref" in of:
        return schema(DESCRIPTION["schemas"][of["$ref"].rpartition("/")[2]])
    made = {key: schema(value) for key, value in of.items() if key not in ("nullable", "discriminator")}
    if of.get("nullable"):
        return {"anyOf": [made, {"type": "null"}]}
    return made


def strict(of: Any) -> Any:
    """The same for an object whose fields are all known."""
    return schema(of) | {"additionalProperties": False}


@dataclass
class Referee:
    """The proxy: `faults` is what one of the two sides did that the description does not allow."""

    behind: str
    url: str = ""
    twist: Twist | None = None
    faults: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    async def serve(self, request: web.Request) -> web.Response:
        """Pass one request on, and its answer back, and judge both."""
        body = await request.read()
        template, found = next(
            (path, match)
            for path in DESCRIPTION["paths"]
            if (match := re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path), request.path))
        )
        method = request.method.lower()
        described = DESCRIPTION["paths"][template].get(method)
        if described is None:
            self.faults.append(f"{method} {template} is not described")
            return web.Response(status=404)
        self.seen.add((method, template))
        self._judge_request(request, body, described, found.groupdict())
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            ClientSession() as session,
            session.request(request.method, self.behind + request.path_qs, data=body, headers=headers) as answer,
        ):
            said = await answer.read()
        if self.twist is not None:
            said = orjson.dumps(self.twist(orjson.loads(said)))
        self._judge_answer(answer.status, said, described)
        return web.Response(status=answer.status, body=said, content_type="application/json")

    def _judge_request(self, request: web.Request, body: bytes, described: Any, path: dict[str, str]) -> None:
        for parameter in described.get("parameters", ()):
            where, name = parameter["in"], parameter["name"]
            given = path.get(name) if where == "path" else request.query.get(name) if where == "query" else None
            if given is None:
                if parameter.get("required"):
                    self.faults.append(f"request: {name} is missing")
                continue
            kind = parameter["schema"].get("type")
            self._judge(f"request: {name}", int(given) if kind == "integer" else given, schema(parameter["schema"]))
        known = {parameter["name"] for parameter in described.get("parameters", ()) if parameter["in"] == "query"}
        self.faults += [f"request: query {name} is not described" for name in set(request.query) - known]
        contents = described.get("requestBody", {}).get("content", {})
        if not contents:
            return
        if request.content_type not in contents:
            self.faults.append(f"request: a body of {request.content_type}")
            return
        shape = strict(contents[request.content_type]["schema"])
        if request.content_type in JSON_TYPES:
            self._judge("request", orjson.loads(body), shape)
            return
        form: dict[str, Any] = {}
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            is_list = shape["properties"].get(name, {}).get("type") == "array"
            form[name] = [*form.get(name, []), value] if is_list else value
        self._judge("request", form, shape)

    def _judge_answer(self, status: int, said: bytes, described: Any) -> None:
        allowed = described["responses"].get(str(status))
        if allowed is None:
            if status < 400:
                self.faults.append(f"answer: status {status}")
            return
        self._judge("answer", orjson.loads(said), schema(allowed["content"]["application/json"]["schema"]))

    def _judge(self, what: str, value: object, shape: Any) -> None:
        errors = jsonschema.Draft202012Validator(shape).iter_errors(value)
        self.faults += [f"{what}: {error.json_path}: {error.message}" for error in errors]


@pytest.fixture
async def referee(sandbox: Sandbox) -> AsyncIterator[Referee]:
    made = Referee(f"{sandbox.url}/twilio")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


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
            assert any("Additional properties" in one for one in referee.faults), referee.faults
        referee.faults.clear()
        async with session.post(url, json={"To": PERSON}) as answer:
            await answer.read()
        assert referee.faults == ["request: a body of application/json"]
