"""`up`: the servers, the simulators and everything of Mathia, started together and stopped together."""

import argparse
import asyncio
import errno
import os
import re
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.cli import load
from bot.servers import ALL, Servers, start_servers
from bot.servers.folder import KEY_FILE, DataFolder, default_folder
from bot.servers.supervisor import Program, Supervisor, free_port
from bot.servers.temporal import IMPORTING
from core.crypto import key_file
from core.errors import MathiaError
from core.settings import Settings

if TYPE_CHECKING:
    from core.db import Database

STARTED = "MATHIA_STARTED"
"""Environment variable of bot.__main__: the monotonic clock when the command was started."""
HEAVY = ("temporalio.client", "core.db", "web_admin.auth")
HEAVY_TOGETHER = ("bot.app", "jobs.worker", "jobs.temporal")
"""What takes long to import: loaded in a thread while the servers boot. The latter only by the process that runs it."""
NEVER_PASSED_ON = frozenset({"MATHIA_CRASH", STARTED})
PROBE_S = 2.0
MIGRATIONS = Path(__file__).resolve().parent.parent / "alembic" / "versions"
CHAINED = re.compile(r'^revision = "(\w+)"\ndown_revision = "?(\w+)"?$', re.MULTILINE)
SANDBOX_MAIL_FROM = "mathia@sandbox.invalid"


class PartFailed(MathiaError):
    """A part of this process ended; going on with half of Mathia would hide it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `up`."""
    parser.add_argument("--port", type=port_number, help="port of the web server (PORT, else 8080); 0 takes a free one")
    parser.add_argument("--data", type=Path, help=f"folder for all data (default here: {default_folder()})")
    parser.add_argument("--no-sandbox", action="store_true", help="leave the providers' simulators out")
    parser.add_argument("--split", action="store_true", help="web, jobs and workflows as processes of their own")


def port_number(text: str) -> int:
    """A TCP port; raises argparse's error for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port from 0 to 65535")
    return int(text)


async def main(args: argparse.Namespace) -> int:
    """Run until stopped by a signal; what fails ends everything with a sentence."""
    given = Settings()
    port = args.port if args.port is not None else given.port
    folder = DataFolder(args.data or default_folder())
    folder.lock()
    supervisor = Supervisor(folder, say)
    try:
        if given.key_list is None:
            key_file(folder.path / KEY_FILE)
            os.environ["MATHIA_KEYS_FILE"] = str(folder.path / KEY_FILE)
        if "files_dir" not in given.model_fields_set:
            os.environ["FILES_DIR"] = str(folder.path / "files")
        os.environ["PORT"] = str(take_port(given.host, port))
        async with AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(start_servers(folder, supervisor, which=missing(given)))
                group.create_task(asyncio.to_thread(load_heavy, HEAVY if args.split else HEAVY + HEAVY_TOGETHER))
                if not args.no_sandbox and not given.sandbox_url and given.environment == "development":
                    group.create_task(
                        start_sandbox(given, folder, supervisor) if args.split else serve_sandbox(given, folder, stack)
                    )
            servers = starting.result()
            os.environ.update(servers.environment())
            settings = Settings()
            await bring_to_newest(settings)
            from core.log import configure

            configure(settings)
            if args.split:
                await run_split(settings, servers, supervisor)
            else:
                await run_together(settings, servers, supervisor)
    finally:
        await supervisor.stop()
        folder.unlock()
    return 0


def missing(given: Settings) -> frozenset[str]:
    """The servers that the settings do not name, so that we run them."""
    named = {"postgres": given.database_url, "valkey": given.redis_url, "temporal": given.temporal_host}
    return frozenset(name for name in ALL if not named[name])


def load_heavy(names: Sequence[str]) -> None:
    """Import these modules while nobody else imports Temporal's client."""
    with IMPORTING:
        load(*names)


def take_port(host: str, port: int) -> int:
    """The port to serve on, where it is free; a free one for 0. Raises PartFailed with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PartFailed(
                    f"Port {port} is used by another program."
                    f" Stop that, or choose another port: python3 -m bot up --port {port % 65535 + 1}"
                ) from error
            raise PartFailed(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
        chosen: int = probe.getsockname()[1]
        return chosen


async def start_sandbox(given: Settings, folder: DataFolder, supervisor: Supervisor) -> None:
    """Start the simulators as a child, and point the settings at them."""
    smtp_port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in NEVER_PASSED_ON}

    def on(port: int) -> Program:
        async def listens() -> bool:
            return await answers("127.0.0.1", port)

        where = ["--port", str(port), "--smtp-port", str(smtp_port), "--data", str(folder.path / "sandbox")]
        words = [sys.executable, "-m", "bot", "sandbox", *where]
        return Program("sandbox", words, healthy=listens, env=environment, cwd=Path.cwd(), drop_rights=False)

    use_sandbox(given, f"http://127.0.0.1:{await supervisor.start_on_free_port(on)}", smtp_port)


async def serve_sandbox(given: Settings, folder: DataFolder, stack: AsyncExitStack) -> None:
    """Serve the simulators in this process, which saves the memory of another, and point the settings at them."""
    from bot.sandbox.server import serving

    here = f"http://{local_host(given.host)}:{os.environ['PORT']}"
    base_url, smtp_port = await stack.enter_async_context(
        serving(folder.path / "sandbox", app_url=here, public_url=Settings().base_url)
    )
    use_sandbox(given, base_url, smtp_port)


def use_sandbox(given: Settings, base_url: str, smtp_port: int) -> None:
    """Point the settings at the simulators; mail too, unless there is a server for it."""
    os.environ["SANDBOX_URL"] = base_url
    if not given.smtp_host:
        os.environ.update(
            SMTP_HOST="127.0.0.1", SMTP_PORT=str(smtp_port), SMTP_TLS="false", SMTP_USER="",
            MAIL_FROM=given.mail_from or SANDBOX_MAIL_FROM,
        )  # fmt: skip


async def answers(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def newest_migration() -> str:
    """The revision that no other follows; numbers say who wrote which, not the order."""
    chain = dict(CHAINED.findall("\n".join(file.read_text() for file in MIGRATIONS.glob("*.py"))))
    newest: set[str] = chain.keys() - chain.values()
    return newest.pop()


async def bring_to_newest(settings: Settings) -> None:
    """Migrate where the database is behind, in a process of its own: what migrating takes is not kept for ever.

    A database that is away is said, without its address, which may hold a password.
    """
    import asyncpg

    from core.db import CONNECT_TIMEOUT_S, is_away

    newest = newest_migration()
    try:
        url = settings.database_owner_url or settings.database_url
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        try:
            if await connection.fetchval("SELECT version_num FROM alembic_version") == newest:
                return
        except asyncpg.UndefinedTableError:
            pass
        finally:
            await connection.close()
    except Exception as error:
        if is_away(error):
            raise PartFailed(f"PostgreSQL, named by DATABASE_URL, does not answer ({type(error).__name__}).") from error
        raise
    migrating = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "migrate", stdout=asyncio.subprocess.DEVNULL
    )
    if await migrating.wait() != 0:
        raise PartFailed("The database could not be brought to the newest migration; the reason is above.")


async def run_together(settings: Settings, servers: Servers, supervisor: Supervisor) -> None:
    """Web, jobs and workflows in this one process, until cancelled."""
    from bot.app import run_web
    from bot.wiring import services
    from jobs.temporal import run_temporal
    from jobs.worker import run_worker

    async with services(settings) as wired:
        started = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.watch(), name="servers")
            group.create_task(part("the web server", run_web(wired, started=started)))
            group.create_task(part("the job worker", run_worker(wired.settings, wired.db, wired.wakes, wired.channels)))
            group.create_task(
                part(
                    "the workflow worker",
                    run_temporal(wired.settings, wired.db, wired.wakes, wired.catalog, wired.providers),
                )
            )
            await started.wait()
            await say_addresses(settings, servers, wired.db)


async def part(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a part for ever; its end, however it comes, is the end of `up`."""
    try:
        await work
    except MathiaError:
        raise
    except Exception as error:
        import structlog

        structlog.get_logger().exception("up.part_failed", part=name)
        raise PartFailed(f"Stopping, because {name} failed: {type(error).__name__}: {error}") from error
    raise PartFailed(f"Stopping, because {name} ended by itself.")


async def run_split(settings: Settings, servers: Servers, supervisor: Supervisor) -> None:
    """Web, jobs and workflows as children, as in production, until cancelled."""
    from core.db import Database

    environment = {name: value for name, value in os.environ.items() if name != STARTED}

    async def alive() -> bool:
        return True

    async def serves() -> bool:
        return await answers(local_host(settings.host), settings.port)

    async with asyncio.TaskGroup() as group:
        for name, healthy in (("web", serves), ("worker", alive), ("temporal", alive)):
            program = Program(
                name if name != "temporal" else "temporal-worker",
                [sys.executable, "-m", "bot", name],
                healthy=healthy, env=environment, cwd=Path.cwd(), drop_rights=False, log=False, uses_others=True,
            )  # fmt: skip
            group.create_task(supervisor.start(program))
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.watch(), name="children")
        db = await Database.connect(settings.database_url, pool_size=1)
        try:
            await say_addresses(settings, servers, db)
        finally:
            await db.close()


async def say_addresses(settings: Settings, servers: Servers, db: "Database") -> None:
    """One line for each address, then how long the start took."""
    from web_admin.auth import new_sign_in_link

    here = settings.public_url.rstrip("/") or f"http://{local_host(settings.host)}:{settings.port}"
    lines = [("chat", f"{here}/chat"), ("admin", f"{here}{await new_sign_in_link(db)}")]
    if settings.sandbox_url:
        lines.append(("phone", f"{here}/sandbox"))
    if servers.temporal and servers.temporal.ui:
        lines.append(("workflows", servers.temporal.ui))
    for name, address in lines:
        say(f"{name:10} {address}")
    say(f"ready in {time.monotonic() - float(os.environ.get(STARTED) or time.monotonic()):.1f} s")


def local_host(host: str) -> str:
    """How this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
