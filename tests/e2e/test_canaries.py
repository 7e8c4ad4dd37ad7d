"""Many people at once, each with words nobody else uses: no word is ever said, or kept, where it is not theirs.

MATHIA_CANARIES sets how many; 1,000 take a few minutes.
"""

import os
import random
import re
from typing import Any
from uuid import UUID

import orjson
import pytest

from core import people
from core.crypto import Passing
from core.db import Database
from core.messages import Address
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, at, mathia
from tests.said import messages

PEOPLE = int(os.environ.get("MATHIA_CANARIES", "60"))
LINKED_EVERY = 5
GROUP_OF = 6
BATCH = 100
CANARY = re.compile(r"canary[a-z]{6}")


def canary(number: int) -> str:
    """A word of this person's own."""
    letters = ""
    for _ in range(6):
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
    return f"canary{letters}"


def chat(number: int) -> Address:
    """Where a person writes."""
    match number % 3:
        case 0:
            return at(WEB, f"visitor-{number}")
        case 1:
            return at(WHATSAPP, f"whatsapp:+2547{number:08}")
        case _:
            return at(TELEGRAM, f"7{number:06}")


def second(number: int) -> Address | None:
    """Where some of them write as well."""
    return at(TELEGRAM, f"8{number:06}") if number % LINKED_EVERY == 0 else None


def group(number: int) -> Address:
    """A group that some people share."""
    known = second(number) or chat(number)
    return at(known.channel, known.person, f"-{number // GROUP_OF}") if known.channel is TELEGRAM else known


SAYS = (
    "my name is {word}", "save {word}'s number 0712345678", "remind me tomorrow at 9 to see {word}",
    "remind me to water {word}", "hifadhi barua pepe ya {word} {word}@mail.example",
)  # fmt: skip
ASKS = (
    "what do you know about me", "my contacts", "my reminders", "what is {other}'s number?", "forget {other}",
    "cancel the reminder about {other}", "weather",
)  # fmt: skip


@pytest.mark.parametrize("seed", [1])
async def test_no_word_of_a_person_is_ever_told_to_another(db: Database, valkey_url: str, seed: int) -> None:
    chance = random.Random(seed)
    numbers = list(range(PEOPLE))
    async with mathia(db, valkey_url) as bot:

        async def everybody(said: list[tuple[Address, str]]) -> None:
            chance.shuffle(said)
            for start in range(0, len(said), BATCH):
                await bot.receive(*said[start : start + BATCH])
                await bot.answer()

        for line in SAYS:
            await everybody([(chat(number), line.format(word=canary(number))) for number in numbers])
        codes = {number: await bot.code(chat(number)) for number in numbers if second(number)}
        await everybody([(known, codes[number]) for number in codes if (known := second(number))])
        for line in ASKS:
            asked: list[tuple[Address, str]] = []
            for number in numbers:
                text = line.format(other=canary((number + 1) % PEOPLE))
                places = {chat(number), group(number), second(number) or chat(number)}
                asked += [(place, text) for place in sorted(places, key=lambda place: place.room)]
            await everybody(asked)

        owner = {place.room: number for number in numbers for place in (chat(number), second(number)) if place}
        ours = "JOIN conversation c ON c.id = m.conversation_id WHERE m.direction = 'out'"
        rows = await messages(db, ours, also=["c.room", "c.channel"])
        told = 0
        for row in rows:
            row["said"] = str(row["parts"])
            assert row["channel"] != "email"
            if row["room"].startswith("-"):
                # A member may have named the other in asking, and is told that nobody is called so.
                assert "0712" not in row["said"]
                assert "+254712345678" not in row["said"]
                continue
            number = owner[row["room"]]
            mine, next_one = canary(number), canary((number + 1) % PEOPLE)
            said = set(CANARY.findall(row["said"]))
            assert said <= {mine, next_one}, row["room"]
            if next_one in said:
                assert "is not among your contacts" in row["said"] or "You have no reminder called" in row["said"]
            told += mine in said
        assert told >= 5 * PEOPLE
        await _kept_apart(bot.valkey, db, numbers)


async def _kept_apart(valkey: Any, db: Database, numbers: list[int]) -> None:
    """Every dialog state holds words of its own person, or those this person has just asked for."""
    persons: dict[UUID, list[str]] = {}
    for row in await db.pool.fetch("SELECT DISTINCT person_id FROM contact"):
        async with db.transaction() as session:
            known = await people.contacts(session, row["person_id"])
        persons[row["person_id"]] = [people.name_key(contact.name) for contact in known]
    assert len(persons) == len(numbers)
    assert all(len(set(CANARY.findall(" ".join(names)))) == 1 for names in persons.values())
    states = 0
    for key in await valkey.keys("dialog:*"):
        known = orjson.loads(Passing(db.keys, b"dialog").open(key, await valkey.get(key)))
        person = key.decode().rpartition(":")[2]
        names = next((names for owner, names in persons.items() if str(owner) == person), None)
        if names is not None and known["history"].get("set_reminder"):
            assert CANARY.findall(str(known["history"]["set_reminder"])) in ([names[0]], [])
            states += 1
    assert states > 0
