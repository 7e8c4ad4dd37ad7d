"""Erasing everything that is known of a person, when they ask for it and confirm it."""

from core import erasure
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.erasure_words import shown
from core.errors import UserError
from core.language import Saying
from ledger import leaving

DONE = Saying("Everything I knew about you is being erased.", "Kila nilichojua kukuhusu kinafutwa.")
BY_WRITING = Saying("That can only be done by writing to me.", "Hilo hufanyika kwa kuniandikia tu.")


class Nothing(Params):
    """Nothing to fill in."""


async def show_erasure(ctx: ActionContext, params: Nothing) -> str:
    """What the person reads before they confirm; raises HasMoney for whoever has money here, or a payment under way."""
    async with ctx.db.hot() as connection:
        await leaving.check(connection, await erasure.persons(connection, ctx.person.id))
    return await shown(ctx.db, ctx.person.id, ctx.person.language)


@action(
    effect=Effect.WRITE,
    examples=("erase my data", "delete everything you know about me", "futa data yangu"),
    shows=show_erasure,
)
async def erase_my_data(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Erase everything known about the person, for good: messages, reminders, contacts, files, name and addresses."""
    if ctx.sender is None:
        raise UserError(BY_WRITING)
    person = ctx.person
    await erasure.begin(
        ctx.db, person.id, asked_by=f"person:{person.id}", last_word_to=ctx.sender, language=person.language,
        before=leaving.check,
    )  # fmt: skip
    return ActionResult(ctx.say(DONE))


connector = Connector(
    name="erasure", private=True, title=Saying("Erasing your data", "Kufuta data yako"), actions=(erase_my_data,)
)
