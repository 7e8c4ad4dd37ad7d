"""Several requests in one message: where it falls into them, in the order they were made. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from core import names
from core.brain import places
from core.brain.words import said
from core.dialog import PLAN_MAX, QUESTIONS_MAX, DialogState, Intent
from core.messages import Reply

PLANNED_CHARS_MAX = 600
"""A longer message is read as one request; people who ask for two things do it briefly."""
JOINTS_MAX = 8
"""How many places a message is tried to be taken apart at."""

_JOINT = re.compile(
    r"(?P<firm>[.!?;]+\s+(?:(?:and|also|then|please|na|pia|kisha|halafu)\b[ ,]*)*|\s*\n\s*"
    r"|,?\s+(?:and|na)\s+(?:also|pia)\b[ ,]*|,?\s+as well as\s+)"
    r"|(?P<then>,?\s+(?:and\s+|na\s+)?(?:then|after that|afterwards|kisha|halafu|baadaye|baada ya hapo)\b[ ,]*)"
    r"|(?P<loose>,?\s+(?:and|also|plus|na|pia)\s+|,\s+)",
    re.IGNORECASE,
)
_TAKES_ALL = frozenset(
    {
        "set_reminder", "remember_fact", "change_fact", "create_note", "send_email", "send_whatsapp", "post_social",
        "create_workflow", "ask_document", "search_info", "add_to_itinerary", "create_invoice", "grant_mandate",
    }
)  # fmt: skip
"""Actions with words of one's own in them: what follows "and" is theirs, and only a new sentence is not."""
_CHAT = frozenset({"none", "smalltalk", "help", "leave"})
_ENDS = frozenset({"talk_to_human", "erase_my_data", "forget_everything", "forget_conversation"})
"""Behind these nothing is asked any more."""
_ANEW = re.compile(r"(?:(?:also|then|pia|kisha|halafu)\b[ ,]*)*(?:to|about|that|k[uw]\w{3,})\b", re.IGNORECASE)
"""How one more thing to be reminded of begins; what else follows "and" belongs to the one before it."""
_WHOM = {"send_money": ("recipient", "phone_number"), "create_invoice": ("payer_name",)}
"""Who is meant, in what is done with a sum for somebody."""
_PAYS = re.compile(
    r"(?:(?:please|can you|could you|i want to|i'd like to|tafadhali|naomba|nataka)\b[ ,]*)*"
    r"(?P<verb>send|pay|transfer|wire|invoice|bill|ku(?:tuma|lipa)|(?:ni)?tumi?[ae]|lipa|andika ankara ya)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"(?:what|what's|how|which|when|where|who)\b[^?]*\?\s*$", re.IGNORECASE)
"""What asks something by itself, and is no part of what was to be written down before it."""
_TERMS = re.compile(r"(?:due|by|on|before|every|each|until|kabla|hadi|kila|tarehe|ifikapo)\b", re.IGNORECASE)
"""How what is said further of the same payment or invoice begins: its day is no sum."""
_EACH = re.compile(r"\b(?:each|apiece|kila mmoja|kila 1)\b", re.IGNORECASE)
"""Says that a sum is not shared by those who are named."""
_RATHER = re.compile(
    r"[ ,.;-]+(?P<rather>no|nope|sorry|wait|actually|i mean|hapana|samahani|la)[ ,.;-]*$", re.IGNORECASE
)
"""The end of what is then taken back: "the weather in Nairobi, no"."""
REMINDER = "set_reminder"
PASSED_ON = {
    "send_email": "text", "send_whatsapp": "message", "create_note": "text", "post_social": "text",
    REMINDER: "content", "remember_fact": "words",
}  # fmt: skip
"""The slot of each action that can hold what was answered before it."""
_IT = r"(?:(?:all of )?(?:it|that|this|them|those|these)|hiyo|hizo|hilo|hayo|hicho|hivyo|hivi|hii|hizi|haya|hili|hiki)"
_ONLY_IT = re.compile(rf"\W*(?:(?:about|of|kuhusu)\b )?{_IT}\W*", re.IGNORECASE)
_PASSES_IT = re.compile(
    rf"\b(?:e-?mail|mail|send|forward|text|whatsapp|message|post|share|tweet|save|note|jot|write|tuma|tumia|mtumie"
    rf"|nitumie|andika|hifadhi|chapisha)\b(?: (?!to\b|kwa\b)\w+)? {_IT}\b|\b(?:i|zi|ya|vi|ki|li)(?:tum(?:e|ie)"
    rf"|andike)\b",
    re.IGNORECASE,
)
SURE_MIN = 0.96
"""A guess less likely than this is no request by itself; one without its rule's words never is."""

PASSES_MIN = 0.67
"""The same for what plainly passes on what came before it: "and mail them to Asha"."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What a text asks for: where the message begins, by itself, and right behind another request.

    `timed` tells of a text whether it begins with a time, whether it names a clock, and the words it names a day with.
    """

    begin: Callable[[str], Intent]
    alone: Callable[[str], Intent]
    behind: Callable[[Intent, str], Intent]
    timed: Callable[[str], tuple[bool, bool, str]]


def pieces(text: str, reader: Reader) -> list[str]:
    """The requests of a message, each in its own words; the whole message alone where it is one.

    A piece is a request only when that is sure, and when it is not what the piece before it asks for already. What
    only changes the one before it ("the weather in Nairobi and Mombasa") begins with "and".
    """
    if len(text) > PLANNED_CHARS_MAX:
        return [text]
    joints = [joint for joint in _JOINT.finditer(text) if joint.start() > 0 and joint.end() < len(text)]
    if not joints or len(joints) > JOINTS_MAX:
        return [text]
    found: list[str] = []
    start, lead = 0, ""
    taken: Intent | None = None
    for joint, following in zip(joints, [*joints[1:], None], strict=True):
        if len(found) + 1 == PLAN_MAX:
            break
        left = lead + text[start : joint.start()].strip()
        before = reader.begin(left)
        if taken is not None:
            before = reader.behind(taken, left) if lead else reader.alone(left)
        if not _asks(before):
            continue
        piece = text[joint.end() : following.start() if following else None].strip()
        rest = text[joint.end() :].partition("\n")[0].strip()
        if _apart(before, joint.lastgroup == "firm", reader.alone(rest), rest):
            lead = ""
        elif again := _reminds_again(left, before, piece, reader) or _pays_again(left, before, piece, reader):
            lead = again
        elif before.action in _TAKES_ALL and before.by == "answer":
            # What was asked for in words is all of them.
            continue
        elif _names_more(joint, piece) and _differs(before, reader.behind(before, f"and {piece}")):
            lead = "and "
            if (rather := _RATHER.search(left)) is not None:
                left, lead = left[: rather.start()], f"{rather['rather']}, "
        else:
            continue
        found.append(left)
        start, taken = joint.end(), before
    return [*found, lead + text[start:].strip()]


def shared(steps: Sequence[Intent | Reply]) -> list[Intent | Reply]:
    """The steps, a day that was said once behind several places being that of each: "in Kisumu and Narok tomorrow"."""
    found = list(steps)
    for at in range(len(found) - 2, -1, -1):
        one, after = found[at], found[at + 1]
        if not (isinstance(one, Intent) and isinstance(after, Intent)):
            continue
        if one.action == after.action == "get_weather" and "date" in after.slots and "date" not in one.slots:
            found[at] = replace(one, slots={**one.slots, "date": after.slots["date"]})
    return found


def passed_on(intent: Intent, piece: str) -> Intent:
    """The request of a piece behind another one, which may mean its answer: "and e-mail them to my accountant"."""
    slot = PASSED_ON.get(intent.action)
    if slot is None:
        return intent
    words = intent.slots.get(slot)
    means_it = isinstance(words, str) and _ONLY_IT.fullmatch(words) is not None
    if not means_it and (intent.action == REMINDER or _PASSES_IT.search(piece) is None):
        return intent
    kept = {name: value for name, value in intent.slots.items() if name != slot}
    guessed = intent.guessed and intent.confidence < PASSES_MIN
    return replace(intent, slots=kept, guessed=guessed, refers=slot)


def going_on(steps: Sequence[Intent | Reply], state: DialogState) -> list[Intent | Reply]:
    """The steps of a message, and behind them what the conversation is still in the middle of.

    What was asked for behind the unfinished action goes on when that is done. Where something else is asked for, the
    open question is asked again behind its answer.
    """
    first, named = steps[0], {step.action for step in steps if isinstance(step, Intent)}
    if state.action is None or not isinstance(first, Intent) or named & _ENDS:
        return list(steps)
    if first.action == state.action:
        return [*steps, *state.then]
    left = left_open(state)
    behind = [step for step in (*left, *state.then) if left or step.asks is not None]
    return [*steps, *(step for step in behind if step.asks is None or step.action not in named)]


def left_open(state: DialogState) -> list[Intent]:
    """The question that is open, as the step that asks it again; nothing where it was asked often."""
    if state.action is None or not state.asked or state.questions >= QUESTIONS_MAX:
        return []
    return [Intent(state.action, state.slots, SURE_MIN, asks=state.asked[0], questions=state.questions)]


def _names_more(joint: re.Match[str], piece: str) -> bool:
    """Whether what follows can be one more place or sum; behind a comma stands the country, too."""
    if places.TAIL.match(f"{joint[0]}{piece}".lower()):
        return False
    return not joint[0].lstrip().startswith(",") or places.known(said(piece)) is not None


def _reminds_again(left: str, before: Intent, piece: str, reader: Reader) -> str:
    """What makes the piece behind a reminder one more reminder, with words and a clock of its own; empty where it goes
    on with the first: "remind me to call Asha at 5 and to buy milk at 6"."""
    if before.action != REMINDER or not {"content", "time"} <= before.slots.keys() or before.slots.get("recurrence"):
        return ""
    first, clock, day = reader.timed(piece)
    if not clock or not (first or _ANEW.match(piece)):
        return ""
    _, clock_before, day_before = reader.timed(left)
    lead = f"remind me {day_before} " if day_before and not day else "remind me "
    after = reader.alone(lead + piece)
    whole = after.action == REMINDER and {"content", "time"} <= after.slots.keys()
    return lead if clock_before and whole else ""


def _pays_again(left: str, before: Intent, piece: str, reader: Reader) -> str:
    """What makes the piece behind a payment, or an invoice, one more with a sum and somebody of its own: "send 200 to
    Asha and 100 to Brian"; empty where it is none."""
    verb = _PAYS.match(left)
    if verb is None or not _is_paid(before) or _TERMS.match(piece):
        return ""
    lead = f"{verb['verb']} "
    after = reader.alone(lead + piece)
    return lead if after.action == before.action and _is_paid(after) else ""


def seconded(intent: Intent, before: Intent | Reply) -> Intent:
    """A payment behind a payment, or an invoice behind an invoice, which is surely meant as well where it is whole."""
    same = isinstance(before, Intent) and before.action == intent.action
    return replace(intent, guessed=False) if same and _is_paid(intent) else intent


def each(intent: Intent, piece: str) -> list[Intent]:
    """The payment, once for each of those who are to get as much: "send 500 each to Asha and Brian"."""
    whom = intent.slots.get("recipient")
    named = names.several(whom) if intent.action == "send_money" and isinstance(whom, str) else []
    plain = 1 < len(named) <= PLAN_MAX and _PAYS.match(piece) and _EACH.search(piece)
    if not plain or not intent.slots.get("amount"):
        return [intent]
    return [replace(intent, slots={**intent.slots, "recipient": name}, guessed=False) for name in named]


def _is_paid(intent: Intent) -> bool:
    """Whether a sum is named, and for whom it is."""
    whom = _WHOM.get(intent.action, ())
    return bool(intent.slots.get("amount")) and any(intent.slots.get(slot) for slot in whom)


def _apart(before: Intent, firm: bool, after: Intent, piece: str) -> bool:
    """Whether what stands behind a joint is a request of its own, and what stands before it is whole."""
    passes = after.action in PASSED_ON and _PASSES_IT.match(piece) and after.confidence >= PASSES_MIN
    firm = firm or (_QUESTION.match(piece) is not None and not after.guessed)
    if not (_asks(after) or passes) or (before.action in _TAKES_ALL and not firm):
        return False
    return after.action != before.action or _differs(before, after)


def _differs(before: Intent, after: Intent) -> bool:
    """Whether one more request for the same action asks for something else: another place, another sum.

    "The weather in Kisumu and will it rain" is one question.
    """
    if after.action != before.action or after.guessed:
        return False
    said = {slot: value for slot, value in after.slots.items() if value is not None}
    return bool(said) and set(before.slots) <= set(said) and any(before.slots.get(slot) != said[slot] for slot in said)


def _asks(intent: Intent) -> bool:
    return intent.action not in _CHAT and (not intent.guessed or intent.confidence >= SURE_MIN)
