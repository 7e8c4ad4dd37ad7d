"""The account page: a PIN is set there, and large payments and higher limits are let through by it.

A link from the private chat opens it once; the browser that opened it has it for a quarter of an hour. It works without
scripts. What is confirmed is the confirmation that the chat was shown, word for word, and it is done as the chat would
do it. Whatever happens here is said in the person's chats.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from aiohttp import hdrs, web

from bot import pages
from bot.account import words
from bot.pages import HEADERS, Frame, Refused, Says, language_of, saying_of
from core import account_links, audit, confirm, people, renumber
from core import pin as pins
from core.account_links import Visit
from core.actions import ActionContext, Person
from core.catalog import Catalog
from core.db import Database, driver
from core.errors import Erased, UserError
from core.language import Saying, moment, spoken
from core.limits import PAY_VIEWS
from core.names import names_of
from core.notices import tell
from core.pin import Stands, Tried
from core.providers import Providers
from core.receipts import once
from ledger.money import BadAmount, Money
from ledger.spending_limits import CURRENCY, Per, SpendingLimits, limits_of, set_limit
from web_admin.forms import words as fields_of

log = structlog.get_logger()

HERE = Path(__file__).parent
COOKIE = "mathia_account"
SECURE_COOKIE = "__Secure-mathia_account"
KIND = "account"
CHATS_MAX = 10
"""A person's chats that are told of something."""
SAYS: Final = Says(words.TEXTS, words.TRY_LATER, words.AWAY, words.NOT_OURS)
OVER: Final = (404, words.OVER, words.OVER_LONG)
CHATS = """
SELECT c.id FROM identity i
CROSS JOIN LATERAL (SELECT id FROM conversation c
                    WHERE (c.channel, c.account, c.room) = (i.channel, i.account, i.provider_id) OFFSET 0) c
WHERE i.person_id = $1 AND i.channel <> 'email' ORDER BY c.id LIMIT $2
"""


class Served(pages.Served, Protocol):
    """What the page needs of the process's services."""

    @property
    def db(self) -> Database: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def providers(self) -> Providers: ...


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands above the forms."""

    text: Saying
    tone: str


Act = Callable[[Visit, dict[str, str], datetime], Awaitable[Panel]]


def routes(services: Served) -> list[web.RouteDef]:
    """The page, how it looks, and what its forms are sent to."""
    page = AccountPage(services)
    answered = page.frame.answered
    return [
        page.frame.style(),
        web.get("/account", answered(page.get_page)),
        web.get("/account/{token}", answered(page.get_link)),
        web.post("/account/open", answered(page.post_open)),
        web.post("/account/leave", answered(page.post_leave)),
        *(web.post(f"/account/{name}", answered(page.act(act))) for name, act in page.acts.items()),
    ]


class AccountPage:
    """The account page of one deployment."""

    def __init__(self, services: Served) -> None:
        """Reads the page's own files once."""
        self._served = services
        self._settings, self._db = services.settings, services.db
        self._zone = ZoneInfo(services.settings.default_timezone)
        self._secure = services.settings.base_url.startswith("https://")
        self._cookie = SECURE_COOKIE if self._secure else COOKIE
        self.frame = Frame(services, HERE, SAYS)
        self.acts: dict[str, Act] = {
            "pin": self._set_pin, "confirm": self._confirm, "cancel": self._cancel, "limits": self._set_limit,
            "forgot": self._forget, "keep": self._keep,
        }  # fmt: skip

    async def get_link(self, request: web.Request) -> web.Response:
        """A page with a button: previews of links in chats only GET, so they use nothing up."""
        await self.frame.count(request, [PAY_VIEWS])
        token = request.match_info["token"]
        async with self._db.hot() as connection:
            good = await account_links.is_good(connection, token, datetime.now(UTC))
        if not good:
            raise Refused(*OVER)
        return self.frame.page("open.html", language_of(request), token=token)

    async def post_open(self, request: web.Request) -> web.Response:
        """Open the link, once; the browser then has the page."""
        await self._check(request)
        token = (await fields_of(request)).get("token", "")
        async with self._db.hot() as connection:
            session = await account_links.opened(connection, token, datetime.now(UTC))
        if session is None:
            raise Refused(*OVER)
        response = web.Response(status=303, headers=HEADERS | {hdrs.LOCATION: "/account"})
        response.set_cookie(
            self._cookie, session, max_age=int(account_links.LIFE.total_seconds()), httponly=True, samesite="Strict",
            secure=self._secure, path="/account",
        )  # fmt: skip
        return response

    async def get_page(self, request: web.Request) -> web.Response:
        """The account."""
        await self.frame.count(request, [PAY_VIEWS])
        return await self._page(await self._visit(request), None)

    async def post_leave(self, request: web.Request) -> web.Response:
        """Close the page."""
        await self._check(request)
        session = request.cookies.get(self._cookie, "")
        async with self._db.hot() as connection:
            visit = await account_links.visit(connection, session, datetime.now(UTC))
            await account_links.end(connection, session)
        left = Refused(200, words.OVER, words.LEFT, language=visit.language if visit is not None else None)
        response = self.frame.refusal(request, left)
        response.del_cookie(self._cookie, path="/account", httponly=True, samesite="Strict", secure=self._secure)
        return response

    def act(self, act: Act) -> Callable[[web.Request], Awaitable[web.Response]]:
        """What one of the forms does, and the page that says what came of it."""

        async def post(request: web.Request) -> web.Response:
            await self._check(request)
            visit = await self._visit(request)
            try:
                panel = await act(visit, await fields_of(request), datetime.now(UTC))
            except UserError as problem:
                panel = Panel(saying_of(problem), "red")
            except Erased:
                raise Refused(*OVER, language=visit.language) from None
            return await self._page(visit, panel)

        return post

    # What the forms do. Each raises UserError, with nothing done.

    async def _set_pin(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        new, again = fields.get("new", ""), fields.get("again", "")
        if pins.SHAPE.fullmatch(new) is None:
            raise UserError(words.SIX)
        if new != again:
            raise UserError(words.DIFFERENT)
        if pins.is_trivial(new, visit.address.phone):
            raise UserError(words.TRIVIAL)
        async with self._db.hot() as connection:
            knows_old = (await pins.stands(connection, visit.person_id, now)).is_set
        if knows_old:
            await self._try(visit, fields.get("old", ""), now)
        if not await pins.choose(self._db, visit.person_id, new, now, knows_old=knows_old):
            raise UserError(words.NOT_NOW)
        await self._tell(visit, words.TOLD_SAVED, "pin.set", now)
        return Panel(words.SAVED, "green")

    async def _confirm(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        waiting = await self._waiting(visit, fields, now)
        await self._try(visit, fields.get("pin", ""), now)
        async with self._db.hot() as connection:
            name = (await names_of(connection)).open(visit.name)
        person = Person(
            visit.person_id, name, visit.language, visit.timezone, visit.plan, visit.language_chosen
        )  # fmt: skip
        action = self._served.catalog[waiting.action]
        key = f"page:{waiting.id}"
        offered = self._served.catalog.names
        context = ActionContext(
            person, visit.conversation_id, self._db, self._served.providers, self._settings, datetime.now(UTC), key,
            visit.address, self._served.limits, confirmed=waiting.id, offered=offered,
        )  # fmt: skip
        try:
            await renumber.check(self._db.pool, action, person, visit.address, key, offered=offered)
            result = await once(action, action.confirmed_params.model_validate_json(waiting.params), context)
            said, tone = Saying(result.text, result.text), "green"
        except UserError as problem:
            said, tone = saying_of(problem), "red"
        async with self._db.hot() as connection:
            if tone == "red":
                await confirm.end(connection, waiting.id)
            await tell(connection, visit.conversation_id, visit.language, said, "payment", key)
        return Panel(said, tone)

    async def _cancel(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        waiting = await self._waiting(visit, fields, now)
        async with self._db.hot() as connection:
            await confirm.end(connection, waiting.id)
        return Panel(words.CANCELLED, "green")

    async def _set_limit(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        if fields.get("per") not in list(Per):
            raise UserError(words.WHICH)
        per = Per(fields["per"])
        try:
            at_most = Money.parse(
                fields.get("amount", ""), CURRENCY, language=visit.language, zone=visit.timezone or self._zone.key
            )
        except BadAmount as problem:
            raise UserError(problem.says) from problem
        await self._try(visit, fields.get("pin", ""), now)
        async with self._db.transaction() as session:
            owner = await people.hold(session, visit.person_id)
            limits = await limits_of(session, owner, self._settings)
            if at_most > limits.staff:
                raise UserError(words.BEYOND.filled(at_most=limits.staff.said()))
            await set_limit(session, owner, per, at_most)
        what = words.LIMIT_SET[per].filled(at_most=at_most.said())
        await self._tell(visit, words.TOLD_LIMIT.filled(what=what), "limit.set_with_pin", now)
        return Panel(what, "green")

    async def _forget(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        async with self._db.hot() as connection:
            due = await pins.forget(connection, visit.person_id, now)
        if due is None:
            raise UserError(words.ASKED_ALREADY)
        at = self._at(visit, due)
        await self._tell(visit, words.TOLD_RESET.filled(at=at), "pin.reset_asked", now)
        return Panel(words.RESET_ASKED.filled(at=at), "green")

    async def _keep(self, visit: Visit, fields: dict[str, str], now: datetime) -> Panel:
        async with self._db.hot() as connection:
            await pins.keep(connection, visit.person_id, now)
        return Panel(words.KEPT, "green")

    async def _try(self, visit: Visit, typed: str, now: datetime) -> None:
        """Raises UserError for anything but the person's PIN; whoever locked it is told in the chats, too."""
        tried = await pins.check(self._db, visit.person_id, typed, now)
        if tried is Tried.RIGHT:
            return
        if tried is Tried.NONE:
            raise UserError(words.NO_PIN)
        if tried is Tried.WRONG:
            raise UserError(words.WRONG)
        async with self._db.hot() as connection:
            locked = (await pins.stands(connection, visit.person_id, now)).locked_until
        at = self._at(visit, locked or now)
        if tried is Tried.NOW_LOCKED:
            log.warning("pin.locked", person_id=str(visit.person_id))
            await self._tell(visit, words.TOLD_LOCKED.filled(at=at), "pin.locked", now)
        raise UserError(words.LOCKED.filled(at=at))

    async def _waiting(self, visit: Visit, fields: dict[str, str], now: datetime) -> confirm.Waiting:
        """What the form is about, while it can be confirmed."""
        async with self._db.transaction() as session:
            waiting = await confirm.waits_for_pin(session, visit.identity_id, now)
        if waiting is None or str(waiting.id) != fields.get("id"):
            raise UserError(words.GONE)
        return waiting

    async def _tell(self, visit: Visit, says: Saying, verb: str, now: datetime) -> None:
        """Say in all chats of the person what happened, and keep that it did."""
        subject = f"person:{visit.person_id}"
        async with self._db.transaction() as session:
            connection = await driver(session)
            await audit.record(session, subject, verb, subject)
            for row in await connection.fetch(CHATS, visit.person_id, CHATS_MAX):
                room: UUID = row["id"]
                await tell(connection, room, visit.language, says, KIND, f"{verb}:{now.timestamp()}:{room}")

    # What is behind it.

    async def _visit(self, request: web.Request) -> Visit:
        async with self._db.hot() as connection:
            visit = await account_links.visit(connection, request.cookies.get(self._cookie, ""), datetime.now(UTC))
            # Whoever has the number now may be somebody else.
            frozen = visit is not None and await renumber.is_frozen(connection, visit.address)
        if visit is None or frozen:
            raise Refused(*OVER)
        return visit

    async def _check(self, request: web.Request) -> None:
        """Count a form. Raises Refused for one that is not ours, too."""
        await self.frame.count(request, [PAY_VIEWS])
        self.frame.check_ours(request)

    def _at(self, visit: Visit, at: datetime) -> Saying:
        zone = ZoneInfo(visit.timezone) if visit.timezone else self._zone
        return moment(at.astimezone(zone), datetime.now(zone).year)

    # What is shown.

    async def _page(self, visit: Visit, panel: Panel | None) -> web.Response:
        now = datetime.now(UTC)
        async with self._db.transaction() as session:
            waiting = await confirm.waits_for_pin(session, visit.identity_id, now)
            limits: SpendingLimits = await limits_of(session, visit.person_id, self._settings)
            stands: Stands = await pins.stands(await driver(session), visit.person_id, now)
        language = spoken(visit.language)
        reset_at = self._at(visit, stands.reset_at) if stands.reset_at is not None else None
        status = 422 if panel is not None and panel.tone == "red" else 200
        return self.frame.page(
            "account.html", language, status, panel=panel, waiting=waiting, limits=limits, pin=stands, reset_at=reset_at
        )
