"""`test`: every test, on throw-away servers; arguments go to pytest as they are.

Without arguments two sessions run side by side, each on servers of its own: tests mostly wait, and two cores are usual.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = (
    "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "TEMPORAL_HOST", "SANDBOX_URL", "PUBLIC_URL", "PORT", "HOST",
    "ENVIRONMENT", "MATHIA_CRASH", "MATHIA_STARTED",
)  # fmt: skip
"""Settings of a real deployment that may be around: no test may reach its data."""


ASIDE = ("channels", "core", "crash", "e2e", "web_admin")
"""Folders of tests that take about as long as all the others."""


def main(args: argparse.Namespace) -> int:
    """Run pytest in processes of their own; the exit code of the first that failed."""
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
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
    """Two sessions at once; what the second says is shown when both have ended."""
    aside = [f"tests/{name}" for name in ASIDE]
    others = [f"--ignore={name}" for name in aside]
    with tempfile.TemporaryFile() as said:
        second = subprocess.Popen([*command, *aside], cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run([*command, *others], cwd=ROOT, env=environment, check=False).returncode
            last = second.wait()
        finally:
            if second.poll() is None:
                second.terminate()
                second.wait()
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return first or last
