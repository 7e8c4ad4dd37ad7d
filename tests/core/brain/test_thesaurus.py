"""What a word is about: whichever language it is of, and however a verb is put together."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brain.thesaurus import WORDS, concepts, read, thesaurus, together

WORD = re.compile(r"[a-z][a-z'-]*(?:_[a-z'-]+)?-?")


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("send sent nitumie umtumie nimemtumia tuma hajatumwa nisendie", "send"),
        ("pay paying lipa mlipe alinilipa nitakulipa wamelipwa", "pay"),
        ("cancel cancelled ghairi kughairi umeghairi", "cancel"),
        ("remind nikumbushe usinikumbushe watukumbushe unikumbushe", "remind"),
        ("delete futa nifutie uzifute ifutwe", "delete"),
        ("invoice invoices ankara", "invoice"),
        ("money cash pesa doh ganji chapaa", "money"),
        ("rain raining mvua", "rain"),
    ],
)
def test_words_of_every_language_are_about_the_same(words: str, about: str) -> None:
    assert [word for word in words.split() if about not in concepts(word)] == []


def test_two_words_can_be_one() -> None:
    assert together("pick", "up")
    assert not together("pick", "sky")


@pytest.mark.parametrize("word", ["", "x", "otieno", "wanjiku", "<money>", "qzxv", "nini-" * 9])
def test_of_others_nothing_is_known(word: str) -> None:
    assert concepts(word) == ()


@given(st.text(max_size=60) | st.text("aeiklmnptuw", max_size=30))
def test_any_text_has_an_answer(text: str) -> None:
    assert all(isinstance(concept, str) for concept in thesaurus().of(text))


def test_the_file_is_in_order() -> None:
    rows = [line.split("\t") for line in WORDS.read_text("ascii").splitlines()]
    names = [row[0] for row in rows]
    assert len(set(names)) == len(names)
    assert {len(row) for row in rows} == {4}
    assert [word for _, *tongues in rows for word in " ".join(tongues).split() if not WORD.fullmatch(word)] == []
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z-]*", name)] == []


@pytest.mark.parametrize("line", ["", "send", "send\tsend\ttum-", "send\tsend\ttum-\tsare\tmore"])
def test_a_line_of_other_than_four_fields_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="4 fields"):
        read(f"pay\tpay\tlip-\tlipa\n{line}\n")
