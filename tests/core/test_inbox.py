"""The inbox: once, in order, never half."""

import asyncio
import random

import pytest

from core.db import Database
from core.errors import StoreUnavailable
from core.inbox import Inbox
from core.settings import Settings
from core.wake import Wakes
from tests.factories import say
from tests.said import called, messages, texts


@pytest.fixture
def inbox(db: Database) -> Inbox:
    return Inbox(db, Wakes(db))


async def test_a_message_is_stored_with_its_person_conversation_and_turn(db: Database, inbox: Inbox) -> None:
    [received] = await inbox.receive([say("habari", room="r1", name="Amina")])
    assert (received.seq, received.new) == (1, True)
    [row] = await messages(
        db,
        "JOIN identity i ON i.id = m.identity_id JOIN person p ON p.id = i.person_id JOIN turn t ON t.id = m.turn_id",
        also=["m.direction", "t.state"],
    )
    assert row["parts"] == [{"kind": "text", "text": "habari"}]
    assert (row["direction"], row["state"]) == ("in", "waiting")
    assert await called(db, "SELECT name FROM person") == "Amina"
    assert await db.pool.fetchval("SELECT count(*) FROM member") == 1


async def test_the_same_event_is_the_same_message(inbox: Inbox) -> None:
    [first] = await inbox.receive([say(event_id="e1")])
    again = await inbox.receive([say(event_id="e1"), say(event_id="e1")])
    assert [(one.seq, one.new) for one in again] == [(first.seq, False), (first.seq, False)]


async def test_the_same_event_twice_in_one_call_is_stored_once(db: Database, inbox: Inbox) -> None:
    received = await inbox.receive([say(event_id="e1"), say(event_id="e1")])
    assert [one.seq for one in received] == [1, 1]
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 1


async def test_waiting_messages_of_a_conversation_share_a_turn(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say(room="r1"), say(room="r1"), say(room="r2")])
    await inbox.receive([say(room="r1")])
    rows = await db.pool.fetch("SELECT count(*) AS n FROM message GROUP BY turn_id ORDER BY n")
    assert [row["n"] for row in rows] == [1, 3]


async def test_racing_deliveries_from_two_processes_leave_no_gap_and_no_double(database_url: str) -> None:
    databases = [await Database.connect(database_url, Settings(_env_file=None).key_list) for _ in range(2)]
    inboxes = [Inbox(one, Wakes(one)) for one in databases]
    dice = random.Random(7)
    events = [(f"e{i}", f"r{i % 5}") for i in range(200)]
    deliveries = [event for event in events for _ in range(dice.randint(1, 4))]
    dice.shuffle(deliveries)
    answers = await asyncio.gather(
        *(dice.choice(inboxes).receive([say(room=room, event_id=event)]) for event, room in deliveries)
    )
    assert sum(answer[0].new for answer in answers) == len(events)
    rows = await databases[0].pool.fetch(
        "SELECT c.next_seq, array_agg(m.seq ORDER BY m.seq) AS seqs FROM conversation c JOIN message m"
        " ON m.conversation_id = c.id GROUP BY c.id"
    )
    for row in rows:
        assert row["seqs"] == list(range(1, len(row["seqs"]) + 1))
        assert row["next_seq"] == len(row["seqs"]) + 1
    assert sum(len(row["seqs"]) for row in rows) == len(events)
    assert await databases[0].pool.fetchval("SELECT count(*) FROM person") == 5
    for one in databases:
        await one.close()


async def test_messages_of_one_call_keep_their_order(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say(str(n), room="r1") for n in range(20)])
    assert await texts(db, "ORDER BY seq") == [str(n) for n in range(20)]


async def test_a_refused_message_does_not_fail_its_neighbours(db: Database, inbox: Inbox) -> None:
    """PostgreSQL keeps no NUL; adapters refuse it first, and here it must fail alone."""
    results = await asyncio.gather(
        inbox.receive([say("one", room="r1")]),
        inbox.receive([say("a\0b", room="r2")]),
        inbox.receive([say("three", room="r3")]),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert await db.pool.fetchval("SELECT count(*) FROM message") == 2


async def test_nothing_is_accepted_while_postgres_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = await Database.connect(f"postgresql://mathia_app@/mathia?host={tmp_path_factory.mktemp('pg')}")
    with pytest.raises(StoreUnavailable):
        await Inbox(nowhere, Wakes(nowhere)).receive([say()])
    await nowhere.close()


async def test_the_app_role_cannot_change_the_tables(db: Database) -> None:
    import asyncpg

    for statement in (
        "DROP TABLE message",
        "ALTER TABLE turn DISABLE TRIGGER ALL",
        "DELETE FROM message",
        "TRUNCATE audit",
        "UPDATE audit SET actor = 'x'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.pool.execute(statement)
