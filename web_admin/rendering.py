"""Templates and static files: read once, escaped always, named by their contents so that browsers may keep them."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import ETag, hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.files import Files, file_id
from web_admin import words
from web_admin.sections import SECTIONS

HERE = Path(__file__).parent
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
KEPT = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"
VERSION_CHARS = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent: plain, zipped, its type, and a version made of its contents."""

    plain: bytes
    zipped: bytes
    content_type: str
    version: str

    @classmethod
    def of(cls, plain: bytes, suffix: str) -> "StaticFile":
        """Contents as a file with this suffix is sent."""
        version = hashlib.sha256(plain).hexdigest()[:VERSION_CHARS]
        return cls(plain, gzip.compress(plain, 9, mtime=0), CONTENT_TYPES[suffix], version)


def read_static() -> dict[str, StaticFile]:
    """Every file under static/, by its path there."""
    files = {}
    for path in sorted((HERE / "static").rglob("*")):
        if path.suffix in CONTENT_TYPES:
            name = path.relative_to(HERE / "static").as_posix()
            files[name] = StaticFile.of(path.read_bytes(), path.suffix)
    return files


def static_response(request: web.Request, file: StaticFile) -> web.Response:
    """A static file; kept for good where the address names this very version."""
    headers = {
        hdrs.CACHE_CONTROL: KEPT if request.query.get("v") == file.version else ASKED_AGAIN,
        hdrs.ETAG: f'W/"{file.version}"',
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    if any(tag in (ETag(file.version, is_weak=True), ETag("*")) for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = file.plain
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        headers[hdrs.CONTENT_ENCODING], body = "gzip", file.zipped
    return web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=headers)


def page(body: Markup, status: int = 200) -> web.Response:
    """A page as it is sent."""
    return web.Response(text=str(body), content_type="text/html", charset="utf-8", status=status)


class Templates:
    """The admin's templates, in one deployment's zone."""

    def __init__(
        self, static: Mapping[str, StaticFile], zone: ZoneInfo, clock: Callable[[], datetime], files: Files
    ) -> None:
        """`clock` says what "today" is; `files` make the links to what people sent."""

        def opened(ref: str) -> str | None:
            """Where a file is seen; the same within an hour, so that a page that is drawn again shows it unchanged."""
            wanted = file_id(ref)
            hour = clock().replace(minute=0, second=0, microsecond=0)
            return files.link(wanted, hour) if wanted else None

        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "number": words.number,
            "size": words.size,
            "opened": opened,
            "missing": words.missing,
            "shown_as": words.shown_as,
            "channel": words.channel,
            "who": words.who,
            "linked_identity": words.linked_identity,
            "person": lambda row: words.known_as(row.name, [(row.channel, row.identity)] if row.identity else []),
            "last_state": words.last_state,
            "held": lambda row: words.held(row.mode, row.holder),
            "turn_state": lambda row: words.turn_state(row.state, row.meanings),
            "answered": words.answered,
            "taken_for": words.taken_for,
            "how_sure": words.how_sure,
            "read_by": words.read_by,
            "delivery": lambda turn: words.delivery(
                turn.outbox_state, turn.provider_status, done=turn.sent_at is not None
            ),
            "answering": words.answering,
            "action": lambda name: name.replace("_", " "),
            "lasted": words.lasted,
            "second": lambda moment: words.second(moment, zone, clock()),
            "when": lambda moment: words.when(moment, zone, clock()),
        }
        self._environment.globals |= {
            "static": lambda name: f"/admin/static/{name}?v={static[name].version}",
            "link": link,
            "sections": SECTIONS,
            "stream": None,
            "zone": words.zone_name(zone),
        }

    def render(self, name: str, **values: Any) -> Markup:
        """Render a template; every value is escaped unless it is Markup already."""
        return Markup(self._environment.get_template(name).render(values))  # noqa: S704  autoescape is on


def link(path: str, params: Mapping[str, str], **more: object) -> str:
    """An address of ours with its query, if any."""
    query = urlencode({**params, **{name: str(value) for name, value in more.items()}})
    return f"{path}?{query}" if query else path
