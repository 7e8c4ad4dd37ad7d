"""Changes to what was said: edits, deletions and reactions, stored once under the provider's own event id, for ever.

A change is applied in one transaction under its conversation's row lock. Of several the provider's order counts, not
the order of arrival: the newest edit stands, a deletion is final. The words a change brings are kept nowhere but in the
message itself, so that deleting it takes them all away.

Whoever edits what was answered a moment ago is answered anew, where nothing was done for it and nothing was said since;
else they are told that the answer stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from core import fetching, summary
from core.db import Database
from core.files import GONE, files_of
from core.language import Saying
from core.messages import Address, ChannelName, Part, Text, text_of
from core.outbox import NewMessage, post
from core.receipts import CALLS_MAX, call_key
from core.sealed import COLUMNS, by_identity, opened_parts, seal

log = structlog.get_logger()

LOOK_BACK_MAX = 5_000
"""How many of a conversation's newest messages are searched for the one that changed; providers allow some days."""
EMOJI_MAX = 16
"""How many reactions of one person under one message are kept."""
BEGUN_MAX = 3
"""A turn that was begun this often is answered as it is, so that editing without end cannot exhaust its attempts."""
EDITED_WITHIN = timedelta(minutes=15)
"""So long after the answer an edit is more than a correction of the record."""
ANSWER_SHOWN_CHARS = 120
"""How much of the answer that stands is told."""
STANDS = Saying(
    "You changed that after I had answered: “{answer}” That stands. Send it as a new message to have it done as it says"
    " now.",
    "Umebadilisha hilo baada ya mimi kujibu: “{answer}” Hilo linabaki. Litume kama ujumbe mpya ili lifanyike"
    " lilivyo sasa.",
)
REACTIONS = ("👍", "❤️", "😂", "😮", "😢", "🙏")
"""What may be put under any message of the web; besides these, what somebody put there."""
CALLING_MAX = 100
"""How many messages of a turn have actions: as many as it reads."""

Kind = Literal["edit", "delete", "reaction"]
State = Literal["applied", "overtaken", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change by `author`, in `author.room`. `parts` are what an edit leaves, `emoji` what a reaction leaves.

    Where a reaction is a `step`, its `emoji` is put beside what the person put there before, or taken back; then the
    order of arrival counts, and the message is known by its number `seq`.

    `target` is the event id of the message; where a provider numbers events and messages apart, a colon and the
    message's own id, in which its event id ends. `sent_at` is by the provider's clock.
    """

    author: Address
    event_id: str
    kind: Kind
    target: str
    sent_at: datetime
    parts: tuple[Part, ...] = ()
    emoji: tuple[str, ...] = ()
    step: Literal["add", "take"] | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a change. `new` is False for an event id seen before, `seq` the number of the message it named.

    overtaken: a later change of the provider's was here first, or it was so already. refused: not the author's, or no
    reaction for this message. unknown: no such message.
    """

    state: State
    new: bool
    seq: int | None = None


FIND_CONVERSATION = """
SELECT id FROM conversation WHERE channel = $1 AND account = $2 AND room = $3 FOR NO KEY UPDATE
"""

STORE = """
INSERT INTO change (channel, account, event_id, kind, conversation_id, identity_id, sent_at)
SELECT $1, $2, $3, $4, $5,
       (SELECT id FROM identity WHERE channel = $1 AND account = $2 AND provider_id = $6), $7
ON CONFLICT (channel, account, event_id) DO NOTHING
RETURNING id, identity_id
"""

FIND_INBOUND = f"""
SELECT m.id, m.seq, m.turn_id, m.deleted_at, {COLUMNS}
FROM (SELECT * FROM message WHERE conversation_id = $1 ORDER BY seq DESC LIMIT $3) m
WHERE m.direction = 'in'
  AND (m.event_id = $2 OR ($2 LIKE ':%' AND right(m.event_id, length($2)) = $2))
ORDER BY m.seq DESC LIMIT 1
"""

FIND_OUTBOUND = """
SELECT m.id, m.seq, m.identity_id, m.turn_id, m.deleted_at
FROM outbox o JOIN message m ON m.id = o.id
WHERE o.provider_message_id = ltrim($2, ':') AND o.conversation_id = $1
ORDER BY m.seq DESC LIMIT 1
"""

FIND_NUMBERED = """
SELECT m.id, m.seq, m.identity_id, m.turn_id, m.deleted_at FROM message m WHERE m.conversation_id = $1 AND m.seq = $2
"""

OVERTAKEN = """
SELECT EXISTS (SELECT FROM change
               WHERE message_id = $1 AND kind = $2 AND state IN ('applied', 'overtaken')
                 AND ($2 <> 'reaction' OR identity_id = $3)
                 AND (sent_at > $4::timestamptz
                      OR sent_at = $4::timestamptz AND $5::text ~ '^[0-9]+$'
                         AND (length(event_id), event_id) > (length($5::text), $5::text)))
"""
"""Within one second event ids that are numbers say which was later; else the order of arrival does."""

ANSWER_AGAIN = """
UPDATE turn SET attempt = attempt + 1, lease_until = clock_timestamp()
WHERE id = $1 AND state = 'open' AND attempt < $2
  AND NOT EXISTS (SELECT FROM receipt r WHERE r.key = ANY($3::text[]))
"""
"""Whoever is answering the turn is fenced off, and it is claimed anew; unless an action of it has begun already, whose
result the person must be told."""


ANSWERED = """
SELECT c.mode, p.language,
       EXISTS (SELECT FROM message l
               WHERE l.conversation_id = m.conversation_id AND l.seq > m.seq AND l.direction = 'in') AS is_past,
       EXISTS (SELECT FROM receipt r WHERE r.key = ANY($3::text[])) AS was_done,
       (SELECT count(*) FROM change h WHERE h.message_id = m.id AND h.kind = 'edit' AND h.state = 'applied') AS edits
FROM message m
JOIN turn t ON t.id = m.turn_id
JOIN conversation c ON c.id = m.conversation_id
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = i.person_id
WHERE m.id = $1 AND t.state = 'done' AND t.closed_at > clock_timestamp() - $2::interval
"""
ITS_ANSWER = f"""
SELECT {COLUMNS} FROM message m
WHERE m.conversation_id = $1 AND m.seq > $2 AND m.turn_id = $3 AND m.direction = 'out' ORDER BY m.seq LIMIT 1
"""
ASK_ANEW = """
WITH fresh AS (INSERT INTO turn (conversation_id, first_seq) VALUES ($2, $3) RETURNING id)
UPDATE message m SET turn_id = fresh.id FROM fresh WHERE m.id = $1
"""

MOVE = """
UPDATE conversation SET room = $4
WHERE channel = $1 AND account = $2 AND room = $3
  AND NOT EXISTS (SELECT FROM conversation WHERE channel = $1 AND account = $2 AND room = $4)
"""

REACH = """
UPDATE conversation SET unreachable_at = CASE WHEN $4::bool THEN NULL ELSE coalesce(unreachable_at, $5::timestamptz) END
WHERE channel = $1 AND account = $2 AND room = $3 AND (unreachable_at IS NULL) <> $4::bool
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """A room has another name from now on; its conversation follows, with all that was said."""

    channel: ChannelName
    account: str
    room: str
    to_room: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a room lets our messages in, as the provider says."""

    channel: ChannelName
    account: str
    room: str
    reachable: bool
    at: datetime


async def move(db: Database, moved: Moved) -> bool:
    """Let a conversation follow its room; False when there was nothing to move, or the new room has one already."""
    done: str = await db.pool.execute(MOVE, moved.channel.value, moved.account, moved.room, moved.to_room)
    return done != "UPDATE 0"


async def reach(db: Database, said: Reach) -> bool:
    """Remember whether a room can be reached; False when nothing changed by that."""
    done: str = await db.pool.execute(REACH, said.channel.value, said.account, said.room, said.reachable, said.at)
    return done != "UPDATE 0"


async def apply(db: Database, change: Change) -> Changed:
    """Store a change and carry it out; returns after COMMIT. Any number of calls have the effect of one."""
    author = change.author
    async with db.hot() as connection:
        conversation_id: UUID | None = await connection.fetchval(
            FIND_CONVERSATION, author.channel.value, author.account, author.room
        )
        if conversation_id is None and author.channel is ChannelName.WEB:
            # Its event ids name the visitor, who has been erased.
            return Changed("unknown", new=True)
        stored = await connection.fetchrow(
            STORE,
            author.channel.value,
            author.account,
            change.event_id,
            change.kind,
            conversation_id,
            author.person,
            change.sent_at,
        )
        if stored is None:
            return Changed("unknown", new=False)
        message = await _find(connection, conversation_id, change) if conversation_id else None
        if conversation_id is None or message is None:
            return Changed("unknown", new=True)
        state = await _carry_out(connection, change, message, stored["identity_id"])
        number = None
        if state == "applied":
            number = await connection.fetchval(
                "UPDATE conversation SET changes = changes + 1 WHERE id = $1 RETURNING changes", conversation_id
            )
        await connection.execute(
            "UPDATE change SET state = $2, number = $3, message_id = $4 WHERE id = $1",
            stored["id"],
            state,
            number,
            message["id"],
        )
    log.info("change.stored", change_id=stored["id"], kind=change.kind, state=state)
    return Changed(state, new=True, seq=message["seq"])


async def _find(connection: Any, conversation_id: UUID, change: Change) -> Any:
    """The message that changed, or None. Nobody but us changes what we said; people only react to it."""
    if change.seq is not None:
        return await connection.fetchrow(FIND_NUMBERED, conversation_id, change.seq)
    found = await connection.fetchrow(FIND_INBOUND, conversation_id, change.target, LOOK_BACK_MAX)
    if found is None and change.kind == "reaction":
        found = await connection.fetchrow(FIND_OUTBOUND, conversation_id, change.target)
    return found


async def _carry_out(connection: Any, change: Change, message: Any, identity_id: UUID | None) -> State:
    if identity_id is None or (change.kind != "reaction" and message["identity_id"] != identity_id):
        return "refused"
    key = message["id"], change.kind, identity_id, change.sent_at, change.event_id
    if change.step is None and await connection.fetchval(OVERTAKEN, *key):
        return "overtaken"
    if message["deleted_at"] is not None:
        return "overtaken"
    match change.kind:
        case "reaction":
            return await _react(connection, change, message["id"], identity_id)
        case "edit":
            [before] = await opened_parts(connection.keys, connection, [message])
            await _let_go_of_files(connection, message, change.parts)
            await fetching.note(connection, [(message["conversation_id"], message["seq"], change.parts)])
            key = await connection.keys.of_locked(connection, message["conversation_id"])
            await connection.execute(
                "UPDATE message SET sealed = $2, edited_at = $3 WHERE id = $1",
                message["id"],
                seal(key, message["event_id"], by_identity(identity_id), change.parts),
                change.sent_at,
            )
        case "delete":
            await _let_go_of_files(connection, message, ())
            await connection.execute(
                "UPDATE message SET sealed = NULL, edited_at = NULL, deleted_at = $2 WHERE id = $1",
                message["id"],
                change.sent_at,
            )
            await connection.execute("DELETE FROM reaction WHERE message_id = $1", message["id"])
            # What was understood of it would repeat its words to staff.
            await connection.execute("UPDATE turn SET intent = NULL, slots = NULL WHERE id = $1", message["turn_id"])
            await connection.execute(summary.AGAIN, message["conversation_id"])
    begun = [
        call_key(message["turn_id"], number, step) for number in range(1, CALLING_MAX + 1) for step in range(CALLS_MAX)
    ]
    await connection.execute(ANSWER_AGAIN, message["turn_id"], BEGUN_MAX, begun)
    if change.kind == "edit" and text_of(before or ()) != text_of(change.parts):
        await _answer_edited(connection, message, begun)
    return "applied"


async def _answer_edited(connection: Any, message: Any, begun: Sequence[str]) -> None:
    """Have a message that was answered lately answered anew, or say that what it led to stands."""
    answered = await connection.fetchrow(ANSWERED, message["id"], EDITED_WITHIN, begun)
    if answered is None or answered["mode"] != "bot":
        return
    if not (answered["is_past"] or answered["was_done"]) and answered["edits"] < BEGUN_MAX:
        await connection.execute(ASK_ANEW, message["id"], message["conversation_id"], message["seq"])
        return
    found = await connection.fetch(ITS_ANSWER, message["conversation_id"], message["seq"], message["turn_id"])
    [told] = await opened_parts(connection.keys, connection, found) if found else [None]
    line = text_of(told or ()).partition("\n")[0].strip()
    if not line:
        return
    answer = line if len(line) <= ANSWER_SHOWN_CHARS else f"{line[: ANSWER_SHOWN_CHARS - 1]}…"
    text = STANDS.filled(answer=answer).to(answered["language"])
    notice = NewMessage(message["conversation_id"], (Text(text=text),), "notice", f"edited:{message['id']}")
    await post(connection, [notice])


async def _let_go_of_files(connection: Any, message: Any, left: tuple[Part, ...]) -> None:
    """Nobody reads the files of a message any more that it does not show after this; they are swept soon."""
    [parts] = await opened_parts(connection.keys, connection, [message])
    gone = set(files_of(parts or ())) - set(files_of(left))
    if gone:
        await connection.fetch(GONE, list(gone))


async def _react(connection: Any, change: Change, message_id: int, identity_id: UUID) -> State:
    rows = await connection.fetch("SELECT identity_id, emoji FROM reaction WHERE message_id = $1", message_id)
    mine: list[str] = next((row["emoji"] for row in rows if row["identity_id"] == identity_id), [])
    left = list(change.emoji)
    match change.step:
        case "add":
            known = {*REACTIONS, *(one for row in rows for one in row["emoji"])}
            left = [*mine, *(one for one in change.emoji if one not in mine)]
            if not known.issuperset(change.emoji) or len(left) > EMOJI_MAX:
                return "refused"
        case "take":
            left = [one for one in mine if one not in change.emoji]
    if change.step is not None and left == mine:
        return "overtaken"
    if not left:
        await connection.execute(
            "DELETE FROM reaction WHERE message_id = $1 AND identity_id = $2", message_id, identity_id
        )
        return "applied"
    await connection.execute(
        "INSERT INTO reaction (message_id, identity_id, emoji, reacted_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (message_id, identity_id) DO UPDATE SET emoji = excluded.emoji",
        message_id,
        identity_id,
        left,
        change.sent_at,
    )
    return "applied"
