"""The 24-hour window: to the second, by kind, and never free text outside it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import opt_out
from core.templates import OURS
from core.window import (
    VARIABLE_CHARS_MAX,
    WINDOW,
    Approved,
    FreeText,
    Hold,
    Refuse,
    Standing,
    UseTemplate,
    decide,
    filled,
    variable,
)

WROTE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
APPROVED = tuple(
    Approved(template.name, template.language, f"HX{number:032}", template.body) for number, template in enumerate(OURS)
)


def standing(at: datetime | None = WROTE, *, held_seq: int | None = None, opted_out: bool = False) -> Standing:
    return Standing(3 if at else 0, at, held_seq, opted_out)


@pytest.mark.parametrize(
    ("age", "is_open"),
    [
        (timedelta(0), True),
        (WINDOW - SECOND, True),
        (WINDOW - timedelta(microseconds=1), True),
        (WINDOW, False),
        (WINDOW + SECOND, False),
    ],
)
def test_the_window_closes_24_hours_after_the_newest_message(age: timedelta, is_open: bool) -> None:
    decision = decide("reply", "Hi", standing(), WROTE + age, "en", APPROVED)
    assert isinstance(decision, FreeText if is_open else Hold)


def test_somebody_who_never_wrote_has_no_window() -> None:
    assert isinstance(decide("reply", "Hi", standing(None), WROTE, "en", ()), Hold)


def test_the_providers_word_that_it_is_shut_counts_until_the_person_writes() -> None:
    assert isinstance(decide("reply", "Hi", standing(held_seq=3), WROTE, "en", ()), Hold)
    assert isinstance(decide("reply", "Hi", standing(held_seq=2), WROTE, "en", ()), FreeText)


def test_an_invoice_reaches_somebody_who_never_wrote_by_its_template_whole() -> None:
    text = "Asha sends you invoice INV-2026-00001\nKES 5,000.00\n\nPay it here: https://chat.example/pay/x"
    decision = decide("invoice", text, standing(None), WROTE, "en", APPROVED)
    assert isinstance(decision, UseTemplate)
    assert decision.use.variables == {"1": " ".join(text.split())}
    assert decision.use.text.startswith("Hello, this is about an invoice for you: Asha sends you invoice INV-2026")


@pytest.mark.parametrize(("language", "begins"), [("en", "Hello"), ("sw", "Habari"), ("fr", "Hello")])
def test_a_reminder_goes_by_template_in_the_persons_language(language: str, begins: str) -> None:
    decision = decide("reminder", "Reminder: call\n Asha", standing(), WROTE + WINDOW, language, APPROVED)
    assert isinstance(decision, UseTemplate)
    assert decision.use.variables == {"1": "call Asha"}
    assert decision.use.text.startswith(begins)
    assert "call Asha" in decision.use.text
    assert "{{" not in decision.use.text


def test_an_announcement_is_a_template_or_nothing() -> None:
    assert isinstance(decide("notice", "x", standing(), WROTE, "en", APPROVED), Refuse)
    assert isinstance(decide("notice", "x", standing(), WROTE + WINDOW, "en", ()), Refuse)
    sent = decide("notice", "x", standing(), WROTE + WINDOW, "sw", APPROVED)
    assert isinstance(sent, UseTemplate)
    assert sent.use.variables == {}


@given(
    st.sampled_from(["reply", "reminder", "workflow", "notice", "invoice"]),
    st.text(max_size=40),
    st.integers(-5, 60 * 60 * 50),
    st.one_of(st.none(), st.integers(0, 5)),
    st.booleans(),
    st.sets(st.sampled_from(APPROVED)),
)
def test_free_text_is_for_open_windows_of_people_who_want_it(
    kind: str, text: str, age_s: int, held_seq: int | None, opted_out: bool, templates: set[Approved]
) -> None:
    now = WROTE + timedelta(seconds=age_s)
    decision = decide(kind, text, standing(held_seq=held_seq, opted_out=opted_out), now, "sw", templates)
    is_open = age_s < 24 * 3600 and (held_seq is None or held_seq < 3)
    if opted_out:
        assert isinstance(decision, Refuse)
    else:
        assert isinstance(decision, FreeText) == (is_open and kind != "notice")
    if isinstance(decision, UseTemplate):
        assert not is_open
        assert decision.use.provider_ref in {template.provider_ref for template in templates}


@given(st.text(max_size=2_000))
def test_a_variable_is_one_short_line_that_is_never_empty(text: str) -> None:
    value = variable(text)
    assert 0 < len(value) <= VARIABLE_CHARS_MAX
    assert value == " ".join(value.split())


@given(st.text(max_size=50))
def test_what_a_variable_holds_is_never_taken_for_a_placeholder(text: str) -> None:
    assert filled("a {{1}} b {{2}} c", {"1": text, "2": "two"}) == f"a {text} b two c"


@pytest.mark.parametrize("template", OURS, ids=lambda one: one.provider_name)
def test_our_templates_are_as_whatsapp_wants_them(template: object) -> None:
    body = getattr(template, "body")  # noqa: B009
    assert not body.startswith("{{")
    assert not body.endswith("}}")
    assert len(body) + VARIABLE_CHARS_MAX < 1_024


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("STOP", "stop"), (" stop. ", "stop"), ("Acha", "stop"), ("UNSUBSCRIBE!", "stop"), ("START", "start"),
        ("anza", "start"), ("stop it", None), ("please stop", None), ("stop\nstop", None), ("", None), ("stopp", None),
    ],
)  # fmt: skip
def test_only_a_whole_message_opts_out_or_in(text: str, said: str | None) -> None:
    assert opt_out.word(text) == said


def test_acha_leaves_what_is_open_and_stop_always_stops() -> None:
    assert opt_out.word("Acha.", in_the_middle=True) is None
    assert opt_out.word("STOP", in_the_middle=True) == "stop"
