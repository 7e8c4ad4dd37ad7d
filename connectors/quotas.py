"""Quotas: what a person has left of everything that is limited, and when it comes back."""

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.errors import UserError
from core.language import Saying
from core.limits import Use, Whose, when_of

HEAD = {"en": "What you have left:", "sw": "Kilichobaki:"}
LINE = {"en": "{title}: {left} of {allowed}, anew {when}", "sw": "{title}: {left} kati ya {allowed}, upya {when}"}
UNKNOWN = {
    "en": "I cannot look at your quotas just now. Try again in a few minutes.",
    "sw": "Siwezi kuangalia viwango vyako kwa sasa. Jaribu tena baada ya dakika chache.",
}


class CheckQuotas(Params):
    """Nothing to fill in."""


@action(
    effect=Effect.READ, counts=(),
    examples=("how much have I left?", "check my quotas", "nimebakiza kiasi gani"),
)  # fmt: skip
async def check_quotas(ctx: ActionContext, params: CheckQuotas) -> ActionResult:
    """Show what the person has left of each quota, and when it starts anew."""
    language = "sw" if ctx.person.language == "sw" else "en"
    whose = Whose(str(ctx.person.id), ctx.zone, ctx.person.plan)
    uses = await ctx.limits.uses(whose, ctx.now) if ctx.limits is not None else None
    if uses is None:
        raise UserError(UNKNOWN[language])
    return ActionResult(
        "\n".join((HEAD[language], *(_line(use, language, ctx) for use in uses))),
        {
            use.limit.name: {"left": _left(use), "of": use.allowed, "resets_at": use.resets_at.isoformat()}
            for use in uses
        },
    )


def _left(use: Use) -> int:
    return max(0, use.allowed - use.used)


def _line(use: Use, language: str, ctx: ActionContext) -> str:
    return LINE[language].format(
        title=use.limit.title[language],
        left=f"{_left(use):,}",
        allowed=f"{use.allowed:,}",
        when=when_of(use.resets_at, language, ctx.now, ctx.zone),
    )


connector = Connector(name="quotas", title=Saying("Your quotas", "Viwango vyako"), actions=(check_quotas,))
