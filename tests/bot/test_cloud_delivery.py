"""A whole application with a WhatsApp number at Meta and one at Twilio, against the simulators: nothing sent twice."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot import runners
from bot.app import make_app
from bot.servers.supervisor import free_port
from bot.wiring import Services, services
from channels.whatsapp.cloud_templates import CloudTemplates
from core.messages import ChannelName, Choices, Part, Text
from core.outbox import NewMessage, post
from core.settings import SANDBOX_PHONE_NUMBER_ID, SANDBOX_WHATSAPP_FROM, Settings
from core.templates import OURS, mark, rows, told
from jobs import templates
from jobs.reroute import follow_up
from tests.conftest import Sandbox
from tests.said import messages
from tests.waiting import until

_numbers = itertools.count(os.getpid() * 1_000)


def somebody() -> str:
    """A number that nobody else in this session has."""
    return f"2547{next(_numbers) % 10**8:08}"


@dataclass
class Bot:
    """The application, and a way to the simulators."""

    wired: Services
    sandbox: httpx.AsyncClient

    async def write(self, person: str, text: str = "hello", **more: object) -> str:
        """A person writes to our number at Meta; the message's id."""
        said = {"from": person, "name": "Amina", "text": text, **more}
        answer = await self.sandbox.post("/whatsapp/_write", json=said)
        assert answer.status_code == 200
        written: str = answer.json()["id"]
        return written

    async def sent(self, person: str) -> list[dict[str, Any]]:
        """What Meta really took for this person, oldest first."""
        rows: list[dict[str, Any]] = (await self.sandbox.get("/whatsapp/_truth")).json()
        return [row for row in rows if row["kind"] == "send" and row["to"] == person]

    async def heard(self, person: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until Meta took so many for this person."""

        async def enough() -> bool:
            return len(await self.sent(person)) >= count

        await until(enough, 15, f"{count} messages to {person}")
        return await self.sent(person)

    async def plan(self, *plan: object, **more: Any) -> None:
        """Set a fault plan for sends."""
        given = {"plan": list(plan), "match": {"path": "/messages$"}, **more}
        assert (await self.sandbox.post("/whatsapp/_faults", json=given)).status_code == 200

    async def row(self, person: str) -> dict[str, Any]:
        """The newest outbox row of this person's conversation."""
        found = await self.wired.db.pool.fetchrow(
            "SELECT o.state, o.error, o.provider_status, o.provider_message_id, o.attempt, o.done_at FROM outbox o"
            " JOIN conversation c ON c.id = o.conversation_id WHERE c.room = $1 ORDER BY o.id DESC LIMIT 1",
            person,
        )
        return dict(found)

    async def becomes(self, person: str, **wanted: Any) -> dict[str, Any]:
        """Wait until that row has these values."""

        async def there() -> bool:
            row = await self.row(person)
            return all(row[name] == value for name, value in wanted.items())

        await until(there, 15, str(wanted))
        return await self.row(person)

    async def say(self, person: str, *parts: Part, kind: str = "note") -> None:
        """Put a message for a person into the outbox."""
        conversation = await self.wired.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", person)
        async with self.wired.db.hot() as connection:
            await post(connection, [NewMessage(conversation, parts, kind, f"test:{next(_numbers)}")])
        self.wired.wakes.wake("outbox")


@asynccontextmanager
async def running(settings: Settings, client: httpx.AsyncClient) -> AsyncIterator[Bot]:
    """The web application and both runners."""
    async with services(settings) as wired:
        runner = web.AppRunner(make_app(wired), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        loops = asyncio.create_task(runners.run(wired))
        try:
            yield Bot(wired, client)
        finally:
            loops.cancel()
            with suppress(asyncio.CancelledError):
                await loops
            await runner.cleanup()


@pytest.fixture
async def bot(database_url: str, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Bot]:
    """An application on a fresh database, which the simulators know."""
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=valkey_url,
        sandbox_url=sandbox.url,
        port=free_port(),
        send_lease_s=3,
        unknown_certain_s=1,
    )
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False, timeout=10) as client:
        await client.post("/_app", json={"url": settings.base_url})
        async with running(settings, client) as bot:
            yield bot
        await client.post("/_reset")


async def test_a_person_writes_to_meta_and_is_answered_there(bot: Bot) -> None:
    person = somebody()
    await bot.write(person, "what is the weather in Nairobi?")
    [answer] = await bot.heard(person)
    assert "Nairobi" in answer["text"]
    assert "sandbox" in answer["text"]
    row = await bot.becomes(person, state="sent", provider_status="read")
    assert row["provider_message_id"] == answer["id"]
    message = await bot.wired.db.pool.fetchrow("SELECT account, room FROM conversation WHERE room = $1", person)
    assert tuple(message) == (SANDBOX_PHONE_NUMBER_ID, person)


async def test_both_numbers_answer_side_by_side(bot: Bot) -> None:
    person = somebody()
    await bot.write(person, "100 USD in KES")
    at_twilio = {"as": "whatsapp", "from": f"+{person}", "text": "100 USD in KES"}
    assert (await bot.sandbox.post("/sandbox/api/send", json=at_twilio)).status_code == 200
    await bot.heard(person)

    async def answered() -> bool:
        rows = (await bot.sandbox.get("/twilio/_truth")).json()
        return any(row.get("to") == f"whatsapp:+{person}" and row["kind"] == "send" for row in rows)

    await until(answered, 15, "an answer by Twilio")
    rooms = await bot.wired.db.pool.fetch("SELECT account, room FROM conversation ORDER BY account")
    assert [tuple(row) for row in rooms] == [
        (SANDBOX_PHONE_NUMBER_ID, person),
        (SANDBOX_WHATSAPP_FROM, f"whatsapp:+{person}"),
    ]
    assert len(await bot.sent(person)) == 1


async def test_who_hides_their_number_is_answered_by_metas_id(bot: Bot) -> None:
    hidden = f"KE.{somebody()}"
    await bot.write(hidden, "100 USD in KES", user_id=hidden, **{"from": None})
    [answer] = await bot.heard(hidden)
    assert answer["asked"]["recipient"] == hidden


async def test_what_cannot_be_read_is_answered_too(bot: Bot) -> None:
    person = somebody()
    await bot.write(person, message={"type": "unsupported", "errors": [{"code": 131051}]})
    [answer] = await bot.heard(person)
    assert answer["text"]


async def changes(bot: Bot, count: int) -> list[dict[str, Any]]:
    """Wait until so many changes of messages are stored; kind and state of each."""

    async def enough() -> bool:
        return int(await bot.wired.db.pool.fetchval("SELECT count(*) FROM change")) >= count

    await until(enough, 15, f"{count} changes")
    return [dict(row) for row in await bot.wired.db.pool.fetch("SELECT kind, state FROM change ORDER BY id")]


async def test_edits_reactions_and_deletions_at_meta_change_what_was_said(bot: Bot) -> None:
    person, stranger = somebody(), somebody()
    written = await bot.write(person)
    [answer] = await bot.heard(person)
    await bot.write(stranger)
    await bot.heard(stranger)
    await bot.becomes(person, state="sent")
    for emoji in ("👍", "❤️"):
        await bot.write(person, message={"type": "reaction", "reaction": {"message_id": answer["id"], "emoji": emoji}})
    assert await changes(bot, 2) == [{"kind": "reaction", "state": "applied"}] * 2
    assert await bot.wired.db.pool.fetchval("SELECT array_agg(emoji) FROM reaction") == [["❤️"]]
    edit = {"original_message_id": written, "message": {"type": "text", "text": {"body": "hello again"}}}
    await bot.write(person, message={"type": "edit", "edit": edit})
    await changes(bot, 3)
    await bot.heard(person, 2)  # what was answered is answered anew
    [row] = await messages(bot.wired.db, "WHERE event_id = $1", written)
    assert row["parts"] == [{"kind": "text", "text": "hello again"}]
    # Nobody else takes it back.
    revoke = {"type": "revoke", "revoke": {"original_message_id": written}}
    await bot.write(stranger, message=revoke)
    await changes(bot, 4)
    await bot.write(person, message=revoke)
    assert [one["state"] for one in await changes(bot, 5)][2:] == ["applied", "unknown", "applied"]
    deleted = await bot.wired.db.pool.fetchrow("SELECT sealed, deleted_at FROM message WHERE event_id = $1", written)
    assert deleted["sealed"] is None
    assert deleted["deleted_at"] is not None
    assert [len(await bot.sent(one)) for one in (person, stranger)] == [2, 1]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "order", "order": {"product_items": [{"quantity": 2, "item_price": 30, "currency": "USD"}]}},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": "Juma"}, "phones": [{"phone": "+254 1"}]}]},
        {"type": "interactive", "interactive": {"nfm_reply": {"response_json": '{"weather": "Lamu"}'}}},
        {"type": "a kind of next year", "something": {}},
    ],
    ids=lambda message: str(message["type"]),
)
async def test_whatever_kind_somebody_sends_they_are_answered_once(bot: Bot, message: dict[str, Any]) -> None:
    person = somebody()
    await bot.write(person, message=message)
    [answer] = await bot.heard(person)
    assert answer["text"].startswith("I have it, and I cannot tell from that alone"), "nothing is read into it"


async def test_a_tapped_button_is_an_answer(bot: Bot) -> None:
    person = somebody()
    await bot.write(person)
    await bot.heard(person)
    await bot.say(person, Text(text="Which one?"), Choices(options=("Nairobi", "Mombasa")))
    asked = (await bot.heard(person, 2))[1]
    assert asked["asked"]["interactive"]["type"] == "button"
    reply = asked["asked"]["interactive"]["action"]["buttons"][0]["reply"]
    tapped = {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply}}
    await bot.write(person, message={**tapped, "context": {"id": asked["id"]}})
    await bot.heard(person, 3)
    [row] = await messages(bot.wired.db, "WHERE direction = 'in' ORDER BY id DESC LIMIT 1", also=["m.reply_to"])
    assert (row["parts"], row["reply_to"]) == ([{"kind": "text", "text": "Nairobi"}], asked["id"])


@pytest.mark.parametrize(
    ("fault", "taken", "state", "attempts"),
    [
        ("429", 1, "sent", 2),
        ({"fault": "slow_body", "seconds": 0.3}, 1, "sent", 1),
        ("webhook_before_response", 1, "sent", 1),
        ("duplicate_webhooks", 1, "sent", 1),
        # Taken, and the answer lost: a status with our reference settles it.
        ("reset_after_execute", 1, "sent", 1),
        ("500_executed", 1, "sent", 1),
        ("200_truncated_json", 1, "sent", 1),
        ({"fault": "execute_then_hang", "seconds": 20}, 1, "sent", 1),
        # Not taken, and nobody can tell: never sent again.
        ("refuse", 0, "unknown", 1),
        ("reset_before_read", 0, "unknown", 1),
        ("500_not_executed", 0, "unknown", 1),
        ("200_html", 0, "unknown", 1),
    ],
    ids=str,
)
async def test_whatever_goes_wrong_nothing_is_sent_twice(
    bot: Bot, fault: object, taken: int, state: str, attempts: int
) -> None:
    person = somebody()
    await bot.write(person)
    await bot.heard(person)
    await bot.becomes(person, state="sent")
    await bot.plan(fault, match={"path": "/messages$", "body": person})
    await bot.say(person, Text(text="the message"))

    async def done() -> bool:
        row = await bot.row(person)
        return row["state"] == state and row["done_at"] is not None

    await until(done, 15, f"{state} for good")
    # The next one shows that the conversation goes on, and that by then the first was not repeated.
    await bot.say(person, Text(text="the next"))
    await bot.heard(person, 2 + taken)
    await bot.becomes(person, state="sent", provider_status="read")
    assert [row["text"] for row in await bot.sent(person)].count("the message") == taken
    rows = await bot.wired.db.pool.fetch("SELECT attempt, state FROM outbox WHERE kind = 'note' ORDER BY id")
    assert tuple(rows[0]) == (attempts, state)


async def test_an_answer_and_all_statuses_lost_stays_unknown(bot: Bot) -> None:
    person = somebody()
    await bot.write(person)
    await bot.heard(person)
    await bot.becomes(person, state="sent")
    await bot.sandbox.post("/whatsapp/_webhooks", json={"held": True})
    await bot.plan("500_executed", match={"path": "/messages$", "body": person})
    await bot.say(person, Text(text="the message"))
    row = await bot.becomes(person, state="unknown")

    async def final() -> bool:
        return (await bot.row(person))["done_at"] is not None

    await until(final, 15, "nobody asking any more")
    assert "may have been sent" in ((await bot.row(person))["error"] or "")
    assert row["attempt"] == 1
    # They come after all, late and backwards.
    await bot.sandbox.post("/whatsapp/_webhooks", json={"held": False})
    await bot.becomes(person, state="sent", provider_status="read", error=None)
    assert len(await bot.sent(person)) == 2


async def test_outside_the_window_the_message_waits_and_goes_first_once_the_person_writes(bot: Bot) -> None:
    person = somebody()
    await bot.write(person)
    await bot.heard(person)
    await bot.becomes(person, state="sent", provider_status="read")
    await bot.sandbox.post("/whatsapp/_window", json={"to": person, "open": False})
    await bot.say(person, Text(text="too late"))
    row = await bot.becomes(person, state="held")
    assert row["error"]
    await bot.sandbox.post("/whatsapp/_window", json={"to": person, "open": True})
    await bot.write(person)
    await bot.becomes(person, state="sent", provider_status="read")
    sent = await bot.wired.db.pool.fetch(
        "SELECT o.kind FROM outbox o JOIN conversation c ON c.id = o.conversation_id"
        " WHERE c.room = $1 AND o.state = 'sent' ORDER BY o.done_at",
        person,
    )
    assert [row["kind"] for row in sent] == ["reply", "note", "reply"]


async def has_templates(bot: Bot) -> None:
    """Ours, registered at Meta and approved, of which the webhook tells."""
    registry = CloudTemplates(bot.wired.settings)
    assert await templates.add(bot.wired.db, registry) == len(OURS)
    assert await templates.add(bot.wired.db, registry) == 0
    assert await templates.submit(bot.wired.db, registry) == 0
    await registry.close()
    await stand(bot, {"approved"})


async def stand(bot: Bot, wanted: set[str]) -> None:
    """Wait until our templates at Meta stand like this."""

    async def there() -> bool:
        found = await rows(bot.wired.db, ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID)
        return {row.state for row in found} == wanted

    await until(there, 15, str(wanted))


async def asleep(bot: Bot, person: str, **more: Any) -> None:
    """Somebody who wrote, and was answered, more than a day ago."""
    await bot.write(person, **more)
    await bot.heard(person)
    await bot.becomes(person, state="sent")
    await bot.wired.db.pool.execute(
        "UPDATE message SET created_at = created_at - interval '25 hours' WHERE direction = 'in'"
        " AND conversation_id = (SELECT id FROM conversation WHERE room = $1)",
        person,
    )
    assert (await bot.sandbox.post("/whatsapp/_window", json={"to": person, "open": False})).status_code == 200


async def test_a_reminder_outside_the_window_goes_by_template(bot: Bot) -> None:
    await has_templates(bot)
    for person, more in ((somebody(), {}), (hidden := f"KE.{somebody()}", {"user_id": hidden, "from": None})):
        await asleep(bot, person, **more)
        await bot.say(person, Text(text="Reminder: call  Asha\nabout {{1}}"), kind="reminder")
        sent = (await bot.heard(person, 2))[1]
        assert sent["text"].startswith("Hello, this is the reminder you asked for: call Asha about {{1}}\n")
        assert sent["asked"]["template"]["name"] == "mathia_reminder_en_1"
        await bot.becomes(person, state="sent", provider_status="read")


async def test_anything_else_is_announced_and_goes_once_the_person_writes(bot: Bot) -> None:
    await has_templates(bot)
    person = somebody()
    await asleep(bot, person)
    await bot.say(person, Text(text="the report is there"))
    await bot.becomes(person, state="held")
    number = await bot.wired.db.pool.fetchval("SELECT max(id) FROM outbox")
    await follow_up(bot.wired.db, bot.wired.wakes, number, can_mail=False)
    assert (await bot.heard(person, 2))[1]["asked"]["template"]["name"] == "mathia_notice_en_1"
    await bot.write(person, "yes?")
    assert [row["text"] for row in await bot.heard(person, 4)][2] == "the report is there"


async def test_a_template_that_meta_takes_back_holds_the_reminder_and_is_not_used_again(bot: Bot) -> None:
    await has_templates(bot)
    person = somebody()
    await asleep(bot, person)
    await bot.sandbox.post("/whatsapp/_webhooks", json={"held": True})
    decided = {"name": "mathia_reminder_en_1", "language": "en", "state": "PAUSED"}
    assert (await bot.sandbox.post("/whatsapp/_templates", json=decided)).status_code == 200
    await bot.say(person, Text(text="Reminder: tea"), kind="reminder")
    await bot.becomes(person, state="held")
    found = await rows(bot.wired.db, ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID)
    [known] = [row for row in found if (row.name, row.language) == ("reminder", "en")]
    assert (known.state, known.reason) == ("paused", "WhatsApp paused the template. (Meta 132015)")
    assert len(await bot.sent(person)) == 1
    await bot.sandbox.post("/whatsapp/_webhooks", json={"held": False})
    await bot.sandbox.post("/whatsapp/_templates", json=decided | {"state": "APPROVED"})
    await stand(bot, {"approved"})


async def test_news_of_the_second_in_which_we_asked_is_not_old(bot: Bot) -> None:
    await has_templates(bot)
    key = ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID
    [row, *_] = await rows(bot.wired.db, *key)
    assert row.provider_ref is not None
    # Meta tells in whole seconds; its answer to us is written down after its webhook came, or before.
    second = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    asked_at = second + timedelta(milliseconds=900)
    for pending_first in (True, False):
        asked_at, second = asked_at + timedelta(minutes=1), second + timedelta(minutes=1)
        if pending_first:
            assert await mark(bot.wired.db, *key, row, "pending", None, asked_at)
        assert await told(bot.wired.db, *key, row.provider_ref, row.language, "approved", None, second)
        if not pending_first:
            assert await mark(bot.wired.db, *key, row, "pending", None, second - timedelta(milliseconds=100))
        await stand(bot, {"approved"})


async def test_old_news_of_a_template_does_not_undo_what_is_known(bot: Bot) -> None:
    await has_templates(bot)
    key = ChannelName.WHATSAPP, SANDBOX_PHONE_NUMBER_ID, "mathia_notice_sw_1", "sw"
    long_ago, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=1)
    assert await told(bot.wired.db, *key, "rejected", "Late.", long_ago)
    await stand(bot, {"approved"})
    assert await told(bot.wired.db, *key, "disabled", "Gone.", soon)
    await stand(bot, {"approved", "disabled"})
    assert not await told(bot.wired.db, *key[:2], "somebody_elses", "sw", "approved", None, soon)


async def test_the_webhook_proves_to_be_ours(bot: Bot) -> None:
    assert (await bot.sandbox.post("/whatsapp/_verify", json={})).json() == {"status": 200, "verified": True}
    assert (await bot.sandbox.post("/whatsapp/_verify", json={"token": "guess"})).json() == {
        "status": 403,
        "verified": False,
    }
