"""Changes: once, only by the author, in the provider's order, and whatever order they arrive in."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from bot.wiring import connect_valkey
from core.changes import EDITED_WITHIN, STANDS, Change, Changed, Kind, Moved, Reach, apply
from core.conversations import history
from core.db import Database
from core.dialog import DialogState
from core.dialog_store import DialogStore
from core.inbox import Inbox
from core.limits import Limits
from core.messages import Address, ChannelName, Reply, Text
from core.turn import Closing, Turn
from core.turn_answer import run_turn
from core.turn_store import Turns
from core.wake import Wakes
from tests.factories import ACCOUNT, say
from tests.said import messages

ROOM = "whatsapp:+254712345678"
AMINA = Address(ChannelName.WHATSAPP, ACCOUNT, ROOM, ROOM)
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
KINDS: tuple[Kind, ...] = ("edit", "reaction", "delete")
_events = itertools.count(1)


def change(
    kind: Kind,
    target: str = "e1",
    *,
    author: Address = AMINA,
    at: int = 0,
    text: str = "new",
    emoji: tuple[str, ...] = (),
) -> Change:
    """A change `at` seconds after NOW, under a fresh event id."""
    parts = (Text(text=text),) if kind == "edit" else ()
    return Change(author, str(next(_events)), kind, target, NOW + timedelta(seconds=at), parts, emoji)


@pytest.fixture
def inbox(db: Database) -> Inbox:
    return Inbox(db, Wakes(db))


async def end(db: Database) -> list[tuple[Any, ...]]:
    """Everything a change can change."""
    every = "array_agg(r.emoji::text ORDER BY r.identity_id)"
    return await _ends(db, every, "ORDER BY m.id")


async def _ends(db: Database, emoji: str, rest: str, *values: object) -> list[tuple[Any, ...]]:
    reactions = f"(SELECT {emoji} FROM reaction r WHERE r.message_id = m.id) AS emoji"  # noqa: S608
    rows = await messages(db, rest, *values, also=["m.edited_at", "m.deleted_at IS NOT NULL AS deleted", reactions])
    return [(str(row["parts"]), row["edited_at"], row["deleted"], row["emoji"]) for row in rows]


async def test_an_edit_replaces_the_words_and_a_repeated_one_does_nothing(db: Database, inbox: Inbox) -> None:
    [received] = await inbox.receive([say("at 4", event_id="e1")])
    edit = change("edit", text="at 5")
    assert await inbox.change(edit) == Changed("applied", new=True, seq=1)
    assert not (await inbox.change(edit)).new
    [message] = await history(db, received.conversation_id, since=0)
    assert message.parts == (Text(text="at 5"),)
    assert message.edited_at == NOW
    assert await db.pool.fetchval("SELECT count(*) FROM change") == 1


async def test_a_deleted_message_is_a_tombstone_whose_words_are_nowhere(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say("my secret", event_id="e1")])
    await inbox.change(change("edit", text="my other secret"))
    await inbox.change(change("delete", at=1))
    assert await inbox.change(change("edit", text="again a secret", at=2)) == Changed("overtaken", new=True, seq=1)
    assert await end(db) == [("[]", None, True, None)]
    for table in ("message", "change", "turn"):
        assert "secret" not in str(await db.pool.fetch(f"SELECT {table}::text FROM {table}"))  # noqa: S608


async def test_only_the_author_edits_or_deletes(db: Database, inbox: Inbox) -> None:
    other = say("mine", event_id="e2", room="whatsapp:+254700000001")
    group = Address(ChannelName.WHATSAPP, ACCOUNT, ROOM, other.sender.person)
    await inbox.receive([say("hers", event_id="e1"), other])
    before = await end(db)
    for author in (group, Address(ChannelName.WHATSAPP, ACCOUNT, ROOM, "nobody")):
        for kind in ("edit", "delete"):
            assert await inbox.change(change(kind, author=author)) == Changed("refused", new=True, seq=1)
    # The same message named from another room, and another account, is no message there.
    assert (await inbox.change(change("delete", author=other.sender))).state == "unknown"
    assert (
        await inbox.change(change("delete", author=Address(ChannelName.WHATSAPP, "x", ROOM, ROOM)))
    ).state == "unknown"
    assert await end(db) == before


async def test_a_change_of_what_we_never_saw_is_recorded_and_harmless(db: Database, inbox: Inbox) -> None:
    assert await inbox.change(change("edit", "nothing")) == Changed("unknown", new=True)
    await inbox.receive([say(event_id="e1")])
    assert await inbox.change(change("delete", ":1")) == Changed("unknown", new=True)
    assert await db.pool.fetchval("SELECT count(*) FROM change") == 2
    assert (await end(db))[0][2] is False


async def test_a_message_is_found_by_the_end_of_its_event_id_only_behind_a_colon(db: Database, inbox: Inbox) -> None:
    await inbox.receive(
        [say("press", event_id="17"), say("message", event_id="900:17"), say("other", event_id="901:117")]
    )
    assert (await inbox.change(change("edit", ":17"))).seq == 2
    assert (await inbox.change(change("edit", "17"))).seq == 1
    assert (await inbox.change(change("edit", ":7"))).state == "unknown"
    assert (await inbox.change(change("edit", ":_17"))).state == "unknown"


async def test_a_reaction_is_one_row_a_person_and_message_and_goes_when_taken_back(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say(event_id="e1")])
    await inbox.change(change("reaction", emoji=("👍",)))
    await inbox.change(change("reaction", emoji=("❤", "🔥"), at=1))
    assert (await inbox.change(change("reaction", emoji=("💩",)))).state == "overtaken"
    assert [row["emoji"] for row in await db.pool.fetch("SELECT emoji FROM reaction")] == [["❤", "🔥"]]
    await inbox.change(change("reaction", at=2))
    assert await db.pool.fetchval("SELECT count(*) FROM reaction") == 0


async def test_within_a_second_ids_that_are_no_numbers_leave_it_to_the_order_of_arrival(
    db: Database, inbox: Inbox
) -> None:
    await inbox.receive([say(event_id="e1")])
    for event_id, emoji in (("wamid.zz", "👍"), ("wamid.a", "❤")):
        said = Change(AMINA, event_id, "reaction", "e1", NOW, emoji=(emoji,))
        assert (await inbox.change(said)).state == "applied"
    late = Change(AMINA, "wamid.zzz", "reaction", "e1", NOW - timedelta(seconds=1), emoji=("💩",))
    assert (await inbox.change(late)).state == "overtaken"
    assert await db.pool.fetchval("SELECT array_agg(emoji) FROM reaction") == [["❤"]]


async def test_steps_count_once_whatever_is_delivered_again_and_each_person_alone(db: Database, inbox: Inbox) -> None:
    brian = "whatsapp:+254700000001"
    await inbox.receive([say(event_id="e1"), say(event_id="e2", room=brian)])
    guest = Address(ChannelName.WHATSAPP, ACCOUNT, ROOM, brian)

    def step(emoji: str, what: Literal["add", "take"] = "add", author: Address = AMINA, seq: int = 1) -> Change:
        return Change(author, f"step{next(_events)}", "reaction", "", NOW, emoji=(emoji,), step=what, seq=seq)

    async def under() -> dict[str, list[str]]:
        rows = await db.pool.fetch(
            "SELECT i.provider_id, r.emoji FROM reaction r JOIN identity i ON i.id = r.identity_id"
        )
        return {row["provider_id"]: sorted(row["emoji"]) for row in rows}

    first = step("👍")
    # Steps and copies of one at the same time; the same emoji again is no second one.
    at_once = [first, step("🙏"), first, step("👍"), step("👍", author=guest)]
    await asyncio.gather(*map(inbox.change, at_once))
    assert await under() == {ROOM: ["👍", "🙏"], brian: ["👍"]}
    assert await db.pool.fetchval("SELECT changes FROM conversation WHERE room = $1", ROOM) == 3
    await inbox.change(step("👍", "take"))
    # What was added before it was taken back is delivered late once more.
    assert not (await inbox.change(first)).new
    assert (await inbox.change(step("👍", "take"))).state == "overtaken"
    assert await under() == {ROOM: ["🙏"], brian: ["👍"]}
    # None of ours, until somebody put it there; nobody who never wrote; no such message.
    assert (await inbox.change(step("🦄"))).state == "refused"
    await inbox.change(change("reaction", author=guest, emoji=("🦄",), at=1))
    assert (await inbox.change(step("🦄"))).state == "applied"
    nobody = Address(ChannelName.WHATSAPP, ACCOUNT, ROOM, "nobody")
    assert (await inbox.change(step("👍", author=nobody))).state == "refused"
    assert (await inbox.change(step("👍", seq=9))).state == "unknown"
    turns = await db.pool.fetchval("SELECT array_agg((state, attempt)::text) FROM turn")
    assert turns == ["(waiting,0)"] * 2
    await inbox.change(change("delete", at=2))
    assert await under() == {}
    assert (await inbox.change(step("👍"))).state == "overtaken"


def some_changes(dice: random.Random) -> list[Change]:
    """Twelve changes to two messages, some of the same second."""
    made = []
    for _ in range(12):
        kind = dice.choices(KINDS, [6, 5, 1])[0]
        emoji = tuple(dice.sample(["👍", "❤", "🔥"], dice.randint(0, 2)))
        target = dice.choice(["e1", "e2"])
        made.append(change(kind, target, at=dice.randint(0, 4), text=f"v{dice.random()}", emoji=emoji))
    return made


@pytest.mark.parametrize("seed", range(6))
async def test_changes_end_the_same_in_whatever_order_and_however_often_they_come(
    db: Database, inbox: Inbox, seed: int
) -> None:
    dice = random.Random(seed)
    changes = some_changes(dice)
    ends = []
    orders: Sequence[list[Change]] = [changes, *(dice.sample(changes, len(changes)) for _ in range(3))]
    for order in orders:
        other = await _fresh(db, inbox)
        again = [*order, *dice.sample(order, 4)]
        for one in again:
            await apply(db, _in_room(one, other))
        ends.append(await _end_of(db, other))
    assert all(one == ends[0] for one in ends)


async def _fresh(db: Database, inbox: Inbox) -> str:
    """A room of its own with the messages e1 and e2."""
    room = f"whatsapp:+2547{next(_events):08}"
    await inbox.receive([say("one", event_id=f"{room}:e1", room=room), say("two", event_id=f"{room}:e2", room=room)])
    return room


def _in_room(one: Change, room: str) -> Change:
    author = Address(ChannelName.WHATSAPP, ACCOUNT, room, room)
    event_id = f"{room.rpartition('+')[2]}{one.event_id:>012}"
    return Change(author, event_id, one.kind, f"{room}:{one.target}", one.sent_at, one.parts, one.emoji)


async def _end_of(db: Database, room: str) -> list[tuple[Any, ...]]:
    whole = "JOIN conversation c ON c.id = m.conversation_id WHERE c.room = $1 ORDER BY m.seq"
    return await _ends(db, "min(r.emoji::text)", whole, room)


async def test_changes_at_once_are_each_applied_once_and_numbered_without_gaps(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say(event_id="e1")])
    edits = [change("edit", at=number) for number in range(20)]
    await asyncio.gather(*(inbox.change(edit) for edit in [*edits, *edits]))
    numbers = [row["number"] for row in await db.pool.fetch("SELECT number FROM change WHERE number > 0 ORDER BY 1")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await db.pool.fetchval("SELECT changes FROM conversation") == len(numbers)
    assert await db.pool.fetchval("SELECT count(*) FROM change") == 20
    assert await db.pool.fetchval("SELECT edited_at FROM message") == NOW + timedelta(seconds=19)


@pytest.fixture
async def turns(db: Database, valkey_url: str) -> AsyncIterator[Turns]:
    valkey = connect_valkey(valkey_url)
    yield Turns(db, Wakes(db), DialogStore(valkey, db.keys), Limits(valkey), lease_s=30.0, zone="Africa/Nairobi")
    await valkey.aclose()


async def test_an_edit_before_the_answer_changes_what_is_answered(db: Database, inbox: Inbox, turns: Turns) -> None:
    await inbox.receive([say("weather in Lamu", event_id="e1")])
    await inbox.change(change("edit", text="weather in Nairobi"))
    [first] = await turns.claim(10)
    assert first.text == "weather in Nairobi"
    # It is being answered now: whoever does is fenced off, and the turn is claimed anew.
    await inbox.change(change("edit", text="weather in Kisumu", at=1))
    assert not await turns.close(Closing(first, Reply.of("old"), DialogState()))
    [second] = await turns.claim(10)
    assert second.text == "weather in Kisumu"
    assert await turns.close(Closing(second, Reply.of("new"), DialogState()))


async def answered(inbox: Inbox, turns: Turns, text: str, event_id: str = "e1") -> Turn:
    await inbox.receive([say(text, event_id=event_id)])
    [turn] = await turns.claim(10)
    assert await turns.close(Closing(turn, Reply.of(f"Answer to {text}.\nAnd more."), DialogState()))
    return turn


async def outgoing(db: Database) -> list[str]:
    return [
        "\n".join(part["text"] for part in row["parts"])
        for row in await messages(db, "WHERE m.direction = 'out' ORDER BY m.seq")
    ]


async def test_an_edit_of_what_was_answered_and_did_nothing_is_answered_anew(
    db: Database, inbox: Inbox, turns: Turns
) -> None:
    first = await answered(inbox, turns, "weather in Lamu")
    assert (await inbox.change(change("edit", text="weather in Lamu", at=1))).state == "applied"
    assert await turns.claim(10) == [], "the words are the same"
    for number, city in enumerate(("Kisumu", "Nakuru", "Meru"), 2):
        assert (await inbox.change(change("edit", text=f"weather in {city}", at=number))).state == "applied"
        for turn in await turns.claim(10):
            assert (turn.text, turn.id > first.id) == (f"weather in {city}", True)
            assert await turns.close(Closing(turn, Reply.of(f"Sun in {city}."), DialogState()))
    told = await outgoing(db)
    assert told[:3] == ["Answer to weather in Lamu.\nAnd more.", "Sun in Kisumu.", "Sun in Nakuru."]
    assert told[3:] == [STANDS.filled(answer="Sun in Nakuru.").en], "who edits without end is told so once"


@pytest.mark.parametrize("how", ["done", "past"])
async def test_an_edit_of_what_was_done_or_is_past_is_told_that_it_stands(
    db: Database, inbox: Inbox, turns: Turns, how: str
) -> None:
    turn = await answered(inbox, turns, "remind me at 5")
    if how == "past":
        await answered(inbox, turns, "thanks", "e2")
    else:
        await db.pool.execute(
            "INSERT INTO receipt (key, person_id, conversation_id, action, params)"
            " VALUES ($1, $2, $3, 'set_reminder', $4)",
            f"turn:{turn.id}:1", turn.person.id, turn.conversation_id, b"",
        )  # fmt: skip
    for at in (1, 2):
        assert (await inbox.change(change("edit", text=f"remind me at 6:0{at}", at=at))).state == "applied"
    assert await turns.claim(10) == []
    assert (await outgoing(db))[-1] == STANDS.filled(answer="Answer to remind me at 5.").en
    assert (await outgoing(db)).count(STANDS.filled(answer="Answer to remind me at 5.").en) == 1


async def test_an_edit_long_after_the_answer_changes_the_record_alone(db: Database, inbox: Inbox, turns: Turns) -> None:
    await answered(inbox, turns, "weather in Lamu")
    await db.pool.execute("UPDATE turn SET closed_at = closed_at - $1::interval", EDITED_WITHIN)
    assert (await inbox.change(change("edit", text="weather in Mombasa", at=2))).state == "applied"
    assert await turns.claim(10) == []
    assert len(await outgoing(db)) == 1


async def test_an_answer_whose_action_has_begun_is_kept(db: Database, inbox: Inbox, turns: Turns) -> None:
    await inbox.receive([say("remind me", event_id="e1")])
    [turn] = await turns.claim(10)
    await db.pool.execute(
        "INSERT INTO receipt (key, person_id, conversation_id, action, params) VALUES ($1, $2, $3, 'set_reminder', $4)",
        f"turn:{turn.id}:1", turn.person.id, turn.conversation_id, b"",
    )  # fmt: skip
    assert (await inbox.change(change("edit"))).state == "applied"
    assert await db.pool.fetchval("SELECT attempt FROM turn") == turn.attempt


async def test_what_was_deleted_before_the_answer_is_not_answered(db: Database, inbox: Inbox, turns: Turns) -> None:
    await inbox.receive([say("never mind", event_id="e1")])
    await inbox.change(change("delete"))
    [turn] = await turns.claim(10)
    nothing: Any = None
    closing = await run_turn(turn, nothing)
    assert closing.reply is None
    assert await turns.close(closing)
    assert await db.pool.fetchval("SELECT count(*) FROM outbox") == 0
    assert await db.pool.fetchval("SELECT state FROM turn") == "done"


async def test_a_conversation_follows_its_room_once_and_takes_no_other_ones_place(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say("before", event_id="e1")])
    moved = Moved(ChannelName.WHATSAPP, ACCOUNT, ROOM, "new room")
    assert [await inbox.tell(moved), await inbox.tell(moved)] == [True, False]
    [after] = await inbox.receive([say("after", event_id="e2", room="new room")])
    assert after.seq == 2
    await inbox.receive([say("elsewhere", event_id="e3", room="third room")])
    assert not await inbox.tell(Moved(ChannelName.WHATSAPP, ACCOUNT, "third room", "new room"))
    assert await db.pool.fetchval("SELECT count(*) FROM conversation") == 2


async def test_a_room_is_out_of_reach_since_it_was_first_said(db: Database, inbox: Inbox) -> None:
    await inbox.receive([say(event_id="e1")])
    for seconds, reachable, done in ((0, False, True), (5, False, False), (9, True, True), (9, True, False)):
        at = NOW + timedelta(seconds=seconds)
        assert await inbox.tell(Reach(ChannelName.WHATSAPP, ACCOUNT, ROOM, reachable, at)) is done
    assert await db.pool.fetchval("SELECT unreachable_at FROM conversation") is None
