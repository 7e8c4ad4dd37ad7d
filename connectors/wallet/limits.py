"""What the person may have paid: not while payments are stopped, and not beyond the limits."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.wallet.amounts import Amount, Nothing, in_private, in_shillings
from core import audit, confirm, people
from core.actions import ActionContext, ActionResult, Effect, action, ask
from core.db import driver
from core.errors import InvalidSlot, LimitReached, UserError
from core.language import Saying
from core.messages import Card, Fact
from core.models import Person
from ledger import payment_switch
from ledger.instruction_store import MPESA
from ledger.money import Money
from ledger.spending_limits import Per, SpendingLimits, limits_of, set_limit

PAUSED = Saying(
    "Payments are stopped for everybody just now. Your money is where it was; try again later.",
    "Malipo yamesimamishwa kwa kila mtu kwa sasa. Pesa zako ziko pale pale; jaribu tena baadaye.",
)
BY_PIN = Saying(
    "More than {at_most} at a time is confirmed with your PIN now, so nothing was sent. Ask for it again.",
    "Zaidi ya {at_most} kwa mara moja sasa huthibitishwa kwa PIN yako, kwa hiyo sikutuma chochote. Omba tena.",
)
BEYOND = Saying(
    "At most {at_most} may go out by one payment from your account, so nothing was sent.",
    "Malipo moja kutoka akaunti yako hayaruhusiwi kuzidi {at_most}, kwa hiyo sikutuma chochote.",
)
LIMITS = Saying("What may be paid from your account", "Kinachoweza kulipwa kutoka akaunti yako")
TITLES = {
    Per.PAYMENT: Saying("By one payment", "Kwa malipo moja"),
    Per.DAY: Saying("Within a day", "Ndani ya siku moja"),
}
WHICH = Saying("For each payment, or for a whole day?", "Kwa kila malipo, au kwa siku nzima?")
AT_MOST = Saying("at most {at_most}", "kiasi cha juu {at_most}")
LOWERED = {
    Per.PAYMENT: Saying(
        "Done. At most {at_most} goes out by one payment, also of what was shown already.",
        "Sawa. Malipo moja hayazidi {at_most}, hata yale yaliyokwisha kuonyeshwa.",
    ),
    Per.DAY: Saying(
        "Done. At most {at_most} goes out within a day, also of what was shown already.",
        "Sawa. Malipo ya siku moja hayazidi {at_most}, hata yale yaliyokwisha kuonyeshwa.",
    ),
}
STAFF = Saying(
    "Nobody here can have more than {at_most} paid, so that is as far as a limit goes.",
    "Hakuna hapa anayeweza kulipa zaidi ya {at_most}, kwa hiyo kikomo hakizidi hapo.",
)
RAISED = Saying(
    "That is more than your limit now, which is {now}. A limit is raised with your PIN, on your account page: say “my"
    " account page” for a link to it.",
    "Hiyo inazidi kikomo chako cha sasa, {now}. Kikomo huongezwa kwa PIN yako, kwenye ukurasa wa akaunti yako: andika"
    " “ukurasa wa akaunti yangu” upate kiungo chake.",
)
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


class SetSpendingLimit(Amount):
    """Which limit, and what it is to be."""

    per: Literal["payment", "day"] | None = Field(
        default=None,
        description="What it holds for: payment (each one) or day (all of a day's together)",
        json_schema_extra=ask(WHICH.en, WHICH.sw),
    )  # fmt: skip


@action(
    effect=Effect.READ, own=True,
    examples=("what are my payment limits?", "what's my daily spending limit?", "vikomo vyangu vya malipo ni vipi?"),
)  # fmt: skip
async def check_spending_limits(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Show the most that may be paid from the person's account by one payment and within a day."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        limits = await limits_of(session, owner, ctx.settings)
    facts = tuple(
        Fact(label=ctx.say(title), value=ctx.say(AT_MOST, at_most=limits.of(per).said()))
        for per, title in TITLES.items()
    )  # fmt: skip
    data = {per.value: str(limits.of(per).decimal) for per in Per}
    return ActionResult.of(Card(title=ctx.say(LIMITS), facts=facts), data=data)


@action(
    effect=Effect.WRITE,
    examples=("set my daily limit to 5,000", "set my payment limit to 1,000", "weka kikomo changu cha siku 5,000"),
)  # fmt: skip
async def set_spending_limit(ctx: ActionContext, params: SetSpendingLimit) -> ActionResult:
    """Lower the most that may be paid from the person's account by one payment, or within a day."""
    in_private(ctx)
    if params.per is None:
        raise InvalidSlot("per", WHICH)
    per, at_most = Per(params.per), in_shillings(ctx, params.amount, params.currency)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        limits = await limits_of(session, owner, ctx.settings)
        if at_most > limits.staff:
            raise LimitReached(STAFF.filled(at_most=limits.staff.said()))
        if at_most > limits.of(per):
            raise UserError(RAISED.filled(now=limits.of(per).said()))
        await set_limit(session, owner, per, at_most)
        await audit.record(session, f"person:{owner}", "limit.lowered", f"person:{owner}", {"per": per.value})
    return ActionResult(ctx.say(LOWERED[per], at_most=at_most.said()))


@action(
    effect=Effect.WRITE, examples=("pause my payments", "stop all my payments", "simamisha malipo yangu")
)  # fmt: skip
async def pause_payments(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Let nothing be paid from the person's account until they say so; also nothing that was shown already."""
    in_private(ctx)
    await _set_pause(ctx, paused=True)
    return ActionResult(ctx.say(STOPPED))


async def show_resuming(ctx: ActionContext, params: Nothing) -> str:
    """What is confirmed before payments go on."""
    in_private(ctx)
    return ctx.say(GO_ON)


@action(
    effect=Effect.WRITE, shows=show_resuming,
    examples=("resume my payments", "allow my payments again", "endeleza malipo yangu"),
)  # fmt: skip
async def resume_payments(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Let payments from the person's account go on after they had them stopped."""
    await _set_pause(ctx, paused=False)
    return ActionResult(ctx.say(GOING_ON))


async def allowed(ctx: ActionContext, session: AsyncSession, owner: UUID, amount: Money) -> SpendingLimits:
    """The limits that hold; raises UserError while payments are stopped, and LimitReached for what is beyond them."""
    if ctx.settings.payments_paused or await payment_switch.is_stopped(await driver(session)):
        raise UserError(PAUSED)
    if await session.scalar(select(Person.payments_paused_at).where(Person.id == owner)) is not None:
        raise UserError(YOUR_PAUSE)
    limits = await limits_of(session, owner, ctx.settings)
    if limits.payment < amount:
        raise LimitReached(BEYOND.filled(at_most=limits.payment.said()))
    return limits


def needs_pin(ctx: ActionContext, amount: Money) -> bool:
    """Whether so much is confirmed by the person's PIN, and not by a code."""
    return amount > Money.of(ctx.settings.payment_max, MPESA)


def is_small(ctx: ActionContext, amount: Money) -> bool:
    """Whether so little is confirmed by a button, too."""
    return amount <= Money.of(ctx.settings.payment_small_max, MPESA) and not needs_pin(ctx, amount)


async def unless_unproven(ctx: ActionContext, connection: Any, amount: Money) -> None:
    """Raises UserError for what is confirmed by the person's PIN now, and was to be by a code when it was shown."""
    if needs_pin(ctx, amount) and (ctx.confirmed is None or not await confirm.is_by_pin(connection, ctx.confirmed)):
        raise UserError(BY_PIN.filled(at_most=Money.of(ctx.settings.payment_max, MPESA).said()))


async def _set_pause(ctx: ActionContext, *, paused: bool) -> None:
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        await session.execute(
            update(Person).where(Person.id == owner).values(payments_paused_at=ctx.now if paused else None)
        )
