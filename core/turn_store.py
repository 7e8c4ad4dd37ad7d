"""Turns in PostgreSQL: claimed under a lease and a fence (`attempt`), and closed many in one transaction.

Closing is fence, reply and outbox rows in one statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import structlog
from pydantic import JsonValue

from core import crashpoint, voice
from core.actions import Person
from core.db import Database
from core.dialog import DialogState
from core.dialog_store import DialogStore
from core.group_commit import GroupCommit
from core.limits import MESSAGES, Limits, Verdict, day_key, refusal, span_of
from core.mentions import is_shared, without_name
from core.messages import Address, ChannelName, InboundMessage, Part
from core.names import names_of
from core.outbox import COUNTED, WRITE
from core.sealed import BOT, COLUMNS, opened_parts, seal, seal_slots
from core.turn import ATTEMPTS_MAX, MESSAGES_MAX, Closing, Turn, speaking
from core.wake import Wakes

log = structlog.get_logger()

CLAIM = """
WITH head AS (
    SELECT t.id FROM turn t
    WHERE t.state IN ('waiting', 'open')
      AND CASE WHEN t.state = 'open' THEN t.lease_until < clock_timestamp()
          ELSE NOT EXISTS (SELECT FROM turn p WHERE p.conversation_id = t.conversation_id AND p.state = 'open') END
    ORDER BY t.id LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE turn t SET state = 'open', attempt = t.attempt + 1, lease_until = clock_timestamp() + $2
FROM head WHERE t.id = head.id
RETURNING t.id, t.attempt, set_config('synchronous_commit', 'off', true)
"""
"""A claim that a crash of PostgreSQL forgets is made again, so its commit need not wait for the disk; closing does."""

READ = f"""
SELECT t.id, t.attempt, c.channel, c.account, c.room, {COLUMNS}, m.reply_to, m.created_at,
       i.provider_id, i.display_name, p.id AS person_id, p.name, p.language,
       coalesce(p.timezone, p.zone_guess) AS timezone, p.plan, p.muted_until,
       p.language_chosen, p.currency
FROM unnest($1::bigint[]) AS g(id)
JOIN turn t USING (id)
JOIN conversation c ON c.id = t.conversation_id
JOIN LATERAL (SELECT * FROM message m
              WHERE m.conversation_id = t.conversation_id AND m.seq >= t.first_seq AND m.turn_id = t.id
                AND m.event_id IS NOT NULL
              ORDER BY m.seq DESC LIMIT $2) m ON true
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = i.person_id
ORDER BY t.id, m.seq
"""

RENEW = """
UPDATE turn t SET lease_until = clock_timestamp() + $3
FROM unnest($1::bigint[], $2::int[]) AS g(id, attempt)
WHERE t.id = g.id AND t.attempt = g.attempt
  AND t.id IN (SELECT id FROM turn WHERE id = ANY($1::bigint[]) AND state = 'open' FOR UPDATE SKIP LOCKED)
"""

GIVE_BACK = """
UPDATE turn SET lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND state = 'open'
"""

SPEAK = """
UPDATE person p SET language = g.language
FROM unnest($1::uuid[], $2::text[]) AS g(id, language)
WHERE p.id = g.id AND NOT p.language_chosen AND p.erasure_id IS NULL
  AND p.id IN (SELECT id FROM person WHERE id = ANY($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)
"""
"""What people last wrote in, for what is said to them next; of few turns in a hundred. Nobody waits for a person's row:
the next message tells again."""

CLOSE = f"""
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::int[],
                         $7::bytea[], $8::bytea[], $9::text[])
        AS g(id, attempt, conversation_id, state, intent, epoch, sealed, slots, reply_to)
), first AS MATERIALIZED (
    SELECT id, epoch FROM conversation WHERE id IN (SELECT conversation_id FROM given) ORDER BY id FOR NO KEY UPDATE
), closed AS (
    UPDATE turn t SET state = g.state, intent = g.intent::jsonb, slots = g.slots, closed_at = clock_timestamp(),
        lease_until = NULL
    FROM given g JOIN first ON first.id = g.conversation_id
    WHERE t.id = g.id AND t.attempt = g.attempt AND t.state IS NOT DISTINCT FROM 'open'
      AND first.epoch = coalesce(g.epoch, first.epoch)
    RETURNING t.id, t.conversation_id, g.epoch, g.sealed, g.reply_to
), fresh AS (
    SELECT conversation_id, epoch, sealed, 'reply' AS kind, 'turn:' || id AS dedup_key, id AS turn_id,
           NULL::text AS author, reply_to, id AS n
    FROM closed WHERE sealed IS NOT NULL
), {COUNTED}, {WRITE}
SELECT id FROM closed
"""
"""One statement, hence one transaction: the fence, then replies and outbox rows of the turns that passed it. A turn
whose reply was sealed in an epoch that is over stays open.

Conversations are locked before anything else, in id order, as the inbox does it.
"""


class Turns:
    """Claims and closes turns; one a process."""

    def __init__(
        self,
        db: Database,
        wakes: Wakes,
        dialogs: DialogStore,
        limits: Limits,
        *,
        lease_s: float,
        zone: str,
        patience_s: float = 60.0,
    ) -> None:
        """`zone` is the IANA zone of people who have stated none; voice notes are waited for `patience_s` at most."""
        self._patience = timedelta(seconds=patience_s)
        self._db = db
        self._limits = limits
        self._zone = zone
        self._lease = timedelta(seconds=lease_s)
        self._wakes = wakes
        self._dialogs = dialogs
        self._closing: GroupCommit[Closing, bool] = GroupCommit(self._commit, lanes=2)

    async def claim(self, limit: int) -> list[Turn]:
        """Lease up to `limit` turns that are first in their conversations, with their messages and dialog states."""
        claimed = await self._db.pool.fetch(CLAIM, limit, self._lease)
        if not claimed:
            return []
        crashpoint.hit("turn.claimed")
        # A second statement, hence a later snapshot: a message that joined a turn just before it was claimed is seen.
        async with self._db.pool.acquire() as connection:
            rows = await connection.fetch(READ, [row["id"] for row in claimed], MESSAGES_MAX)
            said = await opened_parts(self._db.keys, connection, rows)
            names = await names_of(connection)
        rows = [row | {name: names.open(row[name]) for name in ("name", "display_name")} for row in map(dict, rows)]
        grouped: dict[int, list[Read]] = {}
        for read in zip(rows, said, strict=True):
            grouped.setdefault(read[0]["id"], []).append(read)
        now = datetime.now(UTC)
        turns = [_turn(group, now) for group in grouped.values()]
        counts = [
            # A turn that is tried again was counted when it was first.
            (
                day_key(MESSAGES, turn.person.id, now, ZoneInfo(turn.person.timezone or self._zone)),
                turn.written if turn.attempt == 1 and turn.held is None else 0,
            )
            for turn in turns
        ]
        speakers = [(turn.conversation_id, person.id) for turn in turns for person in (turn.person, *turn.people)]
        loaded, counted = await self._dialogs.load(speakers, self._limits, counts)
        states = dict(zip(speakers, loaded, strict=True))
        found = [
            _with_states(self._within(turn, used, group), states)
            for turn, used, group in zip(turns, counted, grouped.values(), strict=True)
        ]
        if any(map(_waits, found)):
            found = [heard for turn in found if (heard := await self._hear(turn)) is not None]
        return found

    async def _hear(self, turn: Turn) -> Turn | None:
        """The turn with what became of its voice notes; None where it waits for the words of one."""
        if not _waits(turn):
            return turn
        why = await voice.park(self._db, turn.conversation_id, turn.id, turn.attempt, turn.messages, self._patience)
        if why is None:
            # Fewer turns were claimed than there was room for, but not because no more are waiting.
            self._wakes.wake("turn")
            return None
        return replace(turn, unheard=why)

    def _within(self, turn: Turn, used: int, read: "Sequence[Read]") -> Turn:
        """The turn as far as its person's messages of the day allow; `used` is their number, its own included.

        They are told in the turn that goes over, and only there. What others wrote in the room is answered all the
        same.
        """
        allowed = self._limits.allowed(MESSAGES, turn.person.plan)
        if used <= allowed or turn.held is not None:
            return turn
        before = used - turn.written
        zone = ZoneInfo(turn.person.timezone or self._zone)
        verdict = Verdict(MESSAGES, allowed, span_of("day", turn.now, zone).ends_at, passed=False)
        notice = None
        if before <= allowed:
            notice = refusal(verdict, turn.now, zone).to(speaking(turn.person, turn.text).language)
        others = [one for one in read if one[0]["person_id"] != turn.person.id]
        if others:
            return replace(_turn(others, turn.now), notice=notice)
        left = max(0, allowed - before)
        if left:
            return replace(turn, messages=turn.messages[:left], notice=notice)
        log.info("turn.over_quota", turn_id=turn.id)
        return replace(turn, held="quota", notice=notice)

    async def renew(self, turns: Sequence[Turn]) -> None:
        """Extend the leases of turns still being answered."""
        await self._db.pool.execute(RENEW, [turn.id for turn in turns], [turn.attempt for turn in turns], self._lease)

    async def give_back(self, turn: Turn, wait_s: float) -> None:
        """Let a turn that failed be claimed again after `wait_s`."""
        await self._db.pool.execute(GIVE_BACK, turn.id, turn.attempt, wait_s)

    async def close(self, closing: Closing) -> bool:
        """Close a turn with its reply; False when somebody else claimed it meanwhile: this work is thrown away."""
        return await self._closing.submit(closing)

    async def _commit(self, closings: Sequence[Closing]) -> list[bool]:
        async with self._db.pool.acquire() as connection:
            crashpoint.hit("turn.before_commit")
            languages = {id_: language for closing in closings for id_, language in closing.languages.items()}
            if languages:
                # Before COMMIT, and by itself: the turn that is claimed next finds it.
                await connection.execute(SPEAK, list(languages), list(languages.values()))
            closed = await self._close(connection, closings)
            crashpoint.hit("turn.committed")
            left = [one for one in closings if one.reply is not None and one.turn.id not in closed]
            if left:
                # They are somebody else's by now, or their reply was sealed with a key that is no longer the newest.
                for one in left:
                    self._db.keys.forget(one.turn.conversation_id)
                closed |= await self._close(connection, left)
        # Only after COMMIT: a turn that is answered again must find the state it was first answered in.
        await self._dialogs.save(
            {
                (closing.turn.conversation_id, person_id): state
                for closing in closings
                if closing.turn.id in closed
                for person_id, state in ((closing.turn.person.id, closing.state), *closing.others.items())
                if not state.is_as(
                    closing.turn.state if person_id == closing.turn.person.id else closing.turn.others[person_id]
                )
            }
        )
        self._wakes.wake("outbox")
        self._wakes.wake("turn")
        return [closing.turn.id in closed for closing in closings]

    async def _close(self, connection: Any, closings: Sequence[Closing]) -> set[int]:
        """Seal the replies and close; the ids of the turns that were."""
        keys = await self._db.keys.current(connection, [closing.turn.conversation_id for closing in closings])
        # A conversation without a key has been erased, and its turns with it.
        closings = [closing for closing in closings if closing.turn.conversation_id in keys]
        turns = [closing.turn for closing in closings]
        replies = [closing.reply for closing in closings]
        rows = await connection.fetch(
            CLOSE,
            [turn.id for turn in turns],
            [turn.attempt for turn in turns],
            [turn.conversation_id for turn in turns],
            ["dead" if turn.attempt > ATTEMPTS_MAX else "done" for turn in turns],
            [orjson.dumps({"messages": [_bare(one) for one in closing.understood]}).decode() for closing in closings],
            [reply and keys[turn.conversation_id].epoch for turn, reply in zip(turns, replies, strict=True)],
            [
                reply and seal(keys[turn.conversation_id], f"turn:{turn.id}", BOT, reply.parts)
                for turn, reply in zip(turns, replies, strict=True)
            ],
            [seal_slots(keys[one.turn.conversation_id], one.turn.id, one.understood) for one in closings],
            [_thread(turn) for turn in turns],
        )
        return {row["id"] for row in rows}


def _thread(turn: Turn) -> str | None:
    """What the reply answers where others are in the room: who asks within a thread is answered in it."""
    return turn.messages[-1].reply_to if is_shared(turn.address.room) else None


def _bare(understood: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What was understood, without the values, which are words of people."""
    return {name: value for name, value in understood.items() if name != "slots"}


Read = tuple[Any, tuple[Part, ...] | None]
"""A row of READ, and what it says; None where that was deleted, or is not to be read any more."""


def _waits(turn: Turn) -> bool:
    """Whether an answer would have to wait for the words of a voice note."""
    return turn.held is None and any(map(voice.wordless, turn.messages))


def _with_states(turn: Turn, states: Mapping[tuple[UUID, UUID], DialogState]) -> Turn:
    others = {one.id: states[turn.conversation_id, one.id] for one in turn.people if one.id != turn.person.id}
    return replace(turn, state=states[turn.conversation_id, turn.person.id], others=others)


def _turn(read: Sequence[Read], now: datetime) -> Turn:
    """One turn from its joined rows, one a message, oldest first; what muted people wrote is left out of it."""
    heard = [one for one in read if one[0]["muted_until"] is None or one[0]["muted_until"] <= now]
    read, muted = (heard, False) if heard else (read, True)
    rows = [row for row, _ in read]
    last = rows[-1]
    channel = ChannelName(last["channel"])
    messages = tuple(
        InboundMessage(
            Address(channel, row["account"], row["room"], row["provider_id"]),
            row["event_id"],
            _heard(row["room"], parts or ()),
            row["created_at"],
            row["display_name"],
            None,
            row["reply_to"],
        )
        for row, parts in read
    )
    people = tuple(map(_person, rows))
    return Turn(
        last["id"],
        last["attempt"],
        last["conversation_id"],
        messages[-1].sender,
        people[-1],
        messages,
        DialogState(),
        now,
        people if len(rows) > 1 and len({one.id for one in people}) > 1 else (),
        deleted=frozenset(number for number, (_, parts) in enumerate(read, 1) if parts is None),
        written=sum(row["person_id"] == last["person_id"] for row in rows),
        held="muted" if muted else None,
    )


def _heard(room: str, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What was said to the bot; where others are in the room, without the name that called it."""
    return without_name(parts) if is_shared(room) else parts


def _person(row: Any) -> Person:
    return Person(
        row["person_id"],
        row["name"],
        row["language"],
        row["timezone"],
        row["plan"],
        row["language_chosen"],
        row["currency"],
    )
