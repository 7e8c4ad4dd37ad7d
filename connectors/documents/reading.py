"""Reading a document: its bytes go to a process with limits, its sections come back, or the reason why not."""

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import orjson
import structlog
from pydantic import BaseModel, ValidationError

from core.errors import UserError

log = structlog.get_logger()

CHILD = Path(__file__).parent / "child.py"
READING_S_MAX = 25.0
ANSWER_BYTES_MAX = 16 * 2**20
AT_ONCE_MAX = 2
"""How many documents one process has read at the same time; others wait their turn."""
NAME_CHARS_MAX = 100

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

PROBLEMS: Final = {
    "en": {
        "empty": "The file is empty.",
        "kind": "I can read PDF, Word (.docx), Excel (.xlsx), CSV and text files. This is none of them.",
        "locked": "The file is locked with a password. Please send it without one.",
        "pages": "The document has more than 1,000 pages. Please send the part that matters.",
        "large": "The file is larger than 50 MB. Please send the part that matters.",
        "bomb": "The file unpacks into far more than a document should, so I did not open it.",
        "broken": "The file is damaged: I cannot read it. Please send it again.",
        "slow": "Reading the file took too long, so I stopped. Please send a smaller part of it.",
        "no_text": "There is no text in it: it may be a scan. Please send it with text that can be selected.",
        "no_ocr": "I cannot read words off pictures here. Please send the document as PDF or text.",
    },
    "sw": {
        "empty": "Faili haina kitu.",
        "kind": "Ninaweza kusoma PDF, Word (.docx), Excel (.xlsx), CSV na faili za maandishi. Hii si mojawapo.",
        "locked": "Faili imefungwa kwa nenosiri. Tafadhali itume bila nenosiri.",
        "pages": "Hati ina zaidi ya kurasa 1,000. Tafadhali tuma sehemu inayohitajika.",
        "large": "Faili inazidi MB 50. Tafadhali tuma sehemu inayohitajika.",
        "bomb": "Faili hii ikifunguliwa inakuwa kubwa kupita kiasi, kwa hiyo sikuifungua.",
        "broken": "Faili imeharibika: siwezi kuisoma. Tafadhali itume tena.",
        "slow": "Kusoma faili kulichukua muda mrefu mno, kwa hiyo nimeacha. Tafadhali tuma sehemu yake ndogo.",
        "no_text": "Hakuna maandishi ndani yake: huenda ni picha. Tafadhali tuma yenye maandishi.",
        "no_ocr": "Siwezi kusoma maneno kwenye picha hapa. Tafadhali tuma hati kama PDF au maandishi.",
    },
}


class Unreadable(UserError):
    """A document without text for us; `problem` is a key of PROBLEMS."""

    def __init__(self, problem: str, language: str) -> None:
        super().__init__(PROBLEMS["sw" if language == "sw" else "en"][problem])
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a document: which page, sheet, paragraph, row or line it is (or begins at), and its text."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `cut` is True where it says more than is kept. Its words are a stranger's."""

    sections: tuple[Section, ...]
    cut: bool


class _Answer(BaseModel):
    """What the process answers."""

    problem: str | None = None
    error: str | None = None
    sections: tuple[tuple[str, str, str], ...] = ()
    cut: bool = False


async def read(data: bytes, name: str, language: str, *, limit_s: float = READING_S_MAX) -> Document:
    """The sections of a file, by what its bytes say it is; raises Unreadable with a sentence in that language."""
    answer = await _ask(data, name, limit_s)
    if answer.problem is not None:
        problem = answer.problem if answer.problem in PROBLEMS["en"] else "broken"
        log.info("document.unreadable", problem=problem, error=answer.error, bytes=len(data))
        raise Unreadable(problem, language)
    return Document(tuple(Section(*section) for section in answer.sections), answer.cut)


async def _ask(data: bytes, name: str, limit_s: float) -> _Answer:
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE_MAX)):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(CHILD),
            name[-NAME_CHARS_MAX:].replace("\0", "").encode("utf-8", "replace"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            limit=ANSWER_BYTES_MAX,
        )
        try:
            async with asyncio.timeout(limit_s):
                answer, _ = await asyncio.gather(_answer(child), _feed(child, data))
                await child.wait()
        except TimeoutError:
            return _Answer(problem="slow")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    if (code := child.returncode or 0) != 0:
        # Ended by its limits: of time by a signal, of memory by an error it could not even tell.
        slow = -code in (signal.SIGXCPU, signal.SIGKILL)
        return _Answer(problem="slow" if slow else "bomb", error=f"exit {code}")
    try:
        return _Answer.model_validate(orjson.loads(answer))
    except (orjson.JSONDecodeError, ValidationError):
        return _Answer(problem="broken", error="answer")


async def _feed(child: asyncio.subprocess.Process, data: bytes) -> None:
    assert child.stdin is not None  # noqa: S101  it was asked for
    with suppress(ConnectionError):
        child.stdin.write(data)
        await child.stdin.drain()
    child.stdin.close()


async def _answer(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None  # noqa: S101
    answer = bytearray()
    while chunk := await child.stdout.read(2**16):
        answer += chunk
        if len(answer) > ANSWER_BYTES_MAX:
            child.kill()
            break
    return bytes(answer)
