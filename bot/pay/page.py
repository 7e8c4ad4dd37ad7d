"""The pay page: an invoice for whoever has its address, its PDF, and forms that ask a phone or make a card page.

Whoever opens it is nobody we know. The address is the only secret; an unknown one is answered like one that never was.
It works without scripts: forms, and a page that loads itself again while somebody is asked. Nothing is believed of what
a browser brings back from the card page but that it is time to ask the provider.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from aiohttp import hdrs, web
from sqlalchemy import select

from bot import pages
from bot.pages import Frame, Refused, Says, language_of, saying_of
from bot.pay import words
from core import people
from core.db import Database, driver
from core.errors import Erased, UserError
from core.invoice_pdf import drawn, logo_at
from core.language import Language, Saying, day
from core.limits import PAY_INVOICE, PAY_PAPERS, PAY_PHONE, PAY_PHONE_DAY, PAY_TRIES, PAY_VIEWS
from ledger import invoice_marks, invoices
from ledger import invoice_paying as paying
from ledger.errors import KeyReused
from ledger.instruction_store import look_soon, mpesa_account, newest_on
from ledger.instructions import Method, State
from ledger.invoice_paper import NOTHING_SAID, paper_of
from ledger.invoice_paying import Try
from ledger.invoices import Invoice
from ledger.money import Money
from web_admin.forms import words as fields_of
from web_admin.rendering import StaticFile, static_response

HERE = Path(__file__).parent
KEY_BYTES = 16
FIELD_CHARS_MAX = 40
MARK_CHARS = 16
HEADERS: Final = pages.HEADERS | {
    "Content-Security-Policy": pages.HEADERS["Content-Security-Policy"] + "; script-src 'self'; connect-src 'self'"
}
SAYS: Final = Says(words.TEXTS, words.TRY_LATER, words.AWAY, words.NOT_OURS, (("en", "English"), ("sw", "Kiswahili")))
NOT_THERE: Final = (404, words.NOT_THERE, words.NOT_THERE_LONG)
"""The same for all there is not."""
SESSION = re.compile(r"[0-9A-Za-z-]{1,64}")


class Served(pages.Served, Protocol):
    """What the page needs of the process's services."""

    @property
    def db(self) -> Database: ...


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands above the forms: how a try stands. `waits` has the page look again by itself."""

    title: Saying
    text: Saying
    tone: str
    waits: bool = False
    page_url: str | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed into one of the forms, and what is wrong with it."""

    form: Method
    amount: str = ""
    phone: str = ""
    problem: Saying | None = None
    field: str = ""


def routes(services: Served) -> list[web.RouteDef]:
    """The page, what it needs, and what its forms are sent to."""
    page = PayPage(services)
    answered = page.frame.answered
    return [
        page.frame.style(),
        web.get("/pay.js", page.get_script),
        web.get("/pay/{token}", answered(page.get_page)),
        web.get("/pay/{token}/state", answered(page.get_state)),
        web.get("/pay/{token}/invoice.pdf", answered(page.get_pdf)),
        web.post("/pay/{token}/mpesa", answered(page.post_phone)),
        web.post("/pay/{token}/card", answered(page.post_card)),
    ]


class PayPage:
    """The pay page of one deployment."""

    def __init__(self, services: Served) -> None:
        """Reads the page's own files once."""
        self._settings, self._db = services.settings, services.db
        self.frame = Frame(services, HERE, SAYS, HEADERS)
        self._logo = logo_at(services.settings.invoice_logo)
        self._script = StaticFile.of((HERE / "pay.js").read_bytes(), ".js")

    # What is asked for.

    async def get_script(self, request: web.Request) -> web.Response:
        """What has it look again while somebody waits."""
        return static_response(request, self._script)

    async def get_page(self, request: web.Request) -> web.Response:
        """The invoice, how it stands, and the ways to pay it."""
        await self.frame.count(request, [PAY_VIEWS])
        invoice, tries = await self._found(request)
        back = await self._back(request, invoice)
        return self._page(request, invoice, tries, back=back)

    async def get_state(self, request: web.Request) -> web.Response:
        """A mark that is another one as soon as the page would show something else."""
        try:
            invoice, tries = await self._found(request)
            # By the invoice: a whole network of phones that wait may share one address.
            await self.frame.count(request, [PAY_VIEWS], f"invoice:{invoice.id}")
        except Refused as refused:
            return web.json_response({"mark": None}, status=refused.status, headers=HEADERS)
        return web.json_response({"mark": _mark(invoice, tries)}, headers=HEADERS)

    async def get_pdf(self, request: web.Request) -> web.Response:
        """The invoice on paper."""
        await self.frame.count(request, [PAY_VIEWS, PAY_PAPERS])
        invoice, _ = await self._found(request)
        language = _language(request, invoice)
        paper = paper_of(
            invoice, self._settings.base_url, language, logo=self._logo, sandbox=self.frame.sandbox, public=True
        )
        pdf = await drawn(paper, language)
        headers = HEADERS | {hdrs.CONTENT_DISPOSITION: f'inline; filename="{invoice.number}.pdf"'}
        return web.Response(body=pdf, content_type="application/pdf", headers=headers)

    async def post_phone(self, request: web.Request) -> web.Response:
        """Have a phone asked to pay."""
        return await self._post(request, Method.PUSH)

    async def post_card(self, request: web.Request) -> web.Response:
        """Have a card page made."""
        return await self._post(request, Method.CHECKOUT)

    async def _post(self, request: web.Request, method: Method) -> web.Response:
        self.frame.check_ours(request)
        invoice, tries = await self._found(request)
        fields = await fields_of(request)
        typed = Typed(method, fields.get("amount", "")[:FIELD_CHARS_MAX], fields.get("phone", "")[:FIELD_CHARS_MAX])
        field = "amount"
        try:
            language, zone = _language(request, invoice), self._settings.default_timezone
            amount = Money.parse(typed.amount, invoice.amount.currency, language=language, zone=zone)
            field = "phone"
            number = mpesa_account(typed.phone) if method is Method.PUSH else ""
            field = ""
            await self._ask(request, invoice, method, fields.get("key", ""), amount, number)
        except UserError as problem:
            wrong = Typed(method, typed.amount, typed.phone, saying_of(problem), field)
            return self._page(request, invoice, tries, typed=wrong, status=422)
        except KeyReused:
            wrong = Typed(method, typed.amount, typed.phone, words.USED)
            return self._page(request, invoice, tries, typed=wrong, status=409)
        raise web.HTTPSeeOther(_here(request) + "#panel", headers=HEADERS)

    async def _ask(
        self, request: web.Request, invoice: Invoice, method: Method, key: str, amount: Money, number: str
    ) -> None:
        """Ask for it, within the limits; the same form is counted and asks once. Raises UserError and KeyReused."""
        if not self._settings.moves_money:
            raise Refused(*NOT_THERE)
        call = hashlib.sha256(f"{invoice.id}:{method}:{key}".encode()).hexdigest()
        await self.frame.count(request, [PAY_TRIES], call=call)
        await self.frame.count(request, [PAY_INVOICE], f"invoice:{invoice.id}", call)
        if number:
            phone = hashlib.sha256(f"phone:{number}".encode()).hexdigest()
            await self.frame.count(request, [PAY_PHONE, PAY_PHONE_DAY], phone, call)
        try:
            async with self._db.transaction() as session:
                owner = (await session.execute(select(people.current(invoice.person_id)))).scalar_one()
                connection = await driver(session)
                if method is Method.PUSH:
                    await paying.ask_phone(connection, invoice, owner, key, amount, number)
                else:
                    await paying.make_page(connection, invoice, owner, key, amount)
        except Erased:
            raise Refused(*NOT_THERE) from None

    # What is behind it.

    async def _found(self, request: web.Request) -> tuple[Invoice, Sequence[Try]]:
        """The invoice of the address, and the last tries to pay it. Raises Refused."""
        async with self._db.hot() as connection:
            invoice = await invoices.by_token(connection, request.match_info["token"])
            if invoice is not None and invoice.words is not None:
                return invoice, await paying.newest_tries(connection, invoice)
        raise Refused(*NOT_THERE)

    async def _back(self, request: web.Request, invoice: Invoice) -> str | None:
        """The card page that a browser says to come from; the provider is then asked about it soon."""
        session = request.query.get("checkout_id", "")
        if SESSION.fullmatch(session) is None:
            return None
        async with self._db.hot() as connection:
            for of, _ in await newest_on(connection, invoice.id, paying.TRIES_SHOWN_MAX):
                if of.session == session:
                    await look_soon(connection, of)
                    return session
        return None

    # What is shown.

    def _page(
        self, request: web.Request, invoice: Invoice, tries: Sequence[Try], *, back: str | None = None,
        typed: Typed | None = None, status: int = 200,
    ) -> web.Response:  # fmt: skip
        language = _language(request, invoice)
        panel = _panel(tries, back)
        waits = panel is not None and panel.waits
        pays = self._settings.moves_money and not waits
        by_mpesa = paying.most_by_mpesa(invoice) if pays else None
        by_card = paying.most_by_card(invoice) if pays else None
        assert invoice.words is not None  # noqa: S101  _found gives no others
        state, tone = words.STATES[invoice.state]
        note = _note(invoice)
        if note is None and invoice.takes_payment and not (by_mpesa or by_card or waits):
            note = words.NO_WAY.filled(issuer=invoice.words.issuer)
        forms = _forms(by_mpesa, by_card)
        return self.frame.page(
            "pay.html",
            language,
            status,
            script=f"/pay.js?v={self._script.version}",
            invoice=invoice,
            issuer=invoice.words.issuer,
            payer=invoice.words.payer,
            description=invoice.words.description or NOTHING_SAID.to(language),
            state=state.to(language),
            tone=tone,
            note=note.to(language) if note else None,
            rest=_due(invoice).shown(language) if invoice.state != "void" else None,
            outside=[(invoice_marks.said(one).to(language), one.amount.shown(language)) for one in invoice.outside],
            panel=panel,
            mark=_mark(invoice, tries) if waits else None,
            by_mpesa=by_mpesa,
            by_card=by_card,
            forms=forms,
            typed=typed,
            stray=typed if typed is not None and all(one["method"] is not typed.form for one in forms) else None,
            key=secrets.token_urlsafe(KEY_BYTES),
            issued=day(invoice.issued_on, 0).to(language),
            due=day(invoice.due_on, 0).to(language) if invoice.due_on else None,
            here=_here(request),
        )


def _forms(by_mpesa: Money | None, by_card: Money | None) -> list[dict[str, Any]]:
    """The forms that there are."""
    forms: list[dict[str, Any]] = []
    if by_mpesa is not None:
        forms.append({"method": Method.PUSH, "path": "mpesa", "most": by_mpesa})
    if by_card is not None:
        forms.append({"method": Method.CHECKOUT, "path": "card", "most": by_card})
    return forms


def _due(invoice: Invoice) -> Money:
    """What is still to be paid; nothing where too much was."""
    return max(invoice.rest, Money(0, invoice.amount.currency))


def _note(invoice: Invoice) -> Saying | None:
    """What a state means for whoever pays."""
    assert invoice.words is not None  # noqa: S101  _found gives no others
    issuer = invoice.words.issuer
    nothing = invoice.amount - invoice.amount
    match invoice.state:
        case "overdue" if invoice.due_on is not None:
            return words.OVERDUE.filled(day=day(invoice.due_on, 0))
        case "paid" if invoice.rest < nothing:
            return words.PAID_OVER.filled(over=(-invoice.rest).said(), issuer=issuer)
        case "paid":
            return words.PAID
        case "void" if invoice.paid > nothing:
            return words.VOID_PAID.filled(issuer=issuer, paid=invoice.paid.said())
        case "void":
            return words.VOID.filled(issuer=issuer)
        case "disputed":
            return words.DISPUTED
        case _:
            return None


def _panel(tries: Sequence[Try], back: str | None) -> Panel | None:
    """How the last try stands, where that is of interest to whoever tried."""
    if not tries:
        return None
    last = tries[0]
    amount = last.amount.said()
    if last.state is State.NEEDS_REVIEW:
        return Panel(words.LOOKED_AT, words.NOT_SURE.filled(amount=amount), "amber")
    if last.is_done:
        return Panel(words.STATES["paid"][0], words.CAME.filled(amount=amount), "green")
    if last.state is State.FAILED:
        reason = words.REASONS.get(last.reason, words.NO_REASON[last.method])
        return Panel(words.NOT_PAID, words.FAILED.filled(amount=amount, reason=reason), "red")
    if last.method is Method.PUSH and last.is_fresh:
        is_sent = last.state not in (State.READY, State.INITIATING)
        title, text = (words.LOOK_AT_PHONE, words.ON_PHONE) if is_sent else (words.SENDING, words.SENDING_LONG)
        return Panel(title, text.filled(end=last.phone_end or "…", amount=amount), "amber", waits=True)
    if back is not None and last.session == back:
        return Panel(words.CHECKING, words.CHECKING_LONG.filled(amount=amount), "amber", waits=True)
    if last.page_url is not None:
        text = words.PAGE_THERE_LONG.filled(amount=amount)
        return Panel(words.PAGE_THERE, text, "plain", page_url=last.page_url)
    if last.is_fresh:
        return Panel(words.PAGE_MADE, words.PAGE_MADE_LONG, "amber", waits=True)
    text = words.LONG_PHONE if last.method is Method.PUSH else words.LONG_PAGE
    return Panel(words.LONG, text.filled(amount=amount), "amber")


def _mark(invoice: Invoice, tries: Sequence[Try]) -> str:
    """What changes with everything that a waiting page would show."""
    shown = [invoice.state, str(invoice.paid), *(f"{one.method}{one.state}{one.page_url}" for one in tries)]
    return hashlib.sha256("\x1f".join(shown).encode()).hexdigest()[:MARK_CHARS]


def _language(request: web.Request, invoice: Invoice) -> Language:
    """As chosen on the page, else the browser's, else the invoice's."""
    return language_of(request, invoice.words.language if invoice.words is not None else "en")


def _here(request: web.Request, **more: str) -> str:
    """The page's own address, with the language that was chosen on it."""
    chosen = request.query.get("lang")
    query: Mapping[str, str] = ({"lang": chosen} if chosen in ("en", "sw") else {}) | more
    path = f"/pay/{request.match_info['token']}"
    return f"{path}?{urlencode(query)}" if query else path
