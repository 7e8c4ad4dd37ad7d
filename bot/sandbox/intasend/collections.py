"""Money in: somebody is asked to pay by M-Pesa, and what comes of it."""

import re
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.intasend.records import (
    CENT,
    FAILURES,
    FATES,
    FEES,
    LATE_S,
    MERCHANT,
    OURS,
    STEP_S,
    UNANSWERED_S,
    Invoice,
    bad_field,
    invalid,
    letters,
    read_amount,
    read_phone,
    read_text,
    shown_sum,
    written,
)
from bot.sandbox.intasend.telling import Telling
from bot.sandbox.truth import JsonObject


class Collections(Telling):
    """Payments to the merchant."""

    async def _push(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        if asked.get("currency", "KES") != "KES":
            raise invalid("currency", "M-Pesa takes KES only.")
        if asked.get("method", "M-PESA") != "M-PESA":
            raise bad_field("method", f'"{asked["method"]}" is not a valid choice.')
        amount = read_amount(asked, least=Decimal(1))
        phone = read_phone(asked.get("phone_number"), "phone_number")
        invoice = self._new_invoice(call, asked, amount, "KES", "M-PESA", phone, mine=mine)
        self._lie(invoice, call)
        shown = self._as_invoice(invoice, call, loose=True)
        await self._begin(self._collect(invoice), call)
        meta = self._meta(invoice)
        customer = meta.pop("customer")
        return answer_json({"invoice": shown, "customer": customer, "payment_link": None, "refundable": False, **meta})

    def _new_invoice(
        self, call: Call, asked: JsonObject, amount: Decimal, currency: str, provider: str, account: str,
        session: str | None = None, *, mine: str = OURS,
    ) -> Invoice:  # fmt: skip
        theirs = [one for one in self._wallets.values() if one.merchant == mine]
        wallet = asked.get("wallet_id") or next(one.id for one in theirs if one.currency == currency)
        if wallet not in {one.id for one in theirs}:
            raise invalid("wallet_id", "Wallet does not exist.")
        id_ = letters(7)
        self._log({
            "kind": "invoice", "invoice_id": id_, "session": session or str(uuid.uuid4()),
            "api_ref": read_text(asked, "api_ref"), "value": str(amount), "currency": currency, "account": account,
            "provider": provider, "wallet_id": wallet, "narrative": read_text(asked, "narrative") or None,
            "fault": call.fault,
        })  # fmt: skip
        invoice = self._invoices[id_]
        invoice.webhooks = call.webhooks
        return invoice

    async def _collect(self, invoice: Invoice, *, begun: bool = False) -> None:
        """Ask somebody to pay by M-Pesa, and what comes of it."""
        if not begun:
            self._tell_invoice(invoice)
        fate = FATES.get(invoice.account) or self._auto
        if fate is None:
            waits_s = max(0.0, invoice.at + UNANSWERED_S - time.time())
            text = f"Do you want to pay {shown_sum(invoice.currency, invoice.value)} to {MERCHANT}? Enter M-PESA PIN."
            self._prompts[invoice.id] = {"id": invoice.id, "phone": invoice.account, "text": text}
            self._screen.prompted()
            await self._pause(waits_s)
            if self._prompts.pop(invoice.id, None) is None:
                return  # Answered meanwhile.
            self._screen.prompted()
            fate = "silent"
        else:
            await self._pause(STEP_S)
        await self._settle(invoice, fate)

    def answer_prompt(self, invoice_id: str, pin: str | None) -> None:
        """What a person does with a prompt: types a PIN (0000 is wrong), or closes it. ValueError when it is gone."""
        prompt = self._prompts.pop(invoice_id, None)
        invoice = self._invoices.get(invoice_id)
        if prompt is None or invoice is None:
            raise ValueError("That prompt is gone; M-Pesa waits a minute for an answer.")
        if pin is not None and not re.fullmatch(r"[0-9]{4}", pin):
            self._prompts[invoice_id] = prompt
            raise ValueError("An M-Pesa PIN has 4 digits.")
        self._screen.prompted()
        self._spawn(self._settle(invoice, "cancel" if pin is None else "pin" if pin == "0000" else "pay"))

    @property
    def prompts(self) -> JsonObject:
        """What the phone shows of M-Pesa: who is asked to pay now, and what M-Pesa told people lately."""
        return {"prompts": list(self._prompts.values()), "told": list(self._answered)}

    async def _settle(self, invoice: Invoice, fate: str) -> None:
        if fate != "silent":
            self._state(invoice, "PROCESSING")
            await self._pause(STEP_S)
        if fate in ("pay", "contrary"):
            self._pay(invoice)
        else:
            self._state(invoice, "FAILED", FAILURES[fate][0])
        if fate == "late":
            await self._pause(LATE_S)
            self._pay(invoice)
        if fate == "contrary":
            await self._pause(STEP_S)
            told = {"state": "FAILED", "failed_code": FAILURES[fate][0], "failed_reason": FAILURES[fate][1]}
            self._queue_hooks(invoice, self._as_invoice(invoice) | told)
        self._let_go(invoice)

    def _state(self, invoice: Invoice, state: str, code: str | None = None) -> None:
        self._log({"kind": "state", "invoice_id": invoice.id, "api_ref": invoice.api_ref, "state": state, "code": code})
        self._tell_invoice(invoice)

    def _pay(self, invoice: Invoice) -> None:
        charges = (invoice.value * FEES[invoice.provider]).quantize(CENT)
        receipt = "S" + letters(9)
        self._log({
            "kind": "paid", "invoice_id": invoice.id, "api_ref": invoice.api_ref, "value": str(invoice.value),
            "currency": invoice.currency, "charges": str(charges), "account": invoice.account, "receipt": receipt,
        })  # fmt: skip
        if invoice.provider == "M-PESA":  # It tells its own people, by their phone.
            words = f"{receipt} confirmed. {shown_sum(invoice.currency, invoice.value)} paid to {MERCHANT}."
            self._answered.append({"text": words, "phone": invoice.account, "at": datetime.now(UTC).isoformat()})
            self._screen.prompted()
        self._tell_invoice(invoice)

    def _status(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        checkout_id = asked.get("checkout_id")
        invoice_id = asked.get("invoice_id") or self._sessions.get(str(checkout_id))
        if invoice_id is None and checkout_id in self._checkouts:
            self._found(self._checkouts, checkout_id, mine)
            known = self._checkouts[str(checkout_id)]
            nothing = dict.fromkeys(("invoice_id", "provider", "account", "mpesa_reference", "failed_reason"))
            sums = {"currency": known["currency"], "value": known["amount"], "charges": "0.00", "net_amount": "0.00"}
            return answer_json({"invoice": {**nothing, "state": "PENDING", "api_ref": known["api_ref"], **sums}})
        invoice = self._found(self._invoices, invoice_id, mine)
        self._lie(invoice, call)
        return answer_json({"invoice": self._as_invoice(invoice, call), "meta": self._meta(invoice)})

    def _as_invoice(self, invoice: Invoice, call: Call | None = None, *, loose: bool = False) -> JsonObject:
        """An invoice as the API shows it; `loose` with the mixture of numbers and texts that new ones come in."""
        state, code, value = invoice.state, invoice.code, invoice.value
        if call is not None and time.time() < invoice.lies_until:
            state, code = "FAILED", "1037"
        if call is not None and call.fault == "200_wrong_amount":
            value += 1
        net = value - invoice.charges if state == "COMPLETE" or loose else Decimal(0)
        reason = next((words for number, words in FAILURES.values() if number == code), None)
        return {
            "invoice_id": invoice.id,
            "state": state,
            "provider": invoice.provider,
            "charges": 0 if loose else str(invoice.charges.quantize(CENT)),
            "net_amount": str(net.quantize(CENT)),
            "currency": invoice.currency,
            "value": (int(value) if value == value.to_integral_value() else float(value))
            if loose
            else str(value.quantize(CENT)),
            "account": invoice.account,
            "api_ref": invoice.api_ref,
            "mpesa_reference": invoice.receipt if state == "COMPLETE" else None,
            "clearing_status": "CLEARING" if state == "COMPLETE" else None,
            "host": "203.0.113.9",
            "card_info": {"bin_country": None, "card_type": None},
            "retry_count": 0,
            "failed_reason": reason,
            "failed_code": code,
            "failed_code_link": "https://intasend.com/troubleshooting" if code else None,
            "created_at": written(invoice.at),
            "updated_at": written(invoice.updated),
        }

    @staticmethod
    def _meta(invoice: Invoice) -> JsonObject:
        at, updated = written(invoice.at), written(invoice.updated)
        customer = {
            "customer_id": "Y" + invoice.id[1:], "phone_number": invoice.account, "email": None, "first_name": None,
            "last_name": None, "country": None, "zipcode": None, "provider": invoice.provider, "created_at": at,
            "updated_at": updated,
        }  # fmt: skip
        return {
            "id": invoice.session, "customer": customer, "customer_comment": None, "created_at": at,
            "updated_at": updated,
        }  # fmt: skip

    def _tell_invoice(self, invoice: Invoice) -> None:
        self._queue_hooks(invoice, self._as_invoice(invoice))
