"""What was just looked at or told is talked about once more, in words that name it no more. Pure."""

import re
from dataclasses import replace

from core.brain.errands import whether_paid
from core.brain.words import said
from core.dialog import DialogState, Intent

ASK, SUMMARISE, UNDO = "ask_document", "summarise_document", "undo"
RESEND = "resend_invoice"
CREATE, STATUS, MARK, UNMARK = "create_invoice", "check_invoice_status", "mark_invoice_paid", "unmark_invoice_paid"
FACTS = frozenset({"remember_fact", "change_fact", "set_name"})
"""Actions whose effect "undo" takes back."""
TOLD = FACTS | {
    "forget_fact", "forget_name", "forget_contact", "forget_everything", "list_facts", "list_contacts",
    "my_profile", UNDO,
}  # fmt: skip
"""Actions behind which a bare "undo" is theirs; behind another one the person is asked first."""
UNDONE = frozenset({MARK, "forget_everything"})
"""Actions that are shown before they are done, and taken back by a bare "undo" right behind."""
OTHERWISE_MIN = 0.9
"""A guess this likely is something else than the next question."""
QUESTION_CHARS_MAX = 200
"""A longer message is more than the next question about a document."""

_NEXT = re.compile(r"(?:and|also|what about|how about|na|vipi|je)\b[ ,]*(?:about |for |kuhusu )?")
_QUESTION = re.compile(
    r"(?:(?:and|so|ok|na|je|basi)\b[ ,]*)*(?:when|what|how|who|which|where|why|is|are|does|do|can|must|lini|nani|nini"
    r"|wapi|ngapi|kwa nini|je|inasema|kiasi)\b|.*\?\s*$|.*\b(?:lini|nani|nini|wapi|ngapi|kiasi gani)\W*$"
)
_FORGET = re.compile(r"(?:please |ok |no )*(?:forget|delete|remove) (?:that|this)(?: please)?|sahau (?:hilo|hiyo|hayo)")


_PLEASE = r"\W*(?:(?:please|ok|okay|and|now|so|je|na|tafadhali|sasa|basi)\b[ ,]*)*"
_OF_IT = {
    MARK: re.compile(
        rf"{_PLEASE}(?:(?:mark|record|note|set) (?:it|that|this)(?: 1| invoice)? (?:as |to )?paid\b.*"
        r"|(?:weka|andika|iweke|iandike)(?: hiyo| ile)? (?:kuwa |kama )?imelipwa\b.*"
        r"|(?:it was|it is|it's|it has been|imelipwa) paid (?:in cash|by (?:cash|cheque|check|bank)|to my bank)\W*"
        r"|imelipwa (?:kwa )?(?:taslimu|keshi|hundi|benki)\W*)"
    ),
    RESEND: re.compile(
        rf"{_PLEASE}(?:(?:re-?send (?:it|that|this)|send (?:it|that|this))(?: again| once more| 1 more time)"
        r"|re-?send (?:it|that|this)|(?:i)?tum[ae] tena|i?rudie kuituma|itume (?:tena|mara nyingine))"
        r"(?: please| tafadhali)?\W*"
    ),
    STATUS: re.compile(
        rf"{_PLEASE}(?:paid(?: yet| already)?"
        r"|(?:has|is|was) (?:it|that|this)(?: 1| invoice)?(?: been)?(?: already)? paid"
        r"(?: yet| already)?|(?:has|have|did) (?:she|he|they) (?:already |yet )?(?:paid|pay)(?: it| yet| already)*"
        r"|imelipwa(?: tayari| au bado| ama bado)?|(?:ame|wame)lipa(?: tayari| au bado| ama bado)?)\W*\?\W*"
    ),
}
"""What is said of an invoice that was spoken of last, without naming it."""
_OF_AN_INVOICE = frozenset({STATUS, MARK, UNMARK, RESEND})

_CODE = re.compile(r"\b(?:to|into|in|kuwa|kwa) ([A-Z]{3})\b")


def after(state: DialogState, action: str) -> DialogState:
    """The state after what was shown of this action was done: nothing of it can be changed any more."""
    if action in UNDONE:
        return state
    gone = (CREATE, STATUS) if action == CREATE else (action,)
    history = {name: slots for name, slots in state.history.items() if name not in gone}
    if action == CREATE:
        # "Mark it as paid", "send it again" are said of the newest, as of one that was looked at.
        history[STATUS] = {"invoice": "last"}
    return replace(state, history=history)


def told_all(text: str, intent: Intent) -> Intent:
    """A conversion with the code that it goes to as it was written, known or not: another currency would be another
    answer."""
    if intent.action != "convert_currency" or intent.slots.get("to_currency") or text == text.upper():
        return intent
    found = _CODE.search(text[:QUESTION_CHARS_MAX])
    if found is None or found[1] == intent.slots.get("from_currency"):
        return intent
    return replace(intent, slots={**intent.slots, "to_currency": found[1]})


def whose(text: str, intent: Intent) -> Intent:
    """Whether somebody has paid is asked of their invoices; whether anybody has, of all that came."""
    if intent.action not in ("check_payments", "none") or len(text) > QUESTION_CHARS_MAX:
        return intent
    slots = whether_paid(said(text))
    return replace(intent, action=STATUS, slots=slots, guessed=False, confidence=0.95, by="rule") if slots else intent


def read(text: str, state: DialogState, intent: Intent) -> Intent:
    """The intent, or a better one where the last thing done makes it one: the next question about a document,
    "forget that" behind something told, and "undo" behind an invoice that was noted as paid."""
    last = next(reversed(list(state.history)), None) if state.action is None else None
    if last is None or len(text) > QUESTION_CHARS_MAX:
        return intent
    plain = said(text).plain.strip()
    if last in FACTS and _FORGET.fullmatch(plain.strip(" .!")):
        return Intent(UNDO, {}, 0.95)
    if last == MARK and intent.action == UNDO:
        invoice = state.history[MARK].get("invoice")
        return replace(intent, action=UNMARK, slots={"invoice": invoice} if invoice else {})
    if intent.action == UNDO and last not in TOLD:
        return replace(intent, slots={"since": last})
    if last in _OF_AN_INVOICE and (invoice := state.history[last].get("invoice")) is not None:
        action = next((action for action, says in _OF_IT.items() if says.fullmatch(plain)), None)
        if action is not None:
            slots = intent.slots if intent.action == action == MARK else {}
            return Intent(action, {**slots, "invoice": invoice}, 0.95, by="rule")
    open_to_it = intent.action in ("none", "search_info") or (intent.guessed and intent.confidence < OTHERWISE_MIN)
    if last in (ASK, SUMMARISE) and open_to_it and (_NEXT.match(plain) or _QUESTION.match(plain)):
        before = state.history.get(last, {})
        file = {"file": before["file"]} if before.get("file") else {}
        return replace(intent, action=ASK, slots={"question": text.strip(), **file}, confidence=0.9, guessed=False)
    return intent
