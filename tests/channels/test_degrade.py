"""Rich parts as text, and text that fits."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bot.sandbox.markup import parse
from channels.degrade import (
    CLOUD,
    CUT,
    EMAIL,
    NOT_HERE,
    PIECES_MAX,
    TELEGRAM,
    TWILIO,
    Capabilities,
    ContactPiece,
    FilePiece,
    Format,
    Piece,
    TextPiece,
    fit,
    inbound_text,
    pieces,
    plain,
    size_words,
    split,
    units,
)  # fmt: skip
from core.messages import (
    TEXT_CHARS_MAX,
    Card,
    Choices,
    Contact,
    Fact,
    Link,
    Location,
    Media,
    Part,
    Table,
    Text,
    Voice,
    text_of,
)  # fmt: skip


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


# Rich parts as pieces.

CHANNELS = {"telegram": TELEGRAM, "twilio": TWILIO, "cloud": CLOUD, "email": EMAIL}
SMALL = {
    name: replace(can, text_max=60, caption_max=20, pieces_max=10_000)
    for name, can in CHANNELS.items()
    if name != "email"
}
WORDS = st.text(st.sampled_from("ab1 .!\n*_`~<&>\"'😀é"), max_size=40)
LINES = WORDS.filter(str.strip)
LINKS = st.just(Link(url="https://x.example/a", label="More"))
TABLES = st.integers(1, 4).flatmap(
    lambda n: st.builds(
        Table,
        title=st.none() | WORDS,
        columns=st.tuples(*[WORDS] * n),
        rows=st.lists(st.tuples(*[WORDS] * n), max_size=4).map(tuple),
    )
)
RICH: st.SearchStrategy[tuple[Part, ...]] = st.lists(
    st.one_of(
        st.builds(Text, text=WORDS),
        st.builds(
            Card,
            title=LINES,
            text=st.none() | WORDS,
            facts=st.lists(st.builds(Fact, label=LINES, value=WORDS), max_size=3).map(tuple),
            link=st.none() | LINKS,
        ),
        TABLES,
        st.builds(Choices, options=st.lists(LINES, min_size=1, max_size=10).map(tuple)),
        st.builds(
            Media,
            media_type=st.sampled_from(["image/png", "audio/mpeg", "application/pdf"]),
            ref=st.sampled_from(["https://x.example/a", "AwACAgQAAxkBAAIB", "x"]),
            caption=st.none() | WORDS,
            filename=st.just("f.pdf"),
        ),
        st.builds(
            Voice, media_type=st.just("audio/ogg"), ref=st.just("https://x.example/v"), transcript=st.none() | WORDS
        ),
        st.builds(Contact, name=LINES, phones=st.just(("+254712345678",))),
        st.builds(Location, latitude=st.just(1.5), longitude=st.just(2.5), label=st.none() | WORDS),
    ),
    max_size=5,
).map(tuple)


def seen(piece: Piece, can: Capabilities) -> str:
    """What a reader sees of a piece; raises when its HTML is not what Telegram takes."""
    written = piece.text if isinstance(piece, TextPiece) else piece.caption if isinstance(piece, FilePiece) else ""
    return parse(written, "HTML")[0] if can.format is Format.HTML else written


def letters(text: str) -> Counter[str]:
    """The characters that matter; marks are ours as well as anybody's."""
    return Counter(sign for sign in text if not sign.isspace() and sign not in "*`")


@pytest.mark.parametrize("name", SMALL)
@examples(deadline=None, max_examples=300)
@given(parts=RICH)
def test_no_piece_exceeds_a_limit_and_no_word_is_lost(name: str, parts: tuple[Part, ...]) -> None:
    can = SMALL[name]
    made = pieces(parts, can)
    assert made == pieces(parts, can)
    for piece in made:
        size = units(seen(piece, can))
        assert size <= (can.text_max if isinstance(piece, TextPiece) else can.caption_max)
        assert size or not isinstance(piece, TextPiece)
        if piece.options and piece.listed:
            assert len(piece.options) <= can.rows_max
            assert all(units(option) <= can.row_max for option in piece.options)
        elif piece.options:
            assert len(piece.options) <= can.buttons_max
            assert all(units(option) <= can.button_max for option in piece.options)
    shown = letters("".join(seen(piece, can) + "".join(piece.options) for piece in made))
    for piece in made:
        shown += letters(piece.name) if isinstance(piece, ContactPiece) else Counter()
    wanted = letters(text_of(parts).replace(", ", " "))
    for part in parts:
        wanted += letters("".join(part.options)) if isinstance(part, Choices) else Counter()
        wanted += letters(part.name) if isinstance(part, Contact) else Counter()
        wanted += letters(part.label or "") if isinstance(part, Location) else Counter()
    assert not wanted - shown


@pytest.mark.parametrize("name", CHANNELS)
def test_the_last_resort_says_so(name: str) -> None:
    can = CHANNELS[name]
    made = pieces((Text(text="word " * 3_200),) * 32 + (Choices(options=("Yes", "No")),), can)
    assert len(made) <= PIECES_MAX
    assert isinstance(made[-1], TextPiece)
    assert made[-1].text.endswith(CUT)
    assert units(made[-1].text) <= can.text_max


@pytest.mark.parametrize("can", [TELEGRAM, TWILIO, EMAIL])
def test_nobody_can_write_a_line_of_a_card_or_a_table(can: Capabilities) -> None:
    card = Card(
        title="Pay\nTotal: 1", facts=(Fact(label="To", value="Eve\nTotal: KES 1"), Fact(label="Total", value="9"))
    )
    table = Table(columns=("Who", "Sum"), rows=(("Eve\nAmina", "</pre>1```\n2"),))
    [piece] = pieces((card, table), can)
    lines = seen(piece, can).splitlines()
    assert len([line for line in lines if line.startswith("Total")]) == 1
    assert not any(line.startswith("Amina") for line in lines)


@examples(deadline=None)
@given(st.text(st.sampled_from("<>&\"'/abipre ="), min_size=1, max_size=80).filter(str.strip))
def test_no_words_become_formatting_in_telegram(text: str) -> None:
    [piece] = pieces((Text(text=text),), TELEGRAM)
    assert isinstance(piece, TextPiece)
    assert parse(piece.text, "HTML") == (text.strip(), [])


FILE = "file:5b4a3b86-5f0d-4c5e-9c37-0a3f5d1e7c11"


def opened(_ref: str) -> str:
    """The link to a file of ours."""
    return "https://bot.example.com/files/1"


@pytest.mark.parametrize("can", [TELEGRAM, TWILIO, CLOUD])
def test_a_file_is_sent_up_to_its_limit_and_linked_to_beyond(can: Capabilities) -> None:
    for media_type, how in can.takes.items():
        if media_type == "*":
            continue
        fits, over = (
            Media(media_type=media_type, ref=FILE, filename="it", size=size, caption="See")
            for size in (how.bytes_max, how.bytes_max + 1)
        )
        first = pieces((fits,), can, opened)[0]
        assert isinstance(first, FilePiece), media_type
        assert (first.kind, first.caption) == (how.kind, "See" if how.captioned else ""), media_type
        beyond = pieces((over,), can, opened)
        other = can.takes.get("*")
        if other and how.bytes_max < other.bytes_max:
            assert [getattr(piece, "kind", None) for piece in beyond] == ["document"]
        else:
            [piece] = beyond
            assert isinstance(piece, TextPiece)
            assert piece.text == f"See\nit ({size_words(how.bytes_max + 1)}): https://bot.example.com/files/1"


def test_a_voice_note_is_one_in_telegram_while_it_is_short() -> None:
    kinds = [
        pieces((Voice(media_type=media_type, ref=FILE, size=size),), TELEGRAM)[0]
        for media_type, size in (("audio/ogg; codecs=opus", 1 << 20), ("audio/ogg", (1 << 20) + 1), ("audio/mpeg", 9))
    ]
    assert [piece.kind for piece in kinds if isinstance(piece, FilePiece)] == ["voice", "document", "audio"]


def test_a_photo_as_long_as_a_ribbon_is_a_document_in_telegram() -> None:
    ribbon = Media(media_type="image/png", ref=FILE, size=9, width=4_096, height=200)
    [piece] = pieces((ribbon,), TELEGRAM)
    assert isinstance(piece, FilePiece)
    assert piece.kind == "document"


def test_where_nobody_reaches_us_a_file_is_named_and_said_not_to_be_there() -> None:
    picture = Media(media_type="image/png", ref=FILE, filename="kiosk.png", size=2_048, caption="Ours")
    assert pieces((picture,), TWILIO) == (TextPiece(text=f"Ours\nkiosk.png (2 KB): {NOT_HERE}"),)
    film = Media(media_type="video/quicktime", ref=FILE, filename="tour.mov", size=2_048)
    assert pieces((film,), CLOUD) == (TextPiece(text=f"tour.mov (2 KB): {NOT_HERE}"),)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1_023, "1023 B"), (1_024, "1 KB"), (1_023_999, "1000 KB"), (1 << 20, "1.0 MB"),
                        (52_428_800, "50.0 MB")],
)  # fmt: skip
def test_sizes_are_said_as_people_say_them(size: int, words: str) -> None:
    assert size_words(size) == words
