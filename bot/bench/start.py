"""The start of `up`: how long until everything serves, and what all its processes take together at rest (PSS).

Linux alone says PSS: memory that processes share counts once, and less where programs beside `up` share it. Some of
what is installed for tests alone is loaded as well, and takes some 3 MiB.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import psutil

from bot.bench import Row
from bot.stand import ROOT
from bot.up import STARTED

REST_S = 60.0
"""How long after it is ready its memory is looked at."""
READY_LIMIT_S = 5.0
PSS_LIMIT_MIB = 350.0
GIVE_UP_S = 120.0
READY = re.compile(rb"ready in ([0-9.]+) s")


def pss_mib(pid: int) -> float:
    """What a process and all its descendants take, in MiB; shared pages are shared out among those that have them."""
    top = psutil.Process(pid)
    kib = 0
    for process in (top, *top.children(recursive=True)):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        kib += int(re.findall(r"^Pss: +([0-9]+) kB$", rollup, re.MULTILINE)[0])
    return kib / 1024


async def start(data: Path) -> tuple[float, float]:
    """Start `up` on `data`, let it rest, and stop it: seconds until it was ready, and its MiB."""
    environment = {name: value for name, value in os.environ.items() if name != STARTED}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "up", "--port", "0", "--data", str(data),
        cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output = process.stdout
    if output is None:
        raise RuntimeError("up has no output")
    try:
        async with asyncio.timeout(GIVE_UP_S):
            said = b""
            while not (ready := READY.search(said)):
                line = await output.readline()
                if not line:
                    raise RuntimeError(f"up ended: {said.decode(errors='replace')[-500:]}")
                said += line
        reading = asyncio.create_task(output.read())  # Nobody who logs may be held up by a full pipe.
        await asyncio.sleep(REST_S)
        taken = await asyncio.to_thread(pss_mib, process.pid)
        reading.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
    return float(ready[1]), taken


async def run(_args: argparse.Namespace) -> list[Row]:
    """A first start, on an empty folder, and a second on the same one."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="mathia-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        for name in ("first", "second"):
            seconds, mib = await start(folder / "data")
            rows.append(Row(f"{name} start, until ready", seconds, "s", READY_LIMIT_S, seconds / READY_LIMIT_S))
            rows.append(Row(f"{name} start, all processes at rest", mib, "MiB", PSS_LIMIT_MIB, mib / PSS_LIMIT_MIB))
    return rows
