"""The language a message is in, and sentences that exist in both."""

from collections import Counter
from datetime import date, datetime
from pathlib import Path

import pytest

import core.brain
from core.language import Plural, Saying, day, heard, moment, spoken

UTTERANCES = Path(core.brain.__file__).parent / "utterances"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hali ya hewa Nairobi", "sw"),
        ("nimelipa kodi", "sw"),
        ("Asante sana!", "sw"),
        ("kesho je?", "sw"),
        ("nikumbushe kesho nicall client about invoice", "sw"),
        ("hali ya hewa in Nairobi", "sw"),
        ("/remind kesho saa mbili kununua maziwa", "sw"),
        ("what is the weather in Mombasa?", "en"),
        ("remind me kesho to call mama", "en"),
        ("and in Kisumu?", "en"),
        ("thanks", "en"),
        ("weather Nairobi kesho", None),
        ("/weather Mombasa", None),
        ("Nairobi", None),
        ("cancel", None),
        ("Balance?", None),
        ("cancel it", "en"),
        ("ok", None),
        ("hi", None),
        ("sawa", None),
        ("482913", None),
        ("NA7K-2XYA-WA", None),
        ("https://www.habari.co.ke/kwa/ni", None),
        ("nini@ya.example", None),
        ("👍", None),
        ("", None),
    ],
)
def test_a_text_tells_its_language_or_does_not(text: str, language: str | None) -> None:
    assert heard(text) == language


@pytest.mark.parametrize(
    ("own", "language"), [("sw-KE", "sw"), ("SW", "sw"), ("en-GB", "en"), ("fr", "en"), ("", "en")]
)
def test_people_of_any_language_are_spoken_with_in_one_of_ours(own: str, language: str) -> None:
    assert spoken(own) == language


def test_a_saying_is_filled_in_both_languages_at_once() -> None:
    until = Saying("Until {day}, {name}.", "Hadi {day}, {name}.").filled(day=day(date(2026, 10, 6)), name="Amina")
    assert until == Saying("Until Tue 6 Oct, Amina.", "Hadi Jumanne 6 Okt, Amina.")
    assert (until.to("en"), until.to("sw")) == (until.en, until.sw)
    assert Saying.joined(" ", until, "{x}").sw == "Hadi Jumanne 6 Okt, Amina. {x}"


def test_a_count_has_the_word_that_goes_with_it_in_both_languages() -> None:
    reminders = Plural(
        Saying("{count} reminder for {who}", "kikumbusho {count} cha {who}"),
        Saying("{count} reminders for {who}", "vikumbusho {count} vya {who}"),
    )
    told = {count: reminders.of(count, who="Asha") for count in (0, 1, 2, 1_000)}
    assert [one.en.partition(" for")[0] for one in told.values()] == [
        "0 reminders", "1 reminder", "2 reminders", "1,000 reminders",
    ]  # fmt: skip
    assert [one.sw for one in told.values()][:3] == [
        "vikumbusho 0 vya Asha", "kikumbusho 1 cha Asha", "vikumbusho 2 vya Asha",
    ]  # fmt: skip


def test_another_year_is_named() -> None:
    at = datetime(2027, 1, 1, 9)  # noqa: DTZ001  a wall clock
    assert moment(at, 2026) == Saying("Fri 1 Jan 2027, 09:00", "Ijumaa 1 Jan 2027, 09:00")
    assert moment(at, 2027).en == "Fri 1 Jan, 09:00"


def test_lines_that_the_brain_learns_from_are_taken_for_what_they_are() -> None:
    heard_as: Counter[tuple[str, str | None]] = Counter()
    for path in UTTERANCES.glob("*.txt"):
        language = ""
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("# "):
                language = line[2:]
            elif line:
                heard_as[language, heard(line)] += 1
    for own, other in (("en", "sw"), ("sw", "en")):
        right, wrong, open_ = (heard_as[own, told] for told in (own, other, None))
        assert right > 800
        assert wrong < right / 500
        assert open_ < right / 10
