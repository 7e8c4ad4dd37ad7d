"""`python3 -m bot payments …`: what of money needs a person, how a payment came to where it is, and how it ended."""

import argparse
from pathlib import Path
from typing import Any

from bot.adminlink import embedded, staff_name
from bot.keys import key_list_of
from bot.servers.folder import default_folder
from core import audit
from core.db import Database, driver, is_away
from core.errors import Conflict, StoreUnavailable
from core.settings import Settings
from ledger import instruction_store
from ledger.money import Money

SHOWN_MAX = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `payments`."""
    about = f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL"
    parser.add_argument("--data", type=Path, help=about)
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", dest="verb", required=True)
    verbs.add_parser("review", help="the payments that need a person, oldest first")
    show = verbs.add_parser("show", help="one payment, and everything that happened to it")
    show.add_argument("reference", metavar="REF")
    resolve = verbs.add_parser("resolve", help="say how a payment that needs a person ended; it is booked so")
    resolve.add_argument("reference", metavar="REF")
    resolve.add_argument("outcome", choices=("succeeded", "failed"), help="as the provider's dashboard shows it")
    resolve.add_argument("--note", required=True, help="how you know")
    resolve.add_argument("--by", type=staff_name, default="owner", metavar="WHO", help="who says so (default: owner)")


async def main(args: argparse.Namespace) -> int:
    """Do it and return 0; raises Conflict or StoreUnavailable with a sentence to print."""
    settings = Settings().sandboxed()
    folder = args.data or default_folder()
    db = await Database.connect(settings.database_url or embedded(folder), key_list_of(settings, folder), pool_size=2)
    try:
        await {"review": _review, "show": _show, "resolve": _resolve}[args.verb](db, args)
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("The database does not answer. Start it, or Mathia, and ask again.") from error
        raise
    finally:
        await db.close()
    return 0


async def _review(db: Database, _args: argparse.Namespace) -> None:
    async with db.hot() as connection:
        rows = await instruction_store.waiting_for_review(connection, SHOWN_MAX)
    for row in rows:
        amount = Money(row["amount"], row["currency"])
        ids = row["tracking_id"] or row["invoice_id"] or "no id at the provider"
        print(f"{row['reference']}  {row['direction']:3}  {amount}  since {row['at']:%Y-%m-%d %H:%M} UTC  {ids}")
        print(f"    {row['reason']}")
    print(f"{len(rows)} need a person." if rows else "No payment needs a person.")


async def _show(db: Database, args: argparse.Namespace) -> None:
    async with db.hot() as connection:
        of = await instruction_store.find(connection, args.reference)
        if of is None:
            raise Conflict(f"There is no payment {args.reference}.")
        events: list[Any] = await connection.fetch(
            "SELECT at, from_state, to_state, actor, reason, detail FROM payment_event"
            " WHERE instruction_id = $1 ORDER BY id",
            of.id,
        )
    ids = ", ".join(filter(None, (of.tracking_id, of.invoice_id, of.session))) or "none yet"
    print(f"{of.reference}  {of.direction} by {of.method}  {of.amount}  fee {of.fee}  {of.state}")
    print(f"asked for by person {of.person_id}; at the provider: {ids}")
    for event in events:
        said = " ".join(f"{name}={value}" for name, value in (event["detail"] or {}).items() if value)
        parts = (f"{event['at']:%Y-%m-%d %H:%M:%S}", event["to_state"], event["actor"], event["reason"], said)
        print("  ".join(part for part in parts if part))


async def _resolve(db: Database, args: argparse.Namespace) -> None:
    async with db.transaction() as session:
        connection = await driver(session)
        by = f"staff:{args.by}"
        of = await instruction_store.resolve(connection, args.reference, args.outcome == "succeeded", by, args.note)
        await audit.record(session, by, "payment.resolved", f"payment:{of.id}", {"outcome": args.outcome})
    print(f"{of.reference} is {args.outcome}: {of.amount} is booked so.")
