"""`test`: every test, on throw-away servers; arguments go to pytest as they are.

Without arguments three sessions run side by side, each on servers of its own: tests wait for four parts in ten of their
time, and two cores are usual.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = (
    "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "TEMPORAL_HOST", "SANDBOX_URL", "PUBLIC_URL", "PORT", "HOST",
    "ENVIRONMENT", "MATHIA_CRASH", "MATHIA_STARTED",
)  # fmt: skip
"""Settings of a real deployment that may be around: no test may reach its data."""
SLOWER = ("PYTHONDONTWRITEBYTECODE",)
"""What would have each of some hundred processes compile everything anew."""


ASIDE = (("channels", "core", "crash", "ledger"), ("e2e", "golden", "jobs", "web_admin"))
"""Folders of tests that take about as long together as all that are not named here."""


def main(args: argparse.Namespace) -> int:
    """Run pytest in processes of their own; the exit code of the first that failed."""
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in OURS + SLOWER}
    command = [sys.executable, "-X", "utf8", "-m", "pytest", *args.rest]
    try:
        if args.rest:
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        else:
            code = side_by_side(command, environment)
    except KeyboardInterrupt:
        code = 130
    print(f"tests took {time.monotonic() - started:.0f} s", flush=True)
    return code


def side_by_side(command: list[str], environment: dict[str, str]) -> int:
    """All sessions at once; what the later ones say is shown when all have ended."""
    others = [f"--ignore=tests/{name}" for folders in ASIDE for name in folders]
    with ExitStack() as stack:
        beside = []
        for folders in ASIDE:
            said = stack.enter_context(tempfile.TemporaryFile())
            chosen = [*command, *(f"tests/{name}" for name in folders)]
            session = subprocess.Popen(chosen, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
            stack.callback(end, session)
            beside.append((session, said))
        codes = [subprocess.run([*command, *others], cwd=ROOT, env=environment, check=False).returncode]
        codes += [session.wait() for session, _ in beside]
        for _, said in beside:
            said.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(said.read())
            sys.stdout.flush()
    return next((code for code in codes if code), 0)


def end(session: "subprocess.Popen[bytes]") -> None:
    """Stop a session that is still running."""
    if session.poll() is None:
        session.terminate()
        session.wait()
