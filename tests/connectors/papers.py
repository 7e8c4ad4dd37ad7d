"""Documents made on the spot, byte by byte where that is what matters."""

import io
import zipfile
from collections.abc import Sequence

import docx
import openpyxl
import pypdf
from docx.enum.text import WD_BREAK
from PIL import Image, ImageDraw, ImageFont

RECEIPT = ("DUKA LA MAMA NJERI", "Receipt 2041", "Sukari 2 kg KES 320", "Total KES 450", "Asante kwa kununua")
LEASE = (
    "LEASE AGREEMENT\nThis lease is made between Otieno Properties and Amina Wanjiku. It concerns the shop at 14 Moi"
    " Avenue, Mombasa.",
    "RENT\nThe monthly rent is KES 45,000. The rent is due on the fifth day of each month. Rent that is paid late"
    " bears interest of two percent a month.",
    "DEPOSIT AND NOTICE\nThe tenant pays a deposit of KES 90,000. Either party may end the lease with three months"
    " written notice. The deposit is returned within thirty days.",
)


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF that shows these texts, one a page, line by line."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        lines = b"".join(
            b"(" + line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").encode("latin-1", "replace")
            + b") Tj T*\n"
            for line in page.split("\n")
        )  # fmt: skip
        stream = b"BT /F1 12 Tf 14 TL 72 720 Td\n" + lines + b"ET"
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
            b" /Contents %d 0 R >>" % (len(objects) + 2)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    made, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(made + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))


def locked_pdf() -> bytes:
    """A PDF under a password."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["secret"])))
    writer.encrypt("password", algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def word(pages: Sequence[str], *, broken_into_pages: bool = True) -> bytes:
    """A Word document, with a page break after each page or none at all."""
    document = docx.Document()
    for number, page in enumerate(pages):
        for line in page.split("\n"):
            paragraph = document.add_paragraph(line)
        if broken_into_pages and number < len(pages) - 1:
            paragraph.add_run().add_break(WD_BREAK.PAGE)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def excel(sheets: dict[str, list[list[object]]]) -> bytes:
    """An Excel workbook."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def archive(entries: dict[str, bytes]) -> bytes:
    """A ZIP archive, packed as well as it can be."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in entries.items():
            packed.writestr(name, body)
    return made.getvalue()


def word_of(xml: bytes) -> bytes:
    """A Word document whose text part is this XML."""
    made = io.BytesIO()
    whole = zipfile.ZipFile(io.BytesIO(word(["x"])))
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, xml if name == "word/document.xml" else whole.read(name))
    return made.getvalue()


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b']><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
    b"<w:t>&j;</w:t></w:r></w:p></w:body></w:document>"
)
FILE_OF_OURS = LAUGHS.replace(b'<!ENTITY a "ha">', b'<!ENTITY a SYSTEM "file:///etc/passwd">')
DEEP = (
    b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    + b"<w:p>" * 100_000
    + b"</w:p>" * 100_000
    + b"</w:body></w:document>"
)


def picture(lines: Sequence[str]) -> Image.Image:
    """These lines as a scanner or a phone would see them."""
    made = Image.new("RGB", (700, 75 * len(lines) + 40), "white")
    drawn, font = ImageDraw.Draw(made), ImageFont.load_default(size=32)
    for number, line in enumerate(lines):
        drawn.text((40, 30 + 75 * number), line, "black", font=font)
    return made


def picture_file(lines: Sequence[str], kind: str = "PNG") -> bytes:
    """A picture of these lines."""
    made = io.BytesIO()
    picture(lines).save(made, kind)
    return made.getvalue()


def scan(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF of pictures of these pages, without any text."""
    made = io.BytesIO()
    first, *others = [picture(page) for page in pages]
    first.save(made, "PDF", save_all=True, append_images=others)
    return made.getvalue()


def joined(*files: bytes) -> bytes:
    """One PDF of all their pages."""
    writer = pypdf.PdfWriter()
    for one in files:
        writer.append(io.BytesIO(one))
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()
