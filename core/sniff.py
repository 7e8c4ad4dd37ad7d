"""What a file is, by its bytes; names and types that somebody said count for nothing. Pure.

A closed list: pictures (which are drawn anew before anybody sees them), sound, film, documents and plain text. What can
run, hide something, or unfold without end is refused.
"""

import io
import re
import unicodedata
import zipfile
from dataclasses import dataclass

from core.errors import UserError
from core.language import Saying

FILE_BYTES_MAX = 50 * 1024 * 1024
NAME_CHARS_MAX = 120
HEAD = 8_192
"""How much of a file's beginning tells its type."""
TAIL = 70_000
"""Where the directory of a zip archive that hangs on another file would be."""
ENTRIES_MAX = 5_000
UNPACKED_BYTES_MAX = 200 * 1024 * 1024
RATIO_MAX = 200
"""How many times larger than packed one entry of an archive may be."""
UNPACKED_FREE = 1024 * 1024
"""Below this an entry may be as well packed as it likes."""

PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
SOUND = {
    "audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/wav": "wav", "audio/webm": "webm",
    "audio/aac": "aac", "audio/amr": "amr", "audio/flac": "flac",
}  # fmt: skip
FILM = {"video/mp4": "mp4", "video/webm": "webm", "video/3gpp": "3gp", "video/quicktime": "mov"}
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
DOCUMENTS = {PDF: "pdf", DOCX: "docx", XLSX: "xlsx", PPTX: "pptx", "text/csv": "csv", "text/plain": "txt"}
EXTENSIONS = PICTURES | SOUND | FILM | DOCUMENTS
SHOWN_INLINE = frozenset(PICTURES | SOUND | FILM)
"""What a browser may show by itself; everything else is only ever downloaded."""

_SAME = {
    "audio/x-wav": "audio/wav", "audio/m4a": "audio/mp4", "audio/x-m4a": "audio/mp4", "audio/x-flac": "audio/flac",
    "video/x-m4v": "video/mp4", "audio/amr-wb": "audio/amr",
}  # fmt: skip
_OFFICE = {"word/": DOCX, "xl/": XLSX, "ppt/": PPTX}
_MARKUP = re.compile(rb"<\s*(!doctype|html|head|body|script|svg|iframe|\?xml|\?php|!--)", re.IGNORECASE)
_REPEATED_SPACE = re.compile(r"\s+")
_PATH = re.compile(r"[\\/:*?\"<>|]+")


EMPTY = Saying("The file is empty.", "Faili haina kitu.")
TOO_LARGE = Saying("A file may have at most {most} MB.", "Faili isizidi MB {most}.").filled(
    most=FILE_BYTES_MAX // 2**20
)
TYPE = Saying(
    "Files of this type are not taken. Send a picture, a recording, a film, a PDF, or an Office file.",
    "Faili ya aina hii haipokelewi. Tuma picha, sauti, video, PDF au faili ya Office.",
)
HIDDEN = Saying(
    "The file has an archive hidden in it, so it is not taken.",
    "Faili hii ina faili nyingine iliyofichwa ndani yake, kwa hiyo haipokelewi.",
)
BROKEN = Saying("The file is damaged and cannot be read.", "Faili imeharibika na haisomeki.")
BOMB = Saying(
    "The file unpacks to far more than it seems, so it is not taken.",
    "Faili hii ikifunguliwa ni kubwa kuliko inavyoonekana, kwa hiyo haipokelewi.",
)
MACROS = Saying(
    "The document contains macros. Save it without them and send it again.",
    "Hati hii ina makro. Ihifadhi bila makro kisha uitume tena.",
)


class FileRefused(UserError):
    """A file that is not taken; `code` is for programs, the message for people."""

    def __init__(self, code: str, says: Saying) -> None:
        super().__init__(says)
        self.code = code


@dataclass(frozen=True, slots=True)
class Sniffed:
    """A file's name, made safe, and what it is."""

    name: str
    media_type: str


def sniff(name: str, data: bytes, said: str = "") -> Sniffed:
    """What `data` is. `said`, a MIME type, only tells sound from film where one container holds both.

    Raises FileRefused.
    """
    if not data:
        raise FileRefused("empty", EMPTY)
    if len(data) > FILE_BYTES_MAX:
        raise FileRefused("too_large", TOO_LARGE)
    media_type = _media_type(name, data, said.partition(";")[0].strip().lower())
    if media_type is None:
        raise FileRefused("type", TYPE)
    return Sniffed(clean_name(name, EXTENSIONS[media_type]), media_type)


def _media_type(name: str, data: bytes, said: str) -> str | None:
    import filetype

    head = data[:HEAD]
    guessed = filetype.guess_mime(head)
    guessed = _SAME.get(guessed, guessed)
    if guessed in PICTURES:
        return str(guessed)
    if _MARKUP.search(head[:1024]):
        return None
    if head[:4] == b"PK\x03\x04":
        return _office(data)
    if b"PK\x05\x06" in data[-TAIL:]:
        raise FileRefused("hidden", HIDDEN)
    if head.startswith(b"%PDF-"):
        return PDF
    if guessed == "video/webm" and said == "audio/webm":
        return "audio/webm"
    if guessed == "video/mp4" and said == "audio/mp4":
        return "audio/mp4"
    if guessed in SOUND or guessed in FILM:
        return str(guessed)
    if head.startswith(b"OggS"):
        return "audio/ogg"
    if guessed is None and _is_text(data):
        return "text/csv" if name.lower().endswith(".csv") else "text/plain"
    return None


def _is_text(data: bytes) -> bool:
    if data.startswith(b"#!"):
        return False
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old spreadsheets write Latin-1; control characters would say that it is no text at all.
        text = data.decode("latin-1")
        if any(0x80 <= byte < 0xA0 for byte in data[:HEAD]):
            return False
    return not any(unicodedata.category(sign) == "Cc" and sign not in "\t\n\r\f" for sign in text[:65_536])


def _office(data: bytes) -> str | None:
    """The type of an Office document; None for other archives. Raises FileRefused for one that is a trap."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise FileRefused("broken", BROKEN) from error
    if len(entries) > ENTRIES_MAX or sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
        raise FileRefused("bomb", BOMB)
    for entry in entries:
        if entry.file_size > UNPACKED_FREE and entry.file_size > RATIO_MAX * max(entry.compress_size, 1):
            raise FileRefused("bomb", BOMB)
    names = [entry.filename for entry in entries]
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        raise FileRefused("macros", MACROS)
    if "[Content_Types].xml" not in names:
        return None
    return next((kind for prefix, kind in _OFFICE.items() if any(name.startswith(prefix) for name in names)), None)


def clean_name(name: str, extension: str) -> str:
    """A name that is only a name: no path, no control or direction characters, with the extension of what it is."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    name = "".join(sign for sign in name if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    name = _REPEATED_SPACE.sub(" ", _PATH.sub("_", name)).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if not dot or ending.lower() not in {extension, *_ALIASES.get(extension, ())}:
        stem, ending = name, extension
    stem = stem.strip(" .")[: NAME_CHARS_MAX - len(ending) - 1].strip(" .")
    return f"{stem or 'file'}.{ending}"


_ALIASES = {
    "jpg": ("jpeg", "jpe"), "ogg": ("oga", "opus"), "m4a": ("mp4",), "txt": ("text", "md", "log"), "mov": ("qt",),
}  # fmt: skip
