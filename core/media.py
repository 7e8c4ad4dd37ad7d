"""The bytes behind a part's `ref`, whoever keeps them."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""The bytes of a file of ours by its `ref`. Raises NotFetched while its provider still has it, LookupError where it
is gone, NoFiles where none are kept."""


class NotFetched(Exception):
    """The file is still with its provider."""


class NoFiles(Exception):
    """Nobody keeps files here."""


async def nothing_here(ref: str) -> bytes:
    """A Fetch where no files are kept."""
    raise NoFiles(f"No files are kept here, {ref.partition(':')[0]} or other.")
