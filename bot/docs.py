"""docs/actions.md, written from the catalog: every action of every connector, whether it is on here or not."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from connectors import CONNECTORS
from core.actions import Connector
from core.catalog import action_doc

PAGE = Path(__file__).resolve().parent.parent / "docs" / "actions.md"
HEAD = """# Actions

What Mathia can do, written by `python3 -m bot docs` from the declarations in `connectors/`. Do not edit it by hand.
"""


def page(connectors: Sequence[Connector]) -> str:
    """The whole page; the same connectors give the same page, in whatever order they come."""
    sections = [HEAD]
    for connector in sorted(connectors, key=lambda connector: connector.name):
        sections.append(f"## {connector.title.en}\n")
        if connector.requires:
            needs = ", ".join(f"`{name.upper()}`" for name in connector.requires)
            sections.append(f"Off until these settings are made: {needs}.\n")
        sections += [action_doc(action) for action in sorted(connector.actions, key=lambda action: action.name)]
    return "\n".join(sections).rstrip() + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `docs`."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")


def main(args: argparse.Namespace) -> int:
    """Write the page, or with --check only say whether it is fresh: 0 when it is, 1 when not."""
    wanted = page(CONNECTORS)
    if not args.check:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    sys.stderr.write("docs/actions.md is stale: run python3 -m bot docs\n")
    return 1
