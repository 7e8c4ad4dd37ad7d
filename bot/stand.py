"""A whole deployment on servers of its own, for benchmarks and for tests that kill it: real processes, real sockets."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.migrate import migrate
from bot.servers import Servers, start_servers
from bot.servers.folder import DataFolder
from bot.servers.postgres import APP, DATABASE, OWNER
from bot.servers.supervisor import Supervisor
from core.crypto import KeyList, RoomKeys

if TYPE_CHECKING:
    import asyncpg

ROOT = Path(__file__).resolve().parent.parent
KEYS = KeyList.new("stand")
READY_S = 20.0
STOP_S = 10.0
POLL_S = 0.02


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def answers(url: str) -> bool:
    """Whether a GET of `url` gets any HTTP answer."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  always our own loopback address
                return True
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, OSError):
            return False

    return await asyncio.to_thread(ask)


class Process:
    """One `python -m bot …` of ours, which may be killed and started again; its output is appended to a file."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], log: Path, ready_url: str | None = None) -> None:
        self.words = words
        self.env = dict(env)
        self.log = log
        self.ready_url = ready_url
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return self._child.poll() if self._child else None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._child is not None, "not started"
        return self._child.pid

    def spawn(self, **extra: str) -> None:
        """Start it, with more environment, without waiting for it to serve."""
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bot", *self.words],
                cwd=ROOT,
                env={**os.environ, **self.env, **extra},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def start(self, **extra: str) -> None:
        """Start it, with more environment, and return when it serves; RuntimeError with its last words otherwise."""
        self.spawn(**extra)
        async with asyncio.timeout(READY_S):
            while self.ready_url is not None and not await answers(self.ready_url):
                if self.ended is not None:
                    raise RuntimeError(
                        f"{' '.join(self.words)} ended with {self.ended}: {self.log.read_text()[-2000:]}"
                    )
                await asyncio.sleep(POLL_S)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(STOP_S)

    async def stop(self) -> int:
        """SIGTERM, kill -9 if it does not end; how it ended."""
        assert self._child is not None, "not started"
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self._child.wait, STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        code: int = self._child.wait(STOP_S)
        return code


class Stand:
    """Servers, simulators, and a web process that is not started yet."""

    def __init__(self, folder: Path, servers: Servers, sandbox_port: int, environment: Mapping[str, str]) -> None:
        assert servers.postgres is not None
        self.folder = folder
        self.servers = servers
        self.postgres = servers.postgres
        self.database = DATABASE
        self.keys = RoomKeys(KEYS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        self.env = {
            **servers.environment(),
            "PORT": str(self.port),
            "SANDBOX_URL": self.sandbox_url,
            "MATHIA_KEYS": KEYS.written(),
            "LOG_LEVEL": "warning",
            **environment,
        }
        self.sandbox = Process(
            ["sandbox", "--port", str(sandbox_port), "--data", str(folder / "sandbox"), "--app-url", self.url],
            {},
            folder / "sandbox.log",
            f"{self.sandbox_url}/twilio/_truth",
        )
        self.web = self.process("web")
        self.web.ready_url = f"{self.url}/healthz"

    async def sibling(self, name: str) -> "Stand":
        """Another deployment beside this one, which must never have been used: its own database `name` and web port."""
        connection = await self.postgres.connect()
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE} OWNER {OWNER} STRATEGY FILE_COPY")
        finally:
            await connection.close()
        made = Stand(self.folder, self.servers, int(self.sandbox_url.rpartition(":")[2]), {})
        made.database = name
        made.env = {**self.env, "PORT": str(made.port), "DATABASE_URL": self.postgres.url(APP, name)}
        made.web = made.process("web")
        made.web.ready_url = f"{made.url}/healthz"
        return made

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection to this deployment's database, with every right."""
        return await self.postgres.connect(self.database)

    def process(self, *words: str) -> Process:
        """Another process of this deployment."""
        return Process(words, self.env, self.folder / f"{words[0]}.log")


@asynccontextmanager
async def stand(folder: Path, *, durable: bool, environment: Mapping[str, str] | None = None) -> AsyncIterator[Stand]:
    """Start servers and simulators under `folder`; everything is stopped at the end, whoever was killed meanwhile."""
    data = DataFolder(folder / "data")
    supervisor = Supervisor(data, lambda _sentence: None)
    made: Stand | None = None
    try:
        servers = await start_servers(data, supervisor, which=frozenset({"postgres", "valkey"}), durable=durable)
        assert servers.postgres is not None
        await migrate(servers.postgres.url(OWNER))
        made = Stand(folder, servers, free_port(), environment or {})
        await made.sandbox.start()
        yield made
    finally:
        if made is not None:
            made.web.kill()
            made.sandbox.kill()
        await supervisor.stop()
