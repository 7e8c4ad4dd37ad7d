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
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import structlog

from core import crashpoint
from core.db import Database, is_away
from core.language import Plural, Saying, month
from core.limits import REMINDERS_MAX, REMINDERS_WITHIN, when_of
from core.messages import TEXT_CHARS_MAX, Text
from core.outbox import NewMessage, post
from core.recurrence import next_after
from core.reminders import as_reminder
from core.wake import Name, Wakes, spread
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
NO_FACTORS: Mapping[str, int] = MappingProxyType({})
REMINDER = {"en": ("Reminder", "due {when}, late"), "sw": ("Kikumbusho", "cha {when}, kimechelewa")}
DEFERRED = {
    "en": "You have had {allowed} reminders within {hours} hours, which is as many as I send. {waits} None is lost.",
    "sw": "Umepata vikumbusho {allowed} ndani ya saa {hours}, kiwango changu cha juu. {waits} Hakuna kinachopotea.",
}
WAITS = Plural(
    Saying("One more waits, and comes {when}.", "Kimoja kingine kinasubiri, kitakuja {when}."),
    Saying(
        "{count} more wait: the first comes {when}, the others as places come free, high priority first.",
        "Vingine {count} vinasubiri: cha kwanza kitakuja {when}, vingine nafasi ikipatikana, vya muhimu kwanza.",
    ),
)
FOLLOWED_KINDS = ("reminder", "workflow", "invoice")
"""What is owed to a person however their first channel answers; of an invoice, its issuer is told."""
FOLLOW_LOOK_S = 1.0
FOLLOW_AGAIN_S = 15.0
"""A follow-up that nobody took care of for so long is handed out again."""
FOLLOW_MAX = 500
WAITING_LOOK_S = 1.0
WAITING_MAX = 100
RETRY_S_MIN, RETRY_S_MAX = 0.25, 5.0

CLAIM_DUE = """
WITH due AS (
    SELECT r.id, r.conversation_id, r.person_id, r.sealed, r.wall_time, r.zone, r.rrule, r.due_at,
           array_position('{high,normal,low}'::text[], r.priority) AS rank,
           p.plan, p.language, p.reminded_at, p.deferral_told_at
    FROM reminder r JOIN person p ON p.id = r.person_id
    WHERE r.state = 'active' AND coalesce(r.deferred_until, r.due_at) <= $1
    ORDER BY coalesce(r.deferred_until, r.due_at), array_position('{high,normal,low}'::text[], r.priority),
             r.conversation_id
    LIMIT $2
    FOR NO KEY UPDATE OF p SKIP LOCKED FOR UPDATE OF r SKIP LOCKED
), placed AS (
    SELECT due.*, allowed, recent, count(*) OVER (PARTITION BY person_id)::int AS waiting,
           row_number() OVER (PARTITION BY person_id ORDER BY rank, due_at, id) AS place
    FROM due, LATERAL (
        SELECT coalesce(($5::int[])[array_position($4::text[], due.plan)], $3) AS allowed,
               ARRAY(SELECT at FROM unnest(due.reminded_at) AS t(at) WHERE at > $1 - $6::interval ORDER BY at) AS recent
        OFFSET 0
    ) pace
), counted AS (
    SELECT placed.*, least(greatest(allowed - cardinality(recent), 0), waiting) AS gone FROM placed
), paced AS (
    SELECT counted.*, place <= gone AS goes, recent || array_fill($1::timestamptz, ARRAY[gone]) AS reminded,
           gone < waiting AND coalesce(deferral_told_at <= $1 - $6::interval, true) AS tells
    FROM counted
), ended AS (
    UPDATE reminder r SET state = 'done', last_sent_for = paced.due_at, deferred_until = NULL
    FROM paced WHERE r.id = paced.id AND goes AND paced.rrule IS NULL
), deferred AS (
    UPDATE reminder r SET deferred_until = reminded[cardinality(reminded) - allowed + 1] + $6::interval
    FROM paced WHERE r.id = paced.id AND NOT goes
), noted AS (
    UPDATE person p
    SET reminded_at = paced.reminded, deferral_told_at = CASE WHEN tells THEN $1 ELSE p.deferral_told_at END
    FROM paced WHERE p.id = paced.person_id AND place = 1
)
SELECT id, conversation_id, person_id, sealed, wall_time, zone, rrule, due_at, language, goes, allowed,
       tells AND place = gone + 1 AS tells, waiting - gone AS left_over,
       reminded[cardinality(reminded) - allowed + 1] + $6::interval AS comes_at
FROM paced ORDER BY conversation_id, due_at, rank, id
"""
"""Claims what is due, and decides of each whether it goes now. A person's row is locked first, so that all of one
person's reminders are decided by one sweep at a time, and it is read as it is under that lock: whatever another sweep
sent a moment ago is counted. What is over the limit stays due, and is looked at again when the next place is free."""

MOVE_ON = """
UPDATE reminder r
SET state = CASE WHEN g.due_at IS NULL THEN 'done' ELSE 'active' END, last_sent_for = r.due_at, deferred_until = NULL,
    wall_time = coalesce(g.wall_time, r.wall_time), due_at = coalesce(g.due_at, r.due_at)
FROM unnest($1::uuid[], $2::timestamp[], $3::timestamptz[]) AS g(id, wall_time, due_at)
WHERE r.id = g.id
"""

NEXT_DUE = "SELECT min(coalesce(deferred_until, due_at)) FROM reminder WHERE state = 'active'"

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


async def sweep_reminders(
    db: Database, wakes: Wakes, factors: Mapping[str, int] = NO_FACTORS, *, clock: Clock = utc_now
) -> None:
    """Put every due reminder into the outbox until cancelled: within milliseconds, and late rather than never.

    `factors` are those of the plans, by which a person may have more reminders.
    """
    outage = Outage("reminders")
    while True:
        try:
            if await put_due(db, wakes, clock(), factors) == BATCH_MAX:
                await _drain(db, wakes, clock, factors)
                continue
            next_due = await db.pool.fetchval(NEXT_DUE)
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        left_s = (next_due - clock()).total_seconds() if next_due is not None else LOOK_S
        await wakes.wait("reminder", min(LOOK_S, max(LOOK_S_MIN, left_s)))


async def _drain(db: Database, wakes: Wakes, clock: Clock, factors: Mapping[str, int]) -> None:
    """Work off a backlog, AT_ONCE batches at a time; raises the first error when all have ended."""

    async def drain() -> None:
        while await put_due(db, wakes, clock(), factors) == BATCH_MAX:
            pass

    for ended in await asyncio.gather(*(drain() for _ in range(AT_ONCE)), return_exceptions=True):
        if ended is not None:
            raise ended


async def put_due(db: Database, wakes: Wakes, now: datetime, factors: Mapping[str, int] = NO_FACTORS) -> int:
    """Claim up to BATCH_MAX due reminders and write their messages, in one transaction; returns how many.

    Those of a person who had REMINDERS_MAX within REMINDERS_WITHIN (times the factor of their plan) are deferred, and
    the person is told once in that time. A room's reminders come together, so that batches under way at the same time
    do not wait for each other's rooms.
    """
    allowed = [REMINDERS_MAX * factor for factor in factors.values()]
    async with db.hot() as connection:
        claimed = await connection.fetch(
            CLAIM_DUE, now, BATCH_MAX, REMINDERS_MAX, list(factors), allowed, REMINDERS_WITHIN
        )
        if not claimed:
            return 0
        crashpoint.hit("reminders.claimed")
        rows = [row for row in claimed if row["goes"]]
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
        messages = [_message(row, words.decode(), now) for row, words in zip(rows, said, strict=True) if words]
        await post(connection, messages + [_deferral(row, now) for row in claimed if row["tells"]])
        await wakes.notify(connection, "outbox")
        crashpoint.hit("reminders.before_commit")
    crashpoint.hit("reminders.committed")
    wakes.wake("outbox")
    log.info("reminders.due", count=len(rows), deferred=len(claimed) - len(rows))
    return len(claimed)


async def sweep_refused(db: Database, hand_out: HandOut, *, clock: Callable[[], float] = time.monotonic) -> None:
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
        await asyncio.sleep(spread(FOLLOW_LOOK_S))


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
        await wakes.wait(work.name, spread(WAITING_LOOK_S))


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


def reminder_text(content: str, due_at: datetime, zone: str, now: datetime, language: str = "en") -> str:
    """What a reminder says; one that comes late says when it was due, by the person's clock."""
    head, late = REMINDER.get(language, REMINDER["en"])
    if now - due_at <= LATE_AFTER:
        return f"{head}: {content}"
    tz = ZoneInfo(zone)
    due = due_at.astimezone(tz)
    same_day = due.date() == now.astimezone(tz).date()
    when = f"{due:%H:%M}" if same_day else f"{due.day} {month(due.month).to(language)} {due:%H:%M}"
    return f"{head} ({late.format(when=when)}): {content}"


def deferral_text(allowed: int, left_over: int, comes_at: datetime, zone: str, now: datetime, language: str) -> str:
    """What is said once when reminders have to wait; `allowed` were sent, `left_over` wait."""
    language = language if language in DEFERRED else "en"
    when = when_of(comes_at, language, now, ZoneInfo(zone))
    hours = int(REMINDERS_WITHIN.total_seconds()) // 3600
    waits = WAITS.of(left_over, when=when).to(language)
    return DEFERRED[language].format(allowed=allowed, hours=hours, waits=waits)


def _message(row: Mapping[str, Any], content: str, now: datetime) -> NewMessage:
    text = reminder_text(content, row["due_at"], row["zone"], now, row["language"])[:TEXT_CHARS_MAX]
    key = f"reminder:{row['id']}:{row['due_at'].isoformat()}"
    return NewMessage(row["conversation_id"], (Text(text=text),), "reminder", key)


def _deferral(row: Mapping[str, Any], now: datetime) -> NewMessage:
    """The one word about reminders that wait; where the first of them speaks."""
    text = deferral_text(row["allowed"], row["left_over"], row["comes_at"], row["zone"], now, row["language"])
    key = f"deferral:{row['person_id']}:{now.isoformat()}"
    return NewMessage(row["conversation_id"], (Text(text=text),), "deferral", key)


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
