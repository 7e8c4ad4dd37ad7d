"""What IntaSend's answers mean in the words of payment instructions. Pure."""

from decimal import Decimal

from connectors.intasend.client import Batch, Chargeback, Collection
from ledger.instructions import Answer, Outcome

SENT = "TS100"
NOT_SENT = frozenset({"TF103", "TF106", "TC108"})
OVER = frozenset({"BF102", "BF105", "BE111"})
NOT_APPROVED = frozenset({"BP101", "BP103"})
"""TF105 is among none of these: it means that they do not know."""


def of_collection(told: Collection) -> Answer:
    """What became of a payment to us."""
    outcome = {
        "COMPLETE": Outcome.DONE, "FAILED": Outcome.FAILED, "PROCESSING": Outcome.PROCESSING,
        "PENDING": Outcome.UNDER_WAY,
    }[told.state]  # fmt: skip
    return Answer(
        outcome, told.value, told.currency, told.account, told.api_ref or "", told.failed_code or "",
        told.mpesa_reference or "", told.charges if outcome is Outcome.DONE else None,
    )  # fmt: skip


def of_batch(told: Batch) -> Answer:
    """What became of a payout; a batch of anything but one row is nothing of ours."""
    currency = told.wallet.currency if told.wallet else None
    if len(told.transactions) != 1:
        return Answer(Outcome.UNDER_WAY, Decimal(0), currency, None, "", told.status_code)
    row = told.transactions[0]
    if row.status_code == SENT:
        outcome = Outcome.DONE
    elif row.status_code in NOT_SENT or told.status_code in OVER:
        outcome = Outcome.FAILED
    elif told.status_code in NOT_APPROVED:
        outcome = Outcome.NOT_APPROVED
    else:
        outcome = Outcome.UNDER_WAY
    code = f"{told.status_code}/{row.status_code}"
    return Answer(
        outcome, row.amount, currency, row.account, told.batch_reference or row.narrative or "", code,
        row.transaction_id, told.actual_charges if outcome is Outcome.DONE else None,
    )  # fmt: skip


def of_chargeback(told: Chargeback) -> Answer:
    """What became of a refund; what is disputed or overdue there is still under way."""
    outcome = {"COMPLETED": Outcome.DONE, "CANCELLED": Outcome.FAILED}.get(told.status, Outcome.UNDER_WAY)
    return Answer(outcome, told.amount, told.invoice.currency if told.invoice else None, None, None, told.status)
