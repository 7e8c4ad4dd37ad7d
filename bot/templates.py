"""`templates`: WhatsApp's message templates, which are all it takes from us a day after the person last wrote."""

import argparse
from pathlib import Path

from bot.adminlink import embedded
from bot.sandbox.accounts import ADDRESS_FILE
from bot.servers.folder import default_folder
from channels.whatsapp.twilio_content import TwilioContent
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
        help="list: how they stand; add: register ours with Twilio; submit: ask for WhatsApp's approval;"
        " refresh: ask how that went (the worker does so too)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help=f"the data folder of `up` (default here: {default_folder()}); unused with DATABASE_URL",
    )


async def main(args: argparse.Namespace) -> int:
    """Do one of them and print how the templates stand."""
    folder = args.data or default_folder()
    settings = Settings()
    address = folder / "sandbox" / ADDRESS_FILE
    if not settings.database_url and not settings.sandbox_url and not settings.twilio_account_sid and address.exists():
        settings = settings.model_copy(update={"sandbox_url": address.read_text()})
    settings = settings.sandboxed()
    if not settings.twilio_account_sid or not settings.twilio_whatsapp_from:
        raise MathiaError("Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_WHATSAPP_FROM first.")
    registry = TwilioContent(settings)
    db = await Database.connect(settings.database_url or embedded(folder), pool_size=1)
    try:
        match args.what:
            case "add":
                print(f"{await templates.add(db, registry)} registered.")
            case "submit":
                print(f"{await templates.submit(db, registry)} submitted.")
            case "refresh":
                print(f"{len(await templates.refresh(db, registry, STATES))} changed.")
        found = await rows(db, ChannelName.WHATSAPP, registry.account)
    finally:
        await registry.close()
        await db.close()
    if not found:
        print("There are no templates yet. Register ours with `python3 -m bot templates add`.")
    for row in found:
        print(f"{row.name:10} {row.language:3} {row.state:12} {row.provider_ref or '-':34} {row.reason or ''}".rstrip())
    return 0
