"""The bytes behind a part's `ref`, whoever keeps them."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""The bytes of a file of ours by its `ref`. Raises NotFetched while its provider still has it, LookupError where it
is gone."""


class NotFetched(Exception):
    """The file is still with its provider."""


async def nothing_here(ref: str) -> bytes:
    """A Fetch where no files are kept."""
    raise LookupError(f"No files are kept here, {ref.partition(':')[0]} or other.")
