"""What is left of rich parts where a channel shows only text, and how text is made to fit.

Lengths are UTF-16 code units, which is how Telegram counts and never less than what WhatsApp counts. The core keeps its
replies under 1,500 characters; cutting one here, with "…" at the cut, is the last resort, because a channel sends one
message and has one provider id for it.
"""

import re
from collections.abc import Iterable

from core.messages import TEXT_CHARS_MAX, Choices, Location, Media, Part, Text

CUT = "The rest of this message was too long and was left out."
"""Said in a second part when an inbound text was cut at TEXT_CHARS_MAX."""

# A cut is looked for in this order: paragraph, sentence, line, word. Only the last place of each kind is of interest.
_ENDS = (re.compile(r"\n[ \t]*\n"), re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s"), re.compile(r"\n"), re.compile(r"\s"))


def plain(parts: Iterable[Part]) -> str:
    """All parts as text: choices numbered from 1, a place as label and coordinates, a file as caption and address."""
    return "\n\n".join(shown for part in parts if (shown := _shown(part)))


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
    pieces = []
    rest = text.strip()
    while not _fits(rest, units_max):
        end = _end(rest, units_max)
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        pieces.append(rest)
    return pieces


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


def _shown(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Choices():
            return "\n".join(f"{number}. {option}" for number, option in enumerate(part.options, 1))
        case Location():
            coordinates = f"{part.latitude:.6f}, {part.longitude:.6f}"
            return f"{part.label} ({coordinates})" if part.label else coordinates
        case Media():
            address = part.ref if part.ref.startswith(("https://", "http://")) else part.filename
            return "\n".join(line for line in (part.caption, address) if line)


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
