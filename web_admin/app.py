"""The admin's web application: routes, who may in, and the headers of every answer."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from aiohttp import hdrs, web
from markupsafe import Markup

from core.db import Database
from core.errors import StoreUnavailable, UserError
from core.files import Files
from core.handoff import NotYours
from core.health import Health
from core.limits import SIGN_IN, Limits, Whose, refusal
from core.settings import Settings
from core.sniff import FILE_BYTES_MAX
from ledger.money import Money
from web_admin import auth, forms
from web_admin.adjustments import Adjustments
from web_admin.analytics import Analytics, AnalyticsQuery
from web_admin.books import Books
from web_admin.conversations import Conversations, Place
from web_admin.corrections import Corrections, meanings
from web_admin.desk import Desk
from web_admin.erasing import Erasing
from web_admin.fees import Fees
from web_admin.forms import Form, uuid_of
from web_admin.invoices import Invoices
from web_admin.live import Live, Streams, TooManyStreams, Update
from web_admin.mandates import Mandates
from web_admin.moderation import Moderation
from web_admin.overview import Overview
from web_admin.own_accounts import Check, OwnAccounts
from web_admin.payments import Payments
from web_admin.people import People, PeopleQuery
from web_admin.queries import is_busy
from web_admin.rendering import StaticFile, Templates, page, read_static, static_response
from web_admin.sections import section_of
from web_admin.turns import TurnPages, TurnsQuery
from web_admin.widget import Widget

log = structlog.get_logger()

TICK_S = 2.0
WATCH_S = 60.0
"""How often an open page says that somebody is there; far within the shortest sensible lease."""
STAFF: web.RequestKey[auth.Staff] = web.RequestKey("staff", auth.Staff)
FORM: web.RequestKey[Form] = web.RequestKey("form", Form)
WITH_FILE = re.compile(r"/admin/conversations/[^/]+/messages")
"""Where a form may hold a file."""
OPEN_PATHS = ("/admin/sign-in", "/admin/static/")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, which makes browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Given = Callable[[web.Request], object]
CONVERSATION = "/admin/conversations/{id}"
PAYMENT = "/admin/payments/{reference}"
INVOICE = "/admin/invoices/{number}"
DISPUTE = "/admin/disputes/{reference}"
PERSON = "/admin/people/{id}"


def make_admin(
    db: Database,
    settings: Settings,
    health: Callable[[], Awaitable[Mapping[str, Health]]],
    limits: Limits,
    files: Files,
    actions: Collection[str] = (),
    *,
    tick_s: float = TICK_S,
    check_keys: Check | None = None,
) -> web.Application:
    """The application to mount at /admin. `health` tells how the servers are, `actions` are the names of those there
    are; live pages look every `tick_s`; `check_keys` asks the payment provider about keys that are typed.
    """
    return Admin(db, settings, health, limits, files, meanings(actions), tick_s, check_keys).app


class Admin:
    """The admin of one deployment."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        health: Callable[[], Awaitable[Mapping[str, Health]]],
        limits: Limits,
        files: Files,
        meant: Collection[str],
        tick_s: float,
        check_keys: Check | None,
    ) -> None:
        """Nothing is read from the database before the first request."""
        zone = ZoneInfo(settings.default_timezone)
        self._db = db
        self._limits = limits
        self._zone = zone
        self._base_url = settings.base_url
        self._secure = settings.base_url.startswith("https://")
        self._static: dict[str, StaticFile] = read_static()
        self._templates = Templates(self._static, zone, _now, files)
        self._streams = Streams()
        self._live = Live(self._streams, self._templates, zone, _now, tick_s)
        self._overview = Overview(db, zone, health, self._templates, _now, tick_s / 2)
        self._desk = Desk(db, settings, self._templates, files)
        self._conversations = Conversations(db, zone, self._templates, _now)
        self._moderation = Moderation(db, self._templates, _now)
        alone_max = Money.of(settings.adjustment_alone_max, settings.default_currency)
        payments = Payments(db, self._templates, alone_max)
        self._books = books = Books(db, zone, self._templates)
        self._invoices = Invoices(db, settings, self._templates)
        adjustments = Adjustments(db, self._templates, alone_max)
        fees = Fees(db, self._templates, zone, _now)
        mandates = Mandates(db, self._templates)
        erasing = Erasing(db, self._templates)
        own_accounts = OwnAccounts(db, settings, check_keys)
        self._people = People(db, settings, limits, self._moderation, own_accounts, self._templates, _now)
        self._turns = TurnPages(db, zone, self._templates, meant)
        analytics = Analytics(db, zone, self._templates, _now)
        self._corrections = Corrections(db, self._templates, meant)
        self._widget = Widget(db, settings, self._templates, _now)
        self.app = web.Application(middlewares=[self._answer])
        self.app.on_response_prepare.append(_add_headers)
        self.app.on_shutdown.append(self._close)
        self.app.add_routes(
            [
                web.get("", self._to_overview),
                web.get("/", self._get_overview),
                web.get("/live", self._follow_overview),
                web.get("/conversations", self._get_conversations),
                web.get("/conversations/live", self._follow_conversations),
                web.get("/conversations/{id}", self._get_conversations),
                web.get("/conversations/{id}/live", self._follow_conversations),
                web.post("/conversations/{id}/handoff", _does(self._desk.hand, _id, _fields, to=CONVERSATION)),
                web.post("/conversations/{id}/messages", _does(self._desk.write, _id, _form, to=CONVERSATION)),
                web.post("/conversations/{id}/renumbering", _does(self._desk.settle, _id, to=CONVERSATION)),
                web.get("/replies", _shows(self._desk.canned_page, _asked("edit"))),
                web.post("/replies", _does(self._desk.change_canned, _fields)),
                web.get("/moderation", _shows(self._moderation.page)),
                web.post("/moderation/flags/{id}/dismiss", _does(self._moderation.dismiss, _number)),
                web.post("/moderation/mutes/{id}/lift", _does(self._moderation.lift, _number)),
                web.get("/payments", _shows(payments.page)),
                web.post("/payments/switch", _does(payments.switch, _fields)),
                web.get("/payments/{reference}", _shows(payments.one, _reference)),
                web.post("/payments/{reference}/resolve", _does(payments.resolve, _reference, _fields)),
                web.post("/payments/findings/{id}/explain", _does(payments.explain, _number, _fields)),
                web.post("/payments/{reference}/refund", _does(payments.refund, _reference, _fields, to=PAYMENT)),
                web.post(
                    "/payments/{reference}/dispute",
                    _does(payments.dispute, _reference, _fields, to="/admin/disputes/{made}"),
                ),
                web.get("/disputes", _shows(payments.disputes)),
                web.get("/disputes/{reference}", _shows(payments.one_dispute, _reference)),
                web.post(
                    "/disputes/{reference}/{act}",
                    _does(payments.decide, _reference, _named("act"), _fields, to=DISPUTE),
                ),
                web.get("/mandates", _shows(mandates.page, _query)),
                web.post("/mandates/{id}/end", _does(mandates.end, _number, _fields, to="/admin/mandates")),
                web.get("/fees", _shows(fees.page)),
                web.post("/fees", _does(fees.add, _fields)),
                *self._invoices.routes(STAFF),
                web.post("/invoices/{number}/paid", _does(self._invoices.mark, _named("number"), _fields, to=INVOICE)),
                web.post(
                    "/invoices/{number}/paid/{id}/undo",
                    _does(self._invoices.take_back, _named("number"), _number, to=INVOICE),
                ),
                web.post(
                    "/invoices/{number}/resend", _does(self._invoices.resend, _named("number"), _fields, to=INVOICE)
                ),
                web.get("/books", _shows(books.accounts, _query)),
                web.get("/books/accounts/{id}", _shows(books.statement, _number, _query)),
                web.get("/books/accounts/{id}/statement.csv", _saves(books.statement_csv, _number, _query)),
                web.get("/books/journal", _shows(books.journal, _query)),
                web.get("/books/entries/{id}", _shows(books.entry, _number)),
                web.get("/books/holds", _shows(books.holds, _query)),
                web.get("/books/journal.{form:[a-z]+}", self._get_journal),
                web.get("/books/adjustments", _shows(adjustments.page)),
                web.post("/books/adjustments", _does(adjustments.propose, _fields)),
                web.post(
                    "/books/adjustments/{id}/{act:approve|refuse}", _does(adjustments.decide, _number, _named("act"))
                ),
                web.get("/people", _shows(self._people.list_page, _parsed(PeopleQuery.parse))),
                web.get("/people/{id}", self._get_person),
                web.post("/people/{id}/plan", _does(self._people.set_plan, _id, _field("plan"), to=PERSON)),
                web.post("/people/{id}/unmute", _does(self._people.unmute, _id, to=PERSON)),
                web.post("/people/{id}/renumbering", _does(self._people.settle, _id, _field("chat"), to=PERSON)),
                web.post("/people/{id}/own-account", _does(own_accounts.give, _id, _fields, to=PERSON)),
                web.post("/people/{id}/own-account/forget", _does(own_accounts.forget, _id, to=PERSON)),
                web.get("/people/{id}/erase", _shows(erasing.page, _id)),
                web.post(
                    "/people/{id}/erase",
                    _does(erasing.erase, _id, _field("code"), _field("reason"), to=f"{PERSON}/erase"),
                ),
                web.get("/analytics", _shows(analytics.page, _parsed(AnalyticsQuery.parse))),
                web.get("/turns", _shows(self._turns.list_page, _parsed(TurnsQuery.parse))),
                web.get("/turns/{id}", self._get_turn),
                web.post("/turns/{id}/mark", self._post_mark),
                web.post("/turns/{id}/unmark", self._post_unmark),
                web.get("/corrections", _shows(self._corrections.page)),
                web.get("/corrections/{action}.txt", _saves(self._corrections.lines, _named("action"))),
                web.post("/corrections/{id}", _does(self._corrections.decide, _number, _fields)),
                web.get("/widget", self._get_widget),
                web.post("/widget", self._post_widget),
                web.get("/sign-in", self._get_sign_in),
                web.post("/sign-in", self._post_sign_in),
                web.post("/sign-out", self._post_sign_out),
                web.get("/static/{name:.+}", self._get_static),
            ]
        )

    # Every request passes here: who is it, may it, and if something went wrong, what to say.

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await self._admit(request, handler)
        except UserError as error:
            title = "That cannot be shown" if request.method == hdrs.METH_GET else "Nothing was done"
            return self._problem(request, 400, title, str(error))
        except NotYours as error:
            return self._problem(request, 409, "Somebody was faster", str(error))
        except LookupError:
            return self._problem(
                request,
                404,
                f"There is no such {section_of(request.path).thing}",
                "It may have been erased, or the address is not whole.",
                section_of(request.path).way,
            )
        except TooManyStreams:
            return self._problem(
                request,
                503,
                "This page is not live",
                "Too many pages are open. Close some, then load this one again.",
                (request.path.removesuffix("/live") or "/admin/", "Load again"),
            )
        except web.HTTPException as error:
            return self._http_problem(request, error)
        except (ConnectionResetError, web.GracefulExit):
            raise
        except Exception as error:
            return self._failed(request, error)

    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == hdrs.METH_POST and not auth.is_ours(request, self._base_url):
            log.warning("admin.foreign_request_refused", path=request.path)
            return self._problem(
                request,
                403,
                "Not from here",
                "This was sent by another site, so nothing was done. Use Mathia's own pages.",
            )
        if request.path.startswith(OPEN_PATHS):
            return await handler(request)
        async with self._db.transaction() as session:
            staff = await auth.who(session, auth.cookie_of(request, secure=self._secure))
        if staff is None:
            return self._door(
                request, 401, "You are not signed in", "Your session is over, or this browser has none yet."
            )
        if request.method == hdrs.METH_POST:
            form = await self._form(request, staff)
            if form is None:
                return self._problem(
                    request,
                    403,
                    "This form is too old",
                    "Nothing was done. Load the page again and repeat what you did.",
                )
            request[FORM] = form
        request[STAFF] = staff
        return await handler(request)

    async def _form(self, request: web.Request, staff: auth.Staff) -> Form | None:
        """What was sent with the session's own token; None for anything else."""

        def is_ours(token: str | None) -> bool:
            return auth.csrf_is_right(staff, token)

        if request.content_type == "multipart/form-data" and not WITH_FILE.fullmatch(request.path):
            return None
        return await forms.read(request, is_ours)

    def _http_problem(self, request: web.Request, error: web.HTTPException) -> web.StreamResponse:
        if error.status < 400:
            raise error
        title, reason = {
            404: ("There is no such page", "The address may be mistyped, or the page has moved."),
            405: ("That is not how this works", "This address cannot be used in that way."),
            413: (
                "That is too much",
                f"A form here has at most {forms.FORM_BYTES_MAX // 1024} KB, and a file {FILE_BYTES_MAX // 2**20} MB.",
            ),
        }.get(error.status, ("That did not work", "The request could not be understood."))
        response = self._problem(request, error.status, title, reason)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        is_read = request.method == hdrs.METH_GET
        again = (request.rel_url.raw_path_qs, "Try again") if is_read else _way_back(request)
        if isinstance(error, StoreUnavailable) or is_busy(error):
            log.warning("admin.database_away", path=request.path)
            return self._problem(
                request,
                503,
                "The database does not answer",
                "It is stopped, starting, or too busy for this question. Nothing is lost; try again in a moment.",
                again,
            )
        reference = secrets.token_hex(4)
        log.exception("admin.failed", path=request.path, reference=reference)
        return self._problem(
            request,
            500,
            "Something broke",
            "The details are in the log under this reference.",
            again,
            reference,
        )

    def _problem(
        self,
        request: web.Request,
        status: int,
        title: str,
        reason: str,
        way: tuple[str, str] | None = None,
        reference: str | None = None,
    ) -> web.Response:
        """A page that says what happened and where to go, `way` or back; for htmx, the same as a fragment."""
        name = "fragment.html" if "HX-Request" in request.headers else "problem.html"
        href, way_said = way or _way_back(request)
        return page(
            self._templates.render(name, title=title, reason=reason, way_href=href, way=way_said, reference=reference),
            status,
        )

    def _door(self, request: web.Request, status: int, title: str, reason: str) -> web.Response:
        """The sign-in page without a link: how to get one."""
        if "HX-Request" in request.headers:
            return self._problem(request, status, title, reason, ("/admin/", "Sign in"))
        return page(self._templates.render("sign_in.html", token=None, title=title, reason=reason), status)

    # Signing in and out

    async def _get_sign_in(self, request: web.Request) -> web.StreamResponse:
        """A page with a button: previews of links in chats and mail programs only GET, so they use nothing up."""
        token = request.query.get("token", "")
        if not token:
            return self._door(request, 401, "Sign in", "You need a link that lets you in once.")
        if (refused := await self._throttle(request, token)) is not None:
            return refused
        async with self._db.transaction() as session:
            good = await auth.link_is_good(session, token)
        if not good:
            return self._bad_link(request)
        return page(self._templates.render("sign_in.html", token=token), 200)

    async def _post_sign_in(self, request: web.Request) -> web.StreamResponse:
        token = (await forms.words(request)).get("token", "")
        if (refused := await self._throttle(request, token)) is not None:
            return refused
        old = auth.cookie_of(request, secure=self._secure)
        async with self._db.transaction() as session:
            signed_in = await auth.sign_in(session, token, old)
        if signed_in is None:
            log.warning("admin.sign_in_refused")
            return self._bad_link(request)
        log.info("admin.signed_in", staff=signed_in.staff)
        response = web.Response(status=303, headers={hdrs.LOCATION: "/admin/"})
        auth.set_cookie(response, signed_in.token, secure=self._secure)
        return response

    async def _throttle(self, request: web.Request, token: str) -> web.Response | None:
        """The answer to an address that tries too often; None while it does not. Nobody counting lets nobody in.

        What does not look like a token is refused unseen and costs nothing, so it is not counted.
        """
        if not auth.TOKEN_SHAPE.fullmatch(token):
            return None
        whose = Whose(f"{request.method}:{auth.address_of(request)}", self._zone)
        now = _now()
        verdict = await self._limits.take([SIGN_IN], whose, now)
        if verdict.passed:
            return None
        log.warning("admin.sign_in_throttled", unsure=verdict.unsure)
        if verdict.unsure:
            reason = "Valkey, which counts the tries, does not answer. Start it, then try again; the link stays good."
            return self._door(request, 503, "Nobody can sign in just now", reason)
        response = self._door(request, 429, "Too many tries", str(refusal(verdict, now, self._zone)))
        wait_s = max(1, int((verdict.resets_at - now).total_seconds()) + 1)
        response.headers[hdrs.RETRY_AFTER] = str(wait_s)
        return response

    def _bad_link(self, request: web.Request) -> web.Response:
        return self._door(
            request,
            403,
            "This link does not work",
            "It has been used, is older than 15 minutes, or was not copied whole.",
        )

    async def _post_sign_out(self, request: web.Request) -> web.StreamResponse:
        staff = request[STAFF]
        async with self._db.transaction() as session:
            await auth.sign_out(session, staff)
        self._streams.sign_out(staff.token_hash)
        response = self._door(request, 200, "You are signed out", "To come back you need a new link.")
        auth.clear_cookie(response, secure=self._secure)
        return response

    # Pages

    async def _to_overview(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther("/admin/")

    async def _get_overview(self, request: web.Request) -> web.StreamResponse:
        rendered = await self._overview.render()
        return page(
            self._templates.render(
                "overview.html",
                section="overview",
                staff=request[STAFF],
                body=rendered.html,
                stream=f"/admin/live?seen={rendered.version}",
            ),
            200,
        )

    async def _follow_overview(self, request: web.Request) -> web.StreamResponse:
        return await self._live.serve(request, request[STAFF], self._overview)

    async def _get_conversations(self, request: web.Request) -> web.StreamResponse:
        place = Place.parse(request.query, request.match_info.get("id"))
        return page(await self._conversations.page(request[STAFF], place), 200)

    async def _follow_conversations(self, request: web.Request) -> web.StreamResponse:
        place = Place.parse(request.query, request.match_info.get("id"))
        if place.conversation is not None and not await self._conversations.exists(place.conversation):
            raise LookupError
        return await self._live.serve(request, request[STAFF], _Following(self._conversations, self._desk, place))

    async def _get_person(self, request: web.Request) -> web.StreamResponse:
        found = await self._people.page(request[STAFF], uuid_of(request.match_info["id"]))
        if isinstance(found, UUID):
            raise web.HTTPSeeOther(f"/admin/people/{found}")
        return page(found, 200)

    async def _get_journal(self, request: web.Request) -> web.StreamResponse:
        return await self._books.written(request, request[STAFF], request.match_info["form"])

    async def _get_turn(self, request: web.Request) -> web.StreamResponse:
        with_words = request.query.get("words") == "1"
        return page(await self._turns.page(request[STAFF], request.match_info["id"], with_words=with_words), 200)

    async def _post_mark(self, request: web.Request) -> web.StreamResponse:
        await self._corrections.mark(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther(_back_to_turn(request))

    async def _post_unmark(self, request: web.Request) -> web.StreamResponse:
        await self._corrections.unmark(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther(_back_to_turn(request))

    async def _get_widget(self, request: web.Request) -> web.StreamResponse:
        return page(await self._widget.page(request[STAFF], request.query.get("site"), request.host), 200)

    async def _post_widget(self, request: web.Request) -> web.StreamResponse:
        form = request[FORM].fields
        if form.get("act") == "rotate":
            # Not a redirect: the secret is in this answer and nowhere else.
            return page(await self._widget.rotate(request[STAFF], form, request.host), 200)
        if form.get("act") == "delete":
            await self._widget.delete(request[STAFF], form)
            raise web.HTTPSeeOther("/admin/widget")
        key = await self._widget.save(request[STAFF], form)
        raise web.HTTPSeeOther(f"/admin/widget?site={key}")

    async def _get_static(self, request: web.Request) -> web.StreamResponse:
        file = self._static.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return static_response(request, file)

    async def _close(self, app: web.Application) -> None:
        self._streams.close()


@dataclass(frozen=True, slots=True)
class _Following:
    """One place in the conversations, as a stream looks at it."""

    conversations: Conversations
    desk: Desk
    place: Place
    watched: list[float] = field(default_factory=list)
    """When the page was last told to be open, by the monotonic clock."""

    async def look(self, staff: auth.Staff, seen: str) -> Update | None:
        """What is new there. An open page keeps its reader's hold on the conversation."""
        now = time.monotonic()
        if self.place.conversation is not None and (not self.watched or now - self.watched[0] >= WATCH_S):
            self.watched[:] = [now]
            with suppress(LookupError):
                await self.desk.watch(staff, self.place.conversation)
        return await self.conversations.look(staff, seen, self.place)


def _back_to_turn(request: web.Request) -> str:
    """The page that a form of a turn was sent from, with words where they were shown."""
    shown = "?words=1" if request[FORM].fields.get("words") == "1" else ""
    return f"/admin/turns/{request.match_info['id']}{shown}"


def _way_back(request: web.Request) -> tuple[str, str]:
    """Where to go after something could not be done: to the section, or the conversation that a form was sent from."""
    section = section_of(request.path)
    if request.method == hdrs.METH_POST and section.icon == "conversations" and "id" in request.match_info:
        return f"{section.path}/{request.match_info['id']}", "Go back to the conversation"
    return section.way


# What stands behind a route: a page that is shown, a file that is saved, a form that does something. Each is given who
# asks, and then what `given` reads from the request.


def _shows(render: Callable[..., Awaitable[Markup]], *given: Given) -> Handler:
    async def get(request: web.Request) -> web.StreamResponse:
        return page(await render(request[STAFF], *(one(request) for one in given)))

    return get


def _saves(write: Callable[..., Awaitable[tuple[str, str]]], *given: Given) -> Handler:
    """A file that is made of text: its name, and what is in it."""

    async def get(request: web.Request) -> web.StreamResponse:
        name, text = await write(request[STAFF], *(one(request) for one in given))
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
        kind = "text/csv" if name.endswith(".csv") else "text/plain"
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=headers)

    return get


def _does(act: Callable[..., Awaitable[object]], *given: Given, to: str = "") -> Handler:
    """A form; then its section is shown, or `to`, in which names of the route stand for themselves and `made` for
    what came of it.
    """

    async def post(request: web.Request) -> web.StreamResponse:
        made = await act(request[STAFF], *(one(request) for one in given))
        raise web.HTTPSeeOther(to.format(made=made, **request.match_info) or section_of(request.path).path)

    return post


def _named(name: str) -> Given:
    """What stands in an address at this name."""
    return lambda request: request.match_info[name]


_number, _reference = _named("id"), _named("reference")


def _id(request: web.Request) -> UUID:
    return uuid_of(request.match_info["id"])


def _query(request: web.Request) -> Mapping[str, str]:
    return request.query


def _asked(name: str) -> Given:
    return lambda request: request.query.get(name)


def _parsed(parse: Callable[[Mapping[str, str]], object]) -> Given:
    return lambda request: parse(request.query)


def _form(request: web.Request) -> Form:
    return request[FORM]


def _fields(request: web.Request) -> Mapping[str, str]:
    return request[FORM].fields


def _field(name: str) -> Given:
    return lambda request: request[FORM].fields.get(name, "")


def _now() -> datetime:
    return datetime.now(UTC)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, whichever handler or error made it."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
