"""Hand-off: the machine by table and by model; on real PostgreSQL, one voice at a time and never silence."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bot.wiring import connect_valkey
from core.brain.understand import asks_for_bot, parse
from core.db import Database
from core.dialog import DialogState
from core.dialog_store import DialogStore
from core.handoff import (
    ANSWER,
    JOIN,
    NONE,
    PARK,
    PARK_NEXT,
    RELEASE,
    Asked,
    Change,
    Event,
    HandedBack,
    Handoff,
    Limits,
    Line,
    Mode,
    NotYours,
    Spoke,
    TimeRanOut,
    TookOver,
    Turns,
    Watched,
    WentBack,
    change,
)
from core.handoff_store import Handoffs
from core.inbox import Inbox
from core.limits import Limits as Quotas
from core.messages import Reply, Text
from core.settings import Settings
from core.turn import Closing, Turn
from core.turn_store import Turns as TurnStore
from core.wake import Wakes
from tests.factories import say
from tests.said import texts

SCHEDULES = int(os.environ.get("HANDOFF_SCHEDULES", "300"))
"""Random schedules of the model; 5,000 in the nightly run."""
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LIMITS = Limits(timedelta(minutes=30), timedelta(hours=12))
LATER, MUCH_LATER = NOW + LIMITS.idle, NOW + LIMITS.wait
BOT = Handoff()
WAITING = Handoff(Mode.WAITING, None, MUCH_LATER)
AMINA, BARAKA = Handoff(Mode.HUMAN, "amina", LATER), Handoff(Mode.HUMAN, "baraka", LATER)

TABLE: list[tuple[Handoff, Event, Handoff | None, Turns, Line | None, str | None]] = [
    (BOT, Asked(), WAITING, PARK_NEXT, None, "handoff.asked"),
    (WAITING, Asked(), None, NONE, None, None),
    (AMINA, Asked(), None, NONE, None, None),
    (BOT, TookOver("amina"), AMINA, PARK, None, "handoff.taken_over"),
    (WAITING, TookOver("amina"), AMINA, JOIN, None, "handoff.taken_over"),
    (BARAKA, TookOver("amina"), AMINA, NONE, None, "handoff.taken_over"),
    (AMINA, TookOver("amina"), AMINA, NONE, None, None),
    (BOT, Spoke("amina"), AMINA, ANSWER, None, "handoff.taken_over"),
    (WAITING, Spoke("amina"), AMINA, ANSWER, None, "handoff.taken_over"),
    (BARAKA, Spoke("amina"), AMINA, ANSWER, None, "handoff.taken_over"),
    (AMINA, Spoke("amina"), AMINA, ANSWER, None, None),
    (BOT, Watched("amina"), None, NONE, None, None),
    (WAITING, Watched("amina"), None, NONE, None, None),
    (BARAKA, Watched("amina"), None, NONE, None, None),
    (AMINA, Watched("amina"), AMINA, NONE, None, None),
    (BOT, HandedBack("amina"), None, NONE, None, None),
    (WAITING, HandedBack("amina"), BOT, RELEASE, Line.BACK, "handoff.handed_back"),
    (AMINA, HandedBack("amina"), BOT, RELEASE, Line.BACK, "handoff.handed_back"),
    (BOT, WentBack(), None, NONE, None, None),
    (WAITING, WentBack(), BOT, RELEASE, Line.BACK, "handoff.went_back"),
    (AMINA, WentBack(), BOT, RELEASE, Line.BACK, "handoff.went_back"),
    (BOT, TimeRanOut(), None, NONE, None, None),
    (WAITING, TimeRanOut(), None, NONE, None, None),
    (AMINA, TimeRanOut(), None, NONE, None, None),
]


@pytest.mark.parametrize(
    ("before", "event", "after", "turns", "line", "verb"), TABLE, ids=[f"{b.mode}-{e}" for b, e, *_ in TABLE]
)
def test_every_event_in_every_mode(
    before: Handoff, event: Event, after: Handoff | None, turns: Turns, line: Line | None, verb: str | None
) -> None:
    found = change(before, event, NOW, LIMITS)
    assert found == (None if after is None else Change(after, turns, line, verb))


def test_who_does_not_hold_it_cannot_hand_it_back() -> None:
    with pytest.raises(NotYours, match="baraka has this conversation"):
        change(BARAKA, HandedBack("amina"), NOW, LIMITS)


def test_time_runs_out_at_its_limit_and_not_before() -> None:
    second = timedelta(seconds=1)
    assert change(AMINA, TimeRanOut(), LATER - second, LIMITS) is None
    assert change(AMINA, TimeRanOut(), LATER, LIMITS) == Change(BOT, RELEASE, Line.BACK, "handoff.ran_out")
    assert change(WAITING, TimeRanOut(), MUCH_LATER - second, LIMITS) is None
    assert change(WAITING, TimeRanOut(), MUCH_LATER, LIMITS) == Change(
        BOT, RELEASE, Line.NOBODY_CAME, "handoff.ran_out"
    )
    assert change(AMINA, Watched("amina"), LATER, LIMITS) is None, "a lease that is over is not renewed"


# ---------------------------------------------------------------- the model: a conversation as a list of turns


@dataclass
class Room:
    """A conversation as the rules see it: who has the word, its unfinished turns, and who answered what."""

    now: datetime = NOW
    handoff: Handoff = BOT
    turns: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of messages by the state of their unfinished turn."""
    attempt: int = 0
    claimed: dict[int, tuple[list[int], bool]] = field(default_factory=dict)
    """What runners are answering, by attempt: the messages, and whether a human was asked for."""
    asking: bool = False
    """Whether the open turn is the one that asked for a human."""
    answered: Counter[int] = field(default_factory=Counter)
    heard: int = 0
    lines: list[str] = field(default_factory=list)

    def inbound(self) -> None:
        self.heard += 1
        state = "waiting" if self.handoff.mode is Mode.BOT else "held"
        self.turns.setdefault(state, []).append(self.heard)

    def claim(self, asks: bool) -> None:
        if "open" not in self.turns and "waiting" in self.turns:
            self.turns["open"] = self.turns.pop("waiting")
            self.attempt += 1
            self.asking = asks
            self.claimed[self.attempt] = (self.turns["open"], asks)
            if asks:
                self.apply(Asked())

    def reclaim(self) -> None:
        if "open" in self.turns:
            self.attempt += 1
            # Answered again, it finds its receipt, and says again what it was to say.
            self.claimed[self.attempt] = (self.turns["open"], self.asking)

    def close(self, attempt: int) -> None:
        if attempt not in self.claimed:
            return  # nobody ever had it: a take-over raises the attempt without anybody answering
        messages, asks = self.claimed.pop(attempt)
        if "open" not in self.turns or attempt != self.attempt:
            return  # fenced
        assert self.handoff.mode is not Mode.HUMAN, "two voices"
        # While somebody waits, one line is said and no more; once the wait is over, that line is no longer true.
        assert self.handoff.mode is (Mode.WAITING if asks else Mode.BOT)
        self.turns.pop("open")
        self.answer(messages)

    def answer(self, messages: list[int]) -> None:
        self.answered.update(messages)

    def apply(self, event: Event) -> None:
        try:
            found = change(self.handoff, event, self.now, LIMITS)
        except NotYours:
            return
        if found is None:
            return
        becomes = dict(found.turns)
        if "open" in self.turns and "open" in becomes:
            self.attempt += 1
        moved: dict[str, list[int]] = {}
        for state, messages in self.turns.items():
            after = becomes.get(state, state)
            if after == "done":
                self.answer(messages)
                continue
            assert after not in moved, "two turns of one state"
            moved[after] = messages
        self.turns, self.handoff = moved, found.after
        if found.line is not None:
            self.lines.append(found.line)
        if isinstance(event, Spoke):
            assert self.turns == {}, "a word of staff answers everything said before it"
        if self.handoff.mode is Mode.HUMAN:
            assert not {"waiting", "open"} & self.turns.keys(), "the bot could speak"

    def settle(self) -> None:
        """The conversation is the bot's again, and its runners work until nothing is left."""
        self.now += LIMITS.wait
        self.apply(TimeRanOut())
        for _ in range(4):
            self.reclaim()
            self.close(self.attempt)
            self.claim(asks=False)


EVENTS = (
    *(TookOver(staff) for staff in ("amina", "baraka")),
    *(Spoke(staff) for staff in ("amina", "baraka")),
    *(HandedBack(staff) for staff in ("amina", "baraka")),
    *(WentBack(), Watched("amina"), TimeRanOut()),
)
WORK: list[tuple[Any, ...]] = [
    *[("inbound",)] * 5,
    *[("claim", False)] * 3,
    *[("claim", True), ("reclaim",), ("close", 0), ("close", 1)],
]
EVENTFUL: list[tuple[Any, ...]] = [
    *(("apply", event) for event in EVENTS),
    *(("wait", timedelta(minutes=minutes)) for minutes in (20, 31, 800)),
]
STEPS = st.sampled_from(WORK + EVENTFUL)


@examples(max_examples=SCHEDULES, deadline=None)
@given(st.lists(STEPS, min_size=10, max_size=50))
def test_never_two_voices_and_never_silence_after_a_hand_back(steps: list[tuple[Any, ...]]) -> None:
    room = Room()
    backs = 0
    for name, *arguments in steps:
        before = room.handoff.mode
        match name:
            case "wait":
                room.now += arguments[0]
            case "close":
                room.close(room.attempt - arguments[0])
            case _:
                getattr(room, name)(*arguments)
        backs += before is not Mode.BOT and room.handoff.mode is Mode.BOT
        assert len(room.lines) == backs, "one closing line for each hand-back"
    room.settle()
    assert room.turns == {}
    assert room.answered == Counter(range(1, room.heard + 1)), "every message belongs to exactly one finished turn"


# ---------------------------------------------------------------- on PostgreSQL


@dataclass
class Desk:
    """The store, the inbox and the turns of one process, and a person who writes."""

    db: Database
    inbox: Inbox
    turns: TurnStore
    handoffs: Handoffs

    async def hear(self, text: str) -> UUID:
        [received] = await self.inbox.receive([say(text)])
        return received.conversation_id

    async def answer(self, turn: Turn) -> bool:
        return await self.turns.close(Closing(turn, Reply.of(f"answer to {turn.text}"), DialogState()))

    async def answer_all(self) -> None:
        while claimed := await self.turns.claim(10):
            for turn in claimed:
                await self.answer(turn)

    async def say(self, conversation: UUID, text: str, staff: str = "amina", nonce: str | None = None) -> bool:
        return await self.handoffs.say(conversation, staff, (Text(text=text),), nonce or uuid4().hex)

    async def said(self) -> list[str]:
        return await texts(self.db, "WHERE direction = 'out' ORDER BY seq")

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.db.pool.fetch("SELECT state FROM turn ORDER BY id")]

    async def verbs(self) -> list[str]:
        rows = await self.db.pool.fetch("SELECT verb FROM audit WHERE verb LIKE 'handoff.%' ORDER BY id")
        return [row["verb"].removeprefix("handoff.") for row in rows]

    async def run_out(self) -> None:
        """The lease's end has come."""
        await self.db.pool.execute(
            "UPDATE conversation SET held_until = clock_timestamp() - interval '1 s' WHERE mode <> 'bot'"
        )


@pytest.fixture
async def desk(db: Database, valkey_url: str) -> AsyncIterator[Desk]:
    wakes, valkey = Wakes(db), connect_valkey(valkey_url)
    turns = TurnStore(db, wakes, DialogStore(valkey, db.keys), Quotas(valkey), lease_s=30, zone="Africa/Nairobi")
    yield Desk(db, Inbox(db, wakes), turns, Handoffs(db, wakes, Settings(_env_file=None)))
    await valkey.aclose()


async def test_a_draft_that_is_open_at_the_take_over_is_dropped(desk: Desk) -> None:
    conversation = await desk.hear("price?")
    [draft] = await desk.turns.claim(1)
    await desk.hear("hello?")
    await desk.handoffs.apply(conversation, TookOver("amina"), "staff:amina")
    assert not await desk.answer(draft)
    assert await desk.turns.claim(10) == []
    assert await desk.states() == ["halted", "held"]
    assert await desk.said() == []


async def test_what_staff_answered_stays_answered_and_the_rest_is_the_bots(desk: Desk) -> None:
    conversation = await desk.hear("one")
    await desk.handoffs.apply(conversation, TookOver("amina"), "staff:amina")
    await desk.hear("two")
    assert await desk.say(conversation, "Both are 100.")
    await desk.hear("three")
    await desk.handoffs.apply(conversation, HandedBack("amina"), "staff:amina")
    await desk.answer_all()
    assert await desk.said() == ["Both are 100.", "You are talking to Mathia again.", "answer to three"]
    assert set(await desk.states()) == {"done"}
    assert await desk.verbs() == ["taken_over", "said", "handed_back"]


async def test_a_draft_from_before_the_take_over_never_closes_after_the_hand_back(desk: Desk) -> None:
    conversation = await desk.hear("one")
    [draft] = await desk.turns.claim(1)
    await desk.handoffs.apply(conversation, TookOver("amina"), "staff:amina")
    await desk.handoffs.apply(conversation, HandedBack("amina"), "staff:amina")
    assert not await desk.answer(draft)
    await desk.answer_all()
    assert await desk.said() == ["You are talking to Mathia again.", "answer to one"]


async def test_a_form_sent_twice_is_one_message(desk: Desk) -> None:
    conversation = await desk.hear("one")
    nonce = uuid4().hex
    sent = await asyncio.gather(*(desk.say(conversation, "hello", nonce=nonce) for _ in range(8)))
    assert sorted(sent) == [False] * 7 + [True]
    assert await desk.said() == ["hello"]
    row = await desk.db.pool.fetchrow("SELECT author, kind FROM message JOIN outbox USING (id)")
    assert dict(row) == {"author": "amina", "kind": "staff"}


async def test_sending_takes_over_from_a_colleague_with_an_audit_row(desk: Desk) -> None:
    conversation = await desk.hear("one")
    await desk.say(conversation, "a", "amina")
    await desk.say(conversation, "b", "baraka")
    with pytest.raises(NotYours):
        await desk.handoffs.apply(conversation, HandedBack("amina"), "staff:amina")
    rows = await desk.db.pool.fetch("SELECT actor, detail FROM audit WHERE verb = 'handoff.taken_over' ORDER BY id")
    assert [(row["actor"], row["detail"]) for row in rows] == [
        ("staff:amina", {"from": "bot", "to": "amina"}),
        ("staff:baraka", {"from": "amina", "to": "baraka"}),
    ]


@pytest.mark.parametrize("words", ["back to the bot", "Rudi kwa roboti tafadhali."])
async def test_the_person_goes_back_and_is_told_once_in_their_language(desk: Desk, words: str) -> None:
    conversation = await desk.hear("one")
    await desk.say(conversation, "hello")
    await desk.hear(words)
    await asyncio.gather(desk.handoffs.look(), desk.handoffs.look())
    await desk.answer_all()
    back = "Sasa unazungumza na Mathia tena." if "Rudi" in words else "You are talking to Mathia again."
    assert await desk.said() == ["hello", back]
    assert set(await desk.states()) == {"done"}


async def test_going_back_leaves_what_was_not_answered_to_the_bot(desk: Desk) -> None:
    conversation = await desk.hear("one")
    await desk.say(conversation, "hello")
    await desk.hear("and two?")
    await desk.hear("back to the bot")
    await desk.handoffs.look()
    await desk.answer_all()
    assert await desk.said() == ["hello", "You are talking to Mathia again.", "answer to and two?"]


async def test_a_lease_that_ran_out_is_handed_back_once_whoever_looks(desk: Desk) -> None:
    conversation = await desk.hear("one")
    await desk.say(conversation, "hello")
    await desk.hear("two")
    await desk.handoffs.look()
    assert await desk.said() == ["hello"]
    await desk.run_out()
    others = [Handoffs(desk.db, Wakes(desk.db), Settings(_env_file=None)) for _ in range(4)]
    await asyncio.gather(*(one.look() for one in others))
    await desk.answer_all()
    assert await desk.said() == ["hello", "You are talking to Mathia again.", "answer to two"]


async def test_somebody_who_waits_is_told_once_and_later_that_nobody_came(desk: Desk) -> None:
    conversation = await desk.hear("talk to a human")
    [asking] = await desk.turns.claim(1)
    await desk.handoffs.apply(conversation, Asked(), "person:1")
    assert await desk.answer(asking)
    await desk.hear("are you there?")
    assert await desk.turns.claim(10) == []
    await desk.run_out()
    await desk.handoffs.look()
    await desk.answer_all()
    assert await desk.said() == [
        "answer to talk to a human",
        "Sorry, nobody was free to join. You are talking to Mathia again.",
        "answer to are you there?",
    ]


async def test_an_unknown_conversation_changes_nothing(desk: Desk) -> None:
    with pytest.raises(LookupError):
        await desk.handoffs.apply(uuid4(), TookOver("amina"), "staff:amina")
    with pytest.raises(LookupError):
        await desk.say(uuid4(), "hello")


@pytest.mark.parametrize("seed", range(6))
async def test_races_leave_one_voice_and_no_silence(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    conversation = await desk.hear("begin")

    async def people() -> None:
        for number in range(12):
            await desk.hear(f"line {number}")
            await asyncio.sleep(0)

    async def runner() -> None:
        for _ in range(20):
            for turn in await desk.turns.claim(10):
                await asyncio.gather(desk.answer(turn), desk.answer(turn))

    async def staff(name: str) -> None:
        for number in range(6):
            events: list[Event] = [TookOver(name), HandedBack(name), WentBack()]
            if chance.random() < 0.4:
                await desk.say(conversation, f"{name} {number}", name)
                continue
            try:
                await desk.handoffs.apply(conversation, chance.choice(events), f"staff:{name}")
            except NotYours:
                continue

    await asyncio.gather(people(), runner(), runner(), staff("amina"), staff("baraka"))
    await desk.run_out()
    await desk.handoffs.look()
    await desk.answer_all()
    assert set(await desk.states()) == {"done"}
    # Between a take-over and the hand-back after it, nothing but staff is heard.
    rows = await desk.db.pool.fetch("SELECT o.kind, m.seq FROM message m JOIN outbox o USING (id) ORDER BY m.seq")
    human = False
    for row in rows:
        assert not (human and row["kind"] == "reply"), "two voices"
        human = row["kind"] == "staff" or (human and row["kind"] != "handoff")
    backs = await desk.db.pool.fetchval("SELECT count(*) FROM audit WHERE verb ~ '^handoff.(handed|went|ran)'")
    assert sum(row["kind"] == "handoff" for row in rows) == backs
    unfinished = await desk.db.pool.fetchval(
        "SELECT count(*) FROM message m JOIN turn t ON t.id = m.turn_id WHERE m.direction = 'in' AND t.state <> 'done'"
    )
    assert unfinished == 0


# ---------------------------------------------------------------- what people say


@pytest.mark.parametrize(
    "text",
    [
        "talk to a human",
        "I want to speak to a real person please",
        "nataka kuongea na mtu",
        "Naomba kuzungumza na mhudumu",
        "can I talk to someone?",
        "human please",
        "agent",
        "connect me to an agent",
        "I need a human",
    ],
)
def test_asking_for_a_human(text: str) -> None:
    found = parse(text, now=NOW, zone="Africa/Nairobi", state=DialogState(), actions=ACTIONS)
    assert found.action == "talk_to_human"


@pytest.mark.parametrize(
    "text",
    [
        "remind me tomorrow at 9 to talk to a human",
        "nikumbushe kesho saa tatu kuongea na mtu wa benki",
        "are you a human?",
        "am I talking to a person?",
        "weather in Nairobi",
        "I don't want to talk to a person",
    ],
)
def test_not_asking_for_a_human(text: str) -> None:
    found = parse(text, now=NOW, zone="Africa/Nairobi", state=DialogState(), actions=ACTIONS)
    assert found.action != "talk_to_human"


ACTIONS = ("talk_to_human", "set_reminder", "get_weather", "convert_currency", "cancel_reminder", "list_reminders")


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Back to the bot", True),
        ("ok, back to Mathia please", True),
        ("rudi kwa roboti", True),
        ("nataka kurudi kwa roboti", True),
        ("talk to the bot again", True),
        ("I was sent back to the bottom of the queue", False),
        ("the bot said I should go back to the shop", False),
        ("", False),
        ("back to the bot " * 50, False),
    ],
)
def test_asking_for_the_bot(text: str, asks: bool) -> None:
    assert asks_for_bot(text) is asks
