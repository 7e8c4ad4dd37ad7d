"""Invoices on their way: sent to their client, reminded of when they are overdue, and made again when they come round.

A client is a stranger to us, and is written to only where the issuer said and confirmed to (ledger.invoices.Places).
What is sent, that it was sent, and when it is looked at again are one transaction; each message's key makes a second
one impossible. The PDF goes along where it can be drawn and kept in time; its page has it anyhow.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import structlog

from core.db import Database
from core.errors import Erased, StoreUnavailable
from core.files import FileGone, Files, StoredFile
from core.invoice_pdf import Paper, drawn
from core.language import Saying, day
from core.messages import Media, Part, Text
from core.outbox import NewMessage, post
from core.recurrence import next_after, resolve
from core.wake import Wakes
from core.window import is_open
from jobs.sweeps import Clock, Waiting, utc_now
from ledger import invoices
from ledger.invoice_paper import paper_of, pay_url
from ledger.invoices import Invoice, Places, Series, Words

log = structlog.get_logger()

INVOICE_S_MAX: Final = 60.0
LEASE = timedelta(seconds=INVOICE_S_MAX + 10.0)
INVOICES = Waiting("invoice", invoices.CLAIMABLE, again_s=5.0)
SERIES = Waiting("invoice_series", invoices.SERIES_CLAIMABLE, again_s=5.0)
REMIND_AFTER_DAYS: Final = (1, 4, 11)
"""How many days after the day it was due on a client is reminded of an invoice; that is all of it."""
REMIND_AT = time(9)
"""By the issuer's clock."""
KIND = "invoice"
"""Of what goes to a client; the issuer is told with kind TOLD."""
TOLD = "payment"
PDF = "application/pdf"
SANDBOX = " · sandbox"

SENT = Saying(
    "{issuer} sends you invoice {number}\n{amount}{what}{due}\n\nPay it here by M-Pesa or card: {url}\n\n"
    "It comes from {issuer} by Mathia. If you do not know them, you need not do anything.",
    "{issuer} amekutumia ankara {number}\n{amount}{what}{due}\n\nLipa hapa kwa M-Pesa au kadi: {url}\n\n"
    "Imetoka kwa {issuer} kupitia Mathia. Kama humfahamu, huna haja ya kufanya lolote.",
)
REST = Saying("{rest} of {amount}", "{rest} kati ya {amount}")
WHAT = Saying(" for {description}", " ya {description}")
DUE = Saying(", to be paid by {day}", ", ilipwe kufikia {day}")
REMINDED = Saying(
    "A friendly reminder of invoice {number} from {issuer}\n{rest} of {amount} were to be paid by {day}.\n\n"
    "Pay here by M-Pesa or card: {url}\n\nIf you have just paid, thank you, and forget this.",
    "Kumbusho la kirafiki la ankara {number} kutoka kwa {issuer}\n{rest} kati ya {amount} zilipaswa kulipwa kufikia"
    " {day}.\n\nLipa hapa kwa M-Pesa au kadi: {url}\n\nKama umeshalipa, asante, puuza ujumbe huu.",
)
GONE = Saying(
    "Invoice {number} over {amount} is on its way to {payer}.", "Ankara {number} ya {amount} iko njiani kwa {payer}."
)
MADE = Saying(
    "Invoice {number} over {amount} for {payer} is made. Send them its address: {url}",
    "Ankara {number} ya {amount} kwa {payer} imeandikwa. Mtumie anwani yake: {url}",
)
OVERDUE = Saying(
    "Invoice {number} is overdue: {payer} still has to pay {rest} of {amount}, which were due on {day}. {done}",
    "Ankara {number} imechelewa: {payer} bado hajalipa {rest} kati ya {amount}, zilizopaswa kulipwa {day}. {done}",
)
HAVE_REMINDED = Saying("I have reminded them ({count} of {most}).", "Nimemkumbusha (mara {count} kati ya {most}).")
HAVE_NOT = Saying(
    "I know no way to remind them, so that is for you to do: {url}",
    "Sina njia ya kumkumbusha, hivyo mkumbushe wewe: {url}",
)
UNDELIVERED = Saying(
    "Invoice {number} could not be delivered to {payer} by {channel}. Say “status of {number}” for its address, and"
    " send it to them yourself.",
    "Ankara {number} haikufika kwa {payer} kwa {channel}. Andika “hali ya ankara {number}” upate anwani yake, kisha"
    " umtumie mwenyewe.",
)
WAITS = Saying(
    "WhatsApp lets me show invoice {number} to {payer} only once they write to me. Say “status of {number}” for its"
    " address if you would rather send it yourself.",
    "WhatsApp haniruhusu kumwonyesha {payer} ankara {number} hadi aniandikie. Andika “hali ya ankara {number}” upate"
    " anwani yake ukipenda kumtumia mwenyewe.",
)
CHANNELS: Final = {"email": Saying("e-mail", "barua pepe"), "whatsapp": Saying("WhatsApp", "WhatsApp")}

PLACE = """
SELECT coalesce(p.timezone, p.zone_guess) AS zone, p.language FROM person p WHERE p.id = $1
"""
THERE = "SELECT id FROM conversation WHERE id = ANY($1::uuid[]) AND erasure_id IS NULL"
LAST_INBOUND = """
SELECT created_at FROM message WHERE conversation_id = $1 AND direction = 'in' ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Hands:
    """What looking after invoices needs. `base_url` is where people reach us; `zone` that of who has stated none."""

    db: Database
    wakes: Wakes
    files: Files
    base_url: str
    zone: str
    sandbox: bool = False
    logo: bytes | None = None
    clock: Clock = utc_now


def next_reminder(due_on: date | None, zone: str, now: datetime) -> datetime | None:
    """When a client is next reminded of an invoice that was or is due on this day; None when that was often enough.

    What was missed is not made up for: the next one comes on its day.
    """
    if due_on is None:
        return None
    days = (resolve(datetime.combine(due_on + timedelta(days=after), REMIND_AT), zone) for after in REMIND_AFTER_DAYS)
    return next((at for at in days if at > now), None)


async def attend(hands: Hands, invoice_id: int) -> None:
    """Send an invoice, or remind of it; of any number of calls, at once or later, one has an effect."""
    async with hands.db.hot() as connection:
        attempt = await invoices.claim(connection, invoice_id, LEASE)
        if attempt is None:
            return
        invoice = await invoices.find(connection, invoice_id)
    pdfs = await _pdfs(hands, invoice) if invoice.words is not None else {}
    async with hands.db.hot() as connection:
        await _attend(hands, connection, invoice_id, attempt, pdfs)
        await hands.wakes.notify(connection, "outbox")
    hands.wakes.wake("outbox")


async def _attend(hands: Hands, connection: Any, invoice_id: int, attempt: int, pdfs: dict[UUID, StoredFile]) -> None:
    """What is to be done of it, as it is now under its lock, in the caller's transaction."""
    now = hands.clock()
    invoice = await invoices.lock(connection, invoice_id)
    invoice = replace(invoice, to=await _still_there(connection, invoice.to))
    place = await connection.fetchrow(PLACE, invoice.person_id)
    zone, language = place["zone"] or hands.zone, place["language"]
    today = now.astimezone(ZoneInfo(zone)).date()
    messages: list[NewMessage] = []
    reminds = False
    again = None
    if invoice.state == "paid":
        # It may have been marked so, which can be taken back: then it is reminded of on its days as before.
        again = next_reminder(invoice.due_on, zone, now)
    if invoice.takes_payment and invoice.words is not None and invoice.token is not None:
        again = next_reminder(invoice.due_on, zone, now)
        is_overdue = invoice.due_on is not None and today > invoice.due_on
        resend = await invoices.to_resend(connection, invoice_id)
        if resend is not None and invoice.state != "draft":
            messages = await _sending(hands, connection, invoice, language, pdfs, f"again:{resend}")
        elif invoice.state == "draft" and (invoice.to != invoices.NOWHERE or not is_overdue):
            messages = await _sending(hands, connection, invoice, language, pdfs)
        elif is_overdue:
            reminds = True
            messages = await _reminding(hands, connection, invoice, language, pdfs)
    if not await invoices.settle(connection, invoice_id, attempt, again, reminded=reminds):
        return
    if invoice.state == "draft" and not reminds and invoice.to != invoices.NOWHERE:
        await invoices.mark_sent(connection, invoice_id)
    elif reminds:
        await invoices.mark_overdue(connection, invoice_id)
    await post(connection, messages)
    log.info("invoice.attended", invoice_id=invoice_id, messages=len(messages), reminded=reminds)


async def _still_there(connection: Any, to: Places) -> Places:
    """Those of a client's places that have not been closed by erasing them."""
    rows = await connection.fetch(THERE, [room for room in (to.mail, to.whatsapp) if room is not None])
    there = {row["id"] for row in rows}
    return Places(to.mail if to.mail in there else None, to.whatsapp if to.whatsapp in there else None)


async def _sending(
    hands: Hands, connection: Any, invoice: Invoice, language: str, pdfs: dict[UUID, StoredFile], why: str = "sent"
) -> list[NewMessage]:
    words, url = _written(invoice), _url(hands, invoice)
    text = SENT.filled(
        issuer=words.issuer, number=invoice.number, url=url,
        amount=_asked(invoice),
        what=WHAT.filled(description=words.description) if words.description else "",
        due=DUE.filled(day=day(invoice.due_on, 0)) if invoice.due_on else "",
    )  # fmt: skip
    messages = await _to_client(hands, connection, invoice, text, why, pdfs)
    if invoice.series_id is not None and why == "sent":
        told = GONE if messages else MADE
        say = told.filled(number=invoice.number, amount=invoice.amount.said(), payer=words.payer, url=url)
        messages.append(_to_issuer(hands, invoice, say, language, "sent"))
    return messages


def _asked(invoice: Invoice) -> Saying | str:
    """What is asked for: the rest and the whole where a part was paid before."""
    if not invoice.paid.minor:
        return invoice.amount.said()
    return REST.filled(rest=invoice.rest.said(), amount=invoice.amount.said())


async def _reminding(
    hands: Hands, connection: Any, invoice: Invoice, language: str, pdfs: dict[UUID, StoredFile]
) -> list[NewMessage]:
    words, url = _written(invoice), _url(hands, invoice)
    assert invoice.due_on is not None  # noqa: S101  nothing else is overdue
    count = invoice.reminded + 1
    rest, amount, due = invoice.rest.said(), invoice.amount.said(), day(invoice.due_on, 0)
    text = REMINDED.filled(number=invoice.number, issuer=words.issuer, rest=rest, amount=amount, day=due, url=url)
    messages = await _to_client(hands, connection, invoice, text, f"overdue:{count}", pdfs)
    done = (HAVE_REMINDED if messages else HAVE_NOT).filled(count=count, most=len(REMIND_AFTER_DAYS), url=url)
    say = OVERDUE.filled(number=invoice.number, payer=words.payer, rest=rest, amount=amount, day=due, done=done)
    return [*messages, _to_issuer(hands, invoice, say, language, f"overdue:{count}")]


async def _to_client(
    hands: Hands, connection: Any, invoice: Invoice, text: Saying, why: str, pdfs: dict[UUID, StoredFile]
) -> list[NewMessage]:
    """The same words to each of the client's places; on WhatsApp the PDF only where they have just written to us."""
    words = text.to(_written(invoice).language) + (SANDBOX if hands.sandbox else "")
    messages = []
    for via, room in (("email", invoice.to.mail), ("whatsapp", invoice.to.whatsapp)):
        if room is None:
            continue
        parts: list[Part] = [Text(text=words)]
        heard_at = await connection.fetchval(LAST_INBOUND, room) if via == "whatsapp" else None
        if (file := pdfs.get(room)) is not None and (via == "email" or is_open(heard_at, hands.clock())):
            parts.append(Media(media_type=PDF, ref=file.ref, filename=file.name, size=file.size))
        messages.append(NewMessage(room, tuple(parts), KIND, f"invoice:{invoice.id}:{why}:{via}"))
    return messages


def _to_issuer(hands: Hands, invoice: Invoice, say: Saying, language: str, why: str) -> NewMessage:
    words = say.to(language) + (SANDBOX if hands.sandbox else "")
    return NewMessage(invoice.conversation_id, (Text(text=words),), TOLD, f"invoice:{invoice.id}:{why}:issuer")


async def _pdfs(hands: Hands, invoice: Invoice) -> dict[UUID, StoredFile]:
    """The invoice as a file of each place it goes to, made once; those that cannot be had now are left out."""
    places = [room for room in (invoice.to.mail, invoice.to.whatsapp) if room is not None]
    if not places or not invoice.takes_payment:
        return {}
    found: dict[UUID, StoredFile] = {}
    try:
        data = await drawn(_paper(hands, invoice), _written(invoice).language)
        for room in places:
            found[room] = await _kept(hands, invoice, room, data)
    except (ValueError, StoreUnavailable, FileGone) as error:
        log.warning("invoice.without_pdf", invoice_id=invoice.id, error=type(error).__name__)
    return found


async def _kept(hands: Hands, invoice: Invoice, room: UUID, data: bytes) -> StoredFile:
    """The file, which may have been kept by whoever died before telling of it."""
    id_ = uuid5(room, f"{invoice.number}:{invoice.paid.minor}:{invoice.state}")
    if earlier := await hands.files.find([id_]):
        return earlier[0]

    async def whole() -> AsyncIterator[bytes]:
        yield data

    return await hands.files.keep(room, whole(), name=f"{invoice.number}.pdf", media_type=PDF, id_=id_)


def _paper(hands: Hands, invoice: Invoice) -> Paper:
    """What is on the PDF, in the language its words are in."""
    return paper_of(invoice, hands.base_url, _written(invoice).language, logo=hands.logo, sandbox=hands.sandbox)


def _written(invoice: Invoice) -> Words:
    assert invoice.words is not None  # noqa: S101  looked at before
    return invoice.words


def _url(hands: Hands, invoice: Invoice) -> str:
    return pay_url(hands.base_url, invoice.token or "")


async def renew(hands: Hands, series_id: int) -> None:
    """Make the invoice of a series that is due, and say when the next is; of any number of calls one has an effect.

    What was missed is caught up with by one invoice, of today.
    """
    async with hands.db.hot() as connection:
        now = hands.clock()
        series = await invoices.lock_due(connection, series_id, now)
        if series is None:
            return
        upcoming = next_after(series.wall_time, series.zone, series.rrule, now)
        if series.words is None or not await _made(connection, series, now):
            upcoming = None
        await invoices.move_on(connection, series_id, *(upcoming or (None, None)))
        await hands.wakes.notify(connection, "invoice")
    hands.wakes.wake("invoice")
    log.info("invoice.series", series_id=series_id, ends=upcoming is None)


async def _made(connection: Any, series: Series, now: datetime) -> bool:
    """Whether the invoice of this occurrence is there; not for an issuer who is being erased."""
    assert series.words is not None  # noqa: S101  looked at before
    today = now.astimezone(ZoneInfo(series.zone)).date()
    due_on = None if series.due_days is None else today + timedelta(days=series.due_days)
    try:
        await invoices.create(
            connection, f"series:{series.id}:{series.wall_time:%Y-%m-%d}", series.person_id, series.conversation_id,
            series.amount, series.words, today=today, due_on=due_on, to=series.to, series_id=series.id,
        )  # fmt: skip
    except Erased:
        return False
    return True


async def undelivered(connection: Any, row: Any) -> str | None:
    """Tell the issuer that what was sent to their client did not arrive, or has to wait; what staff read of it.

    `row` is the message of kind KIND as its follow-up claimed it (jobs/reroute.py).
    """
    invoice_id = row["dedup_key"].split(":")[1]
    invoice = await invoices.find(connection, int(invoice_id))
    if invoice.words is None or not invoice.takes_payment:
        return "Its invoice is over."
    place = await connection.fetchrow(PLACE, invoice.person_id)
    say = WAITS if row["state"] == "held" else UNDELIVERED
    words = say.filled(number=invoice.number, payer=invoice.words.payer, channel=CHANNELS[row["channel"]])
    key = f"{row['dedup_key']}:{row['state']}"
    message = NewMessage(invoice.conversation_id, (Text(text=words.to(place["language"])),), TOLD, key)
    await post(connection, [message])
    return "Who sent it was told."
