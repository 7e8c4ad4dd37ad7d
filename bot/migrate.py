"""Brings a database to the newest migration, and writes new migrations from the models."""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from bot.servers.folder import DataFolder
from bot.servers.postgres import OWNER, start_postgres
from bot.servers.supervisor import Supervisor
from core.errors import MathiaError
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def alembic_config(owner_url: str) -> Config:
    """Alembic's configuration from pyproject.toml, for the database at `owner_url`."""
    config = Config(toml_file=ROOT / "pyproject.toml", stdout=StringIO())
    config.attributes["url"] = owner_url
    return config


async def migrate(owner_url: str) -> None:
    """Upgrade to the newest migration; `owner_url` logs in as the owner of the tables. Safe to run twice at once."""
    await asyncio.to_thread(command.upgrade, alembic_config(owner_url), "head")


async def drift(owner_url: str) -> str | None:
    """What the models have and the migrations lack, as a sentence; None where they agree."""
    try:
        await asyncio.to_thread(command.check, alembic_config(owner_url))
    except CommandError as error:
        return str(error)
    return None


async def new_revision(owner_url: str, message: str) -> Path:
    """Write the next migration from the difference between the models and the database; its path."""
    script = await asyncio.to_thread(command.revision, alembic_config(owner_url), message, autogenerate=True)
    if script is None or isinstance(script, list):
        raise MathiaError("Nothing was written: one migration was expected.")
    return Path(script.path)


@asynccontextmanager
async def throw_away_database() -> AsyncIterator[str]:
    """The owner's URL of an empty database on a PostgreSQL that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mathia-", ignore_cleanup_errors=True) as path:
        folder = DataFolder(Path(path))
        supervisor = Supervisor(folder, print)
        try:
            yield (await start_postgres(folder, supervisor, durable=False)).url(OWNER)
        finally:
            await supervisor.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `migrate`."""
    parser.add_argument(
        "--new", metavar="MESSAGE", help="write the next migration from the models instead (needs no database)"
    )


async def main(args: argparse.Namespace) -> int:
    """Migrate the database of the settings, or write a new migration."""
    if args.new:
        async with throw_away_database() as url:
            await migrate(url)
            print(f"Wrote {await new_revision(url, args.new)}. Read it before you commit it.")
        return 0
    settings = Settings()
    url = settings.database_owner_url or settings.database_url
    if not url:
        raise MathiaError(
            "Set DATABASE_OWNER_URL (or DATABASE_URL) to the database to migrate; `up` migrates its own by itself."
        )
    await migrate(url)
    print("The database has the newest migration.")
    return 0
