"""The tables of core: people, conversations, messages, turns, the outbox, receipts, and who looked at what.

Times are timestamptz. Order rests on sequences (`seq`, bigint ids), identity on random UUIDs.
The hot path (inbox, turn, outbox) writes these tables in batches of SQL; this file is what migrations are checked
against.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
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
    name: Mapped[str | None]
    language: Mapped[str] = mapped_column(server_default="en")
    timezone: Mapped[str | None] = mapped_column(doc="IANA zone the person stated")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Identity(Base):
    """One way a person is known to a provider: (channel, our account there, the provider's id of the person)."""

    __tablename__ = "identity"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    channel: Mapped[str]
    account: Mapped[str]
    provider_id: Mapped[str]
    display_name: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (UniqueConstraint("channel", "account", "provider_id"),)


class Conversation(Base):
    """One room on one of our accounts. `next_seq` numbers its messages, both ways, without gaps."""

    __tablename__ = "conversation"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    channel: Mapped[str]
    account: Mapped[str]
    room: Mapped[str]
    next_seq: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        UniqueConstraint("channel", "account", "room"),
        Index("ix_conversation_last_at", text("last_at DESC")),
    )


class Member(Base):
    """A person in a conversation."""

    __tablename__ = "member"
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), primary_key=True)
    joined_at: Mapped[datetime] = mapped_column(server_default=func.now())


UNFINISHED = text("state IN ('waiting', 'open')")


class Turn(Base):
    """What was waiting in a conversation when it was answered: one question, one answer.

    waiting -> open (leased under `attempt`, the fence) -> done | dead. Inbound messages join the waiting turn; at
    most one exists in a conversation. `intent` holds what was understood of each message, kept for staff.
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
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'open', 'done', 'dead')", name="state"),
        Index("uq_turn_unfinished", "conversation_id", "state", unique=True, postgresql_where=UNFINISHED),
        Index("ix_turn_claimable", "id", postgresql_where=UNFINISHED),
        Index("ix_turn_dead", "created_at", postgresql_where=text("state = 'dead'")),
    )


class Message(Base):
    """One message of a conversation, in or out. Inbound: the provider's event id, unique for ever, and its turn."""

    __tablename__ = "message"
    id: Mapped[int] = mapped_column(GeneratedId(), primary_key=True)
    conversation_id: Mapped[UUID]
    seq: Mapped[int]
    direction: Mapped[str] = mapped_column(doc="'in' or 'out'")
    channel: Mapped[str | None] = mapped_column(doc="with account and event_id: where an inbound message came from")
    account: Mapped[str | None]
    event_id: Mapped[str | None]
    identity_id: Mapped[UUID | None]
    turn_id: Mapped[int | None] = mapped_column(doc="the turn it belongs to, or that wrote it")
    parts: Mapped[list[Any]]
    reply_to: Mapped[str | None]
    sent_at: Mapped[datetime | None] = mapped_column(doc="by the provider's clock")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        Index(
            "uq_message_event", "channel", "account", "event_id", unique=True, postgresql_where=text("direction = 'in'")
        ),
        CheckConstraint("direction IN ('in', 'out')", name="direction"),
        CheckConstraint(
            "(direction = 'in') = (event_id IS NOT NULL AND channel IS NOT NULL AND account IS NOT NULL"
            " AND identity_id IS NOT NULL AND turn_id IS NOT NULL)",
            name="inbound_is_whole",
        ),
        Index("ix_message_created_at", "created_at", postgresql_using="brin", postgresql_with={"pages_per_range": 32}),
    )


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
    provider_message_id: Mapped[str | None]
    provider_status: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(doc="why it was refused, or is not known; a sentence for staff")
    followed_up_at: Mapped[datetime | None] = mapped_column(doc="when a refusal was taken care of")
    follow_ups: Mapped[int] = mapped_column(SmallInteger, server_default="0", doc="how often its follow-up was begun")
    held_seq: Mapped[int | None] = mapped_column(
        doc="the person's newest message when this one was held; any later one lets it go"
    )
    template: Mapped[dict[str, Any] | None] = mapped_column(doc="the template it is sent by: name, language, text …")
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
    params: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(server_default="started")
    result: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("state IN ('started', 'done', 'failed')", name="state"),)


class WebVisitor(Base):
    """A browser that chats: its secret is kept only as a SHA-256 hash; `identity.provider_id` is this row's id."""

    __tablename__ = "web_visitor"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    site: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


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


class WorkflowDefinition(Base):
    """A person's workflow: the JSON that UserWorkflow interprets, and when it starts by itself."""

    __tablename__ = "workflow_definition"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id"), doc="where its steps speak")
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    cron: Mapped[str | None]
    timezone: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="active")
    scheduled: Mapped[bool] = mapped_column(server_default=text("false"), doc="whether Temporal has the schedule")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (CheckConstraint("state IN ('active', 'paused', 'deleted')", name="state"),)


class WorkflowRun(Base):
    """One run of a workflow; `requested` until Temporal has it. The Temporal workflow id is `workflow_id`."""

    __tablename__ = "workflow_run"
    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    definition_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_definition.id"), index=True)
    state: Mapped[str] = mapped_column(server_default="requested")
    trigger: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    waiting_for: Mapped[str | None] = mapped_column(doc="the approval step it waits for")
    outcome: Mapped[dict[str, Any] | None]
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
    workflow_id: Mapped[str] = mapped_column(ForeignKey("workflow_run.workflow_id"), primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    result: Mapped[dict[str, Any] | None]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), onupdate=func.clock_timestamp())
    __table_args__ = (CheckConstraint("state IN ('started', 'done', 'failed', 'skipped', 'waiting')", name="state"),)
