"""What people say of themselves, of what they prefer and aim at, and of who is what to them: the words that ask for it,
and how its slots are read. Pure.

The rules themselves stand in the one table of `understand`; values are taken from what was written.
"""

import re
from typing import TYPE_CHECKING

from core import relations
from core.brain import errands, places
from core.brain.words import Said

if TYPE_CHECKING:
    from pydantic import JsonValue

Slots = dict[str, "JsonValue"]
NAME_WORDS_MAX = 4
_MAIL = re.compile(r"[^\s<>,;:\"()]+@[^\s<>,;:\"()]+\.[A-Za-z]{2,}")


def _opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_LEAD = (
    r"^(?:(?:please|hey|hi|hello|ok|so|and|also|can you|could you|tafadhali|naomba|na|pia|remember|note|keep in mind"
    r"|kumbuka)(?: that| kwamba| kuwa)?\b[ ,:]*)*"
)
_GOAL = r"(?:goals?|targets?|malengo|lengo|shabaha)"
_LIKING = r"(?:preferences?|mapendeleo|pendeleo|upendeleo)"
_NOUN = rf"(?:{_GOAL}|{_LIKING})"
_MY = r"(?:langu|yangu|wangu)"
_ONE = r"(?: (?:number |no |nambari |namba |#)?(?P<number>\d{1,3}))?"
_TOLD = (
    rf"(?:my (?:new |main |other |big |first |second |current |next )?{_NOUN}|{_NOUN}(?: {_MY})(?: jipya| kuu| mpya)?)"
)
_PREFER = (
    r"(?:i(?:'d| would)?(?: \w{3,9}ly| always| still| do)? prefer"
    r"|(?:mimi )?(?:ni)?(?:na)?pendelea|(?:mimi )?napendelea)"
)
_LIKE = r"(?:i (?:really |do )?(?:like|love|hate|dislike|can't stand|don't like|do not like)|(?:ni)?napenda|sipendi)"

OTHER = _opens(
    r"\bremind (?:me|us)\b|\b(?:u?nikumbushe|kikumbusho)\b|\breminders?\b",
    r"\b(?:english|swahili|kiswahili|kiingereza)\b",
    r"\bprefer(?:red)? (?:a |the |an )?(?:flight|hotel|room|seat|bus)s?\b",
)
UNDO = _opens(
    r"^\W*(?:please |tafadhali )?(?:undo|un-do)(?: (?:that|it|this|the last (?:one|change)))?(?: please)?\W*$",
    r"^\W*(?:no[, ]+)?take (?:that|it) back(?: please)?\W*$",
    r"^\W*(?:tafadhali )?(?:tengua|rudisha)(?: (?:hilo|hiyo|hivyo|tena))?\W*$",
)
LIST = _opens(
    r"\b(?:what|which|show|list|tell|see|view|do i have|any|what're)\b.{0,30}\b(?:my |all )?(?:goals|targets"
    r"|preferences)\b(?! (?:is|are) (?:to|not)\b)",
    r"\bwhat(?:'s| is| was) my (?:goal|target|preference)\b|^\W*(?:all )?my (?:goals|targets|preferences)\W*$",
    r"\bwhat (?:do|did) i (?:say (?:that )?i )?prefer\b",
    r"\b(?:malengo|mapendeleo) yangu (?:ni )?(?:yapi|gani|nini)\b|\blengo langu (?:ni )?(?:lipi|gani|nini)\b",
    r"\b(?:nionyeshe|onyesha|orodhesha|niambie|taja)\b.{0,20}\b(?:malengo|mapendeleo|lengo|goals|preferences)\b",
    r"\bnapendelea nini\b|^\W*(?:malengo|mapendeleo) yangu\W*$|\b(?:goals|preferences) zangu (?:ni )?(?:zipi|gani)\b",
)
CHANGE = _opens(
    rf"^(?:please |tafadhali )?(?:change|update|set|make|switch) (?:my )?{_NOUN}{_ONE} (?:from (?P<old>.{{1,300}}?) )?"
    r"(?:to|into|as)\b",
    rf"^(?:please |tafadhali )?badili(?:sha)? {_NOUN}(?: {_MY})?(?: (?:la|namba|nambari))?"
    r"(?: (?P<number_sw>\d{1,3}))? (?:kuwa|liwe|yawe|iwe|uwe)\b",
)
FORGET = _opens(
    rf"^(?:please |ok |tafadhali )?(?:forget|delete|remove|drop|erase|clear) (?:about )?(?:that )?"
    rf"(?:{_PREFER}|{_LIKE})\b",
    rf"^(?:please |ok |tafadhali )?(?:forget|delete|remove|drop|erase|clear) (?:about )?(?:that )?(?:my |the )?"
    rf"{_NOUN}\b",
    rf"^(?:please |ok |tafadhali )?(?:sahau|futa|ondoa)(?: kwamba| kuwa)? (?:{_PREFER}|{_LIKE}|{_NOUN}(?: {_MY})?)\b",
    r"^i (?:no longer|don't|do not) (?:prefer|want to prefer)\b|^(?:sipendelei|siendelei kupendelea)\b",
)
REMEMBER = _opens(
    rf"{_LEAD}{_TOLD} (?:(?:for|in|this|of) .{{1,40}}? )?(?:is|are|ni|will be|itakuwa)\b"
    r"(?! (?:not|what|yapi|lipi|gani|nini|zipi)\b)",
    rf"{_LEAD}(?:add|set|note|save|ongeza|weka|andika) (?:a |an |another |this |new |my )*{_NOUN}(?: {_MY})?\b"
    r"(?: of| to|:| ya| la)?",
    rf"{_LEAD}{_PREFER}\b(?! (?:nini|not)\b)",
    rf"^(?:please |tafadhali )?(?:remember|note|keep in mind|kumbuka)(?: that| kwamba| kuwa)? (?={_LIKE}\b)",
    r"^i(?:'m| am) aiming (?:to|for)\b",
)

_ASKED = r"^(?:(?:please|ok|now|just|can you|could you|i want you to|tafadhali|naomba|sasa)\b[ ,]*)*"
_FORGET = rf"{_ASKED}(?:forget|u?sahau)\b"
_ALL = r"(?:absolutely |simply )?(?:everything|all|anything|whatever|what|the things|kila kitu|yote|mambo yote)"
_OF_ME = r"(?:(?:about|on|of) me|kunihusu|kuhusu mimi|juu yangu)"
FORGET_NAME = _opens(
    rf"{_ASKED}(?:forget|delete|remove|erase|clear) (?:about )?my (?:own |first |full )?name\b",
    rf"{_ASKED}(?:u?sahau|u?futa|u?ondoa) jina langu\b",
    rf"{_ASKED}(?:don't|do not|stop) call(?:ing)? me (?:by (?:my|that|any) )?(?:name\b|that\b)",
    rf"{_ASKED}usiniite (?:hivyo|jina)\b",
)
FORGET_TALK = _opens(
    rf"{_FORGET} (?:about )?(?:(?:{_ALL}|that)(?: that| of what)? )?(?:we|you and i)(?:'ve| have| had| just)*"
    r" (?:talked|spoke|spoken|discussed|said|chatted|been (?:talking|saying|discussing))\b",
    rf"{_FORGET} (?:about )?(?:this|our|the|that) (?:whole |last )?(?:conversation|chat|discussion|talk)\b",
    rf"{_FORGET} (?:\w+ ){{0,2}}(?:tu(?:li|me)(?:yo|cho)?)(?:zungumz|yazungumz|ongea|yaongea|sema|yasema)\w*",
    rf"{_FORGET} (?:mazungumzo|maongezi|gumzo) (?:yetu|haya|hili|letu)\b",
)
FORGET_ALL = _opens(
    rf"{_FORGET} {_ALL}(?: that)? (?:you|u) (?:know|remember|have|learnt|learned|noted|heard)(?: \w+)? {_OF_ME}",
    rf"{_FORGET} (?:everything|all|kila kitu|yote|mambo yote|vyote)"
    rf" (?:(?:una|unaye|unacho|unayo|ulicho|uliyo)\w* )?{_OF_ME}",
    rf"{_FORGET} (?:everything|all)(?: that)? i(?:'ve| have)? (?:ever )?told you\b",
)
_WHO = rf"(?:{relations.WORDS})"
_THING = r"(?:(?:phone|mobile|whatsapp) ?)?(?:number|phone|contacts?|e-?mail(?: address)?)"
_SIMU = r"(?:namba|nambari|simu|barua pepe|anwani)"
_REACHED = r"(?=.*(?:\d[\d ()./-]{6,}|\S@\S+\.\w))"
_CALLED = r"[a-z][\w'-]+(?: [a-z][\w'-]+){0,2}"
_NOBODY = (
    r"(?!(?:\w+ )?(?:number|phone|e-?mail|mail|address|mobile|whatsapp|telegram|account|code|pin|id|till|paybill|order"
    r"|website|link|goal|target|preference|salary|rent|bill|balance|birthday|name|budget|time ?zone|password|invoice"
    r"|m-?pesa|paypal|card|visa|iban|line|cell|tel|telephone|passport|flight|ticket|room|office|home|house|shop"
    r"|company|business|namba|nambari|simu|jina|anwani|lengo|msimbo|akaunti|salio|kodi|barua pepe)\b)"
)
ROLE = _opens(
    rf"{_LEAD}my {_NOBODY}(?P<role>[a-z][a-z-]*(?: [a-z-]+){{0,2}}?)(?:'s)?(?: (?:new )?{_THING})?(?: is\b|:)"
    rf"{_REACHED}",
    rf"{_LEAD}(?:(?:save|add|hifadhi|weka) )?(?:{_SIMU} (?:ya|za) )?{_NOBODY}"
    rf"(?P<role_sw>[a-z]+(?: [a-z]+){{0,2}}?) (?:wangu|yangu)(?: ni\b|:)?{_REACHED}",
    rf"{_LEAD}my (?P<role_named>{_WHO}) is (?=(?P<called>{_CALLED})[.!]?$)",
    rf"{_LEAD}(?P<role_named_sw>{_WHO}) (?:wangu|yangu) ni (?=(?P<called_sw>{_CALLED})[.!]?$)",
)
"""Somebody is what to the person, and reached there; or only called so, which capitals tell from "my wife is tired"."""
ROLE_ASKED = _opens(
    rf"\b(?:what(?:'s| is)|show|give me|tell me|find) my (?P<role>{_WHO})(?:'s)? {_THING}",
    rf"\bwho(?:'s| is) my (?P<role_b>{_WHO})\b",
    rf"\b{_SIMU} ya (?P<role_sw>{_WHO}) (?:wangu|yangu)\b(?=\W*$| ni (?:ipi|gani|ngapi))",
    rf"\b(?P<role_sw_b>{_WHO}) (?:wangu|yangu) ni nani\b",
)
ROLE_FORGOTTEN = _opens(
    rf"{_ASKED}(?:forget|delete|remove) (?:about )?my (?P<role>{_WHO})\b(?:'s {_THING})?\W*$",
    rf"{_ASKED}(?:u?msahau|u?sahau|futa|ondoa) (?:{_SIMU} ya )?(?P<role_sw>{_WHO}) (?:wangu|yangu)\W*$",
)
_BETWEEN = re.compile(
    r"[,;:(]| (?:and|na|her|his|their|on|at|number|phone|namba|nambari|simu|yake|whose|ambaye|e-?mail|tel|mobile)\b",
    re.IGNORECASE,
)

_BEFORE = re.compile(r"^[ ,:;.=-]*(?:(?:to|that|is|are|ni|of|kuwa|now)\b(?!-)[ ,:]*)*", re.IGNORECASE)
_AFTER = re.compile(r"[ ,.!?]*(?:\b(?:please|thanks|thank you|tafadhali|asante(?: sana)?)\b[ ,.!?]*)?$", re.IGNORECASE)
_WHICH = re.compile(
    r"^(?:[ ,:;.-]|(?:to|that|is|of|ni|la|ya|wa|kwamba|kuwa|number|no|nambari|namba|about|for|goals?|preferences?|#)\b"
    r"|#)*",
    re.IGNORECASE,
)


_NOT_THERE = re.compile(
    r"(?:no|nope|wrong|hapana|siyo|si kweli|not (?:really|right))?[ ,.]*(?:another (?:town|city|place|one)|other"
    r"|change it|mji mwingine|nyingine|badilisha)?"
)
_BESIDE_A_TOWN = re.compile(
    r"(?:[ ,.:!?/]|\b(?:no|nope|hapana|siyo|la|yes|ndio|it's|it is|i'm|i am|i live|ni|niko|mimi|naishi|nipo|in|at|huko"
    r"|use|town|mji|wa|time|please|tafadhali|sasa|now|africa|europe|america|asia)\b)*"
)


def clock(bare: str, said: Said) -> Slots | None:
    """The answer to whether their clock is the one that was guessed: a town's, or none yet where it is not; None
    where it is neither, as a yes is.
    """
    if bare and _NOT_THERE.fullmatch(bare):
        return {}
    town = places.known(said)
    if town is None or not _BESIDE_A_TOWN.fullmatch(said.plain[: town.start] + " " + said.plain[town.end :]):
        return None
    return {"zone": town.name}


def nothing(said: Said, gate: tuple[int, int]) -> Slots:
    """An action without slots."""
    return {}


def role(said: Said, gate: tuple[int, int] = (0, 0)) -> Slots:
    """Who is what to the person, and how they are reached; without a name, what they are is what they are called.

    Empty where a message only looks like that: "my boss is late".
    """
    match = ROLE.search(said.plain)
    if match is None:
        return {}
    what = _role(match)
    slots: Slots = {"name": what, "relation": what}
    between = re.split(r"\+?\d|\S+@", said.words(match.end(), len(said.plain)))[0]
    name = _BETWEEN.split(between)[0].strip(" .!-–")
    named = bool(match["called"] or match["called_sw"]) and all(word[:1].isupper() for word in name.split())
    if name and len(name.split()) <= NAME_WORDS_MAX and all(char.isalpha() or char in " .'-" for char in name):
        slots["name"] = name
    phone, mail = errands.phone(said).get("phone_number"), _MAIL.search(said.written)
    if phone:
        slots["phone"] = phone
    if mail is not None:
        slots["email"] = mail[0].rstrip(".!?")
    return slots if named or phone or mail is not None else {}


def role_asked(said: Said, gate: tuple[int, int]) -> Slots:
    """Whose number, by what they are."""
    match = ROLE_ASKED.search(said.plain) or ROLE_FORGOTTEN.search(said.plain)
    return {"name": _role(match)} if match else {}


def _role(match: re.Match[str]) -> str:
    return next(value for name, value in match.groupdict().items() if name.startswith("role") and value)


def kind_of(plain: str) -> str | None:
    """Of which kind the words are that ask for something; None where they do not say."""
    if re.search(rf"\b{_GOAL}\b|\baiming\b", plain):
        return "goal"
    if re.search(rf"\b{_LIKING}\b|{_PREFER}|{_LIKE}", plain):
        return "preference"
    return None


def stated(said: Said, gate: tuple[int, int]) -> Slots:
    """What is to be remembered."""
    slots: Slots = {"kind": kind_of(said.plain[: gate[1] + 20]) or "preference"}
    words = _bare(said, gate[1], _BEFORE)
    if words:
        slots["words"] = words
    return slots


def listed(said: Said, gate: tuple[int, int]) -> Slots:
    """Of which kind; nothing where both are asked for."""
    both = re.search(rf"\b{_GOAL}\b", said.plain) and re.search(rf"\b{_LIKING}\b", said.plain)
    kind = None if both else kind_of(said.plain)
    return {"kind": kind} if kind else {}


def changed(said: Said, gate: tuple[int, int]) -> Slots:
    """Which one, and what it is from now on."""
    slots: Slots = {}
    kind = kind_of(said.plain[: gate[1]])
    if kind:
        slots["kind"] = kind
    match = CHANGE.search(said.plain)
    if match is not None:
        number = match["number"] or match["number_sw"]
        old = said.words(*match.span("old")).strip() if match["old"] else None
        if number or old:
            slots["which"] = number or old
    words = _bare(said, gate[1], _BEFORE)
    if words:
        slots["words"] = words
    return slots


def forgotten(said: Said, gate: tuple[int, int]) -> Slots:
    """Which one."""
    slots: Slots = {}
    kind = kind_of(said.plain[: gate[1]])
    if kind:
        slots["kind"] = kind
    which = _bare(said, gate[1], _WHICH)
    if which:
        slots["which"] = which
    return slots


def words(said: Said) -> Slots:
    """The whole message, as the answer to what shall be remembered."""
    found = _bare(said, 0, _BEFORE)
    return {"words": found} if found else {}


def kind(said: Said) -> Slots:
    """The kind that an answer names."""
    found = kind_of(said.plain)
    return {"kind": found} if found else {}


def _bare(said: Said, start: int, before: re.Pattern[str]) -> str:
    """What was written from a place on, without the words before it and courtesies after it."""
    written = said.words(start, len(said.plain)) if start < len(said.plain) else ""
    return _AFTER.sub("", before.sub("", written)).strip(" \n\"'“”.,:;=-")
