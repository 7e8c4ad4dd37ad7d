"""What an invoice's PDF says, to whom it says it, and that nothing anybody wrote is more than text on it."""

import asyncio
import io
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import pypdf
import pytest
from PIL import Image

from core import invoice_pdf
from core.errors import MathiaError
from core.invoice_pdf import Paper, Party, State, drawn, logo_at, render
from core.language import heard

URL = "https://pay.example.com/pay/Jm0v2c9Qm8sV3b1fU0oZ7gkq2Y8c1p5eAbCdEfGhIjK"
PAPER = Paper(
    number="INV-2026-00042",
    state="sent",
    issuer=Party("Wanjiru Kamau Design", ("wanjiru@example.com", "+254 712 345 678")),
    payer=Party("Achieng & Sons", ("accounts@achieng.example",)),
    description="Logo and letterhead",
    amount="KES 45,000.00",
    paid="KES 0.00",
    rest="KES 45,000.00",
    issued_on=date(2026, 11, 26),
    due_on=date(2026, 12, 10),
    pay_url=URL,
)
A4_POINTS = (595, 841)
MARGIN_POINTS = 56


def read(pdf: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(pdf))


def words(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in read(pdf).pages).replace("\u200b", "")


def ink(paper: Paper) -> tuple[int, int, int, int]:
    """The box around all that is drawn on the first page, in points: left, top, right, bottom."""
    with Image.open(io.BytesIO(invoice_pdf.picture(paper, "en"))) as image:
        dark = image.convert("L").point(lambda value: 255 if value < 250 else 0)
        scale = image.width / 595.28
        box = dark.getbbox()
    assert box is not None
    left, top, right, bottom = (round(side / scale) for side in box)
    return left, top, right, bottom


def test_it_says_who_asks_whom_for_what_and_how_to_pay() -> None:
    pdf = render(PAPER, "en")
    said = words(pdf)
    for one in (
        "Invoice", PAPER.number, "Wanjiru Kamau Design", "wanjiru@example.com", "Achieng & Sons", "Logo and letterhead",
        "Issued Thu 26 Nov 2026", "Pay by Thu 10 Dec 2026", "Invoiced KES 45,000.00", "Paid so far KES 0.00",
        "Amount due KES 45,000.00", "To be paid", "Pay online", URL,
    ):  # fmt: skip
        assert one in said
    page = read(pdf).pages[0]
    assert [round(side) for side in page.mediabox[2:]] == [595, 842]
    links = {one.get_object()["/A"]["/URI"] for one in cast("list[Any]", page["/Annots"])}
    assert links == {URL}


def test_swahili_readers_read_swahili() -> None:
    said = words(render(replace(PAPER, state="paid", paid=PAPER.amount, rest="KES 0.00"), "sw"))
    assert "Ankara" in said
    assert "IMELIPWA" in said
    assert "Kiasi kinachodaiwa KES 0.00" in said
    assert "Alhamisi 26 Nov 2026" in said
    english = ("Invoice", "Paid", "Amount", "Due", "Description", "Billed")
    assert not any(one in said for one in english)


@pytest.mark.parametrize(
    ("state", "stamp", "payable"),
    [
        ("draft", None, True),
        ("sent", None, True),
        ("part_paid", None, True),
        ("overdue", None, True),
        ("paid", "PAID", False),
        ("void", "VOID", False),
        ("disputed", None, False),
    ],
)
def test_each_state_is_told_and_asks_for_money_only_where_some_is_due(
    state: State, stamp: str | None, payable: bool
) -> None:
    said = words(render(replace(PAPER, state=state), "en"))
    assert (URL in said) is payable
    assert ("Do not pay it" in said) is (state in ("void", "disputed"))
    assert ("Amount due" in said) is (state != "void")
    for one in ("PAID", "VOID"):
        assert (one in said) is (one == stamp)


def test_what_was_paid_too_much_is_told() -> None:
    over = replace(PAPER, state="paid", paid="KES 50,000.00", rest="KES 0.00", over="KES 5,000.00")
    assert "Paid too much by KES 5,000.00" in words(render(over, "en"))


def test_the_same_invoice_is_the_same_bytes() -> None:
    assert render(PAPER, "en") == render(PAPER, "en")
    assert render(PAPER, "en") != render(PAPER, "sw")


HOSTILE = [
    "#import \"x\": * #sys.inputs $x^2$ \\ *b* _i_ `c` <a> @b // c /* d",
    "#set page(width: 1pt) #panic() #read(\"/etc/passwd\") ]]] }}} \"",
    "= heading\n- list\n+ enum\n/ term: x",
    "{{ 7*7 }} ${HOME} %s %(a)s {0}",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_mark_up_is_text(text: str) -> None:
    paper = replace(PAPER, issuer=Party(text, (text,)), payer=Party(text, (text,)), description=text)
    said = "".join(words(render(paper, "en")).split())
    assert said.count("".join(text.split())) == 5
    assert len(read(render(paper, "en")).pages) == 1


@pytest.mark.parametrize("text", ["W" * 200, "\u4e00" * 200, ("i" * 30 + "-") * 6, "a" + "\u0301" * 199])
def test_long_words_stay_on_the_page(text: str) -> None:
    paper = replace(PAPER, issuer=Party(text, (text,)), payer=Party(text, (text,)), description=text * 5)
    left, top, right, bottom = ink(paper)
    assert left >= MARGIN_POINTS
    assert right <= A4_POINTS[0] - MARGIN_POINTS + 1
    assert top >= MARGIN_POINTS - 10
    assert bottom <= A4_POINTS[1] - 20


def test_nothing_hides_in_a_name_or_turns_the_line_about() -> None:
    paper = replace(PAPER, payer=Party("Bank \u202egnp.exe\u2066 \u200b\x07 Ltd"))
    said = words(render(paper, "en"))
    assert "Bank gnp.exe Ltd" in said
    assert not any(sign in said for sign in "\u202e\u2066\x07")


def test_names_of_other_scripts_are_kept() -> None:
    said = words(render(replace(PAPER, payer=Party("Łukasz Żółć, Ђорђе, Ελένη, שלום")), "en"))
    for name in ("Łukasz Żółć", "Ђорђе", "Ελένη", "שלום"):
        assert name in said


def test_what_does_not_fit_is_refused_and_not_cut() -> None:
    for paper in (
        replace(PAPER, description="x" * (invoice_pdf.DESCRIPTION_CHARS_MAX + 1)),
        replace(PAPER, payer=Party("x" * (invoice_pdf.NAME_CHARS_MAX + 1))),
        replace(PAPER, payer=Party("x", ("y",) * (invoice_pdf.LINES_MAX + 1))),
        replace(PAPER, pay_url="javascript:alert(1)"),
        replace(PAPER, logo=b"<svg onload=alert(1)>"),
        replace(PAPER, logo=b"\x89PNG\r\n\x1a\n" + bytes(invoice_pdf.LOGO_BYTES_MAX)),
    ):
        with pytest.raises(ValueError, match=r"room|address|logo"):
            render(paper, "en")


def test_a_logo_is_on_it() -> None:
    out = io.BytesIO()
    Image.new("RGB", (300, 100), "#0b6b4f").save(out, "PNG")
    assert len(list(read(render(replace(PAPER, logo=out.getvalue()), "en")).pages[0].images)) == 1
    assert not list(read(render(PAPER, "en")).pages[0].images)


def test_a_logo_is_read_from_a_file_or_refused_with_a_reason(tmp_path: Path) -> None:
    picture = tmp_path / "logo.jpg"
    Image.new("RGB", (30, 10), "#0b6b4f").save(picture, "JPEG")
    logo = logo_at(str(picture))
    assert len(list(read(render(replace(PAPER, logo=logo), "en")).pages[0].images)) == 1
    assert logo_at("") is None
    wide = tmp_path / "wide.png"
    Image.new("1", (invoice_pdf.LOGO_SIDE_MAX + 1, 1)).save(wide, "PNG")
    other = tmp_path / "other.png"
    other.write_text("<svg/>")
    for path, why in ((wide, "pixels"), (other, "PNG or a JPEG"), (tmp_path / "none.png", "No such file")):
        with pytest.raises(MathiaError, match=f"INVOICE_LOGO cannot be printed on invoices: .*{why}"):
            logo_at(str(path))


def test_a_long_description_goes_on_to_a_second_page_that_is_numbered() -> None:
    paper = replace(PAPER, description="one two three four. " * 100, issuer=Party("W" * 200), payer=Party("W" * 200))
    said = words(render(paper, "en"))
    assert "1 / 2" in said
    assert "Amount due KES 45,000.00" in said


async def test_it_is_drawn_beside_the_event_loop() -> None:
    ticked = 0

    async def tick() -> None:
        nonlocal ticked
        while True:
            await asyncio.sleep(0)
            ticked += 1

    ticking = asyncio.create_task(tick())
    pdfs = await asyncio.gather(*(drawn(PAPER, language) for language in ("en", "sw", "en")))
    ticking.cancel()
    assert pdfs[0] == pdfs[2] == render(PAPER, "en")
    assert ticked > 3


def test_the_notes_are_in_the_language_they_say() -> None:
    for note in invoice_pdf.NOTES.values():
        assert heard(note.en) == "en"
        assert heard(note.sw) == "sw"
