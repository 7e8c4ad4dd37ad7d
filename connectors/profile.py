"""What is known of a person, told to them alone: what, where it comes from, and how to change or delete each."""

from pydantic import JsonValue
from sqlalchemy import select

from core import facts, linking, mailboxes, people, summary
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action
from core.db import driver
from core.erasure_words import counts
from core.errors import UserError
from core.language import Saying
from core.messages import VALUE_CHARS_MAX, Card, ChannelName, Fact, Text
from core.models import Identity, Person
from core.names import names_of

NAMES_MAX = 20
"""How many contacts are named."""
LANGUAGES = {"en": "English", "sw": "Kiswahili"}
CHANNELS = {
    "web": Saying("web chat", "gumzo la wavuti"), "whatsapp": Saying("WhatsApp", "WhatsApp"),
    "telegram": Saying("Telegram", "Telegram"), "email": Saying("e-mail", "barua pepe"),
}  # fmt: skip
PRIVATE = Saying(
    "Let us do that in private: write to me directly, not in a group.",
    "Tufanye hilo faraghani: niandikie moja kwa moja, si kwenye kikundi.",
)
BY_WRITING = Saying("That can only be done by writing to me.", "Hilo hufanyika kwa kuniandikia tu.")
HEAD = Saying("What I know about you", "Ninachojua kukuhusu")
LABELS = {
    "name": Saying("Name", "Jina"),
    "language": Saying("Language", "Lugha"),
    "zone": Saying("Time zone", "Saa za eneo"),
    "currency": Saying("Currency", "Sarafu"),
    "chats": Saying("Chats", "Magumzo"),
    "email": Saying("E-mail", "Barua pepe"),
    "contacts": Saying("Contacts", "Mawasiliano"),
    "reminders": Saying("Reminders", "Vikumbusho"),
    "files": Saying("Files", "Faili"),
    "workflows": Saying("Automations", "Kazi za kujiendesha"),
}
NO_NAME = Saying("you have not told me", "hujaniambia")
OF_PROFILE = Saying("from your profile there", "kutoka wasifu wako huko")
CHOSEN = Saying("you chose it", "umeichagua")
HEARD = Saying("the one you last wrote in", "uliyoandika mara ya mwisho")
STATED = Saying("you told me", "umeniambia")
BY_NUMBER = Saying("a guess", "ninakisia")
BY_COUNTRY = Saying("by your number", "kwa namba yako")
OF_HERE = Saying("the one used here", "inayotumika hapa")
TELL_CURRENCY = Saying(": tell me “my currency is …”", ": niambie “sarafu yangu ni …”")
TELL_ZONE = Saying(": tell me “I live in …”", ": niambie “naishi …”")
NO_EMAIL = Saying("none confirmed", "hakuna iliyothibitishwa")
TALKED = Saying("What we talked about here:\n{lines}", "Tulichozungumza hapa:\n{lines}")
CHANGING = Saying("To change it: {ways}.", "Kubadilisha: {ways}.")
DELETING = Saying("To delete it: {ways}.", "Kufuta: {ways}.")
AT_ONCE = {
    "export_my_data": Saying("“Export my data” gives you all of it", "“Nipe data yangu” hukupa yote"),
    "erase_my_data": Saying("“erase my data” ends the account", "“futa data yangu” hufunga akaunti"),
}
TO_CHANGE = {
    "set_name": Saying("“call me …”", "“niite …”"),
    "set_language": Saying("“speak Swahili”", "“ongea Kiingereza”"),
    "set_timezone": Saying("“I live in …”", "“naishi …”"),
    "set_currency": Saying("“my currency is …”", "“sarafu yangu ni …”"),
    "set_email": Saying("“my e-mail is …”", "“barua pepe yangu ni …”"),
    "save_contact": Saying("“save Amina's number …”", "“hifadhi namba ya Amina …”"),
}
TO_DELETE = {
    "forget_name": Saying("“forget my name”", "“sahau jina langu”"),
    "forget_currency": Saying("“forget my currency”", "“sahau sarafu yangu”"),
    "forget_contact": Saying("“forget Amina”", "“msahau Amina”"),
    "forget_fact": Saying("“forget my goal”", "“sahau lengo langu”"),
    "cancel_reminder": Saying("“cancel reminder 1”", "“futa kikumbusho 1”"),
    "unlink_account": Saying("“unlink”", "“tenganisha”"),
    "forget_conversation": Saying("“forget what we talked about”", "“sahau tulichozungumza”"),
    "forget_everything": Saying("“forget everything you know about me”", "“sahau kila kitu unachojua kunihusu”"),
}
"""What to say for it, by the action of another connector that does it."""


class Nothing(Params):
    """Nothing to fill in."""


@action(effect=Effect.READ, own=True, examples=("what do you know about me?", "my profile", "unajua nini kuhusu mimi?"))
async def my_profile(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Show all that is known of the person, where it comes from, and how to change or delete each."""
    if ctx.sender is None:
        raise UserError(BY_WRITING)
    if not ctx.sender.is_private:
        raise UserError(PRIVATE)
    async with ctx.db.transaction() as session:
        person = (await session.execute(select(Person).where(Person.id == people.current(ctx.person.id)))).scalar_one()
        rows = await session.execute(
            select(Identity.channel, Identity.provider_id, Identity.verified_at)
            .where(Identity.person_id == person.id)
            .order_by(Identity.created_at, Identity.id)
            .limit(linking.IDENTITIES_MAX)
        )
        identities = rows.all()
        contacts = await people.contacts(session, person.id)
        told = await facts.known(session, person.id)
        given = await facts.known(session, person.id, "name")
        where = await facts.places(session, [*told, *given])
        count = await counts(session, person.id)
        talked = await summary.of(session, person.id, ctx.conversation_id)
        connection = await driver(session)
        name = (await names_of(connection)).open(person.name)
        addresses = await mailboxes.addresses(
            connection, [row.provider_id for row in identities if row.channel == ChannelName.EMAIL and row.verified_at]
        )
    language = ctx.person.language
    said = next((fact for fact in reversed(given) if fact.words == name and fact.source == "stated"), None)
    named = facts.source(said, where, language=language, zone=ctx.zone, now=ctx.now) if said else ctx.say(OF_PROFILE)
    chats = [_chat(ctx, row.channel, row.provider_id) for row in identities if row.channel != ChannelName.EMAIL]
    some = ", ".join(contact.name for contact in contacts[:NAMES_MAX]) + (" …" if len(contacts) > NAMES_MAX else "")
    shown = {
        "name": f"{name} ({named})" if name else ctx.say(NO_NAME),
        "language": f"{LANGUAGES.get(language, language)} ({ctx.say(CHOSEN if person.language_chosen else HEARD)})",
        "zone": f"{ctx.zone.key} ({_zone_from(ctx, stated=person.timezone is not None)})",
        "currency": f"{ctx.currency} ({_currency_from(ctx)})",
        "chats": ", ".join(chats),
        "email": ", ".join(addresses.values()) or ctx.say(NO_EMAIL),
        "contacts": f"{len(contacts):,}: {some}" if contacts else "0",
        **{what: f"{count[what]:,}" for what in ("reminders", "files", "workflows") if count[what]},
    }
    lines = tuple(Fact(label=ctx.say(LABELS[one]), value=value[:VALUE_CHARS_MAX]) for one, value in shown.items())
    described = facts.described(told, where, language=language, zone=ctx.zone, now=ctx.now)
    lately = ctx.say(TALKED, lines=talked.text(language, ctx.zone)) if talked and talked.items else None
    more = "\n\n".join(part for part in (described, lately, _how(ctx)) if part)
    data: dict[str, JsonValue] = {
        "name": name, "language": language, "zone": person.timezone, "contacts": len(contacts),
        "facts": [{"kind": fact.kind, "words": fact.words} for fact in told],
    }  # fmt: skip
    return ActionResult.of(
        Card(title=ctx.say(HEAD), facts=lines),
        *((Text(text=more),) if more else ()),
        data=data,
    )


def _zone_from(ctx: ActionContext, *, stated: bool) -> str:
    if stated:
        return ctx.say(STATED)
    return ctx.say(BY_NUMBER) + (ctx.say(TELL_ZONE) if ctx.offers("set_timezone") else "")


def _currency_from(ctx: ActionContext) -> str:
    if ctx.person.currency is not None:
        return ctx.say(STATED)
    where = ctx.say(BY_COUNTRY if ctx.likely_currency else OF_HERE)
    return where + (ctx.say(TELL_CURRENCY) if ctx.offers("set_currency") else "")


def _how(ctx: ActionContext) -> str:
    """How each of it is changed and deleted, as far as there is something here that does it; empty for nothing."""
    changing, deleting, at_once = ([saying for action, saying in ways.items() if ctx.offers(action)]
                                   for ways in (TO_CHANGE, TO_DELETE, AT_ONCE))  # fmt: skip
    lines = [ctx.say(CHANGING, ways=Saying.joined(", ", *changing))] if changing else []
    last = [ctx.say(DELETING, ways=Saying.joined(", ", *deleting))] if deleting else []
    last += [ctx.say(Saying.joined(", ", *at_once)) + "."] if at_once else []
    return "\n".join((*lines, " ".join(last))).strip()


connector = Connector(
    name="profile", private=True, title=Saying("What I know about you", "Ninachojua kukuhusu"), actions=(my_profile,)
)


def _chat(ctx: ActionContext, channel: str, provider_id: str) -> str:
    """A chat as its owner knows it."""
    number = f" {provider_id.partition(':')[2]}" if channel == ChannelName.WHATSAPP and ":" in provider_id else ""
    return ctx.say(CHANNELS[channel]) + number
