"""Reading conversations and knowing visitors, on a real PostgreSQL."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from core.conversations import HISTORY_PAGE, history, last_seq, standings
from core.db import Database
from core.errors import StoreUnavailable
from core.inbox import Inbox
from core.messages import ChannelName, Reply
from core.outbox import NewMessage, post
from core.visitors import create_visitor, find_visitor
from core.wake import Wakes
from tests.factories import ACCOUNT, say

ROOM = "r1"


async def converse(db: Database, lines: int) -> UUID:
    """A conversation of one inbound message, an answer, and so on: `lines` altogether, in the room ROOM."""
    inbox = Inbox(db, Wakes(db))
    for number in range(0, lines, 2):
        [received] = await inbox.receive([say(f"line {number + 1}", room=ROOM, event_id=f"e{number + 1}")])
        if number + 1 < lines:
            async with db.hot() as connection:
                reply = Reply.of(f"line {number + 2}", ("yes", "no")).parts
                await post(connection, [NewMessage(received.conversation_id, reply, "reply", f"k{number}")])
    return received.conversation_id


async def test_history_holds_both_sides_in_order(db: Database) -> None:
    messages = await history(db, await converse(db, 4), since=0)
    assert [message.seq for message in messages] == [1, 2, 3, 4]
    assert [message.inbound for message in messages] == [True, False, True, False]
    assert [message.event_id for message in messages] == ["e1", None, "e3", None]
    assert messages[1].parts == Reply.of("line 2", ("yes", "no")).parts
    assert messages[0].created_at < messages[3].created_at


async def test_history_goes_on_after_a_number_and_ends_at_a_page(db: Database) -> None:
    conversation = await converse(db, 6)
    assert [message.seq for message in await history(db, conversation, since=4)] == [5, 6]
    assert [message.seq for message in await history(db, conversation, since=1, limit=2)] == [2, 3]
    assert await history(db, conversation, since=6) == []
    assert await history(db, uuid4(), since=0) == []


async def test_a_page_is_never_longer_than_its_limit(db: Database) -> None:
    conversation = await converse(db, 1)
    async with db.hot() as connection:
        parts = Reply.of("x").parts
        await post(connection, [NewMessage(conversation, parts, "reply", f"n{n}") for n in range(HISTORY_PAGE + 5)])
    assert len(await history(db, conversation, since=0, limit=10_000)) == HISTORY_PAGE


async def test_a_room_stands_at_its_last_message(db: Database) -> None:
    conversation = await converse(db, 3)
    assert await last_seq(db, ChannelName.WHATSAPP, ACCOUNT, ROOM) == 3
    assert await last_seq(db, ChannelName.WHATSAPP, ACCOUNT, "nobody's") == 0
    assert await last_seq(db, ChannelName.WEB, ACCOUNT, ROOM) == 0
    found = await standings(db, ChannelName.WHATSAPP, ACCOUNT, [ROOM, "nobody's"])
    assert list(found) == [ROOM]
    assert (found[ROOM].conversation_id, found[ROOM].seq) == (conversation, 3)


async def test_a_visitor_is_known_by_the_token_on_the_site_it_was_made_for(db: Database) -> None:
    visitor, token = await create_visitor(db, "default")
    other, other_token = await create_visitor(db, "default")
    assert visitor.id != other.id
    assert token != other_token
    assert await find_visitor(db, token, "default") == visitor
    assert await find_visitor(db, token, "elsewhere") is None
    assert await find_visitor(db, "A" * 43, "default") is None


@pytest.mark.parametrize("token", ["", "short", "A" * 44, "é" * 43, "A" * 42 + "\n", "A" * 42 + "=", "\0" * 43])
async def test_what_is_no_token_is_nobodys(db: Database, token: str) -> None:
    assert await find_visitor(db, token, "default") is None


async def test_reading_says_so_when_postgres_is_away(tmp_path: Path) -> None:
    nowhere = await Database.connect(f"postgresql://mathia_app@/mathia?host={tmp_path}")
    try:
        for reading in (
            history(nowhere, uuid4(), since=0),
            last_seq(nowhere, ChannelName.WEB, "default", ROOM),
            find_visitor(nowhere, "A" * 43, "default"),
            create_visitor(nowhere, "default"),
        ):
            with pytest.raises(StoreUnavailable, match="Try again"):
                await reading
    finally:
        await nowhere.close()
