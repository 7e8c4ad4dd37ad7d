"""People: one person, however many identities; whom they know; and what follows when two turn out to be one.

Everything is found under the person's own id. A person that was merged is followed to who it is now.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import phonenumbers
from sqlalchemy import ColumnElement, ScalarSelect, Table, case, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import relations
from core.crypto import RoomKey, opened_with
from core.db import driver
from core.errors import Conflict, Erased, InvalidSlot, LimitReached
from core.language import Saying
from core.models import AccountLink, Base, Confirmation, Contact, Credential, Identity, Person, PersonKey, TokenUse

CONTACTS_MAX = 1_000
"""Contacts of one person."""
HOLDS_MAX = 5
"""How often a person's row is looked up anew because it was merged meanwhile."""
CONTACT_NAME_CHARS_MAX = 80
NOTE_CHARS_MAX = 500
PHONE_CHARS_MAX = 40
EMAIL_CHARS_MAX = 254

NO_PHONE = Saying(
    "That is no phone number I know. What is it, with the country code, like +254 …?",
    "Hiyo si namba ya simu ninayoitambua. Ni ipi, pamoja na msimbo wa nchi, kama +254 …?",
)
NO_EMAIL = Saying(
    "That is no e-mail address I can use. What is it, like amina@example.com?",
    "Hiyo si anwani ya barua pepe ninayoweza kuitumia. Ni ipi, kama amina@example.com?",
)
FULL = Saying(
    "You have {count} contacts, which is as many as I keep. Forget one first.",
    "Una mawasiliano {count}, kiwango cha juu ninachohifadhi. Futa moja kwanza.",
)

TAKEN_OVER = (
    Person.name, Person.name_index, Person.language, Person.language_chosen, Person.timezone, Person.zone_guess,
    Person.zone_asked_at, Person.currency, Person.reminded_at, Person.deferral_told_at, Person.payments_paused_at,
    Person.payment_limit, Person.day_limit, Person.pin_hash, Person.pin_set_at, Person.pin_tries,
    Person.pin_locked_until, Person.pin_reset_at,
)  # fmt: skip
"""What of a person that is merged the other one gets; reminders of both count together."""

EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


def current(person_id: UUID) -> ScalarSelect[Any]:
    """The id of who this person is now, as a part of a statement."""
    return select(func.coalesce(Person.merged_into, Person.id)).where(Person.id == person_id).scalar_subquery()


async def hold(session: AsyncSession, person_id: UUID) -> UUID:
    """Lock the row of who this person is now, so that two calls at once count one after the other; its id.

    Raises Erased for somebody who has been.
    """
    for _ in range(HOLDS_MAX):
        # The lock of a row that was merged while we waited for it is let go of: locks are taken in id order.
        attempt = await session.begin_nested()
        found = select(Person.id, Person.erasure_id).where(Person.id == current(person_id))
        held = (await session.execute(found.with_for_update(key_share=True))).one_or_none()
        if held is not None and (await session.execute(found)).one().id == held.id:
            await attempt.commit()
            if held.erasure_id is not None:
                raise Erased
            owner: UUID = held.id
            return owner
        await attempt.rollback()
    raise Conflict("This account is being linked by somebody else. Try again.")


async def of_identity(session: AsyncSession, identity_id: UUID) -> UUID:
    """Whose identity it is."""
    return (await session.execute(select(Identity.person_id).where(Identity.id == identity_id))).scalar_one()


async def end_confirmations(session: AsyncSession, *persons: UUID) -> None:
    """End what waits for these persons' word: something newer is asked, or who they are has changed."""
    await session.execute(
        update(Confirmation)
        .where(Confirmation.person_id.in_(persons), Confirmation.state == "pending")
        .values(state="superseded", ended_at=func.clock_timestamp())
    )


def phone_number(written: str, region: str) -> str:
    """A phone number in E.164; `region` (ISO 3166) is where one without a country code is from.

    Raises InvalidSlot with what would do.
    """
    try:
        number = phonenumbers.parse(written[:PHONE_CHARS_MAX], region)
        possible = len(written) <= PHONE_CHARS_MAX and phonenumbers.is_valid_number(number)
    except phonenumbers.NumberParseException:
        possible = False
    if not possible:
        raise InvalidSlot("phone", NO_PHONE)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email_address(written: str, slot: str = "email") -> str:
    """An e-mail address, its domain in lower case; raises InvalidSlot with what would do."""
    tidy = written.strip().strip("<>.,;")
    if len(tidy) > EMAIL_CHARS_MAX or EMAIL.fullmatch(tidy) is None:
        raise InvalidSlot(slot, NO_EMAIL)
    local, _, domain = tidy.rpartition("@")
    return f"{local}@{domain.lower()}"


def one_line(words: str) -> str:
    """Words without line breaks or signs that cannot be seen."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())


def name_key(name: str) -> str:
    """What makes two names the same."""
    return " ".join(name.casefold().split())


def as_contact(contact_id: UUID) -> bytes:
    """What is known of a contact is sealed as this, under its owner's key."""
    return b"contact\0" + contact_id.bytes


def name_index(name: str, owner: UUID) -> str:
    """What the blind index of a contact's name is made of."""
    return f"{owner}:{name_key(name)}"


async def contacts(session: AsyncSession, person_id: UUID, *, limit: int = CONTACTS_MAX) -> Sequence[Contact]:
    """Whom a person knows, by name."""
    mine = (Contact.person_id == current(person_id)) & Contact.ended_at.is_(None)
    return (await _contacts(session, mine))[:limit]


async def opened_contacts(session: AsyncSession, found: Sequence[Contact]) -> list[Contact]:
    """These contacts of one person, with what is known of each; without those whose key was destroyed."""
    if not found:
        return []
    connection = await driver(session)
    key = await connection.keys.of_person(connection, found[0].person_id)
    return [contact for contact in found if _open(key, contact)]


async def _contacts(session: AsyncSession, where: ColumnElement[bool]) -> list[Contact]:
    """The contacts of one person that match, opened, by name; without those whose key was destroyed."""
    found = (await session.scalars(select(Contact).where(where))).all()
    return sorted(await opened_contacts(session, found), key=lambda contact: name_key(contact.name))


def _open(key: RoomKey | None, contact: Contact) -> bool:
    json = opened_with(key, as_contact(contact.id), contact.sealed)
    if json is None:
        return False
    contact.name, contact.phone, contact.email, contact.note, *more = orjson.loads(json)
    # Contacts of earlier versions have none.
    contact.relation = more[0] if more else None
    return True


async def _seal(connection: Any, key: RoomKey, contact: Contact, owner: UUID) -> None:
    """Write what is known of a contact as its owner's."""
    json = orjson.dumps((contact.name, contact.phone, contact.email, contact.note, contact.relation))
    contact.sealed = key.seal(as_contact(contact.id), json)
    contact.name_index = await connection.keys.blind(connection, "contact", name_index(contact.name, owner))
    contact.person_id = owner


async def contacts_count(session: AsyncSession, person_id: UUID) -> int:
    """How many contacts a person has."""
    mine = (Contact.person_id == current(person_id)) & Contact.ended_at.is_(None)
    return await session.scalar(select(func.count()).select_from(Contact).where(mine)) or 0


async def find_contact(session: AsyncSession, person_id: UUID, name: str) -> Contact | None:
    """The contact of this person and name; a first name does where only one contact has it, and so does what they are
    to the person: "my accountant", "mhasibu wangu".
    """
    key = name_key(name)
    everybody = await contacts(session, person_id)
    known = {name_key(contact.name): contact for contact in everybody}
    if key in known:
        return known[key]
    several = [contact for one, contact in known.items() if one.startswith(key + " ")]
    if not several:
        relation = relations.of(name) or relations.bare(name)
        several = [contact for contact in everybody if contact.relation == relation]
    return several[0] if len(several) == 1 else None


async def save_contact(
    session: AsyncSession, person_id: UUID, conversation_id: UUID, name: str, *, phone: str | None, email: str | None,
    note: str | None, relation: str | None = None,
) -> Contact:  # fmt: skip
    """Remember a contact, or what is new of one; raises LimitReached.

    Of most relations (`relations.SEVERAL` are others) there is one: whoever was it before is it no more.
    """
    owner = await hold(session, person_id)
    connection = await driver(session)
    key = await connection.keys.of_held(connection, owner)
    same = await connection.keys.blind(connection, "contact", name_index(name, owner))
    known = await session.scalar(select(Contact).where(Contact.person_id == owner, Contact.name_index == same))
    if relation is not None and relation not in relations.SEVERAL:
        for other in await contacts(session, owner):
            if other.relation == relation and other is not known:
                if relations.of(other.name) == relation and known is None:
                    # "My accountant" without a name was the only name there was.
                    known = other
                else:
                    other.relation = None
                    await _seal(connection, key, other, owner)
    if known is None or known.ended_at is not None:
        if await contacts_count(session, owner) >= CONTACTS_MAX:
            raise LimitReached(FULL.filled(count=f"{CONTACTS_MAX:,}"))
        if known is None:
            known = Contact(id=uuid4())
            session.add(known)
        # One that was forgotten begins anew.
        known.conversation_id, known.ended_at, known.ended_key, known.undo_key = conversation_id, None, None, None
        known.name, known.phone, known.email, known.note, known.relation = name, None, None, None, None
    elif not _open(key, known):  # Its key was destroyed.
        known.name, known.phone, known.email, known.note, known.relation = name, None, None, None, None
    known.name = known.name if name_key(known.name) == name_key(name) else name
    known.phone, known.email, known.note = phone or known.phone, email or known.email, note or known.note
    known.relation = relation or known.relation
    await _seal(connection, key, known, owner)
    await session.flush()
    return known


async def forget_contact(session: AsyncSession, contact: Contact, *, key: str, now: datetime) -> None:
    """Forget a contact, who can be had back for a while (core/facts.py)."""
    contact.ended_at, contact.ended_key, contact.undo_key = now, key, None
    await session.flush()


async def forgotten_by(session: AsyncSession, person_id: UUID, key: str) -> list[Contact]:
    """Whom a call forgot, when it is made again."""
    mine = select(Contact).where(Contact.person_id == current(person_id), Contact.ended_key == key)
    return await opened_contacts(session, (await session.scalars(mine)).all())


async def merge(session: AsyncSession, kept: UUID, gone: UUID) -> None:
    """Make one person of two, whose rows the caller has locked: everything that `gone` has becomes `kept`'s.

    Conversations stay as they are. Name, time zone and chosen language of `kept` stay, and are taken from `gone` where
    it has none; the PIN, too; of both their spending limits the lower ones
    stay.
    A table with a `person_id` takes part by itself; one that is unique by it needs a rule here, as contacts have.
    """
    # What they were shown was about another account.
    await end_confirmations(session, kept, gone)
    for table in owned():
        if table is Contact.__table__:
            await _merge_contacts(session, kept, gone)
        elif table is Credential.__table__:
            # They are sealed with whose they are: what the other one had connected has to be connected again.
            await session.execute(delete(table).where(table.c.person_id == gone))
        elif table is TokenUse.__table__:
            await _merge_token_use(session, kept, gone)
        elif table is AccountLink.__table__:
            # What it opened was another account.
            await session.execute(delete(table).where(table.c.person_id.in_([kept, gone])))
        elif table is not PersonKey.__table__:
            await session.execute(update(table).where(table.c.person_id == gone).values(person_id=kept))
    connection = await driver(session)
    await connection.keys.destroy_of_persons(connection, [gone])
    other = (await session.execute(select(*TAKEN_OVER).where(Person.id == gone))).one()
    spoken_now = other.language if other.language_chosen else Person.language
    await session.execute(
        update(Person)
        .where(Person.id == kept)
        .values(
            name=func.coalesce(Person.name, other.name),
            name_index=func.coalesce(Person.name_index, other.name_index),
            language=case((Person.language_chosen, Person.language), else_=spoken_now),
            language_chosen=or_(Person.language_chosen, other.language_chosen),
            timezone=func.coalesce(Person.timezone, other.timezone),
            zone_guess=func.coalesce(Person.zone_guess, other.zone_guess),
            zone_asked_at=func.coalesce(Person.zone_asked_at, other.zone_asked_at),
            currency=func.coalesce(Person.currency, other.currency),
            reminded_at=func.array_cat(Person.reminded_at, other.reminded_at),
            deferral_told_at=func.greatest(Person.deferral_told_at, other.deferral_told_at),
            payments_paused_at=func.greatest(Person.payments_paused_at, other.payments_paused_at),
            payment_limit=func.least(Person.payment_limit, other.payment_limit),
            day_limit=func.least(Person.day_limit, other.day_limit),
            **{
                name: case((Person.pin_hash.is_not(None), getattr(Person, name)), else_=getattr(other, name))
                for name in ("pin_hash", "pin_set_at", "pin_tries", "pin_locked_until", "pin_reset_at")
            },
        )
    )
    await session.execute(
        update(Person).where((Person.id == gone) | (Person.merged_into == gone)).values(merged_into=kept)
    )


async def _merge_token_use(session: AsyncSession, kept: UUID, gone: UUID) -> None:
    """What both used counts for one."""
    theirs = select(literal(kept), TokenUse.month, TokenUse.tokens).where(TokenUse.person_id == gone)
    adding = insert(TokenUse).from_select(["person_id", "month", "tokens"], theirs)
    together = TokenUse.tokens + adding.excluded.tokens
    await session.execute(
        adding.on_conflict_do_update(index_elements=[TokenUse.person_id, TokenUse.month], set_={"tokens": together})
    )
    await session.execute(delete(TokenUse).where(TokenUse.person_id == gone))


async def part(session: AsyncSession, identity: Identity, conversation_id: UUID) -> UUID:
    """Give an identity a person of its own, with everything that was set in its own room; the new person's id.

    The caller has locked the person it had.
    """
    await end_confirmations(session, identity.person_id)
    shared = (
        Person.language, Person.language_chosen, Person.timezone, Person.zone_guess, Person.zone_asked_at,
        Person.currency, Person.reminded_at, Person.deferral_told_at,
    )  # fmt: skip
    row = (await session.execute(select(*shared).where(Person.id == identity.person_id))).one()
    alone = Person(id=uuid4(), name=identity.display_name, name_index=identity.name_index, **row._mapping)
    session.add(alone)
    await session.flush()
    for table in owned():
        if table is Contact.__table__:
            await _part_contacts(session, identity.person_id, alone.id, conversation_id)
        elif "conversation_id" in table.c:
            mine = (table.c.person_id == identity.person_id) & (table.c.conversation_id == conversation_id)
            await session.execute(update(table).where(mine).values(person_id=alone.id))
    await session.execute(update(Identity).where(Identity.id == identity.id).values(person_id=alone.id))
    return alone.id


def owned() -> list[Table]:
    """The tables whose rows are a person's, in a fixed order: of core and of every connector there is.

    Confirmations are not among them: they are frozen, and end when a person becomes another.
    """
    person = Person.__table__.c.id
    tables = [
        table
        for table in Base.metadata.tables.values()
        if "person_id" in table.c
        and any(key.column is person for key in table.c.person_id.foreign_keys)
        and table is not Confirmation.__table__
    ]
    return sorted(tables, key=lambda table: table.name)


async def _merge_contacts(session: AsyncSession, kept: UUID, gone: UUID) -> None:
    """The kept person's contacts stay; gaps are filled, and a namesake with another number gets a number behind it."""
    # Who was forgotten is not had back by joining accounts, and takes nobody's name.
    ended = Contact.person_id.in_((kept, gone)) & Contact.ended_at.is_not(None)
    await session.execute(delete(Contact).where(ended))
    theirs = await _contacts(session, Contact.person_id == gone)
    if not theirs:
        return
    mine = {name_key(contact.name): contact for contact in await _contacts(session, Contact.person_id == kept)}
    connection = await driver(session)
    key = await connection.keys.of_held(connection, kept)
    for other in theirs:
        same = mine.get(name_key(other.name))
        if same is not None and all(
            one is None or two is None or one == two
            for one, two in ((same.phone, other.phone), (same.email, other.email), (same.note, other.note))
        ):
            same.phone, same.email = same.phone or other.phone, same.email or other.email
            same.note, same.relation = same.note or other.note, same.relation or other.relation
            await _seal(connection, key, same, kept)
            await session.delete(other)
            continue
        name, number = other.name, 2
        while name_key(name) in mine:
            name, number = f"{other.name} ({number})", number + 1
        other.name = name
        await _seal(connection, key, other, kept)
        mine[name_key(name)] = other
    await session.flush()


async def _part_contacts(session: AsyncSession, together: UUID, alone: UUID, conversation_id: UUID) -> None:
    """Give a person who is parted from another what was saved in their own chat."""
    known = await _contacts(session, (Contact.person_id == together) & (Contact.conversation_id == conversation_id))
    if known:
        connection = await driver(session)
        key = await connection.keys.of_held(connection, alone)
        for contact in known:
            await _seal(connection, key, contact, alone)
        await session.flush()
