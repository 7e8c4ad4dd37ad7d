"""What is pure: words for states and times, charts, and the layout of a thread."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from core.messages import Text
from web_admin import charts, words
from web_admin.queries import Hour, Step, Stored, midnight_of
from web_admin.thread import Divider, Group, Note, blocks, ways

NAIROBI = ZoneInfo("Africa/Nairobi")
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SAID = Stored(
    1, 1, "in", NOW, (Text(text="hello"),), 1, "done",
    {"messages": [{"action": "get_weather", "slots": {"city": "Nairobi"}, "confidence": 1}]},
    None, None, False, None, None, "Amina",
)  # fmt: skip


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(hours=1), "11:00"),
        (timedelta(hours=13), "Yesterday, 23:00"),
        (timedelta(days=3), "Sat 21 Nov, 12:00"),
        (timedelta(days=400), "Mon 20 Oct 2025, 12:00"),
    ],
)
def test_times_are_told_in_the_zone_and_no_longer_than_needed(ago: timedelta, said: str) -> None:
    assert words.when(NOW - ago, NAIROBI, NOW) == said


@pytest.mark.parametrize(
    ("channel", "identity", "said"),
    [
        ("whatsapp", "whatsapp:+254712345678", "+254 … 5678"),
        ("whatsapp", "+1234", "WhatsApp … 1234"),
        ("telegram", "998877661", "Telegram … 7661"),
        ("web", "3f9a1c02-77aa-4c1e-9f61-5b7ad2b11e90", "Visitor 1e90"),
        ("email", "", "E-mail … "),
    ],
)
def test_an_identity_is_shortened(channel: str, identity: str, said: str) -> None:
    assert words.short_identity(channel, identity) == said


@pytest.mark.parametrize("state", ["pending", "sending", "sent", "refused", "unknown", None])
def test_every_state_of_a_delivery_has_words(state: str | None) -> None:
    tones = {
        "pending": "wait",
        "sending": "wait",
        "sent": "plain",
        "refused": "bad",
        "unknown": "wait",
        None: "wait",
    }
    assert words.delivery(state, None, done=False).tone == tones[state]
    assert words.delivery(state, "whatever", done=True).words


@pytest.mark.parametrize(
    "meaning",
    [
        None,
        {},
        {"action": None},
        {"action": 5},
        {"action": "none"},
        {"slots": []},
        {"action": ""},
        {"action": ["x"]},
    ],
)
def test_an_intent_that_says_nothing_is_not_shown(meaning: object) -> None:
    assert words.understood(meaning) is None


def test_an_intent_of_any_shape_is_told_shortly() -> None:
    intent = {
        "action": "set_reminder",
        "slots": {f"slot_{n}": "x" * 1000 for n in range(50)},
        "confidence": 0.5,
    }
    said = words.understood(intent)
    assert said
    assert said.startswith("Understood as set reminder · slot 0: xxx")
    assert said.endswith("50 % sure")
    assert len(said) < 1000


def test_messages_of_one_sender_within_two_minutes_are_one_group() -> None:
    later = [replace(SAID, id=n, seq=n, turn_id=n, created_at=NOW + timedelta(seconds=n * 110)) for n in (1, 2, 3)]
    far = replace(SAID, id=4, seq=4, turn_id=4, created_at=later[-1].created_at + timedelta(seconds=121))
    reply = replace(
        SAID,
        id=5,
        seq=5,
        direction="out",
        sender=None,
        kind="reply",
        outbox_state="sent",
        created_at=far.created_at,
    )
    drawn = blocks([*later, far, reply], NAIROBI, NOW)
    quiet = [replace(message, intent=None) for message in later]
    assert [type(block) for block in blocks([*quiet, far, reply], NAIROBI, NOW)] == [
        Divider,
        Group,
        Group,
        Note,
        Group,
    ]
    assert [type(block) for block in drawn] == [
        Divider,
        Group,
        Note,
        Group,
        Note,
        Group,
        Note,
        Group,
        Note,
        Group,
    ]
    assert [block.time for block in drawn if isinstance(block, Group)][-1] == "12:07"


def test_a_turn_is_spoken_of_once_at_its_last_message() -> None:
    waiting = [replace(SAID, id=n, seq=n, turn_state="waiting", intent=None) for n in (1, 2, 3)]
    (_, group) = blocks(waiting, NAIROBI, NOW)
    assert isinstance(group, Group)
    assert [shown.state.words if shown.state else None for shown in group.messages] == [
        None,
        None,
        "Waiting for an answer",
    ]
    dead = blocks([replace(waiting[0], turn_state="dead")], NAIROBI, NOW)
    assert isinstance(dead[-1], Note)


def test_what_was_understood_stands_at_the_message_it_was_understood_of() -> None:
    meanings: list[dict[str, object]] = [
        {"action": action, "slots": {}, "confidence": 1.0} for action in ("get_weather", "none", "set_reminder")
    ]
    turn = [replace(SAID, id=n, seq=n, intent={"messages": meanings}) for n in (1, 2, 3)]
    notes = [block for block in blocks(turn, NAIROBI, NOW) if isinstance(block, Note)]
    assert [(note.words, note.key) for note in notes] == [
        ("Understood as get weather", "note-1"), ("Understood as set reminder", "note-3"),
    ]  # fmt: skip
    # The page begins or ends within the turn: whose meaning is whose is not known.
    assert not [block for block in blocks(turn[:2], NAIROBI, NOW) if isinstance(block, Note)]
    newest = [replace(message, intent={"messages": meanings[2:]}) for message in turn]
    assert [block.key for block in blocks(newest, NAIROBI, NOW) if isinstance(block, Note)] == ["note-3"]


def test_a_day_begins_at_midnight_of_the_zone() -> None:
    before, after = datetime(2026, 11, 23, 20, 59, tzinfo=UTC), datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
    messages = [
        replace(SAID, intent=None, created_at=before),
        replace(SAID, id=2, turn_id=2, intent=None, created_at=after),
    ]
    drawn = blocks(messages, NAIROBI, NOW)
    assert [block.day for block in drawn if isinstance(block, Divider)] == ["Yesterday", "Today"]


@pytest.mark.parametrize("values", [[], [0] * 24, [5] * 24, [0] * 23 + [1], list(range(24)), [10**9]])
def test_a_chart_is_whole_whatever_it_shows(values: list[int]) -> None:
    svg = charts.bars('Title <&">', [charts.Bar(f"{n}:00", value) for n, value in enumerate(values)])
    drawn = ElementTree.fromstring(str(svg))  # noqa: S314  it is ours
    assert drawn.get("role") == "img"
    assert drawn.get("aria-label") == 'Title <&">'
    rects = drawn.findall("rect")
    assert len(rects) == sum(1 for value in values if value)
    assert all(float(rect.get("height", "0")) >= 2 for rect in rects)
    assert len([found for found in drawn.findall("text") if found.get("class") == "value"]) == min(1, sum(values))


@pytest.mark.parametrize(
    ("zone", "now", "midnight"),
    [
        ("Africa/Nairobi", "2026-11-23T20:59:00", "2026-11-22T21:00:00"),
        ("Asia/Kathmandu", "2026-11-23T18:20:00", "2026-11-23T18:15:00"),
        ("Europe/Berlin", "2026-10-25T12:00:00", "2026-10-24T22:00:00"),
        ("Africa/Cairo", "2026-04-24T12:00:00", "2026-04-23T22:00:00"),
    ],
)
def test_today_begins_when_the_zone_says(zone: str, now: str, midnight: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert midnight_of(moment, ZoneInfo(zone)) == datetime.fromisoformat(midnight).replace(tzinfo=UTC)


def test_an_hour_is_both_directions() -> None:
    assert Hour(NOW, 2, 3).total == 5


ANSWERED = replace(SAID, direction="out", turn_id=None, kind="reply", outbox_state="sent", sent_at=NOW)


def way_of(message: Stored) -> list[tuple[str | None, list[tuple[str, str, str | None]]]]:
    """Each piece's name, and its steps as words, time and reason."""
    return [
        (way.name, [(step.state.words, step.time, step.error) for step in way.steps])
        for way in ways(message, NAIROBI, NOW)
    ]


def later(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_the_way_of_a_message_stands_in_the_order_of_its_life() -> None:
    told = (Step(0, "read", later(70)), Step(0, "sent", later(2)), Step(0, "delivered", later(3)))
    assert way_of(replace(ANSWERED, steps=told)) == [
        (
            None,
            [
                ("Queued here", "12:00:00", None),
                ("Sent", "12:00:02", None),
                ("Delivered", "12:00:03", None),
                ("Read", "12:01:10", None),
            ],
        )
    ]
    assert way_of(SAID) == []


def test_what_a_provider_does_not_tell_is_what_we_know_ourselves() -> None:
    assert way_of(replace(ANSWERED, sent_at=later(1))) == [
        (None, [("Queued here", "12:00:00", None), ("Sent", "12:00:01", None)])
    ]
    assert way_of(replace(ANSWERED, outbox_state="pending", sent_at=None)) == [
        (None, [("Queued here", "12:00:00", None)])
    ]
    [(_, steps)] = way_of(replace(ANSWERED, outbox_state="refused", sent_at=later(5)))
    assert steps[-1] == ("Refused", "12:00:05", None)


def test_a_failure_has_its_reason_and_each_piece_its_own_way() -> None:
    told = (Step(0, "delivered", later(2)), Step(1, "sent", later(3)), Step(1, "failed", later(4), "Not on WhatsApp."))
    several = replace(ANSWERED, outbox_state="refused", sent_at=later(4), pieces=3, steps=told)
    assert way_of(several) == [
        ("Part 1 of 3", [("Queued here", "12:00:00", None), ("Delivered", "12:00:02", None)]),
        ("Part 2 of 3", [("Sent", "12:00:03", None), ("Failed", "12:00:04", "Not on WhatsApp.")]),
        ("Part 3 of 3", [("Refused", "12:00:04", None)]),
    ]
