"""From a message to an intent, by rules, and where they leave it open by what the classifier learnt. Pure.

No model, no key, no network; the same text always means the same.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from core import countries
from core.brain import facts, topics, track, when
from core.brain.answers import ANSWER_WORDS_MAX, ANSWERS, CHANGES, LOOKED_UP
from core.brain.gates import RULE_OF, RULES, Rule
from core.brain.heard import AND, CORRECTION, FILLERS, OTHER_TONGUE, TONGUE, Heard, only_fillers
from core.brain.words import said
from core.codes import code_in
from core.dialog import DialogState, Intent

SURE = 0.95
"""Confidence of a message that says by itself what it asks for."""
ANSWERED = 0.9
"""Confidence of an answer to what was asked, and of a correction of what was said before."""
TURNED_MIN = 0.995
"""What answers a question is a request of its own only when it is this likely to be one."""
ACT_READ = 0.85
"""A guess this likely is acted on where it only looks something up; below, the person is asked."""
RULELESS_MAX = 0.95
"""Confidence, at most, of a guess at an action whose own rule found none of its words."""
REQUEST_CHARS_MAX = 600
"""A longer message that answers a question, or takes something back, is read only as that."""
BACK_CHARS_MAX = 100
"""A longer message may speak of the bot, but does not ask for it."""

LEAVE = "leave"
"""The action of somebody who wants to have done with the unfinished one."""


def parse(
    text: str,
    *,
    now: datetime,
    zone: str,
    state: DialogState,
    actions: Collection[str],
    month_first: bool | None = None,
) -> Intent:
    """What a message asks for, whether anything here does it or not; what was begun, or is changed, is of `actions`.

    `month_first` says how they write dates in figures; left out, it is as where their clock is.

    `now` is aware, or naive and then the local wall time in `zone` (an IANA name; an unknown one counts as UTC).
    Times come out as local ISO 8601, dates as YYYY-MM-DD, amounts as decimal digits, currencies as ISO 4217 codes.
    Never raises for any text; what is not understood is `none`, with how sure that is; LEAVE drops the unfinished
    action.
    """
    code = code_in(text)
    if code is not None and "link_account" in actions:
        return Intent("link_account", {"code": code}, SURE, by="code")
    words = said(text, month_first=countries.month_first(zone) if month_first is None else month_first)
    heard = Heard(words, when.local(now, zone), zone, state)
    bare = heard.plain.strip(" .,!?\n")
    if not any(char.isalnum() for char in bare):
        return Intent("none", {}, 0.0)
    if _LEAVE.fullmatch(bare):
        return Intent(LEAVE, {}, SURE, by="words")
    if state.action == "set_timezone" and state.offered and not _YES.fullmatch(bare):
        clock = facts.clock(bare, heard.said)
        if clock is not None:
            return Intent("set_timezone", clock, ANSWERED, by="answer")
    asked_words = topics.words_asked(state) if state.action in actions else None
    if asked_words is not None and len(text) <= REQUEST_CHARS_MAX:
        bare_state = DialogState(history=state.history)
        alone = parse(text, now=now, zone=zone, state=bare_state, actions=actions, month_first=month_first)
        if topics.is_request(alone, asked_words, heard):
            return alone
    learnt = state.action if state.action in actions and state.action in track.LEARNT else None
    if learnt is not None and (state.asked or state.offered) and not _SPEAKS.fullmatch(bare):
        answer = _within(heard)
        if answer is not None:
            return answer
    if _SMALLTALK.fullmatch(bare) and not (state.offered and _YES.fullmatch(bare)):
        return Intent("smalltalk", {}, SURE, by="words")
    if _SPEAKS.fullmatch(bare):
        return Intent("smalltalk", {}, SURE, by="words")
    if _HELP.fullmatch(bare):
        return Intent("help", {}, SURE, by="words")
    unfinished = RULE_OF.get(state.action or "") if state.action in actions else None
    if unfinished is not None and state.offered:
        if _YES.fullmatch(bare):
            return Intent(unfinished.action, dict(state.offered), ANSWERED, by="answer")
        if _NO.fullmatch(bare):
            return Intent(LEAVE, {}, SURE, by="words")
    if CORRECTION.match(heard.plain) or AND.match(heard.plain):
        changed = _follow_up(heard, unfinished, actions) or _second_thought(heard, actions)
        if changed is not None:
            return changed
    asked = next((slot for slot in state.asked if slot in ANSWERS), None) if unfinished is not None else None
    if asked is not None and asked != "content":
        turned = track.turned(heard.said, heard.now, zone, state)
        if turned is not None and turned.confidence >= SURE and turned.action not in RULE_OF:
            return turned
    refuted: Intent | None = None
    if not (asked == "content" and unfinished is not None and not _starts_anew(heard)):
        for rule in RULES:
            intent = opened(rule, heard)
            if intent is None:
                continue
            if state.action is not None:
                return intent
            intent = replace(intent, confidence=track.seconded(heard.said, rule.action))
            if not track.refutes(heard.said, rule.action):
                return intent
            refuted = refuted or intent
    if _HELP_IN.search(heard.plain):
        return Intent("help", {}, SURE, by="words")
    if unfinished is not None and asked is not None:
        slots = ANSWERS[asked](Heard(heard.said, heard.now, zone, state, state.slots))
        if slots:
            return Intent(unfinished.action, slots, ANSWERED, by="answer")
    changed = _follow_up(heard, unfinished, actions)
    if changed is not None:
        return changed
    if learnt is not None:
        answer = _within(heard)
        if answer is not None:
            return answer
        return Intent("none", {}, 0.0)
    guess = track.request(heard.said, heard.now, zone, state)
    short = len(text) <= REQUEST_CHARS_MAX
    if short and guess.guessed and state.action is None and (lead := CORRECTION.match(heard.plain)) is not None:
        rest = words.words(lead.end(), len(words.plain)) + words.rest
        anew = parse(rest, now=now, zone=zone, state=state, actions=actions, month_first=month_first)
        if anew.by == "rule":
            return anew
    ruled = RULE_OF.get(guess.action)
    if ruled is not None and not _may(ruled, heard):
        return refuted or Intent("none", {}, 0.0)
    if ruled is not None and guess.action not in track.LEARNT:
        return replace(guess, slots=ruled.slots(heard, (0, 0)), confidence=min(guess.confidence, RULELESS_MAX))
    return guess


def unasked(state: DialogState, text: str) -> DialogState:
    """The state to read a message in: without the question for a clock, which was asked beside something else, where
    the message does not answer it.
    """
    if state.action != "set_timezone" or not state.offered:
        return state
    words = said(text)
    bare = words.plain.strip(" .,!?\n")
    answers = _YES.fullmatch(bare) or facts.clock(bare, words) is not None
    return state if answers else replace(state, action=None, offered={})


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
        intent = opened(rule, heard)
        if intent is not None:
            return intent
    ruled = RULE_OF.get(turned.action) if turned is not None and turned.action not in track.LEARNT else None
    wordless = ruled is not None and opened(ruled, heard) is None
    if answered and (turned is None or wordless or turned.confidence < TURNED_MIN):
        return answer
    if turned is not None and ruled is not None:
        return replace(turned, slots=ruled.slots(heard, (0, 0)))
    return turned or answer


_AT_ANY_TIME = frozenset({"talk_to_human", "erase_my_data", "undo", "get_weather", "convert_currency", "set_reminder"})
"""Actions whose own words are enough in the middle of another; the others must be what the whole message looks like."""


def corrects(text: str) -> bool:
    """Whether a message takes back or changes what was said before ("no, make it 10")."""
    return bool(CORRECTION.match(said(text[:200]).plain))


def asks_for_bot(text: str) -> bool:
    """Whether somebody who talks to a human asks for the bot again; the whole message must say so."""
    return len(text) <= BACK_CHARS_MAX and bool(_BACK.fullmatch(said(text).plain.strip(" .,!?\n")))


def _may(rule: Rule, heard: Heard) -> bool:
    """Whether a guess at this rule's action counts: its words for something else refuse it, too."""
    refused = rule.unless is not None and rule.unless.search(heard.plain)
    return not refused and rule.allows(heard)


def opened(rule: Rule, heard: Heard) -> Intent | None:
    """The intent when the message opens this rule's gate."""
    gate = rule.opens.search(heard.plain)
    if gate is None or (rule.unless is not None and rule.unless.search(heard.plain)) or not rule.allows(heard):
        return None
    slots = rule.slots(heard, gate.span())
    return Intent(rule.action, slots, SURE, by="rule")


def _starts_anew(heard: Heard) -> bool:
    """Whether a message that could be the text of a reminder is a request of its own all the same."""
    lead = FILLERS.match(heard.plain)
    start = lead.end() if lead else 0
    return any(rule.opens.match(heard.plain, start) for rule in RULES) or bool(_QUESTION.match(heard.plain, start))


def _follow_up(heard: Heard, unfinished: Rule | None, actions: Collection[str]) -> Intent | None:
    """A change to what was last talked about: "and in Mombasa?", "no, make it 10", "kesho je?"."""
    rule, before = unfinished, heard.state.slots
    if rule is None and heard.state.action is None and heard.state.history:
        # What was only looked up can be looked up again; what was done (a reminder set) is not changed by a new one.
        name, before = list(heard.state.history.items())[-1]
        rule = RULE_OF.get(name) if name in actions and name in LOOKED_UP else None
    if rule is None or rule.action not in CHANGES:
        return None
    slots, used = CHANGES[rule.action](Heard(heard.said, heard.now, heard.zone, heard.state, before))
    if not slots:
        return None
    rest = when.masked(heard.plain, used, " ")
    led = CORRECTION.match(heard.plain) or AND.match(heard.plain)
    if only_fillers(rest) or (led and len(rest.split()) <= ANSWER_WORDS_MAX and only_fillers(rest[led.end() :])):
        merged = slots if unfinished is not None else {**before, **slots}
        return Intent(rule.action, merged, ANSWERED, by="change")
    return None


def _second_thought(heard: Heard, actions: Collection[str]) -> Intent | None:
    """A change to what was shown to be confirmed and was not yet: "no, make it 700". It is shown anew."""
    name = next(reversed(list(heard.state.history)), None)
    if heard.state.action is not None or name not in track.SHOWN or name not in actions:
        return None
    lead = CORRECTION.match(heard.plain)
    if lead is None or len(heard.plain.split()) > ANSWER_WORDS_MAX:
        return None
    slots = track.rethought(name, heard.said, heard.now, heard.zone)
    return Intent(name, {**heard.state.history[name], **slots}, ANSWERED, by="change") if slots else None


# ---------------------------------------------------------------- words that say all of it

_QUESTION = re.compile(r"(?:what|what's|how|how's|which|when|where|who|will|is|are|does|show|list|hali|je)\b")
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
    r"|vipi|sasa|niaje|jambo|hujambo|shikamoo|salama|salamu|poa(?: sana| tu)?|fiti(?: sana| tu)?|freshi?|shwari|uko poa"
    r"|uko fiti|uko aje|thanks?|thanks? (?:a lot|so much|you"
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
_SPEAKS = re.compile(
    r"(?:(?:hi|hey|hello|ok|so|and|but|je|eti|samahani|sorry)\b[ ,]*)*"
    rf"(?:do (?:you|u) (?:also |even )?(?:speak|understand|know|talk|read|write) (?:in )?(?:any )?{TONGUE}"
    rf"(?:(?:,| or| and| too)+ (?:in )?{TONGUE})*(?: too| as well)?"
    rf"|can (?:you|u) (?:speak|understand|talk|read|write) (?:in )?{OTHER_TONGUE}"
    r"|(?:what|which|how many) (?:other )?languages? (?:do|can) (?:you|u) (?:speak|understand|know|use|write"
    r"|talk)(?: in)?"
    rf"|(?:una|wa)(?:ongea|zungumza|elewa|jua|sema|fahamu) (?:kwa )?{TONGUE}(?: pia)?"
    r"|(?:unaongea|unazungumza|unajua|unaelewa) lugha (?:gani|zipi|ngapi))"
)
"""Asks which languages are spoken, and not to speak one."""
_BACK = re.compile(
    r"(?:(?:please|ok|okay|sawa|tafadhali|sasa|now|can i|could i|i want to|i'd like to|nataka|naomba)\b[ ,]*){0,3}"
    r"(?:(?:go |take me |put me |switch |hand me )?back to (?:the |mathia the )?(?:bot|robot|mathia|assistant)"
    r"|(?:talk|speak|chat) (?:to|with) (?:the )?(?:bot|robot|mathia|assistant)(?: again)?"
    r"|(?:ni|tu)?rud(?:i|ishe|isheni) (?:kwa|kwenye) (?:roboti|bot|mathia)|kurudi kwa (?:roboti|bot|mathia)"
    r"|(?:ku)?(?:ongea|zungumza) na (?:roboti|mathia)(?: tena)?)"
    r"(?:[ ,]*(?:now|again|please|thanks|sasa|tena|tafadhali|asante)){0,2}"
)
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
