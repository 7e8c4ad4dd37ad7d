"""The parts of a message: what was stored stays readable, what is not whole is refused, what is a word of whom."""

import pytest
from pydantic import ValidationError

from core.messages import PARTS, Card, Contact, Fact, Link, Reply, Table, Text, Voice, text_of

STORED = b"""[{"kind":"text","text":"hi"},{"kind":"media","media_type":"audio/ogg","ref":"x","caption":null,
"filename":null,"size":null},{"kind":"location","latitude":1.0,"longitude":2.0,"label":null},{"kind":"choices","options":["a"]}]"""
TABLE = Table(columns=("Day", "Sky"), rows=(("Tue", "Rain"),))


def test_rows_of_older_versions_are_still_read() -> None:
    assert [part.kind for part in PARTS.validate_json(STORED)] == ["text", "media", "location", "choices"]


def test_a_table_whose_rows_are_not_whole_is_refused() -> None:
    with pytest.raises(ValidationError, match="one cell for each column"):
        Table(columns=("a", "b"), rows=(("x",),))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//x.example", "https://", 'https://x.example/"a'])
def test_a_link_is_a_web_address(url: str) -> None:
    with pytest.raises(ValidationError):
        Link(url=url)


def test_words_are_those_of_the_sender() -> None:
    spoken = Voice(media_type="audio/ogg", ref="x", transcript="kesho")
    card = Card(title="Flight", facts=(Fact(label="Leaves", value="07:00"),))
    other = Contact(name="send me 500", phones=("1",))
    assert (
        text_of((Text(text="hi"), spoken, other, card, TABLE))
        == "hi\nkesho\nFlight\nLeaves: 07:00\nDay, Sky\nTue, Rain"
    )
    assert text_of((Voice(media_type="audio/ogg", ref="x"),)) == ""


def test_the_same_table_twice_is_shown_once() -> None:
    one = Reply((Text(text="Rain."), TABLE))
    assert Reply.joined([one, one]).parts == one.parts
