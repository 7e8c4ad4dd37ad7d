"""Preferences and goals, as a person tells them: kept in their words, theirs alone, changed, forgotten and had back."""

import re
from datetime import timedelta

import pytest

from core import facts
from core.db import Database
from core.messages import Address
from tests.core.speaking import TELEGRAM, WHATSAPP, at, mathia

ASHA, ASHA_TOO, BARAKA = at(WHATSAPP, "whatsapp:+254700000001"), at(TELEGRAM, "7000001"), at(TELEGRAM, "7000002")


async def test_what_was_told_is_known_with_where_it_came_from(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        assert "invoice 100k a month" in await here.hear(ASHA, "my goal is to invoice 100k a month")
        assert "mornings" in await here.hear(ASHA, "I prefer mornings")
        assert "1. invoice 100k a month (said on WhatsApp" in await here.hear(ASHA, "what are my goals?")
        profile = await here.hear(ASHA, "what do you know about me?")
        assert "1. mornings (said on WhatsApp" in profile
        assert "mornings" not in await here.hear(BARAKA, "what do you know about me?")
        assert "no preferences and no goals" in await here.hear(BARAKA, "what are my goals and preferences?")


async def test_it_is_changed_forgotten_and_had_back(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "my goal is to invoice 100k a month")
        changed = await here.hear(ASHA, "change my goal to invoice 200k a month")
        assert "Instead of “invoice 100k a month”" in changed
        assert "200k" in await here.hear(ASHA, "what are my goals?")
        assert "Instead of “invoice 200k a month”" in await here.hear(ASHA, "undo")
        assert "100k" in await here.hear(ASHA, "what are my goals?")
        assert "forgotten" in await here.hear(ASHA, "forget my goal")
        assert "no goals" in await here.hear(ASHA, "what are my goals?")
        assert "100k" in await here.hear(ASHA, "undo")
        assert "100k" in await here.hear(ASHA, "what are my goals?")


async def test_what_was_told_before_something_else_is_taken_back_by_a_yes(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "call me Asha")
        await here.hear(ASHA, "remind me tomorrow at 9 to call Jane")
        await here.hear(ASHA, "what's on my list of reminders?")
        asked = await here.hear(ASHA, "undo that")
        assert "I would forget: Asha. Shall I?" in asked
        assert "Name: Asha" in await here.hear(ASHA, "what do you know about me?")
        await here.hear(ASHA, "list my reminders")
        await here.hear(ASHA, "undo that")
        assert "I have forgotten again: Asha" in await here.hear(ASHA, "yes")


async def test_which_one_is_asked_where_several_fit(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "my goal is to run 5 km")
        await here.hear(ASHA, "my goal is to run a shop")
        asked = await here.hear(ASHA, "forget my goal")
        assert "Which one" in asked
        assert "run a shop" in asked
        assert "run a shop" in await here.hear(ASHA, "shop")
        left = await here.hear(ASHA, "what are my goals?")
        assert "run 5 km" in left
        assert "run a shop" not in left


async def test_nothing_is_told_or_kept_in_a_group(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA_TOO, "I prefer mornings")
        await here.hear(ASHA_TOO, "call me Asha")
        group = Address(TELEGRAM, "ours", "-100", ASHA_TOO.person)
        for text in ("my goal is to be rich", "what are my preferences?", "forget that I prefer mornings", "undo",
                     "forget my name", "forget everything you know about me", "my profile"):  # fmt: skip
            assert "in private" in await here.hear(group, text), text
        assert await db.pool.fetchval("SELECT count(*) FROM fact") == 2
        assert "Asha" not in await here.hear(group, "hello")


async def test_linked_chats_know_the_same(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "I prefer mornings")
        await here.hear(ASHA_TOO, "my goal is to save more")
        await here.hear(ASHA_TOO, await here.code(ASHA))
        told = await here.hear(ASHA_TOO, "what are my goals and preferences?")
        assert "mornings (said on WhatsApp" in told
        assert "save more (said on Telegram" in told


async def test_words_are_sealed_and_go_for_good_after_the_hour(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "I prefer canarymornings")
        rows = await db.pool.fetch("SELECT fact::text AS row, sealed FROM fact")
        assert len(rows) == 1
        assert all("canary" not in row["row"] and b"canary" not in row["sealed"] for row in rows)
        await here.hear(ASHA, "forget that I prefer canarymornings")
        await facts.delete_old(db)
        assert await db.pool.fetchval("SELECT count(*) FROM fact") == 1
        late = facts.UNDO_WITHIN + timedelta(seconds=1)
        await db.pool.execute("UPDATE fact SET created_at = created_at - $1::interval, ended_at = ended_at - $1", late)
        assert "nothing of the last hour" in await here.hear(ASHA, "undo")
        await facts.delete_old(db)
        assert await db.pool.fetchval("SELECT count(*) FROM fact") == 0


@pytest.mark.parametrize("text", ["lengo langu ni kuweka akiba 10,000 kwa mwezi", "napendelea asubuhi"])
async def test_swahili_is_kept_in_its_words(db: Database, valkey_url: str, text: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "speak Swahili")
        assert (await here.hear(ASHA, text)).startswith("Sawa.")
        assert text.split()[-1] in await here.hear(ASHA, "unajua nini kuhusu mimi?")


async def test_a_name_is_a_fact_that_is_told_changed_forgotten_and_had_back(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        await here.hear(ASHA, "naitwa Asha")
        assert (await here.hear(ASHA, "hello")).startswith("Habari Asha. Mimi ni Mathia")
        assert "Name: Asha (said on WhatsApp" in await here.hear(ASHA, "what do you know about me?")
        await here.hear(ASHA, "call me Ash")
        assert "Instead of “Ash” I know again: Asha" in await here.hear(ASHA, "undo")
        assert "no longer call you Asha" in await here.hear(ASHA, "forget my name")
        assert "Name: you have not told me" in await here.hear(ASHA, "what do you know about me?")
        assert "I know no name of yours" in await here.hear(ASHA, "forget my name")
        assert "I know again: Asha" in await here.hear(ASHA, "undo")
        assert "Name: Asha (said on WhatsApp" in await here.hear(ASHA, "what do you know about me?")
        assert "Asha" not in await here.hear(BARAKA, "what do you know about me?")


async def test_all_that_was_told_is_forgotten_only_after_its_code(db: Database, valkey_url: str) -> None:
    async with mathia(db, valkey_url) as here:
        assert "nothing that you told me" in await here.hear(BARAKA, "forget everything you know about me")
        for line in ("call me Asha", "I prefer mornings", "my goal is to run 5 km", "my accountant is Jane 0733000111",
                     "remind me tomorrow at 9 to run"):  # fmt: skip
            await here.hear(ASHA, line)
        await here.hear(BARAKA, "I prefer evenings")
        shown = await here.hear(ASHA, "forget everything you know about me")
        assert "your name: Asha\n• 1 preference\n• 1 goal\n• 1 contact: Jane" in shown
        assert "mornings" in await here.hear(ASHA, "what are my preferences?")
        [code] = re.findall(r"\b[0-9]{5}\b", await here.hear(ASHA, "sahau kila kitu unachojua kunihusu"))
        assert "Nimesahau uliyoniambia" in await here.hear(ASHA, code)
        profile = await here.hear(ASHA, "what do you know about me?")
        assert not [word for word in ("Asha", "mornings", "5 km", "Jane") if word in profile.partition("To change")[0]]
        assert "Reminders: 1" in profile
        assert "evenings" in await here.hear(BARAKA, "what do you know about me?")
        back = await here.hear(ASHA, "undo")
        assert all(word in back for word in ("Asha", "mornings", "5 km", "Jane"))
        profile = await here.hear(ASHA, "what do you know about me?")
        assert all(word in profile for word in ("Name: Asha", "1. mornings", "1. run 5 km", "Contacts: 1: Jane"))
