"""Messages and notes as they are stored: their words sealed under their room's key (core/crypto.py).

With a message are authenticated its room, its epoch, its own name (the provider's event id, or the dedup key of one of
ours) and who said it, so that a row whose words, sender, number of event or room were exchanged shows nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from core.crypto import RoomKey, RoomKeys
from core.messages import PARTS, Part

COLUMNS = "m.conversation_id, m.sealed, m.event_id, m.dedup_key, m.identity_id, m.author"
"""What of a message `m` has to be read for `opened`."""

EPOCHS_MAX = 4
"""How often messages are sealed anew because their rooms' keys changed meanwhile."""
TOUCHED = "CASE WHEN c.last_at < clock_timestamp() - interval '10 s' THEN clock_timestamp() ELSE c.last_at END"
"""When a conversation `c` was last written in, ten seconds coarse: an unchanged value spares its index."""

BOT = b"bot"
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def by_identity(identity_id: UUID) -> bytes:
    """The sender of an inbound message."""
    return b"identity" + identity_id.bytes


def by_author(author: str | None) -> bytes:
    """The sender of an outbound one: a member of staff, or None for the bot."""
    return BOT if author is None else b"staff" + author.encode()


def seal(key: RoomKey, name: str, sender: bytes, parts: tuple[Part, ...]) -> bytes:
    """A message's parts, to be stored. `name` is its event id or dedup key. Raises ValueError for text with a NUL.

    PostgreSQL takes no NUL in a text, so whatever was made of one later would fail.
    """
    json = PARTS.dump_json(parts)
    if b"\\u0000" in json and NUL.search(json):
        raise ValueError("There is a NUL in it.")
    return key.seal(as_message(name, sender), json)


def as_message(name: str, sender: bytes) -> bytes:
    """What a message is sealed as."""
    return b"%b\0message\0%b" % (sender, name.encode())


async def opened(keys: RoomKeys, connection: Any, rows: Sequence[Any]) -> list[bytes | None]:
    """The parts of messages read with COLUMNS, as JSON; None where they were deleted or their key destroyed."""
    return await keys.opened(connection, [(row["conversation_id"], _what(row), row["sealed"]) for row in rows])


async def opened_parts(keys: RoomKeys, connection: Any, rows: Sequence[Any]) -> list[tuple[Part, ...] | None]:
    """The same, parsed."""
    return [None if json is None else PARTS.validate_json(json) for json in await opened(keys, connection, rows)]


def _what(row: Any) -> bytes:
    if row["event_id"] is not None:
        return as_message(row["event_id"], by_identity(row["identity_id"]))
    return as_message(row["dedup_key"], by_author(row["author"]))


def as_slots(turn_id: int) -> bytes:
    """What the values understood in a turn are sealed as."""
    return b"slots\0%d" % turn_id


def seal_slots(key: RoomKey, turn_id: int, understood: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The slots of what was understood of each message, to be stored; None where there are none."""
    slots = [one.get("slots") or {} for one in understood]
    return key.seal(as_slots(turn_id), orjson.dumps(slots)) if any(slots) else None


def with_slots(intent: Mapping[str, Any] | None, slots: bytes | None) -> Mapping[str, Any] | None:
    """What was understood in a turn, its slots put back; as it is where they were erased."""
    if intent is None or slots is None:
        return intent
    pairs = zip(intent["messages"], orjson.loads(slots), strict=True)
    return {"messages": [{**one, "slots": values} if values else one for one, values in pairs]}


def as_note(author: str, nonce: str) -> bytes:
    """What a note of staff is sealed as."""
    return b"%b\0note\0%b" % (by_author(author), nonce.encode())


def as_correction(seq: int) -> bytes:
    """What the line is sealed as that staff made of a message to teach from; `seq` is the message's number."""
    return b"correction\0%d" % seq


def as_template(outbox_id: int) -> bytes:
    """What the variables of the template that an outbound message is sent by are sealed as."""
    return b"template\0%d" % outbox_id


def as_workflow(what: str, *place: str) -> bytes:
    """What is sealed of workflows: `what` of which definition, of which run, or of which step of it."""
    return "\0".join(("workflow", what, *place)).encode()
