"""What was paid on an invoice outside of us: said by its issuer or by staff, counted, and taken back.

The money passed through nobody's books here, so nothing is posted: no wallet and no account of ours has more or less.
The invoice counts it, as what is still to be paid is less. A payment that comes nevertheless is counted as always, and
the invoice then says by how much too much was paid (docs/adr/0018).
"""

from datetime import date, timedelta
from typing import Any, Final, Literal

from core.errors import LimitReached, UserError
from core.language import Saying, day
from ledger.errors import IllegalEntry, KeyReused, Unknown
from ledger.invoices import NOT_OPEN, Invoice, Outside, find, lock
from ledger.journal import check_key
from ledger.money import Money

How = Literal["cash", "cheque", "bank", "mpesa", "other"]
MARKS_MAX = 20
"""On one invoice at a time."""
UNDO_WITHIN = timedelta(hours=1)
"""How long who marked it can take that back; staff can at any time."""
HOWS: Final[dict[str, Saying]] = {
    "cash": Saying("in cash", "taslimu"), "cheque": Saying("by cheque", "kwa hundi"),
    "bank": Saying("by bank transfer", "kwa benki"),
    "mpesa": Saying("by M-Pesa, directly", "kwa M-Pesa, moja kwa moja"),
    "other": Saying("directly", "moja kwa moja"),
}  # fmt: skip
PAID_HOW = Saying("Paid {how} on {day}", "Imelipwa {how} tarehe {day}")
MORE = Saying(
    "Only {rest} are open on invoice {number}, so no more than that can be marked as paid.",
    "Kwenye ankara {number} zimebaki {rest} tu, kwa hiyo haziwezi kuwekwa zaidi ya hizo.",
)
ENOUGH = Saying(
    "Invoice {number} has {count} such payments, which is as many as one takes.",
    "Ankara {number} ina malipo {count} ya aina hii, kiwango cha juu.",
)
NO_MARK = Saying(
    "Nothing was marked as paid on invoice {number} within the last hour that could be taken back.",
    "Hakuna kilichowekwa kuwa kimelipwa kwenye ankara {number} ndani ya saa iliyopita cha kutengua.",
)

EARLIER = "SELECT id, invoice_id, amount, how, undone_at FROM invoice_mark WHERE key = $1"
LIVE = "SELECT count(*) FROM invoice_mark WHERE invoice_id = $1 AND undone_at IS NULL"
MARK = """
INSERT INTO invoice_mark (key, invoice_id, amount, how, paid_on, was, marked_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
COUNT = "UPDATE invoice SET paid = $2, state = $3 WHERE id = $1"
"""When it is next looked at stays: one that is taken back is reminded of as if it had not been marked."""
NEWEST = """
SELECT id FROM invoice_mark WHERE invoice_id = $1 AND undone_at IS NULL AND at > clock_timestamp() - $2::interval
ORDER BY id DESC LIMIT 1
"""
BY_ID = "SELECT invoice_id, amount, was, undone_at FROM invoice_mark WHERE id = $1"
UNDO = "UPDATE invoice_mark SET undone_at = clock_timestamp(), undone_by = $2 WHERE id = $1"


def said(one: Outside) -> Saying:
    """How and when something was paid outside of us."""
    return PAID_HOW.filled(how=HOWS[one.how], day=day(one.on, 0))


async def mark(connection: Any, invoice_id: int, key: str, amount: Money, how: How, on: date, by: str) -> Invoice:
    """Count what was paid outside of us, once for each key, in the caller's transaction; the invoice as it is then.

    Raises UserError for more than is open and for an invoice that takes no payment, LimitReached, KeyReused, Unknown,
    and IllegalEntry for another currency.
    """
    check_key(key)
    invoice = await lock(connection, invoice_id)
    if (earlier := await connection.fetchrow(EARLIER, key)) is not None:
        if (earlier["invoice_id"], earlier["amount"], earlier["how"]) != (invoice_id, amount.minor, how):
            raise KeyReused("The key was used for another payment.")
        return invoice
    check_mark(invoice, amount)
    if await connection.fetchval(LIVE, invoice_id) >= MARKS_MAX:
        raise LimitReached(ENOUGH.filled(number=invoice.number, count=MARKS_MAX))
    await connection.execute(MARK, key, invoice_id, amount.minor, how, on, invoice.state, by)
    paid = invoice.paid + amount
    state = "paid" if paid >= invoice.amount else "overdue" if invoice.state == "overdue" else "part_paid"
    await connection.execute(COUNT, invoice_id, paid.minor, state)
    return await find(connection, invoice_id)


def check_mark(invoice: Invoice, amount: Money) -> None:
    """Raise UserError or IllegalEntry for what cannot be marked as paid on an invoice as it is."""
    if not invoice.takes_payment:
        raise UserError(NOT_OPEN.filled(number=invoice.number))
    if amount.currency != invoice.amount.currency or amount.minor <= 0:
        raise IllegalEntry("A payment is a positive amount in the currency of its invoice.")
    if amount > invoice.rest:
        raise UserError(MORE.filled(number=invoice.number, rest=invoice.rest.said()))


async def newest(connection: Any, invoice: Invoice, within: timedelta = UNDO_WITHIN) -> Outside:
    """The last mark on an invoice, made `within` so long; raises UserError where there is none."""
    found = await connection.fetchval(NEWEST, invoice.id, within)
    for one in invoice.outside:
        if one.id == found:
            return one
    raise UserError(NO_MARK.filled(number=invoice.number))


async def take_back(connection: Any, invoice_id: int, mark_id: int, by: str) -> Invoice:
    """Count what was marked as paid no more, once however often, in the caller's transaction. Raises Unknown."""
    invoice = await lock(connection, invoice_id)
    row = await connection.fetchrow(BY_ID, mark_id)
    if row is None or row["invoice_id"] != invoice_id:
        raise Unknown("There is no such mark.")
    if row["undone_at"] is not None:
        return invoice
    await connection.execute(UNDO, mark_id, by)
    paid = invoice.paid - Money(row["amount"], invoice.amount.currency)
    await connection.execute(COUNT, invoice_id, paid.minor, _state(invoice, paid, row["was"]))
    return await find(connection, invoice_id)


def _state(invoice: Invoice, paid: Money, was: str) -> str:
    """What an invoice is once only so much of it is paid; void and disputed it stays."""
    if invoice.state in ("void", "disputed", "overdue") or paid >= invoice.amount:
        return invoice.state
    if was == "overdue":
        return was
    if paid.minor:
        return "part_paid"
    return "sent" if was == "part_paid" else was
