"""Accounts and entries to try the ledger with."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from core.db import Database
from ledger.accounts import clearing, wallet
from ledger.journal import Account, Entry, Kind, credit, debit
from ledger.money import Money
from ledger.posting import Ledger

BANK = clearing("bank", "KES")
_keys = itertools.count(1)


def kes(minor: int) -> Money:
    """So many cents."""
    return Money(minor, "KES")


def purse(name: str) -> Account:
    """Somebody's wallet in shillings."""
    return wallet(name, "KES")


def deposit(name: str, minor: int, key: str | None = None) -> Entry:
    """Money from the bank into a wallet."""
    return moved(BANK, purse(name), minor, key, Kind.DEPOSIT)


def transfer(giver: str, taker: str, minor: int, key: str | None = None) -> Entry:
    """Money from wallet to wallet."""
    return moved(purse(giver), purse(taker), minor, key, Kind.TRANSFER)


def moved(debited: Account, credited: Account, minor: int, key: str | None = None, kind: Kind = Kind.TRANSFER) -> Entry:
    """An entry of two legs, under a key of its own."""
    amount = kes(minor)
    return Entry(key or f"k{next(_keys)}", kind, (debit(debited, amount), credit(credited, amount)))


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """The ledger of a fresh database."""
    return Ledger(db)


@pytest.fixture
async def app(db: Database) -> AsyncIterator[Any]:
    """A raw connection as the application's role, outside any transaction."""
    async with db.pool.acquire() as connection:
        yield connection


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A raw connection as the owner of the tables."""
    connection = await asyncpg.connect(owner_url)
    try:
        yield connection
    finally:
        await connection.close()
