"""The one picture people in the sandbox send: a small landscape, drawn here so that no file has to be carried along."""

import struct
import zlib
from functools import cache

PICTURE_TYPE = "image/png"
WIDTH, HEIGHT = 240, 160


@cache
def picture() -> bytes:
    """A PNG of 240 x 160: evening sky, a sun, two hills."""
    rows = bytearray()
    for y in range(HEIGHT):
        rows.append(0)
        for x in range(WIDTH):
            if y > 120 + (x - 60) ** 2 / 400:
                rows += bytes((11, 107, 79))
            elif y > 100 + (x - 190) ** 2 / 300:
                rows += bytes((52, 140, 104))
            elif (x - 150) ** 2 + (y - 60) ** 2 < 20**2:
                rows += bytes((255, 226, 150))
            else:
                rows += bytes((255 - y // 3, 190 - y // 4, 130 + y // 3))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
