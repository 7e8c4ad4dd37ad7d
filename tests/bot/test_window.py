"""WhatsApp's window from end to end: two delivery runners, turns, follow-ups and callbacks, with simulated Twilio."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from bot.runners import DeliveryRunner, TurnRunner
from bot.servers.supervisor import free_port
from bot.webhooks import routes
from bot.wiring import Services, services
from channels.whatsapp.twilio_content import TwilioContent
from core import opt_out
from core.messages import ChannelName, Text
from core.outbox import NewMessage, Outbox, post
from core.settings import Settings
from core.templates import STATES, rows
from jobs import templates
from jobs.worker import run_worker
from tests.conftest import Sandbox
from tests.factories import ACCOUNT, say
from tests.said import mailbox
from tests.waiting import until

WHATSAPP = ChannelName.WHATSAPP
DAY = timedelta(hours=24, seconds=1)
_rooms = itertools.count(700_000_001)


@dataclass
class Stage:
    """A deployment without its web pages, and the simulators it speaks to."""

    wired: Services
    http: aiohttp.ClientSession
    since: int

    @property
    def db(self) -> Any:
        return self.wired.db

    async def control(self, path: str, **body: object) -> Any:
        """Tell Twilio's simulator something."""
        async with self.http.post(f"/twilio/{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def writes(self, room: str, text: str) -> UUID:
        """The person writes; their conversation."""
        [received] = await self.wired.inbox.receive([say(text, room=room)])
        return received.conversation_id

    async def meets(self, *, ago: timedelta = timedelta(0), email: str | None = None) -> tuple[str, UUID]:
        """Somebody who wrote so long ago, and was answered."""
        room = f"whatsapp:+254{next(_rooms)}"
        conversation = await self.writes(room, "hello")
        await self.sent(room, 1)
        await self.age(conversation, ago)
        if email is not None:
            await self.db.pool.execute(
                "INSERT INTO identity (id, person_id, channel, account, provider_id, verified_at)"
                " SELECT gen_random_uuid(), person_id, 'email', 'bot@mathia.example', $2, now() FROM identity"
                " WHERE provider_id = $1",
                room,
                await mailbox(self.db, email),
            )
        return room, conversation

    async def age(self, conversation: UUID, ago: timedelta) -> None:
        """Let what the person wrote have been received so much earlier."""
        await self.db.pool.execute(
            "UPDATE message SET created_at = created_at - $2::interval WHERE conversation_id = $1 AND direction = 'in'",
            conversation,
            ago,
        )

    async def owes(self, conversation: UUID, text: str, kind: str = "reminder") -> int:
        """Put a message of ours into the outbox; its number."""
        key = f"{kind}:{text}:{conversation}"
        if kind == "reminder":
            reminder = await self.db.pool.fetchval(
                "INSERT INTO reminder (id, person_id, conversation_id, sealed, wall_time, zone, due_at, key, state)"
                " SELECT gen_random_uuid(), i.person_id, $1, $2, now(), 'UTC', now(), $3, 'done' FROM member m"
                " JOIN identity i ON i.id = m.identity_id WHERE m.conversation_id = $1 RETURNING id",
                conversation,
                text.encode(),
                key,
            )
            key = f"reminder:{reminder}:{datetime.now(UTC).isoformat()}"
        async with self.db.hot() as connection:
            await post(connection, [NewMessage(conversation, (Text(text=text),), kind, key)])
        self.wired.wakes.wake("outbox")
        number: int = await self.db.pool.fetchval("SELECT id FROM outbox WHERE dedup_key = $1", key)
        return number

    async def truth(self, room: str) -> list[dict[str, Any]]:
        """What Twilio took for a person, failures too."""
        async with self.http.get("/twilio/_truth", params={"since": self.since}) as answer:
            return [row for row in await answer.json() if row["kind"] == "send" and row["to"] == room]

    async def sent(self, room: str, count: int) -> list[dict[str, Any]]:
        """Wait until Twilio has taken so many messages for a person; those it did not fail."""
        found: list[dict[str, Any]] = []

        async def enough() -> bool:
            found[:] = [row for row in await self.truth(room) if "error_code" not in row]
            return len(found) >= count

        await until(enough, 15, f"{count} messages")
        assert len(found) == count
        return found

    async def row(self, number: int, holds: Callable[[Any], bool], what: str) -> Any:
        """An outbox row, once this holds of it."""
        found: Any = None

        async def right() -> bool:
            nonlocal found
            found = await self.db.pool.fetchrow("SELECT * FROM outbox WHERE id = $1", number)
            return holds(found)

        await until(right, 15, what)
        return found

    async def held(self, number: int) -> Any:
        """An outbox row, once it is held and followed up."""
        return await self.row(number, lambda row: row["state"] == "held" and row["followed_up_at"] is not None, "held")

    async def has_templates(self) -> None:
        """Ours, registered, submitted and approved."""
        await self.control("_templates", review_s=0)
        registry = TwilioContent(self.wired.settings)
        await templates.add(self.db, registry)
        await templates.submit(self.db, registry)
        await templates.refresh(self.db, registry, STATES)
        await registry.close()
        assert {row.state for row in await rows(self.db, WHATSAPP, ACCOUNT)} == {"approved"}


@pytest.fixture
async def stage(database_url: str, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Stage]:
    async with staged(database_url, valkey_url, sandbox) as made:
        yield made


@asynccontextmanager
async def staged(database_url: str, valkey_url: str, sandbox: Sandbox) -> AsyncIterator[Stage]:
    """Two delivery runners, a turn runner, a worker without a queue, and webhooks for callbacks."""
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=valkey_url,
        sandbox_url=sandbox.url,
        port=free_port(),
        smtp_host="127.0.0.1",
        smtp_port=1,
        mail_from="bot@mathia.example",
    )
    jar = aiohttp.DummyCookieJar()
    async with services(settings) as wired, aiohttp.ClientSession(sandbox.url, cookie_jar=jar) as http:
        app = web.Application()
        app.add_routes(routes(wired))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", settings.port).start()
        async with http.post("/_reset") as answer:
            assert answer.status == 200
        async with http.get("/twilio/_truth") as answer:
            seen = await answer.json()
        channels = {WHATSAPP: wired.channels[WHATSAPP]}
        work = [
            asyncio.create_task(TurnRunner(wired.turns, wired.turn_deps, wired.wakes).run()),
            *(
                asyncio.create_task(
                    DeliveryRunner(wired.db, Outbox(wired.db, lease_s=30), channels, wired.wakes, wired.settings).run()
                )
                for _ in range(2)
            ),
            asyncio.create_task(
                run_worker(
                    wired.settings.model_copy(update={"redis_url": ""}), wired.db, wired.wakes, [ChannelName.EMAIL]
                )
            ),
        ]
        yield Stage(wired, http, seen[-1]["n"] if seen else 0)
        assert not [task for task in work if task.done()], [task.exception() for task in work if task.done()]
        for task in work:
            task.cancel()
        for task in work:
            with suppress(asyncio.CancelledError):
                await task
        await runner.cleanup()


async def test_templates_are_registered_once_submitted_once_and_followed(stage: Stage) -> None:
    registry = TwilioContent(stage.wired.settings)
    db = stage.db
    await stage.control("_templates", review_s=3600)
    assert await templates.add(db, registry) == 6
    assert await templates.add(db, registry) == 0
    assert await templates.submit(db, registry) == 6
    assert await templates.submit(db, registry) == 0
    assert {row.state for row in await rows(db, WHATSAPP, ACCOUNT)} == {"received"}
    [first, *_] = await rows(db, WHATSAPP, ACCOUNT)
    await stage.control("_templates", sid=first.provider_ref, state="rejected", reason="Not useful.")
    await stage.control("_templates", review_s=0)
    assert len(await templates.refresh(db, registry, STATES)) == 6
    [first, *others] = await rows(db, WHATSAPP, ACCOUNT)
    assert (first.state, first.reason) == ("rejected", "Not useful.")
    assert {row.state for row in others} == {"approved"}
    await registry.close()


async def test_a_reminder_outside_the_window_goes_by_template(stage: Stage) -> None:
    await stage.has_templates()
    room, conversation = await stage.meets(ago=DAY)
    number = await stage.owes(conversation, "Reminder: call Asha")
    [_, reminder] = await stage.sent(room, 2)
    [known] = [row for row in await rows(stage.db, WHATSAPP, ACCOUNT) if (row.name, row.language) == ("reminder", "en")]
    assert reminder["content_sid"] == known.provider_ref
    assert reminder["body"].startswith("Hello, this is the reminder you asked for: call Asha")
    kept = await stage.row(number, lambda row: row["state"] == "sent", "sent")
    assert (kept["template"]["name"], kept["held_seq"]) == ("reminder", None)
    # The words in it are kept sealed, and read again when its outcome has to be asked after.
    assert "Asha" not in str(dict(kept))
    claimed: list[Any] = []

    async def in_doubt() -> bool:
        # The runner asks after what is in doubt, too, and may be faster; it settles it again then.
        await stage.db.pool.execute(
            "UPDATE outbox SET state = 'unknown', done_at = NULL, not_before = now() - interval '1 s' WHERE id = $1",
            number,
        )
        claimed[:] = await Outbox(stage.db, lease_s=30).claim_in_doubt(WHATSAPP, 10)
        return bool(claimed)

    await until(in_doubt, 15, "a claim of what is in doubt")
    [asked] = claimed
    assert asked.message.template is not None
    assert asked.message.template.variables == {"1": "call Asha"}
    assert asked.message.template.text == reminder["body"]


async def test_what_is_held_goes_before_the_reply_when_the_person_writes(stage: Stage) -> None:
    room, conversation = await stage.meets(ago=DAY)
    numbers = [await stage.owes(conversation, f"Reminder: {word}") for word in ("one", "two")]
    numbers.append(await stage.owes(conversation, "three", kind="payment"))
    for number in numbers:
        row = await stage.held(number)
        assert "Held until the person writes." in row["error"]
    assert "no address" in (await stage.held(numbers[0]))["error"]
    assert len(await stage.truth(room)) == 1
    await stage.writes(room, "hello again")
    sent = await stage.sent(room, 5)
    assert [row["body"] for row in sent[1:4]] == ["Reminder: one", "Reminder: two", "three"]
    assert all("content_sid" not in row for row in sent)
    states = await stage.db.pool.fetch("SELECT state, count(*) FROM outbox GROUP BY state")
    assert [row["state"] for row in states if row["state"] != "sent"] in ([], ["sending"])


async def test_what_is_held_goes_although_no_reply_follows(stage: Stage) -> None:
    room, conversation = await stage.meets(ago=DAY)
    await stage.held(await stage.owes(conversation, "Reminder: alone"))
    async with stage.db.hot() as connection:
        await connection.execute(
            "INSERT INTO message (conversation_id, seq, direction, channel, account, event_id, identity_id, turn_id,"
            " deleted_at) SELECT id, next_seq, 'in', channel, account, 'SMquiet' || id, (SELECT identity_id FROM member"
            " WHERE conversation_id = $1), 0, now() FROM conversation WHERE id = $1",
            conversation,
        )
        await connection.execute("UPDATE conversation SET next_seq = next_seq + 1 WHERE id = $1", conversation)
    assert (await stage.sent(room, 2))[1]["body"] == "Reminder: alone"


async def test_a_reminder_without_a_template_goes_by_email_and_not_again(stage: Stage) -> None:
    room, conversation = await stage.meets(ago=DAY, email="asha@mail.example")
    number = await stage.owes(conversation, "Reminder: by mail")
    row = await stage.row(number, lambda row: row["state"] == "refused", "refused")
    assert "went by e-mail" in row["error"]
    assert await stage.db.pool.fetchval("SELECT count(*) FROM outbox WHERE channel = 'email'") == 1
    await stage.writes(room, "hello")
    await stage.sent(room, 2)


async def test_what_no_template_can_carry_is_announced_once(stage: Stage) -> None:
    await stage.has_templates()
    room, conversation = await stage.meets(ago=DAY)
    for text in ("first", "second"):
        await stage.held(await stage.owes(conversation, text, kind="workflow"))
    [_, notice] = await stage.sent(room, 2)
    assert notice["body"].startswith("Hello, there is a message for you here")
    await stage.writes(room, "yes?")
    sent = await stage.sent(room, 5)
    assert [row["body"] for row in sent[2:4]] == ["first", "second"]


async def test_a_window_that_twilio_says_is_shut_holds_the_message_once(stage: Stage) -> None:
    room, conversation = await stage.meets()
    await stage.control("_window", to=room, open=False)
    number = await stage.owes(conversation, "Reminder: late word")
    row = await stage.held(number)
    assert len(row["past_ids"]) == 1
    assert [one["error_code"] for one in (await stage.truth(room))[1:]] == [63016]
    await stage.control("_window", to=room, open=True)
    await stage.writes(room, "hello")
    sent = await stage.sent(room, 3)
    assert sent[1]["body"] == "Reminder: late word"
    assert len(await stage.truth(room)) == 4


async def test_a_template_that_whatsapp_no_longer_takes_is_not_tried_again(stage: Stage) -> None:
    await stage.has_templates()
    room, conversation = await stage.meets(ago=DAY)
    await stage.control("_window", to=room, open=False)
    for row in await rows(stage.db, WHATSAPP, ACCOUNT):
        await stage.control("_templates", sid=row.provider_ref, state="disabled")
    await stage.held(await stage.owes(conversation, "Reminder: disabled"))
    found = {(row.name, row.language): row for row in await rows(stage.db, WHATSAPP, ACCOUNT)}
    assert found["reminder", "en"].state == "paused"
    assert "disabled the template" in (found["reminder", "en"].reason or "")
    # Its announcement may be on its way too, and fails likewise.
    tried = [row for row in await stage.truth(room) if row.get("content_sid") == found["reminder", "en"].provider_ref]
    assert [row["error_code"] for row in tried] == [63042]


async def test_stop_is_confirmed_once_and_ends_everything_until_start(stage: Stage) -> None:
    room, conversation = await stage.meets(email="juma@mail.example")
    await stage.writes(room, "Stop.")
    assert (await stage.sent(room, 2))[1]["body"] == opt_out.STOPPED["en"]
    number = await stage.owes(conversation, "Reminder: unwanted")
    row = await stage.row(number, lambda row: row["followed_up_at"] is not None, "followed up")
    assert (row["state"], "opted out" in row["error"]) == ("refused", True)
    assert await stage.db.pool.fetchval("SELECT count(*) FROM outbox WHERE channel = 'email'") == 1
    await stage.writes(room, "STOP")
    await stage.writes(room, "hello")

    async def answered() -> bool:
        open_turns = await stage.db.pool.fetchval("SELECT count(*) FROM turn WHERE state IN ('waiting', 'open')")
        unsent = await stage.db.pool.fetchval(
            "SELECT count(*) FROM outbox WHERE channel = 'whatsapp' AND done_at IS NULL"
        )
        return not open_turns and not unsent

    await until(answered, what="every answer")
    await stage.sent(room, 2)
    await stage.writes(room, "START")
    assert (await stage.sent(room, 3))[2]["body"] == opt_out.STARTED["en"]
    await stage.owes(conversation, "Reminder: welcome")
    assert (await stage.sent(room, 4))[3]["body"] == "Reminder: welcome"
    verbs = await stage.db.pool.fetch("SELECT verb FROM audit WHERE verb LIKE 'opt_out.%' ORDER BY id")
    assert [row["verb"] for row in verbs] == ["opt_out.began", "opt_out.ended"]


async def test_twilios_refusal_of_somebody_who_opted_out_is_kept(stage: Stage) -> None:
    room = "whatsapp:+15005550004"
    await stage.writes(room, "hello")

    async def kept() -> bool:
        return bool(await stage.db.pool.fetchval("SELECT count(*) FROM opt_out WHERE how = 'provider'"))

    await until(kept, what="the opt-out")
    assert await stage.truth(room) == []


async def test_forty_people_are_held_and_let_go_once_by_two_runners(stage: Stage) -> None:
    people = await asyncio.gather(*(stage.meets(ago=DAY) for _ in range(40)))
    numbers = [await stage.owes(conversation, f"Reminder: {room}") for room, conversation in people]
    await asyncio.gather(*(stage.held(number) for number in numbers))
    await asyncio.gather(*(stage.writes(room, "hello") for room, _ in people))
    for sent, (room, _) in zip(await asyncio.gather(*(stage.sent(room, 3) for room, _ in people)), people, strict=True):
        assert sent[1]["body"] == f"Reminder: {room}"
        assert sum(row["body"] == f"Reminder: {room}" for row in sent) == 1


async def test_stop_on_the_web_is_a_message_like_any_other(stage: Stage) -> None:
    [received] = await stage.wired.inbox.receive([say("stop", room="visitor", channel=ChannelName.WEB)])

    async def answered() -> bool:
        query = "SELECT count(*) FROM outbox WHERE conversation_id = $1"
        return bool(await stage.db.pool.fetchval(query, received.conversation_id))

    await until(answered, what="the answer")
    assert await stage.db.pool.fetchval("SELECT count(*) FROM opt_out") == 0
