"""Scripts played to a whole deployment: a web process and simulators of its own, one for all conversations at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from aiohttp import ClientSession, TCPConnector

from bot.servers import Servers
from bot.servers.postgres import APP, OWNER
from bot.stand import Process, free_port
from core.db import Database
from core.handoff import HandedBack, TookOver
from core.handoff_store import Handoffs
from core.messages import Text
from core.settings import Settings
from core.wake import Wakes
from tests.golden.chats import ANSWER_S, PUBLIC_URL, Chat, Log, Said, World, open_chat, open_room
from tests.golden.script import Script, Step, spoken

AT_ONCE = 24
LOOK_AGAIN_S = 0.015
DATABASE, TEMPLATE = "golden", "mathia"
ZONE = ZoneInfo("Africa/Nairobi")
STAFF = "amina"
NO_ANSWER = "(no answer within {seconds:.0f} seconds)"

STANDING = """
SELECT c.channel, c.room, c.id,
       (SELECT count(*) FROM message m WHERE m.conversation_id = c.id AND m.direction = 'in')
         + (SELECT count(*) FROM change g WHERE g.conversation_id = c.id AND g.kind = 'edit') AS heard,
       (SELECT max(m.seq) FROM message m WHERE m.conversation_id = c.id AND m.direction = 'out') AS last,
       (SELECT count(*) FROM message m WHERE m.conversation_id = c.id AND m.direction = 'out') AS answers,
       EXISTS (SELECT FROM turn t WHERE t.conversation_id = c.id AND t.state IN ('waiting', 'open'))
         OR EXISTS (SELECT FROM outbox o JOIN message m ON m.id = o.id
                    WHERE m.conversation_id = c.id AND o.done_at IS NULL)
         OR EXISTS (SELECT FROM file_fetch f WHERE f.conversation_id = c.id AND f.state = 'waiting') AS busy
FROM conversation c
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a conversation stands: how much was heard, the last answer's place and how many there are, what is due."""

    id: UUID
    heard: int
    last: int
    answers: int
    busy: bool


@dataclass
class Watch:
    """Looks at all conversations at once, for everybody who waits for one."""

    db: Database
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            rows = await self.db.pool.fetch(STANDING)
            async with self.news:
                self.standings = {
                    (row["channel"], row["room"]): Standing(
                        row["id"], row["heard"], row["last"] or 0, row["answers"], row["busy"]
                    )
                    for row in rows
                }
                self.news.notify_all()
            await asyncio.sleep(LOOK_AGAIN_S)

    async def settled(self, chat: Chat, heard: int, answers: int = 0) -> Standing:
        """How the chat's conversation stands once so much was heard, so often answered, and all of that sent."""
        key = (chat.channel.value, chat.room)
        async with asyncio.timeout(ANSWER_S), self.news:
            while True:
                found = self.standings.get(key)
                if found is not None and found.heard >= heard and found.answers >= answers and not found.busy:
                    return found
                await self.news.wait()


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment to talk to."""

    world: World
    watch: Watch
    staff: Handoffs
    today: date

    async def play(self, script: Script, channel: str) -> Script:
        """The script with the answers that were really given."""
        room = await open_room(self.world, script.room, channel) if script.room else {}
        chats = room or {"person": await open_chat(self.world, channel)}
        played = Played(self, chats)
        try:
            for group in _breaths(script.steps):
                await played.say(group)
        finally:
            for chat in chats.values():
                await chat.close()
        return replace(script, steps=tuple(played.steps))


def _breaths(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps that are said in one breath together."""
    groups: list[list[Step]] = []
    for step in steps:
        if step.how == "and":
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


@dataclass
class Played:
    """One conversation on its way."""

    stage: Stage
    chats: Mapping[str, Chat]
    steps: list[Step] = field(default_factory=list)
    _heard: int = 0
    _told: int = 0

    @property
    def _listener(self) -> Chat:
        """Whose chat is read; everybody in a room hears the same."""
        return next(iter(self.chats.values()))

    async def say(self, group: Sequence[Step]) -> None:
        """Say what is said in one breath, and keep the steps with what was answered."""
        step = group[0]
        texts = [spoken(one.text, self.stage.today) for one in group]
        if step.who == "staff":
            await self._as_staff(step, texts[0])
        else:
            await self._as_person(step, texts)
        listener = self._listener
        expected = sum(len(one.answers) for one in group)
        heard = self._heard - sum(chat.unheard for chat in self.chats.values())
        try:
            standing = await self.stage.watch.settled(listener, heard, self._told + expected) if heard else None
            for chat in self.chats.values() if standing else ():
                await chat.look(standing.last if standing else 0)
            told = tuple(said.text for said in listener.told[self._told :])
        except TimeoutError:
            told = (NO_ANSWER.format(seconds=ANSWER_S),)
        self._told = len(listener.told)
        self.steps += [*(replace(one, answers=()) for one in group[:-1]), replace(group[-1], answers=told)]

    async def _as_person(self, step: Step, texts: Sequence[str]) -> None:
        chat = self.chats[step.who]
        self._heard += len(texts)
        match step.how:
            case "taps":
                said = next(one for one in reversed(chat.told) if step.text in one.options or step.text in one.text)
                await chat.tap(said, texts[0])
            case "quotes":
                await chat.say(texts, reply_to=self._found(chat, step.of).id.rpartition(":")[2])
            case "edits":
                await chat.edit(next(one for one in reversed(chat.own) if step.of in one.text), texts[0])
            case "sends":
                await chat.say(texts, file=step.of)
            case _:
                await chat.say(texts)

    @staticmethod
    def _found(chat: Chat, words: str) -> Said:
        """The newest message with these words, Mathia's before the person's own."""
        return next(one for said in (chat.told, chat.own) for one in reversed(said) if words in one.text)

    async def _as_staff(self, step: Step, text: str) -> None:
        place = (await self.stage.watch.settled(self._listener, self._heard)).id
        match step.how:
            case "takes over":
                await self.stage.staff.apply(place, TookOver(STAFF), f"staff:{STAFF}")
            case "hands back":
                await self.stage.staff.apply(place, HandedBack(STAFF), f"staff:{STAFF}")
            case _:
                await self.stage.staff.say(place, STAFF, (Text(text=text),), uuid4().hex)
        # Staff write to the store themselves: what was seen of it before is no more true.
        await asyncio.sleep(0)
        async with self.stage.watch.news:
            await self.stage.watch.news.wait()
            await self.stage.watch.news.wait()


@asynccontextmanager
async def stage(servers: Servers, folder: Path) -> AsyncIterator[Stage]:
    """A deployment with a database of its own; gone at the end."""
    assert servers.postgres
    assert servers.valkey
    port, sandbox_port = free_port(), free_port()
    url, sandbox_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
    database = f"{DATABASE}{port}"
    connection = await servers.postgres.connect()
    await connection.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} OWNER {OWNER} STRATEGY FILE_COPY")
    environment = {
        "DATABASE_URL": servers.postgres.url(APP, database), "REDIS_URL": servers.valkey.url, "PORT": str(port),
        "SANDBOX_URL": sandbox_url, "PUBLIC_URL": PUBLIC_URL, "TELEGRAM_WEBHOOK_SECRET": "golden-secret-of-telegram",
        "FILES_DIR": str(folder / "files"), "LOG_LEVEL": "warning",
    }  # fmt: skip
    simulators = ["sandbox", "--port", str(sandbox_port), "--data", str(folder / "sandbox"), "--app-url", url]
    sandbox = Process(
        [*simulators, "--public-url", PUBLIC_URL], {}, folder / "sandbox.log", f"{sandbox_url}/twilio/_truth"
    )
    web = Process(["web"], environment, folder / "web.log", f"{url}/healthz")
    worker = Process(["worker"], environment, folder / "worker.log")
    try:
        async with AsyncExitStack() as stack:
            await sandbox.start()
            stack.push_async_callback(sandbox.stop)
            worker.spawn()
            stack.push_async_callback(worker.stop)
            await web.start()
            stack.push_async_callback(web.stop)
            session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
            db = await Database.connect(environment["DATABASE_URL"], Settings(_env_file=None).key_list)
            stack.push_async_callback(db.close)
            logs = {name: Log(session, f"{sandbox_url}/{name}") for name in ("twilio", "whatsapp", "telegram")}
            watch = Watch(db)
            watching = asyncio.create_task(watch.run())
            stack.callback(watching.cancel)
            stack.callback(_no_bug, folder / "web.log")
            yield Stage(
                World(session, url, sandbox_url, logs, asyncio.Lock()), watch,
                Handoffs(db, Wakes(db), Settings(_env_file=None)), _today(),
            )  # fmt: skip
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        await connection.close()


Play = tuple[str, str]
"""The name of a script, and the channel it is played on."""


async def play_all(
    plays: Sequence[tuple[Script, str]], servers: Servers, folder: Path
) -> tuple[dict[Play, Script | BaseException], date]:
    """All of them at once: the scripts as they went, or what broke them; and which day it was."""
    at_once = asyncio.Semaphore(AT_ONCE)
    async with stage(servers, folder) as on:

        async def play(script: Script, channel: str) -> Script:
            async with at_once:
                return await on.play(script, channel)

        played = await asyncio.gather(*(play(*one) for one in plays), return_exceptions=True)
        if on.today != _today():
            # Midnight passed, and “in three days” meant two different days.
            on = replace(on, today=_today())
            played = await asyncio.gather(*(play(*one) for one in plays), return_exceptions=True)
        return {(script.name, channel): one for (script, channel), one in zip(plays, played, strict=True)}, on.today


def _no_bug(log: Path) -> None:
    """Nothing raised in the web process what nobody expected."""
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]


def _today() -> date:
    return datetime.now(UTC).astimezone(ZONE).date()
