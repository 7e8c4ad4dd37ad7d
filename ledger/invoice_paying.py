"""Paying an invoice by whoever has its address: what can be asked of them, and what became of it.

They are nobody we know, so nothing here trusts them with more than their own phone: M-Pesa asks them for a PIN, the
card is typed at the provider's. What they pay is counted when the provider, asked by us, says that it has it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN
from typing import Any, Final
from uuid import UUID

from core.errors import UserError
from core.language import Saying
from ledger.instruction_store import MPESA, Collect, collect, newest_on
from ledger.instructions import DONE, Instruction, Method, Payee, State
from ledger.invoices import PUSH_WITHIN, Invoice, expect
from ledger.journal import Kind
from ledger.money import Money

MPESA_MOST = Money(250_000_00, MPESA)
"""What M-Pesa moves by one payment at most."""
CARD_CURRENCIES: Final = ("KES", "USD", "EUR", "GBP")
CARD_LEAST = 1
"""Whole units: the provider has no page for less."""
KEY = re.compile(r"[A-Za-z0-9_-]{22}")
"""What a form says of itself, so that sending it twice asks once."""
TRIES_SHOWN_MAX = 5
TOLD_WITHIN = timedelta(minutes=15)
"""How long somebody who tried to pay is told how that ended."""
CARD_WITHIN = timedelta(hours=1)
"""How long a page to pay on is offered again instead of a new one."""
UNDER_WAY: Final = (State.READY, State.INITIATING, State.PENDING, State.PROCESSING, State.UNKNOWN)

NO_CARD = Saying("This invoice cannot be paid by card.", "Ankara hii haiwezi kulipwa kwa kadi.")
NO_MPESA = Saying("This invoice cannot be paid by M-Pesa.", "Ankara hii haiwezi kulipwa kwa M-Pesa.")
MPESA_TOO_MUCH = Saying(
    "M-Pesa moves at most {most} at a time. Pay a part now, and the rest afterwards.",
    "M-Pesa hutuma {most} kwa mara moja, si zaidi. Lipa sehemu sasa, na iliyobaki baadaye.",
)
CARD_TOO_LITTLE = Saying("By card, pay at least {least}.", "Kwa kadi, lipa angalau {least}.")
BAD_FORM = Saying(
    "This form cannot be read. Load the page again and repeat what you did.",
    "Fomu hii haisomeki. Fungua ukurasa tena na urudie ulichofanya.",
)


@dataclass(frozen=True, slots=True)
class Try:
    """One try to pay an invoice: `reason` is the provider's code of why it is in its state, or words for the log."""

    method: Method
    state: State
    amount: Money
    reason: str
    session: str | None
    page_url: str | None
    phone_end: str
    """The last three digits of the phone that is asked; empty for a card."""
    is_fresh: bool
    """Whether its answer is to be expected any moment."""

    @property
    def is_under_way(self) -> bool:
        """Whether somebody can still answer it, or its answer is on its way."""
        return self.state in UNDER_WAY

    @property
    def is_done(self) -> bool:
        """Whether it was paid."""
        return self.state in DONE


def most_by_mpesa(invoice: Invoice) -> Money | None:
    """The most that M-Pesa can be asked for on an invoice now, in whole shillings; None where it cannot be used."""
    if invoice.amount.currency != MPESA or not invoice.takes_payment:
        return None
    whole = Money.of(invoice.rest.decimal.quantize(1, ROUND_DOWN), MPESA)
    return min(whole, MPESA_MOST) if whole.minor > 0 else None


def most_by_card(invoice: Invoice) -> Money | None:
    """The most that can be paid on an invoice by card now; None where none can."""
    least = _card_least(invoice.amount.currency)
    return invoice.rest if least is not None and invoice.takes_payment and invoice.rest >= least else None


async def ask_phone(
    connection: Any, invoice: Invoice, owner: UUID, key: str, amount: Money, number: str
) -> Instruction:  # fmt: skip
    """Have M-Pesa ask a phone to pay so much of an invoice, in the caller's transaction; the same key asks once.

    `owner` is the issuer as they are known today. Raises UserError, NotPayable, KeyReused and Erased.
    """
    if most_by_mpesa(invoice) is None and invoice.takes_payment:
        raise UserError(NO_MPESA)
    if amount > MPESA_MOST:
        raise UserError(MPESA_TOO_MUCH.filled(most=MPESA_MOST.said()))
    return await _collect(connection, invoice, owner, key, Method.PUSH, amount, Payee(number))


async def make_page(connection: Any, invoice: Invoice, owner: UUID, key: str, amount: Money) -> None:
    """Have a page made on which somebody can pay so much of an invoice by card; one that is there already will do.

    As `ask_phone` otherwise.
    """
    least = _card_least(invoice.amount.currency)
    if least is None:
        raise UserError(NO_CARD)
    if amount < least:
        raise UserError(CARD_TOO_LITTLE.filled(least=least.said()))
    # Locked from here on: of two browsers at once the second finds the page that the first has made.
    await expect(connection, invoice.id, amount, is_push=False)
    for one in await newest_tries(connection, invoice):
        if one.method is Method.CHECKOUT and one.is_under_way and one.amount == amount:
            return
    await _collect(connection, invoice, owner, key, Method.CHECKOUT, amount, None)


async def newest_tries(connection: Any, invoice: Invoice) -> Sequence[Try]:
    """The last tries to pay an invoice, the newest first; those that are too long ago to be told of are left out."""
    found = []
    for of, reason in await newest_on(connection, invoice.id, TRIES_SHOWN_MAX):
        age = of.now - of.created_at
        if age <= (CARD_WITHIN if of.method is Method.CHECKOUT else TOLD_WITHIN):
            end = of.payee.account[-3:] if of.payee is not None else ""
            is_fresh = age <= PUSH_WITHIN
            found.append(Try(of.method, of.state, of.amount, reason, of.session, of.page_url, end, is_fresh))
    return found


async def _collect(
    connection: Any, invoice: Invoice, owner: UUID, key: str, method: Method, amount: Money, payee: Payee | None
) -> Instruction:
    if KEY.fullmatch(key) is None:
        raise UserError(BAD_FORM)
    asked = Collect(
        f"invoice:{invoice.id}:{method}:{key}", method, str(owner), owner, invoice.conversation_id, amount, payee,
        Kind.INVOICE_PAYMENT, pays=invoice.id,
    )  # fmt: skip
    return await collect(connection, asked)


def _card_least(currency: str) -> Money | None:
    return Money.of(CARD_LEAST, currency) if currency in CARD_CURRENCIES else None
