"""Planting a bug in a copy of the checkout, where its tests have to fail of it."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

RUN_S_MAX = 240.0
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".mathia", "__pycache__", ".*_cache", ".hypothesis", "images")


class Edit(NamedTuple):
    """A bug: what stands in a file, once, and what stands there instead."""

    file: str
    was: str
    becomes: str


class Mutant(NamedTuple):
    """A bug, and the tests that have to fail of it: a file below tests/, and pytest's arguments."""

    tests: str
    edits: tuple[Edit, ...]


def planted(mutants: Mapping[str, Mutant], at_once: int) -> list[str]:
    """Those of this run: so many by the day, or with MATHIA_MUTANTS=all every one."""
    if os.environ.get("MATHIA_MUTANTS") == "all":
        return list(mutants)
    return random.Random(datetime.now(UTC).date().toordinal()).sample(sorted(mutants), at_once)


def must_be_caught(mutant: Mutant, folder: Path) -> None:
    """Plant it in a copy of the checkout, and fail unless its tests do."""
    checkout = folder / "mutant"
    shutil.copytree(ROOT, checkout, ignore=LEFT_BEHIND)
    if (ROOT / ".venv").exists():
        (checkout / ".venv").symlink_to((ROOT / ".venv").resolve())
    for file, was, becomes in mutant.edits:
        text = (checkout / file).read_text()
        assert text.count(was) == 1, f"{was!r} stands {text.count(was)} times in {file}"
        (checkout / file).write_text(text.replace(was, becomes))
    environment = {**os.environ, "MATHIA_LEDGER_KEYS": "40"}
    tests, *arguments = mutant.tests.split()
    options = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments, f"tests/{tests}"],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert " failed" in done.stdout
