"""Money out: batches that are initiated, approved and sent."""

import secrets
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.intasend.records import (
    BATCHES,
    CENT,
    FATES,
    LATE_S,
    MERCHANT,
    PAYOUT_FEE,
    ROWS_MAX,
    SEND_PROVIDERS,
    STEP_S,
    TRANSACTIONS,
    WALLETS,
    Batch,
    Payout,
    as_wallet,
    bad_field,
    invalid,
    letters,
    plain,
    read_payout,
    read_text,
    shown_sum,
    written,
)
from bot.sandbox.intasend.telling import Telling
from bot.sandbox.truth import JsonObject


class Payouts(Telling):
    """Payments by the merchant."""

    def _initiate(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        provider = asked.get("provider")
        if provider not in SEND_PROVIDERS:
            raise bad_field("provider", f'"{provider}" is not a valid choice.')
        if asked.get("currency") != "KES":
            raise bad_field("currency", "Money is sent in KES only.")
        if asked.get("requires_approval", "YES") not in ("YES", "NO"):
            raise bad_field("requires_approval", f'"{asked["requires_approval"]}" is not a valid choice.')
        wallet = asked.get("wallet_id") or next(id_ for id_, _, whose in WALLETS if whose == mine)
        if not self._found(self._wallets, wallet, mine).can_disburse:
            raise invalid("wallet_id", "This wallet cannot disburse.")
        given = asked.get("transactions")
        if not isinstance(given, list) or not 1 <= len(given) <= ROWS_MAX:
            raise bad_field("transactions", f"Expected a list of 1 to {ROWS_MAX} items.")
        rows = [read_payout(str(provider), one) for one in given]
        tracking_id = str(uuid.uuid4())
        self._log({
            "kind": "batch", "tracking_id": tracking_id, "file_id": "0" + letters(6),
            "reference": read_text(asked, "batch_reference") or None, "provider": provider, "wallet_id": wallet,
            "currency": "KES", "nonce": secrets.token_hex(3), "rows": rows, "fault": call.fault,
        })  # fmt: skip
        batch = self._batches[tracking_id]
        batch.webhooks = call.webhooks
        self._lie(batch, call)
        self._tell_batch(batch)
        answer = answer_json(self._as_batch(batch, call), 201)
        if asked.get("requires_approval") == "NO":
            self._spawn(self._send(batch))
        return answer

    async def _approve(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        batch: Batch = self._found(self._batches, asked.get("tracking_id"), mine)
        if asked.get("nonce") != batch.nonce:
            raise invalid("nonce", "The nonce is not the one that was given.")
        told = asked.get("transactions")
        ids = [one.get("transaction_id") for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        if ids != [row.id for row in batch.rows] or "file_id" not in asked:
            raise invalid("transactions", "Send back what initiate answered.")
        if batch.code in ("BE111", "BF102", "BF105"):
            raise invalid("status_code", f"The batch is over ({batch.code}).")
        batch.webhooks = call.webhooks
        self._log({"kind": "approve", "tracking_id": batch.tracking_id, "fault": call.fault})
        self._batch_state(batch, "BP104", {})
        self._lie(batch, call)
        answer = answer_json(self._as_batch(batch, call))
        await self._begin(self._send(batch), call)
        return answer

    async def _send(self, batch: Batch) -> None:
        await self._pause(STEP_S)
        wallet = self._wallets[batch.wallet]
        if batch.total + PAYOUT_FEE * len(batch.rows) > wallet.balance:
            self._batch_state(batch, "BF105", {row.id: "TF103" for row in batch.rows})
            self._let_go(batch)
            return
        self._batch_state(batch, "BP108", {row.id: "TP102" for row in batch.rows})
        for row in batch.rows:
            if row.account[-2:] != "41" or row.account not in FATES:
                self._transfer(batch, row)
        await self._pause(STEP_S)
        first = {"254708374141": "TF106", "254708374142": "TF105", "254708374143": "TH107"}
        self._batch_state(batch, "BC100", {row.id: first.get(row.account, "TS100") for row in batch.rows})
        doubtful = {row.id: "TS100" for row in batch.rows if row.account == "254708374142"}
        contrary = {row.id: "TF106" for row in batch.rows if row.account == "254708374144"}
        if doubtful or contrary:
            await self._pause(LATE_S)
            self._batch_state(batch, "BC100", doubtful | contrary)
        self._let_go(batch)

    def _transfer(self, batch: Batch, row: Payout) -> None:
        """The moment at which money leaves."""
        told = f"You have received {shown_sum(batch.currency, row.amount)} from {MERCHANT}. {row.narrative}".rstrip()
        self._log({
            "kind": "sent", "tracking_id": batch.tracking_id, "transaction_id": row.id, "reference": row.reference,
            "batch_reference": batch.reference, "account": row.account, "amount": str(row.amount),
            "fee": str(PAYOUT_FEE), "currency": batch.currency, "narrative": row.narrative, "wallet_id": batch.wallet,
            "text": told,
        })  # fmt: skip
        self._screen.prompted()

    def _batch_state(self, batch: Batch, code: str, rows: Mapping[str, str]) -> None:
        self._log({"kind": "batch_state", "tracking_id": batch.tracking_id, "code": code, "rows": dict(rows)})
        self._tell_batch(batch)

    def _as_batch(self, batch: Batch, call: Call | None = None) -> JsonObject:
        lies = call is not None and time.time() < batch.lies_until
        extra = 1 if call is not None and call.fault == "200_wrong_amount" else 0
        code = "BF102" if lies else batch.code
        fees = PAYOUT_FEE * len(batch.rows)
        over = code in ("BC100", "BF102", "BF105")
        paid = sum((row.amount for row in batch.rows if row.code == "TS100" and not lies), Decimal(0))
        wallet = self._wallets.get(batch.wallet)
        return {
            "file_id": batch.file_id,
            "device_id": None,
            "tracking_id": batch.tracking_id,
            "batch_reference": batch.reference,
            "status": BATCHES[code],
            "status_code": code,
            "nonce": batch.nonce,
            "wallet": as_wallet(wallet) if wallet else None,
            "transactions": [
                {
                    "status": TRANSACTIONS["TF106" if lies else row.code],
                    "status_code": "TF106" if lies else row.code,
                    "request_reference_id": row.reference,
                    "transaction_id": row.id,
                    "name": row.name,
                    "account": row.account,
                    "id_number": None,
                    "bank_code": None,
                    "amount": plain(row.amount + extra),
                    "narrative": row.narrative,
                }
                for row in batch.rows
            ],
            "charge_estimate": str(fees),
            "total_amount_estimate": str((batch.total + fees).quantize(CENT)),
            "actual_charges": str(fees) if over else "0.00",
            "paid_amount": str(paid.quantize(CENT)),
            "failed_amount": str((batch.total - paid).quantize(CENT)) if over else "0.00",
            "transactions_count": len(batch.rows),
            "created_at": written(batch.at),
            "updated_at": written(batch.updated),
        }

    def _tell_batch(self, batch: Batch) -> None:
        # Their own sample of 2025 shows this event without a challenge.
        self._queue_hooks(batch, self._as_batch(batch), challenge=False)
