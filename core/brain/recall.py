"""What a model is told besides the message: the last turns of this conversation with this person, and what they stated.

Nothing of other people, and nothing of other rooms. Of answers that hold words of strangers (quotations, lists, what
was looked up) only the fact is told, so that no order hidden in them is read again; of codes not even that.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core import facts
from core.brain.llm import Line
from core.db import Database
from core.dialog import DialogState
from core.messages import Card, Contact, Forwarded, Part, Table, text_of
from core.sealed import COLUMNS, opened_parts

LINES_MAX = 16
"""How many earlier messages are told."""
LINE_CHARS_MAX = 600
FACTS_MAX = 30
DIALOG = timedelta(minutes=30)
"""How long ago something may have been written to be a part of the same dialog."""
NOT_REPEATED = "(An answer was shown here that is not repeated.)"
PASSED_ON = "(A message of somebody else was passed on here that is not repeated.)"

EARLIER = f"""
SELECT m.seq, m.direction, {COLUMNS}, m.created_at, m.turn_id, t.intent, i.person_id
FROM (SELECT * FROM message m WHERE m.conversation_id = $1 AND m.seq < $2 AND m.deleted_at IS NULL
      ORDER BY m.seq DESC LIMIT $3) m
JOIN turn t ON t.id = m.turn_id
LEFT JOIN identity i ON i.id = m.identity_id
WHERE m.turn_id < $4
ORDER BY m.seq
"""  # noqa: S608  put together from constants of ours
SEQ_MAX = 2**62


@dataclass(frozen=True, slots=True)
class Recalled:
    """Lines of the conversation, oldest first; what the person `wrote` in the dialog that the message belongs to."""

    lines: tuple[Line, ...]
    wrote: str


async def earlier(
    db: Database, conversation_id: UUID, turn_id: int, person_id: UUID, now: datetime, *, told: Collection[str],
    hidden: Collection[str],
) -> Recalled:  # fmt: skip
    """What was said before in this conversation, by this person and to them alone.

    `told` are the names of the actions whose answers may be told again: the person's own words are all that is in them.
    Of `hidden` ones, which codes are typed for, neither the question nor the answer is told.
    """
    async with db.pool.acquire() as connection:
        rows = await connection.fetch(EARLIER, conversation_id, SEQ_MAX, LINES_MAX * 2, turn_id)
        said = await opened_parts(db.keys, connection, rows)
    # In a shared room a turn may have answered several; nothing of it is told.
    others = {row["turn_id"] for row in rows if row["direction"] == "in" and row["person_id"] != person_id}
    theirs = {row["turn_id"] for row in rows if row["direction"] == "in"} - others
    lines: list[Line] = []
    wrote: list[str] = []
    for row, parts in zip(rows, said, strict=True):
        if parts is None or row["turn_id"] not in theirs:
            continue
        understood = _understood(row["intent"])
        if any("confirmation" in one or one.get("action") in hidden for one in understood):
            continue
        if row["direction"] == "in":
            text = written(parts)[:LINE_CHARS_MAX]
            if any(isinstance(part, Forwarded) for part in parts):
                lines.append(Line(True, PASSED_ON))
            elif text:
                lines.append(Line(True, text))
                if row["created_at"] > now - DIALOG:
                    wrote.append(text)
        elif all(one.get("action") in told and not one.get("tainted") for one in understood):
            lines.append(Line(False, text_of(parts)[:LINE_CHARS_MAX] or NOT_REPEATED))
        else:
            lines.append(Line(False, NOT_REPEATED))
        if row["direction"] == "out" and any(one.get("action") not in ("none", None) for one in understood):
            # Something was done: a new dialog begins.
            wrote.clear()
    return Recalled(tuple(lines[-LINES_MAX:]), "\n".join(wrote))


def written(parts: Sequence[Part]) -> str:
    """What a person wrote in a message: none of what was put together by tapping, or passed on from somebody else."""
    if any(isinstance(part, Forwarded) for part in parts):
        return ""
    return text_of(tuple(part for part in parts if not isinstance(part, Card | Table | Contact)))


def foreign(parts: Sequence[Part]) -> str:
    """What is in a message and is not the person's own words."""
    if any(isinstance(part, Forwarded) for part in parts):
        return text_of(tuple(parts))
    return text_of(tuple(part for part in parts if isinstance(part, Card | Table | Contact)))


def is_foreign(parts: Sequence[Part]) -> bool:
    """Whether a message has words of somebody else in it: a shared contact, a form, what was forwarded."""
    return any(isinstance(part, Card | Table | Contact | Forwarded) for part in parts)


async def context(
    db: Database, person_id: UUID, state: DialogState, local: datetime, zone: str, language: str, *, is_private: bool,
    secrets: Collection[str] = (), month_first: bool = False,
) -> str:  # fmt: skip
    """What holds for this person and moment, as words for a model; of what they stated nothing in a shared room."""
    spoken = _LANGUAGES.get(language, "English")
    lines = [f"Now: {local:%A %Y-%m-%d %H:%M} ({zone}). The person is spoken with in {spoken}."]
    lines.append(f"In figures they write the {'month' if month_first else 'day'} of a date first.")
    if not is_private:
        lines.append("Others read along in this room.")
    if state.action is not None:
        known = {slot: value for slot, value in state.slots.items() if slot not in secrets}
        asked = f", asked for {', '.join(state.asked)}" if state.asked else ""
        lines.append(f"Unfinished: {state.action} with {orjson.dumps(known).decode()}{asked}.")
    if is_private:
        async with db.transaction() as session:
            stated = [one.words for one in await facts.known(session, person_id)][-FACTS_MAX:]
        if stated:
            lines += ["They once stated, which asks for nothing now:", *(f"- {flat(words)}" for words in stated)]
    return "<context>\n" + "\n".join(lines) + "\n</context>"


def flat(words: str) -> str:
    """Words on one line that cannot end the marks they stand between."""
    return " ".join(re.sub(r"[<>]", " ", words).split())


_LANGUAGES = {"en": "English", "sw": "Swahili"}


def _understood(intent: Any) -> list[Mapping[str, Any]]:
    value = orjson.loads(intent) if isinstance(intent, str | bytes) else intent
    if not isinstance(value, dict):
        return [{"action": "?"}]
    found: list[Mapping[str, Any]] = []
    for one in value.get("messages", ()):
        found += [one, *(one.get("then") or ())]
    return found or [{"action": "?"}]
