"""Commands such as /weather Nairobi, in words: what people type or tap in apps that have them. Pure.

A command has no power of its own: it is only a short way to say what could also be written.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from core.actions import Action
from core.codes import code_in
from core.language import Saying, spoken

COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@\w+)?(?:\s+(.*))?", re.DOTALL)

HELP = ("start", "help")
"""What `/start` carries is a code to link by (core/codes.py), or no words of anybody."""

WHAT_I_CAN = Saying("What I can do", "Ninachoweza kufanya")
FOR_EXAMPLE = "Kwa mfano: {}"

SHORT = {
    "weather": ("get_weather", "weather"),
    "convert": ("convert_currency", "convert"),
    "remind": ("set_reminder", "remind me"),
    "reminders": ("list_reminders", "list my reminders"),
    "cancel": ("cancel_reminder", "cancel reminder"),
}
"""Commands that have a shorter name than their action's: the action, and the words it begins with."""


def in_words(text: str, actions: Collection[str]) -> str | None:
    """A text with its leading command in words; any other text as it is; None for a command there is none of.

    Every one of the `actions` is a command by its own name, too.
    """
    found = COMMAND.fullmatch(text.strip())
    if found is None:
        return text
    name, rest = found[1].lower(), (found[2] or "").strip()
    if name in HELP:
        return text if code_in(text) else "help"
    action, words = SHORT.get(name, (name, name.replace("_", " ")))
    if action not in actions:
        return None
    if action == "set_reminder" and rest:
        # "me" may be there already, and an answer to "set a reminder" begins with neither.
        words = "remind" if rest.lower().split()[0] == "me" else "remind me"
    elif action == "set_reminder":
        words = "set a reminder"
    return f"{words} {rest}".strip()


def menu(offered: Sequence[Action[Any]], language: str) -> list[tuple[str, str]]:
    """The commands to offer in a language, help first: each action once, by its short name where it has one, with what
    it does. That is its summary in English, and in Swahili what one may say for it."""
    short = {action: name for name, (action, _) in SHORT.items()}
    said = [one.summary if spoken(language) == "en" else FOR_EXAMPLE.format(one.example("sw")) for one in offered]
    names = [short.get(one.name, one.name) for one in offered]
    return [("help", WHAT_I_CAN.to(language)), *zip(names, said, strict=True)]
