"""What happened at the simulated IntaSend, and what is made of it: every change is a row of the truth log."""

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bot.sandbox.faults import MONEY_FAULTS, Faults
from bot.sandbox.hooks import Hooks
from bot.sandbox.intasend.records import OPENING, OURS, SHOWN_MAX, WALLETS, Batch, Invoice, Payout, Wallet, refused
from bot.sandbox.screen import Screen
from bot.sandbox.truth import Disk, Journal, JsonObject


class Books:
    """The account: all it remembers is made from its log alone."""

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

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

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

    def _whose(self, of: "Invoice | Batch | Wallet | JsonObject") -> str:
        """Whose something is: the merchant whose wallet it is about."""
        if isinstance(of, dict):
            invoice = self._invoices.get(of.get("invoice_id", ""))
            return self._whose(invoice) if invoice else of.get("merchant", OURS)
        return of.merchant if isinstance(of, Wallet) else self._wallets[of.wallet].merchant

    def _found(self, known: Mapping[str, Any], id_: object, mine: str = OURS) -> Any:
        if not isinstance(id_, str) or id_ not in known or self._whose(known[id_]) != mine:
            raise refused(404, "Not found.")
        return known[id_]

    def heal(self) -> None:
        """People answer for themselves again, at their own speed; webhooks are sent again."""
        self._auto: str | None = None
        self._speed = 1.0
        self._misses = 0
