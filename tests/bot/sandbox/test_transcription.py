"""The simulated transcription service takes what the real one takes, and refuses what it refuses."""

from typing import Any

import pytest

from bot.sandbox.transcription import DEFAULT_WORDS, FILE_BYTES_MAX
from bot.sandbox.voices import voice_note
from tests.bot.sandbox.conftest import Lab

PATH = "/transcription/v1/audio/transcriptions"
KEY = {"authorization": "Bearer sk-test"}
NOTE = voice_note("Habari ya asubuhi")


async def ask(
    lab: Lab, fields: dict[str, str] | None = None, name: str = "voice.ogg", data: bytes = NOTE, **more: Any
) -> Any:
    """One request."""
    given = {"model": "gpt-transcribe"} if fields is None else fields
    return await lab.http.post(PATH, data=given, files={"file": (name, data)}, **{"headers": KEY, **more})


async def test_note_is_written_down_and_logged(lab: Lab) -> None:
    answer = await ask(lab, {"model": "whisper-1", "language": "sw"})
    assert answer.status_code == 200
    assert answer.json()["text"] == "Habari ya asubuhi"
    [row] = await lab.truth("transcription")
    assert (row["kind"], row["filename"], row["language"]) == ("transcribed", "voice.ogg", "sw")


async def test_verbose_answer_has_segments(lab: Lab) -> None:
    answer = (await ask(lab, {"model": "whisper-1", "response_format": "verbose_json"})).json()
    assert answer["text"] == answer["segments"][0]["text"] == "Habari ya asubuhi"
    assert (answer["task"], answer["language"]) == ("transcribe", "english")


async def test_audio_without_a_comment_says_one_thing(lab: Lab) -> None:
    assert (await ask(lab, name="voice.webm", data=b"\x1aE\xdf\xa3rest")).json()["text"] == DEFAULT_WORDS


@pytest.mark.parametrize(
    ("fields", "name", "data", "word"),
    [
        ({}, "voice.ogg", NOTE, "model"),
        ({"model": "m", "surprise": "1"}, "voice.ogg", NOTE, "surprise"),
        ({"model": "m", "language": "english"}, "voice.ogg", NOTE, "ISO-639-1"),
        ({"model": "m", "response_format": "pdf"}, "voice.ogg", NOTE, "response_format"),
        ({"model": "m"}, "voice.oga", NOTE, "Unrecognized file format"),
        ({"model": "m"}, "voice", NOTE, "Unrecognized file format"),
        ({"model": "m"}, "voice.ogg", b"", "empty"),
        ({"model": "m"}, "voice.ogg", b"<html>", "corrupted"),
    ],
)
async def test_bad_request_is_refused_with_400(
    lab: Lab, fields: dict[str, str], name: str, data: bytes, word: str
) -> None:
    answer = await ask(lab, fields, name, data)
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert await lab.truth("transcription") == []


async def test_other_refusals_have_their_statuses(lab: Lab) -> None:
    assert (await ask(lab, headers={"authorization": "Bearer nobody"})).status_code == 401
    assert (await ask(lab, data=b"OggS" + bytes(FILE_BYTES_MAX))).status_code == 413
    assert (await lab.http.post(PATH, json={}, headers=KEY)).status_code == 400
    assert (await lab.http.get(PATH, headers=KEY)).status_code == 405
    assert (await lab.http.post("/transcription/v1/audio/speech", headers=KEY)).status_code == 404


async def test_faults_are_in_its_own_words(lab: Lab) -> None:
    await lab.plan("transcription", {"fault": "429", "retry_after": 7}, "500_executed")
    many, broken = await ask(lab), await ask(lab)
    assert (many.status_code, many.headers["retry-after"]) == (429, "7")
    assert many.json()["error"]["code"] == "rate_limit_exceeded"
    assert broken.status_code == 500
    [row] = await lab.truth("transcription")
    assert row["fault"] == "500_executed"
