"""`python3 -m bot payments …`: what of money needs a person, how a payment came to where it is, and how it ended."""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from bot.adminlink import embedded, simulated, staff_name
from bot.keys import key_list_of
from bot.servers.folder import default_folder
from connectors.intasend.accounts import Accounts
from connectors.intasend.client import IntaSend
from core import audit
from core.db import Database, driver, is_away
from core.errors import Conflict, ProviderError, StoreUnavailable
from core.providers import Providers
from core.settings import Settings
from jobs.reconcile import reconcile, shown
from ledger import instruction_store, matching_store
from ledger.money import Money

SHOWN_MAX = 100

Verb: TypeAlias = Callable[[Database, argparse.Namespace], Awaitable[None]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `payments`."""
    about = f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL"
    parser.add_argument("--data", type=Path, help=about)
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", dest="verb", required=True)
    verbs.add_parser("review", help="the payments that need a person, oldest first")
    verbs.add_parser("reconcile", help="compare with the provider's own list now, which happens every two hours")
    verbs.add_parser("findings", help="what does not agree with it, and how much money that is")
    explain = verbs.add_parser("explain", help="end a finding with what you found out")
    explain.add_argument("finding", type=int, metavar="NUMBER")
    explain.add_argument("--note", required=True, help="what it was")
    explain.add_argument("--by", type=staff_name, default="owner", metavar="WHO", help="who says so (default: owner)")
    show = verbs.add_parser("show", help="one payment, and everything that happened to it")
    show.add_argument("reference", metavar="REF")
    resolve = verbs.add_parser("resolve", help="say how a payment that needs a person ended; it is booked so")
    resolve.add_argument("reference", metavar="REF")
    resolve.add_argument("outcome", choices=("succeeded", "failed"), help="as the provider's dashboard shows it")
    resolve.add_argument("--note", required=True, help="how you know")
    resolve.add_argument("--by", type=staff_name, default="owner", metavar="WHO", help="who says so (default: owner)")


async def main(args: argparse.Namespace) -> int:
    """Do it and return 0; raises Conflict or StoreUnavailable with a sentence to print."""
    folder = args.data or default_folder()
    settings = simulated(Settings(), folder)
    db = await Database.connect(settings.database_url or embedded(folder), key_list_of(settings, folder), pool_size=2)
    try:
        if args.verb == "reconcile":
            await _reconcile(db, settings)
        else:
            await VERBS[args.verb](db, args)
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


async def _reconcile(db: Database, settings: Settings) -> None:
    if not settings.moves_money:
        raise Conflict("There is nobody to compare with: INTASEND_SECRET_KEY is empty.")
    providers = Providers(settings)
    try:
        outcome = await reconcile(db, IntaSend(providers, settings), Accounts(providers, settings), at_once=True)
    except ProviderError as error:
        raise Conflict(f"{error} What was settled stays so; try again later.") from error
    finally:
        await providers.close()
    for line in shown(outcome) if outcome else ():
        print(line)


async def _findings(db: Database, _args: argparse.Namespace) -> None:
    async with db.hot() as connection:
        rows = await matching_store.open_findings(connection)
        left = await matching_store.unexplained(connection)
    for row in rows:
        money = "" if row["unexplained"] is None else f"  {Money(row['unexplained'], row['currency'])}"
        print(f"{row['id']}  {row['kind']}{money}  {row['subject']}  since {row['first_seen_at']:%Y-%m-%d %H:%M} UTC")
        print(f"    here: {row['ours']}; there: {row['theirs']}")
    print(f"Unexplained: {', '.join(map(str, left.values()))}." if left else "Nothing is unexplained.")


async def _explain(db: Database, args: argparse.Namespace) -> None:
    async with db.transaction() as session:
        by = f"staff:{args.by}"
        await matching_store.explain(await driver(session), args.finding, by, args.note)
        await audit.record(session, by, "finding.explained", f"finding:{args.finding}")
    print(f"Finding {args.finding} is explained.")


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
    if of.account is not None:
        print(f"through the person's own account {of.account}")
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


VERBS: Final[Mapping[str, Verb]] = {
    "review": _review, "findings": _findings, "explain": _explain, "show": _show, "resolve": _resolve
}  # fmt: skip
