"""The web process: channels, webhooks, the admin, health and metrics in one aiohttp application."""

import argparse
import asyncio
import ipaddress
from collections.abc import Mapping
from contextlib import AsyncExitStack
from secrets import token_hex

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot import account, api, pay, runners, webhooks
from bot.health import health
from bot.sandbox import phone
from bot.wiring import Services, services
from connectors.intasend.accounts import Accounts
from core.health import Health
from core.log import configure
from core.settings import Settings
from web_admin.app import make_admin

log = structlog.get_logger()

BODY_BYTES_MAX = 1024 * 1024
STOP_S = 2.0
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
"""On every answer; pages add their own Content-Security-Policy."""


def make_app(wired: Services) -> web.Application:
    """Everything that answers HTTP."""

    async def servers() -> Mapping[str, Health]:
        return await health(wired)

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(_request: web.Request) -> web.Response:
        found = await servers()
        ready = found["postgres"].ok
        body = {name: {"ok": one.ok, "detail": one.detail} for name, one in found.items()}
        return web.json_response({"ok": ready, **body}, status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if not _is_inside(request):
            raise web.HTTPNotFound
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=[_guard], client_max_size=BODY_BYTES_MAX)
    app.add_routes(wired.web.routes())
    app.add_routes(api.routes(wired))
    app.add_routes(webhooks.routes(wired))
    app.add_routes(account.routes(wired))
    app.add_routes(pay.routes(wired))
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    actions = [action.name for action in wired.catalog.offered]
    app.add_subapp("/admin", make_admin(
        wired.db, wired.settings, servers, wired.limits, wired.files, actions,
        check_keys=Accounts(wired.providers, wired.settings).check,
    ))  # fmt: skip
    if wired.settings.sandbox_url:
        phone.mount(app, wired.settings.sandbox_url)
    app.on_response_prepare.append(_add_headers)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A bug answers with a reference that is in the log, and with nothing else."""
    try:
        return await handler(request)
    except (web.HTTPException, asyncio.CancelledError):
        raise
    except Exception as error:
        reference = token_hex(4)
        log.exception("web.failed", reference=reference, path=request.path, error=type(error).__name__)
        return web.json_response({"error": f"Something broke on our side. Reference {reference}."}, status=500)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _is_inside(request: web.Request) -> bool:
    """Whether the caller is on this machine or its private network, and did not come through a proxy."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers or request.remote is None:
        return False
    return ipaddress.ip_address(request.remote).is_private


async def run_web(
    wired: Services, *, with_runners: bool = True, share_port: bool = False, started: asyncio.Event | None = None
) -> None:
    """Serve until cancelled; sets `started` when the port answers. Raises OSError when the port is taken.

    With `share_port` others who say so too serve the same port, and the kernel gives each connection to one of them.
    """
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(make_app(wired), access_log=None, shutdown_timeout=STOP_S, handler_cancellation=False)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, wired.settings.host, wired.settings.port, backlog=1024, reuse_port=share_port).start()
        if started is not None:
            started.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(wired.web.run(), name="web.fanout")
            if wired.telegram is not None:
                group.create_task(wired.telegram.run(), name="telegram")
            if with_runners:
                group.create_task(runners.run(wired), name="runners")


async def main(args: argparse.Namespace) -> int:
    """`python3 -m bot web`: this process alone; the servers are given by the environment."""
    settings = Settings()
    configure(settings)
    with_runners = not args.no_runners
    async with services(settings, runners_elsewhere=not with_runners) as wired:
        log.info("web.ready", port=settings.port)
        await run_web(wired, with_runners=with_runners, share_port=args.share_port)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `web`."""
    parser.add_argument(
        "--no-runners", action="store_true", help="leave turns and deliveries to `python3 -m bot turns`"
    )
    parser.add_argument(
        "--share-port", action="store_true", help="let several web processes serve one port (SO_REUSEPORT)"
    )
