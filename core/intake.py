"""What is done with every file before it is kept, whoever sent it: pictures are drawn anew and named by what they are.

What it is was told by its bytes before (core/sniff.py).
"""

from uuid import UUID

from core.files import Files, StoredFile
from core.pictures import redraw
from core.sniff import PICTURES, Sniffed, clean_name


async def keep(
    files: Files, conversation_id: UUID, seen: Sniffed, data: bytes, identity_id: UUID | None = None
) -> StoredFile:
    """Keep a file that was looked at, for a conversation. Raises FileRefused, FileGone, StoreUnavailable."""
    name, media_type, width, height = seen.name, seen.media_type, None, None
    if media_type in PICTURES:
        drawn = await redraw(data)
        data, media_type, width, height = drawn.data, drawn.media_type, drawn.width, drawn.height
        name = clean_name(name.rpartition(".")[0], PICTURES[media_type])
    return await files.put(
        conversation_id, data, name=name, media_type=media_type, identity_id=identity_id, width=width, height=height
    )
