"""The list of conversations, and one conversation beside it. Opening one writes an audit row with the read."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, canned
from core.db import Database
from core.errors import UserError
from core.messages import ChannelName
from core.renumber import room_frozen_since
from core.window import WINDOW, WINDOWED, is_open
from web_admin import auth, queries, words
from web_admin.forms import is_number, uuid_of
from web_admin.live import SignedOut, Update
from web_admin.queries import THREAD_PAGE, Heading, ListQuery, Page, Reach, Shares
from web_admin.rendering import Templates, link
from web_admin.thread import blocks


@dataclass(frozen=True, slots=True)
class Place:
    """What the address names: the list's page, the open conversation if any, and up to which message it shows."""

    query: ListQuery
    conversation: UUID | None = None
    upto: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str], conversation: str | None = None) -> Self:
        """Read an address; raises UserError for a query that means nothing, LookupError for an id that is none."""
        upto = query.get("upto", "")
        if upto and not is_number(upto):
            raise UserError("The message that this address names is not a number. Open the conversation from the list.")
        return cls(ListQuery.parse(query), uuid_of(conversation) if conversation else None, int(upto) if upto else None)


class Conversations:
    """Reads and renders the list and the thread."""

    def __init__(self, db: Database, zone: ZoneInfo, templates: Templates, now: Callable[[], datetime]) -> None:
        """In the deployment's zone, with the clock given."""
        self._db, self._zone, self._templates, self._now = db, zone, templates, now

    async def page(self, staff: auth.Staff, place: Place) -> Markup:
        """The whole page; raises LookupError for a conversation that is not there."""
        values: dict[str, Any] = {"heading": None}
        state = ""
        async with self._db.transaction() as session:
            page = await queries.conversations(session, place.query, staff.name)
            shares = await queries.shares(session, staff.name)
            if place.conversation is not None:
                heading = await queries.heading(session, place.conversation)
                if heading is None:
                    raise LookupError
                state = await self._state(session, heading)
                values = await self._thread(session, staff, place, heading, "conversation.opened")
                values |= {"canned": await canned.replies(session), "nonce": secrets.token_hex(16)}
                said, frozen = facts(heading, self._zone, self._now()), None
                if heading.channel in WINDOWED:
                    reach = await queries.reach(session, heading)
                    said += reach_facts(reach, self._zone, self._now())
                    since = await room_frozen_since(session, heading.channel, heading.account, heading.room)
                    frozen = words.when(since, self._zone, self._now()) if since else None
                values |= {"facts": said, "newest": place.upto is None, "frozen": frozen}
                values |= await self._linked(session, staff, place.conversation)
        rows = self._rows(place, page, shares)
        version = f"{_version(rows)}.{state}" if state else _version(rows)
        live = "/admin/conversations" + (f"/{place.conversation}" if place.conversation else "") + "/live"
        return self._templates.render(
            "conversations.html",
            section="conversations",
            staff=staff,
            page=page,
            shares=shares,
            query=place.query,
            selected=place.conversation,
            channels=tuple(ChannelName),
            stream=self._stream(live, place, version),
            **values,
        )

    async def look(self, staff: auth.Staff, seen: str, place: Place) -> Update | None:
        """What is new for a stream of this page. Messages are read only when some changed, with their audit row."""
        seen_rows, _, seen_thread = seen.partition(".")
        swaps: list[tuple[str, Markup]] = []
        async with self._db.transaction() as session:
            if not await auth.still_in(session, staff):
                raise SignedOut
            page = await queries.conversations(session, place.query, staff.name)
            rows = self._rows(place, page, await queries.shares(session, staff.name))
            version = _version(rows)
            if version != seen_rows:
                swaps.append(("rows", rows))
            if place.conversation is not None and place.upto is None:
                heading = await queries.heading(session, place.conversation)
                state = await self._state(session, heading) if heading is not None else seen_thread
                version += "." + state
                if heading is not None and state != seen_thread:
                    thread = await self._thread(session, staff, place, heading, "conversation.followed")
                    swaps.append(("thread", self._templates.render("thread.html", query=place.query, **thread)))
                    swaps.append(("handoff", self._templates.render("handoff.html", staff=staff, **thread)))
            elif seen_thread:
                version += "." + seen_thread
        return Update(version, swaps) if swaps else None

    async def exists(self, conversation: UUID) -> bool:
        """Whether there is such a conversation."""
        async with self._db.transaction() as session:
            return await queries.heading(session, conversation) is not None

    def _rows(self, place: Place, page: Page, shares: Shares) -> Markup:
        return self._templates.render(
            "rows.html", page=page, shares=shares, query=place.query, selected=place.conversation
        )

    async def _state(self, session: AsyncSession, heading: Heading) -> str:
        """A name for how the newest page of a conversation stands, on this day."""
        today = self._now().astimezone(self._zone).date().isoformat()
        state = await queries.thread_state(session, heading.id)
        who = f"{heading.handoff.mode} {heading.handoff.holder}"
        return hashlib.sha256(f"{today}\n{who}\n{state}".encode()).hexdigest()[:16]

    async def _thread(
        self, session: AsyncSession, staff: auth.Staff, place: Place, heading: Heading, verb: str
    ) -> dict[str, Any]:
        """Read messages and write down who did, in one transaction."""
        messages = await queries.thread(session, heading.id, place.upto)
        first, last = (messages[0].seq, messages[-1].seq) if messages else (0, 0)
        later = place.upto is not None and last < heading.messages
        earlier = first - 1 if len(messages) == THREAD_PAGE and first > 1 else None
        notes = await queries.asides(
            session,
            heading.id,
            messages[0].created_at if messages and earlier else None,
            messages[-1].created_at if messages and later else None,
        )
        await audit.record(
            session, staff.actor, verb, f"conversation:{heading.id}", {"first_seq": first, "last_seq": last}
        )
        return {
            "heading": heading,
            "title": title(heading),
            "blocks": blocks(messages, self._zone, self._now(), notes),
            "earlier": earlier,
            "later": later,
        }

    @staticmethod
    async def _linked(session: AsyncSession, staff: auth.Staff, conversation: UUID) -> dict[str, Any]:
        """Whose conversation it is and where else they write; showing it is written down like reading."""
        person, found = await queries.linked(session, conversation)
        if found:
            await audit.record(
                session, staff.actor, "identities.shown", f"person:{person}", {"conversation": str(conversation)}
            )
        return {"person": person, "linked": found}

    @staticmethod
    def _stream(path: str, place: Place, version: str) -> str:
        more = {"upto": place.upto} if place.upto is not None else {}
        return link(path, place.query.params, seen=version, **more)


def _version(html: Markup) -> str:
    return hashlib.sha256(html.encode()).hexdigest()[:16]


def title(heading: Heading) -> str:
    """Whose conversation it is."""
    if not heading.members:
        return words.short_identity(heading.channel, heading.room)
    first = heading.members[0]
    name = first.name or words.short_identity(heading.channel, first.identity)
    return name if len(heading.members) == 1 else f"{name} and {len(heading.members) - 1} more"


def reach_facts(reach: Reach, zone: ZoneInfo, now: datetime) -> list[str]:
    """Whether we may write to the person, where that depends on when they last wrote."""
    found = []
    if reach.inbound_at is not None and is_open(reach.inbound_at, now):
        found.append(f"window open until {words.when(reach.inbound_at + WINDOW, zone, now)}")
    else:
        found.append("window closed: templates only until they write")
    if reach.opted_out_at is not None:
        found.append(f"opted out {words.when(reach.opted_out_at, zone, now)}")
    return found


def facts(heading: Heading, zone: ZoneInfo, now: datetime) -> list[str]:
    """What is said under the name."""
    found = [words.channel(heading.channel)]
    if heading.members:
        first = heading.members[0]
        if heading.channel != "web":
            found.append(first.identity.removeprefix(f"{heading.channel}:"))
        found.append({"en": "English", "sw": "Swahili"}.get(first.language, first.language))
        if first.timezone:
            found.append(f"lives by {first.timezone.rpartition('/')[2].replace('_', ' ')} time")
    found.append(words.plural(heading.messages, "message"))
    began = words.day(heading.created_at, zone, now)
    found.append(f"since {began.lower() if began in ('Today', 'Yesterday') else began}")
    found.append(f"times of {words.zone_name(zone)}")
    return found
