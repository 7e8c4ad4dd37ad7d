"""What is in a person's archive, and the ZIP it comes in: a page of rows or a piece of a file in memory at a time.

Everything that is theirs, from all their chats: what they said and were answered, the files, what was set for them. Of
what others said in a shared room nothing is here; a room is saved from its own page, by its members.
"""

import asyncio
import re
import zipfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Text, cast, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from core import confirm, conversations, facts, mailboxes, people, receipts, summary
from core.conversations import StoredMessage
from core.db import Database, driver
from core.files import FileGone, Files, StoredFile
from core.messages import PARTS, ChannelName
from core.models import (
    Conversation,
    EmailCode,
    Identity,
    Member,
    Message,
    ModerationFlag,
    Mute,
    OptOut,
    Person,
    Receipt,
    Reminder,
    Renumbering,
    RoomInvitation,
    SiteUser,
    Summary,
    WorkflowDefinition,
    WorkflowRun,
    WorkflowStep,
)
from core.names import names_of
from core.reminders import open_contents
from core.rooms import memberships
from core.sealed import as_workflow
from core.sniff import PICTURES
from core.transcript import escaped, quoted
from jobs import definitions
from ledger import balances, instruction_store, invoices, mandates
from ledger.instruction_store import MPESA
from ledger.money import Money

ROWS_PAGE = 200
"""Rows of one table in memory at a time."""
CHUNK_BYTES = 64 * 1024
FILES_BYTES_MAX = 2 * 2**30
"""Of files in one archive; those that are beyond it are named in README.txt."""
FILES_PAGE = 100
UNSAFE = re.compile(r"[/\\\x00-\x1f]")
"""What no name in the archive has, whatever a file is called: whoever unpacks it stays in its folder."""
PACKED = ("image/", "audio/", "video/", "application/zip", "application/pdf", "application/vnd.openxmlformats")
"""Types that do not get smaller by being packed again."""

TABLES: Final[Mapping[str, str]] = {
    "person": "person.json",
    "identity": "person.json",
    "opt_out": "person.json",
    "renumbering": "person.json: with their chats",
    "contact": "person.json",
    "fact": "person.json",
    "summary": "person.json: what was talked about in their private chats",
    "member": "person.json, and which conversations there are",
    "room_invitation": "person.json: those they sent",
    "conversation": "conversations/",
    "message": "conversations/",
    "transcription": "conversations/: the words stand under the note",
    "file": "files/",
    "reaction": "reactions.json",
    "change": "no words of its own; what was changed is in conversations/ as it is now",
    "file_fetch": "how a file of conversations/ came here",
    "outbox": "how a message of conversations/ was sent",
    "delivery_status": "how a message of conversations/ was sent",
    "turn": "how a message of conversations/ was understood",
    "reminder": "reminders.json",
    "receipt": "receipts.json",
    "workflow_definition": "workflows.json",
    "workflow_run": "workflow_runs.json",
    "workflow_step": "workflow_runs.json",
    "mandate": "mandates.json",
    "mandate_use": "mandates.json",
    "moderation_flag": "moderation.json",
    "mute": "moderation.json",
    "data_export": "archives such as this one",
    "mailbox": "person.json: the addresses",
    "email_code": "person.json: the addresses; codes are secrets that have ended within minutes",
    "link_code": "secrets that have ended within minutes",
    "link_try": "counts of wrong codes",
    "account_link": "secrets that have ended within minutes",
    "confirmation": "secrets that have ended within minutes, and what they were for, which receipts.json has once done",
    "erasure": "of those who have been erased, and can ask for no archive",
    "erased_address": "of those who have been erased, and can ask for no archive",
    "web_visitor": "the hash of a browser's token",
    "site_user": "person.json",
    "token_use": "counts",
    "note": "what staff wrote to one another",
    "correction": "what staff say that a message of conversations/ meant",
    "audit": "what staff and the system did",
    "canned_reply": "staff's",
    "site": "the owner's",
    "site_secret": "the owner's",
    "staff_session": "staff's",
    "adjustment": "staff's",
    "fee_schedule": "the owner's",
    "payment_switch": "the owner's",
    "template": "the owner's",
    "moderation_batch": "nobody's",
    "room_key": "nobody's",
    "credential": "secrets of their own, which they have",
    "person_key": "what seals the contacts of person.json",
    "purpose_key": "nobody's",
    "account": "wallet.json",
    "journal_entry": "wallet.json",
    "posting": "wallet.json",
    "hold": "wallet.json has what came of it",
    "refused_entry": "what did not happen, without a name",
    "payment_instruction": "payments.json",
    "settled_line": "that a payment of payments.json is in the provider's list",
    "reconciliation_run": "nobody's",
    "reconciliation_finding": "what of a payment of payments.json is not in order",
    "payment_event": "how a payment of payments.json came to its state",
    "dispute": "what was disputed of a payment of payments.json, or of what they paid, and said in conversations/;"
    " what it moved is in wallet.json",
    "dispute_event": "how that was decided",
    "payment_hint": "what had a payment of payments.json looked at",
    "invoice": "invoices.json",
    "invoice_payment": "invoices.json",
    "invoice_mark": "invoices.json",
    "invoice_resend": "that an invoice of invoices.json went out again",
    "invoice_series": "recurring_invoices.json",
    "invoice_counter": "nobody's",
}
"""Each table, and where what it holds of a person is in the archive, or why it is not."""

PAST_EVERY_ID = 2**63 - 1

REACTIONS = """
SELECT m.id, m.conversation_id, m.seq, r.emoji FROM reaction r JOIN message m ON m.id = r.message_id
WHERE r.identity_id = ANY($1::uuid[]) AND m.id > $2 ORDER BY m.id LIMIT $3
"""
FILES = """
SELECT id FROM file WHERE conversation_id = $1 AND state = 'kept' AND ($2 OR identity_id = ANY($3::uuid[]))
ORDER BY created_at DESC, id
"""

README: Final[Mapping[str, str]] = {
    "en": """This is everything of yours that Mathia keeps, as of {at:%Y-%m-%d %H:%M} UTC. Times are in UTC.

person.json          your name, language, time zone and plan, your chats and e-mail addresses, what you opted out of,
                     contacts, rooms and invitations you sent, what we talked about in short
conversations/       what was said: as .md to read and .json to work with. From rooms with others only what you said;
                     members save a whole room from its page
files/               the files of your chats; each name begins as the id by which a conversation names it
reminders.json       your reminders, past ones too
workflows.json       your workflows; workflow_runs.json has their runs
mandates.json        what they may pay by themselves, until when, and what they paid, newest first
wallet.json          what came into your accounts and left them, newest first
payments.json        what you had sent or asked for, whom, and how it ended, newest first
invoices.json        the invoices you made, for whom and what, and what was paid on each, newest first
recurring_invoices.json  those that come round by themselves, also those that have ended
receipts.json        what was done at your word, and with what result
reactions.json       your reactions to messages
moderation.json      where your words were flagged, and when you were muted

Not in it: codes and tokens, which are kept only as hashes; notes that staff write to one another; counts.
""",
    "sw": """Hii ni data yako yote ambayo Mathia inahifadhi, kufikia {at:%Y-%m-%d %H:%M} UTC. Saa zote ni za UTC.

person.json          jina lako, lugha, saa za eneo na mpango, gumzo na barua pepe zako, ulichokataa kutumiwa,
                     anwani, vyumba na mialiko uliyotuma, tulichozungumza kwa ufupi
conversations/       yaliyosemwa: .md ya kusoma na .json ya kompyuta. Kwenye vyumba vya wengi ni uliyosema wewe tu;
                     wanachama huhifadhi chumba kizima kwenye ukurasa wake
files/               faili za gumzo zako; jina huanza kama kitambulisho chake kwenye mazungumzo
reminders.json       vikumbusho vyako, hata vya zamani
workflows.json       taratibu zako; workflow_runs.json ina utendaji wake
mandates.json        zinachoruhusiwa kulipa zenyewe, hadi lini, na zilicholipa, mapya kwanza
wallet.json          yaliyoingia na kutoka kwenye akaunti zako, mapya kwanza
payments.json        malipo uliyotuma au kuomba, kwa nani, na yalivyoisha, mapya kwanza
invoices.json        ankara ulizoandika, za nani na za nini, na kilicholipwa kwa kila moja, mpya kwanza
recurring_invoices.json  zinazojirudia zenyewe, hata zilizoisha
receipts.json        yaliyofanywa kwa agizo lako, na matokeo yake
reactions.json       hisia zako kwa ujumbe
moderation.json      maneno yako yaliyotiwa alama, na lini ulinyamazishwa

Hazimo: misimbo na tokeni, zinazohifadhiwa kama hash tu; maandishi ya wafanyakazi kati yao; hesabu.
""",
}
LEFT_OUT = {
    "en": "\nFiles that are not in it, because it holds at most {limit:,} bytes of files or they are gone:\n{names}\n",
    "sw": "\nFaili zisizomo, kwa sababu hubeba baiti {limit:,} tu za faili au hazipo tena:\n{names}\n",
}


@dataclass(frozen=True, slots=True)
class Room:
    """One conversation of the person. `alone`: nobody else is in it, so that what they were answered is theirs too."""

    id: UUID
    name: str
    alone: bool


async def archive(
    db: Database, files: Files, person: UUID, identities: Sequence[UUID], language: str, now: datetime,
    leave_out: Collection[UUID] = (), *, left_out: list[str] | None = None, files_bytes_max: int = FILES_BYTES_MAX,
) -> AsyncIterator[bytes]:  # fmt: skip
    """The archive of the person of these identities, as it is made; the same while nothing of theirs changes.

    `leave_out` are files that are earlier archives; `left_out` gets the names of those that are gone, or beyond
    `files_bytes_max`. Raises StoreUnavailable.
    """
    mine, leave_out = set(identities), set(leave_out)
    async with db.transaction() as session:
        rooms = await _rooms(session, identities)
    packer = Packer(now)
    missing = [] if left_out is None else left_out
    bytes_left = files_bytes_max
    for name, read in (
        ("person.json", _person), ("reminders.json", _reminders), ("workflows.json", _workflows),
        ("moderation.json", partial(_moderation, names={room.id: room.name for room in rooms})),
    ):  # fmt: skip
        async with db.transaction() as session:
            found = await read(session, person)
        yield await packer.whole(name, _json(found))
    async for chunk in packer.member("receipts.json", _listed(_receipts(db, person))):
        yield chunk
    async for chunk in packer.member("workflow_runs.json", _listed(_runs(db, person))):
        yield chunk
    async for chunk in packer.member("mandates.json", _listed(_mandates(db, person))):
        yield chunk
    async for chunk in packer.member("wallet.json", _listed(_wallet(db, person))):
        yield chunk
    async for chunk in packer.member("payments.json", _listed(_payments(db, person))):
        yield chunk
    async for chunk in packer.member("invoices.json", _listed(_invoices(db, person))):
        yield chunk
    async for chunk in packer.member("recurring_invoices.json", _listed(_invoice_series(db, person))):
        yield chunk
    async for chunk in packer.member("reactions.json", _listed(_reactions(db, rooms, mine))):
        yield chunk
    for room in rooms:
        async for chunk in packer.member(f"conversations/{room.name}.json", _listed(_said(db, room, mine))):
            yield chunk
        async for chunk in packer.member(f"conversations/{room.name}.md", _gathered(_read(db, room, mine))):
            yield chunk
    for room in rooms:
        async for file in _files(db, files, room, mine):
            if file.id in leave_out:
                continue
            if file.size > bytes_left:
                missing.append(file.name)
                continue
            try:
                async for chunk in packer.member(path_of(file), files.pieces(file), packed=_is_packed(file)):
                    yield chunk
                bytes_left -= file.size
            except FileGone:
                missing.append(file.name)
    text = README[language].format(at=now)
    if missing:
        text += LEFT_OUT[language].format(limit=files_bytes_max, names="\n".join(missing))
    yield await packer.whole("README.txt", text.encode())
    yield packer.end()


class Packer:
    """A ZIP that is never whole anywhere: what is written into it comes out at once."""

    def __init__(self, now: datetime) -> None:
        self._out = _Out()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)
        self._at = now.timetuple()[:6]

    async def member(self, name: str, chunks: AsyncIterator[bytes], *, packed: bool = False) -> AsyncIterator[bytes]:
        """One file of the archive; what raises half-way leaves its beginning in it."""
        info = zipfile.ZipInfo(name, self._at)
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=True) as member:
            async for chunk in chunks:
                await asyncio.to_thread(member.write, chunk)
                yield self._out.taken()
        yield self._out.taken()

    async def whole(self, name: str, data: bytes) -> bytes:
        """A small file of the archive."""
        return b"".join([chunk async for chunk in self.member(name, _once(data))])

    def end(self) -> bytes:
        """The directory, which comes last."""
        self._zip.close()
        return self._out.taken()


class _Out:
    """What zipfile writes to."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes, /) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere else."""

    def close(self) -> None:
        """There is nothing to close."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        data, self._waiting = bytes(self._waiting), bytearray()
        return data


def path_of(file: StoredFile) -> str:
    """Where a file is in the archive."""
    return f"files/{file.id.hex[:8]}-{UNSAFE.sub('_', file.name)}"


async def _rooms(session: AsyncSession, identities: Sequence[UUID]) -> list[Room]:
    """The rooms of their own, those that are only mailed to among them, and the shared ones they are or were in."""
    own = select(Conversation.id, literal(True).label("alone")).join(
        Identity,
        (Identity.channel == Conversation.channel)
        & (Identity.account == Conversation.account)
        & (Identity.provider_id == Conversation.room),
    )
    joined = select(Member.conversation_id, literal(False)).where(Member.identity_id.in_(identities))
    every = union_all(own.where(Identity.id.in_(identities)), joined).subquery()
    rows = await session.execute(
        select(Conversation.id, Conversation.channel, func.bool_or(every.c.alone).label("alone"))
        .join(every, every.c.id == Conversation.id)
        .group_by(Conversation.id)
        .order_by(Conversation.created_at, Conversation.id)
    )
    return [
        Room(row.id, f"{number:03}-{row.channel}{'' if row.alone else '-shared'}", row.alone)
        for number, row in enumerate(rows, 1)
    ]


async def _person(session: AsyncSession, person: UUID) -> dict[str, Any]:
    who = (await session.execute(select(Person).where(Person.id == person))).scalar_one()
    identities = (
        await session.execute(
            select(Identity, OptOut, SiteUser)
            .outerjoin(OptOut, OptOut.identity_id == Identity.id)
            .outerjoin(
                SiteUser,
                (Identity.channel == ChannelName.WEB)
                & (SiteUser.site == Identity.account)
                & (cast(SiteUser.visitor_id, Text) == Identity.provider_id),
            )
            .where(Identity.person_id == person)
            .order_by(Identity.created_at, Identity.id)
        )
    ).all()
    mine = [identity.id for identity, _, _ in identities]
    address = Renumbering.channel, Renumbering.account, Renumbering.provider_id
    changed = (
        await session.scalars(
            select(Renumbering)
            .where(tuple_(*address).in_([(one.channel, one.account, one.provider_id) for one, _, _ in identities]))
            .order_by(Renumbering.at, Renumbering.event_id)
        )
    ).all()
    addresses = await session.execute(
        select(EmailCode.address, func.min(EmailCode.created_at).label("at"))
        .where(EmailCode.person_id == person)
        .group_by(EmailCode.address)
        .order_by("at", EmailCode.address)
    )
    invitations = await session.scalars(
        select(RoomInvitation).where(RoomInvitation.identity_id.in_(mine)).order_by(RoomInvitation.created_at)
    )
    connection = await driver(session)
    names = await names_of(connection)
    given, invited = addresses.all(), invitations.all()
    known = await mailboxes.addresses(
        connection,
        [
            *(one.provider_id for one, _, _ in identities if one.channel == ChannelName.EMAIL),
            *(one.address for one in given),
            *(one.address for one in invited if one.address is not None),
        ],
    )
    return {
        "name": names.open(who.name),
        "language": who.language,
        "language_chosen": who.language_chosen,
        "timezone": who.timezone,
        "currency": who.currency,
        "plan": who.plan,
        "pin_set_at": who.pin_set_at,
        "spending_limits": {
            per: str(Money(cents, MPESA)) if cents is not None else None
            for per, cents in (("payment", who.payment_limit), ("day", who.day_limit))
        },
        "known_since": who.created_at,
        "chats": [
            {
                "channel": identity.channel,
                "id": known.get(identity.provider_id, identity.provider_id),
                "name": names.open(identity.display_name),
                "since": identity.created_at,
                "confirmed_at": identity.verified_at,
                "opt_out": _columns(opted_out, "at", "how", "ended_at"),
                "changed_hands": [
                    _columns(one, "how", "at", "ended_at")
                    for one in changed
                    if (one.channel, one.account, one.provider_id)
                    == (identity.channel, identity.account, identity.provider_id)
                ],
                "id_at_site": _columns(site_user, "site", "user_id", "created_at"),
            }
            for identity, opted_out, site_user in identities
        ],
        "addresses_given": [{"address": known.get(one.address), "at": one.at} for one in given],
        "preferences_and_goals": [
            {"words": one.words, **_columns(one, "kind", "created_at")} for one in await facts.known(session, person)
        ],
        "talked_about": await _summaries(session, person),
        "contacts": [
            _columns(one, "name", "phone", "email", "note", "relation", "created_at")
            for one in await people.contacts(session, person)
        ],
        "rooms": [
            {"title": title, "as": name, **_columns(member, "role", "joined_at", "left_at")}
            for member, title, name in await memberships(session, mine)
        ],
        "invitations_sent": [{"to": known.get(one.address or ""), "at": one.created_at} for one in invited],
    }


async def _summaries(session: AsyncSession, person: UUID) -> list[dict[str, Any]]:
    """What is kept of what was talked about, of each private chat."""
    statement = select(Summary, Conversation.channel).join(Conversation, Conversation.id == Summary.conversation_id)
    rows = await session.execute(statement.where(Summary.person_id == person).order_by(Summary.conversation_id))
    connection = await driver(session)
    found = []
    for row, channel in rows.all():
        kept = await summary.opened(connection, row.conversation_id, row.sealed)
        if kept is not None:
            found.append({"channel": channel, "written_at": row.written_at, "items": [asdict(i) for i in kept.items]})
    return found


async def _reminders(session: AsyncSession, person: UUID) -> list[dict[str, Any]]:
    found = (
        await session.scalars(select(Reminder).where(Reminder.person_id == person).order_by(Reminder.created_at))
    ).all()
    return [
        {"content": one.content}
        | _columns(one, "wall_time", "zone", "rrule", "due_at", "state", "priority", "created_at", "last_sent_for")
        for one in await open_contents(session, found)
    ]


async def _workflows(session: AsyncSession, person: UUID) -> list[dict[str, Any]]:
    statement = select(WorkflowDefinition).where(WorkflowDefinition.person_id == person)
    found = (await session.scalars(statement.order_by(WorkflowDefinition.created_at, WorkflowDefinition.id))).all()
    values = [(one.conversation_id, as_workflow("spec", str(one.id)), one.spec) for one in found]
    specs = await definitions.read(await driver(session), values)
    return [
        {"name": one.title, "spec": spec} | _columns(one, "id", "cron", "timezone", "state", "created_at")
        for one, spec in zip(await definitions.opened(session, found), specs, strict=True)
    ]


async def _runs(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    """The runs of every workflow, oldest first."""
    page = (
        select(WorkflowRun, WorkflowDefinition.conversation_id)
        .join(WorkflowDefinition, WorkflowDefinition.id == WorkflowRun.definition_id)
        .where(WorkflowDefinition.person_id == person)
        .order_by(WorkflowRun.created_at, WorkflowRun.workflow_id)
        .limit(ROWS_PAGE)
    )
    after = page
    while True:
        async with db.transaction() as session:
            found = (await session.execute(after)).all()
            told = await _told_runs(session, [(run, place) for run, place in found])
        for one in told:
            yield one
        if len(found) < ROWS_PAGE:
            return
        last = found[-1][0]
        place = tuple_(WorkflowRun.created_at, WorkflowRun.workflow_id)
        after = page.where(place > tuple_(last.created_at, last.workflow_id))


async def _told_runs(session: AsyncSession, found: Sequence[tuple[WorkflowRun, UUID]]) -> list[dict[str, Any]]:
    """These runs, each with the conversation it speaks in, and their steps; what they say is opened."""
    places = {run.workflow_id: place for run, place in found}
    statement = select(WorkflowStep).where(WorkflowStep.workflow_id.in_(places))
    steps = (await session.scalars(statement.order_by(WorkflowStep.at, WorkflowStep.step_id))).all()
    connection = await driver(session)
    results = await definitions.read(
        connection,
        [(places[one.workflow_id], as_workflow("result", one.workflow_id, one.step_id), one.result) for one in steps],
    )
    taken: dict[str, list[dict[str, Any]]] = {workflow_id: [] for workflow_id in places}
    for step, result in zip(steps, results, strict=True):
        taken[step.workflow_id].append(_columns(step, "step_id", "state", "at") | {"result": result})
    told = []
    for run, place in found:
        trigger, outcome = await definitions.read(
            connection,
            [
                (place, as_workflow("trigger", run.workflow_id), run.trigger),
                (place, as_workflow("outcome", run.workflow_id), run.outcome),
            ],
        )
        told.append(
            _columns(run, "definition_id", "state", "created_at", "finished_at")
            | {"trigger": trigger, "outcome": outcome, "steps": taken[run.workflow_id]}
        )
    return told


async def _moderation(session: AsyncSession, person: UUID, names: Mapping[UUID, str]) -> dict[str, Any]:
    flags = (
        select(ModerationFlag, Message.conversation_id, Message.seq)
        .outerjoin(Message, Message.id == ModerationFlag.message_id)
        .where(ModerationFlag.person_id == person)
        .order_by(ModerationFlag.created_at, ModerationFlag.message_id, ModerationFlag.label)
    )
    mutes = select(Mute).where(Mute.person_id == person).order_by(Mute.created_at)
    return {
        "flags": [
            {"conversation": names.get(conversation_id), "number": seq}
            | _columns(one, "label", "score", "judge", "created_at", "dismissed_at")
            for one, conversation_id, seq in await session.execute(flags)
        ],
        "mutes": [
            _columns(one, "created_at", "until", "appealed_at", "lifted_at") for one in await session.scalars(mutes)
        ],
    }


async def _receipts(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    after = ""
    while True:
        page = select(Receipt).where(Receipt.person_id == person, Receipt.key > after).order_by(Receipt.key)
        async with db.transaction() as session:
            found = (await session.scalars(page.limit(ROWS_PAGE))).all()
            told = [
                _columns(one, "action", "state", "started_at", "finished_at")
                | {
                    "params": await receipts.opened(session, one, "params"),
                    "result": await receipts.opened(session, one, "result"),
                }
                for one in found
            ]
        # No transaction is open while what was told goes to the storage.
        for one in told:
            yield one
        if len(found) < ROWS_PAGE:
            return
        after = found[-1].key


async def _wallet(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    """The lines of every account of theirs, and of whom they were before; amounts are exact, as text."""
    owners = await db.pool.fetch("SELECT id::text FROM person WHERE id = $1 OR merged_into = $1 ORDER BY id", person)
    for one in [one for (owner,) in owners for one in await balances.balances_of(db.pool, owner)]:
        before: int | None = None
        while page := await balances.statement(db.pool, one.account, before=before):
            for line in page:
                yield _columns(line, "at", "occurred_at", "kind", "reference") | {
                    "account": one.account.key,
                    "amount": str(line.amount),
                    "balance_after": str(line.balance_after),
                }
            before = page[-1].seq


async def _payments(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    before = PAST_EVERY_ID
    while True:
        async with db.hot() as connection:
            page = await instruction_store.of_person(connection, person, before, ROWS_PAGE)
        for one in page:
            yield _columns(one, "reference", "created_at") | {
                "direction": one.direction.value,
                "state": one.state.value,
                "amount": str(one.amount),
                "fee": str(one.fee),
                "to_or_from": None if one.payee is None else f"{one.payee.name} +{one.payee.account}".strip(),
            }
        if len(page) < ROWS_PAGE:
            return
        before = page[-1].id


async def _mandates(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    before = PAST_EVERY_ID
    while True:
        async with db.hot() as connection:
            page = await mandates.of_person(connection, person, before, mandates.LISTED_MAX)
            paid = [await mandates.uses(connection, one.id) for one in page]
            given = [await confirm.given(connection, one.confirmation_id) for one in page]
        for one, uses, what in zip(page, paid, given, strict=True):
            terms = one.terms
            yield (
                {"workflow": str(one.definition_id), "until": terms.until}
                | _columns(one, "created_at", "ended_at")
                | {
                    "each": str(terms.each),
                    "per_day": str(terms.day),
                    "total": str(terms.total),
                    "confirmed": None if what is None else orjson.loads(what.params),
                    "uses": [
                        {"at": at, "run": run, "amount": str(Money(minor, terms.total.currency))}
                        for at, run, minor in uses
                    ],
                }
            )
        if len(page) < mandates.LISTED_MAX:
            return
        before = page[-1].id


async def _invoices(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    before = PAST_EVERY_ID
    while True:
        async with db.hot() as connection:
            page = await invoices.of_person(connection, person, before, ROWS_PAGE)
            paid = [await invoices.payments(connection, one) for one in page]
        for one, came in zip(page, paid, strict=True):
            yield _columns(one, "number", "state", "issued_on", "due_on", "created_at") | {
                "amount": str(one.amount),
                "paid": str(one.paid),
                "words": None if one.words is None else asdict(one.words),
                "payments": [{"at": each.at, "amount": str(each.amount)} for each in came],
                "paid_outside": [
                    {"at": each.at, "on": each.on, "amount": str(each.amount), "how": each.how} for each in one.outside
                ],
            }
        if len(page) < ROWS_PAGE:
            return
        before = page[-1].id


async def _invoice_series(db: Database, person: UUID) -> AsyncIterator[dict[str, Any]]:
    before = PAST_EVERY_ID
    while True:
        async with db.hot() as connection:
            page = await invoices.all_series(connection, person, before, ROWS_PAGE)
        for one in page:
            yield _columns(one, "rrule", "wall_time", "zone", "due_days", "due_at") | {
                "amount": str(one.amount),
                "words": None if one.words is None else asdict(one.words),
            }
        if len(page) < ROWS_PAGE:
            return
        before = page[-1].id


async def _reactions(db: Database, rooms: Sequence[Room], mine: set[UUID]) -> AsyncIterator[dict[str, Any]]:
    names = {room.id: room.name for room in rooms}
    after = 0
    while page := await db.pool.fetch(REACTIONS, list(mine), after, ROWS_PAGE):
        for row in page:
            yield {"conversation": names.get(row["conversation_id"]), "number": row["seq"], "emoji": row["emoji"]}
        after = page[-1]["id"]


async def _messages(db: Database, room: Room, mine: set[UUID]) -> AsyncIterator[StoredMessage]:
    since = 0
    while page := await conversations.history(db, room.id, since=since):
        for one in page:
            if room.alone or one.identity_id in mine:
                yield one
        since = page[-1].seq


async def _said(db: Database, room: Room, mine: set[UUID]) -> AsyncIterator[dict[str, Any]]:
    async for one in _messages(db, room, mine):
        yield {
            "number": one.seq,
            "from": "me" if one.inbound else one.author or "Mathia",
            "at": one.created_at,
            "answers": one.reply_to,
            "edited_at": one.edited_at,
            "deleted_at": one.deleted_at,
            "parts": PARTS.dump_python(one.parts, mode="json"),
        }


async def _read(db: Database, room: Room, mine: set[UUID]) -> AsyncIterator[bytes]:
    async for one in _messages(db, room, mine):
        who = "You" if one.inbound else escaped(one.author or "Mathia")
        state = " (deleted)" if one.deleted_at else " (edited)" if one.edited_at else ""
        yield f"**{who}** {one.created_at:%Y-%m-%d %H:%M} UTC{state}\n\n{quoted(one.parts)}\n".encode()


async def _files(db: Database, files: Files, room: Room, mine: set[UUID]) -> AsyncIterator[StoredFile]:
    """The files of a room, newest message first; in a shared one those the person sent."""
    rows = await db.pool.fetch(FILES, room.id, room.alone, list(mine))
    for start in range(0, len(rows), FILES_PAGE):
        for file in await files.find([row["id"] for row in rows[start : start + FILES_PAGE]]):
            yield file


async def _listed(values: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """A JSON list of what comes."""

    async def items() -> AsyncIterator[bytes]:
        before = b"[\n"
        async for value in values:
            yield before + orjson.dumps(value)
            before = b",\n"
        yield b"[]\n" if before == b"[\n" else b"\n]\n"

    async for chunk in _gathered(items()):
        yield chunk


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same in chunks of CHUNK_BYTES: packing each is a call of a thread."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _columns(row: Any, *names: str) -> dict[str, Any]:
    """These columns of a row; none of no row."""
    if row is None:
        return {}
    values = {name: getattr(row, name) for name in names}
    return {name: str(value) if isinstance(value, UUID) else value for name, value in values.items()}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _is_packed(file: StoredFile) -> bool:
    return file.media_type.startswith(PACKED) or file.media_type in PICTURES
