"""Starts child processes, waits until they are healthy, starts them again when they end, and stops them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bot.servers.folder import DataFolder
from core.errors import MathiaError

POLL_S = 0.1
"""How often a running child is looked at."""
START_POLL_S = 0.02
HEALTHY_LIMIT_S = 60.0
"""How long a child may take to become healthy; crash recovery of a database can be long."""
START_AGAIN_LIMIT_S = 30.0
"""How long a child that ends at once is tried again: a killed PostgreSQL refuses while old backends are attached."""
STOP_LIMIT_S = 10.0
RESTARTS_LIMIT = 10
RESTARTS_WINDOW_S = 60.0
"""More than RESTARTS_LIMIT ends within the window: the supervisor gives up."""
BACK_OFF_LIMIT_S = 5.0
PORT_TRIES = 3
LOG_LIMIT_BYTES = 10 * 1024 * 1024
LAUNCH = Path(__file__).with_name("launch.py")


class ServerFailed(MathiaError):
    """A child process cannot be kept running; the message holds the end of its log."""


@dataclass(frozen=True)
class Program:
    """What to run. `healthy` says whether it serves; `stop_signal` ends it cleanly, also when we are killed."""

    name: str
    argv: Sequence[str | Path]
    healthy: Callable[[], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    drop_rights: bool = True
    log: bool = True
    """Whether its output goes to a file in the data folder; else it shares ours."""
    uses_others: bool = False
    """Whether it works with the other children, so that it has to be stopped before them."""


class Supervisor:
    """The children of this process. Start programs, then run `watch` beside everything else.

    Children must be started from the main thread: the kernel ties "dies with its parent" to the thread that forked.
    """

    def __init__(
        self, folder: DataFolder, announce: Callable[[str], None], restarts_limit: int = RESTARTS_LIMIT
    ) -> None:
        self._folder = folder
        self._announce = announce
        self._restarts_limit = restarts_limit
        self._running: dict[str, tuple[Program, subprocess.Popen[bytes]]] = {}
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children by name."""
        return {name: process.pid for name, (_, process) in self._running.items()}

    async def start(self, program: Program, again_limit_s: float = START_AGAIN_LIMIT_S) -> None:
        """Start `program` and return when it is healthy; one that ends at once is started again until the limit."""
        await self._stop_leftover(program)
        give_up_at = time.monotonic() + again_limit_s
        while True:
            process = self._spawn(program)
            self._running[program.name] = (program, process)
            if await self._becomes_healthy(program, process):
                return
            if time.monotonic() > give_up_at or self._stopping:
                raise ServerFailed(f"{program.name} does not start ({ending(process)}). {self._log_end(program)}")
            await asyncio.sleep(POLL_S * 2)

    async def start_on_free_port(self, program_on: Callable[[int], Program]) -> int:
        """Start the program on a loopback port nobody uses; the port. Somebody may take it first: PORT_TRIES times."""
        for left in reversed(range(PORT_TRIES)):
            port = free_port()
            try:
                await self.start(program_on(port), again_limit_s=0)
            except ServerFailed:
                if not left:
                    raise
            else:
                return port
        raise AssertionError("the last try returns or raises")

    async def run_to_end(self, argv: Sequence[str | Path], limit_s: float) -> None:
        """Run a program that ends by itself, with the rights of the servers; raises ServerFailed where it fails."""
        program = Program(Path(argv[0]).name, argv, healthy=_never, env=bare_environment())
        process = self._spawn(program)
        give_up_at = time.monotonic() + limit_s
        try:
            while process.poll() is None:
                if time.monotonic() > give_up_at:
                    raise ServerFailed(f"{program.name} did not end within {limit_s:.0f} s. {self._log_end(program)}")
                await asyncio.sleep(START_POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            self._pid_file(program.name).unlink(missing_ok=True)
        if process.returncode:
            raise ServerFailed(f"{program.name} failed ({ending(process)}). {self._log_end(program)}")

    async def watch(self) -> None:
        """Start again whatever ends, until cancelled; raises ServerFailed when one cannot be kept running."""
        async with asyncio.TaskGroup() as group:
            for name in list(self._running):
                group.create_task(self._keep(name), name=f"keep {name}")

    async def stop(self) -> None:
        """End every child cleanly, those that use others first; kill what takes longer than STOP_LIMIT_S."""
        self._stopping = True
        for uses_others in (True, False):
            await self._stop([pair for pair in self._running.values() if pair[0].uses_others is uses_others])
        self._running.clear()

    async def _stop(self, children: Sequence[tuple[Program, subprocess.Popen[bytes]]]) -> None:
        for program, process in children:
            if process.poll() is None:
                process.send_signal(program.stop_signal)
        give_up_at = time.monotonic() + STOP_LIMIT_S
        for program, process in children:
            while process.poll() is None:
                if time.monotonic() > give_up_at:
                    self._announce(f"{program.name} did not stop within {STOP_LIMIT_S:.0f} s and was killed")
                    process.kill()
                    process.wait()
                    break
                await asyncio.sleep(START_POLL_S)
            self._pid_file(program.name).unlink(missing_ok=True)

    async def _keep(self, name: str) -> None:
        ends: list[float] = []
        while True:
            program, process = self._running[name]
            if process.poll() is None:
                await asyncio.sleep(POLL_S)
                continue
            now = time.monotonic()
            ends = [at for at in ends if now - at < RESTARTS_WINDOW_S] + [now]
            if len(ends) > self._restarts_limit:
                raise ServerFailed(
                    f"{name} ended {len(ends)} times within {RESTARTS_WINDOW_S:.0f} s. {self._log_end(program)}"
                )
            self._announce(f"{name} ended ({ending(process)}); starting it again")
            await asyncio.sleep(min(BACK_OFF_LIMIT_S, 0.1 * 2 ** (len(ends) - 1)) if len(ends) > 1 else 0)
            await self.start(program)
            self._announce(f"{name} is back after {time.monotonic() - now:.1f} s")

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        user = self._folder.user if program.drop_rights else None
        launch = [
            sys.executable, "-I", "-S", LAUNCH, os.getpid(), int(program.stop_signal),
            user.pw_uid if user else -1, user.pw_gid if user else -1,
        ]  # fmt: skip
        output = self._log_file(program).open("ab") if program.log else None
        try:
            process = subprocess.Popen(
                [str(word) for word in (*launch, *program.argv)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=program.cwd,
                env=dict(program.env),
                start_new_session=True,  # Ctrl-C in the terminal must reach only us.
            )
        finally:
            if output:
                output.close()
        # Where the kernel offers no death signal (macOS), the next start finds what was left behind by this file.
        self._pid_file(program.name).write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
        return process

    async def _becomes_healthy(self, program: Program, process: subprocess.Popen[bytes]) -> bool:
        give_up_at = time.monotonic() + HEALTHY_LIMIT_S
        while process.poll() is None:
            if await program.healthy():
                return True
            if time.monotonic() > give_up_at:
                process.kill()
                process.wait()
                raise ServerFailed(
                    f"{program.name} did not answer within {HEALTHY_LIMIT_S:.0f} s. {self._log_end(program)}"
                )
            await asyncio.sleep(START_POLL_S)
        return False

    async def _stop_leftover(self, program: Program) -> None:
        file = self._pid_file(program.name)
        if not file.exists():
            return
        try:
            pid, created = file.read_text().split()
            left = psutil.Process(int(pid))
            if abs(left.create_time() - float(created)) < 1 and left.status() != psutil.STATUS_ZOMBIE:
                left.send_signal(program.stop_signal)
                give_up_at = time.monotonic() + STOP_LIMIT_S
                while left.is_running() and left.status() != psutil.STATUS_ZOMBIE:
                    if time.monotonic() > give_up_at:
                        left.kill()
                    await asyncio.sleep(START_POLL_S)
        except (psutil.NoSuchProcess, ValueError):
            pass  # It is gone, or the file was never finished.
        file.unlink(missing_ok=True)

    def _pid_file(self, name: str) -> Path:
        return self._folder.path / f"{name}.pid"

    def _log_file(self, program: Program) -> Path:
        file = self._folder.path / f"{program.name}.log"
        if file.exists() and file.stat().st_size > LOG_LIMIT_BYTES:
            file.replace(file.with_suffix(".log.1"))
        return file

    def _log_end(self, program: Program) -> str:
        file = self._log_file(program)
        if not program.log or not file.exists():
            return ""
        lines = file.read_text(errors="replace")[-2000:].strip().splitlines()[-5:]
        return f"The end of {file}:\n  " + "\n  ".join(lines)


def ending(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, in words."""
    code = process.returncode
    if code is None:
        return "still running"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def bare_environment() -> dict[str, str]:
    """What a server needs of our environment: no secret of ours is in it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": "C", "HOME": "/"}


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def _never() -> bool:
    return False
