"""The pace of reminders on real PostgreSQL: over the limit they wait, are announced once, and all come in the end."""

import asyncio
import itertools
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from core import people
from core.db import Database
from core.limits import REMINDERS_MAX, REMINDERS_WITHIN
from core.wake import Wakes
from jobs.sweeps import NEXT_DUE, deferral_text, put_due
from tests.jobs.people import Known, remind, said, someone

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
FACTORS = {"pro": 5}
RANKS = {"high": 0, "normal": 1, "low": 2}
LOOKS_MAX = 20


@dataclass
class Model:
    """What ought to happen to one person's reminders: a list of what waits, and of when one was sent."""

    allowed: int
    waiting: list[tuple[int, datetime, UUID]] = field(default_factory=list)
    sent_at: list[datetime] = field(default_factory=list)

    def look(self, now: datetime) -> list[UUID]:
        """Which go now."""
        free = self.allowed - sum(at > now - REMINDERS_WITHIN for at in self.sent_at)
        due = sorted(one for one in self.waiting if one[1] <= now)
        gone = due[: max(free, 0)]
        self.waiting = [one for one in self.waiting if one not in gone]
        self.sent_at += [now] * len(gone)
        return [one[2] for one in gone]


async def sweep_twice_at_once(db: Database, now: datetime) -> None:
    """Two sweepers race until nothing is due at `now`."""
    wakes = Wakes(db)
    for _ in range(LOOKS_MAX):
        await asyncio.gather(put_due(db, wakes, now, FACTORS), put_due(db, wakes, now, FACTORS))
        next_due = await db.pool.fetchval(NEXT_DUE)
        if next_due is None or next_due > now:
            return
    raise AssertionError("something stays due")


async def outbox(db: Database, kind: str) -> list[str]:
    """The dedup keys of a kind."""
    rows = await db.pool.fetch("SELECT dedup_key FROM outbox WHERE kind = $1 ORDER BY id", kind)
    return [row["dedup_key"] for row in rows]


async def reminded(db: Database) -> list[UUID]:
    """Which reminders were sent, in order."""
    return [UUID(key.split(":")[1]) for key in await outbox(db, "reminder")]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_due_goes_in_order_within_the_limit_and_nothing_is_lost(seed: int, db: Database) -> None:
    dice = random.Random(seed)
    models: dict[UUID, Model] = {}
    every: dict[UUID, UUID] = {}
    for plan in ("free", "free", "pro"):
        known, elsewhere = await someone(db), await someone(db)
        await db.pool.execute("UPDATE person SET plan = $2 WHERE id = $1", known.person_id, plan)
        model = models[known.person_id] = Model(REMINDERS_MAX * FACTORS.get(plan, 1))
        for _ in range(dice.randint(15, 90)):
            due_at = NOW + timedelta(minutes=dice.choice((0, 0, 5, dice.randint(0, 1_500))))
            room = dice.choice((known.conversation_id, elsewhere.conversation_id))
            identifier = await remind(db, Known(known.person_id, room), due_at)
            priority = dice.choice(("low", "normal", "normal", "high"))
            await db.pool.execute("UPDATE reminder SET priority = $2 WHERE id = $1", identifier, priority)
            model.waiting.append((RANKS[priority], due_at, identifier))
            every[identifier] = known.person_id
    now, told = NOW, defaultdict[str, list[datetime]](list)
    for _ in range(2_000):
        if not any(model.waiting for model in models.values()):
            break
        before = set(await reminded(db))
        await sweep_twice_at_once(db, now)
        sent: defaultdict[UUID, set[UUID]] = defaultdict(set)
        for identifier in set(await reminded(db)) - before:
            sent[every[identifier]].add(identifier)
        for person, model in models.items():
            assert sent[person] == set(model.look(now)), f"at {now}"
        now = min(
            await db.pool.fetchval(NEXT_DUE) or now, now + timedelta(minutes=dice.randint(1, 200))
        )  # fmt: skip
    assert sorted(await reminded(db)) == sorted(every), "each exactly once"
    for key in await outbox(db, "deferral"):
        _, person_id, at = key.split(":", 2)
        told[person_id].append(datetime.fromisoformat(at))
    assert told, "somebody had to wait"
    for times in told.values():
        assert all(later - earlier >= REMINDERS_WITHIN for earlier, later in itertools.pairwise(times))


async def test_what_is_over_the_limit_is_announced_once_and_comes_when_it_was_said_to(db: Database) -> None:
    known = await someone(db)
    for number in range(REMINDERS_MAX + 2):
        await remind(db, known, NOW - timedelta(seconds=30 - number), content=str(number))
    await remind(db, known, NOW + timedelta(hours=1), content="later")
    await sweep_twice_at_once(db, NOW)
    *sent, word = await said(db, known.conversation_id)
    assert sent == [f"Reminder: {number}" for number in range(REMINDERS_MAX)]
    assert word == deferral_text(10, 2, NOW + timedelta(hours=12), "Africa/Nairobi", NOW, "en")
    assert "2 more wait: the first comes at 21:00" in word
    await sweep_twice_at_once(db, NOW + timedelta(hours=2))
    assert (await said(db, known.conversation_id))[-1] == word, "what comes due meanwhile waits without a word"
    waiting = "SELECT count(*) FROM reminder WHERE state = 'active' AND deferred_until = $1"
    assert await db.pool.fetchval(waiting, NOW + timedelta(hours=12)) == 3
    await sweep_twice_at_once(db, NOW + timedelta(hours=12))
    assert (await said(db, known.conversation_id))[11:] == [
        "Reminder (due 08:59, late): 10", "Reminder (due 08:59, late): 11", "Reminder (due 10:00, late): later",
    ]  # fmt: skip


async def test_high_priority_takes_the_last_place(db: Database) -> None:
    known = await someone(db)
    for number in range(REMINDERS_MAX):
        await remind(db, known, NOW, content=str(number))
    urgent = await remind(db, known, NOW, content="urgent")
    await db.pool.execute("UPDATE reminder SET priority = 'high' WHERE id = $1", urgent)
    await sweep_twice_at_once(db, NOW)
    assert "Reminder: urgent" in await said(db, known.conversation_id)
    assert len(await reminded(db)) == REMINDERS_MAX


async def test_a_deferred_repeating_reminder_is_said_once_and_goes_on_by_its_rule(db: Database) -> None:
    known = await someone(db)
    for number in range(REMINDERS_MAX):
        await remind(db, known, NOW - timedelta(minutes=1), content=str(number))
    await remind(db, known, NOW, content="water", rrule="FREQ=HOURLY")
    await sweep_twice_at_once(db, NOW)
    later = NOW + timedelta(hours=12)
    await sweep_twice_at_once(db, later)
    assert (await said(db, known.conversation_id))[-1] == "Reminder (due 09:00, late): water"
    row = await db.pool.fetchrow("SELECT due_at, deferred_until FROM reminder WHERE state = 'active'")
    assert tuple(row) == (later + timedelta(hours=1), None)


async def test_linked_persons_count_as_one(db: Database) -> None:
    one, other = await someone(db), await someone(db)
    for known in (one, other):
        for number in range(REMINDERS_MAX - 2):
            await remind(db, known, NOW, content=str(number))
    await sweep_twice_at_once(db, NOW)
    async with db.transaction() as session:
        await people.merge(session, one.person_id, other.person_id)
    await remind(db, one, NOW + timedelta(hours=1), content="too many")
    await sweep_twice_at_once(db, NOW + timedelta(hours=1))
    assert re.match(r"You have had 10 .* One more waits, and comes at 21:00", (await said(db, one.conversation_id))[-1])
    assert len(await reminded(db)) == 2 * (REMINDERS_MAX - 2)


async def test_the_word_is_swahili_for_who_speaks_it(db: Database) -> None:
    known = await someone(db)
    await db.pool.execute("UPDATE person SET language = 'sw' WHERE id = $1", known.person_id)
    for number in range(REMINDERS_MAX + 1):
        await remind(db, known, NOW, content=str(number))
    await sweep_twice_at_once(db, NOW)
    assert "Kimoja kingine kinasubiri, kitakuja saa 21:00." in (await said(db, known.conversation_id))[-1]
