"""Exchange: one currency out of an account, another into one, through our position in each, at a quoted rate. Pure."""

from datetime import datetime, timedelta
from typing import Final

from core.errors import UserError
from core.language import Saying
from ledger import accounts
from ledger.errors import CurrencyMismatch
from ledger.journal import Account, Entry, Kind, Quote, credit, debit
from ledger.money import TOO_LITTLE, BadAmount, Money

QUOTE_AGE_MAX: Final = timedelta(minutes=15)
"""A rate that was quoted longer ago moves no money: whoever was shown it is shown a newer one."""
CLOCKS_APART: Final = timedelta(minutes=1)
"""How far ahead of ours the clock of whoever quoted it may be."""

STALE = Saying(
    "The exchange rate has become too old since I showed it, so nothing was exchanged. Ask for it again.",
    "Kiwango cha kubadilisha kimepitwa na wakati tangu nilipokionyesha, kwa hiyo sikubadilisha chochote. Omba tena.",
)


class StaleQuote(UserError):
    """The rate was quoted too long ago, or in the future."""

    def __init__(self) -> None:
        super().__init__(STALE)


def exchange(
    key: str, giver: Account, taker: Account, sold: Money, quote: Quote, now: datetime, *, reference: str | None = None
) -> Entry:
    """The entry that takes `sold` from `giver` and gives `taker` its worth at the quote, rounded half to even.

    Both are wallets, or other accounts that credits make more. The quote is kept with the entry. Raises
    CurrencyMismatch where it is of other currencies, BadAmount for what is worth less than the smallest unit, and
    StaleQuote where the quote is older at `now` than QUOTE_AGE_MAX. An entry that is there has its quote for ever: ask
    for it by its key, and do not make it anew.
    """
    if (giver.currency, taker.currency) != (quote.sold, quote.bought):
        raise CurrencyMismatch(f"The quote is for {quote.sold}/{quote.bought}.")
    if not -CLOCKS_APART <= now - quote.at <= QUOTE_AGE_MAX:
        raise StaleQuote
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
