"""An OpenAI-compatible transcription service; any key that begins with sk- is good.

What a file says is read from its SAID comment (bot/sandbox/voices.py); a file without one says DEFAULT_WORDS.
"""

import hashlib
import re
from email import policy
from email.message import MIMEPart
from email.parser import BytesParser

from bot.sandbox.calls import Answer, Call, answer_json
from bot.sandbox.faults import Faults
from bot.sandbox.truth import Disk, Journal, JsonObject
from bot.sandbox.voices import words_in

PATH = "/v1/audio/transcriptions"
FILE_BYTES_MAX = 25 * 1024 * 1024
BODY_BYTES_MAX = FILE_BYTES_MAX + 1024 * 1024
"""Its own limit of bodies, so that a file that is too large hears so from the service, not from the server."""
DEFAULT_WORDS = "What is the weather in Nairobi?"
EXTENSIONS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
FIELDS = frozenset({"file", "model", "language", "prompt", "response_format", "temperature"})
FORMATS = ("json", "text", "verbose_json")
BEGINNINGS = (b"OggS", b"RIFF", b"\x1aE\xdf\xa3", b"fLaC", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
"""How files of these kinds begin; MP4 has its mark a little later."""
BYTES_A_SECOND = 4_000
"""How long a file is, as this service sees it."""


class Transcription:
    """The simulator of one service."""

    name = "transcription"

    def __init__(self, disk: Disk) -> None:
        self.journal = Journal(disk, self.name)
        self.faults = Faults()

    def too_many(self, retry_after_s: int) -> Answer:
        """Its 429."""
        answer = _error(429, "Rate limit reached for requests", "requests", None, "rate_limit_exceeded")
        answer.headers = {"Retry-After": str(retry_after_s)}
        return answer

    def broken(self) -> Answer:
        """Its 500."""
        return _error(500, "The server had an error while processing your request.", "server_error")

    def heal(self) -> None:
        """Nothing but plans makes trouble here."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    async def answer(self, call: Call) -> Answer:
        """Serve the API."""
        if call.path.rstrip("/") != PATH:
            return _error(404, f"Invalid URL ({call.method} {call.path})")
        if call.method != "POST":
            return _error(405, f"Not allowed to {call.method} on {PATH}.")
        if not call.headers.get("Authorization", "").startswith("Bearer sk-"):
            return _error(401, "Incorrect API key provided.", code="invalid_api_key")
        if len(call.body) > FILE_BYTES_MAX:
            return _error(413, f"Maximum content size limit ({FILE_BYTES_MAX}) exceeded.")
        fields, file, name = _form(call.headers.get("Content-Type", ""), call.body)
        if (refused := _refusal(fields, file, name)) is not None:
            return refused
        text = words_in(file)
        text = DEFAULT_WORDS if text is None else text
        row: JsonObject = {"kind": "transcribed", "sha256": hashlib.sha256(file).hexdigest(), "bytes": len(file)}
        row |= {"filename": name, "model": fields["model"], "language": fields.get("language"), "text": text}
        self.journal.append(row | ({"fault": call.fault} if call.fault else {}))
        return _worded(text, fields, len(file) / BYTES_A_SECOND)


def _form(kind: str, body: bytes) -> tuple[dict[str, str], bytes, str]:
    """The fields of a multipart body, its file and the file's name; all empty when it is no such body."""
    whole = b"Content-Type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + body
    message = BytesParser(policy=policy.HTTP).parsebytes(whole)
    fields: dict[str, str] = {}
    file, filename = b"", ""
    if not kind.startswith("multipart/form-data") or not message.is_multipart():
        return fields, file, filename
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        value = _value(part)
        if name == "file":
            file, filename = value, str(part.get_filename() or "")
        fields[name] = "" if name == "file" else value.decode("utf-8", "replace")
    return fields, file, filename


def _value(part: MIMEPart) -> bytes:
    value = part.get_payload(decode=True)
    return value if isinstance(value, bytes) else b""


def _refusal(fields: dict[str, str], file: bytes, name: str) -> Answer | None:
    """What is wrong with a request, in the service's words; None when nothing is."""
    if "file" not in fields:
        return _error(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    if not fields.get("model"):
        return _error(400, "you must provide a model parameter")
    for unknown in sorted(fields.keys() - FIELDS):
        return _error(400, f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    if "language" in fields and not re.fullmatch(r"[a-z]{2}", fields["language"]):
        return _error(400, f"Language '{fields['language']}' is not an ISO-639-1 code.", param="language")
    if fields.get("response_format", "json") not in FORMATS:
        return _error(400, "response_format is not one of json, text, verbose_json", param="response_format")
    if name.rpartition(".")[2].lower() not in EXTENSIONS:
        return _error(400, f"Unrecognized file format. Supported formats: {list(EXTENSIONS)}", param="file")
    if not file:
        return _error(400, "Audio file is empty.", param="file", code="audio_too_short")
    if not file.startswith(BEGINNINGS) and file[4:8] != b"ftyp":
        return _error(400, "Audio file might be corrupted or unsupported", param="file", code="invalid_value")
    return None


def _worded(text: str, fields: dict[str, str], seconds: float) -> Answer:
    match fields.get("response_format", "json"):
        case "text":
            return Answer(200, text.encode() + b"\n", "text/plain; charset=utf-8")
        case "verbose_json":
            return answer_json(
                {
                    "task": "transcribe", "language": {"sw": "swahili"}.get(fields.get("language", ""), "english"),
                    "duration": round(seconds, 2), "text": text,
                    "segments": [{"id": 0, "start": 0.0, "end": round(seconds, 2), "text": text}],
                }
            )  # fmt: skip
    return answer_json({"text": text, "usage": {"type": "duration", "seconds": max(1, round(seconds))}})


def _error(
    status: int, message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Answer:
    return answer_json({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)
