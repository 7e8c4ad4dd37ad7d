"""What the rules answer by themselves: greetings, thanks, help, and what to try next; in English and in Swahili.

Nothing here says that something was done: only a receipt can.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from unicodedata import category

from core.actions import Action
from core.brain.heard import TONGUE
from core.brain.not_here import ACTIONS as WANTED
from core.brain.not_here import NOT_HERE
from core.brain.words import said
from core.catalog import NOTHING
from core.dialog import By, DialogState, Intent
from core.language import Saying, moment
from core.messages import Media, Reply

if TYPE_CHECKING:
    from core.messages import InboundMessage

CROSS_CHARS_MAX = 60
"""A longer message says more than that somebody is cross, or asks more than the time."""
_CROSS = re.compile(
    r"\b(?:stupid|useless|idiot|dumb|fool|rubbish|hate (?:you|this)|you suck|shut up|mjinga|wajinga|fala|huna maana"
    r"|takataka|bure kabisa|doesn't work|does not work|isn't working|not working|haifanyi kazi|hufanyi kazi)\b"
)
_ASKS_CLOCK = re.compile(
    r"(?:(?:hi|hey|hello|please|so|ok|and|je|na|habari|tafadhali)[ ,]+)*"
    r"(?:what(?:'s| is) (?:the |today's |the current )?(?:time|date|day)(?: is it)?(?: now| right now| today| here)?"
    r"|what (?:time|day|date) is (?:it|today)(?: now| right now| today| here)?"
    r"|(?:sasa |leo |saa hizi )?(?:ni )?(?:saa|tarehe|siku) (?:ngapi|gani)(?: sasa| saa hizi| saizi| leo)?)"
)
SIGNS_MAX = 200
"""How much of a message without words is looked at."""
EXAMPLES_MAX = 3
"""How many things to try are offered at once."""

_ABOUT = {
    "en": "I am Mathia, a bot, not a person. I can do a few things for you in this chat.",
    "sw": "Mimi ni Mathia, roboti, si binadamu. Naweza kukusaidia na mambo machache hapa.",
}
_GREETING = {"en": "Hello. I am Mathia, a bot. You could say:", "sw": "Habari. Mimi ni Mathia, roboti. Unaweza kusema:"}
_ADDRESS = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?: [^\W\d_][^\W\d_'’.-]*){0,2}")
"""What people are addressed by: a name of letters; what else they call themselves somewhere is left unsaid."""
_GREETS = (
    r"\b(?:hi+|hello+|hallo|hey+|yo|greetings|howdy|hiya|good (?:morning|afternoon|evening|day)|sup|what's up"
    r"|habari|mambo|vipi|sasa"
    r"|niaje|jambo|hujambo|shikamoo|salama|salamu|poa|rada|oya|sema|mathia)\b"
)
_JOKE = {
    "en": "I am no good at jokes. I am better with errands.",
    "sw": "Sijui vichekesho. Naweza kukusaidia na shughuli.",
}
_CHAT = {
    "en": "I am a bot, and better with errands than with talk. Say “help” to see what I can do.",
    "sw": "Mimi ni roboti, na kazi naiweza kuliko mazungumzo. Sema “msaada” uone ninachoweza kufanya.",
}
_RESPECT = {
    "en": "Marahaba. I am Mathia, a bot. You could say:",
    "sw": "Marahaba. Mimi ni Mathia, roboti. Unaweza kusema:",
}
"""The answer that whoever says “shikamoo” is owed."""
_OURS = re.compile(r"\b(?:english|swahili|kiswahili|kiingereza)\b")
_SPEAKS = Saying("Yes. I speak English and Swahili.", "Ndiyo. Ninaongea Kiswahili na Kiingereza.")
_SPEAKS_ONLY = Saying("I speak English and Swahili, and no other language yet.",
                      "Ninaongea Kiswahili na Kiingereza, bado si lugha nyingine.")  # fmt: skip
_NOD = {"en": "🙂 Tell me what you need, or say “help”.", "sw": "🙂 Niambie unachohitaji, au sema “msaada”."}
_PRAISED = {"en": "Thank you, that is kind.", "sw": "Asante, nashukuru."}
_NO_HELP = {
    "en": "I am sorry that I was no help. Please say it in other words, or say “talk to a human”.",
    "sw": "Samahani kwa kutokusaidia. Tafadhali sema kwa maneno mengine, au sema “nataka kuongea na mtu”.",
}
_CLOCK = Saying("It is {moment} ({city}).", "Ni {moment} ({city}).")
_HOW = {"en": "I am well, thank you. What can I do for you?", "sw": "Salama, asante. Nikusaidie nini?"}
_WELCOME = {"en": "You are welcome.", "sw": "Karibu."}
_GOODBYE = {"en": "Goodbye.", "sw": "Kwaheri."}
_FINE = {"en": "All right.", "sw": "Sawa."}
_NOTHING_OPEN = {
    "en": "I have not asked you anything just now. You could say:", "sw": "Sijakuuliza kitu kwa sasa. Unaweza kusema:",
}  # fmt: skip
_DROPPED = {"en": "All right, I have left that.", "sw": "Sawa, nimeacha hilo."}
_SORRY = {"en": "Sorry, I did not understand that.", "sw": "Samahani, sijaelewa."}
_TRY = {"en": "You could say:", "sw": "Unaweza kusema:"}
_DID_YOU_MEAN = {
    "en": "I am not sure what you want. Did you mean something like this?",
    "sw": "Sina uhakika unachotaka. Je, ulimaanisha kitu kama hiki?",
}
_LEAVE = {"en": "Or say “cancel” to leave it.", "sw": "Au sema “ghairi” kuliacha."}
_WAITING = Saying("Just now I have asked you: {question} {leave}", "Kwa sasa nimekuuliza: {question} {leave}")
_NO_WORDS = {
    "en": "I have it, and I cannot tell from that alone what you need. Please write it to me.",
    "sw": "Nimeipata, ila siwezi kujua unachohitaji kutokana na hiyo pekee. Tafadhali niandikie.",
}
_DOCUMENT = {
    "en": "I have {name}. I can sum it up, or look up what it says about something. You could say:",
    "sw": "Nimepata {name}. Naweza kuifupisha, au kutafuta inachosema kuhusu jambo. Unaweza kusema:",
}
_YOUR_FILE = {"en": "your file", "sw": "faili yako"}
_FOR_DOCUMENTS = {
    "en": ("summarise this", "what does it say about payment?"),
    "sw": ("fupisha hii", "inasema nini kuhusu malipo?"),
}
_SET_ALREADY = {
    "en": "The words of a reminder stay as they are. I can move it (“make it 10”) or take it back (“cancel it”).",
    "sw": "Maneno ya kikumbusho hubaki yalivyo. Naweza kukisogeza (“iwe saa nne”) au kukifuta (“kifute”).",
}


Why: TypeAlias = Literal["chat", "help", "did_you_mean", "not_here", "not_understood"]
"""What kind of answer a brain gives where it runs nothing."""


@dataclass(frozen=True, slots=True)
class Told(Reply):
    """What a brain answers by itself: why, the action it speaks of, if any, and how sure that is (see Intent).

    `meant` is what it asks whether the person meant it: a yes does that.
    """

    why: Why = "chat"
    action: str | None = None
    confidence: float = 0.0
    guessed: bool = False
    by: By = field(default="", compare=False)
    meant: Intent | None = None


@dataclass(frozen=True, slots=True)
class Dropped(Told):
    """A reply after which the unfinished action is over: its slots are let go of, and nothing is waited for."""


def small_talk(
    text: str, language: str, offered: Sequence[Action[Any]], question: str | None, name: str | None = None
) -> Told:
    """The answer to a greeting, thanks, or "are you a bot?"; an open question is asked again behind it.

    `name` is what the person is called, and greeted by.
    """
    low = said(text).plain
    if is_cross(text):
        words = _NO_HELP[language]
    elif re.search(
        r"\b(?:(?:good|nice|great|best|smart) (?:bot|job|work)|(?:you're|you are) (?:the best|(?:so |very )?"
        r"(?:great|good|kind|awesome|amazing|helpful|smart))|well done|kazi nzuri|hongera|umefanya vizuri|nakupenda"
        r"|love you)\b",
        low,
    ):
        words = _PRAISED[language]
    elif re.search(rf"\b{TONGUE}\b", low):
        words = (_SPEAKS if _OURS.search(low) else _SPEAKS_ONLY).to(language)
    elif re.search(
        r"\b(?:bot|robot|roboti|human|person|machine|mashine|ai|computer|alive|binadamu|mtu|who are you|what are you"
        r"|name|jina|unaitwa|nani)\b",
        low,
    ):
        words = _ABOUT[language]
    elif re.search(r"\b(?:thanks?|th?n?x|ty|cheers|asanten?i?|ahsante|shukran[is]?|nashukuru|tunashukuru)\b", low):
        words = _WELCOME[language]
    elif re.search(
        r"\b(?:bye|goodbye|good night|see you|kwaheri|baadaye|tutaonana|usiku mwema|siku njema|lala salama"
        r"|alamsiki)\b",
        low,
    ):
        words = _GOODBYE[language]
    elif re.search(r"\b(?:how are you|how is it|how's it|habari (?:yako|zako|gani)|uko poa|uko aje|hujambo)\b", low):
        words = _HOW[language]
    elif re.fullmatch(r"[ ,.!?]*(?:yes|no|yeah|ndio|hapana)[ ,.!?]*", low) and question is None:
        return nothing_open(language, offered)
    elif re.fullmatch(
        r"(?:(?:ok|okay|k|cool|great|nice|perfect|awesome|good|fine|sawa|alright|all right|got it|lol|ha+|haha+"
        r"|poa|fiti|safi|yes|no|yeah|ndio|hapana)[ ,.!?]*)+",
        low,
    ):
        words = _FINE[language]
    elif re.search(r"\b(?:jokes?|funny|laugh|vichekesho|mzaha|utani|chekesha|nichekeshe)\b", low):
        words = _JOKE[language]
    elif not re.search(_GREETS, low):
        words = _CHAT[language]
    else:
        greeting = (_RESPECT if re.search(r"\bshikamoo\b", low) else _GREETING)[language]
        hello, _, more = greeting.partition(".")
        if name is not None and _ADDRESS.fullmatch(name):
            hello = f"{hello} {name}"
        if question:
            return _told("chat", f"{hello}. {question}")
        return _told("chat", f"{hello}.{more}", examples(offered, language))
    return _told("chat", f"{words} {question}" if question else words)


def nothing_open(language: str, offered: Sequence[Action[Any]]) -> Told:
    """Somebody leaves what was not begun."""
    return _told("chat", _NOTHING_OPEN[language], examples(offered, language))


def dropped(language: str) -> Dropped:
    """The unfinished action is let go of."""
    return Dropped(Reply.of(_DROPPED[language]).parts)


def help_text(language: str, lines: str, offered: Sequence[Action[Any]], question: str | None = None) -> Told:
    """What can be done, `lines` being the catalog's own list, and the open question with the way out of it."""
    if question is not None:
        lines = f"{lines}\n{_WAITING.filled(question=question, leave=_LEAVE[language]).to(language)}"
    return _told("help", lines, examples(offered, language))


def not_understood(language: str, offered: Sequence[Action[Any]], question: str | None) -> Told:
    """The open question once more; where there is none, some things to try."""
    if question is not None:
        return _told("not_understood", f"{_SORRY[language]} {question} {_LEAVE[language]}")
    if not offered:
        return _told("not_understood", f"{_SORRY[language]} {NOTHING.to(language)}")
    return _told("not_understood", f"{_SORRY[language]} {_TRY[language]}", examples(offered, language))


def is_cross(text: str) -> bool:
    """Whether somebody is angry with the bot, and says no more than that."""
    return len(text) <= CROSS_CHARS_MAX and _CROSS.search(said(text).plain) is not None


def no_help(language: str, question: str | None) -> Told:
    """The answer to somebody who is angry; an open question is asked again."""
    return _told("not_understood", f"{_NO_HELP[language]} {question}" if question else _NO_HELP[language])


def clock(text: str, language: str, local: datetime) -> Told | None:
    """The time and the day where the person lives, when that is what they ask; `local` is their time, with its zone."""
    if len(text) > CROSS_CHARS_MAX or not _ASKS_CLOCK.fullmatch(said(text).plain.strip(" .!?")):
        return None
    city = str(local.tzinfo).rpartition("/")[2].replace("_", " ")
    return _told("chat", _CLOCK.filled(moment=moment(local), city=city).to(language))


def is_code(text: str) -> bool:
    """Whether a message is written for machines, an object or a tag and no words around it: nobody wishes like that."""
    bare = text.strip().removeprefix("```json").strip("` \n")
    return (bare[:1], bare[-1:]) in (("{", "}"), ("[", "]"), ("<", ">"))


def only_pictures(text: str) -> bool:
    """Whether a message is made of emoji and the like, without a letter or a digit."""
    return any(category(sign) == "So" for sign in text[:SIGNS_MAX]) and not any(map(str.isalnum, text[:SIGNS_MAX]))


def nod(language: str, question: str | None) -> Told:
    """The answer to a thumb or a smile: nothing to be sorry for; an open question is asked again."""
    return _told("chat", f"🙂 {question}" if question else _NOD[language])


def not_here(language: str, name: str, offered: Sequence[Action[Any]]) -> Told:
    """Something that is understood and that nothing here does; then some things to try."""
    what = WANTED.get(name)
    if what is None:
        return not_understood(language, offered, None)
    text = NOT_HERE.to(language).format(what=what.to(language))
    return (
        _told("not_here", f"{text} {_TRY[language]}", examples(offered, language), name)
        if offered
        else _told("not_here", text, (), name)
    )


def only_not_here(language: str, name: str) -> Told:
    """The same, beside other things that were asked for."""
    return _told("not_here", NOT_HERE.to(language).format(what=WANTED[name].to(language)), action=name)


def did_you_mean(language: str, action: Action[Any], guess: Intent) -> Told:
    """A guess that is not sure enough to act on: how it would be said plainly. What is secret in it is not kept."""
    slots = {slot: value for slot, value in guess.slots.items() if slot not in action.secrets}
    options = (action.example(language),) if action.examples else ()
    told = _told("did_you_mean", _DID_YOU_MEAN[language], options, action.name)
    return replace(told, meant=replace(guess, slots=slots, guessed=False))


def not_that(language: str, offered: Sequence[Action[Any]]) -> Told:
    """Somebody did not mean what they were asked about; some things to try."""
    return _told("chat", f"{_FINE[language]} {_TRY[language]}", examples(offered, language))


def set_already(language: str) -> Told:
    """A reminder that is set already gets no other words by being talked about."""
    return _told("not_here", _SET_ALREADY[language], (), "set_reminder")


def without_words(language: str, messages: "Sequence[InboundMessage]", offered: Sequence[Action[Any]]) -> Told:
    """The answer to files, places and other things that came without a word: what could be done with them."""
    parts = [part for message in messages for part in message.parts]
    documents = [part for part in parts if isinstance(part, Media) and part.may_have_text]
    if documents and any(action.name == "summarise_document" for action in offered):
        name = documents[-1].filename
        text = _DOCUMENT[language].format(name=f"“{name}”" if name else _YOUR_FILE[language])
        return _told("not_understood", text, _FOR_DOCUMENTS[language])
    return _told("not_understood", _NO_WORDS[language])


def _told(why: Why, text: str, options: tuple[str, ...] = (), action: str | None = None) -> Told:
    return Told(Reply.of(text, options).parts, why, action)


def open_question(language: str, offered: Sequence[Action[Any]], state: DialogState) -> str | None:
    """The question that is waiting for an answer."""
    action = next((action for action in offered if action.name == state.action), None)
    slot = next((slot for slot in state.asked if action is not None and slot in action.slots), None)
    return action.question(slot).to(language) if action is not None and slot is not None else None


def examples(offered: Sequence[Action[Any]], language: str) -> tuple[str, ...]:
    """Things to try, from different actions, in the person's language where an action has one."""
    found: list[str] = []
    for action in offered:
        if action.examples and len(found) < EXAMPLES_MAX:
            found.append(_example(action, language))
    return tuple(found)


@cache
def _example(action: Action[Any], language: str) -> str:
    """One in the language; a catalog has few, and greetings are frequent."""
    return action.example(language)
