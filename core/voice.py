"""Voice notes: each is written down once by a job, and the turn it belongs to waits for its words, for a time.

A note's row is made in the transaction that stores its message. A turn whose note has no words yet is parked: it stays
open under a lease that ends when its patience does, so later messages wait behind it, and whoever settles the last of
its notes lets it go. The words are kept in the message alone; whoever shows the room hears of them as of any change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from core.audio import AUDIO_BYTES_MAX, AUDIO_S_MAX
from core.db import POOL_WAIT_S, Database
from core.limits import OF_VOICE, VOICE, VOICE_S, Use, Whose, allowed_of, span_of
from core.messages import TEXT_CHARS_MAX, InboundMessage, Part, Voice
from core.sealed import COLUMNS, by_identity, opened_parts, seal
from core.wake import Wakes

log = structlog.get_logger()

Problem = Literal["off", "late", "away", "many", "empty", "large", "long", "unreadable", "silent"]
"""Why a note has no words: nobody writes notes down here; not in time; the service failed; the person sent too many
today; the file is no good."""

SORRY: Final[Mapping[Problem, Mapping[str, str]]] = {
    "off": {
        "en": "I cannot listen to voice notes here. Please write it to me.",
        "sw": "Siwezi kusikiliza ujumbe wa sauti hapa. Tafadhali niandikie.",
    },
    "late": {
        "en": "I could not listen to your voice note in time. Please write it to me.",
        "sw": "Sikuweza kusikiliza ujumbe wako wa sauti kwa wakati. Tafadhali niandikie.",
    },
    "away": {
        "en": "I could not listen to your voice note. Please write it to me.",
        "sw": "Sikuweza kusikiliza ujumbe wako wa sauti. Tafadhali niandikie.",
    },
    "many": {
        "en": "You have sent more voice notes today than I can listen to in a day. Write to me until tomorrow.",
        "sw": "Leo umetuma ujumbe wa sauti mwingi kuliko ninaoweza kusikiliza kwa siku. Niandikie hadi kesho.",
    },
    "empty": {
        "en": "Your voice note is empty. Please record it again, or write it to me.",
        "sw": "Ujumbe wako wa sauti hauna kitu. Tafadhali rekodi tena, au niandikie.",
    },
    "large": {
        "en": f"Your voice note is larger than {AUDIO_BYTES_MAX // 2**20} MB. Please send a shorter one.",
        "sw": f"Ujumbe wako wa sauti unazidi MB {AUDIO_BYTES_MAX // 2**20}. Tafadhali tuma mfupi zaidi.",
    },
    "long": {
        "en": f"Your voice note is longer than {AUDIO_S_MAX / 60:.0f} minutes. Please send a shorter one.",
        "sw": f"Ujumbe wako wa sauti unazidi dakika {AUDIO_S_MAX / 60:.0f}. Tafadhali tuma mfupi zaidi.",
    },
    "unreadable": {
        "en": "I cannot play this voice note. Please record it again, or write it to me.",
        "sw": "Siwezi kucheza ujumbe huu wa sauti. Tafadhali rekodi tena, au niandikie.",
    },
    "silent": {
        "en": "I could hear no words in your voice note. Please record it again, or write it to me.",
        "sw": "Sikusikia maneno kwenye ujumbe wako wa sauti. Tafadhali rekodi tena, au niandikie.",
    },
}

NOTE = """
INSERT INTO transcription (conversation_id, seq, part)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[]) ON CONFLICT DO NOTHING
"""

PARK = """
WITH wanted AS (
    SELECT t.id, t.created_at FROM transcription t
    JOIN message m ON m.conversation_id = t.conversation_id AND m.seq = t.seq
    WHERE t.conversation_id = $3 AND t.state = 'waiting' AND t.created_at > clock_timestamp() - $4::interval
      AND m.turn_id = $1 AND EXISTS (SELECT FROM turn WHERE id = $1 AND attempt = $2 AND state = 'open')
    ORDER BY t.id FOR UPDATE OF t
), marked AS (
    UPDATE transcription t SET turn_id = $1, turn_attempt = $2 FROM wanted WHERE t.id = wanted.id
    RETURNING t.created_at
)
UPDATE turn SET lease_until = (SELECT max(created_at) FROM marked) + $4::interval
WHERE id = $1 AND attempt = $2 AND state = 'open' AND EXISTS (SELECT FROM marked)
RETURNING id
"""

READ_AGAIN = """
UPDATE turn SET lease_until = clock_timestamp() - interval '1 ms' WHERE id = $1 AND attempt = $2 AND state = 'open'
"""

TOLD = """
SELECT m.event_id, t.part, t.state, t.problem FROM transcription t
JOIN message m ON m.conversation_id = t.conversation_id AND m.seq = t.seq
WHERE t.conversation_id = $1 AND m.turn_id = $2
ORDER BY t.id
"""

CLAIMABLE = """
SELECT id, lease_until FROM transcription
WHERE state = 'waiting' AND lease_until <= clock_timestamp() ORDER BY lease_until LIMIT $1
"""

CLAIM = """
UPDATE transcription SET attempt = attempt + 1, lease_until = clock_timestamp() + $2::interval
WHERE id = $1 AND state = 'waiting' AND lease_until <= clock_timestamp()
RETURNING attempt, conversation_id, seq, part, clock_timestamp() - created_at AS age, day IS NOT NULL AS counted
"""

FIND = f"""
SELECT {COLUMNS}, m.id, m.account, m.channel, p.language,
       coalesce(p.timezone, p.zone_guess) AS timezone, p.plan
FROM message m JOIN identity i ON i.id = m.identity_id JOIN person p ON p.id = i.person_id
WHERE m.conversation_id = $1 AND m.seq = $2
"""  # noqa: S608  the columns are ours

AGAIN = """
UPDATE transcription SET lease_until = clock_timestamp() + $3::interval, attempt = attempt - $4::int
WHERE id = $1 AND attempt = $2 AND state = 'waiting'
"""

HOLD = "SELECT p.id FROM identity i JOIN person p ON p.id = i.person_id WHERE i.id = $1 FOR NO KEY UPDATE OF p"
"""Notes of one person are counted one after the other, whichever channel and worker they come by."""

USED = """
SELECT count(*)::bigint AS notes, coalesce(sum(t.seconds), 0)::bigint AS seconds
FROM transcription t JOIN identity i ON i.id = t.identity_id
WHERE i.person_id = $1 AND t.day = $2 AND t.problem IS DISTINCT FROM 'away'
"""
"""What a service never wrote down is not held against a person."""

TAKE = """
UPDATE transcription SET identity_id = $3, day = $4, seconds = $5
WHERE id = $1 AND attempt = $2 AND state = 'waiting'
"""

SETTLE = """
UPDATE transcription SET state = $3, problem = $4, done_at = clock_timestamp()
WHERE id = $1 AND attempt = $2 AND state = 'waiting'
RETURNING turn_id, turn_attempt
"""

SHOW = """
WITH numbered AS (
    UPDATE conversation SET changes = changes + 1 WHERE id = $4 RETURNING changes
)
INSERT INTO change (channel, account, event_id, kind, state, conversation_id, number, message_id, identity_id, sent_at)
SELECT $1, $2, $3, 'transcript', 'applied', $4, numbered.changes, $5, $6, clock_timestamp() FROM numbered
"""

LET_GO = """
UPDATE turn SET lease_until = clock_timestamp() - interval '1 ms'
WHERE id = $1 AND attempt = $2 AND state = 'open'
  AND NOT EXISTS (SELECT FROM transcription WHERE conversation_id = $3 AND state = 'waiting' AND turn_id = $1)
"""


@dataclass(frozen=True, slots=True)
class Spoke:
    """Who sent a note: on whose account it is written down."""

    identity_id: UUID
    timezone: str | None
    plan: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """One note in the hands of whoever claimed it, under `attempt`; `voice` is None where it was deleted meanwhile."""

    id: int
    attempt: int
    conversation_id: UUID
    seq: int
    part: int
    voice: Voice | None
    language: str
    person: Spoke | None
    age: timedelta
    """How long it has been waiting."""
    counted: bool
    """Whether a try before this one counted it."""


def wordless(message: InboundMessage) -> bool:
    """Whether a message has a voice note that nobody has written down."""
    return any(isinstance(part, Voice) and part.transcript is None for part in message.parts)


def spoken(message: InboundMessage) -> bool:
    """Whether some of a message's words were spoken, and written down by a machine."""
    return any(isinstance(part, Voice) and part.transcript is not None for part in message.parts)


async def note(connection: Any, places: Sequence[tuple[UUID, int, tuple[Part, ...]]]) -> bool:
    """Have the notes among these parts, by conversation and seq, written down; whether there were any."""
    rows = [
        (conversation_id, seq, number)
        for conversation_id, seq, parts in places
        for number, part in enumerate(parts)
        if isinstance(part, Voice) and part.transcript is None
    ]
    if rows:
        await connection.execute(NOTE, *(list(column) for column in zip(*rows, strict=True)))
    return bool(rows)


async def park(
    db: Database,
    conversation_id: UUID,
    turn_id: int,
    attempt: int,
    messages: Sequence[InboundMessage],
    patience: timedelta,
) -> Mapping[str, Problem] | None:
    """Let an open turn wait for the words of its notes, until they are `patience` old: None when it does.

    Else why each of its messages without words, by its event id, has none. A turn whose words have come since its
    messages were read is claimed again at once, which is None too.
    """
    lacking = {
        (message.event_id, number)
        for message in messages
        for number, part in enumerate(message.parts)
        if isinstance(part, Voice) and part.transcript is None
    }
    async with db.hot() as connection:
        if await connection.fetchval(PARK, turn_id, attempt, conversation_id, patience) is not None:
            return None
        rows = await connection.fetch(TOLD, conversation_id, turn_id)
        if any(row["state"] == "done" and (row["event_id"], row["part"]) in lacking for row in rows):
            await connection.execute(READ_AGAIN, turn_id, attempt)
            return None
    why: dict[str, Problem] = {event_id: "off" for event_id, _ in lacking}
    return why | {row["event_id"]: row["problem"] or "late" for row in rows if row["state"] != "done"}


async def claim(db: Database, note_id: int, lease: timedelta) -> Claimed | None:
    """Lease a note that waits; None when it is in other hands, or settled."""
    row = await db.pool.fetchrow(CLAIM, note_id, lease)
    if row is None:
        return None
    async with db.pool.acquire(timeout=POOL_WAIT_S) as connection:
        found, parts = await _found(connection, FIND, row["conversation_id"], row["seq"])
    part = parts[row["part"]] if row["part"] < len(parts) else None
    return Claimed(
        note_id,
        row["attempt"],
        row["conversation_id"],
        row["seq"],
        row["part"],
        part if isinstance(part, Voice) else None,
        found["language"] if found else "en",
        Spoke(found["identity_id"], found["timezone"], found["plan"]) if found else None,
        row["age"],
        row["counted"],
    )


async def take(
    db: Database, factors: Mapping[str, int], claimed: Claimed, seconds: int, now: datetime, zone: ZoneInfo
) -> bool:
    """Count a note of so many seconds for whoever spoke it, once; False when their day has no room for it.

    `factors` multiply what a plan has. A day is the date on the person's clock, or on that of `zone` where they have
    stated none.
    """
    who = claimed.person
    if claimed.counted or who is None:
        return True
    day = _day(now, ZoneInfo(who.timezone) if who.timezone else zone)
    async with db.hot() as connection:
        person_id = await connection.fetchval(HOLD, who.identity_id)
        used = await connection.fetchrow(USED, person_id, day)
        notes, spoken_s = used["notes"] + 1, used["seconds"] + seconds
        if notes > allowed_of(VOICE, who.plan, factors) or spoken_s > allowed_of(VOICE_S, who.plan, factors):
            return False
        await connection.execute(TAKE, claimed.id, claimed.attempt, who.identity_id, day, seconds)
    return True


async def uses(db: Database, factors: Mapping[str, int], whose: Whose, now: datetime) -> list[Use]:
    """How much a person has used of what is listened to in a day."""
    row = await db.pool.fetchrow(USED, UUID(whose.id), _day(now, whose.zone))
    ends_at = span_of("day", now, whose.zone).ends_at
    return [
        Use(limit, used, allowed_of(limit, whose.plan, factors), ends_at)
        for limit, used in zip(OF_VOICE, (row["notes"], row["seconds"]), strict=True)
    ]


def _day(now: datetime, zone: ZoneInfo) -> date:
    return now.astimezone(zone).date()


async def again(db: Database, claimed: Claimed, wait: timedelta, *, counted: bool = True) -> None:
    """Let somebody try a note again after `wait`; a try that was not `counted` is as if it had not been."""
    await db.pool.execute(AGAIN, claimed.id, claimed.attempt, wait, int(not counted))


async def settle(
    db: Database, wakes: Wakes, claimed: Claimed, transcript: str | None, problem: Problem | None = None
) -> bool:
    """Write a note's words into its message, or why there are none, and let its turn go; False when somebody else has.

    One transaction: of any number of calls one has an effect, and the turn sees all of it.
    """
    state = "done" if problem is None else "failed"
    async with db.hot() as connection:
        await connection.execute("SELECT FROM conversation WHERE id = $1 FOR NO KEY UPDATE", claimed.conversation_id)
        row = await connection.fetchrow(SETTLE, claimed.id, claimed.attempt, state, problem)
        if row is None:
            return False
        if transcript is not None:
            await _write(connection, claimed, transcript)
        if row["turn_id"] is not None:
            await connection.execute(LET_GO, row["turn_id"], row["turn_attempt"], claimed.conversation_id)
        await wakes.notify(connection, "turn")
        await wakes.notify(connection, "message")
    wakes.wake("turn")
    wakes.wake("message")
    log.info("voice.settled", note_id=claimed.id, state=state, problem=problem)
    return True


async def _write(connection: Any, claimed: Claimed, transcript: str) -> None:
    """Put the words into the message, unless it was deleted, and number the change."""
    row, found = await _found(connection, f"{FIND} FOR NO KEY UPDATE OF m", claimed.conversation_id, claimed.seq)
    parts = list(found)
    part = parts[claimed.part] if claimed.part < len(parts) else None
    if not isinstance(part, Voice):
        return
    parts[claimed.part] = part.model_copy(update={"transcript": transcript[:TEXT_CHARS_MAX]})
    key = await connection.keys.of_locked(connection, claimed.conversation_id)
    await connection.execute(
        "UPDATE message SET sealed = $2 WHERE id = $1",
        row["id"],
        seal(key, row["event_id"], by_identity(row["identity_id"]), tuple(parts)),
    )
    event_id = f"transcript:{claimed.id}"
    await connection.execute(
        SHOW, row["channel"], row["account"], event_id, claimed.conversation_id, row["id"], row["identity_id"]
    )


async def _found(connection: Any, statement: str, conversation_id: UUID, seq: int) -> tuple[Any, tuple[Part, ...]]:
    """A message's row and its parts; none where it was deleted."""
    row = await connection.fetchrow(statement, conversation_id, seq)
    [parts] = await opened_parts(connection.keys, connection, [row]) if row else [None]
    return row, parts or ()
