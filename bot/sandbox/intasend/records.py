"""What the simulated IntaSend keeps and refuses: its limits and numbers, its records, and how requests are read."""

import re
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from bot.sandbox.accounts import (
    INTASEND_OTHER_PUBLISHABLE_KEY,
    INTASEND_OTHER_SECRET_KEY,
    INTASEND_PUBLISHABLE_KEY,
    INTASEND_SECRET_KEY,
)
from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Webhooks
from bot.sandbox.truth import JsonObject

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


def refused(status: int, words: str) -> Bad:
    return Bad(answer_json({"detail": words}, status))


def invalid(attr: str, words: str, code: str = "invalid") -> Bad:
    return Bad(answer_json({"type": "client_error", "errors": [{"code": code, "detail": words, "attr": attr}]}, 400))


def bad_field(name: str, words: str) -> Bad:
    return Bad(answer_json({name: [words]}, 400))


def read_payout(provider: str, asked: object) -> JsonObject:
    """A row of a batch as it is kept. Raises Bad."""
    if not isinstance(asked, dict):
        raise bad_field("transactions", "Expected a dictionary.")
    amount = read_amount(asked, least=Decimal(1))
    account = asked.get("account")
    if provider == "MPESA-B2C":
        account = read_phone(account, "account")
    elif not isinstance(account, str) or not re.fullmatch(r"[0-9A-Z-]{4,34}", account):
        raise invalid("account", "Enter a valid account.")
    if provider == "MPESA-B2B" and asked.get("account_type") not in ("PayBill", "TillNumber"):
        raise bad_field("account_type", "This field is required.")
    if provider == "PESALINK" and asked.get("bank_code") not in BANKS:
        raise bad_field("bank_code", "This field is required.")
    return {
        "id": "Y" + letters(6), "reference": str(uuid.uuid4()), "name": read_text(asked, "name"), "account": account,
        "amount": str(amount), "narrative": read_text(asked, "narrative"),
    }  # fmt: skip


def public_key(call: Call, asked: JsonObject) -> object:
    names = ("X-IntaSend-Public-API-Key", "INTASEND_PUBLIC_API_KEY", "INTASEND-PUBLIC-API-KEY")
    return asked.get("public_key") or next((call.headers[name] for name in names if name in call.headers), None)


def read_amount(asked: Mapping[str, object], *, least: Decimal) -> Decimal:
    value = asked.get("amount")
    if value is None or value == "":
        raise bad_field("amount", "This field is required.")
    try:
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise InvalidOperation
        amount = Decimal(str(value))
        if not amount.is_finite() or amount != amount.quantize(CENT):
            raise InvalidOperation
    except InvalidOperation:
        raise bad_field("amount", "A valid number is required.") from None
    if not least <= amount <= AMOUNT_MAX:
        raise bad_field("amount", f"Ensure this value is from {least} to {AMOUNT_MAX}.")
    return amount


def read_phone(value: object, attr: str) -> str:
    if not isinstance(value, str) or not PHONE.fullmatch(value):
        raise invalid(attr, "Enter a valid phone number")
    return value


def read_text(asked: Mapping[str, object], name: str) -> str:
    value = asked.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise bad_field(name, f"Ensure this field is a text of at most {TEXT_CHARS_MAX} characters.")
    return value


def as_wallet(wallet: Wallet) -> JsonObject:
    return {
        "wallet_id": wallet.id, "label": wallet.label, "can_disburse": wallet.can_disburse,
        "currency": wallet.currency, "wallet_type": wallet.kind, "current_balance": str(wallet.balance),
        "available_balance": str(wallet.balance), "updated_at": written(time.time()),
    }  # fmt: skip


def letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(count))


def plain(amount: Decimal) -> str:
    """An amount without needless zeros, as payouts show them."""
    return str(int(amount)) if amount == amount.to_integral_value() else str(amount)


def shown_sum(currency: str, amount: Decimal) -> str:
    return f"{currency} {amount:,.2f}"


def written(at: float) -> str:
    return datetime.fromtimestamp(at, NAIROBI).isoformat(timespec="microseconds")
