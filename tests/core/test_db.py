"""The database's edges."""

import pytest

from core.db import Database, driver


async def test_what_is_written_over_the_driver_is_in_the_sessions_transaction_from_the_first_statement(
    db: Database,
) -> None:
    class Wrong(Exception):
        pass

    async def fail() -> None:
        async with db.transaction() as session:
            connection = await driver(session)
            await connection.execute("INSERT INTO audit (actor, verb, subject, detail) VALUES ('a', 'b', 'c', '{}')")
            raise Wrong

    with pytest.raises(Wrong):
        await fail()
    assert await db.pool.fetchval("SELECT count(*) FROM audit") == 0
