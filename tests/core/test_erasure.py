"""Erasing a person: what goes, what stays, in one chat and in many, in rooms of their own and of others."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

import ledger.instruction_models
import ledger.invoice_models
import ledger.mandate_models
import ledger.models  # noqa: F401  its tables are among those that are accounted for
from core import erasure, linking, rooms
from core.changes import Change
from core.db import Database
from core.erasure import TABLES
from core.errors import Erased
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Text
from core.models import Base
from core.rooms import Place
from core.turn_answer import run_turn
from core.visitors import create_visitor, find_visitor
from core.wake import Wakes
from jobs.erasure import Hands, erase
from tests.core.erased import left, rows
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia
from tests.said import messages, texts

PHONE = at(WHATSAPP, "whatsapp:+254712345678")
GRAM = at(TELEGRAM, "70001")
OTHER = at(TELEGRAM, "70002")
WORDS = [
    "canaryname",
    "canarynote",
    "canaryfriend",
    "canarymail",
    "canarychore",
    "canaryword",
    "712345678",
    "799000111",
]


@pytest.fixture
async def bot(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url) as whole:
        yield whole


async def tell(bot: Mathia, who: Address = PHONE) -> None:
    """Tell it everything that it can remember, each with a word of its own."""
    for line in (
        "my name is Canaryname", "save Canaryfriend's number 0799000111, note: canarynote",
        "remind me tomorrow at 9 to canarychore", "remind me every day at 8 to canarychore",
        "my e-mail is canarymail@mail.example", "what about canaryword?", "link my account", "remind me to canaryword",
    ):  # fmt: skip
        await bot.hear(who, line)


async def confirm(bot: Mathia, who: Address = PHONE) -> int:
    """Ask for it, type the code, and answer that turn; the erasure's id."""
    [code] = re.findall(r"\b[0-9]{5}\b", await bot.hear(who, "erase my data"))
    await bot.receive((who, code))
    for turn in await bot.turns.claim(8):
        await bot.turns.close(await run_turn(turn, bot.deps))
    newest: int = await bot.db.pool.fetchval("SELECT max(id) FROM erasure")
    return newest


async def work(bot: Mathia, erasure_id: int, times: int = 1) -> str:
    """Let a worker take it up now; the state after that."""
    for _ in range(times):
        await bot.db.pool.execute("UPDATE erasure SET lease_until = clock_timestamp() WHERE id = $1", erasure_id)
        await erase(Hands(bot.db, bot.wakes, bot.valkey), erasure_id)
    state: str = await bot.db.pool.fetchval("SELECT state FROM erasure WHERE id = $1", erasure_id)
    return state


async def deliver(bot: Mathia) -> None:
    """What is in the outbox arrives."""
    await bot.db.pool.execute("UPDATE outbox SET state = 'sent', done_at = now() WHERE done_at IS NULL")


async def erased(bot: Mathia, who: Address = PHONE) -> int:
    """All of it, up to the days in which late deliveries are known."""
    erasure_id = await confirm(bot, who)
    assert await work(bot, erasure_id) == "told"
    await deliver(bot)
    assert await work(bot, erasure_id) == "watched"
    return erasure_id


def test_every_table_is_accounted_for() -> None:
    assert set(TABLES) == set(Base.metadata.tables)
    assert all(fate.words for fate in TABLES.values())


async def test_nothing_of_them_is_found_in_any_table(bot: Mathia) -> None:
    await tell(bot)
    assert {word for _, word in await left(bot.db, WORDS)} == set(WORDS)
    await bot.hear(OTHER, "my name is Baraka")
    await bot.hear(OTHER, "remind me tomorrow at 9 to feed the goats")
    await erased(bot)
    assert await left(bot.db, WORDS) == []
    assert await left(bot.db, ["Baraka"]) != []
    assert "feed the goats" in await bot.hear(OTHER, "my reminders")


async def test_person_stays_as_a_pseudonym(bot: Mathia) -> None:
    await tell(bot)
    person = await bot.person(PHONE)
    await erased(bot)
    [row] = [one for one in await rows(bot.db, "person") if one["id"] == person]
    assert (row["name"], row["language"], row["timezone"], row["muted_until"]) == (None, "en", None, None)
    for table in (
        "contact",
        "reminder",
        "receipt",
        "email_code",
        "link_code",
        "confirmation",
        "member",
        "turn",
        "outbox",
    ):
        assert await rows(bot.db, table) == [], table
    for key in await rows(bot.db, "room_key"):
        assert key["wrapped"] is None
    audit = [one for one in await rows(bot.db, "audit") if one["verb"] == "person.erased"]
    assert [(one["actor"], one["subject"]) for one in audit] == [(f"person:{person}", f"person:{person}")]


async def test_last_word_comes_when_all_is_gone_and_its_address_goes_with_it(bot: Mathia) -> None:
    await tell(bot)
    erasure_id = await confirm(bot)
    assert await bot.told(PHONE) == []
    assert await work(bot, erasure_id) == "told"
    assert await bot.told(PHONE) == [erasure.SAID["en"]]
    assert await work(bot, erasure_id) == "told"
    await deliver(bot)
    assert await work(bot, erasure_id) == "watched"
    assert await bot.told(PHONE) == []
    assert await left(bot.db, WORDS) == []


async def test_last_word_that_cannot_be_delivered_is_given_up(bot: Mathia) -> None:
    erasure_id = await confirm(bot)
    assert await work(bot, erasure_id) == "told"
    await bot.db.pool.execute("UPDATE erasure SET erased_at = now() - interval '16 minutes'")
    assert await work(bot, erasure_id) == "watched"
    assert await left(bot.db, ["712345678"]) == []


async def test_last_word_is_in_their_language(bot: Mathia) -> None:
    await bot.hear(PHONE, "ongea Kiswahili")
    await work(bot, await confirm(bot))
    assert await bot.told(PHONE) == [erasure.SAID["sw"]]


async def test_who_writes_again_is_somebody_new_at_any_time(bot: Mathia) -> None:
    await tell(bot)
    before = await bot.person(PHONE)
    erasure_id = await confirm(bot)
    assert await bot.hear(PHONE, "what do you know about me?") == (await bot.told(PHONE))[-1]
    assert "Name: you have not told me" in (await bot.told(PHONE))[-1]
    after = await bot.person(PHONE)
    assert after != before
    await bot.hear(PHONE, "my name is Zuri")
    await work(bot, erasure_id)
    await deliver(bot)
    assert await work(bot, erasure_id) == "watched"
    assert await work(bot, erasure_id) == "done"
    assert "Name: Zuri" in await bot.hear(PHONE, "what do you know about me?")
    assert erasure.SAID["en"] in await bot.told(PHONE)
    assert await left(bot.db, [word for word in WORDS if word != "712345678"]) == []


async def test_they_can_be_erased_again(bot: Mathia) -> None:
    await tell(bot)
    await erased(bot)
    await tell(bot)
    await erased(bot)
    assert await left(bot.db, WORDS) == []


async def test_linked_chats_go_together(bot: Mathia) -> None:
    await tell(bot)
    visitor, token = await create_visitor(bot.db, "ours")
    page = at(WEB, str(visitor.id))
    await bot.hear(page, "my name is Canaryname")
    await bot.hear(page, await bot.code(PHONE))
    await bot.hear(GRAM, await bot.code(PHONE))
    assert await bot.person(PHONE) == await bot.person(page) == await bot.person(GRAM)
    prompt = await bot.hear(PHONE, "erase my data")
    assert "3 chats" in prompt
    await erased(bot)
    assert await left(bot.db, [*WORDS, "70001", str(visitor.id)]) == []
    assert await find_visitor(bot.db, token, "ours") is None
    assert await bot.told(GRAM) == []


async def test_valkey_keeps_nothing_either(bot: Mathia) -> None:
    await bot.hear(PHONE, "remind me to canaryword")
    person = await bot.person(PHONE)
    assert await bot.valkey.keys(f"*{person}*") != []
    await erased(bot)
    assert [key for key in await bot.valkey.keys("*") if str(person) in str(key)] == []


async def test_what_was_not_sent_is_not_sent(bot: Mathia) -> None:
    await tell(bot)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL") > 0
    await confirm(bot)
    assert await rows(bot.db, "outbox") == []


async def test_what_a_provider_delivers_again_does_not_come_back(bot: Mathia) -> None:
    sent = datetime.now(UTC)
    old = InboundMessage(PHONE, "SM1", (Text(text="canaryword"),), sent, None)
    [first] = await bot.inbox.receive([old])
    await bot.answer()
    lost = InboundMessage(PHONE, "SM2", (Text(text="canaryword"),), sent, None)
    await erased(bot)
    for inbox in (bot.inbox, Inbox(bot.db, Wakes(bot.db))):
        again = await inbox.receive([old, lost])
        assert [one.new for one in again] == [False, False]
        assert not again[1].is_kept
    await bot.hear(PHONE, "hello")
    # The same by its own id where a provider tells no time, so that it seems to have been sent just now.
    late = InboundMessage(PHONE, "SM1", (Text(text="canaryword"),), datetime.now(UTC), None)
    [known] = await bot.inbox.receive([late])
    assert not known.new
    [dropped] = await bot.inbox.receive([lost])
    assert not dropped.is_kept
    assert await left(bot.db, WORDS[:-2]) == []
    assert first.new


async def test_after_some_days_not_even_ids_are_kept(bot: Mathia) -> None:
    await bot.inbox.receive([InboundMessage(PHONE, "SM1", (Text(text="hi"),), datetime.now(UTC), None)])
    erasure_id = await erased(bot)
    assert await left(bot.db, ["SM1"]) != []
    [row] = await rows(bot.db, "erasure")
    assert timedelta(days=7, hours=23) < row["lease_until"] - datetime.now(UTC) < timedelta(days=8)
    assert await work(bot, erasure_id) == "done"
    assert await left(bot.db, ["SM1"]) == []
    assert await rows(bot.db, "erased_address") == []


async def test_in_groups_their_words_go_and_those_of_others_stay(bot: Mathia) -> None:
    here, there = at(TELEGRAM, GRAM.person, "-100500"), at(TELEGRAM, OTHER.person, "-100500")
    await bot.hear(here, "remind me tomorrow at 9 to canarychore")
    await bot.hear(there, "remind me tomorrow at 9 to feed the goats")
    await bot.hear(here, "what about canaryword?")
    await bot.inbox.change(
        Change(there, "R1", "reaction", await _event(bot, "canaryword"), datetime.now(UTC), emoji=("👍",))
    )
    await bot.hear(GRAM, "hello")
    assert "1 room" in await bot.hear(GRAM, "erase my data")
    await erased(bot, GRAM)
    assert await left(bot.db, [*WORDS, "70001"]) == []
    kept = await texts(bot.db, "WHERE direction = 'in' AND sealed IS NOT NULL ORDER BY id")
    assert "remind me tomorrow at 9 to feed the goats" in kept
    assert "feed the goats" in await bot.hear(there, "my reminders")
    seen = await rows(bot.db, "change")
    deleted = [one for one in seen if one["kind"] == "delete"]
    assert len(deleted) == len({one["number"] for one in deleted}) == 4
    assert sorted(one["number"] for one in seen) == list(range(1, 6))
    await bot.hear(here, "hello again")
    assert await bot.person(here) is not None


async def _event(bot: Mathia, words: str) -> str:
    for row in await messages(bot.db, "WHERE direction = 'in'"):
        if words in str(row["parts"]):
            return str(row["event_id"])
    raise LookupError(words)


async def test_in_shared_rooms_they_have_left_without_a_name(bot: Mathia) -> None:
    places = []
    for name in ("Canaryname", "Baraka"):
        visitor, _ = await create_visitor(bot.db, "ours")
        places.append((Place("ours", visitor.id), at(WEB, str(visitor.id)), name))
    (mine, me, _), (yours, _, _) = places
    async with bot.db.transaction() as session:
        room = await rooms.create(session, mine, "Plans", "Canaryname", now=datetime.now(UTC))
        link = await rooms.invite(
            session, mine, room, address="canarymail@mail.example", mailbox="bot@mathia.example",
            base_url="http://here", language="en", now=datetime.now(UTC),
        )  # fmt: skip
    async with bot.db.transaction() as session:
        await rooms.accept(session, yours, urlsplit(link).path.rpartition("/")[2], "Baraka", now=datetime.now(UTC))
    shared = f"room:{room}"
    for place, text in ((mine, "canaryword"), (yours, "I agree")):
        sender = Address(WEB, "ours", shared, str(place.visitor))
        event = f"{shared}:{place.visitor}:{uuid4()}"
        said = InboundMessage(sender, event, (Text(text=text),), datetime.now(UTC), to_bot=False)
        assert (await bot.inbox.receive([said]))[0].new
    await bot.hear(me, "hello")
    erasure_id = await confirm(bot, me)
    roster = (await rooms.rosters(bot.db, "ours", [shared]))[shared]
    assert [(seat.name, seat.role) for seat in roster.seats] == [("Baraka", "owner")]
    assert await work(bot, erasure_id, 2) == "watched"
    assert await left(bot.db, [*WORDS, str(mine.visitor)]) == []
    kept = await texts(bot.db, "WHERE direction = 'in' AND sealed IS NOT NULL")
    assert kept == ["I agree"]
    roster = (await rooms.rosters(bot.db, "ours", [shared]))[shared]
    assert [name for _, name in roster.former] == ["Guest"]


async def test_no_page_of_theirs_is_theirs_any_more(bot: Mathia) -> None:
    visitor, token = await create_visitor(bot.db, "ours")
    page = at(WEB, str(visitor.id))
    await bot.hear(page, "canaryword")
    erasure_id = await confirm(bot, page)
    assert await find_visitor(bot.db, token, "ours") is None
    late = InboundMessage(page, f"{visitor.id}:{uuid4()}", (Text(text="canaryword"),), datetime.now(UTC), None)
    [received] = await bot.inbox.receive([late])
    assert not received.is_kept
    with pytest.raises(Erased):
        await bot.inbox.meet(page)
    assert await work(bot, erasure_id, 2) == "watched"
    assert await left(bot.db, ["canaryword", str(visitor.id)]) == []


async def test_code_shown_before_links_nobody_afterwards(bot: Mathia) -> None:
    code = await bot.code(PHONE)
    await confirm(bot)
    assert (await bot.hear(GRAM, code)).startswith("That code does not work.")
    async with bot.db.transaction() as session:
        with pytest.raises(Exception, match="do not know this chat"):
            await linking.find_identity(session, PHONE)


async def test_mail_that_was_sent_for_them_goes_too(bot: Mathia) -> None:
    await bot.hear(PHONE, "my e-mail is canarymail@mail.example")
    [mail] = [row for row in await messages(bot.db, "WHERE dedup_key LIKE 'email_code:%'")]
    [code] = re.findall(r"\b[0-9]{6}\b", mail["parts"][0]["text"])
    assert "is confirmed" in await bot.hear(PHONE, f"the code is {code}")
    await erased(bot)
    assert await left(bot.db, WORDS) == []


async def test_address_that_somebody_else_gave_too_stays_until_they_go(bot: Mathia) -> None:
    for who in (PHONE, GRAM):
        await bot.hear(who, "my e-mail is canarymail@mail.example")
    await erased(bot)
    mailed = "WHERE dedup_key LIKE 'email_code:%' AND sealed IS NOT NULL ORDER BY m.id"
    [code] = re.findall(r"\b[0-9]{6}\b", str((await messages(bot.db, mailed))[-1]["parts"]))
    assert "canarymail@mail.example is confirmed" in await bot.hear(GRAM, f"the code is {code}")
    assert await bot.db.pool.fetchval("SELECT count(*) FROM mailbox") == 1
    await confirm(bot, GRAM)
    assert await bot.db.pool.fetchval("SELECT count(*) FROM mailbox") == 0


async def test_begun_twice_is_one_erasure(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    person = await bot.person(PHONE)
    one = await erasure.begin(bot.db, person, asked_by="staff:owner", last_word_to=None)
    two = await erasure.begin(bot.db, person, asked_by="staff:owner", last_word_to=None)
    assert one == two
    assert len(await rows(bot.db, "erasure")) == 1


async def test_nobody_who_opted_out_is_told(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    await bot.receive((PHONE, "stop"))
    await bot.answer()
    await erasure.begin(bot.db, await bot.person(PHONE), asked_by="staff:owner", last_word_to=PHONE)
    [row] = await rows(bot.db, "erasure")
    assert row["room"] is None


async def test_nobody_is_told_outside_the_window(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    await bot.db.pool.execute("UPDATE message SET created_at = created_at - interval '24 hours'")
    await erasure.begin(bot.db, await bot.person(PHONE), asked_by="staff:owner", last_word_to=PHONE)
    [row] = await rows(bot.db, "erasure")
    assert row["room"] is None


async def test_who_is_unknown_is_not_erased(bot: Mathia) -> None:
    with pytest.raises(LookupError):
        await erasure.begin(bot.db, UUID(int=7), asked_by="staff:owner", last_word_to=None)
    assert ChannelName.WEB in erasure.SILENT
