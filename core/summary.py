"""What a person and the bot talked about in a chat, in a few lines: asked, done, left open. Made by code, no model.

There is one of each private chat, sealed under the chat's key and renewed by a job (jobs/summaries.py) after every
RENEW_MESSAGES. Rooms with others have none. `of` is the way to read it: nobody else's, and of no other chat.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import driver
from core.language import Saying, month

RENEW_MESSAGES = 8
"""After how many messages of a chat, both ways, it is written anew."""
ITEMS_MAX = 20
TEXT_CHARS_MAX = 1_500
WHAT_CHARS_MAX = 80
"""Of the words of one request."""

State = Literal["told", "done", "failed", "open"]

ENDED = {
    "done": Saying("done", "imefanyika"),
    "failed": Saying("did not work", "haikufanyika"),
    "open": Saying("left open", "haijakamilika"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was talked about: `title` names the skill in both languages, `what` are the person's values."""

    at: str
    """ISO 8601, UTC."""
    action: str
    title: tuple[str, str]
    what: str
    state: State


@dataclass(frozen=True, slots=True)
class Summary:
    """The newest things, oldest first."""

    items: tuple[Item, ...]

    def text(self, language: str, zone: ZoneInfo) -> str:
        """A line for each, of at most TEXT_CHARS_MAX together; the oldest are left out where it would be longer."""
        lines: list[str] = []
        left = TEXT_CHARS_MAX
        for item in reversed(self.items):
            local = datetime.fromisoformat(item.at).astimezone(zone)
            line = f"{local.day} {month(local.month).to(language)} {local:%H:%M} {Saying(*item.title).to(language)}"
            line += f": {item.what or '…'}"
            if item.state in ENDED:
                line += f" – {ENDED[item.state].to(language)}"
            left -= len(line) + 1
            if left < 0:
                break
            lines.append(line)
        return "\n".join(reversed(lines))


def added(summary: Summary, new: Sequence[Item]) -> Summary:
    """What was talked about, and what was since. Pure.

    A request that took several messages is one, the same asked again is the newest of it, and what was left open ends
    where the same skill is used to an end.
    """
    items = list(summary.items)
    for item in new:
        last = items[-1] if items else None
        if last is not None and last.action == item.action and last.state == "open":
            # A call that was made has all the values; an answer has the one that was asked for.
            whole = item.state in ("done", "failed") or last.what in item.what
            what = item.what if whole else ", ".join(one for one in (last.what, item.what) if one)
            items[-1] = replace(item, what=what[:WHAT_CHARS_MAX])
            continue
        items = [
            one
            for one in items
            if (one.action, one.what) != (item.action, item.what)
            and not (one.action == item.action and one.state == "open")
        ]
        items.append(item)
    return Summary(tuple(items[-ITEMS_MAX:]))


async def of(session: AsyncSession, person_id: UUID, conversation_id: UUID) -> Summary | None:
    """The summary of this person's own chat; None where there is none yet, where it is a room with others or another's
    chat, and while it is not known who has its number now.
    """
    connection = await driver(session)
    sealed = await connection.fetchval(OF, person_id, conversation_id)
    return None if sealed is None else await opened(connection, conversation_id, sealed)


async def opened(connection: Any, conversation_id: UUID, sealed: bytes | None) -> Summary | None:
    """A stored summary; None where the chat was erased."""
    [json] = await connection.keys.opened(connection, [(conversation_id, as_summary(conversation_id), sealed)])
    if json is None:
        return None
    return Summary(tuple(Item(**{**item, "title": tuple(item["title"])}) for item in orjson.loads(json)))


async def write(connection: Any, conversation_id: UUID, summary: Summary, told_seq: int) -> None:
    """Keep a chat's summary, which tells of its messages up to `told_seq`; the caller has locked its row.

    Raises Erased.
    """
    key = await connection.keys.of_locked(connection, conversation_id)
    json = orjson.dumps([asdict(item) for item in summary.items])
    await connection.execute(WRITE, conversation_id, key.seal(as_summary(conversation_id), json), told_seq)


async def forget(session: AsyncSession, person_id: UUID, conversation_id: UUID | None = None) -> None:
    """Forget what was talked about so far, in one chat of a person's or in all of them, for good."""
    connection = await driver(session)
    await connection.execute(FORGET, person_id, conversation_id)


def as_summary(conversation_id: UUID) -> bytes:
    """What a summary is sealed as."""
    return b"summary\0" + conversation_id.bytes


OF = """
SELECT s.sealed FROM summary s JOIN conversation c ON c.id = s.conversation_id
WHERE s.conversation_id = $2
  AND s.person_id = (SELECT coalesce(p.merged_into, p.id) FROM person p WHERE p.id = $1)
  AND NOT EXISTS (SELECT FROM renumbering r
                  WHERE (r.channel, r.account, r.provider_id) = (c.channel, c.account, c.room) AND r.ended_at IS NULL)
"""
WRITE = """
UPDATE summary SET sealed = $2, told_seq = $3, due = false, written_at = clock_timestamp() WHERE conversation_id = $1
"""
FORGET = """
INSERT INTO summary (conversation_id, person_id, told_seq, since_seq)
SELECT c.id, i.person_id, c.next_seq - 1, c.next_seq - 1 FROM identity i
JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
WHERE i.person_id = (SELECT coalesce(p.merged_into, p.id) FROM person p WHERE p.id = $1) AND c.id = coalesce($2, c.id)
ORDER BY c.id
ON CONFLICT (conversation_id) DO UPDATE
SET sealed = NULL, person_id = excluded.person_id, told_seq = excluded.told_seq,
    since_seq = excluded.since_seq, due = false, written_at = NULL
"""
AGAIN = """
UPDATE summary SET sealed = NULL, told_seq = since_seq, due = true WHERE conversation_id = $1 AND sealed IS NOT NULL
"""
"""Has it written from nothing: what was deleted or taken back is in it no more."""
