"""IntaSend: M-Pesa prompts, checkout pages, payment links, wallets, payouts, refunds, and its webhooks.

One account with one merchant, and one of another (accounts.py), who sees nothing of the first. Whoever is asked to pay
by M-Pesa gets a prompt on the simulated phone (/sandbox) and has UNANSWERED_S to type a PIN; POST /intasend/_mpesa
{"auto": "pay" | "cancel" | null} answers for everybody, {"speed": 50} makes all of it faster. POST /_heal ends both.
These numbers have a fate of their own:

254708374149   pays at once                      254708374141   says no (1032)
254708374142   has not enough (1)                254708374143   never answers (1037)
254708374144   fails, and is paid a moment later 254708374145   is paid, and a webhook says afterwards that it failed

and as the account of a payout: …41 fails (TF106), …42 is in doubt (TF105) and then sent, …43 is under observation
(TH107) for ever, …44 says that it was sent and then that it failed.

Whatever this API is not known to guard against it does not guard against: a second push with the same api_ref prompts
again, a second approve of the same batch pays again, and idempotency_key is ignored. All that happens is a row of the
truth log, and what it remembers is made from those rows alone. `paid` and `sent` are the rows of money that moved.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.intasend.checkout import Checkout
from bot.sandbox.intasend.pages import STYLE
from bot.sandbox.intasend.payouts import Payouts
from bot.sandbox.intasend.records import (
    API,
    BANKS,
    OURS,
    PAGE_SIZE,
    PUBLIC_KEYS,
    SECRET_KEYS,
    SPEED_MAX,
    Bad,
    as_wallet,
    bad_field,
    invalid,
    public_key,
    refused,
)
from bot.sandbox.intasend.refunds import Refunds
from bot.sandbox.intasend.wallets import Wallets
from bot.sandbox.truth import JsonObject


class IntaSend(Checkout, Wallets, Payouts, Refunds):
    """The simulator of one IntaSend account."""

    def start(self) -> None:
        """Start sending webhooks, and go on with what was under way."""
        self._spawn(self._post_all())
        for invoice in list(self._invoices.values()):
            if invoice.state in ("PENDING", "PROCESSING"):
                self._spawn(self._collect(invoice, begun=True))
        for batch in list(self._batches.values()):
            if batch.code in ("BP104", "BP108"):
                self._spawn(self._send(batch))

    async def stop(self) -> None:
        """Stop; everything that happened is in the log."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def too_many(self, retry_after_s: int) -> Answer:
        """IntaSend's 429."""
        words = f"Request was throttled. Expected available in {retry_after_s} seconds."
        return answer_json({"detail": words}, 429, {"Retry-After": str(retry_after_s)})

    def broken(self) -> Answer:
        """IntaSend's 500."""
        error = {"code": "error", "detail": "A server error occurred.", "attr": None}
        return answer_json({"type": "server_error", "errors": [error]}, 500)

    def nudge(self) -> None:
        """The application is somewhere else: its webhook address is on again."""
        self._misses = 0

    def reset(self) -> None:
        """Forget all money and who it was of."""
        self.heal()
        self._queue.clear()
        self._log({"kind": "reset"})

    async def answer(self, call: Call) -> Answer:
        """Serve the API and the pages that people pay on."""
        path = call.path
        if path == "/_mpesa":
            return self._control(call)
        if path == "/_lines":
            return self._plant(controls(call))
        if path == "/pay.css":
            return Answer(200, STYLE, "text/css; charset=utf-8")
        if found := re.fullmatch(r"/(checkout|pay)/([0-9a-f-]{36})/(?:express/)?", path):
            return await self._page(call, found[1], found[2])
        if not path.startswith(API + "/"):
            return answer_json({"detail": "Not found."}, 404)
        if not path.endswith("/"):
            # Django sends a GET on to the address with the slash; nothing else survives that.
            if call.method != "GET":
                return answer_json({"detail": "Not found."}, 404)
            query = "?" + "&".join(f"{name}={value}" for name, value in call.query.items()) if call.query else ""
            return Answer(301, b"", "text/html", {"Location": f"{self._base_url}{path}/{query}"})
        try:
            return await self._route(call, path[len(API) : -1])
        except Bad as bad:
            return bad.answer

    async def _route(self, call: Call, path: str) -> Answer:
        asked: JsonObject = {}
        if call.method == "POST":
            if not call.headers.get("Content-Type", "").startswith("application/json"):
                raise refused(415, "Unsupported media type in request; send application/json.")
            try:
                asked = json.loads(call.body or b"{}", parse_float=Decimal)
            except (ValueError, RecursionError):
                raise refused(400, "JSON parse error") from None
            if not isinstance(asked, dict):
                raise invalid("non_field_errors", "Invalid data. Expected a dictionary.")
        elif call.method != "GET":
            raise refused(405, f'Method "{call.method}" not allowed.')
        mine = self._who(call, asked)
        match call.method, *path.strip("/").split("/"):
            case ("POST", "payment", "mpesa-stk-push" | "collection"):
                self._secret(call)
                self._public(call, asked)
                return await self._push(call, asked, mine)
            case ("POST", "checkout"):
                self._public(call, asked)
                return self._checkout(call, asked, mine)
            case ("POST", "payment", "status"):
                self._public(call, asked)
                return self._status(call, asked, mine)
            case ("GET", "invoices"):
                self._secret(call)
                wanted = call.query.get("state", "")
                theirs = [one for one in self._invoices.values() if self._whose(one) == mine]
                newest = sorted(theirs, key=lambda one: (one.at, one.id), reverse=True)
                shown = [one for one in newest if not wanted or one.state == wanted]
                return self._paged(call, shown, lambda one: self._as_invoice(one, call))
            case ("POST", "paymentlinks"):
                self._secret(call)
                return self._new_link(call, asked)
            case ("GET", "paymentlinks"):
                self._secret(call)
                return self._paged(call, list(self._links.values()), self._as_link)
            case ("GET", "paymentlinks", id_):
                self._secret(call)
                return answer_json(self._as_link(self._found(self._links, id_)))
            case ("GET", "wallets"):
                self._secret(call)
                return self._paged(call, [one for one in self._wallets.values() if one.merchant == mine], as_wallet)
            case ("POST", "wallets"):
                self._secret(call)
                return self._new_wallet(asked, mine)
            case ("GET", "wallets", id_):
                self._secret(call)
                return answer_json(as_wallet(self._found(self._wallets, id_, mine)))
            case ("GET", "wallets", id_, "transactions"):
                self._secret(call)
                wallet = self._found(self._wallets, id_, mine)
                return self._paged(call, wallet.lines[::-1], lambda line: self._as_line(wallet, line, call))
            case ("POST", "wallets", id_, "intra_transfer"):
                self._secret(call)
                return self._move(call, id_, asked, mine)
            case ("POST", "send-money", "initiate"):
                self._secret(call)
                return self._initiate(call, asked, mine)
            case ("POST", "send-money", "approve"):
                self._secret(call)
                return await self._approve(call, asked, mine)
            case ("POST", "send-money", "status"):
                self._secret(call)
                batch = self._found(self._batches, asked.get("tracking_id"), mine)
                self._lie(batch, call)
                return answer_json(self._as_batch(batch, call))
            case ("GET", "send-money", "bank-codes", "ke"):
                self._secret(call)
                return answer_json([{"bank_name": name, "bank_code": code} for code, name in BANKS.items()])
            case ("POST", "chargebacks"):
                self._secret(call)
                return self._refund(call, asked, mine)
            case ("GET", "chargebacks"):
                self._secret(call)
                backs = [one for one in self._chargebacks.values() if self._whose(one) == mine]
                return self._paged(call, backs, lambda one: self._as_chargeback(one, call))
            case ("GET", "chargebacks", id_):
                self._secret(call)
                return answer_json(self._as_chargeback(self._found(self._chargebacks, id_, mine), call))
        raise refused(404, "Not found.")

    @staticmethod
    def _who(call: Call, asked: JsonObject) -> str:
        """The merchant whose keys were sent; both have to be of one."""
        secret = SECRET_KEYS.get(call.headers.get("Authorization", "").removeprefix("Bearer "))
        public = PUBLIC_KEYS.get(str(public_key(call, asked)))
        if secret is not None and public is not None and secret != public:
            raise refused(401, "Invalid public key.")
        return secret if secret is not None else public or OURS

    @staticmethod
    def _secret(call: Call) -> None:
        given = call.headers.get("Authorization", "")
        if not given:
            raise refused(401, "Authentication credentials were not provided.")
        if not any(hmac.compare_digest(given.encode(), f"Bearer {key}".encode()) for key in SECRET_KEYS):
            raise refused(401, "Invalid token.")

    @staticmethod
    def _public(call: Call, asked: JsonObject) -> None:
        given = public_key(call, asked)
        if not given:
            raise bad_field("public_key", "This field is required.")
        if given not in PUBLIC_KEYS:
            raise refused(401, "Invalid public key.")

    def _paged(self, call: Call, rows: list[Any], shown: Callable[[Any], JsonObject]) -> Answer:
        asked = call.query.get("page", "1")
        pages = max(1, -(-len(rows) // PAGE_SIZE))
        if not asked.isdecimal() or not 1 <= int(asked[:9]) <= pages:
            raise refused(404, "Invalid page.")
        page = int(asked[:9])
        rest = "".join(f"&{name}={value}" for name, value in call.query.items() if name != "page")

        def link(number: int) -> str | None:
            return f"{self._base_url}{call.path}?page={number}{rest}" if 1 <= number <= pages else None

        results = [shown(row) for row in rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]]
        return answer_json({"count": len(rows), "next": link(page + 1), "previous": link(page - 1), "results": results})

    def _control(self, call: Call) -> Answer:
        if call.method == "GET":
            return answer_json(self.prompts)
        asked = controls(call)
        if unknown := set(asked) - {"auto", "speed", "id", "pin"}:
            raise ValueError(f"Unknown field {', '.join(sorted(unknown))}: there are auto, speed, id and pin.")
        if "auto" in asked:
            if asked["auto"] not in ("pay", "cancel", None):
                raise ValueError("auto must be pay, cancel or null.")
            self._auto = asked["auto"]
        if "speed" in asked:
            speed = asked["speed"]
            if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= SPEED_MAX:
                raise ValueError(f"speed must be a number above 0, at most {SPEED_MAX}.")
            self._speed = float(speed)
        if "id" in asked:
            pin = asked.get("pin")
            if pin is not None and not isinstance(pin, str):
                raise ValueError("pin must be a text of 4 digits, or null to say no.")
            self.answer_prompt(str(asked["id"]), pin)
        return answer_json({"auto": self._auto, "speed": self._speed})
