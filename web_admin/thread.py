"""A conversation as it is drawn: dates, groups of one sender within two minutes, and what Mathia made of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from web_admin import words
from web_admin.queries import Aside, Stored

GROUP_WITHIN = timedelta(minutes=2)
GAVE_UP = "Mathia tried several times and gave up; the person was told once."
KINDS = {
    "reply": None,
    "staff": None,
    "handoff": None,
    "reminder": "Reminder · automatic",
    "workflow": "Workflow · automatic",
    "notice": "Announcement",
    "moderation": "Moderation",
}
"""Reminders and workflows speak while a human has the word, too: they are owed."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a message, or a piece of it, had come at a time; why it failed."""

    state: words.State
    time: str
    moment: datetime
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one piece of a message, oldest step first; without a name where there is one piece."""

    name: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One message in its group, with its state in words and its error, if any, and how it came there."""

    message: Stored
    state: words.State | None
    kind: str | None
    ways: tuple[Way, ...] = ()

    @property
    def last(self) -> Step | None:
        """The newest step of all."""
        return self.ways[-1].steps[-1] if self.ways and self.ways[-1].steps else None


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of one sender that belong together, under one time."""

    direction: Literal["in", "out"]
    sender: str | None
    time: str
    moment: datetime
    messages: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Divider:
    """A new day."""

    day: str
    key: str


@dataclass(frozen=True, slots=True)
class Note:
    """A quiet line between messages: what was understood, or that an answer failed."""

    words: str
    key: str


@dataclass(frozen=True, slots=True)
class Private:
    """A note of staff, which was never sent."""

    author: str
    time: str
    moment: datetime
    text: str
    key: str


Block = Group | Divider | Note | Private


def blocks(messages: Sequence[Stored], zone: ZoneInfo, now: datetime, asides: Sequence[Aside] = ()) -> list[Block]:
    """Lay out messages, oldest first. What was understood stands at each message, a turn's state at its last one."""
    last_of_turn = {message.turn_id: message.id for message in messages if message.direction == "in"}
    meanings = _meanings(messages)
    drawn: list[Block] = []
    notes = list(asides)
    today = None
    for message in messages:
        while notes and notes[0].created_at < message.created_at:
            drawn.append(_private(notes.pop(0), zone, now))
        local = message.created_at.astimezone(zone).date()
        if local != today:
            drawn.append(Divider(words.day(message.created_at, zone, now), local.isoformat()))
            today = local
        ends = message.direction == "out" or last_of_turn[message.turn_id] == message.id
        state = words.message_state(message) if ends else None
        shown = Shown(message, state, _kind(message), ways(message, zone, now))
        group = drawn[-1]
        if (
            isinstance(group, Group)
            and (group.direction, group.sender) == (message.direction, message.sender or message.author)
            and message.created_at - group.messages[-1].message.created_at <= GROUP_WITHIN
        ):
            drawn[-1] = Group(group.direction, group.sender, group.time, group.moment, (*group.messages, shown))
        else:
            drawn.append(
                Group(
                    "in" if message.direction == "in" else "out",
                    message.sender or message.author,
                    words.clock(message.created_at, zone),
                    message.created_at,
                    (shown,),
                )
            )
        if meanings.get(message.id):
            drawn.append(Note(meanings[message.id], f"note-{message.seq}"))
        if message.turn_state == "dead" and ends:
            drawn.append(Note(GAVE_UP, f"dead-{message.seq}"))
    return drawn + [_private(note, zone, now) for note in notes]


def ways(message: Stored, zone: ZoneInfo, now: datetime) -> tuple[Way, ...]:
    """How an outgoing message came where it is: queued here, then what its provider said of each piece.

    Steps stand in the order of a message's life, whatever order they were told in. A provider that tells nothing
    has at least taken it.
    """
    if message.direction != "out":
        return ()
    count = max(message.pieces, *(step.piece + 1 for step in message.steps), 1)
    made = []
    for piece in range(count):
        steps = [_step(words.State("Queued here"), message.created_at, zone, now)] if piece == 0 else []
        told = {step.status: step for step in message.steps if step.piece == piece}
        over = message.sent_at if piece == count - 1 else None
        if over is not None and message.outbox_state == "sent" and not told.keys() & words.STEPS.keys():
            steps.append(_step(words.STEPS["sent"], over, zone, now))
        steps += [
            _step(state, told[status].at, zone, now, told[status].error)
            for status, state in words.STEPS.items()
            if status in told
        ]
        if (
            over is not None
            and message.outbox_state in ("refused", "held")
            and not told.keys() & {"failed", "undelivered"}
        ):
            steps.append(_step(words.delivery(message.outbox_state, None, done=True), over, zone, now))
        made.append(Way(f"Part {piece + 1} of {count}" if count > 1 else None, tuple(steps)))
    return tuple(made)


def _step(state: words.State, at: datetime, zone: ZoneInfo, now: datetime, error: str | None = None) -> Step:
    return Step(state, words.second(at, zone, now), at, error)


def _private(note: Aside, zone: ZoneInfo, now: datetime) -> Private:
    return Private(note.author, words.when(note.created_at, zone, now), note.created_at, note.text, f"aside-{note.id}")


def _kind(message: Stored) -> str | None:
    kind = KINDS.get(message.kind, message.kind.replace("_", " ").capitalize()) if message.kind else None
    if message.template is None:
        return kind
    return " · ".join(filter(None, [kind, f"by template “{message.template}”"]))


def _meanings(messages: Sequence[Stored]) -> dict[int, str]:
    """What was understood of each message, by its id.

    A turn keeps a meaning for each of its messages, in their order, of the newest when there were very many. Where the
    page ends within a turn it is not known which is whose, and nothing is said. What was deleted is not repeated.
    """
    turns: dict[int | None, list[Stored]] = {}
    for message in messages:
        if message.direction == "in":
            turns.setdefault(message.turn_id, []).append(message)
    deleted = {message.id for message in messages if message.deleted_at is not None}
    found = {}
    for turn in turns.values():
        kept = (turn[0].intent or {}).get("messages")
        if isinstance(kept, list) and 0 < len(kept) <= len(turn):
            said = ((message.id, words.understood(one)) for message, one in zip(turn[-len(kept) :], kept, strict=True))
            found.update({key: sentence for key, sentence in said if sentence and key not in deleted})
    return found
