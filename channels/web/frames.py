"""The words of the socket: what a browser may say, parsed once into frozen types, and what it is told. Pure.

Text frames of one JSON object with a `type`. Unknown fields are ignored; whatever else is not the protocol
raises BadFrame, which is answered with an error frame.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.conversations import Reaction, StoredMessage
from core.errors import UserError
from core.files import file_id
from core.language import Saying
from core.mentions import SHARED
from core.messages import TEXT_CHARS_MAX, Choices, Media, Voice
from core.rooms import Roster

FRAME_BYTES_MAX = 256 * 1024
"""A longer frame is answered with an error. The longest text, every character escaped, fits."""
FILES_MAX = 10
"""Files in one message."""
FILE = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The id that an upload was answered with."""
SEQ_MAX = 2**53 - 1
EMOJI_CHARS_MAX = 64
NAMES_MAX = 10
"""How many of those who put an emoji under a message are named."""
CID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A client id: chosen by the browser, the same for every try of one message."""

TOO_LONG = Saying("A frame may have at most {most}.", "Ujumbe ni mkubwa mno: usizidi {most}.")
LONG = Saying(
    "A message may have at most {most} characters. Please shorten it.",
    "Ujumbe usizidi herufi {most}. Tafadhali ufupishe.",
)
EMPTY = Saying("The message is empty. Please write something.", "Ujumbe hauna kitu. Tafadhali andika kitu.")
AWAY = Saying(
    "The database did not answer. Try again in a moment.", "Hifadhidata haijibu. Jaribu tena baada ya muda mfupi."
)
UNKEPT = Saying(
    "The message contains a NUL character, which cannot be stored.",
    "Ujumbe una herufi ya NUL, ambayo haiwezi kuhifadhiwa.",
)

Seq = Annotated[int, Field(ge=0, le=SEQ_MAX)]


class BadFrame(UserError):
    """A frame that is refused. `code` is for programs, the message for people; `cid` names the message it was about."""

    def __init__(self, code: str, says: Saying | str, *, retry_s: float | None = None, cid: str | None = None) -> None:
        super().__init__(says)
        self.code = code
        self.retry_s = retry_s
        self.cid = cid

    def about(self, cid: str) -> "BadFrame":
        """The same, of this message."""
        return BadFrame(self.code, self.says, retry_s=self.retry_s, cid=cid)


class Frame(BaseModel):
    """One frame from a browser: frozen, exact about types, deaf to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Identify(Frame):
    """Who the embedding page says its visitor is; its words are looked at by core.proof."""

    user_id: str | None = None
    hash: str | None = None
    jwt: str | None = None
    name: str | None = None
    email: str | None = None


class Hello(Frame):
    """Opens the conversation: `token` None is a new visitor; `since` is the last seq the browser has.

    `changes` is the number of the last change it has been told of. Whoever has nothing may ask for no more than the
    `last` messages. `room` is the id of a shared room; without it, it is the visitor's own. `identity` is who the
    embedding page says the visitor is, with its proof. `language` is the page's, such as sw-KE; without it, the
    browser's. `zone` is where the browser's clock is, such as Africa/Nairobi.
    """

    type: Literal["hello"]
    identity: Identify | None = None
    language: Annotated[str, Field(max_length=64)] | None = None
    zone: Annotated[str, Field(max_length=64)] | None = None
    room: Annotated[str, Field(max_length=64)] | None = None
    token: Annotated[str, Field(max_length=256)] | None = None
    since: Seq = 0
    last: Annotated[int, Field(ge=1, le=SEQ_MAX)] | None = None
    changes: Seq = 0
    site: Annotated[str, Field(max_length=64)] = "default"


class Send(Frame):
    """A message; the same `cid` again is the same message. `reply_to` is the seq of the message it answers.

    With `voice` its sounds were spoken to us: they are voice notes, which are written down.
    """

    type: Literal["send"]
    cid: Annotated[str, Field(pattern=f"^{CID.pattern}$")]
    text: str
    reply_to: Annotated[int, Field(ge=1, le=SEQ_MAX)] | None = None
    files: Annotated[list[Annotated[str, Field(pattern=f"^{FILE}$")]], Field(max_length=FILES_MAX)] = []
    voice: bool = False


class Edit(Frame):
    """Other words for the visitor's own message `seq`; the same `cid` again is the same edit."""

    type: Literal["edit"]
    cid: Annotated[str, Field(pattern=f"^{CID.pattern}$")]
    seq: Annotated[int, Field(ge=1, le=SEQ_MAX)]
    text: str


class Delete(Frame):
    """The visitor's own message `seq` is taken back."""

    type: Literal["delete"]
    cid: Annotated[str, Field(pattern=f"^{CID.pattern}$")]
    seq: Annotated[int, Field(ge=1, le=SEQ_MAX)]


class React(Frame):
    """An emoji under message `seq`: put there, or with `on` false taken back; the same `cid` again is the same."""

    type: Literal["react"]
    cid: Annotated[str, Field(pattern=f"^{CID.pattern}$")]
    seq: Annotated[int, Field(ge=1, le=SEQ_MAX)]
    emoji: Annotated[str, Field(min_length=1, max_length=EMOJI_CHARS_MAX)]
    on: bool = True


class Logout(Frame):
    """This browser's token opens nothing from now on."""

    type: Literal["logout"]


class Older(Frame):
    """Asks for the messages before number `before`."""

    type: Literal["older"]
    before: Annotated[int, Field(ge=1, le=SEQ_MAX)]


class Typing(Frame):
    """The person is writing."""

    type: Literal["typing"]


class Ack(Frame):
    """The person has seen everything up to `seq`."""

    type: Literal["ack"]
    seq: Seq


Said = Hello | Send | Edit | Delete | React | Older | Logout | Typing | Ack
FRAMES: dict[str, type[Said]] = {str(get_args(one.model_fields["type"].annotation)[0]): one for one in get_args(Said)}


def parse(data: bytes) -> Said:
    """One text frame to its type; raises BadFrame."""
    if len(data) > FRAME_BYTES_MAX:
        raise BadFrame("too_long", TOO_LONG.filled(most=f"{FRAME_BYTES_MAX // 1024} KiB"))
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
        code = "identity" if where.startswith("identity") else "bad_frame"
        raise BadFrame(code, f"{kind}.{where}: {first['msg']}.", cid=cid) from error
    if isinstance(frame, Edit) or (isinstance(frame, Send) and (frame.text.strip() or not frame.files)):
        check_text(frame.text, frame.cid)
    return frame


def check_text(text: str, cid: str) -> None:
    """Raises BadFrame for a text that is no message."""
    if not text.strip():
        raise BadFrame("empty", EMPTY, cid=cid)
    if len(text) > TEXT_CHARS_MAX:
        raise BadFrame("too_long", LONG.filled(most=f"{TEXT_CHARS_MAX:,}"), cid=cid)
    if "\0" in text:
        raise BadFrame("bad_text", UNKEPT, cid=cid)


def prefix(room: str, visitor: str) -> str:
    """How the event ids of a visitor's messages in a room begin; what follows is the client id."""
    return f"{room}:" if room == visitor else f"{room}:{visitor}:"


def welcome(
    token: str, room: str, seq: int, changes: int, roster: Roster | None = None, visitor: str = "", after: int = 0
) -> dict[str, Any]:
    """The answer to hello; `conversation` is the room's name, known before the first message is.

    `changes` is the number of the room's last change, which a browser that starts from the beginning already has. The
    messages after number `after` follow.
    """
    frame: dict[str, Any] = {
        "type": "welcome", "token": token, "conversation": room, "seq": seq, "changes": changes, "after": after
    }  # fmt: skip
    return frame if roster is None else frame | {"room": _room(room, roster, visitor)}


def room(name: str, roster: Roster, visitor: str) -> dict[str, Any]:
    """A shared room's title and members, as they are now."""
    return {"type": "room", "room": _room(name, roster, visitor)}


def _room(name: str, roster: Roster, visitor: str) -> dict[str, Any]:
    mine = roster.seat(visitor)
    return {
        "id": name.removeprefix(SHARED),
        "title": roster.title,
        "me": str(mine.member) if mine else None,
        "role": mine.role if mine else None,
        "read_seq": mine.read_seq if mine else 0,
        "members": [
            {"member": str(seat.member), "name": seat.name, "role": seat.role, "read_seq": seat.read_seq}
            for seat in roster.seats
        ],
    }


def typing(member: UUID, roster: Roster) -> dict[str, Any]:
    """Somebody in the room is writing."""
    return {"type": "typing", "member": str(member), "name": roster.name(member)}


def draft(text: str) -> dict[str, Any]:
    """What there is of an answer that is still being made; the next one, or the message itself, takes its place."""
    return {"type": "draft", "text": text}


def read(member: UUID, seq: int) -> dict[str, Any]:
    """Somebody in the room has seen everything up to `seq`."""
    return {"type": "read", "member": str(member), "seq": seq}


def presence(here: Collection[UUID]) -> dict[str, Any]:
    """Who has the room open just now."""
    return {"type": "presence", "here": sorted(map(str, here))}


Link = Callable[[UUID], str]
"""Where a browser finds a file of ours."""


def msg(
    message: StoredMessage,
    room: str,
    visitor: str | None = None,
    roster: Roster | None = None,
    link: Link | None = None,
) -> dict[str, Any]:
    """A stored message as a visitor sees it; answers to pick are taken out of the parts, and a file
    has a `url`, made by `link`, in place of its `ref`.

    `author` is there when a member of staff wrote it, or somebody else in a shared room, and names them; `member` is
    whoever in a shared room wrote it.
    """
    start = prefix(room, visitor or room)
    own = message.event_id is not None and message.event_id.startswith(start)
    frame: dict[str, Any] = {
        "type": "msg",
        "seq": message.seq,
        "cid": message.event_id.removeprefix(start) if own and message.event_id else None,
        "from": "bot" if not message.inbound else "me" if own or roster is None else "member",
        "parts": _shown(message, link),
        "reply_to": int(message.reply_to) if message.reply_to and message.reply_to.isdecimal() else None,
        "at": message.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if roster is not None and message.inbound:
        frame |= {"author": roster.name(message.identity_id), "member": str(message.identity_id)}
    choices = [option for part in message.parts if isinstance(part, Choices) for option in part.options]
    if choices:
        frame["choices"] = choices
    if message.author is not None:
        frame["author"] = message.author
    if message.deleted_at is not None:
        frame["deleted"] = True
    elif message.edited_at is not None:
        frame["edited"] = True
    if message.reactions:
        frame["reactions"] = _reactions(message, visitor or room, roster)
    return frame


def reactions(number: int, message: StoredMessage, visitor: str, roster: Roster | None = None) -> dict[str, Any]:
    """What is under a message now; `change` is the number of the change that made it so."""
    return {
        "type": "reactions", "seq": message.seq, "reactions": _reactions(message, visitor, roster), "change": number
    }  # fmt: skip


def _reactions(message: StoredMessage, visitor: str, roster: Roster | None) -> list[dict[str, Any]]:
    """Each emoji once, the first first: how many put it there, the visitor too or not, and in a room who."""
    if message.deleted_at is not None:
        return []
    found: dict[str, list[Reaction]] = {}
    for one in message.reactions:
        found.setdefault(one.emoji, []).append(one)
    return [
        {
            "emoji": emoji,
            "count": len(by),
            "mine": any(one.provider_id == visitor for one in by),
            "names": [roster.name(one.identity_id) for one in by[:NAMES_MAX]] if roster else [],
        }
        for emoji, by in found.items()
    ]


def older(messages: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """What was said before, oldest first, and whether there is more before that."""
    return {"type": "older", "messages": list(messages), "more": more}


def change(number: int, message: StoredMessage, link: Link | None = None) -> dict[str, Any]:
    """A message that the browser may have, as it is now; `change` is the number of the change that made it so."""
    if message.deleted_at is not None:
        return {"type": "delete", "seq": message.seq, "change": number}
    frame = {"type": "edit", "seq": message.seq, "parts": _shown(message, link), "change": number}
    # The words of a voice note came; nobody edited it.
    return frame if message.edited_at is not None else frame | {"edited": False}


def is_shown(message: StoredMessage) -> bool:
    """Whether a change of this message's words may be one that a browser shows."""
    words = any(isinstance(part, Voice) and part.transcript is not None for part in message.parts)
    return message.deleted_at is not None or message.edited_at is not None or words


def _shown(message: StoredMessage, link: Link | None) -> list[dict[str, Any]]:
    shown = []
    for part in message.parts:
        if isinstance(part, Choices):
            continue
        told = part.model_dump(mode="json")
        if link and isinstance(part, Media | Voice) and (ref := file_id(part.ref)) is not None:
            del told["ref"]
            told["url"] = link(ref)
        shown.append(told)
    return shown


def error(bad: BadFrame, language: str = "en") -> dict[str, Any]:
    """What was refused and what to do about it; `retry_s` None means that trying again will not help."""
    frame = {"type": "error", "code": bad.code, "message": bad.to(language), "retry_s": bad.retry_s}
    return frame | {"cid": bad.cid} if bad.cid else frame
