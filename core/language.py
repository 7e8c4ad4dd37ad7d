"""The two languages people are spoken with: which of them a message is in, and sentences that exist in both. Pure."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "sw"]

READ_CHARS_MAX = 500
"""How much of a text is looked at to tell its language."""
MIXED_LEAD = 2
"""By how many words one language has to lead in a text that has words of both, to be the one it is in."""


@dataclass(frozen=True, slots=True)
class Saying:
    """One text in English and in Swahili; {names} in it are for `filled`."""

    en: str
    sw: str

    def to(self, language: str) -> str:
        """The text as somebody of this language reads it."""
        return self.sw if spoken(language) == "sw" else self.en

    def filled(self, **values: "Saying | str | int") -> "Saying":
        """Both texts with values for their {names}, a Saying for one in each language."""
        both: list[str] = []
        for language, text in (("en", self.en), ("sw", self.sw)):
            words = {name: one.to(language) if isinstance(one, Saying) else one for name, one in values.items()}
            both.append(text.format(**words))
        return Saying(*both)

    @classmethod
    def joined(cls, between: str, *some: "Saying | str") -> "Saying":
        """Several texts, one behind the other; a str is the same in both languages."""
        return cls(
            *(between.join(one.to(to) if isinstance(one, Saying) else one for one in some) for to in ("en", "sw"))
        )


@dataclass(frozen=True, slots=True)
class Plural:
    """One text with a count in it, as {count}: for one, and for every other number, none among them.

    These are the forms that both our languages have (CLDR: `one` is 1, `other` the rest); "kikumbusho 1", "vikumbusho
    2". A language with more of them needs more of them here.
    """

    one: Saying
    other: Saying

    def of(self, count: int, **values: "Saying | str | int") -> Saying:
        """The text for this count, which is written with commas: 1,000."""
        return (self.one if count == 1 else self.other).filled(count=f"{count:,}", **values)


def spoken(language: str) -> Language:
    """The one of our languages that somebody is spoken with whose own is `language`, such as en-GB or sw-KE."""
    return "sw" if language.lower().startswith("sw") else "en"


def heard(text: str) -> Language | None:
    """The language a text is in, by its words; None for one that does not tell: "ok", "Nairobi", half of each.

    In a text with words of both, the one that has the first of them counts once more.
    """
    if text.strip(" .,!?\n").lower() in _OF_BOTH:
        return None
    words = _WORD.findall(_COMMAND.sub("", text[:READ_CHARS_MAX]).lower().replace("’", "'"))
    told: list[Language] = []
    for word in words:
        if word in _SWAHILI or _SWAHILI_VERB.fullmatch(word):
            told.append("sw")
        elif word in _ENGLISH:
            told.append("en")
    if not told:
        return None
    swahili, english = told.count("sw"), told.count("en")
    if swahili and english:
        lead = swahili - english + (1 if told[0] == "sw" else -1)
        return None if abs(lead) < MIXED_LEAD else "sw" if lead > 0 else "en"
    return "sw" if swahili else "en"


def day(of: date, this_year: int | None = None) -> Saying:
    """A date as people read it, "Tue 24 Nov", with its year where that is not `this_year`."""
    year = "" if this_year in (None, of.year) else f" {of.year}"
    return Saying(
        f"{_DAYS[of.weekday()]} {of.day} {_MONTHS[of.month - 1]}{year}",
        f"{_SIKU[of.weekday()]} {of.day} {_MIEZI[of.month - 1]}{year}",
    )


def weekday(number: int) -> Saying:
    """The name of a day of the week, counted from Monday 0: "Mon", "Jumatatu"."""
    return Saying(_DAYS[number], _SIKU[number])


def weekday_short(number: int) -> Saying:
    """The same, as it fits into a column."""
    return Saying(_DAYS[number], _SIKU_FUPI[number])


def month(number: int) -> Saying:
    """The short name of a month, counted from January 1."""
    return Saying(_MONTHS[number - 1], _MIEZI[number - 1])


def moment(local: datetime, this_year: int | None = None) -> Saying:
    """A local time as people read it: "Tue 24 Nov, 09:00"."""
    return Saying.joined(", ", day(local.date(), this_year), f"{local:%H:%M}")


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SIKU = ("Jumatatu", "Jumanne", "Jumatano", "Alhamisi", "Ijumaa", "Jumamosi", "Jumapili")
_SIKU_FUPI = ("Jtt", "Jnn", "Jtn", "Alh", "Ijm", "Jms", "Jpl")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MIEZI = ("Jan", "Feb", "Mac", "Apr", "Mei", "Jun", "Jul", "Ago", "Sep", "Okt", "Nov", "Des")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"(?<![\w@/.-])[^\W\d_]+(?:'[a-z]+)?(?![\w@/-]|\.\w)")
"""Not what is a part of something else: of a code, an address, a number."""
_OF_BOTH = frozenset({"cancel", "balance"})
"""What people say alone in either language, which therefore tells nothing."""
_COMMAND = re.compile(r"^\s*/\w+(?:@\w+)?")
"""A command is English for everybody, and tells nothing."""
_SWAHILI_VERB = re.compile(
    r"(?:ni(?:na|me|li|ta|ki|nge)|si(?:ja|ta|ku)|tu(?:na|me|ta|li)|wa(?:na|me|ta|li)|hatu|hawa)[a-z]{2,}[aeiu]"
    r"|ni[a-z]{3,}(?:ie|she)|ku[bcdfghjklmnpstvwyz][a-z]{2,}a"
)
"""I, we or they do, did or will do something; do something for me; to do it."""
_SWAHILI = _listed(
    "habari mambo vipi niaje jambo hujambo shikamoo asante ahsante shukrani nashukuru kwaheri tafadhali naomba "
    "nikumbushe nisaidie msaada saidia unaweza kufanya nini hali ya hewa leo kesho keshokutwa asubuhi mchana jioni "
    "usiku saa dakika kila siku badilisha dola shilingi kwa ngapi bei futa ghairi kikumbusho vikumbusho vyangu nipige "
    "wewe ni nani unaitwa jina lako langu roboti hapana ndio ndiyo acha wacha sahau basi na je mvua joto baridi nina "
    "yangu yako zangu zako wangu wako yake ghani gani salama huko mjini kunikumbusha weka orodhesha nionyeshe "
    "nibadilishie katika baada kabla tarehe wiki mwezi jumatatu jumanne jumatano alhamisi ijumaa jumamosi jumapili "
    "samahani kuhusu ikoje iko mimi nataka ninataka sijui kiasi thamani karibu tutaonana baadaye tengua rufaa anza "
    "kama lakini pia sana kabisa hivi sisi yeye hapa hapo wapi lini kwenye kutoka mpaka hadi jana juzi watu kazi pesa "
    "nyumba moja mbili tatu nne tano saba nane tisa kumi nusu robo mwaka niambie nipe nitumie nisahaulishe napendelea "
    "naishi naitwa lengo malengo inasema fupisha hifadhi namba nambari simu anwani barua tenganisha unganisha ongea "
    "zungumza kiswahili za wa ndani kuna hakuna mtu binadamu nilipe zote yote wote malipo safari "
    "ratiba ankara lipa tuma ondoa ongeza andika toa nyumbani onyesha pata mpango salio hoteli ujumbe mwambie tafuta "
    "ile hizo hizi haya hiyo huyu"
)
_ENGLISH = _listed(
    "the a an is are am what what's how how's when where who will can could you your my i i'm i'd i'll it it's in at "
    "on to of for and please thanks thank remind reminder reminders weather convert tomorrow today show list cancel "
    "delete help good morning evening have has had do does did not this that from with about be was if then there "
    "which me them need want make tell give forget remember every everyday weekday tonight next please don't can't "
    "much many rain goodbye bye undo know language speak number contacts save send any "
    "see still available new message open add we she he they our pay "
    "book check search"
)
