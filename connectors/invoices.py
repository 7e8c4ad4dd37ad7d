"""Invoices: what somebody is owed, asked for in their name, and how it stands.

Whom an invoice goes to is the person's own word or a contact of theirs, and is shown first, by code and from exactly
what is then done (core/confirm.py): who asks, who pays, where it is sent, the amount in digits and words, when it is
due and how often it comes round. Sending it is the worker's (jobs/invoices.py).
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from email.utils import parseaddr
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import Field, JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import confirm, countries, mailboxes, people, recurrence, renumber
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, Shown, action, ask
from core.amount_words import LARGEST, money_in_words
from core.db import driver
from core.errors import InvalidSlot, LimitReached, Unusable, UserError
from core.language import Saying, day
from core.messages import Address, ChannelName, Table, Text
from core.models import Contact
from core.money import DECIMALS
from core.outbox import NewMessage, post
from core.settings import Settings
from ledger import invoice_marks, invoices, own_accounts
from ledger.balances import StatementLine, statement, wallets_of
from ledger.fees import fee_for
from ledger.invoice_marks import How
from ledger.invoice_paper import pay_url
from ledger.invoices import NUMBER, OPEN, Invoice, Places, Series, Words
from ledger.journal import Kind
from ledger.money import BadAmount, Money

AMOUNT_CHARS_MAX = 40
DESCRIPTION_CHARS_MAX = 160
NAME_CHARS_MAX = 60
"""Of who asks and who pays, as they stand on an invoice."""
PROMPT_CHARS_MAX = 480
"""With how it is confirmed below it, a prompt stays within 600."""
DUE_DAYS_MAX = 400
LISTED_MAX = 20
LOOKED_AT_MAX = 200
"""Of the newest invoices, when one is looked for by who pays it, or those that are open are listed."""
SERIES_MAX = 20
"""Invoices of one person that come round by themselves."""
CLIENT_DAY_MAX = 5
"""Messages about invoices that somebody who is to pay gets within a day, whoever has them sent."""
SEND_AT = time(8)
"""When invoices that come round are sent, by the clock of whoever asks."""
REGION = "KE"
LAST = "last"
KIND = "invoice"
CAME_MAX = 3
"""Of what came last, where who is asked about has no invoice."""
PAID_IN: Final = (Kind.DEPOSIT, Kind.TRANSFER, Kind.INVOICE_PAYMENT)
PAST_EVERY_ID = 2**63 - 1
TWILIO_PREFIX = "whatsapp:"
LINK = re.compile(r"(?i)\b(?:https?:|www\.)|\b[a-z0-9-]+\.(?:com|net|org|info|co|ke|io|me|app|xyz|link|ly)(?:/|\b)")
"""Addresses of web pages: whoever gets an invoice shall find only ours on it."""

PRIVATE = Saying(
    "Let us talk about invoices in private: write to me directly, not in a group.",
    "Mambo ya ankara tuyaongee faraghani: niandikie moja kwa moja, si kwenye kikundi.",
)
WHO = Saying("Who is to pay it? Tell me a name.", "Nani atailipa? Niambie jina.")
YOUR_NAME = Saying(
    "Under which name do you send invoices? Tell me, like: my name is Asha. Then ask for the invoice again.",
    "Unatuma ankara kwa jina gani? Niambie, kama: jina langu ni Asha. Kisha omba ankara tena.",
)
NO_CURRENCY = Saying(
    "I know no currency {code}. Which one is it, such as KES or USD?",
    "Sijui sarafu {code}. Ni ipi, kama KES au USD?",
)
TOO_MUCH = Saying(
    "That is more than I write on an invoice. How much is it?", "Hicho ni kiasi kikubwa mno kwa ankara. Ni kiasi gani?"
)
BAD_DATE = Saying("By when is it to be paid? Name a day that is not over.", "Ilipwe lini? Taja siku ambayo haijapita.")
FAR_DATE = Saying("That day is too far off. By when is it to be paid?", "Siku hiyo iko mbali mno. Ilipwe kufikia lini?")
NO_LINKS = Saying(
    "I put no web addresses on invoices. Say it without one.", "Siweki anwani za wavuti kwenye ankara. Iseme bila hiyo."
)
LONG = Saying("That is too long to be shown whole. Say it in fewer words.", "Ni ndefu mno. Iseme kwa maneno machache.")
SELF = Saying(
    "That is your own address, so you would ask yourself. Who is to pay?",
    "Hiyo ni anwani yako mwenyewe, ungejidai mwenyewe. Nani atalipa?",
)
HOW_OFTEN = Saying("How often does it come round?", "Inarudiwa mara ngapi?")
BY_MONTH = Saying(
    "Invoices come round by week, month or year. How often?", "Ankara hurudiwa kwa wiki, mwezi au mwaka. Mara ngapi?"
)
NEVER = Saying("It would never come round. How often?", "Haitarudiwa kamwe. Mara ngapi?")
ENOUGH = Saying(
    "You have {count} invoices that come round, which is as many as I keep. Stop one first.",
    "Una ankara {count} zinazojirudia, kiwango cha juu. Sitisha moja kwanza.",
)
OFTEN = Saying(
    "They have had {count} messages about invoices within a day, which is as many as I send one client.",
    "Wameshapata ujumbe {count} wa ankara ndani ya siku moja, kiwango cha juu kwa mteja mmoja.",
)
PROMPT = Saying(
    "Please check this invoice:\nFrom: {issuer}\nTo: {payer}\nSent to: {places}\nAmount: {amount} ({words}){more}",
    "Tafadhali hakiki ankara hii:\nKutoka: {issuer}\nKwa: {payer}\nInatumwa kwa: {places}\nKiasi: {amount}"
    " ({words}){more}",
)
FOR = Saying("\nFor: {description}", "\nYa: {description}")
DUE = Saying("\nDue: {day}", "\nIlipwe kufikia: {day}")
REPEATS = Saying("\nRepeats: {often}, first on {day}", "\nHurudiwa: {often}, ya kwanza {day}")
FEE = Saying(
    "\nFee, taken off what is paid, as it is today: {fee}", "\nAda, hukatwa kwenye malipo, kama ilivyo leo: {fee}"
)
EACH_DUE = Saying("\nEach is due after {days} days", "\nKila moja ilipwe baada ya siku {days}")
BY_MAIL = Saying("{address} (e-mail)", "{address} (barua pepe)")
CANNOT = Saying("\nThis installation cannot send it to {places}.", "\nMfumo huu hauwezi kuituma kwa {places}.")
TO_NOBODY = Saying("nobody; you get its address to pass on", "hakuna; utapewa anwani yake uitume mwenyewe")
UNCONFIRMED = Saying("That was not confirmed, so nothing was sent.", "Hilo halikuthibitishwa, kwa hiyo sikutuma.")
SENT = Saying(
    "Invoice {number} over {amount} is on its way to {payer}. I write to you here when they pay. Its address: {url}",
    "Ankara {number} ya {amount} iko njiani kwa {payer}. Nitakuandikia hapa wakilipa. Anwani yake: {url}",
)
MADE = Saying(
    "Invoice {number} over {amount} is made. Send {payer} its address: {url}\nAs a PDF: {url}/invoice.pdf\n"
    "I write to you here when they pay.",
    "Ankara {number} ya {amount} imeandikwa. Mtumie {payer} anwani yake: {url}\nKama PDF: {url}/invoice.pdf\n"
    "Nitakuandikia hapa wakilipa.",
)
WILL_REPEAT = Saying(
    "Done. {payer} is asked for {amount} {often}, first on {day}. Say “stop the recurring invoice” to end it.",
    "Sawa. {payer} ataombwa {amount} {often}, kwanza {day}. Andika “sitisha ankara ya kila mwezi” kuacha.",
)
SANDBOX = " · sandbox"
STANDS = Saying("Invoice {number} for {payer}: {state}.", "Ankara {number} ya {payer}: {state}.")
PAID_SO_FAR = Saying("{paid} of {amount} paid, {rest} left.", "{paid} kati ya {amount} zimelipwa, zimebaki {rest}.")
PAID_OVER = Saying(
    "{paid} paid of {amount}, which is {over} too much.", "{paid} zimelipwa kati ya {amount}, {over} zaidi."
)
GIVEN_BACK = Saying("{back} of that were given back.", "{back} kati ya hizo zimerudishwa.")
DUE_ON = Saying("Due {day}.", "Ilipwe kufikia {day}.")
ADDRESS = Saying("Its address: {url}", "Anwani yake: {url}")
PAPER = Saying("As a PDF: {url}/invoice.pdf", "Kama PDF: {url}/invoice.pdf")
NONE_OPEN = Saying("You have no open invoices.", "Huna ankara ambazo hazijalipwa.")
OPEN_ONES = Saying("Your open invoices", "Ankara zako ambazo hazijalipwa")
THEIRS = Saying("Invoices for {payer}", "Ankara za {payer}")
COME_ROUND = Saying("Coming round by themselves:", "Zinazojirudia zenyewe:")
ROUND = Saying("{payer}, {amount}, {often}; next {day}", "{payer}, {amount}, {often}; ijayo {day}")
COLUMNS: Final = (
    Saying("Invoice", "Ankara"), Saying("Who pays", "Mlipaji"), Saying("Left", "Imebaki"), Saying("Due", "Ilipwe"),
    Saying("State", "Hali"),
)  # fmt: skip
NONE_OF = Saying(
    "You have no invoice for {name}, and nothing has come to your wallet.",
    "Huna ankara ya {name}, na hakuna kilichoingia kwenye pochi yako.",
)
NONE_BUT_CAME = Saying(
    "You have no invoice for {name}. What came to your wallet last: {came}.",
    "Huna ankara ya {name}. Zilizoingia kwenye pochi yako mwisho: {came}.",
)
CAME_ON = Saying("{amount} on {day}", "{amount} {day}")
UNKNOWN = Saying("I find no such invoice of yours.", "Sioni ankara yako kama hiyo.")
WHICH = Saying("Which invoice? Tell me its number or who pays it.", "Ankara gani? Niambie namba yake au mlipaji.")
STATES: Final = {
    "draft": Saying("not sent", "haijatumwa"), "sent": Saying("sent", "imetumwa"),
    "part_paid": Saying("part paid", "imelipwa sehemu"), "paid": Saying("paid", "imelipwa"),
    "overdue": Saying("overdue", "imechelewa"), "void": Saying("void", "imefutwa"),
    "disputed": Saying("disputed", "ina mgogoro"),
}  # fmt: skip
CHECK_VOID = Saying(
    "Invoice {number} over {amount} for {payer} will be void: nobody can pay it any more. {told}",
    "Ankara {number} ya {amount} kwa {payer} itafutwa: hakuna atakayeweza kuilipa tena. {told}",
)
WILL_TELL = Saying("They are told so.", "Ataambiwa hivyo.")
WILL_NOT_TELL = Saying("They are not told, as I have not written to them.", "Hataambiwa, kwa kuwa sijamwandikia.")
CHECK_MARK = Saying(
    "Invoice {number} for {payer}: {amount} will be marked as paid {how} on {day}. {left} It is not money in your"
    " wallet, and {payer} sees it on the invoice.",
    "Ankara {number} ya {payer}: {amount} zitawekwa kuwa zimelipwa {how} tarehe {day}. {left} Si pesa za kwenye pochi"
    " yako, na {payer} ataona kwenye ankara.",
)
MARKED = Saying(
    "{amount} of invoice {number} are marked as paid {how}. {left} Say “{number} was not paid” within the hour to take"
    " that back.",
    "{amount} za ankara {number} zimewekwa kuwa zimelipwa {how}. {left} Andika “{number} haijalipwa” ndani ya saa moja"
    " kutengua.",
)
NOTHING_LEFT = Saying("Nothing is left to pay.", "Hakuna kilichobaki.")
SO_MUCH_LEFT = Saying("{rest} are left to pay.", "Zimebaki {rest} za kulipwa.")
CHECK_UNMARK = Saying(
    "{amount}, marked as paid {how} on {day}, will be open again on invoice {number} for {payer}.",
    "{amount}, zilizowekwa kuwa zimelipwa {how} tarehe {day}, zitadaiwa tena kwenye ankara {number} ya {payer}.",
)
UNMARKED = Saying(
    "Taken back. {rest} are left to pay on invoice {number}.", "Imetenguliwa. Kwenye ankara {number} zimebaki {rest}."
)
CHECK_RESEND = Saying(
    "Invoice {number} over {amount} will be sent to {payer} again: {places}.",
    "Ankara {number} ya {amount} itatumwa tena kwa {payer}: {places}.",
)
RESENT = Saying(
    "Invoice {number} is on its way to {payer} again.", "Ankara {number} iko njiani tena kwenda kwa {payer}."
)
HOW_MUCH = Saying("How much of it was paid?", "Kiasi gani kimelipwa?")
HOW_PAID = Saying(
    "How was it paid: cash, cheque, bank, M-Pesa, or other?",
    "Imelipwa vipi: taslimu, hundi, benki, M-Pesa, au nyingine?",
)
VOIDED = Saying("Invoice {number} is void.", "Ankara {number} imefutwa.")
TAKEN_BACK = Saying(
    "{issuer} has taken back invoice {number}\nThere is nothing to pay on it.",
    "{issuer} amefuta ankara {number}\nHakuna cha kulipa.",
)
NO_SERIES = Saying("None of your invoices comes round by itself.", "Hakuna ankara yako inayojirudia.")
WHICH_SERIES = Saying("Which one is it, for whom?", "Ni ipi, ya nani?")
ENDED = Saying(
    "Done. {payer} gets no more invoices over {amount} by itself; those already sent stay as they are.",
    "Sawa. {payer} hatapata tena ankara za {amount}; zilizotumwa zinabaki zilivyo.",
)

OPEN_ROOM = """
INSERT INTO conversation AS c (id, channel, account, room) VALUES ($1, $2, $3, $4)
ON CONFLICT (channel, account, room) DO UPDATE SET room = c.room
RETURNING id
"""
KNOWN_ROOM = """
SELECT id, account FROM conversation WHERE channel = 'whatsapp' AND room = ANY($1::text[]) AND account = ANY($2::text[])
ORDER BY last_at DESC NULLS LAST LIMIT 1
"""
OWN_ADDRESS = """
SELECT EXISTS (SELECT FROM identity WHERE person_id = $1 AND (channel = 'email' AND provider_id = $2
               OR channel = 'whatsapp' AND provider_id = ANY($3::text[])))
"""
LATELY = """
SELECT count(*) FROM message m JOIN outbox o ON o.id = m.id
WHERE m.conversation_id = ANY($1::uuid[]) AND o.kind = 'invoice' AND m.created_at > clock_timestamp() - interval '1 day'
"""


class CreateInvoice(Params):
    """How much, who pays, for what, until when, how often."""

    amount: str = Field(
        max_length=AMOUNT_CHARS_MAX, min_length=1, coerce_numbers_to_str=True,
        description="How much, in digits, such as 5000", json_schema_extra=ask("How much?", "Kiasi gani?"),
    )  # fmt: skip
    currency: str | None = Field(
        default=None, pattern="^[A-Z]{3}$", description="Its ISO 4217 code, where one is said",
        json_schema_extra=ask("In which currency?", "Kwa sarafu gani?"),
    )  # fmt: skip
    payer_name: str = Field(
        min_length=1, max_length=people.CONTACT_NAME_CHARS_MAX, description="Who is to pay, as the person named them",
        json_schema_extra=ask(WHO.en, WHO.sw),
    )  # fmt: skip
    description: str | None = Field(
        default=None, max_length=DESCRIPTION_CHARS_MAX, description="What it is for",
        json_schema_extra=ask("What is it for?", "Ni ya nini?"),
    )  # fmt: skip
    payer_email: str | None = Field(
        default=None, max_length=people.EMAIL_CHARS_MAX, description="Their e-mail address, where the person said one",
        json_schema_extra=ask("What is their e-mail address?", "Anwani yao ya barua pepe ni ipi?"),
    )  # fmt: skip
    phone_number: str | None = Field(
        default=None, max_length=people.PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="Their phone number, where the person said one",
        json_schema_extra=ask("What is their number?", "Namba yao ni ipi?"),
    )  # fmt: skip
    due_date: date | None = Field(
        default=None, description="The day by which it is to be paid, e.g. 2026-12-05",
        json_schema_extra=ask(BAD_DATE.en, BAD_DATE.sw),
    )  # fmt: skip
    recurrence: str | None = Field(
        default=None, max_length=recurrence.RULE_CHARS_MAX,
        description="How often it comes round: weekly, monthly, yearly, or an RFC 5545 rule such as "
        "FREQ=MONTHLY;BYMONTHDAY=31; left out when it is for once",
        json_schema_extra=ask(HOW_OFTEN.en, HOW_OFTEN.sw),
    )  # fmt: skip


class NewInvoice(Params):
    """What is shown, frozen and done: minor units, names and places as they stand on the invoice."""

    minor: int = Field(gt=0)
    currency: str
    issuer: str
    payer: str
    description: str | None
    email: str | None
    phone: str | None
    language: str
    issued_on: date
    due_on: date | None
    rrule: str | None
    first_on: date | None

    @property
    def money(self) -> Money:
        """What it is over."""
        return Money(self.minor, self.currency)


class WhichInvoice(Params):
    """Which one."""

    invoice: str | None = Field(
        default=None, max_length=people.CONTACT_NAME_CHARS_MAX,
        description="Its number, such as INV-2026-00007, or who is to pay; left out for all that are open",
        json_schema_extra=ask(WHICH.en, WHICH.sw),
    )  # fmt: skip


class VoidInvoice(Params):
    """Which one."""

    invoice: str = Field(
        max_length=people.CONTACT_NAME_CHARS_MAX, min_length=1,
        description="Its number, such as INV-2026-00007, who is to pay, or last for the newest",
        json_schema_extra=ask(WHICH.en, WHICH.sw),
    )  # fmt: skip


class MarkInvoicePaid(VoidInvoice):
    """Which one, how much of it and how."""

    amount: str | None = Field(
        default=None, max_length=AMOUNT_CHARS_MAX, coerce_numbers_to_str=True,
        description="How much was paid, in digits; left out for all that is open",
        json_schema_extra=ask(HOW_MUCH.en, HOW_MUCH.sw),
    )  # fmt: skip
    how: How | None = Field(
        default=None, description="How it was paid, where the person said it: mpesa is M-Pesa straight to them",
        json_schema_extra=ask(HOW_PAID.en, HOW_PAID.sw),
    )  # fmt: skip


class Marked(Params):
    """What is marked as paid: minor units in the invoice's currency, and the day by the issuer's clock."""

    number: str
    minor: int = Field(gt=0)
    currency: str
    how: How
    on: date


class Unmarked(Params):
    """The mark that is taken back."""

    number: str
    mark: int


class Taken(Params):
    """The invoice that is made void."""

    number: str


async def show_invoice(ctx: ActionContext, params: CreateInvoice) -> Shown:
    """What would be sent, and to whom; raises InvalidSlot and UserError where that is not certain."""
    _in_private(ctx)
    currency = params.currency or ctx.currency
    if currency not in DECIMALS:
        raise InvalidSlot("currency", NO_CURRENCY.filled(code=currency))
    try:
        amount = Money.parse(params.amount, currency, language=ctx.person.language, zone=ctx.zone.key)
    except BadAmount as problem:
        raise InvalidSlot("amount", problem.says) from problem
    if amount.decimal > LARGEST:
        raise InvalidSlot("amount", TOO_MUCH)
    issuer = _issuer(ctx.person.name)
    payer = _plain(params.payer_name, "payer_name", NAME_CHARS_MAX)
    description = _plain(params.description, "description", DESCRIPTION_CHARS_MAX) if params.description else None
    today = ctx.now.astimezone(ctx.zone).date()
    rrule, first_on = _round(ctx, params.recurrence, today)
    from_day = first_on or today
    if params.due_date is not None and params.due_date < from_day:
        raise InvalidSlot("due_date", BAD_DATE)
    if params.due_date is not None and params.due_date > from_day + timedelta(days=DUE_DAYS_MAX):
        raise InvalidSlot("due_date", FAR_DATE)
    async with ctx.db.transaction() as session:
        email, phone = await _reached(ctx, session, payer, params)
        connection = await driver(session)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        mailbox = await mailboxes.name_of(connection, email) if email else ""
        if await connection.fetchval(OWN_ADDRESS, owner, mailbox, _rooms(phone)):
            raise InvalidSlot("payer_name", SELF)
        ours = await own_accounts.account_of(connection, owner) is None
        fee = await fee_for(connection, Kind.INVOICE_PAYMENT, amount) if ours else Money(0, currency)
    invoice = NewInvoice(
        minor=amount.minor, currency=currency, issuer=issuer, payer=payer, description=description,
        email=email, phone=phone, language=ctx.person.language, issued_on=today,
        due_on=params.due_date, rrule=rrule, first_on=first_on,
    )  # fmt: skip
    text = _prompt(ctx, invoice) + (ctx.say(FEE, fee=fee.said()) if fee.minor else "")
    if len(text) > PROMPT_CHARS_MAX:
        raise InvalidSlot("description", LONG)
    return Shown(text, invoice)


@action(
    effect=Effect.WRITE, counts=("calls", "paid"), shows=show_invoice, asks=CreateInvoice,
    examples=("invoice Achieng KES 5,000 for the logo", "create an invoice for 2,500 bob", "andika ankara ya 3000"),
)  # fmt: skip
async def create_invoice(ctx: ActionContext, params: NewInvoice) -> ActionResult:
    """Send somebody a numbered invoice that they can pay by M-Pesa or card, once or by month."""
    words = Words(params.issuer, params.payer, params.description, params.email, params.phone, params.language)
    key = f"confirmed:{ctx.confirmed}"
    async with ctx.db.transaction() as session:
        owner, connection = await _confirmed(ctx, session, "create_invoice")
        to = await _places(ctx, connection, params)
        if params.rrule is None:
            invoice = await invoices.create(
                connection, key, owner, ctx.conversation_id, params.money, words, today=params.issued_on,
                due_on=params.due_on, to=to,
            )  # fmt: skip
            result = _told_made(ctx, invoice)
        else:
            result = await _repeated(ctx, connection, key, owner, params, words, to)
        await connection.execute("SELECT pg_notify('mathia', 'invoice'), pg_notify('mathia', 'invoice_series')")
    return result


@action(
    effect=Effect.READ, own=True,
    examples=("has Achieng paid the invoice?", "show my invoices", "ankara ya Achieng imelipwa?"),
)  # fmt: skip
async def check_invoice_status(ctx: ActionContext, params: WhichInvoice) -> ActionResult:
    """Show how an invoice stands, or all that are not paid."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        if params.invoice is None:
            found = [one for one in await _newest(connection, owner) if one.state in OPEN or one.state == "disputed"]
            series = await invoices.series_of(connection, owner, SERIES_MAX)
            return _listed(ctx, found, series, OPEN_ONES)
        found = await _named(connection, owner, params.invoice)
        back = await invoices.given_back(connection, found[0]) if len(found) == 1 else None
        if not found and NUMBER.search(params.invoice.upper()) is None:
            return ActionResult(await _came(ctx, connection, owner, people.one_line(params.invoice)), _as_data(()))
    if not found:
        raise UserError(UNKNOWN)
    if back is None:
        return _listed(ctx, found, (), THEIRS.filled(payer=people.one_line(params.invoice)))
    return ActionResult(_stands(ctx, found[0], back), _as_data(found))


async def show_void(ctx: ActionContext, params: VoidInvoice) -> Shown:
    """Which one would be void; raises UserError where it cannot be."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        invoice = await _one(ctx, session, params.invoice)
    if invoice.paid.minor:
        raise UserError(invoices.VOID_PAID.filled(number=invoice.number, paid=invoice.paid.said()))
    if invoice.state == "void":
        raise UserError(invoices.IS_VOID.filled(number=invoice.number))
    told = WILL_TELL if _was_told(invoice) else WILL_NOT_TELL
    text = ctx.say(
        CHECK_VOID, number=invoice.number, amount=invoice.amount.said(), payer=_payer(invoice), told=told
    )  # fmt: skip
    return Shown(text, Taken(number=invoice.number))


@action(
    effect=Effect.WRITE, shows=show_void, asks=VoidInvoice,
    examples=("void invoice INV-2026-00003", "cancel the invoice for Achieng", "futa ankara ya Achieng"),
)  # fmt: skip
async def void_invoice(ctx: ActionContext, params: Taken) -> ActionResult:
    """Take back an invoice on which nothing was paid, so that nobody can pay it."""
    async with ctx.db.transaction() as session:
        owner, connection = await _confirmed(ctx, session, "void_invoice")
        before = await _owned(connection, owner, params.number)
        before = await invoices.lock(connection, before.id)
        await invoices.void(connection, before.id)
        if _was_told(before) and before.words is not None:
            said = TAKEN_BACK.filled(issuer=before.words.issuer, number=before.number).to(before.words.language)
            await post(
                connection,
                [
                    NewMessage(room, (Text(text=said),), KIND, f"invoice:{before.id}:void:{room}")
                    for room in (before.to.mail, before.to.whatsapp)
                    if room is not None
                ],
            )
            await connection.execute("SELECT pg_notify('mathia', 'outbox')")
    return ActionResult(ctx.say(VOIDED, number=params.number), {"invoice": params.number, "state": "void"})


async def show_mark(ctx: ActionContext, params: MarkInvoicePaid) -> Shown:
    """What would be marked as paid; raises InvalidSlot and UserError where it cannot be."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        invoice = await _one(ctx, session, params.invoice)
    currency, amount = invoice.amount.currency, invoice.rest
    if params.amount is not None:
        try:
            amount = Money.parse(params.amount, currency, language=ctx.person.language, zone=ctx.zone.key)
        except BadAmount as problem:
            raise InvalidSlot("amount", problem.says) from problem
    if amount.minor <= 0 and invoice.takes_payment:
        raise InvalidSlot("amount", HOW_MUCH)
    invoice_marks.check_mark(invoice, amount)
    how, today = params.how or "other", ctx.now.astimezone(ctx.zone).date()
    text = ctx.say(
        CHECK_MARK, number=invoice.number, payer=_payer(invoice), amount=amount.said(),
        how=invoice_marks.HOWS[how], day=day(today, 0), left=_left(invoice.rest - amount),
    )  # fmt: skip
    marked = Marked(number=invoice.number, minor=amount.minor, currency=currency, how=how, on=today)
    return Shown(text, marked)


@action(
    effect=Effect.WRITE, shows=show_mark, asks=MarkInvoicePaid,
    examples=("mark INV-2026-00003 as paid in cash", "Achieng paid the invoice by cheque",
              "she paid 2000 of invoice INV-2026-00003 in cash", "Achieng amelipa ankara kwa taslimu"),
)  # fmt: skip
async def mark_invoice_paid(ctx: ActionContext, params: Marked) -> ActionResult:
    """Note that an invoice was paid outside of here, in whole or in part, such as in cash or by cheque."""
    amount = Money(params.minor, params.currency)
    async with ctx.db.transaction() as session:
        owner, connection = await _confirmed(ctx, session, "mark_invoice_paid")
        found = await _owned(connection, owner, params.number)
        invoice = await invoice_marks.mark(
            connection, found.id, f"confirmed:{ctx.confirmed}", amount, params.how, params.on, f"person:{owner}"
        )
    told = ctx.say(
        MARKED, number=invoice.number, amount=amount.said(), how=invoice_marks.HOWS[params.how],
        left=_left(invoice.rest),
    )  # fmt: skip
    return ActionResult(told, _as_data([invoice]))


async def show_unmark(ctx: ActionContext, params: VoidInvoice) -> Shown:
    """What would be open again; raises UserError where nothing was marked lately."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        invoice = await _one(ctx, session, params.invoice, marked=True)
        last = await invoice_marks.newest(connection, invoice)
    text = ctx.say(
        CHECK_UNMARK, number=invoice.number, payer=_payer(invoice), amount=last.amount.said(),
        how=invoice_marks.HOWS[last.how], day=day(last.on, 0),
    )  # fmt: skip
    return Shown(text, Unmarked(number=invoice.number, mark=last.id))


@action(
    effect=Effect.WRITE, shows=show_unmark, asks=VoidInvoice,
    examples=("INV-2026-00003 was not paid", "undo marking the invoice for Achieng as paid",
              "tengua malipo ya ankara ya Achieng"),
)  # fmt: skip
async def unmark_invoice_paid(ctx: ActionContext, params: Unmarked) -> ActionResult:
    """Take back, within an hour, that an invoice was noted as paid outside of here."""
    async with ctx.db.transaction() as session:
        owner, connection = await _confirmed(ctx, session, "unmark_invoice_paid")
        found = await _owned(connection, owner, params.number)
        invoice = await invoice_marks.take_back(connection, found.id, params.mark, f"person:{owner}")
    rest = max(invoice.rest, Money(0, invoice.amount.currency))
    return ActionResult(ctx.say(UNMARKED, number=invoice.number, rest=rest.said()), _as_data([invoice]))


async def show_resend(ctx: ActionContext, params: VoidInvoice) -> Shown:
    """Where which invoice would be sent again; raises UserError where it cannot be."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        invoice = await _one(ctx, session, params.invoice)
        await _unless_told_enough(connection, invoice.to)
    if not invoice.takes_payment:
        raise UserError(invoices.NOT_OPEN.filled(number=invoice.number))
    if invoice.to == invoices.NOWHERE or invoice.words is None:
        raise UserError(invoices.NOWHERE_TO.filled(number=invoice.number))
    places: list[Saying] = []
    if invoice.to.mail and invoice.words.email:
        places.append(BY_MAIL.filled(address=invoice.words.email))
    if invoice.to.whatsapp and invoice.words.phone:
        number = f"{invoice.words.phone} (WhatsApp)"
        places.append(Saying(number, number))
    text = ctx.say(
        CHECK_RESEND, number=invoice.number, amount=invoice.amount.said(), payer=_payer(invoice),
        places=Saying.joined(", ", *places),
    )  # fmt: skip
    return Shown(text, Taken(number=invoice.number))


@action(
    effect=Effect.WRITE, counts=("calls", "paid"), shows=show_resend, asks=VoidInvoice,
    examples=("resend invoice INV-2026-00003", "send Achieng the invoice again", "tuma tena ankara ya Achieng"),
)  # fmt: skip
async def resend_invoice(ctx: ActionContext, params: Taken) -> ActionResult:
    """Send an invoice that is not paid to its client once more, as it was sent first."""
    async with ctx.db.transaction() as session:
        owner, connection = await _confirmed(ctx, session, "resend_invoice")
        found = await _owned(connection, owner, params.number)
        await _unless_told_enough(connection, found.to)
        invoice = await invoices.resend(connection, found.id, f"confirmed:{ctx.confirmed}", f"person:{owner}")
        await connection.execute("SELECT pg_notify('mathia', 'invoice')")
    told = ctx.say(RESENT, number=invoice.number, payer=_payer(invoice))
    return ActionResult(told + _sandbox(ctx), {"invoice": invoice.number})


@action(
    effect=Effect.WRITE,
    examples=("stop the monthly invoice to Achieng", "stop my recurring invoice", "sitisha ankara ya kila mwezi"),
)  # fmt: skip
async def stop_recurring_invoice(ctx: ActionContext, params: WhichInvoice) -> ActionResult:
    """Let an invoice that is sent every week, month or year be sent no more."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        connection = await driver(session)
        going_on = await invoices.series_of(connection, owner, SERIES_MAX)
        if not going_on:
            raise UserError(NO_SERIES)
        if params.invoice is not None:
            going_on = [one for one in going_on if _is_called(one.words, params.invoice)]
        if len(going_on) != 1:
            raise InvalidSlot("invoice", WHICH_SERIES)
        [series] = going_on
        await invoices.end_series(connection, series.id)
    payer = series.words.payer if series.words else "…"
    return ActionResult(ctx.say(ENDED, payer=payer, amount=series.amount.said()), {"payer": payer})


connector = Connector(
    name="invoices", title=Saying("Invoices", "Ankara"), private=True,
    actions=(create_invoice, check_invoice_status, mark_invoice_paid, unmark_invoice_paid, resend_invoice, void_invoice,
             stop_recurring_invoice),
    requires=("intasend_secret_key",),
)  # fmt: skip


# Making one.


def _round(ctx: ActionContext, repeats: str | None, today: date) -> tuple[str | None, date | None]:
    """The rule in full and the day of the first invoice; (None, None) for one that is for once."""
    if repeats is None or repeats.casefold() in ("once", "none", "never"):
        return None, None
    wall = datetime.combine(today, SEND_AT)
    try:
        if recurrence.parse(repeats, ctx.zone.key).freq not in ("WEEKLY", "MONTHLY", "YEARLY"):
            raise InvalidSlot("recurrence", BY_MONTH)
        settled = recurrence.settle(repeats, wall, ctx.zone.key)
    except ValueError as error:
        says = error.says if isinstance(error, Unusable) else BY_MONTH
        raise InvalidSlot("recurrence", says) from None
    if settled is None:
        raise InvalidSlot("recurrence", NEVER)
    return settled[0], settled[1].date()


async def _reached(
    ctx: ActionContext, session: AsyncSession, payer: str, params: CreateInvoice
) -> tuple[str | None, str | None]:
    """Their e-mail address and number: as the person said, else as a contact of theirs has it."""
    email = people.email_address(params.payer_email, "payer_email") if params.payer_email else None
    phone = None
    if params.phone_number:
        region = countries.of_zone(ctx.zone.key) or REGION
        try:
            phone = people.phone_number(params.phone_number, region)
        except InvalidSlot as problem:
            raise InvalidSlot("phone_number", problem.says) from problem
    if email is None and phone is None:
        known: Contact | None = await people.find_contact(session, ctx.person.id, payer)
        if known is not None:
            email, phone = known.email, known.phone
    return email, phone


def _prompt(ctx: ActionContext, invoice: NewInvoice) -> str:
    """The invoice in words, all of it made from what is done."""
    cannot: list[Saying] = []
    places: list[Saying] = []
    if invoice.email:
        (places if ctx.settings.smtp_host else cannot).append(BY_MAIL.filled(address=invoice.email))
    if invoice.phone:
        number = f"{invoice.phone} (WhatsApp)"
        (places if _accounts(ctx.settings) else cannot).append(Saying(number, number))
    more = [FOR.filled(description=invoice.description)] if invoice.description else []
    if invoice.rrule is not None and invoice.first_on is not None:
        often = recurrence.describe(invoice.rrule, datetime.combine(invoice.first_on, SEND_AT), ctx.zone.key)
        more.append(REPEATS.filled(often=often, day=day(invoice.first_on, 0)))
        if invoice.due_on is not None:
            more.append(EACH_DUE.filled(days=(invoice.due_on - invoice.first_on).days))
    elif invoice.due_on is not None:
        more.append(DUE.filled(day=day(invoice.due_on, 0)))
    if cannot:
        more.append(CANNOT.filled(places=Saying.joined(", ", *cannot)))
    return ctx.say(
        PROMPT, issuer=invoice.issuer, payer=invoice.payer, amount=invoice.money.said(),
        places=Saying.joined(", ", *places) if places else TO_NOBODY,
        words=Saying(_in_words(invoice.money, "en"), _in_words(invoice.money, "sw")),
        more=Saying.joined("", *more),
    )  # fmt: skip


async def _places(ctx: ActionContext, connection: Any, invoice: NewInvoice) -> Places:
    """The client's conversations, opened where they are not there yet; LimitReached where they were told enough."""
    mail = whatsapp = None
    if invoice.email and ctx.settings.smtp_host:
        box = await mailboxes.keep(connection, invoice.email)
        account = parseaddr(ctx.settings.mail_from)[1]
        mail = await connection.fetchval(OPEN_ROOM, uuid4(), ChannelName.EMAIL, account, box)
    accounts = _accounts(ctx.settings)
    if invoice.phone and accounts:
        # Where they have written to one of our numbers, that one answers.
        known = await connection.fetchrow(KNOWN_ROOM, _rooms(invoice.phone), accounts)
        room = f"{TWILIO_PREFIX}{invoice.phone}" if accounts[0].startswith(TWILIO_PREFIX) else invoice.phone[1:]
        whatsapp = (
            known["id"]
            if known is not None
            else await connection.fetchval(OPEN_ROOM, uuid4(), ChannelName.WHATSAPP, accounts[0], room)
        )
    to = Places(mail, whatsapp)
    await _unless_told_enough(connection, to)
    return to


async def _unless_told_enough(connection: Any, to: Places) -> None:
    """Raise LimitReached where a client has had as many messages about invoices as they get within a day."""
    rooms = [room for room in (to.mail, to.whatsapp) if room is not None]
    if rooms and await connection.fetchval(LATELY, rooms) >= CLIENT_DAY_MAX * len(rooms):
        raise LimitReached(OFTEN.filled(count=CLIENT_DAY_MAX))


def _accounts(settings: Settings) -> list[str]:
    """Our WhatsApp numbers, as conversations have them; the one that writes to strangers first."""
    twilio = settings.twilio_whatsapp_from if settings.twilio_account_sid else ""
    return [account for account in (twilio, settings.meta_phone_number_id) if account]


def _rooms(phone: str | None) -> list[str]:
    """What the chat of this number may be called."""
    return [f"{TWILIO_PREFIX}{phone}", phone.removeprefix("+")] if phone else []


async def _repeated(
    ctx: ActionContext, connection: Any, key: str, owner: UUID, invoice: NewInvoice, words: Words, to: Places
) -> ActionResult:
    assert invoice.rrule is not None and invoice.first_on is not None  # noqa: S101, PT018  looked at before
    if len(await invoices.series_of(connection, owner, SERIES_MAX)) >= SERIES_MAX:
        raise LimitReached(ENOUGH.filled(count=SERIES_MAX))
    wall = datetime.combine(invoice.first_on, SEND_AT)
    due_at = recurrence.resolve(wall, ctx.zone.key)
    if invoice.first_on <= ctx.now.astimezone(ctx.zone).date():
        due_at = ctx.now
    due_days = None if invoice.due_on is None else (invoice.due_on - invoice.first_on).days
    series = await invoices.repeat(
        connection, key, owner, ctx.conversation_id, invoice.money, words, rrule=invoice.rrule, wall_time=wall,
        zone=ctx.zone.key, due_at=due_at, due_days=due_days, to=to,
    )  # fmt: skip
    told = ctx.say(
        WILL_REPEAT, payer=invoice.payer, amount=series.amount.said(), day=day(invoice.first_on, 0),
        often=recurrence.describe(series.rrule, wall, series.zone),
    )  # fmt: skip
    return ActionResult(told + _sandbox(ctx), {"payer": invoice.payer, "recurrence": series.rrule})


def _told_made(ctx: ActionContext, invoice: Invoice) -> ActionResult:
    said = SENT if invoice.to != invoices.NOWHERE else MADE
    told = ctx.say(
        said, number=invoice.number, amount=invoice.amount.said(), payer=_payer(invoice), url=_url(ctx, invoice)
    )
    return ActionResult(told + _sandbox(ctx), {"invoice": invoice.number, "url": _url(ctx, invoice)})


async def _confirmed(ctx: ActionContext, session: AsyncSession, name: str) -> tuple[UUID, Any]:
    """Whose word it was, locked, and the connection; UserError for what they did not confirm, or may not any more."""
    owner = await people.hold(session, ctx.person.id)
    connection = await driver(session)
    if ctx.confirmed is None or ctx.sender is None:
        raise UserError(UNCONFIRMED)
    if not await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, name, owner, ctx.now):
        raise UserError(UNCONFIRMED)
    if await renumber.is_frozen(connection, ctx.sender):
        raise renumber.Frozen(ctx.offered)
    return owner, connection


# Showing them.


async def _newest(connection: Any, owner: UUID) -> Sequence[Invoice]:
    return await invoices.of_person(connection, owner, PAST_EVERY_ID, LOOKED_AT_MAX)


async def _named(connection: Any, owner: UUID, said: str) -> list[Invoice]:
    """The person's invoice of this number, or those of whoever is called so, newest first."""
    if (number := NUMBER.search(said.upper())) is not None:
        found = await invoices.by_number(connection, number[0])
        return [found] if found is not None and found.person_id == owner else []
    newest = await _newest(connection, owner)
    if said.casefold() == LAST:
        return list(newest[:1])
    return [one for one in newest if _is_called(one.words, said)]


async def _one(ctx: ActionContext, session: AsyncSession, said: str, *, marked: bool = False) -> Invoice:
    """The one invoice of the person's that is meant: of several of the same name that which is not over, or `marked`.

    Raises UserError for none, InvalidSlot for several.
    """
    owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
    named = await _named(await driver(session), owner, said)
    if marked:
        found = [one for one in named if one.outside] or named
    else:
        found = [one for one in named if one.takes_payment or one.state == "disputed"] or named
    if not found:
        raise UserError(UNKNOWN)
    if len(found) > 1:
        numbers = ", ".join(one.number for one in found[:LISTED_MAX])
        raise InvalidSlot("invoice", Saying.joined(" ", WHICH, numbers))
    return found[0]


async def _owned(connection: Any, owner: UUID, number: str) -> Invoice:
    """The person's invoice of this number; raises UserError for any other."""
    found = await invoices.by_number(connection, number)
    if found is None or found.person_id != owner:
        raise UserError(UNKNOWN)
    return found


def _left(rest: Money) -> Saying:
    return SO_MUCH_LEFT.filled(rest=rest.said()) if rest.minor > 0 else NOTHING_LEFT


def _is_called(words: Words | None, said: str) -> bool:
    if words is None:
        return False
    name, wanted = people.name_key(words.payer), people.name_key(said)
    return name == wanted or name.startswith(f"{wanted} ")


async def _came(ctx: ActionContext, connection: Any, owner: UUID, name: str) -> str:
    """What is said of whether somebody has paid who has no invoice: what came last, from whomever."""
    zone, came = ctx.zone, list[StatementLine]()
    for one in await wallets_of(connection, str(owner), ctx.settings.default_currency):
        lines = await statement(connection, one.account, limit=LOOKED_AT_MAX)
        came += [line for line in lines if line.amount.minor > 0 and line.kind in PAID_IN]
    came.sort(key=lambda line: line.at, reverse=True)
    if not came:
        return ctx.say(NONE_OF, name=name)
    year = ctx.now.astimezone(zone).year
    last = [
        CAME_ON.filled(amount=line.amount.said(), day=day(line.at.astimezone(zone).date(), year))
        for line in came[:CAME_MAX]
    ]
    return ctx.say(NONE_BUT_CAME, name=name, came=Saying.joined("; ", *last))


def _listed(ctx: ActionContext, found: Sequence[Invoice], series: Sequence[Series], title: Saying) -> ActionResult:
    rounds = [
        ctx.say(
            ROUND,
            payer=one.words.payer if one.words else "…",
            amount=one.amount.said(),
            often=recurrence.describe(one.rrule, one.wall_time, one.zone),
            day=day(one.wall_time.date(), 0),
        )
        for one in series
    ]
    below = (Text(text="\n".join((ctx.say(COME_ROUND), *rounds))),) if rounds else ()
    if not found:
        return ActionResult.of(Text(text=ctx.say(NONE_OPEN)), *below, data=_as_data(found))
    rows = tuple(
        (
            one.number, _payer(one), one.rest.shown(ctx.person.language),
            ctx.say(day(one.due_on, 0)) if one.due_on else "–", ctx.say(STATES[one.state]),
        )
        for one in found[:LISTED_MAX]
    )  # fmt: skip
    table = Table(title=ctx.say(title), columns=tuple(ctx.say(column) for column in COLUMNS), rows=rows)
    return ActionResult.of(table, *below, data=_as_data(found))


def _stands(ctx: ActionContext, invoice: Invoice, back: Money) -> str:
    """How one invoice stands, with its address while it can be paid."""
    paid, amount, rest = invoice.paid.said(), invoice.amount.said(), invoice.rest
    lines = [ctx.say(STANDS, number=invoice.number, payer=_payer(invoice), state=STATES[invoice.state])]
    over = invoice.paid - back - invoice.amount
    if over.minor > 0:
        lines.append(ctx.say(PAID_OVER, paid=paid, amount=amount, over=over.said()))
    else:
        lines.append(ctx.say(PAID_SO_FAR, paid=paid, amount=amount, rest=max(rest, rest - rest).said()))
    lines += [f"{ctx.say(invoice_marks.said(one))}: {ctx.say(one.amount.said())}." for one in invoice.outside]
    if back.minor:
        lines.append(ctx.say(GIVEN_BACK, back=back.said()))
    if invoice.takes_payment:
        if invoice.due_on is not None:
            lines.append(ctx.say(DUE_ON, day=day(invoice.due_on, 0)))
        lines.append(ctx.say(ADDRESS, url=_url(ctx, invoice)))
    if invoice.words is not None:
        lines.append(ctx.say(PAPER, url=_url(ctx, invoice)))
    return "\n".join(lines) + _sandbox(ctx)


def _as_data(found: Sequence[Invoice]) -> dict[str, JsonValue]:
    return {
        "invoices": [
            {"invoice": one.number, "payer": _payer(one), "state": one.state, "amount": str(one.amount.decimal),
             "paid": str(one.paid.decimal), "currency": one.amount.currency,
             "due_date": one.due_on.isoformat() if one.due_on else None}
            for one in found[:LISTED_MAX]
        ]
    }  # fmt: skip


def _payer(invoice: Invoice) -> str:
    return invoice.words.payer if invoice.words else "…"


def _url(ctx: ActionContext, invoice: Invoice) -> str:
    return pay_url(ctx.settings.base_url, invoice.token or "")


def _was_told(invoice: Invoice) -> bool:
    return invoice.state != "draft" and invoice.to != invoices.NOWHERE


def _in_words(amount: Money, language: str) -> str:
    return money_in_words(amount.minor, amount.currency, language)


def _issuer(name: str | None) -> str:
    """What whoever asks is called on an invoice; UserError for somebody without a name that can stand there."""
    line = people.one_line(name or "")
    if not 0 < len(line) <= NAME_CHARS_MAX or LINK.search(line):
        raise UserError(YOUR_NAME)
    return line


def _plain(words: str, slot: str, most: int) -> str:
    """Words as they stand on an invoice: one line, nothing hidden, no web address. Raises InvalidSlot."""
    line = people.one_line(words)
    if not line or len(line) > most:
        raise InvalidSlot(slot, LONG if line else WHO)
    if LINK.search(line):
        raise InvalidSlot(slot, NO_LINKS)
    return line


def _sandbox(ctx: ActionContext) -> str:
    return SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""


def _in_private(ctx: ActionContext) -> None:
    sender: Address | None = ctx.sender
    if sender is not None and not sender.is_private:
        raise UserError(PRIVATE)
