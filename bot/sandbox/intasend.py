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
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from bot.sandbox.accounts import (
    INTASEND_CHALLENGE,
    INTASEND_OTHER_PUBLISHABLE_KEY,
    INTASEND_OTHER_SECRET_KEY,
    INTASEND_PUBLISHABLE_KEY,
    INTASEND_SECRET_KEY,
    WEBHOOK_INTASEND,
)
from bot.sandbox.calls import Answer, Call, answer_json, controls
from bot.sandbox.faults import MONEY_FAULTS, Faults, Webhooks
from bot.sandbox.hooks import Hooks, Unreachable
from bot.sandbox.intasend_page import STYLE, checkout_page, result_page, waiting_page
from bot.sandbox.screen import Screen
from bot.sandbox.truth import Disk, Journal, JsonObject

API = "/api/v1"
MERCHANT = "Mathia"
PAGE_SIZE = 100
ROWS_MAX = 1_000
"""Rows of one batch of payouts."""
TEXT_CHARS_MAX = 255
AMOUNT_MAX = Decimal(10_000_000)
UNANSWERED_S = 60.0
STEP_S = 0.4
"""Between one state and the next."""
LATE_S = 3.0
SPEED_MAX = 1_000
HOOK_RETRY_S = (0.3, 0.6, 1.2, 2.4, 4.8)
"""Five more tries, as documented, but within seconds."""
HOOK_FAILURES_MAX = 20
"""In a row; after them the address is switched off, until POST /_heal or POST /_app."""
HOOKS_MAX = 10_000
SHOWN_MAX = 50
NAIROBI = timezone(timedelta(hours=3))
CENT = Decimal("0.01")
OPENING = Decimal("1000000.00")
"""What each of the account's first wallets holds."""
PAYOUT_FEE = Decimal("10.00")
FEES = {"M-PESA": Decimal("0.03"), "CARD-PAYMENT": Decimal("0.035")}
OURS, OTHER = "", "other"
"""The merchants: rows of the log name the second alone, by the wallet they are about."""
WALLETS = (("0XDLWNK", "KES", OURS), ("0XDLWNU", "USD", OURS), ("0XOTHRK", "KES", OTHER), ("0XOTHRU", "USD", OTHER))
SECRET_KEYS = {INTASEND_SECRET_KEY: OURS, INTASEND_OTHER_SECRET_KEY: OTHER}
PUBLIC_KEYS = {INTASEND_PUBLISHABLE_KEY: OURS, INTASEND_OTHER_PUBLISHABLE_KEY: OTHER}
CURRENCIES = ("KES", "USD", "EUR", "GBP")
TARIFFS = ("BUSINESS-PAYS", "CUSTOMER-PAYS")
SEND_PROVIDERS = ("MPESA-B2C", "MPESA-B2B", "PESALINK", "INTASEND", "AIRTIME")
BANKS = {"1": "KCB", "2": "Standard Chartered", "3": "Absa", "11": "Co-operative Bank", "68": "Equity Bank"}
REASONS = ("Unavailable service", "Delayed delivery", "Wrong service", "Item not as described", "Other")

PHONE = re.compile(r"254[17][0-9]{8}")
CARD_DECLINED = "4000000000000002"
FATES = {
    "254708374149": "pay", "254708374141": "cancel", "254708374142": "poor", "254708374143": "silent",
    "254708374144": "late", "254708374145": "contrary",
}  # fmt: skip
FAILURES = {
    "cancel": ("1032", "Request cancelled by user"),
    "poor": ("1", "The balance is insufficient for the transaction"),
    "silent": ("1037", "DS timeout user cannot be reached"),
    "late": ("1037", "DS timeout user cannot be reached"),
    "contrary": ("1032", "Request cancelled by user"),
    "pin": ("2001", "The initiator information is invalid"),
    "card": ("05", "Card declined"),
}
BATCHES = {
    "BP101": "New", "BP103": "Preview and approve", "BP104": "Queued for balance check", "BP108": "Sending payments",
    "BC100": "Completed", "BF102": "Failed", "BF105": "Float check failed", "BE111": "Cancelled",
}  # fmt: skip
TRANSACTIONS = {
    "TP101": "Pending", "TP102": "Payment started", "TF103": "Failed to initiate", "TF105": "Unknown",
    "TS100": "Successful", "TF106": "Failed", "TH107": "Under observation",
}  # fmt: skip
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


@dataclass(slots=True)
class Invoice:
    """One collection: somebody asked to pay, or about to."""

    id: str
    session: str
    api_ref: str
    value: Decimal
    currency: str
    account: str
    provider: str
    wallet: str
    at: float
    state: str = "PENDING"
    charges: Decimal = Decimal(0)
    code: str | None = None
    receipt: str | None = None
    updated: float = 0.0
    lies_until: float = 0.0
    webhooks: Webhooks = field(default_factory=Webhooks)
    kept_back: list[JsonObject] = field(default_factory=list)


@dataclass(slots=True)
class Payout:
    """One row of a batch."""

    id: str
    reference: str
    name: str
    account: str
    amount: Decimal
    narrative: str
    code: str = "TP101"


@dataclass(slots=True)
class Batch:
    """Payouts that are approved together."""

    tracking_id: str
    file_id: str
    reference: str | None
    provider: str
    wallet: str
    currency: str
    nonce: str
    rows: list[Payout]
    at: float
    code: str = "BP103"
    updated: float = 0.0
    lies_until: float = 0.0
    webhooks: Webhooks = field(default_factory=Webhooks)
    kept_back: list[JsonObject] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        """What all rows come to, without fees."""
        return sum((row.amount for row in self.rows), Decimal(0))


@dataclass(slots=True)
class Wallet:
    """Money of the merchant's, and the lines that made it what it is."""

    id: str
    currency: str
    label: str
    kind: str
    can_disburse: bool
    balance: Decimal
    merchant: str = OURS
    lines: list[JsonObject] = field(default_factory=list)


class Bad(Exception):
    """A request that is refused, in one of the API's three shapes."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _detail(status: int, words: str) -> Bad:
    return Bad(answer_json({"detail": words}, status))


def _invalid(attr: str, words: str, code: str = "invalid") -> Bad:
    return Bad(answer_json({"type": "client_error", "errors": [{"code": code, "detail": words, "attr": attr}]}, 400))


def _field(name: str, words: str) -> Bad:
    return Bad(answer_json({name: [words]}, 400))


class IntaSend:
    """The simulator of one IntaSend account."""

    name = "intasend"

    def __init__(self, disk: Disk, screen: Screen, hooks: Hooks, base_url: str) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults(MONEY_FAULTS)
        self._screen, self._hooks, self._base_url = screen, hooks, base_url
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[JsonObject] = deque()
        self._queued = asyncio.Event()
        self._forget()
        self.heal()
        for row in self.journal.rows():
            self._apply(row)

    def _forget(self) -> None:
        self._invoices: dict[str, Invoice] = {}
        self._sessions: dict[str, str] = {}
        self._checkouts: dict[str, JsonObject] = {}
        self._links: dict[str, JsonObject] = {}
        self._batches: dict[str, Batch] = {}
        self._chargebacks: dict[str, JsonObject] = {}
        self._prompts: dict[str, JsonObject] = {}
        self._answered: deque[JsonObject] = deque(maxlen=SHOWN_MAX)
        self._wallets = {
            id_: Wallet(id_, currency, "default", "SETTLEMENT", True, OPENING, whose)
            for id_, currency, whose in WALLETS
        }

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

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def too_many(self, retry_after_s: int) -> Answer:
        """IntaSend's 429."""
        words = f"Request was throttled. Expected available in {retry_after_s} seconds."
        return answer_json({"detail": words}, 429, {"Retry-After": str(retry_after_s)})

    def broken(self) -> Answer:
        """IntaSend's 500."""
        error = {"code": "error", "detail": "A server error occurred.", "attr": None}
        return answer_json({"type": "server_error", "errors": [error]}, 500)

    def heal(self) -> None:
        """People answer for themselves again, at their own speed; webhooks are sent again."""
        self._auto: str | None = None
        self._speed = 1.0
        self._misses = 0

    def nudge(self) -> None:
        """The application is somewhere else: its webhook address is on again."""
        self._misses = 0

    def reset(self) -> None:
        """Forget all money and who it was of."""
        self.heal()
        self._queue.clear()
        self._log({"kind": "reset"})

    # What happened, and what is made of it.

    def _log(self, row: JsonObject) -> None:
        row = {name: value for name, value in row.items() if value is not None}
        self._apply(row | {"at": datetime.now(UTC).isoformat()})
        self.journal.append(row)

    def _apply(self, row: JsonObject) -> None:
        at = datetime.fromisoformat(row["at"]).timestamp()
        match row.get("kind"):
            case "reset":
                self._forget()
            case "invoice":
                invoice = Invoice(
                    row["invoice_id"], row["session"], row["api_ref"], Decimal(row["value"]), row["currency"],
                    row["account"], row["provider"], row["wallet_id"], at, updated=at,
                )  # fmt: skip
                self._invoices[invoice.id] = invoice
                self._sessions[invoice.session] = invoice.id
            case "state" if row["invoice_id"] in self._invoices:
                invoice = self._invoices[row["invoice_id"]]
                invoice.state, invoice.code, invoice.updated = row["state"], row.get("code"), at
            case "paid" if row["invoice_id"] in self._invoices:
                self._book_paid(self._invoices[row["invoice_id"]], row, at)
            case "checkout":
                self._checkouts[row["id"]] = row
            case "link":
                self._links[row["id"]] = row
            case "batch":
                rows = [Payout(**{**one, "amount": Decimal(one["amount"])}) for one in row["rows"]]
                names = ("tracking_id", "file_id", "provider", "wallet_id", "currency", "nonce")
                tracking_id, file_id, provider, wallet, currency, nonce = (row[name] for name in names)
                self._batches[tracking_id] = Batch(
                    tracking_id, file_id, row.get("reference"), provider, wallet, currency, nonce, rows, at, updated=at
                )
            case "batch_state" if row["tracking_id"] in self._batches:
                batch = self._batches[row["tracking_id"]]
                batch.code, batch.updated = row["code"], at
                for payout in batch.rows:
                    payout.code = row["rows"].get(payout.id, payout.code)
            case "sent" if row["tracking_id"] in self._batches:
                wallet_of = self._wallets.get(row["wallet_id"])
                if wallet_of:
                    amount, fee = Decimal(row["amount"]), Decimal(row["fee"])
                    told = {"transaction_id": row["transaction_id"], "narrative": row["narrative"]}
                    self._book(wallet_of, -amount, "PAYOUT", at, told)
                    self._book(wallet_of, -fee, "CHARGE", at, told | {"transaction_id": row["transaction_id"] + "-F"})
                self._answered.append({"text": row["text"], "phone": row["account"], "at": row["at"]})
            case "wallet":
                self._wallets[row["wallet_id"]] = Wallet(
                    row["wallet_id"], row["currency"], row["label"], row["wallet_type"], row["can_disburse"],
                    Decimal(0), row.get("merchant", OURS),
                )  # fmt: skip
            case "transfer":
                amount = Decimal(row["amount"])
                for id_, value in ((row["from"], -amount), (row["to"], amount)):
                    told = {"transaction_id": row["id"], "narrative": row["narrative"]}
                    self._book(self._wallets[id_], value, "TRANSFER", at, told)
            case "chargeback":
                self._chargebacks[row["chargeback_id"]] = row
            case "refunded":
                self._chargebacks[row["chargeback_id"]]["status"] = "COMPLETED"
                told = {"transaction_id": row["chargeback_id"], "invoice_id": row["invoice_id"], "narrative": "Refund"}
                self._book(self._wallets[row["wallet_id"]], -Decimal(row["amount"]), "CHARGEBACK", at, told)
            case "line":
                self._wallets[row["wallet_id"]].lines.append(row["line"])

    def _book_paid(self, invoice: Invoice, row: JsonObject, at: float) -> None:
        invoice.state, invoice.code, invoice.updated = "COMPLETE", None, at
        invoice.receipt, invoice.charges = row["receipt"], Decimal(row["charges"])
        invoice.value = Decimal(row["value"])
        told = {"transaction_id": row["receipt"], "invoice_id": invoice.id, "narrative": invoice.api_ref}
        self._book(self._wallets[invoice.wallet], invoice.value - invoice.charges, "SALE", at, told)

    @staticmethod
    def _book(wallet: Wallet, value: Decimal, kind: str, at: float, told: JsonObject) -> None:
        wallet.balance += value
        line = {"value": str(value), "running_balance": str(wallet.balance), "trans_type": kind, "at": at}
        wallet.lines.append(told | line)

    # The API.

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
                raise _detail(415, "Unsupported media type in request; send application/json.")
            try:
                asked = json.loads(call.body or b"{}", parse_float=Decimal)
            except (ValueError, RecursionError):
                raise _detail(400, "JSON parse error") from None
            if not isinstance(asked, dict):
                raise _invalid("non_field_errors", "Invalid data. Expected a dictionary.")
        elif call.method != "GET":
            raise _detail(405, f'Method "{call.method}" not allowed.')
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
                return self._paged(call, [one for one in self._wallets.values() if one.merchant == mine], _as_wallet)
            case ("POST", "wallets"):
                self._secret(call)
                return self._new_wallet(asked, mine)
            case ("GET", "wallets", id_):
                self._secret(call)
                return answer_json(_as_wallet(self._found(self._wallets, id_, mine)))
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
        raise _detail(404, "Not found.")

    @staticmethod
    def _who(call: Call, asked: JsonObject) -> str:
        """The merchant whose keys were sent; both have to be of one."""
        secret = SECRET_KEYS.get(call.headers.get("Authorization", "").removeprefix("Bearer "))
        public = PUBLIC_KEYS.get(str(_public_key(call, asked)))
        if secret is not None and public is not None and secret != public:
            raise _detail(401, "Invalid public key.")
        return secret if secret is not None else public or OURS

    @staticmethod
    def _secret(call: Call) -> None:
        given = call.headers.get("Authorization", "")
        if not given:
            raise _detail(401, "Authentication credentials were not provided.")
        if not any(hmac.compare_digest(given.encode(), f"Bearer {key}".encode()) for key in SECRET_KEYS):
            raise _detail(401, "Invalid token.")

    @staticmethod
    def _public(call: Call, asked: JsonObject) -> None:
        given = _public_key(call, asked)
        if not given:
            raise _field("public_key", "This field is required.")
        if given not in PUBLIC_KEYS:
            raise _detail(401, "Invalid public key.")

    def _whose(self, of: "Invoice | Batch | Wallet | JsonObject") -> str:
        """Whose something is: the merchant whose wallet it is about."""
        if isinstance(of, dict):
            invoice = self._invoices.get(of.get("invoice_id", ""))
            return self._whose(invoice) if invoice else of.get("merchant", OURS)
        return of.merchant if isinstance(of, Wallet) else self._wallets[of.wallet].merchant

    def _found(self, known: Mapping[str, Any], id_: object, mine: str = OURS) -> Any:
        if not isinstance(id_, str) or id_ not in known or self._whose(known[id_]) != mine:
            raise _detail(404, "Not found.")
        return known[id_]

    def _paged(self, call: Call, rows: list[Any], shown: Callable[[Any], JsonObject]) -> Answer:
        asked = call.query.get("page", "1")
        pages = max(1, -(-len(rows) // PAGE_SIZE))
        if not asked.isdecimal() or not 1 <= int(asked[:9]) <= pages:
            raise _detail(404, "Invalid page.")
        page = int(asked[:9])
        rest = "".join(f"&{name}={value}" for name, value in call.query.items() if name != "page")

        def link(number: int) -> str | None:
            return f"{self._base_url}{call.path}?page={number}{rest}" if 1 <= number <= pages else None

        results = [shown(row) for row in rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]]
        return answer_json({"count": len(rows), "next": link(page + 1), "previous": link(page - 1), "results": results})

    # Money in.

    async def _push(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        if asked.get("currency", "KES") != "KES":
            raise _invalid("currency", "M-Pesa takes KES only.")
        if asked.get("method", "M-PESA") != "M-PESA":
            raise _field("method", f'"{asked["method"]}" is not a valid choice.')
        amount = _amount(asked, least=Decimal(1))
        phone = _phone(asked.get("phone_number"), "phone_number")
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
            raise _invalid("wallet_id", "Wallet does not exist.")
        id_ = _letters(7)
        self._log({
            "kind": "invoice", "invoice_id": id_, "session": session or str(uuid.uuid4()),
            "api_ref": _text(asked, "api_ref"), "value": str(amount), "currency": currency, "account": account,
            "provider": provider, "wallet_id": wallet, "narrative": _text(asked, "narrative") or None,
            "fault": call.fault,
        })  # fmt: skip
        invoice = self._invoices[id_]
        invoice.webhooks = call.webhooks
        return invoice

    async def _begin(self, work: Coroutine[Any, Any, None], call: Call) -> None:
        """Let something run its course: beside the answer, or before it where a fault wants the webhooks first."""
        if call.webhooks.before_response:
            await work
            await self._posted()
        else:
            self._spawn(work)

    async def _collect(self, invoice: Invoice, *, begun: bool = False) -> None:
        """Ask somebody to pay by M-Pesa, and what comes of it."""
        if not begun:
            self._tell_invoice(invoice)
        fate = FATES.get(invoice.account) or self._auto
        if fate is None:
            waits_s = max(0.0, invoice.at + UNANSWERED_S - time.time())
            text = f"Do you want to pay {_shown(invoice.currency, invoice.value)} to {MERCHANT}? Enter M-PESA PIN."
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
        receipt = "S" + _letters(9)
        self._log({
            "kind": "paid", "invoice_id": invoice.id, "api_ref": invoice.api_ref, "value": str(invoice.value),
            "currency": invoice.currency, "charges": str(charges), "account": invoice.account, "receipt": receipt,
        })  # fmt: skip
        words = f"{receipt} confirmed. {_shown(invoice.currency, invoice.value)} paid to {MERCHANT}."
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

    @staticmethod
    def _lie(of: "Invoice | Batch", call: Call) -> None:
        """From now on, for as long as the fault says, questions about it are answered with FAILED."""
        if call.fault == "status_query_lies_for":
            of.lies_until = time.time() + call.seconds

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
            "created_at": _time(invoice.at),
            "updated_at": _time(invoice.updated),
        }

    @staticmethod
    def _meta(invoice: Invoice) -> JsonObject:
        at, updated = _time(invoice.at), _time(invoice.updated)
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

    # Pages that people pay on.

    def _checkout(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        currency = asked.get("currency", "KES")
        if currency not in CURRENCIES:
            raise _field("currency", f'"{currency}" is not a valid choice.')
        amount = _amount(asked, least=Decimal(1))
        if asked.get("method") not in (None, "M-PESA", "CARD-PAYMENT"):
            raise _field("method", f'"{asked["method"]}" is not a valid choice.')
        for name in ("mobile_tarrif", "card_tarrif"):
            if asked.get(name, TARIFFS[0]) not in TARIFFS:
                raise _field(name, f'"{asked[name]}" is not a valid choice.')
        known = {
            name: _text(asked, name)
            for name in ("api_ref", "email", "first_name", "last_name", "phone_number", "country", "redirect_url")
        }
        if known["redirect_url"] and not known["redirect_url"].startswith(("https://", "http://")):
            raise _invalid("redirect_url", "Enter a valid URL.")
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
            "card_tarrif": asked.get("card_tarrif", TARIFFS[0]), "created_at": _time(time.time()),
            "updated_at": _time(time.time()),
        }, 201)  # fmt: skip

    def _new_link(self, call: Call, asked: JsonObject) -> Answer:
        currency = asked.get("currency", "KES")
        if currency not in CURRENCIES:
            raise _field("currency", f'"{currency}" is not a valid choice.')
        title = _text(asked, "title")
        if not title:
            raise _field("title", "This field is required.")
        amount = _amount(asked, least=Decimal(0))
        limit = asked.get("usage_limit", 0)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise _field("usage_limit", "A valid integer is required.")
        id_ = str(uuid.uuid4())
        self._log({
            "kind": "link", "id": id_, "title": title, "amount": str(amount), "currency": currency,
            "redirect_url": _text(asked, "redirect_url"), "usage_limit": limit,
            "is_active": asked.get("is_active", True) is True, "fault": call.fault,
        })  # fmt: skip
        return answer_json(self._as_link(self._links[id_]), 201)

    def _as_link(self, link: JsonObject) -> JsonObject:
        return {
            "id": link["id"], "title": link["title"], "is_active": link["is_active"],
            "redirect_url": link["redirect_url"] or None, "amount": str(Decimal(link["amount"]).quantize(CENT)),
            "usage_limit": link["usage_limit"], "qrcode_file": None, "url": f"{self._base_url}/pay/{link['id']}/",
            "currency": link["currency"], "created_at": _time(datetime.fromisoformat(link["at"]).timestamp()),
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
                    f"Paid {_shown(waiting.currency, waiting.value)} to {MERCHANT}.", self._back(known, waiting)
                )
        paid = self._sessions.get(id_)
        if kind == "checkout" and paid and self._invoices[paid].state == "COMPLETE":
            return result_page("This has been paid already.", self._back(known, self._invoices[paid]))
        sum_shown = _shown(known["currency"], Decimal(known["amount"])) if Decimal(known["amount"]) else None
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
        amount = Decimal(known["amount"]) or _amount({"amount": form.get("amount", "")}, least=Decimal(1))
        asked = {"api_ref": known.get("api_ref") or known.get("title", "")}
        session = known["id"] if kind == "checkout" else None
        paying = Call(call.method, call.path, call.query, call.headers, b"")
        paying.webhooks = known.get("webhooks") or Webhooks()
        mine = known.get("merchant", OURS)
        if form.get("method") == "CARD-PAYMENT":
            number = form.get("card", "").replace(" ", "")
            if not re.fullmatch(r"[0-9]{16}", number):
                raise _invalid("card", "Enter the card's 16 digits.")
            account = known.get("email") or "card ending " + number[-4:]
            invoice = self._new_invoice(
                paying, asked, amount, known["currency"], "CARD-PAYMENT", account, session, mine=mine
            )
            self._tell_invoice(invoice)
            await self._settle(invoice, "card" if number == CARD_DECLINED else "pay")
        else:
            if known["currency"] != "KES":
                raise _invalid("method", "M-Pesa takes KES only.")
            phone = _phone(re.sub(r"^(?:\+?254|0)", "254", form.get("phone", "").replace(" ", "")), "phone")
            invoice = self._new_invoice(paying, asked, amount, "KES", "M-PESA", phone, session, mine=mine)
            self._spawn(self._collect(invoice))
        return Answer(303, b"", "text/html", {"Location": f"{self._base_url}{call.path}?invoice={invoice.id}"})

    # Wallets.

    def _new_wallet(self, asked: JsonObject, mine: str) -> Answer:
        if asked.get("wallet_type") != "WORKING":
            raise _field("wallet_type", f'"{asked.get("wallet_type")}" is not a valid choice.')
        if asked.get("currency") not in CURRENCIES:
            raise _field("currency", f'"{asked.get("currency")}" is not a valid choice.')
        label = _text(asked, "label")
        if not label or any(one.label == label for one in self._wallets.values()):
            raise _field("label", "A wallet needs a label of its own.")
        id_ = _letters(7)
        row = {"kind": "wallet", "wallet_id": id_, "currency": asked["currency"], "label": label}
        row["merchant"] = mine or None
        self._log(row | {"wallet_type": "WORKING", "can_disburse": asked.get("can_disburse", False) is True})
        return answer_json(_as_wallet(self._wallets[id_]), 201)

    def _move(self, call: Call, source: str, asked: JsonObject, mine: str) -> Answer:
        wallet = self._found(self._wallets, source, mine)
        other = self._found(self._wallets, asked.get("wallet_id"), mine)
        amount = _amount(asked, least=CENT)
        if other.currency != wallet.currency or other is wallet:
            raise _invalid("wallet_id", "Money moves between two wallets of one currency.")
        if amount > wallet.balance:
            raise _invalid("amount", "Insufficient balance.")
        row = {"kind": "transfer", "id": _letters(7), "from": source, "to": other.id, "amount": str(amount)}
        self._log(row | {"narrative": _text(asked, "narrative"), "fault": call.fault})
        return answer_json({"origin": _as_wallet(wallet), "destination": _as_wallet(other)}, 201)

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
            "created_at": _time(line["at"]),
            "updated_at": _time(line["at"]),
        }

    # Money out.

    def _initiate(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        provider = asked.get("provider")
        if provider not in SEND_PROVIDERS:
            raise _field("provider", f'"{provider}" is not a valid choice.')
        if asked.get("currency") != "KES":
            raise _field("currency", "Money is sent in KES only.")
        if asked.get("requires_approval", "YES") not in ("YES", "NO"):
            raise _field("requires_approval", f'"{asked["requires_approval"]}" is not a valid choice.')
        wallet = asked.get("wallet_id") or next(id_ for id_, _, whose in WALLETS if whose == mine)
        if not self._found(self._wallets, wallet, mine).can_disburse:
            raise _invalid("wallet_id", "This wallet cannot disburse.")
        given = asked.get("transactions")
        if not isinstance(given, list) or not 1 <= len(given) <= ROWS_MAX:
            raise _field("transactions", f"Expected a list of 1 to {ROWS_MAX} items.")
        rows = [_payout(str(provider), one) for one in given]
        tracking_id = str(uuid.uuid4())
        self._log({
            "kind": "batch", "tracking_id": tracking_id, "file_id": "0" + _letters(6),
            "reference": _text(asked, "batch_reference") or None, "provider": provider, "wallet_id": wallet,
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
            raise _invalid("nonce", "The nonce is not the one that was given.")
        told = asked.get("transactions")
        ids = [one.get("transaction_id") for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        if ids != [row.id for row in batch.rows] or "file_id" not in asked:
            raise _invalid("transactions", "Send back what initiate answered.")
        if batch.code in ("BE111", "BF102", "BF105"):
            raise _invalid("status_code", f"The batch is over ({batch.code}).")
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
        told = f"You have received {_shown(batch.currency, row.amount)} from {MERCHANT}. {row.narrative}".rstrip()
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
            "wallet": _as_wallet(wallet) if wallet else None,
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
                    "amount": _plain(row.amount + extra),
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
            "created_at": _time(batch.at),
            "updated_at": _time(batch.updated),
        }

    def _tell_batch(self, batch: Batch) -> None:
        # Their own sample of 2025 shows this event without a challenge.
        self._queue_hooks(batch, self._as_batch(batch), challenge=False)

    # Refunds.

    def _refund(self, call: Call, asked: JsonObject, mine: str) -> Answer:
        invoice: Invoice = self._found(self._invoices, asked.get("invoice"), mine)
        amount = _amount(asked, least=CENT)
        if asked.get("reason") not in REASONS:
            raise _field("reason", f'"{asked.get("reason")}" is not a valid choice.')
        back = sum(
            (Decimal(one["amount"]) for one in self._chargebacks.values() if one["invoice_id"] == invoice.id),
            Decimal(0),
        )
        if invoice.state != "COMPLETE" or amount + back > invoice.value:
            raise _invalid("amount", "No more than was paid can be given back.")
        id_ = _letters(7)
        self._log({
            "kind": "chargeback", "chargeback_id": id_, "invoice_id": invoice.id, "amount": str(amount),
            "reason": asked["reason"], "reason_details": _text(asked, "reason_details"), "status": "PENDING",
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
        at = _time(datetime.fromisoformat(made["at"]).timestamp())
        invoice = self._as_invoice(self._invoices[made["invoice_id"]], call)
        return {
            "chargeback_id": made["chargeback_id"], "invoice": invoice,
            "amount": made["amount"], "reason": made["reason"], "reason_details": made["reason_details"],
            "status": made["status"], "created_at": at, "updated_at": at,
        }  # fmt: skip

    # Webhooks.

    def _queue_hooks(self, of: "Invoice | Batch", body: JsonObject, *, challenge: bool = True) -> None:
        if self._whose(of) != OURS:
            return  # The other merchant has given no address.
        if challenge:
            body = body | {"challenge": INTASEND_CHALLENGE}
        for _ in range(of.webhooks.copies):
            if of.webhooks.reordered:
                of.kept_back.append(body)
            else:
                self._queue_hook(body)

    def _queue_hook(self, body: JsonObject) -> None:
        if len(self._queue) < HOOKS_MAX:
            self._queue.append(body)
            self._queued.set()

    def _let_go(self, of: "Invoice | Batch") -> None:
        """Send what was kept back, the last first."""
        kept, of.kept_back = of.kept_back, []
        for body in reversed(kept):
            self._queue_hook(body)

    async def _post_all(self) -> None:
        while True:
            await self._queued.wait()
            while self._queue:
                await self._post(self._queue[0], 0)
                if self._queue:
                    self._queue.popleft()
            self._queued.clear()

    async def _posted(self) -> None:
        """Wait until every webhook was tried once."""
        while self._queue:
            await asyncio.sleep(0.005)

    async def _post(self, body: JsonObject, tries: int) -> None:
        if self._misses >= HOOK_FAILURES_MAX:
            return
        try:
            reply = await self._hooks.post(
                self._hooks.app_url + WEBHOOK_INTASEND, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            ok = 200 <= reply.status < 300
        except Unreachable:
            ok = False
        if ok:
            self._misses = 0
            return
        self._misses += 1
        if self._misses == HOOK_FAILURES_MAX:
            self._log({"kind": "webhook_off", "reason": f"{HOOK_FAILURES_MAX} failures in a row"})
        if tries < len(HOOK_RETRY_S):
            self._spawn(self._post_again(body, tries))

    async def _post_again(self, body: JsonObject, tries: int) -> None:
        await asyncio.sleep(HOOK_RETRY_S[tries])
        await self._post(body, tries + 1)

    # Controls.

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

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


def _public_key(call: Call, asked: JsonObject) -> object:
    names = ("X-IntaSend-Public-API-Key", "INTASEND_PUBLIC_API_KEY", "INTASEND-PUBLIC-API-KEY")
    return asked.get("public_key") or next((call.headers[name] for name in names if name in call.headers), None)


def _payout(provider: str, asked: object) -> JsonObject:
    """A row of a batch as it is kept. Raises Bad."""
    if not isinstance(asked, dict):
        raise _field("transactions", "Expected a dictionary.")
    amount = _amount(asked, least=Decimal(1))
    account = asked.get("account")
    if provider == "MPESA-B2C":
        account = _phone(account, "account")
    elif not isinstance(account, str) or not re.fullmatch(r"[0-9A-Z-]{4,34}", account):
        raise _invalid("account", "Enter a valid account.")
    if provider == "MPESA-B2B" and asked.get("account_type") not in ("PayBill", "TillNumber"):
        raise _field("account_type", "This field is required.")
    if provider == "PESALINK" and asked.get("bank_code") not in BANKS:
        raise _field("bank_code", "This field is required.")
    return {
        "id": "Y" + _letters(6), "reference": str(uuid.uuid4()), "name": _text(asked, "name"), "account": account,
        "amount": str(amount), "narrative": _text(asked, "narrative"),
    }  # fmt: skip


def _amount(asked: Mapping[str, object], *, least: Decimal) -> Decimal:
    value = asked.get("amount")
    if value is None or value == "":
        raise _field("amount", "This field is required.")
    try:
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise InvalidOperation
        amount = Decimal(str(value))
        if not amount.is_finite() or amount != amount.quantize(CENT):
            raise InvalidOperation
    except InvalidOperation:
        raise _field("amount", "A valid number is required.") from None
    if not least <= amount <= AMOUNT_MAX:
        raise _field("amount", f"Ensure this value is from {least} to {AMOUNT_MAX}.")
    return amount


def _phone(value: object, attr: str) -> str:
    if not isinstance(value, str) or not PHONE.fullmatch(value):
        raise _invalid(attr, "Enter a valid phone number")
    return value


def _text(asked: Mapping[str, object], name: str) -> str:
    value = asked.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise _field(name, f"Ensure this field is a text of at most {TEXT_CHARS_MAX} characters.")
    return value


def _as_wallet(wallet: Wallet) -> JsonObject:
    return {
        "wallet_id": wallet.id, "label": wallet.label, "can_disburse": wallet.can_disburse,
        "currency": wallet.currency, "wallet_type": wallet.kind, "current_balance": str(wallet.balance),
        "available_balance": str(wallet.balance), "updated_at": _time(time.time()),
    }  # fmt: skip


def _letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(count))


def _plain(amount: Decimal) -> str:
    """An amount without needless zeros, as payouts show them."""
    return str(int(amount)) if amount == amount.to_integral_value() else str(amount)


def _shown(currency: str, amount: Decimal) -> str:
    return f"{currency} {amount:,.2f}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, NAIROBI).isoformat(timespec="microseconds")
