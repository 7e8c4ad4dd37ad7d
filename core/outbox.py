"""The outbox: one row a message owed to a channel. `sending` is committed before the provider is called.

A send ends as sent, refused, or unknown. Unknown is never resent blindly: the provider is asked, and only "we do not
know it", believed UNKNOWN_CERTAIN_S after the attempt, makes the row pending again. An unfinished row holds back later
ones of its conversation, so order is kept without a slow conversation slowing another.

A channel may need several messages of its own to show one of ours. `piece` counts those that are settled, and the
statement that settles one makes the row pending for the next; a retry, a doubt and a question concern one piece.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson

from core import crashpoint, mailboxes
from core.crypto import RoomKeys
from core.db import Database, is_away
from core.errors import StoreUnavailable
from core.group_commit import GroupCommit
from core.messages import Address, ChannelName, OutboundMessage, Part, TemplateUse
from core.sealed import COLUMNS, EPOCHS_MAX, TOUCHED, as_template, by_author, opened_parts, seal
from core.window import LAST_WORD, WINDOW, WINDOWED, Standing

STALE_AFTER = {"reply": timedelta(hours=6), "reminder": timedelta(hours=24), LAST_WORD: timedelta(minutes=10)}
"""After this a message is refused rather than sent late; other kinds have no such limit."""
ASK_AFTER_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""When an unknown outcome is asked after, in seconds since the last question; after the last one staff decide."""
RETRY_S_MAX = 60.0
ERASED = "What it said was erased."
ABANDONED_MAX = 1_000
"""How many rows of dead processes one look turns into unknown outcomes."""
RELEASE_MAX = 500
"""Held messages looked at in one go."""
BULK = 100
"""More messages than this are joined by hashing, not one by one."""

STATUS_ORDER = ("queued", "sending", "sent", "delivered", "read")
"""Provider statuses only move to the right."""
FAILED = ("failed", "undelivered")
"""Final: the message is refused, so that its follow-up begins."""

WRITE = """
numbered AS (
    SELECT nextval('message_id_seq') AS id, f.*, c.channel,
           c.first_seq + row_number() OVER (PARTITION BY f.conversation_id ORDER BY f.n) - 1 AS seq
    FROM (SELECT * FROM fresh ORDER BY n) f
    JOIN counted c ON c.id = f.conversation_id
), stored AS (
    INSERT INTO message (id, conversation_id, seq, direction, turn_id, sealed, dedup_key, author, reply_to)
    SELECT id, conversation_id, seq, 'out', turn_id, sealed, dedup_key, author, reply_to FROM numbered
), queued AS (
    INSERT INTO outbox (id, conversation_id, channel, kind, dedup_key)
    SELECT id, conversation_id, channel, kind, dedup_key FROM numbered ORDER BY id
)
"""
"""The end of a statement that has `fresh` messages (conversation_id, epoch, sealed, kind, dedup_key, turn_id, author,
reply_to, in the order of n) and has `counted` them in their conversations: writes them with their outbox rows. What was
sealed in an epoch that is over is not counted, hence not written."""

COUNTED = f"""
locked AS MATERIALIZED (
    SELECT id FROM conversation WHERE id IN (SELECT conversation_id FROM fresh) ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE conversation c SET next_seq = c.next_seq + f.messages, last_at = {TOUCHED}
    FROM (SELECT conversation_id, epoch, count(*) AS messages FROM fresh GROUP BY conversation_id, epoch) f
    JOIN locked ON locked.id = f.conversation_id
    WHERE c.id = f.conversation_id AND c.epoch = f.epoch
    RETURNING c.id, c.channel, c.next_seq - f.messages AS first_seq
)"""

POST = f"""
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::bytea[], $4::text[], $5::text[], $6::bigint[], $7::text[])
        WITH ORDINALITY AS g(conversation_id, epoch, sealed, kind, dedup_key, turn_id, author, n)
), fresh AS (
    SELECT DISTINCT ON (dedup_key) given.*, NULL::text AS reply_to FROM given
    WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.dedup_key = given.dedup_key OFFSET 0)
    ORDER BY dedup_key, n
), {COUNTED}, {WRITE}
SELECT (SELECT count(*) FROM numbered) AS posted, (SELECT count(*) FROM fresh) AS fresh
"""

CLAIM = """
WITH head AS (
    SELECT o.id FROM outbox o
    WHERE o.state = 'pending' AND o.channel = $1 AND o.not_before <= clock_timestamp()
      AND NOT EXISTS (SELECT FROM outbox p
                      WHERE p.conversation_id = o.conversation_id AND p.id < o.id AND p.done_at IS NULL OFFSET 0)
    ORDER BY o.id LIMIT $2 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE outbox o
    SET state = 'sending', attempt = o.attempt + 1, asked = 0, error = NULL,
        sending_at = clock_timestamp(), lease_until = clock_timestamp() + $3
    FROM head WHERE o.id = head.id
    RETURNING o.id, o.attempt, o.piece, o.kind, o.conversation_id, o.sending_at, o.asked, o.template, o.template_words,
        o.held_seq
)
"""

CLAIM_IN_DOUBT = """
WITH head AS (
    SELECT o.id FROM outbox o
    WHERE o.state = 'unknown' AND o.done_at IS NULL AND o.channel = $1 AND o.not_before <= clock_timestamp()
    ORDER BY o.not_before LIMIT $2 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE outbox o SET asked = o.asked + 1, not_before = clock_timestamp() + $3
    FROM head WHERE o.id = head.id
    RETURNING o.id, o.attempt, o.piece, o.kind, o.conversation_id, o.sending_at, o.asked, o.template, o.template_words,
        o.held_seq
)
"""

CLAIMED = f"""
SELECT claimed.*, m.seq, {COLUMNS}, m.created_at, c.account, c.room, c.unreachable_at IS NOT NULL AS unreachable,
       clock_timestamp() AS now
FROM claimed
JOIN message m ON m.id = claimed.id
JOIN conversation c ON c.id = claimed.conversation_id
ORDER BY claimed.id
"""

NEWEST_INBOUND = """
LEFT JOIN LATERAL (SELECT i.seq, i.created_at FROM message i
                   WHERE i.conversation_id = c.id AND i.direction = 'in' ORDER BY i.seq DESC LIMIT 1) i ON true
"""

CLAIMED_WINDOWED = f"""
SELECT claimed.*, m.seq, {COLUMNS}, m.created_at, c.account, c.room, c.unreachable_at IS NOT NULL AS unreachable,
       clock_timestamp() AS now,
       coalesce(i.seq, 0) AS inbound_seq, i.created_at AS inbound_at,
       EXISTS (SELECT FROM identity p JOIN opt_out x ON x.identity_id = p.id
               WHERE p.channel = c.channel AND p.account = c.account AND p.provider_id = c.room
                 AND x.ended_at IS NULL AND x.turn_id IS DISTINCT FROM coalesce(m.turn_id, 0)
               OFFSET 0) AS opted_out,
       EXISTS (SELECT FROM outbox h WHERE h.conversation_id = c.id AND h.id < claimed.id AND h.state = 'held'
                 AND h.held_seq < i.seq OFFSET 0) AS gives_way
FROM claimed
JOIN message m ON m.id = claimed.id
JOIN conversation c ON c.id = claimed.conversation_id
{NEWEST_INBOUND}
ORDER BY claimed.id
"""
"""The same for channels with a window: what core.window needs besides, seen as it was when the rows were claimed."""

USE_TEMPLATE = """
UPDATE outbox SET template = $3, template_words = $4
WHERE id = $1 AND attempt = $2 AND state = 'sending' AND done_at IS NULL RETURNING id
"""

HOLD = """
UPDATE outbox SET state = 'held', held_seq = $3, error = $4, template = NULL, template_words = NULL,
       followed_up_at = NULL,
       done_at = clock_timestamp()
WHERE id = $1 AND attempt = $2 AND state = 'sending' AND done_at IS NULL
"""

GIVE_WAY = """
WITH mine AS (
    UPDATE outbox SET state = 'pending', not_before = clock_timestamp()
    WHERE id = $1 AND attempt = $2 AND state = 'sending' AND done_at IS NULL
    RETURNING id
)
UPDATE outbox SET state = 'pending', done_at = NULL, not_before = clock_timestamp(), error = NULL,
       followed_up_at = NULL
WHERE conversation_id = $4 AND id < $1 AND state = 'held' AND held_seq < $3 AND EXISTS (SELECT FROM mine)
"""

RELEASE = f"""
WITH looked AS (
    SELECT o.id, o.conversation_id, o.held_seq FROM outbox o WHERE o.state = 'held' AND o.conversation_id > $1
    ORDER BY o.conversation_id, o.id LIMIT $2
), due AS (
    SELECT l.id FROM looked l JOIN conversation c ON c.id = l.conversation_id {NEWEST_INBOUND}
    WHERE i.seq > l.held_seq AND i.created_at > clock_timestamp() - $3::interval
), locked AS MATERIALIZED (
    SELECT id FROM outbox WHERE id IN (SELECT id FROM due) AND coalesce(state, '') = 'held'
    ORDER BY id FOR UPDATE SKIP LOCKED
), released AS (
    UPDATE outbox o SET state = 'pending', done_at = NULL, not_before = clock_timestamp(), error = NULL,
           followed_up_at = NULL
    FROM locked WHERE o.id = locked.id RETURNING o.id
)
SELECT (SELECT count(*) FROM released) AS released, (SELECT count(*) FROM looked) AS looked,
       (SELECT max(conversation_id::text)::uuid FROM looked) AS last
"""

REOPENED = """
SELECT o.id, o.conversation_id, o.template, c.channel, c.account FROM outbox o
JOIN conversation c ON c.id = o.conversation_id
WHERE (o.id = $1 OR ($1::bigint IS NULL AND o.provider_message_id = $2))
  AND coalesce(o.provider_message_id, $2, '') = coalesce($2, '')
  AND ($2::text IS NULL OR o.past_ids IS NULL OR NOT $2 = ANY(o.past_ids))
  AND ($3::int IS NULL OR (o.attempt = $3 AND o.done_at IS NULL))
  AND o.state IN ('sent', 'sending', 'unknown', 'pending')
  AND (o.provider_status IS NULL OR o.provider_status NOT IN ('delivered', 'read'))
FOR NO KEY UPDATE OF o
"""

REOPEN = """
UPDATE outbox o
SET state = 'pending', done_at = NULL, not_before = clock_timestamp(), provider_message_id = NULL,
    provider_status = NULL, template = NULL, template_words = NULL, error = $3, followed_up_at = NULL,
    past_ids = CASE WHEN $2::text IS NULL THEN o.past_ids ELSE array_append(coalesce(o.past_ids, '{}'), $2) END,
    held_seq = coalesce((SELECT i.seq FROM message i
                         WHERE i.conversation_id = o.conversation_id AND i.direction = 'in'
                           AND i.created_at <= o.sending_at ORDER BY i.seq DESC LIMIT 1), 0)
WHERE o.id = $1
"""

BAD_TEMPLATE = """
UPDATE template SET state = 'paused', reason = $5
WHERE (channel, account, name, language) = ($1, $2, $3, $4) AND state = 'approved'
"""

ABANDONED = """
UPDATE outbox SET state = 'unknown', not_before = clock_timestamp(), asked = 0,
       error = 'The process that was sending it ended before it knew the outcome.'
WHERE id IN (SELECT id FROM outbox WHERE state = 'sending' AND done_at IS NULL AND lease_until < clock_timestamp()
             ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED)
"""

SETTLE = """
WITH locked AS MATERIALIZED (SELECT id FROM outbox WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE)
UPDATE outbox o
SET state = CASE WHEN g.state = 'sent' AND o.doubt IS NOT NULL THEN 'unknown' ELSE g.state END,
    provider_message_id = CASE WHEN NOT g.next THEN coalesce(g.provider_message_id, o.provider_message_id) END,
    error = CASE WHEN g.state = 'sent' THEN o.doubt ELSE g.error END,
    not_before = clock_timestamp() + make_interval(secs => g.wait_s),
    done_at = CASE WHEN g.final THEN clock_timestamp() END,
    piece = o.piece + g.next::int,
    earlier_ids = CASE WHEN g.next AND coalesce(g.provider_message_id, o.provider_message_id) IS NOT NULL
                       THEN o.earlier_ids || coalesce(g.provider_message_id, o.provider_message_id)
                       ELSE o.earlier_ids END,
    doubt = CASE WHEN g.next THEN coalesce(o.doubt, g.error) ELSE o.doubt END
FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::bool[], $8::bool[])
    AS g(id, attempt, state, provider_message_id, error, wait_s, final, next)
JOIN locked ON locked.id = g.id
WHERE o.id = g.id AND o.attempt = g.attempt
  AND coalesce(o.done_at, 'infinity') = 'infinity' AND coalesce(o.state, '') IN ('sending', 'unknown')
RETURNING o.id
"""

_FAILURE = "g.status = ANY($6::text[])"
_CURRENT = "(g.outbox_id IS NULL OR g.piece = o.piece)"
_SETTLES = f"({_CURRENT} AND o.state IN ('unknown', 'pending', 'sending'))"
_GOES_ON = f"({_SETTLES} AND NOT g.last AND NOT {_FAILURE})"

RECORD = f"""
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[], $8::int[], $9::bool[],
                         $10::timestamptz[])
        WITH ORDINALITY AS g(outbox_id, provider_message_id, status, error, rank, piece, last, at, n)
), found AS (
    SELECT g.*, o.id, g.piece AS of_piece, cardinality(o.past_ids) AS past FROM given g
    JOIN outbox o ON o.id = g.outbox_id
    WHERE (g.piece = o.piece AND (o.provider_message_id IS NULL OR o.provider_message_id = g.provider_message_id)
           OR g.piece < o.piece AND (g.provider_message_id = ANY(o.earlier_ids) OR o.doubt IS NOT NULL))
      AND (o.past_ids IS NULL OR NOT g.provider_message_id = ANY(o.past_ids))
    UNION ALL
    SELECT g.*, o.id, o.piece AS of_piece, cardinality(o.past_ids) AS past FROM given g
    JOIN outbox o ON o.provider_message_id = g.provider_message_id
    WHERE g.outbox_id IS NULL
), noted AS (
    INSERT INTO delivery_status (outbox_id, attempt, piece, status, at, error)
    SELECT id, coalesce(past, 0), of_piece, status, coalesce(at, clock_timestamp()), error FROM found
    ORDER BY id, of_piece, status, at
    ON CONFLICT DO NOTHING
), told AS (
    SELECT DISTINCT ON (g.id) g.* FROM found g ORDER BY g.id, {_FAILURE} DESC, g.piece DESC, g.rank DESC
), locked AS MATERIALIZED (
    SELECT id FROM outbox WHERE id IN (SELECT id FROM told) ORDER BY id FOR NO KEY UPDATE
), changed AS (
    UPDATE outbox o
    SET provider_message_id = CASE WHEN {_GOES_ON} THEN NULL WHEN {_CURRENT} THEN g.provider_message_id
                                   ELSE o.provider_message_id END,
        provider_status = CASE
            WHEN o.provider_status = ANY($6::text[]) THEN o.provider_status
            WHEN {_FAILURE} THEN g.status
            WHEN NOT ({_CURRENT} AND g.last) THEN o.provider_status
            WHEN o.provider_status IS NULL THEN g.status
            WHEN g.rank >= coalesce(array_position($7::text[], o.provider_status), 0) THEN g.status
            ELSE o.provider_status END,
        state = CASE WHEN {_FAILURE} THEN 'refused' WHEN {_GOES_ON} THEN 'pending'
                     WHEN {_SETTLES} THEN CASE WHEN o.doubt IS NULL THEN 'sent' ELSE 'unknown' END
                     ELSE o.state END,
        done_at = CASE WHEN {_GOES_ON} THEN NULL
                       WHEN {_FAILURE} OR {_SETTLES} THEN coalesce(o.done_at, clock_timestamp()) ELSE o.done_at END,
        error = CASE WHEN {_FAILURE} THEN g.error WHEN {_GOES_ON} THEN NULL WHEN {_SETTLES} THEN o.doubt
                     ELSE o.error END,
        not_before = CASE WHEN {_GOES_ON} THEN clock_timestamp() ELSE o.not_before END,
        piece = CASE WHEN {_GOES_ON} THEN o.piece + 1 ELSE o.piece END,
        earlier_ids = CASE WHEN {_GOES_ON} THEN o.earlier_ids || g.provider_message_id ELSE o.earlier_ids END
    FROM told g JOIN locked ON locked.id = g.id
    WHERE o.id = g.id
)
SELECT n FROM found
"""
"""What a provider says later, noted with its time. A status of an earlier piece changes nothing unless it is a failure,
which refuses the whole message; one of a piece we were unsure of settles that piece."""

State = Literal["sent", "refused", "unknown", "pending"]


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to put into the outbox. `dedup_key` is chosen before the first try; one key is one message."""

    conversation_id: UUID
    parts: tuple[Part, ...]
    kind: str
    dedup_key: str
    turn_id: int | None = None
    author: str | None = None
    """The member of staff who wrote it."""


async def post(connection: Any, messages: Sequence[NewMessage]) -> int:
    """Write messages and their outbox rows in the caller's transaction; returns how many were new.

    Recipients are the conversations' rooms. The conversations' rows are locked in id order until the caller
    commits, who then wakes "outbox".
    """
    if not messages:
        return 0
    if len(messages) > BULK:
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_hashjoin = on")
    keys: RoomKeys = connection.keys
    posted = 0
    new: int
    fresh: int
    for _ in range(EPOCHS_MAX):
        current = await keys.current(connection, [message.conversation_id for message in messages])
        told = [message for message in messages if message.conversation_id in current]
        new, fresh = await connection.fetchrow(
            POST,
            [message.conversation_id for message in told],
            [current[message.conversation_id].epoch for message in told],
            [
                seal(current[message.conversation_id], message.dedup_key, by_author(message.author), message.parts)
                for message in told
            ],
            [message.kind for message in told],
            [message.dedup_key for message in told],
            [message.turn_id for message in told],
            [message.author for message in told],
        )
        posted += new
        if new == fresh:
            return posted
        # Some rooms are in a new epoch. They are locked by now, so the next try finds them as they stay.
        for conversation_id in current:
            keys.forget(conversation_id)
    raise StoreUnavailable("The database is busy. Try again in a few seconds.")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed outbox row: what to send, and what is known of earlier attempts."""

    message: OutboundMessage
    kind: str
    sending_at: datetime
    asked: int
    now: datetime
    unreachable: bool = False
    """The provider has said that the room lets nothing in."""
    standing: Standing | None = None
    """Where its conversation stands, on channels with a 24-hour window."""
    held_seq: int | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it is too old to be of use; what was begun is finished, and what had to wait for the person is wanted
        however late they write."""
        if self.message.piece:
            return False
        limit = STALE_AFTER.get(self.kind)
        return self.held_seq is None and limit is not None and self.now - self.message.created_at > limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a send, or a question after one, ended. `wait_s` is when to look again; `final` that nobody will; `next` that
    this piece is done with and the next is to be sent."""

    outbox_id: int
    attempt: int
    state: State
    provider_message_id: str | None = None
    error: str | None = None
    wait_s: float = 0.0
    final: bool = True
    next: bool = False

    def going_on(self) -> "Outcome":
        """The same for a piece that another follows: pending again for that one. A doubt that stays is remembered."""
        doubt = self.error if self.state == "unknown" else None
        return replace(self, state="pending", error=doubt, wait_s=0.0, final=False, next=True)


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """What a provider later says of a message: found by our own reference, else by the provider's id.

    `piece` and `last` are part of our reference; without one they are not known, and an earlier piece is not found.
    """

    outbox_id: int | None
    provider_message_id: str
    status: str
    error: str | None = None
    piece: int = 0
    last: bool = True
    outside_window: bool = False
    """It failed for the 24-hour window's sake alone, so what becomes of it is decided again."""
    at: datetime | None = None
    """When it came so far, where the provider says."""

    @property
    def rank(self) -> int:
        """How far along it is; a failure beats everything, a word we do not know loses to everything."""
        if self.status in FAILED:
            return len(STATUS_ORDER) + 1
        return STATUS_ORDER.index(self.status) + 1 if self.status in STATUS_ORDER else 0


class Outbox:
    """Claims what is to be sent and settles how it went; one a process."""

    def __init__(self, db: Database, *, lease_s: float) -> None:
        """A row still `sending` after `lease_s` was left by a dead process; longer than any send may take."""
        self._db = db
        self._lease = timedelta(seconds=lease_s)
        self._settling: GroupCommit[Outcome, bool] = GroupCommit(self._commit, lanes=2)
        self._recording: GroupCommit[ProviderStatus, bool] = GroupCommit(self._record)

    async def claim(self, channel: ChannelName, limit: int) -> list[Delivery]:
        """Lease up to `limit` messages of a channel that are due and first in their conversations."""
        claimed = CLAIMED_WINDOWED if channel in WINDOWED else CLAIMED
        return await self._claim(CLAIM + claimed, channel, limit)

    async def claim_in_doubt(self, channel: ChannelName, limit: int) -> list[Delivery]:
        """Take up to `limit` messages whose outcome is unknown and should be asked after now."""
        return await self._claim(CLAIM_IN_DOUBT + CLAIMED, channel, limit)

    async def _claim(self, statement: str, channel: ChannelName, limit: int) -> list[Delivery]:
        """Claim, and open what is to be said. What has no words any more is neither sent nor asked after."""
        by_mail = channel is ChannelName.EMAIL
        async with self._db.pool.acquire() as connection:
            rows = await connection.fetch(statement, channel.value, limit, self._lease)
            if not rows:
                return []
            crashpoint.hit("outbox.sending")
            said = await opened_parts(self._db.keys, connection, rows)
            mailed = await mailboxes.addresses(connection, [row["room"] for row in rows]) if by_mail else {}
            filled = await self._filled(connection, rows)
        rooms = [mailed.get(row["room"]) if by_mail else row["room"] for row in rows]
        for row, parts, room in zip(rows, said, rooms, strict=True):
            if parts is None or room is None:
                state: State = "unknown" if row["asked"] else "refused"
                await self.settle(Outcome(row["id"], row["attempt"], state, error=ERASED))
        return [
            _delivery(channel, row, room, parts, filled.get(row["id"]))
            for row, parts, room in zip(rows, said, rooms, strict=True)
            if parts is not None and room is not None
        ]

    async def _filled(self, connection: Any, rows: Sequence[Any]) -> dict[int, dict[str, Any]]:
        """What stands in the templates of those that are sent by one, by their outbox ids."""
        used = [row for row in rows if row["template_words"] is not None]
        values = [(row["conversation_id"], as_template(row["id"]), row["template_words"]) for row in used]
        words = await self._db.keys.opened(connection, values) if used else []
        return {row["id"]: orjson.loads(json) for row, json in zip(used, words, strict=True) if json is not None}

    async def abandon(self) -> None:
        """Turn what dead processes were sending into unknown outcomes."""
        await self._db.pool.execute(ABANDONED, ABANDONED_MAX)

    async def settle(self, outcome: Outcome) -> bool:
        """Record an outcome; False when the row was claimed again meanwhile, and this outcome is worth nothing."""
        crashpoint.hit("outbox.accepted")
        return await self._settling.submit(outcome)

    async def _commit(self, outcomes: Sequence[Outcome]) -> list[bool]:
        crashpoint.hit("outbox.before_commit")
        rows = await self._db.pool.fetch(
            SETTLE,
            [outcome.outbox_id for outcome in outcomes],
            [outcome.attempt for outcome in outcomes],
            [outcome.state for outcome in outcomes],
            [outcome.provider_message_id for outcome in outcomes],
            [outcome.error for outcome in outcomes],
            [outcome.wait_s for outcome in outcomes],
            [outcome.final for outcome in outcomes],
            [outcome.next for outcome in outcomes],
        )
        crashpoint.hit("outbox.committed")
        settled = {row["id"] for row in rows}
        return [outcome.outbox_id in settled for outcome in outcomes]

    async def use_template(self, delivery: Delivery, use: TemplateUse | None) -> bool:
        """Write down by which template it is about to be sent, or that by none; False when this claim has ended."""
        message = delivery.message
        kept, words = None, None
        async with self._db.pool.acquire() as connection:
            if use is not None:
                kept = {"name": use.name, "language": use.language, "provider_ref": use.provider_ref}
                keys = await self._db.keys.current(connection, [message.conversation_id])
                filled = orjson.dumps({"variables": use.variables, "text": use.text})
                words = keys[message.conversation_id].seal(as_template(message.outbox_id), filled)
            return await connection.fetchval(USE_TEMPLATE, message.outbox_id, message.attempt, kept, words) is not None

    async def hold(self, delivery: Delivery, reason: str) -> None:
        """Keep a claimed message until the person writes; later ones of its conversation need not wait for it."""
        seq = delivery.standing.inbound_seq if delivery.standing else 0
        await self._db.pool.execute(HOLD, delivery.message.outbox_id, delivery.message.attempt, seq, reason)

    async def give_way(self, delivery: Delivery) -> None:
        """Let the held messages of a conversation whose person has written go before a claimed one, in their order."""
        seq = delivery.standing.inbound_seq if delivery.standing else 0
        message = delivery.message
        await self._db.pool.execute(GIVE_WAY, message.outbox_id, message.attempt, seq, message.conversation_id)

    async def release(self, after: UUID) -> UUID:
        """Let held messages go whose people have written since, also where no reply follows; where to look on from.

        Looks at RELEASE_MAX of them at a time, in the order of their conversations; UUID(int=0) begins again.
        """
        row = await self._db.pool.fetchrow(RELEASE, after, RELEASE_MAX, WINDOW)
        return row["last"] if row["looked"] == RELEASE_MAX else UUID(int=0)

    async def shut_out(
        self,
        outbox_id: int | None,
        *,
        attempt: int | None = None,
        provider_message_id: str | None = None,
        error: str,
    ) -> bool:
        """The provider would not send a message for the window's sake: it is decided upon again, as outside the window.

        Named by our reference, else by the provider's id; with an `attempt` only while that one lasts. If it went by a
        template, that template is not used again until the provider says it may be. False when there is no such
        message, or this try of it was known to have failed: of any number of such answers one has an effect. What
        arrived is not sent again, whatever is said later.
        """
        async with self._db.hot() as connection:
            row = await connection.fetchrow(REOPENED, outbox_id, provider_message_id, attempt)
            if row is None:
                return False
            if (used := row["template"]) is not None:
                names = row["channel"], row["account"], used["name"], used["language"]
                await connection.execute(BAD_TEMPLATE, *names, error)
            await connection.execute(REOPEN, row["id"], provider_message_id, error)
        return True

    async def record(self, status: ProviderStatus) -> bool:
        """Record what a provider says of a message; False when we know no such message.

        A status never moves back, and any status settles an outcome that is unknown, or still to come: a provider may
        tell it before it answers, and the answer may then be lost. Raises StoreUnavailable.
        """
        if status.outside_window:
            try:
                if await self.shut_out(
                    status.outbox_id, provider_message_id=status.provider_message_id, error=status.error or ""
                ):
                    return True
            except Exception as error:
                if not is_away(error):
                    raise
                raise StoreUnavailable("The database did not answer in time. Try again in a few seconds.") from error
        return await self._recording.submit(status)

    async def _record(self, statuses: Sequence[ProviderStatus]) -> list[bool]:
        rows = await self._db.pool.fetch(
            RECORD,
            [one.outbox_id for one in statuses],
            [one.provider_message_id for one in statuses],
            [one.status for one in statuses],
            [one.error for one in statuses],
            [one.rank for one in statuses],
            list(FAILED),
            list(STATUS_ORDER),
            [one.piece for one in statuses],
            [one.last for one in statuses],
            [one.at for one in statuses],
        )
        known = {row["n"] for row in rows}
        return [number in known for number in range(1, len(statuses) + 1)]

    async def provider_ids(self, message: OutboundMessage) -> Collection[str]:
        """Provider ids of the conversation's other messages and pieces, and of tries that failed.

        An answer to "did you send this?" must not name them.
        """
        rows = await self._db.pool.fetch(
            "SELECT CASE WHEN id <> $2 THEN provider_message_id END AS provider_message_id, earlier_ids FROM outbox"
            " WHERE conversation_id = $1 AND (id = $2 OR provider_message_id IS NOT NULL OR earlier_ids IS NOT NULL)"
            " ORDER BY id DESC LIMIT 1000",
            message.conversation_id,
            message.outbox_id,
        )
        ids = {one for row in rows for one in (row["provider_message_id"], *(row["earlier_ids"] or ()))}
        past = await self._db.pool.fetchval("SELECT past_ids FROM outbox WHERE id = $1", message.outbox_id)
        return (ids | set(past or ())) - {None}


def _delivery(
    channel: ChannelName, row: Any, room: str, parts: tuple[Part, ...], filled: Mapping[str, Any] | None
) -> Delivery:
    recipient = Address(channel, row["account"], room, room)
    message = OutboundMessage(
        row["id"],
        row["attempt"],
        recipient,
        row["conversation_id"],
        row["seq"],
        parts,
        row["created_at"],
        row["piece"],
        TemplateUse(**row["template"], **filled) if row["template"] is not None and filled is not None else None,
    )
    held_seq = row["held_seq"]
    standing = None
    if "inbound_seq" in row:
        standing = Standing(row["inbound_seq"], row["inbound_at"], held_seq, row["opted_out"], row["gives_way"])
    return Delivery(
        message, row["kind"], row["sending_at"], row["asked"], row["now"], row["unreachable"], standing, held_seq
    )
