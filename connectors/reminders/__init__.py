"""Reminders: set, list, cancel; at the right local minute."""

from connectors.reminders.actions import cancel_reminder, list_reminders, set_reminder
from core.actions import Connector
from core.language import Saying

connector = Connector(
    name="reminders", title=Saying("Reminders", "Vikumbusho"), actions=(set_reminder, list_reminders, cancel_reminder)
)
