"""The list of turns, and one turn: what was understood, what was done, how long it took. Words only where asked for.

Neither reads what people wrote until somebody asks to see it, which writes an audit row with the read.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from markupsafe import Markup
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, sealed
from core.db import Database, driver
from core.errors import UserError
from core.messages import PARTS, ChannelName, Part
from core.receipts import CALLS_MAX, call_key
from core.turn import MESSAGES_MAX
from web_admin import auth, called, words
from web_admin.forms import day_of, row_id
from web_admin.paging import before_of
from web_admin.rendering import Templates

LIST_PAGE = 50
"""Turns on one page."""
CONVERSATION_MESSAGES_MAX = 5_000
"""How far back the turns of one conversation are listed."""
ACTION = re.compile(r"[a-z_]{1,64}")
PARSERS = ("rules", "claude", "compatible")
SHOWN = ("", "fallback", "unanswered", "marked")
FALLBACKS = ("did_you_mean", "help", "not_here", "not_understood")
"""Answers of somebody whom nothing was done for."""

LIST = """
SELECT t.id, t.state, t.attempt, t.created_at, t.closed_at, t.intent, c.channel, who.name, who.identity,
       EXISTS (SELECT FROM correction k WHERE k.turn_id = t.id) AS marked
FROM turn t
JOIN conversation c ON c.id = t.conversation_id
LEFT JOIN LATERAL (
    SELECT coalesce(p.name, i.display_name) AS name, i.provider_id AS identity
    FROM message m JOIN identity i ON i.id = m.identity_id JOIN person p ON p.id = i.person_id
    WHERE m.conversation_id = t.conversation_id AND m.seq >= t.first_seq AND m.turn_id = t.id AND m.direction = 'in'
    ORDER BY m.seq LIMIT 1
) who ON true
WHERE c.erasure_id IS NULL AND {wanted}
ORDER BY t.id DESC LIMIT :limit
"""

ONE = text("""
SELECT t.id, t.conversation_id, t.first_seq, t.state, t.attempt, t.created_at, t.closed_at, t.intent, t.slots,
       c.channel, c.room, o.state AS outbox_state, o.provider_status, o.error, o.done_at AS sent_at,
       least(o.done_at, (SELECT min(d.at) FROM delivery_status d WHERE d.outbox_id = o.id)) AS first_sent_at
FROM turn t
JOIN conversation c ON c.id = t.conversation_id AND c.erasure_id IS NULL
LEFT JOIN outbox o ON o.dedup_key = 'turn:' || t.id
WHERE t.id = :turn
""")

MESSAGES = text("""
SELECT * FROM (
    SELECT m.conversation_id, m.seq, m.created_at, m.deleted_at, m.sealed, m.event_id, m.dedup_key, m.identity_id,
           m.author, i.person_id, i.channel, i.provider_id AS identity, coalesce(p.name, i.display_name) AS name,
           k.id AS correction, k.meant, k.state AS correction_state, k.marked_by
    FROM message m
    JOIN identity i ON i.id = m.identity_id
    JOIN person p ON p.id = i.person_id
    LEFT JOIN correction k ON k.conversation_id = m.conversation_id AND k.seq = m.seq
    WHERE m.conversation_id = :conversation AND m.seq >= :first AND m.turn_id = :turn AND m.direction = 'in'
    ORDER BY m.seq DESC LIMIT :limit
) newest ORDER BY seq
""")

RECEIPTS = text("SELECT key, action, state, started_at, finished_at FROM receipt WHERE key = ANY(:keys)")


@dataclass(frozen=True, slots=True)
class TurnsQuery:
    """What the list shows; the whole of it is in the address."""

    channel: ChannelName | None = None
    day: date | None = None
    action: str = ""
    parser: str = ""
    show: str = ""
    conversation: UUID | None = None
    before: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; raises UserError with a sentence for values that mean nothing."""
        channel, action = query.get("channel", ""), query.get("action", "")
        parser, show = query.get("parser", ""), query.get("show", "")
        if channel and channel not in set(ChannelName):
            raise UserError(f"There is no channel of that name. Choose one of {', '.join(ChannelName)}.")
        if action and not ACTION.fullmatch(action):
            raise UserError("An action's name is made of small letters and _. Choose one from the list.")
        if parser and parser not in PARSERS:
            raise UserError(f"There is no parser of that name. Choose one of {', '.join(PARSERS)}.")
        if show not in SHOWN:
            raise UserError("The list shows everything, or show=fallback, show=unanswered, or show=marked.")
        day = day_of(query, "day")
        try:
            conversation = UUID(query["conversation"]) if query.get("conversation") else None
        except ValueError as error:
            raise UserError("There is no such conversation. Open it from the list of conversations.") from error
        before = before_of(query)
        return cls(ChannelName(channel) if channel else None, day, action, parser, show, conversation, before)

    @property
    def filters(self) -> dict[str, str]:
        """The query without the page."""
        day = self.day.isoformat() if self.day else ""
        pairs = {
            "channel": self.channel or "", "day": day, "action": self.action, "parser": self.parser, "show": self.show,
            "conversation": self.conversation or "",
        }  # fmt: skip
        return {name: str(value) for name, value in pairs.items() if value}


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn in the list. Holds no words."""

    id: int
    state: str
    attempt: int
    created_at: datetime
    closed_at: datetime | None
    intent: Mapping[str, Any] | None
    channel: str
    name: str | None
    identity: str | None
    marked: bool

    @property
    def meanings(self) -> Sequence[Mapping[str, Any]]:
        """What was understood of each message, request by request."""
        return [step for meaning in meanings_of(self.intent) for step in steps_of(meaning)]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an action, by its receipt."""

    action: str
    state: words.State
    started_at: datetime
    finished_at: datetime | None

    @property
    def took(self) -> str:
        """How long it took."""
        return words.lasted(self.finished_at - self.started_at) if self.finished_at else ""


@dataclass(frozen=True, slots=True)
class Understood:
    """One message of a turn: what was made of it; its parts are None while nobody asked to see words."""

    seq: int
    created_at: datetime
    name: str | None
    channel: str
    identity: str
    person_id: UUID
    deleted: bool
    meaning: Mapping[str, Any]
    calls: Mapping[int, Call] = field(default_factory=dict)
    """By the step, counted from 0, that made each."""
    parts: tuple[Part, ...] | None = None
    correction: int | None = None
    meant: str | None = None
    correction_state: str | None = None
    marked_by: str | None = None

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What was understood, one request after the other; empty where nothing is kept."""
        return steps_of(self.meaning) if self.meaning else ()

    @property
    def slots(self) -> Mapping[str, Any]:
        """The values that were understood; empty while nobody asked to see words."""
        found = self.meaning.get("slots")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class OneTurn:
    """A turn with its messages."""

    id: int
    conversation_id: UUID
    state: str
    attempt: int
    created_at: datetime
    closed_at: datetime | None
    channel: str
    messages: Sequence[Understood]
    outbox_state: str | None = None
    provider_status: str | None = None
    error: str | None = None
    sent_at: datetime | None = None
    first_sent_at: datetime | None = None
    steps: Sequence[tuple[str, datetime, str]] = field(default=())
    """What happened when: its name, its moment, and how long after the one before."""


class TurnPages:
    """Reads and renders the list and the page of a turn."""

    def __init__(self, db: Database, zone: ZoneInfo, templates: Templates, meanings: Collection[str]) -> None:
        self._db, self._zone, self._templates, self._meanings = db, zone, templates, meanings

    async def list_page(self, staff: auth.Staff, query: TurnsQuery) -> Markup:
        """The list, newest first."""
        async with self._db.transaction() as session:
            found = await turns(session, query, self._zone)
        rows = found[:LIST_PAGE]
        older = rows[-1].id if len(found) > LIST_PAGE else None
        return self._templates.render(
            "turns.html",
            section="turns",
            tab="turns",
            staff=staff,
            query=query,
            rows=rows,
            older=older,
            channels=tuple(ChannelName),
            actions=self._meanings,
            parsers=PARSERS,
        )

    async def page(self, staff: auth.Staff, raw: str, *, with_words: bool) -> Markup:
        """One turn; `with_words` shows what was written and the values read from it, and writes down who looked.

        Raises LookupError for a turn that is not there.
        """
        async with self._db.transaction() as session:
            turn = await one(session, row_id(raw), with_words=with_words)
            if with_words:
                subject = f"conversation:{turn.conversation_id}"
                await audit.record(session, staff.actor, "turn.opened", subject, {"turn": turn.id})
        return self._templates.render(
            "turn.html",
            section="turns",
            staff=staff,
            turn=turn,
            with_words=with_words,
            actions=self._meanings,
        )


async def turns(session: AsyncSession, query: TurnsQuery, zone: ZoneInfo) -> list[TurnRow]:
    """One page and one more, newest first."""
    wanted: list[str] = ["true"]
    given: dict[str, Any] = {"limit": LIST_PAGE + 1}
    if query.before is not None:
        wanted.append("t.id < :before")
        given["before"] = query.before
    if query.conversation is not None:
        wanted.append(
            "t.id IN (SELECT m.turn_id FROM message m WHERE m.conversation_id = :conversation AND m.direction = 'in'"
            " ORDER BY m.seq DESC LIMIT :messages)"
        )
        given |= {"conversation": query.conversation, "messages": CONVERSATION_MESSAGES_MAX}
    if query.channel is not None:
        wanted.append("c.channel = :channel")
        given["channel"] = query.channel.value
    if query.day is not None:
        wanted.append("t.created_at >= :start AND t.created_at < :until")
        given["start"] = datetime.combine(query.day, time(), zone)
        given["until"] = datetime.combine(query.day + timedelta(days=1), time(), zone)
    if query.action:
        wanted.append(f"({' OR '.join(_asks_for(query.action, given))})")
    if query.parser == "rules":
        # What says nothing of its parser was read by the rules.
        others = [_has({"parser": name}, given, f"parser_{name}") for name in PARSERS if name != "rules"]
        wanted.append(f"t.intent IS NOT NULL AND NOT ({' OR '.join(others)})")
    elif query.parser:
        wanted.append(_has({"parser": query.parser}, given, "parser"))
    if query.show == "fallback":
        some = [_has({"answer": answer}, given, f"answer_{answer}") for answer in FALLBACKS]
        wanted.append(f"({' OR '.join(some)})")
    elif query.show == "unanswered":
        held = [_has({"held": why}, given, f"held_{why}") for why in words.HELD]
        wanted.append(f"(t.state <> 'done' OR {' OR '.join(held)})")
    elif query.show == "marked":
        wanted.append("t.id IN (SELECT turn_id FROM correction)")
    # Conditions are the constants above; what somebody gave is bound.
    statement = text(LIST.format(wanted=" AND ".join(wanted)))
    rows = (await session.execute(statement, given)).mappings().all()
    return [TurnRow(**row) for row in await called.opened(session, rows)]


def _asks_for(action: str, given: dict[str, Any]) -> Iterator[str]:
    """The conditions that a turn was asked for this action: acted on or only guessed, first or behind another."""
    for what in ("action", "guess"):
        yield _has({what: action}, given, f"{what}_first")
        yield _has({"then": [{what: action}]}, given, f"{what}_behind")


def _has(meaning: Mapping[str, Any], given: dict[str, Any], name: str) -> str:
    """The condition that one of a turn's messages was understood so."""
    given[name] = orjson.dumps({"messages": [meaning]}).decode()
    return f"t.intent @> CAST(:{name} AS jsonb)"


async def one(session: AsyncSession, turn_id: int, *, with_words: bool) -> OneTurn:
    """A turn with what was understood of its messages; raises LookupError where there is none.

    With words it reads what people wrote: write an audit row with it.
    """
    row = (await session.execute(ONE, {"turn": turn_id})).mappings().one_or_none()
    if row is None:
        raise LookupError
    given = {"turn": turn_id, "conversation": row["conversation_id"], "first": row["first_seq"], "limit": MESSAGES_MAX}
    found = (await session.execute(MESSAGES, given)).mappings().all()
    connection = await driver(session)
    intent = row["intent"]
    said: Sequence[bytes | None] = [None] * len(found)
    if with_words:
        said = await sealed.opened(connection.keys, connection, found)
        place = row["conversation_id"], sealed.as_slots(turn_id), row["slots"]
        [slots] = await connection.keys.opened(connection, [place])
        intent = sealed.with_slots(intent, slots)
    # A meaning for each message, of the newest where there were very many.
    meant = meanings_of(intent)[-len(found) :] if found else ()
    first = len(found) - len(meant)
    calls = await _calls(session, turn_id, len(meant))
    messages = []
    for number, (message, json) in enumerate(zip(await called.opened(session, found), said, strict=True)):
        deleted = message["deleted_at"] is not None or message["sealed"] is None
        meaning = meant[number - first] if number >= first else {}
        messages.append(
            Understood(
                **{name: message[name] for name in Understood.__slots__ if name in message},
                deleted=deleted,
                # The values of a deleted message are not repeated.
                meaning={key: value for key, value in meaning.items() if key != "slots"} if deleted else meaning,
                calls=calls.get(number - first + 1, {}),
                parts=None if json is None else PARTS.validate_json(json),
            )
        )
    shown = {name: row[name] for name in OneTurn.__slots__ if name in row}
    return OneTurn(**shown, messages=messages, steps=_steps(row))


async def _calls(session: AsyncSession, turn_id: int, count: int) -> dict[int, dict[int, Call]]:
    """The calls that left a receipt, by each of a turn's messages, counted from 1, and its step, counted from 0."""
    places = {
        call_key(turn_id, number, step): (number, step) for number in range(1, count + 1) for step in range(CALLS_MAX)
    }
    calls: dict[int, dict[int, Call]] = {}
    for row in (await session.execute(RECEIPTS, {"keys": list(places)})).mappings():
        number, step = places[row["key"]]
        call = Call(row["action"], words.receipt(row["state"]), row["started_at"], row["finished_at"])
        calls.setdefault(number, {})[step] = call
    return calls


def _steps(row: Mapping[Any, Any]) -> list[tuple[str, datetime, str]]:
    """Created, answered, sent: each with how long after the one before."""
    steps: list[tuple[str, datetime, str]] = [("Came in", row["created_at"], "")]
    for name, at in (("Answered", row["closed_at"]), ("First sent", row["first_sent_at"])):
        if at is not None:
            steps.append((name, at, words.lasted(at - steps[-1][1])))
    return steps


def meanings_of(intent: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """What was understood of each message, as a turn keeps it; empty where nothing is kept."""
    kept = (intent or {}).get("messages")
    return [one for one in kept if isinstance(one, Mapping)] if isinstance(kept, list) else []


def steps_of(meaning: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The requests of one message, in their order: the first stands in it, the others behind.

    Where those do not say what they were answered with, it is what the message was.
    """
    then = meaning.get("then")
    behind = [one for one in then if isinstance(one, Mapping)] if isinstance(then, list) else []
    return [meaning, *({"answer": meaning.get("answer")} | dict(one) for one in behind)]
