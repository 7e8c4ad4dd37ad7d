"""The forms that staff send: fields with words, and one that may have a file beside them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, hdrs, web

from core.errors import UserError
from core.sniff import FILE_BYTES_MAX

FORM_BYTES_MAX = 65_536
"""The longest message of staff fits, every character of it escaped."""
FIELDS_MAX = 12
FILES_AT_ONCE = 2
"""How many forms with a file a process holds in memory at a time; the next wait."""
BODY_S = 300.0
"""How long a form with a file may take to arrive."""
SILENCE_S = 20.0
"""How long it may say nothing."""
CHUNK_BYTES = 256 * 1024
NAME_CHARS_MAX = 1_024

_places = asyncio.Semaphore(FILES_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Attached:
    """A file as it came: its name and type are what the sender says."""

    name: str
    said: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A form's fields by name, and its file, if one was chosen."""

    fields: dict[str, str] = field(default_factory=dict)
    file: Attached | None = None


async def read(request: web.Request, is_ours: Callable[[str | None], bool]) -> Form | None:
    """A form of ours; None where its token is not the session's, of which nothing more is read then.

    Raises UserError, and HTTPException for one that is too large.
    """
    if request.content_type == "multipart/form-data":
        _check_length(request, FILE_BYTES_MAX + FORM_BYTES_MAX)
        async with _places:
            return await _multipart(request, is_ours)
    fields = await words(request)
    return Form(fields) if is_ours(fields.get("csrf")) else None


async def words(request: web.Request) -> dict[str, str]:
    """The text fields of a form; what is no form has none. Raises for one that is too large, before reading it."""
    _check_length(request, FORM_BYTES_MAX)
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    try:
        fields = await request.post()
    except ValueError:
        return {}
    return {name: value for name, value in list(fields.items())[:FIELDS_MAX] if isinstance(value, str)}


def _check_length(request: web.Request, bytes_max: int) -> None:
    if request.content_length is None:
        raise web.HTTPLengthRequired
    if request.content_length > bytes_max:
        raise web.HTTPRequestEntityTooLarge(bytes_max, request.content_length)


async def _multipart(request: web.Request, is_ours: Callable[[str | None], bool]) -> Form | None:
    """Field by field: the token comes first, and before anything large."""
    fields: dict[str, str] = {}
    file = None
    left = FORM_BYTES_MAX
    try:
        async with asyncio.timeout(BODY_S):
            parts = await request.multipart()
            for _ in range(FIELDS_MAX + 1):
                part = await parts.next()
                if part is None:
                    break
                if not isinstance(part, BodyPartReader) or part.name is None:
                    continue
                if part.name != "csrf" and not is_ours(fields.get("csrf")):
                    return None
                if part.filename is None:
                    value = await _bytes(part, left)
                    left -= len(value)
                    fields[part.name] = value.decode()
                elif data := await _bytes(part, FILE_BYTES_MAX):
                    said = part.headers.get(hdrs.CONTENT_TYPE, "")
                    file = Attached(part.filename[:NAME_CHARS_MAX], said, data)
    except TimeoutError as error:
        raise UserError("The file did not arrive in time. Try again.") from error
    except (ValueError, AssertionError) as error:
        raise UserError("This form cannot be read. Load the page again and repeat what you did.") from error
    return Form(fields, file) if is_ours(fields.get("csrf")) else None


async def _bytes(part: BodyPartReader, bytes_max: int) -> bytes:
    data = bytearray()
    while True:
        async with asyncio.timeout(SILENCE_S):
            chunk = await part.read_chunk(CHUNK_BYTES)
        if not chunk:
            return bytes(data)
        data += chunk
        if len(data) > bytes_max:
            raise web.HTTPRequestEntityTooLarge(bytes_max, len(data))
