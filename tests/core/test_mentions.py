"""Whom a message in a shared room speaks to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.mentions import calls_bot, without_name
from core.messages import Contact, Media, Text


@pytest.mark.parametrize(
    "words",
    [
        "@mathia hello",
        "hello @mathia",
        "what does @mathia say of it?",
        "@Mathia, weather in Nairobi",
        "(@mathia)",
        "Amina,@mathia: hi",
        "so\n@MATHIA\nhelp",
        "is that so, @mathia?",
        "@mathia's turn",
        "@mathia.",
    ],
)
def test_the_bot_is_called_by_its_name(words: str) -> None:
    assert calls_bot((Text(text=words),))


@pytest.mark.parametrize(
    "words",
    [
        "mathia hello",
        "write to amina@mathia",
        "amina@mathia.example",
        "@mathia.example is a site",
        "@mathias",
        "@mathiá",
        "@mathia_two",
        "@mathia-two",
        "@@mathia",
        "x@mathia",
        "https://example.com/@mathia",
        "@ mathia",
        "",
    ],
)
def test_a_name_inside_another_word_calls_nobody(words: str) -> None:
    assert not calls_bot((Text(text=words),))


def test_captions_call_and_what_a_contact_is_called_does_not() -> None:
    photo = Media(media_type="image/png", ref="x", caption="@mathia what is this?")
    assert calls_bot((photo,))
    assert without_name((photo,)) == (photo.model_copy(update={"caption": "what is this?"}),)
    assert not calls_bot((Contact(name="@mathia"),))


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("@mathia weather in Nairobi", "weather in Nairobi"),
        ("weather in Nairobi, @mathia", "weather in Nairobi"),
        ("remind me @mathia to call Asha", "remind me to call Asha"),
        ("@mathia", "help"),
        ("@Mathia!", "!"),
        ("as it was", "as it was"),
    ],
)
def test_the_bot_hears_the_rest(said: str, heard: str) -> None:
    assert without_name((Text(text=said),)) == (Text(text=heard),)


@given(st.text(max_size=200))
def test_what_calls_nobody_is_heard_as_it_is_and_nothing_calls_twice(words: str) -> None:
    parts = (Text(text=words),)
    rest = without_name(parts)
    if not calls_bot(parts):
        assert rest == parts
    called = without_name((Text(text=f"{words} @mathia ok"),))
    assert "ok" in str(called)
