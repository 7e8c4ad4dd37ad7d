"""The JSON API: one file a noun; `endpoint` is what they share, `openapi` describes them all from their types."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from bot.api import invitations, invoices, messages, openapi, rooms, wallet
from bot.api.endpoint import Endpoint, serve
from bot.wiring import Services

ENDPOINTS: tuple[Endpoint, ...] = (
    *rooms.ENDPOINTS, *messages.ENDPOINTS, *invitations.ENDPOINTS, *wallet.ENDPOINTS, *invoices.ENDPOINTS,
)  # fmt: skip


def routes(services: Services) -> list[web.RouteDef]:
    """Every endpoint, and their description."""
    return [
        *(web.route(one.method, one.path, serve(services, one)) for one in ENDPOINTS),
        *(web.options(path, _preflight(services)) for path in dict.fromkeys(one.path for one in ENDPOINTS)),
        *openapi.routes(ENDPOINTS),
    ]


def _preflight(services: Services) -> Handler:
    """Lets the pages that embed a site's chat call us with its token."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = await services.web.cors(request) | {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PUT, PATCH, DELETE",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type",
            hdrs.ACCESS_CONTROL_MAX_AGE: "600",
        }
        return web.Response(status=204, headers=headers)

    return handle
