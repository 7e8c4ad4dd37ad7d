"""Summaries of chats: written anew by a loop of its own, a chat at a time, late rather than in anybody's way."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from connectors import CONNECTORS
from core import people, receipts, summary
from core.actions import Action, Effect
from core.db import Database, driver
from core.errors import Erased
from core.models import Receipt
from core.receipts import call_key
from core.sealed import as_slots, with_slots
from core.summary import WHAT_CHARS_MAX, Item, State, Summary
from jobs.sweeps import Outage

LOOK_S = 5.0
LOOKED_THROUGH_MAX = 2_000
"""Turns that one look goes through."""
SETTLED_S = 2.0
"""Turns younger than that are left to the next look: their numbers may still come out of order."""
WRITTEN_MAX = 20
"""Summaries written in one look; others wait for the next."""
TURNS_MAX = 40
"""Turns that one summary goes back at most."""
UNTOLD: Final = frozenset(
    {
        "my_profile", "remember_fact", "list_facts", "change_fact", "forget_fact", "forget_everything", "undo",
        "forget_conversation", "set_name", "forget_name", "save_contact", "list_contacts", "forget_contact",
        "set_email", "confirm_email", "link_account", "unlink_account", "erase_my_data", "check_quotas",
        "set_language", "set_timezone",
    }
)  # fmt: skip
"""What has a place of its own, where it is forgotten, or is about remembering itself."""
SKILLS: Final = {
    action.name: (action, connector.title)
    for connector in CONNECTORS
    for action in connector.actions
    if action.name not in UNTOLD
}
TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2})(?::[0-9]{2})?")

NOTE = """
WITH looked AS (
    SELECT id, conversation_id FROM turn
    WHERE id > $1 AND created_at < clock_timestamp() - make_interval(secs => $3) ORDER BY id LIMIT $2
), chats AS (
    SELECT c.id, c.next_seq, i.person_id FROM (SELECT DISTINCT conversation_id AS id FROM looked) g
    CROSS JOIN LATERAL (SELECT * FROM conversation c WHERE c.id = g.id AND c.erasure_id IS NULL OFFSET 0) c
    CROSS JOIN LATERAL (SELECT person_id FROM identity i
                        WHERE (i.channel, i.account, i.provider_id) = (c.channel, c.account, c.room) OFFSET 0) i
), noted AS (
    INSERT INTO summary AS s (conversation_id, person_id, due)
    SELECT id, person_id, next_seq > $4 FROM chats ORDER BY id
    ON CONFLICT (conversation_id) DO UPDATE
    SET due = s.due OR (SELECT next_seq FROM chats WHERE chats.id = s.conversation_id) - s.told_seq > $4
    WHERE NOT s.due
)
SELECT max(id) FROM looked
"""
"""Marks the private chats that were written in since the turn $1, where there are $4 messages that are not told."""
DUE = "SELECT conversation_id, person_id, sealed, told_seq FROM summary WHERE due LIMIT 1 FOR UPDATE SKIP LOCKED"
TURNS = """
SELECT t.id, t.intent, t.slots, t.created_at, g.last_seq FROM (
    SELECT turn_id, max(seq) AS last_seq FROM message
    WHERE conversation_id = $1 AND seq > $2 AND turn_id IS NOT NULL GROUP BY turn_id
    ORDER BY turn_id DESC LIMIT $3) g
JOIN turn t ON t.id = g.turn_id AND t.conversation_id = $1
WHERE t.state = 'done' ORDER BY t.id
"""


async def sweep_summaries(db: Database) -> None:
    """Renew the summaries of chats in which enough was said, until cancelled."""
    outage = Outage("summaries")
    after: int | None = None
    while True:
        try:
            if after is None:
                after = await db.pool.fetchval("SELECT coalesce(max(id), 0) FROM turn") or 0
                after = max(0, after - LOOKED_THROUGH_MAX)
            after = await note(db, after)
            for _ in range(WRITTEN_MAX):
                if not await renew(db):
                    break
            outage.over()
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(LOOK_S)


async def note(db: Database, after: int, settled_s: float = SETTLED_S) -> int:
    """Mark the chats that were written in since the turn `after`, which is an id; up to which turn that was."""
    looked = await db.pool.fetchval(NOTE, after, LOOKED_THROUGH_MAX, settled_s, summary.RENEW_MESSAGES)
    return after if looked is None else int(looked)


async def renew(db: Database) -> bool:
    """Write one summary that is due; False where none is."""
    async with db.transaction() as session:
        connection = await driver(session)
        row = await connection.fetchrow(DUE)
        if row is None:
            return False
        room = row["conversation_id"]
        turns = await connection.fetch(TURNS, room, row["told_seq"], TURNS_MAX)
        before = await summary.opened(connection, room, row["sealed"])
        items = await _items(session, connection, room, turns)
        told_seq = max((turn["last_seq"] for turn in turns), default=row["told_seq"])
        try:
            await summary.write(connection, room, summary.added(before or Summary(()), items), told_seq)
        except (Erased, LookupError):
            await connection.execute("DELETE FROM summary WHERE conversation_id = $1", room)
    return True


async def _items(session: AsyncSession, connection: Any, room: UUID, turns: Sequence[Any]) -> list[Item]:
    """What these turns of a chat were about, in their order."""
    values = await connection.keys.opened(connection, [(room, as_slots(turn["id"]), turn["slots"]) for turn in turns])
    calls = []
    for turn, slots in zip(turns, values, strict=True):
        intent = with_slots(turn["intent"], slots) or {"messages": ()}
        for number, meant in enumerate(intent["messages"], 1):
            for step, one in enumerate((meant, *meant.get("then", ()))):
                if one.get("action") in SKILLS:
                    calls.append((call_key(turn["id"], number, step), one, turn["created_at"]))
    found = await session.scalars(select(Receipt).where(Receipt.key.in_([key for key, _, _ in calls])))
    known = {receipt.key: receipt for receipt in found}
    items = []
    for key, one, at in calls:
        action, title = SKILLS[one["action"]]
        receipt, given, state = known.get(key), one.get("slots") or {}, _state(action, one)
        if receipt is not None:
            given = await receipts.opened(session, receipt, "params") or given
            state = "done" if receipt.state == "done" else "failed"
        items.append(Item(at.isoformat(), action.name, (title.en, title.sw), _what(action, given), state))
    return items


def _state(action: Action[Any], one: Mapping[str, Any]) -> State:
    """Of a request that no receipt tells of: looked up where all that it needed was there, else left open."""
    slots = one.get("slots") or {}
    return "told" if action.effect is Effect.READ and set(action.required) <= set(slots) else "open"


def _what(action: Action[Any], given: Mapping[str, Any]) -> str:
    """The values that a person gave, in the order of asking, without what goes without saying."""
    words = []
    for name in action.slots:
        value = given.get(name)
        if name in action.secrets or value in (None, "", action.params.model_fields[name].default):
            continue
        words.append(TIME.sub(r"\1 \2", people.one_line(str(value))))
    return ", ".join(words)[:WHAT_CHARS_MAX]
