"""What travels between the socket and a simulator: a Call in, an Answer out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from multidict import MultiMapping

from bot.sandbox.faults import Faults, Webhooks
from bot.sandbox.truth import Journal, JsonObject

BODY_BYTES_MAX = 6 * 1024 * 1024
"""Largest request body; one picture of 5 MB fits."""
UPLOAD_BYTES_MAX = 110 * 1024 * 1024
"""Largest body of a form with a file; the largest document that Meta takes fits."""


@dataclass(slots=True)
class Call:
    """One request to a simulator; `path` begins behind the provider's name and is decoded."""

    method: str
    path: str
    query: MultiMapping[str]
    headers: Mapping[str, str]
    body: bytes
    webhooks: Webhooks = field(default_factory=Webhooks)
    fault: str | None = None
    seconds: float = 0.0
    """How long the fault lasts, where the simulator itself plays it."""


@dataclass(slots=True)
class Answer:
    """One response; the body is ready to send."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None
    pieces: Sequence[bytes | float] = ()
    """A body that comes bit by bit, instead: bytes to send at once, and seconds to wait before what follows."""
    is_cut: bool = False
    """Whether the connection is cut after the last piece, as if the body had not ended."""


def answer_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is this value as JSON."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), headers=headers)


class Provider(Protocol):
    """A simulator: answers calls, and knows how its provider says "too many" and "broken"."""

    name: str
    journal: Journal
    faults: Faults

    async def answer(self, call: Call) -> Answer:
        """Do what the call asks for and answer as the provider would."""
        ...

    def too_many(self, retry_after_s: int) -> Answer:
        """The provider's 429."""
        ...

    def broken(self) -> Answer:
        """The provider's 500."""
        ...

    def heal(self) -> None:
        """Forget whatever was set to make trouble, besides fault plans."""
        ...

    def reset(self) -> None:
        """Forget people, messages and settings; running numbers and the truth log go on."""
        ...


def controls(call: Call) -> JsonObject:
    """The JSON object of a control request; ValueError with a sentence when it is none."""
    try:
        value = json.loads(call.body or b"{}")
    except (ValueError, RecursionError):
        raise ValueError("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise ValueError("The body must be a JSON object.")
    return value
