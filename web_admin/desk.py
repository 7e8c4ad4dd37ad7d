"""What staff do in a conversation: take it over, hand it back, write to the person, keep notes; and canned replies.

Forms carry a nonce made with their page, so that one sent twice does one thing.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from core import audit, canned, renumber
from core.db import Database, driver
from core.errors import Erased, StoreUnavailable, UserError
from core.files import FileGone, Files
from core.handoff import HandedBack, TookOver, Watched
from core.handoff_store import Handoffs
from core.intake import keep
from core.messages import Media, Text
from core.models import CannedReply, Conversation, Note
from core.sealed import as_note
from core.settings import Settings
from core.sniff import sniff
from core.wake import Wakes
from web_admin import auth
from web_admin.forms import Attached, Form, is_number
from web_admin.rendering import Templates

TEXT_CHARS_MAX = 4_000
"""Of a message or a note; every channel can carry as much in one message, or in a few."""
SHORTCUT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
CANNED_MAX = 200
"""Canned replies of one deployment; more than that nobody chooses from."""
NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Written:
    """A form's text and its nonce; the text may be empty beside a file."""

    text: str
    nonce: str

    @classmethod
    def parse(cls, form: Mapping[str, str], *, has_file: bool = False) -> Self:
        """Read a form; raises UserError for one without words, with too many, or without a nonce."""
        text = form.get("text", "").replace("\r\n", "\n").strip()
        nonce = form.get("nonce", "")
        if not NONCE.fullmatch(nonce):
            raise UserError("This form is not whole. Load the conversation again and repeat what you did.")
        if not text and not has_file:
            raise UserError("There is nothing to send. Write something first, or choose a file.")
        if len(text) > TEXT_CHARS_MAX:
            raise UserError(f"A message has at most {TEXT_CHARS_MAX:,} characters. Shorten it.")
        if "\0" in text:
            raise UserError("The text holds a character that cannot be stored. Write it again.")
        return cls(text, nonce)


class Desk:
    """Does what staff ask for."""

    def __init__(self, db: Database, settings: Settings, templates: Templates, files: Files) -> None:
        """Other processes hear of it by NOTIFY, so this one needs no wakes of its own."""
        self._db = db
        self._templates = templates
        self._files = files
        self._handoffs = Handoffs(db, Wakes(db), settings)

    async def hand(self, staff: auth.Staff, conversation: UUID, form: Mapping[str, str]) -> None:
        """Take over or hand back; raises LookupError, NotYours, and UserError for anything else."""
        match form.get("act"):
            case "take_over":
                await self._handoffs.apply(conversation, TookOver(staff.name), staff.actor)
            case "hand_back":
                await self._handoffs.apply(conversation, HandedBack(staff.name), staff.actor)
            case _:
                raise UserError("A conversation is taken over or handed back, nothing else.")

    async def write(self, staff: auth.Staff, conversation: UUID, form: Form) -> None:
        """Send the person a message, with a file where one was chosen, or keep a note; raises LookupError, UserError
        and StoreUnavailable.
        """
        written = Written.parse(form.fields, has_file=form.file is not None)
        match form.fields.get("act"):
            case "send" if form.file is not None:
                await self._send_file(staff, conversation, written, form.file)
            case "send":
                await self._handoffs.say(conversation, staff.name, (Text(text=written.text),), written.nonce)
            case "note" if form.file is not None:
                raise UserError("A note holds words only. Send the file, or leave it out of the note.")
            case "note":
                await self._note(staff, conversation, written)
            case _:
                raise UserError("A text is sent or kept as a note, nothing else.")

    async def _send_file(self, staff: auth.Staff, conversation: UUID, written: Written, file: Attached) -> None:
        """Keep the file as one that was sent to us is kept, and send it with its words. A form that comes again sends
        nothing, so its copy is forgotten.
        """
        async with self._db.transaction() as session:
            if await session.scalar(select(Conversation.id).where(Conversation.id == conversation)) is None:
                raise LookupError
        seen = await asyncio.to_thread(sniff, file.name, file.data, file.said)
        try:
            kept = await keep(self._files, conversation, seen, file.data)
        except FileGone as error:
            raise StoreUnavailable(str(error)) from error
        except Erased as error:
            raise LookupError from error
        part = Media(
            media_type=kept.media_type, ref=kept.ref, caption=written.text or None, filename=kept.name,
            size=kept.size, width=kept.width, height=kept.height,
        )  # fmt: skip
        if not await self._handoffs.say(conversation, staff.name, (part,), written.nonce):
            await self._files.delete([kept.id])

    async def settle(self, staff: auth.Staff, conversation: UUID) -> None:
        """Say who writes from a number that changed hands; raises LookupError."""
        async with self._db.transaction() as session:
            place = await session.get(Conversation, conversation)
            if place is None:
                raise LookupError
            await renumber.lift(session, place.channel, place.account, place.room, staff.actor)

    async def watch(self, staff: auth.Staff, conversation: UUID) -> None:
        """The page of a member of staff is open: their lease goes on."""
        await self._handoffs.apply(conversation, Watched(staff.name), staff.actor)

    async def _note(self, staff: auth.Staff, conversation: UUID, written: Written) -> None:
        async with self._db.transaction() as session:
            locked = select(Conversation.id).where(Conversation.id == conversation)
            if await session.scalar(locked.with_for_update(key_share=True)) is None:
                raise LookupError
            key = await self._db.keys.of_locked(await driver(session), conversation)
            kept = key.seal(as_note(staff.name, written.nonce), written.text.encode())
            values = {"conversation_id": conversation, "author": staff.name}
            stored = await session.scalar(
                insert(Note)
                .values(sealed=kept, nonce=written.nonce, **values)
                .on_conflict_do_nothing()
                .returning(Note.id)
            )
            if stored is not None:
                await audit.record(
                    session, staff.actor, "conversation.noted", f"conversation:{conversation}", {"note": stored}
                )

    # Canned replies

    async def canned_page(self, staff: auth.Staff, edited: str | None) -> Markup:
        """The page of canned replies; `edited` is the number of the one in the form, a new one otherwise."""
        async with self._db.transaction() as session:
            replies = await canned.replies(session)
        chosen = next((reply for reply in replies if str(reply.id) == edited), None)
        if edited is not None and chosen is None:
            raise UserError("That reply is gone. Choose another from the list.")
        return self._templates.render("replies.html", section="replies", staff=staff, replies=replies, chosen=chosen)

    async def change_canned(self, staff: auth.Staff, form: Mapping[str, str]) -> None:
        """Add, change or delete one; raises UserError."""
        number = form.get("id", "")
        if number and not is_number(number):
            raise UserError("That reply is gone. Choose another from the list.")
        async with self._db.transaction() as session:
            if form.get("act") == "delete":
                await session.execute(delete(CannedReply).where(CannedReply.id == int(number or 0)))
                await audit.record(session, staff.actor, "canned_reply.deleted", f"canned_reply:{number}")
                return
            shortcut, text = form.get("shortcut", "").strip().lower(), form.get("text", "").strip()
            if not SHORTCUT.fullmatch(shortcut):
                raise UserError("A shortcut is 1 to 32 small letters, digits and dashes, such as opening-hours.")
            if not text or len(text) > TEXT_CHARS_MAX or "\0" in text:
                raise UserError(f"A reply has 1 to {TEXT_CHARS_MAX:,} characters.")
            replies = await canned.replies(session)
            if any(reply.shortcut == shortcut and str(reply.id) != number for reply in replies):
                raise UserError(f"There is a reply {shortcut} already. Choose another shortcut, or change that one.")
            if not number and len(replies) >= CANNED_MAX:
                raise UserError(f"There are {CANNED_MAX} replies already. Delete one first.")
            values = {"shortcut": shortcut, "sealed": await canned.sealed(session, shortcut, text)}
            if number:
                changed = update(CannedReply).where(CannedReply.id == int(number))
                stored = await session.scalar(changed.values(values).returning(CannedReply.id))
            else:
                stored = await session.scalar(
                    insert(CannedReply).values(values).on_conflict_do_nothing().returning(CannedReply.id)
                )
            if stored is None:
                raise UserError("Somebody else changed that reply just now. Look at the list again.")
            await audit.record(session, staff.actor, "canned_reply.saved", f"canned_reply:{stored}")
