"""Disputing a payment: what the person paid, and says was not right, is put before the people who run this.

By their word alone nothing is frozen: staff read what they say and decide. Theirs is what they paid from their wallet
here into another one, and what was paid on somebody's invoice from a number that they write from. Of a payment that is
not theirs they are told the same as of one that there is not.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from connectors.wallet.amounts import AMOUNT_CHARS_MAX, in_private
from connectors.wallet.spending import visible
from core import audit, confirm, people, renumber
from core.actions import ActionContext, ActionResult, Effect, Params, Shown, action, ask
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Saying, moment
from ledger import dispute_store, invoices
from ledger.instruction_store import newest_on, of_person
from ledger.instructions import DONE, Instruction, Method, State
from ledger.invoices import NUMBER
from ledger.money import BadAmount, Money

WHICH_CHARS_MAX = 60
WORDS_SHOWN_MAX = 200
PAYMENTS_MAX = 50
"""Of one invoice, when what the person paid on it is looked for."""
NEWEST: Final = 2**63 - 1

WHICH = Saying(
    "Which payment? Tell me whom you paid and how much, or the number of the invoice, such as INV-2026-00003.",
    "Malipo gani? Niambie ulimlipa nani na kiasi gani, au namba ya ankara, kama INV-2026-00003.",
)
WHY = Saying(
    "What is wrong with that payment? Say it in a sentence or two; whoever decides reads it.",
    "Kuna tatizo gani na malipo hayo? Eleza kwa sentensi moja au mbili; atakayeamua atayasoma.",
)
HOW_MUCH = Saying("How much was it?", "Ilikuwa kiasi gani?")
LONG = Saying(
    "That is long. Say what is wrong in at most {most} characters; more can be told later.",
    "Hayo ni marefu. Eleza tatizo kwa herufi {most} tu; mengine unaweza kuyasema baadaye.",
)
UNKNOWN = Saying(
    "I find no such payment of yours. I can look for what you paid from your wallet here, and for an invoice that was"
    " paid with M-Pesa from the number you write from. Which payment is it?",
    "Sioni malipo yako kama hayo. Naweza kutafuta ulicholipa kutoka pochi yako hapa, na ankara iliyolipwa kwa M-Pesa"
    " kutoka namba unayoandikia. Ni malipo gani?",
)
TO_MPESA = Saying(
    "The {amount} went to M-Pesa, out of here, so nothing of it can be frozen or given back here. Ask whoever got it.",
    "{amount} zilienda M-Pesa, nje ya hapa, kwa hiyo haziwezi kushikwa wala kurudishwa hapa. Muulize aliyezipokea.",
)
IS_YOURS = Saying(
    "You sent invoice {number} yourself: what was paid on it came to you. “refund invoice {number}” gives it back.",
    "Wewe ndiye uliyetuma ankara {number}: malipo yake yalikuja kwako. “rudisha pesa za ankara {number}” inayarudisha.",
)
UNCONFIRMED = Saying(
    "That was not confirmed, so no dispute was opened.", "Hilo halikuthibitishwa, kwa hiyo sikufungua mgogoro."
)
PROMPT = Saying(
    "Please check this dispute:\nPayment: {payment}\nAmount: {amount}\nYou say: “{words}”\n"
    "People here read that and decide. Until then nothing is frozen or given back.",
    "Tafadhali hakiki mgogoro huu:\nMalipo: {payment}\nKiasi: {amount}\nUnasema: “{words}”\n"
    "Watu wa hapa watasoma na kuamua. Hadi hapo hakuna kinachoshikwa wala kurudishwa.",
)
TO = Saying("to {name} {number}, {at}", "kwa {name} {number}, {at}")
ON_INVOICE = Saying("invoice {number} from {issuer}", "ankara {number} kutoka kwa {issuer}")
NOBODY = Saying("a number that is not among your contacts,", "namba isiyo kwenye mawasiliano yako,")
SOMEBODY = Saying("somebody", "mtu")
OPENED = Saying(
    "Your dispute {reference} over {amount} is open. People here look at it; I write to you here when it changes.",
    "Mgogoro wako {reference} wa {amount} umefunguliwa. Watu wa hapa wanauangalia; nitakuandikia hapa mambo"
    " yakibadilika.",
)
NUMBERS = """
SELECT regexp_replace(i.provider_id, '^(whatsapp:)?[+]?', '') AS number
FROM identity i JOIN person p ON p.id = i.person_id
WHERE i.channel = 'whatsapp' AND $1 IN (p.id, p.merged_into)
  AND NOT EXISTS (SELECT FROM renumbering r WHERE (r.channel, r.account, r.provider_id)
                  = (i.channel, i.account, i.provider_id) AND r.ended_at IS NULL)
"""


class OpenDispute(Params):
    """Which payment, and what is wrong with it."""

    payment: str | None = Field(
        default=None, max_length=WHICH_CHARS_MAX,
        description="Whom the person paid, or the number of the invoice they paid, such as INV-2026-00003",
        json_schema_extra=ask(WHICH.en, WHICH.sw),
    )  # fmt: skip
    amount: str | None = Field(
        default=None, max_length=AMOUNT_CHARS_MAX, coerce_numbers_to_str=True,
        description="How much was paid, where the person says it", json_schema_extra=ask(HOW_MUCH.en, HOW_MUCH.sw),
    )  # fmt: skip
    reason: str | None = Field(
        default=None, max_length=4000, description="What is wrong with it, in the person's own words",
        json_schema_extra=ask(WHY.en, WHY.sw),
    )  # fmt: skip


class Disputed(Params):
    """What is shown, frozen and done: a payment on an invoice, or an entry of the books, and what is said of it."""

    payment: str | None
    entry: int | None
    words: str = Field(min_length=1, max_length=dispute_store.WORDS_CHARS_MAX)


async def show_dispute(ctx: ActionContext, params: OpenDispute) -> Shown:
    """Which payment would be disputed; raises InvalidSlot and UserError where none can be."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        which = people.one_line(params.payment or "")
        amount = _amount(ctx, params.amount)
        if (number := NUMBER.search(which.upper())) is not None:
            of = await _paid_on(connection, owner, number[0], amount)
            payment, entry, what = of.reference, None, await _invoice(connection, of)
        else:
            known = {
                one.phone.lstrip("+"): one.name for one in await people.contacts(session, ctx.person.id) if one.phone
            }
            sent = await _sent(connection, owner, which, amount, known)
            payment, entry = None, sent.entry_id
            name = visible(known.get(sent.number, ""))
            what = TO.filled(
                name=Saying(name, name) if name else NOBODY, number=f"+{sent.number}" if sent.number else "",
                at=moment(sent.at.astimezone(ctx.zone), ctx.now.astimezone(ctx.zone).year),
            )  # fmt: skip
        _, much = await dispute_store.disputable(connection, owner, payment, entry)
    words = visible(people.one_line(params.reason or ""))
    if not words:
        raise InvalidSlot("reason", WHY)
    if len(words) > WORDS_SHOWN_MAX:
        raise InvalidSlot("reason", LONG.filled(most=WORDS_SHOWN_MAX))
    text = ctx.say(PROMPT, payment=what, amount=much.said(), words=words)
    return Shown(text, Disputed(payment=payment, entry=entry, words=words))


@action(
    effect=Effect.WRITE, shows=show_dispute, asks=OpenDispute,
    examples=("dispute the payment of INV-2026-00003", "I never got what I paid for, dispute the 2,500 to Achieng",
              "nataka kulalamika kuhusu malipo ya INV-2026-00003"),
)  # fmt: skip
async def open_dispute(ctx: ActionContext, params: Disputed) -> ActionResult:
    """Put a payment of the person's that was not right before the people who run this, who decide about it."""
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        connection = await driver(session)
        if ctx.confirmed is None or ctx.sender is None:
            raise UserError(UNCONFIRMED)
        if not await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, "open_dispute", owner, ctx.now):
            raise UserError(UNCONFIRMED)
        if await renumber.is_frozen(connection, ctx.sender):
            raise renumber.Frozen(ctx.offered)
        asked = dispute_store.Complaint(
            f"confirmed:{ctx.confirmed}", owner, ctx.conversation_id, params.words, params.payment, params.entry
        )
        made = await dispute_store.complain(connection, asked)
        await audit.record(session, f"person:{owner}", "dispute.opened", f"dispute:{made.reference}")
    told = ctx.say(OPENED, reference=made.reference, amount=made.amount.said())
    return ActionResult(told, {"dispute": made.reference, "amount": str(made.amount.decimal)})


def _amount(ctx: ActionContext, written: str | None) -> Money | None:
    if written is None:
        return None
    try:
        return Money.parse(written, ctx.settings.default_currency, language=ctx.person.language, zone=ctx.zone.key)
    except BadAmount as problem:
        raise InvalidSlot("amount", problem.says) from problem


async def _paid_on(connection: Any, owner: UUID, number: str, amount: Money | None) -> Instruction:
    """What came on this invoice from a number of the person's: that of this amount, else the newest.

    Raises InvalidSlot, and UserError where the invoice is theirs.
    """
    invoice = await invoices.by_number(connection, number)
    if invoice is not None and invoice.person_id == owner:
        raise UserError(IS_YOURS.filled(number=number))
    numbers = {row["number"] for row in await connection.fetch(NUMBERS, owner)}
    paid = [] if invoice is None else await newest_on(connection, invoice.id, PAYMENTS_MAX)
    theirs = [of for of, _ in paid if of.state in DONE and of.payee is not None and of.payee.account in numbers]
    if not theirs:
        raise InvalidSlot("payment", UNKNOWN)
    return next((of for of in theirs if of.amount == amount), theirs[0])


async def _invoice(connection: Any, of: Instruction) -> Saying:
    assert of.pays is not None  # noqa: S101  it was found by its invoice
    invoice = await invoices.find(connection, of.pays)
    issuer = visible(invoice.words.issuer) if invoice.words is not None else SOMEBODY
    return ON_INVOICE.filled(number=invoice.number, issuer=issuer)


async def _sent(
    connection: Any, owner: UUID, which: str, amount: Money | None, known: dict[str, str]
) -> dispute_store.Sent:
    """What the person paid to whoever is called so, or has that number, the newest; raises InvalidSlot, and UserError
    where it left for M-Pesa."""
    if not which and amount is None:
        raise InvalidSlot("payment", WHICH)
    for sent in await dispute_store.sent_by(connection, owner):
        if amount in (None, sent.amount) and _is_meant(which, sent.number, known.get(sent.number, "")):
            return sent
    left: Sequence[Instruction] = await of_person(connection, owner, NEWEST, PAYMENTS_MAX)
    for of in left:
        if (
            of.method is Method.PAYOUT and of.state is not State.FAILED and of.payee is not None
            and amount in (None, of.amount) and _is_meant(which, of.payee.account, of.payee.name)
        ):  # fmt: skip
            raise UserError(TO_MPESA.filled(amount=of.amount.said()))
    raise InvalidSlot("payment", UNKNOWN)


def _is_meant(which: str, number: str, name: str) -> bool:
    """Whether whoever has this number, and is called so, is whom somebody names; nobody in particular is everybody."""
    digits = "".join(filter(str.isdecimal, which))
    if len(digits) >= 9:
        return bool(number) and digits[-9:] == number[-9:]
    wanted, called = people.name_key(which), people.name_key(name)
    return not wanted or called == wanted or called.startswith(f"{wanted} ")
