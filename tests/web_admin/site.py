"""The admin on a real port, and somebody's browser without pictures: cookies, forms and event streams over HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientResponse, ClientSession, CookieJar, web
from redis.asyncio import Redis

from connectors.intasend.accounts import Accounts
from core.db import Database
from core.files import Files
from core.health import Health
from core.limits import Limits
from core.providers import Providers
from core.settings import Settings
from core.storage import Storage
from web_admin.app import make_admin
from web_admin.auth import new_sign_in_link

TICK_S = 0.05
LIMIT_S = 10.0
WELL = {
    "postgres": Health(True, "answers"),
    "valkey": Health(True, "answers"),
    "temporal": Health(True, "answers"),
}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Event:
    """One event of a stream, read as the wire format says."""

    id: str
    name: str
    data: str


class Stream:
    """An open event stream."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream. Fails the test when neither comes."""
        lines: list[str] = []
        async with asyncio.timeout(LIMIT_S):
            while True:
                raw = await self.response.content.readline()
                if not raw:
                    return None
                # A bare CR ends a line too, for a browser.
                lines += raw.decode().removesuffix("\n").split("\r")
                if lines[-1]:
                    continue
                fields = [line.partition(":") for line in lines if line and not line.startswith(":")]
                lines = []
                values: dict[str, list[str]] = {}
                for name, _, value in fields:
                    values.setdefault(name, []).append(value.removeprefix(" "))
                if "data" in values:
                    return Event(
                        values.get("id", [""])[-1],
                        values.get("event", ["message"])[-1],
                        "\n".join(values["data"]),
                    )


@dataclass
class Browser:
    """Somebody's browser: cookies, and the headers that a page of ours sends with its forms."""

    url: str
    session: ClientSession
    form_headers: dict[str, str] = field(default_factory=lambda: {"Sec-Fetch-Site": "same-origin"})

    async def get(self, path: str, **headers: str) -> Answer:
        """Load a page; redirects are not followed."""
        async with self.session.get(f"{self.url}{path}", headers=headers, allow_redirects=False) as response:
            return Answer(response.status, response.headers.copy(), await response.text())

    async def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form, as one of our own pages would unless other headers are given."""
        sent = self.form_headers if headers is None else headers
        async with self.session.post(f"{self.url}{path}", data=fields, headers=sent, allow_redirects=False) as response:
            return Answer(response.status, response.headers.copy(), await response.text())

    async def csrf(self) -> str:
        """The form token that this session's pages carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.get("/admin/")).text)
        assert found
        return found[1]

    async def stream_of(self, path: str) -> str:
        """The address of the stream that a page connects to."""
        found = re.search(r'hx-sse:connect="([^"]+)"', (await self.get(path)).text)
        assert found
        return found[1].replace("&amp;", "&")

    @asynccontextmanager
    async def follow(self, path: str, **headers: str) -> AsyncIterator[Stream]:
        """Open a stream."""
        async with self.session.get(f"{self.url}{path}", headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield Stream(response)


@dataclass
class Site:
    """The admin of one deployment."""

    url: str
    db: Database
    health: dict[str, Health]
    app: web.Application

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[Browser]:
        """A browser that has never been here."""
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            yield Browser(self.url, session)

    @asynccontextmanager
    async def staff(self, name: str = "owner") -> AsyncIterator[Browser]:
        """A browser in which somebody has signed in."""
        async with self.stranger() as browser:
            token = (await new_sign_in_link(self.db, name)).partition("token=")[2]
            answer = await browser.post("/admin/sign-in", {"token": token})
            assert answer.status == 303, answer.text
            yield browser


@asynccontextmanager
async def running(db: Database, valkey_url: str, settings: Settings | None = None) -> AsyncIterator[Site]:
    """The admin on a free port, mounted as in the product."""
    health = dict(WELL)

    async def ask() -> Mapping[str, Health]:
        return health

    valkey = Redis.from_url(valkey_url)
    app = web.Application()
    settings = settings or Settings()
    limits, files = Limits(valkey, settings.plans), Files(db, Storage(settings))
    providers = Providers(settings, backoff_s=0.01)
    check_keys = Accounts(providers, settings).check
    admin = make_admin(db, settings, ask, limits, files, tick_s=TICK_S, check_keys=check_keys)
    app.add_subapp("/admin", admin)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield Site(f"http://{host}:{port}", db, health, admin)
    finally:
        await runner.cleanup()
        await providers.close()
        await valkey.aclose()
