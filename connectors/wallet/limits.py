"""What the person may have paid: not while payments are stopped, and not beyond the limits."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.wallet.amounts import Nothing, in_private
from core import people
from core.actions import ActionContext, ActionResult, Effect, action
from core.errors import LimitReached, UserError
from core.language import Saying
from core.models import Person
from ledger.instruction_store import MPESA
from ledger.money import Money

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


def allowed(ctx: ActionContext, amount: Money) -> None:
    """Raises UserError while all payments are stopped, and LimitReached for more than is paid at a time."""
    if ctx.settings.payments_paused:
        raise UserError(PAUSED)
    at_most = Money.of(ctx.settings.payment_max, MPESA)
    if amount > at_most:
        raise LimitReached(TOO_LARGE.filled(at_most=at_most.said()))


async def _set_pause(ctx: ActionContext, *, paused: bool) -> None:
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        await session.execute(
            update(Person).where(Person.id == owner).values(payments_paused_at=ctx.now if paused else None)
        )


async def unless_paused(session: AsyncSession, owner: UUID) -> None:
    """Raises UserError for somebody who has stopped their payments."""
    if await session.scalar(select(Person.payments_paused_at).where(Person.id == owner)) is not None:
        raise UserError(YOUR_PAUSE)
