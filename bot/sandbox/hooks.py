"""Webhooks from the simulators to the application: loopback only, one pooled client, Twilio's and Telegram's limits."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
CONNECTIONS_MAX = 16
ANSWER_BYTES_MAX = 64 * 1024


class Unreachable(Exception):
    """Nobody took the connection, or it broke before an answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the application answered to a webhook."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Hooks:
    """Posts to the application; `app_url` is where it listens, `public_url` the address it believes in."""

    def __init__(self, app_url: str, public_url: str = "") -> None:
        self._session: aiohttp.ClientSession | None = None
        self.app_url = self.public_url = ""
        self.aim(app_url, public_url)

    def aim(self, app_url: str, public_url: str = "") -> None:
        """Send inbound webhooks there from now on; ValueError when that is not a loopback address."""
        app_url = app_url.rstrip("/")
        if not is_loopback(app_url):
            raise ValueError(f"{app_url!r} is not an http address on this machine, such as http://127.0.0.1:8080.")
        self.app_url, self.public_url = app_url, (public_url or app_url).rstrip("/")

    def signed_url(self, path: str) -> str:
        """The address of one of the application's webhooks as a provider would know it."""
        return self.public_url + path

    def target(self, url: str) -> str | None:
        """Where to connect for this URL (the public address means the application), or None: not on this machine."""
        url = url.split("#", 1)[0]
        if url == self.public_url or url.startswith((self.public_url + "/", self.public_url + "?")):
            return self.app_url + url[len(self.public_url) :]
        return url if is_loopback(url) else None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post once; raises Unreachable when no answer came."""
        return await self._ask("POST", url, body, headers)

    async def get(self, url: str) -> Reply:
        """Get once; raises Unreachable when no answer came."""
        return await self._ask("GET", url, None, {})

    async def fetch(self, url: str, bytes_max: int) -> Reply:
        """Get once, with at most `bytes_max` of the body; raises Unreachable when no answer came."""
        return await self._ask("GET", url, None, {}, bytes_max)

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Reply:
        target = self.target(url)
        if target is None:
            raise Unreachable("The simulators only speak to this machine.")
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                trust_env=False,
            )
        try:
            async with self._session.request(
                method, target, data=body, headers=headers, allow_redirects=False
            ) as response:
                read = bytearray()
                while len(read) < bytes_max and (chunk := await response.content.read(bytes_max - len(read))):
                    read += chunk
                return Reply(response.status, response.headers, bytes(read))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(type(error).__name__) from error

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()


def is_loopback(url: str) -> bool:
    """Whether this is a plain http address on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme != "http":
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
