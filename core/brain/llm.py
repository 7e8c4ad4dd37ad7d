"""Language models as parsers: what one is asked, what it says, and the one way it fails. No model is named here.

A model decides nothing: what it calls goes through core/brain/hands.py, and what it says through core/brain/honest.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

WORDS_MAX = 1_024
"""Tokens of one answer."""
SAID_CHARS_MAX = 64 * 1024
"""What one answer may have of words and of arguments; a stream that brings more is cut off."""
CALLS_A_STEP_MAX = 16
TOKENS_MAX = 10_000_000
"""More than any answer takes; a provider that counts more, or fewer than none, is not believed."""

Parser = Literal["claude", "compatible"]
Stop = Literal["end", "calls", "length", "refused"]
Listen = Callable[[str], None]
"""Is told each bit of text as it comes."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a model wants: `arguments` are JSON as it wrote them, and may be none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: read (without `cached`, which were read from the cache), and written."""

    fresh: int = 0
    written: int = 0
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.fresh + other.fresh, self.written + other.written, self.cached + other.cached)

    @property
    def counted(self) -> int:
        """What counts against a person's month: what comes from the cache by a tenth, as it is paid for."""
        return self.fresh + self.written + self.cached // 10


@dataclass(frozen=True, slots=True)
class Said:
    """One whole answer of a model. `stop` is "length" where it was cut off at WORDS_MAX."""

    text: str
    calls: tuple[Call, ...]
    stop: Stop
    usage: Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to, in words for the model."""

    call: Call
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer with calls in it, and their results, one for each in the same order."""

    said: Said
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One earlier message of the conversation."""

    by_person: bool
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked. `system` and `tools` are the same for everybody, so that providers may cache them.

    `tools` are {"name", "description", "input_schema"}; `context` is what holds for this person and moment.
    """

    system: str
    tools: Sequence[Mapping[str, Any]]
    context: str
    history: Sequence[Line]
    text: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited: for the first sign of an answer, between two signs, and for the whole of it."""

    first_s: float
    silence_s: float
    whole_s: float


class ModelAway(Exception):
    """No whole answer came. `wait_s` is how long the provider asked us to wait, None where it did not say.

    `began` says that there was a beginning of one, `refused` that asking again is of no use until a setting is mended.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, wait_s: float | None = None, began: bool = False,
        refused: bool = False, usage: Usage | None = None,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.wait_s = wait_s
        self.began = began
        self.refused = refused
        self.usage = usage or Usage()


class LanguageModel(Protocol):
    """One model at one provider."""

    @property
    def parser(self) -> Parser:
        """Which kind it is, as turns record it."""

    @property
    def name(self) -> str:
        """The model's name, as the provider knows it."""

    async def step(self, prompt: Prompt, exchanges: Sequence[Exchange], patience: Patience, listen: Listen) -> Said:
        """One answer to the prompt and what was called so far; raises ModelAway."""
        ...

    async def check(self) -> None:
        """Ask whether the key is good, which costs nothing; raises ModelAway."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


def tokens(count: Any) -> int:
    """What a provider counted, within what can be; raises ValueError, TypeError or OverflowError for no number."""
    return min(max(0, int(count or 0)), TOKENS_MAX)


async def patiently(events: AsyncIterator[T], patience: Patience) -> AsyncIterator[T]:
    """The events of a stream as they come; raises TimeoutError once the patience is over."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + patience.whole_s
    wait_s = patience.first_s
    while True:
        async with asyncio.timeout_at(min(ends_at, loop.time() + wait_s)):
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
        yield event
        wait_s = patience.silence_s


@dataclass(slots=True)
class Pieces:
    """An answer that is put together as it comes; raises ModelAway for one that is too long to be one."""

    listen: Listen
    text: list[str] = field(default_factory=list)
    calls: dict[int, tuple[str, str, list[str]]] = field(default_factory=dict)
    chars: int = 0

    def add_text(self, text: str) -> None:
        """More words."""
        self._count(text)
        self.text.append(text)
        self.listen(text)

    def begin_call(self, index: int, id_: str, name: str) -> None:
        """A call begins."""
        self._count(name)
        if index not in self.calls:
            self.calls[index] = id_, name, []

    def add_arguments(self, index: int, text: str) -> None:
        """More of a call's arguments; of a call that never began, nothing."""
        self._count(text)
        if index in self.calls:
            self.calls[index][2].append(text)

    def said(self, stop: Stop, usage: Usage) -> Said:
        """The whole."""
        calls = tuple(Call(id_, name, "".join(bits) or "{}") for id_, name, bits in self.calls.values())
        return Said("".join(self.text).strip(), calls, stop, usage)

    def _count(self, text: str) -> None:
        self.chars += len(text)
        if self.chars > SAID_CHARS_MAX or len(self.calls) > CALLS_A_STEP_MAX:
            raise ModelAway("answers without an end", began=True)
