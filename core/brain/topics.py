"""Whether what is said while words are asked for is those words, or a request of its own. Pure.

Any words can be a name, or what something is for; a request is one by how it is put: a question, an order, a wish.
"""

import re

from core.brain import track
from core.brain.heard import FILLERS, Heard
from core.brain.words import listed
from core.dialog import DialogState, Intent

SURE = 0.95
"""How sure it must be that something else is asked for."""

NAMES = listed("name payee payees payer_name payment recipient workflow zone")
"""Slots of what is called somehow."""
PURPOSES = listed("description note reason subject title words")
"""Slots of what somebody says about a thing, which may begin like an order: "send-off party", "book covers"."""
NAME_WORDS_MAX = 3
"""A longer answer says more than a name."""
PEOPLE = listed("name payee payees payer_name recipient")
"""Slots of what people and firms are called, which is no word that an action is usually asked for with."""
TASKS = listed("content which")
"""Slots of what somebody is to do, which are orders: only a question is no answer."""
IN_WORDS = NAMES | PURPOSES | TASKS

_ASKS = re.compile(
    r"(?:what|what's|whats|how|how's|which|when|when's|where|where's|who|who's|whose|why|is|are|am|does|do|did|has|have"
    r"|will|show|list|tell me|let me (?:see|know)|how much|how many"
    r"|je|nini|nani|lini|wapi|vipi|ngapi|kiasi gani|onyesha|nionyeshe|orodhesha|niambie|nijulishe|nataka kujua)\b"
)
_ASKS_AT_END = re.compile(r"\?\W*$|\b(?:ngapi|gani|nini|nani|lini|wapi|aje|je)\W*$")
_MINE = re.compile(r"my \w|.* (?:y|l|w|z|vy)angu\W*$")
_CONTACTS = listed("list_contacts save_contact forget_contact")
_ORDERS = re.compile(
    r"(?:i (?:want|need|wanna|would like)|i'd like|let's|let me|help me"
    r"|remind|wake|set|add|create|make|schedule|book|plan|find|search|look|get|give|check|view|open|read"
    r"|convert|exchange|change|switch|use|send|pay|transfer|wire|withdraw|deposit|top up|topup|load|invoice|bill"
    r"|charge|refund|resend|mark|void|cancel|delete|remove|clear|stop|pause|resume|start|run|approve|reject|undo"
    r"|save|store|keep|remember|note|forget|call me|email|mail|message|text|whatsapp|write|post|share|translate"
    r"|summari[sz]e|talk|speak|chat|connect|export|download|erase|link|unlink"
    r"|nataka|ninataka|nahitaji|naomba|ningependa|nisaidie|hebu"
    r"|(?:u|m)?ni(?:kumbush|tum|tafut|pat|p|angali|badilish|wek|end|funguli|unganish|lip|andik|fut)\w*"
    r"|kumbusha|tuma|tumia|lipa|toa|weka|ongeza|jaza|badilisha|badili|geuza|tafuta|angalia|cheki|check|futa|ghairi"
    r"|sitisha|simamisha|acha|andika|tengeneza|unda|panga|hifadhi|ondoa|rudisha|tengua|ongea|zungumza|panga"
    r"|m(?:tum|lip|tumi|lipi)\w+)\b"
)


def words_asked(state: DialogState) -> str | None:
    """The slot in somebody's own words that a question is open for; None where something else is asked, or nothing."""
    if state.action is None or state.offered:
        return None
    return next((slot for slot in state.asked if slot in IN_WORDS), None)


def is_name(text: str, state: DialogState) -> bool:
    """Whether a message is likely the name that was asked for, which tells nothing of the language somebody speaks."""
    return words_asked(state) in NAMES and len(text.split()) <= NAME_WORDS_MAX


def is_request(alone: Intent, slot: str, heard: Heard) -> bool:
    """Whether a message is no value for the slot: by itself, as `alone`, it surely asks for something else."""
    if alone.action in ("smalltalk", "help"):
        return alone.by == "words"
    if alone.action == "none" or alone.by in ("answer", "change"):
        return False
    if alone.confidence < SURE or (alone.guessed and track.gateless(alone.action, heard.said)):
        return False
    same = alone.action == heard.state.action
    if same and alone.guessed:
        return False
    lead = FILLERS.match(heard.plain)
    start = lead.end() if lead else 0
    if not same and (_ASKS.match(heard.plain, start) or _ASKS_AT_END.search(heard.plain)):
        return True
    if slot in PEOPLE and alone.action not in _CONTACTS and (
        _MINE.match(heard.plain, start) or track.only_gate(alone.action, heard.said)
    ):
        return True
    if slot in TASKS or not _ORDERS.match(heard.plain, start):
        return False
    return slot in NAMES or any(value is not None for value in alone.slots.values())
