"""`python3 -m bot ledger …`: recompute the books, and write them out for others to read."""

import argparse
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from bot.adminlink import embedded
from bot.keys import key_list_of
from bot.servers.folder import default_folder
from core.db import Database, is_away
from core.errors import MathiaError, StoreUnavailable
from core.settings import Settings
from ledger import export, reconcile

FORMATS = {"beancount": export.beancount, "csv": export.as_csv}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `ledger`."""
    about = f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL"
    parser.add_argument("--data", type=Path, help=about)
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", dest="verb", required=True)
    verbs.add_parser("verify", help="recompute everything from the postings and compare; 1 if anything differs")
    write = verbs.add_parser("export", help="write all entries as text, as of one moment")
    write.add_argument("--format", choices=FORMATS, default="beancount", help="beancount (default), or csv")
    write.add_argument("--out", type=Path, metavar="FILE", help="a file instead of the standard output")


async def main(args: argparse.Namespace) -> int:
    """Do it; 0, or 1 where the books are not right. Raises StoreUnavailable with a sentence to print."""
    settings = Settings().sandboxed()
    folder = args.data or default_folder()
    db = await Database.connect(settings.database_url or embedded(folder), key_list_of(settings, folder), pool_size=1)
    try:
        return await (_verify(db) if args.verb == "verify" else _export(db, args))
    except BrokenPipeError:
        raise  # Whoever read what is written out has gone.
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("The database does not answer. Start it, or Mathia, and ask again.") from error
        raise
    finally:
        await db.close()


async def _verify(db: Database) -> int:
    async with db.hot() as connection:
        report = await reconcile.reconcile(connection)
    for difference in report.differences:
        print(f"{difference.where}: {difference.what}")
    size = f"accounts {report.accounts:,}, entries {report.entries:,}, postings {report.postings:,}"
    print(f"The books are NOT right: {size}." if report.differences else f"The books are right: {size}.")
    return 1 if report.differences else 0


async def _export(db: Database, args: argparse.Namespace) -> int:
    async with db.hot() as connection:
        pieces: AsyncIterator[str] = FORMATS[args.format](connection)
        if args.out is None:
            async for piece in pieces:
                sys.stdout.write(piece)
            return 0
        aside = args.out.with_name(f"{args.out.name}.part")
        try:
            with aside.open("w", encoding="utf-8", newline="") as file:
                async for piece in pieces:
                    file.write(piece)
            aside.replace(args.out)  # Whoever looks at the file sees all of it or none.
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            raise MathiaError(f"{args.out} cannot be written: {error.strerror}.") from error
    return 0
