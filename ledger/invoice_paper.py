"""An invoice as it is put on paper: who may pay it where, and what its PDF says."""

from typing import cast

from core.invoice_pdf import Paper, Party, State
from core.language import Saying
from ledger.errors import Unknown
from ledger.invoice_marks import said
from ledger.invoices import Invoice

NOTHING_SAID = Saying("As agreed", "Kama tulivyokubaliana")
"""What stands where nobody wrote what an invoice is for."""


def pay_url(base_url: str, token: str) -> str:
    """Where an invoice is seen and paid by whoever is told this address."""
    return f"{base_url}/pay/{token}"


def paper_of(
    invoice: Invoice, base_url: str, language: str, *, logo: bytes | None = None, sandbox: bool, public: bool = False
) -> Paper:
    """What is printed of an invoice; how its client is reached is not, where the paper is `public`.

    Raises Unknown for one whose words are erased.
    """
    words = invoice.words
    if words is None or invoice.token is None:
        raise Unknown("There is nothing left of this invoice to be printed.")
    rest = invoice.rest
    nothing = rest - rest
    return Paper(
        number=invoice.number,
        state=cast("State", invoice.state),
        issuer=Party(words.issuer),
        payer=Party(words.payer, () if public else tuple(one for one in (words.email, words.phone) if one)),
        description=words.description or NOTHING_SAID.to(language),
        amount=invoice.amount.shown(language),
        paid=invoice.paid.shown(language),
        rest=max(rest, nothing).shown(language),
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        outside=tuple((said(one).to(language), one.amount.shown(language)) for one in invoice.outside),
        over=(-rest).shown(language) if rest < nothing else None,
        pay_url=pay_url(base_url, invoice.token),
        logo=logo,
        sandbox=sandbox,
    )
