"""What the admin pages read, each in one or two bounded statements over the indexes made for them.

The list reads no message text; only `thread` does, and its caller writes the audit row in the same transaction.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text, tuple_
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core import sealed
from core.db import driver, is_away
from core.errors import UserError
from core.handoff import Handoff, Mode
from core.messages import PARTS, ChannelName, Part
from core.models import (
    Conversation,
    DeliveryStatus,
    Identity,
    Member,
    Message,
    Note,
    OptOut,
    Outbox,
    Person,
    Reaction,
    Turn,
)
from web_admin import called
from web_admin.called import Sought

LIST_PAGE = 50
"""Conversations on one page."""
THREAD_PAGE = 60
"""Messages on one page of a conversation."""
SEARCH_CHARS_MAX = 100
SEALED_AS = frozenset({"conversation_id", "sealed", "event_id", "dedup_key", "identity_id", "slots"})
ERASED = "This note was erased."
STEPS_MAX = 2_000
"""Of what providers said of the messages of one page: a few for each piece."""
REACTIONS_MAX = 2_000
"""Of people who reacted to the messages of one page."""
NOTES_MAX = 200
"""Notes of staff shown with one page of a conversation, the newest."""
SHOWN = ("", "waiting", "mine", "trouble")
"""What the list may show; mine are the conversations that the reader holds."""
HOURS = 24
RECENT = timedelta(hours=24)
"""What counts as recent trouble."""
LATE_COMMITS = timedelta(minutes=5)
"""How long after its end an hour may still gain messages, from transactions that were open."""

CURSOR = re.compile(r"(\d{1,17})\.([0-9a-f]{32})")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hour:
    """How many messages were stored in one hour, by direction; `start` is aware UTC."""

    start: datetime
    inbound: int
    outbound: int

    @property
    def total(self) -> int:
        """Both directions together."""
        return self.inbound + self.outbound


@dataclass(frozen=True, slots=True)
class Counts:
    """What is open now, and what went wrong in the last 24 hours."""

    turns_waiting: int
    turns_open: int
    turns_dead: int
    pending: int
    sending: int
    asking: int
    oldest_unsent: datetime | None
    refused: int
    lost: int
    held: int
    reminders_due: int
    runs_requested: int
    runs_running: int
    runs_waiting: int
    runs_done: int
    runs_failed: int
    people_waiting: int = 0


COUNTS = text("""
SELECT *
FROM (SELECT count(*) FILTER (WHERE state = 'waiting') AS turns_waiting,
             count(*) FILTER (WHERE state = 'open') AS turns_open
      FROM turn WHERE state IN ('waiting', 'open')) turns,
     (SELECT count(*) AS turns_dead FROM turn WHERE state = 'dead' AND created_at > now() - interval '24 hours') dead,
     (SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'sending') AS sending,
             count(*) FILTER (WHERE state = 'unknown') AS asking,
             (SELECT created_at FROM message WHERE message.id = min(outbox.id)) AS oldest_unsent
      FROM outbox WHERE done_at IS NULL) unsent,
     (SELECT count(*) FILTER (WHERE state = 'refused') AS refused, count(*) FILTER (WHERE state = 'unknown') AS lost
      FROM outbox
      WHERE done_at IS NOT NULL AND state IN ('refused', 'unknown') AND done_at > now() - interval '24 hours') failed,
     (SELECT count(*) AS held FROM outbox WHERE state = 'held') kept,
     (SELECT count(*) AS reminders_due FROM reminder
      WHERE state = 'active' AND coalesce(deferred_until, due_at) <= now() + interval '1 hour') due,
     (SELECT count(*) FILTER (WHERE state = 'requested') AS runs_requested,
             count(*) FILTER (WHERE state = 'running' AND waiting_for IS NULL) AS runs_running,
             count(*) FILTER (WHERE state = 'running' AND waiting_for IS NOT NULL) AS runs_waiting
      FROM workflow_run WHERE finished_at IS NULL) live,
     (SELECT count(*) FILTER (WHERE state = 'done') AS runs_done,
             count(*) FILTER (WHERE state = 'failed') AS runs_failed
      FROM workflow_run WHERE finished_at IS NOT NULL AND finished_at > now() - interval '24 hours') finished,
     (SELECT count(*) FILTER (WHERE mode = 'waiting') AS people_waiting FROM conversation WHERE mode <> 'bot') held
""")

PER_HOUR = text("""
SELECT floor(extract(epoch FROM created_at - CAST(:start AS timestamptz)) / 3600)::int AS hour,
       count(*) FILTER (WHERE direction = 'in') AS inbound, count(*) FILTER (WHERE direction = 'out') AS outbound
FROM message WHERE created_at >= CAST(:start AS timestamptz) GROUP BY 1
""")


BUSY_STATES = ("57014", "55P03")
"""PostgreSQL's codes for a statement that took too long and for a lock that was not free in time."""


def is_busy(error: BaseException) -> bool:
    """Whether PostgreSQL is away or has too much to do, rather than that it refused something."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return is_away(error) or isinstance(error, PoolTimeout) or state in BUSY_STATES


async def counts(session: AsyncSession) -> Counts:
    """Open work and recent trouble, in one statement."""
    row = (await session.execute(COUNTS)).mappings().one()
    return Counts(**row)


@dataclass(slots=True)
class Hours:
    """Messages per hour of the deployment's zone. Hours that are over do not change, so each is counted once."""

    zone: ZoneInfo
    _over: dict[datetime, Hour] = field(default_factory=dict)

    async def read(self, session: AsyncSession, now: datetime) -> list[Hour]:
        """The last HOURS hours and those of today, oldest first; the newest is the one we are in."""
        current = _hour_start(now, self.zone)
        midnight = midnight_of(now, self.zone)
        count = max(HOURS, int((current - midnight) / timedelta(hours=1)) + 1)
        starts = [current - timedelta(hours=back) for back in reversed(range(count))]
        known = {start: self._over[start] for start in starts if start in self._over}
        first = next(start for start in starts if start not in known)
        rows = (await session.execute(PER_HOUR, {"start": first})).all()
        counted = {first + timedelta(hours=row.hour): row for row in rows}
        hours = []
        for start in starts:
            row = counted.get(start)
            hour = known.get(start) or Hour(start, row.inbound if row else 0, row.outbound if row else 0)
            hours.append(hour)
        self._over = {hour.start: hour for hour in hours if now - hour.start > timedelta(hours=1) + LATE_COMMITS}
        return hours


def _hour_start(now: datetime, zone: ZoneInfo) -> datetime:
    local = now.astimezone(zone)
    return (now - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)).astimezone(UTC)


def midnight_of(now: datetime, zone: ZoneInfo) -> datetime:
    """When today began in this zone, in UTC."""
    return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list: just past this conversation."""

    last_at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{(self.last_at - EPOCH) // timedelta(microseconds=1)}.{self.id.hex}"

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read a cursor from an address; raises UserError for anything that is none."""
        match = CURSOR.fullmatch(raw)
        if match is None:
            raise UserError("The place in the list that this address names is not whole. Open the list from its start.")
        try:
            return cls(EPOCH + timedelta(microseconds=int(match[1])), UUID(match[2]))
        except (OverflowError, ValueError) as error:
            raise UserError("The place in the list that this address names does not exist.") from error


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the list shows: the whole of it is in the address."""

    channel: ChannelName | None = None
    search: str = ""
    show: str = ""
    before: Cursor | None = None
    after: Cursor | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; raises UserError with a sentence for values that mean nothing."""
        channel, search, show = query.get("channel", ""), query.get("q", "").strip(), query.get("show", "")
        if channel and channel not in set(ChannelName):
            raise UserError(f"There is no channel of that name. Choose one of {', '.join(ChannelName)}.")
        if len(search) > SEARCH_CHARS_MAX:
            raise UserError(f"A search has at most {SEARCH_CHARS_MAX} characters. Shorten it.")
        if not search.isprintable():
            raise UserError("A search is made of letters, digits and signs. Take the control characters out.")
        if show not in SHOWN:
            raise UserError("The list shows everything, or show=waiting, show=mine, or show=trouble.")
        before, after = query.get("before", ""), query.get("after", "")
        if before and after:
            raise UserError("A page is before a place or after it, not both. Open the list from its start.")
        return cls(
            ChannelName(channel) if channel else None,
            search,
            show,
            Cursor.parse(before) if before else None,
            Cursor.parse(after) if after else None,
        )

    @property
    def trouble(self) -> bool:
        """Whether only conversations with recent trouble are wanted."""
        return self.show == "trouble"

    @property
    def filters(self) -> dict[str, str]:
        """The query without the page."""
        pairs = {"q": self.search, "channel": self.channel or "", "show": self.show}
        return {name: value for name, value in pairs.items() if value}

    @property
    def params(self) -> dict[str, str]:
        """The whole query, as an address has it."""
        pages = {"before": str(self.before or ""), "after": str(self.after or "")}
        return self.filters | {name: value for name, value in pages.items() if value}


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation in the list. Holds no message text."""

    id: UUID
    channel: str
    room: str
    last_at: datetime
    messages: int
    name: str | None
    identity: str | None
    members: int
    direction: str | None
    turn_state: str | None
    outbox_state: str | None
    outbox_done: bool
    provider_status: str | None
    mode: str
    holder: str | None

    @property
    def cursor(self) -> Cursor:
        """Its place in the list."""
        return Cursor(self.last_at, self.id)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list, newest first, and where the neighbours begin."""

    rows: Sequence[Row]
    older: Cursor | None
    newer: Cursor | None


async def conversations(session: AsyncSession, query: ListQuery, reader: str) -> Page:
    """One page of conversations, for the member of staff who reads."""
    statement = _rows().where(*_wanted(query, reader, await Sought.read(session, query.search)))
    if query.after is not None:
        place = tuple_(query.after.last_at, query.after.id)
        statement = statement.where(
            Conversation.last_at >= query.after.last_at, tuple_(Conversation.last_at, Conversation.id) > place
        ).order_by(Conversation.last_at, Conversation.id)
    else:
        if query.before is not None:
            place = tuple_(query.before.last_at, query.before.id)
            statement = statement.where(
                Conversation.last_at <= query.before.last_at,
                tuple_(Conversation.last_at, Conversation.id) < place,
            )
        statement = statement.order_by(Conversation.last_at.desc(), Conversation.id.desc())
    read = (await session.execute(statement.limit(LIST_PAGE + 1))).mappings().all()
    found = [Row(**row) for row in await called.opened(session, read)]
    more, rows = len(found) > LIST_PAGE, found[:LIST_PAGE]
    if query.after is not None:
        rows.reverse()
        return Page(rows, rows[-1].cursor if rows else None, rows[0].cursor if more else None)
    return Page(rows, rows[-1].cursor if more else None, rows[0].cursor if query.before and rows else None)


def _rows() -> Select[*tuple[Any, ...]]:
    who = (
        select(
            func.coalesce(Person.name, Identity.display_name).label("name"),
            Identity.provider_id.label("identity"),
            func.count().over().label("members"),
        )
        .join_from(Member, Identity)
        .join(Person)
        .where(Member.conversation_id == Conversation.id)
        .order_by(Member.joined_at, Member.identity_id)
        .limit(1)
        .lateral("who")
    )
    newest = (
        select(Message.id, Message.direction, Message.turn_id)
        .where(Message.conversation_id == Conversation.id)
        .order_by(Message.seq.desc())
        .limit(1)
        .lateral("newest")
    )
    return (
        select(
            Conversation.id,
            Conversation.channel,
            Conversation.room,
            Conversation.last_at,
            (Conversation.next_seq - 1).label("messages"),
            who.c.name,
            who.c.identity,
            func.coalesce(who.c.members, 0).label("members"),
            newest.c.direction,
            Turn.state.label("turn_state"),
            Outbox.state.label("outbox_state"),
            Outbox.done_at.is_not(None).label("outbox_done"),
            Outbox.provider_status,
            Conversation.mode,
            Conversation.holder,
        )
        .select_from(Conversation)
        .outerjoin(who, text("true"))
        .outerjoin(newest, text("true"))
        .outerjoin(Turn, and_(Turn.id == newest.c.turn_id, newest.c.direction == "in"))
        .outerjoin(Outbox, Outbox.id == newest.c.id)
    )


def _wanted(query: ListQuery, reader: str, sought: Sought) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [Conversation.erasure_id.is_(None)]
    if query.channel is not None:
        wanted.append(Conversation.channel == query.channel.value)
    if query.show == "waiting":
        wanted.append(Conversation.mode == "waiting")
    if query.show == "mine":
        wanted += [Conversation.mode == "human", Conversation.holder == reader]
    if query.search:
        known = aliased(Member)
        wanted.append(
            or_(
                sought.at(Conversation.channel, Conversation.room),
                exists().where(
                    known.conversation_id == Conversation.id,
                    Identity.id == known.identity_id,
                    Person.id == Identity.person_id,
                    or_(
                        sought.at(Identity.channel, Identity.provider_id),
                        *sought.called(Person.name_index),
                        *sought.called(Identity.name_index),
                    ),
                ),
            )
        )
    if query.trouble:
        refused = select(Outbox.conversation_id).where(
            Outbox.done_at.is_not(None),
            Outbox.state.in_(("refused", "unknown")),
            Outbox.done_at > func.now() - RECENT,
        )
        dead = select(Turn.conversation_id).where(Turn.state == "dead", Turn.created_at > func.now() - RECENT)
        wanted.append(or_(Conversation.id.in_(refused), Conversation.id.in_(dead)))
    return wanted


@dataclass(frozen=True, slots=True)
class Somebody:
    """A member of a conversation."""

    name: str | None
    identity: str
    language: str
    timezone: str | None


@dataclass(frozen=True, slots=True)
class Heading:
    """A conversation's own facts."""

    id: UUID
    channel: str
    account: str
    room: str
    created_at: datetime
    messages: int
    members: Sequence[Somebody]
    handoff: Handoff


MEMBERS_SHOWN = 20


async def heading(session: AsyncSession, conversation_id: UUID) -> Heading | None:
    """What a conversation is, without its messages; None where there is none."""
    conversation = await session.get(Conversation, conversation_id)
    if conversation is None or conversation.erasure_id is not None:
        return None
    members = await session.execute(
        select(
            func.coalesce(Person.name, Identity.display_name).label("name"),
            Identity.provider_id.label("identity"),
            Identity.channel,
            Person.language,
            Person.timezone,
        )
        .join_from(Member, Identity)
        .join(Person)
        .where(Member.conversation_id == conversation_id)
        .order_by(Member.joined_at, Member.identity_id)
        .limit(MEMBERS_SHOWN)
    )
    [place] = await called.opened(session, [{"channel": conversation.channel, "room": conversation.room}])
    known = await called.opened(session, members.mappings().all())
    return Heading(
        conversation.id,
        conversation.channel,
        conversation.account,
        place["room"],
        conversation.created_at,
        conversation.next_seq - 1,
        [Somebody(row["name"], row["identity"], row["language"], row["timezone"]) for row in known],
        Handoff(Mode(conversation.mode), conversation.holder, conversation.held_until),
    )


@dataclass(frozen=True, slots=True)
class Linked:
    """Another identity of the person a conversation is with; `conversation` is where they write as it, if anywhere."""

    channel: str
    identity: str
    verified: bool
    conversation: UUID | None


LINKED_SHOWN = 20


async def linked(session: AsyncSession, conversation_id: UUID) -> tuple[UUID | None, Sequence[Linked]]:
    """The person of a conversation with one member, and their other identities; nobody for a group.

    Write an audit row with it.
    """
    people = (
        await session.scalars(
            select(Identity.person_id)
            .join(Member, Member.identity_id == Identity.id)
            .where(Member.conversation_id == conversation_id)
            .limit(2)
        )
    ).all()
    if len(people) != 1:
        return None, ()
    own = aliased(Conversation)
    rows = await session.execute(
        select(
            Identity.channel,
            Identity.provider_id.label("identity"),
            ((Identity.channel != ChannelName.EMAIL.value) | Identity.verified_at.is_not(None)).label("verified"),
            own.id.label("conversation"),
        )
        .outerjoin(
            own,
            and_(own.channel == Identity.channel, own.account == Identity.account, own.room == Identity.provider_id),
        )
        .where(Identity.person_id == people[0], func.coalesce(own.id != conversation_id, text("true")))
        .order_by(Identity.created_at, Identity.id)
        .limit(LINKED_SHOWN)
    )
    return people[0], [Linked(**row) for row in await called.opened(session, rows.mappings().all())]


@dataclass(frozen=True, slots=True)
class Reach:
    """When the person last wrote, and since when they want no messages; None for never."""

    inbound_at: datetime | None
    opted_out_at: datetime | None


async def reach(session: AsyncSession, heading: Heading) -> Reach:
    """Whether a conversation's person may be written to, on channels where that depends on them."""
    newest = (
        select(Message.created_at)
        .where(Message.conversation_id == heading.id, Message.direction == "in")
        .order_by(Message.seq.desc())
        .limit(1)
    )
    opted_out = (
        select(OptOut.at)
        .join(Identity, Identity.id == OptOut.identity_id)
        .where(
            Identity.channel == heading.channel,
            Identity.account == heading.account,
            Identity.provider_id == heading.room,
            OptOut.ended_at.is_(None),
        )
    )
    return Reach(await session.scalar(newest), await session.scalar(opted_out))


@dataclass(frozen=True, slots=True)
class Step:
    """What a provider said of one piece of a message, counted from 0, and when it came so far."""

    piece: int
    status: str
    at: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Reacted:
    """An emoji under a message: how many put it there, and what those are called whose name is known."""

    emoji: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """One message as stored, and how its delivery or its turn stands."""

    id: int
    seq: int
    direction: str
    created_at: datetime
    parts: tuple[Part, ...] | None
    turn_id: int | None
    turn_state: str | None
    intent: Mapping[str, Any] | None
    kind: str | None
    outbox_state: str | None
    outbox_done: bool
    provider_status: str | None
    error: str | None
    sender: str | None
    author: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    template: str | None = None
    sent_at: datetime | None = None
    """When nothing more was to be sent of it, however that ended."""
    pieces: int = 1
    """How many messages of the provider's it was, as far as they have been sent."""
    steps: tuple[Step, ...] = ()
    reactions: tuple[Reacted, ...] = ()


def _messages(conversation_id: UUID, upto: int | None) -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = (
        select(
            Message.id,
            Message.seq,
            Turn.state.label("turn_state"),
            Outbox.state.label("outbox_state"),
            Outbox.done_at.is_not(None).label("outbox_done"),
            Outbox.provider_status,
            Outbox.error,
            Message.edited_at,
            Message.deleted_at,
            # Where the window had shut out a try, what was said of that one counts too: it is there to see a change.
            select(func.count())
            .where(DeliveryStatus.outbox_id == Outbox.id)
            .correlate(Outbox)
            .scalar_subquery()
            .label("told"),
        )
        .select_from(Message)
        .outerjoin(Turn, and_(Turn.id == Message.turn_id, Message.direction == "in"))
        .outerjoin(Outbox, Outbox.id == Message.id)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.seq.desc())
    )
    return statement if upto is None else statement.where(Message.seq <= upto)


async def thread_state(session: AsyncSession, conversation_id: UUID) -> str:
    """Everything about the newest page of a conversation that can change, without a word that was written in it."""
    rows = await session.execute(_messages(conversation_id, None).limit(THREAD_PAGE))
    newest_note = select(func.max(Note.id)).where(Note.conversation_id == conversation_id).scalar_subquery()
    # With the room's keys its words may be gone, and with them what the page shows.
    kept = await session.execute(
        select(newest_note, Conversation.epoch, Conversation.changes).where(Conversation.id == conversation_id)
    )
    return "\n".join("|".join(str(value) for value in row) for row in [*rows, *kept])


async def thread(session: AsyncSession, conversation_id: UUID, upto: int | None) -> list[Stored]:
    """The newest messages up to number `upto`, oldest first. It reads what people wrote: write an audit row with it."""
    statement = (
        _messages(conversation_id, upto)
        .add_columns(
            Message.direction,
            Message.created_at,
            Message.conversation_id,
            Message.sealed,
            Message.event_id,
            Message.dedup_key,
            Message.identity_id,
            Message.turn_id,
            Message.author,
            Turn.intent,
            Turn.slots,
            Outbox.kind,
            Outbox.template["name"].astext.label("template"),
            Outbox.done_at.label("sent_at"),
            (Outbox.piece + 1).label("pieces"),
            func.coalesce(Person.name, Identity.display_name).label("sender"),
        )
        .outerjoin(Identity, Identity.id == Message.identity_id)
        .outerjoin(Person, Person.id == Identity.person_id)
    )
    rows = (await session.execute(statement.limit(THREAD_PAGE))).mappings().all()
    connection = await driver(session)
    said = await sealed.opened(connection.keys, connection, rows)
    slots = await connection.keys.opened(
        connection, [(conversation_id, sealed.as_slots(row["turn_id"] or 0), row["slots"]) for row in rows]
    )
    steps = await _steps(session, [row["id"] for row in rows])
    reactions = await _reactions(session, [row["id"] for row in rows])
    shown = await called.opened(session, rows)
    return [_stored(*one, steps, reactions) for one in zip(shown, said, slots, strict=True)][::-1]


async def _steps(session: AsyncSession, ids: Sequence[int]) -> dict[int, tuple[Step, ...]]:
    """What providers said of these messages, of each one's newest try, piece by piece."""
    statement = (
        select(DeliveryStatus)
        .join(Outbox, Outbox.id == DeliveryStatus.outbox_id)
        .where(
            DeliveryStatus.outbox_id.in_(ids),
            DeliveryStatus.attempt == func.coalesce(func.cardinality(Outbox.past_ids), 0),
        )
        .order_by(DeliveryStatus.outbox_id, DeliveryStatus.piece, DeliveryStatus.at)
        .limit(STEPS_MAX)
    )
    found: dict[int, tuple[Step, ...]] = {}
    for one in await session.scalars(statement):
        step = Step(one.piece, one.status, one.at, one.error)
        found[one.outbox_id] = (*found.get(one.outbox_id, ()), step)
    return found


async def _reactions(session: AsyncSession, ids: Sequence[int]) -> dict[int, tuple[Reacted, ...]]:
    """What people put under these messages, each emoji of a message once, the first first."""
    statement = (
        select(Reaction.message_id, Reaction.emoji, func.coalesce(Person.name, Identity.display_name).label("name"))
        .join(Identity, Identity.id == Reaction.identity_id)
        .join(Person, Person.id == Identity.person_id)
        .where(Reaction.message_id.in_(ids))
        .order_by(Reaction.message_id, Reaction.reacted_at, Reaction.identity_id)
        .limit(REACTIONS_MAX)
    )
    found: dict[int, dict[str, Reacted]] = {}
    for row in await called.opened(session, (await session.execute(statement)).mappings().all()):
        under = found.setdefault(row["message_id"], {})
        for emoji in row["emoji"]:
            so_far = under.get(emoji, Reacted(emoji, 0, ()))
            under[emoji] = Reacted(emoji, so_far.count + 1, (*so_far.names, *([row["name"]] if row["name"] else [])))
    return {message_id: tuple(under.values()) for message_id, under in found.items()}


@dataclass(frozen=True, slots=True)
class Aside:
    """A note of staff, as stored."""

    id: int
    author: str
    text: str
    created_at: datetime


async def asides(
    session: AsyncSession, conversation_id: UUID, since: datetime | None, until: datetime | None
) -> list[Aside]:
    """The notes between two moments, oldest first; None is no bound."""
    columns = Note.id, Note.author, Note.created_at, Note.conversation_id, Note.nonce, Note.sealed
    statement = select(*columns).where(Note.conversation_id == conversation_id)
    if since is not None:
        statement = statement.where(Note.created_at >= since)
    if until is not None:
        statement = statement.where(Note.created_at <= until)
    rows = (await session.execute(statement.order_by(Note.created_at.desc()).limit(NOTES_MAX))).all()[::-1]
    connection = await driver(session)
    values = [(row.conversation_id, sealed.as_note(row.author, row.nonce), row.sealed) for row in rows]
    said = await connection.keys.opened(connection, values)
    return [
        Aside(row.id, row.author, ERASED if text is None else text.decode(), row.created_at)
        for row, text in zip(rows, said, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Shares:
    """How many conversations wait for a human, and how many the reader holds."""

    waiting: int
    mine: int


async def shares(session: AsyncSession, reader: str) -> Shares:
    """The figures beside the list's filters."""
    row = await session.execute(
        select(
            func.count().filter(Conversation.mode == "waiting").label("waiting"),
            func.count().filter(Conversation.holder == reader).label("mine"),
        ).where(Conversation.mode != "bot")
    )
    return Shares(**row.mappings().one())


def _stored(
    row: Mapping[str, Any],
    json: bytes | None,
    slots: bytes | None,
    steps: Mapping[int, tuple[Step, ...]],
    reactions: Mapping[int, tuple[Reacted, ...]],
) -> Stored:
    """A message from its row; its parts are None for kinds that this version does not know, and none once erased."""
    shown = {name: value for name, value in row.items() if name not in (*SEALED_AS, "told")}
    shown["pieces"] = row["pieces"] or 1
    shown["steps"] = steps.get(row["id"], ())
    shown["reactions"] = reactions.get(row["id"], ())
    shown["intent"] = sealed.with_slots(row["intent"], slots)
    if json is None:
        return Stored(**shown | {"parts": (), "deleted_at": row["deleted_at"] or row["created_at"]})
    try:
        return Stored(**shown, parts=PARTS.validate_json(json))
    except ValidationError:
        return Stored(**shown, parts=None)
