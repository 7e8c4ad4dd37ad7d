"""IntaSend's API: M-Pesa prompts, checkout, payment links, wallets, payouts, refunds, and what became of each.

Amounts are Decimal, in and out. What only asks is tried again by itself. What moves money is told once, and ends in one
of four ways: the answer means done; Refused means no; ProviderUnavailable and RateLimited mean that it certainly was
not done; OutcomeUnknown means that it has to be asked after, and never told again.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from core.errors import OutcomeUnknown, ProviderUnavailable
from core.providers import Providers, Refused
from core.settings import Settings
from ledger.own_accounts import OwnKeys

NAME = "IntaSend"
NARRATIVE_CHARS_MAX = 22
"""What fits into the message that M-Pesa sends the payee."""
PAGES_MAX = 200
"""Pages of one list that are read at most."""
DETAIL_CHARS_MAX = 200
NUMBER = re.compile(r"\d[\d ()-]{5,}\d")

State = Literal["PENDING", "PROCESSING", "COMPLETE", "FAILED"]
STATES = {
    "COMPLETED": "COMPLETE",
    "RETRY": "PROCESSING",
    "PENDING": "PENDING",
    "COMPLETE": "COMPLETE",
    "FAILED": "FAILED",
}
Amount = Annotated[Decimal, Field(allow_inf_nan=False, max_digits=18, decimal_places=6)]
T = TypeVar("T")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Collection(_Answer):
    """One payment to us. Without an `invoice_id` nobody has begun to pay."""

    invoice_id: str | None = None
    state: Annotated[State, BeforeValidator(lambda value: STATES.get(value, "PROCESSING"))]
    value: Amount
    currency: str
    api_ref: str | None = None
    account: str | None = None
    provider: str | None = None
    charges: Amount = Decimal(0)
    net_amount: Amount = Decimal(0)
    mpesa_reference: str | None = None
    failed_code: str | None = None
    failed_reason: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Checkout(_Answer):
    """A page to pay on."""

    id: str
    url: str
    signature: str
    amount: Amount
    currency: str
    api_ref: str | None = None


class Link(_Answer):
    """A page that many can pay on; an `amount` of 0 is for the payer to choose."""

    id: str
    url: str
    title: str
    amount: Amount
    currency: str
    is_active: bool = True


class Wallet(_Answer):
    """Money of ours that IntaSend keeps."""

    wallet_id: str = Field(validation_alias=AliasChoices("wallet_id", "id"))
    label: str = ""
    currency: str
    can_disburse: bool = False
    current_balance: Amount
    available_balance: Amount


class Line(_Answer):
    """A line of a wallet's statement: `value` is negative for what left it."""

    transaction_id: str
    invoice: Collection | None = None
    currency: str
    value: Amount
    narrative: str | None = None
    trans_type: str
    status: str = ""
    created_at: datetime


class Payout(_Answer):
    """One row of a batch: paid (TS100), not paid (TF103, TF106, TC108), or on its way."""

    transaction_id: str
    status_code: str
    account: str
    amount: Amount
    narrative: str | None = None
    name: str | None = None


class Batch(_Answer):
    """Payouts that are approved together; nothing moves before that. `told` is the whole answer."""

    tracking_id: str
    status_code: str
    transactions: tuple[Payout, ...]
    batch_reference: str | None = None
    wallet: Wallet | None = None
    nonce: str | None = None
    charge_estimate: Amount | None = None
    actual_charges: Amount | None = None
    updated_at: datetime | None = None
    told: dict[str, Any]


class Chargeback(_Answer):
    """Money given back to a payer."""

    chargeback_id: str
    amount: Amount
    status: str
    reason_details: str | None = None
    updated_at: datetime | None = None
    invoice: Collection | None = None


class Page(_Answer):
    """Some of a list; `next` is None on the last."""

    count: int = 0
    next: str | None = None
    results: list[dict[str, Any]]


class _Status(_Answer):
    invoice: Collection


class IntaSend:
    """One account with IntaSend."""

    def __init__(self, providers: Providers, settings: Settings, own: OwnKeys | None = None) -> None:
        """The deployment's account, or one that is somebody's `own`."""
        self._provider = providers.client(NAME, settings.intasend_base_url)
        self._public = own.publishable if own else settings.intasend_publishable_key
        self._secret = own.secret if own else settings.intasend_secret_key.get_secret_value()

    # Money in.

    async def push(
        self, amount: Decimal, phone: str, reference: str, *, narrative: str = "", name: str = "", wallet_id: str = ""
    ) -> Collection:
        """Have M-Pesa ask `phone` (2547…, without +) for `amount` KES. A second push prompts a second time."""
        body = self._with_key({
            "currency": "KES", "method": "M-PESA", "amount": _number(amount), "phone_number": phone,
            "api_ref": reference, "narrative": narrative, "name": name, "wallet_id": wallet_id,
        })  # fmt: skip
        told = await self._order("payment/mpesa-stk-push/", body)
        return _read(_Status, told, OutcomeUnknown).invoice

    async def checkout(
        self, amount: Decimal, currency: str, reference: str, *, redirect_url: str = "", email: str = "",
        method: Literal["M-PESA", "CARD-PAYMENT"] | None = None,
    ) -> Checkout:  # fmt: skip
        """A page on which somebody can pay `amount` once."""
        body = self._with_key({
            "amount": _number(amount), "currency": currency, "api_ref": reference, "redirect_url": redirect_url,
            "email": email, "method": method, "version": "3.0.0",
        })  # fmt: skip
        return _read(Checkout, await self._order("checkout/", body, secret=False), OutcomeUnknown)

    async def payment_link(
        self, title: str, amount: Decimal, currency: str, *, redirect_url: str = "", usage_limit: int = 0
    ) -> Link:
        """A page on which anybody can pay, `usage_limit` times (0: any number); an amount of 0 is the payer's."""
        body: dict[str, JsonValue] = {
            "title": title, "amount": _number(amount), "currency": currency, "is_active": True,
            "redirect_url": redirect_url or None, "usage_limit": usage_limit,
        }  # fmt: skip
        return _read(Link, await self._order("paymentlinks/", body), OutcomeUnknown)

    async def collection(self, invoice_id: str) -> Collection:
        """What became of a payment."""
        return await self._status({"invoice_id": invoice_id})

    async def checkout_collection(self, checkout_id: str) -> Collection:
        """What became of a checkout page; the payment behind it has no invoice_id before somebody begins to pay."""
        return await self._status({"checkout_id": checkout_id})

    async def _status(self, body: dict[str, JsonValue]) -> Collection:
        # With the secret key too, although theirs asks for none: what money is posted for, is asked as ourselves.
        told = await self._provider.post_json(
            _path("payment/status/"), self._with_key(body), token=self._secret, exact=True
        )
        return _read(_Status, told, ProviderUnavailable).invoice

    async def collections(self, page: int = 1, *, state: str = "") -> tuple[Sequence[Collection], bool]:
        """A page of all payments to us, the newest first, and whether there are more pages."""
        found = await self._page("invoices/", page, {"state": state} if state else {})
        return _list(Collection, found.results), found.next is not None

    async def chargeback(self, invoice_id: str, amount: Decimal, reason: str, details: str = "") -> Chargeback:
        """Give a payer back what they paid, or some of it."""
        body: dict[str, JsonValue] = {
            "invoice": invoice_id, "amount": _number(amount), "reason": reason, "reason_details": details
        }  # fmt: skip
        return _read(Chargeback, await self._order("chargebacks/", body), OutcomeUnknown)

    async def chargeback_status(self, chargeback_id: str) -> Chargeback:
        """What became of a refund."""
        return _read(Chargeback, await self._get(f"chargebacks/{chargeback_id}/"), ProviderUnavailable)

    async def chargebacks(self, page: int = 1) -> tuple[Sequence[Chargeback], bool]:
        """A page of what was given back, and whether there are more pages."""
        found = await self._page("chargebacks/", page)
        return _list(Chargeback, found.results), found.next is not None

    # Wallets.

    async def wallets(self) -> Sequence[Wallet]:
        """All wallets; the first PAGES_MAX pages of them."""
        told = await self._get("wallets/")
        if isinstance(told, list):  # As it was in 2021.
            return _list(Wallet, told)
        return _list(Wallet, _read(Page, told, ProviderUnavailable).results)

    async def wallet(self, wallet_id: str) -> Wallet:
        """One wallet."""
        return _read(Wallet, await self._get(f"wallets/{wallet_id}/"), ProviderUnavailable)

    async def lines(self, wallet_id: str, page: int = 1) -> tuple[Sequence[Line], bool]:
        """A page of a wallet's statement, the newest first, and whether there are more pages."""
        found = await self._page(f"wallets/{wallet_id}/transactions/", page)
        return _list(Line, found.results), found.next is not None

    async def move(self, source: str, to: str, amount: Decimal, narrative: str) -> None:
        """Move money from one wallet of ours to another."""
        body: dict[str, JsonValue] = {"wallet_id": to, "amount": _number(amount), "narrative": narrative}
        await self._order(f"wallets/{source}/intra_transfer/", body)

    # Money out.

    async def initiate(
        self, amount: Decimal, account: str, reference: str, *, name: str = "", provider: str = "MPESA-B2C",
        wallet_id: str = "",
    ) -> Batch:  # fmt: skip
        """Prepare one payout in KES. It moves nothing: that is for `approve`. `reference` is what the payee reads."""
        row: dict[str, JsonValue] = {
            "name": name, "account": account, "amount": str(_number(amount)),
            "narrative": reference[:NARRATIVE_CHARS_MAX],
            "idempotency_key": reference,
        }  # fmt: skip
        body: dict[str, JsonValue] = {
            "provider": provider, "currency": "KES", "transactions": [row], "requires_approval": "YES",
            "batch_reference": reference, "wallet_id": wallet_id or None,
        }  # fmt: skip
        return _batch(await self._order("send-money/initiate/", body), OutcomeUnknown)

    async def approve(self, batch: Batch) -> Batch:
        """Have a prepared batch paid. Whether a second time pays a second time is not known: there must be none."""
        return _batch(await self._order("send-money/approve/", _plain(batch.told)), OutcomeUnknown)

    async def batch(self, tracking_id: str) -> Batch:
        """What became of a batch."""
        body: dict[str, JsonValue] = {"tracking_id": tracking_id}
        told = await self._provider.post_json(_path("send-money/status/"), body, token=self._secret, exact=True)
        return _batch(told, ProviderUnavailable)

    # The wire.

    def _with_key(self, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        given: dict[str, JsonValue] = {name: value for name, value in body.items() if value not in ("", None)}
        return {"public_key": self._public, **given}

    async def _order(self, path: str, body: dict[str, JsonValue], *, secret: bool = True) -> object:
        try:
            return await self._provider.order_json(_path(path), body, token=self._secret if secret else "")
        except Refused as refused:
            raise Refused(f"{NAME} refused: {said(refused.body)}", refused.status, refused.body) from None

    async def _get(self, path: str, params: dict[str, str | int] | None = None) -> object:
        return await self._provider.get_json(_path(path), params, exact=True, token=self._secret)

    async def _page(self, path: str, page: int, params: dict[str, str | int] | None = None) -> Page:
        # By its number, never by the address in `next`, which somebody else wrote.
        return _read(Page, await self._get(path, {**(params or {}), "page": page}), ProviderUnavailable)


def said(body: JsonValue) -> str:
    """What an error says, in any of the three shapes that theirs have."""
    match body:
        case {"errors": [{"detail": str(detail), "attr": attr}, *_]}:
            words = f"{attr}: {detail}" if attr else detail
        case {"detail": str(detail)}:
            words = detail
        case dict() if body:
            name, value = next(iter(body.items()))
            words = f"{name}: {value[0] if isinstance(value, list) and value else value}"
        case _:
            words = "no reason given"
    # It may repeat what was sent, and is kept: no number that could be somebody's phone stays in it.
    return NUMBER.sub("…", words[:DETAIL_CHARS_MAX])


def _path(path: str) -> str:
    return f"/api/v1/{path}"


def _number(amount: Decimal) -> JsonValue:
    """An amount in JSON: a whole number where it is one, else a text, so that no float is ever in between."""
    return int(amount) if amount == amount.to_integral_value() else str(amount)


def _plain(value: Any) -> Any:
    """An answer as it can be sent back: JSON has no Decimal."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return _number(value) if isinstance(value, Decimal) else value


def _read(kind: type[T], told: object, error: type[Exception]) -> T:
    """An answer as what it should be; `error` when it is something else."""
    try:
        return TypeAdapter(kind).validate_python(told)
    except ValidationError:
        raise error(f"{NAME} answered in a form we do not know.") from None


def _list(kind: type[T], told: Sequence[object]) -> list[T]:
    return [_read(kind, one, ProviderUnavailable) for one in told]


def _batch(told: object, error: type[Exception]) -> Batch:
    return _read(Batch, {**told, "told": told} if isinstance(told, dict) else told, error)
