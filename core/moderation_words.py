"""The judge that needs no model: words and phrases of abuse in English, Swahili and Sheng, under a label each. Pure.

It knows few words and is sure of them. What names a people, a faith or a body part without insult is not here.
"""

import re

from core.brain.words import listed, said

JUDGE = "word list"
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})

_OBSCENE = listed(
    "fuck fucks fucked fucking fucker motherfucker fck fuk cunt cocksucker wank wanker dickhead arsehole asshole "
    "bullshit shithead whore slut kuma mkundu matako mboro kumamako kumanina kumanyoko tombwa kutombwa tomba firwa "
    "msenge malaya senge"
)
_INSULT = listed(
    "bitch bastard moron retard scumbag imbecile mjinga wajinga mpumbavu wapumbavu pumbavu mshenzi washenzi shenzi "
    "fala mafala mbwakoko zuzu bwege kichwamaji"
)
_THREAT = (
    r"\b(?:i will|i'll|i am going to|i'm going to|gonna|we will|we'll) (?:kill|murder|stab|shoot|rape|beat|burn|hurt) "
    r"(?:you|your (?:family|children|kids|wife|husband|mother|house))\b",
    r"\bi hope you die\b|\bgo (?:and )?die\b|\bkill yourself\b|\byou(?: are|'re) dead meat\b",
    r"\bnita(?:kuua|kuchinja|kupiga risasi|kuchoma|kubaka|kudunga|kumaliza)\b|\btuta(?:kuua|kuchoma|kumaliza)\b"
    r"|\bnitakupiga (?:hadi|mpaka) (?:ufe|kufa)\b|\bkufa wewe\b|\bufe tu\b|\bnitakutoa roho\b|\bnitakumada\b",
)
_HATE = (
    r"\bmadoadoa\b|\b(?:kill|exterminate|burn) (?:all|those) (?:\w+ ){0,2}(?:people|tribe|immigrants|refugees)\b",
    r"\b(?:nigger|nigga|kaffir|faggot|tranny)s?\b|\b(?:watu|kabila) (?:hao|hilo) (?:wauawe|liondoke|wachomwe)\b",
)
_LABELS = (("threat", _THREAT), ("identity_hate", _HATE))


def judge(text: str) -> dict[str, float]:
    """The labels of a text, each with a score of 1; empty for nearly everything people write."""
    plain = said(text).plain
    words = {word for form in (plain, plain.translate(_LEET)) for word in re.findall(r"[^\W\d_]+", form)}
    found: dict[str, float] = {}
    if words & _OBSCENE:
        found["obscene"] = 1.0
    if words & _INSULT and _to_somebody(plain):
        found["insult"] = 1.0
    for label, patterns in _LABELS:
        if any(re.search(pattern, plain) for pattern in patterns):
            found[label] = 1.0
    return found


def _to_somebody(plain: str) -> bool:
    """Whether an insult is thrown at whoever reads it: "mjinga wewe", not "how do I say mjinga"."""
    if re.search(r"\b(?:you|your|u|wewe|nyinyi|ninyi|bot|robot|mathia|ww)\b", plain):
        return not re.search(r"\b(?:mean|translate|say|maana|tafsiri|called me|aliniita)\b", plain)
    return len(plain.split()) <= 2
