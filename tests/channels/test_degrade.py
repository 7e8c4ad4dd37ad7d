"""Rich parts as text, and text that fits."""

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from channels.degrade import CUT, fit, inbound_text, plain, split, units
from core.messages import TEXT_CHARS_MAX, Choices, Location, Media, Part, Text


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ((), ""),
        ((Text(text="Habari"),), "Habari"),
        ((Text(text=""), Text(text="there")), "there"),
        ((Text(text="Which one?"), Choices(options=("Nairobi", "Mombasa"))), "Which one?\n\n1. Nairobi\n2. Mombasa"),
        ((Location(latitude=-1.286389, longitude=36.817223, label="KICC"),), "KICC (-1.286389, 36.817223)"),
        ((Location(latitude=0, longitude=-0.5),), "0.000000, -0.500000"),
        ((Media(media_type="image/png", ref="https://x.example/a.png", caption="Look"),), "Look\nhttps://x.example/a.png"),
        ((Media(media_type="image/png", ref="AgAC-file-id", filename="a.png"),), "a.png"),
    ],
    ids=["nothing", "text", "empty text", "choices", "place", "bare place", "file", "file without address"],
)  # fmt: skip
def test_parts_become_text(parts: tuple[Part, ...], shown: str) -> None:
    assert plain(parts) == shown


@examples(deadline=None)
@given(st.text(max_size=400), st.integers(2, 60))
def test_pieces_fit_and_nothing_but_white_space_is_lost(text: str, units_max: int) -> None:
    pieces = split(text, units_max)
    assert all(0 < units(piece) <= units_max for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@examples(deadline=None)
@given(st.text(st.sampled_from("ab. \n😀é"), max_size=300), st.integers(3, 40))
def test_fitted_text_is_whole_or_says_that_it_was_cut(text: str, units_max: int) -> None:
    fitted = fit(text, units_max)
    assert units(fitted) <= units_max
    assert fitted == text.strip() or (fitted.endswith("…") and text.strip().startswith(fitted[:-1]))


@examples(deadline=None)
@given(st.text())
def test_units_are_those_of_utf_16(text: str) -> None:
    assert units(text) == len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("text", "units_max", "pieces"),
    [
        ("One two.\n\nThree four.", 14, ["One two.", "Three four."]),
        ("Is it? Yes it is so.", 14, ["Is it?", "Yes it is so."]),
        ('He said "no." Then he left.', 18, ['He said "no."', "Then he left."]),
        ("line one\nline two", 12, ["line one", "line two"]),
        ("some words here", 11, ["some words", "here"]),
        ("unbreakable", 4, ["unbr", "eaka", "ble"]),
        ("😀😀😀", 3, ["😀", "😀", "😀"]),
        ("A. word word word word", 20, ["A. word word word", "word"]),
    ],
    ids=["paragraph", "sentence", "quote", "line", "word", "anywhere", "surrogates", "not too early"],
)  # fmt: skip
def test_text_is_cut_where_a_reader_would(text: str, units_max: int, pieces: list[str]) -> None:
    assert split(text, units_max) == pieces


def test_a_piece_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        split("x", 1)


def test_inbound_text_that_is_too_long_says_so() -> None:
    whole = "x" * TEXT_CHARS_MAX
    assert inbound_text("") == ()
    assert inbound_text(whole) == (Text(text=whole),)
    assert inbound_text(whole + "y") == (Text(text=whole), Text(text=CUT))
