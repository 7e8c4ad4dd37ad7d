"""What Mathia can do: one file or folder for each third party or skill. This is the one list of them."""

from connectors import (
    account,
    contacts,
    currency,
    documents,
    erasure,
    export,
    handoff,
    invoices,
    memory,
    profile,
    quotas,
    reminders,
    wallet,
    weather,
)
from core.actions import Connector

CONNECTORS: tuple[Connector, ...] = (
    weather.connector, currency.connector, reminders.connector, contacts.connector, memory.connector,
    profile.connector, account.connector, handoff.connector, quotas.connector, wallet.connector, invoices.connector,
    documents.connector, export.connector, erasure.connector,
)  # fmt: skip
"""Every connector there is, on or off, in the order they are shown to who does not know what to say."""
