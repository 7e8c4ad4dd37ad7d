"""What people say about documents they sent: sum it up, or what does it say about something. Pure patterns.

A document's own words never come here: only what the person wrote or said about it.
"""

import re
from typing import TYPE_CHECKING

from core.brain.words import Said

if TYPE_CHECKING:
    from pydantic import JsonValue

QUESTION_CHARS_MAX = 300

_FILE = re.compile(r"[\w][\w()&+-]*(?:[ .][\w()&+-]+){0,8}\.(?:pdf|docx|xlsx|csv|tsv|txt|md|png|jpe?g|webp)\b")
_NAME_LEAD = re.compile(
    r"^(?:.*\b(?:summari[sz]e|summary of|sum up|does|do|in|of|to|the|this|my|our|file|document|ask|search|called|named"
    r"|fupisha|muhtasari wa|hati|faili|waraka|kwenye|katika)\b )+"
)
_NAMED = (
    r"(?:contract|lease|agreement|report|letter|invoice|quotation|quote|statement|policy|minutes|memo|proposal|cv"
    r"|resume|receipt|manual|tender|budget|spreadsheet|presentation)"
)
_ANY = r"(?:document|doc|file|pdf|attachment|paper|text|scan|docx|xlsx|csv|sheet|workbook|table|page|pages)"
_DOC = rf"(?:{_NAMED}|{_ANY}|\S{{1,80}}\.(?:pdf|docx|xlsx|csv|tsv|txt|md|png|jpe?g|webp))"
_THE = r"(?:the|this|that|my|our|these|your|his|her|their|attached|last|latest|new|whole|uploaded)"
_JINA = r"(?:mkataba|ripoti|barua|ankara|risiti|bajeti|makubaliano)"
_HATI = rf"(?:{_JINA}|hati|waraka|nyaraka|faili|pdf|karatasi|jedwali|kiambatisho|\S{{1,80}}\.(?:pdf|docx|xlsx|csv|txt))"
_HII = r"(?: (?:hii|hiyo|huu|huo|hili|hilo|hizi|yangu|wangu|yake|niliyotuma|niliyokutumia))?"
_VERB = r"(?:says?|states?|mentions?|requires?|specif(?:y|ies)|tells? (?:me|us))"
_HINT = re.compile(rf"\b(?:{_NAMED}|{_JINA})\b")


def _opens(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


SUMMARISE = _opens(
    rf"\b(?:summari[sz]e|sum up|recap)\b(?: \S+){{0,4}}? (?:{_THE} )*{_DOC}\b",
    r"\b(?:summari[sz]e|sum) (?:this|it|that|these)(?: up)?(?: for me)?(?:[ ,]*(?:please|now|in \w+))?\W*$",
    r"^\W*(?:please |kindly |can you |could you )*(?:summari[sz]e|summary|tl;? ?dr|sum up)(?: please)?\W*$",
    rf"\b(?:summary|overview|key points|main points|gist) (?:of|from|in) (?:{_THE} )*(?:{_DOC}|this|it|that)\b",
    rf"\bwhat(?:'s| is) (?:in )?(?:{_THE} )+{_DOC}(?: all)? about\b",
    rf"\bwhat(?:'s| is) in (?:{_THE} )+{_DOC}\W*$",
    rf"\b(?:u?ni)?fupish(?:a|ie|e|ia)\b(?: \S+){{0,2}}? ?{_HATI}\b",
    r"\b(?:u?ni)?fupish(?:a|ie|e|ia)(?: (?:hii|hiyo|hili|huu))?(?: tafadhali)?\W*$",
    rf"\b(?:muhtasari|ufupisho)(?: (?:wa|ya|kuhusu)(?: \S+){{0,2}}? ?{_HATI}\b|(?: tafadhali)?\W*$)",
    rf"\b{_HATI}{_HII} (?:ina|una|inahusu|unahusu|inazungumzia|unazungumzia) nini\W*$",
)
ASK = _opens(
    rf"\bwhat(?:'s| is| does| do| did)? (?:{_THE} )+(?:\S+ ){{0,2}}?{_DOC} (?:\S+ )?{_VERB}\b"
    r"(?: (?:about|on|regarding|of|for))?",
    rf"\b(?:does|do|did) (?:{_THE} )+(?:\S+ ){{0,2}}?{_DOC} (?:\S+ )?(?:say|state|mention|require|specify|cover|allow"
    r"|include)\b(?: (?:anything|something))?(?: (?:about|on|regarding))?",
    rf"\b(?:according to|as per|based on|from|going by) (?:{_THE} )+(?:\S+ ){{0,2}}?{_DOC}\b(?=[ ,:]+\S)",
    rf"^\W*(?:in|on) (?:{_THE} )+(?:\S+ ){{0,2}}?{_DOC}\b(?=[ ,:]+(?:what|when|who|where|which|how|is|are|does|do"
    r"|find|can|must)\b)",
    rf"\b(?:ask|search|look (?:in|through|into)|check|query) (?:{_THE} )+(?:\S+ ){{0,2}}?{_DOC}\b"
    r"(?: (?:for|about|whether|if))?(?=[ ,:]+\S)",
    rf"\b{_HATI}{_HII} \w{{0,4}}(?:sema|eleza|taja|onyesha)\w{{0,3}}(?: nini)?(?: (?:kuhusu|juu ya))?(?=[ ,:]+\S)",
    rf"\bwhat(?:'s| is| does| do| did)? (?:it|this|that|{_FILE.pattern}) {_VERB} (?:about|on|regarding)\b",
    r"\bdoes (?:it|this|that) (?:say|state|mention|require|specify|cover) (?:anything|something)"
    r" (?:about|on|regarding)\b",
    r"\b(?:i|u|li|ya)na(?:sema|eleza|taja|onyesha) (?:nini|chochote|lolote)"
    r" (?:kuhusu|juu ya)\b",
    rf"\b(?:kwa mujibu wa|kulingana na|kwenye|katika) {_HATI}{_HII}(?=[ ,:]+\S)",
    rf"\b(?:tafuta|angalia) (?:kwenye|katika|ndani ya) {_HATI}{_HII}(?=[ ,:]+\S)",
)
OTHER = _opens(
    r"\bremind (?:me|us)\b", r"\b(?:u?nikumbushe|kikumbusho)\b", r"\b(?:create|send|make|pay)\b.{0,20}\binvoice\b"
)


def file(said: Said, _: int) -> dict[str, "JsonValue"]:
    """Which file is meant, where one is named: by its whole name, or by what it is called ("the lease")."""
    low = said.plain
    named = _FILE.search(low)
    if named is not None:
        lead = _NAME_LEAD.match(low[named.start() : named.end()])
        start = named.start() + (lead.end() if lead else 0)
        return {"file": said.words(start, named.end()).strip()}
    hint = _HINT.search(low)
    return {"file": hint[0]} if hint is not None else {}


def question(said: Said, after: int) -> dict[str, "JsonValue"]:
    """Which file is asked, and what: the words after those that opened the gate."""
    asked = said.words(after, len(said.plain)).strip(" ,.:;!?\n-\"'")[:QUESTION_CHARS_MAX]
    return {**file(said, after), **({"question": asked} if asked else {})}
