"""The embedded servers: starting, stopping, and every way of being killed."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio as redis

from bot.servers import Servers, start_servers
from bot.servers.folder import DataFolder, FolderError
from bot.servers.postgres import APP, OWNER
from bot.servers.supervisor import Program, ServerFailed, Supervisor
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
STORES = frozenset({"postgres", "valkey"})


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path of its own; servers are started below it as another user where we are root."""
    path = Path(tempfile.mkdtemp(prefix="mathia-t-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def running(
    path: Path, which: frozenset[str] = STORES, said: list[str] | None = None
) -> AsyncIterator[tuple[Servers, Supervisor]]:
    """Durable servers on `path` with somebody watching over them."""
    folder = DataFolder(path)
    folder.lock()
    supervisor = Supervisor(folder, (said if said is not None else []).append)
    try:
        servers = await start_servers(folder, supervisor, which=which)
        watching = asyncio.create_task(supervisor.watch())
        try:
            yield servers, supervisor
        finally:
            watching.cancel()
            await asyncio.wait([watching])
    finally:
        await supervisor.stop()
        folder.unlock()


def lives(pid: int) -> bool:
    """Whether the process is there and has not ended; an ended one may wait for its parent to look."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def back(said: list[str], name: str) -> bool:
    """Whether the supervisor said that the server is back."""
    return any(line.startswith(f"{name} is back after ") for line in said)


async def write(servers: Servers, value: int) -> None:
    """Put a number into both stores."""
    assert servers.postgres
    assert servers.valkey
    connection = await servers.postgres.connect("mathia")
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
    await connection.execute("INSERT INTO kept VALUES ($1)", value)
    await connection.close()
    async with redis.Redis.from_url(servers.valkey.url) as client:
        await client.rpush("kept", str(value))
        # The file is synced each second; what a kill may take away is not what this test is about.
        await client.waitaof(1, 0, 5000)


async def read(servers: Servers) -> tuple[list[int], list[int]]:
    """What both stores hold."""
    assert servers.postgres
    assert servers.valkey
    connection = await servers.postgres.connect("mathia")
    rows = await connection.fetch("SELECT value FROM kept ORDER BY value")
    await connection.close()
    async with redis.Redis.from_url(servers.valkey.url) as client:
        kept = await client.lrange("kept", 0, -1)
    return [row["value"] for row in rows], sorted(int(value) for value in kept)


async def test_stores_are_private_and_keep_their_data_over_a_stop(home: Path) -> None:
    # The path is too long for a socket, so those get a short folder.
    deep = home / ("a" * 60) / ("b" * 60)
    deep.parent.mkdir(mode=0o711)
    async with running(deep) as (servers, supervisor):
        await write(servers, 1)
        pids = list(supervisor.pids.values())
        assert servers.postgres
        short = servers.postgres.run
        assert deep not in short.parents
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert stat.S_IMODE((deep / "postgres").stat().st_mode) == 0o700

        app = await asyncpg.connect(servers.postgres.url(APP))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("CREATE TABLE mine (x int)")
        rights = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = $1"
        assert await app.fetchval(rights, APP) is False
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await app.fetchval("SELECT current_setting($1)", name) == "on"
        assert await app.fetchval("SHOW listen_addresses") == ""
        await app.close()
        owner = await asyncpg.connect(servers.postgres.url(OWNER))
        await owner.execute("CREATE TABLE ours (x int)")
        await owner.close()
    assert not any(lives(pid) for pid in pids)
    async with running(deep) as (servers, _):
        assert await read(servers) == ([1], [1])
    shutil.rmtree(short)


async def test_killed_stores_are_started_again_with_their_data(home: Path) -> None:
    said: list[str] = []
    async with running(home, said=said) as (servers, supervisor):
        assert servers.postgres
        await write(servers, 1)
        # Backends that are busy outlive their killed postmaster for a while, and until then a new one is refused.
        busy = [await servers.postgres.connect() for _ in range(5)]
        sleeping = [asyncio.ensure_future(one.execute("SELECT pg_sleep(30)")) for one in busy]
        for name in ("postgres", "valkey"):
            before = supervisor.pids[name]
            os.kill(before, signal.SIGKILL)
            await until(partial(back, said, name), 30, f"{name} coming back")
            assert supervisor.pids[name] != before
            assert f"{name} ended (killed by SIGKILL); starting it again" in said
        failures = await asyncio.gather(*sleeping, return_exceptions=True)
        assert all(isinstance(failure, Exception) for failure in failures)
        for connection in busy:
            connection.terminate()
        await write(servers, 2)
        assert await read(servers) == ([1, 2], [1, 2])


async def test_killed_temporal_comes_back_on_the_same_port(home: Path) -> None:
    said: list[str] = []
    async with running(home, frozenset({"temporal"}), said) as (servers, supervisor):
        assert servers.temporal
        os.kill(supervisor.pids["temporal"], signal.SIGKILL)
        await until(partial(back, said, "temporal"), 30, "temporal coming back")
        assert await servers.temporal.answers()


SUPERVISED = """
import asyncio, sys
from pathlib import Path
from bot.servers import start_servers
from bot.servers.folder import DataFolder
from bot.servers.supervisor import Supervisor

async def main():
    folder = DataFolder(Path(sys.argv[1]))
    folder.lock()
    supervisor = Supervisor(folder, print)
    await start_servers(folder, supervisor, which=frozenset({"postgres", "valkey"}))
    print(*supervisor.pids.values(), flush=True)
    await supervisor.watch()

asyncio.run(main())
"""


def supervised(path: Path) -> "tuple[subprocess.Popen[str], list[int]]":
    """A process that keeps servers on `path` running, and their pids."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED, str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout
    line = process.stdout.readline()
    assert line.replace(" ", "").strip().isdigit(), line + process.stdout.read()
    return process, [int(word) for word in line.split()]


async def test_nothing_is_lost_when_the_supervisor_or_everything_is_killed(home: Path) -> None:
    process, pids = supervised(home)
    process.kill()
    process.communicate()
    # At once, while the old servers may still be stopping.
    async with running(home) as (servers, supervisor):
        assert not any(lives(pid) for pid in pids)
        assert set(supervisor.pids.values()).isdisjoint(pids)
        await write(servers, 1)

    process, _ = supervised(home)
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        one.kill()
    process.communicate()
    async with running(home) as (servers, _):
        assert await read(servers) == ([1], [1])


async def test_servers_left_behind_without_a_death_signal_are_stopped_first(home: Path) -> None:
    """As where the kernel has no death signal: the pid file alone must do."""
    left = subprocess.Popen(["sleep", "60"])
    try:
        (home / "valkey.pid").write_text(f"{left.pid} {psutil.Process(left.pid).create_time()}")
        async with running(home, frozenset({"valkey"})):
            assert left.wait(0) == -signal.SIGTERM
        other = subprocess.Popen(["sleep", "60"])
        try:
            # The id was given anew to a process that is not ours: its time of birth differs.
            (home / "valkey.pid").write_text(f"{other.pid} {psutil.Process(other.pid).create_time() - 5}")
            async with running(home, frozenset({"valkey"})):
                assert other.poll() is None
        finally:
            other.kill()
            other.wait()
    finally:
        left.kill()
        left.wait()


async def test_lock_file_naming_another_living_process_does_not_stop_postgres(home: Path) -> None:
    async with running(home, frozenset({"postgres"})):
        lock = (home / "postgres" / "postmaster.pid").read_text().splitlines()
    user = DataFolder(home).user
    other = subprocess.Popen(["sleep", "60"], user=user.pw_uid if user else None)
    try:
        (home / "postgres" / "postmaster.pid").write_text("\n".join([str(other.pid), *lock[1:]]) + "\n")
        async with running(home, frozenset({"postgres"})) as (servers, _):
            assert servers.postgres
            assert await servers.postgres.answers()
    finally:
        other.kill()
        other.wait()


async def test_half_a_cluster_from_a_killed_first_start_is_made_anew(home: Path) -> None:
    folder = DataFolder(home)
    half = folder.private("postgres.new")
    (half / "base").mkdir()
    (half / "postgresql.conf").write_text("half")
    async with running(home, frozenset({"postgres"})) as (servers, _):
        assert servers.postgres
        assert await servers.postgres.answers()
    assert not half.exists()


async def test_second_owner_of_a_data_folder_is_refused_with_a_sentence(home: Path) -> None:
    first = DataFolder(home)
    first.lock()
    with pytest.raises(FolderError, match=f"already running with the data in {home} .process {os.getpid()}.*--data"):
        DataFolder(home).lock()
    first.unlock()
    second = DataFolder(home)
    second.lock()
    second.unlock()


async def test_program_that_ends_at_once_is_given_up_with_its_log(home: Path) -> None:
    async def never() -> bool:
        return False

    supervisor = Supervisor(DataFolder(home), print)
    program = Program("broken", [sys.executable, "-c", "raise SystemExit('no such luck')"], never, drop_rights=False)
    with pytest.raises(ServerFailed, match=r"broken does not start \(exit code 1\)(.|\n)*no such luck"):
        await supervisor.start(program, again_limit_s=0)
    await supervisor.stop()


async def test_child_that_keeps_dying_ends_the_watch_with_the_reason(home: Path) -> None:
    async def always() -> bool:
        return True

    said: list[str] = []
    supervisor = Supervisor(DataFolder(home), said.append, restarts_limit=2)
    await supervisor.start(Program("weak", [sys.executable, "-c", "raise SystemExit(3)"], always, drop_rights=False))
    with pytest.raises(ExceptionGroup) as failure:
        await supervisor.watch()
    assert failure.group_contains(ServerFailed, match="weak ended 3 times within 60 s")
    assert said.count("weak ended (exit code 3); starting it again") == 2
    await supervisor.stop()


@pytest.mark.skipif(not AS_ROOT, reason="only root has rights to drop")
async def test_root_runs_servers_as_a_user_without_rights(home: Path) -> None:
    async with running(home, frozenset({"postgres", "valkey", "temporal"})) as (_, supervisor):
        folder = DataFolder(home)
        assert folder.user
        for pid in supervisor.pids.values():
            process = psutil.Process(pid)
            assert set(process.uids()) == {folder.user.pw_uid}
            assert set(process.gids()) == {folder.user.pw_gid}


@pytest.mark.skipif(not AS_ROOT, reason="only root starts programs as another user")
async def test_binaries_below_a_private_folder_are_made_reachable(home: Path) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    tree = private / "package"
    (tree / "bin").mkdir(parents=True, mode=0o700)
    program = tree / "bin" / "tool"
    program.write_text('#!/bin/sh\nexec cat "$(dirname "$0")/../../package.libs/data"\n')
    program.chmod(0o700)
    libraries = private / "package.libs"
    libraries.mkdir()
    (libraries / "data").write_text("first")
    folder = DataFolder(home / "data")
    user = folder.user
    assert user

    def run_as_user() -> str:
        reached = folder.reachable(tree, libraries, program=program)
        done = subprocess.run(
            [reached], user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    assert run_as_user() == "first"
    # A new version of the package replaces the old copy.
    (libraries / "data").unlink()
    (libraries / "data").write_text("second")
    program.write_text(program.read_text() + "# newer\n")
    assert run_as_user() == "second"


@pytest.mark.skipif(not AS_ROOT, reason="a plain user's servers run as that user")
def test_data_folder_that_the_servers_cannot_reach_is_refused_with_a_sentence(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(FolderError, match=r"cannot reach .*closed/data.*--data"):
        DataFolder(closed / "data")


def test_data_folder_below_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"cannot be used: Not a directory.*--data"):
        DataFolder(tmp_path / "file" / "data")
