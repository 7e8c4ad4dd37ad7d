"""Voice notes that people in the sandbox send: silence in Ogg Opus, with what is "said" in a comment of the file.

The transcription simulator reads the same comment back, so that a test or the phone can speak without a microphone.
"""

import struct
from functools import cache

VOICE_TYPE = "audio/ogg"
SAID = "SAID"
"""The comment's name, as Vorbis comments have it: SAID=what time is it."""
WORDS_CHARS_MAX = 4_000
PACKET = b"\xf8\xff\xfe"
"""20 ms of silence: a full-band CELT frame, mono."""
PACKETS_A_PAGE = 50
VOICE_S = 3
SAMPLES_A_PACKET = 960
SERIAL = 0x4D415448


def voice_note(words: str, seconds: int = VOICE_S) -> bytes:
    """An Ogg Opus file of whole seconds that "says" these words."""
    comment = f"{SAID}={words[:WORDS_CHARS_MAX]}".encode()
    vendor = b"mathia sandbox"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<II", 1, len(comment)) + comment
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    pages = [_page([head], 0, 0, 2), _page([tags], 0, 1, 0)]
    for second in range(1, seconds + 1):
        granule = second * PACKETS_A_PAGE * SAMPLES_A_PACKET
        pages.append(_page([PACKET] * PACKETS_A_PAGE, granule, second + 1, 4 if second == seconds else 0))
    return b"".join(pages)


def words_in(audio: bytes) -> str | None:
    """What a file "says": its comment, wherever the container keeps it; None when it has none."""
    found = audio.find(f"{SAID}=".encode())
    if found < 4:
        return None
    size = int(struct.unpack_from("<I", audio, found - 4)[0])
    start = found + len(SAID) + 1
    return audio[start : found + min(size, 4 * WORDS_CHARS_MAX)].decode("utf-8", "replace").rstrip("\0")


def _page(packets: list[bytes], granule: int, number: int, flags: int) -> bytes:
    laces = b"".join(bytes([255] * (len(packet) // 255) + [len(packet) % 255]) for packet in packets)
    body = laces + b"".join(packets)
    bare = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, SERIAL, number, 0, len(laces)) + body
    return bare[:22] + struct.pack("<I", _crc(bare)) + bare[26:]


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for start in range(256):
        value = start << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        rows.append(value)
    return tuple(rows)


def _crc(page: bytes) -> int:
    """Ogg's own checksum: CRC-32 without reflection, beginning and ending with nothing."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _table()[value >> 24 ^ byte]
    return value
