"""The person's own account: linking chats, language, clock, name, e-mail address."""

from email.utils import parseaddr
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr
from sqlalchemy import select, update

from core import clock, emails, facts, linking, people, zones
from core.actions import ActionContext, ActionResult, Connector, Effect, Params, action, ask
from core.codes import code_in, grouped
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Plural, Saying
from core.linking import Outcome
from core.messages import Address, Text
from core.models import Person
from core.money import DECIMALS
from core.outbox import NewMessage, post
from core.renumber import Frozen

NAME_CHARS_MAX = 80
THIS = {
    "en": {"web": "this web chat", "whatsapp": "this WhatsApp number", "telegram": "this Telegram account"},
    "sw": {"web": "gumzo hili la wavuti", "whatsapp": "namba hii ya WhatsApp", "telegram": "akaunti hii ya Telegram"},
}
THAT = {
    "en": {"web": "your web chat", "whatsapp": "your WhatsApp number", "telegram": "your Telegram account"},
    "sw": {"web": "gumzo lako la wavuti", "whatsapp": "namba yako ya WhatsApp", "telegram": "akaunti yako ya Telegram"},
}
BY_WRITING = Saying("That can only be done by writing to me.", "Hilo hufanyika kwa kuniandikia tu.")
NO_MAIL = Saying(
    "I cannot send e-mail here: no mail server is set up.",
    "Siwezi kutuma barua pepe hapa: hakuna seva ya barua iliyowekwa.",
)
UNKNOWN_ZONE = Saying(
    "I do not know that place's time. Which larger town near you has the same time?",
    "Sijui saa za mahali hapo. Ni mji gani mkubwa karibu nawe wenye saa zile zile?",
)
ZONE = Saying(
    "Done. Your time zone is {zone}; it is {time} there.", "Sawa. Saa za eneo lako ni {zone}; huko ni saa {time}."
)
MOVED = Plural(
    Saying(
        "The reminder set before comes at the hour you named, there.",
        "Kikumbusho kilichowekwa awali kitakuja saa uliyoitaja, ya huko.",
    ),
    Saying(
        "The {count} reminders set before come at the hours you named, there.",
        "Vikumbusho {count} vilivyowekwa awali vitakuja saa ulizozitaja, za huko.",
    ),
)
WHICH_CURRENCY = Saying("Which currency is yours, such as KES or USD?", "Sarafu yako ni ipi, kama KES au USD?")
NO_CURRENCY = Saying("I do not know a currency called “{code}”.", "Siijui sarafu inayoitwa “{code}”.")
CURRENCY = Saying("Done. Where you name no currency, I take {code}.", "Sawa. Usipotaja sarafu, nitachukua {code}.")
CURRENCY_FORGOTTEN = Saying(
    "Done. I have forgotten that {before} is your currency, and take {code} where you name none.",
    "Sawa. Nimesahau kwamba sarafu yako ni {before}, na usipotaja nitachukua {code}.",
)
NO_OWN_CURRENCY = Saying(
    "You have not told me a currency of yours. You could say: “my currency is USD”.",
    "Hujaniambia sarafu yako. Unaweza kusema: “sarafu yangu ni USD”.",
)
NAME = Saying("What is your name?", "Jina lako ni nani?")

SAYINGS = {
    "en": {
        "private": "Let us do that in private: write to me directly, not in a group.",
        "code": "Type this code in your other chat with me, within 10 minutes:\n\n{code}\n\nThat chat then joins your "
        "account. Give the code to nobody: whoever types it becomes you.",
        "linked": "Linked: {this} and {that} are now one account. If this was not you, say “unlink”.",
        "wrong": "That code does not work. Say “link my account” in the other chat for a new one.",
        "locked": "That was too many codes that do not work. Try again after {time}.",
        "own": "This chat is where the code was shown. Type it in your other chat.",
        "already": "These two chats are one account already.",
        "settled": "Thank you. I know again that it is you who writes from here.",
        "frozen": "WhatsApp says that this number has changed hands, so that does not link it. Type here a code from a "
        "chat where you are signed in to this account, or ask for a human.",
        "alone": "This chat is now an account of its own: nothing else is linked to it.",
        "language": "Done. I will speak English with you.",
        "name": "Done. I will call you {name}.",
        "nameless": "Done. I no longer call you {name}.",
        "undo": " Say “undo” within the hour to have it back.",
        "no_name": "I know no name of yours. You could say: “call me Asha”.",
        "mailed": "I have mailed a 6-digit code to {email}. Send it to me here and the address is yours.",
        "email": "Done. {email} is confirmed: what I cannot deliver elsewhere goes there.",
        "bad_email_code": "That code does not work. Check the newest mail, or tell me your address again.",
    },
    "sw": {
        "private": "Tufanye hilo faraghani: niandikie moja kwa moja, si kwenye kikundi.",
        "code": "Andika nambari hii kwenye gumzo lako lingine nami, ndani ya dakika 10:\n\n{code}\n\nGumzo hilo "
        "litajiunga na akaunti yako. Usimpe mtu yeyote: atakayeiandika atakuwa wewe.",
        "linked": "Imeunganishwa: {this} na {that} sasa ni akaunti moja. Kama si wewe, andika “tenganisha”.",
        "wrong": "Nambari hiyo haifanyi kazi. Andika “unganisha akaunti yangu” kwenye gumzo lingine upate mpya.",
        "locked": "Umejaribu nambari nyingi zisizofanya kazi. Jaribu tena baada ya {time}.",
        "own": "Nambari ilionyeshwa kwenye gumzo hili. Iandike kwenye gumzo lako lingine.",
        "already": "Magumzo haya mawili tayari ni akaunti moja.",
        "settled": "Asante. Najua tena kwamba ni wewe unayeandika kutoka hapa.",
        "frozen": "WhatsApp inasema namba hii imebadilisha mwenyewe, kwa hiyo hilo haliiunganishi. Andika hapa nambari "
        "kutoka gumzo ulikoingia kwenye akaunti hii, au omba mtu.",
        "alone": "Gumzo hili sasa ni akaunti yake lenyewe: hakuna kingine kilichounganishwa.",
        "language": "Sawa. Nitazungumza nawe kwa Kiswahili.",
        "name": "Sawa. Nitakuita {name}.",
        "nameless": "Sawa. Sikuiti tena {name}.",
        "undo": " Andika “tengua” ndani ya saa moja ukitaka kulirudisha.",
        "no_name": "Sijui jina lako lolote. Unaweza kusema: “niite Asha”.",
        "mailed": "Nimetuma nambari ya tarakimu 6 kwa {email}. Nitumie hapa na anwani itakuwa yako.",
        "email": "Sawa. {email} imethibitishwa: nisichoweza kukufikishia kwingine kitaenda huko.",
        "bad_email_code": "Nambari hiyo haifanyi kazi. Angalia barua mpya zaidi, au niambie anwani yako tena.",
    },
}


class LinkAccount(Params):
    """A code, when one is typed."""

    code: SecretStr | None = Field(
        default=None, max_length=40,
        description="The code that another chat showed, such as K7QM-2XVR-9T; left out to be shown one",
    )  # fmt: skip


class Nothing(Params):
    """Nothing to fill in."""


class SetLanguage(Params):
    """Which language."""

    language: Literal["en", "sw"] = Field(
        description="The language to speak: en or sw",
        json_schema_extra=ask(
            "Which language shall I speak: English or Kiswahili?", "Niongee lugha gani: Kiingereza au Kiswahili?"
        ),
    )


class SetTimezone(Params):
    """Where their clock is."""

    zone: str = Field(
        description="An IANA time zone such as Africa/Nairobi, or a town or country", min_length=2,
        max_length=zones.NAME_CHARS_MAX,
        json_schema_extra=ask("Which town's time do you live by?", "Unafuata saa za mji gani?"),
    )  # fmt: skip


class SetCurrency(Params):
    """Which currency is theirs."""

    currency: str = Field(
        description="ISO 4217 code of the person's own currency, such as KES or USD", min_length=1, max_length=20,
        json_schema_extra=ask(WHICH_CURRENCY.en, WHICH_CURRENCY.sw),
    )  # fmt: skip


class SetName(Params):
    """What to call them."""

    name: str = Field(
        description="The person's own name", min_length=1, max_length=NAME_CHARS_MAX,
        json_schema_extra=ask(NAME.en, NAME.sw),
    )  # fmt: skip


class SetEmail(Params):
    """Where to mail."""

    email: str = Field(
        description="The person's own e-mail address", min_length=3, max_length=people.EMAIL_CHARS_MAX,
        json_schema_extra=ask("What is your e-mail address?", "Anwani yako ya barua pepe ni ipi?"),
    )  # fmt: skip


class ConfirmEmail(Params):
    """The code out of the mail."""

    code: SecretStr = Field(
        description="The 6-digit code that was mailed to the person", max_length=20,
        json_schema_extra=ask(
            "Which 6-digit code did I mail to you?", "Nilikutumia nambari gani ya tarakimu 6 kwa barua pepe?"
        ),
    )  # fmt: skip


@action(effect=Effect.WRITE, examples=("link my account", "K7QM-2XVR-9T", "unganisha akaunti yangu"))
async def link_account(ctx: ActionContext, params: LinkAccount) -> ActionResult:
    """Join the person's chats on several channels to one account, by a code shown in one and typed in the other."""
    sender = _sender(ctx)
    code = code_in(params.code.get_secret_value()) if params.code else None
    if not sender.is_private:
        if code is not None:
            async with ctx.db.transaction() as session:
                await linking.spoil(session, code, ctx.now)
        raise UserError(_say(ctx, "private"))
    if params.code is None:
        try:
            async with ctx.db.transaction() as session:
                shown = await linking.show_code(session, sender, ctx.conversation_id, ctx.now, ctx.offered)
        except Frozen:
            raise UserError(_say(ctx, "frozen")) from None
        return ActionResult(_say(ctx, "code", code=grouped(shown)))
    async with ctx.db.transaction() as session:
        used = await linking.use_code(
            session, sender, code or params.code.get_secret_value(), ctx.now, ctx.idempotency_key
        )
        if used.outcome is Outcome.LINKED and used.conversation_id is not None and used.channel is not None:
            told = _linked(used.language, used.channel, sender.channel)
            notice = NewMessage(used.conversation_id, (Text(text=told),), "notice", f"linked:{ctx.idempotency_key}")
            await post(await driver(session), [notice])
            return ActionResult(_linked(used.language, sender.channel, used.channel), {"linked": True})
    if used.outcome is Outcome.SETTLED:
        return ActionResult(_say(ctx, "settled"), {"linked": True})
    if used.outcome is Outcome.LOCKED and used.until is not None:
        raise UserError(_say(ctx, "locked", time=f"{used.until.astimezone(ctx.zone):%H:%M}"))
    raise UserError(_say(ctx, used.outcome.value))


@action(effect=Effect.WRITE, examples=("unlink", "unlink this chat", "tenganisha akaunti"))
async def unlink_account(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Make the chat this is said in an account of its own again."""
    sender = _sender(ctx)
    if not sender.is_private:
        raise UserError(_say(ctx, "private"))
    async with ctx.db.transaction() as session:
        await linking.unlink(session, sender, ctx.conversation_id, ctx.now)
    return ActionResult(_say(ctx, "alone"))


@action(effect=Effect.WRITE, examples=("speak Swahili", "change my language to English", "ongea Kiswahili"))
async def set_language(ctx: ActionContext, params: SetLanguage) -> ActionResult:
    """Choose the language to be spoken with: English or Kiswahili."""
    await _change(ctx, language=params.language, language_chosen=True)
    return ActionResult(SAYINGS[params.language]["language"], {"language": params.language})


@action(effect=Effect.WRITE, examples=("my time zone is Kampala", "I live in Dubai", "naishi Mombasa"))
async def set_timezone(ctx: ActionContext, params: SetTimezone) -> ActionResult:
    """Set the time zone the person lives by, from a town, a country with one clock, or an IANA name."""
    zone = zones.find(params.zone)
    if zone is None:
        raise InvalidSlot("zone", UNKNOWN_ZONE)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        stated = await session.scalar(select(Person.timezone).where(Person.id == owner))
        await session.execute(update(Person).where(Person.id == owner).values(timezone=zone))
        # Of somebody who said it before, what was set stays where they were then.
        moved = 0
        if stated is None and zone != ctx.zone.key:
            moved = await clock.move(session, owner, ctx.zone.key, zone, ctx.now)
    time = f"{ctx.now.astimezone(ZoneInfo(zone)):%H:%M}"
    said = Saying.joined(" ", ZONE.filled(zone=zone, time=time), *((MOVED.of(moved),) if moved else ()))
    return ActionResult(ctx.say(said), {"zone": zone, "moved": moved})


@action(effect=Effect.WRITE, examples=("my currency is USD", "set my currency to euros", "sarafu yangu ni dola"))
async def set_currency(ctx: ActionContext, params: SetCurrency) -> ActionResult:
    """Remember which currency the person means where they name none."""
    code = params.currency.strip().upper()
    if code not in DECIMALS:
        unknown = NO_CURRENCY.filled(code=people.one_line(params.currency))
        raise InvalidSlot("currency", Saying.joined(" ", unknown, WHICH_CURRENCY))
    await _change(ctx, currency=code)
    return ActionResult(ctx.say(CURRENCY, code=code), {"currency": code})


@action(effect=Effect.WRITE, examples=("forget my currency", "delete my currency", "sahau sarafu yangu"))
async def forget_currency(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Forget the person's own currency."""
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        before = await session.scalar(select(Person.currency).where(Person.id == owner))
        await session.execute(update(Person).where(Person.id == owner).values(currency=None))
    if before is None:
        raise UserError(NO_OWN_CURRENCY)
    instead = ctx.likely_currency or ctx.settings.default_currency
    return ActionResult(ctx.say(CURRENCY_FORGOTTEN, before=before, code=instead), {"currency": None})


@action(effect=Effect.WRITE, examples=("my name is Amina", "call me Baraka", "jina langu ni Wanjiru"))
async def set_name(ctx: ActionContext, params: SetName) -> ActionResult:
    """Remember the person's own name."""
    name = people.one_line(params.name)
    if not name:
        raise InvalidSlot("name", NAME)
    async with ctx.db.transaction() as session:
        await facts.be_called(session, ctx.person.id, ctx.conversation_id, name, key=ctx.idempotency_key, now=ctx.now)
    return ActionResult(_say(ctx, "name", name=name), {"name": name})


@action(effect=Effect.WRITE, examples=("forget my name", "don't call me by my name", "sahau jina langu"))
async def forget_name(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Forget the person's own name; it can be had back for an hour."""
    if ctx.sender is not None and not ctx.sender.is_private:
        raise UserError(_say(ctx, "private"))
    async with ctx.db.transaction() as session:
        before = await facts.be_called(
            session, ctx.person.id, ctx.conversation_id, None, key=ctx.idempotency_key, now=ctx.now
        )
    if before is None:
        raise UserError(_say(ctx, "no_name"))
    undo = _say(ctx, "undo") if ctx.offers("undo") else ""
    return ActionResult(_say(ctx, "nameless", name=before) + undo)


@action(
    effect=Effect.WRITE,
    examples=(
        "my e-mail is amina@example.com",
        "set my e-mail to amina@example.com",
        "barua pepe yangu ni amina@example.com",
    ),
)
async def set_email(ctx: ActionContext, params: SetEmail) -> ActionResult:
    """Mail a code to the person's e-mail address, which is used only after they have sent the code back."""
    sender = _sender(ctx)
    if not sender.is_private:
        raise UserError(_say(ctx, "private"))
    address = people.email_address(params.email)
    async with ctx.db.transaction() as session:
        await emails.mail_code(
            session, ctx.person.id, ctx.conversation_id, address, account=_mailbox(ctx), language=ctx.person.language,
            now=ctx.now, key=ctx.idempotency_key,
        )  # fmt: skip
    return ActionResult(_say(ctx, "mailed", email=address))


@action(effect=Effect.WRITE, examples=("the code is 123456", "my code is 482913", "msimbo ni 482913"))
async def confirm_email(ctx: ActionContext, params: ConfirmEmail) -> ActionResult:
    """Confirm the person's e-mail address with the code that was mailed to it."""
    if not _sender(ctx).is_private:
        raise UserError(_say(ctx, "private"))
    code = "".join(sign for sign in params.code.get_secret_value() if sign.isalnum())
    async with ctx.db.transaction() as session:
        address = await emails.confirm(
            session, ctx.person.id, code, account=_mailbox(ctx), now=ctx.now, key=ctx.idempotency_key
        )
    if address is None:
        raise UserError(_say(ctx, "bad_email_code"))
    return ActionResult(_say(ctx, "email", email=address), {"email": address})


connector = Connector(
    name="account",
    title=Saying("Your account", "Akaunti yako"), private=True,
    actions=(
        link_account, unlink_account, set_language, set_timezone, set_currency, forget_currency, set_name,
        forget_name, set_email,
        confirm_email,
    ),
)  # fmt: skip


async def _change(ctx: ActionContext, **values: str | bool) -> None:
    """Set columns of the person's row."""
    async with ctx.db.transaction() as session:
        await session.execute(update(Person).where(Person.id == people.current(ctx.person.id)).values(**values))


def _sender(ctx: ActionContext) -> Address:
    if ctx.sender is None:
        raise UserError(BY_WRITING)
    return ctx.sender


def _mailbox(ctx: ActionContext) -> str:
    """Our own e-mail address; raises UserError where there is no mail server."""
    if not ctx.settings.smtp_host:
        raise UserError(NO_MAIL)
    return parseaddr(ctx.settings.mail_from)[1]


def _linked(language: str, here: str, there: str) -> str:
    """What is said in the chat on channel `here`, in the one person's language."""
    spoken = language if language in SAYINGS else "en"
    this, that = THIS[spoken].get(here, here), THAT[spoken].get(there, there)
    return SAYINGS[spoken]["linked"].format(this=this, that=that)


def _language(ctx: ActionContext) -> str:
    return ctx.person.language if ctx.person.language in SAYINGS else "en"


def _say(ctx: ActionContext, saying: str, **values: str) -> str:
    return SAYINGS[_language(ctx)][saying].format(**values)
