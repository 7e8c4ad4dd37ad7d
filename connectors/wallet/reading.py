"""What the person has here, and what came and went."""

from collections.abc import Sequence
from typing import Final

from pydantic import Field, JsonValue
from sqlalchemy import select

from connectors.wallet.amounts import Nothing, in_private
from core import people
from core.actions import ActionContext, ActionResult, Effect, Params, action, ask
from core.db import driver
from core.language import Saying, moment
from core.messages import Part, Table, Text
from ledger import balances
from ledger.balances import Balance, StatementLine
from ledger.journal import Kind

SHOWN_MAX = 50
SHOWN = 10
LATEST = 3
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


class ListTransactions(Params):
    """How many."""

    limit: int = Field(
        default=SHOWN, ge=1, le=SHOWN_MAX, description="How many of the last transactions",
        json_schema_extra=ask("How many?", "Mingapi?"),
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


async def _wallets(ctx: ActionContext) -> list[Balance]:
    """What the person has, by currency; in ours, nothing is told as such."""
    in_private(ctx)
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
