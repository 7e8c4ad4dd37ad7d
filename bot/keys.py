"""`keys`: the keys that wrap the rooms' keys."""

import argparse

from core.crypto import KeyList


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with them."""
    parser.add_argument("what", choices=("new",), help="new: print a line for .env with a new key")


def main(_args: argparse.Namespace) -> int:
    """Print it: the only time it is shown."""
    print(f"MATHIA_KEYS={KeyList.new().written()}")
    return 0
