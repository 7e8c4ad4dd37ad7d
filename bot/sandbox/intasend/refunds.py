"""Money back: what was paid is given back, or some of it."""

from datetime import datetime
from decimal import Decimal

from bot.sandbox.accounts import INTASEND_CHALLENGE
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Webhooks
from bot.sandbox.intasend.collections import Collections
from bot.sandbox.intasend.records import (
    CENT,
    OURS,
    REASONS,
    STEP_S,
    Invoice,
    bad_field,
    invalid,
    letters,
    read_amount,
    read_text,
    written,
)
from bot.sandbox.truth import JsonObject


class Refunds(Collections):
    """Chargebacks."""

    def _refund(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        invoice: Invoice = self._found(self._invoices, asked.get("invoice"), mine)
        amount = read_amount(asked, least=CENT)
        if asked.get("reason") not in REASONS:
            raise bad_field("reason", f'"{asked.get("reason")}" is not a valid choice.')
        back = sum(
            (Decimal(one["amount"]) for one in self._chargebacks.values() if one["invoice_id"] == invoice.id),
            Decimal(0),
        )
        if invoice.state != "COMPLETE" or amount + back > invoice.value:
            raise invalid("amount", "No more than was paid can be given back.")
        id_ = letters(7)
        self._log({
            "kind": "chargeback", "chargeback_id": id_, "invoice_id": invoice.id, "amount": str(amount),
            "reason": asked["reason"], "reason_details": read_text(asked, "reason_details"), "status": "PENDING",
            "fault": call.fault,
        })  # fmt: skip
        self._spawn(self._give_back(self._chargebacks[id_], invoice, call.webhooks))
        return answer_json(self._as_chargeback(self._chargebacks[id_], call), 201)

    async def _give_back(self, made: JsonObject, invoice: Invoice, webhooks: Webhooks) -> None:
        await self._pause(STEP_S)
        row = {"kind": "refunded", "chargeback_id": made["chargeback_id"], "invoice_id": invoice.id}
        self._log(row | {"amount": made["amount"], "wallet_id": invoice.wallet})
        told = self._as_chargeback(made)
        for _ in range(webhooks.copies if self._whose(invoice) == OURS else 0):
            self._queue_hook(told | {"transaction": {"invoice": told["invoice"]}, "challenge": INTASEND_CHALLENGE})

    def _as_chargeback(self, made: JsonObject, call: Call | None = None) -> JsonObject:
        at = written(datetime.fromisoformat(made["at"]).timestamp())
        invoice = self._as_invoice(self._invoices[made["invoice_id"]], call)
        return {
            "chargeback_id": made["chargeback_id"], "invoice": invoice,
            "amount": made["amount"], "reason": made["reason"], "reason_details": made["reason_details"],
            "status": made["status"], "created_at": at, "updated_at": at,
        }  # fmt: skip
