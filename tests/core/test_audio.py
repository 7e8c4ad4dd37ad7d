"""How long audio files play: every container we know, made here byte by byte; and nothing else is taken for audio."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.sandbox.voices import voice_note, words_in
from core import audio
from core.audio import UnreadableAudio


def wav(seconds: int, rate: int = 8_000) -> bytes:
    """16-bit mono."""
    size = seconds * rate * 2
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return head + struct.pack("<4sI", b"data", size) + bytes(size)


def mp3(frames: int) -> bytes:
    """MPEG 1 layer III at 128 kbit/s and 44.1 kHz, behind an ID3 head."""
    return b"ID3\4\0\0\0\0\0\5hello" + (b"\xff\xfb\x90\x00" + bytes(413)) * frames


def flac(seconds: int) -> bytes:
    """A stream's head alone."""
    packed = 44_100 << 44 | 15 << 36 | seconds * 44_100
    return b"fLaC\x80\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)


def box(name: bytes, body: bytes) -> bytes:
    """One box of an MP4 file."""
    return struct.pack(">I4s", 8 + len(body), name) + body


def mp4(stated_ms: int, fragments_ms: tuple[int, ...] = ()) -> bytes:
    """A file that states its length, or a recorder's: a head left open and fragments."""
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1_000, stated_ms) + bytes(80))
    tkhd = box(b"tkhd", bytes(12) + struct.pack(">I", 7) + bytes(68))
    mdhd = box(b"mdhd", bytes(12) + struct.pack(">II", 48_000, 0) + bytes(4))
    moov = box(b"moov", mvhd + box(b"trak", tkhd + box(b"mdia", mdhd)))
    moofs = b""
    for length in fragments_ms:
        tfhd = box(b"tfhd", struct.pack(">III", 8, 7, 480))
        trun = box(b"trun", struct.pack(">II", 0, length // 10))
        moofs += box(b"moof", box(b"traf", tfhd + trun)) + box(b"mdat", bytes(20))
    return box(b"ftyp", b"M4A \0\0\0\0") + moov + moofs


def element(name: bytes, body: bytes) -> bytes:
    """One element of a WebM file with a size of two bytes."""
    return name + struct.pack(">H", 0x4000 | len(body)) + body


def webm(clusters_ms: tuple[int, ...]) -> bytes:
    """What a browser records: sizes of segment and clusters left open, no duration."""
    open_end = b"\x01\xff\xff\xff\xff\xff\xff\xff"
    found = element(b"\x1aE\xdf\xa3", element(b"\x42\x82", b"webm")) + b"\x18\x53\x80\x67" + open_end
    for at in clusters_ms:
        found += b"\x1f\x43\xb6\x75" + open_end + element(b"\xe7", at.to_bytes(4, "big"))
        for step in (0, 60, 120):
            found += element(b"\xa3", b"\x81" + struct.pack(">hB", step, 0x80) + b"opus")
    return found


@pytest.mark.parametrize(
    ("data", "extension", "seconds"),
    [
        (voice_note("hi", 3), "ogg", 3.0),
        (voice_note("hi", 2) + voice_note("there", 3).replace(b"HTAM", b"NEXT"), "ogg", 5.0),
        (wav(2), "wav", 2.0),
        (mp3(100), "mp3", 2.612),
        (flac(42), "flac", 42.0),
        (mp4(5_500), "m4a", 5.5),
        (mp4(0, (1_000, 2_000)), "m4a", 3.0),
        (webm((0, 5_000, 10_000)), "webm", 10.12),
    ],
    ids=["ogg", "ogg chained", "wav", "mp3", "flac", "mp4", "mp4 in fragments", "webm"],
)
def test_length_is_read_from_the_container(data: bytes, extension: str, seconds: float) -> None:
    found = audio.read(data)
    assert found.extension == extension
    assert found.duration_s == pytest.approx(seconds, abs=0.01)


def test_wav_of_a_stream_has_the_length_of_what_is_there() -> None:
    whole = bytearray(wav(1))
    whole[40:44] = b"\xff\xff\xff\xff"
    assert audio.read(bytes(whole)).duration_s == pytest.approx(1.0)


def test_rate_of_nothing_is_no_length() -> None:
    broken = bytearray(wav(1))
    broken[28:32] = bytes(4)
    with pytest.raises(UnreadableAudio):
        audio.read(bytes(broken))


WHOLE = [voice_note("hi", 1), wav(1), mp3(3), flac(1), mp4(1_000, (1_000,)), webm((0,))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_broken_file_is_unreadable_or_has_a_length_and_nothing_else(whole: bytes, data: st.DataObject) -> None:
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if broken:
            broken[data.draw(st.integers(0, min(len(broken) - 1, 400)))] = data.draw(st.integers(0, 255))
    try:
        found = audio.read(bytes(broken))
    except UnreadableAudio:
        return
    assert found.extension


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"%PDF-1.7", b"GIF89a", b"<html>", b"RIFF\0\0\0\0AVI LIST", b"\xff\xfe"]
)
def test_what_is_no_audio_is_not_read(data: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        audio.read(data)


@given(st.text(max_size=300).filter(lambda text: "\0" not in text))
def test_sandbox_note_says_what_it_was_made_to_say(words: str) -> None:
    assert words_in(voice_note(words, 1)) == words.encode("utf-8", "replace").decode()
