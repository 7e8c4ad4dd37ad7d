"""Dialog rules: new over old, one topic at a time, never a value from a finished request."""

import pytest

from core.dialog import HISTORY_MAX, DialogState, Intent

ASKING = DialogState(action="set_reminder", slots={"content": "call Asha"}, asked=("time",), questions=1)


def test_an_answer_is_merged_over_what_is_known() -> None:
    state = ASKING.merge(Intent("set_reminder", {"time": "2026-11-24T09:00"}, 0.9))
    assert state.slots == {"content": "call Asha", "time": "2026-11-24T09:00"}
    assert state.asked == ()


def test_a_new_value_replaces_an_old_one_and_none_takes_it_back() -> None:
    state = ASKING.merge(Intent("set_reminder", {"content": "call Juma"}, 0.9))
    assert state.slots == {"content": "call Juma"}
    assert state.merge(Intent("set_reminder", {"content": None}, 0.9)).slots == {}


def test_another_topic_sets_the_first_aside() -> None:
    state = ASKING.merge(Intent("get_weather", {"city": "Nairobi"}, 0.9))
    assert (state.action, dict(state.slots)) == ("get_weather", {"city": "Nairobi"})
    assert state.history == {"set_reminder": {"content": "call Asha"}}
    assert state.questions == 0


def test_a_finished_request_lends_no_values_to_the_next() -> None:
    done = ASKING.merge(Intent("set_reminder", {"time": "17:00"}, 0.9)).finish()
    assert done.action is None
    assert done.merge(Intent("set_reminder", {"content": "stretch"}, 0.9)).slots == {"content": "stretch"}


def test_asking_drops_the_value_that_was_of_no_use() -> None:
    state = ASKING.merge(Intent("set_reminder", {"time": "yesterday"}, 0.9)).ask("time")
    assert (dict(state.slots), state.asked, state.questions) == ({"content": "call Asha"}, ("time",), 2)


@pytest.mark.parametrize("topics", [HISTORY_MAX, HISTORY_MAX * 3])
def test_history_is_bounded(topics: int) -> None:
    state = DialogState()
    for n in range(topics):
        state = state.merge(Intent(f"action_{n}", {"n": n}, 1.0)).finish()
    assert len(state.history) == HISTORY_MAX
    assert list(state.history)[-1] == f"action_{topics - 1}"


def test_what_was_done_once_more_is_what_was_done_last() -> None:
    first, second = Intent("mark", {"which": "1"}, 0.9), Intent("unmark", {"which": "1"}, 0.9)
    before = DialogState().merge(first).finish().merge(second).finish()
    after = before.merge(first).finish()
    assert (after == before, after.is_as(before), before.is_as(before)) == (True, False, True)
    assert list(after.history) == ["unmark", "mark"]
