"""An invoice as a PDF: one A4 page that says who asks whom for what, what was paid, and how to pay the rest.

What is on it comes as plain text and goes to the typesetter as data, so that nothing anybody wrote is ever read as
mark-up. The same invoice gives the same bytes, whenever and however often it is drawn.
"""

import asyncio
import base64
import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, Literal, cast

from core.errors import MathiaError
from core.language import Saying, day

TEMPLATE = Path(__file__).with_name("invoice.typ")
NAME_CHARS_MAX = 200
LINE_CHARS_MAX = 200
LINES_MAX = 6
DESCRIPTION_CHARS_MAX = 2_000
AMOUNT_CHARS_MAX = 40
URL_CHARS_MAX = 300
LOGO_BYTES_MAX = 1024 * 1024
LOGO_SIDE_MAX = 2_000
WORD_CHARS_MAX = 24
"""From where on a word may be broken anywhere, so that it stays on the page."""
MARKS_MAX = 4
"""Combining marks on one letter; more would climb over the lines around it."""
AT_ONCE = 2
"""How many are drawn at the same time, each by a thread."""

State = Literal["draft", "sent", "part_paid", "overdue", "paid", "void", "disputed"]
STATES: Final[dict[State, tuple[Saying, str]]] = {
    "draft": (Saying("To be paid", "Inasubiri malipo"), "plain"),
    "sent": (Saying("To be paid", "Inasubiri malipo"), "plain"),
    "part_paid": (Saying("Part paid", "Imelipwa sehemu"), "waiting"),
    "overdue": (Saying("Overdue", "Imechelewa"), "bad"),
    "paid": (Saying("Paid", "Imelipwa"), "good"),
    "void": (Saying("Void", "Imefutwa"), "bad"),
    "disputed": (Saying("Disputed", "Ina mgogoro"), "waiting"),
}
"""What each state is called, and the colour it has. A draft is one that its issuer hands over themselves."""
STAMPED: Final = ("paid", "void")
PAYABLE: Final = ("draft", "sent", "part_paid", "overdue")
LABELS: Final = {
    "invoice": Saying("Invoice", "Ankara"),
    "payer": Saying("Billed to", "Ya kulipwa na"),
    "state": Saying("State", "Hali"),
    "description": Saying("Description", "Maelezo"),
    "amount": Saying("Amount", "Kiasi"),
}
ISSUED = Saying("Issued", "Imetolewa")
DUE_ON = Saying("Pay by", "Ilipwe kufikia")
ASKED = Saying("Invoiced", "Jumla ya ankara")
PAID = Saying("Paid so far", "Iliyolipwa hadi sasa")
REST = Saying("Amount due", "Kiasi kinachodaiwa")
TITLE = Saying("Invoice {number}, {issuer}", "Ankara {number}, {issuer}")
PAY = Saying("Pay online", "Lipa mtandaoni")
HOW = Saying(
    "By M-Pesa or card: scan the code, or open the address. It also shows whether anything has been paid since.",
    "Kwa M-Pesa au kadi: soma msimbo kwa kamera, au fungua anwani. Inaonyesha pia kama kuna kilicholipwa tangu hapo.",
)
NOTES: Final[dict[State, Saying]] = {
    "void": Saying("This invoice was cancelled. Do not pay it.", "Ankara hii imefutwa. Usiilipe."),
    "disputed": Saying(
        "This invoice is disputed. Do not pay it until that is settled.",
        "Ankara hii ina mgogoro. Usiilipe hadi utatuliwe.",
    ),
}
PAID_OVER = Saying("Paid too much by {amount}.", "Imelipwa zaidi kwa {amount}.")
FOOTER = Saying("drawn up with Mathia", "imeandaliwa kwa Mathia")

_places = asyncio.Semaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody on an invoice, and lines such as their e-mail address and number."""

    name: str
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """What is on an invoice. Amounts are texts as people read them, such as "KES 1,250.00".

    `rest` is what is still to be paid; `over` by how much too much was paid, None where it was not. `pay_url` is
    printed while there is something to pay. `logo` is a PNG or a JPEG.
    """

    number: str
    state: State
    issuer: Party
    payer: Party
    description: str
    amount: str
    paid: str
    rest: str
    issued_on: date
    due_on: date | None = None
    over: str | None = None
    pay_url: str | None = None
    outside: Sequence[tuple[str, str]] = ()
    """Of what is paid, how and when something was paid directly, and how much."""
    logo: bytes | None = None
    sandbox: bool = False


async def drawn(paper: Paper, language: str) -> bytes:
    """The PDF, drawn beside the event loop; AT_ONCE of them at a time. Raises ValueError as `render` does."""
    async with _places:
        return await asyncio.to_thread(render, paper, language)


def render(paper: Paper, language: str) -> bytes:
    """The PDF in English ("en") or Swahili ("sw"). ValueError for what is longer than there is room for."""
    return _compiled(paper, language, "pdf")


def picture(paper: Paper, language: str) -> bytes:
    """The first page as a PNG. Raises ValueError as `render` does."""
    return _compiled(paper, language, "png")


def _compiled(paper: Paper, language: str, kind: Literal["pdf", "png"]) -> bytes:
    import typst  # Some 40 MB: most processes never draw one.

    given = {"data": json.dumps(_data(paper, language))}
    if _is_payable(paper):
        given["qr"] = _code(paper.pay_url or "")
    if paper.logo is not None:
        given["logo"] = _logo(paper.logo)
    at = datetime(paper.issued_on.year, paper.issued_on.month, paper.issued_on.day, tzinfo=UTC)
    made = typst.compile(TEMPLATE.read_bytes(), format=kind, sys_inputs=given, timestamp=at)
    pages = cast("bytes | list[bytes]", made)  # Where there are several, a picture of each.
    return pages[0] if isinstance(pages, list) else pages


def _data(paper: Paper, language: str) -> dict[str, object]:
    """What the template reads."""
    state, tone = STATES[paper.state]
    dates = [(ISSUED, paper.issued_on)] + ([(DUE_ON, paper.due_on)] if paper.due_on else [])
    note = NOTES.get(paper.state)
    if note is None and paper.over is not None:
        note = PAID_OVER.filled(amount=_plain(paper.over, AMOUNT_CHARS_MAX))
    number, issuer = _plain(paper.number, LINE_CHARS_MAX), _party(paper.issuer)
    pay = None
    if _is_payable(paper):
        url = paper.pay_url or ""
        if len(url) > URL_CHARS_MAX or not url.startswith(("https://", "http://")):
            raise ValueError("The address of the pay page is no web address, or too long.")
        pay = {"url": url, "title": PAY.to(language), "how": HOW.to(language)}
    return {
        "language": language,
        "title": TITLE.filled(number=_visible(paper.number), issuer=_visible(paper.issuer.name)).to(language),
        "author": _visible(paper.issuer.name),
        "at": {"year": paper.issued_on.year, "month": paper.issued_on.month, "day": paper.issued_on.day},
        "labels": {name: one.to(language) for name, one in LABELS.items()},
        "number": number,
        "issuer": issuer,
        "payer": _party(paper.payer),
        "dates": [[name.to(language), day(on, 0).to(language)] for name, on in dates],
        "state": state.to(language),
        "tone": tone,
        "description": _plain(paper.description, DESCRIPTION_CHARS_MAX),
        "amount": _plain(paper.amount, AMOUNT_CHARS_MAX),
        "sums": [
            [ASKED.to(language), _plain(paper.amount, AMOUNT_CHARS_MAX)],
            *([_plain(how, LINE_CHARS_MAX), _plain(sum_, AMOUNT_CHARS_MAX)] for how, sum_ in paper.outside),
            [PAID.to(language), _plain(paper.paid, AMOUNT_CHARS_MAX)],
        ],
        "total": [REST.to(language), _plain(paper.rest, AMOUNT_CHARS_MAX)] if paper.state != "void" else None,
        "note": note.to(language) if note else None,
        "pay": pay,
        "stamp": state.to(language) if paper.state in STAMPED else None,
        "logo": paper.logo is not None,
        "footer": FOOTER.to(language) + (" · sandbox" if paper.sandbox else ""),
    }


def _is_payable(paper: Paper) -> bool:
    return paper.pay_url is not None and paper.state in PAYABLE


def _party(party: Party) -> dict[str, object]:
    if len(party.lines) > LINES_MAX:
        raise ValueError(f"There is room for {LINES_MAX} lines below a name.")
    return {
        "name": _plain(party.name, NAME_CHARS_MAX),
        "lines": [_plain(line, LINE_CHARS_MAX) for line in party.lines],
    }


def _plain(text: str, chars_max: int) -> str:
    """Visible text with words that can be broken. ValueError where it is longer than `chars_max`."""
    if len(text) > chars_max:
        raise ValueError(f"This has {len(text)} characters; there is room for {chars_max}.")
    return " ".join(map(_breakable, _visible(text).split(" ")))


def _visible(text: str) -> str:
    """Text on one line in which nothing is hidden, turns the line about, or climbs over others."""
    kept: list[str] = []
    marks = 0
    for sign in unicodedata.normalize("NFC", text):
        category = unicodedata.category(sign)
        marks = marks + 1 if category[0] == "M" else 0
        if category[0] in "CZ":
            # The two joiners are a part of how some words are written.
            kept.append(sign if sign in "\u200c\u200d" else " ")
        elif marks <= MARKS_MAX:
            kept.append(sign)
    return " ".join("".join(kept).split())


def _breakable(word: str) -> str:
    return word if len(word) <= WORD_CHARS_MAX else "\u200b".join(word)


def _code(url: str) -> str:
    """The QR code of an address, as SVG."""
    import segno

    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", border=0, xmldecl=False, dark="#17211d")
    return out.getvalue().decode()


def logo_at(path: str) -> bytes | None:
    """The logo in a file, None for no path; raises MathiaError for one that cannot be printed."""
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            logo = file.read(LOGO_BYTES_MAX + 1)
        _logo(logo)
    except (OSError, ValueError) as error:
        raise MathiaError(f"INVOICE_LOGO cannot be printed on invoices: {error}") from error
    return logo


def _logo(logo: bytes) -> str:
    """A logo within an SVG: what the typesetter is given in memory is text."""
    from PIL import Image, UnidentifiedImageError

    if len(logo) > LOGO_BYTES_MAX:
        raise ValueError(f"A logo has at most {LOGO_BYTES_MAX} bytes.")
    try:
        with Image.open(io.BytesIO(logo), formats=("PNG", "JPEG")) as image:
            (width, height), kind = image.size, image.get_format_mimetype()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ValueError("A logo is a PNG or a JPEG.") from error
    if max(width, height) > LOGO_SIDE_MAX:
        raise ValueError(f"A logo has at most {LOGO_SIDE_MAX} pixels on each side.")
    data = base64.b64encode(logo).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:{kind};base64,{data}"/></svg>'
    )
