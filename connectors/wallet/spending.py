"""Sending money and withdrawing it.

What is sent is shown first, by code and from exactly what is then done: payee and number, amount in digits and words,
fee, total, what is left. It is done by the code that is shown with it (core/confirm.py). Whose wallet it is, whether
their number is still theirs, the stop for all, limits and balance are looked at again where it is done, in the
transaction that moves the money or keeps it back.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.wallet.amounts import (
    PHONE_CHARS_MAX,
    SANDBOX,
    WHERE_TO,
    WHO,
    Amount,
    SendMoney,
    in_private,
    in_shillings,
    mpesa,
    own_number,
)
from connectors.wallet.limits import allowed, is_small, needs_pin, unless_unproven
from core import confirm, names, people, renumber
from core.actions import ActionContext, ActionResult, Effect, Params, Shown, action, ask
from core.amount_words import in_words
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Saying
from core.models import Contact
from core.notices import tell
from ledger import balances, own_accounts
from ledger.accounts import own, wallet
from ledger.errors import InsufficientFunds
from ledger.fees import fee_for
from ledger.holds import Allowance
from ledger.instruction_store import MPESA, PayOut, pay_out
from ledger.instructions import Payee
from ledger.journal import Account, Kind
from ledger.money import Money
from ledger.spending_limits import midnight
from ledger.transfers import transfer

WHOSE_NUMBER = Saying(
    "I know no number of “{name}”. Which M-Pesa number should it go to?",
    "Sina namba ya “{name}”. Zitumwe kwa namba gani ya M-Pesa?",
)
SEVERAL = Saying(
    "I pay one person at a time, and you named {names}. Who of them gets {amount}? If each of them does, say:"
    " send {amount} each to {names}.",
    "Ninalipa mtu mmoja kwa wakati, na umetaja {names}. Nani kati yao apate {amount}? Kama kila mmoja wao,"
    " sema: tuma {amount} kila mmoja kwa {names}.",
)
SELF = Saying(
    "That is your own number, so there is nothing to send. You can withdraw money instead.",
    "Hiyo ni namba yako mwenyewe, kwa hiyo hakuna cha kutuma. Unaweza kutoa pesa badala yake.",
)
HANDS = Saying(
    "WhatsApp says that their number has changed hands, so I do not pay it until that is settled.",
    "WhatsApp inasema namba yao imebadilisha mwenyewe, kwa hiyo siilipi hadi hilo litatuliwe.",
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


class Withdraw(Amount):
    """How much, and to which phone."""

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


async def show_payment(ctx: ActionContext, params: SendMoney) -> Shown:
    """Whom it would go to, and what of it; raises InvalidSlot and UserError where that is not certain."""
    in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    async with ctx.db.transaction() as session:
        named, written = await payee_of(ctx, session, params)
        number = mpesa(written)
        if number == (own_number(ctx.sender) or "").removeprefix("+"):
            raise UserError(SELF)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        theirs = await wallet_of(await driver(session), number)
        if theirs is not None and theirs["person_id"] == owner:
            raise UserError(SELF)
        account = await _own_account(await driver(session), owner, amount)
        theirs = theirs if account is None else None  # From there it is sent by M-Pesa, to anybody.
        kind = Kind.WITHDRAWAL if theirs is None else Kind.TRANSFER
        fee = await fee_of(await driver(session), kind, amount, account)
        payment = Payment(
            cents=amount.minor, fee_cents=fee.minor, name=visible(named), number=number,
            wallet_of=theirs["person_id"] if theirs is not None else None, account=account,
        )  # fmt: skip
        return await _prompt(ctx, session, owner, SEND, payment, UNKNOWN)


async def show_withdrawal(ctx: ActionContext, params: Withdraw) -> Shown:
    """To which phone it would go, and what of it."""
    in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    written = params.phone_number or own_number(ctx.sender)
    if written is None:
        raise InvalidSlot("phone_number", WHERE_TO)
    number = mpesa(written)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        account = await _own_account(connection, owner, amount)
        fee = await fee_of(connection, Kind.WITHDRAWAL, amount, account)
        payment = Payment(
            cents=amount.minor, fee_cents=fee.minor, name="", number=number, wallet_of=None, account=account
        )
        own = payment.number == (own_number(ctx.sender) or "").removeprefix("+")
        return await _prompt(ctx, session, owner, TAKE_OUT, payment, YOURSELF if own else UNKNOWN)


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


def visible(name: str) -> str:
    """A name in which nothing hides: signs that are not seen, or turn the line about, are written as their numbers."""
    return "".join(
        sign if unicodedata.category(sign)[0] not in "CZ" or sign == " " else f"[U+{ord(sign):04X}]" for sign in name
    )


async def payee_of(ctx: ActionContext, session: AsyncSession, params: SendMoney) -> tuple[str, str]:
    """The name and the number that are meant; the number alone where no name goes with it."""
    name = (params.recipient or "").strip()
    if len(named := names.several(name)) > 1:
        same = await people.find_contact(session, ctx.person.id, people.one_line(name))
        if same is None or same.name.casefold() != name.casefold():
            raise InvalidSlot("recipient", several(params.amount, named))
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


def several(amount: str, named: Sequence[str]) -> Saying:
    """Asks who of several is meant: none of them is left out without a word."""
    shown = [visible(name) for name in named]
    all_of_them = Saying(*(f"{', '.join(shown[:-1])} {word} {shown[-1]}" for word in ("and", "na")))
    return SEVERAL.filled(names=all_of_them, amount=amount)


async def _name_of(ctx: ActionContext, session: AsyncSession, number: str) -> str:
    """What the person calls whoever has this number; empty for a number that they have not saved."""
    meant = mpesa(number)
    known: Sequence[Contact] = await people.contacts(session, ctx.person.id)
    return next((one.name for one in known if one.phone and one.phone.lstrip("+") == meant), "")


async def wallet_of(connection: Any, number: str) -> Any:
    """The wallet and the private chat of whoever writes from this number; None for nobody. Raises UserError where that
    number changed hands."""
    row = await connection.fetchrow(WALLET_OF, [f"whatsapp:+{number}", f"+{number}", number])
    if row is not None and row["changing"]:
        raise UserError(HANDS)
    return row


async def _prompt(
    ctx: ActionContext, session: AsyncSession, owner: UUID, head: Saying, payment: Payment, nameless: Saying
) -> Shown:
    """The payment in words, all of it made from what is done; raises UserError for what would be refused anyway."""
    amount, fee = Money(payment.cents, MPESA), Money(payment.fee_cents, MPESA)
    await allowed(ctx, session, owner, amount)
    have = (await balances.balance(await driver(session), payment.source(str(owner)))).available
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
    return Shown(text, payment, by_pin=needs_pin(ctx, amount), by_button=is_small(ctx, amount))


async def _own_account(connection: Any, owner: UUID, amount: Money) -> str | None:
    """The payer's own account with IntaSend where as much came into it through us; else their wallet here pays."""
    account = await own_accounts.account_of(connection, owner)
    if account is None or (await balances.balance(connection, own(str(owner), account, MPESA))).available < amount:
        return None
    return account


async def fee_of(connection: Any, kind: Kind, amount: Money, account: str | None) -> Money:
    """What it costs; nothing where it is paid from an account that is not ours."""
    return Money(0, amount.currency) if account is not None else await fee_for(connection, kind, amount)


async def _pay(ctx: ActionContext, payment: Payment, name: str) -> ActionResult:
    """Do what was confirmed, once for each confirmation, in one transaction that looks at everything again."""
    amount, fee = Money(payment.cents, MPESA), Money(payment.fee_cents, MPESA)
    key = f"confirmed:{ctx.confirmed}"
    reference = ""
    try:
        async with ctx.db.transaction() as session:
            owner = await people.hold(session, ctx.person.id)
            limits = await allowed(ctx, session, owner, amount)
            allowance = Allowance(limits.day, midnight(ctx.now, ctx.settings))
            connection = await driver(session)
            if ctx.confirmed is None or ctx.sender is None:
                raise UserError(UNCONFIRMED)
            # What moves below and the confirmation's end are one transaction: neither is ever without the other.
            if not await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, name, owner, ctx.now):
                raise UserError(UNCONFIRMED)
            await unless_unproven(ctx, connection, amount)
            if await renumber.is_frozen(connection, ctx.sender):
                raise renumber.Frozen(ctx.offered)
            if payment.account not in (None, await own_accounts.account_of(connection, owner)):
                raise UserError(CHANGED)
            to_wallet = name == "send_money" and payment.account is None
            theirs = await wallet_of(connection, payment.number) if to_wallet else None
            if (theirs["person_id"] if theirs is not None else None) != payment.wallet_of:
                raise UserError(CHANGED)
            if theirs is not None:
                await transfer(connection, key, str(owner), str(theirs["person_id"]), amount, fee, allowance=allowance)
                await tell_payee(ctx, connection, theirs, amount, key)
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


async def tell_payee(ctx: ActionContext, connection: Any, theirs: Any, amount: Money, key: str) -> None:
    """Tell whoever got it, where they write to us."""
    if theirs["conversation_id"] is None:
        return
    name = visible(ctx.person.name or "")[:NAME_SHOWN_MAX]
    says = GOT.filled(amount=amount.said(), name=Saying(name, name) if name else SOMEBODY)
    await tell(connection, theirs["conversation_id"], theirs["language"], says, KIND, f"got:{key}")
