"""Town names: slips put right, strangers left alone."""

import pytest

from core.brain import places
from core.brain.words import said


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("nairobi", "Nairobi"),
        ("Nairoby", "Nairobi"),
        ("mombassa", "Mombasa"),
        ("new yrok", "New York"),
        ("Dar es Salam", "Dar es Salaam"),
        ("johanesburg", "Johannesburg"),
        ("muranga", "Murang'a"),
        ("joburg", "Johannesburg"),
        ("nakuru, kenya", "Nakuru, kenya"),
        ("Gibsland", "Gibsland"),
        ("Voy", "Voy"),
        ("", ""),
        ("z" * 500, "z" * places.NAME_CHARS_MAX),
    ],
)
def test_a_name_is_called_what_it_is_called(written: str, name: str) -> None:
    assert places.name(written) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("what about dar es salaam then", "Dar es Salaam"),
        ("kisumu's market", "Kisumu"),
        ("a nice day with Karen", None),
        ("nothing here", None),
    ],
)
def test_a_known_town_is_found_in_a_text(text: str, name: str | None) -> None:
    found = places.known(said(text))
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [
        ("kisumu", "kisumu", 0),
        ("kisumo", "kisumu", 1),
        ("kismuu", "kisumu", 1),
        ("isumu", "kisumu", 1),
        ("paris", "perth", 3),
    ],
)
def test_slips_are_counted(one: str, other: str, slips: int) -> None:
    assert places.distance(one, other, 2) == slips
