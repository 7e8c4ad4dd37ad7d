"""Reminders that are put off, moved, corrected and taken back, as people say it."""

import pytest

from core.brain.replies import Told
from core.dialog import DialogState, Intent
from tests.core.brain.test_rules import BRAIN, CATALOG, turn
from tests.skills import needs

pytestmark = needs("reminders", "memory")

SET = DialogState(history={"set_reminder": {"content": "pay rent", "time": "2026-11-26T14:00"}})


async def thought(text: str, state: DialogState | None = None) -> object:
    """The action and its slots; why, where nothing is run."""
    found = await BRAIN.think(turn(text, state=state), CATALOG.offered)
    return (found.action, dict(found.slots)) if isinstance(found, Intent) else isinstance(found, Told) and found.why


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("snooze it for an hour", {"minutes": 60}), ("snooze 30 min", {"minutes": 30}),
        ("snooze it for half an hour", {"minutes": 30}),
        ("postpone the rent reminder by 2 days", {"minutes": 2_880, "which": "rent"}),
        ("snooze until 8", {"time": "2026-11-24T20:00"}),
        ("remind me again in 10 minutes", {"time": "2026-11-24T10:25:30"}),
        ("push the reminder about rent to 5pm", {"time": "2026-11-24T17:00", "which": "rent"}),
        ("snooze reminder 2 until tomorrow", {"time": "2026-11-25T09:00", "which": "2"}),
        ("move the dentist reminder to Monday 9am", {"time": "2026-11-30T09:00", "which": "dentist"}),
        ("postpone the rent reminder", {"which": "rent"}), ("snooze", {}), ("ahirisha", {}),
        ("ahirisha kikumbusho kwa dakika kumi", {"minutes": 10}), ("ahirisha kwa saa moja", {"minutes": 60}),
        ("ahirisha kwa nusu saa", {"minutes": 30}),
        ("sogeza kikumbusho cha kodi hadi kesho saa tatu", {"time": "2026-11-25T09:00", "which": "kodi"}),
        ("ahirisha kikumbusho hadi kesho saa tatu asubuhi", {"time": "2026-11-25T09:00"}),
    ],
)  # fmt: skip
async def test_a_reminder_is_put_off(text: str, slots: dict[str, str]) -> None:
    assert await thought(text) == ("snooze_reminder", slots)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("no, Monday", {"time": "2026-11-30T14:00"}), ("make it 10", {"time": "2026-11-26T10:00"}),
        ("hapana, Jumatatu", {"time": "2026-11-30T14:00"}), ("sorry, 5pm", {"time": "2026-11-26T17:00"}),
        ("iwe saa mbili usiku", {"time": "2026-11-26T20:00"}),
        ("wait, every Monday", {"time": "2026-11-30T14:00", "recurrence": "FREQ=WEEKLY;BYDAY=MO"}),
    ],
)  # fmt: skip
async def test_a_correction_moves_the_one_that_was_set_last(text: str, slots: dict[str, str]) -> None:
    assert await thought(text, SET) == ("snooze_reminder", {"which": "last", **slots})
    assert await thought(text) in ("not_understood", "chat")


async def test_only_the_day_changes_where_only_a_day_is_said() -> None:
    assert await thought("move my reminder to Friday", SET) == ("snooze_reminder", {"time": "2026-11-27T14:00"})


@pytest.mark.parametrize("text", ["cancel it", "undo", "Undo that!", "tengua", "futa hiyo", "please delete it"])
async def test_what_was_just_set_is_taken_back(text: str) -> None:
    assert await thought(text, SET) == ("cancel_reminder", {"which": "last"})
    later = DialogState(history={**SET.history, "remember_fact": {"kind": "goal", "words": "x"}})
    assert await thought(text, later) != ("cancel_reminder", {"which": "last"})


async def test_a_move_is_taken_back_by_undo() -> None:
    moved = DialogState(history={**SET.history, "snooze_reminder": {"which": "last", "time": "2026-11-30T14:00"}})
    assert await thought("undo", moved) == ("snooze_reminder", {"back": True})
    assert await thought("cancel it", moved) == ("cancel_reminder", {"which": "last"})


async def test_it_is_the_one_in_the_list_that_was_shown() -> None:
    listed = DialogState(history={**SET.history, "list_reminders": {}})
    assert await thought("cancel it", listed) == ("cancel_reminder", {})
    assert await thought("undo", listed) == ("undo", {"since": "list_reminders"})


async def test_the_blue_one_is_no_hour() -> None:
    asked = DialogState(action="set_reminder", slots={"content": "wash"}, asked=("time",))
    assert await thought("the blue one", asked) == "not_understood"
    assert await thought("that one please", asked) == "not_understood"
    for text in ("at one", "one", "one pm", "tomorrow at one", "in one hour", "around one"):
        assert (await thought(text, asked))[0] == "set_reminder", text  # type: ignore[index]


async def test_a_time_that_no_clock_shows_is_asked_for() -> None:
    for text in ("remind me on Saturday at 25:00 to pay", "remind me on Saturday at 12:75 to pay"):
        assert await thought(text) == ("set_reminder", {"content": "pay", "time": None})


async def test_what_is_asked_of_it_is_answered() -> None:
    when = DialogState(action="snooze_reminder", asked=("time",))
    assert await thought("in 10 minutes", when) == ("snooze_reminder", {"time": "2026-11-24T10:25:30"})
    assert await thought("half an hour", when) == ("snooze_reminder", {"minutes": 30})
    assert await thought("tomorrow at 10 am", when) == ("snooze_reminder", {"time": "2026-11-25T10:00"})
    assert await thought("kesho saa tatu asubuhi", when) == ("snooze_reminder", {"time": "2026-11-25T09:00"})
    assert await thought("bananas", when) == "not_understood"
    which = DialogState(action="snooze_reminder", slots={"time": "2026-11-25T09:00"}, asked=("which",))
    assert await thought("2", which) == ("snooze_reminder", {"which": "2"})
    assert await thought("the one about rent", which) == ("snooze_reminder", {"which": "the one about rent"})
    assert await thought("what's the weather in Nairobi?", which) == ("get_weather", {"city": "Nairobi"})


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("move the second one to 17:00", {"time": "2026-11-24T17:00", "which": "2"}),
        ("please change number 3 to tomorrow at 8", {"time": "2026-11-25T08:00", "which": "3"}),
        ("sogeza cha pili hadi kesho saa kumi jioni", {"time": "2026-11-25T16:00", "which": "2"}),
    ],
)
async def test_one_of_the_list_is_moved_by_its_place(text: str, slots: dict[str, str]) -> None:
    assert await thought(text, DialogState(history={"list_reminders": {}})) == ("snooze_reminder", slots)
