"""Hand-off: a person asks for a human, and the bot falls silent until one comes or is not wanted any more."""

from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.errors import UserError
from core.handoff import ACKNOWLEDGED, Asked, Mode
from core.handoff_store import Handoffs
from core.language import Saying
from core.wake import Wakes

HERE = Saying("A person is with you already.", "Tayari kuna mtu pamoja nawe.")


class TalkToHuman(Params):
    """Nothing to say: who asks is known, and where."""


@action(
    effect=Effect.WRITE,
    examples=("talk to a human", "I want to speak to a person", "nataka kuongea na mtu"),
)
async def talk_to_human(ctx: ActionContext, params: TalkToHuman) -> ActionResult:
    """Ask a member of staff to join this conversation; the bot is silent meanwhile."""
    handoffs = Handoffs(ctx.db, Wakes(ctx.db), ctx.settings)
    after = await handoffs.apply(ctx.conversation_id, Asked(), f"person:{ctx.person.id}")
    if after.mode is Mode.HUMAN:
        # Somebody of the staff was faster, this turn is halted, and nobody will read what it says.
        raise UserError(HERE)
    language = await handoffs.language(ctx.conversation_id)
    return ActionResult(ACKNOWLEDGED[language], {"mode": after.mode.value})


connector = Connector(name="handoff", title=Saying("A human", "Mtu halisi"), actions=(talk_to_human,))
