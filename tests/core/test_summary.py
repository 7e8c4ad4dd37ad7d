"""What was talked about in a chat: made by code, renewed by a job, and nobody else's."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

from core import summary
from core.changes import Change
from core.db import Database
from core.messages import Address
from core.summary import ITEMS_MAX, TEXT_CHARS_MAX, Item, Summary, added
from jobs import summaries
from tests.core.speaking import TELEGRAM, WHATSAPP, Mathia, at, mathia
from tests.skills import needs

pytestmark = needs("weather", "currency", "reminders", "memory", "account", "profile")

NAIROBI = ZoneInfo("Africa/Nairobi")
ASHA, ASHA_TOO, BARAKA = at(WHATSAPP, "whatsapp:+254700000001"), at(TELEGRAM, "7000001"), at(TELEGRAM, "7000002")
TALK = ("weather", "Kisumu", "remind me tomorrow at 9", "to canarypaint the gate", "convert 10 usd to kes")


def item(action: str, what: str, state: summary.State, minute: int = 0) -> Item:
    when = datetime(2026, 11, 26, 6, tzinfo=UTC) + timedelta(minutes=minute)
    return Item(when.isoformat(), action, ("Reminders", "Vikumbusho"), what, state)


def test_a_request_in_several_messages_is_one_and_what_is_done_is_not_open() -> None:
    told = added(Summary(()), [item("remind", "", "open"), item("remind", "09:00", "open"),
                               item("remind", "paint, 09:00", "done", 2), item("pay", "500", "open", 3)])  # fmt: skip
    assert [(one.what, one.state) for one in told.items] == [("paint, 09:00", "done"), ("500", "open")]
    assert told.text("en", NAIROBI) == (
        "26 Nov 09:02 Reminders: paint, 09:00 – done\n26 Nov 09:03 Reminders: 500 – left open"
    )
    assert "haijakamilika" in told.text("sw", NAIROBI)
    assert [one.state for one in added(told, [item("pay", "700", "done", 9)]).items] == ["done", "done"]


def test_it_stays_short() -> None:
    told = added(Summary(()), [item("remind", f"{number} " + "x" * 78, "done", number) for number in range(60)])
    text = told.text("en", NAIROBI)
    assert len(told.items) == ITEMS_MAX
    assert len(text) <= TEXT_CHARS_MAX
    assert ": 59 x" in text


async def written(here: Mathia) -> None:
    """The job's work, as far as there is some."""
    await summaries.note(here.db, 0, settled_s=0.0)
    while await summaries.renew(here.db):
        pass


async def told(here: Mathia, who: Address, room: Address | None = None) -> str | None:
    found = await here.db.pool.fetchval(
        "SELECT id FROM conversation WHERE (channel, room) = ($1, $2)", (room or who).channel.value, (room or who).room
    )
    async with here.db.transaction() as session:
        kept = await summary.of(session, await here.person(who), found)
    return kept.text("en", NAIROBI) if kept else None


async def test_it_tells_what_was_asked_and_done_in_this_chat_and_to_this_person_alone(
    db: Database, valkey_url: str
) -> None:
    async with mathia(db, valkey_url) as here:
        group = Address(TELEGRAM, "ours", "-100", ASHA_TOO.person)
        for line in TALK:
            await here.hear(ASHA, line)
            await here.hear(group, line)
        for line in ("hello", "what are my reminders?", "remind me tomorrow at 8 to feed the goats", "thanks", "help"):
            await here.hear(BARAKA, line)
        await written(here)
        text = await told(here, ASHA)
        assert text is not None
        assert re.search(r"Weather: Kisumu\n.*canarypaint the gate, \d{4}-\d\d-\d\d 09:00 – done\n.*Currenc", text)
        assert "canarypaint the gate" in await here.hear(ASHA, "what do you know about me?")
        # Not of another, not of a room with others, not in one's own other chats.
        assert await told(here, BARAKA, ASHA) is None
        assert await told(here, ASHA_TOO, group) is None
        assert "canarypaint" not in (await told(here, BARAKA) or "canarypaint")
        await here.hear(ASHA_TOO, await here.code(ASHA))
        assert "canarypaint" not in await here.hear(ASHA_TOO, "what do you know about me?")
        assert await told(here, ASHA_TOO, ASHA) == await told(here, ASHA)
        rows = await db.pool.fetch("SELECT summary::text AS row, sealed FROM summary")
        assert all("canary" not in row["row"] and b"canary" not in (row["sealed"] or b"") for row in rows)


async def test_it_is_renewed_after_some_messages_forgotten_for_good_and_without_what_was_deleted(
    db: Database, valkey_url: str
) -> None:
    async with mathia(db, valkey_url) as here:
        for line in TALK[:3]:
            await here.hear(ASHA, line)
        await written(here)
        assert await told(here, ASHA) is None
        for line in TALK[3:]:
            await here.hear(ASHA, line)
        await written(here)
        assert "canarypaint" in (await told(here, ASHA) or "")
        event = await db.pool.fetchval("SELECT event_id FROM message WHERE direction = 'in' AND seq = 7")
        await here.inbox.change(Change(ASHA, uuid4().hex, "delete", event, datetime.now(UTC)))
        await written(here)
        assert "canarypaint" not in (await told(here, ASHA) or "canarypaint")
        assert "Currency" in (await told(here, ASHA) or "")
        assert "forgotten what we talked about" in await here.hear(ASHA, "forget what we talked about")
        assert await told(here, ASHA) is None
        for line in TALK:
            await here.hear(ASHA, line.replace("Kisumu", "Mombasa"))
        await written(here)
        text = await told(here, ASHA) or ""
        assert "Mombasa" in text
        assert "Kisumu" not in text
