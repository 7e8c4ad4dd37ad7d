"""`check`: lint, types, import rules, migrations against models, derived documents; everything that needs no test."""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"run these alone: {', '.join(CHECKS)}")


def main(args: argparse.Namespace) -> int:
    """Run every check, side by side, also after one has failed; 1 if any did."""
    unknown = [name for name in args.only if name not in CHECKS]
    if unknown:
        print(f"There is no check {unknown[0]!r}; there are {', '.join(CHECKS)}.", file=sys.stderr)
        return 2
    failed = []
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        running = [pool.submit(timed, name) for name in dict.fromkeys(args.only or CHECKS)]
        for done in as_completed(running):
            name, complaint, took_s = done.result()
            print(f"{name:<11} {'failed' if complaint else 'ok'}  {took_s:.1f} s", flush=True)
            if complaint:
                failed.append(name)
                print(complaint, flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def timed(name: str) -> tuple[str, str, float]:
    """Run one check: its name, its complaint, and how many seconds it took beside the others."""
    started = time.monotonic()
    return name, CHECKS[name](), time.monotonic() - started


def program(*words: str) -> Callable[[], str]:
    """A check that runs a program in the checkout; what it says is the complaint when it fails."""

    def check() -> str:
        done = subprocess.run(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        return "" if done.returncode == 0 else done.stdout.strip() or f"{words[-1]} failed without a word"

    return check


def migrations() -> str:
    """What the models have and the migrations lack, on a throw-away database."""
    from bot.migrate import drift, migrate, throw_away_database

    async def compare() -> str:
        async with throw_away_database() as url:
            await migrate(url)
            return await drift(url) or ""

    return asyncio.run(compare())


def beside(name: str) -> str:
    """A program that a development package put beside this Python."""
    return str(Path(sys.executable).with_name(name))


CHECKS: dict[str, Callable[[], str]] = {
    "ruff": program(sys.executable, "-m", "ruff", "check", "--quiet"),
    "mypy": program(sys.executable, "-m", "mypy", "--no-error-summary"),
    "imports": program(beside("lint-imports"), "--no-cache"),
    "migrations": migrations,
    "docs": program(sys.executable, "-m", "bot", "docs", "--check"),
}
