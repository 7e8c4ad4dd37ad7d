"""Audio files by their own words: which container it is and how long it plays, read from the bytes alone. Pure.

Nothing is decoded. Lengths come from what players go by (granule positions, sample counts, block times), never from
what the sender said beside the file.
"""

import struct
from dataclasses import dataclass

AUDIO_BYTES_MAX = 25 * 1024 * 1024
"""Largest file that transcription services take."""
AUDIO_S_MAX = 600.0
"""Longest note we have written down."""
BOXES_MAX = 200_000
"""How many pages, frames, boxes or blocks of one file are looked at; ten minutes have far fewer."""
OPUS_HZ = 48_000
MP3_KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Layer III bit rates in kbit/s: MPEG 1, and MPEG 2 and 2.5."""
MP3_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class UnreadableAudio(ValueError):
    """Not audio of a kind we know, or broken."""


@dataclass(frozen=True, slots=True)
class Audio:
    """What a file is: the extension that services know it by, and how many seconds it plays."""

    extension: str
    duration_s: float


def read(data: bytes) -> Audio:
    """The container and length of an audio file; raises UnreadableAudio."""
    try:
        if data.startswith(b"OggS"):
            return Audio("ogg", _ogg(data))
        if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
            return Audio("wav", _wav(data))
        if data.startswith(b"\x1aE\xdf\xa3"):
            return Audio("webm", _webm(data))
        if data[4:8] == b"ftyp":
            return Audio("m4a", _mp4(data))
        if data.startswith(b"fLaC"):
            return Audio("flac", _flac(data))
        if data.startswith(b"ID3") or (len(data) > 4 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):
            return Audio("mp3", _mp3(data))
    except (struct.error, IndexError, ZeroDivisionError, OverflowError):
        raise UnreadableAudio("The file is broken.") from None
    raise UnreadableAudio("It is not audio of a kind we know.")


def _ogg(data: bytes) -> float:
    """Opus and Vorbis: each stream plays up to its largest granule position; streams follow one another."""
    lengths: dict[int, float] = {}
    rates: dict[int, tuple[int, int]] = {}
    at = 0
    for _ in range(BOXES_MAX):
        if data[at : at + 4] != b"OggS":
            break
        granule, serial = struct.unpack_from("<qI", data, at + 6)
        segments = data[at + 26]
        start = at + 27 + segments
        size = sum(data[at + 27 : start])
        if serial not in rates:
            rates[serial] = _ogg_rate(data[start : start + size])
        rate, skipped = rates[serial]
        if granule > 0:
            lengths[serial] = max(lengths.get(serial, 0.0), (granule - skipped) / rate)
        at = start + size
    else:
        return float("inf")
    return sum(lengths.values())


def _ogg_rate(head: bytes) -> tuple[int, int]:
    """Granules a second, and how many of them are no sound, by a stream's first packet."""
    if head.startswith(b"OpusHead"):
        return OPUS_HZ, struct.unpack_from("<H", head, 10)[0]
    if head.startswith(b"\x01vorbis"):
        return struct.unpack_from("<I", head, 12)[0], 0
    if head.startswith(b"Speex   "):
        return struct.unpack_from("<I", head, 36)[0], 0
    raise UnreadableAudio("The file holds something other than sound.")


def _wav(data: bytes) -> float:
    """Bytes of sound by bytes a second."""
    at, rate = 12, 0
    for _ in range(BOXES_MAX):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"fmt ":
            rate = struct.unpack_from("<I", data, at + 16)[0]
        elif name == b"data":
            # Recorders that stream leave the size open; no file holds more than it has.
            return float(min(size, len(data) - at - 8)) / rate
        at += 8 + size + size % 2
    raise UnreadableAudio("The file holds no sound.")


def _flac(data: bytes) -> float:
    packed = int.from_bytes(data[18:26], "big")
    rate, samples = packed >> 44, packed & (2**36 - 1)
    return samples / rate


def _mp3(data: bytes) -> float:
    """The sum of all frames; what stands between them is skipped."""
    at = 0
    if data.startswith(b"ID3"):
        size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
        at = 10 + size
    total = 0.0
    for _ in range(BOXES_MAX):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            break
        version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
        bits, pace = data[at + 2] >> 4, data[at + 2] >> 2 & 3
        if data[at + 1] & 0xE0 != 0xE0 or layer != 1 or version == 1 or bits in (0, 15) or pace == 3:
            at += 1
            continue
        rate, samples = MP3_HZ[version][pace], 1152 if version == 3 else 576
        kbits = MP3_KBITS[1 if version == 3 else 2][bits]
        total += samples / rate
        at += samples // 8 * kbits * 1000 // rate + (data[at + 2] >> 1 & 1)
    else:
        return float("inf")
    if not total:
        raise UnreadableAudio("The file holds no sound.")
    return total


def _mp4(data: bytes) -> float:
    """The length its head states, or that of all fragments where a recorder left the head's open."""
    stated, track = 0.0, 0
    scales: dict[int, int] = {}
    fragments: dict[int, list[int]] = {}
    left = [(0, len(data))]
    for _ in range(BOXES_MAX):
        if not left:
            break
        at, end = left.pop()
        if end - at < 8:
            continue
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = size or end - at
        if size < head:
            raise UnreadableAudio("The file is broken.")
        stop, body = min(at + size, end), at + head
        left.append((stop, end))
        if name in (b"moov", b"trak", b"mdia", b"moof", b"traf"):
            left.append((body, stop))
        elif name == b"mvhd":
            stated = max(stated, _scaled(data, body))
        elif name == b"tkhd":
            track = struct.unpack_from(">I", data, body + (20 if data[body] else 12))[0]
        elif name == b"mdhd":
            scales[track] = struct.unpack_from(">I", data, body + (20 if data[body] else 12))[0]
            stated = max(stated, _scaled(data, body))
        elif name == b"tfhd":
            track = struct.unpack_from(">I", data, body + 4)[0]
            fragments.setdefault(track, [0, _default_length(data, body)])[1] = _default_length(data, body)
        elif name == b"trun" and track in fragments:
            fragments[track][0] += _run_length(data, body, fragments[track][1])
    else:
        return float("inf")
    played = [total / scales[number] for number, (total, _) in fragments.items() if scales.get(number)]
    longest = max([stated, *played])
    if not longest:
        raise UnreadableAudio("The file does not say how long it is.")
    return longest


def _scaled(data: bytes, at: int) -> float:
    """The duration of a movie's or track's head, version 0 or 1, in seconds; 0 where it is left open."""
    scale, length = struct.unpack_from(">IQ", data, at + 20) if data[at] else struct.unpack_from(">II", data, at + 12)
    open_end = length == (2**64 - 1 if data[at] else 2**32 - 1)
    return 0.0 if open_end else float(length / scale)


def _default_length(data: bytes, at: int) -> int:
    """How long a fragment's samples are where each does not say so itself."""
    flags = int.from_bytes(data[at + 1 : at + 4], "big")
    place = at + 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
    return int(struct.unpack_from(">I", data, place)[0]) if flags & 8 else 0


def _run_length(data: bytes, at: int, each: int) -> int:
    """How long a run of samples is, in the track's own units."""
    flags, count = int.from_bytes(data[at + 1 : at + 4], "big"), struct.unpack_from(">I", data, at + 4)[0]
    if not flags & 0x100:
        return int(each * count)
    step = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    place = at + 8 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
    return sum(struct.unpack_from(">I", data, place + step * n)[0] for n in range(min(count, BOXES_MAX)))


SEGMENT, CLUSTER, TIME, BLOCK, GROUP, GROUP_BLOCK = 0x18538067, 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
INFO, SCALE, DURATION = 0x1549A966, 0x2AD7B1, 0x4489


def _webm(data: bytes) -> float:
    """The time of the last block: browsers that record leave the head's duration out."""
    at, scale, stated, cluster, last = 0, 1_000_000, 0.0, 0, -1
    for _ in range(BOXES_MAX):
        if at >= len(data):
            break
        name, at = _vint(data, at, keep_mark=True)
        size, at = _vint(data, at, keep_mark=False)
        if name in (SEGMENT, CLUSTER, GROUP, INFO):
            continue
        if size < 0:
            raise UnreadableAudio("The file is broken.")
        if name == TIME:
            cluster = int.from_bytes(data[at : at + size], "big")
        elif name == SCALE:
            scale = int.from_bytes(data[at : at + size], "big")
        elif name == DURATION:
            stated = struct.unpack_from(">d" if size == 8 else ">f", data, at)[0]
        elif name in (BLOCK, GROUP_BLOCK):
            _, after = _vint(data, at, keep_mark=False)
            last = max(last, cluster + struct.unpack_from(">h", data, after)[0])
        at += size
    else:
        return float("inf")
    if last < 0:
        raise UnreadableAudio("The file holds no sound.")
    return max(stated, float(last)) * scale / 1_000_000_000


def _vint(data: bytes, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """A number of EBML and where it ends; -1 for a size left open."""
    first = data[at]
    width = 9 - first.bit_length()
    if width > 8 or at + width > len(data):
        raise UnreadableAudio("The file is broken.")
    value = int.from_bytes(data[at : at + width], "big")
    if keep_mark:
        return value, at + width
    value &= (1 << 7 * width) - 1
    return (-1 if value == (1 << 7 * width) - 1 else value), at + width
