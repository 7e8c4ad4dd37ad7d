"""Slots read by their type: places by the words before them, counts by the words behind, dates by their role. Pure.

An action that is a frame names its slots and their kinds; one reader serves all of them, and one way of following a
dialog: what was asked comes first, "yes" takes what was offered, a correction changes only what it names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from core.brain import places, when
from core.brain.words import Said, listed

if TYPE_CHECKING:
    from pydantic import JsonValue

Slots = dict[str, "JsonValue"]
Span = tuple[int, int]

DATES_MAX = 4
"""How many days are looked for in one message."""
BARE_WORDS_MAX = 8
"""A longer answer to "where?" names its place behind a preposition or not at all."""
NAME_WORDS_MAX = 6
ADDRESS_CHARS_MAX = 80
COUNT_MAX = 999
"""Nobody travels with more people, or stays for more nights."""


class Kind(Enum):
    """What a slot holds, and so how it is read."""

    ORIGIN = auto()
    DESTINATION = auto()
    LOCATION = auto()
    DAY = auto()
    CLOCK = auto()
    COUNT = auto()
    CHOICE = auto()


@dataclass(frozen=True)
class Slot:
    """One slot of a frame.

    `role`: for a DAY, the words right before a date that give it this slot (the first slot of a frame takes a day
    that nothing claims); for a COUNT, what is counted; for a CHOICE, value by the words that mean it.
    """

    name: str
    kind: Kind
    role: re.Pattern[str] | None = None
    choices: Mapping[str, re.Pattern[str]] | None = None


@dataclass(frozen=True)
class Frame:
    """The slots of one action, in the order in which unclaimed values fill them."""

    slots: tuple[Slot, ...]

    def of(self, *kinds: Kind) -> list[Slot]:
        """The slots of these kinds, in order."""
        return [slot for slot in self.slots if slot.kind in kinds]


@dataclass(frozen=True, slots=True)
class Dated:
    """A day named in a text, and where."""

    start: int
    end: int
    day: date


# ---------------------------------------------------------------- what a reply to an offer means

_ACCEPTS = re.compile(
    r"\W*(?:(?:oh|ok|okay|well|so|hmm|that's|that is|that|it|this|those|these|they|i think|i|would be|will be|will"
    r"|sounds?|looks?|seems?|is|are|works?|be|very|really|all|just|quite|pretty|to me|like)\b[ ,.!']*)*"
    r"(?:yes|yeah|yea|yep|yup|ya|sure|certainly|absolutely|definitely|of course|indeed|exactly|correct|right|perfect"
    r"|great|good|fine|excellent|awesome|amazing|wonderful|nice|cool|lovely|fantastic|brilliant|ideal|suits?"
    r"|works?|ok|okay|confirm(?:ed)?|agreed?|go ahead|please do|do it|book it|take it|love|interesting|fun"
    r"|ndio|ndiyo|naam|sawa|poa|freshi?|fiti|barabara|kabisa|endelea|hakika|nzuri|vizuri|safi|imeweza|nakubali)\b"
)
_REFUSES = re.compile(
    r"\b(?:no|nope|nah|not|don't|doesn't|isn't|wrong|instead|other|others|another|else|different|change|rather"
    r"|alternatives?|hapana|siyo|sio|la|nyingine|ingine|tofauti|badilisha|badala)\b"
)
_CHOSEN = re.compile(
    r"\b(?:i'll take|i will take|let's (?:go with|do|book|take)|(?:book|take|buy|reserve|choose|get) (?:it|that|this"
    r"|these|those)\b|(?:that|this) (?:one|bus|flight|hotel|event|ride|will do)|works for me|i(?:'d"
    r"| would) (?:love|like)"
    r" (?:that|it|this)|nachukua|nitachukua|chukua hiyo|hiyo (?:ni )?(?:sawa|poa))"
)


_PLEASED = re.compile(
    r"\b(?:sounds?|looks?|seems?|that's|that is|that will be|it's|this is|would be|will be) (?:\w+ )?(?:good"
    r"|great|fine|perfect|nice|awesome"
    r"|amazing|lovely|wonderful|fun|interesting|cool|better|best|excellent|right|correct|ok|okay|fantastic"
    r"|suitable|ideal)\b"
    r"|\b(?:like|love|enjoy) (?:that|it|this|to see that|the sound of)\b|\b(?:works|suits|will do"
    r"|close the deal|the one i (?:need|want|like))\b"
)
_ASKS = re.compile(
    r"\W*(?:(?:and|also|ok|okay|so|but|yes|sure|great|cool|hey|please|can you tell me|could you tell me"
    r"|tell me|do you know|i want to know|i'd like to know)\b[ ,]*)*"
    r"(?:what(?!'s available| about| other| else| if| would| do you have| buses| flights| hotels| events)"
    r"|where|when (?:does|do|will|is|are|would)"
    r"|which|how (?!about)|does|do they|do i|is (?:it|that|the|this|smoking|there (?:smoking|a|wifi|an))"
    r"|are (?:they|pets|you)|who|from where|at what|has|have they|will (?:it|i|the|they))\b"
)
"""A question about what was offered, which changes nothing."""
_COURTEOUS = re.compile(
    r"\b(?:thank|thanks|asante|that's all|that is all|that will be all|that's it|have a|great help|helpful"
    r"|you've been)\b"
)
_REQUEST = re.compile(
    r"\b(?:need|want|like|find|book|look|search|get|can you|could you|make|change|reserve|buy|show|nataka"
    r"|nipatie|tafuta)\b"
)
_SENTENCES = re.compile(r"[^.!?\n]+[.!?\n]*")


def accepts(plain: str) -> bool:
    """Whether a reply takes what was just offered; one that asks for others, or says no, does not."""
    sentences = [match[0] for match in _SENTENCES.finditer(plain)]
    if not sentences:
        return False
    if _REFUSES.search(sentences[0]) or refuses(plain):
        return False
    if _ACCEPTS.match(plain):
        return True
    return any(
        (_CHOSEN.search(one) or _PLEASED.search(one)) and not _ASKS.match(one) and not _REFUSES.search(one)
        for one in sentences
    )


def refuses(plain: str) -> bool:
    """Whether a reply wants something else than what was offered."""
    return bool(_OTHERS.search(plain))


_OTHERS = re.compile(
    r"\b(?:(?:any|some|are there|is there|find|show(?: me)?|do you have|what|have|see|look for"
    r"|search for)\b.{0,20}\b(?:others?|else|another|different|alternatives?)"
    r"|what else|more (?:choices|options|results)|another (?:one|1|bus|flight|hotel|event|option)"
    r"|something else|other (?:options?|ones|buses|flights|hotels|events|dates)|nyingine|ingine)\b"
)


def _told(plain: str) -> str:
    """A reply in a dialog without what only asks about an offer, and without courtesies; positions stay."""
    silent = [
        match.span()
        for match in _SENTENCES.finditer(plain)
        if _ASKS.match(match[0]) or (_COURTEOUS.search(match[0]) and not _REQUEST.search(match[0]))
    ]
    return when.masked(plain, silent, "\n")


# ---------------------------------------------------------------- places

_STOP = listed(
    "a about alone asap after afterwards again ahead also am an and any anything are around as asap at "
    "available back be because "
    "been before being bus buses but by cab cabs can car cheap cheapest check checking class com could day "
    "depart departing departure did do does during early economy event events evening find flight flights flying for "
    "from get getting give go going gonna got has have having he help her here him hotel hotels how however i i'd i'll "
    "i'm i've if in instead into is it it's its just kindly late later leave leaves leaving let let's like "
    "look looking make "
    "many may me more morning much must my myself need needs new2 night nights no not now of off ok okay on one or our "
    "out over people per person please possible prefer preferably reach return returning ride round search see should "
    "since so some somebody someone something soon stay staying such sure take taking taxi than thank thanks that the "
    "their them then there they this those through ticket tickets time to today tomorrow tonight train travel "
    "traveling travelling trip true try until up us using via visit visiting want wants was we we're week weekend were "
    "what what's when where which while who will with within without would you you're your "
    "abiria asubuhi basi gari hoteli jioni kabla kesho kiti kuenda kufika kuna kutoka kwa kwenda leo mchana mimi na "
    "naenda naomba nataka ndege ni niko nitafutie saa siku tafadhali tarehe tiketi usiku watu wiki ya za hadi mpaka "
    "safari nipatie nahitaji kwangu kwetu huko hapa pia halafu kisha"
)
"""Words that no place name goes past."""
_ENDS = listed("asap please today tomorrow tonight now thanks instead tafadhali asante leo kesho")
"""Words that end a name even where they are written with a capital."""
_VERBS = listed(
    "attend be end enjoy close relax book buy call catch celebrate choose come confirm cost do enjoy explore "
    "fill fly grab unwind happen hear hire "
    "know listen meet move occupy order pay pick plan play purchase rent request reserve schedule set share spend "
    "start switch tell think transfer use watch work buy leave attend experience arrange"
)
"""Words behind "to" that are no place: "to book"."""
_NEVER = listed(
    "home work town city downtown place places location nearby area airport station destination anywhere somewhere "
    "everywhere both each two another other advance general total fact order case addition town's bed cash life "
    "mind mood love touch person moment date dates game match show concert festival next end end-up correct last first "
    "show event venue which whatever same middle evening house apartment vicinity economy business first "
    "premium style calendar account savings "
    "checking schedule particular cart"
)
"""Single words that name no place of their own."""
_WORD = re.compile(r"[^\W\d_]+(?:['.&-][^\W\d_]+)*\.?(?=\W|$)")
_REGION = re.compile(r", ?(?=[^\W\d_])")
_ADDRESS = re.compile(r"\d{1,5}[a-z]? (?:[^\W_][\w'.-]*[ ]?){1,7}(?:, ?)?(?:# ?\w+)?")
_ADDRESS_END = re.compile(
    r"(?:[.?!,\n]|\b(?:for|please|on|in|and|i|we|the cab|it|by|at|with|from|to|is|now|where|which|can|could|asap|soon"
    r"|immediately|quickly|right away|today|tonight|tomorrow|sasa|leo|kesho|haraka|tafadhali)\b)"
)

_FROM = (
    r"(?:from|out of|leav(?:e|es|ing)(?: out of)?|depart(?:s|ing|ure)?(?: (?:is|city|city is|place is))?"
    r"|start(?:ing)? (?:from|in|at|out in)|origin(?:ating)?(?: is| in| city is)?|pick(?:ed|ing)?[ -]?(?:me "
    r"|us )?up (?:from|at|in)"
    r"|coming from|we're in|i'm in|i am in|located in|based in|live in|kutoka|toka|natoka|tunatoka|tokea"
    r"|nikiwa|niko|tuko)"
)
_TO = (
    r"(?:to|into|towards?|headed|heading|going|bound for|headed for|leaving for|departing for|arriv(?:e|es|ing"
    r"|al)(?: in| at| city is)?"
    r"|reach(?:ing)?|visit(?:ing)?|destination(?: is| city is| will be)?|drop(?:ped)?[ -]?(?:me |us )?off (?:at|in)|see"
    r"|kwenda|kuenda|kuelekea|hadi|mpaka|kufika|naenda|ninaenda|tunaenda|twende|nikienda|nifike)"
)
_AT = (
    r"(?:(?<!check )(?<!checking )in|at|near|nearby|around|close to|within|inside|throughout|over in"
    r"|visit(?:ing)?|located in|somewhere in|mjini|huko|katika"
    r"|karibu na|kule|jijini|pale|eneo la)"
)
_LOOSE_AT = r"(?:to|for|of|going to|headed to|traveling to|travelling to|from|location is|city is|kwenda|ya|wa|is)"
_ARTICLE = r"(?:(?:the|downtown|central|beautiful|sunny) )?(?:(?:city|town|mji|area|state|jiji) (?:of|wa|la) )?"
ORIGIN = re.compile(rf"\b{_FROM} {_ARTICLE}")
DESTINATION = re.compile(rf"\b{_TO} {_ARTICLE}")
LOCATION = re.compile(rf"\b{_AT} {_ARTICLE}")
LOOSE_LOCATION = re.compile(rf"\b{_LOOSE_AT} {_ARTICLE}")
FOR = re.compile(rf"\bfor {_ARTICLE}")
THERE = re.compile(
    r"\b(?:there|that (?:city|area|place|town|location)|the (?:same )?(?:area|city|town|location|place|event"
    r"|venue|hotel)|same (?:city|place|area)"
    r"|nearby|huko|hapo|pale pale|kule)\b"
)


def place_at(text: str, written: Said, start: int, *, address: bool = False) -> Span | None:
    """Where the place name ends that begins at `start` of the masked plain text; None when none begins there."""
    if address:
        match = _ADDRESS.match(text, start)
        if match is not None:
            stretch = text[start : min(match.end(), start + ADDRESS_CHARS_MAX)]
            number = re.match(r"\d+[a-z]? ", stretch)
            stop = _ADDRESS_END.search(stretch, number.end() if number else 0)
            stretch = (stretch[: stop.start()] if stop else stretch).rstrip(" ,.")
            hash_ = re.compile(r",? ?# ?\w+").match(text, start + len(stretch))
            return start, hash_.end() if hash_ else start + len(stretch)
    end: int | None = None
    at, words = start, 0
    while words < NAME_WORDS_MAX:
        word = _WORD.match(text, at)
        if word is None:
            break
        low = word[0].rstrip(".").removesuffix("'s")
        capital = _capital(written, word.start())
        if low in _ENDS or (low in _STOP and not (capital and words and not _lone_i(low))):
            # "Theatre of the Sea": a small word goes on where a capital follows it in a name.
            if not (
                words
                and low in ("of", "the", "at", "and", "in", "on")
                and address
                and _runs_on(text, written, word.end())
            ):
                break
        elif (
            words == 0
            and not capital
            and low in places.WORDS_TOO
            and text[word.end() : word.end() + 2].strip().isalpha()
        ):
            break  # "a nice hotel" is not in Nice
        elif words == 0 and (
            low in _VERBS or low in _NEVER or (low.endswith("ing") and not capital and low not in places.NAMES)
        ):
            break
        words += 1
        end = at = word.end()
        if (
            word[0].endswith(".")
            and low not in ("st", "mt", "ft", "d.c", "dr")
            and not (len(low) == 1 and words > 1 and _runs_on(text, written, word.end()))
        ):
            end = at = word.end() - 1
            break
        if text[at : at + 3] == " & ":
            at += 3
        elif text[at : at + 1] == " ":
            at += 1
        else:
            break
    if end is None:
        return None
    region = _REGION.match(text, end)
    if region is not None:
        more = _WORD.match(text, region.end())
        if more is not None and more[0].rstrip(".") not in _STOP and _is_region(text, written, more):
            end = more.end() - more[0].endswith(".")
    return start, end


def _is_region(text: str, written: Said, word: re.Match[str]) -> bool:
    """Whether what stands behind a comma belongs to the place: "Portland, OR", "Paris, France"."""
    after = text[word.end() : word.end() + 1]
    return (len(word[0]) == 2 or _capital(written, word.start()) or word[0] in _COUNTRIES) and after in (
        "",
        " ",
        ".",
        "?",
        "!",
        ",",
        "\n",
    )


_COUNTRIES = listed(
    "kenya uganda tanzania rwanda burundi ethiopia somalia sudan nigeria ghana egypt morocco england uk scotland usa "
    "france germany spain italy india china japan canada mexico brazil ontario california texas florida washington "
    "oregon georgia illinois pennsylvania australia"
)


def _capital(written: Said, at: int) -> bool:
    low, high = written.span(at, at + 1)
    return written.written[low:high][:1].isupper()


def _lone_i(low: str) -> bool:
    return low == "i" or low.startswith("i'")


def _runs_on(text: str, written: Said, end: int) -> bool:
    following = _WORD.match(text, end + 1)
    return following is not None and not _lone_i(following[0]) and _capital(written, following.start())


# ---------------------------------------------------------------- counts

_PEOPLE = (
    r"(?:people|persons?|passengers?|adults?|travell?ers?|guests?|of us|pax|friends|riders?|individuals|men"
    r"|women|tickets?|seats?"
    r"|watu|mtu|abiria|tiketi|wageni|viti)"
)
PEOPLE = re.compile(
    rf"\b(?P<number>\d{{1,3}}) (?:more |other |\w{{3,12}} )?{_PEOPLE}\b|\b(?:watu|abiria|tiketi|wageni"
    rf"|viti) (?P<behind>\d{{1,3}})\b"
    r"|\b(?:group|party|family|team|total) of (?P<group>\d{1,3})\b|\bfor (?P<bare>\d{1,3})(?=\s*(?:[.?!,]|$"
    r"|please\b|on\b|from\b|to\b|in\b|at\b|and\b|leaving\b|departing\b|tafadhali\b|with\b|going\b|heading\b|headed\b|travell?ing\b))"
)
GUESTS = re.compile(
    r"\b(?P<number>\d{1,3}) (?:more |other |\w{4,12} )?(?:people|persons?|adults?|travell?ers?|guests?|of us"
    r"|friends|individuals|watu|wageni)\b"
    r"|\b(?:watu|wageni) (?P<behind>\d{1,3})\b|\b(?:group|party|family) of (?P<group>\d{1,3})\b"
    r"|\bfor (?P<bare>\d{1,3})(?=\s*(?:[.?!,]|$|please\b|on\b|from\b|in\b|at\b|and\b|tafadhali\b))"
)
ROOMS = re.compile(
    r"\b(?P<number>\d{1,2})(?![ -]?stars?\b) (?:\d[ -]stars? )?(?:[a-z]+ ){0,2}?rooms?\b|\b(?:vyumba"
    r"|chumba) (?P<behind>\d{1,2})\b|\brooms? (?:is|are|will be|to) (?P<group>\d{1,2})\b|\b(?P<one>a"
    r"|single) room\b"
)
NIGHTS = re.compile(
    r"\b(?P<number>\d{1,3}) (?:nights?|days?)\b(?! (?:from now|from today|later|ago|before|after))|\b(?:usiku"
    r"|siku) (?P<behind>\d{1,3})\b|\b(?P<week>a|1) week\b"
)
ALONE = re.compile(
    r"\b(?:just|only) (?:for )?(?:me|myself)\b|\b(?:by myself|for myself|alone|me only|mimi (?:tu|pekee)"
    r"|pekee yangu|peke yangu)\b"
)
PAIR = re.compile(
    r"\b(?:my (?:wife|husband|spouse|partner|girlfriend|boyfriend|friend|mother|mom|mum|father|dad|sister"
    r"|brother|son|daughter) and (?:i|me)|me and my (?:wife|husband|spouse|partner|girlfriend|boyfriend|friend"
    r"|mother|mom|mum|father|dad|sister|brother|son|daughter)|the 2 of us|both of us|a couple)\b"
)
_LONE = re.compile(r"(?:\D*\b)?(\d{1,3})\b(?!\s*(?:am|pm|:|st|nd|rd|th|star))\D*$")
"""Read as `role` of a COUNT: named groups hold the number."""


def counted(pattern: re.Pattern[str], text: str) -> tuple[int, Span] | None:
    """How many, and where it is said; a number of which there is more than one counts once, the last one said."""
    found = None
    for match in pattern.finditer(text):
        groups = match.groupdict()
        if groups.get("one"):
            value = 1
        elif groups.get("week"):
            value = 7
        else:
            digits = next(group for group in groups.values() if group)
            value = int(digits)
        if 0 < value <= COUNT_MAX:
            found = value, match.span()
    return found


# ---------------------------------------------------------------- days


def follow(
    frame: Frame, said: Said, now: datetime, asked: tuple[str, ...], offered: Mapping[str, "JsonValue"]
) -> Slots:
    """The slots that an answer within a dialog sets: what it names, over what was offered if it accepts that."""
    slots = read(frame, said, now, asked, answering=True)
    if offered and accepts(said.plain):
        names = {slot.name for slot in frame.slots}
        slots = {**{name: value for name, value in offered.items() if name in names}, **slots}
    return slots


_UNTIL = re.compile(r"(?:until|till?|to|through|hadi|mpaka)\b")


def days(plain: str, now: datetime) -> tuple[list[Dated], when.When, list[Span]]:
    """Every day named in the text, in order; the clock that was named; and every stretch that is about time."""
    found: list[Dated] = []
    spans: list[Span] = []
    clock = when.When()
    text = plain
    for _ in range(DATES_MAX):
        one = when.find(text, now)
        second = next((start for start, end in sorted(one.spans)[1:] if _UNTIL.match(plain, start)), None)
        if second is not None:  # "1 December until 4 December" are two days, not two names of one
            one = when.find(text[:second], now)
        if not one.spans:
            break
        spans += one.spans
        if one.day is not None and not (one.exact and one.clock):
            found.append(Dated(min(a for a, _ in one.spans), max(b for _, b in one.spans), one.day))
        if one.clock and not clock.clock:
            clock = one
        text = when.masked(text, one.spans, "\n")
    return sorted(found, key=lambda each: each.start), clock, spans


ROLE_CHARS = 45
"""How far before a date the word stands that gives it its role."""


def read(frame: Frame, said: Said, now: datetime, asked: tuple[str, ...] = (), *, answering: bool = False) -> Slots:
    """The slots of a frame that a message names. `asked` are those just asked for, which get what nothing claims."""
    slots: Slots = {}
    plain = _told(said.plain) if answering else said.plain
    dated, clock, spans = days(plain, now)
    taken = list(spans)
    # ---- how many
    text = when.masked(plain, spans, "\n")
    for slot in frame.of(Kind.COUNT):
        hit = counted(slot.role, plain if slot.name == "nights" else text) if slot.role is not None else None
        if hit is not None and not (slot.name == "nights" and _inside(hit[1], [(d.start, d.end) for d in dated])):
            slots[slot.name] = hit[0]
            taken.append(hit[1])
    for slot in frame.of(Kind.COUNT):
        if slot.name in ("passengers", "guests") and slot.name not in slots:
            if ALONE.search(plain):
                slots[slot.name] = 1
            elif PAIR.search(plain):
                slots[slot.name] = 2
    # ---- which
    for slot in frame.of(Kind.CHOICE):
        for value, words in (slot.choices or {}).items():
            match = words.search(plain)
            if match is not None:
                slots[slot.name] = value
                break
    # ---- when
    _days(frame, plain, dated, asked, slots)
    clocks = frame.of(Kind.CLOCK)
    if clocks and clock.clock and clock.wall is not None:
        slots[clocks[0].name] = clock.wall.strftime("%H:%M")
    # ---- where
    _places(frame, said, when.masked(plain, taken, "\n"), asked, slots, answering)
    if answering and not slots:
        counts = [slot.name for slot in frame.of(Kind.COUNT) if slot.name in asked]
        lone = _LONE.fullmatch(text) if counts else None
        if lone is not None and 0 < int(lone[1]) <= COUNT_MAX:
            slots[counts[0]] = int(lone[1])
    return slots


def _inside(span: Span, spans: list[Span]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in spans)


def _days(frame: Frame, plain: str, dated: list[Dated], asked: tuple[str, ...], slots: Slots) -> None:
    wanted = frame.of(Kind.DAY)
    if not wanted or not dated:
        return
    free: list[Dated] = []
    at = 0
    for one in dated:
        before = plain[max(at, one.start - ROLE_CHARS) : one.end]
        role = None
        best = -1
        for slot in wanted:
            if slot.role is None:
                continue
            for match in slot.role.finditer(before):
                if match.start() > best:
                    best, role = match.start(), slot
        if role is None:
            after = plain[one.end : one.end + 25]
            role = next(
                (slot for slot in wanted if slot.role is not None and slot.role.match(after.lstrip(" ,"))), None
            )
        at = one.end
        if role is not None and role.name not in slots:
            slots[role.name] = one.day.isoformat()
        else:
            free.append(one)
    order = [slot for slot in wanted if slot.name in asked] + [slot for slot in wanted if slot.name not in asked]
    if len(free) >= 2:
        order = wanted
    for one in free:
        empty = next((slot for slot in order if slot.name not in slots), None)
        if empty is not None:
            slots[empty.name] = one.day.isoformat()


def _places(frame: Frame, said: Said, text: str, asked: tuple[str, ...], slots: Slots, answering: bool) -> None:
    origin = next(iter(frame.of(Kind.ORIGIN)), None)
    goal = next(iter(frame.of(Kind.DESTINATION)), None)
    where = next(iter(frame.of(Kind.LOCATION)), None)
    used: list[Span] = []

    def take(slot: Slot | None, lead: re.Pattern[str], *, sure: bool = True) -> None:
        if slot is None or slot.name in slots:
            return
        for match in lead.finditer(text):
            span = place_at(text, said, match.end(), address=frame_takes_addresses(frame))
            if span is None or _inside(span, used) or (not sure and not _likely(said, text, span)):
                continue
            used.append(span)
            slots[slot.name] = named(said, span)
            return

    take(origin, ORIGIN)
    take(goal, DESTINATION)
    take(where, LOCATION)
    take(goal, FOR, sure=False)
    if goal is not None and goal.name in asked and frame_takes_addresses(frame):
        take(goal, LOCATION)
    take(where, LOOSE_LOCATION, sure=False)
    missing = [slot for slot in (origin, goal, where) if slot is not None and slot.name not in slots]
    if not missing:
        return
    # Known towns that no word introduced: "nairobi mombasa flight".
    for place in places.all_known(said):
        if _inside((place.start, place.end), used) or text[place.start] == "\n":
            continue
        later = next((one for one in missing if one.name in asked), None) or _by_order(missing, text, place)
        slots[later.name] = place.name
        used.append((place.start, place.end))
        missing.remove(later)
        if not missing:
            return
    wanted = [slot for slot in missing if slot.name in asked]
    if (
        answering
        and wanted
        and not accepts(said.plain)
        and not (set(slots) & {s.name for s in (origin, goal, where) if s is not None})
    ):
        span = _bare(text, said, address=frame_takes_addresses(frame))
        if span is not None:
            slots[wanted[0].name] = named(said, span)


def _by_order(missing: list[Slot], text: str, place: places.Place) -> Slot:
    """Which of the missing places a name without a preposition is: the goal when it stands alone."""
    kinds = {slot.kind: slot for slot in missing}
    if len(missing) == 1:
        return missing[0]
    if re.match(r"(?:'s)? ?(?:-|to|hadi|mpaka|kwenda)\b", text[place.end :]) or Kind.DESTINATION not in kinds:
        return kinds.get(Kind.ORIGIN, missing[0])
    return kinds[Kind.DESTINATION]


def frame_takes_addresses(frame: Frame) -> bool:
    """Whether its places can be streets and houses: rides go from door to door."""
    return any(slot.kind is Kind.DESTINATION for slot in frame.slots) and not frame.of(Kind.CLOCK, Kind.CHOICE)


_BARE_LEAD = re.compile(
    r"\W*(?:(?:ok|okay|yes|yeah|sure|no|actually|please|let's say|let's|say|maybe|try|i think|i want|i need"
    r"|i prefer|i'd like|i would like"
    r"|i'd prefer|it's|it is|it will be|it would be|that's|that is|that would be|make it|how about|what about"
    r"|search|find|look|check|the"
    r"|city of|ni|nataka|iwe|basi|tafadhali|sawa|ndio|my|is|city|destination|place|origin|location|should be"
    r"|will be|would be|can you|could you|do|a|hotel|we|are|from|to|in|at|near|around)\b[ ,.!]*)*"
)


def _bare(text: str, said: Said, *, address: bool) -> Span | None:
    lead = _BARE_LEAD.match(text)
    start = lead.end() if lead else 0
    rest = text[start:]
    if not rest.strip() or len(rest.split()) > BARE_WORDS_MAX:
        return None
    return place_at(text, said, start, address=address)


def _likely(said: Said, text: str, span: Span) -> bool:
    """Whether what stands behind a word of many meanings is a place: a known one, or written with a capital."""
    low = text[span[0] : span[1]]
    return (
        low in places.NAMES
        or low.partition(",")[0] in places.NAMES
        or (_capital(said, span[0]) and not said.written.isupper() and span[0] > 0)
    )


def named(said: Said, span: Span) -> str:
    """A place as it should be called."""
    return places.name(said.words(*span).strip(" ,.!?\n").removesuffix("'s"))


_SAME_DAY = re.compile(
    r"\b(?:(?:the )?same (?:day|date)s?|that (?:day|date)|those (?:days|dates)|siku hiyo(?: hiyo)?|tarehe hiyo)\b"
)


def carried(frame: Frame, said: Said, before: Mapping[str, "JsonValue"], old: Frame) -> Slots:
    """What a new request takes over from the one before: "a hotel there", "on the same day"."""
    slots: Slots = {}
    stays = bool(frame.of(Kind.LOCATION))
    if (stays or THERE.search(said.plain)) and not (frame_takes_addresses(frame) and old.of(Kind.LOCATION)):
        ends = [slot.name for slot in old.of(Kind.DESTINATION, Kind.LOCATION)]
        place = next((before[name] for name in ends if before.get(name)), None)
        goal = next(iter(frame.of(Kind.DESTINATION, Kind.LOCATION)), None)
        if place and goal is not None:
            slots[goal.name] = place
    if _SAME_DAY.search(said.plain):
        day = next((before[slot.name] for slot in old.of(Kind.DAY) if before.get(slot.name)), None)
        first = next(iter(frame.of(Kind.DAY)), None)
        if day and first is not None:
            slots[first.name] = day
    return slots
