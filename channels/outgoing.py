"""Files of ours on their way out: their bytes, and links under which others can open them."""

import re
from datetime import UTC, datetime, timedelta

from channels.base import NotSent, Undeliverable
from core.errors import StoreUnavailable
from core.files import FileGone, Files, StoredFile, file_id
from core.messages import OutboundMessage

LINK = timedelta(days=7)
"""How long a link in a message opens its file."""

_PROOF = re.compile(r"\?until=[0-9]+&proof=[0-9a-f]+")


class Outgoing:
    """The files of the messages that a channel sends."""

    def __init__(self, files: Files | None = None, base_url: str = "") -> None:
        """`base_url` is where the provider, and whoever gets a link, reaches us; empty where they do not."""
        self._files = files
        self._base_url = base_url

    def link(self, ref: str) -> str | None:
        """An address that opens a file for LINK; None where nobody reaches us."""
        wanted = file_id(ref)
        if wanted is None or self._files is None or not self._base_url:
            return None
        return self._base_url + self._files.link(wanted, datetime.now(UTC), LINK)

    async def read(self, message: OutboundMessage, ref: str) -> tuple[StoredFile, bytes]:
        """A file of the message's own conversation, whole. Raises Undeliverable where there is none, else NotSent."""
        wanted = file_id(ref)
        if wanted is None or self._files is None:
            raise Undeliverable("The file is not kept here.")
        try:
            found = await self._files.find([wanted])
            if not found or found[0].conversation_id != message.conversation_id:
                raise Undeliverable("The file is gone.")
            return found[0], await self._files.read(found[0])
        except FileGone as error:
            raise Undeliverable("The file is gone.") from error
        except StoreUnavailable as error:
            raise NotSent("The file storage did not answer.") from error


def without_proof(text: str) -> str:
    """A text without the parts of our links that differ each time they are made."""
    return _PROOF.sub("", text)
