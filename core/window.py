"""WhatsApp's 24-hour window: whether a message may go out as it is, by an approved template, or has to wait. Pure.

The window belongs to a person and one of our senders. It opens with each message of theirs, by our receipt time, for
WINDOW. Both of our ways to WhatsApp keep it; other channels have none.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.messages import ChannelName, TemplateUse

WINDOW = timedelta(hours=24)
WINDOWED = frozenset({ChannelName.WHATSAPP})
"""Channels that have such a window, and on which a person can opt out with one word."""
LAST_WORD = "erased"
"""The kind of the one message that goes to somebody who has just been erased, of whose window nothing is known."""
VARIABLE_CHARS_MAX = 700
"""Of one template variable; WhatsApp takes 1,024 characters of text with all variables filled in."""
ANY_LANGUAGE = "en"
"""The language of the template used where there is none in the person's own."""
CUT = "…"

CLOSED = "More than 24 hours have passed since the person last wrote, and WhatsApp takes templates only then."
HELD = "Held until the person writes."
OPTED_OUT = "The person has opted out of our WhatsApp messages; START from them opts in again."
NOT_NEEDED = "The person has written again, so there is nothing to announce."
NO_NOTICE = "There is no approved template to announce a message with."

_GAP = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a conversation stands when a message of it is about to be sent.

    `inbound_seq` and `inbound_at` are of the person's newest message, 0 and None before the first. `held_seq` is the
    newest that was known when this message was held or found the window shut; None when it never did.
    `gives_way` means that an earlier message was held, and may go now.
    """

    inbound_seq: int
    inbound_at: datetime | None
    held_seq: int | None
    opted_out: bool
    gives_way: bool = False

    def is_open(self, now: datetime) -> bool:
        """Whether the window is open; the provider's word that it is not counts until the person writes."""
        if self.held_seq is not None and self.inbound_seq <= self.held_seq:
            return False
        return is_open(self.inbound_at, now)


@dataclass(frozen=True, slots=True)
class Approved:
    """A template that WhatsApp approved: its name with us, its language, the provider's id, its text with {{1}}…"""

    name: str
    language: str
    provider_ref: str
    body: str


@dataclass(frozen=True, slots=True)
class FreeText:
    """Send it as it is."""


@dataclass(frozen=True, slots=True)
class UseTemplate:
    """Send this template instead."""

    use: TemplateUse


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep it until the person writes; the reason is for staff."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Never send it; the reason is for staff."""

    reason: str


Decision = FreeText | UseTemplate | Hold | Refuse


def is_open(inbound_at: datetime | None, now: datetime) -> bool:
    """Whether the window that a message received at `inbound_at` opened is still open."""
    return inbound_at is not None and now < inbound_at + WINDOW


def decide(
    kind: str, text: str, standing: Standing, now: datetime, language: str, templates: Collection[Approved]
) -> Decision:
    """What becomes of a message of this kind with this text; `templates` are the sender's approved ones.

    A reminder fits into a template whole. Anything else is announced by a message of kind `notice`, which is a
    template and nothing else, and waits.
    """
    if standing.opted_out:
        return Refuse(OPTED_OUT)
    if kind == LAST_WORD:
        return FreeText() if standing.held_seq is None else Refuse(CLOSED)
    is_notice = kind == "notice"
    if standing.is_open(now):
        return Refuse(NOT_NEEDED) if is_notice else FreeText()
    template = pick(kind, language, templates)
    if template is not None:
        variables = {} if is_notice else {"1": variable(text.removeprefix("Reminder: ").removeprefix("Kikumbusho: "))}
        said = filled(template.body, variables)
        return UseTemplate(TemplateUse(template.name, template.language, template.provider_ref, variables, said))
    return Refuse(NO_NOTICE) if is_notice else Hold(f"{CLOSED} {HELD}")


def pick(name: str, language: str, templates: Collection[Approved]) -> Approved | None:
    """The template of this name in the person's language, else in ANY_LANGUAGE, else none."""
    named = {template.language: template for template in templates if template.name == name}
    return named.get(language) or named.get(ANY_LANGUAGE)


def variable(text: str) -> str:
    """Text as WhatsApp takes it for a variable: one line, no runs of blanks, never empty, VARIABLE_CHARS_MAX long."""
    line = _GAP.sub(" ", text).strip() or CUT
    return line if len(line) <= VARIABLE_CHARS_MAX else line[: VARIABLE_CHARS_MAX - 1].rstrip() + CUT


def filled(body: str, variables: Mapping[str, str]) -> str:
    """A template's text with its variables filled in; what a variable holds is never taken for a placeholder."""
    return re.sub(r"\{\{(\d+)\}\}", lambda found: variables.get(found[1], found[0]), body)
