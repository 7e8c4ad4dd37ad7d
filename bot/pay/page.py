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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import structlog
from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select

from bot.pay import words
from core import people
from core.db import Database, driver, is_away
from core.errors import Erased, StoreUnavailable, UserError
from core.invoice_pdf import drawn, logo_at
from core.language import Language, Saying, day, spoken
from core.limits import (
    PAY_INVOICE,
    PAY_PAPERS,
    PAY_PHONE,
    PAY_PHONE_DAY,
    PAY_TRIES,
    PAY_VIEWS,
    Limit,
    Limits,
    Whose,
    refusal,
)
from core.settings import Settings
from ledger import invoice_paying as paying
from ledger import invoices
from ledger.errors import KeyReused
from ledger.instruction_store import look_soon, mpesa_account, newest_on
from ledger.instructions import Method, State
from ledger.invoice_paper import NOTHING_SAID, paper_of
from ledger.invoice_paying import Try
from ledger.invoices import Invoice
from ledger.money import Money
from web_admin.auth import address_of, is_ours
from web_admin.forms import words as fields_of
from web_admin.rendering import StaticFile, static_response

log = structlog.get_logger()

HERE = Path(__file__).parent
TOKENS = HERE.parent.parent / "web_admin" / "static" / "tokens.css"
"""The custom properties that all our pages share."""
KEY_BYTES = 16
FIELD_CHARS_MAX = 40
MARK_CHARS = 16
LANGUAGES_MAX = 20
"""Entries of an Accept-Language header that are looked at."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The address is a secret: nobody else is told it. Not no-referrer, which takes the origin from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex, nofollow",
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: "Accept-Language",
}
SESSION = re.compile(r"[0-9A-Za-z-]{1,64}")


class Served(Protocol):
    """What the page needs of the process's services."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def limits(self) -> Limits: ...


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
    page = PayPage(services.settings, services.db, services.limits)
    return [
        web.get("/pay.css", page.get_style),
        web.get("/pay.js", page.get_script),
        web.get("/pay/{token}", page.get_page),
        web.get("/pay/{token}/state", page.get_state),
        web.get("/pay/{token}/invoice.pdf", page.get_pdf),
        web.post("/pay/{token}/mpesa", page.post_phone),
        web.post("/pay/{token}/card", page.post_card),
    ]


class _Refused(Exception):
    """The request ends with this page."""

    def __init__(self, status: int, title: Saying, text: Saying, retry_s: int | None = None) -> None:
        super().__init__()
        self.status, self.title, self.text, self.retry_s = status, title, text, retry_s


class PayPage:
    """The pay page of one deployment."""

    def __init__(self, settings: Settings, db: Database, limits: Limits) -> None:
        """Reads the page's own files once."""
        self._settings = settings
        self._db = db
        self._limits = limits
        self._zone = ZoneInfo(settings.default_timezone)
        self._sandbox = settings.is_sandbox(settings.intasend_base_url)
        self._logo = logo_at(settings.invoice_logo)
        self._style = StaticFile.of(TOKENS.read_bytes() + (HERE / "pay.css").read_bytes(), ".css")
        self._script = StaticFile.of((HERE / "pay.js").read_bytes(), ".js")
        self._environment = Environment(
            loader=FileSystemLoader(HERE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    # What is asked for.

    async def get_style(self, request: web.Request) -> web.Response:
        """How it looks."""
        return static_response(request, self._style)

    async def get_script(self, request: web.Request) -> web.Response:
        """What has it look again while somebody waits."""
        return static_response(request, self._script)

    async def get_page(self, request: web.Request) -> web.Response:
        """The invoice, how it stands, and the ways to pay it."""
        try:
            await self._count(request, [PAY_VIEWS], address_of(request))
            invoice, tries = await self._found(request)
            back = await self._back(request, invoice)
            return self._page(request, invoice, tries, back=back)
        except _Refused as refused:
            return self._refusal(request, refused)

    async def get_state(self, request: web.Request) -> web.Response:
        """A mark that is another one as soon as the page would show something else."""
        try:
            invoice, tries = await self._found(request)
            # By the invoice: a whole network of phones that wait may share one address.
            await self._count(request, [PAY_VIEWS], f"invoice:{invoice.id}")
        except _Refused as refused:
            return web.json_response({"mark": None}, status=refused.status, headers=HEADERS)
        return web.json_response({"mark": _mark(invoice, tries)}, headers=HEADERS)

    async def get_pdf(self, request: web.Request) -> web.Response:
        """The invoice on paper."""
        try:
            await self._count(request, [PAY_VIEWS, PAY_PAPERS], address_of(request))
            invoice, _ = await self._found(request)
        except _Refused as refused:
            return self._refusal(request, refused)
        language = _language(request, invoice)
        paper = paper_of(
            invoice, self._settings.base_url, language, logo=self._logo, sandbox=self._sandbox, public=True
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
        try:
            if not is_ours(request, self._settings.base_url):
                raise _Refused(403, words.TRY_LATER, words.NOT_OURS)
            invoice, tries = await self._found(request)
            fields = await fields_of(request)
            typed = Typed(method, fields.get("amount", "")[:FIELD_CHARS_MAX], fields.get("phone", "")[:FIELD_CHARS_MAX])
            field = "amount"
            try:
                language = _language(request, invoice)
                currency = invoice.amount.currency
                amount = Money.parse(typed.amount, currency, language=language, zone=self._zone.key)
                field = "phone"
                number = mpesa_account(typed.phone) if method is Method.PUSH else ""
                field = ""
                await self._ask(request, invoice, method, fields.get("key", ""), amount, number)
            except UserError as problem:
                wrong = Typed(method, typed.amount, typed.phone, _saying(problem), field)
                return self._page(request, invoice, tries, typed=wrong, status=422)
            except KeyReused:
                wrong = Typed(method, typed.amount, typed.phone, words.USED)
                return self._page(request, invoice, tries, typed=wrong, status=409)
        except _Refused as refused:
            return self._refusal(request, refused)
        raise web.HTTPSeeOther(_here(request) + "#panel", headers=HEADERS)

    async def _ask(
        self, request: web.Request, invoice: Invoice, method: Method, key: str, amount: Money, number: str
    ) -> None:
        """Ask for it, within the limits; the same form is counted and asks once. Raises UserError and KeyReused."""
        if not self._settings.moves_money:
            raise _Refused(404, words.NOT_THERE, words.NOT_THERE_LONG)
        call = hashlib.sha256(f"{invoice.id}:{method}:{key}".encode()).hexdigest()
        await self._count(request, [PAY_TRIES], address_of(request), call)
        await self._count(request, [PAY_INVOICE], f"invoice:{invoice.id}", call)
        if number:
            phone = hashlib.sha256(f"phone:{number}".encode()).hexdigest()
            await self._count(request, [PAY_PHONE, PAY_PHONE_DAY], phone, call)
        try:
            async with self._db.transaction() as session:
                owner = (await session.execute(select(people.current(invoice.person_id)))).scalar_one()
                connection = await driver(session)
                if method is Method.PUSH:
                    await paying.ask_phone(connection, invoice, owner, key, amount, number)
                else:
                    await paying.make_page(connection, invoice, owner, key, amount)
        except Erased:
            raise _Refused(404, words.NOT_THERE, words.NOT_THERE_LONG) from None
        except Exception as error:
            self._unless_away(error)
            raise

    # What is behind it.

    async def _found(self, request: web.Request) -> tuple[Invoice, Sequence[Try]]:
        """The invoice of the address, and the last tries to pay it. Raises _Refused, the same for all there is not."""
        try:
            async with self._db.hot() as connection:
                invoice = await invoices.by_token(connection, request.match_info["token"])
                if invoice is not None and invoice.words is not None:
                    return invoice, await paying.newest_tries(connection, invoice)
        except Exception as error:
            self._unless_away(error)
            raise
        raise _Refused(404, words.NOT_THERE, words.NOT_THERE_LONG)

    async def _back(self, request: web.Request, invoice: Invoice) -> str | None:
        """The card page that a browser says to come from; the provider is then asked about it soon. Raises _Refused."""
        session = request.query.get("checkout_id", "")
        if SESSION.fullmatch(session) is None:
            return None
        try:
            async with self._db.hot() as connection:
                for of, _ in await newest_on(connection, invoice.id, paying.TRIES_SHOWN_MAX):
                    if of.session == session:
                        await look_soon(connection, of)
                        return session
        except Exception as error:
            self._unless_away(error)
            raise
        return None

    async def _count(self, request: web.Request, limits: Sequence[Limit], whose: str, call: str | None = None) -> None:
        """Raises _Refused for what is more than the limits let through."""
        now = datetime.now(UTC)
        named = f"pay:{limits[0].name}:{call}" if call else None
        verdict = await self._limits.take(limits, Whose(whose, self._zone), now, call=named)
        if not verdict.passed:
            log.warning("pay.limited", limit=verdict.limit.name)
            retry_s = max(1, int((verdict.resets_at - now).total_seconds()))
            raise _Refused(429, words.TRY_LATER, _saying(refusal(verdict, now, self._zone)), retry_s)

    @staticmethod
    def _unless_away(error: Exception) -> None:
        """Raises _Refused where PostgreSQL is away."""
        if isinstance(error, StoreUnavailable) or is_away(error):
            raise _Refused(503, words.TRY_LATER, words.AWAY, 5) from error

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
        html = self._environment.get_template("pay.html").render(
            self._common(language, request),
            invoice=invoice,
            issuer=invoice.words.issuer,
            payer=invoice.words.payer,
            description=invoice.words.description or NOTHING_SAID.to(language),
            state=state.to(language),
            tone=tone,
            note=note.to(language) if note else None,
            rest=_due(invoice).shown(language) if invoice.state != "void" else None,
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
        return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS)

    def _refusal(self, request: web.Request, refused: _Refused) -> web.Response:
        language = _language(request, None)
        html = self._environment.get_template("refused.html").render(
            self._common(language, request), title=refused.title.to(language), text=refused.text.to(language)
        )
        headers = HEADERS | ({hdrs.RETRY_AFTER: str(refused.retry_s)} if refused.retry_s else {})
        return web.Response(text=html, status=refused.status, content_type="text/html", headers=headers)

    def _common(self, language: Language, request: web.Request) -> dict[str, Any]:
        """What every page has."""
        texts = {name: text.to(language) for name, text in words.TEXTS.items()}

        def say(text: Saying | str, **values: Saying | str) -> str:
            saying = words.TEXTS[text] if isinstance(text, str) else text
            return saying.filled(**values).to(language) if values else saying.to(language)

        return {
            "language": language,
            "other": [(code, name, code == language) for code, name in (("en", "English"), ("sw", "Kiswahili"))],
            "t": texts,
            "say": say,
            "sandbox": self._sandbox,
            "style": f"/pay.css?v={self._style.version}",
            "script": f"/pay.js?v={self._script.version}",
        }


def _saying(error: UserError) -> Saying:
    return error.says if isinstance(error.says, Saying) else Saying(error.says, error.says)


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


def _language(request: web.Request, invoice: Invoice | None) -> Language:
    """The language of the page: as chosen on it, else the browser's, else the invoice's."""
    chosen = request.query.get("lang")
    if chosen in ("en", "sw"):
        return spoken(chosen)
    best = ("", 0.0)
    for entry in request.headers.get(hdrs.ACCEPT_LANGUAGE, "").split(",")[:LANGUAGES_MAX]:
        name, _, weight = entry.strip().lower().partition(";q=")
        try:
            share = float(weight) if weight else 1.0
        except ValueError:
            continue
        if name.partition("-")[0] in ("en", "sw") and best[1] < share <= 1.0:
            best = name, share
    if best[0]:
        return spoken(best[0])
    return spoken(invoice.words.language) if invoice is not None and invoice.words is not None else "en"


def _here(request: web.Request, **more: str) -> str:
    """The page's own address, with the language that was chosen on it."""
    chosen = request.query.get("lang")
    query: Mapping[str, str] = ({"lang": chosen} if chosen in ("en", "sw") else {}) | more
    path = f"/pay/{request.match_info['token']}"
    return f"{path}?{urlencode(query)}" if query else path
