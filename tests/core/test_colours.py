"""Whatever colour an owner chooses, everything drawn with it can be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.colours import (
    DARK_GROUND,
    DARK_MUTED,
    DARK_TEXT,
    LIGHT_GROUND,
    LIGHT_MUTED,
    LIGHT_TEXT,
    READABLE,
    Colour,
    contrast,
    palette,
    parse_colour,
)
from core.errors import InvalidSlot


def rgb(written: str) -> Colour:
    return int(written[1:3], 16), int(written[3:5], 16), int(written[5:7], 16)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_text_of_every_palette_is_readable(colour: tuple[int, int, int]) -> None:
    made = palette("#{:02x}{:02x}{:02x}".format(*colour))
    assert rgb(made.accent) == colour
    pairs = [
        (rgb(made.on), rgb(made.accent)),
        *((rgb(made.ink), ground) for ground in (LIGHT_GROUND, LIGHT_MUTED, rgb(made.own))),
        *((rgb(made.ink_dark), ground) for ground in (DARK_GROUND, DARK_MUTED, rgb(made.own_dark))),
        (LIGHT_TEXT, rgb(made.own)),
        (DARK_TEXT, rgb(made.own_dark)),
    ]
    assert min(contrast(text, ground) for text, ground in pairs) >= READABLE


def test_contrast_is_wcags() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((0x76, 0x76, 0x76), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


def test_our_own_green_stays_as_it_is() -> None:
    made = palette("#0b6b4f")
    assert (made.accent, made.on) == ("#0b6b4f", "#ffffff")


@pytest.mark.parametrize(("written", "parsed"), [("#ABC", "#aabbcc"), (" 0B6B4F ", "#0b6b4f"), ("#fff", "#ffffff")])
def test_colours_are_written_one_way(written: str, parsed: str) -> None:
    assert parse_colour(written) == parsed


@pytest.mark.parametrize("written", ["", "green", "#12", "#12345", "#gggggg", "#0b6b4f80", "#0b6b4f;x:y", "#١٢٣"])
def test_what_is_no_colour_is_refused(written: str) -> None:
    with pytest.raises(InvalidSlot, match="#0b6b4f"):
        parse_colour(written)
