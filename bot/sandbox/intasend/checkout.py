"""Pages that a browser pays on: checkouts for one payment, and links for many."""

import json
import re
import secrets
import time
import uuid
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Webhooks
from bot.sandbox.intasend.collections import Collections
from bot.sandbox.intasend.pages import checkout_page, result_page, waiting_page
from bot.sandbox.intasend.records import (
    CARD_DECLINED,
    CENT,
    CURRENCIES,
    FAILURES,
    MERCHANT,
    OURS,
    TARIFFS,
    Bad,
    Invoice,
    bad_field,
    invalid,
    read_amount,
    read_phone,
    read_text,
    shown_sum,
    written,
)
from bot.sandbox.truth import JsonObject


class Checkout(Collections):
    """Payments that begin on a page."""

    def _checkout(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        currency = asked.get("currency", "KES")
        if currency not in CURRENCIES:
            raise bad_field("currency", f'"{currency}" is not a valid choice.')
        amount = read_amount(asked, least=Decimal(1))
        if asked.get("method") not in (None, "M-PESA", "CARD-PAYMENT"):
            raise bad_field("method", f'"{asked["method"]}" is not a valid choice.')
        for name in ("mobile_tarrif", "card_tarrif"):
            if asked.get(name, TARIFFS[0]) not in TARIFFS:
                raise bad_field(name, f'"{asked[name]}" is not a valid choice.')
        known = {
            name: read_text(asked, name)
            for name in ("api_ref", "email", "first_name", "last_name", "phone_number", "country", "redirect_url")
        }
        if known["redirect_url"] and not known["redirect_url"].startswith(("https://", "http://")):
            raise invalid("redirect_url", "Enter a valid URL.")
        id_, signature = str(uuid.uuid4()), secrets.token_urlsafe(32)
        row = {"kind": "checkout", "id": id_, "signature": signature, "amount": str(amount), "currency": currency}
        made = {"method": asked.get("method"), "fault": call.fault, "link": None, "merchant": mine or None}
        self._log(row | known | made)
        made = self._checkouts[id_]
        made["webhooks"] = call.webhooks
        value = amount + (1 if call.fault == "200_wrong_amount" else 0)
        shown = {name: made.get(name) or None for name in ("email", "first_name", "last_name", "phone_number")}
        return answer_json({
            "id": id_, "url": f"{self._base_url}/checkout/{id_}/express/", "signature": signature, **shown,
            "country": made["country"] or None, "api_ref": made["api_ref"], "amount": float(value),
            "currency": currency, "paid": False, "mobile_tarrif": asked.get("mobile_tarrif", TARIFFS[0]),
            "card_tarrif": asked.get("card_tarrif", TARIFFS[0]), "created_at": written(time.time()),
            "updated_at": written(time.time()),
        }, 201)  # fmt: skip

    def _new_link(self, call: Call, asked: JsonObject) -> Answer:
        currency = asked.get("currency", "KES")
        if currency not in CURRENCIES:
            raise bad_field("currency", f'"{currency}" is not a valid choice.')
        title = read_text(asked, "title")
        if not title:
            raise bad_field("title", "This field is required.")
        amount = read_amount(asked, least=Decimal(0))
        limit = asked.get("usage_limit", 0)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise bad_field("usage_limit", "A valid integer is required.")
        id_ = str(uuid.uuid4())
        self._log({
            "kind": "link", "id": id_, "title": title, "amount": str(amount), "currency": currency,
            "redirect_url": read_text(asked, "redirect_url"), "usage_limit": limit,
            "is_active": asked.get("is_active", True) is True, "fault": call.fault,
        })  # fmt: skip
        return answer_json(self._as_link(self._links[id_]), 201)

    def _as_link(self, link: JsonObject) -> JsonObject:
        return {
            "id": link["id"], "title": link["title"], "is_active": link["is_active"],
            "redirect_url": link["redirect_url"] or None, "amount": str(Decimal(link["amount"]).quantize(CENT)),
            "usage_limit": link["usage_limit"], "qrcode_file": None, "url": f"{self._base_url}/pay/{link['id']}/",
            "currency": link["currency"], "created_at": written(datetime.fromisoformat(link["at"]).timestamp()),
        }  # fmt: skip

    async def _page(self, call: Call, kind: str, id_: str) -> Answer:
        """A page that a browser pays on: the form, what comes of it, and the way back to the merchant."""
        known = (self._checkouts if kind == "checkout" else self._links).get(id_)
        if known is None or known.get("is_active") is False:
            return result_page("There is nothing to pay here.", None, 404)
        waiting = self._invoices.get(call.query.get("invoice", ""))
        here = call.path
        if waiting is not None and call.method == "GET":
            if waiting.state in ("PENDING", "PROCESSING"):
                return waiting_page(f"{self._base_url}{here}?invoice={waiting.id}", waiting.account)
            if waiting.state == "COMPLETE":
                return result_page(
                    f"Paid {shown_sum(waiting.currency, waiting.value)} to {MERCHANT}.", self._back(known, waiting)
                )
        paid = self._sessions.get(id_)
        if kind == "checkout" and paid and self._invoices[paid].state == "COMPLETE":
            return result_page("This has been paid already.", self._back(known, self._invoices[paid]))
        sum_shown = shown_sum(known["currency"], Decimal(known["amount"])) if Decimal(known["amount"]) else None
        problem = None if waiting is None else self._reason(waiting)
        if call.method == "GET":
            return checkout_page(MERCHANT, sum_shown, known["currency"], known.get("method"), problem)
        try:
            return await self._paid_on_page(call, kind, known)
        except Bad as bad:
            said = json.loads(bad.answer.body)
            words = said["errors"][0]["detail"] if "errors" in said else str(next(iter(said.values())))
            return checkout_page(MERCHANT, sum_shown, known["currency"], known.get("method"), words)

    @staticmethod
    def _reason(invoice: Invoice) -> str:
        return next((words for code, words in FAILURES.values() if code == invoice.code), "The payment failed.")

    def _back(self, known: JsonObject, invoice: Invoice) -> str | None:
        url = known.get("redirect_url")
        if not url:
            return None
        mark = "&" if "?" in url else "?"
        sent = f"signature={known.get('signature', '')}&checkout_id={known['id']}&tracking_id={invoice.id}"
        return f"{url}{mark}{sent}"

    async def _paid_on_page(self, call: Call, kind: str, known: JsonObject) -> Answer:
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")[:4096]))
        amount = Decimal(known["amount"]) or read_amount({"amount": form.get("amount", "")}, least=Decimal(1))
        asked = {"api_ref": known.get("api_ref") or known.get("title", "")}
        session = known["id"] if kind == "checkout" else None
        paying = Call(call.method, call.path, call.query, call.headers, b"")
        paying.webhooks = known.get("webhooks") or Webhooks()
        mine = known.get("merchant", OURS)
        if form.get("method") == "CARD-PAYMENT":
            number = form.get("card", "").replace(" ", "")
            if not re.fullmatch(r"[0-9]{16}", number):
                raise invalid("card", "Enter the card's 16 digits.")
            account = known.get("email") or "card ending " + number[-4:]
            invoice = self._new_invoice(
                paying, asked, amount, known["currency"], "CARD-PAYMENT", account, session, mine=mine
            )
            self._tell_invoice(invoice)
            await self._settle(invoice, "card" if number == CARD_DECLINED else "pay")
        else:
            if known["currency"] != "KES":
                raise invalid("method", "M-Pesa takes KES only.")
            phone = read_phone(re.sub(r"^(?:\+?254|0)", "254", form.get("phone", "").replace(" ", "")), "phone")
            invoice = self._new_invoice(paying, asked, amount, "KES", "M-PESA", phone, session, mine=mine)
            self._spawn(self._collect(invoice))
        return Answer(303, b"", "text/html", {"Location": f"{self._base_url}{call.path}?invoice={invoice.id}"})
