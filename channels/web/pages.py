"""The pages people see without signing in: the landing page, the chat page, and the widget for other sites."""

import gzip
import hashlib
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template

from aiohttp import ETag, hdrs, web

from channels.web.origins import HOST, Origins, own_address
from core import sites
from core.colours import palette
from core.db import Database
from core.errors import StoreUnavailable, UserError
from core.settings import Settings

FILES = Path(__file__).parent / "widget"
CACHE = "public, max-age=300, must-revalidate"
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file, read once: as it is, zipped, and its ETag."""

    plain: bytes
    zipped: bytes
    etag: str
    content_type: str

    @classmethod
    def read(cls, name: str, content_type: str) -> "Asset":
        """One of the files beside the widget."""
        plain = (FILES / name).read_bytes()
        return cls(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:20], content_type)


class Pages:
    """Landing page, chat page, widget script and what they need."""

    def __init__(self, settings: Settings, origins: Origins, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._origins = origins
        self._widget = Asset.read("widget.js", "text/javascript")
        self._style = Asset.read("pages.css", "text/css")
        self._icon = Asset.read("icon.svg", "image/svg+xml")
        self._rooms_script = Asset.read("rooms.js", "text/javascript")
        self._rooms = (FILES / "rooms.html").read_text()
        self._chat = (FILES / "chat.html").read_text()
        self._landing = Template((FILES / "landing.html").read_text())

    def routes(self) -> list[web.RouteDef]:
        """Everything but the socket."""
        return [
            web.get("/", self._serve_landing),
            web.get("/chat", self._serve_chat),
            web.get("/rooms", self._serve_rooms),
            web.get("/rooms/{id}", self._serve_rooms),
            web.get("/rooms/join/{token}", self._serve_rooms),
            web.get("/rooms.js", self._serve_rooms_script),
            web.get("/widget.js", self._serve_widget),
            web.get("/widget/{site}.json", self._serve_look),
            web.get("/pages.css", self._serve_style),
            web.get("/favicon.svg", self._serve_icon),
            web.get("/favicon.ico", self._serve_icon),
        ]

    async def _serve_landing(self, request: web.Request) -> web.Response:
        base = own_address(self._settings, request.scheme, request.host)
        snippet = f'<script src="{base}/widget.js" async></script>'
        sandbox = '<a href="/sandbox">Simulated phone</a>' if self._settings.sandbox_url else ""
        return self._page(request, self._landing.substitute(snippet=escape(snippet), sandbox=sandbox))

    async def _serve_chat(self, request: web.Request) -> web.Response:
        return self._page(request, self._chat)

    async def _serve_rooms(self, request: web.Request) -> web.Response:
        return self._page(request, self._rooms)

    async def _serve_rooms_script(self, request: web.Request) -> web.Response:
        return self._asset(request, self._rooms_script)

    async def _serve_widget(self, request: web.Request) -> web.Response:
        response = self._asset(request, self._widget)
        # A classic script needs neither header; pages that isolate themselves, or ask with crossorigin, do.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if self._origins.allows(request.headers.getall(hdrs.ORIGIN, ()), request.scheme, request.host):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.VARY] = "Accept-Encoding, Origin"
        return response

    async def _serve_look(self, request: web.Request) -> web.Response:
        """How the widget looks on a site: for our own pages, and for those that may embed it.

        `colour` in the query is looked at in the site's place; a palette for it comes back.
        """
        headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.VARY: "Origin", "Cross-Origin-Resource-Policy": "cross-origin"}
        try:
            site = await sites.find_site(self._db, request.match_info["site"])
        except StoreUnavailable as away:
            return web.json_response({"error": str(away)}, status=503, headers=headers | {hdrs.RETRY_AFTER: "2"})
        if site is None:
            return web.json_response({"error": "There is no such site here."}, status=404, headers=headers)
        origins = request.headers.getall(hdrs.ORIGIN, ())
        if origins:
            listed = len(origins) == 1 and origins[0] in site.origins
            if not listed and not self._origins.allows(origins, request.scheme, request.host):
                return web.json_response({"error": "This page may not open this chat."}, status=403, headers=headers)
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origins[0]
        try:
            colours = palette(request.query.get("colour") or site.colour)
        except UserError as error:
            return web.json_response({"error": str(error)}, status=400, headers=headers)
        look = {"title": site.title, "position": site.position, "greeting": site.greeting, "colours": asdict(colours)}
        return web.json_response(look, headers=headers)

    async def _serve_style(self, request: web.Request) -> web.Response:
        return self._asset(request, self._style)

    async def _serve_icon(self, request: web.Request) -> web.Response:
        return self._asset(request, self._icon)

    @staticmethod
    def _page(request: web.Request, html: str) -> web.Response:
        # 'self' covers our own socket in current browsers; older ones want it spelled out.
        socket = f" ws://{request.host} wss://{request.host}" if HOST.fullmatch(request.host) else ""
        policy = (
            f"default-src 'self'; img-src 'self' blob:; connect-src 'self'{socket}; object-src 'none'; base-uri 'none';"
            " form-action 'none'; frame-ancestors 'none'"
        )
        headers = {**SECURITY, "Content-Security-Policy": policy, hdrs.CACHE_CONTROL: "no-cache"}
        return web.Response(text=html, content_type="text/html", headers=headers)

    @staticmethod
    def _asset(request: web.Request, asset: Asset) -> web.Response:
        headers = {
            hdrs.ETAG: f'W/"{asset.etag}"',
            hdrs.CACHE_CONTROL: CACHE,
            hdrs.VARY: "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        known = request.if_none_match or ()
        if any(tag in (ETag(asset.etag, is_weak=True), ETag("*")) for tag in known):
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            return web.Response(body=asset.zipped, content_type=asset.content_type, charset="utf-8", headers=headers)
        return web.Response(body=asset.plain, content_type=asset.content_type, charset="utf-8", headers=headers)
