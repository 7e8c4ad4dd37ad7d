"""A process of simulators for all tests here, and an application's side that takes its webhooks."""

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
START_LIMIT_S = 30.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS; a context of its own spares each client from reading all the world's certificates."""


class Simulators:
    """One process of simulators that can be killed and started again on the same data."""

    def __init__(self, data: Path, app_url: str = "http://127.0.0.1:9") -> None:
        self.data, self.app_url = data, app_url
        self.url, self.smtp_port = "", 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start and wait until it says that it is ready."""
        words = ["--data", str(self.data), "--app-url", self.app_url, "--public-url", self.app_url]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bot.sandbox.server", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        ready = json.loads(self.process.stdout.readline())
        self.url, self.smtp_port = ready["sandbox"], ready["smtp_port"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(START_LIMIT_S)
        assert self.process.stdout
        self.process.stdout.close()
        return code


@dataclass
class Lab:
    """The simulators, spoken to over HTTP."""

    simulators: Simulators
    http: httpx.AsyncClient
    since: dict[str, int]

    @property
    def url(self) -> str:
        """Where the simulators are."""
        return self.simulators.url

    async def plan(self, provider: str, *plan: object, **more: object) -> None:
        """Set a fault plan."""
        answer = await self.http.post(f"/{provider}/_faults", json={"plan": list(plan), **more})
        assert answer.status_code == 200, answer.text

    async def truth(self, provider: str) -> list[dict[str, Any]]:
        """What a provider did in this test."""
        answer = await self.http.get(f"/{provider}/_truth", params={"since": self.since.get(provider, 0)})
        rows: list[dict[str, Any]] = answer.json()
        return rows


@dataclass
class Inbound:
    """One webhook as the application got it."""

    url: str
    headers: dict[str, str]
    body: bytes
    at: float


class App:
    """An application's side: takes webhooks, answers `status` (or what `answers` says next)."""

    def __init__(self) -> None:
        self.got: list[Inbound] = []
        self.status = 200
        self.answers: list[web.Response] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Keep a webhook and answer it."""
        body = await request.read()
        url = self.url + request.path_qs
        self.got.append(Inbound(url, dict(request.headers), body, asyncio.get_running_loop().time()))
        return self.answers.pop(0) if self.answers else web.Response(status=self.status)

    async def wait_for(self, count: int, limit_s: float = 10.0) -> list[Inbound]:
        """Wait until so many webhooks came."""

        async def enough() -> bool:
            return len(self.got) >= count

        await until(enough, limit_s, f"{count} webhooks")
        return self.got


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A process of simulators for the whole session."""
    started = Simulators(tmp_path_factory.mktemp("sandbox"))
    started.start()
    yield started
    assert started.stop() == 0


@pytest.fixture
async def lab(simulators: Simulators) -> AsyncIterator[Lab]:
    """The simulators, with nothing left over from other tests."""
    async with httpx.AsyncClient(base_url=simulators.url, trust_env=False, timeout=10, verify=NO_TLS) as client:
        last = (await client.post("/_reset")).json()["last"]
        await client.post("/_app", json={"url": "http://127.0.0.1:9"})
        made = Lab(simulators, client, last)
        yield made
        await client.post("/_reset")


@pytest.fixture
async def app(lab: Lab) -> AsyncIterator[App]:
    """An application that takes the simulators' webhooks."""
    async with listening(App()) as made:
        await lab.http.post("/_app", json={"url": made.url})
        yield made


class listening:
    """Serve an App on a loopback port."""

    def __init__(self, app: App, port: int = 0) -> None:
        self._app, self._port = app, port

    async def __aenter__(self) -> App:
        served = web.Application()
        served.router.add_route("*", "/{tail:.*}", self._app.take)
        self._runner = web.AppRunner(served, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._app.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self._app

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
