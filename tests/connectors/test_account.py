"""Linking, preferences and the e-mail address, as people do them: said in one chat, seen in another."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from core.db import Database
from core.linking import CODES_MAX
from core.models import Identity, Reminder
from core.reminders import open_contents
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.said import addresses, called, messages

VISITOR = at(WEB, "visitor-1")
PHONE = at(WHATSAPP, "whatsapp:+254712345678")
GRAM = at(TELEGRAM, "70001")
STRANGER = at(WHATSAPP, "whatsapp:+254700000009")
WRONG = "ZZZZ-ZZZZ-22"
WRONG_SAID = "That code does not work. Say “link my account” in the other chat for a new one."


@pytest.fixture
async def bot(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url) as whole:
        yield whole


async def link(bot: Mathia) -> None:
    """One person on the web and on WhatsApp."""
    await bot.hear(PHONE, await bot.code(VISITOR))
    assert await bot.person(PHONE) == await bot.person(VISITOR)


async def test_code_shown_in_one_chat_and_typed_in_another_makes_them_one_person(bot: Mathia) -> None:
    await bot.hear(VISITOR, "my name is Amina")
    before = await bot.person(VISITOR)
    code = await bot.code(VISITOR)
    assert re.fullmatch(r"[2-9A-Z]{4}-[2-9A-Z]{4}-[2-9A-Z]{2}", code)
    said = await bot.hear(PHONE, code)
    assert said == (
        "Linked: this WhatsApp number and your web chat are now one account. If this was not you, say “unlink”."
    )
    assert (await bot.told(VISITOR))[-1] == (
        "Linked: this web chat and your WhatsApp number are now one account. If this was not you, say “unlink”."
    )
    assert await bot.person(PHONE) == await bot.person(VISITOR) == before
    profile = await bot.hear(PHONE, "what do you know about me?")
    assert "Name: Amina" in profile
    assert "Chats: web chat, WhatsApp +254712345678" in profile
    audit = await bot.db.pool.fetch("SELECT verb, subject FROM audit")
    assert [row["verb"] for row in audit] == ["account.linked"]


async def test_in_swahili_and_on_telegram_by_a_deep_link(bot: Mathia) -> None:
    await bot.hear(VISITOR, "ongea Kiswahili")
    code = await bot.code(VISITOR, "unganisha akaunti yangu")
    await bot.hear(GRAM, f"/start link_{code.replace('-', '')}")
    assert await bot.person(GRAM) == await bot.person(VISITOR)
    assert (await bot.told(VISITOR))[-1].startswith("Imeunganishwa: gumzo hili la wavuti na akaunti yako ya Telegram")


async def test_code_is_good_once_and_a_new_one_ends_the_old_one(bot: Mathia) -> None:
    old = await bot.code(VISITOR)
    new = await bot.code(VISITOR)
    assert await bot.hear(PHONE, old) == WRONG_SAID
    assert (await bot.hear(PHONE, new)).startswith("Linked")
    assert await bot.hear(STRANGER, new) == WRONG_SAID
    await bot.hear(STRANGER, "hello")
    assert await bot.person(STRANGER) != await bot.person(VISITOR)


async def test_expired_used_and_unknown_codes_get_one_sentence(bot: Mathia) -> None:
    late = await bot.code(VISITOR)
    await bot.db.pool.execute("UPDATE link_code SET expires_at = now() - interval '1 s'")
    assert [await bot.hear(STRANGER, late), await bot.hear(STRANGER, WRONG)] == [WRONG_SAID] * 2


async def test_five_wrong_codes_lock_an_identity_although_valkey_forgets_everything(bot: Mathia) -> None:
    code = await bot.code(VISITOR)
    for _ in range(5):
        assert await bot.hear(STRANGER, WRONG) == WRONG_SAID
        await bot.valkey.flushall()
    assert (await bot.hear(STRANGER, code)).startswith("That was too many codes")
    assert await bot.person(STRANGER) != await bot.person(VISITOR)
    await bot.db.pool.execute("UPDATE link_try SET at = at - interval '1 hour'")
    assert (await bot.hear(STRANGER, code)).startswith("Linked")


async def test_tries_at_once_are_counted_one_by_one(bot: Mathia) -> None:
    await bot.hear(STRANGER, "hello")
    await bot.receive(*[(STRANGER, WRONG)] * 5)
    await bot.answer()
    assert await bot.db.pool.fetchval("SELECT count(*) FROM link_try") == 5
    assert (await bot.hear(STRANGER, WRONG)).startswith("That was too many codes")


async def test_code_typed_where_it_is_shown_links_nothing_and_stays_good(bot: Mathia) -> None:
    code = await bot.code(VISITOR)
    assert await bot.hear(VISITOR, code) == "This chat is where the code was shown. Type it in your other chat."
    assert (await bot.hear(PHONE, code)).startswith("Linked")


async def test_in_a_group_no_code_is_shown_and_none_works_ever_after(bot: Mathia) -> None:
    group = at(TELEGRAM, GRAM.person, "-100500")
    private = "Let us do that in private: write to me directly, not in a group."
    assert await bot.hear(group, "link my account") == private
    code = await bot.code(VISITOR)
    assert await bot.hear(group, code) == private
    assert await bot.hear(STRANGER, code) == WRONG_SAID


async def test_code_in_the_middle_of_a_request_is_a_code_and_nothing_else(bot: Mathia) -> None:
    code = await bot.code(VISITOR)
    await bot.hear(PHONE, "remind me tomorrow at 9")
    assert (await bot.hear(PHONE, code)).startswith("Linked")
    assert await bot.db.pool.fetchval("SELECT count(*) FROM reminder") == 0


async def test_code_is_kept_only_as_its_hash(bot: Mathia) -> None:
    code = await bot.code(VISITOR)
    await bot.hear(PHONE, code)
    bare = code.replace("-", "")
    rows = await bot.db.pool.fetch(
        "SELECT t::text AS row FROM link_code t UNION ALL SELECT t::text FROM link_try t UNION ALL"
        " SELECT t::text FROM turn t UNION ALL SELECT action FROM receipt UNION ALL"
        " SELECT t::text FROM audit t"
    )
    assert len(rows) >= 6
    assert not [row for row in rows if code in row["row"] or bare in row["row"]]
    kept = [await bot.valkey.get(key) for key in await bot.valkey.keys("*")]
    assert not [value for value in kept if bare in str(value)]


async def test_reminders_are_one_list_and_each_speaks_where_it_was_set(bot: Mathia) -> None:
    await bot.hear(PHONE, "remind me tomorrow at 9 to call Amina")
    await link(bot)
    await bot.hear(VISITOR, "remind me tomorrow at 10 to pay rent")
    web, phone = await bot.hear(VISITOR, "my reminders"), await bot.hear(PHONE, "my reminders")
    assert re.search(r"call Amina \(on WhatsApp\)\n.*pay rent$", web)
    assert re.search(r"call Amina\n.*pay rent \(on the web chat\)$", phone)
    rooms = await bot.db.pool.fetch(
        "SELECT c.room FROM reminder r JOIN conversation c ON c.id = r.conversation_id ORDER BY r.due_at"
    )
    assert [row["room"] for row in rooms] == [PHONE.room, VISITOR.room]
    assert await bot.hear(VISITOR, "cancel reminder 1") == "Done. Cancelled “call Amina”."


async def test_group_hears_nothing_of_what_a_member_set_elsewhere(bot: Mathia) -> None:
    await bot.hear(GRAM, "remind me tomorrow at 9 to see the doctor")
    await bot.hear(GRAM, "save Asha's number 0712345678")
    group = at(TELEGRAM, GRAM.person, "-100500")
    assert await bot.hear(group, "my reminders") == "You have no reminders."
    for asked in ("who are my contacts", "what do you know about me", "forget Asha", "save Otieno's number 0712345679"):
        assert "private" in await bot.hear(group, asked)


async def test_two_authors_of_one_turn_in_a_group_are_two_people(bot: Mathia) -> None:
    one, two = at(TELEGRAM, "71", "-9"), at(TELEGRAM, "72", "-9")
    await bot.receive((one, "remind me tomorrow at 9 to buy milk"), (two, "remind me tomorrow at 9 to buy bread"))
    await bot.answer()
    async with bot.db.transaction() as session:
        statement = select(Reminder).join(Identity, Identity.person_id == Reminder.person_id)
        found = (await session.scalars(statement.order_by(Identity.provider_id))).all()
        assert [one.content for one in await open_contents(session, found)] == ["buy milk", "buy bread"]


async def test_dialogs_of_two_chats_of_one_person_never_mix(bot: Mathia) -> None:
    await link(bot)
    assert await bot.hear(VISITOR, "remind me tomorrow at 9") == "What should I remind you of?"
    assert "What should I remind you of?" not in await bot.hear(PHONE, "weather")
    assert (await bot.hear(VISITOR, "to call Asha")).startswith("Done. Reminder set")


async def test_unlink_gives_a_chat_its_own_person_and_what_was_set_in_it(bot: Mathia) -> None:
    await link(bot)
    await bot.hear(PHONE, "save Asha's number 0712345678")
    await bot.hear(VISITOR, "save Baraka's number 0722345678")
    await bot.hear(PHONE, "remind me tomorrow at 9 to call Asha")
    assert await bot.hear(PHONE, "unlink") == "This chat is now an account of its own: nothing else is linked to it."
    assert await bot.person(PHONE) != await bot.person(VISITOR)
    assert await bot.hear(PHONE, "my contacts") == "Your contact\nAsha: +254712345678"
    assert await bot.hear(VISITOR, "my contacts") == "Your contact\nBaraka: +254722345678"
    assert await bot.hear(VISITOR, "my reminders") == "You have no reminders."
    assert (await bot.hear(PHONE, "unlink")).startswith("This chat is now an account of its own")
    verbs = await bot.db.pool.fetch("SELECT verb FROM audit ORDER BY id")
    assert [row["verb"] for row in verbs] == ["account.linked", "account.unlinked"]
    await link(bot)


async def test_what_is_written_for_a_person_that_was_just_merged_is_the_merged_ones(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    stale = await bot.person(PHONE)
    await link(bot)
    conversation = await bot.db.pool.fetchval("SELECT id FROM conversation WHERE room = $1", PHONE.room)
    await bot.db.pool.execute(
        "INSERT INTO contact (id, person_id, conversation_id, sealed, name_index)"
        " VALUES (gen_random_uuid(), $1, $2, 'x', 'x')",
        stale,
        conversation,
    )
    assert await bot.db.pool.fetchval("SELECT person_id FROM contact") == await bot.person(VISITOR)


async def test_first_persons_preferences_win_and_gaps_are_filled(bot: Mathia) -> None:
    await bot.hear(VISITOR, "my name is Amina")
    for said in ("my name is Another", "I live in Dubai", "speak Swahili"):
        await bot.hear(PHONE, said)
    await link(bot)
    row = await bot.db.pool.fetchrow("SELECT timezone, language, language_chosen FROM person WHERE merged_into IS NULL")
    assert tuple(row) == ("Asia/Dubai", "sw", True)
    assert await called(bot.db, "SELECT name FROM person WHERE merged_into IS NULL") == "Amina"


async def test_codes_for_one_person_are_limited(bot: Mathia) -> None:
    for _ in range(CODES_MAX):
        await bot.code(VISITOR)
    assert "codes within an hour" in await bot.hear(VISITOR, "link my account")


async def test_links_at_once_in_both_directions_end_and_make_one_person(bot: Mathia) -> None:
    for round_ in range(10):
        one, two, three = (at(WEB, f"v{round_}-{n}") for n in range(3))
        codes = [await bot.code(who) for who in (one, two, three)]
        await bot.receive((one, codes[1]), (two, codes[2]), (three, codes[0]))
        await bot.answer()
        persons = {await bot.person(who) for who in (one, two, three)}
        assert len(persons) <= 2  # A link ends the other codes of both; two of three at once may be enough.
        told = [text for who in (one, two, three) for text in await bot.told(who) if text.startswith("Linked")]
        assert len(told) == 2 * (3 - len(persons))


async def test_one_code_typed_by_many_at_once_joins_one_of_them(bot: Mathia) -> None:
    code = await bot.code(VISITOR)
    others = [at(TELEGRAM, str(number)) for number in range(90, 98)]
    await bot.receive(*((who, code) for who in others))
    await bot.answer()
    joined = [who for who in others if await bot.person(who) == await bot.person(VISITOR)]
    assert len(joined) == 1


async def test_preferences_are_kept_and_bad_ones_are_asked_again(bot: Mathia) -> None:
    assert await bot.hear(PHONE, "I live in Kampala") != ""
    assert "Africa/Kampala" in await bot.hear(PHONE, "what do you know about me")
    assert "larger town" in await bot.hear(PHONE, "my time zone is Atlantis")
    assert (await bot.hear(PHONE, "Dubai")).startswith("Done. Your time zone is Asia/Dubai")
    assert await bot.hear(PHONE, "speak Swahili") == "Sawa. Nitazungumza nawe kwa Kiswahili."
    assert await bot.hear(PHONE, "jina langu ni Wanjiru") == "Sawa. Nitakuita Wanjiru."


async def mailed(bot: Mathia) -> list[tuple[str, str]]:
    """Room and code of every mail, oldest first."""
    mails = "JOIN conversation c ON c.id = m.conversation_id WHERE c.channel = 'email' ORDER BY m.id"
    rows = await messages(bot.db, mails, also=["c.room"])
    found = []
    for row in rows:
        code = re.search(r"\d{6}", row["parts"][0]["text"])
        assert code
        [address] = await addresses(bot.db, [row["room"]])
        found.append((address, code[0]))
    return found


async def verified(bot: Mathia) -> list[str]:
    rows = await bot.db.pool.fetch("SELECT provider_id FROM identity WHERE verified_at IS NOT NULL")
    return await addresses(bot.db, [row["provider_id"] for row in rows])


async def test_address_is_kept_only_after_its_code_came_back(bot: Mathia) -> None:
    assert "6-digit code to amina@mail.example" in await bot.hear(PHONE, "my e-mail is amina@mail.example")
    [(room, code)] = await mailed(bot)
    assert room == "amina@mail.example"
    assert await verified(bot) == []
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert (await bot.hear(PHONE, wrong)).startswith("That code does not work")
    assert await bot.hear(PHONE, code) == (
        "Done. amina@mail.example is confirmed: what I cannot deliver elsewhere goes there."
    )
    assert await verified(bot) == ["amina@mail.example"]
    assert "E-mail: amina@mail.example" in await bot.hear(PHONE, "my profile")
    assert "not waiting for a code" in await bot.hear(PHONE, code)


async def test_five_wrong_codes_end_a_mailed_one_although_valkey_forgets(bot: Mathia) -> None:
    await bot.hear(PHONE, "my e-mail is amina@mail.example")
    [(_, code)] = await mailed(bot)
    for number in range(5):
        await bot.hear(PHONE, f"code {(int(code) + 1 + number) % 10**6:06}")
        await bot.valkey.flushall()
    assert "not waiting for a code" in await bot.hear(PHONE, f"code {code}")
    assert await verified(bot) == []


async def test_code_is_nobody_elses_and_an_address_is_not_mailed_without_end(bot: Mathia) -> None:
    await bot.hear(PHONE, "my e-mail is amina@mail.example")
    [(_, code)] = await mailed(bot)
    assert "not waiting for a code" in await bot.hear(STRANGER, code)
    for number in range(9):
        await bot.hear(at(WEB, f"w{number}"), "my e-mail is Amina@mail.example")
    assert len(await mailed(bot)) == 5


@pytest.mark.parametrize("address", ["no", "a@b", "x@y.example\r\nBcc: z@z.example", "@a.example"])
async def test_what_is_no_address_is_asked_again(bot: Mathia, address: str) -> None:
    await bot.hear(PHONE, "change my e-mail")
    await bot.hear(PHONE, address)
    # The words are looked for an address, and what stands behind it is left alone.
    assert [room for room, _ in await mailed(bot)] == (["x@y.example"] if "Bcc" in address else [])


async def test_wrong_code_at_once_from_two_processes_is_one_turn_each(bot: Mathia) -> None:
    await bot.hear(PHONE, "my e-mail is amina@mail.example")
    [(_, code)] = await mailed(bot)
    await asyncio.gather(bot.receive((PHONE, code)), bot.receive((PHONE, code)))
    await bot.answer()
    assert await verified(bot) == ["amina@mail.example"]


async def test_a_currency_of_ones_own_is_kept_shown_and_forgotten(bot: Mathia) -> None:
    here = at(WHATSAPP, "whatsapp:+256772123456")
    assert "UGX (by your number: tell me" in await bot.hear(here, "what do you know about me?")
    assert await bot.hear(here, "my currency is USD") == "Done. Where you name no currency, I take USD."
    assert "USD (you told me)" in await bot.hear(here, "what do you know about me?")
    assert await bot.hear(here, "sarafu yangu ni yuro") == "Sawa. Usipotaja sarafu, nitachukua EUR."
    assert "“ZZZ”" in await bot.hear(here, "my currency is ZZZ")
    assert await bot.hear(here, "euros") == "Done. Where you name no currency, I take EUR."
    forgotten = await bot.hear(here, "forget my currency")
    assert forgotten == "Done. I have forgotten that EUR is your currency, and take UGX where you name none."
    assert "You have not told me a currency" in await bot.hear(here, "forget my currency")
