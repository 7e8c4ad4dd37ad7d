"""Sweeps: find rows that are due or were left behind. What they find is the truth; queues and wake-ups only hurry it.

Any number of processes may sweep at once: a reminder is claimed under a row lock that others skip, its message and
its next occurrence are written in the same transaction, and its key makes a second message impossible.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import structlog

from connectors.reminders.models import as_reminder
from connectors.reminders.recurrence import next_after
from core import crashpoint
from core.db import Database, is_away
from core.messages import TEXT_CHARS_MAX, Text
from core.outbox import NewMessage, post
from core.wake import Name, Wakes
from jobs.broker import HandOut

log = structlog.get_logger()

Clock: TypeAlias = Callable[[], datetime]

BATCH_MAX = 1_000
"""Reminders claimed in one transaction; writing them holds up this loop for some 30 ms."""
AT_ONCE = 2
"""Batches under way while there is more than one: PostgreSQL works on one while we write the other."""
LOOK_S = 0.5
"""Longest sleep: how late a reminder may be whose wake-up was lost."""
LOOK_S_MIN = 0.02
"""Shortest sleep: what is due may be in another process's hands."""
LATE_AFTER = timedelta(seconds=60)
FOLLOWED_KINDS = ("reminder", "workflow")
"""What is owed to a person however their first channel answers."""
FOLLOW_LOOK_S = 1.0
FOLLOW_AGAIN_S = 15.0
"""A follow-up that nobody took care of for so long is handed out again."""
FOLLOW_MAX = 500
WAITING_LOOK_S = 1.0
WAITING_MAX = 100
RETRY_S_MIN, RETRY_S_MAX = 0.25, 5.0

CLAIM_DUE = """
WITH due AS (
    SELECT id, conversation_id, sealed, wall_time, zone, rrule, due_at
    FROM reminder WHERE state = 'active' AND due_at <= $1
    ORDER BY due_at, conversation_id LIMIT $2 FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE reminder r SET state = 'done', last_sent_for = due.due_at
    FROM due WHERE r.id = due.id AND due.rrule IS NULL
)
SELECT * FROM due
"""

MOVE_ON = """
UPDATE reminder r
SET state = CASE WHEN g.due_at IS NULL THEN 'done' ELSE 'active' END, last_sent_for = r.due_at,
    wall_time = coalesce(g.wall_time, r.wall_time), due_at = coalesce(g.due_at, r.due_at)
FROM unnest($1::uuid[], $2::timestamp[], $3::timestamptz[]) AS g(id, wall_time, due_at)
WHERE r.id = g.id
"""

REFUSED = """
SELECT id FROM outbox
WHERE state IN ('refused', 'held') AND followed_up_at IS NULL AND (state = 'held' OR kind = ANY($1::text[]))
ORDER BY id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work that waits in a table for an actor. `name` is also what wakes its sweep.

    `claimable` is a statement with the most rows as $1; it returns `id` and `lease_until`. A row that nobody took is
    handed out again after `again_s` seconds.
    """

    name: Name
    claimable: str
    again_s: float


def utc_now() -> datetime:
    """The clock of real life."""
    return datetime.now(UTC)


async def sweep_reminders(db: Database, wakes: Wakes, *, clock: Clock = utc_now) -> None:
    """Put every due reminder into the outbox until cancelled: within milliseconds, and late rather than never."""
    outage = Outage("reminders")
    while True:
        try:
            if await put_due(db, wakes, clock()) == BATCH_MAX:
                await _drain(db, wakes, clock)
                continue
            next_due = await db.pool.fetchval("SELECT min(due_at) FROM reminder WHERE state = 'active'")
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        left_s = (next_due - clock()).total_seconds() if next_due is not None else LOOK_S
        await wakes.wait("reminder", min(LOOK_S, max(LOOK_S_MIN, left_s)))


async def _drain(db: Database, wakes: Wakes, clock: Clock) -> None:
    """Work off a backlog, AT_ONCE batches at a time; raises the first error when all have ended."""

    async def drain() -> None:
        while await put_due(db, wakes, clock()) == BATCH_MAX:
            pass

    for ended in await asyncio.gather(*(drain() for _ in range(AT_ONCE)), return_exceptions=True):
        if ended is not None:
            raise ended


async def put_due(db: Database, wakes: Wakes, now: datetime) -> int:
    """Claim up to BATCH_MAX due reminders and write their messages, in one transaction; returns how many.

    A room's reminders come together, so that batches under way at the same time do not wait for each other's rooms.
    """
    async with db.hot() as connection:
        rows = await connection.fetch(CLAIM_DUE, now, BATCH_MAX)
        if not rows:
            return 0
        crashpoint.hit("reminders.claimed")
        repeating = [row for row in rows if row["rrule"] is not None]
        if repeating:
            # Rules are arithmetic on calendars: a full batch of them would hold up everything else on this loop.
            after = await asyncio.to_thread(_next_occurrences, repeating, now)
            await connection.execute(
                MOVE_ON, [row["id"] for row in repeating],
                [wall for wall, _ in after], [due for _, due in after],
            )  # fmt: skip
        values = [(row["conversation_id"], as_reminder(row["id"]), row["sealed"]) for row in rows]
        said = await connection.keys.opened(connection, values)
        # One whose room was erased has nothing to say any more.
        await post(
            connection, [_message(row, words.decode(), now) for row, words in zip(rows, said, strict=True) if words]
        )
        await wakes.notify(connection, "outbox")
        crashpoint.hit("reminders.before_commit")
    crashpoint.hit("reminders.committed")
    wakes.wake("outbox")
    log.info("reminders.due", count=len(rows))
    return len(rows)


async def sweep_refused(
    db: Database, hand_out: HandOut, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Hand every refused message that is owed to the actors, and again each FOLLOW_AGAIN_S until it is followed up.

    `hand_out` puts row ids into the queue; it may fail while Valkey is away.
    """
    handed: dict[int, float] = {}
    outage = Outage("follow-ups")
    while True:
        try:
            rows = await db.pool.fetch(REFUSED, list(FOLLOWED_KINDS), FOLLOW_MAX)
            now = clock()
            handed = {row["id"]: handed[row["id"]] for row in rows if row["id"] in handed}
            wanted = [row["id"] for row in rows if now - handed.get(row["id"], -FOLLOW_AGAIN_S) >= FOLLOW_AGAIN_S]
            if wanted:
                await hand_out(wanted)
                handed |= dict.fromkeys(wanted, now)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(FOLLOW_LOOK_S)


async def sweep_waiting(
    db: Database,
    wakes: Wakes,
    work: Waiting,
    hand_out: HandOut,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Hand every row of this work that waits and is in nobody's hands to the actors, until cancelled.

    `hand_out` puts row ids into the queue; it may fail while Valkey is away.
    """
    handed: dict[tuple[int, datetime], float] = {}
    outage = Outage(work.name)
    while True:
        try:
            rows = await db.pool.fetch(work.claimable, WAITING_MAX)
            now = clock()
            handed = {wait: at for wait, at in handed.items() if now - at < work.again_s}
            wanted = [wait for row in rows if (wait := (row["id"], row["lease_until"])) not in handed]
            if wanted:
                await hand_out([row_id for row_id, _ in wanted])
                handed |= dict.fromkeys(wanted, now)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await wakes.wait(work.name, WAITING_LOOK_S)


class Outage:
    """Waits longer and longer while something is away, and says so once; a bug is logged whole, each time."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._wait_s = RETRY_S_MIN
        self._away = False

    async def wait(self, error: Exception) -> None:
        """Wait before the next try after this error."""
        if not (is_away(error) or isinstance(error, ConnectionError)):
            log.error("sweep.broke", sweep=self._what, exc_info=error)
        elif not self._away:
            hint = "PostgreSQL or Valkey does not answer; nothing is lost, it goes on when it is back"
            log.warning("sweep.waits", sweep=self._what, error=type(error).__name__, hint=hint)
        self._away = True
        await asyncio.sleep(self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
        self._wait_s = min(self._wait_s * 2, RETRY_S_MAX)

    def over(self) -> None:
        """It worked."""
        if self._away:
            log.info("sweep.goes_on", sweep=self._what)
        self._away = False
        self._wait_s = RETRY_S_MIN


def reminder_text(content: str, due_at: datetime, zone: str, now: datetime) -> str:
    """What a reminder says; one that comes late says when it was due, by the person's clock."""
    if now - due_at <= LATE_AFTER:
        return f"Reminder: {content}"
    tz = ZoneInfo(zone)
    due = due_at.astimezone(tz)
    same_day = due.date() == now.astimezone(tz).date()
    when = f"{due:%H:%M}" if same_day else f"{due.day} {due:%b %H:%M}"
    return f"Reminder (due {when}, late): {content}"


def _message(row: Mapping[str, Any], content: str, now: datetime) -> NewMessage:
    text = reminder_text(content, row["due_at"], row["zone"], now)[:TEXT_CHARS_MAX]
    key = f"reminder:{row['id']}:{row['due_at'].isoformat()}"
    return NewMessage(row["conversation_id"], (Text(text=text),), "reminder", key)


def _next_occurrences(
    rows: Sequence[Mapping[str, Any]], now: datetime
) -> list[tuple[datetime, datetime] | tuple[None, None]]:
    """For each repeating reminder its next wall time and instant after both this one and now; Nones at the end.

    What was missed while nobody swept is made up for once, not once an occurrence.
    """
    known: dict[tuple[Any, ...], tuple[datetime, datetime] | tuple[None, None]] = {}
    found = []
    for row in rows:
        key = (row["wall_time"], row["zone"], row["rrule"], max(row["due_at"], now))
        if key not in known:
            try:
                known[key] = next_after(*key) or (None, None)
            except (ValueError, KeyError, OverflowError) as error:
                # One rule that cannot be read must not keep the others waiting; it is said once more, and ends.
                log.error("reminder.rule_broken", reminder_id=str(row["id"]), error=type(error).__name__)
                known[key] = (None, None)
        found.append(known[key])
    return found
