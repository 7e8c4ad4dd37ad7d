"""Slips are put right where they can only be one word, and words that are merely rare stay."""

import pytest

from core.brain import train
from core.brain.spelling import WORDS, spelling
from core.brain.words import said


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("nikumbshe kesho", "nikumbushe kesho"),
        ("tfdhl nisaide", "tafadhali nisaidie"),
        ("xaxa", "sasa"),
        ("2naomba ki2", "tunaomba kitu"),
        ("hbr", "habari"),
        ("wheather", "weather"),
        ("apointment", "appointment"),
        ("reciept", "receipt"),
        ("pleaaase", "please"),
        ("walet", "wallet"),
        ("nikumbxhe kwny nafac hyo", "nikumbushe kwenye nafasi hiyo"),
        ("psa za mawacliano", "pesa za mawasiliano"),
        ("saa3 asbh", "saa 3 asubuhi"),
    ],
)
def test_a_slip_is_the_word_it_can_only_be(written: str, right: str) -> None:
    assert said(written).plain == right


@pytest.mark.parametrize(
    "text",
    [
        "mwangi otieno asha njoroge achieng",
        "planet looked booked nearly yearly billion kwacha relax grandpa stormy mount",
        "natoka tunatoka",
        "bbc calgary analia mto jamaa kasi maktaba sanaa dkk cfa",
        "thursdays and mondays",
        "kong png jpy hnd cpt",
        "2pm 2nd day2 v2 a2",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert said(text).plain == text


def test_what_people_read_again_stays_as_they_wrote_it() -> None:
    heard = said("nikumbshe kupiga ximu")
    assert heard.written == "nikumbshe kupiga ximu"
    assert heard.words(0, len("nikumbushe")) == "nikumbshe"


def test_long_and_strange_words_cost_little() -> None:
    for word in ("a" * 100_000, "bcd" * 30_000, "é" * 1000, "x" * 24):
        assert spelling().right(word) in (word, word.replace("x", "s"))


def test_the_words_are_those_of_the_lines() -> None:
    assert WORDS.read_text("ascii") == train.words_of(train.UTTERANCES)


UNITS = "k m b am pm kg km mb gb x bob hrs h min s d days wk yr nd th ksh kes sh mil pax l"


@pytest.mark.parametrize("unit", UNITS.split())
def test_two_of_anything_stays_two(unit: str) -> None:
    assert said(f"send 2{unit} to Asha").plain == f"send 2{unit} to asha"
    assert "2" in said(f"2 {unit}").plain
