"""The words of the socket: what a browser may say, parsed once into frozen types, and what it is told. Pure.

Text frames of one JSON object with a `type`. Unknown fields are ignored; whatever else is not the protocol
raises BadFrame, which is answered with an error frame.
"""

import re
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from core.conversations import StoredMessage
from core.errors import UserError
from core.messages import TEXT_CHARS_MAX, Choices

FRAME_BYTES_MAX = 256 * 1024
"""A longer frame is answered with an error. The longest text, every character escaped, fits."""
FILES_MAX = 16
SEQ_MAX = 2**53 - 1
CID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A client id: chosen by the browser, the same for every try of one message."""

Seq = Annotated[int, Field(ge=0, le=SEQ_MAX)]


class BadFrame(UserError):
    """A frame that is refused. `code` is for programs, the message for people; `cid` names the message it was about."""

    def __init__(self, code: str, message: str, *, retry_s: float | None = None, cid: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_s = retry_s
        self.cid = cid


class Frame(BaseModel):
    """One frame from a browser: frozen, exact about types, deaf to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Hello(Frame):
    """Opens the conversation: `token` None is a new visitor; `since` is the last seq the browser has.

    `changes` is the number of the last change it has been told of.
    """

    type: Literal["hello"]
    token: Annotated[str, Field(max_length=256)] | None = None
    since: Seq = 0
    changes: Seq = 0
    site: Annotated[str, Field(max_length=64)] = "default"


class Send(Frame):
    """A message; the same `cid` again is the same message. `reply_to` is the seq of the message it answers."""

    type: Literal["send"]
    cid: Annotated[str, Field(pattern=f"^{CID.pattern}$")]
    text: str
    reply_to: Annotated[int, Field(ge=1, le=SEQ_MAX)] | None = None
    files: Annotated[list[JsonValue], Field(max_length=FILES_MAX)] = []


class Typing(Frame):
    """The person is writing."""

    type: Literal["typing"]


class Ack(Frame):
    """The person has seen everything up to `seq`."""

    type: Literal["ack"]
    seq: Seq


FRAMES: dict[str, type[Hello | Send | Typing | Ack]] = {"hello": Hello, "send": Send, "typing": Typing, "ack": Ack}


def parse(data: bytes) -> Hello | Send | Typing | Ack:
    """One text frame to its type; raises BadFrame."""
    if len(data) > FRAME_BYTES_MAX:
        raise BadFrame("too_long", f"A frame may have at most {FRAME_BYTES_MAX // 1024} KiB.")
    try:
        # Refuses lone surrogates, invalid UTF-8, numbers beyond a double, and nesting beyond 1,024.
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadFrame("bad_frame", "A frame must be one valid JSON object.") from error
    if not isinstance(value, dict):
        raise BadFrame("bad_frame", "A frame must be a JSON object with a type.")
    cid = value.get("cid")
    cid = cid if isinstance(cid, str) and CID.fullmatch(cid) else None
    kind = value.get("type")
    model = FRAMES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BadFrame("unknown_type", f"The type of a frame must be one of {', '.join(FRAMES)}.", cid=cid)
    try:
        frame = model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadFrame("bad_frame", f"{kind}.{where}: {first['msg']}.", cid=cid) from error
    if isinstance(frame, Send):
        _check(frame)
    return frame


def _check(send: Send) -> None:
    if send.files:
        raise BadFrame("files", "Files cannot be sent here yet. Please write a text.", cid=send.cid)
    if not send.text.strip():
        raise BadFrame("empty", "The message is empty. Please write something.", cid=send.cid)
    if len(send.text) > TEXT_CHARS_MAX:
        raise BadFrame(
            "too_long", f"A message may have at most {TEXT_CHARS_MAX:,} characters. Please shorten it.", cid=send.cid
        )
    if "\0" in send.text:
        raise BadFrame("bad_text", "The message contains a NUL character, which cannot be stored.", cid=send.cid)


def welcome(token: str, room: str, seq: int, changes: int) -> dict[str, Any]:
    """The answer to hello; `conversation` is the visitor's room, known before the first message is.

    `changes` is the number of the room's last change, which a browser that starts from the beginning already has.
    """
    return {"type": "welcome", "token": token, "conversation": room, "seq": seq, "changes": changes}


def msg(message: StoredMessage, room: str) -> dict[str, Any]:
    """A stored message as its visitor sees it; answers to pick are taken out of the parts.

    `author` is there when a member of staff wrote it, and names them.
    """
    prefix = f"{room}:"
    own = message.event_id is not None and message.event_id.startswith(prefix)
    frame: dict[str, Any] = {
        "type": "msg",
        "seq": message.seq,
        "cid": message.event_id.removeprefix(prefix) if own and message.event_id else None,
        "from": "me" if message.inbound else "bot",
        "parts": _shown(message),
        "reply_to": int(message.reply_to) if message.reply_to and message.reply_to.isdecimal() else None,
        "at": message.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    choices = [option for part in message.parts if isinstance(part, Choices) for option in part.options]
    if choices:
        frame["choices"] = choices
    if message.author is not None:
        frame["author"] = message.author
    if message.deleted_at is not None:
        frame["deleted"] = True
    elif message.edited_at is not None:
        frame["edited"] = True
    return frame


def change(number: int, message: StoredMessage) -> dict[str, Any]:
    """A message that the browser may have, as it is now; `change` is the number of the change that made it so."""
    if message.deleted_at is not None:
        return {"type": "delete", "seq": message.seq, "change": number}
    return {"type": "edit", "seq": message.seq, "parts": _shown(message), "change": number}


def _shown(message: StoredMessage) -> list[dict[str, Any]]:
    return [part.model_dump(mode="json") for part in message.parts if not isinstance(part, Choices)]


def error(bad: BadFrame) -> dict[str, Any]:
    """What was refused and what to do about it; `retry_s` None means that trying again will not help."""
    frame = {"type": "error", "code": bad.code, "message": str(bad), "retry_s": bad.retry_s}
    return frame | {"cid": bad.cid} if bad.cid else frame
