"""What the store holds of messages, opened: their words are sealed (core/sealed.py)."""

from collections.abc import Sequence
from typing import Any

import orjson

from core import mailboxes
from core.crypto import RoomKeys
from core.db import Database
from core.messages import PARTS, Contact, text_of
from core.names import names_of
from core.sealed import COLUMNS, opened


async def messages(db: Database, rest: str = "", *values: object, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Messages `m` with their `parts` as JSON; `rest` is what follows FROM message m, `also` are more columns."""
    async with db.pool.acquire() as connection:
        return await messages_on(db.keys, connection, rest, *values, also=also)


async def messages_on(
    keys: RoomKeys, connection: Any, rest: str = "", *values: object, also: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The same on any connection to the database."""
    columns = ", ".join(["m.seq", COLUMNS, *also])
    rows = await connection.fetch(f"SELECT {columns} FROM message m {rest}", *values)  # noqa: S608
    said = await opened(keys, connection, rows)
    return [dict(row) | {"parts": orjson.loads(json or b"[]")} for row, json in zip(rows, said, strict=True)]


async def texts(db: Database, rest: str = "", *values: object) -> list[str]:
    """What the first part of each of those messages says; empty for one that has none."""
    return [_said(row["parts"][0]) if row["parts"] else "" for row in await messages(db, rest, *values)]


async def whole(db: Database, rest: str = "", *values: object) -> list[str]:
    """All that each of those messages says, a part a line."""
    rows = await messages(db, rest, *values)
    return ["\n".join(words for part in row["parts"] if (words := _said(part))) for row in rows]


def _said(part: dict[str, Any]) -> str:
    [read] = PARTS.validate_python([part])
    if isinstance(read, Contact):
        return f"{read.name}: {', '.join((*read.phones, *read.emails))}"
    return text_of((read,))


async def mailbox(db: Database, address: str) -> str:
    """An address of e-mail, stored; its name, by which everything else knows it."""
    async with db.hot() as connection:
        return await mailboxes.keep(connection, address)


async def addresses(db: Database, names: Sequence[str]) -> list[str]:
    """The addresses that have these names; empty for what is none."""
    async with db.pool.acquire() as connection:
        known = await mailboxes.addresses(connection, names)
    return [known.get(name, "") for name in names]


async def called(db: Database, statement: str, *values: object) -> str | None:
    """A name that a statement finds, opened."""
    async with db.pool.acquire() as connection:
        return (await names_of(connection)).open(await connection.fetchval(statement, *values))
