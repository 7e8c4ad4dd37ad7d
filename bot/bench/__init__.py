"""Benchmarks, each beside the limit measured in the same run: `python3 -m bot bench [NAME] [--json FILE]`."""

import argparse
import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

NAMES = ("start", "turn", "chat", "rooms", "reminders", "ledger", "storm")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: its value, the limit it is held against (same unit, same run), and their ratio, 1 being the limit."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie; 0.0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    parser.add_argument("name", nargs="?", choices=NAMES, help="one benchmark; all of them without a name")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON to FILE; - is standard output")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each measurement lasts")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often measurement and limit alternate; medians count"
    )
    for name in NAMES:
        add_own = getattr(importlib.import_module(f"bot.bench.{name}"), "add_arguments", None)
        if add_own is not None:
            add_own(parser)


async def main(args: argparse.Namespace) -> int:
    """Run one benchmark, or all; 0 when they ran."""
    rows: list[Row] = []
    for name in [args.name] if args.name else NAMES:
        print(f"bench {name} …", file=sys.stderr, flush=True)
        rows += await importlib.import_module(f"bot.bench.{name}").run(args)
    if args.json:
        text = json.dumps([asdict(row) for row in rows], indent=1)
        if args.json == "-":
            print(text)
        else:
            Path(args.json).write_text(text + "\n")
    if args.json != "-":
        for row in rows:
            beside = f"   limit {row.limit:,.1f}, ratio {row.ratio:.2f}" if row.limit and row.ratio is not None else ""
            times = (
                f"   p50 {row.p50_ms:.1f} ms, p99 {row.p99_ms:.1f} ms"
                if row.p50_ms is not None and row.p99_ms is not None
                else ""
            )
            print(f"{row.name:44} {row.value:12,.1f} {row.unit}{beside}{times}")
    return 0
