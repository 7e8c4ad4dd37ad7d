"""Exchange: one currency out of an account, another into one, through our position in each, at a quoted rate. Pure."""

from ledger import accounts
from ledger.errors import CurrencyMismatch
from ledger.journal import Account, Entry, Kind, Quote, credit, debit
from ledger.money import TOO_LITTLE, BadAmount, Money


def exchange(
    key: str, giver: Account, taker: Account, sold: Money, quote: Quote, *, reference: str | None = None
) -> Entry:
    """The entry that takes `sold` from `giver` and gives `taker` its worth at the quote, rounded half to even.

    Both are wallets, or other accounts that credits make more. The quote is kept with the entry. Raises
    CurrencyMismatch where it is of other currencies, BadAmount for what is worth less than the smallest unit.
    """
    if (giver.currency, taker.currency) != (quote.sold, quote.bought):
        raise CurrencyMismatch(f"The quote is for {quote.sold}/{quote.bought}.")
    bought = sold.converted(quote.rate, quote.bought)
    if sold.minor <= 0 or not bought.minor:
        raise BadAmount(TOO_LITTLE.filled(amount=str(sold), currency=quote.bought))
    legs = (
        debit(giver, sold),
        credit(accounts.exchange(sold.currency), sold),
        debit(accounts.exchange(bought.currency), bought),
        credit(taker, bought),
    )
    return Entry(key, Kind.TRANSFER, legs, reference, quote=quote)
