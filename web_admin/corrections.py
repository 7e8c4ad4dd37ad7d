"""Messages that staff say were misunderstood: marked on a turn's page, looked through here, and given out as lines to
teach the local brain by.

What was written is read from the messages themselves, so a message that is deleted or erased leaves nothing here; only
the line that staff made of it is kept, sealed like the message. Nothing goes into the repository by itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, people, sealed
from core.brain import classify
from core.brain.anonymous import LINE_CHARS_MAX, anonymous
from core.db import Database, driver
from core.errors import Erased, UserError
from core.mentions import is_shared, without_name
from core.messages import PARTS, Card, Table, text_of
from core.models import Conversation, Correction
from web_admin import auth, called
from web_admin.forms import row_id
from web_admin.rendering import Templates

SHOWN_MAX = 50
"""Candidates on the page, the oldest first: what is decided makes room."""
LINES_MAX = 2_000
"""Lines that are accepted; more are not taken until some were given out and dismissed."""
NOBODY_KNOWS = ""
"""What the form says where staff do not know what was meant."""

GONE = text("""
DELETE FROM correction k USING message m
WHERE m.conversation_id = k.conversation_id AND m.seq = k.seq AND m.sealed IS NULL
""")

OF_TURN = text("""
SELECT m.conversation_id, m.seq, m.sealed IS NULL AS gone, i.person_id, t.intent,
       (SELECT count(*) FROM message later WHERE later.conversation_id = m.conversation_id AND later.seq > m.seq
        AND later.turn_id = t.id AND later.direction = 'in') AS behind
FROM turn t
JOIN conversation c ON c.id = t.conversation_id AND c.erasure_id IS NULL
JOIN message m ON m.conversation_id = t.conversation_id AND m.seq = :seq AND m.turn_id = t.id AND m.direction = 'in'
JOIN identity i ON i.id = m.identity_id
WHERE t.id = :turn
""")

CANDIDATES = text("""
SELECT k.id, k.conversation_id, k.seq, k.turn_id, k.person_id, k.understood, k.meant, k.state, k.line, k.marked_by,
       k.marked_at, c.room, m.sealed, m.event_id, m.dedup_key, m.identity_id, m.author,
       i.display_name, p.name
FROM correction k
JOIN conversation c ON c.id = k.conversation_id
JOIN message m ON m.conversation_id = k.conversation_id AND m.seq = k.seq
JOIN identity i ON i.id = m.identity_id
JOIN person p ON p.id = k.person_id
WHERE k.state = :state ORDER BY k.id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that was misunderstood: what it says, and the line that could be taught."""

    id: int
    turn_id: int
    understood: str
    meant: str | None
    marked_by: str
    marked_at: datetime
    words: str
    line: str


def meanings(actions: Collection[str]) -> tuple[str, ...]:
    """What a message can be meant for: the `actions` there are, those the local brain learnt besides, and `none`."""
    return tuple(sorted({*actions, *classify.model().classes}))


class Corrections:
    """Reads and renders the candidates, and does what staff decide."""

    def __init__(self, db: Database, templates: Templates, meanings: Collection[str]) -> None:
        self._db, self._templates, self._meanings = db, templates, meanings

    async def mark(self, staff: auth.Staff, turn: str, fields: Mapping[str, str]) -> None:
        """Say that a message of a turn was misunderstood, and what was meant where that is known; the same again
        changes what was meant. Raises LookupError for no such message, UserError.
        """
        meant = self._meant(fields)
        async with self._db.transaction() as session:
            row = (
                await session.execute(OF_TURN, {"turn": row_id(turn), "seq": row_id(fields.get("seq", ""))})
            ).one_or_none()
            if row is None:
                raise LookupError
            if row.gone:
                raise UserError("This message was deleted, so nothing can be learnt from it.")
            kept = (row.intent or {}).get("messages") or [{}]
            understood = kept[-1 - row.behind] if row.behind < len(kept) else {}
            was = str(understood.get("guess") or understood.get("action") or "none")
            values = {"meant": meant, "marked_by": staff.name}
            marked = insert(Correction).values(
                conversation_id=row.conversation_id, seq=row.seq, turn_id=row_id(turn), person_id=row.person_id,
                understood=was, **values,
            )  # fmt: skip
            open_again = {"state": "open", "line": None, "decided_by": None, "decided_at": None}
            number = await session.scalar(
                marked.on_conflict_do_update(
                    index_elements=[Correction.conversation_id, Correction.seq], set_=values | open_again
                ).returning(Correction.id)
            )
            detail = {"turn": row_id(turn), "correction": number, "meant": meant}
            subject = f"conversation:{row.conversation_id}"
            await audit.record(session, staff.actor, "message.marked_wrong", subject, detail)

    async def unmark(self, staff: auth.Staff, turn: str, fields: Mapping[str, str]) -> None:
        """Take a mark back, with whatever was made of it; nothing where there is none."""
        async with self._db.transaction() as session:
            gone = await session.execute(
                delete(Correction)
                .where(Correction.turn_id == row_id(turn), Correction.seq == row_id(fields.get("seq", "")))
                .returning(Correction.id, Correction.conversation_id)
            )
            for row in gone:
                detail = {"turn": row_id(turn), "correction": row.id}
                subject = f"conversation:{row.conversation_id}"
                await audit.record(session, staff.actor, "message.unmarked", subject, detail)

    async def page(self, staff: auth.Staff) -> Markup:
        """The candidates with their words, and the lines that are accepted; who looked is written down."""
        async with self._db.transaction() as session:
            await session.execute(GONE)
            waiting = await _candidates(session, "open", SHOWN_MAX)
            accepted = await _candidates(session, "accepted", SHOWN_MAX)
            more = await session.scalar(select(func.count()).where(Correction.state == "open")) or 0
            counts = (
                await session.execute(
                    select(Correction.meant, func.count()).where(Correction.state == "accepted")
                    .group_by(Correction.meant).order_by(Correction.meant)
                )
            ).all()  # fmt: skip
            seen = [one.id for one in (*waiting, *accepted)]
            if seen:
                await audit.record(session, staff.actor, "corrections.opened", "corrections", {"corrections": [*seen]})
        return self._templates.render(
            "corrections.html",
            section="turns",
            tab="corrections",
            staff=staff,
            waiting=waiting,
            more=more - len(waiting),
            accepted=accepted,
            files=[(meant, count) for meant, count in counts],
            actions=self._meanings,
            chars_max=LINE_CHARS_MAX,
        )

    async def decide(self, staff: auth.Staff, raw: str, fields: Mapping[str, str]) -> None:
        """Accept a candidate with the line as it was edited, dismiss it, or open it again.

        Raises LookupError for none of this number, UserError for a line that cannot be taught.
        """
        number, act = row_id(raw), fields.get("act", "")
        async with self._db.transaction() as session:
            found = await session.scalar(select(Correction).where(Correction.id == number))
            if found is None:
                raise LookupError
            values: dict[str, Any] = {"line": None}
            match act:
                case "accept":
                    values = await self._accepted(session, found, fields) | {"state": "accepted"}
                case "dismiss":
                    values["state"] = "dismissed"
                case "reopen":
                    values["state"] = "open"
                case _:
                    raise UserError("A candidate is accepted, dismissed or opened again, nothing else.")
            decided = {"decided_by": staff.name, "decided_at": func.clock_timestamp()}
            changed = update(Correction).where(Correction.id == number).values(values | decided)
            if not (await session.execute(changed.returning(Correction.id))).all():
                raise LookupError
            verb = {"accept": "accepted", "dismiss": "dismissed", "reopen": "reopened"}[act]
            await audit.record(
                session, staff.actor, f"correction.{verb}", f"conversation:{found.conversation_id}",
                {"correction": number, "meant": values.get("meant", found.meant)},
            )  # fmt: skip

    async def _accepted(
        self, session: AsyncSession, found: Correction, fields: Mapping[str, str]
    ) -> dict[str, str | bytes]:
        """What accepting it with this form keeps."""
        meant = self._meant(fields)
        if meant is None:
            raise UserError("Choose what was meant, or dismiss it: a line teaches one action.")
        line = " ".join(fields.get("line", "").split())
        if not line or line.startswith("#") or len(line) > LINE_CHARS_MAX or not line.isprintable():
            raise UserError(f"A line has 1 to {LINE_CHARS_MAX} characters, and does not begin with #.")
        count = await session.scalar(select(func.count()).where(Correction.state == "accepted")) or 0
        if count >= LINES_MAX:
            raise UserError(f"There are {LINES_MAX:,} lines already. Export them, then dismiss what you took.")
        locked = select(Conversation.id).where(Conversation.id == found.conversation_id)
        await session.execute(locked.with_for_update(key_share=True))
        try:
            key = await self._db.keys.of_locked(await driver(session), found.conversation_id)
        except Erased as error:
            raise LookupError from error
        return {"meant": meant, "line": key.seal(sealed.as_correction(found.seq), line.encode())}

    def _meant(self, fields: Mapping[str, str]) -> str | None:
        """What the form says was meant; None for "I do not know"."""
        meant = fields.get("meant", NOBODY_KNOWS)
        if meant != NOBODY_KNOWS and meant not in self._meanings:
            raise UserError("There is no action of that name. Choose one from the list.")
        return meant or None

    async def lines(self, staff: auth.Staff, meant: str) -> tuple[str, str]:
        """The accepted lines of an action, one a line, as its file in core/brain/utterances takes them: its name, and
        what is in it. Raises LookupError where there are none.
        """
        async with self._db.transaction() as session:
            await session.execute(GONE)
            rows = (
                await session.execute(
                    select(Correction.id, Correction.conversation_id, Correction.seq, Correction.line)
                    .where(Correction.state == "accepted", Correction.meant == meant)
                    .order_by(Correction.id)
                    .limit(LINES_MAX)
                )
            ).all()
            connection = await driver(session)
            places = [(row.conversation_id, sealed.as_correction(row.seq), row.line) for row in rows]
            said = [line.decode() for line in await connection.keys.opened(connection, places) if line is not None]
            if not said:
                raise LookupError
            await audit.record(
                session,
                staff.actor,
                "corrections.exported",
                "corrections",
                {"meant": meant, "corrections": [row.id for row in rows]},
            )
        return f"{meant}.txt", "".join(f"{line}\n" for line in dict.fromkeys(said))


async def _candidates(session: AsyncSession, state: str, limit: int) -> list[Candidate]:
    """Candidates with their words; without those that can no longer be read."""
    rows = (await session.execute(CANDIDATES, {"state": state, "limit": limit})).mappings().all()
    connection = await driver(session)
    said = await sealed.opened(connection.keys, connection, rows)
    places = [(row["conversation_id"], sealed.as_correction(row["seq"]), row["line"]) for row in rows]
    lines = await connection.keys.opened(connection, places)
    known: dict[UUID, list[str]] = {}
    found = []
    for row, json, line in zip(await called.opened(session, rows), said, lines, strict=True):
        if json is None:
            continue
        if row["person_id"] not in known:
            theirs = await people.contacts(session, row["person_id"])
            known[row["person_id"]] = [contact.name for contact in theirs]
        names = [name for name in (*known[row["person_id"]], row["name"], row["display_name"]) if name]
        words = _words(json, row["room"])
        draft = anonymous(words, names) if line is None else line.decode()
        found.append(
            Candidate(
                row["id"], row["turn_id"], row["understood"], row["meant"], row["marked_by"], row["marked_at"], words,
                draft,
            )
        )  # fmt: skip
    return found


def _words(json: bytes, room: str) -> str:
    """What a message asks for in words, as the brain read it."""
    parts = tuple(part for part in PARTS.validate_json(json) if not isinstance(part, Card | Table))
    return text_of(without_name(parts) if is_shared(room) else parts)
