"""Text out of files: every kind we read, page by page; every bad one refused in a sentence, and in time."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.documents import child, reading
from connectors.documents.reading import CHILD, PROBLEMS, Section, Unreadable
from tests.connectors import papers
from tests.connectors.papers import LEASE, RECEIPT
from tests.core.test_pictures import huge_png

LIMIT_S = 20.0
HAS_OCR = importlib.util.find_spec("rapidocr") is not None
with_ocr = pytest.mark.skipif(not HAS_OCR, reason="nothing reads words off pictures: the extra [ocr] is not installed")
without_ocr = pytest.mark.skipif(HAS_OCR, reason="the extra [ocr] is installed")


async def sections(data: bytes, name: str = "file") -> list[tuple[str, str, str]]:
    """What is read of a file."""
    document = await reading.read(data, name, "en")
    return [(section.kind, section.name, section.text) for section in document.sections]


async def test_pdf_is_read_page_by_page() -> None:
    assert await sections(papers.pdf(LEASE)) == [("page", str(n), page) for n, page in enumerate(LEASE, 1)]


async def test_word_document_is_read_by_its_page_breaks() -> None:
    assert await sections(papers.word(LEASE)) == [("page", str(n), page) for n, page in enumerate(LEASE, 1)]


async def test_word_document_without_page_breaks_is_read_paragraph_by_paragraph() -> None:
    found = await sections(papers.word(["One.\nTwo."], broken_into_pages=False))
    assert found == [("paragraph", "1", "One."), ("paragraph", "2", "Two.")]


async def test_workbook_is_read_sheet_by_sheet() -> None:
    made = papers.excel({"Rent": [["month", "KES"], ["May", 45000]], "Empty": [], "Notes": [["paid", None, "late"]]})
    assert await sections(made) == [("sheet", "Rent", "month, KES\nMay, 45000"), ("sheet", "Notes", "paid, late")]


@pytest.mark.parametrize("comma", [",", ";", "\t"])
async def test_table_is_read_row_by_row_with_the_names_of_its_columns(comma: str) -> None:
    text = "\n".join(comma.join(row) for row in (("name", "owes"), ("Asha", "500"), ("Juma", "")))
    assert await sections(text.encode(), "debts.csv") == [
        ("row", "2", "name: Asha, owes: 500"),
        ("row", "3", "name: Juma"),
    ]


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_text_is_read_in_its_charset(charset: str) -> None:
    text = "Café prices\nup 5 %\n\n\nSecond: naïve"
    found = [("line", "1", "Café prices\nup 5 %"), ("line", "5", "Second: naïve")]
    assert await sections(text.encode(charset)) == found


async def test_what_nobody_can_see_is_taken_out() -> None:
    assert await sections("a\u202eb\u200bc\x07d\ufeff".encode()) == [("line", "1", "a b c d")]


BAD = {
    "empty": (b"", "empty"),
    "spaces": (b" \n\t", "empty"),
    "binary": (b"\x7fELF\0\0\0\0", "kind"),
    "zip of nothing we know": (papers.archive({"a.txt": b"x"}), "kind"),
    "old Word": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "kind"),
    "locked Word": (b"\xd0\xcf\x11\xe0" + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "locked"),
    "locked PDF": (papers.locked_pdf(), "locked"),
    "PDF without text": (papers.pdf(["", ""]), "no_text"),
    "PDF cut short": (papers.pdf(LEASE)[:150], "broken"),
    "PDF in name alone": (b"%PDF-1.7\nhello", "broken"),
    "10,000 pages": (papers.pdf(["x"] * 10_000), "pages"),
    "Word cut short": (papers.word(LEASE)[:-200], "broken"),
    "Word that is no XML": (papers.word_of(b"hello"), "broken"),
    "billion laughs": (papers.word_of(papers.LAUGHS), "bomb"),
    "entity that reads our files": (papers.word_of(papers.FILE_OF_OURS), "bomb"),
    "deep XML": (papers.word_of(papers.DEEP), "broken"),
    "zip bomb": (papers.archive({"word/document.xml": bytes(200 * 2**20)}), "bomb"),
    "many entries": (papers.archive({f"{n}": b"" for n in range(5_000)}), "bomb"),
    "picture of 13,000 by 13,000": (huge_png(13_000), "bomb"),
    "broken picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "broken"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_file_is_refused_in_a_sentence_and_in_time(name: str) -> None:
    data, problem = BAD[name]
    began = time.monotonic()
    with pytest.raises(Unreadable) as refused:
        await reading.read(data, "file", "sw")
    assert refused.value.problem == problem
    assert str(refused.value) == PROBLEMS["sw"][problem]
    assert time.monotonic() - began < LIMIT_S


async def test_zip_that_lies_about_its_size_is_not_unpacked() -> None:
    lying = bytearray(papers.archive({"word/document.xml": bytes(300 * 2**20), "[Content_Types].xml": b"<a/>"}))
    size = (300 * 2**20).to_bytes(4, "little")
    at = lying.find(size)
    while at >= 0:
        lying[at : at + 4] = (1_000).to_bytes(4, "little")
        at = lying.find(size, at + 4)
    with pytest.raises(Unreadable) as refused:
        await reading.read(bytes(lying), "file", "en")
    assert refused.value.problem in ("broken", "bomb")


async def test_page_that_draws_itself_for_ever_is_stopped() -> None:
    # One form that draws the next ten times, nine deep: a billion texts.
    began = time.monotonic()
    with suppress(Unreadable):
        document = await reading.read(nested_forms(), "file", "en")
        assert sum(len(section.text) for section in document.sections) <= child.SECTION_CHARS_MAX
    assert time.monotonic() - began < reading.READING_S_MAX + 5


async def test_reading_that_takes_too_long_is_ended_and_leaves_no_process() -> None:
    with pytest.raises(Unreadable) as refused:
        await reading.read(papers.pdf(["word " * 500] * 900), "file", "en", limit_s=0.2)
    assert refused.value.problem == "slow"
    assert not [one for one in psutil.Process().children() if str(CHILD) in " ".join(one.cmdline())]


def nested_forms() -> bytes:
    """A PDF of forms within forms."""
    forms = []
    for n in range(9):
        body = b"BT /F1 9 Tf (ha) Tj ET" if n == 8 else b"/X Do " * 10
        resources = b"/Font << /F1 3 0 R >>" if n == 8 else b"/XObject << /X %d 0 R >>" % (6 + n + 1)
        forms.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << %s >> /Length %d >>\nstream\n%s\nendstream"
            % (resources, len(body), body)
        )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >> /Contents 5 0 R >>",
        b"<< /Length 5 >>\nstream\n/X Do\nendstream",
        *forms,
    ]
    made, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(made + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))


def test_process_that_reads_can_write_no_file_and_sees_no_secret(tmp_path: object) -> None:
    answer = subprocess.run(
        [sys.executable, "-I", str(CHILD), "file"], input=b"hello", capture_output=True, env={}, check=True, timeout=30
    )
    assert json.loads(answer.stdout) == {"sections": [["line", "1", "hello"]], "cut": False}
    source = CHILD.read_text()
    assert "from core" not in source
    assert "import core" not in source
    assert "from connectors" not in source


async def test_long_document_is_kept_in_part_and_says_so() -> None:
    document = await reading.read(b"word " * 600_000, "file.txt", "en")
    assert document.cut
    assert sum(len(section.text) for section in document.sections) <= child.TEXT_CHARS_MAX


async def test_many_documents_at_once_are_read_in_turn() -> None:
    found = await asyncio.gather(*(reading.read(b"hello %d" % n, "a.txt", "en") for n in range(6)))
    assert [document.sections for document in found] == [(Section("line", "1", f"hello {n}"),) for n in range(6)]


SEEDS = [papers.pdf(["hello"]), papers.word(["hello"]), papers.excel({"a": [["hello"]]}), b"a,b\n1,2\n"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_broken_file_has_text_or_a_problem_we_know(whole: bytes, data: st.DataObject) -> None:
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 6))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    answer = child.read(bytes(broken), "a.csv")
    assert answer.get("problem") in PROBLEMS["en"] or answer["sections"]


def squeezed(text: str) -> str:
    """Text without what a reader of pictures is free to see in another way: spaces and ends of lines."""
    return "".join(text.split())


@with_ocr
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_words_are_read_off_a_picture(kind: str) -> None:
    [(what, number, text)] = await sections(papers.picture_file(RECEIPT, kind), "receipt")
    assert (what, number) == ("image", "1")
    assert squeezed(text) == squeezed("".join(RECEIPT))


@with_ocr
async def test_scanned_pages_are_read_by_their_pictures_beside_pages_of_text() -> None:
    both = papers.joined(papers.pdf(["The rent is KES 45,000."]), papers.scan([RECEIPT]))
    [text, seen] = await sections(both, "scan.pdf")
    assert text == ("page", "1", "The rent is KES 45,000.")
    assert seen[:2] == ("page", "2")
    assert "Asante" in seen[2]


@with_ocr
async def test_long_scan_is_read_in_part_in_time_and_says_so() -> None:
    began = time.monotonic()
    document = await reading.read(papers.scan([RECEIPT * 6] * 80), "scan.pdf", "en")
    assert document.cut
    assert 1 <= len(document.sections) < 80
    assert time.monotonic() - began < reading.READING_S_MAX


@with_ocr
async def test_scan_of_a_picture_larger_than_any_paper_is_not_opened() -> None:
    huge = papers.scan([RECEIPT]).replace(b"/Width 700", b"/Width 13000").replace(b"/Height ", b"/Height 13")
    with pytest.raises(Unreadable) as refused:
        await reading.read(huge, "scan.pdf", "en")
    assert refused.value.problem == "bomb"


@with_ocr
async def test_picture_of_nothing_has_no_text() -> None:
    with pytest.raises(Unreadable) as refused:
        await reading.read(papers.picture_file([""]), "white.png", "en")
    assert refused.value.problem == "no_text"


@with_ocr
async def test_reading_of_pictures_ends_with_its_time_and_leaves_no_process() -> None:
    with pytest.raises(Unreadable) as refused:
        await reading.read(papers.scan([RECEIPT] * 9), "scan.pdf", "en", limit_s=1.0)
    assert refused.value.problem == "slow"
    assert not [one for one in psutil.Process().children() if str(CHILD) in " ".join(one.cmdline())]


@without_ocr
@pytest.mark.parametrize(
    ("data", "problem"), [(papers.picture_file(RECEIPT), "no_ocr"), (papers.scan([RECEIPT]), "no_text")]
)
@pytest.mark.parametrize("language", ["en", "sw"])
async def test_where_nothing_reads_pictures_the_person_is_told(data: bytes, problem: str, language: str) -> None:
    with pytest.raises(Unreadable) as refused:
        await reading.read(data, "receipt", language)
    assert str(refused.value) == PROBLEMS[language][problem]
