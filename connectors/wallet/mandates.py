"""Standing mandates: a workflow of the person's pays by itself, within what they confirmed once.

What is granted is shown by code, all of it, and confirmed like a payment. Each payment of a workflow goes through
`pay_by_mandate`, in one transaction: what was confirmed is read from the confirmation again, everything that is looked
at for a payment in a chat is looked at, the use is counted, and the money moves.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import BaseModel, Field, JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.wallet.amounts import SANDBOX, Nothing, SendMoney, in_private, in_shillings, mpesa, own_number
from connectors.wallet.limits import allowed, needs_pin, unless_unproven
from connectors.wallet.spending import (
    KIND,
    PROMPT_CHARS_MAX,
    SELF,
    TO_MPESA,
    TO_WALLET,
    UNCONFIRMED,
    UNKNOWN,
    fee_of,
    payee_of,
    tell_payee,
    visible,
    wallet_of,
)
from core import audit, confirm, people, renumber
from core.actions import ActionContext, ActionResult, Effect, Params, Shown, action, ask
from core.amount_words import LARGEST, in_words
from core.db import driver
from core.errors import InvalidSlot, UserError
from core.language import Saying, day
from core.notices import tell
from core.sealed import as_workflow
from ledger import mandates
from ledger.errors import InsufficientFunds
from ledger.holds import Allowance
from ledger.instruction_store import MPESA, PayOut, pay_out
from ledger.instructions import Payee
from ledger.journal import Kind
from ledger.mandate_models import PAYEES_MAX
from ledger.mandates import Mandate, NoMandate, OutsideMandate, Terms
from ledger.money import TOO_LARGE, Money
from ledger.spending_limits import midnight
from ledger.transfers import transfer

log = structlog.get_logger()

LIFE_DAYS_MAX = 366
"""A mandate is confirmed anew at least once a year."""
WORKFLOWS_MAX = 50
"""Of a person's workflows, when one is looked for by its name (jobs/definitions.DEFINITIONS_MAX)."""
NAMES_CHARS_MAX = 300
NEWEST: Final = 2**63 - 1

WHICH = Saying("Which of your workflows?", "Kazi ipi kati ya kazi zako?")
NO_FLOWS = Saying(
    "You have no workflows yet, so there is none that could pay by itself.",
    "Bado huna kazi yoyote, kwa hiyo hakuna inayoweza kulipa yenyewe.",
)
UNKNOWN_FLOW = Saying(
    "You have no workflow called “{name}”. Which of your workflows?", "Huna kazi inayoitwa “{name}”. Kazi ipi?"
)
PAUSED_FLOW = Saying("That workflow is paused. Resume it first.", "Kazi hiyo imesimamishwa. Iendeleze kwanza.")
WHOM = Saying(
    "Whom may it pay? Name people from your contacts, or numbers, with commas between them.",
    "Imlipe nani? Taja watu kutoka mawasiliano yako, au namba, ukitenganisha kwa koma.",
)
MANY = Saying(
    "A mandate names at most {most} payees. Whom may it pay?", "Idhini hutaja walipwaji {most} tu. Imlipe nani?"
)
LONG = Saying(
    "All of that cannot be shown at once, so it cannot be confirmed at once. Name fewer people. Whom may it pay?",
    "Yote hayo hayawezi kuonyeshwa kwa pamoja, kwa hiyo hayawezi kuthibitishwa. Taja watu wachache. Imlipe nani?",
)
HOW_MUCH_EACH = Saying("At most how much each time, with the fee?", "Kiasi gani cha juu kila mara, pamoja na ada?")
HOW_MUCH_A_DAY = Saying("At most how much a day?", "Kiasi gani cha juu kwa siku?")
HOW_MUCH_IN_ALL = Saying("At most how much in all?", "Kiasi gani cha juu kwa jumla?")
LESS = Saying(
    "That is less than the {amount} before it. At most how much?", "Hiyo ni chini ya {amount} ya awali. Kiasi gani?"
)
UNTIL_WHEN = Saying("Until when, such as 31 December?", "Hadi lini, kama 31 Desemba?")
PAST = Saying("That day is over. Until when, such as 31 December?", "Siku hiyo imepita. Hadi lini, kama 31 Desemba?")
FAR = Saying(
    "A mandate holds for a year at most, then it is confirmed anew. Until when?",
    "Idhini hudumu mwaka mmoja tu, kisha huthibitishwa upya. Hadi lini?",
)
PROMPT = Saying(
    "Please check what “{workflow}” may pay by itself:\nTo: {payees}\nEach time: at most {each} ({each_words})\n"
    "A day: at most {day} ({day_words})\nIn all: at most {total} ({total_words})\nUntil: {until}\n"
    "Fees count. Changing the workflow ends it.",
    "Tafadhali hakiki kile “{workflow}” inaweza kulipa yenyewe:\nKwa: {payees}\nKila mara: hadi {each} ({each_words})\n"
    "Kwa siku: hadi {day} ({day_words})\nKwa jumla: hadi {total} ({total_words})\nHadi: {until}\n"
    "Ada zimo. Kazi ikibadilishwa, idhini inaisha.",
)
GRANTED = Saying(
    "Done. “{workflow}” may pay by itself until {until}. You are told of each payment; “cancel the mandate of"
    " {workflow}” ends it at once.",
    "Sawa. “{workflow}” inaweza kulipa yenyewe hadi {until}. Utaambiwa kila malipo; “futa idhini ya {workflow}”"
    " inaisha mara moja.",
)
CHANGED = Saying(
    "Something about that workflow, or whom it pays, has changed since I showed it, so nothing was granted. Ask for it"
    " again.",
    "Kuna jambo kuhusu kazi hiyo, au anayelipwa, limebadilika tangu nilipoonyesha, kwa hiyo sikuruhusu chochote. Omba"
    " tena.",
)
PAYEE_CHANGED = Saying(
    "Something about whom the standing mandate names has changed, so nothing was sent. Grant it anew.",
    "Kuna jambo kuhusu anayetajwa na idhini ya kudumu limebadilika, kwa hiyo sikutuma chochote. Itoe upya.",
)
NOT_AS_CONFIRMED = Saying(
    "Its standing mandate is not what was confirmed, so nothing was sent. Grant it anew.",
    "Idhini yake ya kudumu si kama ilivyothibitishwa, kwa hiyo sikutuma chochote. Itoe upya.",
)
HOW = Saying(
    "{why} You allow it in your private chat: “let {workflow} pay Jane 500 each, 500 a day, 2,000 in all, until"
    " 31 Dec”.",
    "{why} Unairuhusu kwenye gumzo lako la faragha: “ruhusu {workflow} ilipe Jane 500 kila mara, 500 kwa siku,"
    " 2,000 kwa jumla, hadi 31 Desemba”.",
)
NOT_PAID = Saying(
    "“{workflow}” did not pay {amount} to {payee}; your money is where it was. {why}",
    "“{workflow}” haikulipa {amount} kwa {payee}; pesa zako ziko pale pale. {why}",
)
ADD_MONEY = Saying(
    "There is not enough in your wallet. Add some, such as “top up {amount}”; it pays when it runs next.",
    "Pochi yako haina pesa za kutosha. Ongeza, kwa mfano “ongeza {amount}”; italipa ikiendeshwa tena.",
)
PAID = Saying(
    "“{workflow}” sent {amount} to {payee}. Of what you allowed it, {left} is left until {until}.",
    "“{workflow}” imetuma {amount} kwa {payee}. Kati ya ulichoiruhusu, {left} zimebaki hadi {until}.",
)
ON_ITS_WAY = Saying(
    "“{workflow}” is sending {amount} to {payee}, ref {reference}; I write to you when M-Pesa says that they have come."
    " Of what you allowed it, {left} is left until {until}.",
    "“{workflow}” inatuma {amount} kwa {payee}, kumb. {reference}; nitakuandikia M-Pesa ikisema zimefika. Kati ya"
    " ulichoiruhusu, {left} zimebaki hadi {until}.",
)
NO_MANDATES = Saying(
    "None of your workflows may pay anything by itself.", "Hakuna kazi yako inayoruhusiwa kulipa yenyewe."
)
ONE = Saying(
    "“{workflow}” pays {payees}: at most {each} each time, {day} a day, {total} in all, until {until}. {left} is left.",
    "“{workflow}” hulipa {payees}: hadi {each} kila mara, {day} kwa siku, {total} kwa jumla, hadi {until}."
    " Zimebaki {left}.",
)
CANCELLED = Saying("Done. “{workflow}” pays nothing by itself now.", "Sawa. “{workflow}” hailipi yenyewe tena.")
NOTHING_TO_CANCEL = Saying("“{workflow}” may pay nothing by itself.", "“{workflow}” hairuhusiwi kulipa yenyewe.")
UNREADABLE = Saying("(no longer readable)", "(haisomeki tena)")

OWN = """
SELECT id, conversation_id, name, state, version FROM workflow_definition
WHERE person_id = $1 AND state <> 'deleted' ORDER BY created_at, id LIMIT $2
"""
NAMED = "SELECT id, conversation_id, name FROM workflow_definition WHERE id = ANY($1::uuid[])"
TOLD_IN = """
SELECT coalesce(
    (SELECT c.conversation_id FROM mandate m JOIN confirmation c ON c.id = m.confirmation_id
     WHERE m.definition_id = d.id ORDER BY m.id DESC LIMIT 1),
    (SELECT c.id FROM conversation c JOIN identity i ON (i.channel, i.account, i.provider_id)
                                                     = (c.channel, c.account, c.room) WHERE c.id = d.conversation_id)
) FROM workflow_definition d WHERE d.id = $1 AND d.state <> 'deleted'
"""
"""The private chat in which somebody is told what a workflow of theirs did not pay; null where there is none."""
OF_RUN = "SELECT definition_id FROM workflow_run WHERE workflow_id = $1"
REFERENCE = "SELECT reference FROM payment_instruction WHERE key = $1"
BETWEEN = re.compile(r"\s*(?:[,;&]|\band\b|\bna\b)\s*", re.IGNORECASE)


def _ask(says: Saying) -> Any:
    return ask(says.en, says.sw)


class GrantMandate(Params):
    """Which workflow may pay whom, how much, until when."""

    workflow: str | None = Field(
        default=None, max_length=80, description="The workflow's name", json_schema_extra=_ask(WHICH)
    )
    payees: str | None = Field(
        default=None, max_length=NAMES_CHARS_MAX,
        description="Everybody it may pay, names or numbers, with commas between them", json_schema_extra=_ask(WHOM),
    )  # fmt: skip
    each: str | None = Field(
        default=None, max_length=40, coerce_numbers_to_str=True,
        description="The most of one payment in KES, its fee included", json_schema_extra=_ask(HOW_MUCH_EACH),
    )  # fmt: skip
    per_day: str | None = Field(
        default=None, max_length=40, coerce_numbers_to_str=True, description="The most within a day in KES",
        json_schema_extra=_ask(HOW_MUCH_A_DAY),
    )  # fmt: skip
    total: str | None = Field(
        default=None, max_length=40, coerce_numbers_to_str=True, description="The most in all in KES",
        json_schema_extra=_ask(HOW_MUCH_IN_ALL),
    )  # fmt: skip
    until: date | None = Field(
        default=None, description="The last day it may pay on, YYYY-MM-DD", json_schema_extra=_ask(UNTIL_WHEN)
    )


class OneWorkflow(Params):
    """Which workflow."""

    workflow: str | None = Field(
        default=None, max_length=80, description="The workflow's name", json_schema_extra=_ask(WHICH)
    )


class Named(BaseModel):
    """Somebody who may be paid: at a number of M-Pesa, or in the wallet of whoever had it when that was shown."""

    name: str
    number: str = Field(pattern="^254[17][0-9]{8}$")
    wallet_of: UUID | None

    @property
    def shown(self) -> Saying:
        """Who and where, as it is confirmed."""
        name = Saying(self.name, self.name) if self.name else UNKNOWN
        return (TO_MPESA if self.wallet_of is None else TO_WALLET).filled(name=name, number=f"+{self.number}")


class Standing(Params):
    """What is shown, frozen and granted: cents of KES, fees included."""

    definition_id: UUID
    version: int
    workflow: str
    payees: list[Named] = Field(min_length=1, max_length=PAYEES_MAX)
    each: int = Field(gt=0)
    day: int
    total: int
    zone: str
    until: datetime

    def said_until(self, ctx: ActionContext) -> Saying:
        """The last day, by the person's clock."""
        return day((self.until.astimezone(ctx.zone) - timedelta(seconds=1)).date(), 0)

    async def terms(self, connection: Any) -> Terms:
        """The same, as the ledger holds payments against it."""
        payees = [await _index(connection, one.number) for one in self.payees]
        each, within, total = (Money(cents, MPESA) for cents in (self.each, self.day, self.total))
        return Terms(tuple(payees), each, within, total, self.zone, self.until)


async def show_mandate(ctx: ActionContext, params: GrantMandate) -> Shown:
    """All of what would be allowed; raises InvalidSlot and UserError where that is not certain."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        flow, name = await _workflow(connection, owner, params.workflow)
        if flow["state"] != "active":
            raise UserError(PAUSED_FLOW)
        payees = await _payees(ctx, session, owner, params.payees)
        each = _amount(ctx, "each", params.each, HOW_MUCH_EACH)
        within = _amount(ctx, "per_day", params.per_day, HOW_MUCH_A_DAY, each)
        total = _amount(ctx, "total", params.total, HOW_MUCH_IN_ALL, within)
        await allowed(ctx, session, owner, each)
    standing = Standing(
        definition_id=flow["id"], version=flow["version"], workflow=visible(name), payees=payees, each=each.minor,
        day=within.minor, total=total.minor, zone=ctx.settings.default_timezone, until=_until(ctx, params.until),
    )  # fmt: skip
    text = ctx.say(
        PROMPT, workflow=standing.workflow, payees=Saying.joined("; ", *(one.shown for one in payees)),
        each=each.said(), each_words=_words(each), day=within.said(), day_words=_words(within), total=total.said(),
        total_words=_words(total), until=standing.said_until(ctx),
    )  # fmt: skip
    if len(text) > PROMPT_CHARS_MAX:
        raise InvalidSlot("payees", LONG)
    return Shown(text, standing, by_pin=needs_pin(ctx, total))


@action(
    effect=Effect.SPEND, shows=show_mandate, asks=GrantMandate,
    examples=(
        "let Rent pay Jane 500 each, 500 a day, 2,000 in all, until 31 Dec",
        "allow Rent to pay Jane up to 500 each time",
        "ruhusu Kodi ilipe Jane 500 kila mara, 500 kwa siku, 2,000 kwa jumla",
    ),
)  # fmt: skip
async def grant_mandate(ctx: ActionContext, params: Standing) -> ActionResult:
    """Let one of the person's workflows pay certain people by itself, within limits and until a day."""
    total = Money(params.total, MPESA)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        await allowed(ctx, session, owner, Money(params.each, MPESA))
        connection = await driver(session)
        if ctx.confirmed is None or ctx.sender is None:
            raise UserError(UNCONFIRMED)
        if not await confirm.use(connection, ctx.confirmed, ctx.idempotency_key, "grant_mandate", owner, ctx.now):
            raise UserError(UNCONFIRMED)
        await unless_unproven(ctx, connection, total)
        if await renumber.is_frozen(connection, ctx.sender):
            raise renumber.Frozen(ctx.offered)
        flows = {row["id"]: row for row in await connection.fetch(OWN, owner, WORKFLOWS_MAX)}
        flow = flows.get(params.definition_id)
        if flow is None or flow["state"] != "active" or flow["version"] != params.version or params.until <= ctx.now:
            raise UserError(CHANGED)
        for one in params.payees:
            await _where(connection, one, CHANGED)
        terms = await params.terms(connection)
        made = await mandates.grant(connection, ctx.confirmed, params.definition_id, params.version, terms)
        await audit.record(session, f"person:{owner}", "mandate.granted", f"mandate:{made.id}")
    told = ctx.say(GRANTED, workflow=params.workflow, until=params.said_until(ctx))
    return ActionResult(told, {"mandate": made.id})


@action(
    effect=Effect.READ, own=True,
    examples=("my mandates", "what may my workflows pay?", "nionyeshe idhini zangu za kudumu"),
)  # fmt: skip
async def list_mandates(ctx: ActionContext, params: Nothing) -> ActionResult:
    """Show what the person's workflows may pay by themselves, and what is left of it."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = (await session.execute(select(people.current(ctx.person.id)))).scalar_one()
        connection = await driver(session)
        found = [one for one in await mandates.of_person(connection, owner, NEWEST) if one.is_live]
        lines = [await _line(ctx, connection, one) for one in found]
    data: dict[str, JsonValue] = {
        "mandates": [{"left": str(one.left.decimal), "until": one.terms.until.isoformat()} for one in found]
    }
    return ActionResult("\n".join(lines) or ctx.say(NO_MANDATES), data)


@action(
    effect=Effect.WRITE,
    examples=("cancel the mandate of Rent", "stop Rent from paying by itself", "futa idhini ya Kodi"),
)  # fmt: skip
async def cancel_mandate(ctx: ActionContext, params: OneWorkflow) -> ActionResult:
    """Let a workflow of the person's pay nothing by itself any more, at once."""
    in_private(ctx)
    async with ctx.db.transaction() as session:
        owner = await people.hold(session, ctx.person.id)
        connection = await driver(session)
        flow, name = await _workflow(connection, owner, params.workflow)
        ended = await mandates.end(connection, flow["id"])
        if ended:
            await audit.record(session, f"person:{owner}", "mandate.cancelled", f"workflow:{flow['id']}")
    return ActionResult(ctx.say(CANCELLED if ended else NOTHING_TO_CANCEL, workflow=visible(name)))


async def pay_by_mandate(ctx: ActionContext, params: SendMoney) -> ActionResult:
    """Send money for a step of a workflow, within its standing mandate; with the same key again it is the same payment.

    Raises UserError, and has then moved nothing. The person is told of either, once, in the chat where they confirmed
    the mandate.
    """
    try:
        return await _pay(ctx, params)
    except UserError as problem:
        # Whoever has their number now is told nothing of what they would have paid.
        if ctx.run is not None and not isinstance(problem, renumber.Frozen):
            await _tell_refused(ctx, params, problem, ctx.run)
        raise


async def _tell_refused(ctx: ActionContext, params: SendMoney, problem: UserError, run: str) -> None:
    """Tell the person what was not paid, why, and what to do about it; once for each step."""
    why = problem.says
    try:
        amount: Saying | str = in_shillings(ctx, params.amount, params.currency).said()
    except InvalidSlot:
        amount = f"{params.currency} {visible(params.amount)}"
    payee = visible(people.one_line(params.recipient or params.phone_number or ""))[: people.CONTACT_NAME_CHARS_MAX]
    async with ctx.db.hot() as connection:
        definition = await connection.fetchval(OF_RUN, run)
        place = await connection.fetchval(TOLD_IN, definition)
        if place is None:
            return
        name = (await _names(connection, [definition])).popitem()[1]
        if isinstance(problem, OutsideMandate):
            why = HOW.filled(why=why, workflow=name)
        elif isinstance(problem, InsufficientFunds):
            why = ADD_MONEY.filled(amount=amount)
        says = NOT_PAID.filled(workflow=name, amount=amount, payee=payee, why=why)
        await tell(connection, place, ctx.person.language, says, KIND, mandates.refused_key(ctx.idempotency_key))


async def _pay(ctx: ActionContext, params: SendMoney) -> ActionResult:
    amount = in_shillings(ctx, params.amount, params.currency)
    run, key = ctx.run, ctx.idempotency_key
    if run is None:
        raise UserError(UNCONFIRMED)
    try:
        async with ctx.db.transaction() as session:
            owner = await people.hold(session, ctx.person.id)
            connection = await driver(session)
            earlier = await mandates.used(connection, key)
            if earlier is not None:
                # Its money moved in the transaction that wrote this; whoever did it died before they could say so.
                mandate = await mandates.by_id(connection, earlier.mandate_id)
                standing, _ = await _agreed(connection, mandate)
                payee = await _payee(connection, standing, earlier.payee)
                reference = await connection.fetchval(REFERENCE, key)
            else:
                limits = await allowed(ctx, session, owner, amount)
                mandate = await mandates.hold_for(connection, run)
                standing, given = await _agreed(connection, mandate)
                if given.person_id != owner:
                    raise NoMandate(NOT_AS_CONFIRMED)
                await unless_unproven(replace(ctx, confirmed=mandate.confirmation_id), connection, mandate.terms.total)
                if await renumber.is_frozen(connection, given.sender):
                    raise renumber.Frozen(ctx.offered)
                _, written = await payee_of(ctx, session, params)
                which = await _index(connection, mpesa(written))
                mandate.check(which, amount)
                payee = await _payee(connection, standing, which)
                theirs = await _where(connection, payee, PAYEE_CHANGED)
                kind = Kind.WITHDRAWAL if theirs is None else Kind.TRANSFER
                fee = await fee_of(connection, kind, amount, None)
                mandate = await mandates.use(connection, mandate, key, run, which, amount + fee)
                allowance = Allowance(limits.day, midnight(ctx.now, ctx.settings))
                reference = None
                if theirs is not None:
                    taker = str(theirs["person_id"])
                    await transfer(connection, key, str(owner), taker, amount, fee, allowance=allowance)
                    await tell_payee(ctx, connection, theirs, amount, key)
                else:
                    asked = PayOut(
                        key, str(owner), owner, given.conversation_id, amount, Payee(payee.number, payee.name), fee,
                        allowance,
                    )  # fmt: skip
                    reference = (await pay_out(connection, asked)).reference
            says = (PAID if reference is None else ON_ITS_WAY).filled(
                workflow=standing.workflow, amount=amount.said(), payee=f"{payee.name} +{payee.number}".strip(),
                left=mandate.left.said(), until=standing.said_until(ctx), reference=reference or "",
            )  # fmt: skip
            if ctx.settings.is_sandbox(ctx.settings.intasend_base_url):
                says = Saying.joined("", says, SANDBOX)
            if earlier is None:
                await tell(connection, given.conversation_id, ctx.person.language, says, KIND, f"mandate:{key}")
    except NoMandate as problem:
        async with ctx.db.hot() as connection:
            name = (await _names(connection, [await connection.fetchval(OF_RUN, run)])).popitem()[1]
        raise UserError(HOW.filled(why=problem.says, workflow=name)) from problem
    data = {"amount": str(amount.decimal), "currency": MPESA, "reference": reference or ""}
    return ActionResult(says.to(ctx.person.language), data)


async def _agreed(connection: Any, mandate: Mandate) -> tuple[Standing, confirm.Given]:
    """What was confirmed, and by whom; raises NoMandate where the mandate is anything else."""
    given = await confirm.given(connection, mandate.confirmation_id)
    if given is not None:
        standing = Standing.model_validate_json(given.params)
        agreed = standing.definition_id, standing.version, await standing.terms(connection)
        if agreed == (mandate.definition_id, mandate.version, mandate.terms):
            return standing, given
        log.error("mandate.not_as_confirmed", mandate_id=mandate.id)
    raise NoMandate(NOT_AS_CONFIRMED)


async def _index(connection: Any, number: str) -> bytes:
    """What a payee's number is known by where it is not to be read."""
    index: bytes = await connection.keys.blind(connection, "payee", number)
    return index


async def _payee(connection: Any, standing: Standing, which: bytes) -> Named:
    """The payee of this index, who is among those that were confirmed."""
    indexes = [await _index(connection, one.number) for one in standing.payees]
    return standing.payees[indexes.index(which)]


async def _where(connection: Any, payee: Named, otherwise: Saying) -> Any:
    """The wallet that a payee is paid into, None for M-Pesa; raises UserError where it is not theirs any more, or their
    number changed hands."""
    theirs = await wallet_of(connection, payee.number)
    if payee.wallet_of is None:
        return None
    if theirs is None or theirs["person_id"] != payee.wallet_of:
        raise UserError(otherwise)
    return theirs


async def _names(connection: Any, definitions: Sequence[UUID]) -> dict[UUID, Saying]:
    rows = await connection.fetch(NAMED, definitions)
    values = [(row["conversation_id"], as_workflow("name", str(row["id"])), row["name"]) for row in rows]
    opened = await connection.keys.opened(connection, values)
    return {
        row["id"]: UNREADABLE if name is None else Saying(*2 * (visible(name.decode()),))
        for row, name in zip(rows, opened, strict=True)
    }


async def _workflow(connection: Any, owner: UUID, said: str | None) -> tuple[Any, str]:
    """The person's workflow of this name, and its name; raises InvalidSlot, and UserError where they have none."""
    rows = await connection.fetch(OWN, owner, WORKFLOWS_MAX)
    if not rows:
        raise UserError(NO_FLOWS)
    wanted = people.one_line(said or "").casefold()
    if not wanted:
        raise InvalidSlot("workflow", WHICH)
    names = await _names(connection, [row["id"] for row in rows])
    found = [row for row in rows if names[row["id"]].en.casefold() == wanted]
    if len(found) != 1:
        raise InvalidSlot("workflow", UNKNOWN_FLOW.filled(name=visible(people.one_line(said or ""))))
    return found[0], names[found[0]["id"]].en


async def _payees(ctx: ActionContext, session: AsyncSession, owner: UUID, said: str | None) -> list[Named]:
    """Everybody who is named, each once; raises InvalidSlot, and UserError for the person themselves."""
    names = [one for one in BETWEEN.split((said or "").strip()) if one]
    if not names:
        raise InvalidSlot("payees", WHOM)
    if len(names) > PAYEES_MAX:
        raise InvalidSlot("payees", MANY.filled(most=PAYEES_MAX))
    connection = await driver(session)
    found: dict[str, Named] = {}
    for name in names:
        if len(name) > people.CONTACT_NAME_CHARS_MAX:
            raise InvalidSlot("payees", WHOM)
        try:
            called, written = await payee_of(ctx, session, SendMoney(amount="1", recipient=name))
            number = mpesa(written)
        except InvalidSlot as problem:
            raise InvalidSlot("payees", problem.says) from problem
        theirs = await wallet_of(connection, number)
        wallet = theirs["person_id"] if theirs is not None else None
        if wallet == owner or number == (own_number(ctx.sender) or "").removeprefix("+"):
            raise UserError(SELF)
        found[number] = Named(name=visible(called), number=number, wallet_of=wallet)
    return list(found.values())


def _amount(ctx: ActionContext, slot: str, written: str | None, question: Saying, least: Money | None = None) -> Money:
    if not (written or "").strip():
        raise InvalidSlot(slot, question)
    try:
        amount = in_shillings(ctx, written or "", MPESA)
    except InvalidSlot as problem:
        raise InvalidSlot(slot, problem.says) from problem
    if amount.minor > 100 * LARGEST:
        raise InvalidSlot(slot, Saying.joined(" ", TOO_LARGE, question))
    if least is not None and amount < least:
        raise InvalidSlot(slot, LESS.filled(amount=least.said()))
    return amount


def _until(ctx: ActionContext, last: date | None) -> datetime:
    """The midnight that ends the last day, by the person's clock."""
    if last is None:
        raise InvalidSlot("until", UNTIL_WHEN)
    today = ctx.now.astimezone(ctx.zone).date()
    if last < today:
        raise InvalidSlot("until", PAST)
    if last > today + timedelta(days=LIFE_DAYS_MAX):
        raise InvalidSlot("until", FAR)
    return datetime.combine(last + timedelta(days=1), time(), ctx.zone)


def _words(amount: Money) -> Saying:
    return Saying(in_words(amount.minor, "en"), in_words(amount.minor, "sw"))


async def _line(ctx: ActionContext, connection: Any, mandate: Mandate) -> str:
    try:
        standing, _ = await _agreed(connection, mandate)
    except NoMandate as problem:
        return problem.to(ctx.person.language)
    payees = Saying.joined("; ", *(one.shown for one in standing.payees))
    return ctx.say(
        ONE, workflow=standing.workflow, payees=payees, each=mandate.terms.each.said(), day=mandate.terms.day.said(),
        total=mandate.terms.total.said(), until=standing.said_until(ctx), left=mandate.left.said(),
    )  # fmt: skip
