"""People: a list to search, and a page for each with chats, plan, quotas, mutes and reminders, but no word they wrote.

Opening a person's page writes an audit row with the read; what staff change there writes one with the change.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core import audit, renumber, voice
from core.db import Database, driver
from core.errors import UserError
from core.limits import REMINDERS_MAX, REMINDERS_WITHIN, Limits, Whose
from core.messages import ChannelName
from core.models import Conversation, Identity, Member, Mute, OptOut, Person
from core.names import names_of
from core.settings import Settings
from web_admin import auth, called, words
from web_admin.called import Sought
from web_admin.forms import uuid_of
from web_admin.moderation import Moderation
from web_admin.own_accounts import OwnAccounts
from web_admin.queries import SEARCH_CHARS_MAX, Cursor
from web_admin.rendering import Templates

LIST_PAGE = 50
"""People on one page."""
IDENTITIES_SHOWN = 50
CONVERSATIONS_SHOWN = 50
MUTES_SHOWN = 10
REMINDERS_SHOWN = 20
DEFAULT_PLAN = "free"
LANGUAGES = {"en": "English", "sw": "Swahili"}
NUMBER = re.compile(r"\+?[\d\s().-]{4,}")
"""A search that may be a telephone number, however it is written."""

DUE = text("""
SELECT r.due_at AS at, r.deferred_until AS waits_until, r.rrule IS NOT NULL AS repeats, r.priority, c.channel
FROM reminder r JOIN conversation c ON c.id = r.conversation_id
WHERE r.person_id = :person AND r.state = 'active'
ORDER BY coalesce(r.deferred_until, r.due_at), r.id LIMIT :limit
""")

LOOK_ANEW = text("""
UPDATE reminder SET deferred_until = NULL
WHERE person_id = :person AND state = 'active' AND deferred_until IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class PeopleQuery:
    """What the list shows; the whole of it is in the address."""

    search: str = ""
    before: Cursor | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; raises UserError with a sentence for values that mean nothing."""
        search, before = query.get("q", "").strip(), query.get("before", "")
        if len(search) > SEARCH_CHARS_MAX:
            raise UserError(f"A search has at most {SEARCH_CHARS_MAX} characters. Shorten it.")
        if not search.isprintable():
            raise UserError("A search is made of letters, digits and signs. Take the control characters out.")
        return cls(search, Cursor.parse(before) if before else None)

    @property
    def filters(self) -> dict[str, str]:
        """The query without the page."""
        return {"q": self.search} if self.search else {}


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person in the list."""

    id: UUID
    name: str | None
    created_at: datetime
    plan: str
    muted: bool
    channel: str | None
    identity: str | None
    chats: int

    @property
    def cursor(self) -> Cursor:
        """Their place in the list."""
        return Cursor(self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class Chat:
    """One way a person is known; `conversation` is where they write as it, if anywhere.

    `frozen_since` is when its number changed hands, until that is settled (core/renumber.py).
    """

    id: UUID
    channel: str
    identity: str
    display_name: str | None
    verified: bool
    since: datetime
    opted_out_at: datetime | None
    conversation: UUID | None
    frozen_since: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """A conversation that a person is in; `identity` is its room, which in private is theirs."""

    id: UUID
    channel: str
    identity: str
    messages: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A reminder that is to come, without its words."""

    at: datetime
    waits_until: datetime | None
    repeats: bool
    priority: str
    channel: str


class People:
    """Reads and renders the list and the pages, and does what staff decide."""

    def __init__(
        self, db: Database, settings: Settings, limits: Limits, moderation: Moderation, own_accounts: OwnAccounts,
        templates: Templates, now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._db, self._limits, self._moderation, self._own_accounts = db, limits, moderation, own_accounts
        self._templates, self._now = templates, now
        self._zone, self._factors = ZoneInfo(settings.default_timezone), settings.plans

    async def list_page(self, staff: auth.Staff, query: PeopleQuery) -> Markup:
        """The list."""
        async with self._db.transaction() as session:
            found = await _people(session, query)
        rows = found[:LIST_PAGE]
        older = rows[-1].cursor if len(found) > LIST_PAGE else None
        return self._templates.render("people.html", section="people", staff=staff, query=query, rows=rows, older=older)

    async def page(self, staff: auth.Staff, person_id: UUID) -> Markup | UUID:
        """A person's page, or the id of who they turned out to be; raises LookupError where there is nobody."""
        async with self._db.transaction() as session:
            person = await session.get(Person, person_id)
            if person is None or person.erasure_id is not None:
                raise LookupError
            if person.merged_into is not None:
                return person.merged_into
            chats = await _chats(session, person_id)
            name = (await names_of(await driver(session))).open(person.name)
            values: dict[str, Any] = {
                "person": person,
                "chats": chats,
                "places": await _places(session, person_id),
                "mutes": (
                    await session.scalars(
                        select(Mute).where(Mute.person_id == person_id).order_by(Mute.id.desc()).limit(MUTES_SHOWN)
                    )
                ).all(),
                "due": await _due(session, person_id),
                "own_account": await self._own_accounts.shown(await driver(session), person_id),
                "may_have_own_account": self._own_accounts.can_be_given,
                "joined": await session.scalar(select(func.count()).where(Person.merged_into == person_id)),
            }
            await audit.record(session, staff.actor, "person.opened", f"person:{person_id}")
        now = self._now()
        zone = ZoneInfo(person.timezone) if person.timezone else self._zone
        whose = Whose(str(person_id), zone, person.plan)
        uses = await self._limits.uses(whose, now)
        heard = await voice.uses(self._db, self._factors, whose, now)
        values |= {
            "title": words.known_as(
                name or next((chat.display_name for chat in chats if chat.display_name), None),
                [(chat.channel, chat.identity) for chat in chats],
            ),
            "language": LANGUAGES.get(person.language, person.language),
            "plans": self._plans(person.plan),
            "factor": self._factors.get(person.plan, 1),
            "uses": uses,
            "heard": heard,
            "reminders": self._reminders(person, now),
            "muted": person.muted_until is not None and person.muted_until > now,
            "now": now,
        }
        return self._templates.render("person.html", section="people", staff=staff, **values)

    async def set_plan(self, staff: auth.Staff, person_id: UUID, plan: str) -> None:
        """Give a person another plan; raises UserError for one that there is not, LookupError for nobody.

        What waits of their reminders is looked at anew, since more of them may go now.
        """
        async with self._db.transaction() as session:
            person = await _held(session, person_id)
            if plan not in self._plans(person.plan):
                raise UserError(f"There is no plan of that name. Choose one of {', '.join(self._plans(person.plan))}.")
            if plan == person.plan:
                return
            detail = {"from": person.plan, "to": plan}
            person.plan = plan
            await session.execute(LOOK_ANEW, {"person": person_id})
            await audit.record(session, staff.actor, "person.plan_set", f"person:{person_id}", detail)

    async def unmute(self, staff: auth.Staff, person_id: UUID) -> None:
        """End the mute that holds now, if there is one; raises LookupError for nobody."""
        async with self._db.transaction() as session:
            if await session.get(Person, person_id) is None:
                raise LookupError
            holding = (Mute.person_id == person_id) & Mute.lifted_at.is_(None) & (Mute.until > func.now())
            mute_id = await session.scalar(select(func.max(Mute.id)).where(holding))
        if mute_id is not None:
            await self._moderation.lift(staff, str(mute_id))

    async def settle(self, staff: auth.Staff, person_id: UUID, chat: str) -> None:
        """Say who writes from a number of this person that changed hands; raises LookupError for no chat of theirs."""
        identity_id = uuid_of(chat)
        async with self._db.transaction() as session:
            identity = await session.get(Identity, identity_id)
            if identity is None or identity.person_id != person_id:
                raise LookupError
            await renumber.lift(session, identity.channel, identity.account, identity.provider_id, staff.actor)

    def _plans(self, current: str) -> list[str]:
        """The plans to choose from: those that are set up, and the one the person has."""
        return list(dict.fromkeys((DEFAULT_PLAN, *self._factors, current)))

    def _reminders(self, person: Person, now: datetime) -> tuple[int, int]:
        """How many reminders were sent within REMINDERS_WITHIN, and how many may be."""
        sent = sum(at > now - REMINDERS_WITHIN for at in person.reminded_at)
        return sent, REMINDERS_MAX * self._factors.get(person.plan, 1)


def _matches(search: str, sought: Sought) -> ColumnElement[bool]:
    """Whether a person is called so, or an identity of theirs has such a name, number or address."""
    digits = re.sub(r"\D", "", search).lstrip("0") if NUMBER.fullmatch(search) else ""
    # 0712 345 678 is +254712345678, whatever the country.
    placed = sought.at(Identity.channel, Identity.provider_id, *([digits] if digits else []))
    of_identity = or_(placed, *sought.called(Identity.name_index))
    return or_(*sought.called(Person.name_index), exists().where(Identity.person_id == Person.id, of_identity))


async def _people(session: AsyncSession, query: PeopleQuery) -> list[PersonRow]:
    """One page and one more, the newest first."""
    first = (
        select(
            Identity.channel, Identity.provider_id, Identity.display_name, func.count().over().label("chats")
        )
        .where(Identity.person_id == Person.id)
        .order_by(Identity.created_at, Identity.id)
        .limit(1)
        .lateral("first")
    )  # fmt: skip
    statement = (
        select(
            Person.id,
            func.coalesce(Person.name, first.c.display_name).label("name"),
            Person.created_at,
            Person.plan,
            func.coalesce(Person.muted_until > func.now(), text("false")).label("muted"),
            first.c.channel,
            first.c.provider_id.label("identity"),
            func.coalesce(first.c.chats, 0).label("chats"),
        )
        .select_from(Person)
        .outerjoin(first, text("true"))
        .where(Person.merged_into.is_(None), Person.erasure_id.is_(None))
        .order_by(Person.created_at.desc(), Person.id.desc())
        .limit(LIST_PAGE + 1)
    )
    if query.search:
        statement = statement.where(_matches(query.search, await Sought.read(session, query.search)))
    if query.before is not None:
        place = tuple_(query.before.last_at, query.before.id)
        statement = statement.where(
            Person.created_at <= query.before.last_at, tuple_(Person.created_at, Person.id) < place
        )
    rows = (await session.execute(statement)).mappings().all()
    return [PersonRow(**row) for row in await called.opened(session, rows)]


async def _chats(session: AsyncSession, person_id: UUID) -> Sequence[Chat]:
    own = aliased(Conversation)
    rows = await session.execute(
        select(
            Identity.id,
            Identity.channel,
            Identity.provider_id.label("identity"),
            Identity.display_name,
            ((Identity.channel != ChannelName.EMAIL.value) | Identity.verified_at.is_not(None)).label("verified"),
            Identity.created_at.label("since"),
            OptOut.at.label("opted_out_at"),
            own.id.label("conversation"),
        )
        .outerjoin(OptOut, and_(OptOut.identity_id == Identity.id, OptOut.ended_at.is_(None)))
        .outerjoin(
            own,
            and_(own.channel == Identity.channel, own.account == Identity.account, own.room == Identity.provider_id),
        )
        .where(Identity.person_id == person_id)
        .order_by(Identity.created_at, Identity.id)
        .limit(IDENTITIES_SHOWN)
    )
    found = await called.opened(session, rows.mappings().all())
    frozen = await renumber.frozen_since(session, [row["id"] for row in found])
    return [Chat(**row, frozen_since=frozen.get(row["id"])) for row in found]


async def _places(session: AsyncSession, person_id: UUID) -> Sequence[Place]:
    mine = (
        select(Member.conversation_id)
        .join(Identity, Identity.id == Member.identity_id)
        .where(Identity.person_id == person_id, Member.left_at.is_(None))
    )
    rows = await session.execute(
        select(
            Conversation.id,
            Conversation.channel,
            Conversation.room.label("identity"),
            (Conversation.next_seq - 1).label("messages"),
            Conversation.last_at,
        )
        .where(Conversation.id.in_(mine))
        .order_by(Conversation.last_at.desc(), Conversation.id)
        .limit(CONVERSATIONS_SHOWN)
    )
    return [Place(**row) for row in await called.opened(session, rows.mappings().all())]


async def _due(session: AsyncSession, person_id: UUID) -> Sequence[Due]:
    """The next reminders, one more than are shown."""
    rows = await session.execute(DUE, {"person": person_id, "limit": REMINDERS_SHOWN + 1})
    return [Due(**row) for row in rows.mappings()]


async def _held(session: AsyncSession, person_id: UUID) -> Person:
    """A person, locked; raises LookupError for nobody, and for somebody who was joined to another meanwhile."""
    statement = select(Person).where(Person.id == person_id, Person.merged_into.is_(None), Person.erasure_id.is_(None))
    person = await session.scalar(statement.with_for_update(key_share=True))
    if person is None:
        raise LookupError
    return person
