"""The forms that staff send, with words and maybe a file, and what is read from them and from addresses."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID

from aiohttp import BodyPartReader, hdrs, web

from core.errors import UserError
from core.money import DECIMALS
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
NUMBER_DIGITS_MAX = 18
"""Fewer than a bigint has."""
KEY_BYTES = 12
KEY_CHARS_MAX = 40

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


def is_number(written: str) -> bool:
    """Whether this is a number as an address or a form names a row, short enough for PostgreSQL."""
    return written.isascii() and written.isdigit() and len(written) <= NUMBER_DIGITS_MAX


def row_id(written: str) -> int:
    """The number of a row. Raises LookupError for what is none."""
    if not is_number(written):
        raise LookupError
    return int(written)


def uuid_of(written: str) -> UUID:
    """The id of a row that has a long one. Raises LookupError for what is none."""
    try:
        return UUID(written)
    except ValueError as error:
        raise LookupError from error


def day_of(query: Mapping[str, str], name: str) -> date | None:
    """The day that an address names; None where it names none. Raises UserError."""
    written = query.get(name, "")
    try:
        day = date.fromisoformat(written) if written else None
        # A day has an end in every zone, and so has no calendar's first or last one.
        if day:
            _ = day - timedelta(days=2), day + timedelta(days=2)
    except (ValueError, OverflowError) as error:
        raise UserError("A day is written 2026-11-24. Choose it again.") from error
    return day


def new_key() -> str:
    """What a form carries, so that it does one thing however often it is sent."""
    return secrets.token_urlsafe(KEY_BYTES)


def key_of(fields: Mapping[str, str]) -> str:
    """The key that a form was given by `new_key`. Raises UserError."""
    key = fields.get("key", "")
    if not 1 <= len(key) <= KEY_CHARS_MAX or not key.isascii() or not key.isprintable():
        raise UserError("Load the page again, and send its form.")
    return key


def line_of(fields: Mapping[str, str], name: str, ask: str, chars_max: int) -> str:
    """A line that has to be there, its white space made even; `ask` is how it is asked for. Raises UserError."""
    line = " ".join(fields.get(name, "").split())
    if not 1 <= len(line) <= chars_max or not line.isprintable():
        raise UserError(f"{ask}, in 1 to {chars_max} characters.")
    return line


def currency_of(fields: Mapping[str, str]) -> str:
    """The code of the currency that was typed. Raises UserError."""
    currency = fields.get("currency", "").strip().upper()
    if currency not in DECIMALS:
        raise UserError(f"There is no currency “{currency[:10]}”; write its code, such as KES.")
    return currency


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
