"""From a message to an intent, by rules: every action's words and slots in one table, tried from top to bottom. Pure.

No model, no key, no network; the same text always means the same. A message that asks for two things gets the first.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING

from core.brain import amounts, documents, facts, people, periods, places, track, when
from core.brain.when_patterns import MONTHS
from core.brain.words import TEXT_PARSED_CHARS_MAX, Said, listed, lower, said
from core.codes import code_in
from core.dialog import DialogState, Intent

if TYPE_CHECKING:
    from pydantic import JsonValue

SURE = 0.95
"""Confidence of a message that opens a gate and fills every slot the action needs."""
ANSWERED = 0.9
"""Confidence of an answer to what was asked, and of a correction of what was said before."""
TURNED_MIN = 0.995
"""What answers a question is a request of its own only when it is this likely to be one."""
HALF = 0.9
"""Confidence of a message that opens a gate and leaves something to ask."""
ANSWER_WORDS_MAX = 6
"""A longer answer to "which city?" is no bare name."""
CONTENT_CHARS_MAX = 20_000
"""What is kept of a reminder's text here; whether that is too long is for the action to say."""

LEAVE = "leave"
"""The action of somebody who wants to have done with the unfinished one."""

BACK_CHARS_MAX = 100
"""A longer message may speak of the bot, but does not ask for it."""
COURTESY_CHARS_MAX = 60
"""Where a request ends in courtesies, they stand in so many characters."""

Slots = dict[str, "JsonValue"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Heard:
    """One message in its place: what was said, when and where, and what went before."""

    said: Said
    now: datetime
    zone: str
    state: DialogState
    known: Mapping[str, "JsonValue"] = field(default_factory=dict)
    """Slots of the action this message corrects or completes."""

    @property
    def plain(self) -> str:
        return self.said.plain

    @cached_property
    def when(self) -> when.When:
        return when.find(self.plain, self.now)

    @cached_property
    def money(self) -> list[amounts.Currency]:
        """Currencies named, each once in a row."""
        found: list[amounts.Currency] = []
        for currency in amounts.currencies(self.plain, self.said.written, self.zone):
            if not found or found[-1].code != currency.code:
                found.append(currency)
        return found

    def without(self, *spans: tuple[int, int], mark: str = "\n") -> str:
        """The plain text with these stretches and those about time blanked out; positions stay the same."""
        return when.masked(self.plain, (*self.when.spans, *spans), mark)


@dataclass(frozen=True)
class Rule:
    """One action: the words that ask for it, those that mean something else, how its slots are read, which it needs."""

    action: str
    opens: re.Pattern[str]
    slots: Callable[[Heard, Span], Slots]
    """Reads the slots; it is told where the words stand that opened the gate."""
    needs: tuple[str, ...] = ()
    unless: re.Pattern[str] | None = None
    allows: Callable[[Heard], bool] = lambda heard: True
    """A second look at a message whose words fit."""


def parse(text: str, *, now: datetime, zone: str, state: DialogState, actions: Collection[str]) -> Intent:
    """What a message asks for, whether anything here does it or not; what was begun, or is changed, is of `actions`.

    `now` is aware, or naive and then the local wall time in `zone` (an IANA name; an unknown one counts as UTC).
    Times come out as local ISO 8601, dates as YYYY-MM-DD, amounts as decimal digits, currencies as ISO 4217 codes.
    Never raises for any text; what is not understood is `none`, with how sure that is; LEAVE drops the unfinished
    action.
    """
    code = code_in(text)
    if code is not None and "link_account" in actions:
        return Intent("link_account", {"code": code}, SURE)
    heard = Heard(said(text), when.local(now, zone), zone, state)
    bare = heard.plain.strip(" .,!?\n")
    if not any(char.isalnum() for char in bare):
        return Intent("none", {}, 0.0)
    if _LEAVE.fullmatch(bare):
        return Intent(LEAVE, {}, SURE)
    learnt = state.action if state.action in actions and state.action in track.LEARNT else None
    if learnt is not None and (state.asked or state.offered):
        answer = _within(heard)
        if answer is not None:
            return answer
    if _SMALLTALK.fullmatch(bare) and not (state.offered and _YES.fullmatch(bare)):
        return Intent("smalltalk", {}, SURE)
    if _HELP.fullmatch(bare):
        return Intent("help", {}, SURE)
    unfinished = _RULE_OF.get(state.action or "") if state.action in actions else None
    if unfinished is not None and state.offered:
        if _YES.fullmatch(bare):
            return Intent(unfinished.action, dict(state.offered), ANSWERED)
        if _NO.fullmatch(bare):
            return Intent(LEAVE, {}, SURE)
    if _CORRECTION.match(heard.plain) or _AND.match(heard.plain):
        changed = _follow_up(heard, unfinished, actions)
        if changed is not None:
            return changed
    asked = next((slot for slot in state.asked if slot in _ANSWERS), None) if unfinished is not None else None
    if asked is not None and asked != "content":
        turned = track.turned(heard.said, heard.now, zone, state)
        if turned is not None and turned.confidence >= SURE and turned.action not in _RULE_OF:
            return turned
    if not (asked == "content" and unfinished is not None and not _starts_anew(heard)):
        for rule in RULES:
            intent = _ask(rule, heard)
            if intent is not None and not (state.action is None and track.refutes(heard.said, rule.action)):
                return intent
    if _HELP_IN.search(heard.plain):
        return Intent("help", {}, SURE)
    if unfinished is not None and asked is not None:
        slots = _ANSWERS[asked](Heard(heard.said, heard.now, zone, state, state.slots))
        if slots:
            return Intent(unfinished.action, slots, ANSWERED)
    changed = _follow_up(heard, unfinished, actions)
    if changed is not None:
        return changed
    if learnt is not None:
        answer = _within(heard)
        if answer is not None:
            return answer
        return Intent("none", {}, 0.0)
    guess = track.request(heard.said, heard.now, zone, state)
    ruled = _RULE_OF.get(guess.action)
    if ruled is not None and not _may(ruled, heard):
        return Intent("none", {}, 0.0)
    if ruled is not None and guess.action not in track.LEARNT:
        return replace(guess, slots=ruled.slots(heard, (0, 0)))
    return guess


def _within(heard: Heard) -> Intent | None:
    """What somebody says who is in the middle of an action that the classifier learnt."""
    said, now, zone, state = heard.said, heard.now, heard.zone, heard.state
    answer = track.follow(said, now, zone, state)
    answered = answer is not None and any(slot in answer.slots for slot in state.asked)
    turned = track.turned(said, now, zone, state)
    likely = track.likely(said)
    for rule in RULES:
        if answered or (likely != rule.action and rule.action not in _AT_ANY_TIME):
            continue
        intent = _ask(rule, heard)
        if intent is not None:
            return intent
    if answered and (turned is None or turned.confidence < TURNED_MIN):
        return answer
    return turned or answer


_AT_ANY_TIME = frozenset({"talk_to_human", "erase_my_data", "undo", "get_weather", "convert_currency", "set_reminder"})
"""Actions whose own words are enough in the middle of another; the others must be what the whole message looks like."""


def corrects(text: str) -> bool:
    """Whether a message takes back or changes what was said before ("no, make it 10")."""
    return bool(_CORRECTION.match(said(text[:200]).plain))


def asks_for_bot(text: str) -> bool:
    """Whether somebody who talks to a human asks for the bot again; the whole message must say so."""
    return len(text) <= BACK_CHARS_MAX and bool(_BACK.fullmatch(said(text).plain.strip(" .,!?\n")))


def _may(rule: Rule, heard: Heard) -> bool:
    """Whether a guess at this rule's action counts: its words for something else refuse it, too."""
    refused = rule.unless is not None and rule.unless.search(heard.plain)
    return not refused and rule.allows(heard)


def _ask(rule: Rule, heard: Heard) -> Intent | None:
    """The intent when the message opens this rule's gate."""
    gate = rule.opens.search(heard.plain)
    if gate is None or (rule.unless is not None and rule.unless.search(heard.plain)) or not rule.allows(heard):
        return None
    slots = rule.slots(heard, gate.span())
    known = {**heard.state.slots, **slots} if heard.state.action == rule.action else slots
    full = all(known.get(slot) is not None for slot in rule.needs)
    return Intent(rule.action, slots, SURE if full else HALF)


def _starts_anew(heard: Heard) -> bool:
    """Whether a message that could be the text of a reminder is a request of its own all the same."""
    lead = _FILLERS.match(heard.plain)
    start = lead.end() if lead else 0
    return any(rule.opens.match(heard.plain, start) for rule in RULES) or bool(_QUESTION.match(heard.plain, start))


def _follow_up(heard: Heard, unfinished: Rule | None, actions: Collection[str]) -> Intent | None:
    """A change to what was last talked about: "and in Mombasa?", "no, make it 10", "kesho je?"."""
    rule, before = unfinished, heard.state.slots
    if rule is None and heard.state.action is None and heard.state.history:
        # What was only looked up can be looked up again; what was done (a reminder set) is not changed by a new one.
        name, before = list(heard.state.history.items())[-1]
        rule = _RULE_OF.get(name) if name in actions and name in _LOOKED_UP else None
    if rule is None or rule.action not in _CHANGES:
        return None
    slots, used = _CHANGES[rule.action](Heard(heard.said, heard.now, heard.zone, heard.state, before))
    if not slots:
        return None
    rest = when.masked(heard.plain, used, " ")
    led = _CORRECTION.match(heard.plain) or _AND.match(heard.plain)
    if _only_fillers(rest) or (led and len(rest.split()) <= ANSWER_WORDS_MAX and _only_fillers(rest[led.end() :])):
        merged = slots if unfinished is not None else {**before, **slots}
        return Intent(rule.action, merged, ANSWERED)
    return None


def _only_fillers(rest: str) -> bool:
    return all(word in _FILLER_WORDS for word in re.findall(r"[^\W_]+", rest))


# ---------------------------------------------------------------- words that carry no slot

_FILLER_WORDS = listed(
    "a about actually afadhali ah all also am an and at badala be better but by can change could do fanya for from "
    "go good how i "
    "if in instead is it iwe je just kama let's like likewise make mean meant my na nah ndio ni no nope not of oh "
    "ok okay on one or "
    "please really right same sawa set so sorry tafadhali that the then there this time to uh um use wait want was "
    "well what with "
    "would ya yes you hapana la ila me date day city amount currency it's that's i'd sasa vipi move s d ll"
)
_FILLERS = re.compile(
    r"(?:(?:please|hey|hi|hello|ok|okay|so|and|also|mathia|kindly|can you|could you|would you|will you|can i|could i"
    r"|i need you to"
    r"|i want you to|i want to|i need to|i would like to|i would like you to|i'd like to|i'd like you to|naomba"
    r"|tafadhali|habari|na)"
    r"\b[ ,]*)*"
)
_QUESTION = re.compile(r"(?:what|what's|how|how's|which|when|where|who|will|is|are|does|show|list|hali|je)\b")
_CORRECTION = re.compile(
    r"(?:(?:no+|nope|nah|not? that|oh|ah|sorry|wait|actually|oops|hapana|samahani|la|i mean(?:t)?|make (?:it|that)"
    r"|change (?:it|that)"
    r"|rather|instead|better|let's make it|badala yake|badilisha iwe|iwe|fanya iwe)\b[ ,.!-]*)+"
)
_AND = re.compile(r"(?:(?:and|what about|how about|then|also|na|vipi|je|ok|okay|kuhusu)\b[ ,]*)+")
_LEAVE = re.compile(
    r"(?:(?:no|ok|okay|oh|please|just|actually|ah|hapana|basi)\b[ ,]*){0,3}"
    r"(?:cancel|cancel (?:it|that|this)|never ?mind|nevermind|forget (?:it|that|about it)|stop|stop it|drop it"
    r"|leave it|skip it|quit"
    r"|exit|no thanks|no thank you|not now|don't bother|acha|achana nayo|wacha|sahau|usijali|ghairi|haidhuru|basi)"
    r"(?:[ ,]*(?:please|thanks|thank you|tafadhali|asante))?"
)
_YES = re.compile(
    r"(?:yes|yeah|yep|yup|sure|ok|okay|correct|right|that's right|please do|go ahead|do it|sounds good|perfect|y"
    r"|fine|great"
    r"|ndio|ndiyo|naam|sawa|sawa sawa|poa)(?:[ ,]*(?:please|that works|that's fine|go ahead|tafadhali))?"
)
_NO = re.compile(r"(?:no|nope|nah|n|not really|hapana|la|siyo)(?:[ ,]*(?:thanks|thank you|asante))?")
_SMALLTALK = re.compile(
    r"(?:(?:hi|hii+|hello+|hallo|hey+|heya|yo|greetings|howdy|hiya|hi there|hello there|hey there|good (?:morning"
    r"|afternoon|evening|day|night)"
    r"|what's up|sup|how are you(?: doing)?(?: today)?|how is it going|how's it going|habari(?: yako| zako| gani| "
    r"ya (?:asubuhi|mchana|jioni|leo))?|mambo|mambo vipi"
    r"|vipi|sasa|niaje|jambo|hujambo|shikamoo|salama|salamu|poa|uko poa|uko aje|thanks?|thanks? (?:a lot|so much|you"
    r"|you so much|you very much)"
    r"|many thanks|thx|ty|cheers|asante(?: sana)?|shukrani|nashukuru|ahsante(?: sana)?|bye|goodbye|bye bye|see you"
    r"(?: later)?|kwaheri|baadaye|tutaonana"
    r"|ok|okay|k|cool|great|nice|perfect|awesome|good|fine|sawa|sawa sawa|alright|all right|got it|lol|haha+|yes|no"
    r"|yeah|ndio|hapana"
    r"|who are you|what are you|what is your name|what's your name|your name|are you (?:a |an )?(?:bot|robot|human"
    r"|person|real|real person|machine|ai|computer|alive)"
    r"|are you (?:a )?(?:bot|robot|human) or (?:a )?(?:bot|robot|human)|am i (?:talking|speaking|chatting) (?:to"
    r"|with) (?:a |an )?(?:bot|robot|human|person|real person|machine|ai)"
    r"|is this (?:a |an )?(?:bot|robot|human|person|real person|ai)|wewe ni nani|unaitwa nani|jina lako(?: ni)? nani"
    r"|wewe ni (?:roboti|mashine|binadamu|mtu|bot)"
    r"|je wewe ni (?:roboti|mashine|binadamu|mtu|bot)|(?:back to|rudi kwa) (?:the )?(?:bot|roboti|mathia)|mathia)"
    r"[ ,.!?]*){1,3}"
)
_BACK = re.compile(
    r"(?:(?:please|ok|okay|sawa|tafadhali|sasa|now|can i|could i|i want to|i'd like to|nataka|naomba)\b[ ,]*){0,3}"
    r"(?:(?:go |take me |put me |switch |hand me )?back to (?:the |mathia the )?(?:bot|robot|mathia|assistant)"
    r"|(?:talk|speak|chat) (?:to|with) (?:the )?(?:bot|robot|mathia|assistant)(?: again)?"
    r"|(?:ni|tu)?rud(?:i|ishe|isheni) (?:kwa|kwenye) (?:roboti|bot|mathia)|kurudi kwa (?:roboti|bot|mathia)"
    r"|(?:ku)?(?:ongea|zungumza) na (?:roboti|mathia)(?: tena)?)"
    r"(?:[ ,]*(?:now|again|please|thanks|sasa|tena|tafadhali|asante)){0,2}"
)
_HUMAN = (
    r"(?:a |an |the |some )?(?:real |live |actual )?(?:human(?: being)?|person|agent|operator|representative|somebody"
    r"|someone(?: real)?|member of staff|staff|customer (?:care|service|support)|support(?: team)?)"
)
_MTU = r"(?:mtu|binadamu|mhudumu|wakala|huduma kwa wateja|mfanyakazi)(?: halisi| wa kweli)?"
_HELP = re.compile(
    r"/?(?:help|start|menu|commands|options)|(?:please )?help(?: me)?(?: please)?|(?:naomba )?msaada|nisaidie|saidia"
    r"|what do you do|how does this work"
)
_HELP_IN = re.compile(
    r"\bwhat (?:all )?(?:can|could) (?:you|u) (?:do|help)|\bhow can (?:you|u) help|\bwhat are (?:you|your) (?:able "
    r"to do|capable|abilities|features|skills)"
    r"|\b(?:what|which)(?: \w{1,12}){0,4} (?:can|could|may|am) i (?:ask|allowed to ask|say)\b"
    r"|\b(?:tell me |show me )?what(?: all)? (?:i )?can (?:i )?(?:ask|say to) (?:you|the ai)\b"
    r"|\b(?:what|which) (?:types?|kinds?|sorts?|topics|subjects|questions|categories)\b.{0,30}\b(?:can|could|do"
    r"|are) you\b"
    r"|\bunaweza (?:kufanya|kunisaidia) (?:nini|na nini)|\bunafanya nini\b|\bnaweza kukuuliza nini\b|\bunanisaidia "
    r"na nini"
)

# ---------------------------------------------------------------- reminders

_POLITE_END = re.compile(
    r"(?i)[ ,.!?-]{0,4}\b(?:please|pls|plz|thanks|thx|thank you|tafadhali|asante(?: sana)?|ok|okay)[ .!?]*$",
)
_LEAD = re.compile(
    r"(?:[ ,.:;!?\n-]+|(?:please|kindly|hey|hi|hello|can you|could you|would you|will you|i need you to|i want you "
    r"to|i need|i want|i'd like|that|to|about"
    r"|of|for|me|on|kuhusu|kwamba|kuwa|ili|ya|cha|tafadhali|naomba|saying|called|titled|and|also|is|i have to|i "
    r"need to|i should|nahitaji|set|one)\b)"
)
_WEAK_ENDS = re.compile(r"(?:[ ,;:\n-]+|[ ](?:and|na))+$")
_PRIORITY = re.compile(
    r"[ ,;-]*\b(?:(?:with |as |it's |its )?(?P<level>high|top|low|normal|medium) priority|priority:? (?:is )?"
    r"(?P<level_b>high|low|normal)"
    r"|(?P<high>(?:it's|its|this is|that's) (?:very |really )?(?:urgent|important)|ni (?:ya )?(?:muhimu|haraka"
    r"|dharura)(?: sana)?)"
    r"|(?P<low>(?:it's )?not (?:so |that |very )?(?:urgent|important)|si (?:ya )?(?:muhimu|haraka)(?: sana)?))\b"
    r"|(?P<high_b>^(?:urgent|important)\b[:,! ]+|[,;!-] ?(?:urgent|important)[!. ]*$)"
)


def _reminder(heard: Heard, gate: Span) -> Slots:
    """Its text, its time, how often, how urgent."""
    slots: Slots = {}
    opened = heard.plain[slice(*gate)]
    found = when.find(heard.plain, heard.now, early=True) if re.search("wake|alarm", opened) else heard.when
    if found.iso is not None:
        slots["time"] = found.iso
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
    priority = _PRIORITY.search(heard.plain)
    taken = [gate, *found.spans]
    counted = periods.offset(heard.plain, heard.now)
    if counted is not None and found.recurrence is None:
        clock = found.wall.time().replace(tzinfo=None) if found.clock and found.wall is not None else when.DAY_STARTS
        slots["time"] = datetime.combine(counted.day, clock).isoformat(timespec="minutes")
        taken.append(counted.text)
    stretch = (
        periods.find(heard.plain, heard.now) if found.clock and not found.exact and found.recurrence is None else None
    )
    if stretch is not None and isinstance(stretch.start, datetime):
        # From 3 to 5: it is reminded of when that begins.
        slots["time"] = stretch.start.isoformat(timespec="minutes")
        taken.append(stretch.text)
    if priority is not None:
        level = priority["level"] or priority["level_b"] or ("low" if priority["low"] else "high")
        slots["priority"] = {"top": "high", "medium": "normal"}.get(level, level)
        taken.append(priority.span())
    content = _content(heard, taken, gate[1]) or _content(heard, taken, 0, gate[0])
    if not content and "wake" in opened:
        content = "wake up"
    elif not content and "alarm" in opened and found.wall is not None:
        content = "alarm"
    if content:
        slots["content"] = content
    return slots


def _content(heard: Heard, taken: list[tuple[int, int]], start: int, end: int | None = None) -> str:
    """The person's own words between start and end, without what is taken, without courtesies."""
    stop = len(heard.plain) if end is None else end
    kept: list[str] = []
    at = start
    for low, high in [*sorted(span for span in taken if span[1] > start and span[0] < stop), (stop, stop)]:
        kept.append(heard.said.words(at, min(low, stop)) if low > at else "")
        at = max(at, high)
    text = " ".join(piece.strip() for piece in kept if piece.strip())
    if end is None and heard.said.rest and (not taken or max(high for _, high in taken) < stop):
        text += heard.said.rest
    return tidy(text)


def tidy(text: str) -> str:
    """What is left of a request, without the words around it: "to call Asha please" is "call Asha"."""
    text, start = text[:CONTENT_CHARS_MAX].rstrip(' ,;:\n-"'), 0
    low = lower(text[:TEXT_PARSED_CHARS_MAX])
    while match := _LEAD.match(low, start):
        start = match.end()
    head, tail = text[start:-COURTESY_CHARS_MAX], text[start:][-COURTESY_CHARS_MAX:]
    for ends in (_POLITE_END, _WEAK_ENDS):
        tail = ends.sub("", tail)
    return (head + tail).strip(' ,.;:\n-"')


_CANCEL_WORDS = re.compile(
    r"\b(?:please|kindly|can you|could you|cancel|delete|remove|stop|drop|clear|erase|dismiss|disable|turn off|turn"
    r"|off|get rid of|call off|futa|ghairi|ondoa"
    r"|sitisha|acha|wacha|the|my|a|an|that|this|of|for|to|about|on|me|number|no|nambari|namba|called|named"
    r"|reminders?|reminding|alarms?|remind|don't|kikumbusho|vikumbusho"
    r"|cha|ya|la|za|vya|changu|vyangu|kunikumbusha|kengele|one|ones|please|tafadhali|kuhusu|hicho|hiyo|i|want|need"
    r"|would|like|you|it|with|set|any ?more)\b|[#.,!?\"]"
)


def _which(heard: Heard, _: Span) -> Slots:
    """Which reminder: a number, "all", "last", or words of it."""
    which = which_of(heard.plain, heard)
    return {"which": which} if which else {}


def which_of(plain: str, heard: Heard) -> str:
    """The words that tell one reminder from the others."""
    if re.search(r"\b(?:all|every|everything|zote|vyote|yote)\b", plain):
        return "all"
    rest = _CANCEL_WORDS.sub(lambda match: "\n" * len(match[0]), plain)
    words = list(re.finditer(r"[^\s]+", rest))
    if not words:
        return ""
    text = heard.said.words(words[0].start(), words[-1].end()).strip()
    low = plain[words[0].start() : words[-1].end()]
    number = re.fullmatch(r"(\d{1,4})(?:(?:st|nd|rd|th)(?: 1)?)?", low)
    return number[1] if number else "last" if re.fullmatch("(?:last|latest|newest|mwisho)(?: 1)?", low) else text


# ---------------------------------------------------------------- currency

_ONE = re.compile(
    r"\b(?:rates?|worth|value|how much|how many|what|what's|price|vs|versus|against|compare|strong|bei|ngapi|kiasi"
    r"|trading|thamani|doing)\b"
)
_TO_FIRST = re.compile(
    r"\bhow many\b|\bhow much\b(?=[^.?!]{1,60}\b(?:can|could|would|will|do|for|per)\b)|\bper\b|\bhow \w{1,12} "
    r"\w{0,12} ?(?:is|are|for)\b(?!)"
)


def _exchange(heard: Heard, _: Span) -> Slots:
    """How much, from what, to what; an amount that nobody named is one, where a rate is asked for."""
    slots: Slots = {}
    money = heard.money
    text = heard.without(mark=" ") if heard.when.spans else heard.plain
    sums = amounts.amounts(text)
    beside = _beside(money, sums)
    if beside is not None:
        currency, amount = beside
        slots["amount"], slots["from_currency"] = amount.value, currency.code
        other = next((each for each in money if each.code != currency.code), None)
        if other is not None:
            slots["to_currency"] = other.code
        return slots
    if sums:
        slots["amount"] = sums[0].value
    elif _ONE.search(text) or (money and re.search(r"\b(?:a|an|one|the|each) $", text[: money[0].start])):
        slots["amount"] = "1"
    codes = [each.code for each in money]
    if len(codes) >= 2:
        first, second = codes[0], next((code for code in codes if code != codes[0]), None)
        turned = _TO_FIRST.search(text) or (
            re.search(r"\bto\b", text[: money[0].start]) and re.search(r"\bfrom\b", text[money[0].end :])
        )
        slots["from_currency"] = second if turned and second else first
        if second:
            slots["to_currency"] = first if turned else second
    elif codes:
        to = re.search(r"\b(?:to|into|in|kwa|kuwa)(?: the| a)? $", text[: money[0].start])
        slots["to_currency" if to else "from_currency"] = codes[0]
    return slots


def _beside(
    money: list[amounts.Currency], sums: list[amounts.Amount]
) -> tuple[amounts.Currency, amounts.Amount] | None:
    """The currency that stands beside a number, and the number."""
    for amount in sums:
        for currency in money:
            if 0 <= currency.start - amount.end <= 1 or 0 <= amount.start - currency.end <= 2:
                return currency, amount
    return None


def _is_exchange(heard: Heard) -> bool:
    """Money is named, and not only in passing."""
    if _EXCHANGE_SURE.search(heard.plain):
        return True
    if len({each.code for each in heard.money}) >= 2:
        return True
    if not heard.money or not _EXCHANGE_WORDS.search(heard.plain):
        return False
    only = heard.money[0]
    if _CONVERT.search(heard.plain) or _beside(heard.money, amounts.amounts(heard.plain)) is not None:
        return True
    # "How much is it in dollars" asks for a price, "how much is the dollar" for a rate.
    return only.sure and not re.search(r"\b(?:in|into|to|kwa|kuwa) (?:the )?$", heard.plain[: only.start])


_EXCHANGE_WORDS = re.compile(
    r"\b(?:convert\w{0,3}|conversion|exchange|forex|change|(?:ku)?badilisha|(?:ku)?badili|nibadilishie|how much"
    r"|what is|what's|rates?"
    r"|worth|value|price|bei|ngapi|kiasi gani|thamani)\b"
)
_CONVERT = re.compile(r"\b(?:convert\w{0,3}|conversion|exchange|(?:ku)?badilisha|nibadilishie)\b")
_EXCHANGE_SURE = re.compile(
    r"\b(?:exchange rates?|currency (?:converter|conversion|exchange)|convert currenc(?:y|ies)|conversion rates?"
    r"|forex)\b"
)


# ---------------------------------------------------------------- weather

_NO_PLACE = frozenset(MONTHS) - {"may", "mar"} | listed(
    "a an about afternoon and any area around are at be bro by can celsius chance city cold cool could current "
    "currently day days degrees "
    "details do does doing evening expect fahrenheit feel for forecast from general gani get getting give going "
    "have here hewa hot how i "
    "i'm if in is it ikoje iko itakuwaje je know kama kesho leo like location look looking looks me moment morning "
    "my na near need next "
    "night nini now of ok on or our out outside outdoors over place please rain raining rainy right sasa should "
    "show snow snowing so sun "
    "sunny supposed tafadhali tell temperature than thanks that the there this time to today tomorrow tonight town "
    "u umbrella us vipi want "
    "warm was we weather week weekend what when where which will wind windy with would yangu you your mvua joto "
    "baridi jua hali itanyesha "
    "kutakuwa kuna asap because but i'd i'll we're mate during bring wear pack travel travelling degree hapa "
    "freezing chilly storm storms "
    "stormy cloudy soon later minute minutes hour hours second seconds noon midday midnight fall winter summer "
    "spring month year years "
    "what's how's it's check see bad good nice really yesterday hello hi hey thank kindly home work "
    "everything too make sure also else anything something helping help all "
    "sunrise sunset dawn dusk beginning starting"
)
"""Words that no place name begins with or goes past, where weather is talked about."""
_NAME_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_WORD_START = re.compile(r"(?<![^\W_])(?=[^\W\d_])")
_NAME_WORDS_MAX = 4
_IN = re.compile(
    r"\b(?:in|at|near|around|from|within|mjini|huko|katika|jijini|eneo la|visit|visiting)\b (?:the )?(?:(?:city|town"
    r"|mji) (?:of|wa) )?"
)
_FOR = re.compile(r"\b(?:for|of|to|over|on|ya|wa|kwa|pale|about|like)\b (?:the )?(?:(?:city|town) of )?")
_GATE_FOR = re.compile(r"\b(?:weather|forecast|hewa|temperature)(?: like)? (?:for|of|in|at|ya) (?:the )?")
_AFTER_GATE = re.compile(r"\b(?:weather|forecast|hewa|temperature|ikoje)\b[ :,-]{1,3}")
_WEATHER_NEXT = re.compile(r"(?:'s)? (?:weather|forecast|temperature)\b")
_START = re.compile(rf"\A(?:{_FILLERS.pattern})(?:what's the |how's the |the )?")


def _named(text: str, lead: re.Pattern[str]) -> tuple[int, int] | None:
    """The first stretch that reads like a place name behind one of the leading words."""
    for match in lead.finditer(text):
        end = _name_end(text, match.end())
        if end is not None:
            return match.end(), end
    return None


def _name_end(text: str, start: int) -> int | None:
    """Where the place name that begins here ends: some words, and after a comma some more; None when none does."""
    end, at = None, start
    for _ in range(2):
        for _ in range(_NAME_WORDS_MAX):
            word = _NAME_WORD.match(text, at)
            if word is None or word[0].removesuffix("'s") in _NO_PLACE:
                break
            end = at = word.end()
            if word[0] in ("st", "mt", "ft") and text[at : at + 1] == ".":
                at += 1
            if text[at : at + 1] != " ":
                break
            at += 1
        comma = re.compile(r", ?").match(text, end) if end is not None else None
        if comma is None:
            break
        at = comma.end()
    return end


def _weather(heard: Heard, _: Span = (0, 0)) -> Slots:
    """Where, and which day when one was named."""
    slots: Slots = {}
    city = _city(heard)
    if city:
        slots["city"] = city
    day = _date(heard.when, heard.now)
    if day is not None:
        slots["date"] = day.isoformat()
    return slots


def _date(found: when.When, now: datetime) -> date | None:
    """The local day a time falls on; None for none, and for a clock later today."""
    if found.day is not None:
        return found.day
    if found.wall is None or found.wall.date() == now.date():
        return None
    return found.wall.date()


def _city(heard: Heard) -> str | None:
    """The place a weather question is about, as it should be called."""
    text = heard.without()
    span = _named(text, _GATE_FOR)
    inside = _IN.match(text, span[1] + 1) if span else None
    region = _name_end(text, inside.end()) if inside else None
    if span and inside and region:  # "the forecast for Naivasha in Kenya"
        return f"{_called(heard, *span)}, {heard.said.words(inside.end(), region)}"
    for lead in (_IN, _FOR, _AFTER_GATE):
        span = _named(text, lead)
        if span is not None:
            return _called(heard, *span)
    span = _named(text, _START)
    if span is not None and _WEATHER_NEXT.match(text, span[1]):
        return _called(heard, *span)
    known = places.known(heard.said)
    return known.name if known is not None else None


def _called(heard: Heard, start: int, end: int) -> str:
    """A place's name from its place in the text; a known town with more words behind it is "Town, more"."""
    name = places.name(heard.said.words(start, end).removesuffix("'s"))
    words = name.split(" ")
    if "," in name or len(words) < 2 or name in places.NAMES.values():
        return name
    for count in range(len(words) - 1, 0, -1):
        head = " ".join(words[:count]).lower()
        if head in places.NAMES:
            return f"{places.NAMES[head]}, {' '.join(words[count:])}"
    return name


# ---------------------------------------------------------------- answers and changes


def _answer_city(heard: Heard) -> Slots:
    rest = heard.without()
    slots = _weather(heard)
    brief = len(rest.split()) <= ANSWER_WORDS_MAX
    if "city" in slots and not brief and _named(rest, _IN) is None and places.known(heard.said) is None:
        del slots["city"]
    if "city" in slots:
        return slots
    span = _named(rest, _WORD_START)
    if span is not None and brief:
        slots["city"] = _called(heard, *span)
        return slots
    return slots if _only_fillers(rest) else {}


def _answer_date(heard: Heard) -> Slots:
    day = _date(when.find(heard.plain, heard.now, answer=True), heard.now)
    return {"date": day.isoformat()} if day is not None else {}


def _answer_time(heard: Heard) -> Slots:
    found = when.find(heard.plain, heard.now, answer=True)
    slots: Slots = {}
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
        return slots if found.iso is None else {"time": found.iso, **slots}
    long = periods.duration(heard.plain)
    if (
        long is not None
        and not found.exact
        and all(long.text[0] <= low and high <= long.text[1] for low, high in found.spans)
    ):
        found = when.When()  # the number was the duration's
    counted = periods.offset(heard.plain, heard.now)
    day = counted.day if counted is not None else periods.holiday(heard.plain, heard.now)
    if day is not None:
        return {"time": day.isoformat()}
    if found.iso is not None:
        slots["time"] = found.iso
    elif found.day is not None:
        slots["date"] = found.day.isoformat()
    period = periods.find(heard.plain, heard.now) if not found.exact else None
    if period is not None and (isinstance(period.start, datetime) or not _says_more(found, period)):
        slots["time"], slots["end_time"] = _at(period.start, slots.get("time")), period.end.isoformat()
    elif long is not None and "time" in slots and found.clock and not found.exact and found.wall is not None:
        slots["end_time"] = (found.wall.replace(tzinfo=None) + timedelta(seconds=long.seconds)).isoformat()
    elif long is not None and not slots:
        slots["duration"] = long.seconds
    return slots


def _at(start: date, said_before: "JsonValue") -> str:
    """Where a stretch begins: at the clock that was understood for its first day, if one was."""
    text = start.isoformat()
    return said_before if isinstance(said_before, str) and said_before.startswith(text) else text


def _says_more(found: when.When, period: periods.Period) -> bool:
    """Whether a point in time says more than the stretch that was found beside it: "3 May at 9" than "May"."""
    if found.day is None and not found.clock:
        return False
    return not any(start < period.text[1] and period.text[0] < end for start, end in found.spans) or (
        min(start for start, _ in found.spans) < period.text[0] - 1
        or max(end for _, end in found.spans) > period.text[1] + 1
    )


def _answer_content(heard: Heard) -> Slots:
    slots: Slots = {}
    spans: list[tuple[int, int]] = []
    if "time" not in heard.known and heard.when.iso is not None:
        slots["time"] = heard.when.iso
        spans = list(heard.when.spans)
        if heard.when.recurrence is not None:
            slots["recurrence"] = heard.when.recurrence
    content = _content(heard, spans, 0)
    if content:
        slots["content"] = content
    return slots


def _answer_recurrence(heard: Heard) -> Slots:
    return {"recurrence": heard.when.recurrence} if heard.when.recurrence is not None else {}


def _answer_priority(heard: Heard) -> Slots:
    match = re.search(r"\b(?:high|low|normal)\b", heard.plain)
    return {"priority": match[0]} if match else {}


def _answer_which(heard: Heard) -> Slots:
    which = which_of(heard.plain, heard) or heard.said.written.strip()
    return {"which": which}


def _answer_amount(heard: Heard) -> Slots:
    sums = amounts.amounts(heard.plain)
    if not sums:
        return {"amount": "1"} if re.search(r"\b(?:a|an|one) \w+$", heard.plain) and heard.money else {}
    beside = _beside(heard.money, sums)
    slots: Slots = {"amount": beside[1].value if beside else sums[0].value}
    if beside and "from_currency" not in heard.known:
        slots["from_currency"] = beside[0].code
    return slots


def _answer_currency(slot: str) -> Callable[[Heard], Slots]:
    def answer(heard: Heard) -> Slots:
        if heard.money:
            return {slot: heard.money[0].code}
        words = heard.said.written.strip(" .!?")
        return {slot: words} if 0 < len(words) <= 20 and len(words.split()) <= 2 else {}

    return answer


def _answer_words(slot: str) -> Callable[[Heard], Slots]:
    def answer(heard: Heard) -> Slots:
        return people.rest(slot, heard.said, 0)

    return answer


_ANSWERS: Mapping[str, Callable[[Heard], Slots]] = {
    "city": _answer_city, "date": _answer_date, "time": _answer_time, "content": _answer_content,
    "recurrence": _answer_recurrence, "priority": _answer_priority, "which": _answer_which, "amount": _answer_amount,
    "from_currency": _answer_currency("from_currency"), "to_currency": _answer_currency("to_currency"),
    "name": _answer_words("name"), "zone": _answer_words("zone"), "email": lambda heard: people.email(heard.said, 0),
    "phone": lambda heard: people.contact(heard.said, 0) or _answer_words("phone")(heard),
    "words": lambda heard: facts.words(heard.said), "kind": lambda heard: facts.kind(heard.said),
    "question": lambda heard: documents.question(heard.said, 0), "file": _answer_words("file"),
    "language": lambda heard: people.language(heard.said, 0), "code": lambda heard: people.email_code(heard.said, 0),
}  # fmt: skip
"""How the answer to a question is read, by the slot that was asked for."""

Changed = tuple[Slots, list[tuple[int, int]]]


def _change_weather(heard: Heard) -> Changed:
    slots: Slots = {}
    used: list[tuple[int, int]] = list(heard.when.spans)
    day = _date(heard.when, heard.now)
    if day is not None:
        slots["date"] = day.isoformat()
    text = heard.without()
    lead = _CORRECTION.match(text) or _AND.match(text)
    led = text[: lead.end()] if lead else ""
    span = _named(text, _IN) or (_named(text, _FOR) if lead else None)
    end = _name_end(text, len(led)) if lead and span is None else None
    span = (len(led), end) if end is not None else span
    if span is not None:
        slots["city"] = _called(heard, *span)
        used.append(span)
    elif (known := places.known(heard.said)) is not None:
        slots["city"] = known.name
        used.append((known.start, known.end))
    return slots, used


def _change_reminder(heard: Heard) -> Changed:
    base = None
    if isinstance(before := heard.known.get("time"), str):
        try:
            base = datetime.fromisoformat(before)
        except ValueError:
            base = None
    lead = _CORRECTION.match(heard.plain)
    found = when.find(heard.plain, heard.now, answer=lead is not None, base=base)
    if found.recurrence is not None:
        found = when.find(heard.plain, heard.now, answer=lead is not None)
    slots: Slots = {}
    if found.iso is not None:
        slots["time"] = found.iso
    if found.recurrence is not None:
        slots["recurrence"] = found.recurrence
    return slots, list(found.spans)


def _change_exchange(heard: Heard) -> Changed:
    slots: Slots = {}
    sums = amounts.amounts(heard.plain)
    used = [(each.start, each.end) for each in heard.money] + [(each.start, each.end) for each in sums[:1]]
    beside = _beside(heard.money, sums)
    if beside is not None:
        slots["amount"], slots["from_currency"] = beside[1].value, beside[0].code
        other = next((each for each in heard.money if each.code != beside[0].code), None)
        if other is not None:
            slots["to_currency"] = other.code
    elif heard.money:
        to = not re.search(r"\bfrom $", heard.plain[: heard.money[0].start])
        slots["to_currency" if to else "from_currency"] = heard.money[0].code
    if sums and beside is None:
        slots["amount"] = sums[0].value
    return slots, used


_CHANGES: Mapping[str, Callable[[Heard], Changed]] = {
    "get_weather": _change_weather, "set_reminder": _change_reminder, "convert_currency": _change_exchange,
}  # fmt: skip
_LOOKED_UP = frozenset({"get_weather", "convert_currency"})
"""Actions that change nothing, so that a change of a finished one is simply asked again."""


# ---------------------------------------------------------------- the table

_SKY = (
    r"(?:rain(?:ing|y)?|snow(?:ing|y)?|hot(?:ter)?|cold(?:er)?|warm(?:er)?|cool(?:er)?|chilly|humid|wind(?:y)?|sun"
    r"(?:ny)?|cloud(?:y|s)?|fog(?:gy)?|storm(?:s|y|ing)?"
    r"|thunderstorms?|hail(?:ing)?|blizzard|freezing|drizzl(?:e|ing)|overcast|dry|wet|heat ?wave|icy|showers?)"
)


def _about(action: str, opens: re.Pattern[str], read: Callable[[Said, int], Slots], *needs: str) -> Rule:
    """A rule of core/brain/people.py, which reads what was said from where the words that opened the gate end."""
    return Rule(action, opens, lambda heard, gate: read(heard.said, gate[1]), needs, people.SOMETHING_ELSE)


def _of_oneself(action: str, opens: re.Pattern[str], read: Callable[[Said, Span], Slots], *needs: str) -> Rule:
    """A rule of core/brain/facts.py, which reads what was said around the words that opened the gate."""
    return Rule(action, opens, lambda heard, gate: read(heard.said, gate), needs, facts.OTHER)


def _opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _takes_digits(state: DialogState) -> bool:
    """Whether six digits alone can be a mailed code: not where they answer a question or change an amount."""
    last = next(reversed(list(state.history)), None)
    return state.action in (None, "confirm_email") and last not in _LOOKED_UP


RULES: tuple[Rule, ...] = (
    Rule(
        "talk_to_human",
        _opens(
            rf"\b(?:talk|speak|chat)(?:ing)? (?:to|with) {_HUMAN}\b",
            rf"^\W*(?:please )?(?:get|give|find|call|connect|transfer|put|hand)(?: me)?(?: over| through)?"
            rf"(?: (?:to|with))? {_HUMAN}\W*(?:please\W*)?$",
            rf"\b(?:i (?:want|need)|i'd like|i would like) {_HUMAN}\W*(?:please\W*)?$",
            r"^\W*(?:a )?(?:real |live )?(?:human|agent|operator|person)(?: please)?\W*$",
            rf"\b(?:ku)?(?:ongea|ongee|zungumza|zungumze|sema|wasiliana) na {_MTU}\b",
            rf"\b(?:niunganishe|unganisha|nipe|nipatie|nahitaji|nataka) (?:na |kwa )?{_MTU}\W*(?:tafadhali\W*)?$",
        ),
        lambda heard, gate: {},
        unless=_opens(
            r"\bremind\b|\b(?:ni|u|wa)?kumbush\w+\b|\bdon't (?:want|need)\b|\bsitaki\b",
            r"\b(?:am|are|was) (?:i|you) (?:talk|speak|chat)ing\b",
        ),
    ),
    Rule(
        "check_quotas",
        _opens(
            r"\b(?:my|check|show|what|which|any) (?:my |are |is |the )*(?:quotas?|usage|daily limits?|limits?)\b"
            r"(?! (?:for|on|of) \w)",
            r"^(?:my )?(?:quotas?|usage|limits)\W*$",
            r"^(?:so )?how (?:much|many)(?: messages| searches| requests)? (?:have i|do i have|i have|have i got)"
            r"(?: got)? left(?: today| for today)?\W*$",
            r"\b(?:nimebakiza|nimebakisha|nimebaki na|nimebakiwa na)\b(?=.{0,30}\b(?:kiasi gani|ngapi|nini)\b)",
            r"\b(?:viwango vyangu|kiwango changu)\b",
        ),
        lambda heard, gate: {},
        unless=_opens(r"\bremind\b|\bnikumbushe\b|\b(?:account|balance|wallet|card|salio|akaunti|money|pesa)\b"),
    ),
    Rule(
        "cancel_reminder",
        _opens(
            r"\b(?:cancel|delete|remove|drop|clear|erase|dismiss|disable|turn off|get rid of|call off"
            r"|stop)\b.{0,60}\b(?:reminders?|alarms?|kikumbusho|vikumbusho)\b",
            r"\bturn\b.{0,30}\b(?:reminders?|alarms?)\b.{0,6}\boff\b",
            r"\b(?:stop reminding me|don't remind me|no longer remind me|usinikumbushe|acha kunikumbusha)\b",
            r"\b(?:futa|ghairi|ondoa|sitisha|acha)\b.{0,40}\b(?:kikumbusho|vikumbusho|ukumbusho|kengele)\b",
        ),
        _which,
        needs=("which",),
        unless=_opens(r"\bremind me to (?:cancel|delete|remove|drop|clear|turn|stop|call)\b", r"\bnikumbushe\b"),
    ),
    Rule(
        "list_reminders",
        _opens(
            r"\b(?:what|which|show|list|see|read|view|check|display|how many|tell me|hear|know|find|get|give me|any"
            r"|do i have|did i|did you|have i|is there|are there|all)\b"
            r".{0,60}\b(?:reminders|reminder list|alarms?|reminder is)\b",
            r"\b(?:do i have|is there|have i|did i|did you)\b.{0,30}\b(?:reminders?|alarms?)\b",
            r"^(?:my |all |all my )?(?:reminders|alarms)\b\W*$",
            r"\b(?:reminders|alarms?) (?:do i have|i have|have i|i've|are (?:set|active|there|coming))\b",
            r"\bwhat (?:do|did|should|will) you (?:have to )?remind me\b|\bwhat did i ask you to remind\b",
            r"\b(?:orodhesha|onyesha|nionyeshe|orodha|taja|soma|nisomee|angalia)\b.{0,40}\b(?:vikumbusho|kikumbusho)\b",
            r"\bvikumbusho (?:vyangu|zangu|vipi|gani)\b|\bnina vikumbusho\b|^vikumbusho\W*$",
        ),
        lambda heard, gate: {},
        unless=_opens(
            r"\bremind me (?:to|about|that|in|at|on|every|tomorrow)\b",
            r"(?:^|\bto |\bplease |\byou )(?:set|create|add|make) (?:me |up )*(?:a|an|another|the|my|alarms?"
            r"|reminders?)\b",
            r"\bnikumbushe\b",
        ),
    ),
    Rule(
        "set_reminder",
        _opens(
            r"\b(?:can you |could you |please |you need to |you should )?remind(?: me| us)\b",
            r"\b(?:set|create|add|make|schedule|put|save|need|want|have|give me|new|leave"
            r"|program)\b[^.?!\n]{0,24}?\b(?:reminders?|alarms?)(?: set(?: up)?| for (?:me|myself))?\b",
            r"^\W*(?:reminder|alarm)\b(?! (?:list|is|was|did))",
            r"\b(?:don't|do not|never) (?:let me |you )?forget\b|\bhelp me remember\b|\bmake sure i remember\b",
            r"\bwake me(?: up)?\b",
            r"\b(?:u?nikumbushe|nikumbushie|unikumbushie|naomba unikumbushe|kumbusha|tukumbushe|nikumbusha|unaweza "
            r"kunikumbusha|kunikumbusha)\b",
            r"\b(?:weka|niwekee|tengeneza|unda) (?:kikumbusho|kengele|ukumbusho|alarm)\b(?: (?:cha|ya|cha "
            r"kunikumbusha|ya kunikumbusha))?",
        ),
        _reminder,
        needs=("content", "time"),
        unless=_opens(r"\bremind me (?:what|who|how|when i|where)\b"),
    ),
    Rule(
        "ask_document", documents.ASK, lambda heard, gate: documents.question(heard.said, gate[1]), ("question",),
        documents.OTHER,
    ),
    Rule(
        "summarise_document", documents.SUMMARISE, lambda heard, gate: documents.file(heard.said, gate[1]), (),
        documents.OTHER,
    ),
    _of_oneself("forget_everything", facts.FORGET_ALL, facts.nothing),
    _of_oneself("forget_conversation", facts.FORGET_TALK, facts.nothing),
    _of_oneself("forget_name", facts.FORGET_NAME, facts.nothing),
    replace(
        _of_oneself("save_contact", facts.ROLE, facts.role, "name"), allows=lambda heard: bool(facts.role(heard.said))
    ),
    _of_oneself("list_contacts", facts.ROLE_ASKED, facts.role_asked),
    _of_oneself("forget_contact", facts.ROLE_FORGOTTEN, facts.role_asked, "name"),
    _about("erase_my_data", people.ERASE, people.nothing),
    _of_oneself("undo", facts.UNDO, lambda said, gate: {}),
    _of_oneself("list_facts", facts.LIST, facts.listed),
    _of_oneself("change_fact", facts.CHANGE, facts.changed, "words"),
    _of_oneself("forget_fact", facts.FORGET, facts.forgotten),
    _of_oneself("remember_fact", facts.REMEMBER, facts.stated, "kind", "words"),
    _about("unlink_account", people.UNLINK, people.nothing),
    _about("link_account", people.LINK, people.nothing),
    _about("save_contact", people.SAVE_CONTACT, people.contact, "name"),
    _about("forget_contact", people.FORGET_CONTACT, people.whom, "name"),
    _about("list_contacts", people.LIST_CONTACTS, people.whom),
    _about("set_language", people.LANGUAGE, people.language, "language"),
    _about("set_timezone", people.ZONE, partial(people.rest, "zone"), "zone"),
    _about("export_my_data", people.EXPORT, people.nothing),
    _about("my_profile", people.PROFILE, people.nothing),
    _about("set_name", people.NAME, people.name, "name"),
    _about("set_email", people.EMAIL, people.email, "email"),
    Rule(
        "convert_currency",
        _opens(
            r"\b(?:convert|conversion|converting|converter|exchange|forex|change|badilisha|kubadilisha|badili"
            r"|kubadili|nibadilishie)\b",
            r"\b(?:how much|how many|what is|what's|rates?|worth|value|price|vs|versus|against|per|compare|bei|ngapi"
            r"|kiasi gani|thamani)\b",
            r"[\w$€£.] ?(?:to|in|into|=|->|kwa|kuwa) ?(?:the )?[a-z$€£]",
        ),
        _exchange,
        needs=("amount", "from_currency"),
        unless=_opens(
            r"\b(?:send|pay|transfer|withdraw|deposit|invoice|charge|owe|lend|borrow|balance|account|spent|spend"
            r"|budget|salary|tuma|lipa|nitumie|toa|weka"
            r"|card|bill|fee|flights?|tickets?|hotel|mortgage|loan|tax(?:es)?|cost|buy me|book)\b"
        ),
        allows=_is_exchange,
    ),
    Rule(
        "get_weather",
        _opens(
            r"\b(?:weather|forecasts?|hali ya hewa|umbrella|raincoat|humidity|meteo)\b",
            r"\btemperatures?\b(?=.{0,40}(?:\b(?:outside|in|at|for|today|tomorrow|tonight|now|be|right)\b|$))",
            rf"\b(?:will|is|does|would|was|going to|gonna|should|expect|supposed to|chances? of|any|if|be|how|too"
            rf"|get)\b.{{0,40}}\b{_SKY}\b",
            r"\bhow (?:hot|cold|warm|humid|windy|chilly|wet)\b",
            r"\bwhat(?:'s| is) it like (?:outside|out)\b",
            r"\b(?:mvua|kunyesha|itanyesha|inanyesha|jua kali|joto|baridi|upepo|theluji)\b(?=.{0,60}(?:\?|\bkesho\b"
            r"|\bleo\b|\bgani\b|\bkiasi\b|$))",
        ),
        _weather,
        needs=("city",),
        unless=_opens(
            r"\b(?:oven|thermostat|fridge|freezer|fever|ac|a/c|air conditioning|stock|stocks|sales forecast|room"
            r"|house|inside|water|coffee|tea|food|meat|chicken|lights?|body"
            r"|song|music|play|playlist|movie|film|book|recipe|bath|cook|cooking|engine|tires?|jacket potato|hot "
            r"dogs?|hotels?|restaurants?|flights?|price)\b",
        ),
    ),
    Rule(
        "confirm_email", people.EMAIL_CODE, lambda heard, gate: people.email_code(heard.said, 0), needs=("code",),
        allows=lambda heard: not heard.plain.strip(" .!?\n").isdigit() or _takes_digits(heard.state),
    ),
)  # fmt: skip
"""Every action's rule, in the order they are tried: the first whose gate opens is it."""

_RULE_OF = {rule.action: rule for rule in RULES}
