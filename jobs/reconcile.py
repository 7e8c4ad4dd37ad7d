"""Every two hours the provider's own list is read, and compared with what we say has moved."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from connectors.intasend.accounts import Accounts
from connectors.intasend.client import Chargeback, IntaSend
from core.db import Database
from core.errors import MathiaError, ProviderError
from core.notices import tell
from core.providers import Refused
from jobs.sweeps import Outage
from ledger import dispute_store
from ledger import matching_store as store
from ledger.instruction_store import known_refunds
from ledger.matching import Booked, Difference, Finding, Line, compare
from ledger.money import Money

log = structlog.get_logger()

LOOK_S = 60.0
"""How often it is looked whether a comparison is due."""
BACK = timedelta(days=4)
"""How far back the lists are read; a payment is looked at for three days, and may be that much older than its end."""
BACK_MAX = timedelta(days=30)
"""How far they are read where nobody compared for long."""
PAGES_MAX = 1_000
"""Pages of one list that are read at most."""
AWAY_S = 900.0

FEES = ("CHARGE", "FEE")
TAKEN_BACK = ("CHARGEBACK", "REVERSAL", "REFUND")
MOVED_BY_US = ("TRANSFER",)
"""Kinds of a wallet's lines that are no payments: their documents name SALE alone, these are read by their words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison came to; `unexplained` in minor units, by currency."""

    lines: int
    matched: int
    found: int
    unexplained: dict[str, int]


async def reconcile(
    db: Database, provider: IntaSend, accounts: Accounts | None = None, *, at_once: bool = False
) -> Outcome | None:
    """Compare, if it is due; None where it is not. Raises ProviderError and Refused; what was settled stays settled.

    Persons' own `accounts` are compared after ours, for what went through us alone: the rest is their own business. One
    that cannot be asked is left to the next comparison.
    """
    run = await store.begin(db, at_once=at_once)
    if run is None:
        return None
    parts = [await _compare(db, provider, run, None)]
    async with db.hot() as connection:
        own = await store.own_accounts(connection, run.now - BACK) if accounts is not None else ()
    for row in own:
        try:
            async with db.hot() as connection:
                theirs = await accounts.of(connection, row["person_id"], row["account"]) if accounts else None
            if theirs is not None:
                parts.append(await _compare(db, theirs, run, row["account"]))
        except (MathiaError, Refused) as error:
            log.warning("reconcile.own_account_away", account=row["account"], error=type(error).__name__)
    lines, matched = sum(part.lines for part in parts), sum(part.matched for part in parts)
    findings = [one for part in parts for one in part.findings]
    unexplained = await store.report(db, run, findings, lines=lines, matched=matched)
    await _dispute(db, parts[0].booked, parts[0].returned)
    return Outcome(lines, matched, len(findings), unexplained)


@dataclass(frozen=True, slots=True)
class _Part:
    """What the comparison with one account came to."""

    lines: int
    matched: int
    findings: Sequence[Finding]
    booked: Sequence[Booked]
    returned: Sequence[Chargeback]


async def _compare(db: Database, provider: IntaSend, run: store.Run, account: str | None) -> _Part:
    returned = await _returned(provider)
    async with db.hot() as connection:
        booked = await store.booked(
            connection, run.now - BACK, refunds=[one.chargeback_id for one in returned], account=account,
            invoices=[one.invoice.invoice_id for one in returned if one.invoice and one.invoice.invoice_id],
        )  # fmt: skip
        recent = (one.at for one in booked if one.succeeded and (not one.is_settled or one.at > run.now - BACK))
        oldest = min(recent, default=run.now)
        since = max(run.now - BACK_MAX, min(run.now, oldest + timedelta(days=1)) - BACK)
        settled = await store.settled(connection, since - BACK)
    lines = [*await _collections(provider, since), *_taken_back(returned, since), *await _payouts(provider, since)]
    found = compare(booked, lines, run.now, settled=settled)
    matched = await store.settle(db, found.matches)
    # Of somebody's own account we know only what went through us.
    findings = [one for one in found.findings if account is None or one.kind is not Difference.MISSING_HERE]
    return _Part(len(lines), matched, findings, booked, returned)


async def _collections(provider: IntaSend, since: datetime) -> list[Line]:
    """What was paid to us."""
    lines = []
    for page in range(1, PAGES_MAX + 1):
        listed, more = await provider.collections(page, state="COMPLETE")
        for one in listed:
            at = one.updated_at or one.created_at
            if one.invoice_id is not None and at is not None:
                lines.append(Line(one.invoice_id, False, one.api_ref or "", one.value, one.currency, one.charges, at))
        # The newest begun come first; one that was begun earlier may have ended since.
        if not more or (listed and listed[-1].created_at is not None and listed[-1].created_at < since - BACK):
            break
    return [line for line in lines if line.at >= since]


async def _returned(provider: IntaSend) -> list[Chargeback]:
    """All that was given back to payers, or that they want back."""
    found: list[Chargeback] = []
    for page in range(1, PAGES_MAX + 1):
        listed, more = await provider.chargebacks(page)
        found += listed
        if not more:
            break
    return found


def _taken_back(returned: Sequence[Chargeback], since: datetime) -> list[Line]:
    """What of it is over, as lines."""
    return [
        Line(
            back.chargeback_id, False, back.invoice.api_ref or "", back.amount, back.invoice.currency, Decimal(0),
            back.updated_at, reversal=True,
        )
        for back in returned
        if back.invoice is not None and back.status == "COMPLETED"
        and back.updated_at is not None and back.updated_at >= since
    ]  # fmt: skip


async def _dispute(db: Database, booked: Sequence[Booked], returned: Sequence[Chargeback]) -> None:
    """Open a dispute for each chargeback of a payment of ours that we did not ask for, once; its money is frozen."""
    ours = {line_id for one in booked for line_id in one.line_ids if one.is_refund}
    paid = {line_id: one for one in booked for line_id in one.line_ids if not one.is_out and one.succeeded}
    for back in returned:
        one = paid.get(back.invoice.invoice_id or "") if back.invoice is not None else None
        if one is None or back.chargeback_id in ours or back.status == "CANCELLED":
            continue
        try:
            async with db.hot() as connection:
                known = await known_refunds(connection, [back.chargeback_id])
                if known or await dispute_store.is_known(connection, back.chargeback_id):
                    continue
                asked = dispute_store.Opening(
                    f"chargeback:{back.chargeback_id}", one.reference, Money.of(back.amount, one.amount.currency),
                    dispute_store.PROVIDERS, f"chargeback {back.chargeback_id}: {back.status.lower()}",
                    line_id=back.chargeback_id,
                )  # fmt: skip
                made = await dispute_store.open_(connection, asked)
                for one_told in dispute_store.notices(None, made):
                    key = f"dispute:{made.reference}:opened:{one_told.to}"
                    await tell(
                        connection, one_told.conversation_id, one_told.language, one_told.says, "payment", key
                    )  # fmt: skip
            log.warning("dispute.opened_by_provider", dispute=made.reference, payment=made.payment)
        except MathiaError as error:
            # More than is left of it: staff see the finding, and decide.
            log.warning("dispute.not_opened", payment=one.reference, error=type(error).__name__)


async def _payouts(provider: IntaSend, since: datetime) -> list[Line]:
    """What left our wallets, each with the fee that stands on a line of its own, and what came back."""
    lines: list[Line] = []
    for wallet in await provider.wallets():
        fees: dict[str, Decimal] = {}
        moved = []
        for page in range(1, PAGES_MAX + 1):
            listed, more = await provider.lines(wallet.wallet_id, page)
            for one in listed:
                kind = one.trans_type.upper()
                if one.invoice is not None or any(word in kind for word in MOVED_BY_US):
                    continue  # Collections have a list of their own.
                if any(word in kind for word in TAKEN_BACK):
                    moved.append((one, True))
                elif any(word in kind for word in FEES):
                    reference = one.narrative or ""
                    fees[reference] = fees.get(reference, Decimal(0)) - one.value
                elif one.value < 0:
                    moved.append((one, False))
            if not more or (listed and listed[-1].created_at < since):
                break
        for one, reversal in reversed(moved):
            reference = one.narrative or ""
            fee = Decimal(0) if reversal else fees.pop(reference, Decimal(0))
            lines.append(
                Line(
                    one.transaction_id, True, reference, abs(one.value), one.currency, fee, one.created_at, reversal
                )
            )  # fmt: skip
    return [line for line in lines if line.at >= since]


async def sweep_reconcile(db: Database, provider: IntaSend, accounts: Accounts) -> None:
    """Compare every two hours, in one process at a time, until cancelled."""
    outage = Outage("reconciliation")
    while True:
        try:
            if (done := await reconcile(db, provider, accounts)) is not None:
                log.info("reconciled", lines=done.lines, matched=done.matched, found=done.found, left=done.unexplained)
            outage.over()
        except (ProviderError, Refused) as error:
            log.warning("reconcile.provider_away", error=type(error).__name__)
            await asyncio.sleep(AWAY_S)
            continue
        except Exception as error:
            await outage.wait(error)
            continue
        await asyncio.sleep(LOOK_S)


def shown(outcome: Outcome) -> Sequence[str]:
    """An outcome in words, a line each."""
    left = ", ".join(str(Money(minor, currency)) for currency, minor in outcome.unexplained.items())
    return (
        f"{outcome.lines} lines, {outcome.matched} settled, {outcome.found} findings.",
        f"Unexplained: {left}." if left else "Nothing is unexplained.",
    )
