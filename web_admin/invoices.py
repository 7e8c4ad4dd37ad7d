"""Invoices: who asked to be paid how much, what came, by which payments; and the PDF, which is read on the record.

What is written on an invoice is sealed and not shown here but on its PDF.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web
from markupsafe import Markup

from core import audit
from core.db import Database, driver
from core.errors import UserError
from core.invoice_pdf import drawn, logo_at
from core.settings import Settings
from ledger import invoice_marks, invoices
from ledger.errors import IllegalEntry, KeyReused, Unknown
from ledger.instruction_store import newest_on
from ledger.invoice_marks import How
from ledger.invoice_paper import paper_of
from ledger.invoices import Invoice
from ledger.money import Money
from web_admin import auth
from web_admin.forms import key_of, new_key, row_id
from web_admin.paging import NEWEST, PAGE, before_of, paged
from web_admin.payments import state_of
from web_admin.rendering import Templates, page

TRIES_SHOWN_MAX = 20
AMOUNT_CHARS_MAX = 40
ZONE = "SELECT coalesce(timezone, zone_guess) FROM person WHERE id = $1"
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "draft": ("Not sent", "plain"), "sent": ("Sent", "wait"), "part_paid": ("Part paid", "wait"),
    "overdue": ("Overdue", "bad"), "paid": ("Paid", "good"), "void": ("Void", "plain"),
    "disputed": ("Disputed", "bad"),
}  # fmt: skip
LIST = """
SELECT id, number, person_id, state, currency, amount, paid, issued_on, due_on FROM invoice
WHERE id < $1 AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3
"""


class Invoices:
    """Reads and renders the pages, and has PDFs drawn."""

    def __init__(self, db: Database, settings: Settings, templates: Templates) -> None:
        self._db, self._settings, self._templates = db, settings, templates
        self._logo = logo_at(settings.invoice_logo)

    def routes(self, staff: web.RequestKey[auth.Staff]) -> list[web.RouteDef]:
        """What is reached below /invoices; `staff` is where a request has who asks."""

        async def listed(request: web.Request) -> web.StreamResponse:
            return page(await self.listed(request[staff], request.query))

        async def one(request: web.Request) -> web.StreamResponse:
            return page(await self.one(request[staff], request.match_info["number"]))

        async def pdf(request: web.Request) -> web.StreamResponse:
            number, data = await self.pdf(request[staff], request.match_info["number"])
            headers = {hdrs.CONTENT_DISPOSITION: f'inline; filename="{number}.pdf"'}
            return web.Response(body=data, content_type="application/pdf", headers=headers)

        return [
            web.get("/invoices", listed),
            web.get("/invoices/{number}.pdf", pdf),
            web.get("/invoices/{number}", one),
        ]

    async def listed(self, staff: auth.Staff, query: Mapping[str, str]) -> Markup:
        """The invoices, the newest first, all or those in one state. Raises UserError."""
        state, before = query.get("state", ""), before_of(query)
        if state and state not in STATES:
            raise UserError(f"An invoice is one of {', '.join(STATES)}.")
        async with self._db.hot() as connection:
            rows, older = paged(await connection.fetch(LIST, before or NEWEST, state, PAGE + 1))
        return self._templates.render(
            "invoices.html", section="payments", staff=staff, stream=None, states=STATES, shown=state, before=before,
            filters={"state": state} if state else {}, older=older,
            rows=[
                {**row, "amount": Money(row["amount"], row["currency"]), "paid": Money(row["paid"], row["currency"]),
                 "said": _said(row["state"])}
                for row in map(dict, rows)
            ],
        )  # fmt: skip

    async def one(self, staff: auth.Staff, number: str) -> Markup:
        """One invoice: its sums and days, what was paid on it, and the last tries. Raises LookupError."""
        async with self._db.hot() as connection:
            of = await _found(connection, number)
            paid = await invoices.payments(connection, of)
            tries = await newest_on(connection, of.id, TRIES_SHOWN_MAX)
            resends = await invoices.resends(connection, of, TRIES_SHOWN_MAX)
        return self._templates.render(
            "invoice.html", section="payments", staff=staff, stream=None, of=of, said=_said(of.state), paid=paid,
            hows=[(how, words.en) for how, words in invoice_marks.HOWS.items()], key=new_key(), resends=resends,
            marked=[(one, invoice_marks.said(one).en) for one in of.outside],
            can_resend=of.takes_payment and of.to != invoices.NOWHERE and of.words is not None,
            tries=[(one, state_of(one.state), reason) for one, reason in tries],
        )  # fmt: skip

    async def mark(self, staff: auth.Staff, number: str, fields: Mapping[str, str]) -> None:
        """Note what was paid outside of us, of today. Raises UserError and LookupError."""
        key, how = f"mark:{staff.actor}:{key_of(fields)}", fields.get("how", "")
        if how not in invoice_marks.HOWS:
            raise UserError("Say how it was paid.")
        async with self._db.transaction() as session:
            connection = await driver(session)
            of = await _found(connection, number)
            amount = Money.parse(fields.get("amount", "")[:AMOUNT_CHARS_MAX], of.amount.currency)
            zone = await connection.fetchval(ZONE, of.person_id) or self._settings.default_timezone
            today = datetime.now(ZoneInfo(zone)).date()
            try:
                await invoice_marks.mark(connection, of.id, key, amount, cast("How", how), today, staff.actor)
            except KeyReused as error:
                raise UserError("This form was sent before. Load the page again.") from error
            except IllegalEntry as error:
                raise UserError("Write how much was paid, more than nothing.") from error
            detail = {"amount": str(amount), "how": how}
            await audit.record(session, staff.actor, "invoice.marked", f"invoice:{of.number}", detail)

    async def take_back(self, staff: auth.Staff, number: str, mark: str) -> None:
        """Count what was noted so no more. Raises LookupError."""
        async with self._db.transaction() as session:
            connection = await driver(session)
            of = await _found(connection, number)
            try:
                await invoice_marks.take_back(connection, of.id, row_id(mark), staff.actor)
            except Unknown as error:
                raise LookupError from error
            await audit.record(session, staff.actor, "invoice.unmarked", f"invoice:{of.number}", {"mark": mark})

    async def resend(self, staff: auth.Staff, number: str, fields: Mapping[str, str]) -> None:
        """Have it sent to its client once more. Raises UserError and LookupError."""
        key = f"resend:{staff.actor}:{key_of(fields)}"
        async with self._db.transaction() as session:
            connection = await driver(session)
            of = await _found(connection, number)
            await invoices.resend(connection, of.id, key, staff.actor)
            await connection.execute("SELECT pg_notify('mathia', 'invoice')")
            await audit.record(session, staff.actor, "invoice.resent", f"invoice:{of.number}")

    async def pdf(self, staff: auth.Staff, number: str) -> tuple[str, bytes]:
        """The PDF, and the number that it is of. Raises LookupError, also where what was written on it is erased."""
        async with self._db.transaction() as session:
            of = await _found(await driver(session), number)
            await audit.record(session, staff.actor, "invoice.read", f"invoice:{of.number}")
        if of.words is None:
            raise LookupError
        sandbox = self._settings.is_sandbox(self._settings.intasend_base_url)
        language = of.words.language
        paper = paper_of(of, self._settings.base_url, language, logo=self._logo, sandbox=sandbox)
        return of.number, await drawn(paper, language)


async def _found(connection: Any, number: str) -> Invoice:
    found = await invoices.by_number(connection, number) if invoices.NUMBER.fullmatch(number) else None
    if found is None:
        raise LookupError
    return found


def _said(state: str) -> Mapping[str, str]:
    """A state in words, and how it looks."""
    words, tone = STATES[state]
    return {"words": words, "tone": tone}
