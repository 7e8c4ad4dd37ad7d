"""Money of somebody who wants to be erased: what they still have here, said so that they can take it out first.

It is looked at in the transaction that erases them. Staff may let somebody go all the same, for a reason that is
recorded; what is left is then moved to an account of money nobody can claim by themselves (jobs/wallets.py).
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from core.errors import UserError
from core.language import Saying
from core.money import DECIMALS
from ledger.fees import fee_for
from ledger.journal import Kind
from ledger.money import Money

MPESA = "KES"

HAS = Saying(
    "You still have {amounts} here. Withdraw it first, for example by “withdraw 500”; then ask for this again.",
    "Bado una {amounts} hapa. Zitoe kwanza, kwa mfano andika “toa pesa 500”; kisha omba hili tena.",
)
STAYS = Saying(
    "You still have {amounts} here, which cannot be paid out by M-Pesa. Write to whoever runs this service first.",
    "Bado una {amounts} hapa, ambazo haziwezi kulipwa kwa M-Pesa. Waandikie kwanza wanaoendesha huduma hii.",
)
FROZEN = Saying(
    "{amounts} of yours are kept back for a dispute. Wait until it is decided; then ask for this again.",
    "{amounts} zako zimeshikwa kwa mgogoro. Subiri uamuliwe; kisha omba hili tena.",
)
UNDER_WAY = Saying(
    "A payment of yours is still under way. Wait until you are told how it ended; then ask for this again.",
    "Malipo yako moja bado yanaendelea. Subiri uambiwe yalivyoisha; kisha omba hili tena.",
)
AND = Saying(" and ", " na ")

THEIRS = """
SELECT id, key LIKE 'disputed:%' AS frozen, currency, posted, pending_out FROM account
WHERE owner = ANY($1::text[]) AND type = 'LIABILITY' AND key NOT LIKE 'own:%'
ORDER BY id FOR NO KEY UPDATE
"""
"""Every account of theirs, also those with nothing on them: whoever credits one meanwhile waits. What is in their own
account with the provider is theirs, whatever becomes of us."""
OPEN: Final = """
SELECT EXISTS (SELECT FROM payment_instruction WHERE person_id = ANY($1::uuid[])
               AND state NOT IN ('succeeded', 'complete', 'late', 'failed'))
"""


class HasMoney(UserError):
    """Somebody still has money here, or a payment under way; it says what, and what to do first."""


async def check(connection: Any, people: Sequence[UUID]) -> None:
    """Raises HasMoney where one of these persons (one and whoever was joined with them) has not settled everything.

    What is less than the smallest sum that can be paid out, fee included, holds nobody back.
    """
    rows = await connection.fetch(THEIRS, [str(person) for person in people])
    if await connection.fetchval(OPEN, list(people)) or any(row["pending_out"] for row in rows):
        raise HasMoney(UNDER_WAY)
    least = Money(100, MPESA)
    least += await fee_for(connection, Kind.WITHDRAWAL, least)
    frozen, ours, others = _sums(rows, frozen=True), _sums(rows, frozen=False), []
    for money in [one for one in ours if one.currency != MPESA]:
        ours.remove(money)
        if money.minor >= 10 ** DECIMALS[money.currency]:
            others.append(money)
    if frozen:
        raise HasMoney(FROZEN.filled(amounts=_said(frozen)))
    if any(one >= least for one in ours):
        raise HasMoney(HAS.filled(amounts=_said(ours)))
    if others:
        raise HasMoney(STAYS.filled(amounts=_said(others)))


async def left(connection: Any, people: Sequence[UUID]) -> list[Money]:
    """All that these persons have here, by currency, kept back or not."""
    rows = await connection.fetch(THEIRS, [str(person) for person in people])
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["currency"]] = sums.get(row["currency"], 0) + row["posted"]
    return [Money(minor, currency) for currency, minor in sorted(sums.items()) if minor]


def _sums(rows: Sequence[Any], *, frozen: bool) -> list[Money]:
    sums: dict[str, int] = {}
    for row in rows:
        if row["frozen"] is frozen:
            sums[row["currency"]] = sums.get(row["currency"], 0) + row["posted"]
    return [Money(minor, currency) for currency, minor in sorted(sums.items()) if minor]


def _said(amounts: Sequence[Money]) -> Saying:
    return Saying(AND.en.join(one.shown("en") for one in amounts), AND.sw.join(one.shown("sw") for one in amounts))
