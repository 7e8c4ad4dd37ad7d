"""What of a model's words a person may read: no claim that something was done, no address nobody gave, no question for
a code. Pure.

Only receipts say what was done (core/receipts.py), so whoever reads "done" reads it from them. A sentence that claims
it is left out whole, in English and in Swahili; so is one that looks like what code asks for when it confirms.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from core.language import Saying

NOT_DONE = Saying(
    "I have not done anything yet. Tell me in one sentence what you would like.",
    "Bado sijafanya lolote. Niambie kwa sentensi moja unachotaka.",
)

SENTENCE = re.compile(r"(?<=[.!?…。])[\"”’)]*\s+|\n+")
IMAGE = re.compile(r"!\[[^\]]*\]\s*(?:\([^)]*\)|\[[^\]]*\])?")
_TOP = (
    "com|net|org|io|co|info|biz|app|dev|ai|me|ly|gl|gg|xyz|site|online|shop|link|click|top|ru|cn|tk|ke|tz|ug|rw|za|ng"
    "|uk|us|eu|de|fr|in|tv|to|cc|ws|page|web|cloud|live|pro|store|tech|zip|mov|africa"
)
URL = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]{1,15}://|\bwww\.)[^\s<>\"”)\]]+|\b(?:mailto|tel|sms|javascript|data):[^\s<>\"”)\]]+"
    rf"|(?<![\w@./])(?:[a-z0-9-]{{1,63}}\.)+(?:{_TOP})\b(?:/[^\s<>\"”)\]]*)?",
    re.IGNORECASE,
)
_CODE_WORD = r"(?:codes?|pin|otp|passwords?|passcode|msimbo|nambari|namba|nenosiri|neno la siri|tarakimu)"
ASKS_FOR_CODE = re.compile(
    rf"\b(?:type|enter|reply|send|write|tell|give|share|key in|input|andika|tuma|nitumie|ingiza|jibu|nipe|niambie)\b"
    rf"[^.!?\n]{{0,60}}\b{_CODE_WORD}\b(?![^.!?\n]*\b(?:ya simu|phone)\b)"
    r"|\bto (?:confirm|go on|approve|authori[sz]e|proceed)\b[^.!?\n]{0,40}\b(?:type|reply|say|send|write|enter)\b"
    r"|\b(?:type|reply|say|send|write)\b[^.!?\n]{0,30}\bto (?:confirm|go on|approve|authori[sz]e|proceed)\b"
    r"|\b(?:kuthibitisha|kuendelea|kuidhinisha)\b[^.!?\n]{0,40}\b(?:andika|jibu|tuma|sema|ingiza)\b"
    r"|\b(?:andika|jibu|tuma|sema)\b[^.!?\n]{0,30}\b(?:kuthibitisha|kuendelea|kuidhinisha)\b"
    r"|\b(?:code|msimbo|nambari)\b\W{0,12}\d{4,8}\b",
    re.IGNORECASE,
)
"""Words as core/confirm.py and core/emails.py use them; there they come from code, and never from a model."""

_DONE = (
    "sent|set|booked|paid|saved|scheduled|created|cancell?ed|deleted|removed|transferred|forwarded|ordered|reserved"
    "|confirmed|added|updated|changed|e-?mailed|mailed|messaged|texted|called|phoned|rung|notified|informed|alerted"
    "|contacted|told|reminded|posted|published|shared|submitted|completed|processed|withdrawn|topped up|deposited"
    "|refunded|charged|invoiced|billed|linked|unlinked|exported|erased|wiped|forgotten|noted|recorded|stored|registered"
    "|activated|enabled|disabled|paused|resumed|stopped|started|approved|rejected|arranged|organi[sz]ed|made|done"
    "|fixed|finished|handled|sorted|taken care of|placed|issued|renewed|moved|rescheduled|undone|muted|subscribed"
    "|unsubscribed|purchased|bought|filed|executed|carried out|run|put|turned (?:on|off)|switched|wired|settled"
    "|credited|debited|blocked|unblocked|logged|written|replied|queued|dispatched|delivered"
)
_DID = (
    _DONE.replace("withdrawn", "withdrew").replace("forgotten", "forgot").replace("undone", "undid")
    + "|withdrew|forgot|undid|did|took care of|wrote|rang|got (?:it|that) done"
)
_ADVERB = (
    r"(?:(?:already|just|now|also|even|successfully|finally|quickly|gladly|gone ahead and|went ahead and|"
    r"all|both|then|duly|safely|as you asked|for you)[, ]+)*"
)
_DOING = (
    "sending|setting|booking|paying|saving|scheduling|creating|cancell?ing|deleting|removing|transferring|forwarding"
    "|ordering|reserving|confirming|adding|updating|changing|e-?mailing|mailing|messaging|texting|calling|notifying"
    "|posting|publishing|submitting|processing|withdrawing|topping up|refunding|erasing|exporting|linking|arranging"
    "|placing|purchasing|buying|rescheduling|wiring"
)
_DO = (
    "send|set|book|pay|save|schedule|create|cancel|delete|remove|transfer|forward|order|reserve|confirm|add|update"
    "|change|e-?mail|mail|message|text|call|notify|inform|remind|post|publish|share|submit|process|withdraw|top up"
    "|refund|erase|export|link|arrange|place|purchase|buy|reschedule|wire|take care|make sure|see to it|handle|let \\w+"
    " know|do (?:it|that|so)|get (?:it|that) done|ping|wake you|note|remember"
)
_THING = (
    r"payment|transfer|booking|reservation|reminder|message|e-?mail|order|transaction|request|deletion|appointment"
    r"|meeting|invoice|withdrawal|deposit|refund|top-?up|money|funds?|contact|note|alarm|text|ticket|flight|room"
)
_CLAIMS_EN = tuple(
    re.compile(pattern)
    for pattern in (
        # I have sent it; we paid it; I've gone ahead and booked.
        rf"\b(?:i|we)(?:'ve| have|'d| had)? {_ADVERB}(?:\w+ and )?(?:{_DONE}|{_DID})\b",
        rf"^{_ADVERB}(?:have|has)? ?(?:{_DONE})\b(?! (?:by|from|with|of|if|when|as|in)\b)",
        # It has been sent, your money was transferred, everything is booked.
        rf"\b(?:has|have|had|was|were|been|got|being) {_ADVERB}(?:been |being )?{_ADVERB}(?:{_DONE})\b",
        rf"\b(?:you|your [\w' -]{{1,40}}|it|that|this|everything|all|they|both|the (?:{_THING})s?)"
        rf"(?:'s|'re| is| are) {_ADVERB}(?:{_DONE}|in place|on (?:its|the) way|good to go|all set|through|live|active"
        r"|complete|successful|underway)\b",
        rf"\b(?:{_THING})s?(?: (?:was|is|has been|to [\w ]{{1,30}}))? ?:? (?:successful|complete[d]?|confirmed|sent|set"
        r"|placed|through|done|processed|active|scheduled|created|saved|booked|delivered|made)\b",
        r"\b(?:went|gone|goes|came) through\b|\b(?:all|you're|you are) (?:now )?(?:set|done|booked|good to go)\b",
        r"\bconsider (?:it|that|this) (?:done|sent|paid|handled|booked)\b|\bmission accomplished\b",
        r"\b(?:it's|it is) done\b",
        r"\b(?:task|job|action|operation|request) (?:is |was )?(?:complete|completed|done|finished|accomplished)\b",
        r"\bsuccess(?:fully)?\b(?=\W|$)(?!.*\b(?:can|could|want|if|how)\b)",
        r"\b(?:it|that|which|they) (?:now )?(?:appears|shows up|sits) in your\b",
        # I am sending it; I will remind you: what is to come is set by an action, or not at all.
        rf"\b(?:i'm|i am|we're|we are) {_ADVERB}(?:{_DOING})\b",
        rf"\b(?:i'll|i will|we'll|we will|i'm going to|i am going to) {_ADVERB}(?:{_DO})\b",
        r"\byou(?:'ll| will) (?:be reminded|get a (?:reminder|message|call|text)|receive (?:a|the) )",
    )
)
_UNTRUE_EN = re.compile(
    r"\b(?:not|never|nothing|nobody|none|no|neither|nor|cannot|without)\b|n't\b"
    r"|\b(?:if|once|when|whenever|unless|until|till|before|after you|as soon as|whether|would|could|should|might|may"
    r"|let me know|shall|want me to|like me to)\b"
)
"""Words by which a sentence says that it did not happen, or has not yet."""
_QUESTION_EN = re.compile(
    r"^(?:so |and |but |ok(?:ay)?,? )?(?:do|does|did|have|has|had|is|are|am|was|were|will|would|shall|should|can"
    r"|could|may|what|when|where|which|who|whom|whose|why|how)\b.*\?\W*$"
)

_ROOT = (
    r"(?:tum[aeiw]|tumi[aw]|wek|lip|hifadh|futa?|fut[wi]|pang|agiz|hamish|ghair|thibitish|andik|ongez|badilish|badili"
    r"|tengenez|fany|kamilis?h?|sajil|wasilish|pig[aiw]|pelek|nunu[al]|kata?|toa|tole|ondo|unganish|tenganish|taarif"
    r"|julish|ambi|kumbush|zim[aiw]|wash|maliz|anzish|anz[ai]|sitish|idhinish|chap[aiw]|chapish|rudish|rejesh|ripot"
    r"|shughulik|tekelez|fanik|ratib|rekodi|tangaz|lipi|jaz|fung[ail]|alik)"
)
_OBJECT = r"(?:sha|kwisha|sha?ku|ku|m|mw|wa|ki|i|li|ya|vi|zi|u|pa|ji)*?"
_CLAIMS_SW = tuple(
    re.compile(pattern)
    for pattern in (
        # Nimetuma, tumelipa, nimekuwekea, nilituma; imetumwa, yamehifadhiwa, imekamilika.
        rf"\b(?:ni|tu)(?:me|li|mesha|mekwisha){_OBJECT}{_ROOT}\w*",
        rf"\b(?:i|u|ya|li|ki|vi|zi|wa|a|ku|pa|m)(?:me|li|mesha){_OBJECT}{_ROOT}\w*(?:wa|ka)\b",
        r"\b\w{1,3}me(?:sha)?(?:fanikiwa|kamilika|fanyika|isha|tumwa|lipwa|wekwa)\w*",
        r"^(?:tayari|imekamilika|imefanyika)\W*$",
        r"\b(?:kila kitu|mambo|shughuli|kazi)\w* (?:yako |yote |iko |kiko |yapo )*"
        r"(?:tayari|imekwisha|sawa)\b",
        r"\b(?:kikumbusho|ujumbe|malipo|pesa|hela|barua|oda|nafasi|miadi|tiketi)\w* (?:\w+ ){0,3}"
        r"(?:kipo|upo|yapo|iko|ipo|ziko|zipo|kiko|uko|yako) (?:tayari|njiani)\b",
        rf"\b(?:ni|tu)?na(?:ku|m|mw|wa|i|ki|ya|u|zi)?{_ROOT}\w*",
        rf"\b(?:ni|tu)ta{_OBJECT}{_ROOT}\w*",
        r"\bhesabu (?:kuwa )?(?:imefanyika|imekwisha)\b|\bbila shaka, imefanyika\b",
    )
)
_UNTRUE_SW = re.compile(
    r"\b(?:si|sija\w+|hatuja\w+|hai\w+|haja\w+|hau\w+|haya\w+|haki\w+|havi\w+|hazi\w+|hakuna|bila|sio|wala|kama|iwapo"
    r"|endapo|uki\w+|aki\w+|mki\w+|baada ya|mara tu|utakapo\w+|ili|kabla|naweza|ninaweza|ningeweza|unaweza|unataka"
    r"|ungependa|sita\w+|hatuta\w+|siwezi|sikuweza|siku\w+|hatuku\w+)\b"
)
_QUESTION_SW = re.compile(
    r"^(?:je\b|nani|nini|lini|wapi|vipi|kwa nini|ngapi|gani).*\?\W*$|\b(?:gani|ngapi|lini|wapi|nini)\?\W*$"
)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What is left of a model's words, and whether something was taken out because it claimed to be done."""

    text: str
    claimed: bool


def filtered(text: str, given: Collection[str] = ()) -> Filtered:
    """The sentences of a model that may be shown. `given` are texts whose addresses it may repeat: the person's own,
    and what actions answered in this turn."""
    known = frozenset(found.rstrip(".,;:!?").lower() for one in given for found in URL.findall(one))
    kept: list[str] = []
    claimed = False
    for block in text.split("\n"):
        sentences = []
        for sentence in SENTENCE.split(IMAGE.sub("", block)):
            if claims(sentence):
                claimed = True
            elif sentence.strip() and not asks_for_code(sentence) and not _leads_away(sentence, known):
                sentences.append(sentence.strip())
        kept.append(" ".join(sentences))
    return Filtered("\n".join(line for line in kept if line).strip(), claimed)


def whole(text: str) -> str:
    """The whole sentences that a text has so far, without the beginning of the next one."""
    ends = [match.end() for match in SENTENCE.finditer(text)]
    return text[: ends[-1]] if ends else ""


def claims(sentence: str) -> bool:
    """Whether a sentence says that something was done, is being done or will be, by us."""
    plain = _plain(sentence)
    if not plain:
        return False
    if not _QUESTION_EN.search(plain):
        for clause in re.split(r"[,;:—–]| - | but | lakini ", plain):
            clause = clause.strip()
            if any(claim.search(clause) for claim in _CLAIMS_EN) and not _UNTRUE_EN.search(clause):
                whole_is_open = re.match(r"(?:if|once|when|whenever|unless|until|as soon as|after you|before)\b", plain)
                if not whole_is_open:
                    return True
    if _QUESTION_SW.search(plain):
        return False
    return any(claim.search(plain) for claim in _CLAIMS_SW) and not _UNTRUE_SW.search(plain)


def asks_for_code(sentence: str) -> bool:
    """Whether a sentence looks like what code says when something is to be confirmed."""
    return ASKS_FOR_CODE.search(_plain(sentence)) is not None


def _leads_away(sentence: str, known: frozenset[str]) -> bool:
    bare = unicodedata.normalize("NFKC", sentence)
    return any(found.rstrip(".,;:!?").lower() not in known for found in URL.findall(bare))


def _plain(sentence: str) -> str:
    """A sentence without what only hides it: marks, invisible signs, other forms of the same letters."""
    bare = "".join(char for char in unicodedata.normalize("NFKC", sentence) if unicodedata.category(char) != "Cf")
    bare = bare.translate({ord(sign): "'" for sign in "’‘ʼ´`"}).casefold()
    return " ".join(re.sub(r"[*_~“”\"#>✅✔☑🎉👍]+", " ", bare).split())
