"""Files that are sent in the sandbox: by people through `POST /<provider>/_media`, and by the application."""

import base64
import binascii
import re
from collections.abc import Callable

from bot.sandbox.truth import JsonObject

FILES_MAX = 200
BYTES_MAX = 256 * 1024 * 1024
"""Beyond either the oldest is forgotten."""
TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}(; ?[a-z0-9.=+-]{1,60})?")


class KeptFiles:
    """One provider's files, by the ids it gives them."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._files: dict[str, tuple[str, bytes]] = {}
        self._bytes = 0

    def keep(self, asked: JsonObject) -> JsonObject:
        """Keep the bytes in `data`, base64, as a file of `type`; its id. Raises ValueError with a sentence."""
        media_type = asked.get("type", "application/octet-stream")
        if not isinstance(media_type, str) or not TYPE.fullmatch(media_type):
            raise ValueError("type must be a MIME type.")
        try:
            data = base64.b64decode(asked["data"], validate=True)
        except (KeyError, TypeError, binascii.Error, ValueError):
            raise ValueError("data must be base64.") from None
        return {"id": self.put(media_type, data)}

    def put(self, media_type: str, data: bytes) -> str:
        """Keep a file; its id."""
        number = self._new_id()
        self._files[number] = media_type, data
        self._bytes += len(data)
        while len(self._files) > 1 and (len(self._files) > FILES_MAX or self._bytes > BYTES_MAX):
            self._bytes -= len(self._files.pop(next(iter(self._files)))[1])
        return number

    def get(self, number: str) -> tuple[str, bytes] | None:
        """A file's type and bytes."""
        return self._files.get(number)
