"""The moderation queue: who is muted, whose messages were flagged; no message text, which the conversation has.

Whoever wants to read what was flagged opens the conversation there, and that view is recorded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import func, select, text, update

from core import audit
from core.db import Database
from core.models import ModerationFlag, Mute, Person
from web_admin import auth, called
from web_admin.forms import row_id
from web_admin.rendering import Templates

SHOWN_MAX = 100

FLAGGED = text("""
SELECT f.message_id, f.labels, f.judge, f.score, f.flagged_at, m.conversation_id, m.seq, m.channel,
       coalesce(p.name, i.display_name) AS name, i.provider_id AS identity
FROM (SELECT message_id, string_agg(label, ', ' ORDER BY score DESC, label) AS labels, max(score) AS score,
             string_agg(DISTINCT judge, ' and ') AS judge, max(created_at) AS flagged_at, min(person_id::text) AS person
      FROM moderation_flag WHERE dismissed_at IS NULL
      GROUP BY message_id ORDER BY max(created_at) DESC, message_id DESC LIMIT :limit) f
JOIN message m ON m.id = f.message_id
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = f.person::uuid
ORDER BY f.flagged_at DESC, f.message_id DESC
""")


@dataclass(frozen=True, slots=True)
class Flagged:
    """A message with flags that nobody dismissed."""

    message_id: int
    labels: str
    judge: str
    score: float
    flagged_at: datetime
    conversation_id: UUID
    seq: int
    channel: str
    name: str | None
    identity: str

    @property
    def what(self) -> str:
        """Its labels in words."""
        return self.labels.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Muted:
    """A mute that holds now."""

    id: int
    name: str
    conversation_id: UUID
    until: datetime
    appealed_at: datetime | None


class Moderation:
    """Reads and renders the queue, and does what staff decide."""

    def __init__(self, db: Database, templates: Templates, now: Callable[[], datetime]) -> None:
        self._db, self._templates, self._now = db, templates, now

    async def page(self, staff: auth.Staff) -> Markup:
        """The whole page."""
        async with self._db.transaction() as session:
            rows = (await session.execute(FLAGGED, {"limit": SHOWN_MAX})).mappings().all()
            flagged: Sequence[Flagged] = [Flagged(**row) for row in await called.opened(session, rows)]
            mutes = await session.execute(
                select(
                    Mute.id,
                    Person.name,
                    Mute.conversation_id,
                    Mute.until,
                    Mute.appealed_at,
                )
                .join(Person, Person.id == Mute.person_id)
                .where(Mute.lifted_at.is_(None), Mute.until > func.now())
                .order_by(Mute.appealed_at.asc().nulls_last(), Mute.id)
                .limit(SHOWN_MAX)
            )
            muted = [
                Muted(**row | {"name": row["name"] or "Somebody without a name"})
                for row in await called.opened(session, mutes.mappings().all())
            ]
        return self._templates.render(
            "moderation.html", section="moderation", staff=staff, flagged=flagged, muted=muted
        )

    async def dismiss(self, staff: auth.Staff, message_id: str) -> None:
        """Take a message's flags back: they no longer count. Raises LookupError for a message without flags."""
        async with self._db.transaction() as session:
            dismissed = await session.scalars(
                update(ModerationFlag)
                .where(ModerationFlag.message_id == row_id(message_id), ModerationFlag.dismissed_at.is_(None))
                .values(dismissed_at=func.now())
                .returning(ModerationFlag.label)
            )
            labels = sorted(dismissed)
            if labels:
                subject = f"message:{message_id}"
                await audit.record(session, staff.actor, "moderation.flag_dismissed", subject, {"labels": [*labels]})
            elif not await session.scalar(select(func.count()).where(ModerationFlag.message_id == row_id(message_id))):
                raise LookupError

    async def lift(self, staff: auth.Staff, mute_id: str) -> None:
        """End a mute before its time. Raises LookupError where there is none of this number."""
        async with self._db.transaction() as session:
            mute = await session.get(Mute, row_id(mute_id))
            if mute is None:
                raise LookupError
            # Their row is held as judging holds it, so that a new mute is not taken for this one.
            await session.execute(select(Person.id).where(Person.id == mute.person_id).with_for_update(key_share=True))
            lifted = await session.scalar(
                update(Mute)
                .where(Mute.id == mute.id, Mute.lifted_at.is_(None))
                .values(lifted_at=func.now())
                .returning(Mute.until)
            )
            if lifted is None:
                return
            await session.execute(
                update(Person).where(Person.id == mute.person_id, Person.muted_until == lifted).values(muted_until=None)
            )
            await audit.record(
                session, staff.actor, "moderation.mute_lifted", f"person:{mute.person_id}", {"mute": mute.id}
            )
