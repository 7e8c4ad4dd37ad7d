"""Adding money from M-Pesa: a phone is asked for it."""

from hashlib import sha256

from pydantic import Field
from sqlalchemy import select

from connectors.wallet.amounts import PHONE_CHARS_MAX, SANDBOX, Amount, in_private, in_shillings, mpesa, own_number
from core import people
from core.actions import ActionContext, ActionResult, Effect, action, ask
from core.db import driver
from core.errors import InvalidSlot
from core.language import Saying
from core.limits import PAY_PHONE, PAY_PHONE_DAY, Whose, refusal
from ledger.instruction_store import Collect, collect
from ledger.instructions import Method, Payee

ASKED_OTHER = Saying(
    "I have sent the request for {amount} to {number}. Whoever has that phone types their M-Pesa PIN there; I write to"
    " you here as soon as the money has come.",
    "Nimetuma ombi la {amount} kwa {number}. Mwenye simu hiyo aweke PIN yake ya M-Pesa huko; nitakuandikia hapa pesa"
    " zikifika.",
)
ASKED = Saying(
    "I have sent the request for {amount} to your phone, {number}. Type your M-Pesa PIN there; I write to you here as"
    " soon as the money has come.",
    "Nimetuma ombi la {amount} kwenye simu yako, {number}. Weka PIN yako ya M-Pesa huko; nitakuandikia hapa pesa"
    " zikifika.",
)
ASKED_FEE = Saying("{asked} The fee of {fee} is taken off it.", "{asked} Ada ya {fee} itakatwa humo.")
WHICH_PHONE = Saying("Which M-Pesa number should I ask?", "Niombe namba gani ya M-Pesa?")


class TopUp(Amount):
    """How much, and from which phone."""

    phone_number: str | None = Field(
        default=None, max_length=PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="The M-Pesa number to ask; the person's own where none is said",
        json_schema_extra=ask(WHICH_PHONE.en, WHICH_PHONE.sw),
    )  # fmt: skip


@action(
    effect=Effect.WRITE, counts=("calls", "paid"),
    examples=("top up 500 bob", "top up my wallet with KES 1,000", "weka pesa 500 kwenye akaunti yangu"),
)  # fmt: skip
async def top_up(ctx: ActionContext, params: TopUp) -> ActionResult:
    """Ask the person's phone for money through M-Pesa, to add to what they have here."""
    in_private(ctx)
    amount = in_shillings(ctx, params.amount, params.currency)
    own = own_number(ctx.sender)
    number = params.phone_number or own
    if number is None:
        raise InvalidSlot("phone_number", WHICH_PHONE)
    payee = Payee(mpesa(number))
    is_own = f"+{payee.account}" == own
    if not is_own:
        await _count(ctx, payee.account)
    async with ctx.db.transaction() as session:
        connection = await driver(session)
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        asked = Collect(
            f"chat:{ctx.idempotency_key}", Method.PUSH, str(owner), owner, ctx.conversation_id, amount, payee
        )  # fmt: skip
        fee = (await collect(connection, asked)).fee
    told = ctx.say(ASKED if is_own else ASKED_OTHER, amount=amount.said(), number=f"+{payee.account}")
    if fee.minor:
        told = ctx.say(ASKED_FEE, asked=told, fee=fee.said())
    sandbox = SANDBOX if ctx.settings.is_sandbox(ctx.settings.intasend_base_url) else ""
    return ActionResult(told + sandbox, {"amount": str(amount.decimal), "currency": amount.currency})


async def _count(ctx: ActionContext, number: str) -> None:
    """Count that somebody else's phone rings, together with what rings it from pay pages; raises LimitReached."""
    if ctx.limits is None:
        return
    whose = Whose(sha256(f"phone:{number}".encode()).hexdigest(), ctx.zone)
    call = f"top_up:{ctx.idempotency_key}"
    verdict = await ctx.limits.take([PAY_PHONE, PAY_PHONE_DAY], whose, ctx.now, call=call)
    if not verdict.passed:
        raise refusal(verdict, ctx.now, ctx.zone)
