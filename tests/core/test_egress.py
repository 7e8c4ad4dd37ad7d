"""Fetching from addresses that others give: only from the open internet, only so much, and no secret carried on."""

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from core.egress import Egress, Fetched, Forbidden, Gone, TooLarge, is_public
from core.errors import ProviderUnavailable
from core.settings import Settings

KB = 1024


@dataclass
class Server:
    """A web server on the loopback that remembers who asked."""

    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    here = Server()

    async def serve(request: web.Request) -> web.StreamResponse:
        here.asked.append((request.path, request.headers.get("Authorization")))
        match request.path:
            case "/small":
                return web.Response(body=b"words", content_type="audio/ogg")
            case "/there":
                return web.Response(status=307, headers={"Location": f"http://localhost:{here.port}/small"})
            case "/near":
                return web.Response(status=302, headers={"Location": "/small"})
            case "/round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "/inside":
                return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
            case "/file":
                return web.Response(status=302, headers={"Location": "file:///etc/passwd"})
            case "/packed":
                return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})
            case "/endless":
                response = web.StreamResponse()
                await response.prepare(request)
                while True:
                    await response.write(bytes(64 * KB))
            case "/cut":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(b"only this")
                assert request.transport
                request.transport.abort()
                return response
            case "/broken":
                return web.Response(status=503)
        return web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here.port = runner.addresses[0][1]
    yield here
    await runner.cleanup()


@pytest.fixture
async def egress(server: Server) -> AsyncIterator[Egress]:
    allowed = f"127.0.0.1:{server.port}, localhost:{server.port}"
    made = Egress(Settings.model_validate({"egress_allow": allowed}))
    yield made
    await made.close()


@pytest.fixture
async def strict() -> AsyncIterator[Egress]:
    made = Egress(Settings.model_validate({}))
    yield made
    await made.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
        "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "::1", "fe80::1", "fc00::1",
        "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2001:0:7f00:1::1", "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_addresses_of_our_own_network_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "196.201.214.200", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0",
        "[::]", "127.0.0.1.", "localhost.", "169.254.169.254", "[fe80::1]", "１２７.0.0.1", "[::ffff:7f00:1]",
    ],
)  # fmt: skip
async def test_no_way_of_writing_it_leads_home(strict: Egress, server: Server, host: str) -> None:
    for url in (f"http://{host}/small", f"https://{host}/small", f"http://{host}:{server.port}/small"):
        # Not every resolver knows names that end in a dot.
        with pytest.raises((Forbidden, ProviderUnavailable) if host.endswith(".") else Forbidden):
            await strict.get(url, bytes_max=KB)
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "http://",
        "http://user:pw@example.com/", "http://example.com:22/", "https://example.com:80/", "http://exa mple.com/",
        "http://example.com/\r\nX: y", "http://[::1", "http://example.com:99999/", "//example.com/", "javascript:x",
        "http://" + "a" * 3000 + ".com/",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_refused(strict: Egress, url: str) -> None:
    with pytest.raises(Forbidden):
        await strict.get(url, bytes_max=KB)


async def test_what_is_there_is_fetched(egress: Egress, server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert await egress.get(f"{url}/small", bytes_max=5) == Fetched(b"words", "audio/ogg")
    with pytest.raises(TooLarge):
        await egress.get(f"{url}/small", bytes_max=4)
    with pytest.raises(TooLarge):
        await egress.get(f"{url}/endless", bytes_max=256 * KB)
    for path, error in (("/none", Gone), ("/broken", ProviderUnavailable), ("/cut", ProviderUnavailable)):
        with pytest.raises(error):
            await egress.get(url + path, bytes_max=KB)
    with pytest.raises(ProviderUnavailable):
        await egress.get(f"{url}/packed", bytes_max=KB)


async def test_a_secret_stays_with_the_host_it_is_for(egress: Egress, server: Server) -> None:
    secret = {"Authorization": "Basic c2VjcmV0"}
    url = f"http://127.0.0.1:{server.port}"
    assert (await egress.get(f"{url}/near", bytes_max=KB, headers=secret)).body == b"words"
    assert (await egress.get(f"{url}/there", bytes_max=KB, headers=secret)).body == b"words"
    assert server.asked == [
        ("/near", "Basic c2VjcmV0"), ("/small", "Basic c2VjcmV0"), ("/there", "Basic c2VjcmV0"), ("/small", None),
    ]  # fmt: skip


async def test_a_redirect_is_looked_at_like_any_address(egress: Egress, server: Server) -> None:
    for path in ("/inside", "/file", "/round"):
        with pytest.raises(Forbidden):
            await egress.get(f"http://127.0.0.1:{server.port}{path}", bytes_max=KB)
    assert [path for path, _ in server.asked].count("/round") == 4


def test_production_does_not_open_its_own_network() -> None:
    with pytest.raises(ValueError, match="EGRESS_ALLOW"):
        Settings.model_validate(
            {
                "environment": "production", "public_url": "https://x.example", "egress_allow": "127.0.0.1:1",
                "mathia_keys": "k:WYMOvDpBhBEFZr8aKQ0IRz39y9SSzkmLFM0aXi-i5EE",
            }
        )  # fmt: skip
