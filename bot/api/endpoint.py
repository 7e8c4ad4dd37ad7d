"""What every endpoint of the JSON API shares: who calls, how often, what they may send, and how it is refused.

Whoever calls is known by the visitor token in the Authorization header, and so is the site whose rooms they see. It is
never a cookie, so no other site's page can make a browser call us.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.wiring import Services
from channels.web.frames import AWAY, SEQ_MAX, BadFrame
from core.db import is_away
from core.errors import InvalidSlot, LimitReached, StoreUnavailable, UserError
from core.language import Saying
from core.limits import API, API_ANONYMOUS, Limit, Whose, refusal
from core.rooms import NoSuchInvitation, NoSuchMember, NoSuchRoom, NotOwner, Place
from core.sites import DEFAULT, find_site
from core.visitors import find_visitor
from web_admin.auth import address_of

log = structlog.get_logger()

BODY_BYTES_MAX = 256 * 1024
RETRY_S = 2
UTC_ZONE = ZoneInfo("UTC")
FRAME_STATUS = {"room": 404, "message": 404, "not_yours": 403, "muted": 403, "too_late": 409}
"""How what the socket refuses is refused here; 422 for the rest."""
SECURITY = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Model = TypeVar("Model", bound=BaseModel)


class Given(BaseModel):
    """What a caller sends: exact about types, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Asked(BaseModel):
    """What a caller asks for in the address; the values are texts there."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Told(BaseModel):
    """What a caller is told."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Refusal(Told):
    """Why something was refused: `code` is for programs, `message` for people; `retry_s` is when to try again."""

    code: str
    message: str
    retry_s: float | None = None


SIGNED_IN = Saying(
    "The rooms of this site are for people who are signed in there.",
    "Vyumba vya tovuti hii ni vya watu walioingia kwenye tovuti hiyo.",
)
NO_MESSAGE = Saying("There is no such message in this room.", "Hakuna ujumbe kama huo kwenye chumba hiki.")


class Refused(Told):
    """The one shape of every error."""

    error: Refusal


class Refuse(UserError):
    """Refused with this HTTP status."""

    def __init__(self, status: int, code: str, says: Saying | str, *, retry_s: float | None = None) -> None:
        super().__init__(says)
        self.status = status
        self.code = code
        self.retry_s = retry_s


@dataclass(frozen=True, slots=True)
class Call:
    """One request by a visitor whose token is good."""

    services: Services
    place: Place
    now: datetime
    request: web.Request
    body: Any
    query: Any

    @property
    def room_id(self) -> UUID:
        """The room the address names; raises NoSuchRoom for what is no id."""
        return _uuid(self.request.match_info["id"], NoSuchRoom())

    @property
    def member_id(self) -> UUID:
        """The member the address names; raises NoSuchMember for what is no id."""
        return _uuid(self.request.match_info["member"], NoSuchMember())

    @property
    def seq(self) -> int:
        """The message the address names; raises Refuse for what is no number."""
        given = self.request.match_info["msg_id"]
        if not given.isascii() or not given.isdecimal() or not 0 < int(given[:20]) <= SEQ_MAX:
            raise no_message()
        return int(given)


Answer = tuple[int, BaseModel | None] | web.StreamResponse
"""A status and what is told; or an answer that was streamed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: what it takes, what it tells, and who does it."""

    method: str
    path: str
    summary: str
    handler: Callable[[Call], Awaitable[Answer]]
    told: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200

    @property
    def name(self) -> str:
        """What its requests are counted under."""
        return f"{self.method} {self.path}"


def no_message() -> Refuse:
    """There is no such message in the room."""
    return Refuse(404, "message", NO_MESSAGE)


def serve(services: Services, endpoint: Endpoint) -> Handler:
    """The endpoint as aiohttp wants it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = await _answer(request)
        if not answer.prepared and hdrs.ORIGIN in request.headers:
            answer.headers.update(await services.web.cors(request))
        return answer

    async def _answer(request: web.Request) -> web.StreamResponse:
        try:
            now = datetime.now(UTC)
            place = await _caller(services, endpoint, request, now)
            query = _query(request, endpoint.query)
            body = await _body(request, endpoint.body) if endpoint.body else None
            answer = await endpoint.handler(Call(services, place, now, request, body, query))
        except web.HTTPException:
            raise
        except Exception as error:
            return refused(_refusal(error), request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
        if isinstance(answer, web.StreamResponse):
            return answer
        status, told = answer
        if told is None:
            return web.Response(status=status, headers=SECURITY)
        return web.Response(
            status=status, body=told.model_dump_json(by_alias=True).encode(), content_type="application/json",
            headers=SECURITY,
        )  # fmt: skip

    return handle


def refused(refuse: Refuse, language: str = "en") -> web.Response:
    """The answer that tells why, to somebody of this language."""
    headers = dict(SECURITY)
    if refuse.retry_s is not None:
        headers[hdrs.RETRY_AFTER] = str(max(1, round(refuse.retry_s)))
    if refuse.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    said = Refused(error=Refusal(code=refuse.code, message=refuse.to(language), retry_s=refuse.retry_s))
    return web.Response(
        status=refuse.status, body=said.model_dump_json().encode(), content_type="application/json", headers=headers
    )


async def _caller(services: Services, endpoint: Endpoint, request: web.Request, now: datetime) -> Place:
    """Whose token the request carries; raises Refuse for nobody's, and for whoever calls too often.

    The visitors of a site other than our own pages' have rooms once the site has proved who they are.
    """
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    visitor = None
    if scheme.lower() == "bearer" and token:
        visitor = await find_visitor(services.db, token.strip(), None)
    if visitor is not None and visitor.site != DEFAULT and await find_site(services.db, visitor.site) is None:
        visitor = None
    if visitor is None:
        await _take(services, API_ANONYMOUS, f"{endpoint.name}:{address_of(request)}", now)
        raise Refuse(401, "token", "Send the visitor token of your chat: Authorization: Bearer …")
    await _take(services, API, f"{endpoint.name}:{hashlib.sha256(visitor.id.bytes).hexdigest()[:32]}", now)
    if visitor.site != DEFAULT and visitor.user_id is None:
        raise Refuse(403, "signed_in", SIGNED_IN)
    return Place(visitor.site, visitor.id)


async def _take(services: Services, limit: Limit, whose: str, now: datetime) -> None:
    verdict = await services.limits.take([limit], Whose(whose, UTC_ZONE), now)
    if not verdict.passed:
        wait_s = max(1, int((verdict.resets_at - now).total_seconds()) + 1)
        raise Refuse(429, "rate", refusal(verdict, now, UTC_ZONE).says, retry_s=wait_s)


def _query(request: web.Request, model: type[BaseModel] | None) -> BaseModel | None:
    if model is None:
        return None
    given = dict(request.query)
    if len(given) != len(request.query):
        raise Refuse(400, "bad_query", "A parameter of the address is there twice.")
    return _parsed(model, given, "bad_query")


async def _body(request: web.Request, model: type[BaseModel]) -> BaseModel:
    if request.content_type != "application/json":
        raise Refuse(415, "content_type", "Send JSON: Content-Type: application/json.")
    if request.content_length is not None and request.content_length > BODY_BYTES_MAX:
        raise Refuse(413, "too_long", f"The body may have at most {BODY_BYTES_MAX // 1024} KiB.")
    raw = await request.read()
    if len(raw) > BODY_BYTES_MAX:
        raise Refuse(413, "too_long", f"The body may have at most {BODY_BYTES_MAX // 1024} KiB.")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refuse(400, "bad_json", "The body is not valid JSON.") from error
    return _parsed(model, value, "bad_body")


def _parsed(model: type[Model], value: object, code: str) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Refuse(422, code, f"{where}: {first['msg']}." if where else f"{first['msg']}.") from error


def _refusal(error: Exception) -> Refuse:
    """How an error of ours is told; raises what is none."""
    match error:
        case Refuse():
            return error
        case NoSuchRoom():
            return Refuse(404, "room", error.says)
        case NoSuchMember():
            return Refuse(404, "member", error.says)
        case NoSuchInvitation():
            return Refuse(404, "invitation", error.says)
        case NotOwner():
            return Refuse(403, "not_owner", error.says)
        case InvalidSlot():
            return Refuse(422, "bad_body", error.says)
        case LimitReached():
            return Refuse(409, "limit", error.says)
        case BadFrame():
            return Refuse(FRAME_STATUS.get(error.code, 422), error.code, error.says, retry_s=error.retry_s)
        case StoreUnavailable():
            return Refuse(503, "unavailable", AWAY, retry_s=RETRY_S)
        case UserError():
            return Refuse(422, "refused", error.says)
        case _ if is_away(error):
            log.warning("api.store_away", error=type(error).__name__)
            return Refuse(503, "unavailable", AWAY, retry_s=RETRY_S)
        case _:
            raise error


def _uuid(text: str, otherwise: UserError) -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        raise otherwise from None
    if str(found) != text:
        raise otherwise
    return found
