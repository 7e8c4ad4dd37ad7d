"""The bytes behind a part's `ref`, for whoever has to read what people sent."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from core.files import FileGone, Files, file_id, is_lost

Fetch: TypeAlias = Callable[[UUID, str], Awaitable[bytes]]
"""The bytes of a file of a conversation by its `ref`.

Raises NotFetched while its provider still has it, FileGone where there is none or it belongs to another conversation,
StoreUnavailable.
"""


class NotFetched(Exception):
    """The file is still with its provider."""


def from_files(files: Files) -> Fetch:
    """A Fetch of what is kept here."""

    async def fetch(conversation_id: UUID, ref: str) -> bytes:
        if is_lost(ref):
            raise FileGone("The file never came.")
        wanted = file_id(ref)
        if wanted is None:
            raise NotFetched
        found = await files.find([wanted])
        if not found or found[0].conversation_id != conversation_id:
            raise FileGone("There is no such file here.")
        return await files.read(found[0])

    return fetch


async def no_files(conversation_id: UUID, ref: str) -> bytes:
    """A Fetch where nothing is kept."""
    raise FileGone("No files are kept here.")
