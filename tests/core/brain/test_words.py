"""Cleaning a message, and numbers in words."""

import pytest

from core.brain.words import TEXT_PARSED_CHARS_MAX, clean, said


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("twenty five minutes", "25 minutes"),
        ("forty-five", "45"),
        ("nine thirty", "9 30"),
        ("two thousand five hundred and ten", "2510"),
        ("one million two hundred thousand", "1200000"),
        ("the twenty-second of May", "the 22nd of may"),
        ("the second of May, in one second", "the 2nd of may, in 1 second"),
        ("kumi na moja", "11"),
        ("saa kumi na mbili na nusu", "saa 12 na nusu"),
        ("ishirini na tano", "25"),
        ("elfu mbili na mia tano", "2500"),
        ("mia mbili hamsini", "200 50"),
        ("laki moja", "100000"),
        ("elfu 5", "5000"),
        ("thao mbili", "2000"),
        ("ngiri nne na soo tatu", "4300"),
        ("i'm soo happy", "i'm soo happy"),
        ("2moro, pls", "tomorrow, please"),
        ("u. s. d.", "u. s. d."),
        ("someone often", "someone often"),
    ],
)
def test_number_words_become_digits(text: str, plain: str) -> None:
    assert said(text).plain == plain


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("５ ｐｍ", "5 pm", id="full width"),
        pytest.param("٣ ۴", "3 4", id="arabic digits"),
        pytest.param("1\u200b0\u200d0", "100", id="zero width joiner"),
        pytest.param("1\u200b0\u206000", "1000", id="zero width in digits"),
        pytest.param("\u202eremind me\u202c", "remind me", id="right-to-left override"),
        pytest.param("a\u00a0\u3000 b\t\tc", "a b c", id="spaces"),
        pytest.param("a\r\n\n  b", "a\nb", id="lines"),
        pytest.param("it’s", "it's", id="quotes"),
        pytest.param("e" + "\u0301" * 4096, "é" + "\u0301" * 3, id="marks"),
        pytest.param("a\x00b\x1b[31m", "a b [31m", id="controls"),
    ],
)
def test_text_is_brought_into_one_form(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_stretch_of_plain_text_is_found_again_as_it_was_written() -> None:
    heard = said("Remind me Tomorow in Twenty Five Mins to call ÅSA")
    start = heard.plain.index("25")
    assert heard.words(start, start + 2) == "Twenty Five"
    start = heard.plain.index("tomorrow")
    assert heard.words(start, len(heard.plain)) == "Tomorow in Twenty Five Mins to call ÅSA"


def test_what_lies_beyond_the_limit_is_kept_aside() -> None:
    text = "ab " * TEXT_PARSED_CHARS_MAX
    heard = said(text)
    assert len(heard.written) <= TEXT_PARSED_CHARS_MAX
    assert heard.rest == text[TEXT_PARSED_CHARS_MAX:]
