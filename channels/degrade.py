"""What a channel shows of rich parts: text in its formatting, buttons, files; and how long text becomes several pieces.

Lengths are UTF-16 code units, which is how Telegram counts and never less than what WhatsApp counts. What is ours in a
text (a bold title, an aligned table) is kept beside the words, as ranges, until a piece is written. So a cut never
falls into formatting, words of people are escaped where a channel lets us, and a title, a label, a value or a cell is
one line, whatever it holds: nobody can write a second line of a card into the first.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from html import escape
from typing import Literal, TypeAlias

from core.files import file_id
from core.messages import TEXT_CHARS_MAX, Card, Choices, Contact, Forwarded, Location, Media, Part, Table, Text, Voice
from core.sniff import DOCX, PDF, PPTX, XLSX

CUT = "The rest of this message was too long and was left out. / Ujumbe huu ulikuwa mrefu mno; uliosalia umeachwa."
"""Said in a second part when an inbound text was cut at TEXT_CHARS_MAX, and at the end of PIECES_MAX pieces."""
PIECES_MAX = 20
"""As many pieces as one message may become; the last resort, after which the last piece says CUT."""
PLAIN_WIDTH = 76
GAP = "  "
GAP_MIN = " "
"""Between columns, and where only that fits."""

# A cut is looked for in this order: paragraph, sentence, line, word. Only the last place of each kind is of interest.
_ENDS = (re.compile(r"\n[ \t]*\n"), re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s"), re.compile(r"\n"), re.compile(r"\s"))
_WEB = ("https://", "http://")
_FILE_ID = re.compile(r"[A-Za-z0-9_-]{16,512}")

MEGABYTE = 1024 * 1024
SPOKEN = "Voice note / Ujumbe wa sauti"
"""A note's name, where it is only named; which language the person reads is not known here."""
NOT_HERE = "cannot be sent here / haiwezi kutumwa hapa"
"""Behind the name of a file that a channel does not take, where nobody could open a link to us either."""

Link: TypeAlias = Callable[[str], str | None]
"""An address under which anybody can open a file of ours for a while, by its `ref`; None where nobody reaches us.
It is as long whenever it is asked for, so that a message always has as many pieces."""


def no_link(_ref: str) -> None:
    """The Link where nobody reaches us."""


class Format(StrEnum):
    """How a channel formats text."""

    PLAIN = "plain"
    HTML = "html"
    """Telegram's HTML: whatever people wrote is escaped."""
    MARKS = "marks"
    """WhatsApp's marks, which cannot be escaped: bold carries no meaning, and words that hold a mark are not bold."""


Kind: TypeAlias = Literal["photo", "voice", "audio", "video", "document"]


@dataclass(frozen=True, slots=True)
class Takes:
    """How a channel takes files of one type: as which message of its own, up to how many bytes, and whether their
    caption stands with them. `as_type` is what the file is given as, where the channel has no word for its own type."""

    kind: Kind
    bytes_max: int
    captioned: bool = True
    as_type: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one channel can show; a zero means that it cannot. Sizes are UTF-16 units as the reader sees them."""

    format: Format
    text_max: int
    caption_max: int = 0
    buttons_max: int = 0
    button_max: int = 0
    """Longest title of a button."""
    rows_max: int = 0
    row_max: int = 0
    """Longest title of a row in a list to pick from."""
    beside_max: int = 0
    """Longest text that stands beside options to pick, where only a text can; 0 where any message can have them."""
    width: int = PLAIN_WIDTH
    """Columns that a table may take side by side before its rows are written below one another."""
    files: bool = False
    """Whether a file of somebody else's is sent by its https address."""
    takes: Mapping[str, Takes] = field(default_factory=dict)
    """What files of ours are sent as, by MIME type; `*` is any other. What is not here, or larger, becomes a link."""
    note: Takes | None = None
    """What a voice note in Ogg is sent as; one that is larger is a file like any other."""
    by_link: bool = False
    """Whether the provider fetches files of ours itself, so that it takes none where it cannot reach us."""
    ratio_max: int = 0
    """How many times longer than wide a photo may be, where there is such a limit; a longer one is a document."""
    file_ids: bool = False
    """Whether it is also sent by the provider's own id."""
    places: bool = False
    contacts: bool = False
    pieces_max: int = PIECES_MAX


TELEGRAM = Capabilities(
    Format.HTML, 4_096, caption_max=1_024, buttons_max=10, button_max=64, width=34,
    files=True, file_ids=True, places=True, contacts=True,
    takes={
        **dict.fromkeys(("image/jpeg", "image/png"), Takes("photo", 10 * MEGABYTE)),
        **dict.fromkeys(("audio/mpeg", "audio/mp4"), Takes("audio", 50 * MEGABYTE)),
        "video/mp4": Takes("video", 50 * MEGABYTE),
        "*": Takes("document", 50 * MEGABYTE),
    },
    note=Takes("voice", MEGABYTE), ratio_max=20,
)  # fmt: skip
_OFFICE = (PDF, DOCX, XLSX, PPTX)
TWILIO = Capabilities(
    Format.MARKS, 1_600, caption_max=1_024, width=32, files=True,
    takes={
        **dict.fromkeys(("image/jpeg", "image/png"), Takes("photo", 5 * MEGABYTE)),
        **dict.fromkeys(("audio/ogg", "audio/mpeg", "audio/aac", "audio/amr"),
                        Takes("audio", 16 * MEGABYTE, captioned=False)),
        "video/mp4": Takes("video", 16 * MEGABYTE),
        # Its name is what our own server says; words beside a document are not shown.
        **dict.fromkeys(_OFFICE, Takes("document", 16 * MEGABYTE, captioned=False)),
    },
    by_link=True,
)  # fmt: skip
CLOUD = Capabilities(
    Format.MARKS, 4_096, caption_max=1_024, buttons_max=3, button_max=20, rows_max=10, row_max=24, beside_max=1_024,
    width=32, files=True,
    takes={
        **dict.fromkeys(("image/jpeg", "image/png"), Takes("photo", 5 * MEGABYTE)),
        **dict.fromkeys(("audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/amr"),
                        Takes("audio", 16 * MEGABYTE, captioned=False)),
        **dict.fromkeys(("video/mp4", "video/3gpp"), Takes("video", 16 * MEGABYTE)),
        **dict.fromkeys((*_OFFICE, "text/plain"), Takes("document", 100 * MEGABYTE)),
        "text/csv": Takes("document", 100 * MEGABYTE, as_type="text/plain"),
    },
)  # fmt: skip
EMAIL = Capabilities(Format.PLAIN, 100_000, pieces_max=1)
"""The web has no line here: its widget draws parts itself. Files are attached to a mail beside its text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of the provider's. `options` are picked by buttons, or by rows of a list when `listed`."""

    options: tuple[str, ...] = ()
    listed: bool = False


@dataclass(frozen=True, slots=True)
class TextPiece(Piece):
    """Text as the channel formats it."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class FilePiece(Piece):
    """A file by address or id, or one of ours, with a caption as the channel formats it."""

    kind: Kind = "document"
    media_type: str = ""
    ref: str = ""
    caption: str = ""
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class PlacePiece(Piece):
    """A point on a map."""

    latitude: float = 0.0
    longitude: float = 0.0


@dataclass(frozen=True, slots=True)
class ContactPiece(Piece):
    """A person with one phone number."""

    name: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class _Styled:
    """Words, and the ranges of them that are ours to format; ranges never overlap and are in order."""

    text: str = ""
    ranges: tuple[tuple[int, int, Literal["bold", "mono"]], ...] = ()

    def __add__(self, other: "_Styled") -> "_Styled":
        by = len(self.text)
        return _Styled(self.text + other.text, (*self.ranges, *((a + by, b + by, how) for a, b, how in other.ranges)))

    def part(self, start: int, end: int) -> "_Styled":
        cut = ((max(a, start) - start, min(b, end) - start, how) for a, b, how in self.ranges if a < end and b > start)
        return _Styled(self.text[start:end], tuple(cut))


def pieces(parts: Iterable[Part], can: Capabilities, link: Link = no_link) -> tuple[Piece, ...]:
    """The messages that show `parts` on a channel that `can` do so much, in order, each within every limit.

    A file of ours that it cannot take is named, and opened by the `link` to it.
    """
    made: list[Piece] = []
    blocks: list[_Styled] = []

    def flush() -> None:
        made.extend(TextPiece(text=text) for text in _cut(_joined(blocks), can))
        blocks.clear()

    parts = tuple(parts)
    picked = next((part for part in reversed(parts) if isinstance(part, Choices)), None)
    how = _picking(picked, can) if picked and any(part is not picked for part in parts) else None
    for part in parts:
        if part is picked and how:
            continue
        native, words = _native(part, can, link)
        if words.text:
            blocks.append(words)
        if native:
            flush()
            made.append(native)
            caption = part.caption if isinstance(part, Media) else part.transcript if isinstance(part, Voice) else None
            if caption and not (isinstance(native, FilePiece) and native.caption):
                blocks.append(_Styled(caption))
    flush()
    if picked and how:
        if made and _has_room(made[-1], can):
            made[-1] = replace(made[-1], options=picked.options, listed=how == "list")
        else:
            made.extend(TextPiece(text=text) for text in _cut(_numbered(picked), can))
    return _limited(made, can)


def plain(parts: Iterable[Part]) -> str:
    """All parts as unformatted text of any length."""
    return _joined([_shown(part, EMAIL, no_link) for part in parts]).text


def _has_room(piece: Piece, can: Capabilities) -> bool:
    """Whether options to pick can stand below this message."""
    return not can.beside_max or (isinstance(piece, TextPiece) and units(piece.text) <= can.beside_max)


def _limited(made: list[Piece], can: Capabilities) -> tuple[Piece, ...]:
    """At most `pieces_max` pieces; when there were more, the last of them says so and still offers the choices."""
    if len(made) <= can.pieces_max:
        return tuple(made)
    kept, last = made[: can.pieces_max - 1], made[can.pieces_max - 1]
    text = CUT
    if isinstance(last, TextPiece) and can.format is Format.PLAIN:
        text = fit(last.text, can.text_max - units(CUT) - 2) + "\n\n" + CUT
    return (*kept, TextPiece(options=made[-1].options, listed=made[-1].listed, text=text))


def _picking(choices: Choices, can: Capabilities) -> Literal["buttons", "list"] | None:
    """How the options can be picked; None when they must be numbered."""
    options = choices.options
    longest = max(units(option) for option in options)
    if not all(option.strip() for option in options) or len(set(options)) < len(options):
        return None
    if len(options) <= can.buttons_max and longest <= can.button_max:
        return "buttons"
    return "list" if len(options) <= can.rows_max and longest <= can.row_max else None


def _native(part: Part, can: Capabilities, link: Link) -> tuple[Piece | None, _Styled]:
    """The part as the channel's own kind of message, if it has one, and words that go before it or stand for it."""
    nothing = _Styled()
    match part:
        case Media() | Voice() if file_id(part.ref) and (how := _taken(part, can)):
            address = link(part.ref) if can.by_link else part.ref
            if address is None:
                return None, _shown(part, can, link)
            caption = (part.caption or "").strip() if isinstance(part, Media) else ""
            return FilePiece(
                kind=how.kind, media_type=how.as_type or _type(part), ref=address,
                caption=_write(_Styled(caption), can.format)
                if how.captioned and _fits(caption, can.caption_max) else "",
                filename=part.filename if isinstance(part, Media) else None,
            ), nothing  # fmt: skip
        case Media() if _sendable(part.ref, can):
            kind = part.media_type.partition(";")[0]
            photo = kind in ("image/jpeg", "image/png", "image/webp")
            written = _write(_Styled((part.caption or "").strip()), can.format)
            # An audio file shows no caption on WhatsApp.
            captioned = _fits(part.caption or "", can.caption_max) and not (
                can.format is Format.MARKS and kind.startswith("audio/")
            )
            return FilePiece(
                kind="photo" if photo else "document", media_type=part.media_type, ref=part.ref,
                caption=written if captioned else "", filename=part.filename,
            ), nothing  # fmt: skip
        case Voice() if _sendable(part.ref, can):
            spoken = part.media_type.partition(";")[0] == "audio/ogg"
            return FilePiece(kind="voice" if spoken else "document", media_type=part.media_type, ref=part.ref), nothing
        case Location() if can.places:
            return PlacePiece(latitude=part.latitude, longitude=part.longitude), _Styled(_line(part.label or ""))
        case Contact(phones=(phone,), emails=()) if can.contacts and _line(part.name):
            return ContactPiece(name=_line(part.name), phone=_line(phone)), nothing
    return None, _shown(part, can, link)


def _taken(part: Media | Voice, can: Capabilities) -> Takes | None:
    """As what a file of ours is sent; None where the channel takes no such file, or none so large."""
    size, kind = part.size or 0, _type(part)
    if isinstance(part, Voice) and kind == "audio/ogg" and can.note and size <= can.note.bytes_max:
        return can.note
    how, other = can.takes.get(kind), can.takes.get("*")
    if how and how.kind == "photo" and can.ratio_max and isinstance(part, Media) and part.width and part.height:
        short, long = sorted((part.width, part.height))
        how = None if long > can.ratio_max * short else how
    return next((one for one in (how, other) if one and size <= one.bytes_max), None)


def _type(part: Media | Voice) -> str:
    return part.media_type.partition(";")[0].strip().lower()


def _sendable(ref: str, can: Capabilities) -> bool:
    if ref.startswith("https://"):
        return can.files
    return can.file_ids and _FILE_ID.fullmatch(ref) is not None


def _named(part: Media | Voice, link: Link) -> str | None:
    """A file's name and size, and where it can be opened; None where none of that is known."""
    if file_id(part.ref) is None:
        name = part.filename if isinstance(part, Media) else None
        return part.ref if part.ref.startswith(_WEB) else name
    name = _line(part.filename or part.media_type) if isinstance(part, Media) else SPOKEN
    size = f" ({size_words(part.size)})" if part.size else ""
    return f"{name}{size}: {link(part.ref) or NOT_HERE}"


def size_words(size: int) -> str:
    """A number of bytes as people say it: 640 B, 12 KB, 3.4 MB."""
    if size < 1024:
        return f"{size} B"
    kilobytes = size / 1024
    return f"{kilobytes:.0f} KB" if kilobytes < 1000 else f"{kilobytes / 1024:.1f} MB"


def _shown(part: Part, can: Capabilities, link: Link) -> _Styled:
    """A part in words."""
    match part:
        case Text():
            return _Styled(part.text)
        case Choices():
            return _numbered(part)
        case Location():
            coordinates = f"{part.latitude:.6f}, {part.longitude:.6f}"
            return _Styled(f"{part.label} ({coordinates})" if part.label else coordinates)
        case Media():
            return _lines(part.caption, _named(part, link))
        case Voice():
            return _lines(part.transcript, _named(part, link))
        case Forwarded():
            return _Styled("")
        case Contact():
            return _lines(*map(_line, (part.name, *part.phones, *part.emails)))
        case Card():
            return _card(part, can)
        case Table():
            return _table(part, can)


def _numbered(choices: Choices) -> _Styled:
    return _lines(*(f"{number}. {_line(option)}" for number, option in enumerate(choices.options, 1)))


def _card(card: Card, can: Capabilities) -> _Styled:
    shown = _bold(card.title, can)
    if card.text and card.text.strip():
        shown += _Styled("\n" + card.text.strip())
    for fact in card.facts:
        shown += _Styled(f"\n{_line(fact.label)}: {_line(fact.value)}")
    if card.link:
        name = _line(card.link.label or "")
        shown += _Styled("\n" + (f"{name}: {card.link.url}" if name else card.link.url))
    return shown


def _table(table: Table, can: Capabilities) -> _Styled:
    """Columns side by side where they fit the width, else each row as a block of named cells."""
    head = _bold(table.title, can) if table.title and _line(table.title) else _Styled()
    grid = [[_line(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(_width(row[at]) for row in grid) for at in range(len(table.columns))]
    taken = sum(widths) + len(GAP) * (len(widths) - 1)
    gap = GAP if taken <= can.width else GAP_MIN
    taken -= (len(GAP) - len(gap)) * (len(widths) - 1)
    aligned = "\n".join(
        gap.join(cell + " " * (wide - _width(cell)) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in grid
    )
    # Marks inside could end our own early: then nothing of it is aligned.
    unsafe = can.format is Format.MARKS and "`" in aligned
    if taken <= can.width and not unsafe and aligned.strip():
        mono = can.format is not Format.PLAIN
        return _under(head, _Styled(aligned, ((0, len(aligned), "mono"),) if mono else ()))
    names, *rows = grid
    if not rows:
        return _under(head, _Styled(", ".join(name for name in names if name)))
    blocks = []
    for row in rows:
        first, *others = (f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=True))
        blocks.append(_bold(first, can) + _Styled("".join(f"\n{line}" for line in others)))
    between = _Styled("\n\n" if len(names) > 2 else "\n")
    body = _Styled()
    for number, block in enumerate(blocks):
        body = body + (between if number else _Styled()) + block
    return _under(head, body)


def _bold(words: str, can: Capabilities) -> _Styled:
    """One line of ours; words that hold WhatsApp's marks stay as they are there."""
    line = _line(words)
    marked = can.format is Format.MARKS and any(mark in line for mark in "*_~`")
    return _Styled(line, () if marked or not line or can.format is Format.PLAIN else ((0, len(line), "bold"),))


def _under(head: _Styled, body: _Styled) -> _Styled:
    return head + _Styled("\n") + body if head.text and body.text else head + body


def _lines(*lines: str | None) -> _Styled:
    return _Styled("\n".join(line for line in lines if line))


def _line(words: str) -> str:
    return " ".join(words.split())


def _joined(blocks: Sequence[_Styled]) -> _Styled:
    joined = _Styled()
    for block in blocks:
        if block.text:
            joined = joined + _Styled("\n\n") + block if joined.text else block
    return joined


def _width(text: str) -> int:
    """Columns that `text` takes in letters of one width."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _write(styled: _Styled, kind: Format) -> str:
    """The words with the channel's marks around what is ours."""
    marks = {
        Format.HTML: {"bold": ("<b>", "</b>"), "mono": ("<pre>", "</pre>")},
        Format.MARKS: {"bold": ("*", "*"), "mono": ("```", "```")},
    }.get(kind, {})

    def safe(words: str) -> str:
        return escape(words, quote=False) if kind is Format.HTML else words

    written, at = [], 0
    for start, end, how in styled.ranges:
        opening, closing = marks.get(how, ("", ""))
        written += [safe(styled.text[at:start]), opening, safe(styled.text[start:end]), closing]
        at = end
    return "".join((*written, safe(styled.text[at:])))


def _cut(styled: _Styled, can: Capabilities) -> list[str]:
    """Written pieces of the text, each at most `text_max` long with its formatting."""
    shown = styled.text
    if _fits(shown, can.text_max) and not styled.ranges:
        return [_write(_Styled(shown.strip()), can.format)] if shown.strip() else []
    cut: list[str] = []
    at, end = _trimmed(shown, 0, len(shown))
    while at < end:
        room = can.text_max
        while True:
            to = at + _stop(shown[at:end], room)
            if to < end:
                to = _before_a_row_breaks(styled, at, to)
            start, stop = _trimmed(shown, at, to)
            piece = styled.part(start, stop)
            written = _write(piece, can.format)
            # HTML is counted as it is seen; WhatsApp's marks are characters like any other.
            over = 0 if can.format is Format.HTML else units(written) - can.text_max
            if over <= 0:
                break
            room = max(2, room - over)
        if written:
            cut.append(written)
        at = _trimmed(shown, to, end)[0]
    return cut


def _stop(rest: str, units_max: int) -> int:
    return len(rest) if _fits(rest, units_max) else _end(rest, units_max)


def _before_a_row_breaks(styled: _Styled, at: int, to: int) -> int:
    """A cut inside an aligned table moves back to the end of a line, when one is left in the piece."""
    for start, end, how in styled.ranges:
        if how == "mono" and start < to < end and styled.text[to : to + 1] != "\n":
            line = styled.text.rfind("\n", at, to)
            return line if line > at else to
    return to


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def fit(text: str, units_max: int) -> str:
    """`text` if it has at most `units_max` UTF-16 units, else its beginning up to a natural end, and "…".

    White space at both ends is dropped.
    """
    text = text.strip()
    if _fits(text, units_max):
        return text
    return text[: _end(text, units_max - 1)].rstrip() + "…"


def split(text: str, units_max: int) -> list[str]:
    """Pieces of at most `units_max` UTF-16 units, cut at paragraphs, else sentences, lines, words, else anywhere.

    White space at the cuts is dropped and nothing else. Raises ValueError when a piece could not hold one character.
    """
    if units_max < 2:
        raise ValueError("a piece must have room for one character, which may take two units")
    return _cut(_Styled(text), Capabilities(Format.PLAIN, units_max))


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fits(text: str, units_max: int) -> bool:
    # A character has at least one unit, so a long text need not be measured.
    return len(text) <= units_max and units(text) <= units_max


def inbound_text(text: str) -> tuple[Text, ...]:
    """What somebody wrote as parts: none when empty, and two when it was longer than we store."""
    if not text:
        return ()
    if len(text) > TEXT_CHARS_MAX:
        return Text(text=text[:TEXT_CHARS_MAX]), Text(text=CUT)
    return (Text(text=text),)


def _end(text: str, units_max: int) -> int:
    """Where to cut: the last natural end that leaves a piece of over a third of the room, else where the room ends."""
    room = units_max
    while (over := units(text[:room]) - units_max) > 0:
        room -= (over + 1) // 2
    for kind in _ENDS:
        last = None
        for found in kind.finditer(text, 0, room + 1):
            last = found
        if last and last.start() > room // 3:
            return last.start() if last.group().isspace() else last.end()
    return room
