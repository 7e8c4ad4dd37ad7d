"""What a file is by its bytes: the closed list, lies, traps, and names."""

import io
import unicodedata
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sniff import (
    DOCX,
    ENTRIES_MAX,
    EXTENSIONS,
    FILE_BYTES_MAX,
    NAME_CHARS_MAX,
    PDF,
    XLSX,
    FileRefused,
    clean_name,
    sniff,
)

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(40)
OGG = b"OggS\x00\x02" + bytes(22) + b"\x01\x13OpusHead" + bytes(40)
WEBM = b"\x1a\x45\xdf\xa3" + bytes(4) + b"\x42\x82\x84webm" + bytes(60)


def archive(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return out.getvalue()


def office(folder: str, **more: bytes) -> bytes:
    return archive(**{"[Content_Types]_dot_xml": b"<Types/>", f"{folder}__a_dot_xml": b"<a/>"}, **more)


@pytest.mark.parametrize(
    ("name", "data", "media_type", "kept"),
    [
        ("photo.PNG", PNG, "image/png", "photo.PNG"),
        ("photo.jpg", PNG, "image/png", "photo.jpg.png"),
        ("note.ogg", OGG, "audio/ogg", "note.ogg"),
        ("contract.pdf", b"%PDF-1.7\n1 0 obj", PDF, "contract.pdf"),
        ("contract.exe", b"%PDF-1.7\n1 0 obj", PDF, "contract.exe.pdf"),
        ("bei.csv", b"jina,bei\nsukari,150\n", "text/csv", "bei.csv"),
        ("bei.csv", "jina;größe\n".encode("latin-1"), "text/csv", "bei.csv"),
        ("README", b"plain words", "text/plain", "README.txt"),
        ("barua.docx", office("word"), DOCX, "barua.docx"),
        ("bei.xlsx", office("xl"), XLSX, "bei.xlsx"),
    ],
)
def test_a_file_is_what_its_bytes_say(name: str, data: bytes, media_type: str, kept: str) -> None:
    found = sniff(name, data, "application/x-whatever")
    assert (found.media_type, found.name) == (media_type, kept)


def test_a_recording_of_a_browser_is_sound_where_it_says_so() -> None:
    assert sniff("n.webm", WEBM, "audio/webm;codecs=opus").media_type == "audio/webm"
    assert sniff("n.webm", WEBM).media_type == "video/webm"


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("empty", b""),
        ("type", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("type", b"\xef\xbb\xbf <!DOCTYPE html><script>alert(1)</script>"),
        ("type", b"words, and <script>alert(1)</script>"),
        ("type", b"#!/bin/sh\nrm -rf /\n"),
        ("type", b"MZ" + bytes(200)),
        ("type", b"\x7fELF" + bytes(200)),
        ("type", bytes(1000)),
        ("type", b"words and \x00 a hole"),
        ("type", archive(a=b"just a zip")),
        ("hidden", b"%PDF-1.7\n" + archive(a=b"hidden")),
        ("hidden", OGG + archive(a=b"hidden")),
        ("macros", office("word", word__vbaProject_dot_bin=b"x")),
        ("bomb", office("xl", xl__b_dot_xml=bytes(2 * 1024 * 1024))),
        ("broken", office("word")[:-30]),
        ("broken", b"PK\x03\x04" + bytes(100)),
        ("too_large", bytes(FILE_BYTES_MAX + 1)),
    ],
)
def test_what_can_run_hide_or_unfold_is_refused(code: str, data: bytes) -> None:
    with pytest.raises(FileRefused) as refused:
        sniff("file.pdf", data, "image/png")
    assert refused.value.code == code


def test_an_archive_of_very_many_entries_is_refused() -> None:
    with pytest.raises(FileRefused) as refused:
        sniff("a.docx", office("word", **{f"word__{n}": b"" for n in range(ENTRIES_MAX)}))
    assert refused.value.code == "bomb"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd.png"),
        ("C:\\Users\\amina\\photo.png", "photo.png"),
        ("photo\u202egnp.exe", "photognp.exe.png"),
        ("a\x00b\nc.png", "abc.png"),
        ("", "file.png"),
        ("....", "file.png"),
        (".png", "png.png"),
        ('what?"<x>|.png', "what_x_.png"),
    ],
)
def test_names_are_only_names(name: str, kept: str) -> None:
    assert clean_name(name, "png") == kept


@given(st.text(max_size=400))
def test_a_clean_name_stays_clean(name: str) -> None:
    kept = clean_name(name, "png")
    assert clean_name(kept, "png") == kept
    assert 4 < len(kept) <= NAME_CHARS_MAX
    assert kept.lower().endswith(".png")
    assert not set(kept) & set('/\\:*?"<>|\n\0')
    assert all(unicodedata.category(sign) not in ("Cc", "Cf") for sign in kept)


@given(st.binary(max_size=2000), st.text(max_size=40), st.text(max_size=40))
def test_any_bytes_are_named_or_refused(data: bytes, name: str, said: str) -> None:
    codes = {"empty", "type", "hidden", "macros", "bomb", "broken"}
    try:
        found = sniff(name, data, said).media_type
    except FileRefused as error:
        found = error.code
    assert found in codes | set(EXTENSIONS)
