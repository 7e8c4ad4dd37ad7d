"""Contacts: remembered, listed and forgotten, each by its owner alone; numbers checked, merged when people are."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import orjson
import pytest

from core import facts, people
from core.db import Database
from core.errors import InvalidSlot
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia

VISITOR = at(WEB, "visitor-1")
PHONE = at(WHATSAPP, "whatsapp:+254712345678")


@pytest.fixture
async def bot(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url) as whole:
        yield whole


async def test_contact_is_saved_shown_changed_and_forgotten(bot: Mathia) -> None:
    said = await bot.hear(PHONE, "save Amina's number +254 712 345 678")
    assert said == "Done. Saved Amina: +254712345678."
    assert await bot.hear(PHONE, "remember amina's email amina@Mail.example") == (
        "Done. Saved Amina: +254712345678, amina@mail.example."
    )
    await bot.hear(PHONE, "hifadhi namba ya Baraka 0722 000 111")
    assert await bot.hear(PHONE, "who are my contacts?") == (
        "Your 2 contacts\nAmina: +254712345678, amina@mail.example\nBaraka: +254722000111"
    )
    assert await bot.hear(PHONE, "what is Amina's number?") == "Amina: +254712345678, amina@mail.example"
    assert await bot.hear(PHONE, "forget Amina") == (
        "Done. I have forgotten Amina. Say “undo” within the hour to have them back."
    )
    assert await bot.hear(PHONE, "forget Amina") == "“Amina” is not among your contacts."
    assert await bot.hear(PHONE, "my contacts") == "Your contact\nBaraka: +254722000111"


async def test_what_is_missing_or_wrong_is_asked_for(bot: Mathia) -> None:
    assert await bot.hear(PHONE, "save Amina's number") == "What is Amina's phone number?"
    assert (await bot.hear(PHONE, "0712")).startswith("That is no phone number I know.")
    assert await bot.hear(PHONE, "0712345678") == "Done. Saved Amina: +254712345678."


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("0712 345 678", "KE", "+254712345678"),
        ("+44 20 7946 0958", "KE", "+442079460958"),
        ("(0)772 123456", "UG", "+256772123456"),
        ("00254712345678", "KE", None),
        ("12345", "KE", None),
        ("+999 123 456 789", "KE", None),
        ("+254712345678" * 9, "KE", None),
        ("", "KE", None),
    ],
)
def test_numbers_are_those_that_can_exist(written: str, region: str, number: str | None) -> None:
    if number is not None:
        assert people.phone_number(written, region) == number
        return
    with pytest.raises(InvalidSlot) as problem:
        people.phone_number(written, region)
    assert problem.value.slot == "phone"


async def test_number_without_a_country_is_from_where_the_person_lives(bot: Mathia) -> None:
    await bot.hear(PHONE, "I live in Kampala")
    assert await bot.hear(PHONE, "save Okello's number 0772 123456") == "Done. Saved Okello: +256772123456."


async def test_words_of_others_stay_words(bot: Mathia) -> None:
    await bot.hear(PHONE, "save {0.__class__}\u202e%s's number 0712345678")
    assert await bot.hear(PHONE, "my contacts") == "Your contact\n{0.__class__}%s: +254712345678"


async def test_one_name_is_one_contact_however_many_save_it_at_once(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    person = await bot.person(PHONE)
    room = await bot.db.pool.fetchval("SELECT id FROM conversation")

    async def save(number: int) -> None:
        async with bot.db.transaction() as session:
            await people.save_contact(
                session, person, room, "amina" if number % 2 else "Amina", phone=f"+25471234567{number}", email=None,
                note=None,
            )  # fmt: skip

    await asyncio.gather(*(save(number) for number in range(8)))
    assert await bot.db.pool.fetchval("SELECT count(*) FROM contact") == 1


async def test_contacts_are_limited(bot: Mathia) -> None:
    await bot.hear(PHONE, "save Amina's number 0712345678")
    person, room = await bot.person(PHONE), await bot.db.pool.fetchval("SELECT id FROM conversation")
    async with bot.db.hot() as connection:
        key = await bot.db.keys.of_held(connection, person)
        for number in range(2, people.CONTACTS_MAX + 1):
            made = uuid4()
            await connection.execute(
                "INSERT INTO contact (id, person_id, conversation_id, sealed, name_index) VALUES ($1, $2, $3, $4, $5)",
                made, person, room, key.seal(people.as_contact(made), orjson.dumps([f"n{number}", None, None, None])),
                await bot.db.keys.blind(connection, "contact", people.name_index(f"n{number}", person)),
            )  # fmt: skip
    assert "as many as I keep" in await bot.hear(PHONE, "save Baraka's number 0712345678")
    assert await bot.hear(PHONE, "save Amina's number 0712345679") == "Done. Saved Amina: +254712345679."
    shown = await bot.hear(PHONE, "my contacts")
    assert shown.startswith("Your 1,000 contacts\n")
    assert shown.endswith("\n… and 980 more. Ask for one by name.")


async def test_contacts_are_sealed_and_gone_with_their_persons_key(bot: Mathia) -> None:
    await bot.hear(PHONE, "save Canarywanjiru's number 0712345678")
    await bot.hear(PHONE, "save Canarywanjiru's email canarywanjiru@mail.example")
    [row] = await bot.db.pool.fetch("SELECT * FROM contact")
    values = b"".join(one if isinstance(one, bytes) else str(one).encode() for one in row.values()).lower()
    assert b"canarywanjiru" not in values
    assert b"712345678" not in values
    async with bot.db.hot() as connection:
        await bot.db.keys.destroy_of_persons(connection, [await bot.person(PHONE)])
    assert await bot.hear(PHONE, "what is Canarywanjiru's number?") == "“Canarywanjiru” is not among your contacts."
    assert await bot.hear(PHONE, "save Canarywanjiru's number 0799345678") == (
        "Done. Saved Canarywanjiru: +254799345678."
    )
    assert await bot.hear(PHONE, "what is Canarywanjiru's number?") == "Canarywanjiru: +254799345678"


async def test_contacts_of_two_chats_become_one_list_and_nothing_is_lost(bot: Mathia) -> None:
    await bot.hear(VISITOR, "save Amina's number 0712345678")
    await bot.hear(VISITOR, "save Otieno's email o@mail.example")
    await bot.hear(PHONE, "save Amina's number 0799000111")
    await bot.hear(PHONE, "save Otieno's number 0722000111")
    await bot.hear(PHONE, "save Zawadi's number 0733000111")
    await bot.hear(PHONE, await bot.code(VISITOR))
    assert (
        await bot.hear(VISITOR, "my contacts")
        == await bot.hear(PHONE, "my contacts")
        == (
            "Your 4 contacts\nAmina: +254712345678\nAmina (2): +254799000111\nOtieno: +254722000111, o@mail.example\n"
            "Zawadi: +254733000111"
        )
    )


async def test_somebody_is_found_by_what_they_are_to_a_person(bot: Mathia) -> None:
    assert await bot.hear(PHONE, "my accountant is +254 722 000 111") == "Done. Saved accountant: +254722000111."
    assert await bot.hear(PHONE, "mhasibu wangu ni Jane 0733 000 111") == (
        "Sawa. Nimehifadhi Jane: +254733000111, mhasibu wako."
    )
    # There is one: the number without a name became Jane's.
    assert await bot.hear(PHONE, "my contacts") == "Your contact\nJane: +254733000111, your accountant"
    assert await bot.hear(PHONE, "my accountant is Peter 0744 000 111") == (
        "Done. Saved Peter: +254744000111, your accountant."
    )
    assert "Peter: +254744000111" in await bot.hear(PHONE, "what's my accountant's number?")
    assert await bot.hear(PHONE, "my contacts") == (
        "Your 2 contacts\nJane: +254733000111\nPeter: +254744000111, your accountant"
    )
    await bot.hear(PHONE, "my brother is Otieno")
    await bot.hear(PHONE, "my brother is Ouma 0755000111")
    async with bot.db.transaction() as session:
        person = await bot.person(PHONE)
        names = ("my accountant", "mhasibu", "my brother")
        found = [await people.find_contact(session, person, name) for name in names]
    assert [one and one.name for one in found] == ["Peter", "Peter", None]
    assert "Ouma" in await bot.hear(PHONE, "what is Ouma's number?")
    assert "not among your contacts" in await bot.hear(at(TELEGRAM, "9"), "who is my accountant?")


async def test_who_was_forgotten_is_had_back_for_an_hour(bot: Mathia) -> None:
    await bot.hear(PHONE, "my accountant is Jane 0733000111")
    await bot.hear(PHONE, "forget my accountant")
    assert (await bot.hear(PHONE, "my contacts")).startswith("You have no contacts.")
    assert await bot.hear(PHONE, "undo") == "Done. I know again: Jane."
    assert await bot.hear(PHONE, "my contacts") == "Your contact\nJane: +254733000111, your accountant"
    await bot.hear(PHONE, "forget Jane")
    assert await bot.hear(PHONE, "save Jane's number 0799000111") == "Done. Saved Jane: +254799000111."
    await bot.hear(PHONE, "forget Jane")
    await bot.db.pool.execute("UPDATE contact SET ended_at = ended_at - interval '2 hours'")
    assert "nothing of the last hour" in await bot.hear(PHONE, "undo")
    await facts.delete_old(bot.db)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM contact") == 0


async def test_nobody_sees_another_persons_contacts(bot: Mathia) -> None:
    await bot.hear(PHONE, "save Amina's number 0712345678")
    other = at(TELEGRAM, "9")
    assert (await bot.hear(other, "my contacts")).startswith("You have no contacts.")
    assert await bot.hear(other, "what is Amina's number?") == "“Amina” is not among your contacts."
    assert await bot.hear(other, "forget Amina") == "“Amina” is not among your contacts."
    assert (await bot.hear(PHONE, "my contacts")).startswith("Your contact\nAmina")
