"""Payments: each instruction that is due is handed to an actor, claimed, and taken one step on at the provider.

What moves money is told once: the state that says so is committed before the call, and after a lost answer the provider
is asked and never told again. A payout is initiated, which moves nothing; its tracking id is stored; then it is
approved. Whoever finds an instruction that was being approved asks what became of it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from connectors.intasend.accounts import Accounts
from connectors.intasend.answers import of_batch, of_chargeback, of_collection
from connectors.intasend.client import Chargeback, Collection, IntaSend
from core import crashpoint
from core.db import Database
from core.errors import OutcomeUnknown, ProviderError, RateLimited
from core.language import Saying
from core.messages import Text
from core.notices import tell
from core.outbox import NewMessage, post
from core.providers import Refused
from core.wake import Wakes
from jobs.sweeps import Waiting
from ledger import instruction_store as store
from ledger import invoices
from ledger.dispute_store import notices_of_refund
from ledger.instruction_store import NOTHING, Learned
from ledger.instructions import DONE, Answer, Decision, Instruction, Method, Outcome, Pace, State, decide, mismatch
from ledger.invoice_paper import pay_url
from ledger.money import BadAmount, Money

log = structlog.get_logger()

PAY_S_MAX: Final = 140.0
LEASE = timedelta(seconds=PAY_S_MAX + 10.0)
PAYMENTS = Waiting("payment", store.CLAIMABLE, again_s=1.0)
AT_ONCE = 4
"""How many payments a worker has in hand at a time; its other threads are for what does not wait for a provider."""
UNTOLD_TRIES_MAX = 6
RETRY_AFTER_S_MAX = 120.0
ASK_AGAIN_S = 10.0
"""How long after the provider could not even be asked it is asked again."""
PAGES_MAX = 5
"""Of the provider's newest payments, when one of ours is looked for by its reference."""
SLACK = timedelta(minutes=10)
"""How far the provider's clock may be from ours."""
KIND = "payment"

DONE_IN = Saying("Received {amount}. Ref {reference}.", "Nimepokea {amount}. Kumb. {reference}.")
TAKEN_OFF = Saying("{said} The fee of {fee} is taken off it.", "{said} Ada ya {fee} imekatwa humo.")
DONE_LATE = Saying(
    "The {amount} you paid have come after all, and are in your wallet. Ref {reference}.",
    "{amount} ulizolipa zimefika hatimaye, ziko kwenye pochi yako. Kumb. {reference}.",
)
DONE_OUT = Saying("Sent {amount} to {payee}. Ref {reference}.", "Nimetuma {amount} kwa {payee}. Kumb. {reference}.")
NOT_IN = Saying(
    "The {amount} were not paid: {reason}. Ref {reference}.", "{amount} hazikulipwa: {reason}. Kumb. {reference}."
)
NOT_OUT = Saying(
    "The {amount} to {payee} were not sent. The money is free in your wallet again. Ref {reference}.",
    "{amount} kwa {payee} hazikutumwa. Pesa ziko huru tena kwenye pochi yako. Kumb. {reference}.",
)
REVIEW = Saying(
    "Something about the payment of {amount} does not add up. Somebody is looking at it; nothing moves until then."
    " Ref {reference}.",
    "Kuna jambo halilingani kwenye malipo ya {amount}. Mtu analishughulikia; hakuna kinachosogea hadi hapo."
    " Kumb. {reference}.",
)
DONE_BACK = Saying(
    "{amount} were given back to whoever had paid them. Ref {reference}.",
    "{amount} zimerudishwa kwa aliyezilipa. Kumb. {reference}.",
)
NOT_BACK = Saying(
    "The {amount} could not be given back. They are where they were before. Ref {reference}.",
    "{amount} hazikuweza kurudishwa. Ziko pale zilipokuwa. Kumb. {reference}.",
)
PAGE = Saying("Pay {amount} here: {url}\nRef {reference}.", "Lipa {amount} hapa: {url}\nKumb. {reference}.")
PAID_INVOICE = Saying(
    "{payer} paid {amount} on invoice {number}. {stands} {kept} Ref {reference}.",
    "{payer} amelipa {amount} kwenye ankara {number}. {stands} {kept} Kumb. {reference}.",
)
IN_WALLET = Saying("The money is in your wallet.", "Pesa ziko kwenye pochi yako.")
LESS_FEE = Saying(
    "{net} are in your wallet, which is that without the fee of {fee}.",
    "{net} ziko kwenye pochi yako, yaani bila ada ya {fee}.",
)
PAID_WHOLE = Saying("It is paid in full.", "Imelipwa yote.")
PAID_PART = Saying("{rest} are still to be paid.", "Bado zimebaki {rest}.")
PAID_OVER = Saying(
    "That is {over} more than it asked for; pay that back, or agree what it is for.",
    "Hizo ni {over} zaidi ya ilichodai; zirudishe, au kubalianeni ni za nini.",
)
PAID_VOID = Saying(
    "You had made it void, so ask them what it is for.", "Ulikuwa umeifuta, kwa hiyo waulize ni za nini."
)
SOMEONE = Saying("Somebody", "Mtu")
SOMEBODY = Saying("the number you named", "namba uliyotaja")
REASONS: Final = {
    "1032": Saying("the request was declined on the phone", "ombi lilikataliwa kwenye simu"),
    "1": Saying("there was not enough money in M-Pesa", "hakukuwa na pesa za kutosha M-Pesa"),
    "1037": Saying("nobody answered the request on the phone", "hakuna aliyejibu ombi kwenye simu"),
    "2001": Saying("the PIN was wrong", "PIN haikuwa sahihi"),
}
NO_REASON = Saying("M-Pesa gave no reason", "M-Pesa haikutoa sababu")
NOT_TOLD = "the provider could not be reached"
REFUND_REASON = "Unavailable service"
"""Of the reasons the provider takes, the one that its documents name; ours is kept here."""
NO_KEYS = "the keys of the person's own account are not known any more"
INTERRUPTED = "its answer was lost; without an approval nothing is sent"


@dataclass(frozen=True, slots=True)
class Hands:
    """What moving money needs."""

    db: Database
    wakes: Wakes
    provider: IntaSend
    accounts: Accounts | None = None
    """Persons' own accounts; without it none is known."""
    sandbox: bool = False
    lease: timedelta = LEASE
    pace: Pace = field(default_factory=Pace)
    base_url: str = ""
    """Our own address, where a browser comes back to that has paid on a page; nowhere while it is empty."""
    clock: Callable[[], float] = time.monotonic
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Lost(Exception):
    """Somebody else holds it now, or our time is over."""


async def pay(hands: Hands, instruction_id: int) -> None:
    """Take one instruction a step on; of any number of calls, at once or later, one has an effect.

    While AT_ONCE others are in hand it is left to the sweep, which hands it out again.
    """
    if hands.places.locked():
        return
    async with hands.places:
        await _pay(hands, instruction_id)


async def _pay(hands: Hands, instruction_id: int) -> None:
    began = hands.clock()
    of = await store.claim(hands.db, instruction_id, hands.lease)
    if of is None:
        return
    provider = await _provider(hands, of)
    step = _Step(hands, of, began, provider or hands.provider)
    try:
        if provider is None:
            await step.strand()
            return
        match of.state:
            case State.READY:
                await step.begin()
            case State.INITIATING if of.method in (Method.PAYOUT, Method.CHECKOUT):
                # Without an approval, or a page that somebody was shown, nothing can have moved.
                await step.end(State.FAILED, INTERRUPTED)
            case State.INITIATED:
                await step.approve()
            case State.INITIATING | State.APPROVING:
                await step.look(await step.moved(State.UNKNOWN, "its answer was lost"))
            case _:
                await step.look(of)
    except Lost:
        return


async def _provider(hands: Hands, of: Instruction) -> IntaSend | None:
    """The account that an instruction goes through, for ever; None where its keys are not known any more."""
    if of.account is None:
        return hands.provider
    if hands.accounts is None:
        return None
    async with hands.db.hot() as connection:
        return await hands.accounts.of(connection, of.person_id, of.account)


@dataclass(slots=True)
class _Step:
    """One claimed instruction, and what is done with it."""

    hands: Hands
    of: Instruction
    began: float
    provider: IntaSend

    def _may_tell(self) -> None:
        """Whether an order may still go out: one that was stopped after claiming must not come late. Raises Lost."""
        if self.hands.clock() - self.began >= self.hands.lease.total_seconds():
            raise Lost

    async def moved(self, to: State, reason: str = "", learned: Learned = NOTHING) -> Instruction:
        """Move on and keep it; the instruction as it is then. Raises Lost."""
        async with self.hands.db.hot() as connection:
            soon = timedelta(0)
            if not await store.move(
                connection, self.of, to, reason, self.hands.lease, wait=soon, learned=learned, keep=True
            ):
                raise Lost
            now = await store.find(connection, self.of.reference)
        assert now is not None  # noqa: S101  it has just been moved
        self.of = now
        return now

    async def end(
        self, to: State, reason: str = "", learned: Learned = NOTHING, *, wait: timedelta | None = None,
        say: Saying | None = None,
    ) -> None:  # fmt: skip
        """Move on, let go, and tell whoever it concerns, in one transaction. Raises Lost."""
        of, hands = self.of, self.hands
        async with hands.db.hot() as connection:
            if not await store.move(connection, of, to, reason, hands.lease, wait=wait, learned=learned):
                raise Lost
            if of.pays is not None:
                say = await _said_of_invoice(connection, of, to)
            elif say is None:
                say = _said(of, to, reason)
            if say is not None:
                words = say.to(of.language) + (" · sandbox" if hands.sandbox else "")
                key = f"payment:{of.reference}:{to}"
                await post(connection, [NewMessage(of.conversation_id, (Text(text=words),), KIND, key)])
                await hands.wakes.notify(connection, "outbox")
            if of.dispute_id is not None and to in (*DONE, State.FAILED):
                for one in await notices_of_refund(connection, of.dispute_id):
                    sent = f"dispute:{of.reference}:{to}:{one.to}"
                    await tell(connection, one.conversation_id, one.language, one.says, KIND, sent)
        log.info("payment.moved", instruction_id=of.id, state=to.value, reason=reason)
        if say is not None:
            hands.wakes.wake("outbox")

    async def untold(self, error: ProviderError, back: State) -> None:
        """The provider certainly did not hear it: it is told again later, or given up."""
        if self.of.tries + 1 >= UNTOLD_TRIES_MAX and back is State.READY:
            await self.end(State.FAILED, NOT_TOLD)
            return
        told_s = min(error.retry_after_s, RETRY_AFTER_S_MAX) if isinstance(error, RateLimited) else 0.0
        wait = max(timedelta(seconds=told_s), self.hands.pace.untold * 2 ** min(self.of.tries, UNTOLD_TRIES_MAX))
        await self.end(back, NOT_TOLD, Learned(again=True), wait=wait)

    def later(self) -> timedelta | None:
        """How long until the next look."""
        of = self.of
        return self.hands.pace.next_look(of.asked_at or of.created_at, of.now)

    async def strand(self) -> None:
        """The keys of its account are gone: what was not told ends, what was is for a person to look at."""
        if self.of.state is State.READY:
            await self.end(State.FAILED, NO_KEYS)
        elif self.of.state in (*DONE, State.FAILED):
            await store.stay(self.hands.db, self.of, None, self.hands.lease)
        else:
            await self.end(State.NEEDS_REVIEW, NO_KEYS)

    async def begin(self) -> None:
        """Tell the provider of it for the first time."""
        match self.of.method:
            case Method.PAYOUT:
                await self.initiate()
            case Method.REFUND:
                await self.give_back()
            case _:
                await self.request()

    # Money out.

    async def give_back(self) -> None:
        """Have a payment to us given back; the provider does so at once."""
        of = self.of
        if of.refunds is None:
            await self.end(State.NEEDS_REVIEW, "the payment it gives back is not known to the provider")
            return
        of = await self.moved(State.INITIATING, learned=Learned(told=True))
        crashpoint.hit("payment.initiating")
        try:
            self._may_tell()
            made = await self.provider.chargeback(of.refunds or "", of.amount.decimal, REFUND_REASON, of.reference)
        except Refused as refused:
            await self.end(State.FAILED, str(refused))
            return
        except ProviderError as error:
            await self.untold(error, State.READY)
            return
        except OutcomeUnknown as error:
            await self.end(State.UNKNOWN, str(error), wait=self.later())
            return
        await self.end(State.SUBMITTED, learned=Learned(tracking_id=made.chargeback_id), wait=self.later())

    async def initiate(self) -> None:
        """Prepare a payout, which moves nothing, and have it approved."""
        of, payee = self.of, self.of.payee
        if payee is None:
            await self.end(State.FAILED, "whom to pay has been erased")
            return
        of = await self.moved(State.INITIATING)
        crashpoint.hit("payment.initiating")
        try:
            self._may_tell()
            batch = await self.provider.initiate(
                of.amount.decimal, payee.account, of.reference, name=payee.name
            )  # fmt: skip
        except Refused as refused:
            await self.end(State.FAILED, str(refused))
            return
        except ProviderError as error:
            await self.untold(error, State.READY)
            return
        except OutcomeUnknown:
            await self.end(State.FAILED, INTERRUPTED)
            return
        crashpoint.hit("payment.initiated")
        await self.moved(State.INITIATED, learned=Learned(tracking_id=batch.tracking_id))
        await self.approve()

    async def approve(self) -> None:
        """Have a prepared payout paid, when the provider says that it is ours, in everything, and unpaid."""
        of = self.of
        try:
            batch = await self.provider.batch(of.tracking_id or "")
        except (ProviderError, Refused):
            await store.stay(self.hands.db, of, timedelta(seconds=ASK_AGAIN_S), self.hands.lease)
            return
        answer = of_batch(batch)
        if (wrong := mismatch(of, answer)) is not None:
            await self.end(State.NEEDS_REVIEW, wrong)
            return
        if answer.outcome is not Outcome.NOT_APPROVED:
            await self.end(State.NEEDS_REVIEW, f"it is {answer.code} without an approval of ours")
            return
        of = await self.moved(State.APPROVING, learned=Learned(told=True))
        crashpoint.hit("payment.approving")
        try:
            self._may_tell()
            await self.provider.approve(batch)
        except ProviderError as error:
            await self.untold(error, State.INITIATED)
            return
        except (OutcomeUnknown, Refused) as error:
            await self.end(State.UNKNOWN, str(error), wait=self.later())
            return
        crashpoint.hit("payment.approved")
        await self.end(State.SUBMITTED, wait=self.later())

    # Money in.

    async def request(self) -> None:
        """Ask somebody to pay, or make the page they pay on."""
        of, payee = self.of, self.of.payee
        if of.method is Method.PUSH and payee is None:
            await self.end(State.FAILED, "whom to ask has been erased")
            return
        back_url = await self._back_url()
        of = await self.moved(State.INITIATING, learned=Learned(told=True))
        crashpoint.hit("payment.initiating")
        provider, amount = self.provider, of.amount
        try:
            self._may_tell()
            if payee is not None and of.method is Method.PUSH:
                asked = await provider.push(
                    amount.decimal, payee.account, of.reference, name=payee.name, narrative=of.reference
                )  # fmt: skip
                await self._asked(asked)
                return
            page = await provider.checkout(
                amount.decimal, amount.currency, of.reference, redirect_url=back_url,
                method="CARD-PAYMENT" if of.pays is not None else None,
            )  # fmt: skip
        except Refused as refused:
            await self.end(State.FAILED, str(refused))
            return
        except ProviderError as error:
            await self.untold(error, State.READY)
            return
        except OutcomeUnknown as error:
            if of.method is Method.CHECKOUT:
                await self.end(State.FAILED, str(error))
            else:
                await self.end(State.UNKNOWN, str(error), wait=self.later())
            return
        if (page.amount, page.currency) != (amount.decimal, amount.currency):
            await self.end(State.FAILED, "the page asks for another amount")
            return
        if not page.url.startswith(("https://", "http://")):
            await self.end(State.FAILED, "the page has no web address")
            return
        say = PAGE.filled(amount=_shown(of), url=page.url, reference=of.reference)
        await self.end(State.PENDING, learned=Learned(session=page.id, page_url=page.url), wait=self.later(), say=say)

    async def _back_url(self) -> str:
        """Where a browser goes that has paid on a page: to the invoice that it pays, else to the chat."""
        base_url = self.hands.base_url
        if self.of.pays is not None:
            async with self.hands.db.hot() as connection:
                invoice = await invoices.find(connection, self.of.pays)
            if invoice.token is not None:
                return pay_url(base_url, invoice.token)
        return base_url and base_url + "/chat"

    async def _asked(self, told: Collection) -> None:
        wrong = mismatch(self.of, of_collection(told))
        learned = Learned(invoice_id=told.invoice_id)
        if wrong is not None:
            # Only an answer to our own question counts; what a push says of itself may be wrong on the way.
            learned = Learned(invoice_id=told.invoice_id, detail={"said": wrong})
        await self.end(State.PENDING, wrong or "", learned, wait=self.later())

    # Asking.

    async def look(self, of: Instruction) -> None:
        """Ask the provider what became of it, and believe it as far as that goes."""
        wait = self.later()
        if wait is None and of.state not in (*DONE, State.FAILED):
            await self._given_up()
            return
        try:
            answer = await self._ask()
        except (ProviderError, Refused) as error:
            log.warning("payment.not_asked", instruction_id=of.id, error=type(error).__name__)
            again = None if wait is None else max(wait, timedelta(seconds=ASK_AGAIN_S))
            await store.stay(self.hands.db, of, again, self.hands.lease)
            return
        if answer is None:
            await self._not_there(wait)
            return
        decision = decide(of, answer, self.hands.pace)
        if decision.state is None:
            await self._stayed(decision, None if of.state in DONE else wait)
        else:
            await self._decided(decision.state, decision.reason, answer, wait)

    async def _decided(self, to: State, reason: str, answer: Answer, wait: timedelta | None) -> None:
        goes_on = to in (State.PENDING, State.PROCESSING, State.SUBMITTED, State.FAILED)
        detail = {"code": answer.code, "amount": str(answer.amount), "currency": answer.currency or ""}
        learned = Learned(receipt=answer.receipt or None, charge=_charge(self.of, answer), detail=detail)
        await self.end(to, reason, learned, wait=wait if goes_on else None)

    async def _stayed(self, decision: Decision, wait: timedelta | None) -> None:
        of, hands = self.of, self.hands
        if decision.contrary:
            log.error("payment.contradicted", instruction_id=of.id, reason=decision.reason)
            async with hands.db.hot() as connection:
                await store.note(connection, of, decision.reason)
        if decision.failing and wait is not None:
            wait = min(wait, hands.pace.failed_certain)
        await store.stay(hands.db, of, wait, hands.lease, failing=decision.failing)

    async def _not_there(self, wait: timedelta | None) -> None:
        """The provider lists no payment of our reference: it may not have heard of it, or not yet."""
        of = self.of
        since = of.now - (of.asked_at or of.created_at)
        if of.state is State.UNKNOWN and since >= self.hands.pace.certain:
            await self.end(State.FAILED, "the provider does not know it")
            return
        await store.stay(self.hands.db, of, wait, self.hands.lease)

    async def _given_up(self) -> None:
        if self.of.is_out:
            await self.end(State.NEEDS_REVIEW, "nobody can say what became of it")
        elif self.of.state is State.UNKNOWN:
            await self.end(State.FAILED, "the provider does not know it")
        else:
            await self.end(State.FAILED, "nobody paid")

    async def _ask(self) -> Answer | None:
        """What the provider says of it; None where it knows nothing of it. Raises ProviderError and Refused."""
        of, provider = self.of, self.provider
        if of.method is Method.REFUND:
            return await self._ask_refund()
        if of.is_out:
            return of_batch(await provider.batch(of.tracking_id)) if of.tracking_id else None
        if of.invoice_id is not None:
            return of_collection(await provider.collection(of.invoice_id))
        if of.session is not None:
            return of_collection(await provider.checkout_collection(of.session))
        found = await self._found()
        if found is None or found.invoice_id is None:
            return None
        await self.moved(State.PENDING, "found by its reference", Learned(invoice_id=found.invoice_id))
        return of_collection(found)

    async def _ask_refund(self) -> Answer | None:
        of, provider = self.of, self.provider
        if of.tracking_id is not None:
            return of_chargeback(await provider.chargeback_status(of.tracking_id))
        made = await self._made()
        if made is None:
            return None
        await self.moved(State.SUBMITTED, "found by what it gives back", Learned(tracking_id=made.chargeback_id))
        return of_chargeback(made)

    async def _made(self) -> Chargeback | None:
        """A refund that we asked for without hearing of it: of the same payment, and none that is known by its id."""
        of = self.of
        found = []
        for page in range(1, PAGES_MAX + 1):
            listed, more = await self.provider.chargebacks(page)
            found += [one for one in listed if one.invoice is not None and one.invoice.invoice_id == of.refunds]
            if not more:
                break
        async with self.hands.db.hot() as connection:
            known = await store.known_refunds(connection, [one.chargeback_id for one in found])
        mine = [
            one for one in found
            if one.chargeback_id not in known and one.amount == of.amount.decimal
            and (one.reason_details is None or of.reference in one.reason_details)
        ]  # fmt: skip
        return mine[0] if len(mine) == 1 else None

    async def _found(self) -> Collection | None:
        """The payment of our reference among the provider's newest, by pages; it can be asked for in no other way."""
        oldest = self.of.created_at - SLACK
        for page in range(1, PAGES_MAX + 1):
            listed, more = await self.provider.collections(page)
            for one in listed:
                if one.api_ref == self.of.reference:
                    return one
            if not more or (listed and listed[-1].created_at is not None and listed[-1].created_at < oldest):
                return None
        return None


def _said(of: Instruction, to: State, reason: str) -> Saying | None:
    """What a person is told of a move; None for what is only on its way."""
    known: dict[str, Saying | str | int] = {"amount": _shown(of), "reference": of.reference}
    payee: Saying | str = SOMEBODY
    if of.payee is not None:
        payee = f"{of.payee.name} +{of.payee.account}".strip()
    match to:
        case State.SUCCEEDED if of.method is Method.REFUND:
            return DONE_BACK.filled(**known)
        case State.FAILED if of.method is Method.REFUND:
            return NOT_BACK.filled(**known)
        case State.SUCCEEDED:
            return DONE_OUT.filled(payee=payee, **known)
        case State.COMPLETE | State.LATE:
            told = (DONE_IN if to is State.COMPLETE else DONE_LATE).filled(**known)
            return TAKEN_OFF.filled(said=told, fee=of.fee.said()) if of.fee.minor else told
        case State.FAILED if of.is_out:
            return NOT_OUT.filled(payee=payee, **known)
        case State.FAILED:
            return NOT_IN.filled(reason=REASONS.get(reason, NO_REASON), **known)
        case State.NEEDS_REVIEW:
            return REVIEW.filled(**known)
        case _:
            return None


async def _said_of_invoice(connection: Any, of: Instruction, to: State) -> Saying | None:
    """What the one who sent an invoice is told of a payment on it, once that is counted.

    Of tries that came to nothing they are told nothing: whoever pays sees that, and may try again.
    """
    if to is State.NEEDS_REVIEW:
        return REVIEW.filled(amount=_shown(of), reference=of.reference)
    if to not in DONE or of.pays is None:
        return None
    invoice = await invoices.find(connection, of.pays)
    payer: Saying | str = invoice.words.payer if invoice.words is not None else SOMEONE
    rest = invoice.rest
    if invoice.state == "void":
        stands = PAID_VOID
    elif rest.minor > 0:
        stands = PAID_PART.filled(rest=rest.said())
    elif rest.minor < 0:
        stands = PAID_OVER.filled(over=(-rest).said())
    else:
        stands = PAID_WHOLE
    kept = IN_WALLET
    if of.fee.minor:
        kept = LESS_FEE.filled(net=(of.amount - of.fee).said(), fee=of.fee.said())
    return PAID_INVOICE.filled(
        payer=payer, amount=_shown(of), number=invoice.number, stands=stands, kept=kept, reference=of.reference
    )


def _charge(of: Instruction, answer: Answer) -> Money | None:
    """What the provider says to have kept of a payment; None where it says nothing that can be counted."""
    if answer.charge is None or answer.charge < 0:
        return None
    try:
        return Money.of(answer.charge, of.amount.currency)
    except BadAmount:
        return None


def _shown(of: Instruction) -> Saying:
    return Saying(of.amount.shown("en"), of.amount.shown("sw"))
