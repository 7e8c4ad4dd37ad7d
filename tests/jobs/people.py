"""People with a conversation, as rows; and a small catalog of real actions whose effects can be counted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from pydantic import Field
from sqlalchemy import insert

import connectors
from core import mailboxes
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.catalog import Catalog
from core.db import Database
from core.errors import ProviderUnavailable, UserError
from core.language import Saying
from core.models import Audit
from core.names import names_of
from core.reminders import seal_content
from core.settings import Settings
from tests.said import texts


@dataclass(frozen=True)
class Known:
    """One person, and the conversation they have with us."""

    person_id: UUID
    conversation_id: UUID


async def someone(db: Database, *, channel: str = "whatsapp", email: str | None = None, verified: bool = True) -> Known:
    """Make a person in a room of their own, with an e-mail address when one is given."""
    known = Known(uuid4(), uuid4())
    identity = uuid4()
    room = f"room-{identity}"
    async with db.hot() as connection:
        names = await names_of(connection)
        await connection.execute(
            "INSERT INTO person (id, name, name_index) VALUES ($1, $2, $3)",
            known.person_id, names.seal("Asha"), names.index("Asha"),
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO identity (id, person_id, channel, account, provider_id) VALUES ($1, $2, $3, 'ours', $4)",
            identity,
            known.person_id,
            channel,
            room,
        )
        await connection.execute(
            "INSERT INTO conversation (id, channel, account, room) VALUES ($1, $2, 'ours', $3)",
            known.conversation_id,
            channel,
            room,
        )
        await connection.execute(
            "INSERT INTO member (conversation_id, identity_id) VALUES ($1, $2)", known.conversation_id, identity
        )
        if email is not None:
            await connection.execute(
                "INSERT INTO identity (id, person_id, channel, account, provider_id, verified_at)"
                " VALUES ($1, $2, 'email', 'bot@mathia.example', $3, CASE WHEN $4 THEN now() END)",
                uuid4(),
                known.person_id,
                await mailboxes.keep(connection, email),
                verified,
            )
    return known


async def said(db: Database, conversation_id: UUID) -> list[str]:
    """The texts we said in a conversation, in order."""
    return await texts(db, "WHERE conversation_id = $1 AND direction = 'out' ORDER BY seq", conversation_id)


async def sealed_content(db: Database, reminder_id: UUID, conversation_id: UUID, content: str) -> bytes:
    """A reminder's words, as they are stored."""
    async with db.transaction() as session:
        return await seal_content(session, reminder_id, conversation_id, content)


async def remind(
    db: Database, known: Known, due_at: datetime, *, content: str = "stretch", wall: datetime | None = None,
    zone: str = "Africa/Nairobi", rrule: str | None = None,
) -> UUID:  # fmt: skip
    """Store one active reminder."""
    identifier = uuid4()
    wall = wall or due_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    await db.pool.execute(
        "INSERT INTO reminder (id, person_id, conversation_id, sealed, wall_time, zone, rrule, due_at, key)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        identifier,
        known.person_id,
        known.conversation_id,
        await sealed_content(db, identifier, known.conversation_id, content),
        wall,
        zone,
        rrule,
        due_at,
        str(identifier),
    )
    return identifier


class AddNote(Params):
    """One note."""

    text: str = Field(description="What to note", max_length=200)


class Measure(Params):
    """A town."""

    city: str = Field(description="Which city")


class Fail(Params):
    """How to fail."""

    how: str = Field(description="user, provider or bug")


@action(effect=Effect.WRITE)
async def add_note(ctx: ActionContext, params: AddNote) -> ActionResult:
    """Keep one note; every call that gets here leaves a row."""
    async with ctx.db.transaction() as session:
        detail = {"key": ctx.idempotency_key}
        await session.execute(
            insert(Audit).values(actor=str(ctx.person.id), verb="note", subject=params.text, detail=detail)
        )
    return ActionResult(f"Noted: {params.text}", {"length": len(params.text)})


@action(effect=Effect.READ)
async def measure_rain(ctx: ActionContext, params: Measure) -> ActionResult:
    """How much rain fell: a millimetre for each letter of the city."""
    return ActionResult(f"{len(params.city)} mm in {params.city}", {"mm": len(params.city)})


@action(effect=Effect.READ)
async def fail_so(ctx: ActionContext, params: Fail) -> ActionResult:
    """Fail, in a way of choice."""
    match params.how:
        case "user":
            raise UserError("That cannot be done.")
        case "provider":
            raise ProviderUnavailable("The provider is away.")
    raise KeyError("a bug")


CONNECTORS = (Connector("notes", Saying("Notes", "Maandishi"), (add_note, measure_rain, fail_so)),)


def catalog(settings: Settings) -> Catalog:
    """The catalog of these actions, and of the wallet's where the settings switch it on."""
    wallet = [one for one in connectors.CONNECTORS if one.name == "wallet"]
    return Catalog((*CONNECTORS, *wallet), settings, confirms=True)


async def notes(db: Database) -> list[dict[str, Any]]:
    """Every effect of add_note, in order."""
    rows = await db.pool.fetch("SELECT subject, detail FROM audit WHERE verb = 'note' ORDER BY id")
    return [dict(row) for row in rows]
