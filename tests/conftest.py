"""Throw-away PostgreSQL, Valkey, Temporal and simulators, started once for a session of tests.

Every test that asks for `database_url` gets a database of its own, cloned from one that was migrated once.
"""

import asyncio
import gc
import http.client
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis
from hypothesis import settings

from bot.migrate import migrate
from bot.servers import Servers, start_servers
from bot.servers.folder import DataFolder
from bot.servers.postgres import APP, OWNER, Postgres
from bot.servers.supervisor import Supervisor, free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from core.db import Database

os.environ.setdefault("MATHIA_KEYS", "test:WYMOvDpBhBEFZr8aKQ0IRz39y9SSzkmLFM0aXi-i5EE")
"""Every process that a test starts seals with it."""
# A busy machine may stop any example for longer than Hypothesis allows one.
settings.register_profile("mathia", deadline=None)
settings.load_profile("mathia")
ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "mathia"
START_LIMIT_S = 30.0
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4 << 30
"""With less to spare, in that file system or at all, servers write to the disk."""

_numbers = itertools.count(1)


gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not walk through it meanwhile, nor in any test."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A short folder that servers running as another user can reach; pytest's own are private.

    It is in memory where there is room: a new database is several hundred files, a tenth of a test's time on a disk.
    """
    path = Path(tempfile.mkdtemp(prefix="mathia-t-", dir=MEMORY if _roomy(MEMORY) else None))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _roomy(folder: Path) -> bool:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    return min(shutil.disk_usage(folder).free, psutil.virtual_memory().available) >= MEMORY_BYTES_MIN


@pytest.fixture(scope="session")
def servers(scratch: Path) -> Iterator[Servers]:
    """PostgreSQL (database `mathia`, migrated: the template), Valkey and Temporal, none of them durable."""
    folder = DataFolder(scratch / "s")
    said: list[str] = []
    supervisor = Supervisor(folder, said.append)

    async def start() -> Servers:
        started = await start_servers(folder, supervisor, durable=False)
        assert started.postgres
        await migrate(started.postgres.url(OWNER))
        return started

    try:
        yield asyncio.run(start())
    finally:
        asyncio.run(supervisor.stop())


@pytest.fixture
def postgres(servers: Servers) -> Postgres:
    """The throw-away cluster itself."""
    assert servers.postgres
    return servers.postgres


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    """The name of a fresh migrated database, dropped after the test."""
    name = f"t{next(_numbers)}"
    connection = await postgres.connect()
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER} STRATEGY FILE_COPY")
        yield name
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
def database_url(database: str, postgres: Postgres) -> str:
    """A fresh migrated database as the application's role, which owns nothing."""
    return postgres.url(APP, database)


@pytest.fixture
def owner_url(database: str, postgres: Postgres) -> str:
    """The same database as the role that owns the tables."""
    return postgres.url(OWNER, database)


@pytest.fixture
async def db(database_url: str) -> "AsyncIterator[Database]":
    """A Database on the fresh database."""
    from core.db import Database
    from core.settings import Settings

    database = await Database.connect(database_url, Settings(_env_file=None).key_list)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def valkey_url(servers: Servers) -> str:
    """An empty Valkey."""
    assert servers.valkey
    with redis.Redis.from_url(servers.valkey.url) as client:
        client.flushall()
    return servers.valkey.url


@pytest.fixture
def temporal_host(servers: Servers) -> str:
    """host:port of Temporal with the namespace `mathia`; it is shared, so use ids and task queues of your own."""
    assert servers.temporal
    return servers.temporal.host


@dataclass(frozen=True)
class Sandbox:
    """A process of provider simulators, reached at `url`/<provider>/…"""

    url: str
    port: int

    def post(self, path: str, body: str) -> int:
        """POST JSON text to a path of the simulators; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture(scope="session")
def sandbox_process(scratch: Path) -> Iterator[Sandbox]:
    """The simulators, once for the session."""
    port = free_port()
    data = scratch / "sandbox"
    log = (scratch / "sandbox.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "sandbox", "--port", str(port), "--data", str(data)],
        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, 
    )  # fmt: skip
    log.close()
    try:
        until_now(lambda: process.poll() is not None or listens(process.pid, port), START_LIMIT_S, "listening")
        assert process.poll() is None, (scratch / "sandbox.log").read_text()
        yield Sandbox(f"http://127.0.0.1:{port}", port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Sandbox:
    """The simulators without any fault; their truth logs go on through the session, so use accounts of your own."""
    assert sandbox_process.post("/_heal", "{}") < 300
    return sandbox_process


def listens(pid: int, port: int) -> bool:
    """Whether the process listens on the loopback port."""
    try:
        return any(
            found.status == psutil.CONN_LISTEN and found.laddr.port == port
            for found in psutil.Process(pid).net_connections("tcp")
        )
    except psutil.Error:
        return False
