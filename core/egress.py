"""The only way to an address that somebody else gave us: to the open internet, never into our own network.

A name is looked up once, every address it has must be a public one, and the connection goes to an address that was
looked at; a redirect is a new address and is looked at again. Providers whose addresses are settings of ours are asked
by core/providers.py.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from core.errors import ProviderRefused, ProviderTimeout, ProviderUnavailable
from core.settings import Settings

URL_CHARS_MAX = 2_048
REDIRECTS_MAX = 3
CONNECT_S = 5.0
SILENCE_S = 10.0
TOTAL_S = 60.0
SAID_BYTES_MAX = 4_096
PORTS = {"http": 80, "https": 443}
TRUSTED_WITH_SECRETS = frozenset({"authorization"})
"""Headers that are left behind where a redirect leads to another host."""

NAT64 = IPv6Network("64:ff9b::/96")
NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
"""Translates to addresses of whoever runs the network: never public."""


class Forbidden(ProviderRefused):
    """An address that is not fetched from: the message says why."""


class TooLarge(ProviderRefused):
    """What was found there is larger than was asked for."""


class Gone(ProviderRefused):
    """There is nothing at this address, or not for us: the HTTP status, and how the server's words about it begin."""

    def __init__(self, status: int, said: bytes) -> None:
        super().__init__(f"The server answered {status}.")
        self.status = status
        self.said = said


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address gave."""

    body: bytes
    content_type: str


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the open internet, also when it is written inside another."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address in NAT64_LOCAL or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class Egress:
    """Fetches from addresses that others gave; one a process."""

    def __init__(self, settings: Settings) -> None:
        """`EGRESS_ALLOW` and the sandbox are reached although they are no public addresses."""
        self._allowed = {entry.strip() for entry in settings.egress_allow.split(",") if entry.strip()}
        if settings.sandbox_url:
            port = urlsplit(settings.sandbox_url).port
            self._allowed |= {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()

    async def get(self, url: str, *, bytes_max: int, headers: Mapping[str, str] | None = None) -> Fetched:
        """What lies at `url`; `headers` with secrets go to its host alone, not to where it may lead.

        Raises Forbidden, Gone or TooLarge for good; ProviderTimeout or ProviderUnavailable where another try may help.
        """
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        try:
            async with asyncio.timeout(TOTAL_S):
                for _ in range(REDIRECTS_MAX + 1):
                    found = await self._get(url, sent, bytes_max)
                    if isinstance(found, Fetched):
                        return found
                    there = urljoin(url, found)
                    if urlsplit(there).netloc != urlsplit(url).netloc:
                        sent = {name: value for name, value in sent.items() if name not in TRUSTED_WITH_SECRETS}
                    url = there
        except TimeoutError as error:
            raise ProviderTimeout("The server takes too long.") from error
        raise Forbidden("The address leads on and on.")

    async def _get(self, url: str, headers: Mapping[str, str], bytes_max: int) -> Fetched | str:
        """What lies there, or where it lies instead."""
        address = self._checked(url)
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(), network_backend=_Guard(self._allowed), max_connections=20
            )
        limits = {"connect": CONNECT_S, "read": SILENCE_S, "write": SILENCE_S, "pool": CONNECT_S}
        # What a server packs it could pack a thousandfold.
        asked = [("user-agent", "mathia"), ("accept-encoding", "identity"), *headers.items()]
        try:
            async with self._pool.stream("GET", address, headers=asked, extensions={"timeout": limits}) as response:
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in (301, 302, 303, 307, 308) and "location" in told:
                    return told["location"]
                if response.status >= 500 or response.status in (408, 429):
                    raise ProviderUnavailable(f"The server answered {response.status}.")
                if response.status != 200:
                    raise Gone(response.status, await _beginning(response))
                if told.get("content-encoding", "identity") != "identity":
                    raise ProviderUnavailable("The server packed its answer unasked.")
                body = bytearray()
                async for chunk in response.aiter_stream():
                    body += chunk
                    if len(body) > bytes_max:
                        raise TooLarge(f"It is larger than {bytes_max:,} bytes.")
                return Fetched(bytes(body), told.get("content-type", ""))
        except (httpcore.ConnectTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout) as error:
            raise ProviderTimeout("The server does not answer.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise ProviderUnavailable(f"The server cannot be read ({type(error).__name__}).") from error

    def _checked(self, url: str) -> str:
        """The address, when its form is one that is fetched from. Raises Forbidden."""
        try:
            parts = urlsplit(url)
            port = parts.port
            host = (parts.hostname or "").encode("idna").decode()
        except (ValueError, UnicodeError) as error:
            raise Forbidden("That is no address.") from error
        if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or " " in url or not host:
            raise Forbidden("That is no address.")
        if parts.scheme not in PORTS or parts.username is not None or parts.password is not None:
            raise Forbidden("Only http and https addresses without a password are fetched from.")
        if port not in (None, PORTS[parts.scheme]) and f"{host}:{port}" not in self._allowed:
            raise Forbidden("Only the usual ports are fetched from.")
        return url


async def _beginning(response: httpcore.Response) -> bytes:
    async for chunk in response.aiter_stream():
        return bytes(chunk[:SAID_BYTES_MAX])
    return b""


class _Guard(httpcore.AsyncNetworkBackend):
    """Connects to the address it has looked at, so that a name cannot mean something else a moment later."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._address(host, port)
        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)

    async def _address(self, host: str, port: int) -> str:
        try:
            async with asyncio.timeout(CONNECT_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError from error
        addresses = [str(one[4][0]).partition("%")[0] for one in found]
        if not addresses:
            raise httpcore.ConnectError
        public = all(is_public(ipaddress.ip_address(one)) for one in addresses)
        if not public and f"{host}:{port}" not in self._allowed:
            raise Forbidden("The address is not one of the open internet.")
        return addresses[0]
