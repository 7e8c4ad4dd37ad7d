"""Rows for the admin pages to show: stored by the real inbox and outbox, then moved in time or state."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, text, update

from core.db import Database
from core.inbox import Inbox
from core.messages import Address, ChannelName, InboundMessage, Part, Text
from core.models import Turn
from core.outbox import NewMessage, post
from core.sealed import as_workflow
from core.wake import Wakes
from tests.jobs.people import Known
from tests.ledger.test_mandates import Flow, a_flow

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Caller:
    """Somebody who writes to us, on one channel."""

    name: str | None
    channel: ChannelName = ChannelName.WHATSAPP
    id: str = ""

    @property
    def address(self) -> Address:
        """Where they are; made of their name unless an id was given."""
        person = self.id or f"{self.channel}:{self.name}"
        return Address(self.channel, "ours", person, person)


async def say(db: Database, caller: Caller, *parts: Part | str) -> tuple[UUID, int]:
    """Store a message from somebody; its conversation and number there."""
    whole = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    message = InboundMessage(caller.address, f"event-{next(_numbers)}", whole, datetime.now(UTC), caller.name)
    (received,) = await Inbox(db, Wakes(db)).receive([message])
    return received.conversation_id, received.seq


async def answer(
    db: Database,
    conversation_id: UUID,
    *parts: Part | str,
    kind: str = "reply",
    meaning: Mapping[str, Any] | None = None,
) -> int:
    """Close the waiting turn, if any, and post a reply; the reply's number."""
    whole = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    async with db.transaction() as session:
        await session.execute(
            update(Turn)
            .where(Turn.conversation_id == conversation_id, Turn.state == "waiting")
            .values(state="done", closed_at=func.now(), intent={"messages": [meaning]} if meaning else None)
        )
    async with db.hot() as connection:
        await post(connection, [NewMessage(conversation_id, whole, kind, f"key-{uuid4()}")])
        seq: int = await connection.fetchval("SELECT next_seq - 1 FROM conversation WHERE id = $1", conversation_id)
    return seq


async def delivered(
    db: Database,
    conversation_id: UUID,
    seq: int,
    state: str = "sent",
    status: str | None = None,
    error: str | None = None,
) -> None:
    """Set how the delivery of one message stands; everything but pending and sending is final."""
    async with db.transaction() as session:
        await session.execute(
            text(
                "UPDATE outbox o SET state = :state, provider_status = :status, error = :error,"
                " done_at = CASE WHEN :final THEN clock_timestamp() END FROM message m"
                " WHERE m.id = o.id AND m.conversation_id = :c AND m.seq = :seq"
            ),
            {
                "state": state,
                "status": status,
                "error": error,
                "c": conversation_id,
                "seq": seq,
                "final": state not in ("pending", "sending"),
            },
        )


async def move(db: Database, conversation_id: UUID, ago: Sequence[timedelta]) -> None:
    """Make the conversation's messages, oldest first, as old as `ago` says; its last activity follows."""
    async with db.transaction() as session:
        for seq, delta in enumerate(ago, start=1):
            await session.execute(
                text(
                    "UPDATE message SET created_at = now() - CAST(:d AS interval)"
                    " WHERE conversation_id = :c AND seq = :seq"
                ),
                {"d": delta, "c": conversation_id, "seq": seq},
            )
        await session.execute(
            text(
                "UPDATE conversation SET last_at = now() - CAST(:d AS interval),"
                " created_at = now() - CAST(:first AS interval) WHERE id = :c"
            ),
            {"d": ago[-1], "first": ago[0], "c": conversation_id},
        )


async def workflow(db: Database, who: Known, name: str) -> Flow:
    """A workflow of somebody's that is called so, with a run under way."""
    flow = await a_flow(db, who)
    async with db.hot() as connection:
        key = await connection.keys.of(connection, who.conversation_id)
        await connection.execute(
            "UPDATE workflow_definition SET name = $2 WHERE id = $1", flow.definition,
            key.seal(as_workflow("name", str(flow.definition)), name.encode()),
        )  # fmt: skip
    return flow
