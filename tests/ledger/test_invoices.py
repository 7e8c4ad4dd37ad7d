"""Invoices: numbers without gaps, states that follow a law, payments that count once."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from asyncpg import CheckViolationError

from core.db import Database
from ledger import invoices
from ledger.errors import IllegalEntry, KeyReused
from tests.ledger.conftest import kes

TODAY = date(2026, 11, 26)
HASH = bytes(32)


async def add_person(db: Database) -> UUID:
    """Whoever makes invoices."""
    person: UUID = await db.pool.fetchval("INSERT INTO person (id) VALUES (gen_random_uuid()) RETURNING id")
    return person


async def create(db: Database, issuer: UUID, key: str, today: date = TODAY, **other: Any) -> invoices.Invoice:
    async with db.hot() as connection:
        return await invoices.create(
            connection, key, other.get("request", HASH), issuer, kes(1_000), b"sealed", today=today
        )


async def test_numbers_have_no_gaps_whoever_races_or_rolls_back(db: Database) -> None:
    issuer = await add_person(db)

    async def rolled_back(key: str) -> None:
        with pytest.raises(ZeroDivisionError):
            async with db.hot() as connection, connection.transaction():
                await invoices.create(connection, key, HASH, issuer, kes(1_000), b"sealed", today=TODAY)
                raise ZeroDivisionError

    made, _ = await asyncio.gather(
        asyncio.gather(*(create(db, issuer, f"k{n}") for n in range(64))),
        asyncio.gather(*(rolled_back(f"r{n}") for n in range(16))),
    )
    assert sorted(invoice.number for invoice in made) == [f"INV-2026-{n:05}" for n in range(1, 65)]
    assert (await create(db, issuer, "new year", date(2027, 1, 1))).number == "INV-2027-00001"


async def test_the_same_key_is_one_invoice(db: Database) -> None:
    issuer = await add_person(db)
    same = await asyncio.gather(*(create(db, issuer, "k") for _ in range(8)))
    assert {invoice.number for invoice in same} == {"INV-2026-00001"}
    with pytest.raises(KeyReused):
        await create(db, issuer, "k", request=bytes([1] * 32))


async def test_payments_count_once_and_leave_an_honest_rest(db: Database) -> None:
    number = (await create(db, await add_person(db), "k")).number
    async with db.hot() as connection:
        with pytest.raises(IllegalEntry):
            await invoices.pay(connection, number, "early", kes(1))
        await invoices.move(connection, number, "sent")
        for _ in range(2):
            part = await invoices.pay(connection, number, "p1", kes(400))
            assert (part.state, part.rest) == ("part_paid", kes(600))
        over = await invoices.pay(connection, number, "p2", kes(700))
        assert (over.state, over.rest) == ("paid", kes(-100))
        with pytest.raises(KeyReused):
            await invoices.pay(connection, number, "p2", kes(701))


@pytest.mark.parametrize("state", ["paid", "part_paid", "overdue", "disputed", "elsewhere"])
async def test_postgresql_refuses_what_does_not_follow(db: Database, state: str) -> None:
    number = (await create(db, await add_person(db), "k")).number
    async with db.hot() as connection:
        with pytest.raises(CheckViolationError):
            await invoices.move(connection, number, state)
    async with db.hot() as connection:
        assert (await invoices.move(connection, number, "void")).state == "void"
        with pytest.raises(CheckViolationError):
            await invoices.move(connection, number, "draft")
