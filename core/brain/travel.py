"""Travel: the words that ask for flights, buses, rides, hotels and events, and the frames of their slots. Pure."""

import re

from core.brain.frames import GUESTS, NIGHTS, PEOPLE, ROOMS, Frame, Kind, Slot


def _opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_BACK = re.compile(
    r"\b(?:return(?:ing|s)?(?! (?:flight|ticket|trip))(?: date)?(?: (?:on|is|by|will be))?|com(?:e|ing) back"
    r"|(?:get|fly|be|head|travel)(?:ing)? back|back(?: (?:on|by))?"
    r"|kurudi|nirudi|tutarudi|narudi|nitarudi)\b"
)
_OUT = re.compile(
    r"\b(?:check(?:ing|ed|s)?[ -]?out(?: date)?(?: (?:on|is|by|will be))?|until|till|through|leav(?:e"
    r"|ing)(?: on)?|depart(?:ing)?|up to|kuondoka|hadi|mpaka|end(?:ing|s)?(?: on)?)\b"
)
_IN = re.compile(
    r"\b(?:check(?:ing|ed|s)?[ -]?in(?: date)?(?: (?:on|is|by|will be))?|arriv(?:e|ing)|start(?:ing|s)?|from"
    r"|begin(?:ning)?|kuingia|kufika|kuanzia)\b"
)
_GO = re.compile(r"\b(?:leav(?:e|ing)|depart(?:s|ing|ure)?|outbound|go(?:ing)?|fly(?:ing)?(?: out)?|kuondoka|kwenda)\b")

CABINS = {
    "Premium Economy": re.compile(r"\bpremium[ -]?economy\b"),
    "Business": re.compile(r"\bbusiness(?: class)?\b(?! (?:trip|meeting|travel|partner|conference))"),
    "First": re.compile(r"\b(?:1st|first|1)[ -]class\b"),
    "Economy": re.compile(r"\b(?:economy|coach)\b"),
}
CATEGORIES = {
    "Music": re.compile(r"\b(?:music(?:al acts?)?|concerts?|gigs?|tamasha|muziki)\b"),
    "Sports": re.compile(r"\b(?:sports?|sporting|games?|match(?:es)?|mechi|michezo)\b"),
    "Theater": re.compile(
        r"\b(?:theat(?:er|re) (?:shows?|plays?|performances?|events?)|broadway|stage plays?|opera|ballet)\b"
    ),
    "Comedy": re.compile(r"\b(?:comedy|stand[ -]?up)\b"),
}

FLIGHTS = Frame((
    Slot("origin", Kind.ORIGIN), Slot("destination", Kind.DESTINATION),
    Slot("departure_date", Kind.DAY, _GO), Slot("return_date", Kind.DAY, _BACK),
    Slot("passengers", Kind.COUNT, PEOPLE), Slot("cabin_class", Kind.CHOICE, choices=CABINS),
))  # fmt: skip
BUSES = Frame((
    Slot("origin", Kind.ORIGIN), Slot("destination", Kind.DESTINATION), Slot("travel_date", Kind.DAY, _GO),
    Slot("travel_time", Kind.CLOCK), Slot("passengers", Kind.COUNT, PEOPLE),
))  # fmt: skip
TRANSFERS = Frame((
    Slot("destination", Kind.DESTINATION), Slot("origin", Kind.ORIGIN), Slot("travel_date", Kind.DAY, _GO),
    Slot("passengers", Kind.COUNT, PEOPLE),
))  # fmt: skip
HOTELS = Frame((
    Slot("location", Kind.LOCATION), Slot("check_in_date", Kind.DAY, _IN), Slot("check_out_date", Kind.DAY, _OUT),
    Slot("nights", Kind.COUNT, NIGHTS), Slot("rooms", Kind.COUNT, ROOMS), Slot("guests", Kind.COUNT, GUESTS),
))  # fmt: skip
EVENTS = Frame((
    Slot("location", Kind.LOCATION), Slot("event_date", Kind.DAY, None),
    Slot("category", Kind.CHOICE, choices=CATEGORIES),
))  # fmt: skip

_RIDE = (
    r"(?:taxis?|cabs?|uber|bolt|lyft|little cab|indrive|shuttles?|transfers?(?= (?:from|to) (?:the )?airport)"
    r"|airport (?:transfer|pick-?up|shuttle)|teksi)"
)
ASK = {
    "search_flights": _opens(
        r"\b(?:flights?|air ?fares?|air ?tickets?|plane tickets?|air ?plane tickets?|airline tickets?)\b",
        r"\b(?:fly|flying)\b(?! (?:a kite|solo))", r"\b(?:ndege|flaiti)\b",
        r"\bseats? (?:on|in) (?:a|an|the|that|any) (?:air|aero)?planes?\b",
        r"\b(?:one[- ]?way|round[- ]?trip|return) (?:air )?tickets?\b",
        r"\b(?:economy|business|first) class tickets?\b", r"\bpremium economy\b",
    ),
    "search_buses": _opens(r"\b(?:bus(?:es)?|coach(?:es)?|matatu|basi|mabasi|shuttle bus)\b"),
    "search_transfers": _opens(
        rf"\b{_RIDE}\b",
        r"\b(?:need|want|get|book|find|order|call|take|give|share|shared) (?:me |us )?(?:a |an |another "
r"|the )?(?:ride|lift)\b",
        r"\b(?:rides? (?:to|from|home|for)|pick me up)\b",
    ),
    "search_hotels": _opens(
        r"\b(?:hotels?|motels?|hostels?|airbnb|air ?bnb|guest ?house|lodges?|lodging|accommodation|accomodation"
r"|resorts?|bnb|b&b|hoteli|malazi|lojing)\b",
        r"\b(?:place|somewhere|apartment|house|room) to (?:stay|sleep|rent|crash)\b",
        r"\b(?:book|need|reserve|find|get)\b.{0,25}\brooms?\b(?! (?:temperature|mate|service))",
        r"\breservations? in\b",
        r"\b(?:rent|book|reserve)\b.{0,20}\b(?:house|app?artments?|villa)\b", r"\bpa kulala\b|\bmahali pa kulala\b",
    ),
    "search_events": _opens(
        r"\b(?:events?|concerts?|gigs?|festivals?|shows?|exhibitions?|theat(?:er|re)|sports? games?|matafrija"
r"|matamasha|tamasha|matukio)\b",
        r"\b(?:things?|stuff|something|anything|what's there|what is there) (?:fun |interesting |cool |exciting "
r"|good )?to do\b",
        r"\bwhat(?:'s| is) (?:on|happening|going on) (?:in|at|around|near|this|on|tonight|tomorrow)\b",
        r"\b[^\W\d_]+ (?:vs|v|versus)\b\.? [^\W\d_]+", r"\btickets? for [^\W\d_]+ [^\W\d_]+ (?:in|at|on)\b",
        r"\b(?:tickets?) (?:to|for) (?:a|an|the)?\b.{0,30}\b(?:games?|match|vs|versus|play)\b",
        r"\b(?:games?|match(?:es)?)\b",
    ),
}  # fmt: skip
"""Words that each action is hardly asked for without: a guess without them must be surer."""
FRAMES = {
    "search_flights": FLIGHTS, "search_buses": BUSES, "search_transfers": TRANSFERS, "search_hotels": HOTELS,
    "search_events": EVENTS,
}  # fmt: skip
