"""Messages of a room: pages, posting, changing, replies, threads, search, export."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

import orjson
from aiohttp import hdrs, web
from pydantic import Field, JsonValue

from bot.api.endpoint import SECURITY, Answer, Asked, Call, Endpoint, Given, Refuse, Told, no_message
from bot.api.rooms import ROOM
from bot.api.rooms import told as room_told
from channels.web import frames
from channels.web.frames import CID, EMOJI_CHARS_MAX, FILE, FILES_MAX, SEQ_MAX
from core import conversations, rooms
from core.conversations import HISTORY_PAGE, THREAD_MAX, StoredMessage
from core.language import Saying
from core.messages import TEXT_CHARS_MAX, Choices, Part, Text, text_of
from core.rooms import NoSuchRoom, Roster
from core.transcript import escaped, quoted

SEARCHED_MAX = 5_000
"""How many messages one search looks at, newest first: they are sealed, so each has to be opened."""
FOUND_MAX = 50
QUERY_CHARS_MAX = 200

Seq = Annotated[int, Field(ge=1, le=SEQ_MAX)]
Page = Annotated[int, Field(ge=1, le=HISTORY_PAGE)]
ClientId = Annotated[
    str, Field(pattern=f"^{CID.pattern}$", description="Yours to choose; the same again is the same message")
]
FileId = Annotated[str, Field(pattern=f"^{FILE}$")]
Words = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]


NO_EMOJI = Saying("That is no emoji.", "Hiyo si emoji.")


class NewReply(Given):
    """A message to post: words, files, or both; `files` are ids of your own uploads to this room."""

    id: ClientId
    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX)] = ""
    files: Annotated[list[FileId], Field(max_length=FILES_MAX)] = []
    voice: Annotated[bool, Field(description="whether its sounds are voice notes, to be written down")] = False


class NewMessage(NewReply):
    """A message to post; `reply_to` is the number of the message it answers."""

    reply_to: Seq | None = None


class NewWords(Given):
    """What a message says from now on."""

    text: Words


class Paging(Asked):
    """Which page: what comes after a number, or before one; the newest without either."""

    after: Annotated[int, Field(ge=0, le=SEQ_MAX)] | None = None
    before: Seq | None = None
    limit: Page = 50


class After(Asked):
    """Which page: what comes after a number."""

    after: Annotated[int, Field(ge=0, le=SEQ_MAX)] = 0
    limit: Page = 50


class Query(Asked):
    """Words that all have to be in a message, in any order; `before` goes on with an earlier search."""

    q: Annotated[str, Field(min_length=1, max_length=QUERY_CHARS_MAX)]
    before: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=FOUND_MAX)] = 20


class Format(Asked):
    """As what a room is exported."""

    format: Literal["md", "json"] = "md"


class Reaction(Told):
    """An emoji under a message: how many put it there, whether you did, and the names of the first ten."""

    emoji: str
    count: int
    mine: bool
    names: list[str]


class Message(Told):
    """A message; a deleted one has no parts."""

    seq: int = Field(description="its number in the room, and its id")
    id: str | None = Field(description="the client id you gave it; null where it is not yours")
    sender: Literal["me", "member", "bot"] = Field(alias="from")
    member: UUID | None = Field(description="who wrote it; null for the bot")
    author: str | None = Field(description="their name; of the bot's side, a member of staff's")
    parts: list[dict[str, JsonValue]] = Field(
        description="by `kind`: text, media, voice, location, contact, choices, card, table; files have `url`"
    )
    reply_to: int | None
    at: datetime
    edited: bool
    deleted: bool
    reactions: list[Reaction]


class Messages(Told):
    """A page, oldest first; `next` is the `after` or `before` of the next page, null where there is none."""

    messages: list[Message]
    next: int | None


class Thread(Told):
    """What began a thread and everything in it, oldest first; `complete` is false for one of over 1,000 messages."""

    root: int
    messages: list[Message]
    complete: bool


class Found(Told):
    """What was found, newest first. `complete` says whether the room was searched to its beginning.

    Where it was not, `next` is the `before` to go on with.
    """

    messages: list[Message]
    searched: int
    complete: bool
    next: int | None


class _Here:
    """A room as the caller, who is in it, sees it."""

    def __init__(self, call: Call, conversation_id: UUID, roster: Roster) -> None:
        self.name = rooms.name_of(call.room_id)
        self.conversation_id = conversation_id
        self.roster = roster
        self._visitor = str(call.place.visitor)
        self._link = call.services.web.link

    def told(self, message: StoredMessage) -> Message:
        """A message as the caller sees it."""
        frame = frames.msg(message, self.name, self._visitor, self.roster, self._link)
        choices = [part.model_dump(mode="json") for part in message.parts if isinstance(part, Choices)]
        return Message.model_validate(
            {
                "seq": frame["seq"], "id": frame["cid"], "from": frame["from"], "member": frame.get("member"),
                "author": frame.get("author"), "parts": frame["parts"] + choices, "reply_to": frame["reply_to"],
                "at": frame["at"], "edited": frame.get("edited", False), "deleted": frame.get("deleted", False),
                "reactions": frame.get("reactions", []),
            }
        )  # fmt: skip


async def _here(call: Call) -> _Here:
    """Raises NoSuchRoom for whoever is not in the room."""
    name = rooms.name_of(call.room_id)
    speaker = await rooms.speaker(call.services.db, call.place, name)
    if speaker is None:
        raise NoSuchRoom
    roster = (await rooms.rosters(call.services.db, call.place.account, [name]))[name]
    return _Here(call, speaker.conversation_id, roster)


async def _message(call: Call, here: _Here) -> StoredMessage:
    found = await conversations.one(call.services.db, here.conversation_id, call.seq)
    if found is None:
        raise no_message()
    return found


async def page(call: Call) -> Answer:
    """A page of what was said."""
    asked: Paging = call.query
    if asked.after is not None and asked.before is not None:
        raise Refuse(422, "bad_query", "Ask for what comes after a message, or before one, not for both.")
    here = await _here(call)
    db = call.services.db
    if asked.after is not None:
        found = await conversations.history(db, here.conversation_id, since=asked.after, limit=asked.limit)
        further = found[-1].seq if len(found) == asked.limit else None
    else:
        before = asked.before or SEQ_MAX
        found = (await conversations.before(db, here.conversation_id, seq=before, limit=asked.limit))[::-1]
        further = found[0].seq if found and found[0].seq > 1 else None
    return 200, Messages(messages=[here.told(one) for one in found], next=further)


async def post(call: Call) -> Answer:
    """Post a message."""
    return await _post(call, call.body.reply_to)


async def reply(call: Call) -> Answer:
    """Answer a message."""
    await _message(call, await _here(call))
    return await _post(call, call.seq)


async def _post(call: Call, reply_to: int | None) -> Answer:
    given: NewReply = call.body
    parts: tuple[Part, ...] = (Text(text=given.text),) if given.text.strip() else ()
    if parts or not given.files:
        frames.check_text(given.text, given.id)
    channel, name = call.services.web, rooms.name_of(call.room_id)
    site, visitor = call.place.account, call.place.visitor
    if given.files:
        await _here(call)
        files = list(dict.fromkeys(given.files))
        parts += await channel.attached(name, visitor, files, voice=given.voice, site=site)
    received = await channel.receive(name, visitor, given.id, parts, reply_to, site)
    await channel.tell(name)
    here = await _here(call)
    stored = await conversations.one(call.services.db, here.conversation_id, received.seq)
    if stored is None:
        raise no_message()
    return 201 if received.new else 200, here.told(stored)


async def edit(call: Call) -> Answer:
    """Other words for the caller's own message."""
    frames.check_text(call.body.text, "")
    return await _change(call, "edit", (Text(text=call.body.text),))


async def delete(call: Call) -> Answer:
    """Take the caller's own message back; doing it again changes nothing."""
    here = await _here(call)
    found = await _message(call, here)
    start = frames.prefix(here.name, str(call.place.visitor))
    if found.deleted_at is None or not (found.event_id or "").startswith(start):
        await _change(call, "delete")
    return 204, None


async def _change(call: Call, kind: Literal["edit", "delete"], parts: tuple[Part, ...] = ()) -> Answer:
    channel = call.services.web
    # Each request is a change of its own: the same words again leave the message as it is.
    cid = f"api-{kind}-{call.seq}-{int(call.now.timestamp() * 1_000_000)}"
    name, site = rooms.name_of(call.room_id), call.place.account
    await channel.change(name, call.place.visitor, cid, call.seq, kind, parts, site)
    here = await _here(call)
    return 200, here.told(await _message(call, here))


async def react(call: Call) -> Answer:
    """Put an emoji under a message."""
    return await _react(call, on=True)


async def take_back(call: Call) -> Answer:
    """Take an emoji of the caller's back."""
    return await _react(call, on=False)


async def _react(call: Call, *, on: bool) -> Answer:
    here = await _here(call)
    emoji = call.request.match_info["emoji"]
    if len(emoji) > EMOJI_CHARS_MAX:
        raise Refuse(422, "emoji", NO_EMOJI)
    cid, visitor = f"api-reaction-{uuid4().hex}", call.place.visitor
    await call.services.web.react(here.name, visitor, cid, call.seq, emoji, on=on, site=call.place.account)
    return 200, here.told(await _message(call, here))


async def replies(call: Call) -> Answer:
    """What answers a message directly."""
    asked: After = call.query
    here = await _here(call)
    await _message(call, here)
    found = await conversations.replies(
        call.services.db, here.conversation_id, call.seq, since=asked.after, limit=asked.limit
    )
    further = found[-1].seq if len(found) == asked.limit else None
    return 200, Messages(messages=[here.told(one) for one in found], next=further)


async def thread(call: Call) -> Answer:
    """The thread that a message is in."""
    here = await _here(call)
    found = await conversations.thread(call.services.db, here.conversation_id, call.seq)
    if not found:
        raise no_message()
    told = [here.told(one) for one in found]
    return 200, Thread(root=found[0].seq, messages=told, complete=len(found) < THREAD_MAX)


async def search(call: Call) -> Answer:
    """The newest messages that contain every word."""
    asked: Query = call.query
    words = asked.q.casefold().split()
    if not words:
        raise Refuse(422, "bad_query", "q: there is nothing to look for.")
    here = await _here(call)
    found: list[Message] = []
    searched, before = 0, asked.before or SEQ_MAX
    while searched < SEARCHED_MAX and before > 1:
        looked = await conversations.before(call.services.db, here.conversation_id, seq=before)
        if not looked:
            before = 1
        for one in looked:
            searched, before = searched + 1, one.seq
            said = text_of(one.parts).casefold()
            if all(word in said for word in words):
                found.append(here.told(one))
                if len(found) == asked.limit:
                    break
        if len(found) == asked.limit:
            break
    complete = before == 1
    return 200, Found(messages=found, searched=searched, complete=complete, next=None if complete else before)


async def export(call: Call) -> Answer:
    """The whole room up to now, streamed; whoever is removed meanwhile gets no more of it."""
    room = await room_told(call, call.room_id)
    kind = "text/markdown" if call.query.format == "md" else "application/json"
    answer = web.StreamResponse(
        headers={
            **SECURITY,
            **(await call.services.web.cors(call.request) if hdrs.ORIGIN in call.request.headers else {}),
            hdrs.CONTENT_TYPE: f"{kind}; charset=utf-8",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="room-{room.id}.{call.query.format}"',
        }
    )
    await answer.prepare(call.request)
    # What breaks off here ends the connection without the last chunk, so nobody takes it for the whole.
    if call.query.format == "md":
        await answer.write(f"# {escaped(room.title)}\n\n".encode())
        async for parts, one in _all(call, room.seq):
            await answer.write(markdown(one, parts).encode())
    else:
        head = orjson.dumps(room.model_dump(mode="json", by_alias=True))
        await answer.write(b'{"room":' + head + b',"messages":[')
        comma = b"\n"
        async for _, one in _all(call, room.seq):
            await answer.write(comma + one.model_dump_json(by_alias=True).encode())
            comma = b",\n"
        await answer.write(b"\n]}\n")
    await answer.write_eof()
    return answer


async def _all(call: Call, last: int) -> AsyncIterator[tuple[tuple[Part, ...], Message]]:
    """Every message up to number `last`, its parts and what is told of it; raises NoSuchRoom once the caller is out."""
    since = 0
    while since < last:
        here = await _here(call)
        found = await conversations.history(call.services.db, here.conversation_id, since=since)
        if not found:
            return
        for one in found:
            if one.seq <= last:
                yield one.parts, here.told(one)
        since = found[-1].seq


def markdown(message: Message, parts: tuple[Part, ...]) -> str:
    """A message in Markdown; nothing that was written in it can be taken for formatting."""
    who = escaped(message.author or ("Mathia" if message.sender == "bot" else "Guest"))
    answers = f", to {message.reply_to}" if message.reply_to else ""
    state = " (edited)" if message.edited else ""
    head = f"**{who}** {message.at:%Y-%m-%d %H:%M} UTC, {message.seq}{answers}{state}"
    if message.deleted:
        return f"{head}\n\n> *deleted*\n\n"
    return f"{head}\n\n{quoted(parts)}\n"


MESSAGES = f"{ROOM}messages/"
MESSAGE = f"{MESSAGES}{{msg_id}}/"
REACTION = f"{MESSAGE}reactions/{{emoji}}/"

ENDPOINTS = (
    Endpoint("GET", MESSAGES, "A page of messages, oldest first", page, Messages, query=Paging),
    Endpoint("POST", MESSAGES, "Post a message; 200 where it was posted before", post, Message, NewMessage, status=201),
    Endpoint("PATCH", MESSAGE, "Edit your own message", edit, Message, NewWords),
    Endpoint("DELETE", MESSAGE, "Delete your own message", delete, status=204),
    Endpoint("PUT", REACTION, "Put an emoji under a message; once, however often", react, Message),
    Endpoint("DELETE", REACTION, "Take an emoji of yours back", take_back, Message),
    Endpoint("GET", f"{MESSAGE}replies/", "What answers a message directly", replies, Messages, query=After),
    Endpoint("POST", f"{MESSAGE}replies/", "Answer a message", reply, Message, NewReply, status=201),
    Endpoint("GET", f"{MESSAGE}thread/", "The thread a message is in", thread, Thread),
    Endpoint("GET", f"{ROOM}search/", "Search the room, newest first", search, Found, query=Query),
    Endpoint("GET", f"{ROOM}export/", "The whole room as a file", export, query=Format),
)
