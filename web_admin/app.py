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
from web_admin.moderation import Moderation
from web_admin.overview import Overview
from web_admin.own_accounts import Check, OwnAccounts
from web_admin.payments import Payments
from web_admin.people import People, PeopleQuery
from web_admin.queries import is_busy
from web_admin.rendering import StaticFile, Templates, page, read_static, static_response
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
BACK = ("/admin/", "Go to the overview")
TO_LIST = ("/admin/conversations", "Go to the conversations")
TO_PEOPLE = ("/admin/people", "Go to the people")
TO_TURNS = ("/admin/turns", "Go to the turns")
TO_ANALYTICS = ("/admin/analytics", "Go to the analytics")
TO_CORRECTIONS = ("/admin/corrections", "Go to the corrections")
TO_PAYMENTS = ("/admin/payments", "Go to the payments")
TO_DISPUTES = ("/admin/disputes", "Go to the disputes")
TO_INVOICES = ("/admin/invoices", "Go to the invoices")
TO_BOOKS = ("/admin/books", "Go to the books")
TO_ADJUSTMENTS = ("/admin/books/adjustments", "Go to the adjustments")
TO_FEES = ("/admin/fees", "Go to the fees")
TO_REPLIES = ("/admin/replies", "Go to the canned replies")
TO_WIDGET = ("/admin/widget", "Go to the widget")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        self._payments = Payments(db, self._templates, alone_max)
        self._books = Books(db, zone, self._templates)
        self._invoices = Invoices(db, settings, self._templates)
        self._adjustments = Adjustments(db, self._templates, alone_max)
        self._fees = Fees(db, self._templates, zone, _now)
        self._erasing = Erasing(db, self._templates)
        self._own_accounts = OwnAccounts(db, settings, check_keys)
        self._people = People(db, settings, limits, self._moderation, self._own_accounts, self._templates, _now)
        self._turns = TurnPages(db, zone, self._templates, meant)
        self._analytics = Analytics(db, zone, self._templates, _now)
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
                web.post("/conversations/{id}/handoff", self._post_handoff),
                web.post("/conversations/{id}/messages", self._post_message),
                web.post("/conversations/{id}/renumbering", self._post_settled),
                web.get("/replies", self._get_replies),
                web.post("/replies", self._post_reply),
                web.get("/moderation", self._get_moderation),
                web.post("/moderation/flags/{id}/dismiss", self._post_dismiss),
                web.post("/moderation/mutes/{id}/lift", self._post_lift),
                web.get("/payments", self._get_payments),
                web.post("/payments/switch", self._post_switch),
                web.get("/payments/{reference}", self._get_payment),
                web.post("/payments/{reference}/resolve", self._post_resolve),
                web.post("/payments/findings/{id}/explain", self._post_explain),
                web.post("/payments/{reference}/refund", self._post_refund),
                web.post("/payments/{reference}/dispute", self._post_dispute),
                web.get("/disputes", self._get_disputes),
                web.get("/disputes/{reference}", self._get_dispute),
                web.post("/disputes/{reference}/{act}", self._post_decision_of_dispute),
                web.get("/fees", self._get_fees),
                web.post("/fees", self._post_fees),
                *self._books.routes(STAFF),
                *self._invoices.routes(STAFF),
                *self._adjustments.routes(STAFF, FORM),
                web.get("/people", self._get_people),
                web.get("/people/{id}", self._get_person),
                web.post("/people/{id}/plan", self._post_plan),
                web.post("/people/{id}/unmute", self._post_unmute),
                web.post("/people/{id}/renumbering", self._post_person_settled),
                web.post("/people/{id}/own-account", self._post_own_account),
                web.post("/people/{id}/own-account/forget", self._post_forget_own_account),
                web.get("/people/{id}/erase", self._get_erase),
                web.post("/people/{id}/erase", self._post_erase),
                web.get("/analytics", self._get_analytics),
                web.get("/turns", self._get_turns),
                web.get("/turns/{id}", self._get_turn),
                web.post("/turns/{id}/mark", self._post_mark),
                web.post("/turns/{id}/unmark", self._post_unmark),
                web.get("/corrections", self._get_corrections),
                web.get("/corrections/{action}.txt", self._get_lines),
                web.post("/corrections/{id}", self._post_decision),
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
            return self._problem(request, 400, title, str(error), _way_of(request))
        except NotYours as error:
            return self._problem(request, 409, "Somebody was faster", str(error), _way_of(request))
        except LookupError:
            return self._problem(
                request,
                404,
                f"There is no such {_thing_of(request)}",
                "It may have been erased, or the address is not whole.",
                _list_of(request),
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
                BACK,
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
                    BACK,
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
        response = self._problem(request, error.status, title, reason, BACK)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        again = (request.rel_url.raw_path_qs if request.method == hdrs.METH_GET else "/admin/", "Try again")
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
        way: tuple[str, str],
        reference: str | None = None,
    ) -> web.Response:
        """A page that says what happened and what to do; for htmx, the same as a fragment."""
        name = "fragment.html" if "HX-Request" in request.headers else "problem.html"
        return page(
            self._templates.render(name, title=title, reason=reason, way_href=way[0], way=way[1], reference=reference),
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

    async def _post_handoff(self, request: web.Request) -> web.StreamResponse:
        conversation = uuid_of(request.match_info["id"])
        await self._desk.hand(request[STAFF], conversation, request[FORM].fields)
        raise web.HTTPSeeOther(f"/admin/conversations/{conversation}")

    async def _post_message(self, request: web.Request) -> web.StreamResponse:
        conversation = uuid_of(request.match_info["id"])
        await self._desk.write(request[STAFF], conversation, request[FORM])
        raise web.HTTPSeeOther(f"/admin/conversations/{conversation}")

    async def _post_settled(self, request: web.Request) -> web.StreamResponse:
        conversation = uuid_of(request.match_info["id"])
        await self._desk.settle(request[STAFF], conversation)
        raise web.HTTPSeeOther(f"/admin/conversations/{conversation}")

    async def _get_replies(self, request: web.Request) -> web.StreamResponse:
        return page(await self._desk.canned_page(request[STAFF], request.query.get("edit")), 200)

    async def _post_reply(self, request: web.Request) -> web.StreamResponse:
        await self._desk.change_canned(request[STAFF], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/replies")

    async def _get_moderation(self, request: web.Request) -> web.StreamResponse:
        return page(await self._moderation.page(request[STAFF]), 200)

    async def _post_dismiss(self, request: web.Request) -> web.StreamResponse:
        await self._moderation.dismiss(request[STAFF], request.match_info["id"])
        raise web.HTTPSeeOther("/admin/moderation")

    async def _post_lift(self, request: web.Request) -> web.StreamResponse:
        await self._moderation.lift(request[STAFF], request.match_info["id"])
        raise web.HTTPSeeOther("/admin/moderation")

    async def _get_payments(self, request: web.Request) -> web.StreamResponse:
        return page(await self._payments.page(request[STAFF]), 200)

    async def _get_payment(self, request: web.Request) -> web.StreamResponse:
        return page(await self._payments.one(request[STAFF], request.match_info["reference"]), 200)

    async def _post_switch(self, request: web.Request) -> web.StreamResponse:
        await self._payments.switch(request[STAFF], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/payments")

    async def _post_resolve(self, request: web.Request) -> web.StreamResponse:
        await self._payments.resolve(request[STAFF], request.match_info["reference"], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/payments")

    async def _post_explain(self, request: web.Request) -> web.StreamResponse:
        await self._payments.explain(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/payments")

    async def _post_refund(self, request: web.Request) -> web.StreamResponse:
        reference = request.match_info["reference"]
        await self._payments.refund(request[STAFF], reference, request[FORM].fields)
        raise web.HTTPSeeOther(f"/admin/payments/{reference}")

    async def _post_dispute(self, request: web.Request) -> web.StreamResponse:
        made = await self._payments.dispute(request[STAFF], request.match_info["reference"], request[FORM].fields)
        raise web.HTTPSeeOther(f"/admin/disputes/{made}")

    async def _get_disputes(self, request: web.Request) -> web.StreamResponse:
        return page(await self._payments.disputes(request[STAFF]), 200)

    async def _get_dispute(self, request: web.Request) -> web.StreamResponse:
        return page(await self._payments.one_dispute(request[STAFF], request.match_info["reference"]), 200)

    async def _post_decision_of_dispute(self, request: web.Request) -> web.StreamResponse:
        reference, act = request.match_info["reference"], request.match_info["act"]
        await self._payments.decide(request[STAFF], reference, act, request[FORM].fields)
        raise web.HTTPSeeOther(f"/admin/disputes/{reference}")

    async def _get_fees(self, request: web.Request) -> web.StreamResponse:
        return page(await self._fees.page(request[STAFF]), 200)

    async def _post_fees(self, request: web.Request) -> web.StreamResponse:
        await self._fees.add(request[STAFF], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/fees")

    async def _get_people(self, request: web.Request) -> web.StreamResponse:
        return page(await self._people.list_page(request[STAFF], PeopleQuery.parse(request.query)), 200)

    async def _get_person(self, request: web.Request) -> web.StreamResponse:
        found = await self._people.page(request[STAFF], uuid_of(request.match_info["id"]))
        if isinstance(found, UUID):
            raise web.HTTPSeeOther(f"/admin/people/{found}")
        return page(found, 200)

    async def _post_plan(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        await self._people.set_plan(request[STAFF], person, (request[FORM].fields).get("plan", ""))
        raise web.HTTPSeeOther(f"/admin/people/{person}")

    async def _post_unmute(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        await self._people.unmute(request[STAFF], person)
        raise web.HTTPSeeOther(f"/admin/people/{person}")

    async def _post_person_settled(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        await self._people.settle(request[STAFF], person, (request[FORM].fields).get("chat", ""))
        raise web.HTTPSeeOther(f"/admin/people/{person}")

    async def _post_own_account(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        await self._own_accounts.give(request[STAFF], person, request[FORM].fields)
        raise web.HTTPSeeOther(f"/admin/people/{person}")

    async def _post_forget_own_account(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        await self._own_accounts.forget(request[STAFF], person)
        raise web.HTTPSeeOther(f"/admin/people/{person}")

    async def _get_erase(self, request: web.Request) -> web.StreamResponse:
        return page(await self._erasing.page(request[STAFF], uuid_of(request.match_info["id"])), 200)

    async def _post_erase(self, request: web.Request) -> web.StreamResponse:
        person = uuid_of(request.match_info["id"])
        fields = request[FORM].fields
        await self._erasing.erase(request[STAFF], person, fields.get("code", ""), fields.get("reason", ""))
        raise web.HTTPSeeOther(f"/admin/people/{person}/erase")

    async def _get_analytics(self, request: web.Request) -> web.StreamResponse:
        return page(await self._analytics.page(request[STAFF], AnalyticsQuery.parse(request.query)), 200)

    async def _get_turns(self, request: web.Request) -> web.StreamResponse:
        return page(await self._turns.list_page(request[STAFF], TurnsQuery.parse(request.query)), 200)

    async def _get_turn(self, request: web.Request) -> web.StreamResponse:
        with_words = request.query.get("words") == "1"
        return page(await self._turns.page(request[STAFF], request.match_info["id"], with_words=with_words), 200)

    async def _post_mark(self, request: web.Request) -> web.StreamResponse:
        await self._corrections.mark(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther(_back_to_turn(request))

    async def _post_unmark(self, request: web.Request) -> web.StreamResponse:
        await self._corrections.unmark(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther(_back_to_turn(request))

    async def _get_corrections(self, request: web.Request) -> web.StreamResponse:
        return page(await self._corrections.page(request[STAFF]), 200)

    async def _get_lines(self, request: web.Request) -> web.StreamResponse:
        action = request.match_info["action"]
        lines = await self._corrections.lines(request[STAFF], action)
        headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{action}.txt"'}
        return web.Response(text=lines, content_type="text/plain", charset="utf-8", headers=headers)

    async def _post_decision(self, request: web.Request) -> web.StreamResponse:
        await self._corrections.decide(request[STAFF], request.match_info["id"], request[FORM].fields)
        raise web.HTTPSeeOther("/admin/corrections")

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


def _thing_of(request: web.Request) -> str:
    """What an address names, in a word."""
    if request.path == "/admin/widget":
        return "site"
    if request.path.startswith("/admin/people"):
        return "person"
    if request.path.startswith("/admin/turns"):
        return "turn"
    if request.path.startswith("/admin/payments"):
        return "payment or finding"
    if request.path.startswith("/admin/disputes"):
        return "dispute"
    if request.path.startswith("/admin/books"):
        return "account, entry or adjustment"
    if request.path.startswith("/admin/invoices"):
        return "invoice"
    if request.path.startswith("/admin/corrections"):
        return "correction"
    return "entry" if "/moderation/" in request.path else "conversation"


def _list_of(request: web.Request) -> tuple[str, str]:
    """Where what an address names would be found."""
    if request.path == "/admin/widget":
        return TO_WIDGET
    if request.path.startswith("/admin/turns"):
        return TO_TURNS
    if request.path.startswith("/admin/payments"):
        return TO_PAYMENTS
    if request.path.startswith("/admin/disputes"):
        return TO_DISPUTES
    if request.path.startswith("/admin/books"):
        return TO_ADJUSTMENTS if request.path.startswith("/admin/books/adjustments") else TO_BOOKS
    if request.path.startswith("/admin/invoices"):
        return TO_INVOICES
    if request.path.startswith("/admin/corrections"):
        return TO_CORRECTIONS
    return TO_PEOPLE if request.path.startswith("/admin/people") else TO_LIST


def _way_of(request: web.Request) -> tuple[str, str]:
    """Where to go after something could not be done."""
    if request.path.startswith("/admin/replies"):
        return TO_REPLIES
    if request.path.startswith("/admin/widget"):
        return TO_WIDGET
    if request.path.startswith("/admin/payments"):
        return TO_PAYMENTS
    if request.path.startswith("/admin/disputes"):
        return TO_DISPUTES
    if request.path.startswith("/admin/books"):
        return TO_ADJUSTMENTS if request.path.startswith("/admin/books/adjustments") else TO_BOOKS
    if request.path.startswith("/admin/invoices"):
        return TO_INVOICES
    if request.path.startswith("/admin/fees"):
        return TO_FEES
    if request.path.startswith("/admin/people"):
        return TO_PEOPLE
    if request.path.startswith("/admin/corrections"):
        return TO_CORRECTIONS
    if request.path.startswith("/admin/turns"):
        return TO_TURNS
    if request.path.startswith("/admin/analytics"):
        return TO_ANALYTICS
    if request.method == hdrs.METH_POST and "id" in request.match_info:
        return (f"/admin/conversations/{request.match_info['id']}", "Go back to the conversation")
    return TO_LIST


def _now() -> datetime:
    return datetime.now(UTC)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, whichever handler or error made it."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
