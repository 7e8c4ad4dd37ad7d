"""From a guess to an intent, and from an answer to slots, for actions that the classifier learnt. Pure.

`understand` comes first with its rules; what they leave open is weighed here.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from core.brain import classify, errands, frames, travel
from core.brain.words import Said, listed
from core.brain.words import said as ready
from core.dialog import DialogState, Intent
from core.language import heard

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import JsonValue

Slots = dict[str, "JsonValue"]

SURE = 0.95
TRIVIA = 0.9
"""Confidence of a question about the world, which the web may answer."""
ANSWERED = 0.9
"""Confidence of an answer to what was asked."""
NOTHING = 0.8
"""How often nothing was meant where nothing was likely enough, whatever the classifier made of it."""
CHAT_MIN = 0.6
"""Less likely small talk is not answered as such."""
GUESS_MIN = 0.67
"""A less likely action is not even asked about: of those below, one in three was meant (measured on public sets)."""
GUESS_MIN_WORDLESS = 0.8
"""The same where there are no words that the action is usually asked for with."""
CHAT = frozenset({"none", "smalltalk", "help"})
GUESS_MIN_NOT_ENGLISH = 0.4
"""Where it is not plainly English, more of them were meant: what is no request of ours is mostly in English here."""
LEARNT = frozenset({*travel.FRAMES, *errands.READERS, "check_balance", "check_payments", "check_invoice_status"})
"""Actions whose slots are read here."""


def read(action: str, said: Said, now: "datetime", zone: str) -> Slots:
    """The slots of an action that a first message names."""
    if action in travel.FRAMES:
        return frames.read(travel.FRAMES[action], said, now)
    reader = errands.READERS.get(action)
    return reader(said, now, zone) if reader is not None else {}


_WEB = re.compile(
    r"\b(?:ask|search|use|on|with|check|try|from) (?:on |in |with )?(?:bing|google|the (?:web|internet|net)"
    r"|wikipedia|online)\b|^\W*(?:please |can you |could you )?(?:google|bing|web search)\b"
    r"|\b(?:kwa|kwenye|huko) (?:the )?(?:net|mtandao|google|gugo|wikipedia|intaneti)\b|\b(?:do|run"
    r"|make) an? (?:web|internet|online|google) search\b|\btafuta (?:kwa |kwenye )?(?:mtandao|google)"
)
_TRIVIA = re.compile(
    r"^\W*(?:(?:hey|ok|okay|please|so|and|tell me|do you know|can you tell me|could you tell me|i want to know"
    r"|i'd like to know|je)\b[ ,]*)*"
    r"(?:who (?:is|was|are|were|won|wrote|invented|discovered|founded|made|owns|invested|\w+ed)\b|what (?:is"
    r"|are|was|were) (?:the (?!weather|temperature|time|date|status|balance|best|rate)|an? )?\w+"
    r"|what's (?:the )?(?:capital|meaning|population|currency|tallest|largest|biggest|highest)"
    r"|where (?:is|are|was) (?!the (?:nearest|closest)|my)|when (?:did|was|were|is) (?!my|the next|it)"
    r"|which (?:country|city|planet|year|president|team|is the)|how (?:tall|old|big|deep|high|far|heavy|large"
    r"|many \w+ (?:are|does|do|did)) (?!i|you|my)"
    r"|why (?:is|are|do|does|did) (?!my|i|you|it)|nani (?:ni|aligundua|alishinda)|mji mkuu wa"
    r"|(?:(?:nataka|naomba|ningependa|ninataka|tafadhali|hebu|eti)[ ,]*)*(?:kujua|kufahamu|kusoma|nieleze"
    r"|nielezee|nifafanulie"
    r"|nifahamishe|nijuze|nijulishe|niambie) (?:zaidi |mengi |machache )?(?:kuhusu|kuhusiana na|habari za"
    r"|juu ya|maana ya"
    r"|historia ya|asili ya|faida za|madhara ya|dalili za)"
    r"|(?:(?:ni)?(?:eleze|elezee|fafanulie|fundishe|soma|some|somee|julishe)|eleza|fafanua) (?:kidogo |zaidi )?"
    r"(?:kuhusu|kuhusiana|juu ya|maana ya|nini maana|jinsi (?!ya kutumia))"
    r"|(?:ni)?(?:tafutie|tafuta|sakie|saka|googlie|angalizie|chekie) (?:kwa |kwenye )?(?:habari|taarifa|maelezo|info"
    r"|ukweli|historia|maana) "
    r"|(?:je )?(?:nini (?:maana|sababu|chanzo|husababisha|kilisababisha|hufanya)|ni nini (?:maana|sababu|chanzo))"
    r"|(?:maana|historia|asili|faida|madhara|dalili|idadi|chanzo|sababu|umuhimu|tofauti|mwanzo|urefu|ukubwa|umri"
    r"|mwanzilishi|mgunduzi|rais|waziri mkuu|mji mkuu|lugha rasmi|sarafu rasmi) (?:ya|za|wa|kati ya|cha) "
    r"|.*\b(?:ni nani|ni nini|ni upi|ni ipi|ni lini|iko wapi|yuko wapi|ulianza lini|aliye\w+|walioshinda|alishinda"
    r"|anaitwa nani|inaitwaje|huitwaje|mwaka gani|(?:ukubwa|urefu|umbali|upana) gani|(?:timu|nchi|mji|kaunti) gani"
    r"|(?:ina|lina|zina|wana) \w+ ngapi|nani (?:ali\w+|ndiye|mkubwa|bora|mwanzilishi|mmiliki)|(?:hu|una|ina"
    r"|zina)\w{3,}aje)\b)"
)
_PERSONAL = re.compile(
    r"\b(?:i|i'm|i've|my|me|mine|we|our|us|you|your|this|that|it|it's|here|there|today|tomorrow|tonight|now"
    r"|yangu|wangu|langu|zangu|wewe|yako|leo|kesho)\b"
)
STRICT = listed(
    "open_dispute add_to_itinerary remove_from_itinerary create_itinerary view_itinerary share_itinerary "
    "post_social list_workflows run_workflow pause_workflow resume_workflow approve_step reject_step "
    "search_notes create_note check_quotas set_timezone save_contact send_whatsapp top_up"
)
"""Actions that hardly anybody asks for without one of their words."""
_ASKING = {
    "ask_document": re.compile(
        r"\?|\b(?:what|when|who|where|which|how|why|does|do|is|are|says?|said|mentions?|find|look|tell|show"
        r"|according|any"
        r"|nini|lini|nani|wapi|ngapi|gani|inasema|imesema|kuna|tafuta|niambie)\b"
    ),
}
"""What a request for these actions is never without."""

STRICT_BELOW, GATED_BELOW = 0.98, 0.9
"""In English, and without a word that the action is usually asked for with, a guess must be this likely; of the strict
ones, and of the others."""
GATELESS_MAX = 0.93
"""How sure a guess without such a word is at most: what changes something is then asked about."""


GATES: Mapping[str, re.Pattern[str]] = {**travel.ASK, **errands.ASK}
"""The words that an action is usually asked for with."""


def gateless(action: str, said: Said) -> bool:
    """Whether none of the words is there that the action is usually asked for with."""
    gate = GATES.get(action)
    return gate is not None and not gate.search(said.plain)


def only_gate(action: str, said: Said) -> bool:
    """Whether a message is nothing but a word that the action is usually asked for with: "balance"."""
    gate = GATES.get(action)
    return gate is not None and bool(gate.fullmatch(said.plain.strip(" .!?\n")))


def _fits(guess: classify.Guess, said: Said) -> bool:
    """Whether the message has what a request for this action is hardly ever without."""
    least = STRICT_BELOW if guess.action in STRICT else GATED_BELOW
    # The words are mostly English; in Kiswahili and Sheng they are more, and in more forms and spellings.
    if guess.probability < least and heard(said.written) == "en" and gateless(guess.action, said):
        return False
    asking = _ASKING.get(guess.action)
    return asking is None or bool(asking.search(said.plain))


def _least(guess: classify.Guess, said: Said) -> float:
    """How likely this action must be to be asked about at least."""
    if guess.action in CHAT:
        return CHAT_MIN
    if heard(said.written) != "en":
        return GUESS_MIN_NOT_ENGLISH
    return GUESS_MIN if guess.action in GATES else GUESS_MIN_WORDLESS


def request(said: Said, now: "datetime", zone: str, state: DialogState) -> Intent:
    """What a message asks for by itself, whether anything here does it or not; `none` carries how sure that is."""
    if _WEB.search(said.plain):
        return Intent("search_info", read("search_info", said, now, zone), SURE, by="words")
    guesses = classify.guesses(said)
    best = guesses[0]
    if not _fits(best, said):
        best = next((guess for guess in guesses if guess.action == "none"), best)
    if best.action == "none" or best.probability < _least(best, said):
        if _TRIVIA.match(said.plain) and not _PERSONAL.search(said.plain):
            return Intent("search_info", read("search_info", said, now, zone), TRIVIA, by="words")
        nothing = next((guess.probability for guess in guesses if guess.action == "none"), best.probability)
        return Intent("none", {}, NOTHING + (1 - NOTHING) * nothing, guessed=True, by="guess")
    slots: Slots = {}
    if best.action in LEARNT:
        slots = read(best.action, said, now, zone)
        if best.action in travel.FRAMES:
            slots = {**_carried(best.action, said, state), **slots}
    sure = min(best.probability, GATELESS_MAX) if gateless(best.action, said) else best.probability
    return Intent(best.action, slots, sure, guessed=True, by="guess")


def _carried(action: str, said: Said, state: DialogState) -> Slots:
    """What the new request takes over from what was talked about last."""
    last, before = state.action, state.slots
    if last is None or last == action:
        name = next(reversed(list(state.history)), None)
        last, before = name, state.history.get(name, {}) if name else {}
    if last in travel.FRAMES:
        return frames.carried(travel.FRAMES[action], said, before, travel.FRAMES[last])
    if last == "get_weather" and isinstance(before.get("city"), str):
        return frames.carried(travel.FRAMES[action], said, {"location": before["city"]}, travel.EVENTS)
    return {}


_TURNS: Mapping[str, re.Pattern[str]] = {
    "check_availability": re.compile(
        r"\b(?:calendar|schedule|agenda|diary|am i (?:free|available|busy)|i'm (?:free|available)|i am (?:free"
        r"|available)|my (?:events?|availability|appointments?|day)|i have (?:on|any)|ratiba|kalenda"
        r"|nina nafasi)\b"
    ),
    "search_info": _WEB,
    "check_payments": re.compile(r"\b(?:payments?|paid|malipo|amelipa)\b"),
    "list_transactions": re.compile(r"\b(?:transactions?|purchases?|statement|miamala)\b"),
    "search_events": re.compile(
        r"\b(?:events?|concerts?|shows?|festivals?|games?|match(?:es)?|things to do|something (?:fun "
        r"|interesting )?to do|tickets?|activit(?:y|ies)|tamasha|matukio)\b"
    ),
}
"""In the middle of something else an action needs one of these words, not only one of its gate."""
_TAKES = re.compile(r"\b(?:buy|book|purchase|reserve|get|tickets?|want|nunua|chukua)\b")
UNGATED = 0.9
"""An action that no word is typical of must be this likely to take over in the middle of another."""


def turned(said: Said, now: "datetime", zone: str, state: DialogState) -> Intent | None:
    """The new request of somebody who was in the middle of something; None where they stay with it."""
    guess = classify.guesses(said)[0]
    if guess.action in CHAT or guess.action == state.action or guess.probability < GUESS_MIN:
        return None
    gate = _TURNS.get(guess.action) or GATES.get(guess.action)
    if gate is not None and not gate.search(said.plain):
        return None
    if gate is None and guess.probability < UNGATED:
        return None
    intent = request(said, now, zone, state)
    if intent.action != guess.action:
        return None
    before = state.history.get(intent.action)
    if intent.action in travel.FRAMES and isinstance(before, Mapping) and _TAKES.search(said.plain):
        offered = before.get("offered")
        if isinstance(offered, Mapping):
            return replace(intent, slots={**offered, **intent.slots})
    return intent


REFUTED = 0.9
"""How sure the classifier must be of another action, for a rule's words to count for nothing."""
REFUTED_BELOW = 0.03
"""How unlikely it must find the rule's own."""


def refutes(said: Said, action: str) -> bool:
    """Whether a message with a rule's words plainly means something else: "don't remind me about church"."""
    guesses = classify.guesses(said)
    top = guesses[0]
    if top.action == action or top.action == "none" or top.probability < REFUTED:
        return False
    return next((guess.probability for guess in guesses if guess.action == action), 1.0) < REFUTED_BELOW


SECONDED = ((0.9, 0.99), (0.5, 0.95), (0.0, 0.85))
"""How sure a rule is: from which probability on that the classifier gives its action, and then how sure."""


def seconded(said: Said, action: str) -> float:
    """How sure a rule's reading is, by what the classifier makes of the same message."""
    its = next((guess.probability for guess in classify.guesses(said) if guess.action == action), 1.0)
    return next(sure for least, sure in SECONDED if its >= least)


def likely(said: Said) -> str:
    """The likeliest action."""
    return classify.guesses(said)[0].action


def follow(said: Said, now: "datetime", zone: str, state: DialogState) -> Intent | None:
    """What an answer adds to the unfinished action; None when it adds nothing."""
    action = state.action
    if action is None:
        return None
    if action in travel.FRAMES:
        slots = frames.follow(travel.FRAMES[action], said, now, state.asked, state.offered)
    else:
        slots = {}
        for slot in state.asked:
            slots = {**slots, **errands.answer(action, slot, said, now, zone)}
        if not state.asked and action in errands.READERS and not frames.accepts(said.plain):
            slots = _changed(action, said, now, zone)
        if state.offered and frames.accepts(said.plain):
            slots = {**state.offered, **slots}
    return Intent(action, slots, ANSWERED, by="answer") if slots else None


SHOWN = frozenset({"create_invoice", "create_payment_link", "send_money", "top_up", "withdraw"})
"""Actions that are shown to be confirmed, and can be changed until they are."""
_FIRM = frozenset({"amount", "currency", "date", "time", "phone_number", "recipient", "duration", "payer_email", "to"})
"""Slots of a kind that a later message can change by naming another value."""


def _changed(action: str, said: Said, now: "datetime", zone: str) -> Slots:
    return {name: value for name, value in read(action, said, now, zone).items() if name in _FIRM}


_REACHED = ("phone_number", "payer_email")
"""How somebody is reached: not as the one who was named before."""


def rethought(action: str, said: Said, now: "datetime", zone: str) -> Slots:
    """What a message changes of what was shown to be confirmed; somebody else has another number and address."""
    slots = _changed(action, said, now, zone)
    payer = errands.recipient(said) if action == "create_invoice" else None
    if payer is not None and payer[:1].isupper():
        slots["payer_name"] = payer
    if "recipient" in slots or "payer_name" in slots:
        return {**dict.fromkeys(_REACHED), **slots}
    return slots


def offered_by(action: str, asked: Collection[str], bot: str, now: "datetime", zone: str) -> Mapping[str, "JsonValue"]:
    """The values that a question of the bot named for what it asked: "Is 12 March your check-in date?"."""
    if action not in LEARNT or not bot:
        return {}
    slots = read(action, ready(bot), now, zone)
    return {name: value for name, value in slots.items() if name in asked}
