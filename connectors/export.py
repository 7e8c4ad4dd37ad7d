"""Everything a person left with us, as one archive: asked for here, made and sent by a job (jobs/export.py)."""

from core import exports
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.errors import UserError
from core.language import Saying

SAYINGS = {
    "en": {
        "making": "I am putting everything of yours together into one archive. You get it here in a moment, and I keep"
        " it for 24 hours.",
        "already": "Your archive is being made already. You get it here in a moment.",
        "enough": "You have had {count} archives within a day. Ask again tomorrow.",
        "private": "Your data is between us: ask me for it in private, not in a group.",
    },
    "sw": {
        "making": "Ninakusanya data yako yote kwenye faili moja. Utaipata hapa baada ya muda mfupi, na nitaihifadhi kwa"
        " saa 24.",
        "already": "Faili ya data yako tayari inaandaliwa. Utaipata hapa baada ya muda mfupi.",
        "enough": "Umepata faili {count} ndani ya siku moja. Omba tena kesho.",
        "private": "Data yako ni kati yetu: niombe kwa faragha, si kwenye kikundi.",
    },
}


class ExportMyData(Params):
    """Nothing to fill in."""


@action(
    effect=Effect.WRITE,
    examples=("export my data", "send me everything you know about me", "nipe data yangu yote"),
)  # fmt: skip
async def export_my_data(ctx: ActionContext, params: ExportMyData) -> ActionResult:
    """Put everything of the person's into one archive, and send it to them here when it is made."""
    says = SAYINGS.get(ctx.person.language, SAYINGS["en"])
    if ctx.sender is None or not ctx.sender.is_private:
        raise UserError(says["private"])
    try:
        new = await exports.request(ctx.db, ctx.person.id, ctx.conversation_id, ctx.idempotency_key)
    except exports.TooMany as error:
        raise UserError(says["enough"].format(count=exports.EXPORTS_DAY_MAX)) from error
    return ActionResult(says["making" if new else "already"])


connector = Connector(
    name="export", private=True, title=Saying("A copy of your data", "Nakala ya data yako"), actions=(export_my_data,)
)
