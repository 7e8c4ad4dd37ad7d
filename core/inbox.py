"""The inbox: every inbound message is stored once, for ever, numbered in its conversation, and given to a turn.

Nothing is accepted before its row is committed. What arrives together is committed together. A conversation's row lock
orders its messages; under that lock a message joins the waiting turn of its conversation or starts one. In a
conversation that waits for a human or is in one's hands, that turn is `held`, and nobody claims it (core/handoff.py).
What people say to one another in a shared room belongs to no turn.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from core import changes, crashpoint, fetching, sealed, voice, zones
from core.changes import Change, Changed, Moved, Reach
from core.crypto import RoomKey, RoomKeys
from core.db import POOL_WAIT_S, Database, is_away
from core.errors import Erased, StoreUnavailable
from core.group_commit import ANSWER_S, GroupCommit
from core.messages import Address, ChannelName, InboundMessage
from core.metrics import INBOUND
from core.names import names_of
from core.sealed import EPOCHS_MAX, TOUCHED
from core.wake import Name, Wakes

log = structlog.get_logger()

WOKEN_BY_CHANGES: tuple[Name, ...] = ("turn", "message", "outbox")

PLACES_MAX = 50_000
"""How many places a process remembers; each is good for the epoch of its conversation that it was found in."""

WAITING = """waiting AS (
    INSERT INTO turn (conversation_id, first_seq, state)
    SELECT id, first_seq, CASE mode WHEN 'bot' THEN 'waiting' ELSE 'held' END FROM counted
    ON CONFLICT (conversation_id, state) WHERE state IN ('waiting', 'open', 'held', 'halted')
    DO UPDATE SET first_seq = turn.first_seq
    RETURNING id, conversation_id
), """


def _store(waiting: str, turn_id: str, joined: str) -> str:
    """The statement that stores messages, which `joined` give their `turn_id`."""
    return f"""
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[],
                         $8::timestamptz[], $9::int[])
        WITH ORDINALITY
        AS g(conversation_id, identity_id, channel, account, event_id, sealed, reply_to, sent_at, epoch, n)
), fresh AS (
    SELECT DISTINCT ON (channel, account, event_id) given.*
    FROM given
    WHERE NOT EXISTS (SELECT FROM message m WHERE m.direction = 'in' AND m.channel = given.channel
                      AND m.account = given.account AND m.event_id = given.event_id OFFSET 0)
    ORDER BY channel, account, event_id, n
), locked AS MATERIALIZED (
    SELECT id FROM conversation WHERE id IN (SELECT conversation_id FROM fresh) ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE conversation c SET next_seq = c.next_seq + f.messages, last_at = {TOUCHED}
    FROM (SELECT conversation_id, epoch, count(*) AS messages FROM fresh GROUP BY conversation_id, epoch) f
    JOIN locked ON locked.id = f.conversation_id
    WHERE c.id = f.conversation_id AND c.epoch = f.epoch
    RETURNING c.id, c.next_seq - f.messages AS first_seq, c.mode
), {waiting}stored AS (
    INSERT INTO message (conversation_id, seq, direction, channel, account, event_id, identity_id, turn_id, sealed,
                         reply_to, sent_at)
    SELECT f.conversation_id, c.first_seq + row_number() OVER (PARTITION BY f.conversation_id ORDER BY f.n) - 1, 'in',
           f.channel, f.account, f.event_id, f.identity_id, {turn_id}, f.sealed, f.reply_to, f.sent_at
    FROM fresh f
    JOIN counted c ON c.id = f.conversation_id
    {joined}
    RETURNING channel, account, event_id, conversation_id, seq
)
SELECT channel, account, event_id, conversation_id, seq, true AS new FROM stored
UNION ALL
SELECT m.channel, m.account, m.event_id, m.conversation_id, m.seq, false
FROM (SELECT DISTINCT channel, account, event_id FROM given) g
CROSS JOIN LATERAL (SELECT * FROM message m WHERE m.direction = 'in' AND m.channel = g.channel
                    AND m.account = g.account AND m.event_id = g.event_id OFFSET 0) m
"""


STORE = _store(WAITING, "w.id", "JOIN waiting w ON w.conversation_id = f.conversation_id")
"""One statement, hence one transaction. An event that another process stored since its snapshot breaks the unique index
and with it the whole statement, which is then tried again: no number is ever used up in vain. What was sealed in an
epoch that is over is not stored, and missing from the answer.
"""

STORE_ASIDE = _store("", "NULL", "")
"""The same for what is not said to the bot: no turn, hence no answer and no quota."""

MEET = """
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[],
                         $8::text[])
        AS g(channel, account, room, provider_id, name, name_index, language, zone)
), identities AS (
    INSERT INTO identity (id, person_id, channel, account, provider_id, display_name, name_index)
    SELECT gen_random_uuid(), gen_random_uuid(), channel, account, provider_id,
           (array_agg(name ORDER BY name))[1], (array_agg(name_index ORDER BY name))[1]
    FROM given GROUP BY channel, account, provider_id ORDER BY channel, account, provider_id
    ON CONFLICT (channel, account, provider_id) DO NOTHING
    RETURNING person_id, channel, account, provider_id, display_name, name_index
), people AS (
    INSERT INTO person (id, name, name_index, language, zone_guess)
    SELECT i.person_id, i.display_name, i.name_index, coalesce(g.language, 'en'), g.zone
    FROM identities i
    CROSS JOIN LATERAL (SELECT max(language) AS language, max(zone) AS zone FROM given g
                        WHERE (g.channel, g.account, g.provider_id) = (i.channel, i.account, i.provider_id)) g
)
INSERT INTO conversation (id, channel, account, room)
SELECT gen_random_uuid(), channel, account, room FROM given GROUP BY channel, account, room ORDER BY channel,
account, room
ON CONFLICT (channel, account, room) DO NOTHING
"""

FIND = """
SELECT g.n, c.id AS conversation_id, c.epoch,
       (SELECT i.id FROM identity i
        WHERE (i.channel, i.account, i.provider_id) = (g.channel, g.account, g.provider_id)) AS identity_id
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS g(channel, account, room, provider_id, n)
CROSS JOIN LATERAL (SELECT id, epoch FROM conversation c
                    WHERE (c.channel, c.account, c.room) = (g.channel, g.account, g.room) OFFSET 0) c
"""
"""Who somebody is may change only with the epoch of every conversation they are in (core/erasure.py)."""

JOIN = """
INSERT INTO member (conversation_id, identity_id)
SELECT DISTINCT c, i FROM unnest($1::uuid[], $2::uuid[]) AS g(c, i) ORDER BY c, i
ON CONFLICT DO NOTHING
"""

ERASED = "SELECT name, max(at) AS at FROM erased_address WHERE name = ANY($1::text[]) GROUP BY name"
ERASED_PURPOSE = b"erased addresses"

LANGUAGES = ("en", "sw")

Event = tuple[str, str, str]
"""Channel, account, event id."""
Place = tuple[str, str, str, str]
"""Channel, account, room, the provider's id of the person."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a message belongs: the conversation and who wrote it, as they are in an epoch.

    `erased_at` is when this address was last erased: what was sent before that is not let in again.
    """

    conversation_id: UUID
    identity_id: UUID
    epoch: int
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """Where a message stands: its conversation and number there. `new` is False for an event id seen before.

    Number 0 is nowhere: who wrote it has been erased since, and it is not kept.
    """

    conversation_id: UUID
    seq: int
    new: bool

    @property
    def is_kept(self) -> bool:
        """Whether it is stored at all."""
        return self.seq > 0


NOWHERE = Received(UUID(int=0), 0, new=False)


class Inbox:
    """Stores inbound messages; one a process."""

    def __init__(self, db: Database, wakes: Wakes, *, tell_others: bool = False, transcribes: bool = False) -> None:
        """`tell_others` sends a NOTIFY with each commit, for deployments whose turns run in other processes.

        With `transcribes` voice notes are given to be written down.
        """
        self._transcribes = transcribes
        self._db = db
        self._wakes = wakes
        self._tell_others = tell_others
        self._places: dict[Place, Found] = {}
        self._commits: GroupCommit[Sequence[InboundMessage], list[Received]] = GroupCommit(self._commit)

    async def receive(self, messages: Sequence[InboundMessage]) -> list[Received]:
        """Store messages in this order, once each; returns after COMMIT, one Received a message.

        Raises StoreUnavailable when PostgreSQL is away: nothing may then be acknowledged, and sending again is safe.
        """
        if not messages:
            return []
        return await self._commits.submit(messages)

    async def meet(self, sender: Address) -> tuple[UUID, UUID]:
        """The (conversation, identity) of somebody who has not written yet, made where new.

        Raises StoreUnavailable, and Erased for a visitor who was.
        """
        stranger = InboundMessage(sender, "", (), datetime.now(UTC))
        async with _answering(), self._db.pool.acquire(timeout=POOL_WAIT_S) as connection:
            [place] = await self._find(connection, [stranger])
        if place is None:
            raise Erased
        return place.conversation_id, place.identity_id

    async def change(self, change: Change) -> Changed:
        """Store an edit, deletion or reaction once, and carry it out; returns after COMMIT. Raises StoreUnavailable."""
        async with _answering():
            changed = await changes.apply(self._db, change)
            if changed.state == "applied":
                # An answer that was being made may be out of date, and whoever shows the room has something to read.
                for name in WOKEN_BY_CHANGES:
                    self._wakes.wake(name)
                async with self._db.pool.acquire(timeout=POOL_WAIT_S) as connection:
                    for name in WOKEN_BY_CHANGES:
                        await self._wakes.notify(connection, name)
        return changed

    async def tell(self, news: Moved | Reach) -> bool:
        """Keep what a provider says of a room; False when that changes nothing. Raises StoreUnavailable."""
        async with _answering():
            done = await (changes.move(self._db, news) if isinstance(news, Moved) else changes.reach(self._db, news))
        if isinstance(news, Moved) and not done:
            log.info("inbox.room_stays", channel=news.channel)
        return done

    async def _commit(self, groups: Sequence[Sequence[InboundMessage]]) -> list[list[Received]]:
        messages = [message for group in groups for message in group]
        async with self._db.pool.acquire(timeout=POOL_WAIT_S) as connection:
            stored, fresh = await self._seal(connection, messages)
            if self._tell_others:
                await self._wakes.notify(connection, "turn")
        self._wakes.wake("turn")
        return [[_received(message, stored, fresh) for message in group] for group in groups]

    async def _seal(self, connection: Any, given: Sequence[InboundMessage]) -> tuple[dict[Event, Any], set[Event]]:
        """Find where messages belong, seal and store; the row of each event, and which were not there before.

        What somebody sent before they were erased has no row.
        """
        stored: dict[Event, Any] = {}
        fresh: set[Event] = set()
        messages = given
        spoken = self._transcribes and any(map(voice.wordless, messages))
        noted = spoken or any(map(fetching.carries, messages))
        for _ in range(EPOCHS_MAX):
            found = await self._find(connection, messages)
            kept = [(message, place) for message, place in zip(messages, found, strict=True) if place is not None]
            if not kept:
                return stored, fresh
            keys = await self._db.keys.current(connection, [place.conversation_id for _, place in kept])
            messages, places = [message for message, _ in kept], [place for _, place in kept]
            over = [
                (message, place)
                for message, place in kept
                if place.conversation_id not in keys or keys[place.conversation_id].epoch != place.epoch
            ]
            if over:
                self._forget(over)
                continue
            crashpoint.hit("inbox.before_commit")
            async with connection.transaction() if noted else nullcontext():
                rows = await self._insert(connection, STORE, keys, messages, places, to_bot=True)
                if not all(message.to_bot for message in messages):
                    rows += await self._insert(connection, STORE_ASIDE, keys, messages, places, to_bot=False)
                if noted:
                    await self._note(connection, messages, rows, spoken=spoken)
            crashpoint.hit("inbox.committed")
            for row in rows:
                event = row["channel"], row["account"], row["event_id"]
                stored[event] = row
                if row["new"]:
                    fresh.add(event)
                    if keys[row["conversation_id"]].is_used_up(row["seq"]):
                        await self._next_epoch(connection, keys[row["conversation_id"]])
            over = [(message, place) for message, place in kept if _event(message) not in stored]
            if not over:
                self._remember(messages, places)
                return stored, fresh
            self._forget(over)
        raise StoreUnavailable("The database is busy. Try again in a few seconds.")

    async def _next_epoch(self, connection: Any, used_up: RoomKey) -> None:
        with suppress(LookupError):  # Another process was faster.
            async with connection.transaction():
                await self._db.keys.start_epoch(connection, used_up.conversation_id, after=used_up.epoch)

    async def _note(
        self, connection: Any, messages: Sequence[InboundMessage], rows: Sequence[Any], *, spoken: bool
    ) -> None:
        """Have the files of messages that are new fetched, and voice notes written down; workers are woken when that
        commits.
        """
        new = {(row["channel"], row["account"], row["event_id"]): row for row in rows if row["new"]}
        placed = [
            (row["conversation_id"], row["seq"], message.parts)
            for message in messages
            if (row := new.pop(_event(message), None))
        ]
        if await fetching.note(connection, placed):
            await self._wakes.notify(connection, "file")
        if spoken and await voice.note(connection, placed):
            await self._wakes.notify(connection, "voice")

    async def _insert(
        self, connection: Any, statement: str, keys: Mapping[UUID, RoomKey], messages: Sequence[InboundMessage],
        places: Sequence[Found], *, to_bot: bool,
    ) -> Any:  # fmt: skip
        """Run STORE or STORE_ASIDE for the messages it is for."""
        chosen = [(message, place) for message, place in zip(messages, places, strict=True) if message.to_bot is to_bot]
        if not chosen:
            return []
        return await connection.fetch(
            statement,
            [place.conversation_id for _, place in chosen],
            [place.identity_id for _, place in chosen],
            [message.sender.channel.value for message, _ in chosen],
            [message.sender.account for message, _ in chosen],
            [message.event_id for message, _ in chosen],
            [
                sealed.seal(
                    keys[place.conversation_id], message.event_id, sealed.by_identity(place.identity_id), message.parts
                )
                for message, place in chosen
            ],
            [message.reply_to for message, _ in chosen],
            [message.sent_at for message, _ in chosen],
            [place.epoch for _, place in chosen],
        )

    async def _find(self, connection: Any, messages: Sequence[InboundMessage]) -> list[Found | None]:
        """Where each message belongs; strangers and new rooms are written down first.

        None for what was sent before its address was erased. A visitor of the web never comes back under the same id.
        """
        wanted = [_place(message) for message in messages]
        unknown = {place: message for place, message in zip(wanted, messages, strict=True) if place not in self._places}
        found: dict[Place, Found] = {}
        erased = await self._erased(connection, unknown) if unknown else {}
        unknown = {place: message for place, message in unknown.items() if not _is_late(message, erased.get(place))}
        if unknown:
            strangers = list(unknown)
            channels, accounts, rooms, people = (list(column) for column in zip(*strangers, strict=True))
            known = await names_of(connection)
            names = [unknown[place].display_name for place in strangers]
            sealed_names, indexes = [known.seal(name) for name in names], [known.index(name) for name in names]
            languages = [_language(unknown[place].language) for place in strangers]
            clocks = [_zone(unknown[place]) for place in strangers]
            await connection.execute(MEET, channels, accounts, rooms, people, sealed_names, indexes, languages, clocks)
            rows = await connection.fetch(FIND, channels, accounts, rooms, people)
            for row in rows:
                place = strangers[row["n"] - 1]
                who = row["conversation_id"], row["identity_id"], row["epoch"]
                if row["identity_id"] is not None:
                    found[place] = Found(*who, erased.get(place))
            await connection.execute(
                JOIN, [one.conversation_id for one in found.values()], [one.identity_id for one in found.values()]
            )
        chosen = [found.get(place) or self._places.get(place) for place in wanted]
        return [
            None if one is None or _is_late(message, one.erased_at) else one
            for message, one in zip(messages, chosen, strict=True)
        ]

    async def _erased(self, connection: Any, places: Collection[Place]) -> dict[Place, datetime]:
        """When the addresses among these that were erased within the last days were."""
        names = {name: place for place in places for name in address_names(self._db.keys, place[0], place[1], place[3])}
        rows = await connection.fetch(ERASED, list(names))
        return {names[row["name"]]: row["at"] for row in rows}

    def _forget(self, places: Sequence[tuple[InboundMessage, Found]]) -> None:
        """Look places and their keys up anew: one of both is from another epoch."""
        for message, found in places:
            self._places.pop(_place(message), None)
            self._db.keys.forget(found.conversation_id)

    def _remember(self, messages: Sequence[InboundMessage], places: Sequence[Found]) -> None:
        for message, found in zip(messages, places, strict=True):
            self._places[_place(message)] = found
        while len(self._places) > PLACES_MAX:
            del self._places[next(iter(self._places))]


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """StoreUnavailable, in time for a provider, where PostgreSQL is away: nothing may then be acknowledged."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except Exception as error:
        if not is_away(error):
            raise
        raise StoreUnavailable("The database is not reachable. Try again in a few seconds.") from error


def _zone(message: InboundMessage) -> str | None:
    """Where a stranger's clock is likely to be: as their device says, else by their number."""
    return message.zone if zones.is_known(message.zone) else zones.of_phone(message.sender.phone)


def address_names(keys: RoomKeys, channel: str, account: str, provider_id: str) -> list[str]:
    """The names under which an address is known to have been erased, one for each key of the list, newest first."""
    said = f"{channel}\0{account}\0{provider_id}".encode()
    return [hmac.digest(key, said, "sha256").hex() for key in keys.key_list.derived(ERASED_PURPOSE)]


def _is_late(message: InboundMessage, erased_at: datetime | None) -> bool:
    """Whether a message was sent before its address was erased, by the provider's clock."""
    if erased_at is None:
        return False
    return message.sender.channel is ChannelName.WEB or message.sent_at <= erased_at


def _received(message: InboundMessage, stored: Mapping[Event, Any], fresh: set[Event]) -> Received:
    """Where a message stands; an event that came twice in one batch is new once."""
    key = _event(message)
    if key not in stored:
        return NOWHERE
    new = key in fresh
    fresh.discard(key)
    _counter(key[0], new).inc()
    return Received(stored[key]["conversation_id"], stored[key]["seq"], new)


def _event(message: InboundMessage) -> Event:
    return message.sender.channel.value, message.sender.account, message.event_id


@cache
def _counter(channel: str, new: bool) -> Counter:
    return INBOUND.labels(channel, new)


def _place(message: InboundMessage) -> Place:
    sender = message.sender
    return sender.channel.value, sender.account, sender.room, sender.person


def _language(code: str | None) -> str | None:
    """The language we speak for a provider's language code; None when it says nothing we know."""
    language = (code or "").partition("-")[0].lower()
    return language if language in LANGUAGES else None
