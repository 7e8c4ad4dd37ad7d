"""Giving back what was paid on an invoice of the person's, to whoever paid it.

What goes back is shown first, by code, and done by the code that is shown with it: all that came on that invoice and
was neither given back nor disputed. Limits, the stop and the balance are looked at again where it is done.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select

from connectors.wallet.amounts import SANDBOX, in_private
from connectors.wallet.limits import allowed, needs_pin, unless_unproven
from core import confirm, people, renumber
from core.actions import ActionContext, ActionResult, Effect, Params, Shown, action, ask
from core.amount_words import in_words
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Saying
from ledger import balances, invoices
from ledger.accounts import wallet
from ledger.errors import InsufficientFunds
from ledger.instruction_store import MPESA, refund, still
from ledger.invoices import NUMBER, Invoice
from ledger.money import Money

WHICH_CHARS_MAX = 60
LOOKED_AT_MAX = 200
"""Of the newest invoices, when one is looked for by who paid it."""
PARTS_MAX = 20
"""Payments of one invoice that are given back at a time."""
NEWEST: Final = 2**63 - 1

WHICH = Saying(
    "Which invoice? Tell me its number, such as INV-2026-00003.",
    "Ankara gani? Niambie namba yake, kama INV-2026-00003.",
)
UNKNOWN = Saying(
    "I know no such invoice of yours. Tell me its number, such as INV-2026-00003.",
    "Sina ankara yako kama hiyo. Niambie namba yake, kama INV-2026-00003.",
)
NOTHING = Saying(
    "Nothing that came on invoice {number} can be given back: nobody paid, or it went back already, or is disputed.",
    "Hakuna cha kurudisha kwenye ankara {number}: haijalipwa, au zilisharudi, au zinabishaniwa.",
)
NOT_KES = Saying(
    "I give back Kenyan shillings only here. For {currency}, write to whoever runs this service.",
    "Hapa narudisha shilingi za Kenya tu. Kwa {currency}, waandikie wanaoendesha huduma hii.",
)
TOO_LITTLE = Saying(
    "You have {amount}, which is not enough to give {total} back.", "Una {amount}, haitoshi kurudisha {total}."
)
CHANGED = Saying(
    "Something about that invoice has changed since I showed it, so nothing was given back. Ask for it again.",
    "Kuna jambo kuhusu ankara hiyo limebadilika tangu nilipoonyesha, kwa hiyo sikurudisha chochote. Omba tena.",
)
UNCONFIRMED = Saying(
    "That was not confirmed, so nothing was given back.", "Hilo halikuthibitishwa, kwa hiyo sikurudisha chochote."
)
PROMPT = Saying(
    "Please check this refund:\nInvoice: {number}\nBack to whoever paid it: {amount} ({words})\nFee: {fee}",
    "Tafadhali hakiki marejesho haya:\nAnkara: {number}\nKurudi kwa aliyelipa: {amount} ({words})\nAda: {fee}",
)
BEGUN = Saying(
    "{amount} of invoice {number} are on their way back; I write to you here when they have arrived.",
    "{amount} za ankara {number} ziko njiani kurudi; nitakuandikia hapa zikifika.",
)
PAID_ON = """
SELECT id, reference, currency FROM payment_instruction
WHERE pays = $1 AND state IN ('complete', 'late') ORDER BY id LIMIT $2
"""


class RefundInvoice(Params):
    """Which invoice."""

    invoice: str | None = Field(
        default=None, max_length=WHICH_CHARS_MAX, description="Its number, such as INV-2026-00003, or who paid it",
        json_schema_extra=ask(WHICH.en, WHICH.sw),
    )  # fmt: skip


class Part(BaseModel):
    """What of one payment goes back: cents of KES."""

    reference: str
    cents: int = Field(gt=0)


class Refunding(Params):
    """What is shown, frozen and done."""

    number: str
    parts: list[Part] = Field(min_length=1, max_length=PARTS_MAX)


async def show_refund(ctx: ActionContext, params: RefundInvoice) -> Shown:
    """What would go back of which invoice; raises InvalidSlot and UserError where that is not certain."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        invoice = await _invoice(connection, owner, (params.invoice or "").strip())
        parts = []
        for row in await connection.fetch(PAID_ON, invoice.id, PARTS_MAX):
            if row["currency"] != MPESA:
                raise UserError(NOT_KES.filled(currency=row["currency"]))
            if left := await still(connection, row["id"]):
                parts.append(Part(reference=row["reference"], cents=left))
        if not parts:
            raise UserError(NOTHING.filled(number=invoice.number))
        total = _total(parts)
        await allowed(ctx, session, owner, total)
    words = Saying(in_words(total.minor, "en"), in_words(total.minor, "sw"))
    fee = Money(0, MPESA).said()
    text = ctx.say(PROMPT, number=invoice.number, amount=total.said(), words=words, fee=fee)
    return Shown(text, Refunding(number=invoice.number, parts=parts), by_pin=needs_pin(ctx, total))


@action(
    effect=Effect.SPEND, counts=("calls", "paid"), shows=show_refund, asks=RefundInvoice,
    examples=("refund invoice INV-2026-00003", "refund the invoice for Achieng", "rudisha pesa za ankara ya Achieng"),
)  # fmt: skip
async def refund_invoice(ctx: ActionContext, params: Refunding) -> ActionResult:
    """Give back what was paid on an invoice, to whoever paid it."""
    total = _total(params.parts)
    owner = ctx.person.id
    try:
        async with ctx.db.transaction() as session:
            owner = await people.hold(session, ctx.person.id)
            await allowed(ctx, session, owner, total)
            connection = await driver(session)
            if ctx.confirmed is None or ctx.sender is None:
                raise UserError(UNCONFIRMED)
            used = await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, "refund_invoice", owner, ctx.now)
            if not used:
                raise UserError(UNCONFIRMED)
            await unless_unproven(ctx, connection, total)
            if await renumber.is_frozen(connection, ctx.sender):
                raise renumber.Frozen(ctx.offered)
            invoice = await invoices.by_number(connection, params.number)
            if invoice is None or invoice.person_id != owner:
                raise UserError(CHANGED)
            paid = {row["reference"] for row in await connection.fetch(PAID_ON, invoice.id, PARTS_MAX)}
            for part in params.parts:
                if part.reference not in paid:
                    raise UserError(CHANGED)
                key = f"confirmed:{ctx.confirmed}:{part.reference}"
                amount = Money(part.cents, MPESA)
                await refund(connection, key, part.reference, amount, f"person:{owner}", params.number)
    except InsufficientFunds as problem:
        async with ctx.db.hot() as connection:
            have = (await balances.balance(connection, wallet(str(owner), MPESA))).available
        raise UserError(TOO_LITTLE.filled(amount=have.said(), total=total.said())) from problem
    told = ctx.say(BEGUN, amount=total.said(), number=params.number)
    sandbox = SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""
    return ActionResult(told + sandbox, {"amount": str(total.decimal), "currency": MPESA, "invoice": params.number})


async def _invoice(connection: Any, owner: UUID, which: str) -> Invoice:
    """The person's invoice with this number, or that whoever has this name is to pay; raises InvalidSlot."""
    if not which:
        raise InvalidSlot("invoice", WHICH)
    if NUMBER.fullmatch(which.upper()):
        found = await invoices.by_number(connection, which.upper())
        if found is None or found.person_id != owner:
            raise InvalidSlot("invoice", UNKNOWN)
        return found
    named = [
        one
        for one in await invoices.of_person(connection, owner, NEWEST, LOOKED_AT_MAX)
        if one.words is not None and one.paid.minor and people.one_line(one.words.payer).casefold() == which.casefold()
    ]
    if not named:
        raise InvalidSlot("invoice", UNKNOWN)
    if len(named) > 1:
        raise InvalidSlot("invoice", WHICH)
    return named[0]


def _total(parts: Sequence[Part]) -> Money:
    return Money(sum(part.cents for part in parts), MPESA)
