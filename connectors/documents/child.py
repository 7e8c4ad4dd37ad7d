"""Text out of a file, in a process of its own that has nothing to lose: no settings, no database, little of everything.

    python child.py NAME LANGUAGES < FILE > ANSWER

It imports nothing of ours, limits itself before it reads a byte, and answers with one JSON object: the sections of the
document, each (kind, name, text), or the problem that there is. Kinds are page, sheet, paragraph, row, line, image.
"""

import csv
import io
import json
import re
import resource
import sys
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

CPU_S_MAX = 15
MEMORY_MAX = 640 * 2**20
OCR_MEMORY_MAX = 3 * 2**30
"""Address space; reading words off pictures takes a neural network."""
OCR_CPU_S_MAX = 60
OCR_S_MAX = 15.0
"""How long pictures are read; those that come after it are left out, and said to be."""
OCR_PICTURES_MAX = 20
"""How many pictures of one page are read."""
OCR_SIDE_MIN = 48
"""Pictures smaller than this, in pixels, are ornaments."""
FILE_BYTES_MAX = 50 * 2**20
PAGES_MAX = 1_000
TEXT_CHARS_MAX = 2_000_000
"""How much text is kept; what follows is left out, and said to be."""
SECTION_CHARS_MAX = 100_000
ROWS_MAX = 20_000
COLUMNS_MAX = 100
SHEETS_MAX = 100
UNPACKED_MAX = 150 * 2**20
"""How large an Office file may be once unpacked."""
ENTRIES_MAX = 3_000
PIXELS_MAX = 40_000_000

BEGAN = time.monotonic()

Section = tuple[str, str, str]

WHITE = re.compile(r"[^\S\n]+")
LINES = re.compile(r"\n{3,}")


class Problem(Exception):
    """Why there is no text, as a word that connectors/documents knows a sentence for."""


class LeftOut(Exception):
    """Time for pictures is over: what has been read is kept."""


def clean(text: str) -> str:
    """Text without what nobody can see: controls, overrides of direction, surrogates; spaces made one."""
    seen = "".join(
        char if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co") else " " for char in text
    )
    return LINES.sub("\n\n", WHITE.sub(" ", seen)).strip()


def pdf(data: bytes) -> Iterator[Section]:
    """Page by page; a page without text by its pictures, where the extra that reads them is installed."""
    import pypdf
    from pypdf.errors import PyPdfError

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Problem("locked")
        if len(reader.pages) > PAGES_MAX:
            raise Problem("pages")
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text()
            yield "page", str(number), text if text.strip() else "\n".join(map(words_on, scanned(page)))
    except PyPdfError:
        raise Problem("broken") from None


def unpacked(data: bytes) -> zipfile.ZipFile:
    """An Office file as the archive that it is, once it is known to be of a sane size and without declarations."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
        if len(entries) > ENTRIES_MAX or sum(entry.file_size for entry in entries) > UNPACKED_MAX:
            raise Problem("bomb")
        for entry in entries:
            if entry.flag_bits & 1:
                raise Problem("locked")
            if entry.filename.endswith((".xml", ".rels")):
                with archive.open(entry) as part:
                    head = part.read(4_096)
                if b"<!DOCTYPE" in head or b"<!ENTITY" in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    # No word processor writes these; they only serve to make readers choke or fetch.
                    raise Problem("bomb")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zipfile.zlib.error):  # type: ignore[attr-defined]
        raise Problem("broken") from None
    return archive


def docx(data: bytes) -> Iterator[Section]:
    """By the pages its writer last saw, where it kept them; else paragraph by paragraph."""
    import docx as word

    body = word.Document(io.BytesIO(data)).element.body
    name = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    pages: list[list[str]] = [[""]]
    for element in body.iter():
        match element.tag:
            case tag if tag == f"{name}t":
                pages[-1][-1] += element.text or ""
            case tag if tag in (f"{name}tab", f"{name}tc"):
                pages[-1][-1] += " "
            case tag if tag in (f"{name}p", f"{name}cr"):
                pages[-1].append("")
            case tag if tag == f"{name}br" and element.get(f"{name}type") != "page":
                pages[-1][-1] += "\n"
            case tag if tag in (f"{name}lastRenderedPageBreak", f"{name}br"):
                pages.append([""])
                if len(pages) > PAGES_MAX:
                    raise Problem("pages")
    if len(pages) > 1:
        for number, page in enumerate(pages, 1):
            yield "page", str(number), "\n".join(page)
        return
    for number, paragraph in enumerate((text for text in pages[0] if text.strip()), 1):
        yield "paragraph", str(number), paragraph


def xlsx(data: bytes) -> Iterator[Section]:
    """Sheet by sheet, one line a row."""
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    rows = 0
    for sheet in book.worksheets[:SHEETS_MAX]:
        sheet.reset_dimensions()
        lines = []
        for row in sheet.iter_rows(max_col=COLUMNS_MAX, values_only=True):
            rows += 1
            if rows > ROWS_MAX:
                break
            cells = [str(cell) for cell in row if cell is not None and str(cell).strip()]
            if cells:
                lines.append(", ".join(cells))
        yield "sheet", clean(sheet.title)[:80], "\n".join(lines)


def table(text: str) -> Iterator[Section]:
    """Row by row, each value with the name of its column."""
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:8_192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    csv.field_size_limit(SECTION_CHARS_MAX)
    names: list[str] = []
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), dialect), 1):
            if number > ROWS_MAX:
                return
            if number == 1:
                names = row[:COLUMNS_MAX]
                continue
            cells = [
                f"{names[n]}: {cell}" if n < len(names) else cell
                for n, cell in enumerate(row[:COLUMNS_MAX])
                if cell.strip()
            ]
            yield "row", str(number), ", ".join(cells)
    except csv.Error:
        raise Problem("broken") from None


def plain(text: str) -> Iterator[Section]:
    """Stretch by stretch between empty lines, each named by its first line."""
    first, lines = 1, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            lines.append(line)
            continue
        if lines:
            yield "line", str(first), "\n".join(lines)
        first, lines = number + 1, []
    if lines:
        yield "line", str(first), "\n".join(lines)


def decoded(data: bytes) -> str:
    """Text by its mark, as UTF-8, or as Windows writes it; a file with bytes of zero is none."""
    for mark, charset in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[len(mark) :].decode(charset, "replace")
    if b"\0" in data:
        raise Problem("kind")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def image(data: bytes) -> Iterator[Section]:
    """The words on a picture, where the extra that reads them is installed."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > PIXELS_MAX:
                raise Problem("bomb")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise Problem("broken") from None
    if reader() is None:
        raise Problem("no_ocr")
    yield "image", "1", words_on(data)


def scanned(page: Any) -> Iterator[bytes]:
    """The pictures on a page of a PDF as files, in its order; none where nobody reads them."""
    from pypdf.errors import PyPdfError

    resources = page.get("/Resources")
    objects = resources.get_object().get("/XObject") if resources else None
    named = [(name, one.get_object()) for name, one in objects.get_object().items()] if objects else []
    pictures = [
        (name, int(one["/Width"]) * int(one["/Height"]))
        for name, one in named
        if one.get("/Subtype") == "/Image" and min(int(one["/Width"]), int(one["/Height"])) >= OCR_SIDE_MIN
    ]
    if not pictures or reader() is None:
        return
    for name, pixels in pictures[:OCR_PICTURES_MAX]:
        if pixels > PIXELS_MAX:
            raise Problem("bomb")
        try:
            yield page.images[name].data
        except (PyPdfError, NotImplementedError, OSError, ValueError, KeyError):
            continue  # In a form of its own that nobody can draw; the others may be read.


@cache
def reader() -> Any:
    """What reads words off pictures, with the memory and the time that this takes; None where it is not installed."""
    resource.setrlimit(resource.RLIMIT_AS, (OCR_MEMORY_MAX, OCR_MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (OCR_CPU_S_MAX, OCR_CPU_S_MAX + 1))
    try:
        from rapidocr import RapidOCR  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return RapidOCR()


def words_on(picture: bytes) -> str:
    """The words on one picture, line by line. Raises LeftOut when there is no time for it."""
    if time.monotonic() - BEGAN > OCR_S_MAX:
        raise LeftOut
    return "\n".join(reader()(picture).txts or ())


PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def sections(data: bytes, name: str) -> Iterator[Section]:
    """The sections of a file, by what its bytes say it is; its name only tells a table from a text."""
    if not data.strip(b"\0 \r\n\t"):
        raise Problem("empty")
    if b"%PDF-" in data[:1_024]:
        return pdf(data)
    if data.startswith(b"PK\x03\x04"):
        with unpacked(data) as archive:
            inside = set(archive.namelist())
        if "word/document.xml" in inside:
            return docx(data)
        if "xl/workbook.xml" in inside:
            return xlsx(data)
        raise Problem("kind")
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Problem("locked" if "EncryptedPackage".encode("utf-16-le") in data else "kind")
    if data.startswith(PICTURES) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        return image(data)
    text = decoded(data)
    return table(text) if name.lower().endswith((".csv", ".tsv")) else plain(text)


def read(data: bytes, name: str) -> dict[str, object]:
    """The answer: sections with text, as much of it as is kept, or the problem."""
    kept: list[Section] = []
    left, cut = TEXT_CHARS_MAX, False
    try:
        for kind, label, text in sections(data, name):
            words = clean(text[: 2 * SECTION_CHARS_MAX])
            cut = cut or len(words) > min(left, SECTION_CHARS_MAX)
            words = words[: min(left, SECTION_CHARS_MAX)]
            if words:
                kept.append((kind, label, words))
            left -= len(words)
            if left <= 0:
                break
    except LeftOut:
        if not kept:
            return {"problem": "slow"}
        cut = True
    except Problem as problem:
        return {"problem": str(problem)}
    except MemoryError:
        return {"problem": "bomb"}
    except RecursionError:
        return {"problem": "broken"}
    except Exception as error:
        # Whatever these libraries raise for a file they cannot read; its class is all that is told.
        return {"problem": "broken", "error": type(error).__name__}
    return {"sections": kept, "cut": cut} if kept else {"problem": "no_text"}


def main() -> None:
    """Limit ourselves, read, answer."""
    data = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, OCR_MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, OCR_CPU_S_MAX + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer: dict[str, object] = {"problem": "large"}
    if len(data) <= FILE_BYTES_MAX:
        answer = read(data, sys.argv[1])
    sys.stdout.buffer.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
