"""Colours that can be read: from one accent, everything a chat is drawn with, each text at WCAG's 4.5 to 1. Pure."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from core.errors import InvalidSlot

READABLE = 4.5
"""WCAG 2.2 AA for text."""
STEPS = 64
"""How finely a colour is moved towards black or white until it can be read."""
WRITTEN = re.compile(r"#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LIGHT_GROUND, LIGHT_TEXT, LIGHT_MUTED = WHITE, (0x1A, 0x1F, 0x1C), (0xF0, 0xF3, 0xF1)
DARK_GROUND, DARK_TEXT, DARK_MUTED = (0x15, 0x19, 0x17), (0xEA, 0xEE, 0xEC), (0x22, 0x28, 0x25)
"""The widget's own page, text, and bubbles of the bot; the same values stand in widget.js."""
LIGHT_TINT, DARK_TINT = 0.13, 0.42
"""How much of the accent is in a person's own bubbles."""


@dataclass(frozen=True, slots=True)
class Palette:
    """What a chat is drawn with; `#rrggbb` each. `on` is text on the accent, `ink` links, `own` a person's bubbles."""

    accent: str
    on: str
    ink: str
    own: str
    ink_dark: str
    own_dark: str


def parse_colour(written: str) -> str:
    """A colour as `#rrggbb`, lower case; raises InvalidSlot with what would do."""
    found = WRITTEN.fullmatch(written.strip())
    if found is None:
        raise InvalidSlot("colour", "A colour is written as # and six digits or letters a to f, such as #0b6b4f.")
    digits = found[1].lower()
    return "#" + (digits if len(digits) == 6 else "".join(2 * digit for digit in digits))


def palette(accent: str) -> Palette:
    """The palette of an accent, whichever it is; raises InvalidSlot for what is no colour."""
    colour = _read(parse_colour(accent))
    own = _tint(colour, LIGHT_GROUND, LIGHT_TINT, LIGHT_TEXT)
    own_dark = _tint(colour, DARK_GROUND, DARK_TINT, DARK_TEXT)
    return Palette(
        accent=_written(colour),
        on=_written(max(BLACK, WHITE, key=lambda text: contrast(text, colour))),
        ink=_written(_until_readable(colour, BLACK, (LIGHT_GROUND, LIGHT_MUTED, own))),
        own=_written(own),
        ink_dark=_written(_until_readable(colour, WHITE, (DARK_GROUND, DARK_MUTED, own_dark))),
        own_dark=_written(own_dark),
    )


def contrast(one: Colour, other: Colour) -> float:
    """WCAG's contrast of two colours, 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _tint(colour: Colour, ground: Colour, share: float, text: Colour) -> Colour:
    """A ground with at most so much of a colour in it that text, and links next to white or black, stay readable."""
    extreme = BLACK if ground == LIGHT_GROUND else WHITE
    for step in range(STEPS, -1, -1):
        tinted = _mix(colour, ground, share * step / STEPS)
        if contrast(text, tinted) >= READABLE and contrast(extreme, tinted) >= READABLE:
            return tinted
    return ground


def _until_readable(colour: Colour, towards: Colour, grounds: tuple[Colour, ...]) -> Colour:
    """A colour moved so far towards black or white that it can be read on every one of the grounds."""
    for step in range(STEPS + 1):
        moved = _mix(towards, colour, step / STEPS)
        if all(contrast(moved, ground) >= READABLE for ground in grounds):
            return moved
    return towards


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a * share + b * (1 - share)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Colour) -> float:
    parts = (part / 255 for part in colour)
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _read(written: str) -> Colour:
    return int(written[1:3], 16), int(written[3:5], 16), int(written[5:7], 16)


def _written(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
