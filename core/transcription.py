"""Speech to text: an OpenAI-compatible service that writes a voice note down."""

import math
from dataclasses import dataclass

from core import audio
from core.audio import AUDIO_BYTES_MAX, AUDIO_S_MAX, UnreadableAudio
from core.errors import ProviderUnavailable
from core.providers import Providers, Refused
from core.settings import Settings
from core.voice import Problem

NAME = "Transcription"
PATH = "/v1/audio/transcriptions"
DEADLINE_S = 45.0
"""How long one note may take to be written down."""
HINTED = ("sw",)
"""Languages that services are told of, because they guess them badly; English is also what people are taken to speak
of whom nothing is known."""


class NoWords(Exception):
    """A note that cannot be written down, whoever tries; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Playable:
    """A note that a service may be sent: under which name, by its container, and how long it plays, rounded up."""

    name: str
    seconds: int


def playable(data: bytes) -> Playable:
    """Look at a note; raises NoWords for what no service should be sent."""
    if not data:
        raise NoWords("empty")
    if len(data) > AUDIO_BYTES_MAX:
        raise NoWords("large")
    try:
        found = audio.read(data)
    except UnreadableAudio:
        raise NoWords("unreadable") from None
    if found.duration_s > AUDIO_S_MAX:
        raise NoWords("long")
    if found.duration_s <= 0:
        raise NoWords("empty")
    return Playable(f"voice.{found.extension}", math.ceil(found.duration_s))


async def transcribe(providers: Providers, settings: Settings, data: bytes, name: str, language: str) -> str:
    """What is said in a note, sent under `name`; `language` is the person's.

    Raises NoWords, ProviderError when a try later may help, ProviderRefused when the service takes nothing of ours.
    """
    fields = {"model": settings.transcription_model, "response_format": "json"}
    if language in HINTED:
        fields["language"] = language
    provider = providers.client(NAME, settings.transcription_base_url)
    try:
        answer = await provider.post_file(
            PATH, fields, (name, data), token=settings.transcription_api_key.get_secret_value(), deadline_s=DEADLINE_S
        )
    except Refused as refused:
        if refused.status == 400:
            raise NoWords("unreadable") from None
        if refused.status == 413:
            raise NoWords("large") from None
        raise
    text = answer.get("text") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        raise ProviderUnavailable(f"{NAME} answered in a form we do not know.")
    text = text.replace("\0", "").strip()
    if not text:
        raise NoWords("silent")
    return text
