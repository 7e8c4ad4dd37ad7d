"""Trips, rides, rooms and shows: the slots of a first message, and what an answer in a dialog changes."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from core.brain import frames, when
from core.brain.travel import FRAMES
from core.brain.words import said

NOW = when.local(datetime(2026, 11, 24, 10, 15), "Africa/Nairobi")  # noqa: DTZ001  a Tuesday


def read(action: str, text: str) -> dict[str, JsonValue]:
    return frames.read(FRAMES[action], said(text), NOW)


def follow(action: str, text: str, *asked: str, **offered: JsonValue) -> dict[str, JsonValue]:
    return frames.follow(FRAMES[action], said(text), NOW, asked, offered)


@pytest.mark.parametrize(
    ("action", "text", "slots"),
    [
        ("search_flights", "a flight from Nairobi to Kigali on Friday for 3 people", {
            "origin": "Nairobi", "destination": "Kigali", "departure_date": "2026-11-27", "passengers": 3}),
        ("search_flights", "nataka ndege kutoka Mombasa kwenda Kisumu kesho", {
            "origin": "Mombasa", "destination": "Kisumu", "departure_date": "2026-11-25"}),
        ("search_flights", "fly me to Dubai on 3 December and back on 10 December, business class", {
            "destination": "Dubai", "departure_date": "2026-12-03", "return_date": "2026-12-10",
            "cabin_class": "Business"}),
        ("search_flights", "flights nbo to jro", {"origin": "Nairobi", "destination": "Kilimanjaro"}),
        ("search_buses", "two bus tickets to Voi leaving tomorrow at 7am", {
            "destination": "Voi", "travel_date": "2026-11-25", "travel_time": "07:00", "passengers": 2}),
        ("search_transfers", "get me a cab to 14 Riverside Drive for four", {
            "destination": "14 Riverside Drive", "passengers": 4}),
        ("search_hotels", "2 rooms in Lamu from 1 December until 4 December", {
            "location": "Lamu", "rooms": 2, "check_in_date": "2026-12-01", "check_out_date": "2026-12-04"}),
        ("search_hotels", "a hotel near Nakuru for 3 nights, just me", {
            "location": "Nakuru", "nights": 3, "guests": 1}),
        ("search_events", "any concerts in Nairobi on Saturday", {
            "location": "Nairobi", "event_date": "2026-11-28", "category": "Music"}),
        ("search_events", "something to do in town", {}),
        ("search_hotels", "a nice hotel please", {}),
    ],
)  # fmt: skip
def test_a_first_message_fills_slots(action: str, text: str, slots: dict[str, JsonValue]) -> None:
    assert read(action, text) == slots


@pytest.mark.parametrize(
    ("action", "text", "asked", "slots"),
    [
        ("search_buses", "Kitale", ("destination",), {"destination": "Kitale"}),
        ("search_buses", "from Busia please", ("origin",), {"origin": "Busia"}),
        ("search_buses", "2", ("passengers",), {"passengers": 2}),
        ("search_flights", "the 5th", ("return_date",), {"return_date": "2026-12-05"}),
        ("search_hotels", "no, make it 4 nights", (), {"nights": 4}),
        ("search_hotels", "what's their phone number?", ("nights",), {}),
        ("search_events", "thanks for your help today", (), {}),
    ],
)
def test_an_answer_fills_what_was_asked(
    action: str, text: str, asked: tuple[str, ...], slots: dict[str, JsonValue]
) -> None:
    assert follow(action, text, *asked) == slots


@pytest.mark.parametrize(
    "text", ["yes", "ok perfect", "That works for me.", "sawa", "ndio tafadhali", "I like that one"]
)
def test_yes_takes_what_was_offered(text: str) -> None:
    assert follow("search_buses", text, travel_time="08:30") == {"travel_time": "08:30"}


@pytest.mark.parametrize(
    "text", ["no", "anything else?", "are there any others", "hapana", "what station does it leave from?", "nyingine?"]
)
def test_whoever_asks_or_refuses_takes_nothing(text: str) -> None:
    assert follow("search_buses", text, travel_time="08:30") == {}


def test_yes_with_a_change_takes_the_rest() -> None:
    got = follow("search_buses", "yes but at 9am", travel_time="08:30", passengers=2)
    assert got == {"travel_time": "09:00", "passengers": 2}


def test_a_new_request_takes_over_where_the_last_one_ended() -> None:
    before: dict[str, JsonValue] = {"destination": "Malindi", "travel_date": "2026-12-01"}
    hotels = frames.carried(FRAMES["search_hotels"], said("I need a hotel too"), before, FRAMES["search_buses"])
    assert hotels == {"location": "Malindi"}
    same = frames.carried(FRAMES["search_events"], said("shows there that day"), before, FRAMES["search_buses"])
    assert same == {"location": "Malindi", "event_date": "2026-12-01"}
    cab = frames.carried(FRAMES["search_transfers"], said("a cab there"), hotels, FRAMES["search_hotels"])
    assert cab == {}  # which house is meant is not known


@given(st.text(max_size=200), st.sampled_from(sorted(FRAMES)), st.booleans())
def test_any_text_is_read_without_an_error(text: str, action: str, asked: bool) -> None:
    for name, value in follow(action, text, *([FRAMES[action].slots[0].name] if asked else [])).items():
        assert name in {slot.name for slot in FRAMES[action].slots}
        assert isinstance(value, str | int)
