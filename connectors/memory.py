"""What a person prefers and what they aim at: kept in their words when they say so, shown, changed and forgotten."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, JsonValue

from core import facts, people, summary
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.errors import InvalidSlot, LimitReached, UserError
from core.facts import FACT_CHARS_MAX, FACTS_MAX, Kind
from core.language import Plural, Saying
from core.models import Fact

SHOWN_MAX = 10
"""How many are named to choose from."""
_NUMBER = re.compile(r"(?:the |number |no\.? ?|nr\.? ?|nambari |namba |#)*([0-9]{1,3})\.?", re.IGNORECASE)

ALL = Saying(
    "This forgets what you told me about yourself:\n{lines}\nYou have an hour to say “undo”. What was said stays in"
    " this chat, and so do your account, reminders and files{more}.",
    "Hii inasahau uliyoniambia kukuhusu:\n{lines}\nUna saa moja ya kuandika “tengua”. Yaliyosemwa yanabaki kwenye gumzo"
    " hili, na pia akaunti, vikumbusho na faili zako{more}.",
)
ERASING = Saying("; “erase my data” takes everything", "; “futa data yangu” hufuta vyote")
NOTHING_TOLD = Saying("There is nothing that you told me about yourself.", "Hakuna ulichoniambia kukuhusu wewe.")
TALKED = Saying("what we talked about (for good)", "tulichozungumza (moja kwa moja)")
TALK_FORGOTTEN = Saying(
    "Done. I have forgotten what we talked about here. The messages stay in the chat, reminders stay set.",
    "Sawa. Nimesahau tulichozungumza hapa. Ujumbe unabaki kwenye gumzo, na vikumbusho vinabaki.",
)
ALL_FORGOTTEN = Saying(
    "Done. I have forgotten what you told me about yourself. Say “undo” within the hour to have it back.",
    "Sawa. Nimesahau uliyoniambia kukuhusu. Andika “tengua” ndani ya saa moja ukitaka kuyarudisha.",
)
WOULD_BACK = Saying(
    "I cannot take that back. What I could is what you told me before: I would know again: {words}. Shall I?"
    " Say “yes”.",
    "Hilo siwezi kulitengua. Ninachoweza ni ulichoniambia awali: nitajua tena: {words}. Nifanye hivyo? Sema “ndiyo”.",
)
WOULD_GONE = Saying(
    "I cannot take that back. What I could is what you told me before: I would forget: {words}. Shall I? Say “yes”.",
    "Hilo siwezi kulitengua. Ninachoweza ni ulichoniambia awali: nitasahau: {words}. Nifanye hivyo? Sema “ndiyo”.",
)
WOULD_EXCHANGE = Saying(
    "I cannot take that back. What I could is what you told me before: instead of “{gone}” I would know again: {words}."
    " Shall I? Say “yes”.",
    "Hilo siwezi kulitengua. Ninachoweza ni ulichoniambia awali: badala ya “{gone}” nitajua tena: {words}."
    " Nifanye hivyo? Sema “ndiyo”.",
)
YOUR_NAME = Saying("your name: {name}", "jina lako: {name}")
PREFERENCES = Plural(
    Saying("{count} preference", "pendeleo {count}"), Saying("{count} preferences", "mapendeleo {count}")
)
GOALS = Plural(Saying("{count} goal", "lengo {count}"), Saying("{count} goals", "malengo {count}"))
CONTACTS = Plural(
    Saying("{count} contact: {names}", "mwasiliani {count}: {names}"),
    Saying("{count} contacts: {names}", "mawasiliano {count}: {names}"),
)

SAYINGS = {
    "en": {
        "private": "Let us keep that between us: tell me in private, not in a group.",
        "kept_preference": "Done. I will remember that you prefer: {words}.",
        "kept_goal": "Done. Your goal is noted: {words}.",
        "changed": "Done. Instead of “{old}” I have noted: {words}.",
        "forgotten": "Done. I have forgotten “{words}”. Say “undo” within the hour to have it back.",
        "full": "I keep {count} such things of one person, and you have told me as many. Forget one first.",
        "none": "You have told me no preferences and no goals. You could say: “my goal is to …” or “I prefer …”.",
        "none_preference": "You have told me no preferences. You could say: “I prefer mornings”.",
        "none_goal": "You have told me no goals. You could say: “my goal is to save 10,000 a month”.",
        "unknown": "I know nothing like “{words}” of you. Ask “what do you know about me?” to see it all.",
        "which_words": "Which one? Tell me some of its words.",
        "what": "What shall I note instead?",
        "nothing": "There is nothing of the last hour that I could take back. I can take back a goal, a preference"
        " or a name that you told me to remember, change or forget, and a contact that I forgot.",
        "back": "Done. I know again: {words}.",
        "gone": "Done. I have forgotten again: {words}.",
        "exchanged": "Done. Instead of “{gone}” I know again: {words}.",
    },
    "sw": {
        "private": "Hilo libaki kati yetu: niambie faraghani, si kwenye kikundi.",
        "kept_preference": "Sawa. Nitakumbuka kwamba unapendelea: {words}.",
        "kept_goal": "Sawa. Nimeandika lengo lako: {words}.",
        "changed": "Sawa. Badala ya “{old}” nimeandika: {words}.",
        "forgotten": "Sawa. Nimesahau “{words}”. Andika “tengua” ndani ya saa moja ukitaka kulirudisha.",
        "full": "Ninatunza mambo {count} ya aina hii ya mtu mmoja, nawe umefikisha. Nisahaulishe moja kwanza.",
        "none": "Hujaniambia mapendeleo wala malengo. Unaweza kusema: “lengo langu ni …” au “napendelea …”.",
        "none_preference": "Hujaniambia unachopendelea. Unaweza kusema: “napendelea asubuhi”.",
        "none_goal": "Hujaniambia malengo yako. Unaweza kusema: “lengo langu ni kuweka akiba 10,000 kwa mwezi”.",
        "unknown": "Sijui lolote kama “{words}” kukuhusu. Uliza “unajua nini kuhusu mimi?” kuona yote.",
        "which_words": "Lipi? Niambie baadhi ya maneno yake.",
        "what": "Niandike nini badala yake?",
        "nothing": "Hakuna la saa iliyopita ninaloweza kutengua. Naweza kutengua lengo, pendeleo au jina"
        " uliloniambia nikumbuke, nibadilishe au nisahau, na mtu niliyemsahau.",
        "back": "Sawa. Najua tena: {words}.",
        "gone": "Sawa. Nimesahau tena: {words}.",
        "exchanged": "Sawa. Badala ya “{gone}” najua tena: {words}.",
    },
}


class RememberFact(Params):
    """What, and of which kind."""

    kind: Kind = Field(
        description="preference: how they like things; goal: what they want to reach",
        json_schema_extra=ask("Is that a preference or a goal?", "Hilo ni pendeleo au lengo?"),
    )
    words: str = Field(
        description="What they prefer or aim at, in their own words and language", min_length=1,
        max_length=FACT_CHARS_MAX,
        json_schema_extra=ask("What shall I remember?", "Nikumbuke nini?"),
    )  # fmt: skip


class Undo(Params):
    """Whether something else was done since."""

    since: str | None = Field(
        default=None, max_length=64,
        description="The action that was done since, if any: then the person is asked, and nothing is taken back",
    )  # fmt: skip


class ListFacts(Params):
    """Of which kind."""

    kind: Kind | None = Field(default=None, description="Only preferences, or only goals")


class ChangeFact(Params):
    """Which, and to what."""

    words: str = Field(
        description="What is to be remembered instead, in their own words", min_length=1, max_length=FACT_CHARS_MAX,
        json_schema_extra=ask("What shall I note instead?", "Niandike nini badala yake?"),
    )  # fmt: skip
    kind: Kind | None = Field(default=None, description="Whether it is a preference or a goal")
    which: str | None = Field(
        default=None, max_length=FACT_CHARS_MAX, coerce_numbers_to_str=True,
        description="Which one is changed: its number in the list, or words of it; left out when there is one",
        json_schema_extra=ask("Which one?", "Lipi?"),
    )  # fmt: skip


class ForgetFact(Params):
    """Which."""

    kind: Kind | None = Field(default=None, description="Whether it is a preference or a goal")
    which: str | None = Field(
        default=None, max_length=FACT_CHARS_MAX, coerce_numbers_to_str=True,
        description="Which one is forgotten: its number in the list, or words of it; left out when there is one",
        json_schema_extra=ask("Which one?", "Lipi?"),
    )  # fmt: skip


class Nothing(Params):
    """Nothing to fill in."""


@action(
    effect=Effect.WRITE,
    examples=("my goal is to invoice 100k a month", "I prefer mornings", "lengo langu ni kuweka akiba"),
)
async def remember_fact(ctx: ActionContext, params: RememberFact) -> ActionResult:
    """Remember a preference or a goal that the person states of themselves."""
    _in_private(ctx)
    words = people.one_line(params.words)
    if not words:
        raise InvalidSlot("words", _say(ctx, "what"))
    async with ctx.db.transaction() as session:
        kept = await facts.remember(
            session, ctx.person.id, ctx.conversation_id, params.kind, words, key=ctx.idempotency_key, now=ctx.now
        )
    if kept is None:
        raise LimitReached(_say(ctx, "full", count=str(FACTS_MAX)))
    return ActionResult(_say(ctx, f"kept_{kept.kind}", words=kept.words), _data(kept))


@action(
    effect=Effect.READ, own=True, examples=("what are my goals?", "list my preferences", "malengo yangu ni yapi?")
)  # fmt: skip
async def list_facts(ctx: ActionContext, params: ListFacts) -> ActionResult:
    """Show the preferences and goals that the person stated, with where and when."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        found = await facts.known(session, ctx.person.id, params.kind)
        text = facts.described(
            found, await facts.places(session, found), language=_language(ctx), zone=ctx.zone, now=ctx.now
        )
    if text is None:
        text = _say(ctx, f"none_{params.kind}" if params.kind else "none")
    return ActionResult(text, {"count": len(found), "facts": [_data(fact) for fact in found]})


@action(
    effect=Effect.WRITE,
    examples=("change my goal to invoice 200k a month", "change preference 2 to evenings",
              "badilisha lengo langu liwe kuweka akiba 20,000"),
)  # fmt: skip
async def change_fact(ctx: ActionContext, params: ChangeFact) -> ActionResult:
    """Change a preference or a goal that the person stated before."""
    _in_private(ctx)
    words = people.one_line(params.words)
    if not words:
        raise InvalidSlot("words", _say(ctx, "what"))
    async with ctx.db.transaction() as session:
        await people.hold(session, ctx.person.id)
        earlier = await facts.ended_by(session, ctx.person.id, ctx.idempotency_key)
        old = (
            earlier[0]
            if earlier
            else _chosen(await facts.known(session, ctx.person.id, params.kind), params.which, ctx)
        )
        kept = await facts.remember(
            session, ctx.person.id, ctx.conversation_id, _kind(old), words, key=ctx.idempotency_key, now=ctx.now,
            instead_of=old,
        )  # fmt: skip
    shown = kept or old
    return ActionResult(_say(ctx, "changed", old=old.words, words=shown.words), _data(shown))


@action(
    effect=Effect.WRITE,
    examples=("forget that I prefer mornings", "forget my goal", "sahau kwamba napendelea asubuhi"),
)
async def forget_fact(ctx: ActionContext, params: ForgetFact) -> ActionResult:
    """Forget a preference or a goal; it can be had back for an hour."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        await people.hold(session, ctx.person.id)
        earlier = await facts.ended_by(session, ctx.person.id, ctx.idempotency_key)
        if earlier:
            return ActionResult(_say(ctx, "forgotten", words=earlier[0].words))
        fact = _chosen(await facts.known(session, ctx.person.id, params.kind), params.which, ctx)
        await facts.forget(session, fact, key=ctx.idempotency_key, now=ctx.now)
    return ActionResult(_say(ctx, "forgotten", words=fact.words))


@action(effect=Effect.WRITE, examples=("undo", "take that back", "tengua"))
async def undo(ctx: ActionContext, params: Undo) -> ActionResult:
    """Take back what the person last told to remember, change or forget, within an hour; contacts forgotten, too."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        done = await facts.undo(
            session, ctx.person.id, key=ctx.idempotency_key, now=ctx.now, looks=params.since is not None
        )
    back, gone = (", ".join(some[:SHOWN_MAX]) for some in (done.back, done.gone))
    if not back and not gone:
        raise UserError(_say(ctx, "nothing"))
    if params.since is not None:
        says = WOULD_EXCHANGE if back and gone else WOULD_BACK if back else WOULD_GONE
        return ActionResult(ctx.say(says, words=back or gone, gone=gone), offers=("undo", {"since": None}))
    saying = "exchanged" if back and gone else "back" if back else "gone"
    return ActionResult(_say(ctx, saying, words=back or gone, gone=gone))


@action(
    effect=Effect.WRITE,
    examples=("forget what we talked about", "forget our conversation", "sahau tulichozungumza"),
)
async def forget_conversation(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Forget the summary of what was talked about in this chat, for good."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        await people.hold(session, ctx.person.id)
        await summary.forget(session, ctx.person.id, ctx.conversation_id)
    return ActionResult(ctx.say(TALK_FORGOTTEN))


async def show_forgetting(ctx: ActionContext, params: Nothing) -> str:
    """What would be forgotten, counted by code."""
    async with ctx.db.transaction() as session:
        name = await facts.name_told(session, ctx.person.id)
        told = await facts.known(session, ctx.person.id)
        contacts = await people.contacts(session, ctx.person.id)
        talked = await summary.of(session, ctx.person.id, ctx.conversation_id)
    counts = {kind: sum(fact.kind == kind for fact in told) for kind in facts.KINDS}
    found = [
        *((YOUR_NAME.filled(name=name.words if name else ctx.person.name or ""),) if name or ctx.person.name else ()),
        *((PREFERENCES.of(counts["preference"]),) if counts["preference"] else ()),
        *((GOALS.of(counts["goal"]),) if counts["goal"] else ()),
    ]
    if contacts:
        names = ", ".join(contact.name for contact in contacts[:SHOWN_MAX])
        found.append(CONTACTS.of(len(contacts), names=names + (" …" if len(contacts) > SHOWN_MAX else "")))
    if not found and talked is None:
        raise UserError(NOTHING_TOLD)
    found += [TALKED] if talked is not None else []
    more = ERASING if ctx.offers("erase_my_data") else ""
    return ctx.say(ALL, lines=Saying.joined("\n", *(Saying.joined("", "• ", one) for one in found)), more=more)


@action(
    effect=Effect.WRITE,
    examples=(
        "forget everything you know about me",
        "forget everything I told you",
        "sahau kila kitu unachojua kunihusu",
    ),
    shows=show_forgetting,
)
async def forget_everything(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Forget name, preferences, goals and contacts, after the person has confirmed it; the account stays."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        await facts.forget_all(session, ctx.person.id, ctx.conversation_id, key=ctx.idempotency_key, now=ctx.now)
        await summary.forget(session, ctx.person.id)
    return ActionResult(ctx.say(ALL_FORGOTTEN))


connector = Connector(
    name="memory",
    title=Saying("What you told me", "Ulichoniambia"),
    private=True,
    actions=(remember_fact, list_facts, change_fact, forget_fact, forget_conversation, forget_everything, undo),
)


def _chosen(found: Sequence[Fact], which: str | None, ctx: ActionContext) -> Fact:
    """The one that was meant; a question when several could be, a sentence when none is."""
    if not found:
        raise UserError(_say(ctx, "none"))
    number = _NUMBER.fullmatch(which.strip()) if which else None
    if number is not None:
        numbered = [
            fact
            for kind in facts.KINDS
            for place, fact in enumerate((fact for fact in found if fact.kind == kind), 1)
            if place == int(number[1])
        ]
        some: Sequence[Fact] = numbered
    else:
        some = facts.matching(found, which) if which else found
    if not some:
        raise UserError(_say(ctx, "unknown", words=people.one_line(which or "")))
    if len(some) > 1:
        lines = [f"{fact.words}" for fact in some[:SHOWN_MAX]]
        raise InvalidSlot("which", "\n".join((_say(ctx, "which_words"), *lines)))
    return some[0]


def _kind(fact: Fact) -> Literal["preference", "goal"]:
    return "goal" if fact.kind == "goal" else "preference"


def _in_private(ctx: ActionContext) -> None:
    """Raise UserError in a group, where others would read along; a workflow speaks where its maker put it."""
    if ctx.sender is not None and not ctx.sender.is_private:
        raise UserError(_say(ctx, "private"))


def _data(fact: Fact) -> dict[str, JsonValue]:
    return {"kind": fact.kind, "words": fact.words, "at": fact.created_at.isoformat()}


def _language(ctx: ActionContext) -> str:
    return ctx.person.language if ctx.person.language in SAYINGS else "en"


def _say(ctx: ActionContext, saying: str, **values: str) -> str:
    return SAYINGS[_language(ctx)][saying].format(**values)
