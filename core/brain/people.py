"""What people say about themselves and those they know: the words that ask for it, and how its slots are read. Pure.

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
NAME_WORDS_MAX = 5


def _opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_LEAD = r"^(?:(?:please|hey|hi|hello|ok|can you|could you|i want to|i'd like to|tafadhali|naomba)\b[ ,]*)*"
_TONGUE = r"(?:english|swahili|kiswahili|kiingereza)"
_WHOSE = r"(?:'s?|s')"
_THING = r"(?:(?:phone|mobile|cell|whatsapp) ?)?(?:number|phone|contact|e-?mail(?: address)?)"
_CALLED = r"(?:namba|nambari|simu|barua ?pepe|anwani|mawasiliano)"

SOMETHING_ELSE = _opens(r"\bremind (?:me|us)\b", r"\b(?:u?nikumbushe|kikumbusho)\b", r"\breminders?\b")

UNLINK = _opens(
    _LEAD + r"(?:unlink|un-link)\b",
    r"\b(?:unlink|disconnect|detach) (?:my|this|the) (?:account|chat|number|whatsapp|telegram|phone)\b",
    r"\btenganisha\b",
)
LINK = _opens(
    _LEAD + r"(?:link|connect|pair|join|merge) (?:my|this|these|the|another|two|both) "
    r"(?:\w+ )?(?:accounts?|chats?|numbers?|phones?|whatsapp|telegram|identit\w+|channels?)\b",
    r"\b(?:link|connect|pair) (?:my|this) (?:account|chat|number|phone|whatsapp|telegram)\b",
    r"\bhow (?:do|can) i (?:link|connect) (?:my|this)\b",
    r"\b(?:unganisha|niunganishie|kuunganisha|uunganishe)\b.{0,30}"
    r"\b(?:akaunti|gumzo|namba|nambari|simu|whatsapp|telegram)\b",
)
LANGUAGE = _opens(
    rf"\b(?:speak|talk|reply|answer|write|respond|use|switch|change)\b(?: \w+){{0,4}} {_TONGUE}\b"
    r"(?! (?:teacher|class|lesson))",
    rf"\b(?:i|i'd|i would) prefer (?:to )?(?:\w+ )?(?:in )?{_TONGUE}\b|\bnapendelea {_TONGUE}\b",
    r"\b(?:set|change|switch) (?:my |the )?language\b",
    rf"\b(?:ongea|zungumza|sema|nijibu|jibu|tumia|badilisha|andika)\b(?: \w+){{0,4}} {_TONGUE}\b",
    r"\b(?:badilisha|weka) lugha\b",
    rf"^(?:in |kwa )?{_TONGUE}(?: please| tafadhali)?\W*$",
)
ZONE = _opens(
    r"\b(?:set|change|update) (?:my |the )?time ?zone\b",
    r"\bmy time ?zone (?:is|to|=)\b",
    _LEAD + r"(?:i am|i'm|i) (?:now )?(?:live|living|based|located) in\b",
    r"\b(?:ninaishi|naishi)\b",
    r"\b(?:weka|badilisha) saa za eneo\b|\bsaa za eneo langu ni\b",
    r"\b(?:weka|badilisha|badili) saa (?:(?:zangu|yangu) )?(?:(?:(?:zi|i)we|kuwa) (?:za|ya)|za)\b(?! \d)",
    r"\bsaa (?:zangu|yangu) (?:ni|ziwe|iwe) (?:za|ya)\b(?! \d)",
    _LEAD
    + r"(?:set|change|switch|move) my clock to\b(?! \d)|\bmy clock is (?:in |on )?(?!\d|wrong|slow|fast|right|broken)",
)
NAME = _opens(
    r"(?<!what )\bmy name is\b",
    _LEAD
    + r"call me (?!at\b|on\b|when\b|in\b|later\b|back\b|a\b|an\b|tomorrow\b|today\b|if\b|please\b|and\b|for\b|about\b"
    r"|by\b|after\b|before\b|every\b|\d)",
    r"\b(?:set|change) my name\b",
    r"\bjina langu (?:ni|naitwa)\b(?! (?:nani|nini))",
    _LEAD + r"(?:mimi )?(?:naitwa|ninaitwa|niite)\b",
)
CURRENCY = _opens(
    r"\bmy (?:own |home |local |default |main |usual )?currency (?:is|to|=|should be)\b(?! (?:what|which))",
    r"\b(?:set|change|switch|update|make) my (?:own |home |local |default |main )?currency\b",
    r"\bsarafu yangu (?:ni|iwe)\b(?! (?:ipi|gani|nini))",
    r"\b(?:weka|badilisha|badili) sarafu(?: yangu)?(?: (?:iwe|kuwa|ni))?\b(?! (?:ya|za)\b)",
)
FORGET_CURRENCY = _opens(
    _LEAD + r"(?:forget|delete|remove|clear) my (?:own |home |local |default )?currency\W*$",
    _LEAD + r"(?:u?sahau|futa|ondoa) sarafu yangu\W*$",
)
EMAIL = _opens(
    r"\bmy e-?mail(?: address)? is\b(?! not)",
    r"\b(?:set|use|change|save|update|add) (?:my|an?) e-?mail(?: address)?\b(?! to (?!my\b|\S+@))",
    r"\b(?:barua ?pepe|e-?mail|anwani ya barua ?pepe) yangu ni\b",
    r"\b(?:weka|badilisha) barua ?pepe yangu\b",
)
EMAIL_CODE = _opens(
    r"^(?:(?:the|my|here is|it is|it's) )*(?:code|msimbo|nambari|kodi)(?: wangu| yangu)?(?: is| ni)?[ :]*\d{6}\W*$",
    r"^\d{6}\W*$",
)
PROFILE = _opens(
    r"\bwhat (?:do|have) you (?:know|got|stored?|remember) (?:about|on|of) me\b",
    r"\bwho am i\b|\bwhat my (?:name|time ?zone|language|e-?mail(?: address)?) is\b|\b(?:know|remember) my name\b",
    r"\b(?:my|show my|see my|view my) (?:profile|account details|details|settings)\b",
    r"\b(?:what(?:'s| is)|which is) my (?:name|time ?zone|language|(?:own |default )?currency"
    r"|e-?mail(?: address)?|profile)\b",
    r"\bsarafu yangu ni (?:ipi|gani)\b",
    r"\b(?:unajua|unafahamu) (?:nini|kitu gani) kunihusu\b|\bunajua nini kuhusu mimi\b|\bunanijua\b",
    r"\b(?:wasifu|taarifa) (?:wangu|zangu)\b|\bmimi ni nani\b|\bjina langu (?:ni )?nani\b",
)
EXPORT = _opens(
    r"\b(?:export|download|get|give me|send me|back ?up|copy of|extract|see|want) (?:a copy of |an export of "
    r"|all (?:of )?|everything of )*my (?:own |personal |whole )*(?:data|chat history|information|account data)\b"
    r"(?! bundles?)",
    r"\b(?:give|send|email|mail) me (?:everything|all|all the data|all the information|the data|what) (?:that )?you"
    r" (?:know|have|hold|store|keep|got)\b",
    r"\b(?:export|download) (?:everything|all of it|all my messages|my (?:messages|chats?|conversations?|files))\b",
    r"\b(?:data|subject) access request\b|\bdata export\b",
    r"\b(?:nipe|nitumie|naomba|nataka|pakua|hamisha|toa)\b(?: (?!ku(?:futa|ondoa|sahau)\b)\w+){0,2} (?:data"
    r"|taarifa|habari) (?:yangu|zangu)"
    r"(?: (?:yote|zote))?\W*$",
    r"\b(?:nipe|nitumie) (?:kila kitu|yote) (?:unachojua|unayojua|ulichonacho|uliyonayo) (?:kunihusu|kuhusu mimi)\b",
)
SAVE_CONTACT = _opens(
    rf"\b(?:save|add|store|remember|keep|note)\b.{{1,70}}?{_WHOSE} {_THING}\b",
    r"\b(?:save|add|store|create|new) (?:a |the |this |new |my )*(?:contact|phone number|number)\b",
    rf"{_LEAD}[^\W\d_][\w' .-]{{0,40}}{_WHOSE} {_THING} (?:is|ni)\b",
    rf"\b(?:hifadhi|weka|ongeza|kumbuka|andika)\b.{{0,20}}\b{_CALLED}\b",
)
_SAVE = r"(?:save|add|store|keep|hifadhi|weka|ongeza|niwekee|nihifadhie)"
_REACH = r"(?:(?:\+|00?)\d[\d ()./-]{7,20}\d|[^\s<>,;:\"()]+@[^\s<>,;:\"()]+\.[a-z]{2,})"
_NAMED = r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){0,3}"
_AS = rf"(?:as|kama) (?:my (?P<role>{relations.WORDS})|(?P<role_sw>{relations.WORDS}) (?:wangu|yangu))"
KEEP = _opens(
    rf"{_LEAD}{_SAVE} (?:my (?P<role_b>{relations.WORDS}) )?(?P<name>{_NAMED}?)[,:]? {_REACH}"
    rf"(?:,? {_AS}|(?: to| in| among) (?:my )?contacts|(?: kwenye| katika) (?:anwani|mawasiliano)(?: yangu)?)?\W*$",
    rf"{_LEAD}{_SAVE} {_REACH} {_AS.replace('role', 'role_c').replace('role_c_sw', 'role_d')}\W*$",
    rf"{_LEAD}{_SAVE} {_REACH} (?:as|kama) (?!my\b)(?P<name_b>{_NAMED})\W*$",
)
"""A name and how they are reached, and no more: "save Njeri 0722 123 456 as my sister"."""
FORGET_CONTACT = _opens(
    rf"\b(?:forget|delete|remove|erase)\b.{{1,60}}{_WHOSE} {_THING}\b",
    r"\b(?:forget|delete|remove|erase) (?:the |my |a )*contact\b",
    _LEAD + r"forget (?!it\b|that\b|about\b|this\b|me\b|everything\b|what\b|to\b|the\b|my\b|all\b)[^\W\d_]",
    _LEAD + r"(?:m?sahau|usimkumbuke) [^\W\d_]",
    rf"\b(?:futa|ondoa|sahau)\b.{{0,10}}\b(?:{_CALLED}|mwasiliani|mtu)\b",
)
LIST_CONTACTS = _opens(
    r"\b(?:who are|list|show|see|view|what are|how many|do i have|tell me|give me)\b.{0,20}\bcontacts\b",
    r"^(?:all )?(?:my )?contacts\W*$",
    rf"\bwhat(?:'s| is)(?! my\b| your\b| the\b) [^\W\d_][\w' .-]{{0,40}}{_WHOSE} {_THING}\b",
    r"\b(?:orodhesha|onyesha|nionyeshe|taja|orodha ya)\b.{0,20}\b(?:anwani|mawasiliano|waasiliani|watu)\b",
    rf"\b{_CALLED} (?:ya|za) [^\W\d_]\w+ ni (?:ipi|gani|ngapi|nini)\b",
)

ERASE = _opens(
    r"\b(?:erase|delete|remove|forget|wipe|destroy|clear) (?:all |everything |of |the )*(?:my|your) "
    r"(?:personal |private |own )*(?:data|information|info|account|profile|history|records?)\b(?! (?:point|from my))"
    r"(?=.{0,40}$)",
    r"\b(?:erase|delete|remove|forget|wipe|destroy) (?:absolutely )?(?:everything|all|anything|what(?:ever)?)"
    r"(?: that)? (?:you|u) (?:know|have|keep|store|stored|remember|saved)(?: \w+){0,3} (?:me|mine)\b",
    r"\b(?:erase|delete|forget|wipe) (?:everything|all) (?:about|of|on) me\b",
    _LEAD + r"(?:erase|delete|forget) me(?: completely| entirely| please| now| for good)?\W*$",
    r"\b(?:my|all my) (?:own |personal )?(?:data|information|info|account|history) (?:to be |be )?"
    r"(?:erased|deleted|removed|wiped|forgotten|destroyed)\b",
    r"\b(?:futa|ufute|nifutie|kufuta|ifutwe|zifutwe|ondoa|kuondoa|sahau|usahau) (?:\w+ ){0,2}?(?:data|taarifa"
    r"|akaunti|habari|historia)(?: \w+)? "
    r"(?:yangu|zangu)(?: (?:yote|zote))?\b",
    r"\b(?:futa|ufute|sahau) (?:kila kitu|yote|kila)\b.{0,20}\b(?:kunihusu|unachojua|unayojua|changu|yangu)\b",
)

_MAIL = re.compile(r"[^\s<>,;:\"()]+@[^\s<>,;:\"()]+\.[A-Za-z]{2,}")
_NOTE = re.compile(r"[,;.]? *\b(?:note|kumbuka kuwa)\b:? (.+)$", re.IGNORECASE | re.DOTALL)
_CONTACT_NAME = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:save|add|store|remember|keep|note|forget|delete|remove|erase|what's|what is)\b (?:that )?(.{{1,80}}?)"
        rf"{_WHOSE} {_THING}\b",
        rf"\b{_CALLED}(?: ya)?(?: simu)? (?:ya|za|wa) (.{{1,80}}?)(?= ni\b|[,:?]| \+?\d|$| \S+@)",
        r"\b(?:contact|number)\b:? (?:for |of |named |called )?(.{1,80}?)(?=[,:?]| \+?\d|$| \S+@| with\b)",
        rf"^\W*(?:(?:please|tafadhali)\b[ ,]*)?(.{{1,80}}?){_WHOSE} {_THING} (?:is|ni)\b",
        r"\b(?:forget|m?sahau|usimkumbuke|mwasiliani|mtu) (.{1,80})$",
    )
)
_COURTESY = re.compile(r"[ ,.!?]*(?:\b(?:please|thanks|thank you|tafadhali|asante)\b[ ,.!?]*)?$", re.IGNORECASE)
_NOT_NAMES = re.compile(r"^(?:(?:the|my|a|an|contact|that|is|ni)\b *)+", re.IGNORECASE)


def _bare(words: str) -> str:
    """A value without courtesies, quotes and stops around it."""
    return _NOT_NAMES.sub("", _COURTESY.sub("", words).strip(" \n\"'.,:;=")).strip(" \n\"'.,:;=")


def nothing(said: Said, start: int) -> Slots:
    """An action that has no slots, or whose slots are not read from this message."""
    return {}


def language(said: Said, start: int) -> Slots:
    """en or sw, the last one named."""
    named = re.findall(_TONGUE, said.plain)
    return {"language": "sw" if "swahili" in named[-1] else "en"} if named else {}


def rest(slot: str, said: Said, start: int) -> Slots:
    """What follows the words that opened the gate."""
    words = _bare(re.sub(r"(?i)^\W*(?:to|is|ni|as|katika|huko|kuwa)\b", "", said.words(start, len(said.plain)).strip()))
    return {slot: words} if words else {}


_AT_A_PLACE = re.compile(
    r"\b(?:to|in|at|is|on|ya|za|ni|kuwa|iwe|ziwe|huko|hadi|mpaka|nimehamia|niko|nipo)\b (?:time )?(?:ya |za |the )?"
)


def zone(said: Said, start: int) -> Slots:
    """The town or zone that is named: what follows the words that opened the gate, else a known town of the message, or
    what follows its last "to", "ya"."""
    if start:
        words = str(rest("zone", said, start).get("zone", ""))
        words = re.sub(r"(?i)^(?:(?:iwe|ziwe|kuwa|ni)\b *)?(?:(?:ya|za|in|on)\b *)*", "", words)
        return {"zone": words} if words else {}
    town = places.known(said)
    if town is not None:
        return {"zone": town.name}
    last = max(_AT_A_PLACE.finditer(said.plain), key=lambda found: found.end(), default=None)
    return rest("zone", said, last.end()) if last is not None and last.end() < len(said.plain) else {}


def name(said: Said, start: int) -> Slots:
    """What to call them: a few words up to a stop."""
    words = re.split(r"[,.;!?\n]| (?:and|na|but) ", str(rest("name", said, start).get("name", "")))[0].strip()
    return {"name": words} if words and len(words.split()) <= NAME_WORDS_MAX else {}


def email(said: Said, start: int) -> Slots:
    """The first e-mail address."""
    found = _MAIL.search(said.written)
    return {"email": found[0].rstrip(".!?")} if found else {}


def email_code(said: Said, start: int) -> Slots:
    """Six digits."""
    found = re.search(r"\d{6}", said.written)
    return {"code": found[0]} if found else {}


def phone(said: Said, start: int) -> Slots:
    """The first phone number, as it was written."""
    found = errands.phone(said).get("phone_number")
    return {"phone": found} if found else {}


_NO_NAME = frozenset({"as", "is", "to", "on", "at", "ni", "kama", "down", "in", "here", "somewhere", "hapa", "chini"})
_RELATIVE = re.compile(r"(?i)\bmy ([a-z]{3,20})'s (?:new )?(?:number|phone|line|contacts?|digits)\b")
"""Whose number it is, by what they are to the person."""


def whom(said: Said, start: int) -> Slots:
    """The name of a contact."""
    for pattern in _CONTACT_NAME:
        found = pattern.search(said.written)
        words = _bare(found[1]) if found else ""
        is_name = any(char.isalpha() for char in words) and words.lower() not in _NO_NAME
        if is_name and len(words.split()) <= NAME_WORDS_MAX:
            return {"name": words}
    relative = _RELATIVE.search(said.written)
    return {"name": relative[1]} if relative else {}


def kept(said: Said, start: int) -> Slots:
    """A contact that is no more than a name, a number or an address, and what they are to the person."""
    found = KEEP.search(said.plain)
    if found is None:
        return {}
    groups = {group: place for group, place in found.groupdict().items() if place}
    role = next((words for group, words in groups.items() if group.startswith("role")), None)
    at = next((group for group in ("name", "name_b") if group in groups), None)
    words = said.words(*found.span(at)).strip(" ,:") if at is not None else role
    reached = {**phone(said, start), **email(said, start)}
    if words is None or not reached or words.lower() in _NO_NAME or _NO_CONTACT.search(words.lower()):
        return {}
    return {"name": words, **reached, **({"relation": role} if role else {})}


_NO_CONTACT = re.compile(
    r"\b(?:number|namba|nambari|simu|phone|contacts?|e-?mail|mail|address|barua|anwani|line|digits|note|event|money|pesa|my|the|a|an|bob|ksh|kes|usd|ya|za|cha)\b"
)
"""What is saved under such words is read by other rules, or is no contact."""


def contact(said: Said, start: int) -> Slots:
    """A contact's name and what to keep of it."""
    note = _NOTE.search(said.written)
    slots = {**whom(said, start), **phone(said, start), **email(said, start)}
    if note is not None and not _MAIL.search(note[1]) and (words := note[1].strip(" .")):
        slots["note"] = words
    return slots
