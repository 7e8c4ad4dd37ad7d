"""Quotas: what a person has left of everything that is limited, and when it comes back."""

from pydantic import JsonValue

from core import voice
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.errors import UserError
from core.language import Saying, spoken
from core.limits import Use, Whose, when_of
from core.messages import Card, Fact, Text

HEAD = Saying("What you have left", "Kilichobaki")
LEFT = Saying("{left} of {allowed}, anew {when}", "{left} kati ya {allowed}, kuanza upya {when}")
MONEY = Saying(
    "For what may be paid from your account, say “my payment limits”.",
    "Kujua kinachoweza kulipwa kutoka akaunti yako, andika “vikomo vyangu vya malipo”.",
)
UNKNOWN = Saying(
    "I cannot look at your quotas just now. Try again in a few minutes.",
    "Siwezi kuangalia viwango vyako kwa sasa. Jaribu tena baada ya dakika chache.",
)


class CheckQuotas(Params):
    """Nothing to fill in."""


@action(
    effect=Effect.READ, counts=(), own=True,
    examples=("how much have I left?", "check my quotas", "nimebakiza kiasi gani"),
)  # fmt: skip
async def check_quotas(ctx: ActionContext, params: CheckQuotas) -> ActionResult:
    """Show what the person has left of each quota, and when it starts anew."""
    whose = Whose(str(ctx.person.id), ctx.zone, ctx.person.plan)
    uses = await ctx.limits.uses(whose, ctx.now) if ctx.limits is not None else None
    if uses is None:
        raise UserError(UNKNOWN)
    uses += await voice.uses(ctx.db, ctx.settings.plans, whose, ctx.now)
    data: dict[str, JsonValue] = {
        use.limit.name: {"left": _left(use), "of": use.allowed, "resets_at": use.resets_at.isoformat()} for use in uses
    }
    card = Card(title=ctx.say(HEAD), facts=tuple(_fact(use, ctx) for use in uses))
    money = (Text(text=ctx.say(MONEY)),) if ctx.offers("check_spending_limits") else ()
    return ActionResult.of(card, *money, data=data)


def _left(use: Use) -> int:
    return max(0, use.allowed - use.used)


def _fact(use: Use, ctx: ActionContext) -> Fact:
    language = spoken(ctx.person.language)
    when = when_of(use.resets_at, language, ctx.now, ctx.zone)
    left = ctx.say(LEFT, left=f"{_left(use):,}", allowed=f"{use.allowed:,}", when=when)
    return Fact(label=use.limit.title[language], value=left)


connector = Connector(name="quotas", title=Saying("Your quotas", "Viwango vyako"), actions=(check_quotas,))
