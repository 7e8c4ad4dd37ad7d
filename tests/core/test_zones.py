"""Zones by the names people use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.countries import of_zone
from core.zones import find


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("Africa/Nairobi", "Africa/Nairobi"),
        ("africa/dar_es_salaam", "Africa/Dar_es_Salaam"),
        ("Nairobi", "Africa/Nairobi"),
        ("mombasa", "Africa/Nairobi"),
        ("Mombassa", "Africa/Nairobi"),
        ("New York", "America/New_York"),
        ("Kenya", "Africa/Nairobi"),
        ("Uganda", "Africa/Kampala"),
        ("UK", "Europe/London"),
        ("Germany", "Europe/Berlin"),
        ("Uingereza", "Europe/London"),
        ("London, UK", "Europe/London"),
        ("UTC", "UTC"),
        ("United States", None),
        ("marekani", None),
        ("Atlantis", None),
        ("", None),
        ("../../etc/passwd", None),
    ],
)
def test_names(written: str, zone: str | None) -> None:
    assert find(written) == zone


@given(st.text(max_size=200))
def test_no_text_breaks_it(written: str) -> None:
    zone = find(written)
    assert zone is None or "/" in zone or zone == "UTC"


def test_countries() -> None:
    assert of_zone("Africa/Nairobi") == "KE"
    assert of_zone("UTC") is None
