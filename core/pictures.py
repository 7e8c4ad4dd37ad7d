"""Pictures are drawn anew before anybody sees them: what was hidden in one, and where it was taken, is gone then.

Decoding is done by a child process with little time and memory, because pictures come from strangers:
`python3 -m core.pictures` reads one from its standard input and writes a line of JSON and the new picture.
"""

import asyncio
import io
import json
import os
import sys
from dataclasses import dataclass

from core.language import Saying
from core.sniff import FileRefused

PIXELS_MAX = 50_000_000
"""Of all frames together: more than any phone's camera makes."""
SIDE_MAX = 12_000
FRAMES_MAX = 200
SHOWN_SIDE = 4_096
"""Larger pictures are made smaller; nobody's screen is larger."""
MEMORY_BYTES = 1024 * 1024 * 1024
CPU_S = 15
WAIT_S = 20.0
AT_ONCE = 2
QUALITY = 88

TOO_SLOW = Saying(
    "The picture takes too long to read. Send a smaller one.", "Picha inachukua muda mrefu kusomwa. Tuma ndogo zaidi."
)
TOO_LARGE = Saying(
    "The picture is too large. Send one with fewer pixels.", "Picha ni kubwa mno. Tuma yenye pikseli chache zaidi."
)
BROKEN = Saying("The picture is damaged and cannot be read.", "Picha imeharibika na haisomeki.")

_places = asyncio.Semaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture drawn anew, and its size in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int


async def redraw(data: bytes) -> Picture:
    """The picture in `data` without anything that is not its pixels. Raises FileRefused."""
    async with _places:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "core.pictures",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"}, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(WAIT_S):
                out, _ = await child.communicate(data)
        except TimeoutError as error:
            raise FileRefused("picture", TOO_SLOW) from error
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    head, _, drawn = out.partition(b"\n")
    if child.returncode != 0 or not drawn:
        code = json.loads(head)["refused"] if child.returncode == 3 and head else "picture"
        raise FileRefused(code, TOO_LARGE if code == "pixels" else BROKEN)
    said = json.loads(head)
    return Picture(drawn, said["media_type"], said["width"], said["height"])


class _TooLarge(Exception):
    pass


def _draw(data: bytes) -> tuple[dict[str, object], bytes]:
    """Decode and encode again; only what Pillow reads of the four formats people send."""
    import warnings

    from PIL import Image, ImageOps

    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # Ours is stricter, and says so.
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP")) as image:
        width, height = image.size
        frames = getattr(image, "n_frames", 1)
        if max(width, height) > SIDE_MAX or width * height * min(frames, FRAMES_MAX + 1) > PIXELS_MAX:
            raise _TooLarge
        out = io.BytesIO()
        if frames > 1 and image.format in ("GIF", "WEBP", "PNG"):
            if frames > FRAMES_MAX:
                raise _TooLarge
            drawn, waits = [], []
            for number in range(frames):
                image.seek(number)
                waits.append(min(max(int(image.info.get("duration", 100)), 20), 10_000))
                drawn.append(image.convert("RGBA"))
            first, rest = drawn[0], drawn[1:]
            moving = {"save_all": True, "append_images": rest, "duration": waits, "loop": 0}
            first.save(out, "WEBP", quality=QUALITY, method=2, **moving)
            return {"media_type": "image/webp", "width": width, "height": height}, out.getvalue()
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        clear = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
        if image.format == "JPEG" or (image.format == "WEBP" and not clear):
            new = Image.new("RGB", upright.size)
            new.paste(upright.convert("RGB"))
            new.save(out, "JPEG", quality=QUALITY, optimize=True)
            kind = "image/jpeg"
        else:
            mode = "RGBA" if clear else "RGB"
            new = Image.new(mode, upright.size)
            new.paste(upright.convert(mode))
            new.save(out, "PNG")
            kind = "image/png"
        return {"media_type": kind, "width": new.width, "height": new.height}, out.getvalue()


def main() -> int:
    """The child: limits first, then the picture."""
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        said, drawn = _draw(sys.stdin.buffer.read())
    except _TooLarge:
        sys.stdout.buffer.write(b'{"refused": "pixels"}\n')
        return 3
    except Exception:
        return 1
    sys.stdout.buffer.write(json.dumps(said).encode() + b"\n" + drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
