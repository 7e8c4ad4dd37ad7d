"""`templates`: WhatsApp's message templates, which are all it takes from us a day after the person last wrote."""

import argparse
from pathlib import Path

from bot.adminlink import embedded, simulated
from bot.servers.folder import default_folder
from channels.base import TemplateRegistry
from channels.whatsapp import template_registries
from core.db import Database
from core.errors import MathiaError
from core.messages import ChannelName
from core.settings import Settings
from core.templates import STATES, rows
from jobs import templates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `templates`."""
    parser.add_argument(
        "what",
        choices=("list", "add", "submit", "refresh"),
        help="list: how they stand; add: register ours with each sender's provider; submit: ask for WhatsApp's approval"
        " (at Meta, add does); refresh: ask how that went (the worker does so too)",
    )
    parser.add_argument(
        "--sender",
        help="only the sender of this name: whatsapp:+14155238886 at Twilio, a phone number id at Meta; all without it",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help=f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL",
    )


async def main(args: argparse.Namespace) -> int:
    """Do one of them and print how the templates stand."""
    folder = args.data or default_folder()
    settings = simulated(Settings(), folder)
    registries = template_registries(settings)
    if not registries:
        raise MathiaError(
            "Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_WHATSAPP_FROM first, or META_PHONE_NUMBER_ID,"
            " META_WABA_ID, META_ACCESS_TOKEN and META_APP_SECRET."
        )
    chosen = [registry for registry in registries if args.sender in (None, registry.account)]
    if not chosen:
        known = ", ".join(registry.account for registry in registries)
        raise MathiaError(f"No sender is called {args.sender}; there is {known}.")
    db = await Database.connect(settings.database_url or embedded(folder), pool_size=1)
    try:
        for registry in chosen:
            await _do(args.what, db, registry)
    finally:
        for registry in registries:
            await registry.close()
        await db.close()
    return 0


async def _do(what: str, db: Database, registry: TemplateRegistry) -> None:
    """One of them for one sender."""
    done = ""
    match what:
        case "add":
            done = f" {await templates.add(db, registry)} registered."
        case "submit":
            done = f" {await templates.submit(db, registry)} submitted."
        case "refresh":
            done = f" {len(await templates.refresh(db, registry, STATES))} changed."
    print(f"{registry.account}:{done}")
    found = await rows(db, ChannelName.WHATSAPP, registry.account)
    if not found:
        print("  There are no templates yet. Register ours with `python3 -m bot templates add`.")
    for row in found:
        shown = f"  {row.name:10} {row.language:3} {row.state:12} {row.provider_ref or '-':34} {row.reason or ''}"
        print(shown.rstrip())
