"""Hand-off in PostgreSQL: every change in one transaction, under the conversation's row lock, with its audit row.

The rules are in `core/handoff.py`. The conversation's row is locked before anything else, as the inbox and the closing
of turns do it; turns are then changed in one statement, so that one claimed a moment earlier is halted, not missed.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from core.brain.understand import asks_for_bot
from core.db import Database
from core.handoff import LINES, Change, Event, Handoff, Limits, Mode, Spoke, TimeRanOut, WentBack, change
from core.language import heard, spoken
from core.messages import Part, Reply, text_of
from core.outbox import NewMessage, post
from core.sealed import COLUMNS, opened_parts
from core.settings import Settings
from core.wake import Wakes

log = structlog.get_logger()

OVER_MAX = 100
"""How many leases that ended one look takes care of."""
HELD_MAX = 1_000
"""In how many conversations, those that end first, one look listens for "back to the bot"."""
HEARD_MAX = 100
"""How many messages of one conversation one look reads."""

LOCK = """
SELECT mode, holder, held_until, clock_timestamp() AS now FROM conversation WHERE id = $1 FOR NO KEY UPDATE
"""

CHANGE = "UPDATE conversation SET mode = $2, holder = $3, held_until = $4 WHERE id = $1"

MOVE_TURNS = """
UPDATE turn t
SET state = g.after,
    attempt = t.attempt + (t.state = 'open')::int,
    lease_until = CASE g.after WHEN 'open' THEN clock_timestamp() - interval '1 second' END,
    closed_at = CASE g.after WHEN 'done' THEN clock_timestamp() END,
    intent = CASE g.after WHEN 'done' THEN jsonb_build_object('handoff', $4::text) ELSE t.intent END
FROM unnest($2::text[], $3::text[]) AS g(before, after)
WHERE t.conversation_id = $1 AND t.state IN ('waiting', 'open', 'held', 'halted') AND t.state = g.before
"""
"""The new attempt is the fence: whoever was answering an open turn finds that it closes nothing any more."""

RECORD = "INSERT INTO audit (actor, verb, subject, detail) VALUES ($1, $2, $3, $4)"

LAST_WORDS = f"""
SELECT {COLUMNS}, p.language, p.language_chosen FROM message m
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = i.person_id
WHERE m.conversation_id = $1 AND m.direction = 'in' ORDER BY m.seq DESC LIMIT 1
"""

OVER = """
SELECT id FROM conversation WHERE mode <> 'bot' AND held_until <= clock_timestamp() ORDER BY held_until LIMIT $1
"""

HELD = "SELECT id, next_seq FROM conversation WHERE mode <> 'bot' ORDER BY held_until LIMIT $1"

UNHEARD = f"""
SELECT m.seq, {COLUMNS}
FROM unnest($1::uuid[], $2::bigint[]) AS g(conversation_id, heard)
CROSS JOIN LATERAL (SELECT m.* FROM message m
                    WHERE m.conversation_id = g.conversation_id AND m.seq > g.heard
                    ORDER BY m.seq DESC LIMIT $3) m
JOIN turn t ON t.id = m.turn_id
WHERE m.direction = 'in' AND t.state = 'held'
ORDER BY m.seq
"""

FINISH_ALONE = """
WITH asked AS (
    SELECT m.id, t.id AS turn_id FROM message m JOIN turn t ON t.id = m.turn_id
    WHERE m.conversation_id = $1 AND m.seq = $2 AND t.state = 'held'
), own AS (
    INSERT INTO turn (conversation_id, first_seq, state, closed_at, intent)
    SELECT $1, $2, 'done', clock_timestamp(), '{"messages": [{"action": "back_to_bot"}]}' FROM asked
    RETURNING id
)
UPDATE message m SET turn_id = own.id FROM own, asked WHERE m.id = asked.id RETURNING asked.turn_id
"""

FINISH_EMPTY = """
UPDATE turn t SET state = 'done', closed_at = clock_timestamp()
WHERE t.id = $1 AND NOT EXISTS (SELECT FROM message m WHERE m.conversation_id = t.conversation_id
                                AND m.seq >= t.first_seq AND m.turn_id = t.id)
"""


class Handoffs:
    """Changes who has the word; one a process."""

    def __init__(self, db: Database, wakes: Wakes, settings: Settings) -> None:
        """The limits are the settings' own."""
        self._db = db
        self._wakes = wakes
        self._limits = Limits(timedelta(seconds=settings.handoff_idle_s), timedelta(seconds=settings.handoff_wait_s))
        self._heard: dict[UUID, int] = {}
        """Up to which message each conversation was listened to; a process that forgets it listens again."""

    async def apply(self, conversation_id: UUID, event: Event, actor: str) -> Handoff:
        """Apply one event; how the conversation stands after it. `actor` is for the audit ("staff:owner", "person").

        Raises LookupError for a conversation that is not there, NotYours for one in other hands.
        """
        async with self._db.hot() as connection:
            before, found = await self._find(connection, conversation_id, event)
            if found is None:
                return before
            await self._change(connection, conversation_id, before, found, actor)
        self._wake(found)
        return found.after

    async def say(self, conversation_id: UUID, staff: str, parts: tuple[Part, ...], nonce: str) -> bool:
        """Send a person a message of a member of staff, who takes the conversation over by that; False when it was
        sent before, under the same `nonce`.

        Everything that was said before it is answered by it. Raises LookupError.
        """
        async with self._db.hot() as connection:
            before, found = await self._find(connection, conversation_id, Spoke(staff))
            key = f"staff:{conversation_id}:{nonce}"
            if found is None or await connection.fetchval("SELECT true FROM outbox WHERE dedup_key = $1", key):
                return False
            await self._change(connection, conversation_id, before, found, f"staff:{staff}")
            await post(connection, [NewMessage(conversation_id, parts, "staff", key, author=staff)])
            seq = await connection.fetchval("SELECT next_seq - 1 FROM conversation WHERE id = $1", conversation_id)
            subject = f"conversation:{conversation_id}"
            await connection.execute(RECORD, f"staff:{staff}", "handoff.said", subject, {"seq": seq})
            await self._wakes.notify(connection, "outbox")
        self._wakes.wake("outbox")
        return True

    async def go_back(self, conversation_id: UUID, seq: int) -> bool:
        """The person's message `seq` asks for the bot again; False when that was dealt with meanwhile.

        The closing line answers that message, which therefore gets a turn of its own, finished at once.
        """
        async with self._db.hot() as connection:
            before, found = await self._find(connection, conversation_id, WentBack())
            if found is None:
                return False
            turn_id = await connection.fetchval(FINISH_ALONE, conversation_id, seq)
            if turn_id is None:
                return False
            await connection.execute(FINISH_EMPTY, turn_id)
            await self._change(connection, conversation_id, before, found, "person")
        self._wake(found)
        return True

    async def look(self) -> None:
        """End leases that ran out, and hear who asks for the bot again. Any number of processes may look at once."""
        for row in await self._db.pool.fetch(OVER, OVER_MAX):
            await self.apply(row["id"], TimeRanOut(), "clock")
        rows = await self._db.pool.fetch(HELD, HELD_MAX)
        self._heard = {row["id"]: self._heard.get(row["id"], 0) for row in rows}
        news = {row["id"]: row["next_seq"] - 1 for row in rows if row["next_seq"] - 1 > self._heard[row["id"]]}
        if not news:
            return
        heard = [self._heard[conversation_id] for conversation_id in news]
        async with self._db.pool.acquire() as connection:
            unheard = await connection.fetch(UNHEARD, list(news), heard, HEARD_MAX)
            said = await opened_parts(self._db.keys, connection, unheard)
        for row, parts in zip(unheard, said, strict=True):
            if asks_for_bot(text_of(parts or ())):
                await self.go_back(row["conversation_id"], row["seq"])
        self._heard |= news

    async def language(self, conversation_id: UUID) -> str:
        """The language to speak: that of what the person wrote last, "en" or "sw", unless they chose one."""
        async with self._db.hot() as connection:
            return await self._language(connection, conversation_id)

    async def _find(self, connection: Any, conversation_id: UUID, event: Event) -> tuple[Handoff, Change | None]:
        """Lock the conversation; how it stands, and what the event changes."""
        row = await connection.fetchrow(LOCK, conversation_id)
        if row is None:
            raise LookupError("There is no such conversation.")
        before = Handoff(Mode(row["mode"]), row["holder"], row["held_until"])
        return before, change(before, event, row["now"], self._limits)

    async def _change(self, connection: Any, conversation_id: UUID, before: Handoff, found: Change, actor: str) -> None:
        after = found.after
        await connection.execute(CHANGE, conversation_id, after.mode.value, after.holder, after.until)
        if found.turns:
            old, new = zip(*found.turns, strict=True)
            why = found.verb or "handoff.said"
            await connection.execute(MOVE_TURNS, conversation_id, list(old), list(new), why)
        if found.line is not None:
            language = await self._language(connection, conversation_id)
            # Under the lock, and of a number that is never used again: a second line would need a second change.
            seq = await connection.fetchval("SELECT next_seq FROM conversation WHERE id = $1", conversation_id)
            reply = Reply.of(LINES[found.line][language])
            await post(
                connection, [NewMessage(conversation_id, reply.parts, "handoff", f"handoff:{conversation_id}:{seq}")]
            )
        if found.verb is not None:
            detail = {"from": before.holder or before.mode.value, "to": after.holder or after.mode.value}
            await connection.execute(RECORD, actor, found.verb, f"conversation:{conversation_id}", detail)
            log.info(found.verb, conversation_id=str(conversation_id), mode=after.mode)
        if found.turns or found.line is not None:
            await self._wakes.notify(connection, "outbox")
            await self._wakes.notify(connection, "turn")

    async def _language(self, connection: Any, conversation_id: UUID) -> str:
        """The language to speak to whoever wrote last."""
        row = await connection.fetchrow(LAST_WORDS, conversation_id)
        if row is None:
            return "en"
        [parts] = await opened_parts(self._db.keys, connection, [row])
        told = None if row["language_chosen"] else heard(text_of(parts or ()))
        return told or spoken(row["language"])

    def _wake(self, found: Change) -> None:
        if found.line is not None:
            self._wakes.wake("outbox")
        self._wakes.wake("turn")
