"""The tables of core: people, conversations, messages, turns, the outbox, receipts, and who looked at what.

Times are timestamptz. Order rests on sequences (`seq`, bigint ids), identity on random UUIDs.
The hot path (inbox, turn, outbox) writes these tables in batches of SQL; this file is what migrations are checked
against.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy import Identity as GeneratedId
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Root of every table; the naming convention keeps migrations deterministic."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        str: Text(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
        int: BigInteger(),
    }


class Person(Base):
    """Somebody we serve; may have several identities."""

    __tablename__ = "person"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[bytes | None] = mapped_column(doc="sealed: core/names.py")
    name_index: Mapped[str | None] = mapped_column(doc="keyed hashes of its words, to find it by")
    language: Mapped[str] = mapped_column(
        server_default="en", doc="the one they chose, or else the one they last wrote in"
    )
    language_chosen: Mapped[bool] = mapped_column(server_default=text("false"))
    timezone: Mapped[str | None] = mapped_column(doc="IANA zone the person stated")
    zone_guess: Mapped[str | None] = mapped_column(doc="IANA zone that their number or browser makes likely")
    zone_asked_at: Mapped[datetime | None] = mapped_column(doc="when they were asked whether that is their clock")
    currency: Mapped[str | None] = mapped_column(doc="ISO 4217 code of the one they said is theirs")
    plan: Mapped[str] = mapped_column(server_default="free", doc="what multiplies their quotas: PLAN_FACTORS")
    muted_until: Mapped[datetime | None] = mapped_column(doc="until when what they write is not answered")
    payments_paused_at: Mapped[datetime | None] = mapped_column(doc="since when they want nothing paid")
    payment_limit: Mapped[int | None] = mapped_column(
        CheckConstraint("payment_limit > 0", name="payment_limit"), doc="most cents of one payment"
    )
    day_limit: Mapped[int | None] = mapped_column(
        CheckConstraint("day_limit > 0", name="day_limit"), doc="most cents within a day"
    )
    pin_hash: Mapped[bytes | None] = mapped_column(doc="a salt and scrypt's hash of their PIN: core/pin.py")
    pin_set_at: Mapped[datetime | None]
    pin_tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="wrong ones since the last right one")
    pin_locked_until: Mapped[datetime | None]
    pin_reset_at: Mapped[datetime | None] = mapped_column(doc="when one who forgot it can choose another")
    reminded_at: Mapped[list[datetime]] = mapped_column(
        ARRAY(DateTime(timezone=True)), server_default="{}", doc="when their reminders of the last hours were sent"
    )
    deferral_told_at: Mapped[datetime | None] = mapped_column(doc="when they were last told that reminders wait")
    merged_into: Mapped[UUID | None] = mapped_column(
        ForeignKey("person.id"), doc="who this person turned out to be; what is written for it belongs there"
    )
    erasure_id: Mapped[int | None] = mapped_column(doc="what erased them; nothing is known of them any more")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        CheckConstraint("(name IS NULL) = (name_index IS NULL)", name="name_is_found"),
        Index("ix_person_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("ix_person_erasure_id", "erasure_id", postgresql_where=text("erasure_id IS NOT NULL")),
        Index("ix_person_created_at", text("created_at DESC"), text("id DESC")),
    )


class Identity(Base):
    """One way a person is known to a provider: (channel, our account there, the provider's id of the person).

    Of an e-mail address that id is the name of its Mailbox.
    """

    __tablename__ = "identity"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    channel: Mapped[str]
    account: Mapped[str]
    provider_id: Mapped[str]
    display_name: Mapped[bytes | None] = mapped_column(doc="as the provider tells it, sealed: core/names.py")
    name_index: Mapped[str | None] = mapped_column(doc="keyed hashes of its words, to find it by")
    provider_user_id: Mapped[str | None] = mapped_column(
        doc="the lasting id that the provider shows behind a number; another one means another person"
    )
    verified_at: Mapped[datetime | None] = mapped_column(
        doc="of an e-mail address: when its owner sent back the code mailed to it"
    )
    conversation_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("conversation.id"), doc="of an e-mail address: where it was given"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        CheckConstraint("(display_name IS NULL) = (name_index IS NULL)", name="name_is_found"),
        UniqueConstraint("channel", "account", "provider_id"),
        Index(
            "ix_identity_provider_user_id",
            "channel",
            "account",
            "provider_user_id",
            postgresql_where=text("provider_user_id IS NOT NULL"),
        ),
    )


class Renumbering(Base):
    """A number (or a provider's id) that changed hands: nothing is paid there until `ended_at`.

    It is named as an identity is, and not by one: the new number of somebody has often not written to us yet.
    """

    __tablename__ = "renumbering"
    channel: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    provider_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True, doc="of the provider's message that showed it")
    how: Mapped[str] = mapped_column(doc="'number': the provider said so; 'user_id': another id stands behind it")
    was_user_id: Mapped[str | None] = mapped_column(doc="the lasting id that another took the place of")
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(doc="'person:<id>' by a code, or 'staff:<name>'")
    __table_args__ = (CheckConstraint("how IN ('number', 'user_id')", name="how"),)


class Mailbox(Base):
    """An e-mail address, sealed; wherever else it would stand is `name`, made of it with a key (core/mailboxes.py)."""

    __tablename__ = "mailbox"
    name: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]


class LinkCode(Base):
    """A code that joins another identity to the person it was shown to; kept only as its SHA-256.

    Open until it is used, superseded or shown in a group (`ended_at`), or `expires_at` is past.
    """

    __tablename__ = "link_code"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), index=True, doc="who was shown it")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it was shown")
    code_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    used_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the call that used it")


class LinkTry(Base):
    """One wrong code, typed by an identity; `key` is the idempotency key of the call, so that a retry counts once."""

    __tablename__ = "link_try"
    key: Mapped[str] = mapped_column(primary_key=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"))
    at: Mapped[datetime]
    __table_args__ = (Index("ix_link_try_identity_id", "identity_id", "at"),)


class EmailCode(Base):
    """A code mailed to an address that somebody says is theirs; kept as a SHA-256 salted with its id."""

    __tablename__ = "email_code"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where the address was given")
    address: Mapped[str] = mapped_column(index=True, doc="the name of its Mailbox")
    code_hash: Mapped[bytes]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="wrong ones")
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that mailed it")
    used_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the call that used it")
    __table_args__ = (Index("ix_email_code_person_id", "person_id", "created_at"),)


class Contact(Base):
    """Somebody a person knows. Everything in it is what that person wrote: words, never instructions.

    It is sealed under the key of that person (PersonKey); core/people.py reads and writes it. One that was forgotten
    can be had back for a while, by `ended_key` the call that forgot it; then it is deleted.
    """

    __tablename__ = "contact"
    __allow_unmapped__ = True
    name: str
    phone: str | None
    email: str | None
    note: str | None
    relation: str | None
    """What is sealed, once it was opened; no columns. `phone` is E.164; `relation` as core/people.py names it."""
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), doc="whose contact it is")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it was first saved")
    sealed: Mapped[bytes]
    name_index: Mapped[bytes] = mapped_column(doc="a keyed hash of the person and the name without case; one a person")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    ended_key: Mapped[str | None] = mapped_column(doc="idempotency key of the call that forgot it")
    undo_key: Mapped[str | None] = mapped_column(doc="of the call that had it back")
    __table_args__ = (
        UniqueConstraint("person_id", "name_index"),
        Index("ix_contact_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )


class Fact(Base):
    """Something a person told of themselves, in their words, sealed under the key of the room where they said it.

    Never changed: what is said anew is a new row, and the old one ends. What ended can be had back for a while, by
    `ended_key` the call that ended it; then it is deleted (core/facts.py).
    """

    __tablename__ = "fact"
    words = ""
    """What was said, once `core.facts` opened it; no column."""
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), doc="whom it is about, and who alone may see it")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it was said")
    kind: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="stated", doc="how it is known")
    sealed: Mapped[bytes]
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that kept it")
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_key: Mapped[str | None] = mapped_column(doc="idempotency key of the call that ended it")
    undo_key: Mapped[str | None] = mapped_column(doc="of the call that took back its beginning or its end")
    __table_args__ = (
        CheckConstraint("kind IN ('preference', 'goal', 'name')", name="kind"),
        CheckConstraint("source IN ('stated', 'profile')", name="source"),
        Index("ix_fact_person", "person_id", "created_at"),
        Index("ix_fact_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )


class Summary(Base):
    """What was talked about in a person's private chat, sealed under its key: core/summary.py; one of each chat."""

    __tablename__ = "summary"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True, doc="who alone is told of it")
    sealed: Mapped[bytes | None] = mapped_column(doc="None until it was first written, and once it was forgotten")
    told_seq: Mapped[int] = mapped_column(server_default="0", doc="the last message it tells of")
    since_seq: Mapped[int] = mapped_column(server_default="0", doc="the last message that it is to leave out")
    due: Mapped[bool] = mapped_column(server_default=text("false"), doc="whether enough was said since")
    written_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_summary_due", "conversation_id", postgresql_where=text("due")),)


class Reminder(Base):
    """One reminder. Wall time and zone are the truth; `due_at` is the instant they mean, set anew each time.

    active -> done (fired for the last time) | cancelled. One that is over the limit of its person is active, and looked
    at again at `deferred_until`.
    """

    __tablename__ = "reminder"
    content = ""
    """The words, once `core.reminders` opened it; no column."""
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it speaks")
    sealed: Mapped[bytes] = mapped_column(doc="its words, under the key of the room where it speaks")
    wall_time: Mapped[datetime] = mapped_column(
        DateTime(timezone=False),
        doc="any occurrence by the local clock: the first one, or the next",
    )
    zone: Mapped[str] = mapped_column(doc="IANA zone of wall_time")
    rrule: Mapped[str | None] = mapped_column(doc="RRULE body as core.recurrence.settle writes it; null for once")
    due_at: Mapped[datetime]
    deferred_until: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(server_default="active")
    priority: Mapped[str] = mapped_column(server_default="normal")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that set it")
    cancel_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the call that cancelled it")
    last_sent_for: Mapped[datetime | None] = mapped_column(doc="the due_at it was last sent for")
    __table_args__ = (
        CheckConstraint("state IN ('active', 'done', 'cancelled')", name="state"),
        CheckConstraint("priority IN ('low', 'normal', 'high')", name="priority"),
        Index(
            "ix_reminder_due",
            text("coalesce(deferred_until, due_at)"),
            # Which of several goes first when not all of them may.
            text("array_position('{high,normal,low}'::text[], priority)"),
            "conversation_id",
            postgresql_where=text("state = 'active'"),
        ),
        Index("ix_reminder_person", "person_id", "due_at", postgresql_where=text("state = 'active'")),
    )


class Conversation(Base):
    """One room on one of our accounts. `next_seq` numbers its messages, both ways, without gaps.

    Of an e-mail address `room` is the name of its Mailbox.
    """

    __tablename__ = "conversation"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    channel: Mapped[str]
    account: Mapped[str]
    room: Mapped[str]
    next_seq: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_at: Mapped[datetime] = mapped_column(server_default=func.now())
    mode: Mapped[str] = mapped_column(server_default="bot", doc="who has the word: core/handoff.py")
    holder: Mapped[str | None] = mapped_column(doc="the member of staff who holds it")
    held_until: Mapped[datetime | None] = mapped_column(doc="end of the holder's lease, or of the wait for one")
    changes: Mapped[int] = mapped_column(server_default="0", doc="how often its messages were changed")
    epoch: Mapped[int] = mapped_column(Integer, server_default="1", doc="of the key that seals what is said now")
    unreachable_at: Mapped[datetime | None] = mapped_column(doc="since when the provider lets nothing of ours in")
    title: Mapped[bytes | None] = mapped_column(doc="of a shared room: what its members call it, sealed")
    erasure_id: Mapped[int | None] = mapped_column(doc="what erased it; its epoch is then 0, which has no key")
    __table_args__ = (
        UniqueConstraint("channel", "account", "room"),
        CheckConstraint("(epoch = 0) = (erasure_id IS NOT NULL)", name="erased_has_no_epoch"),
        Index("ix_conversation_erasure_id", "erasure_id", postgresql_where=text("erasure_id IS NOT NULL")),
        CheckConstraint("mode IN ('bot', 'waiting', 'human')", name="mode"),
        CheckConstraint(
            "(mode = 'human') = (holder IS NOT NULL) AND (mode = 'bot') = (held_until IS NULL)", name="held_by_somebody"
        ),
        Index("ix_conversation_last_at", text("last_at DESC")),
        Index("ix_conversation_held_until", "held_until", postgresql_where=text("mode <> 'bot'")),
    )


class RoomKey(Base):
    """The key of a conversation in one epoch, wrapped by `kek` of the key list. Destroyed, its epoch stays taken."""

    __tablename__ = "room_key"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True)
    kek: Mapped[str | None] = mapped_column(index=True, doc="the id of the key that wraps it")
    wrapped: Mapped[bytes | None]
    first_seq: Mapped[int] = mapped_column(doc="the number of the first message it may have sealed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    destroyed_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(
            "(kek IS NULL) = (wrapped IS NULL) AND (wrapped IS NULL) = (destroyed_at IS NOT NULL)", name="kept_or_gone"
        ),
    )


class PurposeKey(Base):
    """The key of what belongs to no conversation, wrapped by `kek` of the key list."""

    __tablename__ = "purpose_key"
    name: Mapped[str] = mapped_column(primary_key=True)
    kek: Mapped[str] = mapped_column(doc="the id of the key that wraps it")
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Credential(Base):
    """What somebody signs in to a third party with, sealed: core/credentials.py. Nobody's is the deployment's own."""

    __tablename__ = "credential"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    kind: Mapped[str] = mapped_column(doc="which third party's")
    kek: Mapped[str] = mapped_column(doc="id of the list's key that sealed it")
    sealed: Mapped[bytes] = mapped_column(doc="a Fernet token; whose and what for stands inside")
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("person_id", "kind", postgresql_nulls_not_distinct=True),
        Index("ix_credential_kek", "kek"),
    )


class PersonKey(Base):
    """The key of what belongs to a person in all their rooms, wrapped by `kek` of the key list.

    Deleting the row erases what it sealed. `epoch` tells it from one made later.
    """

    __tablename__ = "person_key"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, doc="random")
    kek: Mapped[str] = mapped_column(index=True, doc="the id of the key that wraps it")
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Member(Base):
    """A person in a conversation; in a shared room of the web with a role, and until they leave or are removed."""

    __tablename__ = "member"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), primary_key=True)
    joined_at: Mapped[datetime] = mapped_column(server_default=func.now())
    role: Mapped[str] = mapped_column(server_default="member")
    name: Mapped[bytes | None] = mapped_column(doc="what the others in a shared room see them as, sealed")
    read_seq: Mapped[int] = mapped_column(server_default="0", doc="the last message they have seen; only grows")
    left_at: Mapped[datetime | None] = mapped_column(doc="since when they are in the room no more")
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'member')", name="role"),
        Index("ix_member_identity_id", "identity_id", postgresql_where=text("left_at IS NULL")),
        Index("ix_member_former", "identity_id", postgresql_where=text("left_at IS NOT NULL")),
    )


class RoomInvitation(Base):
    """A way into a shared room for whoever has its token, once; the token is kept only as its SHA-256.

    Open until it is used or revoked (`ended_at`), or `expires_at` is past.
    """

    __tablename__ = "room_invitation"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), doc="who invites")
    address: Mapped[str | None] = mapped_column(doc="the name of the Mailbox it was mailed to")
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    used_by: Mapped[UUID | None] = mapped_column(ForeignKey("identity.id"))
    __table_args__ = (
        Index("ix_room_invitation_conversation_id", "conversation_id", "created_at"),
        Index("ix_room_invitation_identity_id", "identity_id", "created_at"),
        Index("ix_room_invitation_address", "address", "created_at"),
    )


CLAIMABLE = text("state IN ('waiting', 'open')")
UNFINISHED = text("state IN ('waiting', 'open', 'held', 'halted')")


class Turn(Base):
    """What was waiting in a conversation when it was answered: one question, one answer.

    waiting -> open (leased under `attempt`, the fence) -> done | dead. Inbound messages join the waiting turn; at
    most one exists in a conversation. `intent` holds what was understood of each message, kept for staff, and `slots`
    the values that were understood in it, sealed: core/sealed.py.
    While a human has the word, a waiting turn is `held` and an open one `halted`: core/handoff.py.
    """

    __tablename__ = "turn"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    conversation_id: Mapped[UUID]
    first_seq: Mapped[int] = mapped_column(doc="the first message it may hold; its messages carry its id")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    closed_at: Mapped[datetime | None]
    intent: Mapped[dict[str, Any] | None]
    slots: Mapped[bytes | None]
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'open', 'held', 'halted', 'done', 'dead')", name="state"),
        Index("uq_turn_unfinished", "conversation_id", "state", unique=True, postgresql_where=UNFINISHED),
        Index("ix_turn_claimable", "id", postgresql_where=CLAIMABLE),
        Index("ix_turn_dead", "created_at", postgresql_where=text("state = 'dead'")),
        Index("ix_turn_created_at", "created_at", postgresql_using="brin", postgresql_with={"pages_per_range": 32}),
    )


class Message(Base):
    """One message of a conversation, in or out. Inbound: the provider's event id, unique for ever, and its turn.

    Its parts are `sealed` (core/sealed.py). A deleted message stays as a tombstone: nothing sealed, and `deleted_at`;
    one whose key was destroyed reads as if it were one.
    """

    __tablename__ = "message"
    id: Mapped[int] = mapped_column(GeneratedId(), primary_key=True)
    conversation_id: Mapped[UUID]
    seq: Mapped[int]
    direction: Mapped[str] = mapped_column(doc="'in' or 'out'")
    channel: Mapped[str | None] = mapped_column(doc="with account and event_id: where an inbound message came from")
    account: Mapped[str | None]
    event_id: Mapped[str | None]
    identity_id: Mapped[UUID | None]
    turn_id: Mapped[int | None] = mapped_column(
        doc="the turn it belongs to, or that wrote it; None for what people in a shared room say to one another"
    )
    sealed: Mapped[bytes | None]
    dedup_key: Mapped[str | None] = mapped_column(doc="of an outbound message: its outbox row's")
    reply_to: Mapped[str | None]
    author: Mapped[str | None] = mapped_column(doc="the member of staff who wrote it; None for the bot and the person")
    sent_at: Mapped[datetime | None] = mapped_column(doc="by the provider's clock")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    edited_at: Mapped[datetime | None] = mapped_column(doc="the last edit, by the provider's clock")
    deleted_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        Index(
            "uq_message_event", "channel", "account", "event_id", unique=True, postgresql_where=text("direction = 'in'")
        ),
        CheckConstraint("direction IN ('in', 'out')", name="direction"),
        CheckConstraint(
            "(direction = 'in') = (event_id IS NOT NULL AND channel IS NOT NULL AND account IS NOT NULL"
            " AND identity_id IS NOT NULL)",
            name="inbound_is_whole",
        ),
        CheckConstraint("(direction = 'out') = (dedup_key IS NOT NULL)", name="outbound_is_whole"),
        Index("ix_message_created_at", "created_at", postgresql_using="brin", postgresql_with={"pages_per_range": 32}),
        Index("ix_message_reply_to", "conversation_id", "reply_to", postgresql_where=text("reply_to IS NOT NULL")),
    )


class File(Base):
    """A file of a conversation, whose sealed contents lie in the storage under its id: core/files.py.

    storing -> kept -> deleted; `swept` when its object is gone too.
    """

    __tablename__ = "file"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), index=True)
    identity_id: Mapped[UUID | None] = mapped_column(ForeignKey("identity.id"), doc="who sent it; None for our own")
    name: Mapped[bytes | None] = mapped_column(doc="sealed under the key of its conversation")
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(doc="bytes")
    epoch: Mapped[int] = mapped_column(Integer, doc="of its conversation's key")
    width: Mapped[int | None] = mapped_column(Integer, doc="of a picture, in pixels")
    height: Mapped[int | None] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(server_default="storing")
    swept: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    deleted_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('storing', 'kept', 'deleted')", name="state"),
        CheckConstraint("(state = 'deleted') = (name IS NULL)", name="named_while_kept"),
        Index("ix_file_identity_id", "identity_id", "created_at", postgresql_where=text("identity_id IS NOT NULL")),
        Index("ix_file_storing", "created_at", postgresql_where=text("state = 'storing'")),
        Index("ix_file_unswept", "deleted_at", postgresql_where=text("state = 'deleted' AND NOT swept")),
    )


class Change(Base):
    """An edit, deletion or reaction as a provider told it: once, for ever, and without the words it brought.

    `number` counts what was applied in its conversation, so that whoever shows it can catch up.
    """

    __tablename__ = "change"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    channel: Mapped[str]
    account: Mapped[str]
    event_id: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="unknown")
    conversation_id: Mapped[UUID | None]
    number: Mapped[int | None]
    message_id: Mapped[int | None]
    identity_id: Mapped[UUID | None] = mapped_column(doc="who changed it")
    sent_at: Mapped[datetime] = mapped_column(doc="by the provider's clock; with event_id, the order of changes")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("channel", "account", "event_id"),
        CheckConstraint("kind IN ('edit', 'delete', 'reaction', 'transcript', 'file')", name="kind"),
        CheckConstraint("state IN ('applied', 'overtaken', 'refused', 'unknown')", name="state"),
        CheckConstraint("(state = 'applied') = (number IS NOT NULL)", name="applied_is_numbered"),
        Index(
            "uq_change_number", "conversation_id", "number", unique=True, postgresql_where=text("number IS NOT NULL")
        ),
        Index("ix_change_message_id", "message_id", postgresql_where=text("message_id IS NOT NULL")),
        Index("ix_change_conversation_id", "conversation_id"),
    )


class Transcription(Base):
    """A voice note that is to be written down; what it says is kept in its message alone.

    waiting -> done | failed, under a lease and `attempt`, the fence. `turn_id` and `turn_attempt` name the turn that
    waits for it, by the attempt that found it so.
    """

    __tablename__ = "transcription"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    conversation_id: Mapped[UUID]
    seq: Mapped[int]
    part: Mapped[int] = mapped_column(SmallInteger, doc="which part of the message, counted from 0")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    problem: Mapped[str | None] = mapped_column(doc="why there are no words: core/voice.py")
    turn_id: Mapped[int | None]
    turn_attempt: Mapped[int | None] = mapped_column(Integer)
    identity_id: Mapped[UUID | None] = mapped_column(ForeignKey("identity.id"), doc="on whose account it is counted")
    day: Mapped[date | None] = mapped_column(doc="their date when it was counted")
    seconds: Mapped[int | None] = mapped_column(Integer, doc="how long it plays, rounded up")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    done_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq", "part"),
        CheckConstraint("state IN ('waiting', 'done', 'failed')", name="state"),
        CheckConstraint("(day IS NULL) = (seconds IS NULL)", name="counted_whole"),
        Index("ix_transcription_counted", "identity_id", "day", postgresql_where=text("day IS NOT NULL")),
        CheckConstraint("(state = 'failed') = (problem IS NOT NULL)", name="failure_has_a_reason"),
        Index("ix_transcription_waiting", "lease_until", postgresql_where=text("state = 'waiting'")),
    )


class FileFetch(Base):
    """A file that its provider keeps until it is fetched; where it is then, is written in its message alone.

    waiting -> done | lost, under a lease and `attempt`, the fence; `tries` counts what was tried since it was noted.
    """

    __tablename__ = "file_fetch"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    conversation_id: Mapped[UUID]
    seq: Mapped[int]
    part: Mapped[int] = mapped_column(SmallInteger, doc="which part of the message, counted from 0")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    lost: Mapped[str | None] = mapped_column(doc="why it is not here: core/fetching.py")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    done_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq", "part"),
        CheckConstraint("state IN ('waiting', 'done', 'lost')", name="state"),
        CheckConstraint("(state = 'lost') = (lost IS NOT NULL)", name="loss_has_a_reason"),
        Index("ix_file_fetch_waiting", "lease_until", postgresql_where=text("state = 'waiting'")),
    )


class DataExport(Base):
    """Somebody's archive of all that is theirs: asked for, made by a job, given out for a day: core/exports.py.

    waiting -> done | failed, under a lease and `attempt`, the fence; done -> expired, when its file is gone.
    """

    __tablename__ = "data_export"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it was asked for")
    key: Mapped[str] = mapped_column(unique=True, doc="idempotency key of the call that asked for it")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    file_id: Mapped[UUID | None] = mapped_column(ForeignKey("file.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    done_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'done', 'failed', 'expired')", name="state"),
        CheckConstraint("(state IN ('done', 'expired')) = (file_id IS NOT NULL)", name="done_is_a_file"),
        Index("ix_data_export_person", "person_id", "created_at"),
        Index("ix_data_export_waiting", "lease_until", postgresql_where=text("state = 'waiting'")),
        Index("ix_data_export_done", "done_at", postgresql_where=text("state = 'done'")),
    )


class Reaction(Base):
    """What a person put under a message; no row where they put nothing or took it back."""

    __tablename__ = "reaction"
    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"), primary_key=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), primary_key=True)
    emoji: Mapped[list[Any]] = mapped_column(doc="texts, in the order the provider gives them")
    reacted_at: Mapped[datetime] = mapped_column(doc="when they put the first there")


class Outbox(Base):
    """One message owed to a channel. `sending` is committed before the provider is called.

    pending -> sending (leased under `attempt`) -> sent | refused | unknown | held; unknown -> sent | pending only by
    asking the provider; held -> pending when the person writes, or refused when it went by e-mail instead. `done_at` is
    set when nothing more will be tried as things stand; until then it holds back later messages of its conversation.
    Provider statuses (delivered, read, failed) arrive later in `provider_status`.
    """

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, doc="the id of the message it sends")
    conversation_id: Mapped[UUID]
    channel: Mapped[str] = mapped_column(doc="the conversation's; a channel can be paused as a whole")
    kind: Mapped[str] = mapped_column(doc="'reply', 'reminder', 'workflow' …: what follows a refusal depends on it")
    dedup_key: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(server_default="pending")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    asked: Mapped[int] = mapped_column(
        SmallInteger, server_default="0", doc="how often an unknown outcome was asked after"
    )
    lease_until: Mapped[datetime | None]
    not_before: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    sending_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    piece: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="how many pieces of it are settled")
    earlier_ids: Mapped[list[str] | None] = mapped_column(ARRAY(Text()), doc="the provider's ids of those pieces")
    doubt: Mapped[str | None] = mapped_column(doc="why nobody knows whether an earlier piece arrived")
    provider_message_id: Mapped[str | None] = mapped_column(doc="of the piece at hand; of the last, once it is done")
    provider_status: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(doc="why it was refused, or is not known; a sentence for staff")
    followed_up_at: Mapped[datetime | None] = mapped_column(doc="when a refusal was taken care of")
    follow_ups: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="how often its follow-up was begun")
    held_seq: Mapped[int | None] = mapped_column(
        doc="the person's newest message when this one was held; any later one lets it go"
    )
    template: Mapped[dict[str, Any] | None] = mapped_column(doc="what it is sent by: name, language, provider_ref")
    template_words: Mapped[bytes | None] = mapped_column(doc="its variables and the text they make, as JSON, sealed")
    past_ids: Mapped[list[str] | None] = mapped_column(
        ARRAY(Text()), doc="provider ids of tries that failed for the window's sake; their statuses say nothing more"
    )
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sending', 'sent', 'refused', 'unknown', 'held')", name="state"),
        Index("ix_outbox_unfinished", "conversation_id", "id", postgresql_where=text("done_at IS NULL")),
        Index("ix_outbox_claimable", "channel", "id", postgresql_where=text("state = 'pending'")),
        Index(
            "ix_outbox_in_doubt",
            "not_before",
            postgresql_where=text("done_at IS NULL AND state IN ('sending', 'unknown')"),
        ),
        Index(
            "ix_outbox_refused", "id", postgresql_where=text("state IN ('refused', 'held') AND followed_up_at IS NULL")
        ),
        Index("ix_outbox_held", "conversation_id", "id", postgresql_where=text("state = 'held'")),
        Index(
            "ix_outbox_failed",
            "done_at",
            postgresql_where=text("done_at IS NOT NULL AND state IN ('refused', 'unknown')"),
        ),
        Index(
            "ix_outbox_provider_message_id",
            "provider_message_id",
            postgresql_where=text("provider_message_id IS NOT NULL"),
        ),
    )


class DeliveryStatus(Base):
    """When a provider said first that a piece of a message had come so far; one row for each status it told.

    Each try that failed for the window's sake begins anew, so that the times of one are not taken for another's.
    """

    __tablename__ = "delivery_status"
    outbox_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(
        SmallInteger, primary_key=True, autoincrement=False, doc="how many tries the window had shut out before"
    )
    piece: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(doc="by the provider's clock where it tells, else when it told")
    error: Mapped[str | None] = mapped_column(doc="why it failed; a sentence for staff")


class Template(Base):
    """A message that WhatsApp has to approve before it goes out outside the 24-hour window, as one account has it.

    `provider_ref` is the provider's own id (Twilio's content SID), None until it is registered there.
    """

    __tablename__ = "template"
    channel: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True, doc="what it is for: 'reminder', 'notice'")
    language: Mapped[str] = mapped_column(primary_key=True)
    provider_ref: Mapped[str | None]
    category: Mapped[str]
    body: Mapped[str] = mapped_column(doc="with {{1}} for its variables")
    variables: Mapped[dict[str, Any]] = mapped_column(doc="by number, an example of what stands there")
    state: Mapped[str] = mapped_column(server_default="unsubmitted")
    reason: Mapped[str | None] = mapped_column(doc="why it was rejected or paused; a sentence for staff")
    checked_at: Mapped[datetime | None] = mapped_column(doc="when the provider was last asked for its state")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        CheckConstraint(
            "state IN ('unsubmitted', 'received', 'pending', 'approved', 'rejected', 'paused', 'disabled')",
            name="state",
        ),
    )


class OptOut(Base):
    """Somebody who wants no messages on one channel, by their identity there; `ended_at` when they opted in again.

    `turn_id` is the turn in which they said the last of both; the answer to an opt-out is the last thing they get. None
    when the provider said it.
    """

    __tablename__ = "opt_out"
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    how: Mapped[str] = mapped_column(doc="'word' or 'provider'")
    turn_id: Mapped[int | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("how IN ('word', 'provider')", name="how"),)


class Receipt(Base):
    """One call of an action, written before and after: the only source of the word "done".

    `key` is the idempotency key of the call; a retry finds the finished row and does not run the action again.
    """

    __tablename__ = "receipt"
    key: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    action: Mapped[str]
    params: Mapped[bytes] = mapped_column(doc="as JSON, sealed: core/receipts.py")
    state: Mapped[str] = mapped_column(server_default="started")
    result: Mapped[bytes | None] = mapped_column(doc="text, data and parts, or the error's name, likewise")
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("state IN ('started', 'done', 'failed')", name="state"),)


class TokenUse(Base):
    """How many tokens of language models a person used in a month, those included that are reserved for a call.

    Of somebody who was merged into another it stays with who they were; what is used from then on is the other's.
    """

    __tablename__ = "token_use"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True, doc="its first day, by the calendar of UTC")
    tokens: Mapped[int]
    __table_args__ = (CheckConstraint("tokens >= 0", name="tokens"),)


class Confirmation(Base):
    """What a person is to confirm before it happens: exactly this, once, in the chat that showed it.

    pending -> used | cancelled | superseded | locked; it is late once `expires_at` is past. A trigger lets nothing else
    of it change, and nothing at all once it has ended.
    """

    __tablename__ = "confirmation"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), doc="who alone can confirm it")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where it was shown")
    action: Mapped[str]
    params: Mapped[bytes] = mapped_column(doc="as JSON, sealed: core/confirm.py")
    code_hash: Mapped[bytes] = mapped_column(doc="SHA-256, salted with the id")
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="wrong codes")
    state: Mapped[str] = mapped_column(server_default="pending")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    used_key: Mapped[str | None] = mapped_column(unique=True, doc="idempotency key of the message that confirmed it")
    by_pin: Mapped[bool] = mapped_column(
        server_default=text("false"), doc="whether it is confirmed on the account page, by the PIN alone"
    )
    shown: Mapped[bytes | None] = mapped_column(doc="what the page shows of it, sealed")
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'used', 'cancelled', 'superseded', 'locked')", name="state"),
        CheckConstraint("(state = 'pending') = (ended_at IS NULL)", name="ended_at_some_time"),
        CheckConstraint("(state = 'used') = (used_key IS NOT NULL)", name="used_by_somebody"),
        CheckConstraint("by_pin = (shown IS NOT NULL)", name="shown_where_by_pin"),
        Index("uq_confirmation_pending", "person_id", unique=True, postgresql_where=text("state = 'pending'")),
        Index("ix_confirmation_identity_id", "identity_id", "created_at"),
    )


class AccountLink(Base):
    """A link to a person's account page, which opens once, and the browser that opened it: core/account_links.py."""

    __tablename__ = "account_link"
    id: Mapped[int] = mapped_column(GeneratedId(always=False), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), doc="who was given it")
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where")
    token_hash: Mapped[bytes] = mapped_column(unique=True, doc="SHA-256")
    session_hash: Mapped[bytes | None] = mapped_column(unique=True, doc="SHA-256 of what the browser is known by")
    created_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("(opened_at IS NULL) = (session_hash IS NULL)", name="opened_by_a_browser"),
        Index("ix_account_link_person_id", "person_id", "created_at"),
    )


class Erasure(Base):
    """Somebody who is erased: core/erasure.py. What is left is a pseudonym, and that it happened.

    waiting (rows are being removed, leased under `attempt`) -> told (the last word is on its way) -> watched (what
    their providers may yet deliver again is known by its ids) -> done.
    """

    __tablename__ = "erasure"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), unique=True)
    asked_by: Mapped[str] = mapped_column(doc="'person:<id>' or 'staff:<name>'")
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    erased_at: Mapped[datetime | None] = mapped_column(doc="when the last of their rows was gone")
    channel: Mapped[str | None] = mapped_column(doc="with account, room and language: where the last word goes")
    account: Mapped[str | None]
    room: Mapped[str | None] = mapped_column(doc="forgotten with the last word")
    language: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'told', 'watched', 'done')", name="state"),
        CheckConstraint("room IS NULL OR state IN ('waiting', 'told')", name="address_is_forgotten"),
        Index("ix_erasure_unfinished", "lease_until", postgresql_where=text("state <> 'done'")),
    )


class ErasedAddress(Base):
    """An address that was erased, by a name from which nobody without our keys can tell it; for some days."""

    __tablename__ = "erased_address"
    name: Mapped[str] = mapped_column(primary_key=True)
    erasure_id: Mapped[int] = mapped_column(ForeignKey("erasure.id"), primary_key=True)
    at: Mapped[datetime]


class Note(Base):
    """What staff wrote to one another beside a conversation; it is never sent."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    author: Mapped[str]
    sealed: Mapped[bytes] = mapped_column(doc="its text: core/sealed.py")
    nonce: Mapped[str] = mapped_column(unique=True, doc="the form's; a form sent twice is one note")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (Index("ix_note_conversation", "conversation_id", "created_at"),)


class Correction(Base):
    """A message that staff say was misunderstood, and what was meant; the local brain may be taught by it.

    open -> accepted | dismissed. Its words stay in the message; `line` is what staff made of them to teach from, sealed
    under the room's key (web_admin/corrections.py).
    """

    __tablename__ = "correction"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"))
    seq: Mapped[int] = mapped_column(doc="which message of it")
    turn_id: Mapped[int] = mapped_column(doc="the turn in which it was understood")
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), doc="who wrote it")
    understood: Mapped[str] = mapped_column(doc="the action it was taken for, or none")
    meant: Mapped[str | None] = mapped_column(doc="the action it was meant for, or none; NULL while nobody knows")
    state: Mapped[str] = mapped_column(server_default="open")
    line: Mapped[bytes | None]
    marked_by: Mapped[str]
    marked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        CheckConstraint("state IN ('open', 'accepted', 'dismissed')", name="state"),
        CheckConstraint("(state = 'accepted') = (line IS NOT NULL)", name="accepted_is_a_line"),
        CheckConstraint("state <> 'accepted' OR meant IS NOT NULL", name="accepted_is_known"),
        Index("ix_correction_turn_id", "turn_id"),
        Index("ix_correction_person_id", "person_id"),
    )


class CannedReply(Base):
    """A text that staff put into the composer by its shortcut."""

    __tablename__ = "canned_reply"
    text = ""
    """What it says, once core/canned.py opened it; no column."""
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    shortcut: Mapped[str] = mapped_column(unique=True)
    sealed: Mapped[bytes]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Site(Base):
    """A site that embeds the chat: its public key, how the chat looks there, and the origins that may open it."""

    __tablename__ = "site"
    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(doc="what staff call it")
    title: Mapped[str] = mapped_column(doc="what its visitors see")
    colour: Mapped[str] = mapped_column(doc="#rrggbb")
    position: Mapped[str]
    greeting: Mapped[dict[str, Any]] = mapped_column(doc="texts by language")
    origins: Mapped[list[Any]] = mapped_column(doc="texts as browsers write them")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (CheckConstraint("position IN ('left', 'right')", name="position"),)


class SiteSecret(Base):
    """What a site's server proves with who its users are, sealed."""

    __tablename__ = "site_secret"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    site: Mapped[str] = mapped_column(ForeignKey("site.key"), index=True)
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None] = mapped_column(doc="set once there is a newer one")


class SiteUser(Base):
    """Somebody a site proved: its own id of them, and the visitor they are on every device."""

    __tablename__ = "site_user"
    site: Mapped[str] = mapped_column(ForeignKey("site.key"), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    visitor_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebVisitor(Base):
    """A browser that chats: its secret is kept only as a SHA-256 hash; `identity.provider_id` is this row's id.

    With a `user_id` it is one of the browsers of a site's user, and chats as that user's visitor.
    """

    __tablename__ = "web_visitor"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    site: Mapped[str]
    user_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(doc="since when its token opens nothing any more")


class StaffSession(Base):
    """A signed-in member of staff. Tokens are kept only as SHA-256 hashes.

    `kind` is 'link' (one use, short) or 'session'.
    """

    __tablename__ = "staff_session"
    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    kind: Mapped[str]
    staff: Mapped[str] = mapped_column(doc="who: 'owner' for the link that `up` prints")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("kind IN ('link', 'session')", name="kind"),)


class Audit(Base):
    """Who did or saw what; append-only. Holds ids, never message text."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str]
    verb: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class ModerationBatch(Base):
    """Inbound messages that are judged together: those with ids after `after_id`, up to `last_id`.

    waiting (leased under `attempt`, the fence) -> done. The newest batch says how far messages are in batches.
    """

    __tablename__ = "moderation_batch"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    after_id: Mapped[int]
    last_id: Mapped[int] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_until: Mapped[datetime | None]
    judge: Mapped[str | None] = mapped_column(doc="who judged it: 'toxic-bert' or 'word list'")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    done_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'done')", name="state"),
        Index("ix_moderation_batch_waiting", "id", postgresql_where=text("state = 'waiting'")),
    )


class ModerationFlag(Base):
    """One label that a judge put on one message. Only who wrote the message bears it."""

    __tablename__ = "moderation_flag"
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(primary_key=True)
    score: Mapped[float] = mapped_column(Float)
    judge: Mapped[str]
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    dismissed_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_moderation_flag_person", "person_id", "created_at"),
        Index("ix_moderation_flag_created_at", "created_at"),
    )


class Mute(Base):
    """A time in which what a person writes is not answered, and what became of it."""

    __tablename__ = "mute"
    id: Mapped[int] = mapped_column(GeneratedId(always=True), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where they were told")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    until: Mapped[datetime]
    appealed_at: Mapped[datetime | None]
    appeal_turn_id: Mapped[int | None] = mapped_column(doc="the turn in which they were told that staff will look")
    lifted_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_mute_person", "person_id", "created_at"), Index("ix_mute_until", "until"))


class WorkflowDefinition(Base):
    """A person's workflow: what UserWorkflow interprets, and when it starts by itself.

    Its words, and those of its runs and their steps, are sealed under the key of the room where it speaks
    (jobs/definitions.py).
    """

    __tablename__ = "workflow_definition"
    title = ""
    """Its name, opened; no column."""
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where its steps speak")
    name: Mapped[bytes | None] = mapped_column(doc="sealed; None once it was erased")
    name_index: Mapped[bytes | None] = mapped_column(index=True, doc="a keyed hash of the name, to find it by")
    spec: Mapped[bytes | None] = mapped_column(doc="its steps, as JSON, sealed")
    cron: Mapped[str | None]
    timezone: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="active")
    version: Mapped[int] = mapped_column(Integer, server_default="1", doc="counts its changes; a trigger moves it")
    scheduled: Mapped[bool] = mapped_column(server_default=text("false"), doc="whether Temporal has the schedule")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (CheckConstraint("state IN ('active', 'paused', 'deleted')", name="state"),)


class WorkflowRun(Base):
    """One run of a workflow; `requested` until Temporal has it. The Temporal workflow id is `workflow_id`."""

    __tablename__ = "workflow_run"
    __allow_unmapped__ = True
    ending: Mapping[str, Any] | None = None
    """The outcome, opened; no column."""
    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    definition_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_definition.id"), index=True)
    state: Mapped[str] = mapped_column(server_default="requested")
    version: Mapped[int | None] = mapped_column(Integer, doc="of the definition, whose steps it began with")
    trigger: Mapped[bytes | None] = mapped_column(doc="its variables, as JSON, sealed")
    waiting_for: Mapped[str | None] = mapped_column(doc="the approval step it waits for")
    outcome: Mapped[bytes | None] = mapped_column(doc="how it ended, as JSON, sealed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('requested', 'running', 'done', 'failed')", name="state"),
        Index("ix_workflow_run_requested", "created_at", postgresql_where=text("state = 'requested'")),
        Index("ix_workflow_run_unfinished", "state", postgresql_where=text("finished_at IS NULL")),
        Index("ix_workflow_run_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )


class WorkflowStep(Base):
    """One step of a run, as it went: what staff see, and what makes a repeated activity harmless."""

    __tablename__ = "workflow_step"
    __allow_unmapped__ = True
    variables: Mapping[str, Any] | None = None
    """The result, opened; no column."""
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow_run.workflow_id"), primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    result: Mapped[bytes | None] = mapped_column(doc="what later steps may use, as JSON, sealed")
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), onupdate=func.clock_timestamp())
    __table_args__ = (CheckConstraint("state IN ('started', 'done', 'failed', 'skipped', 'waiting')", name="state"),)
