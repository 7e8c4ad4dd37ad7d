"""The person's money here: what they have, what came and went, and adding some from M-Pesa."""

from collections.abc import Sequence
from typing import Final

from pydantic import Field, JsonValue
from sqlalchemy import select

from core import people
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Saying, moment
from core.messages import Address, ChannelName, Part, Table, Text
from ledger import balances
from ledger.balances import Balance, StatementLine
from ledger.instruction_store import MPESA, Collect, collect, mpesa_account
from ledger.instructions import Method, Payee
from ledger.journal import Kind
from ledger.money import BadAmount, Money

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
SANDBOX = " · sandbox"
WHICH_PHONE = Saying("Which M-Pesa number should I ask?", "Niombe namba gani ya M-Pesa?")
NOT_KES = Saying(
    "M-Pesa moves Kenyan shillings only. How much in KES?", "M-Pesa hutuma shilingi za Kenya tu. Ni KES ngapi?"
)


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
        await collect(
            connection,
            Collect(
                f"chat:{ctx.idempotency_key}", Method.PUSH, str(owner), owner, ctx.conversation_id, amount, payee
            ),
        )  # fmt: skip
    told = ctx.say(ASKED, amount=amount.said(), number=f"+{payee.account}")
    sandbox = SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""
    return ActionResult(told + sandbox, {"amount": str(amount.decimal), "currency": amount.currency})


connector = Connector(
    name="wallet", title=Saying("Your money", "Pesa zako"), private=True,
    actions=(check_balance, list_transactions, check_payments, top_up), requires=("intasend_secret_key",),
)  # fmt: skip


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
        return await balances.wallets_of(await driver(session), str(owner), ctx.settings.default_currency)


async def _lines(ctx: ActionContext, held: Sequence[Balance], limit: int) -> list[StatementLine]:
    async with ctx.db.hot() as connection:
        lines = [
            line for one in held for line in await balances.statement(connection, one.account, limit=limit)
        ]  # fmt: skip
    return sorted(lines, key=lambda line: (line.at, line.entry_id), reverse=True)[:limit]


def _have(ctx: ActionContext, held: Sequence[Balance]) -> str:
    return "\n".join(
        ctx.say(HELD, amount=one.available.said(), held=one.pending_out.said())
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
             "held": str(one.pending_out.decimal)}
            for one in held
        ],
        "transactions": [
            {"at": line.at.isoformat(), "kind": line.kind.value, "amount": str(line.amount.decimal),
             "currency": line.amount.currency}
            for line in lines
        ],
    }  # fmt: skip
