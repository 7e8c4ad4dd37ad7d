"""The Cloud API simulator: what it takes, what it refuses, what it tells the application and in which order."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from bot.sandbox import accounts
from bot.sandbox.accounts import ACCESS_TOKEN, APP_SECRET, PHONE_NUMBER_ID, VERIFY_TOKEN
from bot.sandbox.meta import sign
from channels.whatsapp import cloud
from core import settings
from tests.bot.sandbox.conftest import App, Lab, Simulators, listening
from tests.waiting import until

RECORDINGS = Path(__file__).parents[2] / "channels" / "recordings" / "meta"
MESSAGES = f"/whatsapp/v26.0/{PHONE_NUMBER_ID}/messages"
AMINA = "254712345678"
USER_ID = "KE.1410018717833190"
SCHEMA: dict[str, Any] = json.loads((RECORDINGS / "messages_schema.json").read_text())


def test_the_sandbox_account_is_that_of_the_settings() -> None:
    assert (accounts.PHONE_NUMBER_ID, accounts.ACCESS_TOKEN) == (
        settings.SANDBOX_PHONE_NUMBER_ID,
        settings.SANDBOX_ACCESS_TOKEN,
    )
    assert accounts.WABA_ID == settings.SANDBOX_WABA_ID
    assert (APP_SECRET, VERIFY_TOKEN) == (settings.SANDBOX_APP_SECRET, settings.SANDBOX_VERIFY_TOKEN)


@pytest.mark.parametrize("vector", json.loads((RECORDINGS / "signatures.json").read_text()), ids=lambda v: v["name"])
def test_published_signatures_are_reproduced(vector: dict[str, str]) -> None:
    assert sign(vector["body"].encode(), vector["app_secret"]) == vector["signature"]


def follows(value: object, name: str) -> None:
    """Hold an answer against Meta's own description of it."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": SCHEMA["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


async def send(lab: Lab, path: str = MESSAGES, token: str = ACCESS_TOKEN, **changes: Any) -> httpx.Response:
    """Send a text message with these fields changed; None takes one away."""
    given = {"messaging_product": "whatsapp", "to": AMINA, "type": "text", "text": {"body": "Habari ✈️"}, **changes}
    asked = {name: value for name, value in given.items() if value is not None}
    answer = await lab.http.post(path, json=asked, headers={"Authorization": f"Bearer {token}"})
    follows(answer.json(), "MessageResponsePayload" if answer.status_code == 200 else "GraphAPIError")
    return answer


def items(app: App, field: str) -> list[dict[str, Any]]:
    """All messages, or statuses, that the application was told of so far; every webhook is genuine."""
    found: list[dict[str, Any]] = []
    for got in app.got:
        assert cloud.verify(got.body, got.headers["X-Hub-Signature-256"], APP_SECRET)
        for entry in json.loads(got.body)["entry"]:
            for change in entry["changes"]:
                if change["field"] == "message_template_status_update":
                    found += [change["value"]] if field == change["field"] else []
                    continue
                assert (change["field"], change["value"]["messaging_product"]) == ("messages", "whatsapp")
                assert change["value"]["metadata"]["phone_number_id"] == PHONE_NUMBER_ID
                if "statuses" in change["value"]:  # Its schemas of messages refuse Meta's own examples.
                    follows(change["value"], "StatusMessageValue")
                found += change["value"].get(field, [])
    return found


async def told(app: App, field: str, count: int) -> list[dict[str, Any]]:
    """Wait until the application was told of so many."""

    async def enough() -> bool:
        return len(items(app, field)) >= count

    await until(enough, 10, f"{count} {field}")
    return items(app, field)


BUTTON = {"type": "reply", "reply": {"id": "1", "title": "Yes"}}
ROW = {"id": "1", "title": "Yes"}


def buttons(*made: object, body: str = "Well?") -> dict[str, Any]:
    return {
        "type": "interactive",
        "text": None,
        "interactive": {"type": "button", "body": {"text": body}, "action": {"buttons": made}},
    }


def listed(*rows: object, button: str = "Choose") -> dict[str, Any]:
    action = {"button": button, "sections": [{"rows": rows}]}
    return {
        "type": "interactive",
        "text": None,
        "interactive": {"type": "list", "body": {"text": "Well?"}, "action": action},
    }


def template(name: str, *parameters: str) -> dict[str, Any]:
    body = {"type": "body", "parameters": [{"type": "text", "text": one} for one in parameters]}
    return {
        "type": "template",
        "text": None,
        "template": {"name": name, "language": {"code": "en"}, "components": [body]},
    }


def numbered(count: int, title: str = "Row") -> list[dict[str, Any]]:
    return [{"id": str(n), "title": f"{title} {n}"} for n in range(count)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"to": f"+{AMINA}"},
        {"to": None, "recipient": USER_ID},
        {"text": {"body": "é" * 4096, "preview_url": False}},
        {"context": {"message_id": "wamid.x"}},
        {"type": "image", "text": None, "image": {"link": "https://x.example/1", "caption": "Look"}},
        {"type": "audio", "text": None, "audio": {"link": "https://x.example/1.ogg"}},
        {"type": "location", "text": None, "location": {"latitude": "-1.28", "longitude": "36.8", "name": "KICC"}},
        {"type": "reaction", "text": None, "reaction": {"message_id": "wamid.x", "emoji": ""}},
        {"type": "contacts", "text": None, "contacts": [{"name": {"formatted_name": "Ada", "first_name": "Ada"}}]},
        buttons(BUTTON),
        listed(*numbered(10)),
        template("appointment_reminder", "Ada", "Tuesday"),
    ],
    ids=str,
)
async def test_what_meta_takes_is_sent(lab: Lab, changes: dict[str, Any]) -> None:
    answer = await send(lab, **changes)
    assert answer.status_code == 200, answer.text
    [row] = await lab.truth("whatsapp")
    assert [one["id"] for one in answer.json()["messages"]] == [row["id"]]
    assert row["to"] == (USER_ID if changes.get("recipient") else AMINA)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"token": "another"}, 401, 190),
        ({"token": "sandbox"}, 401, 190),
        ({"path": "/whatsapp/v26.0/999/messages"}, 400, 100),
        ({"path": f"/whatsapp/{PHONE_NUMBER_ID}/messages"}, 400, 100),
        ({"messaging_product": None}, 400, 100),
        ({"messaging_product": "telegram"}, 400, 100),
        ({"to": None}, 400, 100),
        ({"to": "hello"}, 400, 131009),
        ({"to": f"whatsapp:+{AMINA}"}, 400, 131009),
        ({"to": 254712345678}, 400, 131009),
        ({"to": "0712345678"}, 400, 131009),
        ({"to": None, "recipient": "254712345678"}, 400, 131009),
        ({"recipient_type": "group"}, 400, 131009),
        ({"type": "poll"}, 400, 100),
        ({"body": "hi"}, 400, 100),
        ({"text": None}, 400, 131008),
        ({"text": {}}, 400, 131008),
        ({"text": {"body": ""}}, 400, 131009),
        ({"text": {"body": "x" * 4097}}, 400, 131009),
        ({"text": {"body": "x", "bold": True}}, 400, 100),
        ({"biz_opaque_callback_data": "x" * 513}, 400, 131009),
        ({"type": "image", "image": {"link": "ftp://x"}}, 400, 131009),
        ({"type": "image", "image": {"link": "https://x/1", "id": "1"}}, 400, 100),
        ({"type": "image", "image": {"link": "https://x/1", "caption": "x" * 1025}}, 400, 131009),
        ({"type": "audio", "audio": {"link": "https://x/1", "caption": "x"}}, 400, 100),
        ({"type": "location", "location": {"latitude": "north", "longitude": "1"}}, 400, 131009),
        (buttons(), 400, 131009),
        (buttons(*[BUTTON] * 4), 400, 131009),
        (buttons(BUTTON, BUTTON), 400, 131009),
        (buttons({"type": "reply", "reply": {"id": "1", "title": "x" * 21}}), 400, 131009),
        (buttons({"type": "reply", "reply": {"title": "x"}}), 400, 131008),
        (buttons(BUTTON, body="x" * 1025), 400, 131009),
        (listed(*numbered(11)), 400, 131009),
        (listed(), 400, 131009),
        (listed({"id": "1", "title": "x" * 25}), 400, 131009),
        (listed(ROW, button="x" * 21), 400, 131009),
        (template("no_such", "a"), 400, 132001),
        (template("appointment_reminder", "a"), 400, 132000),
        ({"to": "15005550056"}, 400, 131056),
    ],
    ids=str,
)
async def test_what_meta_refuses_is_refused_and_not_sent(
    lab: Lab, changes: dict[str, Any], status: int, code: int
) -> None:
    answer = await send(lab, **changes)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.json()["error"]["message"].startswith(f"(#{code}) ")
    assert await lab.truth("whatsapp") == []


async def test_a_form_and_broken_json_are_refused(lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    assert (await lab.http.post(MESSAGES, json={"to": AMINA})).json()["error"]["code"] == 190
    assert (await lab.http.post(MESSAGES, data={"to": AMINA}, headers=headers)).json()["error"]["code"] == 100
    for body in (b"{", b"[]", b"\xff", b"[" * 100_000):
        answer = await lab.http.post(MESSAGES, content=body, headers={**headers, "Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 100)
    assert (await lab.http.get(MESSAGES, headers=headers)).status_code == 400


async def test_statuses_follow_with_our_reference(lab: Lab, app: App) -> None:
    sent = (await send(lab, biz_opaque_callback_data="outbox:7")).json()["messages"][0]["id"]
    statuses = await told(app, "statuses", 3)
    assert [(one["id"], one["status"], one["biz_opaque_callback_data"]) for one in statuses] == [
        (sent, name, "outbox:7") for name in ("sent", "delivered", "read")
    ]
    assert all(b"\xe2" not in got.body and b"/" not in got.body.replace(b"\\/", b"") for got in app.got)


async def test_statuses_may_come_backwards_twice_or_before_the_answer(lab: Lab, app: App) -> None:
    await lab.http.post("/whatsapp/_webhooks", json={"disorder": True})
    await send(lab)
    assert [one["status"] for one in await told(app, "statuses", 3)] == ["read", "delivered", "sent"]
    await lab.plan("whatsapp", {"fault": "duplicate_webhooks", "n": 2}, "webhook_before_response", "webhook_never")
    app.got.clear()
    await send(lab)
    assert len(await told(app, "statuses", 6)) == 6
    app.got.clear()
    await send(lab)
    assert len(items(app, "statuses")) == 3, "they came before the answer"
    await send(lab)
    await send(lab)
    assert len({one["id"] for one in await told(app, "statuses", 6)}) == 2, "of one message nothing was told"


async def test_outside_the_window_only_templates_arrive(lab: Lab, app: App) -> None:
    await lab.http.post("/whatsapp/_window", json={"strict": True})
    await send(lab)
    [failed] = await told(app, "statuses", 1)
    assert (failed["status"], failed["errors"][0]["code"]) == ("failed", 131047)
    await send(lab, **template("new_message", "Ada"))
    assert [one["status"] for one in (await told(app, "statuses", 4))[1:]] == ["sent", "delivered", "read"]
    await lab.http.post("/whatsapp/_write", json={"from": AMINA, "text": "Hi"})
    app.got.clear()
    await send(lab)
    assert (await told(app, "statuses", 1))[0]["status"] == "sent"
    await lab.http.post("/whatsapp/_window", json={"offset_s": 90_000})
    app.got.clear()
    await send(lab, to=f"+{AMINA}")

    async def failed_too() -> bool:
        return "failed" in [one["status"] for one in items(app, "statuses")]

    await until(failed_too, 10, "a failure")


async def test_a_number_with_a_fate_fails_with_it(lab: Lab, app: App) -> None:
    assert (await send(lab, to="1500131049")).status_code == 200
    [failed] = await told(app, "statuses", 1)
    assert failed["errors"][0]["code"] == 131049


async def test_what_people_write_is_told_in_one_batch_with_statuses(lab: Lab, app: App) -> None:
    await lab.http.post("/whatsapp/_webhooks", json={"held": True})
    place = {"type": "location", "location": {"latitude": -1.28, "longitude": 36.8}}
    for said in (
        {"from": AMINA, "name": "Amina", "text": "Habari ✈️ /"},
        {"from": AMINA, "name": "Amina", "message": place},
        {"user_id": USER_ID, "name": "Ada", "text": "Hi"},
    ):
        assert (await lab.http.post("/whatsapp/_write", json=said)).status_code == 200
    await send(lab)

    async def waiting() -> bool:
        state = (await lab.http.post("/whatsapp/_webhooks", json={})).json()
        return bool(state["pending"] == 6)

    await until(waiting, 10, "six events")
    assert app.got == []
    await lab.http.post("/whatsapp/_webhooks", json={"held": False})
    [got] = await app.wait_for(1)
    assert len(items(app, "statuses")) == 3
    first, second, third = items(app, "messages")
    assert (first["text"]["body"], first["from"], "from" in third) == ("Habari ✈️ /", AMINA, False)
    assert (second["type"], third["from_user_id"]) == ("location", USER_ID)
    assert b"\\ud83" not in got.body
    assert b"Habari \\u2708\\ufe0f \\/" in got.body


async def test_a_webhook_is_told_again_until_it_is_taken_even_after_a_crash(tmp_path: Path) -> None:
    async with listening(App()) as app:
        app.status = 503
        simulators = Simulators(tmp_path, app.url)
        await asyncio.to_thread(simulators.start)
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{simulators.url}/whatsapp/_write", json={"from": AMINA, "text": "Are you there?"})
        await app.wait_for(2)
        await asyncio.to_thread(simulators.stop, 9)
        app.status = 200
        before = len(app.got)
        await asyncio.to_thread(simulators.start)
        await app.wait_for(before + 1)
        assert len({message["id"] for message in items(app, "messages")}) == 1
        assert await asyncio.to_thread(simulators.stop) == 0


async def test_the_application_is_asked_whether_the_webhook_is_its_own(lab: Lab, app: App) -> None:
    asked = (await lab.http.post("/whatsapp/_verify", json={})).json()
    assert asked == {"status": 200, "verified": False}, "any application answers 200; this one does not repeat it"
    assert VERIFY_TOKEN in app.got[0].url


async def test_bad_controls_are_refused_with_a_sentence(lab: Lab) -> None:
    for path, body in (
        ("_write", {}), ("_write", {"from": "hello", "text": "x"}), ("_write", {"from": AMINA, "message": []}),
        ("_write", {"from": AMINA, "message": {}}), ("_window", {"to": "x"}), ("_window", {"offset_s": "x"}),
    ):  # fmt: skip
        answer = await lab.http.post(f"/whatsapp/{path}", json=body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"]), (path, body)
    assert (await lab.http.get("/whatsapp/_write")).status_code == 405


async def test_faults_answer_in_metas_words(lab: Lab) -> None:
    await lab.plan("whatsapp", "429", "500_not_executed", "500_executed", "200_truncated_json")
    assert (await send(lab)).json()["error"]["code"] == 130429
    assert (await send(lab)).json()["error"]["code"] == 1
    assert await lab.truth("whatsapp") == []
    assert (await send(lab)).status_code == 500
    answer = await lab.http.post(
        MESSAGES,
        json={"messaging_product": "whatsapp", "to": AMINA, "type": "text", "text": {"body": "x"}},
        headers={"Authorization": f"Bearer {ACCESS_TOKEN}"},
    )
    with pytest.raises(ValueError, match=r"\w"):
        answer.json()
    assert [row["fault"] for row in await lab.truth("whatsapp")] == ["500_executed", "200_truncated_json"]


TEMPLATES = f"/whatsapp/v26.0/{accounts.WABA_ID}/message_templates"
NEW = {
    "name": "reminder_en_1",
    "language": "en",
    "category": "UTILITY",
    "components": [{"type": "BODY", "text": "Remember {{1}} today.", "example": {"body_text": [["tea"]]}}],
}


async def template_call(lab: Lab, method: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    answer = await lab.http.request(method, TEMPLATES, headers=headers, **more)
    if answer.status_code != 200:
        follows(answer.json(), "GraphAPIError")
    return answer


async def decide(lab: Lab, **asked: object) -> None:
    assert (await lab.http.post("/whatsapp/_templates", json=asked)).status_code == 200


async def test_a_template_is_made_reviewed_told_used_and_deleted(lab: Lab, app: App) -> None:
    await decide(lab, review_s=3600)
    made = (await template_call(lab, "POST", json=NEW)).json()
    assert (made["status"], made["category"]) == ("PENDING", "UTILITY")
    use = template("reminder_en_1", "tea")
    assert (await send(lab, **use)).json()["error"]["code"] == 132001
    await decide(lab, review_s=0)
    [news] = await told(app, "message_template_status_update", 1)
    assert (news["event"], news["message_template_name"], news["message_template_id"]) == (
        "APPROVED",
        "reminder_en_1",
        int(made["id"]),
    )
    taken = (await send(lab, **use)).json()["messages"][0]
    assert taken["message_status"] == "accepted"
    rows = await lab.truth("whatsapp")
    assert [row["text"] for row in rows if row["kind"] == "send"] == ["Remember tea today."]
    for state, code in (("PAUSED", 132015), ("DISABLED", 132016), ("REJECTED", 132001)):
        await decide(lab, name="reminder_en_1", language="en", state=state)
        assert (await send(lab, **use)).json()["error"]["code"] == code
    listed = (await template_call(lab, "GET", params={"name": "reminder", "fields": "name,status"})).json()
    assert listed["data"][-1] == {"name": "reminder_en_1", "status": "REJECTED", "id": made["id"]}
    assert (await template_call(lab, "DELETE", params={"name": "reminder_en_1"})).json() == {"success": True}
    assert (await template_call(lab, "DELETE", params={"name": "reminder_en_1"})).status_code == 400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Reminder"}, "small letters"),
        ({"category": "NEWS"}, "category"),
        ({"components": []}, "BODY"),
        ({"components": [{"type": "BODY", "text": "{{1}} first", "example": {"body_text": [["x"]]}}]}, "begin or end"),
        ({"components": [{"type": "BODY", "text": "no {{1}} example"}]}, "example"),
        ({"components": [{"type": "BODY", "text": "a {{2}} gap"}]}, "without a gap"),
        ({"name": "new_message"}, "already content"),
        ({"colour": "red"}, "Unexpected key"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_template_that_meta_refuses_is_refused(lab: Lab, changes: dict[str, Any], said: str) -> None:
    answer = await template_call(lab, "POST", json=NEW | changes)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["error_data"]["details"]


async def test_templates_are_listed_in_pages(lab: Lab) -> None:
    first = (await template_call(lab, "GET", params={"limit": "1"})).json()
    after = first["paging"]["cursors"]["after"]
    assert "next" in first["paging"]
    second = (await template_call(lab, "GET", params={"limit": "1", "after": after})).json()
    assert "next" not in second["paging"]
    names = [page["data"][0]["name"] for page in (first, second)]
    assert names == ["appointment_reminder", "new_message"]
