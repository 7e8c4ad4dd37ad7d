"""What the analytics count: every turn and request once, on its day in the zone; and nothing that was written."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from sqlalchemy import text

from core.db import Database
from core.messages import ChannelName
from tests.web_admin.rows import Caller, say
from tests.web_admin.site import Browser, Site
from web_admin.analytics import STEPS, TURNS, Analytics, count

NAIROBI = ZoneInfo("Africa/Nairobi")
WORDS = "buy me a purple goat"


async def turn(
    db: Database, channel: ChannelName, at: datetime, took_ms: float | None, *messages: Mapping[str, Any],
    state: str = "done",
) -> None:  # fmt: skip
    """A turn of a channel that came in at a moment."""
    conversation, _ = await say(db, Caller("Amina", channel), WORDS)
    closed = None if took_ms is None else at + timedelta(milliseconds=took_ms)
    await db.pool.execute(
        "UPDATE turn SET state = $2, created_at = $3, closed_at = $4, intent = $5 WHERE conversation_id = $1"
        " AND state = 'waiting'",
        conversation, state, at, closed, {"messages": list(messages)} if messages else None,
    )  # fmt: skip


async def test_every_request_counts_once_on_its_day(db: Database) -> None:
    chance = random.Random(4)
    start = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)
    turns: Counter[tuple[date, str]] = Counter()
    requests: Counter[tuple[date, str, str, str]] = Counter()
    took: list[float] = []
    for _ in range(120):
        channel, at = chance.choice(list(ChannelName)[:3]), start + timedelta(minutes=chance.randrange(3 * 1440))
        day = at.astimezone(NAIROBI).date()
        said: list[dict[str, Any]] = [
            {"action": "none", "guess": "send_money", "answer": "not_here"},
            {
                "action": "get_weather",
                "answer": "ran",
                "then": [{"action": "undo", "answer": "refused"}, {"action": "my_profile"}],
            },
            {"action": "none", "answer": "chat", "parser": "claude", "tokens_in": 100, "tokens_out": 7},
            {"action": "get_weather", "answer": "asked", "tokens_in": "many"},
        ]
        messages = chance.sample(said, chance.randrange(1, 5))
        took.append(chance.lognormvariate(3, 2))
        await turn(db, channel, at, took[-1], *messages)
        turns[day, channel.value] += 1
        for one in messages:
            for step in (one, *one.get("then", ())):
                action = str(step.get("guess") or step["action"])
                requests[day, channel.value, action, str(step.get("answer", one["answer"]))] += 1
    first, last = min(day for day, _ in turns), max(day for day, _ in turns)
    async with db.transaction() as session:
        found = await count(session, first, last, NAIROBI)
    counted = [(day, channel, one) for day, channels in found.items() for channel, one in channels.items()]
    assert {(day, channel): one.turns for day, channel, one in counted} == turns
    assert {(day, channel, *what): n for day, channel, one in counted for what, n in one.requests.items()} == requests
    whole = counted[0][2]
    for _, _, other in counted[1:]:
        whole.add(other)
    assert whole.tokens_in["claude"] == 100 * whole.parsers["claude"] > 0
    assert whole.tokens_out["claude"] == 7 * whole.parsers["claude"]
    assert (whole.parsers["rules"], whole.tokens_in["rules"]) == (requests.total() - whole.parsers["claude"], 0)
    for share in (0.5, 0.95):
        told = whole.latency(share)
        assert told is not None
        rank = math.ceil(share * len(took)) - 1
        assert told / timedelta(milliseconds=1) == pytest.approx(max(1, sorted(took)[rank]), rel=0.04)


async def test_the_page_shows_figures_and_no_words_and_today_goes_on(site: Site, owner: Browser) -> None:
    assert "Nothing to count" in (await owner.get("/admin/analytics")).text
    now = datetime.now(UTC)
    web, whatsapp = ChannelName.WEB, ChannelName.WHATSAPP
    await turn(site.db, whatsapp, now, 40, {"action": "get_weather", "answer": "ran"})
    await turn(site.db, whatsapp, now, 40, {"action": "none", "guess": "send_money", "answer": "not_here"})
    await turn(site.db, web, now - timedelta(days=8), 9_000, {"action": "none", "answer": "not_understood"})
    await turn(site.db, web, now - timedelta(days=8), None, state="dead")
    await turn(site.db, web, now - timedelta(days=40), 40, {"action": "none", "held": "quota"})

    async def figures(query: str) -> dict[str, str]:
        page = (await owner.get(f"/admin/analytics?{query}")).text
        assert WORDS not in page
        return dict(re.findall(r'class="big" id="(\w+)">([^<]*)<', page))

    assert await figures("days=7") == {"turns": "2", "fallbacks": "50 %", "unanswered": "0", "median": "41 ms"}
    assert await figures("days=30") == {"turns": "4", "fallbacks": "67 %", "unanswered": "1", "median": "41 ms"}
    assert (await figures("days=90"))["unanswered"] == "2"
    assert await figures("days=30&channel=web") == {
        "turns": "2", "fallbacks": "100 %", "unanswered": "1", "median": "8.9 s",
    }  # fmt: skip
    await turn(site.db, whatsapp, datetime.now(UTC), 40, {"action": "get_weather", "answer": "failed"})
    assert (await figures("days=7"))["turns"] == "3"
    page = (await owner.get("/admin/analytics?days=90")).text
    assert 'href="/admin/turns?action=get_weather"' in page
    for wrong in ("days=8", "days=x", "channel=fax"):
        assert (await owner.get(f"/admin/analytics?{wrong}")).status == 400, wrong


async def test_days_that_are_over_are_counted_once(site: Site) -> None:
    clock = [datetime(2026, 11, 24, 9, tzinfo=UTC)]
    analytics = Analytics(site.db, NAIROBI, None, lambda: clock[0])  # type: ignore[arg-type]  # It renders nothing.
    yesterday = date(2026, 11, 23)
    for _ in range(2):
        await turn(site.db, ChannelName.WEB, datetime(2026, 11, 23, 9, tzinfo=UTC), 5, {"action": "none"})
        counted = await analytics._count([yesterday, date(2026, 11, 24)], clock[0])
        assert counted[yesterday]["web"].turns == 1
        assert counted[date(2026, 11, 24)] == {}


@pytest.mark.parametrize("statement", [TURNS, STEPS], ids=["turns", "steps"])
async def test_a_period_is_found_by_the_index_on_time(db: Database, owner_url: str, statement: Any) -> None:
    conversation, _ = await say(db, Caller("Amina"), WORDS)
    await db.pool.execute(
        "INSERT INTO turn (conversation_id, first_seq, state, created_at, intent)"
        ' SELECT $1, 1, \'done\', now() - make_interval(mins => n), \'{"messages": [{"action": "none"}]}\''
        " FROM generate_series(30000, 1, -1) n",
        conversation,
    )
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute("VACUUM ANALYZE turn")
    finally:
        await connection.close()
    now = datetime.now(UTC)
    given = {"zone": "UTC", "since": now - timedelta(days=1), "until": now}
    async with db.transaction() as session:
        plan = "\n".join((await session.scalars(text(f"EXPLAIN {statement}"), given)).all())
    assert "ix_turn_created_at" in plan
