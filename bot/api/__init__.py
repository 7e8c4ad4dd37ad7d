"""The JSON API: one file a noun; `endpoint` is what they share, `openapi` describes them all from their types."""

from aiohttp import web

from bot.api import invitations, messages, openapi, rooms
from bot.api.endpoint import Endpoint, serve
from bot.wiring import Services

ENDPOINTS: tuple[Endpoint, ...] = (*rooms.ENDPOINTS, *messages.ENDPOINTS, *invitations.ENDPOINTS)


def routes(services: Services) -> list[web.RouteDef]:
    """Every endpoint, and their description."""
    return [
        *(web.route(one.method, one.path, serve(services, one)) for one in ENDPOINTS),
        *openapi.routes(ENDPOINTS),
    ]
