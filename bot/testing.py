"""`test`: every test, on throw-away servers; arguments go to pytest as they are."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = (
    "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "TEMPORAL_HOST", "SANDBOX_URL", "PUBLIC_URL", "PORT", "HOST",
    "ENVIRONMENT", "MATHIA_CRASH", "MATHIA_STARTED",
)  # fmt: skip
"""Settings of a real deployment that may be around: no test may reach its data."""


def main(args: argparse.Namespace) -> int:
    """Run pytest in a process of its own; its exit code."""
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    command = [sys.executable, "-X", "utf8", "-m", "pytest", *args.rest]
    try:
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    except KeyboardInterrupt:
        code = 130
    print(f"tests took {time.monotonic() - started:.0f} s", flush=True)
    return code
