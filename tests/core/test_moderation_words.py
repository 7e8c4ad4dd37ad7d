"""The list of words: abuse in three languages, and the talk of every day that only looks like it."""

import pytest

from core.errors import ProviderUnavailable
from core.moderation import APPEAL, scores_of
from core.moderation_words import judge


@pytest.mark.parametrize(
    ("text", "label"),
    [("fuck you", "obscene"), ("F U C K you, fucker", "obscene"), ("sh1thead", "obscene"), ("you moron", "insult"),
     ("mjinga wewe", "insult"), ("wewe ni mpumbavu sana", "insult"), ("we fala ww", "insult"),
     ("I'm going to kill you", "threat"), ("nitakuua kesho", "threat"), ("kumanina", "obscene"),
     ("kill all those refugees", "identity_hate"), ("toa hao madoadoa", "identity_hate")],
)  # fmt: skip
def test_abuse_is_found(text: str, label: str) -> None:
    assert label in judge(text)


@pytest.mark.parametrize(
    "text",
    ["", "remind me to kill the process at 5", "nimechoka kabisa leo", "what does mjinga mean?", "ng'ombe wawili",
     "my class has a cocktail and a classic bass", "Dick Cheney's office in Scunthorpe",
     "nikumbushe kununua nyama ya kuku",
     "how do I say moron in French?", "the deadline will kill me", "mbwa wangu anaitwa Simba", "Essex, Sussex"],
)  # fmt: skip
def test_everyday_talk_is_not(text: str) -> None:
    assert judge(text) == {}


@pytest.mark.parametrize(
    "text", ["appeal", "Appeal!", "I want to appeal", "rufaa", "naomba rufaa", "Nataka kukata rufaa"]
)
def test_an_appeal_is_understood(text: str) -> None:
    assert APPEAL.fullmatch(text)


def test_both_forms_of_the_models_answer_are_read() -> None:
    flat = [{"label": "toxic", "score": 0.98}, {"label": "threat", "score": 0.01}]
    assert scores_of(flat, 1) == scores_of([flat], 1) == [{"toxic": 0.98, "threat": 0.01}]
    assert scores_of([flat, flat], 2) == [{"toxic": 0.98, "threat": 0.01}] * 2


@pytest.mark.parametrize("answer", [None, {}, [], "x", [[]] * 2, [[{"label": "toxic"}]], [{"score": 1}], [["x"]]])
def test_any_other_answer_is_none(answer: object) -> None:
    with pytest.raises(ProviderUnavailable):
        scores_of(answer, 1)
