"""Every action's words and slots in one table, tried from top to bottom: the first whose gate opens is it. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.brain import documents, errands, facts, people
from core.brain.answers import LOOKED_UP
from core.brain.exchanging import is_exchange, read_exchange
from core.brain.heard import Heard, Slots, Span
from core.brain.reminding import read_reminder, read_which
from core.brain.skies import is_told, read_weather
from core.brain.words import Said
from core.dialog import DialogState


@dataclass(frozen=True)
class Rule:
    """One action: the words that ask for it, those that mean something else, and how its slots are read."""

    action: str
    opens: re.Pattern[str]
    slots: Callable[[Heard, Span], Slots]
    """Reads the slots; it is told where the words stand that opened the gate."""
    unless: re.Pattern[str] | None = None
    allows: Callable[[Heard], bool] = lambda heard: True
    """A second look at a message whose words fit."""


_HUMAN = (
    r"(?:a |an |the |some )?(?:real |live |actual )?(?:human(?: being)?|person|agent|operator|representative|somebody"
    r"|someone(?: real)?|member of staff|staff|customer (?:care|service|support)|support(?: team)?)"
)
_MTU = r"(?:mtu|binadamu|mhudumu|wakala|huduma kwa wateja|mfanyakazi)(?: halisi| wa kweli)?"
_SKY = (
    r"(?:rain(?:ing|y)?|snow(?:ing|y)?|hot(?:ter)?|cold(?:er)?|warm(?:er)?|cool(?:er)?|chilly|humid|wind(?:y)?|sun"
    r"(?:ny)?|cloud(?:y|s)?|fog(?:gy)?|storm(?:s|y|ing)?"
    r"|thunderstorms?|hail(?:ing)?|blizzard|freezing|drizzl(?:e|ing)|overcast|dry|wet|heat ?wave|icy|showers?)"
)


_SPENT = r"(?:spending|payments?|transfers?)"
_SPENDING = (
    rf"(?:(?:daily|day|per[- ]day)(?: {_SPENT})?|(?:per[- ])?(?:payments?|spending|transfer|transaction|sending))"
)
_PAID = (
    r"(?:payments?|paid|transfers?|transactions?|charges?|money|invoices?|bills?|inv-?\d{4}|(?:kes|ksh|sh)?\.? ?\d"
    r"|malipo|muamala|miamala|ankara|pesa|hela|doh?\b|chapaa|ganji)"
)
_KIKOMO = (
    r"(?:kikomo|vikomo|kiwango) (?:changu |vyangu )?(?:cha|vya|kwa) (?:siku|kila siku|malipo|kila malipo|matumizi)\b"
)


def _about(action: str, opens: re.Pattern[str], read: Callable[[Said, int], Slots]) -> Rule:
    """A rule of core/brain/people.py, which reads what was said from where the words that opened the gate end."""
    return Rule(action, opens, lambda heard, gate: read(heard.said, gate[1]), people.SOMETHING_ELSE)


def _of_oneself(action: str, opens: re.Pattern[str], read: Callable[[Said, Span], Slots]) -> Rule:
    """A rule of core/brain/facts.py, which reads what was said around the words that opened the gate."""
    return Rule(action, opens, lambda heard, gate: read(heard.said, gate), facts.OTHER)


def opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _takes_digits(state: DialogState) -> bool:
    """Whether six digits alone can be a mailed code: not where they answer a question or change an amount."""
    last = next(reversed(list(state.history)), None)
    return state.action in (None, "confirm_email", "set_timezone") and last not in LOOKED_UP


RULES: tuple[Rule, ...] = (
    Rule(
        "talk_to_human",
        opens(
            rf"\b(?:talk|speak|chat)(?:ing)? (?:to|with) {_HUMAN}\b",
            rf"^\W*(?:please )?(?:get|give|find|call|connect|transfer|put|hand)(?: me)?(?: over| through)?"
            rf"(?: (?:to|with))? {_HUMAN}\W*(?:please\W*)?$",
            rf"\b(?:i (?:want|need)|i'd like|i would like) {_HUMAN}\W*(?:please\W*)?$",
            r"^\W*(?:a )?(?:real |live )?(?:human|agent|operator|person)(?: please)?\W*$",
            rf"\b(?:ku)?(?:ongea|ongee|zungumza|zungumze|sema|wasiliana) na {_MTU}\b",
            rf"\b(?:niunganishe|unganisha|nipe|nipatie|nahitaji|nataka) (?:na |kwa )?{_MTU}\W*(?:tafadhali\W*)?$",
        ),
        lambda heard, gate: {},
        unless=opens(
            r"\bremind\b|\b(?:ni|u|wa)?kumbush\w+\b|\bdon't (?:want|need)\b|\bsitaki\b",
            r"\b(?:am|are|was) (?:i|you) (?:talk|speak|chat)ing\b",
        ),
    ),
    Rule(
        "cancel_pin_reset",
        opens(
            r"^\W*(?:please )?(?:cancel|stop|call off) (?:the |my |that )?pin (?:reset|change)\W*$",
            r"^\W*(?:please )?keep my (?:old )?pin\W*$",
            r"^\W*(?:tafadhali )?(?:ghairi|sitisha|futa) (?:kuweka )?pin mpya\W*$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "open_account_page",
        opens(
            r"^\W*(?:please )?(?:(?:open|show|give|send)(?: me)? )?(?:the |a link to )?(?:my )?account page\W*$",
            r"^\W*(?:please |how (?:do|can) i |i want to |i'd like to |can i )?(?:set|change|reset|choose|create"
            r"|make)(?: up)? (?:my |a |the )?(?:new )?(?:account |payment )?pin\W*$",
            r"^\W*i(?:'ve| have)? (?:forgot|forgotten|lost) my (?:account |payment )?pin\W*$",
            r"^\W*(?:tafadhali )?(?:fungua |nipe |nionyeshe )?(?:kiungo cha )?ukurasa wa akaunti yangu\W*$",
            r"^\W*(?:tafadhali |nataka )?(?:ku)?(?:weka|badilisha|badili) pin yangu(?: mpya)?\W*$",
            r"^\W*nimesahau pin yangu\W*$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "set_spending_limit",
        opens(
            rf"^\W*(?:please |can you |could you )?(?:set|change|lower|reduce|decrease|raise|increase|make|put|update)"
            rf" (?:the |a )?(?:my )?{_SPENDING} limits?\b",
            rf"^\W*(?:please )?(?:limit|cap) my (?:daily |day's )?{_SPENT}\b",
            rf"^\W*(?:tafadhali )?(?:weka|badilisha|punguza|ongeza) {_KIKOMO}",
        ),
        lambda heard, gate: errands.spending_limit(heard.said, heard.now, heard.zone),
    ),
    Rule(
        "check_spending_limits",
        opens(
            rf"^\W*(?:please )?(?:what(?:'s| is| are)|show(?: me)?|tell me|see|check|view|list)? ?(?:my |the )"
            rf"{_SPENDING} limits?\W*$",
            rf"^\W*(?:onyesha|nionyeshe|angalia)? ?{_KIKOMO}\W*(?:ni (?:vipi|kiasi gani|ngapi)\W*)?$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "check_quotas",
        opens(
            r"\b(?:my|check|show|what|which|any) (?:my |are |is |the )*(?:quotas?|usage|daily limits?|limits?)\b"
            r"(?! (?:for|on|of) \w)",
            r"^(?:my )?(?:quotas?|usage|limits)\W*$",
            r"^(?:so )?how (?:much|many)(?: messages| searches| requests)? (?:have i|do i have|i have|have i got)"
            r"(?: got)? left(?: today| for today)?\W*$",
            r"\b(?:nimebakiza|nimebakisha|nimebaki na|nimebakiwa na)\b(?=.{0,30}\b(?:kiasi gani|ngapi|nini)\b)",
            r"\b(?:viwango vyangu|kiwango changu)\b",
        ),
        lambda heard, gate: {},
        unless=opens(r"\bremind\b|\bnikumbushe\b|\b(?:account|balance|wallet|card|salio|akaunti|money|pesa)\b"),
    ),
    Rule(
        "pause_payments",
        opens(
            r"^\W*(?:please )?(?:pause|stop|freeze|block|halt) (?:all )?(?:of )?my payments\W*(?:please\W*)?$",
            r"^\W*(?:tafadhali )?(?:simamisha|sitisha|zuia) malipo yangu(?: yote)?\W*$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "resume_payments",
        opens(
            r"^\W*(?:please )?(?:resume|unpause|restart|unfreeze|unblock|allow) (?:all )?my payments(?: again)?\W*$",
            r"^\W*(?:tafadhali )?(?:endeleza|ruhusu|fungua) malipo yangu(?: tena)?\W*$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "list_mandates",
        opens(
            r"^\W*(?:please )?(?:(?:show|list|see|check)(?: me)? )?(?:all )?(?:of )?my (?:standing )?mandates\W*$",
            r"^\W*what (?:may|can) my (?:workflows?|automations?) pay\b",
            r"^\W*(?:tafadhali )?(?:nionyeshe |onyesha )?idhini zangu(?: za kudumu)?\W*$",
        ),
        lambda heard, gate: {},
    ),
    Rule(
        "cancel_mandate",
        opens(
            r"^\W*(?:please )?(?:cancel|stop|end|revoke|withdraw|remove) (?:the |my )?(?:standing )?mandate\b",
            r"^\W*(?:please )?stop .{1,80} (?:from )?paying by itself\W*$",
            r"^\W*(?:tafadhali )?(?:futa|sitisha|ghairi|ondoa) idhini (?:ya|kwa|za)\b",
        ),
        lambda heard, gate: errands.cancel_mandate(heard.said, heard.now, heard.zone),
    ),
    Rule(
        "grant_mandate",
        opens(
            r"^\W*(?:please )?(?:let|allow) (?!me\b|us\b).{1,80}? (?:to )?pay .*\d.*\b(?:each|every|at a time|a time"
            r"|a day|per day|daily|in all|in total|altogether|until)\b",
            r"^\W*(?:please )?(?:grant|give) .{1,80} (?:standing )?mandate\b",
            r"^\W*(?:tafadhali )?ruhusu .{1,80}? (?:i|u|a)?(?:lipe|kulipa) .*\d.*\b(?:kila|kwa siku|kwa jumla|hadi)\b",
        ),
        lambda heard, gate: errands.grant_mandate(heard.said, heard.now, heard.zone),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b"),
    ),
    Rule(
        "stop_recurring_invoice",
        opens(
            r"^\W*(?:please )?(?:stop|cancel|end) (?:the |my |that |all )?(?:monthly|weekly|yearly|recurring|repeating"
            r"|regular) (?:invoices?|bills?|billing|invoicing)\b",
            r"^\W*(?:please )?stop (?:invoicing|billing) \w",
            r"^\W*(?:tafadhali )?(?:sitisha|simamisha|acha|ondoa) ankara (?:ya kila|inayojirudia|zinazojirudia)\b",
        ),
        lambda heard, gate: errands.invoiced(heard.said, gate[1]),
    ),
    Rule(
        "open_dispute",
        opens(
            r"^\W*(?:please |i (?:want|need|would like|wish) to |i'd like to |i'm going to |can i |let me )*"
            r"(?:dispute|contest|(?:open|raise|file|start) (?:a |an )?(?:dispute|complaint)(?: (?:about|on|for|over"
            rf"|against))?|complain about) (?=.*{_PAID})",
            rf"\b(?:dispute|contest) (?:the |my |that |this )?(?:last |latest )?{_PAID}",
            r"\bi (?:never|didn't|did not|haven't|have not) (?:got|get|gotten|receive|received) what i(?:'ve| have)?"
            r" (?:paid|ordered|bought)\b",
            r"\b(?:ku|ni|na|ni?ta)?(?:lalamikia|lalamika|bishania|pinga|dispute|complain)(?: kuhusu| juu ya| about)?"
            r" (?:haya |hayo |hiyo |hii |yale |ile )?(?:malipo|muamala|payment|pesa|hela|doh?|chapaa|ganji|inv-)",
            rf"\bmalalamiko (?:kuhusu|juu ya) (?=.*{_PAID})",
            r"\b(?:sikupata|sijapata|sikupokea|sijapokea) (?:nilicholipia|nilichonunua|kile nilicholipia"
            r"|nilichoagiza)\b",
            rf"\b(?:nimeconiwa|nimetapeliwa|nimechezwa|amenitapeli|ameniconi|amenikula) (?=.*{_PAID})",
        ),
        lambda heard, gate: errands.dispute(heard.said, heard.now, heard.zone),
        unless=opens(
            r"\bremind\w*\b|\bkumbush\w*\b|\bworkflow\b|\bwhat is a (?:dispute|chargeback)\b|\b(?:don't|do not) want\b"
            r"|\bsitaki\b"
        ),
    ),
    Rule(
        "refund_invoice",
        opens(
            r"^\W*(?:please )?(?:refund|pay back|give back) (?:the |my |that |this )?(?:money (?:for|of|on) (?:the "
            r"|my )?)?(?:invoice|bill)\b",
            r"^\W*(?:please )?refund inv-?\d{4}-\d{5}\b",
            r"^\W*(?:tafadhali )?(?:rudisha|rejesha) (?:pesa|hela|malipo) (?:za|ya) (?:ile )?ankara\b",
        ),
        lambda heard, gate: errands.invoiced(heard.said, gate[1]),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b"),
    ),
    Rule(
        "resend_invoice",
        opens(
            r"^\W*(?:please )?(?:resend|re-send) (?:the |my |that |this )?(?:last |latest )?(?:invoice|bill|inv-)",
            r"^\W*(?:please )?send (?:the |my |that |this )?(?:invoice|bill|inv-?\d{4}-\d{5})\b.{0,60}\bagain\b",
            r"^\W*(?:please )?send [^\W\d]+ (?:the |my |that |this )?(?:last |latest )?(?:invoice|bill)"
            r"(?: inv-?\d{4}-\d{5})? again\W*$",
            r"^\W*(?:tafadhali )?(?:tuma tena|rudia kutuma) (?:ile )?ankara\b",
        ),
        lambda heard, gate: errands.resent(heard.said, heard.now, heard.zone),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b"),
    ),
    Rule(
        "unmark_invoice_paid",
        opens(
            r"^\W*inv-?\d{4}-\d{5} (?:was not|wasn't|is not|isn't|has not been|hasn't been) paid\W*$",
            r"^\W*(?:please )?(?:un-?mark|undo marking) (?:the |my )?(?:invoice|bill|inv-)",
            r"^\W*(?:please )?(?:undo|take back|remove|cancel) (?:the |that |my )?(?:last )?(?:paid )?mark"
            r" (?:on|of|for|from)\b",
            r"^\W*(?:ankara )?inv-?\d{4}-\d{5} haijalipwa\W*$",
            r"^\W*(?:tafadhali )?tengua malipo ya ankara\b",
        ),
        lambda heard, gate: errands.invoiced(heard.said, gate[1]),
        unless=opens(r"\?"),
    ),
    Rule(
        "mark_invoice_paid",
        opens(
            r"^\W*(?:please )?(?:mark|record|note|set) (?:the |my |that |this )?(?:last |latest )?(?:invoice|bill"
            r"|inv-?\d{4}-\d{5})\b.{0,60}\bpaid\b",
            r"\bpaid\b.{0,40}\b(?:invoice|bill|inv-?\d{4}-\d{5})\b.{0,20}"
            r"\b(?:in cash|by cheque|by check|by bank|to my bank)\W*$",
            r"^\W*[^\W\d]+ amelipa ankara\b.{0,40}\b(?:taslimu|keshi|hundi|benki)\W*$",
            r"^\W*(?:tafadhali )?(?:weka|andika) (?:ankara )?inv-?\d{4}-\d{5} (?:kuwa )?imelipwa\b",
        ),
        lambda heard, gate: errands.paid_outside(heard.said, heard.now, heard.zone),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b|\?"),
    ),
    Rule(
        "void_invoice",
        opens(
            r"^\W*(?:please )?(?:void|cancel|withdraw|take back|annul|delete) (?:the |my |that |this )?"
            r"(?:last |latest )?(?:invoice|bill)\b",
            r"^\W*(?:please )?(?:void|cancel|withdraw|annul) inv-?\d{4}-\d{5}\b",
            r"^\W*(?:tafadhali )?(?:futa|batilisha|ghairi|ondoa) (?:ile )?ankara\b",
        ),
        lambda heard, gate: errands.invoiced(heard.said, gate[1]),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b"),
    ),
    Rule(
        "check_invoice_status",
        opens(
            r"^\W*inv-?\d{4}-\d{5}\W*$",
            r"\b(?:status|state|check|paid|how is|show|hali|angalia|imelipwa)\b.{0,40}\binv-?\d{4}-\d{5}\b",
            r"\binv-?\d{4}-\d{5}\b.{0,40}\b(?:status|paid|overdue|due|imelipwa|hali)\b",
        ),
        lambda heard, gate: errands.invoiced(heard.said, 0),
        unless=opens(r"\bremind\w*\b|\bkumbush\w*\b"),
    ),
    Rule(
        "send_money",
        opens(
            r"^\W*(?:(?:please|hi|hello|hey|tafadhali|naomba|nataka|ninataka|ningependa|i want to|i'd like to|i need to"
            r"|can you|could you|help me)\b[ ,]*)*(?:send|pay|transfer|tuma|kutuma|lipa|kulipa)(?: money| pesa| hela)?"
            r"(?: (?:kes|kshs?|sh)\.?)? ?\d[\d,.]*k?(?: (?:kes|kshs?|bob|shillings?|/=))?(?: tafadhali| please)?\W*$",
        ),
        lambda heard, gate: errands.send_money(heard.said, heard.now, heard.zone),
    ),
    Rule(
        "create_invoice",
        opens(
            r"^\W*(?:please )?(?:invoice|bill) (?!is\b|was\b|has\b|from\b|status\b|inv\b|number\b|no\b)[^\W\d].*\d",
            r"^\W*(?:please )?(?:create|make|send|raise|issue|prepare|draft|write) (?:an? |a new )?invoice\b.*\d",
            r"^\W*(?:please )?(?:create|make|send|raise|issue|prepare|draft|write|new) (?:an? |a new )?invoice\W*$",
            r"^\W*(?:tafadhali )?(?:andika|tengeneza|tuma|toa) ankara (?:ya|kwa)\b.*\d",
            r"\b(?:kum|m)?tum(?:ia|ie) \w+ ankara (?:ya|kwa)\b",
        ),
        lambda heard, gate: errands.create_invoice(heard.said, heard.now, heard.zone),
        unless=opens(
            r"\b(?:remind\w*|kumbush\w*|paid|pay|status|overdue|outstanding|workflow|whenever|template|inv-?\d{4})\b|\?"
        ),
    ),
    Rule(
        "cancel_reminder",
        opens(
            r"\b(?:cancel|delete|remove|drop|clear|erase|dismiss|disable|turn off|get rid of|call off"
            r"|stop)\b.{0,60}\b(?:reminders?|alarms?|kikumbusho|vikumbusho)\b",
            r"\bturn\b.{0,30}\b(?:reminders?|alarms?)\b.{0,6}\boff\b",
            r"\b(?:stop reminding me|don't remind me|no longer remind me|usinikumbushe|acha kunikumbusha)\b",
            r"\b(?:futa|nifutie|ghairi|ondoa|niondolee|toa|nitolee|sitisha|acha)\b.{0,40}"
            r"\b(?:kikumbusho|vikumbusho|ukumbusho|kengele|reminders?)\b",
            r"\b(?:sitaki|sihitaji)(?: tena)?(?: kile| ile| hicho)? (?:kikumbusho|vikumbusho|ukumbusho|kengele"
            r"|reminders?)\b",
        ),
        read_which,
        unless=opens(r"\bremind me to (?:cancel|delete|remove|drop|clear|turn|stop|call)\b", r"\bnikumbushe\b"),
    ),
    Rule(
        "list_reminders",
        opens(
            r"\b(?:what|which|show|list|see|read|view|check|display|how many|tell me|hear|know|find|get|give me|any"
            r"|do i have|did i|did you|have i|is there|are there|all)\b"
            r".{0,60}\b(?:reminders|reminder list|alarms?|reminder is)\b",
            r"\b(?:do i have|is there|have i|did i|did you)\b.{0,30}\b(?:reminders?|alarms?)\b",
            r"^(?:my |all |all my )?(?:reminders|alarms)\b\W*$",
            r"\b(?:reminders|alarms?) (?:do i have|i have|have i|i've|are (?:set|active|there|coming))\b",
            r"\bwhat (?:do|did|should|will) you (?:have to )?remind me\b|\bwhat did i ask you to remind\b",
            r"\b(?:orodhesha|onyesha|nionyeshe|orodha|taja|soma|nisomee|angalia)\b.{0,40}\b(?:vikumbusho|kikumbusho)\b",
            r"^\W*(?:what|which)(?: 1s)? (?:did i|have i) set(?: up)?(?: so far| again)?\W*$",
            r"\bvikumbusho (?:vyangu|zangu|vipi|gani)\b|\bnina vikumbusho\b|^vikumbusho\W*$",
        ),
        lambda heard, gate: {},
        unless=opens(
            r"\bremind me (?:to|about|that|in|at|on|every|tomorrow)\b",
            r"(?:^|\bto |\bplease |\byou )(?:set|create|add|make) (?:me |up )*(?:a|an|another|the|my|alarms?"
            r"|reminders?)\b",
            r"\bnikumbushe\b",
        ),
    ),
    Rule(
        "set_reminder",
        opens(
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
        read_reminder,
        unless=opens(r"\bremind me (?:what|who|how|when i|where)\b"),
    ),
    Rule(
        "ask_document", documents.ASK, lambda heard, gate: documents.question(heard.said, gate[1]),
        documents.OTHER,
    ),
    Rule(
        "summarise_document", documents.SUMMARISE, lambda heard, gate: documents.file(heard.said, gate[1]),
        documents.OTHER,
    ),
    _of_oneself("forget_everything", facts.FORGET_ALL, facts.nothing),
    _of_oneself("forget_conversation", facts.FORGET_TALK, facts.nothing),
    Rule("forget_currency", people.FORGET_CURRENCY, lambda heard, gate: {}, people.SOMETHING_ELSE),
    _of_oneself("forget_name", facts.FORGET_NAME, facts.nothing),
    replace(_of_oneself("save_contact", facts.ROLE, facts.role), allows=lambda heard: bool(facts.role(heard.said))),
    _of_oneself("list_contacts", facts.ROLE_ASKED, facts.role_asked),
    _of_oneself("forget_contact", facts.ROLE_FORGOTTEN, facts.role_asked),
    _about("erase_my_data", people.ERASE, people.nothing),
    _of_oneself("undo", facts.UNDO, lambda said, gate: {}),
    _of_oneself("list_facts", facts.LIST, facts.listed),
    _of_oneself("change_fact", facts.CHANGE, facts.changed),
    _of_oneself("forget_fact", facts.FORGET, facts.forgotten),
    _of_oneself("remember_fact", facts.REMEMBER, facts.stated),
    _about("unlink_account", people.UNLINK, people.nothing),
    _about("link_account", people.LINK, people.nothing),
    replace(_about("save_contact", people.KEEP, people.kept), allows=lambda heard: bool(people.kept(heard.said, 0))),
    _about("save_contact", people.SAVE_CONTACT, people.contact),
    _about("forget_contact", people.FORGET_CONTACT, people.whom),
    _about("list_contacts", people.LIST_CONTACTS, people.whom),
    _about("set_language", people.LANGUAGE, people.language),
    Rule(
        "set_currency", people.CURRENCY,
        lambda heard, gate: {"currency": heard.money[-1].code} if heard.money else people.rest(
            "currency", heard.said, gate[1]
        ),
        people.SOMETHING_ELSE,
    ),
    _about("set_timezone", people.ZONE, people.zone),
    _about("export_my_data", people.EXPORT, people.nothing),
    _about("my_profile", people.PROFILE, people.nothing),
    _about("set_name", people.NAME, people.name),
    _about("set_email", people.EMAIL, people.email),
    Rule(
        "convert_currency",
        opens(
            r"\b(?:convert|conversion|converting|converter|exchange|forex|change|badilisha|kubadilisha|badili"
            r"|kubadili|nibadilishie)\b",
            r"\b(?:how much|how many|what is|what's|rates?|worth|value|price|vs|versus|against|per|compare|bei|ngapi"
            r"|kiasi gani|thamani)\b",
            r"[\w$€£.] ?(?:to|in|into|=|->|kwa|kuwa) ?(?:the )?[a-z$€£]",
        ),
        read_exchange,
        unless=opens(
            r"\b(?:send|pay|transfer|withdraw|deposit|invoice|charge|owe|lend|borrow|balance|account|spent|spend"
            r"|budget|salary|tuma|lipa|nitumie|toa|weka"
            r"|card|bill|fee|flights?|tickets?|hotel|mortgage|loan|tax(?:es)?|cost|buy me|book)\b"
        ),
        allows=is_exchange,
    ),
    Rule(
        "get_weather",
        opens(
            r"\b(?:weather|forecasts?|hali ya hewa|umbrella|raincoat|humidity|meteo)\b",
            r"\btemperatures?\b(?=.{0,40}(?:\b(?:outside|in|at|for|today|tomorrow|tonight|now|be|right)\b|$))",
            rf"\b(?:will|is|does|would|was|going to|gonna|should|expect|supposed to|chances? of|any|if|be|how|too"
            rf"|get)\b.{{0,40}}\b{_SKY}\b",
            r"\bhow (?:hot|cold|warm|humid|windy|chilly|wet)\b",
            r"\bwhat(?:'s| is) it like (?:outside|out)\b",
            r"\b(?:mvua|kunyesha|itanyesha|inanyesha|jua kali|joto|baridi|upepo|theluji)\b(?=.{0,60}(?:\?|\bkesho\b"
            r"|\bleo\b|\bgani\b|\bkiasi\b|$))",
        ),
        read_weather,
        unless=opens(
            r"\b(?:oven|thermostat|fridge|freezer|fever|ac|a/c|air conditioning|stock|stocks|sales forecast|room"
            r"|house|inside|water|coffee|tea|food|meat|chicken|lights?|body"
            r"|song|music|play|playlist|movie|film|book|recipe|bath|cook|cooking|engine|tires?|jacket potato|hot "
            r"dogs?|hotels?|restaurants?|flights?|price)\b",
        ),
        allows=lambda heard: not is_told(heard),
    ),
    Rule(
        "confirm_email", people.EMAIL_CODE, lambda heard, gate: people.email_code(heard.said, 0),
        allows=lambda heard: not heard.plain.strip(" .!?\n").isdigit() or _takes_digits(heard.state),
    ),
)  # fmt: skip
"""Every action's rule, in the order they are tried: the first whose gate opens is it."""


RULE_OF = {rule.action: rule for rule in RULES}
