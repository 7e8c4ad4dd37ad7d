"""Many people at once, each with words nobody else uses: no word is said, thought with, or kept where it is not theirs.

They write on every channel: WhatsApp by Twilio and by Meta, Telegram in private and in groups, the web alone and in
rooms; they link chats, edit what they wrote, and talk to staff. Each has one word for what they say in private and one
for what they say where others are: the first is theirs alone, the second everybody's in that room.
MATHIA_CANARIES sets how many people; 1,000 take some minutes.
"""

import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from core import facts, people, rooms
from core.actions import Action
from core.brain import Asked, Brain
from core.changes import Change
from core.crypto import Passing
from core.db import Database
from core.dialog import Intent, Plan
from core.handoff import HandedBack
from core.handoff_store import Handoffs
from core.mentions import is_shared
from core.messages import Address, InboundMessage, Reply, Text
from core.models import Reminder
from core.reminders import open_contents
from core.settings import Settings
from tests.conftest import Sandbox
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.said import called, messages

PEOPLE = int(os.environ.get("MATHIA_CANARIES", "42"))
SITE = "default"
CHANNELS = 4
LINKED_EVERY = 5
HUMAN_EVERY = 7
TOGETHER = 6
"""People in a group of Telegram, or in a room of the web."""
BATCH = 100
CANARY = re.compile(r"canary[a-z]{6}|\+2547\d{8}")

PRIVATELY = (
    "my name is {word}", "save {sign}'s number 0{phone}", "remind me tomorrow at 9 to see {sign} about {word}",
    "remind me to water {word}", "hifadhi barua pepe ya {sign} {word}@mail.example", "my goal is to visit {word}",
    "I prefer {word} in the mornings", "my e-mail is {word}@mail.example",
)  # fmt: skip
AMONG_OTHERS = ("remind me tomorrow at 10 to bring {word}", "my goal is to sing {word}", "remind me to carry {word}")
ASKS = (
    "what do you know about me", "my contacts", "my reminders", "what are my goals?", "what is {other}'s number?",
    "forget {other}", "cancel the reminder about {other}", "weather in Nairobi", "convert 100 USD to KES",
)  # fmt: skip


def word(number: int) -> str:
    """A word of its own for each number."""
    letters = ""
    for _ in range(6):
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
    return letters


@dataclass
class Somebody:
    """A person: where they write, and their words."""

    number: int
    chats: list[Address]
    shared: list[Address] = field(default_factory=list)

    @property
    def private(self) -> str:
        return f"canary{word(2 * self.number)}"

    @property
    def open(self) -> str:
        return f"canary{word(2 * self.number + 1)}"

    @property
    def sign(self) -> str:
        """Whom they know: a name that others ask for, which says nothing."""
        return f"friend{word(self.number)}"

    @property
    def phone(self) -> str:
        """Their friend's, as it is dialled."""
        return f"7{12_000_000 + self.number:08}"

    @property
    def words(self) -> set[str]:
        return {self.private, self.open, f"+254{self.phone}"}


def on_the_web(visitor: str, room: str | None = None) -> Address:
    """A visitor of our own page, alone unless a room is given."""
    return Address(WEB, SITE, room or visitor, visitor)


def somebody(number: int) -> Somebody:
    """Somebody on one of the roads, and some of them on Telegram as well."""
    match number % CHANNELS:
        case 0:
            chat = on_the_web(str(UUID(int=number + 1)))
        case 1:
            chat = at(WHATSAPP, f"whatsapp:+2549{number:08}")
        case 2:
            chat = Address(WHATSAPP, "meta", f"2548{number:08}", f"2548{number:08}")
        case _:
            chat = at(TELEGRAM, f"7{number:06}")
    second = [at(TELEGRAM, f"8{number:06}")] if number % LINKED_EVERY == 0 else []
    return Somebody(number, [chat, *second])


class Seen:
    """A brain, and all that it is told, with who wrote and where."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self.told: list[tuple[Address, str]] = []

    async def think(self, turn: Asked, offered: Sequence[Action[Any]]) -> Intent | Reply | Plan:
        whole = repr((turn.text, turn.messages, turn.person, turn.state))
        self.told.append((turn.messages[-1].sender, whole))
        return await self._brain.think(turn, offered)


@dataclass
class Crowd:
    """Everybody, and how they talk."""

    bot: Mathia
    everybody: list[Somebody]
    chance: random.Random

    async def say(self, said: list[tuple[Address, str]], *, edited: bool = False) -> None:
        """Say all of it in any order, each batch stored before it is answered; `edited` says it twice as an edit."""
        self.chance.shuffle(said)
        for start in range(0, len(said), BATCH):
            batch = [
                InboundMessage(who, uuid4().hex, (Text(text=text),), datetime.now(UTC), None)
                for who, text in said[start : start + BATCH]
            ]
            await self.bot.inbox.receive(batch)
            late = self.chance.sample(batch, len(batch) // 2) if edited else []
            for one in batch if edited else ():
                if one in late:
                    continue
                await self._edit(one)
            await self.bot.answer()
            for one in late:
                await self._edit(one)

    async def _edit(self, one: InboundMessage) -> None:
        parts = (Text(text=f"{one.text} or so"),)
        changed = await self.bot.inbox.change(
            Change(one.sender, uuid4().hex, "edit", one.event_id, datetime.now(UTC), parts)
        )
        assert changed.state == "applied"

    async def gather(self) -> None:
        """Put those of Telegram into groups, and those of the web into rooms."""
        telegram = [(one, chat) for one in self.everybody for chat in one.chats if chat.channel is TELEGRAM]
        for number, (one, chat) in enumerate(telegram):
            one.shared.append(at(TELEGRAM, chat.person, f"-{1 + number // TOGETHER}"))
        web = [one for one in self.everybody if one.chats[0].channel is WEB]
        for start in range(0, len(web), TOGETHER):
            await self._room(web[start : start + TOGETHER])

    async def _room(self, members: Sequence[Somebody]) -> None:
        first, *others = [rooms.Place(SITE, UUID(one.chats[0].person)) for one in members]
        now = datetime.now(UTC)
        async with self.bot.db.transaction() as session:
            room = await rooms.create(session, first, "Plans", members[0].open, now=now)
        for place, one in zip(others, members[1:], strict=True):
            async with self.bot.db.transaction() as session:
                link = await rooms.invite(
                    session, first, room, address=None, mailbox=None, base_url="", language="en", now=now
                )
            async with self.bot.db.transaction() as session:
                await rooms.accept(session, place, link.rpartition("/")[2], one.open, now=now)
        for one in members:
            one.shared.append(on_the_web(one.chats[0].person, rooms.name_of(room)))

    async def link(self) -> None:
        """Join the chats of those who have two."""
        two = [one for one in self.everybody if len(one.chats) > 1]
        codes = [(one.chats[1], await self.bot.code(one.chats[0])) for one in two]
        await self.say(codes)

    async def hand_off(self) -> None:
        """Some talk to a member of staff, who writes what they said."""
        staff = Handoffs(self.bot.db, self.bot.wakes, Settings(_env_file=None))
        some = self.everybody[::HUMAN_EVERY]
        await self.say([(one.chats[0], "talk to a human") for one in some])
        for one in some:
            place = await self.bot.db.pool.fetchval(
                "SELECT id FROM conversation WHERE (channel, account, room) = ($1, $2, $3)",
                one.chats[0].channel.value, one.chats[0].account, one.chats[0].room,
            )  # fmt: skip
            await staff.say(place, "amina", (Text(text=f"You mean {one.private}?"),), uuid4().hex)
            await self.say([(one.chats[0], f"yes, {one.private}")])
            await staff.apply(place, HandedBack("amina"), "staff:amina")

    async def owners(self) -> dict[UUID, Somebody]:
        """Who everybody is to Mathia, also who was before they were joined."""
        writers = self.writers()
        rows = await self.bot.db.pool.fetch(
            "SELECT p.id, i.channel, i.provider_id FROM person p"
            " JOIN identity i ON i.person_id = coalesce(p.merged_into, p.id) WHERE i.channel <> 'email'"
        )
        return {row["id"]: writers[row["channel"], row["provider_id"]] for row in rows}

    def writers(self) -> dict[tuple[str, str], Somebody]:
        """Who writes from where."""
        return {(place.channel.value, place.person): one for one in self.everybody for place in one.chats}

    def there(self) -> dict[str, set[str]]:
        """What was said in each room with several people."""
        words: dict[str, set[str]] = {}
        for one in self.everybody:
            for place in one.shared:
                words.setdefault(place.room, set()).add(one.open)
        return words

    def next(self, one: Somebody) -> Somebody:
        """Whom they ask about."""
        return self.everybody[(one.number + 1) % len(self.everybody)]


def among(place: Address, text: str) -> str:
    """What is said to the bot where others are."""
    return f"@mathia {text}" if place.channel is WEB else text


@pytest.mark.parametrize("seed", [1])
async def test_no_word_of_a_person_reaches_another(db: Database, valkey_url: str, sandbox: Sandbox, seed: int) -> None:
    async with mathia(db, valkey_url, sandbox_url=sandbox.url) as bot:
        crowd = Crowd(bot, [somebody(number) for number in range(PEOPLE)], random.Random(seed))
        seen = Seen(bot.deps.brain)
        bot.deps = replace(bot.deps, brain=seen)

        everybody = crowd.everybody
        for line in PRIVATELY:
            await crowd.say(
                [(one.chats[0], line.format(word=one.private, sign=one.sign, phone=one.phone)) for one in everybody]
            )
        assert await _states(crowd) >= PEOPLE
        await crowd.gather()
        for line in AMONG_OTHERS:
            await crowd.say(
                [(place, among(place, line.format(word=one.open))) for one in everybody for place in one.shared]
            )
        await crowd.say([(one.chats[0], f"hello {one.private}") for one in everybody], edited=True)
        await crowd.say(
            [(place, among(place, f"hello {one.open}")) for one in everybody for place in one.shared], edited=True
        )
        await crowd.link()
        await crowd.hand_off()
        for line in ASKS:
            await crowd.say(
                [
                    (place, among(place, line.format(other=crowd.next(one).sign)))
                    for one in everybody
                    for place in (*one.chats, *one.shared)
                ]
            )
        await _nothing_is_told(crowd)
        _nothing_is_thought_with(crowd, seen)
        await _nothing_is_kept(crowd)
        await _states(crowd)


async def _nothing_is_told(crowd: Crowd) -> None:
    """What the bot and staff say in a room holds words of it alone."""
    alone = {chat.room: one for one in crowd.everybody for chat in one.chats}
    there = crowd.there()
    rows = await messages(
        crowd.bot.db, "JOIN conversation c ON c.id = m.conversation_id WHERE m.direction = 'out'",
        also=["c.room", "c.channel"],
    )  # fmt: skip
    told = 0
    heard: dict[str, set[str]] = {}
    for row in rows:
        said = set(CANARY.findall(str(row["parts"])))
        if row["channel"] == "email":
            assert said == set()
        elif row["room"] in there:
            assert said <= there[row["room"]], row["parts"]
            heard.setdefault(row["room"], set()).update(said)
        else:
            one = alone[row["room"]]
            assert said <= one.words, (row["parts"], one)
            told += bool(said)
    assert told >= len(PRIVATELY) * len(crowd.everybody)
    assert heard == there  # Everybody asked for the reminders they set there.


def _nothing_is_thought_with(crowd: Crowd, seen: Seen) -> None:
    """What the brain is told of a turn holds words of its writer, and of others what they said in that room."""
    writers, there = crowd.writers(), crowd.there()
    assert len(seen.told) > 15 * len(crowd.everybody)
    for sender, whole in seen.told:
        one = writers[sender.channel.value, sender.person]
        assert set(CANARY.findall(whole)) <= one.words | there.get(sender.room, set()), whole


async def _nothing_is_kept(crowd: Crowd) -> None:
    """Contacts, facts, reminders and names hold words of whose they are; remembered results hold nobody's."""
    db = crowd.bot.db
    valkey: Any = crowd.bot.valkey
    for person, one in (await crowd.owners()).items():
        async with db.transaction() as session:
            who = (await session.execute(select(people.current(person)))).scalar_one()
            contacts = [(each.name, each.phone, each.email) for each in await people.contacts(session, who)]
            goals = [fact.words for fact in await facts.known(session, who)]
            mine = select(Reminder).where(Reminder.person_id == who, Reminder.state == "active")
            reminders = await open_contents(session, (await session.scalars(mine)).all())
        name = await called(db, "SELECT name FROM person WHERE id = $1", who)
        kept = str([contacts, goals, [each.content for each in reminders], name])
        assert set(CANARY.findall(kept)) == (one.words if one.shared else one.words - {one.open}), kept
        assert contacts == [(one.sign, f"+254{one.phone}", f"{one.private}@mail.example")]
        assert name == one.private
    results = await valkey.keys("result:*")
    assert len(results) > 1
    for key in results:
        assert CANARY.findall(Passing(db.keys, b"result").open(key, await valkey.get(key)).decode()) == []
    for key in await valkey.keys("*"):
        assert CANARY.search((key + (await valkey.dump(key) or b"")).decode("latin-1")) is None


async def _states(crowd: Crowd) -> int:
    """Dialog states hold words of whose they are, and where others are none that were said in private; how many do."""
    db = crowd.bot.db
    valkey: Any = crowd.bot.valkey
    shared = {row["id"] for row in await db.pool.fetch("SELECT id, room FROM conversation") if _is_shared(row["room"])}
    owners = await crowd.owners()
    held = 0
    for key in await valkey.keys("dialog:*"):
        state = Passing(db.keys, b"dialog").open(key, await valkey.get(key)).decode()
        _, _, place, person = key.decode().split(":")
        one = owners[UUID(person)]
        words = set(CANARY.findall(state))
        assert words <= ({one.open} if UUID(place) in shared else one.words), state
        held += bool(words)
    return held


def _is_shared(room: str) -> bool:
    return is_shared(room) or room.startswith("-")
