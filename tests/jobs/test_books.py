"""The books are recomputed by the worker, and what differs is said."""

import asyncio
from contextlib import suppress
from typing import Any

from structlog.testing import capture_logs

from bot.servers.postgres import Postgres
from core.db import Database
from jobs.books import watch_books
from ledger.posting import Ledger
from tests.ledger.conftest import deposit
from tests.waiting import until


async def test_a_difference_is_an_error_in_the_log(db: Database, database: str, postgres: Postgres) -> None:
    await Ledger(db).post(deposit("amina", 500))
    with capture_logs() as logs:
        watching = asyncio.create_task(watch_books(db, first_s=0, every_s=0.05))

        async def told(event: str) -> Any:
            return [one for one in logs if one["event"] == event]

        await until(lambda: told("books.right"), what="the books being found right")
        assert not await told("books.differ")
        superuser = await postgres.connect(database)
        await superuser.execute("SET session_replication_role = replica; UPDATE account SET posted = 1")
        await superuser.close()
        await until(lambda: told("books.differ"), what="the difference being told")
        [first, *_] = await told("books.differ")
        assert "is not the sum of its postings" in first["first"]
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
