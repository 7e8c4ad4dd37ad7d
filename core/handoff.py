"""Who speaks with a person: the bot, nobody while they wait for a human, or a member of staff. Pure.

One rule holds it together: a word of staff answers everything said before it, and what was said after it is the bot's
as soon as the conversation is its own again. So there are never two voices, and never silence after a hand-back.

The rule is kept by the states of turns. A turn that nobody may claim is `held` (it was waiting) or `halted` (it was
being answered; its draft is fenced off). Taking over parks turns so, a word of staff finishes them, handing back lets
them go again. Every change is made under the lock of the conversation's row, which the inbox and the closing of turns
take as well.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from core.errors import Conflict


class Mode(StrEnum):
    """Who has the word in a conversation."""

    BOT = "bot"
    WAITING = "waiting"
    """The person asked for a human and was told so once; the bot is silent, and nobody has come yet."""
    HUMAN = "human"
    """A member of staff holds it; the bot says nothing at all."""


class Line(StrEnum):
    """What the bot says of itself when the conversation is its own again."""

    BACK = "back"
    NOBODY_CAME = "nobody_came"


@dataclass(frozen=True, slots=True)
class Handoff:
    """How a conversation stands: `holder` is the member of staff, `until` the end of the wait or of the lease."""

    mode: Mode = Mode.BOT
    holder: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a human may be silent, and how long somebody may wait for one."""

    idle: timedelta
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Asked:
    """The person asked for a human, in the turn that is open just now."""


@dataclass(frozen=True, slots=True)
class TookOver:
    """A member of staff took the conversation, from the bot, from the wait, or from a colleague."""

    staff: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """A member of staff wrote to the person; who does not hold the conversation takes it over by that."""

    staff: str


@dataclass(frozen=True, slots=True)
class Watched:
    """The page of a member of staff is open on the conversation."""

    staff: str


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A member of staff gave the conversation back to the bot."""

    staff: str


@dataclass(frozen=True, slots=True)
class WentBack:
    """The person asked for the bot again."""


@dataclass(frozen=True, slots=True)
class TimeRanOut:
    """Somebody looked at the clock; it may not be time yet."""


Event: TypeAlias = Asked | TookOver | Spoke | Watched | HandedBack | WentBack | TimeRanOut

Turns: TypeAlias = tuple[tuple[str, str], ...]
"""What becomes of a conversation's unfinished turns: (old state, new state). Others stay as they are."""

NONE: Final[Turns] = ()
PARK_NEXT: Final[Turns] = (("waiting", "held"),)
"""The open turn is the one that asked for a human; its answer is the one line that tells what happens next."""
PARK: Final[Turns] = (("waiting", "held"), ("open", "halted"))
JOIN: Final[Turns] = (("open", "done"),)
"""A human comes before the line was said that one was asked for: their coming says it better."""
ANSWER: Final[Turns] = (("waiting", "done"), ("open", "done"), ("held", "done"), ("halted", "done"))
RELEASE: Final[Turns] = (("held", "waiting"), ("halted", "open"), ("open", "done"))
"""While somebody waits, an open turn can only be the one that asked; what it would say is no longer true."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an event changes: how the conversation stands after it, its turns, what is said, and the audit's verb.

    `verb` is None for what is not worth a line in the audit: a lease that goes on.
    """

    after: Handoff
    turns: Turns = NONE
    line: Line | None = None
    verb: str | None = None


class NotYours(Conflict):
    """The conversation is in somebody else's hands by now."""


def change(before: Handoff, event: Event, now: datetime, limits: Limits) -> Change | None:
    """What `event` changes at `now`; None when it changes nothing. Raises NotYours.

    Every event is safe to repeat and to come late: only the first of two hand-backs finds something to hand back.
    """
    match event:
        case Asked():
            if before.mode is not Mode.BOT:
                return None
            return Change(Handoff(Mode.WAITING, None, now + limits.wait), PARK_NEXT, None, "handoff.asked")
        case TookOver(staff):
            after = Handoff(Mode.HUMAN, staff, now + limits.idle)
            return Change(after, _parked(before), None, _taken(before, staff))
        case Spoke(staff):
            after = Handoff(Mode.HUMAN, staff, now + limits.idle)
            return Change(after, ANSWER, None, _taken(before, staff))
        case Watched(staff):
            if before.mode is not Mode.HUMAN or before.holder != staff or _is_over(before, now):
                return None
            return Change(Handoff(Mode.HUMAN, staff, now + limits.idle))
        case HandedBack(staff):
            if before.mode is Mode.BOT:
                return None
            if before.mode is Mode.HUMAN and before.holder != staff:
                raise NotYours(f"{before.holder} has this conversation by now. Take it over first.")
            return Change(Handoff(), RELEASE, Line.BACK, "handoff.handed_back")
        case WentBack():
            if before.mode is Mode.BOT:
                return None
            return Change(Handoff(), RELEASE, Line.BACK, "handoff.went_back")
        case TimeRanOut():
            if before.mode is Mode.BOT or not _is_over(before, now):
                return None
            line = Line.NOBODY_CAME if before.mode is Mode.WAITING else Line.BACK
            return Change(Handoff(), RELEASE, line, "handoff.ran_out")


def _is_over(handoff: Handoff, now: datetime) -> bool:
    return handoff.until is not None and handoff.until <= now


def _parked(before: Handoff) -> Turns:
    """What taking over does to turns; in a human's hands they are parked already."""
    return {Mode.BOT: PARK, Mode.WAITING: JOIN, Mode.HUMAN: NONE}[before.mode]


def _taken(before: Handoff, staff: str) -> str | None:
    """The audit's verb for a new holder; None for who holds it already."""
    return None if before.mode is Mode.HUMAN and before.holder == staff else "handoff.taken_over"


ACKNOWLEDGED = {
    "en": "I have asked a person to join you here. I stay silent until then, and they see all you write."
    " It can take a while. To have me back, say “back to the bot”.",
    "sw": "Nimemwomba mtu ajiunge nawe hapa. Nitanyamaza hadi aje, naye ataona yote unayoandika."
    " Huenda ikachukua muda. Ukinitaka tena, sema “rudi kwa roboti”.",
}
"""The one line of the bot while somebody waits."""

LINES = {
    Line.BACK: {"en": "You are talking to Mathia again.", "sw": "Sasa unazungumza na Mathia tena."},
    Line.NOBODY_CAME: {
        "en": "Sorry, nobody was free to join. You are talking to Mathia again.",
        "sw": "Samahani, hakuna aliyepatikana. Sasa unazungumza na Mathia tena.",
    },
}
