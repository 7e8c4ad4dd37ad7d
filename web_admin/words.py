"""How states, times and names are said to staff. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from core.files import LOST, is_lost
from core.sniff import FILE_BYTES_MAX, SHOWN_INLINE
from web_admin.queries import Row, Stored

Tone = Literal["plain", "good", "wait", "bad"]
"""How a state is coloured; its words say it without the colour."""

CHANNELS = {"web": "Web", "whatsapp": "WhatsApp", "telegram": "Telegram", "email": "E-mail"}
SHOWN_DIGITS = 4
SLOT_CHARS = 80
SLOTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class State:
    """A state in words, and its tone."""

    words: str
    tone: Tone = "plain"


NEVER_CAME = {
    "refused": "Not kept: it is of a type that is not taken, or it is damaged.",
    "large": f"Not kept: it is larger than {FILE_BYTES_MAX // 2**20} MB, or a picture with too many pixels.",
    "gone": "Not here: the provider no longer had it.",
    "away": "Not here: the provider did not give it out, after several tries.",
    "quota": "Not kept: they had sent more than 500 MB within a day.",
}
"""Why a file is not here, by core.fetching.Lost."""

PROVIDER = {
    "delivered": State("Delivered", "good"),
    "read": State("Read", "good"),
    "queued": State("Sent, queued there"),
}


def delivery(state: str | None, provider_status: str | None, *, done: bool) -> State:
    """How an outgoing message stands."""
    match state:
        case "pending":
            return State("Waiting to be sent", "wait")
        case "sending":
            return State("Being sent", "wait")
        case "sent":
            return PROVIDER.get(provider_status or "", State("Sent"))
        case "refused":
            return State("Refused", "bad")
        case "held":
            return State("Held until the person writes", "wait")
        case "unknown" if done:
            return State("Nobody knows whether it arrived", "bad")
        case "unknown":
            return State("Not known yet, asking the provider", "wait")
        case _:
            return State("Not sent", "wait")


STEPS = {
    "queued": State("Queued at the provider"),
    "sending": State("Taken by the provider"),
    "sent": State("Sent"),
    "delivered": State("Delivered", "good"),
    "read": State("Read", "good"),
    "failed": State("Failed", "bad"),
    "undelivered": State("Failed", "bad"),
}
"""What a provider says of one piece, in the order of a message's life."""


def answering(turn_state: str | None) -> State:
    """How an inbound message stands."""
    match turn_state:
        case "waiting":
            return State("Waiting for an answer", "wait")
        case "open":
            return State("Being answered", "wait")
        case "held" | "halted":
            return State("For a human to answer", "wait")
        case "dead":
            return State("Could not be answered", "bad")
        case _:
            return State("Received")


def last_state(row: Row) -> State:
    """How the newest message of a conversation stands; a dash where it has none."""
    if row.direction is None:
        return State("—")
    if row.direction == "in":
        return answering(row.turn_state)
    return delivery(row.outbox_state, row.provider_status, done=row.outbox_done)


def held(mode: str, holder: str | None) -> State | None:
    """Who has the word, where it is not the bot."""
    if mode == "waiting":
        return State("Waits for a human", "wait")
    return State(f"With {holder}") if mode == "human" else None


def message_state(message: Stored) -> State | None:
    """What is said under a message: every outgoing one, and inbound ones that are not simply answered."""
    if message.direction == "out":
        return delivery(message.outbox_state, message.provider_status, done=message.outbox_done)
    return None if message.turn_state == "done" else answering(message.turn_state)


def channel(name: str) -> str:
    """A channel as people call it."""
    return CHANNELS.get(name, name.capitalize())


def short_identity(channel_name: str, identity: str) -> str:
    """Enough of a provider's id to tell people apart, and no more."""
    tail = identity.rpartition(":")[2]
    end = tail[-SHOWN_DIGITS:]
    if tail.startswith("+") and len(tail) > 2 * SHOWN_DIGITS:
        return f"{tail[:SHOWN_DIGITS]} … {end}"
    return f"Visitor {end}" if channel_name == "web" else f"{channel(channel_name)} … {end}"


class Known(Protocol):
    """Whatever has a channel and somebody's identity on it."""

    @property
    def channel(self) -> str:
        """Which channel."""

    @property
    def identity(self) -> str:
        """The provider's id of the person."""


def linked_identity(other: Known) -> str:
    """A person's other identity: a number or address in full, a browser by the end of its id."""
    if other.channel == "web":
        return short_identity(other.channel, other.identity)
    return other.identity.removeprefix(f"{other.channel}:")


def who(row: Row) -> str:
    """Whose conversation it is, in a few words."""
    name = row.name or short_identity(row.channel, row.identity or row.room)
    return name if row.members <= 1 else f"{name} and {row.members - 1} more"


def known_as(name: str | None, chats: Sequence[tuple[str, str]]) -> str:
    """A person in a few words: their name, or the first of their (channel, identity) pairs."""
    if name:
        return name
    return short_identity(*chats[0]) if chats else "Somebody without a chat"


def zone_name(zone: ZoneInfo) -> str:
    """A zone as people call it: Africa/Nairobi is Nairobi."""
    return zone.key.rpartition("/")[2].replace("_", " ")


def day(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Today, Yesterday, Tue 24 Nov, or with the year when it is another."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return "Today"
    if local.date() == today.date() - timedelta(days=1):
        return "Yesterday"
    return f"{local:%a} {local.day} {local:%b}" + ("" if local.year == today.year else f" {local.year}")


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """14:05"""
    return f"{moment.astimezone(zone):%H:%M}"


def second(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """14:05:09 today, else the day with the time."""
    date, time = day(moment, zone, now), f"{moment.astimezone(zone):%H:%M:%S}"
    return time if date == "Today" else f"{date}, {time}"


def when(moment: datetime, zone: ZoneInfo, now: datetime) -> str:
    """14:05 today, else the day with the time."""
    date = day(moment, zone, now)
    return clock(moment, zone) if date == "Today" else f"{date}, {clock(moment, zone)}"


def number(value: int) -> str:
    """12,345"""
    return f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """1 message, 2 messages"""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


HELD = {
    "quota": "Not answered: over this person's messages for the day.",
    "muted": "Not answered: this person is muted.",
}


RECEIPTS = {
    "started": State("Begun, and not finished", "wait"),
    "done": State("Done", "good"),
    "failed": State("Failed", "bad"),
}

ANSWERS = {
    "ran": State("Done", "good"),
    "confirm": State("Shown, to be confirmed"),
    "next": State("Comes when what was shown is confirmed"),
    "asked": State("Asked for more"),
    "did_you_mean": State("Asked what was meant", "wait"),
    "not_here": State("Cannot do that here", "wait"),
    "help": State("Told what it can do"),
    "chat": State("Answered by itself"),
    "not_understood": State("Not understood", "wait"),
    "refused": State("Told why not", "wait"),
    "limited": State("Over a limit", "wait"),
    "failed": State("The service did not answer", "bad"),
}
"""What a message was answered with, as core/turn_steps.py keeps it."""


def receipt(state: str) -> State:
    """How a call of an action stands."""
    return RECEIPTS.get(state, State(state.capitalize()))


def answered(meaning: Mapping[str, object]) -> State:
    """What a message was answered with; a dash where that is not kept."""
    if (why := HELD.get(str(meaning.get("held")))) is not None:
        return State(why, "wait")
    return ANSWERS.get(str(meaning.get("answer")), State("—"))


def turn_state(state: str, meanings: Sequence[Mapping[str, object]]) -> State:
    """How a turn stands in the list: what came of it once it is answered, of its messages the worst."""
    if state != "done":
        return answering(state)
    tones = {"bad": 3, "wait": 2, "plain": 1, "good": 0}
    said = [one for one in map(answered, meanings) if one.words != "—"]
    return max(said, key=lambda one: tones[one.tone]) if said else State("Answered")


def taken_for(meaning: Mapping[str, object]) -> str:
    """The action that a message was understood as, small talk, a cry for help, or nothing."""
    action = meaning.get("action")
    if action in (None, "none"):
        action = meaning.get("guess")
    if action:
        return str(action).replace("_", " ")
    return {"chat": "small talk", "help": "help"}.get(str(meaning.get("answer")), "nothing")


def how_sure(meaning: Mapping[str, object]) -> str:
    """How sure that is, and whether it is a guess."""
    confidence = meaning.get("confidence")
    sure = f"{round(confidence * 100)} % sure" if isinstance(confidence, int | float) else ""
    return ", ".join(filter(None, ["guessed" if meaning.get("guessed") else "", sure]))


def read_by(meaning: Mapping[str, object]) -> str:
    """What read a message, and what that cost; what says nothing of it was read by the rules."""
    said = [str(meaning.get("model") or meaning.get("parser") or "rules")]
    given, taken, steps, ms = (meaning.get(name) for name in ("tokens_in", "tokens_out", "steps", "ms"))
    fell, cost = meaning.get("fell"), meaning.get("cost_usd")
    if isinstance(fell, Sequence) and not isinstance(fell, str):
        said.append(f"after {', '.join(map(str, fell))}")
    if isinstance(given, int) and isinstance(taken, int):
        said.append(f"{number(given)} tokens in, {number(taken)} out")
    if isinstance(steps, int):
        said.append(plural(steps, "step"))
    if isinstance(cost, str):
        said.append(f"USD {cost}")
    if isinstance(ms, int | float):
        said.append(lasted(timedelta(milliseconds=ms)))
    return " · ".join(said)


def lasted(span: timedelta) -> str:
    """12 ms, 3.4 s, 2 min, 5 h"""
    seconds = max(0.0, span.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def understood(meaning: object) -> str | None:
    """What Mathia understood of a message, as a quiet line: the action, its slots, how sure; None where nothing was."""
    if not isinstance(meaning, Mapping):
        return None
    held = HELD.get(str(meaning.get("held")))
    if held is not None:
        return held
    action = meaning.get("action")
    if not isinstance(action, str) or not action or action == "none":
        return None
    said = [f"Understood as {action.replace('_', ' ')}"]
    slots = meaning.get("slots")
    if isinstance(slots, Mapping):
        shown = [f"{name.replace('_', ' ')}: {_short(value)}" for name, value in slots.items() if value is not None]
        said += shown[:SLOTS_SHOWN]
    confidence = meaning.get("confidence")
    if isinstance(confidence, int | float) and 0 <= confidence < 1:
        said.append(f"{round(confidence * 100)} % sure")
    return " · ".join(said)


def _short(value: object) -> str:
    words = str(value)
    return words if len(words) <= SLOT_CHARS else words[: SLOT_CHARS - 1] + "…"


def size(size_bytes: int) -> str:
    """824 bytes, 12 KB, 3.4 MB"""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1000:.0f} KB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def missing(ref: str) -> str:
    """Why the file that a part names by `ref` cannot be seen here."""
    if not is_lost(ref):
        return "Not here yet: it is being fetched from where it was sent."
    return NEVER_CAME.get(ref.removeprefix(LOST), "It did not come.")


def shown_as(media_type: str) -> str:
    """How a page shows a file: as a picture, sound, film, or a document to download."""
    kind = media_type.partition(";")[0]
    if kind not in SHOWN_INLINE:
        return "document"
    return {"image": "picture", "audio": "sound", "video": "film"}[kind.partition("/")[0]]
