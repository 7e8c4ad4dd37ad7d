"""Money, meetings, messages and questions: how the slots of their actions are read from a message. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from core.brain import amounts, frames, periods, when
from core.brain.words import Said, listed

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import JsonValue

Slots = dict[str, "JsonValue"]
NAME_WORDS_MAX = 4
PHONE_DIGITS_MIN = 7
PHONE_DIGITS_MAX = 16
WORDS_CHARS_MAX = 4000
"""What is kept of a message to somebody else; whether that is too long is for the action to say."""


# ---------------------------------------------------------------- money

_CENTS = re.compile(
    r" ?(?:dollars?|euros?|pounds?|bucks|shillings?|bob|rupees?|usd|eur|gbp|kes"
    r"|\$) (?:and )?(\d{1,2})(?: cents?| pence)?(?=[.,!?]|$)(?! ?(?:dollars?|bucks))"
)


def money(said: Said, zone: str) -> Slots:
    """The sum that is named, and its currency; of several numbers the one beside a currency. None that is negative."""
    if amounts.NEGATIVE.search(said.plain):
        return {}
    plain = _PHONE.sub(lambda match: "\n" * len(match[0]) if _is_number_of_somebody(match[0]) else match[0], said.plain)
    sums = amounts.amounts(plain)
    if not sums:
        return {}
    named = amounts.currencies(plain, said.written, zone)
    beside = [
        (amount, currency)
        for amount in sums
        for currency in named
        if (amount.start < currency.start and currency.end <= amount.end)  # 75 USD million
        or -1 <= currency.start - amount.end <= 1
        or -1 <= amount.start - currency.end <= 2
    ]
    if beside:
        # "3 USD50 cards": what is written in one is meant together.
        amount, currency = next((pair for pair in beside if pair[0].start == pair[1].end), beside[0])
        if (
            plain[currency.start : currency.end] in amounts.MILLIONS
            and "." not in amount.value
            and len(amount.value) < 7
        ):
            return {"amount": amount.value + "000000", "currency": currency.code}
        cents = _CENTS.match(plain, amount.end)
        value = f"{amount.value}.{cents[1]:0>2}" if cents and "." not in amount.value else amount.value
        return {"amount": value, "currency": currency.code}
    return {"amount": sums[0].value}


_WHOM = re.compile(
    r"\b(?:(?:to|for|kwa)\b|(?:pay|send|tumia|mtumie|lipa|mlipe|tip|refund|reimburse|owe)\b(?! (?:money|some"
    r"|the|a|an|him|her|them|my|me|out|cash|pesa|hela)\b)) ?(?:my (?:friend |brother |sister |)?(?=[A-Z]))?"
)
_NO_ONE = listed(
    "a an the my their his her our your this that it me you him them us someone somebody savings checking "
    "account bank money cash some pay send transfer make do be and from on in at by please today tomorrow "
    "now help know use another different other all any everything each both airtime float pesa hela kwa "
    "na ya rent lunch dinner fare food fees school shillings bob dollars bucks euros pounds ksh kes "
    "kila wote kuwa kwamba kama ujumbe sms whatsapp saying that says message "
    "complete process arrive reach reflect clear go finish happen settle get see check"
)
_RELATIVES = listed(
    "mom mum mama mother dad baba father uncle aunt aunty auntie shangazi mjomba sister brother dada kaka "
    "wife husband mke mume son daughter cousin grandma grandpa boss landlord accountant plumber fundi "
    "mechanic tailor"
)
_NAME = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def recipient(said: Said, *, answering: bool = False) -> str | None:
    """Whom money goes to: a name behind "to" or "kwa", as it was written; "my brother" is no name yet."""
    for match in _WHOM.finditer(said.plain):
        name = _name_at(said, match.end())
        if name:
            return name
    if answering:
        bare = re.match(r"\W*(?:(?:it's|it is|to|kwa|ni|the name is|send it to|please|my|for)\b ?)*", said.plain)
        start = bare.end() if bare else 0
        if len(said.plain[start:].split()) <= NAME_WORDS_MAX + 1:
            return _name_at(said, start)
    return None


_PAYEE = rf"(?:{_NAME.pattern}|\+?\d[\d ]{{7,14}}\d)"
_ONE_MORE = re.compile(rf"(?: (?:each|apiece))?(?:,? (?:and|na|&|plus) |, ?)(?:to |kwa )?(?={_PAYEE})")
"""What stands between those who are paid: "Asha and Brian"."""
_BEHIND_ALL = re.compile(
    r"(?: (?:[yw]a(?:ke|ngu|o)|yetu|wetu|each|apiece|both|all|please|tafadhali|kila mmoja|kila 1))*"
    r"(?:\W*$| (?:for|today|now|tomorrow|leo|kesho|sasa|kwa ajili)\b| (?:kes|kshs?|sh)?\.? ?\d)"
)
_NO_PAYEE = listed("thanks thank asante ok okay sawa confirm cancel stop tell i urgent urgently asap haraka")
_KIN = re.compile(rf"(?:my|her|his|their|our) (?:{'|'.join(sorted(_RELATIVES))}|friend)\b")


def _further_payees(said: Said, first: str) -> list[str]:
    """Who else is named right behind the first of them; in small letters only where the sentence ends with them."""
    start = said.plain.find(first.casefold())
    at, named = start + len(first), list[str]()
    while start >= 0 and (joint := _ONE_MORE.match(said.plain, at)) is not None:
        number = _PHONE.match(said.plain, joint.end())
        kin = _KIN.match(said.plain, joint.end())
        name = number[0] if number else kin[0] if kin else _name_at(said, joint.end())
        if name is None or name.casefold() in _NO_PAYEE:
            break
        at = joint.end() + len(name)
        named.append(name)
    while named and named[-1][:1].islower() and not _BEHIND_ALL.match(said.plain, at):
        named.pop()
    return named


def _name_at(said: Said, start: int) -> str | None:
    at, words = start, list[str]()
    while len(words) < NAME_WORDS_MAX:
        match = _NAME.match(said.plain, at)
        if match is None:
            break
        word = match[0].removesuffix("'s")
        shown = said.words(match.start(), match.end()).removesuffix("'s").removesuffix("’s")
        known = word in _RELATIVES
        if word in _NO_ONE or (words and not known and not shown[:1].isupper()):
            if not words and word == "my":
                at = match.end() + 1
                continue
            break
        words.append(shown)
        at = match.end() + 1
        if match[0].endswith("'s") or said.plain[match.end() : at] != " ":
            break
    return " ".join(words) or None


def send_money(said: Said, now: "datetime", zone: str) -> Slots:
    """How much, in what, to whom or to which number; of several, all in `recipient`, so that nobody is lost."""
    slots = {**money(said, zone), **phone(said)}
    whom = recipient(said)
    if whom:
        slots["recipient"] = whom
    first = whom or slots.get("phone_number")
    further = _further_payees(said, first) if isinstance(first, str) else []
    if further:
        slots.pop("phone_number", None)
        slots["recipient"] = " and ".join([str(first), *further])
    return slots


def create_invoice(said: Said, now: "datetime", zone: str) -> Slots:
    """How much, for whom, for what, due when."""
    slots = {**money(said, zone), **phone(said)}
    mail = _MAIL.search(said.written)
    if mail is not None:
        slots["payer_email"] = mail[0].rstrip(".!?")
    found = re.search(r"\b(?:invoice|bill|charge|ankara (?:ya|kwa))\b (?:(?:for|to|of|over|kwa|ya)\b ?)?", said.plain)
    sent = _SENT_TO.search(said.plain)
    name = (_name_at(said, sent.end()) if sent else None) or (_name_at(said, found.end()) if found else None)
    billed = _BILLED.search(said.plain)
    name = (said.words(*billed.span(1)).removesuffix(" minus") if billed else None) or name or recipient(said)
    if name and name.casefold() not in _NO_PAYER:
        slots["payer_name"] = name
    if "phone_number" not in slots and (number := _BILLED_NUMBER.search(said.plain)) is not None:
        slots["phone_number"] = said.words(*number.span(1))
    time = when.find(said.plain, now)
    if time.recurrence is not None:
        slots["recurrence"] = time.recurrence
    elif _MONTHLY.search(said.plain):
        slots["recurrence"] = "monthly"
    if slots.get("recurrence") == "monthly":
        on, start = _ON_DAY.search(said.plain), _STARTS.search(said.plain)
        dated = frames.days(said.plain[start.end() : start.end() + DUE_CHARS], now)[0] if start else []
        if on is not None or dated:
            slots["recurrence"] = f"FREQ=MONTHLY;BYMONTHDAY={dated[0].day.day if dated else on[1] if on else 1}"
    due = _DUE.search(said.plain)
    if due is not None and due[1]:
        slots["due_date"] = (when.local(now, zone).date() + timedelta(days=int(due[1]))).isoformat()
    elif due is not None:
        dated, _, _ = frames.days(said.plain[due.end() : due.end() + DUE_CHARS], now)
        if dated:
            day, today = dated[0].day, when.local(now, zone).date()
            named = _DUE_WEEKDAY.match(said.plain, due.end()) is not None
            slots["due_date"] = (day + timedelta(days=7) if named and day == today else day).isoformat()
    whom = _FOR_WHOM.search(said.plain)
    called = _name_at(said, whom.end()) if whom else None
    what = _FOR_WHAT.search(said.plain, whom.end() if whom else 0)
    to = _TO_WHOM.search(said.plain, whom.end()) if whom else None
    later = _name_at(said, to.end()) if to else None
    if later is not None and later[:1].isupper():
        called, what = later, _FOR_WHAT.search(said.plain)
    if called is not None and called[:1].isupper() and billed is None and sent is None:
        slots["payer_name"] = called
    elif whom is not None:
        what = _FOR_WHAT.search(said.plain)
        if billed is None and sent is None and found is not None and found.end() == whom.end():
            slots.pop("payer_name", None)  # An invoice for design work is nobody's yet.
    if what is not None and not _SUM.match(what[1]):
        slots["description"] = said.words(*what.span(1)).strip(" .,;!?")
        if "payer_name" not in slots and _is_name(str(slots["description"])):
            slots["payer_name"] = slots["description"]
        if slots.get("payer_name") == slots["description"]:
            del slots["description" if _is_name(str(slots["description"])) else "payer_name"]
    return slots


def _is_name(words: str) -> bool:
    """Whether words are written as a name is: Achieng Otieno."""
    return len(words.split()) <= NAME_WORDS_MAX and all(word[:1].isupper() for word in words.split())


DUE_CHARS = 40
"""How far behind "due" its day stands."""
_DUE = re.compile(
    r"\b(?:due(?: date)?(?: is)?(?: on| by)?|payable by|to be paid by|pay(?:able)? before|by|net (\d{1,3})(?: days)?"
    r"|ilipwe(?: kufikia)?|kufikia|mwisho wa kulipa)\b"
)
_DUE_WEEKDAY = re.compile(
    r"\W*(?:(?:on|by|next|coming|the|this|ijayo)\b ?)*(?:mon|tue|wed|thu|fri|sat|sun|juma|alhamisi|ijumaa)"
)
"""A day of the week, said on that day, is the next one: nobody has until today by its name."""
_SENT_TO = re.compile(r"\b(?:(?:ku)?[mw]a?|ni)?tum(?:ia|ie)\b ")
_BILLED = re.compile(
    r"^\W*(?:please )?(?:invoice|bill|charge) (?:the |my |our )?((?!of\b|for\b|to\b|over\b|from\b|an?\b|me\b)[^\W\d_]+"
    r"(?:[ .'&-]{1,2}[^\W\d_]+){0,3}?) (?=(?:kes|kshs?|usd|eur|gbp|ugx|tzs|shs?) ?\d|[$€£]|\d)"
)
"""Who stands between the word and the sum: "invoice the school 3000"."""
_BILLED_NUMBER = re.compile(r"\b(?:invoice|bill|charge) (\+?\d{9,13})\b")
_NO_PAYER = listed("invoice invoices bill client customer somebody someone mteja ankara")
_STARTS = re.compile(r"\b(?:start(?:s|ing)?|begin(?:s|ning)?|from|kuanzia)\b(?: on| from)? ")
_FOR_WHOM = re.compile(r"\b(?:invoice|bill|ankara) (?:for|to|ya|kwa) ")
_TO_WHOM = re.compile(r"\b(?:to|kwa) ")
"""Behind these stands who pays, where it is a name, and else what for."""
_SUM = re.compile(r"(?:kes|kshs?|ksh|usd|eur|gbp|ugx|tzs|shs?|bob|shillings?|elfu|mia)\b")
_MONTHLY = re.compile(r"\b(?:monthly|every month|each month|per month|kila mwezi)\b")
_ON_DAY = re.compile(r"\b(?:on|every|each)(?: the)? (\d{1,2})(?:st|nd|rd|th)\b")
_FOR_WHAT = re.compile(
    r"\b(?:for (?:the |my |a |an )?|ya (?:kazi ya )?)([^\W\d_][^,;\n@]{1,120}?)"
    r"(?=$|[,;\n]|[.!](?:\s|$)|\b(?: due| by| payable| net \d+| every| each| monthly| weekly| yearly| ilipwe"
    r"| start(?:s|ing)?| from| kuanzia| kufikia| kila| kwa| on| to| and send)\b)"
)
_INVOICE_NUMBER = re.compile(r"\binv-?\d{4}-\d{5}\b")
_WHOSE_INVOICE = re.compile(
    r"\b(?:invoices?|bills?|ankara)\b (?:\w+ )?(?:for|to|of|ya|kwa|za)\b |\b(?:has|have|did|is|je)\b "
)


LAST = "last"
"""The newest one of all."""
_FURTHER = frozenset({"payer_email", "phone_number", "due_date", "recurrence"})
"""What is read of an invoice in the answer to who pays it."""


def payer(said: Said) -> Slots:
    """Who pays, as the answer to that question: a name behind what leads to it, up to the first comma or number."""
    lead = re.match(
        r"\W*(?:(?:it's|it is|to|for|kwa|ni|the name is|his name is|her name is|please|the)\b ?)*", said.plain
    )
    start = lead.end() if lead else 0
    found = re.match(r"[^\W\d][^,;\n@\d+]{0,58}", said.plain[start:])
    if found is None or len(found[0].split()) > NAME_WORDS_MAX + 1:
        return {}
    name = said.words(start, start + found.end()).strip(" .!-")
    return {"payer_name": name} if name else {}


def _numbered(said: Said) -> Slots:
    number = _INVOICE_NUMBER.search(said.plain)
    return {"invoice": said.words(*number.span()).upper()} if number is not None else {}


def invoiced(said: Said, start: int) -> Slots:
    """Which invoice words from `start` on name: its number, or who is to pay it."""
    if numbered := _numbered(said):
        return numbered
    if re.search(r"\b(?:last|latest|newest|mwisho)\b", said.plain):
        return {"invoice": LAST}
    lead = re.compile(r"\W*(?:(?:for|to|of|ya|kwa|za|mwezi|month|ya kila mwezi)\b\W*)*").match(said.plain, start)
    name = _name_at(said, lead.end() if lead else start)
    return {"invoice": name} if name else {}


_SENT_WHOM = re.compile(r"^\W*(?:please )?send (?!(?:the|my|that|this|invoice|bill)\b)(?=[^\W\d]+ )")


def _sent_whom(said: Said) -> Slots:
    """Who is named before the invoice: send Achieng the invoice again."""
    whom = _SENT_WHOM.match(said.plain)
    name = _name_at(said, whom.end()) if whom else None
    return {"invoice": name} if name else {}


_INVOICE_OF = re.compile(r"\b(?:invoice|bill|ankara) (?:for|to|of|ya|kwa) (?!again\b)")


def resent(said: Said, now: "datetime", zone: str) -> Slots:
    """Which invoice is to be sent again: its number, who gets it, or the last."""
    of = _INVOICE_OF.search(said.plain)
    name = _name_at(said, of.end()) if of is not None else None
    if name is not None and not _numbered(said):
        return {"invoice": re.sub(r"\s+again$", "", name)}
    return _numbered(said) or _sent_whom(said) or _done_for(said) or invoiced(said, len(said.plain))


def which_invoice(said: Said, now: "datetime", zone: str) -> Slots:
    """Which invoice is asked about: its number, or who is to pay it."""
    if numbered := _numbered(said):
        return numbered
    for found in _WHOSE_INVOICE.finditer(said.plain):
        name = _name_at(said, found.end())
        if name is not None and name[:1].isupper():
            return {"invoice": name}
    return _done_for(said)


_DONE_FOR = re.compile(
    r"\b(?:(?:ku)?m(?:tumi|rushi|rudishi|rejeshe|toz|p)(?:e|a)|(?:u?(?:tum|rush|rudish|refund|rejesh)[ie]a)"
    r"|resend|refund|reimburse|billing|invoicing|bill|invoice|send) "
)


def _done_for(said: Said) -> Slots:
    """Whose invoice it is, of whom something is done for: mtumie Barasa ile ankara tena."""
    names = (_name_at(said, found.end()) for found in _DONE_FOR.finditer(said.plain))
    name = next((name for name in names if name is not None and name[:1].isupper()), None)
    return {"invoice": name} if name is not None else {}


_HOW_PAID = {
    "cash": re.compile(r"\b(?:in cash|by cash|cash|taslimu|keshi|pesa mkononi)\b"),
    "cheque": re.compile(r"\b(?:cheque|check|hundi)\b"),
    "bank": re.compile(r"\b(?:bank|benki|eft|rtgs|pesalink|wire)\b"),
    "mpesa": re.compile(r"\bm-?pesa\b"),
}


_WHETHER_PAID = re.compile(
    r"^\W*(?:so |and )?(?:has|have|did) (?P<whom>[^\W\d]+(?: [^\W\d]+){0,3}?) (?:already |yet )?(?:paid|pay)"
    r"(?: (?:me|us|up|yet|already|back|(?:the |her |his |their |my )?(?:invoice|bill)))*\W*$"
    r"|^\W*(?:je |na )?(?P<nani>[^\W\d]+(?: [^\W\d]+){0,3}?) (?:amelipa|ameshalipa|ashalipa|amekwishalipa|kashalipa"
    r"|alilipa|amemaliza kulipa|hajalipa)(?: (?:ankara|tayari|bado|ama|au|doh?|pesa|bill))*\W*$"
)
_WHOEVER = listed(
    "he she they it anybody anyone everybody everyone somebody someone nobody who client customer i you we yeye mteja "
    "mtu kuna nani yupi wote wateja my the any all"
)


def whether_paid(said: Said) -> Slots:
    """Whose invoices are meant where somebody asks whether a person has paid; nothing where nobody is named."""
    asked = _WHETHER_PAID.match(said.plain)
    if asked is None or ("?" not in said.plain and asked["nani"] is not None and "bado" not in said.plain):
        return {}
    group = "whom" if asked["whom"] is not None else "nani"
    if set(asked[group].split()) & _WHOEVER:
        return {}
    return {"invoice": said.words(*asked.span(group))}


_WHO_PAID = re.compile(r"[^\W\d]+(?= (?:has |have )?(?:already )?paid\b| amelipa\b)")
_THEY = frozenset({"she", "he", "they", "somebody", "someone", "i", "we", "client"})


def paid_outside(said: Said, now: "datetime", zone: str) -> Slots:
    """Which invoice was paid outside of us, how much of it, and how."""
    slots = which_invoice(said, now, zone)
    if not slots and (payer := _WHO_PAID.match(said.plain)) is not None and (name := _name_at(said, 0)) is not None:
        slots = {"invoice": name} if payer[0] not in _THEY else {}
    how = next((how for how, pattern in _HOW_PAID.items() if pattern.search(said.plain)), None)
    if how is not None:
        slots["how"] = how
    # The digits of its number are no sum.
    plain = _INVOICE_NUMBER.sub(lambda number: "\n" * len(number[0]), said.plain)
    sums = money(replace(said, plain=plain), zone)
    if "amount" in sums:
        slots["amount"] = sums["amount"]
    return slots


_PAID_WHOM = re.compile(r"\b(?:to|kwa|from|na|paid|pay|nilimlipa|nilimtumia|nililipa|nilitumia|nimemlipa|nimemtumia) ")
_NOT_RIGHT = re.compile(
    r"\b(?:never|didn't|did not|haven't|hasn't|wasn't|isn't|not|wrong|twice|double|because|since|fake|broken|scam\w*"
    r"|conned|sikupata|sijapata|haja\w+|haku\w+|haikufika|haijafika|kwa sababu|kwani|mara mbili|si sahihi|sijaona"
    r"|amenikula|nimetapeliwa|alinitapeli|amenitapeli|nimeconiwa|ameniconi|nimechezwa|akanizima|hajaleta)\b"
)


def dispute(said: Said, now: "datetime", zone: str) -> Slots:
    """Which payment was not right: the invoice, or whom and how much; and what is wrong with it, where that is said."""
    slots: Slots = {}
    if numbered := _numbered(said):
        slots["payment"] = numbered["invoice"]
    elif numbers := phone(said):
        slots["payment"] = numbers["phone_number"]
    else:
        named = (_name_at(said, whom.end()) for whom in _PAID_WHOM.finditer(said.plain))
        if name := next((name for name in named if name is not None and name[:1].isupper()), None):
            slots["payment"] = name
    sums = money(replace(said, plain=_INVOICE_NUMBER.sub(lambda number: "\n" * len(number[0]), said.plain)), zone)
    if "amount" in sums:
        slots["amount"] = sums["amount"]
    if _NOT_RIGHT.search(said.plain):
        slots["reason"] = _rest(said, 0)
    return slots


def top_up(said: Said, now: "datetime", zone: str) -> Slots:
    """How much, from which number."""
    return {**money(said, zone), **phone(said)}


_A_DAY = re.compile(r"\b(?:daily|day|a day|siku)\b")
_A_PAYMENT = re.compile(r"\b(?:payments?|transactions?|transfers?|malipo|muamala)\b")


def spending_limit(said: Said, now: "datetime", zone: str) -> Slots:
    """Whether for a day or for one payment, and how much."""
    per = "day" if _A_DAY.search(said.plain) else "payment" if _A_PAYMENT.search(said.plain) else None
    return {**money(said, zone), **({"per": per} if per is not None else {})}


_MONEY = r"(?:(?:kes|kshs?|sh)\.? ?)?\d(?:[\d,.]*\d)?k?(?: ?(?:bob|shillings?|shilingi|kes|ksh|/=))?"
_UP_TO = r"(?:(?:at most|up to|no more than|not more than|hadi|isizidi) )?"
_FLOW_PAYS = re.compile(r"\b(?:let|allow|ruhusu)\b (.{1,80}?) (?:to )?(?:pay|[iua]?lipe|kulipa)\b ?")
_FLOW_OF = re.compile(
    r"\b(?:mandate|idhini)\b (?:of|for|to|ya|kwa|za) (.{1,80}?)\W*$|\bstop (.{1,80}?) (?:from )?paying\b"
)
_TERMS = {
    "per_day": re.compile(rf"{_UP_TO}({_MONEY}),? (?:a day|per day|each day|every day|daily|kwa siku|kila siku)\b"),
    "each": re.compile(rf"{_UP_TO}({_MONEY}),? (?:each(?! day)|every time|at a time|a time|kila (?:mara|moja))\b"),
    "total": re.compile(rf"{_UP_TO}({_MONEY}),? (?:in all|in total|altogether|total|kwa jumla|jumla)\b"),
}
_LAST_DAY = re.compile(r"\b(?:until|till|through|hadi|mpaka) (?!\d[\d,.]*k? (?:each|a day|in all|kila|kwa))")


def grant_mandate(said: Said, now: "datetime", zone: str) -> Slots:
    """Which workflow may pay whom, how much each time, a day and in all, and until which day."""
    slots: Slots = {}
    flow = _FLOW_PAYS.search(said.plain)
    found = {name: match for name, term in _TERMS.items() if (match := term.search(said.plain)) is not None}
    last = _LAST_DAY.search(said.plain)
    if flow is not None:
        ends = [match.start() for match in found.values() if match.start() >= flow.end()]
        end = min([*ends, last.start() if last is not None else len(said.plain)])
        whom = said.words(flow.end(), end).strip(" ,;:")
        slots |= {"workflow": _flow(said, flow, 1)} | ({"payees": whom} if whom else {})
    slots |= {name: said.words(*match.span(1)).strip(" ,") for name, match in found.items()}
    dated = frames.days(said.plain[last.end() :], now)[0] if last is not None else []
    return slots | ({"until": dated[0].day.isoformat()} if dated else {})


def cancel_mandate(said: Said, now: "datetime", zone: str) -> Slots:
    """Which workflow is to pay nothing by itself."""
    flow = _FLOW_OF.search(said.plain)
    return {"workflow": _flow(said, flow, 1 if flow[1] else 2)} if flow is not None else {}


def _flow(said: Said, found: re.Match[str], group: int) -> str:
    """A workflow's name as it was written, without what stands around a name."""
    words = said.words(*found.span(group)).strip(" \"'“”‘’.,!?")
    return re.sub(r"(?i)^(?:the |my )?(?:workflow |automation |kazi ya )?", "", words).strip(" \"'“”")


def limit(said: Said, now: "datetime", zone: str) -> Slots:
    """How many of the last ones."""
    found = re.search(
        r"\b(?:last|latest|recent|past|mwisho) (\d{1,3})\b(?! (?:day|week|month|year|hour))|\b(\d{1,3}) (?:last"
        r"|latest|recent)",
        said.plain,
    )
    return {"limit": int(found[1] or found[2])} if found else {}


# ---------------------------------------------------------------- meetings


def check_availability(said: Said, now: "datetime", zone: str) -> Slots:
    """Which day is asked about."""
    dated, _, _ = frames.days(said.plain, now)
    return {"date": dated[0].day.isoformat()} if dated else {}


_WITH = re.compile(r"\b(?:with|na)\b ")
_LONG = re.compile(
    r"\bfor (\d{1,3})[ -]?(minutes?|mins?|hours?|hrs?)\b|\b(\d{1,3})[ -](minutes?|min|hour|hr) (?:meeting|call"
    r"|session|chat)"
)


def schedule_meeting(said: Said, now: "datetime", zone: str) -> Slots:
    """With whom, when and for how long."""
    slots: Slots = {}
    dated, clock, spans = frames.days(said.plain, now)
    if dated:
        slots["date"] = dated[0].day.isoformat()
    if clock.clock and clock.wall is not None:
        slots["time"] = clock.wall.strftime("%H:%M")
        if not dated and clock.exact:
            slots["date"] = clock.wall.date().isoformat()
    long = _LONG.search(said.plain)
    if long is not None:
        unit = 3600 if (long[2] or long[4]).startswith("h") else 60
        slots["duration"] = int(long[1] or long[3]) * unit
    called = re.search(r"\b(?:called|titled|named|about|kuhusu|inayoitwa)\b ", said.plain)
    with_ = _WITH.search(said.plain)
    if called is not None:
        words = said.words(
            called.end(), len(when.masked(said.plain, spans, "\n")[called.end() :].split("\n")[0]) + called.end()
        )
        if words.strip(" .,?!"):
            slots["title"] = words.strip(" .,?!")
    elif with_ is not None:
        name = _name_at(said, with_.end())
        if name:
            slots["title"] = f"Meeting with {name}"
    return slots


# ---------------------------------------------------------------- writing to somebody

_MAIL = re.compile(
    r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_](?:[A-Za-z0-9_+-]"
    r"|\.(?=[A-Za-z0-9_+-]))*@(?:[A-Za-z0-9-]+\.)+[a-zA-Z]{2,}(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w.#$€£/+)])(?<!\w-)(?<!^-)(?<! -)(?:\+|00)?\(?(?:\+)?\d[\d ().\-/]{5,24}\d(?: ?(?:ext\.?"
    r"|x) ?\d{1,6})?(?![\w%$€£]|[.,]\d)"
)
_NUMBER_OF_SOMETHING = re.compile(
    r"(?i)\b(?:cards?|express|visa|mastercard|accounts?|a/c|acct|invoices?|orders?|ref(?:erence)?|ssn|passport"
    r"|id|serial|tracking|ticket|omb|iban|akaunti|ankara)\b[^\d\n]{0,24}$"
)
"""Before digits that number something else."""
_DATE_BEHIND = re.compile(r" \d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}.*$")
_NOT_PHONE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}|\d{1,3}(?:,\d{3})+")


def _is_phone(text: str) -> bool:
    digits = re.sub(r"\D", "", text.lower().partition("ext")[0].partition("x")[0])
    if not PHONE_DIGITS_MIN <= len(digits) <= PHONE_DIGITS_MAX or len(set(digits)) < 2:
        return False
    groups = re.findall(r"\d+", text)
    if re.fullmatch(r"0\.\d+|\d{3}-\d{2}-\d{4}", text.strip()):
        return False
    return (
        not _NOT_PHONE.fullmatch(text.strip())
        and not (len(groups) > 3 and all(len(group) == 1 for group in groups))
        and not (len(groups) == 4 and all(len(group) == 4 for group in groups))
    )


def _is_number_of_somebody(text: str) -> bool:
    """Whether digits are rather a phone number than a sum: 0712345678, +254712345678, 1 234 567 8900."""
    digits = re.sub(r"\D", "", text)
    return _is_phone(text) and (text[0] in "+0(" or len(digits) >= 10)


def phone(said: Said) -> Slots:
    """The first phone number, as it was written."""
    for match in _PHONE.finditer(said.written):
        number = _DATE_BEHIND.sub("", match[0])
        if _is_phone(number) and not _NUMBER_OF_SOMETHING.search(said.written[: match.start()]):
            return {"phone_number": number.strip()}
    return {}


_SAYING = re.compile(
    r"\b(?:saying|that says|say|says|telling (?:him|her|them|\w+) (?:that )?|with the (?:message|text|words)"
    r"|message:|text:|and (?:say|tell (?:him|her|them))|asking (?:him|her|them)"
    r"|to (?:say|let (?:him|her|them) know)|informing (?:him|her|them)|kwamba|useme|ukisema|umwambie|mwambie"
    r"|waambie|ujumbe|body|that)\b[ :,'\"]*(?:that |kuwa |kwamba )?"
)
_SUBJECT = re.compile(r"\b(?:subject|titled|mada|kichwa)\b(?: (?:is|of|line))?[ :,'\"]*")
_TO = re.compile(
    r"\b(?:to|kwa|email|e-mail|mail|text|message|tell|inform|whatsapp|tumia|andikia|mwambie|ask|ping"
    r"|dm)\b (?:my |(?:a |an )?(?:text|message|email|mail|ujumbe) to )?"
)


def send_email(said: Said, now: "datetime", zone: str) -> Slots:
    """To whom, about what, with which words."""
    slots: Slots = {}
    mail = _MAIL.search(said.written)
    if mail is not None:
        slots["to"] = mail[0].rstrip(".!?")
    else:
        name = _addressee(said)
        if name:
            slots["to"] = name
    subject = _SUBJECT.search(said.plain)
    text = _SAYING.search(said.plain)
    about = re.search(r"\b(?:about|regarding|re|kuhusu|concerning)\b ", said.plain)
    if subject is not None:
        end = text.start() if text is not None and text.start() > subject.end() else len(said.plain)
        slots["subject"] = said.words(subject.end(), end).strip(" ,.'\"")
    elif about is not None:
        end = text.start() if text is not None and text.start() > about.end() else len(said.plain)
        slots["subject"] = said.words(about.end(), end).strip(" ,.'\"")
    if (
        text is not None
        and said.plain[text.end() :].strip(" '\".")
        and (subject is None or text.start() > subject.start())
    ):
        slots["text"] = _rest(said, text.end())
    return {name: value for name, value in slots.items() if value}


def send_whatsapp(said: Said, now: "datetime", zone: str) -> Slots:
    """To which number or person, and the words."""
    slots = phone(said)
    if not slots:
        name = _addressee(said)
        if name:
            slots["phone_number"] = name
    text = _SAYING.search(said.plain)
    if text is not None and said.plain[text.end() :].strip(" '\"."):
        slots["message"] = _rest(said, text.end())
    return slots


def _addressee(said: Said) -> str | None:
    for match in _TO.finditer(said.plain):
        name = _name_at(said, match.end())
        if name:
            return name
    return None


def _rest(said: Said, start: int) -> str:
    return (said.words(start, len(said.plain)) + said.rest)[:WORDS_CHARS_MAX].strip(" '\"")


# ---------------------------------------------------------------- questions

_SEARCH = re.compile(
    r"\W*(?:(?:please|hey|hi|can you|could you|would you|will you|i want to|i'd like to|i want you to"
    r"|i need to|i need you to|tafadhali|naomba|hebu|ok)\b[ ,]*)*"
    r"(?:(?:do|run|make) (?:a |an )?(?:web |internet |google |online |bing )?search (?:for|on|about)|(?:web "
    r"|internet )?search (?:the (?:web|internet|net) )?(?:for |about |on )?|google|bing|ask (?:bing"
    r"|google)(?: about| for)?"
    r"|look up|lookup|find (?:me )?(?:out|info(?:rmation)?|articles?|news|details)(?: on| about| for)?"
    r"|tafuta(?: habari(?: za| kuhusu)?)?|nitafutie(?: habari(?: za| kuhusu)?)?|get|show|send|give|find|i want"
    r"|i need)\b ?(?:me )?"
)
_GIF = re.compile(
    r"\b(?:an? |the |some |of |with |tag(?:ged)? |equal to |from giphy|on giphy|giphy|gifs?|animated"
    r"|picha ya kusonga|for|me|about|ya|la|please)\b"
)


def search_info(said: Said, now: "datetime", zone: str) -> Slots:
    """What to look for, in the person's words."""
    lead = _SEARCH.match(said.plain)
    words = _rest(said, lead.end() if lead else 0).strip(" ?.")
    words = re.sub(r"(?i)\s+(?:on|using|with|via|in) (?:bing|google|the (?:web|internet))$", "", words)
    return {"query": words} if words else {}


def search_gif(said: Said, now: "datetime", zone: str) -> Slots:
    """What should be seen."""
    lead = _SEARCH.match(said.plain)
    start = lead.end() if lead else 0
    low = said.plain[start:]
    kept = [
        said.words(start + word.start(), start + word.end())
        for word in re.finditer(r"\S+", _GIF.sub(lambda m: " " * len(m[0]), low))
    ]
    words = " ".join(kept).strip(" ?.!")
    return {"query": words} if words else {}


ASK: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "check_balance": r"\b(?:balance|salio|how much (?:money |cash )?(?:do i have|have i got|is (?:in|on) my|i have)"
        r"|accounts?"
        r"|wallet|afford|enough (?:money|funds|cash|in my)|pesa ngapi|nina pesa)\b",
        "list_transactions": (
            r"\b(?:transactions?|purchases?|statements?|spen[dt]|spending|expenses?|charges?|payments? history"
            r"|bought|miamala|matumizi)\b"
        ),
        "check_payments": r"\b(?:payments?|paid|malipo|amelipa|wamelipa)\b",
        "check_invoice_status": r"\b(?:invoices?|bills?|ankara)\b",
        "create_invoice": r"\b(?:invoice|bill|ankara)\b",
        "send_money": r"\b(?:send|transfer|pay|tuma|tumia|mtumie|lipa|wire|remit)\b",
        "withdraw": r"\b(?:withdraw(?:al)?|cash out|toa pesa|kutoa)\b",
        "top_up": r"\b(?:top ?-?up|(?<!direct )deposit(?! account)|load|add (?:money|funds|cash)|put (?:money|cash)"
        r"|weka pesa|jaza|ongeza)\b",
        "open_dispute": r"\b(?:dispute|disputing|charge ?backs?|unauthori[sz]ed|didn't (?:make|authori[sz]e|do|receive"
        r"|get)"
        r"|did not (?:make|authori[sz]e|receive)|double|twice|wrong (?:person|number|amount)|refund|reverse"
        r"|rudish\w+|malalamiko|scam(?:med)?|conned|cheated|overcharged|nimetapeliwa|haikufika"
        r"|never (?:got|received|came|arrived|delivered|showed up|turned up)|not (?:been )?delivered)\b",
        "check_availability": r"\b(?:calendar|schedule|available|availability"
        r"|free|busy|agenda|appointments?|meetings?|ratiba|kalenda"
        r"|nafasi"
        r"|events?|booked|planned|going on)\b",
        "schedule_meeting": r"\b(?:meeting|meet|appointment|mkutano|kikao|call with|sit down with)\b",
        "send_email": r"\b(?:e-?mails?|mail|barua pepe|gmail)\b",
        "send_whatsapp": r"\b(?:whatsapp|texts?|texting|texted|messages?|msg|sms|ujumbe|ping|dm|mwambie|waambie|mtumie"
        r"|andikia"
        r"|mjulishe|(?:tell|inform|notify|let|ask|remind|warn|update) (?!me\b|us\b|you\b|your\b)[a-z]+)\b",
        "search_info": r"\b(?:search|google|bing|look up|find out|tafuta|news|information|info)\b",
        "add_to_itinerary": r"\b(?:itinerary|trip|plan|safari|travel|holiday|vacation|ratiba|tour|journey)\b",
        "remove_from_itinerary": r"\b(?:itinerary|trip|plan|safari|travel|holiday|vacation|ratiba|tour|journey)\b",
        "create_itinerary": (
            r"\b(?:itinerary|trips?|plan|safari|travel|holiday|vacation|ratiba|tour|getaway|journey"
            r"|honeymoon)\b"
        ),
        "view_itinerary": r"\b(?:itinerary|trips?|plans?|safari|travel|holiday|vacation|ratiba|tour)\b",
        "share_itinerary": r"\b(?:itinerary|trip|plan|safari|travel|holiday|vacation|ratiba|tour)\b",
        "post_social": r"\b(?:post|tweet|toot|mastodon|bluesky|publish|share|social|chapisha|tuma kwa (?:twitter|x)"
        r"|weka kwa)\b(?<!retweet)",
        "list_workflows": r"\b(?:workflows?|automations?|rules?|otomatiki|recipes?|flows?)\b",
        "run_workflow": r"\b(?:workflows?|automations?|rules?|otomatiki|recipes?|flows?|run|trigger|kick off)\b",
        "pause_workflow": r"\b(?:workflows?|automations?|rules?|otomatiki|flows?|pause|hold|simamisha|sitisha)\b",
        "resume_workflow": r"\b(?:workflows?|automations?|rules?|otomatiki|flows?|endeleza)\b",
        "approve_step": r"^\W*(?:\w+ ){0,4}(?:approved?|idhinisha|kubali|nakubali|ruhusu|green ?light|go ahead)\b",
        "reject_step": r"^\W*(?:\w+ ){0,4}(?:reject(?:ed)?|deny|decline|kataa|nakataa|usiruhusu|don't approve)\b",
        "search_notes": r"\b(?:my notes?|notes? (?:about|on|from|for|i)|notion|note i|maelezo yangu|madokezo)\b",
        "create_note": r"\b(?:notes?|notion|jot|write (?:this |that )?down|andika|dokezo)\b",
        "check_quotas": r"\b(?:quotas?|limits?|left|usage|remaining|kiwango|nimebak\w+)\b",
        "set_timezone": r"\b(?:my|i'm|i am|i live|set|change|switch|update|use|yangu|niko|naishi|weka|badilisha)\b",
        "save_contact": r"\b(?:contacts?|number|email|phone|namba|nambari|simu)\b",
        "search_gif": r"\b(?:gifs?|giphy)\b",
        "find_jobs": (
            r"\b(?:jobs?|gigs?|freelanc\w+|kazi|vacanc\w+|hiring|internships?|vibarua|employment"
            r"|positions?)\b"
        ),
        "create_workflow": r"^\W*(?:if|when|whenever|every|every ?time"
        r"|once|each|as soon as|at|kila|ikiwa|wakati|mara)\b"
        r"|\b(?:automat\w+|workflow|notify me|alert me|whenever|every ?time|let me know (?:when|if)|if)\b",
    }.items()
}
"""Words that each of these actions is hardly asked for without: a guess without them must be surer."""

Reader = Callable[[Said, "datetime", str], Slots]
READERS: Mapping[str, Reader] = {
    "send_money": send_money, "withdraw": top_up, "top_up": top_up, "create_invoice": create_invoice,
    "check_invoice_status": which_invoice, "void_invoice": which_invoice, "stop_recurring_invoice": which_invoice,
    "refund_invoice": which_invoice, "resend_invoice": resent, "unmark_invoice_paid": which_invoice,
    "mark_invoice_paid": paid_outside, "open_dispute": dispute,
    "create_payment_link": create_invoice, "set_spending_limit": spending_limit,
    "grant_mandate": grant_mandate, "cancel_mandate": cancel_mandate,
    "list_transactions": limit, "check_availability": check_availability,
    "schedule_meeting": schedule_meeting, "send_email": send_email, "send_whatsapp": send_whatsapp,
    "search_info": search_info, "search_gif": search_gif, "find_jobs": search_info,
}  # fmt: skip


def answer(action: str, slot: str, said: Said, now: "datetime", zone: str) -> Slots:
    """What an answer to the question for this slot says."""
    slots = READERS[action](said, now, zone) if action in READERS else {}
    if action in ("grant_mandate", "cancel_mandate") and slot not in slots:
        dated = frames.days(said.plain, now)[0] if slot == "until" else []
        words = dated[0].day.isoformat() if dated else "" if slot == "until" else _rest(said, 0)
        return {**slots, slot: words} if words else slots
    if action == "open_dispute" and slot == "reason":
        return {slot: _rest(said, 0)}  # Twelve mats that did not come are no sum.
    if action == "open_dispute" and slot == "payment" and slot not in slots:
        return {**slots, slot: _rest(said, 0)}
    if slot in ("amount", "currency"):
        return {
            **{name: value for name, value in slots.items() if name in ("recipient", "phone_number")},
            **money(said, zone),
        }
    if slot == "duration":
        long = periods.duration(said.plain)
        return {**slots, "duration": long.seconds} if long is not None else slots
    if slot == "payer_name":
        return {**{name: value for name, value in slots.items() if name in _FURTHER}, **payer(said)}
    if slot == "recipient" and "recipient" not in slots:
        name = recipient(said, answering=True)
        if name is None and "phone_number" in slots:
            return {**slots, "recipient": None}  # The number stands in the place of whoever was named before.
        further = _further_payees(said, name) if name else []
        return {**slots, "recipient": " and ".join([name, *further])} if name else slots
    if slot in ("phone_number", "to", "payer_email"):
        mail = _MAIL.search(said.written)
        if slot != "phone_number":
            return {slot: mail[0]} if mail is not None else {}
        return phone(said)
    if slot == "description":
        # All of it is what the invoice is for: no sum or name in it is the invoice's.
        words = re.sub(r"(?i)^\W*(?:it(?:'s| is) |that's |ni )?(?:for |ya |kwa ajili ya )?", "", _rest(said, 0))
        return {"description": words} if words else {}
    if slot in ("title", "message", "text", "subject", "query") and slot not in slots:
        words = _rest(said, 0)
        return {slot: words} if words else {}
    return slots
