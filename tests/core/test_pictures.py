"""Pictures drawn anew by a child with limits: what they show stays, everything else is gone."""

import io
import struct
import zlib

import pytest
from PIL import Image

from core.pictures import SHOWN_SIDE, redraw
from core.sniff import FileRefused


def drawn(size: tuple[int, int], kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red").save(out, kind, **options)
    return out.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG of side x side pixels in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = zlib.compress(bytes((side // 8 + 2) * 1000), 9)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)),
            chunk(b"IDAT", lines),
            chunk(b"IEND", b""),
        )
    )


async def test_what_was_hidden_in_a_picture_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010E] = "kanari-mahali"
    exif[0x0112] = 6  # Turned by a quarter.
    data = drawn((40, 20), "JPEG", exif=exif) + b"<script>kanari-mkia</script>"
    picture = await redraw(data)
    assert b"kanari" in data
    assert b"kanari" not in picture.data
    assert (picture.media_type, picture.width, picture.height) == ("image/jpeg", 20, 40)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.size == (20, 40)
        assert not image.getexif()
        red, green, blue = image.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
        assert red > 240 > 20 > green + blue - 20


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("GIF", "P"), ("WEBP", "RGB")])
async def test_every_kind_is_drawn_anew(kind: str, mode: str) -> None:
    picture = await redraw(drawn((30, 10), kind, mode))
    assert (picture.width, picture.height) == (30, 10)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert Image.MIME[image.format or ""] == picture.media_type


async def test_a_moving_picture_keeps_moving() -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (12, 12), color) for color in ("red", "green", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=120)
    picture = await redraw(out.getvalue())
    with Image.open(io.BytesIO(picture.data)) as image:
        assert (picture.media_type, image.n_frames) == ("image/webp", 3)  # type: ignore[attr-defined]


async def test_a_picture_larger_than_screens_is_made_smaller() -> None:
    picture = await redraw(drawn((6000, 3000), "JPEG"))
    assert (picture.width, picture.height) == (SHOWN_SIDE, SHOWN_SIDE // 2)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (huge_png(13_000), "pixels"),
        (huge_png(11_000), "pixels"),
        (huge_png(2_000)[:-40], "picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (b"", "picture"),
        (b"GIF89a" + bytes(100), "picture"),
    ],
)
async def test_bombs_and_ruins_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        await redraw(data)
    assert refused.value.code == code
