"""The person's money here: what they have, what came and went, adding some from M-Pesa, sending and withdrawing it.

What is sent is shown first, by code and from exactly what is then done: payee and number, amount in digits and words,
fee, total, what is left. It is done by the code that is shown with it (core/confirm.py). Whose wallet it is, whether
their number is still theirs, the stop for all, limits and balance are looked at again where it is done, in the
transaction that moves the money or keeps it back.
"""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime, time
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field, JsonValue
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import confirm, people, renumber
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, Shown, action, ask
from core.amount_words import in_words
from core.db import driver
from core.errors import InvalidSlot, LimitReached, UserError
from core.language import Saying, moment
from core.messages import Address, ChannelName, Part, Table, Text
from core.models import Contact, Person
from core.notices import tell
from ledger import balances, own_accounts
from ledger.accounts import own, wallet
from ledger.balances import Balance, StatementLine
from ledger.errors import InsufficientFunds
from ledger.fees import fee_for
from ledger.holds import Allowance
from ledger.instruction_store import MPESA, Collect, PayOut, collect, mpesa_account, pay_out
from ledger.instructions import Method, Payee
from ledger.journal import Account, Kind
from ledger.money import BadAmount, Money
from ledger.transfers import transfer

SHOWN_MAX = 50
SHOWN = 10
LATEST = 3
AMOUNT_CHARS_MAX = 40
PHONE_CHARS_MAX = 40

PRIVATE = Saying(
    "Let us talk about money in private: write to me directly, not in a group.",
    "Mambo ya pesa tuyaongee faraghani: niandikie moja kwa moja, si kwenye kikundi.",
)
BALANCE = Saying("You have {amount}.", "Una {amount}.")
HELD = Saying(
    "You have {amount}, and {held} more are kept back for payments under way.",
    "Una {amount}, na {held} nyingine zimeshikwa kwa malipo yanayoendelea.",
)
OWN = Saying(
    "In your own IntaSend account, by what came and went through me: {amount}.",
    "Kwenye akaunti yako ya IntaSend, kwa yaliyopita kwangu: {amount}.",
)
FROZEN = Saying(
    "{amount} more are kept back until a dispute is decided.",
    "{amount} nyingine zimeshikwa hadi mgogoro uamuliwe.",
)
NO_MOVES = Saying("Nothing has come or gone yet.", "Bado hakuna kilichoingia wala kutoka.")
MOVES = Saying("Your last transactions", "Miamala yako ya mwisho")
COLUMNS: Final = (
    Saying("When", "Lini"), Saying("What", "Nini"), Saying("Amount", "Kiasi"), Saying("Balance", "Salio")
)  # fmt: skip
KINDS: Final = {
    Kind.DEPOSIT: Saying("Top-up", "Kuongeza"),
    Kind.WITHDRAWAL: Saying("To M-Pesa", "Kwenda M-Pesa"),
    Kind.TRANSFER: Saying("Transfer", "Uhamisho"),
    Kind.INVOICE_PAYMENT: Saying("Invoice", "Ankara"),
    Kind.FEE: Saying("Fee", "Ada"),
    Kind.REFUND: Saying("Refund", "Marejesho"),
    Kind.DISPUTE_FREEZE: Saying("Kept back for a dispute", "Zimeshikwa kwa mgogoro"),
    Kind.DISPUTE_RELEASE: Saying("Back from a dispute", "Zimerudi kutoka mgogoro"),
    Kind.REVERSAL: Saying("Correction", "Marekebisho"),
}
ASKED = Saying(
    "I have sent the request for {amount} to your phone, {number}. Type your M-Pesa PIN there; I write to you here as"
    " soon as the money has come.",
    "Nimetuma ombi la {amount} kwenye simu yako, {number}. Weka PIN yako ya M-Pesa huko; nitakuandikia hapa pesa"
    " zikifika.",
)
ASKED_FEE = Saying("{asked} The fee of {fee} is taken off it.", "{asked} Ada ya {fee} itakatwa humo.")
SANDBOX = " · sandbox"
WHICH_PHONE = Saying("Which M-Pesa number should I ask?", "Niombe namba gani ya M-Pesa?")
NOT_KES = Saying(
    "M-Pesa moves Kenyan shillings only. How much in KES?", "M-Pesa hutuma shilingi za Kenya tu. Ni KES ngapi?"
)


WHO = Saying(
    "Whom should I pay? Tell me a name from your contacts, or a number.",
    "Nimlipe nani? Niambie jina kutoka mawasiliano yako, au namba.",
)
WHOSE_NUMBER = Saying(
    "I know no number of “{name}”. Which M-Pesa number should it go to?",
    "Sina namba ya “{name}”. Zitumwe kwa namba gani ya M-Pesa?",
)
WHERE_TO = Saying("To which M-Pesa number?", "Kwa namba gani ya M-Pesa?")
SELF = Saying(
    "That is your own number, so there is nothing to send. You can withdraw money instead.",
    "Hiyo ni namba yako mwenyewe, kwa hiyo hakuna cha kutuma. Unaweza kutoa pesa badala yake.",
)
HANDS = Saying(
    "WhatsApp says that their number has changed hands, so I do not pay it until that is settled.",
    "WhatsApp inasema namba yao imebadilisha mwenyewe, kwa hiyo siilipi hadi hilo litatuliwe.",
)
PAUSED = Saying(
    "Payments are stopped for everybody just now. Your money is where it was; try again later.",
    "Malipo yamesimamishwa kwa kila mtu kwa sasa. Pesa zako ziko pale pale; jaribu tena baadaye.",
)
TOO_LARGE = Saying(
    "I pay at most {at_most} at a time in a chat. Larger payments will be made on your account page, which is not there"
    " yet.",
    "Kwenye gumzo hulipa {at_most} kwa mara moja, si zaidi. Malipo makubwa yatafanyika kwenye ukurasa wa akaunti yako,"
    " ambao bado haupo.",
)
TOO_LITTLE = Saying("You have {amount}, which is not enough to pay {total}.", "Una {amount}, haitoshi kulipa {total}.")
LONG_NAME = Saying(
    "That name is too long to be shown whole. Name them in fewer words.",
    "Jina hilo ni refu mno kuonyeshwa lote. Taja kwa maneno machache.",
)
CHANGED = Saying(
    "Something about whom you pay has changed since I showed it, so nothing was sent. Ask for it again.",
    "Kuna jambo kuhusu unayemlipa limebadilika tangu nilipoonyesha, kwa hiyo sikutuma chochote. Omba tena.",
)
UNCONFIRMED = Saying("That was not confirmed, so nothing was sent.", "Hilo halikuthibitishwa, kwa hiyo sikutuma.")
PROMPT = Saying(
    "{head}\nTo: {payee}\nAmount: {amount} ({words})\nFee: {fee}\nTotal: {total}\nLeft afterwards: {left}",
    "{head}\nKwa: {payee}\nKiasi: {amount} ({words})\nAda: {fee}\nJumla: {total}\nZitakazobaki: {left}",
)
SEND = Saying("Please check this payment:", "Tafadhali hakiki malipo haya:")
TAKE_OUT = Saying("Please check this withdrawal:", "Tafadhali hakiki utoaji huu wa pesa:")
TO_WALLET = Saying("{name} {number}, to their wallet here", "{name} {number}, kwenye pochi yao hapa")
TO_MPESA = Saying("{name} {number}, to M-Pesa", "{name} {number}, kwenda M-Pesa")
FROM_OWN = Saying("{where}, from your own IntaSend account", "{where}, kutoka akaunti yako ya IntaSend")
UNKNOWN = Saying("a number that is not among your contacts,", "namba isiyo kwenye mawasiliano yako,")
YOURSELF = Saying("yourself,", "wewe mwenyewe,")
SENT = Saying("Sent {amount} to {payee}. You have {left}.", "Nimetuma {amount} kwa {payee}. Una {left}.")
ON_ITS_WAY = Saying(
    "{amount} to {payee} are on their way; I write to you here when M-Pesa says that they have come. Ref {reference}.",
    "{amount} kwa {payee} ziko njiani; nitakuandikia hapa M-Pesa ikisema zimefika. Kumb. {reference}.",
)
GOT = Saying("You have received {amount} from {name}.", "Umepokea {amount} kutoka kwa {name}.")
SOMEBODY = Saying("somebody", "mtu")
YOUR_PAUSE = Saying(
    "You have stopped your payments. Say “resume my payments” when they may go on.",
    "Umesimamisha malipo yako. Andika “endeleza malipo yangu” yakiruhusiwa tena.",
)
STOPPED = Saying(
    "Done. Nothing is paid from your account until you say “resume my payments”. What is under way already goes on.",
    "Sawa. Hakuna kitakacholipwa kutoka akaunti yako hadi useme “endeleza malipo yangu”. Yaliyo njiani yanaendelea.",
)
GO_ON = Saying("Payments from your account will be possible again.", "Malipo kutoka akaunti yako yatawezekana tena.")
GOING_ON = Saying(
    "Done. Payments from your account are possible again.", "Sawa. Malipo kutoka akaunti yako yanawezekana."
)
PROMPT_CHARS_MAX = 480
"""With how it is confirmed below it, a prompt stays within 600."""
NAME_SHOWN_MAX = 40
"""What whoever gets money reads of how its giver calls themselves."""
KIND = "payment"
WALLET_OF = """
SELECT coalesce(p.merged_into, p.id) AS person_id, c.id AS conversation_id, now_.language,
       EXISTS (SELECT FROM renumbering r WHERE (r.channel, r.account, r.provider_id)
               = (i.channel, i.account, i.provider_id) AND r.ended_at IS NULL) AS changing
FROM identity i JOIN person p ON p.id = i.person_id JOIN person now_ ON now_.id = coalesce(p.merged_into, p.id)
LEFT JOIN conversation c ON (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id)
WHERE i.channel = 'whatsapp' AND i.provider_id = ANY($1::text[]) AND now_.erasure_id IS NULL
ORDER BY i.created_at, i.id LIMIT 1
"""


class Nothing(Params):
    """Nothing to fill in."""


class ListTransactions(Params):
    """How many."""

    limit: int = Field(
        default=SHOWN, ge=1, le=SHOWN_MAX, description="How many of the last transactions",
        json_schema_extra=ask("How many?", "Mingapi?"),
    )  # fmt: skip


class TopUp(Params):
    """How much, and from which phone."""

    amount: str = Field(
        max_length=AMOUNT_CHARS_MAX, min_length=1, coerce_numbers_to_str=True,
        description="How much, in digits, such as 500", json_schema_extra=ask("How much?", "Kiasi gani?"),
    )  # fmt: skip
    currency: str = Field(
        default=MPESA, pattern="^[A-Z]{3}$", description="Its ISO 4217 code; KES unless another is said",
        json_schema_extra=ask("In which currency?", "Kwa sarafu gani?"),
    )  # fmt: skip
    phone_number: str | None = Field(
        default=None, max_length=PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="The M-Pesa number to ask; the person's own where none is said",
        json_schema_extra=ask(WHICH_PHONE.en, WHICH_PHONE.sw),
    )  # fmt: skip


class SendMoney(Params):
    """How much, and to whom."""

    amount: str = Field(
        max_length=AMOUNT_CHARS_MAX, min_length=1, coerce_numbers_to_str=True,
        description="How much, in digits, such as 500", json_schema_extra=ask("How much?", "Kiasi gani?"),
    )  # fmt: skip
    currency: str = Field(
        default=MPESA, pattern="^[A-Z]{3}$", description="Its ISO 4217 code; KES unless another is said",
        json_schema_extra=ask("In which currency?", "Kwa sarafu gani?"),
    )  # fmt: skip
    recipient: str | None = Field(
        default=None, max_length=people.CONTACT_NAME_CHARS_MAX,
        description="Who gets it, as the person named them", json_schema_extra=ask(WHO.en, WHO.sw),
    )  # fmt: skip
    phone_number: str | None = Field(
        default=None, max_length=PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="Their phone number, where the person said one", json_schema_extra=ask(WHERE_TO.en, WHERE_TO.sw),
    )  # fmt: skip


class Withdraw(Params):
    """How much, and to which phone."""

    amount: str = Field(
        max_length=AMOUNT_CHARS_MAX, min_length=1, coerce_numbers_to_str=True,
        description="How much, in digits, such as 500", json_schema_extra=ask("How much?", "Kiasi gani?"),
    )  # fmt: skip
    currency: str = Field(
        default=MPESA, pattern="^[A-Z]{3}$", description="Its ISO 4217 code; KES unless another is said",
        json_schema_extra=ask("In which currency?", "Kwa sarafu gani?"),
    )  # fmt: skip
    phone_number: str | None = Field(
        default=None, max_length=PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="The M-Pesa number to pay; the person's own where none is said",
        json_schema_extra=ask(WHERE_TO.en, WHERE_TO.sw),
    )  # fmt: skip


class Payment(Params):
    """What is shown, frozen and done: cents of KES to a number of M-Pesa, or to the wallet of whoever has it."""

    cents: int = Field(gt=0)
    fee_cents: int = Field(ge=0)
    name: str
    number: str = Field(pattern="^254[17][0-9]{8}$")
    wallet_of: UUID | None
    account: str | None = None
    """The payer's own account with IntaSend that it is paid from; without one it is paid from their wallet here."""

    @property
    def source(self) -> Callable[[str], Account]:
        """The account of an owner that it is taken from."""
        if self.account is None:
            return lambda owner: wallet(owner, MPESA)
        return partial(own, account=self.account, currency=MPESA)


@action(
    effect=Effect.READ, own=True,
    examples=("what is my balance?", "check my balance", "salio langu ni ngapi?"),
)  # fmt: skip
async def check_balance(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Show how much money the person has here, and what of it is kept back."""
    held = await _wallets(ctx)
    return ActionResult(_have(ctx, held), _as_data(held))


@action(
    effect=Effect.READ, own=True,
    examples=("show my transactions", "my last 5 transactions", "nionyeshe miamala yangu"),
)  # fmt: skip
async def list_transactions(ctx: ActionContext, params: ListTransactions) -> ActionResult:
    """List the last times money came to the person or left, with the balance after each."""
    held = await _wallets(ctx)
    lines = await _lines(ctx, held, params.limit)
    return ActionResult.of(_shown(ctx, lines), data=_as_data(held, lines))


@action(
    effect=Effect.READ, own=True, examples=("did my payment go through?", "has anybody paid me?", "malipo yamefika?")
)  # fmt: skip
async def check_payments(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Show the person's balance and their last three transactions."""
    held = await _wallets(ctx)
    lines = await _lines(ctx, held, LATEST)
    return ActionResult.of(Text(text=_have(ctx, held)), _shown(ctx, lines), data=_as_data(held, lines))


@action(
    effect=Effect.WRITE, counts=("calls", "paid"),
    examples=("top up 500 bob", "top up my wallet with KES 1,000", "weka pesa 500 kwenye akaunti yangu"),
)  # fmt: skip
async def top_up(ctx: ActionContext, params: TopUp) -> ActionResult:
    """Ask the person's phone for money through M-Pesa, to add to what they have here."""
    _in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        number = params.phone_number or own_number(ctx.sender)
        if number is None:
            raise InvalidSlot("phone_number", WHICH_PHONE)
        payee = Payee(mpesa(number))
        asked = Collect(
            f"chat:{ctx.idempotency_key}", Method.PUSH, str(owner), owner, ctx.conversation_id, amount, payee
        )  # fmt: skip
        fee = (await collect(connection, asked)).fee
    told = ctx.say(ASKED, amount=amount.said(), number=f"+{payee.account}")
    if fee.minor:
        told = ctx.say(ASKED_FEE, asked=told, fee=fee.said())
    sandbox = SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""
    return ActionResult(told + sandbox, {"amount": str(amount.decimal), "currency": amount.currency})


async def show_payment(ctx: ActionContext, params: SendMoney) -> Shown:
    """Whom it would go to, and what of it; raises InvalidSlot and UserError where that is not certain."""
    _in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    async with ctx.db.transaction() as session:
        named, written = await _payee(ctx, session, params)
        number = mpesa(written)
        if number == (own_number(ctx.sender) or "").removeprefix("+"):
            raise UserError(SELF)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        theirs = await _wallet_of(await driver(session), number)
        if theirs is not None and theirs["person_id"] == owner:
            raise UserError(SELF)
        account = await _own_account(await driver(session), owner, amount)
        theirs = theirs if account is None else None  # From there it is sent by M-Pesa, to anybody.
        kind = Kind.WITHDRAWAL if theirs is None else Kind.TRANSFER
        fee = await _fee(await driver(session), kind, amount, account)
        payment = Payment(
            cents=amount.minor, fee_cents=fee.minor, name=visible(named), number=number,
            wallet_of=theirs["person_id"] if theirs is not None else None, account=account,
        )  # fmt: skip
        await _unless_paused(session, owner)
        return await _prompt(ctx, await driver(session), owner, SEND, payment, UNKNOWN)


async def show_withdrawal(ctx: ActionContext, params: Withdraw) -> Shown:
    """To which phone it would go, and what of it."""
    _in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    written = params.phone_number or own_number(ctx.sender)
    if written is None:
        raise InvalidSlot("phone_number", WHERE_TO)
    number = mpesa(written)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        account = await _own_account(connection, owner, amount)
        fee = await _fee(connection, Kind.WITHDRAWAL, amount, account)
        payment = Payment(
            cents=amount.minor, fee_cents=fee.minor, name="", number=number, wallet_of=None, account=account
        )
        await _unless_paused(session, owner)
        own = payment.number == (own_number(ctx.sender) or "").removeprefix("+")
        return await _prompt(ctx, await driver(session), owner, TAKE_OUT, payment, YOURSELF if own else UNKNOWN)


@action(
    effect=Effect.SPEND, counts=("calls", "paid"), shows=show_payment, asks=SendMoney,
    examples=("send 500 to Asha", "send KES 1,500 to 0712 345 678", "tuma 500 kwa 0712345678"),
)  # fmt: skip
async def send_money(ctx: ActionContext, params: Payment) -> ActionResult:
    """Send money to somebody: to their wallet where they have one here, else to their M-Pesa."""
    return await _pay(ctx, params, "send_money")


@action(
    effect=Effect.SPEND, counts=("calls", "paid"), shows=show_withdrawal, asks=Withdraw,
    examples=("withdraw 500", "withdraw 200 bob to my M-Pesa", "toa pesa 500"),
)  # fmt: skip
async def withdraw(ctx: ActionContext, params: Payment) -> ActionResult:
    """Pay money the person has here out to M-Pesa."""
    return await _pay(ctx, params, "withdraw")


@action(
    effect=Effect.WRITE, examples=("pause my payments", "stop all my payments", "simamisha malipo yangu")
)  # fmt: skip
async def pause_payments(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Let nothing be paid from the person's account until they say so; also nothing that was shown already."""
    _in_private(ctx)
    await _set_pause(ctx, paused=True)
    return ActionResult(ctx.say(STOPPED))


async def show_resuming(ctx: ActionContext, params: Nothing) -> str:
    """What is confirmed before payments go on."""
    _in_private(ctx)
    return ctx.say(GO_ON)


@action(
    effect=Effect.WRITE, shows=show_resuming,
    examples=("resume my payments", "allow my payments again", "endeleza malipo yangu"),
)  # fmt: skip
async def resume_payments(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Let payments from the person's account go on after they had them stopped."""
    await _set_pause(ctx, paused=False)
    return ActionResult(ctx.say(GOING_ON))


connector = Connector(
    name="wallet", title=Saying("Your money", "Pesa zako"), private=True,
    actions=(check_balance, list_transactions, check_payments, top_up, send_money, withdraw, pause_payments,
             resume_payments),
    requires=("intasend_secret_key",),
)  # fmt: skip


def visible(name: str) -> str:
    """A name in which nothing hides: signs that are not seen, or turn the line about, are written as their numbers."""
    return "".join(
        sign if unicodedata.category(sign)[0] not in "CZ" or sign == " " else f"[U+{ord(sign):04X}]" for sign in name
    )


async def _payee(ctx: ActionContext, session: AsyncSession, params: SendMoney) -> tuple[str, str]:
    """The name and the number that are meant; the number alone where no name goes with it."""
    name = (params.recipient or "").strip()
    if params.phone_number is not None:
        return name or await _name_of(ctx, session, params.phone_number), params.phone_number
    if not name:
        raise InvalidSlot("recipient", WHO)
    if sum(map(str.isdecimal, name)) >= 9:
        return await _name_of(ctx, session, name), name
    known = await people.find_contact(session, ctx.person.id, people.one_line(name))
    if known is None or known.phone is None:
        raise InvalidSlot("phone_number", WHOSE_NUMBER.filled(name=visible(name)))
    return known.name, known.phone


async def _name_of(ctx: ActionContext, session: AsyncSession, number: str) -> str:
    """What the person calls whoever has this number; empty for a number that they have not saved."""
    meant = mpesa(number)
    known: Sequence[Contact] = await people.contacts(session, ctx.person.id)
    return next((one.name for one in known if one.phone and one.phone.lstrip("+") == meant), "")


async def _wallet_of(connection: Any, number: str) -> Any:
    """The wallet and the private chat of whoever writes from this number; None for nobody. Raises UserError where that
    number changed hands."""
    row = await connection.fetchrow(WALLET_OF, [f"whatsapp:+{number}", f"+{number}", number])
    if row is not None and row["changing"]:
        raise UserError(HANDS)
    return row


async def _prompt(
    ctx: ActionContext, connection: Any, owner: UUID, head: Saying, payment: Payment, nameless: Saying
) -> Shown:
    """The payment in words, all of it made from what is done; raises UserError for what would be refused anyway."""
    amount, fee = Money(payment.cents, MPESA), Money(payment.fee_cents, MPESA)
    _allowed(ctx, amount)
    have = (await balances.balance(connection, payment.source(str(owner)))).available
    if amount + fee > have:
        raise UserError(TOO_LITTLE.filled(amount=have.said(), total=(amount + fee).said()))
    name = Saying(payment.name, payment.name) if payment.name else nameless
    where = (TO_MPESA if payment.wallet_of is None else TO_WALLET).filled(name=name, number=f"+{payment.number}")
    if payment.account is not None:
        where = FROM_OWN.filled(where=where)
    text = ctx.say(
        PROMPT, head=head, payee=where, amount=amount.said(),
        words=Saying(in_words(amount.minor, "en"), in_words(amount.minor, "sw")), fee=fee.said(),
        total=(amount + fee).said(), left=(have - amount - fee).said(),
    )  # fmt: skip
    if len(text) > PROMPT_CHARS_MAX:
        raise InvalidSlot("recipient", LONG_NAME)
    return Shown(text, payment)


async def _own_account(connection: Any, owner: UUID, amount: Money) -> str | None:
    """The payer's own account with IntaSend where as much came into it through us; else their wallet here pays."""
    account = await own_accounts.account_of(connection, owner)
    if account is None or (await balances.balance(connection, own(str(owner), account, MPESA))).available < amount:
        return None
    return account


async def _fee(connection: Any, kind: Kind, amount: Money, account: str | None) -> Money:
    """What it costs; nothing where it is paid from an account that is not ours."""
    return Money(0, amount.currency) if account is not None else await fee_for(connection, kind, amount)


def _allowed(ctx: ActionContext, amount: Money) -> None:
    """Raises UserError while all payments are stopped, and LimitReached for more than is paid at a time."""
    if ctx.settings.payments_paused:
        raise UserError(PAUSED)
    at_most = Money.of(ctx.settings.payment_max, MPESA)
    if amount > at_most:
        raise LimitReached(TOO_LARGE.filled(at_most=at_most.said()))


async def _pay(ctx: ActionContext, payment: Payment, name: str) -> ActionResult:
    """Do what was confirmed, once for each confirmation, in one transaction that looks at everything again."""
    amount, fee = Money(payment.cents, MPESA), Money(payment.fee_cents, MPESA)
    _allowed(ctx, amount)
    # A day is ours, not the person's: whoever travels has no second one.
    midnight = datetime.combine(
        ctx.now.astimezone(zone := ZoneInfo(ctx.settings.default_timezone)).date(), time(), zone
    )
    allowance = Allowance(Money.of(ctx.settings.payment_day_max, MPESA), midnight)
    key = f"confirmed:{ctx.confirmed}"
    reference = ""
    try:
        async with ctx.db.transaction() as session:
            owner = await people.hold(session, ctx.person.id)
            await _unless_paused(session, owner)
            connection = await driver(session)
            if ctx.confirmed is None or ctx.sender is None:
                raise UserError(UNCONFIRMED)
            # What moves below and the confirmation's end are one transaction: neither is ever without the other.
            if not await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, name, owner, ctx.now):
                raise UserError(UNCONFIRMED)
            if await renumber.is_frozen(connection, ctx.sender):
                raise renumber.Frozen(renumber.REFUSAL)
            if payment.account not in (None, await own_accounts.account_of(connection, owner)):
                raise UserError(CHANGED)
            to_wallet = name == "send_money" and payment.account is None
            theirs = await _wallet_of(connection, payment.number) if to_wallet else None
            if (theirs["person_id"] if theirs is not None else None) != payment.wallet_of:
                raise UserError(CHANGED)
            if theirs is not None:
                await transfer(connection, key, str(owner), str(theirs["person_id"]), amount, fee, allowance=allowance)
                await _tell(ctx, connection, theirs, amount, key)
            else:
                payee = Payee(payment.number, payment.name)
                asked = PayOut(
                    key, str(owner), owner, ctx.conversation_id, amount, payee, fee, allowance, payment.account
                )
                reference = (await pay_out(connection, asked)).reference
            left = (await balances.balance(connection, payment.source(str(owner)))).available
    except InsufficientFunds as problem:
        async with ctx.db.hot() as connection:
            have = (await balances.balance(connection, payment.source(str(owner)))).available
        raise UserError(TOO_LITTLE.filled(amount=have.said(), total=(amount + fee).said())) from problem
    shown = f"{payment.name} +{payment.number}".strip()
    sandbox = SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""
    told = (
        ctx.say(SENT, amount=amount.said(), payee=shown, left=left.said())
        if payment.wallet_of is not None
        else ctx.say(ON_ITS_WAY, amount=amount.said(), payee=shown, reference=reference)
    )
    return ActionResult(told + sandbox, {"amount": str(amount.decimal), "currency": MPESA, "reference": reference})


async def _set_pause(ctx: ActionContext, *, paused: bool) -> None:
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        await session.execute(
            update(Person).where(Person.id == owner).values(payments_paused_at=ctx.now if paused else None)
        )


async def _unless_paused(session: AsyncSession, owner: UUID) -> None:
    """Raises UserError for somebody who has stopped their payments."""
    if await session.scalar(select(Person.payments_paused_at).where(Person.id == owner)) is not None:
        raise UserError(YOUR_PAUSE)


async def _tell(ctx: ActionContext, connection: Any, theirs: Any, amount: Money, key: str) -> None:
    """Tell whoever got it, where they write to us."""
    if theirs["conversation_id"] is None:
        return
    name = visible(ctx.person.name or "")[:NAME_SHOWN_MAX]
    says = GOT.filled(amount=amount.said(), name=Saying(name, name) if name else SOMEBODY)
    await tell(connection, theirs["conversation_id"], theirs["language"], says, KIND, f"got:{key}")


def in_shillings(ctx: ActionContext, written: str, currency: str) -> Money:
    """The amount that is meant, in whole shillings; InvalidSlot where that is not certain."""
    if currency != MPESA:
        raise InvalidSlot("amount", NOT_KES)
    try:
        return Money.parse(written, MPESA, language=ctx.person.language, zone=ctx.zone.key)
    except BadAmount as problem:
        raise InvalidSlot("amount", problem.says) from problem


def mpesa(number: str) -> str:
    """A phone number as M-Pesa writes it; InvalidSlot for one that it does not have."""
    try:
        return mpesa_account(number)
    except UserError as problem:
        raise InvalidSlot("phone_number", problem.says) from problem


def own_number(sender: Address | None) -> str | None:
    """The phone number that somebody writes from, where the channel tells it."""
    if sender is None or sender.channel is not ChannelName.WHATSAPP:
        return None
    number = sender.person.removeprefix("whatsapp:").removeprefix("+")
    return f"+{number}" if number.isascii() and number.isdecimal() else None


def _in_private(ctx: ActionContext) -> None:
    if ctx.sender is not None and not ctx.sender.is_private:
        raise UserError(PRIVATE)


async def _wallets(ctx: ActionContext) -> list[Balance]:
    """What the person has, by currency; in ours, nothing is told as such."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        ours = await balances.wallets_of(connection, str(owner), ctx.settings.default_currency)
        return [*ours, *await balances.apart_of(connection, str(owner))]


async def _lines(ctx: ActionContext, held: Sequence[Balance], limit: int) -> list[StatementLine]:
    async with ctx.db.hot() as connection:
        # What a dispute froze is a line of the wallet itself.
        mine = [one for one in held if not one.account.key.startswith("disputed:")]
        lines = [
            line for one in mine for line in await balances.statement(connection, one.account, limit=limit)
        ]  # fmt: skip
    return sorted(lines, key=lambda line: (line.at, line.entry_id), reverse=True)[:limit]


def _have(ctx: ActionContext, held: Sequence[Balance]) -> str:
    return "\n".join(
        ctx.say(OWN, amount=one.available.said())
        if one.account.key.startswith("own:")
        else ctx.say(FROZEN, amount=one.posted.said())
        if one.account.key.startswith("disputed:")
        else ctx.say(HELD, amount=one.available.said(), held=one.pending_out.said())
        if one.pending_out.minor
        else ctx.say(BALANCE, amount=one.available.said())
        for one in held
    )


def _shown(ctx: ActionContext, lines: Sequence[StatementLine]) -> Part:
    if not lines:
        return Text(text=ctx.say(NO_MOVES))
    language = ctx.person.language
    rows = tuple(
        (
            moment(line.at.astimezone(ctx.zone), ctx.now.astimezone(ctx.zone).year).to(language),
            ctx.say(KINDS[line.kind]),
            ("+" if line.amount.minor > 0 else "−") + (line.amount if line.amount.minor > 0 else -line.amount).shown(),
            line.balance_after.shown(),
        )
        for line in lines
    )
    return Table(title=ctx.say(MOVES), columns=tuple(ctx.say(column) for column in COLUMNS), rows=rows)


def _as_data(held: Sequence[Balance], lines: Sequence[StatementLine] = ()) -> dict[str, JsonValue]:
    return {
        "balances": [
            {"currency": one.account.currency, "available": str(one.available.decimal),
             "held": str(one.pending_out.decimal), "of": one.account.key.partition(":")[0]}
            for one in held
        ],
        "transactions": [
            {"at": line.at.isoformat(), "kind": line.kind.value, "amount": str(line.amount.decimal),
             "currency": line.amount.currency}
            for line in lines
        ],
    }  # fmt: skip
