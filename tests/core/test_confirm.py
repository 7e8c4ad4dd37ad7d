"""Confirmations: what is shown is what is done, once, by the one who was shown it, in the chat that showed it."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from core import confirm
from core.confirm import Outcome
from core.db import Database
from core.errors import LimitReached
from core.messages import InboundMessage, Voice
from tests.core.speaking import TELEGRAM, WEB, WHATSAPP, Mathia, at, mathia

VISITOR = at(WEB, "visitor-1")
PHONE = at(WHATSAPP, "whatsapp:+254712345678")
GRAM = at(TELEGRAM, "70001")
NOTHING_HAPPENED = "That is not the code. Nothing has happened; look at it again and type it."
OVER = "That code is no longer good. Ask for it again for a new one."


@pytest.fixture
async def bot(db: Database, valkey_url: str) -> AsyncIterator[Mathia]:
    async with mathia(db, valkey_url) as whole:
        yield whole


async def shown(bot: Mathia, who: object = PHONE) -> str:
    """Ask for something that has to be confirmed; the code that is shown."""
    prompt = await bot.hear(who, "erase my data")  # type: ignore[arg-type]
    [code] = re.findall(r"\b[0-9]{5}\b", prompt)
    return str(code)


async def states(bot: Mathia) -> list[str]:
    return [row["state"] for row in await bot.db.pool.fetch("SELECT state FROM confirmation ORDER BY created_at")]


def other(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 100_000:05}"


async def test_what_would_happen_is_shown_with_a_code_and_nothing_has_happened(bot: Mathia) -> None:
    await bot.hear(PHONE, "my name is Amina")
    await shown(bot)
    assert await states(bot) == ["pending"]
    assert "Name: Amina" in await bot.hear(PHONE, "what do you know about me?")


async def test_code_does_it_and_works_once(bot: Mathia) -> None:
    code = await shown(bot)
    await bot.receive((PHONE, code), (PHONE, code))
    [turn] = await bot.turns.claim(8)
    async with bot.db.transaction() as session:
        now = datetime.now(UTC)
        first = await confirm.answer(session, PHONE, code, now, "turn:1:1")
    async with bot.db.transaction() as session:
        again = await confirm.answer(session, PHONE, code, now, "turn:1:1")
        second = await confirm.answer(session, PHONE, code, now, "turn:1:2")
    assert first is not None
    assert (first.outcome, first.action, first.params) == (Outcome.CONFIRMED, "erase_my_data", b"{}")
    assert again == first
    assert second is not None
    assert second.outcome is Outcome.OVER
    assert turn.id > 0


async def test_of_64_at_once_one_is_the_confirmation(bot: Mathia) -> None:
    code = await shown(bot)
    now = datetime.now(UTC)

    async def use(number: int) -> Outcome | None:
        async with bot.db.transaction() as session:
            done = await confirm.answer(session, PHONE, code, now, f"turn:{number}:1")
        return done.outcome if done else None

    outcomes = []
    for start in range(0, 64, 4):
        outcomes += await asyncio.gather(*(use(start + number) for number in range(4)))
    assert outcomes.count(Outcome.CONFIRMED) == 1
    assert outcomes.count(Outcome.OVER) == 63


async def test_wrong_code_changes_nothing_and_five_lock_it(bot: Mathia) -> None:
    code = await shown(bot)
    for _ in range(4):
        assert await bot.hear(PHONE, other(code)) == NOTHING_HAPPENED
    assert await bot.hear(PHONE, other(code)) == (
        "That was too many wrong codes, so nothing will happen. Ask for it again if you want it."
    )
    assert await states(bot) == ["locked"]
    assert await bot.hear(PHONE, code) == OVER
    audit = await bot.db.pool.fetch("SELECT verb FROM audit")
    assert [row["verb"] for row in audit] == ["confirmation.locked"]


async def test_new_one_ends_the_old_one(bot: Mathia) -> None:
    old = await shown(bot)
    new = await shown(bot)
    assert await states(bot) == ["superseded", "pending"]
    assert await bot.hear(PHONE, old) == (OVER if old != new else "")
    assert await states(bot) == ["superseded", "pending"]


async def test_ten_minutes_later_it_is_over(bot: Mathia) -> None:
    code = await shown(bot)
    async with bot.db.transaction() as session:
        late = await confirm.answer(session, PHONE, code, datetime.now(UTC) + timedelta(minutes=10), "turn:1:1")
    assert late is not None
    assert late.outcome is Outcome.OVER
    assert await bot.db.pool.fetchval("SELECT count(*) FROM erasure") == 0


async def test_only_the_chat_that_showed_it_confirms_it(bot: Mathia) -> None:
    await bot.hear(PHONE, await bot.code(VISITOR))
    assert await bot.person(PHONE) == await bot.person(VISITOR)
    code = await shown(bot, VISITOR)
    await bot.hear(PHONE, code)
    await bot.hear(GRAM, code)
    await bot.hear(at(TELEGRAM, GRAM.person, "-100500"), code)
    assert await states(bot) == ["pending"]
    assert await bot.db.pool.fetchval("SELECT count(*) FROM erasure") == 0


async def test_in_a_group_nothing_is_shown(bot: Mathia) -> None:
    group = at(TELEGRAM, GRAM.person, "-100500")
    private = "Let us do that in private: write to me directly, not in a group."
    assert await bot.hear(group, "erase my data") == private
    assert await states(bot) == []


async def test_spoken_code_confirms_nothing(bot: Mathia) -> None:
    code = await shown(bot)
    note = Voice(media_type="audio/ogg", ref="file:none", duration_s=2.0, transcript=code)
    await bot.inbox.receive([InboundMessage(PHONE, uuid4().hex, (note,), datetime.now(UTC), None)])
    await bot.answer()
    assert await states(bot) == ["pending"]


async def test_no_leaves_everything_as_it_is(bot: Mathia) -> None:
    code = await shown(bot)
    assert await bot.hear(PHONE, "Cancel") == "All right. Nothing has happened."
    assert await bot.hear(PHONE, code) == OVER
    assert await states(bot) == ["cancelled"]


async def test_in_swahili(bot: Mathia) -> None:
    await bot.hear(PHONE, "ongea Kiswahili")
    prompt = await bot.hear(PHONE, "futa data yangu")
    assert "ndani ya dakika 10" in prompt
    assert await bot.hear(PHONE, "ghairi") == "Sawa. Hakuna kilichofanyika."


async def test_five_digits_where_nothing_waits_are_words_like_any_other(bot: Mathia) -> None:
    await bot.hear(PHONE, "hello")
    assert "code" not in (await bot.hear(PHONE, "12345")).lower()


async def test_becoming_another_person_ends_it(bot: Mathia) -> None:
    code = await shown(bot, VISITOR)
    await bot.hear(PHONE, await bot.code(VISITOR))
    assert await states(bot) == ["superseded"]
    assert await bot.hear(VISITOR, code) == OVER
    code = await shown(bot, VISITOR)
    await bot.hear(PHONE, "unlink")
    assert await bot.hear(VISITOR, code) == OVER


async def test_ten_an_hour_and_no_more(bot: Mathia) -> None:
    for _ in range(10):
        await shown(bot)
    assert await bot.hear(PHONE, "erase my data") == (
        "You have asked for that often within an hour. Ask again in a while."
    )
    async with bot.db.transaction() as session:
        with pytest.raises(LimitReached):
            await confirm.ask(session, PHONE, uuid4(), "erase_my_data", b"{}", datetime.now(UTC))


@pytest.mark.parametrize(
    "change",
    [
        "params = '\\x00'", "action = 'other'", "expires_at = expires_at + interval '1 day'",
        "code_hash = '\\x00'", "identity_id = gen_random_uuid()", "conversation_id = gen_random_uuid()",
        "id = gen_random_uuid()",
    ],
)  # fmt: skip
async def test_what_was_shown_cannot_be_changed_in_the_database(bot: Mathia, change: str) -> None:
    await shown(bot)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await bot.db.pool.execute(f"UPDATE confirmation SET {change}")  # noqa: S608  ours


async def test_what_has_ended_cannot_be_opened_again(bot: Mathia) -> None:
    await shown(bot)
    await bot.hear(PHONE, "cancel")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await bot.db.pool.execute("UPDATE confirmation SET state = 'pending', ended_at = NULL")


async def test_params_of_another_confirmation_do_not_open(bot: Mathia) -> None:
    code = await shown(bot)
    [row] = await bot.db.pool.fetch("SELECT * FROM confirmation")
    await bot.db.pool.execute("DELETE FROM confirmation")
    await bot.db.pool.execute(
        "INSERT INTO confirmation (id, person_id, identity_id, conversation_id, action, params, code_hash, created_at,"
        " expires_at) VALUES ($1, $2, $3, $4, 'send_money', $5, $6, $7, $8)",
        *(row["id"], row["person_id"], row["identity_id"], row["conversation_id"], row["params"], row["code_hash"]),
        *(row["created_at"], row["expires_at"]),
    )
    async with bot.db.transaction() as session:
        assert await confirm.answer(session, PHONE, code, datetime.now(UTC), "turn:1:1") is None
