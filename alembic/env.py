"""Runs migrations against PostgreSQL: asyncpg, one advisory lock, every table of core, ledger and the connectors."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterable

from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

import connectors
from core.models import Base

LOCK_KEY = 724_001
"""Advisory lock that makes concurrent migrations queue instead of collide."""
LOCK_WAIT = "60s"

for name in ("models", "instruction_models", "invoice_models", "mandate_models"):
    importlib.import_module(f"ledger.{name}")
for found in pkgutil.iter_modules(connectors.__path__, "connectors."):
    if found.ispkg and importlib.util.find_spec(f"{found.name}.models"):
        importlib.import_module(f"{found.name}.models")


def database_url() -> str:
    """The owner's URL: given by bot.migrate, else from the settings."""
    given = context.config.attributes.get("url")
    if given is None:
        from core.settings import Settings

        settings = Settings()
        given = settings.database_owner_url or settings.database_url
    if not given:
        raise SystemExit("Set DATABASE_OWNER_URL to the database to migrate, or run `python3 -m bot migrate`.")
    return make_url(given).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def number_revision(
    migration: MigrationContext, revision: str | Iterable[str | None] | Iterable[str], scripts: list[MigrationScript]
) -> None:
    """Give a new migration the next number instead of a random id, so that files sort in order."""
    if scripts:
        head = context.script.get_current_head()
        scripts[0].rev_id = f"{int(head or 0) + 1:04d}"


def run(connection: Connection) -> None:
    """Run what alembic was asked for over this connection."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        process_revision_directives=number_revision,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect, take the lock, run."""
    engine = create_async_engine(database_url(), poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SET lock_timeout = '{LOCK_WAIT}'"))
            await connection.execute(text(f"SELECT pg_advisory_lock({LOCK_KEY})"))
            await connection.commit()
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations run against a real database; offline mode is not supported.")
asyncio.run(main())
