"""`admin-link`: print a link that signs somebody in to the admin pages, once."""

import argparse
import re
from pathlib import Path

from sqlalchemy.exc import ProgrammingError

from bot.sandbox.accounts import ADDRESS_FILE
from bot.servers.folder import DataFolder, default_folder
from bot.servers.postgres import APP, Postgres
from bot.up import local_host, port_number
from core.db import Database, is_away
from core.errors import MathiaError
from core.settings import Settings
from web_admin.auth import LINK_TTL, new_sign_in_link

STAFF_NAME = re.compile(r"[\w.-]{1,40}")
SOCKET = ".s.PGSQL.5432"


class NoLink(MathiaError):
    """No link could be made; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `admin-link`."""
    parser.add_argument("--staff", type=staff_name, default="owner", help="whom it signs in, as the audit log will say")
    parser.add_argument("--port", type=port_number, help="the web server's port, when `up --port` chose another")
    parser.add_argument(
        "--data",
        type=Path,
        help=f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL",
    )


def staff_name(text: str) -> str:
    """A name for the audit log; raises argparse's error for anything else."""
    if not STAFF_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a name has 1 to 40 letters, digits, dots, dashes or underscores")
    return text


async def main(args: argparse.Namespace) -> int:
    """Print the link; raises NoLink."""
    settings = Settings() if args.port is None else Settings().model_copy(update={"port": args.port})
    db = await Database.connect(settings.database_url or embedded(args.data or default_folder()), pool_size=1)
    try:
        path = await new_sign_in_link(db, args.staff)
    except ProgrammingError as error:
        raise NoLink("The database has no tables yet. Run `python3 -m bot migrate` first.") from error
    except Exception as error:
        if is_away(error):
            raise NoLink("The database does not answer. Start it, or Mathia, and ask again.") from error
        raise
    finally:
        await db.close()
    here = settings.public_url.rstrip("/") or f"http://{local_host(settings.host)}:{settings.port}"
    print(f"{here}{path}")
    print(f"It signs {args.staff} in once, within {int(LINK_TTL.total_seconds() // 60)} minutes.")
    return 0


def simulated(settings: Settings, folder: Path) -> Settings:
    """The settings with every keyless provider simulated, as they are of an `up` that runs on this folder."""
    address = folder / "sandbox" / ADDRESS_FILE
    if not settings.database_url and not settings.sandbox_url and address.exists():
        settings = settings.model_copy(update={"sandbox_url": address.read_text()})
    return settings.sandboxed()


def embedded(folder: Path) -> str:
    """The address of the PostgreSQL that `up` runs on this folder; raises NoLink where none runs."""
    if not folder.exists():
        raise NoLink(
            f"There is no data in {folder}. Start Mathia with `python3 -m bot up`, or name its folder with --data."
        )
    run = DataFolder(folder).run_folder()
    if not (run / SOCKET).exists():
        raise NoLink(f"Mathia is not running on {folder}. Start it with `python3 -m bot up`, which prints a link too.")
    return Postgres(run).url(APP)
