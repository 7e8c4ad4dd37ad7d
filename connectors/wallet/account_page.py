"""The account page, where a PIN is set and used: a link to it, and calling off that a PIN is reset."""

from connectors.wallet.amounts import Nothing, in_private
from core import account_links, audit, people, pin
from core.actions import ActionContext, ActionResult, Effect, action
from core.db import driver
from core.errors import UserError
from core.language import Saying

LINK = Saying(
    "Here you set or change your PIN and raise your limits. The link opens once, within 15 minutes; give it to nobody."
    "\n{link}",
    "Hapa unaweka au kubadilisha PIN yako na kuongeza vikomo vyako. Kiungo hufunguka mara moja, ndani ya dakika 15;"
    " usimpe mtu yeyote.\n{link}",
)
KEPT = Saying(
    "Done. Your PIN stays as it was, and no other one can be chosen without it.",
    "Sawa. PIN yako inabaki ilivyokuwa, na hakuna nyingine inayoweza kuwekwa bila hiyo.",
)
NONE_WAITS = Saying("Nobody has asked for another PIN.", "Hakuna aliyeomba PIN nyingine.")
HERE = Saying("Say that here, where you write to me.", "Sema hilo hapa unaponiandikia.")


@action(
    effect=Effect.WRITE,
    examples=("open my account page", "set my PIN", "change my PIN", "I forgot my PIN", "badilisha PIN yangu"),
)  # fmt: skip
async def open_account_page(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Give the person a link that opens their account page once, to set or change their PIN there."""
    in_private(ctx)
    if ctx.sender is None:
        raise UserError(HERE)
    async with ctx.db.transaction() as session:
        link = await account_links.new_link(session, ctx.sender, ctx.conversation_id, ctx.now)
    return ActionResult(ctx.say(LINK, link=f"{ctx.settings.base_url}{link}"))


@action(
    effect=Effect.WRITE, examples=("cancel the PIN reset", "keep my PIN", "ghairi PIN mpya")
)  # fmt: skip
async def cancel_pin_reset(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Call off that another PIN can soon be chosen without the one there is."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        if not await pin.keep(await driver(session), owner, ctx.now):
            raise UserError(NONE_WAITS)
        await audit.record(session, f"person:{owner}", "pin.reset_cancelled", f"person:{owner}")
    return ActionResult(ctx.say(KEPT))
