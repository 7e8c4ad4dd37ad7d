"""Templates at Meta: found before they are made again, sent by name, told of by webhook, and each way of failing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from pydantic import SecretStr

from bot.sandbox.meta import check
from channels.base import Approval, OutsideWindow, Undeliverable
from channels.whatsapp import template_registries
from channels.whatsapp.cloud import Batch, CloudChannel, parse, payload, read_answer
from channels.whatsapp.cloud_templates import GONE, CloudTemplates, TemplateStatus
from core.errors import ProviderError, ProviderRefused, ProviderUnavailable, RateLimited
from core.messages import Address, ChannelName, OutboundMessage, TemplateUse, Text
from core.settings import (
    SANDBOX_ACCESS_TOKEN,
    SANDBOX_PHONE_NUMBER_ID,
    SANDBOX_WABA_ID,
    SANDBOX_WHATSAPP_FROM,
    Settings,
)
from core.templates import OURS
from tests.channels.wire import answer, closed_port, wire
from tests.conftest import Sandbox

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parent / "recordings" / "meta" / "messages_schema.json").read_text()
)
NAME = OURS[0].provider_name


def settings(url: str, token: str = SANDBOX_ACCESS_TOKEN, waba_id: str = SANDBOX_WABA_ID) -> Settings:
    return Settings(
        _env_file=None,
        meta_phone_number_id=SANDBOX_PHONE_NUMBER_ID,
        meta_waba_id=waba_id,
        meta_access_token=SecretStr(token),
        meta_app_secret=SecretStr("secret"),
        meta_base_url=url,
    )


def registry(url: str, token: str = SANDBOX_ACCESS_TOKEN, waba_id: str = SANDBOX_WABA_ID) -> CloudTemplates:
    return CloudTemplates(settings(url, token, waba_id), timeout_s=5)


def by_template(variables: dict[str, str], provider_ref: str = NAME) -> OutboundMessage:
    use = TemplateUse("reminder", "en", provider_ref, variables, "whole")
    to = Address(ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, "254712345678", "254712345678")
    return OutboundMessage(1, 1, to, UUID(int=1), 1, (Text(text="Reminder: tea"),), NOW, template=use)


async def test_a_template_is_made_once_and_found_afterwards(sandbox: Sandbox) -> None:
    assert sandbox.post("/_reset", "{}") < 300
    assert sandbox.post("/whatsapp/_templates", '{"review_s": 3600}') < 300
    content = registry(f"{sandbox.url}/whatsapp")
    made = [await content.add(template) for template in OURS]
    assert made == [template.provider_name for template in OURS]
    assert [await content.add(template) for template in OURS] == made
    assert await content.approval(made[0], "en") == Approval("pending")
    assert await content.submit(made[0], OURS[0]) == Approval("pending")
    decided = json.dumps({"name": made[0], "language": "en", "state": "REJECTED", "reason": "INVALID_FORMAT"})
    assert sandbox.post("/whatsapp/_templates", decided) < 300
    assert await content.approval(made[0], "en") == Approval("rejected", "Something is wrong with its form.")
    assert await content.approval(made[0], "sw") == Approval("disabled", GONE)
    await content.close()
    assert sandbox.post("/_reset", "{}") < 300


async def test_what_is_registered_can_be_sent(sandbox: Sandbox) -> None:
    assert sandbox.post("/_reset", "{}") < 300
    assert sandbox.post("/whatsapp/_templates", '{"review_s": 0}') < 300
    content, channel = registry(f"{sandbox.url}/whatsapp"), CloudChannel(settings(f"{sandbox.url}/whatsapp"))
    for template in OURS:
        await content.add(template)
    assert channel.pieces(by_template({"1": "tea"})) == 1
    assert await channel.send(by_template({"1": "tea"}))
    for wrong in (by_template({}), by_template({"1": "tea"}, "mathia_unknown")):
        with pytest.raises(OutsideWindow):
            await channel.send(wrong)
    await content.close()
    await channel.close()
    assert sandbox.post("/_reset", "{}") < 300


async def test_a_list_of_many_pages_is_looked_through(sandbox: Sandbox) -> None:
    page = {"data": [{"name": f"{NAME}_longer", "language": "en"}], "paging": {"cursors": {"after": "A"}, "next": "x"}}
    last = {"data": [{"name": NAME, "language": "en", "status": "APPROVED", "rejected_reason": "NONE"}]}
    async with wire(answer(200, page), answer(200, last)) as meta:
        content = registry(meta.url)
        assert await content.approval(NAME, "en") == Approval("approved")
        await content.close()
    assert "after=A" in meta.requests[1][0].splitlines()[0]
    async with wire(answer(200, page)) as meta:
        content = registry(meta.url)
        with pytest.raises(ProviderRefused, match="more than 1000 templates"):
            await content.approval(NAME, "en")
        await content.close()


@pytest.mark.parametrize(
    ("token", "waba_id", "said"), [("wrong", SANDBOX_WABA_ID, "META_ACCESS_TOKEN"), (SANDBOX_ACCESS_TOKEN, "7", "WABA")]
)
async def test_what_the_owner_set_wrongly_is_said(sandbox: Sandbox, token: str, waba_id: str, said: str) -> None:
    content = registry(f"{sandbox.url}/whatsapp", token, waba_id)
    with pytest.raises(ProviderRefused, match=said):
        await content.add(OURS[0])
    await content.close()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, {}, RateLimited),
        (400, {"error": {"code": 80008}}, RateLimited),
        (500, {"error": {"code": 1}}, ProviderUnavailable),
        (200, {"data": "x"}, ProviderUnavailable),
        (200, ["x"], ProviderUnavailable),
        (200, {"data": [{"name": NAME, "language": "en", "status": "BLESSED"}]}, ProviderUnavailable),
        (400, {"error": {"code": 100, "error_user_msg": "No."}}, ProviderRefused),
        (403, {"error": {"code": 200}}, ProviderRefused),
        (400, {"error": "x"}, ProviderRefused),
    ],
)
async def test_each_way_of_failing_has_its_error(status: int, body: Any, error: type[Exception]) -> None:
    async with wire(answer(status, body)) as meta:
        content = registry(meta.url)
        with pytest.raises(error):
            await content.approval(NAME, "en")
        await content.close()


async def test_meta_out_of_reach_is_a_provider_error() -> None:
    content = registry(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ProviderError):
        await content.approval(NAME, "en")
    await content.close()


@pytest.mark.parametrize("variables", [{}, {"1": "tea"}, {str(number): f"word {number}" for number in range(1, 12)}])
def test_a_send_by_template_follows_metas_description(variables: dict[str, str]) -> None:
    asked = payload(by_template(variables))
    whole = {"$ref": "#/components/schemas/TemplateMessage", "components": SCHEMA["components"]}
    jsonschema.Draft202012Validator(whole).validate(asked)
    check(dict(asked))
    assert (asked["template"]["name"], asked["template"]["language"]) == (NAME, {"code": "en"})
    given = [one["text"] for part in asked["template"].get("components", []) for one in part["parameters"]]
    assert given == list(variables.values()), "in the order of their numbers"


@pytest.mark.parametrize("code", [131047, 132000, 132001, 132005, 132007, 132012, 132015, 132016])
def test_a_template_that_whatsapp_does_not_take_is_decided_upon_again(code: int) -> None:
    refusal = read_answer(400, json.dumps({"error": {"code": code}}).encode(), None, 1)
    assert isinstance(refusal, OutsideWindow)
    assert f"(Meta {code})" in str(refusal)


def test_other_refusals_are_for_good() -> None:
    refusal = read_answer(400, json.dumps({"error": {"code": 131051}}).encode(), None, 1)
    assert isinstance(refusal, Undeliverable)
    assert not isinstance(refusal, OutsideWindow)


def told(value: object, waba_id: str = SANDBOX_WABA_ID, time: object = int(NOW.timestamp()) - 60) -> Batch:
    change = {"field": "message_template_status_update", "value": value}
    whole = {"object": "whatsapp_business_account", "entry": [{"id": waba_id, "time": time, "changes": [change]}]}
    return parse(json.dumps(whole).encode(), SANDBOX_PHONE_NUMBER_ID, NOW, SANDBOX_WABA_ID)


EVENT = {
    "event": "REJECTED",
    "message_template_id": 1689556908129835,
    "message_template_name": NAME,
    "message_template_language": "en",
    "reason": "PROMOTIONAL",
    "message_template_category": "UTILITY",
}


def test_a_review_is_told_by_webhook() -> None:
    minute_ago = NOW - timedelta(minutes=1)
    rejected = TemplateStatus(NAME, "en", "rejected", "Meta finds that it advertises.", minute_ago)
    assert told(EVENT).templates == (rejected,)
    approved = TemplateStatus(NAME, "en", "approved", None, minute_ago)
    assert told(EVENT | {"event": "APPROVED", "reason": "NONE"}).templates == (approved,)
    paused = told(EVENT | {"event": "PAUSED", "reason": None}).templates
    assert [(one.state, one.reason) for one in paused] == [("paused", None)]
    for odd_time in (None, "x", True, -1, int(NOW.timestamp()) + 10**6):
        assert told(EVENT, time=odd_time).templates[0].at == NOW


def test_news_of_other_accounts_and_without_meaning_is_left_alone() -> None:
    assert told(EVENT, waba_id="7") == Batch((), ())
    assert told(EVENT | {"event": "LOCKED"}) == Batch((), ())
    broken_name, broken_language = {"message_template_name": 7}, {"message_template_language": "e\0n"}
    shapeless: tuple[object, ...] = ({}, [], EVENT | broken_name, EVENT | broken_language)
    for broken in shapeless:
        assert told(broken) == Batch((), (), unreadable=1)


def test_each_sender_that_can_have_templates_has_a_registry() -> None:
    whole = settings("http://127.0.0.1:9").model_copy(
        update={"twilio_account_sid": "AC1", "twilio_whatsapp_from": SANDBOX_WHATSAPP_FROM}
    )
    assert [one.account for one in template_registries(whole)] == [SANDBOX_WHATSAPP_FROM, SANDBOX_PHONE_NUMBER_ID]
    assert [one.account for one in template_registries(settings("http://127.0.0.1:9", waba_id=""))] == []
