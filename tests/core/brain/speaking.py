"""How the tests of the rules say something: one place and moment, so that a table row is a line and its meaning."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from core.actions import Effect
from core.brain.rules import sure_enough
from core.brain.understand import parse
from core.dialog import DialogState, Intent

NAIROBI = "Africa/Nairobi"
NOW = datetime(2026, 11, 24, 10, 15, 30)  # noqa: DTZ001  a wall clock in Nairobi: a Tuesday, a quarter past ten
EVERY_ACTION = (
    "get_weather", "convert_currency", "set_reminder", "list_reminders", "cancel_reminder", "link_account",
    "unlink_account", "set_language", "set_timezone", "set_currency", "forget_currency", "set_name",
    "set_email", "confirm_email", "my_profile",
    "save_contact", "list_contacts", "forget_contact", "talk_to_human", "check_quotas", "export_my_data",
    "remember_fact", "list_facts", "change_fact", "forget_fact", "undo",
    "erase_my_data", "pause_payments", "resume_payments", "check_spending_limits", "set_spending_limit",
    "open_account_page", "cancel_pin_reset",
    "create_invoice", "check_invoice_status", "void_invoice", "stop_recurring_invoice",
    "resend_invoice", "mark_invoice_paid", "unmark_invoice_paid",
    "refund_invoice", "send_money", "open_dispute", "grant_mandate", "list_mandates", "cancel_mandate",
    "forget_everything",
    "forget_conversation",
    "forget_name",
    "summarise_document", "ask_document",
)  # fmt: skip
FRESH = DialogState()


def acted_on(text: str, **more: Any) -> str:
    """The action that a line would run, were it one that only reads; none where the bot would rather ask."""
    intent = understood(text, **more)
    return intent.action if sure_enough(intent, Effect.READ) else "none"


def sure(intent: Intent) -> bool:
    """Whether a message said so by its own words, and it does not look like another request."""
    return not intent.guessed and intent.confidence >= 0.85


def understood(
    text: str,
    state: DialogState = FRESH,
    *,
    now: datetime = NOW,
    zone: str = NAIROBI,
    actions: Collection[str] = EVERY_ACTION,
) -> Intent:
    """What the rules make of a line said here and now."""
    return parse(text, now=now, zone=zone, state=state, actions=actions)
