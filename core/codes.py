"""Link codes as people read and type them. Pure.

Ten letters and digits that cannot be taken for one another, in groups: K7QM-2XVR-9T. Every code has a digit and a
letter, so that no word is one.
"""

import re
from collections.abc import Callable, Sequence

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without 0, 1, I, L, O and U: ten of these are 49 bits."""
CODE_CHARS = 10
MESSAGE_CHARS_MAX = 120
"""A longer message holds no code: whoever types one says little else."""

_SIGN = f"[{ALPHABET}]"
_SHAPES = (f"{_SIGN}{{4}}-{_SIGN}{{4}}-{_SIGN}{{2}}", f"{_SIGN}{{4}} {_SIGN}{{4}} {_SIGN}{{2}}", f"{_SIGN}{{10}}")
_CODE = re.compile(rf"(?<![^\W_])(?:{'|'.join(_SHAPES)})(?!\w|-)")
_AROUND = re.compile(
    r"(?:/start(?:@\w+)? +link_"
    r"|(?:link|linked|linking|code|the|my|this|here|here's|is|it|it's|account|accounts|please|use|with|hi|hello|ok|okay"
    r"|thanks|unganisha|msimbo|kodi|wangu|yangu|huu|hii|hapa|ni|akaunti|tafadhali|asante)\b"
    r"|[\s,.:;!\"“”'-])*",
    re.IGNORECASE,
)
"""What may stand around a code; /start link_CODE is what a Telegram link sends."""
_DASHES = str.maketrans({"–": "-", "—": "-", "‑": "-", "−": "-", "’": "'"})


def code_in(text: str) -> str | None:
    """The code that a message holds, without its dashes; None when it holds none, or says something else besides."""
    if len(text) > MESSAGE_CHARS_MAX:
        return None
    written = text.translate(_DASHES)
    upper = written.upper()
    if len(upper) != len(written):
        return None
    for found in _CODE.finditer(upper):
        code = found[0].replace("-", "").replace(" ", "")
        spoken = " " in found[0] and written[slice(*found.span())] != found[0]
        if spoken or code.isdigit() or code.isalpha():
            continue
        if _AROUND.fullmatch(written[: found.start()]) and _AROUND.fullmatch(written[found.end() :]):
            return code
    return None


def grouped(code: str) -> str:
    """A code as it is shown."""
    return f"{code[:4]}-{code[4:8]}-{code[8:]}"


def new_code(choice: Callable[[Sequence[str]], str]) -> str:
    """A code of signs picked by `choice`, which is secrets.choice but in tests."""
    while True:
        code = "".join(choice(ALPHABET) for _ in range(CODE_CHARS))
        if not code.isdigit() and not code.isalpha():
            return code
