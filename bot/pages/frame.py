"""What is around a page: its head and look, its headers, who may come how often, and how it says that it cannot."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import structlog
from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.db import is_away
from core.errors import StoreUnavailable, UserError
from core.language import Language, Saying, spoken
from core.limits import Limit, Limits, Whose, refusal
from core.settings import Settings
from web_admin.auth import address_of, is_ours
from web_admin.rendering import StaticFile, static_response

log = structlog.get_logger()

HERE = Path(__file__).parent
TOKENS = HERE.parent.parent / "web_admin" / "static" / "tokens.css"
"""The custom properties that all our pages share."""
AGAIN_S = 5
"""When to come again while PostgreSQL is away."""
LANGUAGES_MAX = 20
"""Entries of an Accept-Language header that are looked at."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
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
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Served(Protocol):
    """What a page needs of the process's services."""

    @property
    def settings(self) -> Settings: ...
    @property
    def limits(self) -> Limits: ...


@dataclass(frozen=True, slots=True)
class Says:
    """A page's words: those of its templates by name, and what it says when it is limited, away, or not asked by us."""

    texts: Mapping[str, Saying]
    try_later: Saying
    away: Saying
    not_ours: Saying
    languages: Sequence[tuple[Language, str]] = ()
    """Those that can be chosen on the page, by their own names; "language" of `texts` says what that is."""


class Refused(Exception):
    """The request ends with a page that says this, in the browser's language unless another is known."""

    def __init__(
        self, status: int, title: Saying, text: Saying, *, retry_s: int | None = None, language: str | None = None
    ) -> None:
        super().__init__()
        self.status, self.title, self.text, self.retry_s, self.language = status, title, text, retry_s, language


class Frame:
    """The frame of one of the pages."""

    def __init__(self, served: Served, here: Path, says: Says, headers: Mapping[str, str] = HEADERS) -> None:
        """Reads the page's templates, and its style if it has one of its own, from its folder `here`, once."""
        self.headers = headers
        self.sandbox = served.settings.is_sandbox(served.settings.intasend_base_url)
        self._base_url, self._limits, self._says = served.settings.base_url, served.limits, says
        self._zone = ZoneInfo(served.settings.default_timezone)
        styles = (TOKENS, HERE / "pages.css", *sorted(here.glob("*.css")))
        self._style = StaticFile.of(b"".join(path.read_bytes() for path in styles), ".css")
        self._style_at = f"/{here.name}.css"
        self._environment = Environment(
            loader=FileSystemLoader((here, HERE)), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip

    def style(self) -> web.RouteDef:
        """Where a browser finds how the page looks."""

        async def get(request: web.Request) -> web.Response:
            return static_response(request, self._style)

        return web.get(self._style_at, get)

    def answered(self, handler: Handler) -> Handler:
        """A handler whose refusals, and PostgreSQL's absence, are pages too."""

        async def answer(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except Refused as refused:
                return self.refusal(request, refused)
            except Exception as error:
                if isinstance(error, StoreUnavailable) or is_away(error):
                    away = Refused(503, self._says.try_later, self._says.away, retry_s=AGAIN_S)
                    return self.refusal(request, away)
                raise

        return answer

    def check_ours(self, request: web.Request) -> None:
        """Raises Refused for a form that another site sends."""
        if not is_ours(request, self._base_url):
            raise Refused(403, self._says.try_later, self._says.not_ours)

    async def count(
        self, request: web.Request, limits: Sequence[Limit], whose: str | None = None, call: str | None = None
    ) -> None:
        """Count it for `whose`, by default the browser's address; a `call` once. Raises Refused beyond the limits."""
        now = datetime.now(UTC)
        named = f"page:{limits[0].name}:{call}" if call else None
        verdict = await self._limits.take(limits, Whose(whose or address_of(request), self._zone), now, call=named)
        if not verdict.passed:
            log.warning("page.limited", limit=verdict.limit.name)
            retry_s = max(1, int((verdict.resets_at - now).total_seconds()))
            text = saying_of(refusal(verdict, now, self._zone))
            raise Refused(429, self._says.try_later, text, retry_s=retry_s)

    def page(self, template: str, language: Language, status: int = 200, **values: Any) -> web.Response:
        """A page as it is sent; templates have `t`, the page's texts, and `say`, which fills one in."""

        def say(text: Saying | str, **filled: Saying | str) -> str:
            saying = self._says.texts[text] if isinstance(text, str) else text
            return saying.filled(**filled).to(language) if filled else saying.to(language)

        html = self._environment.get_template(template).render(
            {
                "language": language,
                "languages": self._says.languages,
                "t": {name: text.to(language) for name, text in self._says.texts.items()},
                "say": say,
                "sandbox": self.sandbox,
                "style": f"{self._style_at}?v={self._style.version}",
            }
            | values
        )
        return web.Response(text=html, status=status, content_type="text/html", headers=self.headers)

    def refusal(self, request: web.Request, refused: Refused) -> web.Response:
        """The page that a refused request ends with."""
        language = spoken(refused.language) if refused.language else language_of(request)
        title, text = refused.title.to(language), refused.text.to(language)
        response = self.page("refused.html", language, refused.status, title=title, text=text)
        if refused.retry_s:
            response.headers[hdrs.RETRY_AFTER] = str(refused.retry_s)
        return response


def saying_of(error: UserError) -> Saying:
    """What an error says, in both languages."""
    return error.says if isinstance(error.says, Saying) else Saying(error.says, error.says)


def language_of(request: web.Request, otherwise: str = "en") -> Language:
    """As chosen in the address, else the browser's, else another."""
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
    return spoken(best[0] or otherwise)
