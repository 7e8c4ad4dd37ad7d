"""What PostgreSQL refuses, whoever writes it: the application's role, and the owner of the tables."""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import pytest

from core.db import Database
from ledger import accounts, holds
from ledger.journal import Account
from ledger.money import MINOR_MAX
from ledger.posting import Ledger, make
from tests.ledger.conftest import deposit, kes, purse, transfer

Raw: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
HASH = bytes(32)
DOLLARS = accounts.wallet("amina", "USD")
WRITE = """
WITH entry AS (
    INSERT INTO journal_entry (id, key, request_hash, kind, at, reverses)
    SELECT id, key, $3, kind, clock_timestamp(), reverses
    FROM unnest($1::bigint[], $2::text[], $4::text[], $5::bigint[]) AS e(id, key, kind, reverses)
)
INSERT INTO posting (account_id, account_seq, entry_id, currency, amount, balance_after, at)
SELECT a.id, a.seq + 1 + p.late, p.entry, p.currency, p.amount,
       a.posted + ledger_side(a.type) * p.amount + p.off, clock_timestamp() - p.ago * interval '1 hour'
FROM unnest($6::text[], $7::bigint[], $8::text[], $9::bigint[], $10::int[], $11::int[], $12::int[])
     AS p(account, entry, currency, amount, late, off, ago) JOIN account a ON a.key = p.account
"""


class Head(NamedTuple):
    """An entry as raw SQL writes it."""

    id: int = 9_001
    key: str = "raw"
    kind: str = "TRANSFER"
    reverses: str | int | None = None
    """The key of an entry of `books`, or an id."""


class Leg(NamedTuple):
    """A posting as raw SQL writes it; the last three make it not follow the one before."""

    account: Account
    amount: int
    entry: str | int = 9_001
    currency: str = "KES"
    late: int = 0
    off: int = 0
    ago: int = 0


async def write(connection: Any, heads: Sequence[Head], legs: Sequence[Leg]) -> None:
    """The one statement that writes entries and postings, as anybody can type it."""
    ids = dict(await connection.fetch("SELECT key, id FROM journal_entry"))
    await written(connection, WRITE, ids, heads, legs)


async def written(
    connection: Any, statement: str, ids: Mapping[Any, int], heads: Sequence[Head], legs: Sequence[Leg]
) -> None:
    await connection.execute(
        statement, [one.id for one in heads], [one.key for one in heads], HASH, [one.kind for one in heads],
        [ids.get(one.reverses, one.reverses) for one in heads], [one.account.key for one in legs],
        [ids.get(one.entry, one.entry) for one in legs],
        [one.currency for one in legs], [one.amount for one in legs], [one.late for one in legs],
        [one.off for one in legs], [one.ago for one in legs],
    )  # fmt: skip


AMINA, JUMA, ASHA = purse("amina"), purse("juma"), purse("asha")
BANK, FEES = accounts.clearing("bank", "KES"), accounts.fee_income("KES")
ILLEGAL: dict[str, tuple[str, Sequence[Head], Sequence[Leg]]] = {
    "does not balance": ("23514", [Head()], [Leg(AMINA, 5), Leg(JUMA, -4)]),
    "balances over two currencies only": ("23514", [Head()], [Leg(AMINA, 5), Leg(DOLLARS, -5, currency="USD")]),
    "one leg": ("23514", [Head()], [Leg(JUMA, -5)]),
    "no leg": ("23514", [Head()], []),
    "one of two entries has no leg": ("23514", [Head(), Head(9_002, "two")], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "legs of no entry": ("23503", [], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "legs added to an entry": ("23514", [], [Leg(FEES, 5, "first"), Leg(JUMA, -5, "first")]),
    "not the account's currency": (
        "23503", [Head()], [Leg(AMINA, 5, currency="USD"), Leg(DOLLARS, -5, currency="USD")]
    ),
    "more than there is": ("23514", [Head()], [Leg(AMINA, 601), Leg(JUMA, -601)]),
    "more than there is, for a moment": (
        "23514",
        [Head(), Head(9_002, "two")],
        [
            Leg(JUMA, 5), Leg(AMINA, -5), Leg(BANK, 5, 9_002, late=0), Leg(JUMA, -5, 9_002, late=1, off=-5),
        ],
    ),
    "what is held": ("23514", [Head()], [Leg(ASHA, 1), Leg(JUMA, -1)]),
    "more than an account holds": ("23514", [Head()], [Leg(BANK, MINOR_MAX),
                                                       Leg(JUMA, -MINOR_MAX)]),
    "nothing": ("23514", [Head()], [Leg(AMINA, 0), Leg(JUMA, 0)]),
    "the same key": ("23505", [Head(key="first")], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "a refused key": ("23505", [Head(key="refused")], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "no such kind": ("23514", [Head(kind="GIFT")], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "a gap before it": ("23514", [Head()], [Leg(AMINA, 5, late=1), Leg(JUMA, -5)]),
    "its number again": ("23505", [Head()], [Leg(AMINA, 5, late=-1), Leg(JUMA, -5)]),
    "another balance": ("23514", [Head()], [Leg(AMINA, 5, off=1), Leg(JUMA, -5)]),
    "earlier than the one before": ("23514", [Head()], [Leg(AMINA, 5, ago=1), Leg(JUMA, -5)]),
    "reverses nothing": ("23514", [Head(kind="REVERSAL")], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "reverses what is not there": ("23503", [Head(kind="REVERSAL", reverses=4_711)], [Leg(AMINA, 5), Leg(JUMA, -5)]),
    "reverses in part": ("23514", [Head(kind="REVERSAL", reverses="first")], [Leg(AMINA, -5), Leg(JUMA, 5)]),
    "reverses a reversal": ("23514", [Head(kind="REVERSAL", reverses="undo")], [Leg(JUMA, -1), Leg(AMINA, 1)]),
    "reverses again": ("23505", [Head(kind="REVERSAL", reverses="done")], [Leg(AMINA, -1), Leg(JUMA, 1)]),
}  # fmt: skip
HOLDS = {
    "more than there is": ("23514", "INSERT INTO hold (key, account_id, amount) VALUES ('h', $1, 601)"),
    "nothing": ("23514", "INSERT INTO hold (key, account_id, amount) VALUES ('h', $1, 0)"),
    "on no account": ("23503", "INSERT INTO hold (key, account_id, amount) VALUES ('h', -$1::bigint, 1)"),
    "the same key": ("23505", "INSERT INTO hold (key, account_id, amount) VALUES ('void', $1, 1)"),
    "resolved again": ("42501", "UPDATE hold SET state = 'expired' WHERE key = 'void' AND $1::bigint > 0"),
    "opened again": ("42501", "UPDATE hold SET state = 'open' WHERE key = 'void' AND $1::bigint > 0"),
    "expired before its time": ("23514", "UPDATE hold SET state = 'expired' WHERE key = 'open' AND $1::bigint > 0"),
    "posted by nothing": ("23514", "UPDATE hold SET state = 'posted' WHERE key = 'open' AND $1::bigint > 0"),
    "posted by another entry": (
        "23514",
        "UPDATE hold SET state = 'posted', entry_id = (SELECT id FROM journal_entry WHERE key = 'first')"
        " WHERE key = 'open' AND $1::bigint > 0",
    ),
    "posted by no entry": (
        "23503", "UPDATE hold SET state = 'posted', entry_id = 4711 WHERE key = 'open' AND $1::bigint > 0"
    ),
}  # fmt: skip
OWNERS_TOO = (
    "UPDATE account SET posted = posted + 1", "UPDATE account SET pending_out = 0", "DELETE FROM account",
    "TRUNCATE account CASCADE", "UPDATE journal_entry SET kind = 'FEE'", "DELETE FROM journal_entry",
    "TRUNCATE journal_entry CASCADE", "UPDATE posting SET amount = 1", "DELETE FROM posting", "TRUNCATE posting",
    "DELETE FROM hold", "TRUNCATE hold", "UPDATE refused_entry SET reason = 'balance_limit'",
    "DELETE FROM refused_entry", "TRUNCATE refused_entry", "UPDATE hold SET amount = 1", "UPDATE hold SET key = 'x'",
)  # fmt: skip
APPLICATION = (
    "ALTER TABLE posting DISABLE TRIGGER ALL", "ALTER TABLE posting DISABLE TRIGGER ledger_posted",
    "DROP TRIGGER ledger_posted ON posting", "ALTER TABLE account DROP CONSTRAINT ck_account_overdraft",
    "SET session_replication_role = replica", "DROP TABLE posting", "ALTER TABLE posting OWNER TO mathia_app",
    "CREATE OR REPLACE FUNCTION ledger_posted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "INSERT INTO account (key, type, currency, posted) VALUES ('rich', 'LIABILITY', 'KES', 1)",
    "INSERT INTO hold (key, account_id, amount, state) VALUES ('h', 1, 1, 'voided')",
)  # fmt: skip


@pytest.fixture(params=["application", "owner"])
async def writer(request: pytest.FixtureRequest, database_url: str, owner_url: str) -> "AsyncIterator[Raw]":
    """Raw SQL by either role."""
    connection = await asyncpg.connect(database_url if request.param == "application" else owner_url)
    try:
        yield connection
    finally:
        await connection.close()


async def books(ledger: Ledger, db: Database) -> None:
    """Amina has 600 and keeps 100 of it back, Asha 50, all of it held, Juma nothing."""
    await ledger.post(deposit("amina", 600, "first"))
    await ledger.post(deposit("asha", 50))
    with pytest.raises(Exception, match="not enough money"):
        await ledger.post(transfer("juma", "amina", 1, "refused"))
    done = await ledger.post(transfer("amina", "juma", 1, "done"))
    await ledger.reverse(done.id, "undo")
    async with db.hot() as connection:
        await make(connection, [DOLLARS, FEES])
        await holds.place(connection, "all", ASHA, kes(50))
        await holds.place(connection, "open", AMINA, kes(100))
        await holds.place(connection, "void", AMINA, kes(100))
        await holds.void(connection, "void")


async def counts(connection: Any) -> Any:
    return await connection.fetchrow(
        "SELECT (SELECT count(*) FROM journal_entry), (SELECT count(*) FROM posting), (SELECT count(*) FROM hold),"
        " (SELECT sum(posted) FROM account), (SELECT sum(pending_out) FROM account)"
    )


async def test_an_entry_that_breaks_a_law_is_refused(writer: Raw, ledger: Ledger, db: Database) -> None:
    await books(ledger, db)
    before = await counts(writer)
    told: dict[str, str | None] = {}
    for shape, (_, heads, legs) in ILLEGAL.items():
        told[shape] = await refusal(write(writer, heads, legs))
        assert await counts(writer) == before, shape
    assert told == {shape: code for shape, (code, _, _) in ILLEGAL.items()}


async def refusal(writing: Awaitable[object]) -> str | None:
    """The SQLSTATE something was refused with; None where it was not."""
    try:
        await writing
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return None


async def test_nobody_shows_the_laws_other_tables(writer: Raw, ledger: Ledger, db: Database) -> None:
    """Temporary tables are found before others, and whoever writes can make them."""
    await books(ledger, db)
    before = await counts(db.pool)
    for table in ("account", "journal_entry", "posting", "hold", "refused_entry"):
        await writer.execute(f"CREATE TEMP TABLE {table} AS TABLE public.{table}")
    await writer.execute(
        "UPDATE pg_temp.account SET posted = 1000000, pending_out = 0;"
        " INSERT INTO pg_temp.posting SELECT account_id, account_seq, 9001, currency, amount, balance_after, at"
        " FROM pg_temp.posting; DELETE FROM pg_temp.refused_entry;"
        " UPDATE pg_temp.hold SET entry_id = 9001, state = 'posted'"
    )
    real = WRITE.replace("INTO journal_entry", "INTO public.journal_entry").replace(
        "INTO posting", "INTO public.posting"
    )
    ids = dict(await db.pool.fetch("SELECT key, id FROM journal_entry"))
    told: dict[str, str | None] = {}
    for shape, (_, heads, legs) in ILLEGAL.items():
        told[shape] = await refusal(
            written(writer, real.replace("JOIN account", "JOIN public.account"), ids, heads, legs)
        )
        assert await counts(db.pool) == before, shape
    assert told == {shape: code for shape, (code, _, _) in ILLEGAL.items()}


async def test_an_entry_that_breaks_none_is_written(writer: Raw, ledger: Ledger, db: Database) -> None:
    """Else all the refusals above would say nothing."""
    await books(ledger, db)
    await write(writer, [Head()], [Leg(AMINA, 500), Leg(JUMA, -500)])
    assert await writer.fetchval("SELECT posted FROM account WHERE key = $1", JUMA.key) == 500


async def test_a_hold_that_breaks_a_law_is_refused(writer: Raw, ledger: Ledger, db: Database) -> None:
    await books(ledger, db)
    before = await counts(writer)
    amina = await writer.fetchval("SELECT id FROM account WHERE key = $1", AMINA.key)
    told: dict[str, str | None] = {}
    for shape, (_, statement) in HOLDS.items():
        told[shape] = await refusal(writer.execute(statement, amina))
        assert await counts(writer) == before, shape
    assert told == {shape: code for shape, (code, _) in HOLDS.items()}


async def test_an_entry_cannot_be_completed_later(writer: Raw, ledger: Ledger, db: Database) -> None:
    """Nor within its transaction: it is whole in its statement."""
    await books(ledger, db)
    head, legs = [Head()], [Leg(AMINA, 5), Leg(JUMA, -5)]
    with pytest.raises(asyncpg.CheckViolationError, match="no postings"):
        await both(writer, (head, []), ([], legs))
    with pytest.raises(asyncpg.CheckViolationError, match="sealed"):
        await both(writer, (head, legs), ([], [Leg(FEES, 5), Leg(BANK, -5)]))


async def both(writer: Raw, *writes: tuple[Sequence[Head], Sequence[Leg]]) -> None:
    async with writer.transaction():
        for heads, legs in writes:
            await write(writer, heads, legs)


async def test_what_was_written_stays(writer: Raw, ledger: Ledger, db: Database) -> None:
    await books(ledger, db)
    before = await counts(writer)
    for statement in OWNERS_TOO:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(statement)
    assert await counts(writer) == before


async def test_the_application_cannot_take_the_laws_away(ledger: Ledger, db: Database, database_url: str) -> None:
    await books(ledger, db)
    connection = await asyncpg.connect(database_url)
    for statement in APPLICATION:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    # It may lock an account, and for that has a right to a column of it that nothing can be written to.
    with pytest.raises(asyncpg.PostgresError, match='column "id" can only be updated to DEFAULT'):
        await connection.execute("UPDATE account SET id = 1")
    await connection.close()


async def test_what_is_owed_is_never_negative(writer: Raw) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await writer.execute(
            "INSERT INTO account (key, type, currency, allow_negative) VALUES ('w', 'LIABILITY', 'KES', true)"
        )
