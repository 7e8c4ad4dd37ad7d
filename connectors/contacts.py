"""Whom a person knows: names with a phone number, an e-mail address, a note. Only their owner ever sees them."""

from pydantic import Field, JsonValue

from core import countries, messages, people, relations
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.errors import InvalidSlot, UserError
from core.language import Plural, Saying
from core.messages import FACTS_MAX, Card, Fact, Text
from core.models import Contact

SHOWN_MAX = FACTS_MAX
REGION = "KE"
"""Where a number without a country code is from, when nothing else tells."""
PRIVATE = Saying(
    "Let us keep that between us: ask me in private, not in a group.",
    "Hilo libaki kati yetu: niulize faraghani, si kwenye kikundi.",
)
WHOSE = Saying("Whose is it? Tell me a name.", "Ni ya nani? Niambie jina.")
WHICH_PHONE = Saying("What is {name}'s phone number?", "Namba ya simu ya {name} ni ipi?")
SAVED = Saying("Done. Saved {contact}.", "Sawa. Nimehifadhi {contact}.")
FORGOTTEN = Saying("Done. I have forgotten {name}.", "Sawa. Nimemsahau {name}.")
UNDO = Saying(
    " Say “undo” within the hour to have them back.", " Andika “tengua” ndani ya saa moja ukitaka kumrudisha."
)
YOURS = Saying("your {relation}", "{relation} wako")
UNKNOWN = Saying("“{name}” is not among your contacts.", "“{name}” hayumo kwenye mawasiliano yako.")
NONE = Saying(
    "You have no contacts. You could say: “save Amina's number +254 712 345 678”.",
    "Huna mawasiliano. Unaweza kusema: “hifadhi namba ya Asha 0712345678”.",
)
YOUR = Plural(Saying("Your contact", "Mwasiliani wako"), Saying("Your {count} contacts", "Mawasiliano yako {count}"))
MORE = Saying("… and {count} more. Ask for one by name.", "… na wengine {count}. Niulize mmoja kwa jina.")


class SaveContact(Params):
    """Who, and how to reach them."""

    name: str = Field(
        description="The contact's name", min_length=1, max_length=people.CONTACT_NAME_CHARS_MAX,
        json_schema_extra=ask(WHOSE.en, WHOSE.sw),
    )  # fmt: skip
    phone: str | None = Field(
        default=None, max_length=people.PHONE_CHARS_MAX, coerce_numbers_to_str=True,
        description="A phone number, with its country code or as it is written at home",
        json_schema_extra=ask("What is the phone number?", "Namba ya simu ni ipi?"),
    )  # fmt: skip
    email: str | None = Field(
        default=None, max_length=people.EMAIL_CHARS_MAX, description="An e-mail address",
        json_schema_extra=ask("What is the e-mail address?", "Anwani ya barua pepe ni ipi?"),
    )  # fmt: skip
    note: str | None = Field(
        default=None, max_length=people.NOTE_CHARS_MAX, description="Anything else to remember of them",
        json_schema_extra=ask("What should I note?", "Niandike nini?"),
    )  # fmt: skip
    relation: str | None = Field(
        default=None, max_length=people.CONTACT_NAME_CHARS_MAX,
        description="What they are to the person, where that was said: accountant, wife, landlord",
        json_schema_extra=ask("What are they to you?", "Ni nani kwako?"),
    )  # fmt: skip


class ListContacts(Params):
    """Everybody, or one."""

    name: str | None = Field(
        default=None, max_length=people.CONTACT_NAME_CHARS_MAX, description="Only this contact",
        json_schema_extra=ask("Whose?", "Ya nani?"),
    )  # fmt: skip


class ForgetContact(Params):
    """Whom."""

    name: str = Field(
        description="The name of the contact to forget", min_length=1, max_length=people.CONTACT_NAME_CHARS_MAX,
        json_schema_extra=ask("Whom should I forget?", "Nimsahau nani?"),
    )  # fmt: skip


@action(
    effect=Effect.WRITE,
    examples=("save Amina's number +254 712 345 678", "add contact Baraka baraka@example.com",
              "hifadhi namba ya Asha 0712345678", "my accountant is +254 722 000 111"),
)  # fmt: skip
async def save_contact(ctx: ActionContext, params: SaveContact) -> ActionResult:
    """Remember a contact: phone number, e-mail address, a note, what they are to the person; or change it."""
    _in_private(ctx)
    name = people.one_line(params.name)
    if not any(map(str.isalpha, name)):
        # A part of the number, say, that was taken for whose it is.
        raise InvalidSlot("name", WHOSE)
    phone = people.phone_number(params.phone, countries.of_zone(ctx.zone.key) or REGION) if params.phone else None
    email = people.email_address(params.email) if params.email else None
    note = people.one_line(params.note) if params.note else None
    relation = (relations.of(params.relation) or relations.bare(params.relation)) if params.relation else None
    if phone is None and email is None and note is None and not relation:
        raise InvalidSlot("phone", WHICH_PHONE.filled(name=name))
    async with ctx.db.transaction() as session:
        saved = await people.save_contact(
            session, ctx.person.id, ctx.conversation_id, name, phone=phone, email=email, note=note, relation=relation
        )
    return ActionResult(ctx.say(SAVED, contact=_line(ctx, saved)), _data(saved))


@action(
    effect=Effect.READ, own=True, examples=("who are my contacts?", "what is Amina's number?", "nionyeshe anwani zangu")
)  # fmt: skip
async def list_contacts(ctx: ActionContext, params: ListContacts) -> ActionResult:
    """Show the person's contacts, or one of them."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        if params.name:
            found = await people.find_contact(session, ctx.person.id, people.one_line(params.name))
            if found is None:
                raise UserError(_unknown(params.name))
            return _one(ctx, found)
        known = await people.contacts(session, ctx.person.id, limit=SHOWN_MAX)
        count = await people.contacts_count(session, ctx.person.id)
    if not known:
        return ActionResult(ctx.say(NONE), {"count": 0})
    head = ctx.say(YOUR.of(count))
    facts = (Fact(label=contact.name, value=_details(ctx, contact) or "–") for contact in known)
    card = Card(title=head, facts=tuple(facts))
    more = (Text(text=ctx.say(MORE, count=f"{count - len(known):,}")),) if count > len(known) else ()
    data: dict[str, JsonValue] = {"count": count, "contacts": [_data(contact) for contact in known]}
    return ActionResult.of(card, *more, data=data)


@action(effect=Effect.WRITE, examples=("forget Amina", "delete Amina's number", "futa namba ya Amina"))
async def forget_contact(ctx: ActionContext, params: ForgetContact) -> ActionResult:
    """Forget one of the person's contacts, who can be had back for an hour."""
    _in_private(ctx)
    async with ctx.db.transaction() as session:
        await people.hold(session, ctx.person.id)
        earlier = await people.forgotten_by(session, ctx.person.id, ctx.idempotency_key)
        if earlier:
            return ActionResult(_forgotten(ctx, earlier[0].name))
        found = await people.find_contact(session, ctx.person.id, people.one_line(params.name))
        if found is None:
            raise UserError(_unknown(params.name))
        await people.forget_contact(session, found, key=ctx.idempotency_key, now=ctx.now)
    return ActionResult(_forgotten(ctx, found.name))


def _forgotten(ctx: ActionContext, name: str) -> str:
    return ctx.say(FORGOTTEN, name=name) + (ctx.say(UNDO) if ctx.offers("undo") else "")


connector = Connector(
    name="contacts",
    private=True,
    title=Saying("Contacts", "Mawasiliano"),
    actions=(save_contact, list_contacts, forget_contact),
)


def _in_private(ctx: ActionContext) -> None:
    """Raise UserError in a group, where others would read along; a workflow speaks where its maker put it."""
    if ctx.sender is not None and not ctx.sender.is_private:
        raise UserError(PRIVATE)


def _unknown(name: str) -> Saying:
    return UNKNOWN.filled(name=people.one_line(name))


def _one(ctx: ActionContext, contact: Contact) -> ActionResult:
    """One contact, to tap on: to call, to write to, or to keep on the phone."""
    if contact.phone is None and contact.email is None:
        return ActionResult(_line(ctx, contact), _data(contact))
    phones, emails = ((reached,) if reached else () for reached in (contact.phone, contact.email))
    shown = messages.Contact(name=contact.name, phones=phones, emails=emails)
    more = ", ".join(word for word in (_relation(ctx, contact), contact.note) if word)
    note = (Text(text=more),) if more else ()
    return ActionResult(_line(ctx, contact), _data(contact), instead=(shown, *note))


def _details(ctx: ActionContext, contact: Contact) -> str:
    return ", ".join(word for word in (contact.phone, contact.email, _relation(ctx, contact), contact.note) if word)


def _relation(ctx: ActionContext, contact: Contact) -> str | None:
    """What they are to the person; nothing where that is what they are called."""
    if contact.relation is None or relations.of(contact.name) == contact.relation:
        return None
    return ctx.say(YOURS, relation=relations.named(contact.relation))


def _line(ctx: ActionContext, contact: Contact) -> str:
    details = _details(ctx, contact)
    return f"{contact.name}: {details}" if details else contact.name


def _data(contact: Contact) -> dict[str, JsonValue]:
    return {
        "name": contact.name, "phone": contact.phone, "email": contact.email, "note": contact.note,
        "relation": contact.relation,
    }  # fmt: skip
