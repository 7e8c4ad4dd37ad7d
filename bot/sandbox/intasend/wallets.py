"""Wallets of the simulated IntaSend, and the lines of their statements."""

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.intasend.collections import Collections
from bot.sandbox.intasend.records import (
    CENT,
    CURRENCIES,
    Wallet,
    as_wallet,
    bad_field,
    invalid,
    letters,
    read_amount,
    read_text,
    written,
)
from bot.sandbox.truth import JsonObject


class Wallets(Collections):
    """Money that is kept, and moved between wallets."""

    def _new_wallet(self, asked: JsonObject, mine: str) -> Answer:
        if asked.get("wallet_type") != "WORKING":
            raise bad_field("wallet_type", f'"{asked.get("wallet_type")}" is not a valid choice.')
        if asked.get("currency") not in CURRENCIES:
            raise bad_field("currency", f'"{asked.get("currency")}" is not a valid choice.')
        label = read_text(asked, "label")
        if not label or any(one.label == label for one in self._wallets.values()):
            raise bad_field("label", "A wallet needs a label of its own.")
        id_ = letters(7)
        row = {"kind": "wallet", "wallet_id": id_, "currency": asked["currency"], "label": label}
        row["merchant"] = mine or None
        self._log(row | {"wallet_type": "WORKING", "can_disburse": asked.get("can_disburse", False) is True})
        return answer_json(as_wallet(self._wallets[id_]), 201)

    def _move(self, call: Call, source: str, asked: JsonObject, mine: str) -> Answer:
        wallet = self._found(self._wallets, source, mine)
        other = self._found(self._wallets, asked.get("wallet_id"), mine)
        amount = read_amount(asked, least=CENT)
        if other.currency != wallet.currency or other is wallet:
            raise invalid("wallet_id", "Money moves between two wallets of one currency.")
        if amount > wallet.balance:
            raise invalid("amount", "Insufficient balance.")
        row = {"kind": "transfer", "id": letters(7), "from": source, "to": other.id, "amount": str(amount)}
        self._log(row | {"narrative": read_text(asked, "narrative"), "fault": call.fault})
        return answer_json({"origin": as_wallet(wallet), "destination": as_wallet(other)}, 201)

    def _as_line(self, wallet: Wallet, line: JsonObject, call: Call) -> JsonObject:
        invoice = self._invoices.get(line.get("invoice_id", ""))
        return {
            "transaction_id": line["transaction_id"],
            "invoice": self._as_invoice(invoice, call) if invoice else line.get("invoice"),
            "currency": line.get("currency", wallet.currency),
            "value": line["value"],
            "running_balance": line["running_balance"],
            "narrative": line["narrative"],
            "trans_type": line["trans_type"],
            "status": "AVAILABLE",
            "created_at": written(line["at"]),
            "updated_at": written(line["at"]),
        }

    def _plant(self, asked: JsonObject) -> Answer:
        """POST /_lines {"wallet_id": …, "lines": […]} adds lines to a wallet's statement, as they are given."""
        lines, wallet = asked.get("lines"), asked.get("wallet_id")
        if not isinstance(lines, list) or wallet not in self._wallets:
            raise ValueError("lines must be a list of objects, and wallet_id one of the wallets.")
        needed = {"transaction_id", "value", "running_balance", "narrative", "trans_type", "at"}
        for line in lines:
            if not isinstance(line, dict) or not needed <= set(line):
                raise ValueError(f"A line has {', '.join(sorted(needed))}, and may have currency and invoice.")
            self._log({"kind": "line", "wallet_id": wallet, "line": line})
        return answer_json({"lines": len(lines)})
