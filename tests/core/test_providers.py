"""Reading from third parties, over real sockets: from the simulators, and from a server that says what it is told."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
import structlog

from core.breaker import COOL_DOWN_S, FAILURES_MAX, State
from core.errors import ProviderError, ProviderRefused, ProviderTimeout, ProviderUnavailable, RateLimited
from core.providers import BODY_BYTES_MAX, TRIES_MAX, Provider, Providers, Refused
from core.settings import Settings
from tests.conftest import Sandbox

SECRET = "s3cr3t-key"


@dataclass
class Clock:
    """A clock that goes only when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Told:
    """A server that gives the next of its answers to each request, and the last one for ever."""

    answers: Sequence[bytes]
    requests: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.partition(b"\r\n")[0].decode())
        writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    fixed = ("content-type: application/json", f"content-length: {len(body)}", "connection: close")
    lines = [f"HTTP/1.1 {status}", *fixed, *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def providers(clock: Clock) -> AsyncIterator[Providers]:
    providers = Providers(Settings(_env_file=None), clock=clock, backoff_s=0.01)
    try:
        yield providers
    finally:
        await providers.close()


@pytest.fixture
async def told(providers: Providers) -> AsyncIterator["Asking"]:
    """Starts servers that say what they are told, and the provider for each."""
    asking = Asking(providers)
    try:
        yield asking
    finally:
        for server in asking.servers:
            server.close()
            await server.wait_closed()


@dataclass
class Asking:
    providers: Providers
    servers: list[asyncio.Server] = field(default_factory=list)

    async def __call__(self, *answers: bytes) -> tuple[Provider, Told]:
        told = Told(answers)
        server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
        self.servers.append(server)
        told.port = server.sockets[0].getsockname()[1]
        return self.providers.client("Example", f"http://127.0.0.1:{told.port}/base/"), told


async def test_path_and_parameters_are_joined_to_the_base_address(told: Asking) -> None:
    provider, server = await told(answer(b'{"a": [1, null]}'))
    assert await provider.get_json("/v1/rate", {"q": "São & Co", "n": 2}) == {"a": [1, None]}
    assert server.requests == ["GET /base/v1/rate?q=S%C3%A3o+%26+Co&n=2 HTTP/1.1"]


async def test_decimals_keep_every_digit_when_asked_to(told: Asking) -> None:
    provider, _ = await told(answer(b'{"rate": 129.500000000000000001, "n": 7}'))
    assert await provider.get_json("/", exact=True) == {"rate": Decimal("129.500000000000000001"), "n": 7}
    assert await provider.get_json("/") == {"rate": 129.5, "n": 7}


@pytest.mark.parametrize("status", ["408 x", "500 x", "502 x", "503 x", "504 x", "529 x"])
async def test_passing_failures_are_tried_again(told: Asking, status: str) -> None:
    provider, server = await told(answer(b"{}", status), answer(b"{}", status), answer(b'{"ok": true}'))
    assert await provider.get_json("/") == {"ok": True}
    assert len(server.requests) == 3


async def test_no_more_than_three_tries_are_made(told: Asking) -> None:
    provider, server = await told(answer(b"{}", "503 x"))
    with pytest.raises(ProviderUnavailable):
        await provider.get_json("/")
    assert len(server.requests) == TRIES_MAX


async def test_connections_cut_without_an_answer_are_tried_again(told: Asking) -> None:
    provider, server = await told(b"", answer(b"{}")[:-5], answer(b'{"ok": true}'))
    assert await provider.get_json("/") == {"ok": True}
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_refusal_is_told_with_its_status_and_body_and_not_tried_again(told: Asking, status: int) -> None:
    provider, server = await told(answer(b'{"error-type": "unsupported-code"}', f"{status} x"))
    with pytest.raises(Refused) as problem:
        await provider.get_json("/")
    assert (problem.value.status, problem.value.body) == (status, {"error-type": "unsupported-code"})
    assert isinstance(problem.value, ProviderRefused)
    assert len(server.requests) == 1
    assert provider.breaker.state is State.CLOSED


async def test_refusal_that_is_not_json_has_no_body(told: Asking) -> None:
    provider, _ = await told(answer(b"<html>", "404 x"))
    with pytest.raises(Refused) as problem:
        await provider.get_json("/")
    assert problem.value.body is None


@pytest.mark.parametrize(
    "body",
    [b"", b"<!doctype html><p>Sign in to the network", b'{"a": 1', b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000,
     b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\xff"}', b'{} {}'],
    ids=["empty", "html", "cut", "nan", "infinity", "deep", "long number", "not utf-8", "two"],
)  # fmt: skip
async def test_what_is_not_json_is_unavailable_and_not_tried_again(told: Asking, body: bytes) -> None:
    provider, server = await told(answer(body))
    with pytest.raises(ProviderUnavailable):
        await provider.get_json("/", exact=True)
    assert len(server.requests) == 1


async def test_long_number_in_plain_json_is_refused_too(told: Asking) -> None:
    provider, _ = await told(answer(b'{"a": ' + b"9" * 5000 + b"}"))
    with pytest.raises(ProviderUnavailable):
        await provider.get_json("/")


async def test_body_is_read_only_up_to_the_limit(told: Asking) -> None:
    at_limit = b'"' + b"x" * (BODY_BYTES_MAX - 2) + b'"'
    provider, _ = await told(answer(at_limit), answer(at_limit + b" "))
    assert await provider.get_json("/") == "x" * (BODY_BYTES_MAX - 2)
    with pytest.raises(ProviderUnavailable, match="more than"):
        await provider.get_json("/")


async def test_redirects_are_not_followed(told: Asking) -> None:
    elsewhere, other = await told(answer(b"{}"))
    provider, _ = await told(answer(b"", "302 Found", f"location: http://127.0.0.1:{other.port}/"))
    with pytest.raises(ProviderUnavailable, match="302"):
        await provider.get_json("/")
    assert other.requests == []
    assert elsewhere is not provider


async def test_time_to_wait_is_obeyed_when_short(told: Asking) -> None:
    soon = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    first, second = answer(b"{}", "429 x", "retry-after: 0"), answer(b"{}", "503 x", f"retry-after: {soon}")
    provider, server = await told(first, second, answer(b'{"ok": true}'))
    assert await provider.get_json("/") == {"ok": True}
    assert len(server.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_time_to_wait_is_told_when_long(told: Asking, form: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    value = "3600" if form == "seconds" else format_datetime(until, usegmt=True)
    provider, server = await told(answer(b"{}", "429 x", f"retry-after: {value}"))
    with pytest.raises(RateLimited) as problem:
        await provider.get_json("/")
    assert problem.value.retry_after_s == pytest.approx(3600, abs=30)
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "9" * 5000, "Tue, 99 Foo 2026 25:61:61 GMT"])
async def test_unreadable_time_to_wait_is_passed_over(told: Asking, value: str) -> None:
    provider, _ = await told(answer(b"{}", "429 x", f"retry-after: {value}"), answer(b'{"ok": true}'))
    assert await provider.get_json("/") == {"ok": True}


async def test_nobody_listening_is_unavailable(providers: Providers) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ProviderUnavailable):
        await providers.client("Gone", f"http://127.0.0.1:{port}").get_json("/")


async def test_circuit_opens_refuses_without_asking_and_recovers(told: Asking, clock: Clock) -> None:
    provider, server = await told(*[answer(b"{}", "500 x")] * FAILURES_MAX, answer(b'{"ok": true}'))
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await provider.get_json("/")
    assert len(server.requests) == FAILURES_MAX
    assert str(provider.breaker.state) == "open"
    with pytest.raises(ProviderUnavailable, match="asked again in 30 s"):
        await provider.get_json("/")
    assert len(server.requests) == FAILURES_MAX
    clock.now += COOL_DOWN_S
    assert await provider.get_json("/") == {"ok": True}
    assert provider.breaker.state is State.CLOSED


async def test_half_open_circuit_lets_one_of_many_callers_through(told: Asking, clock: Clock) -> None:
    provider, server = await told(*[answer(b"{}", "500 x")] * FAILURES_MAX, answer(b'{"ok": true}'))
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await provider.get_json("/")
    clock.now += COOL_DOWN_S
    answers = await asyncio.gather(*(provider.get_json("/") for _ in range(10)), return_exceptions=True)
    assert sum(1 for given in answers if given == {"ok": True}) == 1
    assert sum(1 for given in answers if isinstance(given, ProviderUnavailable)) == 9
    assert len(server.requests) == FAILURES_MAX + 1


async def test_same_provider_and_circuit_are_given_each_time(providers: Providers) -> None:
    first = providers.client("A", "http://127.0.0.1:1/x")
    assert providers.client("A", "http://127.0.0.1:1/x/") is first
    assert providers.client("A", "http://127.0.0.1:1/y") is not first


async def test_hanging_provider_is_given_up_and_the_error_names_no_address(
    sandbox: Sandbox,
) -> None:
    plan = {"plan": ["hang"], "times": None, "match": {"path": "search"}}
    assert sandbox.post("/open-meteo/_faults", json.dumps(plan)) < 300
    providers = Providers(Settings(_env_file=None), deadline_s=0.3)
    provider = providers.client("Open-Meteo", f"{sandbox.url}/open-meteo")
    with pytest.raises(ProviderTimeout, match=r"within 0\.3 s") as problem:
        await provider.get_json("/v1/search", {"name": "Nairobi", "apikey": SECRET})
    await providers.close()
    assert SECRET not in repr(problem.value)
    assert provider.breaker.failures == 1


async def test_neither_logs_nor_errors_hold_keys(told: Asking, caplog: pytest.LogCaptureFixture) -> None:
    answers = [answer(b"{}", "500 x"), b"", answer(b"{}", "401 x")]
    provider, _ = await told(*answers)
    caplog.set_level(logging.WARNING)
    with structlog.testing.capture_logs() as logs, pytest.raises((ProviderError, ProviderRefused)) as problem:
        await provider.get_json(f"/v6/{SECRET}/pair", {"appid": SECRET})
    chain: list[BaseException | None] = [problem.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__))
    assert len(logs) >= 2
    assert SECRET not in repr(logs) + caplog.text + repr(chain)
